"""What belongs to a run in collections by kind of document, and in which order it goes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pymongo.database import Database

from intake_bluesky_mongo.connections import Connection, Stored
from intake_bluesky_mongo.large_values import COLLECTION as LARGE
from intake_bluesky_mongo.large_values import pieces_of
from intake_bluesky_mongo.legacy_resources import external_keys, found_by_datums, names_of, uid_of_resource
from intake_bluesky_mongo.removal.removable_runs import Belongings, Deletion, on_primary
from intake_bluesky_mongo.removal.shared_resources import described_elsewhere, named_elsewhere
from intake_bluesky_mongo.shared_statistics import COLLECTION as STATISTICS


def belongings_of(runs: Database[Stored], assets: Database[Stored], uid: str) -> Belongings | None:
    """See `Removable.belongings`."""
    start = runs["run_start"].find_one({"uid": uid})
    if start is None:
        return None
    descriptors = list(runs["event_descriptor"].find({"run_start": uid}))
    streamed = {str(doc["uid"]) for doc in assets["stream_resource"].find({"run_start": uid}, {"uid": 1})}
    return {
        "descriptors": [str(doc["uid"]) for doc in descriptors],
        "stream_resources": sorted(streamed - described_elsewhere(assets, "stream_resource", streamed, uid)),
        **_resources_of(runs, assets, start, descriptors),
    }


def _resources_of(
    runs: Database[Stored], assets: Database[Stored], start: Stored, descriptors: Sequence[Stored]
) -> Belongings:
    """The ``_id`` of the resources that go, and the uids of those whose datums do."""
    uid = str(start["uid"])
    found = list(assets["resource"].find({"run_start": uid}))
    dated = bool(found) and isinstance(start.get("time"), int | float)
    if not found and any(map(external_keys, descriptors)):
        found = [doc for doc in found_by_datums(runs, assets, descriptors) if doc.get("run_start") in (None, uid)]
    uids = {uid_of_resource(doc) for doc in found}
    elsewhere = described_elsewhere(assets, "resource", uids, uid)
    # A resource that names its run began with it, and only later runs can refer to it.
    named = named_elsewhere(runs, assets, uids - elsewhere, uid, float(start["time"]) if dated else None)
    return {
        "resource_ids": [doc["_id"] for doc in found if uid_of_resource(doc) not in named],
        "resources": sorted(uids - elsewhere - named),
    }


def deletions_of(runs: Connection, assets: Connection, uid: str, belongings: Belongings) -> Iterator[Deletion]:
    """See `Removable.deletions`: what others are found by goes after them."""
    descriptors, streamed = belongings.get("descriptors", []), belongings.get("stream_resources", [])
    names = [name for resource in belongings.get("resources", []) for name in names_of(resource)]
    of_run, of_descriptors = {"run_start": uid}, {"descriptor": {"$in": descriptors}}
    yield Deletion(runs, "run_start", {"uid": uid})
    yield Deletion(runs, "run_stop", of_run)
    for collection in ("event", "event_page"):
        yield from large_values(runs, collection, descriptors)
        yield Deletion(runs, collection, of_descriptors)
    for collection in ("datum", "datum_page"):
        yield Deletion(assets, collection, {"resource": {"$in": names}})
    yield Deletion(assets, "resource", {"_id": {"$in": belongings.get("resource_ids", [])}})
    yield Deletion(assets, "stream_datum", {"stream_resource": {"$in": streamed}})
    yield Deletion(assets, "stream_resource", of_run)
    yield Deletion(runs, "event_descriptor", of_run)
    yield statistics(runs, "run_start", uid)


def large_values(runs: Connection, collection: str, descriptors: Sequence[str]) -> Iterator[Deletion]:
    """The values of the events of some descriptors that are in a collection of their own."""
    for pieces in pieces_of(on_primary(runs), collection, descriptors):
        yield Deletion(runs, LARGE, {"_id": {"$in": pieces}})


def statistics(runs: Connection, schema: str, uid: str) -> Deletion:
    """What users of the database left there for each other."""
    return Deletion(runs, STATISTICS, {"_id": f"{schema}/{uid}"})
