"""Conditions on paths as SQL over the search form of documents, the same for each database.

A `Spot` gives the expressions of one database for a value. ``CASE`` keeps databases from reading what is
of another type: ``AND`` promises no order.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Final, Literal, Self, TypeAlias

from intake_bluesky.index.search_form import DEEPEST, MARK, NAN, code_text, rank, spelled_plainly
from intake_bluesky.integers import is_int64
from intake_bluesky.query.implications import PLAIN
from intake_bluesky.query.nodes import And, Everything, Not, Or, Query, leaves
from intake_bluesky.query.path_nodes import (
    AnyItem,
    Compare,
    Contains,
    Exists,
    HasSize,
    In,
    IsNaN,
    PathQuery,
    Regex,
)
from intake_bluesky.query.values import Value

__all__ = [
    "ALWAYS",
    "CHOICES",
    "INDEX",
    "NEVER",
    "SQL",
    "Spot",
    "Value",
    "What",
    "joined",
    "json_condition",
    "json_exact",
    "literal",
    "negated",
]

SQL: TypeAlias = tuple[str, list[Any]]
ALWAYS: Final[SQL] = ("TRUE", [])
NEVER: Final[SQL] = ("FALSE", [])
INDEX: Final = re.compile("0|[1-9][0-9]{0,17}", re.ASCII)  # of 64 bits at most
CHOICES: Final = 3  # segments of a path that may be an index or a key: each doubles the paths looked at
GROUP: Final = 100  # conditions joined side by side
NESTED: Final = 10  # levels of a list that is compared whole
DESCENTS: Final = 4  # segments of a path that descends: each doubles the condition


def joined(word: str, parts: Sequence[SQL]) -> SQL:
    """Join conditions, in groups of groups: SQLite limits how many may follow each other, and how deep they nest."""
    while len(parts) > GROUP:
        parts = [joined(word, parts[first : first + GROUP]) for first in range(0, len(parts), GROUP)]
    if len(parts) == 1:
        return parts[0]
    return f"({word.join(sql for sql, _ in parts)})", [value for _, values in parts for value in values]


def negated(condition: SQL) -> SQL:
    """The negation: what a run lacks is not equal to anything."""
    return f"NOT coalesce({condition[0]}, FALSE)", condition[1]


def json_exact(leaf: PathQuery) -> bool:
    """Whether `json_condition` means exactly what the node means."""
    # The search form has nothing below DEEPEST levels.
    return _reach(leaf) + NESTED < DEEPEST - 2 and all(_simple(found) for found in _nested(leaf))


def _nested(leaf: PathQuery) -> Iterator[PathQuery]:
    yield leaf
    if isinstance(leaf, AnyItem):
        for inner in leaves(leaf.query):
            if not isinstance(inner, Everything):
                assert isinstance(inner, PathQuery)  # nothing else stands inside .any()
                yield from _nested(inner)


def _reach(leaf: PathQuery) -> int:
    """How many levels of a document a node can look at."""
    # A path that descends may meet a list before each key, and one at the end.
    return sum(2 * len(found.path.segments) + 2 for found in _nested(leaf))


def _simple(leaf: PathQuery) -> bool:
    numbered = sum(INDEX.fullmatch(segment) is not None for segment in leaf.path.segments)
    if leaf.path.descend:
        if numbered or len(leaf.path.segments) > DESCENTS or _asks_for_null(leaf):
            return False
    elif numbered > CHOICES:
        return False
    match leaf:
        case Compare(_, _, value) | Contains(_, value):
            return _whole(value)
        case In(_, values):
            return all(map(_whole, values))
        case Regex():
            return literal(leaf) is not None
    return True


def literal(leaf: Regex) -> tuple[str, bool] | None:
    """The text that a pattern finds and whether only at the beginning; None where it is more than a text.

    Examples
    --------
    >>> literal(Regex("x", "^Ni")), literal(Regex("x", "Ni.")), literal(Regex("x", "Ni", "i"))
    (('Ni', True), None, None)
    """
    found = PLAIN.fullmatch(leaf.pattern)
    # Of the flags, ASCII and DOTALL change nothing about a text without classes and dots.
    if found is None or not set(leaf.flags) <= {"a", "s"} or not spelled_plainly(found["text"]):
        return None
    return found["text"], bool(found["anchor"])


def _asks_for_null(leaf: PathQuery) -> bool:
    """Whether a missing value may satisfy a path that descends."""
    match leaf:
        case Compare(_, "==", None):
            return True
        case In(_, values):
            return None in values
    return False


def _whole(value: Value, depth: int = 0) -> bool:
    """Whether equal values have equal search forms: not dicts, whose keys may come in any order."""
    if isinstance(value, tuple):
        return depth < NESTED and all(_whole(item, depth + 1) for item in value)
    return _scalar(value)


def _scalar(value: Value) -> bool:
    if isinstance(value, bool | str) or value is None:
        return True
    return isinstance(value, int | float) and is_int64(value)


What: TypeAlias = Literal["type", "text", "number", "boolean", "rank", "size", "items"]
"""An aspect of a value: its type, NULL where there is none; itself, if it is a text (that compares by code points),
a number, or True or False; the rank that stands for another number; of a list, its size, and its items as a table."""


class Spot(ABC):
    """Where a value is, and the expressions of a database's SQL for it."""

    __slots__ = ()
    TEXT: ClassVar[str]  # the type of texts
    NUMBER: ClassVar[str]  # of numbers that the search form has as they are
    BOOLEANS: ClassVar[tuple[str, ...]]  # of True and False
    FIND: ClassVar[str]  # the function that gives the character, from 1, at which one text is in another

    @classmethod
    @abstractmethod
    def of(cls, document: str) -> Self:
        """The whole of a document, by the expression for its search form."""

    @classmethod
    @abstractmethod
    def row(cls, name: str) -> Self:
        """An item of a list, in a row of `items` that is called so."""

    @abstractmethod
    def at(self, segments: Sequence[str]) -> list[Self]:
        """The values that segments can mean, of which a document has one at most: a number is an index or a key."""

    @abstractmethod
    def says(self, what: What) -> SQL:
        """The expression for one thing about the value."""

    @abstractmethod
    def marked(self, mark: str) -> SQL:
        """The value at a key of a dict, as any expression that is NULL where there is none."""

    @abstractmethod
    def one_of(self, values: Sequence[Value]) -> SQL:
        """Whether the value equals one of these, at least one."""

    @staticmethod
    @abstractmethod
    def bind(number: float) -> Any:
        """Give a number as it is bound."""

    def case(self, **conditions: SQL) -> SQL:
        """The condition by type; conditions of other types are not looked at."""
        whens = "".join(f" WHEN '{name}' THEN {sql}" for name, (sql, _) in conditions.items())
        values = [value for _, found in conditions.values() for value in found]
        kind, bound = self.says("type")
        return f"CASE {kind}{whens} END", bound + values

    def any(self, name: str, condition: SQL) -> SQL:
        """Whether this is a list, and some item of it, in the row `name`, meets a condition."""
        items, values = self.says("items")
        sql = f"EXISTS(SELECT 1 FROM {items} AS {name} WHERE {condition[0]})"
        return self.case(array=(sql, values + condition[1]))


def json_condition(leaf: PathQuery, spot: Spot, level: int = 0) -> SQL:
    """The condition of an exact node, on what a document or an item of a list holds."""
    if leaf.path.descend:
        return _descending(leaf, spot, leaf.path.segments, level)
    return joined(" OR ", [_test(leaf, found, level) for found in spot.at(leaf.path.segments)])


def _descending(leaf: PathQuery, spot: Spot, segments: Sequence[str], level: int) -> SQL:
    """As MongoDB looks: a list on the way stands for each dict in it, one at the end for each item as well."""
    name = f"item{level}"
    item = spot.row(name)
    [end] = spot.at(segments)
    parts = [_test(leaf, end, level)]
    for length in range(1, len(segments) + 1):
        if length < len(segments):
            inner = item.case(object=_descending(leaf, item, segments[length:], level + 1))
        elif isinstance(leaf, HasSize | AnyItem | Contains):
            continue
        else:
            inner = _test(leaf, item, level + 1)
        [found] = spot.at(segments[:length])
        parts.append(found.any(name, inner))
    return joined(" OR ", parts)


def _test(leaf: PathQuery, spot: Spot, level: int) -> SQL:
    """Whether one value is what the node asks for."""
    name = f"item{level}"
    match leaf:
        case Compare(_, "==", value):
            return spot.one_of((value,))
        case Compare(_, op, value):
            return _ordered(spot, op, value)
        case In(_, values):
            return spot.one_of(values)
        case Exists():
            kind, bound = spot.says("type")
            return f"{kind} IS NOT NULL", bound
        case IsNaN():
            nan, bound = spot.marked(NAN)
            return spot.case(object=(f"{nan} IS NOT NULL", bound))
        case HasSize(_, size):
            # No list is as long as that, and databases bind integers of 64 bits.
            return spot.case(array=_compared(spot.says("size"), "=", min(size, 2**62)))
        case Contains(_, value):
            return spot.any(name, spot.row(name).one_of((value,)))
        case AnyItem():
            return spot.any(name, _item_holds(leaf, spot.row(name), level + 1))
        case Regex():
            return _finds(leaf, spot)


def _compared(expression: SQL, op: str, value: Any) -> SQL:
    return f"{expression[0]} {op} ?", [*expression[1], value]


def _ordered(spot: Spot, op: str, value: Value) -> SQL:
    if isinstance(value, str):
        return spot.case(**{spot.TEXT: _compared(spot.says("text"), op, code_text(value))})
    if isinstance(value, bool):
        return spot.case(**dict.fromkeys(spot.BOOLEANS, _compared(spot.says("boolean"), op, value)))
    if not isinstance(value, int | float):
        return NEVER
    number = _compared(spot.says("number"), op, spot.bind(value))
    return spot.case(**{spot.NUMBER: number}, object=_compared(spot.says("rank"), op, spot.bind(rank(value))))


def _finds(leaf: Regex, spot: Spot) -> SQL:
    found = literal(leaf)
    assert found is not None  # the node is exact
    (text, anchored), (sql, values) = found, spot.says("text")
    if anchored:
        return spot.case(**{spot.TEXT: (f"substr({sql}, 1, ?) = ?", [*values, len(text), text])})
    return spot.case(**{spot.TEXT: (f"{spot.FIND}({sql}, ?) > 0", [*values, text])})


def _item_holds(leaf: AnyItem, item: Spot, level: int) -> SQL:
    inner = _of_item(leaf.query, item, level)
    if not leaf.over_keys:
        return inner
    # A dict with MARK is a number of the document, which has no keys.
    marked, values = item.marked(MARK)
    return item.case(array=inner, object=(f"({marked} IS NULL AND {inner[0]})", values + inner[1]))


def _of_item(query: Query, item: Spot, level: int) -> SQL:
    match query:
        case Everything():
            return ALWAYS
        case And(children):
            return joined(" AND ", [_of_item(child, item, level) for child in children])
        case Or(children):
            return joined(" OR ", [_of_item(child, item, level) for child in children])
        case Not(child):
            return negated(_of_item(child, item, level))
    assert isinstance(query, PathQuery)  # nothing else stands inside .any()
    if not query.path.segments:
        return _test(query, item, level)
    found = json_condition(query, item, level)
    return item.case(array=found, object=found)
