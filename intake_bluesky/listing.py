"""What Intake lists of a catalog: entries by uid, made as they are asked for."""

from __future__ import annotations

import operator
from collections.abc import ItemsView, Iterator, Mapping, ValuesView
from typing import Any, Protocol

from intake_bluesky.documents import RunSummary
from intake_bluesky.errors import AmbiguousRun, RunNotFound
from intake_bluesky.selection import Selection

__all__ = ["Listed", "RunEntries", "as_key"]


class Listed(Protocol):
    """A catalog, as far as a listing goes."""

    @property
    def selection(self) -> Selection:
        """The runs it shows."""

    def entry_of(self, run: RunSummary) -> Any:
        """Make the entry of one run, reading nothing."""


class RunEntries(Mapping[str, Any]):
    """The runs of a catalog by uid, the newest first, listed as they are asked for."""

    def __init__(self, catalog: Listed) -> None:
        self._catalog = catalog

    def __getitem__(self, uid: str) -> Any:
        return self._catalog.entry_of(self._catalog.selection.summary(uid))

    def __iter__(self) -> Iterator[str]:
        return (run.uid for run in self._catalog.selection.runs())

    def __len__(self) -> int:
        return self._catalog.selection.count()

    def __contains__(self, key: object) -> bool:
        try:
            self._catalog.selection.at(as_key(key))
        except (RunNotFound, AmbiguousRun, IndexError):
            return False
        return True

    def entries(self) -> Iterator[Any]:
        """The entries, in one listing."""
        return map(self._catalog.entry_of, self._catalog.selection.runs())

    def items(self) -> ItemsView[str, Any]:
        """Pairs of uid and entry, in one listing."""
        return _Items(self)

    def values(self) -> ValuesView[Any]:
        """The entries, in one listing."""
        return _Values(self)


class _Items(ItemsView[str, Any]):
    _mapping: RunEntries

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        return ((entry.name, entry) for entry in self._mapping.entries())


class _Values(ValuesView[Any]):
    _mapping: RunEntries

    def __iter__(self) -> Iterator[Any]:
        return self._mapping.entries()


def as_key(key: object) -> str | int:
    """A key of one run: text, or an integer of any type but bool."""
    if isinstance(key, str):
        return key
    try:
        if isinstance(key, bool):
            raise TypeError
        return operator.index(key)  # type: ignore[arg-type]  # what is no integer raises
    except TypeError:
        raise RunNotFound(
            f"a run is found by uid (text), scan_id or negative place (int), not by {type(key).__name__} {key!r}"
        ) from None
