"""The Dataset of a stream, folded into the shape of a grid."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr

from intake_bluesky.assets import AssetArray
from intake_bluesky.datasets.grids.files import GridOfFiles
from intake_bluesky.datasets.grids.gather import gather, gather_dask, with_gaps
from intake_bluesky.datasets.grids.order import GridOrder
from intake_bluesky.datasets.grids.positions import located
from intake_bluesky.datasets.grids.scanned import Grid
from intake_bluesky.datasets.presentation import columns
from intake_bluesky.datasets.variables import variable_names
from intake_bluesky.documents.columns import Array
from intake_bluesky.errors import UnsupportedOperation

__all__ = ["gridded"]


def gridded(
    flat: xr.Dataset, grid: Grid, motors: xr.Dataset, *, files: Mapping[str, AssetArray], fill: bool = False
) -> xr.Dataset:
    """Fold a Dataset of events into the shape of the grid on which they were taken.

    Parameters
    ----------
    flat : xarray.Dataset
        Of dask arrays, with ``time`` as first dimension, and the coordinate ``seq_num``.
    grid : Grid
    motors : xarray.Dataset
        The readings of the grid's motors, and their setpoints, likewise.
    files : mapping of key to AssetArray
        The arrays in files that `flat` has; their dtype stays, and where it has no missing value, computing what was
        not measured raises.
    fill : bool
        Keep all dtypes and fill what was not measured with zeros.

    Raises
    ------
    UnsupportedOperation
        When the rows are not points of the grid, or the motors' readings contradict it.
    """
    flat, motors = columns(flat), columns(motors)
    order, positions = located(grid, _order(flat, grid), motors, _by_key(motors))
    if len(grid.axes) == 1:
        _check_function(positions)
    names = _axis_names(flat, grid)
    dims = tuple(names.values())
    renamed, renamed_dims = _new_names(flat, names), _new_dims(flat, dims)
    rows = order.rows()
    variables: dict[str, Any] = {}
    for old, variable in flat.variables.items():
        name = renamed.get(str(old), str(old))
        own = tuple(renamed_dims.get(str(dim), str(dim)) for dim in variable.dims[1:])
        attrs = {**({"key": str(old)} if name != old else {}), **variable.attrs}
        key, dtype = attrs.get("key", name), variable.dtype
        # Decided for the whole grid, not chunk by chunk: the dtype is part of what is described before computing.
        if order.measured < order.size and not fill:
            dtype = with_gaps(dtype)
        if key in files:
            values: Any = GridOfFiles(files[key], order, fill).dask()
        elif isinstance(variable.data, da.Array):
            values = gather_dask(order, variable.data, dtype)
        else:
            values = gather(rows, variable.values, dtype)
        variables[name] = ((*dims, *own), values, attrs)
    coords = {str(name): variables.pop(str(name)) for name in flat.coords}
    return xr.Dataset(variables, {**_axes(positions, motors, names), **coords}, _attributes(flat, order))


def _check_function(positions: Mapping[str, Array]) -> None:
    """Refuse a scan along one axis that was at one position more than once: nothing could be selected by it."""
    for axis, own in positions.items():
        found, times = np.unique(own[np.isfinite(own)], return_counts=True)
        if (times > 1).any():
            raise UnsupportedOperation(
                f"{axis!r} was at {found[times > 1][0]:g} {times[times > 1][0]} times: what was measured is no "
                f"function of its position. read() gives the events as they came, with {axis!r} as a coordinate: "
                f"ds.groupby({axis!r}).mean() makes one of those at each position"
            )


def _order(flat: xr.Dataset, grid: Grid) -> GridOrder:
    for name, variable in flat.variables.items():
        if variable.dims[:1] != ("time",):
            raise UnsupportedOperation(
                f"{str(name)!r} has its frames joined end to end, several an event, and so none for each point of a "
                'grid: ask for stream(join_method="stack"), or leave it out with stream(exclude=[...])'
            )
    seq_num = flat["seq_num"].values
    beyond = seq_num[(seq_num < 1) | (seq_num > grid.size)]
    if len(beyond):
        raise UnsupportedOperation(
            f"{len(seq_num)} events, with the seq_num {int(beyond[-1])} among them, are not one for each of the "
            f"{grid.size} points of a grid of shape {grid.shape}. If the grid has another shape say so, "
            "to_grid(shape=(...), axes=(...)); if a point has several events, read() gives them as they came"
        )
    # Whether an axis snakes that nobody says it of, the readings will tell.
    return GridOrder.of(grid.shape, [snakes is True for snakes in grid.snaking], seq_num)


def _by_key(dataset: xr.Dataset) -> dict[str, str]:
    """Name of the variable of each key."""
    return {str(variable.attrs.get("key", name)): str(name) for name, variable in dataset.data_vars.items()}


def _axis_names(flat: xr.Dataset, grid: Grid) -> dict[str, str]:
    """Name of each axis: that of its variable, whether the Dataset has it or not."""
    return {axis: _by_key(flat).get(axis, variable_names({axis: {}})[axis]) for axis in grid.axes}


def _new_names(flat: xr.Dataset, names: Mapping[str, str]) -> dict[str, str]:
    """New names of variables called as an axis: none of several dimensions may have the name of a dimension."""
    # xarray takes a variable with the name of a dimension for its coordinate, which has one dimension.
    taken = {*map(str, flat.variables), *names.values()}
    own = _by_key(flat)
    return {
        name: _free(f"{name}_readback" if own.get(axis) == name else f"{name}_", taken)
        for axis, name in names.items()
        if name in flat.variables
    }


def _new_dims(flat: xr.Dataset, names: Collection[str]) -> dict[str, str]:
    """New names of an event's own dimensions, such as rows of pixels, called as an axis."""
    taken = {*map(str, flat.variables), *map(str, flat.dims), *names}
    return {name: _free(f"{name}_", taken) for name in names if name in flat.dims}


def _free(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_"
    taken.add(name)
    return name


def _axes(positions: Mapping[str, Array], motors: xr.Dataset, names: Mapping[str, str]) -> dict[str, Any]:
    """The coordinates along the axes, with the attributes of the motors."""
    of_motors = _by_key(motors)
    coords = {}
    for axis, own in positions.items():
        attrs = {field: value for field, value in motors[of_motors[axis]].attrs.items() if field != "key"}
        coords[names[axis]] = (names[axis], own, attrs)
    return coords


def _attributes(flat: xr.Dataset, order: GridOrder) -> dict[str, Any]:
    if order.measured == order.size:
        return dict(flat.attrs)
    parts = [flat.attrs["incomplete"]] if "incomplete" in flat.attrs else []
    return {**flat.attrs, "incomplete": "; ".join([*parts, f"grid: {order.measured} of {order.size} points"])}
