"""Positions along the axes of a grid: as planned if the motors went there, else as they were measured."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import Final

import dask.base
import numpy as np
import xarray as xr

from intake_bluesky.datasets.grids.gather import gather
from intake_bluesky.datasets.grids.order import GridOrder, passes
from intake_bluesky.datasets.grids.scanned import Grid
from intake_bluesky.documents.columns import Array
from intake_bluesky.errors import UnsupportedOperation

__all__ = ["located", "position_key"]

SETPOINTS: Final = ("_user_setpoint", "_setpoint")
"""Endings that ophyd's motors add to their own name for the key of their setpoint."""
TOLERANCE: Final = {True: 1e-3, False: 0.1}
"""How far from its plan, in steps, the beginning of a scan may be: of a setpoint, and of a reading with its error."""
CLEARLY: Final = 3
"""How many times nearer the readings are to one direction of a pass than to the other, where they tell which it had."""
ASIDE: Final = 0.45
"""How far, in steps, the readings at one place of an axis may all be from where another should be."""
NOISE: Final = 8
"""How many times their own median noise, over the root of their number, they may be off as well."""
WILD: Final = 0.05
"""How many of the readings, at most, may be far from the others at their place; one always may."""


def position_key(axis: str, keys: Collection[str]) -> str:
    """The key with the best positions of an axis: its setpoint, else its reading.

    Examples
    --------
    >>> position_key("x", ["det", "x", "x_user_setpoint"])
    'x_user_setpoint'
    """
    return next((axis + end for end in SETPOINTS if axis + end in keys), axis)


def located(
    grid: Grid, order: GridOrder, motors: xr.Dataset, names: Mapping[str, str]
) -> tuple[GridOrder, dict[str, Array]]:
    """Find the order in which the motors went through the grid, and the positions along each axis.

    The positions planned are compared with the first chunk of the readings, and with those where the first and second
    pass of each axis begin and end: a relative scan plans from where it begins, and its start document does not have
    that position. Where the two differ by more than a shift, or no plan is known, all readings are read: they say
    whether the axis snaked, and a position is their median over the grid; NaN where no point was measured. Axes whose
    readings are no numbers have none. `motors` has, lazily, the `position_key` of each axis, under the name of its
    variable in `names`.

    Raises
    ------
    UnsupportedOperation
        When the readings contradict the grid.
    """
    found = {axis: motors[names[position_key(axis, names)]] for axis in grid.axes}
    found = {axis: array for axis, array in found.items() if array.ndim == 1 and array.dtype.kind in "iuf"}
    begun = _readings(found, motors, _telling_rows(order, found.values()))
    positions: dict[str, Array] = {}
    snaking = list(order.snaking)
    for number, (axis, plan) in enumerate(zip(grid.axes, grid.planned, strict=True)):
        if axis not in found:
            if grid.snaking[number] is None:
                raise _unclear(grid, axis)
            settled = plan
        elif plan is None or grid.snaking[number] is None:
            settled = None
        else:
            exact = position_key(axis, names) != axis
            settled = _settled(plan, _on_grid(order, begun[axis]), number, exact=exact)
        if settled is not None:
            positions[axis] = settled
    rest = {axis: array for axis, array in found.items() if axis not in positions}
    whole = _readings(rest, motors, np.arange(len(order.visited)))
    for axis, readings in whole.items():
        number = grid.axes.index(axis)
        snaking[number] = _snakes(grid, number, order.visited, readings)
    order = replace(order, snaking=tuple(snaking))
    for axis, readings in whole.items():
        positions[axis] = _measured(grid, grid.axes.index(axis), _on_grid(order, readings))
    return order, positions


def _telling_rows(order: GridOrder, found: Iterable[xr.DataArray]) -> Array:
    """The rows of the first chunk, and of those where the first two passes of each axis begin and end."""
    visited = order.visited
    chunks = min((array.chunks[0] for array in found if array.chunks), default=(len(visited),))
    ends = np.cumsum([0, *chunks])
    passed = [math.prod(order.shape[axis:]) for axis in range(1, len(order.shape))]
    visits = [0, *(visit for n in passed for visit in (n - 1, n, 2 * n - 1))]
    rows = np.searchsorted(visited, visits)
    telling = np.unique(np.searchsorted(ends, rows[rows < len(visited)], side="right") - 1)
    return np.concatenate([np.empty(0, np.int64), *(np.arange(ends[n], ends[n + 1]) for n in telling)])


def _readings(found: Mapping[str, xr.DataArray], motors: xr.Dataset, rows: Array) -> dict[str, Array]:
    """Readings of some rows, float64; NaN of the others. One compute for all."""
    if not found:
        return {}
    # Variables, not a Dataset of them: an axis may be called "time", as the dimension is.
    computed = dask.base.compute(*(array.variable.isel(time=rows).data for array in found.values()))
    # `motors` was filled: a row without an event may have zeros, which are no positions.
    there = np.isfinite(motors["time"].values[rows].astype(np.float64)) if "time" in motors.coords else np.True_
    readings = {axis: np.full(len(motors["seq_num"]), np.nan) for axis in found}
    for values, found_values in zip(readings.values(), computed, strict=True):
        values[rows] = np.where(there, found_values, np.nan)
    return readings


def _on_grid(order: GridOrder, readings: Array) -> Array:
    return gather(order.rows(), readings, np.dtype(np.float64))


def _settled(plan: Array, values: Array, axis: int, *, exact: bool) -> Array | None:
    """The plan, shifted to where the scan began; None where the values do not follow it."""
    offset = (values - _along(plan, axis, values.ndim))[np.isfinite(values)]
    if not len(offset):
        return plan
    step = _step(plan)
    shift = float(np.median(offset))
    # From half a step a reading is as near to the next point: the rows are then not where the plan puts them.
    if np.abs(offset - shift).max() > step / 2 * (1 - 1e-9):
        return None
    return plan if abs(shift) <= TOLERANCE[exact] * step else plan + shift


def _step(positions: Array) -> float:
    return float(np.abs(np.diff(positions)).min()) if len(positions) > 1 else 0.0


def _snakes(grid: Grid, axis: int, visit: Array, readings: Array) -> bool:
    """Whether an axis was passed in alternating directions: as told, unless its readings clearly say otherwise."""
    told, points = grid.snaking[axis], grid.shape[axis]
    number, place = passes(grid.shape, axis, visit)
    known = np.isfinite(readings)
    # Every other pass, from the first, is forward in either case: it says where the places are.
    forward = known & (number % 2 == 0)
    positions = _medians([readings[forward & (place == n)] for n in range(points)])
    others = known & (number % 2 == 1)
    reading, place = readings[others], place[others]
    # One wild reading counts for no more than the length of the axis.
    length = np.ptp(positions[np.isfinite(positions)]) if np.isfinite(positions).any() else 0.0
    aside = [np.abs(reading - positions[at]) for at in (place, points - 1 - place)]
    ahead, back = (float(np.minimum(own, length)[np.isfinite(sum(aside))].sum()) for own in aside)
    if CLEARLY * back < ahead:
        says: bool | None = True
    elif CLEARLY * ahead < back:
        says = False
    else:
        says = told if told is not None or len(reading) else False
    if says is None:
        raise _unclear(grid, grid.axes[axis])
    if grid.given and told is not None and says != told:
        raise _contradicted(grid, axis, f"its readings are those of an axis that is {'' if says else 'not '}snaked")
    return says


def _unclear(grid: Grid, axis: str) -> UnsupportedOperation:
    return UnsupportedOperation(
        f"neither the start document nor the readings of {axis!r} say clearly whether this axis of the grid of shape "
        f"{grid.shape} was snaked (passed in alternating directions). {SAY_IT}"
    )


def _medians(places: Iterable[Array]) -> Array:
    return np.array([np.median(own) if len(own) else np.nan for own in places])


def _measured(grid: Grid, axis: int, values: Array) -> Array:
    """The plan, shifted, if the readings follow it but for few wild ones; else their median at each place of the axis.

    Where all readings are within one step of the plan, the motor did not move, or reads nothing: then the plan holds.
    """
    plan, known = grid.planned[axis], values[np.isfinite(values)]
    if plan is not None and (not len(known) or np.ptp(known) < _step(plan)):
        return plan
    lines = np.moveaxis(values, axis, 0).reshape(values.shape[axis], -1)
    medians = _medians(line[np.isfinite(line)] for line in lines)
    measured = medians[np.isfinite(medians)]
    if plan is not None:
        shift = float(np.median((values - _along(plan, axis, values.ndim))[np.isfinite(values)]))
        shifted = plan + shift if abs(shift) > TOLERANCE[False] * _step(plan) else plan
        if _contradiction(grid, axis, values, shifted, _step(plan) / 2) is None:
            return shifted
    if len(measured) < 2:
        return medians
    found = _contradiction(grid, axis, values, medians, float(np.ptp(measured)) / 2)
    if found is not None:
        raise _contradicted(grid, axis, found)
    return medians


def _along(positions: Array, axis: int, ndim: int) -> Array:
    return positions.reshape([-1 if n == axis else 1 for n in range(ndim)])


def _contradiction(grid: Grid, axis: int, values: Array, positions: Array, limit: float) -> str | None:
    """How the readings on the grid contradict these positions, if they do: few wild readings do not, nor does noise."""
    aside = values - _along(positions, axis, values.ndim)
    far = np.abs(aside[np.isfinite(aside)])
    if (far >= limit).sum() > (max(1, WILD * len(far)) if limit else 0):
        return f"it was up to {far.max():g} from where it should have been"
    plan = grid.planned[axis]
    gaps = np.abs(np.diff(positions))
    step = _step(plan) if plan is not None else float(np.median(gaps[np.isfinite(gaps)])) if gaps.size else 0.0
    for other in range(values.ndim):
        columns = [own[np.isfinite(own)] for own in np.moveaxis(aside, other, 0).reshape(values.shape[other], -1)]
        columns = [own for own in columns if len(own)]
        off = np.abs(_medians(columns))
        noise = np.median(np.concatenate([np.abs(own - np.median(own)) for own in columns]))
        lengths = np.array([len(own) for own in columns])
        if (off > np.maximum(ASIDE * step, NOISE * noise / np.sqrt(lengths))).any():
            return f"at one place of {grid.axes[other]!r} it was always {off.max():g} from where it should have been"
    return None


SAY_IT: Final = (
    "Say which axes there are, the slowest first, how many points each has, and which are snaked: "
    "to_grid(shape=(...), axes=(...), snaking=(...)); read() gives the events as they came"
)


def _contradicted(grid: Grid, axis: int, found: str) -> UnsupportedOperation:
    events = f"the events do not make a grid of shape {grid.shape} with {grid.axes[axis]!r} as axis {axis}: {found}"
    if grid.given:
        return UnsupportedOperation(f"{events}. {SAY_IT}")
    told = f"the plan and the readings disagree: the start document has the axes {grid.axes}, snaking {grid.snaking}"
    return UnsupportedOperation(f"{told}, but {events}. {SAY_IT}")
