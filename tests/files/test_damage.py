"""Files that are no runs, damaged, cut off or double: reported, and no others hidden."""

from __future__ import annotations

import errno
import gzip
import os
import sys
import tracemalloc
import zlib
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from intake_bluesky.documents.model import identical
from intake_bluesky.errors import DamagedRun, RunNotFound, StoreUnavailable, UnsupportedOperation
from intake_bluesky.files.content.decompress import content_of
from intake_bluesky.files.content.source import LocalSource
from intake_bluesky.files.run_reader import RunFile
from intake_bluesky.files.scan.index_entries import scan as scan_file
from intake_bluesky.files.scan.inspect import Task, look
from intake_bluesky.files.scan.pool import open_here
from intake_bluesky.files.scan.scanner import NotARun
from intake_bluesky.query import Stop
from intake_bluesky.storage.order import Order
from intake_bluesky.testing.plain_runs import count, scan
from intake_bluesky_jsonl import JSONLCodec, JSONLStore
from tests.files.runs import lines, two_monitors, uid_of, uids


def _damaged(change: Callable[[bytes], bytes]) -> bytes:
    """The scan with its second event page's line changed."""
    before = lines(scan()).split(b"\n")
    [_, second, *_] = [n for n, line in enumerate(before) if line.startswith(b'["event_page"')]
    before[second] = change(before[second])
    return b"\n".join(before)


BAD_FILES: dict[str, tuple[str, bytes, str]] = {
    "no run": ("x.jsonl", b'["event", {"uid": "e"}]\n', "not a run: its first document is a event"),
    "other JSON": ("x.jsonl", b'{"name": "value"}\n', "not a run"),
    "text": ("x.jsonl", b"hello\nworld\n", "not a run"),
    "empty": ("x.jsonl", b"", "empty"),
    "no uid": ("x.jsonl", b'["start", {"time": 1.0}]\n', "no uid"),
    "uid is no text": ("x.jsonl", b'["start", {"uid": "\\ud800"}]\n', "no uid"),
    "binary": ("x.jsonl", bytes(range(256)) * 8192, "not a run"),
    "NULs": ("x.jsonl", b"\x00" * 5000, "not a run"),
    "not UTF-8": ("x.jsonl", b'["start", {"uid": "\xff\xfe"}]\n', "not a run"),
    "truncated start": ("x.jsonl", b'["start", {"uid": "cut', "not a run"),
    "no gzip": ("x.jsonl.gz", lines(count()), "decompressed"),
    "truncated gzip start": ("x.jsonl.gz", gzip.compress(lines(count()))[:20], "cut off"),
    "no zstandard": ("x.jsonl.zst", b"\x28\xb5\x2f\xfd garbage", "decompressed"),
}


class TestBadInput:
    @pytest.mark.parametrize("name", BAD_FILES)
    def test_bad_file_is_reported_and_hides_no_other(self, name: str, folder: Path, store: JSONLStore) -> None:
        file, content, expected = BAD_FILES[name]
        (folder / file).write_bytes(content)
        (folder / "good.jsonl").write_bytes(lines(scan()))
        assert uids(store) == [uid_of(scan())]
        [problem] = store.problems()
        assert problem.where == str(folder / file)
        assert expected in problem.message
        assert len(uids(store)) == 1

    @pytest.mark.parametrize(
        "change",
        [
            lambda line: line[:40],
            lambda line: line.replace(b'"theta"', b'"\xff\xfe"', 1),
            lambda line: line.replace(b'"theta"', b'"\x00\x00"', 1),
            lambda line: b"\x00" * len(line),
            lambda line: line.replace(b'"seq_num": [', b'"seq_num": [1, '),
            lambda line: line.replace(b'"descriptor"', b'"descriptr"'),
        ],
        ids=["cut", "not UTF-8", "control characters", "NULs", "columns disagree", "field missing"],
    )
    def test_damage_in_the_middle_loses_only_what_is_damaged(
        self, change: Callable[[bytes], bytes], folder: Path, store: JSONLStore
    ) -> None:
        content = _damaged(change)
        (folder / "run.jsonl").write_bytes(content)
        (folder / "good.jsonl").write_bytes(lines(count()))
        header = store.header(uid_of(scan()))
        assert header.stop is not None
        assert header.streams["primary"].events == 7
        assert sum(map(len, store.event_pages(uid_of(scan()), "primary"))) == 7
        assert len(uids(store)) == 2
        [problem] = store.problems()
        assert "passed over" in problem.message
        assert problem.uid == uid_of(scan())
        names = [name for name, _ in store.documents(uid_of(scan()))]
        assert names[0] == "start"
        assert names[-1] == "stop"
        assert len(names) >= len(scan()) - 1

    def test_place_of_the_damage_is_named(self, folder: Path, store: JSONLStore) -> None:
        content = _damaged(lambda line: b"#" * 100)
        (folder / "run.jsonl").write_bytes(content)
        store.header(uid_of(scan()))
        [problem] = store.problems()
        start = content.index(b"#")
        assert f"bytes {start} to {start + 101} are passed over" in problem.message

    def test_event_that_fits_no_page_is_passed_over_and_kept_as_document(self, folder: Path, store: JSONLStore) -> None:
        run = count()
        run[3][1]["seq_num"] = "two"
        (folder / "run.jsonl").write_bytes(lines(run))
        pages = list(store.event_pages(uid_of(run), "primary"))
        assert [n for page in pages for n in page.seq_num.tolist()] == [1, 3]
        assert identical(list(store.documents(uid_of(run))), run)
        [problem] = store.problems()
        assert "seq_num" in problem.message

    def test_truncated_last_line(self, folder: Path, store: JSONLStore) -> None:
        (folder / "run.jsonl").write_bytes(lines(scan())[:-10])
        header = store.header(uid_of(scan()))
        assert header.stop is None
        assert header.streams["primary"].events == 11
        [problem] = store.problems()
        assert "cut off" in problem.message

    def test_last_line_without_its_end_is_whole(self, folder: Path, store: JSONLStore) -> None:
        (folder / "run.jsonl").write_bytes(lines(scan()).rstrip(b"\n"))
        assert [run.stop for run in store.find()] == [scan()[-1][1]]
        assert identical(list(store.documents(uid_of(scan()))), scan())
        assert store.problems() == []

    def test_line_end_that_comes_later_is_no_damage(self, folder: Path, store: JSONLStore) -> None:
        whole = lines(scan())
        (folder / "run.jsonl").write_bytes(b"\n".join(whole.split(b"\n")[:5]))
        store.header(uid_of(scan()))
        with (folder / "run.jsonl").open("ab") as file:
            file.write(b"\n" + b"\n".join(whole.split(b"\n")[5:]))
        assert identical(list(store.documents(uid_of(scan()))), scan())
        assert store.problems() == []

    @pytest.mark.parametrize(
        "ends",
        [b"\r\n", b"\n\n", b"\n \n", b"\n]\n", b"\n ,\n]\n\n"],
        ids=["CRLF", "blank", "spaces", "end of an array", "ends of arrays"],
    )
    def test_odd_line_ends(self, ends: bytes, folder: Path, store: JSONLStore) -> None:
        (folder / "run.jsonl").write_bytes(lines(scan()).replace(b"\n", ends))
        store.refresh(deep=True)
        assert store.header(uid_of(scan())).stop == dict(scan()[-1:])["stop"]
        assert store.count(store.plan(Stop("exit_status") == "success", Order.NEWEST)) == 1
        assert identical(list(store.documents(uid_of(scan()))), scan())
        assert store.problems() == []

    def test_truncated_gzip_gives_what_it_has(self, folder: Path, store: JSONLStore) -> None:
        run = two_monitors(2000)
        packed = gzip.compress(lines(run))
        (folder / "run.jsonl.gz").write_bytes(packed[: len(packed) // 2])
        (folder / "good.jsonl").write_bytes(lines(count()))
        events = store.header(uid_of(run)).streams["left"].events
        assert 500 < events < 2000
        assert sum(map(len, store.event_pages(uid_of(run), "left"))) == events
        assert len(uids(store)) == 2
        assert any("cut off" in problem.message for problem in store.problems())

    def test_corrupt_gzip_gives_what_comes_before(self, folder: Path, store: JSONLStore) -> None:
        run = two_monitors(2000)
        packed = bytearray(gzip.compress(lines(run)))
        middle = len(packed) // 2
        packed[middle : middle + 200] = b"\x00" * 200
        (folder / "run.jsonl.gz").write_bytes(packed)
        header = store.header(uid_of(run))
        assert header.stop is None
        assert any("decompressed" in problem.message for problem in store.problems())

    @pytest.mark.parametrize("place", range(0, 1400, 37))
    def test_one_wrong_bit_in_a_small_gzip_file_gives_what_plain_zlib_does(self, place: int, folder: Path) -> None:
        packed = bytearray(gzip.compress(lines(count())))
        packed[place % len(packed)] ^= 1 << place % 8
        (folder / "run.jsonl.gz").write_bytes(packed)
        engine, plain, failure = zlib.decompressobj(wbits=31), b"", ""
        try:
            for byte in packed:
                plain += engine.decompress(bytes([byte]))
        except zlib.error:
            failure = "decompressed"
        expected = []
        for line in plain.splitlines(keepends=True):
            with suppress(DamagedRun, NotARun):
                expected.append(JSONLCodec().decode(line))
        path, codec = str(folder / "run.jsonl.gz"), JSONLCodec()
        entry = look(codec, open_here, Task(path))
        assert entry.problem
        uid = expected[0][1].get("uid") if expected and expected[0][0] == "start" else None
        assert entry.uid == uid
        if uid is not None:
            assert failure in entry.problem
            with closing(LocalSource(path)) as source:
                _, layout = scan_file(codec, path, source)
                found = list(RunFile(codec, content_of(source, path, layout.members), layout).documents())
            assert identical(found, expected)
        else:
            assert entry.uid is None

    @pytest.mark.parametrize("compression", ["gz", "zst"])
    def test_damage_in_a_part_of_a_compressed_file_loses_that_part(
        self, compression: str, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("intake_bluesky.files.run_writer.BLOCK", 1 << 15)
        run, store = two_monitors(1000), JSONLStore(folder, compression=compression)
        with store.insert(run[0][1]) as insert:
            for name, doc in run[1:]:
                insert.write(name, doc)
        [path] = folder.iterdir()
        packed = bytearray(path.read_bytes())
        middle = len(packed) // 2
        packed[middle : middle + 5] = b"\xff" * 5
        path.write_bytes(packed)
        events = store.header(uid_of(run)).streams["left"].events
        assert 900 < events < 1000
        values = np.concatenate([page.data["left"] for page in store.event_pages(uid_of(run), "left")])
        assert len(values) == events
        assert set(values.tolist()) < {n + 0.5 for n in range(1000)}
        assert list(store.documents(uid_of(run)))[-1] == run[-1]
        assert any("decompressed" in problem.message for problem in store.problems())
        store.close()

    def test_two_runs_in_one_file_are_reported(self, folder: Path, store: JSONLStore) -> None:
        (folder / "run.jsonl").write_bytes(lines(count()) + lines(scan()))
        assert uids(store) == [uid_of(count())]
        assert identical(list(store.documents(uid_of(count()))), count())
        [problem] = store.problems()
        assert "several runs" in problem.message

    def test_one_uid_in_two_files_is_reported_for_both(self, folder: Path, store: JSONLStore) -> None:
        (folder / "a.jsonl").write_bytes(lines(scan()[:-1]))
        (folder / "b.jsonl").write_bytes(lines(scan()))
        (folder / "c.jsonl").write_bytes(lines(scan()))
        assert uids(store) == [uid_of(scan())]
        assert store.count() == 1
        assert store.header(uid_of(scan())).stop is not None
        assert {Path(problem.where).name for problem in store.problems()} == {"a.jsonl", "b.jsonl", "c.jsonl"}
        (folder / "b.jsonl").unlink()
        (folder / "c.jsonl").unlink()
        store.refresh()
        assert uids(store) == [uid_of(scan())]
        assert store.problems() == []

    def test_event_of_an_unknown_descriptor_does_no_harm(self, folder: Path, store: JSONLStore) -> None:
        run = [pair for pair in scan() if pair[1].get("name") != "baseline"]
        (folder / "run.jsonl").write_bytes(lines(run))
        assert list(store.header(uid_of(run)).streams)[-1:] == ["primary"]
        assert sum(map(len, store.event_pages(uid_of(run), "primary"))) == 11

    @pytest.mark.skipif(sys.platform != "linux", reason="elsewhere every file name is Unicode")
    def test_name_that_is_not_utf8(self, folder: Path, store: JSONLStore) -> None:
        (folder / "good.jsonl").write_bytes(lines(scan()))
        Path(os.fsdecode(os.fsencode(folder) + b"/\xff.jsonl")).write_bytes(lines(count()))
        assert uids(store) == [uid_of(scan())]
        [problem] = store.problems()
        assert "not UTF-8" in problem.message
        with pytest.raises(RunNotFound):
            store.header("\udcff")

    def test_folder_called_like_a_run_and_link_to_nowhere(self, folder: Path, store: JSONLStore) -> None:
        (folder / "folder.jsonl").mkdir()
        (folder / "link.jsonl").symlink_to(folder / "nowhere")
        (folder / "good.jsonl").write_bytes(lines(scan()))
        assert uids(store) == [uid_of(scan())]
        [problem] = store.problems()
        assert problem.where.endswith("link.jsonl")

    def test_file_without_permission_is_reported_and_tried_again(
        self, folder: Path, store: JSONLStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (folder / "locked.jsonl").write_bytes(lines(count()))
        (folder / "good.jsonl").write_bytes(lines(scan()))
        begin = LocalSource.__init__

        def refuse(source: LocalSource, path: str) -> None:
            if path.endswith("locked.jsonl"):
                raise PermissionError(errno.EACCES, "Permission denied", path)
            begin(source, path)

        with monkeypatch.context() as patch:
            patch.setattr(LocalSource, "__init__", refuse)
            assert uids(store) == [uid_of(scan())]
            [problem] = store.problems()
            assert "Permission denied" in problem.message
        store.refresh()
        assert store.count() == 2
        assert store.problems() == []

    def test_missing_folder_is_a_problem_beside_others(self, folder: Path, tmp_path: Path) -> None:
        (folder / "good.jsonl").write_bytes(lines(scan()))
        store = JSONLStore([tmp_path / "missing", folder])
        assert uids(store) == [uid_of(scan())]
        [problem] = store.problems()
        assert problem.where == str(tmp_path / "missing")
        store.close()

    def test_filesystem_out_of_reach(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        store = JSONLStore("s3://user:secret@bucket/runs")

        def refuse(*args: Any, **kwargs: Any) -> None:
            raise ConnectionError("no route to host")

        monkeypatch.setattr("fsspec.core.url_to_fs", refuse)
        with pytest.raises(StoreUnavailable, match="no route") as caught:
            uids(store)
        assert "secret" not in str(caught.value) + repr(store)


@pytest.mark.slow
class TestSizes:
    """What a few bytes claim to be costs neither memory nor time, nor other runs."""

    @pytest.mark.parametrize("packed", [bytes, gzip.compress], ids=["plain", "gz"])
    @pytest.mark.parametrize("before", ["nothing", "start", "run", "open item"])
    def test_zeros_without_end(
        self, packed: Callable[[bytes], bytes], before: str, folder: Path, store: JSONLStore
    ) -> None:
        first, *_ = lines(scan()).split(b"\n")
        begin = {"nothing": b"", "start": first + b"\n", "run": lines(scan()), "open item": first + b'\n["event", {'}
        name = f"zeros.jsonl{'' if packed is bytes else '.gz'}"
        (folder / name).write_bytes(packed(begin[before] + bytes((48 if before == "open item" else 16) << 20)))
        (folder / "good.jsonl").write_bytes(lines(count()))
        tracemalloc.start()
        store.refresh(deep=True)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < (300 << 20 if before == "open item" else 45 << 20)
        assert uid_of(count()) in uids(store)
        assert len(uids(store)) == (1 if before == "nothing" else 2)
        [problem, *_] = store.problems()
        assert problem.where == str(folder / name)
        if before == "run":
            assert identical(list(store.documents(uid_of(scan()))), scan())

    @pytest.mark.parametrize("suffix", ["", ".gz"])
    def test_a_document_larger_than_is_believed(
        self, suffix: str, folder: Path, store: JSONLStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run = scan()
        run.insert(1, ("resource", {"uid": "r", "run_start": uid_of(run), "note": "x" * (20 << 20)}))
        raw = lines(run)
        (folder / f"run.jsonl{suffix}").write_bytes(gzip.compress(raw) if suffix else raw)
        monkeypatch.setenv("INTAKE_BLUESKY_LARGEST", "4 MiB")
        assert store.header(uid_of(run)).streams == {}
        [problem] = store.problems()
        assert "4,194,304 bytes" in problem.message
        assert "INTAKE_BLUESKY_LARGEST" in problem.message
        monkeypatch.setenv("INTAKE_BLUESKY_LARGEST", "many")
        with pytest.raises(UnsupportedOperation, match="INTAKE_BLUESKY_LARGEST is a size"):
            store.refresh()
        # Another limit is believed without being asked to look at all files again.
        monkeypatch.delenv("INTAKE_BLUESKY_LARGEST")
        store.refresh()
        assert not store.problems()
        assert store.header(uid_of(run)).streams
        assert identical(list(store.documents(uid_of(run))), run)

    def test_after_many_damaged_items_no_more_are_looked_for(self, folder: Path, store: JSONLStore) -> None:
        first, *_ = lines(scan()).split(b"\n")
        (folder / "run.jsonl").write_bytes(first + b"\n" + b'["event", {' * 200_000 + b"\n")
        store.refresh(deep=True)
        assert any("more than" in one.message for one in store.problems())


class TestDeliveredTwice:
    """Message queues deliver again; two subscriptions write everything twice."""

    @pytest.mark.parametrize("which", ["each document", "the start", "all but the start", "the whole run"])
    def test_it_is_the_same_run(self, which: str, folder: Path, store: JSONLStore) -> None:
        run = count()
        again = {
            "each document": [pair for pair in run for _ in (0, 1)],
            "the start": [*run[:3], run[0], *run[3:]],
            "all but the start": [run[0], *(pair for pair in run[1:] for _ in (0, 1))],
            "the whole run": [*run, *run],
        }[which]
        (folder / "run.jsonl").write_bytes(lines(again))
        assert uids(store) == [uid_of(run)]
        header = store.header(uid_of(run))
        assert header.stop == run[-1][1]
        pages = store.event_pages(uid_of(run), "primary")
        assert {number for page in pages for number in page.seq_num.tolist()} == {1, 2, 3}
        told = [problem for problem in store.problems() if "start document came again" in problem.message]
        assert bool(told) == (which != "all but the start")
        assert [name for name, _ in store.documents(uid_of(run))].count("start") == 1

    def test_another_run_is_told_and_left_out(self, folder: Path, store: JSONLStore) -> None:
        (folder / "run.jsonl").write_bytes(lines([*count(), *scan()]))
        store.refresh(deep=True)
        assert uids(store) == [uid_of(count())]
        assert "several runs" in store.problems()[0].message
