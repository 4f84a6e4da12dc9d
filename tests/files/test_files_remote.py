"""Runs in files on other machines: an fsspec filesystem in memory, and S3 as moto's server plays it."""

from __future__ import annotations

import gzip
import json
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from intake_bluesky.documents.model import identical, to_plain
from intake_bluesky.errors import RunNotFound
from intake_bluesky.testing.compose import RunComposer, data_key
from intake_bluesky.testing.examples import Run
from intake_bluesky.testing.plain_runs import count, scan
from intake_bluesky_jsonl import BlueskyJSONLCatalog, JSONLStore

EVENTS = 4000
WIDE = 300


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INTAKE_BLUESKY_CACHE", str(tmp_path / "cache"))


def lines(run: Run) -> bytes:
    return b"".join(json.dumps([name, to_plain(doc)]).encode() + b"\n" for name, doc in run)


def uid_of(run: Run) -> str:
    return str(run[0][1]["uid"])


def _large_run() -> Run:
    """A stream of wide events in pages, of which another in the middle is a small part."""
    run = RunComposer("large")
    wide = run.descriptor({"spectrum": data_key("array", [WIDE])}, stream="wide")
    narrow = run.descriptor({"x": data_key("number")}, stream="narrow")
    rng = np.random.default_rng(3)
    for part in range(2):
        for _ in range(EVENTS // 200):
            run.page(wide, {"spectrum": rng.normal(size=(100, WIDE)).tolist()})
        if part == 0:
            run.page(narrow, {"x": [float(n) for n in range(EVENTS)]})
    run.stop()
    return run.documents


class Traffic:
    """Counts the bytes and requests that would go over the network."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.bytes, self.requests = 0, list[str]()
        cat_file, info = MemoryFileSystem.cat_file, MemoryFileSystem.info

        def counted_cat_file(
            fs: Any, path: str, start: int | None = None, end: int | None = None, **kwargs: Any
        ) -> bytes:
            data = bytes(cat_file(fs, path, start=start, end=end, **kwargs))
            self.bytes += len(data)
            self.requests.append("read")
            return data

        def counted_info(fs: Any, path: str, **kwargs: Any) -> Any:
            self.requests.append("info")
            return info(fs, path, **kwargs)

        monkeypatch.setattr(MemoryFileSystem, "cat_file", counted_cat_file)
        monkeypatch.setattr(MemoryFileSystem, "info", counted_info)

    def reset(self) -> None:
        self.bytes = 0
        self.requests.clear()


@pytest.fixture
def traffic(monkeypatch: pytest.MonkeyPatch) -> Traffic:
    return Traffic(monkeypatch)


@pytest.fixture
def memory() -> Iterator[MemoryFileSystem]:
    fs = MemoryFileSystem()
    yield fs
    fs.store.clear()
    fs.pseudo_dirs[:] = [""]


def test_runs_of_a_folder(memory: Any) -> None:
    memory.pipe({"/runs/a.jsonl": lines(count()), "/runs/b.jsonl.gz": gzip.compress(lines(scan()))})
    memory.pipe({"/runs/notes.txt": b"nothing", "/other/c.jsonl": lines(scan())})
    for url in ("memory://runs", "memory://runs/", "memory://runs/*.jsonl*"):
        store = JSONLStore(url)
        assert not store.trusts_paths
        assert store.ttl == 10
        assert [run.uid for run in store.find()] == [uid_of(scan()), uid_of(count())]
        for run in (count(), scan()):
            assert identical(list(store.documents(uid_of(run))), run)
        assert sum(map(len, store.event_pages(uid_of(scan()), "primary"))) == 11
        assert store.problems() == []
        store.close()


def test_one_stream_costs_its_own_bytes(memory: Any, traffic: Traffic) -> None:
    run = _large_run()
    size = len(lines(run))
    memory.pipe({"/runs/large.jsonl": lines(run)})
    store = JSONLStore("memory://runs")
    assert [found.uid for found in store.find()] == [uid_of(run)]
    assert traffic.bytes <= 3 * 65536
    header = store.header(uid_of(run))
    assert header.streams["narrow"].events == EVENTS
    traffic.reset()
    other = pickle.loads(pickle.dumps(store))
    [*pages] = other.event_pages(uid_of(run), "narrow")
    assert np.concatenate([page.data["x"] for page in pages]).tolist() == list(range(EVENTS))
    narrow = max(len(line) for line in lines(run).splitlines() if b'"x"' in line)
    assert traffic.bytes < narrow + 3 * 2**20 < size / 3
    store.close()
    other.close()


def test_a_known_run_costs_only_its_blocks(memory: Any, traffic: Traffic) -> None:
    memory.pipe({"/runs/a.jsonl": lines(scan())})
    store = JSONLStore("memory://runs")
    store.header(uid_of(scan()))
    traffic.reset()
    store.header(uid_of(scan()))
    assert traffic.requests == []
    assert sum(map(len, store.event_pages(uid_of(scan()), "primary"))) == 11
    assert traffic.requests == ["read"]
    store.close()


def test_replaced_and_deleted_files(memory: Any) -> None:
    memory.pipe({"/runs/a.jsonl": lines(count()[:-1])})
    store = JSONLStore("memory://runs")
    assert store.header(uid_of(count())).stop is None
    memory.pipe({"/runs/a.jsonl": lines(count())})
    assert store.header(uid_of(count())).stop is not None
    memory.pipe({"/runs/b.jsonl": lines(scan())})
    store.refresh()
    assert store.count() == 2
    memory.rm("/runs/b.jsonl")
    store.refresh()
    assert store.count() == 1
    with pytest.raises(RunNotFound):
        store.header(uid_of(scan()))
    store.close()


def test_bad_file_hides_no_other(memory: Any) -> None:
    memory.pipe({"/runs/a.jsonl": lines(count()), "/runs/bad.jsonl": b"no run", "/runs/empty.jsonl": b""})
    store = JSONLStore("memory://runs")
    assert [run.uid for run in store.find()] == [uid_of(count())]
    assert {problem.where for problem in store.problems()} == {
        "memory:///runs/bad.jsonl",
        "memory:///runs/empty.jsonl",
    }
    store.close()


@pytest.fixture(scope="module")
def s3() -> Iterator[dict[str, Any]]:
    """An S3 server of this test, with a bucket."""
    import boto3  # type: ignore[import-untyped]
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    keys = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing", "region_name": "us-east-1"}
    boto3.client("s3", endpoint_url=endpoint, **keys).create_bucket(Bucket="beamline")
    yield {"key": "testing", "secret": "testing", "endpoint_url": endpoint}
    server.stop()


def test_bucket(s3: dict[str, Any]) -> None:
    import s3fs  # type: ignore[import-untyped]

    fs = s3fs.S3FileSystem(**s3)
    large = _large_run()
    fs.pipe(
        {
            "beamline/runs/a.jsonl": lines(count()),
            "beamline/runs/b.jsonl.gz": gzip.compress(lines(scan())),
            "beamline/runs/large.jsonl": lines(large),
            "beamline/runs/bad.jsonl": b"no run",
        }
    )
    catalog = BlueskyJSONLCatalog("s3://beamline/runs", storage_options=s3)
    assert set(catalog) == {uid_of(run) for run in (count(), scan(), large)}
    assert len(catalog[uid_of(scan())].primary.read().time) == 11
    assert catalog[uid_of(large)].narrow.read().x.values.tolist() == list(range(EVENTS))
    [problem] = catalog.problems
    assert problem.where == "s3://beamline/runs/bad.jsonl"
    assert "testing" not in repr(catalog) + repr(catalog.problems)
    fs.pipe({"beamline/runs/c.jsonl": lines([("start", {"uid": "new", "time": 9e9})])})
    assert next(iter(catalog.refresh())) == "new"
    fs.rm("beamline/runs/c.jsonl")
    assert "new" not in catalog.refresh()
