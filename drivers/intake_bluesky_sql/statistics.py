"""Statistics of recorded values, kept as columns beside the runs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import Connection

from intake_bluesky.documents import exact_json
from intake_bluesky.documents.statistics import Fields, Statistics
from intake_bluesky.index.packed_statistics import row_of, statistics_of
from intake_bluesky.index.search_form import code_text
from intake_bluesky.integers import is_int64
from intake_bluesky.storage.statistics import Answer, Recorded
from intake_bluesky_sql.database import Database

NUMBERS: Final = "s.count, s.nan_count, s.min, s.max, s.sum, s.first, s.last, s.gap, s.exact"
UNMEASURED: Final = "SELECT uid FROM runs WHERE NOT measured AND stop_place IS NOT NULL AND uid {}"
FOUND: Final = (
    "FROM statistics AS s JOIN keys AS k ON k.id = s.what JOIN runs AS r ON r.id = s.file "
    "WHERE r.uid = ? AND k.key = ? AND k.stream = ? AND k.reading = ?"
)
Found = Mapping[tuple[str, str], Statistics | None]
_Names = tuple[str, ...]  # of a key, its stream, and the way it is read


class StatisticsTables:
    """Keeps statistics in one database; of runs that have stopped, which do not change."""

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
        condition, value = self._among([uid for uid in uids if code_text(uid) == uid])
        return [uid for (uid,) in self._database.ask(UNMEASURED.format(condition), value)]

    def _among(self, texts: Sequence[str]) -> tuple[str, Any]:
        """What follows a column that holds one of some texts, and the value that is bound in it."""
        if self._database.is_sqlite:
            return "IN (SELECT value FROM json_each(?))", exact_json.dumps(list(texts)).decode()
        return "= ANY(CAST(? AS text[]))", list(texts)

    def keep_all(self, uid: str, found: Found) -> None:
        """Keep what one pass over a run gave."""

        def work(connection: Connection) -> None:
            run = self._measured(connection, uid, "NOT measured")
            if run is not None:
                self.put_all(connection, run, found)

        self._database.write(work)

    def put_all(self, connection: Connection, run: int, found: Found) -> None:
        """As `keep_all`, in a transaction that has begun."""
        numbers = self._numbers(connection, [(key, stream) for stream, key in found], "")
        self._put(connection, run, {numbers[key, stream]: one for (stream, key), one in found.items()})
        self._database.execute(connection, "UPDATE runs SET measured = TRUE WHERE id = ?", (run,))

    def keep(self, found: Sequence[tuple[Recorded, Statistics | Answer]]) -> None:
        """Keep what was found of runs that are measured, in one transaction."""

        def work(connection: Connection) -> None:
            for what, one in found:
                run = self._measured(connection, what.uid, "measured")
                if run is None:
                    continue
                [number] = self._numbers(connection, [(what.key, what.stream)], what.reading).values()
                if isinstance(one, Statistics):
                    self._put(connection, run, {number: one})
                else:
                    self._put_answer(connection, number, run, one)

        self._database.write(work)

    def _put_answer(self, connection: Connection, what: int, run: int, answer: Answer) -> None:
        ends: tuple[Any, ...] = answer.low, answer.high
        if not self._database.is_sqlite:
            ends = tuple(map(Decimal, ends))
        elif not all(is_int64(end) or isinstance(end, float) for end in ends):
            return
        statement = "INSERT INTO answers VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
        self._database.execute(connection, statement, (what, run, *ends, answer.found))

    def _measured(self, connection: Connection, uid: str, condition: str) -> int | None:
        # Two programs that measure one run take turns, and the second finds it measured; SQLite has one writer anyway.
        lock = "" if self._database.is_sqlite else " FOR UPDATE"
        statement = f"SELECT id FROM runs WHERE uid = ? AND stop_place IS NOT NULL AND {condition}{lock}"
        found = self._database.execute(connection, statement, (uid,)).one_or_none()
        return None if found is None else int(found[0])

    def _numbers(
        self, connection: Connection, keys: Sequence[tuple[str, str]], reading: str
    ) -> dict[tuple[str, str], int]:
        """The numbers of some keys, each in a stream, read in one way."""
        coded = {key: (code_text(key[0]), code_text(key[1]), reading) for key in keys}
        known = self._known(connection, list(coded.values()))
        new = [names for names in coded.values() if names not in known]
        if new:
            insert = "INSERT INTO keys(key, stream, reading) VALUES (?, ?, ?) ON CONFLICT DO NOTHING"
            self._database.execute(connection, insert, new)
            known |= self._known(connection, new)
        return {key: known[names] for key, names in coded.items()}

    def _known(self, connection: Connection, keys: Sequence[_Names]) -> dict[_Names, int]:
        """Those of some keys that have a number, with it."""
        condition, value = self._among([key for key, *_ in keys])
        statement = f"SELECT key, stream, reading, id FROM keys WHERE key {condition}"
        rows: Sequence[Any] = self._database.execute(connection, statement, (value,)).all()
        return {(key, stream, reading): int(number) for key, stream, reading, number in rows}

    def _put(self, connection: Connection, run: int, found: Mapping[int, Statistics | None]) -> None:
        if not found:
            return
        execute, columns = self._database.execute, row_of if self._database.is_sqlite else _row
        execute(connection, "DELETE FROM statistics WHERE what = ? AND file = ?", [(what, run) for what in found])
        rows = [(what, run, *columns(one)) for what, one in found.items()]
        execute(connection, f"INSERT INTO statistics VALUES ({', '.join('?' * len(rows[0]))})", rows)


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
    """The statistics found while a run was written, by stream and key."""
    return {
        (stream, key): None if fields is None else Statistics(*fields)
        for stream, keys in found.items()
        for key, fields in keys.items()
    }
