"""JSON lines: what is written, what is read, and that the fast ways give what the exact one does."""

from __future__ import annotations

import enum
import json
import pickle
import re
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import event_model
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from suitcase.jsonl import Serializer

from intake_bluesky.documents.columns import Column, Ragged, column
from intake_bluesky.documents.model import EventPage, identical
from intake_bluesky.documents.pages import event_page, events_of
from intake_bluesky.errors import DamagedRun, UnsupportedOperation
from intake_bluesky.testing import strategies
from intake_bluesky.testing.runs import EXAMPLES, Run
from intake_bluesky_jsonl import pages as typed
from intake_bluesky_jsonl.codec import JSONLCodec

CODEC = JSONLCodec()
# JSON's escapes cannot tell two lone surrogates that would make a pair from the character they make: one kind only.
TEXT = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from('\ud800\udbff\x00\n\r\\"[]'), max_size=6)
SCALARS = st.none() | st.booleans() | st.integers() | st.integers(-(2**70), 2**70) | st.floats() | TEXT
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3), max_leaves=8
)
DOCUMENTS = st.dictionaries(TEXT, VALUES, max_size=4)


@pytest.fixture(params=["simdjson", "orjson"])
def parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "orjson":
        monkeypatch.setattr(typed, "simdjson", None)
    return str(request.param)


def decoded(raw: bytes) -> Run:
    return [CODEC.decode(raw[item.start : item.stop]) for item in CODEC.split(raw)]


def encoded(documents: Any) -> bytes:
    return b"".join(CODEC.encode(name, doc) for name, doc in documents)


@given(st.lists(st.tuples(st.sampled_from(["start", "event"]), DOCUMENTS), max_size=3))
@example([("start", {"x": 2**64, "y": -(2**63) - 1, "z": [1e19, 2**63]})])
@example([("start", {"x": None, "y": float("nan"), "z": [float("inf"), -float("inf"), -0.0]})])
def test_documents_come_back_identical(documents: Run) -> None:
    raw = encoded(documents)
    observed = decoded(raw)
    assert [name for name, _ in observed] == [name for name, _ in documents]
    assert identical([doc for _, doc in observed], [doc for _, doc in documents])
    assert raw.count(b"\n") == len(documents)


@given(strategies.runs())
def test_runs_come_back_identical(run: Run) -> None:
    assert identical(decoded(encoded(run)), run)


class Mode(enum.Enum):
    STEP = "step"


class Level(enum.IntEnum):
    HIGH = 3


class Name(str, enum.Enum):  # noqa: UP042 (as event-model and ophyd have them)
    X = "x"


@pytest.mark.parametrize(
    "value",
    [
        np.float64(0.1), np.float32(0.1), np.float16(0.1), np.int64(-3), np.uint64(2**64 - 1), np.bool_(True),
        np.str_("text"), np.array(3.5), np.array([0.1, 0.2], np.float32), np.arange(6).reshape(2, 3).T,
        np.array([1, 2], ">i4"), np.array([[1.5, np.nan]]), np.array([np.nan]), np.zeros((0, 3)), np.array(["a", "b"]),
        np.array([True, False]), np.array([None, 2**70, "x"], object), np.float64("nan"), (1, (2.5, None)), {3, 1, 2},
        frozenset({"b"}), Mode.STEP, Level.HIGH, Name.X, [Mode.STEP, np.float32("nan")], {"deep": [np.array([1, 2])]},
    ],
    ids=repr,
)  # fmt: skip
def test_what_a_run_engine_emits_is_written_as_plain_values(value: Any) -> None:
    doc = {"uid": "a", "value": value, "others": [None, value]}
    [(_, observed)] = decoded(CODEC.encode("event", doc))
    assert identical(observed, doc)


def test_uuids_are_written_as_text_alone_and_beside_nan() -> None:
    uid = UUID(int=7)
    for other in (1.0, float("nan")):
        [(_, observed)] = decoded(CODEC.encode("start", {"uid": uid, "other": other}))
        assert observed["uid"] == str(uid)


@pytest.mark.parametrize("value", [b"bytes", 1j, np.complex128(1j), datetime(2026, 1, 1), object(), {(1, 2): 3}])
def test_what_json_has_no_form_for_is_refused(value: Any) -> None:
    with pytest.raises(UnsupportedOperation, match="a start document cannot be written as JSON"):
        CODEC.encode("start", {"uid": "a", "sample": value})


def test_a_document_within_itself_is_refused() -> None:
    doc: dict[str, Any] = {}
    doc["self"] = doc
    with pytest.raises(UnsupportedOperation):
        CODEC.encode("start", doc)


def test_null_without_nan_keeps_to_the_fast_way(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> str:
        raise AssertionError("the slow way was taken")

    monkeypatch.setattr(json, "dumps", refuse)
    assert CODEC.encode("start", {"a": None}) == b'["start",{"a":null}]\n'
    with pytest.raises(AssertionError):
        CODEC.encode("start", {"a": None, "b": [float("nan")]})


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_suitcase_and_this_read_each_other(name: str, tmp_path: Path) -> None:
    run = EXAMPLES[name](tmp_path)
    lines = encoded(run).splitlines()
    assert identical([json.loads(line) for line in lines], [list(pair) for pair in run])
    with Serializer(tmp_path / "suitcase") as serializer:
        for pair in run:
            serializer(*pair)
    [path] = serializer.artifacts["all"]
    theirs = Path(path).read_bytes()
    assert identical(decoded(theirs), [json.loads(line) for line in theirs.splitlines()])
    assert identical(decoded(theirs), decoded(encoded(run)))


def test_nan_as_suitcase_writes_it() -> None:
    line = json.dumps(("event", {"x": [float("nan"), float("inf")]}), cls=event_model.NumpyEncoder).encode() + b"\n"
    assert b"NaN" in line
    assert b"Infinity" in CODEC.encode("event", {"x": [float("nan"), float("inf")]})
    assert identical(decoded(line), [("event", {"x": [float("nan"), float("inf")]})])


RUN: Run = [
    ("start", {"uid": "a", "text": "é\ud800\x00", "n": float("nan"), "big": 2**70}),
    ("event", {"data": {"x": [1, 2.5, None]}}),
    ("stop", {"exit_status": "success"}),
]


def test_cut_anywhere_only_whole_items_come() -> None:
    raw = encoded(RUN)
    ends = [item.stop for item in CODEC.split(raw)]
    assert ends[-1] == len(raw)
    for cut in range(len(raw) + 1):
        observed = [item.stop for item in CODEC.split(raw[:cut])]
        assert observed == [end for end in ends if end <= cut]


def test_a_last_line_without_its_end_decodes() -> None:
    line = CODEC.encode(*RUN[0]).rstrip(b"\n")
    assert list(CODEC.split(line)) == []
    assert identical(CODEC.decode(line), RUN[0])
    for cut in range(len(line)):
        with pytest.raises(DamagedRun):
            CODEC.decode(line[:cut])


@pytest.mark.parametrize("kind", [bytes, memoryview])
def test_items_tile_the_data(kind: Any) -> None:
    raw = b"\n \n" + b"\n\r\n".join([b'["start", {}]', b'  [ "event" , {"a": 1} ]\r', b'["stop",{}]  ']) + b"\n\n \n"
    items = list(CODEC.split(kind(raw)))
    assert [item.name for item in items] == ["start", "event", "stop"]
    assert [item.start for item in items[1:]] == [item.stop for item in items[:-1]]
    assert items[-1].stop == len(raw)
    assert CODEC.decode(kind(raw)[items[1].start : items[1].stop]) == ("event", {"a": 1})
    assert list(CODEC.split(kind(raw), items[1].start)) == items[1:]


@pytest.mark.parametrize(
    "line",
    [
        b"hello", b"\x00\x00\x00", b"\xff\xfe", b'{"name": "start"}', b'["start"]', b'["start", []]', b"[1, {}]",
        b'["start", {"a": 1}', b'["start", {"a": 1}],',
    ],
)  # fmt: skip
def test_a_line_that_is_no_item_is_damage_with_its_place(line: bytes) -> None:
    raw = b'["start",{}]\n' + line + b'\n["stop",{}]\n'
    items = CODEC.split(raw)
    assert next(items).name == "start"
    with pytest.raises(DamagedRun, match="byte 13"):
        next(items)


@pytest.mark.parametrize(
    "line",
    [
        b'["start", {"a": "\xff"}]', b'["start", {"a": "\x00"}]', b'["start", {}, 1]', b'["start", {]}]', b"5",
        b'["start", {"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}]", b'["start", {"a": 1' + b"0" * 5000 + b"}]",
    ],
    ids=lambda line: line[:20],
)  # fmt: skip
def test_what_cannot_be_decoded_is_damage(line: bytes) -> None:
    with pytest.raises(DamagedRun, match="a line is"):
        CODEC.decode(line)


def test_the_codec_pickles() -> None:
    assert type(pickle.loads(pickle.dumps(CODEC))) is JSONLCodec


def page_of(data: dict[str, list[Any]], **more: Any) -> dict[str, Any]:
    events = len(next(iter(data.values())))
    times = [1.5 * n for n in range(events)]
    page = {"uid": [str(n) for n in range(events)], "seq_num": [*range(1, events + 1)], "time": times}
    return {"descriptor": "d", **page, "data": data, "timestamps": dict.fromkeys(data, times), "filled": {}, **more}


def assert_same(observed: Column, expected: Column) -> None:
    assert type(observed) is type(expected)
    if isinstance(observed, Ragged) and isinstance(expected, Ragged):
        assert_same(observed.values, expected.values)
        assert_same(observed.shapes, expected.shapes)
    elif isinstance(observed, np.ndarray) and isinstance(expected, np.ndarray):
        assert observed.dtype == expected.dtype
        assert identical(observed, expected)
        assert observed.shape == expected.shape


def assert_same_page(observed: EventPage, expected: EventPage) -> None:
    assert observed.descriptor == expected.descriptor
    assert_same(observed.seq_num, expected.seq_num)
    assert_same(observed.time, expected.time)
    for mine, theirs in ((observed.data, expected.data), (observed.timestamps, expected.timestamps)):
        assert list(mine) == list(theirs)
        for key in mine:
            assert_same(mine[key], theirs[key])
    assert identical(observed.filled, expected.filled)


NUMBERS = st.integers(-(2**64), 2**65) | st.integers(-5, 5) | st.floats() | st.floats(-9, 9)
COLUMNS = st.one_of(
    st.lists(st.integers(-(2**63), 2**64 - 1), min_size=1, max_size=4),
    st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=4),
    st.lists(NUMBERS, min_size=1, max_size=4),
    st.lists(st.lists(NUMBERS, max_size=3), min_size=1, max_size=4),
    st.lists(st.lists(st.lists(st.integers(0, 9), max_size=2), max_size=2), min_size=1, max_size=4),
    st.lists(st.recursive(st.integers(0, 9), lambda inner: st.lists(inner, max_size=2), max_leaves=4), min_size=1),
    st.lists(VALUES, min_size=1, max_size=4),
)


@given(COLUMNS, COLUMNS)
@example([1, [2], []], [1, 2, 3])
@example([1, [2], 3], ["[", "[", "]"])
@example([[1, [2]], [3, 4]], [0, 0])
@example([[[1], [2]], [[3], [4]]], [2**53, 0.5])
@example([2**53 + 1, 0.5], [2**63, 1])
@example([2**63, -1], [1e19, 0.5])
@example([[1, 2, 3], [4]], [[], []])
@example([True, 1], [1.0, None])
def test_a_page_is_what_its_document_says(first: list[Any], second: list[Any]) -> None:
    events = min(len(first), len(second))
    doc = page_of({"a": first[:events], "b": second[:events]})
    raw = CODEC.encode("event_page", doc)
    [(_, plain)] = decoded(raw)  # -0 as an integer, say: what is written counts
    [observed] = CODEC.event_pages(raw, "d", timestamps={"b"})
    assert_same_page(observed, event_page(plain, timestamps={"b"})[0])


@given(COLUMNS, COLUMNS)
@example([2**64], [1e19])
@example([[2**64], [0.5]], [0, 0])
def test_single_events_are_one_page(first: list[Any], second: list[Any]) -> None:
    events = min(len(first), len(second))
    page = page_of({"a": first[:events], "b": second[:events]})
    raw = encoded(("event", event) for event in events_of(page))
    [observed] = CODEC.event_pages(raw, "d", timestamps={"a"})
    assert_same_page(observed, event_page(page, timestamps={"a"})[0])


def test_typed_buffers_are_used_where_they_can_be(monkeypatch: pytest.MonkeyPatch) -> None:
    data: dict[str, Any] = {
        "float": [0.5, 1.0], "int": [1, 2], "unsigned": [2**63, 1], "mixed": [1, 0.5], "image": [[[1, 2]], [[3, 4]]],
        "ragged": [[0.5], [1.5, 2.5]], "text": ["a", "b"], "null": [None, 1.0], "bool": [True, False],
    }  # fmt: skip
    page = typed.PageParser(data, ()).parse(CODEC.encode("event_page", page_of(data)))
    assert page is not None
    for key, values in data.items():
        assert_same(page.data[key], column(values)[0])
    numbers = [page.data[key] for key in ("float", "int", "unsigned", "mixed", "image")]
    assert all(isinstance(col, np.ndarray) and col.flags.writeable for col in numbers)


@pytest.mark.parametrize(
    "broken",
    [
        {"seq_num": [1.5, 2.5]}, {"seq_num": ["1", "2"]}, {"time": [1.0]}, {"data": {"x": [1, 2, 3]}}, {"seq_num": [1]},
        {"time": [None, 1.0]}, {"data": 5}, {"timestamps": {"x": [1.0]}},
    ],
    ids=str,
)  # fmt: skip
def test_a_page_that_contradicts_itself_is_damage(broken: dict[str, Any], parser: str) -> None:
    raw = CODEC.encode("event_page", page_of({"x": [1, 2]}) | broken)
    with pytest.raises(DamagedRun):
        list(CODEC.event_pages(raw, "d", timestamps={"x"}))


def mixed_block() -> tuple[bytes, Run]:
    single = {"uid": "e", "time": 1.5, "timestamps": {"x": 2.5}, "filled": {}}
    documents: Run = [
        ("descriptor", {"uid": "d", "run_start": "a"}),
        *(("event", {**single, "descriptor": "d", "seq_num": n, "data": {"x": n}}) for n in (1, 2)),
        ("stream_datum", {"descriptor": "d", "stream_resource": "s"}),
        ("event", {**single, "descriptor": "other", "seq_num": 1, "data": {"x": 9, "mentions": "d"}}),
        ("event", {**single, "descriptor": "d", "seq_num": 3, "data": {"x": 3}}),
        ("event_page", page_of({"x": [4, 5]}, seq_num=[4, 5])),
        ("event_page", page_of({"x": [9]}, descriptor="other")),
        ("event_page", page_of({"x": [6]}, seq_num=[6])),
        ("bulk_events", {"p": [{**single, "descriptor": "d", "seq_num": n, "data": {"x": n}} for n in (7, 8)]}),
        ("event", {**single, "descriptor": "d", "seq_num": 9, "data": {"x": 9}}),
    ]
    return encoded(documents), documents


@pytest.mark.parametrize("spaced", [False, True])
def test_only_the_descriptors_events_come_and_in_order(parser: str, spaced: bool) -> None:
    raw, documents = mixed_block()
    if spaced:
        raw = b"".join(json.dumps(pair).encode() + b"\r\n" for pair in documents)
    pages = list(CODEC.event_pages(memoryview(raw), "d"))
    assert [page.seq_num.tolist() for page in pages] == [[1, 2, 3], [4, 5], [6], [7, 8], [9]]
    assert [page.data["x"].tolist() for page in pages] == [[1, 2, 3], [4, 5], [6], [7, 8], [9]]  # type: ignore[union-attr]
    [other, _] = CODEC.event_pages(raw, "other")
    assert list(other.data) == ["x", "mentions"]
    assert list(CODEC.event_pages(raw, "nobody")) == []


def test_only_the_keys_asked_for_come(parser: str) -> None:
    raw = CODEC.encode("event_page", page_of({"x": [1, 2], "y": [3, 4]}))
    [page] = CODEC.event_pages(raw, "d", data=(), timestamps=())
    assert (dict(page.data), dict(page.timestamps), page.seq_num.tolist()) == ({}, {}, [1, 2])
    [page] = CODEC.event_pages(raw, "d", data={"y"}, timestamps={"x"})
    assert (list(page.data), list(page.timestamps)) == (["y"], ["x"])


def test_a_key_of_some_events_is_null_in_the_others() -> None:
    single = {"descriptor": "d", "uid": "e", "time": 1.5, "timestamps": {}, "filled": {}}
    rows: list[dict[str, Any]] = [{"x": 1}, {"x": 2, "y": 1.5}, {}, {"y": 2.5}] * 50
    raw = encoded(("event", {**single, "seq_num": n, "data": row}) for n, row in enumerate(rows))
    [page] = CODEC.event_pages(raw, "d")
    assert identical(page.data["x"], [1.0, 2.0, float("nan"), float("nan")] * 50)
    assert identical(page.data["y"], [float("nan"), 1.5, float("nan"), 2.5] * 50)


def test_an_escaped_descriptor_is_found(parser: str) -> None:
    raw = CODEC.encode("event_page", page_of({"x": [1]}, descriptor="d/é"))
    escaped = raw.replace("d/é".encode(), rb"d\/\u00e9")
    assert escaped != raw
    assert [len(page) for page in CODEC.event_pages(escaped, "d/é")] == [1]


def test_a_key_written_twice_counts_last_whoever_parses(parser: str) -> None:
    raw = CODEC.encode("event_page", page_of({"x": [1, 2]})).replace(b'"x":[1,2]}', b'"x":[1,2],"x":[3,4]}', 1)
    [page] = CODEC.event_pages(raw, "d")
    assert identical(page.data["x"], [3, 4])


def test_nan_in_some_of_many_events() -> None:
    single = {"descriptor": "d", "uid": "e", "time": 1.5, "timestamps": {}, "filled": {}}
    values = [float("nan") if n % 7 == 0 else 0.5 * n for n in range(2000)]
    raw = encoded(("event", {**single, "seq_num": n, "data": {"x": x}}) for n, x in enumerate(values))
    [page] = CODEC.event_pages(raw, "d")
    assert identical(page.data["x"], values)


def test_lines_that_only_together_are_json_are_damage() -> None:
    torn = b'["event",{"descriptor":"d","a":[1\n2]}]\n["event",{"descriptor":"d"}],["event",{"descriptor":"d"}]\n'
    with pytest.raises(DamagedRun):
        list(CODEC.event_pages(torn, "d"))


def test_one_parser_serves_many_pages_with_bad_ones_between() -> None:
    lines = [CODEC.encode("event_page", page_of({"x": [n, n + 1]})) for n in range(5)]
    lines[1:1] = [CODEC.encode("event_page", page_of({"x": [float("nan")]}))]
    lines[3:3] = [CODEC.encode("event_page", page_of({"x": [2**70]}))]
    pages = list(CODEC.event_pages(b"".join(lines), "d"))
    assert [len(page) for page in pages] == [2, 1, 2, 1, 2, 2, 2]


def test_without_simdjson_no_line_is_parsed_by_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise AssertionError("not to be used")

    monkeypatch.setattr(typed, "simdjson", SimpleNamespace(Parser=fail))
    raw = CODEC.encode("event_page", page_of({"x": [1]}))
    with pytest.raises(AssertionError):
        list(CODEC.event_pages(raw, "d"))
    monkeypatch.setattr(typed, "simdjson", None)
    assert [len(page) for page in CODEC.event_pages(raw, "d")] == [1]


LINE = st.sampled_from(
    (
        b'["event",{"descriptor":"d","data":{"x":1}}]\n',
        b'["event", {"descriptor": "d", "data": {"x": 1.5}}]\n',
        b'["event",{"n":123456789012345678901234567890}]\n',
        b'["event",{"n":-9223372036854775809}]\n',
        b'["event",{"x":NaN}]\n',
        b'["event",{"text":"[\\"event\\",0,"}]\r\n',
        b' [ "event" , {} ]\n',
        b'["ev\\u0065nt",{}]\n',
        b'["start",{"uid":"a","uid":"b"}]\n',
        b'["something",{}]\n',
        b"\n",
        b" \r\n",
        b'["event",{"a":[1\n',
        b"2]}]\n",
        b'["event",{}],["event",{}]\n',
        b'["event",{}],0,["event",{}]\n',
        b'["event",{}] ["event",{}]\n',
        b'["event",{}]]\n',
        b'["event",[]]\n',
        b'["event",{},1]\n',
        b'[["event"],{}]\n',
        b'["event",{"cut',
        b'["stop",{}]',
        b"\x80\n",
    )
)


def taken(raw: bytes, start: int, size: int) -> tuple[list[Any], list[int]]:
    """Items one after the other, up to the first that is none."""
    pairs: list[Any] = []
    stops: list[int] = []
    try:
        for item in CODEC.split(raw, start):
            pairs.append(CODEC.decode(raw[item.start : item.stop]))
            stops.append(item.stop)
    except DamagedRun:
        pass
    return pairs, stops


@given(st.lists(LINE, max_size=6).map(b"".join), st.integers(0, 300))
def test_several_are_decoded_as_one_by_one_or_not_at_all(raw: bytes, size: int) -> None:
    pairs, stops = CODEC.decode_several(raw, 0, size)
    expected, places = taken(raw, 0, size)
    assert identical(list(map(list, pairs)), list(map(list, expected[: len(pairs)])))
    assert stops == places[: len(stops)]


@given(st.lists(st.tuples(st.sampled_from(["start", "event", "stop"]), DOCUMENTS), min_size=1, max_size=4))
def test_several_written_here_are_decoded_together(documents: Run) -> None:
    raw = encoded(documents)
    pairs, stops = CODEC.decode_several(raw, 0, len(raw))
    if not pairs:
        assert any(mark in raw for mark in (b"NaN", b"Infinity", b"\\u")) or re.search(rb"\d{19}", raw)
        return
    assert identical([list(pair) for pair in pairs], [list(pair) for pair in decoded(raw)])
    assert stops == [item.stop for item in CODEC.split(raw)]


def test_several_are_decoded_from_a_place_on_and_no_more_than_asked_for() -> None:
    line = CODEC.encode("event", {"seq_num": 1})
    raw = line * 10
    assert CODEC.decode_several(raw, len(line), 3 * len(line))[1] == [len(line) * n for n in (2, 3, 4)]
    assert CODEC.decode_several(raw, 0, 1)[1] == [len(line)]
    assert len(CODEC.decode_several(raw[:-1], 0, len(raw))[1]) == 9
    assert CODEC.decode_several(b"", 0, 10) == ([], [])
