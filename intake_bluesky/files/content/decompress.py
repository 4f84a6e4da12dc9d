"""What a file holds once it is decompressed, by ranges.

A compressed file is a row of members (gzip) or frames (zstd), each of which can be decompressed without the
others. A range is read from the beginning of the member that holds it: cheap where members are small, as this
package writes them; a pass over all that comes before where a file is one member.
"""

from __future__ import annotations

import re
import zlib
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from zstandard import ZstdDecompressor, ZstdError

from intake_bluesky.files.content.source import ByteSource

__all__ = [
    "COMPRESSED", "COMPRESSIONS", "Content", "Member", "Range", "compression_of", "content_of", "likely_size",
    "most_of",
]  # fmt: skip

STEP: Final = 4 << 20  # bytes read at once from a plain file
PACKED_STEP: Final = 1 << 18  # and from a compressed one, where they become many times more
MORSEL: Final = 1 << 13  # compressed bytes given to the engine at once: of so much is gone over again at damage
MARGIN: Final = 18  # bytes in which the end of a member and the beginning of the next can have been taken for another
COMPRESSIONS: Final = ("gz", "zst")
MEMBER: Final = {"gz": re.compile(rb"\x1f\x8b\x08[\x00-\x1f]"), "zst": re.compile(rb"\x28\xb5\x2f\xfd")}
FAILURES: Final = (zlib.error, ZstdError)
USUAL: Final = 8  # bytes that a byte of a compressed file becomes, about
DENSEST: Final = 1 << 14  # bytes that a byte of a compressed file becomes, at most
GAP: Final = 1 << 16  # bytes between two ranges that are read along rather than asked for apart

Member = tuple[int, int]
"""Where a member begins in the file, and where what it holds begins in the content."""

Range = tuple[int, int]
"""Start and stop, in bytes of the content."""


class Content(ABC):
    """The content of one open file."""

    def __init__(self, source: ByteSource) -> None:
        self.source = source
        self.cut = False  # whether the last `stream` found the compressed data to end before its member does
        # Places in the content that the last `stream` came to at which some is missing, and why: what follows is that
        # of the next member which can be found.
        self.damage: list[tuple[int, str]] = []

    @abstractmethod
    def stream(self, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """Yield the content from `start` up to `stop` or the end, in pieces, as far as it can be decompressed."""

    @abstractmethod
    def apart(self, before: Range, after: Range) -> bool:
        """Whether two ranges are better asked for apart than read with what lies between them."""

    def unit(self, place: int) -> int:
        """Tell which of the parts that are read whole this place is in; -1 where every byte can be read."""
        return -1

    def read(self, start: int = 0, stop: int | None = None) -> bytes:
        """The content from `start` up to `stop` or the end."""
        return b"".join(self.stream(start, stop))

    def pick(self, ranges: Iterable[Range]) -> Iterator[bytes]:
        """Yield the content of each of several ranges, which follow each other and do not overlap."""
        group: list[Range] = []
        for found in ranges:
            if group and self.apart(group[-1], found):
                yield from _cut(self.stream(group[0][0], group[-1][1]), group)
                group = []
            group.append(found)
        if group:
            yield from _cut(self.stream(group[0][0], group[-1][1]), group)


def _cut(pieces: Iterator[bytes], ranges: Sequence[Range]) -> Iterator[bytes]:
    base, buffer = ranges[0][0], b""
    for start, stop in ranges:
        parts, end = [buffer], base + len(buffer)
        while end < stop and (piece := next(pieces, None)) is not None:
            # What comes before the range is dropped: no more is held than a range and a piece.
            if end <= start:
                base, parts = end, []
            parts.append(piece)
            end += len(piece)
        buffer = b"".join(parts)
        yield buffer[start - base : stop - base]
        base, buffer = stop, buffer[stop - base :]


class PlainContent(Content):
    """The content is the file."""

    def stream(self, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        end = self.source.size if stop is None else stop
        while start < end and (data := self.source.read(start, min(start + STEP, end))):
            start += len(data)
            yield data

    def apart(self, before: Range, after: Range) -> bool:
        return after[0] - before[1] > GAP


class PackedContent(Content):
    """Members, one after the other; `members` lists those known, to which those met are added."""

    def __init__(self, source: ByteSource, compression: str, members: list[Member]) -> None:
        super().__init__(source)
        self._compression = compression
        self._why = ""  # the last member ended before its time
        self.members = members

    def stream(self, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        self.cut, self.damage = False, []
        offset, place = self.members[self.unit(start)]
        while offset < self.source.size and not self.cut and (stop is None or place < stop):
            for data, after in self._member(offset):
                offset = after
                window = data[max(start - place, 0) : None if stop is None else max(stop - place, 0)]
                place += len(data)
                if window:
                    yield window
                if stop is not None and place >= stop:
                    return
            if self._why:
                self.damage.append((place, self._why))
            # Noted on the way, so that a later read begins nearer to what it asks for.
            if not self.cut and offset > self.members[-1][0]:
                self.members.append((offset, place))

    def apart(self, before: Range, after: Range) -> bool:
        return self.unit(after[0]) > self.unit(before[1])

    def unit(self, place: int) -> int:
        return bisect_right(self.members, place, key=lambda member: member[1]) - 1

    def _member(self, offset: int) -> Iterator[tuple[bytes, int]]:
        """Decompress one member in pieces, each with the place in the file after it."""
        engine, begin = _decompressor(self._compression), offset
        self.cut, self._why = True, ""  # until the end of the member is met
        while raw := self.source.read(offset, offset + PACKED_STEP):
            for start in range(0, len(raw), MORSEL):
                morsel = raw[start : start + MORSEL]
                try:
                    data = bytes(engine.decompress(morsel))
                except FAILURES:
                    yield self._before_damage(begin, offset, morsel)
                    return
                offset += len(morsel)
                if engine.eof:
                    self.cut = False
                    yield data, offset - len(engine.unused_data)
                    return
                yield data, offset

    def _before_damage(self, begin: int, offset: int, morsel: bytes) -> tuple[bytes, int]:
        """What a morsel becomes, byte by byte, before it fails, and where the next member may begin."""
        engine, data = _decompressor(self._compression), bytearray()
        for place in range(begin, offset, MORSEL):
            engine.decompress(self.source.read(place, min(place + MORSEL, offset)))
        try:
            for place in range(len(morsel)):
                data += engine.decompress(morsel[place : place + 1])
                offset += 1
        except FAILURES as error:
            why = f"the {self._compression} data cannot be decompressed, at byte {offset} ({error})"
            self._why = f"{why}: what comes before it may be wrong, too"
        self.cut = False
        return bytes(data), self._next_member(max(offset - MARGIN, begin + 1))

    def _next_member(self, offset: int) -> int:
        while raw := self.source.read(offset, offset + PACKED_STEP):
            found = MEMBER[self._compression].search(raw)
            if found is not None:
                return offset + found.start()
            offset += max(len(raw) - MARGIN, 1)
        return self.source.size


def _decompressor(compression: str) -> Any:
    if compression == "gz":
        return zlib.decompressobj(wbits=31)  # with the header and the checksum of gzip
    return ZstdDecompressor().decompressobj()


COMPRESSED: Final = tuple(f".{kind}" for kind in COMPRESSIONS)


def compression_of(path: str) -> str | None:
    """The compression by a file's name.

    Examples
    --------
    >>> compression_of("run.jsonl.gz"), compression_of("run.jsonl")
    ('gz', None)
    """
    return path.rpartition(".")[2] if path.endswith(COMPRESSED) else None


def most_of(path: str, size: int) -> int:
    """How many bytes the content of a file of this size can have."""
    return size if compression_of(path) is None else size * DENSEST


def likely_size(path: str, size: int) -> int:
    """About how many bytes the content of a file of this size has."""
    return size if compression_of(path) is None else size * USUAL


def content_of(source: ByteSource, path: str, members: list[Member]) -> Content:
    """The content of a file by its name; `members` are those known of a compressed one."""
    compression = compression_of(path)
    return PlainContent(source) if compression is None else PackedContent(source, compression, members)
