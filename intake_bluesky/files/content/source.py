"""The bytes of one file, on disk or behind fsspec."""

from __future__ import annotations

import errno
import os
import stat
import time
from abc import ABC, abstractmethod
from typing import Final, Self

from intake_bluesky.objects import ObjectInfo, Objects

__all__ = [
    "ByteSource",
    "LocalSource",
    "RemoteSource",
    "is_certain",
    "is_same",
    "is_unproved",
    "local_stamp",
    "remote_stamp",
    "same_file",
    "size_of",
    "stamp_of",
    "tag_of",
    "unproved",
    "version_of",
]

WHOLE: Final = 1 << 16  # bytes of an object that is fetched whole
AHEAD: Final = 8 << 20  # bytes of one that is read from end to end, fetched at once
TICK: Final = 20_000_000  # nanoseconds: two changes of a file this close may get one time from the system's clock
COARSE: Final = 2_000_000_000  # and this close on filesystems that count seconds
YOUNG: Final = "~"  # ends the stamp of a file that may change once more and keep it
UNPROVED: Final = "?"  # ends the stamp of a file that nobody here has looked into
REPLACED: Final = "_"  # stands for these and the next where a store's own tag has them
TIMES: Final = "|"  # before what a stamp has and a version has not


class ByteSource(ABC):
    """One file, open for reading by one thread."""

    size: int  # bytes of the file when it was opened: what came later is not read
    stamp: str  # changes when the file does, where `is_certain`
    sequential = False  # whether it is read from its beginning to its end

    @abstractmethod
    def read(self, start: int, stop: int) -> bytes:
        """Read the bytes from `start` up to `stop`; fewer where the file ends before."""

    def close(self) -> None:
        """Let go of the file."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def local_stamp(size: int, modified: int, changed: int) -> str:
    """Size, time of the last modification, and time at which anything about the file changed, in nanoseconds.

    The last differs for a file that was put in place of another, or written and given its old time again.
    """
    return f"{size:x}-{modified:x}{TIMES}{changed:x}"


def version_of(stamp: str) -> str:
    """What of a stamp outlives copying, renaming and a change of permissions: size and time of modification.

    Examples
    --------
    >>> version_of(local_stamp(255, 16, 17))
    'ff-10'
    """
    return stamp.partition(TIMES)[0].rstrip(YOUNG + UNPROVED)


def size_of(stamp: str) -> int:
    """The size in a stamp; 0 where the filesystem gave none."""
    return int(stamp.partition("-")[0] or "0", 16)


def is_certain(stamp: str) -> bool:
    """Whether a file that has this stamp is for certain the one that was looked at.

    Examples
    --------
    >>> is_certain("ff-10|11"), is_certain("ff-10|11~"), is_certain("")
    (True, False, False)
    """
    return bool(stamp) and not stamp.endswith((YOUNG, UNPROVED))


def same_file(stamp: str, other: str) -> bool:
    """Whether two stamps are of one state of a file, however certain each is.

    Examples
    --------
    >>> same_file("ff-10|11~", "ff-10|11"), same_file("ff-10|11", "ff-10|12")
    (True, False)
    """
    return stamp.rstrip(YOUNG + UNPROVED) == other.rstrip(YOUNG + UNPROVED)


def is_unproved(stamp: str) -> bool:
    """Whether `unproved` made this stamp."""
    return stamp.endswith(UNPROVED)


def is_same(known: str | None, stamp: str) -> bool:
    """Whether a file listed with a stamp is the one that an entry describes."""
    return bool(stamp and known) and (known == stamp or known == unproved(stamp))


def unproved(stamp: str) -> str:
    """The stamp of a listing, for an entry that others published and that fits it as far as can be seen."""
    return stamp + UNPROVED


class LocalSource(ByteSource):
    """A file on disk."""

    def __init__(self, path: str) -> None:
        self._file: int | None = os.open(path, os.O_RDONLY | _BINARY | _AT_ONCE)  # `open` does more
        self._place = 0
        found = os.fstat(self._file)
        if not stat.S_ISREG(found.st_mode):
            self.close()
            raise OSError(errno.EINVAL, "it is a folder, a pipe or a device, and no file", path)
        self.size = found.st_size
        self.stamp = stamp_of(found)

    def read(self, start: int, stop: int) -> bytes:
        if self._file is None:
            raise ValueError("the file is closed")
        if start != self._place:
            os.lseek(self._file, start, os.SEEK_SET)
        # In a loop: the system may give less than was asked for, as it does of 2 GiB.
        wanted = min(stop, self.size) - start
        parts: list[bytes] = []
        while wanted > 0 and (part := os.read(self._file, wanted)):
            parts.append(part)
            wanted -= len(part)
        found = parts[0] if len(parts) == 1 else b"".join(parts)
        self._place = start + len(found)
        return found

    def close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            os.close(file)


_AT_ONCE: Final[int] = getattr(os, "O_NONBLOCK", 0)  # a pipe would make us wait until somebody writes to it
_BINARY: Final[int] = getattr(os, "O_BINARY", 0)  # Windows would translate the ends of lines


def stamp_of(found: os.stat_result) -> str:
    """The stamp of a file by a look at it just now."""
    last = max(found.st_mtime_ns, found.st_ctime_ns)
    # A time without a fraction of a millisecond is likely from a filesystem that counts seconds.
    tick = TICK if found.st_mtime_ns % 1_000_000 else COARSE
    stamp = local_stamp(found.st_size, found.st_mtime_ns, found.st_ctime_ns)
    return stamp + YOUNG if time.time_ns() - last < tick else stamp


def remote_stamp(info: ObjectInfo) -> str:
    """Size, and what else is told that changes with the content."""
    mark = info.tag
    for sign in (TIMES, YOUNG, UNPROVED):
        # These signs mean something in a stamp.
        mark = mark.replace(sign, REPLACED)
    return f"{info.size:x}-{mark}"


def tag_of(stamp: str) -> str:
    """The tag in the stamp of an object; empty where it is not there as the store gave it.

    Examples
    --------
    >>> tag_of(remote_stamp(ObjectInfo("a", 255, "5d41", 0.0))), tag_of("ff-5d41?")
    ('5d41', '')
    """
    tag = stamp.partition("-")[2]
    return "" if REPLACED in tag or tag.endswith(UNPROVED) else tag


class RemoteSource(ByteSource):
    """An object of a bucket or of any fsspec filesystem; each `read` is one request for a range of bytes, at most.

    A small object is fetched whole, once. One that is read from end to end is fetched in ranges that grow.
    """

    def __init__(self, objects: Objects, name: str, size: int, stamp: str, tag: str = "") -> None:
        self._objects, self._name, self._tag, self.size, self.stamp = objects, name, tag, size, stamp
        self._start, self._held = 0, b""

    def read(self, start: int, stop: int) -> bytes:
        stop = min(stop, self.size)
        if start >= stop:
            return b""
        end = self._start + len(self._held)
        if not self._start <= start <= stop <= end:
            first, last = (0, self.size) if self.size <= WHOLE else (start, stop)
            if self.sequential and start == end:
                last = min(self.size, max(stop, start + min(2 * len(self._held), AHEAD)))
            self._start, self._held = first, self._objects.range(self._name, first, last, self._tag)
        return self._held[start - self._start : stop - self._start]
