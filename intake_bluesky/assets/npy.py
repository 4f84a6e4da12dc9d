"""Sequences of NumPy files, one a frame, as ophyd's simulated detectors write them."""

from __future__ import annotations

import glob
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, ClassVar, Self

import numpy as np

from intake_bluesky.assets.location import Location
from intake_bluesky.assets.reader import AssetReader, FrameStructure, Window
from intake_bluesky.columns import Array
from intake_bluesky.errors import AssetUnavailable

__all__ = ["NpySequenceReader"]


@dataclass(frozen=True, slots=True)
class NpySequenceReader(AssetReader):
    """Reads ``<path>_<frame>.npy``. Files that need pickle are refused.

    Attributes
    ----------
    location : Location
        The part of the name that all files have in common.
    """

    specs: ClassVar[tuple[str, ...]] = ("NPY_SEQ",)
    frame_by_frame: ClassVar[bool] = True

    location: Location

    @classmethod
    def of(cls, location: Location, parameters: Mapping[str, Any]) -> Self:
        """Make the reader; such resources have no parameters."""
        return cls(location)

    @classmethod
    def event_of(cls, datum_kwargs: Mapping[str, Any]) -> int:
        """Each datum is a file."""
        return int(datum_kwargs["index"])

    @property
    def path(self) -> str:
        """What the names begin with."""
        return self.location.path

    def file(self, frame: int) -> Location:
        """The file of one frame."""
        return self.location.with_path(f"{self.location.path}_{frame}.npy")

    def files(self) -> Sequence[Location]:
        """The files that are there (a resource does not say how many there should be)."""
        if self.location.is_local:
            found = glob.glob(glob.escape(self.location.path) + "_*.npy")
        else:
            import fsspec

            fs, path = fsspec.url_to_fs(self.location.path, **self.location.storage_options)
            found = [fs.unstrip_protocol(name) for name in fs.glob(f"{path}_*.npy")]
        return [self.location.with_path(name) for name in sorted(found, key=lambda name: (len(name), name))]

    def structure(self, first: int = 0) -> FrameStructure:
        """Shape and dtype, from the header of the frame `first`."""
        location = self.file(first)
        with location.open() as file:
            shape, dtype = _header(file, location.path)
        return FrameStructure(None, shape, dtype, 1, location.status()[0])

    def read_into(self, start: int, stop: int, out: Array, window: Window = ()) -> None:
        """Read the files one after the other."""
        for row, frame in enumerate(range(start, stop)):
            location = self.file(frame)
            with location.open() as file:
                value = _load(file, location.path)
            value = value[window] if len(window) <= value.ndim else value
            if value.shape != out.shape[1:] or not np.can_cast(value.dtype, out.dtype, "safe"):
                raise AssetUnavailable(
                    f"{location.path} has {value.dtype} of shape {value.shape}, where {out.dtype} of shape "
                    f"{out.shape[1:]} was found in the sequence before"
                )
            out[row] = value


def _header(file: BinaryIO, path: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    try:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(file)
    except ValueError as error:
        raise AssetUnavailable(f"{path} is not a NumPy file: {error}") from error
    if dtype.hasobject:
        raise AssetUnavailable(f"{path} holds pickled Python objects, which are not read")
    return shape, dtype


def _load(file: BinaryIO, path: str) -> Array:
    try:
        value: Array = np.load(file, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise AssetUnavailable(f"{path} is not a NumPy file that can be read: {error}") from error
    return value
