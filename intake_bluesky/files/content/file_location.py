"""Where the files are: patterns, local or of any fsspec filesystem, listed and opened."""

from __future__ import annotations

import fnmatch
import glob
import os
import re
import stat
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from intake_bluesky.files.content.decompress import COMPRESSED
from intake_bluesky.files.content.listing import FileListing, is_removed
from intake_bluesky.files.content.source import (
    ByteSource,
    LocalSource,
    RemoteSource,
    local_stamp,
    remote_stamp,
    size_of,
    tag_of,
)
from intake_bluesky.objects import ObjectInfo, Objects, Span, check_installed, objects_at
from intake_bluesky.objects.local import LocalObjects
from intake_bluesky.runtime.patterns import as_pattern, fixed_part, is_pattern
from intake_bluesky.runtime.processes import PerProcess
from intake_bluesky.runtime.secrets import shown

__all__ = ["FileLocation", "LocalLocation", "RemoteLocation", "location_of", "shown"]


def location_of(
    path: str | os.PathLike[str], suffixes: Sequence[str], storage_options: Mapping[str, Any]
) -> FileLocation:
    """The location that a path, a pattern or a URL names; nothing is looked at."""
    text = os.fspath(path)
    protocol, mark, rest = text.partition("://")
    if not mark and "::" not in text:
        return LocalLocation(os.path.abspath(os.path.expanduser(text)), suffixes)
    if protocol in ("file", "local"):
        return LocalLocation(os.path.abspath(rest.removeprefix("localhost")), suffixes)
    return RemoteLocation(text, suffixes, storage_options)


class FileLocation(ABC):
    """One of the paths a store was given."""

    pattern: str  # absolute

    def __init__(self, pattern: str, suffixes: Sequence[str]) -> None:
        self.pattern = pattern
        self.endings = tuple(suffix + end for suffix in suffixes for end in ("", *COMPRESSED))

    @property
    def folder(self) -> str | None:
        """The local folder in which new files can be made, if there is one."""
        return None

    def check_installed(self) -> None:
        """Raise `MissingDependency` where the package that opens it is not there."""

    @abstractmethod
    def listing(self) -> FileListing:
        """List the files with what shows whether they changed.

        Raises
        ------
        OSError
            Where the location cannot be looked into; FileNotFoundError where there is none.
        """

    def changed(self) -> int | None:
        """When a file was last added or removed, in nanoseconds; None where that takes a listing to tell."""
        return None

    @property
    @abstractmethod
    def home(self) -> str | None:
        """The folder that holds all files, with its separator, as in their paths; None for one file alone."""

    @abstractmethod
    def holds(self, path: str) -> bool:
        """Whether a path of the index may be one of this location."""

    @abstractmethod
    def open(self, path: str) -> ByteSource:
        """Open a file for reading."""

    def open_listed(self, path: str, stamp: str) -> ByteSource | None:
        """Open a file as it was listed, without a look at it; None where reading would not tell that it is another."""
        return None

    @abstractmethod
    def fetch(self, path: str) -> bytes:
        """All of a file beside those of runs."""

    @abstractmethod
    def store(self, path: str, data: bytes) -> None:
        """Put such a file there, all of it at once, in place of one of that name."""


class LocalLocation(FileLocation):
    """A folder, a file, or a pattern of files on disk."""

    @property
    def folder(self) -> str | None:
        return os.path.dirname(self.pattern) if self._matches_files else self.pattern

    @property
    def home(self) -> str | None:
        if os.path.isdir(self.pattern):
            return os.path.join(self.pattern, "")
        fixed = fixed_part(self.pattern)
        return None if fixed == self.pattern else fixed + os.sep

    @property
    def _matches_files(self) -> bool:
        # A folder may be called like a pattern, or like a file of runs.
        named = glob.has_magic(self.pattern) or self.pattern.endswith(self.endings)
        return named and not os.path.isdir(self.pattern)

    def matches(self, path: str) -> bool:
        """Whether a file at this path, were there one, would be listed."""
        if self._matches_files:
            return fnmatch.fnmatchcase(path, as_pattern(self.pattern)) and not is_removed(path, self.pattern)
        return os.path.dirname(path) == self.pattern and path.endswith(self.endings)

    def listing(self) -> FileListing:
        if os.path.isdir(self.pattern):
            return _scandir(self.pattern, lambda name: name.endswith(self.endings))
        folder, last = os.path.split(self.pattern)
        if not is_pattern(self.pattern):
            return _looked_at([self.pattern])
        if is_pattern(folder) or last == "**":
            found = glob.iglob(as_pattern(self.pattern), recursive=True)
            return _looked_at(path for path in found if os.path.isfile(path) and not is_removed(path, self.pattern))
        matches = re.compile(fnmatch.translate(last)).match
        return _scandir(folder, lambda name: matches(name) is not None)

    def changed(self) -> int | None:
        folder = self.pattern if os.path.isdir(self.pattern) else os.path.dirname(self.pattern)
        if is_pattern(folder):
            return None
        try:
            return os.stat(folder).st_mtime_ns
        except OSError:
            return None

    def holds(self, path: str) -> bool:
        return "://" not in path

    def open(self, path: str) -> ByteSource:
        return LocalSource(path)

    def fetch(self, path: str) -> bytes:
        # A link may lead to what its author cannot read; opening a pipe would wait for ever.
        if not stat.S_ISREG(os.lstat(path).st_mode):
            raise OSError(f"{path} is a link, a folder or a pipe, and no file")
        with open(path, "rb") as file:
            return file.read()

    def store(self, path: str, data: bytes) -> None:
        LocalObjects().put(path, data)

    def stamp(self, path: str) -> str:
        """The stamp of a file as it is now; empty where it cannot be looked at."""
        try:
            found = os.stat(path)
        except OSError:
            return ""
        return local_stamp(found.st_size, found.st_mtime_ns, found.st_ctime_ns)

    def is_gone(self, path: str) -> bool:
        """Whether there is nothing at a path, not even a link to nowhere."""
        return not os.path.lexists(path)


def _looked_at(paths: Iterable[str]) -> FileListing:
    listed = FileListing("")
    for path in paths:
        listed.add(path, os.stat(path))
    return listed


def _scandir(folder: str, wanted: Callable[[str], bool]) -> FileListing:
    """List a folder; nearly all it costs is the look at each file, which an open folder makes a little cheaper."""
    listed = FileListing(os.path.join(folder, ""))
    # Windows opens no folders.
    place = os.open(folder, os.O_RDONLY) if os.scandir in os.supports_fd else None
    try:
        with os.scandir(folder if place is None else place) as entries:
            _add_all(listed, (entry for entry in entries if wanted(entry.name) and entry.name[0] != "."))
    finally:
        if place is not None:
            os.close(place)
    return listed


def _add_all(listed: FileListing, entries: Iterable[os.DirEntry[str]]) -> None:
    regular = stat.S_ISREG
    for entry in entries:
        try:
            found = entry.stat()
        except OSError:  # a link to nowhere: opening it gives the reason
            listed.add(entry.name, None)
        else:
            if regular(found.st_mode):
                listed.add(entry.name, found)


class RemoteLocation(FileLocation):
    """A folder, a file or a pattern in an object store, or on any other filesystem of fsspec."""

    def __init__(self, pattern: str, suffixes: Sequence[str], storage_options: Mapping[str, Any]) -> None:
        super().__init__(pattern, suffixes)
        self._options = dict(storage_options)
        self._prefix = pattern.partition("://")[0] + "://"
        self._opened: PerProcess[tuple[Objects, str]] = PerProcess()

    def check_installed(self) -> None:
        check_installed(self.pattern, self._options)

    def _connected(self) -> tuple[Objects, str]:
        return self._opened.get(lambda: objects_at(self.pattern, self._options))

    @property
    def objects(self) -> Objects:
        """The objects of the bucket or filesystem."""
        return self._connected()[0]

    def listing(self) -> FileListing:
        objects, name = self._connected()
        if (fixed := self._fixed_part()) != name:
            found = [
                info for info in objects.list(fixed, name[len(fixed) :].lstrip("/")) if not is_removed(info.name, name)
            ]
        elif name.endswith(self.endings):
            found = self._file_or_folder(name)
        else:
            found = self._folder_or_file(name)
        return FileListing("", [objects.url(info.name) for info in found], told=tuple(map(remote_stamp, found)))

    def _folder_or_file(self, name: str) -> list[ObjectInfo]:
        try:
            return [info for info in self.objects.list(name) if info.name.endswith(self.endings)]
        except FileNotFoundError:
            return [self.objects.head(name)]

    def _file_or_folder(self, name: str) -> list[ObjectInfo]:
        """By its name it is a file, and a folder may be called like one."""
        with suppress(OSError):
            return [self.objects.head(name)]
        return self._folder_or_file(name)

    @property
    def home(self) -> str | None:
        objects, name = self._connected()
        if (fixed := self._fixed_part()) != name:
            return objects.url(f"{fixed}/") if fixed else None
        return None if name.endswith(self.endings) else f"{objects.url(name).rstrip('/')}/"

    def _fixed_part(self) -> str:
        _, name = self._connected()
        # Each look is a request: names with brackets are common, those with stars are not.
        return fixed_part(name, lambda path: "[" in path.rpartition("/")[2] and self._is_there(path), "/")

    def _is_there(self, name: str) -> bool:
        for look in (self.objects.head, self.objects.list):
            with suppress(FileNotFoundError):
                look(name)
                return True
        return False

    def holds(self, path: str) -> bool:
        return path.startswith(self._prefix)

    def open(self, path: str) -> ByteSource:
        info = self.objects.head(self.objects.name_of(path))
        return RemoteSource(self.objects, info.name, info.size, remote_stamp(info), self._checked(info.tag))

    def fetch(self, path: str) -> bytes:
        return self.objects.get(self.objects.name_of(path))[0]

    def store(self, path: str, data: bytes) -> None:
        self.objects.put(self.objects.name_of(path), data)

    def trusted(self, path: str, stamp: str) -> ByteSource:
        """Open a file without asking whether it is still the one listed: one request less."""
        name, tag = self.objects.name_of(path), self._checked(tag_of(stamp))
        return RemoteSource(self.objects, name, size_of(stamp), stamp, tag)

    def open_listed(self, path: str, stamp: str) -> ByteSource | None:
        return self.trusted(path, stamp) if self._checked(tag_of(stamp)) else None

    def _checked(self, tag: str) -> str:
        """The tag by which parts are checked to be of one version; filesystems of fsspec would be asked each time."""
        return tag if self.objects.atomic else ""

    def ends(self, paths: Sequence[str], stamps: Mapping[str, str], end: int) -> dict[str, tuple[bytes, bytes]]:
        """Fetch beginning and end of many files at once, which is faster than one by one."""
        sizes = [size_of(stamps[path]) for path in paths]
        names = [self.objects.name_of(path) for path in paths]
        # So much that a small file is whole in it, and needs no second request.
        heads = [Span(name, 0, min(size, 2 * end)) for name, size in zip(names, sizes, strict=True)]
        longer = [n for n, size in enumerate(sizes) if size > 2 * end]
        tails = [Span(names[n], sizes[n] - end, sizes[n]) for n in longer]
        found = self.objects.ranges([*heads, *tails])
        ending = dict(zip(longer, found[len(heads) :], strict=True))
        pairs = ((path, head, ending.get(n, head)) for n, (path, head) in enumerate(zip(paths, found, strict=False)))
        # One that cannot be had is opened by itself later on.
        return {path: (head, tail) for path, head, tail in pairs if isinstance(head, bytes) and isinstance(tail, bytes)}
