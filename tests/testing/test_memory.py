"""The store in memory against the conformance suite, and the suite against stores that are wrong."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from intake_bluesky.documents.model import Document, EventPage, RunHeader, RunSummary
from intake_bluesky.query import ALL, Query
from intake_bluesky.storage.contract import ALL_RUNS, Plan
from intake_bluesky.storage.order import Order
from intake_bluesky.testing.compose import RunComposer
from intake_bluesky.testing.examples import Run
from intake_bluesky.testing.memory import MemoryStore
from intake_bluesky.testing.odd_runs import nulls, wide_integers
from intake_bluesky.testing.plain_runs import count, rewound, scan, two_descriptors
from intake_bluesky.testing.stores import StoreTests
from intake_bluesky.testing.stores.reading import QUERIES


class TestMemoryStore(StoreTests[MemoryStore]):
    def make_store(self, folder: Path) -> MemoryStore:
        return MemoryStore(page_size=3)

    def insert(self, store: MemoryStore, documents: Run) -> None:
        store.put(documents)

    def append(self, store: MemoryStore, uid: str, documents: Run) -> None:
        store.append(uid, documents)

    def remove(self, store: MemoryStore, uid: str) -> None:
        store.remove(uid)

    def damage(self, store: MemoryStore) -> None:
        run = RunComposer("damaged")
        run.add("event", {"uid": "e", "descriptor": "nowhere", "seq_num": 1, "time": 1.0, "data": {}})
        store.put(run.documents)

    def data_reads(self, store: MemoryStore) -> int:
        return store.reads


SUITE = TestMemoryStore()


class _Wrong(MemoryStore):
    """A store with one fault, to see that the suite finds it."""


class _FindsInOrderOfInsertion(_Wrong):
    def find(self, plan: Plan = ALL_RUNS, *, offset: int = 0, limit: int | None = None) -> Iterator[RunSummary]:
        return iter([self._summary(uid) for uid in self._runs])


class _IgnoresOffset(_Wrong):
    def find(self, plan: Plan = ALL_RUNS, *, offset: int = 0, limit: int | None = None) -> Iterator[RunSummary]:
        return super().find(plan, limit=limit)


class _PushesMoreThanItAnswers(_Wrong):
    def plan(self, query: Query, order: Order) -> Plan:
        return Plan(ALL, ALL, True, order)


class _ChangesPages(_Wrong):
    def event_pages(self, uid: str, stream: str, **kwargs: Any) -> Iterator[EventPage]:
        for page in super().event_pages(uid, stream, **kwargs):
            yield self.changed(page)

    def changed(self, page: EventPage) -> EventPage:
        raise NotImplementedError


class _CastsToFloat(_ChangesPages):
    def changed(self, page: EventPage) -> EventPage:
        data = {
            k: c.astype(float) if isinstance(c, np.ndarray) and c.dtype.kind in "iu" else c
            for k, c in page.data.items()
        }
        return dataclasses.replace(page, data=data)


class _ZeroForNull(_ChangesPages):
    def changed(self, page: EventPage) -> EventPage:
        data = {
            k: np.nan_to_num(c) if isinstance(c, np.ndarray) and c.dtype.kind == "f" else c
            for k, c in page.data.items()
        }
        return dataclasses.replace(page, data=data)


class _DropsRepeats(_ChangesPages):
    def changed(self, page: EventPage) -> EventPage:
        return page.select(np.unique(page.seq_num, return_index=True)[1])


class _IgnoresSlices(_Wrong):
    def event_pages(self, uid: str, stream: str, **kwargs: Any) -> Iterator[EventPage]:
        return super().event_pages(uid, stream, **kwargs | {"events": slice(None)})


class _ReadsEagerly(_Wrong):
    def event_pages(self, uid: str, stream: str, **kwargs: Any) -> Iterator[EventPage]:
        return iter(list(super().event_pages(uid, stream, **kwargs)))


class _KeepsItsVersion(_Wrong):
    def header(self, uid: str) -> RunHeader:
        return dataclasses.replace(super().header(uid), version="1")


class _LosesTypes(_Wrong):
    def documents(self, uid: str) -> Iterator[tuple[str, Document]]:
        for name, doc in copy.deepcopy(self._runs[uid]):
            yield name, {k: float(v) if type(v) is int else v for k, v in doc.items()}


class _TakesDuplicates(_Wrong):
    def insert(self, start: Document) -> Any:
        self._runs.pop(str(start["uid"]), None)
        return super().insert(start)


def _put(store: MemoryStore, run: Run) -> MemoryStore:
    store.put(run)
    return store


FAULTS: dict[type[MemoryStore], Callable[[MemoryStore], None]] = {
    _FindsInOrderOfInsertion: SUITE.test_find_yields_by_time_and_uid,
    _IgnoresOffset: SUITE.test_find_takes_offset_and_limit,
    _CastsToFloat: lambda s: SUITE.test_data(_put(s, wide_integers()), {"wide": wide_integers()}),
    _ZeroForNull: lambda s: SUITE.test_data(_put(s, nulls()), {"nulls": nulls()}),
    _DropsRepeats: lambda s: SUITE.test_seq_num_and_time(_put(s, rewound()), {"rewound": rewound()}),
    _IgnoresSlices: lambda s: SUITE.test_data(_put(s, two_descriptors()), {"two": two_descriptors()}),
    _ReadsEagerly: SUITE.test_asking_reads_nothing_before_the_first_page,
    _KeepsItsVersion: lambda s: SUITE.test_run_grows(s, count),
    _LosesTypes: lambda s: SUITE.test_documents(_put(s, scan()), {"scan": scan()}),
}


@pytest.mark.parametrize("kind", FAULTS)
def test_suite_finds_the_fault(kind: type[MemoryStore]) -> None:
    with pytest.raises(AssertionError):
        FAULTS[kind](kind())
    FAULTS[kind](MemoryStore())


def test_suite_finds_a_plan_that_pushes_too_much() -> None:
    store = _put(_PushesMoreThanItAnswers(), count())
    with pytest.raises(AssertionError, match="was planned as"):
        SUITE.test_pushed_and_residual_make_the_query(store, {"count": count()}, QUERIES[2])


def test_suite_finds_each_example_that_fails() -> None:
    runs = {make.__name__: make() for make in (count, nulls, wide_integers, rewound)}
    store = _DropsRepeats(runs.values())
    with pytest.raises(AssertionError) as one:
        SUITE.test_seq_num_and_time(store, runs)
    assert one.value.__notes__ == ["in test_seq_num_and_time[rewound]"]
    runs["again"] = runs["rewound"]
    with pytest.raises(ExceptionGroup, match="test_seq_num_and_time fails for 2 of 5 examples"):
        SUITE.test_seq_num_and_time(store, runs)


def test_suite_finds_duplicates_taken() -> None:
    with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"):
        SUITE.test_duplicate_is_refused(_TakesDuplicates())
