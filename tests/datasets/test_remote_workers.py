"""Frames in a private bucket, computed by workers that have the keys: the graph has none, nor has who computes it."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import cloudpickle  # type: ignore[import-untyped]  # it ships no types
import dask
import h5py
import hdf5plugin
import numpy as np
import pytest
import tifffile
import xarray as xr
import zarr
from dask_jobqueue.slurm import SLURMCluster
from distributed import Client, LocalCluster

from intake_bluesky.assets import AssetArray
from intake_bluesky.testing.runs import EXAMPLES
from intake_bluesky_jsonl import BlueskyJSONLCatalog, JSONLCodec
from tests.assets.by_hand import Array, asset, key, opened
from tests.assets.formats import TIFF
from tests.assets.remote_by_hand import BUCKET, put
from tests.servers.proxy import Proxy
from tests.servers.s3 import KEY, SECRET, Buckets

pytestmark = pytest.mark.slow

COUNT, SHAPE = 60, (128, 128)
PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "compute-on-a-cluster.md"


@pytest.fixture(autouse=True)
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, buckets: Buckets) -> None:
    """The keys of who describes arrays; none are in the options."""
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("INTAKE_BLUESKY_CACHE", str(tmp_path / "cache"))
    for name, value in keys(buckets.endpoint).items():
        monkeypatch.setenv(name, value)


def keys(endpoint: str) -> dict[str, str]:
    return {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_ENDPOINT_URL": endpoint}


@pytest.fixture(scope="module")
def cluster(proxied: Proxy, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """Two workers with keys, whose requests are counted; who computes loses its own before."""
    folder = str(tmp_path_factory.mktemp("workers"))
    own = {**keys(proxied.endpoint), "AWS_EC2_METADATA_DISABLED": "true", "INTAKE_BLUESKY_CACHE": folder}
    with (
        LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            processes=True,
            dashboard_address="127.0.0.1:0",
            host="127.0.0.1",
            env=own,
        ) as workers,
        Client(workers) as client,
    ):
        yield client


def without_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in keys(""):
        monkeypatch.delenv(name)


def frames() -> Array:
    return np.random.default_rng(0).poisson(200, (COUNT, *SHAPE)).astype("<u2")


def arrays(buckets: Buckets, folder: Path) -> dict[str, AssetArray]:
    name = uuid4().hex
    with h5py.File(folder / "x.h5", "w") as file:
        file.create_dataset("/entry/data/data", data=frames(), chunks=(1, *SHAPE), **hdf5plugin.Bitshuffle(cname="lz4"))
    put(buckets, folder / "x.h5", f"{name}/x.h5")
    for number, frame in enumerate(frames()):
        tifffile.imwrite(folder / "x.tiff", frame)
        put(buckets, folder / "x.tiff", f"{name}/x_{number}.tiff")
    zarr.create_array(folder / "x.zarr", data=frames(), chunks=(10, *SHAPE))
    for file_ in filter(Path.is_file, (folder / "x.zarr").rglob("*")):
        put(buckets, file_, f"{name}/x.zarr/{file_.relative_to(folder / 'x.zarr')}")
    url, spans = f"s3://{BUCKET}/{name}", [(1, COUNT + 1, 0, COUNT)]
    assets = {
        "hdf5": asset(f"{url}/x.h5", spans),
        "tiff": asset(f"{url}/", spans, mimetype=TIFF, template="x_{:d}.tiff"),
        "zarr": asset(f"{url}/x.zarr", spans, mimetype="application/x-zarr"),
    }
    target = 10 * frames()[0].nbytes
    return {kind: opened(each, key(*SHAPE), COUNT, target_chunk=target) for kind, each in assets.items()}


def test_workers_fetch_the_bytes(
    tmp_path: Path, buckets: Buckets, proxy: Proxy, cluster: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    lazy = {kind: described.dask() for kind, described in arrays(buckets, tmp_path).items()}
    graph = cloudpickle.dumps([dict(array.__dask_graph__()) for array in lazy.values()])
    assert KEY.encode() not in graph
    assert SECRET.encode() not in graph
    without_keys(monkeypatch)
    assert proxy.requests == [], "so far everything went past the proxy"
    for kind, array in lazy.items():
        np.testing.assert_array_equal(array.compute(), frames(), err_msg=kind)
    stored = sum(
        item["Size"] for item in buckets.client.list_objects_v2(Bucket=BUCKET, Prefix=_prefix(lazy))["Contents"]
    )
    assert proxy.received > 0.95 * stored, "the workers fetched all of it, who have no other way than the proxy"


def _prefix(lazy: dict[str, Any]) -> str:
    [task, *_] = (value for value in dict(lazy["hdf5"].__dask_graph__()).values() if isinstance(value, AssetArray))
    return task.readers[0].path.partition(f"{BUCKET}/")[2].partition("/")[0]


def test_a_run_of_a_bucket(tmp_path: Path, buckets: Buckets, cluster: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    name = uuid4().hex
    documents = list(EXAMPLES["stream_hdf5"](tmp_path))
    (tmp_path / "run.jsonl").write_bytes(b"".join(JSONLCodec().encode(*pair) for pair in documents))
    put(buckets, tmp_path / "run.jsonl", f"{name}/run.jsonl")
    for file in tmp_path.glob("*.h5"):
        put(buckets, file, f"{name}/data/{file.name}")
    here = BlueskyJSONLCatalog(str(tmp_path / "*.jsonl"))[-1].primary.read()
    there = BlueskyJSONLCatalog(f"s3://{BUCKET}/{name}/*.jsonl", root_map={str(tmp_path): f"s3://{BUCKET}/{name}/data"})
    lazy = there[-1].primary.to_dask()
    pickled = pickle.dumps(lazy)
    assert KEY.encode() not in pickled
    assert SECRET.encode() not in pickled
    without_keys(monkeypatch)
    xr.testing.assert_identical(dask.compute(lazy)[0], here)


def test_the_script_of_a_job_has_the_profile_and_no_key() -> None:
    lines = PAGE.read_text(encoding="utf-8")
    code = lines.partition("from dask_jobqueue import SLURMCluster\n")[2].partition("```")[0]
    made: dict[str, Any] = {"SLURMCluster": SLURMCluster}
    exec(code.partition("cluster.scale")[0], made)
    with made["cluster"] as cluster:
        script = cluster.job_script()
    assert "export AWS_PROFILE=beamline" in script
    assert "distributed.cli.dask_worker" in script
    assert "#SBATCH -p short" in script
    assert KEY not in script
