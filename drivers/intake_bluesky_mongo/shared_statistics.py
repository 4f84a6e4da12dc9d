"""Statistics in a collection of their own beside the runs, for those who have none on their machine yet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from bson import Binary
from pymongo import ReplaceOne
from pymongo.errors import OperationFailure, PyMongoError

from intake_bluesky.index.packed_statistics import rows_of
from intake_bluesky_mongo.connections import Connection

__all__ = ["COLLECTION", "Packed", "put_shared", "shared"]

COLLECTION: Final = "intake_bluesky_statistics"
FORM: Final = 1  # of what is packed

Packed = tuple[str, bytes]
"""The version of a run, and its statistics as `intake_bluesky.index.packed_statistics.pack` packs them."""


def shared(connection: Connection, schema: str, uids: Sequence[str]) -> dict[str, Packed]:
    """What others left of some runs, by uid; nothing where this user may not read it."""
    ids = {f"{schema}/{uid}": uid for uid in uids}
    found: dict[str, Packed] = {}
    with suppress(OperationFailure):
        for doc in connection.database[COLLECTION].find({"_id": {"$in": list(ids)}, "form": FORM}):
            packed = _checked(doc)
            if packed is not None:
                found[ids[doc["_id"]]] = packed
    return found


def put_shared(connection: Connection, schema: str, found: Mapping[str, Packed]) -> None:
    """Leave what was found of some runs; it is no harm if the server does not take it."""
    changes: list[Any] = []
    for uid, (version, packed) in found.items():
        one = {"_id": f"{schema}/{uid}"}
        doc = {**one, "form": FORM, "version": version, "statistics": Binary(packed)}
        changes.append(ReplaceOne(one, doc, upsert=True))
    if changes:
        with suppress(PyMongoError):
            connection.database[COLLECTION].bulk_write(changes, ordered=False)


def _checked(doc: Mapping[str, Any]) -> Packed | None:
    version, packed = doc.get("version"), doc.get("statistics")
    if not isinstance(version, str) or not isinstance(packed, bytes):
        return None
    try:
        for _ in rows_of(packed):
            pass
    except ValueError:
        return None
    return version, packed
