"""The statistics cache over stores that keep none: it decides searches by data, and the meaning stays the same."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path as FilePath
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from intake_bluesky.catalogs.run_catalog import BlueskyCatalog
from intake_bluesky.documents.model import RunSummary, to_plain
from intake_bluesky.errors import RunNotFound
from intake_bluesky.query import (
    ALL,
    Data,
    DataQuery,
    In,
    PartialUID,
    Path,
    Query,
    Start,
    Stop,
    Stream,
    leaves,
    matches,
    replace_leaves,
    split,
)
from intake_bluesky.query.pruning import Kept
from intake_bluesky.search import statistics_cache
from intake_bluesky.search.run_view import StoredRun
from intake_bluesky.search.selection import Selection
from intake_bluesky.search.statistics_cache import CachedStatistics, with_statistics
from intake_bluesky.search.statistics_index import StatisticsIndex
from intake_bluesky.storage import ALL_RUNS, Lookup, Order, Plan, Recorded, RunStore
from intake_bluesky.storage.order import sort_runs
from intake_bluesky.testing import MemoryStore
from intake_bluesky.testing.compose import RunComposer, data_key
from intake_bluesky.testing.runs import Run

UNFINISHED, TIMELESS = 7, 4
UIDS = {number: f"{number:02}-run" for number in range(1, 13)}


class AnswersNothing(MemoryStore):
    """Has a name, and leaves every condition to the core."""

    cache_key = "runs in the memory of a test"

    def answers(self, leaf: Query) -> bool:
        return False


class AnswersUids(AnswersNothing):
    """Answers conditions on uids and on some other keys, and notes what it is asked."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.asked: list[Query] = []
        super().__init__(*args, **kwargs)

    def answers(self, leaf: Query) -> bool:
        path = getattr(leaf, "path", None)
        return isinstance(leaf, PartialUID) or path in (Path("start", ("uid",)), Path("start", ("plan_name",)))

    def find(self, plan: Plan = ALL_RUNS, *, offset: int = 0, limit: int | None = None) -> Iterator[RunSummary]:
        self.asked.append(plan.pushed)
        return super().find(plan, offset=offset, limit=limit)

    def lookup(self, paths: Sequence[Path], plan: Plan = ALL_RUNS) -> Lookup | None:
        return None if paths else ((run.uid, run.time, ()) for run in super().find(plan))

    def distinct(self, path: Path, plan: Plan = ALL_RUNS) -> list[tuple[Any, int]]:
        return [(run.start.get(path.segments[0]), 1) for run in super().find(plan)]


class TakesFewUids(AnswersUids):
    """Answers each condition, and leaves those over that name many runs: a statement has a largest size."""

    def plan(self, query: Query, order: Order) -> Plan:
        few = lambda leaf: self.answers(leaf) and not (isinstance(leaf, In) and len(leaf.values) > 2)  # noqa: E731
        return Plan(*split(query, few), True, order)


class Unordered(AnswersUids):
    """Finds runs as they were inserted, whatever the order."""

    ordered = False

    def find(self, plan: Plan = ALL_RUNS, *, offset: int = 0, limit: int | None = None) -> Iterator[RunSummary]:
        assert (offset, limit) == (0, None)
        return (run for run in map(self._summary, self._runs) if matches(plan.pushed, run))

    def lookup(self, paths: Sequence[Path], plan: Plan = ALL_RUNS) -> None:
        return None


KINDS = (AnswersNothing, AnswersUids, TakesFewUids, Unordered)


def run_of(number: int, *, top: float | None = None) -> Run:
    """A run of theta from -number to number in five steps, or to `top` and beyond, and of det, whole numbers."""
    time = {} if number == TIMELESS else {"time": 1.6e9 + number // 2}
    run = RunComposer("", uid=UIDS[number], scan_id=number, plan_name=["scan", "count"][number % 2])
    start = {key: value for key, value in run.documents[0][1].items() if key != "time"} | time
    primary = run.descriptor({"theta": data_key("number"), "det": data_key("integer")})
    for step in range(6 if top is None else 7):
        run.event(primary, {"theta": (number if top is None else top) * (2 * step - 5) / 5, "det": step * number})
    if number % 5 == 0:
        run.event(run.descriptor({"temperature": data_key("number")}, name="baseline"), {"temperature": 290.0})
    if number != UNFINISHED:
        run.stop(exit_status=["success", "fail"][number % 3 == 0])
    return [("start", start), *run.documents[1:]]


def all_runs() -> list[Run]:
    return [run_of(number) for number in (3, 1, 2, *range(12, 3, -1))]


@pytest.fixture(autouse=True)
def cache(tmp_path: FilePath, monkeypatch: pytest.MonkeyPatch) -> FilePath:
    monkeypatch.setenv("INTAKE_BLUESKY_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module", params=KINDS, ids=lambda kind: kind.__name__)
def held(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CachedStatistics]:
    """One store with all runs for all drawn queries."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INTAKE_BLUESKY_CACHE", str(tmp_path_factory.mktemp("cache")))
        store = cached(request.param(all_runs(), page_size=2))
        yield store
        store.close()


def cached(store: RunStore) -> CachedStatistics:
    found = with_statistics(store)
    assert isinstance(found, CachedStatistics)
    return found


def numbers(runs: Iterator[RunSummary]) -> list[int]:
    return [run.start["scan_id"] for run in runs]


def found(store: RunStore, query: Query) -> list[int]:
    return numbers(Selection(store, (query,)).runs())


def measure(store: CachedStatistics) -> None:
    store.statistics.measure(list(UIDS.values()))


theta, det, plan_name = Data("theta"), Data("det"), Start("plan_name")
BOUNDS = st.integers(-13, 13).map(float)
OVER_DATA = st.one_of(
    BOUNDS.map(lambda bound: theta.max() > bound),
    BOUNDS.map(lambda bound: theta.min() <= bound),
    st.integers(0, 70).map(lambda bound: det.max() < bound),
    st.integers(0, 40).map(lambda bound: det.sum() >= 10 * bound),
    st.tuples(BOUNDS, st.sampled_from([0.1, 0.5, 3.0])).map(lambda at: theta.between(at[0], at[0] + at[1])),
    st.tuples(BOUNDS, BOUNDS).map(lambda ends: theta.within(min(ends), max(ends))),
    st.just(Data("nowhere").count() > 0),
    st.just(Data("temperature").mean() > 200),
)
OTHERS = st.one_of(
    st.sampled_from(["scan", "count"]).map(lambda name: plan_name == name),
    st.integers(0, 13).map(lambda number: Start("scan_id") < number),
    st.sampled_from(["success", "fail"]).map(lambda status: Stop("exit_status") == status),
    st.lists(st.sampled_from(list(UIDS.values())), max_size=5).map(lambda uids: Start("uid").is_in(uids)),
    st.sampled_from([PartialUID("0"), PartialUID("1", "02"), Stream("baseline").exists(), ALL]),
)
QUERIES = st.recursive(
    OVER_DATA | OTHERS,
    lambda some: st.one_of(
        st.tuples(some, some).map(lambda both: both[0] & both[1]),
        st.tuples(some, some).map(lambda both: both[0] | both[1]),
        some.map(lambda one: ~one),
    ),
    max_leaves=5,
)
FEW = settings(max_examples=20, suppress_health_check=[HealthCheck.too_slow])


@pytest.mark.parametrize("most", [statistics_cache.MOST, 3], ids=["whole", "cases"])
@FEW
@given(query=st.builds(lambda data, rest: data & rest, OVER_DATA, QUERIES) | QUERIES,
       forgotten=st.sets(st.sampled_from(list(UIDS.values()))), order=st.sampled_from(Order),
       offset=st.integers(0, 5), limit=st.none() | st.integers(0, 5))  # fmt: skip
def test_a_search_finds_what_the_meaning_says(
    held: CachedStatistics, most: int, query: Query, forgotten: set[str], order: Order, offset: int, limit: int | None
) -> None:
    """Whatever is known of the runs, and twice: the second time the cache has what the first found out."""
    runs = sort_runs(held.inner.find(), order)
    expected = [run.start["scan_id"] for run in runs if matches(query, StoredRun(held.inner, run))]
    held.statistics.forget(sorted(forgotten))
    selection = Selection(held, (query,))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(statistics_cache, "MOST", most)
        for _ in range(2):
            assert numbers(selection.runs(order=order)) == expected
            assert selection.count() == len(expected)
            assert numbers(selection.runs(order=order, offset=offset, limit=limit)) == expected[offset:][:limit]


@pytest.mark.parametrize("most", [statistics_cache.MOST, 3], ids=["whole", "cases"])
@FEW
@given(data=st.data())
def test_what_statistics_say_combines_as_logic_does(held: CachedStatistics, most: int, data: st.DataObject) -> None:
    """Plans are made by hand: find, count, lookup and distinct agree, and are exact where all runs are measured."""
    measure(held)
    drawn = data.draw(st.lists(OVER_DATA, min_size=1, max_size=3))
    says = data.draw(st.lists(st.sampled_from(["true", "open"]), min_size=3, max_size=3))
    signs = data.draw(st.lists(st.booleans(), min_size=3, max_size=3))
    others = [plan_name == "scan", PartialUID("0", "11"), Start("uid").is_in([UIDS[3], UIDS[11]])]
    query: Query = data.draw(st.sampled_from([ALL, *(one for one in others if held.answers(one))]))
    asked = dict(zip(drawn, says, strict=False))
    for (leaf, verdict), plain, join in zip(asked.items(), signs, data.draw(st.permutations(signs)), strict=False):
        assert isinstance(leaf, DataQuery)
        kept = Kept(leaf, verdict) if plain else ~Kept(leaf, verdict)
        query = query & kept if join else query | kept
    sets = {one: _kept(held, one) for one in leaves(query) if isinstance(one, Kept)}
    meant = replace_leaves(query, lambda one: Start("uid").is_in(sorted(sets[one])) if isinstance(one, Kept) else one)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(statistics_cache, "MOST", most)
        plan = held.plan(query, Order.OLDEST)
        assert plan.residual == ALL
        observed = [run.uid for run in held.find(plan)]
        assert sorted(observed) == sorted(uid for uid in UIDS.values() if matches(meant, _seen(held, uid)))
        assert len(observed) == held.count(plan)
        told, values = held.lookup((), plan), held.distinct(Path("start", ("uid",)), plan)
        assert told is None or [uid for uid, _, _ in told] == observed
        assert values is None or sorted(uid for uid, _ in values) == sorted(observed)


@pytest.mark.parametrize("leaf", [theta.max() > 5.0, theta.between(0.1, 0.4), det.sum() >= 90, Data("x").count() > 0])
def test_what_statistics_prove_is_true_and_what_they_leave_open_is_all_else(held: CachedStatistics, leaf: Any) -> None:
    measure(held)
    meant = {uid for uid in UIDS.values() if matches(leaf, _seen(held, uid))}
    true, between = _kept(held, Kept(leaf, "true")), _kept(held, Kept(leaf, "open"))
    assert true <= meant <= true | between
    assert not true & between
    assert UIDS[UNFINISHED] in between


def _seen(held: CachedStatistics, uid: str) -> StoredRun:
    return StoredRun(held.inner, next(run for run in held.inner.find() if run.uid == uid))


def _kept(held: CachedStatistics, leaf: Kept) -> set[str]:
    return {run.uid for run in held.find(held.plan(leaf, Order.NEWEST))}


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_read_once_is_not_read_again(kind: type[MemoryStore]) -> None:
    store = kind(all_runs())
    cat = BlueskyCatalog(store)
    assert [run.scan_id for run in cat.search(theta.max() > 9).arrangement.runs()] == [12, 11, 10]
    read = store.reads
    units = {(uid, stream) for uid, stream, _ in store.parsed}
    assert len(units) == len(UIDS) + 2, "of all streams"
    assert list(cat.search((theta.max() > 9) & (plan_name == "scan"))) == [UIDS[12], UIDS[10]]
    assert len(cat.search(~(theta.max() > 9) & Start("scan_id").is_in([8, 9, 10, 11]))) == 2
    assert list(cat.search(det.sum() >= 165).sort("scan_id")) == [UIDS[11], UIDS[12]]
    assert {uid for uid, _, _ in store.parsed[read:]} <= {UIDS[UNFINISHED]}
    plan = cat.search(theta.max() > 9).explain(run=True)
    assert (plan.candidates, plan.decided) == (12, (3, 1))
    cat.origin.store.close()


def test_searches_of_a_catalog_share_the_cache() -> None:
    cat = BlueskyCatalog(AnswersUids(all_runs()))
    one, other = cat.search(theta.max() > 9), cat.search(plan_name == "scan").search(theta.max() > 9)
    assert one.selection.store is other.selection.store is cat.origin.store
    assert isinstance(cat.origin.store, CachedStatistics)
    assert cat.store is cat.origin.store.inner
    mended = BlueskyCatalog(cat.store, transforms={"start": lambda doc: {**doc, "mended": True}})
    assert len(mended.search(theta.max() > 9)) == 3
    read = cat.store.reads  # type: ignore[attr-defined]
    assert len(mended.search((theta.max() > 9) & (Start("mended") == True))) == 3  # noqa: E712
    assert {uid for uid, _, _ in cat.store.parsed[read:]} <= {UIDS[UNFINISHED]}  # type: ignore[attr-defined]
    renamed = BlueskyCatalog(cat.store, transforms={"descriptor": lambda doc: doc})
    assert renamed.origin.store.statistics is None, "what descriptors say may have changed what values are"
    assert len(renamed.search(theta.max() > 9)) == 3


def test_conditions_on_uids_replace_what_statistics_say() -> None:
    store = AnswersUids(all_runs())
    searched = cached(store)
    measure(searched)
    leaf = theta.max() > 9
    assert isinstance(leaf, DataQuery)
    store.asked.clear()
    plan = searched.plan(Kept(leaf, "true"), Order.NEWEST)
    assert numbers(searched.find(plan, offset=1, limit=1)) == [11]
    assert store.asked == [Start("uid").is_in([UIDS[10], UIDS[11], UIDS[12]])]
    nobody = theta.max() > 100
    assert isinstance(nobody, DataQuery)
    assert numbers(searched.find(searched.plan(Kept(nobody, "true") & (plan_name == "scan"), Order.NEWEST))) == []
    assert len(store.asked) == 1, "where none can match no run is listed"
    searched.close()


def test_too_many_things_to_say_are_left_to_the_core() -> None:
    store = cached(AnswersUids(all_runs()))
    several = [theta.max() > bound + 0.5 for bound in range(-2, 8)]
    assert len(several) > statistics_cache.LEAVES
    query = several[0]
    for one in several[1:]:
        query = query & one
    assert found(store, query) == [12, 11, 10, 9, 8]
    assert found(store, ~query & (Start("scan_id") > 6)) == [7]
    store.close()


def test_it_is_kept_for_other_processes(cache: FilePath) -> None:
    store = cached(AnswersUids(run_of(number) for number in UIDS if number != UNFINISHED))
    query = (theta.max() > 9) | (det.sum() < 40)
    expected = found(store, query)
    assert expected == [12, 11, 10, 2, 1]
    code = (
        "import json, pickle, sys; from intake_bluesky.search.selection import Selection; "
        "store, query = pickle.load(sys.stdin.buffer); "
        "runs = [run.start['scan_id'] for run in Selection(store, (query,)).runs()]; "
        "print(json.dumps([runs, store.inner.reads]))"
    )
    root = FilePath(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code], input=pickle.dumps((store, query)), capture_output=True, check=True, cwd=root
    )
    assert json.loads(done.stdout) == [expected, 0]
    again = cached(AnswersUids(run_of(number) for number in UIDS if number != UNFINISHED))
    assert found(again, query) == expected
    assert again.inner.reads == 0  # type: ignore[attr-defined]
    again.close()
    store.close()


def test_stores_of_other_names_know_nothing_of_each_other() -> None:
    class Other(AnswersUids):
        cache_key = "other runs in the memory of a test"

    store, other = cached(AnswersUids([run_of(5)])), cached(Other([run_of(5, top=50.0)]))
    assert found(store, theta.max() > 20) == []
    assert found(other, theta.max() > 20) == [5]
    for one in (store, other):
        one.close()


def test_what_changed_is_forgotten_once_all_is_looked_at() -> None:
    """A run of the same uid, in place of another, behind the back of the cache."""
    store = AnswersUids([run_of(5), run_of(6)])
    cat = BlueskyCatalog(store)
    query = theta.max() > 9

    def search() -> list[int | None]:
        return [run.scan_id for run in cat.search(query).arrangement.runs()]

    assert search() == []
    store.remove(UIDS[5])
    store.put(run_of(5, top=50.0))
    cat.refresh()
    assert search() == [], "nothing but a look at each run would tell"
    read = store.reads
    cat.refresh(deep=True)
    assert search() == [5]
    assert {uid for uid, _, _ in store.parsed[read:]} == {UIDS[5]}, "the other is known still"
    store.remove(UIDS[5])
    cat.refresh(deep=True)
    statistics = cat.origin.store.statistics
    assert isinstance(statistics, StatisticsIndex)
    assert statistics._unmeasured([UIDS[5], UIDS[6]]) == [UIDS[5]]
    cat.origin.store.close()


def test_a_removed_run_takes_its_statistics_along() -> None:
    store = cached(AnswersUids([run_of(5), run_of(6)]))
    assert found(store, theta.max() > 4) == [6, 5]
    store.remove(UIDS[5])
    assert found(store, theta.max() > 4) == [6]
    assert store.statistics._unmeasured([UIDS[5], UIDS[6]]) == [UIDS[5]]
    with store.insert(run_of(5)[0][1]) as insert:
        for name, doc in run_of(5, top=50.0)[1:]:
            insert.write(name, doc)
    assert found(store, theta.max() > 20) == [5]
    with pytest.raises(RunNotFound):
        store.remove("no such run")
    store.close()


def test_a_run_that_goes_on_is_not_kept() -> None:
    store = AnswersUids([run_of(UNFINISHED)])
    searched = cached(store)
    for _ in range(2):
        assert found(searched, theta.max() > 6) == [7]
        assert searched.statistics._unmeasured([UIDS[UNFINISHED]]) == [UIDS[UNFINISHED]]
    store.append(UIDS[UNFINISHED], [("stop", {"uid": "s", "run_start": UIDS[UNFINISHED], "time": 1.7e9})])
    assert found(searched, theta.max() > 6) == [7]
    read = store.reads
    assert found(searched, theta.max() > 6) == [7]
    assert store.reads == read
    searched.close()


def test_who_keeps_statistics_or_has_no_name_stays_as_it_is() -> None:
    nameless, named = MemoryStore(all_runs()), AnswersUids(all_runs())
    assert with_statistics(nameless) is nameless
    searched = with_statistics(named)
    assert with_statistics(searched) is searched
    assert named.statistics is None
    searched.close()


def test_uids_that_are_no_text_of_unicode_are_unknown_and_found() -> None:
    run = run_of(5)
    odd = to_plain([("start", {**run[0][1], "uid": "half \ud800"}), *run[1:]])
    for _, doc in chain(odd):
        if "run_start" in doc:
            doc["run_start"] = "half \ud800"
    searched = cached(AnswersUids([odd, run_of(6)]))
    statistics = searched.statistics
    for _ in range(2):
        assert found(searched, theta.max() > 4) == [6, 5]
    assert statistics._unmeasured(["half \ud800", "b", UIDS[6]]) == ["b"]
    assert statistics.get(Recorded("half \ud800", "1", "primary", "theta")) is None
    statistics.put([(Recorded("half \ud800", "1", "primary", "theta"), theta_of(searched))])
    searched.close()


def theta_of(store: CachedStatistics) -> Any:
    return StoredRun(store.inner, next(store.inner.find(ALL_RUNS))).statistics("primary", "theta")


def test_runs_that_another_process_measures_meanwhile_are_counted_once(
    tmp_path: FilePath, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the two questions of a count: of the runs that match for certain, and of those that are open."""
    monkeypatch.setenv("INTAKE_BLUESKY_CACHE", str(tmp_path))
    run = RunComposer("measured meanwhile", plan_name="scan", scan_id=1)
    run.page(run.descriptor({"x": data_key("number")}), {"x": [1.0, 2.0]})
    run.stop()
    query = Data("x").max() >= 2
    mine, others = (CachedStatistics(AnswersUids([run.documents])) for _ in range(2))
    count, others_once = mine.count, [True]

    def counting(plan: Plan = ALL_RUNS) -> int:
        found = count(plan)
        if others_once:
            others_once.pop()
            assert len(list(Selection(others, (query,)).runs())) == 1
        return found

    monkeypatch.setattr(mine, "count", counting)
    selection = Selection(mine, (query,))
    assert [selection.count(), selection.count()] == [1, 1]
