"""Compressed files, this package's and others'."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from intake_bluesky.documents import identical, to_plain
from intake_bluesky.files import FileStore
from intake_bluesky.files.sources import LocalSource
from intake_bluesky.testing.compose import RunComposer, data_key
from intake_bluesky.testing.examples import Run
from intake_bluesky.testing.plain_runs import scan
from intake_bluesky_jsonl import JSONLStore


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("INTAKE_BLUESKY_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "runs"
    folder.mkdir()
    return folder


@pytest.fixture
def store(folder: Path) -> Iterator[JSONLStore]:
    store = JSONLStore(folder)
    yield store
    store.close()


def lines(run: Run) -> bytes:
    return b"".join(json.dumps([name, to_plain(doc)]).encode() + b"\n" for name, doc in run)


def uid_of(run: Run) -> str:
    return str(run[0][1]["uid"])


def uids(store: FileStore) -> list[str]:
    return [run.uid for run in store.find()]


def two_monitors(events: int) -> Run:
    """Two streams whose events alternate, and a page of a third."""
    run = RunComposer("two monitors")
    streams = [run.descriptor({name: data_key("number")}, stream=name) for name in ("left", "right")]
    table = run.descriptor({"n": data_key("integer")}, stream="table")
    for n in range(events):
        for name, descriptor in zip(("left", "right"), streams, strict=True):
            run.event(descriptor, {name: n + 0.5})
        if n % 1000 == 0:
            run.page(table, {"n": list(range(n, n + 100))})
    run.stop()
    return run.documents


class Reads:
    """Counts what is read from local files."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.opened, self.bytes = 0, 0
        read, begin = LocalSource.read, LocalSource.__init__

        def counted_read(source: LocalSource, start: int, stop: int) -> bytes:
            data = read(source, start, stop)
            self.bytes += len(data)
            return data

        def counted_open(source: LocalSource, path: str) -> None:
            self.opened += 1
            begin(source, path)

        monkeypatch.setattr(LocalSource, "read", counted_read)
        monkeypatch.setattr(LocalSource, "__init__", counted_open)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Reads:
    return Reads(monkeypatch)


class TestCompressed:
    @pytest.mark.parametrize("compression", ["gz", "zst"])
    def test_own_files_are_read_member_by_member(self, compression: str, folder: Path, reads: Reads) -> None:
        run = two_monitors(20_000)
        store = JSONLStore(folder, compression=compression)
        with store.insert(run[0][1]) as insert:
            for name, doc in run[1:]:
                insert.write(name, doc)
        [path] = folder.iterdir()
        assert path.name == f"{uid_of(run)}.jsonl.{compression}"
        header = store.header(uid_of(run))
        assert len(header.streams["left"].pages) > 5
        reads.bytes = 0
        [page] = store.event_pages(uid_of(run), "right", events=slice(10_000, 10_002))
        assert np.asarray(page.data["right"]).tolist() == [10_000.5, 10_001.5]
        assert reads.bytes < path.stat().st_size / 2
        values = np.concatenate([page.data["left"] for page in store.event_pages(uid_of(run), "left")])
        assert values.tolist() == [n + 0.5 for n in range(20_000)]
        store.close()

    def test_gzip_of_python_reads_own_files(self, folder: Path) -> None:
        store = JSONLStore(folder, compression="gz")
        with store.insert(scan()[0][1]) as insert:
            for name, doc in scan()[1:]:
                insert.write(name, doc)
        [path] = folder.iterdir()
        observed = [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]
        assert identical(observed, scan())
        store.close()

    def test_foreign_file_of_one_member_is_one_page(self, folder: Path, store: JSONLStore, reads: Reads) -> None:
        run = two_monitors(10_000)
        size = (folder / "run.jsonl.gz").write_bytes(gzip.compress(lines(run)))
        header = store.header(uid_of(run))
        assert header.streams["left"].pages == (10_000,)
        reads.bytes = 0
        values = np.concatenate([page.data["left"] for page in store.event_pages(uid_of(run), "left")])
        assert values.tolist() == [n + 0.5 for n in range(10_000)]
        assert reads.bytes <= size

    @pytest.mark.parametrize("compression", ["gz", "zst"])
    def test_growing_file_is_read_as_far_as_it_goes(self, compression: str, folder: Path) -> None:
        run = scan()
        writer = JSONLStore(folder, compression=compression)
        reader = JSONLStore(folder)
        insert = writer.insert(run[0][1])
        for place, (name, doc) in enumerate(run[1:], start=2):
            insert.write(name, doc)
            assert len(list(reader.documents(uid_of(run)))) == place
            assert reader.problems() == []
        assert reader.problems() == []
        writer.close()
        reader.close()
