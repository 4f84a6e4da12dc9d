"""The nodes that look at one path of a run's documents.

Each takes a `Path`, or a dotted key as `Key` does: ``In("plan_name", ["scan", "count"])``.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Final, Literal, TypeAlias, get_args

from intake_bluesky.errors import UnsupportedQuery
from intake_bluesky.query.nodes import (
    Everything,
    Query,
    deeper,
    enclosed,
    leaves,
    replace_leaves,
)
from intake_bluesky.query.paths import Path
from intake_bluesky.query.values import Value, freeze, show

Operator: TypeAlias = Literal["==", "<", "<=", ">", ">="]


class Compared(ABC):
    """What comparing gives a query: a key, a statistic. Subclasses make it in `_compare`."""

    __slots__ = ()
    __hash__ = None  # type: ignore[assignment]  # comparing gives no bool, so nothing finds it among others

    @abstractmethod
    def _compare(self, op: Operator, value: object) -> Query:
        """Make the query."""

    def __eq__(self, value: object) -> Query:  # type: ignore[override]  # a query language compares into a query
        return self._compare("==", value)

    def __ne__(self, value: object) -> Query:  # type: ignore[override]  # a query, not a bool
        return ~self._compare("==", value)

    def __lt__(self, value: object) -> Query:
        return self._compare("<", value)

    def __le__(self, value: object) -> Query:
        return self._compare("<=", value)

    def __gt__(self, value: object) -> Query:
        return self._compare(">", value)

    def __ge__(self, value: object) -> Query:
        return self._compare(">=", value)


@dataclass(frozen=True, slots=True, eq=False, repr=False, init=False)
class Compare(Query):
    """The value at a path compared with another; false where there is none.

    ``!=`` is the negation of ``==``. Lists and dicts have no order, so they take ``==`` alone.
    """

    path: Path
    op: Operator
    value: Value

    def __init__(self, path: Path | str, op: Operator, value: object) -> None:
        if op not in get_args(Operator):
            raise UnsupportedQuery(f"a comparison is one of {', '.join(get_args(Operator))}, not {op!r}")
        frozen = freeze(value)
        if op != "==" and not (frozen is None or isinstance(frozen, bool | int | float | str)):
            raise UnsupportedQuery(f"lists and dicts are equal or not, but have no order: {op} {show(frozen)}")
        self._fill(path=Path.of(path), op=op, value=frozen)

    @property
    def infix(self) -> bool:
        return True

    def negated_repr(self) -> str:
        return f"{self.path} != {show(self.value)}" if self.op == "==" else f"~{enclosed(self)}"

    def __repr__(self) -> str:
        return f"{self.path} {self.op} {show(self.value)}"


@dataclass(frozen=True, slots=True, eq=False, repr=False, init=False)
class In(Query):
    """The value at a path equals one of those given, at least one; ``.is_in()`` takes none too."""

    path: Path
    values: tuple[Value, ...]

    def __init__(self, path: Path | str, values: Iterable[object]) -> None:
        if isinstance(values, str | bytes):
            raise UnsupportedQuery(f"In takes a list of values, not one text: [{values!r}]")
        frozen = freeze(list(values))
        if not isinstance(frozen, tuple) or not frozen:
            raise UnsupportedQuery("In takes at least one value; ~ALL is the query that nothing matches")
        self._fill(path=Path.of(path), values=frozen)

    def __repr__(self) -> str:
        return f"{self.path}.is_in({show(self.values)})"


@dataclass(frozen=True, slots=True, eq=False, repr=False, init=False)
class Exists(Query):
    """There is a value at the path, null included."""

    path: Path

    def __init__(self, path: Path | str) -> None:
        self._fill(path=Path.of(path))

    def __repr__(self) -> str:
        return f"{self.path}.exists()"


@dataclass(frozen=True, slots=True, eq=False, repr=False, init=False)
class IsNaN(Query):
    """The value at the path is the float that is not a number."""

    path: Path

    def __init__(self, path: Path | str) -> None:
        self._fill(path=Path.of(path))

    def __repr__(self) -> str:
        return f"{self.path}.is_nan()"


@dataclass(frozen=True, slots=True, eq=False, repr=False, init=False)
class Contains(Query):
    """The value at the path is a list, and an item of it equals the value."""

    path: Path
    value: Value

    def __init__(self, path: Path | str, value: object) -> None:
        self._fill(path=Path.of(path), value=freeze(value))

    def __repr__(self) -> str:
        return f"{self.path}.contains({show(self.value)})"


@dataclass(frozen=True, slots=True, eq=False, repr=False, init=False)
class HasSize(Query):
    """The value at the path is a list of that many items."""

    path: Path
    size: int

    def __init__(self, path: Path | str, size: int) -> None:
        frozen = freeze(size)
        if not isinstance(frozen, int) or isinstance(frozen, bool) or frozen < 0:
            raise UnsupportedQuery(f"the size of a list is an int from 0, not {size!r}")
        self._fill(path=Path.of(path), size=frozen)

    def __repr__(self) -> str:
        return f"{self.path}.has_size({self.size})"


_FLAGS: Final = {"a": re.ASCII, "i": re.IGNORECASE, "m": re.MULTILINE, "s": re.DOTALL, "x": re.VERBOSE}


@dataclass(frozen=True, slots=True, eq=False, repr=False, init=False)
class Regex(Query):
    """The value at the path is a text in which Python's ``re.search`` finds the pattern.

    Parameters
    ----------
    path
        A `Path`, or a key as `Key` takes it.
    pattern
        A regular expression of Python's ``re``.
    flags
        Letters among ``aimsx``, as in ``(?i)``.
    case_sensitive
        False adds the flag ``i``.
    """

    path: Path
    pattern: str
    flags: str = ""

    def __init__(
        self,
        path: Path | str,
        pattern: str | re.Pattern[str],
        flags: str = "",
        *,
        case_sensitive: bool = True,
    ) -> None:
        if isinstance(pattern, re.Pattern):
            flags += "".join(letter for letter, flag in _FLAGS.items() if pattern.flags & flag)
            pattern = pattern.pattern
        if not isinstance(pattern, str):
            raise UnsupportedQuery(f"a pattern is a str, not {pattern!r}")
        if not isinstance(flags, str) or not set(flags) <= _FLAGS.keys():
            raise UnsupportedQuery(f"the flags of a pattern are letters among {''.join(_FLAGS)}, not {flags!r}")
        letters = set(flags) | (set() if case_sensitive else {"i"})
        self._fill(path=Path.of(path), pattern=str(pattern), flags="".join(sorted(letters)))
        try:
            self.compiled()  # now, so that a mistake shows where it was made
        except (re.error, ValueError, OverflowError, RecursionError) as error:
            raise UnsupportedQuery(f"{pattern!r} is not a regular expression of Python: {error}") from error

    def compiled(self) -> re.Pattern[str]:
        """Compile the pattern, or find it in the cache of ``re``."""
        flags = re.NOFLAG
        for letter in self.flags:
            flags |= _FLAGS[letter]
        return re.compile(self.pattern, flags)

    def __repr__(self) -> str:
        flags = f", flags={self.flags!r}" if self.flags else ""
        return f"{self.path}.regex({self.pattern!r}{flags})"


@dataclass(frozen=True, slots=True, eq=False, repr=False, init=False)
class AnyItem(Query):
    """The value at the path is a list, and an item of it matches a query of its own.

    Parameters
    ----------
    path
        A `Path`, or a key as `Key` takes it.
    query
        Either over keys of the items (``Key("name") == "Ni"``, or ``Item("name")``): an item that is no dict
        and no list then never matches, whatever is negated; or over the items themselves (``Item() > 5``).
        Not both.
    """

    path: Path
    query: Query
    depth: int = field(init=False)

    def __init__(self, path: Path | str, query: Query) -> None:
        relative = replace_leaves(query, _relative)
        if len({bool(found.segments) for found in _paths(relative)}) > 1:
            raise UnsupportedQuery(f"a query inside .any() is over keys of the items or the items, not both: {query!r}")
        self._fill(path=Path.of(path), query=relative, depth=deeper((relative,)))

    @property
    def over_keys(self) -> bool:
        """Whether the query looks at keys of the items, rather than at the items themselves."""
        return any(path.segments for path in _paths(self.query))

    def __repr__(self) -> str:
        return f"{self.path}.any({self.query!r})"


def _paths(query: Query) -> Iterator[Path]:
    for leaf in leaves(query):
        if isinstance(leaf, PathQuery):
            yield leaf.path


def _relative(leaf: Query) -> Query:
    """Make a leaf about the start document one about the item of a list."""
    if isinstance(leaf, Everything) or (isinstance(leaf, PathQuery) and leaf.path.document == "item"):
        return leaf
    if not isinstance(leaf, PathQuery) or leaf.path.document not in ("start", "item"):
        raise UnsupportedQuery(f"inside .any() a query is over the items of the list, by Key(...) or Item(): {leaf!r}")
    return replace(leaf, path=replace(leaf.path, document="item"))


PathQuery: TypeAlias = Compare | In | Exists | IsNaN | Contains | HasSize | Regex | AnyItem
"""The nodes that look at one path of a run's documents."""
