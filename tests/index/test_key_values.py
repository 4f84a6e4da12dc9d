"""What SQL tells of the values at paths is what documents hold there, and as often."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path as FilePath
from typing import Any, TypeVar, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intake_bluesky.documents.model import RunSummary
from intake_bluesky.files.codec import Codec
from intake_bluesky.files.indexed_files import IndexedFiles
from intake_bluesky.files.indexed_values import FILES, count_values, look_up
from intake_bluesky.files.scan.index_entries import entry_of
from intake_bluesky.index.index import Index
from intake_bluesky.index.key_values import MOST, standing
from intake_bluesky.index.search_form import DEEPEST, code_text, decode_text, unrank
from intake_bluesky.index.search_form import rank as number_rank
from intake_bluesky.index.tables import COLUMNS
from intake_bluesky.index.translator import Translator
from intake_bluesky.query import ALL, Path, Query
from intake_bluesky.storage.contract import Lookup, Plan
from intake_bluesky.storage.order import Order
from intake_bluesky.testing.queries import Run, runs
from intake_bluesky_jsonl import JSONLCodec
from intake_bluesky_msgpack import MsgpackCodec
from tests.index.values_at_paths import HELD, KEYS, ODD, QUERIES, check_told, with_values

SEARCH = Translator(COLUMNS)
T = TypeVar("T")


class Known:
    """Runs in an index, without files."""

    def __init__(self, index: Index, codec: Codec, runs: Iterable[Run]) -> None:
        self.index, self.codec = index, codec
        self.runs: list[RunSummary] = []
        entries = []
        for number, run in enumerate(runs):
            start = codec.encode("start", {**run.start, "uid": f"{number:04}"})
            stop = None if run.stop is None else codec.encode("stop", run.stop)
            read = [(raw, codec.decode(raw)[1]) for raw in (start, stop) if raw is not None]
            entries.append(entry_of(str(number), "stamp", read[0], stop))
            self.runs.append(RunSummary.of(read[0][1], read[1][1] if len(read) > 1 else None))
        index.put(entries)
        index.settle()

    def watch(self) -> None:
        """There are no files."""

    def ask_rows(self, question: Callable[[Index], T]) -> T:
        return question(self.index)

    @property
    def files(self) -> IndexedFiles:
        return cast(IndexedFiles, self)

    def distinct(self, path: Path, plan: Plan) -> Iterable[tuple[Any, int]] | None:
        return count_values(self.files, path, SEARCH.compiled(plan))

    def lookup(self, paths: Sequence[Path], plan: Plan) -> Lookup | None:
        return look_up(self.files, paths, SEARCH.compiled(plan), plan.order)

    def check(self, key: str, query: Query) -> None:
        check_told(self, self.runs, Path.parse(key), query)


@contextmanager
def known(folder: FilePath, runs: Iterable[Run], codec: Codec | None = None) -> Iterator[Known]:
    codec = codec or JSONLCodec()
    index = Index(folder / "index.sqlite", lambda raw: codec.decode(raw)[1])
    try:
        yield Known(index, codec, runs)
    finally:
        index.close()
        for file in folder.iterdir():
            file.unlink()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> FilePath:
    return tmp_path_factory.mktemp("index")


@given(st.lists(st.builds(with_values, runs(), HELD), min_size=15, max_size=15), st.data())
@pytest.mark.parametrize("codec", [JSONLCodec(), MsgpackCodec()], ids=["jsonl", "msgpack"])
def test_agrees_with_documents(folder: FilePath, codec: Codec, some: list[Run], data: st.DataObject) -> None:
    with known(folder, some, codec) as indexed:
        for key in data.draw(st.lists(st.sampled_from(KEYS), min_size=4, max_size=4, unique=True)):
            indexed.check(key, data.draw(st.sampled_from(QUERIES)))


@pytest.mark.parametrize("key", ["x", "plan_name", "scan_id", "stop.x"])
def test_what_is_told_apart_and_what_is_not(folder: FilePath, key: str) -> None:
    name = key.removeprefix("stop.")
    some = [Run({"uid": "u", "time": 5.0, name: value}, {"exit_status": "fail", name: value}) for value in (*ODD, *ODD)]
    with known(folder, [*some, Run({"uid": "u"}, None)]) as indexed:
        indexed.check(key, ALL)


def test_keys_that_are_no_texts_make_dicts_different(folder: FilePath) -> None:
    held = [{"a": 1}, {"a": 1, 5: 2}, {5: 2}, {}, [{5: 1}], [{}], {"a": 1}]
    with known(folder, [Run({"uid": "u", "x": value}, None) for value in held], MsgpackCodec()) as indexed:
        indexed.check("x", ALL)
        indexed.check("x.a", ALL)


def test_deep_values_are_whole(folder: FilePath) -> None:
    deep: Any = "end"
    for _ in range(120):
        deep = {"a": [deep]}
    with known(folder, [Run({"uid": "u", "x": value}, None) for value in (deep, {"a": [deep]}, "end")]) as indexed:
        indexed.check("x", ALL)
        indexed.check(".".join(["x", *["a.0"] * 1]), ALL)


@pytest.mark.parametrize(
    "path", [Path("start", ("a",) * DEEPEST), Path("start", ("0", "1", "2", "3")), Path("start", ("a",), descend=True)]
)
def test_what_the_form_may_not_tell_is_not_told(folder: FilePath, path: Path) -> None:
    assert standing(SEARCH, path) is None
    with known(folder, [Run({"uid": "u", "a": 1}, None)]) as indexed:
        assert count_values(indexed.files, path, ("1", [])) is None
        assert look_up(indexed.files, [path], ("1", []), Order.NEWEST) is None


def test_many_different_numbers_are_left_to_a_pass_over_all(folder: FilePath) -> None:
    for many, kind in ((MOST, float), (MOST + 1, int)):
        with known(folder, [Run({"uid": "u", "x": kind(n), "y": f"text {n}"}, None) for n in range(many)]) as indexed:
            assert (count_values(indexed.files, Path("start", ("x",)), ("1", [])) is None) == (many > MOST)
            texts = count_values(indexed.files, Path("start", ("y",)), ("1", []))
            assert len(list(texts or ())) == many


@given(st.text(st.characters(), max_size=5), st.floats(allow_nan=False))
def test_codes_are_undone(text: str, number: float) -> None:
    assert decode_text(code_text(text)) == text
    assert repr(unrank(number_rank(number))) == repr(number)


def test_a_key_becomes_no_sql(folder: FilePath) -> None:
    awkward = "'); DROP TABLE files; --\"\0\ud800 [0] $ {}"
    with known(folder, [Run({"uid": "u", awkward: {"?": awkward}}, None)]) as indexed:
        for path in (Path("start", (awkward,)), Path("start", (awkward, "?"))):
            expected = standing(SEARCH, Path("start", ("a",) * len(path.segments)))
            observed = standing(SEARCH, path)
            assert observed is not None
            assert expected is not None
            assert (observed.type[0], observed.value[0]) == (expected.type[0], expected.value[0])
            [(_, _, (value,))] = list(look_up(indexed.files, [path], ("1", []), Order.NEWEST) or ())
            assert value == ({"?": awkward} if len(path.segments) == 1 else awkward)


def test_documents_are_read_of_what_is_not_told(folder: FilePath) -> None:
    """None of texts, finite numbers, and lists of them."""
    held = ["a", 1, 0.5, True, None, ["a", 1], math.inf, math.nan, {"a": 1}, [0.5]]
    with known(folder, [Run({"uid": "u", "x": value}, None) for value in held]) as indexed:
        found = standing(SEARCH, Path("start", ("x",)))
        assert found is not None
        inner = f"SELECT {found.type[0]} AS t, {found.value[0]} AS v FROM searched"
        rows = list(
            indexed.index.rows(
                f"SELECT {FILES.untold('t', 'v')}, t, v FROM ({inner})", [*found.type[1], *found.value[1]]
            )
        )
        assert [row[0] for row in rows] == [0] * 6 + [1] * 4
        assert [FILES.plain(kind, value) for _, kind, value in rows[:6]] == held[:6]
