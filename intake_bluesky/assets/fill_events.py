"""Reading events of which frames may be missing: a frame that cannot be read is filled, and no other."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from intake_bluesky.assets.event_layout import EventLayout
from intake_bluesky.assets.read_events import PIECE_BYTES, read_events
from intake_bluesky.assets.reader import AssetReader
from intake_bluesky.assets.region import Region
from intake_bluesky.documents.columns import Array, missing
from intake_bluesky.errors import DamagedRun, MissingDependency, UntrustedName

__all__ = ["NEVER_FILLED", "fill_events"]

NEVER_FILLED: Final = (DamagedRun, MissingDependency, UntrustedName)
"""What is wrong, refused or needs an installation: filling is for files that are not there."""


def fill_events(reader: AssetReader, layout: EventLayout, events: Array, out: Array, region: Region) -> None:
    """Read some events as `read_events` does, and give frames that cannot be read the missing value of the dtype.

    Frames are read whole, of whichever part is wanted: one that is damaged is filled in all of its parts alike.

    Parameters
    ----------
    reader, layout, events, out, region
        As for `read_events`.
    """
    if not reader.frame_by_frame and not _opens(reader):  # rather than trying frame after frame
        out[...] = missing(out.shape, out.dtype)
        return
    axis = _frame_axis(layout)
    whole = Region(
        part if number == axis else range(n)
        for number, (part, n) in enumerate(zip(region, layout.event_shape, strict=True))
    )
    if whole == region:
        _read_or_fill(reader, layout, events, out, region)
        return
    # Of large frames a few at a time: out holds only parts of them.
    frames = range(1) if axis is None else region[axis]
    most = max(1, PIECE_BYTES * layout.frames // layout.event_bytes)
    step = max(1, most // len(frames))
    for start in range(0, len(events), step):
        own = events[start : start + step]
        for first in range(0, len(frames), most):
            part = Region(r[first : first + most] if number == axis else r for number, r in enumerate(whole))
            values: Array = np.empty((len(own), *part.shape), out.dtype)
            _read_or_fill(reader, layout, own, values, part)
            inside = [slice(None) if number == axis else slice(r.start, r.stop) for number, r in enumerate(region)]
            out[start : start + step, *_along(axis, slice(first, first + most))] = values[:, *inside]


def _opens(reader: AssetReader) -> bool:
    try:
        reader.structure()
    except NEVER_FILLED:
        raise
    except OSError:
        return False
    return True


def _frame_axis(layout: EventLayout) -> int | None:
    """The axis of an event's value that counts its frames; None where it has one frame."""
    return layout.axes.index(0) if 0 in layout.axes else None


def _along(axis: int | None, part: slice) -> tuple[Any, ...]:
    return () if axis is None else ((slice(None),) * axis + (part,))


def _read_or_fill(reader: AssetReader, layout: EventLayout, events: Array, out: Array, region: Region) -> None:
    try:
        read_events(reader, layout, events, out, region)
        return
    except NEVER_FILLED:
        raise
    except OSError:
        pass
    axis = _frame_axis(layout)
    rows, frames = len(events), range(1) if axis is None else region[axis]
    if rows * len(frames) == 1:
        out[...] = missing(out.shape, out.dtype)
    elif rows > 1:
        for start, stop in _parts(rows, apart=reader.frame_by_frame):
            _read_or_fill(reader, layout, events[start:stop], out[start:stop], region)
    else:
        # Axes before that of the frames are of length one, so that a part of it is contiguous.
        for start, stop in _parts(len(frames), apart=reader.frame_by_frame):
            part = Region(r[start:stop] if number == axis else r for number, r in enumerate(region))
            _read_or_fill(reader, layout, events, out[:, *_along(axis, slice(start, stop))], part)


def _parts(length: int, *, apart: bool) -> list[tuple[int, int]]:
    """Each on its own, where each has a file of its own; else two halves, of which mostly one can be read."""
    if apart:
        return [(number, number + 1) for number in range(length)]
    return [(0, length // 2), (length // 2, length)]
