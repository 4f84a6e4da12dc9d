"""The ``slice`` of a resource: which part of a dataset is meant, and what a reader needs of it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np

from intake_bluesky.assets.reader import Window
from intake_bluesky.documents.columns import Array

__all__ = ["Axes", "Box", "Part", "parse_slice"]

Part: TypeAlias = "int | str | tuple[int | None, int | None, int | None]"
"""One axis of a slice: a position, start, stop and step, or one of `ELLIPSIS` and `NEW_AXIS`."""

ELLIPSIS: Final = "..."
NEW_AXIS: Final = "newaxis"
_WHOLE: Final = (None, None, None)


def parse_slice(value: Any) -> tuple[Part, ...]:
    """Bring the ``slice`` of a resource to one form: as numpy writes it, or a list of what JSON has for slices.

    In text ``None`` is numpy's new axis; a null of JSON is a whole axis.

    Examples
    --------
    >>> parse_slice("[:, 0, ::2]")
    ((None, None, None), 0, (None, None, 2))
    >>> parse_slice([[0, 4], 3, "..."])
    ((0, 4, None), 3, '...')
    """
    if value is None or isinstance(value, bool):
        return ()
    if isinstance(value, int | slice | Mapping) or value is ...:
        value = [value]
    parts = value.strip("()[] ").rstrip(",").split(",") if isinstance(value, str) else value
    return tuple(_part(part) for part in parts)


def _part(part: Any) -> Part:
    if isinstance(part, int):
        return part
    if part is ...:
        return ELLIPSIS
    if part is None:
        return _WHOLE
    if isinstance(part, Mapping):
        part = [part.get(name) for name in ("start", "stop", "step")]
    if isinstance(part, slice):
        part = [part.start, part.stop, part.step]
    if isinstance(part, str):
        text = part.strip()
        if text in (ELLIPSIS, "Ellipsis"):
            return ELLIPSIS
        if text.rpartition(".")[2] in ("newaxis", "None"):
            return NEW_AXIS
        if re.fullmatch(r"[+-]?\d+", text):
            return int(text)
        part = [int(n) if n.strip() not in ("", "None") else None for n in text.split(":")]
    start, stop, step = (*part, None, None, None)[:3]
    if step == 0 or len(part) > 3:
        raise ValueError(f"{part} is no slice")
    return start, stop, step


@dataclass(frozen=True, slots=True)
class Box:
    """What is read from a dataset at once.

    Attributes
    ----------
    start, count, step : tuple of int
        For each axis of the dataset; steps are positive.
    shape : tuple of int
        Of what is read, with every axis that the slice leaves.
    reversed : tuple of int
        Axes of that shape that run backwards.
    """

    start: tuple[int, ...]
    count: tuple[int, ...]
    step: tuple[int, ...]
    shape: tuple[int, ...]
    reversed: tuple[int, ...]

    @property
    def stop(self) -> tuple[int, ...]:
        """One past the last position on each axis."""
        return tuple(a + (n - 1) * s + 1 for a, n, s in zip(self.start, self.count, self.step, strict=True))

    @property
    def slices(self) -> tuple[slice, ...]:
        """As h5py takes it."""
        return tuple(slice(a, b, s) for a, b, s in zip(self.start, self.stop, self.step, strict=True))

    def flip(self, out: Array) -> None:
        """Turn round what was read forwards, in place."""
        if self.reversed:
            out[...] = np.flip(out, self.reversed).copy()


@dataclass(frozen=True, slots=True)
class Axes:
    """What a slice leaves of a dataset: flat frames, whose first axis counts them.

    Attributes
    ----------
    each : tuple of (axis of the dataset or -1, int or range)
        Positions on each axis, in the order of the slice; -1 is an axis that numpy's ``newaxis`` adds.
    squeeze : bool
        Whether axes of length one after the first are dropped.
    """

    each: tuple[tuple[int, int | range], ...]
    squeeze: bool = False

    @classmethod
    def of(cls, parts: Sequence[Part], shape: Sequence[int], *, squeeze: bool = False) -> Axes:
        """Apply a slice to a shape.

        Raises
        ------
        IndexError
            When it has more axes than the shape, or a position that is not there.

        Examples
        --------
        >>> Axes.of(parse_slice("[..., ::-2]"), (9, 4, 6)).shape
        (9, 4, 3)
        """
        indexed = [part for part in parts if part not in (ELLIPSIS, NEW_AXIS)]
        if len(indexed) > len(shape) or parts.count(ELLIPSIS) > 1:
            raise IndexError(f"a slice of {len(indexed)} axes for a dataset of {len(shape)}")
        rest = [_WHOLE] * (len(shape) - len(indexed))
        place = parts.index(ELLIPSIS) if ELLIPSIS in parts else len(parts)
        each: list[tuple[int, int | range]] = []
        axis = 0
        for part in [*parts[:place], *rest, *parts[place + 1 :]]:
            if isinstance(part, str):
                each.append((-1, range(1)))
                continue
            positions = range(shape[axis])
            each.append((axis, positions[part] if isinstance(part, int) else positions[slice(*part)]))
            axis += 1
        return cls(tuple(each), squeeze)

    @property
    def _ranges(self) -> list[int]:
        """Which of `each` the slice leaves."""
        return [number for number, (_, positions) in enumerate(self.each) if isinstance(positions, range)]

    def _length(self, number: int) -> int:
        positions = self.each[number][1]
        return len(positions) if isinstance(positions, range) else 1

    @property
    def _kept(self) -> list[int]:
        """Those of them that are axes of the flat frames."""
        first, *others = self._ranges
        return [first, *(n for n in others if not self.squeeze or self._length(n) != 1)]

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the flat frames; ``()`` where no axis is left that counts them."""
        return tuple(map(self._length, self._kept)) if self._ranges else ()

    @property
    def counted(self) -> tuple[int, int]:
        """The axis of the dataset that counts frames, or -1, and in steps of what."""
        axis, positions = self.each[self._ranges[0]]
        return axis, abs(positions.step) if isinstance(positions, range) else 1

    def box(self, start: int, stop: int, window: Window = ()) -> Box:
        """What to read for some frames, or a part of each."""
        each = list(self.each)
        for number, part in zip(self._kept, (slice(start, stop), *window), strict=False):
            axis, positions = each[number]
            each[number] = axis, positions[part] if isinstance(positions, range) else positions
        left = [positions for _, positions in each if isinstance(positions, range)]
        forward = [_forward(positions) for axis, positions in each if axis >= 0]
        return Box(
            tuple(p.start for p in forward),
            tuple(map(len, forward)),
            tuple(p.step for p in forward),
            tuple(map(len, left)),
            tuple(number for number, positions in enumerate(left) if positions.step < 0 and len(positions) > 1),
        )


def _forward(positions: int | range) -> range:
    if isinstance(positions, int):
        return range(positions, positions + 1)
    return positions if positions.step > 0 else positions[::-1]
