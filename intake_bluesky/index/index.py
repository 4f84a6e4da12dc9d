"""The embedded index, which makes a folder or bucket of files searchable: its entries, and the questions it answers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias

from intake_bluesky.documents.statistics import Statistics
from intake_bluesky.index.entries import KEEP, IndexEntry, drop_entries, entry_row, key_number, spread_statistics
from intake_bluesky.index.packed_statistics import row_of, statistics_of
from intake_bluesky.index.search_form import code_text
from intake_bluesky.index.search_rows import Decode, add_search_rows, is_searched, make_search_rows, needs_search_rows
from intake_bluesky.index.sqlite_file import IndexLost, index_path
from intake_bluesky.index.tables import INDEXES, INSERT, is_rare
from intake_bluesky.index.taken_in import PublishedSegments
from intake_bluesky.integers import is_int64
from intake_bluesky.runtime.progress import track
from intake_bluesky.storage.order import Order
from intake_bluesky.storage.statistics import Answer, Recorded

__all__ = ["FoundRun", "Index", "IndexEntry", "IndexLost", "index_path", "storable"]

FEW: Final = 256  # runs that a search fetches at once; more are read as they are asked for
# Of two files with one uid the finished one is listed, else the first by path.
SETTLE: Final = """
UPDATE files SET listed = (id = (
    SELECT id FROM files AS other WHERE other.uid = files.uid ORDER BY other.finished DESC, other.path LIMIT 1
)) WHERE """
UNSETTLED: Final = """uid IN (SELECT uid FROM files WHERE uid IS NOT NULL GROUP BY uid HAVING count(*) > 1)
    OR (uid IS NOT NULL AND NOT listed)"""
ONE_UNSETTLED: Final = """uid = ?
    AND (NOT listed OR EXISTS (SELECT 1 FROM files AS other WHERE other.uid = files.uid AND other.id <> files.id))"""
# In the terms of the indexes by_time and by_time_down, so that SQLite need not sort.
ORDERS: Final = {
    Order.NEWEST: "time IS NULL, time DESC, uid DESC",
    Order.OLDEST: "time IS NULL, time, uid",
}
FIELDS: Final = "path, stamp, uid, time, odd_time, scan_id, start, stop, layout, coalesce(problem, '')"
NUMBERS: Final = "count, nan_count, min, max, sum, first, last, gap, exact"
ANSWERS: Final = 1_000_000  # kept at most, of all runs


FoundRun: TypeAlias = tuple[bytes, bytes | None, str, str]
"""Start and stop documents, path and stamp."""


def _tables(where: str) -> str:
    return "FROM files LEFT JOIN searched ON searched.file = id" if "searched." in where else "FROM files"


def storable(text: str) -> bool:
    """Whether SQLite can hold a text: lone surrogates, which JSON and file names may have, have no UTF-8 form."""
    return text.isascii() or text == text.encode(errors="ignore").decode()


class Index(PublishedSegments):
    """What is known of files; shared by threads and processes.

    Parameters
    ----------
    path : Path
        See `IndexFile`.
    decode : callable, optional
        Makes a document of the bytes that an entry has of it: for searches of more than uid, time and scan_id.
    """

    def __init__(self, path: Path, decode: Decode | None = None) -> None:
        super().__init__(path)
        self._decode = decode

    def put(self, entries: Sequence[IndexEntry]) -> None:
        """Keep entries, in place of what was kept of the same files."""
        if not entries:
            return
        with self._changing() as db:
            [first] = db.execute("SELECT coalesce(max(id), 0) + 1 FROM files").fetchone()
            drop_entries(db, (entry.path for entry in entries))
            rows = list(enumerate(entries, start=first))
            db.executemany(INSERT, [entry_row(n, e) for n, e in rows])
            db.executemany(
                "INSERT INTO documents VALUES (?, ?, ?, ?)",
                [(n, e.start, e.stop, e.layout) for n, e in rows if e.start is not None],
            )
            if self._decode is not None and is_searched(db):
                add_search_rows(db, [(n, e.start, e.stop) for n, e in rows if e.start is not None], self._decode)
            packed = [(n, e.statistics) for n, e in rows if e.statistics is not None]
            db.executemany("INSERT INTO measured VALUES (?, ?)", packed)
            # Keys that somebody asked for once are spread at once.
            for (key,) in db.execute("SELECT key FROM spread").fetchall() if packed else ():
                spread_statistics(db, key, packed)

    def forget(self, paths: Iterable[str]) -> None:
        """Drop what is kept of files that are gone."""
        with self._changing() as db:
            drop_entries(db, paths)

    def settle(self, uids: Iterable[str] | None = None) -> None:
        """Choose which file is listed of those that hold a run of one uid; None looks at all uids."""
        with self._writing() as db:
            # Not with the tables: see `INDEXES`.
            for made in INDEXES:
                db.execute(f"CREATE INDEX IF NOT EXISTS {made}")
            if uids is None:
                db.execute(SETTLE + UNSETTLED)
            else:
                db.executemany(SETTLE + ONE_UNSETTLED, [(uid,) for uid in uids])

    def stamps(self) -> dict[str, str]:
        """Each file's stamp, by path."""
        return dict(self._ask("SELECT path, stamp FROM files"))

    def fact(self, name: str) -> Any:
        """What was noted under a name; None where nothing was, or where entries changed since.

        ``changes`` counts the transactions that changed entries.
        """
        found = self._ask("SELECT value FROM facts WHERE name = ?", name)
        return found[0][0] if found else None

    def note(self, name: str, value: str, changes: int) -> None:
        """Note a fact about all entries, unless `changes` has been counted on since it was found."""
        with self._writing() as db:
            db.execute(
                "INSERT OR REPLACE INTO facts SELECT ?, ? WHERE (SELECT value FROM facts WHERE name = 'changes') = ?",
                (name, value, changes),
            )

    def unscanned(self) -> list[tuple[str, str]]:
        """(path, stamp) of the runs of which it is not known where their documents lie, or what their events hold."""
        return self._ask(
            "SELECT path, stamp FROM files JOIN documents ON file = id "
            "WHERE layout IS NULL OR (finished AND NOT measured)"
        )

    def unmeasured(self, uids: Iterable[str]) -> list[tuple[str, str]]:
        """(path, stamp) of the finished ones of some runs of which no statistics are kept."""
        return self._ask(
            "SELECT path, stamp FROM files WHERE uid IN (SELECT value FROM json_each(?)) "
            "AND listed AND finished AND NOT measured",
            json.dumps(list(uids)),
        )

    def spread(self, keys: Iterable[str]) -> None:
        """Have rows about these data keys, which is what conditions on statistics ask."""
        known = {key for (key,) in self._ask("SELECT key FROM spread")}
        missing = {code_text(key) for key in keys} - known
        if not missing:
            return
        with self._writing() as db:
            for key in missing:
                spread_statistics(db, key, db.execute("SELECT file, statistics FROM measured"))
                db.execute("INSERT OR IGNORE INTO spread VALUES (?)", (key,))

    def statistics(self, what: Recorded) -> tuple[str, Statistics | None] | None:
        """The stamp of the file that values are in, and what is kept of them; None where nothing is."""
        self.spread([what.key])
        found = self._ask(
            f"SELECT stamp, {NUMBERS} FROM files JOIN statistics ON file = files.id JOIN keys ON keys.id = what "
            "WHERE uid = ? AND listed AND key = ? AND stream = ? AND reading = ?",
            *(what.uid, code_text(what.key), code_text(what.stream), what.reading),
        )
        return (found[0][0], statistics_of(found[0][1:])) if found else None

    def keep(self, found: Sequence[tuple[Recorded, Statistics | Answer]], version_of: Callable[[str], str]) -> None:
        """Keep what was found of runs whose files are measured, and are of the version that was read, by their stamps.

        Of too many answers the first are dropped.
        """
        self.spread({what.key for what, _ in found})
        with self._writing() as db:
            for what, result in found:
                file = db.execute(
                    "SELECT id, stamp FROM files WHERE uid = ? AND listed AND measured", (what.uid,)
                ).fetchone()
                if file is None or version_of(file[1]) != what.version:
                    continue
                number = key_number(db, code_text(what.key), code_text(what.stream), what.reading)
                if isinstance(result, Statistics):
                    db.execute(KEEP, (number, file[0], *row_of(result)))
                # SQLite binds no larger integers; such an answer is found again by reading.
                elif is_int64(result.low) and is_int64(result.high):
                    row = number, file[0], result.low, result.high, result.found
                    db.execute("INSERT INTO answers VALUES (?, ?, ?, ?, ?)", row)
            db.execute("DELETE FROM answers WHERE rowid <= (SELECT max(rowid) FROM answers) - ?", (ANSWERS,))

    def entries(self) -> Iterator[IndexEntry]:
        """Yield everything that is kept, a file after the other."""
        query = (
            f"SELECT {FIELDS}, statistics FROM files LEFT JOIN documents AS d ON d.file = id "
            "LEFT JOIN measured AS m ON m.file = id"
        )
        yield from (IndexEntry(*found) for found in self._stream(query))

    def unfinished(self, limit: int) -> list[tuple[str, str]]:
        """(path, stamp) of the latest runs that have no stop."""
        return self._ask("SELECT path, stamp FROM files WHERE NOT finished ORDER BY time DESC LIMIT ?", limit)

    def entry(self, uid: str) -> IndexEntry | None:
        """What is kept of the run of this uid."""
        return next(iter(self._entries("uid = ? AND listed", uid)), None)

    def path_of(self, uid: str) -> str | None:
        """The path of the file in which the run of this uid is."""
        found = self._ask("SELECT path FROM files WHERE uid = ? AND listed", uid) if storable(uid) else None
        return str(found[0][0]) if found else None

    def files_of(self, uid: str) -> list[tuple[str, str]]:
        """(path, stamp) of all files that hold the run of this uid, that which is listed last."""
        return (
            self._ask("SELECT path, stamp FROM files WHERE uid = ? ORDER BY listed, path", uid) if storable(uid) else []
        )

    def known(self, paths: Iterable[str]) -> list[IndexEntry]:
        """What is kept of those of some files that are known."""
        return self._entries("path IN (SELECT value FROM json_each(?))", json.dumps(list(paths)))

    def entry_at(self, path: str) -> IndexEntry | None:
        """What is kept of the file at this path."""
        return next(iter(self._entries("path = ?", path)), None)

    def _entries(self, where: str, value: str) -> list[IndexEntry]:
        if not storable(value):
            return []
        query = f"SELECT {FIELDS} FROM files LEFT JOIN documents ON file = id WHERE {where}"
        return [IndexEntry(*found) for found in self._ask(query, value)]

    def find(
        self, where: str, values: Sequence[Any], order: Order, *, offset: int = 0, limit: int | None = None
    ) -> Iterator[FoundRun]:
        """Yield the runs that meet a condition, in order."""
        # Documents by subqueries: a join would read those of the runs that OFFSET passes over.
        query = (
            "SELECT (SELECT start FROM documents AS d WHERE d.file = id), (SELECT stop FROM documents AS d WHERE d.file = id), "  # noqa: E501
            f"path, stamp {_tables(where)} WHERE listed AND {where} ORDER BY {ORDERS[order]} LIMIT ? OFFSET ?"
        )
        arguments = (*values, -1 if limit is None else limit, offset)
        if limit is None or limit > FEW:
            yield from self.rows(query, arguments)
            return
        self._prepare(where)
        yield from self._ask(query, *arguments)

    def _prepare(self, sql: str) -> None:
        if needs_search_rows(sql):
            self._make_search_rows()

    def _make_search_rows(self) -> None:
        """Have what is searched of each run, which no entry has before the first search."""
        decode = self._decode
        if decode is None or self._ask("SELECT 1 FROM facts WHERE name = 'searched'"):
            return
        [(runs,)] = self._ask("SELECT count(*) FROM files WHERE uid IS NOT NULL")
        for _ in track(make_search_rows(self._writing, decode), total=runs, what="preparing searches"):
            pass

    def count(self, where: str, values: Sequence[Any]) -> int:
        """Count the runs that meet a condition."""
        self._prepare(where)
        return int(self._ask(f"SELECT count(*) {_tables(where)} WHERE listed AND {where}", *values)[0][0])

    def is_rare(self, word: str, number: int = 1) -> bool:
        """Whether few runs have a word; see `intake_bluesky.index.tables.is_rare`."""
        self._make_search_rows()
        return is_rare(self._ask, word, number)

    def rows(self, query: str, values: Sequence[Any]) -> Iterator[Any]:
        """Yield what a query of SQL selects, read as it is asked for."""
        self._prepare(query)
        yield from self._stream(query, values)

    def problems(self) -> list[tuple[str, str | None, str]]:
        """(path, uid, what is wrong) of files, by path."""
        return self._ask("SELECT path, uid, problem FROM files WHERE problem IS NOT NULL ORDER BY path")

    def duplicates(self) -> list[tuple[str, str, str]]:
        """(path, uid, path of the file that is listed instead) of runs that are in several files."""
        return self._ask(
            "SELECT hidden.path, hidden.uid, shown.path FROM files AS hidden JOIN files AS shown "
            "ON shown.uid = hidden.uid AND shown.listed WHERE hidden.uid IS NOT NULL AND NOT hidden.listed "
            "ORDER BY hidden.path"
        )
