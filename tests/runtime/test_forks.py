"""Forked children compute and search, whatever the threads of their parent were doing; none waits for ever."""

from __future__ import annotations

import multiprocessing
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import dask.array
import pytest

from intake_bluesky.errors import StoreUnavailable
from intake_bluesky.runtime import forks
from intake_bluesky.runtime.forks import SQLITE, ForkGate
from intake_bluesky.storage.header_cache import HeaderCache
from intake_bluesky.testing.plain_runs import scan
from intake_bluesky_bucket import BlueskyBucketCatalog
from intake_bluesky_zarr import BlueskyZarrCatalog
from tests.servers.s3 import Buckets

CATALOGS = {"bucket": BlueskyBucketCatalog, "zarr": BlueskyZarrCatalog}


def in_a_fork(work: Callable[[], Any]) -> Any:
    """What work gives in a child, or the error that it raises; one that hangs is killed."""
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe(duplex=False)

    def run() -> None:
        try:
            there.send(work())
        except Exception as error:  # noqa: BLE001  # for the parent to see
            there.send(error)

    child = context.Process(target=run)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking with threads, which users do all the same
        child.start()
    try:
        assert here.poll(60), "the child hangs"
        return here.recv()
    finally:
        child.kill()
        child.join()


@pytest.fixture
def within() -> Iterator[Callable[[Any], None]]:
    """Give what has another thread hold a lock until the test ends."""
    leave, threads = threading.Event(), list[threading.Thread]()

    def hold(lock: Any) -> None:
        entered = threading.Event()

        def stay() -> None:
            with lock:
                entered.set()
                leave.wait()

        threads.append(threading.Thread(target=stay))
        threads[-1].start()
        entered.wait()

    yield hold
    leave.set()
    for thread in threads:
        thread.join()


def maximum() -> int:
    return int(dask.array.arange(8, chunks=1).max().compute(scheduler="threads"))


def test_dask_computes_in_a_child_of_a_process_that_computed() -> None:
    assert maximum() == 7
    assert in_a_fork(maximum) == 7


@pytest.mark.slow
@pytest.mark.parametrize("kind", CATALOGS)
def test_a_child_uses_a_catalog_that_its_parent_used(
    kind: str, buckets: Buckets, within: Callable[[Any], None]
) -> None:
    options = {"key": buckets.key, "secret": buckets.secret, "endpoint_url": buckets.endpoint}
    catalog = CATALOGS[kind](f"s3://private/{uuid4().hex}", storage_options=options)
    with catalog.writer() as write:
        for pair in scan():
            write(*pair)
    dataset, expected = catalog[-1]["primary"].to_dask(), catalog[-1]["primary"].read()
    dataset.compute(scheduler="threads")
    listed = list(catalog)
    store: Any = catalog.store
    within(store.files._threads.lock)

    def child() -> Any:
        read = [dataset.compute(scheduler="threads"), catalog[-1]["primary"].to_dask().compute(scheduler="threads")]
        return list(catalog), all(each.identical(expected) for each in read)

    assert in_a_fork(child) == (listed, True)
    catalog.store.close()


def test_what_a_thread_of_the_parent_holds_is_free_in_a_child(within: Callable[[Any], None]) -> None:
    cache = HeaderCache[str]()
    cache.put("a", "header")
    within(cache._threads.lock)
    assert in_a_fork(lambda: cache.get("a")) == "header"


def test_a_fork_waits_for_a_thread_in_a_transaction() -> None:
    entered, left = threading.Event(), list[bool]()

    def stay() -> None:
        with SQLITE:
            entered.set()
            threading.Event().wait(0.5)
            left.append(True)

    thread = threading.Thread(target=stay)
    thread.start()
    entered.wait()

    def child() -> list[bool]:
        SQLITE.check()
        return left

    assert in_a_fork(child) == [True]
    thread.join()


def test_a_child_of_a_process_in_a_long_transaction_says_so(
    tmp_path: Path, within: Callable[[Any], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INTAKE_BLUESKY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(forks, "PATIENCE", 0.1)
    catalog = BlueskyBucketCatalog(tmp_path / "runs")
    with catalog.writer() as write:
        for pair in scan():
            write(*pair)
    assert len(catalog) == 1
    within(SQLITE)
    found = in_a_fork(lambda: len(catalog))
    assert isinstance(found, StoreUnavailable)
    assert "forked in the middle of what another thread did" in str(found)
    assert "spawn" in str(found)
    assert len(catalog) == 1
    catalog.store.close()


def test_who_forks_within_goes_on_within() -> None:
    gate = ForkGate("count")

    def child() -> int:
        gate.check()
        return gate.run(lambda: 5)

    with gate, gate:
        assert in_a_fork(child) == 5
    assert in_a_fork(child) == gate.run(lambda: 5)
