"""How the frames of files make up the values of events."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from intake_bluesky.assets.declared import declared_dtype, declared_shape
from intake_bluesky.assets.options import JoinMethod
from intake_bluesky.assets.reader import FrameStructure

__all__ = ["EventLayout"]


@dataclass(frozen=True, slots=True)
class EventLayout:
    """How the flat frames of files make up the values of events.

    Attributes
    ----------
    frames : int
        Frames an event.
    frame_shape : tuple of int
        Shape of a frame as files have it.
    event_shape : tuple of int
        Shape of an event's value: as many numbers as `frames` frames have.
    dtype : numpy.dtype
    chunk_frames : int
        Frames in one chunk of the file.
    join : {"stack", "concat"}
        Whether events get an axis of their own or follow each other on the first axis of their values.
    """

    frames: int
    frame_shape: tuple[int, ...]
    event_shape: tuple[int, ...]
    dtype: np.dtype[Any]
    chunk_frames: int = 1
    join: JoinMethod = "stack"

    @property
    def event_bytes(self) -> int:
        """Bytes of one event's value."""
        # Not 0, for events without elements: callers divide by it.
        return max(1, math.prod(self.event_shape) * self.dtype.itemsize)

    @property
    def joined(self) -> bool:
        """Whether events follow each other on their first axis."""
        return self.join == "concat" and bool(self.event_shape)

    @property
    def rows_per_event(self) -> int:
        """How long one event is on the first axis."""
        return self.event_shape[0] if self.joined else 1

    def shape(self, rows: int) -> tuple[int, ...]:
        """Shape of the array of so many events."""
        return (rows * self.rows_per_event, *self.event_shape[self.joined :])

    @property
    def axes(self) -> tuple[int, ...] | None:
        """Which axis of ``(frames, *frame)`` each axis of an event's value is; -1 where its length is one.

        None where a value is its frames in another shape altogether.

        Examples
        --------
        >>> EventLayout(1, (1, 4, 6), (4, 1, 6), np.dtype("u2")).axes
        (2, -1, 3)
        """
        stored = (self.frames, *self.frame_shape)
        long = [number for number, length in enumerate(stored) if length != 1]
        if [stored[number] for number in long] != [length for length in self.event_shape if length != 1]:
            return None
        numbers = iter(long)
        return tuple(next(numbers) if length != 1 else -1 for length in self.event_shape)

    @property
    def divisible(self) -> bool:
        """Whether the first axis of an event's value counts its frames, so that a block may be a part of an event."""
        return self.frames > 1 and self.event_shape == (self.frames, *self.frame_shape)

    @classmethod
    def of(
        cls,
        spec: Mapping[str, Any],
        structure: FrameStructure | None,
        *,
        multiplier: int | None = None,
        whole: bool = False,
        join: JoinMethod = "stack",
        squeeze: bool = False,
    ) -> EventLayout:
        """Combine the header of the file with the data key; where they disagree the file is right.

        Parameters
        ----------
        spec : mapping
            The data key, whose shape is that of one event: ``[frames per event, *frame]``, or that of one frame.
        structure : FrameStructure or None
            From the header of the file; None when there is none to be read.
        multiplier : int or None
            Frames per event as the resource gives them.
        whole : bool
            Whether an event of one frame may have the shape of a frame even where the resource gives a multiplier of 1.
        join : {"stack", "concat"}
        squeeze : bool
            Drop axes of length one.

        Examples
        --------
        >>> header = FrameStructure(10, (4, 6), np.dtype("<u2"))
        >>> EventLayout.of({"shape": [5, 4, 6]}, header).shape(2)
        (2, 5, 4, 6)
        >>> EventLayout.of({"shape": [5, 4, 6]}, header, join="concat").shape(2)
        (10, 4, 6)
        """
        declared = declared_shape(spec)
        if structure is None:
            shape = _declared_event(declared, multiplier)
            frames, frame, dtype, chunk = 1, shape, declared_dtype(spec), 1
        else:
            frame, chunk = structure.frame_shape, structure.chunk_frames
            dtype = declared_dtype(spec) if structure.parsed else structure.dtype
            if structure.parsed and (dtype.names or frame == (1,)):
                frame = (1,) if len(declared) > 1 else ()  # columns are fields, or there is but one
            frames = multiplier or _frames_of(declared, frame)
            shape = _event_shape(declared, frames, frame, whole=whole or multiplier is None)
        kept = tuple(n for n in shape if n != 1) if squeeze else shape
        return cls(frames, frame, () if kept == (1,) and join == "stack" else kept, dtype, chunk, join)

    @classmethod
    def around(cls, layouts: Sequence[EventLayout]) -> EventLayout:
        """The layout of an array that holds the values of all: of the largest shape, of a dtype that holds all dtypes.

        Where numbers of dimensions differ, that of the first.
        """
        first = layouts[0]
        shapes = {own.event_shape for own in layouts if len(own.event_shape) == len(first.event_shape)}
        shape = tuple(max(lengths) for lengths in zip(*shapes, strict=True))
        dtypes = {own.dtype for own in layouts}
        dtype = first.dtype if len(dtypes) == 1 else np.result_type(*dtypes)
        # Chunks and frames of the layout that has this shape, so that blocks are planned by the largest events.
        like = next((own for own in layouts if own.event_shape == shape), first)
        return replace(like, event_shape=shape, dtype=dtype, join=first.join)


def _frames_of(declared: tuple[int | None, ...], frame: tuple[int, ...]) -> int:
    """Frames per event where the resource gives none: a data key with one dimension more than a frame counts them."""
    return (declared[0] or 1) if len(declared) == len(frame) + 1 else 1


def _event_shape(
    declared: tuple[int | None, ...], frames: int, frame: tuple[int, ...], *, whole: bool
) -> tuple[int, ...]:
    if frames > 1 or not whole:
        return (frames, *frame)
    if len(declared) == len(frame):
        return frame
    known = [n for n in declared if n is not None]
    same_size = len(known) == len(declared) and math.prod(known) == math.prod(frame)
    return tuple(known) if same_size else (1, *frame)


def _declared_event(declared: tuple[int | None, ...], multiplier: int | None) -> tuple[int, ...]:
    shape = tuple(n or 1 for n in declared)
    if multiplier is None or shape[:1] == (multiplier,):
        return shape
    return (multiplier, *(shape[1:] if shape[:1] == (1,) else shape))
