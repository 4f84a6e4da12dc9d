"""The embedded index: what it keeps, in which order, and what becomes of it when it is damaged."""

from __future__ import annotations

import gc
import multiprocessing
import os
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import pytest

from intake_bluesky.index import ORDERS, Index, IndexEntry, IndexLost, index_path
from intake_bluesky.storage import Order


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "index.sqlite"


@pytest.fixture
def index(path: Path) -> Iterator[Index]:
    index = Index(path)
    yield index
    index.close()


def _entry(uid: str, time: float | None = None, *, path: str | None = None, stop: bytes | None = b"stop") -> IndexEntry:
    return IndexEntry(path or f"/data/{uid}.jsonl", "stamp", uid, time, None, None, uid.encode(), stop)


def _uids(index: Index, order: Order = Order.NEWEST, *, offset: int = 0, limit: int | None = None) -> list[str]:
    return [start.decode() for start, *_ in index.find("1", (), order, offset=offset, limit=limit)]


def test_orders_by_time_and_uid_with_the_timeless_last(index: Index) -> None:
    times = {"a": 3.0, "b": 1.0, "c": None, "d": 3.0, "e": -1.0, "f": None}
    index.put([_entry(uid, time) for uid, time in times.items()])
    assert _uids(index) == ["d", "a", "b", "e", "f", "c"]
    assert _uids(index, Order.OLDEST) == ["e", "b", "a", "d", "c", "f"]
    assert _uids(index, offset=1, limit=3) == ["a", "b", "e"]
    assert index.count("time > ?", [0.0]) == 3


@pytest.mark.parametrize("order", list(Order))
def test_order_comes_from_an_index_of_sqlite(index: Index, path: Path, order: Order) -> None:
    """Reading the first of many runs sorts none."""
    index.put([_entry("a", 1.0)])
    with sqlite3.connect(path) as db:
        query = f"SELECT id FROM files WHERE listed AND 1 ORDER BY {ORDERS[order]} LIMIT 1"
        plan = [row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {query}")]
    db.close()
    assert any("USING" in step and "INDEX by_time" in step for step in plan)
    assert all("TEMP B-TREE" not in step or "RIGHT PART" in step or "LAST TERM" in step for step in plan)


def test_put_replaces_what_was_known_of_a_file(index: Index) -> None:
    index.put([_entry("a", 1.0), _entry("b", 2.0)])
    index.put([_entry("c", 3.0, path="/data/a.jsonl")])
    assert _uids(index) == ["c", "b"]
    assert index.stamps() == {"/data/a.jsonl": "stamp", "/data/b.jsonl": "stamp"}
    index.forget(["/data/b.jsonl"])
    assert _uids(index) == ["c"]
    assert index.entry("b") is None


def test_entry_comes_back_whole(index: Index) -> None:
    expected = IndexEntry("p", "s", "u", 1.5, None, 7, b"start", None, b"layout", "one\ntwo")
    index.put([expected])
    assert index.entry("u") == index.entry_at("p") == expected
    assert index.problems() == [("p", "u", "one\ntwo")]
    assert index.unfinished(5) == [("p", "s")]


def test_finished_file_is_listed_of_two_with_one_uid(index: Index) -> None:
    copies = [
        _entry("u", 1.0, path="/a", stop=None),
        _entry("u", 1.0, path="/c"),
        _entry("u", 1.0, path="/b"),
        _entry("v", 2.0),
    ]
    index.put(copies)
    index.settle()
    assert _uids(index) == ["v", "u"]
    assert index.duplicates() == [("/a", "u", "/b"), ("/c", "u", "/b")]
    index.forget(["/b"])
    index.settle(["u"])
    assert index.duplicates() == [("/a", "u", "/c")]
    index.forget(["/c"])
    index.settle()
    assert index.duplicates() == []
    assert _uids(index) == ["v", "u"]


def test_second_process_sees_what_the_first_wrote(index: Index, path: Path) -> None:
    index.put([_entry("a", 1.0)])
    other = Index(path)
    assert _uids(other) == ["a"]
    other.put([_entry("b", 2.0)])
    other.close()
    assert _uids(index) == ["b", "a"]


def _read_all(index: Index) -> None:
    for n in range(3000):
        index.entry(f"{n:05}")
    _uids(index)


@pytest.mark.parametrize("where", ["beginning", "middle", "not a database"])
def test_damaged_index_is_emptied_with_a_warning(path: Path, where: str) -> None:
    index = Index(path)
    index.put([_entry(f"{n:05}", float(n)) for n in range(3000)])
    index.close()
    content = bytearray(path.read_bytes())
    if where == "not a database":
        content = bytearray(b"this is no database at all" * 100)
    else:
        first = 0 if where == "beginning" else 8192
        content[first : first + len(content) // 2] = os.urandom(len(content) // 2)
    path.write_bytes(content)
    with pytest.warns(UserWarning, match="made anew"), pytest.raises(IndexLost):
        _read_all(index)
    index.put([_entry("new", 1.0)])
    assert _uids(index) == ["new"]
    index.close()


def test_index_of_another_version_is_emptied_with_a_warning(path: Path) -> None:
    path.parent.mkdir()
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE files(other)")
        db.execute("PRAGMA user_version = 999")
    db.close()
    index = Index(path)
    with pytest.warns(UserWarning, match="of version 999"), pytest.raises(IndexLost):
        index.stamps()
    assert index.stamps() == {}
    index.close()


def test_index_deleted_while_in_use_is_made_anew(index: Index, path: Path) -> None:
    index.put([_entry("a", 1.0)])
    index.close()
    for file in path.parent.iterdir():
        file.unlink()
    assert _uids(index) == []


def test_folder_that_cannot_be_written_gives_a_temporary_index(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    index = Index(tmp_path / "file" / "index.sqlite")
    with pytest.warns(UserWarning, match="INTAKE_BLUESKY_CACHE"), pytest.raises(IndexLost):
        index.stamps()
    index.put([_entry("a", 1.0)])
    assert _uids(index) == ["a"]
    folder = index.path.parent
    assert folder.is_dir()
    index.close()
    del index
    gc.collect()  # pytest.raises keeps its traceback in a cycle
    assert not folder.exists()


def _write_some(path: Path, process: int) -> int:
    index = Index(path)
    for n in range(20):
        index.put([_entry(f"{process}-{n}", float(n))])
    index.close()
    return len(index.stamps())


def test_processes_share_an_index(path: Path) -> None:
    with ProcessPoolExecutor(4, mp_context=multiprocessing.get_context("spawn")) as pool:
        counts = list(pool.map(_write_some, [path] * 4, range(4)))
    index = Index(path)
    assert len(_uids(index)) == 80
    assert max(counts) == 80
    index.close()


def test_threads_share_an_index(index: Index) -> None:
    def work(thread: int) -> int:
        for n in range(20):
            index.put([_entry(f"{thread}-{n}", float(n))])
            assert index.entry(f"{thread}-{n}") is not None
        return len(_uids(index))

    with ThreadPoolExecutor(4) as pool:
        counts = list(pool.map(work, range(4)))
    assert max(counts) == 80


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_forked_process_uses_a_connection_of_its_own(index: Index) -> None:
    index.put([_entry("a", 1.0)])
    context = multiprocessing.get_context("fork")
    results = context.SimpleQueue()

    def write() -> None:
        index.put([_entry("b", 2.0)])
        results.put(_uids(index))

    child = context.Process(target=write)
    child.start()
    child.join(30)
    assert child.exitcode == 0
    assert results.get() == _uids(index) == ["b", "a"]


def test_writing_goes_on_while_a_listing_is_half_read(index: Index, path: Path) -> None:
    index.put([_entry(f"{n:05}", float(n)) for n in range(1000)])
    listing = index.find("1", (), Order.OLDEST)
    assert next(listing)[0] == b"00000"
    other = Index(path)
    other.put([_entry("new", -1.0)])
    index.put([_entry("newer", -2.0)])
    assert [start for start, *_ in listing] == [f"{n:05}".encode() for n in range(1, 1000)]
    assert _uids(index, Order.OLDEST, limit=2) == ["newer", "new"]
    other.close()


def test_place_and_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INTAKE_BLUESKY_CACHE", str(tmp_path))
    monkeypatch.setattr("platform.node", lambda: "beam line/7")
    one, two = index_path("one"), index_path("two")
    assert one.parent == tmp_path
    assert one.name.startswith("files-beam_line_7-")
    assert one != two
    monkeypatch.delenv("INTAKE_BLUESKY_CACHE")
    assert index_path("one").parent.name == "intake-bluesky"
