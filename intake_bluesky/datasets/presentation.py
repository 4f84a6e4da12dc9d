"""The last step of every Dataset: its columns in the form that was asked for.

numpy's `StringDType`, which columns have until here, holds text well and works with little of xarray (xarray#11199):
`where`, `fillna`, `reindex`, `merge`, `max` raise. Objects that are all `str` are xarray's own form of text.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import Any, Final

import dask.array as da
import numpy as np
import xarray as xr

from intake_bluesky.datasets.options import DatasetOptions
from intake_bluesky.datasets.variables import RESERVED, storable
from intake_bluesky.documents.columns import OBJECT, TEXT, Array
from intake_bluesky.documents.exact_json import json_text

__all__ = ["columns", "present"]

LAZY_TEXT: Final = np.dtype("O", metadata={"element_type": str})
"""As xarray itself marks text: on writing, it then need not load a lazy column to learn that it is text."""
PIECE: Final = 2**12  # texts


def present(dataset: xr.Dataset, options: DatasetOptions, scanned: Collection[str] = ()) -> xr.Dataset:
    """Bring the columns of a Dataset, eager or of dask arrays, to the form that the options ask for.

    Those of the keys `scanned` that have one value an event become coordinates, so that what was measured can be drawn
    against them and selected by them; `columns` undoes that.
    """
    shown = _in_form(dataset, options)
    found = {
        str(v.attrs.get("key", name)): name
        for name, v in (_data_variables(dataset) if scanned else ())
        # xarray warns of coordinates with a space in their name when it writes them, and writes them as variables.
        if v.dims == ("time",) and v.dtype.kind != "V" and not (options.portable and " " in str(name))
    }
    coordinates = [found[key] for key in scanned if key in found]
    return shown.set_coords(coordinates) if coordinates else shown


def _data_variables(dataset: xr.Dataset) -> Iterator[tuple[Any, xr.Variable]]:
    # `data_vars` makes a DataArray of each, which takes longer than to read a small run.
    coordinates = set(dataset.coords)
    return ((name, variable) for name, variable in dataset.variables.items() if name not in coordinates)


def columns(dataset: xr.Dataset) -> xr.Dataset:
    """The Dataset of events with every key as a data variable, in the order of the descriptors."""
    return dataset.reset_coords([name for name in dataset.coords if name not in RESERVED])


def _in_form(dataset: xr.Dataset, options: DatasetOptions) -> xr.Dataset:
    if options.portable:
        columns = {name: _stored(variable) for name, variable in _columns(dataset)}
        dataset = xr.Dataset(columns, dataset.coords, dataset.attrs)
    if options.text_dtype == "string":
        return dataset
    text = {name: v for name, v in _data_variables(dataset) if v.dtype == TEXT}
    if not text:
        return dataset
    return dataset.assign({name: v.copy(data=_mapped(_as_objects, v.data, LAZY_TEXT)) for name, v in text.items()})


def _mapped(change: Callable[[Array], Array], data: Any, dtype: np.dtype[Any]) -> Any:
    if isinstance(data, da.Array):
        return da.map_blocks(change, data, dtype=dtype, meta=np.empty((0,) * data.ndim, dtype))
    return change(data)


def _as_objects(text: Array) -> Array:
    return np.fromiter(_texts(text.ravel()), object, text.size).reshape(text.shape)


def _texts(text: Array) -> Iterator[str]:
    for start in range(0, len(text), PIECE):
        # Equal texts become one `str`: a million readings of "idle" and "moving" then take 8 MB instead of 62. Piece by
        # piece, since a dict of all texts, where these differ, is slow.
        seen: dict[str, str] = {}
        piece = text[start : start + PIECE].tolist()
        yield from map(seen.setdefault, piece, piece)


def _columns(dataset: xr.Dataset) -> Iterator[tuple[str, xr.Variable]]:
    """The variables, in the place of a structure one for each of its fields."""
    taken = set(map(str, dataset.variables))
    for key, column in dataset.data_vars.items():
        for path, variable in _fields(str(key), column.variable):
            name = storable(path)
            while path != key and name in taken:
                name += "_"
            taken.add(name)
            yield name, variable


def _fields(name: str, variable: xr.Variable) -> Iterator[tuple[str, xr.Variable]]:
    """The variable itself, or one for each field of a structure; what has bytes and no fields is an array of them."""
    if variable.dtype.kind != "V":
        yield name, variable
        return
    if variable.dtype.names is None:
        plain = np.dtype([("bytes", np.uint8, (variable.dtype.itemsize,))])
        variable = xr.Variable(variable.dims, variable.data.view(plain), variable.attrs)
    for field in variable.dtype.names or ():
        part = variable.data[field]
        dims = [*variable.dims, *(storable(f"{name}.{field}_dim_{axis}") for axis in range(part.ndim - variable.ndim))]
        yield from _fields(f"{name}.{field}", xr.Variable(dims, part, {"key": name, **variable.attrs}))


def _stored(variable: xr.Variable) -> xr.Variable:
    """The variable in a form that netCDF and Zarr hold."""
    data, attrs = variable.data, dict(variable.attrs)
    if variable.dtype.byteorder in "<>":  # as fields of structures have it; netCDF4 warns of all but "="
        native = variable.dtype.newbyteorder("=")
        data = _mapped(lambda values: values.astype(native), data, native)
    if variable.dtype == TEXT:
        data = _mapped(_without_nul, data, TEXT)
    elif variable.dtype == OBJECT:
        data, attrs["media_type"] = _mapped(_as_json, data, TEXT), "application/json"
    # By "since", xarray would take such numbers for times when it opens the file, and raise where it cannot.
    if "since" in str(attrs.get("units")):
        attrs["units_text"] = attrs.pop("units")
    if isinstance(data, da.Array) and not data.size:
        data = np.empty(data.shape, data.dtype)  # Zarr has no chunks of length 0
    elif isinstance(data, da.Array):
        data = data.rechunk(tuple(map(_regular, data.chunks)))
    return xr.Variable(variable.dims, data, attrs)


def _regular(chunks: tuple[int, ...]) -> tuple[int, ...] | int:
    """Chunks of one size but the last, as Zarr needs them."""
    regular = len({*chunks[:-1]}) < 2 and chunks[-1] <= chunks[0]
    return chunks if regular else max(chunks)


def _without_nul(text: Array) -> Array:
    # Neither HDF5 nor netCDF has text with it.
    found = [value.replace("\0", "\\u0000") for value in text.ravel().tolist()]
    return np.array(found, TEXT).reshape(text.shape)


def _as_json(values: Array) -> Array:
    return np.array([json_text(value) for value in values.ravel()], TEXT).reshape(values.shape)
