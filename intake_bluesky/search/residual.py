"""What a store leaves of a query is finished here, run by run, and what that finds out of data is kept."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import chain, islice
from typing import Final

from intake_bluesky.assets import AssetOptions
from intake_bluesky.documents.model import RunSummary
from intake_bluesky.errors import AssetUnavailable, DamagedRun
from intake_bluesky.query import Everything, Query, Start, cheap_first, documents_needed, matches
from intake_bluesky.runtime.progress import track
from intake_bluesky.search.budget import Search
from intake_bluesky.search.plan import SearchPlan, uids_of
from intake_bluesky.search.run_view import StoredRun
from intake_bluesky.storage.contract import Plan, RunStore
from intake_bluesky.storage.order import Order, merge_runs, sort_runs
from intake_bluesky.storage.statistics import StatisticsCache

FIRST: Final = 64  # runs that a store measures at first: few, for the first hits wait for them
LAST: Final = 2048  # and at most, each time, once it shows that all are wanted


class Finishing:
    """The rest of one search: the residual is put to each run that the store leaves open.

    Examples
    --------
    >>> from intake_bluesky.testing.memory import MemoryStore
    >>> store = MemoryStore([[("start", {"uid": uid, "time": 1.0, "sample": uid})] for uid in ("Ni", "Cu")])
    >>> finishing = Finishing(store, Start("sample").regex("^C"), AssetOptions(), Search(store))
    >>> [run.uid for run in finishing.runs(SearchPlan(None, Plan(), finishing.residual), Order.NEWEST)]
    ['Cu']
    """

    def __init__(self, store: RunStore, residual: Query, assets: AssetOptions, search: Search) -> None:
        self.store, self.residual = store, residual
        self._search = search
        ordered, needed = cheap_first(residual), documents_needed(residual)
        self._asks_for_data = "data" in needed
        self.matches: Callable[[RunSummary], bool] = partial(matches, ordered)
        """Tell whether a run matches the residual."""
        if not needed <= {"start", "stop"}:
            self.matches = partial(self._looks_into, ordered, assets)

    def runs(self, plan: SearchPlan, order: Order) -> Iterator[RunSummary]:
        """Yield the runs of a plan, in order: those the store is certain of, and others that match."""
        others = self._others(plan)  # first: what is measured from here on is in both, not in neither
        found: Iterable[RunSummary] = merge_runs(self._found(plan.certain), others, order)
        return _each_once(found if plan.ordered else sort_runs(found, order))

    def count(self, plan: SearchPlan) -> int:
        """Count the runs of a plan."""
        # The others first, as in `runs`: a run that anybody measures meanwhile is in both then, and counts once.
        others = {run.uid for run in self._others(plan)}
        if plan.certain is None:
            return len(others)
        return len(others.union(uids_of(self.store, plan.certain))) if others else self.store.count(plan.certain)

    def _found(self, plan: Plan | None) -> Iterator[RunSummary]:
        return iter(()) if plan is None else iter(self.store.find(plan))

    def _others(self, plan: SearchPlan) -> Iterator[RunSummary]:
        """Those that match of the runs of which the store is not certain."""
        found = self._found(plan.open)
        if not self._asks_for_data:
            return filter(self.matches, found)
        # Before they are counted for the progress bar, which is for nothing where no run is open.
        first = next(found, None)
        if first is None or plan.open is None:
            return iter(())
        tracked = track(chain((first,), found), total=self.store.count(plan.open), what="reading data")
        statistics = self.store.statistics
        if statistics is None:
            return filter(self.matches, tracked)
        return self._measured(statistics, plan, tracked)

    def _measured(
        self, statistics: StatisticsCache, plan: SearchPlan, runs: Iterator[RunSummary]
    ) -> Iterator[RunSummary]:
        """Have the store measure runs, some at a time, and look into those that it is still not certain of."""
        some = FIRST
        while chunk := list(islice(runs, some)):
            uids = [run.uid for run in chunk]
            self._search.take(statistics.measure(uids))
            certain, left = (self._among(uids, part) for part in (plan.certain, plan.open))
            yield from (run for run in chunk if run.uid in certain or (run.uid in left and self.matches(run)))
            some = min(2 * some, LAST)

    def _among(self, uids: Sequence[str], plan: Plan | None) -> set[str]:
        """Those of some runs that a plan finds now."""
        if plan is None:
            return set()
        among = self.store.plan(plan.pushed & Start("uid").is_in(uids), plan.order)
        # What a store leaves of a query that names runs is not put to them here: all that it finds without them is.
        taken = isinstance(among.residual, Everything)
        return {run.uid for run in self._found(among if taken else plan)}

    def _looks_into(self, query: Query, assets: AssetOptions, run: RunSummary) -> bool:
        try:
            return matches(query, StoredRun(self.store, run, assets, self._search))
        except (DamagedRun, AssetUnavailable) as error:
            # No error: one lost file would hide all other runs. The run matches neither the query nor its negation.
            message = f"run {run.uid} counts as no match, for it cannot be looked into: {error}"
            warnings.warn(message, RuntimeWarning, stacklevel=2)
            return False


def _each_once(runs: Iterable[RunSummary]) -> Iterator[RunSummary]:
    """Leave out the second of two that are one: a run that was open, and is certain since it was measured."""
    last = None
    for run in runs:
        if run.uid != last:
            yield run
        last = run.uid
