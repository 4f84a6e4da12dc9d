"""Seq_nums that a stream has more than once: events that were taken again, or descriptors that count by themselves.

The RunEngine emits a seq_num again after a pause and a rewind, and the last event of each is the one that counts.
Before bluesky 0.11 it counted the events of each descriptor by itself: those of descriptors without a common key are
columns of the same rows. No document tells which it was; where both may be, `Repeats.unclear` counts the rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from intake_bluesky.cached import cached_property
from intake_bluesky.datasets.rows import rises
from intake_bluesky.documents.columns import Array
from intake_bluesky.documents.model import EventPage

__all__ = ["Repeats"]


@dataclass(frozen=True, eq=False)
class Repeats:
    """The stored events of a stream, as far as it decides which of them count.

    Attributes
    ----------
    seq_num : numpy.ndarray, shape (stored events,), dtype int64
    descriptor : numpy.ndarray, shape (stored events,), dtype int64
        The place of each event's descriptor among `descriptors`.
    descriptors : sequence of dict
        Of the stream.
    undeclared : mapping of key to set of int
        The places of the descriptors whose events have a key that none declares.
    """

    seq_num: Array
    descriptor: Array
    descriptors: Sequence[Mapping[str, Any]]
    undeclared: Mapping[str, frozenset[int]] = field(default_factory=dict)

    @classmethod
    def of_pages(cls, pages: Iterable[EventPage], descriptors: Sequence[Mapping[str, Any]]) -> Repeats:
        """Take the pages of all stored events."""
        places = {doc["uid"]: place for place, doc in enumerate(descriptors)}
        seq_num, descriptor = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
        for page in pages:
            seq_num.append(page.seq_num)
            descriptor.append(np.full(len(page), places.get(page.descriptor, 0)))
        return cls(np.concatenate(seq_num), np.concatenate(descriptor), descriptors)

    @cached_property
    def _groups(self) -> Array:
        """The group of each descriptor: those that are joined by common keys have one."""
        groups = np.arange(len(self.descriptors))
        owner: dict[str, int] = {}
        for place, doc in enumerate(self.descriptors):
            for key in doc.get("data_keys") or {}:
                first = owner.setdefault(key, place)
                if groups[first] != groups[place]:
                    groups[groups == groups[place]] = groups[first]
        return groups

    @cached_property
    def joined(self) -> bool:
        """Whether events of one seq_num may count side by side."""
        return len(self.descriptors) > 1 and not rises(self.seq_num) and len(set(self._groups.tolist())) > 1

    def preferred(self, key: str) -> Array:
        """Which events count for a key where there are several of a seq_num: shape (stored events,), dtype bool."""
        if not self.joined:
            return np.ones(len(self.seq_num), bool)
        having = self.undeclared.get(key, ())
        places = [p for p, doc in enumerate(self.descriptors) if key in (doc.get("data_keys") or {}) or p in having]
        events: Array = np.isin(self._groups[self.descriptor], self._groups[places])
        return events

    @cached_property
    def unclear(self) -> int:
        """The rows of which it is unclear whether an event was taken again, or others count beside it.

        Not where a descriptor counts on, as after a rewind; nor where two without a common key both begin anew.
        """
        if len(self.descriptors) < 2 or rises(self.seq_num):
            return 0
        order = np.lexsort((self.seq_num,))
        seq_num, owner = self.seq_num[order], self.descriptor[order]
        repeated = np.flatnonzero((seq_num[1:] == seq_num[:-1]) & (owner[1:] != owner[:-1]))
        pairs = set(zip(owner[repeated].tolist(), owner[repeated + 1].tolist(), strict=True))
        doubtful = {pair for pair in pairs if self._doubtful(*pair)}
        rows = [p for p in repeated.tolist() if (int(owner[p]), int(owner[p + 1])) in doubtful]
        return len(set(seq_num[rows].tolist()))

    def _doubtful(self, earlier: int, later: int) -> bool:
        """Whether it is unclear what an event is to one of another descriptor and the same seq_num, stored later."""
        second = max(earlier, later, key=self._first.__getitem__)
        before, after = self._keys(earlier), self._keys(later)
        if self._groups[earlier] != self._groups[later]:
            return not (self._anew(earlier) and self._anew(later)) or bool(before & after)
        return self._anew(second) or not before <= after

    @cached_property
    def _first(self) -> dict[int, int]:
        """Where the first event of each descriptor is stored."""
        places, first = np.unique(self.descriptor, return_index=True)
        return dict(zip(places.tolist(), first.tolist(), strict=True))

    def _anew(self, place: int) -> bool:
        """Whether a descriptor counts from where the stream begins."""
        return bool(self.seq_num[self._first[place]] == self.seq_num.min())

    def _keys(self, place: int) -> set[str]:
        declared = self.descriptors[place].get("data_keys") or {}
        return {*declared, *(key for key, places in self.undeclared.items() if place in places)}
