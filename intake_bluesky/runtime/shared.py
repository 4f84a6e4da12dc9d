"""What the threads of this process share while any of them uses it, and which is closed when the last one is done."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

__all__ = ["Shared"]

T = TypeVar("T")


@dataclass(eq=False, slots=True)
class _Use(Generic[T]):
    thing: T
    users: int = 0


class Shared(Generic[T]):
    """Things in use at this moment, one for each key; nothing stays open between uses.

    Parameters
    ----------
    close : callable
        Lets go of a thing.
    """

    def __init__(self, close: Callable[[T], object]) -> None:
        self._close = close
        self.reset()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self.reset)

    def reset(self) -> None:
        """Forget everything without closing it: what a forked child does with what its parent has open."""
        self.lock = threading.RLock()
        self._uses: dict[Hashable, _Use[T]] = {}

    def __len__(self) -> int:
        return len(self._uses)

    @contextmanager
    def lend(self, key: Hashable, make: Callable[[], T]) -> Iterator[T]:
        """Lend what is in use under a key, made now if nothing is."""
        with self.lock:
            use = self._uses.get(key)
            if use is None:
                use = self._uses[key] = _Use(make())
            use.users += 1
        try:
            yield use.thing
        finally:
            with self.lock:
                use.users -= 1
                if not use.users:
                    if self._uses.get(key) is use:
                        del self._uses[key]
                    self._close(use.thing)
