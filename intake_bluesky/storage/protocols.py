"""Names that drivers asked stores for with `isinstance`; `RunStore` has all of it now, and answers for itself.

They are imported from `intake_bluesky.storage`, which warns. Every `RunStore` is an instance of each.
"""

from __future__ import annotations

from types import new_class
from typing import Any, Final, Protocol, runtime_checkable

from intake_bluesky.storage.contract import RunStore

__all__ = ["INSTEAD", "SupportsCount", "SupportsDistinct", "SupportsInsert", "SupportsLookup", "SupportsStatistics"]

INSTEAD: Final = {
    "SupportsInsert": "ask a store whether it is `writable`",
    "SupportsCount": "call `count`, which every store has",
    "SupportsDistinct": "call `distinct`, which gives None where a store cannot",
    "SupportsLookup": "call `lookup`, which gives None where a store cannot",
    "SupportsStatistics": "ask a store for its `statistics`, which are None where it keeps none",
}
"""What to do in place of `isinstance`."""


def _protocol(name: str) -> Any:
    """The protocol of a store that has the one method or property in its name."""
    member = name.removeprefix("Supports").lower()
    text = f"A store with `RunStore.{member}`. Today, {INSTEAD[name]}."
    body = {"__module__": __name__, "__doc__": text, member: vars(RunStore)[member]}
    # Checked at runtime, since that is how drivers used them.
    return runtime_checkable(new_class(name, (Protocol,), exec_body=lambda space: space.update(body)))


SupportsInsert, SupportsCount, SupportsDistinct, SupportsLookup, SupportsStatistics = map(_protocol, INSTEAD)
