"""Sequences of NumPy files, as ophyd's simulated detectors write them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO, ClassVar

import numpy as np

from intake_bluesky.assets.images.raw_array import RawArray
from intake_bluesky.assets.images.sequence import FrameFile, SequenceReader
from intake_bluesky.assets.location import Location
from intake_bluesky.assets.region import Region
from intake_bluesky.documents.columns import Array
from intake_bluesky.errors import AssetUnavailable

__all__ = ["NpyFileReader", "NpyFramesReader", "NpySequenceReader"]


@dataclass(frozen=True, slots=True)
class NpySequenceReader(SequenceReader):
    """Reads ``<path>_<number>.npy``. Files that need pickle are refused.

    Notes
    -----
    A resource of spec ``NPY_SEQ`` has no parameters, and each of its datums has an ``index``. Stream resources may
    have those of every `SequenceReader`; with a ``chunk_shape`` of several frames the first axis of what a file holds
    counts them.
    """

    format: ClassVar[str] = "NumPy"
    default_template: ClassVar[str] = "%s_%d.npy"
    numbered_by: ClassVar[str | None] = "index"

    @contextmanager
    def opened(self, location: Location) -> Iterator[FrameFile]:
        with location.open() as file:
            shape, columns, dtype = _header(file, location.path)
            several = self.per_file > 1 or not self.template.numbered
            if several and not shape:
                raise AssetUnavailable(f"{location.path} holds a single value, and no axis that counts frames")
            frame = shape[1:] if several else shape
            size, offset = math.prod(frame) * dtype.itemsize, file.tell()

            def read(number: int, out: Array, region: Region) -> None:
                # In C's order a frame is a piece of the file; in Fortran's its numbers are all over it, and the file is
                # read whole.
                if not columns:
                    RawArray(file, location.path, offset + number * size, frame, dtype).read(out, region)
                    return
                whole: Array = np.empty(shape[::-1], dtype)
                RawArray(file, location.path, offset, whole.shape, dtype).read(whole)
                out[...] = (whole.T[number] if several else whole.T)[region.slices]

            stored = RawArray(file, location.path, offset, shape, dtype)
            yield FrameFile(shape[0] if several else 1, frame, dtype, read, stored.lacking)


@dataclass(frozen=True, slots=True)
class NpyFramesReader(NpySequenceReader):
    """Reads one NumPy file whose first axis counts frames; a datum of spec ``npy_FRAMEWISE`` is one of them."""

    default_template: ClassVar[str] = ""
    numbered_by: ClassVar[str | None] = "frame_no"


@dataclass(frozen=True, slots=True)
class NpyFileReader(NpyFramesReader):
    """Reads one NumPy file; a datum of spec ``npy`` is all of it."""

    numbered_by: ClassVar[str | None] = ""


def _header(file: BinaryIO, path: str) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, whether it is in Fortran's order, and dtype."""
    try:
        version = np.lib.format.read_magic(file)
        # Version 3 differs from 2 only in the encoding of the names of fields.
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, columns, dtype = read(file)
    except ValueError as error:
        raise AssetUnavailable(f"{path} is not a NumPy file: {error}") from error
    if dtype.hasobject:
        raise AssetUnavailable(f"{path} holds pickled Python objects, which are not read")
    return shape, columns, dtype
