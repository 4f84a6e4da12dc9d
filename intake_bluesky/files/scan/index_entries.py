"""What the index keeps of a file: by a glance at its two ends, or by a scan."""

from __future__ import annotations

from typing import Final, TypeAlias

from intake_bluesky.documents.model import Document
from intake_bluesky.documents.untyped import too_deep
from intake_bluesky.errors import DamagedRun
from intake_bluesky.files.codec import Codec
from intake_bluesky.files.content.decompress import content_of, most_of
from intake_bluesky.files.content.source import ByteSource, is_unproved, size_of, version_of
from intake_bluesky.files.scan.file_layout import FileLayout
from intake_bluesky.files.scan.scanner import NotARun, Scan, guard_of, uid_of
from intake_bluesky.index.index import IndexEntry
from intake_bluesky.index.packed_statistics import pack
from intake_bluesky.index.search_form import comparable, comparable_times

__all__ = ["END", "glance", "scan"]

END: Final = 1 << 16  # bytes looked at, at each end of a file
Read: TypeAlias = tuple[bytes, Document]
"""An item, and the document in it."""


def glance(codec: Codec, path: str, stamp: str, head: bytes, tail: bytes) -> IndexEntry | None:
    """Make an entry of a run, without a layout, by the start document at one end of its file and the stop at the other.

    `head` and `tail` are the beginning and the end of the content; both all of it where it is short. None where it
    takes a scan to find what the file holds.
    """
    try:
        first = next(codec.split(head), None)
        if first is None or first.name != "start":
            return None
        raw = head[first.start : first.stop]
        _, start = codec.decode(raw)
        last = _last_stop(codec, tail, uid_of(start))
        return None if last is None else entry_of(path, stamp, (raw, start), last)
    except (DamagedRun, NotARun):
        return None


def _last_stop(codec: Codec, tail: bytes, uid: str) -> bytes | None:
    """The stop document of this run, if the content ends with it."""
    place = codec.last_beginning(tail, "stop", len(tail))
    while place >= 0:  # what looks like a beginning may be a text inside of the document
        item = next(codec.split(tail, place), None)
        if item is not None and item.stop == len(tail):
            raw = tail[place : item.stop]
            name, doc = codec.decode(raw)
            return raw if name == "stop" and doc.get("run_start") == uid and not too_deep(doc) else None
        place = codec.last_beginning(tail, "stop", place)
    return None


def scan(
    codec: Codec, path: str, source: ByteSource, earlier: IndexEntry | None = None
) -> tuple[IndexEntry, FileLayout]:
    """Scan a file, or only what was appended since an earlier scan.

    Raises
    ------
    NotARun
        When it holds no run.
    """
    source.sequential = True
    known = _resumed(codec, path, source, earlier)
    work = Scan(codec, FileLayout()) if known is None else known
    work.run(content_of(source, path, work.layout.members))
    assert work.start is not None  # run() has raised otherwise
    start = work.start, work.start_doc or codec.decode(work.start)[1]
    problem = "\n".join(work.layout.problems())
    statistics = None if work.statistics is None else pack(work.statistics)
    layout = work.layout.pack()
    entry = entry_of(path, source.stamp, start, work.stop, layout=layout, problem=problem, statistics=statistics)
    return entry, work.layout


def _resumed(codec: Codec, path: str, source: ByteSource, earlier: IndexEntry | None) -> Scan | None:
    """Take up the last scan where it ended; None where the file is not the one it was, only longer."""
    if earlier is None or earlier.layout is None or not _may_continue(earlier, source):
        return None
    try:
        layout = FileLayout.unpack(earlier.layout, most_of(path, source.size))
    except ValueError:
        return None
    content = content_of(source, path, list(layout.members))
    same = guard_of(content, layout.scanned) == layout.guard
    return Scan(codec, layout, earlier.start, earlier.stop) if same else None


def _may_continue(earlier: IndexEntry, source: ByteSource) -> bool:
    """Whether a file can be the one it was: a run that is finished does not grow, and none shrinks or is rewritten."""
    size = size_of(earlier.stamp)
    if not earlier.stamp or source.size < size:
        return False
    if is_unproved(earlier.stamp):  # published: its times may be others, so the size decides, and then the guard
        return source.size == size or not size
    grew = source.size > size
    return earlier.stop is None and (grew or version_of(earlier.stamp) == version_of(source.stamp))


def entry_of(
    path: str,
    stamp: str,
    start: Read,
    stop: bytes | None,
    *,
    layout: bytes | None = None,
    problem: str = "",
    statistics: bytes | None = None,
) -> IndexEntry:
    """The entry of a run, by its start and stop documents."""
    raw, doc = start
    time, odd_time = comparable_times(doc)
    scan_id = comparable(doc.get("scan_id"))
    return IndexEntry(
        path, stamp, str(doc["uid"]), time, odd_time, scan_id, raw, stop, layout, problem, statistics
    )  # fmt: skip
