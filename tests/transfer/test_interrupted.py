"""Copies that are killed, meet others, full disks and damage: what is there is whole, and nothing twice."""

from __future__ import annotations

import errno
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from intake_bluesky import BlueskyCatalog, ingest
from intake_bluesky.errors import CopyFailed, UnsupportedOperation
from intake_bluesky.objects import objects_at
from intake_bluesky.storage import WrapperStore
from intake_bluesky.testing import MemoryStore
from intake_bluesky.testing.asset_runs import frames, write_hdf5
from intake_bluesky.testing.compose import RunComposer, data_key
from intake_bluesky.testing.differences import assert_documents
from intake_bluesky.testing.examples import Run
from intake_bluesky.testing.plain_runs import count, failed, scan, unfinished
from intake_bluesky.transfer import copier
from intake_bluesky.transfer.assets import file_places
from intake_bluesky_bucket import BlueskyBucketCatalog
from intake_bluesky_jsonl import BlueskyJSONLCatalog
from intake_bluesky_msgpack import BlueskyMsgpackCatalog
from intake_bluesky_sql import BlueskySQLCatalog
from tests.drivers.test_bucket import options_of
from tests.transfer.conftest import put
from tests.transfer.packed_runs import streamed


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody else writes."""
    monkeypatch.setattr(copier, "QUIET", 0.05)


def run_of(number: int, events: int = 20) -> Run:
    run = RunComposer(f"run {number}", time=1.7e9 + number, scan_id=number, plan_name="scan")
    primary = run.descriptor({"x": data_key("number"), "y": data_key("number")})
    for event in range(events):
        run.event(primary, {"x": event / 7, "y": number + event / 3})
    run.stop()
    return run.documents


def uids(catalog: BlueskyCatalog) -> list[str]:
    return [run.uid for run in catalog.refresh().store.find()]


def check_all(catalog: BlueskyCatalog, runs: list[Run]) -> None:
    assert sorted(uids(catalog)) == sorted(run[0][1]["uid"] for run in runs)
    for run in runs:
        assert_documents(list(catalog.store.documents(run[0][1]["uid"])), run)


COPY = """
import json, sys
from intake_bluesky import ingest
from intake_bluesky.transfer.assets import file_places
from intake_bluesky_bucket import BlueskyBucketCatalog
from intake_bluesky_jsonl import BlueskyJSONLCatalog
from intake_bluesky_msgpack import BlueskyMsgpackCatalog
from intake_bluesky_sql import BlueskySQLCatalog
source, kind, target, assets, options = sys.argv[1:]
file_places.BLOCK = 500  # in a bucket the files are put as large ones are
into = globals()[kind](target, storage_options=json.loads(options))
ingest.copy(BlueskyJSONLCatalog(source), into=into, assets="copy", assets_into=assets).check()
print("done", flush=True)
"""
KILLED = 20
KINDS: dict[type[BlueskyCatalog], str] = {
    BlueskyMsgpackCatalog: "msgpack", BlueskySQLCatalog: "runs.db", BlueskyBucketCatalog: "bucket",
}  # fmt: skip


def there(folder: str, options: dict[str, Any]) -> list[str]:
    """What is in a folder or a bucket, and below."""
    if "://" not in folder:
        return [str(path.relative_to(folder)) for path in Path(folder).rglob("*") if path.is_file()]
    objects, name = objects_at(folder, options)
    with suppress(FileNotFoundError):
        return [info.name.removeprefix(f"{name}/") for info in objects.list(name, "**")]
    return []


def killed_once_there_are(number: int, chance: float, arguments: list[str], count: Callable[[], int]) -> bool:
    """Copy in a process that is killed once so many files are there, and a little later; whether it was."""
    process = subprocess.Popen([sys.executable, "-c", COPY, *arguments], stdout=subprocess.PIPE)
    while count() < number and process.poll() is None:
        time.sleep(0.01)
    time.sleep(chance)
    process.send_signal(signal.SIGKILL)
    told, _ = process.communicate()
    return told == b""


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS, ids=KINDS.values())
def test_killed_at_any_moment_and_resumed(
    kind: Any, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each process begins where the one before was killed: at 20 points over the length, with files and all."""
    made = [streamed(f"run {number}", write_hdf5(tmp_path / "data" / f"{number}.h5", frames(3, first=number)))
            for number in range(3 * KILLED)]  # fmt: skip
    source = BlueskyJSONLCatalog(str(tmp_path / "source"))
    put(source, made)
    source.store.close()
    target, assets, options = str(tmp_path / KINDS[kind]), str(tmp_path / "assets"), dict[str, Any]()
    if kind is BlueskyBucketCatalog:
        target, options = f"s3://private/{uuid4().hex}", options_of(request.getfixturevalue("buckets").endpoint)
        assets = f"{target}/assets"
    arguments = [str(tmp_path / "source"), kind.__name__, target, assets, json.dumps(options)]
    random_ = random.Random(1)
    killed = [
        killed_once_there_are(3 * point + 1, random_.random() * 0.01, arguments, lambda: len(there(assets, options)))
        for point in range(KILLED)
    ]
    assert sum(killed) >= KILLED - 1, "the last may have been done"
    into = kind(target, storage_options=options)
    monkeypatch.setattr(file_places, "BLOCK", 500)
    report = ingest.copy(source, into=into, assets="copy", assets_into=assets).check()
    assert len(report.copied) + len(report.skipped) == len(report.files) == len(made)
    assert sum(one.new for one in report.files) < 6
    check_all(into, made)
    into.store.close()
    folder = str(tmp_path / "data")[1:]
    assert sorted(there(assets, options)) == sorted(f"{folder}/{number}.h5" for number in range(3 * KILLED))
    if kind is BlueskyMsgpackCatalog:
        assert len(os.listdir(target)) == len(made), "no file is left that is no run"
    moved = kind(target, storage_options=options, root_map=report.root_map)
    (tmp_path / "data").rename(tmp_path / "gone")
    for number in range(0, len(made), 7):
        expected = frames(3, first=number)
        assert (moved[made[number][0][1]["uid"]].primary.read()["image"].values.reshape(3, 4, 6) == expected).all()


def test_beginning_is_copied_anew(tmp_path: Path) -> None:
    made = [scan(), count(), failed()]
    for into in (BlueskyJSONLCatalog(str(tmp_path / "jsonl")), BlueskySQLCatalog(str(tmp_path / "runs.db"))):
        put(into, [scan()[:-3], count()[:1], failed()])
        report = ingest.copy(BlueskyCatalog(MemoryStore(made)), into=into).check()
        assert sorted(report.copied) == sorted(run[0][1]["uid"] for run in made[:2])
        assert report.skipped == [failed()[0][1]["uid"]]
        check_all(into, made)


@pytest.mark.parametrize("left", [b"", b'["start",{"uid":"0f'])
def test_file_without_a_start_document_is_taken_over(left: bytes, tmp_path: Path) -> None:
    into = BlueskyJSONLCatalog(str(tmp_path / "jsonl"))
    put(into, [count()])
    path = tmp_path / "jsonl" / f"{scan()[0][1]['uid']}.jsonl"
    path.write_bytes(left)
    assert ingest.copy(BlueskyCatalog(MemoryStore([scan()])), into=into).copied == [scan()[0][1]["uid"]]
    check_all(into, [scan(), count()])


def test_half_a_document_at_the_end_is_copied_anew(tmp_path: Path) -> None:
    into = BlueskyJSONLCatalog(str(tmp_path / "jsonl"))
    put(into, [scan()])
    [path] = (tmp_path / "jsonl").iterdir()
    path.write_bytes(path.read_bytes()[:-400])
    into.refresh()
    assert ingest.copy(BlueskyCatalog(MemoryStore([scan()])), into=into).copied == [scan()[0][1]["uid"]]
    check_all(into, [scan()])


def test_another_run_of_the_same_uid_is_refused(tmp_path: Path) -> None:
    other = [(name, {**doc, "time": 1.0} if name == "start" else doc) for name, doc in scan()]
    for stored in (other, other[:3]):
        into = BlueskyCatalog(MemoryStore([stored]))
        report = ingest.copy(BlueskyCatalog(MemoryStore([count(), scan()])), into=into)
        assert report.copied == [count()[0][1]["uid"]]
        assert "another run of this uid" in report.refused[scan()[0][1]["uid"]]
        assert_documents(list(into.store.documents(scan()[0][1]["uid"])), stored)
        with pytest.raises(CopyFailed, match="another run"):
            report.check()


def test_unfinished_runs_are_copied_on_request() -> None:
    begun = unfinished()
    source, into = BlueskyCatalog(MemoryStore([begun, scan()])), BlueskyCatalog(MemoryStore())
    report = ingest.copy(source, into=into)
    assert (report.unfinished, len(report.copied)) == ([begun[0][1]["uid"]], 1)
    assert "1 without a stop passed over" in repr(report)
    assert ingest.copy(source, into=into, unfinished="copy").copied == [begun[0][1]["uid"]]
    check_all(into, [begun, scan()])
    # A longer one in the target is not to be cut.
    shorter = BlueskyCatalog(MemoryStore([begun[:2], scan()]))
    assert len(ingest.copy(shorter, into=into, unfinished="copy").skipped) == 2
    check_all(into, [begun, scan()])


def test_two_copies_at_once(tmp_path: Path) -> None:
    made = [run_of(number) for number in range(60)]
    source = BlueskyCatalog(MemoryStore(made))
    reports: list[ingest.CopyReport] = []

    def copy() -> None:
        reports.append(ingest.copy(source, into=BlueskyJSONLCatalog(str(tmp_path / "copies"))))

    threads = [threading.Thread(target=copy) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    check_all(BlueskyJSONLCatalog(str(tmp_path / "copies")), made)
    assert [len(report.copied) + len(report.skipped) for report in reports] == [60, 60]
    assert len(os.listdir(tmp_path / "copies")) == 60


class Full(WrapperStore):
    """A store on a disk that is full after some runs."""

    room = 2

    def insert_runs(self, runs: Any) -> Iterator[Any]:
        for result in self.inner.insert_runs(runs):
            if not self.room:
                raise OSError(errno.ENOSPC, "No space left on device")
            self.room -= 1
            yield result


def test_full_disk_ends_the_copy_with_a_report() -> None:
    made = [run_of(number) for number in range(5)]
    store = MemoryStore()
    with pytest.raises(CopyFailed, match=r"No space left on device.*goes on from here") as caught:
        ingest.copy(BlueskyCatalog(MemoryStore(made)), into=BlueskyCatalog(Full(store)))
    assert len(caught.value.report.copied) == 2
    into = BlueskyCatalog(store)
    ingest.copy(BlueskyCatalog(MemoryStore(made)), into=into).check()
    check_all(into, made)


def test_store_that_is_read_only_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    class Closed(WrapperStore):
        writable = False

    with pytest.raises(UnsupportedOperation, match="open for reading only"):
        ingest.copy(BlueskyCatalog(MemoryStore([scan()])), into=BlueskyCatalog(Closed(MemoryStore())))


def test_damaged_run_is_refused_and_others_are_copied(tmp_path: Path) -> None:
    source = BlueskyJSONLCatalog(str(tmp_path / "source"))
    put(source, [count(), scan(), failed()])
    path = tmp_path / "source" / f"{scan()[0][1]['uid']}.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:5], b'["event",{"seq_\n', *lines[6:]]))
    into = BlueskyMsgpackCatalog(str(tmp_path / "copies"))
    report = ingest.copy(source.refresh(), into=into)
    assert len(report.copied) == 2
    assert "bytes" in report.refused[scan()[0][1]["uid"]]
    check_all(into, [count(), failed()])


def test_run_that_the_target_cannot_hold_leaves_nothing(tmp_path: Path) -> None:
    odd = scan()
    odd[4][1]["data"] = {"theta": 1 + 2j}
    into = BlueskyJSONLCatalog(str(tmp_path / "copies"))
    report = ingest.copy(BlueskyCatalog(MemoryStore([count(), odd, failed()])), into=into)
    assert "JSON has no form for complex" in report.refused[odd[0][1]["uid"]]
    check_all(into, [count(), failed()])


def test_store_that_gives_back_something_else_is_found_out() -> None:
    class Lossy(WrapperStore):
        def documents(self, uid: str) -> Iterator[tuple[str, dict[str, Any]]]:
            for name, doc in self.inner.documents(uid):
                yield name, json.loads(json.dumps(doc).replace("0.5", "0.25"))

        complete_documents = documents

    store = MemoryStore()
    report = ingest.copy(BlueskyCatalog(MemoryStore([scan()])), into=BlueskyCatalog(Lossy(store)))
    assert "does not give back what was written" in report.refused[scan()[0][1]["uid"]]
    assert list(store.find()) == []
