"""A store of simulations: each output, or each point of a sweep in one, is a run; none of it is copied."""

from __future__ import annotations

import threading
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, Final

from intake_bluesky.documents.model import ALL_KEYS, DatumPage, Document, EventPage, Keys, RunHeader, RunSummary
from intake_bluesky.errors import DamagedRun, RunNotFound
from intake_bluesky.runtime.secrets import shown
from intake_bluesky.storage.contract import ALL_RUNS, Plan, Problem, RunStore
from intake_bluesky.storage.header_cache import HeaderCache
from intake_bluesky.storage.order import Order
from intake_bluesky_simulation.attributes_cache import AttributesCache
from intake_bluesky_simulation.found_outputs import FoundOutput, Listed, list_outputs
from intake_bluesky_simulation.output_file import forget_opened
from intake_bluesky_simulation.run_values import RunValues, stop_of
from intake_bluesky_simulation.simulation_starts import SimulationStarts
from intake_bluesky_simulation.source_output import SourceOutput
from intake_bluesky_simulation.sweep_points import sweep_points

__all__ = ["SimulationStore"]

SERVED: Final = 10.0
"""Seconds between two looks at a server."""


@dataclass(frozen=True, slots=True, eq=False)
class _Simulation:
    """A run, the output that has it, and where in a sweep."""

    summary: RunSummary
    found: FoundOutput
    point: Mapping[Hashable, int]


@dataclass(frozen=True, slots=True, eq=False)
class _OfOutput:
    """The runs of one output, and what is wrong with it."""

    found: FoundOutput
    runs: Sequence[_Simulation]
    problem: str = ""


@dataclass(slots=True, eq=False)
class _FoundSimulations:
    """What was found at one time."""

    outputs: dict[str, _OfOutput] = field(default_factory=dict)
    runs: dict[str, _Simulation] = field(default_factory=dict)
    oldest: list[RunSummary] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


class SimulationStore(RunStore):
    """Simulations in files, hierarchies or a source; constructing one looks at nothing.

    Parameters
    ----------
    starts : SimulationStarts
        What is said of all of them.
    paths : sequence of str
        Patterns, files, folders, URLs.
    storage_options : mapping, optional
        Of fsspec.
    source : SourceOutput, optional
        In the place of paths.
    sweep : sequence of str
        Dimensions of which each combination of places is a run.
    events : str, optional
        The dimension of which each place is an event; see `intake_bluesky.datasets.stored_datasets.describe`.
    """

    ordered = True

    def __init__(
        self,
        starts: SimulationStarts,
        *,
        paths: Sequence[str] = (),
        storage_options: Mapping[str, Any] | None = None,
        source: SourceOutput | None = None,
        sweep: Sequence[str] = (),
        events: str | None = None,
    ) -> None:
        self._starts, self._paths, self._source = starts, tuple(paths), source
        self._options, self._sweep, self._events = dict(storage_options or {}), tuple(sweep), events
        self._lock = threading.RLock()
        self._listing: _FoundSimulations | None = None
        self._values = HeaderCache[tuple[RunValues, RunHeader]]()
        self._damaged: dict[str, Problem] = {}
        self._cache: AttributesCache | None = None

    def with_source(self, source: SourceOutput) -> SimulationStore:
        """The same of a source."""
        return SimulationStore(self._starts, **{**self._arguments, "source": source})

    def __reduce__(self) -> tuple[Any, ...]:
        return _made, (self._starts, self._arguments)

    @property
    def _arguments(self) -> dict[str, Any]:
        return {
            "paths": self._paths, "storage_options": self._options, "source": self._source, "sweep": self._sweep,
            "events": self._events,
        }  # fmt: skip

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(shown, self._places))})"

    def __dask_tokenize__(self) -> tuple[Any, ...]:
        return type(self).__name__, self._places, self._sweep, self._events

    @property
    def _places(self) -> tuple[str, ...]:
        return self._paths if self._source is None else (self._source.path,)

    @property
    def ttl(self) -> float:
        """10 seconds where servers are asked, else 5: all files are listed."""
        served = self._source is not None or any("://" in path for path in self._paths)
        return SERVED if served else 5.0

    @property
    def cache_key(self) -> str:
        """The places and the sweep."""
        return f"simulations {[shown(place) for place in self._places]} {list(self._sweep)} {self._events}"

    # Listing

    def _listed(self) -> _FoundSimulations:
        with self._lock:
            if self._listing is None:
                self._listing = self._looked(_FoundSimulations())
            return self._listing

    def refresh(self, *, deep: bool = False) -> None:
        """Look for new, changed and removed outputs; `deep` reads their points and attributes again."""
        with self._lock:
            before = _FoundSimulations() if deep or self._listing is None else self._listing
            self._listing = self._looked(before)
            self._damaged = {uid: one for uid, one in self._damaged.items() if uid in self._listing.runs and not deep}

    def _looked(self, before: _FoundSimulations) -> _FoundSimulations:
        listed = list_outputs(self._paths, self._options) if self._source is None else self._looked_at_source()
        known = {
            path: of
            for path, found in listed.outputs.items()
            # Those of which nothing could be read from a server are tried again: it may answer now.
            if (of := before.outputs.get(path)) is not None
            and of.found.version == found.version
            and (of.runs or self.ttl < SERVED)
        }
        new = [found for path, found in listed.outputs.items() if path not in known]
        if not new and len(known) == len(before.outputs) and before.outputs:
            before.problems = [*listed.problems.values(), *_problems(before.outputs)]
            return before
        attributes = self._attributes(new)
        made = known | {one.output.path: self._of_output(one, attributes.get(one.output.path, {})) for one in new}
        runs = _by_uid(made)
        oldest = sorted((run.summary for run in runs.values()), key=lambda run: (run.time, run.uid))
        return _FoundSimulations(made, runs, oldest, [*listed.problems.values(), *_problems(made)])

    def _looked_at_source(self) -> Listed:
        assert self._source is not None
        listed = Listed()
        listed.add(self._source.found())
        return listed

    def _attributes(self, outputs: Sequence[FoundOutput]) -> Mapping[str, dict[str, Any] | DamagedRun]:
        if not (outputs and self._starts.needs_attributes):
            return {}
        if self._cache is None:
            self._cache = AttributesCache(self.cache_key)
        return self._cache.of(outputs)

    def _of_output(self, found: FoundOutput, attributes: dict[str, Any] | DamagedRun) -> _OfOutput:
        try:
            if isinstance(attributes, DamagedRun):
                raise attributes
            lacking = ", ".join(map(repr, self._starts.lacking(attributes)))
            told = f"{shown(found.output.path)} has no attribute {lacking}, which the catalog names"
            return _OfOutput(found, list(self._simulations(found, attributes)), told if lacking else "")
        except DamagedRun as error:
            return _OfOutput(found, (), str(error))

    def _simulations(self, found: FoundOutput, attributes: Mapping[str, Any]) -> Iterator[_Simulation]:
        output, told = found.output, {"the path": found.parameters}
        if not self._sweep:
            start = self._starts.of(shown(output.path), found.modified, told, attributes)
            yield _Simulation(RunSummary.of(start, stop_of(start)), found, {})
            return
        with output.datasets(found.version) as datasets:
            points = list(sweep_points(datasets, self._sweep, output.path))
        for place, point in points:
            start = self._starts.of(shown(output.path), found.modified, told, attributes, point)
            yield _Simulation(RunSummary.of(start, stop_of(start)), found, place)

    # The contract

    def find(self, plan: Plan = ALL_RUNS, *, offset: int = 0, limit: int | None = None) -> Iterator[RunSummary]:
        """Yield the runs in order, of what was listed last."""
        oldest = self._listed().oldest
        runs = reversed(oldest) if plan.order is Order.NEWEST else iter(oldest)
        return islice(runs, offset, None if limit is None else offset + limit)

    def count(self, plan: Plan = ALL_RUNS) -> int:
        """How many there are."""
        return len(self._listed().oldest)

    def _simulation(self, uid: str) -> _Simulation:
        runs = self._listed().runs
        if uid not in runs:
            raise RunNotFound(f"no simulation {uid!r} among {len(runs)} of {self!r}: a store takes full uids")
        return runs[uid]

    @staticmethod
    def _has_changed(run: _Simulation) -> bool:
        try:
            return run.found.output.version() != run.found.version
        except DamagedRun:  # it is gone, as a listing will show
            return True

    def _described(self, uid: str) -> tuple[RunValues, RunHeader]:
        """A run of the version that is there now."""
        run = self._simulation(uid)
        try:
            if self._has_changed(run):
                self.refresh()
                run = self._simulation(uid)
            version = run.found.version
            known = self._values.get(uid, version)
            if known is None:
                with run.found.output.datasets(version) as datasets:
                    at = {
                        stream: run.found.output.at(version, stream, dataset, point=run.point, events=self._events)
                        for stream, dataset in datasets.items()
                    }
                    values = RunValues(run.summary.start, version, at, self._events)
                known = values, values.header()
                self._values.put(uid, known, version)
        except DamagedRun as error:
            self._damaged[uid] = Problem(shown(run.found.output.path), str(error), uid)
            raise
        self._damaged.pop(uid, None)
        return known

    def header(self, uid: str) -> RunHeader:
        """Describe one run: of its output the coordinates are read, and what is small and the same for all events.

        Raises
        ------
        RunNotFound
        DamagedRun
            When the output cannot be opened, or is gone.
        """
        return self._described(uid)[1]

    def arrays(self, uid: str, stream: str) -> Mapping[str, Any]:
        """The numbers of a stream, as dask arrays that check the version of the output; text is in events."""
        return self._described(uid)[0].arrays(stream)

    def event_pages(
        self, uid: str, stream: str, *, data: Keys = ALL_KEYS, timestamps: Keys = (), events: slice = slice(None)
    ) -> Iterator[EventPage]:
        """Yield the events of a stream, each with the time of the run."""
        yield from self._described(uid)[0].event_pages(stream, data, timestamps, events)

    def documents(self, uid: str) -> Iterator[tuple[str, Document]]:
        """Yield the documents that the output is given as."""
        yield from self._described(uid)[0].documents()

    def datum_pages(self, uid: str, resource: str) -> Iterator[DatumPage]:
        """None: no simulation has datums."""
        return iter(())

    def problems(self) -> Sequence[Problem]:
        """List outputs that are left out, paths that nothing is at, and runs that could not be opened."""
        return [*self._listed().problems, *self._damaged.values()]

    def close(self) -> None:
        """Close the outputs that are kept open, and the cache of attributes."""
        forget_opened()
        self._values.clear()
        if self._cache is not None:
            self._cache.close()


def _made(starts: SimulationStarts, arguments: Mapping[str, Any]) -> SimulationStore:
    return SimulationStore(starts, **arguments)


def _by_uid(outputs: dict[str, _OfOutput]) -> dict[str, _Simulation]:
    """All runs; outputs whose addresses differ in what is no part of a uid, such as queries of URLs, are left out."""
    runs: dict[str, _Simulation] = {}
    for path, of in outputs.items():
        same = next((runs[run.summary.uid] for run in of.runs if run.summary.uid in runs), None)
        if same is None:
            runs |= {run.summary.uid: run for run in of.runs}
            continue
        told = (
            f"it is left out: its runs would have the uids of those at {shown(same.found.output.path)}, for addresses "
            "name runs without their queries and users. Give each a path of its own"
        )
        outputs[path] = replace(of, runs=(), problem=told)
    return runs


def _problems(outputs: Mapping[str, _OfOutput]) -> list[Problem]:
    return [Problem(shown(path), of.problem) for path, of in outputs.items() if of.problem]
