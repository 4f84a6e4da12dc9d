"""Columns straight from BSON: numbers that lie at equal distances are taken as one array, not one by one.

A list of BSON is a document whose keys are its indices in decimal digits, so the distance of neighbours changes only
where the number of digits does. Events written one by one are alike to the byte, but for their values, as a rule.
What does not lie so is decoded as usual; nothing here guesses, all bytes between the values are compared.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import bson
import numpy as np

from intake_bluesky.documents.columns import Array
from intake_bluesky_mongo.bson_documents import from_bson, tidy_column

Values: TypeAlias = "Array | list[Any]"
Columns: TypeAlias = dict[str, Values]

# The types of BSON by their numbers, as bsonspec.org has them.
DOUBLE: Final = 1
TEXT: Final = 2
DOCUMENT: Final = 3
ARRAY: Final = 4
BOOLEAN: Final = 8
FIXED: Final[Mapping[int, np.dtype[Any]]] = {
    DOUBLE: np.dtype("<f8"),
    16: np.dtype("<i4"),
    18: np.dtype("<i8"),
}
# Bytes of a value, by its type.
SIZES: Final[Mapping[int, int]] = {
    DOUBLE: 8, 16: 4, 18: 8, BOOLEAN: 1, 10: 0, 6: 0, 7: 12, 9: 8, 17: 8, 19: 16, 255: 0, 127: 0,
}  # fmt: skip
PREFIXED: Final = {
    TEXT: 4,
    13: 4,
    14: 4,
    DOCUMENT: 0,
    ARRAY: 0,
    5: 5,
}  # bytes that the length leaves out
PARTS: Final = ("data", "timestamps", "filled")
FEW: Final = 8  # items below which taking them one by one is as fast


def raw_batch(batch: Any) -> bytes:
    """A batch as pymongo gives it, which is documents behind each other, whatever its types say."""
    return bytes(batch)


def split_batch(batch: Any) -> Iterator[bytes]:
    """The documents of a batch."""
    raw, place = raw_batch(batch), 0
    while place < len(raw):
        length = struct.unpack_from("<i", raw, place)[0]
        yield raw[place : place + length]
        place += length


def _elements(raw: memoryview, start: int) -> Iterator[tuple[int, str, int, int]]:
    """Yield (type, key, where the value begins, where it ends) of the document that begins at `start`.

    Raises ValueError for a type that is not known here.
    """
    end = start + _int32(raw, start) - 1
    place = start + 4
    while place < end:
        kind = raw[place]
        nul = _nul(raw, place + 1)
        key = bytes(raw[place + 1 : nul]).decode()
        value = nul + 1
        if kind in SIZES:
            place = value + SIZES[kind]
        elif kind in PREFIXED:
            place = value + PREFIXED[kind] + _int32(raw, value)
        else:
            raise ValueError(f"BSON type {kind}")
        yield kind, key, value, place


def _int32(raw: memoryview, place: int) -> int:
    return int(struct.unpack_from("<i", raw, place)[0])


def _nul(raw: memoryview, place: int) -> int:
    while raw[place]:
        place += 1
    return place


def _list(raw: memoryview, start: int, end: int) -> Values:
    """The items of the list between two places, as an array where they are numbers of one type."""
    found = _numbers(raw, start, end)
    if found is not None:
        return found
    return tidy_column(list(bson.decode(bytes(raw[start:end])).values()))


def _numbers(raw: memoryview, start: int, end: int) -> Array | None:
    first, last = start + 4, end - 1
    if last - first < FEW * 8 or raw[first] not in FIXED:
        return None
    kind, dtype, digits, parts = raw[first], FIXED[raw[first]], 1, []
    while first < last:
        step = digits + 2 + dtype.itemsize
        count = min(10**digits - (10 ** (digits - 1) if digits > 1 else 0), (last - first) // step)
        if not count:
            return None  # what is left is no whole item of this size
        block = np.frombuffer(raw[first : first + count * step], np.uint8).reshape(count, step)
        if not ((block[:, 0] == kind).all() and (block[:, 1 + digits] == 0).all() and _indices(block, digits)):
            return None
        parts.append(np.ascontiguousarray(block[:, 2 + digits :]).view(dtype)[:, 0])
        first += count * step
        digits += 1
    return _widened(parts[0] if len(parts) == 1 else np.concatenate(parts))


def _indices(block: Array, digits: int) -> bool:
    """Whether keys are the indices that follow from their places."""
    begin = 10 ** (digits - 1) if digits > 1 else 0
    index = np.arange(begin, begin + len(block))
    for place in range(digits):
        digit = (index // 10 ** (digits - 1 - place)) % 10 + ord("0")
        if not (block[:, 1 + place] == digit).all():
            return False
    return True


def _widened(values: Array) -> Array:
    return values.astype(np.int64) if values.dtype.kind == "i" and values.dtype.itemsize < 8 else values


def page_of_page(raw: bytes) -> dict[str, Any]:
    """Read one ``event_page`` document; see `intake_bluesky.documents.pages.event_page` for its form."""
    view = memoryview(raw)
    page: dict[str, Any] = {}
    try:
        for kind, key, start, end in _elements(view, 0):
            if key in PARTS and kind == DOCUMENT:
                page[key] = {
                    name: _list(view, at, to) if of == ARRAY else _value(of, view, at, to)
                    for of, name, at, to in _elements(view, start)
                }
            elif kind == ARRAY and key != "uid":  # columns have no uids
                page[key] = _list(view, start, end)
            elif kind in (TEXT, DOUBLE, 16, 18):
                page[key] = _value(kind, view, start, end)
    except ValueError:
        return from_bson(bson.decode(raw))
    return page


def _value(kind: int, raw: memoryview, start: int, end: int) -> Any:
    """Decode one value, by a document around it."""
    element = bytes([kind]) + b"v\0" + bytes(raw[start:end])
    return tidy_column([bson.decode(struct.pack("<i", len(element) + 5) + element + b"\0")["v"]])[0]


@dataclass(frozen=True, slots=True)
class _Slot:
    """A value that each of some documents of one layout has at the same place."""

    part: str  # "" for the document itself
    key: str
    kind: int
    start: int
    end: int

    def column(self, block: Array) -> Values:
        cut = np.ascontiguousarray(block[:, self.start : self.end])
        if self.kind in FIXED:
            return _widened(cut.view(FIXED[self.kind])[:, 0])
        if self.kind == BOOLEAN:
            flags: Array = cut[:, 0].astype(bool)
            return flags.tolist() if self.part == "filled" else flags
        texts, width = cut.tobytes(), self.end - self.start
        if not width or (cut == cut[0]).all():
            return [texts[:width].decode()] * len(block)
        return [texts[at : at + width].decode() for at in range(0, width * len(block), width)]


def page_of_events(raw: bytes) -> list[dict[str, Any]] | None:
    """Read ``event`` documents that follow each other as one page; None where they are not of one layout.

    A list of at most one page, since no page (an empty list) is not the same as no common layout (None).
    """
    if not raw:
        return []
    length = struct.unpack_from("<i", raw, 0)[0]
    if len(raw) % length:
        return None
    block = np.frombuffer(raw, np.uint8).reshape(-1, length)
    try:
        slots = list(_slots(memoryview(raw)[:length]))
    except ValueError:
        return None
    fixed = np.ones(length, bool)
    for slot in slots:
        fixed[slot.start : slot.end] = False
    if not (block[:, fixed] == block[0, fixed]).all():
        return None
    page: dict[str, Any] = {}
    for slot in slots:
        (page.setdefault(slot.part, {}) if slot.part else page)[slot.key] = slot.column(block)
    return [page]


def _slots(raw: memoryview) -> Iterator[_Slot]:
    for kind, key, start, end in _elements(raw, 0):
        if kind == DOCUMENT and key in PARTS:
            for inner, name, at, to in _elements(raw, start):
                yield _slot(key, name, inner, at, to)
        elif key == "_id" and kind == 7:
            continue  # compared like all bytes that are no values: who expects one layout does not ask for it
        else:
            yield _slot("", key, kind, start, end)


def _slot(part: str, key: str, kind: int, start: int, end: int) -> _Slot:
    if kind in FIXED or kind == BOOLEAN:
        return _Slot(part, key, kind, start, end)
    if kind == TEXT:  # between its length and its NUL; of texts of other lengths the layouts differ
        return _Slot(part, key, kind, start + 4, end - 1)
    raise ValueError(f"BSON type {kind}")
