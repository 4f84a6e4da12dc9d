"""Headers, events, datums and documents of one run, out of its file and its layout."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import groupby
from typing import Final, TypeAlias

from intake_bluesky.documents.header import HeaderBuilder
from intake_bluesky.documents.model import DatumPage, Document, EventPage, Keys, RunHeader, StreamLayout
from intake_bluesky.documents.pages import datum_pages, event_page, gather, normalise
from intake_bluesky.errors import DamagedRun, StreamNotFound
from intake_bluesky.files.codec import Codec
from intake_bluesky.files.content.decompress import Content
from intake_bluesky.files.content.growing import growing
from intake_bluesky.files.scan.file_layout import FileBlock, FileLayout
from intake_bluesky.files.scan.scanner import DATUMS, EVENTS

__all__ = ["RunFile", "sound_documents"]

Named: TypeAlias = tuple[str, Document]
SMALL: Final = 1 << 22  # bytes of content that are decoded at once
AT_ONCE: Final = 1 << 18  # bytes given to the codec at once


def sound_documents(codec: Codec, content: Content, uid: str) -> list[Named] | None:
    """All documents of a small file with nothing wrong in it, without a scan; None where it takes one to read it.

    A file is sound that holds whole documents alone, of which the first is the start of this run, and no other a start.
    """
    data = content.read(0, SMALL)
    if len(data) >= SMALL or content.cut or content.damage:
        return None
    pairs: list[Named] = []
    place = 0
    try:
        while place < len(data):
            some, stops = codec.decode_several(data, place, AT_ONCE)
            if not some:
                item = next(codec.split(data, place), None)
                if item is None or item.start != place:
                    break
                some, stops = [codec.decode(data[item.start : item.stop])], [item.stop]
            pairs += some
            place = stops[-1]
    except DamagedRun:
        return None
    if (place < len(data) and not codec.is_blank(data[place:])) or [name for name, _ in pairs].count("start") != 1:
        return None
    name, start = pairs[0]
    return pairs if name == "start" and start.get("uid") == uid else None


class RunFile:
    """One run's file, open for reading, with what a scan of its content found."""

    def __init__(self, codec: Codec, content: Content, layout: FileLayout) -> None:
        self._codec, self._content, self._layout = codec, content, layout

    def left_out(self) -> list[str]:
        """What `documents` passes over, since it cannot be read: where, and why."""
        lost = [damage for damage in self._layout.damage if self._decoded_again(*damage[:2]) is None]
        return replace(self._layout, damage=lost).problems()

    def header(self, start: bytes, stop: bytes | None, version: str) -> RunHeader:
        """Make the header; events of descriptors that the run lacks are left out."""
        builder = HeaderBuilder()
        for raw in (start, *self._content.pick(self._layout.heads), *(() if stop is None else (stop,))):
            builder.add(*self._codec.decode(raw))
        for name, doc in self._stream_datums():
            builder.add(name, doc)
        for descriptor, observed in self._layout.observed.items():
            if builder.stream_of(descriptor) is not None:
                builder.add_page(descriptor, 1, observed)  # for what was observed: the pages follow below
        header = builder.header(version)
        return replace(header, streams={name: self._paged(layout) for name, layout in header.streams.items()})

    def _stream_datums(self) -> Iterator[Named]:
        for (resource, descriptor), spans in self._layout.spans.items():
            for first, last, start, stop in spans:
                seq_nums, indices = {"start": first, "stop": last}, {"start": start, "stop": stop}
                doc = {"stream_resource": resource, "descriptor": descriptor}
                yield "stream_datum", {**doc, "seq_nums": seq_nums, "indices": indices}

    def _paged(self, stream: StreamLayout) -> StreamLayout:
        """Pages as the file has them: blocks, or what must be decompressed in one go."""
        places = self._places(stream)
        counted = [(self._content.unit(b.start), _events_in(b, places)) for b in self._layout.blocks]
        found = [(unit, events) for unit, events in counted if events]
        pages: list[int] = []
        for unit, group in groupby(found, key=lambda pair: pair[0]):
            events = [count for _, count in group]
            pages += events if unit < 0 else [sum(events)]
        return replace(stream, events=sum(pages), pages=tuple(pages))

    def _places(self, stream: StreamLayout) -> dict[int, str]:
        """Descriptors of a stream by the places that blocks name them by."""
        uids = {str(descriptor["uid"]) for descriptor in stream.descriptors}
        return {place: uid for place, uid in enumerate(self._layout.uids) if uid in uids}

    def event_pages(
        self, header: RunHeader, stream: str, *, data: Keys, timestamps: Keys, events: slice
    ) -> Iterator[EventPage]:
        """Yield stored events of a stream, reading only the blocks they are in."""
        if stream not in header.streams:
            known = ", ".join(header.streams) or "none"
            raise StreamNotFound(f"run {header.uid} has no stream {stream!r}; it has {known}")
        places = self._places(header.streams[stream])
        start, stop, _ = events.indices(header.streams[stream].events)
        wanted = list(self._overlapping(places, start, stop))
        contents = self._content.pick((block.start, block.stop) for block, _ in wanted)
        for (block, first), raw in zip(wanted, contents, strict=True):
            pages = self._pages(block, raw, places, data, timestamps)
            yield from _window(pages, start - first, stop - first)

    def _overlapping(self, places: Mapping[int, str], start: int, stop: int) -> Iterator[tuple[FileBlock, int]]:
        first = 0
        for block in self._layout.blocks:
            events = _events_in(block, places)
            if events and first < stop and start < first + events:
                yield block, first
            first += events

    def _pages(
        self, block: FileBlock, raw: bytes, places: Mapping[int, str], data: Keys, timestamps: Keys
    ) -> list[EventPage]:
        here = [places[place] for place in block.events if place in places and block.events[place]]
        if len(here) == 1:
            observed = self._layout.observed.get(here[0])
            pages = list(self._codec.event_pages(raw, here[0], data=data, timestamps=timestamps, observed=observed))
        else:
            pages = list(self._in_turns(raw, frozenset(here), data, timestamps))
        if sum(map(len, pages)) != _events_in(block, places):
            raise DamagedRun(
                f"bytes {block.start} to {block.stop} hold {sum(map(len, pages))} events where "
                f"{_events_in(block, places)} were found before: the file was changed, refresh() the catalog"
            )
        return pages

    def _in_turns(self, raw: bytes, descriptors: frozenset[str], data: Keys, timestamps: Keys) -> Iterator[EventPage]:
        """Pages of several descriptors of one stream, in stored order."""
        found = ((name, doc) for name, doc in self._decoded(raw, EVENTS) if doc["descriptor"] in descriptors)
        for (name, _), group in groupby(found, key=lambda pair: (pair[0], pair[1]["descriptor"])):
            docs = [doc for _, doc in group]
            if name == "event":
                yield gather(docs, data=data, timestamps=timestamps)[0]
            else:
                yield from (event_page(doc, data=data, timestamps=timestamps)[0] for doc in docs)

    def _stored(self, raw: bytes, names: frozenset[str]) -> Iterator[Named]:
        items = (item for item in self._codec.split(raw) if item.name in names)
        return (self._codec.decode(raw[item.start : item.stop]) for item in items)

    def _decoded(self, raw: bytes, names: frozenset[str]) -> Iterator[Named]:
        return (pair for name, doc in self._stored(raw, names) for pair in normalise(name, doc))

    def datum_pages(self, resource: str) -> Iterator[DatumPage]:
        """Yield the datums of one resource as they were inserted."""
        if resource not in self._layout.uids:
            return
        place = self._layout.uids.index(resource)
        blocks = [(b.start, b.stop) for b in self._layout.blocks if place in b.resources]
        for raw in self._content.pick(blocks):
            yield from datum_pages(self._stored(raw, DATUMS), resource)

    def documents(self) -> Iterator[Named]:
        """Yield every document that can be decoded, in order; the others are in `FileLayout.problems`."""
        place = 0
        for start, stop, _ in sorted(self._layout.damage):
            yield from self._between(place, start)
            yield from self._salvaged(start, stop)
            place = stop
        yield from self._between(place, self._layout.scanned)

    def _between(self, start: int, stop: int) -> Iterator[Named]:
        buffer = b""

        def held() -> int:
            return len(buffer)

        for piece in growing(self._content.stream(start, stop), held):
            buffer += piece
            used = 0
            for item in self._codec.split(buffer):
                yield self._codec.decode(buffer[item.start : item.stop])
                used = item.stop
            buffer = buffer[used:]
        if buffer:  # a last item without its delimiter
            yield self._codec.decode(buffer)

    def _salvaged(self, start: int, stop: int) -> list[Named]:
        """Documents in a damaged range: events that are well-formed, and of which no page can be made."""
        # The start of the run, delivered once more, is no second one.
        return [(name, doc) for name, doc in self._decoded_again(start, stop) or () if name != "start"]

    def _decoded_again(self, start: int, stop: int) -> list[Named] | None:
        try:
            return list(self._between(start, stop))
        except DamagedRun:
            return None


def _events_in(block: FileBlock, places: Mapping[int, str]) -> int:
    return sum(events for place, events in block.events.items() if place in places)


def _window(pages: list[EventPage], start: int, stop: int) -> Iterator[EventPage]:
    """Cut pages to the events from `start` up to `stop`, counted from the first page's first."""
    for page in pages:
        low, high = max(start, 0), min(stop, len(page))
        if low < high:
            yield page if high - low == len(page) else page.select(slice(low, high))
        start, stop = start - len(page), stop - len(page)
