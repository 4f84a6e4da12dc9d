"""Arrays stored in a file as they are in memory: read in place, and of a part no more than its rows."""

from __future__ import annotations

import math
import os
from typing import Any, BinaryIO

import numpy as np

from intake_bluesky.assets.region import WHOLE, Region
from intake_bluesky.documents.columns import Array
from intake_bluesky.errors import AssetUnavailable

__all__ = ["RawArray"]


class RawArray:
    """An array in an open file, C-contiguous, so many bytes from its beginning; the path is for messages."""

    __slots__ = ("dtype", "file", "offset", "path", "shape")

    def __init__(self, file: BinaryIO, path: str, offset: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.file, self.path, self.offset, self.shape, self.dtype = file, path, offset, shape, dtype

    def read(self, out: Array, region: Region = WHOLE) -> None:
        """Read the array, or a region of it, into `out`, which is C-contiguous.

        Raises
        ------
        AssetUnavailable
            When the file is too short.
        """
        rows = region[0] if region else range(self.shape[0] if self.shape else 1)
        line = math.prod(self.shape[1:]) * self.dtype.itemsize
        self.file.seek(self.offset + rows.start * line)
        lines = (len(rows), *self.shape[1:])
        if out.dtype == self.dtype and out.size == math.prod(lines):
            self._fill(out)
            return
        whole: Array = np.empty(lines, self.dtype)
        self._fill(whole)
        out[...] = whole[:, *region.slices[1:]].reshape(out.shape)

    def lacking(self) -> str:
        """Say what is not there of the array, for messages; empty where all is."""
        size = math.prod(self.shape) * self.dtype.itemsize
        absent = min(self.offset + size - self.file.seek(0, os.SEEK_END), size)
        return f"{absent} bytes of an array are not there" if absent > 0 else ""

    def _fill(self, out: Array) -> None:
        left = out.reshape(-1).view(np.uint8).data if out.size else memoryview(b"")
        while left:
            # Files of fsspec may give less than was wanted, as sockets do.
            count = self.file.readinto(left)  # type: ignore[attr-defined]  # of every file read as bytes
            if not count:
                raise AssetUnavailable(f"{self.path} is too short: {len(left)} bytes of an array are not there")
            left = left[count:]
