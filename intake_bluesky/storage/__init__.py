"""The contract of a driver, and stores made of stores.

What the author of a driver needs of the core is here, in `intake_bluesky.documents` and in `intake_bluesky.testing`.
"""

from __future__ import annotations

from intake_bluesky.storage.contract import ALL_RUNS, Lookup, Plan, Problem, RunInsert, RunStore
from intake_bluesky.storage.order import Order, merge_runs, sort_runs
from intake_bluesky.storage.origin import Origin
from intake_bluesky.storage.statistics import Answer, Recorded, SharedStatistics, StatisticsCache
from intake_bluesky.storage.transformed import TransformedStore
from intake_bluesky.storage.wrapper import WrapperStore
from intake_bluesky.storage.writer import DocumentWriter

__all__ = [
    "ALL_RUNS",
    "Answer",
    "DocumentWriter",
    "Lookup",
    "Order",
    "Origin",
    "Plan",
    "Problem",
    "Recorded",
    "RunInsert",
    "RunStore",
    "SharedStatistics",
    "StatisticsCache",
    "TransformedStore",
    "WrapperStore",
    "merge_runs",
    "sort_runs",
]
