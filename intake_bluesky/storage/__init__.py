"""The contract of a driver, and stores made of stores.

What the author of a driver needs of the core is here, in `intake_bluesky.documents` and in `intake_bluesky.testing`.
"""

from __future__ import annotations

import warnings
from typing import Any

from intake_bluesky.errors import DamagedRun, DuplicateRun, RunNotFound, StreamNotFound, UnsupportedOperation
from intake_bluesky.query import Query
from intake_bluesky.storage import protocols
from intake_bluesky.storage.conditions import KeyCondition, combine, key_condition, sql_condition
from intake_bluesky.storage.contract import ALL_RUNS, Lookup, Plan, Problem, RunInsert, RunStore
from intake_bluesky.storage.order import Order, merge_runs, sort_runs
from intake_bluesky.storage.origin import Origin
from intake_bluesky.storage.statistics import Answer, Recorded, SharedStatistics, StatisticsCache
from intake_bluesky.storage.transformed import TransformedStore
from intake_bluesky.storage.whole_runs import WholeRun, finish_run
from intake_bluesky.storage.wrapper import WrapperStore
from intake_bluesky.storage.writer import DocumentWriter

__all__ = [
    "ALL_RUNS",
    "Answer",
    "DamagedRun",
    "DocumentWriter",
    "DuplicateRun",
    "KeyCondition",
    "Lookup",
    "Order",
    "Origin",
    "Plan",
    "Problem",
    "Query",
    "Recorded",
    "RunInsert",
    "RunNotFound",
    "RunStore",
    "SharedStatistics",
    "StatisticsCache",
    "StreamNotFound",
    "TransformedStore",
    "UnsupportedOperation",
    "WholeRun",
    "WrapperStore",
    "combine",
    "finish_run",
    "key_condition",
    "merge_runs",
    "sort_runs",
    "sql_condition",
]


def __getattr__(name: str) -> Any:
    if name not in protocols.INSTEAD:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    warnings.warn(
        f"{__name__}.{name} is out of use, for every RunStore has its methods: {protocols.INSTEAD[name]}",
        DeprecationWarning,
        stacklevel=2,
    )
    return getattr(protocols, name)
