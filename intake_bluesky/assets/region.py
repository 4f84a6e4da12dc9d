"""Parts of arrays: the positions that an index, or the ``slice`` of a resource, selects in an array of some shape."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import EllipsisType
from typing import Any, Final, Self, TypeAlias, cast

import numpy as np

from intake_bluesky.assets.whole_numbers import whole
from intake_bluesky.documents.columns import Array

__all__ = ["WHOLE", "AxisIndex", "Positions", "Region", "Subarray", "as_slice", "cover", "parse_slice", "pick"]

Positions: TypeAlias = "range | Array"

AxisIndex: TypeAlias = "int | EllipsisType | tuple[int | None, int | None, int | None] | None"
"""One axis of a slice, hashable: a position, start, stop and step, ``...``, or None for numpy's new axis."""

_WHOLE_AXIS: Final = (None, None, None)


class Region(tuple[range, ...]):
    """A part of an array: a range of positions on each of its axes. Of a frame, the empty one is all of it.

    Examples
    --------
    >>> region = Region([range(2, 4), range(5, -1, -2)])
    >>> region.shape, region.forward.slices
    ((2, 3), (slice(2, 4, 1), slice(1, 7, 2)))
    """

    __slots__ = ()

    @classmethod
    def whole(cls, shape: Sequence[int]) -> Self:
        """All of an array."""
        return cls(map(range, shape))

    @property
    def shape(self) -> tuple[int, ...]:
        """How many positions there are on each axis."""
        return tuple(map(len, self))

    @property
    def slices(self) -> tuple[slice, ...]:
        """As numpy takes it; h5py and Zarr do where all steps are positive."""
        return tuple(map(as_slice, self))

    @property
    def forward(self) -> Region:
        """The same positions, rising."""
        return Region(r if r.step > 0 else r[::-1] for r in self)

    def seen_from(self, corner: Sequence[int]) -> Region:
        """The same positions, counted from a corner, of ranges in steps of one."""
        return Region(range(r.start - c, r.stop - c) for r, c in zip(self, corner, strict=True))

    def flip(self, out: Array) -> None:
        """Bring what was read `forward` into the order of the region, in place; elements may be arrays."""
        backwards = tuple(axis for axis, r in enumerate(self) if r.step < 0 and len(r) > 1)
        if backwards:
            shaped = out.reshape(*self.shape, -1)
            shaped[...] = np.flip(shaped, backwards).copy()  # source and target are the same memory


WHOLE: Final = Region()
"""All of a frame."""


@dataclass(frozen=True, slots=True, eq=False)
class Subarray:
    """What an index leaves of an array: positions on each axis, independent of those on the others.

    Attributes
    ----------
    positions : tuple of range or numpy.ndarray
        On each axis of the array, one where it is indexed by an integer.
    axes : tuple of int
        The axis of the array that each axis left is; -1 for one that numpy's ``newaxis`` adds.
    """

    positions: tuple[Positions, ...]
    axes: tuple[int, ...]

    @classmethod
    def of(cls, index: Any, shape: Sequence[int]) -> Self:
        """Apply the index of a user: integers, slices, an ellipsis, lists of positions.

        Raises
        ------
        IndexError
            For positions outside of the array, for more indices than axes, and for other kinds of index.

        Examples
        --------
        >>> Subarray.of((..., 1, slice(None, None, -2)), (9, 4, 6))
        Subarray(positions=(range(0, 9), range(1, 2), range(5, -1, -2)), axes=(0, 2))
        """
        parts = list(index) if isinstance(index, tuple) else [index]
        if any(part is None for part in parts):
            raise _refused(None)
        return cls._of(parts, shape)

    @classmethod
    def of_slice(cls, parts: Sequence[AxisIndex], shape: Sequence[int], *, squeeze: bool = False) -> Self:
        """Apply the ``slice`` of a resource, which leaves flat frames: the first axis left counts them.

        Parameters
        ----------
        parts : sequence
            As `parse_slice` gives them.
        shape : sequence of int
        squeeze : bool
            Drop axes of length one after the first.

        Raises
        ------
        IndexError
            When it has more axes than the shape, or a position that is not there.

        Examples
        --------
        >>> Subarray.of_slice(parse_slice("[..., ::-2]"), (9, 4, 6)).shape
        (9, 4, 3)
        """
        found = cls._of([slice(*part) if isinstance(part, tuple) else part for part in parts], shape)
        if not squeeze:
            return found
        long = [axis for axis in found.axes[1:] if axis >= 0 and len(found.positions[axis]) != 1]
        return cls(found.positions, (*found.axes[:1], *long))

    @classmethod
    def _of(cls, parts: list[Any], shape: Sequence[int]) -> Self:
        dots = [number for number, part in enumerate(parts) if part is ...] or [len(parts)]
        new = sum(1 for part in parts if part is None)
        indexed = len(parts) - new - (dots[0] < len(parts))
        if indexed > len(shape):
            raise IndexError(f"{indexed} indices for an array of {len(shape)} dimensions")
        rest = [slice(None)] * (len(shape) - indexed)
        positions: list[Positions] = []
        axes: list[int] = []
        for part in [*parts[: dots[0]], *rest, *parts[dots[0] + 1 :]]:
            if part is None:
                axes.append(-1)
                continue
            if isinstance(part, slice) or np.ndim(part):
                axes.append(len(positions))
            positions.append(_positions(part, shape[len(positions)]))
        return cls(tuple(positions), tuple(axes))

    @property
    def shape(self) -> tuple[int, ...]:
        """Of what is left."""
        return tuple(len(self.positions[axis]) if axis >= 0 else 1 for axis in self.axes)

    @property
    def counted(self) -> tuple[int, int]:
        """The axis of the array that counts the flat frames, or -1, and in steps of what."""
        axis = self.axes[0]
        positions = self.positions[axis] if axis >= 0 else None
        return axis, abs(positions.step) if isinstance(positions, range) else 1

    def region(self, part: Region) -> Region:
        """The region of the array that a part of this is, if a ``slice`` made it; axes that `part` lacks are whole."""
        found = cast("list[range]", list(self.positions))
        for axis, own in zip(self.axes, part, strict=False):
            if axis >= 0:
                found[axis] = found[axis][own.start : own.stop : own.step]
        return Region(found)

    def shaped(self, values: Array) -> Array:
        """Values at all positions, without the axes that are dropped; a scalar where none is left."""
        left: Array = values.reshape(self.shape)[()]
        return left


def _positions(part: Any, length: int) -> Positions:
    every = range(length)
    if isinstance(part, slice):
        return every[part]
    if hasattr(part, "__index__") and np.ndim(part) == 0:
        position = every[part]
        return range(position, position + 1)
    listed = np.asarray(part) if isinstance(part, (list, np.ndarray)) else np.empty(())
    if listed.ndim != 1 or (listed.size and listed.dtype.kind not in "iub"):
        raise _refused(part)
    if listed.dtype.kind == "b" and len(listed) == length:
        return np.flatnonzero(listed)
    if len(listed) and not (-length <= listed.min() and listed.max() < length):
        raise IndexError(f"positions {part!r} on an axis of length {length}")
    # Negative positions count from the end; `max`, because the list and the axis may both be empty.
    return listed.astype(np.int64) % max(length, 1)


def _refused(part: Any) -> IndexError:
    return IndexError(f"integers, slices, lists of integers and ... index this array, not {part!r}")


def as_slice(positions: range) -> slice:
    """A range as numpy takes it.

    Examples
    --------
    >>> as_slice(range(5, -1, -2))
    slice(5, None, -2)
    """
    if not positions:
        return slice(0, 0)  # its bounds may be below zero, where numpy counts from the end
    return slice(positions.start, positions.stop if positions.stop >= 0 else None, positions.step)


def cover(positions: Positions) -> range:
    """The least range of step 1 that has all of these positions, of which there is at least one.

    Examples
    --------
    >>> cover(range(5, -1, -2))
    range(1, 6)
    """
    if isinstance(positions, range):
        first, last = sorted((positions[0], positions[-1]))
        return range(first, last + 1)
    return range(int(positions.min()), int(positions.max()) + 1)


def pick(values: Array, axis: int, positions: Positions) -> Array:
    """Take the positions on one axis out of an array that has their `cover` there."""
    if isinstance(positions, range):
        step = (slice(None),) * axis + (slice(None, None, positions.step),)
        return values[step] if positions.step != 1 else values
    taken: Array = np.take(values, positions - cover(positions).start, axis=axis)
    return taken


def parse_slice(value: Any) -> tuple[AxisIndex, ...]:
    """Bring the ``slice`` of a resource to one form: as numpy writes it, or a list of what JSON has for slices.

    In text ``None`` is numpy's new axis; a null of JSON is a whole axis.

    Examples
    --------
    >>> parse_slice("[:, 0, ::2]")
    ((None, None, None), 0, (None, None, 2))
    >>> parse_slice([[0, 4], 3, "..."])
    ((0, 4, None), 3, Ellipsis)
    """
    if value is None or isinstance(value, bool):
        return ()
    if isinstance(value, int | slice | Mapping) or value is ...:
        value = [value]
    parts = value.strip("()[] ").rstrip(",").split(",") if isinstance(value, str) else value
    return tuple(_part(part) for part in parts)


def _part(part: Any) -> AxisIndex:
    if part is ...:
        return part
    if isinstance(part, (int, float, np.integer)):
        return whole("a position", part)
    if part is None:
        return _WHOLE_AXIS
    if isinstance(part, Mapping):
        part = [part.get(name) for name in ("start", "stop", "step")]
    if isinstance(part, slice):
        part = [part.start, part.stop, part.step]
    if isinstance(part, str):
        text = part.strip()
        if text in ("...", "Ellipsis"):
            return ...
        if text.rpartition(".")[2] in ("newaxis", "None"):
            return None
        if re.fullmatch(r"[+-]?\d+", text):
            return int(text)
        part = [int(n) if n.strip() not in ("", "None") else None for n in text.split(":")]
    start, stop, step = (None if n is None else whole("a bound", n) for n in (*part, None, None, None)[:3])
    if step == 0 or len(part) > 3:
        raise ValueError(f"{part} is no slice")
    return start, stop, step
