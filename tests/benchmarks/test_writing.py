"""The document writer, against encoding and one unbuffered write a document."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from itertools import count
from pathlib import Path
from typing import Any
from uuid import UUID

import msgpack
import orjson
import pytest
import suitcase.jsonl
import suitcase.msgpack
from pytest_benchmark.fixture import BenchmarkFixture

from intake_bluesky.storage.writer import DocumentWriter
from intake_bluesky.testing.compose import RunComposer, data_key
from intake_bluesky.testing.examples import Run
from intake_bluesky_jsonl import JSONLStore
from intake_bluesky_msgpack import MsgpackStore

RUNS, EVENTS, LONG = 500, 13, 100_000  # 17 documents a small run: start, two descriptors, events, stop
STORES = {"jsonl": JSONLStore, "msgpack": MsgpackStore}
DUMPERS: dict[str, Callable[[Any], bytes]] = {"jsonl": orjson.dumps, "msgpack": msgpack.packb}
SUITCASES = {"jsonl": suitcase.jsonl.Serializer, "msgpack": suitcase.msgpack.Serializer}
FORMS = pytest.mark.parametrize("form", sorted(STORES))
SIZES = pytest.mark.parametrize("size", ["small runs", "one long run"])
ROUNDS = 7


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INTAKE_BLUESKY_CACHE", str(tmp_path / "cache"))
    os.sync()  # what earlier benchmarks wrote and removed is not to be paid here


def run_of(uid: str, events: int) -> Run:
    run = RunComposer(uid, time=1.7e9, scan_id=1, plan_name="scan", motors=["motor"], sample={"name": "Ni"})
    keys = {name: data_key("number", units="mm") for name in ("motor", "motor_setpoint", "det", "x", "y", "z")}
    baseline, primary = run.descriptor(keys, stream="baseline"), run.descriptor(keys)
    run.event(baseline, dict.fromkeys(keys, 0.123456789))
    for n in range(events - 1):
        run.event(primary, dict.fromkeys(keys, n + 0.123456789))
    run.stop("success")
    return run.documents


def runs_of(size: str) -> list[Run]:
    if size == "one long run":
        return [run_of(str(UUID(int=1)), LONG)]
    return [run_of(str(UUID(int=n)), EVENTS) for n in range(RUNS)]


def by_hand(runs: Iterable[Run], folder: Path, dumps: Callable[[Any], bytes]) -> None:
    folder.mkdir()
    for run in runs:
        file = os.open(folder / run[0][1]["uid"], os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        for pair in run:
            os.write(file, dumps(pair))
        os.close(file)


def by_writer(runs: Iterable[Run], folder: Path, store: Callable[[Path], Any]) -> None:
    folder.mkdir()
    new = store(folder)
    with DocumentWriter(new) as write:
        for run in runs:
            for name, doc in run:
                write(name, doc)
    new.close()  # all runs are in the index now, which was made here too


def by_suitcase(runs: Iterable[Run], folder: Path, serializer: Any) -> None:
    for run in runs:
        with serializer(folder, flush=True) as write:
            for name, doc in run:
                write(name, doc)


def measure(
    benchmark: BenchmarkFixture, work: Callable[..., None], how: Any, form: str, size: str, folder: Path
) -> None:
    runs, rounds = runs_of(size), count()
    benchmark.group = f"{form}: documents written, {size}"
    benchmark.pedantic(work, setup=lambda: ((runs, folder / str(next(rounds)), how), {}), rounds=ROUNDS)
    documents = sum(map(len, runs))
    assert benchmark.stats is not None
    benchmark.extra_info["documents/s"] = f"{documents / benchmark.stats.stats.median:,.0f}"
    files = [path for path in folder.rglob("*") if path.is_file() and "cache" not in path.parts]
    assert len(files) == len(runs) * ROUNDS


@FORMS
@SIZES
def test_floor_dumps_and_write(benchmark: BenchmarkFixture, form: str, size: str, tmp_path: Path) -> None:
    measure(benchmark, by_hand, DUMPERS[form], form, size, tmp_path)


@FORMS
@SIZES
def test_writer(benchmark: BenchmarkFixture, form: str, size: str, tmp_path: Path) -> None:
    measure(benchmark, by_writer, STORES[form], form, size, tmp_path)


@FORMS
@SIZES
def test_suitcase(benchmark: BenchmarkFixture, form: str, size: str, tmp_path: Path) -> None:
    measure(benchmark, by_suitcase, SUITCASES[form], form, size, tmp_path)
