"""Conditions on paths as SQL of PostgreSQL over the search form of documents.

The form is JSONB, whose numbers are exact; what JSON does not have is marked in it, as `intake_bluesky.query.form`
tells. Equality with a scalar is asked as containment, which an index answers; all else looks at each run.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from itertools import product
from typing import Any, Final

import orjson

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
from intake_bluesky.query.form import MARK, NAN, code_key, code_list, code_text, rank
from intake_bluesky.query.nodes import And, Everything, Not, Or, Query
from intake_bluesky.query.sql_json import SQL, joined
from intake_bluesky.query.sql_regex import literal
from intake_bluesky.query.values import Value

__all__ = ["json_condition"]

NEVER: Final[SQL] = ("FALSE", [])
INDEX: Final = re.compile("0|[1-9][0-9]{0,8}", re.ASCII)
NUMBERED: Final = re.compile(r"\s*[+-]?[0-9]")  # what PostgreSQL may take for the index of an item
FEW: Final = 64  # values that are each asked by containment


def json_condition(leaf: PathQuery, document: str, level: int = 0) -> SQL:
    """The condition of a node that `json_exact` says is exact, on the JSONB that an expression gives."""
    values = _asked_values(leaf)
    if level == 0 and values is not None and not any(map(INDEX.fullmatch, leaf.path.segments)):
        return joined(" OR ", [_contains(document, leaf, value) for value in values]) if values else NEVER
    if leaf.path.descend:
        return _descending(leaf, (document, []), leaf.path.segments, level)
    return _test(leaf, _at((document, []), leaf.path.segments), level)


def _asked_values(leaf: PathQuery) -> Sequence[Value] | None:
    match leaf:
        case Compare(_, "==", value):
            values: Sequence[Value] = (value,)
        case In(_, values) if len(values) <= FEW:
            pass
        case _:
            return None
    return None if any(isinstance(value, tuple) for value in values) else values  # lists contain shorter ones


def _contains(document: str, leaf: PathQuery, value: Value) -> SQL:
    """Whether a value stands at a path; on one that descends, each list on it may hold what comes next."""
    coded = _coded(value)
    ways = product((False, True), repeat=len(leaf.path.segments)) if leaf.path.descend else [(False,)]
    forms = []
    for listed in ways:
        form = coded
        for segment, in_list in zip(reversed(leaf.path.segments), (*listed, *[False] * 99), strict=False):
            form = {code_key(segment): [form] if in_list else form}
        forms.append(form)
    return joined(" OR ", [(f"{document} @> CAST(? AS jsonb)", [_dumped(form)]) for form in forms])


def _coded(value: Value) -> Any:
    """A scalar, or a list without dicts in it, as the search form has it."""
    if isinstance(value, tuple):
        return orjson.loads(code_list(value))
    if isinstance(value, str):
        return code_text(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return int(value) if value == int(value) else {MARK: rank(float(value))}
    return value


def _dumped(form: Any) -> str:
    return orjson.dumps(form).decode()


def _at(spot: SQL, segments: Sequence[str]) -> SQL:
    """The value at a path: a number is the index of an item, or a key, as the value there has it."""
    sql, values = spot
    for segment in segments:
        if NUMBERED.match(segment) and not INDEX.fullmatch(segment):
            sql, values = f"({sql} -> CAST(? AS text))", [*values, code_key(segment)]
        else:
            sql, values = f"({sql} #> CAST(? AS text[]))", [*values, [code_key(segment)]]
    return sql, values


def _descending(leaf: PathQuery, spot: SQL, segments: Sequence[str], level: int) -> SQL:
    """As MongoDB looks: a list on the way stands for each dict in it, one at the end for each item as well."""
    name = f"item{level}"
    parts = [_test(leaf, _keyed(spot, segments), level)]
    for length in range(1, len(segments) + 1):
        found = _keyed(spot, segments[:length])
        if length < len(segments):
            deeper = _descending(leaf, (f"{name}.value", []), segments[length:], level + 1)
            inner = _of_type((f"{name}.value", []), "object", deeper)
        elif isinstance(leaf, HasSize | AnyItem | Contains):
            continue
        else:
            inner = _test(leaf, (f"{name}.value", []), level + 1)
        parts.append(_any(found, name, inner))
    return joined(" OR ", parts)


def _keyed(spot: SQL, segments: Sequence[str]) -> SQL:
    sql, values = spot
    for segment in segments:
        sql, values = f"({sql} -> CAST(? AS text))", [*values, code_key(segment)]
    return sql, values


def _of_type(spot: SQL, name: str, condition: SQL) -> SQL:
    """A condition on values of one type, others are not looked at: ``AND`` promises no order."""
    return f"CASE WHEN jsonb_typeof({spot[0]}) = '{name}' THEN {condition[0]} END", spot[1] + condition[1]


def _any(spot: SQL, name: str, condition: SQL) -> SQL:
    """Whether some item of a list, in the row `name`, meets a condition."""
    items = f"EXISTS(SELECT 1 FROM jsonb_array_elements({spot[0]}) AS {name}(value) WHERE {condition[0]})"  # noqa: S608
    return _of_type(spot, "array", (items, spot[1] + condition[1]))


def _text(spot: SQL) -> SQL:
    return f"({spot[0]} #>> '{{}}') COLLATE \"C\"", spot[1]


def _test(leaf: PathQuery, spot: SQL, level: int) -> SQL:
    """Whether one value is what the node asks for."""
    name = f"item{level}"
    match leaf:
        case Compare(_, "==", value):
            return _one_of(spot, (value,))
        case Compare(_, op, value):
            return _ordered(spot, op, value)
        case In(_, values):
            return _one_of(spot, values)
        case Exists():
            return f"{spot[0]} IS NOT NULL", spot[1]
        case IsNaN():
            return f"({spot[0]} -> CAST(? AS text)) IS NOT NULL", [*spot[1], NAN]
        case HasSize(_, size):
            return _of_type(spot, "array", (f"jsonb_array_length({spot[0]}) = ?", [*spot[1], min(size, 2**62)]))
        case Contains(_, value):
            return _any(spot, name, _one_of((f"{name}.value", []), (value,)))
        case AnyItem():
            return _any(spot, name, _item_holds(leaf, name, level + 1))
        case Regex():
            return _finds(leaf, spot)


def _one_of(spot: SQL, values: Sequence[Value]) -> SQL:
    if not values:
        return NEVER
    return f"{spot[0]} = ANY(CAST(? AS jsonb[]))", [*spot[1], [_dumped(_coded(value)) for value in values]]


def _ordered(spot: SQL, op: str, value: Value) -> SQL:
    if isinstance(value, str):
        sql, values = _text(spot)
        return _of_type(spot, "string", (f"{sql} {op} ?", [*values, code_text(value)]))
    if isinstance(value, bool):
        return _of_type(spot, "boolean", (f"CAST({spot[0]} AS boolean) {op} ?", [*spot[1], value]))
    if not isinstance(value, int | float):
        return NEVER
    plain = _of_type(spot, "number", (f"CAST({spot[0]} AS numeric) {op} ?", [*spot[1], Decimal(value)]))
    ranked = f"CAST({spot[0]} ->> CAST(? AS text) AS numeric) {op} ?", [*spot[1], MARK, Decimal(rank(value))]
    return joined(" OR ", [plain, _of_type(spot, "object", ranked)])


def _finds(leaf: Regex, spot: SQL) -> SQL:
    found = literal(leaf)
    assert found is not None  # the node is exact
    text, anchored = found
    sql, values = f"({spot[0]} #>> '{{}}')", spot[1]
    if anchored:
        return _of_type(spot, "string", (f"starts_with({sql}, ?)", [*values, text]))
    return _of_type(spot, "string", (f"strpos({sql}, ?) > 0", [*values, text]))


def _item_holds(leaf: AnyItem, name: str, level: int) -> SQL:
    item = f"{name}.value", list[Any]()
    inner = _of_item(leaf.query, name, level)
    if not leaf.over_keys:
        return inner
    unmarked = f"(({item[0]} -> CAST(? AS text)) IS NULL AND {inner[0]})", [MARK, *inner[1]]
    return joined(" OR ", [_of_type(item, "array", inner), _of_type(item, "object", unmarked)])


def _of_item(query: Query, name: str, level: int) -> SQL:
    match query:
        case Everything():
            return "TRUE", []
        case And(children):
            return joined(" AND ", [_of_item(child, name, level) for child in children])
        case Or(children):
            return joined(" OR ", [_of_item(child, name, level) for child in children])
        case Not(child):
            inner, values = _of_item(child, name, level)
            return f"NOT coalesce({inner}, FALSE)", values
    assert isinstance(query, PathQuery)  # nothing else stands inside .any()
    if not query.path.segments:
        return _test(query, (f"{name}.value", []), level)
    item = f"{name}.value", list[Any]()
    found = json_condition(query, item[0], max(level, 1))
    return joined(" OR ", [_of_type(item, "array", found), _of_type(item, "object", found)])
