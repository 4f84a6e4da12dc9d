"""Simulations as runs: 10,000 files, and 10,000 points of one file, opened, listed, searched and read."""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np
import pytest
import xarray as xr

from intake_bluesky.query import Start
from intake_bluesky_simulation import BlueskySimulationCatalog
from tests.drivers.simulated import pattern, write

MANY: Final = 10_000
STEPS: Final = np.round(5 + np.arange(MANY) / MANY, 4)

Opener = Callable[[], BlueskySimulationCatalog]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file for each lattice parameter, links to one; and a sweep over all of them."""
    made = tmp_path_factory.mktemp("simulations")
    first = write(pattern(5.43), made / "a_5.0.nc")
    for a in STEPS[1:]:
        os.link(first, made / f"a_{a}.nc")
    values = np.random.default_rng(1).random((MANY, 500), np.float32)
    whole = xr.Dataset({"I": (("a", "tth"), values)}, {"a": STEPS, "tth": np.linspace(4, 20, 500)})
    write(whole, made / "sweep.h5", encoding={"I": {"chunksizes": (1, 500)}})
    return made


@pytest.fixture(params=["files", "points of one file"])
def opened(request: pytest.FixtureRequest, folder: Path) -> Opener:
    """Open a catalog of the files, or of the points."""
    if request.param == "files":
        return lambda: BlueskySimulationCatalog(folder / "a_{a:f}.nc")
    return lambda: BlueskySimulationCatalog(folder / "sweep.h5", sweep="a")


def test_opened_and_counted(benchmark: Any, opened: Opener) -> None:
    benchmark.group = f"simulations, {MANY:,}"
    assert benchmark.pedantic(lambda: len(opened()), rounds=5, warmup_rounds=1) == MANY


def test_opened_and_listed_with_their_metadata(benchmark: Any, opened: Opener) -> None:
    benchmark.group = f"simulations, {MANY:,}"
    found = benchmark.pedantic(lambda: [run.start for run in opened().arrangement.runs()], rounds=5, warmup_rounds=1)
    assert len(found) == MANY


@pytest.mark.parametrize("query", [Start("parameters.a") > 5.9, Start("parameters.a") == 5.5], ids=["range", "one"])
def test_searched_by_a_parameter(benchmark: Any, opened: Opener, query: Any) -> None:
    benchmark.group = f"simulations, {MANY:,}"
    catalog = opened()
    assert benchmark.pedantic(lambda: len(catalog.search(query)), rounds=7, warmup_rounds=1) in (1, 999)


def test_looked_at_again(benchmark: Any, opened: Opener) -> None:
    benchmark.group = f"simulations, {MANY:,}"
    catalog = opened()
    assert len(benchmark.pedantic(catalog.refresh, rounds=5, warmup_rounds=1)) == MANY


class TestOnePoint:
    """Of the sweep."""

    def test_by_h5py_floor(self, benchmark: Any, folder: Path) -> None:
        benchmark.group = "simulations, a point of a sweep that nobody read before"
        places = count()

        def read() -> Any:
            with h5py.File(folder / "sweep.h5") as file:
                return file["I"][next(places)]

        assert benchmark.pedantic(read, rounds=50, warmup_rounds=2).size == 500

    @pytest.mark.parametrize("lazily", [False, True])
    def test_as_a_run(self, benchmark: Any, folder: Path, lazily: bool) -> None:
        benchmark.group = "simulations, a point of a sweep that nobody read before"
        catalog = BlueskySimulationCatalog(folder / "sweep.h5", sweep="a")
        uids = iter(list(catalog))

        def read() -> Any:
            stream = catalog[next(uids)].primary
            return stream.to_dask()["I"].values if lazily else stream.read()["I"].values

        assert benchmark.pedantic(read, rounds=50, warmup_rounds=2).size == 500
