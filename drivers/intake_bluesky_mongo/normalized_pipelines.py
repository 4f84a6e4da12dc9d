"""The questions about runs in collections by kind of document: about one run, and about several at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from intake_bluesky_mongo.union_query import Section, wrapped
from intake_bluesky_mongo.writing.page_writer import listed_page, page_size_of, pages_of


def of_run(uid: str) -> list[Section]:
    """The documents of one run, and how its events lie, in one pipeline."""
    descriptors: list[dict[str, Any]] = [{"$match": {"run_start": uid}}]
    of_this: dict[str, Any] = {"$match": {"$expr": {"$eq": ["$descriptor", "$$uid"]}}}
    counted: list[dict[str, Any]] = [of_this, _counted(None)]
    listed: list[dict[str, Any]] = [of_this, {"$project": page_size_of()}]
    return [
        *of_runs([uid]),
        Section("event_descriptor", [*descriptors, *_each("event", counted), _count("$uid", "$found.")]),
        Section("event_descriptor", [*descriptors, *_each("event_page", listed), listed_page("$uid", "$found.")]),
    ]


def _each(collection: str, stages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What some stages find of each descriptor, as ``found``."""
    found = {"from": collection, "let": {"uid": "$uid"}, "pipeline": stages, "as": "found"}
    return [{"$project": {"uid": 1}}, {"$lookup": found}, {"$unwind": "$found"}]


def _counted(by: str | None) -> dict[str, Any]:
    return {"$group": {"_id": by, "events": {"$sum": 1}, "last": {"$max": "$time"}}}


def _count(descriptor: str, prefix: str) -> dict[str, Any]:
    return wrapped("singles", {"descriptor": descriptor, "events": f"{prefix}events", "last": f"{prefix}last"})


def of_assets(uid: str) -> list[Section]:
    """The documents of a run about its files, but for datums."""
    datums = {"from": "stream_datum", "localField": "uid", "foreignField": "stream_resource", "as": "found"}
    each: list[dict[str, Any]] = [
        {"$match": {"run_start": uid}},
        {"$project": {"uid": 1}},
        {"$lookup": datums},
        {"$unwind": "$found"},
        wrapped("stream_datum", "$found"),
    ]
    return [*assets_of_runs([uid]), Section("stream_resource", each)]


def of_runs(uids: Sequence[str]) -> list[Section]:
    """The documents of several runs."""
    some = {"$in": list(uids)}
    return [
        Section("run_start", [{"$match": {"uid": some}}, wrapped("start")]),
        Section("run_stop", [{"$match": {"run_start": some}}, wrapped("stop")]),
        Section("event_descriptor", [{"$match": {"run_start": some}}, wrapped("descriptor")]),
    ]


def assets_of_runs(uids: Sequence[str]) -> list[Section]:
    """Their documents about files."""
    these = {"$match": {"run_start": {"$in": list(uids)}}}
    return [Section(name, [these, wrapped(name)]) for name in ("resource", "stream_resource")]


def events_of(descriptors: Sequence[str]) -> list[Section]:
    """How the events of some descriptors lie: by a condition, for a look-up is a search for each of them."""
    these = {"$match": {"descriptor": {"$in": list(descriptors)}}}
    counted = Section("event", [these, _counted("$descriptor"), _count("$_id", "$")])
    return [counted, pages_of("event_page", descriptors)]


def stream_datums_of(resources: Sequence[str]) -> list[Section]:
    """The stream datums of some stream resources."""
    these = {"$match": {"stream_resource": {"$in": list(resources)}}}
    return [Section("stream_datum", [these, wrapped("stream_datum")])]
