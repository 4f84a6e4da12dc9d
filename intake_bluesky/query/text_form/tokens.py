"""The text of a query in pieces: words, keys, numbers, quoted text and symbols, each with its place.

The regular expressions are possessive: they never go back, so that reading is linear in the text.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from intake_bluesky.errors import QuerySyntaxError

MAX_DIGITS: Final = 1300  # more than the digits of the longest integer that a query holds

_SINGLE: Final = r"'(?:[^'\\\n]++|\\.)*+'"
_DOUBLE: Final = r'"(?:[^"\\\n]++|\\.)*+"'
WORD: Final = re.compile(r"[^\W\d]\w*+")
SEGMENT: Final = re.compile(r"\w++")
_PART: Final = re.compile(rf"{SEGMENT.pattern}|{_SINGLE}|{_DOUBLE}")
_PIECE: Final = re.compile(
    rf"""
    (?P<space> \s++ )
    | (?P<text> {_SINGLE} | {_DOUBLE} | r'[^'\n]*+' | r"[^"\n]*+" )
    | (?P<unclosed> r?+['"] )
    | (?P<key> {WORD.pattern} (?: \. (?: {_PART.pattern} ) )*+ )
    | (?P<number> [+-]?+ (?: (?:[0-9]++(?:\.[0-9]*+)?+|\.[0-9]++) (?:[eE][+-]?+[0-9]++)?+ | inf ) (?! [-:.]?\w ) )
    | (?P<mistake> === | !== | <> | => | =< | =~ | && | \|\| | !(?!=) | [≤≥≠] )
    | (?P<symbol> [=!<>]= | [<>=()\[\]{{}},:&|~.] )
    | (?P<odd> [+-]?+\.?+[0-9] (?: [-:.]?+\w )*+ | . )
    """,
    re.VERBOSE | re.DOTALL,
)
_HEX: Final = "[0-9a-fA-F]"
# The last character of Unicode is U+10FFFF. The empty alternative finds what is no escape, for the error.
_ESCAPE: Final = re.compile(rf"\\(?:([\\'\"nrt]|x{_HEX}{{2}}|u{_HEX}{{4}}|U00(?:0{_HEX}|10){_HEX}{{4}})|)")
_NO_ESCAPE: Final = (
    r"no such escape: write \\ for a backslash, \x41, \u00e9 or \U0001f600 for a character, "
    "or r'...' for a text without escapes"
)
_MISTAKES: Final[Mapping[str, str]] = {
    **dict.fromkeys(("!==", "<>", "≠"), "!="),
    **dict.fromkeys(("=<", "≤"), "<="),
    **dict.fromkeys(("=>", "≥"), ">="),
    "===": "==",
    "=~": "matches",
    "&&": "and",
    "||": "or",
    "!": "not",
}
_CURLY: Final = frozenset("‘’‚‛“”„‟«»‹›`´′″")  # noqa: RUF001  # what else is taken for a quote


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of the text, and where it begins and ends, in characters from 0."""

    # A ``word`` is a key of one segment too, a ``key`` has several.
    kind: Literal["word", "key", "number", "text", "symbol", "end"]
    # The word or symbol, the segments of a key, the number, the text; None at the end.
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
    before = ""
    for found in _PIECE.finditer(text):
        if before == "key" and found[0] == ".":
            raise _no_part(text, found.end())
        if found.lastgroup != "space":
            yield _token(text, found)
        before = found.lastgroup or ""
    yield Token("end", None, len(text), len(text))


def _token(text: str, found: re.Match[str]) -> Token:
    written, (start, end) = found[0], found.span()
    match found.lastgroup:
        case "text":
            return Token("text", written[2:-1] if written[0] == "r" else _unquoted(text, start, end), start, end)
        case "key" if "." not in written:
            return Token("word", written, start, end)
        case "key":
            parts = [part.span() for part in _PART.finditer(text, start, end)]
            return Token("key", tuple(_unquoted(text, *part) for part in parts), start, end)
        case "number":
            return Token("number", _number(text, written, start), start, end)
        case "symbol":
            return Token("symbol", written, start, end)
        case "unclosed":
            raise _unclosed(text, end - 1, start)
        case "mistake":
            raise mistake(text, start, f"{written!r} is written '{_MISTAKES[written]}' here")
    raise mistake(text, start, _oddity(written))


def _unclosed(text: str, quote: int, start: int) -> QuerySyntaxError:
    return mistake(text, start, f"the text that begins here has no closing {text[quote]} on its line")


def _no_part(text: str, position: int) -> QuerySyntaxError:
    """Make the error of a key that ends with a dot."""
    if text[position : position + 1] in ("'", '"'):
        return _unclosed(text, position, position)
    message = "a part of the key is missing after the dot; an odd one is quoted: a.'b c', a.''"
    return mistake(text, position, message)


def _oddity(written: str) -> str:
    shown = printable(written, most=40)
    if len(written) > 1 or "0" <= written <= "9":
        return f"{shown} begins no number; text and times are quoted: '{shown}'"
    if written in _CURLY:
        return f"text is quoted with straight quotes, ' or \", not with {written}"
    if written == "-":
        return "a key with a - in it is quoted: start.'a-b'"
    return f"the character {written!a} means nothing here; text is quoted, as in 'Ni foil'"


def _number(text: str, written: str, start: int) -> int | float:
    if len(written) > MAX_DIGITS:
        raise mistake(text, start, f"a number of {len(written)} digits is too long: {MAX_DIGITS} at most")
    if written.lstrip("+-").isdigit():
        return int(written)
    number = float(written)
    if math.isinf(number) and "inf" not in written:
        raise mistake(text, start, "the number is too large for a float: write inf, or an integer in full")
    return number


def _unquoted(text: str, start: int, end: int) -> str:
    """Give what is between quotes, or all where there are none."""
    if text[start] not in "'\"":
        return text[start:end]

    def character(escape: re.Match[str]) -> str:
        if not escape[1]:
            raise mistake(text, start + 1 + escape.start(), _NO_ESCAPE)
        return escape[0].encode().decode("unicode_escape")

    return _ESCAPE.sub(character, text[start + 1 : end - 1])
