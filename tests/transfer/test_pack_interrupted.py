"""Packing that is killed, or whose disk gets full, goes on where it was; zip files past the limits of 32 bits."""

from __future__ import annotations

import errno
import io
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from intake_bluesky import ingest
from intake_bluesky.errors import CopyFailed
from intake_bluesky.testing import EXAMPLES
from intake_bluesky.transfer import pack_targets
from intake_bluesky.transfer.zip_entries import ZipEntry, append, finish
from tests.transfer.packed_runs import catalog, linked_runs

# The process of each attempt ends in the middle of a write, with nothing tidied up, as after SIGKILL.
KILLED = """
import os, sys
from pathlib import Path
from intake_bluesky import ingest
from intake_bluesky.transfer import pack_targets
from tests.transfer.test_pack_interrupted import runs

top, whole = Path(sys.argv[1]), pack_targets._write_all
cat = runs(top / "data")
ingest.pack(cat, top / "warm")  # all that is imported late is imported now

def killed_at(number):
    def write(file, data):
        nonlocal number
        number -= 1
        if number < 0:
            file.write(memoryview(data)[: len(data) // 2])
            os._exit(9)
        whole(file, data)
    return write

for name in ("pack", "pack.zip"):
    code = None
    for number in range(1, 200, 3):
        if code != 0:
            pid = os.fork()
            if pid == 0:
                pack_targets._write_all = killed_at(number)
                ingest.pack(cat, top / name)
                os._exit(0)
            code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            print(name, number, code)
"""


def runs(folder: Path) -> Any:
    return catalog(*(EXAMPLES[name](folder) for name in ("count", "scan", "npy_seq")), *linked_runs(folder))


def test_packing_goes_on_after_it_was_killed_at_any_write(tmp_path: Path) -> None:
    cat = runs(tmp_path / "data")
    command = [sys.executable, "-c", KILLED, str(tmp_path)]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True)
    attempts = [line.split() for line in done.stdout.splitlines()]
    for name in ("pack", "pack.zip"):
        codes = [code for own, _, code in attempts if own == name]
        assert codes.count("9") >= 3  # each got further than the one before it, or it would never have ended
        assert codes[-1] == "0"
        assert ingest.check_pack(tmp_path / name) == {}
        assert sorted(ingest.pack(cat, tmp_path / name).skipped) == sorted(cat)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "pack", "pack.zip", "warm"]


@pytest.mark.parametrize("name", ["pack", "pack.zip"])
def test_a_full_disk_is_told_and_packing_goes_on_once_there_is_room(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cat = runs(tmp_path / "data")
    room = 20_000
    whole = pack_targets._write_all

    def write(file: Any, data: bytes) -> None:
        nonlocal room
        room -= len(data)
        if room < 0:
            file.write(memoryview(data)[: len(data) // 2])
            raise OSError(errno.ENOSPC, "No space left on device")
        whole(file, data)

    monkeypatch.setattr(pack_targets, "_write_all", write)
    with pytest.raises(CopyFailed, match="No space left") as failed:
        ingest.pack(cat, tmp_path / name)
    copied = failed.value.report.copied
    assert 0 < len(copied) < len(cat)
    room = 1 << 30
    report = ingest.pack(cat, tmp_path / name)
    assert sorted(report.copied) == sorted(cat)
    assert [one.new for one in report.files].count(False) >= 1  # what was packed before is not packed again
    assert ingest.check_pack(tmp_path / name) == {}


@pytest.mark.parametrize("place_of", [0, 0.5])
def test_what_is_not_as_it_was_noted_is_packed_again(
    place_of: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cat = runs(tmp_path / "data")

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    for name, part in (("pack", "pack"), ("pack.zip", "pack.zip.part")):
        with monkeypatch.context() as patched:
            patched.setattr(pack_targets.PackTarget, "_made", stop)
            with pytest.raises(KeyboardInterrupt):
                ingest.pack(cat, tmp_path / name)
        place = tmp_path / part
        files = [place] if place.is_file() else [path for path in place.rglob("*.h5") if path.is_file()]
        for file in files:  # as after a power cut
            content = bytearray(file.read_bytes())
            content[int(len(content) * place_of)] ^= 1
            file.write_bytes(content)
        assert ingest.pack(cat, tmp_path / name).refused == {}
        assert ingest.check_pack(tmp_path / name) == {}


def test_zip_files_past_the_limits_of_32_bits(tmp_path: Path) -> None:
    far = 5 << 30
    with open(tmp_path / "sparse.zip", "w+b") as file:
        near = append(file, 0, "near", [b"near"])
        entry = append(file, far, "far é", [b"far", b" away"])
        finish(file, entry.end, [near, entry])
    with zipfile.ZipFile(tmp_path / "sparse.zip") as found:
        assert found.testzip() is None
        assert found.read("far é") == b"far away"
        assert found.getinfo("far é").header_offset == far
    large = ZipEntry("large", 0, far, 0)
    listed = io.BytesIO()
    finish(listed, 0, [large])
    with zipfile.ZipFile(listed) as found:
        assert found.getinfo("large").file_size == far


def test_zip_files_of_more_than_65535_entries() -> None:
    file = io.BytesIO()
    entries = [append(file, 0, f"{number}", []) for number in range(3)] * 23_000
    finish(file, entries[0].end, entries)
    with zipfile.ZipFile(file) as found:
        assert len(found.infolist()) == 69_000


def test_an_entry_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def failing() -> Any:
        yield b"some"
        raise KeyboardInterrupt

    with open(tmp_path / "x.zip", "w+b") as file:
        first = append(file, 0, "first", [b"1"])
        with pytest.raises(KeyboardInterrupt):
            append(file, first.end, "second", failing())
        assert file.seek(0, io.SEEK_END) == first.end
