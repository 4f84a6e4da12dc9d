"""A remote file, read like any file: small parts in blocks, large ones and those asked for beforehand as they are."""

from __future__ import annotations

import errno
import io
import os
import threading
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Any, Final, NamedTuple, TypeVar

from intake_bluesky.assets.remote.kept_blocks import BLOCK, KeptBlocks
from intake_bluesky.errors import AssetUnavailable, IntakeBlueskyError
from intake_bluesky.objects import ObjectInfo, ObjectReplaced, Objects, Span
from intake_bluesky.runtime.secrets import shown

__all__ = ["ByteRange", "FileReplaced", "RemoteFile", "unavailable"]

PART: Final = 8 << 20
"""Bytes of a request at most: more are several, at one time."""
GAP: Final = BLOCK
"""Bytes between two ranges that are fetched along rather than asked for apart."""
HEAD_BLOCKS: Final = 4
"""Blocks that are fetched first, of a file of which nothing is known."""
MOST_AHEAD: Final = 64
"""Blocks fetched at once, of a file that is read from block to block."""
AHEAD: Final = 2
"""Pieces whose ranges are fetched at one time: with more of them the first one would come late on a slow network."""

Piece = TypeVar("Piece")


class ByteRange(NamedTuple):
    """Bytes of a file from `start` up to `stop`."""

    start: int
    stop: int


class FileReplaced(AssetUnavailable):
    """A file is another by now than the one that was opened."""


class RemoteFile(io.RawIOBase):
    """One version of a remote file; if it is replaced while it is read, reading raises.

    Threads may share it as HDF5 does, which lets one at a time seek and read; each has its own of what is `held`.

    Parameters
    ----------
    objects : Objects
    name : str
        Of the file, among them.
    info : ObjectInfo
        The version.
    known : KeptBlocks
        Of this version.
    exact : bool
        Raise at the end of the file: HDF5 takes for values what is in the memory that was not filled.
    on_replaced : callable, optional
        Called when it is found to be another version.
    """

    def __init__(
        self, objects: Objects, name: str, info: ObjectInfo, known: KeptBlocks, *, exact: bool = False,
        on_replaced: Callable[[], None] | None = None,
    ) -> None:  # fmt: skip
        self._on_replaced = on_replaced
        self._objects, self._name, self._info, self.known, self._exact = objects, name, info, known, exact
        self.name = objects.url(name)
        self.size = info.size
        self._position = 0
        self._follows, self._run = -1, 1
        self._here = threading.local()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self.size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def readinto(self, buffer: Any, /) -> int:
        out = memoryview(buffer).cast("B")
        count = max(0, min(len(out), self.size - self._position))
        if self._exact and count < len(out):
            raise AssetUnavailable(
                f"{shown(self.name)} has {self.size} bytes, and was to have {self._position + len(out)}: it is cut off"
            )
        self._fill(self._position, out[:count])
        self._position += count
        return count

    def readall(self) -> bytes:
        data = bytearray(max(0, self.size - self._position))
        self.readinto(data)
        return bytes(data)

    def begin(self) -> None:
        """Fetch the beginning, if nothing is known of the file."""
        if self.size and not self.known.blocks:
            self._block(0)

    def fetch_ahead(self, pieces: Iterable[tuple[Piece, Iterable[ByteRange]]]) -> Iterator[Piece]:
        """Yield pieces of work, each when the ranges that it needs are here, from which this thread then reads.

        The ranges of the next are fetched meanwhile: the network does not wait for what is done with one.
        """
        waiting: deque[tuple[Piece, list[ByteRange], Future[list[bytes]]]] = deque()
        pool = ThreadPoolExecutor(AHEAD)  # its threads begin when they are needed
        try:
            left = iter(pieces)
            while True:
                for piece, ranges in islice(left, AHEAD + 1 - len(waiting)):
                    merged = _merged(part for part in ranges if part.stop <= self.size)
                    waiting.append((piece, merged, pool.submit(self._fetch, merged)))
                if not waiting:
                    return
                piece, self._here.ranges, fetched = waiting.popleft()
                self._here.data = fetched.result()
                yield piece
        finally:
            self._here.ranges = self._here.data = ()
            pool.shutdown(cancel_futures=True)

    def close(self) -> None:
        self.known.save()
        super().close()

    def _fill(self, start: int, out: memoryview) -> None:
        done = 0
        while done < len(out):
            at = start + done
            found = self._held(at)
            if found is None and len(out) - done > BLOCK:
                rest = _merged([ByteRange(at, start + len(out))])
                for part, data in zip(rest, self._fetch(rest), strict=True):
                    out[part.start - start : part.stop - start] = data
                return
            if found is None:
                found = memoryview(self._block(at // BLOCK))[at % BLOCK :]
            piece = found[: len(out) - done]
            out[done : done + len(piece)] = piece
            done += len(piece)

    def _held(self, at: int) -> memoryview | None:
        ranges: Sequence[ByteRange] = getattr(self._here, "ranges", ())
        number = bisect_right(ranges, at, key=lambda part: part.start) - 1
        if number < 0 or at >= ranges[number].stop:
            return None
        return memoryview(self._here.data[number])[at - ranges[number].start :]

    def _block(self, number: int) -> bytes:
        blocks = self.known.blocks
        found = blocks.get(number)
        if found is not None:
            return found
        if not blocks:
            self._run = HEAD_BLOCKS
        elif number == self._follows:
            self._run = min(2 * self._run, MOST_AHEAD)
        else:
            self._run = 1
        self._follows = number + 1
        while self._follows < number + self._run and self._follows not in blocks:
            self._follows += 1
        start, stop = number * BLOCK, min(self._follows * BLOCK, self.size)
        [data] = self._fetch([ByteRange(start, stop)])
        self.known.add(start, data)
        return data[:BLOCK]

    def _fetch(self, ranges: Sequence[ByteRange]) -> list[bytes]:
        if not ranges:
            return []
        try:
            found = self._objects.ranges([Span(self._name, *part, self._info.tag) for part in ranges])
        except Exception as error:  # noqa: BLE001  # libraries of filesystems raise their own
            raise unavailable(self.name, error) from None
        fetched: list[bytes] = []
        for part, data in zip(ranges, found, strict=True):
            if isinstance(data, Exception):
                if isinstance(data, ObjectReplaced) and self._on_replaced is not None:
                    self._on_replaced()
                raise unavailable(self.name, data) from None
            if len(data) != part.stop - part.start:
                raise AssetUnavailable(
                    f"{shown(self.name)} gave {len(data)} bytes from {part.start} on, and not "
                    f"{part.stop - part.start}: it was replaced, or its server fails. Read it again"
                )
            fetched.append(data)
        return fetched


def _merged(ranges: Iterable[ByteRange]) -> list[ByteRange]:
    """Ranges in order, near ones as one, none larger than a request may be."""
    solid: list[ByteRange] = []
    for start, stop in sorted(ranges):
        if solid and start - solid[-1].stop <= GAP:
            solid[-1] = ByteRange(solid[-1].start, max(stop, solid[-1].stop))
        else:
            solid.append(ByteRange(start, stop))
    return [ByteRange(begin, min(begin + PART, stop)) for start, stop in solid for begin in range(start, stop, PART)]


def unavailable(url: str, error: Exception) -> Exception:
    """What reading a remote file raises, for what its filesystem has raised."""
    if isinstance(error, FileNotFoundError):
        return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), url)
    if isinstance(error, ObjectReplaced):
        return FileReplaced(f"{shown(url)} was replaced while it was read: read it again")
    if isinstance(error, (IntakeBlueskyError, PermissionError, NotADirectoryError, IsADirectoryError)):
        return error
    return AssetUnavailable(f"{shown(url)} cannot be read: {type(error).__name__}: {shown(str(error))}")
