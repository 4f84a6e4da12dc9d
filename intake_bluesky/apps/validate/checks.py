"""All checks of a run or a catalog."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from intake_bluesky.apps.validate.external import check_external
from intake_bluesky.apps.validate.findings import Finding, finding
from intake_bluesky.apps.validate.recorded import DocumentChecks
from intake_bluesky.assets import AssetOptions
from intake_bluesky.catalogs.run import BlueskyRun
from intake_bluesky.catalogs.run_catalog import BlueskyCatalog
from intake_bluesky.errors import IntakeBlueskyError
from intake_bluesky.storage.contract import Problem, RunStore

__all__ = ["validate", "validate_run"]


def validate(
    what: BlueskyCatalog | BlueskyRun,
    *,
    schema: bool = True,
    watch: Callable[[Sequence[str]], Iterable[str]] | None = None,
) -> Iterator[Finding]:
    """Look for what is damaged, missing or odd in a run, or in all runs of a catalog and in its store.

    Reads every document, and the headers of the files they name.

    Parameters
    ----------
    what : BlueskyCatalog or BlueskyRun
        Of a catalog that was searched, the runs that match.
    schema : bool
        Whether to hold every document to event-model's schema, which takes most of the time.
    watch : callable, optional
        Takes the uids and yields them one after the other, as a bar of progress does (``tqdm.tqdm``).

    Yields
    ------
    Finding

    Examples
    --------
    >>> from intake_bluesky import BlueskyCatalog
    >>> from intake_bluesky.testing.memory import MemoryStore
    >>> cat = BlueskyCatalog(MemoryStore([[("start", {"uid": "9acjef12", "time": 1.0})]]))
    >>> [(found.where, found.code) for found in validate(cat)]
    [('9acjef12', 'no-stop')]
    """
    if isinstance(what, BlueskyRun):
        yield from validate_run(what._store, what.uid, what._assets, schema=schema)
        return
    # Deep: a file is only a problem after a scan of all its documents, and its ends may be whole.
    what.refresh(deep=True)
    uids = [run.uid for run in what.selection.runs()]
    for uid in uids if watch is None else watch(uids):
        try:
            run = what[uid]
        except IntakeBlueskyError:  # `validate_run` meets it again in the documents, and makes it a finding
            yield from validate_run(what.selection.store, uid, schema=schema)
        else:
            yield from validate(run, schema=schema)
    # Last: opening the runs may have found further problems. Those of a run were yielded with it.
    yield from (_unreadable(problem) for problem in what.problems if problem.uid not in uids)


def validate_run(
    store: RunStore, uid: str, options: AssetOptions | None = None, *, schema: bool = True
) -> Iterator[Finding]:
    """As `validate`, of one run of a store.

    Parameters
    ----------
    store : RunStore
    uid : str
        In full.
    options : AssetOptions, optional
    schema : bool

    Yields
    ------
    Finding
    """
    checks = DocumentChecks(uid, schema=schema)
    damage: list[Finding] = []
    try:
        for name, doc in store.documents(uid):
            checks.add(name, doc)
        damage += check_external(store, store.header(uid), checks, options or AssetOptions())
    except IntakeBlueskyError as error:
        damage.append(finding(uid, "unreadable", str(error)))
    yield from (_unreadable(problem) for problem in store.problems() if problem.uid == uid)
    yield from checks.findings()
    yield from damage


def _unreadable(problem: Problem) -> Finding:
    return finding(problem.where, "unreadable", problem.message)
