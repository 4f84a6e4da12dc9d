"""What the tests of runs in files share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from intake_bluesky_jsonl import JSONLStore
from tests.files.runs import Reads


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("INTAKE_BLUESKY_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "runs"
    folder.mkdir()
    return folder


@pytest.fixture
def store(folder: Path) -> Iterator[JSONLStore]:
    store = JSONLStore(folder)
    yield store
    store.close()


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files just written are taken for old: they would be looked at once more."""
    monkeypatch.setattr("intake_bluesky.files.content.source.TICK", 0)


@pytest.fixture
def reads(settled: None, monkeypatch: pytest.MonkeyPatch) -> Reads:
    return Reads(monkeypatch)
