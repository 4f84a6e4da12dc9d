"""How a run is read: with how many requests, by whom, and what of damage."""

from __future__ import annotations

import json
import pickle
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4
from zipfile import ZIP_DEFLATED, ZipFile

import h5py
import numpy as np
import pytest
import s3fs  # type: ignore[import-untyped]
import tensorstore
import xarray as xr
import zarr
from zarr.core.sync import sync
from zarr.storage import FsspecStore, LocalStore, ObjectStore

from intake_bluesky.datasets.zarr_runs import chunking, objects
from intake_bluesky.datasets.zarr_runs.places import RunPlace
from intake_bluesky.datasets.zarr_runs.read import ZarrRun
from intake_bluesky.documents.model import to_plain
from intake_bluesky.errors import DamagedRun, RunNotFound, StoreUnavailable
from intake_bluesky.objects import connect
from intake_bluesky.testing import EXAMPLES
from tests.datasets.zarr_runs.beside import CountingStore, beside, counted, requests, run_of  # noqa: F401  # a fixture
from tests.datasets.zarr_runs.test_writing import frames
from tests.servers.proxy import Proxy
from tests.servers.s3 import Buckets


def test_one_request_opens_a_run_and_each_array_takes_one(
    tmp_path: Path,
    requests: list[tuple[str, str]],  # noqa: F811
) -> None:
    run = run_of(EXAMPLES["scan"](tmp_path))
    url = run.to_zarr(tmp_path / "run.zarr")
    counted(requests)
    stored = ZarrRun(url)
    assert [stored.start, stored.stop, stored.descriptors] == to_plain([run.start, run.stop, run.descriptors])
    arrays = stored.arrays("primary") or {}
    assert counted(requests) == {"get": 1}
    run = beside(run, url)
    observed = run.primary.read()
    keys = {key.split("/")[1] for _, key in requests if "/" in key}
    assert keys == {"seq_num", "time", *arrays} == set(observed.variables)
    assert counted(requests) == {"get": 1 + len(keys)}


def test_xarray_opens_a_stream_with_two(tmp_path: Path) -> None:
    url, log = run_of(EXAMPLES["scan"](tmp_path)).to_zarr(tmp_path / "run.zarr"), list[tuple[str, str]]()
    store = CountingStore(LocalStore(url, read_only=True), "", log)
    xr.open_zarr(store, group="primary", zarr_format=3, decode_times=False)
    assert log == [("get", "zarr.json"), ("get", "primary/time/c/0")]


def test_one_request_reads_a_small_run_in_a_file(
    tmp_path: Path,
    requests: list[tuple[str, str]],  # noqa: F811
) -> None:
    run = run_of(EXAMPLES["scan"](tmp_path))
    url = run.to_zarr(f"{tmp_path}/")
    counted(requests)
    stored = beside(run, url)
    xr.testing.assert_identical(stored.primary.read(), run.primary.read())
    xr.testing.assert_identical(stored.baseline.read(), run.baseline.read())
    assert counted(requests) == {"get": 1}


def test_of_a_larger_file_the_parts_wanted_are_read(
    tmp_path: Path,
    requests: list[tuple[str, str]],  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(chunking, "CHUNK", 2**12)
    monkeypatch.setattr(objects, "TAIL", 2**10)
    run = run_of(frames(tmp_path, 6, (32, 32)))
    url = run.to_zarr(tmp_path / "run.zarr.zip")
    counted(requests)
    image = (ZarrRun(url).arrays("primary") or {})["image"]
    assert counted(requests) == {"get": 2}  # the directory is longer than the first look
    np.testing.assert_array_equal(image[3], run.primary.read()["image"][3])
    assert counted(requests)["get"] == 3  # the head of the shard, its index, one chunk
    np.testing.assert_array_equal(image[4], run.primary.read()["image"][4])
    assert counted(requests)["get"] == 2
    np.testing.assert_array_equal(image[...], run.primary.read()["image"])
    assert counted(requests)["get"] == 1


def test_a_file_that_is_replaced_after_it_was_opened_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a chunk was, there may be one of another version, or a part of one."""
    monkeypatch.setattr(objects, "TAIL", 2**10)
    for name in ("first", "longer", "wider"):
        (tmp_path / name).mkdir()
    url = run_of(frames(tmp_path / "first", 6, (32, 32))).to_zarr(tmp_path / "run.zarr.zip")
    opened = ZarrRun(url).arrays("primary") or {}
    for number, other in enumerate((frames(tmp_path / "longer", 7, (32, 32)), frames(tmp_path / "wider", 6, (32, 40)))):
        run_of(other).to_zarr(tmp_path / f"{number}.zarr.zip")
        shutil.copyfile(tmp_path / f"{number}.zarr.zip", url)
        with pytest.raises(DamagedRun, match="was replaced after it was opened: open it again"):
            _ = opened["image"][...]


def test_blocks_are_shards(tmp_path: Path, requests: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    monkeypatch.setattr(chunking, "CHUNK", 2**12)
    monkeypatch.setattr(chunking, "SHARD", 2**13)
    run = run_of(frames(tmp_path, 6, (32, 32)))
    url = run.to_zarr(tmp_path / "run.zarr")
    image = pickle.loads(pickle.dumps(beside(run, url).primary.to_dask()["image"]))
    assert image.chunks == ((2, 2, 2), (32,), (32,))
    expected = run.primary.read()["image"]
    counted(requests)
    xr.testing.assert_identical(image.compute(scheduler="threads"), expected)
    assert {key for _, key in requests} == {f"primary/image/c/{number}/0/0" for number in range(3)}
    assert counted(requests)["get"] == 3


def test_tensorstore_reads_it(tmp_path: Path) -> None:
    run = run_of(frames(tmp_path, 4, (8, 8)))
    url = run.to_zarr(tmp_path / "run.zarr")
    for key in ("x", "image", "seq_num"):
        spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": f"{url}/primary/{key}"}}
        array = tensorstore.open(spec, read=True).result()
        np.testing.assert_array_equal(array.read().result(), run.primary.read()[key])
    assert array.domain.labels == ("time",)


@pytest.mark.parametrize("name", ["run.zarr", "run.zarr.zip"])
def test_what_is_lost_is_no_fill_value(name: str, tmp_path: Path) -> None:
    run = run_of(EXAMPLES["count"](tmp_path))
    whole = run.to_zarr(tmp_path / "whole.zarr")
    shutil.rmtree(tmp_path / "whole.zarr" / "primary" / "det" / "c")
    lost = whole
    if name.endswith("zip"):
        lost = str(tmp_path / name)
        with ZipFile(lost, "w") as file:
            for path in sorted((tmp_path / "whole.zarr").rglob("*")):
                file.write(path, path.relative_to(whole))
    stored = beside(run, lost)
    with pytest.raises(DamagedRun, match="has no primary/det/c/0"):
        stored.primary.read()
    with pytest.raises(DamagedRun, match="has no primary/det/c/0"):
        stored.primary.to_dask()["det"].compute(scheduler="threads")
    assert "det" not in stored.primary(exclude=["det"]).read()


def test_other_formats_are_refused_by_name(tmp_path: Path) -> None:
    url = str(tmp_path / "other.zarr")
    group = zarr.create_group(url, attributes={"format": "bluesky-zarr", "format_version": 2})
    with pytest.raises(DamagedRun, match="version 2: this release reads 'bluesky-zarr', version 1"):
        ZarrRun(url).arrays("primary")
    group.attrs["format"] = "something"
    with pytest.raises(DamagedRun, match="'something'"):
        ZarrRun(url).arrays("primary")
    for text, problem in ((b"", "does not end as a zip file does"), (b"x" * 300_000, "does not end")):
        (tmp_path / "x.zip").write_bytes(text)
        with pytest.raises(DamagedRun, match=problem):
            ZarrRun(str(tmp_path / "x.zip")).arrays("primary")
    with ZipFile(tmp_path / "x.zip", "w", ZIP_DEFLATED) as file:
        file.writestr("zarr.json", json.dumps({}))
    with pytest.raises(DamagedRun, match=r"compressed members, such as zarr\.json"):
        ZarrRun(str(tmp_path / "x.zip")).arrays("primary")


@pytest.fixture
def sessions() -> Iterator[None]:
    """Close the connections that zarr's store over s3fs leaves to the garbage collector, which warns of them."""
    yield
    for fs in s3fs.S3FileSystem._cache.values():
        if fs.asynchronous and fs._s3 is not None:
            sync(fs._s3.close())
    s3fs.S3FileSystem.clear_instance_cache()


@pytest.mark.parametrize("package", ["obstore", "s3fs"])
@pytest.mark.usefixtures("sessions")
def test_buckets(package: str, tmp_path: Path, buckets: Buckets, monkeypatch: pytest.MonkeyPatch) -> None:
    options: dict[str, Any] = {"key": buckets.key, "secret": buckets.secret}
    options["client_kwargs"] = {"endpoint_url": buckets.endpoint}
    if package == "s3fs":
        monkeypatch.setattr(connect, "find_spec", lambda name: None)
    run = run_of(frames(tmp_path, 4, (8, 8)))
    place = f"s3://private/zarr-{package}"
    for url in (f"{place}/run.zarr", f"{place}/"):
        url = run.to_zarr(url, storage_options=options)
        stored = beside(run, url, storage_options=options)
        expected_store = {"obstore": ObjectStore, "s3fs": FsspecStore}[package]
        assert isinstance(RunPlace(url, options).store()[0], expected_store)
        xr.testing.assert_identical(stored.primary.read(), run.primary.read())
        assert buckets.secret not in repr(stored._store)
    tree = xr.open_datatree(f"{place}/run.zarr", storage_options=options, zarr_format=3, decode_times=False)
    xr.testing.assert_identical(tree["primary"].to_dataset().load(), run.to_datatree()["primary"].to_dataset().load())
    chained = {"s3": options}
    tree = xr.open_datatree(
        f"zip::simplecache::{url}", engine="zarr", storage_options=chained, zarr_format=3, decode_times=False
    )
    xr.testing.assert_identical(tree["primary"].to_dataset().load(), run.to_datatree()["primary"].to_dataset().load())
    with pytest.raises(RunNotFound):
        ZarrRun(f"{place}/nowhere.zarr", options).start  # noqa: B018  # asked for
    wrong = {**options, "secret": "wrong-secret"}
    with pytest.raises(StoreUnavailable, match="cannot be read") as refused:
        ZarrRun(f"{place}/run.zarr", wrong).start  # noqa: B018
    assert "wrong-secret" not in str(refused.value)
    with pytest.raises(StoreUnavailable):
        run.to_zarr(f"{place}/other.zarr", storage_options=wrong)


def test_requests_to_a_bucket(tmp_path: Path, buckets: Buckets, proxy: Proxy) -> None:
    options = {"key": buckets.key, "secret": buckets.secret, "endpoint_url": proxy.endpoint}
    run = run_of(EXAMPLES["scan"](tmp_path))
    place = f"s3://private/zarr-{uuid4().hex}"

    def sent() -> Counter[str]:
        found = Counter(request.method for request in proxy.requests)
        proxy.reset()
        return found

    url = run.to_zarr(f"{place}/", storage_options=options)
    assert sent() == {"HEAD": 1, "LIST": 1, "PUT": 1}  # whether there is a file or a folder; the file
    stored = beside(run, url, storage_options=options)
    xr.testing.assert_identical(stored.primary.read(), run.primary.read())
    assert sent() == {"GET": 1}
    url = run.to_zarr(f"{place}/run.zarr", storage_options=options)
    variables = sum(len(node.variables) for node in run.to_datatree().subtree)
    groups = len(run.to_datatree().groups)
    assert sent() == {"LIST": 1, "PUT": groups + 2 * variables}
    proxy.fail("slow down", "GET", times=2)
    ds = beside(run, url, storage_options=options).primary.read()
    found = sent()
    assert 1 <= found.pop("HEAD") <= len(ds.variables)  # of the root: arrays that come at once share a look
    assert found == {"GET": 2 + 1 + len(ds.variables)}


@pytest.mark.parametrize("place", ["folder", "bucket"])
def test_a_hierarchy_that_is_replaced_after_it_was_opened_is_an_error(
    place: str, tmp_path: Path, buckets: Buckets, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody gets values of two versions, not even from a graph that was made, and pickled, before."""
    monkeypatch.setattr(chunking, "CHUNK", 2**12)
    monkeypatch.setattr(chunking, "SHARD", 2**13)
    options = {"key": buckets.key, "secret": buckets.secret, "endpoint_url": buckets.endpoint}
    if place == "folder":
        url, options = str(tmp_path / "run.zarr"), {}
    else:
        url = f"s3://private/zarr-{uuid4().hex}/run.zarr"
    run = run_of(frames(tmp_path, 6, (32, 32)))
    run.to_zarr(url, storage_options=options)
    opened = beside(run, url, storage_options=options).primary.to_dask()["image"]
    expected = run.primary.read()["image"]
    xr.testing.assert_identical(opened[:2].compute(scheduler="threads"), expected[:2])
    elsewhere = pickle.dumps(opened)
    with h5py.File(tmp_path / "frames.h5", "r+") as file:  # of the same documents
        file["data"][...] += 1
    run.to_zarr(url, overwrite=True, storage_options=options)
    for graph in (opened, pickle.loads(elsewhere)):
        with pytest.raises(DamagedRun, match="was replaced after it was opened: open it again"):
            graph[4:].compute(scheduler="threads")
    xr.testing.assert_identical(
        beside(run, url, storage_options=options).primary.read()["image"], expected + np.uint32(1)
    )


def test_a_file_of_the_same_layout_is_another_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of a shard have no checksum that the directory tells."""
    monkeypatch.setattr(chunking, "CHUNK", 2**12)
    monkeypatch.setattr(objects, "TAIL", 2**10)
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    url = str(tmp_path / "run.zarr.zip")
    run_of(frames(tmp_path / "first", 6, (32, 32))).to_zarr(url)
    image = (ZarrRun(url).arrays("primary") or {})["image"]
    _ = image[2]
    run_of(frames(tmp_path / "second", 6, (32, 32))).to_zarr(url, overwrite=True)
    with pytest.raises(DamagedRun, match="was replaced after it was opened"):
        _ = image[3]
