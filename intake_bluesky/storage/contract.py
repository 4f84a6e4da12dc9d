"""The contract of a driver: `RunStore`.

A store finds runs, describes one, and yields its events and documents. Four methods are abstract. All others have
defaults: what a store can do is what it answers, so that whoever asks needs no `isinstance`, and a store made of other
stores (`intake_bluesky.storage.WrapperStore`) answers as they do. `intake_bluesky.testing.StoreTests` holds a store to
all of it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self, TypeAlias

from intake_bluesky.documents.model import ALL_KEYS, DatumPage, Document, EventPage, Keys, RunHeader, RunSummary
from intake_bluesky.documents.run_documents import RunDocuments
from intake_bluesky.errors import DamagedRun, IntakeBlueskyError, RunNotFound, UnsupportedOperation
from intake_bluesky.query import ALL, Path, Query, split
from intake_bluesky.storage.array_place import ArrayPlace
from intake_bluesky.storage.order import Order
from intake_bluesky.storage.statistics import SharedStatistics, StatisticsCache
from intake_bluesky.storage.whole_runs import insert_run

if TYPE_CHECKING:
    from intake_bluesky.documents.columns import Array

Lookup: TypeAlias = Iterator[tuple[str, float | None, tuple[Any, ...]]]
"""Of each run its uid, its time as in `RunSummary`, and the values at some paths."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a store takes of a query, ``query == pushed & residual``, and in which order it finds those runs.

    `RunStore.plan` makes it, and `RunStore.find`, `count`, `distinct` and `lookup` take it: a query is translated once
    a search.

    Attributes
    ----------
    pushed : Query
        What the store answers.
    residual : Query
        What the caller finishes with `intake_bluesky.query.matches`.
    ordered : bool
        Whether `RunStore.find` yields in `order`; if not, the caller sorts.
    order : Order
    compiled : object
        What the store that made the plan translated `pushed` to, for itself alone. None in a plan made by hand, and
        where a store has nothing to keep.

    Examples
    --------
    >>> Plan()
    Plan(pushed=ALL, residual=ALL, ordered=True, order=<Order.NEWEST: 'newest'>)
    """

    pushed: Query = ALL
    residual: Query = ALL
    ordered: bool = True
    order: Order = Order.NEWEST
    compiled: Any = field(default=None, compare=False, repr=False)


ALL_RUNS: Final = Plan()
"""All runs of a store, the newest first."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that could not be read, and why; the rest of the store is unharmed.

    Attributes
    ----------
    where : str
        File, key or address.
    message : str
        What is wrong and what to do.
    uid : str or None
        The run concerned, where known.
    to_come : bool
        Whether it may be that nothing is wrong: a place to which nothing was written yet.
    """

    where: str
    message: str
    uid: str | None = None
    to_come: bool = False


class RunStore(ABC):
    """Everything a driver must do: find runs, describe one, yield its events and documents.

    A store pickles to its arguments and reconnects where it is unpickled. Constructing one touches no
    storage.
    """

    exact_documents: ClassVar[bool] = True
    """Whether `documents` gives back the very documents inserted, in their order; if not, their order and the form of
    pages may be others. Within a document, keys come in the order inserted, null stays null and absent absent, always.
    """
    ordered: ClassVar[bool] = False
    """Whether `find` yields in the order of its plan; if not, the catalog sorts, and holds all runs found."""

    @property
    def ttl(self) -> float:
        """Seconds after which an access through a catalog looks for new runs with `refresh`."""
        return 1.0

    @property
    def trusts_paths(self) -> bool:
        """Whether documents may name any file of this machine; not those of another machine."""
        return True

    @property
    def writable(self) -> bool:
        """Whether `insert`, `insert_runs` and `remove` may be used."""
        return False

    @property
    def folder(self) -> str | None:
        """The folder in which new runs are put, a path or a URL, for files beside them; None where there is none."""
        return None

    @property
    def array_place(self) -> ArrayPlace | None:
        """What keeps arrays of detectors' files beside the documents; None where nothing does."""
        return None

    @property
    def cache_key(self) -> str | None:
        """What names this store among all others, the same in every process and without secrets.

        The user's cache keeps statistics of recorded data under it, of a store that keeps none itself. None: nothing
        is kept from one process to the next.
        """
        return None

    @property
    def statistics(self) -> StatisticsCache | None:
        """The statistics of recorded data that the store keeps; None where it keeps none.

        A store that has them answers `intake_bluesky.query.pruning.Kept`, too.
        """
        return None

    @property
    def shared_statistics(self) -> SharedStatistics | None:
        """Statistics that users of this store leave in it for each other; None where it has no place for them."""
        return None

    def answers(self, leaf: Query) -> bool:
        """Whether `find` answers one condition exactly as `intake_bluesky.query.matches` does.

        Asked of single conditions, never of ``&``, ``|`` and ``~``: those the store has to combine as logic does.
        """
        return False

    def plan(self, query: Query, order: Order) -> Plan:
        """Take the part of a query that the store `answers`; `find`, `count`, `distinct` and `lookup` share a plan.

        A plan may leave conditions that the store answers, where they are too large for one statement.
        """
        pushed, residual = split(query, self.answers)
        if pushed == ~ALL:  # a store that answers nothing may find all runs, whatever a plan pushed
            pushed, residual = ALL, pushed
        return Plan(pushed, residual, self.ordered, order)

    @abstractmethod
    def find(self, plan: Plan = ALL_RUNS, *, offset: int = 0, limit: int | None = None) -> Iterator[RunSummary]:
        """Yield the runs that match what `plan` pushed, in its order, reading no events.

        Parameters
        ----------
        plan : Plan
            One that `plan` of this store made, or one by hand whose `Plan.pushed` is made of conditions that the store
            `answers`.
        offset, limit : int
            Pass over so many runs, and yield at most so many.
        """

    def count(self, plan: Plan = ALL_RUNS) -> int:
        """Count the runs that match what a plan pushed; by default by listing them."""
        return sum(1 for _ in self.find(plan))

    def distinct(self, path: Path, plan: Plan = ALL_RUNS) -> Iterable[tuple[Any, int]] | None:
        """Yield each value at an exact path, null included, and how many runs of a plan have it.

        Runs without a value are left out, and equal values may come more than once. None where the store would have
        to look at each run.
        """
        return None

    def lookup(self, paths: Sequence[Path], plan: Plan = ALL_RUNS) -> Lookup | None:
        """Yield of each run of a plan the uid, the time as in `RunSummary`, and the values at exact paths, in order.

        A value is `intake_bluesky.query.paths.MISSING` where there is none; a number may be an equal one of another
        type. Without paths these are the uids and times alone. None where documents would have to be read.
        """
        return None

    def server_plan(self, plan: Plan) -> str:
        """Describe how a server executes a plan, as its own ``explain`` does; "" where there is none to ask."""
        return ""

    @abstractmethod
    def header(self, uid: str) -> RunHeader:
        """Describe one run, reading no events.

        Raises
        ------
        RunNotFound
            When the store has no run of this (full) uid.
        DamagedRun
            When its documents cannot be read.
        """

    @abstractmethod
    def event_pages(
        self,
        uid: str,
        stream: str,
        *,
        data: Keys = ALL_KEYS,
        timestamps: Keys = (),
        events: slice = slice(None),
    ) -> Iterator[EventPage]:
        """Yield the stored events of a stream, in stored order, repeats included.

        Parameters
        ----------
        uid, stream : str
        data, timestamps : container of str
            Keys wanted. With ``()`` for both, seq_num and time come cheaply.
        events : slice
            Positions among the stored events of the stream, step 1; pages are cut to it.

        Raises
        ------
        RunNotFound, StreamNotFound, DamagedRun
        """

    @abstractmethod
    def documents(self, uid: str) -> Iterator[tuple[str, Document]]:
        """Yield (name, document) of a run as they were inserted."""

    def complete_documents(self, uid: str) -> Iterator[tuple[str, Document]]:
        """Yield what `documents` does, of a run of which that leaves nothing out; by default it does so of none.

        Raises
        ------
        RunNotFound
        DamagedRun
            When documents cannot be read, and `documents` passes over them: at the end at the latest.
        """
        return self.documents(uid)

    def document(self, uid: str, name: str) -> Mapping[str, Any] | None:
        """Give a document that is kept beside those of Bluesky, such as annotations; None where there is none.

        Its name is one that `intake_bluesky.query.paths.add_run_document` opened to queries.
        """
        return None

    def datum_pages(self, uid: str, resource: str) -> Iterator[DatumPage]:
        """Yield the datums of one resource (legacy assets only); by default out of all documents of the run."""
        return RunDocuments(self.documents(uid)).datum_pages(resource)

    def find_datums(self, datum_ids: Sequence[str]) -> Iterator[tuple[Document, DatumPage]]:
        """Yield datums by their ids (legacy assets only), of whichever run: pages that hold them, with their resource.

        Some runs use datums or resources of others, such as dark frames that were taken once. By default none: a store
        that would have to look through all its runs finds the datums of the run alone, by `datum_pages`.
        """
        return iter(())

    def arrays(self, uid: str, stream: str) -> Mapping[str, Array] | None:
        """Give the values of a stream as arrays, of a store that holds them so; None where it holds events.

        Returns
        -------
        mapping of data key to array, or None
            Each of shape ``(stored events, *shape of one)``, with the shape, dtype and indexing of numpy's: a dask
            array, a lazy array of Zarr. They hold what `event_pages` gives of these keys: a shorter way to it.
        """
        return None

    def read_ahead(self, uids: Sequence[str]) -> Iterator[tuple[RunHeader, RunStore]]:
        """Describe several runs, each with a store to read its events from, in any order.

        Runs that are not there or cannot be described are left out. A store that asks a server for many runs at once
        yields stores that have the events at hand.
        """
        for uid in uids:
            with suppress(RunNotFound, DamagedRun):
                yield self.header(uid), self

    def check_writable(self) -> None:
        """Refuse a user who has no right to write, before anything is to be written; by default nobody.

        What cannot be asked, such as a server that does not answer, is left to `insert`.

        Raises
        ------
        StoreUnavailable
        """

    def insert(self, start: Document) -> RunInsert:
        """Begin a run with its start document, which is written at once.

        Raises
        ------
        DuplicateRun
            When a run of this uid is there already.
        UnsupportedOperation
            When the store is not `writable`.
        """
        raise self._read_only()

    def insert_runs(self, runs: Iterable[Iterable[tuple[str, Document]]]) -> Iterator[IntakeBlueskyError | None]:
        """Insert whole runs, and yield of each, in their order, None once it is in the store, else why it is not.

        A run goes in whole, or not at all: one that is there already (`DuplicateRun`), one of whose documents is
        refused, one whose documents raise an error of this package while they are read; all others go in. Runs are
        taken, and written, while results are asked for, and results may come some hundreds of runs, or a second, later.
        A run of which None was yielded is as durable as one that was closed. After a crash, or if the caller stops
        asking, those are in the store, and of all others none: but for the one that was being written in a store
        without transactions, or if it is one of many megabytes. That one is there without a stop, to be removed and
        inserted anew.

        Parameters
        ----------
        runs : iterable of runs
            Each an iterable of (name, document), the start first, as `documents` yields them; with or without a stop.

        Raises
        ------
        UnsupportedOperation
            When the store is not `writable`.
        StoreUnavailable
            When it cannot be reached: of the runs that were not yielded, those that are missing are to be given again.

        Examples
        --------
        >>> from intake_bluesky.testing.memory import MemoryStore
        >>> run = [("start", {"uid": "abc", "time": 1.0}), ("stop", {"uid": "def", "run_start": "abc", "time": 2.0})]
        >>> list(MemoryStore().insert_runs([run, run]))
        [None, DuplicateRun('the store has a run abc already: remove it first, or write another uid')]
        """
        if not self.writable:
            raise self._read_only()
        for documents in runs:
            yield insert_run(self, documents)

    def _read_only(self) -> UnsupportedOperation:
        return UnsupportedOperation(f"{self!r} cannot be written: {type(self).__name__} takes no runs")

    def remove(self, uid: str, *, permanent: bool = False) -> None:
        """Remove a run's documents; the files of detectors stay.

        Parameters
        ----------
        uid : str
            A full uid.
        permanent : bool
            Delete what could be brought back: files of runs are else moved to a folder ``.removed``. A database
            deletes in any case.

        Raises
        ------
        RunNotFound
        UnsupportedOperation
            When the store is not `writable`.
        """
        raise UnsupportedOperation(f"nothing is removed from {self!r}: {type(self).__name__} only reads")

    def refresh(self, *, deep: bool = False) -> None:
        """Look for new and grown runs, cheaply; `deep` looks at all again."""

    def problems(self) -> Sequence[Problem]:
        """List what could not be read so far, and why."""
        return ()

    def close(self) -> None:
        """Let go of connections and files; the store opens them anew when used again."""


class RunInsert(ABC):
    """One run being written. Leaving the context, or `close`, makes what was written durable."""

    @abstractmethod
    def write(self, name: str, doc: Document) -> None:
        """Append one document; after ``stop`` the run is complete and closed."""

    @abstractmethod
    def close(self) -> None:
        """Make all written so far durable and let go of files; without a stop it reads as far as it got."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
