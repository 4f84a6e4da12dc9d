"""How often files are listed: listings that take long are not repeated all the time."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from intake_bluesky.files.content.file_location import FileLocation

__all__ = ["Rhythm", "Turn"]

LONG: Final = 0.1  # seconds: listings that take longer are not repeated all the time
SHARE: Final = 20  # but after this many times what the last one took
SETTLED: Final = 2_000_000_000  # nanoseconds after which a folder's time of change can be relied on
PATIENCE: Final = 1.0  # seconds after a long listing in which another is not made for a run that it had not


@dataclass(slots=True)
class Turn:
    """A listing: when it began or ended, how long it took, when the locations had changed before, into which index."""

    when: float
    changes: list[int | None]
    cost: float = 0.0
    generation: int = -1


class Rhythm:
    """When the locations of a store were listed, and when they are to be again."""

    def __init__(self, locations: Sequence[FileLocation]) -> None:
        self._locations = locations
        self._last = Turn(0.0, [])  # into no index: none was made

    def begin(self, generation: int) -> Turn:
        """Begin to list, into this index."""
        # The changes of before: a file added while the listing goes on shows as a change after it.
        return Turn(time.monotonic(), self._changes(), generation=generation)

    def measured(self, turn: Turn) -> None:
        """The listing is there, and what it cost is known."""
        turn.cost = time.monotonic() - turn.when

    def end(self, turn: Turn) -> None:
        """The index holds what was listed."""
        turn.when = time.monotonic()
        self._last = turn

    def listed(self, generation: int) -> bool:
        """Whether a listing was made into an index that is still there."""
        return self._last.generation == generation

    def resting(self, generation: int) -> bool:
        """Whether a long listing was made not long ago, and no file was added or removed since."""
        last = self._last
        if not self.listed(generation) or last.cost < LONG:
            return False
        recent = time.monotonic() - last.when < SHARE * last.cost
        return recent and None not in last.changes and self._changes() == last.changes

    def due(self, generation: int) -> bool:
        """Whether to list again for a run that the last listing had not."""
        since = time.monotonic() - self._last.when
        return not self.listed(generation) or since > min(SHARE * self._last.cost, PATIENCE)

    def _changes(self) -> list[int | None]:
        """When each location changed; None where that is unknown, or so recent that more may follow unseen."""
        settled = time.time_ns() - SETTLED
        changes = (location.changed() for location in self._locations)
        return [change if change is not None and change < settled else None for change in changes]
