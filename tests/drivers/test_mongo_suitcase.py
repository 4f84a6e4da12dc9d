"""What suitcase-mongo writes is read; what is written here is as it and databroker have it."""

from __future__ import annotations

from typing import Any

import pytest
import suitcase.mongo_embedded
import suitcase.mongo_normalized
from pymongo.collection import Collection
from pymongo.database import Database

from intake_bluesky.documents.model import identical, to_plain
from intake_bluesky.testing.expected import stored_datums, stored_events
from intake_bluesky.testing.runs import EXAMPLES, Run
from intake_bluesky_mongo import EmbeddedStore, NormalizedStore
from intake_bluesky_mongo.store import MongoStore

# Of documents that suitcase knows, with integers that BSON holds.
RUNS = (
    "count", "scan", "interleaved", "rewound", "rewound_and_aborted", "failed", "ad_hdf5", "npy_seq", "datum_pages",
    "strings_and_booleans", "unicode", "inline_images", "not_finite", "nulls", "run_engine_types", "two_descriptors",
    "configuration_arrays", "integer_then_float", "ragged", "objects",
)  # fmt: skip


def without_order(events: Any) -> Any:
    """Events whatever the order of their keys, which event-model's pages have their own of."""
    return {stream: [dict(sorted(event.items())) for event in found] for stream, found in events.items()}


def check(store: MongoStore, run: Run) -> None:
    uid = run[0][1]["uid"]
    header = store.header(uid)
    for name, found in {"descriptor": header.descriptors, "resource": header.resources}.items():
        assert identical(list(found), [doc for kind, doc in run if kind == name])
    assert identical(header.start, run[0][1])
    assert identical(header.stop, run[-1][1] if run[-1][0] == "stop" else None)
    observed = list(store.documents(uid))
    assert identical(without_order(stored_events(observed)), without_order(stored_events(run)))
    assert identical(stored_datums(observed), stored_datums(run))
    for stream, events in stored_events(run).items():
        pages = list(store.event_pages(uid, stream))
        assert [n for page in pages for n in page.seq_num.tolist()] == [event["seq_num"] for event in events]
        assert header.streams[stream].events == len(events)


@pytest.mark.parametrize("name", RUNS)
def test_normalized_by_suitcase(
    name: str, database: Database[dict[str, Any]], database_uri: str, tmp_path: Any
) -> None:
    run = EXAMPLES[name](tmp_path)
    serializer = suitcase.mongo_normalized.Serializer(database, database)
    for kind, doc in run:
        serializer(kind, to_plain(doc))
    store = NormalizedStore(database_uri)
    check(store, run)
    store.close()


@pytest.mark.parametrize("name", [name for name in RUNS if name not in ("objects", "two_descriptors", "interleaved")])
def test_embedded_by_suitcase(
    name: str, database: Database[dict[str, Any]], database_uri: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = Collection.create_index

    def without_text(self: Any, keys: Any, **kwargs: Any) -> Any:
        return None if keys == [("$**", "text")] else create(self, keys, **kwargs)

    monkeypatch.setattr(Collection, "create_index", without_text)  # the server started here has no such indexes
    run = EXAMPLES[name](tmp_path)
    serializer = suitcase.mongo_embedded.Serializer(database)
    for kind, doc in run:
        serializer(kind, to_plain(doc))
    serializer.close()
    store = EmbeddedStore(database_uri)
    check(store, run)
    store.close()


def pure(doc: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in doc.items() if key != "_id"}


@pytest.mark.parametrize("name", ["scan", "rewound", "ad_hdf5"])
def test_what_is_written_is_what_suitcase_writes(
    name: str, database: Database[dict[str, Any]], database_uri: str, tmp_path: Any
) -> None:
    """The same documents in the same collections, but for ``_id``."""
    run = EXAMPLES[name](tmp_path)
    store = NormalizedStore(database_uri, writable=True)
    with store.insert(run[0][1]) as insert:
        for kind, doc in run[1:]:
            insert.write(kind, doc)
    theirs = database.client[f"{database.name}_theirs"]
    serializer = suitcase.mongo_normalized.Serializer(theirs, theirs)
    for kind, doc in run:
        serializer(kind, to_plain(doc))
    assert set(database.list_collection_names()) == set(theirs.list_collection_names())
    for collection in theirs.list_collection_names():
        observed = [dict(sorted(pure(doc).items())) for doc in database[collection].find()]
        expected = [dict(sorted(pure(doc).items())) for doc in theirs[collection].find()]
        assert identical(observed, expected), collection
    database.client.drop_database(theirs.name)
    store.close()


def test_what_is_written_embedded_has_what_databroker_reads(
    database: Database[dict[str, Any]], database_uri: str, tmp_path: Any
) -> None:
    run = EXAMPLES["ad_hdf5"](tmp_path)
    store = EmbeddedStore(database_uri, writable=True)
    with store.insert(run[0][1]) as insert:
        for kind, doc in run[1:]:
            insert.write(kind, doc)
    [header] = database.header.find()
    descriptor, resource = header["descriptors"][0]["uid"], header["resources"][0]["uid"]
    assert header["run_id"] == header["start"][0]["uid"]
    assert header["stop"][0]["exit_status"] == "success"
    assert (header[f"count_{descriptor}"], header["event_count"]) == (3, 3)
    assert (header[f"count_{resource}"], header["datum_count"]) == (3, 3)
    [page] = database.event.find({"descriptor": descriptor, "last_index": {"$gte": 0}, "first_index": {"$lte": 9}})
    assert (page["first_index"], page["last_index"], page["seq_num"]) == (0, 2, [1, 2, 3])
    [datums] = database.datum.find({"resource": resource, "last_index": {"$gte": 0}, "first_index": {"$lte": 9}})
    assert len(datums["datum_id"]) == 3
    store.close()
