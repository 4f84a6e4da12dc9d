"""Simulations at other places than files of this machine: in buckets, in zip files, and in sources of Intake."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
import xarray as xr

from intake_bluesky import BlueskyCatalog, Start, open_catalog
from intake_bluesky.catalogs.argument_checks import WrongArgument
from intake_bluesky.errors import DamagedRun, EmptyCatalogWarning, StoreUnavailable, WrongSetting
from intake_bluesky_simulation import BlueskySimulationCatalog
from tests.drivers.simulated import LATTICE, pattern, sweep, write
from tests.servers.proxy import Proxy
from tests.servers.s3 import KEY, SECRET, Buckets


def only(catalog: BlueskyCatalog) -> Any:
    [run] = catalog.values()
    return run


def options_of(endpoint: str) -> dict[str, Any]:
    return {"key": KEY, "secret": SECRET, "client_kwargs": {"endpoint_url": endpoint}}


def put(proxy: Proxy, path: Path, url: str) -> None:
    import s3fs  # type: ignore[import-untyped]

    s3fs.S3FileSystem(**options_of(proxy.endpoint), use_listings_cache=False, skip_instance_cache=True).put(
        str(path), url, recursive=True
    )


class TestBucket:
    """In a real S3, counted by a proxy before it."""

    @pytest.fixture
    def place(self) -> str:
        return f"s3://private/{uuid4().hex}"

    @pytest.mark.parametrize("ending", [".nc", ".zarr"])
    def test_outputs_are_listed_by_one_request_and_read_in_parts(
        self, proxy: Proxy, place: str, tmp_path: Path, ending: str
    ) -> None:
        for a in LATTICE:
            put(proxy, write(pattern(a), tmp_path / f"a_{a}{ending}"), f"{place}/a_{a}{ending}")
        catalog = BlueskySimulationCatalog(f"{place}/a_{{a:f}}{ending}", storage_options=options_of(proxy.endpoint))
        proxy.reset()
        assert {run.start["parameters"]["a"] for run in catalog.values()} == set(LATTICE)
        methods = {request.method for request in proxy.requests}
        assert methods == {"LIST"}, "a listing opens nothing"
        run = only(catalog.search(Start("parameters.a") > 5.43))
        with xr.open_dataset(
            tmp_path / f"a_5.44{ending}", engine="h5netcdf" if ending == ".nc" else "zarr"
        ) as expected:
            xr.testing.assert_identical(run.primary.to_dask().compute(), expected.load())
        again = pickle.loads(pickle.dumps(run.primary.to_dask()))
        xr.testing.assert_identical(again.compute(), expected)

    def test_a_point_of_a_sweep_is_a_part_of_the_file(self, proxy: Proxy, place: str, tmp_path: Path) -> None:
        noise = np.random.default_rng(1).random((64, 2**15))
        path = write(
            xr.Dataset({"I": (("a", "q"), noise)}, {"a": np.arange(64.0)}), tmp_path / "sweep.nc",
            encoding={"I": {"chunksizes": (1, 2**15)}},
        )  # fmt: skip
        put(proxy, path, f"{place}/sweep.nc")
        catalog = BlueskySimulationCatalog(f"{place}/sweep.nc", sweep="a", storage_options=options_of(proxy.endpoint))
        proxy.reset()
        assert len(catalog) == 64
        lazy = catalog.search(Start("parameters.a") == 7)[-1].primary.to_dask()
        assert proxy.received < 2**20, "16 MiB of values are not read"
        proxy.reset()
        assert lazy["I"].values.tolist() == noise[7].tolist()
        assert 2**18 <= proxy.received < 3 * 2**18

    def test_an_object_that_was_replaced_is_an_error(self, proxy: Proxy, place: str, tmp_path: Path) -> None:
        put(proxy, write(pattern(5.43, points=2**16), tmp_path / "one.nc"), f"{place}/one.nc")
        catalog = BlueskySimulationCatalog(f"{place}/one.nc", storage_options=options_of(proxy.endpoint))
        lazy = only(catalog).primary.to_dask()
        put(proxy, write(pattern(5.6, points=2**16), tmp_path / "two.nc"), f"{place}/one.nc")
        with pytest.raises(DamagedRun, match=r"open the run again|replaced"):
            lazy["I"].compute()

    def test_nothing_there_is_a_problem_to_come(self, proxy: Proxy, place: str) -> None:
        catalog = BlueskySimulationCatalog(f"{place}/*.nc", storage_options=options_of(proxy.endpoint))
        assert len(catalog) == 0
        assert [problem.to_come for problem in catalog.problems] == [True]


class TestWebServer:
    """Which tells of files one by one, and not when they were written."""

    def test_a_file_is_read_in_parts_where_its_time_is_known(self, buckets: Buckets, tmp_path: Path) -> None:
        path = write(pattern(5.43, points=2**15, created="2026-05-01T12:00:00Z"), tmp_path / "one.nc")
        name = f"{uuid4().hex}_a_5.43.nc"
        buckets.client.put_object(Bucket="public", Key=name, Body=path.read_bytes())
        url = f"{buckets.endpoint}/public/{name}"
        with pytest.warns(EmptyCatalogWarning, match="nobody tells when"):
            assert len(BlueskySimulationCatalog(url)) == 0
        run = only(BlueskySimulationCatalog(url, time="created"))
        with xr.open_dataset(path, engine="h5netcdf") as expected:
            xr.testing.assert_identical(run.primary.to_dask().compute(), expected.load())


class TestZip:
    """A hierarchy in one file."""

    def test_reads_as_the_folder_does(self, tmp_path: Path) -> None:
        folder = write(sweep(), tmp_path / "sweep.zarr")
        with xr.open_dataset(folder, engine="zarr") as found:
            expected = found.load()
        shutil.make_archive(str(folder), "zip", folder)
        shutil.rmtree(folder)
        catalog = BlueskySimulationCatalog(tmp_path, sweep=["a"])
        assert len(catalog) == 3
        for run in catalog.values():
            xr.testing.assert_identical(run.primary.read(), expected.sel(a=run.start["parameters"]["a"]))


PAGE = """
sources:
  swept:
    driver: netcdf
    args: {{urlpath: "{{{{ CATALOG_DIR }}}}/sweep.nc", xarray_kwargs: {{engine: h5netcdf}}}}
  stored:
    driver: zarr
    args: {{urlpath: "{{{{ CATALOG_DIR }}}}/sweep.zarr"}}
  sims:
    driver: bluesky-simulation-catalog
    args: {{source: {source}, sweep: [a], program: powder}}
"""
INLINE = '{driver: netcdf, args: {urlpath: "{{ CATALOG_DIR }}/sweep.nc", xarray_kwargs: {engine: h5netcdf}}}'


class TestSources:
    """Intake's sources of Datasets, as a YAML file gives them."""

    @pytest.fixture
    def written(self, tmp_path: Path) -> xr.Dataset:
        write(sweep(), tmp_path / "sweep.zarr")
        with xr.open_dataset(write(sweep(), tmp_path / "sweep.nc"), engine="h5netcdf") as found:
            return found.load()

    def opened(self, folder: Path, source: str) -> Any:
        (folder / "sims.yml").write_text(PAGE.format(source=source), encoding="utf-8")
        return open_catalog(str(folder / "sims.yml")).sims

    @pytest.mark.parametrize("source", ["swept", "stored", INLINE])
    def test_each_point_is_the_selection_of_it(self, tmp_path: Path, written: xr.Dataset, source: str) -> None:
        catalog = self.opened(tmp_path, source)
        assert len(catalog) == 3
        times = {run.start["time"] for run in catalog.values()}
        assert times <= {(tmp_path / name).stat().st_mtime_ns / 1e9 for name in ("sweep.nc", "sweep.zarr/.zmetadata")}
        for run in catalog.values():
            expected = written.sel(a=run.start["parameters"]["a"])
            xr.testing.assert_identical(run.primary.to_dask().compute(), expected)
        again = self.opened(tmp_path, source)
        assert list(again) == list(catalog)

    @pytest.mark.parametrize("source", ["swept", INLINE])
    def test_pickles(self, tmp_path: Path, written: xr.Dataset, source: str) -> None:
        catalog = self.opened(tmp_path, source)
        other = pickle.loads(pickle.dumps(catalog))
        assert list(other) == list(catalog)
        lazy = pickle.loads(pickle.dumps(other[-1].primary.to_dask()))
        xr.testing.assert_identical(lazy.compute(), written.sel(a=other[-1].start["parameters"]["a"]))

    @pytest.mark.parametrize("source", ["swept", INLINE])
    def test_saved_elsewhere_it_is_the_same(self, tmp_path: Path, written: xr.Dataset, source: str) -> None:
        catalog = self.opened(tmp_path, source)
        (tmp_path / "other").mkdir()
        catalog.save(str(tmp_path / "other" / "saved.yml"))
        saved = open_catalog(str(tmp_path / "other" / "saved.yml"))
        assert list(saved[next(iter(saved))]) == list(catalog)

    def test_a_pattern_of_paths_that_intake_joins(self, tmp_path: Path) -> None:
        for a in LATTICE:
            write(pattern(a)[["I"]], tmp_path / f"a_{a}.nc")
        source = {
            "driver": "netcdf",
            "args": {
                "urlpath": str(tmp_path / "a_{a:f}.nc"), "concat_dim": "a", "combine": "nested",
                "xarray_kwargs": {"engine": "h5netcdf"},
            },
        }  # fmt: skip
        catalog = BlueskySimulationCatalog(source=source, sweep="a")
        found = {run.start["parameters"]["a"]: run for run in catalog.values()}
        assert found.keys() == set(LATTICE)
        observed = found[5.44].primary.read()["I"].values
        assert observed.tolist() == pattern(5.44)["I"].values.tolist()

    def test_a_source_that_tells_no_time_needs_one(self, tmp_path: Path) -> None:
        given = {"driver": "tests.drivers.simulated:Computed", "args": {"number": 3}}
        catalog = BlueskySimulationCatalog(source=given, sweep="a")
        with pytest.warns(EmptyCatalogWarning):
            assert len(catalog) == 0
        assert "nobody tells when" in catalog.problems[0].message
        timed = BlueskySimulationCatalog(source=given, sweep="a", start={"time": 1777629600})
        assert {run.start["time"] for run in timed.values()} == {1777629600.0}
        assert timed.sort("parameters.a")[-1].primary.read()["I"].values.tolist() == [2.0, 2.0]

    @pytest.mark.parametrize(
        ("source", "message"),
        [
            ("nothing", "which is no source"),
            ("{driver: csv, args: {urlpath: x.csv}}", "gives no Dataset|is a"),
        ],
    )
    def test_what_is_no_source_of_a_dataset(self, tmp_path: Path, source: str, message: str) -> None:
        with pytest.raises((StoreUnavailable, WrongSetting), match=message):
            len(self.opened(tmp_path, source))


class TestPaths:
    def test_a_file_has_one_uid_however_its_path_is_spelled(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "sims").mkdir()
        for a in LATTICE:
            write(pattern(a), tmp_path / "sims" / f"a_{a}.nc")
        (tmp_path / "sims.yml").write_text("""
sources:
  sims: {driver: bluesky-simulation-catalog, args: {paths: "{{ CATALOG_DIR }}/sims/a_{a:f}.nc"}}
""")
        monkeypatch.chdir(tmp_path)
        expected = set(BlueskySimulationCatalog(f"{tmp_path}/sims/*.nc"))
        assert len(expected) == len(LATTICE)
        assert set(open_catalog(str(tmp_path / "sims.yml")).sims) == expected
        for paths in ("sims", "sims/*.nc", f"{tmp_path}//sims/", f"{tmp_path}/./sims/*.nc", f"{tmp_path}/sims/../sims"):
            assert set(BlueskySimulationCatalog(paths)) == expected, paths

    def test_behind_a_link_two_dots_are_what_they_are_on_the_disk(self, tmp_path: Path) -> None:
        """The folder above the one that the link leads to, and not above the link."""
        (tmp_path / "far" / "inner").mkdir(parents=True)
        write(pattern(5.43), tmp_path / "far" / "a_5.43.nc")
        write(pattern(5.44), tmp_path / "a_5.44.nc")
        (tmp_path / "link").symlink_to(tmp_path / "far" / "inner")
        run = only(BlueskySimulationCatalog(f"{tmp_path}/link/../a_{{a:f}}.nc"))
        assert run.start["parameters"] == {"a": 5.43}

    def test_what_parameters_are_not(self) -> None:
        given: Any = ["a"]
        with pytest.raises(
            WrongArgument, match=r"'parameters' of BlueskySimulationCatalog is a mapping of values by name"
        ):
            BlueskySimulationCatalog("sims/*.nc", parameters=given)

    def test_the_last_of_a_sorted_catalog_without_runs(self, tmp_path: Path) -> None:
        """Says why there are none, as that of one that is not sorted."""
        for sort in (None, "parameters.a"):
            catalog = BlueskySimulationCatalog(f"{tmp_path}/none.zarr", sort=sort)
            with pytest.raises(IndexError, match=f"not read: .*nothing is at {tmp_path}/none.zarr yet"):
                catalog[-1]
