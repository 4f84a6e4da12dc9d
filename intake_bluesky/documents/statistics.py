"""Statistics of recorded values: small, exact where they can be, and combined from those of parts.

What counts as a number, and what becomes of the rest, is decided in `intake_bluesky.query.matches`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import reduce
from operator import sub
from typing import Any, Final, TypeAlias

import numpy as np

from intake_bluesky.documents.columns import Array, Column, Ragged, column
from intake_bluesky.integers import FLOAT_EXACT

__all__ = ["SAMPLE", "Statistics", "lies", "of_floats", "of_integers"]

Number: TypeAlias = int | float
Fields: TypeAlias = tuple[
    int, int, Number | None, Number | None, Number | None, Number | None, Number | None, float | None
]
"""What `Statistics` are made of."""
HALF: Final = 32  # bits
PLENTY: Final = 2**30  # values of 64 bits whose halves int64 adds up without overflow
FEW: Final = 512  # values up to which Python's own functions take less time than to make an array
SAMPLE: Final = 4096  # values that are sorted to find the gap: between some of them it is no smaller than between all


@dataclass(frozen=True, slots=True)
class Statistics:
    """Statistics of some values of one data key in one stream.

    Attributes
    ----------
    count : int
        All values: a scalar an event, or all elements of arrays.
    nan_count : int
        Those that are no numbers: NaN, null, missing, text.
    min, max, sum : int, float or None
        Of the numbers; None where there is none. The sum is an int, and exact, if all numbers are whole (floats
        without a fraction up to 2**53 are), else a float, the sum of float64.
    first, last : int, float or None
        The first and the last number, by seq_num, and in an array by C order.
    gap : float or None
        No two numbers that are neighbours by size are further apart than this, which may be more than it need be: an
        interval of that length between `min` and `max` is sure to hold a number. 0.0 where all are equal.

    Examples
    --------
    >>> import numpy as np
    >>> Statistics.of(np.array([2.5, np.nan, -1.0]))
    Statistics(count=3, nan_count=1, min=-1.0, max=2.5, sum=1.5, first=2.5, last=-1.0, gap=3.5000000000000004)
    >>> Statistics.merged(Statistics.of(np.array([2**62] * 2)), Statistics.of(np.array([True]))).sum == 2**63 + 1
    True
    """

    count: int = 0
    nan_count: int = 0
    min: Number | None = None
    max: Number | None = None
    sum: Number | None = None
    first: Number | None = None
    last: Number | None = None
    gap: float | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return Statistics, self.fields  # a fifth of the time that dataclasses take

    @property
    def fields(self) -> Fields:
        """All attributes in their order."""
        return self.count, self.nan_count, self.min, self.max, self.sum, self.first, self.last, self.gap

    @property
    def mean(self) -> float | None:
        """The sum by the number of numbers, None where there is none; float64, inf where that is too small."""
        if self.sum is None:
            return None
        try:
            return self.sum / (self.count - self.nan_count)
        except OverflowError:
            return math.inf if self.sum > 0 else -math.inf

    @classmethod
    def of(cls, values: Column) -> Statistics:
        """Look at values: a column of an event page, or any array; its order is that of the values.

        Parameters
        ----------
        values : numpy.ndarray of any shape and dtype, or Ragged
        """
        numbers, count = _numbers(values)
        if not len(numbers):
            return cls(count, count)
        if isinstance(numbers, list):
            low, high = min(numbers), max(numbers)
            found = low, high, _sum_of_python(numbers), numbers[0], numbers[-1], _gap_of_python(numbers, low, high)
        else:
            low, high = numbers.min().item(), numbers.max().item()
            total = _sum(numbers)
            gap = _gap(numbers, low, high, whole=isinstance(total, int))
            found = low, high, total, numbers[0].item(), numbers[-1].item(), gap
        return cls(count, count - len(numbers), *found)

    @classmethod
    def missing(cls, count: int) -> Statistics:
        """The statistics of that many values that are missing."""
        return cls(count, count)

    @staticmethod
    def merged(*parts: Statistics) -> Statistics:
        """Combine the statistics of parts, given in the order of their values; none gives those of no values."""
        return reduce(_merged, parts, Statistics())


def of_floats(values: Sequence[float]) -> Fields:
    """As `Statistics.of`, of values, best a few, that are all of Python's `float`; at least one.

    Examples
    --------
    >>> of_floats((1.0, 2.0))
    (2, 0, 1.0, 2.0, 3, 1.0, 2.0, 1.0)
    """
    added = sum(values)
    total: Number = added
    if len(values) > FEW or added - added != 0:  # NaN and the infinities
        return Statistics.of(np.array(values, np.float64)).fields
    if len(values) == 1:
        only = values[0]
        return 1, 0, only, only, int(only) if abs(only) <= FLOAT_EXACT and only.is_integer() else only, only, only, 0.0
    if len(values) == 2:  # as every baseline has
        low, high = values if values[0] < values[1] else values[::-1]
        gap = high - low
    else:
        ordered = sorted(values)
        low, high = ordered[0], ordered[-1]
        gap = 0.0 if low == high else max(map(sub, ordered[1:], ordered))
    # A sum with a fraction, as most have, spares looking at each number.
    if added == added // 1 and low >= -FLOAT_EXACT and high <= FLOAT_EXACT and all(map(float.is_integer, values)):
        total = sum(map(int, values))
        gap = _rounded_up(gap, whole=True)
    elif gap:
        gap = math.nextafter(gap, math.inf)
    return len(values), 0, low, high, total, values[0], values[-1], gap


def of_integers(values: Sequence[int]) -> Fields:
    """As `Statistics.of`, of values, best a few, that are all of Python's `int`; at least one.

    Examples
    --------
    >>> of_integers((5, 1, 2))
    (3, 0, 1, 5, 8, 5, 2, 3.0)
    """
    if len(values) > FEW:
        return Statistics.of(column(values)[0]).fields
    ordered = sorted(values)
    low, high = ordered[0], ordered[-1]
    gap = 0.0 if low == high else _upward(max(map(sub, ordered[1:], ordered)))
    return len(values), 0, low, high, sum(values), values[0], values[-1], gap


def _merged(a: Statistics, b: Statistics) -> Statistics:
    count, nan_count = a.count + b.count, a.nan_count + b.nan_count
    if a.sum is None or b.sum is None:
        known = b if a.sum is None else a
        return Statistics(count, nan_count, known.min, known.max, known.sum, known.first, known.last, known.gap)
    # Where there is a sum there are all of them.
    low, high = min(a.min, b.min), max(a.max, b.max)  # type: ignore[type-var]  # no None
    return Statistics(count, nan_count, low, high, _added(a.sum, b.sum), a.first, b.last, _gap_of_both(a, b))


def _gap_of_both(a: Statistics, b: Statistics) -> float | None:
    """Where their ranges overlap, neighbours in both together are between neighbours in one of them."""
    if a.gap is None or b.gap is None:
        return None
    between = 0.0
    if a.max < b.min:  # type: ignore[operator]  # as above
        between = _apart(a.max, b.min)  # type: ignore[arg-type]  # as above
    elif b.max < a.min:  # type: ignore[operator]  # as above
        between = _apart(b.max, a.min)  # type: ignore[arg-type]  # as above
    return max(a.gap, b.gap, between)


def _apart(low: Number, high: Number) -> float:
    """How far apart two numbers are, rounded up."""
    if low == high:
        return 0.0
    if isinstance(low, float) and isinstance(high, float):
        return _rounded_up(high - low, whole=low.is_integer() and high.is_integer())
    if math.inf in (-low, high):
        return math.inf
    return _upward(Fraction(high) - Fraction(low))


def _upward(exact: int | Fraction) -> float:
    """The float that is no less, of what is positive."""
    try:
        near = float(exact)
    except OverflowError:
        return math.inf
    return near if near >= exact else math.nextafter(near, math.inf)


def _gap_of_python(numbers: Sequence[Number], low: Number, high: Number) -> float:
    ordered = sorted([low, *numbers[:: _stride(numbers)], high])
    return max(map(_apart, ordered, ordered[1:]))


def _rounded_up(difference: float, *, whole: bool) -> float:
    """What the difference of two floats is at most, of which only the nearest float is known."""
    exact = difference == 0.0 or (whole and difference < FLOAT_EXACT)
    return difference if exact else math.nextafter(difference, math.inf)


def _gap(numbers: Array, low: Number, high: Number, *, whole: bool) -> float:
    if low == high:
        return 0.0
    ends = np.array([low, high], numbers.dtype)
    some = np.sort(np.concatenate([ends, numbers[:: _stride(numbers)]]))
    if numbers.dtype.kind == "f":
        with np.errstate(over="ignore", invalid="ignore"):  # inf - inf is between equal numbers
            return _rounded_up(float(np.nanmax(np.diff(some.astype(np.float64)))), whole=whole)
    wide = some.astype(np.uint64 if numbers.dtype.kind == "u" else np.int64).view(np.uint64)
    return _upward(int(np.diff(wide).max()))  # what wraps around was negative


def _stride(numbers: Array | Sequence[Number]) -> int:
    return -(-len(numbers) // SAMPLE)


def _added(a: Number, b: Number) -> Number:
    return a + b if isinstance(a, int) and isinstance(b, int) else _as_float(a) + _as_float(b)


def _as_float(number: Number) -> float:
    try:
        return float(number)
    except OverflowError:
        return math.inf if number > 0 else -math.inf


def _numbers(values: Column) -> tuple[Array | list[Number], int]:
    """The numbers among values, flat and in order, and how many values there are."""
    flat = values.values if isinstance(values, Ragged) else np.asarray(values).ravel()
    match flat.dtype.kind:
        case "i" | "u":
            return flat, flat.size
        case "b":
            return flat.astype(np.uint8), flat.size
        case "f":
            plain = flat if flat.dtype.itemsize in (4, 8) else flat.astype(np.float64)
            nan = np.isnan(plain)
            return plain[~nan] if nan.any() else plain, flat.size
        case "O":
            elements = list(_elements(flat.tolist()))
            return [int(v) if isinstance(v, bool) else v for v in elements if _is_number(v)], len(elements)
    return [], flat.size


def _elements(values: Sequence[Any]) -> Iterable[Any]:
    """The elements of values that may be nested, in order."""
    # No recursion: documents may nest lists deeper than Python calls itself.
    waiting = [iter(values)]
    while waiting:
        for value in waiting[-1]:
            if isinstance(value, np.ndarray | np.generic):
                value = value.tolist()
            if isinstance(value, list | tuple):
                waiting.append(iter(value))
                break
            yield value
        else:
            waiting.pop()


def _is_number(value: object) -> bool:
    return isinstance(value, int) or (isinstance(value, float) and not math.isnan(value))


def _sum(numbers: Array) -> Number:
    if numbers.dtype.kind != "f":
        return _sum_of_integers(numbers)
    whole = bool((np.abs(numbers) <= FLOAT_EXACT).all()) and bool((numbers == np.floor(numbers)).all())
    if whole:
        return _sum_of_integers(numbers.astype(np.int64))
    with np.errstate(over="ignore", invalid="ignore"):  # inf, or NaN where inf and -inf meet, is what they add up to
        return float(numbers.sum(dtype=np.float64))


def _sum_of_integers(numbers: Array) -> int:
    if numbers.dtype.itemsize * 8 <= HALF:
        return sum(int(part.sum(dtype=np.int64)) for part in _parts(numbers))
    # The halves apart: a sum of int64 would wrap around without a word.
    high = sum(int((part >> HALF).sum()) for part in _parts(numbers))
    low = sum(int((part & (2**HALF - 1)).sum()) for part in _parts(numbers))
    return (high << HALF) + low


def _parts(numbers: Array) -> Iterable[Array]:
    return (numbers[start : start + PLENTY] for start in range(0, len(numbers), PLENTY))


def _sum_of_python(numbers: Sequence[Number]) -> Number:
    if all(isinstance(v, int) or (abs(v) <= FLOAT_EXACT and v == math.floor(v)) for v in numbers):
        return sum(map(int, numbers))
    return float(sum(map(_as_float, numbers)))


def lies(values: Column, low: Number, high: Number) -> bool:
    """Tell whether a number among values lies from `low` to `high`, both ends included, compared exactly.

    Examples
    --------
    >>> import numpy as np
    >>> lies(np.array([-1, 7]), 0, 5), lies(np.array([np.nan, 5.0]), 0, 5)
    (False, True)
    """
    numbers, _ = _numbers(values)
    if isinstance(numbers, list):
        return any(low <= number <= high for number in numbers)
    if not len(numbers):
        return False
    begin, end = _rounded(low, numbers.dtype, up=True), _rounded(high, numbers.dtype, up=False)
    if begin is None or end is None or begin > end:
        return False
    return bool(((numbers >= begin) & (numbers <= end)).any())


def _rounded(bound: Number, dtype: np.dtype[Any], *, up: bool) -> Any:
    """The bound as the nearest value of the dtype inside the interval: NumPy rounds what it compares. None: nowhere."""
    if dtype.kind != "f":
        info = np.iinfo(dtype)
        if isinstance(bound, float) and math.isinf(bound):
            bound = info.max + 1 if bound > 0 else info.min - 1
        whole = math.ceil(bound) if up else math.floor(bound)
        inside = max(whole, info.min) if up else min(whole, info.max)
        return dtype.type(inside) if info.min <= inside <= info.max else None
    with np.errstate(over="ignore"):
        near = dtype.type(_as_float(bound))
    exact = float(near)
    if up and exact < bound:
        return np.nextafter(near, dtype.type(np.inf))
    if not up and exact > bound:
        return np.nextafter(near, dtype.type(-np.inf))
    return near
