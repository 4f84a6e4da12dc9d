"""Rows of a Dataset: rewinds, and parts that disagree."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from intake_bluesky.datasets.rows import Rows, last_of_each, seq_nums_of


def rows_of(seq_num: list[int], frames: dict[str, list[int]] | None = None, *, trim: bool = False) -> Rows:
    seq = np.array(seq_num, dtype=np.int64)
    streamed = {key: np.array(nums, dtype=np.int64) for key, nums in (frames or {}).items()}
    return Rows.of(seq, 100.0 + np.arange(len(seq)), streamed, trim=trim)


NUMBERS = st.lists(st.integers(1, 20), max_size=40)


@given(NUMBERS | NUMBERS.map(sorted))
@example([1, 2, 2, 3])
def test_the_last_event_of_each_seq_num_counts(seq_num: list[int]) -> None:
    expected = [max(i for i, n in enumerate(seq_num) if n == wanted) for wanted in sorted(set(seq_num))]
    assert last_of_each(np.array(seq_num, dtype=np.int64)).tolist() == expected


def test_a_rewind_leaves_the_repeated_events_out() -> None:
    rows = rows_of([1, 2, 3, 1, 2, 3, 4])
    assert rows.seq_num.tolist() == [1, 2, 3, 4]
    assert rows.event.tolist() == [3, 4, 5, 6]
    assert rows.time.tolist() == [103.0, 104.0, 105.0, 106.0]
    assert rows.stored == 7
    assert rows.straight


def test_an_abort_after_a_rewind_keeps_later_seq_nums_in_their_place() -> None:
    rows = rows_of([1, 2, 3, 4, 5, 2])
    assert rows.seq_num.tolist() == [1, 2, 3, 4, 5]
    assert rows.event.tolist() == [0, 5, 2, 3, 4]
    assert not rows.straight


def test_frames_without_events_are_rows_and_the_other_way_round() -> None:
    rows = rows_of([1, 2, 3], {"det": [2, 3, 4, 5]})
    assert rows.seq_num.tolist() == [1, 2, 3, 4, 5]
    assert rows.event.tolist() == [0, 1, 2, -1, -1]
    assert np.isnan(rows.time[3:]).all()
    assert rows.lacking == {"det": 1, "events": 2}


def test_trim_keeps_the_common_rows() -> None:
    rows = rows_of([1, 2, 3], {"det": [2, 3, 4, 5]}, trim=True)
    assert rows.seq_num.tolist() == [2, 3]
    assert rows.lacking == {}


def test_rows_can_be_left_out_by_seq_num() -> None:
    rows = rows_of([1, 2, 1, 3]).without(np.array([2, 7]))
    assert rows.seq_num.tolist() == [1, 3]
    assert rows.event.tolist() == [2, 3]
    assert rows.time.tolist() == [102.0, 103.0]


def test_a_stream_without_events_has_the_rows_of_its_frames() -> None:
    rows = rows_of([], {"det": [1, 2, 3]})
    assert rows.seq_num.tolist() == [1, 2, 3]
    assert rows.event.tolist() == [-1, -1, -1]
    assert rows.lacking == {}


def test_nothing_at_all_is_no_rows() -> None:
    assert len(rows_of([])) == 0
    assert len(rows_of([], {"det": []})) == 0


@pytest.mark.parametrize(
    ("spans", "expected"),
    [
        ([], []),
        ([(1, 4, 0, 3)], [1, 2, 3]),
        ([(1, 4, 0, 5)], [1, 2, 3]),  # two frames skipped
        ([(1, 6, 0, 3)], [1, 2, 3]),  # frames lag the events
        ([(1, 4, 0, 3), (2, 4, 3, 5)], [1, 2, 3]),  # a rewind
    ],
)
def test_spans_speak_of_seq_nums(spans: list[tuple[int, int, int, int]], expected: list[int]) -> None:
    assert seq_nums_of(spans).tolist() == expected
