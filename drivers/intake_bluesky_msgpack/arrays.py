"""numpy values in MessagePack, coded as msgpack-numpy codes them; nothing is ever unpickled.

An array is a map of ``nd`` (true), ``type``, ``kind``, ``shape`` and ``data``; a numpy scalar one of ``nd`` (false),
``type`` and ``data``; a complex number one of ``complex`` and ``data``, its text. The keys are bytes.
"""

from __future__ import annotations

import math
import re
from typing import Any, Final
from uuid import UUID

import msgpack
import numpy as np

from intake_bluesky.documents.model import to_plain
from intake_bluesky.integers import INT64_END, UINT64_END

__all__ = ["INTEGER", "TEXT", "PickledObjects", "from_extension", "from_map", "packable"]

INTEGER: Final = 73
"""Extension type of integers past 64 bits: two's complement, big-endian."""
LONGEST_INTEGER: Final = 1785
"""Bytes of the longest, which has 4,300 digits: no more are read from JSON, nor shown."""
TEXT: Final = 84
"""Extension type of text with surrogates, which UTF-8 does not have: UTF-8 as Python's "surrogatepass" writes it."""

DTYPE: Final = re.compile(r"[<>|=]?[?biufcSUVMm][0-9]*(\[[0-9A-Za-z]+\])?")
MARKS: Final = frozenset({"nd", b"nd", "complex", b"complex"})
BUFFERS: Final = frozenset("biufcSUMm")  # kinds of dtype whose bytes are their values


class PickledObjects(ValueError):
    """An array of Python objects: its bytes are a pickle, which runs code when read."""


def packable(value: Any) -> Any:
    """What msgpack cannot pack itself, as something that it can.

    Raises
    ------
    TypeError
        When there is no form for it.
    """
    if isinstance(value, np.ma.MaskedArray):
        return value.tolist()  # what is masked is null; the bytes below the mask mean nothing
    if isinstance(value, np.ndarray):
        return _coded(value) if _buffered(value.dtype) else value.tolist()
    if isinstance(value, np.generic):
        short = value.dtype.kind in "biuf" and value.dtype.itemsize <= 8  # no longdouble, which a float does not hold
        return value.item() if short else _coded_scalar(value)
    if isinstance(value, complex):
        return {b"complex": True, b"data": repr(value)}
    if isinstance(value, UUID):
        return str(value)
    plain = to_plain(value)
    if isinstance(plain, int) and not -INT64_END <= plain < UINT64_END:
        size = plain.bit_length() // 8 + 1
        if size > LONGEST_INTEGER:
            raise TypeError(f"an integer of {plain.bit_length():,} bits is more than Python turns into text")
        return msgpack.ExtType(INTEGER, plain.to_bytes(size, "big", signed=True))
    if type(plain) is type(value):
        raise TypeError(f"MessagePack has no form for {type(value).__name__}")
    return plain


def _buffered(dtype: np.dtype[Any]) -> bool:
    if dtype.kind == "V" and dtype.names and not dtype.hasobject:
        return np.dtype(dtype.descr) == dtype  # it is not where fields are padded
    return dtype.kind in BUFFERS and dtype.itemsize > 0


def _coded(array: np.ndarray[Any, Any]) -> dict[bytes, Any]:
    named = array.dtype.names is not None
    return {
        b"nd": True,
        b"type": array.dtype.descr if named else array.dtype.str,
        b"kind": b"V" if named else b"",
        b"shape": array.shape,
        b"data": array.tobytes(),
    }


def _coded_scalar(value: np.generic) -> Any:
    if value.dtype.kind not in BUFFERS:
        return value.item()
    return {b"nd": False, b"type": value.dtype.str, b"data": value.tobytes()}


def from_map(found: dict[Any, Any]) -> Any:
    """Turn a map that codes a numpy value into that value; others are left as they are.

    Raises
    ------
    PickledObjects
        For an array of objects.
    ValueError, TypeError
        When the bytes do not fit dtype and shape.
    """
    if MARKS.isdisjoint(found):
        return found
    fields = {_text(key): value for key, value in found.items()}
    data = fields.get("data")
    if fields.get("complex") is True and isinstance(data, (str, bytes)) and len(fields) == 2:
        return complex(_text(data))
    if not isinstance(fields.get("nd"), bool) or "type" not in fields or not isinstance(data, bytes):
        return found
    if _text(fields.get("kind")) == "O":
        raise PickledObjects("an array of Python objects, pickled")
    dtype = _dtype(fields["type"])
    if not fields["nd"]:
        return np.frombuffer(data, dtype)[0]
    shape = tuple(fields["shape"])
    if not dtype.itemsize or math.prod(shape) * dtype.itemsize != len(data) or min(shape, default=0) < 0:
        raise ValueError(f"an array of {dtype} and shape {shape} in {len(data)} bytes")
    return np.frombuffer(data, dtype).reshape(shape).copy()  # the buffer is read-only


def _text(value: Any) -> Any:
    return value.decode("latin-1") if isinstance(value, bytes) else value


def _dtype(coded: Any) -> np.dtype[Any]:
    if isinstance(coded, list):
        # numpy describes padding as fields without a name, and takes no two of one name.
        names = [_text(field[0]) or f"padding {place}" for place, field in enumerate(coded)]
        fields = zip(names, coded, strict=True)
        whole = np.dtype([(name, _dtype(field[1]), *map(tuple, field[2:])) for name, field in fields])
        return whole[[name for name, field in zip(names, coded, strict=True) if _text(field[0])]]
    name = _text(coded)
    if isinstance(name, str) and name.strip("<>|=")[:1] == "O":
        raise PickledObjects("an array of Python objects, pickled")
    if not isinstance(name, str) or not DTYPE.fullmatch(name):
        raise ValueError(f"{name!r} is no dtype of numbers, text or times")
    return np.dtype(name)


def from_extension(code: int, data: bytes) -> Any:
    """Turn this package's extension types back.

    Raises
    ------
    ValueError
        For any other.
    """
    if code == INTEGER:
        if len(data) > LONGEST_INTEGER:
            raise ValueError(f"an integer of {len(data):,} bytes is more than Python turns into text")
        return int.from_bytes(data, "big", signed=True)
    if code == TEXT:
        return data.decode("utf-8", "surrogatepass")
    raise ValueError(f"extension type {code} is unknown here")
