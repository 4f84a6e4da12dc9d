"""JSON lines: what is written, what is read, and that the fast ways give what the exact one does."""

from __future__ import annotations

import json
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

from intake_bluesky.documents.columns import column
from intake_bluesky.documents.model import identical
from intake_bluesky.documents.pages import event_page, events_of
from intake_bluesky.errors import DamagedRun
from intake_bluesky.testing.codecs import CodecTests, page_of
from intake_bluesky.testing.expected import same_column, same_page
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


def decoded(raw: bytes) -> Run:
    return [CODEC.decode(raw[item.start : item.stop]) for item in CODEC.split(raw)]


def encoded(documents: Any) -> bytes:
    return b"".join(CODEC.encode(name, doc) for name, doc in documents)


class TestJSONLCodec(CodecTests):
    """The whole suite, with simdjson."""

    codec = CODEC
    drawn = DOCUMENTS
    refused = (b"bytes", 1j, np.complex128(1j), datetime(2026, 1, 1), object(), {(1, 2): 3})
    damaged = (
        b"hello\n", b"\x00\x00\x00\n", b"\xff\xfe\n", b'{"name": "start"}\n', b'["start"]\n', b'["start", []]\n',
        b"[1, {}]\n", b'["start", {"a": 1}\n', b'["start", {"a": 1}],\n',
    )  # fmt: skip
    undecodable = (
        b'["start", {"a": "\xff"}]', b'["start", {"a": "\x00"}]', b'["start", {}, 1]', b'["start", {]}]', b"5",
        b'["start", {"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}]", b'["start", {"a": 1' + b"0" * 5000 + b"}]",
    )  # fmt: skip
    odd = (
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


class TestWithoutSimdjson(TestJSONLCodec):
    """And without it."""

    @pytest.fixture(autouse=True)
    def no_simdjson(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(typed, "simdjson", None)


@pytest.fixture(params=["simdjson", "orjson"])
def parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "orjson":
        monkeypatch.setattr(typed, "simdjson", None)
    return str(request.param)


@pytest.mark.parametrize(
    "doc",
    [
        {"x": 2**64, "y": -(2**63) - 1, "z": [1e19, 2**63]},
        {"x": None, "y": float("nan"), "z": [float("inf"), -float("inf"), -0.0]},
    ],
)
def test_what_is_hard_for_fast_parsers_comes_back(doc: Any) -> None:
    raw = CODEC.encode("start", doc)
    assert identical(decoded(raw), [("start", doc)])
    assert raw.count(b"\n") == 1


def test_uuids_are_written_as_text_alone_and_beside_nan() -> None:
    uid = UUID(int=7)
    for other in (1.0, float("nan")):
        [(_, observed)] = decoded(CODEC.encode("start", {"uid": uid, "other": other}))
        assert observed["uid"] == str(uid)


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


def test_a_last_line_without_its_end_decodes() -> None:
    line = CODEC.encode(*RUN[0]).rstrip(b"\n")
    assert list(CODEC.split(line)) == []
    assert identical(CODEC.decode(line), RUN[0])
    for cut in range(len(line)):
        with pytest.raises(DamagedRun):
            CODEC.decode(line[:cut])


@pytest.mark.parametrize("kind", [bytes, memoryview])
def test_items_tile_the_data_whatever_space_is_between_them(kind: Any) -> None:
    raw = b"\n \n" + b"\n\r\n".join([b'["start", {}]', b'  [ "event" , {"a": 1} ]\r', b'["stop",{}]  ']) + b"\n\n \n"
    items = list(CODEC.split(kind(raw)))
    assert [item.name for item in items] == ["start", "event", "stop"]
    assert [item.start for item in items[1:]] == [item.stop for item in items[:-1]]
    assert items[-1].stop == len(raw)
    assert CODEC.decode(kind(raw)[items[1].start : items[1].stop]) == ("event", {"a": 1})
    assert list(CODEC.split(kind(raw), items[1].start)) == items[1:]


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
    assert same_page(observed, event_page(plain, timestamps={"b"})[0])


@given(COLUMNS, COLUMNS)
@example([2**64], [1e19])
@example([[2**64], [0.5]], [0, 0])
def test_single_events_are_one_page(first: list[Any], second: list[Any]) -> None:
    events = min(len(first), len(second))
    page = page_of({"a": first[:events], "b": second[:events]})
    raw = encoded(("event", event) for event in events_of(page))
    [observed] = CODEC.event_pages(raw, "d", timestamps={"a"})
    assert same_page(observed, event_page(page, timestamps={"a"})[0])


def test_typed_buffers_are_used_where_they_can_be(monkeypatch: pytest.MonkeyPatch) -> None:
    data: dict[str, Any] = {
        "float": [0.5, 1.0], "int": [1, 2], "unsigned": [2**63, 1], "mixed": [1, 0.5], "image": [[[1, 2]], [[3, 4]]],
        "ragged": [[0.5], [1.5, 2.5]], "text": ["a", "b"], "null": [None, 1.0], "bool": [True, False],
    }  # fmt: skip
    page = typed.PageParser(data, ()).parse(CODEC.encode("event_page", page_of(data)))
    assert page is not None
    for key, values in data.items():
        assert same_column(page.data[key], column(values)[0])
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


def test_lines_as_others_space_them_hold_the_same_events(parser: str) -> None:
    run = EXAMPLES["interleaved"](Path())
    spaced = b"".join(json.dumps(pair).encode() + b"\r\n" for pair in run)
    for name, doc in run:
        if name == "descriptor":
            observed = list(CODEC.event_pages(memoryview(spaced), doc["uid"]))
            expected = list(CODEC.event_pages(encoded(run), doc["uid"]))
            assert len(observed) == len(expected)
            assert all(map(same_page, observed, expected))


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
