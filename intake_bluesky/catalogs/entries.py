"""Entries of catalogs and runs for Intake: making and describing them reads nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from intake.catalog.entry import CatalogEntry

from intake_bluesky.documents.model import ReadOnlyDocument, RunSummary

__all__ = ["KeepsState", "RunEntry", "StreamEntry", "description"]


class KeepsState:
    """Pickles the state of the object, where Intake would call its constructor again; entries are made anew."""

    FORGOTTEN: ClassVar[frozenset[str]] = frozenset({"_entry", "_reader", "catalog_object"})

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in self.FORGOTTEN}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)


def description(source: Any, container: str, metadata: Mapping[str, Any]) -> dict[str, Any]:
    """The form of Intake's ``describe()`` for a source or an entry."""
    driver = f"{type(source).__module__}.{type(source).__qualname__}"
    return {
        "name": source.name,
        "container": container,
        "plugin": [driver],
        "driver": [driver],
        "description": source.description or "",
        "direct_access": "forbid",
        "user_parameters": [],
        "metadata": dict(metadata),
        "args": {},
    }


class RunEntry(KeepsState, CatalogEntry):  # type: ignore[misc]  # Intake ships no types
    """A run in a listing: making, describing and opening it reads nothing."""

    def __init__(self, catalog: Any, summary: RunSummary) -> None:
        super().__init__()
        self.name, self.description = summary.uid, None
        self._listed_by, self._summary = catalog, summary  # Intake sets `_catalog` as it likes
        self._container = "catalog"
        self._user_parameters: list[Any] = []

    @property
    def _metadata(self) -> dict[str, Any]:
        stop = self._summary.stop
        return {
            "start": ReadOnlyDocument(self._summary.start),
            "stop": None if stop is None else ReadOnlyDocument(stop),
        }

    @property
    def metadata(self) -> dict[str, Any]:
        """The start and stop documents, for `Catalog.filter`."""
        return self._metadata

    def describe(self) -> dict[str, Any]:
        """Describe the run; reads nothing."""
        return description(self, "catalog", self._metadata)

    def get(self, **kwargs: Any) -> Any:
        """The run, which reads its header when more than its start and stop is needed."""
        return self._listed_by._opened(self._summary)(**kwargs)


class StreamEntry(KeepsState, CatalogEntry):  # type: ignore[misc]
    """A stream in the listing of a run; opening it gives a `BlueskyStream`."""

    def __init__(self, run: Any, name: str) -> None:
        super().__init__()
        self.name, self.description = name, None
        self._run = run
        self._container = "xarray"
        self._user_parameters: list[Any] = []

    def describe(self) -> dict[str, Any]:
        """Describe the stream; reads nothing."""
        return self.get().describe()  # type: ignore[no-any-return]

    def get(self, **options: Any) -> Any:
        """Open the stream."""
        return self._run._open(self.name, **options)
