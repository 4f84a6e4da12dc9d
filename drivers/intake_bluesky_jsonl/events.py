"""The events of one descriptor out of lines of JSON, as event pages."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain, groupby
from operator import itemgetter
from typing import Any, Final, TypeAlias

import numpy as np
import orjson

from intake_bluesky.documents.columns import OBJECT, Column, Ragged
from intake_bluesky.documents.model import Document, EventPage, Keys
from intake_bluesky.documents.pages import event_page, gather, normalise
from intake_bluesky_jsonl.envelopes import as_pair
from intake_bluesky_jsonl.pages import PageParser

__all__ = ["event_pages"]

Pair: TypeAlias = tuple[str, Document]
Decode: TypeAlias = Callable[[bytes], Pair]
Parse: TypeAlias = Callable[[bytes], list[Pair]]

EVENTS: Final = frozenset({"event", "event_page", "bulk_events"})
PAGE: Final = b'["event_page"'
PIECE: Final = 1 << 15  # bytes parsed at once: they become columns while they are in the processor's cache
ENDS: Final = 1 << 12


def event_pages(raw: bytes, descriptor: str, data: Keys, timestamps: Keys, decode: Decode) -> list[EventPage]:
    """Pages of the events of one descriptor in whole lines, single events that follow each other in one.

    `decode` parses one line with nothing lost, or raises.
    """
    exactly = partial(_exactly, decode=decode)
    pages = list(_pages(raw, descriptor, data, timestamps, partial(_quickly, exactly=exactly)))
    # The quick way makes floats of integers past 64 bits, which only their size gives away.
    if any(_doubtful(col) for page in pages for col in (*page.data.values(), *page.timestamps.values())):
        return list(_pages(raw, descriptor, data, timestamps, exactly))
    return pages


def _pages(raw: bytes, descriptor: str, data: Keys, timestamps: Keys, parse: Parse) -> Iterator[EventPage]:
    runs = _runs(raw, descriptor, PageParser(data, timestamps), parse)
    for name, group in groupby(runs, key=itemgetter(0)):
        found = chain.from_iterable(map(itemgetter(1), group))
        if name == "event":
            yield gather(found, data=data, timestamps=timestamps)[0]
            continue
        for page in found:
            typed = isinstance(page, EventPage)
            yield page if typed else event_page(page, data=data, timestamps=timestamps)[0]


def _runs(raw: bytes, descriptor: str, parser: PageParser, parse: Parse) -> Iterator[tuple[str, list[Any]]]:
    """Yield ("event", documents) and ("event_page", documents or pages) of a descriptor, in stored order."""
    uid = orjson.dumps(descriptor)
    for start, stop in _pieces(raw):
        if not _mentions(raw, uid, start, stop):
            continue
        page = parser.parse(memoryview(raw)[start:stop]) if raw.startswith(PAGE, start) else None
        if page is None:
            yield from _runs_of(parse(raw[start:stop]), descriptor)
        elif page.descriptor == descriptor:
            yield "event_page", [page]


def _runs_of(pairs: list[Pair], descriptor: str) -> Iterator[tuple[str, list[Any]]]:
    kept = [doc for name, doc in pairs if name == "event" and doc.get("descriptor") == descriptor]
    if len(kept) == len(pairs):
        yield "event", kept
        return
    events = (pair for pair in pairs if pair[0] in EVENTS)
    for name, doc in (today for pair in events for today in normalise(*pair)):
        if doc.get("descriptor") == descriptor:
            yield name, [doc]


def _pieces(raw: bytes) -> Iterator[tuple[int, int]]:
    """Yield start and stop of whole lines: an event page alone, of others several."""
    start = 0
    while start < len(raw):
        size = 0 if raw.startswith(PAGE, start) else PIECE
        stop = raw.rfind(b"\n", start, start + size) + 1 or raw.find(b"\n", start) + 1 or len(raw)
        yield start, stop
        start = stop


def _mentions(raw: bytes, uid: bytes, start: int, stop: int) -> bool:
    """Whether lines may name a descriptor: writers put it first or last, and may spell it with escapes."""
    ends = raw.find(uid, start, min(start + ENDS, stop)), raw.find(uid, max(start, stop - ENDS), stop)
    return max(ends) >= 0 or raw.find(uid, start, stop) >= 0 or raw.find(b"\\", start, stop) >= 0


def _quickly(lines: bytes, exactly: Parse) -> list[Pair]:
    """Parse whole lines at once; integers past 64 bits become floats."""
    text = lines.strip()
    try:
        pairs: list[Any] = orjson.loads(b"[" + text.replace(b"\n", b",") + b"]")
        if dict in set(map(type, pairs)):
            pairs = list(map(as_pair, pairs))
        sound = len(pairs) == text.count(b"\n") + 1 and set(map(len, pairs)) == {2}
        typed = set(map(type, chain.from_iterable(pairs))) == {str, dict}
    except (TypeError, orjson.JSONDecodeError):
        return exactly(lines)
    return pairs if sound and typed else exactly(lines)  # which says what line is wrong


def _exactly(lines: bytes, decode: Decode) -> list[Pair]:
    return [decode(line) for line in lines.split(b"\n") if line.strip()]


def _doubtful(col: Column) -> bool:
    """Whether integers past 64 bits may have become floats."""
    values = col.values if isinstance(col, Ragged) else col
    if values.dtype.kind != "f":
        return values.dtype == OBJECT
    return bool((np.abs(values) >= 2.0**63).any())
