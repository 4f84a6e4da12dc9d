"""The register of example runs: what every store and every reader has to get right."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeAlias

from intake_bluesky.documents.model import Document

__all__ = ["EXAMPLES", "INVALID", "UNPORTABLE", "Run", "example", "example_with_files"]

Run: TypeAlias = list[tuple[str, Document]]

EXAMPLES: Final[dict[str, Callable[[Path], Run]]] = {}
"""Name to a function that takes a folder, where it may write files, and returns (name, document) pairs."""

UNPORTABLE: Final[set[str]] = set()
"""Examples with a column that only Python objects hold: they do not go to netCDF or Zarr as they are."""

INVALID: Final[set[str]] = set()
"""Examples that event-model's schemas refuse, and that facilities have all the same."""


def _register(name: str, make: Callable[[Path], Run], portable: bool, valid: bool) -> None:
    if name in EXAMPLES:
        raise ValueError(f"there is an example {name!r} already")
    EXAMPLES[name] = make
    if not portable:
        UNPORTABLE.add(name)
    if not valid:
        INVALID.add(name)


def example(*, portable: bool = True, valid: bool = True) -> Callable[[Callable[[], Run]], Callable[[], Run]]:
    """Register a function that makes a run all of whose data is in its documents."""

    def register(make: Callable[[], Run]) -> Callable[[], Run]:
        _register(make.__name__, lambda folder: make(), portable, valid)
        return make

    return register


def example_with_files(
    *, portable: bool = True, valid: bool = True
) -> Callable[[Callable[[Path], Run]], Callable[[Path], Run]]:
    """Register a function that makes a run and writes its files into the folder it is given."""

    def register(make: Callable[[Path], Run]) -> Callable[[Path], Run]:
        _register(make.__name__, make, portable, valid)
        return make

    return register
