"""Who looks at files: this thread, threads, or the processes of an executor, with the same outcome."""

from __future__ import annotations

import logging
import multiprocessing
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from intake_bluesky.files import indexer
from intake_bluesky.files.content.source import LocalSource
from intake_bluesky.files.scan import pool
from intake_bluesky.index.index import IndexEntry
from intake_bluesky.runtime.progress import Progress, reporting
from intake_bluesky_jsonl import JSONLCodec, JSONLStore
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


def scanned(folder: Path, executor: Executor | None = None) -> dict[str, IndexEntry]:
    """The entries of an index that is made anew."""
    store = JSONLStore(folder)
    store.files.refresh(deep=True, executor=executor)
    found = {entry.path: entry for entry in store.files.index.entries()}
    store.close()
    return found


class Counting(ProcessPoolExecutor):
    """Counts what it is given; the process that gets a certain chunk ends."""

    def __init__(self, dies_at: int | None = None) -> None:
        super().__init__(2, multiprocessing.get_context("spawn"))
        self.given, self._dies_at = 0, dies_at

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        if self.given == self._dies_at:
            super().submit(os._exit, 1)
        self.given += 1
        return super().submit(fn, *args, **kwargs)


class TestProcesses:
    @pytest.fixture
    def expected(self, filled: Path) -> dict[str, IndexEntry]:
        return scanned(filled)

    @pytest.fixture
    def _paying(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(indexer, "PAYS", 0)
        monkeypatch.setattr(pool, "CHUNK", 5_000)

    @pytest.fixture
    def executor(self, _paying: None) -> Iterator[Counting]:
        with Counting() as executor:
            yield executor

    def test_give_the_same_entries(
        self, filled: Path, expected: dict[str, IndexEntry], executor: Counting, caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(logging.INFO):
            assert scanned(filled, executor) == expected
        assert len(expected) == RUNS + 2
        assert executor.given > 4
        assert caplog.text == ""

    def test_small_folders_need_none(self, filled: Path, expected: dict[str, IndexEntry]) -> None:
        with Counting() as executor:
            assert scanned(filled, executor) == expected
            assert executor.given == 0

    @pytest.mark.parametrize("dies_at", [0, 3])
    @pytest.mark.usefixtures("_paying")
    def test_one_that_ends_loses_nothing(
        self, dies_at: int, filled: Path, expected: dict[str, IndexEntry], caplog: pytest.LogCaptureFixture
    ) -> None:
        with Counting(dies_at) as executor, caplog.at_level(logging.INFO):
            assert scanned(filled, executor) == expected
        assert "looking at files in this process" in caplog.text

    def test_an_executor_that_is_shut_down_loses_nothing(
        self, filled: Path, expected: dict[str, IndexEntry], executor: Counting
    ) -> None:
        executor.shutdown()
        assert scanned(filled, executor) == expected

    def test_codec_that_only_the_program_knows(
        self, filled: Path, expected: dict[str, IndexEntry], executor: Counting, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Local(JSONLCodec):
            pass

        monkeypatch.setattr(JSONLStore, "codec", Local())
        assert scanned(filled, executor) == expected

    def test_ended_early_goes_on_later(self, filled: Path, executor: Counting) -> None:
        def interrupt(progress: Progress) -> None:
            raise KeyboardInterrupt

        with reporting(interrupt), pytest.raises(KeyboardInterrupt):
            scanned(filled, executor)
        store = JSONLStore(filled)
        assert store.count() == RUNS + 1
        store.close()

    @pytest.mark.parametrize("guard", ["", "if __name__ == '__main__': "])
    def test_the_command_in_a_script(self, guard: str, filled: Path, tmp_path: Path, cache: Path) -> None:
        script = tmp_path / "script.py"
        script.write_text(
            "from intake_bluesky.apps.cli import main\n"
            "from intake_bluesky.files import indexer\n"
            "indexer.PAYS = 0\n"
            f"{guard}main(['index', '--no-publish', {str(filled / '*.jsonl')!r}])\n"
        )
        done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True)
        assert done.stdout.splitlines()[-1].endswith(f"{RUNS + 1} runs, 2 problems")

    def test_import_no_catalog(self) -> None:
        code = "import sys, intake_bluesky_jsonl as d; print(d.JSONLCodec.suffix, 'xarray' in sys.modules)"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.split() == [".jsonl", "False"]


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


class TestProgress:
    def test_is_told_of_a_first_look(self, filled: Path) -> None:
        told: list[Progress] = []
        with reporting(told.append):
            scanned(filled)
        assert told[0] == Progress("indexing", 0, RUNS + 2)
        assert told[-1] == Progress("indexing", RUNS + 2, RUNS + 2)

    def test_nothing_is_written_where_nobody_watches(
        self, filled: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("intake_bluesky.runtime.progress.SOON", 0.0)
        scanned(filled)
        assert capfd.readouterr() == ("", "")
