"""Searches over keys whose descriptors say too little, or too much."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import run as run_process

import pytest

from intake_bluesky import Data
from intake_bluesky.catalogs.run_catalog import BlueskyCatalog
from intake_bluesky.search.run_statistics import measured
from intake_bluesky.storage.contract import RunStore
from intake_bluesky.testing.asset_runs import DATASET, HDF5, frames, write_hdf5
from intake_bluesky.testing.compose import RunComposer, data_key
from intake_bluesky.testing.examples import Run
from intake_bluesky.testing.memory import MemoryStore
from intake_bluesky_jsonl import BlueskyJSONLCatalog
from intake_bluesky_sql import SQLStore


def streamed(folder: Path) -> Run:
    run = RunComposer("streamed")
    primary = run.descriptor({"image": data_key("array", [1, 4, 6], dtype_numpy="<u2")})
    uri = write_hdf5(folder / "frames.h5", frames(3))
    resource = run.stream_resource("image", mimetype=HDF5, uri=uri, dataset=DATASET)
    run.stream_datum(resource, primary, (1, 4))
    run.stop()
    return run.documents


def datums(folder: Path) -> Run:
    write_hdf5(folder / "frames.h5", frames(3), dataset="entry/data/data")
    run = RunComposer("datums")
    primary = run.descriptor({"image": data_key("array", [4, 6])})
    resource = run.resource("AD_HDF5", root=str(folder), path="frames.h5", frame_per_point=1)
    for n in range(3):
        run.event(primary, {"image": run.datum(resource, n, point_number=n)})
    run.stop()
    return run.documents


@pytest.mark.parametrize("documents", [streamed, datums])
@pytest.mark.parametrize("way", ["written", "scanned", "sqlite"])
def test_nor_do_stores_measure_it_as_they_write(documents: Callable[[Path], Run], way: str, tmp_path: Path) -> None:
    store: RunStore
    store = SQLStore(tmp_path / "runs.db") if way == "sqlite" else BlueskyJSONLCatalog(str(tmp_path / "runs")).store
    first, *others = documents(tmp_path)
    with store.insert(first[1]) as insert:
        for name, doc in others:
            insert.write(name, doc)
    store.refresh(deep=way == "scanned")
    catalog = BlueskyCatalog(store)
    most = catalog[-1].primary.read()["image"].values.max()
    assert [len(catalog.search(Data("image").max() >= limit)) for limit in (most, most + 1)] == [1, 0]
    store.close()


@pytest.mark.parametrize("documents", [streamed, datums])
def test_a_key_that_forgot_external_is_searched_as_it_is_read(documents: object, tmp_path: Path) -> None:
    assert callable(documents)
    store = MemoryStore([documents(tmp_path)])
    catalog = BlueskyCatalog(store)
    most = catalog[-1].primary.read()["image"].values.max()
    assert [len(catalog.search(Data("image").max() >= limit)) for limit in (most, most + 1)] == [1, 0]
    found, _ = measured(store, store.header(next(store.find()).uid))
    assert found["primary", "image"] is None  # of files: how they are read decides


@pytest.mark.parametrize("shape", [[2048, 2048], [2**40, 2**40], [2**70], [-(2**70)]])
def test_what_another_key_declares_costs_a_search_nothing(shape: list[int]) -> None:
    run = RunComposer("large")
    primary = run.descriptor({"image": data_key("array", shape), "x": data_key("number")})
    for n in range(200):
        run.event(primary, {"x": float(n)} if n else {"x": 0.0, "image": None})
    run.stop()
    store = MemoryStore([run.documents])
    assert [len(BlueskyCatalog(store).search(Data("x").max() > limit)) for limit in (198, 199)] == [1, 0]
    found, _ = measured(store, store.header(next(store.find()).uid))
    assert found["primary", "x"].max == 199  # type: ignore[union-attr]
    lacking = found["primary", "image"]
    assert lacking is None or lacking.count == lacking.nan_count


def test_plain_numbers_take_no_dask() -> None:
    code = (
        "import sys; from intake_bluesky.testing.memory import MemoryStore; "
        "from intake_bluesky.testing.runs import EXAMPLES; from intake_bluesky.search.run_view import StoredRun; "
        "store = MemoryStore([EXAMPLES['scan'](None)]); run = StoredRun(store, next(store.find())); "
        "print(run.may_be_files('primary', 'theta'), 'intake_bluesky.datasets.stream_reader' in sys.modules)"
    )
    process = run_process([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert process.stdout.split() == ["False", "False"]
