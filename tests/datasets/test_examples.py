"""Every example run becomes Datasets: eager and dask the same, as declared, and exported."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from intake_bluesky.datasets.options import DatasetOptions
from intake_bluesky.datasets.stream_reader import StreamReader
from intake_bluesky.errors import AssetUnavailable
from intake_bluesky.testing.memory import MemoryStore
from intake_bluesky.testing.runs import EXAMPLES, PORTABLE


def readers(name: str, folder: Path, **options: Any) -> list[StreamReader]:
    documents = EXAMPLES[name](folder)
    store = MemoryStore()
    with store.insert(documents[0][1]) as run:
        for kind, doc in documents[1:]:
            run.write(kind, doc)
    header = store.header(documents[0][1]["uid"])
    return [StreamReader(store, header, stream, DatasetOptions(**options)) for stream in header.streams]


def readable(name: str, folder: Path) -> list[StreamReader]:
    """Readers of an example's streams that fill what is missing."""
    return readers(name, folder, on_missing="fill")


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_eager_and_dask_are_the_same_and_as_declared(name: str, tmp_path: Path) -> None:
    for stream in readable(name, tmp_path):
        lazy, eager = stream.to_dask(), stream.read()
        computed = pickle.loads(pickle.dumps(lazy)).compute(scheduler="threads")
        xr.testing.assert_identical(computed, eager)
        for variable in eager.variables:
            assert lazy[variable].dtype == computed[variable].dtype == eager[variable].dtype
            assert lazy[variable].shape == eager[variable].shape


@pytest.mark.parametrize("name", sorted(PORTABLE))
def test_portable_examples_go_to_netcdf_and_back(name: str, tmp_path: Path) -> None:
    for stream in readable(name, tmp_path):
        ds = stream.to_dask()
        path = tmp_path / f"{stream.layout.name}.nc"
        ds.to_netcdf(path, engine="h5netcdf")
        with xr.open_dataset(path, decode_times=False, engine="h5netcdf") as back:
            _same_values(back.load(), ds.compute())


@pytest.mark.parametrize("name", sorted(PORTABLE))
@pytest.mark.filterwarnings("ignore:Consolidated metadata is currently not part:UserWarning")
def test_portable_examples_go_to_zarr_and_back(name: str, tmp_path: Path) -> None:
    for stream in readable(name, tmp_path):
        ds = stream.to_dask()
        ds.to_zarr(tmp_path / f"{stream.layout.name}.zarr", zarr_format=3)
        back = xr.open_zarr(tmp_path / f"{stream.layout.name}.zarr", decode_times=False).load()
        _same_values(back, ds.compute())


def _same_values(back: xr.Dataset, ds: xr.Dataset) -> None:
    assert set(back.variables) == set(ds.variables)
    for name in ds.variables:
        np.testing.assert_array_equal(back[name].values, ds[name].values)


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_every_example_gives_a_data_frame(name: str, tmp_path: Path) -> None:
    for stream in readable(name, tmp_path):
        ds = stream.read()
        frame = ds.to_dataframe()
        assert len(frame) == int(np.prod(list(ds.sizes.values())))


def test_a_run_whose_file_is_gone_opens_and_says_so_when_computed(tmp_path: Path) -> None:
    (stream, *_) = readers("missing_file", tmp_path)
    lazy = stream.to_dask()
    lost = [name for name, v in lazy.data_vars.items() if v.ndim > 1]
    assert lost
    with pytest.raises(AssetUnavailable, match="root_map"):
        lazy[lost[0]].compute()
