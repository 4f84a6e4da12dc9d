"""For the authors of drivers: conformance suites, example runs, a store in memory, and strategies of runs and queries.

`StoreTests`, `WrapperTests`, `CodecTests` and `ReaderTests` are the conformance suites of stores, of stores made of
another, of formats of runs in files and of readers of detectors' files (all need pytest, that of formats hypothesis
too); `EXAMPLES` are example runs; `MemoryStore` holds runs in memory; `RunComposer` composes runs by hand;
`InaccessibleArray` raises on access. `intake_bluesky.testing.strategies` draws whole runs, and
`intake_bluesky.testing.queries` queries (both need hypothesis).
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from intake_bluesky.late_names import late_names

if TYPE_CHECKING:
    from intake_bluesky.testing.codecs import CodecTests
    from intake_bluesky.testing.compose import RunComposer, data_key
    from intake_bluesky.testing.inaccessible import InaccessibleArray, UnexpectedDataAccess
    from intake_bluesky.testing.memory import MemoryStore
    from intake_bluesky.testing.readers import FileFormat, ReaderTests
    from intake_bluesky.testing.runs import EXAMPLES, PORTABLE, Run
    from intake_bluesky.testing.stores import ReadOnlyStoreTests, StoreTests
    from intake_bluesky.testing.wrappers import WrapperTests

__all__ = [
    "EXAMPLES",
    "PORTABLE",
    "CodecTests",
    "FileFormat",
    "InaccessibleArray",
    "MemoryStore",
    "ReadOnlyStoreTests",
    "ReaderTests",
    "Run",
    "RunComposer",
    "StoreTests",
    "UnexpectedDataAccess",
    "WrapperTests",
    "data_key",
]

if "pytest" in sys.modules:  # before they are imported, so that what they assert is shown in full
    sys.modules["pytest"].register_assert_rewrite(
        *(f"{__name__}.{suite}" for suite in ("codecs", "differences", "readers", "stores", "wrappers"))
    )

_HOMES = {
    "EXAMPLES": "runs",
    "PORTABLE": "runs",
    "InaccessibleArray": "inaccessible",
    "UnexpectedDataAccess": "inaccessible",
    "MemoryStore": "memory",
    "RunComposer": "compose",
    "data_key": "compose",
    "Run": "runs",
    "ReadOnlyStoreTests": "stores",
    "StoreTests": "stores",
    "WrapperTests": "wrappers",
    "CodecTests": "codecs",
    "ReaderTests": "readers",
    "FileFormat": "readers",
}


# Late: the examples alone need neither pytest nor hypothesis, which a user may not have.
__getattr__ = late_names(__name__, {name: f"{__name__}.{module}" for name, module in _HOMES.items()})


def __dir__() -> list[str]:
    return sorted(__all__)
