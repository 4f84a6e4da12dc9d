"""One pass over a file, or what was appended to it: where its documents lie, and what its events hold."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Final

from intake_bluesky.documents.header import HeaderBuilder, add_span
from intake_bluesky.documents.model import ODD_DOCUMENT, Document
from intake_bluesky.documents.pages import normalise
from intake_bluesky.documents.running_statistics import Found, Measuring
from intake_bluesky.documents.untyped import DEEPEST, data_keys_of, span_of, too_deep
from intake_bluesky.errors import DamagedRun
from intake_bluesky.files.codec import Codec
from intake_bluesky.files.content.decompress import Content
from intake_bluesky.files.content.growing import growing
from intake_bluesky.files.scan.block_builder import BlockBuilder, check_datums
from intake_bluesky.files.scan.file_layout import FileLayout
from intake_bluesky.index.index import storable
from intake_bluesky.runtime.sizes import largest, to_raise_it

__all__ = ["DATUMS", "EVENTS", "NotARun", "Scan", "guard_of", "uid_of"]

EVENTS: Final = frozenset({"event", "event_page", "bulk_events"})
DATUMS: Final = frozenset({"datum", "datum_page", "bulk_datum"})
PLAIN: Final = DATUMS | {"event"}  # what most items are
HEADS: Final = frozenset({"descriptor", "resource", "stream_resource"})
GUARDED: Final = 256  # bytes before the place where a later scan goes on, checked before it does
HOPELESS: Final = 1 << 20  # bytes without a start document after which a file is no run
MOST_DAMAGED: Final = 1000  # items that cannot be read, after which no more are looked for: each costs some time
AT_ONCE: Final = 1 << 15  # bytes decoded at once: more of them would keep the garbage collector busy
OVERLAP: Final = 32  # bytes in which the beginning of an item may be cut


class NotARun(Exception):
    """The file is readable and holds no run; the message says what it is instead."""


@dataclass(slots=True)
class Scan:
    """Adds what a file's content holds from ``layout.scanned`` on to its layout."""

    codec: Codec
    layout: FileLayout  # changed in place
    start: bytes | None = None  # the items of the start and stop documents, as the file has them
    stop: bytes | None = None
    start_doc: Document | None = field(default=None, init=False)  # what is in the first, if this scan came by
    # Of the whole file, if this scan began at its beginning and the run has stopped.
    statistics: Found | None = field(default=None, init=False)
    _several: bool = False
    _missing: int = 0  # how many such places were met
    _resumed: int = 0  # how often it went on after an item that cannot be read
    _buffer: bytes = b""
    _used: int = 0
    _before: bytes = b""
    _blocks: BlockBuilder = field(init=False)
    _probe: HeaderBuilder = field(default_factory=HeaderBuilder)
    _measuring: Measuring = field(default_factory=Measuring)

    def run(self, content: Content) -> None:
        """Go over the content from where the last scan ended.

        Raises
        ------
        NotARun
            When there is no start document at its beginning.
        """
        whole = self.layout.scanned == 0
        self.layout.rest = ""
        self._blocks = BlockBuilder(self.layout, self._measuring)
        try:
            for data in growing(content.stream(self.layout.scanned), lambda: len(self._buffer)):
                self._feed_parts(data, content)
                if self._several:
                    break
                if len(self._buffer) > largest():
                    raise DamagedRun(f"the document at byte {self.layout.scanned} has {to_raise_it()}")
            self._feed_parts(b"", content)
            self._finish()
        except DamagedRun as error:
            self.layout.rest = f"{error}; what comes before is used"
        self._blocks.finish()
        if self.start is None:
            cut = "it is cut off before its" if content.cut else "it holds no"
            why = [f"{cut} run start document", *(damage[2] for damage in self.layout.damage[-1:])]
            raise NotARun(self.layout.rest or ": ".join(why))
        # Mostly these bytes are still at hand, and need not be read again.
        enough = len(self._before) == min(self.layout.scanned, GUARDED)
        self.layout.guard = zlib.crc32(self._before) if enough else guard_of(content, self.layout.scanned)
        if whole and self.stop is not None:
            self._measuring.sound = self._measuring.sound and not self.layout.problems()
            self.statistics = self._measuring.found()

    def _feed_parts(self, data: bytes, content: Content) -> None:
        """Take what lies before a place where some of the content is missing apart from what follows."""
        for place, why in content.damage[self._missing :]:
            end = place - self.layout.scanned - len(self._buffer)
            if end > len(data) or self._several:
                break
            self._feed(data[:end])
            data = data[end:]
            self._let_go(len(self._buffer))
            self._blocks.close()
            self.layout.damage.append((self.layout.scanned, place, why))
            self.layout.scanned = place
            self._missing += 1
        self._feed(data)

    def _feed(self, data: bytes) -> None:
        self._buffer = self._buffer + data if self._buffer else data
        base, self._used = self.layout.scanned, 0
        while (why := self._take_items(base)) is not None:
            after = self._next_item(self._used)
            self._damaged(base + self._used, base + after, why)
            self._used = after
        self._let_go(self.layout.scanned - base)

    def _let_go(self, used: int) -> None:
        """Drop what was taken from the buffer, but for what guards it."""
        taken = self._buffer[max(used - GUARDED, 0) : used]
        self._before = (self._before + taken)[-GUARDED:]
        self._buffer = self._buffer[used:]

    def _take_items(self, base: int) -> str | None:
        """Take the items of the buffer; say why one, at ``_used``, could not be read, or None at the end."""
        try:
            while not self._several:
                begin, why = self._used, None
                pairs, stops = self.codec.decode_several(self._buffer, begin, AT_ONCE)
                if not pairs:
                    pairs, stops, why = self._decode_each(begin + AT_ONCE)
                self._take_all(base, pairs, stops)
                if why is not None and not self._several:
                    return why
                if self._used == begin:
                    break
        except DamagedRun as error:
            return str(error)
        finally:
            self.layout.scanned = max(self.layout.scanned, base + self._used)
        return None

    def _decode_each(self, enough: int) -> tuple[list[tuple[str, Document]], list[int], str | None]:
        """Decode item by item, until there is hope for several at once again, or one cannot be read: say why."""
        pairs: list[tuple[str, Document]] = []
        stops: list[int] = []
        try:
            for item in self.codec.split(self._buffer, self._used):
                if not stops:
                    self._used = item.start
                elif item.start != stops[-1]:  # what lies between is none of either: the next ones begin after it
                    break
                pairs.append(self.codec.decode(self._buffer[item.start : item.stop]))
                stops.append(item.stop)
                if item.stop >= enough:
                    break
        except DamagedRun as error:
            return pairs, stops, str(error)
        return pairs, stops, None

    def _take_all(self, base: int, pairs: Sequence[tuple[str, Document]], stops: Sequence[int]) -> None:
        """Take items that follow each other from ``_used`` on."""
        done = 0
        for plain, group in groupby(pairs, key=lambda pair: pair[0] in PLAIN):
            some = list(group)
            ends = stops[done : done + len(some)]
            done += len(some)
            if plain and self.start is not None and self._blocks.add_all(some, base + self._used, base + ends[-1]):
                self._used = ends[-1]
                continue
            for (name, doc), stop in zip(some, ends, strict=True):
                self._take(name, doc, base, stop)
                if self._several:
                    return
                self._used = stop

    def _next_item(self, failed: int) -> int:
        """Where the next item may begin, after one that cannot be read."""
        found = self.codec.next_beginning(self._buffer, failed + 1)
        self._resumed += found >= 0
        if self._resumed > MOST_DAMAGED:
            raise DamagedRun(f"more than {MOST_DAMAGED} of its documents cannot be read")
        return found if found >= 0 else max(failed + 1, len(self._buffer) - OVERLAP)

    def _damaged(self, start: int, stop: int, why: str) -> None:
        self._blocks.close()
        damage = self.layout.damage
        if damage and damage[-1][1] == start:
            start, _, why = damage.pop()
        damage.append((start, stop, why))
        self.layout.scanned = stop
        if self.start is None and stop > HOPELESS:
            raise DamagedRun(f"no run start document in its first {stop} bytes: {why}")

    def _take(self, name: str, doc: Document, base: int, stop: int) -> None:
        """Take the item from ``_used`` up to `stop`."""
        begin = self._used
        if name == "start" and self.start is not None:
            if doc.get("uid") == self._uid():
                again = "the run start document came again: of documents that were delivered twice the last counts"
                self._damaged(base + begin, base + stop, again)
            else:
                self._several = True
            return
        if name == "start":
            uid_of(doc)  # raises where it has none
            self.start, self.start_doc = self._buffer[begin:stop], doc
        elif self.start is None:
            raise NotARun(f"its first document is a {name}, not a run start")
        try:
            self._place(name, doc, base + begin, base + stop)
        except DamagedRun:
            raise
        except ODD_DOCUMENT as error:
            raise DamagedRun(f"a {name} document lacks what each has: {type(error).__name__}: {error}") from error
        if name == "stop" and too_deep(doc):
            raise DamagedRun(f"the run stop document is nested in more than {DEEPEST} levels")
        if name == "stop":
            self.stop = self._buffer[begin:stop]

    def _uid(self) -> Any:
        if self.start_doc is None and self.start is not None:  # of a file that has grown
            self.start_doc = self.codec.decode(self.start)[1]
        return (self.start_doc or {}).get("uid")

    def _place(self, name: str, doc: Document, start: int, stop: int) -> None:
        if name == "event":
            if not isinstance(doc["descriptor"], str):
                raise DamagedRun(f"an event's descriptor is {doc['descriptor']!r}, not a uid")
            self._blocks.add_event(doc, start, stop)
        elif name in EVENTS:
            self._blocks.add_pages(list(normalise(name, doc)), start, stop)
        elif name in DATUMS:
            check_datums(name, doc)
            self._blocks.add_datums(str(doc["resource"]), start, stop)
        elif name == "stream_datum":
            self._add_span(doc)
        elif name in HEADS:
            self._probe.add(name, doc)  # what no header can be made of is damage, met now and not by readers
            if name == "descriptor":
                self._measuring.describe({**doc, "data_keys": data_keys_of(doc)})
            else:
                self._measuring.add_resource(doc)
            self.layout.heads.append((start, stop))

    def _add_span(self, doc: Document) -> None:
        names = str(doc["stream_resource"]), str(doc["descriptor"])
        add_span(self.layout.spans.setdefault(names, []), span_of(doc))

    def _finish(self) -> None:
        """Take a last item that lacks its delimiter, or say what is wrong with the end of the file."""
        blank = self.codec.is_blank(self._buffer)
        if self._buffer and not blank and not self._several:
            self._take_last()
        if self._several:
            self.layout.rest = "it holds several runs, of which the first is used: put each into its own file"
        elif self._buffer and not blank:
            size, place = len(self._buffer), self.layout.scanned
            self.layout.rest = (
                f"the last {size} bytes, from byte {place} on, are no whole document: cut off, or being written "
                "just now"
            )

    def _take_last(self) -> None:
        self._used = 0
        try:
            name, doc = self.codec.decode(self._buffer)
            self._take(name, doc, self.layout.scanned, len(self._buffer))
        except DamagedRun:
            return
        if not self._several:
            self.layout.scanned += len(self._buffer)
            self._let_go(len(self._buffer))


def uid_of(start: Document) -> str:
    """The uid of a start document.

    Raises
    ------
    NotARun
        When it has none.
    """
    if too_deep(start):
        raise NotARun(f"its run start document is nested in more than {DEEPEST} levels")
    uid = start.get("uid")
    if not isinstance(uid, str) or not uid or not storable(uid):
        raise NotARun(f"its run start document has no uid but {uid!r}")
    return uid


def guard_of(content: Content, scanned: int) -> int:
    """Checksum of the bytes before `scanned`."""
    return zlib.crc32(content.read(max(scanned - GUARDED, 0), scanned))
