"""One run as a database holds it: its documents but events and datums, and where its events lie."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from intake_bluesky.documents.header import HeaderBuilder
from intake_bluesky.documents.model import Document, RunHeader, is_streamed, stream_name
from intake_bluesky.documents.untyped import data_keys_of
from intake_bluesky.errors import DamagedRun

PAGE_BYTES: Final = 2**20
"""About as many bytes of events are read at once."""
EVENT_BYTES: Final = 200  # of a single event without its values: uid, descriptor, times ...
VALUE_BYTES: Final = 12


@dataclass(frozen=True, slots=True)
class StoredPage:
    """A document that holds several events."""

    id: Any  # its ``_id``
    descriptor: str
    events: int
    time: Any  # of its first event
    first: int = 0  # how many events of its descriptor come before, where that is known


@dataclass(frozen=True, slots=True)
class PageUnit:
    """What is read at once: a page, or single events that follow each other."""

    events: int
    first: int = 0  # the place of the first among the single events of the stream; of no use for a page
    page: StoredPage | None = None


@dataclass(frozen=True, slots=True)
class StoredStream:
    """The events of one stream, in the order of their times."""

    name: str
    descriptors: tuple[str, ...]  # their uids
    units: tuple[PageUnit, ...]
    singles: int  # single events in all
    batch: int  # single events that make about `PAGE_BYTES`
    last: Any = None  # the latest time of single events

    @property
    def events(self) -> int:
        """Stored events, repeats included."""
        return sum(unit.events for unit in self.units)

    @property
    def size(self) -> int:
        """About how many bytes they are."""
        return self.events * PAGE_BYTES // self.batch

    def cut(self, events: slice) -> Iterator[tuple[PageUnit, int, int]]:
        """Yield the part of each unit in a range; neighbouring single events as one unit."""
        start, stop, _ = events.indices(self.events)
        first = 0
        for unit in self._joined():
            low, high = max(start - first, 0), min(stop - first, unit.events)
            if low < high:
                yield unit, low, high
            first += unit.events

    def _joined(self) -> Iterator[PageUnit]:
        waiting: PageUnit | None = None
        for unit in self.units:
            if unit.page is None and waiting is not None:
                waiting = PageUnit(waiting.events + unit.events, waiting.first)
                continue
            if waiting is not None:
                yield waiting
            waiting = unit if unit.page is None else None
            if unit.page is not None:
                yield unit
        if waiting is not None:
            yield waiting


@dataclass(frozen=True, slots=True)
class MongoRun:
    """A run without its events and datums."""

    start: Document
    stop: Document | None
    version: str
    descriptors: Sequence[Document] = ()
    resources: Sequence[Document] = ()
    stream_resources: Sequence[Document] = ()
    stream_datums: Sequence[Document] = ()
    # How many single events each descriptor has, and the latest time of these.
    singles: Mapping[str, tuple[int, Any]] = field(default_factory=dict)
    pages: Sequence[StoredPage] = ()

    def streams(self, times: Mapping[str, Sequence[float]] | None = None) -> dict[str, StoredStream]:
        """Give the layout of the events of each stream; takes the times of the single events of those `mixed`."""
        named: dict[str, list[Document]] = {}
        for doc in self.descriptors:
            named.setdefault(stream_name(doc), []).append(doc)
        return {name: self._stream(name, docs, (times or {}).get(name)) for name, docs in named.items()}

    def mixed(self) -> list[str]:
        """The streams that have both single events and pages."""
        paged = {page.descriptor for page in self.pages}
        single = {uid for uid, (events, _) in self.singles.items() if events}
        names = {doc["uid"]: stream_name(doc) for doc in self.descriptors}
        return sorted({names[uid] for uid in paged if uid in names} & {names[uid] for uid in single if uid in names})

    def _stream(self, name: str, docs: Sequence[Document], times: Sequence[float] | None) -> StoredStream:
        uids = tuple(dict.fromkeys(str(doc["uid"]) for doc in docs))
        known = [self.singles[uid] for uid in uids if uid in self.singles]
        singles = sum(events for events, _ in known)
        own = (page for page in self.pages if page.descriptor in uids)
        pages = sorted(own, key=lambda page: (_time(page.time), page.first))
        batch = max(1, PAGE_BYTES // max(map(_event_bytes, docs)))
        cuts = [] if times is None else _places(times, pages)
        units = list(_units(singles, pages, cuts or [0] * len(pages), batch))
        last = max((_time(time) for events, time in known if events), default=None)
        return StoredStream(name, uids, tuple(units), singles, batch, last)

    def header(self, streams: Mapping[str, StoredStream]) -> RunHeader:
        """Describe the run.

        Raises
        ------
        DamagedRun
        """
        builder = HeaderBuilder()
        builder.add("start", self.start)
        parts = {
            "descriptor": self.descriptors, "resource": self.resources, "stream_resource": self.stream_resources,
            "stream_datum": self.stream_datums, "stop": () if self.stop is None else (self.stop,),
        }  # fmt: skip
        for name, docs in parts.items():
            for doc in docs:
                builder.add(name, doc)
        for stream in streams.values():
            for unit in stream.units:
                builder.add_page(stream.descriptors[0], unit.events, None)
        return builder.header(self.version)

    def check(self) -> None:
        """Raise `DamagedRun` where a descriptor lacks the uid by which events name it."""
        for doc in self.descriptors:
            if not isinstance(doc.get("uid"), str):
                raise DamagedRun(
                    f"run {self.start['uid']} has a descriptor whose uid is {doc.get('uid')!r}, not a text"
                )


def _time(value: Any) -> float:
    usual = isinstance(value, int | float) and not math.isnan(value)
    return float(value) if usual else -math.inf  # as the server sorts them


def _places(times: Sequence[float], pages: Sequence[StoredPage]) -> list[int]:
    """How many single events come before each page."""
    return [sum(1 for time in times if _time(time) <= _time(page.time)) for page in pages]


def _units(singles: int, pages: Sequence[StoredPage], cuts: Sequence[int], batch: int) -> Iterator[PageUnit]:
    first = 0
    for page, cut in zip(pages, cuts, strict=True):
        yield from _batches(first, cut, batch)
        first = max(first, cut)
        yield PageUnit(page.events, page=page)
    yield from _batches(first, singles, batch)


def _batches(first: int, stop: int, batch: int) -> Iterator[PageUnit]:
    for begin in range(first, stop, batch):
        yield PageUnit(min(batch, stop - begin), begin)


def _event_bytes(descriptor: Document) -> int:
    """About how large a single event is, by its descriptor."""
    total = EVENT_BYTES
    for key, spec in data_keys_of(descriptor).items():
        if not is_streamed(spec):
            # In the place of values in files an event has a datum id.
            shape = () if spec.get("external") else spec.get("shape")
            lengths = shape if isinstance(shape, (list, tuple)) else ()
            items = math.prod(n for n in lengths if isinstance(n, int) and n > 0)
            total += items * VALUE_BYTES + 4 * len(key) + 24
    return total
