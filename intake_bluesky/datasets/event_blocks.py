"""Blocks of a stream's events: several of the store's pages, which one task reads and parses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import dask.array as da
import numpy as np
from dask.base import tokenize

from intake_bluesky.documents.columns import Array, conform, missing, take
from intake_bluesky.documents.model import EventPage, Keys
from intake_bluesky.errors import DamagedRun
from intake_bluesky.storage.contract import RunStore

__all__ = ["EventBlock", "EventColumn", "EventSource", "load", "pick", "values_of"]


@dataclass(frozen=True, slots=True)
class EventColumn:
    """One column: its dtype and shape, the same whatever part of it is computed.

    Attributes
    ----------
    key : str
    dtype : numpy.dtype
    shape : tuple of int
        Of one event.
    """

    key: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...] = ()

    @property
    def nbytes(self) -> int:
        """Bytes an event."""
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize


@dataclass(frozen=True, slots=True)
class EventSource:
    """Where the events of one stream come from; small, for it travels with every task."""

    store: RunStore
    uid: str
    stream: str
    part: str
    version: str | None

    def pages(self, fields: Sequence[EventColumn], events: slice) -> Iterator[tuple[int, EventPage]]:
        """Yield (position of its first event, page) with the fields' keys.

        Raises
        ------
        DamagedRun
            When a run that was complete has changed: two versions are never mixed. One that was not may have grown.
        """
        return self.read(frozenset(f.key for f in fields) or (), events)

    def read(self, keys: Keys, events: slice) -> Iterator[tuple[int, EventPage]]:
        """As `pages`, of some keys."""
        # Asked again by every task: a worker may run hours after the graph was made, over a file that was replaced.
        if self.version is not None and self.store.header(self.uid).version != self.version:
            raise DamagedRun(f"run {self.uid} was replaced since it was opened: open it again, or refresh() it")
        wanted: dict[str, Any] = {"data": keys} if self.part == "data" else {"data": (), "timestamps": keys}
        position = events.start
        for page in self.store.event_pages(self.uid, self.stream, events=events, **wanted):
            yield position, page
            position += len(page)


@dataclass(frozen=True, slots=True, eq=False)
class EventBlock:
    """Stored events start to stop; `keep`, the positions within that survived a rewind, None for all."""

    start: int
    stop: int
    keep: Array | None

    @classmethod
    def of(cls, start: int, stop: int, kept: Array) -> EventBlock:
        return cls(start, stop, None if len(kept) == stop - start else kept - start)


def load(plan: tuple[EventSource, tuple[EventColumn, ...], tuple[EventBlock, ...]], block_id: tuple[int]) -> Array:
    """Parse one block: a 1-element object array with its columns by key."""
    source, fields, blocks = plan
    block = blocks[block_id[0]]
    parts: dict[str, list[Array]] = {f.key: [] for f in fields}
    columns: dict[str, Array | DamagedRun] = {}
    for _, page in source.pages(fields, slice(block.start, block.stop)):
        for field in fields:
            try:
                parts[field.key].append(values_of(source.part, page, field, source.uid))
            except DamagedRun as error:  # raised where this column is picked: the others are whole
                columns.setdefault(field.key, error)
    for field in fields:
        if field.key in columns:
            continue
        own = parts[field.key]
        # The empty array gives dtype and shape where the store yields no page at all.
        whole = own[0] if len(own) == 1 else np.concatenate([missing((0, *field.shape), field.dtype), *own])
        columns[field.key] = whole if block.keep is None else whole[block.keep]
    out = np.empty(1, dtype=object)
    out[0] = columns
    return out


def pick(pages: da.Array, field: EventColumn, sizes: tuple[int, ...], token: str) -> da.Array:
    """Take one column out of the blocks that `load` gives, as an array of chunks of these sizes."""
    chunks = (sizes, *((n,) for n in field.shape))
    axes = list(range(1, len(chunks)))
    meta = missing((0,) * len(chunks), field.dtype)
    name = f"column-{tokenize(token, field.key)}"
    picker = partial(_take_key, field.key)
    picked: da.Array = da.map_blocks(
        picker, pages, chunks=chunks, new_axis=axes, dtype=field.dtype, meta=meta, name=name
    )
    return picked


def _take_key(key: str, block: Array) -> Array:
    columns: dict[str, Array | DamagedRun] = block[0]
    found = columns[key]
    if isinstance(found, DamagedRun):
        raise found
    return found


def values_of(part: str, page: EventPage, field: EventColumn, uid: str) -> Array:
    """One page's values of one key in the dtype and shape declared for the stream."""
    source = page.data if part == "data" else page.timestamps
    col = source.get(field.key)
    if col is None:
        return missing((len(page), *field.shape), field.dtype)
    try:
        return conform(col, field.dtype, field.shape)
    except (ValueError, TypeError) as error:
        raise DamagedRun(_mismatch(page, field, uid, str(error))) from error


def _mismatch(page: EventPage, field: EventColumn, uid: str, reason: str) -> str:
    col = page.data[field.key] if field.key in page.data else page.timestamps[field.key]
    for row in range(len(page)):
        one = take(col, slice(row, row + 1))
        try:
            conform(one, field.dtype, field.shape)
        except (ValueError, TypeError):
            value = repr(one.values if not isinstance(one, np.ndarray) else one[0])
            at = f"event {int(page.seq_num[row])} holds {value[:60]}"
            break
    else:
        at = f"events {int(page.seq_num[0])} to {int(page.seq_num[-1])}"
    return (
        f"run {uid}: {field.key!r} was declared {field.dtype} of shape {field.shape}, but {at} ({reason}). "
        'Use read(), or on_mismatch="object": these look at all values before they decide on a dtype'
    )
