"""Arrays in files, in the shape of a grid: only the points wanted are read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import dask.array as da
import numpy as np
from dask.base import tokenize

from intake_bluesky.assets import AssetArray
from intake_bluesky.assets.region import Subarray, as_slice
from intake_bluesky.datasets.grids.gather import chunked
from intake_bluesky.datasets.grids.order import GridOrder
from intake_bluesky.documents.columns import Array, missing
from intake_bluesky.errors import AssetUnavailable

__all__ = ["GridOfFiles"]

MOST_CUTS: Final = 16
"""Along one axis, to part what was measured from what was not; a grid full of holes is not cut to pieces."""


@dataclass(frozen=True, slots=True, eq=False)
class GridOfFiles:
    """Values of one external data key at the points of a grid, indexed as numpy arrays are.

    Attributes
    ----------
    source : AssetArray
        Of the rows.
    order : GridOrder
    fill : bool
        Whether points that were not measured are filled, whatever the dtype; else reading them raises, unless the
        dtype has NaN.
    """

    source: AssetArray
    order: GridOrder
    fill: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """That of the grid, then that of one event."""
        return (*self.order.shape, *self.source.shape[1:])

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the values in the files, whatever was not measured."""
        return self.source.dtype

    @property
    def refuses(self) -> bool:
        """Whether reading what was not measured raises."""
        return not self.fill and self.dtype.kind not in "fc" and self.order.measured < self.order.size

    def __getitem__(self, key: Any) -> Array:
        """Read a part into memory.

        Raises
        ------
        AssetUnavailable
            When points were not measured and not to be filled, or files are missing.
        """
        wanted = Subarray.of(key, self.shape)
        if 0 in wanted.shape:
            return np.empty(wanted.shape, self.dtype)
        axes = len(self.order.shape)
        rows = self.order.rows([np.asarray(places) for places in wanted.positions[:axes]])
        there = rows >= 0
        if self.refuses and not there.all():
            raise AssetUnavailable(self._lacking(int((~there).sum())))
        asked = rows[there]
        rising = np.argsort(asked, kind="stable")  # in the order of the file: one read
        # Ranges as slices: what they index is read in one piece.
        rest = [as_slice(each) if isinstance(each, range) else each for each in wanted.positions[axes:]]
        values = self.source[asked[rising], *rest]
        _reorder(values, rising)
        if not there.all():
            out = missing((rows.size, *values.shape[1:]), self.dtype)
            out[there.ravel()] = values
            values = out
        return wanted.shaped(values)

    def _lacking(self, asked: int) -> str:
        return (
            f"{self.source.key!r} was measured at {self.order.measured} of the {self.order.size} points of the grid; "
            f"{asked} of the others were asked for, and {self.dtype} has no value that says so: select points that "
            'were measured (those whose "time" is not NaN), or ask stream(on_missing="fill") for zeros'
        )

    def dask(self) -> da.Array:
        """Describe the array to dask, in chunks of scan lines; dask passes on what is sliced off before it is read.

        Where reading what was not measured raises, no chunk has both.
        """
        # So that `grid[:5]` of a scan that was cut off computes, though the chunks after it raise.
        cuts = _edges(self.order.rows() >= 0) if self.refuses else [set[int]() for _ in self.order.shape]
        rows, *rest = self.source.dask().chunks
        lines = chunked(self.order.shape, rows)
        edges = [sorted({*axis} | own) for axis, own in zip(lines, cuts, strict=True)]
        chunks = (*(tuple(np.diff(axis).tolist()) for axis in edges), *rest)
        order = (self.order.shape, self.order.snaking, self.order.reached, self.order.lost)
        name = f"grid-{self.source.key}-{tokenize(self.source.token, order, edges, self.fill)}"
        meta: Array = np.empty((0,) * self.ndim, self.dtype)
        array: da.Array = da.from_array(self, chunks=chunks, name=name, meta=meta)
        return array


def _reorder(values: Array, places: Array) -> None:
    """Bring each value to its place, in the array itself: in snaked scans, line after line is turned around."""
    # `places` is a permutation. A stretch of it that stays in place as a whole, such as a scan line, ends where all
    # places so far are at most its own number: only such a stretch is copied, and not an array of gigabytes.
    stops = np.flatnonzero(np.maximum.accumulate(places) == np.arange(len(places))) + 1
    starts = np.r_[0, stops[:-1]] if len(stops) else stops
    moved = stops - starts > 1
    for start, stop in zip(starts[moved].tolist(), stops[moved].tolist(), strict=True):
        values[places[start:stop]] = values[start:stop].copy()


def _edges(there: Array) -> Sequence[set[int]]:
    """Where to cut along each axis, so that every part was measured as a whole or not at all."""
    edges: list[set[int]] = []
    for axis in range(there.ndim):
        lines = np.moveaxis(there, axis, 0).reshape(there.shape[axis], -1)
        changes = {int(place) + 1 for place in np.flatnonzero((lines[1:] != lines[:-1]).any(axis=1))}
        edges.append(changes if len(changes) <= MOST_CUTS else set())
    return edges
