"""The contract's own code: order, defaults, and runs written in a block."""

from __future__ import annotations

import inspect
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path as FilePath
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intake_bluesky import storage
from intake_bluesky.catalogs.run_catalog import BlueskyCatalog
from intake_bluesky.documents.model import Document, EventPage, RunHeader, RunSummary
from intake_bluesky.errors import UnsupportedOperation
from intake_bluesky.query import ALL, Path, Query, Start, matches
from intake_bluesky.search.selection import Selection
from intake_bluesky.storage.contract import ALL_RUNS, Plan, RunInsert, RunStore
from intake_bluesky.storage.order import Order, sort_runs
from intake_bluesky.testing.examples import EXAMPLES
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

    def find(self, plan: Plan = ALL_RUNS, *, offset: int = 0, limit: int | None = None) -> Iterator[RunSummary]:
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
    assert store.plan(query, Order.OLDEST) == Plan(ALL, query, False, Order.OLDEST)
    assert not store.answers(query)
    assert store.count() == 0
    assert store.distinct(Path("start", ("plan_name",))) is None
    assert store.lookup([]) is None
    assert store.server_plan(Plan()) == ""
    assert store.arrays("a", "b") is None
    assert list(store.read_ahead([])) == []
    assert (store.statistics, store.shared_statistics, store.cache_key) == (None, None, None)
    assert (store.ttl, store.trusts_paths, store.ordered) == (1.0, True, False)
    assert list(store.problems()) == []
    store.refresh(deep=True)
    store.close()
    assert store.exact_documents


def test_datums_come_out_of_the_documents_by_default(tmp_path: FilePath) -> None:
    """Four methods are enough to read detectors' files of before stream resources."""
    inner = MemoryStore([EXAMPLES["ad_hdf5"](tmp_path)])
    [run] = inner.find()
    header = inner.header(run.uid)

    class Store(_Least):
        def find(self, plan: Plan = ALL_RUNS, *, offset: int = 0, limit: int | None = None) -> Iterator[RunSummary]:
            return inner.find(plan, offset=offset, limit=limit)

        def header(self, uid: str) -> RunHeader:
            return inner.header(uid)

        def event_pages(self, uid: str, stream: str, **options: Any) -> Iterator[EventPage]:
            return inner.event_pages(uid, stream, **options)

        def documents(self, uid: str) -> Iterator[tuple[str, Document]]:
            return inner.documents(uid)

    observed = BlueskyCatalog(Store())[run.uid].primary.read()
    expected = BlueskyCatalog(inner)[run.uid].primary.read()
    assert header.resources
    assert observed.identical(expected)


def test_a_store_is_not_written_by_default() -> None:
    store = _Least()
    assert not store.writable
    with pytest.raises(UnsupportedOperation, match="_Least takes no runs"):
        store.insert({"uid": "a"})
    with pytest.raises(UnsupportedOperation, match="_Least only reads"):
        store.remove("a")
    assert MemoryStore().writable


def test_what_a_store_answers_is_what_it_pushes() -> None:
    class ByNumber(_Least):
        ordered = True

        def answers(self, leaf: Query) -> bool:
            return leaf == (Start("scan_id") == 5)

    five, scan = Start("scan_id") == 5, Start("plan_name") == "scan"
    assert ByNumber().plan(five & scan, Order.OLDEST) == Plan(five, scan, True, Order.OLDEST)
    assert ByNumber().plan(five | scan, Order.OLDEST) == Plan(ALL, five | scan, True, Order.OLDEST)
    assert ByNumber().plan(~five, Order.NEWEST) == Plan(~five, ALL, True, Order.NEWEST)


def test_a_store_that_answers_nothing_need_not_know_that_nothing_is_asked_for() -> None:
    """It may find all runs whatever its plan says; a search that no run matches does not even ask."""

    class All(_Least):
        finds = 0

        def find(self, plan: Plan = ALL_RUNS, *, offset: int = 0, limit: int | None = None) -> Iterator[RunSummary]:
            self.finds += 1
            return iter([RunSummary.of({"uid": "a", "time": 1.0}, None)])

    store = All()
    plan = store.plan(~ALL, Order.NEWEST)
    assert [run.uid for run in store.find(plan) if matches(plan.residual, run)] == []
    store.finds = 0
    selection = Selection(store, (Start("uid").is_in([]),))
    assert list(selection.runs()) == []
    assert selection.count() == 0
    assert store.finds == 0


@pytest.mark.parametrize(
    "name", ["SupportsInsert", "SupportsCount", "SupportsDistinct", "SupportsLookup", "SupportsStatistics"]
)
def test_old_names_are_imported_with_a_warning(name: str) -> None:
    method = name.removeprefix("Supports").lower()
    expected = "`writable`" if method == "insert" else f"`{method}`"
    with pytest.warns(DeprecationWarning, match=f"{name} is out of use.*{expected}") as caught:
        protocol = getattr(storage, name)
    assert caught[0].filename == __file__
    assert isinstance(_Least(), protocol)
    assert not isinstance(object(), protocol)
    declared, today = getattr(protocol, method), getattr(RunStore, method)
    if isinstance(today, property):
        declared, today = declared.fget, today.fget
    assert inspect.signature(declared) == inspect.signature(today)


def test_old_names_are_imported_as_drivers_import_them() -> None:
    code = "from intake_bluesky.storage import SupportsCount, SupportsStatistics; print(SupportsCount.__name__)"
    options = ["-W", "default::DeprecationWarning:__main__"]
    done = subprocess.run([sys.executable, *options, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "SupportsCount\n"
    assert done.stderr.count("DeprecationWarning") == 2


def test_other_names_are_still_missing() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'SupportsNothing'"):
        storage.SupportsNothing  # noqa: B018


def test_four_methods_are_abstract() -> None:
    assert RunStore.__abstractmethods__ == {"find", "header", "event_pages", "documents"}


def test_plan_pickles() -> None:
    plan = Plan(Start("a") == 1, ALL, False, Order.OLDEST, ("compiled", [1]))
    again = pickle.loads(pickle.dumps(plan))
    assert again == plan
    assert again.compiled == plan.compiled


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
