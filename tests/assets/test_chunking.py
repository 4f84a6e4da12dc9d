"""The cutting of rows into blocks: one file each, whole storage chunks up to the target, in proportion to the data."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intake_bluesky.assets.chunking import cut_event, cut_rows
from intake_bluesky.assets.event_layout import EventLayout

U1 = np.dtype("u1")


def layout(frames: int = 1, chunk: int = 1, size: int = 10) -> EventLayout:
    """Frames of `size` bytes."""
    return EventLayout(frames, (size,), (frames, size), U1, chunk)


def cuts(index: Any, target: int, *, reader: Any = None, how: EventLayout | None = None) -> list[int]:
    rows = np.asarray(index)
    files = np.where(rows >= 0, 0, -1) if reader is None else np.asarray(reader)
    return [int(n) for n in cut_rows(files, rows, [how or layout()] * 3, target)]


@pytest.mark.parametrize(
    ("how", "target", "expected"),
    [
        (layout(), 1, list(range(13))),
        (layout(), 50, [0, 5, 10, 12]),
        (layout(chunk=4), 50, [0, 4, 8, 12]),
        (layout(chunk=2), 50, [0, 4, 8, 12]),
        (layout(frames=2, chunk=3), 60, [0, 3, 6, 9, 12]),
        (layout(frames=2, chunk=5), 60, [0, 3, 6, 9, 12]),
        (layout(chunk=6), 50, [0, 6, 12]),
        (layout(chunk=100), 50, [0, 5, 10, 12]),
        (layout(), 10**6, [0, 12]),
    ],
)
def test_storage_chunks_merged_up_to_the_target(how: EventLayout, target: int, expected: list[int]) -> None:
    assert cuts(range(12), target, how=how) == expected


def test_blocks_begin_where_storage_chunks_do() -> None:
    assert cuts(range(3, 15), 50, how=layout(chunk=4)) == [0, 1, 5, 9, 12]


def test_no_block_straddles_a_file() -> None:
    assert cuts([0, 1, 2, 0, 1, 0], 1000, reader=[0, 0, 0, 1, 1, 2]) == [0, 3, 5, 6]


def test_rows_without_frames_have_blocks_of_their_own_while_there_are_few() -> None:
    assert cuts([-1, 0, 1, -1, -1, 2], 1000) == [0, 1, 3, 5, 6]
    assert len(cuts([0, -1] * 500, 10**6)) - 1 <= 2
    assert cuts([-1] * 5, 20) == [0, 2, 4, 5]


def test_skipping_and_shuffling_give_no_task_an_event() -> None:
    assert len(cuts(np.arange(0, 10_000, 50), 200)) - 1 == 10
    assert len(cuts(np.random.default_rng(1).permutation(200), 200)) - 1 == 10
    assert len(cuts(np.zeros(200, int), 200)) - 1 == 10


def test_parts_of_an_event_larger_than_the_target() -> None:
    assert cut_event(layout(frames=10), 100) == [range(10)]
    assert cut_event(layout(frames=10), 45) == [range(4), range(4, 8), range(8, 10)]
    assert cut_event(layout(frames=10, chunk=3), 45) == [range(3), range(3, 6), range(6, 9), range(9, 10)]
    assert cut_event(layout(frames=1), 1) == [range(1)]


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(-1, 40)), max_size=60),
    st.integers(1, 500),
    st.integers(1, 4),
    st.integers(1, 9),
)
def test_blocks_are_of_one_file_and_no_larger_than_asked(
    rows: list[tuple[int, int]], target: int, frames: int, chunk: int
) -> None:
    index = np.array([i for _, i in rows], dtype=np.int64)
    reader = np.array([r if i >= 0 else -1 for r, i in rows], dtype=np.int64)
    how = layout(frames, chunk)
    bounds = cut_rows(reader, index, [how] * 3, target)
    assert bounds[0] == 0
    assert bounds[-1] == len(rows)
    assert (np.diff(bounds) > 0).all()
    most = max(1, target // how.event_bytes, chunk // frames)
    for begin, end in pairwise(bounds):
        assert len(set(reader[begin:end]) - {-1}) <= 1
        assert end - begin <= 2 * most
