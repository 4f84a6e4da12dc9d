"""The last step of every Dataset: its columns in the form that was asked for.

numpy's `StringDType`, which columns have until here, holds text well and works with little of xarray (xarray#11199):
`where`, `fillna`, `reindex`, `merge`, `max` raise. Objects that are all `str` are xarray's own form of text.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import dask.array as da
import numpy as np
import xarray as xr

from intake_bluesky.datasets.options import DatasetOptions
from intake_bluesky.documents.columns import TEXT, Array

__all__ = ["present"]

LAZY_TEXT: Final = np.dtype("O", metadata={"element_type": str})
"""As xarray marks text read from netCDF: on writing, it then need not load a lazy column to learn that it is text."""
PIECE: Final = 2**12  # texts


def present(dataset: xr.Dataset, options: DatasetOptions) -> xr.Dataset:
    """Bring the columns of a Dataset, eager or of dask arrays, to the form that the options ask for."""
    if options.text_dtype == "string":
        return dataset
    text = {name: v for name, v in dataset.data_vars.items() if v.dtype == TEXT}
    return dataset.assign({name: (v.dims, _objects(v.variable.data), v.attrs) for name, v in text.items()})


def _objects(text: Any) -> Any:
    if isinstance(text, da.Array):
        return da.map_blocks(_as_objects, text, dtype=LAZY_TEXT, meta=np.empty((0,) * text.ndim, LAZY_TEXT))
    return _as_objects(text)


def _as_objects(text: Array) -> Array:
    return np.fromiter(_texts(text.ravel()), object, text.size).reshape(text.shape)


def _texts(text: Array) -> Iterator[str]:
    for start in range(0, len(text), PIECE):
        # Equal texts become one `str`: a million readings of "idle" and "moving" then take 8 MB instead of 62. Piece by
        # piece, since a dict of all texts, where these differ, is slow.
        seen: dict[str, str] = {}
        piece = text[start : start + PIECE].tolist()
        yield from map(seen.setdefault, piece, piece)
