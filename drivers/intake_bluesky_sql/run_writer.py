"""Writing runs: one as its documents come, or whole ones, some hundreds in a transaction."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from operator import attrgetter
from typing import Any, Final
from uuid import uuid4

from sqlalchemy import Connection
from sqlalchemy.exc import DataError, IntegrityError

from intake_bluesky.documents.model import Document
from intake_bluesky.errors import DuplicateRun, IntakeBlueskyError, RunNotFound, UnsupportedOperation
from intake_bluesky.storage.buffered_insert import BufferedInsert, Buffering, try_again
from intake_bluesky.storage.whole_runs import WholeRun, finish_run
from intake_bluesky_sql.database import Database
from intake_bluesky_sql.document_rows import DocumentRows
from intake_bluesky_sql.maintenance import analyze
from intake_bluesky_sql.search_columns import ordering, put_words, searched_columns
from intake_bluesky_sql.statistics import Found, StatisticsTables

INSERT_DOCUMENT: Final = "INSERT INTO documents VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
DELETE_DOCUMENT: Final = "DELETE FROM documents WHERE run = ? AND place = ?"
TOGETHER: Final = 32  # blocks' columns sent at once
MANY: Final = 256  # whole runs of one transaction, and what follows bounds it too: others wait that long to write
LARGE: Final = 1 << 24  # bytes
SOON: Final = 1.0  # seconds


class SQLInsert(BufferedInsert):
    """A run being written, by one process; see `SQLStore.insert`.

    Raises
    ------
    DuplicateRun
        When the database has a run of this uid.
    """

    def __init__(self, database: Database, rows: DocumentRows, buffering: Buffering) -> None:
        super().__init__(rows.uid, buffering)
        self._database = database
        self._rows = rows
        numbers = database.write(RunBatch(database, [rows]).put)
        if not numbers:
            raise _duplicate(database, rows.uid)
        self._run = numbers[rows.uid]
        self._file = database.file
        rows.forget()

    def _take(self, name: str, doc: Document) -> None:
        self._rows.take(name, doc)
        self._held = self._rows.held

    def _flush(self) -> None:
        """Write what is waiting, in one transaction."""
        rows = self._rows
        if not rows.waiting and not rows.blocks:
            return
        if len(rows.waiting) == 1 and not rows.blocks and rows.stop is None:
            [written] = rows.waiting.values()
            work = partial(self._database.write_one, INSERT_DOCUMENT, (self._run, *written))
        else:
            work = partial(self._database.write, self._put)
        try:
            # Another file at the same path has no such run.
            if self._database.file != self._file:
                raise self._removed()
            work()
        except IntegrityError:  # its row is not there
            raise self._removed() from None
        self._forget()

    def _removed(self) -> RunNotFound:
        """The error for a run of which nothing can be written any more."""
        self._forget()
        self._state = "closed"
        return RunNotFound(
            f"run {self.uid} was removed from {self._database.address} while it was written: write it anew, whole"
        )

    def _forget(self) -> None:
        """Keep no longer what was waiting."""
        self._rows.forget()
        self._held = 0

    def _put(self, connection: Connection) -> None:
        _put_documents(self._database, connection, {self._run: self._rows})
        if self._rows.stop is not None:
            self._put_stop(connection)

    def _put_stop(self, connection: Connection) -> None:
        rows = self._rows
        form = searched_columns(self._database, rows.form())
        # Only what the stop changes: SQLite writes each index of a column that is named.
        columns = {"stop_place": rows.stop_place} | {n: new for n, new in form.items() if new != rows.searched[n]}
        found = rows.found()
        if found is not None:
            StatisticsTables(self._database).put_all(connection, {self._run: found})
            self._database.execute(connection, "UPDATE runs SET measured = TRUE WHERE id = ?", (self._run,))
        sets = ", ".join(f"{name} = ?" for name in columns)
        self._database.execute(connection, f"UPDATE runs SET {sets} WHERE id = ?", (*columns.values(), self._run))

    def _end(self) -> None:
        self._rows.finish()
        super()._end()
        if self._rows.stop is not None:
            analyze(self._database, self._run)


class RunBatch:
    """Runs that go into a database together, with what has come of them; made before the transaction begins.

    Parameters
    ----------
    database : Database
    runs : sequence of DocumentRows
    """

    def __init__(self, database: Database, runs: Sequence[DocumentRows]) -> None:
        self._database = database
        self._writer = uuid4().hex
        # Two programs with the same runs would wait for each other if they met them crosswise.
        self._runs = runs if database.is_sqlite else sorted(runs, key=attrgetter("uid"))
        self._words: dict[str, str] = {}
        self._found: dict[str, Found] = {}
        self._rows = [self._row(run) for run in self._runs]

    def _row(self, run: DocumentRows) -> dict[str, Any]:
        form = run.form()
        self._words[run.uid] = form.words
        found = None if run.stop is None else run.found()
        if found is not None:
            self._found[run.uid] = found
        run.searched = searched_columns(self._database, form)
        ends = {"stop_place": run.stop_place, "measured": found is not None}
        return {"uid": run.uid, "writer": self._writer, **ordering(self._database, run.start), **run.searched, **ends}

    def put(self, connection: Connection) -> dict[str, int]:
        """Put the runs in; repeated, it finds what it did.

        Returns
        -------
        dict of str to int
            The numbers of the runs by uid; those are lacking of which there is one already.
        """
        database = self._database
        numbers = self._begin(connection)
        put_words(database, connection, {run: self._words[uid] for uid, run in numbers.items()})
        _put_documents(database, connection, {numbers[run.uid]: run for run in self._runs if run.uid in numbers})
        found = {run: self._found[uid] for uid, run in numbers.items() if uid in self._found}
        if found:
            StatisticsTables(database).put_all(connection, found)
        return numbers

    def _begin(self, connection: Connection) -> dict[str, int]:
        into = f"runs ({', '.join(self._rows[0])})"
        self._database.insert(connection, into, [tuple(row.values()) for row in self._rows])
        among, uids = self._database.among([run.uid for run in self._runs])
        asked = f"SELECT uid, id FROM runs WHERE writer = ? AND uid {among}"
        found: Sequence[Any] = self._database.execute(connection, asked, (self._writer, uids)).all()
        return {uid: int(number) for uid, number in found}


class BulkInsert:
    """Whole runs on their way into a database, some hundreds in a transaction; see `RunStore.insert_runs`.

    Parameters
    ----------
    database : Database
    buffering : Buffering
        Its patience is that of each transaction.
    remove : callable
        Removes a run by its uid, one that was refused after parts of it had been written.
    """

    def __init__(self, database: Database, buffering: Buffering, remove: Callable[[str], None]) -> None:
        self._database = database
        self._patience = buffering.patience
        self._remove = remove
        self._batch: dict[str, tuple[int, DocumentRows]] = {}  # by uid, with the place among what is to be told
        self._size = 0
        self._last = time.monotonic()
        self._outcomes: list[IntakeBlueskyError | None] = []

    def insert(self, runs: Iterable[Iterable[tuple[str, Document]]]) -> Iterator[IntakeBlueskyError | None]:
        """Yield of each run, in their order, None once it is in the database, or why it is not."""
        for documents in runs:
            source = WholeRun(documents)
            self._outcomes.append(source.refusal(partial(self._take, source)))
            if self._is_due():
                yield from self._told()
        yield from self._told()

    def _take(self, source: WholeRun) -> None:
        rows = DocumentRows(next(source.documents)[1])
        if rows.uid in self._batch:  # whether this is one too many, the database says
            self._write()
        for name, doc in source.documents:
            rows.take(name, doc)
            if rows.held >= LARGE:
                self._write()
                parts = Buffering(SOON, LARGE, self._patience)
                finish_run(source, SQLInsert(self._database, rows, parts), partial(self._remove, rows.uid))
                return
        rows.finish()
        self._batch[rows.uid] = len(self._outcomes), rows
        self._size += rows.held

    def _is_due(self) -> bool:
        many = len(self._outcomes) >= MANY or self._size >= LARGE
        return many or time.monotonic() - self._last >= SOON

    def _told(self) -> Iterator[IntakeBlueskyError | None]:
        """Write what waits and tell of it; nothing waits while a caller has the word."""
        self._write()
        outcomes, self._outcomes = self._outcomes, []
        yield from outcomes
        self._last = time.monotonic()

    def _write(self) -> None:
        batch, self._batch, self._size = self._batch, {}, 0
        if batch:
            for uid, error in self._put([rows for _, rows in batch.values()]).items():
                self._outcomes[batch[uid][0]] = error

    def _put(self, runs: Sequence[DocumentRows]) -> Mapping[str, IntakeBlueskyError]:
        """Write runs in one transaction; of those that were not, why."""
        work = partial(self._database.write, RunBatch(self._database, runs).put)
        try:
            numbers = try_again(work, lambda _: True, self._patience)
        except (DataError, IntegrityError) as error:
            if len(runs) > 1:  # each on its own, so that it costs only itself
                return {uid: why for run in runs for uid, why in self._put([run]).items()}
            why = self._database.address.masked(" ".join(str(error.orig).split()))
            return {runs[0].uid: UnsupportedOperation(f"{self._database.address} refuses run {runs[0].uid}: {why}")}
        for number in numbers.values():
            analyze(self._database, number)
        return {run.uid: _duplicate(self._database, run.uid) for run in runs if run.uid not in numbers}


def _duplicate(database: Database, uid: str) -> DuplicateRun:
    return DuplicateRun(f"{database.address} has a run {uid} already: remove it, or write another")


def _put_documents(database: Database, connection: Connection, runs: Mapping[int, DocumentRows]) -> None:
    """Put in what waits of runs, by their numbers."""
    insert = partial(database.insert, connection)
    insert("documents", [row for run, held in runs.items() for row in held.documents(run)])
    # What is in a block by now need no longer be a document of its own.
    replaced = [row for run, held in runs.items() for row in held.replaced(run)]
    if replaced:
        database.execute(connection, DELETE_DOCUMENT, replaced)
    insert("blocks", [row for run, held in runs.items() for row in held.block_rows(run)])
    columns = [row for run, held in runs.items() for row in held.column_rows(run)]
    for first in range(0, len(columns), TOGETHER):
        insert("block_columns", columns[first : first + TOGETHER])
