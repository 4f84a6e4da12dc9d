"""The values of one field of many documents as bytes, from which the very values come back.

What is of one kind is kept as NumPy keeps it, and read without a copy: floats, integers, booleans, and arrays of
these, of one shape or of several. All else is JSON, compressed.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any, Final, NamedTuple

import numpy as np
import zstandard

from intake_bluesky.documents import exact_json
from intake_bluesky.documents.columns import TEXT, Array, Column, Observed, Ragged, column, observe

JSON: Final = "json"
TEXTS: Final = "text"
RAGGED: Final = "ragged"
KINDS: Final = "biuf"
WIDEST: Final = 8  # bytes of a number; longdouble is another on each machine
LEVEL: Final = 1


class Packed(NamedTuple):
    """The values of a field."""

    # ``json``, ``text`` (JSON that holds only texts), a dtype with the shape of one value (``<f8``, ``<i8,3,4``), or
    # ``ragged``, the number of dimensions and a dtype (``ragged,1,<f8``).
    form: str
    body: bytes


def pack(values: Sequence[Any]) -> Packed:
    """Keep values, one a document or one an event.

    Raises
    ------
    RecursionError, TypeError, ValueError
        For what JSON does not have.

    Examples
    --------
    >>> pack([1.5, 2.5]).form, pack([1, 2.5]).form, pack([[1, 2], [3, 4]]).form, pack([[1], [2, 3]]).form
    ('<f8', 'json', '<i8,2', 'ragged,1,<i8')
    """
    found = _array(values)
    if found is None:
        plain = values.tolist() if isinstance(values, np.ndarray) else list(values)
        texts = bool(plain) and set(map(type, plain)) == {str}
        return Packed(TEXTS if texts else JSON, zstandard.compress(exact_json.dumps(plain), LEVEL))
    if isinstance(found, Ragged):
        shapes = np.ascontiguousarray(found.shapes, np.dtype("<i8"))
        return Packed(f"{RAGGED},{shapes.shape[1]},{found.values.dtype.str}", shapes.tobytes() + found.values.tobytes())
    return Packed(",".join([found.dtype.str, *map(str, found.shape[1:])]), found.tobytes())


def _array(values: Sequence[Any]) -> Column | None:
    """The values as an array that gives back each of them, its type too; None where there is none."""
    if isinstance(values, np.ndarray):
        return values if _plain_dtype(values.dtype) and values.ndim else None
    types = set(map(type, values))
    if len(types) != 1:  # integers among floats, or nulls, would all come back as floats
        return None
    [kind] = types
    if kind is float or kind is bool:
        return np.asarray(values, kind)
    if kind is int:
        found = column(values)[0]
        return found if isinstance(found, np.ndarray) and found.dtype.kind in "iu" else None
    if kind is list:
        return _nested(values)
    if kind is np.ndarray:
        return _stacked(values)
    if issubclass(kind, np.number | np.bool_) and _plain_dtype(np.dtype(kind)):
        return np.asarray(values)
    return None


def _plain_dtype(dtype: np.dtype[Any]) -> bool:
    return dtype.kind in KINDS and dtype.itemsize <= WIDEST


def _stacked(values: Sequence[Array]) -> Array | None:
    first = values[0]
    same = all(value.dtype == first.dtype and value.shape == first.shape for value in values)
    return np.stack(values) if same and first.ndim and _plain_dtype(first.dtype) else None


def _nested(values: Sequence[list[Any]]) -> Column | None:
    leaves, depth = list(values), 0
    while leaves and set(map(type, leaves)) == {list}:
        leaves, depth = list(chain.from_iterable(leaves)), depth + 1
    types = set(map(type, leaves))
    if len(types) != 1 or not types <= {int, float, bool}:
        return None
    found, nulls = column(values)
    numbers, dimensions = (
        (found.values, found.shapes.shape[1]) if isinstance(found, Ragged) else (found, found.ndim - 1)
    )
    # An empty list among the others, or lists as deep as their neighbours are not, would not come back.
    sound = not nulls and numbers.dtype.kind in KINDS and dimensions == depth and numbers.size == len(leaves)
    return found if sound else None


def unpack_column(packed: Packed, events: int) -> tuple[Column, bool]:
    """The values as a column of an event page, and whether there were nulls; arrays are read-only views.

    Raises
    ------
    ValueError
        Where the bytes are not those of so many events.
    """
    name, *rest = packed.form.split(",")
    if name in (JSON, TEXTS):
        values = _json(packed.body, events)
        return (np.asarray(values, TEXT), False) if name == TEXTS else column(values)
    if name == RAGGED:
        dimensions = int(rest[0])
        shapes = np.frombuffer(packed.body, "<i8", events * dimensions).reshape(events, dimensions)
        return Ragged(np.frombuffer(packed.body, rest[1], offset=shapes.nbytes), shapes), False
    found = np.frombuffer(packed.body, name)
    # Where there are not as many, reshape() raises.
    return found if not rest and len(found) == events else found.reshape(events, *map(int, rest)), False


def unpack(packed: Packed, count: int) -> list[Any]:
    """The values themselves, arrays as lists."""
    name = packed.form.partition(",")[0]
    if name in (JSON, TEXTS):
        return _json(packed.body, count)
    found, _ = unpack_column(packed, count)
    if not isinstance(found, Ragged):
        return found.tolist()  # type: ignore[no-any-return]  # numpy's, of any type
    offsets = found.offsets
    return [found.values[a:b].reshape(s).tolist() for a, b, s in zip(offsets, offsets[1:], found.shapes, strict=False)]


def _json(body: bytes, count: int) -> list[Any]:
    values: list[Any] = exact_json.loads(zstandard.decompress(body))
    if type(values) is not list or len(values) != count:
        raise ValueError(f"{count} values were kept, and others are there")
    return values


def observe_packed(packed: Packed, events: int) -> Observed:
    """What the column of some values holds."""
    found, nulls = unpack_column(packed, events)
    return observe(found, nulls=nulls)
