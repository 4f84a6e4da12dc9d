"""The one file that holds the arrays of a run that is written: HDF5, or Zarr in a zip file."""

from __future__ import annotations

import io
import math
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final

import dask.array as da
import numpy as np

from intake_bluesky.runtime.optional import optional_import

__all__ = ["ArrayFile", "HDF5File", "ZarrFile", "chunk_shape"]

LARGEST_CHUNK: Final = 2**24
SMALLEST_CHUNK: Final = 2**18
"""Bytes; between the two, chunks are those of the dask array."""
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
            # A member of a zip file is written once: each task writes whole chunks.
            _store({name: array.rechunk(chunk_shape(array)) for name, array in arrays.items()}, made)


def _store(arrays: Mapping[str, da.Array], made: Mapping[str, Any], check: Callable[[], None] = lambda: None) -> None:
    # Threads of this process, whatever the user's scheduler is: no other has the file open.
    names, writing = list(arrays), _Writing(check)
    targets: list[Any] = [_OpenArray(name, made[name], writing) for name in names]
    try:
        da.store([arrays[name] for name in names], targets, lock=False, scheduler="threads")
    finally:
        writing.end()


class _Writing:
    """Lets one thread write at a time, and none once it has ended: where a task fails, dask waits for no other."""

    def __init__(self, check: Callable[[], None]) -> None:
        self._check, self._lock, self._ended = check, threading.Lock(), False

    def __enter__(self) -> None:
        self._lock.acquire()
        try:
            if self._ended:
                raise io.UnsupportedOperation("this file is not written any more")
            self._check()
        except BaseException:
            self._lock.release()
            raise

    def __exit__(self, *error: object) -> None:
        self._lock.release()

    def end(self) -> None:
        """Wait for who is writing, and let nobody else."""
        with self._lock:
            self._ended = True


class _OpenArray:
    """An array in an open file, of which dask makes no copies: one of a zip file would empty it."""

    def __init__(self, name: str, array: Any, writing: _Writing) -> None:
        self._name, self._array, self._writing = name, array, writing

    def __setitem__(self, region: Any, values: Any) -> None:
        with self._writing:
            self._array[region] = values

    def __dask_tokenize__(self) -> tuple[str, str, int]:
        return type(self).__name__, self._name, id(self)


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
