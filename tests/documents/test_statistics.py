"""Statistics of values: what they are, and that parts combine to those of the whole."""

from __future__ import annotations

import math
import pickle
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intake_bluesky.documents.columns import Ragged, column
from intake_bluesky.documents.statistics import Statistics, lies, of_floats, of_integers

NUMBERS = st.integers(-(2**70), 2**70) | st.floats(width=64) | st.booleans()
ODD = st.none() | st.sampled_from(("", "text", math.nan))
VALUES = st.one_of(
    st.lists(st.integers(-(2**63), 2**63 - 1), max_size=6),
    st.lists(st.integers(0, 2**64 - 1), max_size=6),
    st.lists(st.floats(width=64), max_size=6),
    st.lists(st.integers(-(2**60), 2**60) | st.none(), max_size=6),
    st.lists(NUMBERS | ODD, max_size=6),
)


def numbers_of(values: list[Any]) -> list[Any]:
    """The numbers as a plain loop finds them."""
    return [
        int(value) if isinstance(value, bool) else value
        for value in values
        if isinstance(value, int | float) and not (isinstance(value, float) and math.isnan(value))
    ]


def same(a: object, b: object) -> bool:
    return a == b or (isinstance(a, float) and isinstance(b, float) and math.isnan(a) and math.isnan(b))


@given(VALUES)
def test_statistics_are_those_of_a_plain_loop(values: list[Any]) -> None:
    observed, numbers = Statistics.of(column(values)[0]), numbers_of(values)
    assert observed.count == len(values)
    assert observed.nan_count == len(values) - len(numbers)
    if not numbers:
        assert observed == Statistics(len(values), len(values))
        return
    assert (observed.min, observed.max) == (min(numbers), max(numbers))
    assert (observed.first, observed.last) == (numbers[0], numbers[-1])


@given(st.lists(st.integers(-(2**63), 2**63 - 1) | st.sampled_from((0.0, 1.0, -(2.0**53)))))
def test_whole_numbers_are_added_up_exactly(values: list[Any]) -> None:
    observed = Statistics.of(column(values)[0]).sum
    assert observed == (sum(map(int, values)) if values else None)
    assert isinstance(observed, int) is bool(values)


@given(st.lists(st.lists(st.integers(-(2**70), 2**70) | st.none() | st.sampled_from(("", math.nan, True)), max_size=4)))
def test_parts_of_whole_numbers_combine_to_the_whole(parts: list[list[Any]]) -> None:
    whole = [value for part in parts for value in part]
    observed = Statistics.merged(*(Statistics.of(column(part)[0]) for part in parts))
    assert replace(observed, gap=None) == replace(Statistics.of(column(whole)[0]), gap=None)


@given(VALUES, VALUES)
def test_parts_combine_but_for_the_last_digits_of_a_sum_of_floats(left: list[Any], right: list[Any]) -> None:
    observed = Statistics.merged(Statistics.of(column(left)[0]), Statistics.of(column(right)[0]))
    expected = Statistics.of(column(left + right)[0])
    for name in ("count", "nan_count", "min", "max", "first", "last"):
        assert same(getattr(observed, name), getattr(expected, name)), name
    assert type(observed.sum) is type(expected.sum)


@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i4", "i8", "u8", "f2", "f4", "f8", "g", "?"])
def test_arrays_of_each_dtype(dtype: str) -> None:
    values = np.array([[1, 0], [1, 1]], dtype=dtype)
    observed = Statistics.of(values)
    assert observed == Statistics(4, 0, 0, 1, 3, 1, 1, 1.0)
    assert type(observed.sum) is int
    assert observed.mean == 0.75


@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i4", "i8", "u8"])
def test_integers_do_not_overflow(dtype: str) -> None:
    info = np.iinfo(dtype)
    assert Statistics.of(np.full(1000, info.max, dtype)).sum == 1000 * info.max
    assert Statistics.of(np.full(1000, info.min, dtype)).sum == 1000 * info.min


def test_images_and_ragged_arrays_count_their_elements() -> None:
    assert Statistics.of(np.ones((3, 4, 5), np.uint16)) == Statistics(60, 0, 1, 1, 60, 1, 1, 0.0)
    ragged, _ = column([[1, 2], [], [3]])
    assert isinstance(ragged, Ragged)
    assert Statistics.of(ragged) == Statistics(3, 0, 1, 3, 6, 1, 3, 1.0)
    mixed, _ = column([[1, 2], [[5]], "x"])
    assert Statistics.of(mixed) == Statistics(4, 1, 1, 5, 8, 1, 5, 3.0)


def test_what_is_no_number_counts_and_no_more() -> None:
    for values in (["a", "b"], [None, math.nan], [{"a": 1}, None]):
        assert Statistics.of(column(values)[0]) == Statistics.missing(2)
    assert Statistics.of(np.array([1j, 2])) == Statistics(2, 2)
    assert Statistics.of(np.empty((0, 3))) == Statistics() == Statistics.merged()
    assert Statistics().mean is None


def test_infinities_are_numbers_that_may_have_no_sum() -> None:
    observed = Statistics.of(np.array([np.inf, np.nan, 1.0]))
    assert (observed.min, observed.max, observed.sum, observed.mean) == (1.0, math.inf, math.inf, math.inf)
    assert math.isnan(Statistics.of(np.array([np.inf, -np.inf])).sum)  # type: ignore[arg-type]
    assert Statistics.of(np.array([1e308, 1e308])).sum == math.inf
    parts = Statistics.of(column([10**400])[0]), Statistics.of(np.array([0.5]))
    assert Statistics.merged(*parts).sum == math.inf
    assert parts[0].mean == math.inf


BOUNDS = st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.sampled_from((10**400, -(10**400)))
DTYPES = st.sampled_from(("u1", "i2", "i8", "u8", "f2", "f4", "f8"))


@given(DTYPES, st.lists(st.floats() | st.integers(-300, 300), max_size=5), BOUNDS, BOUNDS)
def test_lying_between_is_exact_for_each_dtype(dtype: str, values: list[Any], one: Any, other: Any) -> None:
    kind = np.dtype(dtype)
    low, high = min(one, other), max(one, other)
    with np.errstate(all="ignore"):
        array = np.array([v if kind.kind == "f" else 0 if not math.isfinite(v) else int(v) % 100 for v in values], kind)
    assert lies(array, low, high) is any(low <= value <= high for value in array.tolist())


@given(VALUES, BOUNDS, BOUNDS)
def test_lying_between_is_that_of_a_plain_loop(values: list[Any], one: Any, other: Any) -> None:
    low, high = min(one, other), max(one, other)
    assert lies(column(values)[0], low, high) is any(low <= value <= high for value in numbers_of(values))


def test_ends_are_included_and_compared_exactly() -> None:
    assert lies(np.array([2**53 + 1]), 2**53 + 1, 2**53 + 1)
    assert not lies(np.array([2**53 + 1]), 0, float(2**53))
    assert not lies(np.array([0.1], np.float32), 0, 0.1)  # 0.1 in 32 bits is a little more
    assert lies(np.array([0.1], np.float32), 0.1, 1)
    assert not lies(np.array([1, 2]), 1.25, 1.75)
    assert not lies(np.array(["1"], dtype=np.dtypes.StringDType()), 0, 5)


def test_a_mean_of_whole_numbers_is_the_nearest_float() -> None:
    values = [2**62 + 1, 2**62, 1]
    assert Statistics.of(np.array(values)).mean == float(Fraction(sum(values), 3))


def furthest(numbers: list[Any]) -> Any:
    """How far apart neighbours by size are at most, exactly."""
    if math.inf in numbers or -math.inf in numbers:
        return math.inf if len(set(numbers)) > 1 else 0
    ordered = sorted(map(Fraction, numbers))
    return max((high - low for low, high in pairwise(ordered)), default=Fraction(0))


def holds(gap: float | None, numbers: list[Any]) -> bool:
    """Whether a gap is one of these numbers."""
    return gap is None if not numbers else gap is not None and gap >= furthest(numbers)


@given(VALUES)
def test_no_neighbours_are_further_apart_than_the_gap(values: list[Any]) -> None:
    observed, numbers = Statistics.of(column(values)[0]).gap, numbers_of(values)
    assert holds(observed, numbers)
    if observed is not None and len(set(numbers)) < 2:
        assert observed == 0.0


@given(st.lists(VALUES, max_size=4))
def test_nor_those_of_parts_together(parts: list[list[Any]]) -> None:
    observed = Statistics.merged(*(Statistics.of(column(part)[0]) for part in parts)).gap
    assert holds(observed, numbers_of([value for part in parts for value in part]))


@given(DTYPES, st.lists(st.floats(allow_nan=False) | st.integers(-(2**40), 2**40), min_size=1, max_size=6))
def test_a_gap_holds_for_each_dtype(dtype: str, values: list[Any]) -> None:
    kind = np.dtype(dtype)
    with np.errstate(all="ignore"):
        array = np.array([v if kind.kind == "f" else 0 if not math.isfinite(v) else int(v) % 100 for v in values], kind)
    assert holds(Statistics.of(array).gap, array.tolist())


def test_a_gap_is_hardly_more_than_it_need_be() -> None:
    assert Statistics.of(np.array([0, 10, 7, 3])).gap == 4.0
    assert Statistics.of(np.array([2**63 - 1, -(2**63)])).gap == 2.0**64
    assert Statistics.of(np.array([0.0, 0.25, 1.0])).gap == pytest.approx(0.75)
    assert Statistics.of(np.array([0.0, 10.0, 7.0, 3.0])).gap == 4.0
    assert Statistics.of(column([2**70, 0])[0]).gap == 2.0**70
    low, high = Statistics.of(np.array([0, 1])), Statistics.of(np.array([5, 7]))
    assert Statistics.merged(high, low).gap == 4.0
    assert Statistics.merged(high, Statistics.of(np.array([6, 20]))).gap == 14.0


def test_a_gap_of_many_values_is_that_of_some() -> None:
    image = np.random.default_rng(0).integers(0, 4000, (2000, 1000)).astype(np.uint16)
    observed = Statistics.of(image).gap
    assert observed is not None
    assert furthest(np.unique(image).tolist()) <= observed < 100
    far = Statistics.of(np.array([*range(100_000), 10**6])).gap
    assert far is not None
    assert 900_001 <= far < 900_100


PLAIN = st.lists(st.floats(width=64), min_size=1, max_size=6) | st.lists(
    st.integers(-20, 20).map(float), min_size=1, max_size=6
)


@given(PLAIN)
def test_a_few_floats_are_looked_at_without_numpy(values: list[float]) -> None:
    observed, expected = Statistics(*of_floats(values)), Statistics.of(np.array(values))
    assert same(observed.sum, expected.sum) or observed.sum == pytest.approx(expected.sum, rel=1e-12, abs=1e300)
    assert type(observed.sum) is type(expected.sum)
    assert replace(observed, sum=None) == replace(expected, sum=None)


@given(st.lists(st.integers(-(2**70), 2**70), min_size=1, max_size=6))
def test_a_few_integers_are_looked_at_without_numpy(values: list[int]) -> None:
    assert Statistics(*of_integers(values)) == Statistics.of(column(values)[0])


def test_statistics_pickle() -> None:
    found = Statistics.of(np.array([1.5, 2.5, np.nan]))
    assert pickle.loads(pickle.dumps(found)) == found
