"""Runs as suitcase-mongo's embedded serializer writes them: a header document a run, events and datums in pages."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from bson.raw_bson import RawBSONDocument

from intake_bluesky.documents.model import DatumPage, Document
from intake_bluesky.errors import RunNotFound
from intake_bluesky.storage.buffered_insert import Buffering
from intake_bluesky.storage.contract import RunInsert
from intake_bluesky_mongo.bson_documents import from_bson
from intake_bluesky_mongo.connections import Connection
from intake_bluesky_mongo.events import EventReader
from intake_bluesky_mongo.find import EMBEDDED
from intake_bluesky_mongo.indexes import MongoIndex
from intake_bluesky_mongo.legacy_resources import (
    datums_in_pages,
    resources_in,
    stored_datum_pages,
    with_resources,
)
from intake_bluesky_mongo.normalized_pipelines import stream_datums_of
from intake_bluesky_mongo.removal.normalized_belongings import large_values, statistics
from intake_bluesky_mongo.removal.removable_runs import Belongings, Deletion, on_primary
from intake_bluesky_mongo.run_layout import MongoRun
from intake_bluesky_mongo.store import MongoStore
from intake_bluesky_mongo.union_query import Result, Section, UnionAnswer, ask, by_run, wrapped
from intake_bluesky_mongo.writing.page_writer import (
    PagedDatums,
    PagedEvents,
    listed_page,
    page_size_of,
    pages_of,
    stored_page,
)
from intake_bluesky_mongo.writing.storable_documents import same, uid_of
from intake_bluesky_mongo.writing.writer import MongoInsert, Writes, begin, sized

FIELDS: Final = ("start", "stop", "descriptors", "resources", "stream_resources")
OWNERS: Final = {"page": "descriptor", "stream_datum": "stream_resource"}
PLURALS: Final = {"descriptor": "descriptors", "resource": "resources", "stream_resource": "stream_resources"}
INDEXES: Final = (
    MongoIndex("header", "start.uid"), MongoIndex("header", "start.time"), MongoIndex("header", "start.scan_id"),
    MongoIndex("event", "descriptor"), MongoIndex("datum", "resource"), MongoIndex("stream_datum", "stream_resource"),
)  # fmt: skip


class EmbeddedStore(MongoStore):
    """Runs in the collections header, event and datum; stream datums in one of their own.

    Parameters
    ----------
    datastore_db : str or pymongo.database.Database
        A URI that names a database, or a database.
    find_kwargs, writable, buffering
        As in `MongoStore`.

    Examples
    --------
    >>> EmbeddedStore("mongodb://me:secret@localhost/runs")
    EmbeddedStore('mongodb://me@localhost/runs')
    """

    schema = EMBEDDED

    def __init__(
        self,
        datastore_db: Any,
        *,
        find_kwargs: Mapping[str, Any] | None = None,
        writable: bool = False,
        buffering: Buffering | None = None,
    ) -> None:
        connection = Connection(datastore_db, "datastore_db")
        super().__init__((connection,), find_kwargs=find_kwargs, writable=writable, buffering=buffering)

    @property
    def _reader(self) -> EventReader:
        return EventReader(self.connection.database, self._times, paged="event")

    def _find_run(self, uid: str) -> MongoRun | None:
        return _stored_run(ask(self.connection.database, _of_run(uid)))

    def _find_runs(self, uids: Sequence[str]) -> dict[str, MongoRun]:
        database = self.connection.database
        results = ask(database, _of_runs(uids))
        owners: dict[str, list[str]] = {}
        for result in results:
            [run] = _runs_of_header(result.doc)[:1] or [""]
            for name in ("descriptors", "stream_resources"):
                for doc in result.doc.get(name) or ():
                    owners.setdefault(str(doc["uid"]), []).append(run)
        if owners:
            results += ask(database, _parts_of(list(owners)))

        def runs_of(mark: str, doc: Mapping[str, Any]) -> Iterable[str]:
            return _runs_of_header(doc) if mark == "header" else owners.get(str(doc[OWNERS[mark]]), ())

        parts = by_run(results, runs_of)
        found = {uid: _stored_run(parts[uid]) for uid in uids if uid in parts}
        return {uid: run for uid, run in found.items() if run is not None}

    def _single_events(self, descriptors: Sequence[str]) -> Iterator[Document]:
        return iter(())

    def _datums(self, resource: str) -> Iterator[DatumPage]:
        found = self.connection.database["datum"].find({"resource": resource}, sort=[("first_index", 1)])
        yield from stored_datum_pages(found)

    def find_datums(self, datum_ids: Sequence[str]) -> Iterator[tuple[Document, DatumPage]]:
        """Yield datums by their ids, of whichever run, with their resources."""
        with self.connection.asking(f"for {len(datum_ids)} datums"):
            yield from with_resources(self._datums_of_ids, self._resource, datum_ids)

    def _datums_of_ids(self, datum_ids: Sequence[str]) -> Iterator[DatumPage]:
        pages = self.connection.database["datum"].find({"resource": {"$in": resources_in(datum_ids)}})
        yield from datums_in_pages(pages, datum_ids)

    def _resource(self, uid: str) -> Document | None:
        header = self.connection.database["header"].find_one({"resources.uid": uid}, {"resources": 1})
        own = (from_bson(header) if header else {}).get("resources") or ()
        return next((doc for doc in own if doc.get("uid") == uid), None)

    def _indexes(self) -> Iterable[tuple[Connection, MongoIndex]]:
        return [(self.connection, index) for index in INDEXES]

    def belongings(self, uid: str) -> Belongings | None:
        headers = on_primary(self.connection)["header"]
        fields = {f"{name}.uid": 1 for name in PLURALS.values()}
        header = headers.find_one({"start.uid": uid}, fields)
        if header is None:
            return None
        own = {name: [str(doc["uid"]) for doc in header.get(name) or () if "uid" in doc] for name in PLURALS.values()}
        for name in ("resources", "stream_resources"):
            of_others = {f"{name}.uid": {"$in": own[name]}, "start.uid": {"$ne": uid}}
            shared = {
                doc.get("uid")
                for other in (headers.find(of_others, fields) if own[name] else ())
                for doc in other.get(name) or ()
            }
            own[name] = [one for one in own[name] if one not in shared]
        return own

    def deletions(self, uid: str, belongings: Belongings) -> Iterator[Deletion]:
        descriptors, runs = belongings.get("descriptors", []), self.connection
        streamed = belongings.get("stream_resources", [])
        yield Deletion(runs, "header", {"start.uid": uid})
        yield from large_values(runs, "event", descriptors)
        yield Deletion(runs, "event", {"descriptor": {"$in": descriptors}})
        yield Deletion(runs, "datum", {"resource": {"$in": belongings.get("resources", [])}})
        yield Deletion(runs, "stream_datum", {"stream_resource": {"$in": streamed}})
        yield statistics(runs, "header", uid)

    def _insert(self, start: Document) -> RunInsert:
        uid = uid_of(start)
        insert = _EmbeddedInsert(self, uid)
        empty: dict[str, Any] = {name: [] for name in PLURALS.values()}
        header = {
            "_id": uid,
            "run_id": uid,
            "start": [sized("start", start)],
            "event_count": 0,
            "datum_count": 0,
            **empty,
        }
        begin(insert.writes, "header", sized("start", header), "start.uid", uid)
        return insert


def _of_run(uid: str) -> list[Section]:
    this = {"$match": {"start.uid": uid}}
    of_descriptor = [{"$match": {"$expr": {"$eq": ["$descriptor", "$$uid"]}}}, {"$project": page_size_of()}]
    pages = {"from": "event", "let": {"uid": "$descriptors.uid"}, "pipeline": of_descriptor, "as": "found"}
    of_resource = [{"$match": {"$expr": {"$eq": ["$stream_resource", "$$uid"]}}}]
    datums = {"from": "stream_datum", "let": {"uid": "$stream_resources.uid"}, "pipeline": of_resource, "as": "found"}
    return [
        *_of_runs([uid]),
        Section(
            "header",
            [
                this, {"$project": {"descriptors.uid": 1}}, {"$unwind": "$descriptors"}, {"$lookup": pages},
                {"$unwind": "$found"}, listed_page("$descriptors.uid", "$found."),
            ],
        ),
        Section(
            "header",
            [
                this, {"$project": {"stream_resources.uid": 1}}, {"$unwind": "$stream_resources"}, {"$lookup": datums},
                {"$unwind": "$found"}, wrapped("stream_datum", "$found"),
            ],
        ),
    ]  # fmt: skip


def _of_runs(uids: Sequence[str]) -> list[Section]:
    header = wrapped("header", {name: f"${name}" for name in FIELDS})
    return [Section("header", [{"$match": {"start.uid": {"$in": list(uids)}}}, header])]


def _parts_of(uids: Sequence[str]) -> list[Section]:
    """Pages of events and stream datums of several runs: by conditions, for a look-up is a search for each."""
    return [pages_of("event", uids), *stream_datums_of(uids)]


def _runs_of_header(header: Mapping[str, Any]) -> list[str]:
    return [str(start.get("uid")) for start in header.get("start") or ()]


def _stored_run(results: Iterable[Result]) -> MongoRun | None:
    answer = UnionAnswer.of(results)
    headers = answer.found.get("header")
    if not headers:
        return None
    parts = {name: [from_bson(doc) for doc in headers[-1].get(name) or ()] for name in FIELDS}
    return MongoRun(
        start=parts["start"][0],
        stop=parts["stop"][-1] if parts["stop"] else None,
        version=answer.digest,
        descriptors=parts["descriptors"],
        resources=parts["resources"],
        stream_resources=parts["stream_resources"],
        stream_datums=[from_bson(doc) for doc in answer.found.get("stream_datum", ())],
        pages=[stored_page(one) for one in answer.found.get("page", ())],
    )


class _EmbeddedInsert(MongoInsert):
    """Writes into the header document, and events and datums in pages."""

    def __init__(self, store: EmbeddedStore, uid: str) -> None:
        super().__init__(uid, Writes(store.connection, store.buffering.patience), store.buffering)
        self._events = PagedEvents(self.writes, "event", uid)
        self._datums = PagedDatums(self.writes, uid)

    def _event(self, doc: Mapping[str, Any]) -> int:
        return self._events.hold(doc)

    def _datum(self, doc: Mapping[str, Any]) -> int:
        return self._datums.hold(doc)

    def _write(self, name: str, doc: Mapping[str, Any]) -> None:
        what = f"the {name} {doc['uid']} of run {self.uid}"
        if name == "stream_datum":
            raw = sized(name, doc, _id=f"{self.uid}/{doc['uid']}")
            self.writes.insert("stream_datum", [raw], what)
            return
        field = PLURALS.get(name, name)
        change = {"$set": self._counts()} if name == "stop" else {}
        self._push(field, sized(name, doc), change, what)
        if name == "descriptor":
            self._events.introduce(doc)

    def _counts(self) -> Any:
        """What databroker reads of a header instead of counting."""
        counts = {**self._events.counts, **self._datums.counts}
        # As keys of MongoDB, others would be paths or operators.
        each = {f"count_{owner}": events for owner, events in counts.items() if not {".", "$", "\0"} & set(owner)}
        return {
            **each,
            "event_count": sum(self._events.counts.values()),
            "datum_count": sum(self._datums.counts.values()),
        }

    def _push(self, field: str, doc: RawBSONDocument, also: Mapping[str, Any], what: str) -> None:
        """Add a document to the header, unless it is there: so a write that is repeated pushes nothing twice."""
        this = {"_id": self.uid}
        new = {**this, f"{field}.uid": {"$ne": doc["uid"]}}

        def write() -> None:
            if self.writes.collection("header").update_one(new, {"$push": {field: doc}, **also}).matched_count:
                return
            found = self.writes.stored("header").find_one(this, {field: 1})
            if found is None:
                raise RunNotFound(
                    f"run {self.uid} was removed from {self.writes.connection.shown} while it was written"
                )
            if not any(same(one, doc) for one in found.get(field, ())):
                raise self.writes.other_there(what)

        self.writes.again(f"to write {what}", write)

    def _send(self) -> None:
        self._datums.send()
        self._events.send()
