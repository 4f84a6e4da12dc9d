"""How the frames of files make up the values of events."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from intake_bluesky.assets.declared import declared_dtype, declared_shape
from intake_bluesky.assets.options import JoinMethod
from intake_bluesky.assets.reader import FrameStructure
from intake_bluesky.assets.whole_numbers import whole
from intake_bluesky.errors import AssetUnavailable
from intake_bluesky.runtime.sizes import largest

__all__ = ["EventLayout", "joinable"]


LARGEST_EVENT: Final = 2**44  # bytes of one event of a key; documents may claim more


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
    def axes(self) -> tuple[int, ...]:
        """Which axis of ``(frames, *frame)`` each axis of an event's value is; -1 where its length is one.

        Examples
        --------
        >>> EventLayout(1, (1, 4, 6), (4, 1, 6), np.dtype("u2")).axes
        (2, -1, 3)
        """
        stored = (self.frames, *self.frame_shape)
        numbers = iter([number for number, length in enumerate(stored) if length != 1])
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
        events: int | None = None,
        whole: bool = False,
        join: JoinMethod = "stack",
        squeeze: bool = False,
    ) -> EventLayout:
        """Combine the header of the file with the data key; where they disagree on lengths the file is right.

        Values are never made to fit: only axes of length one come and go.

        Parameters
        ----------
        spec : mapping
            The data key, whose shape is that of one event: ``[frames per event, *frame]``, or that of one frame.
        structure : FrameStructure or None
            From the header of the file; None when there is none to be read.
        multiplier : int or None
            Frames per event as the resource gives them; 0 where it gives that, which no event has.
        events : int or None
            How many events the documents know of in the file; None where that is not known.
        whole : bool
            Whether an event of one frame may have the shape of a frame even where the resource gives a multiplier of 1.
        join : {"stack", "concat"}
        squeeze : bool
            Drop axes of length one.

        Raises
        ------
        AssetUnavailable
            When the documents and the file leave open which part of the file an event is.

        Examples
        --------
        >>> header = FrameStructure(10, (4, 6), np.dtype("<u2"))
        >>> EventLayout.of({"shape": [5, 4, 6]}, header).shape(2)
        (2, 5, 4, 6)
        >>> EventLayout.of({"shape": [5, 4, 6]}, header, join="concat").shape(2)
        (10, 4, 6)

        A dataset of one image, whose first axis counts no frames:

        >>> EventLayout.of({"shape": [1, 4, 6]}, FrameStructure(4, (6,), np.dtype("<u2")), multiplier=1).event_shape
        (1, 4, 6)
        """
        declared = declared_shape(spec)
        if structure is None:
            shape = _declared_event(declared, multiplier or None)
            frames, frame, dtype, chunk = 1, shape, declared_dtype(spec), 1
        else:
            frame, chunk = structure.frame_shape, structure.chunk_frames
            dtype = declared_dtype(spec) if structure.parsed else structure.dtype
            if structure.parsed and (dtype.names or frame == (1,)):
                frame = (1,) if len(declared) > 1 else ()  # columns are fields, or there is but one
            if not multiplier:
                _refuse_odd_count(spec, frame)
            frames = multiplier or _frames_of(declared, frame)
            held = structure.frames or 0
            if frames == 1 and events in (None, 1) and _is_one_frame(declared, held, frame):
                frames, shape = held, _event_shape(declared, 1, (held, *frame), whole=whole or not multiplier)
            else:
                shape = _event_shape(declared, frames, frame, whole=whole or not multiplier)
            _refuse_unclear(declared, structure, frames, multiplier, events)
        kept = tuple(n for n in shape if n != 1) if squeeze else shape
        found = cls(frames, frame, () if kept == (1,) and join == "stack" else kept, dtype, chunk, join)
        return found if found._is_possible(structure) else cls(1, (), (), dtype, 1, join)

    def _is_possible(self, structure: FrameStructure | None) -> bool:
        """Whether a file may hold an event of this layout; raises for one that its header says it does not hold."""
        held = None if structure is None else structure.frames or 0
        if self.event_bytes <= (LARGEST_EVENT if held is None or held >= self.frames else largest()):
            return True
        if held is None:  # nothing is known but what the documents claim
            return False
        raise AssetUnavailable(
            f"{self.frames:,} frames per event are {self.event_bytes:,} bytes, and it has {held:,} frames: "
            "no event is whole"
        )

    @classmethod
    def given(
        cls, structure: FrameStructure, like: EventLayout | None, *, join: JoinMethod, squeeze: bool
    ) -> EventLayout:
        """The layout of values that are whole events already; of the shape of others but for axes of length one."""
        frame = structure.frame_shape
        if like is not None and _long(like.event_shape) == _long(frame):
            return cls(1, frame, like.event_shape, structure.dtype, 1, join)
        return cls(1, frame, tuple(n for n in frame if n != 1) if squeeze else frame, structure.dtype, 1, join)

    @classmethod
    def around(cls, layouts: Sequence[EventLayout]) -> EventLayout:
        """The layout of an array for the values of all: of the largest shape, of the dtype that numpy joins theirs to.

        Where numbers of dimensions differ, that of the first; as the dtype, where some are of numbers and others not.
        """
        first = layouts[0]
        shapes = {own.event_shape for own in layouts if len(own.event_shape) == len(first.event_shape)}
        shape = tuple(max(lengths) for lengths in zip(*shapes, strict=True))
        dtypes = {own.dtype for own in layouts if joinable(own.dtype, first.dtype)}
        dtype = first.dtype if len(dtypes) == 1 else np.result_type(*dtypes)
        # Chunks and frames of the layout that has this shape, so that blocks are planned by the largest events.
        like = next((own for own in layouts if own.event_shape == shape), first)
        return replace(like, event_shape=shape, dtype=dtype, join=first.join)


def joinable(a: np.dtype[Any], b: np.dtype[Any]) -> bool:
    """Whether values of two dtypes may be in one array: numpy would also make text of numbers, and join fields."""
    kinds = {"number" if dtype.kind in "biufc" else {"U": "T"}.get(dtype.kind, dtype.kind) for dtype in (a, b)}
    return a == b or "O" in kinds or kinds in ({"number"}, {"T"}, {"S"})


def _long(shape: Iterable[int | None]) -> list[int | None]:
    """The lengths that say something: those but one."""
    return [length for length in shape if length != 1]


def _frames_of(declared: tuple[int | None, ...], frame: tuple[int, ...]) -> int:
    """Frames per event where the resource gives none: a data key with one dimension more than a frame counts them."""
    # Unless its lengths are those of the frame in another order, such as [width, height, 1] or [width, height, 0].
    known = [length for length in declared if length is not None]
    if len(declared) != len(frame) + 1 or Counter(_long(known)) == Counter(_long(frame)):
        return 1
    return declared[0] or 1


def _refuse_odd_count(spec: Mapping[str, Any], frame: tuple[int, ...]) -> None:
    """Refuse a data key that counts the frames of an event, with what is no number of frames."""
    shape = spec.get("shape")
    if isinstance(shape, (list, tuple)) and len(shape) == len(frame) + 1 and shape[0] is not None:
        try:
            whole("the first length of the data key's shape, which counts frames,", shape[0])
        except ValueError as error:
            raise AssetUnavailable(str(error)) from error


def _is_one_frame(declared: tuple[int | None, ...], held: int, frame: tuple[int, ...]) -> bool:
    """Whether all that a file holds has the declared shape, so that its first axis counts no frames."""
    return _long((held, *frame)) == _long(declared) != _long(frame)


def _refuse_unclear(
    declared: tuple[int | None, ...],
    structure: FrameStructure,
    frames: int,
    multiplier: int | None,
    events: int | None,
) -> None:
    """Refuse to guess which part of a file an event is, where its documents contradict it or do not say."""
    held, frame = structure.frames, structure.frame_shape
    if events is not None and events * frames == held:  # all of the file: each event is an equal part of it
        return
    file = f"frames of shape {list(frame)}" if held is None else f"an array of shape {[held, *frame]}"
    if multiplier == 0 and frames == 1 and not (held is None and declared[:1] == (1,)):
        raise AssetUnavailable(
            f"the resource gives 0 frames per event, and the data key declares the shape {list(declared)}: this does "
            f"not say how many frames of {file} an event has"
        )
    fewer = len(_long(declared)) > len(frame) + (multiplier != 1) and None not in declared
    if fewer and _long((frames, *frame)) != _long(declared):
        raise AssetUnavailable(
            f"the data key declares the shape {list(declared)}, and there is {file}: this does not say whether its "
            "first axis counts frames"
        )


def _event_shape(
    declared: tuple[int | None, ...], frames: int, frame: tuple[int, ...], *, whole: bool
) -> tuple[int, ...]:
    if frames > 1 or not whole:
        return (frames, *frame)
    if len(declared) == len(frame):
        return frame
    if _long(declared) == _long(frame):
        return tuple(n or 1 for n in declared)
    return (1, *frame)


def _declared_event(declared: tuple[int | None, ...], multiplier: int | None) -> tuple[int, ...]:
    shape = tuple(n or 1 for n in declared)
    if multiplier is None or shape[:1] == (multiplier,):
        return shape
    return (multiplier, *(shape[1:] if shape[:1] == (1,) else shape))
