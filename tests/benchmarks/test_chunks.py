"""How large a dask chunk of frames is best: time and peak memory for several values of ``target_chunk``.

``python -c "from tests.benchmarks.test_chunks import table; table()"`` prints the table of the decision record; the
benchmarks here watch that the default stays near the best.
"""

from __future__ import annotations

import multiprocessing
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import dask
import dask.array as da
import h5py
import numpy as np
import pytest
import tifffile
import zarr

from intake_bluesky.assets import AssetOptions, stream_asset_array
from intake_bluesky.assets.options import TARGET_CHUNK
from intake_bluesky.documents.model import StreamAsset
from tests.benchmarks.test_assets import FRAMES, KEY, SIDE, measured

MIB: Final = 2**20
TARGETS: Final = (4, 10, 20, 40, 80, 160)
GROUP = "by dask, chunks of the default size and of 4 and 160 MiB"


def write_hdf5(path: Path, frames: Any) -> dict[str, Any]:
    """A chunk a frame."""
    with h5py.File(path / "x.h5", "w") as file:
        data = file.create_dataset("data", (FRAMES, SIDE, SIDE), "<u2", chunks=(1, SIDE, SIDE))
        for number, frame in enumerate(frames):
            data[number] = frame
    return {"mimetype": "application/x-hdf5", "uri": str(path / "x.h5"), "parameters": {"dataset": "data"}}


def write_tiff(path: Path, frames: Any) -> dict[str, Any]:
    """A file a frame."""
    for number, frame in enumerate(frames):
        tifffile.imwrite(path / f"img_{number:04d}.tiff", frame)
    parameters = {"template": "img_{:04d}.tiff", "chunk_shape": [1, SIDE, SIDE]}
    return {"mimetype": "multipart/related;type=image/tiff", "uri": f"{path}/", "parameters": parameters}


def write_zarr(path: Path, frames: Any) -> dict[str, Any]:
    """A chunk a frame, compressed as zarr does where it is not told."""
    data = zarr.create_array(path / "x.zarr", shape=(FRAMES, SIDE, SIDE), dtype="u2", chunks=(1, SIDE, SIDE))
    for number, frame in enumerate(frames):
        data[number] = frame
    return {"mimetype": "application/x-zarr", "uri": str(path / "x.zarr"), "parameters": {}}


FORMATS: Final[Mapping[str, Callable[[Path, Any], dict[str, Any]]]] = {
    "HDF5": write_hdf5,
    "TIFF": write_tiff,
    "Zarr": write_zarr,
}
WHAT: Final[Mapping[str, Callable[[da.Array], Any]]] = {
    "mean over frames": lambda array: array.mean(axis=0),
    "mean of each frame": lambda array: array.mean(axis=(1, 2, 3)),
    "one pixel of each": lambda array: array[:, 0, 500, 500],
    "one frame": lambda array: array[117],
}


def written(name: str, folder: Path) -> dict[str, Any]:
    rng = np.random.default_rng(1)
    frames = (rng.integers(0, 4096, (SIDE, SIDE), dtype=np.uint16) for _ in range(FRAMES))
    return {"uid": "r", "data_key": "det", **FORMATS[name](folder, frames)}


def described(resource: Mapping[str, Any], target: int) -> da.Array:
    asset = StreamAsset(dict(resource), "det", "d", ((1, FRAMES + 1, 0, FRAMES),))
    options = AssetOptions(target_chunk=target)
    return stream_asset_array([asset], "det", KEY, np.arange(1, FRAMES + 1), options).dask()


def peak() -> int:
    """Bytes that this process ever had in memory."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) * 1024


def one_case(resource: Mapping[str, Any], what: str, target: int, rounds: int = 7) -> tuple[float, float]:
    """Seconds of the best round (others use the machine), and the peak of all in MiB above what stood before."""
    described(resource, target)[0, 0, 0, :2].compute()
    lazy = WHAT[what](described(resource, target))
    before = peak()
    seconds = []
    for _ in range(rounds):
        start = time.perf_counter()
        lazy.compute()
        seconds.append(time.perf_counter() - start)
    return min(seconds), (peak() - before) / MIB


def table() -> None:
    """Print the table; each case has a process of its own, whose memory is what it used."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    for name in FORMATS:
        with tempfile.TemporaryDirectory() as folder, context.Pool(1, maxtasksperchild=1) as pool:
            resource = written(name, Path(folder))
            for what in WHAT:
                cases = [pool.apply(one_case, (resource, what, target * MIB)) for target in TARGETS]
                cells = " | ".join(f"{1000 * seconds:.0f} ms, {size:.0f} MiB" for seconds, size in cases)
                print(f"| {name}, {what} | {cells} |", flush=True)


@pytest.fixture(scope="module", params=list(FORMATS))
def resource(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, Any]]:
    return request.param, written(request.param, tmp_path_factory.mktemp("chunks"))


@pytest.mark.parametrize("what", WHAT)
@pytest.mark.parametrize("target", [4 * MIB, TARGET_CHUNK, 160 * MIB], ids=["4 MiB", "default", "160 MiB"])
def test_target(benchmark: Any, resource: tuple[str, dict[str, Any]], what: str, target: int) -> None:
    name, document = resource
    lazy = WHAT[what](described(document, target))
    with dask.config.set(scheduler="threads"):
        observed = measured(benchmark, f"{what} of 200 frames in {name}, {GROUP}", lazy.compute, rounds=3)
    assert observed.shape == lazy.shape
