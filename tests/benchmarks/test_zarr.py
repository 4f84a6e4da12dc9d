"""200 frames of 1024 x 1024 uint16 in Zarr, against zarr and against dask with 20-frame chunks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
import zarr

from intake_bluesky.assets import AssetArray, stream_asset_array
from intake_bluesky.documents.model import StreamAsset
from tests.benchmarks.test_assets import FRAMES, KEY, SIDE, measured

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
