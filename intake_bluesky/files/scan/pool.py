"""Who looks at many files: this thread, threads where looking is waiting, processes where it is parsing."""

from __future__ import annotations

import logging
import multiprocessing
import queue
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from itertools import chain
from types import TracebackType
from typing import Final, Self, TypeVar

from intake_bluesky.files.codec import Codec
from intake_bluesky.files.content.decompress import compression_of
from intake_bluesky.files.content.source import size_of
from intake_bluesky.files.scan.inspect import Opener, Task, look
from intake_bluesky.files.scan.worker import Worker, WorkerLost, cores
from intake_bluesky.index.index import IndexEntry

__all__ = ["Crew", "work_of"]

LOG: Final = logging.getLogger(__name__)
T = TypeVar("T")
R = TypeVar("R")

PAYS: Final = 96 << 20  # bytes of parsing that take as long as processes take to start; see docs/decisions/0012
GLANCE: Final = 2 << 10  # bytes of parsing that take as long as a look at the two ends of a file
UNPACKED: Final = 8  # times its size is what a compressed file holds
CHUNK: Final = 4 << 20  # bytes given to a process at once
AHEAD: Final = 8  # such chunks for each process, under way or waiting to be taken
THREADS: Final = 16
FIRST: Final = 8  # files by which it is told whether looking is waiting
SLOW: Final = 1e-3  # seconds of waiting a file for which threads are worth it


def work_of(path: str, stamp: str, *, deep: bool) -> int:
    """How many bytes there are to parse in a file, roughly."""
    size = size_of(stamp) * (UNPACKED if compression_of(path) else 1)
    return size if deep else min(size, GLANCE)


class Crew:
    """Looks at files, in the way that is fastest for these.

    Parameters
    ----------
    codec : Codec
    opened : callable
        Opens a file by its path; called in several threads.
    local : bool
        Whether all files are on this machine, where other processes can open them.
    work : int
        Bytes there are to parse in all, by `work_of`.
    """

    def __init__(self, codec: Codec, opened: Opener, *, local: bool, work: int) -> None:
        self._codec, self._opened = codec, opened
        self._workers: queue.SimpleQueue[Worker] = queue.SimpleQueue()
        self._several = cores() if local and work >= PAYS and cores() > 1 else 0
        self._ending = ExitStack()
        if self._several and multiprocessing.current_process().daemon:
            LOG.info("looking at files in this process: it is one of many already")
            self._several = 0

    def __enter__(self) -> Self:
        try:
            for _ in range(self._several):
                worker = Worker(self._codec)
                self._ending.callback(worker.close)
                self._workers.put(worker)
        except WorkerLost as error:
            LOG.info("looking at files in this process: %s", error)
            self._several = 0
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._ending.close()

    def looks(self, tasks: Iterable[Task]) -> Iterator[IndexEntry]:
        """Yield an entry for each file, as they come."""
        if not self._several:
            return self._here(iter(tasks))
        chunks = _chunks(tasks)
        return chain.from_iterable(_ahead(self._by_worker, chunks, threads=self._several, ahead=AHEAD * self._several))

    def _look(self, task: Task) -> IndexEntry:
        return look(self._codec, self._opened, task)

    def _here(self, tasks: Iterator[Task]) -> Iterator[IndexEntry]:
        waited = 0.0
        for number, task in enumerate(tasks, 1):
            wall, busy = time.perf_counter(), time.thread_time()
            entry = self._look(task)
            waited += (time.perf_counter() - wall) - (time.thread_time() - busy)
            yield entry
            if number == FIRST:
                break
        rest = map(self._look, tasks)
        yield from rest if waited < FIRST * SLOW else _ahead(self._look, tasks, threads=THREADS, ahead=4 * THREADS)

    def _by_worker(self, tasks: Sequence[Task]) -> list[IndexEntry]:
        try:
            worker = self._workers.get_nowait()
        except queue.Empty:  # all are lost
            return list(map(self._look, tasks))
        try:
            found = worker.look(tasks)
        except WorkerLost as error:
            LOG.info("looking at files in this process: %s", error)
            return list(map(self._look, tasks))
        self._workers.put(worker)
        return found


def _chunks(tasks: Iterable[Task]) -> Iterator[list[Task]]:
    chunk: list[Task] = []
    work = 0
    for task in tasks:
        chunk.append(task)
        work += work_of(task.path, task.stamp, deep=task.deep)
        if work >= CHUNK:
            yield chunk
            chunk, work = [], 0
    if chunk:
        yield chunk


def _ahead(do: Callable[[T], R], things: Iterable[T], *, threads: int, ahead: int) -> Iterator[R]:
    """Yield what is made of each thing, in order, by several threads that are few things ahead."""
    with ThreadPoolExecutor(threads, thread_name_prefix="intake-bluesky-look") as pool:
        pending: deque[Future[R]] = deque()
        try:
            for thing in things:
                pending.append(pool.submit(do, thing))
                if len(pending) > ahead:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()
