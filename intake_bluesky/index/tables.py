"""The tables of the embedded index, and what of a query they answer."""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any, Final

from intake_bluesky.index.search_form import COMMON, WORD
from intake_bluesky.index.translator import LONG_WORD, Column, Columns
from intake_bluesky.query.words import alike

__all__ = [
    "COLUMNS",
    "HAS_FTS5",
    "INDEXES",
    "INSERT",
    "SEARCH_INDEXES",
    "SIMILAR",
    "VERSION",
    "create",
    "is_rare",
    "prepare",
]


def _has_fts5() -> bool:
    with closing(sqlite3.connect(":memory:")) as db:
        return ("fts5",) in db.execute("SELECT name FROM pragma_module_list").fetchall()


HAS_FTS5: Final = _has_fts5()  # of nearly every SQLite; without it full text is searched by Python
VERSION: Final = 12 if HAS_FTS5 else 11  # with words, or without: neither Python writes for the other
# Columns without a type hold ints as ints and floats as floats; a type would convert them.
TABLES: Final = """
CREATE TABLE files(
    id INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE, stamp TEXT NOT NULL, uid TEXT, time REAL,
    odd_time REAL, scan_id NUMERIC, finished INTEGER NOT NULL, listed INTEGER NOT NULL, problem TEXT,
    measured INTEGER NOT NULL, lists INTEGER NOT NULL DEFAULT 0, plan_name TEXT, sample TEXT, name_of_sample TEXT,
    sample_name TEXT, proposal TEXT, data_session TEXT, purpose TEXT, exit_status TEXT
);
CREATE TABLE documents(
    file INTEGER PRIMARY KEY REFERENCES files ON DELETE CASCADE, start BLOB NOT NULL, stop BLOB, layout BLOB
);
CREATE TABLE searched(file INTEGER PRIMARY KEY REFERENCES files ON DELETE CASCADE, start TEXT NOT NULL, stop TEXT);
CREATE TABLE measured(file INTEGER PRIMARY KEY REFERENCES files ON DELETE CASCADE, statistics BLOB NOT NULL);
CREATE TABLE spread(key TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE keys(
    id INTEGER PRIMARY KEY, key TEXT NOT NULL, stream TEXT NOT NULL, reading TEXT NOT NULL,
    UNIQUE (key, stream, reading)
);
CREATE TABLE statistics(
    what INTEGER NOT NULL, file INTEGER NOT NULL, count INTEGER, nan_count INTEGER, min, max, sum,
    first, last, gap, exact TEXT, PRIMARY KEY (what, file)
) WITHOUT ROWID;
CREATE TABLE answers(what INTEGER NOT NULL, file INTEGER NOT NULL, low NOT NULL, high NOT NULL, found INTEGER NOT NULL);
CREATE INDEX by_file ON answers(file, what);
CREATE TABLE segments(name TEXT PRIMARY KEY, tag TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE removed(path TEXT NOT NULL, stamp TEXT NOT NULL, PRIMARY KEY (path, stamp)) WITHOUT ROWID;
CREATE TABLE facts(name TEXT PRIMARY KEY, value NOT NULL) WITHOUT ROWID;
INSERT INTO facts VALUES ('changes', 0);
"""
# Python finds the words before they come here: to this tokenizer all that is not ASCII is part of one, and so is _.
TEXTS: Final = """
CREATE VIRTUAL TABLE texts USING fts5(words, tokenize = "ascii tokenchars '_'", detail = none, columnsize = 0)
"""
# Made once the first entries are there, which takes a third of the time of keeping them up from the beginning.
INDEXES: Final = (
    "by_uid ON files(uid) WHERE uid IS NOT NULL",
    "by_time ON files(time IS NULL, time, uid, listed) WHERE listed",
    "by_time_down ON files(time IS NULL, time DESC, uid DESC, listed) WHERE listed",
    "by_scan_id ON files(scan_id, time IS NULL, time DESC, uid DESC) WHERE listed AND scan_id IS NOT NULL",
    "by_odd_time ON files(odd_time) WHERE odd_time IS NOT NULL",
    "unfinished ON files(time) WHERE NOT finished",
    "troubled ON files(path) WHERE problem IS NOT NULL",
)
# Made with the search form of the first entries: see `intake_bluesky.index.search_rows`.
SEARCH_INDEXES: Final = (
    "with_lists ON files(id) WHERE listed AND lists",
    *(
        f"by_{name} ON files({name}, time IS NULL, time DESC, listed) WHERE listed AND {name} IS NOT NULL"
        for name in COMMON.values()
    ),
)
# Of words that were cut, the text has the whole.
SIMILAR: Final = f"""id IN (
    SELECT doc FROM occurrences WHERE term IN (
        SELECT term FROM vocabulary WHERE CASE WHEN length(term) < {LONG_WORD} THEN alike(?, term, ?) ELSE 1 END
    ) AND CASE WHEN length(term) < {LONG_WORD} THEN 1
        ELSE has_alike(?, (SELECT words FROM texts WHERE texts.rowid = doc), ?) END
)"""
HAVING: Final = """
SELECT count(*), (SELECT max(rowid) FROM texts) FROM (SELECT 1 FROM texts WHERE texts MATCH ? LIMIT ?)
"""
FEW: Final = 8192  # runs with a word, past which they are not counted
WORTH: Final = 64
VOCABULARY: Final = (
    "CREATE VIRTUAL TABLE temp.vocabulary USING fts5vocab(main, texts, row)",
    "CREATE VIRTUAL TABLE temp.occurrences USING fts5vocab(main, texts, instance)",
)
COLUMNS: Final = Columns(
    special={
        ("start", ("uid",)): Column("uid", "uid"),
        ("start", ("time",)): Column("time", "time"),
        ("start", ("scan_id",)): Column("scan_id", "number"),
        **{place: Column(name, "text") for place, name in COMMON.items()},
    },
    documents={"start": "searched.start", "stop": "searched.stop"},
    words="id IN (SELECT rowid FROM texts WHERE texts MATCH ?)" if HAS_FTS5 else None,
    lists=(
        "id IN (SELECT l.file FROM searched AS l WHERE l.file IN (SELECT id FROM files WHERE listed AND lists) AND {})"
    ),
    listing={"start": "l.start", "stop": "l.stop"},
    similar=SIMILAR if HAS_FTS5 else None,
)
INSERT: Final = """
INSERT INTO files(id, path, stamp, uid, time, odd_time, scan_id, finished, listed, problem, measured)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""


def create(db: sqlite3.Connection) -> None:
    """Make the tables, unless another process has.

    Raises
    ------
    sqlite3.DatabaseError
        Where they are there in another version.
    """
    db.execute("BEGIN IMMEDIATE")
    [version] = db.execute("PRAGMA user_version").fetchone()  # another process may have been faster
    if version not in (0, VERSION):
        failure = sqlite3.DatabaseError(f"of version {version}, this one needs {VERSION}")
        # As if it were no database: `IndexFile` makes it anew.
        failure.sqlite_errorcode = sqlite3.SQLITE_NOTADB
        raise failure
    if version == 0:
        # No executescript(), which would commit the transaction first.
        for statement in TABLES.split(";"):
            db.execute(statement)
        if HAS_FTS5:
            db.execute(TEXTS)
        # By this number it is known from another that takes its place.
        db.execute(f"PRAGMA application_id = {1 + secrets.randbelow(2**31 - 1)}")
        db.execute(f"PRAGMA user_version = {VERSION}")
    db.execute("COMMIT")


def prepare(db: sqlite3.Connection) -> None:
    """Give a connection what conditions of `COLUMNS` need: the words of the texts as a table, and how alike two are."""
    db.create_function("alike", 3, alike, deterministic=True)
    db.create_function("has_alike", 3, _has_alike, deterministic=True)
    for statement in VOCABULARY if HAS_FTS5 else ():
        db.execute(statement)


def is_rare(ask: Callable[..., Sequence[Any]], word: str, number: int) -> bool:
    """Whether so few runs have a word that each may be looked at in the place of all, and those of other such words.

    All of them are looked at for a page of hits, too, which else is full after a few: if each of them is a hit, after
    as many runs as all of them to the number of hits. So the bound goes with the root of the number of runs.

    `ask` takes a statement and its values, and gives its rows; there are `number` such words, this one included.
    """
    [(found, runs)] = ask(HAVING, f'"{word}"', FEW + 1)
    return bool(found <= FEW and (number * found) ** 2 <= WORTH * (runs or 0))


def _has_alike(word: str, text: str, threshold: float) -> bool:
    found = WORD.findall(text.lower() if text.isascii() else text)  # which is folded already
    return any(alike(word, other, threshold) for other in found)
