"""A stream that holds a Dataset, read as that Dataset was."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr

from intake_bluesky.cached import cached_property
from intake_bluesky.datasets.options import DatasetOptions
from intake_bluesky.datasets.stored_datasets.attributes import attributes_of, values_of_plain
from intake_bluesky.datasets.stored_datasets.dtypes import dtype_of, encoded_form
from intake_bluesky.datasets.stored_datasets.encoding import decode
from intake_bluesky.datasets.stored_datasets.layout import (
    CONFIGURATION,
    DEVICE,
    EVENTS,
    DatasetLayout,
    StoredVariable,
    warn_of_version,
)
from intake_bluesky.datasets.stream_reader import StreamReader
from intake_bluesky.datasets.variables import RESERVED
from intake_bluesky.documents.model import RunHeader
from intake_bluesky.errors import DamagedRun
from intake_bluesky.storage.contract import RunStore

__all__ = ["DatasetReader", "reader_of"]


def reader_of(
    store: RunStore, header: RunHeader, stream: str, options: DatasetOptions, layout: DatasetLayout | None
) -> StreamReader | DatasetReader:
    """What reads a stream in the form that was asked for: as the Dataset of a layout, or without one as events."""
    if layout is not None:
        return DatasetReader(store, header, stream, options, layout)
    warn_of_version(header.streams[stream])
    return StreamReader(store, header, stream, options)


class DatasetReader:
    """Reads one stream as the Dataset that it was made of.

    Parameters
    ----------
    store : RunStore
    header : RunHeader
    stream : str
    options : DatasetOptions
        Whose `include` and `exclude` name variables.
    layout : DatasetLayout
        That of the stream.
    """

    def __init__(
        self, store: RunStore, header: RunHeader, stream: str, options: DatasetOptions, layout: DatasetLayout
    ) -> None:
        self.store, self.header, self.stream = store, header, stream
        self.options, self.layout = options, layout

    @cached_property
    def _wanted(self) -> list[StoredVariable]:
        """The variables asked for, and as of a selection of a Dataset the coordinates that they have."""
        asked, out = self.options.include, set(self.options.exclude)
        chosen = [v for v in self.layout.variables if asked is None or v.name in asked]
        dims = {dim for variable in chosen for dim in variable.dims}
        return [
            v
            for v in self.layout.variables
            if v.name not in out and (v in chosen or (v.coordinate and dims.issuperset(v.dims)))
        ]

    def _reader(self, stream: str) -> StreamReader | None:
        """What reads the event form of a stream, of the wanted variables that are in it; None where none is."""
        if stream not in self.header.streams:
            raise DamagedRun(f"{self._where} has variables in stream {stream!r}, which the run does not have")
        place = EVENTS if stream == self.stream else stream
        held = [v for v in self._wanted if v.place == place and 0 not in self._encoded(v)[1]]
        for own in held:
            if own.key not in self.header.streams[stream].data_keys:
                raise DamagedRun(
                    f"{self._where} has {own.name!r} under the key {own.key!r}, which stream {stream!r} does not have"
                )
        if not held:
            return None
        keys = tuple(own.key for own in held)
        # What is to become of rows and frames is for the form of events: those of a Dataset have one shape alone.
        options = DatasetOptions(
            include=keys,
            target_chunk=self.options.target_chunk,
            assets=replace(self.options.assets, join_method=None, squeeze=False),
        )
        return StreamReader(self.store, self.header, stream, options)

    @property
    def _where(self) -> str:
        return f"the Dataset in stream {self.stream!r} of run {self.header.uid}"

    @staticmethod
    def _encoded(variable: StoredVariable) -> tuple[np.dtype[Any], tuple[int, ...]]:
        return encoded_form(dtype_of(variable.dtype), variable.shape)

    @cached_property
    def _readers(self) -> dict[str, StreamReader]:
        others = {v.place for v in self._wanted} - {EVENTS, CONFIGURATION}
        streams = {EVENTS: self.stream, **{place: place for place in sorted(others)}}
        readers = {place: self._reader(stream) for place, stream in streams.items()}
        return {place: reader for place, reader in readers.items() if reader is not None}

    def to_dask(self) -> xr.Dataset:
        """Describe the Dataset; coordinates with the name of their dimension are loaded, as xarray needs them."""
        return self._restored(StreamReader.to_dask)

    def read(self) -> xr.Dataset:
        """Read the Dataset into memory, without dask."""
        return self._restored(StreamReader.read)

    @cached_property
    def _bounds(self) -> list[int]:
        """Where partitions begin and end along the dimension of events: where a chunk of any variable does."""
        along = self.layout.dimension
        if along is None:
            return [0, 1]
        chunks = self.to_dask().unify_chunks().chunksizes.get(along, (self.layout.events,))
        return [0, *np.cumsum(chunks).tolist()]

    @property
    def npartitions(self) -> int:
        """Into how many parts `partition` splits the events."""
        return len(self._bounds) - 1

    def partition(self, i: int) -> xr.Dataset:
        """Read part `i` into memory, with all that does not change from event to event."""
        along, lazy = self.layout.dimension, self.to_dask()
        part = slice(*self._bounds[i : i + 2])
        return (lazy.isel({along: part}) if along in lazy.dims else lazy).compute()

    def _restored(self, read: Callable[[StreamReader], xr.Dataset]) -> xr.Dataset:
        found = {place: _by_key(read(reader)) for place, reader in self._readers.items()}
        variables = {v.name: self._variable(v, found) for v in self._wanted}
        coordinates = [v.name for v in self._wanted if v.coordinate]
        try:
            # One after the other, so that the order stays.
            return xr.Dataset(variables, attrs=attributes_of(self.layout.attrs)).set_coords(coordinates)
        except ValueError as error:  # sizes that contradict each other
            raise DamagedRun(f"{self._where} is none that can be: {error}") from error

    def _variable(self, own: StoredVariable, found: Mapping[str, Mapping[str, xr.Variable]]) -> xr.Variable:
        dtype, attrs = dtype_of(own.dtype), attributes_of(own.attrs)
        if own.place == CONFIGURATION:
            return xr.Variable(own.dims, self._fixed(own, dtype), attrs)
        axis = own.dims.index(along) if (along := self._along(own)) is not None else None
        rest = tuple(n for place, n in enumerate(own.shape) if place != axis)
        shape = (1 if axis is None else own.shape[axis], *rest)
        _, encoded_shape = encoded_form(dtype, shape)
        if 0 in encoded_shape:
            return xr.Variable(own.dims, np.zeros(own.shape, dtype), attrs)
        data = self._checked(own, found[own.place][own.key], encoded_shape)
        if axis is None:
            return xr.Variable(own.dims, decode(data[0], dtype, rest), attrs)
        return xr.Variable(own.dims, _moved(decode(data, dtype, shape), axis), attrs)

    def _along(self, own: StoredVariable) -> str | None:
        """The dimension of which a variable has a value an event; None where it has one value in all."""
        return self.layout.dimension if own.place == EVENTS else None

    def _checked(self, own: StoredVariable, variable: xr.Variable, shape: tuple[int, ...]) -> Any:
        # Axes of length one come and go where values are frames of files.
        if [n for n in variable.shape if n != 1] != [n for n in shape if n != 1]:
            raise DamagedRun(
                f"{self._where}: {own.name!r} is of shape {own.shape}, which is {shape} in events, and what is there "
                f"is of {variable.shape}: the run is not whole, or was changed. With as_events=True it is read as "
                "far as it is there"
            )
        return variable.data if variable.shape == shape else variable.data.reshape(shape)

    def _fixed(self, own: StoredVariable, dtype: np.dtype[Any]) -> Any:
        (descriptor,) = self.header.streams[self.stream].descriptors
        try:
            plain = descriptor["configuration"][DEVICE]["data"][own.key]
            return values_of_plain(plain, dtype, own.shape)
        except (LookupError, TypeError, ValueError, OverflowError) as error:
            raise DamagedRun(
                f"{self._where}: the configuration does not hold {own.name!r} of shape {own.shape} and dtype {dtype}: "
                f"{type(error).__name__}: {error}"
            ) from error


def _by_key(dataset: xr.Dataset) -> dict[str, xr.Variable]:
    """The variables of a Dataset of events, by their data keys."""
    own: Iterable[tuple[Any, xr.Variable]] = dataset.variables.items()
    return {str(v.attrs.get("key", name)): v for name, v in own if name not in RESERVED}


def _moved(data: Any, axis: int) -> Any:
    """The first axis at its place."""
    if axis == 0:
        return data
    return da.moveaxis(data, 0, axis) if isinstance(data, da.Array) else np.moveaxis(data, 0, axis)
