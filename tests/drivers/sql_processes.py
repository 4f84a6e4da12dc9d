"""What other processes do to a database in tests; functions that ``spawn`` can import."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterable
from typing import Any

from intake_bluesky.errors import DuplicateRun, StoreUnavailable
from intake_bluesky.testing.compose import RunComposer, data_key
from intake_bluesky_sql import SQLStore, run_writer
from intake_bluesky_sql.database import Database

PROCESSES = multiprocessing.get_context("forkserver")  # which has imported everything when the first is wanted
PROCESSES.set_forkserver_preload(["intake_bluesky_sql", "tests.drivers.sql_processes"])


def together(uri: str, *work: Callable[..., None]) -> list[tuple[int, Any]]:
    """Let processes begin at the same moment, and give what they say."""
    barrier, results = PROCESSES.Barrier(len(work)), PROCESSES.Queue()
    workers = [PROCESSES.Process(target=one, args=(uri, barrier, results, n)) for n, one in enumerate(work)]
    for worker in workers:
        worker.start()
    found = sorted(results.get(timeout=120) for _ in workers)
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    return found


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


WHOLE = [f"whole {number}" for number in range(40)]
BATCH = 8


def insert_until_killed(uri: str, statement: int, told: Any) -> None:
    """Insert whole runs, some in a transaction, and be killed before a statement of that number; tell of each run."""
    run_writer.MANY, run_writer.SOON = BATCH, 3600.0  # type: ignore[misc]  # in this process
    execute, left = Database.execute, iter(range(statement))

    def executed(*arguments: Any) -> Any:
        if next(left, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)
        return execute(*arguments)

    setattr(Database, "execute", executed)  # noqa: B010  # in this process
    store = SQLStore(uri)
    for label, error in zip(WHOLE, store.insert_runs(composed(one, 5).documents for one in WHOLE), strict=True):
        if error is None or isinstance(error, DuplicateRun):
            told.put(label)
    store.close()


def insert_whole(uri: str, barrier: Any, results: Any, number: int) -> None:
    """Insert the runs that others insert, too, in another order."""
    run_writer.MANY = BATCH  # type: ignore[misc]  # in this process
    labels: Iterable[str] = WHOLE if number % 2 else WHOLE[::-1]
    store = SQLStore(uri)
    barrier.wait()
    runs = [composed(label, 5).documents for label in labels]
    outcomes = [None if error is None else type(error).__name__ for error in store.insert_runs(runs)]
    store.close()
    results.put((number, outcomes))
