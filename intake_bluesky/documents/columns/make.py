"""Columns of the values of a page's events, made from what these are."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any, Final

import numpy as np

from intake_bluesky.documents.columns.arrays import (
    NUMBERS,
    OBJECT,
    TEXT,
    Array,
    Column,
    Ragged,
    all_missing,
    missing,
    objects,
)
from intake_bluesky.documents.columns.observed import observe
from intake_bluesky.integers import FLOAT_EXACT, UINT64_END

MOST_DIMENSIONS: Final = 32  # of the array of an event; numpy takes twice as many, and other libraries no more


def column(values: Sequence[Any]) -> tuple[Column, bool]:
    """Make a column of one page's values.

    Parameters
    ----------
    values : sequence, length (events,)
        Python scalars, (nested) lists, numpy scalars or arrays; None where the value is null or missing.

    Returns
    -------
    col : numpy.ndarray of shape (events, ...), or Ragged
        int64, uint64, float64, bool, ``StringDType()`` or the arrays' own dtype; ints with gaps are float64;
        what no dtype holds exactly is object, and so are nulls among texts or alone.
    nulls : bool
        Whether there were nulls.

    Examples
    --------
    >>> column([1, 2])
    (array([1, 2]), False)
    >>> column([1, None])
    (array([ 1., nan]), True)
    """
    if isinstance(values, np.ndarray) and values.dtype.kind in NUMBERS:
        return values, False
    types = set(map(type, values))
    if any(issubclass(t, enum.Enum) for t in types):
        return column([v.value if isinstance(v, enum.Enum) else v for v in values])
    if type(None) in types:
        return _with_gaps(values), True
    if len(types) == 1:
        return _one_type(values, types.pop())
    if types == {int, float}:
        return _ints_and_floats(values), False
    if types & {list, tuple, np.ndarray}:
        return _arrays(values)
    return _mixed(values), False


def _one_type(values: Sequence[Any], kind: type) -> tuple[Column, bool]:
    if kind in (float, bool):
        return np.asarray(values, dtype=kind), False
    if kind is int:
        return _integers(values), False
    if kind is str:
        return _texts(values), False
    if kind in (list, tuple, np.ndarray):
        return _arrays(values)
    if issubclass(kind, (np.bool_, np.number)) and not issubclass(kind, np.timedelta64):
        return np.asarray(values), False
    if issubclass(kind, (np.str_, np.bytes_)):
        return column([v.item() for v in values])
    return objects(values), False


def _texts(values: Sequence[str]) -> Array:
    try:
        return np.asarray(values, dtype=TEXT)
    except UnicodeEncodeError:  # half a surrogate pair, which UTF-8 has no form for, and Python has
        return objects(values)


def _integers(values: Sequence[int]) -> Array:
    try:
        return np.asarray(values, dtype=np.int64)
    except OverflowError:  # detectors count in uint64, too
        pass
    return np.asarray(values, np.uint64) if min(values) >= 0 and max(values) < UINT64_END else objects(values)


def _ints_and_floats(values: Sequence[Any]) -> Array:
    # float64 would round such an integer.
    if any(type(v) is int and not -FLOAT_EXACT <= v <= FLOAT_EXACT for v in values):
        return objects(values)
    return np.asarray(values, dtype=np.float64)


def _mixed(values: Sequence[Any]) -> Array:
    """Scalars of several types: numpy scalars become Python's, then what they are decides."""
    plain = [v.item() if isinstance(v, np.generic) else v for v in values]
    if {type(v) for v in plain} != {type(v) for v in values}:
        col, _ = column(plain)
        return col if isinstance(col, np.ndarray) else objects(plain)
    return objects(plain)


def _with_gaps(values: Sequence[Any]) -> Column:
    present = [v for v in values if v is not None]
    if not present:
        # Not NaN, which is a value: what is missing may turn out to be a text, or an array.
        return objects(values)
    inner, _ = column(present)
    where = np.array([v is not None for v in values])
    seen = observe(inner, nulls=True)
    if isinstance(inner, np.ndarray) and inner.ndim > 1 and not inner.size:  # as such, null would be an empty array
        inner = Ragged(inner.ravel(), np.tile(np.asarray(inner.shape[1:], np.int64), (len(inner), 1)))
    if isinstance(inner, Ragged):
        shapes = np.zeros((len(values), inner.shapes.shape[1]), np.int64)
        shapes[where] = inner.shapes
        return Ragged(inner.values, shapes, ~where)
    # Among texts None, not "", which is a value: the column of the stream may be of objects. Among nulls alone, too.
    plain = seen.dtype == TEXT or all_missing(inner)
    out = missing((len(values), *inner.shape[1:]), OBJECT if plain else seen.dtype)
    out[where] = inner
    return out


def _arrays(values: Sequence[Any]) -> tuple[Column, bool]:
    """Arrays an event: one block where the shapes agree, `Ragged` where only the lengths differ."""
    if not all(isinstance(v, (list, tuple, np.ndarray)) for v in values):
        return objects(values), False
    shapes = [_shape(v) for v in values]
    known = [shape for shape in shapes if shape is not None]
    dimensions = {len(shape) for shape in known}
    if len(known) < len(shapes) or len(dimensions) > 1 or max(dimensions) >= MOST_DIMENSIONS:
        return objects(values), False
    flat: Column
    dtypes = {getattr(v, "dtype", OBJECT) for v in values}
    if len(dtypes) == 1 and dtypes.pop().kind in NUMBERS:
        flat, nulls = np.concatenate([v.ravel() for v in values]), False
    else:
        flat, nulls = column(list(chain.from_iterable(map(_leaves, values))))
    if isinstance(flat, Ragged) or flat.ndim > 1:
        return objects(values), nulls
    if len(set(shapes)) == 1:
        return flat.reshape(len(values), *known[0]), nulls
    return Ragged(flat, np.asarray(known, dtype=np.int64)), nulls


def _shape(value: Any) -> tuple[int, ...] | None:
    """Give the shape of nested lists; None where they are ragged within one event."""
    if isinstance(value, np.ndarray):
        return tuple(value.shape)
    if not isinstance(value, (list, tuple)):
        return ()
    nested = bool(value) and isinstance(value[0], (list, tuple, np.ndarray))
    inner = {_shape(v) for v in value} if nested else {()}
    only = inner.pop()
    return None if inner or only is None else (len(value), *only)


def _leaves(value: Any) -> Iterable[Any]:
    if isinstance(value, np.ndarray):
        # Of nanoseconds, numpy makes mere integers.
        return list(value.ravel()) if value.dtype.kind in "mM" else value.ravel().tolist()
    while value and isinstance(value[0], (list, tuple)):
        value = list(chain.from_iterable(value))
    if value and isinstance(value[0], np.ndarray):
        return chain.from_iterable(map(_leaves, value))
    return value  # type: ignore[no-any-return]  # documents have any type
