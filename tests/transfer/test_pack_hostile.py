"""Packs from elsewhere: what leads out of them, lies about sizes, or names code is refused; what is damaged is told."""

from __future__ import annotations

import json
import shutil
import stat
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import intake_bluesky
from intake_bluesky import BlueskyCatalog, ingest
from intake_bluesky.errors import CopyFailed, DamagedPack, StoreUnavailable, UnsupportedOperation, UntrustedName
from intake_bluesky.testing import EXAMPLES, MemoryStore
from intake_bluesky.testing.asset_runs import frames, write_hdf5
from intake_bluesky.transfer.manifest import Manifest, PackedFile
from intake_bluesky_jsonl import BlueskyJSONLCatalog
from tests.transfer.packed_runs import catalog, streamed

OUTSIDE = [
    "../x",
    "/etc/x",
    "assets/../../x",
    "assets/..\\..\\x",
    "C:/x",
    "assets//x",
    "assets/./x",
    "x",
    "assets",
    "a\0b",
    5,
]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pack of two runs, one with a file."""
    folder = tmp_path_factory.mktemp("sound")
    uri = write_hdf5(folder / "data" / "x.h5", frames(3))
    ingest.pack(catalog(streamed("x", uri), EXAMPLES["count"](folder)), folder / "pack")
    return folder / "pack"


@pytest.fixture
def pack(sound: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sound, tmp_path / "pack"))


def rewritten(pack: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """A manifest that somebody changed, with checksums that are right."""
    whole = json.loads((pack / "manifest.json").read_text())
    change(whole)
    (pack / "manifest.json").write_text(json.dumps(whole))


def files(pack: Path) -> Iterator[Path]:
    return (path for path in pack.rglob("*") if path.is_file())


def zipped(pack: Path, archive: Path, **more: bytes) -> Path:
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for path in files(pack):
            file.write(path, path.relative_to(pack))
        for name, content in more.items():
            file.writestr(name, content)
    return archive


@pytest.mark.parametrize("name", OUTSIDE)
def test_names_that_lead_out_are_refused(name: Any, pack: Path, tmp_path: Path) -> None:
    def change(whole: dict[str, Any]) -> None:
        whole["files"].append({**whole["files"][0], "path": name})

    rewritten(pack, change)
    for archive in (pack, zipped(pack, tmp_path / "pack.zip")):
        with pytest.raises(UntrustedName, match="leads out of it"):
            ingest.unpack(archive, tmp_path / "unpacked")
    assert not (tmp_path / "unpacked").exists()


@pytest.mark.parametrize("name", [name for name in OUTSIDE if isinstance(name, str) and "\0" not in name])
def test_names_in_zip_files_that_lead_out_are_refused(name: str, pack: Path, tmp_path: Path) -> None:
    with pytest.raises(UntrustedName, match="leads out of it"):
        ingest.unpack(zipped(pack, tmp_path / "pack.zip", **{name: b"x"}), tmp_path / "unpacked")


@pytest.mark.parametrize("mode", [stat.S_IFLNK | 0o777, stat.S_IFCHR | 0o666, stat.S_IFIFO | 0o666])
def test_links_and_devices_in_zip_files_are_refused(mode: int, pack: Path, tmp_path: Path) -> None:
    archive = zipped(pack, tmp_path / "pack.zip")
    info = zipfile.ZipInfo("assets/link")
    info.external_attr = mode << 16
    with zipfile.ZipFile(archive, "a") as file:
        file.writestr(info, "/etc/passwd")
    with pytest.raises(UntrustedName, match="link or a device"):
        ingest.check_pack(archive)


def test_links_in_folders_are_refused(pack: Path, tmp_path: Path) -> None:
    [asset] = (pack / "assets").rglob("x.h5")
    asset.unlink()
    asset.symlink_to("/etc/passwd")
    with pytest.raises(UntrustedName, match="link or a device"):
        ingest.unpack(pack, tmp_path / "unpacked")


def test_a_name_twice_is_refused(pack: Path, tmp_path: Path) -> None:
    archive = zipped(pack, tmp_path / "pack.zip")
    with zipfile.ZipFile(archive, "a") as file, pytest.warns(UserWarning, match="Duplicate name"):
        file.writestr("manifest.json", "{}")
    with pytest.raises(DamagedPack, match="twice"):
        ingest.check_pack(archive)


def test_a_bomb_is_read_no_further_than_the_manifest_says(pack: Path, tmp_path: Path) -> None:
    [asset] = (pack / "assets").rglob("x.h5")
    size = asset.stat().st_size
    asset.write_bytes(bytes(1 << 24))
    archive = zipped(pack, tmp_path / "pack.zip")
    content = archive.read_bytes()
    # Its directory tells the size that the manifest has, and not how much comes out.
    archive.write_bytes(content.replace((1 << 24).to_bytes(4, "little"), size.to_bytes(4, "little")))
    report = ingest.unpack(archive, tmp_path / "unpacked")
    assert list(report.missing) == [asset.relative_to(pack).as_posix()]
    assert len(report.copied) == 2
    assert sum(path.stat().st_size for path in files(tmp_path / "unpacked")) < 1 << 20


def test_more_than_the_disk_has_is_not_begun(pack: Path, tmp_path: Path) -> None:
    def change(whole: dict[str, Any]) -> None:
        whole["files"][0]["size"] = 1 << 59

    rewritten(pack, change)
    with pytest.raises(CopyFailed, match="bytes, and the disk"):
        ingest.unpack(pack, tmp_path / "unpacked")


CHANGES: dict[str, Callable[[dict[str, Any]], object]] = {
    "no runs": lambda whole: whole.pop("runs"),
    "text for files": lambda whole: whole.update(files="x"),
    "a negative size": lambda whole: whole["files"][0].update(size=-1),
    "a size that no disk has": lambda whole: whole["files"][0].update(size=1 << 70),
    "a size that is none": lambda whole: whole["files"][0].update(size=True),
    "no checksum": lambda whole: whole["files"][0].update(sha256="x"),
    "another key": lambda whole: whole["files"][0].update(more=1),
    "a path twice": lambda whole: whole["files"].append(whole["files"][0]),
    "documents that are not there": lambda whole: whole["runs"][0].update(path="documents/x"),
    "another form": lambda whole: whole.update(documents="pickle"),
    "a template": lambda whole: whole.update(root_map={"{% x %}": "assets/x"}),
    "another version": lambda whole: whole.update(version=2),
    "another format": lambda whole: whole.update(format="x"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_manifests_that_are_none(change: Callable[[dict[str, Any]], object], pack: Path, tmp_path: Path) -> None:
    rewritten(pack, change)
    with pytest.raises(DamagedPack):
        ingest.unpack(pack, tmp_path / "unpacked")


@pytest.mark.parametrize("text", ["", "[]", "[" * 100_000, '{"format": "intake-bluesky pack"', "\udcff"])
def test_texts_that_are_no_manifest(text: str, pack: Path) -> None:
    (pack / "manifest.json").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(DamagedPack):
        ingest.check_pack(pack)


def test_each_damaged_missing_and_unknown_file_is_told(pack: Path, tmp_path: Path) -> None:
    [asset] = (pack / "assets").rglob("x.h5")
    content = bytearray(asset.read_bytes())
    content[1000] ^= 1
    asset.write_bytes(content)
    one, other = sorted((pack / "documents").iterdir())
    one.unlink()
    other.write_bytes(other.read_bytes() + b"x")
    (pack / "assets" / "mine").write_text("mine")
    (pack / "SHA256SUMS").write_text("")
    wrong = {path.relative_to(pack).as_posix() for path in (asset, one, other, pack / "assets/mine")} | {"SHA256SUMS"}
    assert set(ingest.check_pack(pack)) == wrong
    assert set(ingest.check_pack(zipped(pack, tmp_path / "pack.zip"))) == wrong


def test_what_is_damaged_is_left_out_and_the_rest_unpacked(pack: Path, tmp_path: Path) -> None:
    runs = json.loads((pack / "manifest.json").read_text())["runs"]
    [without, with_file] = sorted(runs, key=lambda run: len(run["files"]))
    [asset] = (pack / "assets").rglob("x.h5")
    asset.write_bytes(bytes(asset.stat().st_size))
    (pack / without["path"]).write_bytes(b"x" * (pack / without["path"]).stat().st_size)
    report = ingest.unpack(pack, tmp_path / "unpacked")
    place = asset.relative_to(pack).as_posix()
    assert (report.copied, set(report.refused), set(report.missing)) == (
        [with_file["uid"]],
        {without["uid"]},
        {place, without["path"]},
    )
    assert ingest.check_pack(tmp_path / "unpacked") == {}
    whole = json.loads((tmp_path / "unpacked" / "manifest.json").read_text())
    assert [(one["path"], one["problem"]) for one in whole["runs"][0]["files"]] == [(None, report.missing[place])]
    into = BlueskyCatalog(MemoryStore())
    report = ingest.unpack(pack, into, assets_into=tmp_path / "files")
    assert (report.copied, set(report.refused)) == ([], {with_file["uid"], without["uid"]})


def test_the_catalog_of_a_pack_is_never_believed(pack: Path, tmp_path: Path) -> None:
    text = yaml.safe_dump({"sources": {"runs": {"driver": "os.system", "args": {"paths": "echo"}}}})
    (pack / "catalog.yml").write_text(text)

    def change(whole: dict[str, Any]) -> None:
        import hashlib

        [own] = [one for one in whole["files"] if one["path"] == "catalog.yml"]
        own.update(size=len(text), sha256=hashlib.sha256(text.encode()).hexdigest())

    rewritten(pack, change)
    assert "not the one that follows" in ingest.check_pack(pack)["catalog.yml"]
    ingest.unpack(pack, tmp_path / "unpacked")
    opened = yaml.safe_load((tmp_path / "unpacked" / "catalog.yml").read_text())
    assert opened["sources"]["runs"]["driver"] == "bluesky-jsonl-catalog"
    assert ingest.check_pack(tmp_path / "unpacked") == {}


def test_documents_of_a_pack_name_no_file_of_this_machine(tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir()
    uri = write_hdf5(tmp_path / "secret" / "x.h5", frames(3))
    ingest.pack(catalog(streamed("secret", uri)), tmp_path / "pack", assets="link")
    rewritten(tmp_path / "pack", lambda whole: whole.update(root_map={"/": "/"}))
    into = BlueskyJSONLCatalog(tmp_path / "runs")
    report = ingest.unpack(tmp_path / "pack", into, assets_into=tmp_path / "files")
    assert [why for why in report.missing.values() if "no root_map target" in why]
    assert report.files == []
    assert not any((tmp_path / "files").rglob("x.h5"))


def test_no_pack(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="there is no pack"):
        ingest.check_pack(tmp_path / "none")
    with pytest.raises(DamagedPack, match="has no manifest"):
        ingest.check_pack(tmp_path)
    (tmp_path / "x.zip").write_bytes(b"x")
    with pytest.raises(DamagedPack, match="zip file"):
        ingest.check_pack(tmp_path / "x.zip")
    with pytest.raises(UnsupportedOperation, match="local folders"):
        ingest.unpack("s3://bucket/pack", tmp_path)


def test_names_in_checksums_are_escaped_as_sha256sum_does() -> None:
    manifest = Manifest("jsonl")
    manifest.files["assets/a\nb\\c"] = PackedFile("assets/a\nb\\c", 0, "0" * 64)
    [first, _] = manifest.sums(PackedFile("manifest.json", 0, "1" * 64)).splitlines()
    assert first == b"\\" + b"0" * 64 + b"  assets/a\\nb\\\\c"


def test_an_unpacked_pack_opens(pack: Path, tmp_path: Path) -> None:
    ingest.unpack(pack, tmp_path / "unpacked")
    assert len(intake_bluesky.open_catalog(str(tmp_path / "unpacked" / "catalog.yml"))["runs"]) == 2
