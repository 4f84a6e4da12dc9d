"""The MongoDB driver against the conformance suite, on a server."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import pytest
from pymongo import MongoClient

from intake_bluesky.storage import RunStore
from intake_bluesky.testing.examples import Run
from intake_bluesky.testing.stores import StoreTests
from intake_bluesky_mongo import Buffering, EmbeddedStore, NormalizedStore
from intake_bluesky_mongo.events import Wanted
from tests.drivers.mongo_by_hand import database_of, put_embedded, put_normalized

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


class _MongoTests:
    uri: str
    client: MongoClient[dict[str, Any]]

    @pytest.fixture(autouse=True)
    def database(self, database_uri: str) -> Any:
        self.uri = database_uri
        with MongoClient[dict[str, Any]](database_uri) as client:
            self.client = client
            yield database_of(database_uri, client)

    def data_reads(self, store: RunStore) -> int:
        return _Reads.count


class TestNormalizedStore(_MongoTests, StoreTests[NormalizedStore]):
    """Runs put in as suitcase-mongo's normalized serializer does, by plain pymongo."""

    event_pages: ClassVar[bool] = False

    def make_store(self, folder: Path) -> NormalizedStore:
        return NormalizedStore(self.uri, writable=True, event_pages=self.event_pages, buffering=EAGER)

    def insert(self, store: NormalizedStore, documents: Run) -> None:
        put_normalized(database_of(self.uri, self.client), documents)

    def append(self, store: NormalizedStore, uid: str, documents: Run) -> None:
        put_normalized(database_of(self.uri, self.client), documents)

    def remove(self, store: NormalizedStore, uid: str) -> None:
        database_of(self.uri, self.client).run_start.delete_one({"uid": uid})

    def damage(self, store: NormalizedStore) -> None:
        database_of(self.uri, self.client).run_start.insert_one({"uid": None, "time": "yesterday"})


@pytest.mark.slow
class TestNormalizedStoreOfPages(TestNormalizedStore):
    """Runs that this driver wrote in pages."""

    event_pages = True


class TestEmbeddedStore(_MongoTests, StoreTests[EmbeddedStore]):
    """Runs put in as suitcase-mongo's embedded serializer does, by plain pymongo."""

    def make_store(self, folder: Path) -> EmbeddedStore:
        return EmbeddedStore(self.uri, writable=True, buffering=EAGER)

    def insert(self, store: EmbeddedStore, documents: Run) -> None:
        put_embedded(database_of(self.uri, self.client), documents[0][1]["uid"], documents)

    def append(self, store: EmbeddedStore, uid: str, documents: Run) -> None:
        put_embedded(database_of(self.uri, self.client), uid, documents)

    def remove(self, store: EmbeddedStore, uid: str) -> None:
        database_of(self.uri, self.client).header.delete_one({"run_id": uid})

    def damage(self, store: EmbeddedStore) -> None:
        database_of(self.uri, self.client).header.insert_one({"run_id": "damaged", "start": [{"time": "yesterday"}]})
