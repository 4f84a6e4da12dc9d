"""What a store leaves of a query is finished here, run by run, and what that finds out of data is kept."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain, islice
from types import TracebackType
from typing import Final, Self

from intake_bluesky.assets import AssetOptions
from intake_bluesky.documents.model import RunSummary
from intake_bluesky.errors import AssetUnavailable, DamagedRun
from intake_bluesky.query import ALL, Query, Start, cheap_first, documents_needed, matches
from intake_bluesky.runtime.progress import track
from intake_bluesky.search.budget import Search
from intake_bluesky.search.run_view import StoredRun
from intake_bluesky.storage.contract import Order, Plan, RunStore, SupportsCount, SupportsStatistics, merge_runs

__all__ = ["Finishing"]

FIRST: Final = 64  # runs of whose data a store learns at first
LAST: Final = 2048  # and at most, each time


class Finishing:
    """The rest of one search.

    Parameters
    ----------
    store : RunStore
    residual : Query
        What is put to each run.
    assets : AssetOptions
        How files are found and read.
    search : Search
        How much may be read.

    Examples
    --------
    >>> from intake_bluesky.testing.memory import MemoryStore
    >>> store = MemoryStore([[("start", {"uid": uid, "time": 1.0, "sample": uid})] for uid in ("Ni", "Cu")])
    >>> with Finishing(store, Start("sample").regex("^C"), AssetOptions(), Search(store)) as finishing:
    ...     [run.uid for run in finishing.runs(Plan(ALL, finishing.residual, ordered=True), Order.NEWEST)]
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

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._search.end()

    def runs(self, plan: Plan, order: Order) -> Iterator[RunSummary]:
        """Yield the runs of a plan, in the order of the store: those it is certain of, and others that match."""
        return merge_runs(self._found(plan.pushed & plan.certain, order), self._others(plan, order), order)

    def count(self, plan: Plan) -> int:
        """Count the runs of a plan."""
        return self._counted(plan.pushed & plan.certain) + sum(1 for _ in self._others(plan, Order.NEWEST))

    def _counted(self, query: Query) -> int:
        if isinstance(self.store, SupportsCount) and query != ~ALL:
            return self.store.count(query)
        return sum(1 for _ in self._found(query, Order.NEWEST))

    def _found(self, query: Query, order: Order) -> Iterator[RunSummary]:
        return iter(()) if query == ~ALL else self.store.find(query, order=order)

    def _others(self, plan: Plan, order: Order) -> Iterator[RunSummary]:
        """Those that match of the runs of which the store is not certain."""
        asked = plan.pushed & ~plan.certain
        found = self._found(asked, order)
        if not self._asks_for_data:
            return filter(self.matches, found)
        first = next(found, None)
        if first is None:
            return iter(())
        total = self.store.count(asked) if isinstance(self.store, SupportsCount) else None
        tracked = track(chain((first,), found), total=total, what="reading data")
        if isinstance(self.store, SupportsStatistics):
            return self._measured(self.store, plan, tracked)
        return filter(self.matches, tracked)

    def _measured(self, store: SupportsStatistics, plan: Plan, runs: Iterator[RunSummary]) -> Iterator[RunSummary]:
        """Have the store learn of runs, some at a time, and look into those that it is still not certain of."""
        some = FIRST
        while chunk := list(islice(runs, some)):
            uids = [run.uid for run in chunk]
            self._search.take(store.measure(uids))
            these = plan.pushed & Start("uid").is_in(uids)
            certain = {run.uid for run in self._found(these & plan.certain, Order.NEWEST)}
            left = {run.uid for run in self._found(these & ~plan.certain, Order.NEWEST)}
            yield from (run for run in chunk if run.uid in certain or (run.uid in left and self.matches(run)))
            some = min(2 * some, LAST)

    def _looks_into(self, query: Query, assets: AssetOptions, run: RunSummary) -> bool:
        try:
            return matches(query, StoredRun(self.store, run, assets, self._search))
        except (DamagedRun, AssetUnavailable) as error:
            message = f"run {run.uid} counts as no match, for it cannot be looked into: {error}"
            warnings.warn(message, RuntimeWarning, stacklevel=2)
            return False
