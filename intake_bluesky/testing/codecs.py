"""The conformance suite of file formats: what every `Codec` has to pass.

The test file of a format names its codec, and bytes that are damage in it::

    class TestMyCodec(CodecTests):
        codec = MyCodec()
        damaged = (b"no item at all",)

It needs pytest and hypothesis.
"""

from __future__ import annotations

import enum
import pickle
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intake_bluesky.documents.model import Document, identical
from intake_bluesky.documents.pages import event_page, events_of
from intake_bluesky.errors import DamagedRun, UnsupportedOperation
from intake_bluesky.files.codec import Codec
from intake_bluesky.testing import strategies
from intake_bluesky.testing.differences import assert_documents, assert_identical
from intake_bluesky.testing.expected import same_page
from intake_bluesky.testing.plain_runs import scan
from intake_bluesky.testing.runs import EXAMPLES, Run

__all__ = ["CodecTests", "page_of"]


class _Mode(enum.Enum):
    STEP = "step"


class _Level(enum.IntEnum):
    HIGH = 3


class _Name(str, enum.Enum):  # noqa: UP042  # as event-model and ophyd have them
    X = "x"


EMITTED: Final[tuple[Any, ...]] = (
    np.float64(0.1), np.float32(0.1), np.float16(0.1), np.int64(-3), np.uint64(2**64 - 1), np.bool_(True),
    np.str_("text"), np.array(3.5), np.array([0.1, 0.2], np.float32), np.arange(6).reshape(2, 3).T,
    np.array([1, 2], ">i4"), np.array([[1.5, np.nan]]), np.array([np.nan]), np.zeros((0, 3)), np.array(["a", "b"]),
    np.array([True, False]), np.array([None, 2**70, "x"], object), np.float64("nan"), (1, (2.5, None)), {3, 1, 2},
    frozenset({"b"}), _Mode.STEP, _Level.HIGH, _Name.X, [_Mode.STEP, np.float32("nan")], {"deep": [np.array([1, 2])]},
)  # fmt: skip
"""Values that a RunEngine emits, and that are no plain ones."""


class CodecTests:
    """What every codec has to pass; a subclass names the codec, and bytes that are damage in it.

    Attributes
    ----------
    codec : Codec
    damaged : sequence of bytes
        No items, complete or cut: `split` refuses each, with its place.
    undecodable : sequence of bytes
        What `decode` refuses.
    odd : sequence of bytes
        Items, and bytes that are none, which are hard to separate when several are decoded at once.
    refused : sequence
        Values that the format has no form for.
    drawn : hypothesis strategy
        Documents of whatever the format holds, however odd.
    """

    codec: ClassVar[Codec]
    damaged: ClassVar[Sequence[bytes]] = ()
    undecodable: ClassVar[Sequence[bytes]] = ()
    odd: ClassVar[Sequence[bytes]] = ()
    refused: ClassVar[Sequence[Any]] = (object(), [object()])
    drawn: ClassVar[st.SearchStrategy[Document]] = strategies.metadata()

    def encoded(self, documents: Iterable[tuple[str, Document]]) -> bytes:
        """All of them, one after the other."""
        return b"".join(self.codec.encode(name, doc) for name, doc in documents)

    def decoded(self, raw: bytes) -> Run:
        """Every item, split and decoded."""
        return [self.codec.decode(raw[item.start : item.stop]) for item in self.codec.split(raw)]

    @pytest.mark.parametrize("name", EXAMPLES)
    def test_example_comes_back(self, tmp_path: Path, name: str) -> None:
        run = EXAMPLES[name](tmp_path)
        assert_documents(self.decoded(self.encoded(run)), run)

    @pytest.mark.hypothesis
    def test_drawn_runs_come_back(self) -> None:
        @given(strategies.runs())
        def check(run: Run) -> None:
            assert_documents(self.decoded(self.encoded(run)), run)

        check()

    @pytest.mark.hypothesis
    def test_drawn_documents_come_back(self) -> None:
        @given(self._several_drawn())
        def check(documents: Run) -> None:
            assert_documents(self.decoded(self.encoded(documents)), documents)

        check()

    def _several_drawn(self) -> st.SearchStrategy[Run]:
        return st.lists(st.tuples(st.sampled_from(["start", "event", "stop"]), self.drawn), max_size=4)

    @pytest.mark.parametrize("value", EMITTED, ids=repr)
    def test_what_a_run_engine_emits_comes_back(self, value: Any) -> None:
        doc = {"uid": "a", "value": value, "others": [None, value]}
        [(_, observed)] = self.decoded(self.codec.encode("event", doc))
        assert_identical(observed, doc, "event")

    def test_what_has_no_form_is_refused(self) -> None:
        # A document within itself: an encoder that follows it without end would crash the process.
        within: Document = {}
        within["self"] = within
        for value in (*self.refused, within):
            with pytest.raises(UnsupportedOperation, match="a start document cannot be written"):
                self.codec.encode("start", {"uid": "a", "sample": value})

    def test_cut_anywhere_only_whole_items_come(self) -> None:
        raw = self.encoded(scan()[:4])
        ends = [item.stop for item in self.codec.split(raw)]
        assert len(ends) == 4
        assert ends[-1] == len(raw)
        for cut in range(len(raw) + 1):
            assert [item.stop for item in self.codec.split(raw[:cut])] == [end for end in ends if end <= cut]

    @pytest.mark.parametrize("kind", [bytes, memoryview])
    def test_items_tile_the_data(self, kind: Any) -> None:
        raw = self.encoded(scan())
        items = list(self.codec.split(kind(raw)))
        assert [item.name for item in items] == [name for name, _ in scan()]
        assert [item.start for item in items] == [0, *(item.stop for item in items[:-1])]
        assert items[-1].stop == len(raw)
        assert list(self.codec.split(kind(raw), items[2].start)) == items[2:]
        observed = [self.codec.decode(kind(raw)[item.start : item.stop]) for item in items]
        assert_documents(observed, scan())

    def test_damage_is_told_with_its_place(self) -> None:
        first = self.codec.encode("start", {"uid": "a"})
        for damage in self.damaged:
            items = self.codec.split(first + damage + self.codec.encode("stop", {}))
            assert next(items).stop == len(first)
            with pytest.raises(DamagedRun, match=f"byte {len(first)}"):
                next(items)

    def test_what_cannot_be_decoded_is_damage(self) -> None:
        for item in self.undecodable:
            with pytest.raises(DamagedRun):
                self.codec.decode(item)

    def test_it_pickles(self) -> None:
        assert type(pickle.loads(pickle.dumps(self.codec))) is type(self.codec)

    def test_only_the_events_of_the_descriptor_come_and_in_order(self) -> None:
        raw = self.encoded(_of_two_descriptors())
        for block in (raw, memoryview(raw)):
            pages = list(self.codec.event_pages(block, "d"))
            assert [page.seq_num.tolist() for page in pages] == [[1, 2, 3], [4, 5], [6], [7, 8], [9]]
            assert all(identical(page.data["x"], page.seq_num) for page in pages)
        [single, page] = self.codec.event_pages(raw, "other")
        assert (list(single.data), list(page.data)) == (["x", "mentions"], ["x"])
        assert list(self.codec.event_pages(raw, "nobody")) == []

    def test_only_the_keys_asked_for_come(self) -> None:
        raw = self.codec.encode("event_page", page_of({"x": [1, 2], "y": [3, 4]}))
        [page] = self.codec.event_pages(raw, "d", data=(), timestamps=())
        assert (dict(page.data), dict(page.timestamps), page.seq_num.tolist()) == ({}, {}, [1, 2])
        [page] = self.codec.event_pages(raw, "d", data={"y"}, timestamps={"x"})
        assert (list(page.data), list(page.timestamps)) == (["y"], ["x"])

    def test_a_key_of_some_events_is_null_in_the_others(self) -> None:
        single = {"descriptor": "d", "uid": "e", "time": 1.5, "timestamps": {}, "filled": {}}
        rows: list[Document] = [{"x": 1}, {"x": 2, "y": 1.5}, {}, {"y": 2.5}] * 50
        raw = self.encoded(("event", {**single, "seq_num": n, "data": row}) for n, row in enumerate(rows))
        [page] = self.codec.event_pages(raw, "d")
        assert identical(page.data["x"], [1.0, 2.0, float("nan"), float("nan")] * 50)
        assert identical(page.data["y"], [float("nan"), 1.5, float("nan"), 2.5] * 50)

    @pytest.mark.hypothesis
    def test_pages_and_single_events_give_the_columns_of_their_documents(self) -> None:
        @given(strategies.kinds().flatmap(strategies.columns))
        def check(values: list[Any]) -> None:
            raw = self.codec.encode("event_page", page_of({"x": values}))
            [(_, doc)] = self.decoded(raw)  # what is written counts
            expected, _ = event_page(doc, timestamps={"x"})
            [whole] = self.codec.event_pages(raw, "d", timestamps={"x"})
            assert same_page(whole, expected)
            singles = self.encoded(("event", event) for event in events_of(page_of({"x": values})))
            [joined] = self.codec.event_pages(singles, "d", timestamps={"x"})
            assert same_page(joined, expected)

        check()

    @pytest.mark.hypothesis
    def test_several_are_decoded_as_one_by_one_or_fewer(self) -> None:
        whole = st.tuples(st.sampled_from(["start", "event"]), self.drawn).map(lambda pair: self.codec.encode(*pair))
        cut = whole.map(lambda item: item[:-1])
        odd = st.sampled_from((b"", *self.damaged, *self.undecodable, *self.odd))
        items = st.lists(odd, max_size=6) | st.lists(whole, max_size=6) | st.lists(whole | cut | odd, max_size=6)

        @given(items.map(b"".join), st.integers(0, 300))
        def check(raw: bytes, size: int) -> None:
            # Decoding one by one is the meaning; several at once is a faster way to a beginning of the same list.
            expected, places = self._one_by_one(raw)
            for first, start in enumerate((0, *places[:1])):
                pairs, stops = self.codec.decode_several(raw, start, size)
                assert len(pairs) == len(stops)
                assert_documents(pairs, expected[first:][: len(pairs)])
                assert stops == places[first:][: len(stops)]

        check()

    def _one_by_one(self, raw: bytes) -> tuple[Run, list[int]]:
        """Items up to the first that is none."""
        pairs: Run = []
        stops: list[int] = []
        try:
            for item in self.codec.split(raw):
                pairs.append(self.codec.decode(raw[item.start : item.stop]))
                stops.append(item.stop)
        except DamagedRun:
            pass
        return pairs, stops


def page_of(data: dict[str, Any], **more: Any) -> Document:
    """Make an event page of the descriptor ``d``."""
    events = len(next(iter(data.values())))
    times = [1.5 * n for n in range(events)]
    page = {"uid": [str(n) for n in range(events)], "seq_num": [*range(1, events + 1)], "time": times}
    return {"descriptor": "d", **page, "data": data, "timestamps": dict.fromkeys(data, times), "filled": {}, **more}


def _of_two_descriptors() -> Run:
    single = {"uid": "e", "time": 1.5, "timestamps": {"x": 2.5}, "filled": {}}

    def event(number: int) -> Document:
        return {**single, "descriptor": "d", "seq_num": number, "data": {"x": number}}

    return [
        ("descriptor", {"uid": "d", "run_start": "a"}),
        ("event", event(1)),
        ("event", event(2)),
        ("stream_datum", {"descriptor": "d", "stream_resource": "s"}),
        ("event", {**single, "descriptor": "other", "seq_num": 1, "data": {"x": 9, "mentions": "d"}}),
        ("event", event(3)),
        ("event_page", page_of({"x": [4, 5]}, seq_num=[4, 5])),
        ("event_page", page_of({"x": [9]}, descriptor="other")),
        ("event_page", page_of({"x": [6]}, seq_num=[6])),
        ("bulk_events", {"p": [event(7), event(8)]}),
        ("event", event(9)),
    ]
