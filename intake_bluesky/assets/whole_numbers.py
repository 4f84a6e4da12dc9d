"""Numbers that documents give where something is counted: of a frame, of frames in an event."""

from __future__ import annotations

from typing import Any

import numpy as np

from intake_bluesky.documents.columns import Array

__all__ = ["changed", "holds_all", "positive", "whole"]


def whole(name: str, value: Any) -> int:
    """An integer, or a float that is one; a fraction that was cut off would be another frame's number.

    Raises
    ------
    ValueError
        When it is a fraction, NaN, a boolean, text or anything else.

    Examples
    --------
    >>> whole("point_number", 2.0)
    2
    >>> whole("point_number", 1.5)
    Traceback (most recent call last):
    ...
    ValueError: point_number is 1.5, not an integer
    """
    if isinstance(value, (int, np.integer)) and not isinstance(value, bool):
        return int(value)
    if isinstance(value, (float, np.floating)) and float(value).is_integer():
        return int(value)
    raise ValueError(f"{name} is {repr(value)[:60]}, not an integer")


def positive(name: str, value: Any) -> int:
    """As `whole`, of what counts from 1.

    Raises
    ------
    ValueError
    """
    number = whole(name, value)
    if number < 1:
        raise ValueError(f"{name} is {value!r}, and counts something")
    return number


def holds_all(dtype: np.dtype[Any], own: np.dtype[Any]) -> bool:
    """Whether one dtype holds each value of another; to numpy, float64 holds those of int64.

    Examples
    --------
    >>> holds_all(np.dtype("f8"), np.dtype("i8")), holds_all(np.dtype("f8"), np.dtype("u4"))
    (False, True)
    """
    if own.kind in "iu" and dtype.kind in "fc":
        return own.itemsize * 8 - (own.kind == "i") <= np.finfo(dtype).nmant + 1
    return True


def changed(integers: Array, floats: Array) -> Array:
    """Which integers are other numbers as the floats that numpy made of them."""
    real, end = floats.real, float(np.iinfo(integers.dtype).max)
    # The largest integers are rounded up to one that no integer of the dtype is, and casting that back means nothing.
    fits = real < end
    lost: Array = ~fits | (np.where(fits, real, 0).astype(integers.dtype) != integers)
    return lost
