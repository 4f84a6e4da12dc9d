"""How catalogs of YAML files look: a row an entry, none of which is opened."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from intake_bluesky.catalogs.display.completion import OffersNames
from intake_bluesky.catalogs.display.displayed import Displayed
from intake_bluesky.catalogs.display.entries import EntryRow, entries_html, entries_text, entry_row
from intake_bluesky.catalogs.display.values import on_one_line
from intake_bluesky.runtime.secrets import shown

__all__ = ["ListsEntries"]


class ListsEntries(Displayed, OffersNames):
    """Shows the entries of a catalog, as they are known without opening them."""

    _not_offered = frozenset({"name_from_path"})
    name: Any
    _entries: Mapping[str, Any]

    def _more_names(self) -> Iterable[str]:
        return self._entries

    def _ipython_key_completions_(self) -> list[str]:
        return list(self._entries)

    def _rows(self) -> list[EntryRow]:
        return [entry_row(name, entry) for name, entry in self._entries.items()]

    @property
    def _title(self) -> str:
        return shown(str(self.name))  # which of several files is their URL

    def _line(self) -> str:
        return on_one_line(f"<{type(self).__name__} {self._title}>")

    def _lines(self, width: int) -> str:
        return entries_text(f"{type(self).__name__} {self._title}", self._rows(), width)

    def _html(self) -> str:
        return entries_html(type(self).__name__, self._title, self._rows())
