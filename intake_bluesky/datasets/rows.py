"""The rows of a stream's Dataset, from stored events and frames.

The RunEngine emits a seq_num again after a pause and a checkpoint, and the last event of each seq_num is the one that
counts; `datasets.repeats` knows when it is not.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import chain
from typing import Final

import numpy as np

from intake_bluesky.documents.columns import Array
from intake_bluesky.documents.model import Span
from intake_bluesky.errors import DamagedRun
from intake_bluesky.runtime.sizes import largest, to_raise_it

__all__ = ["Rows", "believed", "count", "joined", "last_of_each", "ranges_of", "seq_nums_of"]

# Bytes that a row takes before anything is read: seq_num, time and the place of its event, and of each streamed key.
ROW: Final = 24
ROW_OF_KEY: Final = 16


def last_of_each(seq_num: Array, preferred: Array | None = None) -> Array:
    """Positions of the last event of each seq_num, by rising seq_num.

    Parameters
    ----------
    seq_num : numpy.ndarray, shape (stored events,), dtype int64
    preferred : numpy.ndarray, shape (stored events,), dtype bool, optional
        Events that count rather than others of their seq_num, wherever they are stored.

    Returns
    -------
    numpy.ndarray, shape (distinct seq_nums,), dtype int64

    Examples
    --------
    >>> last_of_each(np.array([1, 2, 3, 1, 2, 3, 4]))
    array([3, 4, 5, 6])
    >>> last_of_each(np.array([1, 1, 2, 2]), np.array([True, False, True, False]))
    array([0, 2])
    """
    if rises(seq_num):
        return np.arange(len(seq_num))
    # Sorting is stable: among equals the stored order stays.
    order = np.lexsort((seq_num,) if preferred is None else (preferred, seq_num))
    last: Array = order[np.append(np.diff(seq_num[order]) != 0, True)]
    return last


def rises(seq_num: Array) -> bool:
    """Whether each seq_num is larger than the one before."""
    return bool((seq_num[1:] > seq_num[:-1]).all())


def seq_nums_of(spans: Iterable[Span]) -> Array:
    """The distinct seq_nums that stream datums refer to, rising.

    A span with more indices than seq_nums (skipped frames), or fewer, counts as far as both go.

    Examples
    --------
    >>> seq_nums_of([(1, 4, 0, 3), (3, 6, 3, 6)])
    array([1, 2, 3, 4, 5])
    """
    return np.concatenate([np.empty(0, np.int64), *(np.arange(*own, dtype=np.int64) for own in ranges_of(spans))])


def ranges_of(spans: Iterable[Span]) -> list[tuple[int, int]]:
    """As `seq_nums_of`, in ranges: a span may claim more seq_nums than can be listed."""
    return joined((start, min(stop, start + i1 - i0)) for start, stop, i0, i1 in spans)


def joined(ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Ranges, begin and end, of what is in any of some: in order, with gaps between.

    Examples
    --------
    >>> joined([(3, 6), (1, 4), (8, 9), (5, 5)])
    [(1, 6), (8, 9)]
    """
    found: list[tuple[int, int]] = []
    for begin, end in sorted((begin, end) for begin, end in ranges if end > begin):
        if found and begin <= found[-1][1]:
            found[-1] = found[-1][0], max(found[-1][1], end)
        else:
            found.append((begin, end))
    return found


def count(ranges: Iterable[tuple[int, int]]) -> int:
    """How many numbers are in ranges that do not overlap.

    >>> count([(1, 6), (8, 9)])
    6
    """
    return sum(end - begin for begin, end in ranges)


def believed(spans: Mapping[str, Iterable[Span]], asked: Container[str], where: str) -> list[str]:
    """The keys whose stream datums say which rows there are, once it is certain that there can be so many.

    A key that is not asked for may claim what it will.

    Raises
    ------
    DamagedRun
        When the rows would take more memory than `intake_bluesky.runtime.sizes.largest` allows.
    """
    size = ROW + ROW_OF_KEY * max(len(spans), 1)
    ranges = {key: ranges_of(own) for key, own in spans.items()}
    kept = [key for key in ranges if key in asked or count(ranges[key]) * size <= largest()]
    claimed = count(joined(chain.from_iterable(ranges[key] for key in kept)))
    if claimed * size > largest():
        raise DamagedRun(
            f"the stream datums of {where} claim {claimed:,} rows, which take {claimed * size:,} bytes, "
            f"{to_raise_it()}. Or leave out the keys that claim so much, with exclude"
        )
    return kept


def _distinct(seq_num: Array) -> Array:
    """The values, rising and each once; nothing is sorted where they rise already, as those of long streams do."""
    return seq_num if rises(seq_num) else np.unique(seq_num)


def _joined(a: Array, b: Array, *, common: bool) -> Array:
    """The union of two rising arrays, or what they have in common."""
    if np.array_equal(a, b):
        return a
    if common:
        return a[_found_in(a, b)]
    if not len(a) or not len(b) or a[-1] < b[0]:
        return np.concatenate([a, b])
    return np.union1d(a, b)


def _found_in(values: Array, rising: Array) -> Array:
    """Of each value whether it is in a rising array."""
    if not len(rising):
        return np.zeros(len(values), bool)
    where = np.minimum(np.searchsorted(rising, values), len(rising) - 1)
    found: Array = rising[where] == values
    return found


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """The rows of a Dataset.

    Attributes
    ----------
    seq_num : numpy.ndarray, shape (rows,), dtype int64
        Rising: the union of the seq_nums of events and of stream datums.
    event : numpy.ndarray, shape (rows,), dtype int64
        Position of each row's event among the stored events; -1 where frames came and no event did.
    time : numpy.ndarray, shape (rows,), dtype float64
        Event times, NaN where there is no event.
    stored : int
        Stored events, repeats included.
    lacking : mapping of key to int
        Rows that a key's frames do not cover; under the name ``"events"`` rows without an event.
    """

    seq_num: Array
    event: Array
    time: Array
    stored: int
    lacking: Mapping[str, int]

    @classmethod
    def of(cls, seq_num: Array, time: Array, frames: Mapping[str, Array], *, trim: bool = False) -> Rows:
        """Find the rows.

        Parameters
        ----------
        seq_num, time : numpy.ndarray, shape (stored events,)
        frames : mapping of key to numpy.ndarray
            The distinct seq_nums of each streamed key.
        trim : bool
            Keep only the rows that events (if there are any) and every streamed key have.
        """
        # Most streams: no rewind, nothing streamed. The arrays are used as they are, without sorting.
        if not frames and rises(seq_num):
            return cls(seq_num, np.arange(len(seq_num)), time, len(seq_num), {})
        chosen = last_of_each(seq_num)
        own = seq_num[chosen]
        # A stream of frames alone has no events, so that intersecting with them would trim all of its rows.
        parts = ([own] if len(seq_num) or not frames else []) + list(frames.values())
        rows = parts[0]
        for part in parts[1:]:
            rows = _joined(rows, part, common=trim)
        event = np.full(len(rows), -1, np.int64)
        found = _found_in(rows, own)
        event[found] = chosen[np.searchsorted(own, rows[found])]
        times = np.full(len(rows), np.nan)
        times[found] = time[event[found]]
        lacking = {
            key: 0 if part is rows else int(len(rows) - _found_in(part, rows).sum()) for key, part in frames.items()
        }
        if len(seq_num):
            lacking["events"] = int((~found).sum())
        return cls(rows, event, times, len(seq_num), {key: n for key, n in lacking.items() if n})

    def without(self, seq_nums: Array) -> Rows:
        """The rows but those of these seq_nums."""
        kept = ~_found_in(self.seq_num, _distinct(np.sort(seq_nums)))
        return replace(self, seq_num=self.seq_num[kept], event=self.event[kept], time=self.time[kept])

    def preferring(self, seq_num: Array, preferred: Array) -> Rows:
        """The same rows with the events that count for some keys; takes what `last_of_each` does."""
        chosen = last_of_each(seq_num, preferred)
        event, has = self.event.copy(), self.event >= 0
        event[has] = chosen[np.searchsorted(seq_num[chosen], self.seq_num[has])]
        return replace(self, event=event)

    def __len__(self) -> int:
        return len(self.seq_num)

    @property
    def whole(self) -> bool:
        """Whether each stored event is a row, in stored order, and there are no others."""
        # As many as there are, each after the one before, from the first: these are all.
        return len(self) == self.stored and (not self.stored or not self.event[0]) and rises(self.event)

    @property
    def straight(self) -> bool:
        """Whether the rows that have an event follow the stored order."""
        events = self.event[self.event >= 0]
        return bool((np.diff(events) > 0).all())
