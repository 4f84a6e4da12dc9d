"""The text of a query in pieces: words, keys, numbers, quoted text and symbols, each with its place.

Every regular expression here is possessive: it never goes back, so that reading is linear in the text.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from intake_bluesky.errors import QuerySyntaxError

MAX_DIGITS: Final = 1300  # more than the digits of the longest integer that a query holds

_SPACE: Final = re.compile(r"\s*+")
WORD: Final = re.compile(r"[^\W\d]\w*+")
SEGMENT: Final = re.compile(r"\w++")
_NUMBER: Final = re.compile(
    r"[+-]?+(?:(?:[0-9]++(?:\.[0-9]*+)?+|\.[0-9]++)(?:[eE][+-]?+[0-9]++)?+|inf(?!\w))", re.ASCII
)
_PLAIN: Final = {"'": re.compile(r"[^'\\\n]*+"), '"': re.compile(r'[^"\\\n]*+')}
_RAW: Final = {"'": re.compile(r"[^'\n]*+"), '"': re.compile(r'[^"\n]*+')}
_HEX: Final = re.compile(r"[0-9a-fA-F]*+")

_ESCAPES: Final = {"\\": "\\", "'": "'", '"': '"', "n": "\n", "r": "\r", "t": "\t"}
_CODES: Final = {"x": 2, "u": 4, "U": 8}

_SYMBOLS: Final = frozenset(["==", "!=", "<=", ">=", *"<>=()[]{},:&|~."])
_MISTAKES: Final[Mapping[str, str]] = {
    "===": "==",
    "!==": "!=",
    "<>": "!=",
    "=>": ">=",
    "=<": "<=",
    "=~": "matches",
    "&&": "and",
    "||": "or",
    "!": "not",
    "≤": "<=",
    "≥": ">=",
    "≠": "!=",
}
_CURLY: Final = frozenset("‘’‚‛“”„‟«»‹›`´′″")  # noqa: RUF001  # what else is taken for a quote


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of the text.

    Parameters
    ----------
    kind
        What it is; a ``word`` is a key of one segment too, a ``key`` has several.
    value
        The word or symbol, the segments of a key, the number, the text; None at the end.
    start, end
        Where it stands, in characters from 0.
    """

    kind: Literal["word", "key", "number", "text", "symbol", "end"]
    value: Any
    start: int
    end: int


def mistake(text: str, position: int, message: str) -> QuerySyntaxError:
    """Build the error that points at a place of a text.

    Examples
    --------
    >>> print(mistake("a == b", 5, "text is quoted"))
    line 1, column 6: text is quoted
        a == b
             ^
    """
    line = text.count("\n", 0, position) + 1
    begin = text.rfind("\n", 0, position) + 1
    end = text.find("\n", position)
    left = max(begin, position - 60)
    dots = "..." if left > begin else ""
    excerpt = printable(text[left : min(len(text) if end < 0 else end, left + 100)])
    column = position - begin + 1
    caret = " " * (len(dots) + position - left)
    shown = f"line {line}, column {column}: {printable(message, most=500)}\n    {dots}{excerpt}\n    {caret}^"
    return QuerySyntaxError(shown, line, column)


def printable(text: str, *, most: int = 100) -> str:
    """Show a text in one line, character by character, with nothing that a terminal would obey."""
    shown = "".join(char if char.isprintable() else " " if char.isspace() else "\ufffd" for char in text[:most])
    return shown + ("..." if len(text) > most else "")


def tokenize(text: str) -> Iterator[Token]:
    """Yield the pieces of a text, and an ``end`` after the last.

    Raises
    ------
    QuerySyntaxError
        At the first place that begins none, once all before it have been taken.

    Examples
    --------
    >>> [token.value for token in tokenize("stop.exit_status == 'fail'")]
    [('stop', 'exit_status'), '==', 'fail', None]
    """
    position = _skip(text, 0)
    while position < len(text):
        token = _token(text, position)
        yield token
        position = _skip(text, token.end)
    yield Token("end", None, len(text), len(text))


def _skip(text: str, position: int) -> int:
    return _end(_SPACE, text, position)


def _end(pattern: re.Pattern[str], text: str, position: int) -> int:
    found = pattern.match(text, position)
    return found.end() if found else position


def _token(text: str, start: int) -> Token:
    if text[start] in _PLAIN:
        return _quoted(text, start)
    if text[start] == "r" and text[start + 1 : start + 2] in _RAW:
        return _raw(text, start)
    if (end := _end(WORD, text, start)) > start:
        return _key(text, start, end)
    if (end := _end(_NUMBER, text, start)) > start:
        return _number(text, start, end)
    return _symbol(text, start)


def _symbol(text: str, start: int) -> Token:
    for length in (3, 2, 1):
        written = text[start : start + length]
        if written in _MISTAKES:
            raise mistake(text, start, f"{written!r} is written '{_MISTAKES[written]}' here")
        if written in _SYMBOLS:
            return Token("symbol", written, start, start + length)
    if written in _CURLY:
        raise mistake(text, start, f"text is quoted with straight quotes, ' or \", not with {written}")
    if written == "-":
        raise mistake(text, start, "a key with a - in it is quoted: start.'a-b'")
    raise mistake(text, start, f"the character {written!a} means nothing here; text is quoted, as in 'Ni foil'")


def _key(text: str, start: int, end: int) -> Token:
    """Read a word and the segments after it, each after a dot, plain or quoted."""
    segments = [text[start:end]]
    while text[end : end + 1] == ".":
        begin = end + 1
        if text[begin : begin + 1] in _PLAIN:
            quoted = _quoted(text, begin)
            segments.append(quoted.value)
            end = quoted.end
        elif (end := _end(SEGMENT, text, begin)) > begin:
            segments.append(text[begin:end])
        else:
            raise mistake(
                text, begin, "a part of the key is missing after the dot; an odd one is quoted: a.'b c', a.''"
            )
    if len(segments) == 1:
        return Token("word", segments[0], start, end)
    return Token("key", tuple(segments), start, end)


def _number(text: str, start: int, end: int) -> Token:
    written = text[start:end]
    if end < len(text) and SEGMENT.match(text, end):
        raise mistake(text, start, f"{printable(text[start : end + 1])} begins no number; text and times are quoted")
    if len(written) > MAX_DIGITS:
        raise mistake(text, start, f"a number of {len(written)} digits is too long: {MAX_DIGITS} at most")
    if "inf" in written or any(mark in written for mark in ".eE"):
        number = float(written)
        if math.isinf(number) and "inf" not in written:
            raise mistake(text, start, "the number is too large for a float: write inf, or an integer in full")
        return Token("number", number, start, end)
    return Token("number", int(written), start, end)


def _raw(text: str, start: int) -> Token:
    end = _end(_RAW[text[start + 1]], text, start + 2)
    _check_closed(text, start, start + 1, end)
    return Token("text", text[start + 2 : end], start, end + 1)


def _quoted(text: str, start: int) -> Token:
    plain, parts, position = _PLAIN[text[start]], [], start + 1
    while True:
        end = _end(plain, text, position)
        parts.append(text[position:end])
        if text[end : end + 1] != "\\":
            break
        char, position = _escape(text, end)
        parts.append(char)
    _check_closed(text, start, start, end)
    return Token("text", "".join(parts), start, end + 1)


def _check_closed(text: str, start: int, quote: int, end: int) -> None:
    if text[end : end + 1] != text[quote]:
        raise mistake(text, start, f"the text that begins here has no closing {text[quote]} on its line")


def _escape(text: str, start: int) -> tuple[str, int]:
    """Give the character that an escape stands for, and where it ends."""
    letter = text[start + 1 : start + 2]
    if letter in _ESCAPES:
        return _ESCAPES[letter], start + 2
    if letter not in _CODES:
        raise mistake(text, start, r"no such escape: write \\ for a backslash, or r'...' for a text without escapes")
    end = start + 2 + _CODES[letter]
    digits = text[start + 2 : end]
    if not _HEX.fullmatch(digits) or len(digits) < _CODES[letter] or int(digits, 16) > 0x10FFFF:
        raise mistake(text, start, rf"\{letter} takes the {_CODES[letter]} hexadecimal digits of a character")
    return chr(int(digits, 16)), end
