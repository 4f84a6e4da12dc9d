"""Putting runs into MongoDB without the driver: plain pymongo, in the two schemas."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bson import Decimal128
from pymongo.database import Database

from intake_bluesky.documents.model import Document, to_plain
from intake_bluesky.documents.pages import normalise
from intake_bluesky.testing.examples import Run
from intake_bluesky.testing.expected import stored_events

COLLECTIONS = {"start": "run_start", "stop": "run_stop", "descriptor": "event_descriptor"}
PARTS = ("data", "timestamps", "filled")


def storable(value: Any) -> Any:
    """BSON has no integers past 64 bits; an application that needs them takes its decimals."""
    if isinstance(value, dict):
        return {key: storable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [storable(item) for item in value]
    if type(value) is int and not -(2**63) <= value < 2**63:
        return Decimal128(str(value))
    return value


def todays(documents: Run) -> Iterator[tuple[str, Document]]:
    """Documents as suitcase gives them to a database: plain, pages and bulk documents taken apart."""
    for name, doc in documents:
        for today, new in normalise(name, to_plain(doc)) if name != "stream_resource" else [(name, to_plain(doc))]:
            if today == "datum_page":
                for row, datum_id in enumerate(new["datum_id"]):
                    kwargs = {key: column[row] for key, column in new["datum_kwargs"].items()}
                    yield "datum", {"datum_id": datum_id, "datum_kwargs": kwargs, "resource": new["resource"]}
            elif today == "event_page":
                stream = [("descriptor", {"uid": new["descriptor"]}), (today, new)]
                yield from (("event", event) for event in stored_events(stream)["primary"])
            else:
                yield today, storable(new)


def put_normalized(database: Database[dict[str, Any]], documents: Run) -> None:
    for name, doc in todays(documents):
        database[COLLECTIONS.get(name, name)].insert_one(storable(doc))


def put_embedded(database: Database[dict[str, Any]], uid: str, documents: Run) -> None:
    """As suitcase-mongo does: the header grows by pushes, and so do pages, of events with the same keys."""
    for name, doc in todays(documents):
        ready = storable(doc)
        if name == "event":
            _grow(database, ready)
        elif name == "datum":
            known = {"resource": ready["resource"]}
            pushed = {f"datum_kwargs.{key}": value for key, value in ready["datum_kwargs"].items()}
            index = {"$inc": {"size": 100}, "$min": {"first_index": 0}}
            database.datum.update_one(known, {"$push": {"datum_id": ready["datum_id"], **pushed}, **index}, upsert=True)
        elif name == "stream_datum":
            database.stream_datum.insert_one(ready)
        else:
            field = name if name in COLLECTIONS and name != "descriptor" else f"{name}s"
            database.header.update_one({"run_id": uid}, {"$push": {field: ready}}, upsert=True)


def _grow(database: Database[dict[str, Any]], event: Document) -> None:
    """Add an event to the last page of its stream, or begin one where that is of other keys."""
    keys = [[part, *event[part]] for part in PARTS]
    stream = next(
        header["uids"]
        for header in database.header.aggregate(
            [{"$match": {"descriptors.uid": event["descriptor"]}}, {"$project": {"uids": "$descriptors"}}]
        )
    )
    own = next(one for one in stream if one["uid"] == event["descriptor"])
    siblings = [one["uid"] for one in stream if one.get("name") == own.get("name")]
    last = database.event.find_one({"descriptor": {"$in": siblings}}, sort=[("_id", -1)])
    if last is None or last["descriptor"] != event["descriptor"] or last["keys"] != keys:
        count = sum(len(page["uid"]) for page in database.event.find({"descriptor": event["descriptor"]}))
        page = {
            "descriptor": event["descriptor"], "size": 0, "first_index": count, "last_index": count, "keys": keys,
            **{name: [event[name]] for name in ("uid", "time", "seq_num")},
            **{part: {key: [value] for key, value in event[part].items()} for part in PARTS},
        }  # fmt: skip
        database.event.insert_one(page)
        return
    for part in PARTS:
        for key, value in event[part].items():
            last[part][key].append(value)
    for name in ("uid", "time", "seq_num"):
        last[name].append(event[name])
    last["last_index"] += 1
    database.event.replace_one({"_id": last["_id"]}, last)
