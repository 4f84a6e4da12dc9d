"""Whole runs into stores without transactions: each whole, or not at all, or an error that says otherwise."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from intake_bluesky.documents import Document
from intake_bluesky.errors import RunNotFound, StoreUnavailable, UnsupportedOperation
from intake_bluesky.storage import RunStore, WrapperStore
from intake_bluesky.testing.examples import Run
from intake_bluesky.testing.memory import MemoryStore
from intake_bluesky.testing.plain_runs import count, scan


def refused() -> Run:
    deep: dict[str, Any] = {}
    for _ in range(200):
        deep = {"deep": deep}
    run = scan()
    return [*run[:-1], ("stop", {**run[-1][1], "deep": deep})]


def uids(store: RunStore) -> list[str]:
    return [run.uid for run in store.find()]


def test_store_that_is_not_writable_says_so_at_once() -> None:
    class ReadOnly(WrapperStore):
        writable = False
        insert_runs = RunStore.insert_runs

    with pytest.raises(UnsupportedOperation, match="takes no runs"):
        next(ReadOnly(MemoryStore()).insert_runs([count()]))


def test_store_that_goes_away_ends_it() -> None:
    class Away(MemoryStore):
        def append(self, uid: str, documents: Any) -> None:
            if len(self._runs) == 2:
                raise StoreUnavailable("this store is away")
            super().append(uid, documents)

    store = Away()
    told = store.insert_runs([count(), scan(), count()])
    assert next(told) is None
    with pytest.raises(StoreUnavailable, match="this store is away"):
        next(told)
    assert store.header(scan()[0][1]["uid"]).stop is None


@pytest.mark.parametrize("error", [StoreUnavailable("locked"), RunNotFound("somebody else removed it")])
def test_run_that_cannot_be_removed_is_said(error: Exception) -> None:
    class Stuck(MemoryStore):
        def remove(self, uid: str, *, permanent: bool = False) -> None:
            raise error

    told = Stuck().insert_runs([refused(), count()])
    if isinstance(error, RunNotFound):
        assert [type(one) for one in told] == [UnsupportedOperation, type(None)]
    else:
        with pytest.raises(StoreUnavailable, match=r"nested in more .* cannot be removed: locked"):
            next(told)


def test_any_other_error_passes_and_leaves_no_part() -> None:
    def stopped() -> Iterator[tuple[str, Document]]:
        yield from scan()[:4]
        raise KeyboardInterrupt

    store = MemoryStore()
    with pytest.raises(KeyboardInterrupt):
        list(store.insert_runs([count(), stopped()]))
    assert uids(store) == [count()[0][1]["uid"]]


def test_documents_of_a_run_are_closed_when_one_is_refused() -> None:
    closed: list[str] = []

    def read() -> Iterator[tuple[str, Document]]:
        try:
            yield from refused()
        finally:
            closed.append("closed")

    told = MemoryStore().insert_runs([read(), count()])
    assert isinstance(next(told), UnsupportedOperation)
    assert closed == ["closed"]
    assert next(told) is None


@pytest.mark.parametrize(
    ("start", "message"),
    [
        ({"uid": 5, "time": 1.0}, "the uid of a run is a text, not 5"),
        ({"time": 1.0}, "the uid of a run is a text, not None"),
        (["uid", "abc"], "is a dict, not a list"),
    ],
)
def test_start_that_is_none_is_refused(start: Any, message: str) -> None:
    [error] = MemoryStore().insert_runs([[("start", start)]])
    assert message in str(error)
