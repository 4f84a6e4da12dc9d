"""Queries about data as conditions of SQL over kept statistics.

A row of ``statistics`` (``s`` here) is about one data key of one run, which ``s.what`` names in ``keys`` (``k``): the
key, its stream, and how files were read. Its columns are the attributes of `Statistics`. ``count`` is NULL where
nothing is known but that the key is declared. What is NaN is NULL, as it is where there is no number: compared with
anything it is false, as NaN is. A row of ``answers`` records whether a number lies from ``low`` to ``high``.

In SQLite, ``exact`` is not NULL where a number does not fit into its column, and then the columns of numbers are NULL.
In PostgreSQL numbers are ``numeric``, and so exact; ``whole`` says that the sum is an integer, ``mean`` is the mean
where it is not.
"""

from __future__ import annotations

from dataclasses import dataclass

from intake_bluesky.index.dialect import Dialect
from intake_bluesky.index.json_conditions import ALWAYS, NEVER, SQL, joined, negated
from intake_bluesky.index.search_form import code_text
from intake_bluesky.index.sqlite import SQLITE
from intake_bluesky.query.data_nodes import CompareStatistic, DataBetween, DataQuery, DataWithin
from intake_bluesky.query.pruning import Kept

__all__ = ["kept_condition"]

REFUTED = (
    "NOT EXISTS(SELECT 1 FROM answers AS a WHERE a.what = s.what AND a.file = s.file AND NOT a.found "
    "AND a.low <= ? AND a.high >= ?)"
)
# Of values in files the row of the key is empty; nobody has read them in this way yet.
UNKNOWN = (
    "k.reading = '' AND s.count IS NULL AND NOT EXISTS("
    "SELECT 1 FROM keys AS o JOIN statistics AS t ON t.what = o.id AND t.file = s.file "
    "WHERE o.key = k.key AND o.stream = k.stream AND o.reading = ? AND t.count IS NOT NULL)"
)


def kept_condition(leaf: Kept, dialect: Dialect = SQLITE) -> SQL:
    """The condition on a run, whose row is ``id``; its column ``measured`` tells whether statistics are kept of it."""
    proof = _Proof(dialect)
    if leaf.says == "true":
        return _either(_known(leaf, proof.true(leaf.query)), _answered(leaf, dialect))
    unknown = _runs(leaf, "statistics", (UNKNOWN, [leaf.reading]))
    return _either(("NOT measured", []), _known(leaf, proof.open(leaf.query)), unknown)


def _known(leaf: Kept, condition: SQL) -> SQL:
    """Whether statistics that are known meet a condition, in some stream."""
    read = "k.reading IN ('', ?) AND s.count IS NOT NULL", [leaf.reading]
    return _runs(leaf, "statistics", read, condition)


def _answered(leaf: Kept, dialect: Dialect) -> SQL:
    """Whether a number is known to lie in the interval, or in a part of it."""
    query = leaf.query
    if not isinstance(query, DataBetween) or not all(map(dialect.fits, (query.low, query.high))):
        return NEVER
    found = "k.reading IN ('', ?) AND s.found AND s.low >= ? AND s.high <= ?"
    return _runs(leaf, "answers", (found, [leaf.reading, *map(dialect.SPOT.bind, (query.low, query.high))]))


def _runs(leaf: Kept, table: str, *conditions: SQL) -> SQL:
    """The runs with a row of the key asked for that meets all conditions, in the streams asked for."""
    parts: list[SQL] = [("k.key = ?", [code_text(leaf.query.key)])]
    if leaf.query.stream is not None:
        parts.append(("k.stream = ?", [code_text(leaf.query.stream)]))
    sql, values = joined(" AND ", [*parts, *conditions])
    return f"id IN (SELECT s.file FROM {table} AS s JOIN keys AS k ON k.id = s.what WHERE {sql})", values


@dataclass(frozen=True, slots=True)
class _Proof:
    """Proofs of queries by the statistics in a row."""

    dialect: Dialect

    def true(self, query: DataQuery) -> SQL:
        """When they prove a query."""
        match query:
            case DataWithin(_, low, high):
                return _both(self._compared("min", ">=", low), self._compared("max", "<=", high))
            case DataBetween():
                return _both(self._overlaps(query), self._hits(query))
            case CompareStatistic(_, "mean", op, value):
                return self.dialect.mean(op, value)
            case CompareStatistic(_, "sum", "==", value):  # sums of others than integers equal nothing
                return _both((self.dialect.WHOLE, []), self._compared("sum", "==", value))
            case CompareStatistic(_, name, op, value):
                return self._compared(name, op, value)

    def open(self, query: DataQuery) -> SQL:
        """When they neither prove nor refute a query."""
        return _either((self.dialect.INEXACT, []), self._undecided(query))

    def _undecided(self, query: DataQuery) -> SQL:
        match query:
            case CompareStatistic(_, "mean", _, value):
                return self.dialect.mean_open(value)
            case CompareStatistic(_, _, _, value):
                bounds: tuple[float, ...] = (value,)
            case DataWithin(_, low, high) | DataBetween(_, low, high):
                bounds = low, high
        if not all(map(self.dialect.fits, bounds)):
            return ALWAYS
        if not isinstance(query, DataBetween):
            return NEVER
        refuted = REFUTED, list(map(self.dialect.SPOT.bind, bounds))
        return joined(" AND ", [self._overlaps(query), negated(self._hits(query)), refuted])

    def _overlaps(self, query: DataBetween) -> SQL:
        return _both(self._compared("max", ">=", query.low), self._compared("min", "<=", query.high))

    def _hits(self, query: DataBetween) -> SQL:
        """Whether a known number lies in the interval, or it is longer than any gap; where both overlap."""
        known = [
            _both(self._compared(name, ">=", query.low), self._compared(name, "<=", query.high))
            for name in ("min", "max", "first", "last")
        ]
        return _either(*known, self._compared("gap", "<=", query.length))

    def _compared(self, name: str, op: str, value: float) -> SQL:
        if not self.dialect.fits(value):
            return NEVER
        return f"s.{name} {'=' if op == '==' else op} ?", [self.dialect.SPOT.bind(value)]


def _both(first: SQL, second: SQL) -> SQL:
    return joined(" AND ", [first, second])


def _either(*conditions: SQL) -> SQL:
    """Some of these; a term that never holds is left out, for PostgreSQL joins what is inside only without it."""
    return joined(" OR ", [condition for condition in conditions if condition != NEVER] or [NEVER])
