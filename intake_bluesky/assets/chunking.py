"""The plan of blocks: which rows are read together, and into which parts an event is cut that alone is too large."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import numpy as np

from intake_bluesky.assets.event_layout import EventLayout
from intake_bluesky.documents.columns import Array

__all__ = ["cut_event", "cut_rows", "follows_file"]

MOST_GAPS: Final = 64
"""Runs of rows without frames that get blocks of their own; more are read with their neighbours."""


def follows_file(reader: Array, index: Array) -> bool:
    """Whether rows are the events of one file, one after the other, as those of most long streams are."""
    if not len(index) or index[0] < 0 or index[-1] - index[0] != len(index) - 1:
        return False
    return bool((reader == reader[0]).all() and (index == np.arange(index[0], index[-1] + 1)).all())


def cut_rows(reader: Array, index: Array, layouts: Sequence[EventLayout], target: int) -> Array:
    """Cut rows into blocks: one file each, whole events, storage chunks merged up to a target size.

    Parameters
    ----------
    reader, index : numpy.ndarray, shape (rows,), dtype int64
        File and event in the file of each row; -1 where a row has none.
    layouts : sequence of EventLayout
        Of each file.
    target : int
        Bytes.

    Returns
    -------
    numpy.ndarray, shape (blocks + 1,), dtype int64
        Where blocks begin, and the end.
    """
    rows = len(index)
    if not rows:
        return np.zeros(1, np.int64)
    if follows_file(reader, index):
        begin, most = int(index[0]), _events_per_block(layouts[int(reader[0])], target)
        blocks: Array = np.r_[0, np.arange(begin - begin % most + most, begin + rows, most) - begin, rows]
        return blocks
    there = index >= 0
    # Rows without frames count to the file of the row before them, those at the beginning to the first one there is.
    last = np.maximum.accumulate(np.where(there, np.arange(rows), int(np.argmax(there))))
    change = np.diff(reader[last]) != 0
    gaps = np.diff(there)
    if gaps.sum() <= MOST_GAPS:  # so that rows without frames are in the way of as few others as can be
        change |= gaps
    edges = [0, *(np.flatnonzero(change) + 1).tolist(), rows]
    files = reader[last[edges[:-1]]].tolist()
    events = [_events_per_block(layouts[max(number, 0)], target) for number in files]
    parts = [
        begin + _cut_file(index[last[begin:end]], most)
        for (begin, end), most in zip(pairwise(edges), events, strict=True)
    ]
    bounds: Array = np.concatenate([*parts, [rows]]).astype(np.int64)
    return bounds


def _cut_file(index: Array, events: int) -> Array:
    """Where blocks begin within rows of one file: where the storage chunks do, if the rows follow the file."""
    steps = np.diff(index)
    # At least half of the events in between, and each at most twice on average: only then are blocks that end where
    # storage chunks do about as large as the target. Otherwise rows are counted.
    dense = (steps >= 0).all() and int(index[-1] - index[0]) < 2 * len(index) < 4 * int(index[-1] - index[0] + 1)
    if not dense:
        return np.arange(0, len(index), events)
    cuts: Array = np.r_[0, np.flatnonzero(np.diff(index // events)) + 1]
    return cuts


def _events_per_block(layout: EventLayout, target: int) -> int:
    events = max(1, target // layout.event_bytes)
    chunk = math.lcm(layout.chunk_frames, layout.frames) // layout.frames
    if chunk <= events:
        # Down to whole chunks of the file, so that no chunk is decompressed for two blocks.
        return events - events % chunk
    of_chunk = layout.chunk_frames // layout.frames
    stored = layout.event_bytes * of_chunk
    # A chunk larger than the target is read whole if it is not much larger: cut, it would be decompressed once a part.
    return max(events, of_chunk) if stored <= 4 * target else events


def cut_event(layout: EventLayout, target: int) -> list[range]:
    """Frames of an event that are read together: all of them, unless one event alone is more than the target."""
    if not layout.divisible or layout.event_bytes <= target:
        return [range(layout.frames)]
    frames = max(1, target * layout.frames // layout.event_bytes)
    if layout.chunk_frames <= frames:
        frames -= frames % layout.chunk_frames
    return [range(begin, min(begin + frames, layout.frames)) for begin in range(0, layout.frames, frames)]
