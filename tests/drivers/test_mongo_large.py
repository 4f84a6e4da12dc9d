"""Events that no document of MongoDB can hold."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pymongo.database import Database

from intake_bluesky import BlueskyCatalog
from intake_bluesky.documents.model import identical
from intake_bluesky.errors import DamagedRun, UnsupportedOperation
from intake_bluesky.testing.compose import RunComposer, data_key
from intake_bluesky.testing.examples import Run
from intake_bluesky.testing.expected import stored_events
from intake_bluesky_mongo import EmbeddedStore, NormalizedStore
from intake_bluesky_mongo.large_values import COLLECTION, divided
from intake_bluesky_mongo.store import MongoStore

LENGTH = 1_500_000  # numbers, which are 17 bytes of BSON each, or so: two pieces


@pytest.fixture(params=["normalized", "paged", "embedded"])
def store(request: pytest.FixtureRequest, database: Database[dict[str, Any]], database_uri: str) -> MongoStore:
    if request.param == "embedded":
        return EmbeddedStore(database_uri, writable=True)
    return NormalizedStore(database_uri, writable=True, event_pages=request.param == "paged")


def large_run(*, length: int = LENGTH) -> Run:
    """Three events, of which the second has two values, one of them large."""
    run = RunComposer("large values", scan_id=1)
    primary = run.descriptor({"image": data_key("array", [None]), "x": data_key("number")})
    run.event(primary, {"image": [1.0, 2.0], "x": 1.0})
    run.event(primary, {"image": (np.arange(length) / 8).tolist(), "x": 2.0})
    run.event(primary, {"image": [3.0], "x": 3.0})
    run.stop()
    return run.documents


def write(store: MongoStore, run: Run) -> str:
    with store.insert(run[0][1]) as insert:
        for name, doc in run[1:]:
            insert.write(name, doc)
    return str(run[0][1]["uid"])


def test_a_large_value_comes_back(store: MongoStore, database: Database[dict[str, Any]]) -> None:
    run = large_run()
    uid = write(store, run)
    assert database[COLLECTION].count_documents({}) == 2
    assert identical(stored_events(list(store.documents(uid))), stored_events(run))
    dataset = BlueskyCatalog(store)[uid].primary.read()
    assert dataset["image"].shape == (3, LENGTH)
    np.testing.assert_array_equal(dataset["image"][1], np.arange(LENGTH) / 8)
    np.testing.assert_array_equal(dataset["x"], [1.0, 2.0, 3.0])
    store.close()


def test_others_find_the_rest_of_the_event(store: MongoStore, database: Database[dict[str, Any]]) -> None:
    """What is not asked for is not fetched: the pieces may as well be lost."""
    uid = write(store, large_run())
    database[COLLECTION].delete_one({"_id": {"$regex": "/image/1$"}})
    [numbers] = [page.data["x"] for page in store.event_pages(uid, "primary", data={"x"})]
    assert np.asarray(numbers).tolist() == [1.0, 2.0, 3.0]
    with pytest.raises(DamagedRun, match=f"in 2 pieces into the collection '{COLLECTION}', and 1 of them"):
        list(store.event_pages(uid, "primary", data={"image"}))
    store.close()


def test_what_is_no_value_stays_and_is_refused(store: MongoStore, database: Database[dict[str, Any]]) -> None:
    run = large_run(length=3)
    insert = store.insert(run[0][1])
    insert.write(*run[1])
    event = {**run[2][1], "timestamps": {"image": 1.0, "x": 1.0, "note": "x" * (17 * 2**20)}}
    with pytest.raises(UnsupportedOperation, match=r"MongoDB takes 16,\d+,\d+"):
        insert.write("event", event)
    with pytest.raises(UnsupportedOperation, match="this start document"):
        store.insert({"uid": "another", "time": 1.0, "table": "x" * (17 * 2**20)})
    for name, doc in run[2:]:
        insert.write(name, doc)
    insert.close()
    assert identical(stored_events(list(store.documents(run[0][1]["uid"]))), stored_events(run))
    assert store.count() == 1
    store.close()


def test_the_largest_values_are_taken() -> None:
    data = {"small": 1.0, "text": "t" * 5000, "list": [1.0] * 2000}
    rest, pieces = divided({"uid": "e", "data": data, "timestamps": {}}, 8000)
    assert rest["data"] == {**data, "list": {COLLECTION: "e/list", "pieces": 1}}
    assert [piece["_id"] for piece in pieces] == ["e/list/0"]
