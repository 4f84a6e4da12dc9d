from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

from one_file_plugin.store import OneFileInsert, OneFileStore

from intake_bluesky.documents import to_plain
from intake_bluesky.testing import Run, StoreTests


class TestOneFileStore(StoreTests[OneFileStore]):
    def make_store(self, folder: Path) -> OneFileStore:
        return OneFileStore(folder / "all.runs")

    def insert(self, store: OneFileStore, documents: Run) -> None:
        OneFileInsert(store.path, to_plain(documents[0][1])).close()
        self.append(store, documents[0][1]["uid"], documents[1:])

    def append(self, store: OneFileStore, uid: str, documents: Run) -> None:
        rows = [(uid, name, json.dumps(to_plain(doc))) for name, doc in documents]
        with closing(sqlite3.connect(store.path)) as db, db:
            db.executemany("INSERT INTO documents(run, name, body) VALUES (?, ?, ?)", rows)
            stops = [(doc.get("exit_status"), uid) for name, doc in documents if name == "stop"]
            db.executemany('UPDATE runs SET "stop.exit_status" = ? WHERE uid = ?', stops)

    def remove(self, store: OneFileStore, uid: str) -> None:
        with closing(sqlite3.connect(store.path)) as db, db:
            db.execute("DELETE FROM runs WHERE uid = ?", (uid,))
            db.execute("DELETE FROM documents WHERE run = ?", (uid,))

    def damage(self, store: OneFileStore) -> None:
        OneFileInsert(store.path, {"uid": "damaged"}).close()
        with closing(sqlite3.connect(store.path)) as db, db:
            db.execute("UPDATE documents SET body = 'cut o' WHERE run = 'damaged'")

    def data_reads(self, store: OneFileStore) -> int:
        return store.reads
