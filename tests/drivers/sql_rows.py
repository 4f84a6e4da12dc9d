"""Runs put into the tables by the databases' own drivers, as another program would: a document a row."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import psycopg
from sqlalchemy import make_url

from intake_bluesky.documents.model import to_plain
from intake_bluesky.index.search_form import COMMON, SearchForm, comparable
from intake_bluesky.query.run_nodes import words
from intake_bluesky.testing.examples import Run
from intake_bluesky_sql import SQLStore

OWNERS = {"event": "descriptor", "event_page": "descriptor", "stream_datum": "stream_resource", "datum": "resource"}


class Rows:
    """The tables of a store, past it."""

    def __init__(self, store: SQLStore) -> None:
        store.create()
        self._path, self._text = store.database.address.path, store.database.address.text

    @contextmanager
    def connection(self) -> Iterator[Any]:
        if self._path is None:
            url = make_url(self._text).set(drivername="postgresql")
            with psycopg.connect(url.render_as_string(hide_password=False)) as server:
                yield server
            return
        with closing(sqlite3.connect(self._path, timeout=30)) as db, db:
            db.execute("PRAGMA foreign_keys = ON")
            yield db

    def _execute(self, db: Any, statement: str, *values: Any) -> Any:
        return db.execute(statement if self._path is not None else statement.replace("?", "%s"), values)

    def insert(self, run: Run) -> None:
        start = to_plain(run[0][1])
        time, number = start.get("time"), start.get("scan_id")
        timed = type(time) in (int, float) and abs(time) < 1e300
        form = SearchForm.of(start, None)
        columns = {
            "uid": start["uid"], "writer": "another program", "lists": form.lists, "form_start": form.start,
            "time": comparable(time), "newest": time if timed else float("-inf"),
            "oldest": time if timed else float("inf"), "scan_id": number if type(number) is int else None,
            **dict(zip(COMMON.values(), form.common, strict=True)),
        }  # fmt: skip
        if self._path is None:
            columns["words"] = sorted(words(form.words))
        names, signs = ", ".join(columns), ", ".join("?" * len(columns))
        with self.connection() as db:
            self._execute(db, f"INSERT INTO runs ({names}) VALUES ({signs})", *columns.values())
            if self._path is not None:
                number = self._execute(db, "SELECT id FROM runs WHERE uid = ?", start["uid"]).fetchone()[0]
                self._execute(db, "INSERT INTO texts(rowid, words) VALUES (?, ?)", number, form.words)
        self.append(start["uid"], run)

    def append(self, uid: str, documents: Run) -> None:
        with self.connection() as db:
            [run] = self._execute(db, "SELECT id FROM runs WHERE uid = ?", uid).fetchone()
            [first] = self._execute(db, "SELECT count(*) FROM documents WHERE run = ?", run).fetchone()
            for place, (name, doc) in enumerate(documents, start=first):
                owner = doc.get(OWNERS.get(name, ""))
                body = json.dumps(to_plain(doc)).encode()
                self._execute(db, "INSERT INTO documents VALUES (?, ?, ?, ?, ?)", run, place, name, owner, body)
                if name == "stop":
                    [body] = self._execute(db, "SELECT body FROM documents WHERE run = ? AND place = 0", run).fetchone()
                    form = SearchForm.of(json.loads(bytes(body)), to_plain(doc))
                    self._execute(
                        db,
                        "UPDATE runs SET stop_place = ?, form_stop = ?, exit_status = ? WHERE id = ?",
                        place, form.stop, form.common[list(COMMON.values()).index("exit_status")], run,
                    )  # fmt: skip

    def remove(self, uid: str) -> None:
        with self.connection() as db:
            if self._path is not None:
                self._execute(db, "DELETE FROM texts WHERE rowid = (SELECT id FROM runs WHERE uid = ?)", uid)
            self._execute(db, "DELETE FROM runs WHERE uid = ?", uid)

    def damage(self, uid: str) -> None:
        """Leave half of the start document of a run."""
        with self.connection() as db:
            found = "(SELECT id FROM runs WHERE uid = ?)"
            self._execute(
                db, f"UPDATE documents SET body = ? WHERE place = 0 AND run = {found}", b'{"uid": "cut o', uid
            )
