"""What is SQLite's own in its SQL: values read with the functions for JSON, numbers of 64 bits.

A value is either at a path of some JSON, or in a row of ``json_each``, an item of a list.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import Any, Final, Self

from intake_bluesky.index.dialect import Dialect
from intake_bluesky.index.json_conditions import (
    ALWAYS,
    INDEX,
    NEVER,
    SQL,
    Spot,
    Value,
    What,
    joined,
)
from intake_bluesky.index.search_form import MARK, code_key, code_list, code_text, rank
from intake_bluesky.integers import FLOAT_EXACT, is_int64

__all__ = ["LONG_WORD", "SQLITE"]

LONGEST: Final = 9  # digits of an index that SQLite reads; no list has as many items
DEEP: Final = 80  # of what the parser remembers; the statement around the condition needs some, too
MANY: Final = 1000  # floats that a column is compared with
LONG_WORD: Final = 8192  # characters; FTS5 keeps the first 32768 bytes of a word
FUNCTIONS: Final[dict[What, str]] = {
    "type": "json_type",
    "size": "json_array_length",
    "items": "json_each",
    **dict.fromkeys(("text", "number", "boolean", "rank"), "json_extract"),
}
ROW: Final[dict[What, str]] = {"type": "type", "text": "value", "number": "value", "boolean": "value"}
# What its parser remembers, and how much of it: a limit that cannot be asked of a build.
STACKED: Final = re.compile(r"\w*\(|\)|\b(?:CASE|END|SELECT|AND|OR|NOT)\b")
WEIGHTS: Final = {"(": 1, "CASE": 5, "SELECT": 7, "AND": 2, "OR": 2, "NOT": 1}
CALL: Final = 4
MEAN: Final = "s.sum * 1.0 / (s.count - s.nan_count)"


def _ways(segments: Sequence[str]) -> list[str]:
    choices = []
    for segment in segments:
        found = [f'."{code_key(segment)}"']
        if INDEX.fullmatch(segment) and len(segment) <= LONGEST:
            found.append(f"[{segment}]")
        choices.append(found)
    return ["$" + "".join(parts) for parts in product(*choices)]


@dataclass(frozen=True, slots=True)
class SQLiteSpot(Spot):
    """A value at a path of some JSON."""

    TEXT = "text"
    NUMBER = "integer"
    BOOLEANS = ("true", "false")
    FIND = "instr"
    json: str
    path: str = "$"
    row_name: str = ""  # the row of ``json_each`` that has it, if one does

    @classmethod
    def of(cls, document: str) -> Self:
        return cls(document)

    @classmethod
    def row(cls, name: str) -> Self:
        """An item of a list, as ``json_each`` gives it."""
        return cls(f"{name}.value", row_name=name)

    def at(self, segments: Sequence[str]) -> list[Self]:
        return [type(self)(self.json, path) for path in _ways(segments)]

    def says(self, what: What) -> SQL:
        """Give the expression; an item's type and value are in its row."""
        if self.row_name and what in ROW:
            return f"{self.row_name}.{ROW[what]}", []
        path = f'{self.path}."{MARK}"' if what == "rank" else self.path
        return f"{FUNCTIONS[what]}({self.json}, ?)", [path]

    def marked(self, mark: str) -> SQL:
        """The type of the value at a key."""
        return f"json_type({self.json}, ?)", [f'{self.path}."{mark}"']

    def one_of(self, values: Sequence[Value]) -> SQL:
        """Whether the value equals one of these, each of which is compared with values of its own type."""
        numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
        conditions = {
            "null": ALWAYS if None in values else NEVER,
            "true": ALWAYS if any(value is True for value in values) else NEVER,
            "false": ALWAYS if any(value is False for value in values) else NEVER,
            "integer": _among(self.says("number"), [int(value) for value in numbers if value == int(value)]),
            "text": _among(self.says("text"), [code_text(value) for value in values if isinstance(value, str)]),
            "object": _among(self.says("rank"), [rank(float(value)) for value in numbers if value != int(value)]),
            "array": _among(self.says("text"), [code_list(value) for value in values if isinstance(value, tuple)]),
        }
        return self.case(**{name: found for name, found in conditions.items() if found is not NEVER})

    @staticmethod
    def bind(number: float) -> Any:
        return number


def _among(expression: SQL, values: Sequence[int | str]) -> SQL:
    sql, path = expression
    if not values:
        return NEVER
    if len(values) == 1:
        return f"{sql} = ?", [*path, *values]
    return f"{sql} IN (SELECT value FROM json_each(?))", [*path, json.dumps(values)]


@lru_cache(maxsize=256)  # values are bound, so that searches which differ in these have one text
def stack(sql: str) -> int:
    """How much SQLite's parser has to remember at once of a condition made here, about; it has room for 100 in all.

    Examples
    --------
    >>> stack("a = ?"), stack("(a = ? OR NOT coalesce(b = ?, 0))")
    (0, 8)
    """
    frames: list[dict[str, int]] = [{}]
    now = most = 0
    for word in STACKED.findall(sql):
        if word == ")":
            now -= sum(frames.pop().values())
            continue
        if word.endswith("("):
            frames.append({})
        kind, weight = ("CASE", -WEIGHTS["CASE"]) if word == "END" else (word, WEIGHTS.get(word, CALL))
        before = frames[-1].get(kind, 0)
        frames[-1][kind] = before + weight if kind == "CASE" else weight
        now += frames[-1][kind] - before
        most = max(most, now)
    return most


class SQLite(Dialect):
    """SQLite, with limits on what is bound and how deep conditions are, and integers of 64 bits."""

    SPOT = SQLiteSpot
    ROOM = 6000  # SQLite takes 32,766, and its time goes with the square
    WHOLE = "typeof(s.sum) = 'integer'"
    INEXACT = "s.exact IS NOT NULL"

    def takes(self, condition: SQL, room: int) -> bool:
        return super().takes(condition, room) and stack(condition[0]) <= DEEP

    def words(self, words: Collection[str]) -> str | None:
        """What FTS5 matches, unless it cuts a word."""
        if max(map(len, words)) >= LONG_WORD:
            return None
        return " ".join(f'"{word}"' for word in sorted(words))

    def among(self, column: str, kind: str, values: Sequence[Any]) -> SQL | None:
        """Whether a column has one of some values; floats, whose digits SQLite reads less exactly, one by one."""
        floats = [value for value in values if isinstance(value, float)]
        if len(floats) > MANY:
            return None
        others = [value for value in values if value not in floats]
        parts: list[SQL] = [(f"{column} = ?", [value]) for value in floats]
        return joined(" OR ", [*parts, _among((column, []), others)] if others else parts)

    def fits(self, number: float) -> bool:
        """Whether a number can be bound: no integer of more than 64 bits can."""
        return isinstance(number, float) or is_int64(number)

    def mean(self, op: str, value: float) -> SQL:
        """When the mean compares so; that of whole numbers is a fraction, decided here where its float differs."""
        if op == "==" or not self.fits(value):
            return NEVER
        of_floats: SQL = f"(typeof(s.sum) = 'real' AND {MEAN} {op} ?)", [value]
        if abs(value) > FLOAT_EXACT:
            return of_floats
        # Strictly: a float that equals the bound may be a rounded fraction, which `mean_open` leaves to Python.
        strictly = f"{self.WHOLE} AND abs(s.sum) < {FLOAT_EXACT} AND {MEAN} {op[0]} ?"
        return f"({strictly} OR {of_floats[0]})", [value, value]

    def mean_open(self, value: float) -> SQL:
        """When the float of a mean does not decide how the fraction compares."""
        if abs(value) > FLOAT_EXACT:
            return ALWAYS
        return f"{self.WHOLE} AND (abs(s.sum) >= {FLOAT_EXACT} OR {MEAN} = ?)", [value]


SQLITE: Final = SQLite()
