"""Simpler queries that follow from a query: a store that cannot answer the one may answer the other."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Final

from intake_bluesky.query.nodes import ALL, And, Everything, Or, Query, all_of, any_of
from intake_bluesky.query.path_nodes import AnyItem, Compare, Contains, HasSize, Regex
from intake_bluesky.query.values import FrozenDict
from intake_bluesky.query.words import Fuzzy, words

FEW: Final = 8  # words of a `Fuzzy`, for each of which all words of all runs are looked at
PLAIN: Final = re.compile(r"(?P<anchor>\^?)(?P<text>[^\\.^$*+?{}\[\]|()]+)", re.DOTALL)
REPEATED: Final = frozenset("*+?{")


def implied(query: Query) -> Query:
    """A query that is true of every run of which this one is, as narrow as it can be said in simple conditions.

    Examples
    --------
    >>> from intake_bluesky.query import Start
    >>> implied(Start("sample").regex("^Ni.*foil$"))
    Start('sample').regex('^Ni')
    """
    match query:
        case And(children):
            return all_of(implied(child) for child in children)
        case Or(children):
            return any_of(implied(child) for child in children)
        case AnyItem(path, inner) if not path.descend:
            narrower = implied(inner)
            return ALL if isinstance(narrower, Everything) else AnyItem(path, narrower)
        case Compare(path, "==", tuple() as items) if not path.descend:
            # The order of the items is not asked, nor how often one occurs: that is left to `matches`.
            return all_of([HasSize(path, len(items)), *(Contains(path, item) for item in items)])
        case Compare(path, "==", FrozenDict() as items) if not path.descend:
            return all_of(
                Compare(replace(path, segments=(*path.segments, key)), "==", item) for key, item in items.items()
            )
        case Fuzzy(text, threshold):
            # Without words that folding changes once more: as texts they are other words.
            some = [word for word in sorted(words(text)) if words(word) == {word}][:FEW]
            return Fuzzy(" ".join(some), threshold) if some else ALL
    return _implied_by_regex(query)


def _implied_by_regex(query: Query) -> Query:
    """A simpler condition that a pattern implies: the text it begins with; `ALL` where there is none.

    Examples
    --------
    >>> _implied_by_regex(Regex("x", "scan.*fast"))
    Start('x').regex('scan')
    """
    # An alternative need not begin so; other flags than ASCII and DOTALL change what a text finds.
    if not isinstance(query, Regex) or "|" in query.pattern or not set(query.flags) <= {"a", "s"}:
        return ALL
    found = PLAIN.match(query.pattern)
    if found is None:
        return ALL
    text = found["text"]
    if query.pattern[found.end() : found.end() + 1] in REPEATED:
        text = text[:-1]  # the last character may be there no time at all
    return Regex(query.path, found["anchor"] + text) if text else ALL
