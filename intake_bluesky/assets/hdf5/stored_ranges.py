"""Where the values of a dataset are in its file, so that they are fetched before HDF5 asks for them one by one.

What is found here is fetched and no more: HDF5 looks up and decodes each chunk itself. A range that were wrong would
cost time, and no value.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from intake_bluesky.assets.region import Region
from intake_bluesky.assets.remote.remote_file import ByteRange, RemoteFile
from intake_bluesky.documents.columns import Array

__all__ = ["pieces"]

HELD: Final = 4 << 20
"""Bytes of a piece as they are stored, about: at least a chunk on the first axis."""
NODE: Final = 64
"""Chunks of which one request tells the places, about: HDF5 stores its index of them in such nodes."""
MANY: Final = 1000
"""Chunks whose index is long enough that it is not read for the sake of a few of them."""


def pieces(file: RemoteFile, data: Any, region: Region) -> Iterator[tuple[Region, list[ByteRange]]]:
    """Cut a region, forwards on each axis, on the first axis, and tell where the values of each piece are stored."""
    if not math.prod(region.shape):
        return
    if data.chunks:
        chunks = _chunks(file, data, region)
        yield from chunks.pieces(region) if chunks is not None else [(region, [])]
        return
    offset = data.id.get_offset()
    yield from [(region, [])] if offset is None else _of_rows(offset, data, region)


def _of_rows(offset: int, data: Any, region: Region) -> Iterator[tuple[Region, list[ByteRange]]]:
    """Of a dataset in one piece: of each position on the first axis from the first value wanted to the last."""
    steps = [math.prod(data.shape[axis + 1 :]) * data.id.get_type().get_size() for axis in range(len(data.shape))]
    inner = list(zip(region[1:], steps[1:], strict=True))
    low = sum(r[0] * step for r, step in inner)
    high = sum(r[-1] * step for r, step in inner) + steps[-1]
    rows = max(1, HELD // max(1, high - low))
    for begin in range(0, len(region[0]), rows):
        part = region[0][begin : begin + rows]
        starts = (offset + row * steps[0] for row in part)
        yield Region((part, *region[1:])), [ByteRange(start + low, start + high) for start in starts]


@dataclass(frozen=True, slots=True, eq=False)
class _Chunks:
    """The chunks of a dataset that were written: their numbers, rising, and where each is.

    Attributes
    ----------
    lengths : tuple of int
        Of a chunk, on each axis.
    grid : tuple of int
        How many there may be on each axis.
    numbers, starts, sizes : numpy.ndarray, shape (chunks,), dtype int64
    """

    lengths: tuple[int, ...]
    grid: tuple[int, ...]
    numbers: Array
    starts: Array
    sizes: Array

    @classmethod
    def of(cls, data: Any) -> _Chunks:
        """Look through the index that the file has of them."""
        told: list[tuple[int, ...]] = []

        def note(info: Any) -> None:
            told.append((*info.chunk_offset, info.byte_offset, info.size))

        if hasattr(data.id, "chunk_iter"):
            data.id.chunk_iter(note)
        else:  # HDF5 before 1.12.3
            for number in range(data.id.get_num_chunks()):
                note(data.id.get_chunk_info(number))
        lengths, grid = data.chunks, _grid(data)
        found = np.array(told, np.int64).reshape(-1, len(grid) + 2)
        corners = found[:, :-2] // np.array(lengths)
        inside = ((corners >= 0) & (corners < np.array(grid))).all(1) & (found[:, -2:] >= 0).all(1)
        numbers = np.ravel_multi_index(tuple(corners[inside].T), grid)
        order = np.argsort(numbers, kind="stable")
        starts, sizes = found[inside][order, -2:].T
        return cls(lengths, grid, numbers[order], starts, sizes)

    def pieces(self, region: Region) -> Iterator[tuple[Region, list[ByteRange]]]:
        """Cut a region where chunks begin, and tell where those of each piece are."""
        own = [_touched(r, length) for r, length in zip(region, self.lengths, strict=True)]
        begin, total, ranges = 0, 0, list[ByteRange]()
        for number, first in enumerate(own[0]):
            more = self._ranges([np.array([first]), *own[1:]])
            size = sum(stop - start for start, stop in more)
            if ranges and total + size > HELD:
                yield self._rows(region, own[0][begin:number]), ranges
                begin, total, ranges = number, 0, []
            total += size
            ranges.extend(more)
        yield self._rows(region, own[0][begin:]), ranges

    def _ranges(self, touched: Sequence[Array]) -> list[ByteRange]:
        wanted = np.ravel_multi_index(np.ix_(*touched), self.grid).ravel()
        at = np.searchsorted(self.numbers, wanted)
        there = at < len(self.numbers)
        there[there] = self.numbers[at[there]] == wanted[there]  # others hold the fill value
        starts, sizes = self.starts[at[there]].tolist(), self.sizes[at[there]].tolist()
        return [ByteRange(start, start + size) for start, size in zip(starts, sizes, strict=True)]

    def _rows(self, region: Region, touched: Array) -> Region:
        """The part of a region that is in some of the chunks that it touches on the first axis."""
        rows, length = region[0], self.lengths[0]
        begin = max(0, -((rows.start - int(touched[0]) * length) // rows.step))
        end = -((rows.start - (int(touched[-1]) + 1) * length) // rows.step)
        return Region((rows[begin:end], *region[1:]))


def _chunks(file: RemoteFile, data: Any, region: Region) -> _Chunks | None:
    found: _Chunks | None = file.known.found.get(data.name)
    if found is None:
        # A request each is cheaper, until as many were sent as the index takes.
        total, spent = math.prod(_grid(data)), file.known.found.get(("alone", data.name), 0)
        spent += math.prod(len(_touched(r, n)) for r, n in zip(region, data.chunks, strict=True))
        if total > MANY and spent <= total // NODE:
            file.known.found["alone", data.name] = spent
            return None
        found = file.known.found[data.name] = _Chunks.of(data)
    return found


def _grid(data: Any) -> tuple[int, ...]:
    return tuple(-(-length // chunk) for length, chunk in zip(data.shape, data.chunks, strict=True))


def _touched(positions: range, length: int) -> Array:
    """The chunks that positions are in, on one axis."""
    if positions.step <= length:
        return np.arange(positions[0] // length, positions[-1] // length + 1)
    return np.arange(positions.start, positions.stop, positions.step) // length
