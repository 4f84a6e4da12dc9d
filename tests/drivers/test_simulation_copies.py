"""Simulations copied into every catalog that is written, where they read back as they do from their outputs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
import xarray as xr
from pymongo import MongoClient

from intake_bluesky import BlueskyCatalog, Start, ingest
from intake_bluesky.catalogs.federated import BlueskyFederatedCatalog
from intake_bluesky_bucket import BlueskyBucketCatalog
from intake_bluesky_mongo import EmbeddedStore, NormalizedStore
from intake_bluesky_msgpack import BlueskyMsgpackCatalog
from intake_bluesky_simulation import BlueskySimulationCatalog
from intake_bluesky_sql import SQLStore
from intake_bluesky_zarr import BlueskyZarrCatalog
from tests.drivers.mongo_stores import EAGER
from tests.drivers.simulated import sweep, write
from tests.servers.mongo import new_database, uri_of
from tests.servers.postgres import Postgres
from tests.servers.s3 import KEY, SECRET, Buckets


@pytest.fixture
def sims(tmp_path: Path) -> BlueskySimulationCatalog:
    """A sweep with an axis that is the same for all events, too large for a descriptor, and a group beside it."""
    path = write(sweep(), tmp_path / "sweep.nc")
    images = xr.Dataset({"image": (("a", "y", "x"), np.arange(9000.0).reshape(3, 3, 1000))}, {"x": np.arange(1000.0)})
    images.to_netcdf(path, engine="h5netcdf", mode="a", group="images")
    return BlueskySimulationCatalog(path, sweep="a", program="powder", models=Start("sample") == "Si")


def check(sims: BlueskySimulationCatalog, into: BlueskyCatalog) -> None:
    ingest.copy(sims, into=into)
    assert set(into.refresh()) == set(sims)
    for uid in sims:
        assert list(into[uid]) == list(sims[uid]) == ["primary", "images_shared", "images"]
        assert into[uid].start == sims[uid].start
        for stream in ("primary", "images"):
            xr.testing.assert_identical(into[uid][stream].read(), sims[uid][stream].read())
            xr.testing.assert_identical(into[uid][stream].to_dask().compute(), sims[uid][stream].to_dask().compute())
    assert len(into.search(Start("parameters.a") > 5.43)) == 1
    into.store.close()


FILES: dict[str, Any] = {
    "msgpack": BlueskyMsgpackCatalog,
    "sqlite": lambda folder: BlueskyCatalog(SQLStore(f"sqlite:///{folder}.db")),
    "bucket": BlueskyBucketCatalog,
    "zarr": lambda folder: BlueskyZarrCatalog(folder, arrays="always"),
}


@pytest.mark.parametrize("kind", FILES)
def test_into_files(sims: BlueskySimulationCatalog, tmp_path: Path, kind: str) -> None:
    check(sims, FILES[kind](str(tmp_path / "copies")))


@pytest.mark.slow
def test_into_postgresql(sims: BlueskySimulationCatalog, postgres: Postgres) -> None:
    check(sims, BlueskyCatalog(SQLStore(postgres.uri())))


@pytest.fixture(params=[NormalizedStore, EmbeddedStore])
def mongo(
    request: pytest.FixtureRequest, mongodb: str, mongo_client: MongoClient[dict[str, Any]]
) -> Iterator[BlueskyCatalog]:
    with new_database(mongo_client) as database:
        yield BlueskyCatalog(request.param(uri_of(mongodb, database.name), writable=True, buffering=EAGER))


@pytest.mark.slow
def test_into_mongodb(sims: BlueskySimulationCatalog, mongo: BlueskyCatalog) -> None:
    check(sims, mongo)


@pytest.mark.slow
def test_into_a_bucket(sims: BlueskySimulationCatalog, buckets: Buckets) -> None:
    options = {"key": KEY, "secret": SECRET, "client_kwargs": {"endpoint_url": buckets.endpoint}}
    check(sims, BlueskyZarrCatalog(f"s3://private/copies-{uuid4().hex}", storage_options=options, arrays="always"))


def test_a_federation_shows_a_copy_and_its_output_once(sims: BlueskySimulationCatalog, tmp_path: Path) -> None:
    kept = BlueskyMsgpackCatalog(str(tmp_path / "copies"))
    ingest.copy(sims, into=kept)
    both = BlueskyFederatedCatalog({"sims": sims, "kept": kept})
    assert set(both) == set(sims)
    run = both.search(Start("parameters.a") == 5.44)[-1]
    assert run.origin.source == "sims"
    xr.testing.assert_identical(run.primary.read(), kept[run.uid].primary.read())
    kept.store.close()
