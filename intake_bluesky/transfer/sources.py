"""The runs that are to be copied: each with the store that it is read from, and how its files are found."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final, NamedTuple, TypeAlias

from intake.catalog import Catalog

from intake_bluesky.assets import AssetOptions
from intake_bluesky.catalogs.argument_checks import not_of_runs
from intake_bluesky.catalogs.run import BlueskyRun
from intake_bluesky.catalogs.run_catalog import BlueskyCatalog
from intake_bluesky.documents.model import RunSummary
from intake_bluesky.errors import UnsupportedOperation
from intake_bluesky.query import Start
from intake_bluesky.storage.contract import RunStore
from intake_bluesky.storage.origin import Origin

__all__ = ["Runs", "Source", "Sources"]

Runs: TypeAlias = BlueskyCatalog | BlueskyRun | Iterable[BlueskyRun]
TOGETHER: Final = 500  # runs that are looked up at once


class Source(NamedTuple):
    """A run to be copied."""

    uid: str
    store: RunStore
    assets: AssetOptions
    finished: bool


class Sources:
    """The runs of a catalog, or of a list; of a catalog the uids alone are held.

    Raises
    ------
    UnsupportedOperation
        For what is neither.
    """

    def __init__(self, runs: Runs) -> None:
        self._catalog = runs if isinstance(runs, BlueskyCatalog) else None
        self._runs: dict[str, BlueskyRun] = {}
        if isinstance(runs, BlueskyCatalog):
            runs.reload()
            self._uids = list(runs.arrangement.uids())
            return
        if isinstance(runs, (Catalog, str)) and not isinstance(runs, BlueskyRun):
            raise UnsupportedOperation(
                f"copy takes a catalog of runs, a run or a list of runs, not {not_of_runs(runs)}"
            )
        several = [runs] if isinstance(runs, BlueskyRun) else list(runs) if isinstance(runs, Iterable) else [runs]
        for run in several:
            if not isinstance(run, BlueskyRun):
                raise UnsupportedOperation(
                    f"copy takes a catalog, a run or a list of runs, not {type(run).__name__}: {run!r}. For some runs "
                    "of a catalog, give cat.search(...), or cat[[uid, ...]]"
                )
            self._runs[run.uid] = run
        self._uids = list(self._runs)

    def __len__(self) -> int:
        return len(self._uids)

    def __iter__(self) -> Iterator[Source | str]:
        """Yield the runs; of one that is no longer there, its uid."""
        for run in self._runs.values():
            yield Source(run.uid, run.origin.store, run.origin.assets, run.stop is not None)
        uids = iter(self._uids if self._catalog is not None else ())
        while some := list(islice(uids, TOGETHER)):
            yield from self._looked_up(some)

    def _looked_up(self, uids: list[str]) -> Iterator[Source | str]:
        assert self._catalog is not None  # or there are no uids
        found = {run.uid: run for run in self._catalog.selection.runs(Start("uid").is_in(uids))}
        for uid in uids:
            yield self._source(found[uid], self._catalog.origin) if uid in found else uid

    def _source(self, run: RunSummary, usual: Origin) -> Source:
        origin = (run.origin or usual).of_run(run)
        return Source(run.uid, origin.store, origin.assets, run.stop is not None)
