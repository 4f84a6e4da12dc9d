"""Queries as conditions of PostgreSQL's SQL, exactly as `intake_bluesky.query.matches` has them.

Whatever a query holds is bound, keys and paths too: no text of a user becomes SQL.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final

from intake_bluesky.query.conditions import Compare, In, PathQuery, Regex
from intake_bluesky.query.form import COMMON, INTEGERS, code_text
from intake_bluesky.query.kept import Kept
from intake_bluesky.query.nodes import ALL, And, Everything, Not, Or, Query
from intake_bluesky.query.plan import split
from intake_bluesky.query.runs import FullText, PartialUID, words
from intake_bluesky.query.sql_json import SQL, joined, json_exact
from intake_bluesky.query.sql_regex import literal
from intake_bluesky_sql.postgres_data import kept_condition
from intake_bluesky_sql.postgres_json import json_condition
from intake_bluesky_sql.searched import LONGEST, searched_word

__all__ = ["POSTGRESQL", "PostgreSQLSearch"]

FORMS: Final = {"start": "form_start", "stop": "form_stop"}
MANY: Final = 1000
BOUND: Final = 30_000  # values of one statement; the protocol has numbers up to 65,535 for them
WILD: Final = re.compile(r"[%_\\]")
NUMBERS: Final = {("start", ("scan_id",)): "scan_id", ("start", ("time",)): "time"}


class PostgreSQLSearch:
    """The translator; it has no state."""

    def exact(self, leaf: Query) -> bool:
        """Whether `condition` says of every run what `matches` says."""
        match leaf:
            case Everything() | FullText() | Kept():
                return True
            case PartialUID(uids):
                return len(uids) <= MANY and all(map(_plain, uids))
        return isinstance(leaf, PathQuery) and leaf.path.document in FORMS and json_exact(leaf)

    def divide(self, query: Query) -> tuple[Query, Query]:
        """Divide a query into what is answered exactly and a residual, as `split` does."""
        pushed, residual = split(query, self.exact)
        many = len(self.condition(pushed)[1]) > BOUND
        return (ALL, query) if many else (pushed, residual)

    def condition(self, query: Query) -> SQL:
        """The condition, and the values that are bound in it, of a query whose leaves are all `exact`.

        Raises
        ------
        TypeError
            For any other query.
        """
        match query:
            case Everything():
                return "TRUE", []
            case And(children):
                return joined(" AND ", [self.condition(child) for child in children])
            case Or(children):
                return joined(" OR ", [self.condition(child) for child in children])
            case Not(child):
                inner, values = self.condition(child)
                return f"NOT coalesce({inner}, FALSE)", values  # what a run lacks is not equal to anything
            case PartialUID(uids):
                return joined(" OR ", [("(uid >= ? AND uid < ?)", [uid, _after(uid)]) for uid in uids])
            case FullText(text):
                return "words @> CAST(? AS text[])", [sorted(map(searched_word, words(text)))]
            case Kept():
                return kept_condition(query)
        if isinstance(query, PathQuery) and self.exact(query):
            return _at_path(query)
        raise TypeError(f"this is not answered in SQL: {query!r}; exact() has to be asked first")


POSTGRESQL: Final = PostgreSQLSearch()


def _plain(text: str) -> bool:
    return text.isprintable() and text.isascii()  # past that, text may hold NUL or surrogates


def _after(prefix: str) -> str:
    """The first text after all that begin so."""
    return prefix[:-1] + chr(ord(prefix[-1]) + 1)


def _at_path(leaf: PathQuery) -> SQL:
    by_column = _by_column(leaf)
    if by_column is not None and not leaf.path.descend:
        return by_column
    by_form = json_condition(leaf, FORMS[leaf.path.document])
    if by_column is None:
        return by_form
    return joined(" OR ", [by_column, joined(" AND ", [("lists", []), by_form])])


def _by_column(leaf: PathQuery) -> SQL | None:
    """The condition on a column of its own; None where there is none that tells."""
    place = leaf.path.document, leaf.path.segments
    match leaf:
        case Regex() if place in COMMON:
            return _by_part(COMMON[place], leaf)
        case Compare(_, op, value):
            values: Sequence[Any] = (value,)
        case In(_, values):
            op = "=="
        case _:
            return None
    if place in COMMON:
        return _by_text(COMMON[place], op, values)
    if place == ("start", ("uid",)) and op == "==" and all(isinstance(v, str) and _plain(v) for v in values):
        return "uid = ANY(CAST(? AS text[]))", [list(values)]
    if place in NUMBERS and _are_numbers(values):
        return joined(" OR ", [_compared(NUMBERS[place], op, value) for value in values])
    return None


def _by_text(column: str, op: str, values: Sequence[Any]) -> SQL | None:
    if not all(isinstance(value, str) for value in values):
        return None
    coded = list(map(code_text, values))
    if any(len(text) > LONGEST for text in coded):
        return None
    if op == "==":
        return (f"{column} = ?", coded) if len(coded) == 1 else (f"{column} = ANY(CAST(? AS text[]))", [coded])
    return f"{column} {op} ?", coded


def _by_part(column: str, leaf: Regex) -> SQL | None:
    """Whether a text is part of that of a column: as `LIKE`, which the index of trigrams knows."""
    found = literal(leaf)
    if found is None or len(found[0]) > LONGEST:
        return None
    text, anchored = WILD.sub(r"\\\g<0>", found[0]), found[1]
    if anchored:
        return f"{column} LIKE ?", [f"{text}%"]
    by_form = json_condition(leaf, FORMS[leaf.path.document])  # the column has only the beginning of long texts
    rest = joined(" AND ", [(f"length({column}) > {LONGEST}", []), by_form])
    return joined(" OR ", [(f"{column} LIKE ?", [f"%{text}%"]), rest])


def _are_numbers(values: Sequence[Any]) -> bool:
    return 0 < len(values) <= MANY and all(type(value) in (int, float) and abs(value) < INTEGERS for value in values)


def _compared(column: str, op: str, value: float) -> SQL:
    return f"{column} {'=' if op == '==' else op} ?", [Decimal(value)]
