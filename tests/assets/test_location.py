"""Where files are, and which of them documents may name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from intake_bluesky.assets import AssetFile, AssetOptions, asset_files, locate
from intake_bluesky.errors import AssetUnavailable, UntrustedName
from tests.assets.by_hand import asset, frames, key, opened, write


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("file://localhost/data/a b.h5", "/data/a b.h5"),
        ("file:///data/a%20b.h5", "/data/a b.h5"),
        ("/data/x.h5", "/data/x.h5"),
        ("s3://bucket/x.h5", "s3://bucket/x.h5"),
    ],
)
def test_forms_of_a_uri(uri: str, expected: str) -> None:
    assert locate({"uri": uri}, AssetOptions()).path == expected


@pytest.mark.parametrize(
    ("root", "path", "root_map", "expected"),
    [
        ("/data", "2026/x.h5", {}, "/data/2026/x.h5"),
        ("/data/", "x.h5", {"/data/": "/mnt"}, "/mnt/x.h5"),
        ("/data", "x.h5", {"/data/other": "/mnt"}, "/data/x.h5"),
        ("/data/2026", "x.h5", {"/data": "/mnt"}, "/mnt/2026/x.h5"),
        ("/database", "x.h5", {"/data": "/mnt"}, "/database/x.h5"),
        ("/", "data/2026/x.h5", {"/data": "/mnt"}, "/mnt/2026/x.h5"),
        ("/", "data/x.h5", {"/": "/mnt"}, "/mnt/data/x.h5"),
        ("/data//2026/", "./x.h5", {"/data/2026": "/mnt"}, "/mnt/x.h5"),
        ("/data", "eiger/x.h5", {"/data": "/a", "/data/eiger/": "/b"}, "/b/x.h5"),
        ("/data", "eiger/", {"/data": "/mnt"}, "/mnt/eiger/"),
        ("0123abcd", "x.h5", {"0123abcd": "/pack/external_files/0123abcd"}, "/pack/external_files/0123abcd/x.h5"),
        ("", "sub/x.h5", {"": "/mnt"}, "/mnt/sub/x.h5"),
        ("Z:\\data", "sub\\x.h5", {"z:/data": "/mnt"}, "/mnt/sub/x.h5"),
        ("Z:\\", "data\\x.h5", {"Z:\\data\\": "/mnt"}, "/mnt/x.h5"),
        ("\\\\server\\share", "x.h5", {"//server/share": "/mnt"}, "/mnt/x.h5"),
        ("/data", "x.h5", {"/data": "s3://bucket/raw"}, "s3://bucket/raw/x.h5"),
        ("", "/data/x.h5", {}, "/data/x.h5"),
    ],
)
def test_root_of_legacy_resources(root: str, path: str, root_map: dict[str, str], expected: str) -> None:
    resource = {"root": root, "resource_path": path}
    assert locate(resource, AssetOptions(root_map=root_map)).path == expected


@pytest.mark.parametrize(
    ("root_map", "expected"),
    [
        ({"/data": "/mnt"}, "/mnt/2026/x.h5"),
        ({"file://localhost/data": "/mnt"}, "/mnt/2026/x.h5"),
        ({"/data/": "/mnt/"}, "/mnt/2026/x.h5"),
        ({"/data": "/a", "/data/2026": "/b"}, "/b/x.h5"),
        ({"/dat": "/mnt"}, "/data/2026/x.h5"),
        ({"/": "/copy"}, "/copy/data/2026/x.h5"),
        ({"/data": "file://localhost/mnt"}, "/mnt/2026/x.h5"),
        ({"/data": "s3://bucket"}, "s3://bucket/2026/x.h5"),
    ],
)
def test_leading_part_of_a_uri_is_replaced(root_map: dict[str, str], expected: str) -> None:
    resource = {"uri": "file://localhost/data/2026/x.h5"}
    assert locate(resource, AssetOptions(root_map=root_map)).path == expected


@pytest.mark.parametrize("uri", ["file://localhost/C:/data/x.h5", "file:///c:/Data/x.h5", "C:\\data\\x.h5"])
@pytest.mark.parametrize("entry", ["C:/data", "/C:/data/", "c:\\data", "file:///C:/data"])
def test_drives_of_windows_are_found_in_any_form(uri: str, entry: str) -> None:
    assert locate({"uri": uri}, AssetOptions(root_map={entry: "/mnt"})).path == "/mnt/x.h5"


def test_a_share_of_windows_is_found_in_a_uri() -> None:
    options = AssetOptions(root_map={"\\\\server\\share": "/mnt"})
    assert locate({"uri": "file://server/share/x.h5"}, options).path == "/mnt/x.h5"
    assert locate({"uri": "file://server/other/x.h5"}, options).path == "/other/x.h5"


@pytest.mark.parametrize("name", ["a b.h5", "a#1.h5", "what?.h5", "a%20b.h5", "50%.h5", "50%25.h5", "#?%.h5", "é%.h5"])
@pytest.mark.parametrize("quoted", [str, quote], ids=["as it stands", "quoted"])
@pytest.mark.parametrize("trusted", [True, False])
def test_a_uri_means_the_file_that_is_there(name: str, quoted: Any, trusted: bool, tmp_path: Path) -> None:
    folder = tmp_path / "100%25 #1?"
    folder.mkdir()
    (folder / name).touch()
    options = AssetOptions(trusted=trusted, root_map={"/old": str(tmp_path)})
    for begin in (f"file://localhost{quoted('/old')}", f"file://{quoted(str(tmp_path))}"):
        located = locate({"uri": f"{begin}/{quoted(f'{folder.name}/{name}')}"}, options)
        assert located.path == str(folder / name)
    # Of a sequence, the documents name what the files' names begin with, or their folder.
    for path in (folder / name[:-3], folder):
        assert locate({"uri": f"file://{quoted(str(path))}"}, options).path == str(path)


def test_a_file_that_is_not_there_has_the_name_that_the_uri_means() -> None:
    assert locate({"uri": "file://localhost/nowhere/a%20b#1.h5"}, AssetOptions()).path == "/nowhere/a b#1.h5"


@pytest.mark.parametrize(
    ("root_map", "expected"),
    [
        ({"/old": "/nowhere"}, r"/nowhere/data/x\.h5 \(/old/data/x\.h5 by the entry '/old' of root_map\)"),
        ({"/older": "/nowhere"}, r"no entry of root_map is a leading folder of /old/data/x\.h5: it has '/older'"),
        ({}, r"from /old/data/x\.h5: there is no such file"),
    ],
)
def test_errors_name_the_path_and_the_entry_that_was_tried(root_map: dict[str, str], expected: str) -> None:
    array = opened(asset(Path("/old/data/x.h5"), [(1, 3, 0, 2)]), key(4, 6), 2, root_map=root_map)
    with pytest.raises(AssetUnavailable, match=expected):
        array.read()


def test_a_root_that_is_no_folder_is_told() -> None:
    located = locate({"root": "0123abcd", "resource_path": "x.h5"}, AssetOptions())
    assert "catalog.yml" in located.told


def test_a_pointer_of_git_lfs_is_told(tmp_path: Path) -> None:
    path = tmp_path / "x.h5"
    path.write_text(f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 12345\n")
    with pytest.raises(AssetUnavailable, match="git lfs pull"):
        opened(asset(path, [(1, 3, 0, 2)]), key(4, 6), 2).read()


@pytest.mark.parametrize(
    "resource",
    [
        {"uri": "file://localhost/data/../etc/passwd"},
        {"uri": "file://localhost/data/%2e%2e/etc/passwd"},
        {"root": "/data", "resource_path": "../etc/passwd"},
        {"root": "/data", "resource_path": "a\\..\\..\\b"},
    ],
)
def test_climbing_is_refused(resource: dict[str, Any]) -> None:
    with pytest.raises(UntrustedName, match=r"'\.\.'"):
        locate(resource, AssetOptions())


def untrusted(tmp_path: Path, **more: Any) -> AssetOptions:
    return AssetOptions(trusted=False, allowed_roots=(str(tmp_path / "data"),), **more)


def test_documents_from_elsewhere_name_files_of_allowed_folders_only(tmp_path: Path) -> None:
    inside, outside = tmp_path / "data" / "x.h5", tmp_path / "data2" / "x.h5"
    assert locate({"uri": str(inside)}, untrusted(tmp_path)).path == str(inside)
    with pytest.raises(UntrustedName, match="no allowed root"):
        locate({"uri": str(outside)}, untrusted(tmp_path))
    mapped = untrusted(tmp_path, root_map={"/theirs": str(tmp_path / "data2")})
    assert locate({"root": "/theirs", "resource_path": "x.h5"}, mapped).path == str(outside)
    with pytest.raises(UntrustedName):
        locate({"root": "/theirs", "resource_path": "/etc/passwd"}, mapped)
    with pytest.raises(UntrustedName):
        locate({"uri": "data/x.h5"}, untrusted(tmp_path))


def test_links_lead_out_of_no_allowed_folder(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "secret.h5").touch()
    (tmp_path / "data" / "x.h5").symlink_to(tmp_path / "secret.h5")
    with pytest.raises(UntrustedName):
        locate({"uri": str(tmp_path / "data" / "x.h5")}, untrusted(tmp_path))


@pytest.mark.parametrize("uri", ["local://etc/passwd", "zip://x::file:///etc/passwd", "s3://a::file:///etc/passwd"])
def test_urls_that_lead_to_local_files_need_trust(tmp_path: Path, uri: str) -> None:
    with pytest.raises(UntrustedName):
        locate({"uri": uri}, untrusted(tmp_path))
    assert locate({"uri": "s3://bucket/x.h5"}, untrusted(tmp_path)).path == "s3://bucket/x.h5"


def test_untrusted_arrays_open_and_do_not_compute(one_file: Path) -> None:
    array = opened(asset(one_file, [(1, 3, 0, 2)]), key(4, 6), 2, trusted=False, on_missing="fill")
    assert array.shape == (2, 4, 6)
    with pytest.raises(UntrustedName, match="root_map"):
        array.read()


def test_files_of_resources(tmp_path: Path) -> None:
    path = write(tmp_path / "x.h5", frames(2))
    (tmp_path / "img_10.npy").write_bytes(b"ten")
    (tmp_path / "img_9.npy").write_bytes(b"nine!")
    (tmp_path / "imgs_1.npy").write_bytes(b"")
    streamed = asset(path, []).resource
    assert asset_files(streamed) == [AssetFile(str(path), exists=True, size=path.stat().st_size)]
    legacy = {"spec": "NPY_SEQ", "root": str(tmp_path), "resource_path": "img", "resource_kwargs": {}}
    assert asset_files(legacy) == [
        AssetFile(str(tmp_path / "img_9.npy"), exists=True, size=5),
        AssetFile(str(tmp_path / "img_10.npy"), exists=True, size=3),
    ]
    gone = {**legacy, "spec": "AD_HDF5", "resource_path": "gone.h5"}
    assert asset_files(gone) == [AssetFile(str(tmp_path / "gone.h5"), exists=False, size=None)]
    unknown = {"uri": str(path), "mimetype": "application/x-odd", "data_key": "det"}
    assert asset_files(unknown)[0].exists


def test_files_that_documents_may_not_name_are_not_looked_at(tmp_path: Path) -> None:
    path = write(tmp_path / "x.h5", frames(2))
    observed = asset_files(asset(path, []).resource, untrusted(tmp_path))
    [(*told, problem)] = observed
    assert told == [f"file://localhost{path}", False, None]
    assert "documents from elsewhere name" in problem


RESOURCE = asset("", []).resource
ODD_URIS = [
    "file://[", "file:", "file://", "http://[", "http://[::1", "http://a b/c", "s3://", "s3:///", "://", "data:,x",
    "memory://", "nowhere://x", "simplecache::http://[", "C:\\", "//", "~", "\n", "\udcff", "\ud800",
]  # fmt: skip


@pytest.mark.parametrize("uri", ODD_URIS)
def test_uris_that_name_nothing(uri: str) -> None:
    with pytest.raises(AssetUnavailable):
        opened(replace(asset("", [(1, 3, 0, 2)]), resource=RESOURCE | {"uri": uri}), key(4, 6), 2).read()
