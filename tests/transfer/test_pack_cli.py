"""``intake-bluesky pack`` and ``unpack``: what they write, and how they end."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from intake_bluesky.apps.cli import main
from intake_bluesky.testing import EXAMPLES
from intake_bluesky_jsonl import BlueskyJSONLCatalog
from intake_bluesky_sql.store import SQLStore
from tests.transfer.conftest import put


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of runs: of one of them a file is missing."""
    monkeypatch.chdir(tmp_path)
    put(
        BlueskyJSONLCatalog(tmp_path / "runs"),
        [EXAMPLES[name](tmp_path / "data") for name in ("stream_hdf5", "count", "missing_file")],
    )
    return tmp_path


def called(capsys: pytest.CaptureFixture[str], code: int, *words: str) -> Any:
    assert main([*words, "--json"]) == code
    return json.loads(capsys.readouterr().out)


def test_packed_checked_and_unpacked(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = called(capsys, 1, "pack", "runs", "all.zip")
    assert (len(report["copied"]), len(report["missing"]), len(report["files"])) == (3, 1, 2)
    report = called(capsys, 0, "pack", "runs", "one", "--query", "scan_id == 60", "--format", "msgpack", "--no-assets")
    assert (len(report["copied"]), report["files"]) == (1, [])
    assert called(capsys, 0, "unpack", "--check", "all.zip") == {"pack": "all.zip", "problems": []}
    report = called(capsys, 1, "unpack", "all.zip", "all")
    assert (len(report["copied"]), len(report["missing"]), len(report["files"])) == (3, 1, 2)
    (runs / "all" / "catalog.yml").write_text("")
    [problem] = called(capsys, 1, "unpack", "--check", "all")["problems"]
    assert problem["path"] == "catalog.yml"
    assert main(["unpack", "all.zip", "all.db", "--assets-into", "files"]) == 1
    assert "root_map" in capsys.readouterr().out
    assert SQLStore(f"sqlite:///{runs / 'all.db'}").count() == 3


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["pack", "runs", "runs"], "is no pack"),
        (["pack", "nothing", "x.zip"], "no catalog"),
        (["unpack", "runs", "x"], "has no manifest.json"),
        (["unpack", "nothing", "x"], "there is no pack"),
        (["unpack", "runs"], "name a folder"),
        (["unpack", "runs", "x", "--check"], "name the pack alone"),
    ],
)
def test_what_cannot_be_done_is_said(
    words: list[str], why: str, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    assert why in capsys.readouterr().err
    assert sorted(path.suffix for path in (runs / "runs").iterdir()) == [".jsonl"] * 3


def test_a_pack_that_is_opened_as_a_catalog_names_unpack(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pack", "runs", "all.zip"]) == 1
    capsys.readouterr()
    assert main(["ls", "all.zip"]) == 2
    assert (
        "all.zip is a pack of 3 runs: `intake-bluesky unpack all.zip all` takes them out, and all/catalog.yml"
        in capsys.readouterr().err
    )
    assert main(["unpack", "all.zip", "all"]) == 1
    assert main(["ls", "all/catalog.yml"]) == 0
    assert "3 runs" in capsys.readouterr().out
    with zipfile.ZipFile("other.zip", "w") as file:
        file.writestr("a", b"")
    assert main(["ls", "other.zip"]) == 2
    assert "other.zip is no catalog" in capsys.readouterr().err
