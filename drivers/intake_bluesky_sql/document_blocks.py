"""Blocks: documents that follow each other and look alike, kept field by field.

An event a row would make a million rows of a million events, and a JSON text each. Of events, event pages, datums and
stream datums of one descriptor or resource that have the same keys in the same order a block keeps each field in one
piece: the documents come back exactly, and a field is read without the others.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Final, TypeAlias

import numpy as np

from intake_bluesky.documents import exact_json
from intake_bluesky.documents.columns import Observed
from intake_bluesky.documents.header import add_span
from intake_bluesky.documents.model import ALL_KEYS, DatumPage, Document, EventPage, Keys, Span
from intake_bluesky.documents.untyped import span_of
from intake_bluesky.errors import DamagedRun
from intake_bluesky.index.search_form import code_text
from intake_bluesky_sql.column_packing import Packed, observe_packed, pack, unpack, unpack_column

OWNERS: Final = {
    "event": "descriptor",
    "event_page": "descriptor",
    "stream_datum": "stream_resource",
    "datum": "resource",
    "datum_page": "resource",
}
"""The documents that blocks are made of, and the field that names what one belongs to."""

PAGES: Final = frozenset({"event_page", "datum_page"})
EVENTS: Final = frozenset({"event", "event_page"})
NESTED: Final = frozenset({"data", "timestamps", "filled", "indices", "seq_nums", "datum_kwargs"})
LONGEST_KEY: Final = 200  # characters; databases limit what an index holds

Place: TypeAlias = tuple[str, str]
"""The dict in a document that a field is in ("" for its own fields), and the field's name."""
Columns: TypeAlias = Mapping[Place, Packed]
Signature: TypeAlias = tuple[str, str, tuple[tuple[str, tuple[str, ...] | None], ...]]


@dataclass(frozen=True, slots=True)
class BlockLayout:
    """How the documents of a block are put together again."""

    # The fields of each document in order, and the keys of those that are dicts.
    fields: Sequence[tuple[str, Sequence[str] | None]]
    lengths: Sequence[int] | None = None  # the events of each page; None where documents are no pages
    places: Sequence[int] | None = None  # where in the run each document is; None where they follow each other
    observed: Mapping[str, Observed] = field(default_factory=dict)
    spans: Sequence[tuple[str, Span]] = ()  # of stream datums, each with its descriptor

    def dump(self) -> bytes:
        """As bytes, for storage."""
        observed = {key: seen.to_list() for key, seen in self.observed.items()}
        fields = [[key, keys if keys is None else list(keys)] for key, keys in self.fields]
        spans = [[descriptor, list(span)] for descriptor, span in self.spans]
        # 1 is the version of this form.
        return exact_json.dumps([1, fields, self.lengths, self.places, observed, spans])

    @classmethod
    def load(cls, raw: bytes) -> BlockLayout:
        """Read what `dump` gave."""
        try:
            _, fields, lengths, places, observed, spans = exact_json.loads(bytes(raw))
            seen = {key: Observed.from_list(saved) for key, saved in observed.items()}
            return cls(fields, lengths, places, seen, [(descriptor, tuple(span)) for descriptor, span in spans])
        except (TypeError, ValueError, AttributeError, LookupError) as error:
            raise DamagedRun(f"the layout of a block cannot be read: {error}") from error

    def wanted(self, data: Keys, timestamps: Keys) -> set[Place]:
        """The columns that a page of events takes, but for those that every page takes."""
        asked = {"data": data, "timestamps": timestamps, "filled": ALL_KEYS}
        return {(part, key) for part, keys in self.fields if part in asked for key in keys or () if key in asked[part]}


@dataclass(frozen=True, slots=True)
class DocumentBlock:
    """Documents of one name and owner, field by field; before they are read, without the columns."""

    place: int  # where in the run the first document is, and the last
    name: str
    owner: str
    last: int
    documents: int
    events: int  # other documents than events count as one each, pages by their rows
    nbytes: int
    layout: BlockLayout
    columns: Columns = field(default_factory=dict)


def owner_of(name: str, doc: Mapping[str, Any]) -> str | None:
    """To what a document belongs that blocks can be made of; None for others."""
    owner = doc.get(OWNERS[name]) if name in OWNERS else None
    # Databases hold texts without NUL and surrogates only.
    return owner if isinstance(owner, str) and code_text(owner) == owner else None


def alike(name: str, doc: Document) -> Signature | None:
    """What documents of one block have in common; None for one that is of no block."""
    owner = owner_of(name, doc)
    if owner is None or type(doc) is not dict:
        return None
    fields = tuple((key, tuple(value) if key in NESTED and type(value) is dict else None) for key, value in doc.items())
    names = [*doc, *chain.from_iterable([keys for _, keys in fields if keys])]
    if set(map(type, names)) != {str} or max(map(len, names)) > LONGEST_KEY:
        return None
    return (name, owner, fields) if name not in PAGES or _length(name, doc) else None


def _length(name: str, doc: Document) -> int:
    """The rows of a page; 0 where its fields differ in length or are no lists."""
    lengths = set()
    for key, value in doc.items():
        if key != OWNERS[name]:
            leaves = value.values() if key in NESTED and type(value) is dict else (value,)
            lengths |= {len(leaf) if isinstance(leaf, list | tuple | np.ndarray) else 0 for leaf in leaves}
    return int(lengths.pop()) if len(lengths) == 1 else 0


def build(documents: Sequence[tuple[int, Document]], signature: Signature) -> DocumentBlock | None:
    """Make a block of (place, document) pairs that are `alike`; None where that would lose something."""
    name, owner, fields = signature
    docs = [doc for _, doc in documents]
    try:
        columns = {place: pack(_values(docs, place, paged=name in PAGES)) for place in _leaves(name, fields)}
        spans = _spans(docs) if name == "stream_datum" else ()
    except (*exact_json.REFUSALS, KeyError):
        return None
    if name in EVENTS and not _is_sound(columns):
        return None
    lengths = [_length(name, doc) for doc in docs] if name in PAGES else None
    events = len(docs) if lengths is None else sum(lengths)
    places = [place for place, _ in documents]
    straight = places == list(range(places[0], places[0] + len(places)))
    observed = {key: observe_packed(packed, events) for (part, key), packed in columns.items() if part == "data"}
    layout = BlockLayout(fields, lengths, None if straight else places, observed, spans)
    size = sum(len(packed.body) for packed in columns.values())
    return DocumentBlock(places[0], name, owner, places[-1], len(docs), events, size, layout, columns)


def _leaves(name: str, fields: Iterable[tuple[str, Sequence[str] | None]]) -> Iterator[Place]:
    for key, inner in fields:
        if inner is not None:
            yield from ((key, one) for one in inner)
        elif key != OWNERS[name]:
            yield "", key


def _values(docs: Sequence[Document], place: Place, *, paged: bool) -> Sequence[Any]:
    part, key = place
    found = [doc[part][key] if part else doc[key] for doc in docs]
    if not paged:
        return found
    return found[0] if len(found) == 1 else list(chain.from_iterable(found))


def _is_sound(columns: Columns) -> bool:
    """Whether events have what every event has: an integer to count them by, and a time."""
    seq_num, time = columns.get(("", "seq_num")), columns.get(("", "time"))
    return seq_num is not None and seq_num.form == "<i8" and time is not None and time.form in ("<f8", "<i8")


def _spans(docs: Sequence[Document]) -> list[tuple[str, Span]]:
    spans: dict[str, list[Span]] = {}
    for doc in docs:
        add_span(spans.setdefault(str(doc["descriptor"]), []), span_of(doc))
    return [(descriptor, span) for descriptor, own in spans.items() for span in own]


def restore(block: DocumentBlock) -> Iterator[tuple[int, str, Document]]:
    """Yield (place, name, document) of a block with all its columns."""
    layout = block.layout
    values = {place: unpack(packed, block.events) for place, packed in block.columns.items()}
    places = layout.places or range(block.place, block.place + block.documents)
    start = 0
    for number, place in enumerate(places):
        rows: int | slice = number
        if layout.lengths is not None:
            rows = slice(start, start + layout.lengths[number])
            start += layout.lengths[number]
        yield place, block.name, _document(block, values, rows)


def _document(block: DocumentBlock, values: Mapping[Place, list[Any]], rows: int | slice) -> Document:
    doc: Document = {}
    for key, inner in block.layout.fields:
        if inner is not None:
            doc[key] = {one: values[key, one][rows] for one in inner}
        else:
            doc[key] = block.owner if key == OWNERS[block.name] else values["", key][rows]
    return doc


def event_page(owner: str, events: int, columns: Columns) -> EventPage:
    """Make a page of the columns read of a block of events; its arrays are read-only."""
    parts: dict[str, dict[str, Any]] = {"data": {}, "timestamps": {}, "filled": {}}
    for (part, key), packed in columns.items():
        if part == "filled":
            parts[part][key] = unpack(packed, events)
        elif part in parts:
            parts[part][key], _ = unpack_column(packed, events)
    seq_num, _ = unpack_column(columns["", "seq_num"], events)
    time, _ = unpack_column(columns["", "time"], events)
    assert isinstance(seq_num, np.ndarray)  # as build() has made sure
    assert isinstance(time, np.ndarray)
    return EventPage(owner, seq_num, time.astype(np.float64, copy=False), **parts)


def datum_page(owner: str, events: int, columns: Columns) -> DatumPage:
    """Make a page of all columns of a block of datums."""
    kwargs = {key: unpack(packed, events) for (part, key), packed in columns.items() if part == "datum_kwargs"}
    return DatumPage(owner, unpack(columns["", "datum_id"], events), kwargs)
