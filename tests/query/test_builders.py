"""What people write becomes the nodes they mean."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from intake_bluesky.errors import UnsupportedQuery
from intake_bluesky.query import (
    ALL,
    Compare,
    Comparison,
    Eq,
    FullText,
    In,
    Item,
    Key,
    Not,
    NotEq,
    NotIn,
    Path,
    Query,
    RawMongo,
    Regex,
    Start,
    Stop,
    TextQuery,
)


@pytest.mark.parametrize(
    ("built", "expected"),
    [
        (Start("a.b"), Path("start", ("a", "b"))),
        (Start("a", "b.c"), Path("start", ("a", "b.c"))),
        (Start(("b.c",)), Path("start", ("b.c",))),
        (Start("start.x"), Path("start", ("start", "x"))),
        (Start("stop.x"), Path("start", ("stop", "x"))),
        (Stop("num_events.primary"), Path("stop", ("num_events", "primary"))),
        (Key("x"), Path("start", ("x",))),
        (Key("start.x"), Path("start", ("x",))),
        (Key("stop.x"), Path("stop", ("x",))),
        (Key("start.stop.x"), Path("start", ("stop", "x"))),
        (Key("start"), Path("start", ("start",))),
        (Key("stop"), Path("start", ("stop",))),
        (Key("stop", "x"), Path("start", ("stop", "x"))),
        (Key("a.b", descend=True), Path("start", ("a", "b"), descend=True)),
        (Item(), Path("item", ())),
        (Item("a.b"), Path("item", ("a", "b"))),
    ],
)
def test_where_a_key_looks(built: Start, expected: Path) -> None:
    assert built.path == expected


@pytest.mark.parametrize(
    "build", [lambda: Start(""), lambda: Key("a..b"), lambda: Start("a."), Start, lambda: Start(("",), ())]
)
def test_a_key_without_a_name_is_refused(build: Callable[[], Any]) -> None:
    with pytest.raises(UnsupportedQuery):
        build()


@pytest.mark.parametrize("symbol", ["==", "<", "<=", ">", ">="])
def test_comparisons_from_both_sides(symbol: str) -> None:
    compare = {"==": operator.eq, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}[symbol]
    mirrored = {"==": "==", "<": ">", "<=": ">=", ">": "<", ">=": "<="}[symbol]
    assert compare(Start("x"), 5) == Compare("x", symbol, 5)  # type: ignore[arg-type]
    assert compare(5, Start("x")) == Compare("x", mirrored, 5)  # type: ignore[arg-type]
    assert compare(Start("x"), np.float64(5)) == Compare("x", symbol, 5.0)  # type: ignore[arg-type]


def test_not_equal_is_the_negation_of_equal() -> None:
    assert (Start("x") != 5) == ~(Start("x") == 5) == Not(Compare("x", "==", 5))
    assert (5 != Start("x")) == (Start("x") != 5)  # noqa: SIM300


def test_membership_takes_any_iterable() -> None:
    expected = In("x", [1, 2])
    assert Start("x").is_in((1, 2)) == expected
    assert Start("x").is_in(range(1, 3)) == expected
    assert Start("x").is_in(number for number in (1, 2)) == expected
    assert Start("x").is_in(np.array([1, 2])) == expected
    assert Start("x").not_in([1, 2]) == ~expected


def test_a_key_is_no_query_and_no_value() -> None:
    with pytest.raises(TypeError, match="exists"):
        bool(Start("x"))
    with pytest.raises(UnsupportedQuery, match="not with another key"):
        Start("x") == Start("y")  # noqa: B015
    with pytest.raises(TypeError, match="unhashable"):
        hash(Start("x"))


def test_a_key_prints_as_it_is_written() -> None:
    for text in (
        "Start('a.b')",
        "Stop('x')",
        "Start('a', 'b.c')",
        "Item()",
        "Start(('a.b',))",
        "Start('a', descend=True)",
    ):
        assert repr(eval(text)) == text
    assert repr(Key("stop.x")) == "Stop('x')"


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (Eq("stop.exit_status", "fail"), Stop("exit_status") == "fail"),
        (NotEq("x", 1), Start("x") != 1),
        (In("x", [1, 2]), Start("x").is_in([1, 2])),
        (NotIn("x", [1, 2]), Start("x").not_in([1, 2])),
        (NotIn("x", []), ALL),
        (Comparison("lt", "x", 1), Start("x") < 1),
        (Comparison("le", "x", 1), Start("x") <= 1),
        (Comparison("gt", "x", 1), Start("x") > 1),
        (Comparison("ge", "x", 1), Start("x") >= 1),
        (Regex("x", "a", case_sensitive=False), Start("x").regex("a", ignore_case=True)),
        (TextQuery("Nickel"), FullText("Nickel")),
        (RawMongo({"stop.x": 1}), Start("stop.x", descend=True) == 1),
        (RawMongo(start='{"x": {"$gt": 1}}'), Start("x", descend=True) > 1),
    ],
    ids=repr,
)
def test_names_of_databroker(written: Query, expected: Query) -> None:
    assert written == expected


@pytest.mark.parametrize(
    "build",
    [
        lambda: Comparison("==", "x", 1),
        lambda: RawMongo("{"),
        lambda: RawMongo("[1]"),
        lambda: RawMongo('{"$or": [{"$text": {"$search": "x"}}]}'),
        lambda: NotIn("x", "abc"),
    ],
)
def test_names_of_databroker_refuse_what_they_cannot_mean(build: Callable[[], Query]) -> None:
    with pytest.raises(UnsupportedQuery):
        build()
