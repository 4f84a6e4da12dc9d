"""Writing through the driver."""

from __future__ import annotations

import contextlib
import copy

import pytest

from intake_bluesky.errors import DuplicateRun
from intake_bluesky.storage.contract import RunInsert, RunStore
from intake_bluesky.testing.differences import assert_documents, assert_identical
from intake_bluesky.testing.examples import Run
from intake_bluesky.testing.expected import stored_events
from intake_bluesky.testing.plain_runs import count, interleaved, scan
from intake_bluesky.testing.stores.hooks import Runs, S, StoreHooks
from intake_bluesky.testing.stores.reading import uid_of

__all__ = ["StoreWritingTests", "write"]


def _begin(store: RunStore, run: Run) -> RunInsert:
    assert store.writable, "the store is not writable: leave StoreWritingTests out"
    return store.insert(run[0][1])


def write(store: RunStore, *runs: Run) -> None:
    """Write whole runs, and let the store look."""
    for run in runs:
        with _begin(store, run) as insert:
            for name, doc in run[1:]:
                insert.write(name, doc)
    store.refresh()


def _check(store: RunStore, run: Run) -> None:
    observed = list(store.documents(uid_of(run)))
    assert_identical(stored_events(observed), stored_events(run), "events of the stream")
    if store.exact_documents:
        assert_documents(observed, run)


class StoreWritingTests(StoreHooks[S]):
    """`insert`: what is written is there, whole, for everyone."""

    def test_written_run_is_read_back(self, store: S, examples: Runs) -> None:
        def check(run: Run) -> None:
            write(store, copy.deepcopy(run))
            _check(store, run)
            stops = [doc for name, doc in run if name == "stop"]
            assert_identical(store.header(uid_of(run)).stop, stops[0] if stops else None, "stop")

        self.check_each("test_written_run_is_read_back", examples, check)

    def test_written_run_is_there_for_others(self, store: S) -> None:
        write(store, scan())
        other = self.reopen(store)
        _check(other, scan())
        other.close()

    def test_start_is_written_at_once(self, store: S) -> None:
        insert = _begin(store, scan())
        store.refresh()
        assert [run.uid for run in store.find()] == [uid_of(scan())]
        insert.close()

    def test_duplicate_is_refused(self, store: S) -> None:
        write(store, scan())
        with pytest.raises(DuplicateRun) as caught:
            _begin(store, scan())
        assert uid_of(scan()) in str(caught.value), "the message names the run"
        store.refresh()
        _check(store, scan())

    def test_duplicate_of_a_foreign_run_is_refused(self, store: S) -> None:
        self.put(store, scan())
        with pytest.raises(DuplicateRun):
            _begin(store, scan())
        _check(store, scan())

    def test_unfinished_run_is_readable(self, store: S) -> None:
        run = scan()[:-1]
        write(store, run)
        assert store.header(uid_of(run)).stop is None
        _check(store, run)

    def test_error_in_the_block_keeps_what_was_written(self, store: S) -> None:
        run = count()
        with contextlib.suppress(ZeroDivisionError), _begin(store, run) as insert:
            insert.write(*run[1])
            insert.write(*run[2])
            raise ZeroDivisionError
        store.refresh()
        _check(store, run[:3])

    def test_runs_written_in_turns_stay_apart(self, store: S) -> None:
        runs = [scan(), interleaved(), count()]
        inserts = [_begin(store, run) for run in runs]
        for place in range(1, max(map(len, runs))):
            for insert, run in zip(inserts, runs, strict=True):
                if place < len(run):
                    insert.write(*run[place])
        for insert in inserts:
            insert.close()
        store.refresh()
        for run in runs:
            _check(store, run)

    def test_closing_twice_is_harmless(self, store: S) -> None:
        insert = _begin(store, count())
        insert.close()
        insert.close()
        store.refresh()
        _check(store, count()[:1])

    def test_written_documents_may_change_afterwards(self, store: S) -> None:
        run = count()
        with _begin(store, run) as insert:
            for name, doc in run[1:]:
                insert.write(name, doc)
                doc.clear()
        store.refresh()
        _check(store, count())
