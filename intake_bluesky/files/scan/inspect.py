"""One look at one file: an entry for the index, by its two ends or by a scan, whatever is in the file."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import closing, suppress
from typing import Final, NamedTuple, TypeAlias

from intake_bluesky.files.codec import Codec
from intake_bluesky.files.content.decompress import compression_of, content_of
from intake_bluesky.files.content.file_location import shown
from intake_bluesky.files.content.source import ByteSource, same_file, stamp_of, version_of
from intake_bluesky.files.scan.index_entries import END, glance, scan
from intake_bluesky.files.scan.scanner import NotARun
from intake_bluesky.index.index import IndexEntry
from intake_bluesky.objects import ObjectReplaced
from intake_bluesky.runtime import git_lfs

__all__ = ["Opener", "Task", "look", "look_at_written", "with_statistics"]

MOST: Final = 1 << 23  # bytes that a compressed file becomes which is looked at whole
Opener: TypeAlias = Callable[[str, str], ByteSource | None]
"""Opens a file by its path; with the stamp of a listing, without a look at it, or None where that is not possible."""


class Task(NamedTuple):
    """A file to look at."""

    path: str
    stamp: str = ""  # as listed
    earlier: IndexEntry | None = None  # what is known of it, to go on from there
    deep: bool = False  # scan it, whatever its ends hold
    ends: tuple[bytes, bytes] | None = None  # its beginning and end, where they were fetched already
    measured: tuple[str, bytes] | None = None  # the packed statistics of one version of it, which was written here


def look(codec: Codec, opened: Opener, task: Task) -> IndexEntry:
    """Make the entry of a file; that of one which cannot be read, or is no run, has the problem."""
    return with_statistics(_looked_at(codec, opened, task), task.measured)


def look_at_written(written: IndexEntry, measured: tuple[str, bytes] | None) -> IndexEntry | None:
    """Make the entry of a file that was `written` here to its end, without opening it; None where it changed since."""
    try:
        stamp = stamp_of(os.stat(written.path))
    except OSError:
        return None
    return with_statistics(written._replace(stamp=stamp), measured) if same_file(stamp, written.stamp) else None


def with_statistics(entry: IndexEntry, measured: tuple[str, bytes] | None) -> IndexEntry:
    """The entry with the statistics of what was written, where they are of its version."""
    if measured is None or entry.statistics is not None or entry.stop is None:
        return entry
    version, statistics = measured
    return entry._replace(statistics=statistics) if version_of(entry.stamp) == version else entry


def _looked_at(codec: Codec, opened: Opener, task: Task) -> IndexEntry:
    path, stamp = task.path, task.stamp
    if task.ends is not None:
        seen = glance(codec, path, stamp, *task.ends)
        if seen is not None:
            return seen
    try:
        if (listed := _by_listing(codec, opened, task)) is not None:
            return listed
        source = opened(path, "")
        assert source is not None  # without a stamp it is opened, or an error
        with closing(source):
            stamp = source.stamp
            return _entry(codec, source, task)
    except NotARun as error:
        return IndexEntry(path, stamp, problem=f"not a run: {error}")
    except OSError as error:  # without a stamp, so that it is looked at again: what is in the way may pass
        return IndexEntry(path, "", problem=f"cannot be read: {shown(str(error))}")
    except Exception as error:  # noqa: BLE001  # whatever a file does to its codec, the others open
        return IndexEntry(path, stamp, problem=f"cannot be read: {type(error).__name__}: {error}")


def _by_listing(codec: Codec, opened: Opener, task: Task) -> IndexEntry | None:
    """The entry of a run that has ended, if its object is what was listed: one request, or those for its bytes."""
    # One without a stop may go on in other objects; what else there may be in the way, a look tells.
    with suppress(ObjectReplaced, FileNotFoundError, NotARun):
        source = opened(task.path, task.stamp) if task.stamp else None
        if source is not None:
            with closing(source):
                entry = _entry(codec, source, task)
            return entry if entry.stop is not None else None
    return None


def _entry(codec: Codec, source: ByteSource, task: Task) -> IndexEntry:
    if source.size == 0:
        raise NotARun("the file is empty")
    if source.size <= git_lfs.LARGEST and git_lfs.is_pointer(source.read(0, source.size)):
        raise NotARun(git_lfs.ADVICE)
    if not task.deep and (task.earlier is None or task.earlier.layout is None):
        seen = _glance(codec, task.path, source)
        if seen is not None:
            return seen
    return scan(codec, task.path, source, None if task.deep else task.earlier)[0]


def _glance(codec: Codec, path: str, source: ByteSource) -> IndexEntry | None:
    plain, size = compression_of(path) is None, source.size
    if size <= 2 * END:
        content = content_of(source, path, [(0, 0)])
        head = tail = content.read(0, MOST)
        if content.damage or len(head) == MOST:  # of which there may be very much more
            return None
    elif plain:
        head, tail = source.read(0, END), source.read(size - END, size)
    else:
        return None
    return glance(codec, path, source.stamp, head, tail)
