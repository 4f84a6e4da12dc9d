"""20,000 runs in a bucket without a server beside it: what opening, searching and reading take, requests counted."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import zstandard

from intake_bluesky.files.bucket.store import BucketStore
from intake_bluesky.objects import objects_at
from intake_bluesky.query import Start
from intake_bluesky.storage.order import Order
from intake_bluesky.storage.writer import DocumentWriter
from intake_bluesky_bucket import BlueskyBucketCatalog
from intake_bluesky_jsonl.codec import CODEC
from tests.benchmarks.test_files import RUNS, Run, small_run
from tests.servers.proxy import Proxy
from tests.servers.s3 import KEY, SECRET

WRITERS = 6
MORE = 100
MANY = 200_000


def noted_run(number: int) -> Run:
    """With what makes each start document another, and less easily compressed."""
    run = small_run(number)
    notes = f"run {number} of {random.Random(number).getrandbits(256):x}, {random.Random(-number).getrandbits(128):x}"
    return [("start", {**run[0][1], "notes": notes, "time": 1.7e9 + 60 * number}), *run[1:]]


def options(endpoint: str) -> dict[str, Any]:
    return {"key": KEY, "secret": SECRET, "client_kwargs": {"endpoint_url": endpoint}}


@pytest.fixture(scope="module")
def bucket(proxied: Proxy, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """20,000 runs found by one base, and 600 more in the tails of six writers."""
    place = f"s3://private/{uuid4().hex}"
    objects, folder = objects_at(place, options(proxied.upstream))

    def put(number: int) -> None:
        run = noted_run(number)
        content = zstandard.compress(b"".join(CODEC.encode(*pair) for pair in run))
        objects.put(f"{folder}/{run[0][1]['uid']}.jsonl.zst", content)

    with ThreadPoolExecutor(16) as pool:
        for _ in pool.map(put, range(RUNS)):
            pass
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INTAKE_BLUESKY_CACHE", str(tmp_path_factory.mktemp("cache")))
        store = BucketStore(place, CODEC, storage_options=options(proxied.upstream))
        store.scan()
        store.publish()
        store.close()
        for writer in range(WRITERS):
            own = BucketStore(place, CODEC, storage_options=options(proxied.upstream))
            with DocumentWriter(own) as write:
                for number in range(MORE):
                    for pair in noted_run(RUNS + MORE * writer + number):
                        write(*pair)
            own.close()
    yield place
    objects.close()


@pytest.fixture(scope="module")
def index_of_many(proxied: Proxy, tmp_path_factory: pytest.TempPathFactory) -> str:
    """An index of 200,000 runs, made of a folder and put into a bucket alone: to find runs takes no more of it."""
    folder = tmp_path_factory.mktemp("many")
    for number in range(MANY):
        run = noted_run(number)
        content = zstandard.compress(b"".join(CODEC.encode(*pair) for pair in run))
        (folder / f"{run[0][1]['uid']}.jsonl.zst").write_bytes(content)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INTAKE_BLUESKY_CACHE", str(tmp_path_factory.mktemp("cache")))
        store = BucketStore(str(folder), CODEC)
        store.scan()
        store.publish()
        store.close()
    place = f"s3://private/{uuid4().hex}"
    objects, prefix = objects_at(place, options(proxied.upstream))
    for part in (folder / "_index").iterdir():
        objects.put(f"{prefix}/_index/{part.name}", part.read_bytes())
    objects.close()
    return place


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("INTAKE_BLUESKY_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def _ask(catalog: BlueskyBucketCatalog) -> list[Any]:
    """Open, count, the newest, and a search of 2,000 with their metadata."""
    found = catalog.search((Start("scan_id") >= 5000) & (Start("scan_id") < 7000))
    return [len(catalog), catalog[-1].uid, [run.start["plan_name"] for run in found.values()]]


def _ask_for_some(catalog: BlueskyBucketCatalog) -> list[Any]:
    """Open, count, and a search of 2,000 with their metadata."""
    found = catalog.search((Start("scan_id") >= 5000) & (Start("scan_id") < 7000))
    return [len(catalog), [run.start["plan_name"] for run in found.arrangement.runs()]]


def _told(benchmark: Any, proxy: Proxy) -> dict[str, int]:
    requests = {method: proxy.count(method) for method in ("LIST", "HEAD", "GET", "PUT")}
    benchmark.extra_info.update({name: number for name, number in requests.items() if number})
    benchmark.extra_info["MB"] = round(proxy.received / 1e6, 2)
    return requests


@pytest.mark.benchmark(group="bucket")
class TestBucket:
    def test_the_same_objects_by_obstore_floor(self, benchmark: Any, bucket: str, proxy: Proxy) -> None:
        objects, folder = objects_at(bucket, options(proxy.endpoint))

        def fetch() -> int:
            listed = list(objects.list(f"{folder}/_index"))
            return sum(len(objects.get(info.name)[0]) for info in listed if "/d-" not in info.name)

        assert benchmark.pedantic(fetch, rounds=3) > 100_000
        objects.close()

    def test_cold_open_count_newest_and_2000_found(
        self, benchmark: Any, bucket: str, proxy: Proxy, cache: Path
    ) -> None:
        def fresh() -> tuple[tuple[BlueskyBucketCatalog], dict[str, Any]]:
            shutil.rmtree(cache, ignore_errors=True)
            proxy.reset()
            return (BlueskyBucketCatalog(bucket, storage_options=options(proxy.endpoint)),), {}

        found = benchmark.pedantic(_ask, setup=fresh, rounds=3)
        assert found[0] == RUNS + WRITERS * MORE
        assert len(found[2]) == 2000
        requests = _told(benchmark, proxy)
        assert requests["LIST"] == 1
        assert requests["GET"] <= 8
        assert proxy.received < 5e6

    def test_warm(self, benchmark: Any, bucket: str, proxy: Proxy, cache: Path) -> None:
        catalog = BlueskyBucketCatalog(bucket, storage_options=options(proxy.endpoint))
        _ask(catalog)

        def again() -> list[Any]:
            catalog.refresh()
            return _ask(catalog)

        found = benchmark.pedantic(again, setup=proxy.reset, rounds=5)
        assert found[0] == RUNS + WRITERS * MORE
        assert {name: number for name, number in _told(benchmark, proxy).items() if number} == {"LIST": 1}
        catalog.store.close()

    def test_header_of_one_run(self, benchmark: Any, bucket: str, proxy: Proxy, cache: Path) -> None:
        catalog = BlueskyBucketCatalog(bucket, storage_options=options(proxy.endpoint))
        uids = iter([run.uid for run in catalog.store.find(catalog.store.plan(Start("scan_id") < 10, Order.OLDEST))])

        def one() -> tuple[tuple[str], dict[str, Any]]:
            proxy.reset()
            return (next(uids),), {}

        assert benchmark.pedantic(catalog.store.header, setup=one, rounds=5).streams["primary"].events == 11
        assert {name: number for name, number in _told(benchmark, proxy).items() if number} == {"GET": 1}
        catalog.store.close()

    def test_one_column_of_one_stream(self, benchmark: Any, bucket: str, proxy: Proxy, cache: Path) -> None:
        catalog = BlueskyBucketCatalog(bucket, storage_options=options(proxy.endpoint))
        run = catalog[-1]
        assert run.primary.keys
        found = benchmark.pedantic(lambda: run.primary.read()["det_0"], setup=proxy.reset, rounds=5)
        assert found.size == 11
        assert {name: number for name, number in _told(benchmark, proxy).items() if number} == {"GET": 1}
        catalog.store.close()

    def test_search_by_data(self, benchmark: Any, bucket: str, proxy: Proxy, cache: Path) -> None:
        from intake_bluesky.query import Data

        catalog = BlueskyBucketCatalog(bucket, storage_options=options(proxy.endpoint))
        _ask(catalog)
        proxy.reset()
        assert benchmark.pedantic(lambda: len(catalog.search(Data("det_0").max() > -1e9)), rounds=1) > RUNS
        _told(benchmark, proxy)
        catalog.store.close()


@pytest.mark.benchmark(group="bucket of 200,000 runs")
class TestManyRuns:
    def test_cold_open_count_newest_and_2000_found(
        self, benchmark: Any, index_of_many: str, proxy: Proxy, cache: Path
    ) -> None:
        def fresh() -> tuple[tuple[BlueskyBucketCatalog], dict[str, Any]]:
            shutil.rmtree(cache, ignore_errors=True)
            proxy.reset()
            return (BlueskyBucketCatalog(index_of_many, storage_options=options(proxy.endpoint)),), {}

        found = benchmark.pedantic(_ask_for_some, setup=fresh, rounds=3)
        assert found[0] == MANY
        assert len(found[1]) == 2000
        assert _told(benchmark, proxy)["LIST"] == 1

    def test_warm(self, benchmark: Any, index_of_many: str, proxy: Proxy, cache: Path) -> None:
        _ask_for_some(BlueskyBucketCatalog(index_of_many, storage_options=options(proxy.endpoint)))

        def another() -> tuple[tuple[BlueskyBucketCatalog], dict[str, Any]]:
            proxy.reset()
            return (BlueskyBucketCatalog(index_of_many, storage_options=options(proxy.endpoint)),), {}

        found = benchmark.pedantic(_ask_for_some, setup=another, rounds=5)
        assert found[0] == MANY
        assert {name: number for name, number in _told(benchmark, proxy).items() if number} == {"LIST": 1}
