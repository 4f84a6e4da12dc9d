"""The store of simulations against the conformance suite: its runs are outputs that xarray wrote."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from intake_bluesky.datasets.stored_datasets.describe import describe
from intake_bluesky.datasets.stored_datasets.documents import descriptors, event_pages
from intake_bluesky.errors import RunNotFound, StreamNotFound
from intake_bluesky.query import ALL
from intake_bluesky.storage.order import Order
from intake_bluesky.testing.runs import Run
from intake_bluesky.testing.stores import Runs, StoreReadingTests, StoreValueTests
from intake_bluesky_simulation.simulation_starts import SimulationStarts
from intake_bluesky_simulation.store import SimulationStore
from tests.drivers.simulated import pattern, sweep, write

DATASETS: dict[str, Callable[[], xr.Dataset]] = {
    "pattern": lambda: pattern(5.43),
    "scalars": lambda: xr.Dataset({"energy": 1.5, "steps": 3, "code": "dft"}),
    "images": lambda: xr.Dataset({"image": (("time", "y", "x"), np.arange(120.0).reshape(5, 4, 6))}),
    "kinds": lambda: xr.Dataset(
        {
            "when": ("q", np.array(["2026-05-01", "NaT", "2026-05-03"], "M8[ns]")),
            "flag": ("q", [True, False, True]),
            "small": ("q", np.array([1, -2, 3], np.int8)),
            "gaps": ("q", [1.0, np.nan, np.inf]),
            "names": (("q", "n"), np.array([["a", "b"], ["µ", ""], ["c", "d"]], object)),
        }
    ),
    "shared axis": lambda: xr.Dataset(
        {"I": (("q", "x"), np.zeros((3, 2000)))}, {"q": [1, 2, 3], "x": np.arange(2000.0)}
    ),
    "empty": xr.Dataset,
    "no places": lambda: xr.Dataset({"x": ("q", np.zeros(0)), "y": ("p", [1.0])}),
    "sweep": sweep,
}


def documents_of(folder: Path, name: str, ending: str) -> Run:
    """The documents of one output as they are expected: by the arrays of xarray in memory, without this driver."""
    path = write(DATASETS[name](), folder / f"{name.replace(' ', '_')}{ending}")
    with xr.open_dataset(path, engine="zarr" if ending == ".zarr" else "h5netcdf") as found:
        dataset = found.load()
    (summary,) = SimulationStore(SimulationStarts({"plan_name": "scan"}), paths=[str(path)]).find()
    uid, time = summary.uid, summary.start["time"]
    stored = describe(dataset, time=time)
    docs = descriptors(stored, "primary", run_start=uid, uid=f"{uid}-primary", time=time)
    run: list[tuple[str, Any]] = [("start", summary.start), *(("descriptor", doc) for doc in docs)]
    for doc in docs:
        own = doc["name"] == "primary"
        columns, events = (stored.columns, stored.events) if own else (stored.shared_columns, 1)
        run += [("event_page", page) for page in event_pages(columns, np.full(events, time), doc["uid"])]
    return [*run, ("stop", summary.stop)]


class OutputTests(StoreReadingTests[SimulationStore], StoreValueTests[SimulationStore]):
    """What is in a store that others wrote; tests that put in runs with uids of their own are replaced."""

    ending = ".nc"

    def make_store(self, folder: Path) -> SimulationStore:
        return SimulationStore(SimulationStarts({"plan_name": "scan"}), paths=[str(folder)])

    @pytest.fixture(scope="class")
    @classmethod
    def outputs(cls, tmp_path_factory: pytest.TempPathFactory) -> Path:
        return tmp_path_factory.mktemp("outputs")

    @pytest.fixture(scope="class")
    @classmethod
    def examples(cls, outputs: Path) -> Runs:
        return {name: documents_of(outputs, name, cls.ending) for name in DATASETS}

    @pytest.fixture(scope="class")
    @classmethod
    def stored(cls, examples: Runs, outputs: Path) -> SimulationStore:
        return cls().make_store(outputs)

    def put_outputs(self, store: SimulationStore) -> list[str]:
        """Write some outputs and give the uids of their runs."""
        [folder] = store._paths
        for place in range(5):
            write(pattern(5.43), Path(folder) / f"{place}{self.ending}")
        store.refresh()
        return [run.uid for run in store.find()]

    def test_find_yields_by_time_and_uid(self, store: SimulationStore) -> None:
        assert len(self.put_outputs(store)) == 5
        for order in Order:
            observed = [(run.time, run.uid) for run in store.find(store.plan(ALL, order))]
            assert observed == sorted(observed, reverse=order is Order.NEWEST)

    def test_find_takes_offset_and_limit(self, store: SimulationStore) -> None:
        whole = self.put_outputs(store)
        for offset, limit in product((0, 1, 4, 20), (None, 0, 1, 30)):
            assert [run.uid for run in store.find(offset=offset, limit=limit)] == whole[offset:][:limit]

    @pytest.mark.parametrize("uid", ["0000-no-such-run", ""])
    def test_unknown_run(self, store: SimulationStore, uid: str) -> None:
        for ask in (
            store.header,
            lambda uid: [*store.documents(uid)],
            lambda uid: [*store.event_pages(uid, "primary")],
        ):
            with pytest.raises(RunNotFound, match=repr(uid)):
                ask(uid)

    def test_unknown_stream(self, store: SimulationStore) -> None:
        uid, *_ = self.put_outputs(store)
        with pytest.raises(StreamNotFound, match="no stream 'no such stream'; it has 'primary'"):
            list(store.event_pages(uid, "no such stream"))


class TestNetCDF(OutputTests):
    """netCDF files."""


class TestZarr(OutputTests):
    """Zarr hierarchies."""

    ending = ".zarr"
