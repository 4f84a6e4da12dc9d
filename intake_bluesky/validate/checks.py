"""All checks of a run or a catalog."""

from __future__ import annotations

from collections.abc import Iterator

from intake_bluesky.assets import AssetOptions
from intake_bluesky.errors import IntakeBlueskyError
from intake_bluesky.storage import RunStore
from intake_bluesky.validate.external import check_external
from intake_bluesky.validate.findings import Finding, finding
from intake_bluesky.validate.recorded import DocumentChecks

__all__ = ["validate_run", "validate_store"]


def validate_run(
    store: RunStore, uid: str, options: AssetOptions | None = None, *, schema: bool = True
) -> Iterator[Finding]:
    """Look for what is damaged, missing or odd in one run of a store.

    Reads every document, and the headers of the files they name.

    Parameters
    ----------
    store : RunStore
    uid : str
        In full.
    options : AssetOptions, optional
    schema : bool
        Whether to hold every document to event-model's schema, which takes most of the time.

    Yields
    ------
    Finding

    Examples
    --------
    >>> from intake_bluesky.testing.memory import MemoryStore
    >>> store = MemoryStore([[("start", {"uid": "9acjef12", "time": 1.0})]])
    >>> [found.code for found in validate_run(store, "9acjef12")]
    ['no-stop']
    """
    checks = DocumentChecks(uid, schema=schema)
    try:
        for name, doc in store.documents(uid):
            checks.add(name, doc)
    except IntakeBlueskyError as error:
        yield finding(uid, "unreadable", str(error))
    yield from checks.findings()
    try:
        yield from check_external(store, store.header(uid), checks, options or AssetOptions())
    except IntakeBlueskyError as error:
        yield finding(uid, "unreadable", str(error))


def validate_store(
    store: RunStore, options: AssetOptions | None = None, *, schema: bool = True
) -> Iterator[Finding]:
    """Look at everything in a store anew: what it cannot read, then each run, newest first."""
    store.refresh(deep=True)
    uids = [run.uid for run in store.find()]
    for problem in store.problems():
        yield finding(problem.where, "unreadable", problem.message)
    for uid in uids:
        yield from validate_run(store, uid, options, schema=schema)
