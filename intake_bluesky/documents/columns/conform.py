"""Bringing one page's column to the dtype and shape of its stream, or saying why it cannot be."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from intake_bluesky.documents.columns.arrays import OBJECT, TEXT, Array, Column, Ragged, all_missing, missing, objects


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
        found = objects([_as_object(v) for v in (col.arrays() if isinstance(col, Ragged) else col.tolist())])
        if isinstance(col, Ragged) and col.nulls is not None:
            found[col.nulls] = None
        return found
    if isinstance(col, Ragged):
        return _padded(col, dtype, shape)
    if col.shape[1:] == shape:
        return _cast(col, dtype)
    if col.ndim == 1 and all_missing(col) and _has_missing(dtype):
        return missing((len(col), *shape), dtype)  # nothing but nulls on this page
    shapes = np.tile(np.asarray(col.shape[1:], np.int64), (len(col), 1))
    return _padded(Ragged(col.ravel(), shapes), dtype, shape)


def _padded(col: Ragged, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Array:
    if col.shapes.shape[1] != len(shape) or (col.shapes > np.asarray(shape, np.int64)).any():
        raise ValueError(f"arrays of shapes up to {col.largest} where {shape} was declared")
    if not _has_missing(dtype) and (col.shapes != np.asarray(shape, np.int64)).any():
        raise ValueError(f"arrays shorter than the declared {shape}, and {dtype} has no missing value to fill up with")
    return Ragged(_cast(col.values, dtype), col.shapes).padded(dtype, shape)


def _has_missing(dtype: np.dtype[Any]) -> bool:
    return dtype.kind in "fcO" or dtype == TEXT


def _as_object(value: Any) -> Any:
    """A value among objects: the same, whether others of its page made an array of it or not."""
    # Lists, since xarray cannot compare arrays of arrays; None is what is missing, NaN is not equal to itself.
    if isinstance(value, np.ndarray):  # Python would make integers of dates
        value = list(value) if value.dtype.kind in "mMV" and value.ndim else value.tolist()
    if isinstance(value, (list, tuple)):
        # Where others of its page are arrays, a null came here as an array of nulls.
        found = [_as_object(v) for v in value]
        return found if not found or any(v is not None for v in found) else None
    return None if isinstance(value, float) and math.isnan(value) else value


def _cast(col: Array, dtype: np.dtype[Any]) -> Array:
    if col.dtype == dtype:
        return col
    if dtype == OBJECT:
        return objects([_as_object(v) for v in col.ravel().tolist()]).reshape(col.shape)
    if not col.size:
        return np.empty(col.shape, dtype)
    if _has_missing(dtype) and all_missing(col):
        return missing(col.shape, dtype)
    if dtype == TEXT and col.dtype == OBJECT and {*map(type, col.ravel().tolist())} <= {str, type(None)}:
        return np.where(col == None, "", col).astype(TEXT)  # noqa: E711  # element by element
    wrong = _unheld(col, dtype)
    if wrong.any():
        bad = col[wrong].tolist()[0]
        raise ValueError(f"{col.dtype} values such as {bad!r} where {dtype} was declared")
    return col.astype(dtype)


def _unheld(col: Array, dtype: np.dtype[Any]) -> Array:
    """Tell which values `dtype` does not hold exactly; a boolean is no number, a float no integer."""
    inexact = dtype.kind in "fc"
    if col.dtype.kind in "iu" and dtype.kind in "iufc":
        # Up to here a float holds every integer.
        limit = 2 ** (np.finfo(dtype).nmant + 1) if inexact else 0
        low, high = (-limit, limit) if inexact else (np.iinfo(dtype).min, np.iinfo(dtype).max)
        return np.asarray((col < low) | (col > high))
    if inexact and col.dtype.kind in {"f", dtype.kind}:
        with np.errstate(over="ignore", under="ignore"):
            # There and back: what comes back changed was rounded.
            back = col.astype(dtype).astype(col.dtype) if col.dtype.kind == dtype.kind else col
        return np.asarray(~((back == col) | np.isnan(col)))
    return np.ones(col.shape, bool)
