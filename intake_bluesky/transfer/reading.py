"""Runs read for copying: one after the other, or where that means waiting, several ahead by a few threads.

Memory is bounded, whatever the size of a run: of each that is read ahead some documents wait.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from typing import Final, NoReturn, TypeAlias

from intake_bluesky.documents.model import Document
from intake_bluesky.errors import IntakeBlueskyError
from intake_bluesky.transfer.digests import Digest
from intake_bluesky.transfer.sources import Source

__all__ = ["Reading", "SourceFailed", "read_ahead"]

Pairs: TypeAlias = Iterator[tuple[str, Document]]
Chunk: TypeAlias = list[tuple[str, Document]]
AHEAD: Final = 4  # runs that are read at once
FEW: Final = 4  # runs after which it is known whether reading means waiting
PATIENT: Final = 1e-3  # seconds of waiting for a run, beside the work it is, from which on threads read ahead
CHUNK: Final = 1 << 18  # bytes of documents, as JSON, that are passed on together
WAITING: Final = 2  # chunks of each run that wait
OFTEN: Final = 0.1  # seconds after which a thread looks whether it is still wanted


class SourceFailed(IntakeBlueskyError):
    """Reading a run failed, by the error that is its cause."""


class Reading:
    """One run, while it is read: its documents, and their digest once they were all given.

    Parameters
    ----------
    source : Source
    ordered : bool
        As of `Digest`.
    """

    def __init__(self, source: Source, *, ordered: bool) -> None:
        self.source, self.ordered = source, ordered
        self.documents = 0
        self._digest = Digest(ordered=ordered)
        self._size = 0
        self._rest: Pairs = self._read()
        self._ahead: _Ahead | None = None
        self._failed: Exception | None = None

    @property
    def digest(self) -> bytes:
        """Of all documents, once `pairs` has given them."""
        return self._digest.value

    def pairs(self) -> Pairs:
        """Yield the documents as they are read; called again, those that were not taken.

        Raises
        ------
        SourceFailed
        """
        if self._failed is not None:
            self._fail(self._failed)
        try:
            for pair in self._rest:
                self.documents += 1
                yield pair
        except Exception as error:  # noqa: BLE001  # of any store; the run is refused, and the others go on
            self._failed = error
            self._fail(error)

    def _fail(self, error: Exception) -> NoReturn:
        raise SourceFailed(str(error)) from error

    def _read(self) -> Pairs:
        for name, doc in self.source.store.complete_documents(self.source.uid):
            self._size += len(self._digest.add(name, doc))
            yield name, doc

    def finish(self) -> None:
        """Read what is left, for the digest; raises as `pairs`."""
        for _ in self.pairs():
            pass

    def abandon(self) -> None:
        """Have nothing more read."""
        if self._ahead is not None:
            self._ahead.unwanted = True

    def begin(self, pool: ThreadPoolExecutor, ended: threading.Event) -> None:
        """Have a thread read."""
        ahead = self._ahead = _Ahead(ended)
        chunks, self._rest = self._chunks(self._rest), ahead.pairs()
        pool.submit(ahead.fill, chunks)

    def _chunks(self, documents: Pairs) -> Iterator[Chunk]:
        chunk: Chunk = []
        for pair in documents:
            chunk.append(pair)
            if self._size >= CHUNK:
                yield chunk
                chunk, self._size = [], 0
        yield chunk


class _Ahead:
    """Documents that a thread has read, and that nobody has taken yet."""

    def __init__(self, ended: threading.Event) -> None:
        self.unwanted = False
        self._ended = ended
        self._waiting: queue.Queue[Chunk | Exception | None] = queue.Queue(WAITING)

    def fill(self, chunks: Iterator[Chunk]) -> None:
        """Put in all that there is, as long as it is wanted."""
        try:
            for chunk in chunks:
                if not self._put(chunk):
                    return
            self._put(None)
        except Exception as error:  # noqa: BLE001  # whatever a store raises is raised where the run is written
            self._put(error)

    def _put(self, item: Chunk | Exception | None) -> bool:
        while not (self.unwanted or self._ended.is_set()):
            try:
                self._waiting.put(item, timeout=OFTEN)
            except queue.Full:
                continue
            return True
        return False

    def pairs(self) -> Pairs:
        """Yield what the thread puts in; raise what it met."""
        while (item := self._waiting.get()) is not None:
            if isinstance(item, Exception):
                raise item
            yield from item


@contextmanager
def read_ahead(sources: Iterable[Source], *, ordered: bool) -> Iterator[Iterator[Reading]]:
    """Read runs; threads that do end with the block."""
    ended = threading.Event()
    pool = ThreadPoolExecutor(AHEAD, "intake-bluesky-copy")
    begun = (Reading(source, ordered=ordered and source.store.exact_documents) for source in sources)
    try:
        yield _readings(begun, pool, ended)
    finally:
        ended.set()
        pool.shutdown(cancel_futures=True)


def _readings(readings: Iterator[Reading], pool: ThreadPoolExecutor, ended: threading.Event) -> Iterator[Reading]:
    waits = _Waits()
    for reading in islice(readings, FEW):
        reading._rest = waits.of(reading._rest)
        yield reading
    if waits.seconds <= FEW * PATIENT:
        yield from readings
        return
    running: deque[Reading] = deque()
    while True:
        for reading in islice(readings, AHEAD - len(running)):
            reading.begin(pool, ended)
            running.append(reading)
        if not running:
            return
        yield running.popleft()


class _Waits:
    """How long reading took beside the work that it was: for a disk, a server, or a core."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def of(self, documents: Pairs) -> Pairs:
        """Pass documents on, and measure."""
        while True:
            began, busy = time.perf_counter(), time.thread_time()
            pair = next(documents, None)
            self.seconds += time.perf_counter() - began - (time.thread_time() - busy)
            if pair is None:
                return
            yield pair
