"""Writing one run: every document as it comes, events together in blocks once there are enough of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from typing import Any, Final, NamedTuple
from uuid import uuid4

import numpy as np
from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from intake_bluesky.documents import exact_json
from intake_bluesky.documents.model import Document, stream_name
from intake_bluesky.documents.refused import place_refused
from intake_bluesky.documents.running_statistics import Watching
from intake_bluesky.errors import DuplicateRun, RunNotFound, UnsupportedOperation
from intake_bluesky.index.search_form import SearchForm, code_text
from intake_bluesky.storage.buffered_insert import BufferedInsert, Buffering
from intake_bluesky_sql.database import Database
from intake_bluesky_sql.document_blocks import DocumentBlock, alike, build, owner_of
from intake_bluesky_sql.maintenance import analyze
from intake_bluesky_sql.search_columns import ordering, searched_columns, words_of
from intake_bluesky_sql.statistics import StatisticsTables, statistics_in

TAIL: Final = 1 << 21  # bytes of documents, as JSON, that become a block
SMALL: Final = 1 << 14  # what is left at the end becomes one only if it is more
LARGE: Final = 1 << 18  # bytes of arrays, or of numbers in a page, that are never JSON
LONGEST_UID: Final = 500  # characters
INSERT_DOCUMENT: Final = "INSERT INTO documents VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
INSERT_BLOCK: Final = "INSERT INTO blocks VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
INSERT_COLUMN: Final = "INSERT INTO block_columns VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
DELETE_DOCUMENT: Final = "DELETE FROM documents WHERE run = ? AND place = ?"
TOGETHER: Final = 32  # blocks' columns sent at once


class _Written(NamedTuple):
    """A document as its row has it."""

    place: int
    name: str
    owner: str | None
    body: bytes


@dataclass(slots=True)
class _Tail:
    """The last documents of one stream or resource, which are of no block yet."""

    documents: list[_Written] = field(default_factory=list)
    size: int = 0


class SQLInsert(BufferedInsert):
    """A run being written, by one process; see `SQLStore.insert`.

    Raises
    ------
    DuplicateRun
        When the database has a run of this uid.
    """

    def __init__(self, database: Database, start: Document, buffering: Buffering) -> None:
        super().__init__(_checked_uid(start), buffering)
        self._database = database
        self._writer = uuid4().hex
        self._watching = Watching()
        self._body = _json("start", start)
        # As it will be read, and not the caller's own, who may change it before the stop comes.
        self._start: Document = exact_json.loads(self._body)
        self._place = 1  # the start has 0
        self._streams: dict[str, str] = {}
        self._tails: dict[tuple[str, str], _Tail] = {}
        self._waiting: dict[int, _Written] = {}  # not in the database
        self._blocks: list[DocumentBlock] = []  # nor these; what they hold may be, as documents
        self._searched: dict[str, Any] = {}  # what the run's row has
        self._stop: tuple[int, Document] | None = None
        self._run = database.write(self._begin)
        self._file = database.file

    def _begin(self, connection: Connection) -> int:
        form = SearchForm.of(self._start, None)
        columns = {"uid": self.uid, "writer": self._writer, **ordering(self._database, self._start)}
        self._searched = searched_columns(self._database, form)
        columns |= self._searched
        names, signs = ", ".join(columns), ", ".join("?" * len(columns))
        statement = f"INSERT INTO runs ({names}) VALUES ({signs}) ON CONFLICT DO NOTHING"
        execute = self._database.execute
        execute(connection, statement, tuple(columns.values()))
        row: Any = execute(connection, "SELECT id, writer FROM runs WHERE uid = ?", (self.uid,)).one()
        number, writer = row
        if writer != self._writer:
            raise DuplicateRun(f"{self._database.address} has a run {self.uid} already: remove it, or write another")
        execute(connection, INSERT_DOCUMENT, (number, 0, "start", None, self._body))
        words_of(self._database, connection, number, form)
        return int(number)

    def _take(self, name: str, doc: Document) -> None:
        _check(name, doc)
        self._add(name, doc)
        self._watching.take(name, doc)  # after it: a document that was refused does not count

    def _add(self, name: str, doc: Document) -> None:
        place, owner = self._place, owner_of(name, doc)
        group = self._group(name, owner)
        if group is not None and _is_large(name, doc) and self._take_whole(place, group, name, doc):
            return
        written = _Written(place, name, owner, _json(name, doc))
        self._place += 1
        self._waiting[place] = written
        self._held += len(written.body)
        if name == "stop":
            self._stop = place, exact_json.loads(written.body)
        elif name == "descriptor":
            self._streams[str(doc.get("uid"))] = stream_name(doc)
        elif name == "bulk_events":  # no block may reach over it: its events are of any stream
            self._compact("event")
        elif group is not None:
            tail = self._tails.setdefault(group, _Tail())
            tail.documents.append(written)
            tail.size += len(written.body)
            if tail.size >= TAIL:
                self._compact(*group)

    def _group(self, name: str, owner: str | None) -> tuple[str, str] | None:
        """The documents that blocks are made of together with one: all events of a stream, in their order."""
        if owner is None:
            return None
        return ("event", self._streams.get(owner, owner)) if name in ("event", "event_page") else (name, owner)

    def _take_whole(self, place: int, group: tuple[str, str], name: str, doc: Document) -> bool:
        """Make a block of one document, without making JSON of it."""
        signature = alike(name, doc)
        block = None if signature is None else build([(place, doc)], signature)
        if block is None:
            return False
        self._compact(*group)  # so that no later block reaches over this one
        self._place += 1
        self._blocks.append(block)
        self._held += block.nbytes
        return True

    def _compact(self, name: str, which: str | None = None, *, at_least: int = 0) -> None:
        """Make blocks of what has come of one stream or resource, or of all of a name."""
        for group in [g for g in self._tails if g[0] == name and which in (None, g[1])]:
            tail = self._tails.pop(group)
            if tail.size >= at_least:
                self._blocks += _blocks_of(tail.documents)

    def _flush(self) -> None:
        """Write what is waiting, in one transaction."""
        if not self._waiting and not self._blocks:
            return
        if len(self._waiting) == 1 and not self._blocks and self._stop is None:
            [written] = self._waiting.values()
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
        self._waiting.clear()
        self._blocks.clear()
        self._held = 0

    def _put(self, connection: Connection) -> None:
        execute, run = self._database.execute, self._run
        packed = {place for block in self._blocks for place in _places(block)}
        rows = [(run, *found) for place, found in self._waiting.items() if place not in packed]
        if rows:
            execute(connection, INSERT_DOCUMENT, rows)
        # What is in a block by now need no longer be a document of its own.
        written = [(run, place) for place in sorted(packed - self._waiting.keys())]
        if written:
            execute(connection, DELETE_DOCUMENT, written)
        if self._blocks:
            execute(connection, INSERT_BLOCK, [_block_row(run, block) for block in self._blocks])
            columns = [row for block in self._blocks for row in _column_rows(run, block)]
            for first in range(0, len(columns), TOGETHER):
                execute(connection, INSERT_COLUMN, columns[first : first + TOGETHER])
        if self._stop is not None:
            self._put_stop(connection, *self._stop)

    def _put_stop(self, connection: Connection, place: int, stop: Document) -> None:
        form = searched_columns(self._database, SearchForm.of(self._start, stop))
        # Only what the stop changes: SQLite writes each index of a column that is named.
        columns = {"stop_place": place} | {name: new for name, new in form.items() if new != self._searched[name]}
        sets = ", ".join(f"{name} = ?" for name in columns)
        self._database.execute(connection, f"UPDATE runs SET {sets} WHERE id = ?", (*columns.values(), self._run))
        known = self._watching.found()
        if known is not None:
            StatisticsTables(self._database).put_all(connection, self._run, statistics_in(known))

    def _end(self) -> None:
        for name, which in list(self._tails):
            self._compact(name, which, at_least=SMALL)
        super()._end()
        if self._stop is not None:
            analyze(self._database, self._run)


def _checked_uid(start: Document) -> str:
    uid = start.get("uid")
    if not isinstance(uid, str) or not uid or len(uid) > LONGEST_UID or code_text(uid) != uid:
        raise UnsupportedOperation(f"a run's uid is a text of up to {LONGEST_UID} ordinary characters, not {uid!r:.80}")
    return uid


def _check(name: str, doc: Document) -> None:
    """Refuse what no database keeps before it is among what waits: it would keep the rest of the run waiting, too."""
    if code_text(name) != name:
        raise UnsupportedOperation(f"the name of a document is ordinary text, as 'event' is, not {name!r:.80}")
    if not isinstance(doc, Mapping):
        raise UnsupportedOperation(f"a document, as this {name}, is a dict, not a {type(doc).__name__}")


def _json(name: str, doc: Document) -> bytes:
    try:
        return exact_json.dumps(doc)
    except exact_json.REFUSALS as error:
        where = place_refused(name, doc, exact_json.dumps)
        raise UnsupportedOperation(
            f"a {name} document cannot be written as JSON: {where}: {error}. Write text or numbers instead, "
            "or into a MessagePack catalog if it is bytes or complex numbers"
        ) from error


def _is_large(name: str, doc: Document) -> bool:
    """Whether a document holds so much that JSON would be in the way."""
    data = doc.get("data")
    if not isinstance(data, dict):
        return False
    arrays = sum(value.nbytes for value in data.values() if isinstance(value, np.ndarray))
    rows = doc.get("seq_num")
    numbers = len(rows) * len(data) * 8 if name == "event_page" and isinstance(rows, list | tuple | np.ndarray) else 0
    return max(arrays, numbers) >= LARGE


def _blocks_of(documents: Sequence[_Written]) -> Iterator[DocumentBlock]:
    """Blocks of documents that follow each other; what can be of none stays where it is."""
    read = [(written.place, written.name, exact_json.loads(written.body)) for written in documents]
    for signature, group in groupby(read, key=lambda found: alike(found[1], found[2])):
        block = None if signature is None else build([(place, doc) for place, _, doc in group], signature)
        if block is not None:
            yield block


def _places(block: DocumentBlock) -> Iterable[int]:
    return block.layout.places or range(block.place, block.last + 1)


def _block_row(run: int, block: DocumentBlock) -> tuple[Any, ...]:
    return (
        run, block.place, block.last, block.name, block.owner, block.documents, block.events, block.nbytes,
        block.layout.dump(),
    )  # fmt: skip


def _column_rows(run: int, block: DocumentBlock) -> Iterator[tuple[Any, ...]]:
    for (part, key), packed in block.columns.items():
        yield run, block.place, part, code_text(key), packed.form, packed.body
