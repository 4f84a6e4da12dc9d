"""Documents that are delivered twice to MongoDB, as Kafka does: each is there once; another by its uid costs itself."""

from __future__ import annotations

import copy
import time
from collections import Counter
from typing import Any

import pytest
from pymongo.database import Database

from intake_bluesky import BlueskyCatalog
from intake_bluesky.documents.model import Document, identical
from intake_bluesky.errors import DuplicateRun, UnsupportedOperation
from intake_bluesky.storage.contract import RunInsert
from intake_bluesky.testing.compose import RunComposer, data_key
from intake_bluesky.testing.examples import Run
from intake_bluesky.testing.expected import stored_events
from intake_bluesky_mongo import Buffering, EmbeddedStore, NormalizedStore
from intake_bluesky_mongo.store import MongoStore

pytestmark = pytest.mark.slow  # a server answers alike on each Python

X = data_key("number")
EVENTS = 6


@pytest.fixture(params=["normalized", "paged", "embedded"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=[60.0, 0.0], ids=["buffered", "at_once"])
def seconds(request: pytest.FixtureRequest) -> float:
    return float(request.param)


def open_store(kind: str, uri: str, seconds: float = 60.0) -> MongoStore:
    settings = Buffering(flush_seconds=seconds, patience=5.0)
    if kind == "embedded":
        return EmbeddedStore(uri, writable=True, buffering=settings)
    return NormalizedStore(uri, writable=True, event_pages=kind == "paged", buffering=settings)


def every_kind(label: str = "redelivered") -> RunComposer:
    """A run with a document of each kind, its datums both alone and in a page."""
    run = RunComposer(label, scan_id=1)
    primary = run.descriptor({"x": X})
    resource = run.resource("ANY", root="/", path="nowhere")
    streamed = run.stream_resource("fly", mimetype="application/x-hdf5", uri="file:///nowhere.h5", dataset="x")
    for number in range(4):
        run.datum(resource, number, frame=number)
        run.event(primary, {"x": float(number)})
    ids = [f"{resource}/{number}" for number in (4, 5)]
    run.add("datum_page", {"resource": resource, "datum_id": ids, "datum_kwargs": {"frame": [4, 5]}})
    run.page(primary, {"x": [4.0, 5.0]})
    run.stream_datum(streamed, primary, (1, 7))
    run.stop()
    return run


def check(store: MongoStore, run: RunComposer) -> None:
    """All of the run is there, once."""
    store.refresh()
    observed = list(store.documents(run.run_uid))
    assert identical(stored_events(observed), stored_events(run.documents))
    for name in ("start", "descriptor", "resource", "stream_resource", "stream_datum", "stop"):
        assert [doc for kind, doc in observed if kind == name] == [doc for kind, doc in run.documents if kind == name]
    [resource] = [doc["uid"] for name, doc in run.documents if name == "resource"]
    datums = Counter(one for page in store.datum_pages(run.run_uid, resource) for one in page.datum_id)
    assert datums == Counter(f"{resource}/{number}" for number in range(6))
    assert BlueskyCatalog(store)[run.run_uid].primary.read()["x"].values.tolist() == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]


def in_a_page(event: Document) -> Document:
    parts = {part: {key: [value] for key, value in event[part].items()} for part in ("data", "timestamps", "filled")}
    return {**{key: [event[key]] for key in ("uid", "time", "seq_num")}, "descriptor": event["descriptor"], **parts}


def test_every_document_twice_is_there_once(
    database: Database[dict[str, Any]], database_uri: str, kind: str, seconds: float
) -> None:
    store, run = open_store(kind, database_uri, seconds), every_kind()
    write = BlueskyCatalog(store).writer()
    before_stop = run.documents[:-1]
    for name, doc in before_stop:
        write(name, doc)
        write(name, copy.deepcopy(doc))
    for name, doc in before_stop:
        write(name, doc)
        if name == "event":
            write("event_page", in_a_page(doc))
            write(name, dict(reversed(doc.items())))
    write(*run.documents[-1])
    check(store, run)
    store.close()


def test_the_stop_twice(database: Database[dict[str, Any]], database_uri: str, kind: str) -> None:
    store, run = open_store(kind, database_uri), every_kind()
    name, stop = run.documents[-1]
    with store.insert(run.documents[0][1]) as insert:
        for pair in [*run.documents[1:], (name, copy.deepcopy(stop))]:
            insert.write(*pair)
        for other in ((name, {**stop, "exit_status": "fail"}), run.documents[4]):
            with pytest.raises(UnsupportedOperation, match="closed"):
                insert.write(*other)
    check(store, run)
    store.close()


def others(name: str, doc: Document) -> Document:
    """Another document of the same uid."""
    if name in ("event", "event_page"):
        return {**doc, "data": {"x": -1.0 if name == "event" else [-1.0, doc["data"]["x"][1]]}}
    if name in ("datum", "datum_page"):
        return {**doc, "datum_kwargs": {"frame": -1 if name == "datum" else [-1, 5]}}
    return {**doc, "another": True}


def told_by(insert: RunInsert, documents: Run) -> list[str]:
    told = []
    for name, doc in documents:
        try:
            insert.write(name, doc)
        except DuplicateRun as error:
            told.append(str(error))
    return told


def test_another_document_of_a_uid_costs_itself(
    database: Database[dict[str, Any]], database_uri: str, kind: str, seconds: float
) -> None:
    store, run = open_store(kind, database_uri, seconds), every_kind()
    delivered = [pair for name, doc in run.documents[1:-1] for pair in ((name, doc), (name, others(name, doc)))]
    with store.insert(run.documents[0][1]) as insert:
        told = told_by(insert, [*delivered, run.documents[-1]])
    for name, doc in run.documents[1:-1]:
        uid = doc["uid"] if "uid" in doc else doc["datum_id"]
        first = uid[0] if isinstance(uid, list) else uid
        assert any(first in one for one in told), (name, told)
    check(store, run)
    store.close()


def test_what_the_timer_finds_costs_no_other_document(
    database: Database[dict[str, Any]], database_uri: str, kind: str
) -> None:
    store, run = open_store(kind, database_uri, 0.05), every_kind()
    place = next(place for place, (name, _) in enumerate(run.documents) if name == "event")
    insert = store.insert(run.documents[0][1])
    told = told_by(insert, run.documents[1 : place + 1])
    told += told_by(insert, [("event", others("event", run.documents[place][1]))])
    deadline = time.monotonic() + 10
    while insert._held and time.monotonic() < deadline:  # type: ignore[attr-defined]
        time.sleep(0.02)
    told += told_by(insert, run.documents[place + 1 :])
    insert.close()
    assert len(told) == 1
    check(store, run)
    store.close()


@pytest.mark.parametrize("index", [None, "datum_id"])
def test_datums_of_another_run(
    database: Database[dict[str, Any]], database_uri: str, seconds: float, index: str | None
) -> None:
    """Of the same ids, written here before or, with a unique index, by suitcase-mongo: the same, or refused."""
    store, run = open_store("normalized", database_uri, seconds), every_kind()
    datums = [doc for name, doc in run.documents if name == "datum"]
    if index:
        database["datum"].create_index(index, unique=True)
    for doc in (datums[0], others("datum", datums[1])):
        database["datum"].insert_one(dict(doc) if index else {"_id": doc["datum_id"], **doc})
    with store.insert(run.documents[0][1]) as insert:
        told = told_by(insert, run.documents[1:])
    assert len(told) == 1
    assert datums[1]["datum_id"] in told[0]
    assert datums[0]["datum_id"] not in told[0]
    check(store, run)
    store.close()


def test_another_document_is_told_also_after_a_lost_answer(
    database: Database[dict[str, Any]], database_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pymongo.collection import Collection
    from pymongo.errors import AutoReconnect, BulkWriteError

    lost = 0
    really = Collection.insert_many

    def losing(self: Any, *args: Any, **kwargs: Any) -> Any:
        nonlocal lost
        lost += 1
        try:
            return really(self, *args, **kwargs)
        finally:
            if lost % 2:
                raise AutoReconnect("the answer was lost") from BulkWriteError({})

    monkeypatch.setattr(Collection, "insert_many", losing)
    store, run = open_store("normalized", database_uri), every_kind()
    place = next(place for place, (name, _) in enumerate(run.documents) if name == "event")
    wrong = ("event", others("event", run.documents[place][1]))
    with store.insert(run.documents[0][1]) as insert:
        told = told_by(insert, [*run.documents[1:-1], wrong, run.documents[-1]])
    assert lost > 4
    assert len(told) == 1
    check(store, run)
    store.close()


@pytest.mark.parametrize("odd", ["event", "datum", "resource"])
def test_what_the_server_refuses_costs_itself(
    database: Database[dict[str, Any]], database_uri: str, seconds: float, odd: str
) -> None:
    """By its validation, between a datum that comes twice and another of its uid."""
    database.create_collection(odd, validator={"odd": {"$ne": True}})
    store, run = open_store("normalized", database_uri, seconds), every_kind()
    names = [name for name, _ in run.documents]
    doc, datum = run.documents[names.index(odd)][1], run.documents[names.index("datum")]
    field = "datum_id" if odd == "datum" else "uid"
    between = [(odd, {**doc, field: "the odd one", "odd": True}), datum, ("datum", others(*datum))]
    told = []
    with store.insert(run.documents[0][1]) as insert:
        place = names.index("event") + 1
        for pair in [*run.documents[1:place], *between, *run.documents[place:]]:
            try:
                insert.write(*pair)
            except (DuplicateRun, UnsupportedOperation) as error:
                told.append(str(error))
    text = "\n".join(told)
    assert "refused the odd one" in text
    assert "validation" in text
    assert f"by the uid of {datum[1]['datum_id']}" in text
    check(store, run)
    store.close()
