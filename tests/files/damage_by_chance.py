"""Files of runs damaged by chance: bits flipped, bytes swapped, doubled and cut, values of another type."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from contextlib import suppress
from copy import deepcopy
from random import Random
from typing import Any, Final

import numpy as np
import zstandard

from intake_bluesky.errors import UnsupportedOperation
from intake_bluesky.files.codec import Codec
from intake_bluesky.testing.examples import Run

ODD: Final[list[Any]] = [
    None, True, False, 0, -1, 1, 2**31, 10**9, 2**63, 2**64, -(2**63) - 1, 10**400, 1.5, 1e308, float("nan"),
    float("inf"), "", "x", "1", "\ud800", "\x1b[2J", "a/b", "../..", [], [1], [[]], [[1], [2, 3]], ["x"], [None], {},
    {"x": 1}, {"": {}}, {"start": 1, "stop": 10**9}, [{}], "primary", "STREAM:", "<u2", [1, 10**6, 10**6],
]  # fmt: skip
WRAP: Final = {"": bytes, ".gz": lambda raw: gzip.compress(raw, mtime=0), ".zst": zstandard.ZstdCompressor().compress}


def damaged(run: Run, codec: Codec, compression: str, chance: Random) -> bytes:
    """The bytes of a file with a run, damaged in one way or in several."""
    wrap = WRAP[compression]
    if chance.random() < 0.5:
        run = deepcopy(run)
        with suppress(RecursionError):  # copying what was nested without end
            for _ in range(chance.randint(1, 3)):
                chance.choice([_retype, _retype, _retype, _drop, _twice, _exchange])(run, chance)
        return wrap(b"".join(_encoded(codec, name, doc) for name, doc in run))
    inside = chance.random() < 0.5 or not compression
    raw = b"".join(codec.encode(name, doc) for name, doc in run)
    raw = raw if inside else wrap(raw)
    for _ in range(chance.choice([1, 1, 1, 2, 8])):
        raw = chance.choice(BYTES)(raw, chance)
    return wrap(raw) if inside else raw


def _encoded(codec: Codec, name: str, doc: Any) -> bytes:
    """The item; with nothing in it where it has no form in this format."""
    try:
        return codec.encode(name, doc)
    except UnsupportedOperation:
        return codec.encode(name, {})


def _flip(raw: bytes, chance: Random) -> bytes:
    place = chance.randrange(len(raw) or 1)
    return raw[:place] + bytes(byte ^ 1 << chance.randrange(8) for byte in raw[place : place + 1]) + raw[place + 1 :]


def _digit(raw: bytes, chance: Random) -> bytes:
    """Another byte of those that matter to a format."""
    place = chance.randrange(len(raw) or 1)
    return raw[:place] + bytes([chance.choice(b'09-.eE"[]{},:nN\\\n\0\x80\x90\xc1\xc6\xdd\xdf\xff')]) + raw[place + 1 :]


def _part(raw: bytes, chance: Random) -> tuple[int, int]:
    begin = chance.randrange(len(raw) or 1)
    return begin, min(len(raw), begin + chance.choice([1, 2, 7, 100, 1000]))


def _cut(raw: bytes, chance: Random) -> bytes:
    begin, end = _part(raw, chance)
    return raw[:begin] + (b"" if chance.random() < 0.3 else raw[end:])


def _doubled(raw: bytes, chance: Random) -> bytes:
    begin, end = _part(raw, chance)
    return raw[:end] + raw[begin:]


def _swapped(raw: bytes, chance: Random) -> bytes:
    one, other = sorted([_part(raw, chance), _part(raw, chance)])
    if one[1] > other[0]:
        return raw
    return raw[: one[0]] + raw[slice(*other)] + raw[one[1] : other[0]] + raw[slice(*one)] + raw[other[1] :]


def _zeros(raw: bytes, chance: Random) -> bytes:
    begin, end = _part(raw, chance)
    return raw[:begin] + bytes(end - begin) + raw[end:]


BYTES: Final[list[Callable[[bytes, Random], bytes]]] = [_flip, _flip, _digit, _digit, _cut, _doubled, _swapped, _zeros]


def _places(doc: Any) -> list[tuple[Any, Any]]:
    """Every place in a document: what holds it, and the key or the number."""
    found, waiting = [], [doc]
    while waiting:
        value = waiting.pop()
        for key in value if isinstance(value, dict) else range(len(value)):
            found.append((value, key))
            if isinstance(value[key], dict | list):
                waiting.append(value[key])
    return found


def _place(run: Run, chance: Random) -> tuple[Any, Any]:
    """A place in a document: as likely in one of which there are few as in an event."""
    name = chance.choice(sorted({name for name, _ in run}))
    doc = chance.choice([doc for other, doc in run if other == name])
    return chance.choice(_places(doc) or [({"": 0}, "")])


def _retype(run: Run, chance: Random) -> None:
    holder, key = _place(run, chance)
    value = deepcopy(chance.choice(ODD))
    if chance.random() < 0.2:  # as it was, but in another form
        old = holder[key]
        value = chance.choice([str(old), [old], {"x": old}, repr(old)])
    if chance.random() < 0.02:
        for _ in range(chance.choice([60, 300, 600, 2000])):
            value = [value] if chance.random() < 0.5 else {"x": value}
    holder[key] = value


def _drop(run: Run, chance: Random) -> None:
    if chance.random() < 0.3 and len(run) > 1:
        del run[chance.randrange(len(run))]
    else:
        holder, key = _place(run, chance)
        del holder[key]


def _twice(run: Run, chance: Random) -> None:
    place = chance.randrange(len(run))
    run.insert(chance.randrange(len(run) + 1), deepcopy(run[place]))


def _exchange(run: Run, chance: Random) -> None:
    one, other = chance.randrange(len(run)), chance.randrange(len(run))
    run[one], run[other] = run[other], run[one]


def plain(run: Run) -> Run:
    """A run whose lists and dicts can be changed, and without numpy."""
    return [(name, _plain(doc)) for name, doc in run]


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return _plain(value.tolist()) if isinstance(value, np.ndarray | np.generic) else value
