"""Statistics of recorded values, kept on this machine: a database that others own is only read."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, TypeVar

from intake_bluesky.index import Index, IndexEntry, IndexLost, index_path, storable
from intake_bluesky.kept import pack
from intake_bluesky.measuring import Measured
from intake_bluesky.query import And, In, Query, Start, leaves, replace_leaves, to_nnf
from intake_bluesky.query.kept import Kept
from intake_bluesky.query.sql_data import kept_condition
from intake_bluesky.statistics import Fields, Statistics
from intake_bluesky.storage import Answer, Recorded
from intake_bluesky_mongo.connections import Connection

__all__ = ["Keeper", "packed", "place_of"]

T = TypeVar("T")
MOST: Final = 100_000  # uids in one filter, of 49 bytes each, once or twice: a filter is a document of at most 16 MiB
UID: Final = Start("uid")
AMONG: Final = "uid IN (SELECT value FROM json_each(?))"


def place_of(schema: str, connection: Connection) -> str:
    """What tells databases apart: no user, option or secret is part of it."""
    address = connection.address
    where = connection.shown if address is None else f"mongodb://{address.hosts}/{address.database}"
    return f"statistics of {schema} in {where}"


class Keeper:
    """Keeps statistics of the runs of one database, in an index of the user's cache folder as files have it.

    An entry stands for a run that has stopped and was measured: its path is the uid, its stamp the run's version.

    Parameters
    ----------
    place : str
        See `place_of`.
    """

    def __init__(self, place: str) -> None:
        self._index = Index(index_path(place))

    def statistics(self, what: Recorded) -> Statistics | None:
        """What is kept of some values."""
        if not storable(what.uid):
            return None
        found = _again(lambda: self._index.statistics(what))
        return found[1] if found is not None and found[0] == what.version else None

    def keep(self, found: Sequence[tuple[Recorded, Statistics | Answer]]) -> None:
        """Keep what was found of runs that are measured."""
        known = [(what, one) for what, one in found if storable(what.uid)]
        _again(lambda: self._index.keep(known, lambda version: version))

    def keep_all(self, found: Mapping[str, tuple[str, bytes]]) -> None:
        """Keep, by uid, the version of each of some runs and what one pass over it told, as `packed` gives it."""
        entries = [
            IndexEntry(uid, version, uid=uid, stop=b"", statistics=statistics)
            for uid, (version, statistics) in found.items()
        ]

        def put() -> None:
            self._index.put(entries)
            self._index.settle(())  # makes what it is searched by

        _again(put)

    def unmeasured(self, uids: Iterable[str]) -> list[str]:
        """Those of some runs of which nothing is kept."""
        asked = [uid for uid in uids if storable(uid)]
        known = set(self._uids(AMONG, [json.dumps(asked)]))
        return [uid for uid in asked if uid not in known]

    def versions(self) -> dict[str, str]:
        """The version of each run that is measured, by uid."""
        return _again(self._index.stamps)

    def forget(self, uids: Sequence[str]) -> None:
        """Keep nothing of some runs."""
        if uids:
            _again(lambda: self._index.forget(uids))

    def fits(self, query: Query) -> bool:
        """Whether what `settled` makes of a query is no longer than a filter may be."""
        asked = [leaf for leaf in leaves(query) if isinstance(leaf, Kept)]
        if not asked or len(asked) * self._total() <= MOST:
            return True
        return sum(len(self._decided(leaf, None)) for leaf in asked) <= MOST

    def settled(self, query: Query) -> Query:
        """Put conditions on uids in the place of what kept statistics say; the rest stays.

        Where a query is about the runs of some uids only, so are these conditions.
        """
        if not any(isinstance(leaf, Kept) for leaf in leaves(query)):
            return query
        among = _uids_in(query)

        def uids(leaf: Query) -> Query:
            if not isinstance(leaf, Kept):
                return leaf
            found = UID.is_in(self._decided(leaf, among))
            return found if leaf.says == "true" else ~found

        return to_nnf(replace_leaves(query, uids))

    def _decided(self, leaf: Kept, among: Sequence[str] | None) -> list[str]:
        """The runs of which a query is proved; or, where it asks for what is open, of which it is not that."""
        condition, values = kept_condition(leaf, "measured")
        where = condition if leaf.says == "true" else f"NOT {condition}"
        if among is not None:
            where, values = f"{AMONG} AND {where}", [json.dumps(list(filter(storable, among))), *values]

        def ask() -> list[str]:
            self._index.spread([leaf.query.key])
            return self._rows(where, values)

        return _again(ask)

    def _uids(self, where: str, values: Sequence[Any]) -> list[str]:
        return _again(lambda: self._rows(where, values))

    def _rows(self, where: str, values: Sequence[Any]) -> list[str]:
        return [uid for (uid,) in self._index.rows(f"SELECT uid FROM files WHERE measured AND {where}", values)]  # noqa: S608

    def _total(self) -> int:
        return _again(lambda: self._index.count("measured", ()))

    def close(self) -> None:
        """Close the file; it is opened anew when it is used again."""
        self._index.close()


def _again(ask: Callable[[], T]) -> T:
    """Ask once more where the index was lost: it is empty then, and whoever needs statistics measures again."""
    try:
        return ask()
    except IndexLost:
        return ask()


def _uids_in(query: Query) -> list[str] | None:
    """The uids that a query is about; None where it does not name them."""
    for part in query.children if isinstance(query, And) else (query,):
        if isinstance(part, In) and part.path == UID.path:
            return [uid for uid in part.values if isinstance(uid, str)]
    return None


def packed(found: Measured) -> bytes:
    """Pack the statistics of a run."""
    streams: dict[str, dict[str, Fields | None]] = {}
    for (stream, key), statistics in found.items():
        streams.setdefault(stream, {})[key] = None if statistics is None else statistics.fields
    return pack(streams)
