"""The contract's own code: order, defaults, and runs written in a block."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intake_bluesky.documents.model import Document, EventPage, RunHeader, RunSummary
from intake_bluesky.query import ALL, Start
from intake_bluesky.storage.contract import Plan, RunInsert, RunStore
from intake_bluesky.storage.order import Order, sort_runs
from intake_bluesky.testing.memory import MemoryStore

TIMES = st.none() | st.sampled_from([-1.0, 0.0, 1.5]) | st.floats(allow_nan=False, allow_infinity=False)
SUMMARIES = st.lists(
    st.builds(lambda uid, time: RunSummary(uid, time, None, {}, None), st.text("ab", max_size=3), TIMES),
    max_size=8,
)


@given(SUMMARIES)
def test_runs_are_in_total_order(runs: list[RunSummary]) -> None:
    newest, oldest = sort_runs(runs, Order.NEWEST), sort_runs(runs, Order.OLDEST)
    timed = [(run.time, run.uid) for run in runs if run.time is not None]
    timeless = [run.uid for run in runs if run.time is None]
    assert [(r.time, r.uid) for r in oldest] == sorted(timed) + [(None, uid) for uid in sorted(timeless)]
    assert [(r.time, r.uid) for r in newest] == sorted(timed, reverse=True) + [
        (None, uid) for uid in sorted(timeless, reverse=True)
    ]


class _Least(RunStore):
    """Four methods, as few as a driver can have."""

    def find(self, query: Any = ALL, **_: Any) -> Iterator[RunSummary]:
        return iter(())

    def header(self, uid: str) -> RunHeader:
        raise NotImplementedError

    def event_pages(self, uid: str, stream: str, **_: Any) -> Iterator[EventPage]:
        return iter(())

    def documents(self, uid: str) -> Iterator[tuple[str, Document]]:
        return iter(())


def test_defaults_of_a_store() -> None:
    store = _Least()
    query = Start("plan_name") == "scan"
    assert store.plan(query, Order.NEWEST) == Plan(ALL, query, ordered=False)
    assert list(store.datum_pages("a", "b")) == []
    assert list(store.problems()) == []
    store.refresh(deep=True)
    store.close()
    assert store.exact_documents


def test_four_methods_are_abstract() -> None:
    assert RunStore.__abstractmethods__ == {"find", "header", "event_pages", "documents"}


def test_powers_are_seen() -> None:
    assert isinstance(MemoryStore(), SupportsInsert)
    assert isinstance(MemoryStore(), SupportsCount)
    assert not isinstance(_Least(), SupportsInsert)
    assert not isinstance(_Least(), SupportsCount)


def test_plan_pickles() -> None:
    plan = Plan(Start("a") == 1, ALL, ordered=True)
    assert pickle.loads(pickle.dumps(plan)) == plan


class _Insert(RunInsert):
    closed = 0

    def write(self, name: str, doc: Document) -> None:
        raise ValueError(name)

    def close(self) -> None:
        self.closed += 1


def test_insert_is_closed_after_its_block_and_after_an_error() -> None:
    with _Insert() as insert:
        assert insert.closed == 0
    assert insert.closed == 1
    failing = _Insert()
    with pytest.raises(ValueError, match="event"), failing:
        failing.write("event", {})
    assert failing.closed == 1
