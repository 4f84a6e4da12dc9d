"""Copying small runs from JSONL files, read back and compared, against reading and writing the same documents by hand.

The documents a second are those of the processor's time, on one core: ``taskset -c 0 python -m pytest ...``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any, Final
from uuid import UUID

import orjson
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from intake_bluesky import BlueskyCatalog, ingest
from intake_bluesky.testing.compose import RunComposer, data_key
from intake_bluesky.testing.examples import Run
from intake_bluesky_jsonl import BlueskyJSONLCatalog
from intake_bluesky_msgpack import BlueskyMsgpackCatalog
from intake_bluesky_sql import BlueskySQLCatalog

RUNS, EVENTS, BASELINE, ROUNDS = 1000, 11, 20, 7
KEYS: Final = ("theta", "theta_setpoint", "det", "i0", "temp")
TARGETS: Final[dict[str, Callable[[Path], BlueskyCatalog]]] = {
    "jsonl": lambda folder: BlueskyJSONLCatalog(str(folder)),
    "msgpack": lambda folder: BlueskyMsgpackCatalog(str(folder)),
    "sqlite": lambda folder: BlueskySQLCatalog(str(folder / "runs.db")),
}


def run_of(number: int) -> Run:
    """A scan of 17 documents, with a baseline."""
    run = RunComposer(str(UUID(int=number)), time=1.7e9 + 60 * number, scan_id=number, plan_name="scan")
    start = run.documents[0][1]
    start |= {"motors": ["theta"], "detectors": ["det"], "num_points": EVENTS, "data_session": f"pass-{number % 500}"}
    start |= {"sample": {"name": "Ni foil", "thickness": number / 7}, "hints": {"dimensions": [[["theta"], "primary"]]}}
    motors = [f"motor_{n:02d}" for n in range(BASELINE)]
    primary = run.descriptor({key: data_key("number", units="mm") for key in KEYS})
    baseline = run.descriptor({key: data_key("number", units="mm") for key in motors}, stream="baseline")
    run.event(baseline, dict.fromkeys(motors, number / 9))
    for event in range(EVENTS):
        run.event(primary, dict.fromkeys(KEYS, (number + event) / 11))
    run.event(baseline, dict.fromkeys(motors, number / 9))
    run.stop("success")
    return run.documents


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BlueskyCatalog]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INTAKE_BLUESKY_CACHE", str(tmp_path_factory.mktemp("cache")))
        catalog = BlueskyJSONLCatalog(str(tmp_path_factory.mktemp("source")))
        for error in catalog.store.insert_runs(map(run_of, range(RUNS))):
            assert error is None
        assert len(catalog.refresh()) == RUNS
        yield catalog


def by_hand(folder: Path, into: Path) -> None:
    """Read each document, write each, read each again, compare."""
    into.mkdir()
    for path in folder.iterdir():
        found = [orjson.loads(line) for line in path.read_bytes().splitlines()]
        (into / path.name).write_bytes(b"".join(orjson.dumps(pair) + b"\n" for pair in found))
        assert found == [orjson.loads(line) for line in (into / path.name).read_bytes().splitlines()]


def measure(benchmark: BenchmarkFixture, work: Callable[[Path], Any], folder: Path) -> None:
    rounds, times = count(), []

    def timed(into: Path) -> None:
        began = time.process_time()
        work(into)
        times.append(time.process_time() - began)

    benchmark.group = "runs copied from JSONL files, 1,000 of 17 documents"
    benchmark.pedantic(timed, setup=lambda: ((folder / str(next(rounds)),), {}), rounds=ROUNDS)
    benchmark.extra_info["documents/s"] = f"{17 * RUNS / median(times):,.0f}"


def test_floor_read_write_and_read_again(benchmark: BenchmarkFixture, source: BlueskyCatalog, tmp_path: Path) -> None:
    folder = source.store.folder
    assert folder is not None
    measure(benchmark, lambda into: by_hand(Path(folder), into), tmp_path)


@pytest.mark.parametrize("target", sorted(TARGETS))
def test_copy(benchmark: BenchmarkFixture, source: BlueskyCatalog, target: str, tmp_path: Path) -> None:
    def copy(into: Path) -> None:
        into.mkdir()
        catalog = TARGETS[target](into)
        assert len(ingest.copy(source, into=catalog).check().copied) == RUNS
        catalog.store.close()

    measure(benchmark, copy, tmp_path)


def test_copy_again(benchmark: BenchmarkFixture, source: BlueskyCatalog, tmp_path: Path) -> None:
    catalog = TARGETS["msgpack"](tmp_path)
    ingest.copy(source, into=catalog)

    def copy(_: Path) -> None:
        assert len(ingest.copy(source, into=catalog).check().skipped) == RUNS

    measure(benchmark, copy, tmp_path)
