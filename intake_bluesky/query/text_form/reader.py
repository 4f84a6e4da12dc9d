"""Reading the pieces of a text one after the other: the values and the lists of arguments among them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, TypeVar

from intake_bluesky.errors import QuerySyntaxError
from intake_bluesky.query.text_form.tokens import Token, mistake, printable, tokenize
from intake_bluesky.query.values import MAX_DEPTH

T = TypeVar("T")

LITERALS: Final[Mapping[str, Any]] = {
    "true": True,
    "false": False,
    "null": None,
    "inf": math.inf,
    "True": True,
    "False": False,
    "None": None,
}
_CLOSING: Final = {"(": ")", "[": "]", "{": "}"}

_HINTS: Final[Mapping[str, str]] = {
    "=": "equality is written ==",
    "nan": "nothing equals nan: write 'is nan'",
    "like": "write matches r'^Ni', a regular expression",
    "startswith": "write matches r'^Ni', a regular expression; of a uid, uid('9ac')",
    **dict.fromkeys(("regex", "match", "ilike", "rlike"), "write 'matches', with a regular expression"),
    **dict.fromkeys(("equals", "eq", "equal"), "write =="),
    **{word: f"write {word.lower()!r}, in small letters" for word in ("AND", "OR", "NOT", "IN", "BETWEEN", "IS")},
    **{word: f"write {word.lower()!r}" for word in ("And", "Or", "Not", "NULL", "TRUE", "FALSE")},
}


class Reader:
    """A text read piece by piece: the current one is known, none after it."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = tokenize(text)
        self.token = next(self.tokens)

    def advance(self) -> Token:
        """Go on, past the end never, and give what is left behind."""
        token = self.token
        if token.kind != "end":
            self.token = next(self.tokens)
        return token

    def at(self, *values: str) -> bool:
        """Tell whether here is one of these words and symbols."""
        return self.token.kind in ("word", "symbol") and self.token.value in values

    def take(self, *values: str) -> bool:
        """Go past one of these words and symbols, if it is here."""
        found = self.at(*values)
        if found:
            self.advance()
        return found

    def demand(self, value: str, purpose: str) -> Token:
        """Go past this word or symbol, which has to be here."""
        if not self.at(value):
            raise self.expected(f"{value!r} {purpose}")
        return self.advance()

    def shown(self, token: Token) -> str:
        """Show a piece as the text has it."""
        return "the end" if token.kind == "end" else printable(self.text[token.start : token.end], most=40)

    def expected(self, what: str, hint: str = "") -> QuerySyntaxError:
        """Make the error of a piece where another was expected."""
        hint = _HINTS.get(self.token.value, hint) if self.token.kind in ("word", "symbol") else hint
        message = f"expected {what}, found {self.shown(self.token)}{f': {hint}' if hint else ''}"
        return self.refused(self.token, message)

    def refused(self, token: Token, message: str) -> QuerySyntaxError:
        """Make the error of a piece that is not what it might be."""
        return mistake(self.text, token.start, message)

    def make(self, token: Token, function: Callable[..., T], *arguments: Any, **named: Any) -> T:
        """Call a builder; what it refuses is a mistake at a piece of the text."""
        try:
            return function(*arguments, **named)
        except (ValueError, TypeError, OverflowError, Warning) as error:  # re warns of patterns such as [[a]
            raise self.refused(token, str(error)) from error

    def close(self, opened: Token, others: str) -> None:
        """Take the parenthesis or bracket that belongs to one taken before."""
        closing = _CLOSING[opened.value]
        if not self.take(closing):
            raise self.expected(f"{others} the '{closing}' of the '{opened.value}' at character {opened.start + 1}")

    def quoted(self, what: str) -> str:
        """Take a text in quotes."""
        if self.token.kind != "text":
            raise self.expected(f"{what}, in quotes")
        return str(self.advance().value)

    def value(self, depth: int = 0) -> Any:
        """Take a literal: a number, a text, a word for a value, a list or a dict."""
        token = self.token
        if token.kind in ("number", "text"):
            return self.advance().value
        if token.kind == "word" and token.value in LITERALS:
            return LITERALS[self.advance().value]
        if depth > MAX_DEPTH:
            raise self.refused(token, f"a value nested deeper than {MAX_DEPTH} levels")
        if self.take("["):
            return [self.value(depth + 1) for _ in self._separated(token)]
        if self.take("{"):
            return self._dict(token, depth)
        quoted = f"text is quoted: '{self.shown(token)}'" if token.kind in ("word", "key") else ""
        raise self.expected("a value", quoted)

    def _separated(self, opened: Token) -> Iterator[None]:
        """Stop at each item of what a parenthesis or bracket opened, and go past the comma after it and the end."""
        while not self.at(_CLOSING[opened.value]):
            yield
            if not self.take(","):
                break
        self.close(opened, "',' or")

    def _dict(self, opened: Token, depth: int) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for _ in self._separated(opened):
            place, key = self.token, self.quoted("a key")
            if key in values:
                raise self.refused(place, "this key is in the dict already")
            self.demand(":", "between key and value")
            values[key] = self.value(depth + 1)
        return values

    def arguments(self, opened: Token) -> tuple[list[Any], dict[str, Any]]:
        """Take the literals, positional and named, of a call whose parenthesis was taken."""
        values: list[Any] = []
        named: dict[str, Any] = {}
        for _ in self._separated(opened):
            if self.token.kind == "word" and self.token.value not in LITERALS:
                self._named(named)
            elif named:
                raise self.expected("an argument with a name, as those before")
            else:
                values.append(self.value())
        return values, named

    def _named(self, named: dict[str, Any]) -> None:
        token = self.advance()
        if token.value in named:
            raise self.refused(token, f"{self.shown(token)} is given twice")
        if not self.take("="):
            raise self.refused(token, f"text is quoted: '{self.shown(token)}'; an argument has name=value")
        named[token.value] = self.value()
