"""The entries of a catalog for Intake, by uid, each made on access."""

from __future__ import annotations

import operator
import weakref
from collections.abc import ItemsView, Iterator, Mapping, ValuesView
from typing import TYPE_CHECKING, Any

from intake_bluesky.catalogs.entries import RunEntry
from intake_bluesky.errors import AmbiguousRun, RunNotFound
from intake_bluesky.runtime.processes import ProcessLock

if TYPE_CHECKING:
    from intake_bluesky.catalogs.run_catalog import BlueskyCatalog

__all__ = ["RunEntries", "as_key"]


class RunEntries(Mapping[str, Any]):
    """The runs of a catalog by uid, in its order, listed as they are needed."""

    def __init__(self, catalog: BlueskyCatalog) -> None:
        self._catalog = catalog
        self._waiting: weakref.ref[_Uids] | None = None

    def __getitem__(self, uid: str) -> Any:
        return RunEntry(self._catalog, self._catalog.selection.summary(uid))

    def __iter__(self) -> Iterator[str]:
        if self._catalog.selection.plan().whole is not None:  # the store counts
            return self._catalog.arrangement.uids()
        uids = _Uids(self._catalog)
        # Weak: an iterator that was dropped is no longer waiting, and would hold its runs.
        self._waiting = weakref.ref(uids)
        return uids

    def __len__(self) -> int:
        # list(catalog) makes an iterator and then calls len(). Where the query has to test each run, the iterator finds
        # all runs now and holds them, or the search would run twice.
        waiting, self._waiting = self._waiting, None
        uids = None if waiting is None else waiting()
        counted = None if uids is None else uids.hold()
        return self._catalog.selection.count() if counted is None else counted

    def __contains__(self, key: object) -> bool:
        try:
            self._catalog.selection.at(as_key(key))
        except (RunNotFound, AmbiguousRun, IndexError):
            return False
        return True

    def entries(self) -> Iterator[Any]:
        """The entries, in one listing."""
        return (RunEntry(self._catalog, run) for run in self._catalog.arrangement.runs())

    def items(self) -> ItemsView[str, Any]:
        """Pairs of uid and entry, in one listing."""
        return _Items(self)

    def values(self) -> ValuesView[Any]:
        """The entries, in one listing."""
        return _Values(self)


class _Uids(Iterator[str]):
    """The uids of a catalog, searched for when the first is taken."""

    def __init__(self, catalog: BlueskyCatalog) -> None:
        self._catalog = catalog
        self._found: Iterator[str] | None = None
        self._threads = ProcessLock()

    def __next__(self) -> str:
        with self._threads.lock:
            if self._found is None:
                self._found = self._catalog.arrangement.uids()
            return next(self._found)

    def hold(self) -> int | None:
        """Find all now and return how many they are; None where some were taken already."""
        with self._threads.lock:
            if self._found is not None:
                return None
            found = list(self._catalog.arrangement.uids())
            self._found = iter(found)
            return len(found)


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
        # True is an integer in Python, and would be the run of scan_id 1.
        if isinstance(key, bool):
            raise TypeError
        return operator.index(key)  # type: ignore[arg-type]  # what is no integer raises
    except TypeError:
        raise RunNotFound(
            f"a run is found by uid (text), scan_id or negative place (int), not by {type(key).__name__} {key!r}"
        ) from None
