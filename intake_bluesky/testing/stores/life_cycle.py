"""Runs that come, grow and go, stores that are pickled, closed and shared, and damage beside them."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from intake_bluesky.errors import RunNotFound
from intake_bluesky.query import ALL
from intake_bluesky.storage.contract import RunStore
from intake_bluesky.storage.order import Order
from intake_bluesky.testing.differences import assert_identical
from intake_bluesky.testing.examples import Run
from intake_bluesky.testing.expected import cells, stored_events
from intake_bluesky.testing.plain_runs import count, interleaved, rewound, scan
from intake_bluesky.testing.stores.hooks import S, StoreHooks
from intake_bluesky.testing.stores.reading import uid_of

__all__ = ["StoreLifeCycleTests"]


def _read(store: RunStore, run: Run) -> dict[str, list[dict[str, object]]]:
    header = store.header(uid_of(run))
    return {name: cells(list(store.event_pages(header.uid, name))) for name in header.streams}


class StoreLifeCycleTests(StoreHooks[S]):
    """What a store shows is what its storage holds now, in this process and in others."""

    def test_reopened_store_shows_the_same(self, store: S) -> None:
        self.put(store, count(), scan())
        other = self.reopen(store)
        assert [run.uid for run in other.find()] == [run.uid for run in store.find()]
        assert _read(other, scan()) == _read(store, scan())
        assert other.header(uid_of(scan())).version == store.header(uid_of(scan())).version
        other.close()

    def test_closed_store_opens_anew(self, store: S) -> None:
        self.put(store, count())
        before = _read(store, count())
        store.close()
        store.close()
        assert _read(store, count()) == before

    def test_new_run_is_seen(self, store: S) -> None:
        self.put(store, count())
        assert len(list(store.find())) == 1
        self.put(store, scan())
        assert len(list(store.find())) == 2
        assert _read(store, scan()).keys() == stored_events(scan()).keys()

    def test_deep_refresh_shows_the_same(self, store: S) -> None:
        self.put(store, count(), scan())
        before = _read(store, scan()), store.header(uid_of(scan())).version
        store.refresh(deep=True)
        assert (_read(store, scan()), store.header(uid_of(scan())).version) == before
        assert len(list(store.find())) == 2

    def test_removed_run_is_gone(self, store: S) -> None:
        self.put(store, count(), scan())
        store.header(uid_of(count()))  # so that a cache of headers would show the run after its removal
        self.remove(store, uid_of(count()))
        store.refresh()
        assert [run.uid for run in store.find()] == [uid_of(scan())]
        with pytest.raises(RunNotFound):
            store.header(uid_of(count()))

    @pytest.mark.parametrize("make", [count, scan, rewound, interleaved])
    def test_run_grows(self, store: S, make: Callable[[], Run]) -> None:
        run = make()
        half = len(run) // 2
        self.put(store, run[:half])
        early = store.header(uid_of(run))
        assert early.stop is None, "no stop was inserted"
        self._check(store, run[:half])
        self.append(store, uid_of(run), run[half:-1])
        store.refresh()
        later = store.header(uid_of(run))
        assert later.version != early.version, "a run that grew has another version"
        self._check(store, run[:-1])
        self.append(store, uid_of(run), run[-1:])
        store.refresh()
        last = store.header(uid_of(run))
        assert last.version not in (early.version, later.version), "a run that got its stop has another version"
        assert_identical(last.stop, run[-1][1], "stop")
        assert_identical(next(iter(store.find())).stop, run[-1][1], "stop")
        self._check(store, run)

    def _check(self, store: S, run: Run) -> None:
        observed = store.header(uid_of(run)).streams
        expected = stored_events(run)
        assert {name: layout.events for name, layout in observed.items()} == {
            name: len(events) for name, events in expected.items()
        }
        values = {n: [e["data"] for e in events] for n, events in expected.items()}
        assert_identical(_read(store, run), values, "data of the stream")

    def test_version_stays_while_nothing_changes(self, store: S) -> None:
        self.put(store, count())
        before = store.header(uid_of(count())).version
        self.put(store, scan())
        assert store.header(uid_of(count())).version == before

    def test_damage_hides_no_good_run(self, store: S) -> None:
        self.put(store, count())
        self.damage(store)
        self.put(store, scan())
        observed = {run.uid for run in store.find()}
        assert observed >= {uid_of(count()), uid_of(scan())}
        for order in Order:
            found = list(store.find(store.plan(ALL, order), limit=1))
            assert len(found) == 1, "a damaged run takes the place of a good one"
        assert _read(store, scan()).keys() == stored_events(scan()).keys()
        problems = store.problems()
        assert problems, "problems() has to tell what could not be read"
        assert all(problem.where and problem.message for problem in problems)

    def test_threads_share_a_store(self, store: S) -> None:
        # Each run four times, so that threads read the same run at the same time.
        runs = [count(), scan(), interleaved(), rewound()] * 4
        self.put(store, *runs[:4])
        expected = [_read(store, run) for run in runs]
        with ThreadPoolExecutor(4) as pool:
            observed = list(pool.map(lambda run: _read(store, run), runs))
        assert observed == expected
