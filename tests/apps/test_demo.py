from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
import pytest

from intake_bluesky.apps.demo import Demonstration, run_demo
from intake_bluesky.apps.demo.beamline import peak, powder_rings
from intake_bluesky.apps.demo.experiments import TEMPERATURES, run_engine
from intake_bluesky.apps.demo.silicon import lattice_parameter, rings
from intake_bluesky.apps.demo.silicon_model import LATTICE_PARAMETERS
from intake_bluesky.apps.validate import validate
from intake_bluesky.catalogs.run_catalog import BlueskyCatalog, open_catalog

SIDE = 7
CATALOGS = Path(__file__).parents[2] / "catalogs"


class Demo(NamedTuple):
    """The demonstration, run once for all tests."""

    left: Demonstration
    catalog: BlueskyCatalog
    printed: str

    def run(self, name: str, number: int = 0) -> Any:
        return self.catalog[self.left.runs[name][number]]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    folder = tmp_path_factory.mktemp("demo")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INTAKE_BLUESKY_CACHE", str(folder / "cache"))
        output = folder / "output.txt"
        with output.open("w") as file, redirect_stdout(file):
            left = run_demo(folder / "data", grid_points=SIDE)
        yield Demo(left, open_catalog(str(left.yaml)).demo, output.read_text())


def test_what_is_recorded(demo: Demo) -> None:
    observed = [(run.start["scan_id"], run.start["plan_name"]) for run in demo.catalog.selection.runs()]
    plans = ["grid_scan", "careful_scan", "scan", "count", *["scan"] * 5]
    assert observed == list(zip(range(9, 0, -1), plans, strict=True))
    assert demo.catalog.problems == ()


def test_nothing_is_wrong_with_it(demo: Demo) -> None:
    assert list(validate(demo.catalog)) == []


def test_peak_moves_with_the_temperature_of_the_baseline(demo: Demo) -> None:
    for number, kelvin in enumerate(TEMPERATURES):
        run = demo.run("rocking", number)
        assert run["baseline"].read()["temperature"].to_numpy().tolist() == [kelvin, kelvin]
        data = run["primary"].read()
        expected = [peak(theta, kelvin) for theta in data["theta"].to_numpy()]
        np.testing.assert_allclose(data["diode"], expected, atol=5 * np.sqrt(max(expected)))
        highest = int(np.argmax(data["diode"].to_numpy()))
        assert abs(float(data["theta"][highest]) - 0.002 * (kelvin - 300)) <= 0.1


def test_monitor_sees_the_current_fall(demo: Demo) -> None:
    current = demo.run("rocking", 4)["ring_current_monitor"].read()["ring_current"].to_numpy()
    assert len(current) > 30
    assert (np.diff(current) <= 0).all()


def test_images_are_those_of_the_files(demo: Demo) -> None:
    run = demo.run("images")
    images = run["primary"].to_dask()["img"]
    assert images.dtype == np.uint16
    expected = np.stack([powder_rings(number) for number in range(len(images))])
    np.testing.assert_array_equal(images.compute(), expected)
    files = [np.load(file.path) for file in run.files()]
    np.testing.assert_array_equal(images.mean("time").compute(), np.mean(files, axis=0))


def test_failed_run(demo: Demo) -> None:
    run = demo.run("failed")
    assert (run.stop["exit_status"], run.stop["reason"]) == ("fail", "the shutter closed: beam lost")
    theta = run["primary"].read()["theta"].to_numpy()
    np.testing.assert_allclose(theta, np.linspace(-1, 1, 11)[:6], atol=1e-12)


def test_rewound_run(demo: Demo) -> None:
    run = demo.run("rewound")
    descriptors = {doc["uid"] for doc in run.descriptors if doc["name"] == "primary"}
    events = [doc for name, doc in run.documents() if name == "event" and doc["descriptor"] in descriptors]
    assert [event["seq_num"] for event in events] == [1, 2, 3, 4, 5, 6, 7, 5, 6, 7, 8, 9]
    data = run["primary"].read()
    np.testing.assert_allclose(data["theta"], np.arange(-4, 5) / 4)
    last = {event["seq_num"]: event["data"]["diode"] for event in events}
    assert data["diode"].to_numpy().tolist() == [last[number] for number in range(1, 10)]


def test_means_are_those_of_the_hdf5_file(demo: Demo) -> None:
    run = demo.run("map")
    (file,) = run.files()
    with h5py.File(file.path) as opened:
        frames = opened["/entry/data/data"][()]
        sums = opened["/entry/sum"][()]
    assert frames.shape == (SIDE**2, 240, 320)
    np.testing.assert_allclose(demo.left.means, frames.mean(axis=(1, 2)))
    data = run["primary"].read()
    np.testing.assert_array_equal(data["blob"].to_numpy()[:, 0], frames)
    np.testing.assert_array_equal(data["blob-sum"], sums)
    x, y = data["stage-x"].to_numpy(), data["stage-y"].to_numpy()
    pattern = (np.sin(x) + np.cos(x * y + 10) + 2) / 4
    assert np.corrcoef(pattern, demo.left.means)[0, 1] > 0.99


def test_it_says_what_it_does(demo: Demo) -> None:
    steps = ["Experiments:", "The catalog", "A run, its data unread", "A Dataset:", "A mean over images", "A picture"]
    places = [demo.printed.index(step) for step in [*steps, "What to type next"]]
    assert places == sorted(places)
    assert re.search(r"\d+ tasks, for 49 images", demo.printed)
    assert "Traceback" not in demo.printed


def test_what_it_says_to_type_next_draws_the_map(demo: Demo) -> None:
    assert ".demo[-1].plot().figure.savefig('map.png')" in re.sub(r"\n", "", demo.printed)
    (mesh,) = demo.catalog[-1].plot().collections
    sums = demo.run("map")["primary"].read()["blob-sum"].to_numpy().reshape(SIDE, SIDE)
    np.testing.assert_array_equal(mesh.get_array(), sums)


@pytest.mark.parametrize("act", [1, 2])
def test_picture(act: int, demo: Demo) -> None:
    from matplotlib.image import imread

    image = imread(demo.left.picture if act == 1 else demo.left.silicon.picture)
    assert image.shape[0] > 500
    assert image.shape[1] > 1000
    assert len(np.unique((image[..., :3] * 255).astype(np.uint8).reshape(-1, 3), axis=0)) > 500


def test_the_lattice_parameter_is_found(demo: Demo) -> None:
    """Within a step of the sweep at each temperature, though what was measured knows nothing of what was simulated."""
    found = demo.left.silicon.lattice_parameters
    assert sorted(found) == [300, 450, 600, 750]
    for kelvin, edge in found.items():
        assert abs(edge - lattice_parameter(kelvin)) <= 0.001
        assert f"{kelvin} K: a = {edge:.3f} angstrom" in demo.printed
    assert all(len(table) == len(LATTICE_PARAMETERS) for table in demo.left.silicon.tables.values())


def test_simulations_and_measurements_lead_to_each_other(demo: Demo) -> None:
    catalogs = open_catalog(str(demo.left.silicon.yaml))
    assert len(catalogs.simulations) == len(LATTICE_PARAMETERS)
    pattern, simulation = catalogs.patterns[-1], catalogs.simulations[-1]
    assert len(pattern.simulations(catalogs.simulations)) == len(LATTICE_PARAMETERS)
    assert sorted(simulation.experiments(catalogs.patterns)) == sorted(catalogs.patterns)
    images = catalogs.images[pattern.start["image_run"]]
    assert images.primary.to_dask()["img"].shape == (3, 512, 512)
    assert images.start["temperature"] == pattern.start["temperature"]
    assert list(validate(catalogs.images)) == list(validate(catalogs.patterns)) == []
    together = catalogs.silicon
    assert together.sources.counts() == {"images": 4, "patterns": 4, "simulations": len(LATTICE_PARAMETERS)}
    near = together.search("text: parameters.a > 5.44 or temperature > 700")
    assert {run.origin.source for run in near.values()} == {"images", "patterns", "simulations"}


def test_points_of_the_sweep_are_no_copies(demo: Demo) -> None:
    """All of them are in the one file, and nothing else was written for them."""
    folder = demo.left.silicon.yaml.parent / "silicon"
    assert sorted(path.name for path in folder.iterdir()) == ["files", "images", "patterns", "sweep.nc"]
    sims = open_catalog(str(demo.left.silicon.yaml)).simulations
    with h5py.File(folder / "sweep.nc") as file:
        for run in sims.search(f"text: parameters.a < {LATTICE_PARAMETERS[3]}").values():
            row = LATTICE_PARAMETERS.index(run.start["parameters"]["a"])
            np.testing.assert_array_equal(run.primary.read()["I"], file["I"][row])


def test_physics_repeats_exactly() -> None:
    np.testing.assert_array_equal(powder_rings(3), powder_rings(3))
    assert (powder_rings(3) != powder_rings(4)).any()
    np.testing.assert_array_equal(rings(300.0, 3), rings(300.0, 3))


def test_engine_leaves_no_event_loop() -> None:
    before = set(threading.enumerate())
    with run_engine({}) as engine:
        loop = engine.loop
        assert loop.is_running()
        started = [thread for thread in threading.enumerate() if thread not in before]
    assert loop.is_closed()
    for thread in started:
        thread.join(timeout=10)  # it may still be on its way out
        assert not thread.is_alive() or thread.name.startswith("pymongo")  # clients of other tests start theirs anew


@pytest.mark.slow
def test_as_a_process_twice_beside_catalogs(tmp_path: Path) -> None:
    """As ``make demo`` in a clone: it opens catalogs/demo.yml, and a second time adds to what is there."""
    (tmp_path / "catalogs").mkdir()
    for name in ("demo.yml", "silicon.yml"):
        (tmp_path / "catalogs" / name).write_bytes((CATALOGS / name).read_bytes())
    environment = {**os.environ, "INTAKE_BLUESKY_CACHE": str(tmp_path / "cache")}
    command = [sys.executable, "-m", "intake_bluesky.apps.cli", "demo"]
    for total in (9, 18):
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert 'intake.open_catalog("catalogs/demo.yml").demo' in done.stdout
        assert f"{total} runs; the newest:" in done.stdout
    assert not list((tmp_path / "demo-data").glob("*.yml"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INTAKE_BLUESKY_CACHE", str(tmp_path / "cache"))
        catalog = open_catalog(str(tmp_path / "catalogs" / "demo.yml")).demo
        assert [run.scan_id for run in catalog.selection.runs()] == list(range(18, 0, -1))
