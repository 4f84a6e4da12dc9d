"""Finding runs and describing them."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest

from intake_bluesky.documents.model import Document, RunSummary, StreamAsset, identical, to_plain
from intake_bluesky.errors import RunNotFound, StreamNotFound
from intake_bluesky.query import ALL, FullText, PartialUID, Path, Query, Start, Stop, TimeRange, matches
from intake_bluesky.query.paths import MISSING, lookup
from intake_bluesky.storage.contract import Plan, RunStore
from intake_bluesky.storage.order import Order
from intake_bluesky.testing.compose import EPOCH, RunComposer
from intake_bluesky.testing.examples import EXAMPLES, Run
from intake_bluesky.testing.expected import stored_datums, stored_events
from intake_bluesky.testing.plain_runs import count, failed, rewound, scan, unfinished
from intake_bluesky.testing.stores.hooks import S, StoreHooks

__all__ = ["StoreReadingTests"]

TIMES = (5.0, 1.0, None, 3.0, 3.0, -2.5, None, 4.25)

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


def _timed_runs() -> list[Run]:
    runs = []
    for number, time in enumerate(TIMES):
        run = RunComposer(f"timed {number}", scan_id=number)
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
    """`find`, `plan`, `header`, `documents` and `datum_pages`, and asking for what is not there."""

    def test_empty_store_has_no_runs(self, store: S) -> None:
        assert list(store.find()) == []
        assert list(store.problems()) == []

    @pytest.mark.parametrize("order", list(Order))
    def test_find_yields_by_time_and_uid(self, store: S, order: Order) -> None:
        runs = _timed_runs()
        self.put(store, *runs)
        observed = [run.uid for run in store.find(store.plan(ALL, order))]
        expected = _in_order(runs, order)
        if not store.plan(ALL, order).ordered:
            observed, expected = sorted(observed), sorted(expected)
        assert observed == expected, "find() has to yield by (time, uid), runs without a time last"

    @pytest.mark.parametrize("order", list(Order))
    def test_find_takes_offset_and_limit(self, store: S, order: Order) -> None:
        self.put(store, *_timed_runs())
        whole = [run.uid for run in store.find(store.plan(ALL, order))]
        for offset, limit in product((0, 1, 3, 8, 20), (None, 0, 1, 4, 30)):
            observed = [run.uid for run in store.find(store.plan(ALL, order), offset=offset, limit=limit)]
            expected = whole[offset:][:limit]
            assert observed == expected, f"find(offset={offset}, limit={limit}) of {whole}"

    @pytest.mark.parametrize("query", QUERIES, ids=repr)
    def test_pushed_and_residual_make_the_query(self, store: S, query: Query) -> None:
        runs = [count(), scan(), rewound(), failed(), unfinished()]
        self.put(store, *runs)
        views = [RunSummary.of(run[0][1], next(iter(documents_of(run, "stop")), None)) for run in runs]
        for order in Order:
            observed = {run.uid for run in _search(store, query, order)}
            expected = {view.uid for view in views if matches(query, view)}
            assert observed == expected, f"{query!r} was planned as {store.plan(query, order)}"

    @pytest.mark.parametrize("query", QUERIES, ids=repr)
    def test_count_agrees_with_find(self, store: S, query: Query) -> None:
        self.put(store, count(), scan(), rewound(), failed(), unfinished())
        plan = store.plan(query, Order.NEWEST)
        assert store.count(plan) == len(list(store.find(plan)))

    @pytest.mark.parametrize("key", KEYS)
    @pytest.mark.parametrize("query", [ALL, Start("plan_name") == "scan"], ids=repr)
    def test_values_agree_with_find(self, store: S, query: Query, key: str) -> None:
        self.put(store, count(), scan(), rewound(), failed(), unfinished())
        path, plan = Path.parse(key), store.plan(query, Order.OLDEST)
        runs = list(store.find(plan))
        documents = (run.start if path.document == "start" else run.stop for run in runs)
        values = [next(lookup(document or {}, path), MISSING) for document in documents]
        counts = store.distinct(path, plan)
        observed = None if counts is None else sorted(repr(v) for v, n in counts for _ in range(n))
        assert observed in (None, sorted(repr(value) for value in values if value is not MISSING))
        told = store.lookup([path], plan)
        expected = [(run.uid, run.time, (value,)) for run, value in zip(runs, values, strict=True)]
        assert told is None or list(told) == expected

    def test_a_plan_by_hand_is_as_good(self, store: S) -> None:
        self.put(store, count(), scan(), rewound())
        made = store.plan(Start("plan_name") == "scan", Order.OLDEST)
        by_hand = Plan(made.pushed, ALL, made.ordered, Order.OLDEST)
        assert [run.uid for run in store.find(by_hand)] == [run.uid for run in store.find(made)]
        assert store.count(by_hand) == store.count(made)

    @pytest.mark.parametrize("order", list(Order))
    def test_uids_and_times_agree_with_find(self, store: S, order: Order) -> None:
        self.put(store, count(), scan(), rewound(), failed(), unfinished())
        plan = store.plan(ALL, order)
        found = store.lookup([], plan)
        assert found is None or list(found) == [(run.uid, run.time, ()) for run in store.find(plan)]

    def test_summary(self, stored: S, example: Run) -> None:
        start, stops = example[0][1], documents_of(example, "stop")
        [observed] = stored.find()
        expected = RunSummary.of(to_plain(start), to_plain(stops[0]) if stops else None)
        assert (observed.uid, observed.time, observed.scan_id) == (
            expected.uid,
            expected.time,
            expected.scan_id,
        )
        assert identical(observed.start, expected.start)
        assert identical(observed.stop, expected.stop)

    def test_header_documents(self, stored: S, example: Run) -> None:
        header = stored.header(uid_of(example))
        stops = documents_of(example, "stop")
        assert header.uid == uid_of(example)
        assert identical(header.start, example[0][1])
        assert identical(header.stop, stops[0] if stops else None)
        assert identical(header.descriptors, documents_of(example, "descriptor"))
        assert identical(header.resources, documents_of(example, "resource"))

    def test_header_streams(self, stored: S, example: Run) -> None:
        streams = stored.header(uid_of(example)).streams
        expected = stored_events(example)
        assert list(streams) == list(expected), "streams come in the order of their first descriptors"
        for name, layout in streams.items():
            assert layout.name == name
            assert layout.events == len(expected[name]), f"stored events of {name}, repeats included"
            assert sum(layout.pages) == layout.events, f"pages of {name} sum to its events"
            descriptors = documents_of(example, "descriptor")
            assert identical(layout.descriptors, [d for d in descriptors if (d.get("name") or "primary") == name])

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
            assert identical({key: asset.resource[key] for key in doc}, doc)
            assert {"mimetype", "uri", "parameters"} <= set(asset.resource), "brought to today's form"
            expected = [
                pair
                for datum in datums
                if datum["stream_resource"] == doc["uid"]
                for pair in zip(_range(datum["seq_nums"]), _range(datum["indices"]), strict=False)
            ]
            assert _pairs(asset) == expected, "(seq_num, index) pairs of the merged spans"

    def test_documents(self, stored: S, example: Run) -> None:
        observed = list(stored.documents(uid_of(example)))
        if not stored.exact_documents:
            assert observed[0][0] == "start"
            return
        assert [name for name, _ in observed] == [name for name, _ in example]
        for place, ((name, doc), (_, expected)) in enumerate(zip(observed, example, strict=True)):
            assert identical(doc, expected), f"document {place}, a {name}"

    def test_documents_hold_the_events(self, stored: S, example: Run) -> None:
        observed = stored_events(stored.documents(uid_of(example)))
        assert identical(observed, stored_events(example))

    def test_datum_pages(self, stored: S, example: Run) -> None:
        for resource, expected in stored_datums(example).items():
            observed: list[tuple[str, dict[str, Any]]] = []
            for page in stored.datum_pages(uid_of(example), resource):
                assert page.resource == resource
                kwargs = page.datum_kwargs
                rows = [{key: kwargs[key][row] for key in kwargs} for row in range(len(page))]
                observed += zip(page.datum_id, rows, strict=True)
            assert identical(observed, expected)

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

    def test_all_examples_live_together(self, store: S, tmp_path: Any) -> None:
        runs = [make(tmp_path / "assets") for make in EXAMPLES.values()]
        self.put(store, *runs)
        assert {run.uid for run in store.find()} == {uid_of(run) for run in runs}
        for run in runs:
            assert identical(store.header(uid_of(run)).start, run[0][1])


def _range(doc: Document) -> range:
    return range(doc["start"], doc["stop"])
