"""Statistics of recorded values that a store keeps: what it takes and gives."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from intake_bluesky.documents.statistics import Statistics


@dataclass(frozen=True, slots=True)
class Recorded:
    """All values of a data key in a stream of a run.

    Attributes
    ----------
    uid, stream, key : str
    version : str
        The run as it was read: `RunHeader.version`.
    reading : str
        How files are found and read (handlers, moved folders), where values are in files: one way reads what
        another does not. "" where the events hold the values.
    """

    uid: str
    version: str
    stream: str
    key: str
    reading: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """Whether a number lies in an interval, ends included: asked where statistics leave that open.

    Attributes
    ----------
    low, high : float
    found : bool
    """

    low: float
    high: float
    found: bool


class StatisticsCache(ABC):
    """Statistics of recorded values that a store keeps, of runs that have stopped, and finds runs by.

    The store answers `intake_bluesky.query.pruning.Kept` then, alone and combined. Queries about data themselves are
    never pushed down.
    """

    @abstractmethod
    def get(self, values: Recorded) -> Statistics | None:
        """Give the statistics of some values; None where there are none, or of another version of the run."""

    @abstractmethod
    def put(self, found: Sequence[tuple[Recorded, Statistics | Answer]]) -> None:
        """Keep what was found, in place of what there was of the same, unless a run is of another version by now."""

    @abstractmethod
    def measure(self, uids: Sequence[str]) -> int:
        """Compute of these runs, if nothing is known of them, what one pass over their documents gives.

        Returns
        -------
        int
            About how many bytes it read.
        """


class SharedStatistics(ABC):
    """A place in a store where its users leave statistics of runs for each other."""

    @abstractmethod
    def load(self, uids: Sequence[str]) -> Mapping[str, tuple[str, bytes]]:
        """Give, by uid, the version of a run and its statistics, as `save` took them; nothing that cannot be read."""

    @abstractmethod
    def save(self, found: Mapping[str, tuple[str, bytes]]) -> None:
        """Leave what was found of some runs; it does nothing where this user may not write."""
