"""Transforms: documents mended on their way out."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from intake_bluesky.catalogs.run_catalog import BlueskyCatalog
from intake_bluesky.documents.model import Document, identical
from intake_bluesky.errors import DamagedRun, PluginError
from intake_bluesky.query import Start
from intake_bluesky.testing.asset_runs import frames
from intake_bluesky.testing.memory import MemoryStore
from intake_bluesky.testing.runs import EXAMPLES
from intake_bluesky_jsonl import JSONLStore


def stamp(doc: Document) -> Document:
    """Mend a document in place and hand it back, as people write it."""
    doc["mended"] = True
    return doc


def test_start_and_stop(tmp_path: Path) -> None:
    documents = EXAMPLES["scan"](tmp_path)
    store = MemoryStore([documents])
    cat = BlueskyCatalog(store, transforms={"start": stamp, "stop": stamp, "descriptor": stamp})
    run = cat[-1]
    assert run.start["mended"]
    assert run.metadata["stop"]["mended"]
    assert all(d["mended"] for d in (*run.descriptors, *run.primary.descriptors))
    assert {name for name, doc in run.documents(fill="no") if doc.get("mended")} == {"start", "stop", "descriptor"}
    assert run.primary.read().sizes["time"] == 11
    assert identical(list(store.documents(run.uid)), documents)


def test_searches_see_what_users_see(tmp_path: Path) -> None:
    store = MemoryStore([EXAMPLES["scan"](tmp_path), EXAMPLES["count"](tmp_path)])
    cat = BlueskyCatalog(store, transforms={"start": lambda doc: {**doc, "plan_name": doc["plan_name"].upper()}})
    assert len(cat.search({"plan_name": "SCAN"})) == 1
    assert len(cat.search({"plan_name": "scan"})) == 0
    assert cat.search({"plan_name": "SCAN"})[-1].scan_id == 2


def test_times_that_change_the_order(tmp_path: Path) -> None:
    store = MemoryStore([EXAMPLES["scan"](tmp_path), EXAMPLES["count"](tmp_path)])
    cat = BlueskyCatalog(store, transforms={"start": lambda doc: {**doc, "time": -doc["time"]}})
    assert [run.scan_id for run in cat.values()] == [1, 2]
    assert cat[-1].scan_id == 1


def test_without_start_and_stop_queries_are_pushed_down() -> None:
    store = MemoryStore()
    assert BlueskyCatalog(store, transforms={"datum": stamp}).explain().ordered
    assert not BlueskyCatalog(store, transforms={"start": stamp}).explain().ordered


def test_what_is_as_stored_is_told_by_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "runs").mkdir()
    store = JSONLStore(str(tmp_path / "runs"))
    for example in ("scan", "count"):
        first, *rest = EXAMPLES[example](tmp_path)
        with store.insert(first[1]) as insert:
            for name, doc in rest:
                insert.write(name, doc)
    upper = BlueskyCatalog(store, transforms={"stop": lambda doc: {**doc, "exit_status": doc["exit_status"].upper()}})
    with monkeypatch.context() as patched:
        patched.setattr(JSONLStore, "find", None)  # no run is listed
        assert len(upper) == 2
        assert len(upper.search(Start("plan_name") == "scan")) == 1
        assert upper.distinct("plan_name") == {"plan_name": ["count", "scan"]}
    assert upper.distinct("stop.exit_status") == {"stop.exit_status": ["SUCCESS"]}
    assert [run.start["plan_name"] for run in upper.sort("plan_name").values()] == ["count", "scan"]
    later = BlueskyCatalog(store, transforms={"start": lambda doc: {**doc, "plan_name": doc["plan_name"][::-1]}})
    assert len(later) == 2
    assert later.distinct("plan_name") == {"plan_name": ["nacs", "tnuoc"]}
    assert [run.start["plan_name"] for run in later.sort("plan_name").values()] == ["nacs", "tnuoc"]
    store.close()


@pytest.mark.parametrize("name", ["npy_seq", "datum_pages", "bulk_datum"])
def test_resources_and_datums(name: str, tmp_path: Path) -> None:
    documents = EXAMPLES[name](tmp_path)
    for kind, doc in documents:
        if kind == "resource":
            doc["root"] = "/gone"

    def moved(doc: Document) -> Document:
        return {**doc, "root": str(tmp_path)}

    def first(doc: Document) -> Document:
        doc["datum_kwargs"]["index"] = 0
        return doc

    run = BlueskyCatalog(MemoryStore([documents]), transforms={"resource": moved, "datum": first})[-1]
    assert (run.primary.read()["image"].values == frames(1)[0]).all()
    for kind, doc in run.documents(fill="yes"):
        if kind in ("event", "event_page"):
            assert (np.asarray(doc["data"]["image"]) == frames(1)[0]).all()
        if kind == "datum_page":
            assert set(doc["datum_kwargs"]["index"]) == {0}
        if kind == "datum":
            assert doc["datum_kwargs"]["index"] == 0


@pytest.mark.parametrize("wrong", [lambda doc: None, lambda doc: {**doc, "uid": "other"}, lambda doc: [doc]])
def test_what_gives_no_document_is_named(wrong: Any, tmp_path: Path) -> None:
    cat = BlueskyCatalog(MemoryStore([EXAMPLES["scan"](tmp_path)]), transforms={"start": wrong})
    with pytest.raises(DamagedRun, match="transform of start documents"):
        list(cat)


def test_dotted_names_and_pickle(tmp_path: Path) -> None:
    cat = BlueskyCatalog(MemoryStore([EXAMPLES["scan"](tmp_path)]), transforms={"start": "copy.copy", "stop": stamp})
    run = cat[-1]
    assert run.primary.read().sizes["time"] == 11
    again = pickle.loads(pickle.dumps(run))
    assert again.refresh().stop["mended"]
    assert pickle.loads(pickle.dumps(cat))[-1].stop["mended"]


def test_names_that_cannot_be_imported(tmp_path: Path) -> None:
    cat = BlueskyCatalog(MemoryStore([EXAMPLES["scan"](tmp_path)]), transforms={"start": "no_such_module.function"})
    with pytest.raises(PluginError, match=r"no_such_module\.function.*transform of start"):
        list(cat)
