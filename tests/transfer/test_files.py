"""Files that runs name, copied with them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import h5py
import pytest

from intake_bluesky import BlueskyCatalog, ingest
from intake_bluesky.errors import UnsupportedOperation
from intake_bluesky.testing import MemoryStore
from intake_bluesky.testing.asset_runs import DATASET, npy_seq, stream_hdf5, two_files
from intake_bluesky.testing.examples import Run
from intake_bluesky.testing.plain_runs import scan
from intake_bluesky.testing.runs import EXAMPLES
from intake_bluesky_jsonl import BlueskyJSONLCatalog


def _has_files(run: Run) -> bool:
    return any(name in ("resource", "stream_resource") for name, _ in run)


def test_files_are_found_by_the_root_map(tmp_path: Path) -> None:
    made = [run for name, make in EXAMPLES.items() if (run := make(tmp_path / "data" / name)) and _has_files(run)]
    source = BlueskyCatalog(MemoryStore(made))
    into = BlueskyJSONLCatalog(str(tmp_path / "copies"))
    report = ingest.copy(source, into=into, assets="copy", unfinished="copy")
    assert not report.refused
    named = [file for run in source.values() for file in run.files()]
    assert report.missing.keys() == {file.path for file in named if not file.exists}
    copied = {one.path for one in report.files}
    assert {file.path for file in named if file.exists and Path(file.path).is_file()} <= copied
    for one in report.files:
        assert hashlib.sha256(Path(one.copy).read_bytes()).hexdigest() == one.sha256
        assert Path(one.copy).is_relative_to(tmp_path / "copies" / "assets")
    again = ingest.copy(source, into=into, assets="copy", unfinished="copy")
    assert not [one for one in again.files if one.new]
    assert again.root_map == report.root_map
    (tmp_path / "data").rename(tmp_path / "gone")
    moved = BlueskyJSONLCatalog(str(tmp_path / "copies"), root_map=report.root_map)
    kept = BlueskyCatalog(MemoryStore(made), root_map={str(tmp_path / "data"): str(tmp_path / "gone")})
    for make in (npy_seq, stream_hdf5, two_files):
        uid = make(tmp_path / "other" / make.__name__)[0][1]["uid"]
        for name in moved[uid]:
            assert moved[uid][name].read().identical(kept[uid][name].read())


def test_another_file_in_the_place_of_a_copy_is_kept(tmp_path: Path) -> None:
    source = BlueskyCatalog(MemoryStore([stream_hdf5(tmp_path / "data"), scan()]))
    into = BlueskyCatalog(MemoryStore())
    folder = tmp_path / "assets"
    [first, _] = ingest.copy(source, into=into, assets="copy", assets_into=folder).files
    Path(first.copy).write_bytes(b"mine")
    report = ingest.copy(source, into=BlueskyCatalog(MemoryStore()), assets="copy", assets_into=folder)
    assert len(report.copied) == 1
    assert "another file" in "".join(report.refused.values())
    assert Path(first.copy).read_bytes() == b"mine"


def test_missing_files_are_told_and_the_run_is_copied(tmp_path: Path) -> None:
    run = stream_hdf5(tmp_path / "data")
    (tmp_path / "data" / "sums.h5").unlink()
    report = ingest.copy(
        BlueskyCatalog(MemoryStore([run])),
        into=BlueskyCatalog(MemoryStore()),
        assets="copy",
        assets_into=tmp_path / "to",
    )
    assert len(report.copied) == len(report.files) == 1
    [(path, why)] = report.missing.items()
    assert path.endswith("sums.h5")
    assert "it is not there" in why
    assert "1 file missing" in repr(report)


def test_where_files_go_has_to_be_known(tmp_path: Path) -> None:
    source, into = BlueskyCatalog(MemoryStore([scan()])), BlueskyCatalog(MemoryStore())
    with pytest.raises(UnsupportedOperation, match="give assets_into"):
        ingest.copy(source, into=into, assets="copy")
    with pytest.raises(UnsupportedOperation, match="give assets='copy'"):
        ingest.copy(source, into=into, assets_into=tmp_path)


def test_files_that_hdf5_files_lead_to_are_copied_too(tmp_path: Path) -> None:
    data = tmp_path / "data"
    run = stream_hdf5(data)
    (data / "raw").mkdir()
    (data / "stream.h5").rename(data / "raw" / "frames.h5")
    with h5py.File(data / "raw" / "deep.h5", "w") as file:
        file["frames"] = h5py.ExternalLink(str(data / "raw" / "frames.h5"), DATASET)
    layout = h5py.VirtualLayout((5, 4, 6), "u2")
    layout[:] = h5py.VirtualSource("raw/deep.h5", "frames", (5, 4, 6))
    with h5py.File(data / "stream.h5", "w") as file:
        file.create_virtual_dataset(DATASET, layout)
    source, into = BlueskyCatalog(MemoryStore([run])), BlueskyCatalog(MemoryStore())
    before = source[-1].primary.read()
    report = ingest.copy(source, into=into, assets="copy", assets_into=tmp_path / "to").check()
    assert sorted(Path(one.copy).name for one in report.files) == ["deep.h5", "frames.h5", "stream.h5", "sums.h5"]
    data.rename(tmp_path / "gone")
    moved = BlueskyCatalog(into.store, root_map=report.root_map)
    assert moved[-1].primary.read().identical(before)


def test_lost_files_that_hdf5_files_lead_to_are_told(tmp_path: Path) -> None:
    run = stream_hdf5(tmp_path / "data")
    with h5py.File(tmp_path / "data" / "stream.h5", "a") as file:
        file["elsewhere"] = h5py.ExternalLink("lost.h5", "/data")
    source, into = BlueskyCatalog(MemoryStore([run])), BlueskyCatalog(MemoryStore())
    report = ingest.copy(source, into=into, assets="copy", assets_into=tmp_path / "to")
    assert len(report.copied) == 1
    assert "leads to 'lost.h5', which is not there" in "".join(report.missing.values())
