"""What the index keeps of one file, and how it is in the tables."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from intake_bluesky.index.packed_statistics import rows_of
from intake_bluesky.index.tables import HAS_FTS5

__all__ = ["KEEP", "IndexEntry", "drop_entries", "entry_row", "key_number", "spread_statistics"]

KEEP: Final = "INSERT OR REPLACE INTO statistics VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"


class IndexEntry(NamedTuple):
    """What is kept of one file.

    Attributes
    ----------
    path : str
    stamp : str
        Size and time of change, or what else a filesystem gives; "" asks to look at the file again.
    uid : str or None
        None where the file holds no run.
    time, scan_id : float, int or None
        As in `RunSummary`.
    odd_time : float or None
        A time that is a number and no time: past every date, which comparisons have to know all the same.
    start, stop : bytes or None
        The documents, as the file has them.
    layout : bytes or None
        Where the file has the rest, a packed `FileLayout`; None before the first scan.
    problem : str
        What is wrong with the file, one line each.
    statistics : bytes or None
        Those of each data key that a descriptor declares, by `packed_statistics.pack`; None in the place of what is
        not known yet, as of files. None for the whole where nobody looked: before a scan, and while the run has no
        stop. Put in, and given back by `Index.entries` alone.
    """

    path: str
    stamp: str
    uid: str | None = None
    time: float | None = None
    odd_time: float | None = None
    scan_id: float | None = None
    start: bytes | None = None
    stop: bytes | None = None
    layout: bytes | None = None
    problem: str = ""
    statistics: bytes | None = None


def entry_row(number: int, entry: IndexEntry) -> tuple[Any, ...]:
    """The row of an entry in the table of files."""
    # Messages quote names of files, which may hold lone surrogates.
    problem = entry.problem.encode(errors="backslashreplace").decode() if entry.problem else None
    return (
        number, entry.path, entry.stamp, entry.uid, entry.time, entry.odd_time, entry.scan_id, entry.stop is not None,
        entry.uid is not None, problem, entry.statistics is not None,
    )  # fmt: skip


def drop_entries(db: sqlite3.Connection, paths: Iterable[str]) -> None:
    """Take the entries of files out of all tables."""
    known = db.execute(
        "SELECT id FROM files WHERE path IN (SELECT value FROM json_each(?))", (json.dumps(list(paths)),)
    )
    numbers = known.fetchall()
    # Documents and what is searched go with their file; virtual tables, and those without a reference, do not.
    if HAS_FTS5:
        db.executemany("DELETE FROM texts WHERE rowid = ?", numbers)
    db.executemany("DELETE FROM answers WHERE file = ?", numbers)
    # By its primary key, (what, file): there is no index on the file alone.
    db.executemany("DELETE FROM statistics WHERE what IN (SELECT id FROM keys) AND file = ?", numbers)
    db.executemany("DELETE FROM files WHERE id = ?", numbers)


def spread_statistics(db: sqlite3.Connection, key: str, packed: Iterable[tuple[int, bytes]]) -> None:
    """Put rows about one key, which is coded, beside what is packed of runs."""
    numbers: dict[str, int] = {}
    rows = []
    for file, statistics in packed:
        for stream, _, row in rows_of(statistics, key):
            if stream not in numbers:
                numbers[stream] = key_number(db, key, stream, "")
            rows.append((numbers[stream], file, *row))
    db.executemany(KEEP, rows)


def key_number(db: sqlite3.Connection, key: str, stream: str, reading: str) -> int:
    """The number of a key in a stream, both coded, read in one way."""
    names = key, stream, reading
    db.execute("INSERT OR IGNORE INTO keys(key, stream, reading) VALUES (?, ?, ?)", names)
    found = db.execute("SELECT id FROM keys WHERE key = ? AND stream = ? AND reading = ?", names).fetchone()
    return int(found[0])
