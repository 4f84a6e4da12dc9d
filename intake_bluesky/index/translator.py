"""Queries as conditions of SQL, exactly as `intake_bluesky.query.matches` has them.

A run is a row with columns of its own for a few paths, and the search form of its documents (`search_form`) for
all others, read with the database's functions for JSON. Whatever a query holds is bound, keys and paths too: no text
of a user becomes SQL. Where databases differ is in a `Dialect`: all else is here, once.

What is not exact is for the caller to finish; `implied` gives an exact query that it follows from, so that few
runs are left to be finished.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from intake_bluesky.index.dialect import Dialect
from intake_bluesky.index.json_conditions import ALWAYS, SQL, Value, joined, json_exact, literal, negated
from intake_bluesky.index.search_form import Place, code_text
from intake_bluesky.index.sqlite import LONG_WORD, SQLITE
from intake_bluesky.index.statistics_conditions import kept_condition
from intake_bluesky.integers import FLOAT_EXACT, INT64_END
from intake_bluesky.query.implications import FEW
from intake_bluesky.query.nodes import And, Everything, Not, Or, Query, all_of
from intake_bluesky.query.path_nodes import Compare, In, PathQuery, Regex
from intake_bluesky.query.paths import Path
from intake_bluesky.query.pruning import Kept
from intake_bluesky.query.run_nodes import PartialUID
from intake_bluesky.query.split import split
from intake_bluesky.query.words import FullText, Fuzzy, words
from intake_bluesky.storage.contract import Plan
from intake_bluesky.storage.order import Order

__all__ = ["LONG_WORD", "Column", "Columns", "Translator"]

MANY: Final = 1000  # terms of one condition; SQLite has limits on terms and on values
Kind: TypeAlias = Literal["uid", "text", "number", "time"]


@dataclass(frozen=True, slots=True)
class Column:
    """A column that has the value at one path, where it is of one kind, and NULL where it is not.

    "uid" and "text" hold texts, the first as it is, the other coded; "number" holds ints of 64 bits and floats, with
    infinity for other ints; "time" holds floats, and past every date those in a column ``odd_time``.
    """

    name: str
    kind: Kind
    # Up to how many characters texts are whole in it: of longer ones it has the beginning, and one more. None where all
    # are whole.
    longest: int | None = None

    @property
    def is_whole(self) -> str:
        """The condition that the column has a text, the whole of it."""
        return f"{self.name} IS NOT NULL" if self.longest is None else f"length({self.name}) <= {self.longest}"

    @property
    def is_not_whole(self) -> str:
        """The condition that it has not."""
        none = f"{self.name} IS NULL"
        return none if self.longest is None else f"({none} OR {self.is_partial})"

    @property
    def is_partial(self) -> str:
        """The condition that the column has the beginning of a text."""
        return f"length({self.name}) > {self.longest}"

    def answers(self, op: str, values: Sequence[Value]) -> bool:
        """Whether the column alone decides whether its value compares so with each of these."""
        if self.kind == "uid":
            return op == "==" and all(isinstance(value, str) and _plain(value) for value in values)
        if self.kind == "text":
            texts = [code_text(value) for value in values if isinstance(value, str)]
            return len(texts) == len(values) and (self.longest is None or max(map(len, texts)) <= self.longest)
        # The time is a float, in which larger ints are rounded.
        most = FLOAT_EXACT if self.kind == "time" else INT64_END
        return all(type(value) in (int, float) and abs(value) < most for value in values)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Columns:
    """What a translator knows of the tables."""

    special: Mapping[Place, Column]
    documents: Mapping[str, str]  # the expressions that give a document's search form
    # The condition that a run has all the words of its one value, as the dialect gives it; None where there is no index
    # of words.
    words: str | None
    # The condition that a run is one of those of which a special path meets a list, into which paths that descend look,
    # and that it meets the condition put in for ``{}``. It asks no table that the query is over.
    lists: str
    listing: Mapping[str, str]  # as `documents`, in that condition
    # The condition that a run has a word that is similar to the first of its values, at least as much as the second
    # says; it takes both twice. None where there is no index of words.
    similar: str | None = None
    listed: str = "listed"  # the condition that a row is a run that is shown


def _plain(text: str) -> bool:
    return text.isprintable() and text.isascii()  # past that, text may hold NUL or surrogates


@dataclass(frozen=True, slots=True)
class Translator:
    """Queries as conditions on certain columns, in the SQL of one database."""

    columns: Columns
    dialect: Dialect = SQLITE

    def exact(self, leaf: Query) -> bool:
        """Whether `condition` and `matches` agree on every run."""
        match leaf:
            case FullText(text):
                return self.columns.words is not None and self.dialect.words(words(text)) is not None
            case Fuzzy(text):
                return self.columns.similar is not None and len(words(text)) <= FEW
            case PartialUID():
                return len(leaf.uids) <= MANY and all(map(_plain, leaf.uids))
            case Everything() | Kept():
                return True
        return isinstance(leaf, PathQuery) and leaf.path.document in self.columns.documents and json_exact(leaf)

    def plan(self, query: Query, order: Order) -> Plan:
        """Divide a query as `split` does into what is answered exactly, translated, and a residual.

        What makes the condition larger than the database takes is left over as well.
        """
        pushed, residual = split(query, self.exact)
        room = self.dialect.ROOM
        compiled = self.condition(pushed)
        if self.dialect.takes(compiled, room):
            return Plan(pushed, residual, True, order, compiled)
        kept: list[Query] = []
        left = [residual]
        for part in pushed.children if isinstance(pushed, And) else (pushed,):
            condition = self.condition(part)
            fits = self.dialect.takes(condition, room)
            (kept if fits else left).append(part)
            room -= len(condition[1]) if fits else 0
        pushed = all_of(kept)
        return Plan(pushed, all_of(left), True, order, self.condition(pushed))

    def compiled(self, plan: Plan) -> SQL:
        """The condition that a plan of this translator has, or of a plan made by hand that of its query."""
        return self.condition(plan.pushed) if plan.compiled is None else plan.compiled

    def condition(self, query: Query) -> SQL:
        """The condition, and the values that are bound in it, of a query whose leaves are all `exact`.

        Raises
        ------
        TypeError
            For any other query.
        """
        match query:
            case Everything():
                return ALWAYS
            case And(children):
                return joined(" AND ", [self.condition(child) for child in _gathered(children, negated=True)])
            case Or(children):
                return joined(" OR ", [self.condition(child) for child in _gathered(children, negated=False)])
            case Not(child):
                return negated(self.condition(child))
            case PartialUID(uids):
                # A range is found by the index on uid; LIKE ignores case in SQLite.
                return joined(" OR ", [("(uid >= ? AND uid < ?)", [uid, _after(uid)]) for uid in uids])
            case FullText(text) if self.columns.words is not None:
                return self.columns.words, [self.dialect.words(words(text))]
            case Fuzzy(text, threshold) if self.columns.similar is not None:
                similar = self.columns.similar
                return joined(" AND ", [(similar, [word, threshold] * 2) for word in sorted(words(text))])
            case Kept():
                return kept_condition(query, self.dialect)
        if isinstance(query, PathQuery) and self.exact(query):
            return self._at_path(query)
        raise TypeError(f"this is not answered in SQL: {query!r}; exact() has to be asked first")

    def _at_path(self, leaf: PathQuery) -> SQL:
        by_column = self._by_column(leaf)
        if by_column is None:
            return self.dialect.json(leaf, self.columns.documents[leaf.path.document])
        if not leaf.path.descend:
            return by_column
        # Columns have no lists: the runs that have one on the path are looked into.
        sql, values = self.dialect.json(leaf, self.columns.listing[leaf.path.document])
        shown = f"({self.columns.listed} AND {by_column[0]})", by_column[1]
        return joined(" OR ", [shown, (self.columns.lists.format(sql), values)])

    def has_column(self, leaf: PathQuery) -> bool:
        """Whether a column decides, so that few documents are looked into."""
        return self._by_column(leaf) is not None

    def _by_column(self, leaf: PathQuery) -> SQL | None:
        """The condition on a column; None where there is none, or it does not decide."""
        column = self.columns.special.get((leaf.path.document, leaf.path.segments))
        if column is None:
            return None
        match leaf:
            case Compare(_, op, value) if column.answers(op, (value,)):
                return self._compared(column, op, value)
            case In(_, values) if column.answers("==", values):
                return self._one_of(column, values)
            case Regex() if column.kind == "text":
                return self._by_part(column, leaf)
        return None

    def _compared(self, column: Column, op: str, value: Value) -> SQL:
        sign = "=" if op == "==" else op
        bound = self._bound(column, value)
        if column.kind == "time":
            return f"({column.name} {sign} ? OR odd_time {sign} ?)", [bound, bound]
        return f"{column.name} {sign} ?", [bound]

    def _one_of(self, column: Column, values: Sequence[Value]) -> SQL | None:
        if len(values) > 1 and column.kind != "time":
            return self.dialect.among(column.name, column.kind, [self._bound(column, value) for value in values])
        return None if len(values) > MANY else joined(" OR ", [self._compared(column, "==", one) for one in values])

    def _bound(self, column: Column, value: Any) -> Any:
        if column.kind == "uid":
            return value
        return code_text(value) if column.kind == "text" else self.dialect.SPOT.bind(value)

    def _by_part(self, column: Column, leaf: Regex) -> SQL | None:
        """Whether a text is part of that of a column; where the column does not have it whole, of that in the form."""
        found = literal(leaf)
        if found is None or (column.longest is not None and len(found[0]) > column.longest):
            return None
        text, anchored = found
        part = self.dialect.part(column.name, text, anchored=anchored)
        if part is None or anchored or column.longest is None:
            return part
        sql, values = self.dialect.json(leaf, self.columns.documents[leaf.path.document])
        return joined(" OR ", [part, (f"({column.is_partial} AND {sql})", values)])


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
