"""``intake-bluesky copy``."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from intake_bluesky import BlueskyCatalog, ingest
from intake_bluesky.apps.cli import main
from intake_bluesky.apps.cli.open_catalog import find_catalog
from intake_bluesky.testing import MemoryStore
from intake_bluesky.testing.runs import EXAMPLES
from intake_bluesky_jsonl import BlueskyJSONLCatalog

NAMES = ("count", "scan", "unfinished", "stream_hdf5")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In an empty folder are runs, in ``runs``."""
    monkeypatch.setenv("INTAKE_BLUESKY_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    made = [EXAMPLES[name](tmp_path / "data") for name in NAMES]
    ingest.copy(BlueskyCatalog(MemoryStore(made)), into=BlueskyJSONLCatalog("runs"), unfinished="copy")


@pytest.mark.parametrize(
    "target",
    [["new/*.msgpack"], ["new/*.jsonl"], ["new.db"], ["sqlite:///new.db"], ["new", "--driver", "msgpack"],
     ["new", "--driver=bluesky-jsonl-catalog"]],
    ids=" ".join,
)  # fmt: skip
def test_into_what_is_not_there_yet(target: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["copy", "runs", *target, "--dry-run"]) == 0
    assert "3 runs would be copied, 1 without a stop passed over" in capsys.readouterr().out
    assert not os.path.exists("new.db")
    assert not os.path.exists("new")
    assert main(["copy", "runs", *target]) == 0
    assert "3 runs copied" in capsys.readouterr().out
    assert main(["copy", "runs", *target, "--unfinished"]) == 0
    assert "1 run copied (4 documents), 3 there already" in capsys.readouterr().out
    assert len(find_catalog("new.db" if os.path.exists("new.db") else "new")) == 4


def test_into_an_entry_of_a_yaml_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    args = {"paths": "{{ CATALOG_DIR }}/packed", "compression": "zst"}
    content = {"sources": {"packed": {"driver": "bluesky-jsonl-catalog", "args": args}}}
    Path("beamline.yml").write_text(yaml.safe_dump(content))
    assert main(["copy", "runs", "beamline.yml:packed", "--query", "plan_name == 'count'", "--json"]) == 0
    said: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert len(said["copied"]) == 1
    assert [path.suffix for path in (tmp_path / "packed").iterdir()] == [".zst"]


def test_files_are_copied_and_found(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["copy", "runs", "new/*.jsonl", "--assets", "copy"]) == 0
    said = capsys.readouterr().out
    assert "2 files copied" in said
    root_map = yaml.safe_load(said[said.index("root_map:") :])["root_map"]
    os.rename("data", "gone")
    moved = BlueskyJSONLCatalog("new", root_map=root_map)
    [run] = moved.search({"scan_id": 60}).values()
    assert float(run.primary.read()["image"].sum()) > 0


def test_what_is_refused_is_told_and_exits_with_1(capsys: pytest.CaptureFixture[str]) -> None:
    path = next(Path("runs").glob("*.jsonl"))
    path.write_bytes(path.read_bytes().replace(b'["event"', b'["event', 1) + b"\n")
    os.utime(path)
    assert main(["copy", "runs", "new/*.jsonl", "--unfinished"]) == 1
    said = capsys.readouterr().out
    assert "3 runs copied" in said
    assert f"refused {path.stem}" in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere", "new.db"], "is no catalog"),
        (["runs", "nowhere"], "give --driver jsonl, or a pattern, 'nowhere/*.jsonl'"),
        (["runs", "new", "--driver", "odd"], "odd"),
        (["runs", "nowhere.yml"], "there is no file nowhere.yml"),
        (["runs", "new.db", "--query", "plan_name =="], "plan_name"),
        (["runs", "new.db", "--assets", "copy"], "give assets_into"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["copy", *arguments]) == 2
    assert message in capsys.readouterr().err


SLOW = """
import sys, time
from intake_bluesky.apps.cli import main
from intake_bluesky.files.store import FileStore
documents = FileStore.complete_documents
def slowly(self, uid):
    print("reading", flush=True)
    time.sleep(0.3)
    yield from documents(self, uid)
FileStore.complete_documents = slowly
sys.exit(main(["copy", "runs", "new.db"]))
"""


def test_interrupted_goes_on() -> None:
    process = subprocess.Popen([sys.executable, "-c", SLOW], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted: the runs that are in new.db stay, and the same command goes on from here" in said
    assert main(["copy", "runs", "new.db"]) == 0
    assert len(find_catalog("new.db")) == 3
