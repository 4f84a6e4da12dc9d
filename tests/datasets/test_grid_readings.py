"""Gridded scans whose start document and readings disagree: every value stands where its motors were, or none does."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intake_bluesky.catalogs.run_catalog import BlueskyCatalog
from intake_bluesky.catalogs.stream import BlueskyStream
from intake_bluesky.datasets.grids.order import visits
from intake_bluesky.errors import UnsupportedOperation
from intake_bluesky.testing.compose import RunComposer, data_key
from intake_bluesky.testing.memory import MemoryStore


def points_of(shape: tuple[int, ...], snaking: tuple[bool, ...]) -> Any:
    """The points in the order of their visits, shape (points, axes)."""
    order = np.argsort(visits(shape, snaking), axis=None)
    return np.stack(np.unravel_index(order, shape), axis=-1).astype(float)


def scan(points: Any, shape: tuple[int, ...], *, page: int = 4, setpoints: Any = None, **start: Any) -> BlueskyStream:
    """A scan whose motors read `points`."""
    axes = ["z", "y", "x"][-len(shape) :]
    told = {"shape": list(shape), "extents": [[0, n - 1] for n in shape], "motors": axes}
    run = RunComposer("grid", **{**told, "hints": {"gridding": "rectilinear"}, **start})
    ends = [""] if setpoints is None else ["", "_setpoint"]
    primary = run.descriptor({axis + end: data_key("number") for end in ends for axis in axes})
    for first in range(0, len(points), page):
        part = {axis: points[first : first + page, n].tolist() for n, axis in enumerate(axes)}
        if setpoints is not None:
            part |= {f"{axis}_setpoint": setpoints[first : first + page, n].tolist() for n, axis in enumerate(axes)}
        run.page(primary, part, seq_nums=list(range(first + 1, first + 1 + len(part[axes[0]]))))
    stream: BlueskyStream = BlueskyCatalog(MemoryStore([run.documents], page_size=page))[-1].primary
    return stream


def misplaced(stream: BlueskyStream, **given_: Any) -> int:
    """How many readings stand at coordinates more than half a step from them."""
    grid = stream.to_grid(**given_).compute()
    far = [np.abs(grid[f"{axis}_readback"] - grid[axis]) > 0.5 for axis in map(str, grid.sizes)]
    measured = stream.read().sizes["time"]
    assert all(int(grid[f"{axis}_readback"].notnull().sum()) == measured for axis in grid.sizes)
    return int(sum(own.sum() for own in far))


@pytest.mark.slow
@settings(max_examples=settings().max_examples // 5)  # each is a store, of which much is read
@given(st.data())
def test_readings_decide_whether_axes_snaked(data: st.DataObject) -> None:
    shape = tuple(data.draw(st.lists(st.integers(2, 5), min_size=1, max_size=3)))
    told, true = (tuple(data.draw(st.tuples(*[st.booleans()] * len(shape)))) for _ in range(2))
    points = points_of(shape, true)[: data.draw(st.integers(1, math.prod(shape)))]
    jitter = np.random.default_rng(0).uniform(-1, 1, points.shape) * data.draw(st.sampled_from([0, 0.01, 0.1]))
    # Readings of one place on an axis do not tell that all of it is elsewhere than planned.
    shift = data.draw(st.sampled_from([0, 10.5])) if (np.ptp(points, axis=0) > 0).all() else 0
    snaking = data.draw(st.sampled_from([list(told), [str(each) for each in told], "False", None]))
    plan = data.draw(st.sampled_from([{}, {"extents": None}]))
    page = data.draw(st.sampled_from([1, 2, 4, 100]))
    assert misplaced(scan(points + jitter + shift, shape, page=page, snaking=snaking, **plan)) == 0


def test_noise_of_several_steps_contradicts_nothing() -> None:
    shape = (5, 20)
    points = points_of(shape, (False, True))
    noise = np.random.default_rng(0).normal(0, 1.5, points.shape) * [0, 1]
    for snaking in ([False, True], [False, False], ["no", "no"]):
        grid = scan(points + noise, shape, snaking=snaking).to_grid()
        assert np.corrcoef(grid["x"].values, range(20))[0, 1] > 0.9
        np.testing.assert_array_equal(grid["seq_num"].values[1], range(40, 20, -1))


def test_one_wild_reading_costs_nothing_else() -> None:
    points = points_of((4, 5), (False, True))
    points[7, 1] = 1e6
    for snaking in ([False, True], [False, False]):
        grid = scan(points, (4, 5), snaking=snaking).to_grid()
        assert (grid["x"].values.tolist(), grid["seq_num"].values[1].tolist()) == ([0, 1, 2, 3, 4], [10, 9, 8, 7, 6])


@pytest.mark.parametrize("page", [1, 4, 100])
@pytest.mark.parametrize("shape", [(3, 2), (3, 3), (4, 30), (2, 3, 4)])
def test_other_orders_are_no_grid(shape: tuple[int, ...], page: int) -> None:
    points = points_of(shape, (False,) * len(shape))
    orders = {"rolled": points[1:], "shuffled": np.random.default_rng(1).permutation(points)}
    orders["the first axis fastest"] = points_of(shape[::-1], (False,) * len(shape))[:, ::-1]
    for order in orders.values():
        with pytest.raises(UnsupportedOperation, match=r"plan and the readings disagree: .* snaking .*to_grid\(shape"):
            scan(order, shape, page=page, snaking=[False] * len(shape)).to_grid()


def test_setpoints_count_before_readings() -> None:
    points = points_of((3, 4), (False, True))
    still = np.zeros_like(points)
    grid = scan(still, (3, 4), setpoints=points, snaking=[False, False]).to_grid()
    assert (grid["x"].values.tolist(), grid["seq_num"].values[1].tolist()) == ([0, 1, 2, 3], [8, 7, 6, 5])


def test_snaking_that_nothing_tells() -> None:
    still = np.zeros((6, 2))
    with pytest.raises(UnsupportedOperation, match=r"neither the start document nor the readings of 'x' say clearly"):
        scan(still, (2, 3), snaking=["False", "True"]).to_grid()
    assert scan(still[:3], (2, 3), snaking=["False", "True"]).to_grid()["x"].values.tolist() == [0, 1, 2]


@pytest.mark.parametrize("snaking", [("False", "True"), "no", (0, 1), (False, None)])
def test_an_argument_that_is_no_boolean(snaking: Any) -> None:
    with pytest.raises(UnsupportedOperation, match="is not True or False for each axis"):
        scan(points_of((2, 3), (False, True)), (2, 3)).to_grid(snaking=snaking)


def test_an_argument_is_refused_and_not_corrected() -> None:
    stream = scan(points_of((3, 4), (False, True))[:5], (3, 4), snaking=[False, True])
    with pytest.raises(UnsupportedOperation, match="its readings are those of an axis that is snaked"):
        stream.to_grid(snaking=(False, False))
    assert misplaced(stream, snaking=(False, True)) == 0
