"""The nodes about recorded data, and how people write them: ``Data("theta").max() > 5``.

They are about the values of one data key in one stream, of the events that count (after a rewind the last of each
seq_num), or of the frames in files that belong to them. Of an array each element is a value.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar, Final, Literal, TypeAlias, cast, get_args

from intake_bluesky.errors import UnsupportedQuery
from intake_bluesky.query.descriptor_nodes import checked_stream, stream_argument
from intake_bluesky.query.nodes import Query
from intake_bluesky.query.path_nodes import Compared, Operator
from intake_bluesky.query.values import freeze, show

StatisticName: TypeAlias = Literal["min", "max", "mean", "sum", "count", "nan_count", "first", "last"]
"""What `CompareStatistic` compares."""

SUMMED: Final = ("sum", "mean")


def _checked_key(key: object) -> str:
    if not isinstance(key, str):
        raise UnsupportedQuery(f"a data key is a str like 'theta', not {key!r}")
    return str(key)


def _number(value: object, what: str) -> int | float:
    frozen = freeze(value)
    if not isinstance(frozen, int | float) or isinstance(frozen, bool):
        raise UnsupportedQuery(f"{what} takes a number, not {value!r}; True and False count as 1 and 0 among data")
    return frozen


@dataclass(frozen=True, slots=True, eq=False, repr=False, init=False)
class CompareStatistic(Query):
    """A statistic of the values of a data key compared with a number, in some stream that has the key.

    Parameters
    ----------
    key
        The data key, literally: dots are part of it.
    statistic
        ``"min"``, ``"max"``, ``"mean"``, ``"sum"``, ``"first"``, ``"last"`` over the values that are numbers, false
        where there is none; ``"count"`` of all values; ``"nan_count"`` of those that are no numbers.
    op, value
        As in `Compare`, with a number. ``==`` for a sum or a mean takes an int, and is true only of whole numbers,
        which are added up exactly: sums of others depend on the order of adding.
    stream
        The stream it has to be true in; None for any.
    """

    key: str
    statistic: StatisticName
    op: Operator
    value: int | float
    stream: str | None

    def __init__(
        self, key: str, statistic: StatisticName, op: Operator, value: object, stream: str | None = None
    ) -> None:
        if statistic not in get_args(StatisticName):
            raise UnsupportedQuery(f"a statistic is one of {', '.join(get_args(StatisticName))}, not {statistic!r}")
        if op not in get_args(Operator):
            raise UnsupportedQuery(f"a comparison is one of {', '.join(get_args(Operator))}, not {op!r}")
        number = _number(value, f".{statistic}() {op}")
        if op == "==" and statistic in SUMMED and isinstance(number, float):
            raise UnsupportedQuery(
                f"a {statistic} of floats depends in its last digits on the order of adding, so nothing equals it: "
                f"ask for a range, .{statistic}().between({show(number)} - tolerance, {show(number)} + tolerance)"
            )
        self._fill(key=_checked_key(key), statistic=statistic, op=op, value=number, stream=checked_stream(stream))

    @property
    def infix(self) -> bool:
        return True

    @property
    def _subject(self) -> str:
        return f"Data({self.key!r}{stream_argument(self.stream)}).{self.statistic}()"

    def negated_repr(self) -> str:
        return f"{self._subject} != {show(self.value)}" if self.op == "==" else f"~({self!r})"

    def __repr__(self) -> str:
        return f"{self._subject} {self.op} {show(self.value)}"


@dataclass(frozen=True, slots=True, eq=False, repr=False, init=False)
class _Interval(Query):
    """The two nodes over a closed interval."""

    key: str
    low: int | float
    high: int | float
    stream: str | None
    _word: ClassVar[str]

    def __init__(self, key: str, low: object, high: object, stream: str | None = None) -> None:
        word = self._word
        begin, end = _number(low, f".{word}(low, high)"), _number(high, f".{word}(low, high)")
        if begin > end:
            raise UnsupportedQuery(f"an interval ends before it begins: .{word}({low!r}, {high!r})")
        self._fill(key=_checked_key(key), low=begin, high=end, stream=checked_stream(stream))

    def __repr__(self) -> str:
        subject = f"Data({self.key!r}{stream_argument(self.stream)})"
        return f"{subject}.{self._word}({show(self.low)}, {show(self.high)})"


class DataBetween(_Interval):
    """Some value of a data key lies from `low` to `high`, both ends included, in some stream that has the key."""

    __slots__ = ()
    _word = "between"

    @property
    def length(self) -> float:
        """How long the interval is, rounded down; it has a number where their gap is no larger."""
        if math.isinf(self.low) or math.isinf(self.high):
            return 0.0  # it reaches past the least or the largest of them, by which it is decided
        exact = Fraction(self.high) - Fraction(self.low)
        # A Fraction past all floats cannot be converted.
        rounded = float(min(exact, Fraction(sys.float_info.max)))
        return rounded if rounded <= exact else math.nextafter(rounded, 0.0)


class DataWithin(_Interval):
    """All values of a data key that are numbers lie from `low` to `high`, both ends included, and there is one.

    All those of one stream: with ``stream=None`` of some stream that has the key.
    """

    __slots__ = ()
    _word = "within"


DataQuery: TypeAlias = CompareStatistic | DataBetween | DataWithin
"""The nodes about data."""


class Statistic(Compared):
    """One statistic of a data key; comparing it gives a `Query`."""

    __slots__ = ("_data", "name")

    def __init__(self, data: Data, name: StatisticName) -> None:
        self._data, self.name = data, name

    def __repr__(self) -> str:
        return f"{self._data!r}.{self.name}()"

    def __bool__(self) -> bool:
        raise TypeError(f"{self!r} is no query yet: compare it")

    def _compare(self, op: Operator, value: object) -> Query:
        return CompareStatistic(self._data.key, self.name, op, value, self._data.stream)

    def between(self, low: float, high: float) -> Query:
        """Match where the statistic lies from `low` to `high`, both ends included."""
        return (self >= low) & (self <= high)


class Data:
    """The recorded values of a data key.

    Parameters
    ----------
    key
        The data key, literally: dots are part of it.
    stream
        Of this stream only; None for any stream that has the key, one stream being enough.

    Examples
    --------
    >>> Data("theta").max() > 5
    Data('theta').max() > 5
    >>> Data("fccd_image", stream="primary").sum() > 1000
    Data('fccd_image', stream='primary').sum() > 1000
    >>> Data("theta").between(0, 5) & ~Data("theta").within(-90, 90)
    Data('theta').between(0, 5) & ~Data('theta').within(-90, 90)
    """

    __slots__ = ("key", "stream")

    def __init__(self, key: str, stream: str | None = None) -> None:
        self.key, self.stream = _checked_key(key), checked_stream(stream)

    def __repr__(self) -> str:
        return f"Data({self.key!r}{stream_argument(self.stream)})"

    def __bool__(self) -> bool:
        raise TypeError(f"{self!r} is no query yet: ask {self!r}.max() > 5, .between(0, 5), or DataKey(...).exists()")

    def statistic(self, name: str) -> Statistic:
        """Take a statistic by its name, as `max` and the others do."""
        if name not in get_args(StatisticName):
            raise UnsupportedQuery(f"a statistic is one of {', '.join(get_args(StatisticName))}, not {name!r}")
        return Statistic(self, cast(StatisticName, name))

    def min(self) -> Statistic:
        """The smallest value that is a number."""
        return Statistic(self, "min")

    def max(self) -> Statistic:
        """The largest value that is a number."""
        return Statistic(self, "max")

    def mean(self) -> Statistic:
        """The sum divided by the number of values that are numbers."""
        return Statistic(self, "mean")

    def sum(self) -> Statistic:
        """The sum of the values that are numbers."""
        return Statistic(self, "sum")

    def count(self) -> Statistic:
        """How many values there are: a scalar an event, or all elements of all arrays; NaN and null too."""
        return Statistic(self, "count")

    def nan_count(self) -> Statistic:
        """How many values are no numbers: NaN, null, missing, text."""
        return Statistic(self, "nan_count")

    def first(self) -> Statistic:
        """The first value that is a number, by seq_num, and in an array by C order."""
        return Statistic(self, "first")

    def last(self) -> Statistic:
        """The last value that is a number."""
        return Statistic(self, "last")

    def between(self, low: float, high: float) -> Query:
        """Match where some value lies from `low` to `high`, both ends included."""
        return DataBetween(self.key, low, high, self.stream)

    def within(self, low: float, high: float) -> Query:
        """Match where all values that are numbers lie from `low` to `high`, both ends included, and there is one."""
        return DataWithin(self.key, low, high, self.stream)
