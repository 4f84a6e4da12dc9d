"""200 frames of 1024 x 1024 uint16 in HDF5 chunked by frame, against h5py and against dask with 20-frame chunks."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask.array as da
import h5py
import numpy as np
import pytest

from intake_bluesky.assets import AssetArray, AssetOptions, datum_array, stream_asset_array
from intake_bluesky.documents.model import StreamAsset

FRAMES = 200
SIDE = 1024
DATASET = "/entry/data/data"
KEY = {"source": "sim", "dtype": "array", "shape": [1, SIDE, SIDE], "external": "STREAM:"}
FILES = 400

READ = "read 200 frames of 1024 x 1024 uint16 from HDF5"
MEAN = "mean over 200 frames of 1024 x 1024 uint16 in HDF5, by dask"
GRAPH = "describe 200 frames of 1024 x 1024 uint16 to dask"
SEQUENCE = "read 400 frames of 256 x 256 uint16 from .npy files"
SKIPS = "read every third of 300,000 scalars from HDF5"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("stack") / "stack.h5"
    rng = np.random.default_rng(1)
    with h5py.File(path, "w") as file:
        data = file.create_dataset(DATASET, (FRAMES, SIDE, SIDE), "<u2", chunks=(1, SIDE, SIDE))
        for number in range(FRAMES):
            data[number] = rng.integers(0, 4096, (SIDE, SIDE), dtype=np.uint16)
        file["/scalars"] = np.arange(300_000.0)
    return path


def opened(path: Path, *, dataset: str = DATASET, spec: dict[str, Any] = KEY, step: int = 1) -> AssetArray:
    rows = 100_000 if step > 1 else FRAMES
    spans = (
        tuple((n + 1, n + 2, step * n, step * n + 1) for n in range(rows)) if step > 1 else ((1, rows + 1, 0, rows),)
    )
    resource = {"uid": "r", "mimetype": "application/x-hdf5", "uri": str(path), "parameters": {"dataset": dataset}}
    return stream_asset_array([StreamAsset(resource, "det", "d", spans)], "det", spec, np.arange(1, rows + 1))


def by_h5py(path: Path) -> Any:
    with h5py.File(path) as file:
        return file[DATASET][()]


def mean_by_dask(path: Path) -> Any:
    with h5py.File(path) as file:
        return da.from_array(file[DATASET], chunks=(20, SIDE, SIDE)).mean(axis=0).compute()


def measured(benchmark: Any, group: str, what: Callable[[], Any], rounds: int = 7) -> Any:
    benchmark.group = group
    return benchmark.pedantic(what, rounds=rounds, warmup_rounds=1)


def test_floor_h5py_read(benchmark: Any, stack: Path) -> None:
    assert measured(benchmark, READ, lambda: by_h5py(stack)).shape == (FRAMES, SIDE, SIDE)


def test_read(benchmark: Any, stack: Path) -> None:
    observed = measured(benchmark, READ, lambda: opened(stack).read())
    np.testing.assert_array_equal(observed[:, 0], by_h5py(stack))


def test_compute(benchmark: Any, stack: Path) -> None:
    described = opened(stack).dask()
    assert measured(benchmark, READ, described.compute).dtype == np.uint16


def test_floor_dask_in_chunks_of_20_frames(benchmark: Any, stack: Path) -> None:
    assert measured(benchmark, MEAN, lambda: mean_by_dask(stack)).shape == (SIDE, SIDE)


def test_mean(benchmark: Any, stack: Path) -> None:
    described = opened(stack).dask()
    observed = measured(benchmark, MEAN, lambda: described.mean(axis=0).compute())
    benchmark.extra_info["chunks"] = described.npartitions
    np.testing.assert_allclose(observed[0], mean_by_dask(stack))


def test_describe(benchmark: Any, stack: Path) -> None:
    described = measured(benchmark, GRAPH, lambda: opened(stack).dask(), rounds=20)
    benchmark.extra_info["tasks"] = len(described.__dask_graph__())
    assert described.shape == (FRAMES, 1, SIDE, SIDE)


def test_skips(benchmark: Any, stack: Path) -> None:
    array = opened(stack, dataset="/scalars", spec={"dtype": "number", "shape": [1]}, step=3)
    np.testing.assert_array_equal(measured(benchmark, SKIPS, array.read), np.arange(0, 300_000, 3))


def test_floor_h5py_all_then_take(benchmark: Any, stack: Path) -> None:
    def read() -> Any:
        with h5py.File(stack) as file:
            return file["/scalars"][()][::3]

    assert len(measured(benchmark, SKIPS, read)) == 100_000


@pytest.fixture(scope="module")
def sequence(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sequence")
    for number in range(FILES):
        np.save(folder / f"img_{number}.npy", np.full((256, 256), number, np.uint16))
    return folder


def test_floor_numpy_load(benchmark: Any, sequence: Path) -> None:
    def read() -> Any:
        return np.stack([np.load(sequence / f"img_{n}.npy") for n in range(FILES)])

    assert measured(benchmark, SEQUENCE, read).shape == (FILES, 256, 256)


def test_read_sequence(benchmark: Any, sequence: Path) -> None:
    resource = {"uid": "r", "spec": "NPY_SEQ", "root": str(sequence), "resource_path": "img", "resource_kwargs": {}}
    ids = [f"r/{n}" for n in range(FILES)]
    datums = {f"r/{n}": ("r", {"index": n}) for n in range(FILES)}
    spec = {"dtype": "array", "shape": [256, 256]}
    array = datum_array(ids, "img", spec, {"r": resource}, datums, AssetOptions())
    assert measured(benchmark, SEQUENCE, array.read)[:, 0, 0].tolist() == list(range(FILES))


PEAK = """
import sys
from pathlib import Path
from tests.benchmarks.test_assets import opened


def peak():  # kB; of this process alone, where getrusage counts what its parent had when it forked
    return int(next(l for l in Path("/proc/self/status").read_text().splitlines() if l.startswith("VmHWM")).split()[1])


small = opened(Path(sys.argv[1]), dataset="/scalars", spec={"dtype": "number", "shape": [1]})
small.read()
array = opened(Path(sys.argv[1]))
described = array.dask()
before = peak()
kept = array.read() if sys.argv[2] == "read" else described.mean(axis=0).compute()
after = peak()
print((after - before) * 1024 / array.dask().nbytes)
"""


@pytest.mark.parametrize(("how", "most"), [("read", 1.3), ("mean", 1.3)])
def test_peak_memory(stack: Path, how: str, most: float) -> None:
    command = [sys.executable, "-c", PEAK, str(stack), how]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, capture_output=True, text=True, cwd=root, check=True)
    print(f"peak memory of {how}: {float(done.stdout):.2f} of the array")
    assert float(done.stdout) < most
