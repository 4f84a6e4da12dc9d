"""Lines with an event page, straight to numpy columns through simdjson's typed buffers.

`PageParser.parse` gives None wherever it is not certain that `intake_bluesky.documents.pages.event_page` would give the
same: the caller then takes that way. Without pysimdjson, that is always.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

from intake_bluesky.documents.columns import Array, Column, Ragged, column
from intake_bluesky.documents.model import EventPage, Keys
from intake_bluesky.integers import FLOAT_EXACT

simdjson: Any
try:
    import simdjson
except ImportError:  # no wheel for this Python
    simdjson = None

__all__ = ["PageParser"]

# What simdjson raises, and what documents of an odd form make Python raise.
REFUSALS: Final = (AttributeError, KeyError, RuntimeError, TypeError, ValueError)


class PageParser:
    """Parses one line after another, the wanted keys of each; not for several threads at once."""

    def __init__(self, data: Keys, timestamps: Keys) -> None:
        self._parser = simdjson.Parser() if simdjson is not None else None
        self._data, self._timestamps = data, timestamps

    def parse(self, line: bytes | memoryview) -> EventPage | None:
        """Make a page of an ``event_page`` line; None where this way may be wrong.

        Examples
        --------
        >>> line = (
        ...     b'["event_page", {"descriptor": "d", "seq_num": [1, 2], "time": [3.5, 4.5],'
        ...     b' "data": {"x": [5, 6]}, "timestamps": {"x": [3.5, 4.5]}, "filled": {}}]'
        ... )
        >>> page = PageParser(data={"x"}, timestamps=()).parse(line)
        >>> page is None or page.data["x"]
        array([5, 6])
        """
        if self._parser is None:
            return None
        try:
            return _page(self._parser.parse(line), line, self._data, self._timestamps)
        except REFUSALS:
            return None


def _page(pair: Any, line: bytes | memoryview, data: Keys, timestamps: Keys) -> EventPage | None:
    doc = pair[1]
    columns, stamps, filled = (doc[part] for part in ("data", "timestamps", "filled"))
    own = [doc[key] for key in _once(doc) if key not in ("data", "timestamps", "filled")]
    parts = [part[key] for part in (columns, stamps, filled) for key in _once(part)]
    if 1 + sum(map(_arrays, own)) + sum(map(_arrays, parts)) != _brackets(line):
        return None  # brackets in text, or arrays among numbers: buffers would hide them
    page = EventPage(
        doc["descriptor"],
        _numbers(doc["seq_num"]),
        _numbers(doc["time"]).astype(np.float64, copy=False),
        {key: _column(columns[key]) for key in columns if key in data},
        {key: _column(stamps[key]) for key in stamps if key in timestamps},
        {key: filled[key].as_list() for key in filled},
    )
    sound = page.seq_num.dtype == np.int64 and page.time.ndim == 1
    lengths = map(len, (page.seq_num, page.time, *page.data.values(), *page.timestamps.values()))
    return page if sound and set(lengths) == {len(doc["seq_num"])} else None


def _once(mapping: Any) -> list[str]:
    keys = list(mapping)
    if len(set(keys)) < len(keys):
        raise ValueError("a key occurs twice")
    return keys


def _arrays(value: Any) -> int:
    """How many arrays this is, those among the elements of innermost arrays not counted."""
    if not isinstance(value, simdjson.Array):
        return 0
    nested = len(value) and isinstance(value[0], simdjson.Array)
    return 1 + (sum(map(_arrays, value)) if nested else 0)


def _brackets(line: bytes | memoryview) -> int:
    return int(np.count_nonzero(np.frombuffer(line, np.uint8) == ord("[")))


def _column(array: Any) -> Column:
    """As `columns.column`, of an array without arrays among the elements of its innermost ones."""
    if len(array):
        try:
            return _shaped(array)
        except REFUSALS:
            pass  # null, text, booleans, mixtures
    return column(array.as_list())[0]


def _shaped(array: Any) -> Column:
    if not isinstance(array[0], simdjson.Array):
        return _numbers(array)
    shapes = [_shape(event) for event in array]
    if len({len(shape) for shape in shapes}) > 1:
        raise ValueError("arrays of different dimensions")
    values = _numbers(array)
    if not len(values) or len(values) != sum(map(math.prod, shapes)):
        raise ValueError("nothing to know the type by")
    if len(set(shapes)) == 1:
        return values.reshape(len(shapes), *shapes[0])
    return Ragged(values, np.asarray(shapes, np.int64))


def _shape(array: Any) -> tuple[int, ...]:
    if not isinstance(array, simdjson.Array):
        raise TypeError("a number among arrays")
    if not len(array) or not isinstance(array[0], simdjson.Array):
        return (len(array),)
    inner = {_shape(part) for part in array}
    if len(inner) > 1:
        raise ValueError("ragged within one event")
    return (len(array), *inner.pop())


def _numbers(array: Any) -> Array:
    """All numbers of an array, nested or not, in one dimension: int64, uint64 or float64.

    simdjson gives integers as doubles when asked, never a double as an integer: so integers are asked for first.
    """
    try:
        return np.frombuffer(array.as_buffer(of_type="i"), np.int64)
    except ValueError:  # past int64
        return np.frombuffer(array.as_buffer(of_type="u"), np.uint64)
    except TypeError:
        values = np.frombuffer(array.as_buffer(of_type="d"), np.float64)
    if np.abs(values).max() >= FLOAT_EXACT:  # 2**53 + 1 rounds to 2**53
        raise ValueError("there may be integers among these that no double holds")
    return values
