"""What the tables in PostgreSQL are to the translator of queries, and what is its own in its SQL."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from decimal import Decimal
from typing import Any, Final

from intake_bluesky.index.dialect import Dialect
from intake_bluesky.index.json_conditions import NEVER, SQL, json_condition
from intake_bluesky.index.search_form import COMMON
from intake_bluesky.index.translator import Column, Columns, Translator
from intake_bluesky.query.path_nodes import PathQuery
from intake_bluesky_sql.postgres_json import PostgreSQLSpot, contained
from intake_bluesky_sql.search_columns import LONGEST, searched_word

FORMS: Final = {"start": "form_start", "stop": "form_stop"}
WILD: Final = re.compile(r"[%_\\]")
ARRAYS: Final = {"uid": "text[]", "text": "text[]", "number": "numeric[]"}


class PostgreSQL(Dialect):
    """PostgreSQL, whose numbers are exact, and which finds by index what JSONB contains and parts of texts."""

    SPOT = PostgreSQLSpot
    ROOM = 30_000  # the protocol has numbers up to 65,535 for the values of one statement
    COLUMN = "CAST({} AS text)"
    WHOLE = "s.whole"
    INEXACT = "FALSE"

    def json(self, leaf: PathQuery, document: str) -> SQL:
        """The condition on a document, by index where it is equality with scalars."""
        return contained(leaf, document) or json_condition(leaf, PostgreSQLSpot.of(document))

    def words(self, words: Collection[str]) -> list[str]:
        """What the array of a run's words contains."""
        return sorted(map(searched_word, words))

    def among(self, column: str, kind: str, values: Sequence[Any]) -> SQL:
        """Whether a column has one of some values."""
        return f"{column} = ANY(CAST(? AS {ARRAYS[kind]}))", [list(values)]

    def part(self, column: str, text: str, *, anchored: bool) -> SQL:
        """Whether a text is part of another: as ``LIKE``, which the index of trigrams knows."""
        plain = WILD.sub(r"\\\g<0>", text)
        return f"{column} LIKE ?", [f"{plain}%" if anchored else f"%{plain}%"]

    def fits(self, number: float) -> bool:
        """Whether a number is compared: each is."""
        return True

    def mean(self, op: str, value: float) -> SQL:
        """When the mean compares so: that of integers is a fraction, and of floats a float, which equals nothing."""
        sign, number = "=" if op == "==" else op, Decimal(value)
        of_integers: SQL = f"(s.whole AND s.sum {sign} ? * (s.count - s.nan_count))", [number]
        return of_integers if op == "==" else (f"({of_integers[0]} OR s.mean {sign} ?)", [number, number])

    def mean_open(self, value: float) -> SQL:
        """Never: the fraction decides."""
        return NEVER


POSTGRESQL: Final = Translator(
    Columns(
        special={
            ("start", ("uid",)): Column("uid", "uid"),
            ("start", ("time",)): Column("time", "number"),
            ("start", ("scan_id",)): Column("scan_id", "number"),
            **{place: Column(name, "text", LONGEST) for place, name in COMMON.items()},
        },
        documents=FORMS,
        words="words @> CAST(? AS text[])",
        lists="(lists AND {})",
        listing=FORMS,
        listed="TRUE",
    ),
    PostgreSQL(),
)
