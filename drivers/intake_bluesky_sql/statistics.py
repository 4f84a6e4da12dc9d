"""Statistics of recorded values, kept as columns beside the runs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from decimal import Decimal
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Connection

from intake_bluesky.documents import exact_json
from intake_bluesky.documents.statistics import Fields, Statistics
from intake_bluesky.errors import StoreUnavailable
from intake_bluesky.index.packed_statistics import row_of, statistics_of
from intake_bluesky.index.search_form import code_text
from intake_bluesky.integers import is_int64
from intake_bluesky.search.run_statistics import measured
from intake_bluesky.storage.statistics import Answer, Recorded, StatisticsCache
from intake_bluesky_sql.database import Database

if TYPE_CHECKING:
    from intake_bluesky_sql.store import SQLStore

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
        condition, value = self._database.among([uid for uid in uids if code_text(uid) == uid])
        return [uid for (uid,) in self._database.ask(UNMEASURED.format(condition), value)]

    def keep_all(self, uid: str, found: Found) -> None:
        """Keep what one pass over a run gave."""

        def work(connection: Connection) -> None:
            run = self._measured(connection, uid, "NOT measured")
            if run is not None:
                self.put_all(connection, {run: found})
                self._database.execute(connection, "UPDATE runs SET measured = TRUE WHERE id = ?", (run,))

        self._database.write(work)

    def put_all(self, connection: Connection, found: Mapping[int, Found]) -> None:
        """Put in what was found of runs, by their numbers, of which nothing is kept."""
        # In order: of two programs that bring the same new keys, each would else wait for one of the other's.
        keys = sorted({(key, stream) for one in found.values() for stream, key in one})
        numbers = self._numbers(connection, keys, "")
        columns = row_of if self._database.is_sqlite else _row
        rows = [
            (numbers[key, stream], run, *columns(one))
            for run, known in found.items()
            for (stream, key), one in known.items()
        ]
        self._database.insert(connection, "statistics", sorted(rows, key=itemgetter(0)))

    def keep(self, found: Sequence[tuple[Recorded, Statistics | Answer]]) -> None:
        """Keep what was found of runs that are measured, in one transaction."""

        def work(connection: Connection) -> None:
            for what, one in found:
                run = self._measured(connection, what.uid, "measured")
                if run is None:
                    continue
                [number] = self._numbers(connection, [(what.key, what.stream)], what.reading).values()
                if isinstance(one, Statistics):
                    self._put(connection, run, number, one)
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
            self._database.insert(connection, "keys(key, stream, reading)", new)
            known |= self._known(connection, new)
        return {key: known[names] for key, names in coded.items()}

    def _known(self, connection: Connection, keys: Sequence[_Names]) -> dict[_Names, int]:
        """Those of some keys that have a number, with it."""
        condition, value = self._database.among([key for key, *_ in keys])
        statement = f"SELECT key, stream, reading, id FROM keys WHERE key {condition}"
        rows: Sequence[Any] = self._database.execute(connection, statement, (value,)).all()
        return {(key, stream, reading): int(number) for key, stream, reading, number in rows}

    def _put(self, connection: Connection, run: int, what: int, found: Statistics) -> None:
        columns = row_of if self._database.is_sqlite else _row
        self._database.execute(connection, "DELETE FROM statistics WHERE what = ? AND file = ?", (what, run))
        self._database.insert(connection, "statistics", [(what, run, *columns(found))])


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


class SQLStatistics(StatisticsCache):
    """Statistics of recorded values beside the runs of a database."""

    def __init__(self, store: SQLStore, database: Database) -> None:
        self._store = store
        self._tables = StatisticsTables(database)

    def get(self, values: Recorded) -> Statistics | None:
        current = self._store.current_version(values.uid) == values.version
        return self._tables.statistics(values) if current else None

    def put(self, found: Sequence[tuple[Recorded, Statistics | Answer]]) -> None:
        """Keep what was found, where the database can be written."""
        versions = {uid: self._store.current_version(uid) for uid in {what.uid for what, _ in found}}
        current = [(what, one) for what, one in found if versions[what.uid] == what.version]
        if current:
            with suppress(StoreUnavailable):  # this user may only read: the search has its answer all the same
                self._tables.keep(current)

    def measure(self, uids: Sequence[str]) -> int:
        """Read the events of those runs of which nothing is kept; writers have done so with each run they stopped."""
        read = 0
        for uid in self._tables.unmeasured(uids):
            found, size = measured(self._store, self._store.header(uid))
            read += size
            try:
                self._tables.keep_all(uid, found)
            except StoreUnavailable:  # to be read only
                return read
        return read
