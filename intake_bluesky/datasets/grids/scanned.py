"""The grid of a scan, from its start document."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import index
from typing import Any, Final

import numpy as np

from intake_bluesky.documents.columns import Array
from intake_bluesky.documents.dimensions import dimensions
from intake_bluesky.documents.model import RunHeader, to_plain
from intake_bluesky.errors import UnsupportedOperation

__all__ = ["Grid", "scanned"]

LIST_PRODUCT: Final = "outer_list_product"
"""``plan_pattern`` of plans that step through lists of positions: they give their snaking as text, and no gridding."""


@dataclass(frozen=True, slots=True)
class Grid:
    """A grid that was scanned, slowest axis first.

    Attributes
    ----------
    shape : tuple of int
    axes : tuple of str
        Data key of the motor of each axis.
    snaking : tuple of (bool or None)
        Whether the axis is passed in alternating directions; None where the start document does not say it clearly.
    planned : tuple of (numpy.ndarray, dtype float64) or None
        Positions that the plan was to go to, along each axis, from the start document; None where it has none, or where
        they do not apply.
    given : bool
        Whether arguments made it what it is: these are taken at their word or refused, never corrected.
    """

    shape: tuple[int, ...]
    axes: tuple[str, ...]
    snaking: tuple[bool | None, ...]
    planned: tuple[Array | None, ...]
    given: bool

    @property
    def size(self) -> int:
        """How many points it has."""
        return math.prod(self.shape)


def scanned(
    header: RunHeader,
    stream: str,
    keys: Collection[str],
    *,
    shape: Sequence[int] | None = None,
    axes: Sequence[str] | None = None,
    snaking: Sequence[bool] | None = None,
    points: int = 0,
) -> Grid:
    """Find the grid of a stream with these keys; arguments take precedence over the start document.

    A scan along one dimension is a grid of one axis. Without a plan of its positions, it has as many `points` as were
    measured: nobody knows where the others would have been.

    Raises
    ------
    UnsupportedOperation
        When the run is no grid, or the facts about it do not fit together.
    """
    start = _Start(to_plain(header.start), stream, header.uid)
    if shape is None and (line := start.line(keys, axes, points)) is not None:
        return line
    own_shape = start.shape() if shape is None else tuple(map(index, shape))
    if min(own_shape, default=0) < 1:
        raise start.no_grid(f"it would have the shape {own_shape}")
    own_axes = start.axes(keys) if axes is None else tuple(axes)
    if len(own_axes) != len(own_shape) or len(set(own_axes)) != len(own_axes):
        raise start.no_grid(f"its shape {own_shape} goes with {len(own_shape)} different axes, and not with {own_axes}")
    strange = [axis for axis in own_axes if axis not in keys]
    if strange:
        raise start.no_grid(f"its axis {strange[0]!r} is no key of the stream, which has {', '.join(keys)}")
    turns = start.snaking(own_axes) if snaking is None else _booleans(snaking)
    if snaking is not None and None in turns:
        raise start.no_grid(f"the snaking {snaking!r} is not True or False for each axis")
    if len(turns) != len(own_shape):
        raise start.no_grid(f"its shape {own_shape} does not go with the snaking {turns}")
    # The plan's positions are for the plan's own grid: of another shape or order they would be wrong coordinates.
    as_told = shape is None and snaking is None and (axes is None or start.axes(keys) == own_axes)
    planned = start.planned(own_shape) if as_told else (None,) * len(own_shape)
    return Grid(own_shape, own_axes, turns, planned, given=not as_told)


@dataclass(frozen=True, slots=True)
class _Start:
    """A run start document, from which each fact of the grid is read."""

    doc: Mapping[str, Any]
    stream: str
    uid: str

    def no_grid(self, found: str) -> UnsupportedOperation:
        plan = f", plan {self.doc['plan_name']!r}," if "plan_name" in self.doc else ""
        return UnsupportedOperation(
            f"stream {self.stream!r} of run {self.uid}{plan} cannot be given as a grid: {found}. If it is one, "
            "say how: to_grid(shape=(5, 10), axes=('y', 'x'), snaking=(False, True)), slowest axis first; read() "
            "and to_dask() give the events as they came"
        )

    def _hint(self, name: str) -> Any:
        hints = self.doc.get("hints")
        return hints.get(name) if isinstance(hints, Mapping) else None

    def _list(self, name: str) -> list[Any]:
        value = self.doc.get(name)
        return value if isinstance(value, list) else []

    def shape(self) -> tuple[int, ...]:
        shape = self._list("shape")
        if not shape or not all(type(n) is int for n in shape):
            raise self.no_grid("its start document has no shape of a grid")
        gridding = self._hint("gridding")
        # Older plans gave no gridding; that they give snaking makes them scans over a grid all the same.
        known = self.doc.get("plan_pattern") == LIST_PRODUCT or "snaking" in self.doc
        if gridding != "rectilinear" and not (gridding is None and known):
            order = ": it goes through its points in an order of its own" if gridding else ""
            raise self.no_grid(f"its start document says hints.gridding {gridding!r}, not 'rectilinear'{order}")
        points = self.doc.get("num_points")
        if isinstance(points, int) and points != math.prod(shape):
            raise self.no_grid(f"its start document contradicts itself: shape {tuple(shape)}, num_points {points}")
        return tuple(shape)

    def line(self, keys: Collection[str], axes: Sequence[str] | None, points: int) -> Grid | None:
        """The scan as a grid of one axis; None where it has several, or none."""
        if self.doc.get("shape") not in (None, []):
            return None
        own = tuple(axes or self.axes(keys))
        if len(own) != 1 or own[0] not in keys or (own == ("time",) and axes is None):
            return None
        number = self.doc.get("num_points")
        planned = self._line_planned(own[0], number) if type(number) is int and number > 0 else None
        shape = (max(points, 1) if planned is None else len(planned),)
        return Grid(shape, own, (False,), (planned,), given=False)

    def _line_planned(self, axis: str, points: int) -> Array | None:
        """Positions that the plan was to go to, of bluesky's patterns along one motor."""
        motors = self._list("motors")
        # Of several motors moved together, the first is the one whose positions come first.
        if not motors or not re.fullmatch(rf"{re.escape(str(motors[0]))}([-_].*)?", axis):
            return None
        pattern, args = self.doc.get("plan_pattern"), self._pattern_args()
        if pattern == "inner_product":
            return _positions(_line(args[1:3], points), points)
        if pattern == "inner_list_product":
            return _positions(args[1] if len(args) > 1 else None, points)
        extents = self._list("extents")
        return _positions(_line(extents[0], points), points) if len(extents) == 1 else None

    def axes(self, keys: Collection[str]) -> tuple[str, ...]:
        found = dimensions(self.doc)
        motors = self._list("motors")
        if not found:
            return tuple(map(str, motors))
        streams = {own.stream for own in found}
        if streams != {self.stream}:
            raise self.no_grid(f"its dimensions are in the stream {' and '.join(sorted(streams))}")
        named = (own.fields or motors[place : place + 1] or [""] for place, own in enumerate(found))
        return tuple(str(next((field for field in fields if field in keys), fields[0])) for fields in named)

    def snaking(self, axes: Sequence[str]) -> tuple[bool | None, ...]:
        if self.doc.get("plan_pattern") != LIST_PRODUCT:
            told = self.doc.get("snaking")
            if told is None or told == []:
                return (False,) * len(axes)
            return _booleans(told) if isinstance(told, list) else (None,) * len(axes)
        # list_grid_scan records its argument as text: a truth value, or the repr of a list of motors.
        text = str(self.doc.get("snake_axes"))
        if text in ("True", "False", "None", "[]", "()"):
            # bluesky never snakes the slowest axis: it is passed once.
            return tuple(text == "True" and place > 0 for place in range(len(axes)))
        names = list(map(str, self._pattern_args()[::2]))
        # Whole names only: `x` is part of `x2`, and of `theta-x`.
        snaked = [re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", text) is not None for name in names]
        if len(names) != len(axes) or not any(snaked):
            raise self.no_grid(f"its start document does not say clearly which axes are snaked: {text!r}")
        return tuple(snaked)

    def planned(self, shape: Sequence[int]) -> tuple[Array | None, ...]:
        if self.doc.get("plan_pattern") == LIST_PRODUCT:
            told = self._pattern_args()[1::2]
        else:
            told = [_line(extent, n) for extent, n in zip(self._list("extents"), shape, strict=False)]
        told += [None] * (len(shape) - len(told))
        return tuple(_positions(found, n) for found, n in zip(told, shape, strict=False))

    def _pattern_args(self) -> list[Any]:
        pattern = self.doc.get("plan_pattern_args")
        args = pattern.get("args") if isinstance(pattern, Mapping) else None
        return args if isinstance(args, list) else []


def _booleans(told: Any) -> tuple[bool | None, ...]:
    """Each axis's truth value; None for what is none: the text "False" would be true."""
    each = told if isinstance(told, Iterable) and not isinstance(told, str) else [told]
    return tuple(bool(one) if isinstance(one, (bool, np.bool_)) else None for one in each)


def _line(extent: Any, points: int) -> Any:
    """Even steps between the two ends."""
    if not isinstance(extent, list) or len(extent) != 2 or not all(isinstance(end, (int, float)) for end in extent):
        return None
    return np.linspace(float(extent[0]), float(extent[1]), points)


def _positions(told: Any, points: int) -> Array | None:
    try:
        positions = np.asarray(told, dtype=np.float64)
    except (TypeError, ValueError):
        return None
    return positions if positions.shape == (points,) and np.isfinite(positions).all() else None
