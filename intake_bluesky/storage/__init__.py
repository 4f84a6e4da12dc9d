"""The contract of a driver, and stores made of stores."""

from __future__ import annotations

from intake_bluesky.storage.contract import (
    Answer,
    Order,
    Plan,
    Problem,
    Recorded,
    RunInsert,
    RunStore,
    SupportsCount,
    SupportsDistinct,
    SupportsInsert,
    SupportsLookup,
    SupportsStatistics,
    merge_runs,
    sort_runs,
)

__all__ = [
    "Answer",
    "Order",
    "Plan",
    "Problem",
    "Recorded",
    "RunInsert",
    "RunStore",
    "SupportsCount",
    "SupportsDistinct",
    "SupportsInsert",
    "SupportsLookup",
    "SupportsStatistics",
    "merge_runs",
    "sort_runs",
]
