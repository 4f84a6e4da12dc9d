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
import warnings
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from intake_bluesky.index.tables import VERSION, create, prepare
from intake_bluesky.runtime.processes import PerProcess

__all__ = ["IndexFile", "IndexLost", "index_path"]

BUSY: Final = 30.0  # seconds to wait for another process's transaction
GONE: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
UNUSABLE: Final = frozenset(
    {
        sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_READONLY,
    }
)  # fmt: skip


class IndexLost(Exception):
    """The index was damaged and is empty now: look at the files again and repeat what was asked."""


def index_path(key: str) -> Path:
    """Where the index of a set of files is: in ``INTAKE_BLUESKY_CACHE``, else the user's cache folder.

    The host's name is part of it, because homes are shared between hosts and SQLite's shared memory is not.
    """
    folder = os.environ.get("INTAKE_BLUESKY_CACHE")
    if not folder:
        import platformdirs

        folder = platformdirs.user_cache_dir("intake-bluesky", appauthor=False)
    host = re.sub(r"[^\w.-]", "_", platform.node()) or "localhost"
    return Path(folder) / f"files-{host}-{hashlib.sha256(key.encode()).hexdigest()[:24]}.sqlite"


class _Connections:
    """Those of one process, by thread."""

    def __init__(self) -> None:
        self.all: list[sqlite3.Connection] = []
        self.local = threading.local()

    def close(self) -> None:
        while self.all:
            self.all.pop().close()


class IndexFile:
    """One SQLite file; shared by threads and processes, each with a connection of its own.

    Parameters
    ----------
    path : Path
        The file. Where it cannot be written a temporary one takes its place, with a warning.

    Raises
    ------
    IndexLost
        From any method: the file was damaged, and was emptied with a warning.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.generation = 0
        self._connections: PerProcess[_Connections] = PerProcess(_Connections.close)

    @contextmanager
    def patient(self, seconds: float) -> Iterator[None]:
        """Wait no longer than so for another process's transaction, in this thread; then it is an error."""
        with self._guarded():
            db = self._connection()
            db.execute(f"PRAGMA busy_timeout = {int(seconds * 1000)}")
        try:
            yield
        finally:
            with suppress(sqlite3.Error):
                db.execute(f"PRAGMA busy_timeout = {int(BUSY * 1000)}")

    def close(self) -> None:
        """Close this process's connections; used again, the index opens new ones."""
        self._connections.close()

    def _ask(self, query: str, *values: Any) -> list[Any]:
        with self._guarded():
            return self._connection().execute(query, values).fetchall()

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._guarded():
            db = self._connection()
            # A transaction that begins by reading fails, without waiting, if another wrote before its own first write.
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
            except BaseException:
                db.execute("ROLLBACK")
                raise
            db.execute("COMMIT")

    @contextmanager
    def _changing(self) -> Iterator[sqlite3.Connection]:
        """As `_writing`; what was noted of all entries holds no more."""
        with self._writing() as db:
            db.execute("DELETE FROM facts WHERE name NOT IN ('changes', 'searched')")
            db.execute("UPDATE facts SET value = value + 1 WHERE name = 'changes'")
            yield db

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:
            code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF  # the rest are details
            if code not in GONE | UNUSABLE and not str(error).startswith("no such table"):
                raise
            self._replace(error, temporary=code in UNUSABLE)
            raise IndexLost(str(error)) from error

    def _connection(self) -> sqlite3.Connection:
        """Give each thread a connection of its own, and each process: none survives a fork."""
        own = self._connections.get(_Connections)
        connection: sqlite3.Connection | None = getattr(own.local, "connection", None)
        if connection is None:
            with self._connections.lock:  # so that none is added to those that were closed meanwhile
                own = self._connections.get(_Connections)
                connection = own.local.connection = self._connect()
                own.all.append(connection)
        return connection

    def _connect(self) -> sqlite3.Connection:
        _make_folder(self.path.parent)
        # Used by one thread each, and closed by whichever closes the index.
        db = sqlite3.connect(self.path, timeout=BUSY, isolation_level=None, check_same_thread=False)
        try:
            db.execute("PRAGMA page_size = 8192")  # of which start documents of a kilobyte or two leave less empty
            # The usual 2 MiB hold 250 of these pages, and a page of runs lies on more: each search read them anew.
            db.execute("PRAGMA cache_size = -16384")
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = NORMAL")  # a power cut loses the last entries at most
            db.execute("PRAGMA foreign_keys = ON")
            if db.execute("PRAGMA user_version").fetchone() != (VERSION,):
                create(db)
            prepare(db)
        except BaseException:
            db.close()
            raise
        return db

    def _replace(self, error: Exception, *, temporary: bool) -> None:
        """Begin with an empty index, at the same place or, where that cannot be written, at another."""
        with self._connections.lock:
            self.close()
            self.generation += 1
            if temporary:
                self._use_temporary(error)
            else:
                self._remove(error)

    def _use_temporary(self, error: Exception) -> None:
        folder = tempfile.mkdtemp(prefix="intake-bluesky-")
        warnings.warn(
            f"the index {self.path} cannot be used ({error}): one in {folder} takes its place for now; set "
            f"INTAKE_BLUESKY_CACHE to a folder that can be written to keep it",
            stacklevel=2,
        )
        self.path = Path(folder) / self.path.name
        weakref.finalize(self, _remove_folder, folder, os.getpid())

    def _remove(self, error: Exception) -> None:
        warnings.warn(f"the index {self.path} cannot be read ({error}): it is made anew from the files", stacklevel=2)
        for end in ("", "-wal", "-shm"):
            Path(f"{self.path}{end}").unlink(missing_ok=True)  # a log left behind would be read into the new file


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
