"""What is searched of runs, made when the first search asks for it, and from then on with each entry.

To open a folder, count its runs and take the newest, none of it is needed; and making it takes longer than reading both
ends of every file.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Final, TypeAlias

from intake_bluesky.index.search_form import COMMON, SearchForm
from intake_bluesky.index.tables import HAS_FTS5, SEARCH_INDEXES

__all__ = ["Decode", "add_search_rows", "is_searched", "make_search_rows", "needs_search_rows"]

Decode: TypeAlias = Callable[[bytes], Mapping[str, Any]]
"""Makes a document of its bytes."""

BATCH: Final = 2000  # runs of one transaction: others write between two
NAMES: Final = re.compile(rf"\b(?:searched|texts|occurrences|lists|{'|'.join(COMMON.values())})\b")
MISSING: Final = """
SELECT file, start, stop FROM documents
WHERE file > ? AND NOT EXISTS (SELECT 1 FROM searched WHERE searched.file = documents.file) ORDER BY file LIMIT ?
"""
UPDATE: Final = f"UPDATE files SET {''.join(f'{name} = ?, ' for name in COMMON.values())}lists = ? WHERE id = ?"
ADD_WORDS: Final = "INSERT INTO texts(rowid, words) VALUES (?, ?)"


def needs_search_rows(sql: str) -> bool:
    """Whether SQL of this package asks for more of runs than their entries have.

    Examples
    --------
    >>> needs_search_rows("plan_name = ?"), needs_search_rows("uid = ? AND listed")
    (True, False)
    """
    return NAMES.search(sql) is not None


def is_searched(db: sqlite3.Connection) -> bool:
    """Whether all runs have what is searched of them, so that new ones need it at once."""
    return db.execute("SELECT 1 FROM facts WHERE name = 'searched'").fetchone() is not None


def add_search_rows(db: sqlite3.Connection, runs: Sequence[tuple[int, bytes, bytes | None]], decode: Decode) -> None:
    """Add what is searched of some runs, each by its number, its start and its stop document."""
    forms = [
        (number, SearchForm.of(decode(start), None if stop is None else decode(stop))) for number, start, stop in runs
    ]
    db.executemany("INSERT INTO searched VALUES (?, ?, ?)", [(number, form.start, form.stop) for number, form in forms])
    db.executemany(UPDATE, [(*form.common, form.lists, number) for number, form in forms])
    if HAS_FTS5:
        db.executemany(ADD_WORDS, [(number, form.words) for number, form in forms])


def make_search_rows(
    writing: Callable[[], AbstractContextManager[sqlite3.Connection]], decode: Decode
) -> Iterator[int]:
    """Make what is searched of all runs, several transactions long, and yield the number of each run that is done."""
    last = 0
    while True:
        with writing() as db:
            runs = db.execute(MISSING, (last, BATCH)).fetchall()
            add_search_rows(db, runs, decode)
            if not runs and not last:
                for made in SEARCH_INDEXES:
                    db.execute(f"CREATE INDEX IF NOT EXISTS {made}")
                db.execute("INSERT OR REPLACE INTO facts VALUES ('searched', 1)")
                return
        # Once more from the beginning after the last: numbers that were given back are given again.
        last = runs[-1][0] if runs else 0
        yield from (number for number, _, _ in runs)
