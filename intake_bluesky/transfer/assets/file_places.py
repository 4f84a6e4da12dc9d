"""Where copies of files go, a folder of this machine or of an object store: no file that is there is ever replaced."""

from __future__ import annotations

import hashlib
import os
import socket
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

from intake_bluesky.assets.location import Location
from intake_bluesky.errors import AssetUnavailable, UnsupportedOperation
from intake_bluesky.objects import check_installed, objects_at
from intake_bluesky.runtime.secrets import shown
from intake_bluesky.transfer.assets.copied_bytes import CopiedBytes

__all__ = ["FilePlace", "file_place"]

BLOCK: Final = 8 << 20
"""Bytes of an object that are read at once; a file of no more is put with one request."""
PASSING: Final = ".part"
"""The end of the names of files that are being written."""
LARGEST_RENAMED: Final = 5 << 30
"""Bytes that object stores copy with one request: what has more cannot be given another name."""
READ_ALONE: Final = ("http", "https")


class FilePlace(ABC):
    """A folder for copies of files, which are called by paths in it, with slashes."""

    @abstractmethod
    def at(self, path: str) -> str:
        """The path or URL of a copy, as a catalog finds it."""

    @abstractmethod
    def has(self, path: str) -> bool:
        """Whether something is there."""

    @abstractmethod
    def sha256(self, path: str) -> str:
        """The checksum of what is there, read block by block."""

    @abstractmethod
    def tidy(self, path: str, source: CopiedBytes) -> None:
        """Remove what copies of a file that were killed have left."""

    @abstractmethod
    def put(self, path: str, source: CopiedBytes) -> bool:
        """Copy a file that is not there, read it again, and give it its name; False where there is one since.

        Raises
        ------
        AssetUnavailable
            When the source cannot be read, or the copy is not what was read.
        """

    @abstractmethod
    def make(self, path: str, write: Callable[[str], None]) -> None:
        """Have a file written that is not there, by what takes its local path; where that fails, nothing stays.

        Raises
        ------
        FileExistsError
        """

    @abstractmethod
    def remove(self, path: str) -> None:
        """Remove a file, if it is there."""


def file_place(folder: str, storage_options: Mapping[str, Any]) -> FilePlace:
    """Give the place for a path or a URL of fsspec.

    Raises
    ------
    UnsupportedOperation
        Where nothing can be put there, or its address holds a secret.
    MissingDependency
    """
    scheme, mark, _ = folder.partition("://")
    if not mark:
        return _FolderPlace(Path(folder).expanduser().absolute())
    if scheme in READ_ALONE:
        raise UnsupportedOperation(f"files cannot be put on a web server, {shown(folder)}: give a folder or a bucket")
    if shown(folder) != folder:  # it would be in reports, and in the root_map of YAML files
        raise UnsupportedOperation(
            f"the address {shown(folder)} holds a secret: give it among the storage_options of the catalog"
        )
    check_installed(folder, storage_options)
    return _ObjectPlace(folder, storage_options)


class _FolderPlace(FilePlace):
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._tidied: set[Path] = set()

    def at(self, path: str) -> str:
        return str(self._folder.joinpath(*path.split("/")))

    def has(self, path: str) -> bool:
        return os.path.lexists(self.at(path))

    def sha256(self, path: str) -> str:
        return _sha256(self.at(path))

    def tidy(self, path: str, source: CopiedBytes) -> None:
        self._tidy(Path(self.at(path)).parent)

    def _tidy(self, folder: Path) -> None:
        # Elsewhere to ask for a process may end it.
        if os.name != "posix" or folder in self._tidied or not folder.is_dir():
            return
        self._tidied.add(folder)
        for part in folder.glob(f"*.{_me()}*{PASSING}"):
            number = part.name.removesuffix(PASSING).rpartition("-")[2]
            if number.isdecimal() and not _runs(int(number)):
                part.unlink(missing_ok=True)

    def put(self, path: str, source: CopiedBytes) -> bool:
        copy = Path(self.at(path))
        copy.parent.mkdir(parents=True, exist_ok=True)
        self.tidy(path, source)
        part = copy.with_name(f"{copy.name}.{_me()}{os.getpid()}{PASSING}")
        try:
            with open(part, "wb") as file:
                file.writelines(source.blocks())
                file.flush()
                os.fsync(file.fileno())
            _check(_sha256(str(part)), source, copy.parent)
            with suppress(OSError):
                found = os.stat(source.path)
                os.utime(part, ns=(found.st_atime_ns, found.st_mtime_ns))
            objects, name = objects_at(str(part))
            objects.rename(name, str(copy))
        except FileExistsError:
            return False
        finally:
            part.unlink(missing_ok=True)
        return True

    def make(self, path: str, write: Callable[[str], None]) -> None:
        made = Path(self.at(path))
        made.parent.mkdir(parents=True, exist_ok=True)
        self._tidy(made.parent)
        part = made.with_name(f"{made.name}.{_me()}{os.getpid()}{PASSING}")
        try:
            write(str(part))
            with open(part, "rb") as file:
                os.fsync(file.fileno())
            objects, name = objects_at(str(part))
            objects.rename(name, str(made))
        finally:
            part.unlink(missing_ok=True)

    def remove(self, path: str) -> None:
        Path(self.at(path)).unlink(missing_ok=True)


def _me() -> str:
    return f"{hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]}-"


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True


class _ObjectPlace(FilePlace):
    def __init__(self, folder: str, storage_options: Mapping[str, Any]) -> None:
        self._objects, self._folder = objects_at(folder, storage_options)

    def at(self, path: str) -> str:
        return self._objects.url(self._name(path))

    def _name(self, path: str) -> str:
        return f"{self._folder.rstrip('/')}/{path}" if self._folder else path

    def has(self, path: str) -> bool:
        try:
            self._objects.head(self._name(path))
        except FileNotFoundError:
            return False
        return True

    def sha256(self, path: str) -> str:
        return self._sha256(self._name(path))

    def _sha256(self, name: str) -> str:
        digest = hashlib.sha256()
        for block in self._blocks(name):
            digest.update(block)
        return digest.hexdigest()

    def _blocks(self, name: str) -> Iterator[bytes]:
        info = self._objects.head(name)
        for begin in range(0, info.size, BLOCK):
            end = min(begin + BLOCK, info.size)
            block = self._objects.range(name, begin, end, info.tag)
            if len(block) != end - begin:
                raise AssetUnavailable(f"{self._objects.url(name)} ends before the {info.size:,} bytes that it is told")
            yield block

    def tidy(self, path: str, source: CopiedBytes) -> None:
        if source.expected > BLOCK:
            self._objects.delete([_passing(self._name(path), source)])

    def put(self, path: str, source: CopiedBytes) -> bool:
        name = self._name(path)
        try:
            if source.expected <= BLOCK:
                self._objects.create(name, b"".join(source.blocks()))
                self._verify(name, source)
            elif source.expected > LARGEST_RENAMED:
                self._objects.put(name, cast("BinaryIO", source))
                self._verify(name, source)
            else:
                self._put_large(name, source)
        except FileExistsError:
            return False
        except OSError:
            source.check()  # what it raised, by the one who knows it
            raise
        return True

    def make(self, path: str, write: Callable[[str], None]) -> None:
        with tempfile.TemporaryDirectory(prefix="intake-bluesky-") as folder:
            made = os.path.join(folder, path.rpartition("/")[2])
            write(made)
            with CopiedBytes(Location(made)) as source:
                if not self.put(path, source):
                    raise FileExistsError(self.at(path))

    def remove(self, path: str) -> None:
        self._objects.delete([self._name(path)])

    def _put_large(self, name: str, source: CopiedBytes) -> None:
        passing = _passing(name, source)
        self._objects.put(passing, cast("BinaryIO", source))
        try:
            self._verify(passing, source)
            self._objects.rename(passing, name)
        except FileNotFoundError:  # another copy of the same file was faster, and took this one away
            self._objects.head(name)
            raise FileExistsError(name) from None
        except FileExistsError:
            self._objects.delete([passing])
            raise

    def _verify(self, name: str, source: CopiedBytes) -> None:
        """Read a copy again; what is not what was read is taken away, since it was put just now."""
        try:
            _check(self._sha256(name), source, self._objects.url(name))
        except AssetUnavailable:
            self._objects.delete([name])
            raise


def _passing(name: str, source: CopiedBytes) -> str:
    """By what is copied: who copies the same file writes the same bytes, and a later copy takes up the name."""
    return f"{name}.{source.version}{PASSING}"


def _check(found: str, source: CopiedBytes, where: object) -> None:
    source.check()
    if found != source.sha256:
        raise AssetUnavailable(f"the copy of {source.path} in {where} is not what was read: is the storage sound?")


def _sha256(path: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
