"""One test for all detectors: what they wrote under a RunEngine is what `read` and dask give, to the last bit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from bluesky import plan_stubs as bps
from bluesky.plans import count, scan
from ophyd.sim import hw
from ophyd_async.core import TriggerInfo

from intake_bluesky.apps.demo.beamline import Beamline, build_beamline
from intake_bluesky_jsonl import BlueskyJSONLCatalog
from tests.detectors.cameras import PLUGINS, Array, Camera, Plugin, recorded

POINTS = 4
FRAMES = 5

Expected = dict[str, Array]
"""Values by key, as the library that wrote the files reads them."""
Detector = Callable[[BlueskyJSONLCatalog, Path], tuple[str, Expected]]
"""Takes a run and gives its uid and what is in the files."""


def area_detector(plugin: type[Plugin], frames: int) -> Detector:
    def take(cat: BlueskyJSONLCatalog, folder: Path) -> tuple[str, Expected]:
        files = plugin(folder, frames)
        camera = Camera(files, name="camera")
        uid = recorded(cat.writer(), lambda: count([camera], POINTS))
        expected = files.read(POINTS)
        np.testing.assert_array_equal(expected, np.array(camera.taken).reshape(expected.shape))
        return uid, {"camera_image": expected}

    return take


def simulated_camera_of_ophyd(cat: BlueskyJSONLCatalog, folder: Path) -> tuple[str, Expected]:
    img = hw(save_path=str(folder)).img
    shots = iter(np.random.default_rng(3).poisson(40, (POINTS, 9, 7)).astype("<u2"))
    img.sim_set_func(lambda: next(shots))
    uid = recorded(cat.writer(), lambda: count([img], POINTS))
    files = sorted(folder.glob("*.npy"), key=lambda path: int(path.stem.rpartition("_")[2]))
    return uid, {"img": np.array([np.load(path) for path in files])}


def blob_detector_of_ophyd_async(cat: BlueskyJSONLCatalog, folder: Path) -> tuple[str, Expected]:
    def step(beamline: Beamline) -> Any:
        yield from scan([beamline.blob], beamline.theta, 0, 1, POINTS)

    uid = recorded(cat.writer(), lambda: step(build_beamline(folder)))
    return uid, {key: value for path in folder.rglob("*.h5") for key, value in of_ophyd_async(path).items()}


def of_ophyd_async(path: Path) -> Expected:
    with h5py.File(path) as file:
        return {"blob": file["entry/data/data"][()], "blob-sum": file["entry/sum"][()]}


def flown_detector_of_ophyd_async(cat: BlueskyJSONLCatalog, folder: Path) -> tuple[str, Expected]:
    def fly(blob: Any) -> Any:
        yield from bps.stage(blob)
        yield from bps.prepare(blob, TriggerInfo(number_of_events=POINTS), wait=True)
        yield from bps.open_run()
        yield from bps.declare_stream(blob, name="primary")
        yield from bps.kickoff_all(blob, wait=True)
        yield from bps.collect_while_completing([blob], [blob], flush_period=0.1, stream_name="primary")
        yield from bps.close_run()
        yield from bps.unstage(blob)

    uid = recorded(cat.writer(), lambda: fly(build_beamline(folder).blob))
    return uid, {key: value for path in folder.rglob("*.h5") for key, value in of_ophyd_async(path).items()}


DETECTORS: dict[str, Detector] = {
    **{f"{plugin.spec} {n} a point": area_detector(plugin, n) for plugin in PLUGINS for n in (1, FRAMES)},
    "ophyd.sim": simulated_camera_of_ophyd,
    "ophyd-async": blob_detector_of_ophyd_async,
    "ophyd-async flown": flown_detector_of_ophyd_async,
}


@pytest.mark.parametrize("name", DETECTORS)
def test_what_was_written_is_what_is_read(name: str, tmp_path: Path) -> None:
    cat = BlueskyJSONLCatalog(tmp_path / "runs")
    (tmp_path / "files").mkdir()
    uid, expected = DETECTORS[name](cat, tmp_path / "files")
    assert cat.problems == ()
    run = cat.refresh()[uid]
    eager, lazy = run.primary.read(), run.primary.to_dask()
    computed = lazy.compute(scheduler="threads")
    assert expected.keys() <= set(eager)
    for key, values in expected.items():
        observed = eager[key]
        assert lazy[key].shape == observed.shape
        assert lazy[key].dtype == observed.dtype == values.dtype
        assert observed.sizes["time"] == POINTS
        np.testing.assert_array_equal(observed.values.reshape(values.shape), values)
        np.testing.assert_array_equal(computed[key].values, observed.values)
        one = lazy[key][POINTS - 1].compute(scheduler="sync")
        np.testing.assert_array_equal(one.values, observed.values[-1])
    assert all(file.exists for file in run.files())
    assert len(run.files()) > 0
