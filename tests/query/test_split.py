"""Dividing queries, and settling scan_ids against a catalog."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from intake_bluesky.errors import AmbiguousRun, UnsupportedQuery
from intake_bluesky.query import (
    ALL,
    Compare,
    Query,
    ScanID,
    ScanIDRange,
    Start,
    TimeRange,
    matches,
    settle_scan_ids,
    split,
    to_nnf,
)
from intake_bluesky.testing.queries import Run

A = Start("a") == 1
B = Start("b") < 2
R = Start("r").regex("x")


def only_comparisons(leaf: Query) -> bool:
    return isinstance(leaf, Compare)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (A, A),
        (~A, ~A),
        (~(A & B), ~A | ~B),
        (~(A | B), ~A & ~B),
        (~(A & ~(B | R)), ~A | B | R),
        (ALL, ALL),
        (~ALL, ~ALL),
        (TimeRange(1, 2), (Start("time") >= 1.0) & (Start("time") < 2.0)),
        (~TimeRange(1, 2), ~(Start("time") >= 1.0) | ~(Start("time") < 2.0)),
        (A & TimeRange(), A),
        (A | ~TimeRange(), A),
        (~ScanID(1, 2, duplicates="all"), Start("scan_id").not_in([1, 2])),
        (ScanIDRange(1, 5, "all") & A, (Start("scan_id") >= 1) & (Start("scan_id") < 5) & A),
    ],
    ids=repr,
)
def test_negation_normal_form(query: Query, expected: Query) -> None:
    assert to_nnf(query) == expected


@pytest.mark.parametrize(
    ("query", "pushed", "residual"),
    [
        (ALL, ALL, ALL),
        (~ALL, ~ALL, ALL),
        (A, A, ALL),
        (R, ALL, R),
        (~A, ~A, ALL),
        (~R, ALL, ~R),
        (A & R & B, A & B, R),
        (A | R, ALL, A | R),
        (A | B, A | B, ALL),
        ((A | B) & (A | R), A | B, A | R),
        (~(A | R), ~A, ~R),
        (~(A & R), ALL, ~A | ~R),
        (TimeRange(1, 2) & R, (Start("time") >= 1.0) & (Start("time") < 2.0), R),
    ],
    ids=repr,
)
def test_split(query: Query, pushed: Query, residual: Query) -> None:
    assert split(query, only_comparisons) == (pushed, residual)


def test_split_asks_only_about_leaves() -> None:
    asked: list[Query] = []

    def exact(leaf: Query) -> bool:
        asked.append(leaf)
        return True

    split(~(A & (B | ~R)) | A, exact)
    assert set(asked) == {A, B, R}


def test_a_scan_id_is_settled_before_it_is_planned() -> None:
    with pytest.raises(UnsupportedQuery, match="other runs"):
        split(A & ~ScanID(5), only_comparisons)


STARTS: list[dict[str, Any]] = [  # the newest first
    {"uid": "e", "scan_id": 2},
    {"uid": "d", "scan_id": 1},
    {"uid": "c", "scan_id": 3},
    {"uid": "b", "scan_id": 1},
    {"uid": "a"},
]


def find(query: Query) -> Iterator[dict[str, Any]]:
    return (start for start in STARTS if matches(query, Run(start, None)))


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (ScanID(1), "d"),
        (ScanID(1, 2), "ed"),
        (ScanID(7), ""),
        (~ScanID(1), "ecba"),
        (~ScanID(7), "edcba"),
        (ScanID(1, duplicates="all"), "db"),
        (ScanID(2, 3, duplicates="error"), "ec"),
        (ScanIDRange(1, 3), "ed"),
        (ScanIDRange(1, 3, "all"), "edb"),
        (ScanID(1) & (Start("uid") == "b"), ""),
        (ScanID(1) | (Start("uid") == "b"), "db"),
    ],
    ids=repr,
)
def test_scan_ids_are_settled_against_the_catalog(query: Query, expected: str) -> None:
    observed = "".join(start["uid"] for start in find(settle_scan_ids(query, find)))
    assert observed == expected


@pytest.mark.parametrize("query", [ScanID(1, duplicates="error"), ~ScanIDRange(0, 9, "error")], ids=repr)
def test_duplicates_are_an_error_on_request(query: Query) -> None:
    with pytest.raises(AmbiguousRun, match="scan_id 1, d and b"):
        settle_scan_ids(query, find)


def test_a_query_without_scan_ids_asks_the_catalog_nothing() -> None:
    def unused(query: Query) -> list[dict[str, Any]]:
        raise AssertionError(f"asked for {query!r}")

    assert settle_scan_ids(~A & (B | R), unused) == ~A & (B | R)
