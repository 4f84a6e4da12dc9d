"""The orders of runs, the same in every store."""

from __future__ import annotations

import enum
import heapq
from collections.abc import Callable, Iterable, Iterator

from intake_bluesky.documents.model import RunSummary


class Order(enum.Enum):
    """The total orders of runs: by (time, uid), runs without a time last in both."""

    NEWEST = "newest"
    OLDEST = "oldest"


def sort_runs(runs: Iterable[RunSummary], order: Order) -> list[RunSummary]:
    """Sort by (time, uid), runs without a time last whichever way.

    Examples
    --------
    >>> runs = [RunSummary(uid, time, None, {}, None) for uid, time in (("a", None), ("b", 1.0), ("c", 2.0))]
    >>> [run.uid for run in sort_runs(runs, Order.NEWEST)]
    ['c', 'b', 'a']
    """
    rank = rank_of(order)
    return sorted(runs, key=lambda run: rank(run.time, run.uid), reverse=order is Order.NEWEST)


def merge_runs(some: Iterable[RunSummary], others: Iterable[RunSummary], order: Order) -> Iterator[RunSummary]:
    """Yield the runs of both, each of which is in `order`, in order; holds one of each."""
    rank = rank_of(order)
    return heapq.merge(some, others, key=lambda run: rank(run.time, run.uid), reverse=order is Order.NEWEST)


def rank_of(order: Order) -> Callable[[float | None, str], tuple[bool, float, str]]:
    """The key of a run's time and uid by which runs are sorted, in reverse for the newest first."""
    # In reverse, what comes last has to rank lowest.
    timeless_last = order is Order.OLDEST
    return lambda time, uid: ((time is None) is timeless_last, time or 0.0, uid)
