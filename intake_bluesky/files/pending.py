"""What was written or scanned here and is to be put into the index: several runs in one transaction.

A transaction and its upkeep of every index take longer than a small run takes to write. The files are there all the
same, and whatever is lost before it is put the next listing finds: see docs/decisions/0005.
"""

from __future__ import annotations

import atexit
import time
import weakref
from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING, Final, NamedTuple

from intake_bluesky.index.index import IndexEntry
from intake_bluesky.runtime.processes import ProcessLock

if TYPE_CHECKING:
    from intake_bluesky.files.indexer import FileIndexer

__all__ = ["Batch", "Waiting", "put_at_exit"]

MANY: Final = 256  # runs after which nothing waits: what putting them takes, a scan does not notice
LARGE: Final = 1 << 24  # bytes of documents and layouts after which nothing waits
SOON: Final = 1.0  # seconds between two puts that nobody asked for
MEASURED: Final = 1000  # runs whose statistics are remembered until their files are old enough to be sure of


class Batch(NamedTuple):
    """Paths of files written here, and entries of files scanned here, by uid; entries of those written, by path."""

    written: dict[str, str]
    scanned: dict[str, IndexEntry]
    ended: dict[str, IndexEntry]


class Waiting:
    """The files of one store that the index does not know yet as they are; for all threads.

    The first that comes is due at once, and so is each that comes a second after the last put: only what follows
    quickly waits.
    """

    def __init__(self) -> None:
        self._threads = ProcessLock()
        self._batch = Batch({}, {}, {})
        self._measured: dict[str, tuple[str, bytes]] = {}
        self._held = 0
        self._last = -SOON  # so that the first is due at once

    def __bool__(self) -> bool:
        return bool(self._batch.written or self._batch.scanned)

    def begun(self, uid: str, path: str) -> None:
        """Note a file that was made here."""
        with self._threads.lock:
            self._batch.written[uid] = path

    def ended(self, uid: str, path: str, measured: tuple[str, bytes] | None, entry: IndexEntry | None = None) -> bool:
        """Note that a run is whole, the statistics of this version of its file, and its entry; whether to put now."""
        with self._threads.lock:
            self._batch.written[uid] = path
            if entry is not None:
                self._take(self._batch.ended, path, entry)
            if measured is not None:
                self._measured[path] = measured
            if len(self._measured) > MEASURED:
                del self._measured[next(iter(self._measured))]
            return self._due()

    def scanned(self, uid: str, entry: IndexEntry) -> bool:
        """Take the entry of a file that was scanned; whether to put now."""
        with self._threads.lock:
            self._take(self._batch.scanned, uid, entry)
            return self._due()

    def _take(self, entries: dict[str, IndexEntry], name: str, entry: IndexEntry) -> None:
        entries[name] = entry
        self._held += sum(len(part) for part in (entry.start, entry.stop, entry.layout, entry.statistics) if part)

    def _due(self) -> bool:
        now, number = time.monotonic(), len(self._batch.written) + len(self._batch.scanned)
        due = number >= MANY or self._held >= LARGE or now - self._last >= SOON
        if due:
            self._last = now  # where that cannot be done now, the next need not wait for it, too
        return due

    def path(self, uid: str) -> str | None:
        """The path of a run that was written here and waits."""
        return self._batch.written.get(uid)

    def entry(self, uid: str) -> IndexEntry | None:
        """The entry of a run that was scanned here and waits, unless it was also written since."""
        return None if uid in self._batch.written else self._batch.scanned.get(uid)

    def measured(self, path: str) -> tuple[str, bytes] | None:
        """The packed statistics of one version of a file that was written here."""
        return self._measured.get(path)

    def certain(self, paths: Iterable[str]) -> None:
        """Let go of the statistics of files: the index has them, and the files will not change unseen."""
        with self._threads.lock:
            for path in paths if self._measured else ():
                self._measured.pop(path, None)

    def take(self) -> Batch:
        """Take all that waits."""
        with self._threads.lock:
            taken, self._batch = self._batch, Batch({}, {}, {})
            self._held = 0
            if any(taken):
                self._last = time.monotonic()
            return taken

    def give_back(self, batch: Batch) -> None:
        """Have wait again what could not be put; what came since is newer."""
        with self._threads.lock:
            now = self._batch
            self._batch = Batch(batch.written | now.written, batch.scanned | now.scanned, batch.ended | now.ended)


_filled: Final[weakref.WeakSet[FileIndexer]] = weakref.WeakSet()


def put_at_exit(files: FileIndexer) -> None:
    """Have runs put when the program ends, if these files are still there then."""
    _register()
    _filled.add(files)


@cache
def _register() -> None:
    # Not before an index is open: what comes first is done last, and connections are closed at exit, too.
    atexit.register(_put_all)


def _put_all() -> None:
    for files in list(_filled):
        files.put_patiently(SOON)
