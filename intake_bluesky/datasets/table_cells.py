"""Columns of tables, in which an array is one cell, and stays whole as text."""

from __future__ import annotations

from typing import Any

import numpy as np

from intake_bluesky.documents.columns import Array
from intake_bluesky.documents.columns.arrays import objects
from intake_bluesky.documents.exact_json import json_text
from intake_bluesky.documents.model import to_plain

__all__ = ["ArrayCell", "cells"]


class ArrayCell(np.ndarray[Any, Any]):
    """An array in a cell of a table, whose text is all of it as JSON.

    Text is what pandas writes into CSV, and numpy's own has ``...`` in the place of most of a spectrum, and eight
    digits. What is computed from the array is a plain array.

    Examples
    --------
    >>> spectrum = np.arange(2048).view(ArrayCell)
    >>> str(spectrum)[-18:], type(spectrum * 2).__name__
    (' 2045, 2046, 2047]', 'ndarray')
    """

    def __str__(self) -> str:
        return json_text(self.tolist())

    def __array_wrap__(self, array: Array, context: Any = None, return_scalar: bool = False) -> Any:
        return array[()] if return_scalar else array


def cells(values: Array) -> Array:
    """One column of a table: `values` themselves, or objects, a cell for each of their rows."""
    if values.ndim > 1:
        return objects([row.view(ArrayCell) for row in values])
    return objects(list(map(_cell, values.tolist()))) if values.dtype.kind in "OV" else values


def _cell(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.view(ArrayCell)
    try:
        return to_plain(value) if isinstance(value, (dict, list, tuple)) else value
    except RecursionError:  # nested deeper than Python follows
        return value
