"""A few threads of this process that read files, however many ask for them."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Final, TypeVar

from intake_bluesky.runtime.processes import PerProcess

__all__ = ["THREADS", "run_all"]

T = TypeVar("T")

THREADS: Final = 8
"""Files read at once: enough to hide the latency of a file server, few enough for any limit on open files."""
POOL: Final = 2 * THREADS
"""Threads of the process, for all that ask at once."""
WAITING: Final = 1e-3
"""Seconds of waiting for each file, beside the work it is, from which on several are read at once."""


_executor: Final[PerProcess[ThreadPoolExecutor]] = PerProcess()
_here: Final = threading.local()  # whether this thread is one of the pool: it must not wait for others of it


def _started() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(POOL, "intake-bluesky", lambda: setattr(_here, "pooled", True))


def run_all(do: Callable[[T], None], items: Iterable[T]) -> None:
    """Do something with each item: one after the other, or a few at a time where the first ones mean waiting.

    Files on a disk are read about as fast as memory is filled, by the calling thread; those of a server answer late,
    and are asked for together, unless the caller is a thread of the pool itself, which does not wait for others. When
    something raises, no further item is begun, and the error is raised when those that were begun are done.

    Examples
    --------
    >>> seen = []
    >>> run_all(seen.append, range(100))
    >>> sorted(seen) == list(range(100))
    True
    """
    todo = deque(items)
    began, busy = time.perf_counter(), time.thread_time()
    for done in range(1, len(todo) + 1):
        do(todo.popleft())
        # Time that was not this thread's own work was waiting, for files or for a core.
        waited = time.perf_counter() - began - (time.thread_time() - busy)
        if waited > WAITING * done and not getattr(_here, "pooled", False):
            break
    if not todo:
        return
    pool = _executor.get(_started)
    futures = [pool.submit(_drain, do, todo) for _ in range(min(THREADS, len(todo)))]
    try:
        for future in futures:
            future.result()
    finally:
        todo.clear()
        wait(futures)


def _drain(do: Callable[[T], None], todo: deque[T]) -> None:
    """Do what there is to do, taking turns with other threads."""
    while True:
        try:
            item = todo.popleft()
        except IndexError:
            return
        try:
            do(item)
        # The other threads take nothing more, either.
        except BaseException:
            todo.clear()
            raise
