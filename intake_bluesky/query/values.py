"""The values a query may hold: plain, frozen, and exactly what a JSON document may hold.

``5``, ``5.0``, ``True``, ``"5"`` and ``None`` are five values in a document, and in a query, too.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from datetime import datetime
from enum import Enum
from typing import Any, Final, TypeAlias, Union

from intake_bluesky.errors import UnsupportedQuery

Value: TypeAlias = Union[bool, int, float, str, tuple["Value", ...], "FrozenDict", None]

MAX_DEPTH: Final = 100
# Python refuses to print integers of more than 4300 digits, and a query must print.
MAX_BITS: Final = 4096


class FrozenDict(Mapping[str, "Value"]):
    """A dict of values that cannot change. Two are equal when the same keys hold equal values, in any order.

    Examples
    --------
    >>> FrozenDict({"element": "Ni"})["element"]
    'Ni'
    """

    __slots__ = ("_items",)

    def __init__(self, items: Mapping[str, Value]) -> None:
        self._items = dict(items)

    def __getitem__(self, key: str) -> Value:
        return self._items[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __hash__(self) -> int:
        return hash(frozenset(self._items.items()))

    def __repr__(self) -> str:
        return show(self)


def freeze(value: object, *, depth: int = 0) -> Value:
    """Bring a value given by a user to the form that queries hold.

    NumPy scalars and arrays become Python numbers and tuples, lists tuples, dicts `FrozenDict`, enumerations
    their values, aware datetimes float seconds since the epoch.

    Raises
    ------
    UnsupportedQuery
        For a naive datetime, NaN, and anything a JSON document cannot hold.

    Examples
    --------
    >>> freeze([1, 2.5, {"a": None}])
    (1, 2.5, {'a': None})
    """
    if depth > MAX_DEPTH:
        raise UnsupportedQuery(f"a value in a query is nested deeper than {MAX_DEPTH} levels: compare a part of it")
    if isinstance(value, Enum):
        # Before all else: members of many enumerations are ints or texts as well.
        return freeze(value.value, depth=depth + 1)
    if isinstance(value, Mapping):
        return FrozenDict({_key(key): freeze(item, depth=depth + 1) for key, item in value.items()})
    if isinstance(value, list | tuple):
        return tuple(freeze(item, depth=depth + 1) for item in value)
    return _freeze_scalar(value, depth=depth)


def _freeze_scalar(value: object, *, depth: int) -> Value:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        if value.bit_length() > MAX_BITS:
            raise UnsupportedQuery(
                f"an integer of {value.bit_length()} bits is too long for a query: {MAX_BITS} at most"
            )
        return int(value)
    if isinstance(value, float):
        if math.isnan(value):
            raise UnsupportedQuery("nothing equals NaN, itself included: ask with .is_nan()")
        return float(value)
    if isinstance(value, str):
        return str(value)
    if isinstance(value, datetime):
        return seconds(value)
    # NumPy's scalars and arrays, recognised without importing NumPy.
    to_python = getattr(value, "tolist", None) if hasattr(value, "dtype") else None
    if callable(to_python):
        return freeze(to_python(), depth=depth + 1)
    raise UnsupportedQuery(
        f"a query cannot hold {value!r} of type {type(value).__name__}: documents hold None, bool, int, "
        "float, str, lists and dicts of these, and times as float seconds since the epoch"
    )


def _key(key: object) -> str:
    if not isinstance(key, str):
        raise UnsupportedQuery(f"the keys of a dict in a document are str, not {type(key).__name__}: {key!r}")
    return str(key)


def seconds(moment: datetime) -> float:
    """Give the seconds since the epoch of an aware datetime, as documents store times.

    Raises
    ------
    UnsupportedQuery
        If the datetime is naive.

    Examples
    --------
    >>> from datetime import timezone
    >>> seconds(datetime(2024, 1, 1, tzinfo=timezone.utc))
    1704067200.0
    """
    if moment.utcoffset() is None:
        raise UnsupportedQuery(
            f"{moment!r} has no time zone: give one, as in moment.astimezone() for local time, or use "
            "TimeRange(since, until, timezone)"
        )
    return moment.timestamp()


def show(value: object) -> str:
    """Write a value as code that `freeze` brings back to it.

    Examples
    --------
    >>> show(freeze((1, {"a": float("inf")})))
    "[1, {'a': float('inf')}]"
    """
    if isinstance(value, tuple):
        return f"[{', '.join(show(item) for item in value)}]"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key!r}: {show(item)}' for key, item in value.items())}}}"
    if isinstance(value, float) and math.isinf(value):
        return f"float('{value}')"  # repr() gives inf, which is no code
    return repr(value)


def is_number(value: object) -> bool:
    """Tell whether a value is an int or a float; a bool is neither."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def equal(observed: object, expected: object, *, ordered: bool = False) -> bool:
    """Tell whether a document's value equals another.

    Ints and floats compare exactly, a bool equals only a bool, NaN nothing; a list (or tuple) equals
    one of equal items, a dict one with equal values at the same keys, in the same order if `ordered`.

    Examples
    --------
    >>> equal(2**53 + 1, float(2**53)), equal(True, 1), equal([1, {"a": 2.0}], (1, {"a": 2}))
    (False, False, True)
    """
    if is_number(observed) and is_number(expected):
        return observed == expected
    if isinstance(expected, list | tuple):
        return (
            isinstance(observed, list | tuple)
            and len(observed) == len(expected)
            and all(equal(a, b, ordered=ordered) for a, b in zip(observed, expected, strict=True))
        )
    if isinstance(expected, Mapping):
        return _equal_mappings(observed, expected, ordered=ordered)
    if isinstance(expected, str):
        return isinstance(observed, str) and observed == expected
    # By identity: 1 == True, and None, True and False are one object each.
    return (expected is None or isinstance(expected, bool)) and observed is expected


def _equal_mappings(observed: object, expected: Mapping[Any, Any], *, ordered: bool) -> bool:
    if not isinstance(observed, Mapping) or len(observed) != len(expected):
        return False
    if ordered and list(observed) != list(expected):
        return False
    return all(key in observed and equal(observed[key], item, ordered=ordered) for key, item in expected.items())
