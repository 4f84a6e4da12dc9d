"""A store made of another: whatever it does not change, it passes on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from intake_bluesky.documents.model import ALL_KEYS, DatumPage, Document, EventPage, Keys, RunHeader, RunSummary
from intake_bluesky.query import Path, Query
from intake_bluesky.storage.contract import ALL_RUNS, Lookup, Plan, Problem, RunInsert, RunStore
from intake_bluesky.storage.order import Order
from intake_bluesky.storage.statistics import SharedStatistics, StatisticsCache

if TYPE_CHECKING:
    from intake_bluesky.documents.columns import Array

__all__ = ["WrapperStore"]


class WrapperStore(RunStore):
    """A store that passes everything on to another; subclasses override what they change.

    Whoever asks a wrapper what it can do gets the answer of the store behind it: plans, too, are those of that store,
    with what it compiled. `intake_bluesky.testing.WrapperTests` fails for a wrapper that forgets a method.

    Parameters
    ----------
    inner : RunStore

    Examples
    --------
    >>> from dataclasses import replace
    >>> from intake_bluesky.testing import MemoryStore
    >>> class Labelled(WrapperStore):
    ...     def find(self, *arguments, **options):
    ...         for run in self.inner.find(*arguments, **options):
    ...             yield replace(run, start={**run.start, "beamline": "P01"})
    >>> labelled = Labelled(MemoryStore([[("start", {"uid": "abc", "time": 1.0})]]))
    >>> [run.start["beamline"] for run in labelled.find()], labelled.count(), labelled.writable
    (['P01'], 1, True)
    """

    def __init__(self, inner: RunStore) -> None:
        self.inner = inner

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.inner!r})"

    def __dask_tokenize__(self) -> tuple[Any, ...]:
        return type(self).__name__, self.inner

    # Each method by itself: `RunStore` has defaults for nearly all, so that `__getattr__` would not be asked for them.
    @property
    def exact_documents(self) -> bool:  # type: ignore[override]  # of the store behind, not of this class
        return self.inner.exact_documents

    @property
    def ordered(self) -> bool:  # type: ignore[override]
        return self.inner.ordered

    @property
    def ttl(self) -> float:
        return self.inner.ttl

    @property
    def trusts_paths(self) -> bool:
        return self.inner.trusts_paths

    @property
    def writable(self) -> bool:
        return self.inner.writable

    @property
    def cache_key(self) -> str | None:
        return self.inner.cache_key

    @property
    def statistics(self) -> StatisticsCache | None:
        return self.inner.statistics

    @property
    def shared_statistics(self) -> SharedStatistics | None:
        return self.inner.shared_statistics

    def answers(self, leaf: Query) -> bool:
        return self.inner.answers(leaf)

    def plan(self, query: Query, order: Order) -> Plan:
        return self.inner.plan(query, order)

    def find(self, plan: Plan = ALL_RUNS, *, offset: int = 0, limit: int | None = None) -> Iterator[RunSummary]:
        return self.inner.find(plan, offset=offset, limit=limit)

    def count(self, plan: Plan = ALL_RUNS) -> int:
        return self.inner.count(plan)

    def distinct(self, path: Path, plan: Plan = ALL_RUNS) -> Iterable[tuple[Any, int]] | None:
        return self.inner.distinct(path, plan)

    def lookup(self, paths: Sequence[Path], plan: Plan = ALL_RUNS) -> Lookup | None:
        return self.inner.lookup(paths, plan)

    def server_plan(self, plan: Plan) -> str:
        return self.inner.server_plan(plan)

    def header(self, uid: str) -> RunHeader:
        return self.inner.header(uid)

    def event_pages(
        self,
        uid: str,
        stream: str,
        *,
        data: Keys = ALL_KEYS,
        timestamps: Keys = (),
        events: slice = slice(None),
    ) -> Iterator[EventPage]:
        return self.inner.event_pages(uid, stream, data=data, timestamps=timestamps, events=events)

    def arrays(self, uid: str, stream: str) -> Mapping[str, Array] | None:
        return self.inner.arrays(uid, stream)

    def read_ahead(self, uids: Sequence[str]) -> Iterator[tuple[RunHeader, RunStore]]:
        return self.inner.read_ahead(uids)

    def documents(self, uid: str) -> Iterator[tuple[str, Document]]:
        return self.inner.documents(uid)

    def document(self, uid: str, name: str) -> Mapping[str, Any] | None:
        return self.inner.document(uid, name)

    def datum_pages(self, uid: str, resource: str) -> Iterator[DatumPage]:
        return self.inner.datum_pages(uid, resource)

    def insert(self, start: Document) -> RunInsert:
        return self.inner.insert(start)

    def remove(self, uid: str, *, permanent: bool = False) -> None:
        self.inner.remove(uid, permanent=permanent)

    def refresh(self, *, deep: bool = False) -> None:
        self.inner.refresh(deep=deep)

    def problems(self) -> Sequence[Problem]:
        return self.inner.problems()

    def close(self) -> None:
        self.inner.close()
