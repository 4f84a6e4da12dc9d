"""Tables in pandas, in which an array is one cell, and stays whole as text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from intake_bluesky.documents.columns import Array
from intake_bluesky.documents.columns.arrays import objects
from intake_bluesky.documents.exact_json import json_text
from intake_bluesky.documents.model import to_plain

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

__all__ = ["ArrayCell", "cells", "data_frame"]


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


def data_frame(dataset: xr.Dataset, *, decode_times: bool) -> pd.DataFrame:
    """A Dataset as a table: a row an event, ``time`` first, as datetime64[ns, UTC] or in float seconds."""
    import pandas as pd

    from intake_bluesky.datasets.variables import datetimes

    names = ["time", *dataset.data_vars] if "time" in dataset.coords else [*dataset.data_vars]
    columns: dict[str, Any] = {str(name): cells(dataset[name].values) for name in names}
    if decode_times and "time" in dataset.coords:
        # xarray's datetime64 has no time zone; a naive column would be taken for local time.
        columns["time"] = pd.DatetimeIndex(datetimes(columns["time"])).tz_localize("UTC")
    index = pd.Index(dataset["seq_num"].values, name="seq_num") if "seq_num" in dataset.coords else None
    return pd.DataFrame(columns, index=index)
