"""Documents: sameness, plainness, today's form, pages."""

from __future__ import annotations

import copy
import enum
import json
import math
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from dask.base import tokenize
from hypothesis import given
from hypothesis import strategies as st

from intake_bluesky.documents.columns import Ragged
from intake_bluesky.documents.model import (
    ALL_KEYS,
    Document,
    EventPage,
    ReadOnlyDocument,
    RunSummary,
    StreamLayout,
    identical,
    is_external,
    is_streamed,
    stream_name,
    to_plain,
)
from intake_bluesky.documents.pages import event_page, events_of, gather, normalise
from intake_bluesky.errors import DamagedRun
from intake_bluesky.testing.expected import cells, same_value, stored_events
from intake_bluesky.testing.odd_runs import run_engine_types
from intake_bluesky.testing.strategies import metadata, runs


class _State(enum.Enum):
    IDLE = "idle"


class _Level(enum.IntEnum):
    LOW = 1


class _Flavoured(float):
    pass


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.int8(3), 3),
        (np.float32(0.5), 0.5),
        (np.longdouble(0.5), 0.5),
        (np.array([0.5], np.longdouble), [0.5]),
        (np.bool_(True), True),
        (np.str_("a"), "a"),
        (np.arange(4).reshape(2, 2), [[0, 1], [2, 3]]),
        (np.array(1.5), 1.5),
        ((1, (2,)), [1, [2]]),
        pytest.param({"b", "a"}, ["a", "b"], id="set"),
        (_State.IDLE, "idle"),
        (_Level.LOW, 1),
        (_Flavoured(1.5), 1.5),
        (ReadOnlyDocument({"a": (1,)}), {"a": [1]}),
        (b"raw", b"raw"),
        (None, None),
    ],
    ids=repr,
)
def test_to_plain(value: Any, expected: Any) -> None:
    observed = to_plain({"x": value})["x"]
    assert type(observed) is type(expected)
    assert observed == expected


def test_to_plain_copies_deeply() -> None:
    doc = {"a": [{"b": [1]}]}
    observed = to_plain(doc)
    observed["a"][0]["b"].append(2)
    assert doc == {"a": [{"b": [1]}]}


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        (1, 1.0, False),
        (1, True, False),
        (0, False, False),
        (math.nan, math.nan, True),
        (math.nan, 1.0, False),
        ([1, math.nan], (1, math.nan), True),
        (None, math.nan, False),
        ("1", 1, False),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, False),
        ({"a": 1}, {"a": 1, "b": 2}, False),
        ([1], [1, 2], False),
        (2**70, 2**70, True),
        (np.float64(1), 1.0, True),
        (_State.IDLE, "idle", True),
        (np.arange(2), [0, 1], True),
        (ReadOnlyDocument(a=1), {"a": 1}, True),
    ],
    ids=repr,
)
def test_identical(a: Any, b: Any, expected: bool) -> None:
    assert identical(a, b) is expected
    assert identical(b, a) is expected
    assert identical({"x": [a]}, {"x": [b]}) is expected


@given(metadata())
def test_identical_to_its_copy_and_pickle(doc: Document) -> None:
    assert identical(doc, copy.deepcopy(doc))
    assert identical(doc, pickle.loads(pickle.dumps(ReadOnlyDocument(doc))))


def _change(doc: ReadOnlyDocument, how: str) -> None:
    match how:
        case "set":
            doc["uid"] = "b"
        case "del":
            del doc["uid"]
        case "|=":
            doc |= {"uid": "b"}
        case "popitem" | "clear":
            getattr(doc, how)()
        case _:
            getattr(doc, how)("uid", "b") if how != "update" else doc.update(uid="b")


@pytest.mark.parametrize("how", ["set", "del", "|=", "popitem", "clear", "pop", "setdefault", "update"])
def test_read_only_documents_refuse_change(how: str) -> None:
    doc = ReadOnlyDocument({"uid": "a", "x": [1]})
    with pytest.raises(TypeError, match="to_dict"):
        _change(doc, how)
    assert doc == {"uid": "a", "x": [1]}


@pytest.mark.parametrize(
    "change",
    [
        lambda doc: doc["sample"].update(name="b"),
        lambda doc: doc["motors"].append("y"),
        lambda doc: doc["motors"].__setitem__(0, "y"),
        lambda doc: doc["layers"][0].pop("name"),
        lambda doc: doc["layers"][0]["sizes"].sort(),
        lambda doc: doc["layers"].__iadd__([1]),
    ],
)
def test_read_only_documents_refuse_change_inside(change: Callable[[Any], Any]) -> None:
    content = {"sample": {"name": "a"}, "motors": ["x"], "layers": [{"name": "top", "sizes": [2, 1]}]}
    doc = ReadOnlyDocument(content)
    for one in (doc, pickle.loads(pickle.dumps(doc)), copy.deepcopy(doc)):
        with pytest.raises(TypeError, match="to_dict"):
            change(one)
        assert one == content
    assert json.loads(json.dumps(doc)) == content


def test_read_only_documents_give_changeable_copies() -> None:
    doc = ReadOnlyDocument({"uid": "a", "x": [1]})
    changeable = doc.to_dict()
    changeable["x"].append(2)
    assert type(changeable) is dict
    assert doc["x"] == [1]


def test_read_only_documents_pickle_copy_and_tokenise_by_uid() -> None:
    doc = ReadOnlyDocument({"uid": "a", "x": [1]})
    for twin in (pickle.loads(pickle.dumps(doc)), copy.copy(doc), copy.deepcopy(doc)):
        assert type(twin) is ReadOnlyDocument
        assert twin == doc
        assert tokenize(twin) == tokenize(doc)
    assert tokenize(doc) != tokenize(ReadOnlyDocument({"uid": "b", "x": [1]}))
    assert tokenize(ReadOnlyDocument(datum_id="a/1")) != tokenize(ReadOnlyDocument(datum_id="a/2"))


def test_all_keys_is_one_object_in_every_process() -> None:
    assert pickle.loads(pickle.dumps(ALL_KEYS)) is ALL_KEYS
    assert "anything" in ALL_KEYS


@pytest.mark.parametrize(
    ("start", "time", "scan_id"),
    [
        ({"time": 1.5, "scan_id": 3}, 1.5, 3),
        ({"time": 2, "scan_id": 2**70}, 2.0, 2**70),
        ({"time": np.float64(1.5), "scan_id": np.int64(3)}, 1.5, 3),
        ({"time": "yesterday", "scan_id": "3"}, None, None),
        ({"time": True, "scan_id": True}, None, None),
        ({"time": math.nan, "scan_id": 3.0}, None, None),
        ({"time": math.inf}, None, None),
        ({"time": 10**400}, None, None),
        ({"time": None, "scan_id": None}, None, None),
        ({}, None, None),
    ],
    ids=repr,
)
def test_summary_takes_good_times_and_scan_ids(start: Document, time: float | None, scan_id: int | None) -> None:
    observed = RunSummary.of({"uid": "a", **start}, None)
    assert (observed.time, observed.scan_id) == (time, scan_id)
    assert type(observed.time) in (float, type(None))


def test_names_and_places_of_data() -> None:
    assert [stream_name(d) for d in ({}, {"name": None}, {"name": ""}, {"name": "x"})] == ["primary"] * 3 + ["x"]
    assert is_external({"external": "FILESTORE:"})
    assert not is_streamed({"external": "FILESTORE:"})
    assert is_streamed({"external": "STREAM:"})
    assert not is_external({"external": ""})
    assert not is_external({"external": None})


def _event(descriptor: str, seq_num: int, **data: Any) -> Document:
    stamps = dict.fromkeys(data, 0.5)
    return {
        "uid": f"e{seq_num}",
        "time": float(seq_num),
        "seq_num": seq_num,
        "descriptor": descriptor,
        "data": data,
        "timestamps": stamps,
        "filled": {},
    }


def test_bulk_events_become_pages_in_stored_order() -> None:
    turns = [_event("a", 1, x=1), _event("a", 2, x=2), _event("b", 3, x=3), _event("a", 4, x=4)]
    pages = list(normalise("bulk_events", {"primary": turns, "other": [_event("c", 1, y=1)]}))
    assert [name for name, _ in pages] == ["event_page"] * 4
    assert [(doc["descriptor"], doc["seq_num"]) for _, doc in pages] == [
        ("a", [1, 2]), ("b", [3]), ("a", [4]), ("c", [1]),
    ]  # fmt: skip
    assert identical([event for _, page in pages[:3] for event in events_of(page)], turns)


def test_bulk_events_with_keys_that_come_and_go_have_nulls() -> None:
    [(_, page)] = normalise("bulk_events", {"primary": [_event("a", 1, x=1), _event("a", 2, y=2)]})
    assert page["data"] == {"x": [1, None], "y": [None, 2]}


def test_bulk_datum_becomes_a_page() -> None:
    bulk = {"resource": "r", "datum_ids": ["r/0", "r/1"], "datum_kwarg_list": [{"index": 0}, {"index": 1}]}
    [(name, doc)] = normalise("bulk_datum", bulk)
    assert (name, doc) == (
        "datum_page",
        {"resource": "r", "datum_id": ["r/0", "r/1"], "datum_kwargs": {"index": [0, 1]}},
    )


def test_old_stream_resource_gets_todays_fields() -> None:
    old = {
        "uid": "r",
        "data_key": "image",
        "spec": "AD_HDF5_SWMR_STREAM",
        "root": "/data/",
        "resource_path": "/day/a.h5",
        "resource_kwargs": {"path": "/entry"},
    }
    kept = dict(old)
    [(name, doc)] = normalise("stream_resource", old)
    assert old == kept
    assert (name, doc["mimetype"], doc["uri"]) == ("stream_resource", "application/x-hdf5", "/data/day/a.h5")
    assert doc["parameters"] == {"path": "/entry"}
    assert doc["data_key"] == "image"


def test_todays_documents_pass_as_they_are() -> None:
    for name in ("start", "event", "event_page", "stop", "stream_resource"):
        doc = {"uid": "a", "uri": "file:///a"}
        [(observed, same)] = normalise(name, doc)
        assert observed == name
        assert same is doc


def test_event_page_of_a_page() -> None:
    doc = {
        "uid": ["a", "b"],
        "descriptor": "d",
        "seq_num": [1, 2],
        "time": [1, 2.5],
        "data": {"x": [1, None], "image": ["r/0", "r/1"], "peaks": [[1.5], []]},
        "timestamps": {"x": [0.5, 0.75]},
        "filled": {"image": [False, False]},
    }
    page, nulls = event_page(doc, timestamps=ALL_KEYS)
    assert nulls == {"x"}
    assert page.seq_num.tolist() == [1, 2]
    assert page.time.tolist() == [1.0, 2.5]
    assert page.filled == {"image": [False, False]}
    assert isinstance(page.data["peaks"], Ragged)
    assert same_value(cells([page], "timestamps"), [{"x": 0.5}, {"x": 0.75}])
    bare, nulls = event_page(doc, data=())
    assert (bare.data, bare.timestamps, nulls) == ({}, {}, set())
    chosen, _ = event_page(doc, data={"image"})
    assert set(chosen.data) == {"image"}


def test_event_page_selects_and_pickles() -> None:
    doc = {
        "descriptor": "d",
        "seq_num": [1, 2, 3],
        "time": [1.0, 2.0, 3.0],
        "data": {"x": [1, 2, 3], "peaks": [[1.5], [], [2.5, 3.5]], "label": ["a", "b", "c"]},
        "filled": {"x": [True, False, True]},
    }
    page, _ = event_page(doc)
    for part in (slice(1, 3), [1, 2], np.array([False, True, True])):
        for cut in (page.select(part), pickle.loads(pickle.dumps(page)).select(part)):
            assert cut.seq_num.tolist() == [2, 3]
            assert cells([cut]) == cells([page])[1:]
            assert cut.filled == {"x": [False, True]}
    assert len(page.select(slice(0, 0))) == 0


PAGE: Document = {
    "uid": ["a", "b"],
    "descriptor": "d",
    "seq_num": [1, 2],
    "time": [1.0, 2.0],
    "data": {"x": [1, 2]},
}


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"seq_num": [1, "2"]}, "seq_num"),
        ({"seq_num": [1, 2.5]}, "2.5"),
        ({"seq_num": [1, None]}, "seq_num"),
        ({"seq_num": [1, 2**80]}, "seq_num"),
        ({"seq_num": [[1], [2]]}, "seq_num"),
        ({"seq_num": [True, False]}, "seq_num"),
        ({"time": [1.0, None]}, "time"),
        ({"time": [1.0]}, "1 values under 'time'"),
        ({"data": {"x": [1]}}, "1 values under 'x'"),
        ({"timestamps": {"x": [1.0, 2.0, 3.0]}}, "3 values under 'x'"),
        ({"data": {"x": 5}}, "cannot be read"),
        ({"data": [1, 2]}, "cannot be read"),
    ],
    ids=repr,
)
def test_damaged_page_is_named(change: Document, found: str) -> None:
    with pytest.raises(DamagedRun, match="descriptor d") as caught:
        event_page(PAGE | change, timestamps=ALL_KEYS)
    assert found in str(caught.value)


@pytest.mark.parametrize("field", ["seq_num", "time"])
def test_page_without_a_field_is_damaged(field: str) -> None:
    page = {key: value for key, value in PAGE.items() if key != field}
    with pytest.raises(DamagedRun, match=field):
        event_page(page)
    event = {key: value for key, value in _event("d", 1, x=1).items() if key != field}
    with pytest.raises(DamagedRun, match=field):
        event_page(event)
    with pytest.raises(DamagedRun, match=field):
        gather([_event("d", 1, x=1), event])


def test_gather_joins_events() -> None:
    events = [_event("d", 1, x=1, label="a"), _event("d", 2, x=2), _event("d", 3, label="c", y=[1, 2])]
    page, nulls = gather(events, timestamps=ALL_KEYS)
    assert nulls == {"x", "label", "y"}
    assert same_value(
        [row["x"] for row in cells([page])] + [row["label"] for row in cells([page])],
        [1, 2, None, "a", None, "c"],
    )
    assert same_value([row["y"] for row in cells([page], "timestamps")], [None, None, 0.5])
    bare, _ = gather(events, data=())
    assert (bare.data, bare.seq_num.tolist()) == ({}, [1, 2, 3])


@given(runs())
def test_pages_hold_what_events_hold(run: list[tuple[str, Document]]) -> None:
    for events in stored_events(run).values():
        pages = [event_page(event)[0] for event in events]
        assert all(
            same_value(observed[key], event["data"][key])
            for observed, event in zip(cells(pages), events, strict=True)
            for key in event["data"]
        )


@given(runs())
def test_events_of_a_page_are_its_events(run: list[tuple[str, Document]]) -> None:
    pages = [doc for name, doc in run if name == "event_page"]
    for page in pages:
        observed = [to_plain(event) for event in events_of(page)]
        assert [event["data"] for event in observed] == [
            {key: column[row] for key, column in page["data"].items()} for row in range(len(page["uid"]))
        ] or _has_nan(page)
        assert [event["uid"] for event in observed] == page["uid"]


def _has_nan(value: Any) -> bool:
    if isinstance(value, dict | list):
        return any(map(_has_nan, value.values() if isinstance(value, dict) else value))
    return isinstance(value, float) and math.isnan(value)


def test_what_a_run_engine_emits_reads_as_its_plain_form() -> None:
    events = [doc for name, doc in run_engine_types() if name == "event"]
    raw, _ = gather(events)
    plain, _ = gather([to_plain(event) for event in events])
    assert cells([raw]) == cells([plain])


def test_layout_lists_the_data_keys_of_all_descriptors() -> None:
    descriptors: tuple[Document, ...] = (
        {"data_keys": {"x": {"a": 1}}},
        {"data_keys": {"x": {"a": 2}, "y": {}}},
        {},
    )
    assert StreamLayout("s", descriptors, 0, ()).data_keys == {"x": {"a": 2}, "y": {}}


@given(st.lists(st.integers(0, 3), max_size=5))
def test_selecting_rows_selects_everywhere(rows: list[int]) -> None:
    page = EventPage("d", np.arange(4), np.arange(4.0), {"x": np.arange(4) * 2})
    observed = page.select(np.array(rows, dtype=np.intp))
    assert observed.seq_num.tolist() == rows
    assert observed.data["x"].tolist() == [2 * row for row in rows]  # type: ignore[union-attr]
