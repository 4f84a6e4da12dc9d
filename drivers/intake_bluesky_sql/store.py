"""Runs in a database, found and read."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final

from sqlalchemy import Connection

from intake_bluesky.documents.model import ALL_KEYS, DatumPage, Document, EventPage, Keys, RunHeader, RunSummary
from intake_bluesky.errors import DamagedRun, IntakeBlueskyError, RunNotFound, StoreUnavailable, StreamNotFound
from intake_bluesky.index.json_conditions import SQL
from intake_bluesky.index.rare_words import narrowed
from intake_bluesky.index.search_form import code_text
from intake_bluesky.index.tables import is_rare
from intake_bluesky.query import Path, Query
from intake_bluesky.storage.buffered_insert import Buffering
from intake_bluesky.storage.contract import ALL_RUNS, Lookup, Plan, Problem, RunInsert, RunStore
from intake_bluesky.storage.header_cache import HeaderCache
from intake_bluesky.storage.order import Order
from intake_bluesky.storage.statistics import StatisticsCache
from intake_bluesky_sql import maintenance
from intake_bluesky_sql.address import SQLAddress
from intake_bluesky_sql.database import Database
from intake_bluesky_sql.document_rows import DocumentRows
from intake_bluesky_sql.key_values import StoredValues
from intake_bluesky_sql.postgres_search import POSTGRESQL
from intake_bluesky_sql.run_reader import SQLRun, decoded
from intake_bluesky_sql.run_writer import BulkInsert, SQLInsert
from intake_bluesky_sql.search_columns import has_words
from intake_bluesky_sql.shared_datums import runs_with_datums, runs_with_resource
from intake_bluesky_sql.sqlite_search import SQLITE
from intake_bluesky_sql.statistics import SQLStatistics

LISTED: Final = 256  # runs that a first statement fetches
MOST: Final = 2048  # and those after it
SHOWN: Final = 3  # documents that a problem names
ENDS: Final = (
    "SELECT uid, (SELECT body FROM documents AS d WHERE d.run = runs.id AND d.place = 0), "
    "(SELECT body FROM documents AS d WHERE d.run = runs.id AND d.place = runs.stop_place), {key} FROM runs "
)
AT_ONCE: Final = {"flush_seconds": 0.0, "patience": 0.0}
TOGETHER: Final = {"patience": 30.0}
ORDERS: Final = {Order.NEWEST: ("newest", "<", " DESC"), Order.OLDEST: ("oldest", ">", "")}


class SQLStore(RunStore):
    """Runs in an SQLite file or a PostgreSQL database.

    Parameters
    ----------
    uri : str or Path
        ``sqlite:///runs.db``, a path, or ``postgresql+psycopg://user@host/database``. A password in it stays in this
        process: it is in no repr, pickle or YAML. Elsewhere PGPASSWORD or ~/.pgpass give it.
    flush_seconds, flush_bytes : float, int, optional
        How long, and how much, documents may wait before they are written together: what a crash can lose. By default
        nothing in SQLite, one second or 1 MiB in PostgreSQL.
    patience : float, optional
        Seconds for which a writer goes on without the database, its documents in memory; by default 30 for PostgreSQL.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     store = SQLStore(f"{folder}/runs.db")
    ...     with store.insert({"uid": "abc", "time": 1.0}) as run:
    ...         run.write("stop", {"uid": "def", "time": 2.0, "run_start": "abc", "exit_status": "success"})
    ...     print([(run.uid, run.stop["exit_status"]) for run in store.find()])
    ...     store.close()
    [('abc', 'success')]
    """

    ordered = True

    def __init__(
        self,
        uri: str | os.PathLike[str],
        *,
        flush_seconds: float | None = None,
        flush_bytes: int | None = None,
        patience: float | None = None,
    ) -> None:
        self._arguments = {"flush_seconds": flush_seconds, "flush_bytes": flush_bytes, "patience": patience}
        self.database = Database(SQLAddress.of(uri))
        usual: dict[str, Any] = AT_ONCE if self.database.is_sqlite else TOGETHER
        given = {name: value for name, value in self._arguments.items() if value is not None}
        self._buffering = Buffering(**usual | given)
        self._search = SQLITE if self.database.is_sqlite else POSTGRESQL
        self._values = StoredValues(self.database, self._search, self._note)
        self._known = HeaderCache[SQLRun]()
        self._problems: dict[str, Problem] = {}
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.database.address.text!r})"

    def __getstate__(self) -> dict[str, Any]:
        return {"uri": self.database.address.text, **self._arguments}

    def __setstate__(self, state: dict[str, Any]) -> None:
        type(self).__init__(self, **state)

    def __dask_tokenize__(self) -> tuple[str, str]:
        return type(self).__name__, self.database.address.text

    @property
    def ttl(self) -> float:
        """A second; of a database on another machine ten."""
        return 10.0 if self.database.address.remote else 1.0

    @property
    def trusts_paths(self) -> bool:
        """Whether the database is on this machine."""
        return not self.database.address.remote

    @property
    def writable(self) -> bool:
        """True: what the user may do is the database's to say."""
        return True

    def check_writable(self) -> None:
        """Ask the database what this user may do; of a file, whether it and its folder may be written."""
        self.database.check_writable()

    @property
    def statistics(self) -> StatisticsCache:
        """Those beside the runs."""
        return SQLStatistics(self, self.database)

    def create(self) -> None:
        """Make the file and the tables unless they are there; writing a run does it, too.

        Raises
        ------
        StoreUnavailable
        """
        self.database.create()

    def answers(self, leaf: Query) -> bool:
        """Whether SQL does."""
        return self._search.exact(leaf)

    def plan(self, query: Query, order: Order) -> Plan:
        """Take what SQL answers."""
        return self._search.plan(query, order)

    def find(self, plan: Plan = ALL_RUNS, *, offset: int = 0, limit: int | None = None) -> Iterator[RunSummary]:
        """Yield the runs that match, in order, some hundreds by one statement; no connection waits in between."""
        where, values = self._condition(plan)
        key, sign, down = ORDERS[plan.order]
        select = f"{ENDS.format(key=key)} WHERE ({where})"
        by = f" ORDER BY {key}{down}, uid{down} LIMIT ?"
        size = LISTED
        after: tuple[float, str] | None = None
        while limit is None or limit > 0:
            most = size if limit is None else min(size, limit)
            if after is None:
                rows = self.database.ask(f"{select}{by} OFFSET ?", *values, most, offset)
            else:
                rows = self.database.ask(f"{select} AND ({key}, uid) {sign} (?, ?){by}", *values, *after, most)
            yielded = 0
            for row in rows:
                summary = self._summary(row)
                if summary is not None:
                    yield summary
                    yielded += 1
            if len(rows) < most:
                return
            after, size = (rows[-1][3], rows[-1][0]), MOST
            # A damaged run does not take the place of a good one: the newest run that can be read is asked for.
            limit = None if limit is None else limit - yielded

    def _condition(self, plan: Plan) -> SQL:
        sparing = self.database.is_sqlite  # PostgreSQL has an index of the values at all keys
        return narrowed(plan, self._search, self._is_rare) if sparing else self._search.compiled(plan)

    def _is_rare(self, word: str, number: int) -> bool:
        try:
            return is_rare(self.database.ask, word, number)
        except StoreUnavailable:  # of a file that was made without FTS5, or what is asked next says so
            return False

    def _summary(self, row: Any) -> RunSummary | None:
        uid, start, stop, _ = row
        try:
            ends = [
                None if body is None else decoded(f"run {uid}: its {name}", body)
                for name, body in (("start", start), ("stop", stop))
            ]
            if ends[0] is None or ends[0].get("uid") != uid:
                raise DamagedRun(f"run {uid} has no start document of its own")
            found = RunSummary.of(ends[0], ends[1])
        except (DamagedRun, KeyError) as error:
            self._note(uid, error)
            return None
        return found

    def _note(self, uid: str, what: str | Exception) -> None:
        told = what if isinstance(what, str) else f"{what}: remove it, or write it again"
        with self._lock:
            self._problems[uid] = Problem(self.database.address.text, told, uid)

    def count(self, plan: Plan = ALL_RUNS) -> int:
        """Count the runs that match."""
        where, values = self._condition(plan)
        return int(self.database.ask(f"SELECT count(*) FROM runs WHERE {where}", *values)[0][0])

    def distinct(self, path: Path, plan: Plan = ALL_RUNS) -> Iterable[tuple[Any, int]] | None:
        """Give each value at an exact path, and how many of the runs that match have it."""
        return self._values.count(path, self._condition(plan))

    def lookup(self, paths: Sequence[Path], plan: Plan = ALL_RUNS) -> Lookup | None:
        """Yield uid, time and the values at exact paths of the runs that match, in order."""
        return self._values.look_up(paths, self._condition(plan), plan.order)

    def header(self, uid: str) -> RunHeader:
        """Describe one run as it is now, by one statement."""
        return self._run(uid).header

    def _run(self, uid: str) -> SQLRun:
        known = self._known.get(uid)
        if known is not None and known.version == SQLRun.current_version(self.database, uid):
            return known
        run = self._found(uid)
        self._known.put(uid, run)
        return run

    def _found(self, uid: str, *, whole: bool = False, described: bool = True) -> SQLRun:
        possible = code_text(uid) == uid  # no database holds another text
        try:
            run = SQLRun.find(self.database, uid, whole=whole, described=described) if possible else None
        except DamagedRun as error:
            self._note(uid, error)
            raise
        if run is None:
            raise self._not_found(uid)
        if run.problems:
            more = f"; and {len(run.problems) - SHOWN} more" if len(run.problems) > SHOWN else ""
            self._note(uid, f"passed over: {'; '.join(run.problems[:SHOWN])}{more}")
        return run

    def _not_found(self, uid: str) -> RunNotFound:
        return RunNotFound(
            f"no run {uid!r} among the {self.count()} runs in {self.database.address}: a store takes full uids"
        )

    def event_pages(
        self,
        uid: str,
        stream: str,
        *,
        data: Keys = ALL_KEYS,
        timestamps: Keys = (),
        events: slice = slice(None),
    ) -> Iterator[EventPage]:
        """Yield the stored events of a stream, reading the columns asked for of the blocks they are in."""
        run = self._run(uid)
        if stream not in run.units:
            raise StreamNotFound(f"run {uid} has no stream {stream!r}; it has {', '.join(run.units) or 'none'}")
        yield from run.event_pages(stream, data, timestamps, events)

    def documents(self, uid: str) -> Iterator[tuple[str, Document]]:
        """Yield the documents of a run as they were inserted, those of a damaged one too."""
        yield from self._found(uid, whole=True, described=False).documents()

    def datum_pages(self, uid: str, resource: str) -> Iterator[DatumPage]:
        """Yield the datums of one resource."""
        run = self._run(uid)
        yield from (self._found(uid, whole=True) if run.has_datums_alone else run).datum_pages(resource)

    def find_datums(self, datum_ids: Sequence[str]) -> Iterator[tuple[Document, DatumPage]]:
        """Yield datums by their ids, of whichever run, where they are called ``<resource>/<number>``."""
        for resource in dict.fromkeys(datum_id.rpartition("/")[0] for datum_id in datum_ids):
            runs = runs_with_datums(self.database, resource)
            found = self._resource(runs, resource) if runs else None
            if found is not None:
                yield from ((found, page) for uid in runs for page in self.datum_pages(uid, resource))

    def _having(self, runs: Sequence[str], resource: str) -> Iterator[str]:
        yield from runs
        yield from runs_with_resource(self.database, resource)

    def _resource(self, runs: Sequence[str], resource: str) -> Document | None:
        """A resource, mostly of a run that has datums of it."""
        for uid in self._having(runs, resource):
            with suppress(DamagedRun, RunNotFound):  # another run than the one that is read: it hides nothing
                for doc in self.header(uid).resources:
                    if doc["uid"] == resource:
                        return doc
        return None

    def insert(self, start: Document) -> RunInsert:
        """Begin a run, which is in the database at once; its other documents follow within the store's bounds.

        Raises
        ------
        DuplicateRun
            When a run of this uid is in the store.
        UnsupportedOperation
            When the uid is no ordinary text, or a document holds what JSON has no form for.
        StoreUnavailable
        """
        return SQLInsert(self.database, DocumentRows(start), self._buffering)

    def insert_runs(self, runs: Iterable[Iterable[tuple[str, Document]]]) -> Iterator[IntakeBlueskyError | None]:
        """Insert whole runs, up to 256 of them, or a second, or 16 MiB, in one transaction."""
        return BulkInsert(self.database, self._buffering, self.remove).insert(runs)

    def remove(self, uid: str, *, permanent: bool = False) -> None:
        """Delete all rows of a run, in one transaction; who writes it just now gets a `RunNotFound`.

        Names of streams and keys stay, which are those of other runs, too. An SQLite file keeps its size, and new runs
        take the room.

        Raises
        ------
        RunNotFound
        StoreUnavailable
            Also where this user may not delete.
        """
        found = self.database.ask("SELECT id FROM runs WHERE uid = ?", uid) if code_text(uid) == uid else ()
        if not found:
            raise self._not_found(uid)
        # By its number, not its uid, of which there may be another run by the time of the transaction.
        self.database.write(partial(self._delete, number=int(found[0][0])))
        self._known.drop(uid)
        with self._lock:
            self._problems.pop(uid, None)

    def _delete(self, connection: Connection, *, number: int) -> None:
        """Delete the row of a run, which takes those of its documents, events, statistics and answers with it."""
        # No foreign key reaches the index of words.
        if self.database.is_sqlite and has_words(self.database, connection, "remove the run with another Python"):
            self.database.execute(connection, "DELETE FROM texts WHERE rowid = ?", (number,))
        self.database.execute(connection, "DELETE FROM runs WHERE id = ?", (number,))

    def current_version(self, uid: str) -> str | None:
        """The version of a run as it is now; None where there is none."""
        return SQLRun.current_version(self.database, uid) if code_text(uid) == uid else None

    def refresh(self, *, deep: bool = False) -> None:
        """Do nothing: a database shows what it holds. With `deep`, describe every run, for `problems`."""
        if not deep:
            return
        for run in self.find():
            try:
                self.header(run.uid)
            except DamagedRun as error:
                self._note(run.uid, error)

    def problems(self) -> Sequence[Problem]:
        """What could not be read so far, by uid."""
        with self._lock:
            return [self._problems[uid] for uid in sorted(self._problems)]

    def proposed_indexes(self) -> Sequence[str]:
        """Say, one a line, which indexes are not there, and which figures of the planner; changes nothing."""
        return maintenance.proposed(self.database)

    def make_indexes(self) -> Sequence[str]:
        """Make what `proposed_indexes` names and this user may make, and return it."""
        return maintenance.make(self.database)

    def close(self) -> None:
        """Close the connections of this process."""
        self.database.close()
