"""Everything pickles, and is computed by other processes."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask.base
import numpy as np
import pytest
import xarray as xr
from distributed import Client, LocalCluster

from intake_bluesky.testing.runs import EXAMPLES
from intake_bluesky_jsonl import BlueskyJSONLCatalog


@pytest.fixture(scope="module")
def cluster() -> Iterator[Client]:
    with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address="127.0.0.1:0", host="127.0.0.1"
        ) as processes,
        Client(processes) as client,
    ):
        yield client


@pytest.fixture
def catalog(tmp_path: Path) -> BlueskyJSONLCatalog:
    cat = BlueskyJSONLCatalog(str(tmp_path / "*.jsonl"))
    with cat.writer() as write:
        for name in ("stream_hdf5", "rewound", "strings_and_booleans", "ragged", "ad_hdf5", "npy_seq"):
            for kind, doc in EXAMPLES[name](tmp_path):
                write(kind, doc)
    cat.refresh()
    return cat


def test_datasets_are_computed_by_two_processes(cluster: Client, catalog: BlueskyJSONLCatalog) -> None:
    lazy = {(uid, stream): catalog[uid][stream].to_dask() for uid in catalog for stream in catalog[uid]}
    computed: dict[Any, xr.Dataset] = dict(zip(lazy, dask.base.compute(*lazy.values()), strict=True))
    assert len(lazy) >= 6
    for (uid, stream), observed in computed.items():
        xr.testing.assert_identical(observed, catalog[uid][stream].read())


def test_catalog_run_and_stream_are_used_in_another_process(cluster: Client, catalog: BlueskyJSONLCatalog) -> None:
    uid = next(iter(catalog))
    expected = catalog[uid].primary.read()
    for thing in (catalog, catalog[uid], catalog[uid].primary):
        observed = cluster.submit(read_primary, thing, uid, pure=False).result(timeout=60)
        xr.testing.assert_identical(observed, expected)


def read_primary(thing: Any, uid: str) -> xr.Dataset:
    """Read the primary stream of a catalog, a run, or the stream itself."""
    if thing.container == "xarray":
        return thing.read()  # type: ignore[no-any-return]
    run = thing if thing.name == uid else thing[uid]
    return run["primary"].read()  # type: ignore[no-any-return]


def test_a_pickled_graph_is_small(catalog: BlueskyJSONLCatalog) -> None:
    for uid in catalog:
        lazy = catalog[uid].primary.to_dask()
        assert len(pickle.dumps(lazy)) < 64_000
        restored = pickle.loads(pickle.dumps(lazy))
        for name in lazy.data_vars:
            np.testing.assert_array_equal(restored[name].values, lazy[name].values)
