"""Every format in a bucket; of sequences and Zarr arrays what is fetched, and files that are lost or replaced."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
import zarr

from intake_bluesky.assets import AssetArray
from intake_bluesky.assets.images import sequence
from intake_bluesky.assets.zarr_arrays import ZarrReader
from intake_bluesky.errors import AssetUnavailable
from intake_bluesky.testing.readers import WrittenFiles
from tests.assets.by_hand import asset, both, frames, key, opened, write
from tests.assets.formats import FORMATS, TIFF, numpy_files, tiffs
from tests.assets.remote_by_hand import BUCKET, counted, options, put
from tests.servers.proxy import Fault, Proxy
from tests.servers.s3 import Buckets

pytestmark = pytest.mark.slow

COUNT = 40


def test_every_format(tmp_path: Path, buckets: Buckets) -> None:
    for form in FORMATS:
        folder = tmp_path / form.name
        folder.mkdir()
        written = WrittenFiles.of(form, folder)
        root = f"s3://{BUCKET}/{uuid4().hex}"
        for path in filter(Path.is_file, folder.rglob("*")):
            put(buckets, path, f"{root.rpartition('/')[2]}/{path.relative_to(folder)}")
        there = written.array(form.ways[-1], root_map={str(folder): root}, storage_options=options(buckets.endpoint))
        np.testing.assert_array_equal(there.read(), written.expected, err_msg=form.name)
        part = (slice(1, 3), slice(None), slice(2, 7), slice(3, 11))
        np.testing.assert_array_equal(there[part], written.expected[part], err_msg=form.name)
        assert all(file.path.startswith(root) for file in there.files())


def sequence_in(buckets: Buckets, folder: Path, write: Callable[..., list[Path]] = tiffs) -> str:
    """Forty frames, a file each, and where they are."""
    name = uuid4().hex
    for file in write(folder, frames(COUNT)):
        put(buckets, file, f"{name}/{file.name}")
    return f"s3://{BUCKET}/{name}"


def array(url: str, endpoint: str, mimetype: str = TIFF, template: str = "img_{:06d}.tiff") -> AssetArray:
    streamed = asset(f"{url}/", [(1, COUNT + 1, 0, COUNT)], mimetype=mimetype, template=template)
    return opened(streamed, key(4, 6), COUNT, storage_options=options(endpoint))


def test_a_request_a_file(tmp_path: Path, buckets: Buckets, proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    for written, mimetype, template in (
        (tiffs, TIFF, "img_{:06d}.tiff"),
        (numpy_files, "multipart/related;type=application/x-npy", "img_{:d}.npy"),
    ):
        described = array(sequence_in(buckets, tmp_path, written), proxy.endpoint, mimetype, template)
        proxy.reset()
        np.testing.assert_array_equal(described.read(), frames(COUNT))
        assert counted(proxy) == {"GET": COUNT}
        np.testing.assert_array_equal(described[3, 1:3, 2:], frames(COUNT)[3, 1:3, 2:])
        assert counted(proxy) == {"GET": 1}
        with monkeypatch.context() as patch:
            patch.setattr(sequence, "HELD", 1)
            np.testing.assert_array_equal(described.read(), frames(COUNT))
            patch.setattr(sequence, "LARGEST", 0)
            np.testing.assert_array_equal(described[5:8], frames(COUNT)[5:8])


def test_files_larger_than_they_should_be(tmp_path: Path, buckets: Buckets, monkeypatch: pytest.MonkeyPatch) -> None:
    described = array(sequence_in(buckets, tmp_path), buckets.endpoint)
    monkeypatch.setattr(sequence, "HEADERS", 0)
    np.testing.assert_array_equal(both(described), frames(COUNT))


def test_requests_that_fail(tmp_path: Path, buckets: Buckets, proxy: Proxy) -> None:
    described = array(sequence_in(buckets, tmp_path), proxy.endpoint)
    faults: tuple[Fault, ...] = ("slow down", "drop")
    for fault in faults:
        proxy.fail(fault, "GET", 3)
        np.testing.assert_array_equal(described.read(), frames(COUNT))
        assert not proxy.faults


def test_one_that_is_lost_or_damaged_is_named(tmp_path: Path, buckets: Buckets) -> None:
    url = sequence_in(buckets, tmp_path)
    described = array(url, buckets.endpoint)
    lost = f"{url}/img_000017.tiff"
    name = lost.partition(f"{BUCKET}/")[2]
    buckets.client.delete_object(Bucket=BUCKET, Key=name)
    with pytest.raises(AssetUnavailable, match=r"img_000017\.tiff: there is no such file"):
        described.read()
    np.testing.assert_array_equal(described[18:], frames(COUNT)[18:])
    buckets.client.put_object(Bucket=BUCKET, Key=name, Body=b"II*\0no image")
    with pytest.raises(AssetUnavailable, match=r"img_000017\.tiff is damaged"):
        described.read()


def test_a_bucket_that_refuses(tmp_path: Path, buckets: Buckets) -> None:
    url = sequence_in(buckets, tmp_path)
    streamed = asset(f"{url}/", [(1, 3, 0, 2)], mimetype=TIFF, template="img_{:06d}.tiff")
    refused = {**options(buckets.endpoint), "secret": "not the secret"}
    spec = key(4, 6, dtype_numpy="<u2")
    with pytest.raises(AssetUnavailable, match=r"request signature .*img_000000\.tiff") as caught:
        opened(streamed, spec, 2, storage_options=refused).read()
    assert "not the secret" not in str(caught.value)


def zarr_in(buckets: Buckets, folder: Path, zarr_format: int) -> str:
    store = zarr.open_group(folder / "x.zarr", mode="w", zarr_format=zarr_format)  # type: ignore[arg-type]  # 2 or 3
    made = store.create_array("data", shape=(COUNT, 4, 6), dtype="<u2", chunks=(4, 4, 6))
    made[...] = frames(COUNT)
    name = uuid4().hex
    for file in filter(Path.is_file, (folder / "x.zarr").rglob("*")):
        put(buckets, file, f"{name}.zarr/{file.relative_to(folder / 'x.zarr')}")
    return f"s3://{BUCKET}/{name}.zarr"


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_zarr(tmp_path: Path, buckets: Buckets, proxy: Proxy, zarr_format: int) -> None:
    url = zarr_in(buckets, tmp_path, zarr_format)
    streamed = asset(url, [(1, COUNT + 1, 0, COUNT)], mimetype="application/x-zarr", path="data")
    described = opened(streamed, key(4, 6), COUNT, storage_options=options(proxy.endpoint))
    np.testing.assert_array_equal(both(described), frames(COUNT))
    proxy.reset()
    np.testing.assert_array_equal(described[9:11], frames(COUNT)[9:11])
    chunks = [request for request in proxy.requests if "/c/" in request.path or request.path.endswith(".0.0")]
    assert len([request for request in chunks if request.method == "GET"]) == 1
    assert proxy.count("HEAD") == 0, "obstore needs none"
    proxy.reset()
    proxy.fail("slow down", "GET")
    proxy.fail("drop", "GET")
    clean = opened(streamed, key(4, 6), COUNT, storage_options=options(proxy.endpoint))
    np.testing.assert_array_equal(clean.read(), frames(COUNT))
    with pytest.raises(AssetUnavailable, match=r"has no array 'date'; its arrays are data"):
        ZarrReader.of(clean.files()[0], {"path": "date"}).structure()


def test_a_forked_child_reads_without_the_threads_of_its_parent(tmp_path: Path, buckets: Buckets) -> None:
    write(tmp_path / "x.h5", frames(COUNT))
    spans = [(1, COUNT + 1, 0, COUNT)]
    assets = [
        asset(put(buckets, tmp_path / "x.h5"), spans),
        asset(zarr_in(buckets, tmp_path, 3), spans, mimetype="application/x-zarr", path="data"),
    ]
    several = [opened(each, key(4, 6), COUNT, storage_options=options(buckets.endpoint)) for each in assets]
    several.append(array(sequence_in(buckets, tmp_path), buckets.endpoint))
    assert all(np.array_equal(each.read(), frames(COUNT)) for each in several)
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_in_child, args=(several, queue))
    child.start()
    try:
        assert queue.get(timeout=60) == [True, True, True]
    finally:
        child.kill()
        child.join()


def _in_child(several: list[AssetArray], queue: Any) -> None:
    queue.put([bool(np.array_equal(each.read(), frames(COUNT))) for each in several])
