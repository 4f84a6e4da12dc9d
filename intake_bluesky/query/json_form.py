"""Queries as JSON: stamped with a version, the same after a round trip; only known nodes are read back."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Final, get_args

from intake_bluesky.errors import UnsupportedQuery
from intake_bluesky.query.nodes import Query
from intake_bluesky.query.paths import Path
from intake_bluesky.query.run_nodes import Node
from intake_bluesky.query.values import FrozenDict

FORMAT: Final = "intake-bluesky query"
VERSION: Final = 1

_CLASSES: Final[Mapping[str, type[Query | Path]]] = {cls.__name__: cls for cls in (Path, *get_args(Node))}
_PAIR: Final = re.compile("[\ud800-\udbff][\udc00-\udfff]")


def to_json(query: Query) -> str:
    """Write a query as JSON text, in ASCII.

    Raises
    ------
    UnsupportedQuery
        If a text in the query holds the two halves of a UTF-16 surrogate pair as two characters: JSON would
        read them back as one.

    Examples
    --------
    >>> from intake_bluesky.query import PartialUID
    >>> to_json(PartialUID("9acjef"))
    '{"intake-bluesky query": 1, "query": {"node": "PartialUID", "uids": ["9acjef"]}}'
    """
    document = {FORMAT: VERSION, "query": _encode(query)}
    if _PAIR.search(json.dumps(document, ensure_ascii=False)):
        raise UnsupportedQuery(f"text with a surrogate pair in two characters has no JSON form of its own: {query!r}")
    return json.dumps(document, allow_nan=False)


def from_json(text: str | bytes) -> Query:
    """Read a query that `to_json` wrote.

    Raises
    ------
    UnsupportedQuery
        If the text is not one, is of another version, or holds a node unknown here.

    Examples
    --------
    >>> from_json('{"intake-bluesky query": 1, "query": {"node": "PartialUID", "uids": ["9acjef"]}}')
    PartialUID('9acjef')
    """
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UnsupportedQuery(f"this is not the JSON of a query: {error}") from error
    if not isinstance(document, dict) or FORMAT not in document:
        raise UnsupportedQuery(f"this JSON is not a query: it has no key {FORMAT!r}; to_json writes one")
    if document[FORMAT] != VERSION:
        raise UnsupportedQuery(
            f"this query is of version {document[FORMAT]!r}, and version {VERSION} is read here: a newer "
            f"intake-bluesky "
            "wrote it"
        )
    try:
        query = _decode(document.get("query"))
    except RecursionError as error:
        raise UnsupportedQuery("this query is nested too deeply") from error
    if not isinstance(query, Query):
        raise UnsupportedQuery(f"the value of 'query' is no query but {query!r}")
    return query


def _encode(value: object) -> Any:
    if isinstance(value, Query | Path):
        # `depth` is no argument: it follows from the others.
        names = [field.name for field in fields(value) if field.init]  # type: ignore[arg-type]  # each is a dataclass
        return {"node": type(value).__name__, **{name: _encode(getattr(value, name)) for name in names}}
    if isinstance(value, tuple):
        return [_encode(item) for item in value]
    if isinstance(value, FrozenDict):
        return {"dict": {key: _encode(item) for key, item in value.items()}}
    if isinstance(value, float) and math.isinf(value):
        return {"float": str(value)}  # JSON has no infinity
    return value


def _decode(value: Any) -> Any:
    if isinstance(value, list):
        return [_decode(item) for item in value]
    if not isinstance(value, dict):
        return value
    if "node" in value:
        return _decode_node(value)
    if value.keys() == {"dict"} and isinstance(value["dict"], dict):
        return {key: _decode(item) for key, item in value["dict"].items()}
    if value in ({"float": "inf"}, {"float": "-inf"}):
        return float(value["float"])
    raise UnsupportedQuery(f"this part of a query is not understood: {value!r}")


def _decode_node(value: Mapping[str, Any]) -> Query | Path:
    cls = _CLASSES.get(value["node"]) if isinstance(value["node"], str) else None
    if cls is None:
        raise UnsupportedQuery(f"no node {value['node']!r} is known here, but {', '.join(sorted(_CLASSES))}")
    names = {name: _decode(item) for name, item in value.items() if name != "node"}
    try:
        return cls.from_fields(**names) if issubclass(cls, Query) else cls(**names)
    except UnsupportedQuery:  # a ValueError that says more than the one below
        raise
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise UnsupportedQuery(f"the node {value['node']} was written with other fields: {error}") from error
