"""A run that was written, compared with the Datasets that it was made of, some chunks at a time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from intake_bluesky.catalogs.run import BlueskyRun
from intake_bluesky.datasets.stored_datasets.attributes import attribute_entries
from intake_bluesky.datasets.stored_datasets.documents import row_blocks
from intake_bluesky.documents.columns import Array
from intake_bluesky.documents.model import identical

__all__ = ["difference"]


def difference(run: BlueskyRun, streams: Mapping[str, xr.Dataset]) -> str:
    """Say in which the streams of a run are not the Datasets; "" where they are."""
    for name, dataset in streams.items():
        if found := _difference(run[name].to_dask(), dataset):
            return f"stream {name!r}: {found}"
    return ""


def _difference(found: xr.Dataset, wanted: xr.Dataset) -> str:
    if [*found.variables] != [*wanted.variables] or [*found.coords] != [*wanted.coords]:
        return f"it has the variables {[*found.variables]}, not {[*wanted.variables]}"
    if not _same_attributes(found.attrs, wanted.attrs):
        return "its attributes are others"
    for name, own in wanted.variables.items():
        there = found.variables[name]
        if (there.dims, there.shape, there.dtype) != (own.dims, own.shape, own.dtype):
            return f"{name!r} is {there.dtype} of {dict(there.sizes)}, not {own.dtype} of {dict(own.sizes)}"
        if not _same_attributes(there.attrs, own.attrs):
            return f"the attributes of {name!r} are others"
        if not _same_values(there, own):
            return f"{name!r} has other values"
    return ""


def _same_attributes(found: Mapping[Any, Any], wanted: Mapping[Any, Any]) -> bool:
    return identical(attribute_entries(found, "it"), attribute_entries(wanted, "it"))


def _same_values(found: xr.Variable, wanted: xr.Variable) -> bool:
    if not wanted.ndim:
        return _equal(found.values, wanted.values)
    lazy = wanted.chunks is not None
    blocks = row_blocks({"": wanted.data if lazy else found.data}, wanted.shape[0])
    return all(_equal(found[begin:end].values, wanted[begin:end].values) for begin, end in blocks)


def _equal(found: Array, wanted: Array) -> bool:
    if wanted.dtype.kind in "mM":
        found, wanted = found.view(np.int64), wanted.view(np.int64)
    if wanted.dtype.kind not in "fc":
        return bool(np.array_equal(found, wanted))
    parts = [(own.real, own.imag) if own.dtype.kind == "c" else (own,) for own in (found, wanted)]
    return all(_equal_floats(a, b) for a, b in zip(*parts, strict=True))


def _equal_floats(found: Array, wanted: Array) -> bool:
    """Bit by bit but for the kinds of NaN."""
    known = ~np.isnan(wanted)
    signs = np.array_equal(np.signbit(found[known]), np.signbit(wanted[known]))
    return bool(signs and np.array_equal(found, wanted, equal_nan=True))
