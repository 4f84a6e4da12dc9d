"""Several processes and users, folders and caches that cannot be written, indexes that cannot be used."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from intake_bluesky_jsonl import JSONLStore
from tests.files.runs import uids
from tests.files.test_changes import run_of, uid_at

pytestmark = pytest.mark.slow

RUNS = 30
COUNT = "import sys; from intake_bluesky_jsonl import JSONLStore; print(JSONLStore(sys.argv[1]).count())"


@pytest.fixture
def filled(folder: Path) -> Path:
    for number in range(RUNS):
        (folder / f"{number:02}.jsonl").write_bytes(run_of(uid_at(number), number))
    return folder


def counting(folder: Path, cache: Path, code: str = COUNT) -> subprocess.Popen[str]:
    environment = {**os.environ, "INTAKE_BLUESKY_CACHE": str(cache)}
    return subprocess.Popen(
        [sys.executable, "-c", code, str(folder)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_processes_that_open_a_new_folder_together(filled: Path, cache: Path) -> None:
    processes = [counting(filled, cache) for _ in range(4)]
    for process in processes:
        assert process.communicate(timeout=120) == (f"{RUNS}\n", "")
    store = JSONLStore(filled)
    assert uids(store) == [uid_at(number) for number in reversed(range(RUNS))]
    assert len(list(store.files.index.entries())) == RUNS
    store.close()


def test_users_have_an_index_each(filled: Path, tmp_path: Path) -> None:
    caches = [tmp_path / "anna", tmp_path / "otto"]
    for cache in caches:
        assert counting(filled, cache).communicate(timeout=120) == (f"{RUNS}\n", "")
        assert stat.S_IMODE(cache.stat().st_mode) == 0o700
        assert list(cache.glob("*.sqlite"))


def test_nothing_is_written_beside_the_data(filled: Path, cache: Path) -> None:
    before = {path.name: path.stat().st_mtime_ns for path in filled.iterdir()}, filled.stat().st_mtime_ns
    store = JSONLStore(filled)
    store.scan()
    store.close()
    assert ({path.name: path.stat().st_mtime_ns for path in filled.iterdir()}, filled.stat().st_mtime_ns) == before


@pytest.fixture
def known(filled: Path, cache: Path) -> Path:
    """The index of the folder, closed."""
    store = JSONLStore(filled)
    store.scan()
    store.close()
    [path] = cache.glob("*.sqlite")
    return path


def test_index_of_a_version_before_is_made_anew(known: Path, filled: Path) -> None:
    with sqlite3.connect(known) as db:
        db.execute("PRAGMA user_version = 1")
    db.close()
    store = JSONLStore(filled)
    with pytest.warns(UserWarning, match="made anew"):
        assert store.count() == RUNS
    assert store.header(uid_at(3)).streams["primary"].events == 3
    store.close()


# What SQLite says where the system refuses to write; root is refused nothing, so that it is said for it.
READ_ONLY = """
import sqlite3, sys
from intake_bluesky.index.index import Index
connect = Index._connect
def refused(self):
    if self.path.parent.name != "cache":
        return connect(self)
    db = sqlite3.connect(f"{self.path.as_uri()}?mode=ro", uri=True, isolation_level=None)
    db.execute("CREATE TABLE no(no)")
Index._connect = refused
from intake_bluesky_jsonl import JSONLStore
store = JSONLStore(sys.argv[1])
print(store.count(), store.files.index.path.parent.name.startswith("intake-bluesky-"))
"""


def test_cache_that_is_read_only(known: Path, filled: Path, cache: Path) -> None:
    content = known.read_bytes()
    shown, warned = counting(filled, cache, READ_ONLY).communicate(timeout=120)
    assert shown == f"{RUNS} True\n"
    assert "INTAKE_BLUESKY_CACHE" in warned
    assert known.read_bytes() == content


def test_index_damaged_while_processes_use_it(known: Path, filled: Path) -> None:
    store = JSONLStore(filled)
    assert store.count() == RUNS
    store.close()
    known.write_bytes(os.urandom(50_000))
    with pytest.warns(UserWarning, match="made anew"):
        assert store.count() == RUNS
    assert uids(store) == [uid_at(number) for number in reversed(range(RUNS))]
    store.close()
