"""Runs removed from SQL databases: nothing of them is left, whoever reads or writes them meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from intake_bluesky.documents.model import identical
from intake_bluesky.errors import RunNotFound, StoreUnavailable
from intake_bluesky.query import Data
from intake_bluesky.search.selection import Selection
from intake_bluesky.storage.statistics import Answer, Recorded
from intake_bluesky.testing.compose import RunComposer, data_key
from intake_bluesky.testing.examples import Run
from intake_bluesky.testing.plain_runs import count, interleaved, scan
from intake_bluesky_sql import SQLStore, document_rows, run_reader, search_columns
from tests.drivers.sql_rows import Rows
from tests.servers.postgres import Postgres

TABLES = ("runs", "documents", "blocks", "block_columns", "statistics", "answers")


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SQLStore]:
    uri = f"sqlite:///{tmp_path}/runs.db" if request.param == "sqlite" else _emptied(request)
    store = SQLStore(uri, flush_seconds=0.0)
    yield store
    store.close()


def _emptied(request: pytest.FixtureRequest) -> str:
    server: Postgres = request.getfixturevalue("postgres")
    return server.emptied()


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(document_rows, "SMALL", 0)
    monkeypatch.setattr(document_rows, "TAIL", 2000)
    for name in ("NEAR", "FAR"):
        monkeypatch.setattr(run_reader, name, 1)  # a statement a block


def put(store: SQLStore, *runs: Run) -> None:
    for run in runs:
        with store.insert(run[0][1]) as insert:
            for pair in run[1:]:
                insert.write(*pair)


def long_run() -> RunComposer:
    """A run of several blocks, with datums and an array."""
    run = RunComposer("long", plan_name="scan", sample="a word of its own: wolframite")
    primary = run.descriptor({"x": data_key("number"), "image": data_key("array", [2], external="FILESTORE:")})
    resource = run.resource("ANY", root="/", path="nowhere")
    for number in range(200):
        run.event(primary, {"x": float(number), "image": run.datum(resource, number, frame=number)})
    run.stop()
    return run


def rows(store: SQLStore) -> dict[str, int]:
    words = ("texts", "texts_content") if store.database.is_sqlite else ()
    return {table: int(store.database.ask(f"SELECT count(*) FROM {table}")[0][0]) for table in TABLES + words}


def leave_answers(store: SQLStore, uid: str) -> None:
    version = store.header(uid).version
    store.statistics.measure([uid])
    store.statistics.put([(Recorded(uid, version, "primary", "x"), Answer(1.5, 2.5, found=True))])


def test_no_row_is_left(store: SQLStore) -> None:
    put(store, count(), interleaved())
    before = rows(store)
    run = long_run()
    put(store, run.documents)
    leave_answers(store, run.run_uid)
    during = rows(store)
    assert all(during[table] > before[table] for table in during), f"the run has to be in every table: {during}"
    store.remove(run.run_uid)
    assert rows(store) == before
    assert list(Selection(store).runs(Data("x").max() > 150)) == []


def test_a_foreign_run_goes_whole(store: SQLStore) -> None:
    put(store, count())
    before = rows(store)
    Rows(store).insert(scan())
    store.remove(scan()[0][1]["uid"])
    assert rows(store) == before


def test_a_damaged_run_can_be_removed(store: SQLStore) -> None:
    put(store, count(), scan())
    uid = scan()[0][1]["uid"]
    Rows(store).damage(uid)
    assert [run.uid for run in store.find()] == [count()[0][1]["uid"]]
    assert len(store.problems()) == 1
    store.remove(uid)
    assert (store.problems(), store.count()) == ([], 1)


def test_a_reader_is_told_that_the_run_went(store: SQLStore) -> None:
    run = long_run()
    put(store, run.documents)
    reader = SQLStore(store.database.address.text)
    pages, later = (reader.event_pages(run.run_uid, "primary") for _ in range(2))
    documents = reader.documents(run.run_uid)
    assert len(next(pages)) == len(next(later)) < 200
    assert next(documents)[0] == "start"
    store.remove(run.run_uid)
    for rest in (pages, documents):
        with pytest.raises(RunNotFound, match=r"was removed from .* while it was read"):
            list(rest)
    put(store, run.documents)
    with pytest.raises(RunNotFound):  # nothing comes from the run in its place
        list(later)
    assert identical(list(reader.documents(run.run_uid)), run.documents)
    reader.close()


@pytest.mark.parametrize("place", [1, 50, -1])
def test_a_writer_is_told_that_the_run_went(store: SQLStore, place: int) -> None:
    run = long_run().documents
    store.create()
    before = rows(store)
    insert = store.insert(run[0][1])
    for pair in run[1:place]:
        insert.write(*pair)
    other = SQLStore(store.database.address.text)
    other.remove(run[0][1]["uid"])
    with pytest.raises(RunNotFound, match=r"was removed from .* while it was written"):
        insert.write(*run[place])
    insert.close()
    assert rows(store) == before
    put(store, run)
    assert identical(list(store.documents(run[0][1]["uid"])), run)
    other.close()


def test_nothing_is_deleted_where_the_transaction_fails(store: SQLStore, monkeypatch: pytest.MonkeyPatch) -> None:
    run = long_run()
    put(store, run.documents)
    before = rows(store)
    execute = store.database.execute

    def failing(connection: Any, statement: str, values: Any) -> Any:
        result = execute(connection, statement, values)
        if statement.startswith("DELETE FROM runs"):
            raise StoreUnavailable("the power went")
        return result

    monkeypatch.setattr(store.database, "execute", failing)
    with pytest.raises(StoreUnavailable, match="the power went"):
        store.remove(run.run_uid)
    monkeypatch.undo()
    assert rows(store) == before
    assert identical(list(store.documents(run.run_uid)), run.documents)


def test_who_removes_the_same_run_at_once_agrees(store: SQLStore) -> None:
    run = long_run()
    put(store, run.documents, count())
    outcomes: list[str] = []
    barrier = threading.Barrier(4)

    def remove() -> None:
        barrier.wait()
        try:
            store.remove(run.run_uid)
            outcomes.append("removed")
        except RunNotFound:
            outcomes.append("was gone")

    threads = [threading.Thread(target=remove) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(outcomes) == 4
    assert "removed" in outcomes
    assert store.count() == 1


def test_no_database_is_made_by_removing(tmp_path: Path) -> None:
    store = SQLStore(tmp_path / "none.db")
    with pytest.raises(StoreUnavailable, match="there is no database"):
        store.remove("abc")
    assert list(tmp_path.iterdir()) == []


def test_an_index_of_words_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = SQLStore(tmp_path / "runs.db")
    put(store, count())
    monkeypatch.setattr(search_columns, "HAS_FTS5", False)
    with pytest.raises(StoreUnavailable, match="lacks FTS5"):
        store.remove(count()[0][1]["uid"])
    assert store.count() == 1
    store.close()


@pytest.mark.slow
def test_missing_right_to_delete_is_said(postgres: Postgres) -> None:
    uri = postgres.uri()
    store = SQLStore(uri)
    put(store, count())
    name = uri.partition("?")[0].rpartition("/")[2]
    with postgres.connect(name) as db:
        db.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader")
    reader = SQLStore(uri.replace("postgres@", "reader@"))
    with pytest.raises(StoreUnavailable, match=r"permission denied .* ask the database's owner"):
        reader.remove(count()[0][1]["uid"])
    assert store.count() == 1
    store.close()
    reader.close()
