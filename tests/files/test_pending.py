"""Runs that follow each other quickly are put into the index together, and are seen at once all the same."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import ExitStack, closing
from pathlib import Path as FilePath
from typing import Any

import pytest

from intake_bluesky.errors import DuplicateRun, RunNotFound
from intake_bluesky.files import FileStore, pending
from intake_bluesky.files.codec import Codec
from intake_bluesky.files.content.source import ByteSource
from intake_bluesky.files.scan.index_entries import scan
from intake_bluesky.files.scan.inspect import Task, look
from intake_bluesky.files.scan.pool import open_here
from intake_bluesky.index.index import Index, IndexEntry
from intake_bluesky.query import Data, Path, Start
from intake_bluesky.search.selection import Selection
from intake_bluesky.storage.contract import Plan
from intake_bluesky.storage.order import Order
from intake_bluesky.testing.compose import RunComposer, data_key
from intake_bluesky.testing.examples import Run
from intake_bluesky_jsonl import JSONLStore
from tests.files.runs import Reads, lines, uids

BURST = 20
AGES = 1e9  # seconds in which no burst ends


@pytest.fixture
def puts(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many entries each transaction has put; no burst ends by itself."""
    seen: list[int] = []
    put = Index.put

    def noted(index: Index, entries: list[IndexEntry]) -> None:
        put(index, entries)
        seen.append(len(entries))

    monkeypatch.setattr(Index, "put", noted)
    monkeypatch.setattr(pending, "SOON", AGES)
    return seen


def run_of(n: int) -> Run:
    run = RunComposer(f"run-{n}", time=1.7e9 + n, scan_id=n)
    primary = run.descriptor({"x": data_key("number")})
    for value in (n + 0.25, n + 0.75):
        run.event(primary, {"x": value})
    run.stop("success")
    return run.documents


def uid(n: int) -> str:
    return str(run_of(n)[0][1]["uid"])


def above(store: FileStore, bound: float) -> int:
    """How many runs have a larger x."""
    return Selection(store, (Data("x").max() > bound,)).count()


def write(store: FileStore, *numbers: int) -> None:
    for n in numbers:
        run = run_of(n)
        with store.insert(run[0][1]) as insert:
            for name, doc in run[1:]:
                insert.write(name, doc)


def measured(folder: FilePath) -> int:
    """The runs whose statistics are in the index of a folder, asked behind its back."""
    with closing(sqlite3.connect(JSONLStore(folder).files.index.path)) as db:
        return int(db.execute("SELECT count(*) FROM measured").fetchone()[0])


def test_a_burst_is_one_transaction_and_every_run_is_there_at_once(folder: FilePath, puts: list[int]) -> None:
    store = JSONLStore(folder)
    write(store, *range(BURST))
    assert puts == [1]
    assert store.count() == BURST
    assert puts == [1, BURST - 1]
    write(store, BURST)
    [newest] = store.find(Plan(order=Order.NEWEST), limit=1)
    assert (newest.uid, newest.stop is not None) == (uid(BURST), True)
    store.close()


@pytest.mark.parametrize("question", ["count", "find", "header", "documents", "statistics", "distinct", "publish"])
def test_every_question_is_told_of_what_was_written_just_now(folder: FilePath, puts: list[int], question: str) -> None:
    store = JSONLStore(folder)
    write(store, *range(BURST))
    last = uid(BURST - 1)
    answers = {
        "count": lambda: store.count(Plan(Start("scan_id") == BURST - 1)) == 1,
        "find": lambda: last in uids(store),
        "header": lambda: store.header(last).stop is not None,
        "documents": lambda: [name for name, _ in store.documents(last)][-1] == "stop",
        "statistics": lambda: store.statistics.measure([last]) == 0,  # they are known
        "distinct": lambda: len(list(store.distinct(Path("start", ("scan_id",))) or ())) == BURST,
        "publish": lambda: len(store.publish()) == 2,
    }
    assert answers[question]()
    store.close()


def test_too_many_are_put_unasked(folder: FilePath, puts: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pending, "MANY", 5)
    store = JSONLStore(folder)
    write(store, *range(12))
    assert puts == [1, 5, 5]
    store.close()
    assert puts == [1, 5, 5, 1]


def test_what_was_written_is_not_read_again(folder: FilePath, puts: list[int], reads: Reads) -> None:
    store = JSONLStore(folder)
    write(store, *range(BURST))
    assert store.count() == BURST
    assert reads.opened == 0
    entries = list(store.files.index.entries())
    expected = [look(store.codec, open_here, Task(entry.path)) for entry in entries]
    assert [entry._replace(statistics=None) for entry in entries] == expected
    assert all(entry.statistics for entry in entries)
    store.close()


def test_what_changed_after_it_was_written_is_read(folder: FilePath, puts: list[int], settled: None) -> None:
    store = JSONLStore(folder)
    write(store, *range(BURST))
    path = folder / f"{uid(5)}.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"scan_id":5', b'"scan_id":7005'))
    assert [run.uid for run in store.find(Plan(Start("scan_id") == 7005))] == [uid(5)]
    store.close()


@pytest.mark.parametrize("how", ["a document that the caller changes", "a stop of another run"])
def test_the_index_tells_what_is_in_the_file(how: str, folder: FilePath, puts: list[int]) -> None:
    store = JSONLStore(folder)
    write(store, 0)
    start = {"uid": "u", "time": 1.0, "scan_id": 5}
    with store.insert(start) as insert:
        start["scan_id"] = 6
        insert.write("stop", {"uid": "s", "time": 2.0, "run_start": "other" if "another" in how else "u"})
    assert [run.uid for run in store.find(Plan(Start("scan_id") == 5))] == ["u"]
    assert store.files.index.entry("u") == scanned_or_seen(store, folder / "u.jsonl")
    store.close()


def scanned_or_seen(store: JSONLStore, path: FilePath) -> IndexEntry:
    entry = look(store.codec, open_here, Task(str(path)))
    known = store.files.index.entry("u")
    assert known is not None
    return entry._replace(stamp=known.stamp, statistics=None)


def test_what_comes_after_a_while_does_not_wait(
    folder: FilePath, puts: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pending, "SOON", 0.0)
    store = JSONLStore(folder)
    write(store, 1, 2, 3)
    assert puts == [1, 1, 1]
    store.close()


def test_closing_puts_what_waits(folder: FilePath, puts: list[int]) -> None:
    store = JSONLStore(folder)
    write(store, *range(BURST))
    store.close()
    assert measured(folder) == BURST


def test_another_store_finds_what_waits_in_this_one(folder: FilePath, puts: list[int]) -> None:
    store = JSONLStore(folder)
    write(store, *range(BURST))
    other = JSONLStore(folder)
    assert len(uids(other)) == BURST
    store.close()
    other.close()


def test_a_run_that_waits_is_a_duplicate_and_one_that_was_removed_is_gone(folder: FilePath, puts: list[int]) -> None:
    store = JSONLStore(folder)
    write(store, *range(BURST))
    with pytest.raises(DuplicateRun):
        write(store, BURST - 1)
    for n in (BURST - 1, BURST - 2):
        (folder / f"{uid(n)}.jsonl").unlink()
    with pytest.raises(RunNotFound):
        store.header(uid(BURST - 1))
    assert store.count() == BURST - 2
    store.close()


def test_an_index_that_is_busy_loses_nothing(
    folder: FilePath, puts: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pending, "MANY", 5)
    store = JSONLStore(folder)
    store.count()
    with closing(sqlite3.connect(store.files.index.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        write(store, *range(7))
        other.execute("ROLLBACK")
    assert puts == []
    assert store.count() == 7
    assert store.statistics.measure([uid(n) for n in range(7)]) == 0
    store.close()


def test_a_put_that_fails_holds_up_one_run_of_a_burst(puts: list[int]) -> None:
    there = pending.Waiting()
    due = [there.ended(str(n), f"{n}.jsonl", None) for n in range(BURST)]
    assert due == [True] + [False] * (BURST - 1)
    there.give_back(there.take())
    assert len(there.take().written) == BURST
    assert not there


def test_runs_that_are_opened_are_put_together_and_scanned_once(
    folder: FilePath, puts: list[int], settled: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(BURST):
        (folder / f"{uid(n)}.jsonl").write_bytes(lines(run_of(n)))
    store = JSONLStore(folder)
    scans: list[str] = []

    def noted(codec: Codec, path: str, source: ByteSource, earlier: IndexEntry | None = None) -> Any:
        scans.append(path)
        return scan(codec, path, source, earlier)

    monkeypatch.setattr("intake_bluesky.files.indexed_files.scan", noted)
    assert store.count() == BURST
    assert puts == [BURST]
    puts.clear()
    for _ in range(2):
        for n in range(BURST):
            store.header(uid(n))
            list(store.event_pages(uid(n), "primary"))
    assert len(scans) == BURST
    assert puts == [1]
    assert store.statistics.measure([uid(n) for n in range(BURST)]) == 0
    assert puts == [1, BURST - 1]
    store.close()


def test_large_layouts_do_not_wait(folder: FilePath, puts: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    for n in range(BURST):
        (folder / f"{uid(n)}.jsonl").write_bytes(lines(run_of(n)))
    monkeypatch.setattr(pending, "LARGE", 1)
    store = JSONLStore(folder)
    store.count()
    puts.clear()
    with ExitStack() as files:
        for n in range(3):
            store.files.open(uid(n), files)
    assert puts == [1, 1, 1]
    store.close()


def test_a_reader_beside_a_writer_sees_ever_more(folder: FilePath) -> None:
    store, seen = JSONLStore(folder), [0]
    writer = threading.Thread(target=write, args=(store, *range(100)))
    writer.start()
    while writer.is_alive():
        seen.append(store.count())
    writer.join()
    seen.append(store.count())
    assert seen == sorted(seen)
    assert seen[-1] == 100
    assert above(store, 50) == 50
    store.close()


SCRIPT = """
import os, sys
from tests.files.test_pending import JSONLStore, write
store = JSONLStore(sys.argv[1])
write(store, *range(20))
if sys.argv[2] == "fork":
    child = os.fork()
    if not child:
        assert store.count() == 20
        sys.exit()
    assert os.waitpid(child, 0)[1] == 0
    write(store, 20)
elif sys.argv[2] == "kill":
    os.kill(os.getpid(), 9)
"""


@pytest.mark.parametrize(("end", "runs", "known"), [("exit", 20, 20), ("fork", 21, 21), ("kill", 20, 1)])
def test_the_end_of_a_program(folder: FilePath, end: str, runs: int, known: int) -> None:
    if end == "fork" and not hasattr(os, "fork"):
        pytest.skip("this system has no fork")
    process = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(folder), end], check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([os.getcwd(), *sys.path])},
    )  # fmt: skip
    assert process.returncode == (-signal.SIGKILL if end == "kill" else 0)
    assert measured(folder) >= known
    store = JSONLStore(folder)
    assert len(uids(store)) == runs
    assert above(store, 10) == runs - 10
    store.close()
