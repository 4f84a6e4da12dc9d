"""What the tests of both schemas share: a database a test and one for the examples, and a count of what is read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.database import Database

from intake_bluesky.storage.contract import RunStore
from intake_bluesky_mongo import Buffering
from intake_bluesky_mongo.connections import Connection
from intake_bluesky_mongo.events import Wanted
from tests.servers.mongo import new_database, uri_of

__all__ = ["EAGER", "MongoTests"]

EAGER = Buffering(flush_seconds=60.0, patience=5.0)


class _Reads:
    """Counts what was asked of events beyond their seq_nums and times."""

    count = 0


def _count_reads(patch: pytest.MonkeyPatch) -> None:
    project = Wanted.projection

    def counting(self: Wanted, *also: str) -> dict[str, int]:
        fields = project(self, *also)
        _Reads.count += any(field.startswith(("data", "timestamps")) for field in fields)
        return fields

    patch.setattr(Wanted, "projection", counting)


class MongoTests:
    uri: str
    database: Database[dict[str, Any]]

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def database_of_examples(cls, mongodb: str, mongo_client: MongoClient[dict[str, Any]]) -> Iterator[None]:
        with new_database(mongo_client) as cls.database, pytest.MonkeyPatch.context() as patch:
            cls.uri = uri_of(mongodb, cls.database.name)
            _count_reads(patch)
            connection = Connection(
                cls.uri, "a test"
            )  # stores come and go, and share the client of those that are open
            assert connection.database.name == cls.database.name
            yield
            connection.close()

    @pytest.fixture(autouse=True)
    def take_database(self, database: Database[dict[str, Any]], database_uri: str) -> None:
        self.uri, self.database = database_uri, database

    def data_reads(self, store: RunStore) -> int:
        return _Reads.count
