"""In-line data of a stream: event pages to columns, eagerly or as dask arrays.

One task parses a block (several of the store's pages) for all columns wanted of it; each column then picks its part. A
block is never parsed twice in one compute, and a graph's size follows the blocks, not the events.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import dask.array as da
import numpy as np
from dask.base import tokenize

from intake_bluesky.assets.declared import declared_dtype, declared_shape
from intake_bluesky.datasets.event_blocks import (
    EventBlock,
    EventColumn,
    EventSource,
    check_events,
    load,
    pick,
    values_of,
)
from intake_bluesky.datasets.rows import Rows
from intake_bluesky.documents.columns import (
    OBJECT,
    TEXT,
    Array,
    Observed,
    add_observed,
    merge_observed,
    missing,
    observe,
)
from intake_bluesky.documents.model import Document, EventPage, Keys, RunHeader, StreamLayout
from intake_bluesky.errors import AssetUnavailable, DamagedRun
from intake_bluesky.runtime.sizes import largest, to_raise_it
from intake_bluesky.storage.contract import RunStore

__all__ = ["BLOCK_BYTES", "AllBut", "EventColumn", "InlineColumns", "Stored", "declared"]

BLOCK_BYTES = 2**24
"""Default size of a block's columns together, in bytes."""


def declared(key: str, spec: Mapping[str, Any]) -> EventColumn:
    """The column that a descriptor declares for an in-line key; a length it leaves open (a null in ``shape``) is -1.

    Examples
    --------
    >>> declared("x", {"dtype": "integer", "shape": []})
    EventColumn(key='x', dtype=dtype('int64'), shape=())
    """
    dtype = declared_dtype(spec)
    shape = tuple(-1 if n is None else n for n in declared_shape(spec))
    return EventColumn(key, TEXT if dtype.kind in "US" else dtype, shape)


@dataclass(frozen=True, slots=True, eq=False)
class Stored:
    """Events as they are stored, repeats after a rewind included.

    Attributes
    ----------
    seq_num : numpy.ndarray, shape (stored events,), dtype int64
    time : numpy.ndarray, shape (stored events,), dtype float64
    descriptor : numpy.ndarray, shape (stored events,), dtype int64
        The place of each event's descriptor among those of the stream.
    columns : mapping of key to numpy.ndarray, shape ``(stored events, *field.shape)``
    """

    seq_num: Array
    time: Array
    descriptor: Array
    columns: Mapping[str, Array]


@dataclass(frozen=True, slots=True)
class AllBut:
    """Contains every key but some."""

    excluded: tuple[str, ...]

    def __contains__(self, key: object) -> bool:
        return key not in self.excluded


@dataclass(frozen=True, slots=True, eq=False)
class Looked:
    """What was found by looking at all values of a stream.

    Attributes
    ----------
    observed : mapping of key to Observed
    pages : sequence of (int, EventPage)
        The pages that were read, each with the position of its first event; empty if they were not to be held.
    """

    observed: Mapping[str, Observed]
    pages: Sequence[tuple[int, EventPage]] = ()


@dataclass(frozen=True, slots=True, eq=False)
class InlineColumns:
    """Some columns of a stream's events.

    Attributes
    ----------
    store : RunStore
    header : RunHeader
    layout : StreamLayout
    part : str
        ``"data"`` or ``"timestamps"``.
    fill : bool
        Whether rows without an event get missing values whatever the dtype; else only floats do, and computing
        others raises.
    held : sequence of (int, EventPage)
        Pages with all events that were read already.
    """

    store: RunStore
    header: RunHeader
    layout: StreamLayout
    part: str = "data"
    fill: bool = False
    held: Sequence[tuple[int, EventPage]] = ()

    def look(self, keys: Keys, *, hold: bool) -> Looked:
        """Look at the values of some keys of all events, as a store does that observes them."""
        observed: dict[str, Observed] = {}
        pages = []
        for start, page in self.source.read(keys, slice(0, self.layout.events)):
            columns = page.data if self.part == "data" else page.timestamps
            if len(page):
                add_observed(observed, {key: observe(col) for key, col in columns.items()}, first=start == 0)
            if hold:
                pages.append((start, page))
        return Looked(observed, pages)

    def fields(self, specs: Mapping[str, Document]) -> list[EventColumn]:
        """Decide dtype and shape of the keys given with their descriptor's specs, from what was observed if it was.

        Reads data only where neither the store nor the descriptor knows the length of an array.
        """
        if self.part == "timestamps":
            return [EventColumn(key, np.dtype(np.float64)) for key in specs]
        seen = self.layout.observed
        if seen is None:
            # A lazy array needs its shape before anything is computed, so these keys, and only these, are read now.
            open_keys = {key for key, spec in specs.items() if -1 in declared(key, spec).shape}
            seen = self._look(open_keys)
        return [self._field(key, spec, seen.get(key)) for key, spec in specs.items()]

    def _field(self, key: str, spec: Document, seen: Observed | None) -> EventColumn:
        if seen is not None and seen.valued:
            return EventColumn(key, seen.dtype, seen.shape)
        said = declared(key, spec)
        # A length that is open and was never seen: there is no value to have it.
        shape = tuple(max(n, 0) for n in said.shape)
        self._check_size(replace(said, shape=shape))
        if self.layout.observed is None or not self.layout.events:
            return EventColumn(key, said.dtype, shape)
        gaps = Observed(frozenset({said.dtype.str, "null"})).dtype  # declared, and never once in the events
        return EventColumn(key, said.dtype if said.dtype == TEXT else gaps, shape, valued=False)

    def _check_size(self, column: EventColumn) -> None:
        """Refuse a shape that no event of any document can have."""
        if column.nbytes > largest():
            raise DamagedRun(
                f"stream {self.layout.name!r} of run {self.header.uid} declares {column.key!r} of shape "
                f"{column.shape}: an event of it takes {column.nbytes:,} bytes, {to_raise_it()}. "
                "Or leave it out, with exclude"
            )

    def _look(self, keys: set[str]) -> dict[str, Observed]:
        found: dict[str, list[Observed]] = {key: [] for key in keys}
        pages = self.store.event_pages(self.header.uid, self.layout.name, data=keys) if keys else iter(())
        for page in pages:
            for key, col in page.data.items():
                found[key].append(observe(col))
        return {key: merge_observed(parts) for key, parts in found.items() if parts}

    def stored(self, fields: Sequence[EventColumn]) -> Stored:
        """Read columns, seq_num and time in one pass over the pages, straight into preallocated arrays."""
        events = self.layout.events
        seq_num, time = np.empty(events, np.int64), np.empty(events)
        descriptor = np.zeros(events, np.int64)
        places = {doc["uid"]: place for place, doc in enumerate(self.layout.descriptors)}
        # Preallocated: joining the parts of all pages at the end would need twice the memory.
        columns = {f.key: np.empty((events, *f.shape), f.dtype) if f.valued else f.nothing(events) for f in fields}
        fields = [field for field in fields if field.valued]
        stop = 0
        for start, page in self.held or self.source.pages(fields, slice(0, events)):
            stop = start + len(page)
            if stop > events:
                break
            part = slice(start, stop)
            seq_num[part], time[part] = page.seq_num, page.time
            if len(places) > 1:
                descriptor[part] = _place(places, page, self.header.uid)
            for field in fields:
                columns[field.key][part] = self._values(columns, page, field)
        check_events(stop, events, self.header.uid)
        return Stored(seq_num, time, descriptor, columns)

    def _values(self, columns: dict[str, Array], page: EventPage, field: EventColumn) -> Array:
        """The values of a page. A time stamp that is no number costs no other: its column turns to objects."""
        found = columns[field.key]
        try:
            return values_of(self.part, page, replace(field, dtype=found.dtype), self.header.uid)
        except DamagedRun:
            if self.part == "data" or found.dtype == OBJECT:
                raise
            columns[field.key] = found.astype(OBJECT)
            return values_of(self.part, page, replace(field, dtype=OBJECT), self.header.uid)

    def arrange(self, fields: Sequence[EventColumn], stored: Stored, rows: Rows) -> dict[str, Array]:
        """Bring stored columns to the rows: arrays of shape ``(rows, *field.shape)``.

        Raises
        ------
        AssetUnavailable
            Where rows have no event, and the dtype no missing value.
        """
        if rows.whole:
            return {f.key: stored.columns[f.key] for f in fields}
        has = rows.event >= 0
        out = {}
        for field in fields:
            if not (self.fill or field.dtype.kind in "fc" or has.all()):
                raise AssetUnavailable(_no_event(field.key, rows))
            if not field.valued:
                out[field.key] = field.nothing(len(rows))
                continue
            out[field.key] = missing((len(rows), *field.shape), stored.columns[field.key].dtype)
            out[field.key][has] = stored.columns[field.key][rows.event[has]]
        return out

    @property
    def source(self) -> EventSource:
        """The part of this that tasks need."""
        # A run that goes on has another version with each event; its events so far stay what they are.
        version = None if self.header.stop is None else self.header.version
        return EventSource(self.store, self.header.uid, self.layout.name, self.part, version)

    def bounds(self, fields: Sequence[EventColumn], target: int = BLOCK_BYTES) -> list[int]:
        """Where blocks begin and end among the stored events: whole pages of the store, merged up to `target` bytes."""
        width = max(sum(f.nbytes for f in fields), 1)
        bounds, position = [0], 0
        for events in self.layout.pages:
            # A page is never cut: stores read and decode whole pages, and two blocks would decode it twice.
            if position > bounds[-1] and (position + events - bounds[-1]) * width > target:
                bounds.append(position)
            position += events
        return [*bounds, position] if position > bounds[-1] else bounds

    def dask(self, fields: Sequence[EventColumn], rows: Rows, *, target: int = BLOCK_BYTES) -> dict[str, da.Array]:
        """Make the columns as dask arrays of shape ``(rows, *field.shape)`` that share their parsed blocks."""
        absent = {f.key: self._absent(f, rows) for f in fields if not f.valued}
        fields = [f for f in fields if f.valued]
        bounds = self.bounds(fields, target) if fields else [0]
        # In stored order, so that each block is a range of pages; `_spread` brings them into the order of the rows.
        kept = np.sort(rows.event[rows.event >= 0])
        cuts = np.searchsorted(kept, bounds)
        # Blocks whose events were all replaced after a rewind, or trimmed, have no task.
        full = [i for i in range(len(bounds) - 1) if cuts[i + 1] > cuts[i]]
        if not full:
            return absent | {f.key: self._spread(f, None, rows) for f in fields}
        sizes = tuple(int(cuts[i + 1] - cuts[i]) for i in full)
        blocks = tuple(EventBlock.of(bounds[i], bounds[i + 1], kept[cuts[i] : cuts[i + 1]]) for i in full)
        run = (self.store, self.header.uid, self.header.version)
        token = tokenize(*run, self.layout.name, self.part, tuple(fields), bounds, kept)
        # One plan, which the graph holds once: a part of it with every task would grow with the number of blocks.
        parse = partial(load, (self.source, tuple(fields), blocks))
        # dask arrays have no notion of a record, so a block is an object array of one element, a dict of columns.
        pages = da.map_blocks(
            parse, chunks=((1,) * len(blocks),), dtype=object, meta=np.empty(0, object), name=f"events-{token}"
        )
        return absent | {f.key: self._spread(f, pick(pages, f, sizes, token), rows) for f in fields}

    def _absent(self, field: EventColumn, rows: Rows) -> da.Array:
        """A column that no event has a value of: nothing is read for it, however large it is."""
        count = int((rows.event >= 0).sum())
        each = max(BLOCK_BYTES // max(field.nbytes, 1), 1)
        value = missing((), field.dtype)[()]
        whole = da.full((count, *field.shape), value, dtype=field.dtype, chunks=(each, *field.shape))
        return self._spread(field, whole if count else None, rows)

    def on_rows(self, key: str, array: da.Array, rows: Rows) -> da.Array:
        """Bring an array of the stored events, shape ``(stored events, ...)``, to the rows."""
        kept = np.sort(rows.event[rows.event >= 0])
        found = array if len(kept) == len(array) else array[kept]  # without those that a rewind replaced
        return self._spread(EventColumn(key, array.dtype, array.shape[1:]), found, rows)

    def _spread(self, field: EventColumn, found: da.Array | None, rows: Rows) -> da.Array:
        """Bring the kept events, in stored order, to the order of the rows; rows without an event get their gap."""
        event = rows.event
        if found is not None and len(found) == len(event) and rows.straight:
            return found
        gap = self._gap(field, rows)
        if found is None:
            return gap
        place = np.searchsorted(np.sort(event[event >= 0]), event)
        # Gaps are behind the events that were found, in the array that is indexed next.
        place[event < 0] = len(found) + np.arange(int((event < 0).sum()))
        both: da.Array = da.concatenate([found, gap])
        spread: da.Array = (both if (event < 0).any() else found)[place]
        return spread

    def _gap(self, field: EventColumn, rows: Rows) -> da.Array:
        shape = (int((rows.event < 0).sum()), *field.shape)
        if not shape[0] or self.fill or field.dtype.kind in "fc":
            filled: da.Array = da.from_array(missing(shape, field.dtype), chunks=-1)
            return filled
        # The Dataset opens, and other rows can be computed: only the task of these rows raises.
        fail = partial(_refuse, _no_event(field.key, rows))
        chunks, meta = tuple((n,) for n in shape), missing((0,) * len(shape), field.dtype)
        refused: da.Array = da.map_blocks(fail, chunks=chunks, dtype=field.dtype, meta=meta)
        return refused


def _place(places: Mapping[str, int], page: EventPage, uid: str) -> int:
    if page.descriptor not in places:
        raise DamagedRun(f"run {uid} has events of descriptor {page.descriptor!r}, which its header lacks: reopen it")
    return places[page.descriptor]


def _refuse(message: str) -> Array:
    raise AssetUnavailable(message)


def _no_event(key: str, rows: Rows) -> str:
    lost = rows.seq_num[rows.event < 0]
    return (
        f"{key!r} has no value at seq_num {int(lost[0])} ({len(lost)} of {len(rows)} rows): frames were recorded there "
        'and no event was. Ask for on_missing="fill", or trim=True to keep the rows that are whole'
    )
