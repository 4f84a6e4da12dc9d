"""Values of a stream that its store holds as arrays already: they are taken as they are, and no event is parsed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import dask.array as da
from dask.base import tokenize

from intake_bluesky.documents.model import RunHeader, StreamLayout
from intake_bluesky.errors import DamagedRun
from intake_bluesky.storage.contract import RunStore

__all__ = ["stored_arrays"]


def stored_arrays(
    store: RunStore, header: RunHeader, layout: StreamLayout, keys: Iterable[str]
) -> Mapping[str, da.Array]:
    """Those of some keys that `RunStore.arrays` gives, as dask arrays of shape ``(stored events, ...)``; reads none.

    Raises
    ------
    DamagedRun
        Where an array is not as long as there are events.
    """
    found = store.arrays(header.uid, layout.name) or {}
    wanted = {key: found[key] for key in keys if key in found}
    if not wanted:  # as of most stores: a token takes as long as the parse of a small run
        return {}
    for key, array in wanted.items():
        if array.shape[:1] != (layout.events,):
            raise DamagedRun(
                f"run {header.uid}: the array of {key!r} in stream {layout.name!r} has shape {array.shape}, and the "
                f"stream has {layout.events} events: the first axis counts events"
            )
    token = tokenize(store, header.uid, header.version, layout.name)
    return {key: _as_dask(array, f"array-{key}-{token}") for key, array in wanted.items()}


def _as_dask(array: Any, name: str) -> da.Array:
    if isinstance(array, da.Array):
        return array
    # A chunk of dask is one of the storage, where the array has `chunks` of its own.
    chunks = getattr(array, "chunks", None) or "auto"
    lazy: da.Array = da.from_array(array, chunks=chunks, name=name)
    return lazy
