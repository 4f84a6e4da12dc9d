"""Documents as BSON, and back.

BSON has integers of 64 bits. Larger ones, up to 34 digits, are kept as its decimal numbers, with which the server
compares other numbers exactly. What else it has no form for, texts with half a surrogate pair and yet larger integers,
costs no event: in events it is kept as binary data of a subtype for users. Elsewhere it is refused, for there the
server is asked about it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import bson
from bson import Binary, Decimal128, Int64, ObjectId
from bson.errors import InvalidDocument, InvalidStringData
from bson.raw_bson import RawBSONDocument

from intake_bluesky.documents.model import Document, to_plain
from intake_bluesky.documents.refused import place_refused
from intake_bluesky.errors import UnsupportedOperation
from intake_bluesky.integers import INT64_END

LARGEST: Final = 16 * 2**20 - 16 * 2**10
"""Bytes of a document that a server surely takes (its limit is 16 MiB, with little to spare for its own)."""
DIGITS: Final = 10**34
# Subtypes of binary data, of those that are for users.
HALVES: Final = 128
INTEGER: Final = 129
PLAIN: Final = frozenset({bool, int, float, str, type(None)})


def decimal(value: int) -> Decimal128:
    """An integer past 64 bits as a number of BSON.

    Raises
    ------
    OverflowError
        When it has more than 34 digits.
    """
    if abs(value) >= DIGITS:
        raise OverflowError(f"an integer of {value.bit_length()} bits has more than the 34 digits that BSON holds")
    return Decimal128(str(value))


def _held(value: Any, *, any_form: bool) -> Any:
    """What BSON holds of a value; with `any_form` also as binary data."""
    if isinstance(value, dict):
        return {key: _held(item, any_form=any_form) for key, item in value.items()}
    if isinstance(value, list):
        return [_held(item, any_form=any_form) for item in value]
    if type(value) is int and not -INT64_END <= value < INT64_END:
        return Binary(hex(value).encode(), INTEGER) if any_form and abs(value) >= DIGITS else decimal(value)
    if any_form and type(value) is str and not value.isascii():
        raw = value.encode("utf-8", "surrogatepass")
        return value if raw.decode("utf-8", "replace") == value else Binary(raw, HALVES)
    return value


def ready(name: str, doc: Mapping[str, Any]) -> RawBSONDocument:
    """Encode a document for the server.

    Raises
    ------
    UnsupportedOperation
        When BSON cannot hold it, or it is larger than a server takes; nothing was written then.

    Examples
    --------
    >>> from_bson(ready("start", {"uid": "abc", "serial": 2**70, "shape": (2, 3)}))
    {'uid': 'abc', 'serial': 1180591620717411303424, 'shape': [2, 3]}
    """
    any_form = name in ("event", "event_page")
    try:
        return RawBSONDocument(_encoded(doc, any_form=any_form))
    except (InvalidDocument, InvalidStringData, OverflowError, RecursionError, TypeError, ValueError) as error:
        where = place_refused(name, doc, lambda value: _encoded({"value": value}, any_form=any_form))
        raise UnsupportedOperation(
            f"MongoDB cannot hold this {name} document ({doc.get('uid', doc.get('datum_id'))}), nothing of it was "
            f"written: {where}: {str(error)[:300]}"
        ) from error


def _encoded(doc: Mapping[str, Any], *, any_form: bool = False) -> bytes:
    plain = to_plain(doc)
    try:
        return bson.encode(plain)
    except (InvalidStringData, OverflowError, UnicodeError):
        return bson.encode(_held(plain, any_form=any_form))


def from_bson(doc: Mapping[str, Any]) -> Document:
    """Bring a document that the server gave to plain Python, without its ``_id``."""
    return {key: _tidy(value) for key, value in doc.items() if key != "_id"}


def _tidy(value: Any) -> Any:
    kind = type(value)
    if kind in PLAIN:
        return value
    if isinstance(value, Mapping):
        return {key: _tidy(item) for key, item in value.items()}
    if kind is list:
        return tidy_column(value)
    if kind is Int64:
        return int(value)
    if kind is Decimal128:
        return _number(value)
    if kind is Binary and value.subtype in (INTEGER, HALVES):
        return int(value, 16) if value.subtype == INTEGER else value.decode("utf-8", "surrogatepass")
    return str(value) if kind is ObjectId else value  # of old writers, who referred by it


def _number(value: Decimal128) -> int | float:
    exact = value.to_decimal()
    whole = exact.is_finite() and exact.as_tuple().exponent == 0
    return int(exact) if whole else float(exact)


def tidy_column(values: list[Any]) -> list[Any]:
    """Bring the values of one key to plain Python; the list itself where they are."""
    return values if set(map(type, values)) <= PLAIN else [_tidy(value) for value in values]
