"""The documents of a run on their way into a database: each a row, events in blocks once there are enough."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Final, NamedTuple

import numpy as np

from intake_bluesky.documents import exact_json
from intake_bluesky.documents.model import Document, stream_name
from intake_bluesky.documents.refused import place_refused
from intake_bluesky.documents.running_statistics import SCALARS, Watching
from intake_bluesky.errors import UnsupportedOperation
from intake_bluesky.index.search_form import SearchForm, code_text
from intake_bluesky_sql.document_blocks import DocumentBlock, alike, build, owner_of
from intake_bluesky_sql.statistics import Found, statistics_in

TAIL: Final = 1 << 21  # bytes of documents, as JSON, that become a block
SMALL: Final = 1 << 14  # what is left at the end becomes one only if it is more
LARGE: Final = 1 << 18  # bytes of arrays, or of numbers in a page, that are never JSON
LONGEST_UID: Final = 500  # characters
Row = tuple[Any, ...]


class WrittenDocument(NamedTuple):
    """A document as its row has it."""

    place: int
    name: str
    owner: str | None
    body: bytes


@dataclass(slots=True)
class _Tail:
    """The last documents of one stream or resource, which are of no block yet."""

    documents: list[WrittenDocument] = field(default_factory=list)
    size: int = 0


class DocumentRows:
    """What is to be written of one run: takes its documents, and holds them until `forget`.

    Attributes
    ----------
    uid : str
    start, stop : Document
        As they will be read, and not the caller's own, who may change them; `stop` is None before it comes.
    stop_place : int
        Where in the run the stop is.
    waiting : dict of int to WrittenDocument
        What is not in the database, by place.
    blocks : list of DocumentBlock
        Nor are these; what they hold may be, as documents.
    held : int
        Bytes of both.
    searched : dict
        What the run's row has of it, once there is one.
    """

    def __init__(self, start: Document) -> None:
        self.uid = _checked_uid(start)
        body = _json("start", start)
        self.start: Document = exact_json.loads(body)
        self.stop: Document | None = None
        self.stop_place: int | None = None
        self.waiting: dict[int, WrittenDocument] = {0: WrittenDocument(0, "start", None, body)}
        self.blocks: list[DocumentBlock] = []
        self.held = len(body)
        self._place = 1
        self._streams: dict[str, str] = {}
        self._tails: dict[tuple[str, str], _Tail] = {}
        self._watching = Watching()
        self.searched: dict[str, Any] = {}

    def take(self, name: str, doc: Document) -> None:
        """Take the next document.

        Raises
        ------
        UnsupportedOperation
            For what no database keeps; the run may go on without it.
        """
        _check(name, doc)
        self._add(name, doc)
        self._watching.take(name, doc)  # after it: a document that was refused does not count

    def _add(self, name: str, doc: Document) -> None:
        place, owner = self._place, owner_of(name, doc)
        group = self._group(name, owner)
        if group is not None and _is_large(name, doc) and self._take_whole(place, group, name, doc):
            return
        written = WrittenDocument(place, name, owner, _json(name, doc))
        self._place += 1
        self.waiting[place] = written
        self.held += len(written.body)
        if name == "stop":
            self.stop_place, self.stop = place, exact_json.loads(written.body)
        elif name == "descriptor":
            self._streams[str(doc.get("uid"))] = stream_name(doc)
        elif name == "bulk_events":  # no block may reach over it: its events are of any stream
            self.compact("event")
        elif group is not None:
            tail = self._tails.setdefault(group, _Tail())
            tail.documents.append(written)
            tail.size += len(written.body)
            if tail.size >= TAIL:
                self.compact(*group)

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
        self.compact(*group)  # so that no later block reaches over this one
        self._place += 1
        self.blocks.append(block)
        self.held += block.nbytes
        return True

    def compact(self, name: str | None = None, which: str | None = None, *, at_least: int = 0) -> None:
        """Make blocks of what has come of one stream or resource, of all of a name, or of everything."""
        for group in [g for g in self._tails if name in (None, g[0]) and which in (None, g[1])]:
            tail = self._tails.pop(group)
            if tail.size >= at_least:
                self.blocks += _blocks_of(tail.documents)

    def finish(self) -> None:
        """Make blocks of what is left, where that is much: no document follows."""
        self.compact(at_least=SMALL)

    def forget(self) -> None:
        """Hold no longer what is in the database now."""
        self.waiting.clear()
        self.blocks.clear()
        self.held = 0

    def form(self) -> SearchForm:
        """What is searched of the run, as far as it came."""
        return SearchForm.of(self.start, self.stop)

    def found(self) -> Found | None:
        """The statistics of its events; None where they have to be read for that."""
        known = self._watching.found()
        return None if known is None else statistics_in(known)

    def documents(self, run: int) -> list[Row]:
        """Rows of the documents that no block holds."""
        packed = self._packed()
        return [(run, *found) for place, found in self.waiting.items() if place not in packed]

    def replaced(self, run: int) -> list[Row]:
        """Run and place of each document in the database that a block holds by now."""
        return [(run, place) for place in sorted(self._packed() - self.waiting.keys())]

    def _packed(self) -> set[int]:
        return {place for block in self.blocks for place in _places(block)} if self.blocks else set()

    def block_rows(self, run: int) -> list[Row]:
        """Rows of the blocks."""
        return [_block_row(run, block) for block in self.blocks]

    def column_rows(self, run: int) -> list[Row]:
        """Rows of the blocks' columns."""
        return [row for block in self.blocks for row in _column_rows(run, block)]


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
    if not isinstance(data, dict) or (name == "event" and SCALARS.issuperset(map(type, data.values()))):
        return False
    arrays = sum(value.nbytes for value in data.values() if isinstance(value, np.ndarray))
    rows = doc.get("seq_num")
    numbers = len(rows) * len(data) * 8 if name == "event_page" and isinstance(rows, list | tuple | np.ndarray) else 0
    return max(arrays, numbers) >= LARGE


def _blocks_of(documents: Sequence[WrittenDocument]) -> Iterator[DocumentBlock]:
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
