"""Motors of the scan's dimensions are coordinates; a scan along one dimension is a grid of one axis."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import xarray as xr
from bluesky import plans as bp
from matplotlib.figure import Figure

from intake_bluesky.catalogs.run_catalog import BlueskyCatalog
from intake_bluesky.catalogs.stream import BlueskyStream
from intake_bluesky.documents.model import Document
from intake_bluesky.errors import UnsupportedOperation
from intake_bluesky.testing.compose import RunComposer, data_key
from intake_bluesky.testing.examples import Run
from intake_bluesky.testing.memory import MemoryStore

Measure = Callable[..., Run]


def stream_of(documents: Run, **options: Any) -> BlueskyStream:
    stream: BlueskyStream = BlueskyCatalog(MemoryStore([documents], page_size=4))[-1].primary
    return stream(**options)


def values(documents: Run, key: str) -> list[Any]:
    return [doc["data"][key] for name, doc in documents if name == "event"]


PLANS: dict[str, tuple[Callable[[Any], Any], set[str]]] = {
    "scan": (lambda d: bp.scan([d.det], d.motor1, -1, 1, 7), {"motor1"}),
    "two motors": (lambda d: bp.inner_product_scan([d.det], 6, d.motor1, 0, 1, d.motor2, 9, 4), {"motor1", "motor2"}),
    "relative": (lambda d: bp.rel_scan([d.det], d.motor1, -1, 1, 7), {"motor1"}),
    "list": (lambda d: bp.list_scan([d.det], d.motor1, [3, 1, 2]), {"motor1"}),  # type: ignore[arg-type]
    "relative list": (lambda d: bp.rel_list_scan([d.det], d.motor1, [3, 1, 2]), {"motor1"}),
    "log": (lambda d: bp.log_scan([d.det], d.motor1, 0, 2, 5), {"motor1"}),
    "two of a kind": (lambda d: bp.x2x_scan([d.det], d.motor1, d.motor2, 0, 1, 3), {"motor1", "motor2"}),
    "adaptive": (lambda d: bp.adaptive_scan([d.det], "det", d.motor1, -1, 1, 0.1, 0.5, 0.2, False), {"motor1"}),
    "grid": (lambda d: bp.grid_scan([d.det], d.motor1, 0, 1, 2, d.motor2, 0, 2, 3), {"motor1", "motor2"}),
    "spiral": (lambda d: bp.spiral([d.det], d.motor1, d.motor2, 0, 0, 1, 1, 0.3, 4), {"motor1", "motor2"}),
    "count": (lambda d: bp.count([d.det, d.motor1], 3), set()),
}


@pytest.mark.parametrize("name", PLANS)
def test_coordinates_are_what_the_motors_read(name: str, measured: Measure) -> None:
    plan, motors = PLANS[name]
    documents = measured(plan)
    stream = stream_of(documents)
    lazy, read = stream.to_dask(), stream.read()
    for dataset in (lazy, read):
        assert set(dataset.coords) == {"time", "seq_num"} | motors
        assert set(dataset.data_vars) == set(stream.keys) - motors
        assert set(dataset.xindexes) == {"time"}
        for motor in motors:
            assert dataset[motor].values.tolist() == values(documents, motor)
    assert all(lazy[motor].chunks for motor in motors)
    xr.testing.assert_identical(lazy.compute(), read)
    assert list(stream.to_dataframe()) == ["time", *stream.keys]
    assert list(stream.discover()["dtype"]) == stream.keys
    assert set(stream.timestamps.read().coords) == {"time", "seq_num"}


@pytest.mark.parametrize("name", ["scan", "two motors", "relative", "list", "relative list", "log", "adaptive"])
def test_a_line_is_a_grid_of_one_axis(name: str, measured: Measure) -> None:
    documents = measured(PLANS[name][0])
    grid = stream_of(documents).to_grid()
    motor, det = values(documents, "motor1"), values(documents, "det")
    assert (grid["det"].dims, grid["det"].values.tolist()) == (("motor1",), det)
    np.testing.assert_allclose(grid["motor1"].values, motor, atol=1e-12)  # in the order in which it was there
    assert grid["motor1_readback"].values.tolist() == motor
    assert float(grid["det"].sel(motor1=grid["motor1"][2])) == det[2]
    if "list" not in name:
        assert float(grid["det"].sel(motor1=motor[1] + 1e-3, method="nearest")) == det[1]
    if name == "two motors":
        assert grid["motor2"].values.tolist() == values(documents, "motor2")


def test_selecting_by_a_motor(measured: Measure) -> None:
    documents = measured(PLANS["scan"][0])
    ds = stream_of(documents).to_dask()
    indexed = ds.set_xindex("motor1")
    assert float(indexed["det"].sel(motor1=0.9, method="nearest")) == values(documents, "det")[-1]
    assert indexed["det"].sel(motor1=slice(-0.5, 0.5)).sizes == {"time": 3}


def test_drawing_against_a_motor(measured: Measure) -> None:
    documents = measured(PLANS["scan"][0])
    for _, doc in [pair for pair in documents if pair[0] == "descriptor"]:
        doc["data_keys"]["motor1"]["units"] = "deg"
    axes = Figure().subplots()
    (line,) = stream_of(documents).to_dask()["det"].plot(x="motor1", ax=axes)  # type: ignore[call-arg]
    assert line.get_xdata().tolist() == values(documents, "motor1")
    assert axes.get_xlabel() == "motor1 [deg]"


def line(numbers: list[int], **start: Any) -> Run:
    told = {"num_points": 6, "motors": ["x"], "plan_pattern": "inner_product"}
    told |= {"plan_pattern_args": {"num": 6, "args": ["x", 0, 5]}, "hints": {"dimensions": [[["x"], "primary"]]}}
    run = RunComposer("line", **{**told, **start})
    primary = run.descriptor({"x": data_key("number"), "det": data_key("integer")})
    if numbers:
        run.page(primary, {"x": [n - 1.0 for n in numbers], "det": numbers}, seq_nums=numbers)
    return run.documents


class TestUnfinished:
    @pytest.mark.parametrize("numbers", [[1, 2, 3], [1, 2, 5], []])
    def test_the_rest_of_the_plan_is_missing(self, numbers: list[int]) -> None:
        grid = stream_of(line(numbers)).to_grid()
        assert grid["x"].values.tolist() == [0, 1, 2, 3, 4, 5]
        assert grid.attrs["incomplete"] == f"grid: {len(numbers)} of 6 points"
        expected = [n if n in numbers else np.nan for n in range(1, 7)]
        np.testing.assert_array_equal(grid["det"].values, expected)

    @pytest.mark.parametrize(
        "start", [{"plan_pattern": None}, {"num_points": None}, {"motors": ["y", "x"]}, {"plan_pattern_args": None}]
    )
    def test_without_a_plan_it_is_as_long_as_it_was(self, start: Document) -> None:
        grid = stream_of(line([1, 2, 3], **start)).to_grid()
        assert (grid["x"].values.tolist(), grid["det"].values.tolist()) == ([0, 1, 2], [1, 2, 3])

    def test_more_events_than_points(self) -> None:
        with pytest.raises(UnsupportedOperation, match="not one for each of the 2 points"):
            stream_of(line([1, 2, 3], num_points=2)).to_grid()


@pytest.mark.parametrize(
    ("hints", "coordinates"),
    [
        ({"dimensions": [[["x"]]]}, {"x"}),
        ({"dimensions": [[["x", "gone"], "primary"], [["det"], "baseline"]]}, {"x"}),
        ({"dimensions": [[["time"], "primary"]]}, set()),
        ({"dimensions": "x"}, set()),
        ({"dimensions": [["x", "primary"], 3, [["x"], "primary", 1]]}, set()),
        (["x"], set()),
        (None, set()),
    ],
)
def test_hints_of_any_form(hints: Any, coordinates: set[str]) -> None:
    assert set(stream_of(line([1, 2], hints=hints)).read().coords) == {"time", "seq_num"} | coordinates


def test_what_has_no_scalar_an_event_is_no_coordinate() -> None:
    run = RunComposer("odd", hints={"dimensions": [[["a", "text", "time", "sl/ash"], "primary"]]})
    keys = {"a": data_key("array", [2]), "text": data_key("string"), "time": data_key("number")}
    primary = run.descriptor({**keys, "sl/ash": data_key("number")})
    run.page(primary, {"a": [[1, 2], [3, 4]], "text": ["in", "out"], "time": [1.0, 2.0], "sl/ash": [1.0, 2.0]})
    for options in ({}, {"text_dtype": "string"}, {"portable": True}):
        ds = stream_of(run.documents, **options).to_dask()
        assert set(ds.coords) - {"time", "seq_num"} == {"text", "sl_ash"}
    assert set(stream_of(run.documents, exclude=["text"]).to_dask().coords) == {"time", "seq_num", "sl_ash"}


class Recording(MemoryStore):
    """A store that remembers which keys it was asked for."""

    def event_pages(self, uid: str, stream: str, **options: Any) -> Any:
        self.__dict__.setdefault("asked", []).append(options.get("data"))
        return super().event_pages(uid, stream, **options)


def test_no_motor_is_read_to_describe_it(measured: Measure) -> None:
    store = Recording([measured(PLANS["scan"][0])])
    dataset = BlueskyCatalog(store)[-1].primary.to_dask()
    assert "dask" in repr(dataset)
    assert not any("motor1" in (keys or ()) for keys in store.__dict__["asked"])
    assert dataset["det"].compute()["motor1"].values[0] == -1
    assert any("motor1" in (keys or ()) for keys in store.__dict__["asked"])
