"""A run that is written is in the index when it is complete, with statistics; nothing about that stops the writing."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from intake_bluesky.documents.model import Document
from intake_bluesky.files import FileStore
from intake_bluesky.index.index import Index, IndexEntry, IndexLost
from intake_bluesky.testing.compose import RunComposer, data_key
from intake_bluesky.testing.examples import Run
from intake_bluesky.testing.runs import EXAMPLES
from intake_bluesky.testing.strategies import runs
from intake_bluesky_jsonl import JSONLStore
from intake_bluesky_msgpack import MsgpackStore
from tests.files.runs import uid_of
from tests.files.test_scanned_statistics import UNTOLD, hold, inline, told_by

STORES: list[Callable[[Path], FileStore]] = [
    JSONLStore,
    lambda folder: JSONLStore(folder, compression="gz"),
    MsgpackStore,
    lambda folder: MsgpackStore(folder, compression="zst"),
]


@pytest.fixture
def entries(monkeypatch: pytest.MonkeyPatch) -> list[IndexEntry]:
    """What is put into indexes."""
    seen: list[IndexEntry] = []
    put = Index.put

    def noted(index: Index, new: list[IndexEntry]) -> None:
        put(index, new)
        seen.extend(new)

    monkeypatch.setattr(Index, "put", noted)
    return seen


def write(store: FileStore, run: Run) -> None:
    with store.insert(run[0][1]) as insert:
        for name, doc in run[1:]:
            insert.write(name, doc)


def simple() -> Run:
    return EXAMPLES["count"](Path())


@pytest.mark.parametrize("make", STORES, ids=["jsonl", "jsonl.gz", "msgpack", "msgpack.zst"])
@pytest.mark.parametrize("example", EXAMPLES)
def test_the_statistics_of_what_was_written(
    folder: Path, tmp_path: Path, entries: list[IndexEntry], example: str, make: Callable[[Path], FileStore]
) -> None:
    store, run = make(folder), EXAMPLES[example](tmp_path)
    write(store, run)
    if example == "unfinished":
        assert entries == []
        store.count()
    [entry] = entries
    told = hold(store, told_by(entry))
    if example not in UNTOLD | {"unfinished"}:
        assert told.keys() == inline(store)
    store.close()


@given(run=runs(max_steps=12))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_statistics_of_any_run_that_was_written(
    tmp_path_factory: pytest.TempPathFactory, entries: list[IndexEntry], run: Run
) -> None:
    entries.clear()
    store = JSONLStore(tmp_path_factory.mktemp("runs"))
    try:
        write(store, run)
        store.count()
        hold(store, told_by(entries[0]))
    finally:
        store.close()


def test_numpy_values_as_a_run_engine_gives_them(folder: Path, entries: list[IndexEntry]) -> None:
    run = RunComposer("numpy")
    keys = {"x": data_key("number"), "n": data_key("integer"), "image": data_key("array", [2, 2])}
    primary = run.descriptor(keys)
    for n in range(1, 4):
        image = np.full((2, 2), n, np.uint16)
        run.event(primary, {"x": np.float64(n / 2), "n": np.int32(n), "image": image})
    run.stop()
    store = JSONLStore(folder)
    write(store, run.documents)
    told = hold(store, told_by(entries[0]))
    assert told["primary", "image"].sum == 24
    assert len(told) == 3
    store.close()


@pytest.mark.parametrize(
    "event",
    [
        {"seq_num": "1", "descriptor": "d", "data": {"x": 1.0}},
        {"seq_num": 1, "data": {"x": 1.0}},
        {"seq_num": 1, "descriptor": "d", "data": {1: 1.0}},
        {"seq_num": 1, "descriptor": "d", "data": {"x": {1, 2}}},
        {"seq_num": 1, "descriptor": "d", "data": [1]},
    ],
)
def test_documents_of_odd_forms_are_written_and_tell_nothing(
    folder: Path, entries: list[IndexEntry], event: Document
) -> None:
    store, run = JSONLStore(folder), simple()
    with store.insert(run[0][1]) as insert:
        insert.write("descriptor", {**run[1][1], "uid": "d"})
        insert.write("event", {"uid": "e", "time": 1.0, "timestamps": {}, "filled": {}, **event})
        insert.write("stop", run[-1][1])
    assert list((told_by(entries[0]) or {}).values()) == [None, None]
    assert len(list(store.documents(uid_of(run)))) == 4
    store.close()


def test_a_young_file_is_looked_at_again_and_keeps_its_statistics(folder: Path, entries: list[IndexEntry]) -> None:
    store = JSONLStore(folder)
    write(store, simple())
    store.refresh()
    assert len(entries) == 2
    assert entries[0].stamp != entries[1].stamp or entries[0].stamp.endswith("~")
    assert entries[1].statistics == entries[0].statistics is not None
    store.close()


def test_a_file_that_was_rewritten_meanwhile_does_not(folder: Path, entries: list[IndexEntry]) -> None:
    store, run = JSONLStore(folder), simple()
    write(store, run)
    [path] = folder.iterdir()
    path.write_bytes(path.read_bytes().replace(b'"det":0.5', b'"det":99.5'))
    store.refresh()
    assert entries[-1].stop is not None
    assert entries[-1].statistics is None
    store.close()


@pytest.mark.parametrize("error", [OSError("disk full"), IndexLost("gone"), ValueError("whatever")])
def test_an_index_that_fails_stops_no_writer(folder: Path, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    store, run = JSONLStore(folder), simple()
    assert store.count() == 0

    def fail(index: Index, entries: Any) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(Index, "put", fail)
        write(store, run)
    assert [found.stop for found in store.find()] == [run[-1][1]]
    store.close()


def test_a_long_listing_stops_no_writer(folder: Path) -> None:
    store, run = JSONLStore(folder), simple()
    assert store.count() == 0
    listing, ended = threading.Event(), threading.Event()

    def hold_the_lock() -> None:
        with store.files._threads.lock:
            listing.set()
            ended.wait(10)

    thread = threading.Thread(target=hold_the_lock)
    insert = store.insert(run[0][1])
    for name, doc in run[1:-1]:
        insert.write(name, doc)
    thread.start()
    listing.wait(10)
    insert.write(*run[-1])
    assert not ended.is_set()
    ended.set()
    thread.join()
    assert [found.stop for found in store.find()] == [run[-1][1]]
    store.close()


def test_an_index_that_another_process_writes_holds_up_no_writer(folder: Path) -> None:
    store, run = JSONLStore(folder), simple()
    store.count()
    with closing(sqlite3.connect(store.files.index.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        begin = time.monotonic()
        write(store, run)
        assert time.monotonic() - begin < 5  # SQLite itself would wait for 30 seconds
        other.execute("ROLLBACK")
    assert [found.uid for found in store.find()] == [uid_of(run)]
    store.close()
