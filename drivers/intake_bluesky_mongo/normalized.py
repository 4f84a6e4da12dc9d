"""Runs as databroker and suitcase-mongo's normalized serializer write them: a document a document, by kind."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from bson.raw_bson import RawBSONDocument

from intake_bluesky.documents.model import DatumPage, Document
from intake_bluesky.storage.buffered_insert import Buffering
from intake_bluesky.storage.contract import RunInsert
from intake_bluesky_mongo.bson_documents import from_bson
from intake_bluesky_mongo.connections import Connection
from intake_bluesky_mongo.events import EventReader
from intake_bluesky_mongo.find import NORMALIZED
from intake_bluesky_mongo.indexes import MongoIndex
from intake_bluesky_mongo.legacy_resources import (
    chunks,
    datums_in_pages,
    external_keys,
    is_datum,
    names_of,
    old_resources,
    resources_in,
    stored_datum_pages,
    uid_of_resource,
    with_resources,
)
from intake_bluesky_mongo.normalized_pipelines import (
    assets_of_runs,
    events_of,
    of_assets,
    of_run,
    of_runs,
    stream_datums_of,
)
from intake_bluesky_mongo.removal.normalized_belongings import belongings_of, deletions_of
from intake_bluesky_mongo.removal.removable_runs import Belongings, Deletion, on_primary
from intake_bluesky_mongo.run_layout import MongoRun
from intake_bluesky_mongo.store import MongoStore
from intake_bluesky_mongo.union_query import Result, Section, UnionAnswer, ask, by_run
from intake_bluesky_mongo.writing.page_writer import PagedEvents, stored_page
from intake_bluesky_mongo.writing.storable_documents import uid_of
from intake_bluesky_mongo.writing.writer import MongoInsert, Writes, begin, sized

COLLECTIONS: Final[Mapping[str, str]] = {"stop": "run_stop", "descriptor": "event_descriptor"}
DATUMS: Final = 2500  # in a page
INNER: Final = ("descriptor", "stream_resource")
OWNERS: Final[Mapping[str, tuple[str, str]]] = {
    "start": ("uid", ""), "stop": ("run_start", ""), "descriptor": ("run_start", ""), "resource": ("run_start", ""),
    "stream_resource": ("run_start", ""), "singles": ("descriptor", "descriptor"),
    "page": ("descriptor", "descriptor"), "stream_datum": ("stream_resource", "stream_resource"),
}  # fmt: skip
"""By mark: the key that names the run, or one of the `INNER` documents and which."""
INDEXES: Final = (
    MongoIndex("run_start", "uid"), MongoIndex("run_start", "time"), MongoIndex("run_start", "scan_id"),
    MongoIndex("run_stop", "run_start"), MongoIndex("event_descriptor", "run_start"),
    MongoIndex("event", "descriptor", "time"), MongoIndex("event_page", "descriptor"),
)  # fmt: skip
INDEXES_OF_ASSETS: Final = (
    MongoIndex("resource", "run_start"), MongoIndex("resource", "uid"), MongoIndex("datum", "resource"),
    MongoIndex("datum", "datum_id"), MongoIndex("datum_page", "resource"),
    MongoIndex("stream_resource", "run_start"), MongoIndex("stream_datum", "stream_resource"),
)  # fmt: skip


class NormalizedStore(MongoStore):
    """Runs in the collections run_start, run_stop, event_descriptor, event, resource and datum.

    Those of event_page, datum_page, stream_resource and stream_datum are read too, where they are.

    Parameters
    ----------
    metadatastore_db : str or pymongo.database.Database
        A URI that names a database, or a database.
    asset_registry_db : str or pymongo.database.Database, optional
        Of resources and datums; by default the same.
    find_kwargs, writable, buffering
        As in `MongoStore`.
    event_pages : bool
        Write event pages, which are smaller and read faster, and which databroker does not find.

    Examples
    --------
    >>> NormalizedStore("mongodb://me:secret@localhost/runs")
    NormalizedStore('mongodb://me@localhost/runs')
    """

    schema = NORMALIZED

    def __init__(
        self,
        metadatastore_db: Any,
        asset_registry_db: Any = None,
        *,
        find_kwargs: Mapping[str, Any] | None = None,
        writable: bool = False,
        event_pages: bool = False,
        buffering: Buffering | None = None,
    ) -> None:
        runs = Connection(metadatastore_db, "metadatastore_db")
        assets = runs if asset_registry_db is None else Connection(asset_registry_db, "asset_registry_db")
        if assets.same_database(runs):
            assets = runs
        super().__init__((runs, assets), find_kwargs=find_kwargs, writable=writable, buffering=buffering)
        self.paged = event_pages

    @property
    def assets(self) -> Connection:
        """Where resources and datums are."""
        return self.connections[1]

    @property
    def _reader(self) -> EventReader:
        return EventReader(self.connection.database, self._times)

    def _find_run(self, uid: str) -> MongoRun | None:
        results = ask(self.connection.database, of_run(uid) + (of_assets(uid) if self._together else []))
        if not _has_start(results):
            return None
        if not self._together:
            results += ask(self.assets.database, of_assets(uid))
        return self._stored_run(results)

    def _find_runs(self, uids: Sequence[str]) -> dict[str, MongoRun]:
        results = self._ask_both(of_runs(uids), assets_of_runs(uids))
        owners: dict[tuple[str, str], list[str]] = {}
        for result in results:
            if result.mark in INNER:
                known = result.mark, str(result.doc.get("uid"))
                owners.setdefault(known, []).append(str(result.doc["run_start"]))
        descriptors, resources = ([uid for of, uid in owners if of == mark] for mark in INNER)
        results += self._ask_both(
            events_of(descriptors) if descriptors else [], stream_datums_of(resources) if resources else []
        )

        def runs_of(mark: str, doc: Mapping[str, Any]) -> Iterable[str]:
            path, inner = OWNERS[mark]
            return owners.get((inner, str(doc[path])), ()) if inner else (str(doc[path]),)

        parts = by_run(results, runs_of)
        return {uid: self._stored_run(parts[uid]) for uid in uids if _has_start(parts.get(uid, ()))}

    def _ask_both(self, of_runs: list[Section], of_assets: list[Section]) -> list[Result]:
        """Ask both databases, at once where they are one."""
        if self._together:
            return ask(self.connection.database, of_runs + of_assets) if of_runs or of_assets else []
        found = ask(self.connection.database, of_runs) if of_runs else []
        return found + (ask(self.assets.database, of_assets) if of_assets else [])

    def _stored_run(self, results: Iterable[Result]) -> MongoRun:
        found = _stored_run(UnionAnswer.of(results))
        # Only old writers' resources do not name their run; looking for them takes all datum ids of the events.
        if found.resources or not any(map(external_keys, found.descriptors)):
            return found
        resources = old_resources(self.connection.database, self.assets.database, found.descriptors)
        return replace(found, resources=resources)

    @property
    def _together(self) -> bool:
        return self.assets is self.connection

    def _datums(self, resource: str) -> Iterator[DatumPage]:
        database = self.assets.database
        names = names_of(resource)
        found = database["datum"].find({"resource": {"$in": names} if len(names) > 1 else resource})
        for some in chunks(filter(is_datum, map(from_bson, found)), DATUMS):
            keys = dict.fromkeys(key for datum in some for key in datum.get("datum_kwargs") or {})
            columns = {key: [(datum.get("datum_kwargs") or {}).get(key) for datum in some] for key in keys}
            yield DatumPage(resource, [str(datum["datum_id"]) for datum in some], columns)
        yield from stored_datum_pages(database["datum_page"].find({"resource": resource}))

    def find_datums(self, datum_ids: Sequence[str]) -> Iterator[tuple[Document, DatumPage]]:
        """Yield datums by their ids, of whichever run, with their resources."""
        with self.assets.asking(f"for {len(datum_ids)} datums"):
            yield from with_resources(self._datums_of_ids, self._resource, datum_ids)

    def _datums_of_ids(self, datum_ids: Sequence[str]) -> Iterator[DatumPage]:
        database, ids = self.assets.database, list(datum_ids)
        for datum in filter(is_datum, map(from_bson, database["datum"].find({"datum_id": {"$in": ids}}))):
            kwargs = {key: [value] for key, value in (datum.get("datum_kwargs") or {}).items()}
            yield DatumPage(str(datum["resource"]), [str(datum["datum_id"])], kwargs)
        pages = database["datum_page"].find({"resource": {"$in": resources_in(ids)}})
        yield from datums_in_pages(pages, ids)

    def _resource(self, uid: str) -> Document | None:
        names = names_of(uid)
        found = self.assets.database["resource"].find_one({"$or": [{"uid": uid}, {"_id": {"$in": names}}]})
        return None if found is None else {"uid": uid_of_resource(found), **from_bson(found)}

    def _indexes(self) -> Iterable[tuple[Connection, MongoIndex]]:
        return [(self.connection, index) for index in INDEXES] + [(self.assets, index) for index in INDEXES_OF_ASSETS]

    def belongings(self, uid: str) -> Belongings | None:
        return belongings_of(on_primary(self.connection), on_primary(self.assets), uid)

    def deletions(self, uid: str, belongings: Belongings) -> Iterator[Deletion]:
        return deletions_of(self.connection, self.assets, uid, belongings)

    def _insert(self, start: Document) -> RunInsert:
        uid = uid_of(start)
        kind = _PagedInsert if self.paged else _SinglesInsert
        insert = kind(self, uid)
        begin(insert.writes, "run_start", sized("start", start, _id=uid), "uid", uid)
        return insert


def _stored_run(answer: UnionAnswer) -> MongoRun:
    found = answer.found
    documents = {mark: [from_bson(doc) for doc in docs] for mark, docs in found.items()}
    stops = documents.get("stop")
    singles = {one["descriptor"]: (one["events"], one["last"]) for one in found.get("singles", ())}
    pages = [stored_page(one) for one in found.get("page", ())]
    return MongoRun(
        start=documents["start"][-1],
        stop=stops[-1] if stops else None,
        version=answer.digest,
        descriptors=sorted(documents.get("descriptor", ()), key=_time),  # the schema keeps no order of its own
        resources=documents.get("resource", ()),
        stream_resources=documents.get("stream_resource", ()),
        stream_datums=documents.get("stream_datum", ()),
        singles=singles,
        pages=pages,
    )


def _has_start(results: Iterable[Result]) -> bool:
    return any(result.mark == "start" for result in results)


def _time(doc: Document) -> float:
    moment = doc.get("time")
    return float(moment) if isinstance(moment, int | float) else 0.0


class _SinglesInsert(MongoInsert):
    """Writes events as databroker reads them, one document each."""

    def __init__(self, store: NormalizedStore, uid: str) -> None:
        super().__init__(uid, Writes(store.connection, store.buffering.patience), store.buffering)
        self.assets = Writes(store.assets, store.buffering.patience)
        self._events: list[RawBSONDocument] = []
        self._waiting_datums: list[RawBSONDocument] = []

    def _event(self, doc: Mapping[str, Any]) -> int:
        raw = sized("event", doc, _id=doc["uid"])
        self._events.append(raw)
        return len(raw.raw)

    def _datum(self, doc: Mapping[str, Any]) -> int:
        raw = sized("datum", doc, _id=doc["datum_id"])
        self._waiting_datums.append(raw)
        return len(raw.raw)

    def _write(self, name: str, doc: Mapping[str, Any]) -> None:
        writes = self.writes if name in COLLECTIONS else self.assets
        # A run has one stop: by the run's uid, a second one cannot be inserted.
        known = self.uid if name == "stop" else doc["uid"] if name == "descriptor" else f"{self.uid}/{doc['uid']}"
        raw = sized(name, doc, _id=known)
        writes.insert(COLLECTIONS.get(name, name), [raw], f"the {name} {doc['uid']} of run {self.uid}")

    def _send(self) -> None:
        self._insert(self.assets, "datum", self._waiting_datums)
        self._insert(self.writes, "event", self._events)

    def _insert(self, writes: Writes, kind: str, docs: list[RawBSONDocument]) -> None:
        """Insert documents, and hold them no more: those that are refused, too."""
        if docs:
            with self.noting_refused():
                writes.insert(kind, docs, f"the {kind}s of run {self.uid}")
        docs.clear()


class _PagedInsert(_SinglesInsert):
    """Writes events in pages."""

    def __init__(self, store: NormalizedStore, uid: str) -> None:
        super().__init__(store, uid)
        self._pages = PagedEvents(self.writes, "event_page", uid)

    def _event(self, doc: Mapping[str, Any]) -> int:
        return self._pages.hold(doc)

    def _write(self, name: str, doc: Mapping[str, Any]) -> None:
        super()._write(name, doc)
        if name == "descriptor":
            self._pages.introduce(doc)

    def _send(self) -> None:
        super()._send()
        self._pages.send()
