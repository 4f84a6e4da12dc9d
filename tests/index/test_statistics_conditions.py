"""What kept statistics say of queries about data, in SQL, holds for the oracle; on a real SQLite index."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import count
from pathlib import Path

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intake_bluesky.documents.columns import column
from intake_bluesky.documents.statistics import Fields, Statistics
from intake_bluesky.index.index import Index, IndexEntry
from intake_bluesky.index.packed_statistics import pack, row_of, rows_of, statistics_of
from intake_bluesky.index.tables import COLUMNS
from intake_bluesky.index.translator import Translator
from intake_bluesky.query import CompareStatistic, Data, DataBetween, DataQuery, DataWithin, Query, leaves, matches
from intake_bluesky.query.pruning import Kept, Verdict, bounds
from intake_bluesky.runtime.compression import squeezed
from intake_bluesky.storage.order import Order
from intake_bluesky.storage.statistics import Answer, Recorded
from intake_bluesky.testing.queries import BOUNDS, DATA_NUMBERS, Run, data_queries, queries, runs
from tests.index.pickled_runs import pickled_entry, pickled_index

SEARCH = Translator(COLUMNS)
NUMBERS = count()
FEWER = settings(max_examples=settings().max_examples // 2)  # of many runs each, which take long to draw


def kept(query: Query, says: Verdict, reading: str = "") -> Kept:
    assert isinstance(query, DataQuery)
    return Kept(query, says, reading)


class Measured:
    """Runs in an index with what is known of their data: all of it, some, or nothing."""

    def __init__(self, index: Index, runs: Iterable[tuple[Run, str]]) -> None:
        self.index, self.runs, self.known = index, [run for run, _ in runs], [known for _, known in runs]
        for number, run in enumerate(self.runs):
            run.start["uid"] = f"{number:04}"
        index.put([self._entry(number) for number in range(len(self.runs))])

    def _entry(self, number: int) -> IndexEntry:
        run, known = self.runs[number], self.known[number]
        entry = pickled_entry(number, run.start, run.stop or {})
        if known == "nothing":
            return entry
        statistics: dict[str, dict[str, Fields | None]] = {}
        for stream, key in run.data:
            found = run.statistics(stream, key) if known == "all" else None
            statistics.setdefault(stream, {})[key] = None if found is None else found.fields
        return entry._replace(statistics=pack(statistics))

    def found(self, query: Query) -> set[int]:
        self.index.spread(leaf.query.key for leaf in leaves(query) if isinstance(leaf, Kept))
        where, values = SEARCH.condition(query)
        return {int(path) for _, _, path, _ in self.index.find(where, values, Order.OLDEST)}

    def keep(self, what: Recorded, found: Statistics | Answer) -> None:
        self.index.keep([(what, found)], str)

    def matching(self, query: Query) -> set[int]:
        return {number for number, run in enumerate(self.runs) if matches(query, run)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("index")


def measured(folder: Path, runs: list[tuple[Run, str]]) -> Iterator[Measured]:
    index = pickled_index(folder / f"{next(NUMBERS)}.sqlite")
    try:
        yield Measured(index, runs)
    finally:
        index.close()
        for file in folder.iterdir():
            file.unlink()


def some_runs(known: str = "") -> st.SearchStrategy[list[tuple[Run, str]]]:
    told = st.just(known) if known else st.sampled_from(("all", "declared", "nothing"))
    return st.lists(st.tuples(runs(whole=True), told), min_size=20, max_size=20)


@FEWER
@given(st.data(), some_runs())
def test_what_is_kept_agrees_with_the_oracle(folder: Path, data: st.DataObject, some: list[tuple[Run, str]]) -> None:
    """Twenty runs and ten queries an example: 5,000 pairs, and 20,000 at length."""
    for indexed in measured(folder, some):
        for query in data.draw(st.lists(data_queries(), min_size=10, max_size=10)):
            true, open_ = indexed.found(kept(query, "true")), indexed.found(kept(query, "open"))
            expected = indexed.matching(query)
            assert true <= expected <= true | open_, query


@pytest.mark.slow
@FEWER
@given(st.data(), some_runs())
def test_bounds_of_any_query(folder: Path, data: st.DataObject, some: list[tuple[Run, str]]) -> None:
    for indexed in measured(folder, some):
        for query in data.draw(st.lists(queries(whole=True, max_leaves=4), min_size=10, max_size=10)):
            possible, certain, between = bounds(query, SEARCH.exact, "")
            assert indexed.found(certain) <= indexed.matching(query) <= indexed.found(possible), query
            assert indexed.found(between) == indexed.found(possible) - indexed.found(certain), query


DECIDED = data_queries(
    intervals=[DataWithin],
    statistics=["min", "max", "sum", "count", "nan_count", "first", "last"],
    bounds=[bound for bound in BOUNDS if bound != 2**63],
)


@pytest.mark.slow
@FEWER
@given(st.data(), some_runs("all"))
def test_comparisons_of_what_is_known_are_decided(
    folder: Path, data: st.DataObject, some: list[tuple[Run, str]]
) -> None:
    for indexed in measured(folder, some):
        large = {n for n, run in enumerate(indexed.runs) if any(_is_large(run, what) for what in run.data)}
        for query in data.draw(st.lists(DECIDED, min_size=10, max_size=10)):
            assert indexed.found(kept(query, "open")) <= large, query
            assert indexed.found(kept(query, "true")) - large == indexed.matching(query) - large, query


def _is_large(run: Run, what: tuple[str, str]) -> bool:
    found = run.statistics(*what)
    return found is not None and row_of(found)[-1] is not None


def one(folder: Path, values: Sequence[object]) -> Iterator[Measured]:
    run = Run({"uid": "u", "time": 1.0}, {}, ({"name": "primary", "data_keys": {"x": {}}},), {("primary", "x"): values})
    return measured(folder, [(run, "all")])


def test_an_interval_longer_than_every_gap_needs_no_look(folder: Path) -> None:
    steps = [n / 4 for n in range(-40, 41)]
    for indexed in one(folder, steps):
        for low, high in ((0, 5), (0.1, 0.4), (-3.3, -3.0), (9.9, 20)):
            query = Data("x").between(low, high)
            assert indexed.found(kept(query, "true")) == {0}
            assert indexed.found(kept(query, "open")) == set()
        narrow = Data("x").between(0.1, 0.2)
        assert indexed.found(kept(narrow, "true")) == set()
        assert indexed.found(kept(narrow, "open")) == {0}
        outside = Data("x").between(10.1, 20)
        assert indexed.found(kept(outside, "true") | kept(outside, "open")) == set()


@given(st.lists(st.sampled_from(DATA_NUMBERS) | st.integers(-9, 9), min_size=1, max_size=5), st.sampled_from(BOUNDS))
def test_means_compare_as_fractions(folder: Path, values: list[object], bound: float) -> None:
    for indexed in one(folder, values):
        for op in ("<", "<=", ">", ">="):
            query = CompareStatistic("x", "mean", op, bound)
            true, open_ = indexed.found(kept(query, "true")), indexed.found(kept(query, "open"))
            assert true <= indexed.matching(query) <= true | open_, (values, query)


@given(st.floats(allow_nan=False), st.floats(allow_nan=False))
def test_lengths_are_rounded_down(low: float, high: float) -> None:
    low, high = sorted((low, high))
    length = DataBetween("x", low, high).length
    assert length >= 0
    if math.isfinite(low) and math.isfinite(high):
        assert length <= Fraction(high) - Fraction(low)


@given(st.lists(st.one_of(st.none(), st.integers(-(2**70), 2**70), st.floats()), max_size=5))
def test_statistics_come_back(values: list[object]) -> None:
    found = Statistics.of(column(values)[0])
    assert repr(statistics_of(row_of(found))) == repr(found)


def test_statistics_of_files_count_under_their_own_reading(folder: Path) -> None:
    run = Run({"uid": "u", "time": 1.0}, {}, (), {("primary", "image"): [1.0, 2.0]})
    query = Data("image").max() > 1
    for indexed in measured(folder, [(run, "declared")]):
        assert indexed.found(kept(query, "open", "mine")) == {0}
        known = Statistics.of(column([1.0, 2.0])[0])
        what = Recorded("0000", "stamp", "primary", "image", "mine")
        indexed.keep(replace(what, version="another"), known)
        assert indexed.found(kept(query, "true", "mine")) == set()
        assert indexed.index.statistics(what) is None
        indexed.keep(what, known)
        assert indexed.found(kept(query, "true", "mine")) == {0}
        assert indexed.found(kept(query, "open", "mine")) == set()
        assert indexed.found(kept(query, "open", "other")) == {0}
        assert indexed.index.statistics(what) == ("stamp", known)
        assert indexed.index.statistics(replace(what, reading="other")) is None


def test_entries_that_are_replaced_take_their_statistics_along(folder: Path) -> None:
    run = Run({"uid": "u", "time": 1.0}, {}, (), {("primary", "x"): [1.0, 2.0]})
    for indexed in measured(folder, [(run, "all")]):
        assert indexed.found(kept(Data("x").max() > 1, "true")) == {0}
        assert indexed.index.unmeasured(["0000"]) == []
        indexed.index.put([indexed._entry(0)._replace(statistics=None)])
        assert indexed.found(kept(Data("x").max() > 1, "true")) == set()
        assert indexed.found(kept(Data("x").max() > 1, "open")) == {0}
        assert indexed.index.unmeasured(["0000"]) == [("0", "stamp")]
        [rows] = indexed.index._ask("SELECT count(*) FROM statistics")[0]
        assert rows == 0


@pytest.mark.parametrize("name", ["theta'; DROP TABLE files; --", '"', "a\0b", "half \ud800", "", "\ud7ff", "%"])
def test_odd_names_are_names(folder: Path, name: str) -> None:
    run = Run({"uid": "u", "time": 1.0}, {}, (), {("primary", name): [1.0], (name, "x"): [2.0]})
    for indexed in measured(folder, [(run, "all")]):
        assert indexed.found(kept(Data(name).max() == 1, "true")) == {0}
        assert indexed.found(kept(Data("x", stream=name or None).max() == 2, "true")) == {0}
        assert indexed.found(kept(Data(name + "x").max() == 1, "true")) == set()
        assert indexed.index.count("1", ()) == 1


def test_answers_tell_of_wider_and_of_narrower_intervals(folder: Path) -> None:
    for indexed in one(folder, [0.0, 5.0, 10.0, 20.0]):
        what = Recorded("0000", "stamp", "primary", "x")

        def verdict(low: float, high: float, indexed: Measured = indexed) -> str:
            query = Data("x").between(low, high)
            if indexed.found(kept(query, "true")):
                return "true"
            return "open" if indexed.found(kept(query, "open")) else "false"

        assert [verdict(4, 8), verdict(11, 15), verdict(12, 14), verdict(3, 9)] == ["open"] * 4
        indexed.keep(what, Answer(4, 8, True))
        indexed.keep(what, Answer(11, 15, False))
        indexed.keep(replace(what, version="another"), Answer(1, 2, True))
        indexed.keep(what, Answer(-(2**70), 2**70, True))
        assert [verdict(4, 8), verdict(3, 9), verdict(4.5, 8)] == ["true", "true", "open"]
        assert [verdict(11, 15), verdict(12, 14), verdict(11, 15.5)] == ["false", "false", "open"]
        assert verdict(1, 2) == "open"
        indexed.index.put([indexed._entry(0)])
        assert verdict(4, 8) == "open"


def test_of_too_many_answers_the_first_are_dropped(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("intake_bluesky.index.index.ANSWERS", 3)
    for indexed in one(folder, [0.0, 5.0, 10.0, 20.0]):
        for number in range(6):
            answer = Answer(1 + number / 10, 2 + number / 10, found=False)
            indexed.keep(Recorded("0000", "stamp", "primary", "x"), answer)
        assert [low for (low,) in indexed.index._ask("SELECT low FROM answers ORDER BY low")] == [1.3, 1.4, 1.5]


@given(
    st.dictionaries(st.text(), st.lists(st.none() | st.integers(-(2**66), 2**66) | st.floats(), max_size=3), max_size=3)
)
def test_what_is_packed_comes_back(columns: dict[str, list[object]]) -> None:
    found = {key: Statistics.of(column(values)[0]) for key, values in columns.items()}
    packed = pack({"primary": {key: each.fields for key, each in found.items()}, "other": {"x": None}})
    rows = {(stream, key): row for stream, key, row in rows_of(packed)}
    assert statistics_of(rows.pop(("other", "x"))) is None
    assert repr([statistics_of(row) for row in rows.values()]) == repr(list(found.values()))
    for row in rows.values():
        assert all(not isinstance(number, int) or -(2**63) <= number < 2**63 for number in row)


@pytest.mark.parametrize("odd", [b"", b"\0" * 9, pack({})[:-1], squeezed(msgpack.packb([[1, 2]])), squeezed(b"\xc1")])
def test_what_nobody_packed_is_refused(odd: bytes) -> None:
    with pytest.raises(ValueError, match="no packed statistics"):
        list(rows_of(odd))
