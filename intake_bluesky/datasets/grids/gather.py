"""Columns of events brought to the shape of a grid, in memory or as dask arrays."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from typing import Any

import dask.array as da
import numpy as np
from dask.base import tokenize
from dask.highlevelgraph import HighLevelGraph

from intake_bluesky.datasets.grids.order import GridOrder
from intake_bluesky.documents.columns import Array, Observed, missing

__all__ = ["chunked", "gather", "gather_dask", "with_gaps"]


def with_gaps(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype of a column where the grid has gaps, as of a column of events: integers float64, booleans objects.

    Examples
    --------
    >>> with_gaps(np.dtype("int32"))
    dtype('float64')
    """
    return dtype if dtype.kind in "fcMTO" else Observed(frozenset({dtype.str, "null"})).dtype


def gather(rows: Array, values: Array, dtype: np.dtype[Any]) -> Array:
    """Bring values, one a row, to a grid, given the row of each point, -1 where there is none."""
    return _gather(rows, (0,), [values], values.shape[1:], dtype)


def _gather(
    rows: Array, starts: Sequence[int], blocks: Sequence[Array], event: tuple[int, ...], dtype: np.dtype[Any]
) -> Array:
    """Take the rows out of blocks that begin at the rows `starts`."""
    out = np.full((*rows.shape, *event), _nothing(dtype), dtype)
    for start, block in zip(starts, blocks, strict=True):
        inside = (rows >= start) & (rows < start + len(block))
        out[inside] = block[rows[inside] - start]
    return out


def _nothing(dtype: np.dtype[Any]) -> Any:
    # `missing` is for the dtypes of events, which have no times; `time` is one where it was decoded.
    return np.array("NaT", dtype)[()] if dtype.kind == "M" else missing((), dtype)[()]


@dataclass(frozen=True, slots=True, eq=False)
class _GridChunk:
    """One chunk of a grid: which of its points, and what is taken from which blocks of rows."""

    order: GridOrder
    places: tuple[range, ...]
    starts: tuple[int, ...]
    event: tuple[int, ...]
    dtype: np.dtype[Any]


def _load(part: _GridChunk, blocks: Sequence[Array]) -> Array:
    return _gather(part.order.rows(part.places), part.starts, blocks, part.event, part.dtype)


def gather_dask(order: GridOrder, values: da.Array, dtype: np.dtype[Any]) -> da.Array:
    """Bring a lazy column, of shape (rows, ...), to a grid: a task a chunk, about as large as the blocks it is from."""
    edges = chunked(order.shape, values.chunks[0])
    name = f"grid-{tokenize(values.name, order.shape, order.snaking, order.reached, order.lost, edges, dtype)}"
    offsets = np.cumsum([0, *values.chunks[0]])
    tasks: dict[Any, Any] = {}
    for number, places in _chunks(edges):
        rows = order.rows(places)
        # Blocks that hold a row of this chunk: of a snaked grid mostly one or two, and the others are not read for it.
        needed = np.flatnonzero(np.bincount(np.searchsorted(offsets, rows[rows >= 0], side="right") - 1)).tolist()
        starts = tuple(offsets[needed].tolist())
        for rest in product(*map(range, values.numblocks[1:])):
            event = tuple(sizes[i] for sizes, i in zip(values.chunks[1:], rest, strict=True))
            blocks = [(values.name, block, *rest) for block in needed]
            tasks[name, *number, *rest] = (_load, _GridChunk(order, places, starts, event, dtype), blocks)
    sources: list[Any] = [values]
    graph = HighLevelGraph.from_collections(name, tasks, dependencies=sources)
    chunks = (*(tuple(np.diff(axis).tolist()) for axis in edges), *values.chunks[1:])
    return da.Array(graph, name, chunks=chunks, meta=missing((0,) * len(chunks), dtype))


def _chunks(edges: Sequence[Sequence[int]]) -> Iterator[tuple[tuple[int, ...], tuple[range, ...]]]:
    """Number along each axis, and places, of each chunk."""
    axes = [[range(*ends) for ends in pairwise(axis)] for axis in edges]
    numbers = product(*(range(len(axis)) for axis in axes))
    yield from zip(numbers, product(*axes), strict=True)


def chunked(shape: Sequence[int], blocks: Sequence[int]) -> list[list[int]]:
    """Cut a grid into chunks of whole scan lines, or equal parts of them, of as many points as the blocks have rows.

    What is returned is where chunks begin along each axis, and its end.

    Examples
    --------
    >>> chunked((4, 10), (24, 16)), chunked((4, 10), (8, 8, 8, 8, 8))
    ([[0, 2, 4], [0, 10]], [[0, 1, 2, 3, 4], [0, 5, 10]])
    """
    # A column that is one block stays one chunk, even where the grid has more points than rows were measured.
    left = math.prod(shape) if len(blocks) == 1 else max(blocks)
    edges: list[list[int]] = []
    for points in reversed(shape):
        step = math.ceil(points / math.ceil(points / left))
        edges.append([*range(0, points, step), points])
        left = max(left // points, 1)
    return edges[::-1]
