"""A few threads of this process that read files, however many ask for them."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Final, TypeVar

__all__ = ["THREADS", "run_all"]

T = TypeVar("T")

THREADS: Final = 8
"""Files read at once: enough to hide the latency of a file server, few enough for any limit on open files."""
WAITING: Final = 1e-3
"""Seconds of waiting for each file, beside the work it is, from which on several are read at once."""


class _Pool:
    """Threads that are started when first needed, and again in a forked child, which has none of its parent's."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self._lock = threading.Lock()
        self._executor: ThreadPoolExecutor | None = None

    def executor(self) -> ThreadPoolExecutor:
        with self._lock:
            if self._executor is None:
                self._executor = ThreadPoolExecutor(THREADS, "intake-bluesky-files")
            return self._executor


_POOL: Final = _Pool()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_POOL.reset)


def run_all(do: Callable[[T], None], items: Iterable[T]) -> None:
    """Do something with each item: one after the other, or a few at a time where the first ones mean waiting.

    Files on a disk are read about as fast as memory is filled, by the calling thread; those of a server answer late,
    and are asked for together. What is done must not call this itself: all threads could be waiting for each other
    then. When something raises, no further item is begun, and the error is raised when those that were begun are done.

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
        waited = time.perf_counter() - began - (time.thread_time() - busy)
        if waited > WAITING * done:
            break
    if not todo:
        return
    executor = _POOL.executor()
    futures = [executor.submit(_drain, do, todo) for _ in range(min(THREADS, len(todo)))]
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
        except BaseException:
            todo.clear()
            raise
