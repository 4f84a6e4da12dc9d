"""What a query means, in plain Python: every translator of every driver agrees with this.

The decided cases, each with a test:

- A missing key makes every comparison false, so its negation true; ``path != value`` is ``~(path == value)``.
- ``== None`` is true of an explicit null alone; presence is asked with ``.exists()``, which null satisfies.
  ``<`` and the like against None, or of a null, are false; ``.is_in`` follows ``==``.
- NaN in a document makes every comparison false, so ``!=`` true; ``.is_nan()`` finds it. A query holds no
  NaN.
- Ints and floats compare exactly, as numbers do in mathematics, of any size. A bool equals only a bool.
- There is no order across types (numbers, text, bools); text is ordered by code points.
- A segment in digits is an index where the value is a list, and a key where it is a dict.
- Lists and dicts are compared whole: ``==`` takes a list of equal items, or a dict of equal values at the
  same keys, in any order; ``.contains(v)`` and ``.any(...)`` look into a list.
- A run without a stop document has no value at any path of ``stop``.

Paths that descend (``descend=True``, and all of `from_mongo`) mean what MongoDB means instead: the list
itself or any of its items may satisfy; ``== None`` is also true where the key is missing; equal dicts have
their keys in the same order.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, Protocol

from intake_bluesky.errors import UnsupportedQuery
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
from intake_bluesky.query.nodes import And, Everything, Not, Or, Query
from intake_bluesky.query.paths import MISSING, Path, is_list, lookup
from intake_bluesky.query.runs import (
    FullText,
    PartialUID,
    ScanID,
    ScanIDRange,
    TimeRange,
    words,
)
from intake_bluesky.query.values import Value, equal, is_number

_ORDER: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


class RunView(Protocol):
    """What a query sees of a run. Documents are plain Python, as a store yields them.

    Queries over descriptors and over data will also ask for ``descriptors`` (a sequence of mappings) and
    ``statistics(stream, key)``; `documents_needed` tells what a query asks for, so that no more need be read.
    """

    @property
    def start(self) -> Mapping[str, Any] | None:
        """The run start document."""

    @property
    def stop(self) -> Mapping[str, Any] | None:
        """The run stop document; None while the run is going on, or if it never came."""


def matches(query: Query, run: RunView) -> bool:
    """Tell whether a run matches a query.

    Raises
    ------
    UnsupportedQuery
        If the query cannot be put to one run alone: ``ScanID(5, duplicates="latest")``.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> run = SimpleNamespace(start={"uid": "9acjef", "plan_name": "scan"}, stop=None)
    >>> matches(Compare("plan_name", "==", "scan"), run)
    True
    """
    return _holds(query, {"start": run.start or {}, "stop": run.stop or {}})


def _holds(query: Query, documents: Mapping[str, Any]) -> bool:
    match query:
        case Everything():
            return True
        case And(children):
            return all(_holds(child, documents) for child in children)
        case Or(children):
            return any(_holds(child, documents) for child in children)
        case Not(child):
            return not _holds(child, documents)
        case TimeRange() | ScanID() | ScanIDRange():
            return _holds(query.expanded(), documents)
        case PartialUID(uids):
            uid = documents["start"].get("uid")
            return isinstance(uid, str) and uid.startswith(uids)
        case FullText(text):
            return _has_words(documents["start"], words(text))
    if not isinstance(query, PathQuery):
        raise UnsupportedQuery(f"{query!r} of type {type(query).__name__} is no query that this version knows")
    if query.path.document not in documents:
        raise UnsupportedQuery(f"Item(...) is the item of a list, and stands inside .any(...) only: {query!r}")
    whole = isinstance(query, HasSize | AnyItem | Contains)
    return any(_satisfies(value, query) for value in lookup(documents[query.path.document], query.path, whole=whole))


def _satisfies(value: Any, query: PathQuery) -> bool:
    """Tell whether one value found at the path is what the node asks for."""
    match query:
        case Compare(path, "==", expected):
            return _equals(value, expected, path)
        case Compare(_, op, bound):
            return _comparable(value, bound) and _ORDER[op](value, bound)
        case In(path, values):
            return any(_equals(value, expected, path) for expected in values)
    if value is MISSING:
        return False
    match query:
        case Exists():
            return True
        case IsNaN():
            return isinstance(value, float) and math.isnan(value)
        case Regex():
            return isinstance(value, str) and query.compiled().search(value) is not None
        case Contains(path, expected):
            return is_list(value) and any(_equals(item, expected, path) for item in value)
        case HasSize(_, size):
            return is_list(value) and len(value) == size
        case AnyItem(_, inner):
            return is_list(value) and any(_item_holds(item, inner, over_keys=query.over_keys) for item in value)


def _equals(value: Any, expected: Value, path: Path) -> bool:
    if value is MISSING:
        return expected is None
    return equal(value, expected, ordered=path.descend)


def _comparable(value: Any, bound: Value) -> bool:
    if isinstance(bound, bool):
        return isinstance(value, bool)
    if isinstance(bound, str):
        return isinstance(value, str)
    return is_number(bound) and is_number(value)


def _item_holds(item: Any, query: Query, *, over_keys: bool) -> bool:
    if over_keys and not (isinstance(item, Mapping) or is_list(item)):
        return False
    return _holds(query, {"item": item})


def _has_words(start: Mapping[str, Any], wanted: frozenset[str]) -> bool:
    for text in _texts(start):
        wanted -= words(text)
        if not wanted:
            return True
    return False


def _texts(document: Mapping[str, Any]) -> Iterator[str]:
    # A stack, not recursion: how deep a document goes is not ours to limit.
    waiting: list[Any] = [document]
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, Mapping):
            waiting.extend(value.values())
        elif is_list(value):
            waiting.extend(value)
