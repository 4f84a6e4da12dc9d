"""The contract of a driver: `RunStore`, and the powers that a store may add.

A store finds runs, describes one, and yields its events and documents. Four methods are abstract; the others
have defaults. `intake_bluesky.testing.StoreTests` holds a store to all of it.
"""

from __future__ import annotations

import enum
import heapq
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, ClassVar, Final, Protocol, Self, runtime_checkable

from intake_bluesky.documents.model import (
    ALL_KEYS,
    DatumPage,
    Document,
    EventPage,
    Keys,
    RunHeader,
    RunSummary,
)
from intake_bluesky.documents.statistics import Statistics
from intake_bluesky.query import ALL, Path, Query

__all__ = [
    "Answer",
    "Order",
    "Plan",
    "Problem",
    "Recorded",
    "RunInsert",
    "RunStore",
    "SupportsCount",
    "SupportsDistinct",
    "SupportsInsert",
    "SupportsLookup",
    "SupportsStatistics",
    "merge_runs",
    "sort_runs",
]


NOTHING: Final = ~ALL


class Order(enum.Enum):
    """The total orders of runs: by (time, uid), runs without a time last in both."""

    NEWEST = "newest"
    OLDEST = "oldest"


@dataclass(frozen=True, slots=True)
class Plan:
    """What a store takes of a query: ``query == pushed & residual``.

    Attributes
    ----------
    pushed : Query
        What `RunStore.find` will be given.
    residual : Query
        What the caller has to finish with `intake_bluesky.query.matches`.
    ordered : bool
        Whether `find` yields in the order asked; if not, the caller sorts.
    certain : Query
        Runs found that match this, too, are known to match the residual. A store need not tell.
    """

    pushed: Query
    residual: Query
    ordered: bool
    certain: Query = NOTHING


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
    """

    where: str
    message: str
    uid: str | None = None


class RunStore(ABC):
    """Everything a driver must do: find runs, describe one, yield its events and documents.

    A store pickles to its arguments and reconnects where it is unpickled. Constructing one touches no
    storage.
    """

    exact_documents: ClassVar[bool] = True
    """Whether `documents` gives back the very documents inserted; if not, order and page form are rebuilt."""

    @property
    def remote(self) -> bool:
        """Whether documents come from another machine, and so may not name any file of this one."""
        return False

    def plan(self, query: Query, order: Order) -> Plan:
        """Say what of `query` can be pushed down; by default nothing."""
        return Plan(ALL, query, ordered=False)

    @abstractmethod
    def find(
        self,
        query: Query = ALL,
        *,
        order: Order = Order.NEWEST,
        offset: int = 0,
        limit: int | None = None,
    ) -> Iterator[RunSummary]:
        """Yield the runs that match, in `order`, reading no events.

        Given only queries that `plan` accepted; without a plan that is `ALL`.
        """

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

    def datum_pages(self, uid: str, resource: str) -> Iterator[DatumPage]:
        """Yield the datums of one resource (legacy assets only)."""
        return iter(())

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

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self.close()


@runtime_checkable
class SupportsInsert(Protocol):
    """A store that can be written."""

    def insert(self, start: Document) -> RunInsert:
        """Begin a run with its start document, which is written at once.

        Raises
        ------
        DuplicateRun
            When a run of this uid is there already.
        """


@runtime_checkable
class SupportsCount(Protocol):
    """A store that counts without listing."""

    def count(self, query: Query = ALL) -> int:
        """Count the runs matching a query that `plan` accepted whole."""


@runtime_checkable
class SupportsDistinct(Protocol):
    """A store that counts the values of a key without listing runs."""

    def distinct(self, path: Path, query: Query = ALL) -> Iterable[tuple[Any, int]] | None:
        """Yield each value that stands at an exact path, null included, and in how many runs it does.

        Of the runs matching a query that `plan` accepted whole; those without a value are left out, and equal
        values may come more than once. None where the store would have to look at each run.
        """


@runtime_checkable
class SupportsLookup(Protocol):
    """A store that tells what stands at some paths without giving documents."""

    def lookup(
        self, paths: Sequence[Path], query: Query = ALL, *, order: Order = Order.NEWEST
    ) -> Iterator[tuple[str, float | None, tuple[Any, ...]]] | None:
        """Yield of each run the uid, the time as in `RunSummary`, and the values at exact paths, in `order`.

        Of the runs matching a query that `plan` accepted whole. A value is `intake_bluesky.query.paths.MISSING` where
        there is none; a number may be an equal one of another type. None where documents would have to be read.
        """


@dataclass(frozen=True, slots=True)
class Recorded:
    """All values of a data key in a stream of a run.

    Attributes
    ----------
    uid, stream, key : str
    version : str
        The run as it was read: `RunHeader.version`.
    reading : str
        How files are found and read (handlers, moved folders), where values are in files: one way reads what
        another does not. "" where they stand in the events.
    """

    uid: str
    version: str
    stream: str
    key: str
    reading: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """Whether a number lies in an interval, ends included: asked where statistics leave that open.

    Attributes
    ----------
    low, high : float
    found : bool
    """

    low: float
    high: float
    found: bool


@runtime_checkable
class SupportsStatistics(Protocol):
    """A store that keeps statistics of recorded values, and finds runs by them.

    Its ``plan`` takes `query.pruning.Kept`, alone and combined, as exact; queries about data themselves are
    never pushed down. Only what is final is kept: of runs that have stopped.
    """

    def statistics(self, values: Recorded) -> Statistics | None:
        """Give what is kept of some values; None where nothing is, or of another version of the run."""

    def keep(self, found: Sequence[tuple[Recorded, Statistics | Answer]]) -> None:
        """Keep what was found, in place of what was kept of the same, unless a run is of another version by now."""

    def measure(self, uids: Sequence[str]) -> int:
        """Learn of these runs, if nothing is kept of them, what one pass over their documents tells.

        Returns
        -------
        int
            About how many bytes it read.
        """


def sort_runs(runs: Iterable[RunSummary], order: Order) -> list[RunSummary]:
    """Sort by (time, uid), runs without a time last whichever way.

    Examples
    --------
    >>> runs = [RunSummary(uid, time, None, {}, None) for uid, time in (("a", None), ("b", 1.0), ("c", 2.0))]
    >>> [run.uid for run in sort_runs(runs, Order.NEWEST)]
    ['c', 'b', 'a']
    """
    return sorted(runs, key=_rank(order), reverse=order is Order.NEWEST)


def merge_runs(some: Iterable[RunSummary], others: Iterable[RunSummary], order: Order) -> Iterator[RunSummary]:
    """Yield the runs of both, each of which is in `order`, in order; holds one of each."""
    return heapq.merge(some, others, key=_rank(order), reverse=order is Order.NEWEST)


def _rank(order: Order) -> Callable[[RunSummary], tuple[bool, float, str]]:
    timeless_last = order is Order.OLDEST
    return lambda run: ((run.time is None) is timeless_last, run.time or 0.0, run.uid)
