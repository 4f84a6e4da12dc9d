"""Writing one run: events are held back for a moment and written together, all else at once.

Every write is acknowledged, and may be sent again: the ``_id`` of a document follows from what it is, so that one sent
twice, because the server went away before it answered, is there once.
"""

from __future__ import annotations

import threading
import time
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from bson.raw_bson import RawBSONDocument
from pymongo import WriteConcern
from pymongo.collection import Collection
from pymongo.errors import AutoReconnect, BulkWriteError, DuplicateKeyError

from intake_bluesky.documents import Document
from intake_bluesky.errors import DuplicateRun, IntakeBlueskyError, UnsupportedOperation
from intake_bluesky.pages import events_of, normalise
from intake_bluesky.storage import RunInsert
from intake_bluesky_mongo.bson_documents import LARGEST, ready
from intake_bluesky_mongo.connections import Connection, Stored
from intake_bluesky_mongo.large import COLLECTION, divided

__all__ = ["Buffering", "MongoInsert", "Writes", "begin", "sized"]

DUPLICATE: Final = 11000
PAUSE: Final = 0.2  # seconds between tries to reach a server that went away


@dataclass(frozen=True, slots=True)
class Buffering:
    """How long events may wait to be written together.

    Attributes
    ----------
    seconds : float
        What a crash loses at most.
    size : int
        Bytes.
    patience : float
        Seconds for which a server that went away is tried again before writing fails. What could not be written
        is kept, and the next write or `close` tries again.
    """

    seconds: float = 1.0
    size: int = 2**20
    patience: float = 20.0


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
        if said.get("w") == 0:
            del said["w"]
        if "j" not in said:
            said["j"] = True
        return found.with_options(write_concern=WriteConcern(**said))

    def again(self, what: str, write: Callable[[bool], None]) -> None:
        """Do what is harmless twice until the server answers; `write` is told whether it was tried before.

        Raises
        ------
        StoreUnavailable
        """
        deadline = time.monotonic() + self.patience
        tried = False
        while True:
            try:
                with self.connection.asking(what):
                    return write(tried)
            except IntakeBlueskyError as error:
                if not _went_away(error) or time.monotonic() > deadline:
                    raise
            tried = True
            time.sleep(PAUSE)

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


def _went_away(error: IntakeBlueskyError) -> bool:
    cause = error.__cause__ or error.__context__
    return isinstance(cause, AutoReconnect)


class MongoInsert(RunInsert):
    """A run being written.

    Parameters
    ----------
    uid : str
    writes : Writes
        Into the database of runs.
    buffering : Buffering
    """

    def __init__(self, uid: str, writes: Writes, buffering: Buffering) -> None:
        self.uid = uid
        self.writes = writes
        self._buffering = buffering
        self._lock = threading.RLock()
        self._open = True
        self._held = 0
        self._timer: threading.Timer | None = None
        self._failed: IntakeBlueskyError | None = None

    def write(self, name: str, doc: Document) -> None:
        with self._lock:
            if not self._open:
                raise UnsupportedOperation(f"run {self.uid} is closed: a run ends with its stop document")
            self._raise_what_failed()
            for today, new in normalise(name, doc):
                self._take(today, new)
            if self._held >= self._buffering.size:
                self.flush()
            if name == "stop":
                self._close()
            elif self._held and self._timer is None:
                self._timer = threading.Timer(self._buffering.seconds, self._flush_in_time)
                self._timer.daemon = True
                self._timer.start()

    def _take(self, name: str, doc: Mapping[str, Any]) -> None:
        if name in ("event", "event_page"):
            for event in (doc,) if name == "event" else events_of(doc):
                self._hold(self._event_in_pieces(event))
        elif name in ("datum", "datum_page"):
            for datum in (doc,) if name == "datum" else _datums_of(doc):
                self._hold(self._datum(datum))
        else:
            self.flush()
            self._write(name, doc)

    def _event_in_pieces(self, event: Mapping[str, Any]) -> int:
        """Hold an event; where it is too large, its largest values are written before it, in pieces."""
        try:
            return self._event(event)
        except TooLarge:
            rest, pieces = divided(event)
        for piece in pieces:
            self.writes.insert(COLLECTION, [piece], f"a large value of event {event['uid']} of run {self.uid}")
        return self._event(rest)

    def _hold(self, size: int) -> None:
        self._held += size
        if self._held >= self._buffering.size:
            self.flush()

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

    def flush(self) -> None:
        """Write what is held."""
        with self._lock:
            timer, self._timer = self._timer, None
            if timer is not None:
                timer.cancel()
            if self._held:
                try:
                    self._send()
                except DuplicateRun:
                    self._held = 0  # the others are written
                    raise
                self._held = 0

    def _flush_in_time(self) -> None:
        try:
            with self._lock:
                if self._timer is not None:
                    self.flush()
        except IntakeBlueskyError as error:  # told to who writes or closes next
            self._failed = error

    def _raise_what_failed(self) -> None:
        failed, self._failed = self._failed, None
        if failed is not None and self._held:
            self.flush()  # raises again if it fails again
        elif failed is not None:
            raise failed

    def close(self) -> None:
        with self._lock:
            self._close()

    def _close(self) -> None:
        if self._open:
            self._raise_what_failed()
            self.flush()
            self._open = False


def _datums_of(page: Mapping[str, Any]) -> Iterable[Document]:
    for row, datum_id in enumerate(page["datum_id"]):
        kwargs = {key: values[row] for key, values in page["datum_kwargs"].items()}
        yield {"resource": page["resource"], "datum_id": datum_id, "datum_kwargs": kwargs}


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
