"""Dividing a query between a store, which answers what it can exactly, and `matches`, for the rest."""

from __future__ import annotations

import operator
from collections.abc import Callable

from intake_bluesky.query.nodes import And, Everything, Not, Or, Query, all_of, any_of
from intake_bluesky.query.run_nodes import documents_needed


def to_nnf(query: Query) -> Query:
    """Bring a query to negation normal form: `Not` stands only before a leaf, and sugar is written out.

    After this there is no `TimeRange`, nor a `ScanID` or `ScanIDRange`, of which only ``duplicates="all"``
    can be written out.

    Raises
    ------
    UnsupportedQuery
        For a `ScanID` or `ScanIDRange` that depends on other runs: use `settle_scan_ids` first.

    Examples
    --------
    >>> from intake_bluesky.query import Start
    >>> to_nnf(~((Start("a") == 1) & (Start("b") < 2)))
    (Start('a') != 1) | ~(Start('b') < 2)
    """
    match query:
        case And(children) | Or(children):
            normal = [to_nnf(child) for child in children]
            if all(map(operator.is_, normal, children)):  # as most are: they are planned in several steps
                return query
            return all_of(normal) if isinstance(query, And) else any_of(normal)
        case Not(And(children)):
            return any_of(to_nnf(~child) for child in children)
        case Not(Or(children)):
            return all_of(to_nnf(~child) for child in children)
    leaf = query.child if isinstance(query, Not) else query
    simple = leaf.expanded()
    if simple is not leaf:
        return to_nnf(~simple if isinstance(query, Not) else simple)
    return query


def split(query: Query, exact: Callable[[Query], bool]) -> tuple[Query, Query]:
    """Divide a query into a part to push down to a store and a residual.

    ``pushed & residual`` means what the query means.

    Parameters
    ----------
    query
        Any query; it is brought to negation normal form first.
    exact
        Called with a leaf (`Compare`, `In`, `PartialUID` ...), returns whether the store answers it exactly as
        `matches` does. Never asked of `And`, `Or`, `Not`, the sugar that `to_nnf` writes out, nor `ALL`,
        which every store knows, as it does ``~ALL``.

    Returns
    -------
    tuple of Query
        The pushed part and the residual, each in negation normal form, `ALL` if empty. An `And` is split
        child by child, an `Or` is pushed whole or not at all, and a negation only where what it negates is
        exact.

    Examples
    --------
    >>> from intake_bluesky.query import Start
    >>> query = (Start("plan_name") == "scan") & Start("sample").regex("^Ni")
    >>> split(query, lambda leaf: type(leaf).__name__ == "Compare")
    (Start('plan_name') == 'scan', Start('sample').regex('^Ni'))
    """
    normal = to_nnf(query)
    children = normal.children if isinstance(normal, And) else (normal,)
    pushed = [_is_exact(child, exact) for child in children]
    return (
        all_of(child for child, down in zip(children, pushed, strict=True) if down),
        all_of(child for child, down in zip(children, pushed, strict=True) if not down),
    )


def answered(query: Query, exact: Callable[[Query], bool]) -> bool:
    """Tell whether a store answers all of a query: then `split` leaves no residual."""
    return _is_exact(to_nnf(query), exact)


def _is_exact(query: Query, exact: Callable[[Query], bool]) -> bool:
    if isinstance(query, And | Or):
        return all(_is_exact(child, exact) for child in query.children)
    leaf = query.child if isinstance(query, Not) else query
    return isinstance(leaf, Everything) or exact(leaf)


def cheap_first(query: Query) -> Query:
    """Order what `And` and `Or` combine by what it takes to look: documents of a listing, descriptors, data.

    The meaning stays the same, and `matches` looks from left to right, no further than it has to.

    Examples
    --------
    >>> from intake_bluesky.query import Data, Start, Stream
    >>> cheap_first((Data("theta").max() > 5) & Stream("primary").exists() & (Start("plan_name") == "scan"))
    (Start('plan_name') == 'scan') & AnyDescriptor(ALL, stream='primary') & (Data('theta').max() > 5)
    """
    match query:
        case And(children):
            return all_of(sorted(map(cheap_first, children), key=_cost))
        case Or(children):
            return any_of(sorted(map(cheap_first, children), key=_cost))
        case Not(child):
            return ~cheap_first(child)
    return query


def _cost(query: Query) -> int:
    needed = documents_needed(query)
    return 2 if "data" in needed else 1 if "descriptors" in needed else 0
