"""Writing one run: events are held back for a moment and written together, all else at once.

Every write is acknowledged, and may be sent again: the ``_id`` of a document follows from what it is, so that one sent
or delivered twice is there once. Where one of that ``_id`` is there already, it is looked at: it is this one, or this
one is refused. What is refused costs itself; who writes or closes next is told.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, TypeAlias, TypeVar

from bson.raw_bson import RawBSONDocument
from pymongo import ReadPreference, WriteConcern
from pymongo.collection import Collection
from pymongo.errors import AutoReconnect, BulkWriteError, DuplicateKeyError

from intake_bluesky.documents.model import Document, identical, to_plain
from intake_bluesky.errors import DuplicateRun, IntakeBlueskyError, StoreUnavailable, UnsupportedOperation
from intake_bluesky.storage.buffered_insert import BufferedInsert, Buffering, try_again
from intake_bluesky_mongo.bson_documents import LARGEST, ready
from intake_bluesky_mongo.connections import Connection, Stored
from intake_bluesky_mongo.large_values import COLLECTION, divided
from intake_bluesky_mongo.legacy_resources import chunks
from intake_bluesky_mongo.writing.storable_documents import rows_of, same

T = TypeVar("T")
Row: TypeAlias = tuple[str, Mapping[str, Any]]

DUPLICATE: Final = 11000
INVALID: Final = frozenset({2, 52, 56, 57, 121, 10334, 17280})
"""Codes of a server that refuses a document: for its values, the names of its keys, by validation, for its size."""
ROWS: Final = frozenset({"event", "datum"})
SHOWN: Final = 5  # of several errors


class TooLarge(UnsupportedOperation):
    """A document that a server does not take."""


class Writes:
    """Acknowledged writes into a database, sent again when the server goes away meanwhile."""

    def __init__(self, connection: Connection, patience: float) -> None:
        self.connection = connection
        self.patience = patience

    def collection(self, name: str) -> Collection[Stored]:
        """A collection whose writes are acknowledged when they are in the server's journal, unless the URI says more.

        By the majority of a replica set where the server or the URI says so, which is MongoDB's default.
        """
        found = self.connection.database[name]
        said = {**found.write_concern.document}
        if said.get("w") == 0:  # without an answer, a document that was refused would be lost in silence
            del said["w"]
        if "j" not in said:
            said["j"] = True
        return found.with_options(write_concern=WriteConcern(**said))

    def stored(self, name: str) -> Collection[Stored]:
        """A collection as it is, and not as one of its copies was a moment ago; its documents as they are stored."""
        raw = self.connection.database.codec_options.with_options(document_class=RawBSONDocument)
        return self.connection.database[name].with_options(codec_options=raw, read_preference=ReadPreference.PRIMARY)

    def again(self, what: str, write: Callable[[], T]) -> T:
        """Do what is harmless twice until the server answers.

        Raises
        ------
        StoreUnavailable
        """

        def attempt() -> T:
            with self.connection.asking(what):
                return write()

        return try_again(attempt, went_away, self.patience)

    def insert(self, name: str, docs: Sequence[RawBSONDocument], what: str) -> None:
        """Insert documents that have their ``_id``; one that is there as it is was sent, or delivered, twice.

        Raises
        ------
        DuplicateRun
            When others are there by the uids of some; all the rest is written.
        UnsupportedOperation
            When the server refused some for what they are, as its validation may; all the rest is written.
        """

        def write() -> tuple[list[RawBSONDocument], list[Mapping[str, Any]]]:
            try:
                self.collection(name).insert_many(docs, ordered=False)
            except BulkWriteError as error:
                problems = error.details["writeErrors"]
                twice = [(docs[one["index"]], one.get("keyValue")) for one in problems if one["code"] == DUPLICATE]
                refused = [one for one in problems if one["code"] in INVALID]
                if error.details.get("writeConcernErrors") or len(twice) + len(refused) < len(problems):
                    raise
                return self._others(name, twice), refused
            return [], []

        others, refused = self.again(f"to write {what}", write)
        told = str(self.other_there(f"{_uids(others)} ({len(others)} of {what})")) if others else ""
        if refused:
            uids = _uids([docs[one["index"]] for one in refused])
            raise UnsupportedOperation(
                f"{self.connection.shown} refused {uids} ({len(refused)} of {what}): {refused[0]['errmsg'][:200]}. "
                f"These were not written, everything else was. {told}".rstrip()
            )
        if told:
            raise DuplicateRun(told)

    def _others(
        self, name: str, twice: Sequence[tuple[RawBSONDocument, Mapping[str, Any] | None]]
    ) -> list[RawBSONDocument]:
        """Those of some documents that an index took for ones that are there, and that are not these."""
        others: list[RawBSONDocument] = []
        for some in chunks(twice):
            ids = {"_id": {"$in": [doc["_id"] for doc, _ in some]}}
            there = {found["_id"]: found for found in self.stored(name).find(ids)}
            for doc, key in some:
                # By a unique index of another writer, whose ``_id`` is another.
                found = there.get(doc["_id"]) or (self.stored(name).find_one(key) if key else None)
                if found is None or not same(found, doc):
                    others.append(doc)
        return others

    def other_there(self, what: str) -> DuplicateRun:
        """The error of what came with the uid of another."""
        return DuplicateRun(
            f"{self.connection.shown} has another document by the uid of {what}: what came second was not written, "
            "everything else was. Two documents of one uid are the same one, or somebody numbers them wrongly"
        )


def _uids(docs: Sequence[RawBSONDocument]) -> str:
    uids = [str(doc.get("uid", doc.get("datum_id", doc["_id"]))) for doc in docs]
    return ", ".join([*uids[:SHOWN], *["..."] * (len(uids) > SHOWN)])


def went_away(error: StoreUnavailable) -> bool:
    """Whether the server did not answer, as against refusing something."""
    # `asking` raises from None where the cause holds a secret; it is the context then.
    cause = error.__cause__ or error.__context__
    return isinstance(cause, AutoReconnect)


class MongoInsert(BufferedInsert):
    """A run being written; `writes` go into the database of runs."""

    def __init__(self, uid: str, writes: Writes, buffering: Buffering) -> None:
        super().__init__(uid, buffering)
        self.writes = writes
        self._given: deque[Iterator[Row]] = deque()  # of documents that came, what is not taken yet
        self._row: Row | None = None  # the first of that
        self._descriptors: set[str] = set()
        self._stop: Document | None = None
        self._refused: list[IntakeBlueskyError] = []  # of documents that waited; for whoever writes or closes next

    def _went_away(self, error: StoreUnavailable) -> bool:
        return went_away(error)

    def write(self, name: str, doc: Document) -> None:
        with self._lock:
            if name == "stop" and self._state == "closed" and identical(doc, self._stop):
                return  # delivered twice
            super().write(name, doc)
            self._tell_refused()

    def close(self) -> None:
        with self._lock:
            super().close()
            self._tell_refused()

    @contextmanager
    def noting_refused(self) -> Iterator[None]:
        """Keep an error of some documents in mind, to go on with all others."""
        try:
            yield
        except StoreUnavailable:
            raise
        except IntakeBlueskyError as error:
            self._refused.append(error)

    def _tell_refused(self) -> None:
        refused, self._refused = self._refused, []
        if refused:
            more = [f"... and {len(refused) - SHOWN} more"] * (len(refused) > SHOWN)
            raise type(refused[0])("\n".join([*map(str, refused[:SHOWN]), *more])) from refused[0]

    def _take(self, name: str, doc: Document) -> None:
        self._given.append(rows_of(self.uid, name, doc))
        self._take_waiting(but=1)
        self._take_first()

    def _take_waiting(self, but: int = 0) -> None:
        """Take what came, in order; what cannot be for want of a server stays."""
        while len(self._given) > but:
            with self.noting_refused():
                self._take_first()

    def _take_first(self) -> None:
        try:
            self._take_rows(self._given[0])
        except StoreUnavailable:
            raise
        except BaseException:  # refused: the rest of this document is dropped, and the next one may be taken
            self._row = None
            self._given.popleft()
            raise
        self._given.popleft()

    def _take_rows(self, rows: Iterator[Row]) -> None:
        while True:
            self._row = self._row or next(rows, None)
            if self._row is None:
                return
            try:
                self._take_row(*self._row)
            except DuplicateRun as error:
                if self._row[0] not in ROWS:
                    raise
                self._refused.append(error)  # the other rows of a page are taken
            self._row = None
            if self._held >= self.buffering.flush_bytes:
                self._send_held()

    def _take_row(self, name: str, doc: Mapping[str, Any]) -> None:
        if name == "event":
            if doc["descriptor"] not in self._descriptors:
                raise UnsupportedOperation(
                    f"event {doc['uid']} is of descriptor {doc['descriptor']}, which was not written before it: it "
                    "would not be found again, and was not written"
                )
            self._held += self._event_in_pieces(doc)
        elif name == "datum":
            self._held += self._datum(doc)
        else:
            self._send_held()
            self._write(name, doc)
            if name == "descriptor":
                self._descriptors.add(doc["uid"])
            if name == "stop":
                self._stop = to_plain(doc)

    def _event_in_pieces(self, event: Mapping[str, Any]) -> int:
        """Hold an event; where it is too large, its largest values are written before it, in pieces."""
        try:
            return self._event(event)
        except TooLarge:
            rest, pieces = divided(event)
        for piece in pieces:
            self.writes.insert(COLLECTION, [piece], f"a large value of event {event['uid']} of run {self.uid}")
        return self._event(rest)

    @abstractmethod
    def _event(self, doc: Mapping[str, Any]) -> int:
        """Hold an event; gives its bytes."""

    @abstractmethod
    def _datum(self, doc: Mapping[str, Any]) -> int:
        """Hold a datum; gives its bytes."""

    @abstractmethod
    def _write(self, name: str, doc: Mapping[str, Any]) -> None:
        """Write any other document."""

    @abstractmethod
    def _send(self) -> None:
        """Write what is held; what is written, or refused, is held no more."""

    def _flush(self) -> None:
        self._take_waiting()
        self._send_held()

    def _send_held(self) -> None:
        if self._held:
            self._send()
            self._held = 0


def sized(name: str, doc: Mapping[str, Any], *, limit: int = LARGEST, **more: Any) -> RawBSONDocument:
    """Encode a document with its ``_id`` and the like; one that the server would not take is refused.

    Raises
    ------
    UnsupportedOperation
        Before anything is written.
    """
    raw = ready(name, {**more, **doc})
    if len(raw.raw) > limit:
        raise TooLarge(
            f"this {name} document ({doc.get('uid', doc.get('datum_id'))}) has {len(raw.raw):,} bytes and MongoDB "
            f"takes {limit:,}: keep arrays of that size in files, or in a store that has no such limit. Nothing of it "
            "was written; what was written before it is there"
        )
    return raw


def begin(writes: Writes, collection: str, start: RawBSONDocument, uid_path: str, uid: str) -> None:
    """Write what begins a run, if no run of this uid is there.

    Raises
    ------
    DuplicateRun
        Also when another process was first by a moment: the ``_id`` is the uid.
    """
    taken = DuplicateRun(f"{writes.connection.shown} has a run {uid} already: remove it first, or write another uid")
    with writes.connection.asking(f"whether there is a run {uid}"):
        if writes.collection(collection).find_one({uid_path: uid}, {"_id": 1}) is not None:
            raise taken

    tries = 0

    def write() -> None:
        nonlocal tries
        tries += 1
        try:
            writes.collection(collection).insert_one(start)
        except DuplicateKeyError as error:
            found = writes.stored(collection).find_one({"_id": start["_id"]}) if tries > 1 else None
            if found is None or not same(found, start):  # else the first try wrote it, whose answer was lost
                raise taken from error

    writes.again(f"to write the start of run {uid}", write)
