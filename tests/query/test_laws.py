"""What holds of every query and every run."""

from __future__ import annotations

import pickle
import random

from hypothesis import given
from hypothesis import strategies as st

import intake_bluesky.query as public
from intake_bluesky.query import (
    ALL,
    Key,
    Not,
    Query,
    Start,
    cheap_first,
    documents_needed,
    from_json,
    leaves,
    matches,
    replace_leaves,
    split,
    to_json,
    to_nnf,
)
from intake_bluesky.testing.queries import Run, paths, queries, runs, values

NAMES = {name: getattr(public, name) for name in public.__all__}
RUNS = runs(whole=True)
ANY = queries(descend=None, whole=True)


@given(ANY, RUNS)
def test_excluded_middle_and_double_negation(query: Query, run: Run) -> None:
    assert matches(~query, run) is not matches(query, run)
    assert ~~query == query


@given(ANY, ANY, RUNS)
def test_and_or_are_those_of_logic(left: Query, right: Query, run: Run) -> None:
    assert matches(left & right, run) is (matches(left, run) and matches(right, run))
    assert matches(left | right, run) is (matches(left, run) or matches(right, run))


@given(ANY, ANY, RUNS)
def test_de_morgan(left: Query, right: Query, run: Run) -> None:
    assert matches(~(left & right), run) is matches(~left | ~right, run)
    assert matches(~(left | right), run) is matches(~left & ~right, run)


@given(ANY, RUNS)
def test_normal_form_keeps_the_meaning_and_negates_leaves_alone(query: Query, run: Run) -> None:
    normal = to_nnf(query)
    assert matches(normal, run) is matches(query, run)
    assert to_nnf(normal) == normal
    pending = [normal]
    while pending:
        node = pending.pop()
        if isinstance(node, Not):
            assert list(leaves(node)) == [node.child]
        else:
            pending.extend(getattr(node, "children", ()))


@given(ANY, RUNS, st.randoms(use_true_random=False))
def test_split_keeps_the_meaning(query: Query, run: Run, chance: random.Random) -> None:
    able = {leaf: chance.random() < 0.6 for leaf in leaves(to_nnf(query))}
    pushed, residual = split(query, able.__getitem__)
    assert matches(pushed & residual, run) is matches(query, run)
    assert all(able[leaf] for leaf in leaves(pushed) if leaf != ALL)


@given(ANY, RUNS)
def test_what_is_cheap_comes_first_and_means_the_same(query: Query, run: Run) -> None:
    ordered = cheap_first(query)
    assert matches(ordered, run) is matches(query, run)
    assert sorted(map(repr, leaves(ordered))) == sorted(map(repr, leaves(query)))


@given(ANY)
def test_code_json_and_pickle_bring_a_query_back(query: Query) -> None:
    for copy in (eval(repr(query), NAMES), from_json(to_json(query)), pickle.loads(pickle.dumps(query))):
        assert copy == query
        assert hash(copy) == hash(query)


@given(ANY, ANY)
def test_equality_is_that_of_the_code(left: Query, right: Query) -> None:
    assert (left == right) is (repr(left) == repr(right))
    assert len({left, right}) == (1 if left == right else 2)
    assert replace_leaves(left, lambda leaf: leaf) == left


@given(ANY, RUNS)
def test_a_query_looks_at_no_more_than_it_says(query: Query, run: Run) -> None:
    needed = documents_needed(query)
    less = Run(
        run.start if "start" in needed else {},
        run.stop if "stop" in needed else None,
        run.descriptors if "descriptors" in needed else (),
        run.data if "data" in needed else {},
    )
    assert matches(query, less) is matches(query, run)


@given(paths(descend=False), values(), RUNS)
def test_orders_exclude_each_other(path: public.Path, value: object, run: Run) -> None:
    bound = value if value is None or isinstance(value, bool | int | float | str) else 0
    below, same, above = (matches(public.Compare(path, op, bound), run) for op in ("<", "==", ">"))
    assert below + same + above <= 1
    if bound is not None:
        assert matches(public.Compare(path, "<=", bound), run) is (below or same)
        assert matches(public.Compare(path, ">=", bound), run) is (above or same)


@given(values(), RUNS)
def test_a_value_put_into_a_run_is_found_there(value: object, run: Run) -> None:
    holding = Run({**run.start, "x": value, "y": [0, value], "z": [{"k": value}]}, run.stop)
    assert matches(Start("x") == value, holding)
    assert matches(Start("x").is_in([value]), holding)
    assert matches(Start("y").contains(value), holding)
    assert matches(Start("z").any(Key("k") == value), holding)
    assert matches(Start("x", descend=True) == value, holding)
    assert matches(Start("y", descend=True) == value, holding)
    assert matches(Start("z.k", descend=True) == value, holding)
    assert not matches(Start("x") != value, holding)
