"""A run that several sources have is read to its end, whichever of them fail, also in graphs that were made before."""

from __future__ import annotations

import os
import pickle
import shutil
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from intake_bluesky import BlueskyCatalog, ingest
from intake_bluesky.catalogs.federated import BlueskyFederatedCatalog
from intake_bluesky.datasets.zarr_runs import objects
from intake_bluesky.documents.model import EventPage, RunHeader
from intake_bluesky.errors import AssetUnavailable, SourceLeftOutWarning, StoreUnavailable
from intake_bluesky.testing import EXAMPLES
from intake_bluesky.testing.compose import RunComposer, data_key
from intake_bluesky.testing.examples import Run
from intake_bluesky.testing.memory import MemoryStore
from intake_bluesky_jsonl import BlueskyJSONLCatalog
from intake_bluesky_sql import BlueskySQLCatalog
from intake_bluesky_zarr import BlueskyZarrCatalog
from tests.datasets.zarr_runs.test_writing import frames

FROM_COPY = "it is read from its copy in source 'second'"


def numbers(events: int = 40) -> Run:
    run = RunComposer("numbers", scan_id=1)
    primary = run.descriptor({"x": data_key("number"), "name": data_key("string")})
    for value in range(events):
        run.event(primary, {"x": float(value), "name": f"event {value}"})
    run.stop()
    return run.documents


class Stopping(MemoryStore):
    """Gives so many pages of events, and then fails; `stopped` fails at once, whatever is asked."""

    def __init__(self, runs: Any, pages: int = 1_000_000) -> None:
        super().__init__(runs, page_size=4)
        self.left, self.stopped = pages, False

    def header(self, uid: str) -> RunHeader:
        if self.stopped:
            raise StoreUnavailable("the database is gone")
        return super().header(uid)

    def event_pages(self, *args: Any, **options: Any) -> Iterator[EventPage]:
        for page in super().event_pages(*args, **options):
            self.left -= 1
            if self.stopped or self.left < 0:
                raise StoreUnavailable("the database is gone")
            yield page


def both(first: Any, second: Any, **options: Any) -> BlueskyFederatedCatalog:
    given = {name: BlueskyCatalog(s) if isinstance(s, MemoryStore) else s for name, s in
             (("first", first), ("second", second))}  # fmt: skip
    return BlueskyFederatedCatalog(given, **options)


@pytest.mark.parametrize("pages", [0, 1, 7])
def test_events_go_on_in_the_next_copy(pages: int) -> None:
    """From where the first store failed: none is lost, none comes twice."""
    whole = BlueskyCatalog(MemoryStore([numbers()]))[-1].primary.read()
    first = Stopping([numbers()])
    catalog = both(first, MemoryStore([numbers()], page_size=3), on_error="warn")
    run = catalog[-1]
    lazy = run.primary.to_dask()
    first.left = pages
    with pytest.warns(SourceLeftOutWarning, match=f"{FROM_COPY}, for source 'first' cannot be read: the database"):
        xr.testing.assert_identical(lazy.compute(scheduler="sync"), whole)
    assert [(p.where, p.uid) for p in catalog.problems] == [("first", run.uid)]
    first.stopped = True
    xr.testing.assert_identical(run.primary.read(), whole)
    assert [name for name, _ in run.documents()] == [name for name, _ in numbers()]
    first.stopped, first.left = False, 1000
    assert not catalog.refresh().problems


def test_a_source_that_stops_without_a_copy_is_named() -> None:
    """A run of the same uid that is another is no copy."""
    first = Stopping([numbers()])
    run = both(first, MemoryStore([numbers(41)]))[-1]
    lazy = run.primary.to_dask()
    first.stopped = True
    told = "source 'first' of the federation, and no other has a copy: the database is gone"
    with pytest.raises(StoreUnavailable, match=told):
        lazy.compute(scheduler="sync")


def test_files_of_runs_that_are_gone(tmp_path: Path) -> None:
    """Copies of other kinds of store are found to be the same; and in other processes."""
    here = BlueskyJSONLCatalog(str(tmp_path / "here"))
    there = BlueskySQLCatalog(f"sqlite:///{tmp_path}/there.db")
    for target in (here, there):
        assert not ingest.copy(BlueskyCatalog(MemoryStore([numbers(2000)])), into=target).refused
    catalog = both(here, there)
    run = catalog[-1]
    assert run.origin.source == "first"
    expected, lazy = run.primary.read(), run.primary(target_chunk="4 KiB").to_dask()
    shutil.rmtree(tmp_path / "here")
    with pytest.warns(SourceLeftOutWarning, match=FROM_COPY):
        xr.testing.assert_identical(lazy.compute(scheduler="threads"), expected)
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        xr.testing.assert_identical(pool.submit(_computed, pickle.dumps(lazy)).result(), expected)


def _computed(pickled: bytes) -> xr.Dataset:
    found: xr.Dataset = pickle.loads(pickled).compute(scheduler="sync")
    return found


def _images(folder: Path) -> tuple[BlueskyFederatedCatalog, xr.DataArray]:
    """A federation of two catalogs whose documents are the same, each with files of its own."""
    for name in ("first", "second"):
        (folder / name).mkdir()
    documents = frames(folder / "first", 6, (8, 8))
    shutil.copy(folder / "first" / "frames.h5", folder / "second" / "frames.h5")
    elsewhere = BlueskyCatalog(MemoryStore([documents]), root_map={str(folder / "first"): str(folder / "second")})
    catalog = both(MemoryStore([documents]), elsewhere)
    return catalog, catalog[-1].primary.read()["image"]


def test_files_of_detectors_that_are_gone(tmp_path: Path) -> None:
    """Each source finds files by its own `root_map`: the copy's file is read, before and after the graph is made."""
    catalog, expected = _images(tmp_path)
    lazy = catalog[-1].primary.to_dask()["image"]
    os.remove(tmp_path / "first" / "frames.h5")
    for array in (lazy, pickle.loads(pickle.dumps(lazy)), catalog[-1].primary.to_dask()["image"]):
        xr.testing.assert_identical(array.compute(scheduler="threads"), expected)
    xr.testing.assert_identical(catalog[-1].primary.read()["image"], expected)
    # What is asked for is the preferred copy's files: they are gone.
    assert [file.exists for file in catalog[-1].files()] == [False]
    os.remove(tmp_path / "second" / "frames.h5")
    with pytest.raises(AssetUnavailable, match=r"first/frames\.h5: there is no such file"):
        lazy.compute(scheduler="threads")


def test_a_file_that_is_no_copy_is_not_read(tmp_path: Path) -> None:
    catalog, _ = _images(tmp_path)
    lazy = catalog[-1].primary.to_dask()["image"]
    (tmp_path / "other").mkdir()
    frames(tmp_path / "other", 6, (8, 9))
    shutil.copy(tmp_path / "other" / "frames.h5", tmp_path / "second" / "frames.h5")
    os.remove(tmp_path / "first" / "frames.h5")
    with pytest.raises(AssetUnavailable, match=r"first/frames\.h5"):
        lazy.compute(scheduler="threads")


@pytest.mark.parametrize("kind", ["events", "arrays"])
def test_arrays_of_zarr_that_are_gone(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects, "TAIL", 2**12)  # else all of a small run is in memory once it was opened
    first = BlueskyZarrCatalog(str(tmp_path / "first"), arrays="always")
    other = str(tmp_path / "second")
    second = BlueskyZarrCatalog(other, arrays="always") if kind == "arrays" else BlueskyJSONLCatalog(other)
    for target in (first, second):
        assert not ingest.copy(BlueskyCatalog(MemoryStore([numbers(2000)])), into=target).refused
    run = both(first, second)[-1]
    expected, lazy = run.primary.read(), run.primary.to_dask()
    shutil.rmtree(tmp_path / "first")
    parts = [lazy.isel(time=rows) for rows in (slice(None), slice(3, 9), slice(20, None, 3), [1, 5, 4])]
    with pytest.warns(SourceLeftOutWarning, match=FROM_COPY):
        found = [part.compute(scheduler="sync") for part in parts]
    for part, rows in zip(found, (slice(None), slice(3, 9), slice(20, None, 3), [1, 5, 4]), strict=True):
        xr.testing.assert_identical(part, expected.isel(time=rows))
    first.store.close()


def test_a_run_that_goes_on_has_no_copies() -> None:
    """One of them may be ahead of the other."""
    first = Stopping([numbers()[:-1]])
    run = both(first, MemoryStore([numbers()[:-1]]))[-1]
    first.stopped = True
    with pytest.raises(StoreUnavailable, match="no other has a copy"):
        run.primary.read()


def test_examples_have_copies_in_any_kind_of_store(tmp_path: Path) -> None:
    """What tells a copy from another run is the same, however its documents were stored."""
    runs = [EXAMPLES[name](tmp_path) for name in ("scan", "count", "grid_scan") if name in EXAMPLES]
    targets = [BlueskyJSONLCatalog(str(tmp_path / "a")), BlueskySQLCatalog(f"sqlite:///{tmp_path}/b.db")]
    for target in targets:
        assert not ingest.copy(BlueskyCatalog(MemoryStore(runs)), into=target).refused
    catalog = both(*targets)
    assert {run.origin.source for run in catalog.values()} == {"first"}
    for run in catalog.values():
        assert [name for name, _ in run._store.others()] == ["second"]
        assert run.primary.read().equals(targets[1][run.uid].primary.read())
    assert np.all([run.uid in targets[1] for run in catalog.values()])


@pytest.mark.parametrize("pages", [0, 3])
@pytest.mark.parametrize("pickled", [False, True])
def test_a_copy_with_its_events_in_another_order_is_none(pages: int, pickled: bool) -> None:
    """Blocks are read by their places among the stored events: others would be there."""
    documents = numbers()
    events = [one for one in documents if one[0] == "event"]
    turned = [one for one in documents if one[0] not in ("event", "stop")] + events[::-1] + [documents[-1]]
    first = Stopping([documents])
    run = both(first, MemoryStore([turned], page_size=3), on_error="warn")[-1]
    lazy = run.primary.to_dask()
    first.left = pages
    lazy = pickle.loads(pickle.dumps(lazy)) if pickled else lazy
    with pytest.raises(StoreUnavailable, match="no other has a copy"):
        lazy.compute(scheduler="sync")
