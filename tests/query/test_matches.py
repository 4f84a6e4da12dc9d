"""Each decided case of what a query means."""

from __future__ import annotations

import math
from typing import Any

import pytest

from intake_bluesky.documents.model import RunSummary
from intake_bluesky.errors import UnsupportedQuery
from intake_bluesky.query import (
    ALL,
    FullText,
    Item,
    Key,
    PartialUID,
    Query,
    RunEnds,
    ScanID,
    ScanIDRange,
    Start,
    Stop,
    TimeRange,
    matches,
)
from intake_bluesky.testing.queries import Run


def holds(query: Query, value: Any) -> bool:
    """Put a query over ``x`` to a run whose start has that ``x``."""
    return matches(query, Run({"uid": "u", "x": value}, None))


at_x = Start("x")
HERE = Run({"uid": "9acjef", "time": 100.0, "scan_id": 5, "plan_name": "scan"}, {"exit_status": "success", "n": 3})
GOING_ON = Run(HERE.start, None)


def test_all_and_nothing() -> None:
    assert matches(ALL, GOING_ON)
    assert not matches(~ALL, GOING_ON)


def test_combinations() -> None:
    yes, no = Start("plan_name") == "scan", Start("plan_name") == "count"
    assert matches(yes & ~no, HERE)
    assert not matches(yes & no, HERE)
    assert matches(yes | no, HERE)
    assert not matches(no | ~yes, HERE)


@pytest.mark.parametrize("path", [Start("missing"), Start("plan_name.x"), Stop("missing"), Start("scan_id.0")])
def test_a_missing_key_makes_comparisons_false_and_negations_true(path: Start) -> None:
    for query in (
        path == 1,
        path < 1,
        path >= 1,
        path == None,  # noqa: E711
        path.is_in([1, None]),
        path.regex(""),
        path.contains(1),
    ):
        assert not matches(query, HERE)
        assert matches(~query, HERE)
    for query in (path.exists(), path.is_nan(), path.has_size(0), path.any(ALL)):
        assert not matches(query, HERE)
    assert matches(path != 1, HERE)
    assert matches(path != None, HERE)  # noqa: E711


def test_a_run_without_stop_has_nothing_there() -> None:
    assert not matches(Stop("exit_status") == "success", GOING_ON)
    assert matches(Stop("exit_status") != "success", GOING_ON)
    assert not matches(Stop("exit_status").exists(), GOING_ON)
    assert matches(Stop("exit_status").exists(), HERE)
    assert matches(Stop("exit_status") == "success", HERE)


def test_none_is_an_explicit_null() -> None:
    assert holds(at_x == None, None)  # noqa: E711
    assert not holds(at_x != None, None)  # noqa: E711
    assert holds(at_x.exists(), None)
    assert holds(at_x.is_in([None]), None)
    assert not holds(at_x == None, 0)  # noqa: E711
    assert not holds(at_x == None, False)  # noqa: E711


@pytest.mark.parametrize("value", [None, 0, "", False, []])
def test_nothing_is_ordered_against_null(value: Any) -> None:
    for query in (at_x < None, at_x <= None, at_x > None, at_x >= None):
        assert not holds(query, value)
        assert holds(~query, value)
    for query in (at_x < 1, at_x <= 1, at_x > 1, at_x >= 1, at_x >= "", at_x <= "z"):
        assert not holds(query, None)


def test_nan_compares_with_nothing() -> None:
    for query in (at_x == 0, at_x < 1, at_x <= math.inf, at_x > -math.inf, at_x >= 0, at_x.is_in([1.0])):
        assert not holds(query, math.nan)
        assert holds(~query, math.nan)
    assert holds(at_x != 1.0, math.nan)
    assert holds(at_x.is_nan(), math.nan)
    assert holds(at_x.exists(), math.nan)
    for value in (1.0, math.inf, None, "nan", 5, [math.nan]):
        assert not holds(at_x.is_nan(), value)


def test_numbers_compare_as_numbers() -> None:
    assert holds(at_x == 1.0, 1)
    assert holds(at_x == 1, 1.0)
    assert holds(at_x.is_in([2.0, 1.0]), 1)
    assert holds(at_x < 1.5, 1)
    assert not holds(at_x == float(2**53), 2**53 + 1)
    assert holds(at_x > float(2**53), 2**53 + 1)
    assert holds(at_x == 2**64 + 1, 2**64 + 1)
    assert not holds(at_x == 2**64 + 1, 2**64)
    assert not holds(at_x == 2**64 + 1, float(2**64))
    assert holds(at_x < 10**400, 1e308)
    assert holds(at_x < math.inf, 10**400)
    assert holds(at_x > -math.inf, -(10**400))
    assert holds(at_x == 0, -0.0)


def test_a_bool_is_no_number() -> None:
    assert holds(at_x == True, True)  # noqa: E712
    assert not holds(at_x == True, 1)  # noqa: E712
    assert not holds(at_x == 1, True)
    assert not holds(at_x == False, 0)  # noqa: E712
    assert not holds(at_x < 2, True)
    assert not holds(at_x < True, 0)
    assert not holds(at_x.is_in([0, 1]), True)
    assert not holds(at_x.contains(1), [True])
    assert holds(at_x < True, False)


def test_there_is_no_order_across_types() -> None:
    for value in ("5", True, None, [5], {"a": 5}):
        for query in (at_x < 10, at_x <= 10, at_x > 1, at_x >= 1):
            assert not holds(query, value)
    others: list[Any] = [5, True, None, ["a"], {"a": "a"}]
    for value in others:
        for query in (at_x < "z", at_x <= "z", at_x > "", at_x >= ""):
            assert not holds(query, value)


def test_text_is_in_the_order_of_code_points() -> None:
    assert holds(at_x < "a", "Z")
    assert holds(at_x > "z", "é")
    assert holds(at_x < "\U00010000", "\uffff")  # UTF-16 would say the contrary
    assert holds(at_x == "nul\0", "nul\0")
    assert holds(at_x > "nul", "nul\0")
    assert holds(at_x == "half \ud800", "half \ud800")
    assert not holds(at_x == "é", "e\u0301")


def test_digits_are_an_index_of_a_list_and_a_key_of_a_dict() -> None:
    path = Start("x.1")
    assert holds(path == "b", ["a", "b"])
    assert holds(path == "b", ("a", "b"))
    assert holds(path == "b", {"1": "b"})
    assert not holds(path.exists(), ["a"])
    assert not holds(path.exists(), "ab")
    for odd in ("x.01", "x.-1", "x.+1", "x.1.0", "x.\u0661", "x." + "9" * 5000):
        assert not holds(Start(odd).exists(), ["a", "b"])
    assert holds(Start("x.1.name") == "b", [{}, {"name": "b"}])


def test_literal_segments() -> None:
    assert holds(Start("x", "a.b") == 1, {"a.b": 1})
    assert not holds(Start("x.a.b") == 1, {"a.b": 1})
    assert holds(Start("x", "") == 1, {"": 1})


def test_lists_and_dicts_compare_whole() -> None:
    assert holds(at_x == ["a", 1], ["a", 1.0])
    assert holds(at_x == ["a", 1], ("a", 1))
    assert not holds(at_x == "a", ["a"])
    assert not holds(at_x == ["a"], "a")
    assert not holds(at_x == ["a", "b"], ["b", "a"])
    assert not holds(at_x == [1], [True])
    assert holds(at_x == {"a": 1, "b": [2]}, {"b": [2], "a": 1})
    assert not holds(at_x == {"a": 1}, {"a": 1, "b": 2})
    assert not holds(at_x == [1.0], [math.nan])
    assert holds(at_x.is_in([["a"], {"b": 1}]), {"b": 1})


def test_contains_looks_for_an_item() -> None:
    assert holds(at_x.contains("a"), ["b", "a"])
    assert holds(at_x.contains([1]), [[1.0]])
    assert holds(at_x.contains(None), [None])
    for value in ("a", {"a": 1}, [["a"]], None, []):
        assert not holds(at_x.contains("a"), value)


def test_any_looks_into_dicts_of_a_list() -> None:
    samples = [{"name": "Fe", "mass": 3}, {"name": "Ni", "mass": 1}, 7, None]
    assert holds(at_x.any(Key("name") == "Ni"), samples)
    assert not holds(at_x.any((Key("name") == "Ni") & (Key("mass") > 2)), samples)
    assert holds(at_x.any(Key("name") == "Ni") & at_x.any(Key("mass") > 2), samples)
    assert not holds(at_x.any(Key("name") == "Cu"), samples)
    assert not holds(at_x.any(Key("name") == "Ni"), samples[1])
    assert holds(at_x.any(Key("a").any(Key("b") == 1)), [{"a": [{"b": 1}]}])


def test_any_over_keys_never_matches_what_has_no_keys() -> None:
    query = at_x.any(Key("name") != "Ni")
    assert holds(query, [{"name": "Fe"}])
    assert holds(query, [{}])
    assert not holds(query, [{"name": "Ni"}, 7, None, "Fe"])


def test_any_over_the_items_themselves() -> None:
    assert holds(at_x.any(Item() > 5), [1, 6])
    assert not holds(at_x.any((Item() > 5) & (Item() < 6)), [1, 6])
    assert holds(at_x.any(Item() != 1), [1, "a"])
    assert not holds(at_x.any(Item() != 1), [])
    assert holds(at_x.any(ALL), [None])
    assert not holds(at_x.any(ALL), [])


def test_size() -> None:
    assert holds(at_x.has_size(2), [1, [2]])
    assert holds(at_x.has_size(0), ())
    for value in ("ab", {"a": 1, "b": 2}, 2, None):
        assert not holds(at_x.has_size(2), value)


def test_regex_searches_text() -> None:
    assert holds(at_x.regex("i"), "Ni foil")
    assert holds(at_x.regex("^ni", ignore_case=True), "Ni")
    assert not holds(at_x.regex("^ni"), "Ni")
    assert holds(at_x.regex("^b$", flags="m"), "a\nb")
    assert holds(at_x.regex(r"\d"), "\u0663")
    assert not holds(at_x.regex(r"\d", flags="a"), "\u0663")
    assert holds(at_x.regex("a$"), "a\n")
    assert holds(at_x.regex("l\0"), "nul\0")
    for value in (5, None, ["Ni"], {"i": "i"}):
        assert not holds(at_x.regex(""), value)


def test_partial_uid() -> None:
    assert matches(PartialUID("9ac"), HERE)
    assert matches(PartialUID("xyz", "9acjef"), HERE)
    assert not matches(PartialUID("9acjefg", "acj", "9AC"), HERE)
    assert not matches(PartialUID("9"), Run({"uid": 9}, None))
    assert not matches(PartialUID("9"), Run({}, None))


def test_time_range_is_half_open() -> None:
    assert matches(TimeRange(100, 101), HERE)
    assert not matches(TimeRange(99, 100), HERE)
    assert matches(TimeRange(since=100), HERE)
    assert not matches(TimeRange(since=100.1), HERE)
    assert matches(TimeRange(until=100.1), HERE)
    assert matches(TimeRange(), HERE)
    assert not matches(TimeRange(since=0), Run({}, None))
    assert matches(TimeRange(), Run({}, None))


def test_scan_ids() -> None:
    assert matches(ScanID(4, 5, duplicates="all"), HERE)
    assert not matches(ScanID(4, duplicates="all"), HERE)
    assert matches(ScanIDRange(5, 6, duplicates="all"), HERE)
    assert not matches(ScanIDRange(4, 5, duplicates="all"), HERE)


@pytest.mark.parametrize("query", [ScanID(5), ScanID(5, duplicates="error"), ScanIDRange(1, 9), ~ScanID(5)], ids=repr)
def test_what_depends_on_other_runs_is_not_answered_for_one(query: Query) -> None:
    with pytest.raises(UnsupportedQuery, match="duplicates='all'"):
        matches(query, HERE)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("nickel", True),
        ("FOIL nickel", True),
        ("nickel, foil!", True),
        ("strasse", True),
        ("ﬁlm", True),
        ("deep", True),
        ("9acjef", True),
        ("nick", False),
        ("nickel copper", False),
        ("sample", False),
        ("5", False),
        ("success", False),
    ],
)
def test_full_text(text: str, expected: bool) -> None:
    start = {
        "uid": "9acjef",
        "sample": {"name": "Nickel", "form": ["thin FOIL", {"x": [["deep"]]}]},
        "note": "Straße, film",
        "n": 5,
    }
    assert matches(FullText(text), Run(start, {"exit_status": "success"})) is expected


def test_full_text_does_not_mind_deep_documents() -> None:
    value: Any = "bottom"
    for _ in range(5000):
        value = [value]
    assert holds(FullText("bottom"), value)


def test_an_item_stands_only_inside_any() -> None:
    with pytest.raises(UnsupportedQuery, match=r"inside \.any"):
        matches(Item("x") == 1, HERE)


def test_an_unknown_node_is_refused() -> None:
    class Newer(Query):
        __slots__ = ()

    with pytest.raises(UnsupportedQuery, match="Newer"):
        matches(Newer() & ALL, HERE)


def test_a_summary_is_enough_of_a_run() -> None:
    run: RunEnds = RunSummary.of(HERE.start, HERE.stop)
    assert matches((Start("scan_id") == 5) & (Stop("n") == 3), run)
