"""A folder of TIFF files, against what dask and tifffile do at their best by hand."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
import tifffile

from intake_bluesky.assets import AssetArray, stream_asset_array
from intake_bluesky.documents.model import StreamAsset

FRAMES, SIDE, MANY = 200, 1024, 10_000
MEAN = f"TIFF files, {FRAMES} of {SIDE} x {SIDE} uint16: mean over frames by dask"
READ = f"TIFF files, {FRAMES} of {SIDE} x {SIDE} uint16: read all"
ONE = f"TIFF files, {MANY:,}: describe them and read one frame"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tiffs")
    rng = np.random.default_rng(0)
    for number in range(FRAMES):
        tifffile.imwrite(path / f"img_{number:06d}.tiff", rng.integers(0, 4096, (SIDE, SIDE), dtype=np.uint16))
    return path


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("many")
    tifffile.imwrite(path / "img_000000.tiff", np.arange(512 * 512, dtype=np.uint16).reshape(512, 512))
    for number in range(1, MANY):
        os.link(path / "img_000000.tiff", path / f"img_{number:06d}.tiff")
    return path


def opened(folder: Path, count: int = FRAMES, side: int = SIDE) -> AssetArray:
    spec = {"dtype": "array", "shape": [1, side, side]}
    parameters = {"template": "img_{:06d}.tiff", "chunk_shape": [1, side, side]}
    resource = {
        "uid": "r",
        "mimetype": "multipart/related;type=image/tiff",
        "uri": f"file://localhost{folder}/",
        "parameters": parameters,
    }
    asset = StreamAsset(resource, "det", "d", ((1, count + 1, 0, count),))
    return stream_asset_array([asset], "det", spec, np.arange(1, count + 1))


def by_hand(folder: Path, per_chunk: int) -> da.Array:
    """As dask and tifffile would have it: so many files a task."""
    files = [folder / f"img_{number:06d}.tiff" for number in range(FRAMES)]

    def load(block_id: tuple[int, ...]) -> Any:
        part = files[block_id[0] * per_chunk : (block_id[0] + 1) * per_chunk]
        out = np.empty((len(part), SIDE, SIDE), np.uint16)
        for row, file in enumerate(part):
            tifffile.imread(file, out=out[row])
        return out

    chunks = ((per_chunk,) * (FRAMES // per_chunk), (SIDE,), (SIDE,))
    made: da.Array = da.map_blocks(load, chunks=chunks, dtype=np.uint16, meta=np.empty((0, 0, 0), np.uint16))
    return made


def measured(benchmark: Any, group: str, what: Callable[[], Any], rounds: int = 9) -> Any:
    benchmark.group = group
    return benchmark.pedantic(what, rounds=rounds, warmup_rounds=1)


def test_floor_dask_with_50_files_a_chunk(benchmark: Any, folder: Path) -> None:
    described = by_hand(folder, 50)  # the best of those tried, with the next
    assert measured(benchmark, MEAN, lambda: described.mean(axis=0).compute()).shape == (SIDE, SIDE)


@pytest.mark.parametrize("per_chunk", [1, 10, 20, 100])
def test_by_hand_with_files_a_chunk(benchmark: Any, folder: Path, per_chunk: int) -> None:
    described = by_hand(folder, per_chunk)
    assert measured(benchmark, MEAN, lambda: described.mean(axis=0).compute()).shape == (SIDE, SIDE)


def test_mean(benchmark: Any, folder: Path) -> None:
    described = opened(folder).dask()
    observed = measured(benchmark, MEAN, lambda: described.mean(axis=0).compute())
    benchmark.extra_info["chunks"] = described.npartitions
    np.testing.assert_allclose(observed[0], by_hand(folder, 20).mean(axis=0).compute())


def test_floor_tifffile_one_after_the_other(benchmark: Any, folder: Path) -> None:
    def read() -> Any:
        out = np.empty((FRAMES, SIDE, SIDE), np.uint16)
        for number in range(FRAMES):
            tifffile.imread(folder / f"img_{number:06d}.tiff", out=out[number])
        return out

    assert measured(benchmark, READ, read).shape == (FRAMES, SIDE, SIDE)


def test_read(benchmark: Any, folder: Path) -> None:
    observed = measured(benchmark, READ, opened(folder).read)
    np.testing.assert_array_equal(observed[7, 0], tifffile.imread(folder / "img_000007.tiff"))


def test_floor_tifffile_of_one_file(benchmark: Any, many: Path) -> None:
    assert measured(benchmark, ONE, lambda: tifffile.imread(many / "img_005000.tiff"), 50).shape == (512, 512)


def test_describe_and_read_one(benchmark: Any, many: Path) -> None:
    def describe_and_read() -> Any:
        return opened(many, MANY, 512).dask()[5000, 0].compute()

    observed = measured(benchmark, ONE, describe_and_read, 50)
    np.testing.assert_array_equal(observed, tifffile.imread(many / "img_000000.tiff"))
