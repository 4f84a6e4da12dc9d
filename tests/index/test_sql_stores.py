"""What SQL databases find of queries is what `matches` finds: on SQLite, and on a PostgreSQL server."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from intake_bluesky.documents.model import RunSummary
from intake_bluesky.index import key_values
from intake_bluesky.index.search_form import COMMON
from intake_bluesky.query import (
    ALL,
    AnyItem,
    Compare,
    DataBetween,
    DataQuery,
    Exists,
    FullText,
    Item,
    PartialUID,
    Path,
    Query,
    Regex,
    Start,
    matches,
    split,
)
from intake_bluesky.query.pruning import Kept, Verdict, bounds
from intake_bluesky.storage.contract import Plan
from intake_bluesky.storage.order import Order
from intake_bluesky.testing.queries import Run, data_queries, queries, runs
from intake_bluesky_sql import SQLStore
from intake_bluesky_sql.postgres_search import POSTGRESQL
from tests.drawn import drawn
from tests.index.values_at_paths import HELD, KEYS, ODD, QUERIES, check_told, with_values
from tests.servers.postgres import Postgres

pytestmark = pytest.mark.slow  # databases compare alike on each Python
T = TypeVar("T")
AWKWARD = (
    "'", '"', "');DROP TABLE runs;--", "\" OR 1=1 --", "$", "a.b", "[0]", "\\", "\0", "%", "%s", "?", "", "x'", "`",
    "\ud7ff", "\ud800", "\udc00x", "\x7f", "é", "{}", "{0}", "*", "NOT", "\n", ":x", "-1", "01", "+1", " 1", "1",
)  # fmt: skip


class Stored:
    """Runs in a store, told by the beginning of their uids."""

    def __init__(self, store: SQLStore, runs: Iterable[Run]) -> None:
        self.store, self.runs = store, list(runs)
        for number, run in enumerate(self.runs):
            run.start["uid"] = f"{number:04}-{run.start.get('uid', '')}"
            insert = store.insert(run.start)
            for name, doc in run.documents()[1:]:
                insert.write(name, doc)
            insert.close()

    def found(self, query: Query) -> list[int]:
        found = [int(run.uid[:4]) for run in self.store.find(Plan(query, order=Order.OLDEST))]
        assert len(found) == self.store.count(Plan(query))
        made = self.store.plan(query, Order.OLDEST)
        assert made.residual != ALL or [int(run.uid[:4]) for run in self.store.find(made)] == found
        return sorted(found)

    def expected(self, query: Query) -> list[int]:
        return [number for number, run in enumerate(self.runs) if matches(query, run)]

    def check(self, query: Query) -> None:
        """Hold what is pushed to the oracle, and what lies around the rest to lie around it."""
        plan = self.store.plan(query, Order.NEWEST)
        assert self.found(plan.pushed) == self.expected(plan.pushed), plan.pushed
        if self.store.database.is_sqlite:  # be words rare or not
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(self.store, "_is_rare", lambda word, number: True)
                assert self.found(plan.pushed) == self.expected(plan.pushed), plan.pushed
        possible, certain, _ = bounds(plan.residual, self.exact)
        expected = set(self.expected(query))
        assert set(self.found(plan.pushed & certain)) <= expected <= set(self.found(plan.pushed & possible)), query

    def exact(self, leaf: Query) -> bool:
        taken = self.store.plan(leaf, Order.NEWEST).residual == ALL
        assert self.store.answers(leaf) or not taken  # a plan leaves what is too deep a condition for SQLite
        return taken


@pytest.fixture(params=["sqlite", "postgresql"], scope="module")
def server(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue("postgres") if request.param == "postgresql" else None


@pytest.fixture(scope="module")
def stores(server: Postgres | None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Give a function that makes empty stores."""
    made: list[SQLStore] = []

    def make() -> SQLStore:
        uri = f"{tmp_path_factory.mktemp('sql')}/runs.db" if server is None else server.uri()
        made.append(SQLStore(uri, flush_seconds=10, patience=0))
        return made[-1]

    yield make
    for store in made:
        store.close()


@pytest.fixture(scope="module")
def some(stores: Any) -> Stored:
    return Stored(stores(), drawn(runs(), 200))


@pytest.fixture(scope="module")
def measured(stores: Any) -> Stored:
    return Stored(stores(), drawn(runs(whole=True), 200))


@example(query=Start("a.a", descend=True).any(Item("a.a", descend=True).exists()))  # too deep for SQLite's parser
@given(query=queries(descend=None, max_leaves=4))
def test_agrees_with_the_oracle(some: Stored, query: Query) -> None:
    """Two hundred runs an example: 10,000 pairs, and 40,000 at length."""
    some.check(query)


@given(query=queries(descend=True, max_leaves=2))
def test_agrees_with_the_oracle_where_mongodb_looks(some: Stored, query: Query) -> None:
    some.check(query)


def kept(query: Query, says: Verdict) -> Kept:
    assert isinstance(query, DataQuery)
    return Kept(query, says)


@given(query=data_queries())
def test_what_is_kept_agrees_with_the_oracle(measured: Stored, query: Query) -> None:
    true, open_ = set(measured.found(kept(query, "true"))), set(measured.found(kept(query, "open")))
    expected = set(measured.expected(query))
    assert true <= expected <= true | open_
    unfinished = {number for number, run in enumerate(measured.runs) if run.stop is None}
    if not isinstance(query, DataBetween) and not measured.store.database.is_sqlite:
        assert open_ <= unfinished, "numbers are exact, and decide"


@given(query=queries(whole=True, max_leaves=4))
def test_bounds_of_any_query(measured: Stored, query: Query) -> None:
    possible, certain, _ = bounds(query, measured.exact, "")
    expected = set(measured.expected(query))
    assert set(measured.found(certain)) <= expected <= set(measured.found(possible)), query


NUMBERS = (
    0, 1, -1, 2**53, 2**53 + 1, -(2**53) - 1, 2**62 + 1, 2**63 - 1, -(2**63), 2**63, 2**70, 0.1, 0.1 + 2**-56, -0.0,
    5e-324, 1e300, -1e300, 1.5, float("inf"), float("-inf"), float("nan"), 1.7976931348623157e308, True,
)  # fmt: skip


@pytest.fixture(scope="module")
def numbers(stores: Any) -> Stored:
    return Stored(
        stores(),
        [Run({"uid": "u", "x": n, "l": [n], "scan_id": n, "time": n}, {"t": n}) for n in NUMBERS],
    )


@pytest.mark.parametrize("op", ["==", "<", "<=", ">", ">="])
def test_numbers_compare_as_in_python(numbers: Stored, op: Any) -> None:
    for value in NUMBERS:
        if value == value:  # noqa: PLR0124  # NaN is asked for by IsNaN
            for path in ("x", "scan_id", "time", Path("start", ("scan_id",), True), Path("stop", ("t",))):
                numbers.check(Compare(path, op, value))
            numbers.check(AnyItem("l", Compare(Path("item", ()), op, value)))
    numbers.check(Start("x").is_in([*NUMBERS[:9], 0.1]))
    numbers.check(Start("time").is_in([0, 0.1, 1.5]))
    numbers.check(Start("scan_id").is_in([0, 0.1, 1.5, 2**62 + 1]))
    numbers.check(Start("x").is_nan())


TEXTS = (*AWKWARD, "a", "B", "b", "Z", "ä", "\uffff", "\U0001f600", "x" * 500, "x" * 501, "x" * 3000, "x" * 3000 + "y")


@pytest.fixture(scope="module")
def texts(stores: Any) -> Stored:
    return Stored(
        stores(),
        [Run({"uid": "u", "x": t, "plan_name": t, t: {t: t}, "l": [t], "n": f"a {t} b"}, {"t": t}) for t in TEXTS],
    )


@pytest.mark.parametrize("text", TEXTS, ids=[ascii(text)[:20] for text in TEXTS])
def test_texts_are_ordered_by_code_points_and_become_no_sql(texts: Stored, text: str) -> None:
    for path in (Path("start", ("x",)), Path("start", ("plan_name",)), Path("start", ("plan_name",), True)):
        for op in ("==", "<", ">="):
            texts.check(Compare(path, op, text))
    for query in (
        Compare(Path("start", (text, text)), "==", text),
        Compare(Path("start", (text, text)), "<", text),
        Compare(Path("start", (text, text), descend=True), "==", text),
        Compare(Path("start", (text, text), descend=True), ">", text),
        Exists(Path("start", ("l", text))),
        Exists(Path("start", (text,))),
        Start("plan_name").is_in([text, "y"]),
        Start("l").contains(text),
        Start("l").any(Item() == text),
        Start("n").regex(re.escape(text)),
        Start("n").regex(f"^a {re.escape(text)}"),
        PartialUID(f"0001{text}"),
        Start("uid") == f"0001{text}",
        FullText(f"a {text}"),
    ):
        texts.check(query)
        texts.check(~query)
    assert len(texts.found(ALL)) == len(TEXTS)


PARTS = "%_\\'\"?aAé \n\x00\ud7ff\ud800\U0001f600"
LITERALS = st.text(PARTS, max_size=4).map(lambda text: text.replace("\\", ""))
PLACES = [*COMMON, ("start", ("x",))]


@pytest.fixture(scope="module")
def parts(stores: Any) -> Stored:
    """Texts at common keys, and what else may be there."""
    texts = drawn(st.text(PARTS, max_size=8), 100)
    texts += ["", "%", "_", "\\", "100%", "a_b", "\\%", "'", "x" * 496 + "a%_é", "x" * 500 + "a%_", "x" * 600 + "é"]
    found: list[Run] = []
    for number, text in enumerate(texts):
        value: Any = ([text], {"name": text}, {"name": [text]}, [{"name": text}], None, text, text, text)[number % 8]
        other = texts[number // 2]
        found.append(Run({"uid": "u", "sample": value, "plan_name": text, "purpose": other}, {"exit_status": other}))
    return Stored(stores(), found)


@given(text=LITERALS, anchor=st.sampled_from(["", "^"]), place=st.sampled_from(PLACES), descend=st.booleans())
def test_parts_of_texts_at_common_keys(parts: Stored, text: str, anchor: str, place: Any, descend: bool) -> None:
    query = Regex(Path(place[0], place[1], descend), anchor + re.sub(r"([?\\])", r"\\\1", text))
    parts.check(query)
    parts.check(~query)
    for op in ("==", "<"):
        parts.check(Compare(Path(place[0], place[1], descend), op, text))


@pytest.mark.parametrize("text", ["%", "_", "a%", "a_b", "'", '"', "é", "xa%_", "x" * 500, "x" * 501, "\U0001f600"])
def test_awkward_parts_are_found_by_the_database(parts: Stored, text: str) -> None:
    for descend in (False, True):
        for anchor in ("", "^"):
            query = Regex(Path("start", ("plan_name",), descend), anchor + text)
            assert parts.exact(query)
            assert parts.found(query) == parts.expected(query)
    assert parts.expected(Start("plan_name").regex(text))


@given(words=st.lists(st.text(max_size=30), min_size=1, max_size=5))
@settings(max_examples=10)
def test_words_are_those_of_full_text(stores: Any, texts: Stored, words: list[str]) -> None:
    for word in words:
        if re.search(r"\w", word):
            texts.check(FullText(word))
    texts.check(FullText("x" * 3000))
    texts.check(FullText("x" * 2999))


def steps(store: SQLStore, query: Query) -> str:
    """How the database goes about finding what a query asks for."""
    asked: list[tuple[str, Any]] = []
    ask = store.database.ask

    def told(sql: str, *values: Any) -> Any:
        asked.append((sql, values))
        return ask(sql, *values)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store.database, "ask", told)
        list(store.find(Plan(query), limit=5))
    [(sql, values)] = asked
    explain = "EXPLAIN QUERY PLAN " if store.database.is_sqlite else "EXPLAIN "
    return "\n".join(str(row) for row in ask(explain + sql, *values))


@pytest.fixture(scope="module")
def many(stores: Any) -> Stored:
    found = Stored(
        stores(),
        [Run({"uid": f"{n}", "time": n, "scan_id": n, "plan_name": f"p{n % 97}", "x": n}, {}) for n in range(400)],
    )
    with found.store.database._engine_of_this_process().connect() as connection:
        connection.exec_driver_sql("ANALYZE")
    return found


@pytest.mark.parametrize("place", [*COMMON, ("start", ("scan_id",)), ("start", ("uid",))], ids=repr)
def test_common_keys_are_found_by_an_index(many: Stored, place: Any) -> None:
    value: Any = 7 if place[1] == ("scan_id",) else "p5"
    found = steps(many.store, Compare(Path(*place), "==", value))
    assert re.search(r"by_|runs_uid_key|sqlite_autoindex_runs|runs_1", found), found
    assert "SCAN runs" not in found


def test_any_key_and_words_are_found_by_an_index(many: Stored) -> None:
    assert split(Start("x") == 5, many.exact) == (Start("x") == 5, ALL)
    if many.store.database.is_sqlite:
        assert "texts VIRTUAL TABLE" in steps(many.store, FullText("p5"))
        return
    with many.store.database._engine_of_this_process().connect() as connection:
        connection.exec_driver_sql("SET enable_seqscan = off")  # 400 runs are read sooner than an index
        for name, condition, value in (
            ("by_form_start", "form_start @> CAST(%s AS jsonb)", '{"x": 5}'),
            ("by_words", "words @> CAST(%s AS text[])", ["p5"]),
        ):
            plan = connection.exec_driver_sql(f"EXPLAIN SELECT id FROM runs WHERE {condition}", (value,)).all()
            assert name in str(plan)
        connection.exec_driver_sql("RESET enable_seqscan")


@pytest.mark.parametrize("place", COMMON, ids=repr)
def test_parts_of_texts_are_found_by_an_index(many: Stored, place: Any) -> None:
    if many.store.database.is_sqlite:
        return
    for descend in (False, True):
        query = Regex(Path(place[0], place[1], descend), "foil_7")
        with many.store.database._engine_of_this_process().connect() as connection:
            connection.exec_driver_sql("SET enable_seqscan = off")
            sql, values = POSTGRESQL.condition(query)
            explain = f"EXPLAIN SELECT id FROM runs WHERE {sql}"
            plan = str(many.store.database.execute(connection, explain, tuple(values)).all())
            connection.exec_driver_sql("RESET enable_seqscan")
            long = f"EXPLAIN SELECT id FROM runs WHERE length({COMMON[place]}) > 500"
            assert "rows=1 " in str(connection.exec_driver_sql(long).all()), "none is guessed to be long"
        assert "by_trigrams" in plan
        assert "with_long_texts" in plan
        assert ("with_lists" in plan) == descend
    assert f"by_{COMMON[place]}" in steps(many.store, Regex(Path(*place), "^foil_7"))


@pytest.fixture(scope="module")
def held(stores: Any) -> Stored:
    """Runs with all kinds of values, texts longer than columns among them."""
    odd = [
        Run(
            {"uid": "u", "time": 5.0, **dict.fromkeys(("x", "plan_name", "scan_id"), value)},
            {"exit_status": value, "x": value},
        )
        for value in (*ODD, *ODD, *("x" * 500, "x" * 501, "x" * 600, "x" * 600 + "y") * 2)
    ]
    return Stored(stores(), [*odd, Run({"uid": "u"}, None), *drawn(st.builds(with_values, runs(), HELD), 150)])


@pytest.mark.parametrize("key", KEYS)
def test_values_told_are_those_of_documents(held: Stored, key: str) -> None:
    summaries = [RunSummary.of(run.start, run.stop) for run in held.runs]
    for query in QUERIES:
        check_told(held.store, summaries, Path.parse(key), query)


def test_a_key_that_is_told_becomes_no_sql(texts: Stored) -> None:
    summaries = [RunSummary.of(run.start, run.stop) for run in texts.runs]
    for text in AWKWARD:
        check_told(texts.store, summaries, Path("start", (text, text)), ALL)
        check_told(texts.store, summaries, Path("start", (text,)), ALL)


def test_what_the_form_may_not_tell_is_not_told(texts: Stored) -> None:
    for path in (Path("start", ("a",) * 100), Path("start", ("0", "1", "2", "3")), Path("start", ("a",), descend=True)):
        assert texts.store.distinct(path) is None
        assert texts.store.lookup([path]) is None


def test_many_different_numbers_are_left_to_a_pass_over_all(many: Stored, monkeypatch: pytest.MonkeyPatch) -> None:
    for most, told in ((400, True), (399, False)):
        monkeypatch.setattr(key_values, "MOST", most)
        assert (many.store.distinct(Path("start", ("x",))) is not None) is told
        assert len(list(many.store.distinct(Path("start", ("plan_name",))) or ())) == 97
