"""What belongs to one process: connections, clients and threads, none of which survive a fork."""

from __future__ import annotations

import os
import sys
import threading
import weakref
from collections.abc import Callable
from typing import Any, Final, Generic, TypeVar

__all__ = ["PerProcess", "ProcessLock"]

T = TypeVar("T")

_every: Final[weakref.WeakSet[ProcessLock]] = weakref.WeakSet()
_inherited: Final[list[Any]] = []  # of the parent: closing a connection here would tell its server goodbye


class ProcessLock:
    """A lock for the threads of one process: a forked child has another, for its parent's may be held for ever there.

    Attributes
    ----------
    lock : threading.RLock
        Taken from here each time.

    Examples
    --------
    >>> threads = ProcessLock()
    >>> with threads.lock:
    ...     print("one at a time")
    one at a time
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        _every.add(self)

    def _begin_child(self) -> None:
        self.lock = threading.RLock()  # a thread that the child does not have may hold it

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), ()


class PerProcess(ProcessLock, Generic[T]):
    """A value that is made when it is first needed, and anew in a forked child, which leaves its parent's alone.

    Parameters
    ----------
    close : callable, optional
        Lets go of a value: by `close`, or when this object is no more. It must not refer to its owner.

    Examples
    --------
    >>> connection = PerProcess(close=lambda value: print("closed", value))
    >>> connection.get(lambda: "one"), connection.get(lambda: "another")
    ('one', 'one')
    >>> connection.close()
    closed one
    """

    def __init__(self, close: Callable[[T], object] | None = None) -> None:
        super().__init__()
        self._close = close
        self._made: list[T] = []  # one at most
        if close is not None:
            # Given the list, not self, which it would keep alive.
            weakref.finalize(self, _close_all, self._made, close)

    def _begin_child(self) -> None:
        super()._begin_child()
        _inherited.extend(self._made)
        self._made.clear()

    def __bool__(self) -> bool:
        return bool(self._made)

    def get(self, make: Callable[[], T]) -> T:
        """The value of this process, made now if there is none."""
        for value in self._made:  # without the lock, which each statement would wait for
            return value
        with self.lock:
            if not self._made:
                self._made.append(make())
            return self._made[0]

    def close(self) -> None:
        """Let go of the value; the next `get` makes another."""
        with self.lock:
            if self._close is None:
                self._made.clear()
            else:
                _close_all(self._made, self._close)

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self._close,)


def _close_all(made: list[T], close: Callable[[T], object]) -> None:
    while made:
        # Taken out first: one whose close fails is not closed again.
        close(made.pop())


def _begin_child() -> None:
    for each in list(_every):
        each._begin_child()
    _begin_dask()


def _begin_dask() -> None:
    """Have dask start threads of its own in a child: it would wait for those of the parent, for ever."""
    dask: Any = sys.modules.get("dask.threaded")
    if dask is not None:
        _inherited.append(dask.default_pool)
        dask.default_pool, dask.pools_lock = None, threading.Lock()
        dask.pools.clear()


if hasattr(os, "register_at_fork"):  # Windows does not fork
    os.register_at_fork(after_in_child=_begin_child)
