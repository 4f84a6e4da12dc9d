"""MessagePack: what is written and read, by this and by suitcase-msgpack, and what is refused."""

from __future__ import annotations

import enum
import os
import pickle
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import msgpack
import msgpack_numpy
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from suitcase.msgpack import Serializer

from intake_bluesky.documents.model import identical
from intake_bluesky.errors import DamagedRun
from intake_bluesky.testing.codecs import CodecTests, page_of
from intake_bluesky.testing.runs import EXAMPLES, Run
from intake_bluesky_msgpack.codec import MsgpackCodec

CODEC = MsgpackCodec()
TEXT = st.text(st.characters() | st.sampled_from("\ud800\udc00\x00"), max_size=6)
SCALARS = st.none() | st.booleans() | st.integers() | st.integers(-(2**70), 2**70) | st.floats() | TEXT
VALUES = st.recursive(
    SCALARS | st.binary(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT | st.integers(), inner, max_size=3),
    max_leaves=8,
)
DOCUMENTS = st.dictionaries(TEXT, VALUES, max_size=4)


def decoded(raw: bytes) -> Run:
    return [CODEC.decode(raw[item.start : item.stop]) for item in CODEC.split(raw)]


def encoded(documents: Any) -> bytes:
    return b"".join(CODEC.encode(name, doc) for name, doc in documents)


def read_by_suitcases_reader(raw: bytes) -> list[Any]:
    unpacker = msgpack.Unpacker(object_hook=msgpack_numpy.decode, use_list=True)
    unpacker.feed(raw)
    return list(unpacker)


def pack(value: Any) -> bytes:
    packed: bytes = msgpack.packb(value, default=msgpack_numpy.encode, use_bin_type=True)
    return packed


class TestMsgpackCodec(CodecTests):
    codec = CODEC
    drawn = DOCUMENTS
    refused = (datetime(2026, 1, 1), object(), [object()], {"a": "\ud800", "b": object()})
    damaged = (
        b"hello", b"\x00" * 5, b"\xff\xfe\xfd", b"\x93\xa1a\x80\x80", b"\x92\xa1a\xc0", b"\x92\x01\x80",
        b"\x92\xa0\x80\x80", b"\x92\xa1a\x81\xa1a\xc1", b"\x92\xa1a\x81\xa1a" + b"\x91" * 5000, pack(["event", []]),
        pack(["event", {}, 1]), pack([1, {}]), pack({"event": {}}),
    )  # fmt: skip
    undecodable = (
        b"", b"\x92\xa1a", pack(5), pack(["a", []]), pack(["a", {}, 1]), pack([1, {}]), pack(["a", {}]) + b"\x01",
        b"\x92\xa1a\x81\xa1b\xa1\xff", pack(["a", {"b": msgpack.ExtType(5, b"x")}]), b"\x92\xa1a\x81\x91\x01\x02",
        b"\x92\xa1a\x81\xa1b\xdd\xff\xff\xff\xff", b"\x92\xa1a\x81\xa1b\xdf\xff\xff\xff\xff",
        b"\x92\xa1a\x81\xa1b\xc6\xff\xff\xff\xff", b"\x92\xa1a\x81\xa1b" + b"\x91" * 5000,
    )  # fmt: skip
    odd = (
        pack(["event", {"a": {"nd": True, "type": "<f8", "kind": b"", "shape": (1,), "data": b"\0"}}]),
        pack(["event", {"a": np.array([{}], dtype=object)}]), pack(["event", {"a": np.arange(3)}]), b"\xc1",
        pack(["event", {"a": 1}])[:-1], b"\x92\xd9\x05event\x80", pack(["x" * 40, {}]),
    )  # fmt: skip


@pytest.mark.parametrize(
    "doc",
    [
        {"x": 2**64, "y": -(2**63) - 1, "z": [2**64 - 1, -(2**63), 2**63]},
        {"nd": True, "type": "<f8", "kind": "", "shape": [1], "data": "text", "complex": True},
        {"\ud83d\udc4d": "\ud83d\udc4d", "x": [float("nan"), {"y": "\ud800"}]},
    ],
)
def test_what_messagepack_has_no_form_for_comes_back(doc: Any) -> None:
    assert identical(decoded(CODEC.encode("start", doc)), [("start", doc)])


class Mode(enum.Enum):
    ODD = "\ud800"


STRUCTURED = np.array([(1, 2.5), (3, 4.5)], [("a", "<i4"), ("b", "<f8")])
PADDED = np.array([(1, 2.5)], np.dtype([("a", "i1"), ("b", "<f8")], align=True))
VALUES_WITH_A_FORM = [
    np.array(["a", "bc"]), np.array([b"a"]), np.complex64(1j), 1 + 2j, np.array([1j]),
    np.array(["a", "b"], np.dtypes.StringDType()), Mode.ODD, STRUCTURED, PADDED, np.array(["2026-01-01"], "M8[s]"),
    bytearray(b"x"), [np.arange(3), "\ud800"], np.array([("a", [1, 2])], [("t", "<U1"), ("v", "<i2", (2,))]),
]  # fmt: skip


@pytest.mark.parametrize("value", VALUES_WITH_A_FORM, ids=repr)
def test_values_that_json_has_no_form_for_come_back(value: Any) -> None:
    doc = {"uid": "a", "value": value}
    [(_, observed)] = decoded(CODEC.encode("event", doc))
    expected = bytes(value) if isinstance(value, bytearray) else value
    assert identical(observed, {"uid": "a", "value": expected})


@pytest.mark.parametrize(
    "value", [np.arange(6.0).reshape(2, 3), STRUCTURED, np.array(["a", "bc"]), np.array([1j])], ids=repr
)
def test_arrays_keep_dtype_and_shape_and_can_be_changed(value: Any) -> None:
    [(_, doc)] = decoded(CODEC.encode("event", {"value": value}))
    observed = doc["value"]
    assert (observed.dtype, observed.shape) == (value.dtype, value.shape)
    observed[0] = observed[1] if len(observed) > 1 else 0


def test_uuids_are_written_as_text() -> None:
    [(_, observed)] = decoded(CODEC.encode("start", {"uid": UUID(int=7)}))
    assert observed == {"uid": str(UUID(int=7))}


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_suitcases_reader_reads_what_this_writes(name: str, tmp_path: Path) -> None:
    run = EXAMPLES[name](tmp_path)
    run = [(name, doc) for name, doc in run if not any(type(leaf) is int and leaf >= 2**64 for leaf in leaves(doc))]
    assert identical(read_by_suitcases_reader(encoded(run)), [list(pair) for pair in run])


def leaves(value: Any) -> list[Any]:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else None
    return [value] if inner is None else [leaf for part in inner for leaf in leaves(part)]


def test_others_see_extension_types_where_messagepack_has_no_form() -> None:
    [[_, doc]] = read_by_suitcases_reader(CODEC.encode("start", {"big": 2**70, "text": "\ud800", "plain": "é"}))
    assert doc["big"] == msgpack.ExtType(73, (2**70).to_bytes(9, "big"))
    assert doc["text"] == msgpack.ExtType(84, b"\xed\xa0\x80")
    assert doc["plain"] == "é"


def is_suitcases(name: str, doc: Any) -> bool:
    """Whether suitcase-msgpack writes such documents: it has no streamed assets, and no integers past 64 bits."""
    return not name.startswith("stream_") and not any(type(leaf) is int and leaf >= 2**64 for leaf in leaves(doc))


@pytest.mark.filterwarnings("ignore:The document type 'bulk_:UserWarning")
@pytest.mark.parametrize("name", sorted(set(EXAMPLES) - {"big_integers"}))  # suitcase cannot write its start document
def test_this_reads_what_suitcase_writes(name: str, tmp_path: Path) -> None:
    with Serializer(tmp_path / "suitcase") as serializer:
        for pair in EXAMPLES[name](tmp_path):
            if is_suitcases(*pair):
                serializer(*pair)
    [path] = serializer.artifacts["all"]
    theirs = Path(path).read_bytes()
    assert decoded(theirs)[0][0] == "start"
    assert identical(decoded(theirs), read_by_suitcases_reader(theirs))


CODED = [
    np.float32(0.1), np.int64(-3), np.bool_(True), np.complex64(1j), 1 + 2j, np.array(3.5),
    np.arange(6).reshape(2, 3).T,
    np.array([1, 2], ">i4"), np.array([[1.5, np.nan]]), np.zeros((0, 3)), np.array(["a", "bc"]), np.array([b"a"]),
    np.array([1j]), STRUCTURED, PADDED, np.array([("a", [1, 2])], [("t", "<U1"), ("v", "<i2", (2,))]),
]  # fmt: skip


@pytest.mark.parametrize("value", CODED, ids=repr)
def test_numpys_values_as_msgpack_numpy_codes_them(value: Any) -> None:
    [(_, observed)] = decoded(pack(("event", {"value": value})))
    assert identical(observed["value"], value)
    assert np.asarray(observed["value"]).dtype == np.asarray(value).dtype


def test_arrays_of_objects_as_msgpack_numpy_pickles_them_are_refused() -> None:
    with pytest.raises(DamagedRun, match="pickled"):
        CODEC.decode(pack(("event", {"value": np.array([None, "x"], object)})))


def test_text_keys_of_old_files_are_read_as_well() -> None:
    coded = {"nd": True, "type": "<i2", "kind": "", "shape": [2], "data": b"\1\0\2\0"}
    assert identical(CODEC.decode(pack(("event", {"value": coded})))[1]["value"], np.array([1, 2], np.int16))


class Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (os.environ["BOMB"],)


@pytest.mark.parametrize(
    "coded",
    [
        {b"kind": b"O", b"type": "|O"}, {b"kind": "O", b"type": [["", "|O"]]}, {b"kind": b"", b"type": "|O"},
        {b"kind": b"", b"type": "O"}, {b"kind": b"V", b"type": [["a", "<i4"], ["b", "|O"]]},
        {b"kind": b"V", b"type": [["a", [["b", "|O8"]]]]},
    ],
    ids=str,
)  # fmt: skip
def test_pickled_objects_are_refused_unread_and_named(
    coded: dict[bytes, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BOMB", str(tmp_path / "bomb"))
    array = {b"nd": True, b"shape": [1], b"data": pickle.dumps(np.array([Bomb()], object)), **coded}
    raw = pack(("event", {"data": {"fine": np.arange(2), "x": [1, array]}}))
    with pytest.raises(DamagedRun, match=r"event\['data'\]\['x'\]\[1\] is an array of Python objects"):
        CODEC.decode(raw)
    assert not (tmp_path / "bomb").exists()


def test_msgpack_numpy_is_not_needed() -> None:
    code = "import sys, intake_bluesky_msgpack; sys.exit('msgpack_numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    "coded",
    [
        {b"type": "<f8", b"shape": [2], b"data": b"123"}, {b"type": "<f8", b"shape": [1], b"data": b"0" * 16},
        {b"type": "<f8", b"shape": [-1], b"data": b"0" * 8}, {b"type": "<f8", b"shape": [2**62, 8], b"data": b""},
        {b"type": "V8", b"shape": "abc", b"data": b"0" * 8}, {b"type": "(9,)f8,O", b"shape": [1], b"data": b"0"},
        {b"type": 5, b"shape": [1], b"data": b"0"}, {b"type": [["a"]], b"shape": [1], b"data": b"0"},
        {b"type": "<U0", b"shape": [2**40], b"data": b""}, {b"type": "|T16", b"shape": [1], b"data": b"0" * 16},
    ],
    ids=str,
)  # fmt: skip
def test_arrays_that_contradict_themselves_are_damage(coded: dict[bytes, Any]) -> None:
    with pytest.raises(DamagedRun):
        CODEC.decode(pack(("event", {"value": {b"nd": True, b"kind": b"", **coded}})))


RUN: Run = [
    ("start", {"uid": "a", "text": "é\ud800\x00", "big": 2**70, "n": None, "many": list(range(300))}),
    ("event", {"data": {"x": np.arange(4.0), "y": "long" * 100}}),
    ("stop", {}),
]


def test_a_long_name_has_its_length_in_a_byte_of_its_own() -> None:
    raw = encoded([("x" * 40, {"a": 1}), ("y" * 200, {})])
    assert [item.name for item in CODEC.split(raw)] == ["x" * 40, "y" * 200]


def test_dates_of_other_writers_are_seconds() -> None:
    raw = msgpack.packb(["start", {"time": msgpack.Timestamp(5, 500_000_000)}])
    assert CODEC.decode(raw) == ("start", {"time": 5.5})


@pytest.mark.parametrize("size", [1, 1000])
@pytest.mark.parametrize(
    "bad",
    [
        b"\x92\xa5event\x82\xaadescriptor\xa1d\xa1a\xa1\xff", b"\x01", pack(["event", 5]),
        pack(("event", {"data": {"x": {b"nd": True, b"kind": b"O", b"type": "|O", b"shape": [1], b"data": b""}}})),
    ],
    ids=repr,
)  # fmt: skip
def test_damage_in_a_block_is_told(size: int, bad: bytes) -> None:
    whole = CODEC.encode("event_page", page_of({"x": list(range(size))}))
    with pytest.raises(DamagedRun):
        list(CODEC.event_pages(whole + bad + CODEC.encode("stop", {"d": "d"}), "d"))


def test_large_items_of_other_descriptors_are_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    items = [CODEC.encode("event_page", page_of({"x": list(range(1000))}, descriptor=uid)) for uid in ("one", "two")]
    decode, seen = MsgpackCodec.decode, list[str]()

    def counted(self: MsgpackCodec, item: Any) -> Any:
        seen.append(decode(self, item)[1]["descriptor"])
        return decode(self, item)

    monkeypatch.setattr(MsgpackCodec, "decode", counted)
    assert [len(page) for page in CODEC.event_pages(b"".join(items * 2), "two")] == [1000, 1000]
    assert seen == ["two", "two"]


@given(st.lists(st.tuples(st.sampled_from(["start", "event", "stop"]), DOCUMENTS), min_size=1, max_size=4))
def test_several_written_here_are_decoded_together(documents: Run) -> None:
    raw = encoded(documents)
    pairs, stops = CODEC.decode_several(raw, 0, len(raw))
    assert identical([list(pair) for pair in pairs], [list(pair) for pair in decoded(raw)])
    assert stops == [item.stop for item in CODEC.split(raw)]


def test_several_are_decoded_from_a_place_on_and_no_more_than_asked_for() -> None:
    item = CODEC.encode("event", {"seq_num": 1})
    raw = item * 10
    assert CODEC.decode_several(raw, len(item), 3 * len(item))[1] == [len(item) * n for n in (2, 3, 4)]
    assert CODEC.decode_several(raw, 0, 5)[1] == [len(item)]
    assert len(CODEC.decode_several(raw[:-1], 0, len(raw))[1]) == 9
    assert CODEC.decode_several(b"", 0, 10) == ([], [])
    image = CODEC.encode("event", {"image": np.zeros(1000)})
    assert CODEC.decode_several(image * 2, 0, 10)[1] in ([], [len(image)])  # larger than what is looked at
