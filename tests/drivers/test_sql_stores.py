"""The SQL driver against the conformance suite, on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

import pytest

from intake_bluesky.documents.model import EventPage
from intake_bluesky.storage.contract import RunInsert
from intake_bluesky.testing.compose import RunComposer
from intake_bluesky.testing.examples import Run
from intake_bluesky.testing.stores import StoreHooks, StoreLifeCycleTests, StoreTests, StoreValueTests
from intake_bluesky_sql import SQLStore, document_rows, run_writer
from tests.drivers.sql_rows import Rows
from tests.servers.postgres import Postgres


class CountingStore(SQLStore):
    reads: ClassVar[int] = 0

    def event_pages(self, *args: Any, **kwargs: Any) -> Iterator[EventPage]:
        for page in super().event_pages(*args, **kwargs):
            CountingStore.reads += bool(page.data or page.timestamps)
            yield page


@cache
def empty_database() -> bytes:
    """A file with all tables, which takes longer to make than most tests."""
    with TemporaryDirectory() as folder:
        store = SQLStore(Path(folder, "runs.db"))
        store.create()
        store.close()
        return Path(folder, "runs.db").read_bytes()


class Singly(StoreHooks[CountingStore]):
    """Documents put in by the database's own driver, a row each."""

    def make_store(self, folder: Path) -> CountingStore:
        (folder / "runs.db").write_bytes(empty_database())
        return CountingStore(f"sqlite:///{folder}/runs.db")

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


class InBlocks(Singly):
    """Documents put in by the writer of another store object, as blocks however few they are."""

    open: ClassVar[dict[tuple[str, str], RunInsert]] = {}

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def small_blocks(cls) -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(document_rows, "SMALL", 0)
            patch.setattr(document_rows, "TAIL", 2000)
            yield
        for insert in cls.open.values():
            insert.close()
        cls.open.clear()

    def insert(self, store: CountingStore, documents: Run) -> None:
        uid = documents[0][1]["uid"]
        insert = self.reopen(store).insert(documents[0][1])
        self.open[store.database.address.text, uid] = insert
        self.append(store, uid, documents[1:])
        if documents[-1][0] == "stop":
            del self.open[store.database.address.text, uid]

    def append(self, store: CountingStore, uid: str, documents: Run) -> None:
        insert = self.open[store.database.address.text, uid]
        assert isinstance(insert, run_writer.SQLInsert)
        for name, doc in documents:
            insert.write(name, doc)
        with insert._lock:
            insert._rows.compact()
            insert._flush()


class OnServer(Singly):
    """Databases of PostgreSQL instead of files: one for the examples, one that is emptied for each test."""

    uri: str

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def database_of_examples(cls, postgres: Postgres) -> None:
        cls.uri = postgres.uri()

    @pytest.fixture(autouse=True)
    def emptied_database(self, postgres: Postgres) -> None:
        self.uri = postgres.emptied()

    def make_store(self, folder: Path) -> CountingStore:
        return CountingStore(self.uri)


class TestSQLite(Singly, StoreTests[CountingStore]):
    """The whole suite, documents put in by Python's sqlite3."""


@pytest.mark.slow
class TestSQLiteBlocks(InBlocks, StoreTests[CountingStore]):
    """The whole suite, of blocks."""


@pytest.mark.slow
class TestPostgreSQL(OnServer, StoreTests[CountingStore]):
    """The whole suite, documents put in by psycopg."""


@pytest.mark.slow
class TestPostgreSQLBlocks(OnServer, InBlocks, StoreValueTests[CountingStore], StoreLifeCycleTests[CountingStore]):
    """Blocks that a server has, whose columns are fetched in another way; the rest of them is the same code."""
