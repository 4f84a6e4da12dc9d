"""Reading events out of a database, as columns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain, groupby, pairwise
from operator import itemgetter
from typing import Any, Final

import bson
import numpy as np
from bson.raw_bson import RawBSONDocument
from pymongo.database import Database

from intake_bluesky.documents.columns import Array
from intake_bluesky.documents.model import ALL_KEYS, EventPage, Keys
from intake_bluesky.documents.pages import event_page
from intake_bluesky.errors import DamagedRun
from intake_bluesky.storage.header_cache import HeaderCache
from intake_bluesky_mongo.bson_columns import page_of_events, page_of_page, raw_batch, split_batch
from intake_bluesky_mongo.bson_documents import tidy_column
from intake_bluesky_mongo.connections import Stored
from intake_bluesky_mongo.large_values import gathered_page
from intake_bluesky_mongo.run_layout import StoredPage, StoredStream

PARTS: Final = ("data", "timestamps")
PAGES: Final = 4  # event pages that are asked for at once; each may be of 16 MiB
FEW: Final = 8  # events below which decoding them one by one is as fast
KEPT: Final = 16  # streams whose times stay in memory


@dataclass(frozen=True, slots=True)
class Wanted:
    """What of events is asked for."""

    data: Keys = ALL_KEYS
    timestamps: Keys = ()

    def projection(self, *also: str) -> dict[str, int]:
        """What the server is to send of an event, or of a page of them."""
        fields = {"_id": 0, "seq_num": 1, "time": 1, **dict.fromkeys(also, 1)}
        for part, keys in zip(PARTS, (self.data, self.timestamps), strict=True):
            fields |= dict.fromkeys(_paths(part, keys), 1)
        if self.data != ():
            fields["filled"] = 1
        return fields

    def page(self, page: Mapping[str, Any]) -> EventPage:
        """Make the columns."""
        # Where no data is asked for, the server sends none.
        return event_page({"data": {}, **page}, data=self.data, timestamps=self.timestamps)[0]


def _paths(part: str, keys: Keys) -> list[str]:
    if keys == ():
        return []
    if not isinstance(keys, frozenset | set | list | tuple | dict) or not all(map(_is_name, keys)):
        return [part]  # what a projection cannot name is sorted out here
    return [f"{part}.{key}" for key in keys]


def _is_name(key: object) -> bool:
    return isinstance(key, str) and bool(key) and not key.startswith("$") and not {".", "\0"} & set(key)


class Times:
    """The times of the single events of some streams, in order: with these a range of places is a range of times."""

    def __init__(self) -> None:
        self._kept = HeaderCache[Array](size=KEPT)

    def of(self, database: Database[Stored], stream: StoredStream) -> Array:
        """Give the times of a stream, asking for them once."""
        key = (stream.descriptors, stream.singles, stream.last)
        times = self._kept.get(key)
        if times is None:  # two that ask at once get the same
            found = [page.time for page in EventReader(database, self).singles(stream, Wanted(()), 0, stream.singles)]
            times = np.concatenate([np.empty(0), *found])
            self._kept.put(key, times)
        return times


@dataclass(frozen=True, slots=True)
class EventReader:
    """The events in the collections of one database."""

    database: Database[Stored]
    times: Times
    paged: str = "event_page"  # the collection of event pages

    def read(self, stream: StoredStream, wanted: Wanted, events: slice) -> Iterator[EventPage]:
        """Yield the stored events of a stream, cut to a range."""
        pages: list[tuple[StoredPage, int, int]] = []
        for unit, low, high in stream.cut(events):
            if unit.page is not None:
                pages.append((unit.page, low, high))
                if len(pages) < PAGES:
                    continue
            yield from self.pages(pages, wanted)
            pages = []
            if unit.page is None:
                yield from self.singles(stream, wanted, unit.first + low, unit.first + high)
        yield from self.pages(pages, wanted)

    def pages(self, asked: Sequence[tuple[StoredPage, int, int]], wanted: Wanted) -> Iterator[EventPage]:
        """Yield some event pages, asked for at once."""
        if not asked:
            return
        found = self._by_id([page for page, _, _ in asked], wanted)
        for (_, low, high), page in zip(asked, found, strict=True):
            if page is None:
                continue  # taken away meanwhile; who reads finds events missing
            columns = self._columns(page, wanted)
            yield columns if high - low == len(columns) else columns.select(slice(low, high))

    def singles(self, stream: StoredStream, wanted: Wanted, start: int, stop: int) -> Iterator[EventPage]:
        """Yield single events at some places among those of a stream."""
        if start >= stop:
            return
        where, skip = self._range(stream, start, stop)
        several = len(stream.descriptors) > 1
        fields = wanted.projection(*(["descriptor"] if several else []))
        cursor = self.database["event"].find_raw_batches(
            where, fields, sort=[("time", 1)], skip=skip, limit=stop - start, batch_size=stream.batch
        )
        with cursor:
            for batch in cursor:
                for page in _pages(raw_batch(batch), stream.descriptors[0], several=several):
                    yield self._columns(page, wanted)

    def whole(self, streams: Sequence[StoredStream]) -> dict[str, list[EventPage]]:
        """Read all values of some small streams, of one descriptor each, at once.

        Returns
        -------
        dict of descriptor to list of EventPage
            Without those that cannot be read so: reading one of these alone raises what is wrong.
        """
        found: dict[str, list[EventPage]] = {}
        wanted, lost = Wanted(), set()
        for page in chain(self._whole_singles(streams, wanted), self._whole_pages(streams)):
            try:
                found.setdefault(page["descriptor"], []).append(self._columns(page, wanted))
            except DamagedRun:
                lost.add(page["descriptor"])
        events = {stream.descriptors[0]: stream.events for stream in streams}
        return {
            uid: found.get(uid, [])
            for uid, number in events.items()
            if uid not in lost and sum(map(len, found.get(uid, ()))) == number
        }

    def _whole_singles(self, streams: Sequence[StoredStream], wanted: Wanted) -> Iterator[dict[str, Any]]:
        uids = [stream.descriptors[0] for stream in streams if stream.events == stream.singles]
        if not uids:
            return
        order = [("descriptor", 1), ("time", 1)]
        where, fields = {"descriptor": {"$in": uids}}, wanted.projection("descriptor")
        with self.database["event"].find_raw_batches(where, fields, sort=order) as batches:
            for batch in batches:
                for part in _alike(raw_batch(batch)):
                    yield from _pages(part, "", several=True)

    def _whole_pages(self, streams: Sequence[StoredStream]) -> Iterator[dict[str, Any]]:
        pages = [unit.page for stream in streams if not stream.singles for unit in stream.units if unit.page]
        yield from filter(None, self._by_id(pages, Wanted()) if pages else ())

    def _columns(self, page: Mapping[str, Any], wanted: Wanted) -> EventPage:
        return wanted.page(gathered_page(self.database, page))

    def _by_id(self, pages: Sequence[StoredPage], wanted: Wanted) -> Iterator[dict[str, Any] | None]:
        """Yield each of some event pages, asked for at once; None for one that is not there."""
        found: dict[bytes, bytes] = {}
        fields = {**wanted.projection(), "_id": 1}
        where = {"_id": {"$in": [page.id for page in pages]}}
        with self.database[self.paged].find_raw_batches(where, fields) as batches:
            for batch in batches:
                found |= {_key(one): one for one in split_batch(batch)}
        for page in pages:
            raw = found.get(_key(bson.encode({"_id": page.id})))
            yield None if raw is None else {**page_of_page(raw), "descriptor": page.descriptor}

    def _range(self, stream: StoredStream, start: int, stop: int) -> tuple[dict[str, Any], int]:
        """What to ask for, and how many of what is found come before what is wanted."""
        uids = list(stream.descriptors)
        where: dict[str, Any] = {"descriptor": uids[0] if len(uids) == 1 else {"$in": uids}}
        if start == 0:
            return where, 0
        times = self.times.of(self.database, stream)
        if len(times) < stop or not np.isfinite(times).all():
            return where, start  # NaN is in no range, and the stream may have grown
        low, high = float(times[start]), float(times[stop - 1])
        # Events of the very time of the first one may come before it.
        return {**where, "time": {"$gte": low, "$lte": high}}, start - int(np.searchsorted(times, low, "left"))


def _key(raw: bytes) -> bytes:
    """The bytes of a document's ``_id``."""
    return bson.encode({"_id": RawBSONDocument(raw)["_id"]})


def _pages(batch: bytes, descriptor: str, *, several: bool) -> Iterator[dict[str, Any]]:
    """Make pages of single events; where these are of several descriptors, of neighbours of each."""
    found = page_of_events(batch)
    if found is not None:
        for page in found:
            yield from _neighbours(page) if several else [{"descriptor": descriptor, **page}]
        return
    events = bson.decode_all(batch)
    for uid, group in groupby(events, key=itemgetter("descriptor")) if several else [(descriptor, iter(events))]:
        yield {**_columns_of(list(group)), "descriptor": uid}


def _neighbours(page: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Cut a page whose descriptor is a column."""
    owners = page["descriptor"]
    ends = [place for place in range(1, len(owners)) if owners[place] != owners[place - 1]]
    for begin, end in pairwise([0, *ends, len(owners)]):
        part = slice(begin, end)
        yield {
            name: {key: column[part] for key, column in value.items()} if isinstance(value, dict) else value[part]
            for name, value in page.items()
        } | {"descriptor": owners[begin]}  # fmt: skip


def _alike(batch: bytes) -> Iterator[bytes]:
    """Part a batch into neighbours of one length, which may be of one layout; the whole where these are few each."""
    lengths = list(map(len, split_batch(batch)))
    changes = [place for place in range(1, len(lengths)) if lengths[place] != lengths[place - 1]]
    if len(changes) * FEW > len(lengths):
        yield batch
        return
    ends = [0, *accumulate(lengths)]
    for begin, end in pairwise([0, *changes, len(lengths)]):
        yield batch[ends[begin] : ends[end]]


def _columns_of(events: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    page: dict[str, Any] = {key: tidy_column([event.get(key) for event in events]) for key in ("seq_num", "time")}
    for part in (*PARTS, "filled"):
        rows = [event.get(part) or {} for event in events]
        keys: Iterable[str] = dict.fromkeys(key for row in rows for key in row)
        page[part] = {key: tidy_column([row.get(key) for row in rows]) for key in keys}
    return page
