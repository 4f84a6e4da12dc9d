"""Several catalogs as one: what it costs over one catalog, five of 20,000 runs each, and sources that answer late."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from intake_bluesky import BlueskyCatalog
from intake_bluesky.catalogs.federated import BlueskyFederatedCatalog
from intake_bluesky.documents.model import RunSummary
from intake_bluesky.query import Start
from intake_bluesky.storage.contract import Plan
from intake_bluesky.storage.wrapper import WrapperStore
from intake_bluesky_sql import BlueskySQLCatalog
from tests.benchmarks.test_files import RUNS, small_run

SOURCES: Final = 5
LATENCY: Final = 0.3
"""Seconds after which a source answers."""


class Late(WrapperStore):
    """A store behind a slow network."""

    def find(self, plan: Plan = Plan(), *, offset: int = 0, limit: int | None = None) -> Iterator[RunSummary]:  # noqa: B008  # immutable
        time.sleep(LATENCY)
        yield from self.inner.find(plan, offset=offset, limit=limit)

    def lookup(self, *arguments: Any) -> Any:
        time.sleep(LATENCY)
        return self.inner.lookup(*arguments)


@pytest.fixture(scope="module")
def catalogs(tmp_path_factory: pytest.TempPathFactory) -> list[BlueskyCatalog]:
    """Catalogs of SQLite, with runs of other uids each."""
    folder: Path = tmp_path_factory.mktemp("federated")
    made: list[BlueskyCatalog] = []
    for source in range(SOURCES):
        catalog = BlueskySQLCatalog(f"sqlite:///{folder}/{source}.db")
        runs = (small_run(number * SOURCES + source) for number in range(RUNS))
        assert not [error for error in catalog.store.insert_runs(runs) if error is not None]
        made.append(BlueskySQLCatalog(f"sqlite:///{folder}/{source}.db"))
    return made


ASKED: Final[dict[str, Callable[[BlueskyCatalog], Any]]] = {
    "count": len,
    "newest": lambda cat: cat[-1].uid,
    "2,000 found with their metadata": lambda cat: sum(
        1 for _ in cat.search(Start("scan_id") < 2000 * SOURCES).arrangement.runs()
    ),
    "values of a key": lambda cat: cat.distinct("plan_name", counts=True),
    "all in the order of a key": lambda cat: sum(1 for _ in cat.sort("plan_name").arrangement.uids()),
}


@pytest.mark.parametrize("asked", ASKED)
class TestOneSource:
    def test_the_catalog_itself_floor(self, benchmark: Any, catalogs: list[BlueskyCatalog], asked: str) -> None:
        benchmark.group = f"a federation of one: {asked}"
        benchmark.pedantic(ASKED[asked], (catalogs[0],), rounds=15, warmup_rounds=2)

    def test_as_a_federation(self, benchmark: Any, catalogs: list[BlueskyCatalog], asked: str) -> None:
        benchmark.group = f"a federation of one: {asked}"
        federated = BlueskyFederatedCatalog({"one": catalogs[0]})
        assert ASKED[asked](federated) == ASKED[asked](catalogs[0])
        benchmark.pedantic(ASKED[asked], (federated,), rounds=15, warmup_rounds=2)


@pytest.mark.parametrize("asked", ASKED)
class TestFiveSources:
    def test_one_after_the_other_floor(self, benchmark: Any, catalogs: list[BlueskyCatalog], asked: str) -> None:
        benchmark.group = f"a federation of five: {asked}"
        benchmark.pedantic(lambda: [ASKED[asked](one) for one in catalogs], rounds=7, warmup_rounds=1)

    def test_as_a_federation(self, benchmark: Any, catalogs: list[BlueskyCatalog], asked: str) -> None:
        benchmark.group = f"a federation of five: {asked}"
        federated = BlueskyFederatedCatalog({str(n): one for n, one in enumerate(catalogs)})
        benchmark.pedantic(ASKED[asked], (federated,), rounds=7, warmup_rounds=1)


def test_a_search_of_late_sources(benchmark: Any, catalogs: list[BlueskyCatalog]) -> None:
    benchmark.group = "a search of five sources that answer after 300 ms"
    late = {str(n): BlueskyCatalog(Late(one.store)) for n, one in enumerate(catalogs)}
    federated = BlueskyFederatedCatalog(late)
    newest = lambda: list(federated.search(plan_name="scan").arrangement.runs(limit=20))  # noqa: E731  # one expression
    assert len(benchmark.pedantic(newest, rounds=5)) == 20


def test_memory_of_going_through_all(benchmark: Any, catalogs: list[BlueskyCatalog]) -> None:
    benchmark.group = "all 100,000 runs of five sources, their peak of memory"
    federated = BlueskyFederatedCatalog({str(n): one for n, one in enumerate(catalogs)})
    tracemalloc.start()
    assert benchmark.pedantic(lambda: sum(1 for _ in federated.arrangement.runs()), rounds=1) == SOURCES * RUNS
    benchmark.extra_info["MB"] = round(tracemalloc.get_traced_memory()[1] / 1e6, 1)
    tracemalloc.stop()
