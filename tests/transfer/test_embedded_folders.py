"""Folders of arrays that a copy left, or that another program is writing."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from intake_bluesky import ingest
from intake_bluesky.datasets.zarr_runs import targets
from intake_bluesky.testing.asset_runs import stream_hdf5
from intake_bluesky_zarr import BlueskyZarrCatalog, store
from tests.transfer.packed_runs import catalog, differing, read_all


@pytest.fixture(autouse=True)
def folders(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(targets, "SMALL", 0)
    monkeypatch.setattr(store, "QUIET", 0.05)


def opened(folder: Path) -> BlueskyZarrCatalog:
    return BlueskyZarrCatalog(str(folder / "runs"), arrays="never")


@pytest.mark.parametrize("documents", [True, False])
def test_folder_that_was_left_is_written_anew(documents: bool, tmp_path: Path) -> None:
    run = stream_hdf5(tmp_path / "data")
    source, uid = catalog(run), str(run[0][1]["uid"])
    ingest.copy(source, into=opened(tmp_path), assets="embed").check()
    (tmp_path / "runs" / f"{uid}.zarr" / "zarr.json").unlink()
    if not documents:
        opened(tmp_path).store.remove(uid, permanent=True)
        (tmp_path / "runs" / f"{uid}.zarr" / "primary").mkdir(parents=True)
        (tmp_path / "runs" / f"{uid}.zarr" / "primary" / "zarr.json").write_text("{}")
    report = ingest.copy(source, into=opened(tmp_path), assets="embed").check()
    assert [one.new for one in report.arrays] == [True, True]
    before = read_all(source)
    (tmp_path / "data").rename(tmp_path / "gone")
    assert differing(before, read_all(opened(tmp_path))) == []


def test_folder_that_another_program_is_writing_is_left_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = stream_hdf5(tmp_path / "data")
    uid = str(run[0][1]["uid"])
    begun = tmp_path / "runs" / f"{uid}.zarr" / "primary" / "time" / "c"
    begun.mkdir(parents=True)
    (begun / "0").write_bytes(b"a shard")

    def another(seconds: Any) -> None:
        (begun / "1").write_bytes(b"another")

    monkeypatch.setattr(time, "sleep", another)
    report = ingest.copy(catalog(run), into=opened(tmp_path), assets="embed")
    assert "another program is writing the arrays" in report.refused[uid]
    assert sorted(path.name for path in begun.iterdir()) == ["0", "1"]
