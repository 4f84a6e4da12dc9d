"""Packs: all runs with all their files come back, wherever the pack is moved, and documents are as they were."""

from __future__ import annotations

import hashlib
import json
import shutil
import stat
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import h5py
import intake
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import intake_bluesky
from intake_bluesky import BlueskyCatalog, ingest
from intake_bluesky.assets.names import moved
from intake_bluesky.errors import CopyFailed, StoreUnavailable, UnsupportedOperation
from intake_bluesky.testing import EXAMPLES, MemoryStore, RunComposer, data_key
from intake_bluesky.testing.asset_runs import DATASET, frames, write_hdf5
from intake_bluesky.transfer import packer
from intake_bluesky.transfer.asset_names import AssetRoots, asset_path
from intake_bluesky.transfer.digests import Relation, compare
from intake_bluesky_jsonl import BlueskyJSONLCatalog
from intake_bluesky_sql.store import SQLStore
from tests.transfer.packed_runs import all_runs, catalog, differing, linked_runs, read_all, streamed

Opener = Callable[[str], Any]


def opened(pack: Path, opener: Opener = intake_bluesky.open_catalog) -> BlueskyCatalog:
    cat: BlueskyCatalog = opener(str(pack / "catalog.yml"))["runs"]
    return cat


def same(one: BlueskyCatalog, other: BlueskyCatalog, uid: str) -> bool:
    """Whether a run has the same documents in two catalogs, in their order."""
    return compare(one[uid].documents(), other[uid].documents(), ordered=True) is Relation.SAME


def state(pack: Path) -> dict[str, tuple[int, int]]:
    """What changes where a file is written again."""
    files = [pack] if pack.is_file() else [path for path in pack.rglob("*") if path.is_file()]
    return {str(path): (path.stat().st_ino, path.stat().st_mtime_ns) for path in files}


def test_all_runs_and_their_files_come_back(tmp_path: Path) -> None:
    cat = catalog(*all_runs(tmp_path / "data"))
    before = read_all(cat)
    folder, archive = tmp_path / "pack", tmp_path / "pack.zip"
    for pack, form in ((folder, "jsonl"), (archive, "msgpack")):
        report = ingest.pack(cat, pack, format=form)  # type: ignore[arg-type]
        assert (sorted(report.copied), report.refused) == (sorted(cat), {})
        assert [Path(path).name for path in report.missing] == ["gone.h5"]
        assert ingest.check_pack(pack) == {}
        first = state(pack)
        again = ingest.pack(cat, pack, format=form)  # type: ignore[arg-type]
        assert (again.copied, sorted(again.skipped)) == ([], sorted(cat))
        assert not [one for one in again.files if one.new]
        assert state(pack) == first
    subprocess.run(["sha256sum", "-c", "--quiet", "SHA256SUMS"], cwd=folder, check=True)
    with zipfile.ZipFile(archive) as unpacked:
        assert unpacked.testzip() is None
        unpacked.extractall(tmp_path / "by another program")
    report = ingest.unpack(archive, tmp_path / "unpacked")
    assert (sorted(report.copied), [Path(path).name for path in report.missing]) == (sorted(cat), ["gone.h5"])
    shutil.rmtree(tmp_path / "data")
    database = BlueskyCatalog(SQLStore(f"sqlite:///{tmp_path / 'runs.db'}"))
    copied = ingest.unpack(archive, database, assets_into=tmp_path / "files")
    assert (sorted(copied.copied), len(copied.missing)) == (sorted(cat), 1)
    place = Path(shutil.move(folder, tmp_path / "class [2026] #1"))
    archive.unlink()
    for pack, opener in ((place, intake.open_catalog), (tmp_path / "unpacked", intake_bluesky.open_catalog)):
        found = opened(pack, opener)
        assert differing(before, read_all(found)) == []
        assert [uid for uid in cat if not same(cat, found, uid)] == []
        assert ingest.check_pack(pack) == {}
    assert ingest.check_pack(tmp_path / "by another program") == {}
    assert differing(before, read_all(database(root_map=copied.root_map))) == []


def test_the_manifest_says_what_is_where(tmp_path: Path) -> None:
    uri = write_hdf5(tmp_path / "a" / "x.h5", frames(3))
    gone = f"file://localhost{tmp_path}/a/gone.h5"
    cat = catalog(streamed("one", uri), streamed("two", uri), streamed("three", gone))
    ingest.pack(cat, tmp_path / "pack")
    manifest = json.loads((tmp_path / "pack" / "manifest.json").read_text())
    assert (manifest["format"], manifest["version"]) == ("intake-bluesky pack", 1)
    files = {one["path"]: one for one in manifest["files"]}
    for path, one in files.items():
        content = (tmp_path / "pack" / path).read_bytes()
        assert (one["size"], one["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())
    place = f"assets/file{tmp_path}/a/x.h5"
    runs = {run["uid"]: run for run in manifest["runs"]}
    assert [run["files"] for run in runs.values()].count(
        [{"source": f"{tmp_path}/a/x.h5", "path": place, "problem": ""}]
    ) == 2
    [missing] = [one for run in runs.values() for one in run["files"] if one["path"] is None]
    assert missing["source"] == f"{tmp_path}/a/gone.h5"
    assert "is not there" in missing["problem"]
    for uid, run in runs.items():
        lines = b"".join(json.dumps(pair, separators=(",", ":")).encode() + b"\n" for pair in cat[uid].documents())
        assert run["digest"] == hashlib.sha256(lines).hexdigest()
        assert (run["documents"], run["finished"]) == (lines.count(b"\n"), True)


NAMES = st.lists(
    st.text("abC .%#é", min_size=1, max_size=3).filter(lambda part: part.strip(".")), min_size=1, max_size=4
)
PREFIXES = st.sampled_from(["/", "", "s3://", "http://", "C:\\", "c:/", "\\\\server\\share\\"])


@given(st.lists(st.tuples(PREFIXES, NAMES), min_size=1, max_size=6))
def test_root_map_leads_to_the_place_of_every_name(drawn: list[tuple[str, list[str]]]) -> None:
    names = [prefix + ("\\" if "\\" in prefix else "/").join(parts) for prefix, parts in drawn]
    roots = AssetRoots()
    for name in names:
        roots.add(name)
    root_map = {root: f"/pack/{place}" for root, place in roots.root_map().items()}
    for name in names:
        assert moved(name, root_map).path.lower() == f"/pack/{asset_path(name)}".lower()


def test_files_of_the_same_name_in_several_roots(tmp_path: Path) -> None:
    memory = fsspec.filesystem("memory")
    uris = [write_hdf5(tmp_path / root / "x.h5", frames(3, first=first)) for root, first in (("a", 0), ("b", 3))]
    write_hdf5(tmp_path / "c" / "x.h5", frames(3, first=6))
    memory.put(str(tmp_path / "c" / "x.h5"), f"/{tmp_path.name}/x.h5")
    uris.append(f"memory://{tmp_path.name}/x.h5")
    cat = catalog(*(streamed(uri, uri) for uri in uris))
    before = read_all(cat)
    report = ingest.pack(cat, tmp_path / "pack")
    assert len(report.files) == 3
    memory.rm(f"/{tmp_path.name}", recursive=True)
    for root in "ab":
        shutil.rmtree(tmp_path / root)
    assert differing(before, read_all(opened(tmp_path / "pack"))) == []


def test_a_file_that_moved_is_packed_as_the_documents_call_it(tmp_path: Path) -> None:
    write_hdf5(tmp_path / "now" / "x.h5", frames(3))
    cat = catalog(
        streamed("moved", "file://localhost/beamline/2026/x.h5"), root_map={"/beamline": str(tmp_path / "now")}
    )
    (tmp_path / "now" / "2026").mkdir()
    shutil.move(tmp_path / "now" / "x.h5", tmp_path / "now" / "2026")
    ingest.pack(cat, tmp_path / "pack")
    assert (tmp_path / "pack/assets/file/beamline/2026/x.h5").exists()
    ingest.pack(cat, tmp_path / "linked", assets="link")
    assert not (tmp_path / "linked" / "assets").exists()
    for pack in ("pack", "linked"):
        assert differing(read_all(cat), read_all(opened(tmp_path / pack))) == []


def test_a_pack_on_a_server_opens(tmp_path: Path) -> None:
    cat = catalog(streamed("x", write_hdf5(tmp_path / "data" / "x.h5", frames(3))))
    before = read_all(cat)
    ingest.pack(cat, tmp_path / "pack")
    shutil.rmtree(tmp_path / "data")
    memory = fsspec.filesystem("memory")
    memory.put(str(tmp_path / "pack"), f"/{tmp_path.name}/pack", recursive=True)
    found = intake_bluesky.open_catalog(f"memory://{tmp_path.name}/pack/catalog.yml")["runs"]
    assert differing(before, read_all(found)) == []
    memory.rm(f"/{tmp_path.name}", recursive=True)


def test_linked_files_that_are_missing_are_told(tmp_path: Path) -> None:
    runs = linked_runs(tmp_path)
    (tmp_path / "far" / "far.h5").unlink()
    (tmp_path / "raw" / "outside.bin").unlink()
    report = ingest.pack(catalog(*runs), tmp_path / "pack.zip")
    assert {Path(path).name for path in report.missing} == {"far.h5", "outside.bin"}


def test_a_damaged_hdf5_file_is_packed_and_told_and_what_is_none_is_not(tmp_path: Path) -> None:
    write_hdf5(tmp_path / "cut.h5", frames(3))
    with open(tmp_path / "cut.h5", "r+b") as file:
        file.truncate(1000)
    (tmp_path / "other.hdf").write_bytes(b"\x0e\x03\x13\x01")
    cat = catalog(streamed("cut", tmp_path / "cut.h5"), streamed("other", tmp_path / "other.hdf"))
    report = ingest.pack(cat, tmp_path / "pack")
    assert sorted(Path(one.path).name for one in report.files) == ["cut.h5", "other.hdf"]
    [(path, why)] = report.missing.items()
    assert (path, "cannot be looked into" in why) == (f"{tmp_path}/cut.h5", True)


def test_a_linked_file_whose_place_is_taken_is_told(tmp_path: Path) -> None:
    runs = linked_runs(tmp_path)
    write_hdf5(tmp_path / "other" / "far.h5", frames(3, first=9))
    [path] = ingest.pack(catalog(streamed("taken", tmp_path / "other" / "far.h5"), runs[1]), tmp_path / "pack").missing
    assert path == f"{tmp_path}/far/far.h5"


@pytest.mark.parametrize("name", ["pack", "pack.zip"])
def test_a_file_that_changes_while_it_is_read_is_not_packed(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = write_hdf5(tmp_path / "x.h5", frames(3))
    cat = catalog(streamed("changes", uri))
    read = packer._read
    changes = [1, 1, 1]

    def growing(location: Any) -> Any:
        yield from read(location)
        if changes:
            changes.pop()
            with open(tmp_path / "x.h5", "ab") as file:
                file.write(b"more")

    monkeypatch.setattr(packer, "_read", growing)
    monkeypatch.setattr(packer, "PAUSE", 0)
    [why] = ingest.pack(cat, tmp_path / name).missing.values()
    assert "changed while it was read" in why
    assert ingest.check_pack(tmp_path / name) == {}
    changes[:] = [1]
    assert ingest.pack(cat, tmp_path / name).missing == {}
    assert ingest.check_pack(tmp_path / name) == {}


@pytest.mark.parametrize("name", ["pack", "pack.zip"])
def test_a_packed_file_that_changed_since_stays_as_it_was(name: str, tmp_path: Path) -> None:
    uri = write_hdf5(tmp_path / "x.h5", frames(3))
    cat = catalog(streamed("changed", uri))
    ingest.pack(cat, tmp_path / name)
    shutil.copy(tmp_path / "x.h5", tmp_path / "y.h5")
    shutil.move(tmp_path / "y.h5", tmp_path / "x.h5")  # the same, as another file
    assert ingest.pack(cat, tmp_path / name).missing == {}
    with h5py.File(tmp_path / "x.h5", "r+") as file:
        file[DATASET][0] = 7
    [why] = ingest.pack(cat, tmp_path / name).missing.values()
    assert "has changed since it was packed" in why
    assert ingest.check_pack(tmp_path / name) == {}


@pytest.mark.parametrize("name", ["pack", "pack.zip"])
def test_a_run_that_went_on_replaces_its_beginning_and_no_other_run_does(name: str, tmp_path: Path) -> None:
    whole = EXAMPLES["scan"](tmp_path)
    [(_, start), *_] = whole
    for run, copied, refused in ((whole[:-3], 1, 0), (whole, 1, 0), (whole[:-3], 0, 1)):
        report = ingest.pack(catalog(run, EXAMPLES["count"](tmp_path)), tmp_path / name)
        assert (start["uid"] in report.copied, start["uid"] in report.refused) == (copied, refused)
        assert ingest.check_pack(tmp_path / name) == {}
    ingest.unpack(tmp_path / name, tmp_path / "unpacked")
    assert same(catalog(whole), opened(tmp_path / "unpacked"), start["uid"])


@pytest.mark.parametrize("name", ["pack", "pack.zip"])
def test_runs_are_added_to_a_pack(name: str, tmp_path: Path) -> None:
    runs = all_runs(tmp_path / "data")[-8:]
    for some in (runs[:3], runs[2:]):
        ingest.pack(catalog(*some), tmp_path / name)
    assert ingest.check_pack(tmp_path / name) == {}
    before = read_all(catalog(*runs))
    shutil.rmtree(tmp_path / "data")
    ingest.unpack(tmp_path / name, tmp_path / "unpacked")
    assert differing(before, read_all(opened(tmp_path / "unpacked"))) == []


def test_what_cannot_be_packed_is_refused_and_the_rest_is_packed(tmp_path: Path) -> None:
    odd = RunComposer("bytes", sample=b"\x00")
    odd.stop()
    unsafe = [("start", {"uid": "../x", "time": 1.0})]
    cat = catalog(odd.documents, unsafe, EXAMPLES["count"](tmp_path))
    report = ingest.pack(cat, tmp_path / "pack")
    assert (len(report.copied), set(report.refused)) == (1, {odd.run_uid, "../x"})
    report = ingest.pack(cat, tmp_path / "packed", format="msgpack")
    assert (len(report.copied), set(report.refused)) == (2, {"../x"})
    assert same(cat, opened(tmp_path / "packed"), odd.run_uid)


def test_a_run_that_cannot_be_read_is_refused_and_a_store_that_is_gone_ends_packing(tmp_path: Path) -> None:
    class Failing(MemoryStore):
        gone = False

        def find(self, *plan: Any, **how: Any) -> Any:
            if self.gone:
                raise StoreUnavailable("it is gone")
            return super().find(*plan, **how)

        def documents(self, uid: str) -> Any:
            if uid == bad:
                self.gone = lasting
                raise StoreUnavailable("no answer")
            return super().documents(uid)

    runs = [EXAMPLES["count"](tmp_path), EXAMPLES["scan"](tmp_path)]
    bad = runs[0][0][1]["uid"]
    lasting = False
    report = ingest.pack(BlueskyCatalog(Failing(runs)), tmp_path / "pack")
    assert (report.copied, report.refused) == ([runs[1][0][1]["uid"]], {bad: "it cannot be read: no answer"})
    lasting = True
    with pytest.raises(CopyFailed, match="no answer"):
        ingest.pack(BlueskyCatalog(Failing(runs)), tmp_path / "other")


def test_nothing_is_written_over_what_is_no_pack(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    cat = catalog(EXAMPLES["count"](tmp_path))
    with pytest.raises(UnsupportedOperation, match="is no pack"):
        ingest.pack(cat, tmp_path)
    ingest.pack(cat, tmp_path / "pack")
    with pytest.raises(UnsupportedOperation, match="are jsonl"):
        ingest.pack(cat, tmp_path / "pack", format="msgpack")
    ingest.pack(catalog(EXAMPLES["scan"](tmp_path)), tmp_path / "other")
    with pytest.raises(UnsupportedOperation, match="another pack"):
        ingest.unpack(tmp_path / "pack", tmp_path / "other")
    with pytest.raises(UnsupportedOperation, match="local folders"):
        ingest.pack(cat, "s3://bucket/pack")


def test_a_name_that_is_no_text_is_told(tmp_path: Path) -> None:
    odd = tmp_path / "x\udcff.h5"
    write_hdf5(tmp_path / "x.h5", frames(3))
    (tmp_path / "x.h5").rename(odd)
    cat = catalog(streamed("odd", odd), EXAMPLES["count"](tmp_path))
    for name in ("pack", "pack.zip"):
        report = ingest.pack(cat, tmp_path / name, format="msgpack")
        assert len(report.copied) + len(report.refused) == 2
        assert report.missing or report.refused
        assert ingest.check_pack(tmp_path / name) == {}


def test_a_device_and_a_linked_folder_are_told(tmp_path: Path) -> None:
    (tmp_path / "image.zarr").mkdir()
    (tmp_path / "image.zarr" / "zarr.json").write_text("{}")
    (tmp_path / "image.zarr" / "c").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere").mkdir()
    cat = catalog(
        streamed("device", "file://localhost/dev/zero"),
        streamed("folder", tmp_path / "image.zarr", "application/x-zarr"),
    )
    report = ingest.pack(cat, tmp_path / "pack")
    assert {Path(path).name for path in report.missing} == {"zero", "c"}
    assert [Path(one.path).name for one in report.files] == ["zarr.json"]


def test_unpacked_into_a_catalog_of_files(tmp_path: Path) -> None:
    uri = write_hdf5(tmp_path / "data" / "x.h5", frames(3))
    cat = catalog(streamed("x", uri))
    before = read_all(cat)
    ingest.pack(cat, tmp_path / "pack")
    shutil.rmtree(tmp_path / "data")
    report = ingest.unpack(tmp_path / "pack", BlueskyJSONLCatalog(tmp_path / "runs"))
    assert len(report.copied) == 1
    assert differing(before, read_all(BlueskyJSONLCatalog(tmp_path / "runs", root_map=report.root_map))) == []


def test_files_are_as_new_ones_of_this_user_are(tmp_path: Path) -> None:
    uri = write_hdf5(tmp_path / "x.h5", frames(3))
    (tmp_path / "x.h5").chmod(0o400)
    ingest.pack(catalog(streamed("x", uri)), tmp_path / "pack")
    (tmp_path / "new").touch()
    [packed] = (tmp_path / "pack" / "assets").rglob("x.h5")
    assert stat.S_IMODE(packed.stat().st_mode) == stat.S_IMODE((tmp_path / "new").stat().st_mode)


def test_numbers_that_json_has_no_form_for_are_the_same(tmp_path: Path) -> None:
    run = RunComposer("numbers", nan=float("nan"), zero=-0.0, array=np.arange(3))
    run.event(run.descriptor({"x": data_key("number")}), {"x": float("inf")})
    run.stop()
    assert ingest.pack(catalog(run.documents), tmp_path / "pack").refused == {}
