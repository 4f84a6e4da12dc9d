"""Telling of keys that no run has: of a query that found nothing, of a side of `|`, of a sort, of a column.

A search that finds a run costs nothing more, unless it has a `|`. Of one that finds none, each key is looked for once
in the life of a catalog, and each look is bounded: the store is asked for one run that has the key where it answers
that by itself, as it answered the search; else the newest `SAMPLE` runs are looked at, of which the near ones come,
too. What was recorded is looked for in the headers of the newest `OPENED` runs. A key to sort by, or of a column, is
looked for where none of the runs that were gone through has it; one of a side of `|`, where the store answers by
itself.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from difflib import SequenceMatcher, get_close_matches
from itertools import islice
from typing import Any, Final

from intake_bluesky.documents.model import RunHeader, RunSummary
from intake_bluesky.errors import DamagedRun, EmptyCatalogWarning, RunNotFound, UnknownKeyWarning
from intake_bluesky.query import (
    ALL,
    And,
    AnyDescriptor,
    CompareStatistic,
    DataBetween,
    DataWithin,
    Exists,
    FullText,
    Or,
    Path,
    PathQuery,
    Query,
    all_of,
    leaves,
    matches,
    words,
)
from intake_bluesky.search.plan import plan_search
from intake_bluesky.storage.contract import ALL_RUNS, Plan, Problem, RunStore
from intake_bluesky.storage.order import Order

__all__ = ["UnknownKeys", "why_empty"]

SAMPLE: Final = 100  # runs of which start and stop are looked at
OPENED: Final = 5  # runs that are opened for the names of what was recorded
DEEPEST: Final = 4  # levels of dicts in which keys are looked for
MOST: Final = 2000  # keys among which near ones are looked for
ASKED: Final = 20  # keys of one query that are looked for
NEAR: Final = 3  # near ones that are named
ALIKE: Final = 0.6  # the ratio of `difflib` from which a key is near
MEANT: Final = 0.85  # and from which a word may be meant for one

OF_THE_MODEL: Final = frozenset(
    {("start", (name,)) for name in ("uid", "time")}
    | {("stop", (name,)) for name in ("exit_status", "num_events", "reason", "run_start", "time", "uid")}
)
"""Keys of event-model's run start and stop, which are no mistakes while no run has them: as long as all go on."""
OTHERWISE: Final[Mapping[str, str]] = {
    "status": "stop.exit_status",
    "plan": "plan_name",
    **dict.fromkeys(("since", "until", "start_time", "stop_time"), "TimeRange(since=..., until=...)"),
}
"""What people call a key by another name."""


@dataclass(frozen=True, slots=True)
class _Known:
    """Names that some runs have: of keys in their documents as a query is written, and of what they recorded."""

    runs: tuple[RunSummary, ...]
    keys: Mapping[str, str]  # dotted to how it is written: one that has a dot itself, as a path
    opened: int
    recorded: Mapping[str, str]  # name to code

    @classmethod
    def of(cls, store: RunStore, enough: frozenset[str] | None) -> _Known:
        """Look; for what was recorded until all of `enough` are found, and of None, into all runs of the sample."""
        runs = tuple(islice(store.find(ALL_RUNS, limit=SAMPLE), SAMPLE))
        keys: dict[str, str] = {}
        for run in runs:
            if len(keys) < MOST:
                keys.update(islice(_keys("start", run.start), MOST))
                keys.update(islice(_keys("stop", run.stop or {}), MOST))
        recorded: dict[str, str] = {}
        opened = 0
        for run in runs[:OPENED]:
            if enough is not None and enough <= recorded.keys():
                break
            with suppress(DamagedRun, RunNotFound):
                recorded.update(_recorded(store.header(run.uid)))
                opened += 1
        return cls(runs, keys, opened, recorded)

    def which(self, looked_at: int) -> str:
        """Of which runs something is told that is so of as many of the sample."""
        return "no run" if looked_at == len(self.runs) < SAMPLE else f"none of the {looked_at} runs looked at"

    def near(self, name: str) -> list[str]:
        """What may be meant, the likeliest first."""
        last = name.rpartition(".")[2]
        offered: dict[str, float] = {}
        for key, written in self.keys.items():
            same = key.rpartition(".")[2] == last
            offered[written] = 2.0 if same else _likeness(name.removeprefix("stop."), key.removeprefix("stop."))
        for own, code in self.recorded.items():
            offered[code] = max(2.0 if own == last else _likeness(last, own), offered.get(code, 0.0))
        if last in OTHERWISE:
            offered[OTHERWISE[last]] = 3.0
        found = sorted((-ratio, key) for key, ratio in offered.items() if ratio >= ALIKE)
        best = found[0][0] if found else 0.0
        # The same word elsewhere is better than any that is only spelled alike.
        return [key for ratio, key in found if best > -2.0 or ratio <= -2.0][:NEAR]


def _likeness(one: str, other: str) -> float:
    matcher = SequenceMatcher(None, one, other)
    return matcher.ratio() if matcher.real_quick_ratio() >= ALIKE and matcher.quick_ratio() >= ALIKE else 0.0


def _keys(name: str, document: Mapping[str, Any], before: tuple[str, ...] = ()) -> Iterator[tuple[str, str]]:
    for key, value in document.items():
        segments = (*before, str(key))
        dotted = ".".join(segments if name == "start" else (name, *segments))
        yield dotted, str(Path(name, segments)) if any("." in segment for segment in segments) else dotted
        if isinstance(value, Mapping) and len(segments) < DEEPEST:
            yield from _keys(name, value, segments)


def _recorded(header: RunHeader) -> Iterator[tuple[str, str]]:
    """Names of data keys, devices and their configuration, with code that asks for them."""
    for stream in header.streams.values():
        for descriptor in stream.descriptors:
            configured = descriptor.get("configuration") or {}
            for device, block in configured.items():
                yield from ((str(key), f"Config({device!r}, {key!r})") for key in (block.get("data") or {}))
            devices = {*configured, *(descriptor.get("object_keys") or {}), *(descriptor.get("hints") or {})}
            yield from ((str(device), f"Device({device!r})") for device in devices)
        yield from ((str(key), f"Data({key!r})") for key in stream.data_keys)


@dataclass(eq=False)
class UnknownKeys:
    """Warns, once for each key, of keys that no run has; a catalog and its searches share one.

    Of a catalog without any run it warns once, with what could not be read.
    """

    _asked: set[object] = field(default_factory=set)
    _empty: bool = False  # whether it was told why there are no runs

    def look(self, store: RunStore, query: Query) -> None:
        """Look for the keys of a query that found nothing, and warn of those that no run has."""
        new = [one for one in _places(query) if one not in self._asked][:ASKED]
        self._asked.update(new)
        messages = None if query == ALL else _messages(store, new)
        for message in messages or ():
            warnings.warn(message, UnknownKeyWarning, stacklevel=_callers_level())
        if messages is None and not self._empty:
            self._empty = True
            problems: Sequence[Problem] = ()
            with suppress(Exception):  # as of `_messages`
                # Not of places to which nothing was written yet: who begins there, or waits, is not to be warned.
                problems = [one for one in store.problems() if not one.to_come]
            if problems:
                warnings.warn(why_empty(problems, "cat.problems"), EmptyCatalogWarning, stacklevel=_callers_level())

    def look_at_sides(self, store: RunStore, query: Query) -> None:
        """Look for the keys of the sides of each `|` in a query that found something, if the store says by itself."""
        places = (place for side in _sides(query) for place in _places(side))
        asked = (one for one in places if isinstance(one, Path) and one not in self._asked)
        new = [one for one in islice(asked, ASKED) if _plan(store, one) is not None]
        if new:
            self.look(store, all_of(Exists(path) for path in new))


def why_empty(problems: Sequence[Problem], see: str) -> str:
    """What a catalog without runs is told to have instead, and where the rest of it can be seen."""
    first, more = problems[0], f" ({len(problems)} problems in all: see {see})" if len(problems) > 1 else ""
    return f"no run can be read: {first.where}: {first.message}{more}"


def _sides(query: Query) -> Iterator[Query]:
    if isinstance(query, Or):
        yield from query.children
    elif isinstance(query, And):
        for child in query.children:
            yield from _sides(child)


def _places(query: Query) -> Iterator[Path | str | FullText]:
    """Keys of start and stop, names of what was recorded, and words, each once."""
    found: dict[Path | str | FullText, None] = {}
    for leaf in leaves(query):
        if isinstance(leaf, PathQuery):
            if (leaf.path.document, leaf.path.segments) not in OF_THE_MODEL:
                found[leaf.path] = None
        elif isinstance(leaf, CompareStatistic | DataBetween | DataWithin):
            found[leaf.key] = None
        elif isinstance(leaf, AnyDescriptor):
            # (data_keys, KEY, ...), (configuration, DEVICE, data, KEY), (object_keys, DEVICE).
            paths = [one.path.segments for one in leaves(leaf.query) if isinstance(one, PathQuery)]
            names = (s[1::2] if s[0] == "configuration" else s[1:2] for s in paths)
            found |= {name: None for own in names for name in own[:2]}
        elif isinstance(leaf, FullText):
            found[leaf] = None
    yield from found


def _messages(store: RunStore, places: Sequence[Path | str | FullText]) -> list[str] | None:
    """What is to be told; None of a store without runs."""
    if not places:
        return []
    try:
        # True: some run has it; False: none; None: the store cannot say.
        answers = {one: _some_run_has(store, one) if isinstance(one, Path) else None for one in places}
        doubtful = [one for one in places if not answers[one]]
        if not doubtful:
            return []
        names = frozenset(one for one in doubtful if isinstance(one, str))
        known = _Known.of(store, None if any(isinstance(one, Path) for one in doubtful) else names)
        if not known.runs:
            return None
        return [text for one in doubtful for text in _told(one, known, sure=answers[one] is False)]
    except Exception:  # noqa: BLE001 - the search itself is done; what fails here fails, and is told, where it is needed
        return []


def _some_run_has(store: RunStore, path: Path) -> bool | None:
    if path.document not in ("start", "stop"):
        return True  # a document of another package, which no listing has
    plan = _plan(store, path)
    return None if plan is None else next(iter(store.find(plan, limit=1)), None) is not None


def _plan(store: RunStore, path: Path) -> Plan | None:
    return plan_search(store, Exists(path), Order.NEWEST).whole


def _told(place: Path | str | FullText, known: _Known, *, sure: bool) -> Iterator[str]:
    if isinstance(place, FullText):
        for word in sorted(words(place.text)):
            for key in get_close_matches(word, known.keys.values(), n=1, cutoff=MEANT):
                yield f"words were searched for, and {key!r} is a key of runs: as a query, write {key} == 'value'"
    elif isinstance(place, str):
        if place not in known.recorded and known.opened:
            yield f"{known.which(known.opened)} recorded {place!r}{_advice(known.near(place))}"
    elif sure or not any(matches(Exists(place), run) for run in known.runs):
        name = ".".join(place.segments if place.document == "start" else (place.document, *place.segments))
        which = "no run has" if sure else f"{known.which(len(known.runs))} has"
        yield f"{which} the key {name!r} in its run {place.document}{_advice(known.near(name))}"


def _advice(near: list[str]) -> str:
    return f": did you mean {' or '.join(near)}?" if near else ", nor one that is spelled alike"


def _callers_level() -> int:
    """How far up the code is that searched: the first frame that is neither of this package nor of Intake."""
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and str(frame.f_globals.get("__name__")).startswith("intake"):
        frame, level = frame.f_back, level + 1
    return level
