"""JSON lines: ``["event", {...}]`` a line, as suitcase-jsonl writes and reads it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import chain, repeat
from typing import Any, Final, TypeAlias

import orjson

from intake_bluesky.documents import exact_json
from intake_bluesky.documents.columns import Observed
from intake_bluesky.documents.model import ALL_KEYS, NAMES, Document, EventPage, Keys
from intake_bluesky.errors import DamagedRun, UnsupportedOperation
from intake_bluesky.files.codec import Codec, DocumentSpan
from intake_bluesky_jsonl.events import event_pages

__all__ = ["JSONLCodec"]

Pair: TypeAlias = tuple[str, Document]
BEGINNING: Final = re.compile(rb'[ \t\r]*\[[ \t]*"([^"\\\n]{1,64})"[ \t]*,[ \t]*\{')
HEADS: Final = {name: f'["{name}",'.encode() for name in NAMES}  # how nearly all lines begin
NO_HEAD: Final = b"\n"
BETWEEN: Final = b",0,"  # a 0 after each line: where lines are JSON only together, the zeros are elsewhere


class JSONLCodec(Codec):
    r"""One line of JSON a document.

    NaN and the infinities are written as Python's `json` writes them (``NaN``, ``Infinity``); integers of any
    size, any text and numpy values are kept. What JSON does not have (bytes, complex numbers, dates) is refused.
    Keys that are no text become text, as with `json`.

    Examples
    --------
    >>> codec = JSONLCodec()
    >>> line = codec.encode("event", {"seq_num": 1, "data": {"x": float("nan")}})
    >>> line
    b'["event",{"seq_num":1,"data":{"x":NaN}}]\n'
    >>> [item] = codec.split(line)
    >>> codec.decode(line[item.start : item.stop])
    ('event', {'seq_num': 1, 'data': {'x': nan}})
    """

    suffix = ".jsonl"

    def encode(self, name: str, doc: Document) -> bytes:
        """Make one line, line end included.

        Raises
        ------
        UnsupportedOperation
            When the document holds what JSON has no form for.
        """
        try:
            return exact_json.dumps([name, doc], line=True)
        except exact_json.REFUSALS as error:
            raise UnsupportedOperation(
                f"a {name} document cannot be written as JSON: {error}. Write text or numbers instead, "
                "or into a MessagePack catalog if it is bytes or complex numbers"
            ) from error

    def split(self, data: bytes | memoryview, start: int = 0) -> Iterator[DocumentSpan]:
        """Yield the lines from `start` on, each with the blank ones after it.

        A last line without its end may be cut anywhere and is left out, whole or not; `decode` finds out.
        """
        raw = data if isinstance(data, bytes) else bytes(data)
        while (newline := raw.find(b"\n", start)) >= 0:
            name, stop = _name(raw, start, newline), newline + 1
            if raw[stop : stop + 1].isspace():
                stop = _after_blank_lines(raw, stop)
            if name:
                yield DocumentSpan(name, start, stop)
            start = stop

    def decode(self, item: bytes | memoryview) -> tuple[str, Document]:
        """Decode one line."""
        raw = bytes(item)
        try:
            found = exact_json.loads(raw)
        except (RecursionError, ValueError) as error:
            raise DamagedRun(f"a line is not JSON ({error}): {_excerpt(raw)}") from error
        match found:
            case [str() as name, dict() as doc]:
                return name, doc
        raise DamagedRun(f'a line is JSON, but no ["name", {{document}}] pair: {_excerpt(raw)}')

    def decode_several(self, data: bytes, start: int, size: int) -> tuple[list[Pair], list[int]]:
        """Decode whole lines in one go; none where a line is not as nearly all are."""
        stops: list[int] = []
        place, last = start, start + size
        while place < last and (newline := data.find(b"\n", place)) >= 0:
            place = newline + 1
            stops.append(place)
        lines = data[start : place - 1] if stops else b""
        # A blank line belongs to the item before it, as `split` has it; orjson makes floats of long integers.
        if not stops or data[place : place + 1].isspace() or exact_json.may_hold_long_integers(lines):
            return [], []
        try:
            found = orjson.loads(b"[" + lines.replace(b"\n", BETWEEN) + b"]")
        except orjson.JSONDecodeError:
            return [], []
        pairs: list[Pair] = found[::2]
        apart = len(pairs) == len(stops) and found[1::2] == [0] * (len(stops) - 1)
        return (pairs, stops) if apart and _are_items(pairs, data, start, stops) else ([], [])

    def event_pages(
        self,
        block: bytes | memoryview,
        descriptor: str,
        *,
        data: Keys = ALL_KEYS,
        timestamps: Keys = (),
        observed: Mapping[str, Observed] | None = None,
    ) -> Iterator[EventPage]:
        """Decode the events of one descriptor; lines that cannot be its events are passed over."""
        yield from event_pages(bytes(block), descriptor, data, timestamps, self.decode)


def _are_items(pairs: list[Any], data: bytes, start: int, stops: list[int]) -> bool:
    """Whether each line is the pair that it seems to be."""
    if set(map(type, pairs)) != {list} or set(map(len, pairs)) != {2}:
        return False
    names, docs = zip(*pairs, strict=True)
    if set(map(type, names)) != {str} or set(map(type, docs)) != {dict}:
        return False
    heads = map(HEADS.get, names, repeat(NO_HEAD))
    return all(map(data.startswith, heads, chain([start], stops)))


def _name(raw: bytes, start: int, stop: int) -> str:
    """Name of the item in a line; empty for a blank line."""
    beginning = BEGINNING.match(raw, start, stop)
    if beginning and (raw[stop - 1] == ord("]") or raw[start:stop].rstrip().endswith(b"]")):
        return beginning[1].decode(errors="replace")
    line = raw[start:stop]
    if line.strip():
        raise DamagedRun(f'the line at byte {start} is no ["name", {{document}}] pair: {_excerpt(line)}')
    return ""


def _after_blank_lines(raw: bytes, start: int) -> int:
    while (newline := raw.find(b"\n", start)) >= 0 and not raw[start:newline].strip():
        start = newline + 1
    return start


def _excerpt(raw: bytes) -> str:
    return repr(raw[:60] + b"..." if len(raw) > 60 else raw)
