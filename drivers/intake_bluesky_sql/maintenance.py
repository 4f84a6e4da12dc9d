"""What a database may lack to be searched quickly: indexes, and the figures by which PostgreSQL plans."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import Final

from sqlalchemy import Connection

from intake_bluesky.errors import StoreUnavailable
from intake_bluesky_sql import tables
from intake_bluesky_sql.database import Database

FEW: Final = 256  # runs that are searched quickly whatever the planner thinks
GROWN: Final = 2  # times as many runs as the planner knows of
THERE: Final = {
    "sqlite": "SELECT name FROM sqlite_master WHERE type = 'index'",
    "postgresql": "SELECT relname FROM pg_class WHERE relkind = 'i' AND pg_table_is_visible(oid)",
}
RUNS: Final = "SELECT count(*), (SELECT reltuples FROM pg_class WHERE oid = CAST('runs' AS regclass)) FROM runs"
FIGURES: Final = "VACUUM (ANALYZE) runs, documents, blocks, block_columns, keys, statistics, answers"


def proposed(database: Database) -> list[str]:
    """The statements that would make what is not there; changes nothing.

    Raises
    ------
    StoreUnavailable
    """
    return [*_missing(database).values(), *_figures(database)]


def make(database: Database) -> list[str]:
    """Execute them, and return which; not those for which this user lacks a right that others can do without.

    Raises
    ------
    StoreUnavailable
        Where the database may not be changed.
    """
    missing = _missing(database)
    made = [text for name, text in missing.items() if database.write(partial(_made, name=name, text=text))]
    figures = _figures(database)
    for text in figures:
        database.read(partial(database.execute, statement=text, values=())).close()
    left = _figures(database)  # who does not own the tables is warned by the server, and they are left as they were
    return made + [text for text in figures if text not in left]


def _missing(database: Database) -> dict[str, str]:
    def work(connection: Connection) -> dict[str, str]:
        there = connection.exec_driver_sql(THERE[connection.dialect.name]).scalars().all()
        wanted = tables.indexes(connection.dialect.name)
        return {name: text for name, text in wanted.items() if name not in there}

    return database.read(work)


def _figures(database: Database) -> list[str]:
    """What makes the planner's figures anew, where they are those of far fewer runs, or nobody made any."""
    if database.is_sqlite:
        return []
    [(runs, known)] = database.ask(RUNS)
    return [FIGURES] if runs >= FEW and runs > GROWN * known else []


def _made(connection: Connection, *, name: str, text: str) -> bool:
    if name == "by_trigrams":
        return tables.make_trigrams(connection)
    connection.exec_driver_sql(text)
    return True


def analyze(database: Database, run: int) -> None:
    """Make the planner's figures anew each time that there are about twice as many runs, this the last of them.

    PostgreSQL does so by itself, a minute later, or where that was turned off never: till then, searches are planned as
    if every condition was met by many runs, and read most of them.
    """
    # Numbers of runs rise with each: at a power of two there are about twice as many as at the last.
    if not database.is_sqlite and run >= FEW and run & (run - 1) == 0:
        with suppress(StoreUnavailable):  # the run is written, that is what counts
            database.read(
                partial(database.execute, statement="ANALYZE (SKIP_LOCKED) runs, documents, statistics", values=())
            ).close()
