"""The shipped catalogs of servers, and the one of all together, on real servers, by what the files themselves offer."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import intake
import numpy as np
import pytest
import s3fs  # type: ignore[import-untyped]  # it ships no types
from pymongo import MongoClient
from pymongo.database import Database

from intake_bluesky import BlueskyCatalog, Start, open_catalog
from intake_bluesky.errors import SourceLeftOutWarning, StoreUnavailable
from intake_bluesky.testing.compose import RunComposer, data_key
from intake_bluesky_mongo import NormalizedStore
from tests.drivers.simulated import LATTICE, pattern, write
from tests.servers.mongo import server, uri_of
from tests.servers.postgres import GUARDED, PASSWORD, Postgres
from tests.servers.s3 import Buckets

pytestmark = pytest.mark.slow
CATALOGS = Path(__file__).parents[2] / "catalogs"
SITES = {"": "{beside}", "laptop": "{beside}", "cluster": "/gpfs/beamline", "cloud": "s3://beamline"}
"""Where a site has the detectors' files of /beamline."""


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Keep what this machine has in its environment away."""
    for name in list(os.environ):
        if name.startswith(("AWS_", "BLUESKY_", "MONGO_", "PG")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("INTAKE_BLUESKY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    s3fs.S3FileSystem.clear_instance_cache()
    yield
    s3fs.S3FileSystem.clear_instance_cache()


@pytest.fixture
def catalogs(tmp_path: Path) -> Path:
    """The shipped files, as they are, in a folder with room beside it."""
    return Path(shutil.copytree(CATALOGS, tmp_path / "catalogs"))


@pytest.fixture
def mongo_variables(
    mongodb: str, database: Database[dict[str, Any]], database_uri: str, monkeypatch: pytest.MonkeyPatch
) -> str:
    """Say where a database of MongoDB is, and give its URI."""
    monkeypatch.setenv("MONGO_HOST", mongodb.removeprefix("mongodb://"))
    monkeypatch.setenv("MONGO_DATABASE", database.name)
    return database_uri


@pytest.fixture
def postgres_variables(postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    """Say where a database of PostgreSQL is, to a user with a password."""
    monkeypatch.setenv("PGHOST", str(postgres.socket))
    monkeypatch.setenv("PGDATABASE", postgres.uri().partition("?")[0].rpartition("/")[2])
    monkeypatch.setenv("PGUSER", GUARDED)
    monkeypatch.setenv("PGPASSWORD", PASSWORD)


@pytest.fixture
def bucket_variables(buckets: Buckets, monkeypatch: pytest.MonkeyPatch) -> Buckets:
    """Say where folders of a bucket are, and by which key."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", buckets.endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", buckets.key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", buckets.secret)
    monkeypatch.setenv("BLUESKY_BUCKET", f"s3://private/{uuid4().hex}/runs")
    monkeypatch.setenv("BLUESKY_ZARR", f"s3://private/{uuid4().hex}/zarr")
    return buckets


def run_of(name: str, *, status: str = "success", time: float = 1.7e9) -> list[tuple[str, dict[str, Any]]]:
    """A run with a frame in a file of /beamline, which has moved."""
    run = RunComposer(name, time=time, where=name)
    primary = run.descriptor({"image": data_key("array", [1, 2, 2], external="FILESTORE:")})
    resource = run.resource("NPY_SEQ", root="/beamline", path="image")
    run.event(primary, {"image": run.datum(resource, 0, index=0)})
    run.stop(exit_status=status)
    return run.documents


def write_into(catalog: BlueskyCatalog, *runs: list[tuple[str, dict[str, Any]]]) -> None:
    with catalog.writer() as write:
        for run in runs:
            for name, doc in run:
                write(name, doc)
    catalog.store.close()


def places(catalog: Any) -> list[str]:
    return [run.start["where"] for run in catalog.values()]


def test_a_database_of_mongodb(catalogs: Path, mongo_variables: str) -> None:
    store = NormalizedStore(mongo_variables, writable=True)
    assert list(store.insert_runs([run_of("good"), run_of("bad", status="fail", time=1.8e9)])) == [None, None]
    store.close()
    for opens in (open_catalog, intake.open_catalog):
        catalog = opens(str(catalogs / "facility-mongodb.yml"))
        assert places(catalog["runs"]) == ["bad", "good"]
        assert places(catalog["failed"]) == ["bad"]
        assert len(catalog["runs"](database="another")) == 0, "what is given comes before the environment"
    nowhere = {"host": "127.0.0.1:1", "database": "runs?serverSelectionTimeoutMS=50"}
    with pytest.raises(StoreUnavailable, match=r"127\.0\.0\.1:1/runs.* does not answer"):
        len(open_catalog(catalogs / "facility-mongodb.yml")["runs"](**nowhere))


def test_a_database_of_mongodb_with_users(catalogs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with server() as started:
        with MongoClient[dict[str, Any]](started.uri) as client:
            client["runs"].command("createUser", "reader", pwd="right", roles=[{"role": "read", "db": "runs"}])
        store = NormalizedStore(uri_of(started.uri, "runs"), writable=True)
        assert list(store.insert_runs([run_of("good")])) == [None]
        store.close()
        started.stop(signal.SIGTERM)
        started.start("--auth")
        monkeypatch.setenv("MONGO_HOST", started.uri.removeprefix("mongodb://"))
        monkeypatch.setenv("MONGO_DATABASE", "runs")
        monkeypatch.setenv("MONGO_USER", "reader")
        runs = open_catalog(catalogs / "facility-mongodb.yml")["runs"]
        with pytest.raises(StoreUnavailable, match="set the environment variable MONGO_PASSWORD"):
            len(runs)
        monkeypatch.setenv("MONGO_PASSWORD", "right")
        assert places(runs) == ["good"]
        assert "right" not in runs.yaml() + repr(runs) + str(runs.describe())
        runs.store.close()


@pytest.mark.usefixtures("postgres_variables")
def test_a_database_of_postgresql(catalogs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    catalog = open_catalog(catalogs / "group-postgresql.yml")["runs"]
    write_into(catalog, run_of("group"))
    assert places(intake.open_catalog(str(catalogs / "group-postgresql.yml")).runs) == ["group"]
    assert PASSWORD not in catalog.yaml() + repr(catalog) + str(catalog.describe())
    monkeypatch.setenv("PGPASSWORD", "wrong")
    with pytest.raises(StoreUnavailable, match="password authentication failed"):
        len(open_catalog(catalogs / "group-postgresql.yml")["runs"])


@pytest.mark.usefixtures("bucket_variables")
@pytest.mark.parametrize("name", ["bucket.yml", "zarr-archive.yml"])
def test_buckets(catalogs: Path, name: str, tmp_path: Path) -> None:
    write_into(open_catalog(catalogs / name)["archive"], run_of("bucket"))
    for opens in (open_catalog, intake.open_catalog):
        assert places(opens(str(catalogs / name))["archive"]) == ["bucket"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "catalogs"], "nothing was written beside it"


@pytest.mark.parametrize("opens", [open_catalog, intake.open_catalog])
@pytest.mark.parametrize("site", SITES)
@pytest.mark.parametrize(("name", "folder"), [
    ("laptop.yml:runs", "laptop-data"), ("facility-mongodb.yml:runs", "facility-data"),
    ("group-postgresql.yml:runs", "group-data"), ("bucket.yml:archive", "bucket-data"),
])  # fmt: skip
def test_each_site_has_its_files_elsewhere(
    catalogs: Path, opens: Any, site: str, name: str, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a parameter of the file, of the source, of the federation, and by the environment."""
    expected = {"/beamline": SITES[site].format(beside=catalogs.parent / folder / "beamline")}
    file, _, entry = name.partition(":")
    monkeypatch.setenv("BLUESKY_SITE", "cluster" if site != "cluster" else "cloud")
    alone, whole = opens(str(catalogs / file)), opens(str(catalogs / "facility.yml"))
    found = [alone(site=site)[entry], alone[entry](site=site)]
    for federation in (whole(site=site).all, whole.all(site=site), whole(site=site).failed.sources["all"]):
        sources = federation.sources
        found += [sources[one] for one, opener in federation.store.sources.openers.items() if opener.given == name]
    assert len(found) == 5
    assert [dict(one.root_map) for one in found] == [expected] * 5
    if site:
        monkeypatch.setenv("BLUESKY_SITE", site)
        assert dict(opens(str(catalogs / file))[entry].root_map) == expected


def test_a_site_that_there_is_none_of(catalogs: Path) -> None:
    whole = open_catalog(catalogs / "facility.yml")
    for ask in (lambda: whole(site="moon").all, lambda: whole.all(site="moon")):
        with pytest.raises(StoreUnavailable, match="site=moon is not one of the allowed values"):
            ask()  # type: ignore[no-untyped-call]


@pytest.fixture
def facility(
    catalogs: Path, tmp_path: Path, mongo_variables: str, postgres_variables: None, bucket_variables: Buckets
) -> Path:
    """Runs in all of them: one each, and one that the laptop and the bucket both have."""
    write_into(open_catalog(catalogs / "laptop.yml")["runs"], run_of("laptop"), run_of("both"))
    store = NormalizedStore(mongo_variables, writable=True)
    assert list(store.insert_runs([run_of("database", status="fail")])) == [None]
    store.close()
    write_into(open_catalog(catalogs / "group-postgresql.yml")["runs"], run_of("group"))
    write_into(open_catalog(catalogs / "bucket.yml")["archive"], run_of("bucket"), run_of("both"))
    write_into(open_catalog(catalogs / "zarr-archive.yml")["archive"], run_of("zarr"))
    (tmp_path / "simulations").mkdir()
    for a in LATTICE:
        write(pattern(a), tmp_path / "simulations" / f"Si_a_{a}.nc")
    return catalogs / "facility.yml"


WHERE = ["both", "bucket", "database", "group", "laptop", "zarr"]
COUNTS = {"laptop": 2, "database": 1, "group": 1, "bucket": 2, "zarr": 1, "simulations": 3}


@pytest.mark.parametrize("opens", [open_catalog, intake.open_catalog])
def test_all_of_a_facility(facility: Path, opens: Any) -> None:
    catalog = opens(str(facility))
    assert set(catalog.all.sources.states.values()) == {"not opened yet"}
    assert sorted(places(catalog.experiments)) == WHERE
    assert len(catalog.all) == len(WHERE) + len(LATTICE)
    assert catalog.all.sources.counts() == COUNTS
    assert catalog.all.problems == ()
    assert places(catalog.failed) == places(catalog.database.failed) == ["database"]
    assert [run.origin.source for run in catalog.failed.values()] == ["all/database"]
    assert [run.origin.source for run in catalog.all.search(Start("parameters.a") > 5.435).values()] == ["simulations"]


def test_files_are_found_on_a_laptop_and_in_the_cloud(
    facility: Path, tmp_path: Path, bucket_variables: Buckets
) -> None:
    for folder in ("laptop-data", "facility-data", "group-data", "bucket-data"):
        (tmp_path / folder / "beamline").mkdir(parents=True)
        np.save(tmp_path / folder / "beamline" / "image_0.npy", np.full((2, 2), 1))
    client = bucket_variables.client
    client.create_bucket(Bucket="beamline")
    client.upload_file(str(tmp_path / "laptop-data" / "beamline" / "image_0.npy"), "beamline", "image_0.npy")
    catalog = open_catalog(facility)
    for site in ("laptop", "cloud"):
        runs = catalog(site=site).all.search(Start("where").is_in(["laptop", "database", "group"]))
        assert [int(run.primary.read()["image"].sum()) for run in runs.values()] == [4, 4, 4]
        shutil.rmtree(tmp_path / "facility-data" / "beamline", ignore_errors=True)


def test_what_is_not_there_is_left_out_and_told(facility: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPASSWORD", "wrong")
    catalog = open_catalog(facility)["experiments"]
    with pytest.warns(SourceLeftOutWarning, match="source 'group' of the federation cannot be read"):
        assert sorted(places(catalog)) == [where for where in WHERE if where != "group"]
    assert [problem.where for problem in catalog.problems] == ["all: group"]


def test_the_same_files_in_a_bucket(
    facility: Path, bucket_variables: Buckets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trusted, for they name servers and folders of the user's, and send the user's keys."""
    place = uuid4().hex
    for path in facility.parent.iterdir():
        bucket_variables.client.upload_file(str(path), "private", f"{place}/{path.name}")
    for a in LATTICE:
        output = tmp_path / "simulations" / f"Si_a_{a}.nc"
        bucket_variables.client.upload_file(str(output), "private", f"{place}/sims/{output.name}")
    monkeypatch.setenv("BLUESKY_RUNS", str(tmp_path / "laptop-data" / "runs"))
    monkeypatch.setenv("BLUESKY_SIMULATIONS", f"s3://private/{place}/sims")
    catalog = open_catalog(f"s3://private/{place}/facility.yml", trust=True)
    assert sorted(places(catalog.experiments)) == WHERE
    assert catalog.all.sources.counts() == COUNTS
    found = catalog(site="cloud").all.sources["laptop"]
    assert dict(found.root_map) == {"/beamline": "s3://beamline"}
