"""What other processes do to a database in tests; functions that ``spawn`` can import."""

from __future__ import annotations

import os
import time
from typing import Any

from intake_bluesky.errors import DuplicateRun, StoreUnavailable
from intake_bluesky.testing.compose import RunComposer, data_key
from intake_bluesky_sql import SQLStore


def composed(label: str, events: int = 20) -> RunComposer:
    """A run of single events that says who wrote it."""
    run = RunComposer(label, plan_name="scan", scan_id=events)
    primary = run.descriptor({"x": data_key("number")})
    for number in range(events):
        run.event(primary, {"x": number / 2})
    run.stop()
    return run


def insert_same(uri: str, barrier: Any, results: Any, number: int) -> None:
    """Insert a run at the moment that others do."""
    store = SQLStore(uri)
    run = composed("the same run", 50)
    barrier.wait()
    try:
        with store.insert({**run.documents[0][1], "writer": number}) as insert:
            for pair in run.documents[1:]:
                insert.write(*pair)
        results.put((number, "won"))
    except DuplicateRun:
        results.put((number, "lost"))
    store.close()


def write_runs(uri: str, barrier: Any, results: Any, number: int) -> None:
    """Write several runs, one after the other."""
    store = SQLStore(uri)
    barrier.wait()
    for place in range(5):
        run = composed(f"writer {number} run {place}")
        with store.insert(run.documents[0][1]) as insert:
            for pair in run.documents[1:]:
                insert.write(*pair)
    store.close()
    results.put((number, "wrote"))


def read_runs(uri: str, barrier: Any, results: Any, number: int) -> None:
    """List and read while others write, until all is there; what has stopped is whole."""
    store = SQLStore(uri)
    barrier.wait()
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        runs = list(store.find())
        for run in runs:
            events = (
                sum(map(len, store.event_pages(run.uid, "primary"))) if "primary" in _streams(store, run.uid) else 0
            )
            assert run.stop is None or events == 20
        if len(runs) == 10 and all(run.stop is not None for run in runs):
            break
    results.put((number, len(runs)))
    store.close()


def _streams(store: SQLStore, uid: str) -> Any:
    return store.header(uid).streams


def write_until_killed(uri: str, written: Any) -> None:
    """Write events, telling of each that was taken."""
    store = SQLStore(uri, flush_seconds=None if uri.startswith("sqlite") else 0.2)
    run = composed("killed", 0)
    insert = store.insert(run.documents[0][1])
    insert.write(*run.documents[1])
    primary = run.documents[1][1]["uid"]
    for number in range(100_000):
        insert.write("event", run.make_event(primary, {"x": float(number)}))
        written.value = number + 1
        if number % 50 == 0:
            time.sleep(0.005)


def read_with_password(uri: str, password: str, results: Any) -> None:
    """Read a catalog by an address that holds no password: without one, and with PGPASSWORD."""
    os.environ.pop("PGPASSWORD", None)
    store = SQLStore(uri)
    try:
        first: Any = [run.uid for run in store.find()]
    except StoreUnavailable as error:
        first = "no password" if "PGPASSWORD" in str(error) else str(error)
    os.environ["PGPASSWORD"] = password
    results.put([first, [run.uid for run in store.find()]])
    store.close()
