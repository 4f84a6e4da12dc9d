"""Queries written as MongoDB writes them, with MongoDB's meaning.

Where a value is a list, the list itself or any of its items may satisfy, and a key is looked for in each dict of
a list; null also means a missing key; equal dicts have their keys in the same order; NaN equals NaN. Numbers,
text and bools are compared among their kind alone. Regular expressions are Python's, and a time is float
seconds since the epoch, so that an aware datetime stands for these.

Keys: bare means the start document, a prefix ``start.`` or ``stop.`` names the document (so a key ``x`` of a
dict ``stop`` inside the start document is ``start.stop.x``).

Operators: ``$eq $ne $gt $gte $lt $lte $in $nin $exists $regex $options $not $all $elemMatch $size`` at a key,
``$and $or $nor`` among queries. Ordering lists or dicts, comparing with a regular expression as a value, and
every other operator are refused.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal, TypeAlias

from intake_bluesky.errors import UnsupportedQuery
from intake_bluesky.query.nodes import ALL, Query, all_of, any_of
from intake_bluesky.query.path_nodes import (
    AnyItem,
    Compare,
    Exists,
    HasSize,
    In,
    IsNaN,
    Operator,
    Regex,
)
from intake_bluesky.query.paths import Path

Locate: TypeAlias = Callable[[str], Path]

_ITEM: Final = Path("item", (), descend=True)


def from_mongo(query: Mapping[str, Any]) -> Query:
    """Read a MongoDB query document.

    Parameters
    ----------
    query
        ``{"plan_name": "scan", "num_points": {"$gt": 5}, "stop.exit_status": {"$ne": "fail"}}``; the text of
        this module lists the operators and says what they mean.

    Returns
    -------
    Query
        Over paths that descend into lists.

    Raises
    ------
    UnsupportedQuery
        For an operator that is not among those listed, and for a query that MongoDB refuses too.

    Examples
    --------
    >>> from_mongo({"motors": "th", "stop.exit_status": {"$in": ["fail", "abort"]}})
    (Start('motors', descend=True) == 'th') & Stop('exit_status', descend=True).is_in(['fail', 'abort'])
    """
    return parse(query)


def parse(query: Mapping[str, Any], *, document: Literal["start", "stop"] | None = None) -> Query:
    """Read a MongoDB query document; with `document`, all keys are that document's and take no prefix."""
    try:
        return _query(query, lambda key: Path.parse(key, document=document, descend=True))
    except RecursionError as error:
        raise UnsupportedQuery("this query is nested too deeply") from error


def _query(query: object, locate: Locate) -> Query:
    if not isinstance(query, Mapping) or not all(isinstance(key, str) for key in query):
        raise UnsupportedQuery(f"a query is a dict whose keys are str, not {query!r}")
    return all_of(_clause(key, condition, locate) for key, condition in query.items())


def _clause(key: str, condition: object, locate: Locate) -> Query:
    if key in _LOGICAL:
        return _LOGICAL[key]([_query(part, locate) for part in _list(key, condition, least=1)])
    if key.startswith("$"):
        raise _unsupported(key)
    return _condition(locate(key), condition)


def _condition(path: Path, condition: object) -> Query:
    if isinstance(condition, re.Pattern):
        return Regex(path, condition)
    if isinstance(condition, Mapping) and any(_is_operator(key) for key in condition):
        return _operators(path, condition)
    return _equal(path, condition)


def _operators(path: Path, condition: Mapping[Any, Any]) -> Query:
    for key in condition:
        if key not in _OPERATORS and key not in ("$regex", "$options"):
            raise _unsupported(key)
    queries = [_OPERATORS[key](path, argument) for key, argument in condition.items() if key in _OPERATORS]
    if "$regex" in condition:
        queries.append(_regex(path, condition["$regex"], condition.get("$options", "")))
    elif "$options" in condition:
        raise UnsupportedQuery(f"$options stands beside a $regex: {dict(condition)!r}")
    return all_of(queries)


def _is_operator(key: object) -> bool:
    return isinstance(key, str) and key.startswith("$")


def _unsupported(key: object) -> UnsupportedQuery:
    known = sorted([*_OPERATORS, "$regex", "$options"])
    return UnsupportedQuery(
        f"{key!r} is not understood here. At a key: {' '.join(known)}; among queries: {' '.join(sorted(_LOGICAL))}"
    )


def _list(operator: str, argument: object, *, least: int = 0) -> Sequence[Any]:
    if not isinstance(argument, list | tuple) or len(argument) < least:
        raise UnsupportedQuery(f"{operator} takes a list{' of one or more' if least else ''}, not {argument!r}")
    return argument


def _literal(value: object) -> object:
    """Refuse operators inside a value: MongoDB takes them for keys, which is never what was meant."""
    if isinstance(value, re.Pattern):
        raise UnsupportedQuery(f"a regular expression is no value to compare with: use $regex ({value.pattern!r})")
    if isinstance(value, Mapping):
        for key, item in value.items():
            if _is_operator(key):
                raise UnsupportedQuery(
                    f"{key!r} stands inside a value, {dict(value)!r}: write keys with dots, "
                    f"{{'a.b': {{'$gt': 1}}}}, not "
                    "{'a': {'b': {'$gt': 1}}}"
                )
            _literal(item)
    return value


def _is_nan(value: object) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _equal(path: Path, value: object) -> Query:
    return IsNaN(path) if _is_nan(value) else Compare(path, "==", _literal(value))


def _ordering(op: Operator) -> Callable[[Path, object], Query]:
    def order(path: Path, value: object) -> Query:
        if value is None or _is_nan(value):
            # Neither has an order, but >= and <= include what is equal.
            return _equal(path, value) if op in (">=", "<=") else ~ALL
        return Compare(path, op, _literal(value))

    return order


def _in(path: Path, values: object) -> Query:
    patterns: list[Query] = []
    plain: list[object] = []
    for value in _list("$in", values):
        if isinstance(value, re.Pattern):
            patterns.append(Regex(path, value))
        elif _is_nan(value):
            patterns.append(IsNaN(path))
        else:
            plain.append(_literal(value))
    return any_of([In(path, plain), *patterns] if plain else patterns)


def _exists(path: Path, wanted: object) -> Query:
    if not isinstance(wanted, bool | int | float):
        raise UnsupportedQuery(f"$exists takes True or False, not {wanted!r}")
    return Exists(path) if wanted else ~Exists(path)


def _regex(path: Path, pattern: object, options: object) -> Query:
    if not isinstance(pattern, str | re.Pattern):
        raise UnsupportedQuery(f"$regex takes a pattern, not {pattern!r}")
    if not isinstance(options, str) or not set(options) <= set("imsx"):
        raise UnsupportedQuery(f"$options are letters among imsx, not {options!r}")
    return Regex(path, pattern, options)


def _not(path: Path, condition: object) -> Query:
    if isinstance(condition, re.Pattern):
        return ~Regex(path, condition)
    if not isinstance(condition, Mapping) or not condition or not all(_is_operator(key) for key in condition):
        raise UnsupportedQuery(f"$not takes operators, as in {{'$not': {{'$gt': 5}}}}, not {condition!r}; use $ne")
    return ~_operators(path, condition)


def _all(path: Path, values: object) -> Query:
    parts = [_each(path, value) for value in _list("$all", values)]
    return all_of(parts) if parts else ~ALL  # for MongoDB, too, an empty list matches nothing


def _each(path: Path, value: object) -> Query:
    if isinstance(value, re.Pattern):
        return Regex(path, value)
    if isinstance(value, Mapping) and value.keys() == {"$elemMatch"}:
        return _elem_match(path, value["$elemMatch"])
    return _equal(path, value)


def _elem_match(path: Path, condition: object) -> Query:
    if not isinstance(condition, Mapping) or not condition:
        raise UnsupportedQuery(f"$elemMatch takes a dict that is not empty, not {condition!r}")
    # The first key decides whether the conditions are on the item or on its keys, as for MongoDB.
    if _is_operator(first := next(iter(condition))) and first not in _LOGICAL:
        return AnyItem(path, _operators(_ITEM, condition))
    query = _query(condition, lambda key: Path.parse(key, document="item", descend=True))
    if query == ALL:
        raise UnsupportedQuery(f"$elemMatch takes a condition that not every item meets, not {condition!r}")
    return AnyItem(path, query)


def _size(path: Path, size: object) -> Query:
    # MongoDB takes 2.0 for 2.
    return HasSize(path, int(size) if isinstance(size, float) and size.is_integer() else size)  # type: ignore[arg-type]


_LOGICAL: Final[Mapping[str, Callable[[list[Query]], Query]]] = {
    "$and": all_of,
    "$or": any_of,
    "$nor": lambda queries: ~any_of(queries),
}

_OPERATORS: Final[Mapping[str, Callable[[Path, Any], Query]]] = {
    "$eq": _equal,
    "$ne": lambda path, value: ~_equal(path, value),
    "$gt": _ordering(">"),
    "$gte": _ordering(">="),
    "$lt": _ordering("<"),
    "$lte": _ordering("<="),
    "$in": _in,
    "$nin": lambda path, values: ~_in(path, values),
    "$exists": _exists,
    "$not": _not,
    "$all": _all,
    "$elemMatch": _elem_match,
    "$size": _size,
}
