"""Values of a stream that its store holds as arrays already: they are taken as they are, and no event is parsed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import dask.array as da
import numpy as np
from dask.base import tokenize

from intake_bluesky.documents.columns import Array
from intake_bluesky.documents.model import RunHeader, StreamLayout
from intake_bluesky.errors import DamagedRun
from intake_bluesky.storage.contract import RunStore

__all__ = ["as_dask", "read_together", "stored_arrays"]

TOGETHER: Final = 4
"""Arrays that are read at once, at most."""
AT_ONCE: Final = 2**20
"""Bytes that one thread reads as quickly as several."""


def stored_arrays(store: RunStore, header: RunHeader, layout: StreamLayout, keys: Iterable[str]) -> Mapping[str, Any]:
    """Those of some keys that `RunStore.arrays` gives, of shape ``(stored events, ...)``; reads none.

    Raises
    ------
    DamagedRun
        Where an array is not as long as there are events.
    """
    found = store.arrays(header.uid, layout.name) or {}
    # A run that was opened while it went on, and is longer now, stays as it was: its events are read.
    longer = {key for key, array in found.items() if header.stop is None and array.shape[:1] > (layout.events,)}
    wanted = {key: found[key] for key in keys if key in found and key not in longer}
    for key, array in wanted.items():
        if array.shape[:1] != (layout.events,):
            raise DamagedRun(
                f"run {header.uid}: the array of {key!r} in stream {layout.name!r} has shape {array.shape}, and the "
                f"stream has {layout.events} events: the first axis counts events"
            )
    return wanted


def as_dask(
    store: RunStore, header: RunHeader, layout: StreamLayout, arrays: Mapping[str, Any]
) -> Mapping[str, da.Array]:
    """The arrays as dask arrays, whose chunks are what the storage reads at once."""
    if not arrays:  # as of most stores: a token takes as long as the parse of a small run
        return {}
    token = tokenize(store, header.uid, header.version, layout.name)
    return {key: _as_dask(array, f"array-{key}-{token}") for key, array in arrays.items()}


def _as_dask(array: Any, name: str) -> da.Array:
    if isinstance(array, da.Array):
        return array
    # A shard is one object, of which a chunk alone takes a request for its place and one for itself.
    chunks = getattr(array, "shards", None) or getattr(array, "chunks", None) or "auto"
    lazy: da.Array = da.from_array(array, chunks=chunks, name=name, meta=np.empty((0,) * array.ndim, array.dtype))
    return lazy


def read_together(arrays: Mapping[str, Any], events: slice = slice(None)) -> dict[str, Array]:
    """Read arrays into memory, all at the same time: of storage far away one would else wait for the other."""
    if all(hasattr(array, "async_array") for array in arrays.values()):  # of Zarr, which has a loop for that
        found = _awaited([array.async_array for array in arrays.values()], events)
    elif all(isinstance(array, (da.Array, np.ndarray)) for array in arrays.values()):
        # dask has threads of its own, which take longer to begin than a few values to be read.
        how = {"scheduler": "sync"} if sum(array.nbytes for array in arrays.values()) <= AT_ONCE else {}
        found = da.compute(*(array[events] for array in arrays.values()), **how)
    else:
        with ThreadPoolExecutor(TOGETHER) as pool:
            found = tuple(pool.map(lambda array: np.asarray(array[events]), arrays.values()))
    return dict(zip(arrays, found, strict=True))


def _awaited(arrays: Sequence[Any], events: slice) -> Sequence[Array]:
    if not arrays:
        return ()
    from zarr.core.sync import sync

    async def read() -> Sequence[Array]:
        if all(getattr(array.store, "is_local", False) for array in arrays):
            # Nothing to wait for, and chunks of one array are decoded by all cores already.
            return [await array.getitem(events) for array in arrays]
        values: Sequence[Array] = await asyncio.gather(*(array.getitem(events) for array in arrays))
        return values

    found: Sequence[Array] = sync(read())
    return found
