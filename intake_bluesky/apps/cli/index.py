"""``intake-bluesky index``: an index made in advance, and published beside the files."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any, Final, Protocol, runtime_checkable

from intake_bluesky.apps.cli.open_catalog import check_readable, find_catalog
from intake_bluesky.apps.terminal.page import counted, write_json
from intake_bluesky.errors import StoreUnavailable
from intake_bluesky.runtime.secrets import shown

__all__ = ["run"]

MOST: Final = 61  # processes that Windows can wait for


@runtime_checkable
class SupportsFileIndex(Protocol):
    """A store that has an index of files."""

    def scan(self, executor: Executor | None = None) -> None:
        """Scan the files that no scan has seen, where it is worth it by an executor."""

    def publish(self) -> Sequence[str]:
        """Put a copy of the index beside the files."""


@runtime_checkable
class SupportsServerIndexes(Protocol):
    """A store whose database has indexes of its own."""

    def proposed_indexes(self) -> Sequence[str]:
        """List, one a line, the indexes that would make searches quicker and do not exist; changes nothing."""

    def make_indexes(self) -> Sequence[str]:
        """Make them, and list those that were made; those that this user has no right to make may be left out."""


def run(arguments: argparse.Namespace) -> int:
    """Make the indexes, one after the other."""
    done = [_index(text, arguments) for text in arguments.catalogs]
    if arguments.json:
        write_json({"indexes": done})
        return 0
    for one in done:
        if "proposed" in one:
            _tell_of_server(one, make=arguments.make)
            continue
        print(f"{one['catalog']}: {counted(one['runs'], 'run')}, {counted(one['problems'], 'problem')}")
        for path in one["published"]:
            print(f"  published {path}")
    return 0


def _tell_of_server(one: dict[str, Any], *, make: bool) -> None:
    for index in one["made"]:
        print(f"  made {index}")
    for index in one["proposed"]:
        print(f"  not there: {index}")
    why = "they could not be made by this user" if make else "nothing was changed: --make makes them"
    missing = f"{len(one['proposed'])} missing ({why})" if one["proposed"] else "no index is missing"
    print(f"{one['catalog']}: {missing}")


@contextmanager
def _processes() -> Iterator[Executor | None]:
    """As many processes as there are processors, started when they are needed; None where that is one.

    Programs that call `main` may lack ``if __name__ == "__main__"``: imported again by such a process, they get none.
    """
    # In containers and batch jobs a process may use fewer processors than the machine has.
    number = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if number == 1 or multiprocessing.parent_process() is not None:
        yield None
        return
    # Not forked: this process has threads. Ctrl-C goes to the processes of the pool, too, where it is ignored, so that
    # only this one reports it.
    context, quiet = multiprocessing.get_context("spawn"), (signal.SIGINT, signal.SIG_IGN)
    pool = ProcessPoolExecutor(min(number, MOST), context, initializer=signal.signal, initargs=quiet)
    try:
        yield pool
    finally:
        # Files that are not begun can wait for the next time; without this an interrupt would scan them all first.
        pool.shutdown(cancel_futures=True)


def _index(text: str, arguments: argparse.Namespace) -> dict[str, Any]:
    catalog = find_catalog(text)
    store = catalog.store
    # By protocol, not by class: the core does not import the drivers.
    if isinstance(store, SupportsServerIndexes):
        made = list(store.make_indexes()) if arguments.make else []
        return {"catalog": shown(text), "made": made, "proposed": list(store.proposed_indexes())}
    if not isinstance(store, SupportsFileIndex):
        raise StoreUnavailable(f"{shown(text)} has no index: {type(store).__name__} finds its runs by itself")
    if arguments.scan:
        with _processes() as executor:
            store.scan(executor)
    else:
        store.refresh()
    check_readable(catalog)
    published = list(store.publish()) if arguments.publish else []
    return {
        "catalog": shown(text),
        "runs": len(catalog),
        "problems": len(catalog.problems),
        "published": published,
    }
