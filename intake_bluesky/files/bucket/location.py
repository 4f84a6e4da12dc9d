"""The folder of a catalog in a bucket: where its runs are, the parts of those being written, and its index."""

from __future__ import annotations

import os
import re
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from contextlib import suppress
from hashlib import blake2b
from itertools import accumulate
from typing import Any, Final

from intake_bluesky.errors import WrongSetting
from intake_bluesky.files.content.file_location import RemoteLocation
from intake_bluesky.files.content.listing import FileListing
from intake_bluesky.files.content.source import ByteSource, RemoteSource, remote_stamp
from intake_bluesky.objects import ObjectInfo, Objects, Span
from intake_bluesky.objects.connect import is_plain
from intake_bluesky.runtime.secrets import shown

__all__ = ["INDEX", "BucketLocation", "PartsSource", "without_slash"]

INDEX: Final = "_index"
PARTS: Final = "_parts"
LOOKS: Final = 3
"""How often a run is looked at that has a gap: a listing that is not of one moment may have missed a part."""
PART_NAME: Final = re.compile(r".*[/\\][0-9a-f]{16}", re.DOTALL)


def without_slash(url: str | os.PathLike[str]) -> str:
    """The address of a folder in one form: absolute where it is on this machine.

    Examples
    --------
    >>> without_slash("s3://bucket/runs/"), without_slash("file:///data/runs")
    ('s3://bucket/runs', '/data/runs')
    """
    text = os.fspath(url)
    scheme, mark, rest = text.partition("://")
    if not mark:
        return os.path.abspath(os.path.expanduser(text))
    return os.path.abspath(rest.removeprefix("localhost")) if scheme in ("file", "local") else text.rstrip("/")


def _checked_name(url: str) -> str:
    """Refuse a name that some servers take for another: runs written there would not be listed."""
    name = url.partition("://")[2].partition("/")[2]
    if not is_plain(name) or "\\" in name:
        raise WrongSetting(
            f"{shown(url)!r} cannot be the folder of a catalog: write it without empty parts (//), '.', '..', "
            "backslashes and control characters, which servers understand differently"
        )
    return url


class BucketLocation(RemoteLocation):
    """The folder of a catalog, in an object store or on disk.

    A run is in the object ``<uid>.jsonl.zst`` (or what else the codec's suffix is). While it is written, that object
    is its beginning, and what follows is in objects ``_parts/<name of the run's>/<offset>``, each named by the place of
    its first byte. A part may be put again with the bytes of those after it, which are deleted later. The last thing a
    writer does is to put the whole run in the place of its beginning. Bytes that were there once stay where they were
    in the run, so that a reader who is at a part may go on in an earlier one, or in the whole.
    """

    def __init__(self, url: str, suffixes: Sequence[str], storage_options: Mapping[str, Any]) -> None:
        super().__init__(_checked_name(without_slash(url)), suffixes, storage_options)

    @property
    def is_local(self) -> bool:
        """Whether the folder is on this machine."""
        return "://" not in self.pattern

    @property
    def name(self) -> str:
        """The name of the folder among the objects."""
        return self._connected()[1]

    @property
    def home(self) -> None:
        """None: its index is not a copy of somebody's."""
        return

    def listing(self) -> FileListing:
        """List the runs' objects, whatever signs are in the name of the folder."""
        objects = self.objects
        try:
            listed = list(objects.list(self.name))
        except FileNotFoundError:
            if self.is_local:  # a mistake, more often than not
                raise
            listed = []  # buckets have no folders: nothing was put there yet
        found = [info for info in listed if info.name.endswith(self.endings)]
        return FileListing("", [objects.url(info.name) for info in found], told=tuple(map(remote_stamp, found)))

    def holds(self, path: str) -> bool:
        return path.startswith(self.path(""))

    def below(self, *parts: str) -> str:
        """The name of something in the folder."""
        return "/".join(part for part in (self.name, *parts) if part)

    def path(self, name: str) -> str:
        """The address of a run's object, by its name in the folder, as listings have it."""
        return f"{self.objects.url(self.name).rstrip('/')}/{name}"

    def parts_of(self, path: str) -> list[ObjectInfo]:
        """The parts of a run being written, in their order."""
        with suppress(FileNotFoundError):
            found = self.objects.list(self.below(PARTS, path.rpartition("/")[2]))
            return [info for info in found if PART_NAME.fullmatch(info.name)]
        return []

    def part(self, path: str, offset: int) -> str:
        """The name of the part that begins there."""
        return self.below(PARTS, path.rpartition("/")[2], f"{offset:016x}")

    def open(self, path: str) -> ByteSource:
        for _ in range(LOOKS):
            pieces, gap = self._pieces(path)
            if not gap:
                break
        first = pieces[0]
        if len(pieces) == 1:
            return RemoteSource(self.objects, first.name, first.size, remote_stamp(first), self._checked(first.tag))
        return PartsSource(self.objects, pieces)

    def _pieces(self, path: str) -> tuple[list[ObjectInfo], bool]:
        """The objects that a run lies in, one after the other; and whether there are more behind a gap."""
        # The parts first: of a run that is finished meanwhile, what is looked at next is the whole.
        parts = self.parts_of(path)
        first = self.objects.head(self.objects.name_of(path))
        pieces, end = [first], first.size
        for part in parts:
            offset = int(part.name.rpartition("/")[2], 16)
            if offset > end:
                return pieces, True
            if offset == end:  # else it is in one before it, too
                pieces.append(part)
                end += part.size
        return pieces, False


class PartsSource(ByteSource):
    """The beginning of a run being written, and the parts that follow it, as one file."""

    def __init__(self, objects: Objects, pieces: Sequence[ObjectInfo]) -> None:
        self._objects, self._pieces = objects, pieces
        self._starts = [0, *accumulate(piece.size for piece in pieces)]
        self.size = self._starts[-1]
        tags = "\0".join(f"{piece.name} {piece.tag}" for piece in pieces)
        self.stamp = f"{self.size:x}-parts-{blake2b(tags.encode(), digest_size=16).hexdigest()}"

    def read(self, start: int, stop: int) -> bytes:
        stop = min(stop, self.size)
        if start >= stop:
            return b""
        first = bisect_right(self._starts, start) - 1
        last = bisect_right(self._starts, stop - 1)
        # Without tags: the last part grows, and what it had stays.
        spans = [
            Span(piece.name, max(start - begin, 0), min(stop - begin, piece.size))
            for piece, begin in zip(self._pieces[first:last], self._starts[first:last], strict=True)
        ]
        found = self._objects.ranges(spans)
        return b"".join(
            self._merged(number, span, part) if isinstance(part, Exception) else part
            for number, (span, part) in enumerate(zip(spans, found, strict=True), first)
        )

    def _merged(self, number: int, span: Span, error: Exception) -> bytes:
        """The bytes of a piece that is in an earlier one meanwhile, or in the whole."""
        if not isinstance(error, FileNotFoundError):
            raise error
        start, length = self._starts[number] + span.start, span.stop - span.start
        for earlier in reversed(range(number)):
            begin = start - self._starts[earlier]
            with suppress(FileNotFoundError):
                data = self._objects.range(self._pieces[earlier].name, begin, begin + length)
                if len(data) == length:
                    return data
        raise error
