"""Runs in an index without files, whose documents may hold what no file format has."""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from intake_bluesky.files.scan.index_entries import entry_of
from intake_bluesky.index.index import Index, IndexEntry

Documents = tuple[Mapping[str, Any], Mapping[str, Any] | None]


def pickled_entry(number: int, start: Mapping[str, Any], stop: Mapping[str, Any] | None) -> IndexEntry:
    """The entry of a run, its number for a path."""
    ended = None if stop is None else pickle.dumps(stop)
    return entry_of(str(number), "stamp", (pickle.dumps(start), dict(start)), ended)


def pickled_index(path: Path, runs: Iterable[Documents] = ()) -> Index:
    """An index of such runs."""
    index = Index(path, pickle.loads)
    index.put([pickled_entry(number, *run) for number, run in enumerate(runs)])
    index.settle()
    return index
