"""The whole test file of somebody else's driver."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from one_file_plugin.store import OneFileStore

from intake_bluesky.documents import to_plain
from intake_bluesky.testing.examples import Run
from intake_bluesky.testing.stores import ReadOnlyStoreTests


class TestOneFileStore(ReadOnlyStoreTests[OneFileStore]):
    def make_store(self, folder: Path) -> OneFileStore:
        return OneFileStore(folder / "all.runs")

    def insert(self, store: OneFileStore, documents: Run) -> None:
        with store.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(to_plain(documents)) + "\n")

    def append(self, store: OneFileStore, uid: str, documents: Run) -> None:
        self._rewrite(store, lambda run: run + to_plain(documents) if run[0][1]["uid"] == uid else run)

    def remove(self, store: OneFileStore, uid: str) -> None:
        self._rewrite(store, lambda run: None if run[0][1]["uid"] == uid else run)

    def damage(self, store: OneFileStore) -> None:
        with store.path.open("a", encoding="utf-8") as file:
            file.write('[["start", {"uid": "cut o\n')

    def data_reads(self, store: OneFileStore) -> int:
        return store.reads

    @staticmethod
    def _rewrite(store: OneFileStore, change: Any) -> None:
        runs = [change(json.loads(line)) for line in store.path.read_text(encoding="utf-8").splitlines()]
        store.path.write_text("".join(json.dumps(run) + "\n" for run in runs if run), encoding="utf-8")
