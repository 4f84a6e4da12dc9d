"""Writing one run into a bucket: its beginning at once, parts while it goes on, the whole at its stop."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable, Collection
from contextlib import closing
from tempfile import SpooledTemporaryFile
from typing import BinaryIO, Final, TypeVar, cast

from intake_bluesky.documents.model import Document
from intake_bluesky.documents.running_statistics import Watching
from intake_bluesky.errors import DuplicateRun, RunNotFound, StoreUnavailable
from intake_bluesky.files.bucket.bucket_files import BucketFiles
from intake_bluesky.files.bucket.live_pieces import LivePieces
from intake_bluesky.files.content.file_location import shown
from intake_bluesky.files.content.source import ByteSource, remote_stamp, version_of
from intake_bluesky.files.run_writer import Packer
from intake_bluesky.files.scan.index_entries import entry_of, scan
from intake_bluesky.index.packed_statistics import pack
from intake_bluesky.objects import ObjectInfo
from intake_bluesky.objects.contract import Data
from intake_bluesky.storage.buffered_insert import BufferedInsert, Buffering

__all__ = ["BucketInsert", "duplicate"]

T = TypeVar("T")
LOG: Final = logging.getLogger(__name__)

LARGE: Final = 1 << 20
"""Bytes of a run of which the index tells where its documents lie."""
MANY: Final = 100
"""Parts that are deleted together, when as many younger ones are in others, too: a reader may be among those."""
IN_MEMORY: Final = 8 << 20
"""Bytes of a run that are held in memory; a larger one is in a temporary file, too, until it ends."""


class BucketInsert(BufferedInsert):
    """A run being written.

    Its start document is in the bucket when this is made. What follows is put each `flush_seconds`, or when it has
    `flush_bytes`: a crash loses at most that. With the stop document the whole run is put in the place of its
    beginning. Before each put there is a look whether the run is still there: what was removed stays so.

    Parameters
    ----------
    files : BucketFiles
    path : str
        The address of the run's object.
    start : dict
    compression : {None, "gz", "zst"}
    buffering : Buffering

    Raises
    ------
    DuplicateRun
        When there is such an object.
    StoreUnavailable
    """

    def __init__(
        self, files: BucketFiles, path: str, start: Document, compression: str | None, buffering: Buffering
    ) -> None:
        super().__init__(str(start["uid"]), buffering)
        self._files, self._path = files, path
        self._objects = files.location.objects
        self._name = self._objects.name_of(path)
        self._packer = None if compression is None else Packer(compression)
        self._watching = Watching()
        self._whole: SpooledTemporaryFile[bytes] = SpooledTemporaryFile(IN_MEMORY)  # noqa: SIM115  # closed at the end
        weakref.finalize(self, self._whole.close)
        self._size = 0  # of it
        self._parts: set[str] = set()  # that may be there
        self._superseded: list[str] = []  # of them, those that are in others, too
        self._tag = ""  # of the run's object, as it was put last
        raw = files.codec.encode("start", start)
        self._entry = entry_of(path, "", (raw, start), None)  # now: the caller may change the document
        self._stop: bytes | None = None
        self._done = False
        self._begin(start, raw)

    def _begin(self, start: Document, raw: bytes) -> None:
        self._watching.take("start", start)
        data = self._packed(raw, last=False)
        try:
            tag = self._tried(lambda: self._objects.create(self._name, data))
        except FileExistsError as error:
            self._whole.close()
            self._files.take_in(self.uid, self._path)
            raise duplicate(self.uid, self._path) from error
        except BaseException:
            self._whole.close()
            raise
        self._keep(data)
        self._tag, self._pieces = tag, LivePieces(self._size)
        entry = self._entry._replace(stamp=self._stamp(tag))
        self._files.wrote(self.uid, self._path)
        self._files.tell(entry)

    def _tried(self, action: Callable[[], T]) -> T:
        try:
            return action()
        except FileExistsError:
            raise
        except OSError as error:
            raise StoreUnavailable(f"{shown(self._path)} cannot be written ({shown(str(error))}).") from error

    def _went_away(self, error: StoreUnavailable) -> bool:
        return not isinstance(error.__cause__, PermissionError)

    def _packed(self, data: bytes, *, last: bool) -> bytes:
        if self._packer is None:
            return data
        packed = self._packer.pack(data, last=last)
        self._packer.written()
        return packed

    def _keep(self, data: bytes) -> None:
        self._whole.write(data)
        self._size += len(data)

    def _stamp(self, tag: str) -> str:
        return remote_stamp(ObjectInfo(self._name, self._size, tag, 0.0))

    def _take(self, name: str, doc: Document) -> None:
        raw = self._files.codec.encode(name, doc)
        data = self._packed(raw, last=name == "stop")
        self._watching.take(name, doc)
        if name == "stop":
            self._stop = raw
        self._keep(data)
        self._held += len(data)

    def _flush(self) -> None:
        if self._done:
            return
        if self._stop is not None:
            self._finish()
        elif self._held:
            self._put_piece()
        elif self._state == "ending":
            self._whole.close()

    def _check_there(self) -> None:
        """Raise `RunNotFound` where the run was removed, and may have been begun anew by another."""

        def is_there() -> bool:
            try:
                found = self._objects.head(self._name)
                if found.tag == self._tag:
                    return True
                # An answer that told another tag may have been lost: then it begins as what was written here does.
                self._whole.seek(0)
                there = found.size <= self._size and self._objects.get(self._name)[0] == self._whole.read(found.size)
                self._whole.seek(self._size)
            except FileNotFoundError:
                return False
            return there

        if not self._tried(is_there):
            self._held, self._state = 0, "closed"
            self._whole.close()
            raise RunNotFound(
                f"run {self.uid} was removed from {shown(self._path)} while it was written: write it anew, whole"
            )

    def _put_piece(self) -> None:
        """Put what is new, together with so much of what was put before that pieces stay few."""
        self._check_there()
        start = self._pieces.start(self._size)
        self._whole.seek(start)
        data = self._whole.read()  # and its place is the end again
        name = self._piece_name(start)
        if start:
            self._parts.add(name)  # before it is there: the answer may be lost
        tag = self._tried(lambda: self._objects.put(name, data))
        if not start:
            self._tag = tag
        self._superseded += map(self._piece_name, self._pieces.put(start, self._size))
        self._held = 0
        if len(self._superseded) >= 2 * MANY:
            some, self._superseded = self._superseded[:MANY], self._superseded[MANY:]
            self._delete(some)
        if self._state == "ending":  # closed without a stop
            self._whole.close()

    def _piece_name(self, start: int) -> str:
        return self._files.location.part(self._path, start) if start else self._name

    def _delete(self, parts: Collection[str]) -> None:
        """Delete parts that nobody needs; those that cannot be deleted now may be at the end."""
        try:
            self._objects.delete(sorted(parts))
            self._parts.difference_update(parts)
        except OSError as error:
            LOG.warning("parts of run %s stay beside what has them, too: %s", self.uid, shown(str(error)))

    def _finish(self) -> None:
        """Put the whole run, and then take its parts away."""
        self._check_there()
        tag = self._tried(lambda: self._objects.put(self._name, self._content()))
        while padding := self._files.padding(self._path, self._stamp(tag)):
            self._whole.seek(self._size)
            self._keep(padding)
            tag = self._tried(lambda: self._objects.put(self._name, self._content()))
        self._held, self._done = 0, True
        entry = self._entry._replace(stamp=self._stamp(tag), stop=self._stop, layout=self._layout(tag))
        found = self._watching.found()
        measured = None if found is None else (version_of(entry.stamp), pack(found))
        self._whole.close()
        self._files.finished(self.uid, self._path, measured, entry)
        self._files.tell(entry._replace(statistics=None if measured is None else measured[1]))
        self._delete(list(self._parts))

    def _content(self) -> Data:
        self._whole.seek(0)
        return self._whole.read() if self._size <= IN_MEMORY else cast("BinaryIO", self._whole)

    def _layout(self, tag: str) -> bytes | None:
        """Where the documents lie in a large run, which readers would have to fetch to find it out."""
        if self._size <= LARGE:
            return None
        with closing(_SpoolSource(self._whole, self._size, self._stamp(tag))) as source:
            entry, _ = scan(self._files.codec, self._path, source)
        return entry.layout


def duplicate(uid: str, path: str) -> DuplicateRun:
    """The error for a run that is in the bucket."""
    return DuplicateRun(f"run {uid} is in {shown(path)} already: remove that object, or write another uid")


class _SpoolSource(ByteSource):
    """What was written, for a scan."""

    def __init__(self, file: SpooledTemporaryFile[bytes], size: int, stamp: str) -> None:
        self._file, self.size, self.stamp = file, size, stamp

    def read(self, start: int, stop: int) -> bytes:
        self._file.seek(start)
        return self._file.read(min(stop, self.size) - start)
