"""Arrays of rows brought to the shape of a grid, in memory or as dask arrays."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Final

import dask.array as da
import numpy as np
from dask.base import tokenize
from dask.highlevelgraph import HighLevelGraph

from intake_bluesky.columns import Array, Observed, missing
from intake_bluesky.errors import AssetUnavailable
from intake_bluesky.grids.order import Order, Region

__all__ = ["Gaps", "gather", "gather_dask"]

MOST_CUTS: Final = 16
"""Along one axis, to part what was measured from what was not; a grid full of holes is not cut to pieces."""


@dataclass(frozen=True, slots=True)
class Gaps:
    """What one variable has where the grid was not measured.

    Attributes
    ----------
    dtype : numpy.dtype
        Of the whole variable.
    refusal : str
        Message of the `AssetUnavailable` that computing raises; empty to give missing values.
    """

    dtype: np.dtype[Any]
    refusal: str = ""

    @classmethod
    def of(cls, dtype: np.dtype[Any], order: Order, *, fill: bool, refusal: str = "") -> Gaps:
        """Decide as columns of events do: integers with gaps become float64, booleans objects, floats have NaN.

        With `fill` the dtype stays, with a `refusal` too, and what has no missing value raises.
        """
        if fill or order.measured == order.size or dtype.kind in "fcMTO":
            return cls(dtype, refusal if dtype.kind not in "fc" and not fill else "")
        return cls(dtype, refusal) if refusal else cls(Observed(frozenset({dtype.str, "null"})).dtype)

    def values(self, shape: tuple[int, ...]) -> Array:
        """Missing values."""
        if self.refusal:
            raise AssetUnavailable(self.refusal)
        return (
            np.full(shape, np.datetime64("NaT"), self.dtype) if self.dtype.kind == "M" else missing(shape, self.dtype)
        )


def gather(rows: Array, values: Array, gaps: Gaps) -> Array:
    """Bring values to a grid.

    Parameters
    ----------
    rows : numpy.ndarray, dtype int64
        Row of each point, -1 where there is none.
    values : numpy.ndarray, shape (rows, ...)
    gaps : Gaps

    Returns
    -------
    numpy.ndarray, shape ``(*rows.shape, ...)``, dtype ``gaps.dtype``
    """
    return _gather(rows, (0,), [values], values.shape[1:], gaps)


def _gather(rows: Array, starts: Sequence[int], blocks: Sequence[Array], event: tuple[int, ...], gaps: Gaps) -> Array:
    """Take the rows from blocks that begin at the rows `starts`."""
    there = rows >= 0
    whole = bool(there.all())
    if whole and len(blocks) == 1 and blocks[0].dtype == gaps.dtype:
        taken: Array = blocks[0][rows - starts[0]]
        return taken
    shape = (*rows.shape, *event)
    out: Array = np.empty(shape, gaps.dtype) if whole else gaps.values(shape)
    for start, block in zip(starts, blocks, strict=True):
        inside = (rows >= start) & (rows < start + len(block))
        out[inside] = block[rows[inside] - start]
    return out


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """One chunk of a grid: what its task does with the blocks of rows it is given."""

    order: Order
    region: Region
    starts: tuple[int, ...]
    event: tuple[int, ...]
    gaps: Gaps

    def __call__(self, blocks: Sequence[Array]) -> Array:
        return _gather(self.order.rows(self.region), self.starts, blocks, self.event, self.gaps)


def _load(part: _Part, blocks: Sequence[Array]) -> Array:
    return part(blocks)


def gather_dask(order: Order, values: da.Array, gaps: Gaps) -> da.Array:
    """Bring a lazy array, rows first, to a grid: a task a chunk, each of whole scan lines or one part of a line.

    A chunk is about half as large as the blocks it is taken from, so that few chunks straddle two of them; where
    computing what was not measured raises, no chunk has both.
    """
    cuts = _edges(order) if gaps.refusal else [set[int]() for _ in order.shape]
    bounds = _bounds(order.shape, values.chunks[0], cuts)
    name = f"grid-{tokenize(values.name, order.shape, order.snaking, order.reached, order.lost, bounds, gaps)}"
    offsets = np.cumsum([0, *values.chunks[0]])
    tasks: dict[Any, Any] = {}
    for place, region in _regions(bounds):
        needed = _needed(order.rows(region), offsets)
        starts = tuple(offsets[needed].tolist())
        for rest in product(*(range(n) for n in values.numblocks[1:])):
            event = tuple(sizes[i] for sizes, i in zip(values.chunks[1:], rest, strict=True))
            blocks = [(values.name, int(block), *rest) for block in needed]
            tasks[name, *place, *rest] = (_load, _Part(order, region, starts, event, gaps), blocks)
    sources: list[Any] = [values]
    graph = HighLevelGraph.from_collections(name, tasks, dependencies=sources)
    chunks = (*(tuple(np.diff(edges).tolist()) for edges in bounds), *values.chunks[1:])
    return da.Array(graph, name, chunks=chunks, meta=missing((0,) * len(chunks), gaps.dtype))


def _needed(rows: Array, offsets: Array) -> Array:
    """Numbers of the blocks in which the rows are."""
    return np.unique(np.searchsorted(offsets, rows[rows >= 0], side="right") - 1)


def _regions(bounds: Sequence[Sequence[int]]) -> Iterator[tuple[tuple[int, ...], Region]]:
    """Place and region of each chunk."""
    for place in product(*(range(len(edges) - 1) for edges in bounds)):
        yield place, tuple(slice(edges[i], edges[i + 1]) for edges, i in zip(bounds, place, strict=True))


def _bounds(shape: Sequence[int], blocks: Sequence[int], cuts: Sequence[set[int]]) -> list[list[int]]:
    """Where chunks begin and end along each axis of a grid whose rows come in blocks of these lengths."""
    left = math.prod(shape) if len(blocks) == 1 else max(max(blocks) // 2, 1)
    bounds: list[list[int]] = []
    for points, own in zip(reversed(shape), reversed(cuts), strict=True):
        step = math.ceil(points / math.ceil(points / left))
        bounds.append(sorted({*range(0, points, step), points} | own))
        left = max(left // points, 1)
    return bounds[::-1]


def _edges(order: Order) -> list[set[int]]:
    """Where along each axis to cut, so that every chunk was measured as a whole or not at all."""
    there = order.rows() >= 0
    edges: list[set[int]] = []
    for axis in range(there.ndim):
        lines = np.moveaxis(there, axis, 0).reshape(there.shape[axis], -1)
        changes = {int(i) + 1 for i in np.flatnonzero((lines[1:] != lines[:-1]).any(axis=1))}
        edges.append(changes if len(changes) <= MOST_CUTS else set())
    return edges
