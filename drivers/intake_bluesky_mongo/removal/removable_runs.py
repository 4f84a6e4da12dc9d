"""Removing a run: it is gone with its first document, and what is to follow was noted before.

The note, a document of the collection `COLLECTION`, outlives whoever is interrupted. Whoever removes or writes a run of
that uid next goes on with it, so that nothing of the old run gets into the new one.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import timedelta
from typing import Any, ClassVar, Final, NamedTuple, TypeAlias
from uuid import uuid4

from pymongo import ReadPreference
from pymongo.database import Database
from pymongo.errors import DuplicateKeyError

from intake_bluesky.errors import IntakeBlueskyError, RunNotFound, StoreUnavailable, UnsupportedOperation
from intake_bluesky.storage.buffered_insert import Buffering
from intake_bluesky.storage.contract import RunStore
from intake_bluesky_mongo.connections import Connection, Stored
from intake_bluesky_mongo.find import Schema
from intake_bluesky_mongo.writing.writer import Writes

COLLECTION: Final = "intake_bluesky_removals"
ALONE: Final = 60.0  # seconds without a sign of life after which another process goes on with a removal
TOGETHER: Final = 10_000  # documents deleted at once, which takes far less time than that

Belongings: TypeAlias = Mapping[str, list[Any]]
"""What the rest of a run is found by once its start is gone: uids and the like, by their kinds."""


class Deletion(NamedTuple):
    """Documents of one collection that have to go."""

    connection: Connection
    collection: str
    condition: Mapping[str, Any]


def on_primary(connection: Connection) -> Database[Stored]:
    """A database as it is, and not as one of its copies was a moment ago."""
    return connection.database.with_options(read_preference=ReadPreference.PRIMARY)


class RemovableRuns(RunStore):
    """A store whose runs can be removed; subclasses know what of a run has to go in their schema."""

    schema: ClassVar[Schema]
    buffering: Buffering

    @property
    @abstractmethod
    def connection(self) -> Connection:
        """Where the runs are."""

    @abstractmethod
    def belongings(self, uid: str) -> Belongings | None:
        """Find what belongs to a run and to no other; None where there is no such run."""

    @abstractmethod
    def deletions(self, uid: str, belongings: Belongings) -> Iterator[Deletion]:
        """Yield what has to go, in this order, that which makes the run visible first."""

    def remove(self, uid: str, *, permanent: bool = False) -> None:
        """Delete a run: it is gone at once, its events and all else follow; resources that other runs need stay.

        Raises
        ------
        UnsupportedOperation
            Where the store was not made ``writable=True``.
        RunNotFound
        StoreUnavailable
            When it was interrupted: the run is gone, and whoever removes or writes it again goes on. Also while
            another process removes it.
        """
        if not self.writable:
            raise UnsupportedOperation(
                f"{self.connection.shown} is open for reading only: give writable=True to remove runs from it"
            )
        with self.connection.asking(f"to remove run {uid}"):
            note = self._note(uid)
            if self.belongings(uid) is None and not note.is_there():
                raise RunNotFound(f"{self.connection.shown} has no run {uid!r}: a store takes full uids")
            note.take()
            belongings = self.belongings(uid)  # as they are now that nobody else removes it
            if belongings is not None:
                note.put(belongings)
            self._delete_all(uid, note)

    def finish_removal(self, uid: str) -> None:
        """Go on with a removal that was interrupted after the run was gone, if there is one.

        Raises
        ------
        StoreUnavailable
            Also while another process does.
        """
        with self.connection.asking(f"whether run {uid} is being removed"):
            note = self._note(uid)
            if note.is_there() and self.belongings(uid) is None:
                note.take()
                self._delete_all(uid, note)

    def _note(self, uid: str) -> _Note:
        return _Note(self._writes(self.connection), f"{self.schema.collection}/{uid}")

    def _writes(self, connection: Connection) -> Writes:
        return Writes(connection, self.buffering.patience)

    def _delete_all(self, uid: str, note: _Note) -> None:
        try:
            for deletion in self.deletions(uid, note.belongings()):
                self._delete(deletion, note)
        except BaseException:
            with suppress(IntakeBlueskyError):
                note.let_go()
            raise
        note.delete()

    def _delete(self, deletion: Deletion, note: _Note) -> None:
        writes = self._writes(deletion.connection)
        there = on_primary(deletion.connection)[deletion.collection]
        ids: list[Any] = []

        def delete() -> None:
            writes.collection(deletion.collection).delete_many({"_id": {"$in": ids}})

        more = True
        while more:
            ids = [doc["_id"] for doc in there.find(deletion.condition, {"_id": 1}).limit(TOGETHER)]
            more = len(ids) == TOGETHER
            if ids:
                note.renew()  # raises where another has taken over: what is there now may be of a new run
                writes.again(f"to delete documents of {deletion.collection}", delete)


class _Note:
    """The note that a run is being removed: by whom, when that one last gave a sign of life, and what has to go."""

    def __init__(self, writes: Writes, name: str) -> None:
        self._writes, self._name = writes, name
        self._owner = uuid4().hex

    def _found(self) -> Stored | None:
        return on_primary(self._writes.connection)[COLLECTION].find_one({"_id": self._name})

    def is_there(self) -> bool:
        return self._found() is not None

    def belongings(self) -> Belongings:
        found: Belongings = (self._found() or {}).get("belongings", {})
        return found

    def take(self) -> None:
        """Become the one who removes the run, by the server's clock.

        Raises
        ------
        StoreUnavailable
            Where another is.
        """
        now = self._writes.connection.database.command("hello")["localTime"]
        free = [{"owner": {"$in": [None, self._owner]}}, {"seen": {"$lt": now - timedelta(seconds=ALONE)}}]
        try:
            self._change({"_id": self._name, "$or": free}, {"owner": self._owner}, upsert=True)
        except StoreUnavailable as error:
            if not isinstance(error.__cause__, DuplicateKeyError):
                raise
            run = self._name.partition("/")[2]
            raise StoreUnavailable(
                f"run {run} is being removed from {self._writes.connection.shown} by another process: try again when "
                f"that has ended, or in {ALONE:.0f} seconds if it was interrupted"
            ) from error

    def put(self, belongings: Belongings) -> None:
        self._change({"_id": self._name, "owner": self._owner}, {"belongings": dict(belongings)})

    def renew(self) -> None:
        """Give a sign of life.

        Raises
        ------
        StoreUnavailable
            Where there was none for so long that another has gone on: what is there now may be of a new run.
        """
        if not self._change({"_id": self._name, "owner": self._owner}, {"owner": self._owner}):
            raise StoreUnavailable(f"another process went on with the removal of {self._name}: this one has ended")

    def let_go(self) -> None:
        """Have another go on at once."""
        self._change({"_id": self._name, "owner": self._owner}, {"owner": None})

    def delete(self) -> None:
        own = {"_id": self._name, "owner": self._owner}
        self._writes.again(
            f"to delete the note on the removal of {self._name}",
            lambda: self._writes.collection(COLLECTION).delete_one(own),
        )

    def _change(self, condition: Mapping[str, Any], values: Mapping[str, Any], *, upsert: bool = False) -> int:
        change = {"$set": dict(values), "$currentDate": {"seen": True}}
        return self._writes.again(
            f"to note the removal of {self._name}",
            lambda: self._writes.collection(COLLECTION).update_one(condition, change, upsert=upsert).matched_count,
        )
