"""Files of detectors, copied into buckets, from one into another, and back onto this machine."""

from __future__ import annotations

import hashlib
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import uuid4

import h5py
import numpy as np
import pytest

from intake_bluesky import BlueskyCatalog, ingest
from intake_bluesky.errors import CopyFailed, UnsupportedOperation
from intake_bluesky.objects import objects_at
from intake_bluesky.testing import EXAMPLES, MemoryStore, RunComposer, data_key
from intake_bluesky.testing.asset_runs import stream_hdf5
from intake_bluesky.testing.examples import Run
from intake_bluesky.transfer.assets import file_places
from intake_bluesky_bucket import BlueskyBucketCatalog
from intake_bluesky_jsonl import BlueskyJSONLCatalog
from intake_bluesky_zarr import BlueskyZarrCatalog
from tests.servers.s3 import KEY, SECRET, Buckets
from tests.transfer.packed_runs import all_runs, catalog, differing, read_all, streamed

pytestmark = pytest.mark.slow


@pytest.fixture
def options(buckets: Buckets) -> dict[str, Any]:
    return {"key": KEY, "secret": SECRET, "client_kwargs": {"endpoint_url": buckets.endpoint}}


@pytest.fixture
def prefix() -> str:
    return f"s3://private/copy-{uuid4().hex}"


def names_below(folder: str, options: dict[str, Any]) -> list[str]:
    objects, name = objects_at(folder, options)
    try:
        return [info.name.removeprefix(f"{name}/") for info in objects.list(name, "**")]
    except FileNotFoundError:
        return []


def sha256(url: str, options: dict[str, Any]) -> str:
    objects, name = objects_at(url, options)
    return hashlib.sha256(objects.get(name)[0]).hexdigest()


@pytest.mark.parametrize("driver", [BlueskyBucketCatalog, BlueskyZarrCatalog])
def test_from_disk_to_bucket_to_bucket_to_disk(
    driver: Any, prefix: str, options: dict[str, Any], tmp_path: Path
) -> None:
    """Values stay what they were, with each copy's own `root_map` alone."""
    made = [EXAMPLES[name](tmp_path / "data" / name) for name in ("npy_seq", "stream_hdf5", "two_files")]
    kinds = {"arrays": "never"} if driver is BlueskyZarrCatalog else {}
    source = catalog(*made) if driver is BlueskyBucketCatalog else catalog(*all_runs(tmp_path / "all"))
    before = read_all(source)
    first = driver(prefix, storage_options=options, **kinds)
    report = ingest.copy(source, into=first, assets="copy", unfinished="copy")
    assert not report.refused
    assert report.files
    assert all(target.startswith(f"{prefix}/assets") for target in report.root_map.values())
    for one in report.files:
        assert one.copy.startswith(f"{prefix}/assets/")
        assert sha256(one.copy, options) == one.sha256
    for secret in (KEY, SECRET):
        assert secret not in repr(report) + json.dumps(report.to_dict()) + report._repr_html_()
    assert not [name for name in names_below(prefix, options) if name.endswith(".part")]
    again = ingest.copy(source, into=first, assets="copy", unfinished="copy")
    assert not [one for one in again.files if one.new]
    assert again.root_map == report.root_map
    for folder in ("data", "all"):
        if (tmp_path / folder).exists():
            (tmp_path / folder).rename(tmp_path / f"{folder} is gone")
    there = driver(prefix, storage_options=options, root_map=report.root_map, **kinds)
    read = read_all(there)
    # Of a file in a bucket, links to other folders are not followed, which reading says.
    above = [key for key in differing(before, read) if read[key] == "UntrustedName"]
    assert differing(before, read) == above
    assert len(above) == (2 if driver is BlueskyZarrCatalog else 0)
    if driver is BlueskyZarrCatalog:
        return
    other = ingest.copy(there, into=BlueskyCatalog(MemoryStore(), storage_options=options), assets="copy",
                        assets_into=f"{prefix}-other").check()  # fmt: skip
    assert differing(before, read_all(catalog(*made, root_map=other.root_map, storage_options=options))) == []
    back = ingest.copy(there, into=BlueskyJSONLCatalog(str(tmp_path / "back")), assets="copy").check()
    assert sorted(one.sha256 for one in back.files) == sorted(one.sha256 for one in report.files)
    here = BlueskyJSONLCatalog(str(tmp_path / "back"), root_map=back.root_map)
    assert differing(before, read_all(here)) == []


def large_run(folder: Path, size: int) -> Run:
    """A run with one file of frames of so many MiB, that compress to nothing less."""
    folder.mkdir(parents=True, exist_ok=True)
    chance = np.random.default_rng(7)
    with h5py.File(folder / "large.h5", "w") as file:
        frames = file.create_dataset("data", (size, 512, 1024), "u2", chunks=(1, 512, 1024))
        for number in range(size):
            frames[number] = chance.integers(0, 1 << 16, (512, 1024), "u2")
    run = RunComposer("large")
    primary = run.descriptor({"image": data_key("array", [1, 512, 1024], external="STREAM:", dtype_numpy="<u2")})
    uri = f"file://localhost{folder}/large.h5"
    image = run.stream_resource("image", mimetype="application/x-hdf5", uri=uri, dataset="data", chunk_shape=[1])
    run.stream_datum(image, primary, (1, size + 1))
    run.stop()
    return run.documents


def test_large_file_is_put_in_parts_and_gets_its_name_last(
    prefix: str, options: dict[str, Any], tmp_path: Path
) -> None:
    source = catalog(large_run(tmp_path / "data", 20))
    into = BlueskyBucketCatalog(prefix, storage_options=options)
    objects, _ = objects_at(f"{prefix}/assets", options)
    report = ingest.copy(source, into=into, assets="copy").check()
    [copied] = report.files
    assert copied.size > 20 << 20
    assert sha256(copied.copy, options) == copied.sha256
    assert [one for one in names_below(prefix, options) if "large" in one] == [copied.copy.removeprefix(f"{prefix}/")]
    tag = objects.head(objects.name_of(copied.copy)).tag
    [again] = ingest.copy(source, into=into, assets="copy").check().files
    assert not again.new
    assert objects.head(objects.name_of(copied.copy)).tag == tag
    read = BlueskyBucketCatalog(prefix, storage_options=options, root_map=report.root_map)[-1].primary.read()
    assert read.identical(source[-1].primary.read())
    # From a bucket into another, what is read there is put as it comes.
    there = BlueskyBucketCatalog(prefix, storage_options=options, root_map=report.root_map)
    other = BlueskyBucketCatalog(f"{prefix}-other", storage_options=options)
    [onward] = ingest.copy(there, into=other, assets="copy").check().files
    assert onward.new
    assert sha256(onward.copy, options) == copied.sha256


@pytest.mark.parametrize("small", [True, False])
def test_another_file_in_the_bucket_is_kept(
    small: bool, prefix: str, options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not small:
        monkeypatch.setattr(file_places, "BLOCK", 1000)
    source = catalog(stream_hdf5(tmp_path / "data"))
    report = ingest.copy(source, into=BlueskyBucketCatalog(prefix, storage_options=options), assets="copy").check()
    objects, _ = objects_at(prefix, options)
    [first, _] = (objects.name_of(one.copy) for one in report.files)
    objects.put(first, b"mine")
    for has in (True, False):
        if not has:  # it comes after this copy has looked
            monkeypatch.setattr(file_places._ObjectPlace, "has", lambda self, path: False)
        into = BlueskyBucketCatalog(f"{prefix}-{has}", storage_options=options)
        again = ingest.copy(source, into=into, assets="copy", assets_into=f"{prefix}/assets")
        assert again.copied == []
        assert "another file" in "".join(again.refused.values())
        assert objects.get(first)[0] == b"mine"
    assert not [name for name in names_below(prefix, options) if name.endswith(".part")]


def test_copies_at_once_into_one_place(
    prefix: str, options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_places, "BLOCK", 1000)  # the way of large files
    source = catalog(stream_hdf5(tmp_path / "data"))

    def copy(number: int) -> ingest.CopyReport:
        into = BlueskyCatalog(MemoryStore(), storage_options=options)
        return ingest.copy(source, into=into, assets="copy", assets_into=prefix).check()

    with ThreadPoolExecutor(4) as pool:
        reports = list(pool.map(copy, range(4)))
    assert sum(one.new for report in reports for one in report.files) >= 2
    assert len(names_below(prefix, options)) == 2
    for one in reports[0].files:
        assert sha256(one.copy, options) == one.sha256


def test_names_with_spaces_quotes_and_letters_of_all_kinds(
    prefix: str, options: dict[str, Any], tmp_path: Path
) -> None:
    names = ["a b.h5", "50%.h5", "a%20b.h5", "Probe-µ-ü-試.h5", "x#y?z.h5", "q=1&r+s;t.h5"]
    runs = [streamed(name, _written(tmp_path / "data" / name)) for name in names]
    source = catalog(*runs)
    before = read_all(source)
    into = BlueskyBucketCatalog(prefix, storage_options=options)
    report = ingest.copy(source, into=into, assets="copy").check()
    assert sorted(names_below(prefix + "/assets", options)) == sorted(
        os.path.join(str(tmp_path / "data")[1:], name) for name in names
    )
    (tmp_path / "data").rename(tmp_path / "gone")
    there = BlueskyBucketCatalog(prefix, storage_options=options, root_map=report.root_map)
    assert differing(before, read_all(there)) == []


def _written(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        seed = sum(map(ord, path.name))
        file["entry/data/data"] = np.arange(seed, seed + 72, dtype="<u2").reshape(3, 4, 6)
    return path


def test_bucket_that_may_not_be_written_ends_the_copy(buckets: Buckets, tmp_path: Path) -> None:
    source = catalog(stream_hdf5(tmp_path / "data"))
    anonymous = {"anon": True, "client_kwargs": {"endpoint_url": buckets.endpoint}}
    into = BlueskyCatalog(MemoryStore(), storage_options=anonymous)
    with pytest.raises(CopyFailed, match=r"copying stopped.*0 runs copied") as caught:
        ingest.copy(source, into=into, assets="copy", assets_into="s3://public/nobody")
    assert caught.value.report.copied == []


def test_places_that_take_no_files_are_refused_at_once(tmp_path: Path) -> None:
    source, into = catalog(stream_hdf5(tmp_path / "data")), BlueskyCatalog(MemoryStore())
    with pytest.raises(UnsupportedOperation, match="web server"):
        ingest.copy(source, into=into, assets="copy", assets_into="https://host/files")
    with pytest.raises(UnsupportedOperation, match="holds a secret") as caught:
        ingest.copy(source, into=into, assets="copy", assets_into="ftp://me:hunter2@host/files")
    assert "hunter2" not in str(caught.value)
