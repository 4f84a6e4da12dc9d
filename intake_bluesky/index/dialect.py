"""Where the SQL of one database differs from that of others."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from typing import Any, ClassVar

from intake_bluesky.index.json_conditions import SQL, Spot, json_condition
from intake_bluesky.query.path_nodes import PathQuery

__all__ = ["Dialect"]


class Dialect(ABC):
    """What a `intake_bluesky.index.translator.Translator` asks of a database; it has no state."""

    SPOT: ClassVar[type[Spot]]
    ROOM: ClassVar[int]  # how many values one condition may bind
    COLUMN: ClassVar[str] = "{}"  # a column in the type of SQL in which values are selected
    WHOLE: ClassVar[str]  # the condition that the sum in a row of kept statistics is an integer
    INEXACT: ClassVar[str]  # the condition that such a row does not hold its numbers, since they do not fit

    def takes(self, condition: SQL, room: int) -> bool:
        """Whether a condition is no larger than the database takes, and binds no more than so many values."""
        return len(condition[1]) <= room

    def json(self, leaf: PathQuery, document: str) -> SQL:
        """The condition of an exact node, by the expression for a document's search form."""
        return json_condition(leaf, self.SPOT.of(document))

    @abstractmethod
    def words(self, words: Collection[str]) -> Any:
        """The value by which a run that has all these words is found; None where the index cannot answer."""

    @abstractmethod
    def among(self, column: str, kind: str, values: Sequence[Any]) -> SQL | None:
        """Whether a column has one of some bound values; None where too many of them are bound one by one."""

    def part(self, column: str, text: str, *, anchored: bool) -> SQL | None:
        """Whether a text is part of that in a column, or its beginning; None where no index knows parts of texts."""
        return None

    @abstractmethod
    def fits(self, number: float) -> bool:
        """Whether the columns of kept statistics can be compared with a number; if not, none of them holds it."""

    @abstractmethod
    def mean(self, op: str, value: float) -> SQL:
        """When a row of kept statistics proves that the mean compares so."""

    @abstractmethod
    def mean_open(self, value: float) -> SQL:
        """When such a row leaves open how the mean compares."""
