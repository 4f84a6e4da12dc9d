"""Queries about data of runs in files: what is learnt once is not read again."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from intake_bluesky import BlueskyCatalog
from intake_bluesky.apps.demo.experiments import Experiments
from intake_bluesky.errors import SearchTooLarge
from intake_bluesky.query import Data, Query, Start
from intake_bluesky.runtime.progress import Progress, reporting
from intake_bluesky.search.run_view import StoredRun
from intake_bluesky.testing.compose import RunComposer, data_key
from intake_bluesky_jsonl import BlueskyJSONLCatalog, JSONLCodec, JSONLStore

CODEC = JSONLCodec()


def write(folder: Path, number: int, *, stop: bool = True) -> None:
    """A run of theta from -number to number in ten steps."""
    run = RunComposer(f"{number:03}", time=1.6e9 + number, scan_id=number, plan_name=["scan", "count"][number % 2])
    primary = run.descriptor({"theta": data_key("number")})
    for step in range(11):
        run.event(primary, {"theta": number * (step - 5) / 5})
    if stop:
        run.stop()
    folder.mkdir(exist_ok=True)
    lines = b"".join(CODEC.encode(name, doc) for name, doc in run.documents)
    (folder / f"{number:03}.jsonl").write_bytes(lines)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INTAKE_BLUESKY_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(1, 101):
        write(tmp_path / "runs", number)
    return tmp_path / "runs"


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The uids of runs whose headers are read."""
    seen: list[str] = []
    header = JSONLStore.header

    def watched(self: JSONLStore, uid: str) -> Any:
        seen.append(uid)
        return header(self, uid)

    monkeypatch.setattr(JSONLStore, "header", watched)
    return seen


def found(cat: BlueskyCatalog, query: Query) -> list[int]:
    return [run.scan_id for run in cat.search(query).arrangement.runs()]  # type: ignore[misc]


def test_a_search_scans_what_it_has_to_and_opens_nothing(folder: Path, looks: list[str]) -> None:
    cat = BlueskyJSONLCatalog(folder)
    assert found(cat, Data("theta").max() > 90) == list(range(100, 90, -1))
    assert found(cat, ~(Data("theta").max() > 10)) == list(range(10, 0, -1))
    assert found(cat, Data("theta").between(99.5, 1000)) == [100]
    assert found(cat, Data("theta").between(0, 100)) == list(range(100, 0, -1))
    assert found(cat, (Data("theta").min() < -50) & (Start("plan_name") == "count"))[:3] == [99, 97, 95]
    assert looks == []


def test_the_first_of_a_search_take_no_look_at_all_the_others(folder: Path) -> None:
    cat = BlueskyJSONLCatalog(folder)
    assert list(cat.search(Data("theta").max() > 0).head(2).to_dataframe()["scan_id"]) == [100, 99]
    assert 0 < len(cat.store.files.index.unmeasured([run.uid for run in cat.store.find()])) < 100  # type: ignore[attr-defined]


def test_intervals_between_two_values_are_looked_into_once(folder: Path, looks: list[str]) -> None:
    cat = BlueskyJSONLCatalog(folder)
    query = Data("theta").between(0.5, 0.9) & (Start("scan_id") < 20)
    assert found(cat, query) == [4, 3, 2, 1]
    first = len(looks)
    assert 0 < first < 19  # those whose steps are smaller need no look
    assert found(BlueskyJSONLCatalog(folder), query) == [4, 3, 2, 1]
    assert found(cat, Data("theta").between(0.55, 0.85) & (Start("scan_id") < 20) & ~query) == []
    assert len(looks) == first + 1  # since nothing was found: the newest has theta, so it is no key that no run has


def test_runs_that_go_on_are_looked_into_each_time_and_in_their_place(folder: Path, looks: list[str]) -> None:
    write(folder, 50, stop=False)
    cat = BlueskyJSONLCatalog(folder)
    for _ in range(2):
        assert found(cat, Data("theta").max() > 48) == list(range(100, 48, -1))
    assert len(looks) == 2
    plan = cat.search(Data("theta").max() > 48).explain(run=True)
    assert (plan.candidates, plan.decided) == (100, (51, 1))
    assert "Kept statistics tell: 51 match, 48 do not, 1 are looked into." in str(plan)
    write(folder, 50)
    assert found(cat.refresh(), Data("theta").max() > 48) == list(range(100, 48, -1))
    assert len(looks) == 2


@pytest.mark.parametrize("order", ["start.time", "-start.time", "scan_id", "-scan_id"])
def test_orders(folder: Path, order: str) -> None:
    write(folder, 50, stop=False)
    cat = BlueskyJSONLCatalog(folder).search((Data("theta").max() > 90) | Start("plan_name").regex("^sc.n$"))
    scan_ids = [run.scan_id for run in cat.sort(order).arrangement.runs()]
    expected = sorted({*range(91, 101), *range(2, 101, 2)}, reverse=order.startswith("-"))
    assert scan_ids == expected
    assert len(cat) == len(expected)


def test_a_search_reads_no_more_than_it_may(folder: Path) -> None:
    cat = BlueskyJSONLCatalog(folder, read_at_most="100 kB")
    query = Data("theta").max() > 0
    with pytest.raises(SearchTooLarge, match="this search may read 100,000 bytes"):
        len(cat.search(query))
    before = cat.search(query).explain(run=True).decided
    assert before is not None
    assert before[1] == 36  # what was learnt till then is kept
    assert len(cat.search(query, read_at_most="1 GB")) == 100
    assert len(cat.search(query)) == 100  # for nothing has to be read now
    assert cat.search(query, read_at_most=5).yaml().count("read_at_most: 5") == 1
    with pytest.raises(ValueError, match="many"):
        BlueskyJSONLCatalog(folder, read_at_most="many")


def test_progress_is_told(folder: Path) -> None:
    told: list[Progress] = []
    with reporting(told.append):
        len(BlueskyJSONLCatalog(folder).search(Data("theta").max() > 0))
    assert [(each.what, each.done, each.total) for each in told if each.what == "reading data"][-1] == (
        "reading data",
        100,
        100,
    )


def test_what_an_interrupted_search_found_is_kept(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lies: Callable[..., bool] = StoredRun.lies
    looked: list[str] = []

    def interrupted(self: StoredRun, *args: Any) -> bool:
        if len(looked) == 7:
            raise KeyboardInterrupt
        looked.append(str(self.start["uid"]))
        return lies(self, *args)

    monkeypatch.setattr(StoredRun, "lies", interrupted)
    cat = BlueskyJSONLCatalog(folder)
    query = Data("theta").between(0.1, 0.11)
    with pytest.raises(KeyboardInterrupt):
        len(cat.search(query))
    decided = cat.search(query).explain(run=True).decided
    assert decided is not None
    assert decided[1] == 100 - 7
    looked.append("")
    assert len(cat.search(query)) == 0
    assert len(set(looked)) == len(looked)


@pytest.fixture(scope="module")
def experiments(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("experiments")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INTAKE_BLUESKY_CACHE", str(folder / "cache"))
        cat = BlueskyJSONLCatalog(folder / "runs")
        Experiments(folder / "assets", cat.writer(), grid_points=3).run()
        cat.store.close()
        yield folder


def test_images_are_read_once(experiments: Path, tmp_path: Path) -> None:
    folder = tmp_path / "moved"
    shutil.copytree(experiments / "runs", folder)
    shutil.copytree(experiments / "assets", tmp_path / "assets")
    options: dict[str, Any] = {"root_map": {str(experiments / "assets"): str(tmp_path / "assets")}}
    query = Data("blob").sum() > 100
    uids = set(BlueskyJSONLCatalog(folder, **options).search(query))
    assert uids
    shutil.rmtree(tmp_path / "assets")
    assert set(BlueskyJSONLCatalog(folder, **options).search(query)) == uids
    assert set(BlueskyJSONLCatalog(folder).search(query)) == uids  # read where they were: another reading
    plan = BlueskyJSONLCatalog(folder, root_map={"/a": "/b"}).search(query).explain(run=True)
    assert plan.decided is not None
    assert plan.decided[1] >= len(uids)


def test_files_too_large_are_not_read_at_all(experiments: Path, tmp_path: Path) -> None:
    cat = BlueskyJSONLCatalog(experiments / "runs", read_at_most="5 MB")
    len(cat.search(Data("theta").max() > 0))
    with pytest.raises(SearchTooLarge, match="of run"):
        len(cat.search(Data("blob").sum() > 0, read_at_most=1000))
