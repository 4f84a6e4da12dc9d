"""The values at paths in the runs of an index, and how often each occurs, reading as few documents as possible."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from intake_bluesky.files.indexed_files import IndexedFiles
from intake_bluesky.index.index import ORDERS
from intake_bluesky.index.json_conditions import SQL
from intake_bluesky.index.key_values import Runs
from intake_bluesky.index.tables import COLUMNS
from intake_bluesky.index.translator import Translator
from intake_bluesky.query import Path
from intake_bluesky.storage.order import Order

__all__ = ["count_values", "look_up"]


class _IndexedRuns(Runs):
    """The files of an index."""

    def select(self, what: SQL, where: SQL) -> SQL:
        """Select of the files that are listed."""
        tables = "files LEFT JOIN searched ON searched.file = id" if "searched." in what[0] + where[0] else "files"
        return f"SELECT {what[0]} FROM {tables} WHERE listed AND {where[0]}", what[1] + where[1]  # noqa: S608  # names are ours

    def document(self, name: str, of: str) -> str:
        """The bytes of a document in its file."""
        return f"(SELECT {name} FROM documents AS d WHERE d.file = {of})"  # noqa: S608  # as above


FILES: Final = _IndexedRuns(Translator(COLUMNS))


def count_values(files: IndexedFiles, path: Path, where: SQL) -> Iterable[tuple[Any, int]] | None:
    """Give each value at a path, and how many of the runs that meet a condition have it; see `RunStore.distinct`.

    Of each different number or list a document is read, for only there ints differ from floats.
    """
    asked = FILES.counting(path, where)
    if asked is None:
        return None
    query, values = asked
    files.watch()
    return FILES.counted(files.ask_rows(lambda index: index.rows(query, values)), path, _decoder(files))


def look_up(
    files: IndexedFiles, paths: Sequence[Path], where: SQL, order: Order
) -> Iterator[tuple[str, float | None, tuple[Any, ...]]] | None:
    """Yield uid, time and the values at paths of the runs that meet a condition; see `RunStore.lookup`.

    The documents are read of those runs only of which the search form does not hold a value.
    """
    asked = FILES.looking(paths, where, time="time", order=ORDERS[order])
    return None if asked is None else _looked_up(files, paths, *asked)


def _looked_up(
    files: IndexedFiles, paths: Sequence[Path], query: str, values: Sequence[Any]
) -> Iterator[tuple[str, float | None, tuple[Any, ...]]]:
    files.watch()
    decode = _decoder(files)
    rows = files.ask_rows(lambda index: index.rows(query, values))
    if paths:
        yield from (FILES.looked_up(row, paths, decode) for row in rows)
    else:
        yield from ((uid, time, ()) for uid, time in rows)


def _decoder(files: IndexedFiles) -> Any:
    return lambda raw: files.codec.decode(raw)[1]
