"""Several catalogs as one store: searched beside each other, merged in order, each run once."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import replace
from itertools import islice
from typing import Any, Final, TypeVar

from intake_bluesky.documents.model import ALL_KEYS, DatumPage, Document, EventPage, Keys, RunHeader, RunSummary
from intake_bluesky.errors import DamagedRun, IntakeBlueskyError, RunNotFound, StoreUnavailable, UnsupportedOperation
from intake_bluesky.query import Path, Query
from intake_bluesky.query.paths import MISSING
from intake_bluesky.search.federated_copies import SourceCopies
from intake_bluesky.search.federated_sources import FederatedRuns, FederatedSources, OnError, SourceOpener
from intake_bluesky.search.ordering import value_of
from intake_bluesky.search.selection import Selection
from intake_bluesky.storage.array_place import ArrayPlace
from intake_bluesky.storage.contract import ALL_RUNS, Lookup, Plan, Problem, RunInsert, RunStore
from intake_bluesky.storage.header_cache import HeaderCache
from intake_bluesky.storage.order import Order, rank_of
from intake_bluesky.storage.origin import Origin

__all__ = ["FederatedStore"]

T = TypeVar("T")
REMEMBERED: Final = 1000  # runs of which it is known where they come from


class FederatedStore(RunStore):
    """The runs of several catalogs; each is searched, and its runs are read, as it does so itself.

    A query goes to each source whole: each answers what it can and finishes the rest, with its own statistics, and its
    own ways to files. Results are merged in order as they come, in batches. Copies of one run, by its uid, are one:
    listed once, and opened from the first source that has it, or the next where that one fails. Uids are held while
    runs are listed, and no documents.

    Parameters
    ----------
    openers : mapping of name to callable
        The sources, those first whose copies are preferred.
    write_to : str or None
        The one that runs are written to.
    on_error : {"raise", "warn", "skip"}
        See `FederatedSources`.
    timeout : float or None
        Seconds in which a source has to give its next results.

    Attributes
    ----------
    read_at_most : int or None
        Bytes of data that a search may read in each source; None for the limits that the sources have.
    """

    ordered = True
    exact_documents = False

    def __init__(
        self,
        openers: Mapping[str, SourceOpener],
        *,
        write_to: str | None = None,
        on_error: OnError = "raise",
        timeout: float | None = None,
    ) -> None:
        self.sources = FederatedSources(openers, on_error, timeout)
        self.write_to = write_to
        self.read_at_most: int | None = None
        self._origins: HeaderCache[Origin] = HeaderCache(REMEMBERED)

    def __reduce__(self) -> Any:
        return _unpickled, (type(self), self.sources, self.write_to, self.read_at_most)

    def with_openers(self, openers: Mapping[str, SourceOpener]) -> FederatedStore:
        """The same of sources that are opened otherwise."""
        own = self.sources
        return type(self)(openers, write_to=self.write_to, on_error=own.on_error, timeout=own.timeout)

    def reading_at_most(self, size: int | None) -> FederatedStore:
        """The same store, of which a search reads at most so many bytes of data in each source."""
        if size == self.read_at_most:
            return self
        limited = copy(self)
        limited.read_at_most = size
        return limited

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(self.sources.openers)})"

    def __dask_tokenize__(self) -> tuple[Any, ...]:
        return type(self).__name__, *((name, opener.address) for name, opener in self.sources.openers.items())

    def answers(self, leaf: Query) -> bool:
        """All: the sources do."""
        return True

    def find(self, plan: Plan = ALL_RUNS, *, offset: int = 0, limit: int | None = None) -> Iterator[RunSummary]:
        """Yield the runs of all sources, each with its origin."""
        stop = None if limit is None else offset + limit

        def runs_of(name: str, source: FederatedRuns) -> Iterator[RunSummary]:
            origin = self._named(name, source.origin)
            for run in self._searched(source, plan).runs(order=plan.order, limit=stop):
                own = origin if run.origin is None else self._named(name, run.origin)
                # Not by `dataclasses.replace`, which takes as long as all else.
                yield RunSummary(run.uid, run.time, run.scan_id, run.start, run.stop, own)

        rank = rank_of(plan.order)
        with self.sources.streams(runs_of) as streams:
            merged = _merged(streams, plan.order, lambda run: rank(run.time, run.uid), lambda run: run.uid)
            yield from islice(merged, offset, stop)

    def lookup(self, paths: Sequence[Path], plan: Plan = ALL_RUNS) -> Lookup | None:
        """Yield the values at paths, of sources that have to read documents for it, too."""
        return self._looked_up(tuple(paths), plan)

    def _looked_up(self, paths: tuple[Path, ...], plan: Plan) -> Lookup:
        rank = rank_of(plan.order)
        with self.sources.streams(lambda _, source: self._lookup(source, paths, plan)) as streams:
            yield from _merged(streams, plan.order, lambda one: rank(one[1], one[0]), lambda one: one[0])

    def count(self, plan: Plan = ALL_RUNS) -> int:
        """Count the runs, those of several sources once."""
        if len(self.sources) == 1:
            counts = self.sources.each(lambda _, source: self._searched(source, plan).count())
            return sum(number for _, number in counts)
        found = self.sources.each(lambda _, source: [uid for uid, _, _ in self._lookup(source, (), plan)])
        return len(set().union(*(uids for _, uids in found)))

    def distinct(self, path: Path, plan: Plan = ALL_RUNS) -> Iterable[tuple[Any, int]]:
        """Yield the values, of several copies of a run that of the first."""
        if len(self.sources) == 1:
            told = self.sources.each(lambda _, source: self._distinct(source, path, plan))
            return (pair for _, pairs in told for pair in pairs)
        found = self.sources.each(
            lambda _, source: [(uid, value) for uid, _, (value,) in self._lookup(source, (path,), plan)]
        )
        values: dict[str, Any] = {}
        for _, pairs in found:
            values = dict(pairs) | values
        return ((value, 1) for value in values.values() if value is not MISSING)

    def server_plan(self, plan: Plan) -> str:
        """Say what each source does."""
        told = self.sources.each(lambda _, source: self._plan_of(source, plan))
        parts = [f"{name}: {text}" for name, text in told]
        return "; ".join([*parts, *(f"{name}: left out, {why}" for name, why in self.sources.failures().items())])

    def _searched(self, source: FederatedRuns, plan: Plan) -> Selection:
        # Keys that no run has are looked for in all sources together.
        selection = replace(source.selection.narrowed(plan.pushed), unknown=None)
        if self.read_at_most is None:
            return selection
        store = selection.store
        within = store.reading_at_most(self.read_at_most) if isinstance(store, FederatedStore) else store
        return replace(selection, store=within, read_at_most=self.read_at_most)

    def _lookup(self, source: FederatedRuns, paths: tuple[Path, ...], plan: Plan) -> Lookup:
        selection = self._searched(source, plan)
        own = selection.plan(order=plan.order).whole
        found = selection.store.lookup(paths, own) if own is not None and own.ordered else None
        if found is not None:
            return found
        runs = selection.runs(order=plan.order)
        return ((run.uid, run.time, tuple(value_of(run, path) for path in paths)) for run in runs)

    def _distinct(self, source: FederatedRuns, path: Path, plan: Plan) -> Iterable[tuple[Any, int]]:
        selection = self._searched(source, plan)
        own = selection.plan().whole
        found = None if own is None else selection.store.distinct(path, own)
        if found is not None:
            return list(found)
        return [(value, 1) for _, _, (value,) in self._lookup(source, (path,), plan) if value is not MISSING]

    def _plan_of(self, source: FederatedRuns, plan: Plan) -> str:
        own = self._searched(source, plan).plan(order=plan.order)
        left = "" if own.whole is not None else f", and finishes {own.residual!r} run by run"
        return f"finds {own.pushed!r}{left}"

    def header(self, uid: str) -> RunHeader:
        """Describe a run as the first source that has it does; all are asked at once."""
        origin, header = self._found(uid)
        self._origins.put(uid, origin.of_run(header))
        return replace(header, origin=origin)

    def _found(self, uid: str) -> tuple[Origin, RunHeader]:
        def look(name: str, source: FederatedRuns) -> tuple[Origin, RunHeader | IntakeBlueskyError]:
            try:
                found = source.selection.exact(uid)
                return self._named(name, found.origin or source.origin), found
            except (RunNotFound, DamagedRun) as error:  # there may be another copy
                return source.origin, error

        down: list[str] = []

        def failed(source: Any, error: Exception) -> None:
            down.append(f"{source.name}: {error}")

        damaged: list[IntakeBlueskyError] = []
        for _, (origin, found) in self.sources.each(look, failed=failed):
            if isinstance(found, RunHeader):
                return origin, found
            if isinstance(found, DamagedRun):
                damaged.append(found)
        for error in damaged:
            raise error
        told = f"no source of {self!r} has run {uid}"
        out = dict.fromkeys([*down, *(f"{name}: {why}" for name, why in self.sources.failures().items())])
        if out and self.sources.on_error == "raise":
            raise StoreUnavailable(f"{told}, of those that can be asked: {'; '.join(out)}")
        raise RunNotFound(f"{told}{'; not asked: ' if out else ''}{'; '.join(out)}")

    def _store_of(self, uid: str) -> RunStore:
        known = self._origins.get(uid)
        if known is None:
            origin, header = self._found(uid)
            known = origin.of_run(header)
            self._origins.put(uid, known)
        return known.store

    def _named(self, name: str, origin: Origin) -> Origin:
        """An origin with the way to it: of a federation in a federation the name in each; and to copies of its runs."""
        copies = SourceCopies(self.sources, name, origin.copies) if len(self.sources) > 1 else origin.copies
        return replace(origin, source=f"{name}/{origin.source}" if origin.source else name, copies=copies)

    def event_pages(
        self, uid: str, stream: str, *, data: Keys = ALL_KEYS, timestamps: Keys = (), events: slice = slice(None)
    ) -> Iterator[EventPage]:
        return self._store_of(uid).event_pages(uid, stream, data=data, timestamps=timestamps, events=events)

    def documents(self, uid: str) -> Iterator[tuple[str, Document]]:
        return self._store_of(uid).documents(uid)

    def complete_documents(self, uid: str) -> Iterator[tuple[str, Document]]:
        return self._store_of(uid).complete_documents(uid)

    def document(self, uid: str, name: str) -> Mapping[str, Any] | None:
        return self._store_of(uid).document(uid, name)

    def datum_pages(self, uid: str, resource: str) -> Iterator[DatumPage]:
        return self._store_of(uid).datum_pages(uid, resource)

    def arrays(self, uid: str, stream: str) -> Mapping[str, Any] | None:
        return self._store_of(uid).arrays(uid, stream)

    def refresh(self, *, deep: bool = False) -> None:
        """Look for new runs in the sources that were opened, each as often as it does; `deep` asks all at once.

        `deep` asks those again, too, that are left out.
        """

        def look(_: str, source: FederatedRuns) -> None:
            source.refresh(deep=True) if deep else source.reload()

        if deep:
            self.sources.try_again()
        for _ in self.sources.each(look, opened=True):
            pass

    def problems(self) -> Sequence[Problem]:
        """What could not be read, with the names of the sources."""
        return tuple(self.sources.problems())

    @property
    def _target(self) -> RunStore:
        if self.write_to is None:
            raise UnsupportedOperation(
                f"{self!r} takes no runs: name the source that runs are written to, write_to=..., or write into it"
            )
        return self.sources.open(self.write_to).origin.store

    @property
    def writable(self) -> bool:
        """Whether the source that runs are written to is."""
        return self.write_to is not None and self._target.writable

    @property
    def folder(self) -> str | None:
        """That of the source that runs are written to."""
        return None if self.write_to is None else self._target.folder

    @property
    def array_place(self) -> ArrayPlace | None:
        """That of the source that runs are written to."""
        return None if self.write_to is None else self._target.array_place

    def check_writable(self) -> None:
        self._target.check_writable()

    def insert(self, start: Document) -> RunInsert:
        return self._target.insert(start)

    def insert_runs(self, runs: Iterable[Iterable[tuple[str, Document]]]) -> Iterator[IntakeBlueskyError | None]:
        return self._target.insert_runs(runs)

    def remove(self, uid: str, *, permanent: bool = False) -> None:
        """Refuse: another copy might show in its place.

        Raises
        ------
        UnsupportedOperation
        """
        raise UnsupportedOperation(f"nothing is removed from {self!r}: remove the run from the sources that have it")


def _unpickled(
    kind: type[FederatedStore], sources: FederatedSources, write_to: str | None, read_at_most: int | None
) -> FederatedStore:
    made = kind(sources.openers, write_to=write_to, on_error=sources.on_error, timeout=sources.timeout)
    return made.reading_at_most(read_at_most)


def _merged(streams: Sequence[Iterator[T]], order: Order, key: Any, uid: Callable[[T], str]) -> Iterator[T]:
    """Merge what comes in order, and pass on the first of each run."""
    if len(streams) == 1:
        yield from streams[0]
        return
    seen: set[str] = set()
    for one in heapq.merge(*streams, key=key, reverse=order is Order.NEWEST):
        if (own := uid(one)) not in seen:
            seen.add(own)
            yield one
