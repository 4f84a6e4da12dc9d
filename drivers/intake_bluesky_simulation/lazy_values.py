"""Values of outputs, read when they are computed, and no more of a file than is asked for."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from intake_bluesky.datasets.stored_datasets.describe import event_dimension
from intake_bluesky_simulation.output_file import OutputFile

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["FileValues", "lazily"]

SMALL: Final = 2**12
"""Bytes of what is read when a run is opened."""
BLOCK: Final = 2**24
"""Bytes of a dask chunk: storage chunks are read together up to this."""


@dataclass(frozen=True, slots=True)
class FileValues:
    """Values of one variable at one point of a sweep, an array as numpy's that reads what it is indexed with.

    Attributes
    ----------
    file : OutputFile
    version : str
        That has to be there still.
    stream, name : str
        Where the variable is.
    point : tuple of int or None
        The place along each axis that is fixed; None of the axes that the values have.
    shape : tuple of int
    dtype : numpy.dtype
    """

    file: OutputFile
    version: str
    stream: str
    name: str
    point: tuple[int | None, ...]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def ndim(self) -> int:
        """How many axes the values have."""
        return len(self.shape)

    def __getitem__(self, key: Any) -> Any:
        given = iter(key if isinstance(key, tuple) else (key,))
        whole = tuple(next(given, slice(None)) if place is None else place for place in self.point)
        with self.file.datasets(self.version) as datasets:
            return datasets[self.stream].variables[self.name][whole].values


def lazily(
    file: OutputFile,
    version: str,
    stream: str,
    dataset: xr.Dataset,
    *,
    point: Mapping[Hashable, int],
    events: str | None = None,
) -> xr.Dataset:
    """A Dataset at a point, as ``dataset.isel(point)`` is, with dask arrays that check the version.

    Values of dimensions are in memory, and what is small and the same for all `events` is read now: descriptors have
    it.
    """
    import xarray as xr

    chosen = dataset.isel(point, missing_dims="ignore")
    along = event_dimension(chosen, events if events in chosen.sizes else None)
    variables = {}
    for name, variable in chosen.variables.items():
        if variable._in_memory or (along not in variable.dims and variable.nbytes <= SMALL):
            variables[name] = variable.load()
        else:
            places = tuple(point.get(dim) for dim in dataset.variables[name].dims)
            values = FileValues(file, version, stream, str(name), places, variable.shape, variable.dtype)
            variables[name] = variable.copy(data=_as_dask(values, variable))
    return xr.Dataset(variables, attrs=chosen.attrs).set_coords(list(chosen.coords))


def _as_dask(values: FileValues, variable: xr.Variable) -> Any:
    import dask.array as da
    from dask.base import tokenize

    stored = variable.encoding.get("preferred_chunks") or {}
    chunks = _chunks(values, [stored.get(dim) for dim in variable.dims])
    token = tokenize(values.file.path, values.version, values.stream, values.name, values.point)
    meta = np.empty((0,) * values.ndim, values.dtype)
    return da.from_array(values, chunks=chunks, name=f"output-{values.name}-{token}", meta=meta, asarray=False)


def _chunks(values: FileValues, stored: list[Any]) -> Any:
    """Whole storage chunks, merged up to `BLOCK`; what is stored in one piece is cut."""
    from dask.array.core import normalize_chunks

    shape, dtype = values.shape, np.dtype("U32") if values.dtype.hasobject else values.dtype
    if not shape or 0 in shape:
        return shape
    if all(one is None for one in stored):
        return normalize_chunks("auto", shape=shape, limit=BLOCK, dtype=dtype)
    sizes = [
        n if size is None else min(size if isinstance(size, int) else max(size), n)
        for size, n in zip(stored, shape, strict=True)
    ]
    limit = max(BLOCK, math.prod(sizes) * dtype.itemsize)
    return normalize_chunks("auto", shape=shape, limit=limit, dtype=dtype, previous_chunks=tuple(sizes))
