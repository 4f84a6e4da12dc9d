"""Entries of catalogs and runs for Intake: making and describing them reads nothing."""

from __future__ import annotations

from typing import Any, ClassVar

from intake.catalog.base import Catalog
from intake.catalog.entry import CatalogEntry

from intake_bluesky.documents.model import ReadOnlyDocument, RunHeader, RunSummary

__all__ = ["IntakeObject", "RunEntry", "StreamEntry", "shown_documents"]


class IntakeObject:
    """Describes itself without reading, and pickles its state, where Intake would call its constructor again."""

    _forgotten: ClassVar[frozenset[str]] = frozenset({"_entries", "_entry", "_reader", "catalog_object"})
    name: Any
    description: Any
    container: Any
    metadata: Any

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in self._forgotten}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if isinstance(self, Catalog):
            self._entries = self._make_entries_container()

    def describe(self) -> dict[str, Any]:
        """Describe the object as Intake does; reads nothing."""
        driver = f"{type(self).__module__}.{type(self).__qualname__}"
        return {
            "name": self.name,
            "container": self.container,
            "plugin": [driver],
            "driver": [driver],
            "description": self.description or "",
            "direct_access": "forbid",
            "user_parameters": [],
            "metadata": dict(self.metadata),
            "args": {},
        }


def shown_documents(run: RunHeader | RunSummary) -> dict[str, ReadOnlyDocument | None]:
    """Start and stop of a run, as its metadata have them."""
    return {"start": ReadOnlyDocument(run.start), "stop": None if run.stop is None else ReadOnlyDocument(run.stop)}


class RunEntry(IntakeObject, CatalogEntry):  # type: ignore[misc]  # Intake ships no types
    """A run in a listing: making, describing and opening it reads nothing."""

    def __init__(self, catalog: Any, summary: RunSummary) -> None:
        super().__init__()
        self.name, self.description = summary.uid, None
        self._listed_by, self._summary = catalog, summary  # Intake sets `_catalog` as it likes
        self._container = "catalog"
        self._user_parameters: list[Any] = []

    @property
    def metadata(self) -> dict[str, Any]:
        """The start and stop documents, for `Catalog.filter`."""
        return shown_documents(self._summary)

    _metadata = metadata  # Intake's name

    def get(self, **kwargs: Any) -> Any:
        """The run, which reads its header when more than its start and stop is needed."""
        return self._listed_by._opened(self._summary)(**kwargs)


class StreamEntry(IntakeObject, CatalogEntry):  # type: ignore[misc]  # Intake has no types
    """A stream in the listing of a run; opening it gives a `BlueskyStream`."""

    def __init__(self, run: Any, name: str) -> None:
        super().__init__()
        self.name, self.description = name, None
        self._run = run
        self._container = "xarray"
        self._user_parameters: list[Any] = []

    def describe(self) -> dict[str, Any]:
        """Describe the stream; reads nothing."""
        return self.get().describe()  # type: ignore[no-any-return]  # Intake has no types

    def get(self, **options: Any) -> Any:
        """Open the stream."""
        return self._run._open(self.name, **options)
