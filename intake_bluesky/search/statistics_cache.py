"""Search by data in stores that keep no statistics: what the user's cache decides becomes conditions on uids."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final

from intake_bluesky.documents.model import RunSummary
from intake_bluesky.query import (
    ALL,
    And,
    Everything,
    In,
    Path,
    Query,
    Start,
    leaves,
    matches,
    replace_leaves,
    split,
    to_nnf,
)
from intake_bluesky.query.pruning import Kept
from intake_bluesky.query.split import answered
from intake_bluesky.search.plan import uids_of
from intake_bluesky.search.run_view import StoredRun
from intake_bluesky.search.statistics_index import StatisticsIndex
from intake_bluesky.storage.contract import ALL_RUNS, Lookup, Plan, RunStore
from intake_bluesky.storage.order import Order, merge_runs, sort_runs
from intake_bluesky.storage.wrapper import WrapperStore

__all__ = ["CachedStatistics", "with_statistics"]

LEAVES: Final = 8  # conditions on statistics in one query, of which there may be 2 ** LEAVES combinations
MOST: Final = 100_000  # uids in one query, of 49 bytes each, once or twice: a filter of MongoDB takes 16 MiB
UID: Final = Start("uid")


def with_statistics(store: RunStore) -> RunStore:
    """A store with statistics of its data: its own, or else those of the user's cache.

    A store without `RunStore.cache_key` stays as it is: nothing could be found again.

    Examples
    --------
    >>> from intake_bluesky.testing import MemoryStore
    >>> with_statistics(MemoryStore()).statistics is None
    True
    """
    if store.statistics is not None or store.cache_key is None:
        return store
    return CachedStatistics(store)


@dataclass(frozen=True, slots=True)
class _Case:
    """The runs that match a query, or those of them of which statistics prove certain things."""

    query: Query
    # By uid, the number of a run's case: a bit for each condition that is decided. Runs that are not in it have 0.
    case_of: Mapping[str, int] = field(default_factory=dict)
    # The cases whose runs belong to this one.
    cases: frozenset[int] = frozenset({0})

    @property
    def whole(self) -> bool:
        """Whether all runs that match belong to it."""
        return not self.case_of

    def has(self, uid: str) -> bool:
        """Whether a run that matches belongs to it."""
        return self.case_of.get(uid, 0) in self.cases


class CachedStatistics(WrapperStore):
    """A store with statistics of its data in the user's cache, by which runs are found without being read again.

    Statistics are those of runs that have stopped, which do not change; ``refresh(deep=True)`` drops those of runs that
    did.

    The store behind keeps no statistics and has a `RunStore.cache_key`.
    """

    def __init__(self, inner: RunStore) -> None:
        super().__init__(inner)
        self._statistics = StatisticsIndex(inner)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.inner,)

    @property
    def statistics(self) -> StatisticsIndex:
        return self._statistics

    def answers(self, leaf: Query) -> bool:
        return isinstance(leaf, Kept) or self.inner.answers(leaf)

    def plan(self, query: Query, order: Order) -> Plan:
        if not _kept(query):
            return self.inner.plan(query, order)
        pushed, residual = split(query, self.answers)
        if len(_kept(pushed)) > LEAVES:
            return Plan(ALL, query, self.inner.ordered, order)
        # Statistics are looked up when runs are found: more runs may be measured until then.
        return Plan(pushed, residual, self.inner.ordered, order)

    def find(self, plan: Plan = ALL_RUNS, *, offset: int = 0, limit: int | None = None) -> Iterator[RunSummary]:
        if not _kept(plan.pushed):
            return self.inner.find(plan, offset=offset, limit=limit)
        cases = self._cases(plan.pushed)
        whole = self._whole(cases, plan.order)
        # The caller relies on the order that its plan promised.
        if whole is not None and whole.ordered >= plan.ordered:
            return self.inner.find(whole, offset=offset, limit=limit)
        found: Iterator[RunSummary] = iter(())
        for case in cases:
            found = merge_runs(found, self._of_case(case, plan.order), plan.order)
        return islice(found, offset, None if limit is None else offset + limit)

    def _of_case(self, case: _Case, order: Order) -> Iterator[RunSummary]:
        """The runs of a case, in order."""
        plan = self.inner.plan(case.query, order)
        found = (run for run in self.inner.find(plan) if case.has(run.uid))
        if not isinstance(plan.residual, Everything):  # so many uids may be more than the store takes at once
            found = (run for run in found if matches(plan.residual, StoredRun(self.inner, run)))
        return found if plan.ordered else iter(sort_runs(found, order))

    def count(self, plan: Plan = ALL_RUNS) -> int:
        if not _kept(plan.pushed):
            return self.inner.count(plan)
        return sum(self._count(case) for case in self._cases(plan.pushed))

    def _count(self, case: _Case) -> int:
        plan = self.inner.plan(case.query, Order.NEWEST)
        if not isinstance(plan.residual, Everything):
            return sum(1 for _ in self._of_case(case, Order.NEWEST))
        if case.whole:
            return self.inner.count(plan)
        return sum(map(case.has, uids_of(self.inner, plan)))

    def distinct(self, path: Path, plan: Plan = ALL_RUNS) -> Iterable[tuple[Any, int]] | None:
        whole = self._plan_behind(plan)
        return None if whole is None else self.inner.distinct(path, whole)

    def lookup(self, paths: Sequence[Path], plan: Plan = ALL_RUNS) -> Lookup | None:
        whole = self._plan_behind(plan)
        return None if whole is None or whole.ordered < plan.ordered else self.inner.lookup(paths, whole)

    def server_plan(self, plan: Plan) -> str:
        if not _kept(plan.pushed):
            return self.inner.server_plan(plan)
        queries = [case.query for case in self._cases(plan.pushed)]
        return self.inner.server_plan(self.inner.plan(queries[0], plan.order)) if queries else ""

    def _plan_behind(self, plan: Plan) -> Plan | None:
        """The plan of the store behind that finds the same runs; None where one plan does not."""
        return self._whole(self._cases(plan.pushed), plan.order) if _kept(plan.pushed) else plan

    def _whole(self, cases: Sequence[_Case], order: Order) -> Plan | None:
        """The one plan of the store behind that finds the runs of all cases; None where there is none."""
        if len(cases) != 1 or not cases[0].whole:
            return None
        plan = self.inner.plan(cases[0].query, order)
        return plan if isinstance(plan.residual, Everything) else None

    def _cases(self, query: Query) -> list[_Case]:
        """Split a query into queries without conditions on statistics: a run matches it if it is of one case.

        Conditions on uids replace those on statistics, unless the store does not answer these or they are too many.
        Then there is a case for each combination of what statistics prove of a run: what is left of the query, and
        the runs to which this applies. No run is of two cases, and cases that no run can match are left out.
        """
        among = _uids_in(query)
        decided = {leaf: self._statistics.decided(leaf, among) for leaf in _kept(query)}
        said = {leaf: _condition(leaf, uids) for leaf, uids in decided.items()}
        few = sum(len(decided[leaf]) for leaf in leaves(query) if isinstance(leaf, Kept)) <= MOST
        if few and all(answered(one, self.inner.answers) for one in said.values()):
            found = [_Case(_replaced(query, said))]
        else:
            found = list(_by_case(query, decided))
        return [case for case in found if case.query != ~ALL]

    def remove(self, uid: str, *, permanent: bool = False) -> None:
        self.inner.remove(uid, permanent=permanent)
        # Last: if the run could not be removed, its statistics still hold.
        self._statistics.forget([uid])

    def refresh(self, *, deep: bool = False) -> None:
        self.inner.refresh(deep=deep)
        # Only then: looking at the version of each run takes the round trips that statistics spare.
        if deep:
            self._statistics.check_versions()

    def close(self) -> None:
        self._statistics.close()
        self.inner.close()


def _kept(query: Query) -> list[Kept]:
    return list(dict.fromkeys(leaf for leaf in leaves(query) if isinstance(leaf, Kept)))


def _condition(leaf: Kept, uids: Sequence[str]) -> Query:
    found = UID.is_in(uids)
    # Runs that nobody measured are open, and in no index: so `decided` lists those that are not open.
    return found if leaf.says == "true" else ~found


def _replaced(query: Query, said: Mapping[Kept, Query]) -> Query:
    return to_nnf(replace_leaves(query, lambda leaf: said[leaf] if isinstance(leaf, Kept) else leaf))


def _by_case(query: Query, decided: Mapping[Kept, Sequence[str]]) -> Iterator[_Case]:
    """A case for each query that is left; the number of a run's case has a bit for each decided condition."""
    case_of: dict[str, int] = {}
    for bit, uids in enumerate(decided.values()):
        for uid in uids:
            case_of[uid] = case_of.get(uid, 0) | 1 << bit
    left: dict[Query, set[int]] = {}
    for case in {0, *case_of.values()}:  # 0: nothing is proved, as of all runs that nobody measured
        said = {
            leaf: ALL if bool(case >> bit & 1) == (leaf.says == "true") else ~ALL for bit, leaf in enumerate(decided)
        }
        left.setdefault(_replaced(query, said), set()).add(case)
    for rest, cases in left.items():
        yield _Case(rest, case_of, frozenset(cases))


def _uids_in(query: Query) -> list[str] | None:
    """The uids that a query is about; None where it does not name them."""
    for part in query.children if isinstance(query, And) else (query,):
        if isinstance(part, In) and part.path == UID.path:
            return [uid for uid in part.values if isinstance(uid, str)]
    return None
