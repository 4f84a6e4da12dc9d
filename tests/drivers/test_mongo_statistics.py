"""Queries about data of runs in MongoDB: the statistics cache spares the server what it answered once."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pymongo import monitoring
from pymongo.database import Database

from intake_bluesky.catalogs.run_catalog import BlueskyCatalog
from intake_bluesky.documents.statistics import Statistics
from intake_bluesky.query import Data, DataQuery, Query, Start
from intake_bluesky.query.pruning import Kept
from intake_bluesky.search import statistics_cache
from intake_bluesky.search.statistics_cache import with_statistics
from intake_bluesky.search.statistics_index import StatisticsIndex, packed
from intake_bluesky.storage.order import Order
from intake_bluesky.storage.statistics import Recorded
from intake_bluesky.testing.compose import RunComposer, data_key
from intake_bluesky.testing.runs import Run
from intake_bluesky_mongo import (
    BlueskyMongoEmbeddedCatalog,
    BlueskyMongoNormalizedCatalog,
    EmbeddedStore,
    NormalizedStore,
)
from intake_bluesky_mongo.shared_statistics import COLLECTION
from tests.drivers.mongo_by_hand import put_embedded, put_normalized

SECRET = "sw0rdfish"
READS = {"find", "aggregate", "getMore"}
EVENTS = ("event", "event_page")


class Commands(monitoring.CommandListener):
    """The commands that went to a server."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, Any]] = []

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        if event.command_name not in ("endSessions", "killCursors", "hello"):
            self.seen.append((event.command_name, event.command.get(event.command_name)))

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        pass

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        pass

    @property
    def reads(self) -> list[Any]:
        """The collections that were asked for events; what counts them is an aggregate."""
        return [what for how, what in self.seen if how == "find" and what in EVENTS]


COMMANDS = Commands()
monitoring.register(COMMANDS)


def run_of(number: int, *, stop: bool = True) -> Run:
    """A run of theta from -number to number in ten steps."""
    run = RunComposer(f"{number:03}", time=1.6e9 + number, scan_id=number, plan_name=["scan", "count"][number % 2])
    primary = run.descriptor({"theta": data_key("number"), "det": data_key("integer")})
    for step in range(11):
        run.event(primary, {"theta": number * (step - 5) / 5, "det": step})
    if stop:
        run.stop()
    return run.documents


@pytest.fixture(params=["normalized", "embedded"])
def schema(
    request: pytest.FixtureRequest, database: Database[dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> str:
    monkeypatch.setenv("INTAKE_BLUESKY_CACHE", str(tmp_path / "cache"))
    name: str = request.param
    for number in range(1, 13):
        put(database, name, number, run_of(number, stop=number != 7))
    return name


def uid_of(number: int) -> str:
    return str(run_of(number)[0][1]["uid"])


def put(database: Database[dict[str, Any]], schema: str, number: int, documents: Run) -> None:
    if schema == "normalized":
        put_normalized(database, documents)
    else:
        put_embedded(database, uid_of(number), documents)


def opened(schema: str, uri: str, *, writable: bool = False) -> BlueskyCatalog:
    face = BlueskyMongoNormalizedCatalog if schema == "normalized" else BlueskyMongoEmbeddedCatalog
    return face(uri, writable=writable)


def close(cat: BlueskyCatalog) -> None:
    """Close the store and the cache before it."""
    cat.origin.store.close()


@pytest.fixture
def cat(schema: str, database_uri: str) -> Iterator[BlueskyCatalog]:
    made = opened(schema, database_uri)
    COMMANDS.seen = []
    yield made
    close(made)


def found(cat: BlueskyCatalog, query: Query) -> list[int]:
    return [run.scan_id for run in cat.search(query).arrangement.runs()]  # type: ignore[misc]


def test_a_catalog_opened_anew_reads_no_events(
    cat: BlueskyCatalog, schema: str, database: Database[dict[str, Any]], database_uri: str
) -> None:
    stopped = Start("scan_id") != 7
    assert found(cat, (Data("theta").max() > 9) & stopped) == [12, 11, 10]
    assert len(COMMANDS.reads) <= 3, "of all runs at once, and of the run that goes on"
    again = opened(schema, database_uri)
    COMMANDS.seen = []
    assert found(again, (Data("theta").max() > 9) & stopped) == [12, 11, 10]
    assert found(again, ~(Data("det").sum() > 3) & stopped) == []
    assert found(again, (Data("theta").between(0, 100)) & (Start("plan_name") == "count") & stopped) == [11, 9, 5, 3, 1]
    assert len(again.search((Data("theta").min() < -9) & stopped)) == 3
    assert COMMANDS.reads == []
    assert len(COMMANDS.seen) < 20, "and opens no runs"
    assert found(again, Data("theta").max() > 6) == [12, 11, 10, 9, 8, 7]
    assert 0 < len(COMMANDS.reads) <= 2, "of the run that goes on"
    put(database, schema, 7, run_of(7)[-1:])
    assert found(again.refresh(), Data("theta").max() > 6) == [12, 11, 10, 9, 8, 7]
    COMMANDS.seen = []
    assert found(again, Data("theta").max() > 6) == [12, 11, 10, 9, 8, 7]
    assert COMMANDS.reads == []
    close(again)


def test_answers_are_kept(cat: BlueskyCatalog, schema: str, database_uri: str) -> None:
    query = Data("theta").between(0.5, 0.7) & (Start("scan_id") != 7)
    assert found(cat, query) == [3, 1]
    again = opened(schema, database_uri)
    COMMANDS.seen = []
    assert found(again, query) == [3, 1]
    assert COMMANDS.reads == []
    close(again)


def test_nothing_is_written_to_the_server(cat: BlueskyCatalog, database: Database[dict[str, Any]]) -> None:
    before = set(database.list_collection_names())
    COMMANDS.seen = []
    assert len(cat.search(Data("theta").mean() < 100)) == 12
    assert cat.search(Data("theta").max() > 9).explain(run=True).decided is not None
    cat.refresh(deep=True)
    assert {name for name, _ in COMMANDS.seen} - {"explain"} <= READS
    assert set(database.list_collection_names()) == before


def test_a_writable_catalog_leaves_what_it_learns_for_others(
    schema: str, database: Database[dict[str, Any]], database_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    query = (Data("theta").max() > 9) & (Start("scan_id") != 7)
    one = opened(schema, database_uri, writable=True)
    assert found(one, query) == [12, 11, 10]
    close(one)
    assert database[COLLECTION].count_documents({}) == 11, "of runs that have stopped"
    monkeypatch.setenv("INTAKE_BLUESKY_CACHE", str(tmp_path / "another machine"))
    other = opened(schema, database_uri)
    COMMANDS.seen = []
    assert found(other, query) == [12, 11, 10]
    assert COMMANDS.reads == []
    assert {name for name, _ in COMMANDS.seen} <= READS
    close(other)


def test_events_are_asked_for_of_those_runs_alone_that_nobody_measured(
    schema: str, database: Database[dict[str, Any]], database_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    some = Start("scan_id").is_in([2, 4, 6])
    one = opened(schema, database_uri, writable=True)
    assert found(one, (Data("theta").max() > 0) & some) == [6, 4, 2]
    close(one)
    assert database[COLLECTION].count_documents({}) == 3
    monkeypatch.setenv("INTAKE_BLUESKY_CACHE", str(tmp_path / "another machine"))
    asked: list[Any] = []

    class Filters(Commands):
        def started(self, event: monitoring.CommandStartedEvent) -> None:
            if event.command_name == "find" and event.command.get("find") in EVENTS:
                [condition] = event.command["filter"].values()
                asked.append(condition["$in"])

    filters = Filters()
    monkeypatch.setattr(COMMANDS, "started", filters.started)
    store = with_statistics(opened(schema, database_uri, writable=True).store)
    statistics = store.statistics
    assert statistics is not None
    uids = [uid_of(number) for number in range(1, 13)]
    assert statistics.measure(uids[:6]) > 0
    expected = {doc["uid"] for number in (1, 3, 5) for name, doc in run_of(number) if name == "descriptor"}
    assert [len(one) for one in asked] == [3], "of three runs at once"
    assert schema == "embedded" or set(asked[0]) == expected
    assert statistics.measure(uids[:6]) == 0
    assert database[COLLECTION].count_documents({}) == 6
    store.close()


def test_events_are_read_ahead_once_they_are_asked_for(cat: BlueskyCatalog) -> None:
    uids = [uid_of(number) for number in range(1, 13)]
    runs = list(cat.store.read_ahead([*uids, "none such"]))
    assert sorted(header.uid for header, _ in runs) == sorted(uids)
    assert COMMANDS.reads == []
    assert len(COMMANDS.seen) == 2, "headers of all runs"
    for header, store in runs:
        assert sum(map(len, store.event_pages(header.uid, "primary"))) == 11
    assert len(COMMANDS.reads) == 1


@pytest.mark.parametrize(
    "damage",
    [{"version": "of another day"}, {"version": 5}, {"statistics": b"nothing of the kind"}, {"form": 0}],
    ids=["version", "type", "statistics", "form"],
)
def test_what_others_left_is_checked(
    schema: str, database: Database[dict[str, Any]], database_uri: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, damage: dict[str, Any],
) -> None:  # fmt: skip
    query = (Data("theta").max() > 9) & (Start("scan_id") != 7)
    one = opened(schema, database_uri, writable=True)
    assert found(one, query) == [12, 11, 10]
    close(one)
    before = list(database[COLLECTION].find(sort=[("_id", 1)]))
    wrong = packed({("primary", "theta"): Statistics(1, 0, 0, 0, 0, 0, 0, 0.0)})
    database[COLLECTION].update_many({}, {"$set": {"statistics": wrong, **damage}})
    monkeypatch.setenv("INTAKE_BLUESKY_CACHE", str(tmp_path / "another machine"))
    other = opened(schema, database_uri, writable=True)
    COMMANDS.seen = []
    assert found(other, query) == [12, 11, 10]
    assert len(COMMANDS.reads) == 1, "of all at once"
    assert list(database[COLLECTION].find(sort=[("_id", 1)])) == before, "put right"
    close(other)


def test_what_changed_is_forgotten_when_all_is_looked_at_again(
    cat: BlueskyCatalog, database: Database[dict[str, Any]], schema: str
) -> None:
    assert found(cat, Data("theta").max() > 10.5) == [12, 11]
    uid = uid_of(12)
    if schema == "normalized":
        database.run_stop.update_one({"run_start": uid}, {"$set": {"reason": "repaired"}})
        descriptor = database.event_descriptor.find_one({"run_start": uid})
        assert descriptor is not None
        changed = database.event.update_many({"descriptor": descriptor["uid"]}, {"$set": {"data.theta": 0.0}})
    else:
        database.header.update_one({"run_id": uid}, {"$set": {"stop.0.reason": "repaired"}})
        changed = database.event.update_many({"data.theta": 12.0}, {"$set": {"data.theta": [0.0] * 11}})
    assert changed.modified_count > 0
    assert found(cat, Data("theta").max() > 10.5) == [12, 11], "nothing but a look at each run would tell"
    COMMANDS.seen = []
    cat.refresh(deep=True)
    assert len(COMMANDS.seen) == 2, "all runs in two questions"
    assert found(cat, Data("theta").max() > 10.5) == [11]


@pytest.mark.parametrize("most", [0, 3, 25, 40])
def test_a_filter_is_not_longer_than_it_may_be(cat: BlueskyCatalog, monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    """What statistics say is then looked up for each run that is listed; no header is asked for."""
    theta, scan = Data("theta"), Start("plan_name") == "scan"
    query = (theta.max() > 9) | (theta.max() < 2)
    wanted = {
        query: [12, 11, 10, 1],
        ~query: [9, 8, 7, 6, 5, 4, 3, 2],
        query & scan: [12, 10],
        query | scan: [12, 11, 10, 8, 6, 4, 2, 1],
        (query & ~scan) | ((Data("det").sum() > 3) & (Start("scan_id") < 3)): [11, 2, 1],
        (theta.between(0.5, 0.7) | scan) & ~(theta.max() > 9): [8, 6, 4, 3, 2, 1],
    }
    assert [found(cat, one) for one in wanted] == list(wanted.values())
    monkeypatch.setattr(statistics_cache, "MOST", most)
    COMMANDS.seen = []
    for one, expected in wanted.items():
        assert found(cat, one) == expected
        assert len(cat.search(one)) == len(expected)
        runs = cat.search(one)
        assert [runs[-place].metadata["start"]["scan_id"] for place in (1, len(expected))] == [
            expected[0],
            expected[-1],
        ]
    asked = theta.max() > 9
    assert isinstance(asked, DataQuery)
    leaf = Kept(asked, "true")
    store = with_statistics(cat.store)
    newest, oldest = (store.plan(leaf, order) for order in Order)
    assert newest.pushed == oldest.pushed == leaf, "of three runs"
    assert [run.scan_id for run in store.find(newest, offset=1, limit=1)] == [11]
    assert [run.scan_id for run in store.find(oldest)] == [10, 11, 12]
    assert store.count(newest) == 3
    store.close()


def test_many_measured_runs_take_one_listing(
    cat: BlueskyCatalog, schema: str, database: Database[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    put(database, schema, 7, run_of(7)[-1:])
    query = Data("theta").max() > 9
    assert found(cat, query) == [12, 11, 10]
    monkeypatch.setattr(statistics_cache, "MOST", 2)
    COMMANDS.seen = []
    assert found(cat, query) == [12, 11, 10]
    assert len(COMMANDS.seen) <= 4, "certain, and open: runs with a time, and without"
    COMMANDS.seen = []
    assert len(cat.search(query)) == 3
    assert len(COMMANDS.seen) <= 3


def test_a_damaged_file_is_made_anew(cat: BlueskyCatalog, tmp_path: Path) -> None:
    assert found(cat, Data("theta").max() > 10.5) == [12, 11]
    close(cat)
    [path] = (tmp_path / "cache").glob("*.sqlite")
    path.write_bytes(b"nothing of the kind" * 1000)
    with pytest.warns(UserWarning, match="made anew"):
        assert found(cat, Data("theta").max() > 10.5) == [12, 11]
    assert found(cat, Data("theta").max() > 10.5) == [12, 11]


def test_no_secret_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INTAKE_BLUESKY_CACHE", str(tmp_path / "cache"))
    hosts = f"127.0.0.1:1/runs?tlsCertificateKeyFilePassword={SECRET}2"
    stores = [NormalizedStore(f"mongodb://{who}{hosts}") for who in (f"me:{SECRET}@", f"you:{SECRET}3@", "")]
    assert {store.cache_key for store in stores} == {"statistics of run_start in mongodb://127.0.0.1:1/runs"}
    other = EmbeddedStore(f"mongodb://me:{SECRET}@{hosts}")
    what = Recorded("a", "1", "primary", "theta")
    for store in (*stores, other):
        cached = with_statistics(store)
        statistics = cached.statistics
        assert isinstance(statistics, StatisticsIndex)
        statistics._put_runs({"a": ("1", packed({("primary", "theta"): None}))})
        assert statistics.get(what) is None
        assert statistics._unmeasured(["a", "b"]) == ["b"]
        for one in (store, cached):
            assert SECRET.encode() not in pickle.dumps(one)
        cached.close()
    files = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert len({path.name.partition(".sqlite")[0] for path in files}) == 2, "of two schemas"
    for path in files:
        assert SECRET not in path.name
        assert SECRET.encode() not in path.read_bytes()
