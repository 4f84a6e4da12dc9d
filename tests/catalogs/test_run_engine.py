"""Runs of a real RunEngine with ophyd and ophyd-async devices, through the writer and back; and live."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from intake_bluesky import BlueskyCatalog
from intake_bluesky.apps.demo.experiments import Experiments, Runs
from intake_bluesky.documents.model import identical
from intake_bluesky.testing.examples import Run
from intake_bluesky_jsonl import BlueskyJSONLCatalog
from intake_bluesky_msgpack import BlueskyMsgpackCatalog

KINDS = ("jsonl", "msgpack")
FACES: dict[str, Callable[..., BlueskyCatalog]] = {"jsonl": BlueskyJSONLCatalog, "msgpack": BlueskyMsgpackCatalog}


class Session:
    """What a RunEngine emitted, and the catalogs that were written meanwhile."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.emitted: dict[str, Run] = {}
        self.cats = {kind: FACES[kind](folder / kind) for kind in KINDS}
        self._writers = [cat.writer() for cat in self.cats.values()]
        self._last = ""
        self.runs: Runs = Experiments(folder / "assets", self, grid_points=3).run()

    def __call__(self, name: str, doc: dict[str, Any]) -> None:
        self._last = doc["uid"] if name == "start" else self._last
        self.emitted.setdefault(self._last, []).append((name, copy.deepcopy(doc)))
        for write in self._writers:
            write(name, doc)

    def values(self, uid: str, key: str) -> dict[int, Any]:
        """Last value of a key by seq_num, of single events and of pages."""
        found = {}
        for name, doc in self.emitted[uid]:
            if name == "event" and key in doc["data"]:
                found[doc["seq_num"]] = doc["data"][key]
            elif name == "event_page" and key in doc["data"]:
                found |= dict(zip(doc["seq_num"], doc["data"][key], strict=True))
        return found


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    folder = tmp_path_factory.mktemp("session")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INTAKE_BLUESKY_CACHE", str(folder / "cache"))
        yield Session(folder)


@pytest.mark.parametrize("kind", KINDS)
class TestWritten:
    def test_documents_are_identical(self, kind: str, session: Session) -> None:
        cat = session.cats[kind].refresh()
        assert len(cat) == len(session.emitted) == 9
        for uid, run in session.emitted.items():
            assert identical(list(cat[uid].documents()), run)
            assert identical(cat[uid].metadata["stop"].to_dict(), run[-1][1])
        assert cat.problems == ()

    def test_values_are_equal(self, kind: str, session: Session) -> None:
        both = ("diode", "theta")
        keys = {"rocking": both, "rewound": both, "failed": both, "map": ("stage-x",)}
        for name, wanted in keys.items():
            for uid in session.runs[name]:
                dataset = session.cats[kind][uid].primary.read()
                for key in wanted:
                    expected = session.values(uid, key)
                    assert dataset["seq_num"].values.tolist() == list(expected)
                    assert dataset[key].values.tolist() == list(expected.values())

    def test_rewound_events_count_once(self, kind: str, session: Session) -> None:
        [uid] = session.runs["rewound"]
        run: Any = session.cats[kind][uid]
        assert sum(name == "event" for name, _ in session.emitted[uid]) > 9
        assert run.primary.read()["seq_num"].values.tolist() == list(range(1, 10))
        assert run.stop["num_events"]["primary"] == 9

    def test_baseline_monitor_and_failure(self, kind: str, session: Session) -> None:
        run = session.cats[kind][session.runs["rocking"][0]]
        assert set(run) == {"primary", "baseline", "ring_current_monitor"}
        assert run.baseline.read().sizes["time"] == 2
        assert (np.diff(run.ring_current_monitor.read()["ring_current"].values[1:]) < 0).all()
        assert session.cats[kind][session.runs["failed"][0]].metadata["stop"]["exit_status"] == "fail"
        assert len(session.cats[kind].search({"stop.exit_status": "fail"})) == 1

    def test_npy_images(self, kind: str, session: Session) -> None:
        run = session.cats[kind][session.runs["images"][0]]
        eager, lazy = run.primary.read()["img"], run.primary.to_dask()["img"]
        assert lazy.dtype == eager.dtype
        assert lazy.shape == eager.shape
        files = run.files()
        assert len(files) == eager.sizes["time"]
        for row, file in enumerate(sorted(files, key=lambda file: int(Path(file.path).stem.rpartition("_")[2]))):
            np.testing.assert_array_equal(eager.values[row], np.load(file.path))
        np.testing.assert_array_equal(lazy.values, eager.values)

    def test_hdf5_of_stream_resources(self, kind: str, session: Session) -> None:
        run = session.cats[kind][session.runs["map"][0]]
        [path] = {file.path for file in run.files()}
        eager, lazy = run.primary.read(), run.primary.to_dask()
        with h5py.File(path) as file:
            for asset in run.header.stream_assets:
                expected = file[asset.resource["parameters"]["dataset"]][()]
                observed = eager[asset.data_key]
                assert observed.sizes["time"] == 9
                assert lazy[asset.data_key].dtype == observed.dtype == expected.dtype
                np.testing.assert_array_equal(observed.values.reshape(expected.shape), expected)
                np.testing.assert_array_equal(lazy[asset.data_key].values, observed.values)

    def test_filled_documents(self, kind: str, session: Session) -> None:
        run = session.cats[kind][session.runs["images"][0]]
        events = [doc for name, doc in run.documents(fill="yes") if name == "event"]
        images = [doc["data"]["img"] for doc in events if "img" in doc["data"]]
        np.testing.assert_array_equal(np.stack(images), run.primary.read()["img"].values)


LIVE = """
import sys
from bluesky import RunEngine, plan_stubs as bps, preprocessors as bpp
from ophyd.sim import det, motor
from {module} import {face}

def plan():
    yield from bps.open_run({{"plan_name": "live"}})
    for line in sys.stdin:
        for _ in range(int(line)):
            yield from bps.trigger_and_read([det, motor])
        print("written", flush=True)
    yield from bps.close_run()

engine = RunEngine(context_managers=[])
engine.subscribe({face}(sys.argv[1]).writer())
print("ready", flush=True)
engine(plan())
print("done", flush=True)
"""


def ask(process: subprocess.Popen[str], text: str, answer: str) -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(text)
    process.stdin.flush()
    assert process.stdout.readline() == f"{answer}\n"


def within_a_second(seen: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 1.0
    while not seen():
        assert time.monotonic() < deadline, "not seen within a second"
        time.sleep(0.02)


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_of_another_process_is_seen_grows_and_completes(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INTAKE_BLUESKY_CACHE", str(tmp_path / "cache"))
    face = FACES[kind]
    cat = face(tmp_path / "runs")
    assert len(cat) == 0
    script = LIVE.format(module=face.__module__, face=face.__name__)
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path / "runs")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    with process:
        try:
            ask(process, "", "ready")
            ask(process, "2\n", "written")
            within_a_second(lambda: len(cat) == 1)
            run: Any = cat[-1]
            assert not run.is_complete
            stream = run.primary
            assert stream.read().sizes["time"] == 2
            ask(process, "3\n", "written")
            assert stream.read().sizes["time"] == 2
            within_a_second(lambda: cat[-1].primary.read().sizes["time"] == 5)
            assert run.refresh().primary.read().sizes["time"] == 5
            assert stream.to_dask().compute().sizes["time"] == 2
            assert not run.is_complete
            assert len(cat.search({"stop.exit_status": "success"})) == 0
            assert cat.problems == ()
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.close()
            assert process.stdout.readline() == "done\n"
        finally:
            process.kill()
    within_a_second(lambda: len(cat.search({"stop.exit_status": "success"})) == 1)
    assert run.refresh().is_complete
    assert run.metadata["stop"]["exit_status"] == "success"
    assert cat[-1].metadata["stop"]["num_events"] == {"primary": 5}
    assert run.primary.read().sizes["time"] == 5
    assert cat.problems == ()
