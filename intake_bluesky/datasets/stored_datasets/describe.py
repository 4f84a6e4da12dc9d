"""A Dataset as what a stream of documents says of it, and the arrays that its events hold."""

from __future__ import annotations

import math
import re
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any, Final

import dask.array as da
import numpy as np
import pandas as pd
import xarray as xr
from xarray.core.indexing import ExplicitlyIndexed

from intake_bluesky.datasets.stored_datasets.attributes import attribute_entries, plain_values
from intake_bluesky.datasets.stored_datasets.dtypes import dtype_name, encoded_form, is_text
from intake_bluesky.datasets.stored_datasets.encoding import encode
from intake_bluesky.datasets.stored_datasets.layout import (
    CONFIGURATION,
    DEVICE,
    EVENTS,
    FIELD,
    DatasetLayout,
    StoredVariable,
)
from intake_bluesky.datasets.variables import EPOCH
from intake_bluesky.documents.columns import OBJECT, Array
from intake_bluesky.documents.model import MAX_TIME, Document
from intake_bluesky.errors import UnsupportedOperation

__all__ = ["StoredDataset", "describe", "event_dimension", "shared_stream"]

NO_KEY: Final = re.compile("[./$\\\\\0\ud800-\udfff]")
"""What event-model, or a database, has no names with."""
SMALL: Final = 2**12
"""Bytes that an array may take in the descriptor: headers are read whole."""
JSON_KINDS: Final = {"b": "boolean", "i": "integer", "u": "integer", "f": "number"}


@dataclass(frozen=True, slots=True, eq=False)
class StoredDataset:
    """A Dataset as a stream of events, and one of a single event for large arrays that all events share.

    Attributes
    ----------
    layout : DatasetLayout
    times : numpy.ndarray, shape (events,), dtype float64
        Of the events, seconds since the epoch.
    data_keys : dict of key to dict
        Those of the events.
    columns : dict of key to array
        Of shape ``(events, *shape of one)``, of what documents hold; dask arrays where the Dataset's are.
    configuration : dict
        The descriptor's field.
    shared : str
        Name of the stream of one event.
    shared_keys, shared_columns
        Its data keys and columns of length one; empty where there is no such stream.
    """

    layout: DatasetLayout
    times: Array
    data_keys: dict[str, Document]
    columns: dict[str, Any]
    configuration: Document
    shared: str
    shared_keys: dict[str, Document]
    shared_columns: dict[str, Any]

    @property
    def events(self) -> int:
        """How many events there are."""
        return self.layout.events

    def descriptor_fields(self) -> Document:
        """The fields of the stream's descriptor, but for uid, time, name and run_start."""
        fields = [v.key for v in self.layout.variables if v.place == EVENTS and not v.coordinate]
        return {
            "data_keys": self.data_keys,
            "object_keys": {DEVICE: list(self.data_keys)},
            "hints": {DEVICE: {"fields": fields}},
            "configuration": self.configuration,
            FIELD: self.layout.to_document(),
        }

    def shared_fields(self) -> Document:
        """The fields of the descriptor of the stream of one event."""
        return {
            "data_keys": self.shared_keys,
            "object_keys": {DEVICE: list(self.shared_keys)},
            "hints": {},
            "configuration": {},
        }


def shared_stream(stream: str) -> str:
    """Name of the stream that holds what all events of another share."""
    return f"{stream}_shared"


def event_dimension(dataset: xr.Dataset, wanted: str | None = None) -> str | None:
    """The dimension of which each position becomes an event.

    Parameters
    ----------
    dataset : xarray.Dataset
    wanted : str, optional
        By default ``time``, if a data variable has it, else the first dimension of the first data variable that has
        one; where none has, the same of coordinates.

    Raises
    ------
    UnsupportedOperation
        When the Dataset has no such dimension.

    Examples
    --------
    >>> event_dimension(xr.Dataset({"I": (("tth", "x"), [[1.0], [2.0]])}))
    'tth'
    """
    if wanted is not None:
        if wanted not in dataset.sizes:
            names = ", ".join(map(repr, dataset.sizes)) or "none"
            raise UnsupportedOperation(f"the Dataset has no dimension {wanted!r} to make events of; it has {names}")
        return wanted
    for own in ([*dataset.data_vars], [*dataset.coords]):
        dims = [str(dim) for name in own for dim in dataset.variables[name].dims]
        if dims:
            return "time" if "time" in dims else dims[0]
    return None


def describe(
    dataset: xr.Dataset, *, stream: str = "primary", dimension: str | None = None, time: float = 0.0
) -> StoredDataset:
    """Say what a stream of documents holds of a Dataset; of dask arrays nothing is computed but what is small.

    Parameters
    ----------
    dataset : xarray.Dataset
    stream : str
        Its name.
    dimension : str, optional
        See `event_dimension`.
    time : float
        Of what has no time of its own, seconds since the epoch: events have that of a coordinate ``time`` of dates.

    Raises
    ------
    UnsupportedOperation
        For what documents have no form for, by name: names that are no text, a MultiIndex, objects, extension dtypes.

    Examples
    --------
    >>> pattern = xr.Dataset({"I": ("tth", [1.0, 4.0]), "wavelength": 0.7})
    >>> stored = describe(pattern)
    >>> stored.events, list(stored.data_keys), stored.configuration["dataset"]["data"]
    (2, ['I'], {'wavelength': 0.7})
    """
    _check_names(dataset)
    along = event_dimension(dataset, dimension)
    keys = _data_keys(dataset)
    shared = shared_stream(stream)
    described = [_variable(dataset, name, keys[name], along, shared) for name in dataset.variables]
    layout = DatasetLayout(along, tuple(described), attribute_entries(dataset.attrs, "the Dataset"))
    specs: dict[str, dict[str, Document]] = {EVENTS: {}, CONFIGURATION: {}, shared: {}}
    arrays: dict[str, dict[str, Any]] = {EVENTS: {}, CONFIGURATION: {}, shared: {}}
    for own in described:
        variable = _lazily(dataset.variables[own.name])
        _check_kind(variable.data, own.name)
        many = own.place == EVENTS and along is not None
        variable = variable.transpose(along, ...) if many else variable
        data = variable.data if many or own.place == CONFIGURATION else variable.data[None]
        axes = variable.dims[1:] if many else variable.dims
        specs[own.place][own.key] = _data_key(own, variable, tuple(map(str, axes)))
        arrays[own.place][own.key] = encode(data, repr(own.name))
    fixed = {key: plain_values(array) for key, array in arrays[CONFIGURATION].items()}
    times = dict.fromkeys(fixed, time)
    device = {"data": fixed, "timestamps": times, "data_keys": specs[CONFIGURATION]}
    configuration = {DEVICE: device} if fixed else {}
    own_times = _times(dataset, along, layout.events, time)
    return StoredDataset(
        layout, own_times, specs[EVENTS], arrays[EVENTS], configuration, shared, specs[shared], arrays[shared]
    )


def _times(dataset: xr.Dataset, along: str | None, events: int, time: float) -> Array:
    """When each event was: the dates of the coordinate ``time``, or what the units of its numbers say are such."""
    times = np.full(events, time, np.float64)
    if "time" not in dataset.coords or along is None or dataset.coords["time"].dims != (along,):
        return times
    given = dataset.coords["time"].variable
    if given.dtype.kind == "M":
        known = ~np.isnat(given.values)
        times[known] = given.values[known].astype("datetime64[ns]").astype(np.int64) / 1e9
    elif given.dtype.kind == "f" and given.attrs.get("units") == EPOCH:
        known = np.abs(given.values) < MAX_TIME
        times[known] = given.values[known]
    return times


def _check_names(dataset: xr.Dataset) -> None:
    for name in (*dataset.variables, *dataset.sizes):
        if type(name) is not str:
            raise UnsupportedOperation(f"a variable or dimension is called {name!r:.60}, and names are text: rename it")
    for name, index in dataset.xindexes.items():
        if isinstance(getattr(index, "index", None), pd.MultiIndex):
            raise UnsupportedOperation(
                f"{name!r} is part of a MultiIndex, which runs have no form for: reset_index({name!r}) makes variables "
                "of it"
            )


def _data_keys(dataset: xr.Dataset) -> dict[Hashable, str]:
    """The data key of each variable: its name, wherever event-model and all databases can have it."""
    nearest = {name: NO_KEY.sub("_", str(name)) or "_" for name in dataset.variables}
    taken = {key for name, key in nearest.items() if name == key}
    found: dict[Hashable, str] = {}
    for name, key in nearest.items():
        while key != name and key in taken:
            key += "_"
        taken.add(key)
        found[name] = key
    return found


def _variable(dataset: xr.Dataset, name: Hashable, key: str, along: str | None, shared: str) -> StoredVariable:
    variable = dataset.variables[name]
    dtype = dtype_name(variable.dtype, repr(name))
    fixed = CONFIGURATION if _is_small(variable) else shared
    place = EVENTS if along is None or along in variable.dims else fixed
    if len({*variable.dims}) != variable.ndim:
        raise UnsupportedOperation(f"{name!r} has a dimension twice, {variable.dims}: rename one")
    attrs = attribute_entries(variable.attrs, repr(name))
    dims = tuple(map(str, variable.dims))
    return StoredVariable(str(name), key, dims, dtype, variable.shape, name in dataset.coords, place, attrs)


def _check_kind(data: Any, name: Hashable) -> None:
    """Refuse arrays of other libraries: what their values mean beside the numbers, such as units, would be lost."""
    inner = data._meta if isinstance(data, da.Array) else data
    if not isinstance(inner, np.ndarray):
        kind = f"{type(inner).__module__}.{type(inner).__qualname__}"
        raise UnsupportedOperation(f"{name!r} is an array of {kind}, and runs hold those of numpy and dask: convert it")
    if isinstance(data, da.Array) and any(math.isnan(n) for n in data.shape):
        raise UnsupportedOperation(
            f"{name!r} is a dask array of unknown length, and a run says how long it is: call its compute_chunk_sizes()"
        )


def _lazily(variable: xr.Variable) -> xr.Variable:
    """The variable itself, or where its values are still in a file that xarray opened, with dask arrays of them."""
    if variable._in_memory or not isinstance(variable._data, ExplicitlyIndexed):  # which xarray tells nobody else
        return variable
    return variable.chunk({} if variable.dtype == OBJECT else "auto")


def _is_small(variable: xr.Variable) -> bool:
    # Of objects nobody knows the size of before they are looked at: a text of some length each.
    width = 32 if variable.dtype.kind in "OT" else variable.dtype.itemsize
    return variable.size * width <= SMALL


def _data_key(own: StoredVariable, variable: xr.Variable, axes: tuple[str, ...]) -> Document:
    form, encoded_shape = encoded_form(variable.dtype, variable.shape)
    shape = encoded_shape[len(variable.shape) - len(axes) :]
    more = {"c": ("complex",), "S": ("byte",)}.get(variable.dtype.kind, ())
    kind = "string" if is_text(form) else JSON_KINDS[form.kind]
    spec: Document = {
        "source": "dataset",
        "dtype": "array" if shape else kind,
        "shape": list(shape),
        "object_name": DEVICE,
    }
    if shape:
        spec["dims"] = [*axes, *more]
    if not is_text(form):
        spec["dtype_numpy"] = np.dtype(form).str
    elif shape:
        # An array of text, of which event-model's `dtype` alone would say that it is one of numbers.
        spec["dtype_numpy"] = "<U0"
    units = variable.attrs.get("units")
    return {**spec, "units": units} if type(units) is str else spec
