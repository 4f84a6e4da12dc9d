"""What the index answers of a query by itself: uids, scan_ids and times; the rest is left to `matches`."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any, Final

from intake_bluesky.query import And, Compare, Everything, In, Not, Or, PartialUID, Path, Query

__all__ = ["condition", "exact"]

MAX: Final = 2**63
EXACT: Final = 2**53  # up to here the float that is kept of a time is that time
MANY: Final = 1000  # terms of one condition; SQLite has limits on terms and on values
SQL = tuple[str, list[Any]]


def exact(leaf: Query) -> bool:
    """Whether `condition` says of every run what `matches` says."""
    match leaf:
        case Everything():
            return True
        case PartialUID():
            return len(leaf.uids) <= MANY and all(map(_storable, leaf.uids))
        case Compare():
            return _answers(leaf.path, leaf.op, (leaf.value,))
        case In():
            timed = leaf.path.segments == ("time",) and len(leaf.values) > MANY
            return not timed and _answers(leaf.path, "==", leaf.values)
    return False


def _answers(path: Path, op: str, values: tuple[Any, ...]) -> bool:
    if path.document != "start":
        return False
    if path.segments == ("uid",):
        return op == "==" and all(isinstance(value, str) and _storable(value) for value in values)
    # A path that descends looks into lists, of which the index knows nothing.
    if path.descend or not all(map(_number, values)):
        return False
    return path.segments == ("scan_id",) or (path.segments == ("time",) and all(abs(value) < EXACT for value in values))


def _storable(text: str) -> bool:
    return text.isprintable() and text.isascii()  # past that, text may hold NUL or surrogates


def _number(value: Any) -> bool:
    if type(value) is int:
        return -MAX <= value < MAX
    return type(value) is float and math.isfinite(value)


def condition(query: Query) -> SQL:
    """The condition on the table ``files`` and its values, for a query whose leaves are all `exact`."""
    match query:
        case Everything():
            return "1", []
        case And():
            return _joined(" AND ", [condition(child) for child in query.children])
        case Or():
            return _joined(" OR ", [condition(child) for child in query.children])
        case Not():
            inner, values = condition(query.child)
            return f"NOT coalesce({inner}, 0)", values  # what a run lacks is not equal to anything
        case PartialUID():
            return _joined(" OR ", [("(uid >= ? AND uid < ?)", [uid, _after(uid)]) for uid in query.uids])
        case Compare():
            return _compare(query.path.segments[0], query.op, query.value)
        case In():
            return _one_of(query.path.segments[0], query.values)
    raise TypeError(f"the index does not answer {query!r}: plan() has to be asked first")


def _after(prefix: str) -> str:
    """The first text after all that begin so."""
    return prefix[:-1] + chr(ord(prefix[-1]) + 1)


def _joined(word: str, parts: Sequence[SQL]) -> SQL:
    """Join conditions, halves with halves: SQLite limits how deep an expression is."""
    if len(parts) == 1:
        return parts[0]
    half = len(parts) // 2
    left, right = _joined(word, parts[:half]), _joined(word, parts[half:])
    return f"({left[0]}{word}{right[0]})", left[1] + right[1]


def _one_of(field: str, values: Sequence[Any]) -> SQL:
    if field == "time":  # SQLite reads the digits of a float less exactly than it compares floats
        return _joined(" OR ", [_compare(field, "==", value) for value in values])
    sql = f"{field} IN (SELECT value FROM json_each(?))"  # noqa: S608  # a field is one of three names, see _answers
    return sql, [json.dumps(list(values))]


def _compare(field: str, op: str, value: Any) -> SQL:
    sign = "=" if op == "==" else op
    if field == "time":
        return f"(time {sign} ? OR odd_time {sign} ?)", [value, value]
    return f"{field} {sign} ?", [value]
