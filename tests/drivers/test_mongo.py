"""The MongoDB driver's normalized schema against the conformance suite, on a server."""

from __future__ import annotations

from pathlib import Path

import pytest

from intake_bluesky.testing.examples import Run
from intake_bluesky.testing.stores import StoreTests, StoreWritingTests
from intake_bluesky_mongo import NormalizedStore
from tests.drivers.mongo_by_hand import put_normalized
from tests.drivers.mongo_stores import EAGER, MongoTests


@pytest.mark.slow
class TestNormalizedStore(MongoTests, StoreTests[NormalizedStore]):
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
class TestNormalizedStoreOfPages(MongoTests, StoreWritingTests[NormalizedStore]):
    """Runs that this driver writes in pages."""

    def make_store(self, folder: Path) -> NormalizedStore:
        return NormalizedStore(self.uri, writable=True, event_pages=True, buffering=EAGER)

    def insert(self, store: NormalizedStore, documents: Run) -> None:
        put_normalized(self.database, documents)
