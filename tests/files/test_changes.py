"""Whatever is done to a folder while its catalog is open, and between two openings, no answer is wrong."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from intake_bluesky.errors import DamagedRun, DuplicateRun, RunNotFound, StoreUnavailable
from intake_bluesky.testing.plain_runs import count, scan
from intake_bluesky_jsonl import BlueskyJSONLCatalog, JSONLStore
from tests.files.runs import Reads, lines, two_monitors, uid_of, uids

RUNS = 4


def run_of(uid: str, scan_id: int, *, value: float = 1.0, events: int = 3) -> bytes:
    """A run of one column, as long whatever the digits are."""
    descriptor = {
        "uid": f"{uid}-d", "run_start": uid, "name": "primary", "time": 1.0, "configuration": {}, "hints": {},
        "data_keys": {"x": {"source": "sim", "dtype": "number", "shape": []}}, "object_keys": {"x": ["x"]},
    }  # fmt: skip
    docs: list[tuple[str, dict[str, Any]]] = [("start", {"uid": uid, "time": 1e9 + scan_id, "scan_id": scan_id})]
    docs.append(("descriptor", descriptor))
    for n in range(1, events + 1):
        event = {"uid": f"{uid}-{n}", "descriptor": f"{uid}-d", "seq_num": n, "time": 1.0 * n, "filled": {}}
        docs.append(("event", {**event, "data": {"x": value}, "timestamps": {"x": 1.0}}))
    docs.append(("stop", {"uid": f"{uid}-s", "run_start": uid, "time": 2.0, "exit_status": "success"}))
    return lines(docs)


def uid_at(number: int) -> str:
    return f"{number:08x}-aaaa-4bbb-8ccc-dddddddddddd"


@pytest.fixture
def filled(folder: Path) -> Path:
    for number in range(RUNS):
        (folder / f"{number}.jsonl").write_bytes(run_of(uid_at(number), number))
    return folder


def added(folder: Path) -> None:
    (folder / "9.jsonl").write_bytes(run_of(uid_at(9), 9))


def deleted(folder: Path) -> None:
    (folder / "3.jsonl").unlink()


def put_in_place(folder: Path) -> None:
    (folder / "other").write_bytes(run_of(uid_at(9), 9))
    os.replace(folder / "other", folder / "3.jsonl")


def put_in_place_as_old(folder: Path) -> None:
    found = (folder / "3.jsonl").stat()
    put_in_place(folder)
    os.utime(folder / "3.jsonl", ns=(found.st_atime_ns, found.st_mtime_ns))


def rewritten(folder: Path) -> None:
    with (folder / "3.jsonl").open("r+b") as file:
        file.write(run_of(uid_at(9), 9))


def rewritten_as_old(folder: Path) -> None:
    found = (folder / "3.jsonl").stat()
    rewritten(folder)
    os.utime(folder / "3.jsonl", ns=(found.st_atime_ns, found.st_mtime_ns))


def rewritten_longer(folder: Path) -> None:
    (folder / "3.jsonl").write_bytes(run_of(uid_at(9), 9, events=7))


def swapped(folder: Path) -> None:
    (folder / "2.jsonl").rename(folder / "x")
    (folder / "3.jsonl").rename(folder / "2.jsonl")
    (folder / "x").rename(folder / "3.jsonl")


NINE = {uid_at(number) for number in (0, 1, 2, 9)}
CHANGES: dict[Callable[[Path], None], set[str]] = {
    added: NINE | {uid_at(3)},
    deleted: NINE - {uid_at(9)},
    put_in_place: NINE,
    put_in_place_as_old: NINE,
    rewritten: NINE,
    rewritten_as_old: NINE,
    rewritten_longer: NINE,
    swapped: {uid_at(number) for number in range(RUNS)},
}


@pytest.fixture(params=[True, False], ids=["young files", "old files"])
def young(request: pytest.FixtureRequest, filled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both with files as they were just written, and with files that nobody would look at twice."""
    if not request.param:
        monkeypatch.setattr("intake_bluesky.files.content.source.TICK", 0)
        for path in filled.iterdir():
            os.utime(path, (1e9, 1e9))


def check(cat: BlueskyJSONLCatalog, expected: set[str]) -> None:
    assert len(cat) == len(expected)
    assert set(cat) == expected
    newest = max(expected)
    assert next(iter(cat)) == newest
    assert cat[-1].uid == newest
    for number in range(10):
        uid = uid_at(number)
        assert len(cat.search({"uid": uid})) == (uid in expected)
        assert len(cat.search({"scan_id": number})) == (uid in expected)
        for key in (uid, uid[:8], number):
            if uid in expected:
                assert cat[key].primary.read().x.values.tolist()
                assert cat[key].uid == uid
            else:
                with pytest.raises(RunNotFound):
                    cat[key]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_catalog_that_is_open(change: Callable[[Path], None], filled: Path, young: None) -> None:
    cat = BlueskyJSONLCatalog(str(filled), ttl=0)
    check(cat, {uid_at(number) for number in range(RUNS)})
    change(filled)
    check(cat, CHANGES[change])


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_catalog_opened_again(change: Callable[[Path], None], filled: Path, young: None) -> None:
    for _ in range(2):
        before = BlueskyJSONLCatalog(str(filled))
        check(before, {uid_at(number) for number in range(RUNS)})
        before.store.close()
    change(filled)
    check(BlueskyJSONLCatalog(str(filled)), CHANGES[change])


@pytest.mark.parametrize("change", [deleted, put_in_place, rewritten], ids=lambda change: change.__name__)
def test_newest_before_any_listing(change: Callable[[Path], None], filled: Path) -> None:
    """Between two listings, what is found is looked at: of a few runs the files, whatever the index says."""
    store = JSONLStore(filled)
    assert next(store.find(limit=1)).uid == uid_at(3)
    change(filled)
    assert next(store.find(limit=1)).uid == (uid_at(2) if change is deleted else uid_at(9))
    store.close()


@pytest.mark.parametrize("change", [rewritten, put_in_place, deleted], ids=lambda change: change.__name__)
def test_dataset_that_is_open(change: Callable[[Path], None], filled: Path, young: None) -> None:
    run = BlueskyJSONLCatalog(str(filled))[uid_at(3)]
    lazy = run.primary.to_dask()
    change(filled)
    with pytest.raises((DamagedRun, RunNotFound)):
        lazy.compute()


def test_dataset_whose_values_are_rewritten(filled: Path, young: None) -> None:
    cat = BlueskyJSONLCatalog(str(filled), ttl=0)
    lazy = cat[uid_at(3)].primary.to_dask()
    with (filled / "3.jsonl").open("r+b") as file:
        file.write(run_of(uid_at(3), 3, value=7.0))
    with pytest.raises(DamagedRun, match="replaced"):
        lazy.compute()
    assert cat[uid_at(3)].primary.read().x.values.tolist() == [7.0] * 3


def test_growing_run(filled: Path, young: None) -> None:
    whole = run_of(uid_at(9), 9, events=50)
    path = filled / "9.jsonl"
    cat = BlueskyJSONLCatalog(str(filled), ttl=0)
    for size in range(len(whole) // 3, len(whole) - 200, 500):
        path.write_bytes(whole[:size])  # in place, from the beginning, as a copying program does
        assert len(cat[uid_at(9)].primary.read().x) == whole[: whole.rfind(b"\n", 0, size)].count(b'["event"')
        assert cat[-1].uid == uid_at(9)
        assert cat[-1].stop is None
    path.write_bytes(whole)
    assert len(cat[uid_at(9)].primary.read().x) == 50
    assert cat[-1].stop is not None


def test_hidden_copy_is_shown_when_the_other_becomes_another_run(filled: Path, young: None) -> None:
    (filled / "a.jsonl").write_bytes((filled / "3.jsonl").read_bytes())
    cat = BlueskyJSONLCatalog(str(filled), ttl=0)
    assert len(cat) == RUNS
    rewritten(filled)
    check(cat, NINE | {uid_at(3)})


class TestUnchanged:
    @pytest.fixture
    def old(self, filled: Path, settled: None) -> Path:
        store = JSONLStore(filled)
        assert store.count() == RUNS
        store.close()
        return filled

    def test_neither_files_nor_entries_are_looked_at(
        self, old: Path, reads: Reads, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(index: object) -> None:
            raise AssertionError("the entries were compared")

        monkeypatch.setattr("intake_bluesky.index.index.Index.stamps", refuse)
        store = JSONLStore(old)
        assert store.count() == RUNS
        assert reads.opened == 0
        store.close()

    def test_one_new_file_costs_one_look(self, old: Path, reads: Reads) -> None:
        added(old)
        store = JSONLStore(old)
        assert store.count() == RUNS + 1
        assert reads.opened == 1
        store.close()

    def test_what_another_process_put_meanwhile_counts(self, old: Path) -> None:
        """A digest tells of the entries as they were: it goes with the first that changes."""
        one, other = JSONLStore(old), JSONLStore(old)
        assert one.count() == other.count() == RUNS
        assert one.files.index.fact("listing")
        other.files.index.forget([str(old / "0.jsonl")])
        assert one.files.index.fact("listing") is None
        one.refresh()
        assert one.count() == RUNS
        one.close()
        other.close()

    def test_unfinished_and_unreadable_files_are_looked_at_again(self, old: Path) -> None:
        (old / "nowhere.jsonl").symlink_to(old / "later")
        store = JSONLStore(old)
        assert store.count() == RUNS
        (old / "later").write_bytes(run_of(uid_at(9), 9))
        store.refresh()
        assert store.count() == RUNS + 1
        store.close()


def test_index_that_is_taken_away_hides_no_run(folder: Path, store: JSONLStore, cache: Path) -> None:
    (folder / "a.jsonl").write_bytes(lines(scan()))
    (folder / "b.jsonl").write_bytes(lines(count()))
    other = JSONLStore(folder)
    expected = uids(store)
    assert len(expected) == len(uids(other)) == 2
    for close in (False, True):
        if close:
            store.close()
        shutil.rmtree(cache)
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(store.count).result() == 2
        for one in (store, other, JSONLStore(folder)):
            assert uids(one) == expected
            assert one.count() == 2
            assert one.header(expected[0]).stop is not None
    (folder / "c.jsonl").write_bytes(lines(two_monitors(3)))
    for one in (store, other):
        one.refresh()
        assert one.count() == len(uids(one)) == 3
    other.close()


def test_without_any_index_it_is_said_why_and_runs_are_written(
    folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.write_text("no folder")
    monkeypatch.setattr("tempfile.tempdir", str(cache))
    store, run = JSONLStore(folder), count()
    with pytest.raises(StoreUnavailable, match=r"cannot be used .* nor a temporary one .* INTAKE_BLUESKY_CACHE"):
        store.count()
    with store.insert(run[0][1]) as insert:
        for pair in run[1:]:
            insert.write(*pair)
    with pytest.raises(DuplicateRun):
        store.insert(run[0][1])
    cache.unlink()
    assert uids(store) == [uid_of(run)]
    store.close()
