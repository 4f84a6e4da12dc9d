"""Whether the values of events are what their data key declares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from intake_bluesky.documents.model import to_plain

__all__ = ["wrong_dtype", "wrong_shape"]

ALLOWED: Final[Mapping[str, frozenset[type]]] = {
    "number": frozenset({int, float}),
    # ophyd declares the booleans of its signals as integers: to Python, too, they are.
    "integer": frozenset({int, bool}),
    "boolean": frozenset({bool}),
    "string": frozenset({str}),
    "array": frozenset({list}),
}


def wrong_dtype(spec: Mapping[str, Any], values: Sequence[Any]) -> dict[int, str]:
    """What is wrong, by position, with values that are not of the dtype that their data key declares.

    Nulls, which are missing values, are of any.

    Examples
    --------
    >>> wrong_dtype({"dtype": "integer"}, [1, 2.5, None])
    {1: 'holds 2.5 (float) where integer is declared'}
    """
    dtype = spec.get("dtype")
    allowed = ALLOWED.get(str(dtype))
    # Mostly all values are right: the set of their types is a fraction of the time of a loop in Python.
    if allowed is None or set(map(type, values)) <= allowed:
        return {}
    wrong = {}
    for place, value in enumerate(map(to_plain, values)):
        if value is not None and type(value) not in allowed:
            wrong[place] = f"holds {repr(value)[:40]} ({type(value).__name__}) where {dtype} is declared"
    return wrong


def wrong_shape(spec: Mapping[str, Any], values: Sequence[Any]) -> dict[int, str]:
    """Find the arrays that are not of the declared shape; a null in it is any length.

    Examples
    --------
    >>> wrong_shape({"dtype": "array", "shape": [2]}, [[1, 2], [1, 2, 3]])
    {1: 'has shape [3] where [2] is declared'}
    """
    declared = spec.get("shape")
    if spec.get("dtype") != "array" or not isinstance(declared, (list, tuple)):
        return {}
    wrong = {}
    for place, value in enumerate(values):
        shape = _shape(value)
        if shape is not None and not _agrees(shape, declared):
            wrong[place] = f"has shape {shape} where {list(declared)} is declared"
    return wrong


def _shape(value: Any) -> list[int] | None:
    """Shape of nested lists, down their first elements; None for what is no array."""
    own = getattr(value, "shape", None)
    if own is not None:
        return list(own)
    if not isinstance(value, (list, tuple)):
        return None
    shape = []
    while isinstance(value, (list, tuple)):
        shape.append(len(value))
        if not value:
            break
        value = value[0]
    return shape


def _agrees(shape: Sequence[int], declared: Sequence[int | None]) -> bool:
    # Of an empty list the inner lengths are not known.
    whole = 0 in shape or len(shape) == len(declared)
    return whole and all(want in (None, got) for got, want in zip(shape, declared, strict=False))
