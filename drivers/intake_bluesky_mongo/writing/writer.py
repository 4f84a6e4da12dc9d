"""Writing one run: events are held back for a moment and written together, all else at once.

Every write is acknowledged, and may be sent again: the ``_id`` of a document follows from what it is, so that one sent
twice, because the server went away before it answered, is there once.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias, TypeVar

from bson.raw_bson import RawBSONDocument
from pymongo import WriteConcern
from pymongo.collection import Collection
from pymongo.errors import AutoReconnect, BulkWriteError, DuplicateKeyError

from intake_bluesky.documents.model import Document
from intake_bluesky.errors import DuplicateRun, StoreUnavailable, UnsupportedOperation
from intake_bluesky.storage.buffered_insert import BufferedInsert, Buffering, try_again
from intake_bluesky_mongo.bson_documents import LARGEST, ready
from intake_bluesky_mongo.connections import Connection, Stored
from intake_bluesky_mongo.large_values import COLLECTION, divided
from intake_bluesky_mongo.writing.storable_documents import rows_of

T = TypeVar("T")
Row: TypeAlias = tuple[str, Mapping[str, Any]]

DUPLICATE: Final = 11000


class TooLarge(UnsupportedOperation):
    """A document that a server does not take."""


class Writes:
    """Acknowledged writes into a database, sent again when the server goes away meanwhile."""

    def __init__(self, connection: Connection, patience: float) -> None:
        self.connection = connection
        self.patience = patience
        self._unsure: set[str] = set()  # what was sent when the server went away for longer than that

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

    def again(self, what: str, write: Callable[[bool], T]) -> T:
        """Do what is harmless twice until the server answers; `write` is called with whether it was tried before.

        Raises
        ------
        StoreUnavailable
        """

        def attempt() -> T:
            try:
                with self.connection.asking(what):
                    done = write(what in self._unsure)
            except StoreUnavailable as error:
                if went_away(error):
                    self._unsure.add(what)
                raise
            self._unsure.discard(what)
            return done

        return try_again(attempt, went_away, self.patience)

    def insert(self, name: str, docs: Sequence[RawBSONDocument], what: str) -> None:
        """Insert documents that have their ``_id``.

        Raises
        ------
        DuplicateRun
            When some were there before this was tried; the others are written.
        """

        def write(tried: bool) -> None:  # as `again` says
            try:
                self.collection(name).insert_many(docs, ordered=False)
            except BulkWriteError as error:
                problems = error.details["writeErrors"]
                others = [one for one in problems if one["code"] != DUPLICATE]
                if others or error.details.get("writeConcernErrors"):
                    raise
                if not tried:
                    raise DuplicateRun(
                        f"{self.connection.shown} has {what} already, or one of its uid: {problems[0]['errmsg'][:200]}"
                    ) from error

        self.again(f"to write {what}", write)

    def insert_again(self, name: str, doc: RawBSONDocument, what: str) -> None:
        """Insert a document that may be there as it is.

        Raises
        ------
        DuplicateRun
            When there is another of its ``_id``.
        """
        try:
            self.insert(name, [doc], what)
        except DuplicateRun:
            with self.connection.asking(f"for {what}"):
                if not _is_there(self.collection(name), doc):
                    raise


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

    def _went_away(self, error: StoreUnavailable) -> bool:
        return went_away(error)

    def _take(self, name: str, doc: Document) -> None:
        self._given.append(rows_of(self.uid, name, doc))
        self._take_given()

    def _take_given(self) -> None:
        """Take what came, in order; what cannot be for want of a server stays."""
        while self._given:
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
            self._take_row(*self._row)
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
            twice = None
            try:
                self._send_held()
            except DuplicateRun as error:  # the others are written, and so is this
                twice = error
            self._write(name, doc)
            if name == "descriptor":
                self._descriptors.add(doc["uid"])
            if twice is not None:
                raise twice

    def _event_in_pieces(self, event: Mapping[str, Any]) -> int:
        """Hold an event; where it is too large, its largest values are written before it, in pieces."""
        try:
            return self._event(event)
        except TooLarge:
            rest, pieces = divided(event)
        for piece in pieces:
            self.writes.insert_again(COLLECTION, piece, f"a large value of event {event['uid']} of run {self.uid}")
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
        """Write what is held; what is written is held no more."""

    def _flush(self) -> None:
        self._take_given()
        self._send_held()

    def _send_held(self) -> None:
        if self._held:
            try:
                self._send()
            except DuplicateRun:
                self._held = 0  # the others are written
                raise
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

    def write(tried: bool) -> None:
        try:
            writes.collection(collection).insert_one(start)
        except DuplicateKeyError as error:
            if not (tried and _is_there(writes.collection(collection), start)):
                raise taken from error

    writes.again(f"to write the start of run {uid}", write)


def _is_there(collection: Collection[Stored], doc: RawBSONDocument) -> bool:
    """Whether a document is there just as it was to be written: by the try whose answer was lost."""
    raw = collection.with_options(codec_options=collection.codec_options.with_options(document_class=RawBSONDocument))
    found: Any = raw.find_one({"_id": doc["_id"]})
    return found is not None and bool(found.raw == doc.raw)
