"""What a column is: one numpy array, or `Ragged` where events hold arrays of different lengths."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np

Array: TypeAlias = "np.ndarray[Any, np.dtype[Any]]"

TEXT = np.dtypes.StringDType()
OBJECT = np.dtype(object)
NUMBERS = "biufc"


@dataclass(frozen=True, slots=True, eq=False)
class Ragged:
    """One array an event, of different lengths.

    Attributes
    ----------
    values : numpy.ndarray, shape (sum of sizes,)
        The elements of all events, one after the other, each in C order.
    shapes : numpy.ndarray, shape (events, ndim), dtype int64
        The shape of each event's array.
    nulls : numpy.ndarray, shape (events,), dtype bool, or None
        Which events have null, and not an empty array; None where none has.
    """

    values: Array
    shapes: Array
    nulls: Array | None = None

    def __len__(self) -> int:
        return len(self.shapes)

    @property
    def offsets(self) -> Array:
        """Where each event starts in `values`, and the end: shape (events + 1,), dtype int64."""
        return np.concatenate([[0], np.cumsum(self.shapes.prod(axis=1))]).astype(np.int64)

    @property
    def largest(self) -> tuple[int, ...]:
        """The shape that has room for every event's array."""
        return tuple(int(n) for n in self.shapes.max(axis=0, initial=0))

    def padded(self, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Array:
        """All events in one array of `shape` an event; what an event lacks is missing (NaN, "" or None)."""
        out = missing((len(self), *shape), dtype)
        for row, part in enumerate(self.arrays()):
            window: tuple[Any, ...] = (row, *map(slice, part.shape))
            out[window] = part
        return out

    def arrays(self) -> Iterator[Array]:
        """Yield the array of each event."""
        ends = pairwise(self.offsets.tolist())
        return (self.values[begin:end].reshape(own) for (begin, end), own in zip(ends, self.shapes, strict=True))


Column: TypeAlias = "Array | Ragged"


def missing(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """Make an array of missing values: NaN for floats, ``""`` for text, None for objects, else zero."""
    if dtype.kind in "fc":
        return np.full(shape, np.nan, dtype)
    if dtype == OBJECT:
        return np.full(shape, None, dtype)
    return np.zeros(shape, dtype)  # "" for text


def all_missing(col: Array) -> bool:
    """Tell whether an array is nothing but nulls, which are None where no value says what else they might be."""
    return col.dtype == OBJECT and all(value is None for value in col.ravel().tolist())


def objects(values: Sequence[Any]) -> Array:
    """Make an array of Python objects, whatever they are."""
    # Filled one by one: np.array() would make dimensions of lists.
    out = np.empty(len(values), dtype=object)
    for row, value in enumerate(values):
        out[row] = value
    return out


def take(col: Column, events: Any) -> Column:
    """Select events of a column by slice, mask or index array."""
    if isinstance(col, np.ndarray):
        selected: Array = col[events]
        return selected
    offsets = col.offsets
    rows = np.arange(len(col))[events]
    parts = [col.values[offsets[i] : offsets[i + 1]] for i in rows]
    nulls = None if col.nulls is None else col.nulls[rows]
    return Ragged(np.concatenate(parts) if parts else col.values[:0], col.shapes[rows], nulls)
