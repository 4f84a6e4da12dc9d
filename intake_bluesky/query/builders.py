"""How people write queries: ``Start("sample.name") == "Ni"``."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import ClassVar

from intake_bluesky.errors import UnsupportedQuery
from intake_bluesky.query.nodes import ALL, Query
from intake_bluesky.query.path_nodes import (
    AnyItem,
    Compare,
    Compared,
    Contains,
    Exists,
    HasSize,
    In,
    IsNaN,
    Operator,
    Regex,
)
from intake_bluesky.query.paths import DocumentName, Path


class Field(Compared):
    """A place in the documents of a run; comparing it gives a `Query`.

    Parameters
    ----------
    *segments
        One str is split at its dots; several are taken literally, one key each; so is a tuple, which may hold
        one.
    descend
        Look at lists as MongoDB does: the list itself or any of its items may satisfy, and a key is looked
        for in each dict of a list.

    Attributes
    ----------
    path : Path
        Where it looks.
    """

    __slots__ = ("path",)
    document: ClassVar[DocumentName | None] = None

    def __init__(self, *segments: str | tuple[str, ...], descend: bool = False) -> None:
        if len(segments) == 1 and isinstance(segments[0], str):
            self.path = Path.parse(segments[0], document=self.document, descend=descend)
            return
        # A tuple of one is a key with a dot in it, at which a str would be split.
        literal = segments[0] if len(segments) == 1 and isinstance(segments[0], tuple) else segments
        self.path = Path(self.document or "start", literal, descend)  # type: ignore[arg-type]  # Path checks them

    def __repr__(self) -> str:
        return str(self.path)

    def __bool__(self) -> bool:
        raise TypeError(f"{self!r} is no query yet: compare it, or ask {self!r}.exists()")

    def _compare(self, op: Operator, value: object) -> Query:
        if isinstance(value, Field):
            raise UnsupportedQuery(f"a key is compared with a value, not with another key: {self!r} {op} {value!r}")
        return self._made(Compare(self.path, op, value))

    def _made(self, query: Query) -> Query:
        """Pass on a condition on this place; a place that others have to be looked for first adds where."""
        return query

    def exists(self) -> Query:
        """Match where there is a value, null included."""
        return self._made(Exists(self.path))

    def is_in(self, values: Iterable[object]) -> Query:
        """Match where the value equals one of those given; none gives the query that matches nothing."""
        # `In` refuses a text, which list() would take apart.
        listed = values if isinstance(values, str | bytes) else list(values)
        return self._made(In(self.path, listed)) if listed else ~ALL

    def not_in(self, values: Iterable[object]) -> Query:
        """Match where `is_in` does not, so also where there is no value."""
        return ~self.is_in(values)

    def regex(self, pattern: str | re.Pattern[str], ignore_case: bool = False, *, flags: str = "") -> Query:
        """Match where ``re.search`` finds the pattern in a text; `flags` are letters among ``aimsx``."""
        return self._made(Regex(self.path, pattern, flags, case_sensitive=not ignore_case))

    def contains(self, value: object) -> Query:
        """Match where the value is a list that holds this item."""
        return self._made(Contains(self.path, value))

    def any(self, query: Query) -> Query:
        """Match where the value is a list with an item that matches a query over its keys, or over `Item()`.

        Examples
        --------
        >>> Start("samples").any((Key("name") == "Ni") & (Key("mass") > 2))
        Start('samples').any((Item('name') == 'Ni') & (Item('mass') > 2))
        """
        return self._made(AnyItem(self.path, query))

    def is_nan(self) -> Query:
        """Match where the value is the float that is not a number."""
        return self._made(IsNaN(self.path))

    def has_size(self, size: int) -> Query:
        """Match where the value is a list of that many items."""
        return self._made(HasSize(self.path, size))


class Start(Field):
    """A key of the run start document.

    Examples
    --------
    >>> Start("sample.name") == "Ni"
    Start('sample.name') == 'Ni'
    >>> Start("a", "b.c").exists()
    Start('a', 'b.c').exists()
    """

    __slots__ = ()
    document = "start"


class Stop(Field):
    """A key of the run stop document. While a run has none, every comparison is false.

    Examples
    --------
    >>> Stop("exit_status") != "success"
    Stop('exit_status') != 'success'
    """

    __slots__ = ()
    document = "stop"


class Key(Field):
    """A key whose prefix ``start.`` or ``stop.`` names the document; without one it is in the start document.

    The prefix always names the document: a key ``stop`` *inside* the start document is ``Key("stop")``, and
    what lies within that is ``Start("stop.x")`` or ``Key("start.stop.x")``.

    Examples
    --------
    >>> Key("stop.exit_status") == "fail"
    Stop('exit_status') == 'fail'
    >>> Key("plan_name") == "scan"
    Start('plan_name') == 'scan'
    """

    __slots__ = ()


class Item(Field):
    """Inside `.any()`: a key of the list's item, or with no argument the item itself.

    Examples
    --------
    >>> Start("temperatures").any(Item() > 300)
    Start('temperatures').any(Item() > 300)
    """

    __slots__ = ()
    document = "item"
