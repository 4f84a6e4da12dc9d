"""Tests that nothing is read before it is needed."""

from __future__ import annotations

from intake_bluesky.query import ALL
from intake_bluesky.storage.order import Order
from intake_bluesky.testing.examples import Run
from intake_bluesky.testing.plain_runs import count, interleaved, scan, unfinished
from intake_bluesky.testing.stores.hooks import S, StoreHooks
from intake_bluesky.testing.stores.reading import uid_of

__all__ = ["StoreLazinessTests"]

WHY = "event data was parsed where nobody asked for any"


class StoreLazinessTests(StoreHooks[S]):
    """Listing and describing parse no event data; `data_reads` is the witness."""

    def _runs(self, store: S) -> list[Run]:
        runs = [count(), scan(), interleaved(), unfinished()]
        self.put(store, *runs)
        return runs

    # Without this the other tests would pass for a hook that always returns 0.
    def test_the_witness_sees_data_being_read(self, store: S) -> None:
        for run in self._runs(store):
            before = self.data_reads(store)
            for stream in store.header(uid_of(run)).streams:
                list(store.event_pages(uid_of(run), stream))
            assert self.data_reads(store) > before, "the hook data_reads() does not count"

    def test_finding_reads_no_data(self, store: S) -> None:
        self._runs(store)
        store.refresh()
        before = self.data_reads(store)
        for order in Order:
            assert len(list(store.find(store.plan(ALL, order)))) == 4
        assert self.data_reads(store) == before, WHY

    def test_describing_reads_no_data(self, store: S) -> None:
        runs = self._runs(store)
        before = self.data_reads(store)
        for run in runs:
            store.header(uid_of(run))
        assert self.data_reads(store) == before, WHY

    def test_seq_num_and_time_read_no_data(self, store: S) -> None:
        runs = self._runs(store)
        before = self.data_reads(store)
        for run in runs:
            for stream in store.header(uid_of(run)).streams:
                list(store.event_pages(uid_of(run), stream, data=(), timestamps=()))
        assert self.data_reads(store) == before, WHY

    def test_asking_reads_nothing_before_the_first_page(self, store: S) -> None:
        runs = self._runs(store)
        before = self.data_reads(store)
        for run in runs:
            for stream in store.header(uid_of(run)).streams:
                iter(store.event_pages(uid_of(run), stream))
        assert self.data_reads(store) == before, WHY

    def test_a_second_look_reads_no_data(self, store: S) -> None:
        self._runs(store)
        other = self.reopen(store)
        before = self.data_reads(other)
        other.refresh()
        assert len(list(other.find())) == 4
        assert self.data_reads(other) == before, WHY
