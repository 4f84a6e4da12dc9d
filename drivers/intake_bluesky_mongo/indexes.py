"""The indexes that make each question one look-up: proposed, and made only where that is asked for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pymongo.database import Database

from intake_bluesky_mongo.connections import Stored

__all__ = ["MongoIndex", "missing_indexes"]


@dataclass(frozen=True, slots=True)
class MongoIndex:
    """An index of a collection.

    Attributes
    ----------
    collection : str
    keys : tuple of (str, int)
        Paths, rising (1) or falling (-1).
    """

    collection: str
    keys: tuple[tuple[str, int], ...]

    @classmethod
    def of(cls, collection: str, *paths: str) -> MongoIndex:
        """An index of rising paths."""
        return cls(collection, tuple((path, 1) for path in paths))

    def __str__(self) -> str:
        return f"{self.collection} ({', '.join(path for path, _ in self.keys)})"

    def serves(self, other: MongoIndex) -> bool:
        """Whether another index does the same: one that begins with the same paths, in whichever direction."""
        own = [path for path, _ in self.keys]
        return other.collection == self.collection and [path for path, _ in other.keys][: len(own)] == own

    def make(self, database: Database[Stored]) -> None:
        """Make it, without standing in the way of others."""
        database[self.collection].create_index(list(self.keys))


def missing_indexes(database: Database[Stored], wanted: Iterable[MongoIndex]) -> list[MongoIndex]:
    """Those of some indexes that nothing in the database serves, of collections that are there."""
    wanted = list(wanted)
    there = set(database.list_collection_names())
    known = [
        MongoIndex(name, tuple((str(path), -1 if direction == -1 else 1) for path, direction in found["key"].items()))
        for name in {index.collection for index in wanted} & there
        for found in database[name].list_indexes()
    ]
    return [index for index in wanted if index.collection in there and not any(map(index.serves, known))]
