"""Runs in files: what is read when, files that grow, change and go, damage, and writing."""

from __future__ import annotations

import errno
import gzip
import importlib
import json
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from intake_bluesky_jsonl import JSONLCodec, JSONLStore

from intake_bluesky.documents import Document, RunSummary, identical, to_plain
from intake_bluesky.errors import (
    DuplicateRun,
    RunNotFound,
    StoreUnavailable,
    UnsupportedOperation,
    UntrustedName,
)
from intake_bluesky.files import FileStore
from intake_bluesky.files.sources import LocalSource
from intake_bluesky.query import In, PartialUID, Query, ScanIDRange, Start, TimeRange, matches
from intake_bluesky.storage import Order
from intake_bluesky.testing.compose import RunComposer, data_key
from intake_bluesky.testing.examples import Run
from intake_bluesky.testing.plain_runs import count, rewound, scan


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


class TestLaziness:
    def test_making_a_store_touches_nothing(self, tmp_path: Path, cache: Path) -> None:
        store = JSONLStore(["/no/such/folder", "s3://no-such-bucket/x*", tmp_path])
        assert repr(store).startswith("JSONLStore(['/no/such/folder'")
        assert pickle.loads(pickle.dumps(store)).files.places[2].pattern == str(tmp_path)
        assert not cache.exists()

    def test_finding_reads_the_two_ends_of_a_file(self, folder: Path, store: JSONLStore, reads: Reads) -> None:
        (folder / "long.jsonl").write_bytes(lines(two_monitors(5000)))
        assert uids(store) == [uid_of(two_monitors(1))]
        assert reads.opened == 1
        assert reads.bytes == 2 * 65536

    def test_known_files_are_not_opened_again(self, folder: Path, store: JSONLStore, reads: Reads) -> None:
        for run in (count(), scan()):
            (folder / f"{uid_of(run)}.jsonl").write_bytes(lines(run))
        assert store.count() == 2
        before = reads.opened
        other = pickle.loads(pickle.dumps(store))
        other.refresh()
        assert len(uids(other)) == 2
        assert reads.opened == before == 2

    def test_a_run_is_scanned_once(
        self, folder: Path, store: JSONLStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (folder / "scan.jsonl").write_bytes(lines(scan()))
        expected = store.header(uid_of(scan()))
        decoded: list[str] = []
        decode = JSONLCodec.decode

        def counted(codec: JSONLCodec, item: bytes) -> tuple[str, Document]:
            name, doc = decode(codec, item)
            decoded.append(name)
            return name, doc

        monkeypatch.setattr(JSONLCodec, "decode", counted)
        other = pickle.loads(pickle.dumps(store))
        observed = other.header(uid_of(scan()))
        assert sorted(set(decoded)) == ["descriptor", "start", "stop"]
        assert observed == expected

    def test_a_known_run_needs_no_listing(
        self, folder: Path, store: JSONLStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (folder / "scan.jsonl").write_bytes(lines(scan()))
        store.header(uid_of(scan()))
        other = pickle.loads(pickle.dumps(store))

        def refuse(path: str) -> None:
            raise AssertionError(f"{path} was listed")

        monkeypatch.setattr(os, "scandir", refuse)
        assert sum(map(len, other.event_pages(uid_of(scan()), "primary"))) == 11

    def test_a_slice_reads_the_blocks_it_is_in(self, folder: Path, store: JSONLStore, reads: Reads) -> None:
        run = two_monitors(20_000)
        (folder / "long.jsonl").write_bytes(lines(run))
        header = store.header(uid_of(run))
        assert len(header.streams["left"].pages) > 5
        reads.bytes = 0
        [page] = store.event_pages(uid_of(run), "right", events=slice(10_000, 10_002))
        assert page.data["right"].tolist() == [10_000.5, 10_001.5]
        assert reads.bytes < 1.1 * 2**20

    def test_a_long_listing_is_not_repeated_while_the_folder_stays(
        self, folder: Path, store: JSONLStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (folder / "one.jsonl").write_bytes(lines(count()))
        (folder / "live.jsonl").write_bytes(lines(scan()[:-1]))
        os.utime(folder, (1e9, 1e9))
        monkeypatch.setattr("intake_bluesky.files.indexed.LONG", 0.0)
        monkeypatch.setattr("intake_bluesky.files.indexed.SHARE", 1e9)
        store.refresh()
        listed: list[Any] = []
        scandir = os.scandir
        monkeypatch.setattr(os, "scandir", lambda path: listed.append(path) or scandir(path))
        store.refresh()
        assert listed == []
        with (folder / "live.jsonl").open("ab") as file:
            file.write(lines(scan()[-1:]))
        store.refresh()
        assert listed == []
        assert all(run.stop is not None for run in store.find())
        (folder / "new.jsonl").write_bytes(lines(rewound()))
        store.refresh()
        assert len(listed) == 1
        assert store.count() == 3


class TestIndexSize:
    @pytest.mark.parametrize("make", [lambda: two_monitors(10_000), lambda: two_monitors(30)])
    def test_is_at_most_a_quarter_of_the_data(
        self, folder: Path, store: JSONLStore, cache: Path, make: Callable[[], Run]
    ) -> None:
        run = make()
        data = 0
        copies = max(1, 2_000_000 // len(lines(run)))
        for number in range(copies):
            uid = f"{number:08}-5fde-bf13-79896a2ff437"
            run[0][1]["uid"] = uid
            run[-1][1]["run_start"] = uid
            data += (folder / f"{uid}.jsonl").write_bytes(lines(run))
        for uid in uids(store):
            store.header(uid)
        store.close()
        index = sum(path.stat().st_size for path in cache.iterdir())
        assert index <= data / 4

    def test_alternating_streams_share_blocks(self, folder: Path, store: JSONLStore) -> None:
        run = two_monitors(10_000)
        size = (folder / "run.jsonl").write_bytes(lines(run))
        streams = store.header(uid_of(run)).streams
        assert len(streams["left"].pages) <= size / 2**20 + 1
        for name in ("left", "right"):
            pages = list(store.event_pages(uid_of(run), name))
            values = np.concatenate([page.data[name] for page in pages])
            assert values.tolist() == [n + 0.5 for n in range(10_000)]
            assert [len(page) for page in pages] == list(streams[name].pages)


class TestChange:
    def test_only_what_was_appended_is_read(self, folder: Path, store: JSONLStore, reads: Reads) -> None:
        run = two_monitors(3000)
        (folder / "run.jsonl").write_bytes(lines(run[:-10]))
        early = store.header(uid_of(run))
        reads.bytes = 0
        with (folder / "run.jsonl").open("ab") as file:
            file.write(lines(run[-10:]))
        later = store.header(uid_of(run))
        assert reads.bytes < 10_000
        assert early.stop is None
        assert identical(later.stop, run[-1][1])
        assert later.version != early.version
        assert later.streams["left"].events == 3000
        assert sum(later.streams["left"].pages) == 3000

    def test_growth_in_small_steps_makes_no_small_blocks(self, folder: Path, store: JSONLStore) -> None:
        run = two_monitors(50)
        for place in range(len(run)):
            with (folder / "run.jsonl").open("ab") as file:
                file.write(lines(run[place : place + 1]))
            store.header(uid_of(run))
        header = store.header(uid_of(run))
        assert header.streams["left"].pages == (50,)
        assert identical(list(store.documents(uid_of(run))), run)

    def test_a_line_written_in_halves_is_seen_when_it_is_whole(self, folder: Path, store: JSONLStore) -> None:
        whole = lines(scan())
        (folder / "run.jsonl").write_bytes(whole[:-30])
        assert store.header(uid_of(scan())).stop is None
        [problem] = store.problems()
        assert "no whole document" in problem.message
        with (folder / "run.jsonl").open("ab") as file:
            file.write(whole[-30:])
        assert store.header(uid_of(scan())).stop is not None
        assert store.problems() == []

    def test_stop_is_found_without_refresh(self, folder: Path, store: JSONLStore) -> None:
        (folder / "run.jsonl").write_bytes(lines(scan()[:-1]))
        assert [run.stop for run in store.find()] == [None]
        with (folder / "run.jsonl").open("ab") as file:
            file.write(lines(scan()[-1:]))
        assert [run.stop for run in store.find()] == [scan()[-1][1]]

    def test_new_run_is_found_by_uid_without_refresh(
        self, folder: Path, store: JSONLStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("intake_bluesky.files.indexed.PATIENCE", 0.0)
        assert uids(store) == []
        (folder / "run.jsonl").write_bytes(lines(scan()))
        assert store.header(uid_of(scan())).uid == uid_of(scan())

    def test_replaced_file_shows_the_new_run(self, folder: Path, store: JSONLStore) -> None:
        path = folder / "run.jsonl"
        path.write_bytes(lines(count()))
        assert store.header(uid_of(count())).streams["primary"].events == 3
        path.write_bytes(lines(scan()))
        with pytest.raises(RunNotFound):
            store.header(uid_of(count()))
        assert uids(store) == [uid_of(scan())]
        assert store.header(uid_of(scan())).streams["primary"].events == 11

    def test_longer_file_with_another_beginning_is_no_growth(self, folder: Path, store: JSONLStore) -> None:
        path = folder / "run.jsonl"
        path.write_bytes(lines(count()[:-2]))
        store.header(uid_of(count()))
        changed = count()
        for name, doc in changed:
            if name == "event":
                doc["data"]["det"] = 99.0
        path.write_bytes(lines(changed))
        [page] = store.event_pages(uid_of(count()), "primary")
        assert page.data["det"].tolist() == [99.0] * 3

    def test_deleted_file_is_gone(self, folder: Path, store: JSONLStore) -> None:
        for name, run in (("a", count()), ("b", scan())):
            (folder / f"{name}.jsonl").write_bytes(lines(run))
        assert store.count() == 2
        (folder / "a.jsonl").unlink()
        with pytest.raises(RunNotFound):
            store.header(uid_of(count()))
        assert uids(store) == [uid_of(scan())]

    def test_moved_file_is_found_again(self, folder: Path, store: JSONLStore) -> None:
        (folder / "a.jsonl").write_bytes(lines(scan()))
        store.header(uid_of(scan()))
        (folder / "a.jsonl").rename(folder / "b.jsonl")
        store.refresh()
        assert sum(map(len, store.event_pages(uid_of(scan()), "primary"))) == 11

    def test_deep_refresh_sees_what_stamps_hide(self, folder: Path, store: JSONLStore) -> None:
        path = folder / "a.jsonl"
        path.write_bytes(lines(count()))
        assert store.header(uid_of(count())).start["scan_id"] == 1
        found = path.stat()
        path.write_bytes(lines(count()).replace(b'"scan_id": 1', b'"scan_id": 7'))
        os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))
        store.refresh()
        assert [run.scan_id for run in store.find()] == [1]
        store.refresh(deep=True)
        assert [run.scan_id for run in store.find()] == [7]

    def test_order_is_that_of_time_not_of_names(self, folder: Path, store: JSONLStore) -> None:
        for name, time in (("a", 2.0), ("b", 3.0), ("c", 1.0)):
            (folder / f"{name}.jsonl").write_bytes(lines([("start", {"uid": name, "time": time})]))
        assert uids(store) == ["b", "a", "c"]
        assert [run.uid for run in store.find(order=Order.OLDEST)] == ["c", "a", "b"]

    def test_lost_index_is_made_anew(self, folder: Path, store: JSONLStore, cache: Path) -> None:
        (folder / "a.jsonl").write_bytes(lines(scan()))
        assert store.count() == 1
        store.close()
        [path] = cache.glob("*.sqlite")
        path.write_bytes(b"no database" * 1000)
        with pytest.warns(UserWarning, match="made anew"):
            assert uids(store) == [uid_of(scan())]
        assert sum(map(len, store.event_pages(uid_of(scan()), "primary"))) == 11


def _damaged(change: Callable[[bytes], bytes]) -> bytes:
    """The scan with its second event page's line changed."""
    before = lines(scan()).split(b"\n")
    [_, second, *_] = [n for n, line in enumerate(before) if line.startswith(b'["event_page"')]
    before[second] = change(before[second])
    return b"\n".join(before)


BAD_FILES: dict[str, tuple[str, bytes, str]] = {
    "no run": ("x.jsonl", b'["event", {"uid": "e"}]\n', "not a run: its first document is a event"),
    "other JSON": ("x.jsonl", b'{"name": "value"}\n', "not a run"),
    "text": ("x.jsonl", b"hello\nworld\n", "not a run"),
    "empty": ("x.jsonl", b"", "empty"),
    "no uid": ("x.jsonl", b'["start", {"time": 1.0}]\n', "no uid"),
    "uid is no text": ("x.jsonl", b'["start", {"uid": "\\ud800"}]\n', "no uid"),
    "binary": ("x.jsonl", bytes(range(256)) * 8192, "not a run"),
    "NULs": ("x.jsonl", b"\x00" * 5000, "not a run"),
    "not UTF-8": ("x.jsonl", b'["start", {"uid": "\xff\xfe"}]\n', "not a run"),
    "truncated start": ("x.jsonl", b'["start", {"uid": "cut', "not a run"),
    "no gzip": ("x.jsonl.gz", lines(count()), "decompressed"),
    "truncated gzip start": ("x.jsonl.gz", gzip.compress(lines(count()))[:20], "cut off"),
    "no zstandard": ("x.jsonl.zst", b"\x28\xb5\x2f\xfd garbage", "decompressed"),
}


class TestBadInput:
    @pytest.mark.parametrize("name", BAD_FILES)
    def test_bad_file_is_reported_and_hides_no_other(self, name: str, folder: Path, store: JSONLStore) -> None:
        file, content, expected = BAD_FILES[name]
        (folder / file).write_bytes(content)
        (folder / "good.jsonl").write_bytes(lines(scan()))
        assert uids(store) == [uid_of(scan())]
        [problem] = store.problems()
        assert problem.where == str(folder / file)
        assert expected in problem.message
        assert len(uids(store)) == 1

    @pytest.mark.parametrize(
        "change",
        [
            lambda line: line[:40],
            lambda line: line.replace(b'"theta"', b'"\xff\xfe"', 1),
            lambda line: line.replace(b'"theta"', b'"\x00\x00"', 1),
            lambda line: b"\x00" * len(line),
            lambda line: line.replace(b'"seq_num": [', b'"seq_num": [1, '),
            lambda line: line.replace(b'"descriptor"', b'"descriptr"'),
        ],
        ids=["cut", "not UTF-8", "control characters", "NULs", "columns disagree", "field missing"],
    )
    def test_damage_in_the_middle_loses_only_what_is_damaged(
        self, change: Callable[[bytes], bytes], folder: Path, store: JSONLStore
    ) -> None:
        content = _damaged(change)
        (folder / "run.jsonl").write_bytes(content)
        (folder / "good.jsonl").write_bytes(lines(count()))
        header = store.header(uid_of(scan()))
        assert header.stop is not None
        assert header.streams["primary"].events == 7
        assert sum(map(len, store.event_pages(uid_of(scan()), "primary"))) == 7
        assert len(uids(store)) == 2
        [problem] = store.problems()
        assert "passed over" in problem.message
        assert problem.uid == uid_of(scan())
        names = [name for name, _ in store.documents(uid_of(scan()))]
        assert names[0] == "start"
        assert names[-1] == "stop"
        assert len(names) >= len(scan()) - 1

    def test_place_of_the_damage_is_named(self, folder: Path, store: JSONLStore) -> None:
        content = _damaged(lambda line: b"#" * 100)
        (folder / "run.jsonl").write_bytes(content)
        store.header(uid_of(scan()))
        [problem] = store.problems()
        start = content.index(b"#")
        assert f"bytes {start} to {start + 101} are passed over" in problem.message

    def test_event_that_fits_no_page_is_passed_over_and_kept_as_document(
        self, folder: Path, store: JSONLStore
    ) -> None:
        run = count()
        run[3][1]["seq_num"] = "two"
        (folder / "run.jsonl").write_bytes(lines(run))
        pages = list(store.event_pages(uid_of(run), "primary"))
        assert [n for page in pages for n in page.seq_num.tolist()] == [1, 3]
        assert identical(list(store.documents(uid_of(run))), run)
        [problem] = store.problems()
        assert "seq_num" in problem.message

    def test_truncated_last_line(self, folder: Path, store: JSONLStore) -> None:
        (folder / "run.jsonl").write_bytes(lines(scan())[:-10])
        header = store.header(uid_of(scan()))
        assert header.stop is None
        assert header.streams["primary"].events == 11
        [problem] = store.problems()
        assert "cut off" in problem.message

    def test_last_line_without_its_end_is_whole(self, folder: Path, store: JSONLStore) -> None:
        (folder / "run.jsonl").write_bytes(lines(scan()).rstrip(b"\n"))
        assert [run.stop for run in store.find()] == [scan()[-1][1]]
        assert identical(list(store.documents(uid_of(scan()))), scan())
        assert store.problems() == []

    def test_line_end_that_comes_later_is_no_damage(self, folder: Path, store: JSONLStore) -> None:
        whole = lines(scan())
        (folder / "run.jsonl").write_bytes(b"\n".join(whole.split(b"\n")[:5]))
        store.header(uid_of(scan()))
        with (folder / "run.jsonl").open("ab") as file:
            file.write(b"\n" + b"\n".join(whole.split(b"\n")[5:]))
        assert identical(list(store.documents(uid_of(scan()))), scan())
        assert store.problems() == []

    @pytest.mark.parametrize("ends", [b"\r\n", b"\n\n", b"\n \n"], ids=["CRLF", "blank", "spaces"])
    def test_odd_line_ends(self, ends: bytes, folder: Path, store: JSONLStore) -> None:
        (folder / "run.jsonl").write_bytes(lines(scan()).replace(b"\n", ends))
        store.refresh(deep=True)
        assert identical(list(store.documents(uid_of(scan()))), scan())
        assert store.problems() == []

    def test_truncated_gzip_gives_what_it_has(self, folder: Path, store: JSONLStore) -> None:
        run = two_monitors(2000)
        packed = gzip.compress(lines(run))
        (folder / "run.jsonl.gz").write_bytes(packed[: len(packed) // 2])
        (folder / "good.jsonl").write_bytes(lines(count()))
        events = store.header(uid_of(run)).streams["left"].events
        assert 500 < events < 2000
        assert sum(map(len, store.event_pages(uid_of(run), "left"))) == events
        assert len(uids(store)) == 2
        assert any("cut off" in problem.message for problem in store.problems())

    def test_corrupt_gzip_gives_what_comes_before(self, folder: Path, store: JSONLStore) -> None:
        run = two_monitors(2000)
        packed = bytearray(gzip.compress(lines(run)))
        middle = len(packed) // 2
        packed[middle : middle + 200] = b"\x00" * 200
        (folder / "run.jsonl.gz").write_bytes(packed)
        header = store.header(uid_of(run))
        assert header.stop is None
        assert any("decompressed" in problem.message for problem in store.problems())

    def test_two_runs_in_one_file_are_reported(self, folder: Path, store: JSONLStore) -> None:
        (folder / "run.jsonl").write_bytes(lines(count()) + lines(scan()))
        assert uids(store) == [uid_of(count())]
        assert identical(list(store.documents(uid_of(count()))), count())
        [problem] = store.problems()
        assert "several runs" in problem.message

    def test_one_uid_in_two_files_is_reported_for_both(self, folder: Path, store: JSONLStore) -> None:
        (folder / "a.jsonl").write_bytes(lines(scan()[:-1]))
        (folder / "b.jsonl").write_bytes(lines(scan()))
        (folder / "c.jsonl").write_bytes(lines(scan()))
        assert uids(store) == [uid_of(scan())]
        assert store.count() == 1
        assert store.header(uid_of(scan())).stop is not None
        assert {Path(problem.where).name for problem in store.problems()} == {"a.jsonl", "b.jsonl", "c.jsonl"}
        (folder / "b.jsonl").unlink()
        (folder / "c.jsonl").unlink()
        store.refresh()
        assert uids(store) == [uid_of(scan())]
        assert store.problems() == []

    def test_event_of_an_unknown_descriptor_does_no_harm(self, folder: Path, store: JSONLStore) -> None:
        run = [pair for pair in scan() if pair[1].get("name") != "baseline"]
        (folder / "run.jsonl").write_bytes(lines(run))
        assert list(store.header(uid_of(run)).streams)[-1:] == ["primary"]
        assert sum(map(len, store.event_pages(uid_of(run), "primary"))) == 11

    @pytest.mark.skipif(sys.platform != "linux", reason="elsewhere every file name is Unicode")
    def test_name_that_is_not_utf8(self, folder: Path, store: JSONLStore) -> None:
        (folder / "good.jsonl").write_bytes(lines(scan()))
        Path(os.fsdecode(os.fsencode(folder) + b"/\xff.jsonl")).write_bytes(lines(count()))
        assert uids(store) == [uid_of(scan())]
        [problem] = store.problems()
        assert "not UTF-8" in problem.message
        with pytest.raises(RunNotFound):
            store.header("\udcff")

    def test_folder_called_like_a_run_and_link_to_nowhere(self, folder: Path, store: JSONLStore) -> None:
        (folder / "folder.jsonl").mkdir()
        (folder / "link.jsonl").symlink_to(folder / "nowhere")
        (folder / "good.jsonl").write_bytes(lines(scan()))
        assert uids(store) == [uid_of(scan())]
        [problem] = store.problems()
        assert problem.where.endswith("link.jsonl")

    def test_file_without_permission_is_reported_and_tried_again(
        self, folder: Path, store: JSONLStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (folder / "locked.jsonl").write_bytes(lines(count()))
        (folder / "good.jsonl").write_bytes(lines(scan()))
        begin = LocalSource.__init__

        def refuse(source: LocalSource, path: str) -> None:
            if path.endswith("locked.jsonl"):
                raise PermissionError(errno.EACCES, "Permission denied", path)
            begin(source, path)

        with monkeypatch.context() as patch:
            patch.setattr(LocalSource, "__init__", refuse)
            assert uids(store) == [uid_of(scan())]
            [problem] = store.problems()
            assert "Permission denied" in problem.message
        store.refresh()
        assert store.count() == 2
        assert store.problems() == []

    def test_missing_folder_is_a_problem_beside_others(self, folder: Path, tmp_path: Path) -> None:
        (folder / "good.jsonl").write_bytes(lines(scan()))
        store = JSONLStore([tmp_path / "missing", folder])
        assert uids(store) == [uid_of(scan())]
        [problem] = store.problems()
        assert problem.where == str(tmp_path / "missing")
        store.close()

    def test_filesystem_out_of_reach(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        store = JSONLStore("s3://user:secret@bucket/runs")

        def refuse(*args: Any, **kwargs: Any) -> None:
            raise ConnectionError("no route to host")

        monkeypatch.setattr("fsspec.core.url_to_fs", refuse)
        with pytest.raises(StoreUnavailable, match="no route") as caught:
            uids(store)
        assert "secret" not in str(caught.value) + repr(store)


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
        assert page.data["right"].tolist() == [10_000.5, 10_001.5]
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
        writer.close()
        reader.close()


class TestWriting:
    @pytest.mark.parametrize("uid", ["../x", "a/b", "..", "", ".hidden", "a\x00b", "a\\b", "C:x", "x" * 300, 5, None])
    def test_uid_that_is_no_name_of_a_file(self, uid: Any, store: JSONLStore, folder: Path) -> None:
        with pytest.raises(UntrustedName):
            store.insert({"uid": uid, "time": 1.0})
        assert list(folder.parent.glob("**/*.jsonl")) == []

    def test_run_in_a_file_of_another_name_is_a_duplicate(self, folder: Path, store: JSONLStore) -> None:
        (folder / "other name.jsonl").write_bytes(lines(scan()))
        with pytest.raises(DuplicateRun, match="other name"):
            store.insert(scan()[0][1])

    def test_file_written_by_another_process_meanwhile_is_a_duplicate(
        self, folder: Path, store: JSONLStore
    ) -> None:
        assert store.count() == 0
        (folder / f"{uid_of(scan())}.jsonl").write_bytes(lines(scan()))
        with pytest.raises(DuplicateRun):
            store.insert(scan()[0][1])
        store.refresh()
        assert identical(list(store.documents(uid_of(scan()))), scan())

    def test_run_whose_file_was_removed_can_be_written_again(self, folder: Path, store: JSONLStore) -> None:
        (folder / "a.jsonl").write_bytes(lines(scan()))
        assert store.count() == 1
        (folder / "a.jsonl").unlink()
        store.insert(scan()[0][1]).close()
        store.refresh()
        assert uids(store) == [uid_of(scan())]

    def test_start_that_cannot_be_written_leaves_no_file(self, folder: Path, store: JSONLStore) -> None:
        with pytest.raises(UnsupportedOperation):
            store.insert({"uid": "abc", "time": 1.0, "value": object()})
        assert list(folder.iterdir()) == []

    def test_document_that_cannot_be_written_leaves_the_others(self, store: JSONLStore) -> None:
        with store.insert({"uid": "abc", "time": 1.0}) as insert:
            with pytest.raises(UnsupportedOperation):
                insert.write("event", {"value": object()})
            insert.write("stop", {"uid": "s", "run_start": "abc", "time": 2.0, "exit_status": "success"})
        assert [name for name, _ in store.documents("abc")] == ["start", "stop"]

    def test_full_disk_leaves_no_half_document(
        self, folder: Path, store: JSONLStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        insert = store.insert(count()[0][1])
        write = os.write

        def half(file: int, data: bytes) -> int:
            if len(data) < 20:
                raise OSError(errno.ENOSPC, "No space left on device")
            return write(file, data[: len(data) // 2])

        with monkeypatch.context() as patch:
            patch.setattr(os, "write", half)
            with pytest.raises(OSError, match="No space"):
                insert.write(*count()[1])
        for name, doc in count()[1:]:
            insert.write(name, doc)
        assert identical(list(store.documents(uid_of(count()))), count())

    def test_nothing_is_written_after_the_stop(self, store: JSONLStore) -> None:
        insert = store.insert(count()[0][1])
        insert.write(*count()[-1])
        with pytest.raises(UnsupportedOperation, match="closed"):
            insert.write(*count()[1])

    def test_written_run_is_found_without_refresh(self, store: JSONLStore) -> None:
        assert uids(store) == []
        insert = store.insert(scan()[0][1])
        assert uids(store) == [uid_of(scan())]
        for name, doc in scan()[1:]:
            insert.write(name, doc)
        assert [run.stop for run in store.find()] == [scan()[-1][1]]

    def test_file_that_no_path_would_find_is_not_made(self, folder: Path) -> None:
        store = JSONLStore(folder / "beamline_*.jsonl")
        with pytest.raises(UnsupportedOperation, match="not be found again"):
            store.insert(scan()[0][1])
        assert list(folder.iterdir()) == []

    def test_remote_store_is_not_written(self) -> None:
        store = JSONLStore("memory://bucket/runs")
        with pytest.raises(UnsupportedOperation, match="local folder"):
            store.insert(scan()[0][1])

    @pytest.mark.parametrize("pattern", ["", "*.jsonl", "**/*.jsonl", "new/folder"])
    def test_patterns_that_can_be_written(self, pattern: str, folder: Path) -> None:
        store = JSONLStore(f"{folder}/{pattern}")
        store.insert(scan()[0][1]).close()
        store.refresh()
        assert uids(store) == [uid_of(scan())]
        store.close()

    def test_unknown_compression(self, folder: Path) -> None:
        with pytest.raises(ValueError, match="'gz' or 'zst'"):
            JSONLStore(folder, compression="bz2")


WRITER = """
import sys
from {module} import {store}
store = {store}(sys.argv[1], compression=sys.argv[2] or None)
print("ready", flush=True)
for run in range(10**9):
    uid = sys.argv[3] + f"-{{run}}"
    with store.insert({{"uid": uid, "time": float(run)}}) as insert:
        insert.write("descriptor", {{"uid": uid + "-d", "run_start": uid, "name": "primary", "time": 1.0,
                                    "data_keys": {{"x": {{"dtype": "array", "shape": [200], "source": "s"}}}}}})
        for n in range(200):
            insert.write("event", {{"uid": f"{{n}}", "descriptor": uid + "-d", "seq_num": n + 1, "time": 1.0,
                                   "data": {{"x": [n + 0.25] * 200}}, "timestamps": {{"x": 1.0}}, "filled": {{}}}})
            print(run, n, flush=True)
        insert.write("stop", {{"uid": uid + "-s", "run_start": uid, "time": 2.0, "exit_status": "success"}})
"""


@pytest.mark.parametrize("compression", ["", "gz", "zst"])
@pytest.mark.parametrize("kind", ["jsonl", "msgpack"])
def test_sigkill_loses_at_most_the_document_being_written(kind: str, compression: str, folder: Path) -> None:
    module, name = f"intake_bluesky_{kind}", {"jsonl": "JSONLStore", "msgpack": "MsgpackStore"}[kind]
    make_store: Callable[[Path], FileStore] = getattr(importlib.import_module(module), name)
    script = WRITER.format(module=module, store=name)
    path = os.pathsep.join(sys.path)
    rng = np.random.default_rng(7)
    for attempt in range(3):
        process = subprocess.Popen(
            [sys.executable, "-c", script, str(folder), compression, f"w{attempt}"],
            stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": path},
        )  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        said = [process.stdout.readline() for _ in range(int(rng.integers(1, 400)))]
        time.sleep(rng.random() / 500)
        process.send_signal(signal.SIGKILL)
        said += process.stdout.readlines()
        process.wait()
        process.stdout.close()
        last, events = map(int, [line for line in said if line.endswith("\n")][-1].split())
        store = make_store(folder)
        for run in range(last + 1):
            uid = f"w{attempt}-{run}"
            pages = list(store.event_pages(uid, "primary"))
            seq_nums = [n for page in pages for n in page.seq_num.tolist()]
            expected = events + 1 if run == last else 200
            assert seq_nums == list(range(1, len(seq_nums) + 1))
            assert len(seq_nums) >= expected
            assert all(np.all(page.data["x"] == page.seq_num[:, None] - 0.75) for page in pages)
        store.refresh(deep=True)
        assert store.count() >= last + 1
        store.close()


def _insert_same(arguments: tuple[str, int]) -> str:
    folder, process = arguments
    store = JSONLStore(folder)
    won = 0
    for n in range(50):
        try:
            with store.insert({"uid": f"run-{n}", "time": float(n), "by": process}) as insert:
                insert.write("stop", {"uid": f"stop-{n}-{process}", "run_start": f"run-{n}", "time": 1.0})
            won += 1
        except DuplicateRun:
            pass
    store.close()
    return str(won)


def test_concurrent_writers_do_not_harm_each_other(folder: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        won = pool.map(_insert_same, [(str(folder), process) for process in range(3)])
    assert sum(map(int, won)) == 50
    store = JSONLStore(folder)
    for run in store.find():
        assert run.stop is not None
        assert run.stop["uid"] == f"stop-{run.uid[4:]}-{run.start['by']}"
    assert store.count() == 50
    assert store.problems() == []
    store.close()


ODD_STARTS: list[Document] = [
    {"uid": "a", "time": 1.0, "scan_id": 1},
    {"uid": "ab", "time": 2, "scan_id": 2.0},
    {"uid": "b", "time": float("nan"), "scan_id": True},
    {"uid": "c", "time": 1e305, "scan_id": 2**70},
    {"uid": "d", "time": 10**400, "scan_id": -(2**70)},
    {"uid": "e", "time": "1.0", "scan_id": "1"},
    {"uid": "f", "time": None, "scan_id": [1]},
    {"uid": "g", "scan_id": 2.5},
    {"uid": "aé", "time": -1e305, "scan_id": float("inf")},
    {"uid": "a\U0010ffff", "time": True, "scan_id": 0},
]
ODD_QUERIES: list[Query] = [
    Start("uid") == "a", Start("uid") != "a", PartialUID("a"), PartialUID("a", "c"), ~PartialUID("a"), PartialUID("aé"),
    Start("time") == 1.0, Start("time") == 1, Start("time") != 1.0, Start("time") > 1, Start("time") <= 2.0,
    ~(Start("time") < 2), TimeRange(since=0, until=1.5), Start("time") == True, Start("time") > float("inf"),  # noqa: E712
    Start("scan_id") == 1, Start("scan_id") == 2, Start("scan_id") >= 2, Start("scan_id") < 2.25, Start("scan_id") != 1,
    Start("scan_id") > 2**62, Start("scan_id") > 2**70, Start("scan_id") == None, ~(Start("scan_id") > 0),  # noqa: E711
    ScanIDRange(1, 3, duplicates="all"), In("scan_id", [1, 2.5]), In("uid", ["a", "g"]), In("uid", ["a", 5]),
    (Start("scan_id") > 0) & (Start("plan") == "x"), (Start("scan_id") == 1) | (Start("time") > 5),
    (Start("scan_id") == 1) | (Start("plan") == "x"), Start("uid") > "a", Start("uid", "x") == "a",
]  # fmt: skip


@pytest.mark.parametrize("query", ODD_QUERIES, ids=repr)
def test_what_the_index_answers_is_what_the_query_means(query: Query, folder: Path, store: JSONLStore) -> None:
    for number, start in enumerate(ODD_STARTS):
        (folder / f"{number}.jsonl").write_bytes(lines([("start", start)]))
    plan = store.plan(query, Order.OLDEST)
    observed = {run.uid for run in store.find(plan.pushed) if matches(plan.residual, run)}
    expected = {start["uid"] for start in ODD_STARTS if matches(query, RunSummary.of(start, None))}
    assert observed == expected
    assert store.count(plan.pushed) == len(list(store.find(plan.pushed)))


def test_lookups_are_pushed_down(store: JSONLStore) -> None:
    for query in (
        Start("uid") == "a",
        PartialUID("a"),
        TimeRange(since=1.0),
        ScanIDRange(1, 3, duplicates="all"),
    ):
        assert repr(store.plan(query, Order.NEWEST).residual) == "ALL"
