"""The documents of a stream that holds a Dataset, its values in event pages of bounded size."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any, Final

import dask
import dask.array as da
import numpy as np

from intake_bluesky.datasets.stored_datasets.describe import StoredDataset
from intake_bluesky.documents.columns import OBJECT, Array
from intake_bluesky.documents.model import Document
from intake_bluesky.errors import UnsupportedOperation

__all__ = ["check_shape", "descriptors", "event_pages", "inline_bytes", "row_blocks"]

PAGE_BYTES: Final = 2**20
"""Of the values in one event page, about: documents are read and sent whole."""
BLOCK_BYTES: Final = 2**24
"""Of what is computed at once, unless a chunk of a dask array is larger."""
TEXT_BYTES: Final = 32  # of a text, of which nobody knows how long it is
EVENT_BYTES: Final = 64  # of an event's uid, time and seq_num
KEY_BYTES: Final = 8  # of a time stamp


def descriptors(stored: StoredDataset, stream: str, *, run_start: str, uid: str, time: float) -> list[Document]:
    """The descriptor of a stream, and before it that of the stream of one event, if there is one.

    Parameters
    ----------
    stored : StoredDataset
    stream, run_start : str
    uid : str
        Of the descriptor; that of the other begins with it.
    time : float
    """
    own = {"uid": uid, "run_start": run_start, "time": time, "name": stream, **stored.descriptor_fields()}
    if not stored.shared_keys:
        return [own]
    shared = {"uid": f"{uid}-shared", "run_start": run_start, "time": time, "name": stored.shared}
    return [shared | stored.shared_fields(), own]


def row_bytes(columns: Mapping[str, Any]) -> int:
    """Bytes of the values of one event, about."""
    widths = (TEXT_BYTES if c.dtype.kind in "OT" else c.dtype.itemsize for c in columns.values())
    sizes = (int(np.prod(c.shape[1:], dtype=np.int64)) for c in columns.values())
    return sum(width * size for width, size in zip(widths, sizes, strict=True))


def inline_bytes(columns: Mapping[str, Any], events: int) -> int:
    """Bytes of all values, about."""
    return row_bytes(columns) * events


def row_blocks(columns: Mapping[str, Any], events: int) -> list[tuple[int, int]]:
    """Ranges of events to be computed together: whole chunks of the largest dask array, up to some size.

    Examples
    --------
    >>> row_blocks({"x": da.zeros((6, 2**20), chunks=(2, -1))}, 6)
    [(0, 2), (2, 4), (4, 6)]
    """
    rows = max(BLOCK_BYTES // max(row_bytes(columns), 1), 1)
    lazy = [c for c in columns.values() if isinstance(c, da.Array)]
    if lazy:
        ends = np.cumsum(max(lazy, key=lambda c: c.nbytes).chunks[0]).tolist()
    else:
        ends = [*range(rows, events, rows), events]
    bounds = [0]
    for end, following in pairwise([*ends, events]):
        if end > bounds[-1] and (following - bounds[-1] > rows or end == events):
            bounds.append(end)
    return list(pairwise(bounds if bounds[-1] == events else [*bounds, events]))


def event_pages(
    columns: Mapping[str, Any], times: Array, descriptor: str, events: slice = slice(None)
) -> Iterator[Document]:
    """Yield the event pages of a stream; dask arrays are computed some chunks at a time.

    Parameters
    ----------
    columns : mapping of key to array, shape ``(events, ...)``
    times : numpy.ndarray, shape (events,)
    descriptor : str
        Its uid.
    events : slice
        Those wanted; pages are cut to it.
    """
    first, last, _ = events.indices(len(times))
    rows = max(PAGE_BYTES // (row_bytes(columns) + EVENT_BYTES + KEY_BYTES * len(columns)), 1)
    for begin, end in row_blocks(columns, len(times)):
        begin, end = max(begin, first), min(end, last)
        if begin >= end:
            continue
        (block,) = dask.compute({key: column[begin:end] for key, column in columns.items()})
        for key, column in block.items():
            check_shape(column, (end - begin, *columns[key].shape[1:]), key)
        for start in range(begin, end, rows):
            part = slice(start - begin, min(start + rows, end) - begin)
            data = {key: _listed(column[part]) for key, column in block.items()}
            yield _page(data, times[begin:end][part].tolist(), start, descriptor)


def check_shape(values: Any, shape: tuple[int, ...], key: str) -> None:
    """Refuse values of another shape than their dask array has: they would be repeated, or be those of other rows.

    Raises
    ------
    UnsupportedOperation
    """
    if values.shape != shape:
        raise UnsupportedOperation(
            f"the dask array of {key!r} computes values of shape {values.shape} where it has {shape}: say so where it "
            "is made, by the chunks of map_blocks"
        )


def _listed(column: Array) -> list[Any]:
    # As objects: text of numpy is also `str` then.
    found: list[Any] = (column.astype(OBJECT) if column.dtype.kind == "T" else column).tolist()
    return found


def _page(data: dict[str, list[Any]], times: list[float], start: int, descriptor: str) -> Document:
    numbers = list(range(start + 1, start + len(times) + 1))
    return {
        "uid": [f"{descriptor}-{number}" for number in numbers],
        "time": times,
        "seq_num": numbers,
        "descriptor": descriptor,
        "data": data,
        "timestamps": dict.fromkeys(data, times),
        "filled": {},
    }
