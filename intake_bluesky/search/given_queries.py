"""What people write for a query, and the query that it is."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from intake_bluesky.errors import QuerySyntaxError, UnsupportedQuery
from intake_bluesky.query import ALL, FullText, Key, Query, all_of, from_json, to_json
from intake_bluesky.query.json_form import FORMAT

__all__ = ["as_query", "lasting_query"]

TEXT: Final = "text:"
OPERATOR: Final = re.compile(r"""==|!=|<|>|=\s*['"]""")
"""What no words have: text with one of these is never searched for as words."""


def as_query(query: Query | Mapping[str, Any] | str | None, equal: Mapping[str, Any] | None = None) -> Query:
    """Make a query of what people write: a query, MongoDB's form, text, or None for all.

    Text that `from_text` reads is that query, and so is any text after ``text:``; other text is words, unless it has an
    operator: then what `from_text` finds wrong is raised.

    Parameters
    ----------
    query : Query, mapping, str or None
    equal : mapping, optional
        Values of keys, as `Key` takes them, that runs have as well.

    Raises
    ------
    UnsupportedQuery
        When it is none of these, or asks for something that no query does.
    QuerySyntaxError
        When text cannot be read.

    Examples
    --------
    >>> from intake_bluesky.query import from_mongo
    >>> as_query({"plan_name": "scan"}) == from_mongo({"plan_name": "scan"})
    True
    >>> as_query("nickel foil", {"scan_id": 5})
    FullText('nickel foil') & (Start('scan_id') == 5)
    >>> as_query("plan_name == 'scan'"), as_query("text: sample exists")
    (Start('plan_name') == 'scan', Start('sample').exists())
    """
    for key, value in (equal or {}).items():
        if isinstance(value, Query):
            raise UnsupportedQuery(f"the value of {key!r} is a value that runs have, not a query: search({value!r})")
    return all_of([_alone(query), *(Key(key) == value for key, value in (equal or {}).items())])


def _alone(query: Query | Mapping[str, Any] | str | None) -> Query:
    if query is None:
        return ALL
    if isinstance(query, Query):
        return query
    if isinstance(query, str):
        return _from_str(query)
    if isinstance(query, Mapping):
        # YAML gives the JSON form of a query as a dict.
        if FORMAT in query:
            return from_json(json.dumps(query))
        from intake_bluesky.query import from_mongo  # late: the parser

        return from_mongo(query)
    raise UnsupportedQuery(
        f"a search takes a query, a dict in MongoDB's form, or text, not {type(query).__name__}: {query!r}"
    )


def lasting_query(query: Query | Mapping[str, Any] | str | None) -> Query:
    """The query of a catalog, which a YAML file gives: as `as_query`, but text has to say that it is a query.

    Such text has always been words there, which find other runs.

    Examples
    --------
    >>> lasting_query("plan_name == 'scan'")
    Traceback (most recent call last):
        ...
    intake_bluesky.errors.UnsupportedQuery: is "plan_name == 'scan'" a query or words? ...
    """
    found = as_query(query)
    if isinstance(query, str) and not query.startswith(TEXT) and not isinstance(found, FullText):
        words = to_json(FullText(query))
        raise UnsupportedQuery(
            f"is {query!r} a query or words? The query of a catalog says which: write {f'{TEXT} {query}'!r} for the "
            f"query, and {words} for runs that have all of these words"
        )
    return found


def _from_str(text: str) -> Query:
    from intake_bluesky.query import from_text  # late: the parser

    if text.startswith(TEXT):
        return from_text(text.removeprefix(TEXT))
    try:
        return from_text(text)
    except QuerySyntaxError:
        if OPERATOR.search(text):
            raise
        return FullText(text)
