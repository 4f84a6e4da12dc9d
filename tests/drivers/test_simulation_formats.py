"""netCDF and Zarr as other programs write them: what leads elsewhere, runs code, or has no names."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import xarray as xr
import zarr

from intake_bluesky.errors import DamagedRun
from intake_bluesky_simulation import BlueskySimulationCatalog
from tests.datasets.stored_datasets.drawn_datasets import assert_same, datasets
from tests.drawn import drawn
from tests.drivers.simulated import pattern, write


def opened(path: Path) -> Any:
    catalog = BlueskySimulationCatalog(path)
    [uid] = catalog
    return catalog[uid]


@pytest.mark.parametrize("kind", ["external link", "virtual dataset", "raw storage"])
def test_values_of_other_files_are_refused(tmp_path: Path, kind: str) -> None:
    write(pattern(5.43), tmp_path / "other.h5")
    (tmp_path / "raw").write_bytes(bytes(80))
    path = write(pattern(5.43), tmp_path / "one.nc")
    with h5py.File(path, "a") as file:
        if kind == "external link":
            file["far"] = h5py.ExternalLink("other.h5", "/I")
        elif kind == "virtual dataset":
            layout = h5py.VirtualLayout((40,), "f4")
            layout[:] = h5py.VirtualSource("other.h5", "I", (40,))
            file.create_virtual_dataset("far", layout)
        else:
            file.create_dataset("far", (10,), "f8", external=[("raw", 0, 80)])
    with pytest.raises(DamagedRun, match=r"takes values from another file, '(other\.h5|raw)'"):
        opened(path)


def test_a_hierarchy_that_would_run_code_is_refused(tmp_path: Path) -> None:
    class Runs:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(tmp_path / "ran"),)

    folder = tmp_path / "one.zarr"
    zarr.create_group(folder, zarr_format=2)
    text = zarr.create_array(folder / "x", shape=(1,), dtype=str, zarr_format=2, compressors=None)
    text[...] = np.array(["a"], object)
    metadata = json.loads((folder / "x" / ".zarray").read_text(encoding="utf-8"))
    metadata["filters"].append({"id": "pickle"})
    (folder / "x" / ".zarray").write_text(json.dumps(metadata), encoding="utf-8")
    (folder / "x" / ".zattrs").write_text('{"_ARRAY_DIMENSIONS": ["x"]}', encoding="utf-8")  # so that opening reads it
    (folder / "x" / "0").write_bytes(pickle.dumps(Runs()))
    with pytest.raises(DamagedRun, match="pickled Python objects"):
        opened(folder)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("consolidated", [True, False])
@pytest.mark.filterwarnings("ignore:Consolidated metadata is currently not part")
def test_hierarchies_of_either_format(tmp_path: Path, version: int, consolidated: bool) -> None:
    dataset = pattern(5.43)[["I"]]
    folder = tmp_path / "without an ending"
    dataset.to_zarr(folder, zarr_format=version, consolidated=consolidated)
    xr.testing.assert_identical(opened(folder).primary.read(), dataset)


def test_chunks_that_were_never_written_are_fill_values(tmp_path: Path) -> None:
    values = np.zeros((4, 10))
    values[2] = 1
    dataset = xr.Dataset({"I": (("a", "q"), values)}, {"a": np.arange(4.0)})
    folder = write(dataset, tmp_path / "sweep.zarr", encoding={"I": {"chunks": (1, 10)}})
    catalog = BlueskySimulationCatalog(folder, sweep="a")
    for run in catalog.values():
        assert run.primary.read()["I"].values.tolist() == values[int(run.start["parameters"]["a"])].tolist()


def test_hdf5_without_names_of_dimensions(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "one.h5", "w") as file:
        file["energy"] = np.arange(6.0).reshape(2, 3)
        file["energy"].attrs["units"] = "eV"
    found = opened(tmp_path / "one.h5").primary.read()
    assert found["energy"].values.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert found["energy"].attrs == {"units": "eV"}


def test_compressed_by_a_plugin(tmp_path: Path) -> None:
    import hdf5plugin

    path = write(pattern(5.43), tmp_path / "one.nc", encoding={"I": {**hdf5plugin.Blosc()}})
    assert opened(path).primary.read()["I"].values.tolist() == pattern(5.43)["I"].values.tolist()


@pytest.mark.parametrize("a", [0.1, 1e-7, 123456789.123456789])
def test_numbers_in_paths_are_exact(tmp_path: Path, a: float) -> None:
    write(pattern(5.43), tmp_path / f"a_{a!r}.nc")
    catalog = BlueskySimulationCatalog(tmp_path / "a_{a:f}.nc")
    assert [run.start["parameters"]["a"] for run in catalog.values()] == [a]


@pytest.mark.parametrize("ending", [".nc", ".zarr"])
@pytest.mark.filterwarnings("ignore")  # xarray's, of names and dtypes that these formats have no form for
def test_any_dataset_reads_as_xarray_opens_it(tmp_path: Path, ending: str) -> None:
    compared = 0
    for number, dataset in enumerate(drawn(datasets(), 120)):
        if any("/" in str(name) for name in dataset.variables):  # xarray makes groups of these, which are other streams
            continue
        path = tmp_path / f"{number}{ending}"
        try:
            write(dataset.compute(), path)
        except Exception:  # noqa: BLE001  # whatever xarray raises for what it cannot write
            continue
        with xr.open_dataset(path, engine="zarr" if ending == ".zarr" else "h5netcdf") as found:
            expected = found.load()
        assert_same(opened(path).primary.read(), expected)
        assert_same(opened(path).primary.to_dask().compute(), expected)
        for dim in [dim for dim, size in expected.sizes.items() if size and dim not in expected.coords][:1]:
            for run in BlueskySimulationCatalog(path, sweep=str(dim)).values():
                place = run.start["parameters"].get(dim)
                if place is not None:  # else a coordinate along it names the point
                    assert_same(run.primary.read(), expected.isel({dim: place}))
        compared += 1
    assert compared >= 15, "most cannot be written, and were not compared"
