"""Statistics of recorded values, kept on this machine: a database that others own is only read."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from intake_bluesky.documents.statistics import Fields, Statistics
from intake_bluesky.index.index import Index, IndexEntry, IndexLost, index_path, storable
from intake_bluesky.index.packed_statistics import pack
from intake_bluesky.index.statistics_conditions import kept_condition
from intake_bluesky.query import ALL, And, In, Query, Start, leaves, replace_leaves, to_nnf
from intake_bluesky.query.pruning import Kept
from intake_bluesky.search.run_statistics import Measured
from intake_bluesky.storage.contract import Answer, Recorded
from intake_bluesky_mongo.connections import Connection

__all__ = ["Keeper", "Part", "packed", "place_of"]

T = TypeVar("T")
LEAVES: Final = 8  # things that statistics are asked for in one query
MOST: Final = 100_000  # uids in one filter, of 49 bytes each, once or twice: a filter is a document of at most 16 MiB
UID: Final = Start("uid")
AMONG: Final = "uid IN (SELECT value FROM json_each(?))"


def place_of(schema: str, connection: Connection) -> str:
    """What tells databases apart: no user, option or secret is part of it."""
    address = connection.address
    where = connection.shown if address is None else f"mongodb://{address.hosts}/{address.database}"
    return f"statistics of {schema} in {where}"


@dataclass(frozen=True, slots=True)
class Part:
    """The runs that match a query, or some of them.

    Attributes
    ----------
    query : Query
    case_of : mapping of str to int, optional
        What statistics say of a run, by uid; 0 of those that are not in it.
    cases : frozenset of int
        Of the runs that are meant.
    """

    query: Query
    case_of: Mapping[str, int] = field(default_factory=dict)
    cases: frozenset[int] = frozenset({0})

    @property
    def whole(self) -> bool:
        """Whether all runs that match are meant."""
        return not self.case_of

    def has(self, uid: str) -> bool:
        """Whether a run that matches is meant."""
        return self.case_of.get(uid, 0) in self.cases


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

    def takes(self, query: Query) -> bool:
        """Whether `parts` takes a query."""
        return len(_kept(query)) <= LEAVES

    def parts(self, query: Query) -> list[Part]:
        """Take a query apart, into queries without what kept statistics say: a run matches it if it is of one part.

        Conditions on uids stand in the place of what they say, unless these are too many for a filter. Then there is
        a part for each combination of what may be said of a run: what the rest of the query is in that case, and
        which runs it is the case of. No run is of two parts.
        """
        asked = _kept(query)
        if not asked:
            return [Part(query)]
        among = _uids_in(query)
        decided = {leaf: self._decided(leaf, among) for leaf in asked}
        if sum(len(decided[leaf]) for leaf in leaves(query) if isinstance(leaf, Kept)) <= MOST:
            return [Part(_with(query, {leaf: _condition(leaf, uids) for leaf, uids in decided.items()}))]
        return list(_by_case(query, decided))

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

    def close(self) -> None:
        """Close the file; it is opened anew when it is used again."""
        self._index.close()


def _kept(query: Query) -> list[Kept]:
    return list(dict.fromkeys(leaf for leaf in leaves(query) if isinstance(leaf, Kept)))


def _condition(leaf: Kept, uids: Sequence[str]) -> Query:
    found = UID.is_in(uids)
    return found if leaf.says == "true" else ~found


def _with(query: Query, said: Mapping[Kept, Query]) -> Query:
    return to_nnf(replace_leaves(query, lambda leaf: said[leaf] if isinstance(leaf, Kept) else leaf))


def _by_case(query: Query, decided: Mapping[Kept, Sequence[str]]) -> Iterator[Part]:
    """A part for each query that is left: a case is a number with a bit for each of what is said."""
    case_of: dict[str, int] = {}
    for bit, uids in enumerate(decided.values()):
        for uid in uids:
            case_of[uid] = case_of.get(uid, 0) | 1 << bit
    left: dict[Query, set[int]] = {}
    for case in {0, *case_of.values()}:  # 0 is that of all that nobody measured, too
        said = {
            leaf: ALL if bool(case >> bit & 1) == (leaf.says == "true") else ~ALL for bit, leaf in enumerate(decided)
        }
        left.setdefault(_with(query, said), set()).add(case)
    for rest, cases in left.items():
        yield Part(rest, case_of, frozenset(cases))


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
