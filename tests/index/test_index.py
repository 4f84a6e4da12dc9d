"""The embedded index: what it keeps, in which order, and what becomes of it when it is damaged."""

from __future__ import annotations

import gc
import multiprocessing
import os
import pickle
import resource
import shutil
import sqlite3
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from threading import Timer
from typing import Any

import pytest

from intake_bluesky.errors import StoreUnavailable
from intake_bluesky.index import search_rows
from intake_bluesky.index.index import ORDERS, Index, IndexEntry, IndexLost, index_path
from intake_bluesky.storage.order import Order
from tests.index.pickled_runs import pickled_entry, pickled_index


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
    index.settle()
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


HARMS: dict[str, Callable[[Path], object]] = {
    "file deleted": Path.unlink,
    "all deleted": lambda path: list(map(Path.unlink, path.parent.iterdir())),
    "folder deleted": lambda path: shutil.rmtree(path.parent),
    "folder moved": lambda path: path.parent.rename(path.parent.with_name("elsewhere")),
    "cut to nothing": lambda path: os.truncate(path, 0),
    "cut": lambda path: os.truncate(path, 8192),
    "cut within a page": lambda path: os.truncate(path, 5000),
    "log deleted": lambda path: path.with_name(f"{path.name}-wal").unlink(),
    "shared memory deleted": lambda path: path.with_name(f"{path.name}-shm").unlink(),
    "replaced by nothing": lambda path: _touched(path.with_name("empty")).replace(path),
    "replaced by a folder": lambda path: os.mkdir(_moved(path)),
    "replaced by another": lambda path: _make_other(_moved(path)),
    "overwritten": lambda path: path.write_bytes(os.urandom(path.stat().st_size)),
}


def _touched(path: Path) -> Path:
    path.touch()
    return path


def _moved(path: Path) -> Path:
    path.replace(path.with_name("moved"))
    return path


def _make_other(path: Path) -> object:
    with closing(sqlite3.connect(path)) as db:
        return db.execute("CREATE TABLE something(else_)")


@pytest.mark.filterwarnings("ignore:the index")
@pytest.mark.parametrize("closed", [False, True])
@pytest.mark.parametrize("harm", HARMS)
def test_harmed_while_in_use_is_noticed_by_all_that_have_it_open(path: Path, harm: str, closed: bool) -> None:
    one, other = Index(path), Index(path)
    one.put([_entry(f"{n:03}", float(n)) for n in range(100)])
    one.close()  # so that all is in the file itself
    before = {index: (_uids(index), index.generation) for index in (one, other)}
    if closed:
        one.close()
    HARMS[harm](path)
    for index, (known, generation) in before.items():
        found = index.again(partial(_uids, index))
        assert found == (known if index.generation == generation else [])
    one.again(lambda: one.put([_entry("new", 1.0)]))
    if one.path == other.path:
        assert _uids(one) == other.again(partial(_uids, other))
    assert "new" in _uids(one)
    one.close()
    other.close()


def _connections_to(path: Path) -> list[sqlite3.Connection]:
    """Open ones of this process; those of other tests, to files of their own, are none of them."""
    found = []
    for one in gc.get_objects():
        if issubclass(type(one), sqlite3.Connection):
            with suppress(sqlite3.ProgrammingError):  # closed
                found += [one for row in one.execute("PRAGMA database_list") if row[2] == str(path)]
    return found


def test_no_more_connections_than_a_few(index: Index) -> None:
    """Threads that ended leave none behind, many at once wait for their turn, and answers half read hold up nothing."""
    index.put([_entry(f"{n:04}", float(n)) for n in range(300)])
    begun = [index.find("1", (), Order.NEWEST) for _ in range(100)]
    for rows in begun:
        next(rows)
    with ThreadPoolExecutor(100) as pool:
        assert list(pool.map(lambda _: len(_uids(index)), range(300))) == [300] * 300
    assert len(_connections_to(index.path)) < 30
    assert [len(list(rows)) for rows in begun] == [299] * 100


def test_a_process_without_descriptors_says_so(index: Index) -> None:
    index.put([_entry("a", 1.0)])
    index.close()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.open(os.devnull, os.O_RDONLY)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
    try:
        with pytest.raises(StoreUnavailable, match="Too many open files"):
            _uids(index)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert _uids(index) == ["a"]


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


def test_waits_for_another_that_begins_the_same_file(path: Path) -> None:
    """SQLite itself does not wait for who makes a file one with a log."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path, check_same_thread=False, isolation_level=None)) as db:
        db.execute("CREATE TABLE something(else_)")
        db.execute("DROP TABLE something")
        db.execute("BEGIN IMMEDIATE")
        timer = Timer(0.3, db.execute, ["COMMIT"])
        timer.start()
        index = Index(path)
        index.put([_entry("a", 1.0)])
        timer.join()
    assert _uids(index) == ["a"]
    assert index.path == path
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


QUERIES: dict[str, tuple[str, list[Any], dict[str, Any]]] = {
    "newest": ("1", [], {"limit": 1}),
    "a place": ("1", [], {"limit": 1, "offset": 700}),
    "a page": ("1", [], {"limit": 50, "offset": 700}),
    "oldest": ("1", [], {"limit": 1, "order": Order.OLDEST}),
    "all": ("1", [], {}),
    "scan_id": ("scan_id = ?", [7], {"limit": 1}),
    "partial uid": ("(uid >= ? AND uid < ?)", ["0000", "0001"], {"limit": 6}),
    "times": ("(time >= ? OR odd_time >= ?)", [900.0, 900.0], {"limit": 50}),
}
SORTING = {"partial uid"}  # what few runs share the beginning of a uid


class Statements:
    """What SQLite was told, and how it goes about it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.told: list[str] = []
        connect = Index._connect

        def traced(index: Index) -> sqlite3.Connection:
            db = connect(index)
            db.set_trace_callback(self.told.append)
            return db

        monkeypatch.setattr(Index, "_connect", traced)

    def asked(self) -> list[str]:
        found = [statement for statement in self.told if not statement.startswith("PRAGMA")]
        self.told.clear()
        return found


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> Statements:
    return Statements(monkeypatch)


@pytest.fixture
def thousand(statements: Statements, index: Index) -> Index:
    entries = [_entry(f"{n:05}", float(n)) for n in range(1000)]
    index.put([entry._replace(scan_id=n % 100) for n, entry in enumerate(entries)])
    index.settle()
    index.entry("00000")
    statements.asked()
    return index


def _plan(path: Path, statement: str) -> list[str]:
    db = sqlite3.connect(path)
    try:
        return [row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {statement}")]
    finally:
        db.close()


@pytest.mark.parametrize("name", QUERIES)
def test_finding_is_one_statement_by_an_index(name: str, thousand: Index, path: Path, statements: Statements) -> None:
    where, values, options = QUERIES[name]
    rest = {key: value for key, value in options.items() if key != "order"}
    assert list(thousand.find(where, values, options.get("order", Order.NEWEST), **rest))
    [asked] = statements.asked()
    plan = _plan(path, asked)
    assert all("INDEX" in step or "PRIMARY KEY" in step for step in plan if step.startswith(("SCAN", "SEARCH"))), plan
    assert name in SORTING or not any("TEMP B-TREE" in step for step in plan), plan


@pytest.mark.parametrize("ask", [lambda index: index.entry("00500"), lambda index: index.entry_at("/data/00500.jsonl")])
def test_one_run_is_one_statement_by_an_index(
    ask: Callable[[Index], IndexEntry], thousand: Index, path: Path, statements: Statements
) -> None:
    assert ask(thousand).uid == "00500"
    [asked] = statements.asked()
    assert all(step.startswith("SEARCH") for step in _plan(path, asked))


def test_counting_reads_no_entry(thousand: Index, path: Path, statements: Statements) -> None:
    assert thousand.count("1", ()) == 1000
    [asked] = statements.asked()
    assert _plan(path, asked) == ["SCAN files USING COVERING INDEX by_time_down"]


def test_passing_over_runs_reads_no_documents(thousand: Index) -> None:
    """Of a page far down only its own documents are read, as counted by the steps of SQLite's machine."""
    steps = [0, 0]
    for which, offset in enumerate((0, 900)):

        def count(which: int = which) -> int:
            steps[which] += 1
            return 0

        with thousand._lent() as db:  # the only one, which is lent again and again
            db.set_progress_handler(count, 1)
        assert len(list(thousand.find("1", (), Order.NEWEST, limit=50, offset=offset))) == 50
        db.set_progress_handler(None, 1)
    assert steps[1] - steps[0] < 900 * 4


def test_fact_goes_with_the_first_entry_that_changes(index: Index) -> None:
    """A fact about all entries is forgotten with the first that changes, and not noted after one has."""
    index.put([_entry("a", 1.0)])
    changes = index.fact("changes")
    index.note("listing", "x", changes)
    assert index.fact("listing") == "x"
    index.put([_entry("b", 2.0)])
    assert index.fact("listing") is None
    index.note("listing", "y", changes)
    assert index.fact("listing") is None
    index.note("listing", "z", changes + 1)
    assert index.fact("listing") == "z"
    index.forget(["/data/b.jsonl"])
    assert index.fact("listing") is None


def _searched(path: Path) -> int:
    with sqlite3.connect(path) as db:
        [(rows,)] = db.execute("SELECT count(*) FROM searched").fetchall()
    db.close()
    return int(rows)


class TestSearchRows:
    """What is searched of runs is made by the first search, and with each entry from then on."""

    NI = "plan_name = ?", ["Ni"]

    @pytest.fixture
    def index(self, path: Path) -> Iterator[Index]:
        index = pickled_index(path, [({"uid": f"{n:02}", "plan_name": "Ni"}, None) for n in range(10)])
        yield index
        index.close()

    def test_are_made_by_the_first_search(self, index: Index, path: Path) -> None:
        assert index.count("time IS NULL", []) == 10
        assert index.entry("05") is not None
        assert _searched(path) == 0
        assert index.count(*self.NI) == 10
        assert _searched(path) == 10

    def test_follow_what_is_put_by_anyone(self, index: Index, path: Path) -> None:
        assert index.count(*self.NI) == 10
        other = Index(path, pickle.loads)
        other.put([pickled_entry(20, {"uid": "20", "plan_name": "Ni"}, None)])
        other.put([pickled_entry(5, {"uid": "05", "plan_name": "Co"}, None)])
        other.forget(["6"])
        other.close()
        assert index.count(*self.NI) == 9
        assert _searched(path) == 10

    def test_are_made_once_by_many(self, index: Index, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(search_rows, "BATCH", 2)
        with ThreadPoolExecutor(4) as pool:
            assert list(pool.map(lambda _: index.count(*self.NI), range(4))) == [10] * 4
        assert _searched(path) == 10

    def test_miss_nothing_that_is_put_while_they_are_made(
        self, index: Index, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The number of the run that was put last is given again."""
        monkeypatch.setattr(search_rows, "BATCH", 10)
        other = Index(path, pickle.loads)

        def track(things: Iterator[int], **options: Any) -> Iterator[int]:
            for number in things:
                if number == 10:
                    other.forget(["9"])
                    other.put([pickled_entry(99, {"uid": "99", "plan_name": "Ni"}, None)])
                yield number

        monkeypatch.setattr("intake_bluesky.index.index.track", track)
        assert index.count(*self.NI) == 10
        assert index.count("plan_name = ? AND uid = ?", ["Ni", "99"]) == 1
        other.close()


def _peak(path: Path, runs: int) -> int:
    """Bytes of Python held at most while an index is opened, counted, searched and read from end to end."""
    index = Index(path)
    for first in range(0, runs, 5000):
        index.put([_entry(f"{n:08}", float(n)) for n in range(first, first + 5000)])
    index.close()
    gc.collect()
    tracemalloc.start()
    try:
        again = Index(path)
        assert again.count("1", ()) == runs
        assert again.entry(f"{runs // 2:08}") is not None
        assert len(list(again.find("1", (), Order.NEWEST, limit=100, offset=runs // 2))) == 100
        assert sum(1 for _ in again.find("1", (), Order.OLDEST)) == runs
        assert again.problems() == again.duplicates() == []
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        again.close()


@pytest.mark.slow
def test_memory_does_not_grow_with_runs(tmp_path: Path) -> None:
    few, many = _peak(tmp_path / "few.sqlite", 20_000), _peak(tmp_path / "many.sqlite", 200_000)
    assert many < 1.2 * few + 50_000
    assert many < 1_000_000
