"""Measured beside simulated values: the numbers are those of numpy, and nothing is read that is not compared."""

from __future__ import annotations

from typing import Any

import dask.array as da
import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from intake_bluesky.datasets.comparison import SCALES, compared
from intake_bluesky.errors import UnsupportedOperation

PLACES = st.floats(-100, 100).map(lambda x: round(x, 3))
VALUES = st.floats(-1000, 1000).map(lambda x: round(x, 2))


def axes(least: int) -> st.SearchStrategy[Any]:
    return hnp.arrays(np.float64, st.integers(least, 12), elements=PLACES, unique=least > 1)


def chunked(values: Any, lazy: bool) -> Any:
    return da.from_array(values, chunks=2) if lazy else values


@given(st.data(), axes(1), axes(2), st.sampled_from(SCALES), st.booleans(), st.booleans())
def test_it_is_what_numpy_finds(data: Any, x: Any, at: Any, scale: Any, lazy: bool, turned: bool) -> None:
    """Interpolated by `numpy.interp`, fitted by `numpy.linalg.lstsq`, whatever the order of points."""
    y = data.draw(hnp.arrays(np.float64, len(x), elements=VALUES | st.just(np.nan)))
    model = data.draw(hnp.arrays(np.float64, len(at), elements=VALUES))
    measured = xr.Dataset({"I": ("x", chunked(y, lazy))}, {"x": x})
    simulated = xr.Dataset({"I": ("at", chunked(model, lazy)), "x": ("at", at)}).isel(
        at=slice(None, None, -1 if turned else 1)
    )
    inside = (x >= at.min()) & (x <= at.max())
    if not inside.any():
        with pytest.raises(UnsupportedOperation, match="no overlap"):
            compared(measured, simulated, on="x", key="I", scale=scale)
        return
    order = np.argsort(at)
    expected, observed = np.interp(x[inside], at[order], model[order]), y[inside]
    known = ~np.isnan(observed)
    columns = {True: [expected, np.ones_like(expected)], "factor": [expected], False: []}[scale]
    spread = np.ptp(expected[known]) if scale is True and known.any() else np.abs(expected[known]).max(initial=0)
    if not known.any() or (columns and spread == 0):
        with pytest.raises(UnsupportedOperation, match=r"all the same there, or missing|no point has both"):
            compared(measured, simulated, on="x", key="I", scale=scale).compute()
        return
    if columns and spread < 1e-3:
        return  # of nearly constant values rounding decides on the fit
    found = compared(measured, simulated, on="x", key="I", scale=scale)
    assert (found.measured.chunks is not None) == lazy
    if columns:
        fit, *_ = np.linalg.lstsq(np.array(columns).T[known], observed[known], rcond=None)
        expected = np.array(columns).T @ fit
    np.testing.assert_array_equal(found["x"], x[inside])
    np.testing.assert_array_equal(found.measured, observed)
    np.testing.assert_allclose(found.simulated, expected, rtol=1e-6, atol=1e-3)
    np.testing.assert_allclose(found.difference, observed - expected, rtol=1e-6, atol=1e-3)
    rms = np.sqrt(np.mean((observed - expected)[known] ** 2))
    np.testing.assert_allclose(found.rms, rms, rtol=1e-6, atol=1e-3)


def curve(values: Any, x: Any, **attrs: str) -> xr.Dataset:
    return xr.Dataset({"I": ("x", values)}, {"x": ("x", x, attrs)})


X = np.arange(6.0)


def test_missing_points_count_for_nothing_but_themselves() -> None:
    model = curve([0.0, 1, np.nan, 3, 4, 5], X)
    found = compared(curve([1.0, 3, 5, 7, np.nan, 11], X), model, on="x")
    assert float(found.factor) == 2
    assert float(found.offset) == 1
    assert found.difference.isnull().values.tolist() == [False, False, True, False, True, False]
    # On a point of the simulation its neighbours do not count, whichever is missing.
    np.testing.assert_array_equal(found.simulated, [1, 3, np.nan, 7, 9, 11])


def test_other_dimensions_stay() -> None:
    """Of a detector with several elements each has its curve; one simulation is for all."""
    several = xr.Dataset({"I": (("time", "element"), np.outer(X, [2.0, 4.0])), "x": ("time", X)}, {"element": [7, 8]})
    found = compared(several, curve(X, X), on="x", scale="factor")
    assert found.measured.dims == ("x", "element")
    assert float(found.factor) == 3
    assert found.element.values.tolist() == [7, 8]
    each = xr.Dataset({"I": (("x", "element"), np.outer(X, [2.0, 4.0]))}, {"x": X, "element": [7, 8]})
    assert compared(several, each, on="x", scale=False).rms.item() == 0
    with pytest.raises(UnsupportedOperation, match="do not lie on the same points"):
        compared(several, each.assign_coords(element=[7, 9]), on="x")
    with pytest.raises(UnsupportedOperation, match=r"were not measured: \['element'\]"):
        compared(curve(X, X), each, on="x")


def test_what_is_not_compared_is_not_read() -> None:
    """Of values the chunks within the overlap; and nothing before it is computed."""
    read: list[int] = []

    def block(block_info: Any = None) -> Any:
        read.append(block_info[None]["chunk-location"][0])
        return np.arange(10.0) + 10 * read[-1]

    values = da.map_blocks(block, chunks=((10,) * 10,), dtype=np.float64, meta=np.empty(0))
    found = compared(curve(values, np.arange(100.0)), curve([0.0, 1], [25.0, 44.0]), on="x")
    assert not read
    assert float(found.rms) < 1e-9
    assert set(read) == {2, 3, 4}


def test_names_of_both_may_differ() -> None:
    measured = xr.Dataset({"det": ("time", 2 * X), "tth": ("time", X), "ring": ("time", X)})
    found = compared(measured, curve(X, X), on=("tth", "x"), key=("det", "I"))
    assert found.measured.dims == ("tth",)
    assert float(found.factor) == pytest.approx(2)
    with pytest.raises(UnsupportedOperation, match="measured are det, ring, simulated I"):
        compared(measured, curve(X, X), on=("tth", "x"))
    with pytest.raises(UnsupportedOperation, match="both have I, det"):
        compared(*[curve(X, X).assign(det=("x", X))] * 2, on="x")


@pytest.mark.parametrize(
    ("measured", "simulated", "problem"),
    [
        (curve(X, X, units="deg"), curve(X, X, units="rad"), "measured in 'deg', and simulated in 'rad'"),
        (curve(X, X + 10), curve(X, X), "no overlap: measured from 10 to 15, simulated from 0 to 5"),
        (curve(X, X * np.nan), curve(X, X), "measured nowhere"),
        (curve(X, X), curve(X, X // 2), "the simulated axis has one place twice"),
        (curve(X, X), curve([1.0], [1.0]), "fewer than two points"),
        (curve(X, X), curve(X, X).rename(x="q"), "nothing simulated is called 'x': there are 'I', 'q'"),
        (curve(X, X), curve(list("abcdef"), X), "has no numbers along 'x'"),
        (curve(X, list("abcdef")), curve(X, X), "is no axis of numbers"),
    ],
)
def test_what_cannot_be_compared_is_said(measured: xr.Dataset, simulated: xr.Dataset, problem: str) -> None:
    with pytest.raises(UnsupportedOperation, match=problem):
        compared(measured, simulated, on="x", key="I")


def test_units_of_values_count_where_they_are_not_scaled() -> None:
    one, other = curve(X, X), curve(X, X)
    one["I"].attrs["units"], other["I"].attrs["units"] = "counts", "a.u."
    assert compared(one, other, on="x").simulated.attrs["units"] == "counts"
    with pytest.raises(UnsupportedOperation, match=r"measured in 'counts', and simulated in 'a\.u\.'"):
        compared(one, other, on="x", scale=False)
    with pytest.raises(ValueError, match="scale is True, False, 'factor', not 'both'"):
        compared(one, other, on="x", scale="both")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="on is a name, or"):
        compared(one, other, on=("x", "x", "x"))  # type: ignore[arg-type]


@pytest.mark.parametrize("lazy", [True, False])
@pytest.mark.parametrize(("value", "points"), [(0.1, 3), (0.1, 101), (1e-3, 10)])
def test_equal_values_have_no_scale_though_their_mean_is_rounded(value: float, points: int, lazy: bool) -> None:
    x = np.arange(float(points))
    measured = xr.Dataset({"I": ("x", np.sin(x))}, {"x": x})
    simulated = xr.Dataset({"I": ("x", chunked(np.full(points, value), lazy))}, {"x": x})
    with pytest.raises(UnsupportedOperation, match="all the same there"):
        compared(measured, simulated, on="x").compute()


def test_no_value_is_beyond_the_last_where_the_axis_begins_at_no_number() -> None:
    x = np.array([0.0, 1.0, 1.5, 2.0])
    measured = xr.Dataset({"I": ("x", x)}, {"x": x})
    simulated = xr.Dataset({"I": ("x", [9.0, 0.0, 1.0, 4.0])}, {"x": [-np.inf, 0.0, 1.0, 2.0]})
    found = compared(measured, simulated, on="x", scale=False)
    assert found.simulated.values.tolist() == [0, 1, 2.5, 4]
