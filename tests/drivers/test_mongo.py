"""The MongoDB driver against the conformance suite, on a server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pymongo.database import Database

from intake_bluesky.storage import RunStore
from intake_bluesky.testing.examples import Run
from intake_bluesky.testing.stores import StoreTests, StoreWritingTests
from intake_bluesky_mongo import Buffering, EmbeddedStore, NormalizedStore
from intake_bluesky_mongo.connections import Connection
from intake_bluesky_mongo.events import Wanted
from tests.drivers.mongo_by_hand import put_embedded, put_normalized
from tests.servers.mongo import uri_of

EAGER = Buffering(seconds=60.0, patience=5.0)


class _Reads:
    """Counts what was asked of events beyond their seq_nums and times."""

    count = 0


@pytest.fixture(autouse=True)
def counted(monkeypatch: pytest.MonkeyPatch) -> None:
    project = Wanted.projection

    def counting(self: Wanted, *also: str) -> dict[str, int]:
        fields = project(self, *also)
        _Reads.count += any(field.startswith(("data", "timestamps")) for field in fields)
        return fields

    monkeypatch.setattr(Wanted, "projection", counting)


@pytest.fixture(scope="module", autouse=True)
def connected(mongodb: str) -> Iterator[None]:
    """Stores come and go with each test, and share the client of this process as long as one is open."""
    connection = Connection(uri_of(mongodb, "unused"), "a test")
    assert connection.database.name == "unused"
    yield
    connection.close()


class _MongoTests:
    uri: str
    database: Database[dict[str, Any]]

    @pytest.fixture(autouse=True)
    def take_database(self, database: Database[dict[str, Any]], database_uri: str) -> None:
        self.uri, self.database = database_uri, database

    def data_reads(self, store: RunStore) -> int:
        return _Reads.count


@pytest.mark.slow
class TestNormalizedStore(_MongoTests, StoreTests[NormalizedStore]):
    """Runs put in as suitcase-mongo's normalized serializer does, by plain pymongo."""

    def make_store(self, folder: Path) -> NormalizedStore:
        return NormalizedStore(self.uri, writable=True, buffering=EAGER)

    def insert(self, store: NormalizedStore, documents: Run) -> None:
        put_normalized(self.database, documents)

    def append(self, store: NormalizedStore, uid: str, documents: Run) -> None:
        put_normalized(self.database, documents)

    def remove(self, store: NormalizedStore, uid: str) -> None:
        self.database.run_start.delete_one({"uid": uid})

    def damage(self, store: NormalizedStore) -> None:
        self.database.run_start.insert_one({"uid": None, "time": "yesterday"})


@pytest.mark.slow
class TestNormalizedStoreOfPages(_MongoTests, StoreWritingTests[NormalizedStore]):
    """Runs that this driver writes in pages."""

    def make_store(self, folder: Path) -> NormalizedStore:
        return NormalizedStore(self.uri, writable=True, event_pages=True, buffering=EAGER)

    def insert(self, store: NormalizedStore, documents: Run) -> None:
        put_normalized(self.database, documents)


@pytest.mark.slow
class TestEmbeddedStore(_MongoTests, StoreTests[EmbeddedStore]):
    """Runs put in as suitcase-mongo's embedded serializer does, by plain pymongo."""

    def make_store(self, folder: Path) -> EmbeddedStore:
        return EmbeddedStore(self.uri, writable=True, buffering=EAGER)

    def insert(self, store: EmbeddedStore, documents: Run) -> None:
        put_embedded(self.database, documents[0][1]["uid"], documents)

    def append(self, store: EmbeddedStore, uid: str, documents: Run) -> None:
        put_embedded(self.database, uid, documents)

    def remove(self, store: EmbeddedStore, uid: str) -> None:
        self.database.header.delete_one({"run_id": uid})

    def damage(self, store: EmbeddedStore) -> None:
        self.database.header.insert_one({"run_id": "damaged", "start": [{"time": "yesterday"}]})
