"""Statistics in a collection of their own beside the runs, for those who have none on their machine yet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from bson import Binary
from pymongo import ReplaceOne
from pymongo.errors import OperationFailure, PyMongoError

from intake_bluesky.index.packed_statistics import rows_of
from intake_bluesky.storage.statistics import SharedStatistics
from intake_bluesky_mongo.connections import Connection

COLLECTION: Final = "intake_bluesky_statistics"
FORM: Final = 1  # of what is packed

Packed = tuple[str, bytes]
"""The version of a run, and its statistics as `intake_bluesky.index.packed_statistics.pack` packs them."""


class SharedCollection(SharedStatistics):
    """The statistics that users of one database leave for each other; `schema` is the collection of the runs."""

    def __init__(self, connection: Connection, schema: str, *, writable: bool) -> None:
        self._connection, self._schema, self._writable = connection, schema, writable

    def load(self, uids: Sequence[str]) -> dict[str, Packed]:
        """What others left of some runs, by uid; nothing where this user may not read it."""
        ids = {f"{self._schema}/{uid}": uid for uid in uids}
        found: dict[str, Packed] = {}
        with suppress(OperationFailure):
            for doc in self._connection.database[COLLECTION].find({"_id": {"$in": list(ids)}, "form": FORM}):
                packed = _checked(doc)
                if packed is not None:
                    found[ids[doc["_id"]]] = packed
        return found

    def save(self, found: Mapping[str, Packed]) -> None:
        """Leave what was found of some runs, if this store may write; it is no harm if the server does not take it."""
        changes: list[Any] = []
        for uid, (version, packed) in found.items():
            one = {"_id": f"{self._schema}/{uid}"}
            doc = {**one, "form": FORM, "version": version, "statistics": Binary(packed)}
            changes.append(ReplaceOne(one, doc, upsert=True))
        if changes and self._writable:
            with suppress(PyMongoError):
                self._connection.database[COLLECTION].bulk_write(changes, ordered=False)


def _checked(doc: Mapping[str, Any]) -> Packed | None:
    version, packed = doc.get("version"), doc.get("statistics")
    if not isinstance(version, str) or not isinstance(packed, bytes):
        return None
    try:  # others wrote it: what cannot be read is measured again
        for _ in rows_of(packed):
            pass
    except ValueError:
        return None
    return version, packed
