"""The dimensions of a scan, as the hints of its start document name them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from intake_bluesky.documents.model import DEFAULT_STREAM, to_plain

__all__ = ["Dimension", "dimensions", "moved"]


class Dimension(NamedTuple):
    """One dimension of a scan: the fields that moved along it, together, and the stream that has them."""

    fields: tuple[str, ...]
    stream: str


def dimensions(start: Mapping[str, Any]) -> tuple[Dimension, ...]:
    """The dimensions of the scan, slowest first; one that names no stream is of ``primary``.

    Examples
    --------
    >>> dimensions({"hints": {"dimensions": [[["theta"], "primary"]]}})
    (Dimension(fields=('theta',), stream='primary'),)
    """
    hints = to_plain(start.get("hints") or {})
    given = hints.get("dimensions") if isinstance(hints, dict) else None
    return tuple(
        Dimension(tuple(map(str, part[0])), str(part[1]) if len(part) == 2 else DEFAULT_STREAM)
        for part in (given if isinstance(given, list) else ())
        if isinstance(part, list) and len(part) in (1, 2) and isinstance(part[0], list)
    )


def moved(start: Mapping[str, Any], stream: str) -> list[str]:
    """The fields that moved along the dimensions of a scan, of one stream; ``time``, of a count, is none.

    Examples
    --------
    >>> moved({"hints": {"dimensions": [[["y", "z"], "primary"], [["x"], "primary"]]}}, "primary")
    ['y', 'z', 'x']
    >>> moved({"hints": {"dimensions": [[["time"], "primary"]]}}, "primary")
    []
    """
    fields = (field for own in dimensions(start) if own.stream == stream for field in own.fields)
    return [field for field in dict.fromkeys(fields) if field != "time"]
