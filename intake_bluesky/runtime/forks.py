"""What must not be in the middle of something when a process forks."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Final, TypeVar

from intake_bluesky.errors import StoreUnavailable

__all__ = ["SQLITE", "ForkGate"]

T = TypeVar("T")

PATIENCE: Final = 5.0
"""Seconds that a fork waits."""


class ForkGate:
    """Threads are within for a moment, and forks wait for a moment when nobody is; one for each library, for ever.

    A library in C has locks, and notes of what it has locked, that a child has as they were when it was forked: in the
    middle of something they are held there for ever.

    Parameters
    ----------
    what : str
        That threads do within, for an error.

    Examples
    --------
    >>> gate = ForkGate("search")
    >>> with gate:
    ...     print("not to be interrupted")
    not to be interrupted
    """

    def __init__(self, what: str) -> None:
        self._what, self._broken = what, False
        self._here = threading.local()
        self._begin()
        if hasattr(os, "register_at_fork"):  # Windows does not fork
            os.register_at_fork(
                before=self._before_fork, after_in_parent=self._after_fork, after_in_child=self._begin_child
            )

    def _begin(self) -> None:
        self._changed = threading.Condition(threading.RLock())
        self._within, self._forking = self._own, 0

    @property
    def _own(self) -> int:
        """How often this thread is within."""
        return int(getattr(self._here, "depth", 0))

    def __enter__(self) -> None:
        with self._changed:
            # Else threads that take turns would keep a fork waiting.
            while self._forking and not self._own:
                self._changed.wait()
            self._within += 1
            self._here.depth = self._own + 1

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        with self._changed:
            self._within -= 1
            self._here.depth = self._own - 1
            if self._forking:
                self._changed.notify_all()

    def run(self, action: Callable[[], T]) -> T:
        """Do something within."""
        with self:
            return action()

    def check(self) -> None:
        """Raise `StoreUnavailable` in a child that would wait for a thread of its parent."""
        if self._broken:
            raise StoreUnavailable(
                f"this process was forked in the middle of what another thread did, and cannot {self._what}: fork when "
                'no thread does, or start processes by "spawn" or "forkserver"'
            )

    def _before_fork(self) -> None:
        self._changed.acquire()
        self._forking += 1
        until = time.monotonic() + PATIENCE
        while self._within > self._own and (left := until - time.monotonic()) > 0:
            self._changed.wait(left)

    def _after_fork(self) -> None:
        self._forking -= 1
        self._changed.notify_all()
        self._changed.release()

    def _begin_child(self) -> None:
        self._broken = self._broken or self._within > self._own
        self._begin()


SQLITE: Final = ForkGate("search")
"""Statements and transactions of SQLite: what one connection has locked, all of the process have."""
