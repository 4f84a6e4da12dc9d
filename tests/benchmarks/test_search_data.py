"""Searches in data: of 20,000 runs that were scanned, and the wish list's three questions on what a RunEngine made."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any, Final

import orjson
import pytest

from intake_bluesky.apps.demo.experiments import Experiments
from intake_bluesky.query import Config, Data, Device, Query, Start
from intake_bluesky_jsonl import BlueskyJSONLCatalog, JSONLStore
from tests.benchmarks.test_files import RUNS, small_run


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BlueskyJSONLCatalog]:
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INTAKE_BLUESKY_CACHE", str(tmp_path_factory.mktemp("cache")))
        for number in range(RUNS):
            run = small_run(number)
            (folder / f"{run[0][1]['uid']}.jsonl").write_bytes(b"".join(orjson.dumps(pair) + b"\n" for pair in run))
        catalog = BlueskyJSONLCatalog(str(folder))
        assert isinstance(catalog.store, JSONLStore)
        catalog.store.scan()
        yield catalog
    shutil.rmtree(folder)


SEARCHING: Final = f"search the data of {RUNS:,} runs that were scanned, and len"


def test_a_key_for_the_first_time(benchmark: Any, catalog: BlueskyJSONLCatalog) -> None:
    benchmark.group = SEARCHING
    keys = count()
    search = lambda: len(catalog.search(Data(f"motor_{next(keys)}_readback").max() > 0.5))  # noqa: E731
    assert benchmark.pedantic(search, rounds=5) == RUNS


COUNTED: dict[str, tuple[Query, int]] = {
    "some hits": (Data("det_3").max() >= RUNS - 1000, 1001),
    "all": (Data("det_3").count() == 11, RUNS),
    "none": (Data("det_3").max() > 2 * RUNS, 0),
    "an interval": (Data("det_3").between(100, 200), 101),
    "not": (~(Data("det_3").max() > 1000), 999),
    "with a start": ((Data("det_3").max() >= RUNS - 1000) & (Start("plan_name") == "scan"), 500),
}


@pytest.mark.parametrize("name", COUNTED)
def test_again(benchmark: Any, catalog: BlueskyJSONLCatalog, name: str) -> None:
    benchmark.group = SEARCHING
    query, expected = COUNTED[name]
    assert benchmark.pedantic(lambda: len(catalog.search(query)), rounds=7, warmup_rounds=1) == expected


def test_metadata_of_a_tenth(benchmark: Any, catalog: BlueskyJSONLCatalog) -> None:
    benchmark.group = SEARCHING
    hits = catalog.search(Data("det_3").between(1000, 3000))
    found = benchmark.pedantic(lambda: [run.start["scan_id"] for run in hits.arrangement.runs()], rounds=5)
    assert len(found) == 2001


@pytest.fixture(scope="module")
def experiments(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The demo's experiments by a RunEngine, five times over."""
    folder = tmp_path_factory.mktemp("experiments")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INTAKE_BLUESKY_CACHE", str(folder / "cache"))
        for number in range(5):
            cat = BlueskyJSONLCatalog(folder / "runs")
            Experiments(folder / f"assets{number}", cat.writer(), grid_points=5).run()
            cat.store.close()
        yield folder / "runs"


QUESTIONS: dict[str, Query] = {
    "runs where theta was between 0 and 5": Data("theta").between(0, 5),
    "where the sum of the images exceeds 1000": Data("blob").sum() > 1000,
    "where a device was used with a setting over a value": Device("theta").exists()
    & (Config("theta", "theta_velocity") > 0.1),
}


@pytest.mark.parametrize("asked", ["first", "again"])
@pytest.mark.parametrize("question", QUESTIONS)
def test_question(
    benchmark: Any, experiments: Path, question: str, asked: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    benchmark.group = "the three questions of the wish list, of runs made by a RunEngine"
    monkeypatch.setenv("INTAKE_BLUESKY_CACHE", str(tmp_path / "cache"))

    def opened() -> tuple[tuple[BlueskyJSONLCatalog], dict[str, Any]]:
        if asked == "first":
            shutil.rmtree(tmp_path / "cache", ignore_errors=True)
        cat = BlueskyJSONLCatalog(experiments)
        len(cat)
        return (cat,), {}

    (cat,), _ = opened()
    expected = len(cat.search(QUESTIONS[question]))
    assert 0 < expected < len(cat)
    found = benchmark.pedantic(lambda cat: len(cat.search(QUESTIONS[question])), setup=opened, rounds=5)
    assert found == expected
    benchmark.extra_info["runs"] = f"{expected} of {len(cat)}"
