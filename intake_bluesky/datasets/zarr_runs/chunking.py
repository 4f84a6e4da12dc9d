"""How arrays are cut for storage: chunks that are decoded alone, and shards of them that are one object each."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from intake_bluesky.documents.columns import TEXT

__all__ = ["Cut"]

CHUNK: Final = 2 * 2**20
"""Bytes that rows are joined up to, before compression."""
LARGEST_CHUNK: Final = 16 * 2**20
"""Bytes; what one row has more than that is cut along its axes."""
SHARD: Final = 40 * 2**20
"""Bytes, before compression: those of a dask chunk of files, since a shard is a dask chunk."""
TEXT_BYTES: Final = 32
"""What a text counts for, whose length is not known before it is read."""


@dataclass(frozen=True, slots=True)
class Cut:
    """How one array is cut.

    Attributes
    ----------
    chunks : tuple of int
    shards : tuple of int or None
        Whole multiples of the chunks; None where there is one chunk alone.
    """

    chunks: tuple[int, ...]
    shards: tuple[int, ...] | None

    @classmethod
    def of(cls, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Cut:
        """Cut an array along its first axis, and along the others where one row is too large.

        Examples
        --------
        >>> Cut.of((11,), np.dtype("f8"))
        Cut(chunks=(11,), shards=None)
        >>> Cut.of((200, 1024, 1024), np.dtype("u2"))
        Cut(chunks=(1, 1024, 1024), shards=(20, 1024, 1024))
        """
        size = TEXT_BYTES if dtype == TEXT else max(dtype.itemsize, 1)
        if not shape:
            return cls((), None)
        shape = tuple(max(n, 1) for n in shape)
        row = _halved(list(shape[1:]), LARGEST_CHUNK // size)
        rows = _rows(shape[0], CHUNK // (math.prod(row) * size))
        chunks = (rows, *row)
        each = [-(-n // chunk) for n, chunk in zip(shape[1:], row, strict=True)]  # chunks in a row, by axis
        if rows * math.prod(each) * math.prod(row) * size > SHARD:
            each = [1] * len(row)  # a row is more than a shard
        many = _rows(-(-shape[0] // rows), SHARD // (math.prod(chunks) * math.prod(each) * size))
        shards = (many * rows, *(chunk * n for chunk, n in zip(row, each, strict=True)))
        alone = all(n <= chunk for n, chunk in zip(shape, chunks, strict=True))
        return cls(chunks, None if alone or shards == chunks else shards)

    @property
    def unit(self) -> tuple[int, ...]:
        """The shape of what is written at once: one object."""
        return self.shards or self.chunks


def _rows(there: int, fit: int) -> int:
    return max(1, min(there, fit))


def _halved(row: list[int], most: int) -> list[int]:
    """The lengths with those of the first axes halved until the product is small enough."""
    for axis in range(len(row)):
        while row[axis] > 1 and math.prod(row) > most:
            row[axis] = -(-row[axis] // 2)
    return row
