"""Gridded scans: which event is which point, what is read, what was not measured, what is no grid."""

from __future__ import annotations

import json
import math
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask.base
import numpy as np
import pytest
import xarray as xr
from bluesky import plan_patterns
from bluesky import plans as bp
from hypothesis import given
from hypothesis import strategies as st

from intake_bluesky.assets.hdf5.reader import HDF5Reader
from intake_bluesky.catalogs.run_catalog import BlueskyCatalog
from intake_bluesky.catalogs.stream import BlueskyStream
from intake_bluesky.datasets.grids.files import GridOfFiles
from intake_bluesky.datasets.grids.order import GridOrder, visits
from intake_bluesky.documents.model import Document
from intake_bluesky.errors import AssetUnavailable, UnsupportedOperation
from intake_bluesky.testing.asset_runs import DATASET, HDF5, IMAGE, frames, write_hdf5
from intake_bluesky.testing.compose import RunComposer, data_key
from intake_bluesky.testing.examples import Run
from intake_bluesky.testing.memory import MemoryStore

GRIDS = st.lists(st.tuples(st.integers(1, 5), st.booleans()), min_size=1, max_size=4)


def walk(shape: tuple[int, ...], snaking: tuple[bool, ...]) -> list[tuple[int, ...]]:
    """The points of a grid in the order of a scan, one loop within the other."""
    points: list[tuple[int, ...]] = [()]
    for length, snake in zip(shape, snaking, strict=True):
        longer = []
        for number, point in enumerate(points):
            line = range(length)[::-1] if snake and number % 2 else range(length)
            longer += [(*point, place) for place in line]
        points = longer
    return points


class TestOrder:
    @given(GRIDS)
    def test_visits_are_those_of_loops(self, grid: list[tuple[int, bool]]) -> None:
        shape, snaking = (tuple(part) for part in zip(*grid, strict=True))
        observed = visits(shape, snaking)
        assert observed.shape == shape
        for number, point in enumerate(walk(shape, snaking)):
            assert observed[point] == number
        if not any(snaking):
            np.testing.assert_array_equal(observed, np.reshape(range(math.prod(shape)), shape))
            assert list(np.ndindex(*shape)) == walk(shape, snaking)

    @given(GRIDS)
    def test_visits_are_blueskys(self, grid: list[tuple[int, bool]]) -> None:
        lists = [arg for number, (length, _) in enumerate(grid) for arg in (str(number), list(range(length)))]
        snaked = [str(number) for number, (_, snake) in enumerate(grid) if snake and number]
        cycler = plan_patterns.outer_list_product(lists, snaked)
        points = [tuple(int(step[str(axis)]) for axis in range(len(grid))) for step in cycler]
        observed = visits([length for length, _ in grid], [str(number) in snaked for number in range(len(grid))])
        assert [observed[point] for point in points] == list(range(len(points)))

    @given(GRIDS, st.data())
    def test_rows_where_some_are_lost(self, grid: list[tuple[int, bool]], data: st.DataObject) -> None:
        shape, snaking = (tuple(part) for part in zip(*grid, strict=True))
        kept = sorted(data.draw(st.sets(st.integers(1, math.prod(shape)))))
        order = GridOrder.of(shape, snaking, np.array(kept, np.int64))
        assert order.measured == len(kept)
        expected = np.full(shape, -1)
        for number, point in enumerate(walk(shape, snaking), 1):
            if number in kept:
                expected[point] = kept.index(number)
        np.testing.assert_array_equal(order.rows(), expected)
        places = [np.array(data.draw(st.lists(st.integers(0, n - 1), max_size=4)), np.int64) for n in shape]
        np.testing.assert_array_equal(order.rows(places), expected[np.ix_(*places)])


def stream_of(documents: Run, **options: Any) -> BlueskyStream:
    stream: BlueskyStream = BlueskyCatalog(MemoryStore([documents], page_size=4))[-1].primary
    return stream(**options)


PLANS: dict[str, Callable[[Any], Any]] = {
    "grid": lambda d: bp.grid_scan([d.det], d.motor1, 0, 1, 4, d.motor2, 5, 1, 3),
    "snaked": lambda d: bp.grid_scan([d.det], d.motor1, 0, 1, 4, d.motor2, 0, 2, 3, snake_axes=True),
    "three axes": lambda d: bp.grid_scan(
        [d.det], d.motor1, 0, 1, 2, d.motor2, 0, 2, 3, d.motor3, 7, 8, 3, snake_axes=True
    ),
    "one snaked": lambda d: bp.grid_scan(
        [d.det], d.motor1, 0, 1, 3, d.motor2, 0, 2, 3, d.motor3, 7, 8, 2, snake_axes=[d.motor2]
    ),
    "relative": lambda d: bp.rel_grid_scan([d.det], d.motor1, -1, 1, 3, d.motor2, -2, 2, 3, snake_axes=True),
    "uneven": lambda d: bp.list_grid_scan([d.det], d.motor1, [1, 2, 7], d.motor2, [5, 1, 0.5], snake_axes=True),
    "uneven, one snaked": lambda d: bp.list_grid_scan(
        [d.det],
        d.motor1,
        [1, 2, 7],
        d.motor2,
        [0, 1],
        d.motor3,
        [3, 4, 8],
        snake_axes=[d.motor3],  # type: ignore[arg-type]
    ),
    "uneven, none snaked": lambda d: bp.list_grid_scan([d.det], d.motor1, [1, 2], d.motor2, [0, 1, 7], snake_axes=()),  # type: ignore[arg-type]
    "uneven, relative": lambda d: bp.rel_list_grid_scan([d.det], d.motor1, [1, 2, 7], d.motor2, [0, 1]),
    "one point a line": lambda d: bp.grid_scan([d.det], d.motor1, 0, 1, 4, d.motor2, 5, 5, 1),
}


class TestPlans:
    @pytest.mark.parametrize("name", PLANS)
    def test_every_event_is_where_its_motors_were(self, name: str, measured: Callable[..., Run]) -> None:
        documents = measured(PLANS[name])
        events = [doc for kind, doc in documents if kind == "event"]
        stream = stream_of(documents)
        grid = stream.to_grid()
        assert tuple(grid.sizes.values()) == documents[0][1]["shape"]
        assert tuple(grid.sizes) == documents[0][1]["motors"]
        assert stream._store.reads <= math.ceil(len(events) / 4)  # type: ignore[attr-defined]
        whole = grid.compute()
        for event in events:
            at = {axis: event["data"][axis] for axis in grid.sizes}
            point = whole.sel(at, method="nearest")
            assert {axis: pytest.approx(point[str(axis)].item()) for axis in grid.sizes} == at
            assert {axis: point[f"{axis}_readback"].item() for axis in grid.sizes} == at
            assert point["det"] == event["data"]["det"]
            assert point["seq_num"] == event["seq_num"]
            assert point["time"] == event["time"]

    def test_axes_are_told_from_the_plan(self, measured: Callable[..., Run]) -> None:
        grid = stream_of(measured(PLANS["grid"])).to_grid()
        assert grid["motor2"].values.tolist() == [5, 3, 1]
        assert grid["motor2"].attrs == {"object": "motor2", "source": "SIM:motor2", "precision": 3}
        assert grid["motor2_readback"].attrs == {**grid["motor2"].attrs, "key": "motor2"}

    @pytest.mark.parametrize("name", ["time", "seq_num", "uid"])
    def test_axes_called_as_what_each_event_has(self, name: str, measured: Callable[..., Run]) -> None:
        documents = measured(PLANS["snaked"])
        renamed = [(kind, json.loads(json.dumps(doc).replace('"motor1"', f'"{name}"'))) for kind, doc in documents]
        grid, expected = stream_of(renamed).to_grid(), stream_of(documents).to_grid()
        assert list(grid.sizes.values()) == list(expected.sizes.values())
        for one, other in (("det", "det"), ("time", "time"), ("seq_num", "seq_num"), (next(iter(grid.dims)), "motor1")):
            np.testing.assert_array_equal(grid[one].values, expected[other].values)

    def test_images_in_files(self, measured: Callable[..., Run]) -> None:
        stream = stream_of(measured(lambda d: bp.grid_scan([d.img], d.motor1, 0, 1, 2, d.motor2, 0, 1, 3, True)))
        grid, flat = stream.to_grid(), stream.read()
        assert grid["img"].dims == ("motor1", "motor2", "dim_0", "dim_1")
        np.testing.assert_array_equal(grid["img"].values, flat["img"].values[[[0, 1, 2], [5, 4, 3]]])

    @pytest.mark.parametrize(
        ("plan", "found"),
        [
            (lambda d: bp.count([d.det], 3), "plan 'count', .* no shape of a grid.*to_grid\\(shape="),
            (lambda d: bp.list_scan([d.det], d.motor1, [0, 1, 1]), "'motor1' was at 1 2 times.*groupby"),  # type: ignore[arg-type]
            (lambda d: bp.spiral([d.det], d.motor1, d.motor2, 0, 0, 1, 1, 0.5, 3), "no shape of a grid"),
            (lambda d: bp.spiral_square([d.det], d.motor1, d.motor2, 0, 0, 1, 1, 3, 3), "an order of its own"),
        ],
    )
    def test_what_is_no_grid_says_so(self, plan: Any, found: str, measured: Callable[..., Run]) -> None:
        with pytest.raises(UnsupportedOperation, match=found):
            stream_of(measured(plan)).to_grid()

    def test_a_grid_that_nobody_declared(self, measured: Callable[..., Run]) -> None:
        def plan(d: Any) -> Any:
            points = plan_patterns.outer_product([d.motor1, 0, 1, 2, d.motor2, 0, 2, 3, True])
            return bp.scan_nd([d.det], points)

        stream = stream_of(measured(plan))
        grid = stream.to_grid(shape=(2, 3), axes=("motor1", "motor2"), snaking=(False, True))
        assert grid["motor1"].values.tolist() == [0, 1]
        assert grid["motor2"].values.tolist() == [0, 1, 2]
        np.testing.assert_array_equal(grid["motor2_readback"].values, [[0, 1, 2], [0, 1, 2]])
        for wrong in ({"axes": ("motor2", "motor1"), "snaking": (False, True)}, {"axes": ("motor1", "motor2")}):
            with pytest.raises(UnsupportedOperation, match=r"do not make a grid of shape \(2, 3\) with 'motor"):
                stream.to_grid(shape=(2, 3), **wrong)


def mapped(
    folder: Path | None = None,
    *,
    shape: tuple[int, int] = (3, 4),
    seq_nums: list[int] | None = None,
    readings: Callable[[float, float], tuple[float, float]] = lambda y, x: (y, x),
    image: Document = IMAGE,
    **start: Any,
) -> Run:
    """A snaked map over y from 0 to 2 and x from 0 to 6, with frames in HDF5 if there is a folder for them."""
    declared = {"gridding": "rectilinear", "dimensions": [[["y"], "primary"], [["x"], "primary"]]}
    told: dict[str, Any] = {"shape": shape, "extents": [[0, 2], [0, 6]], "snaking": [False, True], "hints": declared}
    run = RunComposer("map", **{"plan_name": "map", **told, **start})
    keys = {"y": "number", "x": "number", "det": "number", "counts": "integer", "open": "boolean", "label": "string"}
    specs: dict[str, Document] = {key: data_key(dtype) for key, dtype in keys.items()}
    primary = run.descriptor(specs | ({"image": image} if folder else {}))
    points = walk(shape, (False, True))
    numbers = list(range(1, len(points) + 1)) if seq_nums is None else seq_nums
    if folder:
        uri = write_hdf5(folder / "frames.h5", frames(len(points)))
        resource = run.stream_resource("image", mimetype=HDF5, uri=uri, dataset=DATASET)
    for first in range(0, len(numbers), 4):
        page = numbers[first : first + 4]
        y, x = zip(
            *(readings(2 * i / (shape[0] - 1), 6 * j / (shape[1] - 1)) for i, j in at(points, page)), strict=True
        )
        own: dict[str, Any] = {
            "det": [n / 2 for n in page],
            "counts": page,
            "open": [True] * len(page),
            "label": [f"n{n}" for n in page],
        }
        run.page(primary, {"y": y, "x": x, **own}, seq_nums=page)
    for n in numbers if folder else ():
        run.stream_datum(resource, primary, (n, n + 1))
    return run.documents


def at(points: list[tuple[int, ...]], seq_nums: list[int]) -> list[tuple[int, ...]]:
    return [points[n - 1] for n in seq_nums]


class TestPositions:
    def test_readings_near_the_plan_leave_it(self) -> None:
        grid = stream_of(mapped(readings=lambda y, x: (y + 0.01, x - 0.1))).to_grid()
        assert (grid["y"].values.tolist(), grid["x"].values.tolist()) == ([0, 1, 2], [0, 2, 4, 6])
        assert grid["x_readback"].values[2, 3] == 5.9

    def test_readings_beside_the_plan_shift_it(self) -> None:
        grid = stream_of(mapped(readings=lambda y, x: (y + 10, x - 0.5))).to_grid()
        assert (grid["y"].values.tolist(), grid["x"].values.tolist()) == ([10, 11, 12], [-0.5, 1.5, 3.5, 5.5])

    def test_readings_against_the_plan_replace_it(self) -> None:
        grid = stream_of(mapped(readings=lambda y, x: (y, x**2))).to_grid()
        assert grid["x"].values.tolist() == [0, 4, 16, 36]

    def test_a_motor_that_did_not_move_is_where_it_should_be(self) -> None:
        assert stream_of(mapped(readings=lambda y, x: (y, 3.0))).to_grid()["x"].values.tolist() == [0, 2, 4, 6]

    def test_without_a_plan_positions_are_medians(self) -> None:
        documents = mapped(extents=None, seq_nums=list(range(1, 7)), readings=lambda y, x: (y, x + y / 100))
        grid = stream_of(documents).to_grid()
        np.testing.assert_array_equal(grid["y"].values, [0, 1, np.nan])
        np.testing.assert_allclose(grid["x"].values, [0, 2, 4.005, 6.005])

    def test_positions_that_are_no_numbers(self) -> None:
        grid = stream_of(mapped()).to_grid(shape=(3, 4), axes=("y", "label"), snaking=(False, True))
        assert "label" not in grid.coords
        assert grid["label_readback"].dims == ("y", "label")

    def test_the_names_of_axes_are_kept_free(self, tmp_path: Path) -> None:
        image = data_key("array", [1, 4, 6], dtype_numpy="<u2", external="STREAM:", dims=["frame", "y", "x"])
        grid = stream_of(mapped(tmp_path, image=image), include=["image"]).to_grid()
        assert grid["image"].dims == ("y", "x", "frame", "y_", "x_")
        assert (list(grid), grid["x"].values.tolist()) == (["image"], [0, 2, 4, 6])

    def test_names_of_keys(self) -> None:
        run = RunComposer("names", shape=[2], motors=["time"], snaking=[False])
        primary = run.descriptor({"time": data_key("number"), "a/b": data_key("number")})
        run.page(primary, {"time": [4.0, 5.0], "a/b": [1.0, 2.0]})
        grid = stream_of(run.documents).to_grid()
        assert (set(grid), set(grid.coords)) == ({"time__readback", "a_b"}, {"time_", "time", "seq_num"})
        assert grid["time__readback"].attrs["key"] == "time"


class TestUnfinished:
    @pytest.mark.parametrize("seq_nums", [list(range(1, 7)), [1, 2, 5, 6, 12], []])
    def test_missing_values(self, seq_nums: list[int]) -> None:
        stream = stream_of(mapped(seq_nums=seq_nums), decode_times=True)
        grid, flat = stream.to_grid(), stream.read()
        whole = grid.compute()
        dtypes = {"det": "float64", "counts": "float64", "open": "object", "label": "object"}
        dtypes |= {"time": "datetime64[ns]", "seq_num": "float64"} if seq_nums else {"seq_num": "float64"}
        nothing = {"det": np.nan, "counts": np.nan, "open": None, "label": "", "time": np.datetime64("NaT", "ns")}
        nothing["seq_num"] = np.nan
        for name, dtype in dtypes.items():
            assert str(grid[name].dtype).startswith(dtype)
            assert grid[name].dtype == whole[name].dtype
            for number, point in enumerate(walk((3, 4), (False, True)), 1):
                there = number in seq_nums
                expected = flat[name].values[seq_nums.index(number)] if there else nothing[name]
                assert whole[name].values[point] == expected or str(whole[name].values[point]) == str(expected)
        assert whole.attrs["incomplete"] == f"grid: {len(seq_nums)} of 12 points"
        assert "incomplete" not in stream_of(mapped()).to_grid().attrs

    def test_filled(self, tmp_path: Path) -> None:
        grid = stream_of(mapped(tmp_path, seq_nums=[1, 2, 3, 4, 5, 6]), on_missing="fill").to_grid().compute()
        assert [str(grid[name].dtype) for name in ("counts", "image", "open")] == ["int64", "uint16", "bool"]
        assert grid["counts"].values.tolist() == [[1, 2, 3, 4], [0, 0, 6, 5], [0, 0, 0, 0]]
        assert (grid["image"].values[2] == 0).all()

    @pytest.mark.parametrize("target", [None, 4 * 6 * 2, 4 * 6 * 2 * 5])
    def test_images_of_integers(self, target: int | None, tmp_path: Path) -> None:
        grid = stream_of(mapped(tmp_path, seq_nums=[1, 2, 3, 4, 5, 6]), target_chunk=target, squeeze=True).to_grid()
        image, expected = grid["image"], frames(12)[[[0, 1, 2, 3], [7, 6, 5, 4], [8, 9, 10, 11]]]
        assert image.dtype == np.uint16
        np.testing.assert_array_equal(image.isel(y=0).values, expected[0])
        np.testing.assert_array_equal(image.isel(y=1, x=slice(2, None)).values, expected[1, 2:])
        assert image.isel(y=0).values.dtype == np.uint16
        np.testing.assert_array_equal(image.isel(x=[3, 2]).isel(y=[1, 0]).values, expected[[[1], [0]], [[3, 2]]])
        sums = image.sum(image.dims[2:]).data.blocks[0].compute()
        np.testing.assert_array_equal(sums, expected[:1].sum((-1, -2)))
        for lacking in ({"y": 2}, {"y": 1, "x": 0}, {"x": 0}, {}):
            with pytest.raises(AssetUnavailable, match="'image' was measured at 6 of the 12 points of the grid"):
                image.isel(lacking).compute()

    def test_before_the_first_event(self, tmp_path: Path) -> None:
        grid = stream_of(mapped(tmp_path, seq_nums=[])).to_grid()
        assert grid["image"].shape == (3, 4, 1, 4, 6)
        assert (grid["y"].values.tolist(), grid["x"].values.tolist()) == ([0, 1, 2], [0, 2, 4, 6])
        with pytest.raises(AssetUnavailable, match="measured at 0 of the 12 points"):
            grid["image"].compute()
        filled = stream_of(mapped(tmp_path, seq_nums=[]), on_missing="fill").to_grid().compute()
        assert not filled["image"].values.any()

    def test_frames_that_no_event_came_for(self, tmp_path: Path) -> None:
        documents = mapped(tmp_path, seq_nums=[1, 2, 3, 4, 5, 6])
        [*_, last] = [doc for name, doc in documents if name == "stream_datum"]
        last["seq_nums"]["stop"], last["indices"]["stop"] = 8, 7
        stream = stream_of(documents, squeeze=True)
        grid = stream.to_grid()
        assert grid["time"].notnull().sum() == 6
        np.testing.assert_array_equal(grid["image"].isel(y=1, x=slice(1, None)).values, frames(12)[[6, 5, 4]])
        np.testing.assert_array_equal(grid["det"].isel(y=1).values, [np.nan, np.nan, 3.0, 2.5])
        with pytest.raises(AssetUnavailable, match="trim=True"):
            grid["counts"].compute()
        assert stream(trim=True).to_grid()["counts"].count() == 6

    def test_images_of_floats(self, tmp_path: Path) -> None:
        documents = mapped(tmp_path, seq_nums=[1, 2, 3, 4, 5, 6])
        write_hdf5(tmp_path / "frames.h5", frames(12).astype("f4"))
        image = stream_of(documents, squeeze=True).to_grid()["image"]
        assert image.dtype == image.values.dtype == np.float32
        assert np.isnan(image.values[2]).all()
        np.testing.assert_array_equal(image.values[1, 2:], frames(12)[[5, 4]])


@pytest.fixture(scope="module")
def holes(tmp_path_factory: pytest.TempPathFactory) -> tuple[GridOfFiles, Any]:
    """A grid in files of which some points were lost, filled, and what it holds."""
    lost = (2, 7, 11)
    stream = stream_of(
        mapped(tmp_path_factory.mktemp("holes"), seq_nums=sorted({*range(1, 13)} - {*lost})), squeeze=True
    )
    reader = stream._reader
    expected = frames(12)
    expected[np.array(lost) - 1] = 0
    order = GridOrder.of((3, 4), (False, True), reader.rows.seq_num)
    return GridOfFiles(reader.assets["image"], order, fill=True), expected[visits((3, 4), (False, True))]


class TestReading:
    def test_the_same_values_as_the_events(self, tmp_path: Path) -> None:
        stream = stream_of(mapped(tmp_path))
        grid, flat = stream.to_grid(), stream.read()
        rows = np.array([[0, 1, 2, 3], [7, 6, 5, 4], [8, 9, 10, 11]])
        for name in ("det", "counts", "open", "label", "image", "time", "seq_num"):
            np.testing.assert_array_equal(grid[name].values, flat[name].values[rows])
            assert grid[name].dtype == grid[name].values.dtype == flat[name].dtype
            assert grid[name].attrs == flat[name].attrs
            assert grid[name].dims == ("y", "x", *flat[name].dims[1:])
        assert grid.attrs == flat.attrs
        xr.testing.assert_identical(pickle.loads(pickle.dumps(grid)).compute(), grid.compute())
        assert stream.to_grid()["image"].data.name == grid["image"].data.name

    def test_pages_are_parsed_once_and_only_the_first_two_lines_before(self) -> None:
        stream = stream_of(mapped(shape=(6, 4)), target_chunk=1)
        store: Any = stream._store
        grid = stream.to_grid()
        assert sorted(store.parsed) == [(stream.metadata["start"]["uid"], "primary", page) for page in (0, 1)]
        grid.compute()
        assert store.reads == 2 + 6

    def test_only_the_points_asked_for_are_read(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        reads: list[tuple[int, int]] = []
        original = HDF5Reader.read_into

        def noting(self: HDF5Reader, start: int, stop: int, *rest: Any) -> None:
            reads.append((start, stop))
            original(self, start, stop, *rest)

        monkeypatch.setattr(HDF5Reader, "read_into", noting)
        image = stream_of(mapped(tmp_path)).to_grid()["image"]
        assert reads == []
        image.isel(y=1, x=0).compute()
        assert reads == [(7, 8)]
        reads.clear()
        image.sel(y=0, x=slice(2, 4)).compute()
        assert reads == [(1, 3)]
        reads.clear()
        image.sum().compute(scheduler="sync")
        assert sorted(frame for read in reads for frame in range(*read)) == list(range(12))

    @given(st.data())
    def test_indexing_is_numpys(self, holes: tuple[GridOfFiles, Any], data: st.DataObject) -> None:
        grid, expected = holes
        bound = st.none() | st.integers(-3, 6)  # dask takes all of what begins before the first, backwards: x[-9::-1]
        part = st.builds(slice, bound, bound, st.sampled_from([None, 2, -1])) | st.integers(-3, 2)
        index = data.draw(st.lists(part, max_size=4).map(tuple) | st.lists(st.integers(-3, 2), min_size=1))
        observed = grid[index]
        np.testing.assert_array_equal(observed, expected[index])
        assert observed.dtype == grid.dtype
        np.testing.assert_array_equal(grid[-9::-1], expected[-9::-1])
        np.testing.assert_array_equal(grid.dask()[index].compute(scheduler="sync"), expected[index])

    @pytest.mark.parametrize("blocks", [1, 5])
    def test_tasks_follow_the_blocks(self, blocks: int, tmp_path: Path) -> None:
        events = 40 * 40
        target = None if blocks == 1 else events * 3 * 8 // blocks
        stream = stream_of(mapped(shape=(40, 40)), include=["y", "x", "det"], target_chunk=target)
        flat, grid = stream.to_dask(), stream.to_grid()
        assert len(grid.__dask_graph__()) <= len(flat.__dask_graph__()) + 3 * (blocks + 1)
        image = stream_of(mapped(tmp_path, shape=(40, 40)), target_chunk=48 * 100).to_grid()["image"]
        assert image.chunksizes["x"] == (40,)
        assert image.chunksizes["y"] == (2,) * 20
        assert len(image.__dask_graph__()) <= 22
        parts = stream_of(mapped(tmp_path, shape=(40, 40)), target_chunk=48 * 20).to_grid()["image"]
        assert parts.chunksizes["x"] == (20, 20)

    def test_options_of_the_stream(self, tmp_path: Path) -> None:
        stream = stream_of(mapped(tmp_path))
        assert set(stream(include=["det", "image"]).to_grid().variables) == {
            "det",
            "image",
            "y",
            "x",
            "time",
            "seq_num",
        }
        stamps = stream.timestamps.to_grid()
        assert stamps["x"].values.tolist() == [0, 2, 4, 6]
        assert (stamps["x_readback"].values > 1e9).all()
        assert stream(squeeze=True).to_grid()["image"].shape == (3, 4, 4, 6)
        dask.base.compute(stamps)


class TestRefused:
    def test_frames_joined_end_to_end(self, tmp_path: Path) -> None:
        image = data_key("array", [2, 2, 6], dtype_numpy="<u2", external="STREAM:")
        stream = stream_of(mapped(tmp_path, image=image), join_method="concat")
        with pytest.raises(UnsupportedOperation, match="'image' has its frames joined end to end"):
            stream.to_grid()
        assert set(stream(exclude=["image"]).to_grid().sizes) == {"y", "x"}

    @pytest.mark.parametrize(
        ("start", "found"),
        [
            ({"shape": "round"}, "no shape of a grid"),
            ({"shape": [3, 0]}, r"it would have the shape \(3, 0\)"),
            ({"num_points": 13}, r"contradicts itself: shape \(3, 4\), num_points 13"),
            ({"hints": {"gridding": "triangular"}}, "gridding 'triangular', not 'rectilinear'"),
            ({"snaking": [True]}, r"does not go with the snaking \(True,\)"),
            ({"shape": [12]}, "goes with 1 different axes"),
            ({"shape": [3, 3]}, r"12 events, .*seq_num 12 .* 9 points of a grid of shape \(3, 3\)"),
            ({"hints": {"dimensions": [[["y"], "baseline"], [["x"], "baseline"]]}}, "are in the stream baseline"),
            ({"hints": {"dimensions": [[["y"], "primary"], [["z"], "primary"]]}}, "'z' is no key of the stream"),
            ({"plan_pattern": "outer_list_product", "snake_axes": "<generator>"}, "which axes are snaked"),
        ],
    )
    def test_start_documents_that_do_not_fit(self, start: dict[str, Any], found: str) -> None:
        documents = mapped()
        documents[0][1].update(start)
        with pytest.raises(UnsupportedOperation, match=found):
            stream_of(documents).to_grid()

    def test_what_is_said_goes_before_the_start_document(self) -> None:
        wrong = mapped(snaking=[False, False], hints={"gridding": "triangular"})
        grid = stream_of(wrong).to_grid(shape=(3, 4), axes=("y", "x"), snaking=(False, True))
        assert grid["x"].values.tolist() == [0, 2, 4, 6]
        with pytest.raises(KeyError, match=r"no key 'yy'; did you mean 'y'\?"):
            stream_of(wrong).to_grid(axes=("yy", "x"))

    def test_configuration(self) -> None:
        with pytest.raises(UnsupportedOperation, match="configuration is no grid"):
            stream_of(mapped()).config["device"].to_grid()
