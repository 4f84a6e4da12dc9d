"""Runs in one SQLite file: a table of runs with columns for what people search by, and a table of documents."""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any

from intake_bluesky import storage
from intake_bluesky.documents import Document, EventPage, RunDocuments, RunHeader, RunSummary, to_plain
from intake_bluesky.storage import ALL_RUNS, Order, Plan, Query

TEXTS = ("uid", "plan_name", "stop.exit_status")
NUMBERS = ("scan_id", "time")
COLUMNS = {key: f'"{key}"' for key in (*TEXTS, *NUMBERS)}
TABLES = """
CREATE TABLE IF NOT EXISTS runs (
    "uid" PRIMARY KEY, "plan_name", "stop.exit_status", "scan_id", "time", place REAL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS documents (number INTEGER PRIMARY KEY, run, name, body);
CREATE INDEX IF NOT EXISTS by_run ON documents (run);
"""
ORDERS = {Order.NEWEST: 'place IS NULL, place DESC, "uid" DESC', Order.OLDEST: 'place IS NULL, place, "uid"'}
MANY = 4000  # values of one condition: a statement of SQLite takes 32,766, those of other conditions among them
EXACT = 2**53  # numbers up to here compare in SQLite as in Python, ints and floats alike


def column(key: str, doc: Document) -> Any:
    """What a column holds of a document: a text, or a number; NULL where that has neither."""
    value: Any = doc.get(key.removeprefix("stop."))
    if key in TEXTS:
        return value if isinstance(value, str) and value.isprintable() else None
    if type(value) not in (int, float) or math.isnan(value):
        return None
    return value if abs(value) < EXACT else math.copysign(math.inf, value)  # past every number that is asked for


class OneFileStore(storage.RunStore):
    """Runs in one SQLite file, which the first run that is written makes."""

    ordered = True
    writable = True

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.damaged: dict[str, storage.Problem] = {}
        self.reads = 0  # how often events were parsed: the conformance suite counts

    @property
    def cache_key(self) -> str:
        return f"one file {self.path.resolve()}"

    def ask(self, sql: str, *values: Any) -> list[Any]:
        if not self.path.exists():
            return []
        with closing(sqlite3.connect(self.path)) as db:
            return db.execute(sql, values).fetchall()

    def answers(self, leaf: Query) -> bool:
        condition = storage.key_condition(leaf)
        if condition is None:
            return False
        values = condition.value if condition.operator == "in" else (condition.value,)
        if condition.key in NUMBERS:
            return len(values) <= MANY and all(type(value) in (int, float) and abs(value) < EXACT for value in values)
        # Texts that a column leaves out equal none that is asked for, but they would be in an order with it.
        plain = len(values) <= MANY and all(isinstance(value, str) and value.isprintable() for value in values)
        return condition.key in TEXTS and condition.operator in ("==", "in") and plain

    def find(self, plan: Plan = ALL_RUNS, *, offset: int = 0, limit: int | None = None) -> Iterator[RunSummary]:
        where, values = storage.sql_condition(plan.pushed, COLUMNS)
        uids = self.ask(f"SELECT uid FROM runs WHERE {where} ORDER BY {ORDERS[plan.order]}", *values)
        return islice(self._summaries(uids), offset, None if limit is None else offset + limit)

    def _summaries(self, uids: list[Any]) -> Iterator[RunSummary]:
        for (uid,) in uids:
            try:
                yield RunDocuments(self._stored(uid, "AND name IN ('start', 'stop')")).summary
            except storage.DamagedRun as error:  # which takes no good run's place
                self.damaged[uid] = storage.Problem(str(self.path), f"{error}: write it again", uid)

    def problems(self) -> Sequence[storage.Problem]:
        return list(self.damaged.values())

    def count(self, plan: Plan = ALL_RUNS) -> int:
        where, values = storage.sql_condition(plan.pushed, COLUMNS)
        return sum(number for (number,) in self.ask(f"SELECT count(*) FROM runs WHERE {where}", *values))

    def _stored(self, uid: str, which: str = "") -> list[tuple[str, Document]]:
        rows = self.ask(f"SELECT name, body FROM documents WHERE run = ? {which} ORDER BY number", uid)
        if not rows:
            raise storage.RunNotFound(f"{self.path} has no run {uid!r}: a store takes full uids")
        try:
            return [(name, json.loads(body)) for name, body in rows]
        except ValueError as error:
            raise storage.DamagedRun(f"run {uid} in {self.path} cannot be read: {error}") from error

    def documents(self, uid: str) -> Iterator[tuple[str, Document]]:
        yield from self._stored(uid)

    def _run(self, uid: str) -> RunDocuments:
        return RunDocuments(self._stored(uid), parsed=lambda *_: setattr(self, "reads", self.reads + 1))

    def header(self, uid: str) -> RunHeader:
        [(number,)] = self.ask("SELECT max(number) FROM documents WHERE run = ?", uid) or [(None,)]
        return self._run(uid).header(version=str(number))

    def event_pages(self, uid: str, stream: str, **options: Any) -> Iterator[EventPage]:
        return self._run(uid).event_pages(stream, **options)

    def insert(self, start: Document) -> storage.RunInsert:
        return OneFileInsert(self.path, to_plain(start))

    def remove(self, uid: str, *, permanent: bool = False) -> None:
        next(self.documents(uid))
        with closing(sqlite3.connect(self.path)) as db, db:
            db.execute("DELETE FROM runs WHERE uid = ?", (uid,))
            db.execute("DELETE FROM documents WHERE run = ?", (uid,))


class OneFileInsert(storage.RunInsert):
    """A run that is being written, each document a transaction: a crash loses none that was written."""

    def __init__(self, path: Path, start: Document) -> None:
        self._path, self._uid = path, start["uid"]
        values = [column(key, {} if key.startswith("stop.") else start) for key in (*TEXTS, *NUMBERS)]
        with closing(sqlite3.connect(path)) as db, db:
            db.executescript(TABLES)
            try:
                db.execute("INSERT INTO runs VALUES (?, ?, ?, ?, ?, ?)", (*values, RunSummary.of(start, None).time))
            except sqlite3.IntegrityError:
                raise storage.DuplicateRun(f"{path} has a run {self._uid} already: write another uid") from None
        self.write("start", start)

    def write(self, name: str, doc: Document) -> None:
        with closing(sqlite3.connect(self._path)) as db, db:
            document = self._uid, name, json.dumps(to_plain(doc))
            db.execute("INSERT INTO documents(run, name, body) VALUES (?, ?, ?)", document)
            if name == "stop":
                status = column("stop.exit_status", doc)
                db.execute('UPDATE runs SET "stop.exit_status" = ? WHERE uid = ?', (status, self._uid))

    def close(self) -> None:
        """All is written."""
