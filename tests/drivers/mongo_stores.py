"""What the tests of both schemas share: a database a test, a client a module, and a count of what is read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pymongo.database import Database

from intake_bluesky.storage.contract import RunStore
from intake_bluesky_mongo import Buffering
from intake_bluesky_mongo.connections import Connection
from intake_bluesky_mongo.events import Wanted
from tests.servers.mongo import uri_of

__all__ = ["EAGER", "MongoTests"]

EAGER = Buffering(flush_seconds=60.0, patience=5.0)


class _Reads:
    """Counts what was asked of events beyond their seq_nums and times."""

    count = 0


def _count_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    project = Wanted.projection

    def counting(self: Wanted, *also: str) -> dict[str, int]:
        fields = project(self, *also)
        _Reads.count += any(field.startswith(("data", "timestamps")) for field in fields)
        return fields

    monkeypatch.setattr(Wanted, "projection", counting)


class MongoTests:
    uri: str
    database: Database[dict[str, Any]]

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def connected(cls, mongodb: str) -> Iterator[None]:
        """Stores come and go with each test, and share the client of this process as long as one is open."""
        connection = Connection(uri_of(mongodb, "unused"), "a test")
        assert connection.database.name == "unused"
        yield
        connection.close()

    @pytest.fixture(autouse=True)
    def take_database(
        self, database: Database[dict[str, Any]], database_uri: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setenv("INTAKE_BLUESKY_CACHE", str(tmp_path / "cache"))
        self.uri, self.database = database_uri, database
        _count_reads(monkeypatch)

    def data_reads(self, store: RunStore) -> int:
        return _Reads.count
