"""Tests of stores that record statistics, and of searches by them."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Final

import pytest

from intake_bluesky.documents.model import RunSummary, is_external
from intake_bluesky.documents.statistics import Statistics
from intake_bluesky.query import Data, DataQuery, Query, matches
from intake_bluesky.query.pruning import Kept, Verdict
from intake_bluesky.search.run_statistics import Unmeasured
from intake_bluesky.search.run_view import StoredRun
from intake_bluesky.search.statistics_cache import with_statistics
from intake_bluesky.storage.contract import RunStore
from intake_bluesky.storage.order import Order
from intake_bluesky.storage.statistics import Recorded
from intake_bluesky.testing.examples import Run
from intake_bluesky.testing.plain_runs import count, rewound, scan, unfinished
from intake_bluesky.testing.stores.hooks import S, StoreHooks, of_each_example
from intake_bluesky.testing.stores.reading import documents_of, uid_of

__all__ = ["StoreStatisticsTests"]

OLD: Final = 0.1  # seconds, past the tick of a file system's clock: a later change has another time
QUERIES: Final = (
    Data("theta").between(0, 5),
    Data("theta").between(-100, 100),
    Data("theta").within(-2.5, 2.5),
    Data("theta").max() > 1,
    Data("theta", stream="primary").min() <= 0,
    Data("theta", stream="baseline").count() >= 0,
    Data("det").sum() > 10,
    Data("det").mean() <= 1e6,
    Data("det").count() == 3,
    Data("det").nan_count() > 0,
    Data("det").first() == 1,
    Data("no such key").count() >= 0,
)
"""Queries about data of the examples ``count``, ``scan`` and others."""


class StoreStatisticsTests(StoreHooks[S]):
    """`RunStore.statistics`, or those of the user's cache; a store without either has none to test."""

    @of_each_example
    def test_what_a_pass_over_the_documents_tells_is_what_the_values_are(self, stored: S, example: Run) -> None:
        statistics = with_statistics(stored).statistics
        if statistics is None:
            return
        [run] = [run for run in stored.find() if run.uid == uid_of(example)]
        header = stored.header(run.uid)
        statistics.measure([run.uid])
        for layout in header.streams.values():
            for key, spec in layout.data_keys.items():
                known = statistics.get(Recorded(run.uid, header.version, layout.name, key))
                assert known is None or not is_external(spec), f"{key} of files is of no reading that was named"
                assert known is None or header.stop is not None, "nothing is kept of a run that goes on"
                if known is not None:
                    self._alike(known, StoredRun(Unmeasured(stored, header), run).statistics(layout.name, key))

    def test_one_pass_tells_all_of_a_plain_run(self, store: S) -> None:
        searched = with_statistics(store)
        statistics = searched.statistics
        if statistics is None:
            return
        run = scan()
        self.put(store, run)
        uid = run[0][1]["uid"]
        statistics.measure([uid])
        for key in ("theta", "det", "counts"):
            assert statistics.get(Recorded(uid, store.header(uid).version, "primary", key)) is not None
            assert _kept(searched, Data(key).count() > 0, "true") == {uid}
            assert _kept(searched, Data(key).count() > 0, "open") == set()

    def _alike(self, observed: Statistics, expected: Statistics | None) -> None:
        assert expected is not None
        if isinstance(expected.sum, float):
            # A store may add up page by page: sums of floats depend on the order, all else is exact.
            assert observed.sum == pytest.approx(expected.sum, rel=1e-12, abs=1e-300, nan_ok=True)
        else:
            assert observed.sum == expected.sum
        assert type(observed.sum) is type(expected.sum)
        assert replace(observed, sum=None, gap=None) == replace(expected, sum=None, gap=None)

    def test_what_is_kept_is_true(self, store: S) -> None:
        searched = with_statistics(store)
        statistics = searched.statistics
        if statistics is None:
            return
        self.put(store, count(), scan(), rewound(), unfinished())
        uids = [run.uid for run in store.find()]
        for measured in (False, True):
            if measured:
                statistics.measure(uids)
            for query in QUERIES:
                true, open_ = _kept(searched, query, "true"), _kept(searched, query, "open")
                # Measured or not, no run is decided wrongly; a store that knows little leaves more open.
                assert true <= _matching(store, query) <= true | open_, f"{query!r}, measured: {measured}"
        assert statistics.measure(uids) == 0, "what was learnt is kept"

    def test_runs_that_go_on_stay_open(self, store: S) -> None:
        searched = with_statistics(store)
        statistics = searched.statistics
        if statistics is None:
            return
        run = unfinished()
        self.put(store, run)
        uid = run[0][1]["uid"]
        statistics.measure([uid])
        keys = [key for doc in documents_of(run, "descriptor") for key in doc["data_keys"]]
        for key in keys:
            assert _kept(searched, Data(key).count() >= 0, "open") == {uid}
            assert _kept(searched, Data(key).count() >= 0, "true") == set()

    def test_what_is_handed_in_counts_from_then_on(self, store: S) -> None:
        searched = with_statistics(store)
        statistics = searched.statistics
        if statistics is None:
            return
        run = scan()
        self.put(store, run)
        time.sleep(OLD)
        store.refresh()
        uid = run[0][1]["uid"]
        statistics.measure([uid])
        known = Statistics(2, 0, 3, 4, 7, 3, 4, 1.0)
        what = Recorded(uid, store.header(uid).version, "primary", "theta")
        statistics.put([(replace(what, version="of another day"), known)])
        assert statistics.get(what) != known
        statistics.put([(what, known)])
        assert statistics.get(what) == known
        assert statistics.get(replace(what, version="of another day")) is None
        assert _kept(searched, Data("theta").min() == 3, "true") == {uid}
        assert _kept(searched, Data("theta").min() < 3, "true") == set()
        mine = Statistics(2, 0, 5, 6, 11, 5, 6, 1.0)
        statistics.put([(replace(what, reading="mine"), mine)])
        assert statistics.get(replace(what, reading="mine")) == mine
        assert statistics.get(replace(what, reading="yours")) is None
        other = self.reopen(store)
        reopened = with_statistics(other).statistics
        assert reopened is not None
        assert reopened.get(what) == known
        other.close()

    def test_a_run_that_is_gone_takes_its_statistics_along(self, store: S) -> None:
        searched = with_statistics(store)
        statistics = searched.statistics
        if statistics is None:
            return
        run = scan()
        self.put(store, run)
        uid = run[0][1]["uid"]
        statistics.measure([uid])
        self.remove(store, uid)
        store.refresh()
        assert _kept(searched, Data("theta").count() >= 0, "true") == set()
        self.put(store, count())
        assert uid not in _kept(searched, Data("theta").count() >= 0, "open")

    def test_they_combine_with_what_else_is_pushed_down(self, store: S) -> None:
        searched = with_statistics(store)
        statistics = searched.statistics
        if statistics is None:
            return
        self.put(store, count(), scan(), rewound())
        every = {run.uid for run in store.find()}
        statistics.measure(list(every))
        for query in QUERIES[:3]:
            true, open_ = _says(query, "true"), _says(query, "open")
            either = _found(searched, true | open_)
            assert _found(searched, ~true) == every - _kept(searched, query, "true"), query
            assert _found(searched, ~(true | open_)) == every - either, query
            assert searched.plan(true | ~open_, Order.NEWEST).pushed == true | ~open_


def _says(query: Query, says: Verdict) -> Kept:
    assert isinstance(query, DataQuery)
    return Kept(query, says)


def _kept(store: RunStore, query: Query, says: Verdict) -> set[str]:
    return _found(store, _says(query, says))


def _found(store: RunStore, query: Query) -> set[str]:
    return {run.uid for run in store.find(store.plan(query, Order.NEWEST))}


def _matching(store: RunStore, query: Query) -> set[str]:
    runs: list[RunSummary] = list(store.find())
    return {run.uid for run in runs if matches(query, StoredRun(Unmeasured(store, store.header(run.uid)), run))}
