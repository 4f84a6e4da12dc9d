"""The indexes that make each question one look-up: proposed, and made only where that is asked for."""

from __future__ import annotations

from collections.abc import Iterable

from pymongo.database import Database

from intake_bluesky_mongo.connections import Stored


class MongoIndex:
    """An index of a collection by some paths, rising."""

    def __init__(self, collection: str, *paths: str) -> None:
        self.collection, self.paths = collection, paths

    def __str__(self) -> str:
        return f"{self.collection} ({', '.join(self.paths)})"

    def serves(self, other: MongoIndex) -> bool:
        """Whether another index does the same: one that begins with the same paths, in whichever direction."""
        return other.collection == self.collection and other.paths[: len(self.paths)] == self.paths

    def make(self, database: Database[Stored]) -> None:
        """Make it, without standing in the way of others."""
        database[self.collection].create_index([(path, 1) for path in self.paths])


def missing_indexes(database: Database[Stored], wanted: Iterable[MongoIndex]) -> list[MongoIndex]:
    """Those of some indexes that nothing in the database serves, of collections that are there."""
    wanted = list(wanted)
    there = set(database.list_collection_names())
    known = [
        MongoIndex(name, *found["key"])
        for name in {index.collection for index in wanted} & there
        for found in database[name].list_indexes()
    ]
    return [index for index in wanted if index.collection in there and not any(map(index.serves, known))]
