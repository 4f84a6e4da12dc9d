"""What an index asks of an array: which positions on each axis, and in which order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from intake_bluesky.documents.columns import Array

__all__ = ["Positions", "Selected", "cover", "pick"]

Positions: TypeAlias = "range | Array"


@dataclass(frozen=True, slots=True, eq=False)
class Selected:
    """Positions on each axis, independent of those on the others.

    Attributes
    ----------
    axes : tuple of range or numpy.ndarray
    dropped : tuple of int
        Axes that were indexed by an integer.
    """

    axes: tuple[Positions, ...]
    dropped: tuple[int, ...]

    @classmethod
    def of(cls, key: Any, shape: Sequence[int]) -> Selected:
        """Read an index: integers, slices, an ellipsis, lists of positions.

        Raises
        ------
        IndexError
            For positions outside of the array, for more indices than axes, and for other kinds of index.

        Examples
        --------
        >>> Selected.of((..., 1, slice(None, None, -2)), (9, 4, 6))
        Selected(axes=(range(0, 9), range(1, 2), range(5, -1, -2)), dropped=(1,))
        """
        parts = list(key) if isinstance(key, tuple) else [key]
        dots = [number for number, part in enumerate(parts) if part is ...]
        if len(dots) == 1:
            parts[dots[0] : dots[0] + 1] = [slice(None)] * (len(shape) - len(parts) + 1)
        if len(parts) > len(shape):
            raise IndexError(f"{len(parts)} indices for an array of {len(shape)} dimensions")
        parts += [slice(None)] * (len(shape) - len(parts))
        axes = tuple(_positions(part, length) for part, length in zip(parts, shape, strict=True))
        dropped = (number for number, part in enumerate(parts) if np.ndim(part) == 0 and not isinstance(part, slice))
        return cls(axes, tuple(dropped))

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths, with one for axes that are dropped."""
        return tuple(map(len, self.axes))

    def finish(self, values: Array) -> Array:
        """Drop the axes that were indexed by an integer."""
        index = tuple(0 if number in self.dropped else slice(None) for number in range(len(self.axes)))
        return values[index] if self.dropped else values


def _positions(part: Any, length: int) -> Positions:
    every = range(length)
    if isinstance(part, slice):
        return every[part]
    if hasattr(part, "__index__") and np.ndim(part) == 0:
        position = every[part]
        return range(position, position + 1)
    listed = np.asarray(part) if isinstance(part, (list, np.ndarray)) else np.empty(())
    if listed.ndim != 1 or (listed.size and listed.dtype.kind not in "iub"):
        raise IndexError(f"integers, slices, lists of integers and ... index this array, not {part!r}")
    if listed.dtype.kind == "b" and len(listed) == length:
        return np.flatnonzero(listed)
    if len(listed) and not (-length <= listed.min() and listed.max() < length):
        raise IndexError(f"positions {part!r} on an axis of length {length}")
    return listed.astype(np.int64) % max(length, 1)


def cover(positions: Positions) -> slice:
    """The least slice of step 1 that has all of these positions, of which there is at least one.

    Examples
    --------
    >>> cover(range(5, -1, -2))
    slice(1, 6, None)
    """
    if isinstance(positions, range):
        first, last = sorted((positions[0], positions[-1]))
        return slice(first, last + 1)
    return slice(int(positions.min()), int(positions.max()) + 1)


def pick(values: Array, axis: int, positions: Positions) -> Array:
    """Take the positions on one axis out of an array that has their `cover` there."""
    if isinstance(positions, range):
        step = (slice(None),) * axis + (slice(None, None, positions.step),)
        return values[step] if positions.step != 1 else values
    taken: Array = np.take(values, positions - cover(positions).start, axis=axis)
    return taken
