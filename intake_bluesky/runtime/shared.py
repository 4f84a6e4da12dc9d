"""What the threads of this process share while any of them uses it, and which is closed when the last one is done."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

from intake_bluesky.runtime.processes import PerProcess

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
        self._of_process: PerProcess[dict[Hashable, _Use[T]]] = PerProcess()

    @property
    def lock(self) -> threading.RLock:
        """Held while things are lent and taken back."""
        return self._of_process.lock

    @property
    def _uses(self) -> dict[Hashable, _Use[T]]:
        return self._of_process.get(dict)

    def __len__(self) -> int:
        return len(self._uses)

    @contextmanager
    def lend(self, key: Hashable, make: Callable[[], T]) -> Iterator[T]:
        """Lend what is in use under a key, made now if nothing is."""
        with self.lock:
            use = self._uses.get(key)
            if use is None:
                # Within the lock, so that two threads do not make two.
                use = self._uses[key] = _Use(make())
            use.users += 1
        try:
            yield use.thing
        finally:
            with self.lock:
                use.users -= 1
                if not use.users:
                    # In a forked child the key may stand for another use by now, or for none.
                    if self._uses.get(key) is use:
                        del self._uses[key]
                    # Within the lock, so that whoever makes it anew finds it closed.
                    self._close(use.thing)
