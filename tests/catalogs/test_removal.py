"""`BlueskyCatalog.remove`: what is shown is what goes, and nothing goes that nobody asked for."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest

from intake_bluesky import BlueskyCatalog, FullText, Start
from intake_bluesky.catalogs.removal import Removal
from intake_bluesky.documents.model import Document, identical
from intake_bluesky.errors import (
    AmbiguousRun,
    RemovalFailed,
    RunNotFound,
    StoreUnavailable,
    UnsupportedOperation,
    UnsupportedQuery,
)
from intake_bluesky.query import ALL
from intake_bluesky.runtime.progress import Progress, reporting
from intake_bluesky.storage.contract import RunStore
from intake_bluesky.testing.compose import RunComposer
from intake_bluesky.testing.memory import MemoryStore
from intake_bluesky.testing.plain_runs import count, failed, scan, unfinished
from intake_bluesky_jsonl import BlueskyJSONLCatalog

RUNS = (scan(), count(), failed(), unfinished())
SCAN, COUNT, FAILED, UNFINISHED = (run[0][1]["uid"] for run in RUNS)


class _Stubborn(MemoryStore):
    """A store that keeps some runs whatever is asked, and notes how it was asked."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.stubborn: dict[str, Exception] = {}
        self.asked: list[tuple[str, bool]] = []

    def remove(self, uid: str, *, permanent: bool = False) -> None:
        self.asked.append((uid, permanent))
        if uid in self.stubborn:
            raise self.stubborn[uid]
        super().remove(uid)


class _ReadOnly(MemoryStore):
    @property
    def writable(self) -> bool:
        return False


@pytest.fixture
def store() -> _Stubborn:
    return _Stubborn(RUNS)


@pytest.fixture
def cat(store: _Stubborn) -> BlueskyCatalog:
    return BlueskyCatalog(store, name="examples")


def left(store: RunStore) -> set[str]:
    return {run.uid for run in store.find()}


def test_a_dry_run_changes_nothing_and_is_the_default(cat: BlueskyCatalog, store: _Stubborn) -> None:
    would = cat.remove({"plan_name": "scan"})
    assert set(would.uids) == {SCAN, FAILED}
    assert (would.done, store.asked, len(left(store))) == (False, [], 4)


def test_what_was_shown_goes_and_nothing_else(cat: BlueskyCatalog, store: _Stubborn) -> None:
    before = list(store.documents(COUNT))
    would = cat.remove({"plan_name": "scan"})
    removed = cat.remove({"plan_name": "scan"}, dry_run=False)
    assert removed.done
    assert removed.uids == would.uids
    assert left(store) == set(cat) == {COUNT, UNFINISHED}
    assert identical(list(store.documents(COUNT)), before)


def test_a_row_says_what_a_run_is(cat: BlueskyCatalog) -> None:
    [row] = cat.remove(SCAN)
    start = scan()[0][1]
    assert (row.uid, row.scan_id, row.plan_name, row.time) == (SCAN, 2, "scan", start["time"])
    assert row.events == sum(scan()[-1][1]["num_events"].values())
    assert cat.remove(UNFINISHED)[0].events is None


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        (SCAN, [SCAN]),
        (SCAN[:8], [SCAN]),
        ([SCAN, COUNT[:8]], [SCAN, COUNT]),
        (iter([COUNT, SCAN]), [COUNT, SCAN]),
        (Start("uid") == SCAN, [SCAN]),
        ({"uid": COUNT}, [COUNT]),
        ([COUNT, Start("uid").is_in([COUNT, SCAN])], [COUNT, SCAN]),
        ([], []),
        (FullText("no such words anywhere"), []),
        ({"plan_name": "nothing of the kind"}, []),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_may_be_asked(cat: BlueskyCatalog, store: _Stubborn, what: Any, expected: list[str]) -> None:
    removed = cat.remove(what, dry_run=False)
    assert list(removed.uids) == expected
    assert left(store) == {SCAN, COUNT, FAILED, UNFINISHED} - set(expected)


def test_a_str_is_a_uid_and_never_words(cat: BlueskyCatalog, store: _Stubborn) -> None:
    assert len(cat.search("scan")) > 0
    for words in ("scan", "text: plan_name == 'scan'", "", " "):
        with pytest.raises(RunNotFound, match="A str is a uid here: for words, give FullText"):
            cat.remove(words, dry_run=False)
    assert store.asked == []


@pytest.mark.parametrize("what", [None, {}, {"$and": []}, [{}], 2, [2], -1, b"uid", slice(None), [None]], ids=repr)
def test_what_is_refused(cat: BlueskyCatalog, store: _Stubborn, what: Any) -> None:
    for catalog in (cat, cat.search({"plan_name": "scan"})):
        with pytest.raises(UnsupportedQuery):
            catalog.remove(what, dry_run=False)
    assert store.asked == []


def test_all_goes_by_name(cat: BlueskyCatalog, store: _Stubborn) -> None:
    assert len(cat.search({"plan_name": "count"}).remove(ALL, dry_run=False)) == 2
    assert left(store) == {SCAN, FAILED}
    assert len(cat.remove(ALL, dry_run=False)) == 2
    assert left(store) == set()


def test_one_that_is_not_there_keeps_all(cat: BlueskyCatalog, store: _Stubborn) -> None:
    twin = RunComposer("twin").documents[0][1]
    store.put([("start", {**twin, "uid": SCAN[:6] + "-twin"})])
    for what, error in (([SCAN, "nobody"], RunNotFound), ([COUNT, SCAN[:6]], AmbiguousRun)):
        for dry_run in (True, False):
            with pytest.raises(error):
                cat.remove(what, dry_run=dry_run)
    assert store.asked == []


def test_a_narrowed_catalog_removes_its_own(cat: BlueskyCatalog, store: _Stubborn) -> None:
    scans = cat.search({"plan_name": "scan"})
    with pytest.raises(RunNotFound):
        scans.remove(COUNT, dry_run=False)
    assert scans.remove({"uid": COUNT}, dry_run=False).uids == ()
    assert set(scans.remove(Start("uid").exists(), dry_run=False).uids) == {SCAN, FAILED}
    assert left(store) == {COUNT, UNFINISHED}


def test_a_dry_run_is_taken_as_it_was(cat: BlueskyCatalog, store: _Stubborn) -> None:
    would = cat.remove({"plan_name": "scan"})
    later = RunComposer("later", plan_name="scan")
    store.put(later.documents)
    assert cat.remove(would[:1], dry_run=False).uids == would.uids[:1]
    with pytest.raises(RunNotFound):
        cat.remove(would, dry_run=False)
    assert set(cat.remove(would[1:], dry_run=False).uids) == set(would.uids[1:])
    assert left(store) == {COUNT, UNFINISHED, later.run_uid}


def test_the_others_go_on(cat: BlueskyCatalog, store: _Stubborn) -> None:
    store.stubborn = {SCAN: StoreUnavailable("the disk is full"), FAILED: PermissionError(13, "Permission denied")}
    with pytest.raises(RemovalFailed, match="2 of 4 runs were not removed, 2 were:") as caught:
        cat.remove(ALL, dry_run=False)
    assert f"{SCAN}: the disk is full" in str(caught.value)
    assert f"{FAILED}: [Errno 13] Permission denied" in str(caught.value)
    removal = caught.value.removal
    assert set(removal.uids) == {COUNT, UNFINISHED}
    assert removal.failures == store.stubborn
    assert left(store) == {SCAN, FAILED}


def test_many_failures_are_named_in_part(store: _Stubborn) -> None:
    runs = [RunComposer(f"run {number}") for number in range(30)]
    many = _Stubborn([run.documents for run in runs])
    many.stubborn = {run.run_uid: StoreUnavailable("no") for run in runs}
    with pytest.raises(RemovalFailed) as caught:
        BlueskyCatalog(many).remove(ALL, dry_run=False)
    assert len(str(caught.value).splitlines()) == 22
    assert len(caught.value.removal.failures) == 30


def test_one_that_somebody_removed_meanwhile_is_no_failure(cat: BlueskyCatalog, store: _Stubborn) -> None:
    store.stubborn = {SCAN: RunNotFound("gone")}
    assert set(cat.remove([SCAN, COUNT], dry_run=False).uids) == {SCAN, COUNT}


def test_reading_only_is_said_before_anything(cat: BlueskyCatalog) -> None:
    for dry_run in (True, False):
        with pytest.raises(UnsupportedOperation, match="open for reading only"):
            BlueskyCatalog(_ReadOnly(RUNS)).remove(SCAN, dry_run=dry_run)


def test_permanent_reaches_the_store(cat: BlueskyCatalog, store: _Stubborn) -> None:
    cat.remove(SCAN, dry_run=False)
    cat.remove(COUNT, dry_run=False, permanent=True)
    assert store.asked == [(SCAN, False), (COUNT, True)]


def test_transforms_do_not_stand_in_the_way(store: _Stubborn) -> None:
    def renamed(doc: Document) -> Document:
        return {**doc, "plan_name": "renamed"}

    cat = BlueskyCatalog(store, transforms={"start": renamed})
    assert [row.plan_name for row in cat.remove({"plan_name": "renamed"})] == ["renamed"] * 4
    cat.remove(SCAN, dry_run=False)
    assert SCAN not in left(store)


def test_the_table_and_the_line_that_does_it(cat: BlueskyCatalog) -> None:
    shown = repr(cat.remove({"uid": SCAN}))
    assert shown.startswith("1 run would be removed: nothing is yet\nuid ")
    assert SCAN in shown
    assert "moved back" in shown
    [line] = [line for line in shown.splitlines() if line.startswith("To remove them: ")]
    removed = eval(line.removeprefix("To remove them: "), {"cat": cat})
    assert removed.uids == (SCAN,)
    assert repr(removed).startswith("1 run removed\n")
    assert "To remove them" not in repr(removed)
    permanent = repr(cat.remove([COUNT, FAILED], permanent=True))
    assert "deleted for good" in permanent
    assert ", dry_run=False, permanent=True)" in permanent
    assert repr(cat.remove({"plan_name": "nothing"})) == "no runs would be removed"
    assert repr(cat.remove([COUNT] * 50)).endswith("cat.remove(..., dry_run=False)")


def test_a_long_and_wide_table_is_cut() -> None:
    runs = [RunComposer(f"run {number}", scan_id=number, plan_name="long" * 9) for number in range(30)]
    would = BlueskyCatalog(MemoryStore(run.documents for run in runs)).remove(ALL)
    shown = repr(would)
    assert "(the first 20 of 30)" in shown
    assert shown.splitlines()[2].startswith(f"{would.uids[0]}  ")
    assert len(shown.splitlines()) == 27
    assert max(map(len, shown.splitlines())) <= 80


def test_it_is_a_sequence_that_pickles(cat: BlueskyCatalog) -> None:
    would = cat.remove([SCAN, COUNT])
    assert (len(would), [row.uid for row in would], would[-1].uid) == (2, [SCAN, COUNT], COUNT)
    assert pickle.loads(pickle.dumps(would)).runs == would.runs
    assert isinstance(would, Removal)


def test_how_far_it_has_come_is_told(cat: BlueskyCatalog) -> None:
    told: list[Progress] = []
    with reporting(told.append):
        cat.remove(ALL, dry_run=False)
    assert (told[0].what, told[-1].done, told[-1].total) == ("removing", 4, 4)


def test_of_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INTAKE_BLUESKY_CACHE", str(tmp_path / "cache"))
    cat = BlueskyJSONLCatalog(tmp_path / "runs")
    for run in RUNS:
        with cat.writer() as write:
            for pair in run:
                write(*pair)
    cat.remove(Start("plan_name") == "scan", dry_run=False)
    assert set(cat) == {COUNT, UNFINISHED}
    assert len(list((tmp_path / "runs" / ".removed").iterdir())) == 2
    assert set(BlueskyJSONLCatalog(tmp_path / "runs" / ".removed")) == {SCAN, FAILED}
