"""Columns: every kind, nothing cast silently, and the declared dtype the computed one."""

from __future__ import annotations

import enum
import math
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from intake_bluesky.documents.columns import Observed, Ragged, column, conform, merge_observed, missing, observe, take
from intake_bluesky.testing.expected import same_value, values_of
from intake_bluesky.testing.strategies import columns, kinds

TEXT = np.dtypes.StringDType()
OBJECT = np.dtype(object)


class _Mode(enum.StrEnum):
    A = "a"


class _Gain(enum.IntEnum):
    LOW = 1


def _seen(values: list[Any]) -> Observed:
    col, nulls = column(values)
    return observe(col, nulls=nulls)


@pytest.mark.parametrize(
    ("values", "dtype", "shape"),
    [
        ([1, 2], "i8", ()),
        ([1, -2], "i8", ()),
        ([2**63, 1], "u8", ()),
        ([1.5, 2], "f8", ()),
        ([True, False], "?", ()),
        (["a", "long"], TEXT, ()),
        ([1, None], "f8", ()),
        ([None, None], "f8", ()),
        ([None, "a"], TEXT, ()),
        ([None, True], OBJECT, ()),
        ([2**53 + 1, None], OBJECT, ()),
        ([2**53 + 1, 0.5], OBJECT, ()),
        ([2**70, 1], OBJECT, ()),
        ([-1, 2**63], OBJECT, ()),
        ([True, 1], OBJECT, ()),
        (["a", 1], OBJECT, ()),
        ([{"a": 1}, {}], OBJECT, ()),
        ([b"raw", b""], OBJECT, ()),
        ([1.0, [1.0]], OBJECT, ()),
        ([[1, 2], [3, 4]], "i8", (2,)),
        ([[[1.5], [2]], [[3], [4]]], "f8", (2, 1)),
        ([["a"], ["b"]], TEXT, (1,)),
        ([[True], [False]], "?", (1,)),
        ([[1, None], None], "f8", (2,)),
        ([[], []], "f8", (0,)),
        ([[], [1]], "f8", (1,)),
        ([[], ["a"]], TEXT, (1,)),
        ([[], [True]], OBJECT, (1,)),
        ([[1], [2, 3]], "f8", (2,)),
        ([[[1]], [[2, 3]]], "f8", (1, 2)),
        ([[[1], [2, 3]], [[4]]], OBJECT, ()),
        ([[1], [[2]]], OBJECT, ()),
        ([np.float32(1), np.float32(2)], "f4", ()),
        ([np.int16(1), 2], "i8", ()),
        ([np.bool_(True), False], "?", ()),
        ([np.str_("a"), np.str_("b")], TEXT, ()),
        ([np.arange(3, dtype="u2")] * 2, "u2", (3,)),
        ([np.arange(3, dtype="u2"), np.arange(2, dtype="u2")], "f8", (3,)),
        ([np.array(["a", "b"])], TEXT, (2,)),
        ([np.array([(1, 2.0)], dtype="i4,f8")] * 2, OBJECT, ()),
        ([np.datetime64("2026-01-01")], OBJECT, ()),
        ([(1, 2), [3, 4]], "i8", (2,)),
        ([_Mode.A, "b"], TEXT, ()),
        ([_Gain.LOW, _Gain.LOW], "i8", ()),
    ],
    ids=repr,
)
def test_dtype_and_shape_of_what_was_observed(values: list[Any], dtype: Any, shape: tuple[int, ...]) -> None:
    seen = _seen(values)
    assert (seen.dtype, seen.shape) == (np.dtype(dtype), shape)
    col, _ = column(values)
    observed = conform(col, seen.dtype, seen.shape)
    assert observed.dtype == seen.dtype
    assert observed.shape == (len(values), *shape)


def test_arrays_of_numpy_pass_as_they_are() -> None:
    values = np.arange(6, dtype="u2").reshape(3, 2)
    col, nulls = column(values)  # type: ignore[arg-type]
    assert col is values
    assert not nulls


def test_enums_are_their_values() -> None:
    assert values_of(column([_Mode.A, None])[0]) == ["a", None]
    assert values_of(column([_Gain.LOW, 2])[0]) == [1, 2]


@pytest.mark.parametrize(
    ("values", "dtype", "found"),
    [
        ([1, 2.5], "i8", "1.0"),
        ([1.0], "i8", "1.0"),
        (["1"], "f8", "'1'"),
        ([1], TEXT, "1"),
        ([True], "i8", "True"),
        ([True], "f8", "True"),
        ([1], "?", "1"),
        ([1, -1], "u8", "-1"),
        ([300], "u1", "300"),
        ([2**53 + 1], "f8", str(2**53 + 1)),
        ([2**63 - 1], "f8", str(2**63 - 1)),
        ([2**25 + 1], "f4", str(2**25 + 1)),
        ([0.1], "f4", "0.1"),
        ([1e300], "f4", "1e+300"),
        ([1, None], "i8", "1.0"),
        (["a", 1], TEXT, "'a'"),
        ([1j], "f8", "1j"),
    ],
    ids=repr,
)
def test_no_value_changes_silently(values: list[Any], dtype: Any, found: str) -> None:
    with pytest.raises(ValueError, match=r"where .* was declared") as caught:
        conform(column(values)[0], np.dtype(dtype), ())
    assert found in str(caught.value)


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ([1, 2], "u1"),
        ([1, 2], "f4"),
        ([0.5, math.nan, math.inf], "f4"),
        ([np.float32(0.5), np.float32("nan")], "f8"),
        ([1, None], "f8"),
        ([None], TEXT),
        ([None], OBJECT),
        ([True, "a", 1.5], OBJECT),
        ([1.5], "c16"),
    ],
    ids=repr,
)
def test_exact_casts_are_made(values: list[Any], dtype: Any) -> None:
    observed = conform(column(values)[0], np.dtype(dtype), ())
    assert observed.dtype == np.dtype(dtype)
    assert (
        all(map(same_value, observed.tolist(), [getattr(v, "item", lambda v=v: v)() for v in values])) or dtype == "c16"
    )


@pytest.mark.parametrize(
    ("values", "dtype", "shape"),
    [
        ([[1, 2, 3]], "f8", (2,)),
        ([[1, 2]], "f8", ()),
        ([1], "f8", (1,)),
        ([[1]], "i8", (2,)),
        ([[True]], "?", (2,)),
        ([[1], [1, 2]], "i8", (2,)),
        ([None, None], "i8", (2,)),
        ([[1], [1, 2, 3]], "f8", (2,)),
        ([[[1]], [[1, 2]]], "f8", (2,)),
    ],
    ids=repr,
)
def test_shapes_that_do_not_fit_are_refused(values: list[Any], dtype: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="declared"):
        conform(column(values)[0], np.dtype(dtype), shape)


def test_ragged_is_padded_with_what_is_missing() -> None:
    col, _ = column([[1.5], [2.5, 3.5], []])
    assert isinstance(col, Ragged)
    assert col.offsets.tolist() == [0, 1, 3, 3]
    expected = [[1.5, np.nan], [2.5, 3.5], [np.nan, np.nan]]
    np.testing.assert_array_equal(conform(col, np.dtype(float), (2,)), expected)
    text, _ = column([["a"], ["b", "c"]])
    assert conform(text, TEXT, (2,)).tolist() == [["a", ""], ["b", "c"]]


def test_page_of_nulls_takes_the_shape_of_its_stream() -> None:
    col, nulls = column([None, None])
    assert nulls
    observed = conform(col, np.dtype(float), (2, 3))
    assert observed.shape == (2, 2, 3)
    assert np.isnan(observed).all()


def test_missing_is_nan_empty_or_none() -> None:
    assert np.isnan(missing((2,), np.dtype(float))).all()
    assert missing((1,), TEXT).tolist() == [""]
    assert missing((1,), OBJECT).tolist() == [None]


@pytest.mark.parametrize("events", [slice(1, 3), [2, 0], np.array([True, False, True]), slice(0, 0)], ids=repr)
def test_take_selects_events(events: Any) -> None:
    rows = [[1.5], [2.5, 3.5], []]
    expected = [rows[i] for i in np.arange(3)[events]]
    assert values_of(take(column(rows)[0], events)) == expected
    plain = np.arange(3)
    assert take(plain, events).tolist() == plain[events].tolist()  # type: ignore[union-attr]


@given(kinds().flatmap(columns))
def test_column_holds_its_values(values: list[Any]) -> None:
    col, nulls = column(values)
    assert len(col) == len(values)
    assert all(map(same_value, values_of(col), values))
    assert nulls >= any(v is None for v in values)


@given(kinds().flatmap(lambda kind: st.lists(columns(kind), min_size=1, max_size=4)))
def test_declared_equals_computed_for_every_page(pages: list[list[Any]]) -> None:
    whole = merge_observed(_seen(page) for page in pages)
    for page in pages:
        observed = conform(column(page)[0], whole.dtype, whole.shape)
        assert observed.dtype == whole.dtype
        assert observed.shape == (len(page), *whole.shape)


@given(st.lists(kinds(), min_size=1, max_size=4).flatmap(lambda names: st.tuples(*map(columns, names))))
def test_declared_equals_computed_when_kinds_change(pages: tuple[list[Any], ...]) -> None:
    whole = merge_observed(_seen(page) for page in pages)
    for page in pages:
        observed = conform(column(page)[0], whole.dtype, whole.shape)
        assert (observed.dtype, observed.shape) == (whole.dtype, (len(page), *whole.shape))


SEEN = kinds().flatmap(columns).map(_seen)


@given(SEEN, SEEN, SEEN)
def test_merging_is_associative_commutative_and_idempotent(a: Observed, b: Observed, c: Observed) -> None:
    assert (a | b) | c == a | (b | c)
    assert a | b == b | a
    assert a | a == a
    assert a | Observed() == a


@given(SEEN)
def test_observed_is_stored_and_pickled(seen: Observed) -> None:
    assert Observed.from_list(seen.to_list()) == seen
    assert pickle.loads(pickle.dumps(seen)) == seen


@given(kinds().flatmap(columns), st.integers(0, 6), st.integers(0, 6))
def test_slices_of_a_column_are_columns_of_the_slice(values: list[Any], start: int, stop: int) -> None:
    col, _ = column(values)
    assert all(map(same_value, values_of(take(col, slice(start, stop))), values[start:stop]))


ANYTHING = st.sampled_from(
    [
        None,
        True,
        1,
        -2,
        2**63,
        0.5,
        math.nan,
        "",
        "a",
        "half \ud800",
        [],
        [1, 2],
        [None, 2.5],
        [None, None],
        ["a"],
        [[1]],
    ]
)


@example([["a"], None, [None, None]], 1)
@given(st.lists(ANYTHING, min_size=1, max_size=6), st.integers(1, 6))
def test_values_do_not_depend_on_how_they_were_cut_into_pages(values: list[Any], cut: int) -> None:
    def read(pages: list[list[Any]]) -> tuple[Any, Any]:
        made = [column(page) for page in pages]
        seen = merge_observed(observe(col, nulls=nulls) for col, nulls in made)
        return seen.dtype, np.concatenate([conform(col, seen.dtype, seen.shape) for col, _ in made]).tolist()

    (one, whole), (other, apart) = read([values]), read([part for part in (values[:cut], values[cut:]) if part])
    assert one == other
    np.testing.assert_equal(apart, whole)


def test_lists_of_arrays_are_arrays() -> None:
    values, nulls = column([[np.array([1, 2]), np.array([3, 4])], [[5, 6], [7, 8]]])
    assert isinstance(values, np.ndarray)
    assert values.tolist() == [[[1, 2], [3, 4]], [[5, 6], [7, 8]]]
    assert values.dtype == np.int64
    assert not nulls
