"""What the stores over both schemas share: finding runs, describing them and reading their events."""

from __future__ import annotations

import heapq
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, ClassVar, Final

from intake_bluesky.documents.model import ALL_KEYS, DatumPage, Document, EventPage, Keys, RunHeader, RunSummary
from intake_bluesky.documents.pages import events_of
from intake_bluesky.errors import DamagedRun, IntakeBlueskyError, RunNotFound, StreamNotFound, UnsupportedOperation
from intake_bluesky.query import Path, Query, split
from intake_bluesky.storage.buffered_insert import Buffering
from intake_bluesky.storage.contract import ALL_RUNS, Lookup, Plan, Problem, RunInsert, RunStore
from intake_bluesky.storage.header_cache import HeaderCache
from intake_bluesky.storage.order import Order, sort_runs
from intake_bluesky_mongo.bson_documents import from_bson
from intake_bluesky_mongo.connections import Connection
from intake_bluesky_mongo.events import EventReader, Times, Wanted
from intake_bluesky_mongo.find import Listing, Schema, uids_without_text
from intake_bluesky_mongo.indexes import MongoIndex, missing_indexes
from intake_bluesky_mongo.large_values import gathered
from intake_bluesky_mongo.prefetch import Ahead, groups
from intake_bluesky_mongo.removal.removable_runs import RemovableRuns
from intake_bluesky_mongo.run_layout import MongoRun, StoredStream
from intake_bluesky_mongo.shared_statistics import SharedCollection
from intake_bluesky_mongo.translator import MongoTranslator

OPTIONS: Final[Mapping[str, str]] = {
    "max_time_ms": "maxTimeMS", "batch_size": "batchSize", "hint": "hint", "comment": "comment",
    "allow_disk_use": "allowDiskUse",
}  # fmt: skip
"""Options of pymongo's ``find`` that change how is found, not what; and what ``aggregate`` calls them."""
FRESH: Final = 0.5  # seconds for which what was just read of a run is used again
RECENT: Final = 256  # runs: more than a search measures at once
PROBLEMS: Final = 100
OWN: Final = frozenset({"_times", "_recent"})  # of each process
SHOWN: Final = 300  # letters of a query in a message


class MongoStore(RemovableRuns):
    """Runs in collections of MongoDB.

    Parameters
    ----------
    find_kwargs : mapping, optional
        Options of pymongo's ``find``: ``max_time_ms``, ``batch_size``, ``hint``, ``comment``, ``allow_disk_use``.
    writable : bool
        Whether `insert` may write, and `measure` leave statistics for others. Nothing else here ever does, but for
        `make_indexes`.
    buffering : Buffering, optional
    """

    exact_documents = False
    ordered = True
    schema: ClassVar[Schema]

    def __init__(
        self,
        connections: Sequence[Connection],
        *,
        find_kwargs: Mapping[str, Any] | None,
        writable: bool,
        buffering: Buffering | None,
    ) -> None:
        unknown = sorted((find_kwargs or {}).keys() - OPTIONS.keys())
        if unknown:
            raise UnsupportedOperation(
                f"find_kwargs takes {', '.join(OPTIONS)}, not {', '.join(unknown)}: what is found is said by query=, "
                "the order by sort=, how many by a slice of the catalog"
            )
        self.connections = tuple(connections)
        self.find_kwargs = dict(find_kwargs or {})
        self._writable = bool(writable)
        self.buffering = buffering or Buffering()
        self._begin()

    def _begin(self) -> None:
        self._times = Times()
        self._recent = HeaderCache[tuple[MongoRun, dict[str, StoredStream]]](size=RECENT, age=FRESH)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in OWN}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._begin()

    def __dask_tokenize__(self) -> tuple[Any, ...]:
        return type(self).__name__, *(connection.shown for connection in self.connections)

    def __repr__(self) -> str:
        shown = ", ".join(repr(connection.shown) for connection in dict.fromkeys(self.connections))
        return f"{type(self).__name__}({shown}{', writable=True' if self.writable else ''})"

    @property
    def connection(self) -> Connection:
        """Where the runs are."""
        return self.connections[0]

    @property
    def trusts_paths(self) -> bool:
        """Whether all of the databases are on this machine."""
        return not any(connection.remote for connection in self.connections)

    @property
    def writable(self) -> bool:
        """Whether it was asked for: a facility's database is only read."""
        return self._writable

    def check_writable(self) -> None:
        """Ask the servers what this user may do."""
        for connection, collection in zip(self.connections, (self.schema.collection, "resource"), strict=False):
            connection.check_writable(collection)

    @property
    def cache_key(self) -> str:
        """The servers, the database and the schema: no user, option or secret is part of it."""
        address = self.connection.address
        where = self.connection.shown if address is None else f"mongodb://{address.url.hosts}/{address.database}"
        return f"statistics of {self.schema.collection} in {where}"

    @property
    def shared_statistics(self) -> SharedCollection:
        """Statistics in a collection of their own beside the runs."""
        return SharedCollection(self.connection, self.schema.collection, writable=self.writable)

    def answers(self, leaf: Query) -> bool:
        """Whether a filter does."""
        return MongoTranslator(self.schema.places).exact(leaf)

    def plan(self, query: Query, order: Order) -> Plan:
        """Take what a filter expresses exactly."""
        pushed, residual = split(query, self.answers)
        return Plan(pushed, residual, True, order, self._listing(pushed))

    def _listed(self, plan: Plan) -> Listing:
        return self._listing(plan.pushed) if plan.compiled is None else plan.compiled

    def _listing(self, query: Query) -> Listing:
        options = {OPTIONS[name]: value for name, value in self.find_kwargs.items()}
        return Listing(self.connection, self.schema, query, options)

    def find(self, plan: Plan = ALL_RUNS, *, offset: int = 0, limit: int | None = None) -> Iterator[RunSummary]:
        """Yield the runs that match, in order: a page of runs is one question."""
        with self.connection.asking(f"for the runs where {_shown(plan.pushed)}"):
            yield from self._listed(plan).find(plan.order, offset, limit)

    def count(self, plan: Plan = ALL_RUNS) -> int:
        """Count the runs that match."""
        with self.connection.asking(f"how many runs there are where {_shown(plan.pushed)}"):
            return self._listed(plan).count()

    def lookup(self, paths: Sequence[Path], plan: Plan = ALL_RUNS) -> Lookup | None:
        """Yield uid and time of the runs that match, in order; values are in documents, which have to be read."""
        return None if paths else self._uids_and_times(plan)

    def _uids_and_times(self, plan: Plan) -> Lookup:
        with self.connection.asking(f"for the uids of the runs where {_shown(plan.pushed)}"):
            runs = sort_runs(self._listed(plan).bare(), plan.order)
        yield from ((run.uid, run.time, ()) for run in runs)

    def server_plan(self, plan: Plan) -> str:
        """Describe by which indexes the server finds runs, as its ``explain`` does; no run is listed."""
        with self.connection.asking(f"how it finds the runs where {_shown(plan.pushed)}"):
            return self._listed(plan).server_plan(plan.order)

    @abstractmethod
    def _find_run(self, uid: str) -> MongoRun | None:
        """Look for one run, in one round trip where the server can."""

    @abstractmethod
    def _find_runs(self, uids: Sequence[str]) -> dict[str, MongoRun]:
        """Look for several runs, in two round trips where the server can, each as `_find_run` would find it."""

    def _run(self, uid: str) -> tuple[MongoRun, dict[str, StoredStream]]:
        with self.connection.asking(f"for run {uid}"):
            found = self._find_run(uid)
            if found is None:
                raise RunNotFound(f"{self.connection.shown} has no run {uid!r}: a store takes full uids")
            streams = self._laid_out(uid, found)
        self._recent.put(uid, (found, streams))
        return found, streams

    def _laid_out(self, uid: str, found: MongoRun) -> dict[str, StoredStream]:
        try:
            found.check()
            streams = found.streams()
            mixed = found.mixed()
            if mixed:
                database = self.connection.database
                streams = found.streams({name: self._times.of(database, streams[name]).tolist() for name in mixed})
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            if isinstance(error, DamagedRun):
                raise
            raise DamagedRun(f"run {uid} cannot be read: {type(error).__name__}: {error}") from error
        return streams

    def _streams(self, uid: str) -> dict[str, StoredStream]:
        """The streams of a run, as `header` saw them if it did just now."""
        return (self._recent.get(uid) or self._run(uid))[1]

    def header(self, uid: str) -> RunHeader:
        """Describe one run."""
        found, streams = self._run(uid)
        try:
            return found.header(streams)
        except KeyError as error:
            raise DamagedRun(f"run {uid} cannot be read: {error} is missing") from error

    @property
    @abstractmethod
    def _reader(self) -> EventReader:
        """What reads events."""

    def event_pages(
        self,
        uid: str,
        stream: str,
        *,
        data: Keys = ALL_KEYS,
        timestamps: Keys = (),
        events: slice = slice(None),
    ) -> Iterator[EventPage]:
        """Yield the stored events of a stream, by time; the server sends what is asked for."""
        streams = self._streams(uid)
        if stream not in streams:
            raise StreamNotFound(f"run {uid} has no stream {stream!r}; it has {', '.join(streams) or 'none'}")
        with self.connection.asking(f"for events of run {uid}, stream {stream!r}"), _reading(f"run {uid}"):
            yield from self._reader.read(streams[stream], Wanted(data, timestamps), events)

    def documents(self, uid: str) -> Iterator[tuple[str, Document]]:
        """Yield the documents of a run: what introduces others first, events by time, pages taken apart."""
        found, _ = self._run(uid)
        yield "start", found.start
        for name in ("descriptor", "resource", "stream_resource"):
            for doc in getattr(found, f"{name}s"):
                yield name, doc
        with self.connection.asking(f"for the documents of run {uid}"), _reading(f"run {uid}"):
            for resource in found.resources:
                yield from self._datum_documents(str(resource.get("uid")))
            for doc in found.stream_datums:
                yield "stream_datum", doc
            uids = [str(doc["uid"]) for doc in found.descriptors]
            both = heapq.merge(self._single_events(uids), self._paged_events(uids), key=_time_of)
            for doc in both:
                yield "event", gathered(self.connection.database, doc)
        if found.stop is not None:
            yield "stop", found.stop

    def _single_events(self, descriptors: Sequence[str]) -> Iterator[Document]:
        """Yield the events that are documents of their own, by time."""
        found = self.connection.database["event"].find({"descriptor": {"$in": descriptors}}, sort=[("time", 1)])
        return map(from_bson, found)

    def _paged_events(self, descriptors: Sequence[str]) -> Iterator[Document]:
        """Yield the events in pages, by the time of the first of a page."""
        collection = self.connection.database[self._reader.paged]
        found = collection.find({"descriptor": {"$in": descriptors}}, sort=[("time.0", 1), ("first_index", 1)])
        for page in map(from_bson, found):
            yield from events_of(page)

    def _datum_documents(self, resource: str) -> Iterator[tuple[str, Document]]:
        for page in self._datums(resource):
            for row, datum_id in enumerate(page.datum_id):
                kwargs = {key: values[row] for key, values in page.datum_kwargs.items()}
                yield "datum", {"resource": resource, "datum_id": datum_id, "datum_kwargs": kwargs}

    @abstractmethod
    def _datums(self, resource: str) -> Iterator[DatumPage]:
        """Yield the datums of a resource."""

    def datum_pages(self, uid: str, resource: str) -> Iterator[DatumPage]:
        """Yield the datums of one resource."""
        with self.connections[-1].asking(f"for the datums of resource {resource}"):
            yield from self._datums(resource)

    def read_ahead(self, uids: Sequence[str]) -> Iterator[tuple[RunHeader, RunStore]]:
        """Describe several runs in a few round trips; events of small streams are asked for together."""
        runs = self._opened(uids)
        for some in groups({uid: streams for uid, (_, streams) in runs.items()}):
            ahead = Ahead(self, self._reader, some)
            for uid in some:
                with suppress(KeyError, DamagedRun):
                    header = runs[uid][0].header(runs[uid][1])
                    self._recent.put(uid, runs[uid])
                    yield header, ahead

    def _opened(self, uids: Sequence[str]) -> dict[str, tuple[MongoRun, dict[str, StoredStream]]]:
        """Some runs, asked for together, without those that are not there or damaged."""
        with self.connection.asking(f"for {len(uids)} runs"):
            try:
                found = self._find_runs(uids)
            except (AttributeError, KeyError, TypeError, ValueError):  # one of them is odd: alone, it costs only itself
                return self._opened_one_by_one(uids)
            opened = {}
            for uid, run in found.items():
                with suppress(DamagedRun):
                    opened[uid] = run, self._laid_out(uid, run)
        return opened

    def _opened_one_by_one(self, uids: Sequence[str]) -> dict[str, tuple[MongoRun, dict[str, StoredStream]]]:
        opened = {}
        for uid in uids:
            with suppress(DamagedRun, RunNotFound):
                opened[uid] = self._run(uid)
        return opened

    def refresh(self, *, deep: bool = False) -> None:
        """Forget what was just read: every question asks the server anew."""
        self._recent.clear()

    def problems(self) -> Sequence[Problem]:
        """Name the documents among the runs that have no uid."""
        with self.connection.asking("for runs without a uid"):
            ids = uids_without_text(self.connection.database, self.schema, PROBLEMS)
        place = f"{self.connection.shown} {self.schema.collection}"
        return [Problem(place, f"the document of _id {one!r} has no uid that is a text: it is no run") for one in ids]

    def close(self) -> None:
        """Let go of the client."""
        for connection in self.connections:
            connection.close()

    def insert(self, start: Document) -> RunInsert:
        """Begin a run.

        Raises
        ------
        UnsupportedOperation
            Where the store was not made ``writable=True``.
        DuplicateRun
        """
        if not self.writable:
            raise UnsupportedOperation(
                f"{self.connection.shown} is open for reading only: give writable=True to write runs into it"
            )
        self.finish_removal(str(start.get("uid")))
        return self._insert(start)

    def remove(self, uid: str, *, permanent: bool = False) -> None:
        super().remove(uid)
        self._recent.drop(uid)

    @abstractmethod
    def _insert(self, start: Document) -> RunInsert:
        """Begin a run."""

    @abstractmethod
    def _indexes(self) -> Iterable[tuple[Connection, MongoIndex]]:
        """The indexes by which everything is found."""

    def proposed_indexes(self) -> list[str]:
        """Say, one a line, which indexes would make questions faster and are not there; changes nothing."""
        return [f"{connection.shown} {index}" for connection, index in self._missing()]

    def make_indexes(self) -> list[str]:
        """Make the indexes that `proposed_indexes` names, and return them."""
        made = []
        for connection, index in self._missing():
            with connection.asking(f"to make the index {index}"):
                index.make(connection.database)
            made.append(f"{connection.shown} {index}")
        return made

    def _missing(self) -> Iterator[tuple[Connection, MongoIndex]]:
        wanted: dict[Connection, list[MongoIndex]] = {}
        for connection, index in self._indexes():
            wanted.setdefault(connection, []).append(index)
        for connection, indexes in wanted.items():
            with connection.asking("for its indexes"):
                missing = missing_indexes(connection.database, indexes)
            yield from ((connection, index) for index in missing)


@contextmanager
def _reading(what: str) -> Iterator[None]:
    """Turn what is raised of documents that are not as they should be into a `DamagedRun`."""
    try:
        yield
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        if isinstance(error, IntakeBlueskyError):
            raise
        raise DamagedRun(f"{what} cannot be read: {type(error).__name__}: {error}") from error


def _shown(query: Query) -> str:
    code = repr(query)
    return code if len(code) < SHOWN else f"{code[:SHOWN]} ..."


def _time_of(event: Document) -> float:
    moment = event.get("time")
    return float(moment) if isinstance(moment, int | float) else float("-inf")
