"""The answers of a store to given documents, worked out in plain Python and without the code under test."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from intake_bluesky.documents.columns import Column, Ragged
from intake_bluesky.documents.model import Document, EventPage, identical, to_plain

__all__ = ["cells", "same_column", "same_page", "same_value", "stored_datums", "stored_events", "values_of"]

EVENT_FIELDS = ("uid", "time", "seq_num")
EVENT_PARTS = ("data", "timestamps", "filled")


def stored_events(documents: Iterable[tuple[str, Document]]) -> dict[str, list[Document]]:
    """List each stream's single events in stored order, pages and bulk events taken apart.

    Examples
    --------
    >>> from intake_bluesky.testing.plain_runs import rewound
    >>> [event["seq_num"] for event in stored_events(rewound())["primary"]]
    [1, 2, 3, 1, 2, 3, 4]
    """
    streams: dict[str, str] = {}
    events: dict[str, list[Document]] = {}
    for name, doc in documents:
        plain = to_plain(doc)
        if name == "descriptor":
            streams[plain["uid"]] = plain.get("name") or "primary"
            events.setdefault(streams[plain["uid"]], [])
        for event in _singles(name, plain):
            events[streams[event["descriptor"]]].append(event)
    return events


def _singles(name: str, doc: Document) -> list[Document]:
    if name == "event":
        return [doc]
    if name == "bulk_events":
        return [event for group in doc.values() for event in group]
    if name != "event_page":
        return []
    return [
        {field: doc[field][row] for field in EVENT_FIELDS}
        | {"descriptor": doc["descriptor"]}
        | {part: {key: column[row] for key, column in doc.get(part, {}).items()} for part in EVENT_PARTS}
        for row in range(len(doc["seq_num"]))
    ]


def stored_datums(documents: Iterable[tuple[str, Document]]) -> dict[str, list[tuple[str, Document]]]:
    """List the (datum_id, datum_kwargs) of each resource, in stored order."""
    datums: dict[str, list[tuple[str, Document]]] = {}
    for name, doc in documents:
        plain = to_plain(doc)
        if name == "resource":
            datums.setdefault(plain["uid"], [])
        elif name == "datum":
            datums[plain["resource"]].append((plain["datum_id"], plain["datum_kwargs"]))
        elif name == "bulk_datum":
            datums[plain["resource"]] += zip(plain["datum_ids"], plain["datum_kwarg_list"], strict=True)
        elif name == "datum_page":
            kwargs = plain["datum_kwargs"]
            rows = [{key: column[row] for key, column in kwargs.items()} for row in range(len(plain["datum_id"]))]
            datums[plain["resource"]] += zip(plain["datum_id"], rows, strict=True)
    return datums


def values_of(column: Column) -> list[Any]:
    """Take a column apart into one plain value an event: scalars, (nested) lists."""
    if not isinstance(column, Ragged):
        return [to_plain(value) for value in column.tolist()]
    values, first = [], 0
    for shape in column.shapes.tolist():
        size = math.prod(shape)
        values.append(to_plain(column.values[first : first + size].reshape(shape)))
        first += size
    return values


def cells(pages: Sequence[EventPage], part: str = "data") -> list[dict[str, Any]]:
    """Take pages apart into one dict of plain values an event."""
    rows: list[dict[str, Any]] = []
    for page in pages:
        columns = {key: values_of(column) for key, column in getattr(page, part).items()}
        rows += [{key: column[row] for key, column in columns.items()} for row in range(len(page))]
    return rows


def same_value(observed: Any, expected: Any) -> bool:
    """Whether a value out of a column is the value of the document.

    An integer may have become a float of exactly its value (its column has a gap); a null or missing one NaN,
    ``""``, None or an array of those. Nothing else may differ.

    Examples
    --------
    >>> same_value(1.0, 1), same_value(True, 1), same_value(float("nan"), None), same_value([1.0], [1.5])
    (True, False, True, False)
    """
    if expected is None:
        return _is_missing(observed)
    if isinstance(expected, list):
        return (
            isinstance(observed, list) and len(observed) == len(expected) and all(map(same_value, observed, expected))
        )
    if isinstance(expected, float) and math.isnan(expected):
        return observed is None or (isinstance(observed, float) and math.isnan(observed))
    # By type: `True == 1` and `1 == 1.0` in Python, and neither would be the document's value.
    if type(expected) is int and type(observed) is float:
        return math.isfinite(observed) and int(observed) == expected and observed.is_integer()
    if type(expected) is float and type(observed) is int:
        return False
    return type(observed) is type(expected) and bool(observed == expected)


def _is_missing(value: Any) -> bool:
    if isinstance(value, list):
        return all(map(_is_missing, value))
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))


def same_page(observed: EventPage, expected: EventPage) -> bool:
    """Whether two pages have the same columns: of one kind and dtype, with the same values."""
    parts = ((observed.data, expected.data), (observed.timestamps, expected.timestamps))
    return (
        observed.descriptor == expected.descriptor
        and same_column(observed.seq_num, expected.seq_num)
        and same_column(observed.time, expected.time)
        and all(list(mine) == list(theirs) for mine, theirs in parts)
        and all(same_column(mine[key], theirs[key]) for mine, theirs in parts for key in mine)
        and identical(observed.filled, expected.filled)
    )


def same_column(observed: Column, expected: Column) -> bool:
    """Whether two columns are of one kind, dtype and shape, with the same values."""
    if isinstance(observed, Ragged) and isinstance(expected, Ragged):
        return same_column(observed.values, expected.values) and same_column(observed.shapes, expected.shapes)
    if isinstance(observed, Ragged) or isinstance(expected, Ragged):
        return False
    return observed.dtype == expected.dtype and observed.shape == expected.shape and identical(observed, expected)
