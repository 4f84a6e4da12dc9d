"""Writing one run into a file of its own."""

from __future__ import annotations

import os
import re
import threading
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from zstandard import COMPRESSOBJ_FLUSH_BLOCK, ZstdCompressor

from intake_bluesky.documents.model import Document
from intake_bluesky.documents.running_statistics import Watching
from intake_bluesky.errors import DuplicateRun, StoreUnavailable, UnsupportedOperation, UntrustedName
from intake_bluesky.files.content.decompress import COMPRESSIONS
from intake_bluesky.files.content.file_location import LocalLocation, shown
from intake_bluesky.files.content.source import stamp_of, version_of
from intake_bluesky.files.indexed_files import IndexedFiles
from intake_bluesky.files.scan.block_builder import BLOCK
from intake_bluesky.files.scan.index_entries import entry_of
from intake_bluesky.index.index import IndexEntry
from intake_bluesky.index.packed_statistics import pack
from intake_bluesky.runtime.rights import why_not_writable
from intake_bluesky.storage.contract import RunInsert

__all__ = ["FileInsert", "Packer", "Target", "check_uid", "is_being_written"]

# How the compressor of one member is made, at whose end a checksum tells of wrong bits, and told to give all it holds.
ENGINES: Final[dict[str, tuple[Callable[[], Any], int]]] = {
    "gz": (lambda: zlib.compressobj(level=6, wbits=31), zlib.Z_SYNC_FLUSH),
    "zst": (lambda: ZstdCompressor(level=3, write_checksum=True).compressobj(), COMPRESSOBJ_FLUSH_BLOCK),
}
# What no filesystem takes for anything but a name, and no listing passes over as hidden.
SAFE: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+@=,~ -]{0,199}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Target:
    """Where new files go, and how they are compressed."""

    directory: str | os.PathLike[str] | None
    compression: str | None

    def __post_init__(self) -> None:
        if self.compression is not None and self.compression not in COMPRESSIONS:
            raise ValueError(f"compression is None, 'gz' or 'zst', not {self.compression!r}")

    def file_for(self, start: Document, files: IndexedFiles, *, empty: bool = False) -> str:
        """The path of the file for a run that is not there yet; of an `empty` store the index is not asked."""
        uid = check_uid(start)
        folder = self.folder(files)
        known = None
        with suppress(StoreUnavailable):  # without an index runs are written all the same; no file is overwritten
            known = None if empty else files.path_of(uid)
        # A file that somebody deleted since is no duplicate; of a URL the index is believed.
        if known is not None and (not os.path.isabs(known) or os.path.exists(known)):
            raise _duplicate(uid, known)
        path = self._path(folder, uid, files)
        if not any(location.matches(path) for location in files.locations if isinstance(location, LocalLocation)):
            patterns = ", ".join(shown(location.pattern) for location in files.locations)
            raise UnsupportedOperation(
                f"{path} would not be found again under {patterns}: give the folder itself as a path"
            )
        if not os.path.isdir(folder):
            os.makedirs(folder, exist_ok=True)
        return path

    def _path(self, folder: str, uid: str, files: IndexedFiles) -> str:
        ending = f".{self.compression}" if self.compression else ""
        return os.path.join(folder, f"{uid}{files.codec.suffix}{ending}")

    def path_for(self, uid: str, files: IndexedFiles) -> str | None:
        """The path of the file of a run, whether it is there or not; None where there can be none."""
        if not SAFE.fullmatch(uid):
            return None
        with suppress(UnsupportedOperation):
            return self._path(self.folder(files), uid, files)
        return None

    def check(self, files: IndexedFiles) -> None:
        """Refuse a folder in which this user may make no files, as far as that is known before one is made."""
        folder = self.folder(files)
        if why := why_not_writable(Path(folder, "new")):
            raise StoreUnavailable(f"{folder} cannot be written: {why}. Write into another folder: directory=...")

    def folder(self, files: IndexedFiles) -> str:
        """The folder of new files."""
        if self.directory is not None:
            return os.path.abspath(os.path.expanduser(self.directory))
        folder = next((location.folder for location in files.locations if location.folder is not None), None)
        if folder is None:
            patterns = ", ".join(shown(location.pattern) for location in files.locations)
            raise UnsupportedOperation(
                f"cannot write to {patterns}: files grow document by document, in a local folder. Write into a bucket "
                f"by bluesky-bucket-catalog, whose urlpath is a folder there, or into a local one: directory=..."
            )
        return folder


def check_uid(start: Document) -> str:
    """The uid of a run, where it can be the name of a file.

    Raises
    ------
    UntrustedName
    """
    uid = start.get("uid")
    # Windows drops points and spaces at the end of a name.
    if not isinstance(uid, str) or not SAFE.fullmatch(uid) or uid.endswith((".", " ")):
        raise UntrustedName(f"a run's uid names its file, and {uid!r} cannot: use letters, digits, - and _")
    return uid


def _duplicate(uid: str, path: str) -> DuplicateRun:
    return DuplicateRun(f"run {uid} is in {shown(path)} already: remove that file, or write another uid")


class FileInsert(RunInsert):
    """A run being written: one write to the operating system a document, nothing held back.

    A crash of this program, even by SIGKILL, loses at most the document being written; a power cut what the
    operating system had not put on disk yet. A run that is complete is put into the index, with statistics of its data,
    at once or, where runs follow each other quickly, together with others: see `intake_bluesky.files.pending`.

    Parameters
    ----------
    files : IndexedFiles
    path : str
        A file that does not exist; made at once.
    compression : {None, "gz", "zst"}
    together : int
        Bytes that are held back, to be written at once: of a run that is copied, for which a crash loses nothing.

    Raises
    ------
    DuplicateRun
        When the file exists.
    """

    def __init__(self, files: IndexedFiles, path: str, compression: str | None, *, together: int = 0) -> None:
        self.path = path
        self._together, self._held = together, bytearray()
        self._files = files
        self._watching = Watching()
        self._uid = self._stamp = ""
        self._entry: IndexEntry | None = None
        self._packer = None if compression is None else Packer(compression)
        self._lock = threading.Lock()
        try:
            self._file: int | None = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _BINARY, 0o666)
        except FileExistsError as error:
            raise _duplicate(os.path.basename(path).partition(".")[0], path) from error
        self._identity = _identity(os.fstat(self._file))
        _being_written.add(self._identity)
        self._written = 0

    def begin(self, start: Document) -> None:
        """Write the start document; a file that cannot even hold that is taken away again."""
        try:
            self.write("start", start)
        except BaseException:
            self.close()
            os.unlink(self.path)
            raise
        self._uid = str(start["uid"])
        self._files.wrote(self._uid, self.path)

    def write(self, name: str, doc: Document) -> None:
        data = self._files.codec.encode(name, doc)
        with self._lock:
            if self._file is None:
                raise UnsupportedOperation(f"{self.path} is closed: a run ends with its stop document")
            self._held += data
            if len(self._held) >= self._together or name == "stop":
                held, self._held = bytes(self._held), bytearray()
                self._append(self._file, held, last=name == "stop")
            self._watching.take(name, doc)
            if name == "start" and self._entry is None:
                self._entry = entry_of(self.path, "", (data, doc), None)  # now: the caller may change the document
            if name == "stop":
                self._close()
        if name == "stop":  # without the lock: putting it into the index may have to wait
            own = self._entry if doc.get("run_start") == self._uid else None
            entry = None if own is None else own._replace(stamp=self._stamp, stop=data)
            self._files.finished(self._uid, self.path, self._measured(), entry)

    def _measured(self) -> tuple[str, bytes] | None:
        """The statistics of this version of the file."""
        found = self._watching.found()
        return None if found is None else (version_of(self._stamp), pack(found))

    def _append(self, file: int, data: bytes, *, last: bool) -> None:
        """Write a document; none at the end of a run that has no stop."""
        if self._packer is None:
            self._put(file, data)
            return
        try:
            self._put(file, self._packer.pack(data, last=last))
        except BaseException:
            self._packer.refused()
            raise
        self._packer.written()

    def _put(self, file: int, data: bytes) -> None:
        try:
            done = os.write(file, data)
            while done < len(data):
                done += os.write(file, data[done:])
        except BaseException:
            # A full disk takes half a document: what follows would be unreadable behind it.
            os.ftruncate(file, self._written)
            os.lseek(file, self._written, os.SEEK_SET)
            raise
        self._written += len(data)

    def close(self) -> None:
        with self._lock:
            self._close()

    def _close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            try:
                self._append(file, bytes(self._held), last=True)
                self._stamp = stamp_of(os.fstat(file))
            finally:
                os.close(file)
                _being_written.discard(self._identity)


_being_written: Final[set[tuple[int, int, int]]] = set()


def is_being_written(path: str) -> bool:
    """Whether a run of this process is being written into a file, by whichever store and under whichever name."""
    return _identity(os.stat(path)) in _being_written


def _identity(found: os.stat_result) -> tuple[int, int, int]:
    return os.getpid(), found.st_dev, found.st_ino  # a fork has its parent's set, and not its runs


_BINARY: Final[int] = getattr(os, "O_BINARY", 0)  # Windows would translate the ends of lines


class Packer:
    """Compresses document by document, all of each at once; a member ends where a block is full, and with the run.

    What the disk refused a compressor remembers all the same: another, which is given what the file has of the member,
    gives the same bytes and then goes on.
    """

    def __init__(self, compression: str) -> None:
        self._make, self._flush = ENGINES[compression]
        self._engine: Any = None
        self._held: list[bytes] = []  # documents of a member that did not end, which the file has
        self._size = 0  # of them, in bytes
        self._packed = b"", False  # what was packed last, and whether the member ends with it

    def pack(self, data: bytes, *, last: bool) -> bytes:
        """All the bytes that a reader needs to see this document; `written` or `refused` has to follow."""
        ends = last or self._size + len(data) >= BLOCK
        self._packed = data, ends
        if not data and not self._held:
            return b""
        if self._engine is None:
            self._engine = self._make()
            for earlier in self._held:
                self._give(earlier)
        packed = self._give(data)
        return packed + self._engine.flush() if ends else packed

    def _give(self, data: bytes) -> bytes:
        packed: bytes = self._engine.compress(data) + self._engine.flush(self._flush)
        return packed

    def empty(self) -> bytes:
        """A member without content."""
        packed: bytes = self._make().flush()
        return packed

    def written(self) -> None:
        """The file has what was packed last."""
        data, ends = self._packed
        if ends:
            self._held, self._size, self._engine = [], 0, None
        else:
            self._held.append(data)
            self._size += len(data)

    def refused(self) -> None:
        """The file is as it was before that."""
        self._engine = None
