"""Blocks: which rows are read together, and the reading of them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Final

import numpy as np

from intake_bluesky.assets.layout import EventLayout
from intake_bluesky.assets.reader import AssetReader, UnreadableReader
from intake_bluesky.columns import Array, missing
from intake_bluesky.errors import (
    AssetUnavailable,
    DamagedRun,
    IntakeBlueskyError,
    MissingDependency,
    UntrustedName,
)

__all__ = ["Block", "cut_rows", "load_block", "windows"]

GAP_BYTES: Final = 256 * 2**10
"""What is read rather than skipped between two wanted frames: a call costs about as much."""
MOST_GAPS: Final = 64
"""Runs of rows without frames that get blocks of their own; more are read with their neighbours."""
PIECE_BYTES: Final = 16 * 2**20
"""Most that is read at once where wanted and unwanted frames alternate."""


def cut_rows(reader: Array, index: Array, layout: EventLayout, target: int) -> Array:
    """Cut rows into blocks: one file each, whole events, storage chunks merged up to a target size.

    Parameters
    ----------
    reader, index : numpy.ndarray, shape (rows,), dtype int64
        File and event in the file of each row; -1 where a row has none.
    layout : EventLayout
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
    there = index >= 0
    last = np.maximum.accumulate(np.where(there, np.arange(rows), int(np.argmax(there))))
    change = np.diff(reader[last]) != 0
    gaps = np.diff(there)
    if gaps.sum() <= MOST_GAPS:  # so that rows without frames are in the way of as few others as can be
        change |= gaps
    edges = [0, *(np.flatnonzero(change) + 1).tolist(), rows]
    events = _events_per_block(layout, target)
    parts = [begin + _cut_file(index[last[begin:end]], events) for begin, end in pairwise(edges)]
    bounds: Array = np.concatenate([*parts, [rows]]).astype(np.int64)
    return bounds


def _cut_file(index: Array, events: int) -> Array:
    """Where blocks begin within rows of one file: where the storage chunks do, if the rows follow the file."""
    steps = np.diff(index)
    dense = (steps >= 0).all() and int(index[-1] - index[0]) < 2 * len(index) < 4 * int(index[-1] - index[0] + 1)
    if not dense:
        return np.arange(0, len(index), events)
    cuts: Array = np.r_[0, np.flatnonzero(np.diff(index // events)) + 1]
    return cuts


def _events_per_block(layout: EventLayout, target: int) -> int:
    events = max(1, target // layout.event_bytes)
    chunk = math.lcm(layout.chunk_frames, layout.frames) // layout.frames
    if chunk <= events:
        return events - events % chunk
    of_chunk = layout.chunk_frames // layout.frames
    stored = layout.event_bytes * of_chunk
    return max(events, of_chunk) if stored <= 4 * target else events


def windows(layout: EventLayout, target: int) -> list[tuple[int, int]]:
    """Frames of an event that are read together: all of them, unless one event alone is more than the target."""
    if not layout.divisible or layout.event_bytes <= target:
        return [(0, layout.frames)]
    frames = max(1, target * layout.frames // layout.event_bytes)
    if layout.chunk_frames <= frames:
        frames -= frames % layout.chunk_frames
    return [(begin, min(begin + frames, layout.frames)) for begin in range(0, layout.frames, frames)]


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Some rows of an array, all from one file: what one dask task reads.

    Attributes
    ----------
    key : str
        For messages.
    reader : AssetReader or None
        None where no row has frames.
    index : range or numpy.ndarray, shape (rows,), dtype int64
        Event in the file of each row; -1 where a row has none.
    window : (int, int)
        Which frames of each event; all of them, unless there is one row only.
    layout : EventLayout
    fill : bool
        Whether missing frames are filled, whatever their dtype.
    note : str
        How many rows have no frames, and why.
    """

    key: str
    reader: AssetReader | None
    index: range | Array
    window: tuple[int, int]
    layout: EventLayout
    fill: bool
    note: str = ""

    @property
    def shape(self) -> tuple[int, ...]:
        """``(rows, frames of each, *frame)``."""
        return (len(self.index), self.window[1] - self.window[0], *self.layout.frame_shape)

    @property
    def rows_on_first_axis(self) -> int:
        """How long the block is on the first axis of the array."""
        layout, frames = self.layout, self.window[1] - self.window[0]
        part = frames if layout.join == "concat" and frames < layout.frames else layout.rows_per_event
        return len(self.index) * part

    def load(self) -> Array:
        """Read the block.

        Returns
        -------
        numpy.ndarray, shape `shape`
        """
        out: Array = np.empty(self.shape, self.layout.dtype)
        self.load_into(out)
        return out

    def load_into(self, out: Array) -> None:
        """Read the block into an array of shape `shape`, C-contiguous.

        Raises
        ------
        AssetUnavailable
            When frames are missing and not to be filled.
        """
        index = np.asarray(self.index)
        present = index >= 0
        if not present.all():
            self._lacking(out, ~present)
        if self.reader is None or not present.any():
            return
        try:
            with self.reader.session():
                self._read(self.reader, index, out)
        except (DamagedRun, MissingDependency, UntrustedName):
            raise
        except OSError as error:
            if not self.fill:
                raise self._unavailable(self.reader, error) from error
            self._fill_around(self.reader, index, out)

    def _fill_around(self, reader: AssetReader, index: Array, out: Array) -> None:
        """Fill what cannot be read: all of a file, or of many files those that are not there."""
        out[...] = missing(out.shape, out.dtype)
        if not reader.frame_by_frame:
            return
        for row in np.flatnonzero(index >= 0).tolist():
            one = replace(self, index=index[row : row + 1], fill=False)
            with suppress(AssetUnavailable):
                out[row] = one.load()[0]

    def _lacking(self, out: Array, rows: Array) -> None:
        if not self.fill and out.dtype.kind not in "fc":
            raise AssetUnavailable(
                f"{self.key!r} {self.note}; {out.dtype} has no value that says so: ask with "
                'on_missing="fill" for zeros, or trim=True for the rows that have all'
            )
        out[rows] = missing((int(rows.sum()), *out.shape[1:]), out.dtype)

    def _unavailable(self, reader: AssetReader, error: OSError) -> IntakeBlueskyError:
        if isinstance(reader, UnreadableReader):
            return AssetUnavailable(f"{self.key!r} cannot be read: {error}")
        what = "there is no such file" if isinstance(error, FileNotFoundError) else str(error)
        file = getattr(error, "filename", None) or reader.path
        return AssetUnavailable(
            f"{self.key!r} cannot be read from {file}: {what}. If the data moved, say where to with "
            'root_map={old: new}; with on_missing="fill" what is missing is filled'
        )

    def _read(self, reader: AssetReader, index: Array, out: Array) -> None:
        begin, end = self.window
        frames = self.layout.frames
        flat = out.reshape(-1, *self.layout.frame_shape)
        if isinstance(self.index, range) or len(index) == 1:
            start = int(index[0]) * frames
            reader.read_into(start + begin, start + (len(index) - 1) * frames + end, flat)
            return
        for rows, events in self._pieces(index):
            first, last = int(events[0]), int(events[-1])
            straight = (np.diff(events) == 1).all() and (np.diff(rows) == 1).all()
            if straight:
                part = out[rows[0] : rows[-1] + 1].reshape(-1, *self.layout.frame_shape)
                reader.read_into(first * frames, (last + 1) * frames, part)
                continue
            cover: Array = np.empty(((last - first + 1), *out.shape[1:]), out.dtype)
            reader.read_into(first * frames, (last + 1) * frames, cover.reshape(-1, *self.layout.frame_shape))
            out[rows] = cover[events - first]

    def _pieces(self, index: Array) -> Iterator[tuple[Array, Array]]:
        """Rows and their events, by rising event, in groups that one call reads."""
        present = np.flatnonzero(index >= 0)
        rows = present[np.argsort(index[present], kind="stable")]
        events = index[rows]
        size, chunk = self.layout.event_bytes, self.layout.chunk_frames // self.layout.frames
        apart = np.diff(events) > 1 + max(GAP_BYTES // size, chunk)
        group = np.r_[0, np.cumsum(apart)]
        if not ((np.diff(events) == 1) & (np.diff(rows) == 1)).all():  # bound what is read beside the point
            group = group * len(events) + (events - events[0]) // max(1, PIECE_BYTES // size, chunk)
        bounds = np.flatnonzero(np.diff(group)) + 1
        yield from zip(np.split(rows, bounds), np.split(events, bounds), strict=True)


def load_block(block: Any) -> Array:
    """Read the one block of an object array, as a dask task does, in the shape that the array has there."""
    only: Block = block.item()
    return only.layout.arrange(only.load())
