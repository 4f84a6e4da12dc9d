"""Runs that are replaced, removed, or go on while they are copied with their files: copied as they are, or refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from intake_bluesky import BlueskyCatalog, ingest
from intake_bluesky.documents.model import Document, identical
from intake_bluesky.storage import WrapperStore
from intake_bluesky.testing import MemoryStore, Run, RunComposer, data_key
from intake_bluesky.testing.asset_runs import DATASET, HDF5, IMAGE, frames, write_hdf5
from intake_bluesky_jsonl import BlueskyJSONLCatalog
from intake_bluesky_zarr import BlueskyZarrCatalog

Change = Callable[[Path, Run], None]


class Changing(WrapperStore):
    """A store whose file of a run changes once its documents are asked for, or have been read."""

    def __init__(self, inner: Any, change: Callable[[], None], *, after: bool) -> None:
        super().__init__(inner)
        self._change, self._after = [change], after

    def complete_documents(self, uid: str) -> Iterator[tuple[str, Document]]:
        if self._change and not self._after:
            self._change.pop()()
        yield from self.inner.complete_documents(uid)
        if self._change:
            self._change.pop()()


def made(uri: str, count: int, **start: Any) -> Run:
    """A run with a number and a frame in each event."""
    run = RunComposer("same", **start)
    primary = run.descriptor({"image": IMAGE, "x": data_key("number")})
    image = run.stream_resource("image", mimetype=HDF5, uri=uri, dataset=DATASET)
    for number in range(count):
        run.event(primary, {"x": float(number)})
    run.stream_datum(image, primary, (1, count + 1))
    run.stop()
    return run.documents


def put(path: Path, run: Run) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps(pair) + "\n" for pair in run), encoding="utf-8")


def other(folder: Path, run: Run) -> Run:
    """Another run of the same uid, with another file."""
    return made(write_hdf5(folder / "data" / "other.h5", frames(5, first=7)), 5, purpose="again")


def replace(path: Path, run: Run) -> None:
    put(path, other(path.parent.parent, run))


def remove(path: Path, run: Run) -> None:
    path.unlink()


@pytest.fixture
def source(tmp_path: Path) -> tuple[Path, Run]:
    """Give the file of a run, and the run."""
    run = made(write_hdf5(tmp_path / "data" / "one.h5", frames(3)), 3)
    path = tmp_path / "runs" / "a.jsonl"
    put(path, run)
    return path, run


def changing(path: Path, run: Run, change: Change, *, after: bool) -> BlueskyCatalog:
    store = BlueskyJSONLCatalog(str(path.parent / "*.jsonl")).store
    return BlueskyCatalog(Changing(store, lambda: change(path, run), after=after))


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("change", [replace, remove])
@pytest.mark.parametrize("assets", ["copy", "embed"])
def test_copied_with_its_own_files_or_not(
    assets: Any, change: Change, after: bool, source: tuple[Path, Run], tmp_path: Path
) -> None:
    path, run = source
    catalog = changing(path, run, change, after=after)
    kind = BlueskyZarrCatalog if assets == "embed" else BlueskyJSONLCatalog
    into = kind(str(tmp_path / "copies"))
    more: dict[str, Any] = {"assets_into": tmp_path / "files"} if assets == "copy" else {}
    report = ingest.copy(catalog, into=into, assets=assets, **more)
    assert list(report.refused) == [run[0][1]["uid"]]
    assert report.copied == []
    assert list(into) == []
    if change is remove:
        return
    again = ingest.copy(catalog, into=into, assets=assets, **more).check()
    assert again.copied == [run[0][1]["uid"]]
    expected = catalog[-1]["primary"].read()
    assert expected.sizes["time"] == 5
    mapped: dict[str, Any] = {"root_map": again.root_map} if assets == "copy" else {}
    moved = kind(str(tmp_path / "copies"), **mapped)
    (tmp_path / "data").rename(tmp_path / "gone")
    assert moved[-1]["primary"].read().identical(expected)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("change", [replace, remove])
def test_packed_with_its_own_files_or_not(
    change: Change, after: bool, source: tuple[Path, Run], tmp_path: Path
) -> None:
    path, run = source
    report = ingest.pack(changing(path, run, change, after=after), tmp_path / "pack")
    assert list(report.refused) == [run[0][1]["uid"]]
    assert report.copied == []


def test_run_that_goes_on_is_copied_later(tmp_path: Path, source: tuple[Path, Run]) -> None:
    path, run = source
    put(path, run[:-1])
    catalog = changing(path, run, put, after=False)
    into = BlueskyCatalog(MemoryStore())
    report = ingest.copy(catalog, into=into, assets="copy", assets_into=tmp_path / "files", unfinished="copy")
    assert "while it was copied" in report.refused[str(run[0][1]["uid"])]
    assert list(into) == []
    ingest.copy(catalog, into=into, assets="copy", assets_into=tmp_path / "files").check()
    assert identical(list(into.store.documents(str(run[0][1]["uid"]))), json.loads(json.dumps(run)))
