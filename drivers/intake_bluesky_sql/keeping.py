"""Statistics of recorded values, kept as columns beside the runs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import Connection

from intake_bluesky import exact_json
from intake_bluesky.kept import row_of, statistics_of
from intake_bluesky.query.form import code_text
from intake_bluesky.statistics import Fields, Statistics
from intake_bluesky.storage import Answer, Recorded
from intake_bluesky_sql.database import Database

__all__ = ["Keeper", "statistics_in"]

WORD: Final = 2**63
NUMBERS: Final = "s.count, s.nan_count, s.min, s.max, s.sum, s.first, s.last, s.gap, s.exact"
UNMEASURED: Final = "SELECT uid FROM runs WHERE NOT measured AND stop_place IS NOT NULL AND uid {}"
FOUND: Final = (
    "FROM statistics AS s JOIN keys AS k ON k.id = s.what JOIN runs AS r ON r.id = s.file "
    "WHERE r.uid = ? AND k.key = ? AND k.stream = ? AND k.reading = ?"
)
Found = Mapping[tuple[str, str], Statistics | None]


class Keeper:
    """Keeps statistics in one database; of runs that have stopped, which do not change.

    Parameters
    ----------
    database : Database
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def statistics(self, what: Recorded) -> Statistics | None:
        """What is kept of some values."""
        names = what.uid, code_text(what.key), code_text(what.stream), what.reading
        if code_text(what.uid) != what.uid:
            return None
        rows = self._database.ask(f"SELECT {NUMBERS} {FOUND}", *names)
        if not rows:
            return None
        return statistics_of(rows[0]) if self._database.is_sqlite else _exactly(rows[0])

    def unmeasured(self, uids: Sequence[str]) -> list[str]:
        """Those of some runs that have stopped, and of which nothing is kept."""
        asked = [uid for uid in uids if code_text(uid) == uid]
        if self._database.is_sqlite:
            condition, value = "IN (SELECT value FROM json_each(?))", exact_json.dumps(asked).decode()
        else:
            condition, value = "= ANY(CAST(? AS text[]))", asked  # type: ignore[assignment]
        return [uid for (uid,) in self._database.ask(UNMEASURED.format(condition), value)]

    def keep_all(self, uid: str, found: Found) -> None:
        """Keep what one pass over a run told."""

        def work(connection: Connection) -> None:
            run = self._measured(connection, uid, "NOT measured")
            if run is not None:
                self.put_all(connection, run, found)

        self._database.write(work)

    def put_all(self, connection: Connection, run: int, found: Found) -> None:
        """As `keep_all`, in a transaction that has begun."""
        for (stream, key), statistics in found.items():
            self._put(connection, self._what(connection, key, stream, ""), run, statistics)
        self._database.execute(connection, "UPDATE runs SET measured = TRUE WHERE id = ?", (run,))

    def keep(self, found: Sequence[tuple[Recorded, Statistics | Answer]]) -> None:
        """Keep what was found of runs that are measured, in one transaction."""

        def work(connection: Connection) -> None:
            for what, one in found:
                run = self._measured(connection, what.uid, "measured")
                if run is None:
                    continue
                number = self._what(connection, what.key, what.stream, what.reading)
                if isinstance(one, Statistics):
                    self._put(connection, number, run, one)
                else:
                    self._put_answer(connection, number, run, one)

        self._database.write(work)

    def _put_answer(self, connection: Connection, what: int, run: int, answer: Answer) -> None:
        ends: tuple[Any, ...] = answer.low, answer.high
        if not self._database.is_sqlite:
            ends = tuple(map(Decimal, ends))
        elif not all(-WORD <= end < WORD or isinstance(end, float) for end in ends):
            return
        statement = "INSERT INTO answers VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
        self._database.execute(connection, statement, (what, run, *ends, answer.found))

    def _measured(self, connection: Connection, uid: str, condition: str) -> int | None:
        lock = "" if self._database.is_sqlite else " FOR UPDATE"
        statement = f"SELECT id FROM runs WHERE uid = ? AND stop_place IS NOT NULL AND {condition}{lock}"  # noqa: S608
        found = self._database.execute(connection, statement, (uid,)).one_or_none()
        return None if found is None else int(found[0])

    def _what(self, connection: Connection, key: str, stream: str, reading: str) -> int:
        """The number of a key in a stream, read in one way."""
        names, execute = (code_text(key), code_text(stream), reading), self._database.execute
        select = "SELECT id FROM keys WHERE key = ? AND stream = ? AND reading = ?"
        found = execute(connection, select, names).one_or_none()
        if found is None:
            insert = "INSERT INTO keys(key, stream, reading) VALUES (?, ?, ?) ON CONFLICT DO NOTHING"
            execute(connection, insert, names)
            found = execute(connection, select, names).one()
        return int(found[0])

    def _put(self, connection: Connection, what: int, run: int, found: Statistics | None) -> None:
        execute = self._database.execute
        execute(connection, "DELETE FROM statistics WHERE what = ? AND file = ?", (what, run))
        row = row_of(found) if self._database.is_sqlite else _row(found)
        execute(connection, f"INSERT INTO statistics VALUES (?, ?, {', '.join('?' * len(row))})", (what, run, *row))  # noqa: S608


def _row(found: Statistics | None) -> tuple[Any, ...]:
    """The columns of statistics in PostgreSQL, from count on."""
    if found is None:
        return (None,) * 11
    numbers = found.min, found.max, found.sum, found.first, found.last
    low, high, total, first, last = map(_exact, numbers)
    whole = type(found.sum) is int
    mean = None if whole else _exact(found.mean)
    exact = exact_json.dumps(numbers).decode()
    return found.count, found.nan_count, low, high, total, whole, mean, first, last, found.gap, exact


def _exact(number: float | None) -> Decimal | None:
    return None if number is None or math.isnan(number) else Decimal(number)


def _exactly(row: Sequence[Any]) -> Statistics | None:
    count, nan_count, *_, gap, exact = row
    if count is None:
        return None
    low, high, total, first, last = exact_json.loads(exact.encode())
    return Statistics(count, nan_count, low, high, total, first, last, gap)


def statistics_in(found: Mapping[str, Mapping[str, Fields | None]]) -> Found:
    """What was learnt while a run was written, by stream and key."""
    return {
        (stream, key): None if fields is None else Statistics(*fields)
        for stream, keys in found.items()
        for key, fields in keys.items()
    }
