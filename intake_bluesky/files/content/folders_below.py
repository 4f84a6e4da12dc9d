"""Folders with runs below one that has none: what is told instead of an empty catalog."""

from __future__ import annotations

import os
from collections.abc import Collection
from itertools import islice
from typing import Final

from intake_bluesky.files.content.decompress import COMPRESSED

__all__ = ["runs_below"]

LOOKED_INTO: Final = 2000  # folders
SHOWN: Final = 3  # folders that a message names


def runs_below(folder: str, suffixes: Collection[str]) -> str:
    """Name, as the end of a message, folders with files of runs below one; ``""`` where there is none.

    Folders whose names begin with a dot, and those below one that has runs, are not looked into.
    """
    endings = tuple(suffix + end for suffix in suffixes for end in ("", *COMPRESSED))
    found: list[str] = []
    for place, folders, names in islice(os.walk(folder), LOOKED_INTO):
        folders.sort()
        if any(name.endswith(endings) for name in names):
            found.append(place)
            folders.clear()
        folders[:] = [name for name in folders if not name.startswith(".")]
    more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return f", but below it are runs in {', '.join(found[:SHOWN])}{more}: give one of these folders" if found else ""
