"""Regular expressions that SQL can answer: those that are, or begin with, plain text."""

from __future__ import annotations

import re
from typing import Final

from intake_bluesky.query.conditions import Regex
from intake_bluesky.query.form import spelled_plainly
from intake_bluesky.query.nodes import ALL, Query

__all__ = ["implied_by_regex", "literal"]

PLAIN: Final = re.compile(r"(?P<anchor>\^?)(?P<text>[^\\.^$*+?{}\[\]|()]+)", re.DOTALL)
REPEATED: Final = frozenset("*+?{")


def literal(leaf: Regex) -> tuple[str, bool] | None:
    """The text that a pattern finds and whether only at the beginning; None where it is more than a text.

    Examples
    --------
    >>> literal(Regex("x", "^Ni")), literal(Regex("x", "Ni.")), literal(Regex("x", "Ni", "i"))
    (('Ni', True), None, None)
    """
    found = PLAIN.fullmatch(leaf.pattern)
    if found is None or not set(leaf.flags) <= {"a", "s"} or not spelled_plainly(found["text"]):
        return None
    return found["text"], bool(found["anchor"])


def implied_by_regex(query: Query) -> Query:
    """A simpler condition that a pattern implies: the text it begins with; `ALL` where there is none.

    Examples
    --------
    >>> implied_by_regex(Regex("x", "scan.*fast"))
    Start('x').regex('scan')
    """
    if not isinstance(query, Regex) or "|" in query.pattern or not set(query.flags) <= {"a", "s"}:
        return ALL
    found = PLAIN.match(query.pattern)
    if found is None:
        return ALL
    text = found["text"]
    if query.pattern[found.end() : found.end() + 1] in REPEATED:
        text = text[:-1]
    return Regex(query.path, found["anchor"] + text) if text else ALL
