"""The conformance suite: what every store has to pass, as classes for a driver's test file to inherit.

A driver's test file shows how another program than the driver puts documents into its storage, and no more::

    class TestMyStore(StoreTests[MyStore]):
        def make_store(self, folder: Path) -> MyStore:
            return MyStore(folder)

        def insert(self, store: MyStore, documents: Run) -> None:
            write_with_some_other_program(store.folder, documents)

and so on for the hooks of `StoreHooks`. A driver that cannot write inherits `ReadOnlyStoreTests`.
"""

from __future__ import annotations

from intake_bluesky.testing.stores.hooks import Runs, S, StoreHooks, of_each_example
from intake_bluesky.testing.stores.laziness import StoreLazinessTests
from intake_bluesky.testing.stores.life_cycle import StoreLifeCycleTests
from intake_bluesky.testing.stores.reading import StoreReadingTests
from intake_bluesky.testing.stores.removal import StoreRemovalTests
from intake_bluesky.testing.stores.statistics import StoreStatisticsTests
from intake_bluesky.testing.stores.values import StoreValueTests
from intake_bluesky.testing.stores.writing import StoreWritingTests

__all__ = [
    "ReadOnlyStoreTests",
    "Runs",
    "StoreHooks",
    "StoreLazinessTests",
    "StoreLifeCycleTests",
    "StoreReadingTests",
    "StoreRemovalTests",
    "StoreStatisticsTests",
    "StoreTests",
    "StoreValueTests",
    "StoreWritingTests",
    "of_each_example",
]


class ReadOnlyStoreTests(
    StoreReadingTests[S],
    StoreValueTests[S],
    StoreLazinessTests[S],
    StoreLifeCycleTests[S],
    StoreStatisticsTests[S],
):
    """All that a store which cannot be written has to pass."""


class StoreTests(ReadOnlyStoreTests[S], StoreWritingTests[S], StoreRemovalTests[S]):
    """All of it."""
