"""A finished copy of an index beside the files, for readers to start from.

It is a file ``.intake-bluesky-index.jsonl.sqlite`` (or what else the suffix is), made under another name and renamed,
and never written in place. Whoever can write the folder can write it, so nothing in it is believed that the files
would not be: names count only where a listing has them too, times and uids are those of the documents, and each entry
is copied by itself into an index of our own.
"""

from __future__ import annotations

import os
import sqlite3
import stat
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from intake_bluesky.documents.model import Document
from intake_bluesky.errors import DamagedRun, StoreUnavailable
from intake_bluesky.files.codec import Codec
from intake_bluesky.files.content.decompress import most_of
from intake_bluesky.files.content.file_location import FileLocation, RemoteLocation, shown
from intake_bluesky.files.content.source import is_certain, size_of, unproved, version_of
from intake_bluesky.files.scan.index_entries import entry_of
from intake_bluesky.files.scan.scanner import NotARun, uid_of
from intake_bluesky.index.index import Index, IndexEntry
from intake_bluesky.index.packed_statistics import rows_of

__all__ = ["adopt", "name_for", "publish"]

APPLICATION: Final = 0x696E6278  # "inbx"
FORMAT: Final = 2
TABLES: Final = (
    "CREATE TABLE about(name TEXT NOT NULL, value TEXT NOT NULL)",
    "CREATE TABLE files(name TEXT, stamp TEXT, start BLOB, stop BLOB, layout BLOB, problem TEXT, statistics BLOB)",
)
LARGEST: Final = 1 << 28  # bytes of one value
WORDS: Final = 10_000  # characters of a problem
BATCH: Final = 500


class Unusable(Exception):
    """The published copy is not used; the message says why."""


def name_for(codec: Codec) -> str:
    """The name of the copy for files of a codec.

    Examples
    --------
    >>> from intake_bluesky_jsonl import JSONLCodec
    >>> name_for(JSONLCodec())
    '.intake-bluesky-index.jsonl.sqlite'
    """
    return f".intake-bluesky-index{codec.suffix}.sqlite"


def publish(entries: Iterable[IndexEntry], codec: Codec, location: FileLocation) -> str:
    """Put what is known of the files of a location beside them, and say where.

    Raises
    ------
    StoreUnavailable
        Where the folder cannot be written.
    """
    home = location.home
    assert home is not None  # the caller asks for locations that are folders
    path = home + name_for(codec)
    known = (entry for entry in entries if entry.path.startswith(home) and is_certain(entry.stamp))
    with tempfile.TemporaryDirectory(prefix="intake-bluesky-") as folder:
        made = Path(folder) / "index.sqlite"
        _write(made, codec, home, known)
        try:
            _put(made, path, location)
        except (OSError, NotImplementedError) as error:
            raise StoreUnavailable(
                f"{shown(home)} cannot be written ({shown(str(error))}): the index in your own cache is complete "
                "all the same; let somebody publish it who may write there"
            ) from error
    return shown(path)


def _write(path: Path, codec: Codec, home: str, entries: Iterable[IndexEntry]) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = DELETE")  # no log beside the one file that is copied
        db.execute(f"PRAGMA application_id = {APPLICATION}")
        db.execute(f"PRAGMA user_version = {FORMAT}")
        db.execute("BEGIN")
        for table in TABLES:
            db.execute(table)
        db.execute("INSERT INTO about VALUES ('suffix', ?)", (codec.suffix,))
        db.executemany(
            "INSERT INTO files VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                (_relative(e.path, home), version_of(e.stamp), e.start, e.stop, e.layout, e.problem, e.statistics)
                for e in entries
            ),
        )
        db.execute("COMMIT")


def _relative(path: str, home: str) -> str:
    return path.removeprefix(home).replace(os.sep, "/")


def _put(made: Path, path: str, location: FileLocation) -> None:
    """Give the copy its name once all of it is on disk."""
    if isinstance(location, RemoteLocation):
        location.store(path, made.read_bytes())
        return
    passing = f"{path}.{uuid4().hex}.tmp"
    try:
        file = os.open(passing, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
        with open(file, "wb") as target:
            target.write(made.read_bytes())
            target.flush()
            os.fsync(target.fileno())
        os.replace(passing, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(passing)
        raise
    with suppress(OSError):  # not every system can, and the file itself is safe
        folder = os.open(os.path.dirname(path), os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def adopt(index: Index, codec: Codec, locations: Sequence[FileLocation], stamps: Mapping[str, str]) -> int:
    """Begin an index with what was published beside the files, as far as it fits them; say how many entries.

    `stamps` are those of the files that were listed, by path: of no other is anything taken.
    """
    adopted = 0
    for location in locations:
        home = location.home
        if home is None:
            continue
        path = home + name_for(codec)
        try:
            with _opened(path, location) as db:
                _check(db, codec)
                listed = {_relative(listed, home): listed for listed in stamps if listed.startswith(home)}
                rows = db.execute("SELECT name, stamp, start, stop, layout, problem, statistics FROM files")
                entries = (
                    _entry(row, listed, stamps, codec, remote=isinstance(location, RemoteLocation)) for row in rows
                )
                found = (entry for entry in entries if entry is not None)
                while some := list(islice(found, BATCH)):
                    index.put(some)
                    adopted += len(some)
        except FileNotFoundError:
            continue
        except (Unusable, OSError, sqlite3.Error) as error:
            warnings.warn(
                f"the published index {shown(path)} is not used ({shown(str(error))}): make it anew with "
                f"`intake-bluesky index {shown(location.pattern)}`",
                stacklevel=2,
            )
    return adopted


@contextmanager
def _opened(path: str, location: FileLocation) -> Iterator[sqlite3.Connection]:
    """The copy, so that nothing in it is run and it is not written."""
    with tempfile.TemporaryDirectory(prefix="intake-bluesky-") as folder:
        if isinstance(location, RemoteLocation):
            local = Path(folder) / "index.sqlite"
            local.write_bytes(location.fetch(path))
        else:
            local = Path(path)
            if not stat.S_ISREG(os.lstat(local).st_mode):  # opening a pipe would wait for ever
                raise Unusable("it is no file")
        # Immutable: SQLite takes no locks, which shared filesystems do not do well; the file is only ever replaced.
        with closing(sqlite3.connect(f"{local.as_uri()}?mode=ro&immutable=1", uri=True, isolation_level=None)) as db:
            db.execute("PRAGMA trusted_schema = OFF")
            db.execute("PRAGMA cell_size_check = ON")
            db.execute("PRAGMA query_only = ON")
            db.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LARGEST)
            yield db


def _check(db: sqlite3.Connection, codec: Codec) -> None:
    """Refuse what `publish` of this version did not make for this codec."""
    found = db.execute("PRAGMA application_id").fetchone(), db.execute("PRAGMA user_version").fetchone()
    if found[0] != (APPLICATION,):
        raise Unusable("it is something else by that name")
    if found[1] != (FORMAT,):
        raise Unusable(f"it is of format {found[1][0]}, this version reads {FORMAT}")
    if sorted(sql or "" for (sql,) in db.execute("SELECT sql FROM sqlite_schema LIMIT 9")) != sorted(TABLES):
        raise Unusable("it holds other tables than it should")
    if db.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
        raise Unusable("it is damaged")
    suffix = db.execute("SELECT value FROM about WHERE name = 'suffix'").fetchone()
    if suffix != (codec.suffix,):
        raise Unusable(f"it is of {suffix and suffix[0]!r} files, not of {codec.suffix!r}")


def _entry(
    row: Sequence[Any], listed: Mapping[str, str], stamps: Mapping[str, str], codec: Codec, *, remote: bool
) -> IndexEntry | None:
    """The entry of a listed file that is still as it was; None for any other, and for what is not as it should be."""
    name, version, start, stop, layout, problem, statistics = row
    path = listed.get(name) if isinstance(name, str) else None
    stamp = _fitting(stamps[path], version, remote=remote) if path is not None and isinstance(version, str) else ""
    if path is None or not stamp or not isinstance(problem, str) or len(problem) > WORDS:
        return None
    if start is None:
        return IndexEntry(path, stamp, problem=problem) if problem else None
    if any(not isinstance(blob, bytes) for blob in (start, stop or b"", layout or b"", statistics or b"")):
        return None
    most = most_of(path, size_of(version))
    if len(start) + len(stop or b"") > most:
        return None
    try:
        doc = _document(codec, start, "start")
        uid = uid_of(doc)
        if stop is not None and _document(codec, stop, "stop").get("run_start") != uid:
            return None
        known = statistics if stop is not None and statistics and list(rows_of(statistics)) else None
        return entry_of(path, stamp, (start, doc), stop, layout=layout, problem=problem, statistics=known)
    except (DamagedRun, NotARun, ValueError):
        return None


def _fitting(listed: str, version: str, *, remote: bool) -> str:
    """The stamp of an entry, by those of the listing and of the copy; empty where they do not fit.

    What copies files to a bucket keeps no times: there the size decides, until the run is opened and looked at.
    """
    if version and version_of(listed) == version:
        return listed
    same = size_of(listed) in (0, size_of(version)) if remote else False
    return unproved(listed) if same else ""


def _document(codec: Codec, item: bytes, expected: str) -> Document:
    name, doc = codec.decode(item)
    if name != expected:
        raise NotARun(f"a {name} where a {expected} should be")
    return doc
