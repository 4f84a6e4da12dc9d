"""From measured runs to the simulations that model them, and back: `BlueskyRun.simulations` and `.experiments`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from intake_bluesky.catalogs.argument_checks import WrongArgument, not_of_runs
from intake_bluesky.catalogs.results import Results
from intake_bluesky.documents.exact_json import json_text
from intake_bluesky.documents.model import to_plain
from intake_bluesky.errors import DamagedRun, UnsupportedOperation
from intake_bluesky.query import Query, Start
from intake_bluesky.search.given_queries import lasting_query
from intake_bluesky.search.selection import Selection

if TYPE_CHECKING:
    from intake_bluesky.catalogs.run import BlueskyRun
    from intake_bluesky.catalogs.run_catalog import BlueskyCatalog

__all__ = ["run_experiments", "run_simulations"]


def run_simulations(self: BlueskyRun, catalog: BlueskyCatalog) -> BlueskyCatalog:
    """Find the simulations that say that they model this run.

    A simulation says so in its start document, under ``models``: by a query that this run matches, or by uids.

    Parameters
    ----------
    catalog : BlueskyCatalog
        Of simulations, such as a ``bluesky-simulation-catalog``.

    Returns
    -------
    BlueskyCatalog
        That catalog, narrowed to them.

    Warns
    -----
    RuntimeWarning
        When a search meets runs that cannot be read.

    Raises
    ------
    DamagedRun
        When ``models`` of a simulation is neither a query nor uids.
    WrongArgument
        When `catalog` is no catalog of runs.

    Examples
    --------
    >>> from intake_bluesky import BlueskyCatalog
    >>> from intake_bluesky.testing import EXAMPLES, MemoryStore
    >>> run = BlueskyCatalog(MemoryStore([EXAMPLES["scan"](None)]))[-1]
    >>> start = {"uid": "s", "time": 1.0, "models": {"query": "text: plan_name == 'scan'"}}
    >>> sims = BlueskyCatalog(MemoryStore([[("start", start)]]))
    >>> list(run.simulations(sims)), list(sims["s"].experiments(BlueskyCatalog(MemoryStore([EXAMPLES["scan"](None)]))))
    (['s'], ['...'])
    """
    _check_runs(catalog)
    catalog.reload()
    own = Selection(self._store, (Start("uid") == self.uid,), self._assets)
    decided: dict[str, bool] = {}
    uids = []
    for one in catalog.selection.runs(Start("models").exists()):
        models = to_plain(one.start["models"])
        text = json_text(models)
        if text not in decided:  # as of all points of a sweep
            decided[text] = own.narrowed(_query_of(models, one.uid)).count() > 0
        if decided[text]:
            uids.append(one.uid)
    return catalog.search(Start("uid").is_in(uids))


def run_experiments(self: BlueskyRun, catalog: BlueskyCatalog) -> BlueskyCatalog:
    """Find the runs that this simulation models, as its start document says.

    Parameters
    ----------
    catalog : BlueskyCatalog
        Of measured runs.

    Returns
    -------
    BlueskyCatalog
        That catalog, narrowed to them.

    Raises
    ------
    UnsupportedOperation
        When this run does not say that it models others.
    DamagedRun
        When what it says is neither a query nor uids.
    WrongArgument
        When `catalog` is no catalog of runs.

    Examples
    --------
    >>> from intake_bluesky import BlueskyCatalog
    >>> from intake_bluesky.testing import EXAMPLES, MemoryStore
    >>> start = {"uid": "s", "time": 1.0, "models": {"query": "text: plan_name == 'scan'"}}
    >>> simulation = BlueskyCatalog(MemoryStore([[("start", start)]]))["s"]
    >>> measured = BlueskyCatalog(MemoryStore(EXAMPLES[name](None) for name in ("scan", "count")))
    >>> [run.start["plan_name"] for run in simulation.experiments(measured).values()]
    ['scan']
    """
    models = to_plain(self.start.get("models"))
    if models is None:
        raise UnsupportedOperation(
            f"run {self.uid} does not say which runs it models: give models=... to its catalog, or to write_run, as a "
            "query or as {'uids': [...]}"
        )
    _check_runs(catalog)
    return catalog.search(_query_of(models, self.uid))


def _check_runs(catalog: Any) -> None:
    if not isinstance(catalog, Results):
        raise WrongArgument(
            f"simulations and experiments are looked for in a catalog of runs, not {not_of_runs(catalog)}"
        )


def _query_of(models: Any, uid: str) -> Query:
    """The query for the runs that a simulation models."""
    if isinstance(models, Mapping) and "uids" in models:
        uids = models["uids"]
        if isinstance(uids, list) and all(isinstance(one, str) for one in uids):
            return Start("uid").is_in(uids)
    else:
        given = models.get("query", models) if isinstance(models, Mapping) else models
        if isinstance(given, (str, Mapping)):
            try:
                return lasting_query(given)
            except ValueError as error:
                raise DamagedRun(f"models of run {uid} is no query: {error}") from error
    raise DamagedRun(f"models of run {uid} is neither a query nor uids: {repr(models)[:80]}")
