"""IMM files, as XPCS beamlines write them: frames one after the other, each with a header of its own.

The layout, as area-detector-handlers reads it: a header of 1024 bytes, little-endian, and then the pixels, either all
of them or, compressed, the numbers of those that are not zero and their values.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, BinaryIO, ClassVar, Final, NamedTuple, Self

import numpy as np

from intake_bluesky.assets.images.raw_array import RawArray
from intake_bluesky.assets.location import Location
from intake_bluesky.assets.reader import FrameStructure, LocatedReader
from intake_bluesky.assets.region import WHOLE, Region
from intake_bluesky.documents.columns import Array
from intake_bluesky.errors import AssetUnavailable

__all__ = ["ImmReader"]

HEADER: Final = 1024
"""Bytes."""
FIELDS: Final = struct.Struct("<4x i 100x iii 32x I 868x")
"""Compression, rows, columns, bytes of a pixel, and the number of pixels that follow."""
SPARSE: Final = 6
"""The value of the compression where pixels of zero are left out."""
PIXEL: Final = np.dtype("<u2")
NUMBER: Final = np.dtype("<u4")


@dataclass(frozen=True, slots=True)
class ImmReader(LocatedReader):
    """Reads IMM files: frames of shape (H, W) and dtype uint16.

    Notes
    -----
    A resource of spec ``IMM`` has ``frames_per_point``; each of its datums has an ``index``. All headers are read once,
    to find where frames begin. A frame that is cut off at the end of the file is none: it may be being written.
    """

    numbered_by: ClassVar[str | None] = "index"

    @classmethod
    def of(cls, location: Location, parameters: Mapping[str, Any]) -> Self:
        """Make the reader; ``frames_per_point`` is the only parameter of such resources."""
        return cls(location, **cls.of_events(parameters, "frames_per_point"))

    def structure(self, first: int = 0) -> FrameStructure:
        """Shape and number of frames, from their headers."""
        version, found = self._found()
        return FrameStructure(len(found.begins), found.shape, PIXEL, 1, version)

    def read_into(self, start: int, stop: int, out: Array, region: Region = WHOLE) -> None:
        """Read the frames one after the other."""
        _, found = self._found()
        if stop > len(found.begins):
            raise AssetUnavailable(f"{self.path} has {len(found.begins)} frames, frame {stop - 1} was asked")
        with self.location.open() as file:
            for row, number in enumerate(range(start, stop)):
                begin, pixels = found.begins[number], found.pixels[number]
                if not found.sparse:
                    RawArray(file, self.path, begin, found.shape, PIXEL).read(out[row, ...], region)
                else:
                    out[row] = self._sparse(file, begin, pixels, found.shape)[region.slices]

    def _found(self) -> tuple[str, _Frames]:
        self.location.check()  # also where a catalog that may read it has looked into it
        version = self.location.status()[0]
        return version, _look(_ImmFile(self.path, version, self.location))

    def _sparse(self, file: BinaryIO, begin: int, pixels: int, shape: tuple[int, int]) -> Array:
        numbers, values = np.empty(pixels, NUMBER), np.empty(pixels, PIXEL)
        RawArray(file, self.path, begin, numbers.shape, NUMBER).read(numbers)
        RawArray(file, self.path, begin + numbers.nbytes, values.shape, PIXEL).read(values)
        frame: Array = np.zeros(shape[0] * shape[1], PIXEL)
        if (numbers >= len(frame)).any():
            raise AssetUnavailable(f"{self.path} is damaged: pixel {numbers.max()} of a frame of {len(frame)}")
        frame[numbers] = values
        return frame.reshape(shape)


class _Frames(NamedTuple):
    """Where the pixels of each frame begin, and how many there are."""

    shape: tuple[int, int]
    sparse: bool
    begins: Array
    pixels: Array


@dataclass(frozen=True, slots=True)
class _ImmFile:
    """A file as it was at one time."""

    path: str
    version: str
    location: Location = field(compare=False)


@lru_cache(64)
def _look(imm: _ImmFile) -> _Frames:
    """The frames of a file; they are as large as the first."""
    location = imm.location
    size = location.status()[1]
    begins: list[int] = []
    counts: list[int] = []
    with location.open() as file:
        first, begin = _header(file, 0, location.path), 0
        while begin + HEADER <= size:
            compression, rows, columns, of_pixel, pixels = own = _header(file, begin, location.path)
            if own[:4] != first[:4] or (compression != SPARSE and pixels != rows * columns):
                raise AssetUnavailable(
                    f"{location.path} is damaged: frame {len(begins)} is of {rows} x {columns} pixels, {pixels} of "
                    f"them there, of {of_pixel} bytes, where the first is of {first[1]} x {first[2]}"
                )
            end = begin + HEADER + pixels * (PIXEL.itemsize + (NUMBER.itemsize if compression == SPARSE else 0))
            if end <= size:
                begins.append(begin + HEADER)
                counts.append(pixels)
            begin = end
    return _Frames(first[1:3], first[0] == SPARSE, np.array(begins, np.int64), np.array(counts, np.int64))


def _header(file: BinaryIO, begin: int, path: str) -> tuple[int, int, int, int, int]:
    file.seek(begin)
    header = file.read(HEADER)
    if len(header) < HEADER:
        raise AssetUnavailable(f"{path} is no IMM file: it has {len(header)} bytes, a header alone has {HEADER}")
    found: tuple[int, int, int, int, int] = FIELDS.unpack(header)
    _, rows, columns, of_pixel, _ = found
    if min(rows, columns) < 1 or of_pixel != PIXEL.itemsize:
        raise AssetUnavailable(
            f"{path} is no IMM file: its header at byte {begin} has {rows} x {columns} pixels of {of_pixel} bytes"
        )
    return found
