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
    return sorted(runs, key=_rank(order), reverse=order is Order.NEWEST)


def merge_runs(some: Iterable[RunSummary], others: Iterable[RunSummary], order: Order) -> Iterator[RunSummary]:
    """Yield the runs of both, each of which is in `order`, in order; holds one of each."""
    return heapq.merge(some, others, key=_rank(order), reverse=order is Order.NEWEST)


def _rank(order: Order) -> Callable[[RunSummary], tuple[bool, float, str]]:
    # The newest first is a sort in reverse: there, what comes last has to rank lowest.
    timeless_last = order is Order.OLDEST
    return lambda run: ((run.time is None) is timeless_last, run.time or 0.0, run.uid)
