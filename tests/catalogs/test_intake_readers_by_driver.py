"""Readers of runs in every kind of store, which another process in another folder opens; none holds credentials."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import dask.base
import intake
import numpy as np
import pytest
import xarray as xr
from intake.readers.entry import Catalog as ReaderCatalog

from intake_bluesky import open_catalog
from intake_bluesky.catalogs.run import BlueskyRun
from intake_bluesky.errors import UnsupportedOperation
from intake_bluesky.testing.memory import MemoryStore
from intake_bluesky.testing.runs import EXAMPLES
from tests.catalogs.other_processes import in_another_process, write
from tests.servers.postgres import GUARDED, PASSWORD, Postgres


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("INTAKE_BLUESKY_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


KINDS = {
    "jsonl": ("bluesky-jsonl-catalog", "runs"),
    "msgpack": ("bluesky-msgpack-catalog", "runs"),
    "sqlite": ("bluesky-sql-catalog", "runs.db"),
    "sqlite by its URI": ("bluesky-sql-catalog", "sqlite:///runs.db"),
    "bucket": ("bluesky-bucket-catalog", "runs"),
    "zarr": ("bluesky-zarr-catalog", "runs"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_another_process_reads_the_same(kind: str, here: Path) -> None:
    driver, place = KINDS[kind]
    run = write(open_catalog(place, driver=driver), EXAMPLES["scan"](here))[-1]
    saved = ReaderCatalog()
    streams = {"all": run.primary, "some": run.primary(include="det"), "times": run.primary.timestamps}
    for name, stream in streams.items():
        saved[name] = stream.reader()
        assert saved[name].read().identical(stream.to_dask())
        assert dask.base.is_dask_collection(saved[name].to_dask()["det"])
    saved.to_yaml_file("saved.yaml")
    found = in_another_process(here / "saved.yaml", *streams)
    for name, stream in streams.items():
        token, dataset = found[name]
        assert token == stream.reader().token
        assert dataset == json.loads(json.dumps(stream.read().to_dict()))


def test_of_mongodb(database_uri: str, here: Path) -> None:
    options: dict[str, Any] = {"driver": "bluesky-mongo-normalized-catalog", "writable": True}
    run = write(open_catalog(database_uri, **options), EXAMPLES["scan"](here))[-1]
    saved = ReaderCatalog()
    saved["scan"] = run.primary.reader()
    saved.to_yaml_file("saved.yaml")
    token, dataset = in_another_process(here / "saved.yaml", "scan")["scan"]
    assert token == saved["scan"].token
    assert dataset["data_vars"]["det"]["data"] == run.primary.read()["det"].values.tolist()


@pytest.mark.parametrize(
    ("driver", "place", "options"),
    [
        ("bluesky-mongo-normalized-catalog", "mongodb://me:hunter2@localhost/runs", {}),
        ("bluesky-sql-catalog", "postgresql://me@localhost/runs?sslpassword=hunter2", {}),
        ("bluesky-jsonl-catalog", ["/data", "https://me:hunter2@localhost/runs.jsonl"], {}),
        ("bluesky-jsonl-catalog", "https://localhost/runs.jsonl?sig=hunter2hunter2", {}),
        ("bluesky-bucket-catalog", "s3://bucket/runs", {"storage_options": {"key": "me", "secret": "hunter2"}}),
        ("bluesky-jsonl-catalog", "/data", {"root_map": {"/a": "https://me:hunter2@localhost/a"}}),
    ],
)
def test_credentials_are_not_in_readers(driver: str, place: Any, options: dict[str, Any], here: Path) -> None:
    catalog = open_catalog(place, driver=driver, **options)
    header = MemoryStore([EXAMPLES["scan"](here)])
    for one in (catalog, intake.open_bluesky_federated_catalog({"lab": catalog})):
        run = BlueskyRun(header, next(header.find()))
        run.cat = one
        with pytest.raises(UnsupportedOperation, match="was opened with credentials in ") as caught:
            run.reader()
        assert "hunter2" not in str(caught.value)


def test_of_postgresql_by_a_file_that_has_the_password(
    postgres: Postgres, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = postgres.uri().replace("postgres@", f"{GUARDED}:{PASSWORD}@")
    run = write(open_catalog(uri, driver="bluesky-sql-catalog"), EXAMPLES["scan"](here))[-1]
    with pytest.raises(UnsupportedOperation, match=r"credentials in uri, .*\{\{ env\(NAME\) \}\}"):
        run.primary.reader()
    (here / "lab.yml").write_text("sources: {runs: {driver: bluesky-sql-catalog, args: {uri: '{{ env(RUNS_URI) }}'}}}")
    monkeypatch.setenv("RUNS_URI", uri)
    saved = ReaderCatalog()
    saved["scan"] = open_catalog("lab.yml").runs[-1].primary.reader()
    saved.to_yaml_file("saved.yaml")
    assert PASSWORD not in (here / "saved.yaml").read_text()
    token, dataset = in_another_process(here / "saved.yaml", "scan")["scan"]
    assert token == saved["scan"].token
    assert dataset["data_vars"]["det"]["data"] == run.primary.read()["det"].values.tolist()


def test_of_simulations(here: Path) -> None:
    (here / "sims").mkdir()
    for number in (1.0, 2.0):
        xr.Dataset({"det": ("time", np.arange(3) * number)}).to_netcdf(f"sims/a_{number}.nc", engine="h5netcdf")
    driver = "bluesky-simulation-catalog"
    (here / "sims.yml").write_text(f"sources: {{sims: {{driver: {driver}, args: {{paths: 'sims/a_{{a:f}}.nc'}}}}}}")
    saved = ReaderCatalog()
    expected = {}
    by_file = open_catalog("sims.yml").sims
    for name, catalog in (("folder", open_catalog("sims", driver=driver)), ("pattern", by_file)):
        saved[name] = catalog[-1].primary.reader()
        expected[name] = catalog[-1].primary.read()["det"].values.tolist()
    assert saved["pattern"].kwargs["catalog"] == {"file": str(here / "sims.yml"), "entry": "sims"}
    saved.to_yaml_file("saved.yaml")
    again = intake.open_catalog("saved.yaml")
    for name, values in expected.items():
        assert again[name].token == saved[name].token
        assert again[name].read()["det"].values.tolist() == values
    assert in_another_process(here / "saved.yaml", "folder")["folder"][0] == saved["folder"].token
    with pytest.raises(UnsupportedOperation, match="Where the braces are meant, write a YAML file"):
        open_catalog("sims/a_{a:f}.nc", driver=driver)[-1].reader()


def test_a_saved_catalog_opens_from_another_folder(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number, (driver, place) in enumerate(KINDS.values()):
        catalog = write(open_catalog(place.replace("runs", f"{number}"), driver=driver), EXAMPLES["scan"](here))
        catalog.save(str(here / "saved.yml"))
        (here / "elsewhere").mkdir(exist_ok=True)
        with monkeypatch.context() as elsewhere:
            elsewhere.chdir(here / "elsewhere")
            (again,) = open_catalog(here / "saved.yml").values()
            assert list(again) == list(catalog)
            assert len(again) == 1
