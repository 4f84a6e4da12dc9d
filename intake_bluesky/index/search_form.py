r"""The search form of documents: JSON text in which SQL compares exactly what Python compares.

JSON in a database is not quite what documents are: it has no NaN, may read the digits of a float as those of its
neighbour, loses integers past 64 bits, and stops at NUL and surrogates. So in the search form

- an integral number of 64 bits is an integer, whether it was an int or a float (they compare alike);
- any other number is a dict ``{MARK: rank}`` of an integer that is ordered as floats are, with infinity for
  integers past 64 bits; NaN is ``{MARK: null, NAN: 0}``, and what is no JSON at all ``{MARK: null}``;
- text and keys are coded, so that JSON can hold all of them: nearly all are coded as themselves. Coded
  texts are ordered as the texts are, and begin alike where they do.

A query's values are coded likewise.
"""

from __future__ import annotations

import re
import struct
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import orjson

from intake_bluesky.documents.model import MAX_TIME, to_plain
from intake_bluesky.integers import INT64_END, is_int64

__all__ = [
    "COMMON",
    "DEEPEST",
    "MARK",
    "NAN",
    "SearchForm",
    "code_key",
    "code_list",
    "code_text",
    "comparable",
    "comparable_times",
    "decode_text",
    "rank",
    "spelled_plainly",
    "unrank",
]

Place: TypeAlias = tuple[str, tuple[str, ...]]
"""A document and the segments of a path in it."""

COMMON: Final[Mapping[Place, str]] = {
    ("start", ("plan_name",)): "plan_name",
    ("start", ("sample",)): "sample",
    ("start", ("sample", "name")): "name_of_sample",
    ("start", ("sample_name",)): "sample_name",
    ("start", ("proposal",)): "proposal",
    ("start", ("data_session",)): "data_session",
    ("start", ("purpose",)): "purpose",
    ("stop", ("exit_status",)): "exit_status",
}
"""The paths that most searches ask for, which a store keeps apart; each has a name to be used for a column."""

KEPT: Final = ("uid", "time", "scan_id")  # keys of the start document that every store keeps apart
BELOW: Final = INT64_END - 1024  # the last float before it
DEEPEST: Final = 100  # levels of a document that are kept
ESCAPE: Final = "\ud7ff"  # the last character before the surrogates; one that nobody uses
MARK: Final = ESCAPE + "m"
NAN: Final = ESCAPE + "n"
UNKNOWN: Final[dict[str, None]] = {MARK: None}
ODD_TEXT: Final = re.compile("[\0\1\ud7ff-\udfff]")
ODD_KEY: Final = re.compile('[\0-\x1f"\\\\\x7f\ud7ff-\udfff]')
CODES: Final = re.compile("[\0-\2\ud7ff-\udfff\ue000-\uf8ff]")
CODED_CHARACTER: Final = re.compile("[\1\ud7ff](.)", re.DOTALL)
LISTS: Final = frozenset({list, tuple})
WORD: Final = re.compile(r"\w+")
CODED: Final = re.compile(r"\d(?:[.e]|\d{18})")  # floats and long integers
NOTHING_BUT_JSON: Final = orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_DATACLASS


@dataclass(frozen=True, slots=True)
class SearchForm:
    """What is searched of a run."""

    start: str
    stop: str | None
    # All words of the start document with what is no letter, digit or _ between: normalised and folded, but for text in
    # ASCII, which is as it was.
    words: str
    # The coded texts at the paths of `COMMON`, None where no text is.
    common: tuple[str | None, ...] = (None,) * len(COMMON)
    # Whether at one of these, or at uid, time or scan_id, a list is met: a path that descends may find more.
    lists: bool = False

    @classmethod
    def of(cls, start: Mapping[str, Any], stop: Mapping[str, Any] | None) -> SearchForm:
        """Make the search form of a run.

        Examples
        --------
        >>> form = SearchForm.of({"plan_name": "scan", "num": 2.0}, None)
        >>> form.start, form.words, form.common[0]
        ('{"plan_name":"scan","num":2}', 'scan', 'scan')
        """
        texts: list[str] = []
        found = [_follow(start if name == "start" else stop, segments) for name, segments in COMMON]
        return cls(
            _json(start, texts),
            None if stop is None else _json(stop, None),
            _words(texts),
            tuple([code_text(value) if isinstance(value, str) else None for value in found]),
            # A path that descends looks into lists, which columns do not have.
            not LISTS.isdisjoint(map(type, found)) or not LISTS.isdisjoint(map(type, map(start.get, KEPT))),
        )


def _follow(value: Any, segments: tuple[str, ...]) -> Any:
    """The value at a path, or the first list met on it."""
    for segment in segments:
        if type(value) is not dict:
            return value if type(value) in LISTS else None
        value = value.get(segment)
    return value


def _words(texts: list[str]) -> str:
    # A line feed between texts: neither normalising nor folding looks past it.
    text = "\n".join(texts)
    if text.isascii() and "\0" not in text:
        return text  # of which every index makes the same words
    # Each once: the index of words keeps neither places nor counts.
    return " ".join(set(WORD.findall(unicodedata.normalize("NFKC", text).casefold())))


def _json(document: Mapping[str, Any], texts: list[str] | None) -> str:
    """The search form of a document, whose texts are added to `texts` where they are asked for."""
    plain = _plain(document, texts)
    return orjson.dumps(_coded(document, [] if texts is None else texts, 0)).decode() if plain is None else plain


def _plain(document: Mapping[str, Any], texts: list[str] | None) -> str | None:
    """As `_json`, of a document whose search form is the JSON that orjson writes, but for the time: of nearly all."""
    rest = dict(document)
    timed: float | None = rest.pop("time") if type(rest.get("time")) is float else None
    try:
        plain = orjson.dumps(rest, option=NOTHING_BUT_JSON).decode()
    except (TypeError, ValueError):
        return None
    # What may need a code: escapes, NaN (orjson writes null), characters that JSON escapes only in part, an empty key.
    if "\\" in plain or "null" in plain or "\x7f" in plain or ESCAPE in plain or '"":' in plain:
        return None
    parts = plain.split('"')  # without a backslash, every other one is a key or a text
    # It is no deeper than it has brackets.
    if CODED.search(",".join(parts[::2])) or plain.count("{") + plain.count("[") > DEEPEST:
        return None
    if texts is not None:
        texts += [text for text, after in zip(parts[1::2], parts[2::2], strict=True) if after[0] != ":"]
    if timed is None:
        return plain
    return f'{plain[:-1]}{"," if rest else ""}"time":{orjson.dumps(_number(timed)).decode()}}}'


def _coded(value: Any, texts: list[str], depth: int) -> Any:
    kind = type(value)
    if kind is str:
        texts.append(value)
        return value if ODD_TEXT.search(value) is None else code_text(value)
    if kind is float:
        return _number(value)
    if kind is int:
        return value if -INT64_END <= value < INT64_END else _number(float("inf") if value > 0 else float("-inf"))
    if kind is bool or value is None:
        return value
    if kind is dict or kind is list:
        return _container(value, texts, depth + 1)
    return _other(value, texts, depth)


def _container(value: Any, texts: list[str], depth: int) -> Any:
    if depth > DEEPEST:
        _only_texts(value, texts)
        return UNKNOWN
    if type(value) is dict:
        return {
            key if key and ODD_KEY.search(key) is None else code_key(key): _coded(item, texts, depth)
            for key, item in value.items()
            if isinstance(key, str) or _only_texts(item, texts)  # no path leads to other keys, but words are words
        }
    return [_coded(item, texts, depth) for item in value]


def _only_texts(value: Any, texts: list[str]) -> bool:
    """Read the texts of what is left out; False."""
    waiting = [value]
    while waiting:
        found = waiting.pop()
        if isinstance(found, str):
            texts.append(str(found))
        elif isinstance(found, Mapping):
            waiting.extend(found.values())
        elif isinstance(found, list | tuple):
            waiting.extend(found)
    return False


def _other(value: Any, texts: list[str], depth: int) -> Any:
    """A value of a class that is derived from one that JSON has, or `UNKNOWN`."""
    if isinstance(value, str):
        return _coded(str.__str__(value), texts, depth)
    if isinstance(value, int):
        return _coded(int.__int__(value), texts, depth)
    if isinstance(value, float):
        return _coded(float.__float__(value), texts, depth)
    if isinstance(value, Mapping):
        return _container(dict(value), texts, depth + 1)
    if isinstance(value, list | tuple):
        return _container(list(value), texts, depth + 1)
    return UNKNOWN


def _number(value: float) -> Any:
    if value != value:  # noqa: PLR0124  # NaN
        return {MARK: None, NAN: 0}
    return int(value) if value.is_integer() and is_int64(value) else {MARK: rank(value)}


def rank(value: float) -> int:
    """Number the floats in their order; an int past what floats tell apart is among its neighbours.

    Examples
    --------
    >>> rank(-0.5) < rank(0.1) < rank(float("inf"))
    True
    """
    if type(value) is int:
        value = max(-INT64_END, min(value, BELOW))
    bits: int = struct.unpack("<q", struct.pack("<d", value))[0]
    # The bits of floats rise with them; those of negative ones have to be turned round.
    return bits if bits >= 0 else bits ^ 0x7FFF_FFFF_FFFF_FFFF


def comparable(value: Any) -> float | None:
    """A number as databases compare it with numbers of 64 bits, infinite past those; None for what is none.

    Examples
    --------
    >>> comparable(3), comparable(2**70), comparable(True), comparable(float("nan"))
    (3, inf, None, None)
    """
    value = to_plain(value)
    if type(value) is int and not is_int64(value):
        return float("inf") if value > 0 else float("-inf")
    return value if type(value) in (int, float) and value == value else None  # noqa: PLR0124  # NaN


def comparable_times(start: Mapping[str, Any]) -> tuple[float | None, float | None]:
    """The time of a run, as in `RunSummary`, and else a time that is a number past every date, which compares too.

    Examples
    --------
    >>> comparable_times({"time": 5}), comparable_times({"time": 1e301}), comparable_times({})
    ((5.0, None), (None, 1e+301), (None, None))
    """
    found = comparable(start.get("time"))
    if found is None:
        return None, None
    return (float(found), None) if abs(found) < MAX_TIME else (None, float(found))


def code_text(text: str) -> str:
    r"""Code a text; texts without NUL, surrogates and their like are coded as themselves.

    Examples
    --------
    >>> code_text("Straße"), code_text("a\0") < code_text("a\1")
    ('Straße', True)
    """
    return ODD_TEXT.sub(_code, text)


def _code(found: re.Match[str]) -> str:
    character = found[0]
    if character < "\2":
        return "\1" + chr(1 + ord(character))
    return ESCAPE + ("\2" if character == ESCAPE else chr(0xE000 + ord(character) - 0xD800))


def code_key(key: str) -> str:
    """Code a key of a dict so that it needs no escaping in JSON, nor in a path."""
    return ODD_KEY.sub(_code_in_key, key) if key else ESCAPE


def _code_in_key(found: re.Match[str]) -> str:
    code = ord(found[0])
    return ESCAPE + chr(0xE900 + code if code < 0x80 else 0xE800 if code == 0xD7FF else 0xE000 + code - 0xD800)


def spelled_plainly(text: str) -> bool:
    """Whether a text is found in a coded text only where it is in the text itself."""
    return CODES.search(text) is None


def code_list(items: Sequence[Any]) -> str:
    """Give the search form of a list; equal lists without dicts in them have the same.

    Examples
    --------
    >>> code_list((1.0, ("a", True)))
    '[1,["a",true]]'
    """
    return orjson.dumps(_coded(list(items), [], 0)).decode()


def decode_text(coded: str) -> str:
    r"""Give the text that was coded so.

    Examples
    --------
    >>> decode_text(code_text("nul \0"))
    'nul \x00'
    """
    return CODED_CHARACTER.sub(_decode, coded) if "\1" in coded or ESCAPE in coded else coded


def _decode(found: re.Match[str]) -> str:
    code = ord(found[1])
    if found[0] < ESCAPE:
        return chr(code - 1)
    return ESCAPE if code == ord("\2") else chr(code - 0xE000 + 0xD800)


def unrank(number: int) -> float:
    """Give the float of a rank.

    Examples
    --------
    >>> unrank(rank(-0.5))
    -0.5
    """
    bits = number if number >= 0 else number ^ 0x7FFF_FFFF_FFFF_FFFF
    value: float = struct.unpack("<d", struct.pack("<q", bits))[0]
    return value
