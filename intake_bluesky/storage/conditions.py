"""Queries as the author of a driver meets them: plain conditions on keys, and how logic combines what they become."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, TypeVar

from intake_bluesky.query import And, Compare, Everything, In, Not, Or, PartialUID, Query

T = TypeVar("T")
Operator: TypeAlias = Literal["==", "<", "<=", ">", ">=", "in", "starts"]


@dataclass(frozen=True, slots=True)
class KeyCondition:
    """A condition on the value at one key of a run start or run stop document.

    Attributes
    ----------
    key : str
        ``"scan_id"`` of the run start, ``"stop.exit_status"`` of the run stop.
    operator : {"==", "<", "<=", ">", ">=", "in", "starts"}
        "in": the value is one of several. "starts": a uid begins with one of several texts.
    value : object
        What is compared with, as documents hold it: None, bool, int, float, str, and of "==" and "in" tuples and
        mappings, too. Of "in" and "starts" a tuple of these.

    Notes
    -----
    A store answers a condition exactly or leaves it. A run without the key matches none. Ints and floats compare
    exactly, whatever their size; a bool equals only a bool; values of different types have no order; texts are in the
    order of code points; nothing compares with NaN, and None equals null alone.
    """

    key: str
    operator: Operator
    value: Any


def key_condition(leaf: Query) -> KeyCondition | None:
    """The plain condition that a leaf of a query is; None where it is none.

    Examples
    --------
    >>> from intake_bluesky.query import ScanID, Start, Stop
    >>> key_condition(Start("scan_id") > 5)
    KeyCondition(key='scan_id', operator='>', value=5)
    >>> key_condition(Stop("exit_status").is_in(["fail", "abort"]))
    KeyCondition(key='stop.exit_status', operator='in', value=('fail', 'abort'))
    >>> key_condition(Start("sample").regex("Ni"))
    """
    if isinstance(leaf, PartialUID):
        return KeyCondition("uid", "starts", leaf.uids)
    if not isinstance(leaf, Compare | In) or leaf.path.descend or leaf.path.document not in ("start", "stop"):
        return None
    key = ".".join((*(["stop"] if leaf.path.document == "stop" else []), *leaf.path.segments))
    return KeyCondition(key, leaf.op, leaf.value) if isinstance(leaf, Compare) else KeyCondition(key, "in", leaf.values)


def combine(
    query: Query,
    translate: Callable[[KeyCondition], T],
    *,
    every: T,
    all_of: Callable[[list[T]], T],
    any_of: Callable[[list[T]], T],
    negation: Callable[[T], T],
) -> T:
    """Translate a query whose leaves are all plain conditions.

    Parameters
    ----------
    query : Query
        What a plan pushed: `Plan.pushed`.
    translate : callable
        Translates one condition.
    every : object
        What all runs match.
    all_of, any_of, negation : callable
        What ``&``, ``|`` and ``~`` make of translations.

    Examples
    --------
    >>> from intake_bluesky.query import Start
    >>> combine(
    ...     (Start("scan_id") > 5) & ~(Start("plan_name") == "count"),
    ...     lambda condition: f"{condition.key} {condition.operator} {condition.value!r}",
    ...     every="1",
    ...     all_of=" AND ".join,
    ...     any_of=" OR ".join,
    ...     negation="NOT ({})".format,
    ... )
    "scan_id > 5 AND NOT (plan_name == 'count')"

    Raises
    ------
    TypeError
        For a leaf that is none: `RunStore.answers` has to be asked first.
    """

    def walk(part: Query) -> T:
        match part:
            case Everything():
                return every
            case And(children):
                return all_of([walk(child) for child in children])
            case Or(children):
                return any_of([walk(child) for child in children])
            case Not(child):
                return negation(walk(child))
        condition = key_condition(part)
        if condition is None:
            raise TypeError(f"{part!r} is no plain condition: answers() has to be asked first")
        return translate(condition)

    return walk(query)


def sql_condition(query: Query, columns: Mapping[str, str]) -> tuple[str, list[Any]]:
    """Translate a query whose leaves are plain conditions to SQL, for a table with columns of its own for some keys.

    A condition on a column that is NULL is false there, not NULL, so that its negation is true: a run without a key
    matches no condition on it.

    Parameters
    ----------
    query : Query
        What a plan pushed.
    columns : mapping of str to str
        The columns, by key, as the statement has them, quoted if need be.

    Returns
    -------
    sql : str
        What follows WHERE, with a question mark for each value.
    values : list

    Examples
    --------
    >>> from intake_bluesky.query import Start
    >>> sql_condition((Start("scan_id") > 5) & ~(Start("plan_name") == "count"), {"scan_id": "n", "plan_name": "plan"})
    ('coalesce(n > ?, 0) AND NOT (coalesce(plan = ?, 0))', [5, 'count'])
    """

    def translate(condition: KeyCondition) -> tuple[str, list[Any]]:
        column, values = columns[condition.key], condition.value
        match condition.operator:
            case "starts":
                # No LIKE: SQLite's ignores case, and takes % and _ of a uid for wildcards.
                begins = "coalesce(substr({}, 1, {}) = ?, 0)"
                return _joined(" OR ", [(begins.format(column, len(text)), [text]) for text in values])
            case "in":
                # One list, for SQLite takes a thousand conditions in a row, and search by data asks for as many uids.
                return f"coalesce({column} IN ({', '.join('?' * len(values))}), 0)", list(values)
            case operator:
                return f"coalesce({column} {'=' if operator == '==' else operator} ?, 0)", [values]

    return combine(
        query,
        translate,
        every=("1 = 1", []),
        all_of=lambda parts: _joined(" AND ", parts),
        any_of=lambda parts: _joined(" OR ", parts),
        negation=lambda part: (f"NOT ({part[0]})", part[1]),
    )


def _joined(word: str, parts: list[tuple[str, list[Any]]]) -> tuple[str, list[Any]]:
    if not parts:
        return "1 = 0", []  # one of no values
    # AND binds more tightly than OR.
    texts = [f"({sql})" if " OR " in sql else sql for sql, _ in parts]
    return word.join(texts), [value for _, values in parts for value in values]
