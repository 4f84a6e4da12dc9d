"""What waits is written by size, by time and at the end, and nothing is lost when a database goes away."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from intake_bluesky.documents.model import Document
from intake_bluesky.errors import RunNotFound, StoreUnavailable, UnsupportedOperation
from intake_bluesky.storage import buffered_insert
from intake_bluesky.storage.buffered_insert import BufferedInsert, Buffering

STOP = ("stop", {"uid": "z"})


class Insert(BufferedInsert):
    """Each document is ten bytes; what is written goes into a list."""

    def __init__(self, **buffering: Any) -> None:
        super().__init__("a run", Buffering(**{"flush_seconds": 1e6, **buffering}))
        self.waiting: list[str] = []
        self.written: list[str] = []
        self.fail: Callable[[], None] = lambda: None
        self.flushed = threading.Event()

    def _take(self, name: str, doc: Document) -> None:
        if "bad" in doc:
            raise UnsupportedOperation("bad")
        self.waiting.append(doc["uid"])
        self._held += 10

    def _flush(self) -> None:
        try:
            self.fail()
            self.written += self.waiting
            self.waiting, self._held = [], 0
        finally:
            self.flushed.set()

    def _went_away(self, error: StoreUnavailable) -> bool:
        return "refused" not in str(error)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buffered_insert, "PAUSE", 0.001)


def failing(error: Exception, times: float = float("inf")) -> Callable[[], None]:
    left = times

    def fail() -> None:
        nonlocal left
        left -= 1
        if left >= 0:
            raise error

    return fail


def put(insert: Insert, *uids: str) -> None:
    for uid in uids:
        insert.write("event", {"uid": uid})


def test_once_there_is_enough() -> None:
    insert = Insert(flush_bytes=30)
    put(insert, "a", "b")
    assert insert.written == []
    put(insert, "c", "d")
    assert insert.written == ["a", "b", "c"]
    insert.close()
    assert insert.written == ["a", "b", "c", "d"]


def test_at_once() -> None:
    insert = Insert(flush_seconds=0)
    put(insert, "a")
    assert insert.written == ["a"]
    assert insert._timer is None


def test_after_a_time() -> None:
    insert = Insert(flush_seconds=0.001)
    put(insert, "a")
    assert insert.flushed.wait(60)
    insert.close()
    assert insert.written == ["a"]


def test_a_stop_ends_it() -> None:
    insert = Insert()
    put(insert, "a")
    insert.write(*STOP)
    assert insert.written == ["a", "z"]
    with pytest.raises(UnsupportedOperation, match="run a run is closed"):
        put(insert, "b")
    insert.close()


def test_what_is_refused_leaves_the_run_open() -> None:
    insert = Insert()
    with pytest.raises(UnsupportedOperation, match="bad"):
        insert.write("stop", {"bad": True})
    put(insert, "a")
    insert.close()
    assert insert.written == ["a"]


def test_the_writer_goes_on_while_a_database_is_away() -> None:
    insert = Insert(flush_bytes=10, patience=60)
    insert.fail = failing(StoreUnavailable("away"), 3)
    put(insert, "a", "b")
    insert.write(*STOP)
    assert insert.written == ["a", "b", "z"]


@pytest.mark.parametrize(("error", "patience"), [("away", 0), ("refused", 60)])
def test_what_is_not_written_is_said_and_written_later(error: str, patience: float) -> None:
    insert = Insert(flush_bytes=10, patience=patience)
    insert.fail = failing(StoreUnavailable(error))
    for name, doc in (("event", {"uid": "a"}), STOP):
        with pytest.raises(StoreUnavailable, match=f"{error} The last documents of run a run are in memory"):
            insert.write(name, doc)
    with pytest.raises(StoreUnavailable, match=error):
        insert.close()
    insert.fail = lambda: None
    insert.close()
    assert insert.written == ["a", "z"]


def test_documents_that_waited_too_long_are_tried_with_the_next() -> None:
    insert = Insert(flush_seconds=0.001, patience=0)
    insert.fail = failing(StoreUnavailable("away"))
    put(insert, "a")
    assert insert.flushed.wait(60)
    with pytest.raises(StoreUnavailable, match="in memory"), insert._lock:  # so that no timer comes between
        put(insert, "b")
    insert.fail = lambda: None
    insert.close()
    assert insert.written == ["a", "b"]


@pytest.mark.parametrize("uses", ["close", "event", "stop"])
def test_an_error_of_the_timer_reaches_who_comes_next_and_costs_no_document(uses: str) -> None:
    insert = Insert(flush_seconds=0.001)
    insert.fail = failing(RunNotFound("removed"), 1)
    put(insert, "a")
    assert insert.flushed.wait(60)
    with pytest.raises(RunNotFound, match="removed"):
        insert.close() if uses == "close" else insert.write(uses, {"uid": "b"})
    insert.close()
    assert insert.written == (["a"] if uses == "close" else ["a", "b"])


def test_a_cancelled_timer_that_waited_for_its_turn_does_nothing() -> None:
    insert = Insert(flush_seconds=0.001)
    with insert._lock:
        put(insert, "a")
        late = insert._timer
        assert late is not None
        insert.flush()
        insert.flushed.clear()
    late.join()
    assert not insert.flushed.is_set()
