"""What a store can find by a query that it cannot answer: runs of which it may be true, and of which it surely is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

from intake_bluesky.query.data_nodes import CompareStatistic, DataBetween, DataQuery, DataWithin
from intake_bluesky.query.implications import implied
from intake_bluesky.query.nodes import ALL, And, Everything, Not, Or, Query, all_of, any_of
from intake_bluesky.query.split import split, to_nnf

Verdict: TypeAlias = Literal["true", "open"]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Kept(Query):
    """Runs of which the statistics that a store keeps prove a query about data, or leave it open.

    Only for a store that has `intake_bluesky.storage.RunStore.statistics`, which answers it; it is
    about what a store knows now and not about a run, so `matches` refuses it and it is not written as JSON or text.

    Parameters
    ----------
    query : CompareStatistic, DataBetween or DataWithin
    says : {"true", "open"}
        "true": it is true of these runs. "open": it may be true of these, because nothing is kept of them, or what is
        kept does not decide. It is false of all that are neither.
    reading : str
        How files are read, as in `intake_bluesky.storage.Recorded`: what other ways read does not count.

    Examples
    --------
    >>> from intake_bluesky.query import Data
    >>> Kept(Data("theta").max() > 5, "open")
    Kept(Data('theta').max() > 5, 'open')
    """

    query: CompareStatistic | DataBetween | DataWithin
    says: Verdict
    reading: str = ""

    def __repr__(self) -> str:
        reading = f", {self.reading!r}" if self.reading else ""
        return f"Kept({self.query!r}, {self.says!r}{reading})"


class Bounds(NamedTuple):
    """Queries that a store answers, around one that it does not.

    Attributes
    ----------
    possible : Query
        Whatever matches the query matches this.
    certain : Query
        Whatever matches this matches the query.
    between : Query
        What is possible and not certain: it has to be looked at.
    """

    possible: Query
    certain: Query
    between: Query


def bounds(query: Query, exact: Callable[[Query], bool], reading: str | None = None) -> Bounds:
    """Put queries whose leaves a store answers around one, of any that `split` takes, that it does not answer.

    Statistics that the store keeps (see `intake_bluesky.storage.StatisticsCache`) decide about data, where `reading`
    says how files are read.

    Examples
    --------
    >>> from intake_bluesky.query import Data, Start
    >>> query = Start("sample").regex("^Ni.*foil") & (Data("theta").max() > 5)
    >>> possible, certain, _ = bounds(query, lambda leaf: repr(leaf) == "Start('sample').regex('^Ni')", reading="")
    >>> possible.children[0]
    Start('sample').regex('^Ni')
    >>> possible.children[1]
    Kept(Data('theta').max() > 5, 'true') | Kept(Data('theta').max() > 5, 'open')
    >>> certain
    ~ALL
    """
    return _bounds(to_nnf(query), exact, reading)


def _bounds(query: Query, exact: Callable[[Query], bool], reading: str | None) -> Bounds:
    if isinstance(query, And | Or):
        join = all_of if isinstance(query, And) else any_of
        parts = [_bounds(child, exact, reading) for child in query.children]
        possible, certain = join(part.possible for part in parts), join(part.certain for part in parts)
        return Bounds(possible, certain, possible & ~certain)
    leaf = query.child if isinstance(query, Not) else query
    if isinstance(leaf, Everything) or exact(leaf):
        return Bounds(query, query, ~ALL)
    if isinstance(leaf, DataQuery) and reading is not None:
        true, open_ = Kept(leaf, "true", reading), Kept(leaf, "open", reading)
        # Of a run that is true by one stream, or by an answer that is kept, another stream may still be open.
        between = open_ & ~true
        if isinstance(query, Not):
            return Bounds(~true, ~(true | open_), between)
        return Bounds(true | open_, true, between)
    # What follows from a condition does not follow from its negation.
    narrower, _ = split(ALL if isinstance(query, Not) else implied(leaf), exact)
    return Bounds(narrower, ~ALL, narrower)
