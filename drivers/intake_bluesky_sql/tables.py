"""The tables, and how a database of an older version becomes one of this.

``runs`` has a row a run: what is searched, and what it is ordered by. ``documents`` has the exact JSON of each
document, ``blocks`` and ``block_columns`` those of many documents that look alike, field by field
(`intake_bluesky_sql.document_blocks`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from sqlalchemy import Connection, inspect
from sqlalchemy.exc import DBAPIError

from intake_bluesky.errors import StoreUnavailable
from intake_bluesky.index.search_form import COMMON
from intake_bluesky.index.tables import HAS_FTS5

TYPES: Final[Mapping[str, Mapping[str, str]]] = {
    "sqlite": {
        # No number is given twice: versions of runs begin with it.
        "id_of_run": "INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT", "id_of_key": "INTEGER PRIMARY KEY",
        "number": "INTEGER", "text": "TEXT", "texts": "TEXT", "json": "TEXT", "bytes": "BLOB", "double": "DOUBLE",
        # Columns without a type hold ints as ints and floats as floats.
        "exact": "", "gap": "", "mean": "", "found": "INTEGER", "without_rowid": " WITHOUT ROWID",
    },
    "postgresql": {
        "id_of_run": "BIGSERIAL PRIMARY KEY", "id_of_key": "bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
        # Texts are ordered by code points, as in SQLite.
        "number": "bigint", "text": 'text COLLATE "C"', "texts": "text[]", "json": "jsonb", "bytes": "bytea",
        "double": "double precision", "exact": "numeric", "gap": "double precision",
        "mean": "whole boolean, mean numeric, ", "found": "boolean", "without_rowid": "",
    },
}  # fmt: skip
# Of a run, `writer` is whoever began it, so that a retry knows its own; `time` is whatever number it is, and `newest`
# and `oldest` are the time, or where there is none what comes last whichever way; `measured` is whether statistics are
# kept of it. The last three tables are as `index.statistics_conditions` has them: `file` is the run, and the numbers in
# `exact` are those that were, ints and floats.
TABLES: Final = (
    "CREATE TABLE intake_bluesky_schema (version INTEGER NOT NULL)",
    f"""CREATE TABLE runs (
        id {{id_of_run}}, uid {{text}} NOT NULL UNIQUE, writer TEXT NOT NULL, time NUMERIC, newest {{double}} NOT NULL,
        oldest {{double}} NOT NULL, scan_id NUMERIC, lists BOOLEAN NOT NULL, measured BOOLEAN DEFAULT FALSE NOT NULL,
        {"".join(f"{name} {{text}}, " for name in COMMON.values())}
        stop_place INTEGER, form_start {{json}} NOT NULL, form_stop {{json}}, words {{texts}}
    )""",
    """CREATE TABLE documents (
        run {number} NOT NULL REFERENCES runs ON DELETE CASCADE, place INTEGER NOT NULL, name TEXT NOT NULL, owner TEXT,
        body {bytes} NOT NULL, PRIMARY KEY (run, place)
    )""",
    """CREATE TABLE blocks (
        run {number} NOT NULL REFERENCES runs ON DELETE CASCADE, place INTEGER NOT NULL, last INTEGER NOT NULL,
        name TEXT NOT NULL, owner TEXT NOT NULL, documents INTEGER NOT NULL, events INTEGER NOT NULL,
        bytes BIGINT NOT NULL, layout {bytes} NOT NULL, PRIMARY KEY (run, place)
    )""",
    """CREATE TABLE block_columns (
        run {number} NOT NULL REFERENCES runs ON DELETE CASCADE, place INTEGER NOT NULL, part TEXT NOT NULL,
        key TEXT NOT NULL, form TEXT NOT NULL, body {bytes} NOT NULL, PRIMARY KEY (run, place, part, key)
    )""",
    """CREATE TABLE keys(
        id {id_of_key}, key {text} NOT NULL, stream {text} NOT NULL, reading TEXT NOT NULL,
        UNIQUE (key, stream, reading)
    )""",
    """CREATE TABLE statistics(
        what {number} NOT NULL REFERENCES keys, file {number} NOT NULL REFERENCES runs ON DELETE CASCADE,
        count {number}, nan_count {number}, min {exact}, max {exact}, sum {exact}, {mean}first {exact}, last {exact},
        gap {gap}, exact TEXT, PRIMARY KEY (what, file)
    ){without_rowid}""",
    """CREATE TABLE answers(
        what {number} NOT NULL, file {number} NOT NULL REFERENCES runs ON DELETE CASCADE, low {exact} NOT NULL,
        high {exact} NOT NULL, found {found} NOT NULL, PRIMARY KEY (file, what, low, high)
    )""",
)
INDEXES: Final = (
    "CREATE INDEX by_newest ON runs (newest, uid)",
    "CREATE INDEX by_oldest ON runs (oldest, uid)",
    "CREATE INDEX by_scan_id ON runs (scan_id, newest, uid)",
    "CREATE INDEX by_time ON runs (time)",
    "CREATE INDEX with_lists ON runs (id) WHERE lists",
    "CREATE INDEX statistics_by_run ON statistics(file)",
)
BY_COMMON: Final = tuple(f"CREATE INDEX by_{name} ON runs ({name}, newest, uid)" for name in COMMON.values())
# Most runs lack most of the common keys, and SQLite writes a page of each index for each run.
BY_COMMON_OF_SQLITE: Final = tuple(
    f"{index} WHERE {name} IS NOT NULL" for name, index in zip(COMMON.values(), BY_COMMON, strict=True)
)
# Python finds the words before they come here: to this tokenizer all that is not ASCII is part of one, and so is _.
WORDS_OF_SQLITE: Final = (
    """CREATE VIRTUAL TABLE texts
    USING fts5(words, tokenize = "ascii tokenchars '_'", detail = none, columnsize = 0)""",
)
BY_CONTENT_OF_POSTGRESQL: Final = (
    "CREATE INDEX by_form_start ON runs USING gin (form_start jsonb_path_ops)",
    "CREATE INDEX by_form_stop ON runs USING gin (form_stop jsonb_path_ops)",
    "CREATE INDEX by_words ON runs USING gin (words)",
    # Arrays, and JSON that is compressed already: PostgreSQL need not try to compress them.
    "ALTER TABLE block_columns ALTER body SET STORAGE EXTERNAL",
)
LONG_TEXTS_OF_POSTGRESQL: Final = (  # of which columns have the beginning: where parts are searched, these come too
    f"CREATE INDEX with_long_texts ON runs(id) WHERE {' OR '.join(f'length({n}) > 500' for n in COMMON.values())}",
    # Without these figures, the planner takes a third of all texts to be long, and reads all runs.
    *(f"CREATE STATISTICS length_of_{name} ON (length({name})) FROM runs" for name in COMMON.values()),
)
TRIGRAMS_OF_POSTGRESQL: Final = (
    "CREATE EXTENSION IF NOT EXISTS pg_trgm",
    f"CREATE INDEX by_trigrams ON runs USING gin ({', '.join(f'{name} gin_trgm_ops' for name in COMMON.values())})",
)
NOT_TO_BE_HAD: Final = frozenset({"0A000", "42501", "42704", "58P01"})
"""PostgreSQL's error codes where an extension may not be made, is not installed, or is in a schema of its own."""


def _first(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        _refuse_other_encodings(connection)
    for statement in _statements(connection.dialect.name):
        connection.exec_driver_sql(statement)
    connection.exec_driver_sql("INSERT INTO intake_bluesky_schema VALUES (0)")


def _statements(dialect: str) -> tuple[str, ...]:
    """What makes the tables of the first version."""
    made = tuple(statement.format(**TYPES[dialect]) for statement in TABLES) + INDEXES
    if dialect == "postgresql":
        return made + BY_COMMON + BY_CONTENT_OF_POSTGRESQL
    return made + BY_COMMON_OF_SQLITE + (WORDS_OF_SQLITE if HAS_FTS5 else ())


def _refuse_other_encodings(connection: Connection) -> None:
    encoding = str(connection.exec_driver_sql("SELECT current_setting('server_encoding')").scalar_one())
    if encoding != "UTF8":
        raise StoreUnavailable(
            f"the database holds texts as {encoding}, in which not every document can be written: make one by "
            "CREATE DATABASE ... ENCODING 'UTF8' TEMPLATE template0"
        )


def _trigrams(connection: Connection) -> None:
    """Index parts of texts, where the extension for that may be made: searches find the same without."""
    if connection.dialect.name != "postgresql":
        return
    for statement in LONG_TEXTS_OF_POSTGRESQL:
        connection.exec_driver_sql(statement)
    if connection.exec_driver_sql("SELECT id FROM runs LIMIT 1").first():
        connection.exec_driver_sql("ANALYZE runs")
    make_trigrams(connection)


def make_trigrams(connection: Connection) -> bool:
    """Make the extension and its index; False where that may not be done."""
    try:
        # A savepoint: where the extension is refused, the rest of the step stays.
        with connection.begin_nested():
            for statement in TRIGRAMS_OF_POSTGRESQL:
                connection.exec_driver_sql(statement)
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) not in NOT_TO_BE_HAD:
            raise
        return False
    return True


def indexes(dialect: str) -> dict[str, str]:
    """The statement that makes each index, by its name."""
    later = LONG_TEXTS_OF_POSTGRESQL + TRIGRAMS_OF_POSTGRESQL if dialect == "postgresql" else ()
    prefix = "CREATE INDEX "
    written = [text for text in _statements(dialect) + later if text.startswith(prefix)]
    return {text.removeprefix(prefix).partition(" ")[0]: text for text in written}


def _without_nothing(connection: Connection) -> None:
    """Leave runs without a common key out of the index of it, as those of a new database do."""
    if connection.dialect.name == "sqlite":
        for name, index in zip(COMMON.values(), BY_COMMON_OF_SQLITE, strict=True):
            connection.exec_driver_sql(f"DROP INDEX IF EXISTS by_{name}")
            connection.exec_driver_sql(index)


STEPS: list[Callable[[Connection], Any]] = [_first, _trigrams, _without_nothing]
"""What makes of a database of version n, its place here, one of version n + 1. Steps are only ever added."""
READABLE: Final = 1
"""The oldest version that is read as it is by whoever may not change it: what later steps add are indexes."""


WRITTEN: Final = {
    "runs": ("INSERT", "UPDATE"), "documents": ("INSERT", "DELETE"), "blocks": ("INSERT",),
    "block_columns": ("INSERT",), "keys": ("INSERT",), "statistics": ("INSERT", "DELETE"),
}  # fmt: skip
"""The rights to tables that writing runs takes."""


def version_of(connection: Connection) -> int:
    """The version of a database; 0 where it is none of ours."""
    if not inspect(connection).has_table("intake_bluesky_schema"):
        return 0
    return int(connection.exec_driver_sql("SELECT version FROM intake_bluesky_schema").scalar_one_or_none() or 0)


def lacking_rights(connection: Connection) -> list[str]:
    """What a user of PostgreSQL would need to write runs and has no right to; nothing where all is there."""
    ask = connection.exec_driver_sql
    if ask("SELECT pg_is_in_recovery() OR current_setting('default_transaction_read_only') = 'on'").scalar_one():
        return ["transactions that write: they are read-only here"]
    if not version_of(connection):
        return [] if ask("SELECT has_schema_privilege(current_schema(), 'CREATE')").scalar_one() else ["CREATE"]
    # A right to some columns may be to all that are written: rather let that fail later than refuse it now.
    rights = {
        "INSERT": "has_any_column_privilege",
        "UPDATE": "has_any_column_privilege",
        "DELETE": "has_table_privilege",
    }
    numbers = ask("SELECT has_sequence_privilege(pg_get_serial_sequence('runs', 'id'), 'USAGE')").scalar_one()
    return ([] if numbers else ["USAGE on the sequence of runs"]) + [
        f"{right} on {table}"
        for table, needed in WRITTEN.items()
        for right in needed
        if not ask(f"SELECT {rights[right]}('{table}', '{right}')").scalar_one()  # names are ours
    ]


def migrate(connection: Connection, where: str) -> None:
    """Bring a database to this version, in the transaction of the connection.

    Raises
    ------
    StoreUnavailable
        Where it is of a newer one.
    """
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SELECT pg_advisory_xact_lock(7310863401)")  # the others wait, and find it done
    version = version_of(connection)
    if version > len(STEPS):
        raise newer(where, version)
    for step in STEPS[version:]:
        step(connection)
    if version < len(STEPS):
        connection.exec_driver_sql(f"UPDATE intake_bluesky_schema SET version = {len(STEPS)}")


def newer(where: str, version: int) -> StoreUnavailable:
    """The error for a database that a later release of this package made."""
    return StoreUnavailable(
        f"{where} is of version {version}, and this release of intake-bluesky knows up to {len(STEPS)}: upgrade it"
    )
