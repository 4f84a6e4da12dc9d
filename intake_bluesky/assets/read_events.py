"""Reading events, or the same part of each, out of one file."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from intake_bluesky.assets.event_layout import EventLayout
from intake_bluesky.assets.reader import AssetReader
from intake_bluesky.assets.region import Region
from intake_bluesky.assets.remote.remote_file import FileReplaced
from intake_bluesky.assets.whole_numbers import changed, holds_all
from intake_bluesky.documents.columns import Array
from intake_bluesky.errors import DamagedRun

__all__ = ["read_events"]

GAP_BYTES: Final = 256 * 2**10
"""What is read rather than skipped between two wanted events: a call costs about as much."""
PIECE_BYTES: Final = 16 * 2**20
"""Most that is read at once where wanted and unwanted events alternate."""


def read_events(reader: AssetReader, layout: EventLayout, events: Array, out: Array, region: Region) -> None:
    """Read some events of one file.

    Parameters
    ----------
    reader : AssetReader
    layout : EventLayout
        Of this file.
    events : numpy.ndarray, shape (rows,), dtype int64
        Which event each row is; in any order, repeats allowed.
    out : numpy.ndarray, shape ``(rows, *region.shape)``, C-contiguous
    region : Region
        Of each event's value, in steps of one.

    Raises
    ------
    OSError
        As the reader does.
    DamagedRun
        When the dtype of `out`, which is that of several files, does not hold an integer of this one.
    """
    part = _EventFrames.of(layout, region)

    def read() -> None:
        with reader.session():
            for rows, numbers in part.pieces(events, apart=reader.frame_by_frame):
                part.read(reader, rows, numbers, out)

    try:
        read()
    except FileReplaced:
        read()  # all of it: no values of two versions stand side by side


@dataclass(frozen=True, slots=True)
class _EventFrames:
    """A region of the frames of each event: the first axis counts them, the others are those of a frame."""

    layout: EventLayout
    region: Region

    @classmethod
    def of(cls, layout: EventLayout, region: Region) -> _EventFrames:
        """The frames, and the part of each, that make up a region of each value."""
        each = [range(length) for length in (layout.frames, *layout.frame_shape)]
        for axis, wanted in zip(layout.axes, region, strict=True):
            if axis >= 0:
                each[axis] = wanted
        return cls(layout, Region(each))

    @property
    def _of_frame(self) -> Region:
        """The region of each frame as readers take it: the empty one for all of it."""
        return Region() if self.region.shape[1:] == self.layout.frame_shape else Region(self.region[1:])

    def pieces(self, events: Array, *, apart: bool = False) -> Iterator[tuple[Array, Array]]:
        """Rows and their events, by rising event, in groups that one call reads.

        With `apart` no unwanted event is read: its file may be missing while the others exist.
        """
        # In the order of the file, so that each chunk is decompressed once and disks read forwards; stable, so that
        # rows that rise already stay one slice.
        rows = np.argsort(events, kind="stable")
        numbers = events[rows]
        # Where not all frames of each event are wanted, unwanted ones are between those of two events.
        whole = len(self.region[0]) == self.layout.frames
        group = self._groups(rows, numbers, apart=apart) if whole else np.arange(len(numbers))
        bounds = np.flatnonzero(np.diff(group)) + 1
        yield from zip(np.split(rows, bounds), np.split(numbers, bounds), strict=True)

    def _groups(self, rows: Array, numbers: Array, *, apart: bool) -> Array:
        size = max(1, math.prod(self.region.shape) * self.layout.dtype.itemsize)
        chunk = self.layout.chunk_frames // self.layout.frames
        steps = np.diff(numbers)
        gap = 0 if apart else max(GAP_BYTES // size, chunk)
        group: Array = np.r_[0, np.cumsum(steps > 1 + gap)]
        if not ((steps == 1) & (np.diff(rows) == 1)).all():  # bound what is read beside the point
            group = group * len(numbers) + (numbers - numbers[0]) // max(1, PIECE_BYTES // size, chunk)
        return group

    def read(self, reader: AssetReader, rows: Array, numbers: Array, out: Array) -> None:
        """Read events that follow each other closely into their rows."""
        first, last = int(numbers[0]), int(numbers[-1])
        start = first * self.layout.frames + self.region[0].start
        stop = last * self.layout.frames + self.region[0].stop
        straight = last - first + 1 == len(numbers) and (np.diff(numbers) == 1).all() and (np.diff(rows) == 1).all()
        own = out.dtype if holds_all(out.dtype, self.layout.dtype) else self.layout.dtype
        if straight and own == out.dtype:
            target = out[rows[0] : rows[-1] + 1].reshape(-1, *self.region.shape[1:])
            reader.read_into(start, stop, target, self._of_frame)
            return
        cover: Array = np.empty((last - first + 1, *out.shape[1:]), own)
        reader.read_into(start, stop, cover.reshape(-1, *self.region.shape[1:]), self._of_frame)
        values = cover[numbers - first]
        out[rows] = values
        if own != out.dtype:
            _check(reader, values, out[rows])


def _check(reader: AssetReader, values: Array, joined: Array) -> None:
    lost = changed(values, joined)
    if lost.any():
        raise DamagedRun(
            f"{reader.path} holds {values[lost][0]}, as {values.dtype}, and other files of the key hold another dtype: "
            f"the {joined.dtype} that all would be does not hold that number. Read the file by itself"
        )
