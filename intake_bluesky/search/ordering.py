"""The order in which a catalog goes through its runs, where another than the newest first was asked for."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby, islice
from operator import attrgetter, itemgetter
from typing import Any, Final, Self, TypeAlias, TypeVar

from intake_bluesky.documents.model import RunSummary
from intake_bluesky.errors import UnsupportedQuery
from intake_bluesky.query import Path, Start
from intake_bluesky.query.paths import MISSING, lookup
from intake_bluesky.query.split import answered
from intake_bluesky.search.selection import Selection
from intake_bluesky.storage.contract import Lookup
from intake_bluesky.storage.order import Order

T = TypeVar("T")
Rank: TypeAlias = tuple[Any, ...]
FETCHED: Final = 500  # runs that are fetched at once, by uid
DEEP: Final = 50  # levels of lists and dicts that are compared; those below count as equal
TIME: Final = Path("start", ("time",))


def as_path(key: str) -> Path:
    """The place of a dotted key as `Key` takes it, in the start or the stop document; others raise `UnsupportedQuery`.

    Examples
    --------
    >>> as_path("stop.num_events.primary")
    Path(document='stop', segments=('num_events', 'primary'), descend=False)
    """
    path = Path.parse(key)
    if path.document not in ("start", "stop"):
        raise UnsupportedQuery(f"a key of the run start or the run stop is asked for, not {key!r}")
    return path


def value_of(run: RunSummary, path: Path) -> Any:
    """The value at an exact place in a run, or `MISSING`; the time of the start as the catalog orders by it."""
    if path == TIME:
        return MISSING if run.time is None else run.time
    document = run.start if path.document == "start" else run.stop
    return next(lookup(document or {}, path), MISSING)


def rank(value: Any, *, depth: int = 0) -> Rank:
    """Bring any two values of documents into one order, in which equal ones are equal and hashed alike.

    null < false < true < numbers < NaN < text < lists < dicts. Numbers compare exactly (1 equals 1.0, and no
    bool), text by code points, lists item by item, dicts by their sorted keys.

    Examples
    --------
    >>> sorted(["b", 2, [1], None, True, 1.5, "a"], key=rank)
    [None, True, 1.5, 2, 'a', 'b', [1]]
    """
    if depth > DEEP:
        return (9,)
    if type(value) is str or type(value) is int:  # nearly all
        return (4 if type(value) is str else 2), value
    if value is None or isinstance(value, bool):
        return (0 if value is None else 1, value)
    if isinstance(value, float) and math.isnan(value):
        return (3,)
    if isinstance(value, int | float):
        return 2, value
    if isinstance(value, str):
        return 4, str(value)
    if isinstance(value, list | tuple):
        return 5, tuple(rank(item, depth=depth + 1) for item in value)
    if isinstance(value, Mapping):
        return 6, tuple(sorted((str(key), rank(item, depth=depth + 1)) for key, item in value.items()))
    to_python = getattr(value, "tolist", None) if hasattr(value, "dtype") else None
    return rank(to_python(), depth=depth + 1) if callable(to_python) else (7, repr(value))


@dataclass(frozen=True, slots=True)
class SortKey:
    """One key to sort by, with its text as it was given: ``"-start.time"``."""

    text: str
    path: Path = field(init=False)

    def __post_init__(self) -> None:
        if not isinstance(self.text, str):
            raise UnsupportedQuery(f"a key to sort by is a str like 'scan_id' or '-start.time', not {self.text!r}")
        object.__setattr__(self, "path", as_path(self.text.removeprefix("-")))

    @property
    def descending(self) -> bool:
        """Whether the largest comes first."""
        return self.text.startswith("-")

    def rank_of(self, value: Any) -> Rank | None:
        """The rank of a run with this value; None with `MISSING`, null or NaN: those come last whichever way."""
        found = (0,) if value is MISSING else rank(value)
        return None if found[0] in (0, 3) else found


@dataclass(frozen=True, slots=True)
class Sorting:
    """The keys that runs are sorted by, the first before the second.

    Runs that are equal by all of them come by (time, uid), in the direction of the last key: upwards, so the
    oldest first, unless it begins with ``-``.

    Examples
    --------
    >>> Sorting.of(["-start.time", "scan_id"]).texts
    ['-start.time', 'scan_id']
    """

    keys: tuple[SortKey, ...] = ()

    @classmethod
    def of(cls, keys: str | Iterable[str] | None) -> Self:
        """Read what users give; what are no keys raises `UnsupportedQuery`."""
        listed = [keys] if isinstance(keys, str) else keys or ()
        if not isinstance(listed, Iterable):
            raise UnsupportedQuery(f"the keys to sort by are str like 'scan_id' or '-start.time', not {keys!r}")
        return cls(tuple(SortKey(key) for key in listed))

    @property
    def texts(self) -> list[str]:
        """The keys as they were given."""
        return [key.text for key in self.keys]

    def __bool__(self) -> bool:
        return bool(self.keys)

    @property
    def by_time(self) -> bool:
        """Whether the first key is the time, by which stores order their runs themselves."""
        return bool(self.keys) and self.keys[0].path == TIME

    @property
    def ties(self) -> Order:
        """How runs that are equal by all keys come."""
        return Order.NEWEST if not self.keys or self.keys[-1].descending else Order.OLDEST

    def ranks(self, run: RunSummary) -> tuple[Rank | None, ...]:
        """The rank of a run by each key."""
        return self.ranks_of(value_of(run, key.path) for key in self.keys)

    def ranks_of(self, values: Iterable[Any]) -> tuple[Rank | None, ...]:
        """The rank of a run with these values, by each key."""
        return tuple([key.rank_of(value) for key, value in zip(self.keys, values, strict=True)])

    def arrange(self, items: Iterable[tuple[T, tuple[Rank | None, ...]]]) -> list[T]:
        """Sort things by their ranks; those that are equal stay as they come."""
        arranged = list(items)
        for place, key in reversed(list(enumerate(self.keys))):
            # Stable sorts, the least important key first. Two for each: in a sort in reverse, missing values would come
            # first.
            arranged.sort(key=lambda item: item[1][place] or (), reverse=key.descending)
            arranged.sort(key=lambda item: item[1][place] is None)
        return [thing for thing, _ in arranged]


def _with_time(paths: Iterable[Path], time: float | None, others: Iterator[Any]) -> Iterator[Any]:
    timed = MISSING if time is None else time
    return (timed if path == TIME else next(others) for path in paths)


@dataclass(frozen=True, slots=True)
class Arrangement:
    """Some runs in the order that a catalog goes through them; making one reads nothing.

    By time, the runs come as the store finds them, and only those of the same time are held at once. By other
    keys, what the store finds is gone through once, of which uids and keys are kept; a store that can look up the keys
    without documents is asked for these. Then runs are fetched by their uids, `FETCHED` at once. Only of a store that
    does not find runs by uid the documents are kept.

    Examples
    --------
    >>> from intake_bluesky.testing.memory import MemoryStore
    >>> starts = ({"uid": name, "time": 1.0, "scan_id": number} for name, number in (("a", 5), ("b", 3)))
    >>> selection = Selection(MemoryStore([("start", start)] for start in starts))
    >>> list(Arrangement(selection, Sorting.of("scan_id")).uids())
    ['b', 'a']
    """

    selection: Selection
    sorting: Sorting = Sorting()

    def runs(self, *, offset: int = 0, limit: int | None = None) -> Iterator[RunSummary]:
        """Yield the runs in order, reading no header and no event."""
        stop = None if limit is None else offset + limit
        if len(self.sorting.keys) <= 1 and (self.sorting.by_time or not self.sorting):
            yield from self.selection.runs(order=self.sorting.ties, offset=offset, limit=limit)
        elif self.sorting.by_time:
            yield from islice(self._by_time(), offset, stop)
        # Any uid would do: this asks whether the store finds runs by uid at all.
        elif answered(Start("uid").is_in([""]), self.selection.store.answers):
            yield from self._fetched(islice(self._uids(), offset, stop))
        else:
            yield from islice(self._collected(lambda run: run), offset, stop)

    def uids(self, *, limit: int | None = None) -> Iterator[str]:
        """Yield the uids in order."""
        if self.sorting and not self.sorting.by_time:
            yield from islice(self._uids(), limit)
        elif len(self.sorting.keys) <= 1 and (found := self._looked_up(())) is not None:
            yield from islice(map(itemgetter(0), found), limit)
        else:
            yield from (run.uid for run in self.runs(limit=limit))

    def _by_time(self) -> Iterator[RunSummary]:
        order = Order.NEWEST if self.sorting.keys[0].descending else Order.OLDEST
        absent: set[Path] | None = None
        for _, group in groupby(self.selection.runs(order=order), key=lambda run: run.time):
            same = list(group)
            asked = {key.path for key in self.sorting.keys[1:]} if absent is None else absent
            absent = {path for path in asked if all(value_of(run, path) is MISSING for run in same)}
            # Runs of one time come by uid in the direction of the time, and ties in that of the last key.
            if order is not self.sorting.ties:
                same.reverse()
            yield from self.sorting.arrange((run, self.sorting.ranks(run)) for run in same) if len(same) > 1 else same
        self.selection.none_has(absent or ())

    def _uids(self) -> Iterator[str]:
        told = self._told()
        yield from self._collected(attrgetter("uid")) if told is None else self._arranged(told)

    def _told(self) -> Iterator[tuple[str, tuple[Rank | None, ...]]] | None:
        """Uids and ranks, as the store looks them up; None where documents have to be read."""
        paths = [key.path for key in self.sorting.keys]
        found = self._looked_up([path for path in paths if path != TIME])
        if found is None:
            return None
        if TIME not in paths:
            return ((uid, self.sorting.ranks_of(values)) for uid, _, values in found)
        return ((uid, self.sorting.ranks_of(_with_time(paths, time, iter(values)))) for uid, time, values in found)

    def _looked_up(self, paths: Sequence[Path]) -> Lookup | None:
        """Uids, times and values, as the store looks them up; None where documents have to be read."""
        plan = self.selection.plan(order=self.sorting.ties).whole
        # In order only: `Sorting.arrange` leaves runs that are equal by all keys as they come.
        found = self.selection.store.lookup(paths, plan) if plan is not None and plan.ordered else None
        return None if found is None else self.selection.watched(found)

    def _collected(self, keep: Callable[[RunSummary], T]) -> Iterator[T]:
        found = self.selection.runs(order=self.sorting.ties)
        yield from self._arranged((keep(run), self.sorting.ranks(run)) for run in found)

    def _arranged(self, items: Iterable[tuple[T, tuple[Rank | None, ...]]]) -> list[T]:
        """Sort, and warn of keys that no run has where none of these has a value of them."""
        found = list(items)
        ranked = enumerate(self.sorting.keys) if found else ()
        self.selection.none_has(key.path for place, key in ranked if all(ranks[place] is None for _, ranks in found))
        return self.sorting.arrange(found)

    def _fetched(self, uids: Iterator[str]) -> Iterator[RunSummary]:
        whole = replace(self.selection, stages=())  # these uids did match: the query need not be put to them again
        while batch := list(islice(uids, FETCHED)):
            found = {run.uid: run for run in whole.runs(Start("uid").is_in(batch))}
            # A run may have been removed since its uid was listed.
            yield from (found[uid] for uid in batch if uid in found)

    def uid_at(self, place: int) -> str:
        """The run at a negative place: -1 is the newest or, with keys to sort by, the last; else `IndexError`."""
        if not self.sorting:
            return self.selection.newest(-place - 1).uid
        uids: Sequence[str] = list(self.uids())
        if -place > len(uids):
            raise IndexError(f"{place} was asked and there are {len(uids)} runs{self.selection.unread()}")
        return uids[place]

    def cut(self, part: slice) -> Selection:
        """The runs at the places of a slice, as they are now.

        The oldest is at 0 and the newest at -1; where keys to sort by were given, the first and the last.
        """
        if not self.sorting or part == slice(None):
            return self.selection.cut(part)
        return self.selection.narrowed(Start("uid").is_in(list(self.uids())[part]))

    def head(self, number: int) -> Selection:
        """The first runs in order, as they are now."""
        return self.selection.narrowed(Start("uid").is_in(list(self.uids(limit=number))))
