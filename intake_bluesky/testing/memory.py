"""A store of runs in memory: the smallest implementation of a driver's contract."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any
from uuid import uuid4

from intake_bluesky.documents.model import ALL_KEYS, DatumPage, Document, EventPage, Keys, RunHeader, RunSummary
from intake_bluesky.documents.run_documents import RunDocuments
from intake_bluesky.errors import DamagedRun, DuplicateRun, RunNotFound
from intake_bluesky.query import PartialUID, Query, matches
from intake_bluesky.storage.contract import ALL_RUNS, Plan, Problem, RunInsert, RunStore
from intake_bluesky.storage.order import sort_runs

__all__ = ["MemoryStore"]


class MemoryStore(RunStore):
    """Runs in memory, as lists of (name, document); for tests of the layers above a store.

    Parameters
    ----------
    runs : iterable of runs, optional
        Each a list of (name, document), its start first.
    page_size : int
        How many neighbouring single events make one unit.

    Attributes
    ----------
    parsed : list of (uid, stream, unit)
        One entry whenever a unit was parsed for its data or timestamps.

    Examples
    --------
    >>> store = MemoryStore([[("start", {"uid": "abc", "time": 1.0})]])
    >>> [run.uid for run in store.find()]
    ['abc']
    >>> store.reads
    0
    """

    ordered = True

    def __init__(self, runs: Iterable[Iterable[tuple[str, Document]]] = (), *, page_size: int = 100) -> None:
        self.page_size = page_size
        self.parsed: list[tuple[str, str, int]] = []
        self._token = uuid4().hex
        self._runs: dict[str, list[tuple[str, Document]]] = {}
        for run in runs:
            self.put(run)

    @property
    def reads(self) -> int:
        """How many units were parsed for their data or timestamps so far."""
        return len(self.parsed)

    # Otherwise dask would name arrays by a pickle of the store, documents and all.
    def __dask_tokenize__(self) -> tuple[str, str]:
        return type(self).__name__, self._token

    def __getstate__(self) -> dict[str, Any]:
        # A pickled copy counts its own reads, as another process would.
        return {**self.__dict__, "parsed": []}

    def put(self, documents: Iterable[tuple[str, Document]]) -> None:
        """Take a whole run, or what it has so far."""
        first, *rest = documents
        insert = self.insert(first[1])
        for name, doc in rest:
            insert.write(name, doc)

    def append(self, uid: str, documents: Iterable[tuple[str, Document]]) -> None:
        """Let a run grow."""
        # Copied, both in and out: tests change documents afterwards, and no store may notice.
        self._runs[uid] += copy.deepcopy(list(documents))

    @property
    def writable(self) -> bool:
        """True."""
        return True

    def remove(self, uid: str, *, permanent: bool = False) -> None:
        """Forget a run."""
        self._documents(uid)
        del self._runs[uid]

    def insert(self, start: Document) -> RunInsert:
        """Begin a run with its start document."""
        uid = str(start["uid"])
        if uid in self._runs:
            raise DuplicateRun(f"the store has a run {uid} already: remove it first, or write another uid")
        self._runs[uid] = [("start", copy.deepcopy(start))]
        return _MemoryInsert(self, uid)

    def answers(self, leaf: Query) -> bool:
        """Take partial uids and leave the rest."""
        # All else is left to the core, so that tests over this store exercise its part of a search.
        return isinstance(leaf, PartialUID)

    def find(self, plan: Plan = ALL_RUNS, *, offset: int = 0, limit: int | None = None) -> Iterator[RunSummary]:
        """Yield the runs that match, in order."""
        summaries = (self._summary(uid) for uid in list(self._runs))
        found = sort_runs((run for run in summaries if matches(plan.pushed, run)), plan.order)
        return islice(found, offset, None if limit is None else offset + limit)

    def _summary(self, uid: str) -> RunSummary:
        return RunDocuments(self._runs[uid]).summary

    def _documents(self, uid: str) -> Sequence[tuple[str, Document]]:
        if uid not in self._runs:
            raise RunNotFound(f"no run {uid!r} among {len(self._runs)} in memory: a store takes full uids")
        return self._runs[uid]

    def _run(self, uid: str) -> RunDocuments:
        return RunDocuments(
            self._documents(uid),
            page_size=self.page_size,
            parsed=lambda stream, unit: self.parsed.append((uid, stream, unit)),
        )

    def header(self, uid: str) -> RunHeader:
        """Describe one run."""
        return self._run(uid).header(f"{self._token}-{len(self._documents(uid))}")

    def event_pages(
        self,
        uid: str,
        stream: str,
        *,
        data: Keys = ALL_KEYS,
        timestamps: Keys = (),
        events: slice = slice(None),
    ) -> Iterator[EventPage]:
        """Yield the stored events of a stream, cut to `events`."""
        return self._run(uid).event_pages(stream, data=data, timestamps=timestamps, events=events)

    def problems(self) -> Sequence[Problem]:
        """List the runs that contradict themselves."""
        found = []
        for uid in list(self._runs):
            try:
                self.header(uid)
            except DamagedRun as error:
                found.append(Problem("memory", str(error), uid))
        return found

    def documents(self, uid: str) -> Iterator[tuple[str, Document]]:
        """Yield copies of the documents, as they were inserted."""
        return iter(copy.deepcopy(list(self._documents(uid))))

    def datum_pages(self, uid: str, resource: str) -> Iterator[DatumPage]:
        """Yield the datums of one resource, page by page as they were inserted."""
        return self._run(uid).datum_pages(resource)


class _MemoryInsert(RunInsert):
    def __init__(self, store: MemoryStore, uid: str) -> None:
        self._store, self._uid, self._open = store, uid, True

    def write(self, name: str, doc: Document) -> None:
        if not self._open:
            raise ValueError(f"run {self._uid} is closed: begin another run with insert()")
        self._store.append(self._uid, [(name, doc)])
        self._open = name != "stop"

    def close(self) -> None:
        self._open = False
