"""The one file that holds the arrays of a run that is written: HDF5, or Zarr in a zip file."""

from __future__ import annotations

import io
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from itertools import chain, zip_longest
from typing import Any, ClassVar, Final, TypeAlias

import dask
import dask.array as da
import numpy as np
from dask.array.core import slices_from_chunks

from intake_bluesky.datasets.stored_datasets.documents import check_shape
from intake_bluesky.runtime.optional import optional_import

__all__ = ["ArrayFile", "HDF5File", "ZarrFile", "chunk_shape"]

Region: TypeAlias = tuple[slice, ...]
LARGEST_CHUNK: Final = 2**24
SMALLEST_CHUNK: Final = 2**18
"""Bytes; between the two, chunks are those of the dask array."""
TOGETHER: Final = 2**26
"""Bytes that are computed at once, and then written."""
PURPOSE: Final = "to write arrays beside a run"


class ArrayFile(ABC):
    """A kind of file that arrays are written to, and the words of stream resources for it."""

    mimetype: ClassVar[str]
    ending: ClassVar[str]

    @abstractmethod
    def write(self, path: str, arrays: Mapping[str, da.Array]) -> None:
        """Write arrays, by their paths in the file; of dask arrays some chunks at a time are in memory."""

    @staticmethod
    @abstractmethod
    def check_installed() -> None:
        """Refuse where the library is missing.

        Raises
        ------
        MissingDependency
        """

    @staticmethod
    def parameters(name: str, array: da.Array) -> dict[str, Any]:
        """What a stream resource says of an array."""
        return {"dataset": f"/{name}", "chunk_shape": list(chunk_shape(array))}


class HDF5File(ArrayFile):
    """One HDF5 file, a dataset an array."""

    mimetype, ending = "application/x-hdf5", ".h5"

    @staticmethod
    def check_installed() -> None:
        """As of any."""
        optional_import("h5py", extra="assets", purpose=PURPOSE)

    def write(self, path: str, arrays: Mapping[str, da.Array]) -> None:
        """As of any."""
        import h5py

        with _Unfailing(path, "w+") as raw:
            with h5py.File(raw, "w") as file:
                made = {
                    name: file.create_dataset(
                        name, array.shape, array.dtype, chunks=chunk_shape(array), track_times=False
                    )
                    for name, array in arrays.items()
                }
                _store(arrays, made, raw.check)
            raw.check()


class _Unfailing(io.FileIO):
    """A file that HDF5 writes, and that keeps errors for who asks: HDF5 crashes Python where a disk is full."""

    _error: OSError | None = None

    def check(self) -> None:
        """Raise the first error there was."""
        if self._error is not None:
            raise self._error

    def write(self, data: Any) -> int:
        rest = memoryview(data).cast("B")
        total = len(rest)
        try:
            while rest and self._error is None:
                rest = rest[super().write(rest) or 0 :]
        except OSError as error:
            self._error = error
        return total

    def truncate(self, size: int | None = None) -> int:
        try:
            return super().truncate(size)
        except OSError as error:
            self._error = self._error or error
            return size or 0


class ZarrFile(ArrayFile):
    """One Zarr hierarchy of format 3 in a zip file, which is one object in a bucket."""

    mimetype, ending = "application/x-zarr", ".zarr.zip"

    @staticmethod
    def check_installed() -> None:
        """As of any."""
        optional_import("zarr", extra="zarr", purpose=PURPOSE)

    def write(self, path: str, arrays: Mapping[str, da.Array]) -> None:
        """As of any."""
        import zarr

        # A chunk that is all fill value would be left out, and -0.0 is equal to it.
        with zarr.storage.ZipStore(path, mode="w") as store, zarr.config.set({"array.write_empty_chunks": True}):
            zarr.create_group(store)
            made = {
                name: zarr.create_array(
                    store, name=name, shape=array.shape, chunks=chunk_shape(array), dtype=array.dtype, zarr_format=3
                )
                for name, array in arrays.items()
            }
            # A member of a zip file is written once: whole chunks at a time.
            _store({name: array.rechunk(chunk_shape(array)) for name, array in arrays.items()}, made)


def _store(arrays: Mapping[str, da.Array], made: Mapping[str, Any], check: Callable[[], None] = lambda: None) -> None:
    """Write arrays into those that were made for them: computed by the user's scheduler, written by this thread."""
    for batch in _batches(arrays):
        # Together: arrays that are made of the same values share the work.
        values = dask.compute(*(arrays[name][region] for name, region in batch))
        for (name, region), block in zip(batch, values, strict=True):
            # Both libraries would repeat values to fill the region.
            shape = tuple(len(range(*own.indices(n))) for own, n in zip(region, made[name].shape, strict=True))
            check_shape(block, shape, name)
            made[name][region] = block
        check()


def _batches(arrays: Mapping[str, da.Array]) -> Iterator[list[tuple[str, Region]]]:
    """Chunks of all arrays, those at the same place one after the other, in lists of bounded size."""
    batch, size = list[tuple[str, Region]](), 0
    named = ([(name, region) for region in slices_from_chunks(array.chunks)] for name, array in arrays.items())
    for name, region in filter(None, chain.from_iterable(zip_longest(*named))):
        own = math.prod(part.stop - part.start for part in region) * arrays[name].dtype.itemsize
        if batch and size + own > TOGETHER:
            yield batch
            batch, size = [], 0
        batch.append((name, region))
        size += own
    if batch:
        yield batch


def chunk_shape(array: da.Array) -> tuple[int, ...]:
    """The chunks in which an array is stored: those of dask, cut where they are large, joined where they are small.

    Examples
    --------
    >>> chunk_shape(da.zeros((100, 2048, 2048), chunks=(10, -1, -1)))
    (1, 1024, 2048)
    >>> chunk_shape(da.zeros(100_000, chunks=1000))
    (64000,)
    """
    shape = [max(sizes) for sizes in array.chunks]
    # Rows first: whoever reads one event is to read little else.
    while math.prod(shape) * array.dtype.itemsize > LARGEST_CHUNK:
        axis = 0 if shape[0] > 1 else int(np.argmax(shape))
        shape[axis] = (shape[axis] + 1) // 2
    while math.prod(shape) * array.dtype.itemsize < SMALLEST_CHUNK and shape[0] < array.shape[0]:
        shape[0] = min(shape[0] * 2, array.shape[0])
    return tuple(shape)
