"""Queries as conditions of SQL, exactly as `intake_bluesky.query.matches` has them.

A run is a row with columns of its own for a few paths, and the search form of its documents (``query.form``) for
all others, read with the functions of SQLite's JSON. Whatever a query holds is bound, keys and paths too: no text
of a user becomes SQL.

What is not exact is for the caller to finish; `implied` gives an exact query that it follows from, so that few
runs are left to be finished.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from intake_bluesky.query.conditions import AnyItem, Compare, Contains, HasSize, In, PathQuery
from intake_bluesky.query.form import INTEGERS, Place, code_text
from intake_bluesky.query.kept import Kept
from intake_bluesky.query.nodes import ALL, And, Everything, Not, Or, Query, all_of, any_of
from intake_bluesky.query.paths import Path
from intake_bluesky.query.plan import split
from intake_bluesky.query.runs import PartialUID
from intake_bluesky.query.sql_data import kept_condition
from intake_bluesky.query.sql_json import SQL, Value, joined, json_condition, json_exact
from intake_bluesky.query.sql_regex import implied_by_regex
from intake_bluesky.query.sql_size import stack
from intake_bluesky.query.texts import FullText, Fuzzy, words
from intake_bluesky.query.values import FrozenDict

__all__ = ["LONG_WORD", "Column", "Columns", "Translator", "implied"]

EXACT: Final = 2**53  # up to here the float that is kept of a number is that number
MANY: Final = 1000  # terms of one condition; SQLite has limits on terms and on values
LONGEST: Final = 6000  # values bound in a condition: SQLite takes 32,766, and its time goes with the square
DEEP: Final = 80  # of what the parser remembers; the statement around the condition needs some, too
FEW: Final = 8  # words of a `Fuzzy`, for each of which all words of all runs are looked at
LONG_WORD: Final = 8192  # characters; FTS5 keeps the first 32768 bytes of a word
Kind: TypeAlias = Literal["uid", "text", "number", "time"]


@dataclass(frozen=True, slots=True)
class Column:
    """A column that has the value at one path, where it is of one kind, and NULL where it is not.

    Attributes
    ----------
    name : str
    kind : {"uid", "text", "number", "time"}
        "uid" and "text" hold texts, the first as it is, the other coded; "number" holds ints of 64 bits and floats,
        with infinity for other ints; "time" holds floats, and past every date those in a column ``odd_time``.
    """

    name: str
    kind: Kind

    def answers(self, op: str, values: Sequence[Value]) -> bool:
        """Whether the column alone tells whether its value compares so with each of these."""
        if self.kind == "uid":
            return op == "==" and all(isinstance(value, str) and _plain(value) for value in values)
        if self.kind == "text":
            return all(isinstance(value, str) for value in values)
        most = EXACT if self.kind == "time" else INTEGERS
        return all(type(value) in (int, float) and abs(value) < most for value in values)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Columns:
    """What a translator knows of the tables.

    Attributes
    ----------
    special : mapping of (document, segments) to Column
    documents : mapping of str to str
        The expressions that give a document's search form.
    words : str or None
        The condition that a run has all the words of its one value, each in quotes and with spaces between; None where
        there is no index of words.
    lists : str
        The condition that a run is one of those of which a special path meets a list, into which paths that descend
        look, and that it meets the condition put in for ``{}``. It asks no table that the query is over.
    listing : mapping of str to str
        As `documents`, in that condition.
    similar : str or None
        The condition that a run has a word that is similar to the first of its values, at least as much as the second
        says; it takes both twice. None where there is no index of words.
    measured : str or None
        The condition that statistics are kept of a run, in the tables that `sql_data` tells of; None without these.
    listed : str
        The condition that a row is a run that is shown.
    """

    special: Mapping[Place, Column]
    documents: Mapping[str, str]
    words: str | None
    lists: str
    listing: Mapping[str, str]
    similar: str | None = None
    measured: str | None = None
    listed: str = "listed"


def _plain(text: str) -> bool:
    return text.isprintable() and text.isascii()  # past that, text may hold NUL or surrogates


@dataclass(frozen=True, slots=True)
class Translator:
    """Queries as conditions on certain columns."""

    columns: Columns

    def exact(self, leaf: Query) -> bool:
        """Whether `condition` says of every run what `matches` says."""
        match leaf:
            case Everything():
                return True
            case FullText(text):
                return self.columns.words is not None and max(map(len, words(text))) < LONG_WORD
            case Fuzzy(text):
                return self.columns.similar is not None and len(words(text)) <= FEW
            case PartialUID():
                return len(leaf.uids) <= MANY and all(map(_plain, leaf.uids))
            case Kept():
                return self.columns.measured is not None
        return isinstance(leaf, PathQuery) and leaf.path.document in self.columns.documents and json_exact(leaf)

    def divide(self, query: Query) -> tuple[Query, Query]:
        """Divide a query into what is answered exactly and a residual, as `split` does.

        What makes the condition longer or deeper than SQLite takes is left over as well.
        """
        pushed, residual = split(query, self.exact)
        if self._takes(pushed, LONGEST):
            return pushed, residual
        kept: list[Query] = []
        left = [residual]
        room = LONGEST
        for part in pushed.children if isinstance(pushed, And) else (pushed,):
            fits = self._takes(part, room)
            (kept if fits else left).append(part)
            room -= len(self.condition(part)[1]) if fits else 0
        return all_of(kept), all_of(left)

    def _takes(self, query: Query, room: int) -> bool:
        sql, values = self.condition(query)
        return len(values) <= room and stack(sql) <= DEEP

    def condition(self, query: Query) -> SQL:
        """The condition, and the values that are bound in it, of a query whose leaves are all `exact`.

        Raises
        ------
        TypeError
            For any other query.
        """
        match query:
            case Everything():
                return "1", []
            case And(children):
                return joined(" AND ", [self.condition(child) for child in _gathered(children, negated=True)])
            case Or(children):
                return joined(" OR ", [self.condition(child) for child in _gathered(children, negated=False)])
            case Not(child):
                inner, values = self.condition(child)
                return f"NOT coalesce({inner}, 0)", values  # what a run lacks is not equal to anything
            case PartialUID(uids):
                return joined(" OR ", [("(uid >= ? AND uid < ?)", [uid, _after(uid)]) for uid in uids])
            case FullText(text) if self.columns.words is not None:
                return self.columns.words, [" ".join(f'"{word}"' for word in sorted(words(text)))]
            case Fuzzy(text, threshold) if self.columns.similar is not None:
                similar = self.columns.similar
                return joined(" AND ", [(similar, [word, threshold] * 2) for word in sorted(words(text))])
            case Kept() if self.columns.measured is not None:
                return kept_condition(query, self.columns.measured)
        if isinstance(query, PathQuery) and self.exact(query):
            return self._at_path(query)
        raise TypeError(f"this is not answered in SQL: {query!r}; exact() has to be asked first")

    def _at_path(self, leaf: PathQuery) -> SQL:
        column = self.columns.special.get((leaf.path.document, leaf.path.segments))
        by_column = None if column is None else _by_column(column, leaf)
        if by_column is not None and not leaf.path.descend:
            return by_column
        if by_column is None:
            return json_condition(leaf, self.columns.documents[leaf.path.document])
        sql, values = json_condition(leaf, self.columns.listing[leaf.path.document])
        return joined(
            " OR ",
            [(f"({self.columns.listed} AND {by_column[0]})", by_column[1]), (self.columns.lists.format(sql), values)],
        )


def _gathered(children: Sequence[Query], *, negated: bool) -> list[Query]:
    """Put together what asks whether one path equals one of several values, be they thousands."""
    gathered: dict[Path, list[Value]] = {}
    others: list[Query] = []
    for child in children:
        leaf = child.child if negated and isinstance(child, Not) else None if negated else child
        match leaf:
            case Compare(path, "==", value):
                gathered.setdefault(path, []).append(value)
            case In(path, values):
                gathered.setdefault(path, []).extend(values)
            case _:
                others.append(child)
    found = [In(path, some) if len(some) > 1 else Compare(path, "==", some[0]) for path, some in gathered.items()]
    return [*others, *(~one if negated else one for one in found)]


def _after(prefix: str) -> str:
    """The first text after all that begin so."""
    return prefix[:-1] + chr(ord(prefix[-1]) + 1)


def _by_column(column: Column, leaf: PathQuery) -> SQL | None:
    """The condition on a column; None where the column does not tell."""
    match leaf:
        case Compare(_, op, value) if column.answers(op, (value,)):
            return _compare(column, op, value)
        case In(_, values) if column.answers("==", values):
            return _one_of(column, values)
    return None


def _compare(column: Column, op: str, value: Value) -> SQL:
    sign = "=" if op == "==" else op
    if column.kind == "time":
        return f"({column.name} {sign} ? OR odd_time {sign} ?)", [value, value]
    return f"{column.name} {sign} ?", [code_text(value) if column.kind == "text" else value]  # type: ignore[arg-type]


def _one_of(column: Column, values: Sequence[Value]) -> SQL | None:
    # SQLite reads the digits of a float less exactly than it compares floats: those are bound one by one.
    apart = [value for value in values if isinstance(value, float) or column.kind == "time"]
    if len(apart) > MANY:
        return None
    others = [code_text(value) if isinstance(value, str) else value for value in values if value not in apart]
    parts = [_compare(column, "==", value) for value in apart]
    if others:
        sql = f"{column.name} IN (SELECT value FROM json_each(?))"  # noqa: S608  # the name of a column is not a user's
        parts.append((sql, [json.dumps(others)]))
    return joined(" OR ", parts)


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
            return _some_item(path, inner)
        case Compare(path, "==", tuple() as items) if not path.descend:
            return all_of([HasSize(path, len(items)), *(Contains(path, item) for item in items)])
        case Compare(path, "==", FrozenDict() as items) if not path.descend:
            return all_of(Compare(_within(path, key), "==", item) for key, item in items.items())
        case Fuzzy(text, threshold):
            some = [word for word in sorted(words(text)) if words(word) == {word}][:FEW]
            return Fuzzy(" ".join(some), threshold) if some else ALL
    return implied_by_regex(query)


def _within(path: Path, key: str) -> Path:
    return Path(path.document, (*path.segments, key))


def _some_item(path: Path, inner: Query) -> Query:
    narrower = implied(inner)
    return ALL if isinstance(narrower, Everything) else AnyItem(path, narrower)
