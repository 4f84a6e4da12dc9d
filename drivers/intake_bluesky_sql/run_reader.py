"""One run as a database has it: described by one statement, its events read by columns."""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from operator import itemgetter
from typing import Any, Final

from intake_bluesky.documents import exact_json
from intake_bluesky.documents.columns import observe
from intake_bluesky.documents.header import HeaderBuilder
from intake_bluesky.documents.model import ALL_KEYS, ODD_DOCUMENT, DatumPage, Document, EventPage, Keys, RunHeader
from intake_bluesky.documents.pages import datum_pages, event_page, gather, normalise
from intake_bluesky.errors import DamagedRun, RunNotFound
from intake_bluesky.index.search_form import code_text
from intake_bluesky_sql import document_blocks
from intake_bluesky_sql.column_packing import Packed
from intake_bluesky_sql.database import Database
from intake_bluesky_sql.document_blocks import BlockLayout, DocumentBlock, Place

EVENTS: Final = frozenset({"event", "event_page", "bulk_events"})
DATUMS: Final = frozenset({"datum", "datum_page", "bulk_datum"})
NEAR: Final = 1 << 21  # bytes of columns that one statement fetches, about: they stay in the processor's cache
FAR: Final = 1 << 23  # and of a server, to which each statement is a way there and back
UNIT: Final = 1 << 20  # bytes of single events that are one unit
OF_RUN: Final = "(SELECT id FROM runs WHERE uid = ?)"
DESCRIBE: Final = (
    "SELECT 0, id, uid, NULL, 0, 0, 0, 0, NULL FROM runs WHERE uid = ? "
    "UNION ALL SELECT 1, place, name, owner, place, 1, 1, length(body), {body} FROM documents WHERE run = {run} "
    "UNION ALL SELECT 2, place, name, owner, last, documents, events, bytes, layout FROM blocks WHERE run = {run} "
    "ORDER BY 1, 2"
)
# Datums may be many, and a header needs none of them.
WITHOUT_DATUMS: Final = "CASE WHEN name IN ('datum', 'datum_page', 'bulk_datum') THEN NULL ELSE body END"
VERSION: Final = (
    "SELECT id, coalesce((SELECT max(place) FROM documents WHERE run = runs.id), -1), "
    "coalesce((SELECT max(last) FROM blocks WHERE run = runs.id), -1) FROM runs WHERE uid = ?"
)


@dataclass(slots=True)
class BlockUnit:
    """Events that are read at once: those of a block, or documents that stand alone."""

    descriptor: str
    first: int  # which of the stored events of the stream
    events: int
    size: int  # in bytes
    block: DocumentBlock | None = None
    name: str = ""  # of documents that stand alone: ``event``, or ``event_page`` for a single one
    docs: list[Document] = field(default_factory=list)

    def takes(self, descriptor: str) -> bool:
        """Whether another event may be read together with these."""
        return self.descriptor == descriptor and self.size < UNIT

    def alone(self, data: Keys, timestamps: Keys) -> tuple[EventPage, set[str]]:
        """The page of documents that stand alone."""
        if self.name == "event_page":
            return event_page(self.docs[0], data=data, timestamps=timestamps)
        return gather(self.docs, data=data, timestamps=timestamps)


def version_of(run: int, last: int) -> str:
    """The version of a run: no two runs of a database have one number, and documents are only added."""
    return f"{run}.{last + 1}"


def decoded(where: str, body: Any) -> Document:
    """Decode one document.

    Raises
    ------
    DamagedRun
    """
    try:
        doc = exact_json.loads(bytes(body))
    except exact_json.REFUSALS as error:
        raise DamagedRun(f"{where} is not JSON ({error}): {bytes(body)[:60]!r}") from error
    if type(doc) is not dict:
        raise DamagedRun(f"{where} is JSON, but no document: {bytes(body)[:60]!r}")
    return doc


class SQLRun:
    """A run as one statement found it; it does not change, nor do the blocks that it names.

    It is described, by a header, unless only its documents are read: that is done whatever they say of each other.
    """

    def __init__(self, database: Database, rows: Sequence[Any], *, described: bool = True) -> None:
        self._database = database
        self.number = int(rows[0][1])
        self.uid = str(rows[0][2])
        self._alone = [row for row in rows if row[0] == 1]
        self._blocks = [
            DocumentBlock(row[1], row[2], row[3], row[4], row[5], row[6], row[7], BlockLayout.load(row[8]))
            for row in rows
            if row[0] == 2
        ]
        last = max([row[4] for row in self._alone] + [block.last for block in self._blocks], default=-1)
        self.version = version_of(self.number, last)
        self.units: dict[str, list[BlockUnit]] = {}
        self.problems: list[str] = []  # what is passed over
        if described:
            self.header = self._header()

    @classmethod
    def find(cls, database: Database, uid: str, *, whole: bool = False, described: bool = True) -> SQLRun | None:
        """Look a run up, by one statement, with its datums if it is read whole; None where there is none."""
        statement = DESCRIBE.format(run=OF_RUN, body="body" if whole else WITHOUT_DATUMS)
        rows = database.ask(statement, uid, uid, uid)
        try:
            return cls(database, rows, described=described) if rows else None
        except DamagedRun:
            raise
        except (AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
            raise DamagedRun(f"run {uid} cannot be read: {type(error).__name__}: {error}") from error

    @staticmethod
    def current_version(database: Database, uid: str) -> str | None:
        """The version of a run now; None where there is none."""
        rows = database.ask(VERSION, uid)
        return version_of(rows[0][0], max(rows[0][1:])) if rows else None

    def _doc(self, row: Any) -> Document:
        return decoded(f"run {self.uid}: document {row[1]}, a {row[2]},", row[8])

    def _header(self) -> RunHeader:
        builder = HeaderBuilder()
        alone = [(row[1], row) for row in self._alone if row[2] not in EVENTS and row[2] not in DATUMS]
        packed = [(block.place, block) for block in self._blocks if block.name == "stream_datum"]
        for _, found in heapq.merge(alone, packed, key=itemgetter(0)):
            if not isinstance(found, DocumentBlock):
                self._add_head(builder, found)
                continue
            # A block keeps the spans of each descriptor, and not where between others of the run they are.
            straight = found.layout.places is None and len({descriptor for descriptor, _ in found.layout.spans}) == 1
            for descriptor, span in found.layout.spans:
                builder.add_span(found.owner, descriptor, span, in_order=straight)
        if builder.start is None:
            raise DamagedRun(f"run {self.uid} has no start document")
        for unit in self._units_in_order(builder):
            self._add(builder, unit)
        header = builder.header(self.version)
        # Streams without events, too, in the order of the header.
        self.units = {name: self.units.get(name, []) for name in header.streams}
        return header

    def _add_head(self, builder: HeaderBuilder, row: Any) -> None:
        try:
            builder.add(row[2], self._doc(row))
        except DamagedRun as error:
            if row[2] == "start":
                raise
            self.problems.append(str(error))

    def _units_in_order(self, builder: HeaderBuilder) -> Iterator[BlockUnit]:
        """The units of all streams, in stored order; of documents that stand alone several a unit."""
        alone = [(row[1], row) for row in self._alone if row[2] in EVENTS]
        packed = [(block.place, block) for block in self._blocks if block.name in EVENTS]
        waiting: dict[str, BlockUnit] = {}  # by stream
        for _, found in heapq.merge(alone, packed, key=itemgetter(0)):
            if isinstance(found, DocumentBlock):
                yield from _taken(waiting, builder.stream_of(found.owner))
                yield BlockUnit(found.owner, 0, found.events, found.nbytes, found)
                continue
            for name, doc in self._normalised(found):
                descriptor = str(doc.get("descriptor"))
                stream = str(builder.stream_of(descriptor))
                last = waiting.get(stream)
                if name == "event" and last is not None and last.takes(descriptor):
                    last.docs.append(doc)
                    last.size += found[7]
                    continue
                yield from _taken(waiting, stream)
                unit = BlockUnit(descriptor, 0, 0, found[7], None, name, [doc])
                if name == "event":
                    waiting[stream] = unit
                else:
                    yield unit
        yield from waiting.values()

    def _normalised(self, row: Any) -> list[tuple[str, Document]]:
        try:
            return list(normalise(row[2], self._doc(row)))
        except ODD_DOCUMENT as error:
            self.problems.append(f"run {self.uid}: document {row[1]}, a {row[2]}, cannot be read: {error}")
            return []

    def _add(self, builder: HeaderBuilder, unit: BlockUnit) -> None:
        """Add a unit, without those of its documents that cannot be read: they cost themselves."""
        stream = builder.stream_of(unit.descriptor)
        if stream is None:
            count = len(unit.docs) or unit.events
            self.problems.append(
                f"{count} events belong to descriptor {unit.descriptor!r}, which the run does not have"
            )
            return
        if unit.block is not None:
            observed = dict(unit.block.layout.observed)
        else:
            page, nulls = self._sound(unit)
            if page is None:
                return
            unit.events = len(page)
            observed = {key: observe(col, nulls=key in nulls) for key, col in page.data.items()}
        units = self.units.setdefault(stream, [])
        unit.first = units[-1].first + units[-1].events if units else 0
        units.append(unit)
        builder.add_page(unit.descriptor, unit.events, observed)

    def _sound(self, unit: BlockUnit) -> tuple[EventPage | None, set[str]]:
        """The page of documents that stand alone; those that cannot be read leave the unit."""
        try:
            return unit.alone(ALL_KEYS, ())
        except ODD_DOCUMENT:
            pass
        sound = []
        for doc in unit.docs:
            try:
                event_page(doc, timestamps=ALL_KEYS)
            except ODD_DOCUMENT as error:
                self.problems.append(str(error))
            else:
                sound.append(doc)
        unit.docs = sound
        return unit.alone(ALL_KEYS, ()) if sound else (None, set())

    def event_pages(self, stream: str, data: Keys, timestamps: Keys, events: slice) -> Iterator[EventPage]:
        """Yield the stored events of a stream, cut to `events`."""
        units = self.units[stream]
        start, stop, _ = events.indices(self.header.streams[stream].events)
        inside = [unit for unit in units if unit.first < stop and unit.first + unit.events > start]
        for unit, page in self._pages(inside, data, timestamps):
            low, high = max(start - unit.first, 0), min(stop - unit.first, unit.events)
            yield page if high - low == len(page) else page.select(slice(low, high))

    def _pages(self, units: Iterable[BlockUnit], data: Keys, timestamps: Keys) -> Iterator[tuple[BlockUnit, EventPage]]:
        for alone, group in groupby(units, key=lambda unit: unit.block is None):
            if alone:
                yield from ((unit, unit.alone(data, timestamps)[0]) for unit in group)
                continue
            for some in _batches(group, data, timestamps, NEAR if self._database.is_sqlite else FAR):
                found = self._columns([unit.block for unit in some if unit.block is not None], data, timestamps)
                for unit in some:
                    assert unit.block is not None
                    yield unit, _page(self.uid, unit.block, found.get(unit.block.place, {}))

    def _columns(self, rows: Sequence[DocumentBlock], data: Keys, timestamps: Keys) -> dict[int, dict[Place, Packed]]:
        """Some columns of some blocks, by one statement."""
        wanted = set[Place]().union(*(row.layout.wanted(data, timestamps) for row in rows))
        names = {"seq_num", "time"} | {key for _, key in wanted}
        parts = {""} | {part for part, _ in wanted}
        found: dict[int, dict[Place, Packed]] = {}
        for place, part, key, form, body in self._fetch([row.place for row in rows], parts, names):
            if not part or (part, key) in wanted:
                found.setdefault(place, {})[part, key] = Packed(form, body)
        if len(found) < len(rows):
            self._check_that_it_is_there()
        return found

    def _check_that_it_is_there(self) -> None:
        """Tell a run that was removed since it was found from one that is damaged."""
        if not self._database.ask("SELECT 1 FROM runs WHERE id = ?", self.number):
            raise RunNotFound(f"run {self.uid} was removed from {self._database.address} while it was read")

    def _fetch(self, places: Sequence[int], parts: Iterable[str], keys: Iterable[str]) -> Sequence[Any]:
        coded = {code_text(key): key for key in keys}
        if self._database.is_sqlite:
            listed, several = "(SELECT value FROM json_each(?))", json.dumps
        else:
            listed, several = "ANY(?)", list  # type: ignore[assignment]  # PostgreSQL takes a list
        sign = "IN" if self._database.is_sqlite else "="
        statement = (
            f"SELECT place, part, key, form, body FROM block_columns WHERE run = ? AND place {sign} {listed} "
            f"AND part {sign} {listed} AND key {sign} {listed} ORDER BY place"
        )
        rows = self._database.ask(statement, self.number, *map(several, (list(places), list(parts), list(coded))))
        return [(place, part, coded[key], form, body) for place, part, key, form, body in rows]

    def datum_pages(self, resource: str) -> Iterator[DatumPage]:
        """Yield the datums of one resource, in stored order; of a run that was found `whole`."""
        alone = [(row[1], row) for row in self._alone if row[2] in DATUMS]
        packed = [(block.place, block) for block in self._blocks if block.name in DATUMS and block.owner == resource]
        for _, found in heapq.merge(alone, packed, key=itemgetter(0)):
            if isinstance(found, DocumentBlock):
                yield document_blocks.datum_page(resource, found.events, self._whole(found).columns)
                continue
            yield from datum_pages([(found[2], self._doc(found))], resource)

    @property
    def has_datums_alone(self) -> bool:
        """Whether there are datums in no block."""
        return any(row[2] in DATUMS for row in self._alone)

    def _whole(self, row: DocumentBlock) -> DocumentBlock:
        rows = self._database.ask(
            "SELECT part, key, form, body FROM block_columns WHERE run = ? AND place = ?", self.number, row.place
        )
        if not rows:
            self._check_that_it_is_there()
        names = {code_text(name): name for field, inner in row.layout.fields for name in (field, *(inner or ()))}
        columns = {(part, names[key]): Packed(form, body) for part, key, form, body in rows}
        return replace(row, columns=columns)

    def documents(self) -> Iterator[tuple[str, Document]]:
        """Yield all documents as they were inserted; of a run that was found `whole`."""
        alone = ((row[1], row) for row in self._alone)
        open_blocks: list[tuple[int, str, Document, Iterator[tuple[int, str, Document]]]] = []
        for place, found in heapq.merge(alone, ((b.place, b) for b in self._blocks), key=itemgetter(0)):
            yield from _before(place, open_blocks)
            if isinstance(found, DocumentBlock):
                _advance(open_blocks, document_blocks.restore(self._whole(found)))
            else:
                yield found[2], self._doc(found)
        yield from _before(None, open_blocks)


def _taken(waiting: dict[str, BlockUnit], stream: str | None) -> Iterator[BlockUnit]:
    unit = waiting.pop(str(stream), None)
    if unit is not None:
        yield unit


Open = list[tuple[int, str, Document, Iterator[tuple[int, str, Document]]]]


def _before(place: int | None, open_blocks: Open) -> Iterator[tuple[str, Document]]:
    """Yield the documents of open blocks that come before a place; None is the end."""
    while open_blocks and (place is None or open_blocks[0][0] < place):
        _, name, doc, rest = heapq.heappop(open_blocks)
        yield name, doc
        _advance(open_blocks, rest)


def _advance(open_blocks: Open, rest: Iterator[tuple[int, str, Document]]) -> None:
    following = next(rest, None)
    if following is not None:
        heapq.heappush(open_blocks, (*following, rest))


def _batches(units: Iterable[BlockUnit], data: Keys, timestamps: Keys, most: int) -> Iterator[list[BlockUnit]]:
    """Cut units with blocks into lists of about `most` bytes each of what is asked of them."""
    some: list[BlockUnit] = []
    size = 0
    for unit in units:
        assert unit.block is not None
        every = sum(len(keys) if keys is not None else 1 for _, keys in unit.block.layout.fields)
        # seq_num and time are read with any columns.
        size += unit.size * (len(unit.block.layout.wanted(data, timestamps)) + 2) // max(every, 1)
        some.append(unit)
        if size >= most:
            yield some
            some, size = [], 0
    if some:
        yield some


def _page(uid: str, row: DocumentBlock, columns: dict[Place, Packed]) -> EventPage:
    try:
        # The keys as events have them, not as the database gave the rows.
        in_order = [(part, key) for part, keys in row.layout.fields for key in keys or ()]
        own = {place: packed for place, packed in columns.items() if not place[0]}
        own |= {place: columns[place] for place in in_order if place in columns}
        return document_blocks.event_page(row.owner, row.events, own)
    except (*exact_json.REFUSALS, LookupError) as error:
        raise DamagedRun(
            f"run {uid}: the block of events at place {row.place} cannot be read: {type(error).__name__}: {error}"
        ) from error
