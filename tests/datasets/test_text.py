"""Text columns: xarray takes them for whatever people do next, and they come back from files."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import xarray as xr

from intake_bluesky.catalogs.run_catalog import BlueskyCatalog
from intake_bluesky.catalogs.stream import BlueskyStream
from intake_bluesky.datasets.options import DatasetOptions
from intake_bluesky.datasets.presentation import present
from intake_bluesky.testing import MemoryStore, RunComposer, data_key

TEXT = np.dtypes.StringDType()
STATES = ["idle", "moving", None, "idle", "", "moving", "idle"]
SHOWN = [state or "" for state in STATES]
pytestmark = pytest.mark.filterwarnings(
    "ignore:Consolidated metadata is currently not part:UserWarning",
    # of xarray, when it writes what an operation made of a lazy column of objects
    "ignore:variable .* has data in the form of a dask array:xarray.conventions.SerializationWarning",
)


@pytest.fixture
def stream(tmp_path: Path) -> BlueskyStream:
    """A stream with text in its events, in arrays of different lengths, in a file and in the configuration."""
    with h5py.File(tmp_path / "names.h5", "w") as file:
        file["names"] = [f"name {i}" for i in range(len(STATES))]
    run = RunComposer("texts", scan_id=1)
    keys = {"state": data_key("string"), "det": data_key("number"), "tags": data_key("array", [None])}
    keys["name"] = data_key("string", [1], external="STREAM:")
    uri = f"file://localhost{tmp_path}/names.h5"
    names = run.stream_resource("name", mimetype="application/x-hdf5", uri=uri, dataset="names", chunk_shape=[2])
    device = {"data": {"mode": "fast"}, "data_keys": {"mode": data_key("string")}, "timestamps": {"mode": 1.0}}
    primary = run.descriptor(keys, configuration={"device": device})
    for number, state in enumerate(STATES):
        run.event(primary, {"state": state, "det": float(number), "tags": ["a"] * (number % 3)})
    run.stream_datum(names, primary, (1, len(STATES) + 1))
    run.stop()
    opened: BlueskyStream = BlueskyCatalog(MemoryStore([run.documents], page_size=3))[1].primary
    return opened


NEXT: dict[str, Callable[[xr.Dataset], xr.Dataset]] = {
    "nothing": lambda ds: ds,
    "where": lambda ds: ds.where(ds.det > 2),
    "where text": lambda ds: ds.where((ds.state == "idle").compute(), drop=True),
    "fillna": lambda ds: ds.fillna(0),
    "reindex": lambda ds: ds.reindex(time=[float(ds.time[0]), 0.0]),
    "max": lambda ds: ds.max("time"),
    "merge": lambda ds: xr.merge(
        [ds, ds.isel(time=[1]).rename(state="other")[["other"]]], join="outer", compat="override"
    ),
    "concat": lambda ds: xr.concat([ds, ds.isel(time=slice(3))], "sample", join="outer"),
    "combine_first": lambda ds: ds.where(ds.det > 2).combine_first(ds),
    "shift": lambda ds: ds.shift(time=1),
    "groupby": lambda ds: ds.groupby(ds.state.compute()).max(),
    "sortby": lambda ds: ds.sortby("state"),
    "unstack": lambda ds: ds[["state", "det"]].set_index(time=["det", "state"]).unstack("time").drop_vars("state"),
}


@pytest.mark.filterwarnings("ignore:No index created for dimension:UserWarning")
@pytest.mark.parametrize("name", NEXT)
def test_what_people_do_next_works_and_can_be_written(name: str, stream: BlueskyStream, tmp_path: Path) -> None:
    eager, lazy = NEXT[name](stream.read()), NEXT[name](stream.to_dask())
    xr.testing.assert_equal(lazy.compute(), eager)
    for dataset in (eager, lazy):
        dataset.to_netcdf(tmp_path / "text.nc")
        dataset.to_zarr(tmp_path / "text.zarr", mode="w")
        for back in (xr.load_dataset(tmp_path / "text.nc"), xr.load_dataset(tmp_path / "text.zarr", engine="zarr")):
            for key in eager.data_vars:
                # What an operation left open, which is NaN among objects, xarray writes as empty text.
                expected = eager[key].fillna("") if eager[key].dtype == object else eager[key]
                np.testing.assert_array_equal(back[key].values, expected.values)


def test_text_of_every_source_is_objects_or_strings_as_asked(stream: BlueskyStream) -> None:
    for dtype, options in ((np.dtype(object), {}), (TEXT, {"text_dtype": "string"})):
        asked = stream(**options)
        for ds in (asked.read(), asked.to_dask(), asked.read_partition(0)):
            assert {ds[key].dtype for key in ("state", "tags", "name")} == {dtype}
        assert asked.config["device"].read()["mode"].dtype == dtype
        assert asked.read()["state"].values.tolist() == asked.to_dask()["state"].values.tolist() == SHOWN
        assert asked.read()["tags"].values[2].tolist() == ["a", "a"]
        assert asked.to_dask()["name"].values[-1] == "name 6"
        assert asked.to_dataframe()["state"].tolist() == SHOWN
    with pytest.raises(ValueError, match="text_dtype is 'object' or 'string', not 'U8'"):
        stream(text_dtype="U8")
    with pytest.raises(ValueError, match="on_missing is 'raise' or 'fill', not 'filled'"):
        stream(on_missing="filled")


def test_a_lazy_column_is_written_without_loading_it_first(
    stream: BlueskyStream, tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    stream.to_dask().to_netcdf(tmp_path / "text.nc")
    assert not [warning for warning in recwarn if "loaded into memory" in str(warning.message)]


def test_equal_texts_take_the_memory_of_one() -> None:
    ds = xr.Dataset({"state": ("time", np.array(["idle", "moving", "a longer text\0"] * 100_000, TEXT))})
    tracemalloc.start()
    shown = present(ds, DatasetOptions())
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert shown["state"].values.tolist() == ds["state"].values.tolist()
    assert held < 3_000_000  # 8 bytes a row; a `str` for each would be 60 more
