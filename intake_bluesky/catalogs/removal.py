"""Removing runs from a catalog: the runs that would be removed, and those that were."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias, overload

from intake_bluesky.catalogs.display.listing import TO_THE_MINUTE, right_aligned
from intake_bluesky.catalogs.display.text import fitted, lines_of
from intake_bluesky.catalogs.display.values import local_time
from intake_bluesky.documents.model import RunSummary
from intake_bluesky.documents.untyped import event_counts
from intake_bluesky.errors import (
    IntakeBlueskyError,
    RemovalFailed,
    RunNotFound,
    UnsupportedOperation,
    UnsupportedQuery,
)
from intake_bluesky.query import Everything, Query
from intake_bluesky.runtime.progress import track
from intake_bluesky.search.given_queries import as_query
from intake_bluesky.search.selection import Selection

__all__ = ["Removal", "RemovedRun", "RemovesRuns", "Wanted"]

SHOWN: Final = 20  # runs in a table, and reasons in a message
LONG: Final = 100  # characters of a query that are shown
WIDTH: Final = 80
COLUMNS: Final = ("uid", "scan_id", "plan", "started", "events")
WHERE: Final = (
    "Files of runs {move} into a folder .removed beside the others, from where\n"
    "they can be moved back; what is in a database {is_} deleted."
)


@dataclass(frozen=True, slots=True)
class RemovedRun:
    """One of the runs of a `Removal`.

    Attributes
    ----------
    uid : str
    scan_id : float or None
    plan_name : str or None
    time : float or None
        Seconds since the epoch at which it started.
    events : int or None
        In all its streams, from its stop; None where that has no counts.
    """

    uid: str
    scan_id: float | None
    plan_name: str | None
    time: float | None
    events: int | None

    @classmethod
    def of(cls, run: RunSummary) -> RemovedRun:
        """Take what is shown of a run, without a reference to its documents."""
        said, counts = (run.stop or {}).get("num_events"), event_counts(run.stop)
        plan = run.start.get("plan_name")
        events = sum(counts.values()) if isinstance(said, Mapping) and len(counts) == len(said) else None
        return cls(run.uid, run.scan_id, plan if isinstance(plan, str) else None, run.time, events)

    def _cells(self) -> tuple[str, ...]:
        events = "?" if self.events is None else f"{self.events:,}"
        scan_id = "" if self.scan_id is None else f"{self.scan_id}"
        return self.uid, scan_id, self.plan_name or "", local_time(self.time, TO_THE_MINUTE), events


_One: TypeAlias = str | Query | Mapping[str, Any] | RemovedRun
Wanted: TypeAlias = _One | Iterable[_One]
"""What `BlueskyCatalog.remove` takes."""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Removal(Sequence[RemovedRun]):
    """The runs that `BlueskyCatalog.remove` would remove, or has; its repr is a table of them.

    Attributes
    ----------
    runs : tuple of RemovedRun
    done : bool
        Whether they are removed; False after a dry run.
    permanent : bool
    failures : mapping of str to Exception
        Why runs stayed, by uid.
    """

    runs: tuple[RemovedRun, ...] = ()
    done: bool = False
    permanent: bool = False
    failures: Mapping[str, Exception] = field(default_factory=dict)
    _asked: str = "..."

    @property
    def uids(self) -> tuple[str, ...]:
        """Of the runs that would be, or are removed."""
        return tuple(run.uid for run in self.runs)

    @overload
    def __getitem__(self, place: int) -> RemovedRun: ...

    @overload
    def __getitem__(self, place: slice) -> Sequence[RemovedRun]: ...

    def __getitem__(self, place: int | slice) -> RemovedRun | Sequence[RemovedRun]:
        return self.runs[place]

    def __len__(self) -> int:
        return len(self.runs)

    def __repr__(self) -> str:
        said = "removed" if self.done else "would be removed: nothing is yet"
        number = f"{len(self):,} {'run' if len(self) == 1 else 'runs'} {said}"
        if not self.runs:
            return f"no runs {'removed' if self.done else 'would be removed'}"
        rows = [COLUMNS, *(run._cells() for run in self.runs[:SHOWN])]
        lines = lines_of(fitted(rows, WIDTH, [COLUMNS.index("plan")]), right_aligned(COLUMNS))
        more = [f"(the first {SHOWN} of {len(self):,})"] if len(self) > SHOWN else []
        return "\n".join([number, *lines, *more, *self._notes()])

    def _notes(self) -> Iterator[str]:
        if self.permanent:
            yield "For good: nothing brings them back." if self.done else "They would be deleted for good."
        elif self.done:
            yield WHERE.format(move="went", is_="was")
        else:
            yield WHERE.format(move="would go", is_="would be")
        yield "The files of detectors stay."
        if not self.done:
            permanent = ", permanent=True" if self.permanent else ""
            yield f"To remove them: cat.remove({self._asked}, dry_run=False{permanent})"


class RemovesRuns(ABC):
    """A catalog whose runs can be removed."""

    reload: Callable[[], Any]

    @property
    @abstractmethod
    def selection(self) -> Selection:
        """The runs shown."""

    def remove(self, what: Wanted, *, dry_run: bool = True, permanent: bool = False) -> Removal:
        """Remove runs that this catalog shows; without ``dry_run=False``, only list those that would go.

        Documents of runs go, the files of detectors stay. Where one of several cannot be removed, the others are.

        Parameters
        ----------
        what : str, Query, dict in MongoDB's form, or a list of those
            A str is the uid of a run or its beginning, and never words. A narrowed catalog removes of its own runs
            alone; all of a catalog go by `intake_bluesky.query.ALL`, and not by None or an empty dict. What a dry run
            gave is taken, too: exactly those runs, whatever came since.
        dry_run : bool
            Change nothing.
        permanent : bool
            Delete files of runs, which else move into a folder ``.removed`` beside the others. A database deletes in
            any case.

        Returns
        -------
        Removal
            The runs, as a sequence that shows itself as a table. Empty where a query is met by none.

        Raises
        ------
        RunNotFound, AmbiguousRun
            For uids. Nothing is removed then.
        UnsupportedOperation
            When the store is open for reading only.
        RemovalFailed
            When some runs stayed: it names them, with reasons.

        Examples
        --------
        >>> from intake_bluesky import BlueskyCatalog
        >>> from intake_bluesky.testing import EXAMPLES, MemoryStore
        >>> cat = BlueskyCatalog(MemoryStore(EXAMPLES[name](None) for name in ("count", "scan", "failed")))
        >>> would = cat.remove({"plan_name": "scan"})
        >>> [(run.plan_name, run.scan_id) for run in would], len(cat)
        ([('scan', 2), ('scan', 8)], 3)
        >>> cat.remove(would, dry_run=False).done, len(cat)
        (True, 1)
        """
        self.reload()
        selection = self.selection
        store = selection.store
        asked = repr(what) if not isinstance(what, Removal) else "..."
        # Before anything is removed: a uid that is not there, or not clear, has to leave all runs where they are.
        found = tuple(_found(selection, what))
        removal = Removal(found, permanent=permanent, _asked=asked if len(asked) <= LONG else "...")
        self._check_removal()  # a dry run raises, too: its table would promise what cannot be done
        if dry_run:
            return removal
        failures: dict[str, Exception] = {}
        for run in track(found, total=len(found), what="removing"):
            try:
                store.remove(run.uid, permanent=permanent)
            except RunNotFound:  # removed by another process since it was listed: what was wanted is the case
                continue
            except (IntakeBlueskyError, OSError) as error:
                failures[run.uid] = error
        went = tuple(run for run in found if run.uid not in failures)
        removed = Removal(went, done=True, permanent=permanent, failures=failures)
        if failures:
            raise RemovalFailed(_message(failures, len(found)), removed)
        return removed

    def _check_removal(self) -> None:
        """Refuse to remove from what is open for reading only."""
        store = self.selection.store
        if not store.writable:
            raise UnsupportedOperation(
                f"{store!r} is open for reading only, nothing is removed from it: open the catalog for writing, with "
                "writable=True where its driver takes that"
            )


def _message(failures: Mapping[str, Exception], number: int) -> str:
    shown = [f"{uid}: {error}" for uid, error in list(failures.items())[:SHOWN]]
    more = [f"and {len(failures) - SHOWN} more"] if len(failures) > SHOWN else []
    rest = number - len(failures)
    return "\n".join([f"{len(failures)} of {number} runs were not removed, {rest} were:", *shown, *more])


def _found(selection: Selection, what: Wanted) -> Iterator[RemovedRun]:
    """The runs that the argument selects, each once."""
    seen: set[str] = set()
    several = isinstance(what, Iterable) and not isinstance(what, str | Query | Mapping)
    for one in list(what) if several else [what]:  # type: ignore[arg-type]  # iterable, if several
        for run in _of_one(selection, one):
            if run.uid not in seen:
                seen.add(run.uid)
                yield run


def _of_one(selection: Selection, what: object) -> Iterator[RemovedRun]:
    if isinstance(what, RemovedRun):
        what = what.uid
    if isinstance(what, str):
        yield RemovedRun.of(_by_uid(selection, what))
        return
    if not isinstance(what, Query | Mapping):
        raise UnsupportedQuery(
            f"remove takes a query, a dict in MongoDB's form, a uid, or a list of those, not {type(what).__name__}: "
            f"{what!r}. A scan_id is that of several runs, mostly: give a uid, or Start('scan_id') == ..."
        )
    query = as_query(what)
    # An empty dict is mostly a mistake, such as a filter whose variable was empty.
    if isinstance(query, Everything) and not isinstance(what, Query):
        raise UnsupportedQuery(
            f"{what!r} is met by all runs: where all that this catalog shows are to go, say so with "
            "intake_bluesky.query.ALL"
        )
    yield from map(RemovedRun.of, selection.narrowed(query).runs())


def _by_uid(selection: Selection, uid: str) -> RunSummary:
    try:
        return selection.summary(uid)
    except RunNotFound as error:
        raise RunNotFound(f"{error}. A str is a uid here: for words, give FullText({uid!r})") from None
