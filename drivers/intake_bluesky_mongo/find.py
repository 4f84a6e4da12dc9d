"""Finding runs: pipelines that list and count those that match, each access one question."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final, NamedTuple, TypeAlias

from pymongo.database import Database

from intake_bluesky.cached import cached_property
from intake_bluesky.documents.model import MAX_TIME, Document, RunSummary
from intake_bluesky.query import ALL, And, Everything, Not, Query, all_of, documents_needed
from intake_bluesky.query.server_text import ServerText
from intake_bluesky.storage.order import Order
from intake_bluesky_mongo.bson_documents import from_bson
from intake_bluesky_mongo.connections import Connection, Stored
from intake_bluesky_mongo.translator import FieldPlaces, Filter, MongoTranslator

Stages: TypeAlias = list[dict[str, Any]]

BATCH: Final = 1000  # runs in one answer of the server
NO_DOCUMENT: Final[Document] = {}


@dataclass(frozen=True, slots=True)
class Schema:
    """How a database holds what a listing shows of runs."""

    collection: str  # of run starts, or of headers
    uid: str  # a path, as the next
    time: str
    places: FieldPlaces
    stops: str | None = None  # the collection of these, where it is another
    descriptors: str | None = None  # and of these

    @property
    def timed(self) -> Filter:
        """Runs that have a time; they come first in both orders."""
        return {self.time: {"$gt": -MAX_TIME, "$lt": MAX_TIME, "$not": {"$type": "array"}}}

    def summary(self, found: Mapping[str, Any]) -> RunSummary:
        """Make the summary of what `Listing` finds."""
        if self.stops is None:
            starts, stops = _documents(found.get("start")), _documents(found.get("stop"))
            return RunSummary.of(from_bson(starts[0]), from_bson(stops[-1]) if stops else None)
        start = {key: value for key, value in found.items() if key != "__stop"}
        stop = found.get("__stop")
        return RunSummary.of(from_bson(start), None if stop is None else from_bson(stop))


def _documents(value: Any) -> list[Document]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


NORMALIZED: Final = Schema(
    "run_start", "uid", "time", FieldPlaces({"start": "", "stop": "__stop."}), "run_stop", "event_descriptor"
)
EMBEDDED: Final = Schema(
    "header", "start.uid", "start.time", FieldPlaces({"start": "start.", "stop": "stop."}, "descriptors", listed=True)
)


class _Matching(NamedTuple):
    """Stages of a pipeline that match runs."""

    lead: Filter  # what an index answers; has to come first
    near: Filter  # what is looked at in the documents at hand
    finished: Stages  # those that look into other collections
    stops: bool  # whether these have the stop documents


@dataclass(frozen=True)
class Listing:
    """The runs of a database that match a query whose leaves a `MongoTranslator` takes as exact.

    The query is translated once, and nothing is asked before a method is called.
    """

    connection: Connection
    schema: Schema
    query: Query = ALL
    options: Mapping[str, Any] | None = None

    @property
    def empty(self) -> bool:
        """Whether nothing can match."""
        return isinstance(self.query, Not) and isinstance(self.query.child, Everything)

    def find(self, order: Order, offset: int, limit: int | None) -> Iterator[RunSummary]:
        """Yield those at some places in an order."""
        if limit == 0 or self.empty:
            return
        timed, seen = self.schema.timed, 0
        for run in self._timed(order, offset, limit):
            yield run
            seen += 1
        left = None if limit is None else limit - seen
        if left == 0:
            return
        offset = max(0, offset - self._count(timed)) if offset and not seen else 0
        yield from self._sorted({"$nor": [timed]}, {self.schema.uid: _sign(order)}, offset, left)

    def _timed(self, order: Order, offset: int, limit: int | None) -> Iterator[RunSummary]:
        """By (time, uid), sorted by time on the server, which has an index of that.

        One run more is asked for at either end: runs of one time that reach over an end have to be sorted whole.
        """
        timed, sign = self.schema.timed, _sign(order)
        before = 1 if offset else 0
        asked = None if limit is None else limit + before + 1
        found = self._sorted(timed, {self.schema.time: sign}, offset - before, asked)
        left = math.inf if limit is None else limit
        for _, group in groupby(found, key=lambda run: run.time):
            runs = sorted(group, key=lambda run: run.uid, reverse=order is Order.NEWEST)
            if len(runs) > (1 if before else left):
                if left:
                    rest = None if limit is None else int(left)
                    place = offset if limit is None else offset + limit - int(left)
                    yield from self._sorted(timed, {self.schema.time: sign, self.schema.uid: sign}, place, rest)
                return
            if not before:
                yield from runs
                left -= len(runs)
            before = 0

    def _sorted(self, also: Filter, by: dict[str, int], offset: int, limit: int | None) -> Iterator[RunSummary]:
        stages = self.stages(also, by, offset, limit)
        size = BATCH if limit is None else min(limit + 1, BATCH)  # a batch that is not full is the last, for sure
        options = {"allowDiskUse": True, "batchSize": size, **(self.options or {})}
        with self.connection.database[self.schema.collection].aggregate(stages, **options) as cursor:
            yield from map(self.schema.summary, cursor)

    def stages(self, also: Filter, by: dict[str, int], offset: int, limit: int | None) -> Stages:
        """The pipeline that lists."""
        narrowed, finished, looked_up = self._matching(also)
        stages = [*narrowed, {"$sort": by}, *finished]
        if offset:
            stages.append({"$skip": offset})
        if limit is not None:
            stages.append({"$limit": limit})
        if self.schema.stops is not None and not looked_up:
            stages += _look_up_stop(self.schema.stops)
        if self.schema.stops is None:
            stages.append({"$project": {"_id": 0, "start": 1, "stop": 1}})
        return stages

    def server_plan(self, order: Order) -> str:
        """Describe what the server does to find the first of them: its stages, from the last to the first."""
        if self.empty:
            return "nothing, for no run can match"
        by = {self.schema.time: _sign(order)}
        asked = {
            "aggregate": self.schema.collection,
            "pipeline": self.stages(self.schema.timed, by, 0, 1),
            "cursor": {},
        }
        told = self.connection.database.command("explain", asked, verbosity="queryPlanner")
        return " after ".join(_steps(_winning(told))) or "a plan that the server does not tell"

    def count(self) -> int:
        """Count."""
        return 0 if self.empty else self._count({})

    def bare(self) -> Iterator[RunSummary]:
        """Yield them in no order, with nothing but uid and time."""
        if self.empty:
            return
        narrowed, finished, _ = self._matching({})
        stages = [*narrowed, *finished, {"$project": {"_id": 0, self.schema.uid: 1, self.schema.time: 1}}]
        with self.connection.database[self.schema.collection].aggregate(stages, **(self.options or {})) as cursor:
            for run in map(self.schema.summary, cursor):
                yield RunSummary(run.uid, run.time, None, NO_DOCUMENT, None)

    def _count(self, also: Filter) -> int:
        narrowed, finished, _ = self._matching(also)
        stages = [*narrowed, *finished, {"$group": {"_id": None, "runs": {"$sum": 1}}}]
        return sum(found["runs"] for found in self.connection.database[self.schema.collection].aggregate(stages))

    def _matching(self, also: Filter) -> tuple[Stages, Stages, bool]:
        """The stages that an index may answer, those after them, and whether these have the stop documents."""
        found = self._translated
        whole = [found.near, also, {self.schema.uid: {"$type": "string"}}]
        lead = found.lead or ({self.schema.time: {"$gt": -MAX_TIME}} if also == self.schema.timed else {})
        narrowed: Stages = [*([{"$match": lead}] if lead else []), {"$match": {"$and": [one for one in whole if one]}}]
        return narrowed, list(found.finished), found.stops

    @cached_property
    def _translated(self) -> _Matching:
        parts = self.query.children if isinstance(self.query, And) else (self.query,)
        at_hand = {"start"} if self.schema.stops is not None else {"start", "stop", "descriptors"}
        texts = [part for part in parts if isinstance(part, ServerText)]  # which have to come first
        near = all_of(part for part in parts if documents_needed(part) <= at_hand and part not in texts)
        far = all_of(part for part in parts if not documents_needed(part) <= at_hand)
        translator = MongoTranslator(self.schema.places)
        lead = translator.filter(all_of(texts)) or translator.lead(near)
        if isinstance(far, Everything):
            return _Matching(lead, translator.filter(near), [], False)
        conditions: list[Filter] = []
        wanted = translator.filter(far, conditions)
        stops = "stop" in documents_needed(far) and self.schema.stops is not None
        finished = _look_up_stop(self.schema.stops) if stops and self.schema.stops is not None else []
        for place, condition in enumerate(conditions):
            finished.append(_look_up_any(f"__any{place}", str(self.schema.descriptors), condition))
        finished.append({"$match": wanted})
        if conditions:
            finished.append({"$project": {f"__any{place}": 0 for place in range(len(conditions))}})
        return _Matching(lead, translator.filter(near), finished, stops)


def _sign(order: Order) -> int:
    return -1 if order is Order.NEWEST else 1


def _look_up_stop(collection: str) -> Stages:
    joined = {"from": collection, "localField": "uid", "foreignField": "run_start", "as": "__stop"}
    return [{"$lookup": joined}, {"$addFields": {"__stop": {"$arrayElemAt": ["$__stop", -1]}}}]


def _look_up_any(name: str, collection: str, condition: Filter) -> dict[str, Any]:
    stages: Stages = [
        {"$match": {"$expr": {"$eq": ["$run_start", "$$run"]}}},
        {"$match": condition},
        {"$limit": 1},  # one that satisfies is enough, and spares the server the others
        {"$project": {"_id": 1}},
    ]
    return {"$lookup": {"from": collection, "let": {"run": "$uid"}, "pipeline": stages, "as": name}}


def _winning(told: Any) -> Mapping[str, Any]:
    """The winning plan, wherever a server puts it."""
    if isinstance(told, Mapping):
        if isinstance(told.get("winningPlan"), Mapping):
            found: Mapping[str, Any] = told["winningPlan"]
            return _winning(found["queryPlan"]) if "queryPlan" in found else found
        if "stage" in told:
            return told
        return next(filter(None, map(_winning, told.values())), {})
    return next(filter(None, map(_winning, told)), {}) if isinstance(told, list) else {}


def _steps(plan: Mapping[str, Any]) -> Iterator[str]:
    if "stage" in plan:
        index = f" of the index {plan['indexName']}" if "indexName" in plan else ""
        yield f"{plan['stage']}{index}"
    for inner in (plan.get("inputStage"), *(plan.get("inputStages") or ())):
        if isinstance(inner, Mapping):
            yield from _steps(inner)


def uids_without_text(database: Database[Stored], schema: Schema, limit: int) -> Iterable[Any]:
    """The ``_id`` of documents among the runs that have no uid."""
    found = database[schema.collection].find({schema.uid: {"$not": {"$type": "string"}}}, {"_id": 1}, limit=limit)
    return [one["_id"] for one in found]
