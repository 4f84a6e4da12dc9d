"""Writing runs into files: names, duplicates, full disks, crashes, several writers."""

from __future__ import annotations

import errno
import gzip
import importlib
import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zstandard

from intake_bluesky.documents.model import identical
from intake_bluesky.errors import (
    DuplicateRun,
    StoreUnavailable,
    UnsupportedOperation,
    UntrustedName,
)
from intake_bluesky.files import FileStore
from intake_bluesky.testing.plain_runs import count, scan
from intake_bluesky_jsonl import BlueskyJSONLCatalog, JSONLStore
from tests.files.runs import lines, two_monitors, uid_of, uids

AS_NOBODY = """\
import os, sys
from intake_bluesky.errors import StoreUnavailable
from intake_bluesky_jsonl import BlueskyJSONLCatalog
cat = BlueskyJSONLCatalog(sys.argv[1])
if os.geteuid() == 0:
    os.setuid(65534)
try:
    cat.writer()
except StoreUnavailable as error:
    sys.exit(f"refused: {error}")
"""


class TestWhoMayWrite:
    """It is told by `writer`, and not at the first start document, when the beam is on."""

    def test_a_folder_of_another_user(self, tmp_path: Path) -> None:
        with tempfile.TemporaryDirectory() as theirs:
            os.chmod(theirs, 0o555)
            for place in (theirs, f"{theirs}/runs/2026"):
                command = [sys.executable, "-c", AS_NOBODY, place]
                done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
                assert done.returncode == 1, done.stderr
                told = f"refused: {place} cannot be written: this user may not write {theirs}."
                assert done.stderr.startswith(told), done.stderr
            os.chmod(theirs, 0o777)
            command = [sys.executable, "-c", AS_NOBODY, f"{theirs}/runs"]
            assert subprocess.run(command, cwd=tmp_path, check=False).returncode == 0
            assert os.listdir(theirs) == [], "asking makes nothing"

    def test_below_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "runs").write_text("")
        below = BlueskyJSONLCatalog(tmp_path / "runs" / "2026")
        for cat in (below, BlueskyJSONLCatalog(tmp_path, directory=tmp_path / "runs")):
            with pytest.raises(StoreUnavailable, match=r"cannot be written: .*runs is no folder. .*directory="):
                cat.writer()

    def test_no_local_folder(self) -> None:
        with pytest.raises(UnsupportedOperation, match="local folder"):
            BlueskyJSONLCatalog("memory://runs/").writer()


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

    def test_file_written_by_another_process_meanwhile_is_a_duplicate(self, folder: Path, store: JSONLStore) -> None:
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

    @pytest.mark.parametrize("compression", [None, "gz", "zst"])
    def test_full_disk_loses_what_it_refused_and_nothing_else(
        self, compression: str | None, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store, run, rng = JSONLStore(folder, compression=compression), two_monitors(400), random.Random(1)
        write, full = os.write, False

        def some(file: int, data: bytes) -> int:
            if full and len(data) < 20:
                raise OSError(errno.ENOSPC, "No space left on device")
            return write(file, data[: len(data) // 2] if full else data)

        monkeypatch.setattr(os, "write", some)
        monkeypatch.setattr("intake_bluesky.files.run_writer.BLOCK", 1 << 14)
        insert, kept = store.insert(run[0][1]), [run[0]]
        for place, (name, doc) in enumerate([*run[1:], run[-1]]):  # the stop once refused, and once more
            full = place == len(run) - 2 or (name != "stop" and rng.random() < 0.2)
            if full:
                with pytest.raises(OSError, match="No space"):
                    insert.write(name, doc)
            else:
                insert.write(name, doc)
                kept.append((name, doc))
        assert 600 < len(kept) < 700
        assert identical(list(store.documents(uid_of(run))), kept)
        [path] = folder.iterdir()
        raw = path.read_bytes()
        if compression == "gz":
            raw = gzip.decompress(raw)
        elif compression == "zst":
            raw = zstandard.ZstdDecompressor().stream_reader(raw, read_across_frames=True).read()
        assert identical([json.loads(line) for line in raw.splitlines()], kept)
        store.close()

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


@pytest.mark.slow
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


@pytest.mark.slow
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
