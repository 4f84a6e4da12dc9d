"""Columns straight from BSON are those that decoding gives, whatever lies in the documents."""

from __future__ import annotations

import pickle
from typing import Any

import bson
import numpy as np
import pytest
from bson import Decimal128, Int64
from hypothesis import given
from hypothesis import strategies as st

from intake_bluesky.documents.model import identical, to_plain
from intake_bluesky.errors import UnsupportedOperation
from intake_bluesky_mongo.bson_columns import page_of_events, page_of_page, split_batch
from intake_bluesky_mongo.bson_documents import from_bson, ready

INTEGERS = st.integers(-(2**31), 2**31 - 1)
WIDE = st.integers(2**31, 2**63 - 1)
FLOATS = st.floats()
TEXTS = st.text(st.characters(codec="utf-8"), max_size=5)
SCALARS = (FLOATS, INTEGERS, WIDE, st.booleans(), TEXTS, st.none(), st.lists(FLOATS, max_size=3))
KEYS = ("x", "det.a", "$n", "")


def columns() -> st.SearchStrategy[list[Any]]:
    """Columns of one type, of two, and long ones, whose indices have more digits."""
    of_one = st.sampled_from(SCALARS).flatmap(lambda kind: st.lists(kind, max_size=12))
    long = st.builds(
        lambda value, length: [value] * length, st.sampled_from((0.5, 7, 2**40, True)), st.integers(9, 1200)
    )
    return st.one_of(of_one, st.lists(st.one_of(SCALARS), max_size=12), long)


def plain(value: Any) -> Any:
    return to_plain(np.asarray(value).tolist() if isinstance(value, np.ndarray) else value)


@given(st.dictionaries(st.sampled_from(KEYS), columns(), max_size=3), st.integers(0, 1200))
def test_pages(data: dict[str, list[Any]], events: int) -> None:
    page = {
        "_id": "a/0", "descriptor": "d", "uid": ["u"] * 3, "seq_num": list(range(1, events + 1)),
        "time": [0.5 * number for number in range(events)], "data": data, "timestamps": {},
        "filled": {"x": [True, "id"]},
    }  # fmt: skip
    observed = page_of_page(bson.encode(page))
    for part in ("seq_num", "time", "descriptor"):
        assert identical(plain(observed[part]), page[part])
    for part in ("data", "timestamps", "filled"):
        assert identical({key: plain(column) for key, column in observed[part].items()}, page[part])


@given(st.lists(st.tuples(*(kind for kind in SCALARS[:5])), min_size=1, max_size=20))
def test_single_events(rows: list[tuple[Any, ...]]) -> None:
    events = [
        {"seq_num": place, "time": 0.5, "data": dict(zip("abcde", row, strict=True)), "filled": {"a": False}}
        for place, row in enumerate(rows)
    ]
    found = page_of_events(b"".join(bson.encode(event) for event in events))
    sizes = {len(bson.encode(event)) for event in events}
    if found is None:
        assert len(sizes) > 1 or len({len(row[4].encode()) for row in rows}) > 1
        return
    [page] = found
    assert plain(page["seq_num"]) == [event["seq_num"] for event in events]
    for place, key in enumerate("abcde"):
        assert identical(plain(page["data"][key]), [row[place] for row in rows])
    assert page["filled"] == {"a": [False] * len(rows)}


@pytest.mark.parametrize(
    "changed",
    [
        {"data": {"y": 1.0}},
        {"data": {"x": 1}},
        {"data": {"x": None}},
        {"data": {"x": "12345678"}},
        {"tail": {"x": 1.0}},
    ],
    ids=repr,
)
def test_another_layout_is_seen(changed: dict[str, Any]) -> None:
    """Even of the same length."""
    event = {"seq_num": 1, "time": 0.5, "data": {"x": 1.0}}
    assert page_of_events(bson.encode(event) * 3) is not None
    assert page_of_events(bson.encode(event) + bson.encode({**event, **changed})) is None


def test_lists_whose_keys_are_no_indices() -> None:
    """Some old writers numbered them otherwise; decoding takes them as they stand."""
    values = {str(place + 5): float(place) for place in range(20)}
    raw = bson.encode({"seq_num": list(range(20)), "time": [0.5] * 20, "data": {"x": values}})
    raw = raw.replace(b"\x03x\x00", b"\x04x\x00")
    assert plain(page_of_page(raw)["data"]["x"]) == list(values.values())


def test_batches_are_split() -> None:
    documents: list[dict[str, Any]] = [{"a": 1}, {"b": "text"}, {}]
    assert [bson.decode(raw) for raw in split_batch(b"".join(bson.encode(doc) for doc in documents))] == documents


def test_what_other_writers_store() -> None:
    stored = {
        "_id": 5,
        "n": Int64(2**40),
        "d": Decimal128("2.5"),
        "whole": Decimal128(str(2**70)),
        "l": [Int64(1), [2]],
    }
    observed = from_bson(stored)
    assert observed == {"n": 2**40, "d": 2.5, "whole": 2**70, "l": [1, [2]]}
    assert [type(observed[key]) for key in ("n", "d", "whole")] == [int, float, int]
    assert type(observed["l"][0]) is int


def values() -> st.SearchStrategy[Any]:
    keys = TEXTS.filter(lambda key: "\0" not in key)
    scalars = st.one_of(SCALARS) | st.integers(-(10**34) + 1, 10**34 - 1)
    return st.recursive(
        scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3), max_leaves=8
    )


@given(values())
def test_documents_come_back(value: Any) -> None:
    document = {"uid": "abc", "value": value}
    assert identical(from_bson(bson.decode(ready("start", document).raw)), document)


def test_what_bson_does_not_hold() -> None:
    with pytest.raises(UnsupportedOperation, match="more than the 34 digits"):
        ready("start", {"uid": "abc", "n": 10**34})
    assert pickle.loads(pickle.dumps(from_bson(ready("start", {"uid": "abc"})))) == {"uid": "abc"}


@pytest.mark.parametrize("value", ["half \ud800", "\udc00", 10**34, -(10**40), [1, "\ud800", 2**70], "plain é"])
def test_what_bson_has_no_form_for_is_kept_in_events_and_refused_elsewhere(value: Any) -> None:
    event = {"uid": "e", "data": {"x": value, "y": 1.5}}
    assert identical(from_bson(ready("event", event)), event)
    if value != "plain é":
        with pytest.raises(UnsupportedOperation, match="x"):
            ready("start", {"uid": "a", "x": value})
