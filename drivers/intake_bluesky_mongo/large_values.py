"""Values of events that are too large for one document of MongoDB: in pieces, in a collection of their own.

A name of the pieces takes the place of the value. Readers without this package, such as databroker, find the name and
all other values of the event.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import bson
from bson import Binary
from bson.raw_bson import RawBSONDocument
from pymongo.database import Database

from intake_bluesky.documents.model import Document
from intake_bluesky.errors import DamagedRun
from intake_bluesky_mongo.bson_documents import LARGEST, ready, tidy_column
from intake_bluesky_mongo.connections import Stored

COLLECTION: Final = "intake_bluesky_large"
MARK: Final = "intake_bluesky_large"
PIECES: Final = "pieces"
PIECE: Final = 15 * 2**20
NAME: Final = 2**10  # bytes that a name in the place of a value may take


def divided(event: Mapping[str, Any], limit: int = LARGEST // 2) -> tuple[Document, Iterator[RawBSONDocument]]:
    """Take the largest values out of an event until it is of `limit` bytes, as BSON.

    Gives the event with names in the place of these values, and what is to be written before it. It may still be too
    large, by what is no value: that is left to whoever writes it.
    """
    data = {key: bytes(ready("event", {"value": value}).raw) for key, value in event["data"].items()}
    left = len(ready("event", event).raw) - limit
    taken: list[str] = []
    for key in sorted(data, key=lambda key: len(data[key]), reverse=True):
        if left <= 0 or len(data[key]) <= NAME:
            break
        taken.append(key)
        left -= len(data[key]) - NAME
    names = {key: {MARK: f"{event['uid']}/{key}", PIECES: -(-len(data[key]) // PIECE)} for key in taken}
    return {**event, "data": {**event["data"], **names}}, _pieces({str(names[key][MARK]): data[key] for key in taken})


def _pieces(values: Mapping[str, bytes]) -> Iterator[RawBSONDocument]:
    for name, value in values.items():
        for number, first in enumerate(range(0, len(value), PIECE)):
            piece = {"_id": f"{name}/{number}", "value": Binary(value[first : first + PIECE])}
            yield RawBSONDocument(bson.encode(piece))


def gathered(database: Database[Stored], event: Document) -> Document:
    """Put the values that were taken out of an event back to their places."""
    data = event.get("data")
    if not isinstance(data, dict) or not any(map(_is_name, data.values())):
        return event
    return {**event, "data": {key: _value(database, value) for key, value in data.items()}}


def gathered_page(database: Database[Stored], page: Mapping[str, Any]) -> Mapping[str, Any]:
    """Put the values that were taken out of the events of a page back to their places."""
    columns = page.get("data") or {}
    apart = [key for key, values in columns.items() if isinstance(values, list) and any(map(_is_name, values))]
    if not apart:
        return page
    whole = {key: [_value(database, value) for value in columns[key]] for key in apart}
    return {**page, "data": {**columns, **whole}}


def pieces_of(database: Database[Stored], collection: str, descriptors: Sequence[str]) -> Iterator[list[str]]:
    """The ``_id`` of the pieces of each value that was taken out of the events of some descriptors."""
    # Most databases have no such value: then no event need be looked at.
    if database[COLLECTION].find_one({}, {"_id": 1}) is None:
        return
    stages = values_where(descriptors, {f"v.v.{MARK}": {"$exists": True}})
    for found in database[collection].aggregate(stages, allowDiskUse=True):
        yield _pieces_of(found["v"]["v"])


def values_where(descriptors: Sequence[str], condition: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The stages that give those values of the events of some descriptors, as ``v.v``, that meet a condition."""
    return [
        {"$match": {"descriptor": {"$in": list(descriptors)}}},
        {"$project": {"v": {"$objectToArray": "$data"}}},
        {"$unwind": "$v"},
        {"$match": condition},
        {"$unwind": "$v.v"},  # of a page
        {"$match": condition},
    ]


def _pieces_of(name: Mapping[str, Any]) -> list[str]:
    return [f"{name[MARK]}/{number}" for number in range(name[PIECES])]


def _is_name(value: Any) -> bool:
    return type(value) is dict and MARK in value and PIECES in value


def _value(database: Database[Stored], value: Any) -> Any:
    if not _is_name(value):
        return value
    ids = _pieces_of(value)
    pieces = [database[COLLECTION].find_one({"_id": one}) for one in ids]
    missing = [one for one, piece in zip(ids, pieces, strict=True) if piece is None]
    if missing:
        raise DamagedRun(
            f"the value {value[MARK]!r} was written in {len(ids)} pieces into the collection {COLLECTION!r}, and "
            f"{len(missing)} of them are not there: copy that collection, too, where runs were copied from elsewhere"
        )
    whole = b"".join(piece["value"] for piece in pieces if piece is not None)
    return tidy_column([bson.decode(whole)["value"]])[0]
