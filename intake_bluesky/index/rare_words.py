"""Words that runs have to have for a query to be true of them: where few runs do, SQL looks into these alone.

Equality with a text at a path without a column is looked for in every run. But the words of that text are words of
the run, of which there is an index. Where nearly all runs have them, asking it for all of them is worse than
stopping at the first page of hits; so it is asked first how many there are.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from intake_bluesky.index.json_conditions import SQL, joined, literal
from intake_bluesky.index.translator import Translator
from intake_bluesky.query.nodes import ALL, And, Everything, Or, Query, all_of, any_of, leaves, replace_leaves
from intake_bluesky.query.path_nodes import AnyItem, Compare, Contains, In, PathQuery, Regex
from intake_bluesky.query.values import FrozenDict, Value
from intake_bluesky.query.words import FullText, words
from intake_bluesky.storage.contract import Plan

__all__ = ["implied_words", "narrowed", "rare_words"]

TEXTS: Final = 8  # alternatives, and texts in all, that are worth asking for
WORDS: Final = 8  # of a text, that are asked for
ENCLOSED: Final = re.compile(r"(?<=\W)\w+(?=\W)", re.ASCII)


def narrowed(plan: Plan, search: Translator, rare: Callable[[str, int], bool]) -> SQL:
    """The condition of a plan, and beside it which rare words its runs have; the meaning stays the same.

    `rare` tells of a word, as `words` gives it, whether the runs with it are so few that each may be looked at, and
    those of as many words as its second argument says.

    Examples
    --------
    >>> from intake_bluesky.query import Start
    >>> from intake_bluesky.index.tables import COLUMNS
    >>> from intake_bluesky.storage import Order
    >>> search = Translator(COLUMNS)
    >>> plan = search.plan(Start("operator") == "user 7", Order.NEWEST)
    >>> narrowed(plan, search, lambda word, number: word == "7")[1][-1]
    '"7"'
    """
    condition = search.compiled(plan)
    rare_ones = rare_words(plan.pushed, search, rare)
    if isinstance(rare_ones, Everything):
        return condition
    both = joined(" AND ", [condition, search.condition(rare_ones)])
    return both if search.dialect.takes(both, search.dialect.ROOM) else condition


def rare_words(query: Query, search: Translator, rare: Callable[[str, int], bool]) -> Query:
    """The rare words that each run has of which a query is true; `ALL` where there are none.

    Examples
    --------
    >>> from intake_bluesky.query import Start
    >>> from intake_bluesky.index.tables import COLUMNS
    >>> rare_words(Start("operator") == "user 7", Translator(COLUMNS), lambda word, number: word == "7")
    FullText('7')
    """
    implied = ALL if search.columns.words is None else implied_words(query, search.has_column)
    number = sum(isinstance(leaf, FullText) for leaf in leaves(implied))
    if number > TEXTS:
        return ALL
    return replace_leaves(implied, lambda leaf: _rare_one(leaf, search, lambda word: rare(word, number)))


def _rare_one(leaf: Query, search: Translator, rare: Callable[[str], bool]) -> Query:
    """A rare one of some words, sought among the longest first; `ALL` where there is none."""
    if not isinstance(leaf, FullText):
        return leaf
    some = sorted(words(leaf.text), key=lambda word: (-len(word), word))[:WORDS]
    return next((FullText(word) for word in some if search.exact(FullText(word)) and rare(word)), ALL)


def implied_words(query: Query, answered: Callable[[PathQuery], bool] = lambda leaf: False) -> Query:
    """The words that each run has of which a query is true, as `FullText` finds them; `ALL` where there are none.

    `answered` tells which leaves need no words, since they are found without.

    Examples
    --------
    >>> from intake_bluesky.query import Key, Start
    >>> implied_words((Start("operator") == "Anna B.") & (Start("num") > 5) & (Start("x") != "y"))
    FullText('anna b')
    >>> implied_words(Start("samples").any(Key("name").is_in(["Ni", "Co"])))
    FullText('ni') | FullText('co')
    >>> implied_words(Start("sample").regex("^Ni foil")), implied_words(Start("x") == "-")
    (FullText('ni'), ALL)
    """
    match query:
        case And(children):
            return all_of(implied_words(child, answered) for child in children)
        case Or(children) if len(children) <= TEXTS:
            return any_of(implied_words(child, answered) for child in children)
    if not isinstance(query, PathQuery) or query.path.document not in ("start", "item") or answered(query):
        return ALL
    match query:
        case AnyItem(_, inner):
            return ALL if isinstance(inner, Everything) else implied_words(inner, answered)
        case Compare(_, "==", value) | Contains(_, value):
            return _all(_words_of(value))
        case In(_, values) if len(values) <= TEXTS:
            return any_of(_all(_words_of(value)) for value in values)
        case Regex():
            return _all(_enclosed(query))
    return ALL


def _all(some: frozenset[str]) -> Query:
    known = sorted(word for word in some if words(word) == {word})  # to fold what is folded may change it once more
    return FullText(" ".join(known)) if known else ALL


def _words_of(value: Value) -> frozenset[str]:
    if isinstance(value, str):
        return words(value)
    items = value.values() if isinstance(value, FrozenDict) else value if isinstance(value, tuple) else ()
    return frozenset().union(*map(_words_of, items))


def _enclosed(leaf: Regex) -> frozenset[str]:
    """The words that are whole within a pattern: past its ends the text may go on with what makes them others."""
    found = literal(leaf)
    if found is None or not found[0].isascii():
        return frozenset()
    # At an anchor, no word of the document begins earlier: a space ends it, too.
    return frozenset().union(*map(words, ENCLOSED.findall(f" {found[0]}" if found[1] else found[0])))
