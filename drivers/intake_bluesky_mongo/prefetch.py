"""Events of many runs, asked for at once, for those who look at one run after the other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from intake_bluesky.cached import cached_property
from intake_bluesky.documents.model import ALL_KEYS, EventPage, Keys
from intake_bluesky.storage.wrapper import WrapperStore
from intake_bluesky_mongo.events import EventReader
from intake_bluesky_mongo.run_layout import PAGE_BYTES, StoredStream

if TYPE_CHECKING:
    from intake_bluesky_mongo.store import MongoStore

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


class Ahead(WrapperStore):
    """A store that has the small streams of some runs at hand, once one of them was asked for."""

    def __init__(self, inner: MongoStore, reader: EventReader, runs: Mapping[str, Streams]) -> None:
        super().__init__(inner)
        self._connection, self._reader, self._runs = inner.connection, reader, runs

    @cached_property
    def _pages(self) -> Mapping[str, Sequence[EventPage]]:
        small = [stream for streams in self._runs.values() for stream in _small(streams)]
        with self._connection.asking(f"for the events of {len(self._runs)} runs"):
            return self._reader.whole(small)

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
        return self.inner.event_pages(uid, stream, data=data, timestamps=timestamps, events=events)

    def _at_hand(self, stream: StoredStream, timestamps: Keys, events: slice) -> Sequence[EventPage] | None:
        whole = events.indices(stream.events) == (0, stream.events, 1)
        return self._pages.get(stream.descriptors[0]) if whole and timestamps == () else None
