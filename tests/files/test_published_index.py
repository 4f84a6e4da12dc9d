"""Copies of an index beside the files: started from where they fit, and believed no more than the files."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import msgpack
import orjson
import pytest
import zstandard

from intake_bluesky.apps.cli import main
from intake_bluesky.errors import StoreUnavailable
from intake_bluesky.files.index_segments import IndexSegment
from intake_bluesky.files.scan.file_layout import FileBlock, FileLayout
from intake_bluesky_jsonl import JSONLCodec, JSONLStore
from intake_bluesky_msgpack import MsgpackCodec, MsgpackStore
from tests.files.runs import Reads, uids
from tests.files.test_changes import run_of, uid_at

RUNS = 5
NAME, DETAILS = ".intake-bluesky-index.jsonl.heads", ".intake-bluesky-index.jsonl.details"
DOCUMENTS = {"start": 2, "stop": 3, "stamp": 1, "problem": 4, "name": 0}
THEIRS = {"layout": 2, "statistics": 3}
NEWEST = [uid_at(number) for number in reversed(range(RUNS))]


@pytest.fixture
def published(folder: Path, settled: None, cache: Path) -> Path:
    """A folder with a copy in it, and nothing in the cache."""
    for number in range(RUNS):
        (folder / f"{number}.jsonl").write_bytes(run_of(uid_at(number), number))
    (folder / "odd.jsonl").write_bytes(b"this is no run\n")
    store = JSONLStore(folder)
    store.scan()
    assert store.publish() == [str(folder / NAME), str(folder / DETAILS)]
    store.close()
    shutil.rmtree(cache)
    return folder


@pytest.fixture
def fresh(published: Path, reads: Reads) -> Iterator[JSONLStore]:
    """A store of one who has no index."""
    store = JSONLStore(published)
    yield store
    store.close()


def change(
    path: Path, rows: Callable[[list[list[Any]]], object] = len, about: Callable[[dict[str, Any]], object] = len
) -> None:
    """Change the rows of a part of the copy, or what it says of itself."""
    first, second = _frames(path.read_bytes())
    told, unpacker = msgpack.unpackb(first), msgpack.Unpacker()
    unpacker.feed(second)
    found = [list(row) for row in unpacker]
    rows(found)
    about(told)
    parts = msgpack.packb(told), b"".join(map(msgpack.packb, found))
    path.write_bytes(b"".join(map(zstandard.compress, parts)))


def _frames(data: bytes) -> list[bytes]:
    engine = zstandard.ZstdDecompressor().decompressobj()
    first = engine.decompress(data)
    return [first, zstandard.ZstdDecompressor().decompressobj().decompress(engine.unused_data)]


def set_value(folder: Path, number: int, column: str, value: Any) -> None:
    """Change what the copy has of one file."""
    place, name = DOCUMENTS.get(column, THEIRS.get(column)), NAME if column in DOCUMENTS else DETAILS

    def changed(rows: list[list[Any]]) -> None:
        [row] = [row for row in rows if row[0] == f"{number}.jsonl"]
        assert place is not None
        row[place] = value

    change(folder / name, changed)


class TestFits:
    def test_no_file_is_opened(self, fresh: JSONLStore, reads: Reads) -> None:
        assert uids(fresh) == NEWEST
        assert reads.opened == 0
        assert [problem.where for problem in fresh.problems()] == [str(fresh.files.locations[0].pattern) + "/odd.jsonl"]

    def test_no_file_is_scanned(self, fresh: JSONLStore, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*_: Any) -> None:
            raise AssertionError("a file was scanned")

        monkeypatch.setattr("intake_bluesky.files.scan.scanner.Scan.run", refuse)
        monkeypatch.setattr("intake_bluesky.files.indexed_files.DETAILED", 0)
        for uid in NEWEST:
            assert fresh.header(uid).streams["primary"].events == 3

    def test_details_are_taken_in_when_they_are_needed(self, fresh: JSONLStore) -> None:
        assert uids(fresh) == NEWEST
        assert {entry.layout for entry in fresh.files.index.entries()} == {None}
        assert fresh.statistics.measure(NEWEST) == 0
        assert all(entry.layout for entry in fresh.files.index.entries() if entry.start)

    @pytest.mark.parametrize("how", ["moved", "copied with its times", "linked"])
    def test_folder_elsewhere(self, how: str, published: Path, tmp_path: Path, reads: Reads) -> None:
        other = tmp_path / "elsewhere"
        match how:
            case "moved":
                published.rename(other)
            case "linked":
                other.symlink_to(published)
            case _:
                shutil.copytree(published, other)
        store = JSONLStore(other)
        assert uids(store) == NEWEST
        assert reads.opened == 0
        assert store.header(NEWEST[0]).streams["primary"].events == 3
        store.close()

    def test_files_that_have_other_times_are_looked_at(self, published: Path, tmp_path: Path, reads: Reads) -> None:
        other = tmp_path / "elsewhere"
        shutil.copytree(published, other, copy_function=shutil.copyfile)
        store = JSONLStore(other)
        assert uids(store) == NEWEST
        assert reads.opened == RUNS + 1
        store.close()

    @pytest.mark.parametrize("pattern", ["*.jsonl", "[0-2].jsonl", "../runs/*.jsonl", "**/*.jsonl"])
    def test_patterns(self, pattern: str, published: Path, reads: Reads) -> None:
        store = JSONLStore(published / pattern)
        assert set(uids(store)) == set(NEWEST[-3:] if "-" in pattern else NEWEST)
        assert reads.opened == 0
        store.close()

    def test_folders_in_folders(self, tmp_path: Path, settled: None, cache: Path) -> None:
        for number in range(RUNS):
            (tmp_path / "deep" / f"{number}").mkdir(parents=True)
            (tmp_path / "deep" / f"{number}" / "run.jsonl").write_bytes(run_of(uid_at(number), number))
        store = JSONLStore(tmp_path / "deep" / "*" / "run.jsonl")
        store.scan()
        assert store.publish() == [str(tmp_path / "deep" / name) for name in (NAME, DETAILS)]
        store.close()
        shutil.rmtree(cache)
        again = JSONLStore(tmp_path / "deep" / "*" / "run.jsonl")
        assert uids(again) == NEWEST
        again.scan()
        assert {entry.layout is None for entry in again.files.index.entries()} == {False}
        again.close()

    def test_what_was_added_grown_and_removed_since(self, published: Path, reads: Reads) -> None:
        (published / "9.jsonl").write_bytes(run_of(uid_at(9), 9))
        (published / "0.jsonl").unlink()
        (published / "1.jsonl").write_bytes(run_of(uid_at(1), 1, events=5))
        store = JSONLStore(published)
        assert uids(store) == [uid_at(9), *NEWEST[:-1]]
        assert reads.opened == 2
        assert store.header(uid_at(1)).streams["primary"].events == 5
        store.close()

    def test_one_in_place_of_another_while_it_is_read(self, published: Path) -> None:
        before = (published / NAME).stat().st_ino
        store = JSONLStore(published)
        store.publish()
        assert (published / NAME).stat().st_ino != before
        assert uids(store) == NEWEST
        assert sorted(path.name for path in published.iterdir() if path.name.startswith(".")) == [DETAILS, NAME]
        store.close()

    def test_both_drivers_in_one_folder(self, published: Path) -> None:
        codec = MsgpackCodec()
        docs = [JSONLCodec().decode(line) for line in run_of(uid_at(7), 7).splitlines()]
        (published / "7.msgpack").write_bytes(b"".join(codec.encode(*doc) for doc in docs))
        other, store = MsgpackStore(published), JSONLStore(published)
        other.publish()
        assert uids(other) == [uid_at(7)]
        assert uids(store) == NEWEST
        other.close()
        store.close()

    def test_copy_is_finished_and_for_all(self, published: Path) -> None:
        names = {row.name for row in IndexSegment((published / NAME).read_bytes(), ".jsonl").rows()}
        assert names == {*(f"{number}.jsonl" for number in range(RUNS)), "odd.jsonl"}
        umask = os.umask(0)
        os.umask(umask)
        assert stat.S_IMODE((published / NAME).stat().st_mode) == 0o666 & ~umask

    def test_folder_that_cannot_be_written(self, published: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*_: Any) -> None:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(os, "replace", refuse)
        store = JSONLStore(published)
        with pytest.raises(StoreUnavailable, match="cannot be written"):
            store.publish()
        assert uids(store) == NEWEST
        store.close()


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-50])


def scrambled(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-100:-50] = os.urandom(50)
    path.write_bytes(content)


def no_segment(path: Path) -> None:
    path.write_bytes(b"no segment at all" * 500)


def of_another_format(path: Path) -> None:
    change(path, about=lambda told: told.update(version=99))


def of_another_program(path: Path) -> None:
    change(path, about=lambda told: told.update(format="other"))


def of_another_codec(path: Path) -> None:
    change(path, about=lambda told: told.update(suffix=".msgpack"))


def with_more_behind_it(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"more")


def a_bomb(path: Path) -> None:
    about = path.read_bytes()[: path.read_bytes().index(b"\x28\xb5\x2f\xfd", 4)]
    path.write_bytes(about + zstandard.compress(bytes(1 << 26)) * 1)


def a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def a_link(path: Path) -> None:
    path.rename(path.parent.parent / "secret.heads")
    path.symlink_to(path.parent.parent / "secret.heads")


@pytest.mark.parametrize(
    "spoil",
    [truncated, scrambled, no_segment, of_another_format, of_another_program, of_another_codec, with_more_behind_it,
     a_bomb, a_pipe, a_link],
    ids=lambda spoil: spoil.__name__,
)  # fmt: skip
def test_unusable_copy_is_passed_over_with_a_warning(
    spoil: Any, published: Path, reads: Reads, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("intake_bluesky.files.index_segments.MOST", 1 << 25)
    spoil(published / NAME)
    store = JSONLStore(published)
    with pytest.warns(UserWarning, match=r"make it anew with `intake-bluesky index"):
        assert uids(store) == NEWEST
    assert len(store.problems()) == 1
    store.close()


class TestHostile:
    """What is in the copy, and would be believed of no file."""

    def _uids(self, folder: Path) -> list[str]:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            store = JSONLStore(folder)
            found = uids(store)
            store.statistics.measure(found)  # which takes in the details
            for uid in found:
                assert sum(map(len, store.event_pages(uid, "primary"))) == 3
            paths = {entry.path for entry in store.files.index.entries()}
            store.close()
        assert paths <= {str(path) for path in folder.iterdir()}
        return found

    @pytest.mark.parametrize("name", ["../secret.jsonl", "/etc/passwd", "x/../../secret.jsonl", "", "gone.jsonl"])
    def test_names_of_files_elsewhere(self, name: str, published: Path) -> None:
        (published.parent / "secret.jsonl").write_bytes(run_of(uid_at(8), 8))
        set_value(published, 0, "name", name)
        assert self._uids(published) == NEWEST

    @pytest.mark.parametrize("column", ["start", "stop", "layout", "stamp", "problem", "name"])
    @pytest.mark.parametrize("value", [7, "text", b"", b"\x00" * 100_000, 1e300])
    def test_values_of_other_kinds(self, column: str, value: Any, published: Path) -> None:
        set_value(published, 0, column, value)
        assert set(self._uids(published)) == set(NEWEST)

    @pytest.mark.parametrize("column", ["start", "stop", "layout", "problem"])
    def test_nulls(self, column: str, published: Path) -> None:
        set_value(published, 0, column, None)
        assert set(self._uids(published)) == set(NEWEST)

    def test_documents_of_other_runs(self, published: Path) -> None:
        stop = orjson.dumps(["stop", {"uid": "s", "run_start": uid_at(4), "time": 1.0, "exit_status": "fail"}])
        rows = {row.name: row for row in IndexSegment((published / NAME).read_bytes(), ".jsonl").rows()}
        set_value(published, 0, "stop", stop)
        set_value(published, 1, "stop", rows["1.jsonl"].start)
        set_value(published, 2, "start", rows["2.jsonl"].stop)
        assert self._uids(published) == NEWEST

    @pytest.mark.parametrize(
        "layout",
        [
            FileLayout(scanned=1 << 50),
            FileLayout(scanned=900, blocks=[FileBlock(0, 900, {0: 1 << 60})], uids=["d"]),
            FileLayout(scanned=900, blocks=[FileBlock(0, 1 << 40, {0: 1})], uids=["d"]),
            FileLayout(scanned=900, blocks=[FileBlock(-5, 900, {0: -1})], uids=["d"]),
            FileLayout(scanned=900, blocks=[FileBlock(0, 900, {0: 3}), FileBlock(0, 900, {0: 3})], uids=["d"]),
            FileLayout(scanned=900, heads=[(0, 1 << 40)]),
        ],
    )
    def test_layouts_of_no_file(self, layout: FileLayout, published: Path) -> None:
        set_value(published, 0, "layout", layout.pack())
        assert self._uids(published) == NEWEST

    def test_bomb(self, published: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("intake_bluesky.files.scan.file_layout.LARGEST", 10_000)
        huge = FileLayout(rest="x" * 1_000_000).pack()
        set_value(published, 0, "layout", huge)
        assert self._uids(published) == NEWEST


class TestRemote:
    @pytest.fixture
    def bucket(self, published: Path) -> Iterator[Any]:
        """The folder as it is after it was copied to a bucket, which keeps no times."""
        fs = fsspec.filesystem("memory")
        for path in published.iterdir():
            fs.pipe_file(f"/published/{path.name}", path.read_bytes())
        yield fs
        fs.rm("/published", recursive=True)

    def test_one_request_lists_all(self, bucket: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        asked: list[str] = []
        cat_file = type(bucket).cat_file

        def counted(fs: Any, path: str, *args: Any, **kwargs: Any) -> Any:
            asked.append(path)
            return cat_file(fs, path, *args, **kwargs)

        monkeypatch.setattr(type(bucket), "cat_file", counted)
        store = JSONLStore("memory://published")
        assert uids(store) == NEWEST
        assert [path.rpartition("/")[2] for path in asked] == [NAME]
        assert sum(map(len, store.event_pages(NEWEST[0], "primary"))) == 3
        before = len(asked)
        store.refresh()
        assert uids(store) == NEWEST
        assert len(asked) == before
        store.close()

    def test_file_of_the_same_size_is_not_mistaken(self, bucket: Any) -> None:
        """The size is all there is to go by, until the run is opened."""
        bucket.pipe_file("/published/0.jsonl", run_of(uid_at(0), 0, value=7.0))
        bucket.pipe_file("/published/1.jsonl", run_of(uid_at(8), 8))
        bucket.pipe_file("/published/2.jsonl", run_of(uid_at(2), 2, events=4))
        store = JSONLStore("memory://published")
        assert set(uids(store)) >= {uid_at(2), uid_at(3)}
        assert store.header(uid_at(2)).streams["primary"].events == 4
        store.close()

    def test_published_to_a_bucket(self, bucket: Any, cache: Path) -> None:
        bucket.rm(f"/published/{NAME}")
        store = JSONLStore("memory://published")
        store.scan()
        assert store.publish() == [f"memory:///published/{name}" for name in (NAME, DETAILS)]
        store.close()
        shutil.rmtree(cache)
        again = JSONLStore("memory://published")
        assert uids(again) == NEWEST
        again.scan()
        assert all(entry.layout for entry in again.files.index.entries() if entry.start)
        again.close()


class TestCommand:
    def test_makes_and_publishes(self, published: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (published / NAME).unlink()
        assert main(["index", str(published)]) == 0
        shown = capsys.readouterr().out
        assert f"{RUNS} runs, 1 problem" in shown
        assert str(published / NAME) in shown
        assert (published / NAME).exists()

    def test_several_yaml_and_json(self, published: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        yaml = tmp_path / "cat.yml"
        yaml.write_text(
            "sources:\n  here:\n    driver: bluesky-jsonl-catalog\n    args: {paths: '{{ CATALOG_DIR }}/runs'}\n"
        )
        (published / NAME).unlink()
        assert main(["index", "--no-publish", "--json", f"{yaml}:here", str(published)]) == 0
        found = orjson.loads(capsys.readouterr().out)["indexes"]
        assert [(one["runs"], one["published"]) for one in found] == [(RUNS, [])] * 2
        assert not (published / NAME).exists()

    def test_no_scan(self, published: Path, reads: Reads) -> None:
        (published / NAME).unlink()
        assert main(["index", "--no-scan", str(published)]) == 0
        store = JSONLStore(published)
        assert {entry.layout for entry in store.files.index.entries()} == {None}
        store.close()

    def test_nothing_there(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["index", str(tmp_path)]) == 2
        assert "it has no files of" in capsys.readouterr().err


def test_second_user_starts_from_what_the_first_published(published: Path, tmp_path: Path) -> None:
    """In a process of its own, with a cache of its own, and a folder that it only reads."""
    code = (
        "import sys, intake_bluesky.files.content.source as s\n"
        "from intake_bluesky_jsonl import JSONLStore\n"
        "opened = []\n"
        "init = s.LocalSource.__init__\n"
        "s.LocalSource.__init__ = lambda self, path: (opened.append(path), init(self, path))[1]\n"
        f"print(JSONLStore({str(published)!r}).count(), len(opened))"
    )
    environment = {**os.environ, "INTAKE_BLUESKY_CACHE": str(tmp_path / "second")}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(RUNS), "0"]
    assert done.stderr == ""


def test_statistics_are_published(
    published: Path, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INTAKE_BLUESKY_CACHE", str(tmp_path / "another cache"))
    store = JSONLStore(published)
    assert store.count() > 0
    uids = [run.uid for run in store.find() if run.stop is not None]
    assert store.statistics.measure(uids) == 0
    store.close()


def test_statistics_that_are_none_are_left_out(
    published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(RUNS):
        set_value(published, number, "statistics", b"\0\xff")
    monkeypatch.setenv("INTAKE_BLUESKY_CACHE", str(tmp_path / "another cache"))
    store = JSONLStore(published)
    uids = [run.uid for run in store.find() if run.stop is not None]
    assert uids
    assert store.statistics.measure(uids) > 0
    store.close()
