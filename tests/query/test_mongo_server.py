"""`from_mongo` and `matches` find the runs that a server speaking MongoDB's protocol finds.

A server of one's own is started, or ``MONGODB_URI`` names one.
"""

from __future__ import annotations

import math
import os
import random
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from pymongo import MongoClient
from pymongo.collection import Collection

from intake_bluesky.query import matches
from intake_bluesky.query.databroker import RawMongo
from intake_bluesky.testing.queries import Run
from tests.servers.mongo import REAL

SCALARS: list[Any] = [
    None, True, False, 0, 1, 2, -1, 1.0, 0.5, -0.0, 2**53 + 1, float(2**53), 2**63 - 1, math.nan, math.inf,
    "", "x", "Ni", "ni foil", "é", "\U0001f600", "nul\0",
]  # fmt: skip
# The server started here gets $all of null, of lists and at dotted keys wrong: the unit tests have these.
LISTED = ["$in", "$nin"] if REAL is None else ["$in", "$nin", "$all"]
KEYS = ("a", "b", "0", "1")


def random_value(chance: random.Random, depth: int = 0) -> Any:
    kind = chance.random()
    if depth < 3 and kind < 0.3:
        return [random_value(chance, depth + 1) for _ in range(chance.randrange(4))]
    if depth < 3 and kind < 0.5:
        keys = chance.sample(KEYS, chance.randrange(3))
        return {key: random_value(chance, depth + 1) for key in keys}
    return chance.choice(SCALARS)


def documents() -> list[dict[str, Any]]:
    chance = random.Random(20240305)
    drawn = [{key: random_value(chance) for key in chance.sample(KEYS, chance.randrange(3))} for _ in range(250)]
    return [
        {**document, "_id": number} for number, document in enumerate([*({"a": value} for value in SCALARS), *drawn])
    ]


DOCUMENTS = documents()


@pytest.fixture(scope="module")
def collection(mongo_client: MongoClient[dict[str, Any]]) -> Iterator[Collection[dict[str, Any]]]:
    database = f"intake_bluesky_test_{os.getpid()}"
    mongo_client[database].runs.insert_many(DOCUMENTS)
    yield mongo_client[database].runs
    mongo_client.drop_database(database)


def literals() -> st.SearchStrategy[Any]:
    plain = st.sampled_from([value for value in SCALARS if str(value) != "nan"])
    nested = st.recursive(
        plain,
        lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=2),
        max_leaves=3,
    )
    return nested | st.just(math.nan)


def conditions(*, nested: bool = True) -> st.SearchStrategy[dict[str, Any]]:
    scalars = st.sampled_from(SCALARS)
    single = [
        st.builds(lambda op, value: {op: value}, st.sampled_from(["$eq", "$ne"]), literals()),
        st.builds(lambda op, value: {op: value}, st.sampled_from(["$gt", "$gte", "$lt", "$lte"]), scalars),
        st.builds(lambda op, values: {op: values}, st.sampled_from(LISTED), st.lists(literals(), max_size=3)),
        st.builds(lambda wanted: {"$exists": wanted}, st.booleans()),
        st.builds(lambda size: {"$size": size}, st.integers(0, 2)),
        st.builds(
            lambda pattern, options: {"$regex": pattern, "$options": options},
            st.sampled_from(["i", "^N", "x|é", "^$"]),
            st.sampled_from(["", "i"]),
        ),
    ]
    some = st.one_of(single)
    if not nested:
        return some
    inside = conditions(nested=False)
    # What every item meets is refused as a condition on keys.
    over_keys = inside.filter(lambda condition: condition != {"$nin": []})
    return st.one_of(
        some,
        st.builds(lambda left, right: {**left, **right}, some, some),
        st.builds(lambda inner: {"$not": inner}, inside),
        st.builds(lambda inner: {"$elemMatch": inner}, inside),
        st.builds(lambda key, inner: {"$elemMatch": {key: inner}}, st.sampled_from([*KEYS, "a.b", "a.0"]), over_keys),
    )


def mongo_queries() -> st.SearchStrategy[dict[str, Any]]:
    keys = st.sampled_from([*KEYS, "a.b", "a.0", "a.1", "a.b.0", "a.0.b", "a.0.0", "a.a.a", "b.1.a"])
    fields = st.dictionaries(keys, conditions() | literals(), min_size=1, max_size=2) | st.builds(
        lambda key, values: {key: {"$all": values}},
        st.sampled_from(KEYS),
        st.lists(st.sampled_from(SCALARS[1:]), max_size=2),
    )
    return st.recursive(
        fields,
        lambda inner: st.builds(
            lambda op, parts: {op: parts},
            st.sampled_from(["$and", "$or", "$nor"]),
            st.lists(inner, min_size=1, max_size=2),
        ),
        max_leaves=3,
    )


def disputed(query: dict[str, Any]) -> bool:
    """Tell whether a query asks for null at an index of a list.

    MongoDB finds nothing at an index beyond the end of a list, not even a missing value that null would match
    (``path_test.cpp``); the server started here finds a missing value there.
    """
    return REAL is None and "None" in str(query) and re.search(r"'[a-z.]+\.\d", str(query)) is not None


def compared(query: dict[str, Any]) -> list[dict[str, Any]]:
    """Give the documents on which the server is trusted.

    In an ``$elemMatch`` over keys, an item that is itself a list counts as a document keyed by its indices
    for MongoDB (``expression_array.cpp``), and as nothing for the server started here.
    """
    if REAL is None and re.search(r"elemMatch': \{'[^$]", str(query)):
        return [document for document in DOCUMENTS if not holds_list_of_lists(document)]
    return DOCUMENTS


def holds_list_of_lists(value: Any) -> bool:
    if isinstance(value, dict):
        return any(holds_list_of_lists(item) for item in value.values())
    return isinstance(value, list) and any(isinstance(item, list) or holds_list_of_lists(item) for item in value)


@settings(max_examples=4 * settings().max_examples, suppress_health_check=list(HealthCheck))
@given(query=mongo_queries())
def test_the_same_runs_are_found(collection: Collection[dict[str, Any]], query: dict[str, Any]) -> None:
    assume(not disputed(query))
    node = RawMongo(query)
    found = {document["_id"] for document in collection.find(query, {"_id": 1})}
    for start in compared(query):
        assert matches(node, Run(start, None)) is (start["_id"] in found), start
