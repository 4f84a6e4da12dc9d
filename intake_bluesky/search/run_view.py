"""A run of a store as queries see it: nothing is opened before a query comes to need it."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import product
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

import numpy as np

from intake_bluesky.assets import AssetOptions
from intake_bluesky.cached import cached_property
from intake_bluesky.datasets.options import DatasetOptions
from intake_bluesky.datasets.repeats import Repeats
from intake_bluesky.datasets.rows import last_of_each
from intake_bluesky.documents.columns import Array, Column, Ragged, all_missing, observe, take
from intake_bluesky.documents.model import EventPage, RunHeader, RunSummary, StreamLayout, is_external
from intake_bluesky.documents.statistics import Statistics, lies
from intake_bluesky.errors import (
    AssetUnavailable,
    DamagedRun,
    IntakeBlueskyError,
    SearchTooLarge,
    StoreUnavailable,
)
from intake_bluesky.search.budget import Search
from intake_bluesky.storage.contract import RunStore
from intake_bluesky.storage.header_cache import HeaderCache
from intake_bluesky.storage.origin import Origin
from intake_bluesky.storage.statistics import Answer, Recorded

if TYPE_CHECKING:
    from intake_bluesky.assets import AssetArray

LARGEST: Final = 2**53  # values that events may lack; stores of statistics count no further than 2**63
REMEMBERED: Final = 65_536  # statistics of a store's runs that are kept; one takes some 300 bytes


# By store, and gone with it.
_MEMORY: Final[WeakKeyDictionary[RunStore, HeaderCache[Statistics]]] = WeakKeyDictionary()


def reading_of(assets: AssetOptions) -> str:
    """A short name of how files are found and read."""
    # Names of folders may hold lone surrogates, which UTF-8 refuses.
    return hashlib.sha256(repr(assets).encode(errors="backslashreplace")).hexdigest()[:16]


class StoredRun:
    """A run as `intake_bluesky.query.matches` looks at it.

    Start and stop are those of the listing; the header is read for descriptors, once; statistics are computed a page of
    events or a chunk of a file at a time, and those of runs that have stopped are kept: by the store, if it
    has `RunStore.statistics`, and in memory.

    Files are found and read as `assets` says; by default documents of another machine may name none of this one. The
    `search` is what it is looked at for; by default as much is read as it takes. What cannot be read raises
    `DamagedRun` or `AssetUnavailable`.

    Examples
    --------
    >>> from intake_bluesky.testing.memory import MemoryStore
    >>> from intake_bluesky.testing.runs import EXAMPLES
    >>> store = MemoryStore([EXAMPLES["scan"](None)])
    >>> StoredRun(store, next(store.find())).statistics("primary", "theta")
    Statistics(count=11, nan_count=0, min=-2.5, max=2.5, sum=0.0, first=-2.5, last=2.5, gap=0.5000000000000001)
    """

    def __init__(
        self,
        store: RunStore,
        run: RunSummary,
        assets: AssetOptions | None = None,
        search: Search | None = None,
    ) -> None:
        origin = run.origin or Origin(store, assets or AssetOptions(trusted=store.trusts_paths))
        self._store, self._assets, self._run = origin.store, origin.assets, run
        self._search = search or Search(origin.store)
        self._repeats_of: dict[str, Repeats] = {}
        self._texts: dict[tuple[str, str], bool] = {}

    @property
    def start(self) -> Mapping[str, Any]:
        """The run start document."""
        return self._run.start

    @property
    def stop(self) -> Mapping[str, Any] | None:
        """The run stop document; None while there is none."""
        return self._run.stop

    def document(self, name: str) -> Mapping[str, Any] | None:
        """A document that the store keeps beside those of Bluesky."""
        return self._store.document(self._run.uid, name)

    @cached_property
    def _header(self) -> RunHeader:
        with self._readable():
            return self._store.header(self._run.uid)

    @property
    def descriptors(self) -> Sequence[Mapping[str, Any]]:
        """The event descriptors of all streams."""
        return self._header.descriptors

    def statistics(self, stream: str, key: str) -> Statistics | None:
        """The statistics of a data key that a descriptor of the stream declares; None without such a key."""
        values = self._recorded(stream, key)
        if values is None:
            return None
        memory = _MEMORY.setdefault(self._store, HeaderCache(REMEMBERED))
        found = memory.get(values)
        if found is None:
            kept = self._store.statistics
            found = (None if kept is None else kept.get(values)) or self._compute(values)
            if self._header.stop is not None:  # a run without a stop may get more values
                memory.put(values, found)
        return found

    def lies(self, stream: str, key: str, low: float, high: float) -> bool:
        """Whether a number among the values lies from `low` to `high`; reads no further than to the first."""
        values = self._recorded(stream, key)
        if values is None:
            return False
        with self._readable():
            parts = (part for _, part in self._parts(stream, key) if not isinstance(part, int))
            found = any(lies(part, low, high) for part in parts)
        if self._header.stop is not None:
            self._search.keep(values, Answer(low, high, found))
        return found

    def _recorded(self, stream: str, key: str) -> Recorded | None:
        """What is asked for; None where no descriptor declares it."""
        layout = self._header.streams.get(stream)
        spec = None if layout is None else layout.data_keys.get(key)
        if spec is None:
            return None
        reading = reading_of(self._assets) if self.may_be_files(stream, key) else ""
        return Recorded(self._run.uid, self._header.version, stream, key, reading)

    def may_be_files(self, stream: str, key: str) -> bool:
        """Whether the values of a declared key may lie in files, as only a `StreamReader` can tell, which takes dask.

        They may where the descriptor says so, where stream resources name the key, and where its events hold text
        that no descriptor declares, in a run with resources: datum_ids, of a key that forgot to say "external".
        """
        layout = self._header.streams[stream]
        spec = layout.data_keys[key]
        uids = {descriptor["uid"] for descriptor in layout.descriptors}
        named = (asset.data_key == key and asset.descriptor in uids for asset in self._header.stream_assets)
        if is_external(spec) or any(named):
            return True
        if not self._header.resources or spec.get("dtype") == "string":
            return False
        if (stream, key) not in self._texts:
            seen = (layout.observed or {}).get(key)
            if layout.observed is None:
                with self._readable():
                    parts = (observe(page.data[key]) for page in self._pages(layout, (key,)) if key in page.data)
                    seen = next((part for part in parts if part.valued), None)
            self._texts[stream, key] = seen is not None and "text" in seen.kinds
        return self._texts[stream, key]

    def _compute(self, values: Recorded) -> Statistics:
        # By piece: `first`, `last` and `gap` follow the order of seq_num, in which events are not stored after a
        # rewind.
        pieces: dict[int, Statistics] = {}
        with self._readable():
            for piece, part in self._parts(values.stream, values.key):
                own = Statistics.missing(part) if isinstance(part, int) else Statistics.of(part)
                pieces[piece] = Statistics.merged(pieces.get(piece, Statistics()), own)
        found = Statistics.merged(*(pieces[piece] for piece in sorted(pieces)))
        if self._header.stop is not None:
            self._search.keep(values, found)
        return found

    @contextmanager
    def _readable(self) -> Iterator[None]:
        """Raise whatever prevents reading this run as `AssetUnavailable`; errors of the store itself pass."""
        try:
            yield
        except (DamagedRun, AssetUnavailable, StoreUnavailable, SearchTooLarge):
            raise
        except (IntakeBlueskyError, OSError, MemoryError, OverflowError) as error:
            raise AssetUnavailable(f"run {self._run.uid} cannot be read: {error}") from error

    def _parts(self, stream: str, key: str) -> Iterator[tuple[int, Column | int]]:
        """The values, as they are stored, and which of the pieces that follow each other they belong to.

        A number is that of values that events lack: a key may declare more than memory holds.
        """
        array = self._asset(stream, key)
        if array is None:
            parts: Iterable[tuple[int, Column | int]] = self._event_parts(self._header.streams[stream], key)
        else:
            # The size is known: a search that may not read all of it fails before it reads a part.
            self._search.check(math.prod(array.shape) * array.dtype.itemsize, self._run.uid)
            parts = ((0, block) for block in _blocks(array))
        for piece, values in parts:
            if isinstance(values, int):
                yield piece, values
                continue
            flat = values.values if isinstance(values, Ragged) else values
            self._search.take(flat.nbytes, self._run.uid)
            yield piece, values

    def _asset(self, stream: str, key: str) -> AssetArray | None:
        if not self.may_be_files(stream, key):
            return None
        from intake_bluesky.datasets.stream_reader import StreamReader  # and dask, for few searches

        # "object", so that it looks at what a long stream holds, too.
        hold = is_external(self._header.streams[stream].data_keys[key])
        options = DatasetOptions(include=(key,), assets=self._assets, on_mismatch="raise" if hold else "object")
        return StreamReader(self._store, self._header, stream, options).assets.get(key)

    def _event_parts(self, layout: StreamLayout, key: str) -> Iterator[tuple[int, Column | int]]:
        pages: Iterable[EventPage] = self._pages(layout, (key,))
        if len(layout.pages) == 1:  # as most have: it has the seq_nums, too
            pages = list(pages)
            self._repeats_of.setdefault(layout.name, Repeats.of_pages(pages, layout.descriptors))
        repeats = self._repeats(layout)
        pieces, size, position = _pieces(repeats.seq_num, repeats.preferred(key)), _size(layout, key), 0
        for page in pages:
            own = pieces[position : position + len(page)]
            position += len(page)
            for piece in np.unique(own[own >= 0]).tolist():
                yield piece, _values(page, key, own == piece, size)

    def _pages(self, layout: StreamLayout, keys: tuple[str, ...]) -> Iterator[EventPage]:
        # Only what the header counts: a run that goes on may have grown since.
        return self._store.event_pages(self._run.uid, layout.name, data=keys, events=slice(0, layout.events))

    def _repeats(self, layout: StreamLayout) -> Repeats:
        if layout.name not in self._repeats_of:
            self._repeats_of[layout.name] = Repeats.of_pages(self._pages(layout, ()), layout.descriptors)
        return self._repeats_of[layout.name]


def _pieces(seq_num: Array, preferred: Array | None = None) -> Array:
    """Put stored events into pieces, so that events in order of piece and place are in order of seq_num.

    The piece is -1 where another event of the same seq_num counts, as `last_of_each` has it.

    >>> _pieces(np.array([1, 2, 3, 4, 2]))
    array([ 0, -1,  1,  1,  0])
    """
    chosen = last_of_each(seq_num, preferred)
    pieces = np.full(len(seq_num), -1)
    # A new piece begins where the next seq_num is stored before the last one.
    pieces[chosen] = np.cumsum(np.diff(chosen, prepend=0) < 0)
    return pieces


def _size(layout: StreamLayout, key: str) -> int:
    """How many values each event has; 1 where that differs."""
    seen = (layout.observed or {}).get(key)
    if seen is not None and seen.valued:
        return 1 if seen.ragged else math.prod(seen.shape)
    from intake_bluesky.datasets.event_columns import declared

    shape = declared(key, layout.data_keys[key]).shape
    return 1 if -1 in shape else math.prod(shape)


def _values(page: EventPage, key: str, wanted: Array, size: int) -> Column | int:
    """Some events' values of a page; the number of those that they should have where none has any."""
    column = page.data.get(key)
    if column is None or (size != 1 and _is_nothing(column)):
        lacking = int(wanted.sum()) * size
        if abs(lacking) > LARGEST:
            raise DamagedRun(f"{key!r} is declared to have {size:,} values an event, which none can have")
        return lacking
    return column if wanted.all() else take(column, wanted)


def _is_nothing(column: Column) -> bool:
    """Whether all events of a page are null, which leaves no trace of how many values each should have."""
    return isinstance(column, np.ndarray) and column.ndim == 1 and all_missing(column)


def _blocks(array: AssetArray) -> Iterator[Array]:
    """The frames that are there, a chunk at a time."""
    if 0 in array.shape:
        return
    bounds = [np.cumsum([0, *lengths]).tolist() for lengths in array.chunks]
    for first, *others in product(*(list(map(slice, edges[:-1], edges[1:])) for edges in bounds)):
        places = np.arange(first.start, first.stop)
        there = array.index[places // array.layout.rows_per_event] >= 0
        if there.all():
            yield array[(first, *others)]
        elif there.any():
            yield array[(places[there].tolist(), *others)]
