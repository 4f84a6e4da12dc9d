"""Some runs of a store: how queries are finished, and how one run is found by uid, scan_id or place."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, islice
from typing import Any, Final

from intake_bluesky.assets import AssetOptions
from intake_bluesky.documents import RunHeader, RunSummary
from intake_bluesky.errors import AmbiguousRun, AssetUnavailable, DamagedRun, RunNotFound, UnsupportedQuery
from intake_bluesky.progress import track
from intake_bluesky.query import (
    ALL,
    Everything,
    FullText,
    PartialUID,
    Query,
    Start,
    all_of,
    cheap_first,
    documents_needed,
    from_json,
    from_mongo,
    from_text,
    matches,
    settle_scan_ids,
)
from intake_bluesky.query.bounds import bounds
from intake_bluesky.storage import (
    Order,
    Plan,
    RunStore,
    SupportsCount,
    SupportsStatistics,
    merge_runs,
    sort_runs,
)
from intake_bluesky.viewing import Allowance, StoredRun, reading_of

__all__ = ["Selection", "as_query"]

JSON_STAMP = "intake-bluesky query"
TEXT = "text:"
FIRST: Final = 64  # runs about whose data a store learns at first
LAST: Final = 2048  # and at most, each time
SHOWN = 5  # how many of several candidates a message names


def as_query(query: Query | Mapping[str, Any] | str | None) -> Query:
    """Make a query of what people write: a query, MongoDB's form, words, or None for all.

    Text that begins with ``text:`` is the text form (see `from_text`), so that it can be written in a YAML file.

    Examples
    --------
    >>> as_query({"plan_name": "scan"}) == from_mongo({"plan_name": "scan"})
    True
    >>> as_query("nickel foil")
    FullText('nickel foil')
    >>> as_query("text: plan_name == 'scan'")
    Start('plan_name') == 'scan'
    """
    if query is None:
        return ALL
    if isinstance(query, Query):
        return query
    if isinstance(query, str):
        return from_text(query.removeprefix(TEXT)) if query.startswith(TEXT) else FullText(query)
    if isinstance(query, Mapping):
        return from_json(json.dumps(query)) if JSON_STAMP in query else from_mongo(query)
    raise UnsupportedQuery(
        f"a search takes a query, a dict in MongoDB's form, or words, not {type(query).__name__}: {query!r}"
    )


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
                lambda asked, within=within: self._starts(within & asked),  # type: ignore[misc]
            )
        return query

    def _starts(self, query: Query) -> Iterator[Mapping[str, Any]]:
        return (run.start for run in replace(self, stages=()).runs(query))

    def plan(self, query: Query = ALL, order: Order = Order.NEWEST, *, by_statistics: bool = True) -> Plan:
        """How the store shares the work, for those of these runs that match `query` as well.

        What it does not answer narrows what it finds all the same, by the statistics that it keeps unless told
        otherwise: see `intake_bluesky.query.bounds`.
        """
        store = self.store
        plan = store.plan(self.settled() & query, order)
        if isinstance(plan.residual, Everything):
            return replace(plan, certain=ALL)
        reading = reading_of(self._reads) if by_statistics and isinstance(store, SupportsStatistics) else None
        possible, certain = bounds(
            plan.residual, lambda leaf: isinstance(store.plan(leaf, order).residual, Everything), reading
        )
        return replace(plan, pushed=plan.pushed & possible, certain=certain)

    @property
    def _reads(self) -> AssetOptions:
        return self.assets or AssetOptions(trusted=not self.store.remote)

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
        plan = self.plan(query, order)
        if plan.ordered and isinstance(plan.residual, Everything):
            yield from self.store.find(plan.pushed, order=order, offset=offset, limit=limit)
            return
        found: Iterable[RunSummary] = self._found(plan, order)
        if not plan.ordered:
            found = sort_runs(found, order)
        yield from islice(found, offset, None if limit is None else offset + limit)

    def count(self, query: Query = ALL) -> int:
        """Count those of these runs that match `query` as well.

        Raises
        ------
        SearchTooLarge
        """
        plan = self.plan(query)
        certain = plan.pushed & plan.certain
        if isinstance(self.store, SupportsCount):
            known = 0 if certain == ~ALL else self.store.count(certain)
            return known + sum(1 for _ in self._looked_into(plan, Order.NEWEST))
        return sum(1 for _ in self._found(plan, Order.NEWEST))

    def _found(self, plan: Plan, order: Order) -> Iterator[RunSummary]:
        """Those that the store is certain of and those that are looked into, in its order."""
        certain = self._finds(plan.pushed & plan.certain, order)
        return merge_runs(certain, self._looked_into(plan, order), order)

    def _finds(self, query: Query, order: Order) -> Iterator[RunSummary]:
        return iter(()) if query == ~ALL else self.store.find(query, order=order)

    def _looked_into(self, plan: Plan, order: Order) -> Iterator[RunSummary]:
        """Those that match of all the others that the store finds."""
        asked = plan.pushed & ~plan.certain
        found, allowance = self._finds(asked, order), Allowance(self.read_at_most)
        test = self._test(plan.residual, allowance)
        if "data" not in documents_needed(plan.residual):
            return filter(test, found)
        first = next(found, None)
        if first is None:
            return iter(())
        total = self.store.count(asked) if isinstance(self.store, SupportsCount) else None
        tracked = track(chain((first,), found), total=total, what="reading data")
        if not isinstance(self.store, SupportsStatistics):
            return filter(test, tracked)
        return self._measured(self.store, plan, tracked, test, allowance)

    def _measured(
        self,
        store: SupportsStatistics,
        plan: Plan,
        runs: Iterator[RunSummary],
        test: Callable[[RunSummary], bool],
        allowance: Allowance,
    ) -> Iterator[RunSummary]:
        """Have the store learn of runs, some at a time, and look only into those that it is still not certain of."""
        some = FIRST
        while chunk := list(islice(runs, some)):
            uids = [run.uid for run in chunk]
            allowance.take(store.measure(uids))
            these = Start("uid").is_in(uids)
            certain = {run.uid for run in self._finds(plan.pushed & plan.certain & these, Order.NEWEST)}
            possible = {run.uid for run in self._finds(plan.pushed & ~plan.certain & these, Order.NEWEST)}
            yield from (run for run in chunk if run.uid in certain or (run.uid in possible and test(run)))
            some = min(2 * some, LAST)

    def __contains__(self, run: RunSummary) -> bool:
        return self._test(self.settled(), Allowance(self.read_at_most))(run)

    def _test(self, query: Query, allowance: Allowance) -> Callable[[RunSummary], bool]:
        """What tells of a run whether it matches."""
        ordered = cheap_first(query)
        if documents_needed(ordered) <= {"start", "stop"}:
            return partial(matches, ordered)
        return partial(self._looks_into, ordered, allowance)

    def _looks_into(self, query: Query, allowance: Allowance, run: RunSummary) -> bool:
        try:
            return matches(query, StoredRun(self.store, run, self._reads, allowance))
        except (DamagedRun, AssetUnavailable) as error:
            message = f"run {run.uid} counts as no match, for it cannot be looked into: {error}"
            warnings.warn(message, RuntimeWarning, stacklevel=2)
            return False

    def exact(self, uid: str) -> RunHeader:
        """Open the run of a full uid.

        Raises
        ------
        RunNotFound
        """
        header = self.store.header(uid)
        if RunSummary.of(header.start, header.stop) not in self:
            raise RunNotFound(f"run {uid} is in the store and not among those that match {self.query!r}")
        return header

    def header(self, uid: str) -> RunHeader:
        """Open the run of a full uid, or of the beginning of one.

        Raises
        ------
        RunNotFound, AmbiguousRun
        """
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
        raise RunNotFound(f"no run has scan_id {scan_id}{self._among()}")

    def newest(self, place: int) -> RunSummary:
        """Find the newest run but `place`: 0 is the newest.

        Raises
        ------
        IndexError
        """
        for run in self.runs(offset=place, limit=1):
            return run
        problems = self.store.problems()
        more = f"; not read: {problems[0].where}, {problems[0].message} ({len(problems)} in all)" if problems else ""
        raise IndexError(f"{-place - 1} was asked and there are {self.count()} runs{self._among()}{more}")

    def _among(self) -> str:
        return f" among those that match {self.query!r}" if self.stages else ""

    def cut(self, part: slice) -> Selection:
        """The runs at the places of a slice, as they are now: the oldest is at 0, the newest at -1."""
        if part == slice(None):
            return self
        if (part.step or 1) == 1 and part.stop is None and (part.start or 0) < 0:
            return self._of(run.uid for run in self.runs(limit=-part.start))
        total = self.count()
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
        whole = {run.uid for run in self.runs(Start("uid").is_in(texts))} if texts else set()
        return self._of(key if isinstance(key, str) and key in whole else self.at(key).uid for key in keys)

    def at(self, key: str | int) -> RunSummary:
        """Find the run of a uid (or its beginning), a scan_id, or a negative place, without opening it."""
        if isinstance(key, str):
            return self.summary(key)
        return self.newest(-key - 1) if key < 0 else self.latest(key)

    def _of(self, uids: Iterable[str]) -> Selection:
        return self.narrowed(Start("uid").is_in(list(uids)))
