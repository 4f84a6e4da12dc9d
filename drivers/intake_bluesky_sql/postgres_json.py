"""PostgreSQL's expressions for values in the search form, which is JSONB there: its numbers are exact."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final, Self

import orjson

from intake_bluesky.index.json_conditions import SQL, Spot, What
from intake_bluesky.index.search_form import MARK, code_key, code_list, code_text, rank
from intake_bluesky.query.path_nodes import Compare, In, PathQuery
from intake_bluesky.query.values import Value

INDEX: Final = re.compile("0|[1-9][0-9]{0,8}", re.ASCII)  # PostgreSQL reads an index into 32 bits
SAYS: Final[dict[What, str]] = {
    "type": "jsonb_typeof({})",
    "text": "({} #>> '{{}}') COLLATE \"C\"",
    "number": "CAST({} AS numeric)",
    "boolean": "CAST({} AS boolean)",
    "rank": f"CAST({{}} ->> '{MARK}' AS numeric)",
    "size": "jsonb_array_length({})",
    "items": "jsonb_array_elements({})",
}
FEW: Final = 64  # values that are each looked up in the index; of more, all runs are looked at


@dataclass(frozen=True, slots=True)
class PostgreSQLSpot(Spot):
    """A value, by the expression that gives it as JSONB."""

    TEXT = "string"
    NUMBER = "number"
    BOOLEANS = ("boolean",)
    FIND = "strpos"
    sql: str
    values: list[Any] = field(default_factory=list)

    @classmethod
    def of(cls, document: str) -> Self:
        """The whole of a document."""
        return cls(document)

    @classmethod
    def row(cls, name: str) -> Self:
        """An item of a list."""
        return cls(f"{name}.value")

    def at(self, segments: Sequence[str]) -> list[Self]:
        """The value at a path: a number is the index of an item, or a key, as the value there has it."""
        sql, values = self.sql, self.values
        for segment in segments:
            key = code_key(segment)
            # `#>` takes a number as the value there has it; `->` with a text, which the cast makes sure of, only as a
            # key.
            if INDEX.fullmatch(segment):
                sql, values = f"({sql} #> CAST(? AS text[]))", [*values, [key]]
            else:
                sql, values = f"({sql} -> CAST(? AS text))", [*values, key]
        return [type(self)(sql, values)]

    def says(self, what: What) -> SQL:
        """Give the expression."""
        return SAYS[what].format(self.sql), self.values

    def marked(self, mark: str) -> SQL:
        """The value at a key."""
        return f"({self.sql} -> CAST(? AS text))", [*self.values, mark]

    def one_of(self, values: Sequence[Value]) -> SQL:
        """Whether the value equals one of these."""
        coded = [_dumped(_coded(value)) for value in values]
        return f"{self.sql} = ANY(CAST(? AS jsonb[]))", [*self.values, coded]

    @staticmethod
    def bind(number: float) -> Any:
        """Give a number exactly."""
        return Decimal(number)


def contained(leaf: PathQuery, document: str) -> SQL | None:
    """Equality with some scalars as containment, which an index answers for every key; None for all else."""
    match leaf:
        case Compare(_, "==", value):
            values: Sequence[Value] = (value,)
        case In(_, values) if len(values) <= FEW:
            pass
        case _:
            return None
    if any(isinstance(value, tuple) for value in values):  # lists contain shorter ones
        return None
    if any(map(INDEX.fullmatch, leaf.path.segments)):
        return None
    forms = [_dumped(form) for value in values for form in _holding(leaf, _coded(value))]
    return f"{document} @> ANY(CAST(? AS jsonb[]))", [forms]


def _holding(leaf: PathQuery, value: Any) -> list[Any]:
    """What holds a value at a path; on one that descends, each list on it may hold what comes next."""
    forms = [value]
    for segment in reversed(leaf.path.segments):
        lists = [[form] for form in forms] if leaf.path.descend else []
        forms = [{code_key(segment): form} for form in forms + lists]
    return forms


def _coded(value: Value) -> Any:
    """A scalar, or a list without dicts in it, as the search form has it."""
    if isinstance(value, tuple):
        return orjson.loads(code_list(value))
    if isinstance(value, str):
        return code_text(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return int(value) if value == int(value) else {MARK: rank(float(value))}
    return value


def _dumped(form: Any) -> str:
    return orjson.dumps(form).decode()
