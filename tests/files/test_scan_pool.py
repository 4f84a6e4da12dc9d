"""Who looks at files: this thread, threads, or processes, with the same outcome."""

from __future__ import annotations

import logging
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from intake_bluesky.files.content.source import LocalSource
from intake_bluesky.files.scan import pool, worker
from intake_bluesky.files.scan.inspect import Task
from intake_bluesky.files.scan.pool import work_of
from intake_bluesky.files.scan.worker import Worker, WorkerLost
from intake_bluesky.index.index import IndexEntry
from intake_bluesky.runtime.progress import Progress, reporting, track
from intake_bluesky_jsonl import JSONLCodec, JSONLStore
from intake_bluesky_msgpack import MsgpackCodec, MsgpackStore
from tests.files.test_changes import run_of, uid_at

RUNS = 40


@pytest.fixture(autouse=True)
def _settled(settled: None) -> None:
    pass


@pytest.fixture
def filled(folder: Path) -> Path:
    for number in range(RUNS):
        (folder / f"{number:02}.jsonl").write_bytes(run_of(uid_at(number), number))
    (folder / "cut.jsonl").write_bytes(run_of(uid_at(RUNS), RUNS)[:-30])
    (folder / "odd.jsonl").write_bytes(b"no run\n")
    return folder


@pytest.fixture
def pooled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes pay, and each gets its share."""
    monkeypatch.setattr(pool, "PAYS", 0)
    monkeypatch.setattr(pool, "CHUNK", 5_000)
    monkeypatch.setattr(pool, "cores", lambda: 2)


def entries(store: JSONLStore) -> dict[str, IndexEntry]:
    found = {entry.path: entry for entry in store.files.index.entries()}
    store.close()
    return found


def scanned(folder: Path) -> dict[str, IndexEntry]:
    store = JSONLStore(folder)
    store.refresh(deep=True)
    return entries(store)


class Started:
    """The processes started, and the tasks each was given."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.tasks: dict[int, int] = {}
        look = Worker.look

        def counted(worker: Worker, tasks: Any) -> list[IndexEntry]:
            pid = worker._process.pid
            self.tasks[pid] = self.tasks.get(pid, 0) + len(tasks)
            return look(worker, tasks)

        monkeypatch.setattr(Worker, "look", counted)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Started:
    return Started(monkeypatch)


class TestProcesses:
    @pytest.fixture
    def expected(self, filled: Path) -> dict[str, IndexEntry]:
        return scanned(filled)

    def test_small_folders_start_none(self, filled: Path, started: Started) -> None:
        scanned(filled)
        assert started.tasks == {}

    def test_give_the_same_entries(
        self, filled: Path, expected: dict[str, IndexEntry], pooled: None, started: Started
    ) -> None:
        assert scanned(filled) == expected
        assert len(expected) == RUNS + 2
        assert sum(started.tasks.values()) == RUNS + 2
        assert os.getpid() not in started.tasks
        for pid in started.tasks:  # and are gone
            with pytest.raises(ProcessLookupError):
                os.kill(pid, 0)

    def test_of_another_codec(self, folder: Path, pooled: None, started: Started) -> None:
        codec = MsgpackCodec()
        for number in range(RUNS):
            docs = [JSONLCodec().decode(line) for line in run_of(uid_at(number), number).splitlines()]
            (folder / f"{number}.msgpack").write_bytes(b"".join(codec.encode(*doc) for doc in docs))
        store = MsgpackStore(folder)
        store.refresh(deep=True)
        assert store.count() == RUNS
        assert sum(started.tasks.values()) == RUNS
        store.close()

    def test_in_threads_of_others(self, filled: Path, expected: dict[str, IndexEntry], pooled: None) -> None:
        found: list[dict[str, IndexEntry]] = []
        threads = [threading.Thread(target=lambda: found.append(scanned(filled))) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == [expected, expected]

    def test_one_that_dies_loses_nothing(
        self,
        filled: Path,
        expected: dict[str, IndexEntry],
        pooled: None,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        look = Worker.look
        killed: list[int] = []

        def murdered(worker: Worker, tasks: Any) -> list[IndexEntry]:
            if not killed:
                killed.append(worker._process.pid)
                os.kill(worker._process.pid, signal.SIGKILL)
                worker._process.wait()
            return look(worker, tasks)

        monkeypatch.setattr(Worker, "look", murdered)
        with caplog.at_level(logging.INFO):
            assert scanned(filled) == expected
        assert killed
        assert "has ended" in caplog.text

    @pytest.mark.parametrize("executable", ["", "/nowhere/python", "/bin/false"])
    def test_where_none_can_be_started(
        self,
        executable: str,
        filled: Path,
        expected: dict[str, IndexEntry],
        pooled: None,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
        capfd: pytest.CaptureFixture[str],
    ) -> None:
        monkeypatch.setattr(sys, "executable", executable)
        with caplog.at_level(logging.INFO):
            assert scanned(filled) == expected
        assert "looking at files in this process" in caplog.text
        assert capfd.readouterr().err == ""

    def test_codec_that_only_the_program_knows(
        self, filled: Path, expected: dict[str, IndexEntry], pooled: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Local(JSONLCodec):
            pass

        monkeypatch.setattr(JSONLStore, "codec", Local())
        assert {path: entry.uid for path, entry in scanned(filled).items()} == {
            path: entry.uid for path, entry in expected.items()
        }

    def test_in_one_of_many_processes(self, filled: Path, pooled: None, started: Started) -> None:
        process = multiprocessing.current_process()
        daemon = process._config.get("daemon")  # type: ignore[attr-defined]
        process._config["daemon"] = True  # type: ignore[attr-defined]
        try:
            assert len(scanned(filled)) == RUNS + 2
        finally:
            process._config["daemon"] = daemon  # type: ignore[attr-defined]
        assert started.tasks == {}

    @pytest.mark.slow
    def test_a_script_without_a_guard_runs_once(self, filled: Path, tmp_path: Path, cache: Path) -> None:
        """What `multiprocessing` starts imports the script again; an experiment would run twice."""
        script = tmp_path / "script.py"
        script.write_text(
            "print('experiment')\n"
            "from intake_bluesky.files import crew\n"
            "from intake_bluesky_jsonl import JSONLStore\n"
            "crew.PAYS, pool.cores = 0, lambda: 2\n"
            f"store = JSONLStore({str(filled)!r})\n"
            "store.refresh(deep=True)\n"
            "print(store.count())\n"
        )
        done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True, cwd=filled)
        assert done.stdout.split() == ["experiment", str(RUNS + 1)]
        assert done.stderr == ""

    def test_modules_beside_the_data_are_not_imported(self, filled: Path, pooled: None, started: Started) -> None:
        for name in ("json", "pickle", "orjson", "numpy"):
            (filled / f"{name}.py").write_text("raise SystemExit('imported')")
        before = Path.cwd()
        os.chdir(filled)
        try:
            assert len(scanned(filled)) == RUNS + 2
        finally:
            os.chdir(before)
        assert sum(started.tasks.values()) == RUNS + 2

    def test_worker_does_not_load_the_face_of_a_driver(self, filled: Path) -> None:
        code = (
            "import pickle, sys; from intake_bluesky.files.scan.worker import _unpickled;"
            "codec = _unpickled('intake_bluesky_jsonl.codec', bytes.fromhex(sys.argv[1]));"
            "print(type(codec).__name__, sorted({'xarray', 'dask', 'intake', 'pandas'} & sys.modules.keys()))"
        )
        pickled = pickle.dumps(JSONLCodec()).hex()
        done = subprocess.run([sys.executable, "-c", code, pickled], capture_output=True, text=True, check=True)
        assert done.stdout.split() == ["JSONLCodec", "[]"]

    def test_lost_worker_says_so(self) -> None:
        worker = Worker(JSONLCodec())
        worker._process.kill()
        with pytest.raises(WorkerLost, match="has ended"):
            worker.look([Task("/nowhere.jsonl")])
        worker.close()

    def test_ended_early_leaves_no_process(self, filled: Path, pooled: None, started: Started) -> None:
        def interrupt(progress: Progress) -> None:
            raise KeyboardInterrupt

        with reporting(interrupt), pytest.raises(KeyboardInterrupt):
            scanned(filled)
        store = JSONLStore(filled)
        assert store.count() == RUNS + 1  # and what was begun is finished by the next look
        store.close()
        for pid in started.tasks:
            with pytest.raises(ProcessLookupError):
                os.kill(pid, 0)


class TestThreads:
    @pytest.fixture
    def at_once(self, monkeypatch: pytest.MonkeyPatch) -> list[int]:
        """How many reads were going on at each read of a file that is far away."""
        going, lock = [0], threading.Lock()
        counts: list[int] = []
        read = LocalSource.read

        def slow(source: LocalSource, start: int, stop: int) -> bytes:
            with lock:
                going[0] += 1
                counts.append(going[0])
            time.sleep(0.01)
            with lock:
                going[0] -= 1
            return read(source, start, stop)

        monkeypatch.setattr(LocalSource, "read", slow)
        return counts

    def test_wait_for_files_that_are_far_away(self, filled: Path, at_once: list[int]) -> None:
        store = JSONLStore(filled)
        assert store.count() == RUNS + 1
        assert max(at_once[: pool.FIRST]) == 1
        assert max(at_once) > 4
        store.close()

    def test_are_not_started_for_files_that_are_near(self, filled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(pool, "SLOW", 1.0)  # the machine of the tests may be busy
        names: set[str] = set()
        init = LocalSource.__init__

        def noted(source: LocalSource, path: str) -> None:
            names.add(threading.current_thread().name)
            init(source, path)

        monkeypatch.setattr(LocalSource, "__init__", noted)
        store = JSONLStore(filled)
        assert store.count() == RUNS + 1
        assert names == {threading.current_thread().name}
        store.close()

    def test_give_the_same_entries(self, filled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        expected = scanned(filled)
        monkeypatch.setattr(pool, "SLOW", -1.0)
        assert scanned(filled) == expected


def test_work() -> None:
    assert work_of("a.jsonl", "1000-0|0", deep=True) == 4096
    assert work_of("a.jsonl", "1000000-0|0", deep=False) == pool.GLANCE
    assert work_of("a.jsonl.gz", "1000-0|0", deep=True) == 4096 * pool.UNPACKED
    assert work_of("a.jsonl", "", deep=True) == 0
    assert worker.cores() >= 1


class TestProgress:
    def test_is_told_of_a_first_look(self, filled: Path) -> None:
        told: list[Progress] = []
        with reporting(told.append):
            scanned(filled)
        assert told[0] == Progress("indexing", 0, RUNS + 2)
        assert told[-1] == Progress("indexing", RUNS + 2, RUNS + 2)

    def test_is_told_now_and_then(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("intake_bluesky.runtime.progress.OFTEN", 0.0)
        told: list[Progress] = []
        with reporting(told.append):
            assert list(track("abc", total=3, what="x")) == ["a", "b", "c"]
        assert [one.done for one in told] == [0, 1, 2, 3]

    def test_nothing_is_written_where_nobody_watches(
        self, filled: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("intake_bluesky.runtime.progress.SOON", 0.0)
        scanned(filled)
        assert capfd.readouterr() == ("", "")

    @pytest.mark.parametrize("where", ["terminal", "notebook"])
    def test_bar_where_somebody_watches(
        self, where: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr("intake_bluesky.runtime.progress.SOON", 0.0)
        if where == "terminal":
            monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
        else:
            shell = type("Shell", (), {"kernel": None})()
            ipython: Any = type("IPython", (), {"get_ipython": staticmethod(lambda: shell)})
            monkeypatch.setitem(sys.modules, "IPython", ipython)
        for _ in track(range(3), total=3, what="indexing"):
            time.sleep(0.15)
        shown = capsys.readouterr()
        assert "indexing" in shown.err
        assert "3" in shown.err
        assert shown.out == ""

    def test_short_work_shows_no_bar(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
        assert list(track("ab", total=2, what="indexing")) == ["a", "b"]
        assert "indexing" not in capsys.readouterr().err
