"""Queries come back from JSON as they went, and nothing else is taken for a query."""

from __future__ import annotations

import json

import pytest

from intake_bluesky.errors import UnsupportedQuery
from intake_bluesky.query import ALL, Key, Start, Stop, from_json, to_json


def test_the_format_is_stamped_and_strict_json() -> None:
    text = to_json(Start("x") == float("-inf"))
    observed = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert observed == {
        "intake-bluesky query": 1,
        "query": {
            "node": "Compare",
            "path": {"node": "Path", "document": "start", "segments": ["x"], "descend": False},
            "op": "==",
            "value": {"float": "-inf"},
        },
    }


@pytest.mark.parametrize("value", [{"node": "Compare"}, {"dict": {}}, {"float": "inf"}, {"query": [{}]}, [[]], {}])
def test_values_that_look_like_the_format(value: object) -> None:
    query = (Start("x") == value) & Start("y").any(Key("z").contains(value))
    assert from_json(to_json(query)) == query


def test_numbers_stay_what_they_are() -> None:
    for number in (2**64 + 1, -(10**300), 0.1, 1e-320, 1.0, 1):
        observed = from_json(to_json(Start("x") == number))
        assert observed == (Start("x") == number)
        assert type(observed.value) is type(number)  # type: ignore[attr-defined]


def test_a_pair_of_surrogates_is_refused_rather_than_joined() -> None:
    assert from_json(to_json(Start("x") == "\ud83d!\ude00")) == (Start("x") == "\ud83d!\ude00")
    with pytest.raises(UnsupportedQuery, match="surrogate pair"):
        to_json(Start("x") == "\ud83d\ude00")


NODE = {"intake-bluesky query": 1}
PATH = {"node": "Path", "document": "start", "segments": ["x"]}


@pytest.mark.parametrize(
    ("document", "named"),
    [
        ("{", "not the JSON"),
        (b"\xff\xfe\xff", "not the JSON"),
        ("[" * 100_000, "not the JSON"),
        ("[]", "intake-bluesky query"),
        ({"x": 1}, "intake-bluesky query"),
        ({"intake-bluesky query": 2, "query": {}}, "version 2"),
        ({"intake-bluesky query": "1", "query": {}}, "version '1'"),
        (NODE, "None"),
        ({**NODE, "query": 5}, "5"),
        ({**NODE, "query": [{"node": "Everything"}]}, "no query"),
        ({**NODE, "query": PATH}, "no query"),
        ({**NODE, "query": {"node": "Tagged", "text": "x"}}, "Tagged"),
        ({**NODE, "query": {"node": ["And"]}}, "And"),
        ({**NODE, "query": {"node": "Exists"}}, "Exists"),
        ({**NODE, "query": {"node": "Exists", "path": PATH, "extra": 1}}, "extra"),
        ({**NODE, "query": {"node": "Exists", "path": {**PATH, "document": "event"}}}, "event"),
        ({**NODE, "query": {"node": "Exists", "path": 5}}, "5"),
        ({**NODE, "query": {"node": "Not", "child": 5}}, "Not"),
        ({**NODE, "query": {"node": "And", "children": []}}, "And"),
        ({**NODE, "query": {"node": "And", "children": ["x", "y"]}}, "And"),
        ({**NODE, "query": {"node": "AnyItem", "path": PATH, "query": 5}}, "5"),
        ({**NODE, "query": {"node": "PartialUID"}}, "PartialUID"),
        ({**NODE, "query": {"node": "Regex", "path": PATH, "pattern": "("}}, r"'\('"),
        (
            {**NODE, "query": {"node": "Compare", "path": PATH, "op": "==", "value": {"x": 1}}},
            "not understood",
        ),
        ({**NODE, "query": {"node": "Compare", "path": PATH, "op": "is", "value": 1}}, "is"),
    ],
)
def test_what_is_no_query_is_refused(document: object, named: str) -> None:
    text = document if isinstance(document, str | bytes) else json.dumps(document)
    with pytest.raises(UnsupportedQuery, match=named):
        from_json(text)


def test_nan_in_json_is_refused() -> None:
    text = to_json(Start("x") == 1.5).replace("1.5", "NaN")
    with pytest.raises(UnsupportedQuery, match="NaN"):
        from_json(text)


def test_a_deep_query_is_refused_and_does_not_crash() -> None:
    text = to_json(~Stop("x").exists())
    body = json.loads(text)["query"]
    for _ in range(150):
        body = {"node": "AnyItem", "path": PATH, "query": body["child"] if body["node"] == "Not" else body}
    with pytest.raises(UnsupportedQuery):
        from_json(json.dumps({**NODE, "query": body}))
    assert from_json(to_json(ALL)) == ALL
