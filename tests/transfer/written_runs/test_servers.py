"""Datasets written as runs into databases and buckets, and from there into other catalogs."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from uuid import uuid4

import dask.array as da
import numpy as np
import pytest
import xarray as xr
from pymongo import MongoClient

from intake_bluesky import BlueskyCatalog, ingest, open_catalog
from intake_bluesky.errors import DuplicateRun
from intake_bluesky.objects import objects_at
from intake_bluesky.transfer.assets import file_places
from intake_bluesky_bucket import BlueskyBucketCatalog
from intake_bluesky_jsonl import BlueskyJSONLCatalog
from intake_bluesky_mongo import EmbeddedStore, NormalizedStore
from intake_bluesky_sql import SQLStore
from intake_bluesky_zarr import BlueskyZarrCatalog
from tests.datasets.stored_datasets.drawn_datasets import assert_same, datasets, everything
from tests.drawn import drawn
from tests.drivers.mongo_stores import EAGER
from tests.servers.mongo import new_database, uri_of
from tests.servers.postgres import Postgres
from tests.servers.s3 import KEY, SECRET, Buckets
from tests.transfer.written_runs.test_write_run import KINDS, broken, images

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture
def options(buckets: Buckets) -> dict[str, Any]:
    return {"key": KEY, "secret": SECRET, "client_kwargs": {"endpoint_url": buckets.endpoint}}


@pytest.fixture
def databases(postgres: Postgres, mongodb: str, mongo_client: MongoClient[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    with ExitStack() as stack:
        uris = [uri_of(mongodb, stack.enter_context(new_database(mongo_client)).name) for _ in range(3)]
        stores = {
            "PostgreSQL": SQLStore(postgres.uri()),
            "MongoDB": NormalizedStore(uris[0], writable=True, buffering=EAGER),
            "MongoDB, pages": NormalizedStore(uris[1], writable=True, event_pages=True, buffering=EAGER),
            "MongoDB, embedded": EmbeddedStore(uris[2], writable=True, buffering=EAGER),
        }
        yield {name: BlueskyCatalog(store) for name, store in stores.items()}
        for store in stores.values():
            store.close()


@pytest.fixture
def folders(options: dict[str, Any], tmp_path: Path) -> dict[str, Any]:
    def prefix() -> str:
        return f"s3://private/written-{uuid4().hex}"

    return {
        "bucket": BlueskyBucketCatalog(prefix(), storage_options=options),
        "bucket, MessagePack": BlueskyBucketCatalog(prefix(), format="msgpack", storage_options=options),
        "Zarr in a bucket": BlueskyZarrCatalog(prefix(), storage_options=options),
        "Zarr, always": BlueskyZarrCatalog(prefix(), storage_options=options, arrays="always"),
        "Zarr on disk": BlueskyZarrCatalog(str(tmp_path / "zarr"), arrays="always"),
        "bucket on disk": BlueskyBucketCatalog(str(tmp_path / "bucket")),
        "JSONL": BlueskyJSONLCatalog(str(tmp_path / "jsonl")),
    }


def test_any_dataset_in_every_database(databases: dict[str, Any]) -> None:
    for dataset in [everything(), *drawn(datasets(), 12)]:
        for into in databases.values():
            run = ingest.write_run(dataset, into=into)
            assert_same(run.primary.read(), dataset)
            assert_same(into[run.uid].primary.to_dask().compute(), dataset)


def test_any_dataset_in_every_bucket(folders: dict[str, Any]) -> None:
    for number, dataset in enumerate([*3 * [everything()], *drawn(datasets(), 8)]):
        for into in folders.values():
            run = ingest.write_run(dataset, into=into, arrays=KINDS[number % 3])
            assert_same(run.primary.read(), dataset)
            assert_same(into[run.uid].primary.to_dask().compute(), dataset)


@pytest.mark.parametrize("kind", KINDS)
def test_images_in_every_bucket(kind: Any, folders: dict[str, Any]) -> None:
    for name, into in folders.items():
        run = ingest.write_run(images(time=5), into=into, arrays=kind, check=True, uid="abc")
        xr.testing.assert_identical(run.primary.read(), images())
        [*files] = run.files()
        assert len(files) == (kind != "inline"), name
        assert all(f"{into.store.folder.rstrip('/')}/assets/abc-" in file.path for file in files), name
        lazy = pickle.loads(pickle.dumps(into["abc"].primary.to_dask()))
        xr.testing.assert_identical(lazy.compute(), images())
        with pytest.raises(DuplicateRun, match="abc"):
            ingest.write_run(images(), into=into, arrays=kind, uid="abc")
        into.store.remove("abc", permanent=True)


def test_a_database_names_files_elsewhere(databases: dict[str, Any], tmp_path: Path) -> None:
    for into in databases.values():
        run = ingest.write_run(images(time=5), into=into, arrays="hdf5", files=tmp_path, check=True)
        [file] = run.files()
        assert file.exists
        assert Path(file.path).parent == tmp_path
        xr.testing.assert_identical(run.primary.read(), images())


@pytest.mark.parametrize("kind", ["hdf5", "zarr"])
def test_a_file_that_is_put_in_parts(kind: Any, options: dict[str, Any]) -> None:
    into = BlueskyBucketCatalog(f"s3://private/written-{uuid4().hex}", storage_options=options)
    values = np.random.default_rng(0).normal(size=(24, 256, 512))
    dataset = xr.Dataset({"a": (("t", "y", "x"), values)}).chunk(t=5)
    run = ingest.write_run(dataset, into=into, arrays=kind)
    [file] = run.files()
    assert (file.size or 0) > 2 * file_places.BLOCK
    np.testing.assert_array_equal(into[run.uid].primary.to_dask()["a"][7].values, values[7])
    assert len([name for name in below(str(into.store.folder), options) if "/assets/" in name]) == 1


def below(folder: str, options: dict[str, Any]) -> list[str]:
    objects, name = objects_at(folder, options)
    try:
        return [info.name for info in objects.list(name, "**")]
    except FileNotFoundError:
        return []


def test_a_run_that_cannot_be_written_leaves_nothing_in_a_bucket(options: dict[str, Any]) -> None:
    url = f"s3://private/written-{uuid4().hex}"
    into = BlueskyBucketCatalog(url, storage_options=options)
    ingest.write_run(images(), into=into, arrays="hdf5", uid="abc")
    before = below(url, options)
    assert len([name for name in before if "/assets/" in name]) == 1
    with pytest.raises(DuplicateRun):
        ingest.write_run(images(), into=into, arrays="hdf5", uid="abc")
    assert below(url, options) == before


def test_what_cannot_be_computed_leaves_no_run(databases: dict[str, Any], folders: dict[str, Any]) -> None:
    lazy = xr.Dataset({"a": (("t", "x"), da.ones((4, 300), chunks=(2, -1)).map_blocks(broken, dtype=float))})
    for name, into in (databases | folders).items():
        kept = ingest.write_run(images(), into=into, arrays="inline")
        with pytest.raises(RuntimeError, match="the simulation failed"):
            ingest.write_run(lazy, into=into, arrays="inline", uid="u")
        assert list(into.refresh()) == [kept.uid], name
        assert ingest.write_run(xr.Dataset({"a": 1}), into=into, uid="u").primary.read()["a"] == 1, name


@pytest.mark.parametrize("kind", KINDS)
def test_runs_go_from_catalog_to_catalog(
    kind: Any, databases: dict[str, Any], folders: dict[str, Any], tmp_path: Path
) -> None:
    """The Dataset stays what it is: in copies that link files, or have copies of them, in packs, and embedded."""
    source = BlueskyJSONLCatalog(str(tmp_path / "source"))
    run = ingest.write_run(images(time=5), into=source, arrays=kind)
    for into in databases.values():
        ingest.copy(source, into=into).check()
        xr.testing.assert_identical(into[run.uid].primary.read(), images())
    into = BlueskyBucketCatalog(str(tmp_path / "copied"))
    report = ingest.copy(source, into=into, assets="copy").check()
    copied = BlueskyBucketCatalog(str(tmp_path / "copied"), root_map=report.root_map)
    xr.testing.assert_identical(copied[run.uid].primary.read(), images())
    embedded = folders["Zarr in a bucket"]
    ingest.copy(source, into=embedded, assets="embed").check()
    xr.testing.assert_identical(embedded[run.uid].primary.read(), images())
    pack = str(tmp_path / "runs.zip")
    ingest.pack(source, pack).check()
    ingest.unpack(pack, str(tmp_path / "unpacked")).check()
    unpacked = open_catalog(str(tmp_path / "unpacked" / "catalog.yml"))["runs"]
    xr.testing.assert_identical(unpacked[run.uid].primary.read(), images())
    tree = xr.open_datatree(run.to_zarr(str(tmp_path / "run.zarr")), engine="zarr")
    assert tree["primary/image"].sizes == {"time": 12, "y": 30, "x": 40}
