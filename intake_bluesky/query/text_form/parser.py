"""From the pieces of a text to a query: a parser by recursive descent, which evaluates nothing.

Every condition is made by the builders, which the tables here name; no name from the text is looked up anywhere
else.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any, Final

from intake_bluesky.errors import QuerySyntaxError, UnsupportedQuery
from intake_bluesky.query.builders import Field, Item, Start, Stop
from intake_bluesky.query.data_nodes import Data, Statistic
from intake_bluesky.query.descriptor_nodes import AnyDescriptor
from intake_bluesky.query.device_builders import Descriptor, DescriptorField
from intake_bluesky.query.nodes import Query, all_of, any_of
from intake_bluesky.query.run_nodes import TimeRange
from intake_bluesky.query.text_form.functions import ABOUT_DATA, CONDITIONS, FUNCTIONS, METHODS, Descriptors
from intake_bluesky.query.text_form.reader import LITERALS, Reader
from intake_bluesky.query.text_form.tokens import Token
from intake_bluesky.query.values import MAX_DEPTH

MAX_PATTERNS: Final = 2000
"""How many characters the regular expressions of a text have together: Python may take seconds to compile more."""

_DOCUMENTS: Final[Mapping[str, type[Field]]] = {"start": Start, "stop": Stop, "descriptor": Descriptor, "item": Item}
RESERVED: Final = frozenset({"and", "or", "not", "since", "until", "nan", *LITERALS, *_DOCUMENTS, *ABOUT_DATA})
"""What a key does not begin with, unless the name of a document is before it."""

_COMPARISONS: Final[Mapping[str, Callable[[Any, Any], Query]]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_FLIPPED: Final = str.maketrans("<>", "><")  # 5 < x is written x > 5 as a node


class Parser(Reader):
    """Reads one text, whose length the caller limits."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.depth = 0
        self.patterns = 0
        # For each any(...) around: which document it is about, and whether its conditions look at keys of that
        # or at all of it.
        self.inside: list[tuple[str, set[bool]]] = []

    def parse(self) -> Query:
        """Give the query that the whole text means."""
        query = self._query()
        if self.token.kind != "end":
            raise self.expected("'and', 'or' or the end", "no parenthesis is open here" if self.at(")") else "")
        return query

    def _query(self) -> Query:
        return self._combined(any_of, ("or", "|"), self._term)

    def _term(self) -> Query:
        return self._combined(all_of, ("and", "&"), self._factor)

    def _combined(
        self, combine: Callable[[list[Query]], Query], words: tuple[str, str], part: Callable[[], Query]
    ) -> Query:
        first = self.token
        parts = [part()]
        while self.take(*words):
            parts.append(part())
        return self.make(first, combine, parts) if len(parts) > 1 else parts[0]

    def _factor(self) -> Query:
        first, negated = self.token, False
        while self.take("not", "~"):
            negated = not negated
        query = self._condition()
        return self.make(first, operator.invert, query) if negated else query

    def _condition(self) -> Query:
        token = self.token
        if self.take("("):
            return self._nested(token)
        if self.at("since", "until"):
            return self._time_range()
        if token.kind in ("number", "text") or (token.kind == "word" and token.value in LITERALS):
            return self._mirrored()
        subject = self._subject("a condition", "keys stand without quotes, text in quotes")
        if isinstance(subject, Query):
            return subject
        if isinstance(subject, CONDITIONS) and not self.at("not", *_COMPARISONS, *_PREDICATES):
            return self.make(token, subject.exists)
        return self._predicate(subject)

    def _nested(self, opened: Token) -> Query:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise self.refused(opened, f"nested deeper than {MAX_DEPTH} levels")
        query = self._query()
        self.close(opened, "'and', 'or' or")
        self.depth -= 1
        return query

    def _time_range(self) -> Query:
        first, ends = self.token, {}
        if self.inside:
            raise self.refused(first, f"{first.value} is about a run, and stands outside any(...)")
        for word in ("since", "until"):
            if self.take(word):
                ends[word] = self._moment()
        timezone = self.quoted("the name of a time zone") if self.take("timezone") else None
        return self.make(first, TimeRange, **ends, timezone=timezone)

    def _moment(self) -> Any:
        token, value = self.token, self.value()
        if isinstance(value, int) and 1000 <= value <= 9999:
            raise self.refused(token, f"a number is seconds since 1970; years and dates are quoted: '{value}'")
        return value

    def _subject(self, what: str, hint: str) -> Any:
        """Read what a condition is about, a key or what a function gives, or all of a condition."""
        token = self.token
        if token.kind not in ("word", "key"):
            raise self.expected(what, hint)
        self.advance()
        if token.kind == "word" and self.at("("):
            return self._call(token)
        return self._key(token, (token.value,) if token.kind == "word" else token.value)

    def _key(self, token: Token, segments: tuple[str, ...]) -> Field:
        around, kinds = self.inside[-1] if self.inside else ("start", set())
        document, rest = (segments[0], segments[1:]) if segments[0] in _DOCUMENTS else (around, segments)
        if document != around and not (document == "stop" and not self.inside):
            place = f"here in any(...) keys are those of {around}" if self.inside else f"{document} stands in any(...)"
            raise self.refused(token, f"{place}: a key of this name is {around}.{self.shown(token)}")
        if rest is segments and segments[0] in RESERVED:
            usage = f", {FUNCTIONS[segments[0]][1]}" if segments[0] in FUNCTIONS else ""
            name = f"{around}.{self.shown(token)}"
            raise self.refused(token, f"{segments[0]} has a meaning of its own{usage}; a key of this name is {name}")
        if not rest and document != "item":
            raise self.refused(token, f"say which key of the {document} document, as in {document}.time")
        kinds.add(bool(rest))
        if document == "item" and len(kinds) > 1:
            raise self.refused(token, "inside any(...) conditions are on keys of the items or on item itself, not both")
        return _DOCUMENTS[document](rest) if rest else Item()

    def _call(self, token: Token) -> Any:
        if token.value not in FUNCTIONS:
            raise self.refused(token, f"{self.shown(token)}(...) is none of {', '.join(FUNCTIONS)}")
        if self.inside and token.value != "everything":
            raise self.refused(token, f"{token.value}(...) is about a run, and stands outside any(...)")
        function, usage = FUNCTIONS[token.value]
        arguments, named = self.arguments(self.advance())
        try:
            made = self.make(token, function, *arguments, **named)
        except QuerySyntaxError as error:
            if isinstance(error.__cause__, TypeError):  # other arguments than it takes: an example helps more
                raise self.refused(token, f"this is written like {usage}") from error
            raise
        return self._part(made) if self.at(".") else made

    def _part(self, subject: Any) -> Any:
        """Read ``.max()`` and the like."""
        self.advance()
        token, known = self.token, METHODS.get(type(subject), ())
        if not self.at(*known):
            raise self.expected(f"one of {', '.join(known)}" if known else "no dot here")
        self.advance()
        arguments, named = self.arguments(self.demand("(", "after it"))
        return self.make(token, getattr(subject, token.value), *arguments, **named)

    def _predicate(self, subject: Any) -> Query:
        token = self.token
        if self.at(*_COMPARISONS):
            self.advance()
            place, value = self.token, self.value()
            return self.make(place, _compared, subject, (token.value, value))
        negated = self.take("not")
        condition = _PREDICATES.get(self.token.value) if self.token.kind == "word" else None
        if condition is None:
            if isinstance(subject, Data):
                raise self.expected("between, within, or a statistic before: data('theta').max() > 5")
            known = ", ".join(_PREDICATES)
            raise self.expected(f"one of {known}" if negated else f"a comparison like == or one of {known}")
        query = condition(self, subject, self.advance())
        return self.make(token, operator.invert, query) if negated else query

    def _mirrored(self) -> Query:
        """Read ``5 < x``, and ``0 < x <= 5``."""
        token, value = self.token, self.value()
        hint = "one side is a key; an odd one is written start.'sample name'"
        if not self.at(*_COMPARISONS):
            raise self.expected("a comparison like <", hint)
        symbol, subject = self.advance().value, self._subject("a key", hint)
        conditions = [(symbol.translate(_FLIPPED), value)]
        if self.at(*_COMPARISONS) and not isinstance(subject, Query):
            if symbol[0] not in "<>" or self.token.value[0] != symbol[0]:
                raise self.expected("a comparison in the same direction as the first, 'and', 'or' or the end")
            conditions.append((self.advance().value, self.value()))
        return self.make(token, _compared, subject, *conditions)

    def _method(self, subject: Any, name: str, token: Token) -> Callable[..., Query]:
        method: Callable[..., Query] | None = getattr(subject, name, None)
        if method is None:
            hint = ": write data('theta') within 0 and 5" if name == "within" else ""
            raise self.refused(token, f"{token.value!r} is not asked of {subject!r}{hint}")
        return method

    def _exists(self, subject: Any, token: Token) -> Query:
        return self.make(token, self._method(subject, "exists", token))

    def _in(self, subject: Any, token: Token) -> Query:
        method = self._method(subject, "is_in", token)
        if not self.at("["):
            raise self.expected("a list like ['a', 'b']")
        return self.make(token, method, self.value())

    def _between(self, subject: Any, token: Token) -> Query:
        low, high = self._ends()
        if isinstance(subject, Field):
            return self.make(token, _compared, subject, (">=", low), ("<=", high))
        return self.make(token, self._method(subject, "between", token), low, high)

    def _within(self, subject: Any, token: Token) -> Query:
        return self.make(token, self._method(subject, "within", token), *self._ends())

    def _ends(self) -> tuple[Any, Any]:
        low = self.value()
        self.demand("and", "between the two ends")
        return low, self.value()

    def _is(self, subject: Any, token: Token) -> Query:
        negated = self.take("not")
        if self.take("nan"):
            query = self.make(token, self._method(subject, "is_nan", token))
        elif self.take("null", "None"):
            query = self.make(token, _compared, subject, ("==", None))
        else:
            raise self.expected("null or nan", "other values are compared by ==")
        return ~query if negated else query

    def _contains(self, subject: Any, token: Token) -> Query:
        return self.make(token, self._method(subject, "contains", token), self.value())

    def _any(self, subject: Any, token: Token) -> Query:
        method = self._method(subject, "any", token)
        opened = self.demand("(", "around the conditions on an item")
        self.inside.append(("descriptor" if isinstance(subject, Descriptors) else "item", set()))
        query = self._nested(opened)
        self.inside.pop()
        return self.make(token, method, query)

    def _has(self, subject: Any, token: Token) -> Query:
        method = self._method(subject, "has_size", token)
        self.demand("size", "and a number")
        return self.make(self.token, method, self.value())

    def _matches(self, subject: Any, token: Token) -> Query:
        method = self._method(subject, "regex", token)
        place, pattern = self.token, self.quoted("a regular expression")
        self.patterns += len(pattern)
        if self.patterns > MAX_PATTERNS:
            raise self.refused(place, f"regular expressions have at most {MAX_PATTERNS} characters together here")
        flags = self.quoted("letters among aimsx") if self.take("flags") else ""
        return self.make(place, method, pattern, flags=flags)


def _compared(subject: Any, *conditions: tuple[str, Any]) -> Query:
    """Compare one value: of descriptors, one has to satisfy all conditions."""
    if isinstance(subject, Query):
        raise UnsupportedQuery("what is on the right is a condition already, and compares with nothing")
    if not isinstance(subject, Field | Statistic):
        raise UnsupportedQuery(f"{subject!r} has no value of its own: write data('theta').max() > 5, for example")
    key = Descriptor(subject.path.segments) if isinstance(subject, DescriptorField) else subject
    query = all_of(_COMPARISONS[symbol](key, value) for symbol, value in conditions)
    return AnyDescriptor(query, subject.stream) if isinstance(subject, DescriptorField) else query


_PREDICATES: Final[Mapping[str, Callable[[Parser, Any, Token], Query]]] = {
    "in": Parser._in,
    "between": Parser._between,
    "within": Parser._within,
    "exists": Parser._exists,
    "is": Parser._is,
    "contains": Parser._contains,
    "any": Parser._any,
    "has": Parser._has,
    "matches": Parser._matches,
}
"""What may be asked of a key by a word; ``not`` may stand before it."""
