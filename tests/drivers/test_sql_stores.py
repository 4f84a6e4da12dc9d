"""The SQL driver against the conformance suite, on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from intake_bluesky.documents import EventPage
from intake_bluesky.storage import RunInsert
from intake_bluesky.testing.compose import RunComposer
from intake_bluesky.testing.examples import Run
from intake_bluesky.testing.stores import StoreTests
from intake_bluesky_sql import SQLStore
from intake_bluesky_sql import writing as sql_writing
from tests.drivers.sql_rows import Rows
from tests.servers.postgres import Postgres


class CountingStore(SQLStore):
    reads: ClassVar[int] = 0

    def event_pages(self, *args: Any, **kwargs: Any) -> Iterator[EventPage]:
        for page in super().event_pages(*args, **kwargs):
            CountingStore.reads += bool(page.data or page.timestamps)
            yield page


class TestSQLite(StoreTests[CountingStore]):
    """Documents put in by Python's own sqlite3, a row each."""

    def make_store(self, folder: Path) -> CountingStore:
        store = CountingStore(f"sqlite:///{folder}/runs.db")
        store.create()
        return store

    def insert(self, store: CountingStore, documents: Run) -> None:
        Rows(store).insert(documents)

    def append(self, store: CountingStore, uid: str, documents: Run) -> None:
        Rows(store).append(uid, documents)

    def remove(self, store: CountingStore, uid: str) -> None:
        Rows(store).remove(uid)

    def damage(self, store: CountingStore) -> None:
        run = RunComposer("damaged").documents
        self.insert(store, run)
        Rows(store).damage(run[0][1]["uid"])

    def data_reads(self, store: CountingStore) -> int:
        return CountingStore.reads


@pytest.mark.slow
class TestSQLiteBlocks(TestSQLite):
    """Documents put in by the writer of another store object, as blocks however few they are."""

    @pytest.fixture(autouse=True)
    def small_blocks(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        monkeypatch.setattr(sql_writing, "SMALL", 0)
        monkeypatch.setattr(sql_writing, "TAIL", 2000)
        self.open: dict[str, RunInsert] = {}
        yield
        for insert in self.open.values():
            insert.close()

    def insert(self, store: CountingStore, documents: Run) -> None:
        uid = documents[0][1]["uid"]
        self.open[uid] = self.reopen(store).insert(documents[0][1])
        self.append(store, uid, documents[1:])
        if documents[-1][0] == "stop":
            del self.open[uid]

    def append(self, store: CountingStore, uid: str, documents: Run) -> None:
        insert = self.open[uid]
        assert isinstance(insert, sql_writing.SQLInsert)
        for name, doc in documents:
            insert.write(name, doc)
        with insert._lock:
            for group in list(insert._tails):
                insert._compact(*group)
            insert._flush()


@pytest.mark.slow
class TestPostgreSQL(TestSQLite):
    """Documents put in by psycopg, a row each."""

    @pytest.fixture(autouse=True)
    def server(self, postgres: Postgres) -> None:
        self.uri = postgres.emptied()

    def make_store(self, folder: Path) -> CountingStore:
        return CountingStore(self.uri)


@pytest.mark.slow
class TestPostgreSQLBlocks(TestPostgreSQL, TestSQLiteBlocks):
    """Documents put in by the writer of another store object, as blocks however few they are."""
