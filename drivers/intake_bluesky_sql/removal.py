"""Deleting a run: its row takes those of its documents, events, statistics and answers with it."""

from __future__ import annotations

from sqlalchemy import Connection

from intake_bluesky.errors import StoreUnavailable
from intake_bluesky.index.tables import HAS_FTS5
from intake_bluesky_sql.database import Database

__all__ = ["delete_run"]


def delete_run(database: Database, uid: str) -> bool:
    """Delete all of a run in one transaction; False where there is none.

    Raises
    ------
    StoreUnavailable
    """
    found = database.ask("SELECT id FROM runs WHERE uid = ?", uid)
    if not found:
        return False
    number = int(found[0][0])

    def work(connection: Connection) -> None:  # by its number: of the same uid there may be another run by now
        if database.is_sqlite:
            _delete_words(database, connection, number)
        database.execute(connection, "DELETE FROM runs WHERE id = ?", (number,))

    database.write(work)
    return True


def _delete_words(database: Database, connection: Connection, number: int) -> None:
    """Take a run out of SQLite's index of words, which no foreign key reaches."""
    has_words = database.execute(connection, "SELECT 1 FROM sqlite_master WHERE name = 'texts'", ()).first() is not None
    if has_words and not HAS_FTS5:
        raise StoreUnavailable(
            f"{database.address} has an index of words, which this Python's SQLite cannot write, as it lacks FTS5: "
            "remove the run with another Python"
        )
    if has_words:
        database.execute(connection, "DELETE FROM texts WHERE rowid = ?", (number,))
