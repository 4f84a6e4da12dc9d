r"""JSON that gives back what was put in: NaN, the infinities, integers of any size, any text.

orjson does nearly all of it, and is quick. It writes NaN as null, refuses integers past 64 bits and lone surrogates,
and reads such integers as floats: where that could be, Python's `json` takes over. NaN and the infinities are written
as that writes them (``NaN``, ``Infinity``).
"""

from __future__ import annotations

import json
from typing import Any, Final
from uuid import UUID

import numpy as np
import orjson

from intake_bluesky.documents.model import to_plain

LARGE: Final = 1 << 25  # bytes; orjson's errors take twelve times as many as what it could not read
OPTIONS: Final = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME
REFUSALS: Final = (RecursionError, TypeError, ValueError)
"""What `dumps` raises where JSON has no form for a value."""

# An integer past 64 bits has at least 19 digits after what may stand before a number. With every digit made "0"
# and every separator ":", one search finds all candidates.
SEPARATORS: Final = b":,[- \t\r\n"
TOKENS: Final = bytes.maketrans(b"0123456789" + SEPARATORS, b"0" * 10 + b":" * len(SEPARATORS))
LONG_INTEGER: Final = b":" + b"0" * 19
# Both are looked for from the end, which takes CPython half the time: it compares their first bytes, which are rare.
NULL: Final = b"null"


def dumps(value: Any, *, line: bool = False) -> bytes:
    """Write a value: what JSON has, numpy values, enums and UUIDs. Keys that are no text become text.

    Parameters
    ----------
    line : bool
        Whether a line end follows.

    Raises
    ------
    RecursionError, TypeError, ValueError
        For what JSON does not have: bytes, complex numbers, dates.

    Examples
    --------
    >>> dumps({"x": float("nan"), "n": 2**70}), loads(b"[1180591620717411303424]")
    (b'{"x":NaN,"n":1180591620717411303424}', [1180591620717411303424])
    """
    try:
        raw = orjson.dumps(value, default=_plain, option=OPTIONS | orjson.OPT_APPEND_NEWLINE if line else OPTIONS)
    except orjson.JSONEncodeError:
        return _exactly(value, line=line)
    if raw.rfind(NULL) >= 0 and not _unchanged(raw, value):  # orjson writes NaN as null
        return _exactly(value, line=line)
    return raw


def json_text(value: Any) -> str:
    """Write any value as JSON in ASCII, for people and files of text: what JSON does not have is text.

    Examples
    --------
    >>> json_text({"x": np.arange(3), "z": 1 + 2j, "missing": None})
    '{"x": [0, 1, 2], "z": "(1+2j)", "missing": null}'
    """
    return json.dumps(to_plain(value), default=str)


def loads(raw: bytes) -> Any:
    """Read a value.

    Raises
    ------
    RecursionError, ValueError
        For what is no JSON.
    """
    if len(raw) > LARGE:
        return json.loads(raw.decode())
    try:
        found = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return json.loads(raw.decode())
    return json.loads(raw.decode()) if may_hold_long_integers(raw) else found


def may_hold_long_integers(raw: bytes) -> bool:
    """Whether integers may be among this JSON that orjson reads as floats.

    Examples
    --------
    >>> may_hold_long_integers(b"[1180591620717411303424]"), may_hold_long_integers(b"[1.5, 7]")
    (True, False)
    """
    return raw.translate(TOKENS).rfind(LONG_INTEGER) >= 0


def _plain(value: Any) -> Any:
    """What orjson and json cannot write themselves, as something that they can."""
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, np.ndarray | np.generic) and _has_times(value.dtype):
        raise TypeError("JSON has no form for datetime64 and timedelta64, write seconds since 1970")
    plain = value.tolist() if isinstance(value, np.ndarray) else to_plain(value)
    if type(plain) is type(value):
        raise TypeError(f"JSON has no form for {type(value).__name__}")
    return plain


def _has_times(dtype: np.dtype[Any]) -> bool:
    return dtype.kind in "mM" or any(_has_times(dtype[name]) for name in dtype.names or ())


def _exactly(value: Any, *, line: bool) -> bytes:
    return json.dumps(value, default=_plain, separators=(",", ":")).encode() + (b"\n" if line else b"")


def _unchanged(raw: bytes, value: Any) -> bool:
    try:
        return bool(orjson.loads(raw) == value)
    except ValueError:  # numpy arrays do not say whether they are equal
        return False
