"""Catalogs of catalogs: a row an entry, none of them opened."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from intake_bluesky.catalogs.display.page import code, escaped, grid, page, problem
from intake_bluesky.catalogs.display.text import cut, fitted, lines_of
from intake_bluesky.catalogs.display.values import on_one_line, plain_text

__all__ = ["EntryRow", "entries_html", "entries_text", "entry_row"]


class EntryRow(NamedTuple):
    """What a table has of an entry."""

    name: str
    driver: str
    description: str
    where: str = ""


def entry_row(name: str, entry: Any) -> EntryRow:
    """Take it from an entry of a YAML file, or from a catalog in the place of one."""
    driver = getattr(entry, "_driver", None) or type(entry).name
    if isinstance(driver, Mapping | list | tuple):
        driver = ", ".join(map(plain_text, driver))
    elif isinstance(driver, type):
        driver = f"{driver.__module__}.{driver.__qualname__}"
    description = getattr(entry, "_description", None) or getattr(entry, "description", None) or ""
    return EntryRow(plain_text(name), plain_text(driver), plain_text(description))


def _counted(rows: list[EntryRow]) -> str:
    return f"{len(rows)} {'entry' if len(rows) == 1 else 'entries'}"


def _columns(rows: list[EntryRow]) -> list[int]:
    return [place for place, name in enumerate(EntryRow._fields) if name == "name" or any(row[place] for row in rows)]


def entries_text(title: str, rows: Iterable[EntryRow], width: int) -> str:
    """A table for a terminal."""
    listed = list(rows)
    lines = [cut(on_one_line(f"{title}: {_counted(listed)}"), width)]
    if listed:
        used = _columns(listed)
        table = [tuple(row[place] for place in used) for row in (EntryRow._fields, *listed)]
        lines += lines_of(fitted(table, width, range(1, len(used))))
    return "\n".join(lines)


def entries_html(kind: str, name: str, rows: Iterable[EntryRow], problems: Iterable[str] = ()) -> str:
    """A notebook's view."""
    listed = list(rows)
    parts = []
    if listed:
        used = _columns(listed)
        cells = [[code(row.name), *(escaped(row[place]) for place in used[1:])] for row in listed]
        parts = [grid([EntryRow._fields[place] for place in used], cells, wrap=range(2, len(used)))]
    head = f"{escaped(name)} <span class='ib-note'>{_counted(listed)}</span>"
    return page(kind, head, *parts, *map(problem, problems))
