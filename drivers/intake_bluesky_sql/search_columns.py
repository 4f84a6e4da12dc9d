"""What is searched of a run, as the columns of its row."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import Connection

from intake_bluesky.documents.model import Document, RunSummary
from intake_bluesky.errors import StoreUnavailable
from intake_bluesky.index.search_form import COMMON, SearchForm, comparable
from intake_bluesky.index.tables import HAS_FTS5
from intake_bluesky.query.run_nodes import words
from intake_bluesky_sql.database import Database

LONGEST: Final = 500
"""Characters of a text by which PostgreSQL compares it with shorter ones: an index of its holds no long texts."""
WORD: Final = 100  # characters; of longer words an index has their digest


def ordering(database: Database, start: Document) -> dict[str, Any]:
    """The columns of a run that are numbers."""
    time = RunSummary.of(start, None).time
    numbers: dict[str, Any] = {name: comparable(start.get(name)) for name in ("time", "scan_id")}
    if not database.is_sqlite:
        numbers = {name: number if number is None else Decimal(number) for name, number in numbers.items()}
    return {
        **numbers,
        "newest": float("-inf") if time is None else time,
        "oldest": float("inf") if time is None else time,
    }


def searched_word(word: str) -> str:
    """A word as PostgreSQL's index of words has it."""
    return word if len(word) <= WORD else f"{hashlib.sha256(word.encode()).hexdigest()} {len(word)}"


def searched_columns(database: Database, form: SearchForm) -> dict[str, Any]:
    """The columns of a run that are searched, by their names."""
    columns: dict[str, Any] = {"lists": form.lists, "form_start": form.start, "form_stop": form.stop}
    common = dict(zip(COMMON.values(), form.common, strict=True))
    if database.is_sqlite:
        return columns | common
    # One character more than is compared shows that a text was cut.
    texts = {name: None if text is None else text[: LONGEST + 1] for name, text in common.items()}
    return columns | texts | {"words": sorted(map(searched_word, words(form.words)))}


def put_words(database: Database, connection: Connection, words_of: Mapping[int, str]) -> None:
    """Put the words of runs, by their numbers, into SQLite's index of words, if it has one; raises as `has_words`."""
    advice = "write with another Python, or into a database that this one makes"
    if words_of and database.is_sqlite and (HAS_FTS5 or has_words(database, connection, advice)):
        database.execute(connection, "INSERT OR REPLACE INTO texts(rowid, words) VALUES (?, ?)", [*words_of.items()])


def has_words(database: Database, connection: Connection, advice: str) -> bool:
    """Whether there is an index of words in SQLite.

    Raises
    ------
    StoreUnavailable
        Where there is, and this Python's SQLite cannot write it: searches would be wrong.
    """
    found = database.execute(connection, "SELECT 1 FROM sqlite_master WHERE name = 'texts'", ()).first() is not None
    if found and not HAS_FTS5:
        raise StoreUnavailable(
            f"{database.address} has an index of words, which this Python's SQLite cannot write, as it lacks FTS5: "
            f"{advice}"
        )
    return found
