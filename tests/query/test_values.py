"""What a query may hold, and when two values are equal."""

from __future__ import annotations

import enum
import pickle
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal

import numpy as np
import pytest

from intake_bluesky.errors import UnsupportedQuery
from intake_bluesky.query.values import FrozenDict, equal, freeze, show


class Colour(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (np.int64(5), 5),
        (np.uint64(2**64 - 1), 2**64 - 1),
        (np.float32(0.5), 0.5),
        (np.bool_(True), True),
        (np.str_("Ni"), "Ni"),
        (np.array([1, 2]), (1, 2)),
        (np.array(3.5), 3.5),
        ([1, [2, (3,)]], (1, (2, (3,)))),
        (Colour.RED, "red"),
        (Level.HIGH, 3),
        ({"a": [np.int8(1)]}, FrozenDict({"a": (1,)})),
        (datetime(2024, 1, 1, 1, tzinfo=timezone(timedelta(hours=1))), 1704067200.0),
    ],
)
def test_values_become_plain_python(given: object, expected: object) -> None:
    observed = freeze(given)
    assert observed == expected
    assert type(observed) is type(expected)


@pytest.mark.parametrize("given", [1, 1.5, True, "x", np.float64(2.5), np.int16(2), Level.HIGH])
def test_scalars_lose_their_subclass(given: object) -> None:
    assert type(freeze(given)) in (bool, int, float, str)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        (b"bytes", "bytes"),
        ({1, 2}, "set"),
        (1j, "complex"),
        (Decimal(1), "Decimal"),
        (date(2024, 1, 1), "date"),
        (object(), "object"),
        ({1: 2}, "int"),
        (float("nan"), "is_nan"),
        (np.float32("nan"), "is_nan"),
        ([float("nan")], "is_nan"),
        (datetime(2024, 1, 1), "time zone"),
        (np.datetime64("2024-01-01T00:00"), "time zone"),
        (1 << 5000, "5001 bits"),
    ],
)
def test_what_a_document_cannot_hold_is_refused_by_name(given: object, named: str) -> None:
    with pytest.raises(UnsupportedQuery, match=named):
        freeze(given)


def test_a_bottomless_value_is_refused() -> None:
    value: list[object] = []
    value.append(value)
    with pytest.raises(UnsupportedQuery, match="nested deeper"):
        freeze(value)


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        (1, 1.0, True),
        (2**53 + 1, float(2**53), False),
        (2**64, float(2**64), True),
        (10**400, float("inf"), False),
        (0.0, -0.0, True),
        (True, 1, False),
        (1, True, False),
        (False, 0.0, False),
        (True, True, True),
        (None, None, True),
        (None, False, False),
        (0, None, False),
        ("1", 1, False),
        ("é", "e\u0301", False),
        ([1, 2], (1, 2), True),
        ((1, 2), (1, 2), True),
        ([1, True], (1, 1), False),
        ([1], (1, 2), False),
        ("ab", ("a", "b"), False),
        ({"a": 1, "b": [2]}, FrozenDict({"b": (2.0,), "a": 1}), True),
        ({"a": 1}, FrozenDict({"a": True}), False),
        ({"a": 1}, FrozenDict({"b": 1}), False),
        ({"a": 1, "b": 1}, FrozenDict({"a": 1}), False),
        ([], FrozenDict({}), False),
        (float("nan"), 1.0, False),
    ],
)
def test_equality(left: object, right: object, expected: bool) -> None:
    assert equal(left, right) is expected


def test_equality_of_dicts_may_ask_for_the_order() -> None:
    assert not equal({"a": 1, "b": 2}, {"b": 2, "a": 1}, ordered=True)
    assert equal({"a": 1, "b": 2}, {"a": 1, "b": 2}, ordered=True)
    assert not equal([{"a": 1, "b": 2}], [{"b": 2, "a": 1}], ordered=True)


def test_a_frozen_dict_hashes_by_content_and_pickles() -> None:
    first, second = FrozenDict({"a": 1, "b": (2,)}), FrozenDict({"b": (2,), "a": 1})
    assert first == second
    assert hash(first) == hash(second)
    assert pickle.loads(pickle.dumps(first)) == first
    with pytest.raises(TypeError):
        first["a"] = 2  # type: ignore[index]


@pytest.mark.parametrize("value", [float("-inf"), "nul\0 \ud800 '\"", -(10**30), (1, ({"a": None},)), 0.1 + 0.2])
def test_show_is_code_for_the_same_value(value: object) -> None:
    observed = freeze(eval(show(freeze(value))))
    assert observed == freeze(value)
