"""Statistics as an index keeps them: a blob a run, and rows of a table for the keys that somebody asked for.

A run has tens of keys and people ask for few: rows of all would take longer to write than the files take to parse.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias

import msgpack

from intake_bluesky.documents.statistics import Fields, Statistics
from intake_bluesky.index.search_form import code_text
from intake_bluesky.integers import INT64_END, is_int64
from intake_bluesky.runtime.compression import squeezed, unsqueezed

__all__ = ["Row", "pack", "row_of", "rows_of", "statistics_of"]

Row: TypeAlias = tuple[Any, ...]
"""count, nan_count, min, max, sum, first, last, gap, exact: see `intake_bluesky.index.statistics_conditions`."""

LOWEST: Final = -INT64_END
LARGEST: Final = 1 << 26  # bytes of what is packed: of a run of a hundred thousand keys
UNKNOWN: Final[Row] = (None,) * 9
NONE: Final = type(None)


def row_of(found: Statistics | None) -> Row:
    """The columns that statistics fill; all None where nothing is known.

    Examples
    --------
    >>> row_of(Statistics(2, 0, 1, 2**64, 2**64 + 1, 1, 2**64))[-1]
    '[1, 18446744073709551616, 18446744073709551617, 1, 18446744073709551616]'
    """
    if found is None:
        return UNKNOWN
    low, high, total = found.min, found.max, found.sum
    if low is None or high is None or total is None or (low >= LOWEST and high < INT64_END and is_int64(total)):
        return *found.fields, None
    numbers = low, high, total, found.first, found.last
    if all(type(number) is not int or is_int64(number) for number in numbers):
        return found.count, found.nan_count, *numbers, found.gap, None
    # SQLite would make a float of an integer past 64 bits.
    return found.count, found.nan_count, None, None, None, None, None, found.gap, json.dumps(numbers)


def statistics_of(row: Sequence[Any]) -> Statistics | None:
    """Make statistics of the columns that `row_of` filled."""
    count, nan_count, *numbers, gap, exact = row
    if count is None:
        return None
    if exact is not None:
        numbers = json.loads(exact)
    elif numbers[2] is None and count > nan_count:  # SQLite keeps NaN, the sum of inf and -inf, as NULL
        numbers[2] = math.nan
    low, high, total, first, last = numbers
    return Statistics(count, nan_count, low, high, total, first, last, gap)


def pack(streams: Mapping[str, Mapping[str, Fields | None]]) -> bytes:
    """Pack the fields of a run's statistics by stream and key, each so that it is read without the others.

    None in the place of fields is what is not known.
    """
    packer = msgpack.Packer()  # one for all: to make it takes longer than to pack
    rows = []
    for stream, keys in streams.items():
        name = code_text(stream)
        for key, fields in keys.items():
            try:
                row = packer.pack(fields)
            except OverflowError:  # past 64 bits; one of 64 without a sign, which SQLite lacks, is met by `rows_of`
                assert fields is not None
                row = msgpack.packb(row_of(Statistics(*fields)))
            rows.append((name, key if key.isascii() and key.isprintable() else code_text(key), row))
    return squeezed(packer.pack(rows))


def rows_of(packed: bytes, key: str | None = None) -> Iterator[tuple[str, str, Row]]:
    """Yield stream, key and row of what was packed, names as `code_text` codes them; of one key, or of all.

    Raises
    ------
    ValueError
        Where this is nothing that `pack` made.

    Examples
    --------
    >>> theta = Statistics(1, 0, 2.5, 2.5, 2.5, 2.5, 2.5, 0.0).fields
    >>> list(rows_of(pack({"primary": {"theta": theta, "image": None}}), "theta"))
    [('primary', 'theta', (1, 0, 2.5, 2.5, 2.5, 2.5, 2.5, 0.0, None))]
    """
    try:
        for stream, name, row in msgpack.unpackb(unsqueezed(packed, LARGEST)):
            if key is None or name == key:
                yield stream, name, _checked(msgpack.unpackb(row, use_list=False))
    except (msgpack.UnpackException, TypeError, ValueError) as error:
        raise ValueError(f"no packed statistics: {error}") from error


def _checked(row: Any) -> Row:
    if row is None:
        return UNKNOWN
    # A published index is believed no more than its authors: only numbers become statistics.
    if type(row) is tuple and len(row) == len(UNKNOWN) - 1 and {int, float, NONE}.issuperset(map(type, row)):
        return row_of(Statistics(*row))
    if type(row) is tuple and len(row) == len(UNKNOWN) and isinstance(row[-1], str) and len(json.loads(row[-1])) == 5:
        return row
    raise ValueError(f"a row of statistics is {str(row)[:60]}")
