"""Connections to one database: a pool a process, errors that say where and never with what password."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import quote

from sqlalchemy import Connection, CursorResult, Engine, create_engine, event, make_url
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, NoSuchModuleError, SQLAlchemyError

from intake_bluesky.documents import exact_json
from intake_bluesky.errors import MissingDependency, StoreUnavailable
from intake_bluesky.index.tables import prepare
from intake_bluesky.runtime.processes import PerProcess
from intake_bluesky.runtime.rights import why_not_writable
from intake_bluesky_sql import tables
from intake_bluesky_sql.address import SQLAddress
from intake_bluesky_sql.tables import migrate, newer, version_of

T = TypeVar("T")
BUSY: Final = 30.0  # seconds that SQLite waits for another writer's transaction
CONNECT: Final = 10  # seconds to reach a server
PAGE_SIZE: Final = 16384  # bytes; arrays are read twice as fast as in SQLite's usual 4096
ATTEMPTS: Final = 3
READ_ONLY: Final = frozenset({sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY})


@dataclass(frozen=True, slots=True)
class _Direct:
    """A connection without SQLAlchemy, each of whose statements is a transaction."""

    connection: sqlite3.Connection
    lock: threading.Lock = field(default_factory=threading.Lock)

    def close(self) -> None:
        with self.lock:
            self.connection.close()


@dataclass(frozen=True, slots=True)
class _Identity:
    """Which file is at a path, and what would change if it was written: its time, its size and that of its log."""

    number: tuple[int, int] | None = None
    written: tuple[int, int] | None = None
    log: int = 0

    @classmethod
    def of(cls, path: Path) -> _Identity:
        try:
            found = path.stat()
        except OSError:
            return cls()
        try:
            log = os.stat(f"{path}-wal").st_size
        except OSError:
            log = 0
        return cls((found.st_dev, found.st_ino), (found.st_mtime_ns, found.st_size), log)


def _number(path: Path) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


class Database:
    """One database, opened when it is first asked; not for pickling, which an `SQLAddress` is."""

    def __init__(self, address: SQLAddress) -> None:
        self.address = address
        self.path = address.path  # of an SQLite file
        self.is_sqlite = self.path is not None
        self._engine: PerProcess[Engine] = PerProcess(_close)
        self._direct: PerProcess[_Direct] = PerProcess(_Direct.close)
        self._ready = False
        self._file = _Identity()  # as it was before it was opened
        self._as_it_stands = False  # whether it was opened so

    def __repr__(self) -> str:
        return f"Database({self.address.text!r})"

    def read(self, work: Callable[[Connection], T]) -> T:
        """Do some reading, once more on a new connection where the server went away meanwhile.

        Raises
        ------
        StoreUnavailable
            Where there is no such database, it holds no runs' tables, or cannot be reached.
        """
        self._prepare()
        return self._attempt(self._reading, work)

    def ask(self, statement: str, *values: Any) -> Sequence[Any]:
        """Read all rows of one statement, in which each value stands as ``?``; raises as `read`."""
        return self.read(lambda connection: self.execute(connection, statement, values).all())

    def execute(self, connection: Connection, statement: str, values: Any) -> CursorResult[Any]:
        """Execute a statement, or a list of values one after the other, as `ask` has it."""
        # The sign of psycopg; statements here have no other question mark, and no percent sign.
        return connection.exec_driver_sql(statement if self.is_sqlite else statement.replace("?", "%s"), values)

    def insert(self, connection: Connection, into: str, rows: Sequence[Sequence[Any]]) -> None:
        """Insert rows into a table, but for those that are there already."""
        if rows:
            signs = ", ".join("?" * len(rows[0]))
            self.execute(connection, f"INSERT INTO {into} VALUES ({signs}) ON CONFLICT DO NOTHING", rows)

    def among(self, texts: Sequence[str]) -> tuple[str, Any]:
        """What follows a column that holds one of some texts, and the value that is bound in it."""
        if self.is_sqlite:
            return "IN (SELECT value FROM json_each(?))", exact_json.dumps(list(texts)).decode()
        return "= ANY(CAST(? AS text[]))", list(texts)

    def write(self, work: Callable[[Connection], T]) -> T:
        """Do something in one transaction; `work` may be called again, and has to find then what it did.

        Raises
        ------
        StoreUnavailable
        """
        self.create()
        return self._attempt(self._writing, work)

    def write_one(self, statement: str, values: Sequence[Any]) -> None:
        """Execute one statement, which finds what it did if it is repeated, in a transaction of its own; as `write`.

        In SQLite that takes less time than what SQLAlchemy does around it, and is done without.
        """
        if self.is_sqlite:
            self.create()
            try:
                direct = self._directly()
                with direct.lock:
                    direct.connection.execute(statement, values)
                return
            except sqlite3.Error as error:
                if _is_busy(error):
                    raise self._unavailable(error) from None
                # Whatever else it is, the usual way raises it as it should be.
        self.write(lambda connection: self.execute(connection, statement, values))

    def _directly(self) -> _Direct:
        path = self.path
        assert path is not None
        return self._direct.get(lambda: _Direct(self._open(path)))

    def create(self) -> None:
        """Make the file and the tables unless they are there, and bring those of an older version to this one."""
        with self._lock:
            if self._is_ready():
                return
            path = self.path
            if path is not None and not path.exists():
                _make_file(path)
            if self._version() < len(tables.STEPS):
                if path is not None:
                    _make_file(path)
                self._attempt(self._writing, lambda connection: migrate(connection, str(self.address)))
            self._ready = True

    def check_writable(self) -> None:
        """Refuse a user who may not write runs; writes nothing.

        Raises
        ------
        StoreUnavailable
            Not where the server cannot be asked: who writes meets that, and may wait for it.
        """
        if self.path is not None:
            if why := why_not_writable(self.path):
                raise StoreUnavailable(f"{self.path} cannot be written: {why}")
            return
        try:
            lacking = ", ".join(self._attempt(self._reading, tables.lacking_rights))
        except StoreUnavailable:
            return
        if lacking:
            advice = self._advice("permission denied")
            raise StoreUnavailable(f"{self.address} cannot be written: this user lacks {lacking}. {advice}")

    def _prepare(self) -> None:
        """Make sure that there is something to read."""
        with self._lock:
            if self._is_ready():
                return
            path = self.path
            if path is not None and not path.is_file():
                raise StoreUnavailable(
                    f"there is no database {path}: the first run that is written makes it, or correct the uri"
                )
            version = self._version()
            if version == 0:
                raise StoreUnavailable(
                    f"{self.address} holds no catalog of runs: the first run that is written makes its tables, or "
                    "correct the uri"
                )
            if version < len(tables.STEPS):
                try:
                    self.create()
                except StoreUnavailable:
                    if version < tables.READABLE:
                        raise
            self._ready = True

    def _version(self) -> int:
        version = self._attempt(self._reading, version_of)
        if version > len(tables.STEPS):
            raise newer(str(self.address), version)
        return version

    def _is_ready(self) -> bool:
        if self.path is not None:
            self._notice_another_file(self.path)
        return self._ready and bool(self._engine)

    def _notice_another_file(self, path: Path) -> None:
        """Let go of a file that was taken away or replaced, and of one that is written while it is read as it stood."""
        as_before = _Identity.of(path) == self._file if self._as_it_stands else _number(path) == self._file.number
        if not as_before:
            self.close()
            self._file = _Identity.of(path)

    @property
    def file(self) -> tuple[int, int] | None:
        """What differs between the SQLite file that is open and another that takes its place."""
        if self.path is not None:
            with self._lock:
                self._notice_another_file(self.path)
        return self._file.number

    def _open(self, path: Path) -> sqlite3.Connection:
        """Open a file that is there; one that cannot be written, nor what SQLite puts beside it, as it stands."""
        try:
            return _opened(path, "mode=rw")
        except sqlite3.OperationalError as error:
            # A log beside the file holds what is not in it yet, and immutable files are read without.
            if error.sqlite_errorcode & 0xFF not in READ_ONLY or _Identity.of(path).log:
                raise
            self._as_it_stands = True
            return _opened(path, "immutable=1")

    def _reading(self, work: Callable[[Connection], T]) -> T:
        with self._engine_of_this_process().connect() as connection:
            return work(connection)

    def _writing(self, work: Callable[[Connection], T]) -> T:
        # READ COMMITTED whatever the default is: what ON CONFLICT met has to be seen by the next statement.
        options: dict[str, Any] = {"begins": True} if self.is_sqlite else {"isolation_level": "READ COMMITTED"}
        with self._engine_of_this_process().connect() as connection:
            connection = connection.execution_options(**options)
            with connection.begin():
                return work(connection)

    def _attempt(self, way: Callable[[Callable[[Connection], T]], T], work: Callable[[Connection], T]) -> T:
        for attempt in range(ATTEMPTS):
            try:
                return way(work)
            except DBAPIError as error:
                if _is_about_data(error):
                    raise
                if error.connection_invalidated and attempt < ATTEMPTS - 1:
                    continue
                raise self._unavailable(error) from None  # its traceback would show what SQLAlchemy was given
            except (
                SQLAlchemyError,
                UnicodeDecodeError,
            ) as error:  # in what SQLite says of damage
                raise self._unavailable(error) from None
        raise AssertionError  # the last attempt returns or raises

    def _unavailable(self, error: SQLAlchemyError | sqlite3.Error | UnicodeDecodeError) -> StoreUnavailable:
        cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
        why = self.address.masked(" ".join(str(cause).split()))
        return StoreUnavailable(f"{self.address} cannot be used: {why}. {self._advice(why)}")

    def _advice(self, why: str) -> str:
        if self.is_sqlite:
            busy = "another program is writing to it for long" if "locked" in why else "see that the file can be used"
            return f"If it is right, {busy}"
        if "permission denied" in why or "read-only transaction" in why:
            return "This user, or this server, may not do that: ask the database's owner for the right (GRANT)"
        if "require_auth=" in self.address.text:
            return (
                "A catalog from elsewhere names it, so it is sent no password of yours: open its entry with trust=True"
            )
        if "password" in why:
            return "Give the password in the uri, in PGPASSWORD or in ~/.pgpass: pickles and YAML hold none"
        return "See that the server runs, and that the host, port, user and database of the uri are right"

    def _engine_of_this_process(self) -> Engine:
        return self._engine.get(self._connected)

    def _connected(self) -> Engine:
        path = self.path
        if path is not None:
            own = weakref.proxy(self)  # an engine that kept this alive would never be closed with it
            engine = create_engine(make_url(self.address.text), creator=lambda: own._open(path), hide_parameters=True)
            event.listen(engine, "begin", _begin)
            return engine
        try:
            from intake_bluesky_sql.binary_cursor import BinaryCursor

            options = {
                "connect_timeout": CONNECT, "application_name": "intake-bluesky", "client_encoding": "utf8",
                "cursor_factory": BinaryCursor,
            }  # fmt: skip
            # A read is one statement, and so a snapshot; no transaction stays open. Errors would quote what is bound.
            return create_engine(
                self.address.url, hide_parameters=True, isolation_level="AUTOCOMMIT", connect_args=options
            )
        except (ImportError, NoSuchModuleError):
            raise MissingDependency.of("psycopg", extra="sql", purpose="to reach PostgreSQL") from None

    def close(self) -> None:
        """Close this process's connections; used again, it opens new ones."""
        with self._lock:
            self._ready = self._as_it_stands = False
            self._direct.close()
            self._engine.close()

    @property
    def _lock(self) -> threading.RLock:
        return self._engine.lock

    def __getstate__(self) -> Any:
        raise TypeError("connections are not pickled: pickle the SQLAddress")


def _is_about_data(error: DBAPIError) -> bool:
    """Whether it was not the database that failed: its caller knows what it means."""
    return isinstance(error, DataError | IntegrityError)


def _is_busy(error: Exception) -> bool:
    """Whether another connection was writing for as long as SQLite waits."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY  # which Python's own errors lack


def _make_file(path: Path) -> None:
    """Make a database in which readers do not wait for writers, an empty one unless it is there."""
    deadline = time.monotonic() + BUSY
    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(path, timeout=BUSY, isolation_level=None)) as db:
                db.execute(f"PRAGMA page_size = {PAGE_SIZE}")
                db.execute("PRAGMA journal_mode = WAL")
            return
        except (OSError, sqlite3.Error) as error:
            # SQLite does not wait where two processes do this at once.
            if not _is_busy(error) or time.monotonic() > deadline:
                raise StoreUnavailable(f"the database {path} cannot be made: {error}") from error
            time.sleep(0.01)


def _opened(path: Path, how: str) -> sqlite3.Connection:
    where = f"file:{quote(str(path))}?{how}"
    db = sqlite3.connect(where, uri=True, timeout=BUSY, isolation_level=None, check_same_thread=False)
    try:
        # SQLite opens a file with the first statement: now, so that `Database._open` meets what is wrong with it.
        db.execute("SELECT count(*) FROM sqlite_master").fetchone()
        prepare(db)
        db.execute("PRAGMA foreign_keys = ON")
        db.execute("PRAGMA synchronous = NORMAL")  # a power cut loses the last transactions at most
    except BaseException:
        db.close()
        raise
    return db


def _close(engine: Engine) -> None:
    """Close an engine's connections, those that are in use when they are given back."""
    event.listen(engine.pool, "checkin", lambda _, record: record.invalidate())
    engine.dispose()


def _begin(connection: Connection) -> None:
    if connection.get_execution_options().get("begins"):
        connection.exec_driver_sql("BEGIN IMMEDIATE")  # one that reads before it writes could be refused later
