"""Resources of a run that other runs need, too: these stay when the run is removed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from pymongo.database import Database

from intake_bluesky_mongo.connections import Stored
from intake_bluesky_mongo.large_values import values_where
from intake_bluesky_mongo.legacy_resources import chunks, names_of

CLOCKS: Final = 3600.0  # seconds by which those of two machines may differ
MANY: Final = 50_000  # datum ids in one question


def described_elsewhere(assets: Database[Stored], collection: str, uids: Iterable[str], run: str) -> set[str]:
    """Those of some resources of which there is a document of another run."""
    found: set[str] = set()
    for some in chunks(uids):
        of_others = {"uid": {"$in": some}, "run_start": {"$nin": [run, None]}}
        found |= {str(uid) for uid in assets[collection].distinct("uid", of_others)}
    return found


def named_elsewhere(
    runs: Database[Stored], assets: Database[Stored], uids: Iterable[str], run: str, since: float | None
) -> set[str]:
    """Those of some resources whose datums events of other runs refer to.

    Runs that ended before the resources were begun, `since`, cannot; where that is unknown, all runs are looked at.
    """
    owners = dict(_datums(assets, uids))
    if not owners:
        return set()
    found: set[str] = set()
    for descriptors in _descriptors_of_files(runs, run, since):
        for datum in _named(runs, descriptors, list(owners)):
            found.add(owners[datum])
    return found


def _datums(assets: Database[Stored], uids: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Each datum id of some resources, with the uid of its own."""
    known = {name: uid for uid in uids for name in names_of(uid)}
    for some in chunks(known):
        for collection in ("datum", "datum_page"):
            for doc in assets[collection].find({"resource": {"$in": some}}, {"resource": 1, "datum_id": 1}):
                ids = doc["datum_id"] if isinstance(doc["datum_id"], list) else [doc["datum_id"]]
                yield from ((one, known[doc["resource"]]) for one in ids)


def _descriptors_of_files(runs: Database[Stored], run: str, since: float | None) -> Iterator[list[str]]:
    """The descriptors of other runs that have a key whose values are in files, a thousand at a time."""
    if since is None:
        matches: Iterator[dict[str, Any]] = iter([{"run_start": {"$ne": run}}])
    else:
        later = {"uid": {"$ne": run}, "time": {"$gte": since - CLOCKS}}
        uids = (str(doc["uid"]) for doc in runs["run_start"].find(later, {"uid": 1}))
        matches = ({"run_start": {"$in": some}} for some in chunks(uids))
    is_object = {"$eq": [{"$type": "$data_keys"}, "object"]}
    keys = {"$cond": [is_object, {"$objectToArray": "$data_keys"}, []]}
    for match in matches:
        stages = [
            {"$match": match},
            {"$project": {"uid": 1, "keys": keys}},
            {"$match": {"keys.v.external": {"$gt": ""}}},
        ]
        found = runs["event_descriptor"].aggregate([*stages, {"$project": {"uid": 1}}])
        yield from chunks(str(doc["uid"]) for doc in found)


def _named(runs: Database[Stored], descriptors: Sequence[str], datums: Sequence[str]) -> Iterator[str]:
    """Those of some datums that are values of the events of some descriptors, at whichever key."""
    for some in chunks(datums, MANY):
        stages = [*values_where(descriptors, {"v.v": {"$in": some}}), {"$group": {"_id": "$v.v"}}]
        for collection in ("event", "event_page"):
            yield from (doc["_id"] for doc in runs[collection].aggregate(stages, allowDiskUse=True))
