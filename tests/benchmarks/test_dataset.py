"""Event pages to Datasets, against parsing the same lines by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
import xarray as xr

from intake_bluesky_jsonl import BlueskyJSONLCatalog

EVENTS = 1_000_000
PAGE = 10_000
KEYS = [f"x{i}" for i in range(6)]


def _header() -> list[bytes]:
    keys = {key: {"source": "sim", "dtype": "number", "shape": []} for key in KEYS}
    start = {"uid": "run", "time": 1.0, "scan_id": 1}
    descriptor = {"uid": "d", "time": 1.0, "run_start": "run", "name": "primary", "data_keys": keys}
    return [orjson.dumps(["start", start]), orjson.dumps(["descriptor", descriptor])]


def _columns(start: int, stop: int) -> dict[str, list[float]]:
    rng = np.random.default_rng(start)
    return {key: rng.normal(size=stop - start).tolist() for key in KEYS}


def _pages(events: int) -> list[bytes]:
    lines = []
    for start in range(0, events, PAGE):
        seq = list(range(start + 1, start + PAGE + 1))
        data = _columns(start, start + PAGE)
        times = [1.7e9 + n for n in seq]
        page = {"descriptor": "d", "uid": [f"e{n}" for n in seq], "seq_num": seq, "time": times, "filled": {}}
        lines.append(orjson.dumps(["event_page", {**page, "data": data, "timestamps": dict.fromkeys(data, times)}]))
    return lines


def _events(events: int) -> list[bytes]:
    lines = []
    for start in range(0, events, PAGE):
        columns = _columns(start, start + PAGE)
        for row in range(PAGE):
            n = start + row + 1
            stamps = dict.fromkeys(KEYS, 1.7e9 + n)
            event = {"descriptor": "d", "uid": f"e{n}", "seq_num": n, "time": 1.7e9 + n, "filled": {}}
            data = {key: column[row] for key, column in columns.items()}
            lines.append(orjson.dumps(["event", {**event, "data": data, "timestamps": stamps}]))
    return lines


@pytest.fixture(scope="module", params=["pages", "single events"])
def long_run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    folder = tmp_path_factory.mktemp("long")
    lines = _pages(EVENTS) if request.param == "pages" else _events(EVENTS)
    stop = orjson.dumps(["stop", {"uid": "s", "time": 2.0, "run_start": "run", "exit_status": "success"}])
    (folder / "run.jsonl").write_bytes(b"\n".join([*_header(), *lines, stop]) + b"\n")
    return str(request.param), folder


def _parse_by_hand(path: Path) -> dict[str, Any]:
    found: dict[str, list[Any]] = {key: [] for key in KEYS}
    with path.open("rb") as file:
        for line in file:
            name, doc = orjson.loads(line)
            if name == "event_page":
                for key, values in doc["data"].items():
                    found[key].append(np.asarray(values))
            elif name == "event":
                for key, value in doc["data"].items():
                    found[key].append(value)
    return {k: np.concatenate(v) if isinstance(v[0], np.ndarray) else np.asarray(v) for k, v in found.items()}


def _group(benchmark: Any, kind: str) -> None:
    benchmark.group = f"read {EVENTS:,} events x {len(KEYS)} scalars, {kind}"


def test_floor_orjson_and_asarray(benchmark: Any, long_run: tuple[str, Path]) -> None:
    kind, folder = long_run
    _group(benchmark, kind)
    columns = benchmark.pedantic(_parse_by_hand, (folder / "run.jsonl",), rounds=5)
    assert len(columns["x0"]) == EVENTS


def _anew(cat: BlueskyJSONLCatalog, method: str) -> xr.Dataset:
    """Open the run anew, so that nothing of it is known but the index."""
    stream = cat["run"].primary
    return getattr(stream, method)()  # type: ignore[no-any-return]


def test_read(benchmark: Any, long_run: tuple[str, Path]) -> None:
    kind, folder = long_run
    _group(benchmark, kind)
    cat = BlueskyJSONLCatalog(str(folder / "*.jsonl"))
    assert cat["run"].is_complete  # scanned
    ds = benchmark.pedantic(_anew, (cat, "read"), rounds=5)
    assert len(ds.time) == EVENTS
    assert ds.x5.values[-1] == _columns(EVENTS - PAGE, EVENTS)["x5"][-1]


def test_to_dask(benchmark: Any, long_run: tuple[str, Path]) -> None:
    kind, folder = long_run
    _group(benchmark, kind)
    cat = BlueskyJSONLCatalog(str(folder / "*.jsonl"))
    assert cat["run"].is_complete  # scanned
    ds = benchmark.pedantic(_anew, (cat, "to_dask"), rounds=3)
    benchmark.extra_info["tasks"] = len(ds.__dask_graph__())
    assert len(ds.time) == EVENTS


def test_compute(benchmark: Any, long_run: tuple[str, Path]) -> None:
    kind, folder = long_run
    _group(benchmark, kind)
    lazy = BlueskyJSONLCatalog(str(folder / "*.jsonl"))["run"].primary.to_dask()
    ds = benchmark.pedantic(lazy.compute, rounds=3)
    assert len(ds.time) == EVENTS
