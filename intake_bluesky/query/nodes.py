"""What a query is made of: small frozen values that know no storage.

A translator has one case per node; `matches` is what each of them means. ``repr`` is code that rebuilds the
query, and two queries are equal when that code is the same (so ``True`` and ``1`` are different).

Here are the base, `ALL`, and the nodes that combine others. Those that look at a path of a document are in
`path_nodes`, those about the run as a whole in `run_nodes`, which also lists them all: a new node takes a
class, a place in that list, and a case in `matches`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, NoReturn, Self

from intake_bluesky.errors import UnsupportedQuery
from intake_bluesky.query.values import MAX_DEPTH

_TRUTH = (
    "a query has no truth value before it is put to a run: combine queries with & | ~ and parentheses, as in "
    "(Start('a') == 1) & ~(Stop('b') == 2), not with and, or, not; write a range as (x >= 1) & (x < 5), not "
    "1 <= x < 5"
)


class Query:
    """The base of every query: combine queries with ``&``, ``|`` and ``~``.

    Examples
    --------
    >>> from intake_bluesky.query import Start, Stop
    >>> (Start("plan_name") == "scan") & ~(Stop("exit_status") == "fail")
    (Start('plan_name') == 'scan') & (Stop('exit_status') != 'fail')
    """

    __slots__ = ()

    def __and__(self, other: object) -> Query:
        return all_of((self, other)) if isinstance(other, Query) else NotImplemented

    def __or__(self, other: object) -> Query:
        return any_of((self, other)) if isinstance(other, Query) else NotImplemented

    def __invert__(self) -> Query:
        return Not(self)

    def __bool__(self) -> NoReturn:
        raise TypeError(_TRUTH)

    def __eq__(self, other: object) -> bool:
        # By the code: 1 and True are equal, and ask for different values.
        return self is other or (type(self) is type(other) and repr(self) == repr(other))

    def __hash__(self) -> int:
        return hash(repr(self))

    @property
    def depth(self) -> int:
        """How many levels of other queries lie below, this one included."""
        return 1

    @property
    def infix(self) -> bool:
        """Whether the code of this query is an operator between operands, which needs parentheses."""
        return False

    def negated_repr(self) -> str:
        """Write the code of the negation."""
        return f"~{enclosed(self)}"

    def expanded(self) -> Query:
        """Give the same meaning in simpler nodes; a node that is simple gives itself."""
        return self

    @classmethod
    def from_fields(cls, **fields: Any) -> Self:
        """Rebuild a node from the values of its dataclass fields."""
        return cls(**fields)

    def _fill(self, **values: object) -> None:
        for name, value in values.items():
            object.__setattr__(self, name, value)  # the nodes are frozen


def enclosed(query: Query) -> str:
    """Write a query as an operand."""
    code = repr(query)
    # Asked of its code, which is at hand: a negation that looked for it again would double the work at each level.
    infix = not code.startswith("~") if isinstance(query, Not) else query.infix
    return f"({code})" if infix else code


def deeper(children: Iterable[Query]) -> int:
    """Give the depth of a node over these, if it may be that deep."""
    # Limited, because `matches` and the translators call themselves for each level.
    depth = 1 + max(child.depth for child in children)
    if depth > MAX_DEPTH:
        raise UnsupportedQuery(f"a query is nested deeper than {MAX_DEPTH} levels: say it with fewer parentheses")
    return depth


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Everything(Query):
    """Matches every run. Its instance is `ALL`; ``~ALL`` matches none."""

    def __repr__(self) -> str:
        return "ALL"


ALL: Final[Query] = Everything()


def _is_nothing(query: Query) -> bool:
    return isinstance(query, Not) and isinstance(query.child, Everything)


def _is_trivial(query: Query) -> bool:
    return isinstance(query, Everything) or _is_nothing(query)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class _Combination(Query):
    """The two nodes over several children."""

    children: tuple[Query, ...]
    depth: int = field(init=False)
    _symbol: ClassVar[str]
    _maker: ClassVar[str]

    def __post_init__(self) -> None:
        children = tuple(self.children)
        # One form for each query, for those of the same code are equal.
        if len(children) < 2 or any(isinstance(child, type(self)) or _is_trivial(child) for child in children):
            name = type(self).__name__
            raise ValueError(
                f"{name} takes two or more children, none of them {name}, ALL or ~ALL: "
                f"{self._maker}(queries) brings any queries to that form"
            )
        self._fill(children=children, depth=deeper(children))

    @property
    def infix(self) -> bool:
        return True

    def __repr__(self) -> str:
        return self._symbol.join(enclosed(child) for child in self.children)


class And(_Combination):
    """Matches where every child does. `all_of` and ``&`` make it and keep it flat."""

    __slots__ = ()
    _symbol, _maker = " & ", "all_of"


class Or(_Combination):
    """Matches where any child does. `any_of` and ``|`` make it and keep it flat."""

    __slots__ = ()
    _symbol, _maker = " | ", "any_of"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Not(Query):
    """Matches where its child does not. ``~`` makes it; ``~~query`` is ``query``."""

    child: Query
    depth: int = field(init=False)

    def __post_init__(self) -> None:
        if isinstance(self.child, Not):
            raise ValueError("Not takes no Not: ~query removes a double negation")
        self._fill(depth=deeper((self.child,)))

    def __invert__(self) -> Query:
        return self.child

    @property
    def infix(self) -> bool:
        return not repr(self).startswith("~")  # the negation of == is written !=

    def __repr__(self) -> str:
        return self.child.negated_repr()


def all_of(queries: Iterable[Query]) -> Query:
    """Combine any number of queries with ``&``; none gives `ALL`.

    Examples
    --------
    >>> all_of([])
    ALL
    """
    flat = _flatten(And, queries)
    if any(_is_nothing(query) for query in flat):
        return ~ALL
    kept = tuple(query for query in flat if not isinstance(query, Everything))
    return And(kept) if len(kept) > 1 else kept[0] if kept else ALL


def any_of(queries: Iterable[Query]) -> Query:
    """Combine any number of queries with ``|``; none gives ``~ALL``.

    Examples
    --------
    >>> any_of([])
    ~ALL
    """
    flat = _flatten(Or, queries)
    if any(isinstance(query, Everything) for query in flat):
        return ALL
    kept = tuple(query for query in flat if not _is_nothing(query))
    return Or(kept) if len(kept) > 1 else kept[0] if kept else ~ALL


def _flatten(kind: type[And | Or], queries: Iterable[Query]) -> list[Query]:
    return [child for query in queries for child in (query.children if isinstance(query, kind) else (query,))]


def leaves(query: Query) -> Iterator[Query]:
    """Yield what `And`, `Or` and `Not` combine, from left to right."""
    if isinstance(query, And | Or):
        for child in query.children:
            yield from leaves(child)
    elif isinstance(query, Not):
        yield from leaves(query.child)
    else:
        yield query


def replace_leaves(query: Query, function: Callable[[Query], Query]) -> Query:
    """Put another query in the place of each leaf."""
    if isinstance(query, And):
        return all_of(replace_leaves(child, function) for child in query.children)
    if isinstance(query, Or):
        return any_of(replace_leaves(child, function) for child in query.children)
    if isinstance(query, Not):
        return ~replace_leaves(query.child, function)
    return function(query)
