"""Runs in files that are removed: where their files go, what stays, and what refuses."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from intake_bluesky.documents.model import identical
from intake_bluesky.errors import RunNotFound, StoreUnavailable, UnsupportedOperation
from intake_bluesky.testing.plain_runs import count, failed, scan
from intake_bluesky_jsonl import JSONLStore
from tests.files.runs import lines, uid_of, uids

SCAN, COUNT = uid_of(scan()), uid_of(count())


@pytest.fixture
def filled(folder: Path) -> Path:
    for run in (scan(), count()):
        (folder / f"{uid_of(run)}.jsonl").write_bytes(lines(run))
    return folder


@pytest.fixture
def bucket() -> Iterator[MemoryFileSystem]:
    fs = MemoryFileSystem()
    yield fs
    fs.store.clear()
    fs.pseudo_dirs[:] = [""]


def names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


def test_the_file_moves_beside_and_back(filled: Path, store: JSONLStore) -> None:
    store.remove(SCAN)
    assert uids(store) == [COUNT]
    assert names(filled) == [".removed", f"{COUNT}.jsonl"]
    assert (filled / ".removed" / f"{SCAN}.jsonl").read_bytes() == lines(scan())
    (filled / ".removed" / f"{SCAN}.jsonl").rename(filled / f"{SCAN}.jsonl")
    store.refresh()
    assert sorted(uids(store)) == sorted([SCAN, COUNT])
    assert identical(list(store.documents(SCAN)), scan())


def test_permanent_deletes(filled: Path, store: JSONLStore) -> None:
    store.remove(SCAN, permanent=True)
    assert (uids(store), names(filled)) == ([COUNT], [f"{COUNT}.jsonl"])


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_a_name_that_is_taken_gets_a_number(folder: Path, ending: str) -> None:
    store = JSONLStore(folder, compression=ending.removeprefix(".") or None)
    for _ in range(3):
        with store.insert(scan()[0][1]) as insert:
            for pair in scan()[1:]:
                insert.write(*pair)
        store.remove(SCAN)
    assert names(folder / ".removed") == sorted(f"{SCAN}{number}.jsonl{ending}" for number in ("", ".2", ".3"))
    removed = JSONLStore(folder / ".removed")
    assert (uids(removed), uids(store)) == ([SCAN], []), "a folder that is named is listed"
    assert len([problem for problem in removed.problems() if "remove one" in problem.message]) == 4
    for one in (store, removed):
        one.close()


def test_all_files_of_a_uid_go(filled: Path, store: JSONLStore) -> None:
    (filled / "unfinished.jsonl").write_bytes(lines(scan()[:5]))
    (filled / "copy.jsonl").write_bytes(lines(scan()))
    store.refresh()
    assert len(store.problems()) == 4
    store.remove(SCAN)
    assert names(filled / ".removed") == sorted(["unfinished.jsonl", "copy.jsonl", f"{SCAN}.jsonl"])
    assert (uids(store), list(store.problems())) == ([COUNT], [])


def test_a_copy_that_was_just_put_there_goes_too(filled: Path, store: JSONLStore) -> None:
    assert store.count() == 2
    (filled / "later.jsonl").write_bytes(lines(scan()))
    os.utime(filled, ns=(0, 0))
    fresh = JSONLStore(filled)
    fresh.remove(SCAN)
    assert names(filled / ".removed") == sorted([f"{SCAN}.jsonl", "later.jsonl"])
    fresh.close()


def test_a_file_that_holds_another_run_by_now_stays(filled: Path, store: JSONLStore) -> None:
    assert store.count() == 2
    (filled / f"{SCAN}.jsonl").write_bytes(lines(failed()))
    with pytest.raises(RunNotFound):
        store.remove(SCAN)
    assert sorted(uids(store)) == sorted([COUNT, uid_of(failed())])
    assert not (filled / ".removed").exists()


@pytest.mark.parametrize("pattern", ["**/*.jsonl", "**", "*/*.jsonl", ".*/*.jsonl", "*/**/*.jsonl", "", "*.jsonl"])
def test_what_was_removed_is_never_listed(folder: Path, pattern: str) -> None:
    below = folder / "2026"
    below.mkdir()
    for place in (folder, below):
        (place / f"{place.name} scan.jsonl").write_bytes(lines(scan()))
    (below / "count.jsonl").write_bytes(lines(count()))
    first = JSONLStore(folder / "**" / "*.jsonl")
    first.remove(SCAN)
    assert (folder / ".removed").is_dir()
    assert (below / ".removed").is_dir()
    first.close()
    store = JSONLStore(folder / pattern)
    found = set(uids(store))
    assert SCAN not in found
    assert (COUNT in found) == (pattern in ("**/*.jsonl", "**", "*/*.jsonl", "*/**/*.jsonl"))
    store.close()


def test_a_bucket_that_has_the_folder_does_not_list_it(filled: Path, store: JSONLStore, bucket: Any) -> None:
    store.remove(SCAN)
    bucket.put(str(filled), "/runs", recursive=True)
    assert bucket.exists(f"/runs/.removed/{SCAN}.jsonl")
    for pattern in ("memory://runs", "memory://runs/**/*.jsonl", "memory://runs/**"):
        there = JSONLStore(pattern)
        assert uids(there) == [COUNT]
        there.close()
    named = JSONLStore("memory://runs/.removed/*.jsonl")
    assert uids(named) == [SCAN]
    named.close()


def test_a_remote_run_is_not_removed(bucket: Any) -> None:
    bucket.pipe_file("/runs/scan.jsonl", lines(scan()))
    store = JSONLStore("memory://runs")
    with pytest.raises(UnsupportedOperation, match="on other machines are not removed"):
        store.remove(SCAN)
    assert uids(store) == [SCAN]
    with pytest.raises(RunNotFound):
        store.remove("no such run")
    store.close()


def test_a_run_that_is_also_on_another_machine_stays_whole(filled: Path, bucket: Any) -> None:
    bucket.pipe_file("/runs/scan.jsonl", lines(scan()))
    store = JSONLStore([filled, "memory://runs"])
    with pytest.raises(UnsupportedOperation):
        store.remove(SCAN)
    assert (filled / f"{SCAN}.jsonl").exists()
    store.close()


def test_a_published_index_does_not_bring_it_back(filled: Path, settled: None, cache: Path) -> None:
    store = JSONLStore(filled)
    store.scan()
    store.publish()
    store.remove(SCAN)
    assert uids(store) == [COUNT]
    store.close()
    shutil.rmtree(cache)
    other = JSONLStore(filled)
    assert uids(other) == [COUNT]
    with pytest.raises(RunNotFound):
        other.header(SCAN)
    other.close()


def test_stores_that_know_the_run_forget_it(filled: Path, settled: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of this cache, and one of another user, whose index is in another folder."""
    mine, beside = JSONLStore(filled), JSONLStore(filled)
    monkeypatch.setenv("INTAKE_BLUESKY_CACHE", str(filled.parent / "another cache"))
    elsewhere = JSONLStore(filled)
    assert elsewhere.header(SCAN).uid == beside.header(SCAN).uid == SCAN
    monkeypatch.undo()
    mine.remove(SCAN)
    for store in (beside, elsewhere):
        with pytest.raises(RunNotFound):
            store.header(SCAN)
        store.refresh()
        assert uids(store) == [COUNT]
        store.close()
    mine.close()


def test_a_scan_that_ends_later_does_not_bring_it_back(filled: Path, store: JSONLStore) -> None:
    """Runs opened quickly one after the other wait to be put into the index."""
    for uid in (COUNT, SCAN):
        store.header(uid)
    assert store.files._waiting, "one of them has to wait"
    other = JSONLStore(filled)
    other.remove(SCAN)
    store.files._put_waiting()
    assert {run.uid for run in store.find()} == {COUNT}
    other.close()


def test_a_run_being_written_is_refused(store: JSONLStore, folder: Path) -> None:
    insert = store.insert(scan()[0][1])
    for pair in scan()[1:5]:
        insert.write(*pair)
    link = folder.parent / "link"
    link.symlink_to(folder)
    other = JSONLStore(link)
    for one in (store, other):
        for permanent in (False, True):
            with pytest.raises(UnsupportedOperation, match="is being written by this program"):
                one.remove(SCAN, permanent=permanent)
    for pair in scan()[5:]:
        insert.write(*pair)
    assert identical(list(store.documents(SCAN)), scan())
    other.remove(SCAN)
    store.refresh()
    assert uids(store) == []
    other.close()


def test_a_closed_writer_leaves_a_run_that_can_be_removed(store: JSONLStore) -> None:
    with store.insert(scan()[0][1]):
        pass
    store.remove(SCAN)
    assert uids(store) == []


@pytest.mark.parametrize("permanent", [False, True])
def test_a_folder_that_cannot_be_written(
    filled: Path, store: JSONLStore, permanent: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("os.unlink" if permanent else "os.replace", refused)
    with pytest.raises(StoreUnavailable, match=r"cannot be (moved|deleted).*: Permission denied\. Let somebody remove"):
        store.remove(SCAN, permanent=permanent)
    monkeypatch.undo()
    assert identical(list(store.documents(SCAN)), scan())
    assert not (filled / ".removed").exists() or names(filled / ".removed") == []


def test_a_file_by_the_name_of_the_folder(filled: Path, store: JSONLStore) -> None:
    (filled / ".removed").write_text("a note\n")
    with pytest.raises(StoreUnavailable, match=r"cannot be moved into the folder \.removed"):
        store.remove(SCAN)
    assert sorted(uids(store)) == sorted([SCAN, COUNT])
    assert (filled / ".removed").read_text() == "a note\n"


def test_of_several_files_the_one_that_is_shown_is_the_last_to_go(
    filled: Path, store: JSONLStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    (filled / "a cut copy.jsonl").write_bytes(lines(scan()[:5]))
    replace = os.replace

    def once(*args: Any) -> None:
        replace(*args)
        monkeypatch.setattr("os.replace", _full)

    monkeypatch.setattr("os.replace", once)
    with pytest.raises(StoreUnavailable, match="No space left"):
        store.remove(SCAN)
    monkeypatch.undo()
    assert names(filled / ".removed") == ["a cut copy.jsonl"]
    assert identical(list(store.documents(SCAN)), scan())
    store.remove(SCAN)
    assert uids(store) == [COUNT]


def _full(*_: Any) -> None:
    raise OSError(28, "No space left on device")
