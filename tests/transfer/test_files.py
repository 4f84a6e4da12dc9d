"""Files that runs name, copied with them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import h5py
import pytest

from intake_bluesky import BlueskyCatalog, ingest
from intake_bluesky.errors import UnsupportedOperation
from intake_bluesky.testing import MemoryStore
from intake_bluesky.testing.asset_runs import DATASET, frames, npy_seq, stream_hdf5, two_files, write_hdf5
from intake_bluesky.testing.examples import Run
from intake_bluesky.testing.plain_runs import scan
from intake_bluesky.testing.runs import EXAMPLES
from intake_bluesky.transfer.assets import file_places
from intake_bluesky.transfer.assets.copied_bytes import CopiedBytes
from intake_bluesky_jsonl import BlueskyJSONLCatalog
from tests.transfer.packed_runs import catalog, streamed


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


@pytest.mark.parametrize("how", ["written", "replaced", "cut"])
def test_file_that_changes_while_it_is_copied_is_refused(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = stream_hdf5(tmp_path / "data")
    path, read = tmp_path / "data" / "stream.h5", CopiedBytes.read

    def changing(self: CopiedBytes, size: int = -1) -> bytes:
        block = read(self, size)
        if self.path == str(path) and not block:
            if how == "replaced":
                (tmp_path / "new").write_bytes(path.read_bytes())
                (tmp_path / "new").replace(path)
            else:
                path.write_bytes(path.read_bytes()[: -1 if how == "cut" else None] + b"!" * (how == "written"))
        return block

    into = BlueskyCatalog(MemoryStore())
    with monkeypatch.context() as patched:
        patched.setattr(CopiedBytes, "read", changing)
        report = ingest.copy(catalog(run, scan()), into=into, assets="copy", assets_into=tmp_path / "to")
    assert report.copied == [scan()[0][1]["uid"]]
    assert "changed while it was copied" in "".join(report.refused.values())
    assert not [path for path in (tmp_path / "to").rglob("*") if path.name.startswith("stream.h5")]
    assert ingest.copy(catalog(run), into=into, assets="copy", assets_into=tmp_path / "to").refused == {}


def test_a_file_that_two_runs_share_is_copied_once(tmp_path: Path) -> None:
    uri = write_hdf5(tmp_path / "data" / "shared.h5", frames(6))
    source = catalog(*(streamed(label, uri) for label in ("first", "second")))
    into = BlueskyCatalog(MemoryStore())
    report = ingest.copy(source, into=into, assets="copy", assets_into=tmp_path / "to").check()
    assert len(report.copied) == 2
    assert len(report.files) == 1


def test_two_files_that_come_to_one_place_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second is told, and the first stays: a copy that has seen a free name does not own it."""
    sources = []
    for number in range(2):
        write_hdf5(tmp_path / str(number) / "x.h5", frames(3, first=number))
        run = streamed(f"run {number}", f"file://localhost{tmp_path}/data/x.h5")
        sources.append(catalog(run, root_map={f"{tmp_path}/data": str(tmp_path / str(number))}))
    monkeypatch.setattr(file_places._FolderPlace, "has", lambda self, path: False)
    first, second = (
        ingest.copy(source, into=BlueskyCatalog(MemoryStore()), assets="copy", assets_into=tmp_path / "to")
        for source in sources
    )
    [copied] = first.check().files
    assert "another file" in "".join(second.refused.values())
    assert hashlib.sha256(Path(copied.copy).read_bytes()).hexdigest() == copied.sha256
    assert [path.name for path in (tmp_path / "to").rglob("*") if path.is_file()] == ["x.h5"]


def test_names_that_climb_are_not_followed(tmp_path: Path) -> None:
    write_hdf5(tmp_path / "secret.h5", frames(3))
    (tmp_path / "data").mkdir()
    for name in ("data/../secret.h5", "data/%2e%2e/secret.h5"):
        source = catalog(streamed(name, f"file://localhost{tmp_path}/{name}"))
        into = BlueskyCatalog(MemoryStore())
        report = ingest.copy(source, into=into, assets="copy", assets_into=tmp_path / "to")
        assert not report.files
        assert "'..'" in "".join([*report.missing.values(), *report.refused.values()])
    assert not (tmp_path / "to").exists()
