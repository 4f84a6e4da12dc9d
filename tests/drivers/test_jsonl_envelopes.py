"""Documents in JSON in other forms than ours: Bluesky's own writers, arrays, pointers of Git LFS."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from bluesky import RunEngine
from bluesky.callbacks.json_writer import JSONLinesWriter, JSONWriter
from bluesky.plans import scan
from hypothesis import given
from hypothesis import strategies as st
from ophyd.sim import det, motor

from intake_bluesky.documents.model import identical, to_plain
from intake_bluesky.files.scan.index_entries import glance
from intake_bluesky.testing import strategies
from intake_bluesky.testing.examples import EXAMPLES, Run
from intake_bluesky.testing.expected import cells
from intake_bluesky.testing.plain_runs import count
from intake_bluesky_jsonl import BlueskyJSONLCatalog, JSONLCodec, JSONLStore

CODEC = JSONLCodec()
POINTER: Final = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 12345\n"

Items = Callable[[Run], list[Any]]
ITEMS: Final[dict[str, Items]] = {
    "pairs": lambda run: [[name, to_plain(doc)] for name, doc in run],
    "named": lambda run: [{"name": name, "doc": to_plain(doc)} for name, doc in run],
    "named, sorted": lambda run: [{"doc": to_plain(doc), "name": name} for name, doc in run],
    "by name": lambda run: [{name: to_plain(doc)} for name, doc in run],
}
LAYOUTS: Final[dict[str, Callable[[list[Any]], str]]] = {
    "lines": lambda items: "".join(json.dumps(item) + "\n" for item in items),
    "lines of Windows": lambda items: "".join(json.dumps(item) + "\r\n" for item in items),
    "array": json.dumps,
    "compact array": lambda items: json.dumps(items, separators=(",", ":")),
    "indented array": lambda items: json.dumps(items, indent=2, ensure_ascii=False),
    "array of lines": lambda items: "[\n" + ",\n".join(map(json.dumps, items)) + "\n]",
    "array of lines, ended": lambda items: "[\n" + ",\n".join(map(json.dumps, items)) + "\n]\n",
}
FORMS: Final = [(items, layout) for items in ITEMS for layout in LAYOUTS]


def written(run: Run, form: tuple[str, str]) -> bytes:
    items, layout = form
    return LAYOUTS[layout](ITEMS[items](run)).encode()


def decoded(raw: bytes) -> Run:
    return [CODEC.decode(raw[item.start : item.stop]) for item in CODEC.split(raw)]


def test_every_form_of_every_example_is_read(tmp_path: Path) -> None:
    """One folder has them all: each run in a file of a form that goes with it in turn."""
    runs = {name: EXAMPLES[name](tmp_path) for name in EXAMPLES}
    expected = {str(run[0][1]["uid"]): ITEMS["pairs"](run) for run in runs.values()}
    for number, (name, run) in enumerate(runs.items()):
        form = FORMS[number % len(FORMS)]
        ending = (".json", ".jsonl", ".ndjson", ".json.gz")[number % 4]
        raw = written(run, form)
        (tmp_path / f"{name}{ending}").write_bytes(gzip.compress(raw) if ending.endswith("gz") else raw)
    plain = tmp_path / "plain"
    plain.mkdir()
    for name, run in runs.items():
        (plain / f"{name}.jsonl").write_bytes(written(run, ("pairs", "lines")))
    store, other = JSONLStore(tmp_path), JSONLStore(plain)
    assert {run.uid for run in store.find()} == expected.keys()
    assert list(store.problems()) == list(other.problems()) == []
    for uid, documents in expected.items():
        assert identical([list(pair) for pair in store.documents(uid)], documents)
        header = other.header(uid)
        assert store.header(uid).streams.keys() == header.streams.keys()
        for stream in header.streams:
            found, wanted = (cells(list(each.event_pages(uid, stream))) for each in (store, other))
            assert identical(found, wanted)
    store.close()
    other.close()


@pytest.mark.parametrize("form", [form for form in FORMS if form[0] != "named, sorted"], ids=" ".join)
def test_a_run_is_found_by_its_two_ends(form: tuple[str, str]) -> None:
    raw = written(count(), form)
    entry = glance(CODEC, "x.json", "", raw, raw)
    assert entry is not None
    assert entry.uid == count()[0][1]["uid"]


@pytest.mark.hypothesis
def test_drawn_runs_are_read_in_every_form_and_cut_anywhere() -> None:
    @given(strategies.runs(), st.sampled_from(FORMS), st.floats(0, 1))
    def check(run: Run, form: tuple[str, str], where: float) -> None:
        raw, expected = written(run, form), [(name, to_plain(doc)) for name, doc in run]
        assert identical(decoded(raw), expected)
        items = list(CODEC.split(raw))
        assert [item.start for item in items] == [0, *(item.stop for item in items[:-1])]
        assert CODEC.is_blank(raw[items[-1].stop :])
        cut = decoded(raw[: int(where * len(raw))])
        assert identical(cut, expected[: len(cut)])
        for item in items:  # blocks begin at any item
            assert identical(decoded(raw[item.start :]), expected[items.index(item) :])

    check()


@pytest.mark.parametrize("writer", [JSONLinesWriter, JSONWriter])
def test_files_of_blueskys_writers_open(writer: Any, tmp_path: Path) -> None:
    """TiledWriter's backup is a JSONLinesWriter, too."""
    documents: Run = []

    def collect(name: str, doc: Any) -> None:
        documents.append((name, doc))

    RunEngine()(scan([det], motor, -1, 1, 3), [writer(str(tmp_path)), collect])
    uid = documents[0][1]["uid"]
    catalog = BlueskyJSONLCatalog(tmp_path)
    assert (list(catalog), catalog.problems) == ([uid], ())
    assert identical(list(catalog.store.documents(uid)), [(kind, to_plain(doc)) for kind, doc in documents])
    assert catalog[uid].primary.read()["motor"].values.tolist() == [-1, 0, 1]
    assert len(catalog.search({"plan_name": "scan"})) == 1
    catalog.store.close()


def test_a_file_of_jsonwriter_is_read_while_it_grows(tmp_path: Path) -> None:
    store, run = JSONLStore(tmp_path), count()
    writer = JSONWriter(str(tmp_path), "run.json")
    for number, (name, doc) in enumerate(run, 1):
        writer(name, to_plain(doc))
        store.refresh()
        uid = str(run[0][1]["uid"])
        assert len(list(store.documents(uid))) == number
        assert list(store.problems()) == []
    assert store.header(uid).stop is not None
    store.close()


@pytest.mark.parametrize("form", [("named", "lines"), ("named", "array of lines"), ("by name", "array of lines")])
def test_damage_costs_one_document(form: tuple[str, str], tmp_path: Path) -> None:
    run = count()
    before = written(run, form).split(b"\n")
    [place, *_] = [n for n, line in enumerate(before) if b'"event"' in line]
    before[place] = before[place].replace(b'"seq_num"', b"seq_num", 1)
    (tmp_path / "x.json").write_bytes(b"\n".join(before))
    store = JSONLStore(tmp_path)
    store.refresh(deep=True)
    uid = str(run[0][1]["uid"])
    first = next(n for n, (name, _) in enumerate(run) if name == "event")
    expected = [(name, to_plain(doc)) for n, (name, doc) in enumerate(run) if n != first]
    assert identical(list(store.documents(uid)), expected)
    [problem] = store.problems()
    assert "passed over" in problem.message
    store.close()


def unreadable() -> Iterator[tuple[str, str, str]]:
    for ending in ("jsonl", "json", "jsonl.gz"):
        yield f"pointer.{ending}", POINTER, "git lfs pull"
    yield "settings.json", '{"a": [1, 2]}', "not a run"
    yield "list.json", "[[1, 2], {}]", "not a run"
    yield "deep.json", "[" * 100_000, "not a run"


@pytest.mark.parametrize(("name", "content", "expected"), list(unreadable()))
def test_what_is_no_run_is_said_and_hides_no_other(name: str, content: str, expected: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content)
    (tmp_path / "good.json").write_bytes(written(count(), ("named", "array")))
    store = JSONLStore(tmp_path)
    assert [run.uid for run in store.find()] == [count()[0][1]["uid"]]
    [problem] = store.problems()
    assert expected in problem.message
    store.close()
