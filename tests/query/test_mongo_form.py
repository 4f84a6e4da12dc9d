"""MongoDB's form has MongoDB's meaning: facts of its manual and of the unit tests of its matcher."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from intake_bluesky.errors import UnsupportedQuery
from intake_bluesky.query import ALL, Key, Path, Query, Start, Stop, from_mongo, matches
from intake_bluesky.query.paths import MISSING, lookup
from intake_bluesky.testing.queries import Run


def found(query: Mapping[str, Any], start: dict[str, Any], stop: dict[str, Any] | None = None) -> bool:
    return matches(from_mongo(query), Run(start, stop))


def a(key: str = "a") -> Start:
    return Start(key, descend=True)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, ALL),
        ({"a": 1}, a() == 1),
        ({"start.a": 1}, a() == 1),
        ({"stop.a": 1}, Stop("a", descend=True) == 1),
        ({"start.stop.a": 1}, a("stop.a") == 1),
        ({"stop": 1}, a("stop") == 1),
        ({"a": 1, "b": 2}, (a() == 1) & (a("b") == 2)),
        ({"a": {"$gt": 1, "$lt": 5}}, (a() > 1) & (a() < 5)),
        ({"a": {"$ne": 1}}, a() != 1),
        ({"a": {"$nin": [1]}}, a().not_in([1])),
        ({"a": {"$in": []}}, ~ALL),
        ({"a": {"$in": [1, re.compile("x"), math.nan]}}, a().is_in([1]) | a().regex("x") | a().is_nan()),
        ({"a": {"$exists": 0}}, ~a().exists()),
        ({"a": {"$regex": "^x", "$options": "si"}}, a().regex("^x", flags="is")),
        ({"a": re.compile("^x", re.IGNORECASE)}, a().regex("^x", ignore_case=True)),
        ({"a": {"$not": re.compile("x")}}, ~a().regex("x")),
        ({"a": {"$not": {"$gt": 1, "$lt": 5}}}, ~((a() > 1) & (a() < 5))),
        ({"a": {"$all": [1, 2]}}, (a() == 1) & (a() == 2)),
        ({"a": {"$all": []}}, ~ALL),
        ({"a": {"$size": 2.0}}, a().has_size(2)),
        ({"a": {"$gte": None}}, a() == None),  # noqa: E711
        ({"a": {"$gt": None}}, ~ALL),
        ({"a": {"$lte": math.nan}}, a().is_nan()),
        ({"a": {"$lt": math.nan}}, ~ALL),
        ({"a": math.nan}, a().is_nan()),
        ({"$or": [{"a": 1}, {"b": 2}]}, (a() == 1) | (a("b") == 2)),
        ({"$or": [{}, {"b": 2}]}, ALL),
        ({"$nor": [{"a": 1}, {"b": 2}]}, ~((a() == 1) | (a("b") == 2))),
        ({"$and": [{"a": 1}, {"a": 2}], "b": 3}, (a() == 1) & (a() == 2) & (a("b") == 3)),
        (
            {"a": {"$elemMatch": {"b": 1, "c": {"$gt": 2}}}},
            a().any((Key("b", descend=True) == 1) & (Key("c", descend=True) > 2)),
        ),
        ({"time": {"$gt": datetime(2024, 1, 1, tzinfo=UTC)}}, a("time") > 1704067200.0),
    ],
    ids=repr,
)
def test_the_tree_of_a_query(query: Mapping[str, Any], expected: Query) -> None:
    assert from_mongo(query) == expected


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ({"a": {"$near": [1, 2]}}, r"'\$near'.*\$elemMatch.*\$size.*\$nor"),
        ({"a": {"$type": "int"}}, r"\$type"),
        ({"a": {"$mod": [2, 0]}}, r"\$mod"),
        ({"$text": {"$search": "x"}}, r"\$text"),
        ({"$where": "1"}, r"\$where"),
        ({"$expr": {}}, r"\$expr"),
        ({"$not": {"a": 1}}, r"\$not"),
        ({"a": {"$or": [1]}}, r"\$or"),
        ({"a": {"$gt": 1, "b": 2}}, "'b'"),
        ({"a": {"b": {"$gt": 1}}}, "with dots"),
        ({"a": {"$eq": {"b": {"$gt": 1}}}}, "with dots"),
        ({"a": {"$gt": [1]}}, "no order"),
        ({"a": {"$lt": {"b": 1}}}, "no order"),
        ({"a": {"$eq": re.compile("x")}}, "use \\$regex"),
        ({"a": {"$ne": re.compile("x")}}, "use \\$regex"),
        ({"a": {"$in": "text"}}, r"\$in takes a list"),
        ({"a": {"$in": [{"$gt": 1}]}}, "with dots"),
        ({"a": {"$all": 5}}, r"\$all takes a list"),
        ({"a": {"$exists": "yes"}}, r"\$exists"),
        ({"a": {"$not": 5}}, r"\$not takes operators"),
        ({"a": {"$not": {}}}, r"\$not takes operators"),
        ({"a": {"$not": {"b": 1}}}, r"\$not takes operators"),
        ({"a": {"$options": "i"}}, r"\$options"),
        ({"a": {"$regex": "x", "$options": "q"}}, "imsx"),
        ({"a": {"$regex": 5}}, r"\$regex"),
        ({"a": {"$regex": "(x"}}, r"\(x"),
        ({"a": {"$elemMatch": {}}}, r"\$elemMatch"),
        ({"a": {"$elemMatch": 5}}, r"\$elemMatch"),
        ({"a": {"$elemMatch": {"$or": [{}, {"b": 1}]}}}, r"\$elemMatch"),
        ({"a": {"$elemMatch": {"b": {"$nin": []}}}}, r"\$elemMatch"),
        ({"a": {"$size": -1}}, "-1"),
        ({"a": {"$size": 1.5}}, "1.5"),
        ({"$or": []}, "one or more"),
        ({"$and": {"a": 1}}, r"\$and"),
        ({"$or": [5]}, "5"),
        ({"": 1}, "empty"),
        ({"a..b": 1}, "empty"),
        ({5: 1}, "str"),
        ([], "dict"),
        ({"a": b"x"}, "bytes"),
        ({"a": [math.nan]}, "is_nan"),
        ({"a": datetime(2024, 1, 1)}, "time zone"),
    ],
)
def test_what_is_refused_is_named(query: Any, named: str) -> None:
    with pytest.raises(UnsupportedQuery, match=named):
        from_mongo(query)


def test_a_bottomless_query_is_refused() -> None:
    query: dict[str, Any] = {}
    query["$and"] = [query]
    with pytest.raises(UnsupportedQuery, match="too deeply"):
        from_mongo(query)


@pytest.mark.parametrize(
    ("key", "document", "expected"),
    [
        ("a", {"a": 4}, [4]),
        ("a", {"a": [5]}, [5, [5]]),
        ("a", {"a": []}, [[]]),
        ("a", {"a": [[5]]}, [[5], [[5]]]),
        ("a", {"b": 4}, [MISSING]),
        ("a.b", {"a": 4}, [MISSING]),
        ("a.b", {"a": [4]}, []),
        ("a.b", {"a": []}, []),
        ("a.b", {"a": {"b": []}}, [[]]),
        ("a.b", {"a": [{"b": 5}, 3, {}, {"b": [9, 11]}, {"b": 7}]}, [5, MISSING, 9, 11, [9, 11], 7]),
        ("a.b", {"a": [[{"b": 5}]]}, []),
        ("a.b.c", {"a": [{"b": [{"c": 5}, {}]}, {"b": {"c": 6}}]}, [5, MISSING, 6]),
        ("a.1", {"a": [5, 7, 3]}, [7]),
        ("a.1", {"a": [5, [2, 4], 3]}, [[2, 4]]),
        ("a.1", {"a": [5, {"1": 4}, 3]}, [4, {"1": 4}]),
        ("a.1", {"a": {"1": 4}}, [4]),
        ("a.1.b", {"a": [5, {"b": 4}, 3]}, [MISSING, 4]),
        ("a.1.b", {"a": [5, [{"b": 4}], 3]}, [4]),
        ("a.1.0", {"a": [5, [2, 4]]}, [2]),
        ("a.01", {"a": [5, 7]}, []),
    ],
)
def test_what_a_descending_path_finds(key: str, document: dict[str, Any], expected: list[Any]) -> None:
    assert list(lookup(document, Path.parse(key, document="start", descend=True))) == expected


@pytest.mark.parametrize("value", [1, [0, 1], [1.0], [[2], 1]])
def test_an_item_of_a_list_satisfies_equality(value: Any) -> None:
    assert found({"a": 1}, {"a": value})
    assert found({"a": {"$in": [7, 1]}}, {"a": value})
    assert not found({"a": {"$ne": 1}}, {"a": value})
    assert not found({"a": {"$nin": [1]}}, {"a": value})


@pytest.mark.parametrize("value", [2, True, "1", [[1]], {"a": 1}, None, []])
def test_and_nothing_else_does(value: Any) -> None:
    assert not found({"a": 1}, {"a": value})
    assert found({"a": {"$ne": 1}}, {"a": value})


def test_a_list_equals_the_whole_or_an_item() -> None:
    assert found({"a": [1, 2]}, {"a": [1, 2]})
    assert found({"a": [1, 2]}, {"a": [[1, 2], 3]})
    assert not found({"a": [1, 2]}, {"a": [2, 1]})
    assert not found({"a": [1, 2]}, {"a": [[[1, 2]]]})


def test_different_items_may_satisfy_different_operators() -> None:
    assert found({"a": {"$gt": 1, "$lt": 5}}, {"a": [0, 9]})
    assert not found({"a": {"$elemMatch": {"$gt": 1, "$lt": 5}}}, {"a": [0, 9]})
    assert found({"a": {"$elemMatch": {"$gt": 1, "$lt": 5}}}, {"a": [0, 3]})
    assert not found({"a": {"$not": {"$gt": 1}}}, {"a": [0, 9]})


def test_null_is_also_missing() -> None:
    for start in ({}, {"a": None}, {"a": [1, None]}):
        assert found({"a": None}, start)
        assert found({"a": {"$in": [None]}}, start)
        assert found({"a": {"$gte": None}}, start)
        assert not found({"a": {"$ne": None}}, start)
        assert not found({"a": {"$gt": None}}, start)
    assert found({"a.b": None}, {"a": 4})
    assert found({"a.b": None}, {"a": [{"b": 1}, {}]})
    others: list[dict[str, Any]] = [{"a": [4]}, {"a": []}, {"a": {"b": 0}}, {"a": [{"b": 1}]}]
    for start in others:
        assert not found({"a.b": None}, start)
    assert found({"stop.x": None}, {})
    assert found({"stop.x": {"$exists": False}}, {}, {"y": 1})
    assert not found({"a": {"$exists": False}}, {"a": None})


def test_dicts_are_equal_in_the_same_order() -> None:
    assert found({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 2}})
    assert not found({"a": {"b": 1, "c": 2}}, {"a": {"c": 2, "b": 1}})
    assert not found({"a": {"b": 1}}, {"a": {"b": 1, "c": 2}})
    assert found({"a": {}}, {"a": {}})


def test_nan_equals_nan_and_is_in_no_order() -> None:
    start = {"a": math.nan}
    assert found({"a": math.nan}, start)
    assert found({"a": {"$gte": math.nan}}, start)
    assert not found({"a": {"$ne": math.nan}}, start)
    for operator in ("$gt", "$lt", "$gte", "$lte"):
        assert not found({"a": {operator: 1}}, start)


def test_elem_match_over_keys_passes_by_what_has_none() -> None:
    query = {"a": {"$elemMatch": {"b": {"$exists": False}}}}
    assert found(query, {"a": [{"c": 1}]})
    assert found(query, {"a": [[5]]})
    assert not found(query, {"a": [5, None]})
    assert not found(query, {"a": {"c": 1}})
    assert not found({"a": {"$elemMatch": {"b": {"$gt": None}}}}, {"a": [{"b": 1}, 5]})
    assert found({"a": {"$elemMatch": {"0": 5}}}, {"a": [[5]]})
    assert found({"a": {"$all": [{"$elemMatch": {"b": 1}}, {"$elemMatch": {"b": 2}}]}}, {"a": [{"b": 1}, {"b": 2}]})


def test_elem_match_over_items_takes_each_as_it_is() -> None:
    assert not found({"a": {"$elemMatch": {"$gt": 1}}}, {"a": [[5]]})
    assert found({"a": {"$elemMatch": {"$eq": [5]}}}, {"a": [[5]]})
    assert found({"a": {"$elemMatch": {"$size": 1}}}, {"a": [[5]]})
    assert found({"a": {"$elemMatch": {"$elemMatch": {"$gt": 1}}}}, {"a": [[5]]})
    assert found({"a": {"$elemMatch": {"$not": {"$gt": 1}}}}, {"a": [7, 0]})


def test_size_is_of_the_list_itself() -> None:
    assert found({"a": {"$size": 1}}, {"a": [[1, 2]]})
    assert not found({"a": {"$size": 2}}, {"a": [[1, 2]]})
    assert found({"a.b": {"$size": 2}}, {"a": [{"b": [1, 2]}]})
    assert not found({"a": {"$size": 0}}, {})


def test_regex_matches_text_or_text_in_a_list() -> None:
    assert found({"a": {"$regex": "i"}}, {"a": "Ni"})
    assert found({"a": {"$regex": "i"}}, {"a": [5, "Ni"]})
    assert not found({"a": {"$regex": "i"}}, {"a": {"b": "Ni"}})
    assert found({"a": {"$not": {"$regex": "i"}}}, {})
