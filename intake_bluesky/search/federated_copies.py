"""Copies of one run in several sources: what reads it goes on with the next copy where one cannot be read."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

import numpy as np

from intake_bluesky.assets.options import AssetOptions
from intake_bluesky.documents.columns import Array, conform
from intake_bluesky.documents.exact_json import json_text
from intake_bluesky.documents.model import ALL_KEYS, DatumPage, Document, EventPage, Keys, RunHeader, RunSummary
from intake_bluesky.errors import DamagedRun, RunNotFound, StoreUnavailable
from intake_bluesky.search.federated_sources import FederatedSources
from intake_bluesky.storage.contract import RunStore
from intake_bluesky.storage.origin import Origin
from intake_bluesky.storage.wrapper import WrapperStore

if TYPE_CHECKING:
    from intake_bluesky.storage.origin import WithCopies

__all__ = ["CopiesStore", "SourceCopies"]

T = TypeVar("T")
UNREADABLE: Final = (RunNotFound, DamagedRun, StoreUnavailable, OSError)
"""Errors of one copy, which another may not have."""


@dataclass(frozen=True, slots=True)
class SourceCopies:
    """Finds copies of the runs of one source in the other sources of a federation.

    Attributes
    ----------
    sources : FederatedSources
    name : str
        Of the source.
    inner : callable or None
        What finds copies within the source, where it is a federation.
    """

    sources: FederatedSources
    name: str
    inner: WithCopies | None = None

    def __call__(self, origin: Origin, run: RunHeader | RunSummary) -> Origin:
        """The origin of a run with its copies."""
        origin = origin if self.inner is None else self.inner(origin, run)
        store = CopiesStore(origin.store, self, run.uid, run if isinstance(run, RunHeader) else None)
        assets = replace(origin.assets, copies=_FileOptions(store, origin.assets))
        return replace(origin, store=store, assets=assets, copies=None)

    def of(self, uid: str) -> Iterator[tuple[str, Origin, RunHeader]]:
        """Yield the copies of a run, those of preferred sources first: name of the source, origin, header."""
        for name in self.sources.openers:
            if name == self.name or self.sources.is_left_out(name):
                continue
            with suppress(*UNREADABLE):
                runs = self.sources.open(name)
                header = runs.selection.exact(uid)
                yield name, (header.origin or runs.origin).of_run(header), header


@dataclass(frozen=True, slots=True)
class _FileOptions:
    """How the files of a run are found by those who have copies of it."""

    store: CopiesStore
    own: AssetOptions

    def __call__(self) -> Iterator[AssetOptions]:
        if self.own.copies is not None:
            yield from self.own.copies()
        for _, origin in self.store.others():
            # Not those of the copies' copies: each is asked once.
            yield replace(self.own, **{name: getattr(origin.assets, name) for name in OF_PLACES}, copies=None)


OF_PLACES: Final = ("root_map", "handlers", "trusted", "allowed_roots", "storage_options", "servers", "anonymous")
"""What says how files are found; the rest of the options says what is made of them."""


class _SameRun(NamedTuple):
    """What tells a copy of a run from another run: `digest` is of all of its header."""

    version: str
    digest: str
    complete: bool

    @classmethod
    def of(cls, header: RunHeader) -> _SameRun:
        events = {name: layout.events for name, layout in header.streams.items()}
        assets = [(asset.data_key, asset.descriptor, asset.resource, asset.spans) for asset in header.stream_assets]
        told = [header.start, header.stop, header.descriptors, header.resources, assets, sorted(events.items())]
        text = json_text(told)
        return cls(header.version, hashlib.sha256(text.encode()).hexdigest(), header.stop is not None)


class CopiesStore(WrapperStore):
    """A store as one of its runs is read: where it fails, the rest is read from a copy in another source.

    A copy is a run of the same uid, start, stop, descriptors, resources and numbers of events, and with its events in
    the same order, as far as they were read. Only runs that have ended have copies: of others one may be ahead.

    Parameters
    ----------
    inner : RunStore
        The one that is preferred.
    copies : SourceCopies
    uid : str
        Of the run; what is asked of others is passed on.
    header : RunHeader or None
        Of the run, where it was read before.
    known : _SameRun, optional
    order : mapping of stream to (int, str), optional
        So many first events that were read, and what tells their order.
    """

    def __init__(
        self,
        inner: RunStore,
        copies: SourceCopies,
        uid: str,
        header: RunHeader | None,
        *,
        known: _SameRun | None = None,
        order: Mapping[str, tuple[int, str]] | None = None,
    ) -> None:
        super().__init__(inner)
        self._order = dict(order or {})
        self._agreed: dict[str, dict[str, tuple[int, str]]] = {}  # by the sources that were compared
        self.uid, self._copies, self._header, self._told = uid, copies, header, known
        self._current = inner

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuilt, (self.inner, self._copies, self.uid, self._known, dict(self._order))

    def __dask_tokenize__(self) -> Any:
        return self.inner

    def __repr__(self) -> str:
        return repr(self.inner)

    @property
    def _known(self) -> _SameRun | None:
        if self._told is None and self._header is not None:
            self._told = _SameRun.of(self._header)
        return self._told

    def others(self) -> Iterator[tuple[str, Origin]]:
        """Yield where copies of the run are, by the names of their sources."""
        known = self._known
        if known is not None and not known.complete:
            return
        for name, origin, header in self._copies.of(self.uid):
            own = _SameRun.of(header)
            if own.complete and (known is None or own.digest == known.digest):
                yield name, origin

    def next_copies(self, error: Exception) -> Iterator[RunStore]:
        """Yield the copies, each of which is the one that is read from then on, and say so."""
        for name, origin in self.others():
            if not self._in_order(name, origin.store):
                continue
            self._current = origin.store
            self._copies.sources.read_elsewhere(self.uid, self._copies.name, name, error)
            yield origin.store
        self._current = self.inner

    def _in_order(self, name: str, store: RunStore) -> bool:
        """Whether a copy has its events where those that were read have them: blocks are read by their places."""
        order = dict(self._order)
        if self._agreed.get(name) == order:
            return True
        with suppress(*UNREADABLE):
            for stream, (count, digest) in order.items():
                found = hashlib.sha256()
                for page in store.event_pages(self.uid, stream, data=(), events=slice(0, count)):
                    found.update(_order_of(page))
                if found.hexdigest() != digest:
                    return False
            self._agreed[name] = order
            return True
        return False

    def _noted(self, stream: str, pages: Iterator[EventPage]) -> Iterator[EventPage]:
        """The pages of a stream from its first; remembers in which order they have events."""
        count, digest = 0, hashlib.sha256()
        for page in pages:
            count += len(page)
            digest.update(_order_of(page))
            if count > self._order.get(stream, (0, ""))[0]:
                self._order[stream] = count, digest.hexdigest()
            yield page

    def failure(self, error: Exception) -> Exception:
        """The error of the preferred copy, with the name of its source."""
        kind = type(error) if isinstance(error, RunNotFound | DamagedRun) else StoreUnavailable
        return kind(f"source {self._copies.name!r} of the federation, and no other has a copy: {error}")

    def _ask(self, uid: str, ask: Callable[[RunStore], T]) -> T:
        if uid != self.uid:
            return ask(self.inner)
        try:
            return ask(self._current)
        except UNREADABLE as error:
            for store in self.next_copies(error):
                with suppress(*UNREADABLE):
                    return ask(store)
            raise self.failure(error) from error

    def _each(self, uid: str, ask: Callable[[RunStore, int], Iterator[T]], size: Callable[[T], int]) -> Iterator[T]:
        """Yield what a store gives, and from where that fails what the next gives after so many."""
        given, store = 0, self._current if uid == self.uid else self.inner
        first: Exception | None = None
        copies: Iterator[RunStore] = iter(())
        while True:
            try:
                for one in ask(store, given):
                    yield one
                    given += size(one)
                return
            except UNREADABLE as error:
                if first is None and uid == self.uid:
                    copies = self.next_copies(error)
                first = first or error
                found = next(copies, None)
                if found is None:
                    raise (self.failure(first) if uid == self.uid else first) from error
                store = found

    def header(self, uid: str) -> RunHeader:
        """Describe the run, as the copy that is read does; its version stays that of the one that was opened."""
        found = self._ask(uid, lambda store: store.header(uid))
        if uid != self.uid:
            return found
        if self._told is None and self._header is None:
            self._header = found
        known = self._told or self._header
        return found if self._current is self.inner or known is None else replace(found, version=known.version)

    def event_pages(
        self, uid: str, stream: str, *, data: Keys = ALL_KEYS, timestamps: Keys = (), events: slice = slice(None)
    ) -> Iterator[EventPage]:
        begin = events.start or 0

        def ask(store: RunStore, given: int) -> Iterator[EventPage]:
            rest = slice(begin + given, events.stop)
            return store.event_pages(uid, stream, data=data, timestamps=timestamps, events=rest)

        pages = self._each(uid, ask, len)
        return pages if uid != self.uid or begin else self._noted(stream, pages)

    def documents(self, uid: str) -> Iterator[tuple[str, Document]]:
        return self._each(uid, lambda store, given: _after(store, given, store.documents(uid)), _one)

    def complete_documents(self, uid: str) -> Iterator[tuple[str, Document]]:
        return self._each(uid, lambda store, given: _after(store, given, store.complete_documents(uid)), _one)

    def datum_pages(self, uid: str, resource: str) -> Iterator[DatumPage]:
        # Whole: pages of another store are cut elsewhere.
        return iter(self._ask(uid, lambda store: list(store.datum_pages(uid, resource))))

    def document(self, uid: str, name: str) -> Mapping[str, Any] | None:
        return self._ask(uid, lambda store: store.document(uid, name))

    def arrays(self, uid: str, stream: str) -> Mapping[str, Array] | None:
        found = self._ask(uid, lambda store: store.arrays(uid, stream))
        if found is None or uid != self.uid:
            return found
        return {key: _CopiedArray(self, stream, key, array) for key, array in found.items()}  # type: ignore[misc]  # used as one


def _rebuilt(inner: RunStore, copies: SourceCopies, uid: str, known: Any, order: Any) -> CopiesStore:
    return CopiesStore(inner, copies, uid, None, known=known, order=order)


def _order_of(page: EventPage) -> bytes:
    """The events of a page in their order, however they are cut into pages."""
    return np.column_stack(
        [np.asarray(page.seq_num, np.int64), np.asarray(page.time, np.float64).view(np.int64)]
    ).tobytes()


def _one(_: object) -> int:
    return 1


def _after(store: RunStore, given: int, documents: Iterator[T]) -> Iterator[T]:
    if given and not store.exact_documents:
        raise StoreUnavailable(f"{store!r} gives documents in another order: read them from the first again")
    return islice(documents, given, None)


class _CopiedArray:
    """The values of a key as a store holds them, and where that fails as a copy has them."""

    def __init__(self, store: CopiesStore, stream: str, key: str, array: Any) -> None:
        self._store, self._stream, self._key, self._array = store, stream, key, array
        self.shape, self.dtype, self.ndim = tuple(array.shape), array.dtype, array.ndim
        self.chunks, self.shards = getattr(array, "chunks", None), getattr(array, "shards", None)

    def __getitem__(self, key: Any) -> Array:
        try:
            return np.asarray(self._array[key])
        except UNREADABLE as error:
            for store in self._store.next_copies(error):
                with suppress(*UNREADABLE):
                    return self._read(store, key)
            raise self._store.failure(error) from error

    def _read(self, store: RunStore, key: Any) -> Array:
        held = (store.arrays(self._store.uid, self._stream) or {}).get(self._key)
        if held is not None and (held.shape, held.dtype) == (self.shape, self.dtype):
            return np.asarray(held[key])
        first, *others = key if isinstance(key, tuple) else (key,)
        rows = np.arange(self.shape[0])[first]
        low, high = (int(rows.min()), int(rows.max()) + 1) if rows.size else (0, 0)
        values = self._of_events(store, slice(low, high))[rows - low]
        return np.asarray(values[(slice(None),) * rows.ndim + tuple(others)])

    def _of_events(self, store: RunStore, events: slice) -> Array:
        found = [np.empty((0, *self.shape[1:]), self.dtype)]
        for page in store.event_pages(self._store.uid, self._stream, data={self._key}, events=events):
            if self._key not in page.data:
                raise DamagedRun(f"a copy has no values of {self._key!r} in its events")
            found.append(conform(page.data[self._key], self.dtype, self.shape[1:]))
        values = np.concatenate(found).astype(self.dtype, copy=False)  # numpy alone forgets the order of bytes
        if len(values) != events.stop - events.start:
            raise DamagedRun(f"a copy has {len(values)} of {events.stop - events.start} events")
        return values
