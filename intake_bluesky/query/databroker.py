"""The query names of databroker 2 that are not nodes or builders here, with the same arguments.

`TimeRange`, `PartialUID`, `ScanID`, `ScanIDRange`, `FullText`, `In`, `Contains` and `Regex` of this package
take databroker's arguments as they are.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from intake_bluesky.errors import UnsupportedQuery
from intake_bluesky.query.builders import Key
from intake_bluesky.query.mongo_form import parse
from intake_bluesky.query.nodes import ALL, Query
from intake_bluesky.query.path_nodes import Compare, Operator
from intake_bluesky.query.server_text import ServerText
from intake_bluesky.query.words import FullText

_OPERATORS: Final[Mapping[str, Operator]] = {"lt": "<", "le": "<=", "gt": ">", "ge": ">="}


def Eq(key: str, value: object) -> Query:  # databroker's name
    """``Key(key) == value``."""
    return Key(key) == value


def NotEq(key: str, value: object) -> Query:
    """``Key(key) != value``."""
    return Key(key) != value


def NotIn(key: str, values: Iterable[object]) -> Query:
    """``Key(key).not_in(values)``."""
    return Key(key).not_in(values)


def Comparison(operator: str, key: str, value: object) -> Query:
    """``Key(key)`` compared with a value by ``"lt"``, ``"le"``, ``"gt"`` or ``"ge"``.

    Examples
    --------
    >>> Comparison("ge", "num_points", 5)
    Start('num_points') >= 5
    """
    if operator not in _OPERATORS:
        raise UnsupportedQuery(f"an operator is one of {', '.join(_OPERATORS)}, not {operator!r}")
    return Compare(key, _OPERATORS[operator], value)


def TextQuery(text: str) -> Query:
    """Databroker 1's name for `FullText`.

    Examples
    --------
    >>> TextQuery("Nickel")
    FullText('Nickel')
    """
    return FullText(text)


def RawMongo(start: str | Mapping[str, Any]) -> Query:
    """Read a MongoDB query over the run start document, as a dict or its JSON.

    It means what `from_mongo` means, but the keys are those of the start document, without a prefix; and ``$text`` at
    the top may stand beside them, which only a MongoDB with a text index answers: see `ServerText`.

    Examples
    --------
    >>> RawMongo(start={"start.x": 1})
    Start('start.x', descend=True) == 1
    """
    if not isinstance(start, str):
        return _with_text(start)
    try:
        return _with_text(json.loads(start))
    except (ValueError, RecursionError) as error:
        if isinstance(error, UnsupportedQuery):  # a ValueError, too
            raise
        raise UnsupportedQuery(f"RawMongo takes a dict or its JSON: {error}") from error


def _with_text(start: Any) -> Query:
    if not isinstance(start, Mapping) or not isinstance(start.get("$text"), Mapping):
        return parse(start, document="start")
    others = {key: value for key, value in start.items() if key != "$text"}
    text = ServerText(json.dumps(dict(start["$text"])))
    return text & (parse(others, document="start") if others else ALL)
