"""Headers: what they collect, in whatever order it comes."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intake_bluesky.documents.columns import Observed, column, observe
from intake_bluesky.documents.header import HeaderBuilder, merge_spans
from intake_bluesky.documents.model import CONTRADICTED, Document, RunHeader, Span, to_plain
from intake_bluesky.errors import DamagedRun
from intake_bluesky.testing.asset_runs import old_stream_resource, skipped_frames, stream_hdf5, two_files
from intake_bluesky.testing.examples import Run
from intake_bluesky.testing.plain_runs import scan, two_descriptors_at_once, unfinished

START: Document = {"uid": "r", "time": 1.0}


def _built(run: Run) -> HeaderBuilder:
    builder = HeaderBuilder()
    for name, doc in run:
        builder.add(name, doc)
    return builder


def _descriptor(uid: str, stream: str = "primary") -> Document:
    return {"uid": uid, "name": stream, "data_keys": {}, "time": 1.0}


def _seen(*values: Any) -> Observed:
    col, nulls = column(values)
    return observe(col, nulls=nulls)


def test_header_of_a_run_pickles() -> None:
    header = _built(scan()).header("v")
    assert header.uid == scan()[0][1]["uid"]
    assert list(header.streams) == ["baseline", "ring_current_monitor", "primary"]
    assert header.version == "v"
    assert pickle.loads(pickle.dumps(header)) == header


def test_header_needs_a_start() -> None:
    with pytest.raises(KeyError):
        HeaderBuilder().header("v")


def test_header_of_an_unfinished_run() -> None:
    assert _built(unfinished()).header("v").stop is None


def test_header_is_a_snapshot() -> None:
    builder = _built(unfinished())
    [descriptor] = [doc["uid"] for name, doc in unfinished() if name == "descriptor"]
    builder.add_page(descriptor, 2, {"x": _seen(1)})
    before = builder.header("v1")
    builder.add_page(descriptor, 3, {"x": _seen(1.5)})
    builder.add("stop", {"uid": "s"})
    after = builder.header("v2")
    assert (before.streams["primary"].pages, before.stop) == ((2,), None)
    assert before.streams["primary"].observed == {"x": _seen(1)}
    assert after.streams["primary"].pages == (2, 3)
    assert after.streams["primary"].events == 5


def test_descriptors_at_equal_times_stay_apart() -> None:
    header = _built(two_descriptors_at_once()).header("v")
    assert len(header.descriptors) == 2
    assert header.streams["primary"].descriptors == header.descriptors


def test_descriptor_met_twice_counts_once() -> None:
    builder = _built([("start", START), ("descriptor", _descriptor("d")), ("descriptor", _descriptor("d"))])
    header = builder.header("v")
    assert len(header.streams["primary"].descriptors) == len(header.descriptors) == 1


def test_key_that_a_page_lacks_has_gaps() -> None:
    builder = _built([("start", START), ("descriptor", _descriptor("d"))])
    builder.add_page("d", 1, {"x": _seen(1)})
    builder.add_page("d", 0, {})
    builder.add_page("d", 1, {"x": _seen(2), "y": _seen(3)})
    builder.add_page("d", 1, {"y": _seen(4)})
    observed = builder.header("v").streams["primary"].observed
    assert observed is not None
    assert observed["x"] == Observed(frozenset({"<i8", "null"}))
    assert observed["y"].kinds == {"null", "<i8"}
    assert observed["y"].dtype == float


def test_no_key_has_gaps_without_reason() -> None:
    builder = _built([("start", START), ("descriptor", _descriptor("d"))])
    builder.add_page("d", 0, {})
    builder.add_page("d", 2, {"x": _seen(1, 2)})
    assert builder.header("v").streams["primary"].observed == {"x": _seen(1, 2)}


def test_one_page_not_looked_at_makes_the_stream_unknown() -> None:
    builder = _built([("start", START), ("descriptor", _descriptor("d")), ("descriptor", _descriptor("e", "other"))])
    builder.add_page("d", 1, {"x": _seen(1)})
    builder.add_page("d", 1, None)
    builder.add_page("e", 1, {"y": _seen(1)})
    streams = builder.header("v").streams
    assert streams["primary"].observed is None
    assert streams["other"].observed == {"y": _seen(1)}


def test_events_of_an_unknown_descriptor_are_damage() -> None:
    builder = _built([("start", START)])
    with pytest.raises(DamagedRun, match="nowhere"):
        builder.add_page("nowhere", 1, {})


@pytest.mark.parametrize("name", ["descriptor", "resource", "stream_resource", "stream_datum"])
@pytest.mark.parametrize("doc", [{}, [], "text", None], ids=repr)
def test_odd_documents_are_damage(name: str, doc: Any) -> None:
    with pytest.raises(DamagedRun, match=name):
        HeaderBuilder().add(name, doc)


def test_stream_datum_with_odd_ranges_is_damage() -> None:
    doc = {"stream_resource": "a", "descriptor": "d", "seq_nums": {"start": 1}, "indices": 5}
    with pytest.raises(DamagedRun, match="stream_datum"):
        HeaderBuilder().add("stream_datum", doc)


def _assets(run: Run) -> list[tuple[str, str, tuple[Span, ...]]]:
    assets = _built(run).header("v").stream_assets
    return [(asset.data_key, asset.resource["uri"].rpartition("/")[2], asset.spans) for asset in assets]


def test_spans_that_follow_are_one(tmp_path: Path) -> None:
    assert _assets(stream_hdf5(tmp_path)) == [
        ("image", "stream.h5", ((1, 6, 0, 5),)),
        ("sum", "sums.h5", ((1, 6, 0, 5),)),
    ]


def test_spans_of_several_files_stay_apart(tmp_path: Path) -> None:
    assert _assets(two_files(tmp_path)) == [
        ("image", "part0.h5", ((1, 4, 0, 3),)),
        ("image", "part1.h5", ((4, 6, 0, 2),)),
    ]


def test_spans_with_skipped_frames_stay_apart(tmp_path: Path) -> None:
    assert _assets(skipped_frames(tmp_path)) == [("image", "skipped.h5", ((1, 4, 0, 3), (4, 6, 5, 7)))]


def test_assets_of_one_key_of_one_stream(tmp_path: Path) -> None:
    header = _built(two_files(tmp_path)).header("v")
    assert header.assets_of("primary", "image") == list(header.stream_assets)
    assert header.assets_of("primary", "x") == []


def test_old_stream_resource_is_brought_to_todays_form(tmp_path: Path) -> None:
    [asset] = _built(old_stream_resource(tmp_path)).header("v").stream_assets
    assert asset.resource["uri"] == str(tmp_path / "old.h5")
    assert asset.resource["mimetype"] == "application/x-hdf5"


def test_stream_datum_may_come_before_its_resource(tmp_path: Path) -> None:
    run = stream_hdf5(tmp_path)
    late = sorted(run, key=lambda item: item[0] == "stream_resource")
    assert _built(late).header("v").stream_assets == _built(run).header("v").stream_assets


def test_stream_datum_without_its_resource_is_of_no_key(tmp_path: Path) -> None:
    run = [item for item in stream_hdf5(tmp_path) if item[0] != "stream_resource"]
    assets = _built(run).header("v").stream_assets
    assert {asset.data_key for asset in assets} == {""}
    assert {asset.spans for asset in assets} == {((1, 6, 0, 5),)}


@given(st.permutations(range(4)))
def test_documents_but_the_descriptors_may_come_in_any_order(order: list[int]) -> None:
    items: Run = [
        ("start", START),
        ("stop", {"uid": "s"}),
        ("resource", {"uid": "a"}),
        ("stream_resource", {"uid": "b", "uri": "file:///b", "data_key": "x"}),
    ]
    header = _built([items[i] for i in order]).header("v")
    assert (header.start, header.stop, header.resources) == (START, {"uid": "s"}, ({"uid": "a"},))


def _expand(spans: list[Span]) -> list[tuple[int, int]]:
    return [p for s0, s1, i0, i1 in spans for p in zip(range(s0, s1), range(i0, i1), strict=False)]


STEPS = st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 1), st.integers(0, 1))


@given(st.lists(STEPS, max_size=8))
def test_merging_spans_keeps_which_index_each_seq_num_has(steps: list[tuple[int, int, int, int]]) -> None:
    spans: list[Span] = []
    seq, index = 1, 0
    for seqs, indices, seq_gap, index_gap in steps:
        seq, index = seq + seq_gap, index + index_gap
        spans.append((seq, seq + seqs, index, index + indices))
        seq, index = seq + seqs, index + indices
    merged = merge_spans(spans)
    assert _expand(merged) == _expand(spans)
    assert len(merged) <= len(spans)
    assert merge_spans(merged) == merged


def test_span_with_more_frames_than_events_is_not_joined() -> None:
    assert merge_spans([(1, 4, 0, 3), (4, 6, 3, 8), (6, 7, 8, 9)]) == [
        (1, 4, 0, 3),
        (4, 6, 3, 8),
        (6, 7, 8, 9),
    ]


NAMES = st.sampled_from("ab"), st.sampled_from("de")
DATUMS = st.tuples(*NAMES, st.integers(1, 8), st.integers(1, 3), st.integers(0, 9))


@given(st.lists(DATUMS, max_size=12), st.permutations(range(4)), st.integers(0, 16))
def test_the_last_stream_datum_of_a_seq_num_wins(
    datums: list[tuple[str, str, int, int, int]], order: list[int], late: int
) -> None:
    """Whatever resource and descriptor it is of, and wherever their documents are."""
    declared: Run = [(("stream_resource"), {"uid": uid, "uri": uid, "data_key": "x"}) for uid in "ab"]
    declared += [("descriptor", _descriptor(uid)) for uid in "de"]
    items: Run = []
    expected: dict[int, tuple[str, int]] = {}
    for resource, descriptor, seq_num, length, index in datums:
        ends = {"seq_nums": (seq_num, seq_num + length), "indices": (index, index + length)}
        ranges = {name: {"start": start, "stop": stop} for name, (start, stop) in ends.items()}
        items.append(("stream_datum", {"stream_resource": resource, "descriptor": descriptor, **ranges}))
        expected |= {seq_num + n: (resource, index + n) for n in range(length)}
    run: Run = [*(declared[number] for number in order), *items]
    run.insert(late, run.pop(0))
    run.insert(late, run.pop(0))
    header = _built([("start", START), *run]).header("v")
    assert _frames(header) == expected


def _frames(header: RunHeader) -> dict[int, tuple[str, int]]:
    """What each seq_num has, where the later span of the later asset wins."""
    assets = header.assets_of("primary", "x")
    return {seq: (one.resource["uid"], index) for one in assets for seq, index in _expand(list(one.spans))}


def test_frames_of_several_keys_are_kept_in_one_piece() -> None:
    declared: Run = [("stream_resource", {"uid": uid, "uri": uid, "data_key": uid}) for uid in "ab"]
    builder = _built([("start", START), ("descriptor", _descriptor("d")), *declared])
    for number in range(100):
        for resource in "ba":
            builder.add_span(resource, "d", (number + 1, number + 2, number, number + 1), in_order=True)
    assets = builder.header("v").stream_assets
    assert [(asset.data_key, asset.spans) for asset in assets] == [(uid, ((1, 101, 0, 100),)) for uid in "ab"]


@pytest.mark.parametrize("in_order", [True, False])
def test_without_an_order_the_resource_that_was_declared_later_wins(in_order: bool) -> None:
    declared: Run = [("stream_resource", {"uid": uid, "uri": uid, "data_key": "x"}) for uid in "ab"]
    builder = _built([("start", START), ("descriptor", _descriptor("d")), *declared])
    for resource in "ba":
        builder.add_span(resource, "d", (1, 2, 0, 1), in_order=in_order)
    assert _frames(builder.header("v")) == {1: ("a" if in_order else "b", 0)}


@pytest.mark.parametrize("kind", ["resource", "stream_resource"])
def test_resources_of_one_uid_that_differ_say_so(kind: str) -> None:
    one = {"uid": "r", "uri": "file:///a", "data_key": "x", "parameters": {"a": 1, "b": float("nan")}, "spec": "S"}
    same = {"parameters": {"b": float("nan"), "a": 1}, **{k: v for k, v in one.items() if k != "parameters"}}
    other = {**one, "parameters": {"a": 2, "b": float("nan")}}
    datum = {"stream_resource": "r", "descriptor": "d", "seq_nums": RANGE, "indices": RANGE}
    before: Run = [("start", START), ("descriptor", _descriptor("d")), ("stream_datum", datum)]

    def told(*docs: Document) -> bool:
        header = _built([*before, *((kind, doc) for doc in docs)]).header("v")
        [doc] = header.resources if kind == "resource" else [a.resource for a in header.stream_assets]
        return CONTRADICTED in doc

    assert not told(one, same, {**one, "run_start": "r"})
    assert told(one, other)
    assert told(one, other, one)
    assert told(other, one, one)


RANGE = {"start": 1, "stop": 2}


def test_documents_are_kept_as_they_are() -> None:
    start = scan()[0][1]
    header = _built([("start", start)]).header("v")
    assert header.start is start
    assert to_plain(header.start)["motors"] == ["theta"]
