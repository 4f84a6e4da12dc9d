"""SQL over the search form means what `matches` means, on a real SQLite index."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path as FilePath
from typing import Any, TypeVar, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intake_bluesky.files.indexed_files import IndexedFiles
from intake_bluesky.files.indexed_values import count_values, look_up
from intake_bluesky.index.index import Index
from intake_bluesky.index.json_conditions import SQL
from intake_bluesky.index.rare_words import narrowed
from intake_bluesky.index.search_form import COMMON, code_text
from intake_bluesky.index.tables import COLUMNS
from intake_bluesky.index.translator import Translator
from intake_bluesky.query import (
    ALL,
    AnyItem,
    Compare,
    Contains,
    Exists,
    FullText,
    Fuzzy,
    In,
    Item,
    Key,
    Or,
    PartialUID,
    Path,
    Query,
    ScanID,
    Start,
    Stop,
    TimeRange,
    all_of,
    any_of,
    from_mongo,
    matches,
    split,
    to_nnf,
)
from intake_bluesky.query.implications import implied
from intake_bluesky.query.words import alike, similarity, words
from intake_bluesky.storage.contract import Plan
from intake_bluesky.storage.order import Order
from intake_bluesky.testing.queries import Run, queries, runs
from intake_bluesky_jsonl import JSONLCodec
from tests.index.pickled_runs import pickled_entry, pickled_index

T = TypeVar("T")
SEARCH = Translator(COLUMNS)
NUMBERS = count()
FEWER = settings(max_examples=settings().max_examples // 2)  # of many runs each, which take long to draw
AWKWARD = (
    "'", '"', "');DROP TABLE files;--", "\" OR 1=1 --", "$", "a.b", "[0]", "\\", "\0", "%", "?", "", "x'", "`",
    "\ud7ff", "\ud800", "\udc00x", "\x7f", "é", "{}", "{0}", "*", "NOT", "\n", "'; ATTACH 'x' AS y",
)  # fmt: skip


class Runs:
    """Runs in an index, by the numbers of their paths."""

    def __init__(self, index: Index, runs: Iterable[Run]) -> None:
        self.index, self.runs = index, list(runs)
        for number, run in enumerate(self.runs):
            run.start["uid"] = f"{number:04}-{run.start.get('uid', '')}"
        index.put([pickled_entry(number, run.start, run.stop) for number, run in enumerate(self.runs)])

    def found(self, query: Query) -> list[int]:
        return self.meeting(SEARCH.condition(query))

    def meeting(self, condition: SQL) -> list[int]:
        where, values = condition
        found = list(self.index.find(where, values, Order.OLDEST))
        assert len(found) == self.index.count(where, values)
        return sorted(int(path) for _, _, path, _ in found)

    def expected(self, query: Query) -> list[int]:
        return [number for number, run in enumerate(self.runs) if matches(query, run)]

    def check(self, query: Query) -> None:
        """Hold what is pushed to the oracle, and what only narrows to being no narrower."""
        plan = SEARCH.plan(query, Order.OLDEST)
        pushed, residual = plan.pushed, plan.residual
        assert self.meeting(plan.compiled) == self.found(pushed) == self.expected(pushed), pushed
        with_words = narrowed(plan, SEARCH, lambda word, number: True)
        assert with_words == plan.compiled or self.meeting(with_words) == self.expected(pushed), with_words
        narrower = SEARCH.plan(implied(residual), Order.OLDEST).pushed
        left = [n for n in self.found(pushed & narrower) if matches(residual, self.runs[n])]
        assert left == self.expected(query), (query, narrower)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> FilePath:
    return tmp_path_factory.mktemp("index")


def _indexed(folder: FilePath, runs: Iterable[Run]) -> Iterator[Runs]:
    path = folder / f"{next(NUMBERS)}.sqlite"
    index = pickled_index(path)
    try:
        yield Runs(index, runs)
    finally:
        index.close()
        for file in folder.iterdir():
            file.unlink()


@FEWER
@given(st.data(), st.lists(runs(), min_size=20, max_size=20))
def test_agrees_with_the_oracle(folder: FilePath, data: st.DataObject, some: list[Run]) -> None:
    """Twenty runs and ten queries an example: 5,000 pairs, and 20,000 at length."""
    for indexed in _indexed(folder, some):
        for query in data.draw(st.lists(queries(descend=None, max_leaves=4), min_size=10, max_size=10)):
            indexed.check(query)


@FEWER
@given(st.data(), st.lists(runs(), min_size=20, max_size=20))
def test_agrees_with_the_oracle_where_mongodb_looks(folder: FilePath, data: st.DataObject, some: list[Run]) -> None:
    for indexed in _indexed(folder, some):
        for query in data.draw(st.lists(queries(descend=True, max_leaves=2), min_size=10, max_size=10)):
            indexed.check(query)


@pytest.mark.parametrize("segments", [("a",), ("a", "b"), ("a", "b", "c"), ("a", "b", "c", "d")], ids=".".join)
def test_lists_are_looked_into_wherever_they_are_on_the_way(folder: FilePath, segments: tuple[str, ...]) -> None:
    """Each level of a document a dict, a list of some, or a list of lists, which MongoDB does not look into."""
    held: list[Any] = [1, [1], [0, 1], [[1]], 0, []]
    for segment in reversed(segments):
        held = [form for value in held for form in ({segment: value}, [{segment: value}], [{}, {segment: value}])][:200]
    some = [Run({"uid": "", "x": value}, None) for value in held]
    for indexed in _indexed(folder, some):
        for descend in (False, True):
            at = Path("start", ("x", *segments), descend)
            for query in (Compare(at, "==", 1), Compare(at, ">", 0), Exists(at), Contains(at, 1)):
                indexed.check(query)
                indexed.check(~query)


@given(st.lists(st.floats() | st.integers(-(2**70), 2**70), min_size=2, max_size=40))
def test_numbers_compare_as_in_python(folder: FilePath, numbers: list[float]) -> None:
    """Whatever their digits, as SQLite reads them, would say."""
    asked = [number for number in numbers if not math.isnan(number)]
    for indexed in _indexed(folder, [Run({"uid": "u", "x": number, "l": [number]}, None) for number in numbers]):
        for value in asked[:5]:
            for op in ("==", "<", "<=", ">", ">="):
                indexed.check(Compare("x", op, value))
                indexed.check(AnyItem("l", Compare(Path("item", ()), op, value)))


@given(st.lists(st.text(st.characters(), max_size=4) | st.sampled_from(AWKWARD), min_size=2, max_size=30))
def test_text_is_ordered_by_code_points(folder: FilePath, texts: list[str]) -> None:
    assert sorted(texts) == sorted(texts, key=code_text)
    for indexed in _indexed(folder, [Run({"uid": "u", "x": text, "plan_name": text}, None) for text in texts]):
        for value in texts[:4]:
            for path in (Path("start", ("x",)), Path("start", ("plan_name",)), Path("start", ("plan_name",), True)):
                assert SEARCH.exact(Compare(path, "<", value))
                for op in ("==", "<", "<=", ">", ">="):
                    indexed.check(Compare(path, op, value))
                indexed.check(Start("x").regex(re.escape(value)))


@given(st.lists(st.text(max_size=30), min_size=1, max_size=20))
def test_words_are_those_of_full_text(folder: FilePath, texts: list[str]) -> None:
    """Of any script: the index of words splits nothing that is a word, and joins nothing that is two."""
    for indexed in _indexed(folder, [Run({"uid": "u", "x": [text, {3: text}]}, None) for text in texts]):
        for word in {word for text in texts for word in words(text)}:
            assert SEARCH.exact(FullText(word))
            indexed.check(FullText(word))
            indexed.check(~FullText(f"{word} u"))


WORDS = st.text(st.sampled_from("abAB_ßé1"), min_size=1, max_size=5)


@given(st.lists(st.lists(WORDS, max_size=4).map(" ".join), min_size=1, max_size=12), st.data())
def test_similar_words_are_those_of_fuzzy(folder: FilePath, texts: list[str], data: st.DataObject) -> None:
    thresholds = st.sampled_from((1e-9, 0.1, 1 / 3, 0.3, 0.5, 2 / 3, 1.0)) | st.floats(0.01, 1)
    for indexed in _indexed(folder, [Run({"uid": "", "x": [text]}, None) for text in texts]):
        for _ in range(5):
            query = Fuzzy(data.draw(WORDS) + data.draw(st.sampled_from(("", " b", " u"))), data.draw(thresholds))
            assert SEARCH.exact(query)
            indexed.check(query)
            indexed.check(~query | (Start("uid") == "0001-"))


@given(WORDS, WORDS, st.floats(0, 1, exclude_min=True))
def test_a_glance_tells_no_more_than_similarity(one: str, other: str, threshold: float) -> None:
    for word in words(one):
        for second in words(other):
            assert alike(word, second, threshold) is (similarity(word, second) >= threshold)


def test_words_that_fts5_cuts_are_whole(folder: FilePath) -> None:
    long = "ab" * 16384  # and no byte more is kept
    texts = [long, f"{long}ab", f"{long}c", f"x{long}", f"a{'é' * 20000}z", f"a{'é' * 20000}", "abab", "nickel"]
    for indexed in _indexed(folder, [Run({"uid": "", "x": text}, None) for text in texts]):
        for word in (*texts, "ababc", "éé", "éz", "ab"):
            for threshold in (0.1, 0.5, 0.8, 1.0):
                indexed.check(Fuzzy(word, threshold))
            indexed.check(FullText(word))
        assert indexed.expected(Fuzzy("ababc", 0.9)) == [2]


def test_of_many_words_some_are_looked_for_first(folder: FilePath) -> None:
    many = Fuzzy(" ".join(f"word{n}{'x' * n}" for n in range(20)), 0.8)
    assert split(many, SEARCH.exact) == (ALL, many)
    narrowed = implied(many)
    assert SEARCH.exact(narrowed)
    for indexed in _indexed(folder, [Run({"uid": "", "x": text}, None) for text in (many.text, "word0 word1x", "")]):
        assert indexed.found(narrowed) == [0]
        indexed.check(many)


def test_similar_words_go_with_the_file_they_were_in(folder: FilePath) -> None:
    for indexed in _indexed(folder, [Run({"uid": "u", "x": text}, None) for text in ("iron", "nickel", "cobalt")]):
        assert indexed.found(Fuzzy("nickle")) == [1]
        indexed.index.forget(["1"])
        indexed.index.put([pickled_entry(2, {"uid": "u", "x": "zinc"}, None)])
        for word, expected in {"irons": [0], "nickle": [], "cobal": [], "zink": [2]}.items():
            assert indexed.found(Fuzzy(word)) == expected


def _asked(text: str) -> list[Query]:
    asked: list[Query] = [
        Compare(Path("start", (text, text)), "==", text),
        Compare(Path("start", (text, text), descend=True), "==", text),
        Compare(Path("stop", (text,)), "==", text),
        Start((text,)).exists(),
        Start("plan_name") == text,
        Start("plan_name").is_in([text, "x"]),
        Compare(Path("start", ("plan_name",), descend=True), "==", text),
        Start("l").contains(text),
        Start("l").any(Item() == text),
        Start("l").any(Item().is_in([text, "y"])),
        Start("s.name").regex(re.escape(text)),
        Start("s.name").regex(f"^a {re.escape(text)}"),
        PartialUID(f"v{text}"),
        Start("uid") == f"v{text}",
        Start("uid").is_in([f"v{text}", "u"]),
    ]
    return [*asked, FullText(f"x {text}")]


@pytest.mark.parametrize("text", AWKWARD)
def test_what_a_query_holds_becomes_no_sql(folder: FilePath, text: str) -> None:
    """Keys, values, patterns and words, each of which is found where it is, and nowhere else."""
    name = f"a {text} b"
    holding = Run({"uid": "u", text: {text: text}, "plan_name": text, "l": [text], "s": {"name": name}}, None)
    other = Run({"uid": "v", "x": {"x": "x y"}, "plan_name": "scan", "l": ["x"], "s": {"name": "other"}}, {"a": 1})
    for indexed in _indexed(folder, [holding, other]):
        for query, *harmless in zip(_asked(text), _asked("x"), _asked("\t"), strict=True):
            if SEARCH.exact(query):
                expected = [SEARCH.condition(other)[0] for other in harmless if SEARCH.exact(other)]
                assert SEARCH.condition(query)[0] in expected
            indexed.check(query)
            indexed.check(~query)
        assert indexed.found(ALL) == [0, 1]


@pytest.mark.parametrize("text", AWKWARD)
def test_what_similar_words_hold_becomes_no_sql(folder: FilePath, text: str) -> None:
    query = Fuzzy(f"x{text}")
    assert set(SEARCH.condition(query)[0].replace(str(COLUMNS.similar), "")) <= set("( AND )")
    for indexed in _indexed(folder, [Run({"uid": "u", "x": [text, f"x{text}"]}, None), Run({"uid": "v"}, None)]):
        indexed.check(query)
        assert indexed.found(ALL) == [0, 1]


EXACT = (
    Start("x") == 2**53 + 1, Start("x") < 0.1, Start("x") == None, Start("x") == True, Start("x.0.y") == 1,  # noqa: E711, E712
    Stop("exit_status") == "fail", Start("x").is_nan(), Start("x").has_size(2), Start("x").contains("Ni"),
    Start("x").any((Key("name") == "Ni") & ~(Key("mass") > 2.5)), Start("x").regex("^Ni"), FullText("nickel"),
    Fuzzy("nickle foil"),
    PartialUID("9a"), Start("x") == [1, ["a", None]], Start("x").is_in([[], 5, [0.5, True]]), Start("x").contains([1]),
    TimeRange("2024", "2025", "UTC"), ScanID(5, duplicates="all"),
    from_mongo({"sample.name": {"$in": ["Ni", 3]}}), from_mongo({"scan_id": {"$gte": 5}}),
    from_mongo({"time": {"$lt": 5}}),
)  # fmt: skip
INEXACT = {
    Start("x") == [1, {}]: Start("x").has_size(2) & Start("x").contains(1) & Start("x").contains({}),
    Start("x") == {"a": 1}: Start("x.a") == 1,
    Start("x").regex("^Ni.*foil"): Start("x").regex("^Ni"),
    Start("x").regex("sca?n"): Start("x").regex("sc"),
    Start("x").regex("a|b"): ALL,
    Start("x").regex("ni", ignore_case=True): ALL,
    Start("x") == 2**70: ALL,
    ~Start("x").regex("^Ni.*"): ALL,
    from_mongo({"x": None}): ALL,
}


@pytest.mark.parametrize("query", EXACT, ids=repr)
def test_is_answered_whole(query: Query) -> None:
    assert split(query, SEARCH.exact) == (to_nnf(query), ALL)


@pytest.mark.parametrize("query", INEXACT, ids=repr)
def test_is_narrowed_by_what_it_implies(query: Query) -> None:
    assert split(query, SEARCH.exact) == (ALL, query)
    assert implied(query) == INEXACT[query]


def test_asking_for_what_is_not_exact_is_refused() -> None:
    with pytest.raises(TypeError, match=r"exact\(\) has to be asked"):
        SEARCH.condition(Start("x").regex("a|b"))


def test_deep_documents_are_searched_as_far_as_sql_may(folder: FilePath) -> None:
    deep: Any = "end"
    for _ in range(300):
        deep = {"a": deep}
    run = Run({"uid": "u", "x": deep, "y": float("nan")}, None)
    for indexed in _indexed(folder, [run]):
        for length in (1, 20, 60, 120, 300, 301):
            indexed.check(Compare(Path("start", ("x", *["a"] * length)), "==", "end"))
            indexed.check(Exists(Path("start", ("x", *["a"] * length))))
        indexed.check(FullText("end"))


def _steps(indexed: Runs, query: Query, statements: list[str]) -> list[str]:
    """How SQLite goes about finding and counting what a query asks for."""
    with indexed.index._lent() as db:  # the only one, which is lent again and again
        statements.clear()
        db.set_trace_callback(statements.append)
    where, values = SEARCH.condition(to_nnf(query))
    list(indexed.index.find(where, values, Order.NEWEST, limit=5))
    indexed.index.count(where, values)
    db.set_trace_callback(None)
    told = [statement for statement in statements if statement.startswith("SELECT")]  # not what FTS5 asks itself
    return [row[3] for asked in told for row in db.execute(f"EXPLAIN QUERY PLAN {asked}")]


@pytest.mark.parametrize("descend", [False, True])
@pytest.mark.parametrize("place", [*COMMON, ("start", ("scan_id",)), ("start", ("uid",))], ids=repr)
def test_common_keys_are_found_by_an_index(folder: FilePath, place: tuple[Any, ...], descend: bool) -> None:
    """Whichever way a path looks, and one that descends finds the lists all the same."""
    name = COMMON.get(place, place[1][-1])
    value = 7 if name == "scan_id" else "Ni"
    some = [Run({"uid": f"{n}"}, {"exit_status": "success"}) for n in range(50)]
    if name != "uid":
        getattr(some[3], place[0]).update(_nested(place[1], [value, 3]))
        getattr(some[4], place[0]).update(_nested(place[1], value))
    query = Compare(Path(place[0], place[1], descend), "==", value)
    for indexed in _indexed(folder, some):
        indexed.index.settle()
        indexed.check(query)
        steps = _steps(indexed, query, [])
        assert sum(f"INDEX by_{name} " in step for step in steps) == 2
        assert not any(step.startswith("SCAN files") and "with_lists" not in step for step in steps)


def _nested(segments: tuple[str, ...], value: Any) -> dict[str, Any]:
    for segment in reversed(segments):
        value = {segment: value}
    return value  # type: ignore[no-any-return]


def test_words_are_found_by_their_index(folder: FilePath) -> None:
    for indexed in _indexed(folder, [Run({"uid": f"{n}", "x": f"word{n}"}, None) for n in range(50)]):
        indexed.index.settle()
        indexed.check(FullText("word7"))
        steps = _steps(indexed, FullText("word7"), [])
        assert any("SCAN texts VIRTUAL TABLE" in step for step in steps)
        assert not any(step.startswith("SCAN files") for step in steps)


def test_long_texts_and_lists_of_values_are_one_condition(folder: FilePath) -> None:
    text = " ".join(f"w{n}" for n in range(3000))
    some = [Run({"uid": "u", "x": text, "n": 7}, None), Run({"uid": "u", "x": text[:-5], "n": 7.5}, None)]
    for indexed in _indexed(folder, some):
        indexed.check(FullText(text))
        indexed.check(Start("n").is_in([*range(50_000), *(n + 0.5 for n in range(50_000))]))
        indexed.check(all_of(Start("n") != n for n in range(1000)))
        indexed.check(any_of(Start(f"k{n}").exists() | (Start("n") == n) for n in range(500)))


LISTS = st.recursive(st.sampled_from((0, 1, 1.0, True, None, 0.5, -0.0, "1", "a\0", "\ud800", '"', 2**60, 1e-300)),
                     lambda inner: st.lists(inner, max_size=2), max_leaves=4).map(lambda value: [value])  # fmt: skip


@given(st.lists(LISTS, min_size=2, max_size=20), st.booleans())
def test_lists_are_compared_whole(folder: FilePath, lists: list[Any], descend: bool) -> None:
    for indexed in _indexed(folder, [Run({"uid": "", "x": value, "y": [value]}, None) for value in lists]):
        for value in lists[:6]:
            for key in ("x", "y"):
                at = Path("start", (key,), descend)
                for query in (Compare(at, "==", value), In(at, [value, 5]), Contains(at, value)):
                    assert SEARCH.exact(query)
                    indexed.check(query)


def test_conditions_longer_than_sqlite_takes_are_left_over(folder: FilePath) -> None:
    many = any_of(Start(f"k{n}") == n for n in range(20_000))
    few = (Start("n") == 7) & any_of(Start(f"k{n}").exists() for n in range(100))
    plan = SEARCH.plan(many & few & Start("x").regex("a|b"), Order.OLDEST)
    pushed, residual = plan.pushed, plan.residual
    assert (pushed, residual) == (to_nnf(few), Start("x").regex("a|b") & many)
    some = [Run({"uid": "", "n": n, "k3": 3, "k19999": 19_999, "x": "b"}, None) for n in (7, 8)]
    for indexed in _indexed(folder, some):
        assert indexed.found(pushed) == indexed.meeting(plan.compiled) == [0]
        assert matches(residual, indexed.runs[0])
    assert SEARCH.plan(many, Order.OLDEST) == Plan(ALL, many, True, Order.OLDEST)
    assert SEARCH.plan(few, Order.OLDEST) == Plan(to_nnf(few), ALL, True, Order.OLDEST)


def test_thousands_of_values_of_a_key_are_one_condition(folder: FilePath) -> None:
    values = [*range(20_000), *(f"v{n}" for n in range(20_000))]
    for indexed in _indexed(folder, [Run({"uid": "", "n": n, "plan_name": n}, None) for n in (7, "v5", -1, None)]):
        for key in ("n", "plan_name"):
            for query in (any_of(Start(key) == n for n in values), all_of(Start(key) != n for n in values)):
                assert SEARCH.plan(query, Order.OLDEST) == Plan(query, ALL, True, Order.OLDEST)
                assert indexed.found(query) == ([0, 1] if isinstance(query, Or) else [2, 3])


def _nested_queries(depth: int) -> Iterator[Query]:
    left = right = some = mongo = texts = Start("n") == 7
    item: Query = Key("a") == 1
    for number in range(depth):
        key = Start(f"k{number}.0")
        left = ~((left | any_of(key.exists() & (Start("x") == n) for n in range(9))) & (Start("n") < 8))
        right = (Start("n") == 7) & (key.exists() | ~(key.is_nan() & right))
        item = Key("a").any(item | (Key("b") == number)) | Key("c").exists()
        some = some | Start("n").any(item)
        mongo = ~mongo & (from_mongo({"a.b.c": number}) | ~from_mongo({"n": 7}))
        texts = (texts & (Start("x") != "no")) | ((Start("t") == "some text") & ~key.exists())
    yield from (left, right, some, mongo, texts)


@pytest.mark.parametrize("depth", [1, 2, 3, 4, 5, 6, 8, 10, 14, 19])
def test_conditions_deeper_than_sqlite_takes_are_left_over(folder: FilePath, depth: int) -> None:
    """Whatever statement they are put into."""
    for indexed in _indexed(
        folder, [Run({"uid": "", "n": n, "k3": [1], "t": "some text"}, {"x": "a"}) for n in (7, 8)]
    ):
        for query in _nested_queries(depth):
            plan = SEARCH.plan(query, Order.NEWEST)
            pushed, residual = plan.pushed, plan.residual
            assert [n for n in indexed.found(pushed) if matches(residual, indexed.runs[n])] == indexed.expected(query)
            assert depth > 1 or residual == ALL
            asked = cast(IndexedFiles, Asked(indexed.index))
            where = narrowed(plan, SEARCH, lambda word, number: True)
            assert indexed.meeting(where) == indexed.found(pushed)
            told = look_up(asked, [Path("start", ("k3", "0", "2")), Path("stop", ("x",))], where, Order.NEWEST)
            assert len(list(told or ())) == len(indexed.found(pushed))
            assert count_values(asked, Path("stop", ("x",)), where) is not None


class Asked:
    """An index, without files."""

    codec = JSONLCodec()

    def __init__(self, index: Index) -> None:
        self.index = index

    def watch(self) -> None:
        """There are no files."""

    def ask_rows(self, question: Callable[[Index], T]) -> T:
        return question(self.index)


def test_words_go_with_the_file_they_were_in(folder: FilePath) -> None:
    for indexed in _indexed(folder, [Run({"uid": "u", "x": text}, None) for text in ("iron", "nickel", "cobalt")]):
        assert indexed.found(FullText("cobalt")) == [2]
        indexed.index.forget(["2"])
        indexed.index.put([pickled_entry(1, {"uid": "u", "x": "zinc"}, None), pickled_entry(3, {"uid": "u"}, None)])
        for word, expected in {"iron": [0], "nickel": [], "zinc": [1], "cobalt": [], "u": [0, 1, 3]}.items():
            assert indexed.found(FullText(word)) == expected


def test_without_fts5_words_are_left_to_python() -> None:
    search = Translator(replace(COLUMNS, words=None, similar=None))
    for query in (FullText("nickel"), Fuzzy("nickle")):
        assert split(query, search.exact) == (ALL, query)
        with pytest.raises(TypeError):
            search.condition(query)
