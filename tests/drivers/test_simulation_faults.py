"""Outputs that change, vanish, or cannot be read; and catalogs of simulations that are not trusted."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import xarray as xr

from intake_bluesky import BlueskyCatalog, open_catalog
from intake_bluesky.errors import DamagedRun, EmptyCatalogWarning, RunNotFound, UntrustedName
from intake_bluesky_simulation import BlueskySimulationCatalog
from tests.drivers.simulated import LATTICE, pattern, sweep, write


def only(catalog: BlueskyCatalog) -> Any:
    [run] = catalog.values()
    return run


def other(path: Path) -> None:
    """Write another output of the same form in the place of one."""
    dataset = pattern(5.6)
    if path.suffix == ".zarr":
        shutil.rmtree(path)
    write(dataset, path.with_name("new" + path.suffix))
    os.replace(path.with_name("new" + path.suffix), path)


@pytest.fixture(params=[".nc", ".zarr"])
def output(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return write(pattern(5.43), tmp_path / f"one{request.param}")


class TestChange:
    """Two versions of an output are never mixed."""

    def test_values_of_a_file_that_changed_are_an_error(self, output: Path) -> None:
        run = only(BlueskySimulationCatalog(output))
        lazy = run.primary.to_dask()
        lazy["I"].compute()
        other(output)
        for name in ("I", "label"):
            with pytest.raises(DamagedRun, match=r"open the run again|open it again"):
                lazy[name].compute()
        for describe in (run.primary.read, run.primary.to_dask):
            with pytest.raises(DamagedRun, match="replaced since it was opened"):
                describe()

    def test_a_file_that_is_written_in_place_is_an_error(self, tmp_path: Path) -> None:
        path = write(pattern(5.43), tmp_path / "one.nc")
        lazy = only(BlueskySimulationCatalog(path)).primary.to_dask()
        content = bytearray(path.read_bytes())
        content[-8:] = b"\xff" * 8
        path.write_bytes(content)
        with pytest.raises(DamagedRun, match="written anew"):
            lazy["I"].compute()

    def test_a_changed_file_keeps_its_uid_and_has_another_version(self, output: Path) -> None:
        catalog = BlueskySimulationCatalog(output)
        before = only(catalog)
        assert before.header.start == before.start
        other(output)
        after = catalog[before.uid]
        assert after.header.version != before.header.version
        xr.testing.assert_identical(after.primary.read(), pattern(5.6).isel())
        assert after.start["time"] >= before.start["time"]

    def test_a_file_that_is_gone_is_an_error_and_then_no_run(self, output: Path) -> None:
        catalog = BlueskySimulationCatalog(output)
        run = only(catalog)
        lazy = run.primary.to_dask()
        shutil.rmtree(output) if output.is_dir() else output.unlink()
        with pytest.raises(DamagedRun, match="not there any more"):
            lazy["I"].compute()
        with pytest.raises((DamagedRun, RunNotFound)):
            catalog[run.uid]
        assert len(catalog.refresh()) == 0
        with pytest.raises(RunNotFound):
            catalog[run.uid]

    def test_new_files_are_seen(self, tmp_path: Path) -> None:
        catalog = BlueskySimulationCatalog(tmp_path / "a_{a:f}.nc")
        assert len(catalog) == 0
        write(pattern(5.43), tmp_path / "a_5.43.nc")
        assert [run.start["parameters"]["a"] for run in catalog.refresh().values()] == [5.43]

    def test_a_source_whose_file_changed_is_an_error(self, tmp_path: Path) -> None:
        path = write(sweep(), tmp_path / "sweep.nc")
        given = {"driver": "netcdf", "args": {"urlpath": str(path), "xarray_kwargs": {"engine": "h5netcdf"}}}
        catalog = BlueskySimulationCatalog(source=given, sweep="a")
        run = catalog[-1]
        lazy = run.primary.to_dask()
        path.unlink()
        write(sweep([a + 1 for a in LATTICE]), path)
        with pytest.raises(DamagedRun, match="changed since its run was opened"):
            lazy["I"].compute()
        assert {one.start["parameters"]["a"] for one in catalog.refresh().values()} == {a + 1 for a in LATTICE}


class TestDamage:
    """What cannot be read hides nothing else."""

    def test_a_broken_file_is_a_problem_among_others(self, tmp_path: Path) -> None:
        for a in LATTICE:
            write(pattern(a, code="x"), tmp_path / f"a_{a}.nc")
        (tmp_path / "a_6.0.nc").write_bytes(b"\x89HDF\r\n\x1a\n and nothing more")
        plain = BlueskySimulationCatalog(tmp_path / "a_{a:f}.nc")
        assert len(plain) == 4, "nobody looked into the files"
        told = BlueskySimulationCatalog(tmp_path / "a_{a:f}.nc", attributes=["code"])
        assert len(told) == 3
        [problem] = told.problems
        assert "a_6.0.nc cannot be read" in problem.message
        # From the user's cache, too.
        again = BlueskySimulationCatalog(tmp_path / "a_{a:f}.nc", attributes=["code"])
        assert (len(again), again.problems) == (3, told.problems)

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"CDF\x01" + bytes(60), "classic format.*driver: netcdf"),
            (b"no netCDF", "neither netCDF 4"),
            (b"\x89HDF\r\n\x1a\n" + bytes(60), "cannot be read"),
            (b"", "neither netCDF 4"),
        ],
    )
    def test_a_run_that_cannot_be_opened_says_why_and_is_a_problem(
        self, tmp_path: Path, content: bytes, message: str
    ) -> None:
        (tmp_path / "one.nc").write_bytes(content)
        catalog = BlueskySimulationCatalog(tmp_path)
        [uid] = catalog
        with pytest.raises(DamagedRun, match=message):
            catalog[uid]
        assert [problem.uid for problem in catalog.problems] == [uid]
        # Mended, it is none.
        (tmp_path / "one.nc").unlink()
        write(pattern(5.43), tmp_path / "one.nc")
        catalog.refresh()
        assert catalog[uid].primary.read()["I"].size == 40
        assert catalog.problems == ()

    def test_a_folder_that_is_no_hierarchy_is_a_problem(self, tmp_path: Path) -> None:
        (tmp_path / "one.zarr").mkdir()
        catalog = BlueskySimulationCatalog(tmp_path)
        assert [("no Zarr hierarchy" in one.message, one.to_come) for one in catalog.problems] == [(True, True)]

    def test_what_documents_have_no_form_for_is_an_error(self, tmp_path: Path) -> None:
        write(xr.Dataset({"x": ("q", np.zeros(2))}), tmp_path / "one.nc")
        with h5py.File(tmp_path / "one.nc", "a") as file:
            file["x"].attrs["form"] = np.zeros(1, [("re", "f4"), ("im", "f4")])
        catalog = BlueskySimulationCatalog(tmp_path)
        with pytest.raises(DamagedRun, match="cannot be given as documents: the attribute 'form' of 'x'"):
            only(catalog).primary.to_dask()

    def test_parameters_that_contradict_each_other_are_a_problem(self, tmp_path: Path) -> None:
        for a in (5.43, 5.44):
            write(pattern(a).assign_attrs(a=5.44), tmp_path / f"a_{a}.nc")
        catalog = BlueskySimulationCatalog(tmp_path / "a_{a:f}.nc", attributes=["a"])
        assert [run.start["parameters"] for run in catalog.values()] == [{"a": 5.44}]
        assert "5.43 by the path and 5.44 by attributes" in catalog.problems[0].message

    def test_an_attribute_that_is_lacking_is_a_problem(self, tmp_path: Path) -> None:
        write(pattern(5.43), tmp_path / "one.nc")
        catalog = BlueskySimulationCatalog(tmp_path, attributes=["cod", "title"])
        assert only(catalog).start["parameters"] == {"title": "Si"}
        assert "has no attribute 'cod'" in catalog.problems[0].message

    @pytest.mark.parametrize("told", ["yesterday", [1.0, 2.0], float("nan"), 1e301])
    def test_what_is_no_time_is_a_problem(self, tmp_path: Path, told: object) -> None:
        write(pattern(5.43, created=told), tmp_path / "one.nc")
        catalog = BlueskySimulationCatalog(tmp_path, time="created")
        with pytest.warns(EmptyCatalogWarning):
            assert len(catalog) == 0
        assert "and no time" in catalog.problems[0].message


class TestTrust:
    """A YAML file from elsewhere names nothing of this machine."""

    def opened(self, memory: str, args: str) -> Any:
        import fsspec

        page = f"sources:\n  sims:\n    driver: bluesky-simulation-catalog\n    args: {args}\n"
        with fsspec.open(memory, "w") as file:
            file.write(page)
        return open_catalog(memory)

    @pytest.mark.parametrize(
        ("args", "message"),
        [
            ("{paths: /data/sims}", "on this machine"),
            ("{paths: 'sftp://host/sims'}", "it may name URLs of"),
            ("{paths: ['s3://a/x.nc', 'https://b/y.nc']}", "several kinds"),
            ("{source: {driver: netcdf, args: {urlpath: /etc/passwd}}}", "neither of Bluesky runs nor of YAML"),
            ("{source: '/lab.yml:sims'}", "on this machine"),
        ],
    )
    def test_refuses(self, args: str, message: str) -> None:
        catalog = self.opened("memory://refused/sims.yml", args)
        with pytest.raises(UntrustedName, match=message):
            len(catalog.sims)

    def test_reads_what_is_on_its_server(self, tmp_path: Path) -> None:
        import fsspec

        path = write(pattern(5.43), tmp_path / "a_5.43.nc")
        with fsspec.open("memory://trusted/a_5.43.nc", "wb") as file:
            file.write(path.read_bytes())
        catalog = self.opened("memory://trusted/sims.yml", "{paths: '{{ CATALOG_DIR }}/a_{a:f}.nc'}")
        run = only(catalog.sims)
        assert run.start["parameters"] == {"a": 5.43}
        with xr.open_dataset(path, engine="h5netcdf") as expected:
            xr.testing.assert_identical(run.primary.read(), expected.load())

    def test_secrets_of_urls_are_in_no_start_and_in_no_repr(self, tmp_path: Path) -> None:
        catalog = BlueskySimulationCatalog("https://user:hunter2@host/a_{a:f}.nc")
        assert "hunter2" not in repr(catalog)
        assert "hunter2" not in str(catalog._yaml())
