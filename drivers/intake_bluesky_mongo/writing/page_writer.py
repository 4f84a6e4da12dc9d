"""Events, and datums, written in pages that grow: each is written again, larger, until it is full."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from pymongo import ReplaceOne

from intake_bluesky.documents.model import Document, stream_name, to_plain
from intake_bluesky_mongo.bson_documents import LARGEST
from intake_bluesky_mongo.connections import Stored
from intake_bluesky_mongo.run_layout import PAGE_BYTES, StoredPage
from intake_bluesky_mongo.union_query import Section, wrapped
from intake_bluesky_mongo.writing.storable_documents import ordered
from intake_bluesky_mongo.writing.writer import Writes, sized

PARTS: Final = ("data", "timestamps", "filled")
MARGIN: Final = 2**18  # what a page adds to an event
FIELDS: Final = ("uid", "time", "seq_num")


def page_size_of() -> dict[str, Any]:
    """What the server is to give of an event page, without its events."""
    return {"events": {"$size": "$seq_num"}, "time": {"$arrayElemAt": ["$time", 0]}, "first": "$first_index"}


def listed_page(descriptor: str, prefix: str) -> dict[str, Any]:
    """The stage that marks what `page_size_of` gives, at some prefix, as a page of a descriptor."""
    told = {"id": f"{prefix}_id", **{name: f"{prefix}{name}" for name in page_size_of()}}
    return wrapped("page", {"descriptor": descriptor, **told})


def pages_of(collection: str, descriptors: Sequence[str]) -> Section:
    """The event pages of some descriptors, listed: by a condition, for a look-up is a search for each of these."""
    these = {"$match": {"descriptor": {"$in": list(descriptors)}}}
    told = {"$project": {"descriptor": 1, **page_size_of()}}
    return Section(collection, [these, told, listed_page("$descriptor", "$")])


def stored_page(told: Mapping[str, Any]) -> StoredPage:
    """Make a `StoredPage` of what the server gave of a page of a descriptor."""
    return StoredPage(told["id"], told["descriptor"], told["events"], told.get("time"), told.get("first") or 0)


@dataclass
class _Page:
    """Rows of one descriptor or resource that have the same keys."""

    owner: str
    keys: tuple[Any, ...]
    first: int
    size: int = 0
    rows: list[Mapping[str, Any]] = field(default_factory=list)
    written: int = 0


class _Pages:
    """Pages being filled, by stream of rows; those that are full and not written yet, in order."""

    collection: str
    owner: str
    kind: str
    name: str  # the key that tells a row from others

    def __init__(self, writes: Writes, run: str) -> None:
        self._writes = writes
        self._run = run
        self._filling: dict[str, _Page] = {}
        self._full: list[_Page] = []
        self.counts: dict[str, int] = {}
        # Of each row, by that of its name, a hash of what it is: little memory, for a run may have millions.
        self._known: dict[int, int] = {}

    def hold(self, doc: Mapping[str, Any]) -> int:
        """Add a row, unless it came before; gives its bytes.

        Raises
        ------
        DuplicateRun
            When another came by that name.
        """
        raw = sized(self.kind, ordered(doc), limit=LARGEST - MARGIN).raw
        name, content, size = hash(doc[self.name]), hash(raw), len(raw)
        if self._known.get(name) == content:
            return 0
        if name in self._known:
            raise self._writes.other_there(f"the {self.kind} {doc[self.name]} of run {self._run}")
        owner, keys = str(doc[self.owner]), self._keys(doc)
        page = self._filling.get(owner)
        if page is None or page.keys != keys or page.size + size > PAGE_BYTES:
            self._end(page)
            page = self._filling[owner] = _Page(owner, keys, self.counts.get(owner, 0))
        page.rows.append(to_plain(doc))  # whose owner may change it before it is written
        self._known[name] = content
        page.size += size
        self.counts[owner] = self.counts.get(owner, 0) + 1
        return size

    def _end(self, page: _Page | None) -> None:
        if page is not None and page.written < len(page.rows):
            self._full.append(page)

    def _keys(self, doc: Mapping[str, Any]) -> tuple[Any, ...]:
        raise NotImplementedError

    def _document(self, page: _Page) -> Document:
        raise NotImplementedError

    def send(self) -> None:
        """Write what was not written; pages that are not full will be written again."""
        waiting = [*self._full, *(page for page in self._filling.values() if page.written < len(page.rows))]
        for page in waiting:
            self._replace(page)
            page.written = len(page.rows)
        self._full = []

    def _replace(self, page: _Page) -> None:
        # So that a page written twice is one. Of the run, too: another may have further datums of the same resource.
        known = f"{self._run}/{page.owner}/{page.first}"
        last = {"size": page.size, "first_index": page.first, "last_index": page.first + len(page.rows) - 1}
        raw = sized(f"{self.kind}_page", {**self._document(page), **last}, _id=known)
        replacing: list[ReplaceOne[Stored]] = [ReplaceOne({"_id": known}, raw, upsert=True)]
        self._writes.again(
            f"to write {self.kind}s of run {self._run}",
            lambda: self._writes.collection(self.collection).bulk_write(replacing),
        )


class PagedEvents(_Pages):
    """Events of a run; those of one stream by several descriptors stay in order, by their times."""

    owner, kind, name = "descriptor", "event", "uid"

    def __init__(self, writes: Writes, collection: str, run: str) -> None:
        super().__init__(writes, run)
        self.collection = collection
        self._streams: dict[str, str] = {}

    def introduce(self, descriptor: Mapping[str, Any]) -> None:
        """Note the stream of a descriptor."""
        self._streams[str(descriptor["uid"])] = stream_name(descriptor)

    def hold(self, doc: Mapping[str, Any]) -> int:
        own = str(doc["descriptor"])
        for other in [one for one in self._filling if one != own and self._streams.get(one) == self._streams.get(own)]:
            self._end(self._filling.pop(other))  # events of a stream stay in order
        return super().hold(doc)

    def _keys(self, doc: Mapping[str, Any]) -> tuple[Any, ...]:
        return tuple(tuple(doc.get(part) or ()) for part in PARTS)

    def _document(self, page: _Page) -> Document:
        rows = page.rows
        columns = {
            part: {key: [row[part][key] for row in rows] for key in keys}
            for part, keys in zip(PARTS, page.keys, strict=True)
        }
        return {"descriptor": page.owner, **{name: [row.get(name) for row in rows] for name in FIELDS}, **columns}


class PagedDatums(_Pages):
    """Datums of a run."""

    owner, kind, name, collection = "resource", "datum", "datum_id", "datum"

    def _keys(self, doc: Mapping[str, Any]) -> tuple[Any, ...]:
        return tuple(doc["datum_kwargs"])

    def _document(self, page: _Page) -> Document:
        columns = {key: [row["datum_kwargs"][key] for row in page.rows] for key in page.keys}
        return {"resource": page.owner, "datum_id": [row["datum_id"] for row in page.rows], "datum_kwargs": columns}
