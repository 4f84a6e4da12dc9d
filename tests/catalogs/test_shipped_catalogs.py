from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from intake_bluesky.apps.demo import silicon_act
from intake_bluesky.apps.demo.tour import CATALOG
from intake_bluesky.catalogs.run_catalog import BlueskyCatalog, open_catalog
from intake_bluesky.catalogs.yaml_files.catalog import YAMLCatalog
from intake_bluesky.testing.runs import EXAMPLES
from tests.drivers.simulated import LATTICE, pattern, sweep, write

CATALOGS = Path(__file__).parents[2] / "catalogs"
FILES = sorted(path.name for path in CATALOGS.iterdir())

RUNS = {
    "bucket.yml": {"archive": "bucket-data/runs"},
    "demo.yml": {"demo": "demo-data/runs"},
    "laptop.yml": {"runs": "laptop-data/runs"},
    "silicon.yml": {"images": "demo-data/silicon/images", "patterns": "demo-data/silicon/patterns"},
    "zarr-archive.yml": {"archive": "zarr-data/runs"},
}
"""File to entry to the folder, beside catalogs/, where its runs lie."""


SIMULATIONS = {"simulations.yml": ["files", "sweep"]}
"""File to entries, which show outputs and cannot be written."""
SERVERS = {
    "facility-mongodb.yml": ["runs", "failed"],
    "facility.yml": ["all", "experiments", "failed", "database"],
    "group-postgresql.yml": ["runs"],
}
"""File to entries, for which `test_facility_catalogs` has the servers."""


def test_every_file_is_here() -> None:
    assert sorted([*RUNS, *SIMULATIONS, *SERVERS]) == FILES


@pytest.mark.parametrize("name", FILES)
def test_opens_where_it_stands(name: str) -> None:
    catalog = open_catalog(str(CATALOGS / name))
    assert set((RUNS | SIMULATIONS | SERVERS)[name]) <= set(catalog)
    assert all(isinstance(catalog[entry], BlueskyCatalog | YAMLCatalog) for entry in catalog)


def test_simulations_lie_beside_it(tmp_path: Path) -> None:
    shutil.copytree(CATALOGS, tmp_path / "catalogs")
    (tmp_path / "simulations").mkdir()
    for a in LATTICE:
        write(pattern(a), tmp_path / "simulations" / f"Si_a_{a}.nc")
    write(sweep(), tmp_path / "simulations" / "Si_sweep.nc")
    catalog = open_catalog(str(tmp_path / "catalogs" / "simulations.yml"))
    for entry in SIMULATIONS["simulations.yml"]:
        runs = catalog[entry].sort("parameters.a")
        assert [run.start["parameters"]["a"] for run in runs.values()] == list(LATTICE)
        assert [run.primary.read()["I"].size for run in runs.values()] == [40] * 3


@pytest.mark.parametrize("name", sorted(RUNS))
def test_shows_the_runs_that_lie_beside_it(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INTAKE_BLUESKY_CACHE", str(tmp_path / "cache"))
    shutil.copytree(CATALOGS, tmp_path / "catalogs")
    for entry, folder in RUNS[name].items():
        (tmp_path / folder).mkdir(parents=True)
        catalog = open_catalog(str(tmp_path / "catalogs" / name))[entry]
        assert len(catalog) == 0
        (_, start), *rest = EXAMPLES["count"](tmp_path)
        with catalog.store.insert(start) as insert:
            for document in rest:
                insert.write(*document)
        assert [run.uid for run in catalog.refresh().selection.runs()] == [start["uid"]]
        assert list((tmp_path / folder).iterdir())


def test_the_demonstration_writes_the_same_catalog() -> None:
    observed = (CATALOGS / "demo.yml").read_text(encoding="utf-8")
    assert observed == CATALOG.format(where="in demo-data beside this folder", runs="../demo-data/runs")
    observed = (CATALOGS / "silicon.yml").read_text(encoding="utf-8")
    where = "in demo-data beside this folder"
    assert observed == silicon_act.CATALOG.format(where=where, folder="../demo-data/silicon")


def test_the_readme_shows_the_catalog_of_the_demonstration() -> None:
    _, _, shown = (CATALOGS / "demo.yml").read_text(encoding="utf-8").partition("\n")
    assert f"```yaml\n{shown}```" in (CATALOGS.parent / "README.md").read_text(encoding="utf-8")
