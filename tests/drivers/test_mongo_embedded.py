"""The MongoDB driver's embedded schema against the conformance suite, on a server."""

from __future__ import annotations

from pathlib import Path

import pytest

from intake_bluesky.testing.examples import Run
from intake_bluesky.testing.stores import StoreTests
from intake_bluesky_mongo import EmbeddedStore
from tests.drivers.mongo_by_hand import put_embedded
from tests.drivers.mongo_stores import EAGER, MongoTests


@pytest.mark.slow
class TestEmbeddedStore(MongoTests, StoreTests[EmbeddedStore]):
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
