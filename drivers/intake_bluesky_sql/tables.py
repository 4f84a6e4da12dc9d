"""The tables, and how a database of an older version becomes one of this.

``runs`` has a row a run: what is searched, and what it is ordered by. ``documents`` has the exact JSON of each
document, ``blocks`` and ``block_columns`` those of many documents that look alike, field by field
(`intake_bluesky_sql.document_blocks`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    Dialect,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    false,
    insert,
    inspect,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.exc import DBAPIError
from sqlalchemy.schema import CreateIndex
from sqlalchemy.types import UserDefinedType

from intake_bluesky.errors import StoreUnavailable
from intake_bluesky.index.search_form import COMMON
from intake_bluesky.index.tables import HAS_FTS5

__all__ = [
    "READABLE",
    "STEPS",
    "block_columns",
    "blocks",
    "documents",
    "indexes",
    "make_trigrams",
    "migrate",
    "newer",
    "runs",
    "schema_version",
    "version_of",
]


class Number(UserDefinedType[Any]):
    """An integer of 64 bits or a float, each as it is: SQLAlchemy's own makes floats of integers for SQLite."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        return "NUMERIC"


metadata = MetaData()
NUMBER: Final = BigInteger().with_variant(Integer, "sqlite")  # SQLite numbers rows by themselves only if so called
TEXT: Final = Text().with_variant(Text(collation="C"), "postgresql")  # ordered by code points in both
FORM: Final = Text().with_variant(JSONB(), "postgresql")

schema_version = Table("intake_bluesky_schema", metadata, Column("version", Integer, nullable=False))

runs = Table(
    "runs",
    metadata,
    Column("id", NUMBER, primary_key=True, autoincrement=True),
    Column("uid", TEXT, nullable=False, unique=True),
    Column("writer", Text, nullable=False),  # whoever began it, so that a retry knows its own
    Column("time", Number()),  # whatever number it is
    Column("newest", Double, nullable=False),  # the time; where there is none, what comes last whichever way
    Column("oldest", Double, nullable=False),
    Column("scan_id", Number()),
    Column("lists", Boolean, nullable=False),
    Column("measured", Boolean, nullable=False, server_default=false()),  # whether statistics are kept of it
    *(Column(name, TEXT) for name in COMMON.values()),
    Column("stop_place", Integer),
    Column("form_start", FORM, nullable=False),
    Column("form_stop", FORM),
    Column("words", Text().with_variant(ARRAY(Text), "postgresql")),
    sqlite_autoincrement=True,  # no number is given twice: versions of runs begin with it
)
documents = Table(
    "documents",
    metadata,
    Column("run", NUMBER, ForeignKey("runs.id", ondelete="CASCADE"), nullable=False),
    Column("place", Integer, nullable=False),
    Column("name", Text, nullable=False),
    Column("owner", Text),
    Column("body", LargeBinary, nullable=False),
    PrimaryKeyConstraint("run", "place"),
)
blocks = Table(
    "blocks",
    metadata,
    Column("run", NUMBER, ForeignKey("runs.id", ondelete="CASCADE"), nullable=False),
    Column("place", Integer, nullable=False),
    Column("last", Integer, nullable=False),
    Column("name", Text, nullable=False),
    Column("owner", Text, nullable=False),
    Column("documents", Integer, nullable=False),
    Column("events", Integer, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("layout", LargeBinary, nullable=False),
    PrimaryKeyConstraint("run", "place"),
)
block_columns = Table(
    "block_columns",
    metadata,
    Column("run", NUMBER, ForeignKey("runs.id", ondelete="CASCADE"), nullable=False),
    Column("place", Integer, nullable=False),  # of the block
    Column("part", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("form", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),
    PrimaryKeyConstraint("run", "place", "part", "key"),
)
Index("by_newest", runs.c.newest, runs.c.uid)
Index("by_oldest", runs.c.oldest, runs.c.uid)
Index("by_scan_id", runs.c.scan_id, runs.c.newest, runs.c.uid)
Index("by_time", runs.c.time)
Index("with_lists", runs.c.id, sqlite_where=runs.c.lists, postgresql_where=runs.c.lists)
# Most runs lack most of the common keys, and SQLite writes a page of each index for each run.
BY_COMMON: Final = tuple(
    Index(f"by_{name}", runs.c[name], runs.c.newest, runs.c.uid, sqlite_where=runs.c[name].is_not(None))
    for name in COMMON.values()
)

# As `index.statistics_conditions` has them; ``file`` is the run.
STATISTICS_OF_SQLITE: Final = (
    """CREATE TABLE keys(
        id INTEGER PRIMARY KEY, key TEXT NOT NULL, stream TEXT NOT NULL, reading TEXT NOT NULL,
        UNIQUE (key, stream, reading)
    )""",
    """CREATE TABLE statistics(
        what INTEGER NOT NULL REFERENCES keys, file INTEGER NOT NULL REFERENCES runs ON DELETE CASCADE, count INTEGER,
        nan_count INTEGER, min, max, sum, first, last, gap, exact TEXT, PRIMARY KEY (what, file)
    ) WITHOUT ROWID""",
    """CREATE TABLE answers(
        what INTEGER NOT NULL, file INTEGER NOT NULL REFERENCES runs ON DELETE CASCADE, low NOT NULL, high NOT NULL,
        found INTEGER NOT NULL, PRIMARY KEY (file, what, low, high)
    )""",
    "CREATE INDEX statistics_by_run ON statistics(file)",
)
# As `index.statistics_conditions` has them; the numbers in ``exact`` are those that were, ints and floats.
STATISTICS_OF_POSTGRESQL: Final = (
    """CREATE TABLE keys(
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, key text COLLATE "C" NOT NULL,
        stream text COLLATE "C" NOT NULL, reading text NOT NULL, UNIQUE (key, stream, reading)
    )""",
    """CREATE TABLE statistics(
        what bigint NOT NULL REFERENCES keys, file bigint NOT NULL REFERENCES runs ON DELETE CASCADE, count bigint,
        nan_count bigint, min numeric, max numeric, sum numeric, whole boolean, mean numeric, first numeric,
        last numeric, gap double precision, exact text, PRIMARY KEY (what, file)
    )""",
    """CREATE TABLE answers(
        what bigint NOT NULL, file bigint NOT NULL REFERENCES runs ON DELETE CASCADE, low numeric NOT NULL,
        high numeric NOT NULL, found boolean NOT NULL, PRIMARY KEY (file, what, low, high)
    )""",
    "CREATE INDEX statistics_by_run ON statistics(file)",
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
    statements: tuple[str, ...]
    if connection.dialect.name == "postgresql":
        _refuse_other_encodings(connection)
    metadata.create_all(connection)
    if connection.dialect.name == "postgresql":
        statements = STATISTICS_OF_POSTGRESQL + BY_CONTENT_OF_POSTGRESQL
    else:
        statements = STATISTICS_OF_SQLITE + (WORDS_OF_SQLITE if HAS_FTS5 else ())
    for statement in statements:
        connection.exec_driver_sql(statement)
    connection.execute(insert(schema_version).values(version=0))


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
    if connection.execute(select(runs.c.id).limit(1)).first():
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


def indexes(dialect: Dialect) -> dict[str, str]:
    """The statement that makes each index, by its name."""
    of_tables = [index for table in metadata.tables.values() for index in table.indexes]
    own = {str(index.name): str(CreateIndex(index).compile(dialect=dialect)) for index in of_tables}
    written: tuple[str, ...] = STATISTICS_OF_SQLITE
    if dialect.name == "postgresql":
        written = (
            STATISTICS_OF_POSTGRESQL + BY_CONTENT_OF_POSTGRESQL + LONG_TEXTS_OF_POSTGRESQL + TRIGRAMS_OF_POSTGRESQL
        )
    prefix = "CREATE INDEX "
    return own | {text.removeprefix(prefix).partition(" ")[0]: text for text in written if text.startswith(prefix)}


def _without_nothing(connection: Connection) -> None:
    """Leave runs without a common key out of the index of it, as those of a new database do."""
    if connection.dialect.name == "sqlite":
        for index in BY_COMMON:
            index.drop(connection, checkfirst=True)
            index.create(connection)


STEPS: list[Callable[[Connection], Any]] = [_first, _trigrams, _without_nothing]
"""What makes of a database of version n, its place here, one of version n + 1. Steps are only ever added."""
READABLE: Final = 1
"""The oldest version that is read as it is by whoever may not change it: what later steps add are indexes."""


def version_of(connection: Connection) -> int:
    """The version of a database; 0 where it is none of ours."""
    if not inspect(connection).has_table(schema_version.name):
        return 0
    return int(connection.execute(select(schema_version.c.version)).scalar_one_or_none() or 0)


def migrate(connection: Connection, where: str) -> None:
    """Bring a database to this version, in the transaction of the connection.

    Raises
    ------
    StoreUnavailable
        Where it is of a newer one.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(7310863401)"))  # the others wait, and find it done
    version = version_of(connection)
    if version > len(STEPS):
        raise newer(where, version)
    for step in STEPS[version:]:
        step(connection)
    if version < len(STEPS):
        connection.execute(update(schema_version).values(version=len(STEPS)))


def newer(where: str, version: int) -> StoreUnavailable:
    """The error for a database that a later release of this package made."""
    return StoreUnavailable(
        f"{where} is of version {version}, and this release of intake-bluesky knows up to {len(STEPS)}: upgrade it"
    )
