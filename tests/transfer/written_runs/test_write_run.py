"""Datasets written as runs into stores on this machine: read back as they were, whole or not at all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import dask.array as da
import h5py
import numpy as np
import pytest
import xarray as xr
import zarr
from event_model import DocumentNames, schema_validators
from hypothesis import given
from hypothesis import strategies as st
from intake.catalog import Catalog

from intake_bluesky import BlueskyCatalog, Data, Start, ingest
from intake_bluesky.apps.cli import main
from intake_bluesky.documents.columns import take
from intake_bluesky.errors import DamagedRun, DuplicateRun, MissingDependency, StoreUnavailable, UnsupportedOperation
from intake_bluesky.storage import WrapperStore
from intake_bluesky.testing import MemoryStore
from intake_bluesky.transfer.assets import file_places
from intake_bluesky.transfer.written_runs import array_files, write
from intake_bluesky_jsonl import BlueskyJSONLCatalog
from intake_bluesky_msgpack import BlueskyMsgpackCatalog
from intake_bluesky_sql import BlueskySQLCatalog
from tests.datasets.stored_datasets.drawn_datasets import assert_same, datasets

DRIVERS = ["jsonl", "msgpack", "sqlite"]
KINDS: list[Any] = ["inline", "hdf5", "zarr"]


def catalog(driver: str, folder: Path) -> Any:
    match driver:
        case "jsonl":
            return BlueskyJSONLCatalog(str(folder / "jsonl"))
        case "msgpack":
            return BlueskyMsgpackCatalog(str(folder / "msgpack"))
        case _:
            return BlueskySQLCatalog(f"sqlite:///{folder / 'runs.db'}")


def images(**chunks: int) -> xr.Dataset:
    """A stack of frames, with text, and an axis of a million pixels that all share."""
    rng = np.random.default_rng(0)
    dataset = xr.Dataset(
        {
            "image": (("time", "y", "x"), rng.normal(size=(12, 30, 40)), {"units": "counts"}),
            "phase": (("y", "time"), np.exp(1j * rng.normal(size=(30, 12)))),
            "column": (("time", "one"), rng.integers(0, 9, (12, 1)).astype(np.uint16)),
            "label": ("time", np.array([f"frame {n}" for n in range(12)])),
            "mask": (("y", "x"), rng.random((30, 40)) > 0.5),
            "wavelength": ((), 0.7, {"units": "Å"}),
        },
        coords={"time": np.arange(12).astype("datetime64[s]"), "y": np.linspace(0, 1, 30)},
        attrs={"sample": "Si"},
    )
    return dataset.chunk(chunks) if chunks else dataset


@pytest.fixture(scope="module")
def catalogs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("stores")
    return {driver: catalog(driver, folder) for driver in DRIVERS}


@pytest.mark.parametrize("driver", DRIVERS)
@given(dataset=datasets(), kind=st.sampled_from(KINDS))
def test_any_dataset_in_any_store(driver: str, catalogs: dict[str, Any], dataset: xr.Dataset, kind: Any) -> None:
    into = catalogs[driver]
    files = None if into.store.folder else str(Path(catalogs["jsonl"].store.folder) / "of-sqlite")
    run = ingest.write_run(dataset, into=into, arrays=kind, files=None if kind == "inline" else files)
    assert_same(run.primary.read(), dataset)
    assert_same(into[run.uid].primary.to_dask().compute(), dataset)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("chunks", [{}, {"time": 5, "x": 7}, {"time": 12}])
def test_arrays_in_events_or_in_a_file(kind: Any, chunks: dict[str, int], tmp_path: Path, capsys: Any) -> None:
    into, dataset = catalog("jsonl", tmp_path), images(**chunks)
    run = ingest.write_run({"primary": dataset, "other": xr.Dataset({"a": 1})}, into=into, arrays=kind, check=True)
    assert list(run) == ["primary", "other"]
    for form in (run.primary.read(), run.primary.to_dask().compute()):
        xr.testing.assert_identical(form, images())
        assert list(form.variables) == list(dataset.variables)
    documents = list(run.documents())
    for name, doc in documents:
        schema_validators[DocumentNames[name]].validate(doc)
    assert documents[-1][1]["num_events"] == {"primary": 12, "other": 1}
    files = [file.path for file in run.files()]
    assert len(files) == (kind != "inline")
    if kind == "hdf5":
        with h5py.File(files[0]) as file:
            np.testing.assert_array_equal(file["primary/image"][()], images()["image"].values)
    elif kind == "zarr":
        with zarr.storage.ZipStore(files[0]) as store:
            found = zarr.open_array(store, path="primary/image", mode="r")
            np.testing.assert_array_equal(found[:], images()["image"].values)
    assert main(["validate", str(into.store.folder)]) == 0
    assert "1 run, 0 errors, 0 warnings" in capsys.readouterr().out
    assert main(["show", str(into.store.folder), "-1"]) == 0
    assert "image  float64 (time: 12, y: 30, x: 40)  counts" in capsys.readouterr().out


def test_large_arrays_that_all_events_share_are_in_a_stream_of_one(tmp_path: Path) -> None:
    dataset = xr.Dataset({"I": ("q", np.arange(3.0)), "flat": (("y", "x"), np.ones((100, 100)))})
    into = catalog("jsonl", tmp_path)
    run = ingest.write_run(dataset, into=into)
    assert list(run) == ["primary", "primary_shared"]
    assert run["primary_shared"].read()["flat"].shape == (1, 100, 100)
    xr.testing.assert_identical(run.primary.read(), dataset)
    assert len(json.dumps(run.primary.descriptors[0])) < 3000
    with pytest.raises(UnsupportedOperation, match="'primary_shared', and there is one of that name: rename"):
        ingest.write_run({"primary": dataset, "primary_shared": xr.Dataset()}, into=into)


def test_auto_puts_little_in_events_and_much_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    into, database = catalog("jsonl", tmp_path), catalog("sqlite", tmp_path)
    small, large = (xr.Dataset({"a": (("t", "x"), np.zeros((n, 1024)))}) for n in (100, 200))
    assert ingest.write_run(small, into=into).files() == []
    assert [Path(file.path).suffix for file in ingest.write_run(large, into=into).files()] == [".h5"]
    assert ingest.write_run(large, into=database).files() == []
    [file] = ingest.write_run(large, into=database, files=tmp_path / "elsewhere").files()
    assert Path(file.path).parent == tmp_path / "elsewhere"
    monkeypatch.setattr(write, "MOST_INLINE", 2**20)
    with pytest.raises(UnsupportedOperation, match=r"1,638,400 bytes of values, too many .*no folder.*give files="):
        ingest.write_run(large, into=database)
    with pytest.raises(UnsupportedOperation, match="has no folder to put files into: give files="):
        ingest.write_run(large, into=database, arrays="zarr")


def test_without_h5py_arrays_are_in_zarr(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: Any) -> None:
        raise MissingDependency.of("h5py", extra="assets", purpose="to write")

    monkeypatch.setattr(array_files.HDF5File, "check_installed", staticmethod(missing))
    into, large = catalog("jsonl", tmp_path), xr.Dataset({"a": (("t", "x"), np.zeros((200, 1024)))})
    assert [file.path[-9:] for file in ingest.write_run(large, into=into).files()] == [".zarr.zip"]
    with pytest.raises(MissingDependency, match="h5py"):
        ingest.write_run(large, into=into, arrays="hdf5")


def test_a_long_stream_of_numbers_has_no_events(tmp_path: Path) -> None:
    into = catalog("jsonl", tmp_path)
    long = xr.Dataset({"a": ("t", np.arange(200_000))}, coords={"t": np.linspace(0, 1, 200_000)})
    run = ingest.write_run(long, into=into, arrays="hdf5")
    assert [name for name, _ in run.documents() if "event" in name] == []
    xr.testing.assert_identical(run.primary.read(), long)
    inline = ingest.write_run(long.chunk({"t": 70_000}), into=into, arrays="inline")
    pages = [doc for name, doc in inline.documents() if name == "event_page"]
    assert 10 < len(pages) < 50
    xr.testing.assert_identical(inline.primary.to_dask().compute(), long)


def test_events_have_the_times_of_the_dataset() -> None:
    into = BlueskyCatalog(MemoryStore())
    when = np.array(["2026-01-01T00:00:00.5", "NaT"], "datetime64[ns]")
    run = ingest.write_run(xr.Dataset({"a": ("time", [1, 2])}, {"time": when}), into=into, time=7.0)
    np.testing.assert_array_equal(run.primary(as_events=True).read()["time"], [1767225600.5, 7.0])
    copied = run.primary(as_events=True).read()
    again = ingest.write_run(copied, into=into)
    np.testing.assert_array_equal(again.primary(as_events=True).read()["time"], copied["time"])
    assert_same(again.primary.read(), copied)


def test_a_run_start_as_any(tmp_path: Path) -> None:
    into = catalog("jsonl", tmp_path)
    pattern = xr.Dataset({"I": ("tth", [1.0, 5.0])}, coords={"tth": [0.1, 0.2]})
    run = ingest.write_run(
        pattern, into=into, plan_name="simulation", uid="abc", time=5.0, parameters={"a": np.float64(5.43)}
    )
    assert run.start == {
        "uid": "abc", "time": 5.0, "plan_name": "simulation", "parameters": {"a": 5.43},
        "hints": {"dimensions": [[["tth"], "primary"]]},
    }  # fmt: skip
    assert run.stop is not None
    assert run.stop["exit_status"] == "success"
    assert list(into.search((Start("parameters.a") > 5) & (Data("I").max() == 5))) == ["abc"]
    assert set(run.primary(as_events=True).read().coords) == {"time", "seq_num", "tth"}
    assert run.primary.to_dataframe().columns.tolist() == ["time", "I", "tth"]
    with pytest.raises(DuplicateRun, match="abc"):
        ingest.write_run(pattern, into=into, uid="abc")
    with pytest.raises(UnsupportedOperation, match="of 'scan_id', 'one' is not of type 'integer'"):
        ingest.write_run(pattern, into=into, scan_id="one")
    with pytest.raises(UnsupportedOperation, match=r"a\.b"):
        ingest.write_run(pattern, into=into, parameters={"a.b": 1})


def test_a_tree_of_datasets() -> None:
    tree = xr.DataTree.from_dict(
        {
            "/": xr.Dataset(coords={"x": [1.0, 2.0]}),
            "/sim": xr.Dataset({"I": ("x", [3.0, 4.0])}),
            "/sim/fit": xr.Dataset({"a": 1.0}),
            "/empty": xr.Dataset(),
        }
    )
    run = ingest.write_run(tree, into=BlueskyCatalog(MemoryStore()))
    assert list(run) == ["primary", "sim", "sim/fit"]
    xr.testing.assert_identical(run["sim"].read(), tree["sim"].to_dataset())
    xr.testing.assert_identical(run["sim/fit"].read(), xr.Dataset({"a": 1.0}))


def test_the_dimension_of_events_may_be_chosen() -> None:
    into, dataset = BlueskyCatalog(MemoryStore()), xr.Dataset({"a": (("x", "y"), np.zeros((2, 3)))})
    run = ingest.write_run({"primary": dataset, "b": xr.Dataset()}, into=into, dimension="y")
    assert run.primary(as_events=True).read()["a"].shape == (3, 2)
    xr.testing.assert_identical(run.primary.read(), dataset)
    with pytest.raises(UnsupportedOperation, match="no Dataset has the dimension 'z'"):
        ingest.write_run(dataset, into=into, dimension="z")


@pytest.mark.parametrize(
    ("streams", "options", "said"),
    [
        (xr.DataArray([1]), {}, r"not DataArray: give array\.to_dataset"),
        ({}, {}, "not an empty one"),
        ({1: xr.Dataset()}, {}, "stream 1 is a Dataset: a stream has a text as its name"),
        ({"a": [1]}, {}, "stream 'a' is a list"),
        (xr.Dataset(), {"arrays": "csv"}, "not 'csv'"),
        (xr.Dataset(), {"arrays": "inline", "files": "x"}, "leave out arrays='inline'"),
    ],
)
def test_what_is_no_run(streams: Any, options: dict[str, Any], said: str) -> None:
    with pytest.raises(UnsupportedOperation, match=said):
        ingest.write_run(streams, into=BlueskyCatalog(MemoryStore()), **options)


def nothing_below(folder: Path) -> bool:
    return not [name for _, _, names in os.walk(folder) for name in names if not name.startswith(".")]


def broken(block: Any) -> Any:
    raise RuntimeError("the simulation failed")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("driver", DRIVERS)
def test_a_dataset_that_cannot_be_computed_leaves_nothing(driver: str, kind: Any, tmp_path: Path) -> None:
    into, files = catalog(driver, tmp_path), tmp_path / "files"
    ingest.write_run(xr.Dataset(), into=into)
    lazy = xr.Dataset({"a": (("t", "x"), da.ones((4, 300), chunks=(2, -1)).map_blocks(broken, dtype=float))})
    with pytest.raises(RuntimeError, match="the simulation failed"):
        ingest.write_run(lazy, into=into, arrays=kind, files=files if kind != "inline" else None, uid="u")
    assert len(into.refresh()) == 1
    assert nothing_below(files)
    run = ingest.write_run(xr.Dataset({"a": 1}), into=into, uid="u")
    assert run.primary.read()["a"] == 1


@pytest.mark.parametrize("driver", DRIVERS)
def test_one_of_several_writers_of_a_uid_wins(driver: str, tmp_path: Path) -> None:
    into = catalog(driver, tmp_path)

    def write_one(number: int) -> int:
        dataset = xr.Dataset({"a": (("t", "x"), np.full((4, 300), number))})
        try:
            ingest.write_run(dataset, into=into, arrays="hdf5", files=tmp_path / "files", uid="u")
        except DuplicateRun:
            return -1
        return number

    with ThreadPoolExecutor(4) as pool:
        won = [number for number in pool.map(write_one, range(8)) if number >= 0]
    assert len(won) == 1
    assert into["u"].primary.read()["a"].values[0, 0] == won[0]
    assert len(list((tmp_path / "files").iterdir())) == 1


def test_what_a_killed_program_left_is_removed(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    names = {number: f"run.h5.{file_places._me()}{number}.part" for number in (ended.pid, os.getpid())}
    for name in names.values():
        (tmp_path / name).touch()
    ingest.write_run(images(), into=BlueskyCatalog(MemoryStore()), arrays="hdf5", files=tmp_path)
    assert [path.name for path in tmp_path.glob("*.part")] == [names[os.getpid()]]


class Refusing(WrapperStore):
    """A store that takes no stop."""

    def insert_runs(self, runs: Any) -> Any:
        for run in runs:
            list(run)
            yield StoreUnavailable("the disk is full")


class Forgetting(WrapperStore):
    """A store that gives other values than it was given."""

    def event_pages(self, *args: Any, **options: Any) -> Any:
        for page in super().event_pages(*args, **options):
            yield type(page)(
                page.descriptor, page.seq_num, page.time, {k: take(c, [0] * len(c)) for k, c in page.data.items()}
            )


def test_a_store_that_fails_leaves_no_file(tmp_path: Path) -> None:
    into = BlueskyCatalog(Refusing(MemoryStore()))
    with pytest.raises(StoreUnavailable, match="full"):
        ingest.write_run(images(), into=into, arrays="hdf5", files=tmp_path)
    assert nothing_below(tmp_path)


def test_what_is_read_back_is_compared(tmp_path: Path) -> None:
    store = MemoryStore()
    into, dataset = BlueskyCatalog(Forgetting(store)), xr.Dataset({"a": ("x", [1.5, 2.0])})
    with pytest.raises(DamagedRun, match="stream 'primary': 'a' has other values: it was taken out"):
        ingest.write_run(dataset, into=into)
    assert list(store.find()) == []
    assert ingest.write_run(dataset, into=into, check=False).primary.read()["a"].values.tolist() == [1.5, 1.5]


def test_a_place_that_is_no_folder(tmp_path: Path) -> None:
    file = tmp_path / "a file"
    file.touch()
    into = catalog("jsonl", tmp_path)
    with pytest.raises(StoreUnavailable, match=r"cannot be written to .*a file"):
        ingest.write_run(images(), into=into, arrays="hdf5", files=file)
    assert len(into) == 0


class Reading(WrapperStore):
    """A store that only reads."""

    writable = False


def test_a_catalog_that_is_read_only() -> None:
    with pytest.raises(UnsupportedOperation, match="open for reading only"):
        ingest.write_run(xr.Dataset(), into=BlueskyCatalog(Reading(MemoryStore())))


def test_values_of_a_lazy_dataset_are_read_when_they_are_computed(tmp_path: Path) -> None:
    netcdf = tmp_path / "sim.nc"
    images().drop_vars("phase").to_netcdf(netcdf, engine="h5netcdf")
    with xr.open_dataset(netcdf, engine="h5netcdf") as lazy:
        run = ingest.write_run(lazy, into=catalog("jsonl", tmp_path), arrays="hdf5")
        assert_same(run.primary.read(), lazy)


def test_trees_are_of_events_or_of_the_datasets() -> None:
    run = ingest.write_run(images(), into=BlueskyCatalog(MemoryStore()))
    assert run.to_datatree()["primary/image"].dims == ("time", "y", "x")
    assert "seq_num" in run.to_datatree()["primary"].coords
    tree = run.to_datatree(portable=False, as_events=False)
    xr.testing.assert_identical(tree["primary"].to_dataset().compute(), images())
    assert list(run.to_datatree(include=["label"])["primary"].data_vars) == ["label"]


def test_a_catalog_of_no_runs_is_told() -> None:
    """A file of catalogs has no store, and a name is none."""
    of_others, dataset = Catalog.from_dict({"reduced": BlueskyCatalog(MemoryStore())}), xr.Dataset({"a": 1.0})
    given: Any
    for given, told in ((of_others, "a catalog of others.*it has 'reduced'"), ("reduced", "open it first")):
        with pytest.raises(UnsupportedOperation, match=told):
            ingest.write_run(dataset, into=given)
        with pytest.raises(UnsupportedOperation, match=told):
            ingest.copy(BlueskyCatalog(MemoryStore()), into=given)
        with pytest.raises(UnsupportedOperation, match=told):
            ingest.copy(given, into=BlueskyCatalog(MemoryStore()))
