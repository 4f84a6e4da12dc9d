"""What the stores over both schemas share: finding runs, describing them and reading their events."""

from __future__ import annotations

import heapq
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from typing import Any, ClassVar, Final

from intake_bluesky.documents.model import ALL_KEYS, DatumPage, Document, EventPage, Keys, RunHeader, RunSummary
from intake_bluesky.documents.pages import events_of
from intake_bluesky.documents.statistics import Statistics
from intake_bluesky.errors import DamagedRun, IntakeBlueskyError, RunNotFound, StreamNotFound, UnsupportedOperation
from intake_bluesky.query import ALL, Path, Query, split
from intake_bluesky.query.pruning import Kept
from intake_bluesky.search.run_statistics import measured
from intake_bluesky.storage.contract import Answer, Order, Plan, Problem, Recorded, RunInsert, RunStore, merge_runs
from intake_bluesky.storage.header_cache import HeaderCache
from intake_bluesky_mongo.bson_documents import from_bson
from intake_bluesky_mongo.connections import Connection
from intake_bluesky_mongo.events import EventReader, Times, Wanted
from intake_bluesky_mongo.find import Listing, Schema, uids_without_text
from intake_bluesky_mongo.indexes import Index, missing_indexes
from intake_bluesky_mongo.large_values import gathered
from intake_bluesky_mongo.prefetch import Ahead, groups
from intake_bluesky_mongo.run_layout import StoredRun, StoredStream
from intake_bluesky_mongo.shared_statistics import Packed, put_shared, shared
from intake_bluesky_mongo.statistics import Keeper, Part, packed, place_of
from intake_bluesky_mongo.translator import Translator
from intake_bluesky_mongo.writer import Buffering

__all__ = ["MongoStore"]

OPTIONS: Final[Mapping[str, str]] = {
    "max_time_ms": "maxTimeMS", "batch_size": "batchSize", "hint": "hint", "comment": "comment",
    "allow_disk_use": "allowDiskUse",
}  # fmt: skip
"""Options of pymongo's ``find`` that change how is found, not what; and what ``aggregate`` calls them."""
FRESH: Final = 0.5  # seconds for which what was just learnt of a run is used again
PROBLEMS: Final = 100
MEASURED: Final = 64  # runs of which statistics are kept at once
OWN: Final = frozenset({"_times", "_recent", "_keeper"})  # of each process
SHOWN: Final = 300  # letters of a query in a message


class MongoStore(RunStore):
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
        self.writable = bool(writable)
        self.buffering = buffering or Buffering()
        self._begin()

    def _begin(self) -> None:
        self._times = Times()
        self._recent = HeaderCache[tuple[StoredRun, dict[str, StoredStream]]](age=FRESH)
        self._keeper = Keeper(place_of(type(self).schema.collection, self.connection))

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
    def remote(self) -> bool:
        return False  # a facility's own database, whose files this machine mounts

    @property
    def connection(self) -> Connection:
        """Where the runs are."""
        return self.connections[0]

    def plan(self, query: Query, order: Order) -> Plan:
        """Take what a filter says exactly, and what statistics kept here do."""
        by_filter = Translator(self.schema.places).exact
        by_statistics = self._keeper.takes(query)

        def exact(leaf: Query) -> bool:
            return by_statistics if isinstance(leaf, Kept) else by_filter(leaf)

        return Plan(*split(query, exact), ordered=True)

    def _listing(self, query: Query, *, brief: bool = False) -> Listing:
        options = {OPTIONS[name]: value for name, value in self.find_kwargs.items()}
        return Listing(self.connection.database, self.schema, query, options, brief)

    def find(
        self,
        query: Query = ALL,
        *,
        order: Order = Order.NEWEST,
        offset: int = 0,
        limit: int | None = None,
    ) -> Iterator[RunSummary]:
        """Yield the runs that match, in `order`: a page of runs is one question."""
        return self._found(query, order, offset, limit)

    def lookup(
        self, paths: Sequence[Path], query: Query = ALL, *, order: Order = Order.NEWEST
    ) -> Iterator[tuple[str, float | None, tuple[Any, ...]]] | None:
        """Yield uid and time of the runs that match, in `order`; None where values at paths are asked for."""
        return None if paths else ((run.uid, run.time, ()) for run in self._found(query, order, brief=True))

    def _found(
        self, query: Query, order: Order, offset: int = 0, limit: int | None = None, *, brief: bool = False
    ) -> Iterator[RunSummary]:
        with self.connection.asking(f"for the runs where {_shown(query)}"):
            parts = self._keeper.parts(query)
            if len(parts) == 1 and parts[0].whole:
                yield from self._listing(parts[0].query, brief=brief).find(order, offset, limit)
                return
            found: Iterator[RunSummary] = iter(())
            for part in parts:
                found = merge_runs(found, self._of_part(part, order, brief=brief), order)
            yield from islice(found, offset, None if limit is None else offset + limit)

    def _of_part(self, part: Part, order: Order, *, brief: bool) -> Iterator[RunSummary]:
        return (run for run in self._listing(part.query, brief=brief).find(order, 0, None) if part.has(run.uid))

    def count(self, query: Query = ALL) -> int:
        """Count the runs that match."""
        with self.connection.asking(f"how many runs there are where {_shown(query)}"):
            return sum(map(self._count, self._keeper.parts(query)))

    def _count(self, part: Part) -> int:
        listing = self._listing(part.query)
        return listing.count() if part.whole else sum(map(part.has, listing.uids()))

    def server_plan(self, query: Query, order: Order) -> str:
        """Say by which indexes the server finds runs, as its ``explain`` does; no run is listed."""
        with self.connection.asking(f"how it finds the runs where {_shown(query)}"):
            return self._listing(self._keeper.parts(query)[0].query).server_plan(order)

    @abstractmethod
    def _find_run(self, uid: str) -> StoredRun | None:
        """Look for one run, in one round trip where the server can."""

    @abstractmethod
    def _find_runs(self, uids: Sequence[str]) -> dict[str, StoredRun]:
        """Look for several runs, in two round trips where the server can, each as `_find_run` would find it."""

    def _run(self, uid: str) -> tuple[StoredRun, dict[str, StoredStream]]:
        with self.connection.asking(f"for run {uid}"):
            found = self._find_run(uid)
            if found is None:
                raise RunNotFound(f"{self.connection.shown} has no run {uid!r}: a store takes full uids")
            streams = self._laid_out(uid, found)
        self._remember(uid, found, streams)
        return found, streams

    def _laid_out(self, uid: str, found: StoredRun) -> dict[str, StoredStream]:
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

    def _remember(self, uid: str, found: StoredRun, streams: dict[str, StoredStream]) -> None:
        self._recent.put(uid, (found, streams))

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

    def statistics(self, values: Recorded) -> Statistics | None:
        """Give what is kept of some values."""
        return self._keeper.statistics(values)

    def keep(self, found: Sequence[tuple[Recorded, Statistics | Answer]]) -> None:
        """Keep what was found, on this machine."""
        self._keeper.keep(found)

    def measure(self, uids: Sequence[str]) -> int:
        """Read the events of those runs that have stopped and of which nothing is kept."""
        missing = self._keeper.unmeasured(uids)
        return sum(self._measure(missing[n : n + MEASURED]) for n in range(0, len(missing), MEASURED))

    def _measure(self, uids: Sequence[str]) -> int:
        """As `measure`, but for what others left in the database; leaves it there if this store may write."""
        runs = {uid: found for uid, found in self._opened(uids).items() if found[0].stop is not None}
        known = shared(self.connection, self.schema.collection, list(runs)) if runs else {}
        known = {uid: told for uid, told in known.items() if told[0] == runs[uid][0].version}
        new: dict[str, Packed] = {}
        read = 0
        for some in groups({uid: streams for uid, (_, streams) in runs.items() if uid not in known}):
            with self.connection.asking(f"for the events of {len(some)} runs"):
                ahead = Ahead(self, self._reader, some)
            for uid in some:
                try:
                    header = runs[uid][0].header(runs[uid][1])
                except (KeyError, DamagedRun):  # as whoever looks into it is told
                    continue
                self._remember(uid, *runs[uid])
                found, size = measured(ahead, header)
                new[uid] = header.version, packed(found)
                read += size
        self._keeper.keep_all(known | new)
        if self.writable:
            put_shared(self.connection, self.schema.collection, new)
        return read

    def _opened(self, uids: Sequence[str]) -> dict[str, tuple[StoredRun, dict[str, StoredStream]]]:
        """Some runs, asked for together, without those that are not there or damaged."""
        with self.connection.asking(f"for {len(uids)} runs"):
            try:
                found = self._find_runs(uids)
            except (AttributeError, KeyError, TypeError, ValueError):  # one of them is odd
                return self._opened_one_by_one(uids)
            opened = {}
            for uid, run in found.items():
                with suppress(DamagedRun):
                    opened[uid] = run, self._laid_out(uid, run)
        return opened

    def _opened_one_by_one(self, uids: Sequence[str]) -> dict[str, tuple[StoredRun, dict[str, StoredStream]]]:
        opened = {}
        for uid in uids:
            with suppress(DamagedRun, RunNotFound):
                opened[uid] = self._run(uid)
        return opened

    def refresh(self, *, deep: bool = False) -> None:
        """Forget what was just learnt, every question asks the server anew; `deep`, also statistics of changed runs."""
        self._recent.clear()
        if deep:
            kept = self._keeper.versions()
            uids = list(kept)
            for some in (uids[n : n + MEASURED] for n in range(0, len(uids), MEASURED)):
                now = {uid: found.version for uid, (found, _) in self._opened(some).items()}
                self._keeper.forget([uid for uid in some if now.get(uid) != kept[uid]])

    def problems(self) -> Sequence[Problem]:
        """Name what stands among the runs and has no uid."""
        with self.connection.asking("for runs without a uid"):
            ids = uids_without_text(self.connection.database, self.schema, PROBLEMS)
        place = f"{self.connection.shown} {self.schema.collection}"
        return [Problem(place, f"the document of _id {one!r} has no uid that is a text: it is no run") for one in ids]

    def close(self) -> None:
        """Let go of the client, and of the file of statistics."""
        self._keeper.close()
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
        return self._insert(start)

    @abstractmethod
    def _insert(self, start: Document) -> RunInsert:
        """Begin a run."""

    @abstractmethod
    def _indexes(self) -> Iterable[tuple[Connection, Index]]:
        """The indexes by which everything is found."""

    def proposed_indexes(self) -> list[str]:
        """Say, one a line, which indexes would make questions faster and are not there; changes nothing."""
        return [f"{connection.shown} {index}" for connection, index in self._missing()]

    def make_indexes(self) -> list[str]:
        """Make the indexes that `proposed_indexes` names, and tell them."""
        made = []
        for connection, index in self._missing():
            with connection.asking(f"to make the index {index}"):
                index.make(connection.database)
            made.append(f"{connection.shown} {index}")
        return made

    def _missing(self) -> Iterator[tuple[Connection, Index]]:
        wanted: dict[Connection, list[Index]] = {}
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
