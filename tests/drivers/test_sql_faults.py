"""What happens to SQL databases: servers that stop, writers that are killed, processes that want the same."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import Connection

from intake_bluesky.documents.model import identical
from intake_bluesky.errors import IntakeBlueskyError, RunNotFound, StoreUnavailable, UnsupportedOperation
from intake_bluesky.testing.compose import RunComposer, data_key
from intake_bluesky.testing.plain_runs import count, scan
from intake_bluesky_sql import SQLStore, run_reader
from tests.drivers import sql_processes
from tests.drivers.sql_processes import PROCESSES, composed, together
from tests.servers.postgres import Postgres


@pytest.fixture(params=["sqlite", "postgresql"])
def uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/runs.db"
    server: Postgres = request.getfixturevalue("postgres")
    return server.uri()


def put(store: SQLStore, run: Any) -> None:
    with store.insert(run[0][1]) as insert:
        for pair in run[1:]:
            insert.write(*pair)


def test_of_processes_that_insert_the_same_run_one_wins(uri: str) -> None:
    outcomes = together(uri, *[sql_processes.insert_same] * 3)
    assert sorted(outcome for _, outcome in outcomes) == ["lost", "lost", "won"]
    store = SQLStore(uri)
    [run] = store.find()
    assert (run.start["writer"], "won") in outcomes
    assert len(list(store.documents(run.uid))) == 53
    store.close()


@pytest.mark.slow
def test_two_writers_and_readers_at_once(uri: str) -> None:
    SQLStore(uri).create()
    work = [sql_processes.write_runs, sql_processes.write_runs, sql_processes.read_runs, sql_processes.read_runs]
    outcomes = together(uri, *work)
    assert outcomes == [(0, "wrote"), (1, "wrote"), (2, 10), (3, 10)]
    store = SQLStore(uri)
    for run in store.find():
        label = next(f"writer {w} run {p}" for w in (0, 1) for p in range(5) if _uid(w, p) == run.uid)
        assert identical(list(store.documents(run.uid)), composed(label).documents)
    store.close()


def _uid(writer: int, place: int) -> str:
    return composed(f"writer {writer} run {place}", 0).run_uid


def test_killed_writer_leaves_what_was_taken(uri: str) -> None:
    written = PROCESSES.Value("i", 0)
    worker = PROCESSES.Process(target=sql_processes.write_until_killed, args=(uri, written))
    worker.start()
    while written.value < 200:
        time.sleep(0.01)
        assert worker.is_alive()
    before = written.value
    time.sleep(0.0 if uri.startswith("sqlite") else 1.0)
    assert worker.pid is not None
    os.kill(worker.pid, signal.SIGKILL)
    worker.join()
    store = SQLStore(uri)
    [run] = store.find()
    assert run.stop is None
    seen = [n for page in store.event_pages(run.uid, "primary") for n in page.seq_num.tolist()]
    assert len(seen) >= before, "what was taken before the bounds ran out is there"
    assert seen == list(range(1, len(seen) + 1)), "and nothing is missing in between"
    assert len(list(store.documents(run.uid))) == len(seen) + 2
    store.close()


@pytest.mark.slow
def test_documents_of_any_size(uri: str) -> None:
    run = RunComposer("large", note="x" * 17_000_000, numbers=list(range(1000)))
    primary = run.descriptor({"x": data_key("number"), "image": data_key("array", [400, 400])})
    image = np.arange(400 * 400, dtype=np.uint16).reshape(400, 400)
    run.event(primary, {"x": 1.5, "image": image})
    run.event(primary, {"x": 2.5, "image": image + 1})
    run.page(primary, {"x": list(np.arange(200_000) / 4), "image": [[n] for n in range(200_000)]})
    run.stop()
    store = SQLStore(uri)
    put(store, run.documents)
    assert identical(list(store.documents(run.run_uid)), run.documents)
    first = next(store.event_pages(run.run_uid, "primary"))
    np.testing.assert_array_equal(first.data["image"], [image])
    store.close()


@pytest.fixture
def server(postgres: Postgres) -> Iterator[Postgres]:
    yield postgres
    postgres.start_again()


def test_server_restarted_between_reads(server: Postgres) -> None:
    store = SQLStore(server.uri())
    put(store, scan())
    uid = scan()[0][1]["uid"]
    assert len(list(store.find())) == 1
    server.stop()
    server.start()
    assert [run.uid for run in store.find()] == [uid]
    assert identical(list(store.documents(uid)), scan())
    store.close()


def test_server_restarted_during_a_read(server: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_reader, "FAR", 1000)
    store = SQLStore(server.uri())
    run = RunComposer("long")
    primary = run.descriptor({"x": data_key("number")})
    for _ in range(5):
        run.page(primary, {"x": [float(n) for n in range(40_000)]})
    run.stop()
    put(store, run.documents)
    pages = store.event_pages(run.run_uid, "primary")
    observed = [len(next(pages))]
    server.stop()
    with pytest.raises(StoreUnavailable, match="See that the server runs"):
        list(SQLStore(store.database.address.text).find())
    server.start()
    observed += [len(page) for page in pages]
    assert observed == [40_000] * 5
    store.close()


def test_server_restarted_during_a_write(server: Postgres) -> None:
    store = SQLStore(server.uri(), flush_seconds=0.05, patience=60)
    run = composed("interrupted", 60).documents
    insert = store.insert(run[0][1])
    for pair in run[1:20]:
        insert.write(*pair)
    time.sleep(0.3)
    for pair in run[20:30]:
        insert.write(*pair)
    server.stop()
    for pair in run[30:50]:
        insert.write(*pair)
        time.sleep(0.01)
    server.start()
    for pair in run[50:]:
        insert.write(*pair)
    assert identical(list(store.documents(run[0][1]["uid"])), run)
    store.close()


def test_server_that_stays_away_loses_nothing(server: Postgres) -> None:
    store = SQLStore(server.uri(), flush_seconds=0.05, patience=0.3)
    run = composed("patient", 10).documents
    insert = store.insert(run[0][1])
    for pair in run[1:5]:
        insert.write(*pair)
    server.stop()
    for pair in run[5:-1]:
        insert.write(*pair)
    with pytest.raises(StoreUnavailable, match=r"documents of run .* are in memory"):
        insert.write(*run[-1])
    server.start()
    insert.close()
    assert identical(list(store.documents(run[0][1]["uid"])), run)
    insert.close()
    store.close()


def test_commit_that_was_not_heard_of_is_not_repeated(postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever was written is written once, though the writer tries again."""
    store = SQLStore(postgres.uri())
    writing = store.database._writing

    def lost(work: Any) -> Any:
        writing(work)
        return writing(work)

    monkeypatch.setattr(store.database, "_writing", lost)
    put(store, count())
    assert identical(list(store.documents(count()[0][1]["uid"])), count())
    store.close()


@pytest.mark.parametrize("seconds", [0, 60])
def test_run_that_is_removed_while_it_is_written_is_said(uri: str, seconds: float) -> None:
    store, run = SQLStore(uri, flush_seconds=seconds), count()
    insert = store.insert(run[0][1])
    store.database.write(lambda connection: connection.exec_driver_sql("DELETE FROM runs"))
    with pytest.raises(RunNotFound, match=r"was removed from .* while it was written"):
        deque((insert.write(*pair) for pair in run[1:]), maxlen=0)
    insert.close()
    put(store, run)
    assert identical(list(store.documents(run[0][1]["uid"])), run)
    store.close()


def test_name_of_no_document_is_refused_and_the_run_goes_on(uri: str) -> None:
    store, run = SQLStore(uri, flush_seconds=60), count()
    with store.insert(run[0][1]) as insert:
        for name in ("nul\0", "half\ud800"):
            with pytest.raises(UnsupportedOperation, match="ordinary text"):
                insert.write(name, {"uid": "a"})
        with pytest.raises(UnsupportedOperation, match="a document, as this event, is a dict"):
            insert.write("event", ["uid", "a"])  # type: ignore[arg-type]
        for pair in run[1:]:
            insert.write(*pair)
    assert identical(list(store.documents(run[0][1]["uid"])), run)
    store.close()


ODD_EVENTS: list[dict[str, Any]] = [
    {"data": [1, 2]}, {"filled": [1, 2]}, {"descriptor": "nobody's"}, {"time": None}, {"time": "12:00"},
    {"seq_num": 1.5}, {"seq_num": "2"}, {"seq_num": True}, {"seq_num": 2**70},
]  # fmt: skip


@pytest.mark.parametrize("flush_seconds", [0.0, 60.0])
def test_an_event_that_cannot_be_read_costs_itself(uri: str, flush_seconds: float) -> None:
    store = SQLStore(uri, flush_seconds=flush_seconds)
    for number, odd in enumerate(ODD_EVENTS):
        run = RunComposer(f"odd event {number}")
        primary, baseline = (
            run.descriptor({"x": data_key("number")}),
            run.descriptor({"p": data_key("number")}, stream="b"),
        )
        run.event(baseline, {"p": 5.0})
        for value in (1.0, 2.0, 3.0):
            run.event(primary, {"x": value})
        run.documents[5][1].update(odd)
        run.stop()
        put(store, run.documents)
        kept = [value for page in store.event_pages(run.run_uid, "primary") for value in np.asarray(page.data["x"])]
        assert kept == [1.0, 3.0], odd
        [page] = store.event_pages(run.run_uid, "b")
        assert np.asarray(page.data["p"]) == [5.0]
        assert store.header(run.run_uid).streams["primary"].events == 2
        assert identical(list(store.documents(run.run_uid)), run.documents)
        [problem] = [one for one in store.problems() if one.uid == run.run_uid]
        assert problem.message.startswith("passed over: ")
    store.close()


@pytest.mark.parametrize("put_there", [True, False])
def test_file_that_is_taken_away_or_replaced_is_not_written_any_more(put_there: bool, tmp_path: Path) -> None:
    store, reader = SQLStore(tmp_path / "runs.db"), SQLStore(tmp_path / "runs.db")
    put(store, count())
    insert = store.insert(scan()[0][1])
    assert len(list(reader.find())) == 2
    (tmp_path / "runs.db").rename(tmp_path / "old.db")
    for beside in tmp_path.glob("runs.db-*"):
        beside.unlink()
    if put_there:
        other = SQLStore(tmp_path / "runs.db")
        for run in (composed("first").documents, composed("second").documents):
            put(other, run)
        other.close()
    with pytest.raises(RunNotFound, match="was removed"):
        insert.write(*scan()[1])
    insert.close()
    put(store, count())
    assert identical(list(reader.documents(count()[0][1]["uid"])), count())
    assert reader.count() == 1 + 2 * put_there
    for one in (store, reader):
        one.close()


def test_connection_in_use_when_its_store_is_closed_is_closed_when_it_is_given_back(tmp_path: Path) -> None:
    store = SQLStore(tmp_path / "runs.db")
    store.create()

    def close_meanwhile(connection: Connection) -> Any:
        store.close()
        assert connection.exec_driver_sql("SELECT 1").scalar_one() == 1
        return connection.connection.driver_connection

    used = store.database.read(close_meanwhile)
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        used.execute("SELECT 1")


def test_any_damage_of_a_file_is_an_error_of_this_package(tmp_path: Path) -> None:
    path, rng = tmp_path / "runs.db", random.Random(3)
    store = SQLStore(path)
    run = composed("damaged")
    put(store, run.documents)
    store.close()
    whole, refused = path.read_bytes(), 0
    # The beginning holds the tables' SQL: quoting what is wrong with it, Python fails to decode.
    places = [whole.index(b"CREATE TABLE"), *(rng.randrange(len(whole)) for _ in range(60))]
    for place in places:
        damaged = bytearray(whole)
        damaged[place : place + 8] = b"\xb3" * len(damaged[place : place + 8])
        path.write_bytes(damaged)
        store = SQLStore(path)
        try:
            list(store.find())
            list(store.documents(run.run_uid))
            list(store.event_pages(run.run_uid, "primary"))
        except IntakeBlueskyError:
            refused += 1
        finally:
            store.close()
    assert 0 < refused < len(places)


def test_database_of_another_encoding_is_refused(postgres: Postgres) -> None:
    with postgres.connect("postgres") as db:
        for name, encoding in (("latin", "LATIN1"), ("ascii", "SQL_ASCII")):
            db.execute(f"CREATE DATABASE {name} ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0")
            store = SQLStore(f"postgresql://postgres@/{name}?host={postgres.socket}")
            with pytest.raises(StoreUnavailable, match=f"holds texts as {encoding}"):
                store.create()
            with pytest.raises(StoreUnavailable, match="holds no catalog"):
                store.count()
            store.close()


def test_missing_right_is_said(postgres: Postgres) -> None:
    uri = postgres.uri()
    SQLStore(uri).create()
    store = SQLStore(uri.replace("postgres@", "reader@"))
    with pytest.raises(StoreUnavailable, match=r"permission denied .* ask the database's owner"):
        store.count()
    store.close()
