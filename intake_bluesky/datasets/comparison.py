"""What was measured beside what was simulated, on one axis, lazily."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, Final, Literal, NamedTuple, TypeAlias, get_args

import dask.array as da
import numpy as np
import xarray as xr

from intake_bluesky.documents.columns import Array
from intake_bluesky.errors import UnsupportedOperation

__all__ = ["SCALES", "Pair", "Scale", "compared", "names_of"]

Pair: TypeAlias = str | tuple[str, str]
"""A name, or that among what was measured and that among what was simulated."""
Scale: TypeAlias = Literal[True, False, "factor"]
SCALES: Final = get_args(Scale)


def compared(
    measured: xr.Dataset, simulated: xr.Dataset, *, on: Pair, key: Pair | None = None, scale: Scale = True
) -> xr.Dataset:
    """Bring simulated values to the axis on which others were measured, and take the difference.

    Simulated values are interpolated linearly between their neighbours, never beyond the first and the last. Of what
    was measured the points within them are taken, in their order; points whose place on the axis is no finite number
    are in no overlap. Both axes are read at once; the rest stays lazy, chunk by chunk.

    Parameters
    ----------
    measured, simulated : xarray.Dataset
    on : str or (str, str)
        The axis: a variable of one dimension, of numbers. Of the same units in both, where both tell them.
    key : str or (str, str), optional
        What is compared. May be left out where both have just one variable of numbers along the axis, of the same name.
    scale : {True, "factor", False}
        Whether a factor and an offset, a factor alone, or nothing is fitted to the simulated values, by least squares.

    Returns
    -------
    xarray.Dataset
        ``measured``, ``simulated`` (scaled) and ``difference`` (measured - simulated), float64, over the measured axis;
        coordinates without dimensions are ``rms`` (of the difference), ``factor`` and ``offset``. Missing values, NaN,
        stay missing, and count for none of these.

    Raises
    ------
    UnsupportedOperation
        Where the axes have no common part, or something else cannot be compared: the message says what. Where a fit has
        nothing to go by, such as constant simulated values, when it is computed.

    Examples
    --------
    >>> x = np.arange(5.0)
    >>> measured = xr.Dataset({"I": ("x", 2 * x + 1)}, {"x": x})
    >>> simulated = xr.Dataset({"I": ("x", [1.0, 4.0])}, {"x": [1.0, 4.0]})
    >>> found = compared(measured, simulated, on="x")
    >>> found.x.values, found.difference.values, found.factor.item(), found.offset.item()
    (array([1., 2., 3., 4.]), array([0., 0., 0., 0.]), 2.0, 1.0)
    """
    if not any(scale is one or (isinstance(scale, str) and scale == one) for one in SCALES):
        raise ValueError(f"scale is {', '.join(map(repr, SCALES))}, not {scale!r}")
    axes = names_of(on, "on")
    keys = _common_keys(measured, simulated, axes) if key is None else names_of(key, "key")
    one, other = _curve(measured, axes[0], keys[0], "measured"), _curve(simulated, axes[1], keys[1], "simulated")
    _check_units(one.axis, other.axis, f"axis {axes[0]!r}")
    if scale is False:
        _check_units(one.values, other.values, keys[0])
    places, at = _overlap(one, other)
    values, model = _on_the_same(
        _along(one, axes[0]).isel({axes[0]: _as_slice(places)}), _interpolated(other, at, axes[0]), keys, axes[0]
    )
    dims, others = values.dims, {name: values.coords[name] for name in values.coords}
    # From here on arrays, of numpy or dask: each step of xarray takes longer than the arithmetic of a curve.
    measured_values, model_values = values.data.astype(np.float64), model.data
    factor, offset = _fitted(measured_values, model_values, scale)
    model_values = factor * model_values + offset
    difference = measured_values - model_values
    known = ~np.isnan(difference)
    squares = np.where(known, difference, 0) ** 2
    rms = _quotient(squares.sum(), known.sum(), "no point has both a measured and a simulated value") ** 0.5
    told = {name: v for name, v in one.values.attrs.items() if name in ("units", "long_name")}
    found = {"measured": measured_values, "simulated": model_values, "difference": difference}
    numbers = {"rms": rms, "factor": factor, "offset": offset}
    return xr.Dataset(
        {name: (dims, array, told) for name, array in found.items()},
        {axes[0]: (axes[0], at, dict(one.axis.attrs)), **others, **{name: ((), v) for name, v in numbers.items()}},
    )


def _on_the_same(
    values: xr.DataArray, model: xr.DataArray, keys: tuple[str, str], axis: str
) -> tuple[xr.DataArray, xr.DataArray]:
    """Both with the same dimensions in the same order, and on the same coordinates along them."""
    if extra := sorted(map(str, set(model.dims) - set(values.dims))):
        raise UnsupportedOperation(f"{keys[1]!r} has dimensions in the simulation that were not measured: {extra}")
    if len(values.dims) == 1:
        return values, model
    try:
        values, model = xr.align(values, model, join="exact", exclude=[axis])
    except ValueError as error:
        raise UnsupportedOperation(f"{keys[0]!r} and {keys[1]!r} do not lie on the same points: {error}") from error
    return values, model.broadcast_like(values).transpose(*values.dims)


def names_of(given: Pair, what: str) -> tuple[str, str]:
    """A name for each of the two.

    Examples
    --------
    >>> names_of("tth", "on"), names_of(("two_theta", "tth"), "on")
    (('tth', 'tth'), ('two_theta', 'tth'))
    """
    pair = (given, given) if isinstance(given, str) else tuple(given)
    if len(pair) != 2 or not all(isinstance(name, str) for name in pair):
        raise TypeError(f"{what} is a name, or one of what was measured and one of what was simulated, not {given!r}")
    return pair


class _Curve(NamedTuple):
    """Values along an axis."""

    axis: xr.Variable
    places: Array
    values: xr.DataArray
    dim: Hashable


def _curve(dataset: xr.Dataset, on: str, key: str, what: str) -> _Curve:
    for name in (on, key):
        if name not in dataset.variables:
            raise UnsupportedOperation(f"nothing {what} is called {name!r}: there are {_listed(dataset)}")
    axis, values = dataset[on].variable, dataset[key]
    if axis.ndim != 1 or axis.dtype.kind not in "iuf":
        raise UnsupportedOperation(
            f"{on!r}, {what}, is no axis of numbers: it has dimensions {axis.dims}, {axis.dtype}"
        )
    if axis.dims[0] not in values.dims or values.dtype.kind not in "iufb":
        raise UnsupportedOperation(
            f"{key!r}, {what}, has no numbers along {on!r}: it has dimensions {values.dims}, {values.dtype}"
        )
    return _Curve(axis, np.asarray(axis.values, np.float64), values, axis.dims[0])


def _listed(dataset: xr.Dataset) -> str:
    return ", ".join(map(repr, sorted(map(str, dataset.variables))))


def _common_keys(measured: xr.Dataset, simulated: xr.Dataset, axes: tuple[str, str]) -> tuple[str, str]:
    """The only variable of numbers that both have along the axis."""
    found = []
    for dataset, on in zip((measured, simulated), axes, strict=True):
        dims = dataset[on].dims if on in dataset.variables else ()
        found.append({
            str(name) for name, variable in dataset.data_vars.items()
            if name not in axes and set(dims) <= set(variable.dims) and variable.dtype.kind in "iufb"
        })  # fmt: skip
    common = sorted(found[0] & found[1])
    if len(common) != 1:
        both = f"both have {', '.join(common)}" if common else (
            f"measured are {', '.join(sorted(found[0])) or 'none'}, simulated {', '.join(sorted(found[1])) or 'none'}"
        )  # fmt: skip
        raise UnsupportedOperation(f"say with key=... what along {axes[0]!r} is compared: {both}")
    return common[0], common[0]


def _check_units(one: xr.Variable | xr.DataArray, other: xr.Variable | xr.DataArray, what: str) -> None:
    units = one.attrs.get("units"), other.attrs.get("units")
    if None not in units and units[0] != units[1]:
        raise UnsupportedOperation(f"{what} was measured in {units[0]!r}, and simulated in {units[1]!r}: convert one")


def _overlap(measured: _Curve, simulated: _Curve) -> tuple[Array, Array]:
    """Positions of the measured points that lie within the simulated ones, and where those are on the axis."""
    known = simulated.places[np.isfinite(simulated.places)]
    if len(known) < 2 or len(np.unique(known)) < len(known):
        odd = "fewer than two points" if len(known) < 2 else "one place twice"
        raise UnsupportedOperation(f"the simulated axis has {odd}: nothing lies between its points")
    at = measured.places
    positions = np.flatnonzero(np.isfinite(at) & (at >= known.min()) & (at <= known.max()))
    if not len(positions):
        there = at[np.isfinite(at)]
        span = f"from {there.min():g} to {there.max():g}" if len(there) else "nowhere"
        raise UnsupportedOperation(f"no overlap: measured {span}, simulated from {known.min():g} to {known.max():g}")
    return positions, at[positions]


def _as_slice(positions: Array) -> Any:
    """Positions as a slice, if they are one: dask then cuts chunks, and gathers nothing."""
    first, last = int(positions[0]), int(positions[-1])
    return slice(first, last + 1) if last - first + 1 == len(positions) else positions


def _along(curve: _Curve, name: str) -> xr.DataArray:
    """The values alone, the dimension of the axis by a name, other dimensions with their own coordinates."""
    values = curve.values
    others = {dim: values.coords[dim] for dim in values.dims if dim != curve.dim and dim in values.coords}
    dims = [name if dim == curve.dim else dim for dim in values.dims]
    return xr.DataArray(values.variable.data, others, dims)


def _interpolated(curve: _Curve, at: Array, name: str) -> xr.DataArray:
    """The values at some places within the axis: a line between neighbours."""
    order = np.argsort(curve.places, kind="stable")
    order = order[np.isfinite(curve.places[order])]
    places, values = curve.places[order], _along(curve, name)
    if not np.array_equal(order, np.arange(len(curve.places))):
        values = values.isel({name: order})
    right = np.clip(np.searchsorted(places, at, side="right"), 1, len(places) - 1)
    share = (at - places[right - 1]) / (places[right] - places[right - 1])
    axis = values.dims.index(name)
    share = share.reshape([-1 if number == axis else 1 for number in range(values.ndim)])
    low, high = (np.take(values.data, number, axis=axis).astype(np.float64) for number in (right - 1, right))
    # On a point, its neighbour does not count: it may be missing.
    between = np.where(share == 0, low, np.where(share == 1, high, low + (high - low) * share))
    others = {dim: values.coords[dim] for dim in values.dims if dim in values.coords}
    return xr.DataArray(between, others, values.dims)


def _fitted(values: Any, model: Any, scale: Scale) -> tuple[Any, Any]:
    """Factor and offset by which the model comes nearest to the values."""
    if scale is False:
        return 1.0, 0.0
    both = ~(np.isnan(values) | np.isnan(model))
    count = np.maximum(both.sum(), 1)
    centre = (0.0, 0.0) if scale == "factor" else tuple(np.where(both, v, 0).sum() / count for v in (values, model))
    known, own = (np.where(both, array - middle, 0) for array, middle in zip((values, model), centre, strict=True))
    constant = "the simulated values are all the same there, or missing: no scale can be fitted, ask for scale=False"
    # Rounding of their mean leaves something of equal values, which is nothing to go by.
    varies = scale == "factor" or np.where(both, model, -np.inf).max() > np.where(both, model, np.inf).min()
    factor = _quotient((known * own).sum(), (own**2).sum() * varies, constant)
    return factor, centre[0] - factor * centre[1]


def _quotient(of: Any, by: Any, otherwise: str) -> Any:
    """A quotient, of dask lazily; where it is none, computing it raises."""

    def divided(numerator: Any, denominator: Any) -> Any:
        if not denominator > 0:
            raise UnsupportedOperation(otherwise)
        return numerator / denominator

    if isinstance(by, da.Array):
        return da.map_blocks(divided, of, by, dtype=np.float64, meta=np.empty((), np.float64))
    return divided(of, by)
