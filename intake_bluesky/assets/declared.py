"""The dtype and the shape that a data key declares for its values, as far as they can be believed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from intake_bluesky.assets.whole_numbers import whole
from intake_bluesky.documents.columns import TEXT

__all__ = ["declared_dtype", "declared_shape", "explicit_dtype"]

JSON_DTYPES: Final[Mapping[str, np.dtype[Any]]] = {
    "number": np.dtype("<f8"),
    "array": np.dtype("<f8"),
    "integer": np.dtype("<i8"),
    "boolean": np.dtype("|b1"),
    "string": TEXT,
}


def declared_dtype(spec: Mapping[str, Any]) -> np.dtype[Any]:
    """The dtype that a data key declares: ``dtype_descr``, ``dtype_numpy``, ``dtype_str``, else a guess by ``dtype``.

    Examples
    --------
    >>> declared_dtype({"dtype": "array", "dtype_numpy": "<u2"}), declared_dtype({"dtype": "integer"})
    (dtype('uint16'), dtype('int64'))
    >>> declared_dtype({"dtype": "array", "dtype_numpy": [["x", "<f4"], ["y", "<f4"]]})
    dtype([('x', '<f4'), ('y', '<f4')])
    """
    guess: np.dtype[Any] = JSON_DTYPES.get(str(spec.get("dtype")), JSON_DTYPES["number"])
    found = explicit_dtype(spec)
    return guess if found is None else found


def explicit_dtype(spec: Mapping[str, Any]) -> np.dtype[Any] | None:
    """The numpy dtype that a data key has; None where it has only that of JSON, which says little."""
    # `dtype_numpy` is event-model's of today. The other two are older: of a structured dtype `dtype_str` has only the
    # size, and `dtype_descr` the fields.
    for name in ("dtype_descr", "dtype_numpy", "dtype_str"):
        found = _numpy_dtype(spec.get(name))
        if found is not None:
            return found
    return None


def _numpy_dtype(value: Any) -> np.dtype[Any] | None:
    """A numpy dtype of a string or list of fields; None where it is none, or holds Python objects."""
    if not value:
        return None
    try:
        dtype = np.dtype(_fields(value))
    except (TypeError, ValueError):
        return None
    return None if dtype.hasobject else dtype


def _fields(value: Any) -> Any:
    """Turn lists into tuples: JSON has no tuples, and numpy takes only tuples for a field and for its shape."""
    if not isinstance(value, (list, tuple)):
        return value
    # `dtype.descr` of a dtype without fields is `[('', '<u2')]`, which numpy would make into one field, `f0`.
    if len(value) == 1 and len(value[0]) == 2 and value[0][0] == "":
        return value[0][1]
    return [
        (name, _fields(kind), *(tuple(s) if isinstance(s, list) else s for s in rest)) for name, kind, *rest in value
    ]


def declared_shape(spec: Mapping[str, Any]) -> tuple[int | None, ...]:
    """The shape of one event's value; None for each length that is not known (null, or the 0 of some devices).

    Nor is one known that is no integer.

    Examples
    --------
    >>> declared_shape({"shape": [None, 4]}), declared_shape({})
    ((None, 4), ())
    """
    shape = spec.get("shape")
    if not isinstance(shape, (list, tuple)):
        return ()
    return tuple(map(_length, shape))


def _length(value: Any) -> int | None:
    try:
        length = whole("a length", value)
    except ValueError:
        return None
    return length if length > 0 else None
