"""Runs that are read while they are written: what is sent for them, and that readers never see less than before."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pytest

from intake_bluesky.documents.model import identical
from intake_bluesky.files.bucket import live_pieces, run_writer
from intake_bluesky.files.bucket.live_pieces import LivePieces
from intake_bluesky.files.bucket.location import BucketLocation, PartsSource
from intake_bluesky.files.bucket.store import BucketStore
from intake_bluesky.files.codec import CODECS
from intake_bluesky.files.content.source import ByteSource
from intake_bluesky.objects import ObjectInfo
from intake_bluesky.storage.contract import RunInsert
from intake_bluesky.testing.compose import RunComposer, data_key
from intake_bluesky.testing.examples import Run
from tests.servers.proxy import Proxy
from tests.servers.s3 import KEY, SECRET


def random_run(events: int, label: str = "live") -> Run:
    """A run of numbers that hardly compress."""
    run = RunComposer(label)
    descriptor = run.descriptor({"x": data_key("array", [100])})
    chance = np.random.default_rng(5)
    for _ in range(events):
        run.event(descriptor, {"x": chance.normal(size=100).tolist()})
    run.stop()
    return run.documents


def store_at(place: str, endpoint: str = "", **more: Any) -> BucketStore:
    options = {"key": KEY, "secret": SECRET, "client_kwargs": {"endpoint_url": endpoint}} if endpoint else {}
    return BucketStore(place, CODECS["jsonl"], storage_options=options, **more)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INTAKE_BLUESKY_CACHE", str(tmp_path / "cache"))


def path_of(store: BucketStore, run: Run) -> str:
    return store.files.location.path(f"{run[0][1]['uid']}.jsonl.zst")


def sent_for(proxy: Proxy, events: int) -> tuple[float, float, int]:
    """Bytes sent for each byte of a run, requests for each event, and most of the pieces that it lay in."""
    run = random_run(events)
    store = store_at(f"s3://private/{uuid4().hex}", proxy.endpoint, flush_seconds=0)
    insert = store.insert(run[0][1])
    location, most = store.files.location, 0
    proxy.reset()
    for number, pair in enumerate(run[1:-1]):
        insert.write(*pair)
        if number % 97 == 0:
            counted = list(proxy.requests)
            source = location.open(path_of(store, run))
            most = max(most, len(getattr(source, "_pieces", [source])))
            proxy.requests[:] = counted
    insert.write(*run[-1])
    requests = [one for one in proxy.requests if "/_index" not in one.path and "%2F_index" not in one.path]
    size = location.open(path_of(store, run)).size
    assert location.parts_of(path_of(store, run)) == []
    assert identical(list(store.documents(str(run[0][1]["uid"]))), run)
    store.close()
    return sum(one.sent for one in requests) / size, len(requests) / events, most


@pytest.mark.slow
def test_what_is_sent_grows_with_the_logarithm_of_the_events(proxy: Proxy) -> None:
    """With `flush_seconds=0`; each four times as many events add about one time the bytes of the run."""
    found = {events: sent_for(proxy, events) for events in (60, 240, 960)}
    print({events: tuple(round(one, 2) for one in counts) for events, counts in found.items()})
    for events, (sent, requests, pieces) in found.items():
        assert sent <= 3 + np.log2(events)
        assert requests <= 2.1  # a look and a put each; parts are deleted by the hundred
        assert pieces <= 2 + np.log2(events)
    assert found[960][0] - found[240][0] < 2


def test_pieces_of_flushes_of_any_sizes() -> None:
    chance = np.random.default_rng(11)
    for largest in (2, 100, 10_000, 200_000):
        size = int(chance.integers(1, largest))
        pieces, starts, sent, flushes = LivePieces(size), [0], size, 2000
        for _ in range(flushes):
            size += int(chance.integers(1, largest))
            start = pieces.start(size)
            assert start in [*starts, pieces._size]
            assert pieces.start(size + 1) <= start  # so that what follows a lost answer has all that it had
            gone = pieces.put(start, size)
            sent += size - start
            starts = [*(one for one in starts if one < start), start]
            assert not set(gone) & set(starts)
        lengths = np.diff([*starts, size])
        small = lengths[lengths < live_pieces.PIECE]
        assert (small[:-1] >= 2 * small[1:]).all()
        assert len(lengths) <= size / live_pieces.PIECE + 22
        little = live_pieces.LITTLE * min(flushes, 2 * live_pieces.LITTLE / largest)
        assert sent <= little + size * (2 + np.log(min(live_pieces.PIECE, size)) / np.log(1.5))


def reads_all(location: BucketLocation, path: str, wanted: bytes) -> None:
    with location.open(path) as source:
        assert source.read(0, source.size) == wanted[: source.size]
        assert source.size == len(wanted)


def whole(insert: RunInsert) -> bytes:
    file = insert._whole  # type: ignore[attr-defined]  # of a bucket
    place = file.tell()
    file.seek(0)
    content: bytes = file.read()
    file.seek(place)
    return content


def test_readers_that_opened_a_run_at_any_moment_read_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts that a reader holds are put into others, and deleted, before it reads them."""
    monkeypatch.setattr(live_pieces, "LITTLE", 0)
    monkeypatch.setattr(live_pieces, "PIECE", 20_000)
    monkeypatch.setattr(run_writer, "MANY", 3)
    run = random_run(120)
    (tmp_path / "runs").mkdir()
    store = store_at(str(tmp_path / "runs"), flush_seconds=0)
    insert, location, path = store.insert(run[0][1]), store.files.location, path_of(store, run)
    earlier: list[ByteSource] = []
    for pair in run[1:-1]:
        insert.write(*pair)
        content = whole(insert)
        reads_all(location, path, content)
        source = location.open(path)
        earlier += [source] * isinstance(source, PartsSource)  # of one object they begin anew
        for source in earlier:
            assert source.read(0, source.size) == content[: source.size]
            assert source.read(source.size - 300, source.size - 7) == content[source.size - 300 : source.size - 7]
    assert len(earlier) > 60
    assert len(location.parts_of(path)) < 30  # of those that were put
    insert.write(*run[-1])
    assert location.parts_of(path) == []
    for source in earlier:
        assert source.read(0, source.size) == content[: source.size]
    store.close()


def test_listing_of_two_moments_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A part that it missed, since that is in an earlier one meanwhile, leaves a gap."""
    monkeypatch.setattr(live_pieces, "LITTLE", 0)
    run = random_run(40)
    (tmp_path / "runs").mkdir()
    store = store_at(str(tmp_path / "runs"), flush_seconds=0)
    insert, location, path = store.insert(run[0][1]), store.files.location, path_of(store, run)
    rest = iter(run[1:])
    while len(held := getattr(location.open(path), "_pieces", [])) < 3:
        insert.write(*next(rest))
    listing, looks = location.parts_of(path), list[int]()

    def listed(self: BucketLocation, path: str) -> list[ObjectInfo]:
        looks.append(1)
        return [one for one in listing if one.name != held[1].name] if len(looks) == 1 else listing

    monkeypatch.setattr(BucketLocation, "parts_of", listed)
    reads_all(location, path, whole(insert))
    assert len(looks) == 2
    insert.close()
    store.close()


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["lose the answer", "slow down", "drop"])
def test_a_put_whose_answer_is_lost(proxy: Proxy, fault: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_pieces, "LITTLE", 1000)
    run = random_run(30)
    store = store_at(f"s3://private/{uuid4().hex}", proxy.endpoint, flush_seconds=0)
    insert, location, path = store.insert(run[0][1]), store.files.location, path_of(store, run)
    for pair in run[1:-1]:
        proxy.fail(fault, "PUT")
        insert.write(*pair)
        reads_all(location, path, whole(insert))
    insert.write(*run[-1])
    assert location.parts_of(path) == []
    assert identical(list(store.documents(str(run[0][1]["uid"]))), run)
    store.close()


@pytest.mark.slow
def test_finished_runs_are_scanned_with_one_request_each(proxy: Proxy) -> None:
    """What the listing told of them is enough; a run that goes on is looked at with its parts."""
    place = f"s3://private/{uuid4().hex}"
    writer = store_at(place, proxy.endpoint, flush_seconds=0)
    runs = [random_run(3, f"run {number}") for number in range(20)]
    assert list(writer.insert_runs(runs)) == [None] * 20
    live = random_run(40)
    insert = writer.insert(live[0][1])
    for pair in live[1:-1]:
        insert.write(*pair)
    writer.files.tail.put()
    reader = store_at(place, proxy.endpoint)
    names = [info.name for info in reader.files.location.objects.list(reader.files.location.below("_index"))]
    reader.files.location.objects.delete(names)
    proxy.reset()
    reader.files.refresh(deep=True)
    assert proxy.count("HEAD") <= 1  # of the live one
    assert proxy.count("GET") <= 20 + 1 + 10  # the pieces of the live one
    assert proxy.count("LIST") <= 3  # the index, the runs, and parts of the live one
    assert sum(run.stop is not None for run in reader.find()) == 20
    assert reader.header(str(live[0][1]["uid"])).streams["primary"].events == 40
    insert.close()
    for store in (writer, reader):
        store.close()
