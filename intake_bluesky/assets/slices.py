"""The part of a stored array that a resource means: which axis counts frames, and what of the others is wanted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

from intake_bluesky.assets.reader import Window
from intake_bluesky.errors import AssetUnavailable

__all__ = ["ArraySlice", "Part"]

Part: TypeAlias = "int | tuple[int | None, int | None, int | None]"
"""One position, which drops its axis, or start, stop and step."""


@dataclass(frozen=True, slots=True)
class ArraySlice:
    """Part of an array, whose first axis that is left counts frames.

    Attributes
    ----------
    parts : tuple of int or (start, stop, step)
        Of the leading axes; the others are wanted whole.
    squeeze : bool
        Drop axes of length one after that of the frames.

    Examples
    --------
    >>> every_other = ArraySlice(((None, None, 2), 0))
    >>> every_other.shape((10, 3, 4))
    (5, 4)
    >>> every_other.source((10, 3, 4), 1, 3, (slice(0, 2),))
    (slice(2, 6, 2), 0, slice(0, 2, 1))
    """

    parts: tuple[Part, ...] = ()
    squeeze: bool = False

    def shape(self, stored: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of the flat frames: the first axis counts them.

        Raises
        ------
        AssetUnavailable
            When no axis is left to count them.
        """
        lengths = [len(axis) for axis in self._axes(stored) if isinstance(axis, range)]
        if not lengths:
            raise AssetUnavailable(f"the slice of an array of shape {stored} leaves no axis that counts frames")
        rest = [n for n in lengths[1:] if n != 1] if self.squeeze else lengths[1:]
        return (lengths[0], *rest)

    def frame_axis(self, stored: tuple[int, ...]) -> tuple[int, int]:
        """Which axis of the array counts frames, and in steps of what."""
        axes = self._axes(stored)
        number, counted = next((n, axis) for n, axis in enumerate(axes) if isinstance(axis, range))
        return number, abs(counted.step)

    def source(self, stored: tuple[int, ...], start: int, stop: int, window: Window = ()) -> tuple[int | slice, ...]:
        """What of the array to read, for the frames from `start` to `stop` and the `window` of each.

        Raises
        ------
        AssetUnavailable
            When it runs backwards.
        """
        axes: list[Any] = self._axes(stored)
        first, *others = [n for n, axis in enumerate(axes) if isinstance(axis, range)]
        kept = [n for n in others if not self.squeeze or len(axes[n]) != 1]
        for number, part in [(first, slice(start, stop)), *zip(kept, window, strict=False)]:
            axes[number] = axes[number][part]
        return tuple(_as_slice(axis) if isinstance(axis, range) else axis for axis in axes)

    def _axes(self, stored: tuple[int, ...]) -> list[int | range]:
        """What is meant of each axis of the array: one position, or a range of them."""
        given = [*self.parts, *([(None, None, None)] * (len(stored) - len(self.parts)))]
        return [
            wanted if isinstance(wanted, int) else range(length)[slice(*wanted)]
            for wanted, length in zip(given, stored, strict=False)
        ]


def _as_slice(positions: range) -> slice:
    if positions.step < 0:
        raise AssetUnavailable("a slice of stored data that runs backwards cannot be read")
    return slice(positions.start, positions.stop, positions.step)
