"""Queries about data as conditions of PostgreSQL's SQL over kept statistics.

The tables are those that `intake_bluesky.query.sql_data` tells of; numbers are ``numeric``, and so exact. ``whole``
says that the sum is an integer; ``mean`` is the mean where it is not. What is NaN is NULL: compared with anything it is
false.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from intake_bluesky.query.data import CompareStatistic, DataBetween, DataQuery, DataWithin
from intake_bluesky.query.form import code_text
from intake_bluesky.query.kept import Kept
from intake_bluesky.query.sql_json import SQL

__all__ = ["kept_condition"]

NEVER: Final[SQL] = ("FALSE", [])


def kept_condition(leaf: Kept) -> SQL:
    """The condition on a run, whose row is ``id``."""
    if leaf.says == "true":
        return _either(_known(leaf, _true(leaf.query)), _answered(leaf))
    return _either(("NOT measured", []), _either(_known(leaf, _open(leaf.query)), _unknown(leaf)))


def _rows(leaf: Kept, table: str = "statistics") -> SQL:
    """The rows of the key asked for, in the streams asked for."""
    stream = leaf.query.stream
    sql = f"FROM {table} AS s JOIN keys AS k ON k.id = s.what WHERE k.key = ?"
    values = [code_text(leaf.query.key)]
    return (sql, values) if stream is None else (f"{sql} AND k.stream = ?", [*values, code_text(stream)])


def _known(leaf: Kept, condition: SQL) -> SQL:
    rows, values = _rows(leaf)
    sql = f"id IN (SELECT s.file {rows} AND k.reading IN ('', ?) AND s.count IS NOT NULL AND {condition[0]})"
    return sql, [*values, leaf.reading, *condition[1]]


def _answered(leaf: Kept) -> SQL:
    """Whether a number is known to lie in the interval, or in a part of it."""
    if not isinstance(leaf.query, DataBetween):
        return NEVER
    rows, values = _rows(leaf, "answers")
    sql = f"id IN (SELECT s.file {rows} AND k.reading IN ('', ?) AND s.found AND s.low >= ? AND s.high <= ?)"
    return sql, [*values, leaf.reading, Decimal(leaf.query.low), Decimal(leaf.query.high)]


def _unknown(leaf: Kept) -> SQL:
    """Whether some stream declares the key, and its statistics are not known."""
    rows, values = _rows(leaf)
    other = (
        "SELECT 1 FROM keys AS o JOIN statistics AS t ON t.what = o.id AND t.file = s.file "
        "WHERE o.key = k.key AND o.stream = k.stream AND o.reading = ? AND t.count IS NOT NULL"
    )
    sql = f"id IN (SELECT s.file {rows} AND k.reading = '' AND s.count IS NULL AND NOT EXISTS({other}))"
    return sql, [*values, leaf.reading]


def _true(query: DataQuery) -> SQL:
    """When statistics prove a query."""
    match query:
        case DataWithin(_, low, high):
            return _both(_compared("s.min", ">=", low), _compared("s.max", "<=", high))
        case DataBetween():
            return _both(_overlaps(query), _hits(query))
        case CompareStatistic(_, "mean", op, value):
            return _mean(op, value)
        case CompareStatistic(_, "sum", "==", value):  # sums of others than integers equal nothing
            return _both(("s.whole", []), _compared("s.sum", "==", value))
        case CompareStatistic(_, name, op, value):
            return _compared(f"s.{name}", op, value)


def _mean(op: str, value: float) -> SQL:
    """The mean of integers is a fraction, and of floats a float, which equals nothing."""
    sign = "=" if op == "==" else op
    of_integers = f"(s.whole AND s.sum {sign} ? * (s.count - s.nan_count))", [Decimal(value)]
    return of_integers if op == "==" else _either(of_integers, (f"s.mean {sign} ?", [Decimal(value)]))


def _open(query: DataQuery) -> SQL:
    """When statistics neither prove nor refute a query."""
    if not isinstance(query, DataBetween):
        return NEVER
    refuted = (
        "EXISTS(SELECT 1 FROM answers AS a WHERE a.what = s.what AND a.file = s.file AND NOT a.found "
        "AND a.low <= ? AND a.high >= ?)"
    )
    overlaps, hits = _overlaps(query), _hits(query)
    sql = f"({overlaps[0]} AND NOT coalesce({hits[0]}, FALSE) AND NOT {refuted})"
    return sql, [*overlaps[1], *hits[1], Decimal(query.low), Decimal(query.high)]


def _overlaps(query: DataBetween) -> SQL:
    return _both(_compared("s.max", ">=", query.low), _compared("s.min", "<=", query.high))


def _hits(query: DataBetween) -> SQL:
    """Whether a known number lies in the interval, or it is longer than any gap; where it overlaps with the numbers."""
    found = _compared("s.gap", "<=", query.length)
    for column in ("s.min", "s.max", "s.first", "s.last"):
        found = _either(_both(_compared(column, ">=", query.low), _compared(column, "<=", query.high)), found)
    return found


def _compared(column: str, op: str, value: float) -> SQL:
    return f"{column} {'=' if op == '==' else op} ?", [Decimal(value)]


def _both(first: SQL, second: SQL) -> SQL:
    return f"({first[0]} AND {second[0]})", first[1] + second[1]


def _either(first: SQL, second: SQL) -> SQL:
    return f"({first[0]} OR {second[0]})", first[1] + second[1]
