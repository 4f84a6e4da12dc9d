"""Removing through the driver, by `RunStore.remove`; `StoreHooks.remove` does it without the driver."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from intake_bluesky.documents.model import Document
from intake_bluesky.documents.statistics import Statistics
from intake_bluesky.errors import RunNotFound
from intake_bluesky.query import ALL, Data, FullText, Path, Start
from intake_bluesky.query.data_nodes import DataBetween
from intake_bluesky.query.pruning import Kept, Verdict
from intake_bluesky.search.statistics_cache import with_statistics
from intake_bluesky.storage.contract import RunStore
from intake_bluesky.storage.order import Order
from intake_bluesky.storage.statistics import Recorded
from intake_bluesky.testing.compose import RunComposer, data_key
from intake_bluesky.testing.differences import assert_documents, assert_identical
from intake_bluesky.testing.examples import Run
from intake_bluesky.testing.expected import stored_events
from intake_bluesky.testing.plain_runs import count, failed, interleaved, scan, unfinished
from intake_bluesky.testing.stores.hooks import S, StoreHooks
from intake_bluesky.testing.stores.reading import uid_of
from intake_bluesky.testing.stores.writing import write

__all__ = ["StoreRemovalTests"]

OTHERS = (count, failed, interleaved)


def _documents(store: RunStore, uid: str) -> list[tuple[str, Document]]:
    return list(store.documents(uid))


class StoreRemovalTests(StoreHooks[S]):
    """A run that is removed is gone for everyone, no matter which program wrote it, and no other run is."""

    def _check_gone(self, store: RunStore, run: Run, left: int) -> None:
        uid = uid_of(run)
        assert uid not in {found.uid for found in store.find()}
        assert store.count(store.plan(ALL, Order.NEWEST)) == left
        by_uid = store.plan(Start("uid") == uid, Order.NEWEST)
        # A store that leaves uids to the core finds all its runs here.
        assert list(store.find(by_uid)) == [] or by_uid.residual != ALL
        for ask in (
            store.header,
            lambda uid: _documents(store, uid),
            lambda uid: list(store.event_pages(uid, "primary")),
        ):
            with pytest.raises(RunNotFound):
                ask(uid)
        assert list(store.read_ahead([uid])) == []

    # The header is read before, so that a cache of headers would show the run after its removal.
    def test_a_run_removed_by_the_store_is_gone(self, store: S) -> None:
        self.put(store, scan(), *(make() for make in OTHERS))
        store.header(uid_of(scan()))
        store.remove(uid_of(scan()))
        self._check_gone(store, scan(), len(OTHERS))
        other = self.reopen(store)
        other.refresh()
        self._check_gone(other, scan(), len(OTHERS))
        other.close()

    @pytest.mark.parametrize("make", [scan, unfinished, lambda: scan()[:1]], ids=["whole", "unfinished", "start alone"])
    def test_a_run_written_here_is_gone(self, store: S, make: Callable[[], Run]) -> None:
        write(store, make(), count())
        store.remove(uid_of(make()), permanent=True)
        self._check_gone(store, make(), 1)

    def test_values_of_a_removed_run_are_found_no_more(self, store: S) -> None:
        self.put(store, scan(), count())
        store.remove(uid_of(scan()))
        path, plan = Path.parse("plan_name"), store.plan(ALL, Order.OLDEST)
        values = store.distinct(path, plan)
        assert values is None or [value for value, _ in values] == ["count"]
        told = store.lookup([path], plan)
        assert told is None or [(uid, found) for uid, _, found in told] == [(uid_of(count()), ("count",))]
        for query in (Start("plan_name") == "scan", FullText("scan")):
            plan = store.plan(query, Order.NEWEST)
            assert plan.residual != ALL or (list(store.find(plan)), store.count(plan)) == ([], 0)

    def test_other_runs_stay_as_they_are(self, store: S) -> None:
        runs = [make() for make in OTHERS]
        self.put(store, scan(), *runs)
        before = [(store.header(uid_of(run)), _documents(store, uid_of(run))) for run in runs]
        store.remove(uid_of(scan()))
        for run, (header, documents) in zip(runs, before, strict=True):
            assert store.header(uid_of(run)) == header
            assert_documents(_documents(store, uid_of(run)), documents)
        assert sorted(run.uid for run in store.find()) == sorted(map(uid_of, runs))

    def test_datums_go_with_their_run(self, store: S) -> None:
        run = RunComposer("datums", scan_id=7)
        descriptor = run.descriptor({"image": data_key("array", [2], external="FILESTORE:")})
        resource = run.resource("ANY", root="/", path="nowhere")
        for number in range(3):
            run.event(descriptor, {"image": run.datum(resource, number, frame=number)})
        run.stop()
        write(store, run.documents, count())
        before = [page.datum_id for page in store.datum_pages(run.run_uid, resource)]
        store.remove(run.run_uid)
        self._check_gone(store, run.documents, 1)
        write(store, run.documents)
        assert [page.datum_id for page in store.datum_pages(run.run_uid, resource)] == before

    def test_a_removed_run_can_be_written_again(self, store: S) -> None:
        write(store, scan(), count())
        before = _documents(store, uid_of(scan())), store.header(uid_of(scan())).streams
        for _ in range(2):
            store.remove(uid_of(scan()))
            write(store, scan())
            documents, streams = before
            assert_documents(_documents(store, uid_of(scan())), documents)
            assert_identical(store.header(uid_of(scan())).streams, streams, "streams")
        assert_identical(
            stored_events(_documents(store, uid_of(count()))), stored_events(count()), "events of the stream"
        )

    # With fewer documents than before: whatever the removal left behind would come back in the new run.
    def test_a_foreign_run_can_be_written_after_its_removal(self, store: S) -> None:
        self.put(store, scan())
        store.remove(uid_of(scan()))
        write(store, scan()[:4])
        assert store.header(uid_of(scan())).stop is None, "the stop of the run that was removed came back"
        observed = stored_events(_documents(store, uid_of(scan())))
        assert_identical(observed, stored_events(scan()[:4]), "events of the stream")

    @pytest.mark.parametrize("uid", ["0000-no-such-run", "", uid_of(count())[:8]])
    def test_no_run_but_the_one_of_a_full_uid_is_removed(self, store: S, uid: str) -> None:
        self.put(store, count())
        with pytest.raises(RunNotFound) as caught:
            store.remove(uid)
        assert uid in str(caught.value), "the message names what was asked"
        assert [run.uid for run in store.find()] == [uid_of(count())]

    def test_a_run_is_removed_once(self, store: S) -> None:
        self.put(store, scan(), count())
        store.remove(uid_of(scan()))
        with pytest.raises(RunNotFound):
            store.remove(uid_of(scan()))
        assert store.count() == 1

    @pytest.mark.parametrize("says", ["true", "open"])
    def test_statistics_go_with_their_run(self, store: S, says: Verdict) -> None:
        seen = with_statistics(store)
        if seen.statistics is None:
            return
        self.put(store, scan(), count())
        uid = uid_of(scan())
        seen.statistics.measure([uid, uid_of(count())])
        what = Recorded(uid, store.header(uid).version, "primary", "theta")
        assert isinstance(seen.statistics.get(what), Statistics)
        seen.remove(uid)
        assert seen.statistics.get(what) is None
        within = Data("det").between(-1e9, 1e9)
        assert isinstance(within, DataBetween)
        plan = seen.plan(Kept(within, says), Order.NEWEST)
        assert [run.uid for run in seen.find(plan)] == ([uid_of(count())] if says == "true" else [])
        seen.close()
