"""Searches of a folder of 20,000 runs whose index is there already, and of an index of 200,000."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from intake_bluesky.files.scan.index_entries import entry_of
from intake_bluesky.index.index import Index
from intake_bluesky.index.rare_words import narrowed
from intake_bluesky.index.tables import COLUMNS
from intake_bluesky.index.translator import Translator
from intake_bluesky.query import Data, FullText, Fuzzy, Query, Start, Stop, from_mongo
from intake_bluesky.search.selection import Selection
from intake_bluesky.storage.order import Order
from intake_bluesky_jsonl import BlueskyJSONLCatalog
from tests.benchmarks.test_files import RUNS, small_run

SEARCH = Translator(COLUMNS)
MANY = 200_000


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BlueskyJSONLCatalog]:
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INTAKE_BLUESKY_CACHE", str(tmp_path_factory.mktemp("cache")))
        for number in range(RUNS):
            run = small_run(number)
            (folder / f"{run[0][1]['uid']}.jsonl").write_bytes(b"".join(orjson.dumps(pair) + b"\n" for pair in run))
        catalog = BlueskyJSONLCatalog(str(folder))
        assert len(catalog) == RUNS
        yield catalog
    shutil.rmtree(folder)


COUNTED: dict[str, tuple[Any, int]] = {
    "a common key": (Start("plan_name") == "scan", RUNS // 2),
    "a common key, as MongoDB": ({"plan_name": "scan"}, RUNS // 2),
    "any other key": (Start("operator") == "anna", RUNS),
    "a number": (Start("plan_args.num") > 10.5, RUNS),
    "two keys, as MongoDB": ({"sample.name": "sample 7", "plan_args.num": 11}, RUNS // 50),
    "words": (FullText("sample 7 anna"), RUNS // 50),
    "similar words": (Fuzzy("scann", 0.5), RUNS // 2),
}


@pytest.mark.parametrize("name", COUNTED)
def test_equality_and_len(benchmark: Any, catalog: BlueskyJSONLCatalog, name: str) -> None:
    benchmark.group = f"search {RUNS:,} runs and len"
    query, expected = COUNTED[name]
    assert benchmark.pedantic(lambda: len(catalog.search(query)), rounds=7, warmup_rounds=1) == expected


TENTH: dict[str, Any] = {
    "common keys": (Start("time") >= 1.7e9 + 60 * 5000)
    & (Start("time") < 1.7e9 + 60 * 9000)
    & (Start("plan_name") == "scan"),
    "common keys, as MongoDB": {"scan_id": {"$gte": 5000, "$lt": 9000}, "plan_name": "scan"},
    "another key too": (Start("scan_id") >= 5000) & (Start("scan_id") < 7000) & (Start("plan_args.num") < 11.5),
    "finished in Python": (Start("scan_id") >= 5000) & (Start("scan_id") < 7000) & Start("plan_name").regex("n$|t$"),
}


@pytest.mark.parametrize("name", TENTH)
def test_range_and_metadata(benchmark: Any, catalog: BlueskyJSONLCatalog, name: str) -> None:
    benchmark.group = f"search {RUNS:,} runs, and the metadata of the tenth that match"

    def read() -> int:
        return sum(run.metadata["start"]["scan_id"] >= 0 for _, run in catalog.search(TENTH[name]).items())

    assert benchmark.pedantic(read, rounds=7, warmup_rounds=1) == RUNS // 10


@pytest.fixture(scope="module")
def indexes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[int, Index]]:
    """Two indexes, one of ten times as many runs, in each of which 100 runs are of one rare sample."""
    made = {}
    for runs in (MANY // 10, MANY):
        made[runs] = index = Index(tmp_path_factory.mktemp("index") / "index.sqlite", orjson.loads)
        for first in range(0, runs, 5000):
            index.put([_entry(number, runs) for number in range(first, first + 5000)])
        index.settle()
    yield made
    for index in made.values():
        index.close()


def _entry(number: int, runs: int) -> Any:
    run = small_run(number)
    start, stop = run[0][1], run[-1][1]
    rare = number % (runs // 100) == 0
    start["sample"] = {"name": "rare one" if rare else f"sample {number % 50}"}
    start["place"] = "hutch, far end" if rare else "hutch, near"
    stop["exit_status"] = "fail" if rare else "success"
    return entry_of(str(number), "s", (orjson.dumps(start), start), orjson.dumps(stop))


RARE: dict[str, Query] = {
    "scan_id": (Start("scan_id") >= 500) & (Start("scan_id") < 600),
    "sample.name": Start("sample.name") == "rare one",
    "sample.name, as MongoDB": from_mongo({"sample.name": "rare one"}),
    "exit_status": Stop("exit_status") == "fail",
    "words": FullText("one rare"),
    "a key without a column": Start("place") == "hutch, far end",
}


@pytest.mark.parametrize("runs", [MANY // 10, MANY])
@pytest.mark.parametrize("name", RARE)
def test_cost_follows_the_hits(benchmark: Any, indexes: dict[int, Index], name: str, runs: int) -> None:
    benchmark.group = f"find 100 runs by {name}, and count them"
    search = Translator(COLUMNS)
    where, values = narrowed(search.plan(RARE[name], Order.NEWEST), search, indexes[runs].is_rare)

    def find() -> int:
        index = indexes[runs]
        assert index.count(where, values) == 100
        return sum(1 for _ in index.find(where, values, Order.NEWEST, limit=200))

    assert benchmark.pedantic(find, rounds=20, warmup_rounds=1) == 100
    other = MANY // 10 if runs == MANY else MANY
    assert _steps(indexes[runs], where, values) < 2 * _steps(indexes[other], where, values) + 10


def _steps(index: Index, where: str, values: list[Any]) -> int:
    """Hundreds of steps of SQLite's machine."""
    steps = 0

    def count() -> int:
        nonlocal steps
        steps += 1
        return 0

    with index._lent() as db:  # the only one, which is lent again and again
        db.set_progress_handler(count, 100)
    index.count(where, values)
    list(index.find(where, values, Order.NEWEST, limit=200))
    db.set_progress_handler(None, 1)
    return steps


@pytest.fixture(scope="module")
def wordy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Index]:
    """20,000 runs with 100,000 different words."""
    index = Index(tmp_path_factory.mktemp("words") / "index.sqlite", orjson.loads)
    for first in range(0, RUNS, 5000):
        index.put([_wordy(number) for number in range(first, first + 5000)])
    index.settle()
    yield index
    index.close()


def _wordy(number: int) -> Any:
    others = " ".join(f"{n * 2654435761 % 2**32:08x}" for n in range(5 * number, 5 * number + 5))
    start = {
        "uid": f"{number}",
        "time": 1.7e9,
        "sample": f"{'nickel' if number % 50 == 0 else 'copper'} foil",
        "x": others,
    }
    return entry_of(str(number), "s", (orjson.dumps(start), start), None)


@pytest.mark.parametrize("text", ["nickle", "foill nickle", "quartz"])
def test_similar_words_of_many(benchmark: Any, wordy: Index, text: str) -> None:
    benchmark.group = f"count the runs with similar words, of {RUNS:,} runs with {5 * RUNS:,} words"
    where, values = Translator(COLUMNS).condition(Fuzzy(text))
    expected = 0 if text == "quartz" else RUNS // 50
    assert benchmark.pedantic(lambda: wordy.count(where, values), rounds=5, warmup_rounds=1) == expected


WITH_A_REST: dict[str, Query] = {
    "a pattern": Start("sample").regex("^Ni.*foil$") & (Start("plan_name") == "scan"),
    "data": (Data("theta").max() > 5) & (Start("plan_name") == "scan"),
    "alternatives with data": (Data("theta").max() > 5) | (Data("det").min() < 3) | Start("a").regex("x.*y"),
    "a dict as MongoDB has it": from_mongo({"$or": [{"sample": {"$regex": "N.*x"}}, {"motors": "theta"}]}),
}


@pytest.mark.parametrize("name", WITH_A_REST)
def test_plan_what_leaves_a_rest(benchmark: Any, catalog: BlueskyJSONLCatalog, name: str) -> None:
    """Everything until the first question to the index."""
    benchmark.group = "plan a search that leaves a rest"
    selection = Selection(catalog.store, (WITH_A_REST[name],))

    def plan() -> int:
        found = selection.plan()
        return sum(len(SEARCH.compiled(part)[0]) for part in (found.certain, found.open) if part is not None)

    assert benchmark(plan) > 0
