"""Queries about data as conditions of SQL over kept statistics.

A row of ``statistics`` (``s`` here) is about one data key of one run, which ``s.what`` names in ``keys`` (``k``): the
key, its stream, and how files were read. Its columns are the attributes of `Statistics`. ``count`` is NULL where
nothing is known but that the key is declared; ``exact`` is not NULL where a number does not fit into its column, and
then the columns of numbers are NULL, as they are where there is no number. A sum that is NaN is NULL, too: compared
with anything it is false, as NaN is. A row of ``answers`` says whether a number lies from ``low`` to ``high``.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

from intake_bluesky.query.data import CompareStatistic, DataBetween, DataQuery, DataWithin
from intake_bluesky.query.form import code_text
from intake_bluesky.query.kept import Kept

__all__ = ["kept_condition"]

WHOLE: Final = 2**53  # up to here a float is every integer
Condition: TypeAlias = tuple[str, list[Any]]
ALWAYS: Final[Condition] = "1", []
NEVER: Final[Condition] = "0", []
MEAN: Final = "s.sum * 1.0 / (s.count - s.nan_count)"


def kept_condition(leaf: Kept, measured: str) -> Condition:
    """The condition on a run, whose row is ``id``; `measured` tells that statistics are kept of it."""
    if leaf.says == "true":
        known, answered = _known(leaf, _true(leaf.query)), _answered(leaf)
        return f"({known[0]} OR {answered[0]})", known[1] + answered[1]
    known, unknown = _known(leaf, _open(leaf.query)), _unknown(leaf)
    return f"(NOT {measured} OR {known[0]} OR {unknown[0]})", known[1] + unknown[1]


def _answered(leaf: Kept) -> Condition:
    """Whether a number is known to lie in the interval, or in a part of it."""
    query = leaf.query
    if not isinstance(query, DataBetween) or _is_odd(query.low) or _is_odd(query.high):
        return NEVER
    rows, values = _rows(leaf, "answers")
    sql = f"id IN (SELECT s.file {rows} AND k.reading IN ('', ?) AND s.found AND s.low >= ? AND s.high <= ?)"
    return sql, [*values, leaf.reading, query.low, query.high]


def _rows(leaf: Kept, table: str = "statistics") -> Condition:
    """The rows of the key asked for, in the streams asked for."""
    stream = leaf.query.stream
    sql = f"FROM {table} AS s JOIN keys AS k ON k.id = s.what WHERE k.key = ?"
    values = [code_text(leaf.query.key)]
    return (sql, values) if stream is None else (f"{sql} AND k.stream = ?", [*values, code_text(stream)])


def _known(leaf: Kept, condition: Condition) -> Condition:
    """Whether statistics that are known meet a condition, in some stream."""
    rows, values = _rows(leaf)
    sql = f"id IN (SELECT s.file {rows} AND k.reading IN ('', ?) AND s.count IS NOT NULL AND {condition[0]})"
    return sql, [*values, leaf.reading, *condition[1]]


def _unknown(leaf: Kept) -> Condition:
    """Whether some stream declares the key, and its statistics are not known."""
    rows, values = _rows(leaf)
    other = (
        "SELECT 1 FROM keys AS o JOIN statistics AS t ON t.what = o.id AND t.file = s.file "
        "WHERE o.key = k.key AND o.stream = k.stream AND o.reading = ? AND t.count IS NOT NULL"
    )
    sql = f"id IN (SELECT s.file {rows} AND k.reading = '' AND s.count IS NULL AND NOT EXISTS({other}))"
    return sql, [*values, leaf.reading]


def _true(query: DataQuery) -> Condition:
    """When statistics prove a query."""
    match query:
        case DataWithin(_, low, high):
            return _both(_compared("s.min", ">=", low), _compared("s.max", "<=", high))
        case DataBetween():
            return _both(_overlaps(query), _hits(query))
        case CompareStatistic(_, "mean", op, value):
            return _mean(op, value)
        case CompareStatistic(_, name, op, value):
            column = f"s.{name}"
            found = _compared(column, op, value)
            if name == "sum" and op == "==":  # sums of others than integers equal nothing
                return _both((f"typeof({column}) = 'integer'", []), found)
            return found


def _open(query: DataQuery) -> Condition:
    """When statistics neither prove nor refute a query."""
    sql, values = _undecided(query)
    return f"(s.exact IS NOT NULL OR {sql})", values


def _undecided(query: DataQuery) -> Condition:
    if isinstance(query, DataWithin):
        return ALWAYS if _is_odd(query.low) or _is_odd(query.high) else NEVER
    if isinstance(query, DataBetween):
        if _is_odd(query.low) or _is_odd(query.high):
            return ALWAYS
        overlaps, hits = _overlaps(query), _hits(query)
        refuted = (
            "EXISTS(SELECT 1 FROM answers AS a WHERE a.what = s.what AND a.file = s.file AND NOT a.found "
            "AND a.low <= ? AND a.high >= ?)"
        )
        sql = f"({overlaps[0]} AND NOT coalesce({hits[0]}, 0) AND NOT {refuted})"
        return sql, [*overlaps[1], *hits[1], query.low, query.high]
    if query.statistic == "mean":
        if abs(query.value) > WHOLE:
            return ALWAYS
        return f"typeof(s.sum) = 'integer' AND (abs(s.sum) >= {WHOLE} OR {MEAN} = ?)", [query.value]
    return ALWAYS if _is_odd(query.value) else NEVER


def _mean(op: str, value: float) -> Condition:
    """The mean of whole numbers is a fraction: here where its float tells, unless it equals the value."""
    if op == "==" or _is_odd(value):
        return NEVER
    of_floats = f"(typeof(s.sum) = 'real' AND {MEAN} {op} ?)", [value]
    if abs(value) > WHOLE:
        return of_floats
    strictly = f"typeof(s.sum) = 'integer' AND abs(s.sum) < {WHOLE} AND {MEAN} {op[0]} ?"
    return f"({strictly} OR {of_floats[0]})", [value, value]


def _overlaps(query: DataBetween) -> Condition:
    return _both(_compared("s.max", ">=", query.low), _compared("s.min", "<=", query.high))


def _hits(query: DataBetween) -> Condition:
    """Whether a known number lies in the interval, or it is longer than any gap; where it overlaps with the numbers."""
    parts = [
        _both(_compared(column, ">=", query.low), _compared(column, "<=", query.high))
        for column in ("s.min", "s.max", "s.first", "s.last")
    ]
    parts.append(("s.gap <= ?", [query.length]))
    return f"({' OR '.join(sql for sql, _ in parts)})", [value for _, values in parts for value in values]


def _compared(column: str, op: str, value: float) -> Condition:
    if _is_odd(value):
        return NEVER
    return f"{column} {'=' if op == '==' else op} ?", [value]


def _both(first: Condition, second: Condition) -> Condition:
    return f"({first[0]} AND {second[0]})", first[1] + second[1]


def _is_odd(value: float) -> bool:
    """Whether a number cannot be bound: an integer of more than 64 bits."""
    return isinstance(value, int) and not -(2**63) <= value < 2**63
