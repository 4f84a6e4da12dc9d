"""What a process has open: no more than a few connections, however many threads and catalogs there were."""

from __future__ import annotations

import gc
import os
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from intake_bluesky import BlueskyCatalog, Data
from intake_bluesky.testing.plain_runs import scan
from intake_bluesky_jsonl import BlueskyJSONLCatalog
from intake_bluesky_mongo import BlueskyMongoEmbeddedCatalog
from intake_bluesky_sql import BlueskySQLCatalog
from tests.files.runs import uid_of

pytestmark = [
    pytest.mark.slow,  # of processes and servers, alike on each Python
    pytest.mark.skipif(sys.platform != "linux", reason="counts in /proc"),
]


@pytest.fixture(params=["jsonl", "sqlite", "postgresql", "mongodb"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], BlueskyCatalog]:
    """Makes catalogs of one store, which has one run."""
    if request.param == "jsonl":
        made: Callable[[], BlueskyCatalog] = partial(BlueskyJSONLCatalog, tmp_path)
    elif request.param == "mongodb":
        uri = request.getfixturevalue("database_uri")
        made = partial(BlueskyMongoEmbeddedCatalog, uri, writable=True)
    elif request.param == "sqlite":
        made = partial(BlueskySQLCatalog, f"sqlite:///{tmp_path}/runs.db")
    else:
        made = partial(BlueskySQLCatalog, request.getfixturevalue("postgres").uri())
    with made().writer() as write:
        for name, doc in scan():
            write(name, doc)
    return made


def _open_files() -> int:
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


def _ask(catalog: BlueskyCatalog) -> tuple[int, int, int]:
    found = len(catalog), len(catalog.search(Data("theta").max() > -1000))
    return *found, len(list(catalog[uid_of(scan())].documents()))


def _ask_at_once(catalog: BlueskyCatalog, threads: int) -> tuple[list[tuple[int, int, int]], int]:
    """The answers that each of many threads gets, and how much was open meanwhile."""
    found: list[tuple[int, int, int]] = []
    opened: list[int] = []
    ready = threading.Barrier(threads)

    def ask() -> None:
        ready.wait()
        found.append(_ask(catalog))
        opened.append(len(os.listdir("/proc/self/fd")))

    several = [threading.Thread(target=ask) for _ in range(threads)]
    for thread in several:
        thread.start()
    for thread in several:
        thread.join()
    return found, max(opened)


def test_catalogs_and_threads_that_are_gone_have_nothing_open(make: Callable[[], BlueskyCatalog]) -> None:
    expected = _ask(make())
    before = _open_files()
    for _ in range(20):
        assert _ask(make()) == expected
    assert _open_files() < before + 10
    found, most = _ask_at_once(make(), 100)
    assert found == [expected] * 100
    assert most < before + 150
    assert _open_files() < before + 10
