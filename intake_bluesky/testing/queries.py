"""Hypothesis strategies for queries, and for start and stop documents that they may well match."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

from hypothesis import strategies as st

from intake_bluesky.query import (
    ALL,
    AnyItem,
    Compare,
    Contains,
    Exists,
    FullText,
    HasSize,
    In,
    IsNaN,
    PartialUID,
    Path,
    Query,
    Regex,
    ScanID,
    ScanIDRange,
    TimeRange,
)

KEYS: Final = ("a", "b", "0", "1", "stop")
TEXTS: Final = (
    "",
    "Ni",
    "ni",
    "Straße",
    "STRASSE foil",
    "a.b",
    "nul\0",
    "half \ud800",
    "\uffff",
    "\U0001f600",
    "x" * 40,
)
NUMBERS: Final = (
    0,
    1,
    -1,
    2,
    2**53,
    2**53 + 1,
    2**63,
    -(2**64) - 1,
    0.0,
    -0.0,
    1.0,
    0.5,
    2.0**53,
    1e300,
    math.inf,
)
OPERATORS: Final = ("==", "<", "<=", ">", ">=")
PATTERNS: Final = ("Ni", "^ni$", r"\d", "s+", "(?m)^n", ".")


@dataclass(frozen=True, slots=True)
class Run:
    """Just enough of a run for `intake_bluesky.query.matches`."""

    start: dict[str, Any]
    stop: dict[str, Any] | None


def scalars(*, nan: bool = False) -> st.SearchStrategy[Any]:
    """Give None, bools, text and numbers, some hard to tell apart; with `nan` NaN too."""
    numbers = st.sampled_from((*NUMBERS, math.nan) if nan else NUMBERS)
    return st.one_of(st.none(), st.booleans(), numbers, st.sampled_from(TEXTS))


def values(*, nan: bool = False) -> st.SearchStrategy[Any]:
    """Give what a document may hold: scalars, and lists and dicts of them."""
    return st.recursive(
        scalars(nan=nan),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=3),
        max_leaves=6,
    )


def start_documents() -> st.SearchStrategy[dict[str, Any]]:
    """Give run start documents: uid and time always, scan_id and plan_name often, and other keys."""
    return st.builds(
        lambda known, named, others: {**others, **named, **known},
        st.fixed_dictionaries({"uid": st.uuids().map(str), "time": st.floats(1.5e9, 1.8e9)}),
        st.fixed_dictionaries(
            {}, optional={"scan_id": st.integers(1, 5), "plan_name": st.sampled_from(("scan", "count"))}
        ),
        st.dictionaries(st.sampled_from(KEYS), values(nan=True), max_size=4),
    )


def stop_documents() -> st.SearchStrategy[dict[str, Any]]:
    """Give run stop documents: exit_status always, and other keys."""
    return st.builds(
        lambda status, others: {**others, "exit_status": status},
        st.sampled_from(("success", "abort", "fail")),
        st.dictionaries(st.sampled_from(KEYS), values(nan=True), max_size=2),
    )


def runs() -> st.SearchStrategy[Run]:
    """Give runs, some of them without a stop document."""
    return st.builds(Run, start_documents(), st.none() | stop_documents())


def paths(*, descend: bool | None = None) -> st.SearchStrategy[Path]:
    """Give paths into the start and the stop document; `descend` picks one way to look, None mixes both."""
    named = st.sampled_from(
        [
            ("start", ("plan_name",)),
            ("start", ("scan_id",)),
            ("start", ("time",)),
            ("stop", ("exit_status",)),
        ]
    )
    nested = st.tuples(
        st.sampled_from(("start", "stop")), st.lists(st.sampled_from(KEYS), min_size=1, max_size=3).map(tuple)
    )
    ways = st.booleans() if descend is None else st.just(descend)
    return st.builds(lambda place, way: Path(place[0], place[1], way), named | nested, ways)


def queries(*, descend: bool | None = False, max_leaves: int = 8) -> st.SearchStrategy[Query]:
    """Give queries over start and stop.

    Parameters
    ----------
    descend
        Whether paths look at lists as MongoDB does; None mixes both ways.
    max_leaves
        About how many conditions a query combines at most.
    """
    return st.recursive(leaf_queries(descend=descend), _combined, max_leaves=max_leaves)


def _combined(inner: st.SearchStrategy[Query]) -> st.SearchStrategy[Query]:
    return st.one_of(
        st.builds(lambda left, right: left & right, inner, inner),
        st.builds(lambda left, right: left | right, inner, inner),
        st.builds(lambda query: ~query, inner),
    )


def leaf_queries(*, descend: bool | None = False) -> st.SearchStrategy[Query]:
    """Give single conditions of every kind."""
    at = paths(descend=descend)
    item_keys = st.lists(st.sampled_from(KEYS), min_size=1, max_size=2).map(tuple)
    item_paths = st.builds(Path, st.just("item"), item_keys, at.map(lambda path: path.descend))
    items = _conditions(st.just(Path("item", ()))) | st.recursive(_conditions(item_paths), _combined, max_leaves=3)
    return st.one_of(_conditions(at), st.builds(AnyItem, at, items), _about_the_run(), st.just(ALL))


def _conditions(at: st.SearchStrategy[Path]) -> st.SearchStrategy[Query]:
    return st.one_of(
        st.builds(Compare, at, st.just("=="), values()),
        st.builds(Compare, at, st.sampled_from(OPERATORS), scalars()),
        st.builds(In, at, st.lists(values(), min_size=1, max_size=3)),
        st.builds(Exists, at),
        st.builds(IsNaN, at),
        st.builds(Contains, at, values()),
        st.builds(HasSize, at, st.integers(0, 3)),
        st.builds(Regex, at, st.sampled_from(PATTERNS), st.sampled_from(("", "i", "is"))),
    )


def _about_the_run() -> st.SearchStrategy[Query]:
    times = st.none() | st.floats(1.5e9, 1.8e9)
    ids = st.integers(1, 5)
    return st.one_of(
        st.builds(
            lambda uids: PartialUID(*uids),
            st.lists(st.text("0123456789abcdef", min_size=1, max_size=2), min_size=1),
        ),
        st.builds(lambda ends: TimeRange(*_ordered(*ends)), st.tuples(times, times)),
        st.builds(lambda chosen: ScanID(*chosen, duplicates="all"), st.lists(ids, min_size=1, max_size=2)),
        st.builds(ScanIDRange, ids, ids, st.just("all")),
        st.builds(FullText, st.sampled_from(("ni", "strasse", "FOIL Strasse", "scan"))),
    )


def _ordered(since: float | None, until: float | None) -> tuple[float | None, float | None]:
    return (until, since) if since is not None and until is not None and since > until else (since, until)
