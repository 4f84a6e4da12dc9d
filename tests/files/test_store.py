"""Runs in files: what is read when, files that grow, change and go, and what the index answers."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from intake_bluesky.documents.model import Document, RunSummary, identical
from intake_bluesky.errors import DamagedRun, RunNotFound
from intake_bluesky.query import In, PartialUID, Query, ScanIDRange, Start, TimeRange, all_of, any_of, matches
from intake_bluesky.storage.contract import Plan
from intake_bluesky.storage.order import Order
from intake_bluesky.testing.compose import RunComposer, data_key
from intake_bluesky.testing.examples import Run
from intake_bluesky.testing.plain_runs import count, rewound, scan
from intake_bluesky_jsonl import BlueskyJSONLCatalog, JSONLCodec, JSONLStore
from tests.files.runs import Reads, lines, two_monitors, uid_of, uids


class TestLaziness:
    def test_making_a_store_touches_nothing(self, tmp_path: Path, cache: Path) -> None:
        store = JSONLStore(["/no/such/folder", "s3://no-such-bucket/x*", tmp_path])
        assert repr(store).startswith("JSONLStore(['/no/such/folder'")
        assert pickle.loads(pickle.dumps(store)).files.locations[2].pattern == str(tmp_path)
        assert not cache.exists()

    def test_finding_reads_the_two_ends_of_a_file(self, folder: Path, store: JSONLStore, reads: Reads) -> None:
        (folder / "long.jsonl").write_bytes(lines(two_monitors(5000)))
        assert uids(store) == [uid_of(two_monitors(1))]
        assert reads.opened == 1
        assert reads.bytes == 2 * 65536

    def test_known_files_are_not_opened_again(self, folder: Path, store: JSONLStore, reads: Reads) -> None:
        for run in (count(), scan()):
            (folder / f"{uid_of(run)}.jsonl").write_bytes(lines(run))
        assert store.count() == 2
        before = reads.opened
        other = pickle.loads(pickle.dumps(store))
        other.refresh()
        assert len(uids(other)) == 2
        assert reads.opened == before == 2

    def test_a_run_is_scanned_once(
        self, folder: Path, store: JSONLStore, settled: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (folder / "scan.jsonl").write_bytes(lines(scan()))
        expected = store.header(uid_of(scan()))
        decoded: list[str] = []
        decode = JSONLCodec.decode

        def counted(codec: JSONLCodec, item: bytes) -> tuple[str, Document]:
            name, doc = decode(codec, item)
            decoded.append(name)
            return name, doc

        monkeypatch.setattr(JSONLCodec, "decode", counted)
        other = pickle.loads(pickle.dumps(store))
        observed = other.header(uid_of(scan()))
        assert sorted(set(decoded)) == ["descriptor", "start", "stop"]
        assert observed == expected

    def test_listing_uids_decodes_nothing(self, folder: Path, settled: None, monkeypatch: pytest.MonkeyPatch) -> None:
        for run in (count(), scan()):
            (folder / f"{uid_of(run)}.jsonl").write_bytes(lines(run))
        cat = BlueskyJSONLCatalog(folder)
        expected = [run.uid for run in cat.store.find()]

        def fail(codec: JSONLCodec, item: bytes) -> tuple[str, Document]:
            raise AssertionError("a document is decoded")

        monkeypatch.setattr(JSONLCodec, "decode", fail)
        assert list(cat) == [uid for uid in cat] == expected  # noqa: C416  # a list asks for the length, a loop does not
        assert list(cat.sort("start.time")) == expected[::-1]
        cat.store.close()

    def test_a_known_run_needs_no_listing(
        self, folder: Path, store: JSONLStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (folder / "scan.jsonl").write_bytes(lines(scan()))
        store.header(uid_of(scan()))
        other = pickle.loads(pickle.dumps(store))

        def refuse(path: str) -> None:
            raise AssertionError(f"{path} was listed")

        monkeypatch.setattr(os, "scandir", refuse)
        assert sum(map(len, other.event_pages(uid_of(scan()), "primary"))) == 11

    def test_a_slice_reads_the_blocks_it_is_in(self, folder: Path, store: JSONLStore, reads: Reads) -> None:
        run = two_monitors(20_000)
        (folder / "long.jsonl").write_bytes(lines(run))
        header = store.header(uid_of(run))
        assert len(header.streams["left"].pages) > 5
        reads.bytes = 0
        [page] = store.event_pages(uid_of(run), "right", events=slice(10_000, 10_002))
        assert np.asarray(page.data["right"]).tolist() == [10_000.5, 10_001.5]
        assert reads.bytes < 1.1 * 2**20

    def test_a_long_listing_is_not_repeated_while_the_folder_stays(
        self, folder: Path, store: JSONLStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (folder / "one.jsonl").write_bytes(lines(count()))
        (folder / "live.jsonl").write_bytes(lines(scan()[:-1]))
        os.utime(folder, (1e9, 1e9))
        monkeypatch.setattr("intake_bluesky.files.content.listing_schedule.LONG", 0.0)
        monkeypatch.setattr("intake_bluesky.files.content.listing_schedule.SHARE", 1e9)
        store.refresh()
        listed: list[Any] = []
        scandir = os.scandir

        def counted(path: str) -> Any:
            listed.append(path)
            return scandir(path)

        monkeypatch.setattr(os, "scandir", counted)
        store.refresh()
        assert listed == []
        with (folder / "live.jsonl").open("ab") as file:
            file.write(lines(scan()[-1:]))
        store.refresh()
        assert listed == []
        assert all(run.stop is not None for run in store.find())
        (folder / "new.jsonl").write_bytes(lines(rewound()))
        store.refresh()
        assert len(listed) == 1
        assert store.count() == 3


class TestIndexSize:
    @pytest.mark.parametrize("make", [lambda: two_monitors(10_000), lambda: two_monitors(30)])
    def test_is_at_most_a_quarter_of_the_data(
        self, folder: Path, store: JSONLStore, cache: Path, make: Callable[[], Run]
    ) -> None:
        run = make()
        data = 0
        copies = max(1, 2_000_000 // len(lines(run)))
        for number in range(copies):
            uid = f"{number:08}-5fde-bf13-79896a2ff437"
            run[0][1]["uid"] = uid
            run[-1][1]["run_start"] = uid
            data += (folder / f"{uid}.jsonl").write_bytes(lines(run))
        for uid in uids(store):
            store.header(uid)
        store.close()
        index = sum(path.stat().st_size for path in cache.iterdir())
        assert index <= data / 4

    def test_alternating_streams_share_blocks(self, folder: Path, store: JSONLStore) -> None:
        run = two_monitors(10_000)
        size = (folder / "run.jsonl").write_bytes(lines(run))
        streams = store.header(uid_of(run)).streams
        assert len(streams["left"].pages) <= size / 2**20 + 1
        for name in ("left", "right"):
            pages = list(store.event_pages(uid_of(run), name))
            values = np.concatenate([page.data[name] for page in pages])
            assert values.tolist() == [n + 0.5 for n in range(10_000)]
            assert [len(page) for page in pages] == list(streams[name].pages)


class TestChange:
    def test_only_what_was_appended_is_read(self, folder: Path, store: JSONLStore, reads: Reads) -> None:
        run = two_monitors(3000)
        (folder / "run.jsonl").write_bytes(lines(run[:-10]))
        early = store.header(uid_of(run))
        reads.bytes = 0
        with (folder / "run.jsonl").open("ab") as file:
            file.write(lines(run[-10:]))
        later = store.header(uid_of(run))
        assert reads.bytes < 10_000
        assert early.stop is None
        assert identical(later.stop, run[-1][1])
        assert later.version != early.version
        assert later.streams["left"].events == 3000
        assert sum(later.streams["left"].pages) == 3000

    def test_growth_in_small_steps_makes_no_small_blocks(self, folder: Path, store: JSONLStore) -> None:
        run = two_monitors(50)
        for place in range(len(run)):
            with (folder / "run.jsonl").open("ab") as file:
                file.write(lines(run[place : place + 1]))
            store.header(uid_of(run))
        header = store.header(uid_of(run))
        assert header.streams["left"].pages == (50,)
        assert identical(list(store.documents(uid_of(run))), run)

    def test_a_line_written_in_halves_is_seen_when_it_is_whole(self, folder: Path, store: JSONLStore) -> None:
        whole = lines(scan())
        (folder / "run.jsonl").write_bytes(whole[:-30])
        assert store.header(uid_of(scan())).stop is None
        [problem] = store.problems()
        assert "no whole document" in problem.message
        with (folder / "run.jsonl").open("ab") as file:
            file.write(whole[-30:])
        assert store.header(uid_of(scan())).stop is not None
        assert store.problems() == []

    def test_stop_is_found_without_refresh(self, folder: Path, store: JSONLStore) -> None:
        (folder / "run.jsonl").write_bytes(lines(scan()[:-1]))
        assert [run.stop for run in store.find()] == [None]
        with (folder / "run.jsonl").open("ab") as file:
            file.write(lines(scan()[-1:]))
        assert [run.stop for run in store.find()] == [scan()[-1][1]]

    def test_new_run_is_found_by_uid_without_refresh(
        self, folder: Path, store: JSONLStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("intake_bluesky.files.content.listing_schedule.PATIENCE", 0.0)
        assert uids(store) == []
        (folder / "run.jsonl").write_bytes(lines(scan()))
        assert store.header(uid_of(scan())).uid == uid_of(scan())

    def test_replaced_file_shows_the_new_run(self, folder: Path, store: JSONLStore) -> None:
        path = folder / "run.jsonl"
        path.write_bytes(lines(count()))
        assert store.header(uid_of(count())).streams["primary"].events == 3
        path.write_bytes(lines(scan()))
        with pytest.raises(RunNotFound):
            store.header(uid_of(count()))
        assert uids(store) == [uid_of(scan())]
        assert store.header(uid_of(scan())).streams["primary"].events == 11

    def test_longer_file_with_another_beginning_is_no_growth(self, folder: Path, store: JSONLStore) -> None:
        path = folder / "run.jsonl"
        path.write_bytes(lines(count()[:-2]))
        store.header(uid_of(count()))
        changed = count()
        for name, doc in changed:
            if name == "event":
                doc["data"]["det"] = 99.0
        path.write_bytes(lines(changed))
        [page] = store.event_pages(uid_of(count()), "primary")
        assert np.asarray(page.data["det"]).tolist() == [99.0] * 3

    def test_deleted_file_is_gone(self, folder: Path, store: JSONLStore) -> None:
        for name, run in (("a", count()), ("b", scan())):
            (folder / f"{name}.jsonl").write_bytes(lines(run))
        assert store.count() == 2
        (folder / "a.jsonl").unlink()
        with pytest.raises(RunNotFound):
            store.header(uid_of(count()))
        assert uids(store) == [uid_of(scan())]

    def test_moved_file_is_found_again(self, folder: Path, store: JSONLStore) -> None:
        (folder / "a.jsonl").write_bytes(lines(scan()))
        store.header(uid_of(scan()))
        (folder / "a.jsonl").rename(folder / "b.jsonl")
        store.refresh()
        assert sum(map(len, store.event_pages(uid_of(scan()), "primary"))) == 11

    def test_file_given_its_old_time_again_is_seen(self, folder: Path, store: JSONLStore) -> None:
        path = folder / "a.jsonl"
        path.write_bytes(lines(count()))
        assert store.header(uid_of(count())).start["scan_id"] == 1
        found = path.stat()
        path.write_bytes(lines(count()).replace(b'"scan_id": 1', b'"scan_id": 7'))
        os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))
        store.refresh()
        assert [run.scan_id for run in store.find()] == [7]
        assert store.header(uid_of(count())).start["scan_id"] == 7

    def test_deep_refresh_looks_at_all(self, folder: Path, store: JSONLStore, reads: Reads) -> None:
        (folder / "a.jsonl").write_bytes(lines(count()))
        store.refresh()
        before = reads.opened
        store.refresh()
        assert reads.opened == before
        store.refresh(deep=True)
        assert reads.opened == before + 1

    def test_order_is_that_of_time_not_of_names(self, folder: Path, store: JSONLStore) -> None:
        for name, time in (("a", 2.0), ("b", 3.0), ("c", 1.0)):
            (folder / f"{name}.jsonl").write_bytes(lines([("start", {"uid": name, "time": time})]))
        assert uids(store) == ["b", "a", "c"]
        assert [run.uid for run in store.find(Plan(order=Order.OLDEST))] == ["c", "a", "b"]

    def test_lost_index_is_made_anew(self, folder: Path, store: JSONLStore, cache: Path) -> None:
        (folder / "a.jsonl").write_bytes(lines(scan()))
        assert store.count() == 1
        store.close()
        [path] = cache.glob("*.sqlite")
        path.write_bytes(b"no database" * 1000)
        with pytest.warns(UserWarning, match="made anew"):
            assert uids(store) == [uid_of(scan())]
        assert sum(map(len, store.event_pages(uid_of(scan()), "primary"))) == 11


ODD_STARTS: list[Document] = [
    {"uid": "a", "time": 1.0, "scan_id": 1},
    {"uid": "ab", "time": 2, "scan_id": 2.0},
    {"uid": "b", "time": float("nan"), "scan_id": True},
    {"uid": "c", "time": 1e305, "scan_id": 2**70},
    {"uid": "d", "time": 10**400, "scan_id": -(2**70)},
    {"uid": "e", "time": "1.0", "scan_id": "1"},
    {"uid": "f", "time": None, "scan_id": [1]},
    {"uid": "g", "scan_id": 2.5},
    {"uid": "aé", "time": -1e305, "scan_id": float("inf")},
    {"uid": "a\U0010ffff", "time": True, "scan_id": 0},
]
ODD_QUERIES: list[Query] = [
    Start("uid") == "a", Start("uid") != "a", PartialUID("a"), PartialUID("a", "c"), ~PartialUID("a"), PartialUID("aé"),
    Start("time") == 1.0, Start("time") == 1, Start("time") != 1.0, Start("time") > 1, Start("time") <= 2.0,
    ~(Start("time") < 2), TimeRange(since=0, until=1.5), Start("time") == True, Start("time") > float("inf"),  # noqa: E712
    Start("scan_id") == 1, Start("scan_id") == 2, Start("scan_id") >= 2, Start("scan_id") < 2.25, Start("scan_id") != 1,
    Start("scan_id") > 2**62, Start("scan_id") > 2**70, Start("scan_id") == None, ~(Start("scan_id") > 0),  # noqa: E711
    ScanIDRange(1, 3, duplicates="all"), In("scan_id", [1, 2.5]), In("uid", ["a", "g"]), In("uid", ["a", 5]),
    (Start("scan_id") > 0) & (Start("plan") == "x"), (Start("scan_id") == 1) | (Start("time") > 5),
    (Start("scan_id") == 1) | (Start("plan") == "x"), Start("uid") > "a", Start("uid", "x") == "a",
]  # fmt: skip


@pytest.mark.parametrize("query", ODD_QUERIES, ids=repr)
def test_what_the_index_answers_is_what_the_query_means(query: Query, folder: Path, store: JSONLStore) -> None:
    for number, start in enumerate(ODD_STARTS):
        (folder / f"{number}.jsonl").write_bytes(lines([("start", start)]))
    plan = store.plan(query, Order.OLDEST)
    observed = {run.uid for run in store.find(plan) if matches(plan.residual, run)}
    expected = {start["uid"] for start in ODD_STARTS if matches(query, RunSummary.of(start, None))}
    assert observed == expected
    assert store.count(plan) == store.count(Plan(plan.pushed)) == len(list(store.find(plan)))


MANY = [f"{number:05x}" for number in range(3000)]


@pytest.mark.parametrize(
    "query",
    [
        In("uid", [*MANY, "a"]),
        In("scan_id", [*range(3000), 2.5]),
        In("time", [*range(3000), 1e305]),
        PartialUID(*MANY, "a"),
        any_of(Start("uid") == uid for uid in [*MANY, "a"]),
        all_of(Start("uid") != uid for uid in [*MANY, "a"]),
    ],
    ids=["uids", "scan_ids", "times", "partial uids", "or", "and"],
)
def test_long_queries(query: Query, folder: Path, store: JSONLStore) -> None:
    test_what_the_index_answers_is_what_the_query_means(query, folder, store)


def one_key(values: list[float]) -> Run:
    """A run of one key, the same but for the values."""
    composed = RunComposer("replaced")
    primary = composed.descriptor({"x": data_key("number")})
    for value in values:
        composed.event(primary, {"x": value})
    composed.stop()
    return composed.documents


@pytest.mark.parametrize("values", [[4.0, 5.0, 6.0], [4.0, 5.0, 6.0, 7.0], [4.0]], ids=["as long", "longer", "shorter"])
def test_a_run_replaced_after_it_was_opened_is_never_half_of_each(folder: Path, values: list[float]) -> None:
    path = folder / "run.jsonl"
    path.write_bytes(lines(one_key([1.0, 2.0, 3.0])))
    cat = BlueskyJSONLCatalog(str(folder))
    run = cat[-1]
    stream, lazy = run.primary, run.primary.to_dask()
    path.unlink()
    path.write_bytes(lines(one_key(values)))
    for look in (lazy.compute, stream.read):
        with pytest.raises(DamagedRun, match="replaced since it was opened"):
            look()
    assert run.refresh().primary.read().x.values.tolist() == values
    assert cat[-1].primary.read().x.values.tolist() == values


def test_a_folder_that_comes_later_is_no_problem(tmp_path: Path) -> None:
    store = JSONLStore(tmp_path / "later")
    assert store.count() == 0
    assert "no such file or folder" in store.problems()[0].message
    with store.insert(scan()[0][1]) as insert:
        for name, doc in scan()[1:]:
            insert.write(name, doc)
    assert store.problems() == []
    assert store.count() == 1
    store.close()


def test_lookups_are_pushed_down(store: JSONLStore) -> None:
    for query in (
        Start("uid") == "a",
        PartialUID("a"),
        TimeRange(since=1.0),
        ScanIDRange(1, 3, duplicates="all"),
    ):
        assert repr(store.plan(query, Order.NEWEST).residual) == "ALL"
