"""Statistics of recorded data in the user's cache, of the runs of one store.

An entry of the index stands for a run that has stopped and was measured: its path is the uid, its stamp the version of
the run.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from intake_bluesky.documents.statistics import Fields, Statistics
from intake_bluesky.index.index import Index, IndexEntry, index_path, storable
from intake_bluesky.index.packed_statistics import pack
from intake_bluesky.index.statistics_conditions import kept_condition
from intake_bluesky.query.pruning import Kept
from intake_bluesky.search.run_statistics import Measured, measured
from intake_bluesky.storage.contract import RunStore
from intake_bluesky.storage.statistics import Answer, Recorded, StatisticsCache

TOGETHER: Final = 64  # runs that a store is asked to describe at once
# One bound value for any number of uids: SQLite limits how many variables a statement has.
AMONG: Final = "uid IN (SELECT value FROM json_each(?))"


class StatisticsIndex(StatisticsCache):
    """Keeps statistics of the runs of a store with a `cache_key`, in an index of the user's cache as files have it."""

    def __init__(self, store: RunStore) -> None:
        self._store = store
        self._index = Index(index_path(str(store.cache_key)))

    def get(self, values: Recorded) -> Statistics | None:
        if not storable(values.uid):
            return None
        found = self._index.again(lambda: self._index.statistics(values))
        return found[1] if found is not None and found[0] == values.version else None

    def put(self, found: Sequence[tuple[Recorded, Statistics | Answer]]) -> None:
        known = [(what, one) for what, one in found if storable(what.uid)]
        # The stamp of an entry is the version itself.
        self._index.again(lambda: self._index.keep(known, lambda version: version))

    def measure(self, uids: Sequence[str]) -> int:
        """Read the events of those runs that have stopped and are not measured yet."""
        missing = self._unmeasured(uids)
        return sum(self._measure(missing[n : n + TOGETHER]) for n in range(0, len(missing), TOGETHER))

    def _measure(self, uids: Sequence[str]) -> int:
        """As `measure`, but for what other users of the store left in it; leaves there what was found."""
        shared = self._store.shared_statistics
        known = {} if shared is None else shared.load(uids)
        others = [uid for uid in uids if uid not in known]
        new: dict[str, tuple[str, bytes]] = {}
        found: dict[str, tuple[str, bytes]] = {}
        read = 0
        # Apart, so that no events are asked for of runs whose statistics somebody left.
        for some in filter(None, (list(known), others)):
            for header, reader in self._store.read_ahead(some):
                if header.stop is None:
                    continue
                if known.get(header.uid, ("", b""))[0] == header.version:
                    found[header.uid] = known[header.uid]
                    continue
                statistics, size = measured(reader, header)
                new[header.uid] = header.version, packed(statistics)
                read += size
        self._put_runs(found | new)
        if shared is not None and new:
            shared.save(new)
        return read

    def _put_runs(self, found: Mapping[str, tuple[str, bytes]]) -> None:
        """Keep, by uid, the version of each of some runs and what one pass over it gave, as `packed` has it."""
        entries = [
            IndexEntry(uid, version, uid=uid, stop=b"", statistics=statistics)
            for uid, (version, statistics) in found.items()
        ]

        def put() -> None:
            self._index.put(entries)
            self._index.settle(())  # makes the indexes of SQL that searches use

        self._index.again(put)

    def _unmeasured(self, uids: Iterable[str]) -> list[str]:
        asked = [uid for uid in uids if storable(uid)]
        known = set(self._index.again(lambda: self._rows(AMONG, [json.dumps(asked)])))
        return [uid for uid in asked if uid not in known]

    def check_versions(self) -> None:
        """Forget the runs that changed, or went, since they were measured: it describes all of them."""
        versions = self._index.again(self._index.stamps)
        uids = list(versions)
        for some in (uids[n : n + TOGETHER] for n in range(0, len(uids), TOGETHER)):
            now = {header.uid: header.version for header, _ in self._store.read_ahead(some)}
            self.forget([uid for uid in some if now.get(uid) != versions[uid]])

    def forget(self, uids: Sequence[str]) -> None:
        """Keep nothing of some runs."""
        if uids:
            self._index.again(lambda: self._index.forget(uids))

    def decided(self, leaf: Kept, among: Sequence[str] | None = None) -> list[str]:
        """The uids of runs for which statistics prove a query, all or `among` some; of what is open, those not open."""
        condition, values = kept_condition(leaf)
        where = condition if leaf.says == "true" else f"NOT {condition}"
        if among is not None:
            where, values = f"{AMONG} AND {where}", [json.dumps(list(filter(storable, among))), *values]

        def ask() -> list[str]:
            self._index.spread([leaf.query.key])
            return self._rows(where, values)

        return self._index.again(ask)

    def _rows(self, where: str, values: Sequence[Any]) -> list[str]:
        return [uid for (uid,) in self._index.rows(f"SELECT uid FROM files WHERE measured AND {where}", values)]

    def close(self) -> None:
        """Close the file; it is opened anew when it is used again."""
        self._index.close()


def packed(found: Measured) -> bytes:
    """Pack the statistics of a run, as the index keeps them and users of a store share them."""
    streams: dict[str, dict[str, Fields | None]] = {}
    for (stream, key), statistics in found.items():
        streams.setdefault(stream, {})[key] = None if statistics is None else statistics.fields
    return pack(streams)
