"""MessagePack: ``["event", {...}]`` after each other, as suitcase-msgpack writes and reads them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from operator import itemgetter
from typing import Any, Final

import msgpack

from intake_bluesky.documents.columns import Observed
from intake_bluesky.documents.model import ALL_KEYS, Document, EventPage, Keys, to_plain
from intake_bluesky.documents.pages import event_page, gather, normalise
from intake_bluesky.documents.refused import place_refused
from intake_bluesky.errors import DamagedRun, UnsupportedOperation
from intake_bluesky.files.codec import Codec, DocumentSpan
from intake_bluesky_msgpack.arrays import (
    TEXT,
    PickledObjects,
    from_extension,
    from_map,
    packable,
)

__all__ = ["CODEC", "MsgpackCodec"]

PAGES: Final = frozenset({"event_page", "bulk_events"})
EVENTS: Final = PAGES | {"event"}
# Keys need not be text (numpy's coding has bytes); 1 gives timestamps as floats.
OPTIONS: Final[dict[str, Any]] = {"strict_map_key": False, "timestamp": 1, "ext_hook": from_extension}
MARKED: Final = (b"\x02nd", b"\xa2nd", b"\x07complex", b"\xa7complex")
"""In maps that code numpy values: these keys, as bytes or text of any form, with the last byte of their length."""
SMALL: Final = 1 << 12  # bytes of an item that is decoded sooner than skipped
PAIR: Final = 0x92  # an array of two
SHORT_TEXT: Final = range(0xA0, 0xC0)
TEXT_8: Final = 0xD9
SHORT_HEADS: Final = tuple(bytes([PAIR, length]) for length in SHORT_TEXT if length != SHORT_TEXT.start)
ROOM: Final = 4  # times what is to be decoded at once, so that a last, larger item is in it too
MAPS: Final = frozenset({*range(0x80, 0x90), 0xDE, 0xDF})
# What msgpack raises on damaged bytes; RecursionError and MemoryError are not for it to raise: depth and lengths are
# bounded by the data.
DAMAGE: Final = (LookupError, TypeError, ValueError, msgpack.UnpackException)


class MsgpackCodec(Codec):
    r"""One MessagePack array of two, name and document, after the other.

    Arrays are coded as msgpack-numpy codes them; numpy scalars become plain numbers. Arrays of Python objects are
    pickles in that coding: they are written as lists, and refused when read. Integers past 64 bits and text with
    surrogates, which MessagePack does not have, are extension types 73 and 84: other readers give them as
    ``ExtType``.

    Examples
    --------
    >>> codec = MsgpackCodec()
    >>> raw = codec.encode("event", {"seq_num": 1, "data": {"x": float("nan")}})
    >>> [item] = codec.split(raw)
    >>> codec.decode(raw[item.start : item.stop])
    ('event', {'seq_num': 1, 'data': {'x': nan}})
    """

    suffix = ".msgpack"

    def encode(self, name: str, doc: Document) -> bytes:
        """Make one item.

        Raises
        ------
        UnsupportedOperation
            When the document holds what MessagePack has no form for.
        """
        try:
            return _packed((name, doc))
        except (OverflowError, RecursionError, TypeError, ValueError) as error:
            where = place_refused(name, doc, _packed)
            raise UnsupportedOperation(
                f"a {name} document cannot be written as MessagePack: {where}: {error}. Write text or numbers instead"
            ) from error

    def split(self, data: bytes | memoryview, start: int = 0) -> Iterator[DocumentSpan]:
        """Yield the complete items from `start` on."""
        raw = data if isinstance(data, bytes) else bytes(data)
        unpacker = msgpack.Unpacker(max_buffer_size=max(len(raw), 1))  # by default 100 MiB
        unpacker.feed(memoryview(raw)[start:])
        place = start
        while name := _name(raw, place):
            try:
                unpacker.skip()
            except msgpack.OutOfData:
                return
            except DAMAGE as error:
                raise DamagedRun(
                    f"the {name} at byte {place} is not MessagePack ({type(error).__name__} {error})"
                ) from error
            stop = start + unpacker.tell()
            yield DocumentSpan(name, place, stop)
            place = stop

    def decode(self, item: bytes | memoryview) -> tuple[str, Document]:
        """Decode one item; nothing is unpickled."""
        raw = bytes(item)
        try:
            found = _unpack(raw, from_map)
        except PickledObjects as error:
            raise DamagedRun(
                f"{_pickled(raw)} is {error}: reading it would run the code in it. Whoever wrote the file can write "
                "it again, as lists"
            ) from error
        except DAMAGE as error:
            raise DamagedRun(f"an item is not MessagePack ({error}): {raw[:60]!r}") from error
        match found:
            case [str() as name, dict() as doc]:
                return name, doc
        raise DamagedRun(f"an item is MessagePack, but no (name, document) pair: {raw[:60]!r}")

    def decode_several(self, data: bytes, start: int, size: int) -> tuple[list[tuple[str, Document]], list[int]]:
        """Decode items as they come, and find out where they end on the way."""
        some = data[start : start + ROOM * size]
        hook = from_map if any(mark in some for mark in MARKED) else None  # which is called for each map
        unpacker = msgpack.Unpacker(max_buffer_size=max(len(data), 1), object_hook=hook, **OPTIONS)
        unpacker.feed(some)
        pairs: list[tuple[str, Document]] = []
        stops: list[int] = []
        place = start
        try:
            while place < start + size and data.startswith(SHORT_HEADS, place):
                pair = unpacker.unpack()
                if type(pair) is not list or len(pair) != 2 or type(pair[0]) is not str or type(pair[1]) is not dict:
                    break
                place = start + unpacker.tell()
                pairs.append((pair[0], pair[1]))
                stops.append(place)
        except DAMAGE:  # or the end of the data
            pass
        return pairs, stops

    def event_pages(
        self,
        block: bytes | memoryview,
        descriptor: str,
        *,
        data: Keys = ALL_KEYS,
        timestamps: Keys = (),
        observed: Mapping[str, Observed] | None = None,
    ) -> Iterator[EventPage]:
        """Decode the events of one descriptor; items that do not name it are passed over."""
        found = self._events(bytes(block), descriptor)
        for name, group in groupby(found, key=itemgetter(0)):
            docs: Iterable[Document] = map(itemgetter(1), group)
            if name == "event":
                yield gather(docs, data=data, timestamps=timestamps)[0]
            else:
                for doc in docs:
                    yield event_page(doc, data=data, timestamps=timestamps)[0]

    def _events(self, raw: bytes, descriptor: str) -> Iterator[tuple[str, Document]]:
        uid = descriptor.encode(errors="surrogatepass")
        first = next(self.split(raw), None)
        if first is None or uid not in raw:
            return
        small = first.stop - first.start < SMALL
        for name, doc in self._all(raw) if small else self._mentioning(raw, uid):
            if name == "event" and doc.get("descriptor") == descriptor:
                yield name, doc
            elif name in PAGES:
                pages = normalise(name, doc)
                yield from (page for page in pages if page[1].get("descriptor") == descriptor)

    def _mentioning(self, raw: bytes, uid: bytes) -> Iterator[tuple[str, Document]]:
        for item in self.split(raw):
            if item.name in EVENTS and raw.find(uid, item.start, item.stop) >= 0:
                yield self.decode(raw[item.start : item.stop])

    def _all(self, raw: bytes) -> Iterator[list[Any]]:
        """Decode item after item: where they are small, finding out which are needed takes as long."""
        unpacker = msgpack.Unpacker(max_buffer_size=len(raw), object_hook=from_map, **OPTIONS)
        unpacker.feed(raw)
        try:
            for pair in unpacker:
                if type(pair) is not list or len(pair) != 2 or type(pair[1]) is not dict:
                    raise ValueError("no (name, document) pair")
                yield pair
        except DAMAGE as error:
            for item in self.split(raw):
                self.decode(raw[item.start : item.stop])  # says which is wrong, and how
            raise DamagedRun(f"items are not MessagePack: {error}") from error


def _packed(value: Any) -> bytes:
    try:
        packed: bytes = msgpack.packb(value, default=packable, use_bin_type=True)
    except UnicodeEncodeError:  # text with surrogates, which few documents have
        packed = msgpack.packb(_escaped(to_plain(value)), default=packable, use_bin_type=True)
    return packed


def _escaped(value: Any) -> Any:
    """Copy of a plain document, with text that UTF-8 does not have as an extension type."""
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            return msgpack.ExtType(TEXT, value.encode("utf-8", "surrogatepass"))
        return value
    if isinstance(value, dict):
        return {_escaped(key): _escaped(inner) for key, inner in value.items()}
    return [_escaped(inner) for inner in value] if isinstance(value, list) else value


def _unpack(raw: bytes, hook: Any) -> Any:
    return msgpack.unpackb(raw, object_hook=hook, **OPTIONS)


def _name(raw: bytes, place: int) -> str:
    """Name of the item at `place`; empty where the data ends before it is known.

    Raises
    ------
    DamagedRun
        When it is the beginning of no item.
    """
    head = raw[place : place + 3]
    if len(head) < 3:
        sound = head[:1] in (b"", bytes([PAIR]))
    else:
        begin = place + 2 if head[1] in SHORT_TEXT else place + 3
        length = head[1] - SHORT_TEXT.start if head[1] in SHORT_TEXT else head[2]
        sound = head[0] == PAIR and length > 0 and (head[1] in SHORT_TEXT or head[1] == TEXT_8)
        if sound and begin + length >= len(raw):
            return ""
        if sound and raw[begin + length] in MAPS:
            return raw[begin : begin + length].decode(errors="replace")
        sound = False
    if not sound:
        raise DamagedRun(f"at byte {place} is no (name, document) pair: {raw[place : place + 60]!r}")
    return ""


def _pickled(raw: bytes) -> str:
    """Where the array of objects is."""

    def find(value: Any, path: str) -> str:
        if isinstance(value, dict):
            try:
                from_map(value)
            except PickledObjects:
                return path
            except DAMAGE:
                pass
        keyed = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        return next((place for key, inner in keyed if (place := find(inner, f"{path}[{key!r}]"))), "")

    name, doc = _unpack(raw, None)
    return f"{name}{find(doc, '')}"


CODEC: Final = MsgpackCodec()
"""The format, as other drivers find it: by its name among the entry points ``intake_bluesky.codecs``."""
