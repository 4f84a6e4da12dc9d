"""The document writer: where each document goes, and what is refused."""

from __future__ import annotations

from itertools import chain, zip_longest
from typing import Any

import pytest

from intake_bluesky.documents.model import Document, identical
from intake_bluesky.errors import DamagedRun, DuplicateRun, UnsupportedOperation
from intake_bluesky.storage.contract import RunInsert
from intake_bluesky.storage.writer import DocumentWriter
from intake_bluesky.testing.examples import Run
from intake_bluesky.testing.memory import MemoryStore
from intake_bluesky.testing.runs import plain_runs


def run_of(uid: str) -> Run:
    """One document of every kind, today's and legacy."""
    event = {"uid": f"{uid}-e", "descriptor": f"{uid}-d", "seq_num": 1, "time": 1.5, "data": {}, "timestamps": {}}
    spans = {"indices": {"start": 0, "stop": 1}, "seq_nums": {"start": 1, "stop": 2}}
    return [
        ("start", {"uid": uid, "time": 1.0}),
        ("descriptor", {"uid": f"{uid}-d", "run_start": uid, "name": "primary", "time": 1.0, "data_keys": {}}),
        ("resource", {"uid": f"{uid}-r", "run_start": uid, "spec": "NPY_SEQ"}),
        ("datum", {"datum_id": f"{uid}-r/0", "resource": f"{uid}-r", "datum_kwargs": {}}),
        ("datum_page", {"datum_id": [f"{uid}-r/1"], "resource": f"{uid}-r", "datum_kwargs": {}}),
        ("bulk_datum", {"datum_ids": [f"{uid}-r/2"], "resource": f"{uid}-r", "datum_kwarg_list": [{}]}),
        ("stream_resource", {"uid": f"{uid}-s", "run_start": uid, "data_key": "image", "uri": "file://x"}),
        ("stream_datum", {"uid": f"{uid}-s/0", "stream_resource": f"{uid}-s", "descriptor": f"{uid}-d", **spans}),
        ("event", event),
        ("event_page", {**event, "seq_num": [2], "time": [2.5], "uid": [f"{uid}-f"]}),
        ("bulk_events", {"empty": [], "primary": [{**event, "seq_num": 3}]}),
        ("stop", {"uid": f"{uid}-t", "time": 2.0, "run_start": uid, "exit_status": "success"}),
    ]


def write_all(write: DocumentWriter, documents: Any) -> None:
    for name, doc in documents:
        write(name, doc)


def stored(store: MemoryStore, uid: str) -> Run:
    return list(store.documents(uid))


def test_every_document_of_interleaved_runs_goes_to_its_run() -> None:
    store = MemoryStore()
    runs = [run_of("a"), run_of("b"), run_of("c")[:-1]]
    with DocumentWriter(store) as write:
        write_all(write, (pair for pair in chain(*zip_longest(*runs)) if pair))
    for run in runs:
        assert identical(stored(store, run[0][1]["uid"]), run)


def test_an_example_run_arrives_as_it_is() -> None:
    store = MemoryStore()
    expected = plain_runs.rewound()
    with DocumentWriter(store) as write:
        write_all(write, expected)
    assert identical(stored(store, expected[0][1]["uid"]), expected)


def test_documents_are_handed_on_untouched() -> None:
    class Recorded(RunInsert):
        def __init__(self, start: Document) -> None:
            self.seen: list[Document] = [start]

        def write(self, name: str, doc: Document) -> None:
            self.seen.append(doc)

        def close(self) -> None:
            self.seen.append({"closed": True})

    class Store(MemoryStore):
        def insert(self, start: Document) -> RunInsert:
            self.made = Recorded(start)
            return self.made

    store, run = Store(), run_of("a")
    write_all(DocumentWriter(store), run)
    assert all(observed is expected for observed, (_, expected) in zip(store.made.seen, run, strict=False))
    assert store.made.seen[len(run) :] == [{"closed": True}]


def test_a_run_that_is_there_raises_or_is_skipped() -> None:
    store = MemoryStore()
    write_all(DocumentWriter(store), run_of("a"))
    with pytest.raises(DuplicateRun):
        DocumentWriter(store)("start", {"uid": "a", "time": 9.0})
    write = DocumentWriter(store, on_duplicate="skip")
    write_all(write, [*run_of("a"), *run_of("b")])
    assert identical(stored(store, "a"), run_of("a"))
    assert identical(stored(store, "b"), run_of("b"))
    assert repr(write).endswith("running=[]>")


@pytest.mark.parametrize("on_duplicate", ["raise", "skip"])
def test_a_start_that_comes_twice_is_the_same_run_and_another_is_refused(on_duplicate: Any) -> None:
    store = MemoryStore()
    write = DocumentWriter(store, on_duplicate=on_duplicate)
    write("start", {"uid": "a", "time": 1.0})
    write("start", {"uid": "a", "time": 1.0})
    with pytest.raises(DuplicateRun, match="another start"):
        write("start", {"uid": "a", "time": 2.0})
    assert stored(store, "a") == [("start", {"uid": "a", "time": 1.0})]


@pytest.mark.parametrize(("name", "doc"), run_of("other")[1:])
def test_a_document_of_an_unknown_run_is_refused_and_named(name: str, doc: Document) -> None:
    store = MemoryStore()
    write = DocumentWriter(store)
    write("start", {"uid": "a", "time": 1.0})
    write("start", {"uid": "b", "time": 1.0})
    with pytest.raises(DamagedRun, match=f"a {name} document belongs to .*other"):
        write(name, doc)
    assert [len(stored(store, uid)) for uid in "ab"] == [1, 1]


def test_after_its_stop_a_run_takes_nothing_more() -> None:
    write = DocumentWriter(MemoryStore())
    write_all(write, run_of("a"))
    with pytest.raises(DamagedRun, match="a-d"):
        write(*run_of("a")[8])


def test_what_names_no_run_goes_to_the_only_one() -> None:
    store = MemoryStore()
    resource = {"uid": "r", "spec": "NPY_SEQ"}
    datum = {"datum_id": "old/1", "resource": "of the run before", "datum_kwargs": {}}
    with DocumentWriter(store) as write:
        write("start", {"uid": "a", "time": 1.0})
        write_all(write, [("resource", resource), ("datum", datum), ("bulk_events", {"primary": []})])
        assert [name for name, _ in stored(store, "a")] == ["start", "resource", "datum", "bulk_events"]
        write("start", {"uid": "b", "time": 1.0})
        with pytest.raises(DamagedRun):
            write("resource", {"uid": "r2", "spec": "NPY_SEQ"})


def test_an_event_of_an_unknown_descriptor_is_not_taken_for_the_only_run() -> None:
    write = DocumentWriter(MemoryStore())
    write("start", {"uid": "a", "time": 1.0})
    with pytest.raises(DamagedRun, match="other-d"):
        write(*run_of("other")[8])


def test_odd_names_and_options_are_refused() -> None:
    store = MemoryStore()
    with pytest.raises(UnsupportedOperation, match="'evnet'"):
        DocumentWriter(store)("evnet", {})
    with pytest.raises(ValueError, match="on_duplicate"):
        DocumentWriter(store, on_duplicate="replace")  # type: ignore[arg-type]
    with pytest.raises(UnsupportedOperation, match="cannot be written"):
        DocumentWriter(object())  # type: ignore[arg-type]


def test_closing_closes_every_run_even_if_one_fails() -> None:
    closed = []

    class Failing(RunInsert):
        def __init__(self, uid: str) -> None:
            self.uid = uid

        def write(self, name: str, doc: Document) -> None: ...

        def close(self) -> None:
            closed.append(self.uid)
            if self.uid == "b":
                raise OSError("the disk is gone")

    class Store(MemoryStore):
        def insert(self, start: Document) -> RunInsert:
            return Failing(start["uid"])

    write = DocumentWriter(Store())
    for uid in "abc":
        write("start", {"uid": uid, "time": 1.0})
    with pytest.raises(OSError, match="gone"):
        write.close()
    assert sorted(closed) == ["a", "b", "c"]
    write.close()
    assert len(closed) == 3


def test_a_run_engine_writes_through_it() -> None:
    from bluesky.plans import scan
    from ophyd.sim import hw

    from intake_bluesky.apps.demo.experiments import run_engine

    store, devices = MemoryStore(), hw()
    expected: Run = []
    with run_engine({}) as engine, DocumentWriter(store) as write:
        engine.subscribe(lambda name, doc: expected.append((name, doc)))
        engine.subscribe(write)
        engine(scan([devices.det], devices.motor, -1, 1, 3))
    assert identical(stored(store, expected[0][1]["uid"]), expected)
    assert expected[-1][0] == "stop"
