"""Keys that no run has, told where a search finds nothing."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from intake_bluesky import BlueskyCatalog, Config, Data, FullText, Start, Stop, open_catalog
from intake_bluesky.apps.cli import main
from intake_bluesky.errors import (
    EmptyCatalogWarning,
    QuerySyntaxError,
    StoreUnavailable,
    UnknownKeyWarning,
    UnsupportedQuery,
)
from intake_bluesky.query import Query
from intake_bluesky.search.unknown_keys import SAMPLE
from intake_bluesky.storage.contract import ALL_RUNS, Plan
from intake_bluesky.testing import EXAMPLES, MemoryStore, RunComposer
from intake_bluesky_jsonl import BlueskyJSONLCatalog
from intake_bluesky_sql import BlueskySQLCatalog

Runs = list[list[tuple[str, dict[str, Any]]]]


def in_memory(runs: Runs, _: Path) -> BlueskyCatalog:
    return BlueskyCatalog(MemoryStore(runs))


def in_files(runs: Runs, folder: Path) -> BlueskyCatalog:
    return written(BlueskyJSONLCatalog(folder / "runs"), runs)


def in_sqlite(runs: Runs, folder: Path) -> BlueskyCatalog:
    return written(BlueskySQLCatalog(folder / "runs.db"), runs)


def written(cat: BlueskyCatalog, runs: Runs) -> BlueskyCatalog:
    with cat.writer() as write:
        for run in runs:
            for name, doc in run:
                write(name, doc)
    return cat


@pytest.fixture(params=[in_memory, in_files, in_sqlite])
def cat(request: pytest.FixtureRequest, tmp_path: Path) -> BlueskyCatalog:
    make: Callable[[Runs, Path], BlueskyCatalog] = request.param
    return make([EXAMPLES[name](tmp_path) for name in ("count", "scan", "failed")], tmp_path)


def told(look: Callable[[], Any], category: type[Warning] = UnknownKeyWarning) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        look()
    assert all(one.category is category and one.filename == __file__ for one in caught)
    return [str(one.message) for one in caught]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"exit_status": "fail"}, "no run has the key 'exit_status' in its run start: did you mean stop.exit_status?"),
        ({"plan_nam": "scan"}, "no run has the key 'plan_nam' in its run start: did you mean plan_name?"),
        ({"status": "fail"}, "no run has the key 'status' in its run start: did you mean stop.exit_status?"),
        ({"stop.plan_name": "scan"}, "no run has the key 'stop.plan_name' in its run stop: did you mean plan_name?"),
        (Start("sample.nam") == "Ni", "no run has the key 'sample.nam' in its run start: did you mean sample.name"),
        ("scan_idd > 5", "no run has the key 'scan_idd' in its run start: did you mean scan_id?"),
        ("zzz exists", "no run has the key 'zzz' in its run start, nor one that is spelled alike"),
        (Start("theta") == 5, "no run has the key 'theta' in its run start: did you mean Data('theta')"),
        (Data("thta").max() > 5, "no run recorded 'thta': did you mean Data('theta')"),
        ("nosuch plan_name", "words were searched for, and 'plan_name' is a key of runs"),
    ],
)  # fmt: skip
def test_a_key_that_no_run_has(cat: BlueskyCatalog, asked: Any, message: str) -> None:
    hits = cat.search(asked)
    (first,) = told(lambda: list(hits))
    assert first.startswith(message)
    assert told(lambda: (len(hits), list(cat.search(asked).search(scan_id=1)), hits.to_dataframe())) == []  # once


def place(hits: BlueskyCatalog, number: int) -> None:
    with pytest.raises(IndexError):
        hits[number]


WAYS: dict[str, Callable[[BlueskyCatalog], Any]] = {
    "len": len,
    "list": list,
    "newest": lambda hits: place(hits, -1),
    "one before": lambda hits: place(hits, -2),
    "slice": lambda hits: hits[-2:],
    "sorted": lambda hits: list(hits.sort("scan_id", "-time")),
    "values": lambda hits: list(hits.values()),
    "to_dataframe": lambda hits: hits.to_dataframe(),
    "distinct": lambda hits: hits.distinct("scan_id"),
    "nested": lambda hits: len(hits.search(scan_id=1)),
    "pickled": lambda hits: len(pickle.loads(pickle.dumps(hits))),
    "repr": lambda hits: hits._repr_html_(),
}


@pytest.mark.parametrize("way", WAYS)
def test_every_use_of_a_search_tells(cat: BlueskyCatalog, way: str) -> None:
    assert len(told(lambda: WAYS[way](cat.search(plan_nam="scan")))) == 1


ASKS: dict[str, Callable[[BlueskyCatalog, str], Any]] = {
    "distinct": lambda cat, key: cat.distinct(key),
    "sort": lambda cat, key: list(cat.sort(key)),
    "sort by time and": lambda cat, key: list(cat.sort("-time", key).values()),
    "place in a sort": lambda cat, key: cat.sort("scan_id", f"-{key}")[-1],
    "head of a sort": lambda cat, key: cat.sort(key).head(1),
    "column": lambda cat, key: cat.to_dataframe(["scan_id", key]),
    "named column": lambda cat, key: cat.search(plan_name="scan").to_dataframe({"scan": key}),
}


@pytest.mark.parametrize("ask", ASKS)
def test_keys_that_are_asked_for_and_that_no_run_has(cat: BlueskyCatalog, ask: str) -> None:
    for known in ("plan_name", "stop.reason", "sample.name"):
        assert told(lambda known=known: ASKS[ask](cat, known)) == []  # type: ignore[misc]
    (message,) = told(lambda: ASKS[ask](cat, "plan_nam"))
    assert message.startswith("no run has the key 'plan_nam' in its run start: did you mean plan_name?")
    assert told(lambda: ASKS[ask](cat, "plan_nam")) == []


SIDES = (Start("plan_nam") == "scan") | (Start("plan_name") == "count")


@pytest.mark.parametrize("use", [len, list, lambda hits: hits[-1], lambda hits: list(hits.sort("scan_id"))])
def test_a_side_that_can_find_nothing(cat: BlueskyCatalog, use: Callable[[BlueskyCatalog], Any]) -> None:
    """As the other side finds something; told where the store says so by itself."""
    hits = cat.search((Start("scan_id") > 0) & SIDES)
    expected = [] if isinstance(cat.store, MemoryStore) else ["no run has the key 'plan_nam' in its run start"]
    assert [message.partition(":")[0] for message in told(lambda: use(hits))] == expected
    assert told(lambda: use(hits)) == []


def test_what_a_query_excludes_need_not_be_there(cat: BlueskyCatalog) -> None:
    for query in (~SIDES, ~Start("deprecated").exists(), (Start("plan_name") == "scan") & ~(Start("bad") == 1)):
        assert told(lambda query=query: list(cat.search(query))) == []  # type: ignore[misc]


def test_what_is_there_is_not_told_of(cat: BlueskyCatalog) -> None:
    for query in (
        Start("plan_name") == "other", Stop("exit_status") == "other", Start("sample.name") == "Cu", FullText("nosuch"),
        {"sample": "x"}, Data("theta").max() > 1e9,
    ):  # fmt: skip
        assert told(lambda query=query: list(cat.search(query))) == []  # type: ignore[misc]


def test_a_key_that_has_a_dot_is_written_as_a_path() -> None:
    metadata: dict[str, Any] = {"beam.size": 1, "sample": {"id.old": 2, "name": "Ni"}}
    run = RunComposer("a", **metadata).documents
    cat = BlueskyCatalog(MemoryStore([run]))
    (message,) = told(lambda: list(cat.search({"beam.size": 5})))
    assert message.endswith("did you mean Start(('beam.size',))?")
    (message,) = told(lambda: list(cat.search({"sample.id.old": 5})))
    assert message.endswith("did you mean Start('sample', 'id.old')?")
    assert len(cat.search(Start(("beam.size",)) == 1)) == len(cat.search(Start("sample", "id.old") == 2)) == 1


def test_a_device_that_no_run_has() -> None:
    composed = RunComposer("a")
    composed.descriptor({}, configuration={"camera": {"data": {"exposure": 1}, "timestamps": {}, "data_keys": {}}})
    cat = BlueskyCatalog(MemoryStore([composed.documents]))
    assert told(lambda: list(cat.search(Config("camera", "exposure") == 5))) == []
    (message,) = told(lambda: list(cat.search(Config("camrea", "exposure") == 1)))
    assert message == "no run recorded 'camrea': did you mean Device('camera')?"


def test_an_empty_catalog_has_no_keys_to_tell_of() -> None:
    assert told(lambda: list(BlueskyCatalog(MemoryStore([])).search(plan_nam="scan"))) == []


class TestEmpty:
    """A catalog without runs says so if what could be runs is there."""

    def test_damaged_files(self, tmp_path: Path) -> None:
        (tmp_path / "bad.jsonl").write_text("no document\n")
        for use in (len, list, lambda cat: len(cat.search(plan_nam="scan"))):
            cat = BlueskyJSONLCatalog(tmp_path)
            (message,) = told(lambda use=use, cat=cat: use(cat), EmptyCatalogWarning)  # type: ignore[misc]
            assert message.startswith(f"no run can be read: {tmp_path / 'bad.jsonl'}: ")
            assert told(lambda: len(cat)) == []  # noqa: B023

    def test_runs_in_a_folder_below(self, tmp_path: Path) -> None:
        in_files([EXAMPLES["count"](tmp_path)], tmp_path / "2026" / "jan")
        found = f"has no files of *.jsonl, but below it are runs in {tmp_path}/2026/jan/runs: give one of these folders"
        cat = BlueskyJSONLCatalog(tmp_path)
        assert told(lambda: list(cat), EmptyCatalogWarning) == [f"no run can be read: {tmp_path}: {found}"]
        with pytest.raises(IndexError, match=r"there are 0 runs; not read: .*/2026/jan/runs: give one"):
            cat[-1]
        written(cat, [EXAMPLES["scan"](tmp_path)])
        assert (len(cat), cat.problems) == (1, ())

    @pytest.mark.parametrize("name", ["", "not/there/yet"])
    def test_a_folder_for_runs_to_come(self, tmp_path: Path, name: str) -> None:
        cat = BlueskyJSONLCatalog(tmp_path / name)
        assert told(lambda: (len(cat), repr(cat), list(cat.search(plan_name="scan")))) == []
        assert all(problem.to_come for problem in cat.problems)
        assert len(written(cat, [EXAMPLES["scan"](tmp_path)])) == 1


class TestOpenCatalog:
    """A folder without YAML is what the command line takes it for."""

    def test_of_a_folder_with_runs(self, tmp_path: Path) -> None:
        in_files([EXAMPLES["count"](tmp_path)], tmp_path)
        cat = open_catalog(tmp_path / "runs", name="mine")
        assert (type(cat), cat.name, len(cat)) == (BlueskyJSONLCatalog, "mine", 1)
        (tmp_path / "runs" / "mine.yml").write_text("sources: {}\n")
        assert list(open_catalog(tmp_path / "runs")) == []

    @pytest.mark.parametrize("place", ["", "empty", "nowhere", "*.yml"])
    def test_of_none(self, tmp_path: Path, place: str, capsys: pytest.CaptureFixture[str]) -> None:
        in_files([EXAMPLES["count"](tmp_path)], tmp_path)
        (tmp_path / "empty").mkdir()
        with pytest.raises(StoreUnavailable, match="is no catalog: ") as caught:
            open_catalog(tmp_path / place)
        assert ("give one of these folders" in str(caught.value)) is (place == "")
        if "*" not in place:
            assert main(["ls", str(tmp_path / place)]) == 2
            assert capsys.readouterr().err == f"intake-bluesky: {caught.value}\n"

    def test_of_none_elsewhere(self) -> None:
        with pytest.raises(StoreUnavailable, match="no catalog in YAML is at memory://none-here"):
            open_catalog("memory://none-here/")


class Counting(MemoryStore):
    """Counts the runs that it gives."""

    given = 0

    def find(self, plan: Plan = ALL_RUNS, **options: Any) -> Iterator[Any]:
        for run in super().find(plan, **options):
            self.given += 1
            yield run


def test_what_it_costs() -> None:
    """Nothing where runs are found, or have a key; of a store that answers nothing by itself one sample, once."""
    store = Counting(
        [RunComposer(str(number), time=float(number), plan_name="scan").documents for number in range(500)]
    )
    cat = BlueskyCatalog(store)
    assert told(lambda: len(cat.search(plan_name="scan"))) == []
    assert store.given == 500
    (message,) = told(lambda: len(cat.search(plan_nam="scan")))
    assert message.startswith(f"none of the {SAMPLE} runs looked at has the key 'plan_nam'")
    assert store.given == 500 + 500 + SAMPLE
    assert told(lambda: len(cat.search(plan_nam="scan"))) == []
    assert store.given == 500 + 500 + SAMPLE + 500
    store.given = 0
    assert told(lambda: (set(cat.sort("plan_name", "-time")), cat.to_dataframe(["plan_name"]))) == []
    assert store.given == 500 + 500


def test_a_store_that_fails_meanwhile_changes_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    store = MemoryStore([RunComposer("a", time=1.0).documents])
    cat = BlueskyCatalog(store)

    def fails(uid: str) -> Any:
        raise StoreUnavailable("gone")

    monkeypatch.setattr(store, "header", fails)
    assert told(lambda: list(cat.search(plan_nam="scan"))) == []


class TestText:
    @pytest.mark.parametrize(
        ("text", "query"),
        [
            ("plan_name == 'scan'", Start("plan_name") == "scan"),
            ("scan_id>5", Start("scan_id") > 5),
            ("text: sample exists", Start("sample").exists()),
            ("config('det', 'exposure') > 1", Config("det", "exposure") > 1),
            ("nickel foil", FullText("nickel foil")),
            ("T=5 K", FullText("T=5 K")),
            ("don't", FullText("don't")),
        ],
    )
    def test_a_query_or_words(self, text: str, query: Query) -> None:
        assert BlueskyCatalog(MemoryStore([])).search(text).query == query

    @pytest.mark.parametrize("text", ["plan_name == scan", "plan_name = 'scan'", "1 <", "scan_id >> 5"])
    def test_what_has_an_operator_is_no_words(self, text: str) -> None:
        with pytest.raises(QuerySyntaxError):
            BlueskyCatalog(MemoryStore([])).search(text)

    def test_the_query_of_a_catalog_says_which_it_is(self) -> None:
        """It is what YAML files have, where such text has always been words."""
        with pytest.raises(UnsupportedQuery, match=r"a query or words\?.*'text: plan_name == 'scan''|text: plan_name"):
            BlueskyCatalog(MemoryStore([]), query="plan_name == 'scan'")
        assert BlueskyCatalog(MemoryStore([]), query="nickel foil").query == FullText("nickel foil")
        assert BlueskyCatalog(MemoryStore([]), query="text: a == 1").query == (Start("a") == 1)


class TestKeywords:
    def test_they_are_values_of_keys(self, cat: BlueskyCatalog) -> None:
        hits = cat.search(plan_name="scan", scan_id=2)
        assert hits.query == (Start("plan_name") == "scan") & (Start("scan_id") == 2)
        assert [run.scan_id for run in hits.values()] == [2]
        both = cat.search({"stop.exit_status": "fail"}, plan_name="scan")
        assert list(both) == list(cat.search(plan_name="scan").search(Stop("exit_status") == "fail")) != []
        assert cat.search(**{"stop.exit_status": "fail"}).query == (Stop("exit_status") == "fail")

    def test_a_query_is_no_value(self, cat: BlueskyCatalog) -> None:
        with pytest.raises(UnsupportedQuery, match="not a query"):
            cat.search(plan_name=Start("plan_name") == "scan")

    def test_they_last(self, cat: BlueskyCatalog, tmp_path: Path) -> None:
        if not isinstance(cat.store, MemoryStore):
            hits = cat.search(plan_name="scan")
            (tmp_path / "hits.yml").write_text(hits(name="hits").serialize())
            assert list(open_catalog(str(tmp_path / "hits.yml")).hits) == list(hits) != []
