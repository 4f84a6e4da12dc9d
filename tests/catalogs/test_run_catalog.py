"""Catalogs of runs: opening, finding, listing, searching."""

from __future__ import annotations

import math
import pickle
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import intake
import numpy as np
import pytest
import yaml

from intake_bluesky.catalogs.entries import RunEntry
from intake_bluesky.catalogs.run import BlueskyRun
from intake_bluesky.catalogs.run_catalog import BlueskyCatalog
from intake_bluesky.catalogs.stream import BlueskyStream
from intake_bluesky.documents.model import Document, RunHeader, RunSummary
from intake_bluesky.errors import (
    AmbiguousRun,
    IntakeBlueskyError,
    PluginError,
    RunNotFound,
    StreamNotFound,
    UnsupportedOperation,
    UnsupportedQuery,
)
from intake_bluesky.query import ALL, FullText, Query, ScanID, Start, Stop, TimeRange
from intake_bluesky.storage.contract import ALL_RUNS, Plan, Problem, RunStore
from intake_bluesky.storage.order import Order
from intake_bluesky.testing.compose import RunComposer, data_key
from intake_bluesky.testing.memory import MemoryStore

Documents = list[tuple[str, Document]]


def run_of(uid: str, time: float, *, status: str | None = "success", **metadata: Any) -> Documents:
    """A run of one event, with its uid chosen."""
    run = RunComposer(uid, time=time, **metadata)
    run.documents[0][1]["uid"] = uid
    primary = run.descriptor({"x": data_key("number")})
    run.event(primary, {"x": time})
    if status is not None:
        run.stop(status)
    return run.documents


RUNS = [
    run_of("aaa-1", 100.0, scan_id=1, plan_name="count", sample="nickel foil"),
    run_of("aab-2", 300.0, scan_id=2, plan_name="scan", sample="copper"),
    run_of("abc-3", 200.0, scan_id=1, plan_name="scan", status="fail"),
    run_of("bcd-4", 300.0, scan_id=3, plan_name="count", status=None),
]
NEWEST = ["bcd-4", "aab-2", "abc-3", "aaa-1"]


class CountingStore(MemoryStore):
    """Notes every call."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.calls: list[str] = []
        super().__init__(*args, **kwargs)

    def plan(self, query: Query, order: Order) -> Plan:
        return super().plan(query, order)

    def find(self, *args: Any, **kwargs: Any) -> Iterator[RunSummary]:
        self.calls.append("find")
        return super().find(*args, **kwargs)

    def header(self, uid: str) -> RunHeader:
        self.calls.append("header")
        return super().header(uid)

    def refresh(self, *, deep: bool = False) -> None:
        self.calls.append("deep refresh" if deep else "refresh")


class ListingStore(CountingStore):
    """Sees new and deleted runs when it is told to look, as a store over a folder does."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.seen = set(self._runs)

    def find(self, *args: Any, **kwargs: Any) -> Iterator[RunSummary]:
        return (run for run in super().find(*args, **kwargs) if run.uid in self.seen)

    def refresh(self, *, deep: bool = False) -> None:
        super().refresh(deep=deep)
        self.seen = set(self._runs)


class UnorderedStore(RunStore):
    """Leaves all the work of a query to the core, and gives runs in the order inserted."""

    def __init__(self, inner: MemoryStore) -> None:
        self.inner = inner

    def find(self, plan: Plan = ALL_RUNS, *, offset: int = 0, limit: int | None = None) -> Iterator[RunSummary]:
        assert (plan.pushed, plan.ordered, offset, limit) == (ALL, False, 0, None)
        return iter([self.inner._summary(uid) for uid in self.inner._runs])

    def header(self, uid: str) -> RunHeader:
        return self.inner.header(uid)

    def event_pages(self, uid: str, stream: str, **kwargs: Any) -> Any:
        return self.inner.event_pages(uid, stream, **kwargs)

    def documents(self, uid: str) -> Any:
        return self.inner.documents(uid)


SHELVES: dict[str, RunStore] = {}


class ShelfCatalog(BlueskyCatalog):
    """What a driver's face looks like."""

    name = "test_shelf_catalog"

    def __init__(self, shelf: str, *, colour: str = "none", **kwargs: Any) -> None:
        self.colour = colour
        super().__init__(SHELVES[shelf], **kwargs)


@pytest.fixture
def store() -> CountingStore:
    return CountingStore(RUNS)


@pytest.fixture(params=["memory", "unordered"])
def cat(request: pytest.FixtureRequest) -> BlueskyCatalog:
    memory = MemoryStore(RUNS)
    return BlueskyCatalog(memory if request.param == "memory" else UnorderedStore(memory), name="runs")


@pytest.fixture
def shelf() -> Iterator[CountingStore]:
    """A driver that YAML can name, and the store behind it."""
    intake.register_driver("test_shelf_catalog", ShelfCatalog, clobber=True)
    SHELVES["one"] = store = CountingStore(RUNS)
    yield store
    intake.unregister_driver("test_shelf_catalog")
    SHELVES.clear()


def yaml_file(folder: Path, **args: Any) -> str:
    path = folder / "catalog.yml"
    source = {"driver": "test_shelf_catalog", "container": "catalog", "args": {"shelf": "one", **args}}
    path.write_text(yaml.safe_dump({"sources": {"hard_xray": source, "other-name": source}}))
    return str(path)


class TestAccess:
    def test_full_uid(self, cat: BlueskyCatalog) -> None:
        assert isinstance(cat["abc-3"], BlueskyRun)
        assert cat["abc-3"].start["scan_id"] == 1

    def test_partial_uid(self, cat: BlueskyCatalog) -> None:
        assert cat["ab"].uid == "abc-3"

    def test_ambiguous_uid_names_candidates(self, cat: BlueskyCatalog) -> None:
        with pytest.raises(AmbiguousRun, match=r"begin with 'aa': aab-2, aaa-1\. Give more"):
            cat["aa"]
        assert issubclass(AmbiguousRun, ValueError)

    def test_a_full_uid_that_begins_others_is_itself(self) -> None:
        cat = BlueskyCatalog(MemoryStore([run_of("ab", 1.0), run_of("abc", 2.0), run_of("abd", 3.0)]))
        assert cat["ab"].uid == "ab"

    @pytest.mark.parametrize("key", ["", "zzz", "abc-3x", "*"])
    def test_unknown_uid(self, cat: BlueskyCatalog, key: str) -> None:
        with pytest.raises(RunNotFound):
            cat[key]

    def test_no_text_is_not_the_only_run(self) -> None:
        only = BlueskyCatalog(MemoryStore(RUNS[:1]))
        with pytest.raises(KeyError):
            only[""]
        assert "" not in only

    @pytest.mark.parametrize("key", [1, np.int64(1), np.uint8(1)])
    def test_scan_id_is_the_latest(self, cat: BlueskyCatalog, key: Any) -> None:
        assert cat[key].uid == "abc-3"

    def test_unknown_scan_id(self, cat: BlueskyCatalog) -> None:
        with pytest.raises(RunNotFound, match="scan_id 99"):
            cat[99]

    def test_negative_places_count_from_the_newest(self, cat: BlueskyCatalog) -> None:
        assert [cat[-n].uid for n in range(1, 5)] == NEWEST

    def test_too_few_runs(self, cat: BlueskyCatalog) -> None:
        with pytest.raises(IndexError, match="-5 was asked and there are 4 runs"):
            cat[-5]

    @pytest.mark.parametrize("key", [True, 1.5, None, b"aaa-1", object()])
    def test_no_key_of_another_type(self, cat: BlueskyCatalog, key: Any) -> None:
        with pytest.raises(IntakeBlueskyError):
            cat[key]
        assert key not in cat

    def test_tuples_and_dots_lead_to_streams(self, cat: BlueskyCatalog) -> None:
        for stream in (cat["abc-3", "primary"], cat["abc-3.primary"], cat[1, "primary"], cat[-1]["primary"]):
            assert isinstance(stream, BlueskyStream)
        assert cat[("abc-3",)].uid == "abc-3"
        with pytest.raises(StreamNotFound, match="no stream 'secondary'; it has primary"):
            cat["abc-3", "secondary"]

    def test_uids_with_dots(self) -> None:
        cat = BlueskyCatalog(MemoryStore([run_of("a.b", 1.0)]))
        assert cat["a.b"].uid == "a.b"

    def test_attributes_are_full_uids_only(self) -> None:
        cat = BlueskyCatalog(MemoryStore([run_of("add1234", 1.0)]))
        assert cat.add1234.uid == "add1234"
        assert not hasattr(cat, "add")
        assert not hasattr(cat, "_repr_latex_")

    def test_membership(self, cat: BlueskyCatalog) -> None:
        assert all(key in cat for key in ("abc-3", "ab", 1, -4))
        assert not any(key in cat for key in ("aa", "zzz", 99, -5))

    def test_the_catalog_called_is_itself(self, cat: BlueskyCatalog) -> None:
        assert cat() is cat
        assert cat.get() is cat

    def test_called_with_arguments_it_is_a_copy_that_has_them(self, cat: BlueskyCatalog) -> None:
        new = cat(root_map={"/a": "/b"}, query={"scan_id": 1})
        assert dict(new.root_map) == {"/a": "/b"}
        assert list(new) == ["abc-3", "aaa-1"]
        assert len(cat) == 4


class TestListing:
    def test_length_iteration_and_keys(self, cat: BlueskyCatalog) -> None:
        assert len(cat) == 4
        assert list(cat) == list(cat.keys()) == NEWEST

    def test_items_and_values_read_headers_when_they_are_needed(self, store: CountingStore) -> None:
        cat = BlueskyCatalog(store)
        runs = dict(cat.items())
        assert [run.metadata["start"]["uid"] for run in runs.values()] == list(runs) == NEWEST
        assert [run.uid for run in cat.values()] == NEWEST
        assert "header" not in store.calls
        run = runs["bcd-4"]
        assert list(run) == list(cat["bcd-4"])
        assert run == cat["bcd-4"]
        assert store.calls.count("header") == 3

    def test_listing_reads_no_header(self, store: CountingStore) -> None:
        cat = BlueskyCatalog(store)
        entries = dict(cat._entries.items())
        described = [entry.describe() for entry in entries.values()]
        assert store.calls == ["find"]
        assert described[0]["metadata"]["start"]["uid"] == "bcd-4"
        assert described[0]["container"] == "catalog"

    def test_runs_without_time_come_last(self) -> None:
        runs = [run_of("old", 1.0), run_of("new", 2.0), run_of("timeless", 3.0)]
        runs[2][0][1]["time"] = math.nan
        cat = BlueskyCatalog(MemoryStore(runs))
        assert list(cat) == ["new", "old", "timeless"]
        assert cat[-1].uid == "new"
        assert list(cat[-1:]) == ["new"]
        assert list(cat[:1]) == ["timeless"]

    def test_walk_opens_nothing_unless_asked(self, store: CountingStore) -> None:
        cat = BlueskyCatalog(store, name="runs")
        assert list(cat.walk()) == NEWEST
        assert "header" not in store.calls
        assert "aaa-1.primary" in cat.walk(depth=2)

    def test_filter_by_documents_opens_no_run(self, cat: BlueskyCatalog) -> None:
        expected = [uid for uid in cat if cat[uid].start.get("plan_name") == "scan"]
        assert expected
        assert list(cat.filter(lambda entry: entry.metadata["start"].get("plan_name") == "scan")) == expected

    def test_an_empty_tuple_names_no_run(self, cat: BlueskyCatalog) -> None:
        with pytest.raises(RunNotFound, match="empty tuple"):
            cat[()]

    def test_filter_looks_at_entries(self, cat: BlueskyCatalog) -> None:
        found = cat.filter(lambda entry: entry.describe()["metadata"]["start"]["plan_name"] == "count")
        assert list(found) == ["bcd-4", "aaa-1"]
        assert found["aaa-1"].uid == "aaa-1"

    def test_entries_open_and_pickle(self, cat: BlueskyCatalog) -> None:
        entry = cat._entries["abc-3"]
        assert isinstance(entry, RunEntry)
        assert pickle.loads(pickle.dumps(entry))().uid == entry().uid == "abc-3"
        assert list(entry) == ["primary"]

    def test_tab_completion_is_bounded(self) -> None:
        store = CountingStore([run_of(f"run{n:03}", float(n)) for n in range(150)])
        cat = BlueskyCatalog(store)
        assert cat._ipython_key_completions_() == [f"run{n:03}" for n in range(149, 49, -1)]
        store.calls.clear()
        assert {"search", "walk", "problems"} <= set(dir(cat))
        assert store.calls == []


class TestNarrowing:
    @pytest.mark.parametrize(
        "part",
        [slice(-2, None), slice(None, 2), slice(1, 3), slice(None, -1), slice(None, None, 2), slice(None, None, -1)],
    )
    def test_slices_count_from_the_oldest(self, cat: BlueskyCatalog, part: slice) -> None:
        expected = set(NEWEST[::-1][part])
        assert [uid for uid in NEWEST if uid in expected] == list(cat[part])

    def test_slices_beyond_the_ends(self, cat: BlueskyCatalog) -> None:
        assert list(cat[-100:]) == NEWEST
        assert list(cat[100:]) == []
        assert cat[:] is cat

    def test_a_slice_stays_as_it_was(self, store: CountingStore) -> None:
        cat = BlueskyCatalog(store)
        newest = cat[-2:]
        store.put(run_of("zzz-5", 900.0))
        assert list(newest) == NEWEST[:2]
        assert cat[-1].uid == "zzz-5"

    def test_lists(self, cat: BlueskyCatalog) -> None:
        assert list(cat[["aaa-1", "abc", 3]]) == ["bcd-4", "abc-3", "aaa-1"]
        assert list(cat[[]]) == []
        assert list(cat[np.array([-1, -2])]) == NEWEST[:2]
        with pytest.raises(RunNotFound, match="zzz"):
            cat[["aaa-1", "zzz"]]

    def test_a_list_of_full_uids_is_one_search(self, store: CountingStore) -> None:
        cat = BlueskyCatalog(store)
        cat[NEWEST]
        assert store.calls == ["find"]

    def test_a_narrowed_catalog_holds_nothing_else(self, cat: BlueskyCatalog) -> None:
        some = cat[["aaa-1", "aab-2"]]
        assert len(some) == 2
        for key in ("abc-3", "abc", 3, -3):
            assert key not in some
        with pytest.raises(RunNotFound, match="among those that match"):
            some["abc-3"]
        assert some[1].uid == "aaa-1"


class TestSearch:
    def test_dict(self, cat: BlueskyCatalog) -> None:
        assert list(cat.search({"plan_name": "scan"})) == ["aab-2", "abc-3"]
        assert list(cat.search({"scan_id": {"$gt": 1}, "plan_name": {"$regex": "^co"}})) == ["bcd-4"]

    def test_stop_documents(self, cat: BlueskyCatalog) -> None:
        assert list(cat.search({"stop.exit_status": "fail"})) == ["abc-3"]
        assert list(cat.search(~(Stop("exit_status") == "success"))) == ["bcd-4", "abc-3"]

    def test_words(self, cat: BlueskyCatalog) -> None:
        assert list(cat.search("FOIL nickel")) == ["aaa-1"]
        assert cat.search("foil").query == FullText("foil")

    def test_searches_nest(self, cat: BlueskyCatalog) -> None:
        found = cat.search({"plan_name": "scan"}).search(TimeRange(since=250))
        assert list(found) == ["aab-2"]
        assert found.query == (cat.search({"plan_name": "scan"}).query & TimeRange(since=250))
        assert type(found) is BlueskyCatalog

    def test_the_latest_of_a_scan_id_is_sought_within(self, cat: BlueskyCatalog) -> None:
        assert list(cat.search(ScanID(1))) == ["abc-3"]
        assert list(cat.search({"plan_name": "count"}).search(ScanID(1))) == ["aaa-1"]
        assert list(cat.search(ScanID(1) & (Start("plan_name") == "count"))) == []
        assert list(cat.search(ScanID(1, duplicates="all"))) == ["abc-3", "aaa-1"]
        with pytest.raises(AmbiguousRun):
            list(cat.search(ScanID(1, duplicates="error")))

    def test_nothing_runs_until_it_is_used(self, store: CountingStore) -> None:
        cat = BlueskyCatalog(store, query={"plan_name": "scan"})
        found = cat.search(ScanID(1)).search("foil")
        assert repr(found)
        assert found.metadata == {}
        assert store.calls == []

    def test_searching_for_everything_is_the_catalog(self, cat: BlueskyCatalog) -> None:
        assert cat.search({}) is cat

    def test_a_search_that_has_no_meaning(self, cat: BlueskyCatalog) -> None:
        with pytest.raises(UnsupportedQuery, match=r"\$where"):
            cat.search({"$where": "1"})
        with pytest.raises(UnsupportedQuery, match="a search takes"):
            cat.search(5)  # type: ignore[arg-type]

    def test_what_the_store_does_is_explained(self, store: CountingStore) -> None:
        plan = BlueskyCatalog(store).search({"plan_name": "scan"}).explain()
        assert plan.pushed == ALL
        assert plan.residual != ALL

    def test_a_whole_plan_pushes_offset_and_limit(self) -> None:
        class Noting(MemoryStore):
            asked: tuple[int, int | None] = (0, None)

            def find(self, plan: Plan = ALL_RUNS, *, offset: int = 0, limit: int | None = None) -> Any:
                self.asked = offset, limit
                return super().find(plan, offset=offset, limit=limit)

        store = Noting(RUNS)
        cat = BlueskyCatalog(store)
        assert cat[-3].uid == NEWEST[2]
        observed = store.asked
        assert observed == (2, 1)
        assert cat.search({"plan_name": "count"})[-2].uid == "aaa-1"
        observed = store.asked
        assert observed == (0, None)


class TestIO:
    def test_opening_and_describing_touch_no_store(self, store: CountingStore) -> None:
        cat = BlueskyCatalog(store, name="runs", metadata={"a": 1})
        assert "runs" in repr(cat)
        assert cat.describe()["name"] == "runs"
        assert cat.discover() == {"container": "catalog", "shape": None, "dtype": None, "metadata": {"a": 1}}
        assert hash(cat) == hash(cat.search({}))
        assert store.calls == []

    def test_a_uid_is_one_call(self, store: CountingStore) -> None:
        BlueskyCatalog(store)["aaa-1"]
        BlueskyCatalog(store, query={"scan_id": 1})["aaa-1"]
        assert store.calls == ["header", "header"]

    def test_opening_runs_and_streams_reads_no_events(self, store: CountingStore) -> None:
        stream = BlueskyCatalog(store)["aaa-1"]["primary"]
        assert repr(stream)
        assert stream.describe()
        assert store.reads == 0
        assert store.calls == ["header"]

    def test_new_and_deleted_runs_are_seen_at_once_after_ttl(self) -> None:
        store = ListingStore(RUNS)
        cat = BlueskyCatalog(store, ttl=0)
        store.put(run_of("zzz-5", 900.0))
        assert cat[-1].uid == "zzz-5"
        store.remove("zzz-5")
        assert list(cat) == NEWEST
        assert "zzz-5" not in cat
        with pytest.raises(RunNotFound):
            cat["zzz-5"]

    def test_the_default_looks_once_a_second(self) -> None:
        store = ListingStore(RUNS)
        cat = BlueskyCatalog(store)
        assert [len(cat), len(cat)] == [4, 4]
        assert "refresh" not in store.calls
        store.put(run_of("zzz-5", 900.0))
        time.sleep(1.01)
        assert cat.search({"scan_id": {"$exists": False}})[-1].uid == "zzz-5"
        assert store.calls.count("refresh") == 1

    def test_refresh(self, store: CountingStore) -> None:
        cat = BlueskyCatalog(store)
        assert cat.refresh() is cat
        cat.refresh(deep=True)
        assert store.calls == ["refresh", "deep refresh"]


class TestHandlers:
    def test_given_ones_are_the_only_ones(self, store: CountingStore) -> None:
        cat = BlueskyCatalog(store, handler_registry={"SPEC": dict, "DOTTED": "collections.OrderedDict"})
        assert dict(cat.handler_registry)["DOTTED"].__name__ == "OrderedDict"
        assert sorted(cat.handler_registry) == ["DOTTED", "SPEC"]

    def test_registering(self, store: CountingStore) -> None:
        cat = BlueskyCatalog(store, handler_registry={})
        cat.register_handler("SPEC", dict)
        assert cat.search("foil").handler_registry["SPEC"] is dict
        with pytest.raises(PluginError, match="overwrite=True"):
            cat.register_handler("SPEC", list)
        cat.register_handler("SPEC", list, overwrite=True)
        assert cat.handler_registry["SPEC"] is list
        cat.deregister_handler("SPEC")
        assert "SPEC" not in cat.handler_registry
        with pytest.raises(PluginError):
            cat.deregister_handler("SPEC")

    def test_installed_ones_come_after_our_readers(self, store: CountingStore) -> None:
        cat = BlueskyCatalog(store)
        cat._settings.registry.register("OTHER", dict)  # as if it were installed
        assert {"NPY_SEQ", "OTHER"} <= set(cat.handler_registry)  # the first is ophyd's
        for_assets = cat[-1]._assets.handlers or {}
        assert "OTHER" in for_assets
        assert "NPY_SEQ" not in for_assets
        cat.register_handler("NPY_SEQ", dict, overwrite=True)
        assert (cat[-1]._assets.handlers or {})["NPY_SEQ"] is dict
        assert "NPY_SEQ" not in for_assets

    def test_views_are_read_only(self, store: CountingStore) -> None:
        cat = BlueskyCatalog(store, handler_registry={}, root_map={"/a": "/b"})
        for view in (cat.handler_registry, cat.root_map):
            with pytest.raises(TypeError):
                view["x"] = 1  # type: ignore[index]

    def test_transforms_have_known_names(self, store: CountingStore) -> None:
        with pytest.raises(ValueError, match="not for 'event'"):
            BlueskyCatalog(store, transforms={"event": dict})


class TestWriting:
    def test_a_writer_writes_into_the_store(self) -> None:
        cat = BlueskyCatalog(MemoryStore(RUNS))
        with cat.search({"scan_id": 1}).writer() as write:
            for name, doc in run_of("zzz-5", 900.0):
                write(name, doc)
        assert cat[-1].uid == "zzz-5"

    def test_a_store_that_cannot_be_written(self) -> None:
        cat = BlueskyCatalog(UnorderedStore(MemoryStore()), name="runs")
        with pytest.raises(UnsupportedOperation, match="UnorderedStore is not writable"):
            cat.writer()

    def test_problems_are_the_stores(self) -> None:
        class Damaged(MemoryStore):
            def problems(self) -> list[Problem]:
                return [Problem("file.jsonl", "is empty")]

        assert BlueskyCatalog(Damaged()).problems == (Problem("file.jsonl", "is empty"),)


class TestYAML:
    def test_opening_touches_no_store(self, shelf: CountingStore, tmp_path: Path) -> None:
        parent = intake.open_catalog(yaml_file(tmp_path))
        assert list(parent) == ["hard_xray", "other-name"]
        assert parent.hard_xray.name == "hard_xray"
        assert isinstance(parent["other-name"], ShelfCatalog)
        assert shelf.calls == []

    def test_all_the_way_down(self, shelf: CountingStore, tmp_path: Path) -> None:
        parent = intake.open_catalog(yaml_file(tmp_path))
        assert parent.hard_xray[-1].uid == "bcd-4"
        assert parent["hard_xray", "abc", "primary"].read()["x"].values.tolist() == [200.0]
        assert parent["hard_xray.aaa-1.primary"].read()["x"].values.tolist() == [100.0]
        assert list(parent["hard_xray"].search({"scan_id": 1})) == ["abc-3", "aaa-1"]

    def test_a_query_in_yaml(self, shelf: CountingStore, tmp_path: Path) -> None:
        parent = intake.open_catalog(yaml_file(tmp_path, query={"plan_name": "scan", "scan_id": {"$gt": 1}}))
        assert list(parent.hard_xray) == ["aab-2"]
        assert "abc-3" not in parent.hard_xray

    def test_a_narrowed_catalog_keeps_its_class_and_store(self, shelf: CountingStore, tmp_path: Path) -> None:
        found = intake.open_catalog(yaml_file(tmp_path, colour="red")).hard_xray.search({"scan_id": 1})
        assert isinstance(found, ShelfCatalog)
        assert found.colour == "red"
        assert found.store is shelf
        assert list(found(colour="blue")) == ["abc-3", "aaa-1"]
        assert found(colour="blue").colour == "blue"

    def test_root_map_is_relative_to_the_file(self, shelf: CountingStore, tmp_path: Path) -> None:
        given = {"/data": "moved", "/abs": "/there", "/up": "../up", "/far": "s3://bucket"}
        cat = intake.open_catalog(yaml_file(tmp_path, root_map=given)).hard_xray
        assert dict(cat.root_map) == {
            "/data": str(tmp_path / "moved"),
            "/abs": "/there",
            "/up": str(tmp_path.parent / "up"),
            "/far": "s3://bucket",
        }
        assert cat[-1:].root_map == pickle.loads(pickle.dumps(cat)).root_map == cat.root_map

    def test_a_parents_free_text_search_and_walk_stay_cheap(self, shelf: CountingStore, tmp_path: Path) -> None:
        parent = intake.open_catalog(yaml_file(tmp_path), name="all")
        assert "hard_xray.abc-3" in parent.walk(depth=2)
        assert list(parent.search("copper", depth=2)) == ["hard_xray.aab-2", "other-name.aab-2"]
        assert "header" not in shelf.calls

    @pytest.mark.parametrize("narrow", [False, True])
    def test_saved_and_opened_again(self, shelf: CountingStore, tmp_path: Path, narrow: bool) -> None:
        cat = ShelfCatalog("one", name="saved", root_map={"/a": Path("/b")}, colour="red")
        cat = cat.search({"sample": {"$exists": True}}) if narrow else cat
        cat.save(str(tmp_path / "saved.yml"))
        again = intake.open_catalog(str(tmp_path / "saved.yml")).saved
        assert list(again) == list(cat)
        assert again.colour == "red"
        assert dict(again.root_map) == {"/a": "/b"}
        assert yaml.safe_load(cat.yaml())["sources"]["saved"]["args"]["shelf"] == "one"

    def test_a_run_as_yaml_is_a_catalog_of_that_run(self, shelf: CountingStore, tmp_path: Path) -> None:
        run = ShelfCatalog("one", name="saved")["abc-3"]
        for source in (run, run.primary):
            (tmp_path / "run.yml").write_text(source.yaml())
            again = intake.open_catalog(str(tmp_path / "run.yml"))
            assert list(again["abc-3"]) == ["abc-3"]

    def test_a_store_object_has_no_yaml(self, cat: BlueskyCatalog) -> None:
        with pytest.raises(UnsupportedOperation, match="store object"):
            cat.yaml()

    def test_opening_by_driver_name(self, shelf: CountingStore) -> None:
        cat = intake.open_catalog("one", driver="test_shelf_catalog", name="direct")
        assert cat.name == "direct"
        assert len(cat) == 4


class TestPickle:
    def test_catalogs(self, shelf: CountingStore, tmp_path: Path) -> None:
        parent = intake.open_catalog(yaml_file(tmp_path, colour="red"))
        for cat in (parent.hard_xray, parent.hard_xray.search({"scan_id": 1})[-1:]):
            again = pickle.loads(pickle.dumps(cat))
            assert type(again) is ShelfCatalog
            assert (list(again), again.name, again.colour, again.query) == (list(cat), cat.name, "red", cat.query)

    def test_equality(self, shelf: CountingStore) -> None:
        one, two = ShelfCatalog("one"), ShelfCatalog("one")
        assert one == two
        assert hash(one) == hash(two)
        assert one.search({"scan_id": 1}) != one
        assert one.search({"scan_id": 1}) == two.search({"scan_id": 1})
        assert one != 5
