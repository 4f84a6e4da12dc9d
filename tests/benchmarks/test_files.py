"""A folder of 20,000 runs, a long run, and writing both, beside what the same work takes by hand."""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
import xarray as xr

from intake_bluesky.documents.model import Document
from intake_bluesky.index.index import Index, IndexEntry
from intake_bluesky.index.packed_statistics import rows_of
from intake_bluesky.query import Start
from intake_bluesky.storage.contract import Plan
from intake_bluesky.storage.order import Order
from intake_bluesky_jsonl import BlueskyJSONLCatalog, JSONLStore

RUNS = 20_000
LONG = 100_000
Run = list[tuple[str, Document]]


def _descriptor(uid: str, run: str, name: str, keys: list[str]) -> tuple[str, Document]:
    spec = {"source": "PV:sim", "dtype": "number", "shape": [], "units": "mm", "precision": 3}
    device = {"data": {"velocity": 1.0}, "timestamps": {"velocity": 1.7e9}, "data_keys": {"velocity": spec}}
    return "descriptor", {
        "uid": uid, "run_start": run, "name": name, "time": 1.7e9,
        "data_keys": {key: {**spec, "object_name": key} for key in keys},
        "configuration": dict.fromkeys(keys, device),
        "hints": {key: {"fields": [key]} for key in keys}, "object_keys": {key: [key] for key in keys},
    }  # fmt: skip


def _event(descriptor: str, seq_num: int, values: dict[str, float]) -> tuple[str, Document]:
    return "event", {
        "uid": f"{descriptor}-{seq_num:06}", "descriptor": descriptor, "seq_num": seq_num, "time": 1.7e9 + seq_num,
        "data": values, "timestamps": dict.fromkeys(values, 1.7e9 + seq_num), "filled": {},
    }  # fmt: skip


def small_run(number: int) -> Run:
    """17 documents, about 20 kB: a baseline of 20 keys, 11 events of 5 keys."""
    uid = f"{number * 2654435761 % 2**32:08x}-aaaa-4bbb-8ccc-dddddddddddd"
    start = {
        "uid": uid, "time": 1.7e9 + 60.0 * number, "scan_id": number, "plan_name": ["scan", "count"][number % 2],
        "plan_type": "generator", "detectors": ["det"], "motors": ["theta"], "num_points": 11, "num_intervals": 10,
        "plan_args": {"args": ["theta", -1, 1], "num": 11}, "hints": {"dimensions": [[["theta"], "primary"]]},
        "sample": {"name": f"sample {number % 50}"}, "proposal": "2024-1234", "beamline": "hx", "operator": "anna",
    }  # fmt: skip
    baseline, primary = [f"motor_{n}_readback" for n in range(20)], [f"det_{n}" for n in range(5)]
    run: Run = [("start", start), _descriptor(f"{uid}-b", uid, "baseline", baseline)]
    run += [
        _event(f"{uid}-b", 1, dict.fromkeys(baseline, 0.123456789)),
        _descriptor(f"{uid}-p", uid, "primary", primary),
    ]
    run += [_event(f"{uid}-p", n, dict.fromkeys(primary, number + n / 7)) for n in range(1, 12)]
    run.append(_event(f"{uid}-b", 2, dict.fromkeys(baseline, 0.987654321)))
    events = {"baseline": 2, "primary": 11}
    stop = {"uid": f"{uid}-s", "run_start": uid, "time": 1.7e9, "exit_status": "success", "num_events": events}
    return [*run, ("stop", stop)]


def long_run() -> Run:
    """Single events of 6 keys."""
    keys = [f"x{n}" for n in range(6)]
    values = np.random.default_rng(0).normal(size=(LONG, 6)).tolist()
    run: Run = [("start", {"uid": "long", "time": 1.7e9}), _descriptor("d", "long", "primary", keys)]
    run += [_event("d", n + 1, dict(zip(keys, row, strict=True))) for n, row in enumerate(values)]
    return [*run, ("stop", {"uid": "s", "run_start": "long", "time": 1.8e9, "exit_status": "success"})]


def _size(folder: Path) -> int:
    return sum(entry.stat().st_size for entry in os.scandir(folder))


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("INTAKE_BLUESKY_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("runs")
    for number in range(RUNS):
        run = small_run(number)
        (folder / f"{run[0][1]['uid']}.jsonl").write_bytes(b"".join(orjson.dumps(pair) + b"\n" for pair in run))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def store(folder: Path) -> Iterator[JSONLStore]:
    """A store whose index is there already."""
    store = JSONLStore(folder)
    assert store.count() == RUNS
    yield store
    store.close()


OPENING = f"open a folder of {RUNS:,} runs and count them"


def test_floor_list_and_parse_start_and_stop(benchmark: Any, folder: Path) -> None:
    benchmark.group = OPENING

    def parse() -> int:
        runs = 0
        for entry in os.scandir(folder):
            entry.stat()
            with open(entry.path, "rb") as file:
                lines = file.read().splitlines()
            orjson.loads(lines[0]), orjson.loads(lines[-1])
            runs += 1
        return runs

    assert benchmark.pedantic(parse, rounds=3) == RUNS


def test_first_open(benchmark: Any, folder: Path, cache: Path) -> None:
    benchmark.group = OPENING

    def count() -> int:
        shutil.rmtree(cache, ignore_errors=True)
        store = JSONLStore(folder)
        runs = store.count()
        store.close()
        return runs

    assert benchmark.pedantic(count, rounds=3) == RUNS
    benchmark.extra_info["index / data"] = f"{_size(cache) / _size(folder):.1%}"


def test_first_search(benchmark: Any, folder: Path, cache: Path) -> None:
    """It makes what is searched of runs; what a search takes from then on is in `test_search_plan_name_and_count`."""
    benchmark.group = OPENING
    asked = Start("plan_name") == "scan"

    def opened() -> tuple[tuple[JSONLStore], dict[str, Any]]:
        shutil.rmtree(cache, ignore_errors=True)
        store = JSONLStore(folder)
        assert store.count() == RUNS
        return (store,), {}

    def count(store: JSONLStore) -> int:
        runs = store.count(Plan(asked))
        store.close()
        return runs

    assert benchmark.pedantic(count, setup=opened, rounds=3) == RUNS // 2


def test_later_open(benchmark: Any, folder: Path, store: JSONLStore) -> None:
    benchmark.group = OPENING

    def count() -> int:
        other = JSONLStore(folder)
        runs = other.count()
        other.close()
        return runs

    assert benchmark.pedantic(count, rounds=5) == RUNS


AGAIN = f"open a folder of {RUNS:,} runs again and count them, with imports (without, in CPU: in the note)"
FRESH = """
import sys, time
from intake_bluesky_jsonl import BlueskyJSONLCatalog
import intake_bluesky.files.store, sqlite3
begin = time.process_time()
count = len(BlueskyJSONLCatalog(sys.argv[1]))
print(count, time.process_time() - begin)
"""
LISTED = """
import os, sys, time
begin = time.process_time()
count = sum(1 for entry in os.scandir(sys.argv[1]) if entry.stat())
print(count, time.process_time() - begin)
"""


@pytest.mark.parametrize("code", [LISTED, FRESH], ids=["floor: list and stat", "catalog"])
def test_again(benchmark: Any, folder: Path, store: JSONLStore, code: str) -> None:
    """What the process itself measured is in the note: the time of the round is that of imports."""
    benchmark.group = AGAIN
    seconds: list[float] = []

    def count() -> int:
        done = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=True)
        runs, cpu = done.stdout.split()
        seconds.append(float(cpu))
        return int(runs)

    assert benchmark.pedantic(count, rounds=5) == RUNS
    benchmark.extra_info["CPU"] = f"{statistics.median(seconds):.3f} s"


SCANNING_ALL = f"scan {RUNS:,} files from end to end, statistics of all data included"


def test_floor_parse_every_line(benchmark: Any, folder: Path) -> None:
    benchmark.group = SCANNING_ALL

    def parse() -> int:
        documents = 0
        for entry in os.scandir(folder):
            with open(entry.path, "rb") as file:
                documents += sum(1 for line in file.read().splitlines() if orjson.loads(line))
        return documents

    assert benchmark.pedantic(parse, rounds=2) == RUNS * 17


def _cpu() -> float:
    own, others = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + others.ru_utime + others.ru_stime


@pytest.mark.parametrize("processes", [1, 2])
def test_scan_all(benchmark: Any, folder: Path, cache: Path, processes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    benchmark.group = SCANNING_ALL
    seconds: list[float] = []

    def scan() -> int:
        shutil.rmtree(cache, ignore_errors=True)
        store = JSONLStore(folder)
        begin = _cpu()
        with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as executor:
            store.scan(executor if processes > 1 else None)
        seconds.append(_cpu() - begin)
        runs = store.count()
        store.close()
        return runs

    told: list[int] = []
    put = Index.put

    def counted(index: Index, entries: Sequence[IndexEntry]) -> None:
        told.append(sum(len(list(rows_of(entry.statistics))) for entry in entries if entry.statistics))
        put(index, entries)

    monkeypatch.setattr(Index, "put", counted)
    assert scan() == RUNS
    assert sum(told) == RUNS * 25
    monkeypatch.setattr(Index, "put", put)
    seconds.clear()
    assert benchmark.pedantic(scan, rounds=2) == RUNS
    benchmark.extra_info["CPU"] = f"{min(seconds):.2f} s"
    benchmark.extra_info["index / data"] = f"{_size(cache) / _size(folder):.1%}"


def test_open_with_a_published_index(benchmark: Any, folder: Path, cache: Path, store: JSONLStore) -> None:
    """Of one who has none: with all that scans have learnt."""
    benchmark.group = OPENING
    store.scan()
    [published] = store.publish()

    def count() -> int:
        shutil.rmtree(cache, ignore_errors=True)
        other = JSONLStore(folder)
        runs = other.count()
        other.close()
        return runs

    store.close()
    try:
        assert benchmark.pedantic(count, rounds=3) == RUNS
    finally:
        Path(published).unlink()


FINDING = f"one run among {RUNS:,}"


def test_newest(benchmark: Any, store: JSONLStore) -> None:
    benchmark.group = FINDING
    assert benchmark(lambda: next(store.find(limit=1))).scan_id == RUNS - 1


def test_first_header(benchmark: Any, store: JSONLStore) -> None:
    benchmark.group = FINDING
    uids = iter([run.uid for run in store.find(limit=200)])
    header = benchmark.pedantic(lambda: store.header(next(uids)), rounds=200)
    assert header.streams["primary"].events == 11


def test_known_header(benchmark: Any, store: JSONLStore) -> None:
    benchmark.group = FINDING
    [run] = store.find(limit=1)
    store.header(run.uid)
    assert benchmark(lambda: store.header(run.uid)).streams["primary"].events == 11


def test_11_events(benchmark: Any, store: JSONLStore) -> None:
    benchmark.group = FINDING
    [run] = store.find(limit=1)
    pages = benchmark(lambda: list(store.event_pages(run.uid, "primary")))
    assert sum(map(len, pages)) == 11


def test_every_run_listed(benchmark: Any, store: JSONLStore) -> None:
    benchmark.group = f"list {RUNS:,} runs with start and stop"
    assert len(benchmark.pedantic(lambda: list(store.find()), rounds=3)) == RUNS


USING = f"a catalog of {RUNS:,} runs, as used"


@pytest.fixture
def catalog(folder: Path) -> BlueskyJSONLCatalog:
    """A catalog whose index is there already."""
    catalog = BlueskyJSONLCatalog(str(folder))
    assert len(catalog) == RUNS
    return catalog


def test_newest_run_opened(benchmark: Any, catalog: BlueskyJSONLCatalog) -> None:
    benchmark.group = USING
    assert benchmark(catalog.__getitem__, -1).scan_id == RUNS - 1


def test_partial_uid_opened(benchmark: Any, catalog: BlueskyJSONLCatalog) -> None:
    benchmark.group = USING
    uid = catalog[-1].uid
    assert benchmark(catalog.__getitem__, uid[:8]).uid == uid


def test_uid_opened(benchmark: Any, catalog: BlueskyJSONLCatalog) -> None:
    benchmark.group = USING
    uid = catalog[-1].uid
    assert benchmark(catalog.__getitem__, uid).uid == uid


def test_run_in_the_middle_opened(benchmark: Any, catalog: BlueskyJSONLCatalog) -> None:
    benchmark.group = USING
    assert benchmark(catalog.__getitem__, -RUNS // 2).scan_id == RUNS // 2


def test_start_and_stop_of_2000_runs(benchmark: Any, catalog: BlueskyJSONLCatalog) -> None:
    benchmark.group = USING
    found = catalog.search((Start("scan_id") >= 5000) & (Start("scan_id") < 7000))
    runs = benchmark.pedantic(lambda: [run.metadata["stop"]["uid"] for _, run in found.items()], rounds=5)
    assert len(runs) == 2000


def test_scan_id_opened(benchmark: Any, catalog: BlueskyJSONLCatalog) -> None:
    benchmark.group = USING
    assert benchmark(catalog.__getitem__, 777).scan_id == 777


def _read(catalog: BlueskyJSONLCatalog, uid: str) -> xr.Dataset:
    return catalog[uid].primary.read()


def test_known_run_opened_and_11_events_read(benchmark: Any, catalog: BlueskyJSONLCatalog) -> None:
    benchmark.group = USING
    uid = catalog[-1].uid
    ds = benchmark(_read, catalog, uid)
    assert ds.sizes == {"time": 11}


def test_run_never_opened_before_and_11_events_read(benchmark: Any, catalog: BlueskyJSONLCatalog) -> None:
    benchmark.group = USING
    uids = iter(list(catalog[-150:])[50:])
    ds = benchmark.pedantic(lambda: _read(catalog, next(uids)), rounds=100)
    assert ds.sizes == {"time": 11}


def test_search_plan_name_and_count(benchmark: Any, catalog: BlueskyJSONLCatalog) -> None:
    benchmark.group = USING
    assert benchmark.pedantic(lambda: len(catalog.search({"plan_name": "scan"})), rounds=3) == RUNS // 2


ROWS = "an index alone, opened, counted, searched and read from end to end, a run"


@pytest.mark.parametrize("runs", [20_000, 200_000])
def test_rows(benchmark: Any, tmp_path: Path, runs: int) -> None:
    benchmark.group = ROWS
    path, start = tmp_path / "index.sqlite", b"x" * 700
    index = Index(path)
    for first in range(0, runs, 5000):
        numbers = range(first, first + 5000)
        entries = [IndexEntry(f"/{n}", "s", f"{n:08}", float(n), None, n, start, start) for n in numbers]
        index.put(entries)
    index.close()
    code = (
        "import sys, resource, pathlib; from intake_bluesky.index.index import Index, Order\n"
        "index = Index(pathlib.Path(sys.argv[1])); before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "n = sum(1 for _ in index.find('1', (), Order.NEWEST)); assert n == index.count('1', ())\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)

    def read() -> int:
        again = Index(path)
        assert again.count("1", ()) == runs
        assert again.entry(f"{runs // 2:08}") is not None
        found = sum(1 for _ in again.find("1", (), Order.NEWEST))
        again.close()
        return found

    assert benchmark.pedantic(read, rounds=3) == runs
    benchmark.extra_info["more memory than before"] = f"{int(done.stdout) / 1024:.1f} MB"


SCANNING = f"first look at a run of {LONG:,} single events, statistics included"


@pytest.fixture(scope="module")
def long_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("long")
    (folder / "long.jsonl").write_bytes(b"".join(orjson.dumps(pair) + b"\n" for pair in long_run()))
    return folder


def test_floor_parse_each_line(benchmark: Any, long_folder: Path) -> None:
    benchmark.group = SCANNING

    def parse() -> int:
        with (long_folder / "long.jsonl").open("rb") as file:
            return sum(1 for line in file if orjson.loads(line))

    assert benchmark.pedantic(parse, rounds=3) == LONG + 3


def test_scan(benchmark: Any, long_folder: Path, cache: Path) -> None:
    benchmark.group = SCANNING

    def header() -> int:
        shutil.rmtree(cache, ignore_errors=True)
        store = JSONLStore(long_folder)
        events = store.header("long").streams["primary"].events
        store.close()
        return events

    assert benchmark.pedantic(header, rounds=3) == LONG
    benchmark.extra_info["index / data"] = f"{_size(cache) / _size(long_folder):.2%}"


WRITES = 1000


def _write_by_hand(folder: Path, runs: list[Run]) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for number, run in enumerate(runs):
        with (folder / f"{number}.jsonl").open("xb", buffering=0) as file:
            for pair in run:
                file.write(orjson.dumps(pair) + b"\n")


def _write(folder: Path, runs: list[Run]) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    store = JSONLStore(folder)
    for run in runs:
        with store.insert(run[0][1]) as insert:
            for name, doc in run[1:]:
                insert.write(name, doc)
    store.close()


@pytest.mark.parametrize("what", ["small", "long"])
@pytest.mark.parametrize("write", [_write_by_hand, _write], ids=["floor", "store"])
def test_write(benchmark: Any, tmp_path: Path, what: str, write: Any) -> None:
    runs = [long_run()] if what == "long" else [small_run(number) for number in range(WRITES)]
    documents = sum(map(len, runs))
    benchmark.group = f"write {documents:,} documents, {what} runs, each at once"
    benchmark.pedantic(write, (tmp_path / "written", runs), rounds=3)
    benchmark.extra_info["documents/s"] = f"{documents / benchmark.stats.stats.median:,.0f}"
    written = sorted((tmp_path / "written").iterdir())
    assert sum(len(path.read_bytes().splitlines()) for path in written) == documents
    assert json.loads(written[0].read_bytes().splitlines()[-1])[0] == "stop"
