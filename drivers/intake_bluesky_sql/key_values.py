"""The values at paths in the runs of a database, and how often each occurs, reading as few documents as possible."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from intake_bluesky.documents.model import Document
from intake_bluesky.errors import DamagedRun
from intake_bluesky.index.json_conditions import SQL
from intake_bluesky.index.key_values import Runs
from intake_bluesky.index.translator import Translator
from intake_bluesky.query import Path
from intake_bluesky.storage.order import Order
from intake_bluesky_sql.database import Database
from intake_bluesky_sql.run_reader import decoded

PLACES: Final = {"start": "0", "stop": "(SELECT stop_place FROM runs AS r WHERE r.id = {of})"}
TIMES: Final = {Order.NEWEST: "newest", Order.OLDEST: "oldest"}


class StoredValues(Runs):
    """The values at paths in the runs of one database; `note` is called with each run that cannot be read, and why."""

    def __init__(self, database: Database, search: Translator, note: Callable[[str, Exception], None]) -> None:
        super().__init__(search)
        self._database = database
        self._note = note

    def select(self, what: SQL, where: SQL) -> SQL:
        """Select of the runs."""
        return f"SELECT {what[0]} FROM runs WHERE {where[0]}", what[1] + where[1]

    def document(self, name: str, of: str) -> str:
        """The exact JSON of a document."""
        place = PLACES[name].format(of=of)
        return f"(SELECT body FROM documents AS d WHERE d.run = {of} AND d.place = {place})"

    def count(self, path: Path, where: SQL) -> list[tuple[Any, int]] | None:
        """Give each value at a path, and how many runs that meet a condition have it; see `RunStore.distinct`."""
        asked = self.counting(path, where)
        if asked is None:
            return None
        try:
            return self.counted(self._database.ask(asked[0], *asked[1]), path, _document)
        except DamagedRun:  # the caller reads all runs then, and finds which it is
            return None

    def look_up(
        self, paths: Sequence[Path], where: SQL, order: Order
    ) -> Iterator[tuple[str, float | None, tuple[Any, ...]]] | None:
        """Yield uid, time and the values at paths of the runs that meet a condition; see `RunStore.lookup`."""
        time = TIMES[order]
        down = " DESC" if order is Order.NEWEST else ""
        asked = self.looking(paths, where, time=time, order=f"{time}{down}, uid{down}")
        return None if asked is None else self._looked_up(paths, *asked)

    def _looked_up(
        self, paths: Sequence[Path], query: str, values: Sequence[Any]
    ) -> Iterator[tuple[str, float | None, tuple[Any, ...]]]:
        rows = self._database.ask(query, *values)
        if not paths:
            yield from ((uid, _finite(time), ()) for uid, time in rows)
            return
        for row in rows:
            try:
                uid, time, found = self.looked_up(row, paths, _document)
            except DamagedRun as error:
                self._note(row[0], error)
                continue
            yield uid, _finite(time), found


def _finite(time: float | None) -> float | None:
    return None if time is None or math.isinf(time) else time  # infinite where a run has none: see `ordering`


def _document(body: Any) -> Document:
    return decoded("a document", body)
