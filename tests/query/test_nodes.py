"""Nodes compose, print as code, compare and hash, pickle, and refuse what has no meaning."""

from __future__ import annotations

import copy
import dataclasses
import functools
import pickle
import re
import subprocess
import sys

import pytest

import intake_bluesky.query as public
from intake_bluesky.errors import UnsupportedQuery
from intake_bluesky.query import (
    ALL,
    And,
    AnyDescriptor,
    AnyItem,
    Compare,
    Config,
    Data,
    DataKey,
    Descriptor,
    Device,
    FullText,
    Fuzzy,
    In,
    Item,
    Key,
    Not,
    Or,
    PartialUID,
    Path,
    Query,
    Regex,
    ScanID,
    ScanIDRange,
    Start,
    Stop,
    Stream,
    TimeRange,
    all_of,
    any_of,
    documents_needed,
    from_json,
    leaves,
    to_json,
)

A = Start("a") == 1
B = Stop("b") < 2
C = Start("c").exists()

EXAMPLES = [
    ALL,
    ~ALL,
    A,
    ~A,
    B,
    ~B,
    C,
    ~C,
    A & B & ~C,
    A | (B & C),
    (A | B) & C,
    ~(A & B),
    ~(A | ~B) & C,
    Start("x") == None,  # noqa: E711
    Start("x") == True,  # noqa: E712
    Start("x") == float("inf"),
    Start("x") == [1, {"a": (2,)}],
    Start("a", "b.c") == 1,
    Start(("b.c",)) == 1,
    Start(("",)) == 1,
    Start("a", "") == 1,
    Start("a.b", descend=True) != 1,
    Start("x").is_in([1, "2", None]),
    Start("x").not_in([1]),
    Start("x").regex("^a'\"\\d", ignore_case=True),
    Start("x").regex(re.compile("a b", re.VERBOSE | re.MULTILINE)),
    Start("x").contains("y"),
    Start("x").has_size(2),
    ~Start("x").is_nan(),
    Start("x").any(Key("name") == "Ni"),
    Start("x").any(Item() > 3),
    Start("x").any(Key("y").any(Item("z") == 1) & ~(Item("w") == 2)),
    Start("nul\0") == "half \ud800",
    Start("x") == 10**40,
    PartialUID("9acjef", "0b"),
    TimeRange(),
    TimeRange(since=1.5e9),
    TimeRange(since="2024-03-05 14:30:05.25", until="2025", timezone="Europe/Berlin"),
    TimeRange(since=1704067200.0000002, until=1e18),
    ScanID(1, 2),
    ScanID(1, duplicates="all"),
    ScanIDRange(1, 5, duplicates="error"),
    FullText("Nickel foil"),
    Fuzzy("Nickle", 0.25),
    Stream("baseline").exists(),
    ~Device("fccd", stream="primary").exists(),
    DataKey("det.x-1").field("units") == "deg",
    Config("fccd", "exposure_time") > 0.1,
    AnyDescriptor((Descriptor("name") == "primary") | ~Descriptor("data_keys", "").exists()),
    Data("theta").max() > 5,
    Data("theta", stream="primary").sum() != 10**40,
    ~(Data("det.x-1").nan_count() <= 0),
    Data("theta").between(0, 5.5),
    ~Data("theta", stream="a").within(float("-inf"), 5),
]


def rebuilt(query: Query) -> object:
    return eval(repr(query), {name: getattr(public, name) for name in public.__all__})


@pytest.mark.parametrize("query", EXAMPLES, ids=repr)
def test_repr_is_code_that_rebuilds_the_query(query: Query) -> None:
    assert rebuilt(query) == query


@pytest.mark.parametrize("query", EXAMPLES, ids=repr)
def test_queries_pickle_copy_and_hash(query: Query) -> None:
    for other in (pickle.loads(pickle.dumps(query)), copy.deepcopy(query), rebuilt(query)):
        assert other == query
        assert hash(other) == hash(query)
        assert repr(other) == repr(query)


@pytest.mark.parametrize("query", EXAMPLES, ids=repr)
def test_json_brings_a_query_back(query: Query) -> None:
    text = to_json(query)
    assert text.isascii()
    assert from_json(text) == query
    assert from_json(text.encode()) == query
    assert to_json(from_json(text)) == text


def test_no_two_examples_are_equal() -> None:
    assert len(set(EXAMPLES)) == len(EXAMPLES)


def test_repr_is_what_one_would_write() -> None:
    failed = Stop("exit_status") == "fail"
    assert repr((Start("plan_name") == "scan") & ~failed) == (
        "(Start('plan_name') == 'scan') & (Stop('exit_status') != 'fail')"
    )
    assert repr(~B & (C | ~C)) == "~(Stop('b') < 2) & (Start('c').exists() | ~Start('c').exists())"


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (Start("x") == 1, Start("x") == True),  # noqa: E712
        (Start("x") == 0, Start("x") == False),  # noqa: E712
        (Start("x") == 1, Stop("x") == 1),
        (Start("a.b") == 1, Start(("a.b",)) == 1),
        (Start("x") == 1, Start("x", descend=True) == 1),
        (Start("x") == "1", Start("x") == 1),
        (A & B, A | B),
        (A, ~A),
    ],
)
def test_queries_that_mean_different_things_differ(left: Query, right: Query) -> None:
    assert left != right


def test_and_or_are_flat_and_not_is_never_double() -> None:
    assert (A & B) & C == A & (B & C) == And((A, B, C))
    assert (A | B) | C == A | (B | C) == Or((A, B, C))
    assert ~~A == A
    assert ~~(A & B) == A & B


def test_all_is_neutral_and_its_negation_absorbs() -> None:
    assert A & ALL == ALL & A == A
    assert A | ALL == ALL | A == ALL
    assert A | ~ALL == ~ALL | A == A
    assert A & ~ALL == ~ALL & A == ~ALL
    assert all_of([]) == ALL
    assert any_of([]) == ~ALL
    assert all_of([A]) == any_of([A]) == A
    assert Start("x").is_in([]) == ~ALL
    assert Start("x").not_in([]) == ALL


@pytest.mark.parametrize(
    "build",
    [
        lambda: And(()),
        lambda: And((A,)),
        lambda: And((A, ALL)),
        lambda: Or((A, ~ALL)),
        lambda: And((A, B & C)),
        lambda: Or((A, B | C)),
        lambda: Not(Not(A)),
    ],
)
def test_there_is_one_form_of_each_tree(build: object) -> None:
    with pytest.raises(ValueError, match=r"all_of|any_of|double negation"):
        build()  # type: ignore[operator]


def test_truth_testing_names_the_cure() -> None:
    for use in (lambda: bool(A), lambda: A and B, lambda: A or B, lambda: not A, lambda: 1 < Start("a") < 5):
        with pytest.raises(TypeError, match=r"& \| ~ and parentheses"):
            use()


def test_only_queries_combine() -> None:
    for use in (lambda: A & {"a": 1}, lambda: A | True, lambda: 1 & A):  # type: ignore[operator]
        with pytest.raises(TypeError, match="unsupported operand"):
            use()


def test_nodes_are_frozen_and_slotted() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        A.op = "<"  # type: ignore[attr-defined]
    assert not hasattr(A, "__dict__")
    assert not hasattr(A & B, "__dict__")


def test_nesting_beyond_reason_is_an_error_and_not_a_crash() -> None:
    with pytest.raises(UnsupportedQuery, match="nested deeper than 100"):
        functools.reduce(lambda query, _: (query & B) | C, range(10_000), A)
    deep = A
    for _ in range(49):
        deep = (deep & B) | C
    assert deep.depth == 99
    assert rebuilt(deep) == deep


def test_a_long_chain_is_no_nesting() -> None:
    query = any_of(Start("a") == number for number in range(20_000))
    assert query.depth == 2
    assert sum(1 for _ in leaves(query)) == 20_000


def test_nodes_take_keys_as_text() -> None:
    assert In("stop.exit_status", ["fail"]) == Stop("exit_status").is_in(["fail"])
    assert Regex("plan_name", "^s", case_sensitive=False) == Start("plan_name").regex("^s", ignore_case=True)


@pytest.mark.parametrize(
    ("build", "named"),
    [
        (lambda: Compare("x", "!=", 1), "=="),  # type: ignore[arg-type]
        (lambda: Compare("x", "<", [1]), "no order"),
        (lambda: Compare("x", ">=", {"a": 1}), "no order"),
        (lambda: In("x", []), "at least one"),
        (lambda: In("x", "text"), "not one text"),
        (lambda: Start("x").is_in("text"), "not one text"),
        (lambda: Regex("x", "(unclosed"), r"\(unclosed"),
        (lambda: Regex("x", "a", "q"), "aimsx"),
        (lambda: Regex("x", b"a"), "b'a'"),  # type: ignore[arg-type]
        (lambda: Start("x").has_size(-1), "-1"),
        (lambda: Start("x").has_size(True), "True"),
        (PartialUID, "one or more"),
        (lambda: PartialUID(""), "not empty"),
        (lambda: FullText(" - "), "one or more words"),
        (ScanID, "one or more"),
        (lambda: ScanID("5"), "'5'"),  # type: ignore[arg-type]
        (lambda: ScanID(True), "True"),
        (lambda: ScanID(1, duplicates="first"), "first"),  # type: ignore[arg-type]
        (lambda: ScanIDRange(1, 2, "first"), "first"),  # type: ignore[arg-type]
        (lambda: Start("x").any(Stop("y") == 1), "items of the list"),
        (lambda: Start("x").any(PartialUID("a")), "items of the list"),
        (lambda: Start("x").any((Item() == 1) & (Item("y") == 2)), "not both"),
        (lambda: Path("event", ("x",)), "event"),
        (lambda: Path("start", ()), "which key"),
        (lambda: Path("start", "abc"), "several"),  # type: ignore[arg-type]
        (lambda: Path("start", (1,)), "str"),  # type: ignore[arg-type]
    ],
)
def test_what_has_no_meaning_is_refused(build: object, named: str) -> None:
    with pytest.raises(UnsupportedQuery, match=named):
        build()  # type: ignore[operator]


def test_an_any_inside_an_any_keeps_its_own_items() -> None:
    query = Start("x").any(Key("y").any(Key("z") == 1))
    assert isinstance(query, AnyItem)
    assert query == AnyItem(
        Path("start", ("x",)), AnyItem(Path("item", ("y",)), Compare(Path("item", ("z",)), "==", 1))
    )


def test_which_documents_a_query_needs() -> None:
    assert documents_needed(ALL) == frozenset()
    assert documents_needed(A & C) == {"start"}
    assert documents_needed(~B) == {"stop"}
    assert documents_needed(A | ~B) == {"start", "stop"}
    assert documents_needed(Stop("x").any(Item("y") == 1)) == {"stop"}
    for query in (PartialUID("a"), TimeRange(), ScanID(1), ScanIDRange(1, 2), FullText("a")):
        assert documents_needed(query) == {"start"}
    with pytest.raises(UnsupportedQuery, match=r"inside \.any"):
        documents_needed(Item("x") == 1)


def test_queries_load_nothing_heavy() -> None:
    heavy = "numpy dask xarray pandas h5py intake pymongo sqlalchemy event_model hypothesis"
    code = f"import sys, intake_bluesky.query; print([m for m in '{heavy}'.split() if m in sys.modules])"
    observed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert observed.strip() == "[]"


def test_the_public_names_exist_and_are_sorted() -> None:
    assert all(hasattr(public, name) for name in public.__all__)
    assert public.__all__ == sorted(public.__all__)


def test_the_code_of_deep_negations_is_written_once() -> None:
    query: Query = Start("a") == 1
    for _ in range(45):
        query = ~(query & (Start("b") == 2))
    assert repr(query).count("Start('b')") == 45
