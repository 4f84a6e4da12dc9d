"""Every run goes to Zarr: xarray alone reads what `to_datatree` gives, and the reader what events and files hold."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from zarr.storage import ZipStore

from intake_bluesky.catalogs.run import BlueskyRun
from intake_bluesky.documents.exact_json import json_text
from intake_bluesky.errors import AssetUnavailable
from intake_bluesky.testing import EXAMPLES, MemoryStore
from intake_bluesky.testing.examples import Run
from intake_bluesky.testing.strategies import odd_runs, runs
from tests.datasets.zarr_runs.beside import beside, run_of

pytestmark = pytest.mark.filterwarnings(
    "ignore:The data type .NullTerminatedBytes:zarr.errors.UnstableSpecificationWarning"
)
NAMES = itertools.count()


def tree_of(url: str) -> xr.DataTree:
    """What xarray finds at a URL."""
    where: Any = ZipStore(url) if url.endswith(".zip") else url
    engine: Any = "zarr" if url.endswith(".zip") else None
    return xr.open_datatree(where, engine=engine, decode_times=False, zarr_format=3).load()


def check_tree(run: BlueskyRun, url: str, **options: Any) -> None:
    expected, observed = run.to_datatree(**options).load(), tree_of(url)
    assert list(observed.groups) == list(expected.groups)
    assert list(observed.attrs) == [
        "start",
        "stop",
        "descriptors",
        "documents",
        "format",
        "format_version",
        "streams",
        "checksum",
    ]
    assert {name: observed.attrs[name] for name in expected.attrs} == expected.attrs
    assert observed.attrs["descriptors"] == json_text(run.descriptors)
    for group in expected.groups[1:]:
        ours, theirs = expected[group].to_dataset(), observed[group].to_dataset()
        xr.testing.assert_identical(ours, theirs)
        assert list(theirs.variables) == list(ours.variables)
        for name, variable in ours.variables.items():
            assert theirs[name].dtype == variable.dtype.newbyteorder("=") or variable.dtype.kind == "O"
    for text in map(str, (Path(url).rglob("zarr.json") if Path(url).is_dir() else ())):
        json.loads(Path(text).read_text(), parse_constant=pytest.fail)  # NaN and Infinity are no JSON


def check_reader(run: BlueskyRun, url: str) -> None:
    stored = beside(run, url)
    for name in run:
        ours, theirs = (one[name](on_missing="fill") for one in (run, stored))
        expected = ours.read()
        for observed in (theirs.read(), theirs.to_dask().compute(scheduler="threads")):
            xr.testing.assert_identical(observed, expected)
            for variable in expected.variables:
                assert observed[variable].dtype == expected[variable].dtype.newbyteorder("=")


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_examples(name: str, tmp_path: Path) -> None:
    run = run_of(EXAMPLES[name](tmp_path))
    try:
        url = run.to_zarr(f"{tmp_path}/runs/")
    except AssetUnavailable:
        url = run.to_zarr(f"{tmp_path}/runs/", on_missing="fill")
    assert url == f"{tmp_path}/runs/{run.uid}.zarr{'.zip' if run.is_complete else ''}"
    check_tree(run, url, on_missing="fill")
    check_reader(run, url)


def check_drawn(documents: Run) -> None:
    run = run_of(documents)
    url = run.to_zarr(f"memory://drawn/{next(NAMES)}.zarr", on_missing="fill")
    check_tree(run, url, on_missing="fill")
    check_reader(run, url)


@settings(max_examples=settings().max_examples // 2)
@given(runs(max_steps=4))
def test_any_run(documents: Run) -> None:
    check_drawn(documents)


@settings(max_examples=settings().max_examples // 2)
@given(odd_runs(max_steps=4))
def test_any_odd_run(documents: Run) -> None:
    check_drawn(documents)


def test_nothing_is_parsed_for_what_is_stored(tmp_path: Path) -> None:
    run = run_of(EXAMPLES["inline_images"](tmp_path))
    url = run.to_zarr(tmp_path / "run.zarr")
    store: MemoryStore = run._store  # type: ignore[assignment]  # the one that it was made of
    stored = beside(run, url)
    store.parsed.clear()
    (name,) = stored
    ds = stored[name].read()
    assert store.reads == 0
    np.testing.assert_array_equal(ds["seq_num"], run[name].read()["seq_num"])
