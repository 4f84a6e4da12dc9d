"""Results of a search over a folder of 20,000 runs: sorted, counted by value, as a DataFrame."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import orjson
import pandas as pd
import pytest

from intake_bluesky.documents.model import Document
from intake_bluesky.query import Start
from intake_bluesky_jsonl import BlueskyJSONLCatalog, JSONLStore

RUNS = 20_000


def run_of(number: int) -> list[tuple[str, Document]]:
    """Start and stop as a beamline writes them, about 1 kB; the events between are no matter here."""
    uid, time = f"{number * 2654435761 % 2**32:08x}-aaaa-4bbb-8ccc-dddddddddddd", 1.7e9 + 60.0 * number
    start = {
        "uid": uid, "time": time, "scan_id": number * 7919 % RUNS,
        "plan_name": ["scan", "count", "grid_scan"][number % 3], "plan_type": "generator", "detectors": ["det"],
        "motors": ["theta"], "num_points": 11, "plan_args": {"args": ["theta", -1, 1], "num": 11},
        "hints": {"dimensions": [[["theta"], "primary"]]}, "sample": {"name": f"sample {number % 50}"},
        "proposal": "2024-1234", "beamline": "hx", "operator": "anna",
    }  # fmt: skip
    stop = {"uid": f"{uid}-s", "run_start": uid, "time": time + 9.0, "exit_status": "success"}
    return [("start", start), ("stop", {**stop, "num_events": {"baseline": 2, "primary": 11}})]


@pytest.fixture(scope="module")
def cat(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BlueskyJSONLCatalog]:
    folder: Path = tmp_path_factory.mktemp("runs")
    for number in range(RUNS):
        (folder / f"{number:05}.jsonl").write_bytes(b"".join(orjson.dumps(pair) + b"\n" for pair in run_of(number)))
    cat = BlueskyJSONLCatalog(folder)
    assert len(cat) == RUNS
    yield cat
    cat.store.close()
    shutil.rmtree(folder)


GROUP = f"results over {RUNS:,} runs"


def test_floor_every_start_and_stop(benchmark: Any, cat: BlueskyJSONLCatalog) -> None:
    benchmark.group = GROUP
    assert benchmark.pedantic(lambda: sum(1 for _ in cat.store.find()), rounds=5) == RUNS


UIDS = f"the uids of {RUNS:,} runs"


def test_floor_sqlite_gives_every_uid(benchmark: Any, cat: BlueskyJSONLCatalog) -> None:
    benchmark.group = UIDS
    query = "SELECT uid FROM files WHERE listed ORDER BY time IS NULL, time DESC, uid DESC"
    assert isinstance(cat.store, JSONLStore)
    with closing(sqlite3.connect(cat.store.files.index.path)) as db:
        assert len(benchmark.pedantic(lambda: [uid for (uid,) in db.execute(query)], rounds=20)) == RUNS


def test_list(benchmark: Any, cat: BlueskyJSONLCatalog) -> None:
    benchmark.group = UIDS
    assert len(benchmark.pedantic(lambda: list(cat), rounds=20)) == RUNS


def test_ten_newest(benchmark: Any, cat: BlueskyJSONLCatalog) -> None:
    benchmark.group = GROUP
    newest = cat.sort("-start.time", "scan_id")
    assert len(benchmark.pedantic(lambda: list(newest.arrangement.runs(limit=10)), rounds=5)) == 10


@pytest.mark.parametrize("keys", [("scan_id",), ("plan_name", "-scan_id"), ("sample.name", "-start.time")])
def test_uids_sorted(benchmark: Any, cat: BlueskyJSONLCatalog, keys: tuple[str, ...]) -> None:
    benchmark.group = GROUP
    assert len(set(benchmark.pedantic(lambda: list(cat.sort(*keys).arrangement.uids()), rounds=5))) == RUNS


def test_runs_sorted(benchmark: Any, cat: BlueskyJSONLCatalog) -> None:
    benchmark.group = GROUP
    observed = benchmark.pedantic(lambda: [run.scan_id for run in cat.sort("scan_id").arrangement.runs()], rounds=5)
    assert observed == list(range(RUNS))


def test_first_hundred_sorted(benchmark: Any, cat: BlueskyJSONLCatalog) -> None:
    benchmark.group = GROUP
    arrangement = cat.sort("scan_id").arrangement
    observed = benchmark.pedantic(lambda: [run.scan_id for run in arrangement.runs(limit=100)], rounds=5)
    assert observed == list(range(100))


KEYS = {"plan_name": 3, "sample.name": 50, "stop.exit_status": 1, "operator": 1, "num_points": 1, "motors": 1}


@pytest.mark.parametrize("key", [*KEYS, "scan_id"])
def test_distinct_of_one(benchmark: Any, cat: BlueskyJSONLCatalog, key: str) -> None:
    benchmark.group = f"values and counts of a key, {RUNS:,} runs"
    observed = benchmark.pedantic(lambda: cat.distinct(key, counts=True)[key], rounds=5, warmup_rounds=1)
    assert len(observed) == KEYS.get(key, RUNS)


def test_first_five_sorted(benchmark: Any, cat: BlueskyJSONLCatalog) -> None:
    benchmark.group = GROUP
    head = benchmark.pedantic(lambda: list(cat.sort("plan_name", "-scan_id").arrangement.runs(limit=5)), rounds=5)
    assert {run.start["plan_name"] for run in head} == {"count"}


def test_distinct(benchmark: Any, cat: BlueskyJSONLCatalog) -> None:
    benchmark.group = GROUP
    keys = ("plan_name", "sample.name", "stop.exit_status")
    observed = benchmark.pedantic(lambda: cat.distinct(*keys, counts=True), rounds=5)
    assert [len(values) for values in observed.values()] == [3, 50, 1]


def test_dataframe(benchmark: Any, cat: BlueskyJSONLCatalog) -> None:
    benchmark.group = GROUP
    frame: pd.DataFrame = benchmark.pedantic(cat.to_dataframe, rounds=5)
    assert frame.shape == (RUNS, 5)


@pytest.mark.parametrize("make", [list, sum])
def test_a_search_left_to_the_core(benchmark: Any, cat: BlueskyJSONLCatalog, make: Callable[[Any], Any]) -> None:
    """A list asks for the length first, and is to cost no more than a loop."""
    benchmark.group = f"a query that the index does not answer, {RUNS:,} runs"
    found = cat.search(
        Start("plan_args").any(Start("x") == 1) | (Start("hints") == {"dimensions": [[["theta"], "primary"]]})
    )

    def count() -> int:
        return len(list(found)) if make is list else sum(1 for _ in found)

    assert benchmark.pedantic(count, rounds=3) == RUNS
