"""How a search is done, in words: what the store does, what is finished run by run, and why."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from intake_bluesky.query import ALL, And, Everything, Not, Or, PathQuery, Query, documents_needed, leaves
from intake_bluesky.query.split import answered
from intake_bluesky.search.ordering import Arrangement
from intake_bluesky.search.selection import Selection
from intake_bluesky.storage.contract import RunStore


@dataclass(frozen=True, slots=True, repr=False)
class Explanation:
    """In words, how a search is done.

    Attributes
    ----------
    pushed : Query
        What the store answers.
    residual : Query
        What is finished run by run.
    ordered : bool
        Whether the store finds the runs in order.
    reasons : tuple of (Query, str)
        Each part of the residual, and why the store leaves it.
    order : str
        Who puts the runs in order, and how.
    candidates : int or None
        How many runs the store finds, among which the residual looks; None where that was not asked.
    server : str
        How the server goes about it; "" where there is none, or that was not asked.
    decided : tuple of int or None
        Of how many of these the store, by statistics that it keeps, is certain that they match, and how many it
        leaves open; None where that was not asked, or where it keeps none.
    """

    pushed: Query
    residual: Query
    ordered: bool
    reasons: tuple[tuple[Query, str], ...] = ()
    order: str = ""
    candidates: int | None = None
    server: str = ""
    decided: tuple[int, int] | None = None

    def __str__(self) -> str:
        return "\n".join(self._lines())

    __repr__ = __str__

    def _lines(self) -> Iterator[str]:
        found = "" if self.candidates is None else f" ({self.candidates:,})"
        what = "all runs" if isinstance(self.pushed, Everything) else f"runs where {self.pushed!r}"
        yield f"The store finds: {what}{found}"
        if self.server:
            yield f"  by {self.server}"
        if not self.reasons:
            yield "Nothing is left to finish run by run."
        for part, reason in self.reasons:
            yield f"Finished run by run: {part!r}"
            yield f"  because {reason}"
        if self.decided is not None:
            certain, left = self.decided
            out = (self.candidates or 0) - certain - left
            yield f"Kept statistics tell: {certain:,} match, {out:,} do not, {left:,} are looked into."
        yield f"Order: {self.order}"


def explain(arrangement: Arrangement, *, run: bool = False) -> Explanation:
    """Say how the runs of an arrangement are found; with `run`, count those that the store finds.

    Examples
    --------
    >>> from intake_bluesky.query import PartialUID, Start
    >>> from intake_bluesky.search.selection import Selection
    >>> from intake_bluesky.testing.memory import MemoryStore
    >>> query = PartialUID("9acjef") & (Start("plan_name") == "scan")
    >>> explain(Arrangement(Selection(MemoryStore(), (query,))), run=True)
    The store finds: runs where PartialUID('9acjef') (0)
    Finished run by run: Start('plan_name') == 'scan'
      because the store does not answer this
    Order: the newest first, by the store
    """
    selection = arrangement.selection
    store, sorting = selection.store, arrangement.sorting
    # Without statistics, so that residual and candidates show all of the query; `decided` has what statistics add.
    plan = selection.plan(order=sorting.ties, by_statistics=False)
    by_statistics = store.statistics is not None and "data" in documents_needed(plan.residual)
    found = store.plan(plan.pushed, sorting.ties) if run and plan.pushed != ~ALL else None
    return Explanation(
        plan.pushed,
        plan.residual,
        plan.ordered,
        reasons=tuple(_reasons(store, plan.residual)),
        order=_order(arrangement, ordered=plan.ordered),
        candidates=store.count(found) if found is not None else 0 if run else None,
        server="" if found is None else store.server_plan(found),
        decided=_decided(selection) if run and by_statistics else None,
    )


def _decided(selection: Selection) -> tuple[int, int]:
    plan = selection.plan()
    certain, left = (0 if part is None else selection.store.count(part) for part in (plan.certain, plan.open))
    return certain, left


def _order(arrangement: Arrangement, *, ordered: bool) -> str:
    keys = ", ".join(arrangement.sorting.texts)
    store = "by the store" if ordered else "here, for the store does not order its runs"
    if not keys:
        return f"the newest first, {store}"
    if not arrangement.sorting.by_time:
        return f"by {keys}, here: uids and keys of the runs found are held, no documents"
    return f"by {keys}, time {store}" if len(arrangement.sorting.keys) > 1 else f"by {keys}, {store}"


def _reasons(store: RunStore, residual: Query) -> Iterator[tuple[Query, str]]:
    if isinstance(residual, Everything):
        return
    for part in residual.children if isinstance(residual, And) else (residual,):
        yield part, _reason(store, part)


def _reason(store: RunStore, part: Query) -> str:
    leaf = part.child if isinstance(part, Not) else part
    left = [one for one in leaves(leaf) if not answered(one, store.answers)]
    by_statistics = store.statistics is not None and all("data" in documents_needed(one) for one in left)
    if isinstance(leaf, Or) and not by_statistics:
        return f"an | goes to the store only whole, and it does not answer {', '.join(map(repr, left))}"
    if isinstance(leaf, PathQuery) and leaf.path.descend:
        exact = replace(leaf, path=replace(leaf.path, descend=False))
        if answered(exact, store.answers):
            return f"MongoDB's form looks into lists too; the store answers {~exact if leaf is not part else exact!r}"
    if by_statistics:
        return (
            "values are read where the statistics that the store keeps do not decide: of runs that it has not scanned "
            "yet or that have no stop document, of files not read before, and for intervals between two values"
        )
    inside = " and ".join(sorted(documents_needed(part) & {"data", "descriptors"}, reverse=True))
    return "the store does not answer this" + (f": runs are opened for their {inside}" if inside else "")
