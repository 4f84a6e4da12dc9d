"""Events of many runs, asked for at once, for those who look at one run after the other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from intake_bluesky.documents.model import ALL_KEYS, Document, EventPage, Keys, RunHeader
from intake_bluesky.query import ALL, Query
from intake_bluesky.storage.contract import Order, RunStore
from intake_bluesky_mongo.events import EventReader
from intake_bluesky_mongo.run_layout import PAGE_BYTES, StoredStream

__all__ = ["Ahead", "Streams", "groups"]

Streams = Mapping[str, StoredStream]
"""Of one run, by name."""

HELD: Final = 8 * PAGE_BYTES
"""About as many bytes of events are asked for at once."""


def groups(runs: Mapping[str, Streams]) -> Iterator[dict[str, Streams]]:
    """Part runs, by uid, so that the small streams of each part are about `HELD`."""
    some: dict[str, Streams] = {}
    size = 0
    for uid, streams in runs.items():
        own = sum(stream.size for stream in _small(streams))
        if some and size + own > HELD:
            yield some
            some, size = {}, 0
        some[uid] = streams
        size += own
    if some:
        yield some


def _small(streams: Streams) -> list[StoredStream]:
    """Those that are asked for with others: of one descriptor, and no more than is read at once."""
    return [one for one in streams.values() if len(one.descriptors) == 1 and 0 < one.events <= one.batch]


class Ahead(RunStore):
    """A store that has the small streams of some runs at hand.

    Parameters
    ----------
    store : RunStore
        Which gives all else.
    reader : EventReader
    runs : mapping of str to mapping of str to StoredStream
        By uid and name.
    """

    def __init__(self, store: RunStore, reader: EventReader, runs: Mapping[str, Streams]) -> None:
        self._store, self._runs = store, runs
        small = [stream for streams in runs.values() for stream in _small(streams)]
        self._pages = reader.whole(small)

    @property
    def remote(self) -> bool:
        return self._store.remote

    def find(
        self, query: Query = ALL, *, order: Order = Order.NEWEST, offset: int = 0, limit: int | None = None
    ) -> Any:
        """Ask the store."""
        return self._store.find(query, order=order, offset=offset, limit=limit)

    def header(self, uid: str) -> RunHeader:
        """Ask the store."""
        return self._store.header(uid)

    def documents(self, uid: str) -> Iterator[tuple[str, Document]]:
        """Ask the store."""
        return self._store.documents(uid)

    def event_pages(
        self,
        uid: str,
        stream: str,
        *,
        data: Keys = ALL_KEYS,
        timestamps: Keys = (),
        events: slice = slice(None),
    ) -> Iterator[EventPage]:
        """Yield what is at hand, of all keys, where a stream is asked for whole; else ask the store."""
        found = self._at_hand(self._runs[uid][stream], timestamps, events)
        if found is not None:
            return iter(found)
        return self._store.event_pages(uid, stream, data=data, timestamps=timestamps, events=events)

    def _at_hand(self, stream: StoredStream, timestamps: Keys, events: slice) -> Sequence[EventPage] | None:
        whole = events.indices(stream.events) == (0, stream.events, 1)
        return self._pages.get(stream.descriptors[0]) if whole and timestamps == () else None
