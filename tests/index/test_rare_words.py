"""Words that a query implies are had by all runs of which it is true, and looked for where few runs have them."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path as FilePath
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intake_bluesky.errors import StoreUnavailable
from intake_bluesky.index.index import Index
from intake_bluesky.index.json_conditions import SQL
from intake_bluesky.index.rare_words import implied_words, narrowed, rare_words
from intake_bluesky.index.tables import COLUMNS, FEW, is_rare
from intake_bluesky.index.translator import LONG_WORD, Translator
from intake_bluesky.query import (
    ALL,
    Compare,
    Contains,
    FullText,
    In,
    Item,
    Key,
    Path,
    Query,
    Regex,
    Start,
    Stop,
    all_of,
    any_of,
    from_mongo,
    matches,
    to_nnf,
)
from intake_bluesky.storage.contract import Plan
from intake_bluesky.storage.order import Order
from intake_bluesky.testing.queries import Run, queries, runs
from intake_bluesky_sql import SQLStore, search_columns
from tests.index.pickled_runs import pickled_index
from tests.index.test_sql_stores import Stored

SEARCH = Translator(COLUMNS)
key = Start("x")
IMPLIED = [
    (key == "Ni foil", FullText("foil ni")),
    (Start("a.b") == "STRASSE ½", FullText("1 2 strasse")),
    (from_mongo({"x.y": "Ni foil"}), FullText("foil ni")),
    (key == "-", ALL),
    (key == "", ALL),
    (key == 5, ALL),
    (key > "Ni", ALL),
    (key != "Ni", ALL),
    (key == ["Ni", ["Co 2", 5], {"key": "Fe"}], FullText("2 co fe ni")),
    (key.is_in(["Ni", "Co"]), FullText("ni") | FullText("co")),
    (key.is_in(["Ni", None]), ALL),
    (key.is_in([f"v{n}" for n in range(9)]), ALL),
    (key.contains("Ni"), FullText("ni")),
    (key.any(Item() == "Ni"), FullText("ni")),
    (key.any((Key("name") == "Ni") & (Key("mass") > 5)), FullText("ni")),
    (key.any(~(Key("name") == "Ni")), ALL),
    (key.any(ALL), ALL),
    (key.regex("Ni foil thick"), FullText("foil")),
    (key.regex("^Ni foil thick"), FullText("foil ni")),
    (key.regex("^Ni"), ALL),
    (key.regex(" Ni "), FullText("ni")),
    (key.regex(" é "), ALL),
    (key.regex(" Ni ", ignore_case=True), ALL),
    (key.regex(" a. "), ALL),
    (Stop("x") == "Ni", ALL),
    (Stop("x").any(Key("name") == "Ni"), ALL),
    (FullText("Ni"), ALL),
    ((key == "Ni") & (Start("n") == 5) & (Start("y") == "Co"), FullText("ni") & FullText("co")),
    ((key == "Ni") | (Start("y") == "Co"), FullText("ni") | FullText("co")),
    ((key == "Ni") | (Start("n") == 5), ALL),
    (any_of(Start(f"k{n}") == "Ni" for n in range(9)), ALL),
]


@pytest.mark.parametrize(("query", "expected"), IMPLIED, ids=[repr(query)[:60] for query, _ in IMPLIED])
def test_words_that_a_query_implies(query: Query, expected: Query) -> None:
    assert implied_words(query) == expected


@given(query=queries(descend=None, max_leaves=4), run=runs())
def test_what_is_implied_is_true(query: Query, run: Run) -> None:
    normal = to_nnf(query)
    assert not matches(query, run) or matches(implied_words(normal), run)


# Letters that change when they are normalised, folded, or meet a mark; and what composes with the sign before it.
LETTERS = "aBé\u0301\u0338=<- _1½Ⅷ\u017fßİΣ\u200dﬁ\U0001d7d8\0\ud800\n"
TEXTS = st.text(LETTERS, max_size=8)


@given(texts=st.lists(TEXTS, min_size=1, max_size=4), start=st.integers(0, 7), end=st.integers(1, 8), data=st.data())
def test_words_of_any_texts(folder: FilePath, texts: list[str], start: int, end: int, data: st.DataObject) -> None:
    """As the index of words has them; parts of texts, too."""
    text = data.draw(st.sampled_from(texts))
    run = Run({"uid": "u", "x": text, "l": texts, "d": [{"name": one} for one in texts]}, None)
    asked: list[Query] = [
        key == text,
        Start("l") == texts,
        Start("l").contains(text),
        Start("d").any(Key("name") == text),
    ]
    asked += [Compare(Path("start", ("l",), descend=True), "==", text), In("x", [text, *texts])]
    asked += [Contains("l", text), Compare(Path("start", ("d", "name"), descend=True), "==", text)]
    asked += [Regex("x", part) for part in (text[start:end], f"^{text[:end]}") if part]
    for index in indexes(folder, [run, Run({"uid": "v"}, None)]):
        for query in asked:
            assert matches(query, run)
            assert matches(implied_words(query), run), query
            if SEARCH.exact(query):
                plan = SEARCH.plan(query, Order.NEWEST)
                where = narrowed(plan, SEARCH, lambda word, number: True)
                assert (plan.residual, index.count(*where)) == (ALL, 1), where


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> FilePath:
    return tmp_path_factory.mktemp("index")


def indexes(folder: FilePath, runs: list[Run]) -> Iterator[Index]:
    index = pickled_index(folder / "index.sqlite", [(run.start, None) for run in runs])
    try:
        yield index
    finally:
        index.close()
        for file in folder.iterdir():
            file.unlink()


def rare(*some: str) -> Callable[[str, int], bool]:
    return lambda word, number: word in some


def test_only_rare_words_are_said() -> None:
    query = key == "a thin foil"
    assert rare_words(query, SEARCH, rare()) == ALL
    assert rare_words(query, SEARCH, rare("a")) == FullText("a")
    assert rare_words(query, SEARCH, rare("a", "foil", "thin")) == FullText("foil")
    both = query | (Start("y") == "Ni")
    assert rare_words(both, SEARCH, rare("ni")) == ALL
    assert rare_words(both, SEARCH, rare("ni", "thin")) == FullText("thin") | FullText("ni")
    assert rare_words(query & (Start("y") == "Ni"), SEARCH, rare("ni")) == FullText("ni")


def test_words_are_said_beside_the_condition_of_the_plan() -> None:
    query = key == "a thin foil"
    condition, words = SEARCH.condition(query), SEARCH.condition(FullText("foil"))
    for plan in (Plan(query), SEARCH.plan(query, Order.NEWEST)):
        assert narrowed(plan, SEARCH, rare()) == condition
        found = narrowed(plan, SEARCH, rare("foil"))
        assert found == (f"({condition[0]} AND {words[0]})", [*condition[1], *words[1]])


def test_a_condition_without_room_for_words_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = SEARCH.plan(key == "a thin foil", Order.NEWEST)
    for room, said in ((len(plan.compiled[1]) + 1, True), (len(plan.compiled[1]), False)):
        monkeypatch.setattr(type(SEARCH.dialect), "ROOM", room)
        assert (narrowed(plan, SEARCH, rare("foil")) == plan.compiled) is not said


def test_a_plan_is_not_translated_again(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = SEARCH.plan(key == "a thin foil", Order.NEWEST)
    monkeypatch.setattr(Translator, "condition", None)
    assert narrowed(plan, SEARCH, rare()) == plan.compiled


def test_how_many_words_are_asked_about_is_told_and_limited() -> None:
    asked: list[tuple[str, int]] = []

    def note(word: str, number: int) -> bool:
        asked.append((word, number))
        return False

    rare_words(key.is_in(["Ni", "Co"]), SEARCH, note)
    assert asked == [("ni", 2), ("co", 2)]
    rare_words(all_of(Start(f"k{n}") == f"v{n}" for n in range(9)), SEARCH, note)
    assert len(asked) == 2
    rare_words(key == " ".join(f"w{n:03}" for n in range(1000)), SEARCH, note)
    assert len(asked) == 10


def test_what_columns_tell_needs_no_words() -> None:
    def fail(word: str, number: int) -> bool:
        raise AssertionError(word)

    common = Start("plan_name") == "scan"
    for query in (
        common,
        from_mongo({"plan_name": "scan"}),
        Start("uid") == "9a-b",
        Start("sample.name").is_in(["Ni"]),
    ):
        assert rare_words(query, SEARCH, fail) == ALL
        assert narrowed(Plan(query), SEARCH, fail) == SEARCH.condition(query)
    assert rare_words(common & (key == "Ni"), SEARCH, rare("ni")) == FullText("ni")
    assert rare_words(Start("plan_name").regex("^a scan"), SEARCH, rare("a")) == FullText("a")


def test_a_word_that_the_index_cuts_is_not_asked_for() -> None:
    long = "x" * LONG_WORD
    assert rare_words(key == f"{long} Ni", SEARCH, rare(long, "ni")) == FullText("ni")


@pytest.fixture(scope="module")
def hundreds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Index]:
    """900 runs: one word of all, one of a third, one of one."""
    texts = [f"all {'third' if n % 3 == 0 else ''} {'single' if n == 5 else ''}".strip() for n in range(900)]
    found = [({"uid": f"{n}", "time": float(n), "x": text}, None) for n, text in enumerate(texts)]
    index = pickled_index(tmp_path_factory.mktemp("index") / "index.sqlite", found)
    yield index
    index.close()


def test_how_many_runs_are_few(hundreds: Index) -> None:
    for word, number, expected in (
        ("single", 1, True), ("single", 8, True), ("nobody", 8, True), ("all", 1, False), ("third", 1, False),
    ):  # fmt: skip
        assert hundreds.is_rare(word, number) is expected
    for found, of, number, expected in (
        (240, 900, 1, True), (241, 900, 1, False), (120, 900, 2, True), (121, 900, 2, False),
        (FEW, 10**9, 1, True), (FEW + 1, 10**9, 1, False), (0, None, 1, True),
    ):  # fmt: skip
        assert is_rare(lambda *asked, row=(found, of): [row], "word", number) is expected


def test_an_empty_index_has_no_words(tmp_path: FilePath) -> None:
    index = pickled_index(tmp_path / "index.sqlite")
    assert index.is_rare("word")
    index.close()


def steps(index: Index, condition: SQL) -> tuple[str, int]:
    """How SQLite goes about a page of hits, and the hundreds of steps that it takes."""
    where, values = condition
    asked = []

    def count() -> int:
        asked.append(1)
        return 0

    told = f"EXPLAIN QUERY PLAN SELECT 1 FROM files LEFT JOIN searched ON searched.file = id WHERE listed AND {where}"
    with index._lent() as db:  # the only one, which is lent again and again
        plan = str(db.execute(told, values).fetchall())
        db.set_progress_handler(count, 100)
    list(index.find(where, values, Order.NEWEST, limit=5))
    db.set_progress_handler(None, 1)
    return plan, len(asked)


def test_runs_without_a_rare_word_are_not_looked_at(hundreds: Index) -> None:
    query = key == "all  single"
    assert rare_words(query, SEARCH, hundreds.is_rare) == FullText("single")
    found = narrowed(Plan(query), SEARCH, hundreds.is_rare)
    (plan, some), (_, all_) = steps(hundreds, found), steps(hundreds, SEARCH.condition(query))
    assert "texts VIRTUAL TABLE" in plan
    assert "SCAN files" not in plan
    assert some * 10 < all_
    assert rare_words(key == "all", SEARCH, hundreds.is_rare) == ALL


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stored]:
    some = SQLStore(f"{tmp_path_factory.mktemp('sql')}/runs.db")
    yield Stored(some, [Run({"uid": "u", "x": f"foil {n}", "y": ["Ni", {"z": n % 5}]}, {"x": "Ni"}) for n in range(90)])
    some.close()


def asked_of(store: SQLStore, question: Callable[[], Any]) -> list[str]:
    asked: list[str] = []
    ask = store.database.ask

    def told(sql: str, *values: Any) -> Any:
        asked.append(sql)
        return ask(sql, *values)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store.database, "ask", told)
        question()
    return asked


def test_a_database_asks_for_words_in_all_it_finds(store: Stored) -> None:
    query = key == "foil 7"
    assert store.found(query) == store.expected(query) == [7]
    for plan in (Plan(query), store.store.plan(query, Order.NEWEST)):
        for question in (
            lambda plan=plan: list(store.store.find(plan)),
            lambda plan=plan: store.store.count(plan),
            lambda plan=plan: list(store.store.distinct(Path("start", ("x",)), plan) or ()),
            lambda plan=plan: list(store.store.lookup([Path("start", ("x",))], plan) or ()),
        ):
            assert "texts MATCH" in asked_of(store.store, question)[-1]
    every = Start("y").contains("Ni")
    assert store.found(every) == list(range(90))
    assert "texts MATCH" not in asked_of(store.store, lambda: store.store.count(Plan(every)))[-1]


def test_a_database_made_without_fts5_is_searched_all_the_same(tmp_path: FilePath) -> None:
    some = SQLStore(f"{tmp_path}/runs.db")
    stored = Stored(some, [Run({"uid": "u", "x": text}, None) for text in ("Ni foil", "Co foil")])
    some.close()
    with sqlite3.connect(tmp_path / "runs.db") as db:
        db.execute("DROP TABLE texts")
    db.close()
    assert stored.found(key == "Ni foil") == [0]
    some.close()


def test_who_cannot_write_words_writes_no_runs_beside_them(tmp_path: FilePath, monkeypatch: pytest.MonkeyPatch) -> None:
    some = SQLStore(f"{tmp_path}/runs.db")
    some.insert({"uid": "first", "time": 1.0}).close()
    with monkeypatch.context() as patch:
        patch.setattr(search_columns, "HAS_FTS5", False)
        with pytest.raises(StoreUnavailable, match="lacks FTS5"):
            some.insert({"uid": "second", "time": 2.0})
    assert [run.uid for run in some.find()] == ["first"]
    some.close()
