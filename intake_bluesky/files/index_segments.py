"""The format in which parts of an index are put beside runs: in folders, and in buckets.

A segment is zstd-compressed MessagePack, in two frames: a map that says what it is, and an array for each run. It is
specified in docs/reference/index-format.md. Whoever can write the folder can write it, so it is read with bounds, and
nothing in it is believed that the files would not be.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgpack
from zstandard import ZstdCompressor, ZstdDecompressor, ZstdError

from intake_bluesky.documents.model import Document
from intake_bluesky.errors import DamagedRun
from intake_bluesky.files.codec import Codec
from intake_bluesky.files.content.decompress import most_of
from intake_bluesky.files.content.source import size_of
from intake_bluesky.files.scan.index_entries import entry_of
from intake_bluesky.files.scan.scanner import NotARun, uid_of
from intake_bluesky.index.index import IndexEntry
from intake_bluesky.index.packed_statistics import rows_of

__all__ = [
    "IndexSegment", "SegmentDetails", "SegmentRow", "UnusableSegment", "entry_from", "sound_statistics", "written",
]  # fmt: skip

FORMAT: Final = "intake-bluesky-index"
VERSION: Final = 3
LARGEST: Final = 1 << 28
"""Bytes of one value."""
MOST: Final = 1 << 31
"""Bytes of the content of a segment."""
STEP: Final = 1 << 13
"""Bytes decompressed at once, each of which may become 16,384."""
WORDS: Final = 10_000
"""Characters of a problem."""
LEVEL: Final = 9
STAMP: Final = re.compile(r"(?:[0-9a-f]{1,15})?(?:-.*)?", re.DOTALL)
"""The version of a file: it begins with the size."""


class UnusableSegment(Exception):
    """A segment is not used; the message says why."""


class SegmentRow(NamedTuple):
    """What a segment has of one file.

    Attributes
    ----------
    name : str
        Relative to the folder of the runs.
    stamp : str
        What tells this version of the file from others: see `intake_bluesky.files.content.source.version_of`.
    start, stop : bytes or None
        Documents as the file has them; both None where the file holds no run, or was removed.
    problem : str
    layout, statistics : bytes or None
        In segments that have details beside the heads.
    """

    name: str
    stamp: str
    start: bytes | None = None
    stop: bytes | None = None
    problem: str = ""
    layout: bytes | None = None
    statistics: bytes | None = None


class SegmentDetails(NamedTuple):
    """What a segment of details has of one file."""

    name: str
    stamp: str
    layout: bytes | None
    statistics: bytes | None


def written(rows: Iterable[Sequence[Any]], about: Mapping[str, Any], level: int = LEVEL) -> bytes:
    """Make a segment of rows.

    Parameters
    ----------
    rows : iterable of SegmentRow, its first five, or SegmentDetails
    about : mapping
        What the first frame says beside the format.
    """
    head = msgpack.packb({"format": FORMAT, "version": VERSION, **about})
    content = b"".join(map(msgpack.packb, rows))
    compress = ZstdCompressor(level=level, write_checksum=True).compress
    return compress(head) + compress(content)


class IndexSegment:
    """A segment that was read.

    Parameters
    ----------
    data : bytes
    suffix : str
        Of the codec of the files.

    Attributes
    ----------
    about : dict
        What the first frame says.

    Raises
    ------
    UnusableSegment
        When it is damaged, of another version, or of other files.

    Examples
    --------
    >>> segment = IndexSegment(written([("a.jsonl", "ff-1", b"start", None, "")], {"suffix": ".jsonl"}), ".jsonl")
    >>> [row.name for row in segment.rows()]
    ['a.jsonl']
    """

    def __init__(self, data: bytes, suffix: str) -> None:
        about, self._data = _first_frame(data)
        self.about = about
        if about.get("format") != FORMAT:
            raise UnusableSegment("it is something else by that name")
        if about.get("version") != VERSION:
            raise UnusableSegment(f"it is of format {about.get('version')!r}, this version reads {VERSION}")
        if about.get("suffix") != suffix:
            raise UnusableSegment(f"it is of {about.get('suffix')!r} files, not of {suffix!r}")
        for _ in _decompressed(self._data):  # whole and sound, before anything of it is used
            pass

    def rows(self) -> Iterator[SegmentRow]:
        """Yield the rows of a segment of heads; what is none is left out."""
        for found in self._items():
            if 5 <= len(found) <= 7 and _is_row(found):
                yield SegmentRow(*found)

    def details(self) -> Iterator[SegmentDetails]:
        """Yield the rows of a segment of details; what is none is left out."""
        for found in self._items():
            if len(found) == 4 and _are_names(found[:2]) and _are_blobs(found[2:]):
                yield SegmentDetails(*found)

    def _items(self) -> Iterator[tuple[Any, ...]]:
        unpacker = msgpack.Unpacker(
            use_list=False, max_buffer_size=LARGEST, max_bin_len=LARGEST, max_str_len=LARGEST, max_array_len=16,
            max_map_len=0, max_ext_len=0,
        )  # fmt: skip
        try:
            for part in _decompressed(self._data):
                unpacker.feed(part)
                yield from (found for found in unpacker if isinstance(found, tuple))
        except (ValueError, msgpack.UnpackException) as error:
            raise UnusableSegment(f"it is damaged ({error})") from error


def _are_names(values: Sequence[Any]) -> bool:
    """Whether these are the name of a file, and its version."""
    return all(isinstance(value, str) for value in values) and STAMP.fullmatch(values[1]) is not None


def _are_blobs(values: Sequence[Any]) -> bool:
    return all(value is None or isinstance(value, bytes) for value in values)


def _is_row(found: Sequence[Any]) -> bool:
    problem = found[4]
    texts = _are_names(found[:2]) and isinstance(problem, str) and len(problem) <= WORDS
    return texts and _are_blobs(found[2:4]) and _are_blobs(found[5:])


def _first_frame(data: bytes) -> tuple[dict[str, Any], bytes]:
    engine = ZstdDecompressor().decompressobj()
    try:
        about = msgpack.unpackb(engine.decompress(data[:STEP]), strict_map_key=True)
    except (ZstdError, ValueError, msgpack.UnpackException) as error:
        raise UnusableSegment(f"it is no segment of an index ({error})") from error
    if not engine.eof or not isinstance(about, dict):
        raise UnusableSegment("it is no segment of an index")
    return about, engine.unused_data + data[STEP:]


def _decompressed(data: bytes) -> Iterator[bytes]:
    engine, size = ZstdDecompressor().decompressobj(), 0
    try:
        for start in range(0, len(data), STEP):
            part = engine.decompress(data[start : start + STEP])
            size += len(part)
            if size > MOST:
                raise UnusableSegment(f"it has more than {MOST} bytes")
            yield part
    except ZstdError as error:
        raise UnusableSegment(f"it is damaged ({error})") from error
    if not engine.eof or engine.unused_data:
        raise UnusableSegment("it is damaged: it ends too early, or too late")


def entry_from(row: SegmentRow, path: str, stamp: str, codec: Codec) -> IndexEntry | None:
    """Make the entry of a file by what a segment has of it; None for what is not as it should be.

    `stamp` is that of the entry. Times and uids are those of the documents, whatever the segment has.
    """
    if row.start is None:
        return IndexEntry(path, stamp, problem=row.problem) if row.problem else None
    if len(row.start) + len(row.stop or b"") > most_of(path, size_of(row.stamp)):
        return None
    try:
        doc = _document(codec, row.start, "start")
        if row.stop is not None and _document(codec, row.stop, "stop").get("run_start") != uid_of(doc):
            return None
        statistics = sound_statistics(row.statistics) if row.stop is not None else None
        return entry_of(
            path, stamp, (row.start, doc), row.stop, layout=row.layout, problem=row.problem, statistics=statistics
        )
    except (DamagedRun, NotARun, ValueError):
        return None


def sound_statistics(packed: bytes | None) -> bytes | None:
    """Packed statistics that can be unpacked; else None."""
    try:
        return packed if packed and list(rows_of(packed)) else None
    except (DamagedRun, ValueError):
        return None


def _document(codec: Codec, item: bytes, expected: str) -> Document:
    name, doc = codec.decode(item)
    if name != expected:
        raise NotARun(f"a {name} where a {expected} should be")
    return doc
