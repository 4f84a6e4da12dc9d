"""What a store read last of its runs, so that a header and the events after it need not be asked for twice."""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from typing import Generic, TypeVar

__all__ = ["HeaderCache"]

T = TypeVar("T")


class HeaderCache(Generic[T]):
    """The runs described last, by uid; for all threads.

    Parameters
    ----------
    size : int
        How many runs.
    age : float
        Seconds after which a run has to be described anew, whatever its version.

    Examples
    --------
    >>> cache = HeaderCache[str](size=2)
    >>> for uid in ("a", "b", "c"):
    ...     cache.put(uid, f"header of {uid}", version="1")
    >>> cache.get("a", "1"), cache.get("b", "1"), cache.get("b", "2")
    (None, 'header of b', None)
    """

    def __init__(self, size: int = 32, age: float = math.inf) -> None:
        self._size, self._age = size, age
        self._runs: OrderedDict[str, tuple[float, str, T]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, uid: str, version: str = "") -> T | None:
        """What was put of a run; None where it is of another version, or too old."""
        with self._lock:
            known = self._runs.get(uid)
            if known is None or known[1] != version or time.monotonic() - known[0] > self._age:
                return None
            self._runs.move_to_end(uid)
            return known[2]

    def put(self, uid: str, value: T, version: str = "") -> None:
        """Put what is known of a run; those that are too old are dropped, and of too many that used longest ago."""
        now = time.monotonic()
        with self._lock:
            self._runs[uid] = now, version, value
            self._runs.move_to_end(uid)
            too_old = [other for other, known in self._runs.items() if now - known[0] > self._age]
            for other in [*too_old, *list(self._runs)[: -self._size]]:
                # A run may be both too old and one of too many.
                self._runs.pop(other, None)

    def drop(self, uid: str) -> None:
        """Drop what is known of a run."""
        with self._lock:
            self._runs.pop(uid, None)

    def clear(self) -> None:
        """Drop all."""
        with self._lock:
            self._runs.clear()
