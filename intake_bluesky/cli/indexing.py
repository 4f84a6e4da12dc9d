"""``intake-bluesky index``: an index made in advance, and published beside the files."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from intake_bluesky.cli.opening import find_catalog
from intake_bluesky.errors import StoreUnavailable
from intake_bluesky.terminal import counted, write_json

__all__ = ["run"]


@runtime_checkable
class SupportsIndex(Protocol):
    """A store that keeps an index of files."""

    def scan(self) -> None:
        """Scan the files that no scan has seen."""

    def publish(self) -> Sequence[str]:
        """Put what is known beside the files."""


def run(arguments: argparse.Namespace) -> int:
    """Make the indexes, one after the other."""
    done = [_index(text, scan=arguments.scan, publish=arguments.publish) for text in arguments.folders]
    if arguments.json:
        write_json({"indexes": done})
        return 0
    for one in done:
        print(f"{one['catalog']}: {counted(one['runs'], 'run')}, {counted(one['problems'], 'problem')}")
        for path in one["published"]:
            print(f"  published {path}")
    return 0


def _index(text: str, *, scan: bool, publish: bool) -> dict[str, Any]:
    catalog = find_catalog(text)
    store = catalog.store
    if not isinstance(store, SupportsIndex):
        raise StoreUnavailable(f"{text} has no index: {type(store).__name__} finds its runs by itself")
    if scan:
        store.scan()
    else:
        store.refresh()
    published = list(store.publish()) if publish else []
    return {
        "catalog": text,
        "runs": len(catalog),
        "problems": len(catalog.problems),
        "published": published,
    }
