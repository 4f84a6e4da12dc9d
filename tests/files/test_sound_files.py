"""Small files that are sound are read without a scan, and what they give is what a scan finds in them."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from intake_bluesky.documents.model import Document
from intake_bluesky.errors import DamagedRun, RunNotFound
from intake_bluesky.files import run_reader
from intake_bluesky.testing.differences import assert_documents
from intake_bluesky.testing.plain_runs import interleaved
from intake_bluesky.testing.runs import EXAMPLES
from intake_bluesky_jsonl import JSONLStore
from intake_bluesky_msgpack import MsgpackStore

KINDS = pytest.mark.parametrize("kind", [JSONLStore, MsgpackStore])


def read(store: Any, uid: str) -> list[tuple[str, Document]] | None:
    """The documents; None where the file holds no such run."""
    try:
        return list(store.documents(uid))
    except (DamagedRun, RunNotFound):
        return None


@KINDS
@pytest.mark.parametrize("compression", [None, "zst"])
def test_examples(kind: Any, compression: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = kind(tmp_path / "runs", compression=compression)
    made = {run[0][1]["uid"]: run for run in (make(tmp_path / "files") for make in EXAMPLES.values())}
    assert list(store.insert_runs(made.values())) == [None] * len(made)
    for uid, run in made.items():
        assert_documents(list(store.complete_documents(uid)), run)
    monkeypatch.setattr(run_reader, "SMALL", 0)
    for uid, run in made.items():
        assert_documents(list(store.complete_documents(uid)), run)
    store.close()


@KINDS
def test_damage_is_read_the_same_way(kind: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(20)
    folder, run = tmp_path / "runs", interleaved()
    uid = run[0][1]["uid"]
    store = kind(folder)
    assert list(store.insert_runs([run])) == [None]
    [path] = folder.iterdir()
    whole = path.read_bytes()
    sound = 0
    for _ in range(60):
        place = chance.randrange(len(whole))
        damaged = bytearray(whole)
        damaged[place] = chance.randrange(256)
        path.write_bytes(damaged[: place + 1] if chance.random() < 0.2 else damaged)
        store.refresh(deep=True)
        quickly = read(store, uid)
        with monkeypatch.context() as patch:
            patch.setattr(run_reader, "SMALL", 0)
            scanned = read(store, uid)
        assert (quickly is None) is (scanned is None)
        if quickly is not None and scanned is not None:
            assert_documents(quickly, scanned)
            sound += 1
    assert sound > 20
    store.close()
