"""What was read last of the runs of a store, so that it need not be asked for twice."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

from intake_bluesky.runtime.processes import ProcessLock

T = TypeVar("T")


class HeaderCache(Generic[T]):
    """What is known of the runs that were asked for last, by uid; for all threads.

    Parameters
    ----------
    size : int
        Of how many runs, or of how many things about runs where the key says more than a uid.
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
        self._runs: OrderedDict[Hashable, tuple[float, str, T]] = OrderedDict()
        self._threads = ProcessLock()

    def get(self, uid: Hashable, version: str = "") -> T | None:
        """What was put of a run; None where it is of another version, or too old."""
        with self._threads.lock:
            known = self._runs.get(uid)
            if known is None or known[1] != version or time.monotonic() - known[0] > self._age:
                return None
            self._runs.move_to_end(uid)
            return known[2]

    def put(self, uid: Hashable, value: T, version: str = "") -> None:
        """Put what is known of a run; those that are too old are dropped, and of too many that used longest ago."""
        now = time.monotonic()
        with self._threads.lock:
            self._runs[uid] = now, version, value
            self._runs.move_to_end(uid)
            if self._age < math.inf:
                for other in [other for other, known in self._runs.items() if now - known[0] > self._age]:
                    del self._runs[other]
            if len(self._runs) > self._size:
                self._runs.popitem(last=False)

    def drop(self, uid: Hashable) -> None:
        """Drop what is known of a run."""
        with self._threads.lock:
            self._runs.pop(uid, None)

    def clear(self) -> None:
        """Drop all."""
        with self._threads.lock:
            self._runs.clear()
