"""Results of a search: order, the first, values, DataFrames, words about how it is done."""

from __future__ import annotations

import math
import pickle
from collections.abc import Iterable, Iterator
from functools import cmp_to_key
from pathlib import Path
from typing import Any

import intake
import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from intake_bluesky.catalogs.run_catalog import BlueskyCatalog
from intake_bluesky.documents.model import Document, RunSummary
from intake_bluesky.errors import UnsupportedQuery
from intake_bluesky.query import (
    ALL,
    Data,
    Device,
    PartialUID,
    Query,
    ScanID,
    Start,
    Stop,
    any_of,
    from_json,
    to_json,
)
from intake_bluesky.query import Path as Place
from intake_bluesky.search.distinct import Facet, facets
from intake_bluesky.search.explain import Explanation
from intake_bluesky.search.ordering import Arrangement, Sorting, rank
from intake_bluesky.search.selection import Selection
from intake_bluesky.storage.contract import ALL_RUNS, Plan, RunStore
from intake_bluesky.storage.order import Order
from intake_bluesky.testing.memory import MemoryStore
from intake_bluesky.testing.runs import EXAMPLES
from intake_bluesky_jsonl import BlueskyJSONLCatalog

Run = list[tuple[str, Document]]


def run_of(
    uid: str, time: Any = 1.0, *, status: str | None = "success", stop: Any = None, extra: Any = None, **metadata: Any
) -> Run:
    start = {"uid": uid, **({} if time is None else {"time": time}), **metadata, **(extra or {})}
    ended = {"uid": f"{uid}-s", "run_start": uid, "exit_status": status, **(stop or {})}
    return [("start", start), *([] if status is None else [("stop", ended)])]


RUNS = [
    run_of("a", 1.0, scan_id=3, plan_name="scan", stop={"time": 9.0, "num_events": {"primary": 11}}),
    run_of("b", 2.0, scan_id=1, plan_name="count", sample={"name": "Ni"}),
    run_of("c", 3.0, scan_id=2, plan_name="scan", status="fail"),
    run_of("d", 3.0, scan_id=1, plan_name="scan", status=None),
    run_of("e", None, plan_name="count"),
]


class NotingStore(MemoryStore):
    """Notes what is found and opened; finds by uid as well."""

    def __init__(self, *args: Any) -> None:
        self.found: list[Query] = []
        self.opened = 0
        self.given = 0
        super().__init__(*args)

    def answers(self, leaf: Query) -> bool:
        return repr(leaf).startswith("Start('uid').is_in") or super().answers(leaf)

    def find(self, plan: Plan = ALL_RUNS, *, offset: int = 0, limit: int | None = None) -> Iterator[RunSummary]:
        self.found.append(plan.pushed)
        for run in super().find(plan, offset=offset, limit=limit):
            self.given += 1
            yield run

    def header(self, uid: str) -> Any:
        self.opened += 1
        return super().header(uid)


class Finding(MemoryStore):
    """Counts its searches."""

    finds = 0

    def find(self, plan: Plan = ALL_RUNS, *, offset: int = 0, limit: int | None = None) -> Iterator[RunSummary]:
        self.finds += 1
        return super().find(plan, offset=offset, limit=limit)


class ByNumber(MemoryStore):
    """Answers conditions on scan_id, exactly."""

    def answers(self, leaf: Query) -> bool:
        return getattr(leaf, "path", None) == Place("start", ("scan_id",))


class Unordered(RunStore):
    """Leaves all the work of a query to the core."""

    def __init__(self, inner: MemoryStore) -> None:
        self.inner = inner

    def find(self, plan: Plan = ALL_RUNS, *, offset: int = 0, limit: int | None = None) -> Iterator[RunSummary]:
        assert (plan.pushed, plan.ordered, offset, limit) == (ALL, False, 0, None)
        return iter([self.inner._summary(uid) for uid in self.inner._runs])

    def header(self, uid: str) -> Any:
        return self.inner.header(uid)

    def event_pages(self, uid: str, stream: str, **kwargs: Any) -> Any:
        return self.inner.event_pages(uid, stream, **kwargs)

    def documents(self, uid: str) -> Any:
        return self.inner.documents(uid)


@pytest.fixture
def store() -> NotingStore:
    return NotingStore(RUNS)


@pytest.fixture(params=["memory", "unordered", "files"])
def cat(request: pytest.FixtureRequest, tmp_path: Path) -> BlueskyCatalog:
    if request.param == "files":
        return files(tmp_path / "runs", RUNS)
    memory = MemoryStore(RUNS)
    return BlueskyCatalog(memory if request.param == "memory" else Unordered(memory), name="runs")


def files(folder: Path, runs: Iterable[Run]) -> BlueskyCatalog:
    folder.mkdir()
    found: BlueskyCatalog = BlueskyJSONLCatalog(str(folder), name="runs")
    for (_, start), *rest in runs:
        with found.store.insert(start) as insert:
            for name, doc in rest:
                insert.write(name, doc)
    return found.refresh()


class TestRank:
    def test_types_come_one_after_the_other(self) -> None:
        expected = [
            None, False, True, -math.inf, -1, 0.5, 2**53, 2**53 + 1, 2**70, math.inf, math.nan, "", "Z", "a", "ä", [],
            [None], [1], [1, 0], ["a"], {}, {"a": 1}, {"a": 2}, {"a": 2, "b": 0},
        ]  # fmt: skip
        assert list(map(repr, sorted([*expected[1::2], *expected[::2]], key=rank))) == list(map(repr, expected))

    @pytest.mark.parametrize(
        ("a", "b"), [(1, 1.0), (0.0, -0.0), ([1], (1.0,)), ({"a": 1, "b": 2}, {"b": 2.0, "a": 1}), (np.int64(1), 1)]
    )
    def test_equal_values_are_one(self, a: Any, b: Any) -> None:
        assert rank(a) == rank(b)
        assert hash(rank(a)) == hash(rank(b))

    @pytest.mark.parametrize(("a", "b"), [(1, True), (0, False), ("1", 1), (None, False), ([], {}), (2**53, 2**53 + 1)])
    def test_different_values_are_two(self, a: Any, b: Any) -> None:
        assert rank(a) != rank(b)

    def test_however_deep(self) -> None:
        deep: Any = 1
        for _ in range(10_000):
            deep = [deep]
        assert rank(deep) > rank([])
        assert rank(deep) == rank([deep])


class TestSort:
    @pytest.mark.filterwarnings("ignore::intake_bluesky.errors.UnknownKeyWarning")
    @pytest.mark.parametrize(
        ("keys", "expected"),
        [
            (("time",), "abcde"),
            (("-time",), "dcbae"),
            (("start.time",), "abcde"),
            (("scan_id",), "bdcae"),
            (("-scan_id",), "acdbe"),
            (("-start.time", "scan_id"), "dcbae"),
            (("-start.time", "-scan_id"), "cdbae"),
            (("time", "scan_id"), "abdce"),
            (("plan_name", "-scan_id"), "beacd"),
            (("-plan_name", "scan_id"), "dcabe"),
            (("stop.exit_status",), "cabed"),
            (("sample.name",), "bacde"),
            (("-sample.name",), "bdcae"),
            (("stop.time", "uid"), "abcde"),
            (("nowhere",), "abcde"),
            (("-nowhere",), "dcbae"),
            ((), "dcbae"),
        ],
    )
    def test_orders(self, cat: BlueskyCatalog, keys: tuple[str, ...], expected: str) -> None:
        arranged = cat.sort(*keys)
        assert "".join(arranged) == expected
        assert [run.uid for run in arranged.values()] == [uid for uid, _ in arranged.items()] == list(expected)
        assert len(arranged) == 5
        assert "".join(run.uid for run in arranged.arrangement.runs(offset=1, limit=3)) == expected[1:4]

    def test_places_count_in_that_order(self, cat: BlueskyCatalog) -> None:
        arranged = cat.sort("plan_name", "scan_id")  # b e d c a
        assert [arranged[-place].uid for place in (1, 2, 5)] == ["a", "c", "b"]
        assert list(arranged[:2]) == ["b", "e"]
        assert list(arranged[-2:]) == ["c", "a"]
        assert list(arranged[1::2]) == ["e", "c"]
        assert list(arranged[[-1, 2]]) == ["c", "a"]
        assert arranged[1].uid == "d", "a scan_id is the newest of it, whatever the order"
        assert arranged["b"].uid == "b"
        assert -5 in arranged
        assert -6 not in arranged
        with pytest.raises(IndexError, match="-6 was asked and there are 5 runs"):
            arranged[-6]

    def test_it_nests(self, cat: BlueskyCatalog) -> None:
        by_number = cat.sort("scan_id")
        assert list(by_number.search({"plan_name": "scan"})) == ["d", "c", "a"]
        assert list(by_number.search({"plan_name": "scan"}).sort("-scan_id")) == ["a", "c", "d"]
        assert list(cat.search({"plan_name": "scan"}).sort("scan_id").search(ScanID(1))) == ["d"]
        assert list(by_number.sort()) == list(cat)

    def test_nothing_is_read_until_it_is_used(self, store: NotingStore) -> None:
        arranged = BlueskyCatalog(store).sort("scan_id").search("Ni")
        assert repr(arranged) == "<BlueskyCatalog where text('Ni') by scan_id>"
        assert store.found == []
        assert list(arranged) == ["b"]
        assert store.opened == 0

    def test_a_sort_already_there_is_the_catalog(self, cat: BlueskyCatalog) -> None:
        assert cat.sort() is cat
        arranged = cat.sort("scan_id")
        assert arranged.sort("scan_id") is arranged
        assert arranged != cat
        assert arranged == cat.sort("scan_id")

    def test_by_time_no_more_runs_are_found_than_asked(self, store: NotingStore) -> None:
        first = next(iter(BlueskyCatalog(store).sort("-start.time", "scan_id").values()))
        assert first.uid == "d"
        assert store.given == 3, "those of one time, and the next"

    def test_other_keys_hold_no_documents(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("intake_bluesky.search.ordering.FETCHED", 10)
        alive = [0, 0]

        class Start(dict[str, Any]):
            def __init__(self, document: Document) -> None:
                super().__init__(document)
                alive[0] += 1
                alive[1] = max(alive)

            def __del__(self) -> None:
                alive[0] -= 1

        class Streaming(Unordered):
            ordered = True

            def answers(self, leaf: Query) -> bool:
                return True

            def find(self, plan: Plan = ALL_RUNS, *, offset: int = 0, limit: int | None = None) -> Iterator[RunSummary]:
                uids = self.inner._runs if plan.pushed == ALL else plan.pushed.values  # type: ignore[attr-defined]
                for uid in uids:
                    run = self.inner._summary(uid)
                    yield RunSummary(run.uid, run.time, run.scan_id, Start(run.start), run.stop)

        runs = [run_of(f"{n:03}", float(n), scan_id=n * 7 % 100) for n in range(100)]
        arrangement = Arrangement(Selection(Streaming(MemoryStore(runs))), Sorting.of("scan_id"))
        observed = [run.scan_id for run in arrangement.runs()]
        assert observed == list(range(100))
        assert alive[1] <= 23

    def test_a_store_that_does_not_find_by_uid_is_gone_through_once(self) -> None:
        store = Finding(run_of(f"{n:04}", float(n), scan_id=n * 7 % 2000) for n in range(2000))
        assert [run.scan_id for run in BlueskyCatalog(store).sort("scan_id").arrangement.runs()] == list(range(2000))
        assert store.finds == 1

    def test_keys_are_told_without_documents(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Of the first two, two documents are read."""
        cat = files(tmp_path / "runs", RUNS)
        assert cat.store.lookup([]) is not None
        assert cat.store.distinct(Place("start", ("plan_name",))) is not None
        read = []
        monkeypatch.setattr(type(cat.store), "_summary", lambda _, start, stop: read.append(start))
        assert list(cat.sort("plan_name", "-scan_id")) == list("beacd")
        assert list(cat.search({"plan_name": "scan"}).sort("stop.exit_status", "-time")) == list("cad")
        assert cat.sort("scan_id")[-1:].distinct("plan_name", counts=True) == {"plan_name": [("count", 1)]}
        assert not read
        monkeypatch.undo()
        summary = type(cat.store)._summary  # type: ignore[attr-defined]
        monkeypatch.setattr(type(cat.store), "_summary", lambda *given: read.append(given) or summary(*given))  # type: ignore[func-returns-value]
        assert [run.uid for run in cat.sort("scan_id").head(2).values()] == ["b", "d"]
        assert len(read) == 2

    def test_what_is_not_told_is_read(self, store: NotingStore) -> None:
        class Silent(NotingStore):
            def lookup(self, paths: Any, plan: Plan = ALL_RUNS) -> None:
                self.asked = [*getattr(self, "asked", []), (list(paths), plan.pushed, plan.order)]

        silent = Silent(RUNS)
        assert list(BlueskyCatalog(silent).sort("scan_id", "-time")) == list("dbcae")
        assert list(BlueskyCatalog(silent).search("Ni").sort("scan_id")) == ["b"]
        assert silent.asked == [([Place("start", ("scan_id",))], ALL, Order.NEWEST)]

    def test_runs_that_are_gone_meanwhile_are_left_out(
        self, store: NotingStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("intake_bluesky.search.ordering.FETCHED", 1)
        runs = BlueskyCatalog(store).sort("uid").arrangement.runs()
        assert next(runs).uid == "a"
        store.remove("b")
        assert [run.uid for run in runs] == ["c", "d", "e"]

    @pytest.mark.parametrize("keys", [("",), ("-",), ("a..b",), (5,), (None,), (["time"],)])
    def test_what_is_no_key(self, cat: BlueskyCatalog, keys: Any) -> None:
        with pytest.raises(UnsupportedQuery):
            cat.sort(*keys)

    @pytest.mark.parametrize("key", ["'; DROP TABLE files; --", "a' OR '1'='1", "$where", '"]', "x\0y", "half \ud800"])
    def test_a_key_is_a_key_whatever_it_says(self, tmp_path: Path, key: str) -> None:
        cat = files(tmp_path / "runs", [run_of("a", 1.0, extra={key: 2}), run_of("b", 2.0, extra={key: 1})])
        assert list(cat.sort(key)) == ["b", "a"]
        assert dict(cat.distinct(key, counts=True)[key]) == {1: 1, 2: 1}
        assert cat.to_dataframe([key])[key].tolist() == [1, 2]
        assert len(cat) == 2

    @pytest.mark.filterwarnings("ignore::intake_bluesky.errors.UnknownKeyWarning")
    @settings(max_examples=2 * settings().max_examples)
    @given(st.data())
    def test_any_values_sort_the_same_in_any_store(self, data: st.DataObject) -> None:
        values = st.one_of(
            st.none(), st.booleans(), st.integers(-2, 2), st.sampled_from([0.0, 1.0, 0.5, math.nan, math.inf]),
            st.sampled_from(["", "a", "b"]), st.lists(st.integers(0, 1), max_size=2), st.just({"k": 1}),
        )  # fmt: skip
        made = data.draw(
            st.lists(st.tuples(st.sampled_from([None, 1.0, 2.0]), st.none() | st.tuples(values)), max_size=8)
        )
        runs = [
            run_of(f"u{n}", time, **({} if held is None else {"x": held[0]})) for n, (time, held) in enumerate(made)
        ]
        keys = data.draw(st.lists(st.sampled_from(["x", "-x", "time", "-time"]), min_size=1, max_size=2))
        documents = {run[0][1]["uid"]: run[0][1] for run in runs}
        expected = sorted(documents, key=cmp_to_key(lambda a, b: compared(documents[a], documents[b], keys)))
        for store in (NotingStore(runs), MemoryStore(runs), Unordered(MemoryStore(runs))):
            assert list(BlueskyCatalog(store).sort(*keys)) == expected

    def test_yaml_and_pickle_keep_it(self, tmp_path: Path) -> None:
        cat = files(tmp_path / "runs", RUNS).search({"plan_name": "scan"}).sort("-scan_id", "uid")
        assert list(pickle.loads(pickle.dumps(cat))) == list(cat) == ["a", "c", "d"]
        cat.save(str(tmp_path / "view.yml"))
        again = intake.open_catalog(str(tmp_path / "view.yml"))["runs"]
        assert list(again) == ["a", "c", "d"]
        assert yaml.safe_load(cat.yaml())["sources"]["runs"]["args"]["sort"] == ["-scan_id", "uid"]
        assert list(again(name="other")) == ["a", "c", "d"]
        assert "sort" not in yaml.safe_load(cat.sort().yaml())["sources"]["runs"]["args"]

    def test_a_table_says_its_order(self, cat: BlueskyCatalog, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("intake_bluesky.catalogs.run_catalog.SHOWN", 2)
        text = cat.sort("scan_id")._repr_html_()
        assert text.index(">b</code>") < text.index(">d</code>")
        assert "the first 2 by scan_id of 5" in text
        assert "the 2 newest of 5" in cat._repr_html_()


def compared(a: Document, b: Document, keys: list[str]) -> int:
    """What `sort` promises, said once more: by each key, then by (time, uid) as the last key goes."""
    down = keys[-1].startswith("-")
    for text, decisive in [(key, True) for key in keys] + [("-time" if down else "time", False), ("uid", False)]:
        key, reverse = text.removeprefix("-"), text.startswith("-") if text != "uid" else down
        one, two = (doc.get(key) for doc in (a, b))
        lacks = [value is None or value != value for value in (one, two)]  # noqa: PLR0124  # NaN
        if lacks[0] != lacks[1]:
            return 1 if lacks[0] else -1
        if not lacks[0] and rank(one) != rank(two):
            return (-1 if rank(one) < rank(two) else 1) * (-1 if reverse else 1)
        assert decisive or key in ("time", "uid")
    return 0


class TestHead:
    def test_the_first_in_order(self, cat: BlueskyCatalog) -> None:
        assert list(cat.head(2)) == ["d", "c"]
        assert list(cat.sort("scan_id").head(3)) == ["b", "d", "c"]
        assert list(cat.head(0)) == []
        assert list(cat.head(np.int64(99))) == list(cat.head()) == list(cat)
        assert list(cat.head(3).search({"plan_name": "scan"}).sort("scan_id").head(1)) == ["d"]
        assert list(cat.head(3).head(2)) == ["d", "c"]

    def test_it_stays_as_it_was(self, store: NotingStore) -> None:
        first = BlueskyCatalog(store).head(2)
        store.put(run_of("z", 100.0))
        assert list(first) == ["d", "c"]

    @pytest.mark.parametrize("number", [-1, 1.5, "2", None, True])
    def test_what_is_no_number_of_runs(self, cat: BlueskyCatalog, number: Any) -> None:
        with pytest.raises(UnsupportedQuery, match="how many runs"):
            cat.head(number)


class TestDistinct:
    @pytest.mark.filterwarnings("ignore::intake_bluesky.errors.UnknownKeyWarning")
    def test_values(self, cat: BlueskyCatalog) -> None:
        assert cat.distinct("plan_name", "stop.exit_status") == {
            "plan_name": ["scan", "count"],
            "stop.exit_status": ["success", "fail"],
        }
        assert cat.distinct("nowhere") == {"nowhere": []}
        assert cat.distinct() == {}

    def test_counts(self, cat: BlueskyCatalog) -> None:
        assert cat.distinct("scan_id", counts=True)["scan_id"] == [Facet(1, 2), Facet(2, 1), Facet(3, 1)]
        assert cat.distinct("scan_id", counts=True, missing=True)["scan_id"][1:] == [(None, 1), (2, 1), (3, 1)]
        assert cat.search({"plan_name": "scan"}).distinct("scan_id", counts=True)["scan_id"] == [(1, 1), (2, 1), (3, 1)]
        assert dict(cat.distinct("stop.exit_status", counts=True, missing=True)["stop.exit_status"]) == {
            "success": 3, "fail": 1, None: 1,
        }  # fmt: skip

    def test_types_and_lists_are_kept_apart(self) -> None:
        values = [1, True, 1.0, "1", [1, 2], (1, 2), [2, 1], None, math.nan, math.nan, {"a": [1]}, {"a": (1,)}]
        cat = BlueskyCatalog(MemoryStore(run_of(str(n), float(n), x=value) for n, value in enumerate(values)))
        observed = cat.distinct("x", counts=True)["x"]
        assert [(repr(value), count) for value, count in observed] == [
            ("1.0", 2), ("nan", 2), ("[1, 2]", 2), ("{'a': [1]}", 2),
            ("None", 1), ("True", 1), ("'1'", 1), ("[2, 1]", 1),
        ]  # fmt: skip

    def test_a_store_that_can_is_asked(self) -> None:
        class Counting(Finding):
            asked: list[tuple[Place, Query]]

            def distinct(self, path: Place, plan: Plan = ALL_RUNS) -> list[tuple[Any, int]] | None:
                self.asked = [*getattr(self, "asked", []), (path, plan.pushed)]
                return [("scan", 2), ("count", 2), ("scan", 1)] if path.segments == ("plan_name",) else None

        store = Counting(RUNS)
        cat = BlueskyCatalog(store)
        assert cat.distinct("plan_name", counts=True)["plan_name"] == [("scan", 3), ("count", 2)]
        assert store.finds == 0
        assert cat.distinct("plan_name", "scan_id", missing=True)["scan_id"] == [1, None, 2, 3]
        assert cat.search(Start("scan_id") == 1).distinct("plan_name")["plan_name"] == ["count", "scan"]
        assert store.asked == [(Place("start", (name,)), ALL) for name in ("plan_name", "plan_name", "scan_id")]
        assert dict(facets(Selection(store), ["plan_name"], missing=True)["plan_name"]) == {"scan": 3, "count": 2}

    def test_no_run_is_opened(self, store: NotingStore) -> None:
        BlueskyCatalog(store).distinct("plan_name", "scan_id", "stop.exit_status", counts=True)
        assert len(store.found) == 1
        assert store.opened == 0


class TestDataFrame:
    def test_by_default(self, cat: BlueskyCatalog) -> None:
        observed = cat.to_dataframe()
        assert list(observed) == ["time", "scan_id", "plan_name", "exit_status", "num_events"]
        assert observed.index.name == "uid"
        assert list(observed.index) == list("dcbae")
        assert [str(dtype) for dtype in observed.dtypes] == [
            "datetime64[ns, UTC]",
            "Int64",
            "string",
            "string",
            "Int64",
        ]
        assert list(observed.to_dict("index")["a"].values()) == [
            pd.Timestamp(1, unit="s", tz="UTC"),
            3,
            "scan",
            "success",
            11,
        ]
        assert observed.loc["e", ["time", "scan_id"]].isna().all()

    def test_order_and_selection_are_the_catalogs(self, cat: BlueskyCatalog) -> None:
        observed = cat.search({"plan_name": "scan"}).sort("scan_id").to_dataframe(["scan_id"])
        assert observed["scan_id"].to_dict() == {"d": 1, "c": 2, "a": 3}
        assert observed["scan_id"].dtype == np.int64

    def test_names_of_ones_own(self, cat: BlueskyCatalog) -> None:
        observed = cat.to_dataframe({"status": "stop.exit_status", "id": "uid"})
        assert list(observed) == ["status", "id"]
        assert list(observed["id"]) == list(observed.index)

    @pytest.mark.parametrize(
        ("values", "dtype"),
        [
            ([1, 2], "int64"),
            ([1, None], "Int64"),
            ([1, ...], "Int64"),
            ([1, 2.5], "float64"),
            ([0.5, ...], "float64"),
            ([True, False], "bool"),
            ([True, None], "boolean"),
            (["a", "b"], "string"),
            (["half \ud800", ...], "string"),
            ([1, "a"], "object"),
            ([1, True], "object"),
            ([[1, 2], [3, 4]], "object"),
            ([{"a": 1}, None], "object"),
            ([2**63, 1], "object"),
            ([2**53 + 1, 0.5], "object"),
            ([..., None], "object"),
        ],
    )
    def test_values_stay_what_they_are(self, values: list[Any], dtype: str) -> None:
        held = [run_of(str(n), float(n), **({} if value is ... else {"x": value})) for n, value in enumerate(values)]
        observed = BlueskyCatalog(MemoryStore(held)).sort("time").to_dataframe(["x"])["x"]
        assert observed.dtype == dtype
        for value, expected in zip(observed, values, strict=True):
            assert pd.isna(value) is True if expected in (None, ...) else value == expected

    def test_odd_times_are_no_times(self) -> None:
        times = [1.7e9 + 0.25, "yesterday", 1e30, math.nan, True]
        cat = BlueskyCatalog(MemoryStore(run_of(str(n), time, stop={"time": time}) for n, time in enumerate(times)))
        observed = cat.to_dataframe(["time", "stop.time"])
        for column in observed:
            assert observed[column].count() == 1
            assert observed[column].dropna().iloc[0] == pd.Timestamp("2023-11-14T22:13:20.250Z")

    def test_no_runs(self) -> None:
        observed = BlueskyCatalog(MemoryStore()).to_dataframe()
        assert observed.shape == (0, 5)
        assert str(observed["time"].dtype) == "datetime64[ns, UTC]"

    def test_no_run_is_opened(self, store: NotingStore) -> None:
        assert len(BlueskyCatalog(store).to_dataframe()) == 5
        assert len(store.found) == 1
        assert store.opened == 0

    @pytest.mark.parametrize("columns", ["scan_id", 5, [5], [""], {"a": None}])
    def test_what_are_no_columns(self, cat: BlueskyCatalog, columns: Any) -> None:
        with pytest.raises(UnsupportedQuery):
            cat.to_dataframe(columns)


class TestExplain:
    def test_words_and_fields(self) -> None:
        cat = BlueskyCatalog(ByNumber(RUNS))
        plan = cat.search((Start("scan_id") > 1) & Stop("exit_status").regex("^s")).explain(run=True)
        assert isinstance(plan, Explanation)
        assert plan.pushed == (Start("scan_id") > 1)
        assert plan.residual == Stop("exit_status").regex("^s")
        assert plan.ordered
        assert plan.candidates == 2
        assert str(plan).splitlines() == [
            "The store finds: runs where Start('scan_id') > 1 (2)",
            "Finished run by run: Stop('exit_status').regex('^s')",
            "  because the store does not answer this",
            "Order: the newest first, by the store",
        ]
        assert repr(plan) == str(plan)

    def test_nothing_left(self, tmp_path: Path) -> None:
        plan = files(tmp_path / "runs", RUNS).explain()
        assert (plan.pushed, plan.residual, plan.candidates) == (ALL, ALL, None)
        assert str(plan).splitlines() == [
            "The store finds: all runs",
            "Nothing is left to finish run by run.",
            "Order: the newest first, by the store",
        ]

    def test_reasons(self) -> None:
        plan = (
            BlueskyCatalog(MemoryStore(RUNS))
            .search((PartialUID("a") | (Start("scan_id") == 1)) & ~(Start("x") == 1))
            .explain()
        )
        assert [reason for _, reason in plan.reasons] == [
            "an | goes to the store only whole, and it does not answer Start('scan_id') == 1",
            "the store does not answer this",
        ]
        assert plan.candidates is None

    def test_what_statistics_decide_is_no_matter_of_alternatives(self, tmp_path: Path) -> None:
        cat = files(tmp_path / "runs", RUNS).search((Start("x") == 1) | (Data("theta").max() > 5))
        ((_, reason),) = cat.explain().reasons
        assert reason.startswith("values are read where the statistics that the store keeps do not decide")

    def test_data_are_in_the_runs(self) -> None:
        cat = BlueskyCatalog(MemoryStore(RUNS)).search((Data("theta").max() > 5) & Device("fccd").exists())
        assert {reason for _, reason in cat.explain().reasons} == {
            "the store does not answer this: runs are opened for their descriptors and data",
            "the store does not answer this: runs are opened for their descriptors",
        }

    def test_mongo_looks_into_lists(self) -> None:
        cat = BlueskyCatalog(ByNumber(RUNS))
        for query, advice in (({"scan_id": 5}, "=="), ({"scan_id": {"$ne": 5}}, "!=")):
            (reason,) = [reason for _, reason in cat.search(query).explain().reasons]
            assert reason == f"MongoDB's form looks into lists too; the store answers Start('scan_id') {advice} 5"

    @pytest.mark.parametrize(
        ("keys", "expected"),
        [
            ((), "the newest first, by the store"),
            (("time",), "by time, by the store"),
            (("-time", "uid"), "by -time, uid, time by the store"),
            (("uid",), "by uid, here: uids and keys of the runs found are held, no documents"),
        ],
    )
    def test_order(self, keys: tuple[str, ...], expected: str) -> None:
        assert BlueskyCatalog(MemoryStore(RUNS)).sort(*keys).explain().order == expected

    def test_order_of_a_store_without_one(self) -> None:
        plan = BlueskyCatalog(Unordered(MemoryStore(RUNS))).explain(run=True)
        assert isinstance(plan, Explanation)
        assert plan.order == "the newest first, here, for the store does not order its runs"
        assert plan.candidates == 5


class TestListing:
    """How often runs are put to a query that the store does not answer."""

    QUERY = Start("plan_name") == "scan"

    def test_a_list_puts_each_run_to_the_query_once(self, store: NotingStore) -> None:
        cat = BlueskyCatalog(store).search(self.QUERY)
        for make in (list, tuple, sorted):
            store.given = 0
            assert sorted(make(cat)) == ["a", "c", "d"]
            assert store.given == len(RUNS)

    def test_a_count_alone_and_a_loop_alone(self, store: NotingStore) -> None:
        cat = BlueskyCatalog(store).search(self.QUERY)
        assert len(cat) == 3
        assert [uid for uid in cat] == ["d", "c", "a"]  # noqa: C416  # list() is another case
        assert store.given == 2 * len(RUNS)

    def test_an_iterator_begun_goes_on_as_it_was(self, store: NotingStore) -> None:
        cat = BlueskyCatalog(store).search(self.QUERY)
        begun = iter(cat)
        assert next(begun) == "d"
        assert len(cat) == 3
        assert list(begun) == ["c", "a"]

    def test_an_iterator_forgotten_is_not_sought(self, store: NotingStore) -> None:
        cat = BlueskyCatalog(store).search(self.QUERY)
        iter(cat)
        store.put(run_of("z", 9.0, plan_name="scan"))
        assert len(cat) == 4
        assert list(cat) == ["z", "d", "c", "a"]

    def test_a_loop_holds_no_runs(self, store: NotingStore) -> None:
        assert next(iter(BlueskyCatalog(store).search(self.QUERY))) == "d"
        assert store.given == 1

    def test_a_store_that_counts_counts(self, store: NotingStore) -> None:
        waiting = iter(BlueskyCatalog(store))
        assert store.found == []
        assert len(list(waiting)) == 5


class TestDataOfRuns:
    """Searches over data are ordered, counted and tabulated as others are."""

    def test_files_are_found_where_the_catalog_says(self, tmp_path: Path) -> None:
        store = MemoryStore([EXAMPLES[name](tmp_path / "old") for name in ("npy_seq", "scan", "count")])
        (tmp_path / "old").rename(tmp_path / "new")
        cat = BlueskyCatalog(store, root_map={str(tmp_path / "old"): str(tmp_path / "new")})
        found = cat.search(Data("image").count() > 0).sort("scan_id")
        assert [run.scan_id for run in found.values()] == [67]
        assert found.distinct("scan_id") == {"scan_id": [67]}
        assert found.to_dataframe(["scan_id"])["scan_id"].tolist() == [67]
        assert list(cat.search(Data("image").max() < 0)) == []

    def test_they_say_what_cannot_be_read(self, tmp_path: Path) -> None:
        cat = BlueskyCatalog(MemoryStore([EXAMPLES["npy_seq"](tmp_path / "old")]))
        (tmp_path / "old").rename(tmp_path / "new")
        with pytest.warns(RuntimeWarning, match="counts as no match"):
            assert list(cat.search(Data("image").max() < 0).sort("scan_id")) == []


class TestSavedViews:
    @pytest.mark.parametrize(
        "query", [{"plan_name": "scan"}, yaml.safe_load(to_json(Start("plan_name") == "scan")), "scan"]
    )
    def test_a_yaml_file_narrows(self, tmp_path: Path, query: Any) -> None:
        files(tmp_path / "runs", RUNS)
        args = {"paths": "{{ CATALOG_DIR }}/runs", "query": query, "sort": "scan_id"}
        source = {"driver": "bluesky-jsonl-catalog", "args": args}
        (tmp_path / "views.yml").write_text(yaml.safe_dump({"sources": {"scans": source}}))
        scans = intake.open_catalog(str(tmp_path / "views.yml")).scans
        assert list(scans) == ["d", "c", "a"]
        assert list(scans.search({"stop.exit_status": "fail"})) == ["c"]
        assert "b" not in scans

    def test_a_search_saved_is_one(self, tmp_path: Path) -> None:
        query = (Start("scan_id") > 1) & ~Stop("exit_status").is_in(["fail", "abort"])
        view = files(tmp_path / "runs", RUNS).search(query).head(1)
        view.save(str(tmp_path / "view.yml"))
        again = intake.open_catalog(str(tmp_path / "view.yml")).runs
        assert again.query == view.query == from_json(to_json(view.query))
        assert list(again) == ["a"]

    @pytest.mark.parametrize("sort", ["", ["a..b"], 5, [None]])
    def test_a_sort_that_is_none(self, tmp_path: Path, sort: Any) -> None:
        with pytest.raises(UnsupportedQuery):
            BlueskyCatalog(MemoryStore(RUNS), sort=sort)


@pytest.mark.filterwarnings("ignore::intake_bluesky.errors.UnknownKeyWarning")
@pytest.mark.parametrize("number", [100, 3000])
def test_queries_of_thousands_of_conditions(tmp_path: Path, number: int) -> None:
    """What is more than a store takes is finished run by run."""
    cat = files(tmp_path / "runs", [run_of("a", 1.0, k99=99, x="Ni"), run_of("b", 2.0, k98=0), run_of("c", 3.0, k1=1)])
    some = any_of(Start(f"k{n}") == n for n in range(number))
    assert list(cat.search(some)) == ["c", "a"]
    assert list(cat.search(~some & Start("uid").exists()).sort("uid")) == ["b"]
    assert len(cat.search(some & Start("x").regex("N[i]"))) == 1
    assert (cat.search(some).explain().residual == ALL) == (number == 100)
    nested = Start("k1") == 1
    for n in range(20):
        nested = Start("uid").exists() & (Start(f"k{n}").exists() | ~(Start("x").is_nan() & nested))
    assert len(cat.search(nested)) + len(cat.search(~nested)) == 3
