"""Values of every dtype of a Dataset as what documents hold, booleans, numbers and text, and back.

What JSON has no form for becomes integers or floats of which nothing is lost: dates count their own unit, complex
numbers are pairs, bytes are numbers; the latter two on one more axis, the last.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import dask.array as da
import numpy as np

from intake_bluesky.datasets.stored_datasets.dtypes import encoded_form, is_text
from intake_bluesky.documents.columns import OBJECT, Array
from intake_bluesky.errors import DamagedRun, UnsupportedOperation

__all__ = ["checked_text", "decode", "encode"]


def encode(data: Any, what: str) -> Any:
    """Bring an array, of numpy or dask, to what documents hold; lazily, of dask.

    Raises
    ------
    UnsupportedOperation
        Where one of its objects is no text, or a dask array computes another dtype than it has, which is known when it
        is computed.

    Examples
    --------
    >>> encode(np.array([1 + 2j, float("nan")]), "'z'")
    array([[ 1.,  2.],
           [nan,  0.]])
    >>> encode(np.array(["2026-01-01", "NaT"], "datetime64[D]"), "'t'")
    array([               20454, -9223372036854775808])
    """
    dtype, shape = encoded_form(data.dtype, data.shape)
    return _mapped(partial(_encoded, what=what, declared=data.dtype), data, dtype, shape)


def _encoded(block: Array, what: str, declared: np.dtype[Any]) -> Array:
    block = _as_declared(np.asarray(block), what, declared)
    dtype, shape = encoded_form(block.dtype, block.shape)
    if block.dtype.kind == "O":
        return checked_text(block, what)
    if is_text(block.dtype) or block.dtype == dtype:
        return block.astype(dtype, copy=False)
    if not block.size:  # numpy views no bytes of nothing
        return np.empty(shape, dtype)
    return np.ascontiguousarray(block).view(dtype).reshape(shape)


def _as_declared(block: Array, what: str, declared: np.dtype[Any]) -> Array:
    """The values in the dtype that dask says they have, to which HDF5 and Zarr bring them whatever is lost."""
    if block.dtype == declared or (declared.kind in "OT" and (is_text(block.dtype) or not block.size)):
        return block
    if block.dtype.kind == declared.kind and np.can_cast(block.dtype, declared, "safe"):
        return block.astype(declared)
    raise UnsupportedOperation(
        f"{what} is of dtype {declared}, and its dask array computes values of {block.dtype}: say so where it is made, "
        "by the dtype of map_blocks, or convert it there"
    )


def checked_text(objects: Array, what: str) -> Array:
    """Objects that are all `str`, as text.

    Raises
    ------
    UnsupportedOperation
    """
    for value in objects.ravel().tolist():
        if type(value) is not str:
            raise UnsupportedOperation(
                f"{what} holds objects, and {value!r:.60}, a {type(value).__name__}, is no text: runs hold arrays of "
                "numbers or of text; convert it, or drop it"
            )
    # As objects: half a surrogate pair is text of Python, and none of numpy.
    return objects


def decode(data: Any, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Any:
    """Bring back what `encode` made of an array of that dtype and shape; lazily, of dask.

    Raises
    ------
    DamagedRun
        Where a value is none of that dtype, which of a dask array is known when it is computed.
    """
    form, encoded_shape = encoded_form(dtype, shape)
    if 0 in encoded_shape:  # of which documents keep no shape
        return np.zeros(shape, dtype)
    if isinstance(data, da.Array) and len(encoded_shape) > len(shape):
        data = data.rechunk({data.ndim - 1: -1})
    return _mapped(partial(_decoded, form=form, dtype=dtype), data, dtype, shape)


def _decoded(block: Array, form: np.dtype[Any], dtype: np.dtype[Any]) -> Array:
    block = np.asarray(block)  # dask gives a scalar of an array without dimensions, which has no byte order
    if is_text(dtype) or form == dtype:
        return _exactly(block, dtype)
    shape = block.shape if dtype.kind in "mM" else block.shape[:-1]
    if not block.size:
        return np.empty(shape, dtype)
    # Contiguous is of one dimension at least, hence the shape.
    return np.ascontiguousarray(_exactly(block, form)).view(dtype).reshape(shape)


def _exactly(block: Array, dtype: np.dtype[Any]) -> Array:
    """The values in another dtype, if it holds them: numpy would cut texts, and count on from zero."""
    if block.dtype == dtype or not block.size:
        return block.astype(dtype, copy=False)
    if is_text(dtype):
        texts = block.astype(OBJECT)
        held = {*map(type, texts.ravel().tolist())} <= {str}
        found = texts.astype(dtype) if held else texts
        same = found.astype(OBJECT) == texts
    else:
        held = block.dtype.kind in "biuf" and (block.dtype.kind == "b") is (dtype.kind == "b")
        with np.errstate(all="ignore"):
            found = block.astype(dtype) if held else block
        same = (found == block) | ((found != found) & (block != block))  # noqa: PLR0124  # NaN is not itself
    if not held or not np.all(same):
        wrong = block.ravel()[0] if not held else block[~np.asarray(same)].ravel()[0]
        raise DamagedRun(
            f"values of {block.dtype}, such as {wrong!r:.60}, where the descriptor's `dataset` says {dtype}: they are "
            "not those that were written. With as_events=True they are given as they are"
        )
    return found


def _mapped(change: Callable[[Array], Array], data: Any, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Any:
    if not isinstance(data, da.Array):
        return change(np.asarray(data))
    more = len(shape) - data.ndim
    chunks = (*data.chunks, *((n,) for n in shape[data.ndim :])) if more >= 0 else data.chunks[: len(shape)]
    return da.map_blocks(
        change, data, dtype=dtype, chunks=chunks, meta=np.empty((0,) * len(shape), dtype),
        new_axis=data.ndim if more > 0 else None, drop_axis=data.ndim - 1 if more < 0 else [],
    )  # fmt: skip
