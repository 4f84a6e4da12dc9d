"""What a store tells of the values at paths, held to what documents hold."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from hypothesis import strategies as st

from intake_bluesky.documents.model import RunSummary, identical
from intake_bluesky.query import ALL, Path, Query, Start, Stop, matches
from intake_bluesky.query.paths import MISSING
from intake_bluesky.search.ordering import rank, value_of
from intake_bluesky.storage.contract import Lookup, Plan
from intake_bluesky.storage.order import Order, sort_runs
from intake_bluesky.testing.queries import Run, values

__all__ = ["HELD", "KEYS", "ODD", "QUERIES", "Told", "check_told", "with_values"]

QUERIES = (ALL, Start("x").exists(), ~(Start("plan_name") == "scan"), Stop("x") == 1, Start("scan_id") < 3)
KEYS = ("x", "plan_name", "scan_id", "sample", "sample.name", "stop.exit_status", "stop.x", "x.0", "x.a", "uid")
ODD: tuple[Any, ...] = (
    math.inf, -math.inf, 2**63, 2**70, 2**71, -(2**63), -(2**63) - 1, 2**63 - 1, 2.0**63, 9e18, 1e300, -1e300, 5e-324,
    0, 0.0, -0.0, 1, 1.0, True, False, None, math.nan, [math.nan], [math.inf], [2**70], [2**71], [1, 2.0], [1.0, 2],
    [0.1], {}, {"a": 1}, {"a": 2**70}, {"a": 2**71}, {"b": 1, "a": 1}, {"a": 1, "b": 1}, [[1], ["a\0"]], [[], {}], [],
    "{", ["{"], "\0", "\1", "\2", "\ud7ff", "\ud7ffm", "\ud800", "\udfff", "\ue000", "é", "", "true", "null", "1",
)  # fmt: skip
STATUS = Path("stop", ("exit_status",))


class Told(Protocol):
    """A store that tells values, all of them."""

    def distinct(self, path: Path, plan: Plan) -> Iterable[tuple[Any, int]] | None: ...

    def lookup(self, paths: Sequence[Path], plan: Plan) -> Lookup | None: ...


def check_told(store: Told, runs: Iterable[RunSummary], path: Path, query: Query) -> None:
    """Hold a store that has these runs to each value at a path, its count, and its runs in both orders."""
    found = [run for run in runs if matches(query, run)]
    expected = [(run, value_of(run, path)) for run in found]
    counts = store.distinct(path, Plan(query))
    assert counts is not None
    observed: Counter[Any] = Counter()
    for value, count in counts:
        observed[rank(value)] += count
        assert any(identical(value, one) for _, one in expected), value
    assert observed == Counter(rank(value) for _, value in expected if value is not MISSING)
    for order in Order:
        told = store.lookup([path, STATUS], Plan(query, order=order))
        assert told is not None
        for (uid, time, (value, status)), run in zip(told, sort_runs(found, order), strict=True):
            assert (uid, time, _ranked(value)) == (run.uid, run.time, _ranked(value_of(run, path)))
            assert _ranked(status) == _ranked(value_of(run, STATUS))


def _ranked(value: Any) -> Any:
    return MISSING if value is MISSING else rank(value)


def with_values(run: Run, held: dict[str, Any]) -> Run:
    sample = {"sample": {"name": held["sample.name"]}} if "sample.name" in held else {}
    others = {key: value for key, value in held.items() if "." not in key}
    stop = run.stop if run.stop is None or "stop.x" not in held else {**run.stop, "x": held["stop.x"]}
    return Run({**run.start, **sample, **others}, stop)


VALUES = values(nan=True) | st.floats() | st.integers(-(2**65), 2**65) | st.text(max_size=3)
HELD = st.dictionaries(st.sampled_from(("x", "plan_name", "scan_id", "sample", "sample.name", "stop.x")), VALUES)
