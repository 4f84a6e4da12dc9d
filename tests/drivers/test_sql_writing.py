"""Single documents into SQL databases: each in a transaction of its own, in SQLite past SQLAlchemy."""

from __future__ import annotations

import multiprocessing
import sqlite3
import threading
import warnings
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from intake_bluesky.documents.model import identical
from intake_bluesky.errors import StoreUnavailable
from intake_bluesky.testing.compose import RunComposer, data_key
from intake_bluesky_sql import SQLStore, database


def composed(label: str, events: int = 50) -> RunComposer:
    run = RunComposer(label)
    primary = run.descriptor({"x": data_key("number"), "n": data_key("integer")})
    for number in range(events):
        run.event(primary, {"x": number / 7, "n": number})
    run.stop()
    return run


def put(store: SQLStore, run: RunComposer) -> None:
    with store.insert(run.documents[0][1]) as insert:
        for pair in run.documents[1:]:
            insert.write(*pair)


def test_each_document_is_there_for_others_at_once(tmp_path: Path) -> None:
    store, run = SQLStore(tmp_path / "runs.db"), composed("at once", 5)
    with closing(sqlite3.connect(tmp_path / "runs.db")) as other:
        insert = store.insert(run.documents[0][1])
        for written, pair in enumerate(run.documents[1:-1], 2):
            insert.write(*pair)
            assert other.execute("SELECT count(*) FROM documents").fetchone() == (written,)
        insert.write(*run.documents[-1])
    store.close()


def test_single_documents_take_one_statement(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, run = SQLStore(tmp_path / "runs.db"), composed("one statement")
    insert = store.insert(run.documents[0][1])
    transactions: list[Any] = []
    monkeypatch.setattr(store.database, "_writing", transactions.append)
    for pair in run.documents[1:-1]:
        insert.write(*pair)
    assert not transactions
    monkeypatch.undo()
    insert.write(*run.documents[-1])
    assert identical(list(store.documents(run.run_uid)), run.documents)
    store.close()


def test_threads_write_runs_of_their_own(tmp_path: Path) -> None:
    store = SQLStore(tmp_path / "runs.db")
    runs = [composed(f"thread {number}") for number in range(4)]
    threads = [threading.Thread(target=put, args=(store, run)) for run in runs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for run in runs:
        assert identical(list(store.documents(run.run_uid)), run.documents)
    store.close()


def test_forked_process_and_its_parent_write(tmp_path: Path) -> None:
    store = SQLStore(tmp_path / "runs.db")
    mine, other = composed("of the parent"), composed("of the child")
    insert = store.insert(mine.documents[0][1])
    for pair in mine.documents[1:20]:
        insert.write(*pair)

    def write() -> None:
        put(store, other)
        store.close()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking with threads, which users do all the same
        worker = multiprocessing.get_context("fork").Process(target=write)
        worker.start()
    for pair in mine.documents[20:]:
        insert.write(*pair)
    worker.join(60)
    assert worker.exitcode == 0
    for run in (mine, other):
        assert identical(list(store.documents(run.run_uid)), run.documents)
    store.close()


def test_closed_store_opens_again(tmp_path: Path) -> None:
    store, run = SQLStore(tmp_path / "runs.db"), composed("closed in between")
    insert = store.insert(run.documents[0][1])
    for place, pair in enumerate(run.documents[1:]):
        insert.write(*pair)
        if place % 10 == 0:
            store.close()
    assert identical(list(store.documents(run.run_uid)), run.documents)
    store.close()


def test_what_fails_is_done_in_the_usual_way(tmp_path: Path) -> None:
    store, run = SQLStore(tmp_path / "runs.db"), composed("usual")
    insert = store.insert(run.documents[0][1])
    for place, pair in enumerate(run.documents[1:]):
        insert.write(*pair)
        if place == 10:
            store.database._directly().connection.close()  # as another thread may have done
    assert identical(list(store.documents(run.run_uid)), run.documents)
    store.close()


def test_document_that_another_program_kept_out_is_said_and_written_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "BUSY", 0.2)
    store, run = SQLStore(tmp_path / "runs.db"), composed("kept out")
    insert = store.insert(run.documents[0][1])
    insert.write(*run.documents[1])
    with closing(sqlite3.connect(tmp_path / "runs.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        monkeypatch.setattr(store.database, "_writing", None)  # it would wait as long once more
        with pytest.raises(StoreUnavailable, match=r"database is locked.*last documents of run .* are in memory"):
            insert.write(*run.documents[2])
        monkeypatch.undo()
        other.execute("ROLLBACK")
    for pair in run.documents[3:]:
        insert.write(*pair)
    assert identical(list(store.documents(run.run_uid)), run.documents)
    store.close()


@pytest.mark.parametrize("reason", ["fine", None])
def test_stop_changes_only_what_it_adds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reason: str | None) -> None:
    store, run = SQLStore(tmp_path / "runs.db"), composed("what it adds")
    run.documents[-1][1].update({"reason": reason} if reason else {"exit_status": None})
    insert = store.insert(run.documents[0][1])
    asked: list[str] = []
    execute = store.database.execute

    def told(connection: Any, statement: str, values: Any) -> Any:
        asked.append(statement)
        return execute(connection, statement, values)

    monkeypatch.setattr(store.database, "execute", told)
    for pair in run.documents[1:]:
        insert.write(*pair)
    changed = "stop_place = ?, form_stop = ?" + (", exit_status = ?" if reason else "")
    assert [text for text in asked if text.startswith("UPDATE runs SET stop")] == [
        f"UPDATE runs SET {changed} WHERE id = ?"
    ]
    [found] = store.find()
    assert found.stop == run.documents[-1][1]
    store.close()
