"""Whole runs into SQL databases, some hundreds in a transaction: killed, at once, refused, and as if one by one."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from intake_bluesky.documents.model import Document, identical
from intake_bluesky.errors import DuplicateRun, IntakeBlueskyError, StoreUnavailable, UnsupportedOperation
from intake_bluesky.testing.examples import Run
from intake_bluesky.testing.plain_runs import count, scan
from intake_bluesky.testing.runs import EXAMPLES
from intake_bluesky_sql import SQLStore, document_rows, run_writer
from tests.drivers import sql_processes
from tests.drivers.sql_processes import BATCH, PROCESSES, WHOLE, composed, together
from tests.servers.postgres import Postgres

Uris = Callable[[], str]
TABLES = ("runs", "documents", "blocks", "block_columns", "keys", "statistics")


@pytest.fixture(params=["sqlite", "postgresql"])
def uris(request: pytest.FixtureRequest, tmp_path: Path) -> Uris:
    if request.param == "sqlite":
        names = iter(range(9))
        return lambda: f"sqlite:///{tmp_path}/runs{next(names)}.db"
    server: Postgres = request.getfixturevalue("postgres")
    return server.uri


@pytest.fixture
def store(uris: Uris) -> Iterator[SQLStore]:
    store = SQLStore(uris())
    yield store
    store.close()


def one_by_one(store: SQLStore, *runs: Run) -> None:
    for run in runs:
        with store.insert(run[0][1]) as insert:
            for pair in run[1:]:
                insert.write(*pair)


def names(outcomes: list[IntakeBlueskyError | None]) -> list[str | None]:
    return [None if error is None else type(error).__name__ for error in outcomes]


def rows(store: SQLStore) -> dict[str, int]:
    words = ("texts",) if store.database.is_sqlite else ()
    return {table: int(store.database.ask(f"SELECT count(*) FROM {table}")[0][0]) for table in TABLES + words}


def check_sound(store: SQLStore) -> None:
    if store.database.is_sqlite:
        assert store.database.ask("PRAGMA integrity_check") == [("ok",)]
        assert store.database.ask("PRAGMA foreign_key_check") == []


def content(store: SQLStore) -> dict[str, set[tuple[Any, ...]]]:
    """What the tables have, without the numbers of runs and keys, and who wrote them."""
    found = store.database.read(lambda db: list(db.exec_driver_sql("SELECT * FROM runs LIMIT 1").keys()))
    columns = ", ".join(f"CAST({name} AS text)" for name in found if name not in ("id", "writer"))
    asked = {
        "runs": f"SELECT {columns} FROM runs",
        "documents": "SELECT r.uid, place, name, owner, body FROM documents JOIN runs AS r ON r.id = run",
        "blocks": "SELECT r.uid, place, last, name, owner, layout FROM blocks JOIN runs AS r ON r.id = run",
        "block_columns": "SELECT r.uid, place, part, key, form, body FROM block_columns JOIN runs AS r ON r.id = run",
        "statistics": "SELECT r.uid, k.stream, k.key, k.reading, s.count, s.nan_count, s.min, s.max, s.sum, s.first, "
        "s.last, s.gap, s.exact FROM statistics AS s JOIN runs AS r ON r.id = s.file JOIN keys AS k ON k.id = s.what",
    }
    return {table: set(map(tuple, store.database.ask(statement))) for table, statement in asked.items()}


@pytest.mark.parametrize("blocks", [False, True])
def test_tables_hold_what_writing_one_by_one_gives(
    uris: Uris, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, blocks: bool
) -> None:
    if blocks:
        monkeypatch.setattr(document_rows, "SMALL", 0)
        monkeypatch.setattr(document_rows, "TAIL", 2000)
    runs = [make(tmp_path / name) for name, make in EXAMPLES.items()]
    single, whole = SQLStore(uris(), flush_seconds=60), SQLStore(uris())
    one_by_one(single, *runs)
    assert list(whole.insert_runs(runs)) == [None] * len(runs)
    expected, observed = content(single), content(whole)
    assert all(expected.values()) is blocks, "every table is compared"
    for table, found in expected.items():
        assert observed[table] == found, table
    for store in (single, whole):
        store.close()


def test_many_runs_are_one_transaction(store: SQLStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.create()
    monkeypatch.setattr(run_writer, "SOON", 3600.0)
    writing, transactions = store.database._writing, []

    def counted(work: Any) -> Any:
        transactions.append(work)
        return writing(work)

    monkeypatch.setattr(store.database, "_writing", counted)
    runs = [composed(label, 5).documents for label in WHOLE]
    assert list(store.insert_runs(runs)) == [None] * len(runs)
    assert len(transactions) == 1


def test_killed_writer_leaves_whole_runs(store: SQLStore) -> None:
    store.create()
    rng = random.Random(7)
    expected = {run.run_uid: run.documents for run in (composed(label, 5) for label in WHOLE)}
    uids = dict(zip(WHOLE, expected, strict=True))
    before = 0
    for statement in rng.sample(range(1, 14), 5):
        told: Any = PROCESSES.SimpleQueue()
        worker = PROCESSES.Process(
            target=sql_processes.insert_until_killed, args=(store.database.address.text, statement, told)
        )
        worker.start()
        worker.join(60)
        assert worker.exitcode == -9, "it was killed before the last"
        there = {run.uid for run in store.find()}
        while not told.empty():
            assert uids[told.get()] in there, "what was told is there"
        assert len(there) % BATCH == 0
        assert len(there) >= before
        before = len(there)
        check_sound(store)
        for uid in there:
            assert identical(list(store.documents(uid)), expected[uid])
    outcomes = names(list(store.insert_runs(expected.values())))
    assert outcomes == ["DuplicateRun"] * before + [None] * (len(WHOLE) - before)
    assert rows(store) | {"texts": 0} == {
        "runs": 40, "documents": 40 * 8, "blocks": 0, "block_columns": 0, "keys": 1, "statistics": 40, "texts": 0
    }  # fmt: skip
    check_sound(store)


def test_processes_with_the_same_runs_write_each_once(store: SQLStore) -> None:
    store.create()
    outcomes = [found for _, found in together(store.database.address.text, *[sql_processes.insert_whole] * 2)]
    for ours, other in zip(outcomes[0][::-1], outcomes[1], strict=True):
        assert {ours, other} == {None, "DuplicateRun"}
    for label in WHOLE:
        run = composed(label, 5)
        assert identical(list(store.documents(run.run_uid)), run.documents)
    assert rows(store)["statistics"] == len(WHOLE)
    check_sound(store)


def test_while_a_run_is_written_one_by_one(store: SQLStore) -> None:
    insert = store.insert(scan()[0][1])
    assert names(list(store.insert_runs([scan(), count()]))) == ["DuplicateRun", None]
    for pair in scan()[1:]:
        insert.write(*pair)
    for run in (scan(), count()):
        assert identical(list(store.documents(run[0][1]["uid"])), run)


def test_run_that_the_database_refuses_costs_itself(store: SQLStore) -> None:
    store.create()
    if store.database.is_sqlite:
        refusing = (
            "CREATE TRIGGER refusing BEFORE INSERT ON documents WHEN instr(NEW.body, 'poison') "
            "BEGIN SELECT RAISE(ABORT, 'poisoned'); END"
        )
    else:
        refusing = "ALTER TABLE documents ADD CONSTRAINT poisoned CHECK (position(CAST('poison' AS bytea) IN body) = 0)"
    store.database.write(lambda connection: connection.exec_driver_sql(refusing))
    runs = [composed(label, 5).documents for label in ("a", "b", "c", "d")]
    runs[1][3][1]["uid"] = "poison"
    found = list(store.insert_runs(runs))
    assert names(found) == [None, "UnsupportedOperation", None, None]
    assert runs[1][0][1]["uid"] in str(found[1])
    assert "poisoned" in str(found[1])
    assert {run.uid for run in store.find()} == {run[0][1]["uid"] for run in runs if run is not runs[1]}
    assert rows(store)["documents"] == 3 * 8


def test_large_run_is_written_in_parts_and_leaves_nothing_if_refused(
    store: SQLStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_writer, "LARGE", 4000)
    good, bad = composed("good", 200).documents, composed("bad", 200).documents
    bad[150][1]["data"]["x"] = object()
    seen: list[int] = []

    def read(run: Run) -> Iterator[tuple[str, Document]]:
        for pair in run:
            seen.append(store.count())
            yield pair

    store.create()
    runs = [count(), read(good), read(bad), good, bad[:100], scan()]
    outcomes = names(list(store.insert_runs(runs)))
    assert outcomes == [None, None, "UnsupportedOperation", "DuplicateRun", None, None]
    assert sorted(set(seen)) == [0, 2, 3], "what it follows is there before it, and so is its beginning"
    for run in (count(), good, bad[:100], scan()):
        assert identical(list(store.documents(run[0][1]["uid"])), run)
    assert store.count() == 4
    check_sound(store)


def test_error_of_the_caller_ends_it_and_leaves_nothing_in_part(
    store: SQLStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped() -> Iterator[tuple[str, Document]]:
        yield from composed("stopped", 200).documents[:100]
        raise KeyboardInterrupt

    store.create()
    for large in (4000, 1 << 24):
        monkeypatch.setattr(run_writer, "LARGE", large)
        with pytest.raises(KeyboardInterrupt):
            list(store.insert_runs([stopped()]))
        assert store.count() == 0
    monkeypatch.setattr(run_writer, "MANY", BATCH)
    monkeypatch.setattr(run_writer, "SOON", 3600.0)
    told = store.insert_runs(composed(label, 5).documents for label in WHOLE)
    assert next(told) is None
    told.close()  # type: ignore[attr-defined]
    assert store.count() == BATCH


def test_commit_that_was_not_heard_of_is_not_repeated(store: SQLStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.create()
    writing = store.database._writing
    monkeypatch.setattr(store.database, "_writing", lambda work: [writing(work), writing(work)][1])
    assert list(store.insert_runs([count(), scan()])) == [None, None]
    for run in (count(), scan()):
        assert identical(list(store.documents(run[0][1]["uid"])), run)
    check_sound(store)


def test_server_that_goes_away(postgres: Postgres) -> None:
    store = SQLStore(postgres.uri(), patience=0.2)
    store.create()
    runs = {label: composed(label, 5) for label in WHOLE[:6]}

    def read(label: str, at: str, work: Callable[[], None]) -> Iterator[tuple[str, Document]]:
        yield from runs[label].documents
        if label == at:
            work()

    def restart() -> None:
        postgres.stop()
        postgres.start()

    try:
        assert list(store.insert_runs(read(label, WHOLE[1], restart) for label in WHOLE[:3])) == [None] * 3
        with pytest.raises(StoreUnavailable, match="See that the server runs"):
            list(store.insert_runs(read(label, WHOLE[4], postgres.stop) for label in WHOLE[:6]))
    finally:
        postgres.start_again()
    assert store.count() == 3
    assert names(list(store.insert_runs(run.documents for run in runs.values()))) == ["DuplicateRun"] * 3 + [None] * 3
    for run in runs.values():
        assert identical(list(store.documents(run.run_uid)), run.documents)
    store.close()


def test_refusals_hold_no_documents(tmp_path: Path) -> None:
    store, run = SQLStore(tmp_path / "runs.db"), composed("bad", 5).documents
    run[4][1]["data"]["x"] = object()
    [error] = store.insert_runs([run])
    assert isinstance(error, UnsupportedOperation)
    assert not isinstance(error, DuplicateRun)
    assert error.__traceback__ is None
    store.close()
