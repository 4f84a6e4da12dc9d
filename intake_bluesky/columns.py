"""In-line data as columns: lists of event values to numpy arrays, and what was observed of them.

numpy casts silently (``[1, 2.5]`` asked as int, ``[1, None]`` asked as bool, ``["a", 1]`` to text). Nothing
here does: a column is made from what its values are, `Observed` remembers that over all pages of a stream,
and `conform` brings one page's column to the dtype and shape of the whole stream or says why it cannot.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import chain
from typing import Any, TypeAlias

import numpy as np

__all__ = [
    "Column",
    "Observed",
    "Ragged",
    "column",
    "conform",
    "merge_observed",
    "missing",
    "observe",
    "take",
]

Array: TypeAlias = "np.ndarray[Any, np.dtype[Any]]"

TEXT = np.dtypes.StringDType()
OBJECT = np.dtype(object)
NUMBERS = "biufc"
WIDE = 2**53  # past it float64 no longer holds every integer


@dataclass(frozen=True, slots=True, eq=False)
class Ragged:
    """One array an event, of different lengths.

    Attributes
    ----------
    values : numpy.ndarray, shape (sum of sizes,)
        The elements of all events, one after the other, each in C order.
    shapes : numpy.ndarray, shape (events, ndim), dtype int64
        The shape of each event's array.
    """

    values: Array
    shapes: Array

    def __len__(self) -> int:
        return len(self.shapes)

    @property
    def offsets(self) -> Array:
        """Where each event starts in `values`, and the end: shape (events + 1,), dtype int64."""
        return np.concatenate([[0], np.cumsum(self.shapes.prod(axis=1))]).astype(np.int64)

    def padded(self, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Array:
        """All events in one array of `shape` an event; what an event lacks is missing (NaN, "" or None)."""
        out = missing((len(self), *shape), dtype)
        offsets = self.offsets
        for row, own in enumerate(self.shapes):
            part = self.values[offsets[row] : offsets[row + 1]].reshape(own)
            window: tuple[Any, ...] = (row, *map(slice, own.tolist()))
            out[window] = part
        return out


Column: TypeAlias = "Array | Ragged"


@dataclass(frozen=True, slots=True)
class Observed:
    """What is known of one in-line key's values; ``a | b`` is what is known of both together.

    Attributes
    ----------
    kinds : frozenset of str
        numpy dtype strings (``"<i8"``, ``"|b1"``) and the marks ``text``, ``null`` (null, or key missing),
        ``big`` (integers past 64 bits), ``wide`` (past 2**53), ``negative``, ``empty`` (arrays without
        elements), ``other`` (dicts, bytes, mixtures).
    shape : tuple of int
        Shape of one event's value; the largest one where `ragged`.
    ragged : bool
        Whether events have different shapes.
    """

    kinds: frozenset[str] = frozenset()
    shape: tuple[int, ...] = ()
    ragged: bool = False

    def __or__(self, other: Observed) -> Observed:
        kinds = self.kinds | other.kinds
        if not self.valued or not other.valued:
            known = self if self.valued else other
            return Observed(kinds, known.shape, known.ragged)
        if len(self.shape) != len(other.shape):
            return Observed(kinds | {"other"}, (), ragged=False)
        shape = tuple(map(max, self.shape, other.shape))
        return Observed(kinds, shape, self.ragged or other.ragged or self.shape != other.shape)

    @property
    def valued(self) -> bool:
        """Whether any value was seen that is not null."""
        return bool(self.kinds - {"null"})

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of a column that holds all of it, nothing cast silently.

        Examples
        --------
        >>> Observed(frozenset({"<i8", "null"})).dtype
        dtype('float64')
        >>> Observed(frozenset({"|b1", "<i8"})).dtype
        dtype('O')
        """
        numeric = {np.dtype(k) for k in self.kinds if k[0] in "<>|="}
        gaps = "null" in self.kinds or self.ragged
        if "text" in self.kinds:
            return OBJECT if numeric or self.kinds & {"other", "big"} else TEXT
        if self.kinds & {"other", "big"}:
            return OBJECT
        if not numeric:
            return np.dtype(np.float64)  # nothing but nulls: all missing
        return _numeric(numeric, self.kinds, gaps=gaps)

    def to_list(self) -> list[Any]:
        """Plain lists, for storage; `from_list` takes them back."""
        return [sorted(self.kinds), list(self.shape), self.ragged]

    @classmethod
    def from_list(cls, saved: Sequence[Any]) -> Observed:
        """Rebuild what `to_list` gave."""
        return cls(frozenset(saved[0]), tuple(saved[1]), bool(saved[2]))


NULLS = Observed(frozenset({"null"}))


def _numeric(dtypes: set[np.dtype[Any]], marks: frozenset[str], *, gaps: bool) -> np.dtype[Any]:
    kinds = {d.kind for d in dtypes}
    if "b" in kinds:
        return OBJECT if kinds != {"b"} or gaps else np.dtype(bool)
    if kinds <= {"i", "u"} and not gaps:
        if kinds == {"i", "u"} and np.result_type(*dtypes).kind == "f":
            return OBJECT if "negative" in marks else np.dtype(np.uint64)
        return np.result_type(*dtypes)
    if kinds & {"i", "u"}:
        return OBJECT if "wide" in marks else np.result_type(np.float64, *dtypes)
    return np.result_type(*dtypes)


def missing(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """Make an array of missing values: NaN for floats, ``""`` for text, None for objects, else zero."""
    if dtype.kind in "fc":
        return np.full(shape, np.nan, dtype)
    if dtype == OBJECT:
        return np.full(shape, None, dtype)
    return np.zeros(shape, dtype)  # "" for text


def observe(col: Column, *, nulls: bool = False) -> Observed:
    """Say what a column made by `column` holds.

    Parameters
    ----------
    col : numpy.ndarray or Ragged
    nulls : bool
        Whether values were null or missing before the column was made.
    """
    if isinstance(col, Ragged):
        return Observed(_marks(col.values, nulls=nulls), _largest(col), ragged=True)
    if nulls and col.ndim == 1 and col.dtype.kind == "f" and np.isnan(col).all():
        return NULLS
    return Observed(_marks(col, nulls=nulls), tuple(col.shape[1:]))


def _marks(values: Array, *, nulls: bool) -> frozenset[str]:
    kinds = {"null"} if nulls else set()
    if values.dtype == TEXT or values.dtype.kind == "U":
        kinds.add("text")
    elif values.dtype == OBJECT:
        kinds |= _object_marks(values) if values.size else {"empty"}
    elif not values.size or values.dtype.kind in "fcb":
        kinds.add(values.dtype.str)
    else:
        kinds |= _integer_marks(int(values.min()), int(values.max())) | {values.dtype.str}
    return frozenset(kinds)


def _integer_marks(low: int, high: int) -> set[str]:
    marks = {"negative"} if low < 0 else set()
    return marks | ({"wide"} if high > WIDE or low < -WIDE else set())


def _object_marks(values: Array) -> set[str]:
    marks: set[str] = set()
    flat = values.ravel().tolist()
    types = set(map(type, flat))
    names = {bool: "|b1", float: "<f8", str: "text", type(None): "null"}
    marks |= {names.get(t, "other") for t in types - {int}}
    if int in types:
        ints = [v for v in flat if type(v) is int]
        marks |= _width_marks(min(ints), max(ints))
    return marks


def _width_marks(low: int, high: int) -> set[str]:
    if low < -(2**63) or high >= 2**64:
        return {"big"} | _integer_marks(low, high)
    signed = {"<i8"} if low < 0 or high < 2**63 else set()
    unsigned = {"<u8"} if high >= 2**63 else set()
    return signed | unsigned | _integer_marks(low, high)


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
        what no dtype holds exactly is object.
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
        return np.asarray(values, dtype=TEXT), False
    if kind in (list, tuple, np.ndarray):
        return _arrays(values)
    if issubclass(kind, (np.bool_, np.number)):
        return np.asarray(values), False
    if issubclass(kind, (np.str_, np.bytes_)):
        return column([v.item() for v in values])
    return _objects(values), False


def _integers(values: Sequence[int]) -> Array:
    try:
        return np.asarray(values, dtype=np.int64)
    except OverflowError:
        pass
    return np.asarray(values, np.uint64) if min(values) >= 0 and max(values) < 2**64 else _objects(values)


def _ints_and_floats(values: Sequence[Any]) -> Array:
    if any(type(v) is int and not -WIDE <= v <= WIDE for v in values):
        return _objects(values)
    return np.asarray(values, dtype=np.float64)


def _mixed(values: Sequence[Any]) -> Array:
    """Scalars of several types: numpy scalars become Python's, then what they are decides."""
    plain = [v.item() if isinstance(v, np.generic) else v for v in values]
    if {type(v) for v in plain} != {type(v) for v in values}:
        col, _ = column(plain)
        return col if isinstance(col, np.ndarray) else _objects(plain)
    return _objects(plain)


def _with_gaps(values: Sequence[Any]) -> Column:
    present = [v for v in values if v is not None]
    if not present:
        return np.full(len(values), np.nan)
    inner, _ = column(present)
    where = np.array([v is not None for v in values])
    seen = observe(inner, nulls=True)
    if isinstance(inner, Ragged):
        shapes = np.zeros((len(values), inner.shapes.shape[1]), np.int64)
        shapes[where] = inner.shapes
        return Ragged(inner.values, shapes)
    out = missing((len(values), *inner.shape[1:]), seen.dtype)
    out[where] = inner
    return out


def _objects(values: Sequence[Any]) -> Array:
    out = np.empty(len(values), dtype=object)
    for row, value in enumerate(values):
        out[row] = value
    return out


def _arrays(values: Sequence[Any]) -> tuple[Column, bool]:
    """Arrays an event: one block where the shapes agree, `Ragged` where only the lengths differ."""
    if not all(isinstance(v, (list, tuple, np.ndarray)) for v in values):
        return _objects(values), False
    shapes = [_shape(v) for v in values]
    known = [shape for shape in shapes if shape is not None]
    if len(known) < len(shapes) or len({len(shape) for shape in known}) > 1:
        return _objects(values), False
    flat, nulls = column(list(chain.from_iterable(map(_leaves, values)))) if not _typed(values) else _join(values)
    if isinstance(flat, Ragged) or flat.ndim > 1:
        return _objects(values), nulls
    if len(set(shapes)) == 1:
        return flat.reshape(len(values), *known[0]), nulls
    return Ragged(flat, np.asarray(known, dtype=np.int64)), nulls


def _typed(values: Sequence[Any]) -> bool:
    return (
        all(isinstance(v, np.ndarray) and v.dtype.kind in NUMBERS for v in values)
        and len({v.dtype for v in values}) == 1
    )


def _join(values: Sequence[Array]) -> tuple[Array, bool]:
    return np.concatenate([v.ravel() for v in values]), False


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
        return value.ravel().tolist()
    while value and isinstance(value[0], (list, tuple)):
        value = list(chain.from_iterable(value))
    return value  # type: ignore[no-any-return]


def conform(col: Column, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Array:
    """Bring one page's column to the dtype and per-event shape of its stream.

    Parameters
    ----------
    col : numpy.ndarray of shape (events, ...), or Ragged
    dtype : numpy.dtype
        What `Observed.dtype` gave for the whole stream.
    shape : tuple of int
        One event's shape in the stream.

    Returns
    -------
    numpy.ndarray of shape ``(events, *shape)`` and `dtype`

    Raises
    ------
    ValueError
        When a value would change: 2.5 asked as an integer, text as a number, a longer array than `shape`.
    """
    if dtype == OBJECT and not shape:
        return _objects(_rows(col)) if isinstance(col, Ragged) or col.ndim > 1 else _as_objects(col)
    if isinstance(col, Ragged):
        return _padded(col, dtype, shape)
    if col.shape[1:] == shape:
        return _cast(col, dtype)
    if col.dtype.kind == "f" and col.ndim == 1 and np.isnan(col).all() and _has_missing(dtype):
        return missing((len(col), *shape), dtype)  # nothing but nulls on this page
    shapes = np.tile(np.asarray(col.shape[1:], np.int64), (len(col), 1))
    return _padded(Ragged(col.ravel(), shapes), dtype, shape)


def _padded(col: Ragged, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Array:
    if col.shapes.shape[1] != len(shape) or (col.shapes > np.asarray(shape, np.int64)).any():
        raise ValueError(f"arrays of shapes up to {_largest(col)} where {shape} was declared")
    if not _has_missing(dtype) and (col.shapes != np.asarray(shape, np.int64)).any():
        raise ValueError(f"arrays shorter than the declared {shape}, and {dtype} has no missing value to fill up with")
    return Ragged(_cast(col.values, dtype), col.shapes).padded(dtype, shape)


def _largest(col: Ragged) -> tuple[int, ...]:
    return tuple(int(n) for n in col.shapes.max(axis=0, initial=0))


def _has_missing(dtype: np.dtype[Any]) -> bool:
    return dtype.kind in "fcO" or dtype == TEXT


def _rows(col: Column) -> list[Any]:
    if isinstance(col, Ragged):
        offsets = col.offsets
        return [col.values[offsets[i] : offsets[i + 1]].reshape(s) for i, s in enumerate(col.shapes)]
    return list(col)


def _as_objects(col: Array) -> Array:
    if col.dtype == TEXT:
        return np.array(col.tolist(), dtype=object)
    if col.dtype.kind == "f" and np.isnan(col).any():
        return np.array([None if np.isnan(v) else v for v in col.tolist()], dtype=object)
    return col.astype(object)


def _cast(col: Array, dtype: np.dtype[Any]) -> Array:
    if col.dtype == dtype:
        return col
    if dtype == OBJECT:
        return _as_objects(col) if col.ndim == 1 else col.astype(object)
    if not col.size:
        return np.empty(col.shape, dtype)
    if dtype == TEXT and col.dtype.kind == "f" and np.isnan(col).all():
        return missing(col.shape, dtype)
    wrong = _unheld(col, dtype)
    if wrong.any():
        bad = col[wrong].tolist()[0]
        raise ValueError(f"{col.dtype} values such as {bad!r} where {dtype} was declared")
    return col.astype(dtype)


def _unheld(col: Array, dtype: np.dtype[Any]) -> Array:
    """Tell which values `dtype` does not hold exactly; a boolean is no number, a float no integer."""
    inexact = dtype.kind in "fc"
    if col.dtype.kind in "iu" and dtype.kind in "iufc":
        limit = 2 ** (np.finfo(dtype).nmant + 1) if inexact else 0
        low, high = (-limit, limit) if inexact else (np.iinfo(dtype).min, np.iinfo(dtype).max)
        return np.asarray((col < low) | (col > high))
    if inexact and col.dtype.kind in {"f", dtype.kind}:
        with np.errstate(over="ignore", under="ignore"):
            back = col.astype(dtype).astype(col.dtype) if col.dtype.kind == dtype.kind else col
        return np.asarray(~((back == col) | np.isnan(col)))
    return np.ones(col.shape, bool)


def take(col: Column, events: Any) -> Column:
    """Select events of a column by slice, mask or index array."""
    if isinstance(col, np.ndarray):
        selected: Array = col[events]
        return selected
    offsets = col.offsets
    rows = np.arange(len(col))[events]
    parts = [col.values[offsets[i] : offsets[i + 1]] for i in rows]
    return Ragged(np.concatenate(parts) if parts else col.values[:0], col.shapes[rows])


def merge_observed(parts: Iterable[Observed]) -> Observed:
    """Say what is known of all parts together."""
    return reduce(Observed.__or__, parts, Observed())
