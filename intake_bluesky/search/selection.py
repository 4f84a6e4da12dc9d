"""Some runs of a store: how queries are finished, and how one run is found by uid, scan_id or place."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

from intake_bluesky.assets import AssetOptions
from intake_bluesky.documents.model import RunHeader, RunSummary
from intake_bluesky.errors import AmbiguousRun, RunNotFound
from intake_bluesky.query import ALL, Everything, Exists, PartialUID, Path, Query, Start, all_of, settle_scan_ids
from intake_bluesky.search.plan import SearchPlan, plan_search
from intake_bluesky.storage.contract import RunStore
from intake_bluesky.storage.order import Order

if TYPE_CHECKING:
    from intake_bluesky.search.residual import Finishing
    from intake_bluesky.search.unknown_keys import UnknownKeys

__all__ = ["Selection"]

T = TypeVar("T")

SHOWN = 5  # how many of several candidates a message names


@dataclass(frozen=True, slots=True)
class Selection:
    """The runs of a store that several queries, one within the other, leave.

    Making one reads nothing. What the store cannot do of a query is finished here, run by run: what start and stop
    decide first, then descriptors, then data. A run whose descriptors or data cannot be read, where they would decide,
    matches neither a query nor its negation; a `RuntimeWarning` names it.

    Attributes
    ----------
    store : RunStore
    stages : tuple of Query
        A `ScanID` that takes the latest of several takes it among what the stages before it left.
    assets : AssetOptions or None
        How a query over data finds and reads files; None for the defaults, see `StoredRun`.
    read_at_most : int or None
        Bytes of data that one search reads; None for whatever it takes.
    unknown : UnknownKeys or None
        What looks for the keys of the query in the store where nothing was found, and warns; None looks for none.

    Examples
    --------
    >>> from intake_bluesky.testing.memory import MemoryStore
    >>> starts = {"uid": "old", "time": 1.0, "scan_id": 5}, {"uid": "new", "time": 2.0, "scan_id": 5}
    >>> runs = [[("start", start)] for start in starts]
    >>> selection = Selection(MemoryStore(runs))
    >>> [run.uid for run in selection.runs()], selection.latest(5).uid
    (['new', 'old'], 'new')
    """

    store: RunStore
    stages: tuple[Query, ...] = ()
    assets: AssetOptions | None = None
    read_at_most: int | None = None
    unknown: UnknownKeys | None = field(default=None, compare=False, repr=False)

    @property
    def query(self) -> Query:
        """All stages in one."""
        return all_of(self.stages)

    def narrowed(self, query: Query) -> Selection:
        """Those of these runs that match."""
        return self if isinstance(query, Everything) else replace(self, stages=(*self.stages, query))

    def settled(self) -> Query:
        """The query with each `ScanID` written out; asks the store only where there is one to settle."""
        query = ALL
        for stage in self.stages:
            within = query
            query = within & settle_scan_ids(
                stage,
                lambda asked, within=within: self._starts(within & asked),  # type: ignore[misc]  # the `within` of this stage
            )
        return query

    def _starts(self, query: Query) -> Iterator[Mapping[str, Any]]:
        return (run.start for run in replace(self, stages=()).runs(query))

    def plan(self, query: Query = ALL, order: Order = Order.NEWEST, *, by_statistics: bool = True) -> SearchPlan:
        """How the store shares the work, for those of these runs that match `query` as well.

        Statistics that the store keeps decide queries over data, unless `by_statistics` is false.
        """
        decides = by_statistics and self.store.statistics is not None
        return plan_search(self.store, self.settled() & query, order, self._reading if decides else None)

    def _reading(self) -> str:
        from intake_bluesky.search.run_view import reading_of  # late, as all that opens runs

        return reading_of(self._reads)

    @property
    def _reads(self) -> AssetOptions:
        return self.assets or AssetOptions(trusted=self.store.trusts_paths)

    def runs(
        self, query: Query = ALL, *, order: Order = Order.NEWEST, offset: int = 0, limit: int | None = None
    ) -> Iterator[RunSummary]:
        """Yield those of these runs that match `query` as well.

        Reads no header and no event but for what the store leaves of queries over descriptors and data. Runs are held
        in memory only where the store does not order them.

        Raises
        ------
        SearchTooLarge
            Where that is more than `read_at_most`.
        """
        found = self._runs(query, order, offset, limit)
        # Only of the searches of users: those that this package adds to them look for runs that need not be there.
        yield from found if offset or limit == 0 or query is not ALL else self.watched(found)

    def watched(self, found: Iterator[T]) -> Iterator[T]:
        """Pass on what was found of these runs; where that is nothing, look for keys that no run has."""
        for one in found:
            self.some_found()
            yield one
            yield from found
            return
        self.nothing_found()

    def nothing_found(self, query: Query = ALL) -> None:
        """Warn of keys of these runs' query, and of `query`, that no run has."""
        if self.unknown is not None:
            self.unknown.look(self.store, self.query & query)

    def some_found(self) -> None:
        """Warn of keys that no run has and that make a side of `|` in these runs' query find nothing."""
        if self.unknown is not None:
            self.unknown.look_at_sides(self.store, self.query)

    def none_has(self, paths: Iterable[Path]) -> None:
        """Warn of those of some keys, which none of these runs has, that no run has."""
        asked = all_of(Exists(path) for path in paths)
        if self.unknown is not None and asked is not ALL:
            self.unknown.look(self.store, asked)

    def _runs(self, query: Query, order: Order, offset: int, limit: int | None) -> Iterator[RunSummary]:
        plan = self.plan(query, order)
        if plan.whole is not None and plan.ordered:
            yield from self.store.find(plan.whole, offset=offset, limit=limit)
            return
        with self._finishing(plan.residual) as finishing:
            yield from islice(finishing.runs(plan, order), offset, None if limit is None else offset + limit)

    def count(self, query: Query = ALL) -> int:
        """Count those of these runs that match `query` as well.

        Raises
        ------
        SearchTooLarge
        """
        counted = self._count(self.plan(query))
        if query is ALL:
            self.some_found() if counted else self.nothing_found()
        return counted

    def _count(self, plan: SearchPlan) -> int:
        if plan.whole is not None:
            return self.store.count(plan.whole)
        with self._finishing(plan.residual) as finishing:
            return finishing.count(plan)

    def __contains__(self, run: RunSummary) -> bool:
        with self._finishing(self.settled()) as finishing:
            return finishing.matches(run)

    @contextmanager
    def _finishing(self, residual: Query) -> Iterator[Finishing]:
        from intake_bluesky.search.budget import Search
        from intake_bluesky.search.residual import Finishing

        with Search(self.store, self.read_at_most) as search:
            yield Finishing(self.store, residual, self._reads, search)

    def exact(self, uid: str) -> RunHeader:
        """Open the run of a full uid.

        Raises
        ------
        RunNotFound
        """
        header = self.store.header(uid)
        if self.stages and RunSummary.of(header.start, header.stop) not in self:
            raise RunNotFound(f"run {uid} is in the store and not among those that match {self.query!r}")
        return header

    def header(self, uid: str) -> RunHeader:
        """Open the run of a full uid, or of the beginning of one.

        Raises
        ------
        RunNotFound, AmbiguousRun
        """
        # Mostly the uid is a full one, and the run is opened without a search.
        with suppress(RunNotFound):
            return self.exact(uid)
        return self.store.header(self.summary(uid).uid)

    def summary(self, uid: str) -> RunSummary:
        """Find the run of a full uid, or of the beginning of one, without opening it.

        Raises
        ------
        RunNotFound, AmbiguousRun
        """
        found = list(self.runs(PartialUID(uid), limit=SHOWN + 1)) if uid else []
        # A full uid may be the beginning of another.
        whole = [run for run in found if run.uid == uid]
        if len(found) == 1 or whole:
            return (whole or found)[0]
        if found:
            more = " ..." if len(found) > SHOWN else ""
            raise AmbiguousRun(
                f"several runs have uids that begin with {uid!r}: "
                f"{', '.join(run.uid for run in found[:SHOWN])}{more}. Give more of the uid"
            )
        raise RunNotFound(f"no run has a uid that begins with {uid!r}{self._among()}; a scan_id is given as an int")

    def latest(self, scan_id: int) -> RunSummary:
        """Find the newest run of a scan_id.

        Raises
        ------
        RunNotFound
        """
        for run in self.runs(Start("scan_id") == scan_id, limit=1):
            return run
        raise RunNotFound(f"no run has scan_id {scan_id}{self._among()}; a place is counted from the newest, at -1")

    def newest(self, place: int) -> RunSummary:
        """Find the newest run but `place`: 0 is the newest.

        Raises
        ------
        IndexError
        """
        for run in self.runs(offset=place, limit=1):
            return run
        raise IndexError(f"{-place - 1} was asked and there are {self.count()} runs{self._among()}{self.unread()}")

    def unread(self) -> str:
        """What of the store could not be read, for the end of an error; "" where all was."""
        problems = self.store.problems()
        return f"; not read: {problems[0].where}, {problems[0].message} ({len(problems)} in all)" if problems else ""

    def _among(self) -> str:
        return f" among those that match {self.query!r}" if self.stages else ""

    def cut(self, part: slice) -> Selection:
        """The runs at the places of a slice, as they are now: the oldest is at 0, the newest at -1."""
        if part == slice(None):
            return self
        # Of the newest few nobody has to count all runs.
        if (part.step or 1) == 1 and part.stop is None and (part.start or 0) < 0:
            return self._of(run.uid for run in self.runs(limit=-part.start))
        total = self.count()
        # Places count from the oldest, and runs come from the newest.
        from_newest = {total - 1 - place for place in range(*part.indices(total))}
        first, last = min(from_newest, default=0), max(from_newest, default=-1)
        found = enumerate(self.runs(offset=first, limit=last - first + 1), first)
        return self._of(run.uid for place, run in found if place in from_newest)

    def listed(self, keys: Iterable[str | int]) -> Selection:
        """The runs of these uids (or their beginnings), scan_ids and negative places.

        Raises
        ------
        RunNotFound, AmbiguousRun, IndexError
        """
        keys = list(keys)
        texts = [key for key in keys if isinstance(key, str)]
        # One search for all full uids; what is none is looked for by itself.
        whole = {run.uid for run in self.runs(Start("uid").is_in(texts))} if texts else set()
        return self._of(key if isinstance(key, str) and key in whole else self.at(key).uid for key in keys)

    def at(self, key: str | int) -> RunSummary:
        """Find the run of a uid (or its beginning), a scan_id, or a negative place, without opening it."""
        if isinstance(key, str):
            return self.summary(key)
        return self.newest(-key - 1) if key < 0 else self.latest(key)

    def _of(self, uids: Iterable[str]) -> Selection:
        return self.narrowed(Start("uid").is_in(list(uids)))
