"""Runs copied from store to store come out as they went in, and a second copy has nothing to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from pymongo import MongoClient

from intake_bluesky import BlueskyCatalog, ingest
from intake_bluesky.storage import RunStore
from intake_bluesky.testing import MemoryStore
from intake_bluesky.testing.differences import assert_documents
from intake_bluesky.testing.examples import Run
from intake_bluesky.testing.runs import EXAMPLES
from intake_bluesky.testing.strategies import odd_runs, runs
from intake_bluesky.transfer.digests import Relation, compare
from intake_bluesky_bucket import BlueskyBucketCatalog
from intake_bluesky_jsonl import BlueskyJSONLCatalog
from intake_bluesky_mongo import EmbeddedStore, NormalizedStore
from intake_bluesky_msgpack import BlueskyMsgpackCatalog
from intake_bluesky_sql import BlueskySQLCatalog
from intake_bluesky_zarr import BlueskyZarrCatalog
from tests.drivers.mongo_stores import EAGER
from tests.drivers.test_bucket import options_of
from tests.servers.mongo import new_database, uri_of
from tests.servers.postgres import Postgres
from tests.transfer.conftest import put


def chain(folder: Path, bucket: str, options: dict[str, Any]) -> list[BlueskyCatalog]:
    """A catalog of each kind, which runs go through; the first kind once more at the end."""
    return [
        BlueskyJSONLCatalog(str(folder / "jsonl")),
        BlueskyBucketCatalog(f"{bucket}/documents", storage_options=options),
        BlueskyZarrCatalog(f"{bucket}/arrays", arrays="always", storage_options=options),
        BlueskyMsgpackCatalog(str(folder / "msgpack"), compression="zst"),
        BlueskySQLCatalog(str(folder / "runs.db")),
        BlueskyJSONLCatalog(str(folder / "again"), compression="gz"),
    ]


@pytest.fixture(params=["disk", pytest.param("s3", marks=pytest.mark.slow)])
def catalogs(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[list[BlueskyCatalog]]:
    if request.param == "disk":
        made = chain(tmp_path, str(tmp_path / "bucket"), {})
    else:
        options = options_of(request.getfixturevalue("buckets").endpoint)
        made = chain(tmp_path, f"s3://private/{uuid4().hex}", options)
    yield made
    for catalog in made:
        catalog.store.close()


def examples(folder: Path) -> dict[str, Run]:
    return {make(folder / name)[0][1]["uid"]: make(folder / name) for name, make in EXAMPLES.items()}


def test_examples_go_through_all_kinds_of_stores(catalogs: list[BlueskyCatalog], tmp_path: Path) -> None:
    made = examples(tmp_path / "assets")
    first, *others = catalogs
    put(first, made.values())
    for source, target in pairwise(catalogs):
        report = ingest.copy(source, into=target, unfinished="copy").check()
        assert sorted(report.copied) == sorted(made)
        assert report.exact
        assert report.documents == sum(map(len, made.values()))
        for uid, run in made.items():
            assert_documents(list(target.store.documents(uid)), run)
    again = ingest.copy(first, into=others[-1], unfinished="copy").check()
    assert (sorted(again.skipped), again.copied) == (sorted(made), [])


@pytest.mark.hypothesis
def test_drawn_runs_go_through_all_kinds_of_stores(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("drawn")
    _, *catalogs = chain(folder, str(folder / "bucket"), {})

    @given(runs() | odd_runs())
    def check(run: Run) -> None:
        uid = run[0][1]["uid"]
        source = BlueskyCatalog(MemoryStore([run]))
        with ExitStack() as stack:
            for target in catalogs:
                report = ingest.copy(source, into=target, unfinished="copy").check()
                stack.callback(target.store.remove, uid, permanent=True)
                assert report.copied == [uid]
                assert_documents(list(target.store.documents(uid)), run)
                source = target[[uid]]

    check()


@pytest.fixture
def databases(postgres: Postgres, mongodb: str, mongo_client: MongoClient[dict[str, Any]]) -> Iterator[list[RunStore]]:
    with ExitStack() as stack:
        names = [uri_of(mongodb, stack.enter_context(new_database(mongo_client)).name) for _ in range(2)]
        made: list[RunStore] = [
            BlueskySQLCatalog(postgres.uri()).store,
            NormalizedStore(names[0], writable=True, event_pages=True, buffering=EAGER),
            EmbeddedStore(names[1], writable=True, buffering=EAGER),
        ]
        yield made
        for store in made:
            store.close()


@pytest.mark.slow
def test_examples_go_through_databases(databases: list[RunStore], tmp_path: Path) -> None:
    made = examples(tmp_path / "assets")
    source = BlueskyCatalog(MemoryStore(made.values()))
    for store in databases:
        into = BlueskyCatalog(store)
        report = ingest.copy(source, into=into, unfinished="copy")
        assert report.exact is store.exact_documents
        assert sorted(report.check().copied) == sorted(made)
        again = ingest.copy(source, into=into, unfinished="copy")
        assert sorted(again.skipped) == sorted(report.copied)
        back = BlueskyMsgpackCatalog(str(tmp_path / f"back-{databases.index(store)}"))
        returned = ingest.copy(into, into=back, unfinished="copy").check()
        assert sorted(returned.copied) == sorted(report.copied)
        for uid in returned.copied:
            same = compare(made[uid], back.store.documents(uid), ordered=store.exact_documents)
            assert same is Relation.SAME
