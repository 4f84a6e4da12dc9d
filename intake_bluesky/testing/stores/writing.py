"""Writing through the driver."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from intake_bluesky.documents.model import Document
from intake_bluesky.errors import DamagedRun, DuplicateRun, StoreUnavailable, UnsupportedOperation
from intake_bluesky.storage.contract import RunInsert, RunStore
from intake_bluesky.testing.differences import assert_documents, assert_identical
from intake_bluesky.testing.examples import Run
from intake_bluesky.testing.expected import stored_events
from intake_bluesky.testing.plain_runs import count, interleaved, rewound, scan
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

    def test_whole_runs_are_inserted(self, store: S, examples: Runs) -> None:
        refused = dict(zip(examples, store.insert_runs(copy.deepcopy([*examples.values()])), strict=True))
        store.refresh()
        names = {uid_of(run): name for name, run in examples.items()}

        def check(run: Run) -> None:
            error = refused[names[uid_of(run)]]
            if error is not None:
                raise error
            _check(store, run)

        self.check_each("test_whole_runs_are_inserted", examples, check)

    def test_of_whole_runs_a_bad_one_costs_itself(self, store: S) -> None:
        def cut_short(error: Exception) -> Iterator[tuple[str, Document]]:
            yield from interleaved()[:5]
            raise error

        deep: dict[str, Any] = {}
        for _ in range(200):
            deep = {"deep": deep}
        write(store, count())
        runs: list[tuple[Iterable[tuple[str, Document]], type[Exception] | None]] = [
            (count(), DuplicateRun),
            (cut_short(DamagedRun("cut short")), DamagedRun),
            (scan(), None),
            (scan(), DuplicateRun),
            ([], DamagedRun),
            (rewound()[1:], DamagedRun),
            ([*rewound(), rewound()[-1]], DamagedRun),
            ([("start", {**rewound()[0][1], "deep": deep}), *rewound()[1:]], UnsupportedOperation),
            ([rewound()[0], ("descriptor", {**rewound()[1][1], "deep": deep}), *rewound()[2:]], UnsupportedOperation),
            (cut_short(StoreUnavailable("the other store is away")), StoreUnavailable),
            (interleaved()[:-1], None),
            (rewound(), None),
        ]
        outcomes = list(store.insert_runs(documents for documents, _ in runs))
        expected = [None if error is None else error.__name__ for _, error in runs]
        assert [None if error is None else type(error).__name__ for error in outcomes] == expected
        store.refresh()
        stored = [count(), scan(), interleaved()[:-1], rewound()]
        assert {run.uid for run in store.find()} == set(map(uid_of, stored)), "what is refused leaves nothing"
        for run in stored:
            _check(store, run)

    def test_of_whole_runs_those_told_are_there_for_others(self, store: S) -> None:
        runs = [scan(), count()]
        for run, error in zip(runs, store.insert_runs(runs), strict=True):
            assert error is None
            other = self.reopen(store)
            _check(other, run)
            other.close()
