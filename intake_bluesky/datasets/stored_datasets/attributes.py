"""Attributes of a Dataset and of its variables as documents hold them, and back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from intake_bluesky.datasets.stored_datasets.dtypes import dtype_name, dtype_of, encoded_form, is_text
from intake_bluesky.datasets.stored_datasets.encoding import decode, encode
from intake_bluesky.documents.columns import OBJECT, column
from intake_bluesky.documents.model import ODD_DOCUMENT, Document
from intake_bluesky.errors import DamagedRun, UnsupportedOperation

__all__ = ["attribute_entries", "attributes_of", "plain_values", "values_of_plain"]


def attribute_entries(attrs: Mapping[Any, Any], owner: str) -> list[Document]:
    """List attributes, each ``{"name", "value"}``; one of numpy has its ``dtype``, and if it is an array its ``shape``.

    Raises
    ------
    UnsupportedOperation
        For a name that is no text, or a value that is neither of JSON nor of numpy.

    Examples
    --------
    >>> attribute_entries({"units": "mm", "gain": np.float32(2), "range": np.array([0, 5])}, "'x'")
    [{'name': 'units', 'value': 'mm'}, {'name': 'gain', 'value': 2.0, 'dtype': '<f4'}, \
{'name': 'range', 'value': [0, 5], 'dtype': '<i8', 'shape': [2]}]
    """
    return [_entry(name, value, owner) for name, value in attrs.items()]


def _entry(name: Any, value: Any, owner: str) -> Document:
    if type(name) is not str:
        raise UnsupportedOperation(f"an attribute of {owner} is called {name!r:.60}, and names are text: rename it")
    what = f"the attribute {name!r} of {owner}"
    if isinstance(value, (np.ndarray, np.generic)):
        array = np.asarray(value)
        entry = {"name": name, "value": plain_values(encode(array, what)), "dtype": dtype_name(array.dtype, what)}
        return {**entry, "shape": list(array.shape)} if isinstance(value, np.ndarray) else entry
    if not _is_json(value):
        raise UnsupportedOperation(
            f"{what} is {value!r:.60}, a {type(value).__name__}: give text, numbers, True, False, None, lists and "
            "dicts of these, or an array of numpy"
        )
    return {"name": name, "value": value}


def _is_json(value: Any) -> bool:
    if type(value) is list:
        return all(map(_is_json, value))
    if type(value) is dict:
        return all(type(key) is str and _is_json(own) for key, own in value.items())
    return value is None or type(value) in (str, int, float, bool)


def attributes_of(entries: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The attributes that `attribute_entries` listed.

    Raises
    ------
    DamagedRun

    Examples
    --------
    >>> attributes_of([{"name": "gain", "value": 2.0, "dtype": "<f4"}])
    {'gain': np.float32(2.0)}
    """
    try:
        return {str(entry["name"]): _value(entry) for entry in entries}
    except ODD_DOCUMENT as error:
        raise DamagedRun(f"attributes in the descriptor's `dataset` cannot be read: {error}") from error


def _value(entry: Mapping[str, Any]) -> Any:
    if "dtype" not in entry:
        return entry["value"]
    shape = entry.get("shape")
    array = values_of_plain(entry["value"], dtype_of(str(entry["dtype"])), tuple(shape or ()))
    return array if shape is not None else array[()]


def plain_values(encoded: Any) -> Any:
    """What `encode` made as lists, or as one value."""
    return np.asarray(encoded).tolist()


def values_of_plain(plain: Any, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Any:
    """The array of a dtype and shape that `encode` and `plain_values` made lists of.

    Raises
    ------
    DamagedRun
        When they are of another shape, or no values of that dtype.
    ValueError
        When they have no shape.
    """
    _, encoded_shape = encoded_form(dtype, shape)
    array = np.array(plain, OBJECT)
    if 0 in encoded_shape:
        return np.zeros(shape, dtype)
    if array.shape != encoded_shape:
        raise DamagedRun(f"what is there has shape {array.shape}, where {encoded_shape} was declared")
    if not is_text(dtype):
        numbers, _ = column(array.ravel().tolist())  # numpy itself makes floats of int64 and uint64 together
        array = np.asarray(numbers).reshape(array.shape)
    return decode(array, dtype, shape)
