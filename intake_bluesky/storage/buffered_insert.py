"""Writing a run whose documents wait for a moment and are written together: by size, by time, and at the end."""

from __future__ import annotations

import logging
import threading
import time
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, TypeVar

from intake_bluesky.documents.model import Document
from intake_bluesky.errors import IntakeBlueskyError, StoreUnavailable, UnsupportedOperation
from intake_bluesky.storage.contract import RunInsert

T = TypeVar("T")
PAUSE: Final = 0.25  # seconds between two attempts to reach a database

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Buffering:
    """How long documents may wait to be written together: what a crash can lose.

    Attributes
    ----------
    flush_seconds : float
        0 writes each document at once.
    flush_bytes : int
    patience : float
        Seconds for which a database that went away is tried again before writing fails. What could not be written
        stays in memory, and the next write or `close` tries again.

    Examples
    --------
    >>> Buffering(flush_seconds=0.5)
    Buffering(flush_seconds=0.5, flush_bytes=1048576, patience=20.0)
    """

    flush_seconds: float = 1.0
    flush_bytes: int = 1 << 20
    patience: float = 20.0


def try_again(write: Callable[[], T], went_away: Callable[[StoreUnavailable], bool], patience: float) -> T:
    """Do what is harmless twice until the database can be reached, for so many seconds.

    Raises
    ------
    StoreUnavailable
        That of the last attempt, or one that waiting does not cure.
    """
    deadline = time.monotonic() + patience
    while True:
        try:
            return write()
        except StoreUnavailable as error:
            # After the attempt, so that without patience there is one all the same.
            if time.monotonic() > deadline or not went_away(error):
                raise
            time.sleep(PAUSE)


class BufferedInsert(RunInsert):
    """A run being written by one process; drivers implement how a document is taken, and how those taken are written.

    Parameters
    ----------
    uid : str
    buffering : Buffering
    """

    def __init__(self, uid: str, buffering: Buffering) -> None:
        self.uid = uid
        self.buffering = buffering
        self._state: Literal["open", "ending", "closed"] = "open"
        self._held = 0  # bytes in memory that are not in the database
        self._since: float | None = None  # when the first of what waits came
        self._failed: IntakeBlueskyError | None = None  # in the timer's thread, for whoever writes or closes next
        self._timer: threading.Timer | None = None
        # Reentrant: `write` calls `flush`, which callers use on its own, too. The timer's thread waits for it.
        self._lock = threading.RLock()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.uid} {self._state} held={self._held}>"

    @abstractmethod
    def _take(self, name: str, doc: Document) -> None:
        """Hold a document, add its bytes to `_held`; or write it. What raises `StoreUnavailable` stays in memory."""

    @abstractmethod
    def _flush(self) -> None:
        """Write what is held, if anything is, and set `_held` to 0; what it cannot write stays held."""

    def _went_away(self, error: StoreUnavailable) -> bool:
        """Whether the database may come back by itself."""
        return True

    def write(self, name: str, doc: Document) -> None:
        """Take one document, which is in the database at once or within the bounds of `Buffering`.

        Raises
        ------
        UnsupportedOperation
            For what the database cannot hold, or would not find again; and when the run is closed. What an earlier
            document was refused for, when its time had come, is raised after this one is taken.
        DuplicateRun
            When the database has something of this uid; the others are written.
        StoreUnavailable
            When the database cannot be reached for longer than patience lasts: the document stays in memory, and is
            written with the next one or by `close`. It is not to be written again.
        RunNotFound
            When somebody removed the run meanwhile.
        """
        with self._lock:
            if self._state != "open":
                raise UnsupportedOperation(f"run {self.uid} is closed: it has ended with its stop, or was removed")
            # Before it is taken: a stop that cannot be written now stays in memory, and nothing may follow it.
            self._state = "ending" if name == "stop" else "open"
            self._since = self._since or time.monotonic()
            try:
                self._take(name, doc)
            except StoreUnavailable as error:
                raise self._in_memory(error) from error
            # The document was refused, not deferred: the run may go on with others.
            except BaseException:
                self._state = "open"
                raise
            self._write_when_due()
            # Last, for this document is none of those that the timer could not write.
            self._raise_failure()

    def _write_when_due(self) -> None:
        if self._state == "ending":
            self._end()
        elif self._held >= self.buffering.flush_bytes or self.buffering.flush_seconds <= 0 or self._is_overdue():
            self._flush_or_wait()
        elif self._held:
            self._start_timer()
        else:
            self._since = None

    def _flush_or_wait(self) -> None:
        """Write what is held, or hold it for as long as patience lasts."""
        try:
            self.flush()
        except StoreUnavailable as error:
            if self.buffering.patience <= 0 or self._is_overdue() or not self._went_away(error):
                raise self._in_memory(error) from error
            log.warning("%s; the last documents of run %s wait until it can", error, self.uid)
            self._start_timer()

    def _is_overdue(self) -> bool:
        waiting = time.monotonic() - (self._since or time.monotonic())
        return waiting > self.buffering.flush_seconds + max(self.buffering.patience, 0)

    def _in_memory(self, error: StoreUnavailable) -> StoreUnavailable:
        return StoreUnavailable(
            f"{error} The last documents of run {self.uid} are in memory and will be written with the next one, or by "
            "close(): do not write them again"
        )

    def flush(self) -> None:
        """Write what is held."""
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            try:
                self._flush()
            finally:
                self._since = self._since if self._held else None

    def _start_timer(self) -> None:
        if self._timer is None:  # no daemon: a program that ends without close() waits for it
            # At least PAUSE: after a failure this is the time to the next attempt, and flush_seconds may be 0.
            self._timer = threading.Timer(max(self.buffering.flush_seconds, PAUSE), self._flush_on_time)
            self._timer.start()

    def _flush_on_time(self) -> None:
        with self._lock:
            if self._timer is not threading.current_thread():  # it was cancelled while it waited for the lock
                return
            try:
                self._flush_or_wait()
            except StoreUnavailable as error:  # who writes next tries again
                log.warning("%s", error)
            except IntakeBlueskyError as error:
                log.error("%s", error)
                self._failed = error

    def _raise_failure(self) -> None:
        failed, self._failed = self._failed, None
        if failed is not None:
            raise failed

    def _end(self) -> None:
        try:
            try_again(self.flush, self._went_away, self.buffering.patience)
        except StoreUnavailable as error:
            raise self._in_memory(error) from error
        self._state = "closed"

    def close(self) -> None:
        """Write what is held; without a stop the run reads as far as it got.

        Raises
        ------
        StoreUnavailable
            When that cannot be done: call it again once the database is back.
        """
        with self._lock:
            if self._state != "closed":
                self._end()
            self._raise_failure()
