"""Several processes with one catalog in a bucket: writers, readers, those who merge its index, and those killed."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
from multiprocessing.context import SpawnContext
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from intake_bluesky.documents.model import identical
from intake_bluesky.files.bucket import tail
from intake_bluesky.files.bucket.segments import IDLE, SegmentFolder
from intake_bluesky.files.bucket.store import BucketStore
from intake_bluesky.files.codec import CODECS
from intake_bluesky.storage.writer import DocumentWriter
from intake_bluesky.testing.compose import RunComposer, data_key
from intake_bluesky.testing.examples import Run
from tests.servers.s3 import KEY, SECRET, Buckets

pytestmark = pytest.mark.slow

RUNS = 500
KILLED = 50


def run_of(writer: int, number: int) -> Run:
    run = RunComposer(f"{writer} {number}", scan_id=number, writer=writer)
    descriptor = run.descriptor({"x": data_key("number")})
    for _ in range(3):
        run.event(descriptor, {"x": float(number)})
    run.stop()
    return run.documents


def store_of(place: str, endpoint: str, cache: Path) -> BucketStore:
    os.environ["INTAKE_BLUESKY_CACHE"] = str(cache)
    options = {"key": KEY, "secret": SECRET, "client_kwargs": {"endpoint_url": endpoint}}
    return BucketStore(place, CODECS["jsonl"], storage_options=options)


def write_runs(place: str, endpoint: str, cache: Path, writer: int) -> None:
    vars(tail).update(FULL=16, SOON=0.02)  # so that tails are sealed and merged often
    store = store_of(place, endpoint, cache)
    with DocumentWriter(store) as write:
        for number in range(RUNS):
            for pair in run_of(writer, number):
                write(*pair)
    store.close()


def read_again_and_again(place: str, endpoint: str, cache: Path, ended: Event, told: Queue[tuple[int, int]]) -> None:
    """Count the times that a reader, and one who comes new each time, saw less than was there before."""
    store = store_of(place, endpoint, cache / "one")
    seen = looks = back = 0
    while not ended.is_set():
        store.refresh()
        found = store.count()
        back += found < seen
        seen = found
        new = store_of(place, endpoint, cache / f"new{looks}")
        back += new.count() < seen
        new.close()
        looks += 1
    store.close()
    told.put((looks, back))


def merge_again_and_again(place: str, endpoint: str, cache: Path, ended: Event, told: Queue[tuple[int, int]]) -> None:
    store = store_of(place, endpoint, cache)
    merged = tries = 0
    while not ended.is_set():
        merged += store.files.segments.merge()
        tries += 1
        time.sleep(0.02)
    store.close()
    told.put((tries, merged))


def test_writers_a_reader_and_one_who_merges(buckets: Buckets, tmp_path: Path) -> None:
    context: SpawnContext = multiprocessing.get_context("spawn")
    place, ended = f"s3://private/{uuid4().hex}", context.Event()
    reading: Queue[tuple[int, int]] = context.Queue()
    merging: Queue[tuple[int, int]] = context.Queue()
    others = [
        context.Process(target=read_again_and_again, args=(place, buckets.endpoint, tmp_path / "r", ended, reading)),
        context.Process(target=merge_again_and_again, args=(place, buckets.endpoint, tmp_path / "m", ended, merging)),
    ]
    writers = [
        context.Process(target=write_runs, args=(place, buckets.endpoint, tmp_path / f"w{number}", number))
        for number in range(2)
    ]
    for process in (*others, *writers):
        process.start()
    for process in writers:
        process.join()
    ended.set()
    looks, back = reading.get(timeout=60)
    assert merging.get(timeout=60)[0] > 3
    for process in (*others, *writers):
        process.join()
        assert process.exitcode == 0
    assert back == 0
    assert looks > 3
    store = store_of(place, buckets.endpoint, tmp_path / "last")
    expected = {str(run_of(writer, number)[0][1]["uid"]) for writer in range(2) for number in range(RUNS)}
    found = [run.uid for run in store.find()]
    assert len(found) == len(set(found)) == 2 * RUNS
    assert set(found) == expected
    assert all(run.stop is not None for run in store.find())
    # Merged as they were sealed: few requests for those who come new.
    assert len(store.files.segments.listed()) < 2 * RUNS / 16 + 6
    uid = random.Random(1).choice(sorted(expected))
    assert len(list(store.documents(uid))) == 6
    store.close()


def write_until_killed(place: str, endpoint: str, cache: Path, writer: int) -> None:
    vars(tail).update(FULL=8, SOON=0.02)
    store = store_of(place, endpoint, cache)
    with DocumentWriter(store) as write:
        for number in range(10_000):
            for pair in run_of(writer, number):
                write(*pair)


def test_killed_writers_harm_nothing(buckets: Buckets, tmp_path: Path) -> None:
    context: SpawnContext = multiprocessing.get_context("spawn")
    place, chance = f"s3://private/{uuid4().hex}", random.Random(7)
    store = store_of(place, buckets.endpoint, tmp_path / "good")
    good: list[Run] = []
    for round_ in range(KILLED // 10):
        processes = [
            context.Process(target=write_until_killed, args=(place, buckets.endpoint, tmp_path / f"k{number}", number))
            for number in range(10 * round_ + 100, 10 * round_ + 110)
        ]
        for process in processes:
            process.start()
        deadline = time.monotonic() + 60
        while len(store.files.segments.listed()) < 5 and time.monotonic() < deadline:
            time.sleep(0.1)
        for process in processes:
            time.sleep(chance.uniform(0, 0.3))
            assert process.pid is not None
            os.kill(process.pid, signal.SIGKILL)
        with DocumentWriter(store) as write:
            for pair in run_of(1, round_):
                write(*pair)
        good.append(run_of(1, round_))
        for process in processes:
            process.join()
    store.close()
    _check(store_of(place, buckets.endpoint, tmp_path / "as it is"), good, whole=False)
    again = store_of(place, buckets.endpoint, tmp_path / "anew")
    again.scan()
    again.publish()
    again.close()
    _check(store_of(place, buckets.endpoint, tmp_path / "after"), good, whole=True)


def _check(store: BucketStore, good: list[Run], *, whole: bool) -> None:
    """All runs can be read, each as far as it got; `whole` ones are all that there are."""
    found = {run.uid: run for run in store.find()}
    for run in good:
        assert identical(list(store.documents(str(run[0][1]["uid"]))), run)
    location = store.files.location
    names = {info.name.rpartition("/")[2].partition(".")[0] for info in location.objects.list(location.name)}
    assert found.keys() <= names
    if whole:
        assert found.keys() == names
    for uid, summary in found.items():
        start = dict(summary.start)
        expected = run_of(start["writer"], start["scan_id"])
        documents = list(store.documents(uid))
        assert identical(documents, expected[: len(documents)])
        assert (documents[-1][0] == "stop") == (store.header(uid).stop is not None)
    assert list(store.problems()) == []
    store.close()


def test_a_tail_that_nobody_writes_is_merged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And its writer, should it wake up, leaves it alone."""
    store = BucketStore(tmp_path / "runs", CODECS["jsonl"])
    monkeypatch.setenv("INTAKE_BLUESKY_CACHE", str(tmp_path / "cache"))
    insert = store.insert(run_of(1, 1)[0][1])
    monkeypatch.setattr("intake_bluesky.files.bucket.segments.IDLE", 0.0)
    monkeypatch.setattr("intake_bluesky.files.bucket.segments.SEVERAL", 1)
    monkeypatch.setattr("intake_bluesky.files.bucket.tail.IDLE", 0.0)
    time.sleep(0.01)
    other = BucketStore(tmp_path / "runs", CODECS["jsonl"])
    other.insert(run_of(2, 1)[0][1]).close()
    other.files.tail.put()
    assert isinstance(store.files.segments, SegmentFolder)
    assert other.files.segments.merge()
    for pair in run_of(1, 1)[1:]:
        insert.write(*pair)
    store.close()
    reader: Any = BucketStore(tmp_path / "runs", CODECS["jsonl"])
    monkeypatch.setenv("INTAKE_BLUESKY_CACHE", str(tmp_path / "another"))
    assert {run.uid: run.stop is not None for run in reader.find()} == {
        run_of(1, 1)[0][1]["uid"]: True,
        run_of(2, 1)[0][1]["uid"]: False,
    }
    assert identical(list(reader.documents(str(run_of(1, 1)[0][1]["uid"]))), run_of(1, 1))
    for one in (reader, other):
        one.close()


def test_a_merger_that_was_overtaken_puts_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs whose objects were deleted, and of which the index made anew has nothing, would be back."""
    monkeypatch.setenv("INTAKE_BLUESKY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("intake_bluesky.files.bucket.tail.FULL", 1)
    store = BucketStore(tmp_path / "runs", CODECS["jsonl"])
    merge = SegmentFolder.merge
    monkeypatch.setattr(SegmentFolder, "merge", lambda _: False)
    for number in range(4):
        with store.insert(run_of(number, 1)[0][1]) as insert:
            for pair in run_of(number, 1)[1:]:
                insert.write(*pair)
    gone = str(run_of(0, 1)[0][1]["uid"])
    read = SegmentFolder._merged

    def slowly(*arguments: Any) -> Any:
        found = read(*arguments)
        (tmp_path / "runs" / f"{gone}.jsonl.zst").unlink()
        other = BucketStore(tmp_path / "runs", CODECS["jsonl"])
        other.publish()
        other.close()
        return found

    monkeypatch.setattr(SegmentFolder, "_merged", slowly)
    assert not merge(store.files.segments)
    store.close()
    monkeypatch.setenv("INTAKE_BLUESKY_CACHE", str(tmp_path / "another"))
    reader = BucketStore(tmp_path / "runs", CODECS["jsonl"])
    assert {run.uid for run in reader.find()} == {run_of(number, 1)[0][1]["uid"] for number in (1, 2, 3)}
    reader.close()


def test_details_without_a_base_are_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their writer was killed before it put the base; those put just now may get theirs yet."""
    monkeypatch.setenv("INTAKE_BLUESKY_CACHE", str(tmp_path / "cache"))
    store = BucketStore(tmp_path / "runs", CODECS["jsonl"])
    with store.insert(run_of(1, 1)[0][1]) as insert:
        for pair in run_of(1, 1)[1:]:
            insert.write(*pair)
    index = tmp_path / "runs" / "_index"
    for name, age in (("d-old", 2 * IDLE), ("d-new", IDLE / 2)):
        (index / name).write_bytes(b"")
        os.utime(index / name, (time.time() - age,) * 2)
    store.publish()
    own = {path.name[2:] for path in index.iterdir() if path.name.startswith("b-")}
    assert {path.name[2:] for path in index.iterdir() if path.name.startswith("d-")} == {"new", *own}
    store.close()
