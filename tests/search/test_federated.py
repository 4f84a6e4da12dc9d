"""Several catalogs as one: what their separate searches find, in one order, each run once; and sources that fail."""

from __future__ import annotations

import gc
import pickle
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intake_bluesky import BlueskyCatalog
from intake_bluesky.catalogs.federated import BlueskyFederatedCatalog
from intake_bluesky.catalogs.federated.given_sources import GivenSource
from intake_bluesky.documents.model import RunHeader, RunSummary
from intake_bluesky.errors import RunNotFound, SearchTooLarge, StoreUnavailable, UnsupportedOperation
from intake_bluesky.query import ALL, Data, Query, ScanID, Start
from intake_bluesky.search.distinct import facets
from intake_bluesky.search.federated_store import FederatedStore
from intake_bluesky.search.ordering import Arrangement, Sorting
from intake_bluesky.search.selection import Selection
from intake_bluesky.storage.contract import ALL_RUNS, Plan
from intake_bluesky.storage.order import Order
from intake_bluesky.testing.compose import RunComposer, data_key
from intake_bluesky.testing.examples import Run
from intake_bluesky.testing.memory import MemoryStore
from intake_bluesky.testing.plain_runs import count
from intake_bluesky.testing.queries import queries
from intake_bluesky.testing.queries import runs as searched_runs
from intake_bluesky.testing.stores import ReadOnlyStoreTests, StoreWritingTests
from tests.search.test_results import run_of


class _OverMemory(FederatedStore):
    """A federation of a store that the suite fills, and of one without runs."""

    @property
    def inner(self) -> MemoryStore:
        found = self.sources.openers["full"].given.store  # type: ignore[attr-defined]  # a catalog was given
        assert isinstance(found, MemoryStore)
        return found


class TestFederatedStore(ReadOnlyStoreTests[_OverMemory], StoreWritingTests[_OverMemory]):
    """A federation is a store like any other; only that nothing is removed from it."""

    def make_store(self, folder: Path) -> _OverMemory:
        openers = {
            "empty": GivenSource("empty", BlueskyCatalog(MemoryStore())),
            "full": GivenSource("full", BlueskyCatalog(MemoryStore(page_size=3))),
        }
        return _OverMemory(openers, write_to="full")

    def insert(self, store: _OverMemory, documents: Run) -> None:
        store.inner.put(documents)

    def append(self, store: _OverMemory, uid: str, documents: Run) -> None:
        store.inner.append(uid, documents)

    def remove(self, store: _OverMemory, uid: str) -> None:
        store.inner.remove(uid)

    def damage(self, store: _OverMemory) -> None:
        run = RunComposer("damaged")
        run.add("event", {"uid": "e", "descriptor": "nowhere", "seq_num": 1, "time": 1.0, "data": {}})
        store.inner.put(run.documents)

    def data_reads(self, store: _OverMemory) -> int:
        return store.inner.reads


def federation(*stores: MemoryStore, **options: Any) -> BlueskyFederatedCatalog:
    return BlueskyFederatedCatalog({f"s{n}": BlueskyCatalog(store) for n, store in enumerate(stores)}, **options)


def several() -> st.SearchStrategy[list[tuple[Any, set[int]]]]:
    """Runs, and in which of three sources each is."""
    placed = st.tuples(searched_runs(whole=True), st.sets(st.integers(0, 2), min_size=1))
    return st.lists(placed, max_size=6, unique_by=lambda pair: pair[0].start["uid"])


@given(several(), st.lists(queries(whole=True, max_leaves=4), min_size=3, max_size=3), st.data())
@settings(deadline=None)
def test_a_search_finds_what_separate_ones_do(
    placed: list[tuple[Any, set[int]]], asked: list[Query], data: st.DataObject
) -> None:
    """Whatever is asked, in whatever order, with copies of runs in several sources."""
    parts = [MemoryStore(run.documents() for run, where in placed if n in where) for n in range(3)]
    whole = Selection(MemoryStore(run.documents() for run, _ in placed))
    federated = Selection(federation(*parts).store)
    order = data.draw(st.sampled_from(Order))
    keys = data.draw(
        st.lists(st.sampled_from(["scan_id", "-start.time", "plan_name", "-stop.exit_status"]), max_size=2)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of runs that cannot be read
        for query in asked:
            one, other = whole.narrowed(query), federated.narrowed(query)
            assert list(other.runs(order=order)) == list(one.runs(order=order))
            assert list(other.runs(order=order, offset=1, limit=2)) == list(one.runs(order=order, offset=1, limit=2))
            assert other.count() == one.count()
            sorting = Sorting.of(keys)
            assert list(Arrangement(other, sorting).uids()) == list(Arrangement(one, sorting).uids())
            assert facets(other, ["plan_name", "scan_id"], missing=True) == facets(
                one, ["plan_name", "scan_id"], missing=True
            )


class Failing(MemoryStore):
    """Fails after some runs, or at all else."""

    def __init__(self, runs: Any, after: int) -> None:
        super().__init__(runs)
        self.after, self.works = after, False

    def find(self, plan: Plan = ALL_RUNS, *, offset: int = 0, limit: int | None = None) -> Iterator[RunSummary]:
        for number, run in enumerate(super().find(plan, offset=offset, limit=limit)):
            if number == self.after and not self.works:
                raise StoreUnavailable("the disk is gone")
            yield run

    def header(self, uid: str) -> RunHeader:
        if not self.works:
            raise StoreUnavailable("the disk is gone")
        return super().header(uid)


def runs_named(name: str, number: int) -> list[Run]:
    return [run_of(f"{name}{n:03}", float(n), scan_id=n) for n in range(number)]


def test_a_source_that_fails_on_the_way() -> None:
    """An error names it, or it is left out, which is told; what other sources have is there."""
    good, bad = MemoryStore(runs_named("good", 300)), Failing(runs_named("bad", 300), after=250)
    with pytest.raises(StoreUnavailable, match="source 's1' of the federation cannot be read: the disk is gone"):
        len(list(federation(good, bad)))
    catalog = federation(good, bad, on_error="warn")
    with pytest.warns(RuntimeWarning, match="source 's1' of the federation cannot be read: the disk is gone"):
        found = [run.uid for run in catalog.arrangement.runs()]
    assert sum(uid.startswith("good") for uid in found) == 300
    assert sum(uid.startswith("bad") for uid in found) in range(220, 251), "in batches"
    assert [problem.where for problem in catalog.problems] == ["s1"]
    assert catalog.sources.states == {"s0": "open", "s1": "the disk is gone"}
    assert "left out: s1, the disk is gone" in repr(catalog._listing().notes)
    assert "s1: left out, the disk is gone" in str(catalog.explain(run=True))
    assert len(catalog) == 300, "it is not asked again at once"
    bad.works = True
    assert len(catalog.refresh()) == 600
    assert not catalog.problems


def test_skipped_without_a_word(recwarn: pytest.WarningsRecorder) -> None:
    catalog = federation(MemoryStore(runs_named("good", 3)), Failing(runs_named("bad", 3), after=0), on_error="skip")
    assert len(catalog) == 3
    assert not recwarn.list
    assert [problem.where for problem in catalog.problems] == ["s1"]


def test_the_next_copy_where_a_source_is_down() -> None:
    """A run is opened from the first source that has it and can be asked; if no other has it, the error is told."""
    [run] = runs_named("same", 1)
    down = Failing([run, run_of("alone")], after=9)
    catalog = federation(down, MemoryStore([run]))
    assert catalog["same000"].origin.source == "s1"
    with pytest.raises(StoreUnavailable, match="of those that can be asked: s0: the disk is gone"):
        catalog.store.header("alone")
    with pytest.raises(RunNotFound, match=r"no source of FederatedStore.* has run nowhere"):
        federation(MemoryStore([run])).store.header("nowhere")
    down.works = True
    assert catalog["same000"].origin.source == "s0"


def test_a_source_that_does_not_answer() -> None:
    """Others wait no longer than was said; its thread ends with the program at the latest."""
    release = threading.Event()

    class Hanging(MemoryStore):
        def find(self, *args: Any, **options: Any) -> Iterator[RunSummary]:
            release.wait(60)
            yield from super().find(*args, **options)

    catalog = federation(MemoryStore(runs_named("good", 3)), Hanging(), on_error="skip", timeout=0.2)
    assert len(list(catalog)) == 3
    assert catalog.problems[0].message == "the source is left out: it did not answer within 0.2 s"
    release.set()


def test_sources_are_asked_beside_each_other() -> None:
    """None waits for another: each of these answers when all of them are asked."""
    together = threading.Barrier(5)

    class Meeting(MemoryStore):
        def find(self, *args: Any, **options: Any) -> Iterator[RunSummary]:
            together.wait(30)
            yield from super().find(*args, **options)

    catalog = federation(*(Meeting(runs_named(name, 2)) for name in "abcde"))
    assert sorted(catalog) == sorted(f"{name}{n:03}" for name in "abcde" for n in range(2))


def test_what_is_dropped_half_way_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody goes on searching for somebody who no longer reads; sources run ahead by some batches alone."""
    given = 0

    class Counting(MemoryStore):
        def find(self, *args: Any, **options: Any) -> Iterator[RunSummary]:
            nonlocal given
            for run in super().find(*args, **options):
                given += 1
                yield run

    catalog = federation(Counting(runs_named("a", 3000)), Counting(runs_named("b", 3000)))
    runs = catalog.arrangement.runs()
    assert next(runs).uid == "b2999"
    deadline = time.monotonic() + 30
    while given < 2 * 400 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert given < 2 * 900
    del runs
    gc.collect()
    while any(one.name.startswith("source s") for one in threading.enumerate()) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not [one for one in threading.enumerate() if one.name.startswith("source s")]


def test_scan_ids_and_places_are_of_all() -> None:
    catalog = federation(
        MemoryStore([run_of("old", 1.0, scan_id=5), run_of("oldest", 0.5, scan_id=7)]),
        MemoryStore([run_of("new", 2.0, scan_id=5)]),
    )
    assert catalog[5].uid == "new"
    assert [catalog[-n].uid for n in (1, 2, 3)] == ["new", "old", "oldest"]
    assert list(catalog[1:]) == ["new", "old"]
    assert list(catalog.search(ScanID(5))) == ["new"]
    assert catalog["oldes"].uid == "oldest"
    assert catalog.to_dataframe(["scan_id"])["scan_id"].tolist() == [5, 5, 7]
    assert catalog.search(Start("scan_id") == 5).sort("start.time").head(1)[-1].origin.source == "s0"


def test_each_source_reads_its_own() -> None:
    """Transforms, searches and orders of a source are its own; so are statistics."""
    mended = BlueskyCatalog(MemoryStore([count()]), transforms={"start": lambda doc: {**doc, "sample": "Ni"}})
    narrowed = BlueskyCatalog(MemoryStore(runs_named("a", 5)), query=Start("scan_id") > 2)
    catalog = BlueskyFederatedCatalog({"mended": mended, "narrowed": narrowed})
    assert len(catalog) == 3
    assert [run.origin.source for run in catalog.search(sample="Ni").values()] == ["mended"]
    assert catalog.search(sample="Ni")[-1].start["sample"] == "Ni"
    with pytest.raises(RunNotFound):
        _ = catalog["a001"]


def test_values_and_pickles() -> None:
    """Datasets are those of the source, in another process too."""
    run = RunComposer("measured", time=1.0)
    uid = run.documents[0][1]["uid"]
    primary = run.descriptor({"x": data_key("number")})
    for value in range(3):
        run.event(primary, {"x": float(value)})
    run.stop()
    catalog = federation(MemoryStore([count()]), MemoryStore([run.documents]))
    again = pickle.loads(pickle.dumps(catalog))
    for cat in (catalog, again, pickle.loads(pickle.dumps(catalog.search(ALL)))):
        opened = pickle.loads(pickle.dumps(cat[uid]))
        assert opened.origin.source == "s1"
        assert opened.primary.to_dask()["x"].values.tolist() == [0.0, 1.0, 2.0]
    assert sum(1 for _ in catalog.store.documents(uid)) == 6


def test_nothing_is_removed_and_nobody_named_is_written_to() -> None:
    catalog = federation(MemoryStore([count()]))
    with pytest.raises(UnsupportedOperation, match="remove the run from the sources that have it"):
        catalog.store.remove(catalog[-1].uid)
    with pytest.raises(UnsupportedOperation, match="write_to"):
        catalog.store.insert({"uid": "new", "time": 1.0})
    target = MemoryStore()
    write = federation(MemoryStore(), target, write_to="s1").writer()
    for name, doc in count():
        write(name, doc)
    assert target.count() == 1


def test_federations_nest() -> None:
    inner = federation(MemoryStore([run_of("a")]), MemoryStore([run_of("b")]))
    outer = BlueskyFederatedCatalog({"inner": inner, "more": BlueskyCatalog(MemoryStore([run_of("c")]))})
    assert sorted((run.uid, run.origin.source) for run in outer.values()) == [
        ("a", "inner/s0"),
        ("b", "inner/s1"),
        ("c", "more"),
    ]


def test_a_wrong_question_is_nobodys_fault() -> None:
    """What a source cannot answer, for it is asked for too much, is no reason to leave it out."""

    class Refusing(MemoryStore):
        def find(self, *args: Any, **options: Any) -> Iterator[RunSummary]:
            raise SearchTooLarge("more than may be read")

    catalog = federation(MemoryStore([count()]), Refusing(), on_error="skip")
    with pytest.raises(SearchTooLarge):
        list(catalog)
    assert catalog.sources.states["s1"] == "open"


def _reading(uids: str, *, read_at_most: int | None = None) -> BlueskyCatalog:
    """Runs of 10 values of 8 bytes each, of which no statistics are kept."""
    runs = []
    for uid in uids:
        run = RunComposer(uid)
        primary = run.descriptor({"x": data_key("number")})
        for n in range(10):
            run.event(primary, {"x": float(n)})
        run.stop()
        runs.append(run.documents)
    return BlueskyCatalog(MemoryStore(runs), read_at_most=read_at_most)


NEEDED = 2 * 10 * 8
"""Bytes of each source that a search for values of x has to read, until what it found out is kept."""
HIGH = Data("x").max() > 5


def _nested() -> BlueskyFederatedCatalog:
    inner = BlueskyFederatedCatalog({"b": _reading("cd")})
    return BlueskyFederatedCatalog({"a": _reading("ab"), "inner": inner})


@pytest.mark.parametrize("ask", [len, list, lambda cat: cat.distinct("uid"), lambda cat: cat.sort("uid")[-1]])
def test_what_a_search_may_read_is_for_each_source(ask: Any) -> None:
    for catalog in (_nested(), pickle.loads(pickle.dumps(_nested()))):
        enough = catalog.search(HIGH, read_at_most=NEEDED)
        ask(enough)
        assert len(enough) == 4
    for catalog in (
        _nested().search(HIGH, read_at_most=NEEDED - 1),
        pickle.loads(pickle.dumps(_nested().search(HIGH, read_at_most=NEEDED - 1))),
        BlueskyFederatedCatalog({"nested": _nested()}, read_at_most=NEEDED - 1).search(HIGH),
    ):
        with pytest.raises(SearchTooLarge, match=f"may read {NEEDED - 1} bytes"):
            ask(catalog)


def test_it_is_in_the_place_of_the_limits_of_the_sources() -> None:
    """As that of a search is in the place of its catalog's; without one, each source has its own."""
    catalog = BlueskyFederatedCatalog({"a": _reading("ab", read_at_most=1), "b": _reading("cd")})
    with pytest.raises(SearchTooLarge, match="may read 1 bytes"):
        len(catalog.search(HIGH))
    assert len(catalog.search(HIGH, read_at_most="1 MB")) == 4
