r"""The forms in which a document and its name stand in JSON.

On lines, one a line: ``["start", {...}]`` as suitcase-jsonl writes, ``{"name": "start", "doc": {...}}`` as Bluesky's
`JSONLinesWriter`, or ``{"start": {...}}``. The same in one array, on one line or several, as Bluesky's `JSONWriter`
writes it: there an item begins with the bracket or the comma before it, so that its bytes tell where it belongs.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

from intake_bluesky.documents import exact_json
from intake_bluesky.documents.model import NAMES
from intake_bluesky.errors import DamagedRun

__all__ = ["as_pair", "excerpt", "is_in_array", "item_in_array", "last_beginning", "next_beginning", "value_of"]

NAME: Final = rb'"(?:' + b"|".join(sorted(name.encode() for name in NAMES)) + rb')"'
IN_ARRAY: Final = re.compile(rb"\s*[,\[]\s*(?=[\[{])")
AFTER_ITEM: Final = re.compile(rb"\s*\]?\s*")
BEGINNING: Final = re.compile(
    rb'(?:,\s*)?(?:\[%b|\{\s*"name"\s*:\s*%b\s*,\s*"doc"|\{\s*%b\s*:\s*\{)' % (NAME, NAME, NAME)
)
BEFORE_NAME: Final = re.compile(rb'(?:,\s*)?(?:\[\s*|\{\s*(?:"name"\s*:\s*)?)\Z')
LOOK_BACK: Final = 64  # bytes before a name in which its item begins
DECODER: Final = json.JSONDecoder()
WINDOW: Final = 1 << 15  # bytes of an array looked at first, for the end of an item
TOKEN: Final = 12  # bytes before the end of data where an error may be only that the rest is missing: `-Infinity`


def as_pair(value: Any) -> list[Any] | None:
    """Name and document, whatever form they are in; None where it is none of these.

    Examples
    --------
    >>> as_pair({"name": "stop", "doc": {"uid": "x"}}) == as_pair({"stop": {"uid": "x"}}) == ["stop", {"uid": "x"}]
    True
    """
    match value:
        case [str() as name, dict() as doc] | {"name": str() as name, "doc": dict() as doc}:
            return [name, doc]
        case dict() if len(value) == 1:
            [(name, doc)] = value.items()
            return [name, doc] if name in NAMES and isinstance(doc, dict) else None
    return None


def is_in_array(raw: bytes, start: int = 0) -> bool:
    """Whether an item of an array begins here, and not a line."""
    return IN_ARRAY.match(raw, start) is not None


def item_in_array(raw: bytes, start: int) -> tuple[str, int]:
    """Name and end of the item of an array that begins at `start`; no name, and `start`, where it is cut.

    Raises
    ------
    DamagedRun
    """
    before = IN_ARRAY.match(raw, start)
    begin = start if before is None else before.end()
    size = WINDOW
    while True:
        # Bytes that are no text are kept as they are: they are damage of this item alone, which `decode` finds.
        text = raw[begin : begin + size].decode(errors="surrogateescape")
        try:
            value, end = DECODER.raw_decode(text)
            break
        except json.JSONDecodeError as error:
            cut = error.msg.startswith("Unterminated") or error.pos >= len(text) - TOKEN
            if not cut:
                raise DamagedRun(f"the item at byte {start} is not JSON ({error}): {excerpt(raw[begin:])}") from error
        except (RecursionError, ValueError) as error:
            raise DamagedRun(f"the item at byte {start} cannot be read ({error}): {excerpt(raw[begin:])}") from error
        if begin + size >= len(raw):
            return "", start
        size *= 8
    pair = as_pair(value)
    if pair is None:
        raise DamagedRun(f"the item at byte {start} is no document with its name: {excerpt(raw[begin:])}")
    after = AFTER_ITEM.match(raw, begin + len(text[:end].encode(errors="surrogateescape")))
    assert after is not None  # it matches nothing, too
    return pair[0], after.end()


def value_of(item: bytes) -> bytes:
    """The JSON of an item: of an array without the brackets and commas around it, on one line."""
    before = IN_ARRAY.match(item)
    if before is None:
        return item
    value = item[before.end() :].rstrip()
    if value.endswith(b"]"):
        try:
            exact_json.loads(value)
        except (RecursionError, ValueError):
            value = value[:-1].rstrip()  # the end of the array
    return value.replace(b"\n", b" ")  # which JSON has between values alone


def next_beginning(raw: bytes, start: int) -> int:
    """Where an item may begin, in whatever form, from `start` on; -1 where none does."""
    found = BEGINNING.search(raw, start)
    return found.start() if found else -1


def last_beginning(raw: bytes, name: str, stop: int) -> int:
    """Where the last item of a name may begin, before `stop`; -1 where none does."""
    quoted = f'"{name}"'.encode()
    plain = raw.rfind(b"[" + quoted, 0, stop)
    if plain >= 0 and b"," not in raw[max(plain - 4, 0) : plain]:
        return plain
    while (stop := raw.rfind(quoted, 0, stop)) >= 0:
        before = BEFORE_NAME.search(raw, max(stop - LOOK_BACK, 0), stop)
        if before:
            return before.start()
    return -1


def excerpt(raw: bytes) -> str:
    """The beginning of some bytes, for messages."""
    return repr(raw[:60] + b"..." if len(raw) > 60 else raw)
