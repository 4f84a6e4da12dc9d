"""Reading for a copy: how much is held, which threads there are, and what a source may raise."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from intake_bluesky import BlueskyCatalog, ingest
from intake_bluesky.documents.model import Document, RunSummary
from intake_bluesky.errors import CopyFailed, StoreUnavailable
from intake_bluesky.storage import WrapperStore
from intake_bluesky.testing import MemoryStore
from intake_bluesky.testing.examples import Run
from intake_bluesky.testing.plain_runs import count, failed, interleaved, scan
from intake_bluesky.transfer import reading
from intake_bluesky_jsonl import BlueskyJSONLCatalog
from intake_bluesky_msgpack import BlueskyMsgpackCatalog

EVENTS = 5_000


class Counted(dict[str, Any]):
    """A document of which is known whether somebody has it still."""

    __hash__ = object.__hash__  # type: ignore[assignment]  # dicts have none

    def __eq__(self, other: object) -> bool:
        return self is other


class Long(WrapperStore):
    """A store of runs of many events, which are made as they are read."""

    def __init__(self, runs: list[Run]) -> None:
        super().__init__(MemoryStore(runs))
        self.most = 0
        self.threads: set[int] = set()
        self._alive: weakref.WeakSet[Counted] = weakref.WeakSet()

    def complete_documents(self, uid: str) -> Iterator[tuple[str, Document]]:
        self.threads.add(threading.get_ident())
        *before, (_, stop) = self.inner.documents(uid)
        yield from before
        name, event = before[-1]
        for number in range(EVENTS):
            doc = Counted(event, uid=f"{uid} {number}", seq_num=number + 1)
            self._alive.add(doc)
            yield name, doc
            del doc
            if number % 100 == 0:
                self.most = max(self.most, len(self._alive))
        yield "stop", stop

    documents = complete_documents


@pytest.mark.parametrize("waits", [False, True])
def test_large_runs_are_not_held(waits: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "CHUNK", 1 << 14)
    monkeypatch.setattr(reading, "FEW", 1)
    monkeypatch.setattr(reading, "PATIENT", -1.0 if waits else 1e9)
    made = [count(), scan(), failed(), interleaved()]
    source = Long(made)
    into = BlueskyMsgpackCatalog(str(tmp_path / "copies"))
    report = ingest.copy(BlueskyCatalog(source), into=into).check()
    assert report.documents == sum(map(len, made)) + EVENTS * len(made)
    assert source.most < EVENTS / 2
    assert (len(source.threads) > 1) is waits


class Slow(WrapperStore):
    """A store on a server that answers late."""

    def __init__(self, inner: MemoryStore) -> None:
        super().__init__(inner)
        self.reading, self.most = 0, 0
        self._lock = threading.Lock()

    def complete_documents(self, uid: str) -> Iterator[tuple[str, Document]]:
        with self._lock:
            self.reading += 1
            self.most = max(self.most, self.reading)
        time.sleep(0.01)
        yield from self.inner.documents(uid)
        with self._lock:
            self.reading -= 1


def renumbered(number: int) -> Run:
    uid = f"run-{number}"
    return [
        ("start", {"uid": uid, "time": float(number)}),
        ("stop", {"uid": f"s{number}", "time": 1.0, "run_start": uid}),
    ]


def test_slow_sources_are_read_ahead_and_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "PATIENT", -1.0)
    made = [renumbered(number) for number in range(40)]
    source = Slow(MemoryStore(made))
    report = ingest.copy(BlueskyCatalog(source), into=BlueskyCatalog(MemoryStore())).check()
    assert report.copied == [f"run-{number}" for number in reversed(range(40))]
    assert source.most > 1
    assert not [one for one in threading.enumerate() if one.name.startswith("intake-bluesky-copy")]


class Odd(WrapperStore):
    """A store that raises for a run, and where it is told so, once and for all."""

    error: Exception = ValueError("of whatever library")
    gone = False

    def find(self, *arguments: Any, **options: Any) -> Iterator[RunSummary]:
        if self.gone and options.get("limit") == 1:
            raise self.error
        return self.inner.find(*arguments, **options)

    def complete_documents(self, uid: str) -> Iterator[tuple[str, Document]]:
        documents = self.inner.documents(uid)
        yield next(documents)
        if uid in ("run-3", "run-17"):
            raise self.error
        yield from documents


@pytest.mark.parametrize("waits", [False, True])
def test_errors_of_a_source_are_those_of_a_run(waits: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "PATIENT", -1.0 if waits else 1e9)
    made = [renumbered(number) for number in range(20)]
    source: Any = Odd(MemoryStore(made))
    into = BlueskyCatalog(MemoryStore())
    report = ingest.copy(BlueskyCatalog(source), into=into)
    assert report.refused == dict.fromkeys(("run-17", "run-3"), "ValueError: of whatever library")
    assert len(report.copied) == len(list(into.store.find())) == 18
    source.error = StoreUnavailable("a file of it cannot be read")
    report = ingest.copy(BlueskyCatalog(source), into=BlueskyCatalog(MemoryStore()))
    assert report.refused == dict.fromkeys(("run-17", "run-3"), "a file of it cannot be read")
    source.error, source.gone = StoreUnavailable("the server is gone"), True
    with pytest.raises(CopyFailed, match="the server is gone"):
        ingest.copy(BlueskyCatalog(source), into=BlueskyCatalog(MemoryStore()))


def test_what_is_copied(tmp_path: Path) -> None:
    source = BlueskyJSONLCatalog(str(tmp_path / "source"))
    ingest.copy(BlueskyCatalog(MemoryStore([count(), scan(), failed()])), into=source)
    uids = [run[0][1]["uid"] for run in (count(), scan(), failed())]

    def copied(runs: Any) -> list[str]:
        return sorted(ingest.copy(runs, into=BlueskyCatalog(MemoryStore())).check().copied)

    assert copied(source) == sorted(uids)
    assert copied(source.search(plan_name="count")) == uids[:1]
    assert copied(source[uids[1]]) == [uids[1]]
    assert copied([source[uids[1]], source[uids[0]], source[uids[1]]]) == sorted(uids[:2])
    for wrong in (uids, 3, source.store):
        with pytest.raises(NotImplementedError, match="copy takes a catalog, a run or a list of runs"):
            ingest.copy(wrong, into=source)  # type: ignore[arg-type]
    with pytest.raises(NotImplementedError, match="'link' or 'copy' or 'embed', not 'move'"):
        ingest.copy(source, into=source, assets="move")  # type: ignore[arg-type]


def test_copying_onto_itself_changes_nothing(tmp_path: Path) -> None:
    source = BlueskyJSONLCatalog(str(tmp_path / "source"))
    ingest.copy(BlueskyCatalog(MemoryStore([count(), scan()])), into=source)
    assert len(ingest.copy(source, into=source).skipped) == 2


def test_dry_run_writes_nothing(tmp_path: Path) -> None:
    into = BlueskyJSONLCatalog(str(tmp_path / "copies"))
    ingest.copy(BlueskyCatalog(MemoryStore([count()])), into=into)
    report = ingest.copy(BlueskyCatalog(MemoryStore([count(), scan()])), into=into, dry_run=True)
    assert repr(report) == "1 run would be copied, 1 there already"
    assert len(list((tmp_path / "copies").iterdir())) == 1
    nowhere = BlueskyJSONLCatalog(str(tmp_path / "nowhere"))
    assert ingest.copy(BlueskyCatalog(MemoryStore([count()])), into=nowhere, dry_run=True).copied
    assert not (tmp_path / "nowhere").exists()


def test_transformed_runs_are_copied_as_they_are_shown() -> None:
    def mended(doc: Document) -> Document:
        return {**doc, "sample": "mended"}

    source = BlueskyCatalog(MemoryStore([scan()]), transforms={"start": mended})
    into = BlueskyCatalog(MemoryStore())
    report = ingest.copy(source, into=into).check()
    assert into[-1].start["sample"] == "mended"
    assert report.exact is False
    assert ingest.copy(source, into=into).skipped == report.copied
