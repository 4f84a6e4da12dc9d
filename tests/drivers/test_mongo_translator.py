"""Filters of MongoDB mean what `matches` means, on a server, in both schemas."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, reject, settings
from hypothesis import strategies as st
from pymongo.database import Database

from intake_bluesky.documents.model import to_plain
from intake_bluesky.errors import UnsupportedQuery
from intake_bluesky.query import (
    ALL,
    DataKey,
    Device,
    Everything,
    FullText,
    Item,
    Key,
    PartialUID,
    Path,
    Query,
    Start,
    Stop,
    Stream,
    TimeRange,
    from_mongo,
    matches,
    split,
    to_nnf,
)
from intake_bluesky.query.nodes import leaves
from intake_bluesky.query.path_nodes import AnyItem, Compare, Contains, Exists, HasSize, In, IsNaN, Regex
from intake_bluesky.search.selection import Selection
from intake_bluesky.storage.contract import Plan
from intake_bluesky.storage.order import Order
from intake_bluesky.testing.queries import Run, leaf_queries, queries, runs, whole_queries
from intake_bluesky_mongo import EmbeddedStore, NormalizedStore
from intake_bluesky_mongo.find import EMBEDDED, NORMALIZED, Schema
from intake_bluesky_mongo.regex import portable
from intake_bluesky_mongo.store import MongoStore
from intake_bluesky_mongo.translator import MongoTranslator
from tests.drivers.mongo_by_hand import storable
from tests.servers.mongo import REAL, uri_of

RUNS = 200


def storable_run(run: Run) -> bool:
    """BSON has no text with half of a surrogate pair, and no NUL in keys."""
    return "\\ud" not in ascii((run.start, run.stop, run.descriptors))


def put(database: Database[dict[str, Any]], some: list[Run]) -> None:
    starts, stops, descriptors, headers = [], [], [], []
    for number, run in enumerate(some):
        run.start["uid"] = uid = f"{number:04}-{run.start['uid']}"
        start, own = storable(to_plain(run.start)), [storable(to_plain(doc)) for doc in run.descriptors]
        stop = None if run.stop is None else storable(to_plain({**run.stop, "run_start": uid}))
        starts.append(dict(start))
        stops += [] if stop is None else [dict(stop)]
        descriptors += [{**doc, "run_start": uid} for doc in own]
        headers.append({"run_id": uid, "start": [start], "stop": [] if stop is None else [stop], "descriptors": own})
    for collection, docs in {
        "run_start": starts, "run_stop": stops, "event_descriptor": descriptors, "header": headers
    }.items():  # fmt: skip
        if docs:
            database[collection].insert_many(docs)


class Asked:
    """A server with some runs, put to queries."""

    def __init__(self, server: str, database: Database[dict[str, Any]], some: list[Run]) -> None:
        put(database, some)
        self.runs = some
        uri = uri_of(server, database.name)
        self.stores: list[MongoStore] = [NormalizedStore(uri), EmbeddedStore(uri)]

    def check(self, query: Query) -> None:
        """Hold what is pushed to the oracle, and what only narrows to being no narrower."""
        for store in self.stores:
            exact = MongoTranslator(store.schema.places).exact
            pushed, _ = split(query, exact)
            assert self.found(store, pushed) == self.expected(pushed), (store.schema.collection, pushed)
            plan = Selection(store, (query,)).plan()
            if isinstance(plan.residual, Everything):
                continue
            found = self.found(store, plan.pushed)
            left = [number for number in found if matches(plan.residual, self.runs[number])]
            assert left == self.expected(query), (store.schema.collection, plan)

    @staticmethod
    def found(store: MongoStore, query: Query) -> list[int]:
        return sorted(int(run.uid[:4]) for run in store.find(Plan(query)))

    def expected(self, query: Query) -> list[int]:
        return [number for number, run in enumerate(self.runs) if matches(query, run)]


def drawn() -> list[Run]:
    """Runs as the strategy gives them, the same each time."""
    found: list[Run] = []

    @settings(max_examples=RUNS, derandomize=True, database=None, phases=[Phase.generate], deadline=None)
    @given(runs(whole=True).filter(storable_run))
    def collect(run: Run) -> None:
        found.append(run)

    collect()
    return found[:RUNS]


@pytest.fixture(scope="module")
def asked(mongodb: str, mongo_client: Any) -> Iterator[Asked]:
    asked = Asked(mongodb, mongo_client["intake_bluesky_queries"], drawn())
    yield asked
    mongo_client.drop_database("intake_bluesky_queries")
    for store in asked.stores:
        store.close()


def trusted(query: Query) -> bool:
    """Whether the server started here is asked what it answers as MongoDB does."""
    return REAL is not None or not any(map(_disputed, leaves(to_nnf(query))))


def _disputed(leaf: Query) -> bool:
    if isinstance(leaf, AnyItem):
        return leaf.path.descend and leaf.over_keys
    numbered = any(segment.isdigit() for segment in getattr(getattr(leaf, "path", None), "segments", ())[1:])
    null = (isinstance(leaf, Compare) and leaf.value is None) or (isinstance(leaf, In) and None in leaf.values)
    return numbered and null  # beyond the end of a list it finds a missing value, and MongoDB nothing


QUICK = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]


@pytest.mark.slow
@settings(max_examples=settings().max_examples // 2, suppress_health_check=QUICK)
@given(query=queries(descend=None, max_leaves=4, whole=True).filter(trusted))
def test_agrees_with_the_oracle(asked: Asked, query: Query) -> None:
    """5,000 pairs of run and query in each schema: over start, stop, descriptors and data, combined."""
    asked.check(query)
    for store in asked.stores:
        plan = store.plan(query, Order.NEWEST)
        found = asked.found(store, plan.pushed)
        assert sorted(int(run.uid[:4]) for run in store.find(plan)) == found
        assert store.count(plan) == store.count(Plan(plan.pushed)) == len(found)


@pytest.mark.slow
@settings(suppress_health_check=QUICK)
@given(query=(leaf_queries(descend=None) | whole_queries()).filter(trusted))
def test_each_condition_agrees_with_the_oracle(asked: Asked, query: Query) -> None:
    """20,000 pairs in each schema, and 80,000 at length."""
    asked.check(query)
    asked.check(~query)


VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2.5, 1e300, math.inf, 2**53 + 1, 2**63 - 1, 2**64, -(2**70), "", "Ni", "ni",
    "é", "\uffff", "\U0001f600", "nul\0", (), (1,), (1, 2), ("Ni", None), {}, {"a": 1}, {"a": 1, "b": 2}, ({"a": 1},),
)  # fmt: skip
PATHS = ("x", "x.a.b", "x.1.a", "stop.x.a")


def by_hand() -> list[Run]:
    values = [
        *(to_plain(value) for value in VALUES), math.nan, [[1, 2]], [[1], 2], [{"a": {"b": 1}}], {"a": {"b": 1}},
        {"a": [1, 2]}, {"a": [{"b": 1}]}, {"a": {"b": [1]}}, {"0": 1}, {"1": {"a": 1}}, [0, {"a": 1}], {"b": 2, "a": 1},
        [None], [math.nan], {"a": None}, {"a": {"b": None}}, [True], 1.0, 2.0**53,
    ]  # fmt: skip
    some = [Run({"uid": f"-{place}", "time": 1.0, "x": value}, {"exit_status": "success", "x": value})
            for place, value in enumerate(values)]  # fmt: skip
    return [*some, Run({"uid": "none", "time": 2.0}, None), Run({"uid": "empty", "x": {"a": {}}}, {"y": 1})]


@pytest.fixture(scope="module")
def asked_by_hand(mongodb: str, mongo_client: Any) -> Iterator[Asked]:
    asked = Asked(mongodb, mongo_client["intake_bluesky_queries_by_hand"], by_hand())
    yield asked
    mongo_client.drop_database("intake_bluesky_queries_by_hand")
    for store in asked.stores:
        store.close()


def conditions_at(path: Path) -> Iterator[Query]:
    for value in VALUES:
        yield Compare(path, "==", value)
        yield In(path, [value, "other"])
        yield Contains(path, value)
        if value is None or isinstance(value, bool | int | float | str):
            yield from (Compare(path, op, value) for op in ("<", ">="))
    yield from (Exists(path), IsNaN(path), HasSize(path, 0), HasSize(path, 2), Regex(path, "^N"), Regex(path, "i"))
    yield from (AnyItem(path, Item() > 1), AnyItem(path, Item() == "Ni"), AnyItem(path, Item() == None))  # noqa: E711
    yield from (AnyItem(path, Key("a") == 1), AnyItem(path, (Key("a") == 1) | Key("a.b").exists()))
    yield AnyItem(path, Key("a") != 1)


@pytest.mark.slow
@pytest.mark.parametrize("descend", [False, True])
@pytest.mark.parametrize("key", PATHS)
def test_values_that_are_hard_to_tell_apart(asked_by_hand: Asked, key: str, descend: bool) -> None:
    for query in filter(trusted, conditions_at(Path.parse(key, descend=descend))):
        asked_by_hand.check(query)


EXACT = (
    Start("x") == 5, Start("x") < 0.1, Start("x") == None, Start("x") == True, Start("x.y") == "Ni",  # noqa: E711, E712
    Stop("exit_status") == "fail", Start("x").is_nan(), Start("x").has_size(2), Start("x").contains("Ni"),
    Start("x").any(Key("name") == "Ni"), Start("x").any(Item() > 5), Start("x").regex("^Ni.*foil$"), PartialUID("9a"),
    TimeRange("2024", "2025", "UTC"), Start("x") == [1, 2], Start("x") == {"a": 1},
    from_mongo({"sample.name": {"$in": ["Ni", 3]}}), from_mongo({"motors.0": "x"}), Stream("primary").exists(),
    Device("det").exists(), DataKey("theta").exists(), ~(DataKey("theta").exists() | (Stop("exit_status") == "fail")),
)  # fmt: skip
INEXACT = {
    Start("x").regex(r"^Ni\w+foil"): Start("x").regex("^Ni"),
    Start("x") == {"a": 1, "b": 2}: (Start("x.a") == 1) & (Start("x.b") == 2),
    Start("x.0") == 1: ALL,
    Start(("a.b",)) == 1: ALL,
    Start("x") == 2**70: ALL,
    FullText("nickel"): ALL,
}


@pytest.mark.parametrize("schema", [NORMALIZED, EMBEDDED], ids=["normalized", "embedded"])
@pytest.mark.parametrize("query", EXACT, ids=repr)
def test_is_answered_whole(query: Query, schema: Schema) -> None:
    assert split(query, MongoTranslator(schema.places).exact) == (to_nnf(query), ALL)


@pytest.mark.parametrize("query", INEXACT, ids=repr)
def test_is_narrowed_by_what_it_implies(query: Query) -> None:
    plan = Selection(NormalizedStore("mongodb://nowhere/runs"), (query,)).plan()
    assert (plan.pushed, plan.residual) == (INEXACT[query], query)


LETTERS = (
    "a", "B", "1", "_", "-", ".", " ", "\n", "\r", "\u2028", "é", "\U0001f600", "]", "{", "$", "^", "|", "(", "\\",
)  # fmt: skip
PIECES = (
    "a", "B", "1", "é", "\U0001f600", " ", "\n", "-", "]", "}", r"\.", r"\$", r"\(", r"\-", ".", "^", "$", "[aB]",
    "[^aB]", "[a-z0-9]", "[A-Z_.-]", "[^ ]", r"\w", r"\d", "[[a]", "a{2}", "a{1,3}", "a{,2}", "a*", ".*", ".+?", "1?",
    "[0-9]+", "a*+", "(a|B)", "(?:1|é)", "(a|B)?", "(a", ")", "|", "a{", "(?i:a)",
)  # fmt: skip
TEXTS = st.lists(st.sampled_from(LETTERS), max_size=6).map("".join)


@st.composite
def patterns(draw: st.DrawFn) -> Regex:
    """Patterns that Python takes, of pieces that the server may read alike, or not."""
    pieces = draw(st.lists(st.sampled_from(PIECES), min_size=1, max_size=5))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return Regex(Path.parse("x"), "".join(pieces), draw(st.sampled_from(("", "", "s", "a", "i"))))
    except (UnsupportedQuery, FutureWarning):
        reject()


@settings(max_examples=10 * settings().max_examples, suppress_health_check=QUICK)
@given(pattern=patterns(), texts=st.lists(TEXTS, min_size=1, max_size=20))
def test_patterns_are_written_as_they_are_meant(pattern: Regex, texts: list[str]) -> None:
    """What is written needs no option, and means to Python what it meant."""
    written = portable(pattern)
    if written is None:
        return
    for text in texts:
        expected = pattern.compiled().search(text) is not None
        assert (re.search(written, text) is not None) == expected, (written, text)


@pytest.fixture(scope="module")
def asked_for_texts(mongodb: str, mongo_client: Any) -> Iterator[Asked]:
    texts = ["", *LETTERS, *map("".join, product(LETTERS[:9], repeat=2)), "aB1é\n", "é\n\n", "a" * 4, "(aB)", "Ni foil"]
    some = [Run({"uid": f"-{place}", "time": 1.0, "x": text}, {"x": text}) for place, text in enumerate(texts)]
    asked = Asked(mongodb, mongo_client["intake_bluesky_patterns"], some)
    yield asked
    mongo_client.drop_database("intake_bluesky_patterns")
    for store in asked.stores:
        store.close()


@pytest.mark.slow
@settings(suppress_health_check=QUICK)
@given(pattern=patterns().filter(lambda one: portable(one) is not None))
def test_patterns_agree_with_the_oracle(asked_for_texts: Asked, pattern: Regex) -> None:
    for query in (pattern, ~pattern):
        asked_for_texts.check(query)


@pytest.mark.parametrize(
    "pattern",
    [r"\d", r"\w+", r"\bNi", "(a+)+", "a*b*", "(?i:a)", "a*+", "(?P<x>a)", r"(a)\1", "[[:alpha:]]", "a{,2}", r"\Z",
     "x" * 1001, "a?" * 9, "é\0", "(?=a)"],
)  # fmt: skip
def test_patterns_that_are_left_to_python(pattern: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        assert portable(Regex("x", pattern)) is None
