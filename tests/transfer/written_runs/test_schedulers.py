"""Lazy Datasets are computed by whatever computes for the user, and read by other processes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import pytest
import xarray as xr
from distributed import Client, LocalCluster

from intake_bluesky import ingest
from intake_bluesky_jsonl import BlueskyJSONLCatalog
from tests.transfer.written_runs.test_write_run import KINDS, images

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cluster() -> Iterator[Client]:
    with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address="127.0.0.1:0", host="127.0.0.1"
        ) as processes,
        Client(processes) as client,
    ):
        yield client


@pytest.mark.parametrize("kind", KINDS)
def test_values_that_a_cluster_holds(kind: Any, cluster: Client, tmp_path: Path) -> None:
    held = images(time=5, x=7).persist()
    run = ingest.write_run(held, into=BlueskyJSONLCatalog(str(tmp_path)), arrays=kind, check=True)
    xr.testing.assert_identical(run.primary.to_dask().compute(), images())


def test_what_several_arrays_are_made_of_is_computed_once(tmp_path: Path) -> None:
    loaded: list[Any] = []

    def load(block: Any, block_info: Any = None) -> Any:
        loaded.append(block_info[None]["chunk-location"])
        return block + 1.0

    raw = da.zeros((8, 64, 64), chunks=(2, -1, -1)).map_blocks(load, dtype=float, meta=da.zeros(0).compute())
    dataset = xr.Dataset({"a": (("t", "y", "x"), raw), "b": (("t", "y", "x"), raw * 2)})
    with dask.config.set(scheduler="synchronous"):
        ingest.write_run(dataset, into=BlueskyJSONLCatalog(str(tmp_path)), arrays="hdf5", check=False)
    assert sorted(loaded) == [(n, 0, 0) for n in range(4)]
