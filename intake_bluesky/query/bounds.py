"""What a store can say of a query that it cannot answer: of which runs it may be true, and of which it surely is."""

from __future__ import annotations

from collections.abc import Callable

from intake_bluesky.query.data import DataQuery
from intake_bluesky.query.kept import Kept
from intake_bluesky.query.nodes import ALL, And, Everything, Not, Or, Query, all_of, any_of
from intake_bluesky.query.plan import split, to_nnf
from intake_bluesky.query.sql import implied

__all__ = ["bounds"]


def bounds(query: Query, exact: Callable[[Query], bool], reading: str | None = None) -> tuple[Query, Query]:
    """Put two queries that a store answers around one that it does not.

    Parameters
    ----------
    query
        Any query that `split` takes.
    exact
        Tells whether the store answers a leaf exactly.
    reading
        How files are read, where the store keeps statistics (see `intake_bluesky.storage.SupportsStatistics`), which
        then speak for data. None where it keeps none.

    Returns
    -------
    possible, certain : Query
        Both of leaves that are `exact`. Whatever matches the query matches `possible`, and whatever matches `certain`
        matches the query: what lies between has to be looked at.

    Examples
    --------
    >>> from intake_bluesky.query import Data, Start
    >>> query = Start("sample").regex("^Ni.*foil") & (Data("theta").max() > 5)
    >>> possible, certain = bounds(query, lambda leaf: repr(leaf) == "Start('sample').regex('^Ni')", reading="")
    >>> possible.children[0]
    Start('sample').regex('^Ni')
    >>> possible.children[1]
    Kept(Data('theta').max() > 5, 'true') | Kept(Data('theta').max() > 5, 'open')
    >>> certain
    ~ALL
    """
    return _bounds(to_nnf(query), exact, reading)


def _bounds(query: Query, exact: Callable[[Query], bool], reading: str | None) -> tuple[Query, Query]:
    if isinstance(query, And | Or):
        join = all_of if isinstance(query, And) else any_of
        pairs = [_bounds(child, exact, reading) for child in query.children]
        return join(possible for possible, _ in pairs), join(certain for _, certain in pairs)
    leaf = query.child if isinstance(query, Not) else query
    if isinstance(leaf, Everything) or exact(leaf):
        return query, query
    if isinstance(leaf, DataQuery) and reading is not None:
        true, open_ = Kept(leaf, "true", reading), Kept(leaf, "open", reading)
        return (~true, ~(true | open_)) if isinstance(query, Not) else (true | open_, true)
    narrower, _ = split(ALL if isinstance(query, Not) else implied(leaf), exact)
    return narrower, ~ALL
