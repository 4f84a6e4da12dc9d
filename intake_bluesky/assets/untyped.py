"""Files of the mimetype ``application/octet-stream``, which says nothing: their first bytes or their data key do."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pkgutil import resolve_name
from typing import Any, Final, Self

import numpy as np

from intake_bluesky.assets.declared import declared_shape, explicit_dtype
from intake_bluesky.assets.images.raw_array import RawArray
from intake_bluesky.assets.location import Location
from intake_bluesky.assets.reader import AssetReader, FrameStructure, LocatedReader
from intake_bluesky.assets.region import WHOLE, Region
from intake_bluesky.documents.columns import Array
from intake_bluesky.errors import AssetUnavailable

__all__ = ["UntypedReader"]

SIGNATURES: Final[Mapping[bytes, str]] = {
    b"\x89HDF\r\n\x1a\n": "hdf5.reader:HDF5Reader",
    b"\x93NUMPY": "images.npy:NpyFramesReader",
    b"\xff\xd8\xff": "images.jpeg:JpegReader",
    b"II*\0": "images.tiff:TiffReader",
    b"MM\0*": "images.tiff:TiffReader",
    b"II+\0": "images.tiff:TiffReader",
    b"MM\0+": "images.tiff:TiffReader",
}
"""What files of a format begin with, and the reader of the format."""


@dataclass(frozen=True, slots=True)
class UntypedReader(LocatedReader):
    """Reads one file whose mimetype is ``application/octet-stream``.

    HDF5, TIFF, NPY and JPEG files are known by their first bytes. All others are taken for the values of one event
    after the other, in C order and with nothing between them, if their data key has a ``dtype_numpy`` and a shape
    without gaps, and if the file is so many events long: anything else is an error.

    Attributes
    ----------
    parameters : mapping
        Of the resource, for the reader of the format.
    spec : mapping
        The data key.
    """

    parameters: Mapping[str, Any] = field(default_factory=dict)
    spec: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, location: Location, parameters: Mapping[str, Any]) -> Self:
        """Make the reader, which does not know its format yet."""
        return cls(location, dict(parameters), **cls.of_events(parameters))

    def knowing(self, spec: Mapping[str, Any], *, finished: bool) -> AssetReader:
        """The reader with its data key."""
        return replace(self, spec=dict(spec))

    def session(self) -> AbstractContextManager[Any]:
        """That of the format's own reader."""
        return self._reader().session()

    def structure(self, first: int = 0) -> FrameStructure:
        """As the format has it."""
        return self._reader().structure(first)

    def read_into(self, start: int, stop: int, out: Array, region: Region = WHOLE) -> None:
        """Read with the reader of the format."""
        self._reader().read_into(start, stop, out, region)

    def _reader(self) -> AssetReader:
        with self.location.open() as file:
            begin = file.read(max(map(len, SIGNATURES)))
        for signature, place in SIGNATURES.items():
            if begin.startswith(signature):
                reader: type[AssetReader] = resolve_name(f"intake_bluesky.assets.{place}")
                return reader.of(self.location, self.parameters)
        return self._raw()

    def _raw(self) -> _RawReader:
        shape, dtype = declared_shape(self.spec), explicit_dtype(self.spec)
        known = tuple(length for length in shape if length is not None)
        if dtype is None or len(known) < len(shape):
            raise AssetUnavailable(
                f"{self.path} has the mimetype application/octet-stream, which says nothing, and begins as no format "
                "that is known; that it holds plain values takes a data key with dtype_numpy and a shape without gaps"
            )
        if known[:1] == (self.frames_per_event,):
            known = known[1:]
        return _RawReader(self.location, known, dtype)


@dataclass(frozen=True, slots=True)
class _RawReader(LocatedReader):
    """Reads values as they are in memory, frame after frame."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @classmethod
    def of(cls, location: Location, parameters: Mapping[str, Any]) -> Self:
        """Not the way to make one: shape and dtype are those of a data key."""
        raise TypeError("an UntypedReader makes it")

    @property
    def _bytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize

    def structure(self, first: int = 0) -> FrameStructure:
        """As the data key declares."""
        return FrameStructure(self._frames(), self.shape, self.dtype, 1, self.location.status()[0])

    def _frames(self) -> int:
        """How many there are, if the file is as long as that makes it: else none is where it should be."""
        size = self.location.status()[1]
        if not self._bytes or size % self._bytes:
            raise AssetUnavailable(
                f"{self.path} has {size} bytes, which are no whole number of values of shape {self.shape} and "
                f"{self.dtype}, {self._bytes} bytes each, as its data key declares"
            )
        return size // self._bytes

    def read_into(self, start: int, stop: int, out: Array, region: Region = WHOLE) -> None:
        """Read the frames one after the other."""
        if stop > self._frames():
            raise AssetUnavailable(f"{self.path} has {self._frames()} frames, frame {stop - 1} was asked")
        with self.location.open() as file:
            for row, number in enumerate(range(start, stop)):
                RawArray(file, self.path, number * self._bytes, self.shape, self.dtype).read(out[row, ...], region)
