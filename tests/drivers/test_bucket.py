"""The driver of buckets against the conformance suite, on disk and in a real S3; and what it costs in requests."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar
from uuid import uuid4

import intake
import numpy as np
import pytest
import zstandard

from intake_bluesky.apps.cli import main
from intake_bluesky.documents.model import EventPage, identical, to_plain
from intake_bluesky.errors import DamagedRun, DuplicateRun, StoreUnavailable, UntrustedName
from intake_bluesky.files.bucket import live_pieces
from intake_bluesky.files.bucket.segments import SegmentFolder
from intake_bluesky.files.bucket.store import BucketStore
from intake_bluesky.files.codec import CODECS
from intake_bluesky.files.index_segments import SegmentRow
from intake_bluesky.storage.contract import RunInsert
from intake_bluesky.storage.writer import DocumentWriter
from intake_bluesky.testing.compose import RunComposer, data_key
from intake_bluesky.testing.examples import Run
from intake_bluesky.testing.plain_runs import count, scan
from intake_bluesky.testing.stores import (
    StoreHooks,
    StoreLifeCycleTests,
    StoreRemovalTests,
    StoreTests,
    StoreWritingTests,
)
from intake_bluesky_bucket import BlueskyBucketCatalog
from intake_bluesky_jsonl import JSONLCodec
from tests.servers.proxy import Proxy
from tests.servers.s3 import KEY, SECRET, Buckets


class _CountingCodec(JSONLCodec):
    reads: ClassVar[int] = 0

    def event_pages(self, *args: Any, **kwargs: Any) -> Iterator[EventPage]:
        if kwargs.get("data") != () or kwargs.get("timestamps", ()) != ():
            _CountingCodec.reads += 1
        yield from super().event_pages(*args, **kwargs)


class InBucket(StoreHooks[BucketStore]):
    """Runs put in by another writer, which has a tail of its own."""

    writing: ClassVar[dict[str, RunInsert]] = {}

    def make_store(self, folder: Path) -> BucketStore:
        return BucketStore(self.url(folder), _CountingCodec(), storage_options=self.options(), flush_seconds=60)

    def url(self, folder: Path) -> str:
        return str(folder)

    def options(self) -> Mapping[str, Any]:
        return {}

    def insert(self, store: BucketStore, documents: Run) -> None:
        other = self.reopen(store)
        insert = other.insert(documents[0][1])
        for pair in documents[1:]:
            insert.write(*pair)
        if documents[-1][0] != "stop":
            insert.flush()  # type: ignore[attr-defined]  # as time does
            self.writing[str(documents[0][1]["uid"])] = insert
        other.close()

    def append(self, store: BucketStore, uid: str, documents: Run) -> None:
        for pair in documents:
            self.writing[uid].write(*pair)
        self.writing[uid].flush()  # type: ignore[attr-defined]  # as time does
        if documents[-1][0] == "stop":
            self.writing.pop(uid)._files.tail.put()  # type: ignore[attr-defined]  # as the writer's close does

    def remove(self, store: BucketStore, uid: str) -> None:
        other = self.reopen(store)
        other.remove(uid)
        other.close()

    def damage(self, store: BucketStore) -> None:
        other = self.reopen(store)
        location = other.files.location
        location.objects.put(location.below("damaged.jsonl.zst"), zstandard.compress(b'["start", {"uid": "cut o'))
        other.scan()
        other.publish()
        other.close()

    def data_reads(self, store: BucketStore) -> int:
        return _CountingCodec.reads


class TestBucketOnDisk(InBucket, StoreTests[BucketStore]):
    """The whole suite, in folders."""


@pytest.mark.slow
class TestBucketInS3(
    InBucket, StoreLifeCycleTests[BucketStore], StoreWritingTests[BucketStore], StoreRemovalTests[BucketStore]
):
    """What reads and writes objects; the rest of the suite asks the local index."""

    endpoint: ClassVar[str]

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def server(cls, buckets: Buckets) -> None:
        cls.endpoint = buckets.endpoint

    def url(self, folder: Path) -> str:
        return f"s3://private/{folder.parent.name}-{uuid4().hex}"

    def options(self) -> Mapping[str, Any]:
        return {"key": KEY, "secret": SECRET, "client_kwargs": {"endpoint_url": self.endpoint}}


def options_of(endpoint: str) -> dict[str, Any]:
    return {"key": KEY, "secret": SECRET, "client_kwargs": {"endpoint_url": endpoint}}


@pytest.fixture
def place() -> str:
    return f"s3://private/{uuid4().hex}"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("INTAKE_BLUESKY_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def opened(place: str, endpoint: str, **more: Any) -> BlueskyBucketCatalog:
    return BlueskyBucketCatalog(place, storage_options=options_of(endpoint), **more)


def write(catalog: Any, *runs: Run) -> None:
    with catalog.writer() as writer:
        for run in runs:
            for pair in run:
                writer(*pair)


def many(number: int, first: int = 0) -> list[Run]:
    runs = []
    for place in range(first, first + number):
        run = RunComposer(f"run {place}", scan_id=place)
        descriptor = run.descriptor({"x": data_key("number")})
        run.event(descriptor, {"x": float(place)})
        run.stop()
        runs.append(run.documents)
    return runs


@pytest.mark.slow
class TestRequests:
    """Counted by a proxy before the server."""

    def test_of_a_run_that_is_written(self, proxy: Proxy, place: str, cache: Path) -> None:
        catalog = opened(place, proxy.endpoint)
        write(catalog, scan())
        # A look for the index, and for runs without one; then its beginning, the whole, and the index at both times.
        # Before the whole is put there is a look whether the run was removed.
        assert [proxy.count(method) for method in ("LIST", "HEAD", "GET")] == [2, 1, 0]
        assert 3 <= proxy.count("PUT") <= 4
        catalog.store.close()

    def test_of_reading(
        self, proxy: Proxy, place: str, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        writer = opened(place, proxy.endpoint)
        write(writer, *many(300), scan())
        writer.store.close()
        monkeypatch.setenv("INTAKE_BLUESKY_CACHE", str(tmp_path / "another"))
        proxy.reset()
        catalog = opened(place, proxy.endpoint)
        assert len(catalog) == 301
        # One sealed segment, and the tail.
        assert [request.method for request in proxy.requests] == ["LIST", "GET", "GET"]
        proxy.reset()
        catalog.refresh()
        assert len(catalog.search({"scan_id": {"$gte": 10, "$lt": 20}})) == 10
        assert [request.method for request in proxy.requests] == ["LIST"]
        proxy.reset()
        uid = scan()[0][1]["uid"]
        header = catalog.store.header(uid)
        assert header.streams["primary"].events == 11
        assert [request.method for request in proxy.requests] == ["GET"]
        proxy.reset()
        assert catalog[uid].primary.read()["theta"].size == 11
        assert [request.method for request in proxy.requests] == ["GET"]
        catalog.store.close()

    def test_what_a_reader_knows_is_not_fetched_again_when_it_is_merged(
        self, proxy: Proxy, place: str, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        writer = opened(place, proxy.endpoint)
        with monkeypatch.context() as patch:
            patch.setattr("intake_bluesky.files.bucket.tail.FULL", 2)
            patch.setattr(SegmentFolder, "merge", lambda _: False)
            write(writer, *many(8))
        monkeypatch.setenv("INTAKE_BLUESKY_CACHE", str(tmp_path / "another"))
        reader = opened(place, proxy.endpoint)
        assert len(reader) == 8
        assert writer.store.files.segments.merge()  # type: ignore[attr-defined]  # of a bucket
        proxy.reset()
        reader.refresh()
        assert len(reader) == 8
        assert [request.method for request in proxy.requests] == ["LIST"]
        write(writer, *many(1, first=8))
        writer.store.close()
        proxy.reset()
        reader.refresh()
        assert len(reader) == 9
        assert [request.method for request in proxy.requests] == ["LIST", "GET"]
        reader.store.close()

    def test_of_the_index_made_anew(self, proxy: Proxy, place: str, cache: Path, tmp_path: Path) -> None:
        writer = opened(place, proxy.endpoint)
        write(writer, *many(3))
        writer.store.close()
        source = {
            "driver": "bluesky-bucket-catalog",
            "args": {"urlpath": place, "storage_options": options_of(proxy.endpoint)},
        }
        (tmp_path / "bucket.yml").write_text(json.dumps({"sources": {"runs": source}}), encoding="utf-8")
        proxy.reset()
        assert main(["index", str(tmp_path / "bucket.yml")]) == 0
        listed = [request.path for request in proxy.requests if request.method == "LIST"]
        # The index for what finds runs, and for what else is known of them; the runs once.
        assert [path.rpartition("=")[2].split("%2F")[1] for path in listed if "_parts" not in path] == [
            "_index",
            "",
            "_index",
        ]
        assert proxy.count("POST") == 0  # the tail that is there belongs to a writer


@pytest.mark.slow
def test_a_bucket_to_which_nothing_was_written_yet(
    buckets: Buckets, place: str, cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = {
        "driver": "bluesky-bucket-catalog",
        "args": {"urlpath": place, "storage_options": options_of(buckets.endpoint)},
    }
    path = tmp_path / "bucket.yml"
    path.write_text(json.dumps({"sources": {"runs": source}}), encoding="utf-8")
    assert main(["ls", str(path)]) == 0
    assert capsys.readouterr().out == f"{path} has no runs yet\n"
    assert main(["index", str(path)]) == 0
    assert "published" not in capsys.readouterr().out  # the address may be a mistake
    catalog = opened(place, buckets.endpoint)
    assert (len(catalog), catalog.problems) == (0, ())
    write(catalog, *many(1))
    catalog.store.close()
    path.write_text(path.read_text(encoding="utf-8").replace("s3://private", "s3://privat"), encoding="utf-8")
    assert main(["ls", str(path)]) == 2
    assert "there is no bucket s3://privat" in capsys.readouterr().err


def test_a_folder_of_this_machine_that_is_not_there(
    tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bucket.yml"
    path.write_text("sources: {runs: {driver: bluesky-bucket-catalog, args: {urlpath: '{{ CATALOG_DIR }}/runs'}}}")
    assert main(["ls", str(path)]) == 2
    assert "there is no such file or folder (yet)" in capsys.readouterr().err
    (tmp_path / "runs").mkdir()
    assert main(["ls", str(path)]) == 0
    assert "has no runs yet" in capsys.readouterr().out


@pytest.mark.slow
class TestWriting:
    def test_a_run_is_put_in_parts_and_read_while_it_goes_on(
        self, buckets: Buckets, place: str, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """At every moment readers see what was put so far, and what they read before stays."""
        monkeypatch.setattr(live_pieces, "PIECE", 4000)
        run = RunComposer("large")
        descriptor = run.descriptor({"x": data_key("array", [50])})
        rng = np.random.default_rng(3)
        for _ in range(60):
            run.event(descriptor, {"x": rng.normal(size=50).tolist()})
        run.stop()
        catalog = opened(place, buckets.endpoint)
        location = catalog.store.files.location  # type: ignore[attr-defined]  # of a bucket
        path = location.path(f"{run.documents[0][1]['uid']}.jsonl.zst")
        insert = catalog.store.insert(run.documents[0][1])
        insert.write(*run.documents[1])
        insert.flush()  # type: ignore[attr-defined]  # as time does
        monkeypatch.setenv("INTAKE_BLUESKY_CACHE", str(tmp_path / "another"))
        reader = opened(place, buckets.endpoint)
        seen = 0
        older = location.open(path)
        for number, pair in enumerate(run.documents[2:], start=1):
            insert.write(*pair)
            if number % 10 == 0 and pair[0] == "event":
                insert.flush()  # type: ignore[attr-defined]  # as time does
                reader.refresh()
                read = reader[-1].primary.read()["x"]
                assert read.shape == (number, 50)
                assert read.shape[0] > seen
                seen = read.shape[0]
                older = older if number > 30 else location.open(path)
        assert len(location.parts_of(path)) == 0  # the run has ended
        # One who looked at the parts goes on to read, now in the whole.
        half = older.read(0, older.size)
        assert older.size > 8000
        assert half == location.open(path).read(0, older.size)
        reader.refresh()
        assert identical(list(reader.store.documents(run.run_uid)), run.documents)
        assert identical(list(catalog.store.documents(run.run_uid)), run.documents)
        for one in (catalog, reader):
            one.store.close()

    def test_of_two_who_begin_a_run_one_is_refused(self, buckets: Buckets, place: str, cache: Path) -> None:
        one, other = opened(place, buckets.endpoint), opened(place, buckets.endpoint)
        first = one.store.insert(scan()[0][1])
        with pytest.raises(DuplicateRun):
            other.store.insert(scan()[0][1])
        for pair in scan()[1:]:
            first.write(*pair)
        with pytest.raises(DuplicateRun):
            other.store.insert(scan()[0][1])
        assert identical(list(other.store.documents(scan()[0][1]["uid"])), scan())
        for catalog in (one, other):
            catalog.store.close()

    def test_whole_runs_are_one_request_each(self, proxy: Proxy, place: str, cache: Path) -> None:
        store = opened(place, proxy.endpoint).store
        runs = many(40)
        proxy.fail("lose the answer", "PUT", times=3)
        assert list(store.insert_runs(runs)) == [None] * 40
        store.close()
        # Three were put twice, and the index twice or thrice.
        assert proxy.count("PUT") <= 40 + 3 + 3
        assert [type(error) for error in store.insert_runs(runs[:2])] == [DuplicateRun] * 2
        assert store.count() == 40
        for run in runs[::13]:
            assert identical(list(store.documents(str(run[0][1]["uid"]))), run)
        store.close()

    @pytest.mark.parametrize("fault", ["slow down", "broken", "drop", "lose the answer"])
    def test_a_bucket_that_fails_now_and_then(self, proxy: Proxy, place: str, cache: Path, fault: Any) -> None:
        catalog = opened(place, proxy.endpoint)
        proxy.fail(fault, "PUT", times=3)
        write(catalog, scan())
        catalog.store.close()
        assert proxy.faults == []
        again = opened(place, proxy.endpoint)
        assert identical(list(again.store.documents(scan()[0][1]["uid"])), scan())
        again.store.close()

    def test_a_bucket_that_may_not_be_written(self, buckets: Buckets, cache: Path) -> None:
        catalog = BlueskyBucketCatalog(
            f"s3://public/{uuid4().hex}",
            storage_options={"anon": True, "client_kwargs": {"endpoint_url": buckets.endpoint}},
        )
        with pytest.raises(StoreUnavailable, match="cannot be written"):
            write(catalog, scan())
        assert len(catalog) == 0
        catalog.store.close()


@pytest.mark.slow
class TestReading:
    def test_runs_that_others_put_there(
        self, buckets: Buckets, place: str, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Without an index, the objects are listed; beside one, `intake-bluesky index` finds them."""
        bucket, _, prefix = place.removeprefix("s3://").partition("/")

        def put(run: Run) -> None:
            body = b"".join(json.dumps([name, to_plain(doc)]).encode() + b"\n" for name, doc in run)
            buckets.client.put_object(Bucket=bucket, Key=f"{prefix}/{run[0][1]['uid']}.jsonl", Body=body)

        put(scan())
        catalog = opened(place, buckets.endpoint)
        assert len(catalog) == 1
        write(catalog, *many(1))
        catalog.store.files.tail.put()  # type: ignore[attr-defined]  # of a bucket
        monkeypatch.setenv("INTAKE_BLUESKY_CACHE", str(tmp_path / "another"))
        new = opened(place, buckets.endpoint)
        assert len(new) == 2  # the first who writes an index puts into it what was there
        new.store.close()
        put(count())
        assert len(catalog.refresh()) == 2
        catalog.store.scan()  # type: ignore[attr-defined]  # of files
        assert len(catalog) == 3
        catalog.store.publish()  # type: ignore[attr-defined]  # of files
        other = opened(place, buckets.endpoint)
        assert len(other) == 3
        for one in (catalog, other):
            one.store.close()

    def test_an_object_that_is_gone_or_another(self, buckets: Buckets, place: str, cache: Path) -> None:
        catalog = opened(place, buckets.endpoint)
        write(catalog, scan(), count())
        catalog.store.files.tail.put()  # type: ignore[attr-defined]  # of a bucket
        lazy, uid = catalog[scan()[0][1]["uid"]].primary.to_dask(), scan()[0][1]["uid"]
        bucket, _, prefix = place.removeprefix("s3://").partition("/")
        buckets.client.put_object(Bucket=bucket, Key=f"{prefix}/{uid}.jsonl.zst", Body=b"another")
        with pytest.raises(DamagedRun):
            lazy.compute()
        buckets.client.delete_object(Bucket=bucket, Key=f"{prefix}/{uid}.jsonl.zst")
        with pytest.raises(DamagedRun):
            lazy.compute()
        catalog.store.scan()  # type: ignore[attr-defined]  # of files
        assert len(catalog) == 1
        assert catalog[count()[0][1]["uid"]].primary.read().sizes["time"] > 0
        catalog.store.close()


@pytest.mark.parametrize("name", ["../secret.jsonl", "below/a.jsonl", ".removed.jsonl", "notes.txt", "..", ""])
def test_an_index_names_runs_of_its_folder_alone(tmp_path: Path, cache: Path, name: str) -> None:
    catalog = BlueskyBucketCatalog(tmp_path / "runs", compression=None)
    write(catalog, scan())
    content = next((tmp_path / "runs").glob("*.jsonl")).read_bytes()
    (tmp_path / "secret.jsonl").write_bytes(content)
    start = content.splitlines(keepends=True)[0].replace(scan()[0][1]["uid"].encode(), b"other")
    catalog.store.files.segments.put("s-hostile-000001", [SegmentRow(name, "ff-1", start)])  # type: ignore[attr-defined]
    assert list(catalog.refresh()) == [scan()[0][1]["uid"]]
    catalog.store.close()


def test_a_damaged_index_is_made_anew(tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    catalog = BlueskyBucketCatalog(tmp_path / "runs")
    write(catalog, scan(), count())
    catalog.store.close()
    [tail] = (tmp_path / "runs" / "_index").iterdir()
    tail.rename(tail.with_name("s-other-000001"))
    tail.with_name("s-other-000001").write_bytes(b"nonsense")
    other = BlueskyBucketCatalog(tmp_path / "runs")
    with pytest.warns(UserWarning, match="some runs may be missing"):
        write(other, *many(1))
    other.store.close()
    shutil.rmtree(cache)
    damaged = BlueskyBucketCatalog(tmp_path / "runs")
    with pytest.warns(UserWarning, match="some runs may be missing: make it anew with `intake-bluesky index"):
        assert len(damaged) == 1  # what can be read is not hidden, and what is wrong is told
    assert [problem.where.rpartition("/")[2] for problem in damaged.problems] == ["s-other-000001"]
    damaged.store.close()
    with pytest.warns(UserWarning, match="some runs may be missing"):
        assert main(["index", str(tmp_path / "runs")]) == 0
    assert "3 runs, 0 problems" in capsys.readouterr().out
    assert [path.name[:2] for path in sorted((tmp_path / "runs" / "_index").iterdir())] == ["b-", "d-", "t-"]
    again = BlueskyBucketCatalog(tmp_path / "runs")
    assert len(again) == 3
    again.store.close()


def test_of_yaml_pickles_and_msgpack(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "bucket.yml").write_text(
        "sources: {runs: {driver: bluesky-bucket-catalog, args: "
        "{urlpath: '{{ CATALOG_DIR }}/runs', format: msgpack, compression: null}}}",
        encoding="utf-8",
    )
    catalog = intake.open_catalog(str(tmp_path / "bucket.yml")).runs
    write(catalog, scan())
    catalog.store.close()
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["_index", f"{scan()[0][1]['uid']}.msgpack"]
    other = pickle.loads(pickle.dumps(catalog))
    assert other[-1].primary.read()["theta"].size == 11
    assert type(other.store.codec) is type(CODECS["msgpack"])
    other.store.close()
    own = BlueskyBucketCatalog(tmp_path / "runs", format="msgpack", name="saved")
    assert "driver: bluesky-bucket-catalog\n" in own.yaml()
    own.save(str(tmp_path / "saved.yml"))
    saved = intake.open_catalog(str(tmp_path / "saved.yml")).saved
    assert len(saved) == 1
    for one in (own, saved):
        one.store.close()


def test_the_command_line_opens_folders_with_an_index(
    tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    catalog = BlueskyBucketCatalog(tmp_path / "runs")
    write(catalog, *many(5))
    catalog.store.close()
    assert main(["ls", str(tmp_path / "runs")]) == 0
    assert "5 runs" in capsys.readouterr().out
    assert main(["index", str(tmp_path / "runs")]) == 0
    assert "_index/b-" in capsys.readouterr().out


@pytest.mark.parametrize("url", ["{folder}", "memory://index-{name}"])
def test_there_is_no_second_index(tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str], url: str) -> None:
    place = url.format(folder=tmp_path / "runs", name=uuid4().hex)
    catalog = BlueskyBucketCatalog(place)
    write(catalog, *many(2))
    catalog.store.close()
    pattern = f"{place}/*.jsonl.zst"
    assert main(["index", pattern]) == 2
    assert f"anew with `intake-bluesky index {place.replace('memory://', 'memory:///')}`" in capsys.readouterr().err
    assert main(["index", "--no-publish", pattern]) == 0
    assert "2 runs" in capsys.readouterr().out
    assert main(["ls", pattern]) == 0


def test_a_catalog_from_elsewhere_names_buckets_alone(tmp_path: Path) -> None:
    with pytest.raises(UntrustedName):
        BlueskyBucketCatalog.from_elsewhere({"urlpath": str(tmp_path)})
    given = BlueskyBucketCatalog.from_elsewhere({"urlpath": "s3://bucket/runs"})
    assert given["storage_options"]["anon"] is True


def test_an_odd_uid_names_no_object(tmp_path: Path, cache: Path) -> None:
    store = BucketStore(tmp_path, CODECS["jsonl"])
    with pytest.raises(UntrustedName):
        store.insert({"uid": "../other", "time": 1.0})
    with DocumentWriter(store) as writer:
        for pair in scan():
            writer(*pair)
    store.close()
