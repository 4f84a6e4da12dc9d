"""The dtypes that a run keeps, by their names, and those of the values that documents hold in their place."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from intake_bluesky.documents.columns import OBJECT, TEXT
from intake_bluesky.errors import DamagedRun, UnsupportedOperation

__all__ = ["dtype_name", "dtype_of", "encoded_form", "is_text"]

OBJECTS_OF_TEXT: Final = "object"
VARIABLE_TEXT: Final = "StringDType()"
WIDEST: Final = 8
"""Bytes of a float, or of each of the two of a complex number: JSON and BSON have none that are longer."""


def dtype_name(dtype: Any, what: str) -> str:
    """The name by which a layout tells a dtype.

    Parameters
    ----------
    dtype : numpy.dtype, or an extension of pandas
    what : str
        The variable that has it, for the error.

    Raises
    ------
    UnsupportedOperation
        For a dtype that documents cannot hold.

    Examples
    --------
    >>> dtype_name(np.dtype("<f4"), "'I'"), dtype_name(np.dtype("datetime64[ms]"), "'t'")
    ('<f4', '<M8[ms]')
    """
    if dtype == OBJECT:
        return OBJECTS_OF_TEXT
    if isinstance(dtype, np.dtypes.StringDType) and dtype == TEXT:
        return VARIABLE_TEXT
    if isinstance(dtype, np.dtype) and dtype.kind in "biufcmMUS":
        width = dtype.itemsize // (2 if dtype.kind == "c" else 1)
        if dtype.kind not in "fc" or width <= WIDEST:
            return str(dtype.str)
    raise UnsupportedOperation(
        f"{what} is of dtype {dtype}, and runs hold booleans, integers, floats and complex numbers of up to 64 bits a "
        "part, text, bytes, dates and durations: convert it, or drop it"
    )


def dtype_of(name: str) -> np.dtype[Any]:
    """The dtype of a name that `dtype_name` gave.

    Raises
    ------
    DamagedRun

    Examples
    --------
    >>> dtype_of("<M8[ms]"), dtype_of("object")
    (dtype('<M8[ms]'), dtype('O'))
    """
    if name in (OBJECTS_OF_TEXT, VARIABLE_TEXT):
        return OBJECT if name == OBJECTS_OF_TEXT else TEXT
    try:
        dtype = np.dtype(name)
    except (TypeError, ValueError):
        dtype = OBJECT
    if dtype.kind not in "biufcmMUS":
        raise DamagedRun(f"a descriptor's `dataset` names the dtype {name!r}, which version 1 does not have")
    return dtype


def is_text(dtype: np.dtype[Any]) -> bool:
    """Whether values are text, in any of the three forms that a Dataset may have it."""
    return dtype.kind in "UOT"


def encoded_form(dtype: np.dtype[Any], shape: tuple[int, ...]) -> tuple[np.dtype[Any], tuple[int, ...]]:
    """The dtype and the shape that `encode` makes of an array.

    Examples
    --------
    >>> encoded_form(np.dtype("complex64"), (3,)), encoded_form(np.dtype("S4"), ())
    ((dtype('float32'), (3, 2)), (dtype('uint8'), (4,)))
    """
    match dtype.kind:
        case "c":
            return np.dtype(f"{dtype.byteorder}f{dtype.itemsize // 2}"), (*shape, 2)
        case "S":
            return np.dtype(np.uint8), (*shape, dtype.itemsize)
        case "m" | "M":
            return np.dtype(np.int64).newbyteorder(dtype.byteorder), shape
        case "U" | "O" | "T":
            return TEXT, shape
        case _:
            return dtype, shape
