"""Looking at many files: in this thread, in several where looking is waiting, and in processes where those are given.

A library starts no processes: those of `multiprocessing` import the ``__main__`` of the program again, and a script
without ``if __name__ == "__main__"`` would run its experiment twice. See docs/decisions/0023.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from functools import partial
from itertools import chain, islice
from typing import Final, TypeVar

from intake_bluesky.files.codec import Codec
from intake_bluesky.files.content.source import ByteSource, LocalSource, size_of
from intake_bluesky.files.scan.inspect import Opener, Task, look
from intake_bluesky.index.index import IndexEntry

__all__ = ["look_at_all", "open_here"]

LOG: Final = logging.getLogger(__name__)
T = TypeVar("T")

CHUNK: Final = 4 << 20  # bytes of files given to a process at once
CHUNKS_AHEAD: Final = 64  # chunks under way or waiting to be taken
THREADS: Final = 16
FIRST: Final = 8  # files by which it is found whether looking is waiting
SLOW: Final = 1e-3  # seconds of waiting a file for which threads are worth it


def look_at_all(
    codec: Codec, opened: Opener, tasks: Iterable[Task], executor: Executor | None = None
) -> Iterator[IndexEntry]:
    """Yield an entry for each file, in order, as they come.

    `opened`, which opens a file, is called in several threads. An `executor` looks at the files, which are
    all on this machine then; where it fails, this thread does.
    """
    look_here = partial(look, codec, opened)
    if executor is None:
        return _here(look_here, iter(tasks))
    chunks = (_begun(executor, codec, look_here, chunk) for chunk in _chunks(tasks))
    return chain.from_iterable(_in_turn(chunks, CHUNKS_AHEAD))


def _here(look_here: Callable[[Task], IndexEntry], tasks: Iterator[Task]) -> Iterator[IndexEntry]:
    waits: list[float] = []
    for task in islice(tasks, FIRST):
        wall, busy = time.perf_counter(), time.thread_time()
        entry = look_here(task)
        waits.append((time.perf_counter() - wall) - (time.thread_time() - busy))
        yield entry
    # The median, for a machine that is busy makes this thread wait for the one or the other.
    if waits and sorted(waits)[len(waits) // 2] > SLOW:
        yield from _by_threads(look_here, tasks)
    else:
        yield from map(look_here, tasks)


def _by_threads(look_here: Callable[[Task], IndexEntry], tasks: Iterable[Task]) -> Iterator[IndexEntry]:
    pool = ThreadPoolExecutor(THREADS, thread_name_prefix="intake-bluesky-look")
    try:
        yield from _in_turn((pool.submit(look_here, task).result for task in tasks), 4 * THREADS)
    finally:
        pool.shutdown(cancel_futures=True)


def _in_turn(begun: Iterable[Callable[[], T]], ahead: int) -> Iterator[T]:
    """Yield the result of each thing that was begun, in order, when a few more were."""
    pending: deque[Callable[[], T]] = deque()
    for result in begun:
        pending.append(result)
        if len(pending) > ahead:
            yield pending.popleft()()
    while pending:
        yield pending.popleft()()


def _begun(
    executor: Executor, codec: Codec, look_here: Callable[[Task], IndexEntry], chunk: list[Task]
) -> Callable[[], list[IndexEntry]]:
    future: Future[list[IndexEntry]]
    try:
        future = executor.submit(look_there, codec, chunk)
    except (OSError, RuntimeError) as error:  # no process can be started, or those there were have ended
        future = Future()
        future.set_exception(error)
    return partial(_result, future, look_here, chunk)


def _result(
    future: Future[list[IndexEntry]], look_here: Callable[[Task], IndexEntry], chunk: list[Task]
) -> list[IndexEntry]:
    try:
        return future.result()
    except Exception as error:  # noqa: BLE001  # whatever is in a file, a look does not raise: the process did
        LOG.info("looking at files in this process: %s", error)
        return list(map(look_here, chunk))


def look_there(codec: Codec, tasks: list[Task]) -> list[IndexEntry]:
    """Look at files of this machine; what a process is given to do."""
    return [look(codec, open_here, task) for task in tasks]


def open_here(path: str, stamp: str) -> ByteSource | None:
    """Open a file of this machine, where a look at it costs nothing."""
    return None if stamp else LocalSource(path)


def _chunks(tasks: Iterable[Task]) -> Iterator[list[Task]]:
    chunk: list[Task] = []
    size = 0
    for task in tasks:
        chunk.append(task)
        size += size_of(task.stamp)
        if size >= CHUNK:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk
