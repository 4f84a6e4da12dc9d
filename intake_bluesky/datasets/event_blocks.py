"""Blocks of a stream's events: several of the store's pages, which one task reads and parses."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import dask.array as da
import numpy as np
from dask.base import tokenize

from intake_bluesky.documents.columns import OBJECT, Array, column, conform, missing, take
from intake_bluesky.documents.model import EventPage, Keys
from intake_bluesky.errors import DamagedRun
from intake_bluesky.storage.contract import RunStore

__all__ = ["EventBlock", "EventColumn", "EventSource", "check_events", "load", "pick", "values_of"]


LARGE: Final = 2**24  # bytes


@dataclass(frozen=True, slots=True)
class EventColumn:
    """One column: its dtype and shape, the same whatever part of it is computed.

    Attributes
    ----------
    key : str
    dtype : numpy.dtype
    shape : tuple of int
        Of one event.
    valued : bool
        False where it is known that no event has a value.
    """

    key: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...] = ()
    valued: bool = dataclasses.field(default=True, repr=False)

    @property
    def nbytes(self) -> int:
        """Bytes an event."""
        return math.prod(self.shape) * self.dtype.itemsize

    def nothing(self, events: int) -> Array:
        """An array of what is missing; a large one takes no memory, and cannot be written to."""
        shape = (events, *self.shape)
        if events * self.nbytes <= LARGE:
            return missing(shape, self.dtype)
        return np.broadcast_to(missing((1,) * len(shape), self.dtype), shape)


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
    stop = block.start
    for position, page in source.pages(fields, slice(block.start, block.stop)):
        stop = position + len(page)
        for field in fields:
            try:
                parts[field.key].append(values_of(source.part, page, field, source.uid))
            except DamagedRun as error:  # raised where this column is picked: the others are whole
                columns.setdefault(field.key, error)
    check_events(stop, block.stop, source.uid)
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


def check_events(found: int, known: int, uid: str) -> None:
    """Refuse a run that has fewer events than when it was opened: others were written in its place."""
    if found != known:
        raise DamagedRun(f"run {uid} was replaced since it was opened ({found} events of {known}): open it again")


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
        if isinstance(one, np.ndarray) and one.dtype == OBJECT and one.ndim == 1:  # of which others are to blame
            one, _ = column(one.tolist())
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
