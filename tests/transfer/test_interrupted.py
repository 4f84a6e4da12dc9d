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
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from intake_bluesky import BlueskyCatalog, ingest
from intake_bluesky.errors import CopyFailed, UnsupportedOperation
from intake_bluesky.storage import WrapperStore
from intake_bluesky.testing import MemoryStore
from intake_bluesky.testing.compose import RunComposer, data_key
from intake_bluesky.testing.differences import assert_documents
from intake_bluesky.testing.examples import Run
from intake_bluesky.testing.plain_runs import count, failed, scan, unfinished
from intake_bluesky.transfer import copier
from intake_bluesky_jsonl import BlueskyJSONLCatalog
from intake_bluesky_msgpack import BlueskyMsgpackCatalog
from intake_bluesky_sql import BlueskySQLCatalog
from tests.transfer.conftest import put


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
import sys
from intake_bluesky import ingest
from intake_bluesky_jsonl import BlueskyJSONLCatalog
from intake_bluesky_msgpack import BlueskyMsgpackCatalog
from intake_bluesky_sql import BlueskySQLCatalog
source, kind, target = sys.argv[1:]
print("ready", flush=True)
ingest.copy(BlueskyJSONLCatalog(source), into=globals()[kind](target)).check()
print("done", flush=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", [BlueskyMsgpackCatalog, BlueskySQLCatalog])
def test_killed_at_any_moment_and_resumed(kind: Any, tmp_path: Path) -> None:
    """Each process begins where the one before was killed; 20 in all."""
    made = [run_of(number) for number in range(300)]
    source = BlueskyJSONLCatalog(str(tmp_path / "source"))
    put(source, made)
    source.store.close()
    target = str(tmp_path / "copies" if kind is BlueskyMsgpackCatalog else tmp_path / "copies.db")
    chance = random.Random(1)
    for _ in range(10):
        process = subprocess.Popen(
            [sys.executable, "-c", COPY, str(tmp_path / "source"), kind.__name__, target], stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(chance.random() * 0.4)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    into = kind(target)
    report = ingest.copy(source, into=into).check()
    assert len(report.copied) + len(report.skipped) == len(made)
    check_all(into, made)
    if kind is BlueskyMsgpackCatalog:
        assert len(os.listdir(target)) == len(made), "no file is left that is no run"


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
