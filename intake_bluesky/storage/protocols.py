"""Names that drivers asked stores for with `isinstance`; `RunStore` has all of it now, and answers for itself.

They are imported from `intake_bluesky.storage`, which warns. Every `RunStore` is an instance of each.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, Protocol, runtime_checkable

from intake_bluesky.documents.model import Document
from intake_bluesky.query import Path
from intake_bluesky.storage.contract import ALL_RUNS, Lookup, Plan, RunInsert
from intake_bluesky.storage.statistics import StatisticsCache

__all__ = ["INSTEAD", "SupportsCount", "SupportsDistinct", "SupportsInsert", "SupportsLookup", "SupportsStatistics"]


# Checked at runtime, since that is how drivers used them.
@runtime_checkable
class SupportsInsert(Protocol):
    """A store with `RunStore.insert`: whether it may be used is `RunStore.writable`."""

    def insert(self, start: Document) -> RunInsert:
        """Begin a run with its start document."""


@runtime_checkable
class SupportsCount(Protocol):
    """A store with `RunStore.count`."""

    def count(self, plan: Plan = ALL_RUNS) -> int:
        """Count the runs of a plan."""


@runtime_checkable
class SupportsDistinct(Protocol):
    """A store with `RunStore.distinct`, which may give None."""

    def distinct(self, path: Path, plan: Plan = ALL_RUNS) -> Iterable[tuple[Any, int]] | None:
        """Yield each value at an exact path, and how many runs of a plan have it."""


@runtime_checkable
class SupportsLookup(Protocol):
    """A store with `RunStore.lookup`, which may give None."""

    def lookup(self, paths: Sequence[Path], plan: Plan = ALL_RUNS) -> Lookup | None:
        """Yield uid, time and the values at exact paths of each run of a plan."""


@runtime_checkable
class SupportsStatistics(Protocol):
    """A store with `RunStore.statistics`, which may be None."""

    @property
    def statistics(self) -> StatisticsCache | None:
        """What keeps statistics of recorded data."""


INSTEAD: Final = {
    "SupportsInsert": "ask a store whether it is `writable`",
    "SupportsCount": "call `count`, which every store has",
    "SupportsDistinct": "call `distinct`, which gives None where a store cannot",
    "SupportsLookup": "call `lookup`, which gives None where a store cannot",
    "SupportsStatistics": "ask a store for its `statistics`, which are None where it keeps none",
}
"""What to do in place of `isinstance`."""
