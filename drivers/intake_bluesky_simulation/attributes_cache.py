"""Attributes of outputs, read once for each version: they lie in the user's cache."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from intake_bluesky.documents.exact_json import json_text
from intake_bluesky.errors import DamagedRun
from intake_bluesky.index.index import Index, IndexEntry, index_path, storable
from intake_bluesky_simulation.found_outputs import FoundOutput
from intake_bluesky_simulation.simulation_starts import plain_attributes

__all__ = ["AttributesCache"]

ALL: Final = "SELECT path, stamp, start FROM files JOIN documents ON file = id"
TOGETHER: Final = 8
"""Outputs that are opened at once: those on servers are waited for."""
MANY: Final = 500
"""Outputs whose attributes are kept together: what was read is not lost when somebody stops it."""


class AttributesCache:
    """The attributes of the outputs of one catalog.

    Parameters
    ----------
    key : str
        What tells the catalog from all others.
    """

    def __init__(self, key: str) -> None:
        self._index = Index(index_path(f"attributes of {key}"))

    def of(self, outputs: Iterable[FoundOutput]) -> dict[str, dict[str, Any] | DamagedRun]:
        """The attributes of outputs by path, or why they cannot be read; reads those that nobody has read yet."""
        rows = self._index.again(lambda: list(self._index.rows(ALL, [])))
        known = {path: (stamp, start) for path, stamp, start in rows}
        found: dict[str, dict[str, Any] | DamagedRun] = {}
        missing = []
        for output in outputs:
            stamp, start = known.get(output.output.path, (None, None))
            if stamp != output.version:
                missing.append(output)
            else:
                found[output.output.path] = json.loads(start)
        for first in range(0, len(missing), MANY):
            found |= self._read(missing[first : first + MANY])
        return found

    def _read(self, outputs: list[FoundOutput]) -> Mapping[str, dict[str, Any] | DamagedRun]:
        with ThreadPoolExecutor(TOGETHER) as pool:
            read = dict(zip((one.output.path for one in outputs), pool.map(_attributes, outputs), strict=True))
        # Not what could not be read: a server may answer the next time.
        entries = [
            IndexEntry(one.output.path, one.version, start=json_text(told).encode())
            for one, told in zip(outputs, read.values(), strict=True)
            if isinstance(told, dict) and storable(one.output.path)
        ]
        self._index.again(lambda: self._index.put(entries))
        return read

    def close(self) -> None:
        """Close the file; it is opened anew when it is used again."""
        self._index.close()


def _attributes(found: FoundOutput) -> dict[str, Any] | DamagedRun:
    try:
        return plain_attributes(found.output.attributes(found.version))
    except DamagedRun as error:
        return error
