"""JSON lines: ``["event", {...}]`` a line, as suitcase-jsonl writes and reads it; other forms are read, too."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import chain, repeat
from typing import Any, Final, TypeAlias

import orjson

from intake_bluesky.documents import exact_json
from intake_bluesky.documents.columns import Observed
from intake_bluesky.documents.model import ALL_KEYS, NAMES, Document, EventPage, Keys
from intake_bluesky.documents.refused import place_refused
from intake_bluesky.errors import DamagedRun, UnsupportedOperation
from intake_bluesky.files.codec import Codec, DocumentSpan
from intake_bluesky_jsonl import envelopes
from intake_bluesky_jsonl.envelopes import as_pair, excerpt
from intake_bluesky_jsonl.events import event_pages

__all__ = ["CODEC", "JSONLCodec"]

Pair: TypeAlias = tuple[str, Document]
BEGINNING: Final = re.compile(rb'[ \t\r]*\[[ \t]*"([^"\\\n]{1,64})"[ \t]*,[ \t]*\{')
# How nearly all lines begin: those of this package and suitcase-jsonl, and those of Bluesky.
HEADS: Final = {name: (f'["{name}",'.encode(), f'{{"name": "{name}", "doc": '.encode()) for name in NAMES}
PLAIN: Final = b'["'
BRACKETS: Final = (b"[", b"{", b",", b"]")
BLANK_LINES: Final = re.compile(rb"\s*\n")
LONGEST_HEAD: Final = 256  # bytes in which an item begins, spaces included
NO_HEAD: Final = b"\n"
BETWEEN: Final = b",0,"  # a 0 after each line: where lines are JSON only together, the zeros are elsewhere


class JSONLCodec(Codec):
    r"""One line of JSON a document, in the form ``["name", {document}]``.

    Other forms are read, too: lines ``{"name": ..., "doc": {...}}`` and ``{"start": {...}}``, and arrays of items of
    any of these forms.

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
    also_read = (".ndjson", ".json")

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
            where = place_refused(name, doc, exact_json.dumps)
            raise UnsupportedOperation(
                f"a {name} document cannot be written as JSON: {where}: {error}. Write text or numbers instead, "
                "or into a MessagePack catalog if it is bytes or complex numbers"
            ) from error

    def split(self, data: bytes | memoryview, start: int = 0) -> Iterator[DocumentSpan]:
        """Yield the lines from `start` on, each with the blank ones after it, or the items of an array.

        A last line without its end may be cut anywhere and is left out, whole or not; `decode` finds out.
        """
        raw = data if isinstance(data, bytes) else bytes(data)
        while start < len(raw):
            newline = raw.find(b"\n", start)
            beginning = BEGINNING.match(raw, start, newline) if newline >= 0 else None
            if beginning and (raw[newline - 1] == ord("]") or raw[start:newline].rstrip().endswith(b"]")):
                name, stop = beginning[1].decode(errors="replace"), newline + 1
                if raw[stop : stop + 1].isspace():
                    stop = _after_blank_lines(raw, stop)
            elif envelopes.is_in_array(raw, start):
                name, stop = envelopes.item_in_array(raw, start)
            elif newline < 0:
                self._check_beginning(raw[start : start + LONGEST_HEAD], start)
                return
            else:
                name, stop = self._other_name(raw[start:newline], start), newline + 1
            if name:
                yield DocumentSpan(name, start, stop)
            elif stop == start:
                return
            start = stop

    def _check_beginning(self, head: bytes, start: int) -> None:
        """Refuse a line without its end whose beginning alone says that it is no item, however long it is."""
        if len(head) == LONGEST_HEAD and head.strip() and head.lstrip()[:1] not in BRACKETS:
            raise DamagedRun(f'the line at byte {start} is no ["name", {{document}}] pair: {excerpt(head)}')

    def _other_name(self, line: bytes, start: int) -> str:
        """Name of the document in a line of another form; empty where it is blank."""
        if self.is_blank(line):
            return ""
        if line.lstrip()[:1] == b"{":
            with suppress(DamagedRun):
                return self.decode(line)[0]
        raise DamagedRun(f'the line at byte {start} is no ["name", {{document}}] pair: {excerpt(line)}')

    def is_blank(self, data: bytes) -> bool:
        """Whether these are no documents, nor the beginning of one: blank lines, or the end of an array."""
        return not data.strip(b" \t\r\n\f\v],")

    def next_beginning(self, data: bytes, start: int) -> int:
        """In whatever form."""
        return envelopes.next_beginning(data, start)

    def last_beginning(self, data: bytes, name: str, stop: int) -> int:
        """In whatever form."""
        return envelopes.last_beginning(data, name, stop)

    def decode(self, item: bytes | memoryview) -> tuple[str, Document]:
        """Decode one line, or one item of an array."""
        raw = bytes(item)
        try:
            found = exact_json.loads(raw if raw[:2] == PLAIN else envelopes.value_of(raw))
        except (RecursionError, ValueError) as error:
            raise DamagedRun(f"a line is not JSON ({error}): {excerpt(raw)}") from error
        match found:
            case [str() as name, dict() as doc]:
                return name, doc
        pair = as_pair(found)
        if pair is not None:
            return pair[0], pair[1]
        raise DamagedRun(f'a line is JSON, but no ["name", {{document}}] pair: {excerpt(raw)}')

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
        pairs: list[Any] = found[::2]
        apart = len(pairs) == len(stops) and found[1::2] == [0] * (len(stops) - 1)
        if apart and type(pairs[0]) is dict:
            pairs = list(map(as_pair, pairs))
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
        raw = bytes(block)
        if envelopes.is_in_array(raw):
            values = (envelopes.value_of(raw[item.start : item.stop]) for item in self.split(raw))
            raw = b"".join(value + b"\n" for value in values)
        yield from event_pages(raw, descriptor, data, timestamps, self.decode)


def _are_items(pairs: list[Any], data: bytes, start: int, stops: list[int]) -> bool:
    """Whether each line is the pair that it seems to be."""
    if set(map(type, pairs)) != {list} or set(map(len, pairs)) != {2}:
        return False
    names, docs = zip(*pairs, strict=True)
    if set(map(type, names)) != {str} or set(map(type, docs)) != {dict}:
        return False
    heads = map(HEADS.get, names, repeat(NO_HEAD))
    return all(map(data.startswith, heads, chain([start], stops)))


def _after_blank_lines(raw: bytes, start: int) -> int:
    found = BLANK_LINES.match(raw, start)
    return start if found is None else found.end()


CODEC: Final = JSONLCodec()
"""The format, as other drivers find it: by its name among the entry points ``intake_bluesky.codecs``."""
