"""Names of files, attributes and coordinates that could be taken for others: refused, or read as they are."""

from __future__ import annotations

import os
from pathlib import Path

import fsspec
import h5py
import numpy as np
import pytest
import xarray as xr

from intake_bluesky.errors import EmptyCatalogWarning, PluginError
from intake_bluesky_simulation import BlueskySimulationCatalog
from tests.drivers.simulated import pattern, write


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("run*{seed:d}.nc", "'seed' begins"),  # of run123, 3
        ("{a:02d}{b:02d}.nc", "'b' begins"),  # of 0512, 51 and 2
        ("run{name}{seed:d}.nc", "'seed' begins"),
        ("{name}*.nc", "'name' ends"),  # of Si.nc, S
        ("a_{a:d}*.nc", "'a' ends"),  # of a_5.43.nc, 5
        ("a_{a:d}_[z-b].nc", "cannot be read: bad character range"),
    ],
)
def test_patterns_that_leave_open_where_a_value_is(path: str, message: str) -> None:
    with pytest.raises(PluginError, match=message):
        BlueskySimulationCatalog(path)


def test_stars_in_folders_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "deep" / "deeper").mkdir(parents=True)
    write(pattern(5.43), tmp_path / "deep" / "deeper" / "x_5.43_seed_7.nc")
    catalog = BlueskySimulationCatalog(tmp_path / "**/x_{a:f}_*_[0-9].nc")
    assert [run.start["parameters"] for run in catalog.values()] == [{"a": 5.43}]


@pytest.mark.parametrize("attributes", [None, "all"])
def test_a_name_that_is_no_text_in_utf8(tmp_path: Path, attributes: str | None) -> None:
    written = write(pattern(5.43), tmp_path / "a.nc")
    os.rename(written, os.fsencode(tmp_path) + b"/Si_\xff.nc")
    write(pattern(5.44), tmp_path / "b.nc")
    catalog = BlueskySimulationCatalog(tmp_path, attributes=attributes)
    assert len(catalog) == 2
    listed = dict(catalog.items())
    assert all(listed[uid].primary.read().identical(catalog[uid].primary.read()) for uid in catalog)


def test_uids_are_those_of_version_5(tmp_path: Path) -> None:
    from uuid import uuid5

    from intake_bluesky_simulation.simulation_starts import SPACE

    path = write(pattern(5.43), tmp_path / "é.nc")
    assert list(BlueskySimulationCatalog(path)) == [str(uuid5(SPACE, str(path)))]


def test_addresses_that_differ_in_their_queries_alone(tmp_path: Path) -> None:
    path = write(pattern(5.43), tmp_path / "a.nc")
    files = fsspec.filesystem("memory")
    places = [f"/{tmp_path.name}/served?file={name}.nc" for name in "ab"]
    for place in places:
        files.pipe(place, path.read_bytes())
    catalog = BlueskySimulationCatalog([f"memory:/{place}" for place in places])
    assert len(catalog) == 1
    [problem] = catalog.problems
    assert "its runs would have the uids of those at memory" in problem.message


def test_a_folder_that_is_called_as_a_field(tmp_path: Path) -> None:
    folder = tmp_path / "Si {x}"
    folder.mkdir()
    write(pattern(5.43), folder / "a.nc")
    assert len(BlueskySimulationCatalog(folder)) == 1, "what is there by that very name is no pattern"
    assert len(BlueskySimulationCatalog(tmp_path / "Si {{x}}")) == 1
    with pytest.warns(EmptyCatalogWarning, match="nothing but folders is at"):
        assert len(BlueskySimulationCatalog(tmp_path / "S{x}")) == 0


def test_groups_with_other_coordinates_along_the_sweep(tmp_path: Path) -> None:
    path = tmp_path / "sweep.nc"
    write(xr.Dataset({"I": ("a", [1.0, 2.0])}, {"a": [1, 2]}), path)
    xr.Dataset({"E": ("a", [10.0, 20.0])}, {"a": [2, 1]}).to_netcdf(path, group="more", mode="a", engine="h5netcdf")
    with pytest.warns(EmptyCatalogWarning, match="other values of 'a' along 'a'"):
        assert len(BlueskySimulationCatalog(path, sweep="a")) == 0


def test_attributes_without_values_or_in_other_encodings(tmp_path: Path) -> None:
    path = write(pattern(5.43), tmp_path / "a.nc")
    with h5py.File(path, "a") as file:
        file.attrs["nothing"] = h5py.Empty("f4")
        file.attrs["unit"] = np.bytes_("Å".encode("latin-1"))
        file.attrs["a"] = np.bytes_("Å".encode())
    [run] = BlueskySimulationCatalog(path, attributes="all").values()
    assert run.start["parameters"] == {"title": "Si", "a": "Å"}
    catalog = BlueskySimulationCatalog(path, attributes=["unit"])
    assert "has no attribute 'unit'" in catalog.problems[0].message
