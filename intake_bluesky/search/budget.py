"""How much of the recorded data one search may read, and what it found out on the way."""

from __future__ import annotations

import time
from typing import Final, Self

from intake_bluesky.documents.statistics import Statistics
from intake_bluesky.errors import SearchTooLarge
from intake_bluesky.storage.contract import RunStore
from intake_bluesky.storage.statistics import Answer, Recorded

SOON: Final = 1.0  # seconds after which the store is given what was found out


class Search:
    """One search that looks into data: how much it may read, and what it found out, for the store to keep.

    At `most` so many bytes of values, as arrays, may be read; None stands for whatever it takes.

    Examples
    --------
    >>> from intake_bluesky.testing.memory import MemoryStore
    >>> with Search(MemoryStore(), 100) as search:
    ...     search.take(60, "9acjef")
    """

    def __init__(self, store: RunStore, most: int | None = None) -> None:
        self._store, self._most, self._taken = store, most, 0
        self._found: list[tuple[Recorded, Statistics | Answer]] = []
        self._kept = time.monotonic()

    def take(self, size: int, uid: str = "") -> None:
        """Count bytes that are read, or raise `SearchTooLarge`."""
        self.check(size, uid)
        self._taken += size

    def check(self, size: int, uid: str = "") -> None:
        """Make sure that so many bytes may be read, or raise `SearchTooLarge`."""
        if self._most is not None and self._taken + size > self._most:
            of_run = f" of run {uid}" if uid else ""
            raise SearchTooLarge(
                f"this search may read {self._most:,} bytes of data, has read {self._taken:,} and comes to {size:,} "
                f"more{of_run}: ask for fewer runs, or raise read_at_most; what it found out is kept"
            )

    def keep(self, what: Recorded, found: Statistics | Answer) -> None:
        """Have the store keep what was found out: several at once, not long after."""
        if self._store.statistics is not None:
            # Not one by one: each `put` of a store is a transaction.
            self._found.append((what, found))
            if time.monotonic() - self._kept > SOON:
                self.end()

    def end(self) -> None:
        """Have the store keep it now."""
        found, self._found = self._found, []
        if found and self._store.statistics is not None:
            self._store.statistics.put(found)
        self._kept = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.end()  # after an error, too: what was read was paid for, and holds
