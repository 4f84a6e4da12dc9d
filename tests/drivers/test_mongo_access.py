"""How the MongoDB driver asks: round trips, indexes, what is sent, secrets, and that nothing is changed."""

from __future__ import annotations

import gc
import logging
import os
import pickle
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import intake
import numpy as np
import pytest
from dask.base import tokenize
from pymongo import MongoClient, monitoring
from pymongo.database import Database
from pymongo.errors import AutoReconnect, InvalidOperation

from intake_bluesky.apps.cli import main
from intake_bluesky.catalogs.run_catalog import BlueskyCatalog
from intake_bluesky.errors import StoreUnavailable, UnsupportedOperation, UnsupportedQuery
from intake_bluesky.query import DataKey, Start, Stop
from intake_bluesky.query.databroker import RawMongo
from intake_bluesky.storage.contract import Plan
from intake_bluesky.storage.order import Order
from intake_bluesky.testing import MemoryStore
from intake_bluesky.testing.compose import RunComposer, data_key
from intake_bluesky.testing.plain_runs import count, rewound, scan
from intake_bluesky.testing.runs import EXAMPLES
from intake_bluesky_mongo import (
    BlueskyMongoEmbeddedCatalog,
    BlueskyMongoNormalizedCatalog,
    EmbeddedStore,
    NormalizedStore,
)
from intake_bluesky_mongo.store import MongoStore
from tests.drivers.mongo_by_hand import put_embedded, put_normalized
from tests.servers.mongo import REAL, uri_of

SECRET = "sw0rdfish"


class Commands(monitoring.CommandListener):
    """The commands that went to a server."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, Any]] = []
        self.listening = False

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        if self.listening and event.command_name not in ("endSessions", "killCursors", "hello"):
            self.seen.append((event.command_name, event.command))

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        pass

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        pass


COMMANDS = Commands()


@contextmanager
def asked() -> Iterator[list[tuple[str, Any]]]:
    COMMANDS.seen, COMMANDS.listening = [], True
    try:
        yield COMMANDS.seen
    finally:
        COMMANDS.listening = False


monitoring.register(COMMANDS)


@pytest.fixture(params=["normalized", "embedded"])
def store(
    request: pytest.FixtureRequest, database: Database[dict[str, Any]], database_uri: str
) -> Iterator[MongoStore]:
    made: MongoStore
    if request.param == "normalized":
        made = NormalizedStore(database_uri)
        for run in (count(), scan(), rewound()):
            put_normalized(database, run)
    else:
        made = EmbeddedStore(database_uri)
        for run in (count(), scan(), rewound()):
            put_embedded(database, run[0][1]["uid"], run)
    yield made
    made.close()


def test_a_run_is_one_round_trip(store: MongoStore) -> None:
    with asked() as seen:
        header = store.header(scan()[0][1]["uid"])
    assert list(header.streams) == ["baseline", "primary"] or len(header.streams) > 1
    assert [name for name, _ in seen] == ["aggregate"]


def test_a_run_with_assets_elsewhere_is_two(database: Database[dict[str, Any]], database_uri: str, mongodb: str,
                                            tmp_path: Path) -> None:  # fmt: skip
    run = EXAMPLES["ad_hdf5"](tmp_path)
    assets = database.client[f"{database.name}_assets"]
    for name, doc in run:
        put_normalized(assets if name in ("resource", "datum") else database, [(name, doc)])
    store = NormalizedStore(database_uri, uri_of(mongodb, assets.name))
    with asked() as seen:
        header = store.header(run[0][1]["uid"])
    assert [name for name, _ in seen] == ["aggregate", "aggregate"]
    assert len(header.resources) == 1
    assert sum(map(len, store.datum_pages(header.uid, header.resources[0]["uid"]))) == 3
    database.client.drop_database(assets.name)
    store.close()


@pytest.mark.parametrize("query", [Start("plan_name") == "scan", Stop("exit_status") == "success",
                                   DataKey("x").exists() & ~(Stop("exit_status") == "fail")], ids=repr)  # fmt: skip
def test_a_page_of_runs_is_one_round_trip(store: MongoStore, query: Any) -> None:
    plan = store.plan(query, Order.NEWEST)
    with asked() as seen:
        assert list(store.find(plan, limit=1))
    assert [name for name, _ in seen] == ["aggregate"]
    with asked() as seen:
        store.count(plan)
    assert [name for name, _ in seen] == ["aggregate"]


def test_only_what_is_asked_is_sent(store: MongoStore) -> None:
    uid = scan()[0][1]["uid"]
    layout = store.header(uid).streams["primary"]
    key = next(iter(layout.data_keys))
    with asked() as seen:
        [*pages] = store.event_pages(uid, "primary", data=frozenset({key}))
    [(_, found)] = seen
    assert f"data.{key}" in found["projection"]
    assert not {"data", "timestamps"} & found["projection"].keys()
    assert {k for page in pages for k in page.data} == {key}
    with asked() as seen:
        list(store.event_pages(uid, "primary", data=()))
    assert not any(field.startswith("data") for field in seen[0][1]["projection"])


def long_run(events: int) -> Any:
    run = RunComposer("long", scan_id=7)
    primary = run.descriptor({"x": data_key("number"), "label": data_key("array", [2000])})
    for number in range(events):
        run.event(primary, {"x": float(number), "label": [0.5]})
    return run.documents


def test_a_range_of_events_is_a_range_of_times(database: Database[dict[str, Any]], database_uri: str) -> None:
    run = long_run(200)
    put_normalized(database, run)
    store = NormalizedStore(database_uri)
    uid = run[0][1]["uid"]
    layout = store.header(uid).streams["primary"]
    assert len(layout.pages) > 3, "about a mebibyte each"
    for part in (slice(0, 40), slice(100, 140), slice(160, 200)):
        [*pages] = store.event_pages(uid, "primary", data={"x"}, events=part)
        assert np.concatenate([page.data["x"] for page in pages]).tolist() == [float(n) for n in range(200)][part]
    with asked() as seen:
        list(store.event_pages(uid, "primary", data={"x"}, events=slice(100, 140)))
    found = [command for name, command in seen if name == "find"]
    assert len(found) == 1, "the times are known by now"
    times = [doc["time"] for name, doc in run if name == "event"]
    assert found[0]["filter"]["time"] == {"$gte": times[100], "$lte": times[139]}
    assert found[0]["limit"] == 40
    assert database.event.count_documents(found[0]["filter"]) == 40, "and the server looks at no other"
    store.close()


def test_a_range_of_events_is_of_those_asked_and_of_ties(database: Database[dict[str, Any]], database_uri: str) -> None:
    """Events of the very time at which a range begins may come before it; no others are looked at."""
    run = long_run(60)
    for place, (_, doc) in enumerate((name, doc) for name, doc in run if name == "event"):
        doc["time"] = 1.6e9 + place // 4
    put_normalized(database, run)
    store = NormalizedStore(database_uri)
    uid = run[0][1]["uid"]
    seen: list[float] = []
    for start in range(0, 60, 7):
        with asked() as commands:
            pages = list(store.event_pages(uid, "primary", data={"x"}, events=slice(start, start + 7)))
        seen += np.concatenate([page.data["x"] for page in pages]).tolist()
        [command] = [one for name, one in commands if name == "find" and "data.x" in one["projection"]]
        if start:
            matching = database.event.count_documents(command["filter"])
            assert matching <= command["limit"] + 2 * 3, "three at either end"
            assert command.get("skip", 0) <= 3
    assert sorted(seen) == [float(number) for number in range(60)], "each once"
    store.close()


def test_reading_changes_nothing(store: MongoStore, database: Database[dict[str, Any]]) -> None:
    before = set(database.list_collection_names()), store.proposed_indexes()
    with asked() as seen:
        for run in store.find():
            list(store.documents(run.uid))
            for stream in store.header(run.uid).streams:
                list(store.event_pages(run.uid, stream))
        store.problems()
        store.refresh()
        with pytest.raises(UnsupportedOperation, match="writable=True"):
            store.insert({"uid": "new", "time": 1.0})
    assert {name for name, _ in seen} <= {"find", "aggregate", "getMore"}
    assert (set(database.list_collection_names()), store.proposed_indexes()) == before


def test_indexes_are_proposed_and_made(store: MongoStore, database: Database[dict[str, Any]], tmp_path: Path,
                                       capsys: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    driver = "normalized" if isinstance(store, NormalizedStore) else "embedded"
    argument = "metadatastore_db" if driver == "normalized" else "datastore_db"
    yaml = tmp_path / "facility.yml"
    uri = store.connection.shown
    yaml.write_text(f"sources: {{runs: {{driver: bluesky-mongo-{driver}-catalog, args: {{{argument}: '{uri}'}}}}}}\n")
    proposed = store.proposed_indexes()
    assert any("descriptor" in one for one in proposed)
    assert main(["index", str(yaml)]) == 0
    told = capsys.readouterr().out
    assert all(one in told for one in proposed)
    assert "nothing was changed" in told
    assert store.proposed_indexes() == proposed
    assert main(["index", "--make", str(yaml)]) == 0
    assert capsys.readouterr().out.count("made ") == len(proposed)
    assert store.proposed_indexes() == []
    uid = count()[0][1]["uid"]
    for found in (Plan(Start("uid") == uid), store.plan(Start("uid") == uid, Order.OLDEST)):
        assert "IXSCAN" in store.server_plan(found)
    catalog = intake.open_catalog(str(yaml)).runs.search(Start("uid") == uid)
    assert "IXSCAN of the index" in str(catalog.explain(run=True))
    if driver == "normalized":
        plan = database.command("explain", {"find": "event", "filter": {"descriptor": "d"}, "sort": {"time": 1}})
        assert "IXSCAN" in str(plan)


class TestSecrets:
    """A password is in no repr, error, pickle, YAML, log or exported catalog."""

    uri = f"mongodb://me:{SECRET}@127.0.0.1:1/runs?authSource=admin&tlsCertificateKeyFilePassword={SECRET}2"

    @pytest.mark.parametrize("face", [BlueskyMongoNormalizedCatalog, BlueskyMongoEmbeddedCatalog])
    def test_shown_nowhere(self, face: Any, caplog: pytest.LogCaptureFixture) -> None:
        plain = self.uri.partition("&")[0] + "&serverSelectionTimeoutMS=200"
        with caplog.at_level(logging.DEBUG):
            catalog = face(plain)
            with pytest.raises(StoreUnavailable) as caught:
                len(catalog)
        told = "".join(traceback.format_exception(caught.value))
        kept = pickle.dumps(catalog) + pickle.dumps(catalog.store)
        for text in (told, caplog.text, repr(catalog), repr(catalog.store), str(catalog.describe()), catalog.yaml()):
            assert SECRET not in text
        assert SECRET.encode() not in kept
        assert "mongodb://me@127.0.0.1:1/runs" in str(caught.value)
        assert "check that the server runs" in str(caught.value)
        catalog.store.close()

    def test_options_are_secret_too(self) -> None:
        store = NormalizedStore(self.uri)
        assert SECRET not in repr(store)
        assert SECRET.encode() not in pickle.dumps(store)
        assert SECRET in store.connection.address.server  # type: ignore[union-attr]

    @pytest.mark.parametrize(
        "options",
        [
            f"authMechanism=MONGODB-AWS&authMechanismProperties=AWS_SESSION_TOKEN:{SECRET}2",
            f"AUTHMECHANISMPROPERTIES=AWS_SESSION_TOKEN:{SECRET}2,SERVICE_NAME:x&authMechanism=MONGODB-AWS",
            f"proxyHost=h&proxyPassword={SECRET}2", f"ssl_pem_passphrase={SECRET}2", f"apiKey={SECRET}2",
            f"tlsCertificateKeyFilePassword={SECRET}%402", f"proxy%50assword={SECRET}2",
            f"authSource=admin;tlsCertificateKeyFilePassword={SECRET}2",
        ],
    )  # fmt: skip
    def test_only_what_is_known_to_be_harmless_is_shown(
        self, options: str, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
    ) -> None:
        from intake_bluesky.runtime import secrets as secrets_module

        store = NormalizedStore(f"mongodb://key:{SECRET}@127.0.0.1:1/runs?serverSelectionTimeoutMS=50&{options}")
        catalog = BlueskyCatalog(store)
        with suppress(Exception):
            store.count()
        with pytest.raises(StoreUnavailable) as caught:
            store.count()
        told = "".join(traceback.format_exception(caught.value))
        dumped = pickle.dumps(catalog)
        token = tokenize(store) + repr(store.__dask_tokenize__())
        for text in (told, repr(store), repr(dumped), token, str([str(one.message) for one in recwarn])):
            assert SECRET not in text
        address = store.connection.address
        assert address is not None
        hidden, server = address.secrets, address.server
        assert SECRET not in hidden.hide(f"{options.partition('=')[2]} {SECRET} {SECRET}@2")
        assert pickle.loads(dumped).store.connection.address.server == server, "in the same process"
        monkeypatch.setattr(secrets_module, "_held", {})
        monkeypatch.setenv("MONGO_PASSWORD", SECRET)
        there = pickle.loads(dumped).store
        with pytest.raises(StoreUnavailable, match=r"needs the options .* set the environment variable MONGO_OPTIONS"):
            there.count()
        monkeypatch.setenv("MONGO_OPTIONS", hidden.options)
        assert there.connection.address.server == server
        recwarn.clear()

    @pytest.mark.parametrize("uri", [f"mongodb://me:{SECRET}/x@host/runs", f"mongodb://me:{SECRET}@host", SECRET,
                                     f"mongodb://me:{SECRET}@host:no/runs"])  # fmt: skip
    def test_mistakes_show_nothing(self, uri: str) -> None:
        with pytest.raises((ValueError, StoreUnavailable)) as caught:
            NormalizedStore(uri).count()
        assert SECRET not in "".join(traceback.format_exception(caught.value))

    def test_an_error_of_the_client_that_shows_one(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Nor in a worker, which has it from its environment."""
        for given in (f"mongodb://them:{SECRET}@host/runs", "mongodb://others@host/runs"):
            connection = NormalizedStore(given).connection
            monkeypatch.setenv("MONGO_PASSWORD", SECRET)
            error = AutoReconnect(f"no answer to {SECRET}")
            error.__cause__ = OSError(SECRET)
            with pytest.raises(StoreUnavailable, match=r"no answer to \.\.\.") as caught, connection.asking("anything"):
                raise error
            assert SECRET not in "".join(traceback.format_exception(caught.value))

    def test_another_process_takes_it_from_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from intake_bluesky.runtime import secrets as secrets_module

        store = NormalizedStore(f"mongodb://you:{SECRET}@host/runs")
        dumped = pickle.dumps(store)
        monkeypatch.setattr(secrets_module, "_held", {})
        there = pickle.loads(dumped)
        with pytest.raises(StoreUnavailable, match="MONGO_PASSWORD"):
            there.count()
        monkeypatch.setenv("MONGO_PASSWORD", SECRET)
        assert there.connection.address.server == f"mongodb://you:{SECRET}@host/?authSource=runs"


def test_a_database_object_is_taken(database: Database[dict[str, Any]]) -> None:
    put_normalized(database, scan())
    catalog = BlueskyMongoNormalizedCatalog(database, database, auth=None, find_kwargs={"max_time_ms": 60_000})
    assert len(catalog) == 1
    assert len(catalog[-1].primary.read().time) == 11
    with pytest.raises(UnsupportedOperation, match="give its URI"):
        pickle.dumps(catalog)


def test_options_that_would_change_what_is_found() -> None:
    with pytest.raises(UnsupportedOperation, match="not limit: what is found is said by query="):
        NormalizedStore("mongodb://host/runs", find_kwargs={"limit": 5})


@pytest.mark.parametrize("how", ["closed", "forgotten"])
def test_one_client_of_a_process(database: Database[dict[str, Any]], database_uri: str, how: str) -> None:
    """Closed with the last that uses it."""
    own = f"{database_uri}{'&' if '?' in database_uri else '?'}maxPoolSize=7"
    one, other = NormalizedStore(own), EmbeddedStore(own)
    client = one.connection.database.client
    assert other.connection.database.client is client
    one.close()
    assert other.count() == 0
    if how == "closed":
        other.close()
    del other
    gc.collect()
    with pytest.raises(InvalidOperation, match="Cannot use MongoClient after close"):
        client.admin.command("ping")
    assert one.count() == 0, "a closed store opens anew"
    one.close()


def test_collected_by_a_thread_that_a_client_being_made_waits_for(
    database_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The garbage collector runs in any thread, also in one that pymongo has just started."""
    forgotten = [NormalizedStore(database_uri)]
    first = forgotten[0].connection.database.client

    class Client(MongoClient[dict[str, Any]]):
        def __init__(self, *args: Any, **options: Any) -> None:
            thread = threading.Thread(target=forgotten.clear, daemon=True)
            thread.start()
            thread.join(10)
            assert not thread.is_alive()
            super().__init__(*args, **options)

    monkeypatch.setattr("intake_bluesky_mongo.connections.MongoClient", Client)
    store = NormalizedStore(f"{database_uri}{'&' if '?' in database_uri else '?'}maxPoolSize=8")
    assert store.count() == 0
    with pytest.raises(InvalidOperation, match="Cannot use MongoClient after close"):
        first.admin.command("ping")
    store.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:MongoClient opened before fork", "ignore:This process:DeprecationWarning")
def test_a_fork_has_a_client_of_its_own(store: MongoStore) -> None:
    assert store.count() == 3
    child = os.fork()
    if child == 0:
        os._exit(0 if store.count() == 3 and len(list(store.find())) == 3 else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert store.count() == 3


def test_yaml_of_databroker_opens(database: Database[dict[str, Any]], database_uri: str, tmp_path: Path) -> None:
    put_normalized(database, scan())
    (tmp_path / "facility.yml").write_text(
        f"""
sources:
  hx:
    driver: bluesky-mongo-normalized-catalog
    container: catalog
    args:
      metadatastore_db: {database_uri}
      asset_registry_db: {database_uri}
      find_kwargs: {{}}
      handler_registry: {{}}
    metadata: {{beamline: hx}}
"""
    )
    catalog = intake.open_catalog(str(tmp_path / "facility.yml")).hx
    assert isinstance(catalog, BlueskyMongoNormalizedCatalog)
    assert list(catalog) == [scan()[0][1]["uid"]]
    assert len(catalog[-1].primary.read().time) == 11
    [run] = pickle.loads(pickle.dumps(catalog.search({"plan_name": "scan"}))).values()
    assert run().primary.to_dask()["det"].compute().shape == (11,)
    if REAL is None:
        assert "IXSCAN" not in catalog.explain(run=True).server, "no index was made"


@pytest.mark.parametrize("by_id", [False, True])
def test_resources_of_old_writers(
    database: Database[dict[str, Any]], database_uri: str, tmp_path: Path, by_id: bool
) -> None:
    """Which name no run, or have no uid either: datums name their ``_id``."""
    run = EXAMPLES["npy_seq"](tmp_path)
    put_normalized(database, run)
    database.resource.update_one({}, {"$unset": {"run_start": 1, **({"uid": 1} if by_id else {})}})
    [resource] = database.resource.find()
    if by_id:
        database.datum.update_many({}, {"$set": {"resource": resource["_id"]}})
    catalog = BlueskyMongoNormalizedCatalog(database_uri)
    expected = resource.get("uid", str(resource["_id"]))
    assert [doc["uid"] for doc in catalog.store.header(run[0][1]["uid"]).resources] == [expected]
    assert catalog[run[0][1]["uid"]].primary.read()["image"].shape[0] == 3
    catalog.store.close()


def test_text_of_the_server(store: MongoStore, database: Database[dict[str, Any]]) -> None:
    """Asked of the server alone, in the first place, beside conditions of any kind; it takes a text index there."""
    query = RawMongo({"$text": {"$search": "scan"}, "plan_name": "scan"}) & (Stop("exit_status") == "success")
    plan = store.plan(query, Order.NEWEST)
    assert plan.pushed == query
    if REAL is not None:
        database[store.schema.collection].create_index([("$**", "text")])
        assert [run.scan_id for run in store.find(plan)] == [2]
        return
    with asked() as seen, pytest.raises(StoreUnavailable, match=r"\$text"):
        list(store.find(plan))
    assert seen[0][1]["pipeline"][0] == {"$match": {"$text": {"$search": "scan"}}}
    with pytest.raises(UnsupportedQuery, match="FullText means the same everywhere"):
        BlueskyCatalog(MemoryStore([scan()])).search(query)[-1]
