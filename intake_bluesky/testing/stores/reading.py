"""Finding runs and describing them."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest

from intake_bluesky.documents.model import Document, RunSummary, StreamAsset, to_plain
from intake_bluesky.errors import RunNotFound, StreamNotFound
from intake_bluesky.query import ALL, FullText, PartialUID, Path, Query, Start, Stop, TimeRange, matches
from intake_bluesky.query.paths import MISSING, lookup
from intake_bluesky.storage.contract import Plan, RunStore
from intake_bluesky.storage.order import Order
from intake_bluesky.testing.compose import EPOCH, RunComposer
from intake_bluesky.testing.differences import assert_documents, assert_identical
from intake_bluesky.testing.examples import Run
from intake_bluesky.testing.expected import stored_datums, stored_events
from intake_bluesky.testing.plain_runs import count, rewound, scan
from intake_bluesky.testing.stores.hooks import Runs, S, StoreHooks, of_each_example

__all__ = ["StoreReadingTests"]

TIMES = (5.0, 1.0, None, 3.0, 3.0, -2.5, None, 4.25, 3.0, None, 3.0, 3.0, 3.0)  # of one time, so that uids decide

QUERIES: tuple[Query, ...] = (
    ALL,
    ~ALL,
    Start("plan_name") == "scan",
    Start("plan_name") != "scan",
    Stop("exit_status") == "fail",
    ~(Stop("exit_status") == "success"),
    Stop("exit_status").exists(),
    (Start("plan_name") == "scan") & (Start("scan_id") > 2),
    (Start("scan_id") <= 2) | (Stop("exit_status") == "fail"),
    ~((Start("scan_id") == 1) | ~(Start("plan_name") == "count")),
    Start("sample.name") == "Ni foil",
    Start("sample.temperature").regex("29"),
    Start("plan_name").regex("^s.*n$"),
    Start("detectors").contains("det"),
    FullText("foil ni"),
    TimeRange(since=EPOCH + 50),
    TimeRange(until=EPOCH + 50) & (Start("scan_id") > 1),
    PartialUID(rewound()[0][1]["uid"][:7], scan()[0][1]["uid"]),
)

KEYS = (
    "plan_name",
    "scan_id",
    "sample.name",
    "detectors",
    "sample",
    "stop.num_events.primary",
    "stop.exit_status",
    "x",
)


def documents_of(run: Run, *names: str) -> list[Document]:
    """Pick the documents of these names out of a run."""
    return [doc for name, doc in run if name in names]


def uid_of(run: Run) -> str:
    """Give the uid of a run."""
    return str(run[0][1]["uid"])


def _summary(run: Run) -> RunSummary:
    stops = documents_of(run, "stop")
    return RunSummary.of(to_plain(run[0][1]), to_plain(stops[0]) if stops else None)


def _timed_runs() -> list[Run]:
    runs = []
    for number, time in enumerate(TIMES):
        run = RunComposer(f"timed {number}", scan_id=number, plan_name="timed")
        run.stop()
        if time is None:
            del run.documents[0][1]["time"]
        else:
            run.documents[0][1]["time"] = time
        runs.append(run.documents)
    return runs


def _in_order(runs: list[Run], order: Order) -> list[str]:
    starts = [run[0][1] for run in runs]
    newest = order is Order.NEWEST
    timed = sorted((s["time"], s["uid"]) for s in starts if "time" in s)
    timeless = sorted(s["uid"] for s in starts if "time" not in s)
    return [uid for _, uid in timed[:: -1 if newest else 1]] + timeless[:: -1 if newest else 1]


def _search(store: RunStore, query: Query, order: Order) -> list[RunSummary]:
    plan = store.plan(query, order)
    return [run for run in store.find(plan) if matches(plan.residual, run)]


def _pairs(asset: StreamAsset) -> list[tuple[int, int]]:
    return [pair for s0, s1, i0, i1 in asset.spans for pair in zip(range(s0, s1), range(i0, i1), strict=False)]


class StoreReadingTests(StoreHooks[S]):
    """`find`, `plan`, `header`, `documents` and `datum_pages`, also of runs and streams that do not exist."""

    def test_empty_store_has_no_runs(self, store: S) -> None:
        assert list(store.find()) == []
        assert list(store.problems()) == []

    def test_find_yields_by_time_and_uid(self, store: S) -> None:
        runs = _timed_runs()
        self.put(store, *runs)
        for order, query in product(Order, (ALL, Start("plan_name") == "timed")):  # which may go by another index
            plan = store.plan(query, order)
            observed = [run.uid for run in store.find(plan)]
            expected = _in_order(runs, order)
            # A store without an order of its own may yield as it likes: it is sorted above it.
            if not plan.ordered:
                observed, expected = sorted(observed), sorted(expected)
            assert observed == expected, f"find() has to yield by (time, uid), runs without a time last: {order}"

    def test_find_takes_offset_and_limit(self, store: S) -> None:
        self.put(store, *_timed_runs())
        for order in Order:
            plan = store.plan(ALL, order)
            whole = [run.uid for run in store.find(plan)]
            for offset, limit in product((0, 1, 3, 8, 13, 20), (None, 0, 1, 4, 30)):
                observed = [run.uid for run in store.find(plan, offset=offset, limit=limit)]
                expected = whole[offset:][:limit]
                assert observed == expected, f"find(offset={offset}, limit={limit}) of {whole}"

    @pytest.mark.parametrize("query", QUERIES, ids=repr)
    def test_pushed_and_residual_make_the_query(self, stored: S, examples: Runs, query: Query) -> None:
        views = [_summary(run) for run in examples.values()]
        for order in Order:
            observed = {run.uid for run in _search(stored, query, order)}
            expected = {view.uid for view in views if matches(query, view)}
            assert observed == expected, f"{query!r} was planned as {stored.plan(query, order)}"

    @pytest.mark.parametrize("query", QUERIES, ids=repr)
    def test_count_agrees_with_find(self, stored: S, query: Query) -> None:
        plan = stored.plan(query, Order.NEWEST)
        assert stored.count(plan) == len(list(stored.find(plan)))

    @pytest.mark.parametrize("key", KEYS)
    @pytest.mark.parametrize("query", [ALL, Start("plan_name") == "scan"], ids=repr)
    def test_values_agree_with_find(self, stored: S, query: Query, key: str) -> None:
        path, plan = Path.parse(key), stored.plan(query, Order.OLDEST)
        runs = list(stored.find(plan))
        documents = (run.start if path.document == "start" else run.stop for run in runs)
        values = [next(lookup(document or {}, path), MISSING) for document in documents]
        counts = stored.distinct(path, plan)
        # None, here and of `lookup`, is the answer of a store that leaves the question to the core.
        observed = None if counts is None else sorted(repr(v) for v, n in counts for _ in range(n))
        assert observed in (None, sorted(repr(value) for value in values if value is not MISSING))
        found = stored.lookup([path], plan)
        expected = [(run.uid, run.time, (value,)) for run, value in zip(runs, values, strict=True)]
        assert found is None or list(found) == expected

    def test_uids_and_times_agree_with_find(self, stored: S) -> None:
        for order in Order:
            plan = stored.plan(ALL, order)
            found = stored.lookup([], plan)
            assert found is None or list(found) == [(run.uid, run.time, ()) for run in stored.find(plan)]

    def test_a_plan_by_hand_is_as_good(self, stored: S) -> None:
        made = stored.plan(Start("plan_name") == "scan", Order.OLDEST)
        by_hand = Plan(made.pushed, ALL, made.ordered, Order.OLDEST)
        assert [run.uid for run in stored.find(by_hand)] == [run.uid for run in stored.find(made)]
        assert stored.count(by_hand) == stored.count(made)

    def test_summaries(self, stored: S, examples: Runs) -> None:
        found = {run.uid: run for run in stored.find()}
        assert found.keys() == {uid_of(run) for run in examples.values()}
        for name, example in examples.items():
            observed, expected = found[uid_of(example)], _summary(example)
            assert (observed.time, observed.scan_id) == (expected.time, expected.scan_id), name
            assert_identical(observed.start, expected.start, f"summary of {name}, start")
            assert_identical(observed.stop, expected.stop, f"summary of {name}, stop")

    @of_each_example
    def test_header_documents(self, stored: S, example: Run) -> None:
        header = stored.header(uid_of(example))
        stops = documents_of(example, "stop")
        assert header.uid == uid_of(example)
        assert_identical(header.start, example[0][1], "start")
        assert_identical(header.stop, stops[0] if stops else None, "stop")
        assert_identical(header.descriptors, documents_of(example, "descriptor"), "descriptors")
        assert_identical(header.resources, documents_of(example, "resource"), "resources")

    @of_each_example
    def test_header_streams(self, stored: S, example: Run) -> None:
        streams = stored.header(uid_of(example)).streams
        expected = stored_events(example)
        assert list(streams) == list(expected), "streams come in the order of their first descriptors"
        for name, layout in streams.items():
            assert layout.name == name
            assert layout.events == len(expected[name]), f"stored events of {name}, repeats included"
            assert sum(layout.pages) == layout.events, f"pages of {name} sum to its events"
            descriptors = [d for d in documents_of(example, "descriptor") if (d.get("name") or "primary") == name]
            assert_identical(layout.descriptors, descriptors, f"descriptors of {name}")

    @of_each_example
    def test_header_stream_assets(self, stored: S, example: Run) -> None:
        observed = stored.header(uid_of(example)).stream_assets
        datums = documents_of(example, "stream_datum")
        resources = [
            doc
            for doc in documents_of(example, "stream_resource")
            if any(datum["stream_resource"] == doc["uid"] for datum in datums)
        ]
        assert [asset.resource["uid"] for asset in observed] == [doc["uid"] for doc in resources]
        for asset, doc in zip(observed, resources, strict=True):
            assert asset.data_key == doc["data_key"]
            assert_identical({key: asset.resource[key] for key in doc}, doc, f"stream_resource {doc['uid']}")
            assert {"mimetype", "uri", "parameters"} <= set(asset.resource), "brought to today's form"
            expected = [
                pair
                for datum in datums
                if datum["stream_resource"] == doc["uid"]
                for pair in zip(_range(datum["seq_nums"]), _range(datum["indices"]), strict=False)
            ]
            assert _pairs(asset) == expected, "(seq_num, index) pairs of the merged spans"

    @of_each_example
    def test_documents(self, stored: S, example: Run) -> None:
        observed = list(stored.documents(uid_of(example)))
        if not stored.exact_documents:
            assert observed[0][0] == "start"
            return
        assert_documents(observed, example)

    @of_each_example
    def test_documents_hold_the_events(self, stored: S, example: Run) -> None:
        observed = stored_events(stored.documents(uid_of(example)))
        assert_identical(observed, stored_events(example), "events of the stream")

    @of_each_example
    def test_datum_pages(self, stored: S, example: Run) -> None:
        for resource, expected in stored_datums(example).items():
            observed: list[tuple[str, dict[str, Any]]] = []
            for page in stored.datum_pages(uid_of(example), resource):
                assert page.resource == resource
                kwargs = page.datum_kwargs
                rows = [{key: kwargs[key][row] for key in kwargs} for row in range(len(page))]
                observed += zip(page.datum_id, rows, strict=True)
            assert_identical(observed, expected, f"datums of {resource}")

    @pytest.mark.parametrize("uid", ["0000-no-such-run", "", count()[0][1]["uid"][:8]])
    def test_unknown_run(self, store: S, uid: str) -> None:
        self.put(store, count())
        with pytest.raises(RunNotFound) as caught:
            store.header(uid)
        assert uid in str(caught.value), "the message names what was asked"
        with pytest.raises(RunNotFound):
            list(store.documents(uid))
        with pytest.raises(RunNotFound):
            list(store.event_pages(uid, "primary"))

    def test_unknown_stream(self, store: S) -> None:
        self.put(store, scan())
        with pytest.raises(StreamNotFound) as caught:
            list(store.event_pages(uid_of(scan()), "no such stream"))
        assert "no such stream" in str(caught.value), "the message names what was asked"
        assert "baseline" in str(caught.value), "the message names what there is"


def _range(doc: Document) -> range:
    return range(doc["start"], doc["stop"])
