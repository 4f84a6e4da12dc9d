"""The conformance suite: what every store has to pass, as classes for a driver's test file to inherit.

A driver's whole test file, given that something else than the driver can put documents into its storage::

    class TestMyStore(StoreTests):
        def make_store(self, folder):
            return MyStore(folder)

        def insert(self, store, documents):
            write_with_some_other_program(store.folder, documents)

and so on for the hooks of `StoreHooks`. Drivers that cannot be written inherit all the mixins but
`StoreWritingTests`.
"""

from __future__ import annotations

import pytest

_PARTS = ("hooks", "reading", "values", "laziness", "life_cycle", "writing")
pytest.register_assert_rewrite(*(f"{__name__}.{part}" for part in _PARTS))

from intake_bluesky.testing.stores.hooks import StoreHooks  # noqa: E402
from intake_bluesky.testing.stores.laziness import StoreLazinessTests  # noqa: E402
from intake_bluesky.testing.stores.life_cycle import StoreLifeCycleTests  # noqa: E402
from intake_bluesky.testing.stores.reading import StoreReadingTests  # noqa: E402
from intake_bluesky.testing.stores.values import StoreValueTests  # noqa: E402
from intake_bluesky.testing.stores.writing import StoreWritingTests  # noqa: E402

__all__ = [
    "StoreHooks",
    "StoreLazinessTests",
    "StoreLifeCycleTests",
    "StoreReadingTests",
    "StoreTests",
    "StoreValueTests",
    "StoreWritingTests",
]


class StoreTests(
    StoreReadingTests, StoreValueTests, StoreLazinessTests, StoreLifeCycleTests, StoreWritingTests
):
    """All of it."""
