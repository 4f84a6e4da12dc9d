"""Databases, reached when they are first asked, by one client a process and server."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final, TypeAlias

from pymongo import MongoClient
from pymongo.database import Database
from pymongo.errors import (
    AutoReconnect,
    ConfigurationError,
    ConnectionFailure,
    CursorNotFound,
    OperationFailure,
    PyMongoError,
)

from intake_bluesky.errors import IntakeBlueskyError, StoreUnavailable, UnsupportedOperation
from intake_bluesky.runtime.processes import PerProcess
from intake_bluesky.runtime.secrets import Secrets
from intake_bluesky.runtime.trust import is_here
from intake_bluesky_mongo.address import MongoAddress

Stored: TypeAlias = dict[str, Any]

PATIENCE: Final = 5000
"""Milliseconds to look for a server, where the URI does not say (``serverSelectionTimeoutMS``)."""
DENIED: Final = frozenset({11, 13, 18, 33, 8000})  # user unknown, unauthorized, authentication failed, of Atlas
NO_MEMORY: Final = frozenset({292, 96, 16819})


class _Clients:
    """The clients of one process by server, counted: the last to let go closes."""

    def __init__(self) -> None:
        self._open: dict[str, tuple[MongoClient[Stored], int]] = {}
        self._lock = threading.Lock()
        self._returned: deque[MongoClient[Stored]] = deque()

    def take(self, address: MongoAddress) -> MongoClient[Stored]:
        uri = address.server
        try:
            with self._lock:
                client, users = self._open.get(uri) or (self._make(uri), 0)
                self._open[uri] = client, users + 1
                return client
        finally:
            self._sweep()

    def give_back(self, client: MongoClient[Stored]) -> None:
        """Let go of a client, which whoever takes one meanwhile does instead."""
        self._returned.append(client)
        self._sweep()

    def _sweep(self) -> None:
        # Never waits for the lock. The garbage collector gives back from any thread, also from one that a client which
        # is being made has just started and waits for, with the lock held.
        while self._returned and self._lock.acquire(blocking=False):
            try:
                with suppress(IndexError):
                    while True:
                        self._release(self._returned.popleft())
            finally:
                self._lock.release()

    def _release(self, client: MongoClient[Stored]) -> None:
        for uri, (known, users) in list(self._open.items()):
            if known is client and users > 1:
                self._open[uri] = client, users - 1
            elif known is client:
                del self._open[uri]
                client.close()

    @staticmethod
    def _make(uri: str) -> MongoClient[Stored]:
        patient = "serverselectiontimeoutms=" in uri.lower()
        options: dict[str, Any] = {} if patient else {"serverSelectionTimeoutMS": PATIENCE}
        return MongoClient(uri, appname="intake-bluesky", tz_aware=True, **options)


_clients: Final[PerProcess[_Clients]] = PerProcess()


def _take(address: MongoAddress) -> MongoClient[Stored]:
    try:
        return _clients.get(_Clients).take(address)
    except (PyMongoError, ValueError) as error:
        if isinstance(error, IntakeBlueskyError):
            raise
        told = address.secrets.hide(str(error))
        raise StoreUnavailable(f"{address.shown} cannot be opened: {type(error).__name__}: {told}") from None


def _give_back(client: MongoClient[Stored]) -> None:
    _clients.get(_Clients).give_back(client)


class Connection:
    """One database, by its URI, or given, which cannot be pickled; messages call it by the name of an argument.

    Examples
    --------
    >>> Connection("mongodb://me:secret@localhost/runs", "metadatastore_db")
    Connection('mongodb://me@localhost/runs')
    """

    def __init__(self, database: str | MongoAddress | Database[Stored], argument: str) -> None:
        self.argument = argument
        self.address: MongoAddress | None = None
        self._given: Database[Stored] | None = None
        if isinstance(database, MongoAddress):
            self.address = database
        elif isinstance(database, str):
            self.address = MongoAddress.parse(database, argument)
        elif isinstance(database, Database):
            self._given = database
        else:
            kind = type(database).__name__
            raise TypeError(f"{argument} is the URI of a MongoDB database, or a pymongo Database, not a {kind}")
        self._client: PerProcess[MongoClient[Stored]] = PerProcess(_give_back)

    @property
    def shown(self) -> str:
        """Where the database is, without secrets; asks nothing."""
        if self.address is not None:
            return self.address.shown
        assert self._given is not None
        known = sorted(self._given.client.topology_description.server_descriptions())
        hosts = ",".join(host if port is None else f"{host}:{port}" for host, port in known)
        return f"mongodb://{hosts}/{self._given.name}"

    @property
    def remote(self) -> bool:
        """Whether the database is on another machine; asks nothing."""
        if self.address is not None:
            return self.address.remote
        assert self._given is not None
        return not all(is_here(host) for host, _ in self._given.client.topology_description.server_descriptions())

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.shown!r})"

    @property
    def database(self) -> Database[Stored]:
        """The database of a client of this process; nothing is sent before it is used."""
        address = self.address
        if address is None:
            assert self._given is not None
            return self._given
        return self._client.get(lambda: _take(address))[address.database]

    def same_database(self, other: Connection) -> bool:
        """Whether one pipeline can ask both."""
        if self.address is None or other.address is None:
            return self._given is not None and self._given == other._given
        return self.address == other.address and self.address.secrets == other.address.secrets

    @contextmanager
    def asking(self, what: str) -> Iterator[None]:
        """Turn what the server's client raises into a `StoreUnavailable` that says what was asked and what to do."""
        try:
            yield
        except PyMongoError as error:
            secrets = Secrets() if self.address is None else self.address.secrets
            message = f"{self.shown} was asked {what}: {_reason(error, secrets.hide(str(error)))}"
            raise StoreUnavailable(message) from None if secrets.are_in(error) else error

    def check_writable(self, collection: str) -> None:
        """Refuse a user who may change nothing in a collection, by a change of no document.

        Raises
        ------
        StoreUnavailable
            Only where the server refuses: one that does not answer is met by who writes, and may wait for it.
        """
        try:
            self.database[collection].update_one({"_id": {"$in": []}}, {"$set": {"nothing": None}})
        except OperationFailure as error:
            if error.code not in DENIED:
                return
            secrets = Secrets() if self.address is None else self.address.secrets
            raise StoreUnavailable(
                f"{self.shown} cannot be written: {_reason(error, secrets.hide(str(error)))}, of which readWrite is one"
            ) from None
        except PyMongoError:
            return

    def close(self) -> None:
        """Let go of the client; the next use takes one anew."""
        self._client.close()

    def __getstate__(self) -> dict[str, Any]:
        if self.address is None:
            raise UnsupportedOperation(
                f"{self.argument} was given as a pymongo Database, which belongs to this process: give its URI, and "
                "the catalog can be pickled and sent to the workers of a cluster"
            )
        return {"argument": self.argument, "address": self.address}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["address"], state["argument"])  # type: ignore[misc]  # made as by its arguments

    def __dask_tokenize__(self) -> tuple[str, str]:
        return type(self).__name__, self.shown


def _reason(error: PyMongoError, told: str) -> str:
    for noise in (", full error:", ", Topology Description:", " (configured timeouts"):
        told = told.partition(noise)[0]
    told = told if len(told) < 400 else f"{told[:400]} ..."
    if isinstance(error, OperationFailure) and error.code in DENIED:
        return f"it refused the user ({told}): check user, password and authSource in the URI, and the user's roles"
    if isinstance(error, CursorNotFound):
        return f"it forgot what was being read ({told}): it was restarted, or reading paused for long; read again"
    if isinstance(error, OperationFailure) and error.code in NO_MEMORY:
        return f"it has no memory to sort by ({told}): it lacks indexes, `intake-bluesky index` proposes them"
    if isinstance(error, (AutoReconnect, ConnectionFailure)):
        return f"it does not answer ({told}): check that the server runs and can be reached from here, and try again"
    if isinstance(error, ConfigurationError):
        return f"the URI cannot be used ({told})"
    return f"{type(error).__name__}: {told}"
