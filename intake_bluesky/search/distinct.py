"""Which values a key has in some runs, and how often."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from intake_bluesky.documents.model import to_plain
from intake_bluesky.query import Exists, Path
from intake_bluesky.query.paths import MISSING
from intake_bluesky.search.ordering import TIME, Rank, as_path, rank, value_of
from intake_bluesky.search.selection import Selection


class Facet(NamedTuple):
    """A value, and how many runs have it."""

    value: Any
    runs: int


class _Counts:
    """Values of one key, equal ones together; a document's values need not be hashable, nor 1 be True."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.absent = 0
        self._found: dict[Rank, Facet] = {}

    def add(self, value: Any, count: int = 1) -> None:
        if value is MISSING:
            self.absent += count
            return
        key = rank(value)
        known = self._found.get(key)
        self._found[key] = Facet(to_plain(value), count) if known is None else Facet(known.value, known.runs + count)

    @property
    def empty(self) -> bool:
        """Whether no run has a value."""
        return not self._found

    def ordered(self, *, missing: bool) -> list[Facet]:
        """The most frequent first, then by value."""
        if missing and self.absent:
            self.add(None, self.absent)
        found = sorted(self._found.items(), key=lambda item: (-item[1].runs, item[0]))
        return [facet for _, facet in found]


def facets(selection: Selection, keys: Sequence[str], *, missing: bool = False) -> dict[str, list[Facet]]:
    """Count the values of each key: by the store where it can, else in one pass over the runs.

    Examples
    --------
    >>> from intake_bluesky.testing.memory import MemoryStore
    >>> starts = ({"uid": str(n), "time": 1.0, "plan_name": name} for n, name in enumerate(("scan", "count", "scan")))
    >>> facets(Selection(MemoryStore([("start", start)] for start in starts)), ["plan_name"])
    {'plan_name': [Facet(value='scan', runs=2), Facet(value='count', runs=1)]}
    """
    counts = {key: _Counts(as_path(key)) for key in keys}
    by_runs = [count for count in counts.values() if not _count_by_store(selection, count, missing)]
    for run in selection.runs() if by_runs else ():
        for count in by_runs:
            count.add(value_of(run, count.path))
    for count in counts.values():
        if count.empty:
            selection.nothing_found(Exists(count.path))
    return {key: count.ordered(missing=missing) for key, count in counts.items()}


def _count_by_store(selection: Selection, counts: _Counts, missing: bool) -> bool:
    if counts.path == TIME:  # which is not what documents say
        return False
    plan = selection.plan().whole
    found = None if plan is None else selection.store.distinct(counts.path, plan)
    if found is None or plan is None:
        return False
    found = list(found)
    for value, count in found:
        counts.add(value, count)
    if missing:
        # A store leaves out runs without a value.
        counts.absent = selection.store.count(plan) - sum(count for _, count in found)
    return True
