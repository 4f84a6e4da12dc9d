"""Zarr: 200 frames of a detector, against zarr and dask; runs as `run.to_zarr` writes them, against xarray alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dask.array as da
import h5py
import numpy as np
import pytest
import xarray as xr
import zarr

from intake_bluesky.assets import AssetArray, stream_asset_array
from intake_bluesky.datasets.zarr_runs.read import ZarrRun
from intake_bluesky.documents.model import StreamAsset
from intake_bluesky.testing import RunComposer, data_key
from intake_bluesky.testing.examples import Run
from intake_bluesky_jsonl import JSONLStore
from tests.benchmarks.test_assets import FRAMES, KEY, SIDE, measured
from tests.datasets.zarr_runs.beside import BesideStore
from tests.datasets.zarr_runs.beside import opened as opened_run

READ = "read 200 frames of 1024 x 1024 uint16 from Zarr"
MEAN = "mean over 200 frames of 1024 x 1024 uint16 in Zarr, by dask"
ROI = "one region of 64 x 64 of 200 frames in Zarr, by dask"

LAYOUTS: dict[str, dict[str, Any]] = {
    "a chunk a frame": {"chunks": (1, SIDE, SIDE)},
    "uncompressed": {"chunks": (1, SIDE, SIDE), "compressors": None},
    "shards of 20 frames": {"chunks": (1, SIDE // 4, SIDE // 4), "shards": (20, SIDE, SIDE)},
}


@pytest.fixture(scope="module", params=list(LAYOUTS))
def layout(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def store(layout: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("zarr") / "x.zarr"
    group = zarr.create_group(path)
    array = group.create_array("data", shape=(FRAMES, SIDE, SIDE), dtype="u2", **LAYOUTS[layout])
    rng = np.random.default_rng(1)
    for start in range(0, FRAMES, 100):  # whole shards: each write of a part reads and writes all of it
        array[start : start + 100] = rng.integers(0, 4096, (100, SIDE, SIDE), dtype=np.uint16)
    return path


def opened(path: Path) -> AssetArray:
    resource = {"uid": "r", "mimetype": "application/x-zarr", "uri": str(path), "parameters": {"path": "data"}}
    spans = ((1, FRAMES + 1, 0, FRAMES),)
    return stream_asset_array([StreamAsset(resource, "det", "d", spans)], "det", KEY, np.arange(1, FRAMES + 1))


def stored(path: Path) -> Any:
    return zarr.open_group(path, mode="r")["data"]


def by_dask(path: Path, frames: int = 20) -> Any:
    return da.from_zarr(stored(path), chunks=(frames, SIDE, SIDE))


def test_floor_zarr_read(benchmark: Any, store: Path, layout: str) -> None:
    assert measured(benchmark, f"{READ}, {layout}", lambda: stored(store)[...]).shape == (FRAMES, SIDE, SIDE)


def test_read(benchmark: Any, store: Path, layout: str) -> None:
    observed = measured(benchmark, f"{READ}, {layout}", lambda: opened(store).read())
    np.testing.assert_array_equal(observed[:, 0], stored(store)[...])


def test_floor_dask_in_chunks_of_20_frames(benchmark: Any, store: Path, layout: str) -> None:
    group = f"{MEAN}, {layout}"
    assert measured(benchmark, group, lambda: by_dask(store).mean(axis=0).compute()).shape == (SIDE, SIDE)


def test_mean(benchmark: Any, store: Path, layout: str) -> None:
    described = opened(store).dask()
    observed = measured(benchmark, f"{MEAN}, {layout}", lambda: described.mean(axis=0).compute())
    benchmark.extra_info["chunks"] = described.npartitions
    np.testing.assert_allclose(observed[0], by_dask(store).mean(axis=0).compute())


def test_floor_zarr_region(benchmark: Any, store: Path, layout: str) -> None:
    assert measured(benchmark, f"{ROI}, {layout}", lambda: stored(store)[:, :64, :64]).shape == (FRAMES, 64, 64)


def test_region(benchmark: Any, store: Path, layout: str) -> None:
    described = opened(store).dask()
    observed = measured(benchmark, f"{ROI}, {layout}", described[:, 0, :64, :64].compute)
    np.testing.assert_array_equal(observed, stored(store)[:, :64, :64])


WHOLE = "read a run of {} that was written by run.to_zarr"
COLUMNS = 6
EVENTS = 1_000_000


def columns(_folder: Path) -> Run:
    """1,000,000 events of 6 numbers."""
    rng, run = np.random.default_rng(1), RunComposer("columns")
    keys = [f"x{number}" for number in range(COLUMNS)]
    primary = run.descriptor({key: data_key("number") for key in keys})
    for _ in range(0, EVENTS, 100_000):
        run.page(primary, {key: rng.normal(size=100_000).round(4).tolist() for key in keys})
    run.stop()
    return run.documents


def images(folder: Path) -> Run:
    """200 frames as a detector that counts photons makes them."""
    rng, run = np.random.default_rng(1), RunComposer("images")
    with h5py.File(folder / "frames.h5", "w") as file:
        data = file.create_dataset("data", shape=(FRAMES, SIDE, SIDE), dtype="<u2", chunks=(1, SIDE, SIDE))
        for start in range(0, FRAMES, 20):
            data[start : start + 20] = rng.poisson(20, (20, SIDE, SIDE))
    image = data_key("array", [SIDE, SIDE], external="STREAM:", dtype_numpy="<u2")
    primary = run.descriptor({"x": data_key("number"), "image": image})
    uri = f"file://localhost{folder}/frames.h5"
    resource = run.stream_resource("image", mimetype="application/x-hdf5", uri=uri, dataset="data", chunk_shape=[1])
    run.page(primary, {"x": [float(number) for number in range(FRAMES)]})
    run.stream_datum(resource, primary, (1, FRAMES + 1))
    run.stop()
    return run.documents


RUNS = {"1,000,000 events of 6 numbers": columns, "200 frames of 1024 x 1024 uint16": images}


@pytest.fixture(scope="module", params=list(RUNS))
def written(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, JSONLStore, str]:
    """What a run holds, the store of its documents, and the hierarchy beside them."""
    folder = tmp_path_factory.mktemp("run")
    store = JSONLStore(folder / "runs")
    documents = RUNS[request.param](folder)
    with store.insert(documents[0][1]) as run:
        for name, doc in documents[1:]:
            run.write(name, doc)
    return request.param, store, opened_run(store).to_zarr(folder / "run.zarr")


def test_floor_xarray_load(benchmark: Any, written: tuple[str, JSONLStore, str]) -> None:
    what, _, url = written
    how: dict[str, Any] = {"group": "primary", "zarr_format": 3, "decode_times": False, "chunks": None}
    measured(benchmark, WHOLE.format(what), lambda: xr.open_zarr(url, **how).load(), rounds=15)


def test_run_read(benchmark: Any, written: tuple[str, JSONLStore, str]) -> None:
    what, store, url = written
    uid = opened_run(store).uid

    def read() -> Any:
        run = opened_run(BesideStore(store, {uid: ZarrRun(url)}))
        return run.primary.read()

    observed = measured(benchmark, WHOLE.format(what), read, rounds=15)
    expected = xr.open_zarr(url, group="primary", zarr_format=3, decode_times=False, chunks=None).load()
    xr.testing.assert_equal(observed, expected)


def test_run_to_dask(benchmark: Any, written: tuple[str, JSONLStore, str]) -> None:
    what, store, url = written
    uid = opened_run(store).uid
    run = opened_run(BesideStore(store, {uid: ZarrRun(url)}))
    measured(benchmark, WHOLE.format(what), lambda: run.primary.to_dask().load(scheduler="threads"), rounds=15)
