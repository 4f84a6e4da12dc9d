"""How a search is done: what the store answers, and what is left to look at, run by run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from intake_bluesky.query import ALL, Everything, Query, documents_needed, split
from intake_bluesky.query.pruning import bounds
from intake_bluesky.storage.contract import Plan, RunStore
from intake_bluesky.storage.order import Order


@dataclass(frozen=True, slots=True)
class SearchPlan:
    """Two questions to a store, each translated once, and what is put to the runs that the second finds.

    Attributes
    ----------
    certain : Plan or None
        Finds runs that match for sure; None where there are none.
    open : Plan or None
        Finds runs that match if they match `residual`; None where nothing is left open.
    residual : Query
    pushed : Query
        What both questions ask for: all runs that are found match it.
    """

    certain: Plan | None
    open: Plan | None
    residual: Query = ALL
    pushed: Query = ALL

    @property
    def whole(self) -> Plan | None:
        """The plan by which the store does all of the search; None where something is left to do."""
        return self.certain if self.open is None and isinstance(self.residual, Everything) else None

    @property
    def ordered(self) -> bool:
        """Whether the store finds the runs in order."""
        return all(plan.ordered for plan in (self.certain, self.open) if plan is not None)


def plan_search(store: RunStore, query: Query, order: Order, reading: Callable[[], str] | None = None) -> SearchPlan:
    """Share the work of a search between a store and `intake_bluesky.query.matches`.

    What the store does not answer narrows what it finds all the same: see `intake_bluesky.query.pruning`.

    The query has no `ScanID` that depends on other runs. `reading` gives how files are read, where the statistics that
    the store keeps are to decide.

    Examples
    --------
    >>> from intake_bluesky.query import PartialUID, Start
    >>> from intake_bluesky.testing import MemoryStore
    >>> plan = plan_search(MemoryStore(), PartialUID("9acjef") & (Start("plan_name") == "scan"), Order.NEWEST)
    >>> plan.open.pushed, plan.residual, plan.whole
    (PartialUID('9acjef'), Start('plan_name') == 'scan', None)
    """
    pushed, residual = split(query, store.answers)
    if pushed == ~ALL:
        return SearchPlan(None, None, ALL, pushed)
    if isinstance(residual, Everything):
        plan = store.plan(query, order)
        # A store that answers each condition may not take all of them at once: a statement has a largest size.
        if isinstance(plan.residual, Everything):
            return SearchPlan(plan, None, ALL, plan.pushed)
        return SearchPlan(None, plan, plan.residual, plan.pushed)
    way = reading() if reading is not None and "data" in documents_needed(residual) else None
    possible, sure, between = bounds(residual, store.answers, way)
    left, certain = (None if part == ~ALL else store.plan(part, order) for part in (pushed & between, pushed & sure))
    if all(isinstance(plan.residual, Everything) for plan in (left, certain) if plan is not None):
        return SearchPlan(certain, left, residual, pushed & possible)
    # With the bounds it was more than the store takes at once: without them it finds more runs, and all are looked at.
    plan = store.plan(pushed, order)
    return SearchPlan(None, plan, plan.residual & residual, plan.pushed)


def uids_of(store: RunStore, plan: Plan) -> Iterator[str]:
    """The uids of the runs that a plan finds, alone where the store has them without reading documents."""
    found = store.lookup((), plan)
    return (run.uid for run in store.find(plan)) if found is None else (uid for uid, _, _ in found)
