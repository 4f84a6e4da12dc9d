"""Blocks of documents: whatever is put in comes back, value for value, whichever way it was packed."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intake_bluesky.documents.columns import column, observe
from intake_bluesky.documents.model import Document, identical, to_plain
from intake_bluesky.errors import DamagedRun
from intake_bluesky.testing.compose import RunComposer, data_key
from intake_bluesky.testing.expected import cells, same_value, stored_events
from intake_bluesky.testing.strategies import KINDS, columns, runs
from intake_bluesky_sql import SQLStore, document_rows
from intake_bluesky_sql.column_packing import observe_packed, pack, unpack, unpack_column
from intake_bluesky_sql.document_blocks import BlockLayout, alike, build

NUMBERS = count()


@pytest.mark.parametrize("kind", sorted(KINDS))
@given(data=st.data())
def test_values_come_back(kind: str, data: st.DataObject) -> None:
    values = data.draw(columns(kind))
    packed = pack(values)
    assert identical(unpack(packed, len(values)), values)
    expected, nulls = column(values)
    assert repr(unpack_column(packed, len(values))) == repr((expected, nulls))
    assert observe_packed(packed, len(values)) == observe(expected, nulls=nulls)


@pytest.mark.parametrize(
    ("values", "form"),
    [
        ([1.0, float("nan")], "<f8"),
        ([1, 2**63], "<u8"),
        ([True, False], "|b1"),
        ([1, True], "json"),
        ([1, 2.0], "json"),
        ([None, 1.0], "json"),
        ([2**64], "json"),
        (["a", ""], "text"),
        ([[1.5, 2.5]], "<f8,2"),
        ([[1.5], []], "ragged,1,<f8"),
        ([[[1], [2]], [[3, 4], [5, 6]]], "ragged,2,<i8"),
        ([[[1], [2, 3]]], "json"),
        ([[1], 2], "json"),
        ([[1, 2.0]], "json"),
        ([[], []], "json"),
        ([(1, 2)], "json"),
        ([{}], "json"),
        ([np.arange(6, dtype=np.uint16).reshape(2, 3)] * 2, "<u2,2,3"),
        ([np.float32(1.5), np.float32(2.5)], "<f4"),
        ([np.longdouble(1.5)], "json"),
        ([np.arange(2), np.arange(3)], "json"),
        ([np.array(["a"])], "json"),
        (np.arange(4.0), "<f8"),
        (np.arange(4).astype(">i4"), ">i4"),
        (np.array(["a", "b"]), "text"),
    ],
)
def test_form_is_the_narrowest_that_gives_them_back(values: Any, form: str) -> None:
    packed = pack(values)
    assert packed.form == form
    assert identical(unpack(packed, len(values)), to_plain(values))


@pytest.mark.parametrize(
    ("name", "doc"),
    [
        ("event", {"seq_num": 1, "time": 1.0, "data": {}}),
        ("event", {"descriptor": 3, "seq_num": 1, "time": 1.0, "data": {}}),
        ("event", {"descriptor": "d", "seq_num": 1, "time": 1.0, "data": {3: 4}}),
        ("event", {"descriptor": "d", "seq_num": 1, "time": 1.0, "data": {"k" * 300: 4}}),
        ("event_page", {"descriptor": "d", "seq_num": [1, 2], "time": [1.0], "data": {}}),
        ("event_page", {"descriptor": "d", "seq_num": [], "time": [], "data": {}}),
        ("stop", {"exit_status": "success"}),
    ],
)
def test_odd_documents_are_of_no_block(name: str, doc: Document) -> None:
    assert alike(name, doc) is None


@pytest.mark.parametrize("seq_num", ["one", 1.5, True, None, 2**70])
def test_events_that_cannot_be_counted_are_of_no_block(seq_num: Any) -> None:
    doc = {"descriptor": "d", "seq_num": seq_num, "time": 1.0, "data": {}}
    signature = alike("event", doc)
    assert signature is not None
    assert build([(1, doc)], signature) is None


def test_layout_that_is_none_is_said() -> None:
    with pytest.raises(DamagedRun, match="layout of a block"):
        BlockLayout.load(b"[1, 2]")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("blocks")


@given(run=runs(max_steps=12), tail=st.sampled_from((200, 2000, 1 << 21)))
def test_runs_come_back_in_the_order_they_were_written(folder: Path, run: Any, tail: int) -> None:
    store = SQLStore(folder / "runs.db", flush_seconds=10)
    documents = [("start", {**run[0][1], "uid": f"{next(NUMBERS)}"}), *run[1:]]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(document_rows, "SMALL", 0)
        patch.setattr(document_rows, "TAIL", tail)
        with store.insert(documents[0][1]) as insert:
            for pair in documents[1:]:
                insert.write(*pair)
    uid = documents[0][1]["uid"]
    assert identical(list(store.documents(uid)), documents)
    for stream, events in stored_events(documents).items():
        rows = cells(list(store.event_pages(uid, stream)))
        assert len(rows) == len(events)
        for row, event in zip(rows, events, strict=True):
            assert all(same_value(row.get(key), value) for key, value in event["data"].items())
    store.close()


def test_single_events_become_few_rows(folder: Path) -> None:
    """Of streams that take turns as well; and until then they are rows of their own."""
    store = SQLStore(folder / "few.db")
    run = RunComposer("turns")
    streams = [run.descriptor({"x": data_key("number")}, stream=name) for name in ("one", "two")]
    for number in range(500):
        run.event(streams[number % 2], {"x": float(number)})
    insert = store.insert(run.documents[0][1])
    for pair in run.documents[1:]:
        insert.write(*pair)
    rows = "SELECT (SELECT count(*) FROM documents), (SELECT count(*) FROM blocks)"
    assert store.database.ask(rows) == [(503, 0)]
    assert store.header(run.run_uid).streams["one"].pages == (250,)
    insert.close()
    assert store.database.ask(rows) == [(3, 2)]
    assert store.header(run.run_uid).streams["two"].pages == (250,)
    assert identical(list(store.documents(run.run_uid)), run.documents)
    store.close()


def test_damaged_column_is_said(folder: Path) -> None:
    store = SQLStore(folder / "damaged.db")
    run = RunComposer("damaged")
    primary = run.descriptor({"x": data_key("number")})
    run.page(primary, {"x": [float(n) for n in range(50_000)]})
    run.stop()
    with store.insert(run.documents[0][1]) as insert:
        for pair in run.documents[1:]:
            insert.write(*pair)
    change = "UPDATE block_columns SET body = substr(body, 1, 1000) WHERE key = 'x' AND part = 'data'"
    store.database.write(lambda connection: connection.exec_driver_sql(change))
    with pytest.raises(DamagedRun, match=f"run {run.run_uid}: the block of events at place 2 cannot be read"):
        list(store.event_pages(run.run_uid, "primary"))
    assert len(next(store.event_pages(run.run_uid, "primary", data=()))) == 50_000
    store.close()
