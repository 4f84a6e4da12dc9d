"""For the authors of drivers: conformance suites, example runs, a store in memory, and what draws runs and queries.

`StoreTests` is the conformance suite of stores, `WrapperTests` that of stores made of another (both need pytest);
`EXAMPLES` are example runs; `MemoryStore` keeps runs in memory; `RunComposer` composes runs by hand;
`InaccessibleArray` raises on access. `intake_bluesky.testing.strategies` draws whole runs and
`intake_bluesky.testing.queries` queries (both need hypothesis).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from intake_bluesky.testing.compose import RunComposer, data_key
    from intake_bluesky.testing.inaccessible import InaccessibleArray, UnexpectedDataAccess
    from intake_bluesky.testing.memory import MemoryStore
    from intake_bluesky.testing.runs import EXAMPLES, PORTABLE, Run
    from intake_bluesky.testing.stores import StoreTests
    from intake_bluesky.testing.wrappers import WrapperTests

__all__ = [
    "EXAMPLES",
    "PORTABLE",
    "InaccessibleArray",
    "MemoryStore",
    "Run",
    "RunComposer",
    "StoreTests",
    "UnexpectedDataAccess",
    "WrapperTests",
    "data_key",
]

_HOMES = {
    "EXAMPLES": "runs",
    "PORTABLE": "runs",
    "InaccessibleArray": "inaccessible",
    "UnexpectedDataAccess": "inaccessible",
    "MemoryStore": "memory",
    "Run": "runs",
    "RunComposer": "compose",
    "data_key": "compose",
    "StoreTests": "stores",
    "WrapperTests": "wrappers",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
