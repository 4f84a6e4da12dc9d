"""The contract of what keeps arrays beside the documents of runs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, TypeAlias

from intake_bluesky.documents.model import RunHeader

__all__ = ["ArrayPlace", "KeptArrays"]

KeptArrays: TypeAlias = Mapping[str, Mapping[str, Any]]
"""By stream and data key, arrays whose rows are the stored events; each has ``shards`` and ``chunks``, as of Zarr."""


class ArrayPlace(ABC):
    """Where a store keeps the arrays of runs, which it then gives by `RunStore.arrays`."""

    @abstractmethod
    def find(self, header: RunHeader) -> KeptArrays | None:
        """Look for the arrays of a run with this start and stop; None where there are none."""

    @abstractmethod
    def write(self, run: Any) -> None:
        """Write the arrays of a `BlueskyRun`, those of files too, in place of others of the run.

        The run's documents may be inserted later, and are then all that is written. Where it fails, nothing stays.

        Raises
        ------
        AssetUnavailable
            When a file cannot be read.
        DuplicateRun
            When another program is writing them.
        StoreUnavailable
        """

    @abstractmethod
    def remove(self, uid: str) -> None:
        """Remove the arrays of a run, if there are any."""
