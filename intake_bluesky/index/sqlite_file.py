"""The file of an index: an SQLite file in the user's cache, which may be lost at any time.

It is a cache and nothing else: lost, damaged or of another version it is made anew from the files. It is
never written beside the data, which is often read-only or on a filesystem where SQLite is not safe.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import sqlite3
import tempfile
import threading
import time
import warnings
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, TypeAlias, TypeVar

from intake_bluesky.errors import StoreUnavailable
from intake_bluesky.index.tables import VERSION, create, prepare
from intake_bluesky.runtime.cache_folder import cache_folder
from intake_bluesky.runtime.forks import SQLITE
from intake_bluesky.runtime.processes import PerProcess

__all__ = ["IndexFile", "IndexLost", "index_path"]

AHEAD: Final = 50
"""Rows that are taken at once: between them a process may fork."""

ATTEMPTS: Final = 3
AT_ONCE: Final = 8  # questions; each takes two descriptors, of which a process may have few
STREAMS: Final = 8  # long answers that are read as they are asked for
KEPT: Final = 4  # connections that nobody uses
ENDS: Final = ("", "-wal", "-shm")  # of the names of the files that SQLite has
BUSY: Final = 30.0  # seconds to wait for another process's transaction
GONE: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
UNUSABLE: Final = frozenset(
    {
        sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_READONLY,
    }
)  # fmt: skip


T = TypeVar("T")
Identity: TypeAlias = tuple[int, int] | None
"""Which file is at a path."""


class IndexLost(Exception):
    """The index is another now, which may be empty: look at the files again and repeat what was asked."""


def index_path(key: str) -> Path:
    """Where the index of a set of files is: in ``INTAKE_BLUESKY_CACHE``, else the user's cache folder.

    The host's name is part of it, because homes are shared between hosts and SQLite's shared memory is not.
    """
    host = re.sub(r"[^\w.-]", "_", platform.node()) or "localhost"
    return cache_folder() / f"files-{host}-{hashlib.sha256(key.encode()).hexdigest()[:24]}.sqlite"


class _Connection(sqlite3.Connection):
    seconds: float
    """How long a statement waits for another process's transaction."""


class _Connections:
    """Those of one process, each lent to one thread at a time, so that a thread which ended leaves none behind."""

    def __init__(self) -> None:
        # Deques, for generators give back whenever they are collected: in any thread, and while it holds any lock.
        self.free: deque[_Connection] = deque()
        self.streams = deque(range(STREAMS))  # one taken for each reading that goes on
        self.turns = threading.BoundedSemaphore(AT_ONCE)
        self._closed = False

    def give_back(self, db: _Connection) -> None:
        if len(self.free) < KEPT:
            self.free.append(db)
        else:
            db.close()
        if self._closed:
            self.close()

    def close(self) -> None:
        self._closed = True
        with suppress(IndexError):
            while True:
                self.free.pop().close()


class IndexFile:
    """One SQLite file; shared by threads and processes.

    Parameters
    ----------
    path : Path
        The file. Where it cannot be written a temporary one takes its place, with a warning.

    Attributes
    ----------
    generation : int
        Changes when the file does: what was put into one is not in the next.

    Raises
    ------
    IndexLost
        From any method: the file was damaged, taken away or replaced, and another is open now.
    StoreUnavailable
        From any method: neither the file nor a temporary one can be used.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.generation = 0
        self._number: int | None = None  # of the file that was open last, from its header
        self._files: list[Identity] | None = None  # it, and those that SQLite has beside it
        self._size = 0
        self._temporary = False
        self._patience = threading.local()
        self._connections: PerProcess[_Connections] = PerProcess(_Connections.close)

    def again(self, ask: Callable[[], T]) -> T:
        """Ask, and where the index is lost meanwhile ask again.

        Raises
        ------
        StoreUnavailable
        """
        for _ in range(ATTEMPTS):
            try:
                return ask()
            except IndexLost as error:
                lost = error
        raise StoreUnavailable(
            f"the index {self.path} was lost {ATTEMPTS} times ({lost}): set INTAKE_BLUESKY_CACHE to another folder"
        ) from lost

    @contextmanager
    def patient(self, seconds: float) -> Iterator[None]:
        """Wait no longer than so for another process's transaction, in this thread; then it is an error."""
        self._patience.seconds = seconds
        try:
            yield
        finally:
            del self._patience.seconds

    def close(self) -> None:
        """Close this process's connections; used again, the index opens new ones."""
        with self._connections.lock:
            self._connections.close()
            self._files, self._size = None, 0

    def _ask(self, query: str, *values: Any) -> list[Any]:
        with self._lent() as db:
            return db.execute(query, values).fetchall()

    def _stream(self, query: str, values: Sequence[Any] = ()) -> Iterator[Any]:
        """Yield rows, read as they are asked for by a few at a time; others have all at once."""
        with self._guarded():
            own = self._connections.get(_Connections)
            try:
                stream = own.streams.pop()
            except IndexError:
                yield from self._ask(query, *values)
                return
            try:
                db = SQLITE.run(lambda: self._taken(own))
                try:
                    yield from _rows(db, query, values)
                finally:
                    own.give_back(db)
            finally:
                own.streams.append(stream)

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._lent() as db:
            # A transaction that begins by reading fails, without waiting, if another wrote before its own first write.
            db.execute("BEGIN IMMEDIATE")
            yield db
            db.execute("COMMIT")

    @contextmanager
    def _changing(self) -> Iterator[sqlite3.Connection]:
        """As `_writing`; what was noted of all entries holds no more."""
        with self._writing() as db:
            db.execute("DELETE FROM facts WHERE name NOT IN ('changes', 'searched')")
            db.execute("UPDATE facts SET value = value + 1 WHERE name = 'changes'")
            yield db

    @contextmanager
    def _lent(self) -> Iterator[sqlite3.Connection]:
        """A connection, of no more than a few: others wait for their turn."""
        own = self._connections.get(_Connections)
        with SQLITE, self._guarded(), own.turns:
            db = self._taken(own)
            try:
                yield db
            finally:
                if db.in_transaction:  # of some errors SQLite ends it by itself
                    db.execute("ROLLBACK")
                own.give_back(db)

    def _taken(self, own: _Connections) -> _Connection:
        self._check()
        try:
            db = own.free.pop()
        except IndexError:
            return self._connect()
        if db.seconds != self._seconds:
            db.execute(f"PRAGMA busy_timeout = {int(self._seconds * 1000)}")
            db.seconds = self._seconds
        return db

    @property
    def _seconds(self) -> float:
        return float(getattr(self._patience, "seconds", BUSY))

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        generation = self.generation
        try:
            yield
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:  # of damage Python cannot always say what it is
            code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF  # the rest are details
            unusable = code in UNUSABLE or (code == sqlite3.SQLITE_BUSY and self._seconds == BUSY)
            damaged = code in GONE or isinstance(error, UnicodeDecodeError) or str(error).startswith("no such table")
            if not unusable and not damaged:
                raise
            with self._connections.lock:
                if self.generation == generation:  # else another thread has met it, too
                    self._replace(error, unusable=unusable)
            raise IndexLost(str(error)) from error

    def _check(self) -> None:
        """Notice that the file was taken away, replaced or cut since it was opened."""
        if self._is_same():
            return
        with self._connections.lock:
            if self._is_same():  # as another thread found
                return
            known, (now, _) = self._files, _files_at(self.path)
            # Parts of the one that was open would be taken for parts of the new one.
            if known is None or now[0] in (None, known[0]) or any(map(_same, known, now)):
                self._unlink()
            self._lose()
        raise IndexLost("it was taken away or replaced")

    def _is_same(self) -> bool:
        known = self._files
        if known is None:
            return True
        now, size = _files_at(self.path)
        if now != known or size < self._size:
            return False
        self._size = size
        return True

    def _connect(self) -> _Connection:
        SQLITE.check()
        _make_folder(self.path.parent)
        if _files_at(self.path)[1] == 0 and os.path.exists(f"{self.path}-wal"):
            self._unlink()  # it was cut to nothing, and SQLite would wait for whoever has it open
        db = sqlite3.connect(
            self.path, timeout=self._seconds, isolation_level=None, check_same_thread=False, factory=_Connection
        )
        db.seconds = self._seconds
        try:
            db.execute("PRAGMA page_size = 8192")  # of which start documents of a kilobyte or two leave less empty
            # The usual 2 MiB hold 250 of these pages, and a page of runs lies on more: each search read them anew.
            db.execute("PRAGMA cache_size = -16384")
            self._use_log(db)
            db.execute("PRAGMA synchronous = NORMAL")  # a power cut loses the last entries at most
            db.execute("PRAGMA foreign_keys = ON")
            if db.execute("PRAGMA user_version").fetchone() != (VERSION,):
                create(db)
            prepare(db)
            self._note(db.execute("PRAGMA application_id").fetchone()[0])
        except BaseException:
            db.close()
            raise
        return db

    def _use_log(self, db: sqlite3.Connection) -> None:
        """Make it a file with a write-ahead log, which SQLite does not wait for where several begin at once."""
        until = time.monotonic() + self._seconds
        while True:
            try:
                db.execute("PRAGMA journal_mode = WAL")
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                    raise
                time.sleep(0.01)
            else:
                return

    def _note(self, number: int) -> None:
        """Note which file is open now; where another was before, what was put into that is not in this."""
        with self._connections.lock:
            files, size = _files_at(self.path)
            other = self._number not in (None, number) or (self._files is not None and files != self._files)
            if other:
                self._lose()
            self._number, self._files = number, None if other else files
            self._size = max(self._size, size)
        if other:
            raise IndexLost("it was taken away or replaced")

    def _lose(self) -> None:
        self.close()
        self._number = None
        self.generation += 1

    def _replace(self, error: Exception, *, unusable: bool) -> None:
        """Begin with an empty index, at the same place or, where that cannot be used, at another."""
        if not unusable:
            self._unlink()
        if unusable or self.path.exists():  # the folder is not ours, or nothing in it can be removed
            self._use_temporary(error)
        else:
            warnings.warn(
                f"the index {self.path} cannot be read ({error}): it is made anew from the files", stacklevel=2
            )
        self._lose()

    def _use_temporary(self, error: Exception) -> None:
        advice = "make room, or set INTAKE_BLUESKY_CACHE to a folder that can be written"
        if self._temporary:
            raise StoreUnavailable(f"the temporary index {self.path} cannot be used ({error}): {advice}") from error
        try:
            os.close(os.open(os.devnull, os.O_RDONLY))  # one that lacks descriptors would do so anywhere
            folder = tempfile.mkdtemp(prefix="intake-bluesky-")
        except OSError as other:
            raise StoreUnavailable(
                f"the index {self.path} cannot be used ({error}), nor a temporary one ({other}): {advice}"
            ) from error
        warnings.warn(
            f"the index {self.path} cannot be used ({error}): one in {folder} takes its place for now; set "
            f"INTAKE_BLUESKY_CACHE to a folder that can be written to keep it",
            stacklevel=2,
        )
        self.path, self._temporary = Path(folder) / self.path.name, True
        weakref.finalize(self, _remove_folder, folder, os.getpid())

    def _unlink(self) -> None:
        for end in ENDS:  # a log left behind would be read into the new file
            with suppress(OSError):
                os.unlink(f"{self.path}{end}")


def _rows(db: sqlite3.Connection, query: str, values: Sequence[Any]) -> Iterator[Any]:
    rows = SQLITE.run(lambda: db.execute(query, values))
    size = 1  # the first is waited for, and may be all that is wanted
    try:
        while found := SQLITE.run(lambda: rows.fetchmany(size)):  # noqa: B023  # called at once
            yield from found
            size = AHEAD
    finally:
        SQLITE.run(rows.close)


def _files_at(path: Path) -> tuple[list[Identity], int]:
    """Which files are there under each of the names, and the size of the first."""
    found = [_status(f"{path}{end}") for end in ENDS]
    size = 0 if found[0] is None else found[0].st_size
    return [None if one is None else (one.st_dev, one.st_ino) for one in found], size


def _status(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)
    except OSError:
        return None


def _same(one: Identity, other: Identity) -> bool:
    return one == other is not None


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)  # start documents are in it, and URLs
    except OSError as error:
        failure = sqlite3.OperationalError(str(error))
        failure.sqlite_errorcode = sqlite3.SQLITE_CANTOPEN
        raise failure from error


def _remove_folder(folder: str, pid: int) -> None:
    # A forked child inherits the finalizer, not the folder.
    if os.getpid() == pid:
        shutil.rmtree(folder, ignore_errors=True)
