"""Plots: what is chosen of a run's documents, and what the axes hold, against the documents of a RunEngine."""

from __future__ import annotations

import copy
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bluesky import plan_stubs as bps
from bluesky import plans as bp
from bluesky import preprocessors as bpp
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.dates import num2date
from ophyd.sim import SynSignal, hw

from intake_bluesky.apps.demo.beamline import build_beamline
from intake_bluesky.apps.demo.experiments import run_engine
from intake_bluesky.catalogs.plots.choice import Panel, chosen, title
from intake_bluesky.catalogs.run_catalog import BlueskyCatalog
from intake_bluesky.documents.model import Document
from intake_bluesky.errors import AssetUnavailable, MissingDependency, UnsupportedOperation
from intake_bluesky.testing.asset_runs import DATASET, HDF5, IMAGE, frames, missing_file, write_hdf5
from intake_bluesky.testing.compose import RunComposer, data_key
from intake_bluesky.testing.examples import Run
from intake_bluesky.testing.memory import MemoryStore
from intake_bluesky.testing.runs import EXAMPLES


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    plt.close("all")  # those of other tests, too
    yield
    plt.close("all")


class ShutterFell(RuntimeError):
    """The error of the plan that is cut off."""


def stopped(plan: Any, events: int) -> Any:
    """The plan, cut off after some events."""
    seen = 0

    def message(msg: Any) -> Any:
        nonlocal seen
        seen += msg.command == "save"
        if seen > events:
            raise ShutterFell
        return None, None

    return bpp.plan_mutator(plan, message)


class Session:
    """Runs of a RunEngine, and what it emitted, by name."""

    def __init__(self, folder: Path) -> None:
        self.emitted: dict[str, Run] = {}
        devices = hw(save_path=str(folder))
        shots = iter(np.random.default_rng(1).poisson(40, (20, 10, 12)).astype("<u2"))
        devices.img.sim_set_func(lambda: next(shots))
        devices.det.kind = "hinted"
        second = SynSignal(name="second", func=lambda: 7.0 - float(devices.motor1.readback.get()), kind="hinted")
        d, m1, m2 = devices, devices.motor1, devices.motor2
        with run_engine({"scan_id": 100}) as engine:
            beamline = build_beamline(folder)

            def map_of_images() -> Any:
                yield from bps.mv(beamline.stage.x.velocity, 0, beamline.stage.y.velocity, 0)
                yield from bp.grid_scan([beamline.blob], beamline.stage.y, -1, 1, 3, beamline.stage.x, 0, 3, 4)

            plans = {
                "scan": bp.scan([d.det], m1, -1, 1, 7, md={"sample": "Ni $foil$"}),
                "relative": bp.rel_scan([d.det, second], m1, -1, 1, 5),
                "two motors": bp.inner_product_scan([d.det], 5, m1, 0, 1, m2, 9, 4),
                "list": bp.list_scan([d.det], m1, [3, 1, 2, 2]),  # type: ignore[arg-type]
                "count": bp.count([d.noisy_det], 3),
                "one": bp.count([d.noisy_det], 1),
                "grid": bp.grid_scan([d.det4], m1, -1, 1, 3, m2, 2, -2, 4, snake_axes=True),
                "stopped": stopped(bp.grid_scan([d.det4], m1, -1, 1, 3, m2, -2, 2, 4, snake_axes=True), 6),
                "three": bp.grid_scan([d.det], m1, 0, 1, 2, m2, 0, 1, 2, d.motor3, 0, 1, 2),
                "spiral": bp.spiral([d.det4], m1, m2, 0, 0, 1, 1, 0.3, 4),
                "square": bp.spiral_square([d.det4], m1, m2, 0, 0, 1, 2, 3, 3),
                "camera": bp.count([d.img], 4),
                "both": bp.scan([d.img, d.det], m1, 0, 1, 3),
                "map of images": map_of_images(),
            }
            for name, plan in plans.items():
                documents = self.emitted.setdefault(name, [])
                token = engine.subscribe(lambda kind, doc, to=documents: to.append((kind, copy.deepcopy(doc))))
                try:
                    engine(plan)
                except ShutterFell:
                    assert name == "stopped"
                engine.unsubscribe(token)

    def run(self, name: str) -> Any:
        return BlueskyCatalog(MemoryStore([self.emitted[name]]))[-1]

    def values(self, name: str, key: str) -> list[Any]:
        return [doc["data"][key] for kind, doc in self.emitted[name] if kind == "event"]

    def times(self, name: str) -> list[float]:
        return [doc["time"] for kind, doc in self.emitted[name] if kind == "event"]


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Session:
    return Session(tmp_path_factory.mktemp("plots"))


def drawn(axes: Any) -> tuple[list[Any], list[Any]]:
    (line,) = axes.lines
    return list(line.get_xdata()), list(line.get_ydata())


def mesh_of(axes: Any) -> Any:
    (mesh,) = axes.collections
    return mesh


class TestLines:
    @pytest.mark.parametrize("name", ["scan", "two motors", "list"])
    def test_a_scan_is_drawn_against_its_first_motor(self, name: str, session: Session) -> None:
        axes = session.run(name).plot()
        assert isinstance(axes, Axes)
        assert drawn(axes) == (session.values(name, "motor1"), session.values(name, "det"))
        assert (axes.get_xlabel(), axes.get_ylabel()) == ("motor1", "det")
        assert axes.get_legend() is None

    def test_the_title_says_which_run(self, session: Session) -> None:
        run = session.run("scan")
        axes = run.plot()
        assert axes.get_title() == f"101 scan {run.uid[:8]}: Ni $foil$"
        axes.figure.canvas.draw()  # a dollar sign is no formula

    def test_several_detectors_are_panels_and_named_ones_are_lines(self, session: Session) -> None:
        run = session.run("relative")
        panels = run.plot()
        assert [axes.get_ylabel() for axes in panels] == ["det", "second"]
        x = session.values("relative", "motor1")
        assert [drawn(axes) for axes in panels] == [(x, session.values("relative", key)) for key in ("det", "second")]
        assert [bool(axes.get_title()) for axes in panels] == [True, False]
        axes = run.primary.plot("second", "det")
        assert [text.get_text() for text in axes.get_legend().get_texts()] == ["second", "det"]
        assert [list(line.get_ydata()) for line in axes.lines] == [
            session.values("relative", k) for k in ("second", "det")
        ]
        one = plt.figure().subplots()
        assert run.plot(ax=one) is one
        assert len(one.lines) == 2

    def test_a_count_is_drawn_against_clock_time(self, session: Session) -> None:
        axes = session.run("count").plot()
        x, y = drawn(axes)
        assert y == session.values("count", "noisy_det")
        shown = [value.timestamp() for value in num2date(axes.lines[0].get_xdata(orig=False))]  # type: ignore[no-untyped-call]
        np.testing.assert_allclose(shown, session.times("count"), atol=1e-3, rtol=0)
        assert len(x) == 3
        (first,) = {axis.get_major_formatter()._tz.utcoffset(datetime(2026, 7, 1)) for axis in [axes.xaxis]}
        assert first == datetime(2026, 7, 1).astimezone().utcoffset()
        axes.figure.canvas.draw()
        assert all(re.fullmatch(r"[\d:.]+|", tick.get_text()) for tick in axes.get_xticklabels())
        assert axes.get_xlabel() == "time"

    def test_one_event(self, session: Session) -> None:
        axes = session.run("one").plot()
        assert axes.lines[0].get_marker() == "o"
        assert drawn(axes)[1] == session.values("one", "noisy_det")

    def test_runs_in_one_picture_are_told_apart(self, session: Session) -> None:
        axes = session.run("scan").plot()
        assert axes.get_title().startswith("101 scan")
        for label in ("two motors", "one"):
            assert session.run(label).plot(ax=axes) is axes
            assert axes.get_title() == ""
        assert [text.get_text() for text in axes.get_legend().get_texts()][:2] == ["det, 101", "det, 103"]
        own = session.run("scan").plot()
        own.set_title("both")
        assert session.run("two motors").plot(ax=own).get_title() == "both"

    def test_what_it_is_drawn_against_may_be_said(self, session: Session) -> None:
        primary = session.run("two motors").primary
        assert drawn(primary.plot("det", x="motor2"))[0] == session.values("two motors", "motor2")
        assert drawn(primary.plot("det", x="seq_num"))[0] == [1, 2, 3, 4, 5]
        assert primary.plot("det", x="time").get_xlabel() == primary.plot("det", kind="series").get_xlabel() == "time"
        assert drawn(primary.plot("motor2"))[0] == session.values("two motors", "motor1")

    def test_more_dimensions_than_a_plot_has(self, session: Session) -> None:
        axes = session.run("three").plot()
        assert axes.get_xlabel() == "time"
        assert axes.get_title().endswith("over 3 dimensions: motor1, motor2, motor3")
        with pytest.raises(UnsupportedOperation, match=r"a map has two axes, and the scan of .* has 3"):
            session.run("three").primary.plot(kind="map")


class TestPlanes:
    def test_a_grid_is_a_map(self, session: Session) -> None:
        axes = session.run("grid").plot()
        mesh = mesh_of(axes)
        grid = session.run("grid").primary.to_grid().sortby(["motor1", "motor2"])
        np.testing.assert_array_equal(mesh.get_array(), grid["det4"].values)
        corners = mesh.get_coordinates()
        np.testing.assert_allclose(corners[0, :, 0], np.linspace(-2 - 2 / 3, 2 + 2 / 3, 5), atol=1e-12)
        np.testing.assert_allclose(corners[:, 0, 1], [-1.5, -0.5, 0.5, 1.5])
        centres = (corners[1:, 1:] + corners[:-1, :-1]) / 2
        for x, y, value in zip(*(session.values("grid", key) for key in ("motor2", "motor1", "det4")), strict=True):
            (place,) = np.argwhere(np.isclose(centres, [x, y]).all(axis=-1))
            assert mesh.get_array()[tuple(place)] == value
        assert (axes.get_xlabel(), axes.get_ylabel()) == ("motor2", "motor1")
        assert axes.figure.axes[1].get_ylabel() == "det4"

    def test_what_was_not_measured_is_left_blank(self, session: Session) -> None:
        observed = mesh_of(session.run("stopped").plot()).get_array()
        assert observed.shape == (3, 4)
        measured = session.values("stopped", "det4")
        assert 0 < len(measured) < 12
        assert observed.compressed().size == len(measured)
        assert sorted(observed.compressed().tolist()) == sorted(measured)
        assert observed.mask[2].all()

    @pytest.mark.parametrize(("name", "x", "y"), [("spiral", "motor1", "motor2"), ("square", "motor1", "motor2")])
    def test_another_scan_of_two_dimensions_is_points(self, name: str, x: str, y: str, session: Session) -> None:
        axes = session.run(name).plot()
        points = mesh_of(axes)
        expected = np.transpose([session.values(name, key) for key in (x, y)])
        np.testing.assert_array_equal(points.get_offsets(), expected)
        np.testing.assert_array_equal(points.get_array(), session.values(name, "det4"))
        assert (axes.get_xlabel(), axes.get_ylabel()) == (x, y)
        with pytest.raises(UnsupportedOperation, match=r"cannot be given as a grid"):
            session.run(name).primary.plot("det4", kind="map")

    def test_a_grid_that_was_not_measured_as_planned_is_points(self, session: Session) -> None:
        documents = copy.deepcopy(session.emitted["grid"])
        for kind, doc in documents:
            if kind == "event":
                doc["data"]["motor1_setpoint"] = doc["data"]["motor1"] = float(np.sin(doc["seq_num"]))
        run = BlueskyCatalog(MemoryStore([documents]))[-1]
        assert len(mesh_of(run.plot()).get_offsets()) == 12
        with pytest.raises(UnsupportedOperation, match=r"plan and the readings disagree"):
            run.primary.plot(kind="map")

    def test_points_and_lines_of_a_grid_may_be_asked_for(self, session: Session) -> None:
        primary = session.run("grid").primary
        assert mesh_of(primary.plot(kind="scatter")).get_offsets().shape == (12, 2)
        assert drawn(primary.plot(kind="line"))[0] == session.values("grid", "motor1")

    @pytest.mark.parametrize("shape", [[1, 3], [3, 1]])
    def test_a_grid_of_one_line(self, shape: list[int]) -> None:
        hints = {"gridding": "rectilinear", "dimensions": [[["y"], "primary"], [["x"], "primary"]]}
        run = RunComposer("flat", shape=shape, extents=[[0, n - 1] for n in shape], snaking=[False, False], hints=hints)
        primary = run.descriptor({key: data_key("number", units="mm") for key in ("y", "x", "det")})
        y, x = ([0, 0, 0], [0, 1, 2]) if shape[0] == 1 else ([0, 1, 2], [0, 0, 0])
        run.page(primary, {"y": y, "x": x, "det": [1, 2, 3]})
        axes = BlueskyCatalog(MemoryStore([run.documents]))[-1].plot()
        assert mesh_of(axes).get_array().tolist() == np.reshape([1, 2, 3], shape).tolist()
        assert np.ptp(mesh_of(axes).get_coordinates(), axis=(0, 1)).tolist() == shape[::-1]
        assert (axes.get_xlabel(), axes.get_ylabel()) == ("x (mm)", "y (mm)")


class TestImages:
    def test_a_camera_shows_its_last_frame(self, session: Session) -> None:
        run = session.run("camera")
        axes = run.plot()
        (image,) = axes.images
        frames = run.primary.read()["img"].values
        np.testing.assert_array_equal(image.get_array(), frames[-1])
        assert image.get_clim() == tuple(np.percentile(frames[-1], [1, 99]))
        assert axes.get_title().endswith("image 4 of 4")
        np.testing.assert_array_equal(run.plot(index=1).images[0].get_array(), frames[1])
        assert run.plot(index=-3).get_title().endswith("image 2 of 4")
        for index in (4, -5):
            with pytest.raises(IndexError, match=f"has 4 events of 'img': there is none of index {index}"):
                run.plot(index=index)

    def test_a_scan_with_a_camera_is_drawn_by_its_numbers(self, session: Session) -> None:
        run = session.run("both")
        assert run.plot().get_ylabel() == "det"
        panels = run.primary.plot("det", "img")
        assert (len(panels[0].lines), len(panels[1].images)) == (1, 1)

    def test_only_the_frame_that_is_shown_is_read(self, session: Session, tmp_path: Path) -> None:
        documents = copy.deepcopy(session.emitted["camera"])
        (resource,) = (doc for kind, doc in documents if kind == "resource")
        folder = Path(resource["root"]) / resource["resource_path"]
        files = sorted(folder.parent.glob(f"{folder.name}*.npy"), key=lambda path: int(path.stem.rpartition("_")[2]))
        for path in files[1:]:
            (tmp_path / path.name).write_bytes(path.read_bytes())
        resource["root"], resource["resource_path"] = str(tmp_path), folder.name
        run = BlueskyCatalog(MemoryStore([documents]))[-1]
        assert run.plot(index=3).images
        with pytest.raises(AssetUnavailable, match=re.escape(str(tmp_path))):
            run.plot(index=0)
        assert plt.get_fignums() == [1], "what cannot be read leaves no empty figure"

    def test_images_in_hdf5_of_ophyd_async(self, session: Session) -> None:
        run = session.run("map of images")
        grid = run.primary.to_grid()
        mesh = mesh_of(run.plot())
        np.testing.assert_array_equal(mesh.get_array(), grid["blob-sum"].values.reshape(3, 4))
        image = run.primary.plot("blob", index=5).images[0]
        np.testing.assert_array_equal(image.get_array(), run.primary.to_dask()["blob"][5, 0].values)


def composed(keys: dict[str, Document], rows: list[dict[str, Any]], **start: Any) -> Any:
    run = RunComposer("composed", **start)
    primary = run.descriptor(keys)
    for number, row in enumerate(rows, 1):
        run.event(primary, row, seq_num=number)
    return BlueskyCatalog(MemoryStore([run.documents]))[-1]


class TestOddRuns:
    def test_before_the_first_event(self) -> None:
        run = composed({"det": data_key("number"), "image": data_key("array", [2, 2])}, [])
        for keys in (("det",), ("image",), ()):
            with pytest.raises(UnsupportedOperation, match=r"stream 'primary' of run .* has no events to draw"):
                run.primary.plot(*keys)
        assert plt.get_fignums() == []

    def test_missing_values_are_gaps(self) -> None:
        run = composed(
            {"a": data_key("number"), "b": data_key("boolean")}, [{"a": 1.0, "b": True}, {"a": 2.0}, {"b": False}]
        )
        panels = run.plot()
        np.testing.assert_array_equal(panels[0].lines[0].get_ydata(), [1, 2, np.nan])
        np.testing.assert_array_equal(panels[1].lines[0].get_ydata(), [1, np.nan, 0])

    def test_a_key_called_time_is_not_the_time_of_events(self) -> None:
        run = composed({"time": data_key("number", units="ps"), "det": data_key("number")}, [{"time": 5.0, "det": 1.0}])
        (first, second) = run.plot()
        assert (first.get_ylabel(), list(first.lines[0].get_ydata())) == ("time (ps)", [5])
        assert second.lines[0].get_xdata()[0] == np.datetime64(round(run.primary.read()["time"].values[0] * 1e6), "us")
        assert second.get_xlabel() == "time"

    def test_arrays_in_events(self) -> None:
        keys = {
            "mca": data_key("array", [3]),
            "frame": data_key("array", [2, 2]),
            "frames": data_key("array", [2, 2, 2]),
            "colour": data_key("array", [2, 2, 3]),
        }
        row = {"mca": [1, 5, 2], "frame": [[0, 1], [2, 3]], "frames": [[[0, 0], [0, 0]], [[4, 5], [6, 7]]]}
        primary = composed(keys, [{**row, "colour": np.zeros((2, 2, 3)).tolist()}]).primary
        assert drawn(primary.plot("mca")) == ([0, 1, 2], [1, 5, 2])
        assert primary.plot("frame").images[0].get_array().tolist() == [[0, 1], [2, 3]]
        axes = primary.plot("frames")
        assert axes.images[0].get_array().tolist() == [[4, 5], [6, 7]]
        assert axes.get_title().endswith("frame 2 of 2")
        panels = primary.plot()
        assert len(panels) == 3

    @pytest.mark.parametrize("scale", [1.0, 1000])
    def test_colours_of_any_numbers(self, scale: float) -> None:
        """An image 3 wide is no image: the last axis is red, green and blue, of other numbers than bytes, too."""
        image = np.arange(2 * 4 * 3).reshape(2, 4, 3) * scale
        (drawn_image,) = composed({"rgb": data_key("array", [2, 4, 3])}, [{"rgb": image.tolist()}]).plot().images
        shown = np.asarray(drawn_image.get_array())
        assert shown.shape == (2, 4, 4)
        assert (shown[..., 3] == 1).all()  # opaque
        low, high = np.percentile(image, (1, 99))
        np.testing.assert_allclose(shown[..., :3], np.clip((image - low) / (high - low), 0, 1))

    def test_colours_are_left_out_where_there_are_none(self) -> None:
        image = np.arange(2 * 4 * 3, dtype=float).reshape(2, 4, 3)
        image[1, 2, 0] = np.nan
        shown = np.asarray(composed({"rgb": data_key("array", [2, 4, 3])}, [{"rgb": image.tolist()}]).plot().images[0]
                           .get_array())  # fmt: skip
        assert shown[1, 2].tolist() == [0, 0, 0, 0]
        assert (shown[..., 3] == 1).sum() == 7

    def test_text_is_what_lines_are_drawn_against_and_not_what_they_draw(self) -> None:
        keys = {"filter": data_key("string"), "det": data_key("number")}
        hints = {"dimensions": [[["filter"], "primary"]]}
        run = composed(keys, [{"filter": "Al", "det": 1.0}, {"filter": "Cu", "det": 2.0}], hints=hints)
        assert drawn(run.plot()) == (["Al", "Cu"], [1, 2])
        with pytest.raises(UnsupportedOperation, match=r"'filter' of .* is string, which no plot shows"):
            run.primary.plot("filter")

    def test_values_that_are_no_numbers_in_a_key_of_numbers(self) -> None:
        run = composed({"det": data_key("number")}, [{"det": 1.0}, {"det": "high"}])
        with pytest.raises(UnsupportedOperation, match=r"'det' has values that are no numbers to draw, such as 'high'"):
            run.plot()
        run = composed({"det": data_key("integer")}, [{"det": 1}, {"det": 10**400}])
        with pytest.raises(UnsupportedOperation, match=r"'det' has values that are no numbers to draw, such as '1000"):
            run.plot()

    def test_more_numbers_than_a_figure_has_room_for(self) -> None:
        keys = {f"motor{number}": data_key("number") for number in range(41)}
        run = composed(keys, [dict.fromkeys(keys, 1.0)])
        with pytest.raises(
            UnsupportedOperation, match=r"has 41 keys to draw, more than 40 .*: name some, plot\('motor0'\)"
        ):
            run.plot()
        assert plt.get_fignums() == []
        assert len(run.primary.plot(*keys).lines) == 41

    def test_a_missing_file(self, tmp_path: Path) -> None:
        primary = BlueskyCatalog(MemoryStore([missing_file(tmp_path)]))[-1].primary
        for key, spec in primary._layout.data_keys.items():
            if spec.get("external"):
                with pytest.raises(AssetUnavailable):
                    primary.plot(key)
        assert plt.get_fignums() == []

    def test_which_stream(self, tmp_path: Path) -> None:
        run = BlueskyCatalog(MemoryStore([EXAMPLES["scan"](tmp_path)]))[-1]
        assert run.plot("baseline").get_xlabel() == "time"
        none = BlueskyCatalog(MemoryStore([RunComposer("none").documents]))[-1]
        with pytest.raises(UnsupportedOperation, match=r"no stream 'primary' to draw; it has none"):
            none.plot()

    def test_a_run_that_goes_on(self, session: Session) -> None:
        documents = [pair for pair in session.emitted["scan"] if pair[0] != "stop"][:-3]
        axes = BlueskyCatalog(MemoryStore([documents]))[-1].plot()
        assert drawn(axes)[0] == session.values("scan", "motor1")[:4]


class TestFilesThatLag:
    """A detector whose files are behind the events, in a run that goes on."""

    @pytest.fixture
    def primary(self, tmp_path: Path) -> Any:
        hints = {"gridding": "rectilinear", "dimensions": [[["y"], "primary"], [["x"], "primary"]]}
        run = RunComposer("lags", shape=[2, 3], extents=[[0, 1], [0, 2]], snaking=[False, True], hints=hints)
        total = data_key("integer", [1], dtype_numpy="<i8", external="STREAM:")
        keys = {"y": data_key("number"), "x": data_key("number"), "image": IMAGE, "sum": total}
        descriptor = run.descriptor(keys)
        image_uri = write_hdf5(tmp_path / "frames.h5", frames(3))
        sum_uri = write_hdf5(tmp_path / "sums.h5", np.arange(3) + 10, dataset="/sums")
        image = run.stream_resource("image", mimetype=HDF5, uri=image_uri, dataset=DATASET, chunk_shape=[1, 4, 6])
        sums = run.stream_resource("sum", mimetype=HDF5, uri=sum_uri, dataset="/sums", chunk_shape=[1])
        run.page(descriptor, {"y": [0, 0, 0, 1, 1], "x": [0, 1, 2, 2, 1]})
        for asset in (image, sums):
            run.stream_datum(asset, descriptor, (1, 4))
        return BlueskyCatalog(MemoryStore([run.documents]))[-1].primary

    def test_the_last_frame_is_the_last_that_there_is(self, primary: Any) -> None:
        axes = primary.plot("image")
        assert axes.images[0].get_array().tolist() == frames(3)[2].tolist()
        assert axes.get_title().endswith("image 3 of 3")
        assert (axes.get_xlabel(), axes.get_ylabel()) == ("column", "row")
        with pytest.raises(AssetUnavailable):
            primary.plot("image", index=4)

    def test_a_map_has_gaps_where_integers_are_missing(self, primary: Any) -> None:
        observed = mesh_of(primary.plot("sum")).get_array()
        assert observed.tolist() == [[10, 11, 12], [None, None, None]]
        assert drawn(primary.plot("sum", x="seq_num")) == ([1, 2, 3], [10, 11, 12])


class TestMistakes:
    def test_messages(self, session: Session) -> None:
        primary = session.run("both").primary
        with pytest.raises(KeyError, match=r"has no key 'dett'; did you mean 'det'"):
            primary.plot("dett")
        with pytest.raises(KeyError, match=r"has no key 'motor'; did you mean 'motor1'"):
            primary.plot("det", x="motor")
        with pytest.raises(ValueError, match=r"kind is 'line', .* or 'spectrum', not 'bar'"):
            primary.plot(kind="bar")
        with pytest.raises(
            UnsupportedOperation,
            match=r"'det' of .* has one number an event, and makes no plot of kind 'image'; that is for img",
        ):
            primary.plot("det", kind="image")
        with pytest.raises(UnsupportedOperation, match=r"'img' .* no plot of kind 'line'; that is for det, motor1"):
            primary.plot("img", kind="line")
        with pytest.raises(UnsupportedOperation, match=r"was not scanned over two dimensions, but 1"):
            primary.plot("det", kind="scatter")
        with pytest.raises(UnsupportedOperation, match=r"axes of its own: leave out x='time'"):
            primary.plot("img", x="time")
        with pytest.raises(ValueError, match=r"2 panels need as many axes, and ax has 1"):
            primary.plot("img", "det", ax=plt.figure().subplots())
        for other in (primary.timestamps, primary.config["det"]):
            with pytest.raises(UnsupportedOperation, match=r"plots show what was measured"):
                other.plot()

    def test_without_matplotlib(self, session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "matplotlib", None)
        with pytest.raises(MissingDependency, match=r'matplotlib is needed to draw plots .*pip install "matplotlib'):
            session.run("scan").plot()


def choice(keys: dict[str, Document], *asked: str, kind: str | None = None, **start: Any) -> list[Panel]:
    run = RunComposer("choice", **start.pop("metadata", {}))
    run.descriptor(keys, **start)
    store = MemoryStore([run.documents])
    return chosen(store.header(run.run_uid), "primary", list(keys), asked, x=None, kind=kind)


class TestChoice:
    """What is drawn, from the documents alone."""

    def test_without_hints_what_belongs_to_motors_is_left_out(self) -> None:
        keys = {key: data_key("number") for key in ("det", "x", "x_setpoint")}
        devices = {"det": ["det"], "x": ["x", "x_setpoint"]}
        dims = {"hints": {"dimensions": [[["x"], "primary"]]}}
        assert choice(keys, object_keys=devices, metadata=dims) == [Panel("line", "det", x="x")]

    def test_without_dimensions_motors_are(self) -> None:
        keys = {key: data_key("number") for key in ("det", "x_rbv")}
        found = choice(keys, object_keys={"det": ["det"], "mx": ["x_rbv"]}, metadata={"motors": ["mx"]})
        assert found == [Panel("line", "det", x="x_rbv")]

    def test_hints_name_what_is_drawn(self) -> None:
        keys = {key: data_key("number") for key in ("a", "b", "c")}
        hints = {"one": {"fields": ["b", "gone"]}, "two": {"fields": None}, "three": 3}
        assert choice(keys, hints=hints) == [Panel("series", "b", x="time")]

    def test_a_camera_that_hints_its_image(self) -> None:
        keys = {
            "image": data_key("array", [1, 4, 6], external="STREAM:"),
            "sum": data_key("number"),
            "x": data_key("number"),
        }
        own: dict[str, Any] = {
            "hints": {"cam": {"fields": ["image"]}},
            "object_keys": {"cam": ["image", "sum"], "x": ["x"]},
        }
        assert choice(keys, **own) == [Panel("image", "image")]
        dims = {"hints": {"dimensions": [[["x"], "primary"]]}}
        assert choice(keys, metadata=dims, **own) == [Panel("line", "sum", x="x")]
        assert choice(keys, kind="image", metadata=dims, **own) == [Panel("image", "image")]

    def test_nothing_to_draw(self) -> None:
        with pytest.raises(
            UnsupportedOperation, match=r"none of its keys is a number or an image: it has name \(string\)"
        ):
            choice({"name": data_key("string")})

    @pytest.mark.parametrize(
        ("start", "expected"),
        [
            ({}, "abcdefgh"),
            ({"scan_id": 3, "plan_name": "count", "purpose": "align"}, "3 count abcdefgh: align"),
            ({"scan_id": [1], "plan_name": None, "sample": {"name": 3}, "purpose": "x" * 41}, "abcdefgh"),
        ],
    )
    def test_titles(self, start: Document, expected: str) -> None:
        assert title({"uid": "abcdefghij", **start}) == expected


def test_nothing_is_imported_or_shown_before_it_is_asked_for() -> None:
    code = "import sys, intake_bluesky.catalogs.run; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
