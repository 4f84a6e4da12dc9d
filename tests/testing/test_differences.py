"""The first difference of two documents, which messages of the conformance suites tell."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given

from intake_bluesky.documents.model import identical
from intake_bluesky.testing.differences import assert_arrays, assert_documents, assert_identical, first_difference
from intake_bluesky.testing.plain_runs import scan
from intake_bluesky.testing.strategies import metadata

DIFFERENCES = {
    "data.det[4]: 1.0 (float) is stored, 1 (int) came back": (
        {"data": {"det": [0.0, 0.0, 0.0, 0.0, 1]}},
        {"data": {"det": [0.0, 0.0, 0.0, 0.0, 1.0]}},
    ),
    "data.det: 2 values are stored, 3 came back": ({"data": {"det": [1, 2, 3]}}, {"data": {"det": [1, 2]}}),
    "hints: null is stored, and the key is absent in what came back": ({"uid": "a"}, {"uid": "a", "hints": None}),
    "hints: the key is absent in what is stored, and null came back": ({"uid": "a", "hints": None}, {"uid": "a"}),
    "hints: null is stored, {} (dict) came back": ({"hints": {}}, {"hints": None}),
    "the keys are stored in the order ['a', 'b'], and came back in the order ['b', 'a']": (
        {"b": 1, "a": 2},
        {"a": 2, "b": 1},
    ),
    "[1].x.y: True (bool) is stored, 1 (int) came back": ([{}, {"x": {"y": 1}}], [{}, {"x": {"y": True}}]),
}


@pytest.mark.parametrize("told", DIFFERENCES)
def test_the_first_difference_is_told_by_its_path(told: str) -> None:
    observed, expected = DIFFERENCES[told]
    assert first_difference(observed, expected) == told
    with pytest.raises(AssertionError, match=r"^event 3 "):
        assert_identical(observed, expected, "event 3")


def test_arrays_are_told_by_the_place_of_the_first_difference() -> None:
    expected = np.arange(12, dtype="u2").reshape(2, 2, 3)
    assert_arrays(expected.astype("f4"), expected, "frames")
    assert_arrays([1.0, math.nan], [1, math.nan], "frames")
    observed = expected.copy()
    observed[1, 0, 2] = 99
    with pytest.raises(AssertionError, match=r"^frames\[1\]\[0\]\[2\]: 8 \(int\) is stored, 99 \(int\) came back$"):
        assert_arrays(observed, expected, "frames")
    with pytest.raises(AssertionError, match=r"^frames: 2 values are stored, 1 came back$"):
        assert_arrays(expected[:1], expected, "frames")


def test_long_values_are_cut() -> None:
    told = first_difference({"x": "a" * 5000}, {"x": 1})
    assert told is not None
    assert len(told) < 150


@pytest.mark.hypothesis
@given(metadata(), metadata())
def test_there_is_one_where_documents_are_not_identical(one: Any, other: Any) -> None:
    assert (first_difference(one, other) is None) == identical(one, other)
    assert first_difference(one, copy.deepcopy(one)) is None


def test_a_run_is_told_by_the_name_and_number_of_its_document() -> None:
    run = scan()
    changed = copy.deepcopy(run)
    numbers = [place for place, (name, _) in enumerate(run) if name == "event"]
    del changed[numbers[2]][1]["filled"]
    with pytest.raises(AssertionError, match=r"^event 2 filled: .* is stored, and the key is absent"):
        assert_documents(changed, run)
    with pytest.raises(AssertionError, match=rf"^{len(run)} documents are stored, {len(run) - 1} came back"):
        assert_documents(run[:-1], run)
    with pytest.raises(AssertionError, match=r"^document 0: a start is stored, a stop came back"):
        assert_documents(run[::-1], run)
