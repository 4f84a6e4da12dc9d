"""MongoDB going away, refusing and filling up: clear errors, and nothing that was acknowledged is lost."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from pymongo import MongoClient
from pymongo.database import Database

from intake_bluesky.documents.model import identical
from intake_bluesky.errors import DamagedRun, DuplicateRun, StoreUnavailable, UnsupportedOperation
from intake_bluesky.testing.compose import RunComposer, data_key
from intake_bluesky.testing.examples import Run
from intake_bluesky.testing.expected import stored_events
from intake_bluesky.testing.plain_runs import scan
from intake_bluesky_mongo import Buffering, EmbeddedStore, NormalizedStore
from intake_bluesky_mongo.store import MongoStore
from tests.servers.mongo import MongoServer, server

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")  # of connections that broke


@pytest.fixture(scope="module")
def own() -> Iterator[MongoServer]:
    """A server to be stopped."""
    with server() as started:
        yield started


@pytest.fixture(params=["normalized", "paged", "embedded"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["normalized", "embedded"])
def schema(request: pytest.FixtureRequest) -> str:
    """For what takes processes and seconds."""
    return str(request.param)


def open_store(kind: str, uri: str, **buffering: float) -> MongoStore:
    settings = Buffering(**{"flush_seconds": 60.0, "patience": 5.0, **buffering})  # type: ignore[arg-type]
    if kind == "embedded":
        return EmbeddedStore(uri, writable=True, buffering=settings)
    return NormalizedStore(uri, writable=True, event_pages=kind == "paged", buffering=settings)


def long_run(label: str, events: int, width: int = 400) -> Run:
    run = RunComposer(label, scan_id=7)
    primary = run.descriptor({"x": data_key("number"), "spectrum": data_key("array", [width])})
    for number in range(events):
        run.event(primary, {"x": float(number), "spectrum": [0.5 + number] * width})
    run.stop()
    return run.documents


def check(store: MongoStore, run: Run) -> None:
    observed = list(store.documents(run[0][1]["uid"]))
    assert identical(stored_events(observed), stored_events(run))
    assert observed[-1][0] == run[-1][0]


def database_of(own: MongoServer, name: str) -> str:
    return f"{own.uri}/{name}?serverSelectionTimeoutMS=1000"


@pytest.mark.slow
def test_stopped_and_started_while_a_run_is_read(own: MongoServer, schema: str) -> None:
    store = open_store(schema, database_of(own, f"read_{schema}"))
    run = long_run("read", 2000, 300)
    with store.insert(run[0][1]) as insert:
        for name, doc in run[1:]:
            insert.write(name, doc)
    uid = run[0][1]["uid"]
    pages = store.event_pages(uid, "primary", data={"spectrum"})
    seen = len(next(pages))
    assert seen < 2000
    own.stop()
    with pytest.raises(StoreUnavailable, match=r"was asked for events of run .* stream 'primary': it does not answer"):
        list(pages)
    with pytest.raises(StoreUnavailable, match="check that the server runs"):
        store.header(uid)
    own.start()
    values = [page.data["x"] for page in store.event_pages(uid, "primary", data={"x"})]
    assert [value for column in values for value in np.asarray(column).tolist()] == [
        float(number) for number in range(2000)
    ]
    check(store, run)
    store.close()


@pytest.mark.slow
def test_stopped_and_started_while_a_run_is_written(own: MongoServer, kind: str) -> None:
    store = open_store(kind, database_of(own, f"write_{kind}"), patience=20.0)
    run = long_run("written", 600)
    insert = store.insert(run[0][1])
    for place, (name, doc) in enumerate(run[1:]):
        if place == 300:
            own.stop()
            again = threading.Timer(1.0, own.start)
            again.start()
        insert.write(name, doc)
    again.join()
    check(store, run)
    store.close()


@pytest.mark.slow
def test_a_server_that_does_not_come_back(own: MongoServer, schema: str) -> None:
    """What is held is kept, and written when the server is there again."""
    store = open_store(schema, database_of(own, f"gone_{schema}"), patience=0.0)
    run = long_run("gone", 5)
    insert = store.insert(run[0][1])
    for name, doc in run[1:-1]:
        insert.write(name, doc)
    own.stop()
    with pytest.raises(StoreUnavailable, match="it does not answer"):
        insert.write(*run[-1])
    own.start()
    insert.close()
    check(store, run)
    store.close()


def test_events_wait_no_longer_than_said(database: Database[dict[str, Any]], database_uri: str, kind: str) -> None:
    store, run = open_store(kind, database_uri, flush_seconds=0.1), scan()
    insert = store.insert(run[0][1])
    for name, doc in run[1:-1]:
        insert.write(name, doc)
    deadline = time.monotonic() + 10
    expected = {name: len(events) for name, events in stored_events(run).items()}
    observed: dict[str, int] = {}
    while observed != expected and time.monotonic() < deadline:
        time.sleep(0.05)
        observed = {name: layout.events for name, layout in store.header(run[0][1]["uid"]).streams.items()}
    assert observed == expected
    insert.close()
    store.close()


def write_and_die(kind: str, uri: str) -> None:
    store, run = open_store(kind, uri, flush_seconds=0.1), long_run("killed", 50)
    insert = store.insert(run[0][1])
    for name, doc in run[1:-1]:
        insert.write(name, doc)
    time.sleep(1.0)
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.slow
def test_a_killed_writer_leaves_a_readable_run(database_uri: str, schema: str) -> None:
    writer = multiprocessing.get_context("spawn").Process(target=write_and_die, args=(schema, database_uri))
    writer.start()
    writer.join(60)
    assert writer.exitcode == -signal.SIGKILL
    store = open_store(schema, database_uri)
    [found] = store.find()
    assert found.stop is None
    check(store, long_run("killed", 50)[:-1])
    store.close()


def insert_at_once(kind: str, uri: str, barrier: Any, outcomes: Any) -> None:
    store, run = open_store(kind, uri), scan()
    store.count()
    barrier.wait(60)
    try:
        with store.insert(run[0][1]) as insert:
            for name, doc in run[1:]:
                insert.write(name, doc)
        outcomes.put("written")
    except DuplicateRun as error:
        outcomes.put(str(error))
    store.close()


@pytest.mark.slow
def test_two_processes_insert_the_same_run(database_uri: str, schema: str) -> None:
    context = multiprocessing.get_context("spawn")
    barrier, outcomes = context.Barrier(2), context.Queue()
    writers = [context.Process(target=insert_at_once, args=(schema, database_uri, barrier, outcomes)) for _ in range(2)]
    for writer in writers:
        writer.start()
    told = sorted([outcomes.get(timeout=60), outcomes.get(timeout=60)])
    for writer in writers:
        writer.join()
    assert told[1] == "written"
    assert scan()[0][1]["uid"] in told[0]
    store = open_store(schema, database_uri)
    check(store, scan())
    assert store.count() == 1
    store.close()


def test_a_lost_answer_writes_nothing_twice(
    database: Database[dict[str, Any]], database_uri: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each write reaches the server, and its first answer is lost."""
    from pymongo.collection import Collection
    from pymongo.errors import AutoReconnect

    lost: set[tuple[str, str]] = set()

    def losing(name: str) -> None:
        really = getattr(Collection, name)

        def write(self: Any, *args: Any, **kwargs: Any) -> Any:
            done = really(self, *args, **kwargs)
            if (name, self.name) not in lost:
                lost.add((name, self.name))
                raise AutoReconnect("the answer was lost")
            return done

        monkeypatch.setattr(Collection, name, write)

    for name in ("insert_one", "insert_many", "update_one", "bulk_write"):
        losing(name)
    store, run = open_store(kind, database_uri), scan()
    with store.insert(run[0][1]) as insert:
        for name, doc in run[1:]:
            insert.write(name, doc)
    assert len(lost) >= 3
    check(store, run)
    store.close()


def test_pages_past_16_mib_are_split(database: Database[dict[str, Any]], database_uri: str, kind: str) -> None:
    run = RunComposer("large", scan_id=1)
    primary = run.descriptor({"image": data_key("array", [200_000])})
    run.page(primary, {"image": [[float(number)] * 200_000 for number in range(10)]})  # 23 MB of BSON
    run.stop()
    store = open_store(kind, database_uri)
    with store.insert(run.documents[0][1]) as insert:
        for name, doc in run.documents[1:]:
            insert.write(name, doc)
    values = [np.asarray(page.data["image"])[:, 0].tolist() for page in store.event_pages(run.run_uid, "primary")]
    assert [value for page in values for value in page] == [float(number) for number in range(10)]
    store.close()


def test_what_bson_cannot_hold_is_refused(database: Database[dict[str, Any]], database_uri: str, kind: str) -> None:
    store = open_store(kind, database_uri)
    for start in ({"uid": "a", "time": 1.0, "n": 10**40}, {"uid": "a", "time": 1.0, "nul\0": 1},
                  {"uid": "a", "time": 1.0, "half": "\ud800"}):  # fmt: skip
        with pytest.raises(UnsupportedOperation, match="MongoDB cannot hold this start document"):
            store.insert(start)
    assert store.count() == 0
    store.close()


def test_nobody_listens() -> None:
    for kind in ("normalized", "embedded"):
        store = open_store(kind, "mongodb://127.0.0.1:1/runs?serverSelectionTimeoutMS=200")
        with pytest.raises(StoreUnavailable, match=r"127.0.0.1:1/runs.* was asked .*: it does not answer"):
            list(store.find())
        store.close()


@pytest.mark.slow
def test_a_wrong_password() -> None:
    with server() as started:
        with MongoClient[dict[str, Any]](started.uri) as client:
            client.admin.command("createUser", "me", pwd="right", roles=["root"])
        started.stop(signal.SIGTERM)
        started.start("--auth")
        wrong = NormalizedStore(f"mongodb://me:wr0ng@127.0.0.1:{started.port}/runs?authSource=admin")
        with pytest.raises(
            StoreUnavailable, match=r"it refused the user .* check user, password and authSource"
        ) as caught:
            wrong.count()
        assert "wr0ng" not in str(caught.value)
        wrong.close()
        nobody = NormalizedStore(f"mongodb://127.0.0.1:{started.port}/runs")
        with pytest.raises(StoreUnavailable, match="it refused the user"):
            nobody.count()
        nobody.close()
        right = NormalizedStore(f"mongodb://me:right@127.0.0.1:{started.port}/runs?authSource=admin")
        assert right.count() == 0
        right.close()


@pytest.mark.parametrize("reached", [True, False])
def test_what_was_told_to_fail_is_written_once(
    database: Database[dict[str, Any]], database_uri: str, kind: str, reached: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Patience ends before the server answers, whether or not it was reached: nothing is lost, nothing is twice."""
    from pymongo.collection import Collection
    from pymongo.errors import AutoReconnect

    failing = False

    def fail(name: str) -> None:
        really = getattr(Collection, name)

        def write(self: Any, *args: Any, **kwargs: Any) -> Any:
            nonlocal failing
            failing = not failing
            if failing and not reached:
                raise AutoReconnect("it does not answer")
            done = really(self, *args, **kwargs)
            if failing:
                raise AutoReconnect("the answer was lost")
            return done

        monkeypatch.setattr(Collection, name, write)

    run = long_run("failing", 40)
    store = open_store(kind, database_uri, patience=-1.0, flush_bytes=2**14)
    insert = store.insert(run[0][1])
    for name in ("insert_many", "update_one", "bulk_write"):
        fail(name)
    told = []
    for name, doc in run[1:]:
        try:
            insert.write(name, doc)
        except StoreUnavailable as error:
            told.append(str(error))
    insert.close()
    assert len(told) > 3
    assert all("do not write them again" in one for one in told)
    monkeypatch.undo()
    check(store, run)
    assert sorted(name for name, _ in store.documents(run[0][1]["uid"])) == sorted(name for name, _ in run)
    store.close()


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("descriptor", {"run_start": "another"}), ("descriptor", {"uid": None}), ("event", {"data": [1]}),
        ("event", {"uid": 5}), ("event", {"descriptor": "nobody's"}), ("event", {"timestamps": 1}),
        ("stop", {"run_start": None}), ("stop", {"uid": None}),
    ],
)  # fmt: skip
def test_what_would_not_be_found_again_is_refused(
    database: Database[dict[str, Any]], database_uri: str, kind: str, name: str, changed: dict[str, Any]
) -> None:
    store, run = open_store(kind, database_uri), scan()
    insert = store.insert(run[0][1])
    for place, (today, doc) in enumerate(run[1:], 1):
        if today == name and (name != "event" or place > 5):
            with pytest.raises(UnsupportedOperation, match=r"found again|of run"):
                insert.write(today, {**doc, **changed})
        insert.write(today, doc)
    check(store, run)
    store.close()


def test_other_documents_and_uids_are_refused(database: Database[dict[str, Any]], database_uri: str, kind: str) -> None:
    store, run = open_store(kind, database_uri), scan()
    for start in ({"time": 1.0}, {"uid": 5, "time": 1.0}, {"uid": "", "time": 1.0}):
        with pytest.raises(UnsupportedOperation, match="a run's uid is a text"):
            store.insert(start)
    with store.insert(run[0][1]) as insert:
        for name, doc in (("start", run[0][1]), ("run_stop", {"uid": "a"}), ("nul\0", {"uid": "a"})):
            with pytest.raises(UnsupportedOperation, match=r"no .* documents after its start"):
                insert.write(name, doc)
        with pytest.raises(UnsupportedOperation, match="cannot be read"):
            insert.write("event_page", {"descriptor": "a", "seq_num": [1, 2]})
        for pair in run[1:]:
            insert.write(*pair)
    check(store, run)
    known = {"run_start", "run_stop", "event_descriptor", "event", "event_page", "header", "datum"}
    assert set(database.list_collection_names()) <= known
    store.close()


def test_odd_events_of_others_are_said(database: Database[dict[str, Any]], database_uri: str) -> None:
    store, run = open_store("normalized", database_uri), scan()
    with store.insert(run[0][1]) as insert:
        for pair in run[1:]:
            insert.write(*pair)
    uid = run[0][1]["uid"]
    database["event"].update_one({"seq_num": 2}, {"$set": {"data": [[1]]}})
    with pytest.raises(DamagedRun, match="cannot be read"):
        list(store.event_pages(uid, "primary"))
    assert [doc["data"] for name, doc in store.documents(uid) if name == "event"].count([[1]]) == 1
    store.close()
