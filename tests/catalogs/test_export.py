"""Runs as netCDF, Zarr and CSV: whatever they hold is written, and reads back with the same values."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import xarray as xr

from intake_bluesky.catalogs.run import BlueskyRun
from intake_bluesky.catalogs.run_catalog import BlueskyCatalog
from intake_bluesky.errors import AssetUnavailable
from intake_bluesky.testing import EXAMPLES, PORTABLE, MemoryStore, RunComposer, data_key

pytestmark = pytest.mark.filterwarnings(
    "ignore:Consolidated metadata is currently not part:UserWarning",
    "ignore:The data type .NullTerminatedBytes:zarr.errors.UnstableSpecificationWarning",
)

# Those that xarray cannot write as they are, and some that it can: with several streams, files, no times, no rows.
NAMES = {*EXAMPLES} - PORTABLE | {"scan", "ragged", "unicode", "two_files", "no_time", "empty_stream", "empty"}
NESTED = np.dtype([("x", "<i4"), ("pair", "<f8", (2,)), ("inner", [("tag", "S3"), ("on", "u1")])])


def run_of(run: RunComposer) -> BlueskyRun:
    opened: BlueskyRun = BlueskyCatalog(MemoryStore([run.documents], page_size=2))[run.run_uid]
    return opened


def written(run: BlueskyRun, folder: Path, **options: Any) -> xr.DataTree:
    """The tree of a run in memory, after a look that it is what netCDF and Zarr give back."""
    tree = run.to_datatree(**options)
    tree.to_netcdf(folder / "tree.nc")
    tree.to_zarr(folder / "tree.zarr")
    tree = tree.load()
    for path, engine in ((folder / "tree.nc", "h5netcdf"), (folder / "tree.zarr", "zarr")):
        xr.open_datatree(path, engine=engine).load()
        back = xr.open_datatree(path, engine=engine, decode_times=False).load()
        assert back.attrs == tree.attrs
        assert set(back.groups) == set(tree.groups)
        for group in tree.groups:
            expected, observed = tree[group].to_dataset(), back[group].to_dataset()
            assert set(observed.variables) == set(expected.variables)
            for name, variable in expected.variables.items():
                assert observed[name].dims == variable.dims
                np.testing.assert_array_equal(observed[name].values, variable.values)
                assert observed[name].attrs.keys() == variable.attrs.keys()
    return tree


@pytest.mark.parametrize("name", sorted(NAMES))
def test_runs_go_to_netcdf_and_zarr_and_back(name: str, tmp_path: Path) -> None:
    (run,) = BlueskyCatalog(MemoryStore([EXAMPLES[name](tmp_path)], page_size=2)).values()
    written(run(), tmp_path, on_missing="fill")


def test_objects_are_json_and_structures_are_their_fields(tmp_path: Path) -> None:
    table = np.array([(i, (i / 2, i / 4), (b"ab", i)) for i in range(3)], NESTED)
    with h5py.File(tmp_path / "table.h5", "w") as file:
        file["table"], file["opaque"] = table, np.frombuffer(b"abcdef", "V2")
    values: dict[str, list[Any]] = {
        "mixed": [{"a": [1, None]}, "text", 2**70],
        "open": [True, None, False],
        "uneven": [[[1], [2, 3]], [[4]], []],
        "note": ["nul \0", "", "\N{GREEK SMALL LETTER MU}"],
        "elapsed": [0.5, 1.5, 2.5],
        "table.x": [1, 2, 3],
    }
    run = RunComposer("odd", sample={"name": "Si", "dims": [1, None]}, scan_id=True)
    keys = {key: data_key("string") for key in values}
    keys["elapsed"] = data_key("number", units="s since the start")
    for key in ("table", "opaque"):
        keys[key] = data_key("array", [1], external="STREAM:")
        uri = f"file://localhost{tmp_path}/table.h5"
        resource = run.stream_resource(key, mimetype="application/x-hdf5", uri=uri, dataset=key, chunk_shape=[1])
        if key == "table":
            primary = run.descriptor(keys | {"opaque": data_key("array", [1], external="STREAM:")})
        run.stream_datum(resource, primary, (1, 4))
    for number in range(3):
        run.event(primary, {key: column[number] for key, column in values.items()})
    opened = run_of(run)
    tree = written(opened, tmp_path)
    assert json.loads(tree.attrs["start"])["sample"] == {"name": "Si", "dims": [1, None]}
    assert json.loads(tree.attrs["stop"]) is None
    ds = tree["primary"].to_dataset()
    for key in ("mixed", "open", "uneven"):
        assert [json.loads(text) for text in ds[key].values.tolist()] == values[key]
        assert ds[key].attrs["media_type"] == "application/json"
    assert ds["note"].values.tolist() == ["nul \\u0000", "", "\N{GREEK SMALL LETTER MU}"]
    assert ds["elapsed"].attrs["units_text"] == "s since the start"
    assert ds["table.x"].values.tolist() == [1, 2, 3]  # the key of this name; the field gives way
    assert ds["table.x_"].values.tolist() == table["x"].tolist()
    assert ds["table.pair"].values.tolist() == table["pair"].tolist()
    assert ds["table.inner.tag"].values.tolist() == [b"ab"] * 3
    assert ds["opaque.bytes"].values.tolist() == [[97, 98], [99, 100], [101, 102]]
    plain = opened.to_datatree(portable=False)
    assert plain["primary"]["table"].dtype == NESTED
    assert plain.attrs == {"start": dict(opened.start), "stop": None}
    assert opened.primary.read()["mixed"].values.tolist() == values["mixed"]


def test_names_that_files_cannot_have_and_attributes_that_they_cannot_hold(tmp_path: Path) -> None:
    keys = ["a/b", "a_b", "a\\b", "m.user_readback", "", ".", "..", "zarr.json", "nul\0", "n" * 300, "a:b", "m 1"]
    odd: dict[str, Any] = {"precision": True, "units": "nul \0", "choices": ["a", "\ud800"], "source": {"pv": None}}
    odd |= {"limits": {"control": {"low": 2**70, "high": [1, "a"]}, "alarm": None}, "dims": ["x/y"]}
    device = {"data": {"mode": None, "/": 1}, "data_keys": {}, "timestamps": {}}
    run = RunComposer("names")
    primary = run.descriptor({key: data_key("array", [2], **odd) for key in keys})
    for number in range(3):
        run.event(primary, {key: [number, place] for place, key in enumerate(keys)})
    streams = ["config", "config_", "a/b", "a_b", "..", "."]
    for stream in streams:
        run.descriptor({}, stream=stream, configuration={"d/1": device, "d_1": device, "..": device})
    tree = written(run_of(run), tmp_path)
    assert len(tree.children) == len(streams) + 2
    assert [len(node.children) for node in tree["config"].children.values()] == [3] * len(streams)
    ds = tree["primary"].to_dataset()
    place = {variable.attrs.get("key", name): variable.values[0, 1] for name, variable in ds.data_vars.items()}
    assert place == {json.dumps(key) if "\0" in key else key: number for number, key in enumerate(keys)}
    attrs = ds["m.user_readback"].attrs
    assert attrs["precision"] == "true"
    assert json.loads(attrs["units"]) == "nul \0"
    assert json.loads(attrs["choices"]) == ["a", "\ud800"]
    assert json.loads(attrs["source"]) == {"pv": None}
    assert json.loads(attrs["limits_control_low"]) == 2**70


def test_uneven_chunks_are_made_even_for_zarr(tmp_path: Path) -> None:
    run = RunComposer("uneven")
    primary = run.descriptor({"x": data_key("number")})
    for events in (3, 5, 1):
        run.page(primary, {"x": list(map(float, range(events)))})
    opened: BlueskyRun = BlueskyCatalog(MemoryStore([run.documents]))[-1]
    assert len(set(opened.primary(target_chunk=1).to_dask().chunksizes["time"])) == 3
    tree = written(opened, tmp_path, target_chunk=1)
    assert tree["primary"].to_dataset()["x"].values.tolist() == [0, 1, 2, 0, 1, 2, 3, 4, 0]


def test_a_missing_file_is_an_error_or_filled(tmp_path: Path) -> None:
    run: BlueskyRun = BlueskyCatalog(MemoryStore([EXAMPLES["missing_file"](tmp_path)]))[-1]
    with pytest.raises(AssetUnavailable, match='on_missing="fill"'):
        run.to_datatree().to_netcdf(tmp_path / "tree.nc")


def test_csv_has_every_value(tmp_path: Path) -> None:
    spectrum = [1 / (number + 1) for number in range(2000)]
    run = RunComposer("csv")
    keys = {"mca": data_key("array", [2000]), "info": data_key("string"), "uneven": data_key("array", [None])}
    primary = run.descriptor(keys)
    run.event(primary, {"mca": spectrum, "info": {"a": np.arange(1500)}, "uneven": [[1], [2, None]]})
    run.event(primary, {"mca": [np.nan] * 2000, "info": "text", "uneven": []})
    run.stop()
    table = run_of(run).table()
    assert table["mca"][1].sum() == np.sum(spectrum)
    assert isinstance(table["mca"][1].sum(), float)
    first, second = csv.DictReader(io.StringIO(table.to_csv()))
    assert json.loads(first["mca"]) == spectrum
    assert np.isnan(json.loads(second["mca"])).all()
    assert first["info"] == str({"a": list(range(1500))})
    assert first["uneven"] == "[[1], [2, None]]"
    assert second["info"] == "text"
