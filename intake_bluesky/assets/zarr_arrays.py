"""Zarr arrays of stream resources: format 2 and 3, in folders, buckets and zip files."""

from __future__ import annotations

import math
import os
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, Self

import numpy as np

from intake_bluesky.assets.location import Location
from intake_bluesky.assets.reader import FrameStructure, LocatedReader
from intake_bluesky.assets.region import WHOLE, AxisIndex, Region, Subarray, parse_slice
from intake_bluesky.documents.columns import TEXT, Array
from intake_bluesky.errors import AssetUnavailable, MissingDependency, UntrustedName
from intake_bluesky.runtime.optional import optional_import
from intake_bluesky.runtime.shared import Shared

__all__ = ["ZarrReader", "refuse_pickles", "zarr_store"]

LARGE_SHARD: Final = 128 * 2**20
"""Bytes; of larger shards the chunks inside are read, a request each."""
MOST_NAMES: Final = 20
"""Arrays that a message lists."""


@dataclass(frozen=True, slots=True)
class ZarrReader(LocatedReader):
    """Reads one array of one Zarr store, whose first axis counts frames.

    Shape and dtype come from the array's own metadata, not from the documents: a store that is still written is longer
    each time its metadata is read. As Zarr has it, a chunk that is not there holds the fill value.

    The location is that of the store: a folder, a ``.zip`` file, or either of these at a URL of fsspec.

    Attributes
    ----------
    array : str
        Path of the array inside the store; ``""`` is the array at its root, or the only array of the group there.
    selection : tuple of AxisIndex
        The part of the array that holds the frames.
    squeeze : bool
        Drop axes of length one after the first.
    """

    array: str = ""
    selection: tuple[AxisIndex, ...] = ()
    squeeze: bool = False

    @classmethod
    def of(cls, location: Location, parameters: Mapping[str, Any]) -> Self:
        """Make the reader from a stream resource's parameters.

        Raises
        ------
        UntrustedName
            When the path of the array climbs out of the store.
        """
        path = parameters.get("dataset") or parameters.get("path") or ""
        return cls(
            location.with_path(location.path.rstrip("/")),
            _inside(path if isinstance(path, str) else "/".join(map(str, path))),
            parse_slice(parameters.get("slice")),
            squeeze=bool(parameters.get("squeeze", False)),
            **cls.of_events(parameters),
        )

    @contextmanager
    def session(self) -> Iterator[Any]:
        """Hold the array's metadata for the calls that follow."""
        # `roots` too: an array that a trusted catalog has opened is not for another.
        key = (self.location.path, self.array, self.location.roots)
        with open_arrays.lend(key, lambda: _Opening(self.location, self.array)) as opening:
            yield opening.array

    def structure(self, first: int = 0) -> FrameStructure:
        """Shape, dtype and chunks, from the array's metadata as it is now."""
        with _opened(self.location, self.array) as array:
            meant = self._meant(array)
            frames, *rest = meant.shape
            axis, step = meant.counted
            chunk = max(1, _unit(array)[axis] // step) if axis >= 0 else 1
            dtype = _dtype(array, self._where(array))
            return FrameStructure(frames, tuple(rest), dtype, chunk, _version(self.location, array))

    def read_into(self, start: int, stop: int, out: Array, region: Region = WHOLE) -> None:
        """Have Zarr decode the chunks straight into `out`."""
        with self.session() as array:
            if stop <= self._meant(array).shape[0]:
                self._read(array, start, stop, out, region)
                return
        with _opened(self.location, self.array) as array:  # it may have grown since others began to use it
            self._read(array, start, stop, out, region)

    def _where(self, array: Any) -> str:
        return f"{array.path or '/'} of {self.path}"

    def _meant(self, array: Any) -> Subarray:
        """What the slice leaves of the array."""
        try:
            meant = Subarray.of_slice(self.selection, array.shape, squeeze=self.squeeze)
        except IndexError as error:
            raise AssetUnavailable(f"the slice of {self._where(array)}, {array.shape}: {error}") from error
        if not meant.shape:
            raise AssetUnavailable(f"the slice of {self._where(array)} leaves no axis that counts frames")
        return meant

    def _read(self, array: Any, start: int, stop: int, out: Array, region: Region) -> None:
        meant, where = self._meant(array), self._where(array)
        if stop > meant.shape[0]:
            raise AssetUnavailable(f"{where} has {meant.shape[0]} frames, frame {stop - 1} was asked")
        if not region and meant.shape[1:] != out.shape[1:]:
            raise AssetUnavailable(
                f"{where} has frames of shape {meant.shape[1:]}, where {out.shape[1:]} was found or declared"
            )
        if not out.size:
            return
        wanted = meant.region(Region((range(start, stop), *region)))
        with _named(where):
            array.get_basic_selection(wanted.forward.slices, out=_buffer(out.reshape(wanted.shape)))
        wanted.flip(out)


def _inside(path: str) -> str:
    """A path inside a store, without slashes at its ends; zarr refuses dots too, but not with these words."""
    parts = [part for part in path.replace("\\", "/").split("/") if part not in ("", ".")]
    if ".." in parts:
        raise UntrustedName(f"a document names the array {path!r}: '..' in paths of documents is refused")
    return "/".join(parts)


def _buffer(out: Any) -> Any:
    from zarr.buffer.cpu import NDBuffer

    # zarr decodes into its own type of buffer; this one is a view of `out`, not a copy.
    return NDBuffer.from_ndarray_like(out)


def _dtype(array: Any, where: str) -> np.dtype[Any]:
    dtype: np.dtype[Any] = array.dtype
    if dtype.hasobject and dtype != TEXT:
        raise AssetUnavailable(f"{where} holds values of varying length, of which only text is read")
    return dtype


def _unit(array: Any) -> tuple[int, ...]:
    """Shape of what is best read together: a shard, which is one request, unless that is a lot of memory."""
    shards: tuple[int, ...] | None = array.shards
    small = shards is not None and math.prod(shards) * array.dtype.itemsize <= LARGE_SHARD
    unit: tuple[int, ...] = shards if shards is not None and small else array.chunks
    return unit


def _version(location: Location, array: Any) -> str:
    if _is_zip(location):
        return location.status()[0]
    # The metadata changes when the array grows, and is one small object; the chunks may be thousands.
    name = "zarr.json" if array.metadata.zarr_format == 3 else ".zarray"
    return location.with_path("/".join(part for part in (location.path, array.path, name) if part)).status()[0]


def _is_zip(location: Location) -> bool:
    return location.path.endswith(".zip") and not (location.is_local and os.path.isdir(location.path))


def _import_zarr() -> Any:
    return optional_import("zarr", extra="zarr", purpose="to read Zarr arrays")


def zarr_store(location: Location) -> Any:
    """Zarr's store of a folder, a bucket or a zip file, for reading; in a folder no link leads out of it."""
    storage = _import_zarr().storage
    if not location.is_local:
        scheme = location.path.partition("://")[0]
        if _is_zip(location):
            options = {scheme: dict(location.storage_options)}
            return storage.FsspecStore.from_url(f"zip://::{location.path}", storage_options=options, read_only=True)
        made = _obstore(location) if hasattr(storage, "ObjectStore") else None  # since zarr 3.0.7
        if made is not None:
            return storage.ObjectStore(made, read_only=True)
        return storage.FsspecStore.from_url(
            location.path, storage_options=dict(location.storage_options), read_only=True
        )
    if not os.path.exists(location.path):
        raise FileNotFoundError(f"there is no Zarr store at {location.path}")
    location.check()
    if _is_zip(location):
        return storage.ZipStore(location.path, mode="r", read_only=True)
    return _checked_store(location)


def _obstore(location: Location) -> Any:
    """What obstore has for a folder in a bucket; None where fsspec is what reads it."""
    from intake_bluesky.objects.cloud import CloudObjects

    objects, name = location.objects()
    return objects.obstore(name) if isinstance(objects, CloudObjects) else None


@cache
def _store_class() -> type[Any]:
    """Zarr's store of a folder, but that links in it lead nowhere else, and that pipes are not waited for."""

    class CheckedStore(_import_zarr().storage.LocalStore):  # type: ignore[misc]  # known when Zarr is imported
        location: Location

        def check(self, key: str) -> str:
            self.location.with_path(os.path.join(self.location.path, key)).check()
            return key

        async def get(self, key: str, *args: Any, **kwargs: Any) -> Any:
            return await super().get(self.check(key), *args, **kwargs)

        def get_sync(self, key: str, **kwargs: Any) -> Any:
            return super().get_sync(self.check(key), **kwargs)

        async def get_partial_values(self, prototype: Any, key_ranges: Iterable[tuple[str, Any]]) -> Any:
            return await super().get_partial_values(prototype, [(self.check(key), part) for key, part in key_ranges])

        async def exists(self, key: str) -> bool:
            return bool(await super().exists(self.check(key)))

        async def list_dir(self, prefix: str) -> AsyncIterator[str]:
            async for name in super().list_dir(self.check(prefix)):
                yield name

    return CheckedStore


def _checked_store(location: Location) -> Any:
    store = _store_class()(location.path, read_only=True)
    store.location = location
    return store


@contextmanager
def _opened(location: Location, path: str) -> Iterator[Any]:
    """Open an array, and close its store in the end.

    Raises
    ------
    FileNotFoundError
        When there is no store.
    AssetUnavailable
        When the store has no such array, or one that is not to be read.
    """
    with _named(f"the Zarr store {location.path}"):
        store = zarr_store(location)
    try:
        with _named(f"{path or '/'} of {location.path}"):
            array = _find(store, location, path)
        yield array
    finally:
        with suppress(AttributeError):  # zarr's own, of a zip file that it could not open
            store.close()


@contextmanager
def _named(what: str) -> Iterator[None]:
    """Name in the error what could not be read: codecs and stores raise exceptions of any type."""
    try:
        yield
    except (OSError, MissingDependency, MemoryError):
        raise
    except Exception as error:
        raise AssetUnavailable(f"{what} cannot be read: {type(error).__name__}: {error}") from error


def _find(store: Any, location: Location, path: str) -> Any:
    zarr = _import_zarr()
    try:
        node = zarr.open(store, path=path, mode="r")
    except FileNotFoundError:
        node = None
    if isinstance(node, zarr.Group) and not path:
        arrays = [array for _, array in node.arrays()]
        node = arrays[0] if len(arrays) == 1 else node
    if not isinstance(node, zarr.Array):
        raise AssetUnavailable(f"{location.path} has no array {path or '/'!r}; {_listed(zarr, store)}")
    if not node.shape:
        raise AssetUnavailable(f"{path or '/'!r} of {location.path} is a single value: it cannot hold frames")
    refuse_pickles(node, location)
    return node


def _listed(zarr: Any, store: Any) -> str:
    names: list[str] = []
    with suppress(Exception):  # a store that is no store, or on a server that does not list
        members = zarr.open_group(store, mode="r").members(max_depth=3)
        names = sorted(name for name, node in members if isinstance(node, zarr.Array))
    shown = ", ".join(names[:MOST_NAMES]) + (" ..." if len(names) > MOST_NAMES else "")
    return f"its arrays are {shown}" if shown else "it has none that can be listed"


def refuse_pickles(array: Any, location: Location) -> None:
    """Zarr 2 may name numcodecs' pickle codec, which runs whatever code the chunk holds."""
    codecs = [*array.filters, *array.compressors]
    if any("pickle" in type(codec).__name__.lower() for codec in codecs):
        raise AssetUnavailable(
            f"{array.path or '/'} of {location.path} holds pickled Python objects: they are not read"
        )


class _Opening:
    """An array and what keeps it open."""

    def __init__(self, location: Location, path: str) -> None:
        self._context = _opened(location, path)
        self.array = self._context.__enter__()

    def close(self) -> None:
        self._context.__exit__(None, None, None)


open_arrays: Final[Shared[_Opening]] = Shared(_Opening.close)
