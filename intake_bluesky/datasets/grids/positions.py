"""Positions along the axes of a grid: as planned if the motors went there, else as they were measured."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

import numpy as np
import xarray as xr

from intake_bluesky.datasets.grids.gather import gather
from intake_bluesky.datasets.grids.order import GridOrder
from intake_bluesky.datasets.grids.scanned import Grid
from intake_bluesky.documents.columns import Array
from intake_bluesky.errors import UnsupportedOperation

__all__ = ["axis_positions", "position_key"]

SETPOINTS: Final = ("_user_setpoint", "_setpoint")
"""Endings that ophyd's motors add to their own name for the key of their setpoint."""
TOLERANCE: Final = {True: 1e-3, False: 0.1}
"""How far from its plan, in steps, the beginning of a scan may be: of a setpoint, and of a reading with its error."""


def position_key(axis: str, keys: Collection[str]) -> str:
    """The key with the best positions of an axis: its setpoint, else its reading.

    Examples
    --------
    >>> position_key("x", ["det", "x", "x_user_setpoint"])
    'x_user_setpoint'
    """
    return next((axis + end for end in SETPOINTS if axis + end in keys), axis)


def axis_positions(grid: Grid, order: GridOrder, motors: xr.Dataset, names: Mapping[str, str]) -> dict[str, Array]:
    """Find the positions along each axis.

    The positions planned are compared with the first chunk of the readings: a relative scan plans from where it begins,
    and its start document does not have that position. Where the two differ by more than a shift, or no plan is known,
    all readings are read, and a position is the median over the grid; NaN where no point was measured. Axes whose
    readings are no numbers have none. `motors` has, lazily, the `position_key` of each axis, under the name of its
    variable in `names`.

    Raises
    ------
    UnsupportedOperation
        When the motors did not move along their axes, and the start document has no plan.
    """
    found = {axis: motors[names[position_key(axis, names)]] for axis in grid.axes}
    found = {axis: array for axis, array in found.items() if array.ndim == 1 and array.dtype.kind in "iuf"}
    first = min((array.chunks[0][0] for array in found.values() if array.chunks), default=0)
    begun = _on_grid(found, order, motors, stop=first)
    settled = {
        axis: _settled(plan, begun[axis], number, exact=position_key(axis, names) != axis) if axis in begun else plan
        for number, (axis, plan) in enumerate(zip(grid.axes, grid.planned, strict=True))
        if plan is not None
    }
    positions = {axis: plan for axis, plan in settled.items() if plan is not None}
    rest = {axis: array for axis, array in found.items() if axis not in positions}
    for axis, values in _on_grid(rest, order, motors).items():
        number = grid.axes.index(axis)
        positions[axis] = _measured(values, number, grid.planned[number], axis)
    return positions


def _on_grid(
    found: Mapping[str, xr.DataArray], order: GridOrder, motors: xr.Dataset, *, stop: int | None = None
) -> dict[str, Array]:
    """Readings of the rows up to `stop` on the grid, float64; NaN elsewhere. One compute for all."""
    if not found:
        return {}
    part = slice(0, len(motors["seq_num"]) if stop is None else stop)
    computed: Any = xr.Dataset(dict(found)).isel(time=part).compute()
    rows = order.rows()
    rows[rows >= part.stop] = -1
    # `motors` was filled: a row without an event may have zeros, which are no positions.
    there = np.isfinite(motors["time"].values[part].astype(np.float64)) if "time" in motors.coords else np.True_
    floats = np.dtype(np.float64)
    return {axis: gather(rows, np.where(there, computed[axis].values, np.nan), floats) for axis in found}


def _settled(plan: Array, values: Array, axis: int, *, exact: bool) -> Array | None:
    """The plan, shifted to where the scan began; None where the values do not follow it."""
    line = [1] * values.ndim
    line[axis] = -1
    offset = (values - plan.reshape(line))[np.isfinite(values)]
    if not len(offset):
        return plan
    step = float(np.abs(np.diff(plan)).min()) if len(plan) > 1 else 0.0
    shift = float(np.median(offset))
    # Past half a step a reading is nearer to the next point: the rows are then not where the plan puts them.
    if np.abs(offset - shift).max() > step / 2:
        return None
    return plan if abs(shift) <= TOLERANCE[exact] * step else plan + shift


def _measured(values: Array, number: int, plan: Array | None, axis: str) -> Array:
    """The median of the readings at each place of an axis.

    Where those of one place are as far apart as the places are, this is not the motor's axis: then the plan holds.
    """
    lines = np.moveaxis(values, number, 0).reshape(values.shape[number], -1)
    known = [line[np.isfinite(line)] for line in lines]
    medians = np.array([np.median(line) if len(line) else np.nan for line in known])
    lengths = [np.ptp(line) for line in known if len(line)]
    if len(lengths) < 2 or max(lengths) < np.ptp(medians[np.isfinite(medians)]):
        return medians
    if plan is not None:
        return plan
    raise UnsupportedOperation(
        f"the events do not make a grid of shape {values.shape} with {axis!r} as axis {number}: at one place of that "
        f"axis it was at positions {max(lengths):g} apart. Say which axes there are, the slowest first, how "
        "many points each has, and which are snaked: to_grid(shape=(...), axes=(...), snaking=(...))"
    )
