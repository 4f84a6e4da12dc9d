"""Conditions on paths as SQL over the search form of documents.

A value lies either at a path of a document, or in a row of ``json_each``, an item of a list; a `Spot` gives the
expressions that tell of it. ``CASE`` keeps SQLite from reading what is no JSON: ``AND`` promises no order.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Final, TypeAlias

from intake_bluesky.query.conditions import (
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
from intake_bluesky.query.form import DEEPEST, INTEGERS, MARK, NAN, code_key, code_list, code_text, rank
from intake_bluesky.query.nodes import And, Everything, Not, Or, Query, leaves
from intake_bluesky.query.sql_regex import literal
from intake_bluesky.query.values import Value

__all__ = ["SQL", "Value", "joined", "json_condition", "json_exact", "ways"]

SQL: TypeAlias = tuple[str, list[Any]]
NEVER: Final[SQL] = ("0", [])
INDEX: Final = re.compile("0|[1-9][0-9]{0,17}", re.ASCII)
LONGEST: Final = 9  # digits of an index that SQLite reads; no list has as many items
CHOICES: Final = 3  # segments of a path that may be an index or a key
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


def json_exact(leaf: PathQuery) -> bool:
    """Whether `json_condition` says exactly what the node means."""
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


def _asks_for_null(leaf: PathQuery) -> bool:
    """Whether a missing value may satisfy a path that descends."""
    match leaf:
        case Compare(_, "==", None):
            return True
        case In(_, values):
            return None in values
    return False


def _whole(value: Value, depth: int = 0) -> bool:
    """Whether the search form of a value tells what equals it: not of dicts, whose keys may come in any order."""
    if isinstance(value, tuple):
        return depth < NESTED and all(_whole(item, depth + 1) for item in value)
    return _scalar(value)


def _scalar(value: Value) -> bool:
    if isinstance(value, bool | str) or value is None:
        return True
    return isinstance(value, int | float) and -INTEGERS <= value < INTEGERS


@dataclass(frozen=True, slots=True)
class Spot:
    """Where a value is.

    Attributes
    ----------
    type, value : SQL
        Its type, as ``json_type`` names it, NULL where there is none; and the value itself.
    text, path : str
        The JSON that it is in, and the path there.
    """

    type: SQL
    value: SQL
    text: str
    path: str

    @classmethod
    def at(cls, text: str, path: str) -> Spot:
        """The value at a path of some JSON."""
        return cls((f"json_type({text}, ?)", [path]), (f"json_extract({text}, ?)", [path]), text, path)

    @classmethod
    def row(cls, name: str) -> Spot:
        """An item of a list, as ``json_each`` gives it."""
        return cls((f"{name}.type", []), (f"{name}.value", []), f"{name}.value", "$")

    def marked(self, function: str, key: str) -> SQL:
        """What the search form says of a value that JSON does not have."""
        return f"{function}({self.text}, ?)", [_deeper(self.path, code=key)]

    def case(self, **conditions: SQL) -> SQL:
        """The condition by type; conditions of other types are not looked at."""
        whens = "".join(f" WHEN '{name}' THEN {sql}" for name, (sql, _) in conditions.items())
        values = [value for _, found in conditions.values() for value in found]
        return f"CASE {self.type[0]}{whens} END", self.type[1] + values

    def any(self, name: str, condition: SQL) -> SQL:
        """Whether some item of this list, in the row `name`, meets a condition."""
        sql = f"EXISTS(SELECT 1 FROM json_each({self.text}, ?) AS {name} WHERE {condition[0]})"  # noqa: S608  # names are ours
        return sql, [self.path, *condition[1]]


def _deeper(path: str, *, code: str) -> str:
    return f'{path}."{code}"'


def json_condition(leaf: PathQuery, text: str, level: int = 0) -> SQL:
    """The condition of an exact node, on a document whose search form is `text`."""
    if leaf.path.descend:
        return _descending(leaf, text, leaf.path.segments, level)
    return joined(" OR ", [_test(leaf, Spot.at(text, path), level) for path in _ways(leaf.path.segments)])


def ways(segments: Sequence[str]) -> list[str] | None:
    """The paths that segments can mean; None where these are too many."""
    numbered = sum(INDEX.fullmatch(segment) is not None for segment in segments)
    return _ways(segments) if numbered <= CHOICES else None


def _ways(segments: Sequence[str]) -> list[str]:
    """The paths that segments can mean, of which a document has one at most: a number is an index or a key."""
    choices = []
    for segment in segments:
        found = [f'."{code_key(segment)}"']
        if INDEX.fullmatch(segment) and len(segment) <= LONGEST:
            found.append(f"[{segment}]")
        choices.append(found)
    return ["$" + "".join(parts) for parts in product(*choices)]


def _descending(leaf: PathQuery, text: str, segments: Sequence[str], level: int) -> SQL:
    """As MongoDB looks: a list on the way stands for each dict in it, one at the end for each item as well."""
    name = f"item{level}"
    parts = [_test(leaf, Spot.at(text, *_ways(segments)), level)]
    for length in range(1, len(segments) + 1):
        spot = Spot.at(text, *_ways(segments[:length]))
        if length < len(segments):
            deeper = _descending(leaf, f"{name}.value", segments[length:], level + 1)
            inner = Spot.row(name).case(object=deeper)
        elif isinstance(leaf, HasSize | AnyItem | Contains):
            continue
        else:
            inner = _test(leaf, Spot.row(name), level + 1)
        parts.append(spot.case(array=spot.any(name, inner)))
    return joined(" OR ", parts)


def _test(leaf: PathQuery, spot: Spot, level: int) -> SQL:
    """Whether one value is what the node asks for."""
    match leaf:
        case Compare(_, "==", value):
            return _one_of(spot, (value,))
        case Compare(_, op, value):
            return _ordered(spot, op, value)
        case In(_, values):
            return _one_of(spot, values)
        case Exists():
            return f"{spot.type[0]} IS NOT NULL", spot.type[1]
        case IsNaN():
            sql, path = spot.marked("json_type", NAN)
            return spot.case(object=(f"{sql} IS NOT NULL", path))
        case HasSize(_, size):
            return spot.case(array=(f"json_array_length({spot.text}, ?) = ?", [spot.path, min(size, 2**62)]))
        case Contains(_, value):
            name = f"item{level}"
            return spot.case(array=spot.any(name, _one_of(Spot.row(name), (value,))))
        case AnyItem():
            name = f"item{level}"
            return spot.case(array=spot.any(name, _item_holds(leaf, name, level + 1)))
        case Regex():
            return _finds(leaf, spot)


def _ordered(spot: Spot, op: str, value: Value) -> SQL:
    if isinstance(value, str):
        return spot.case(text=(f"{spot.value[0]} {op} ?", [*spot.value[1], code_text(value)]))
    if isinstance(value, bool):
        return spot.case(true=(f"1 {op} ?", [int(value)]), false=(f"0 {op} ?", [int(value)]))
    if not isinstance(value, int | float):
        return NEVER
    ranked, path = spot.marked("json_extract", MARK)
    return spot.case(
        integer=(f"{spot.value[0]} {op} ?", [*spot.value[1], value]), object=(f"{ranked} {op} ?", [*path, rank(value)])
    )


def _one_of(spot: Spot, values: Sequence[Value]) -> SQL:
    """Whether a value equals one of these, each of which is compared with values of its own type."""
    numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    whole = [int(value) for value in numbers if value == int(value)]
    conditions = {
        "null": ("1", []) if None in values else NEVER,
        "true": ("1", []) if any(value is True for value in values) else NEVER,
        "false": ("1", []) if any(value is False for value in values) else NEVER,
        "integer": _among(spot.value, whole),
        "text": _among(spot.value, [code_text(value) for value in values if isinstance(value, str)]),
        "object": _among(
            spot.marked("json_extract", MARK), [rank(float(value)) for value in numbers if value != int(value)]
        ),
        "array": _among(spot.value, [code_list(value) for value in values if isinstance(value, tuple)]),
    }
    return spot.case(**{name: found for name, found in conditions.items() if found is not NEVER}) if values else NEVER


def _among(expression: SQL, values: Sequence[int | str]) -> SQL:
    sql, path = expression
    if not values:
        return NEVER
    if len(values) == 1:
        return f"{sql} = ?", [*path, *values]
    return f"{sql} IN (SELECT value FROM json_each(?))", [*path, json.dumps(values)]  # noqa: S608  # as above


def _finds(leaf: Regex, spot: Spot) -> SQL:
    found = literal(leaf)
    assert found is not None  # the node is exact
    text, anchored = found
    sql, path = spot.value
    if anchored:
        return spot.case(text=(f"substr({sql}, 1, ?) = ?", [*path, len(text), text]))
    return spot.case(text=(f"instr({sql}, ?) > 0", [*path, text]))


def _item_holds(leaf: AnyItem, name: str, level: int) -> SQL:
    inner = _of_item(leaf.query, name, level)
    if not leaf.over_keys:
        return inner
    marked, path = Spot.row(name).marked("json_type", MARK)
    return Spot.row(name).case(array=inner, object=(f"({marked} IS NULL AND {inner[0]})", path + inner[1]))


def _of_item(query: Query, name: str, level: int) -> SQL:
    match query:
        case Everything():
            return "1", []
        case And(children):
            return joined(" AND ", [_of_item(child, name, level) for child in children])
        case Or(children):
            return joined(" OR ", [_of_item(child, name, level) for child in children])
        case Not(child):
            inner, values = _of_item(child, name, level)
            return f"NOT coalesce({inner}, 0)", values
    assert isinstance(query, PathQuery)  # nothing else stands inside .any()
    if not query.path.segments:
        return _test(query, Spot.row(name), level)
    found = json_condition(query, f"{name}.value", level)
    return Spot.row(name).case(array=found, object=found)
