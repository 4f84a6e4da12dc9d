"""Files that are not what they seem: pipes and devices, links out of the folders that documents may name."""

from __future__ import annotations

import os
import shutil
import stat
import traceback
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import zarr

from intake_bluesky.assets import AssetOptions, asset_files, locate
from intake_bluesky.assets.handlers import HandlerReader
from intake_bluesky.assets.location import Location
from intake_bluesky.errors import AssetUnavailable, EmptyCatalogWarning, IntakeBlueskyError, UntrustedName
from intake_bluesky.testing.readers import WrittenFiles
from intake_bluesky_jsonl import BlueskyJSONLCatalog
from tests.assets.by_hand import DATASET, asset, frames, key, opened, write
from tests.assets.formats import FORMATS

ONE_OF_EACH = {(form.mimetype, form.spec): form for form in reversed(FORMATS)}


@pytest.mark.parametrize("form", ONE_OF_EACH.values(), ids=lambda form: form.name)
def test_links_and_pipes_in_place_of_files(form: Any, tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "private").mkdir()
    written = WrittenFiles.of(form, tmp_path / "open")
    options: dict[str, Any] = {"trusted": False, "allowed_roots": (str(tmp_path / "open"),)}
    for way in form.ways:
        np.testing.assert_array_equal(written.array(way, **options).read(), written.expected)
    names = [path for path in (tmp_path / "open").rglob("*") if path.is_file()]
    for path in names:
        moved = tmp_path / "private" / path.name
        shutil.move(path, moved)
        path.symlink_to(moved)
    for way in form.ways:
        for on_missing in ("raise", "fill"):
            with pytest.raises(UntrustedName):
                written.array(way, on_missing=on_missing, **options).read()
        np.testing.assert_array_equal(written.array(way).read(), written.expected)
    for path in names:
        path.unlink()
        os.mkfifo(path)
    for way in form.ways:
        for trusted in (True, False):
            with pytest.raises((AssetUnavailable, FileNotFoundError)):  # where no array is found in a store of pipes
                written.array(way, **{**options, "trusted": trusted}).read()


def test_pipes_in_place_of_other_files(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.jsonl"
    os.mkfifo(pipe)
    table = asset(pipe, [(1, 3, 0, 2)], mimetype="text/csv;header=absent")
    with pytest.raises(AssetUnavailable, match="is a pipe"):
        opened(table, key(2, dtype_numpy="<f8"), 2).read()
    with pytest.raises(AssetUnavailable, match="device"):
        Location("/dev/zero").open()
    with pytest.raises(AssetUnavailable, match="device"):
        Location("/dev/zero").check()
    reader = HandlerReader(
        Location(str(pipe)), handler=lambda path: Path(path).read_text, datums=({},), spec=key(2, dtype_numpy="<f8")
    )
    with pytest.raises(AssetUnavailable, match="is a pipe"):
        reader.read_into(0, 1, np.empty((1, 2)))
    assert reader.files() == [Location(str(pipe))]
    raw = tmp_path / "raw.h5"
    with h5py.File(raw, "w") as file:
        file.create_dataset(DATASET, (2, 4, 6), "<u2", external=[("data.raw", 0, 96)])
    (tmp_path / "data.raw").unlink(missing_ok=True)
    os.mkfifo(tmp_path / "data.raw")
    with pytest.raises(AssetUnavailable, match="is a pipe"):
        opened(asset(raw, [(1, 3, 0, 2)]), key(4, 6, dtype_numpy="<u2"), 2).read()
    catalog = BlueskyJSONLCatalog(pipe)
    with pytest.warns(EmptyCatalogWarning, match="a pipe"):
        assert len(catalog) == 0
    assert [problem.where for problem in catalog.problems] == [str(pipe)]
    assert stat.S_ISFIFO(pipe.stat().st_mode)


@pytest.mark.parametrize("number", [2, 3])
def test_links_inside_of_a_zarr_store(number: Any, tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    values = np.full((3, 4, 6), 4242, "<u2")
    private = tmp_path / "private" / "z.zarr"
    zarr.create_array(private, data=values, chunks=(1, 4, 6), zarr_format=number)
    store = tmp_path / "open" / "chunks.zarr"
    chunk = "c/1" if number == 3 else "1.0.0"
    shutil.copytree(private, store)
    (shutil.rmtree if number == 3 else os.unlink)(store / chunk)
    (store / chunk).symlink_to(private / chunk)
    (tmp_path / "open" / "other").symlink_to(tmp_path / "private")
    (tmp_path / "open" / "meta.zarr").mkdir()
    for name in ("zarr.json", ".zarray", ".zattrs"):
        (tmp_path / "open" / "meta.zarr" / name).symlink_to(private / name)
    resources = [
        asset("/data/chunks.zarr", [(1, 4, 0, 3)], mimetype="application/x-zarr"),
        asset("/data", [(1, 4, 0, 3)], mimetype="application/x-zarr", dataset="other/z.zarr"),
        asset("/data", [(1, 4, 0, 3)], mimetype="application/x-zarr", dataset="chunks.zarr"),
        asset("/data/meta.zarr", [(1, 4, 0, 3)], mimetype="application/x-zarr"),
        asset("/data/other/z.zarr", [(1, 4, 0, 3)], mimetype="application/x-zarr"),
    ]
    options: dict[str, Any] = {"root_map": {"/data": str(tmp_path / "open")}}
    for resource in resources:
        with pytest.raises(UntrustedName):
            opened(resource, key(4, 6, dtype_numpy="<u2"), 3, trusted=False, on_missing="fill", **options).read()
    for resource in (resources[0], resources[1], resources[4]):
        np.testing.assert_array_equal(opened(resource, key(4, 6, dtype_numpy="<u2"), 3, **options).read(), values)


def test_an_array_that_a_trusted_catalog_has_open_is_for_no_other(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    zarr.create_array(tmp_path / "private.zarr", data=np.full((3, 4, 6), 4242, "<u2"), chunks=(1, 4, 6))
    (tmp_path / "open" / "a").symlink_to(tmp_path / "private.zarr")
    resource = asset("/data", [(1, 4, 0, 3)], mimetype="application/x-zarr", dataset="a")
    options: dict[str, Any] = {"root_map": {"/data": str(tmp_path / "open")}}
    trusted, other = (opened(resource, key(4, 6, dtype_numpy="<u2"), 3, trusted=t, **options) for t in (True, False))
    with trusted.readers[0].session(), pytest.raises(UntrustedName):
        other.read()


def test_files_tells_nothing_of_what_links_lead_to(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "private").mkdir()
    write(tmp_path / "private" / "img_1.h5", frames(2))
    (tmp_path / "open" / "img_1.h5").symlink_to(tmp_path / "private" / "img_1.h5")
    (tmp_path / "open" / "sub").symlink_to(tmp_path / "private")
    options = AssetOptions(trusted=False, root_map={"/data": str(tmp_path / "open")})
    numbered = {"template": "%s%s_%d.h5", "filename": "img"}
    for resource in (
        {"spec": "AD_HDF5", "root": "/data", "resource_path": "img_1.h5"},
        {"spec": "AD_HDF5_SINGLE", "root": "/data", "resource_path": "", "resource_kwargs": numbered},
        {"spec": "AD_HDF5_SINGLE", "root": "/data", "resource_path": "sub", "resource_kwargs": numbered},
        {"spec": "NPY_SEQ", "root": "/data", "resource_path": "sub/img", "resource_kwargs": {}},
        {"spec": "AD_HDF5", "root": str(tmp_path / "private"), "resource_path": "img_1.h5"},
        {"mimetype": "application/x-odd", "data_key": "det", "uri": f"{tmp_path}/private/img_1.h5"},
    ):  # fmt: skip
        found = asset_files({"uid": "r", **resource}, options)
        assert [(file.exists, file.size) for file in found] == [(False, None)] * len(found)


@pytest.mark.parametrize(
    ("resource", "root_map"),
    [
        ({"root": "/data/..", "resource_path": "etc/passwd"}, {}),
        ({"root": "/data/%2e%2e", "resource_path": "etc/passwd"}, {}),
        ({"root": "/data", "resource_path": "%2e%2e/private/x.h5"}, {"/data": "file://localhost/open"}),
        ({"root": "/data", "resource_path": "a/%2E./x.h5"}, {"/data": "https://host/open"}),
        ({"uri": "/data/%2e%2e/private/x.h5"}, {"/data": "file://localhost/open"}),
        ({"uri": "file://localhost/data/%252e%252e/private/x.h5"}, {"/data": "file://localhost/open"}),
        ({"uri": "https://host/open/%2e%2e/private/x.h5"}, {}),
    ],
)
@pytest.mark.parametrize("trusted", [True, False])
def test_climbing_in_other_forms(resource: dict[str, Any], root_map: dict[str, str], trusted: bool) -> None:
    try:
        found = locate(resource, AssetOptions(root_map=root_map, trusted=trusted)).path
    except UntrustedName:
        return
    assert ".." not in found.split("/")
    assert found.startswith("/open/%2e%2e/")  # a folder of that name, as it was encoded twice


def test_options_are_for_the_servers_that_they_were_given_for() -> None:
    options = AssetOptions(
        trusted=False, storage_options={"headers": {"X-Key": "hunter2"}}, servers=("https://runs.example",),
        root_map={"/data": "https://data.example:8443/raw"},
    )  # fmt: skip
    for uri, there in (
        ("https://runs.example/x.h5", True), ("/data/x.h5", True), ("https://data.example:8443/y.h5", True),
        ("https://data.example/x.h5", False), ("http://runs.example/x.h5", False), ("https://evil.example/x.h5", False),
        ("https://runs.example.evil.example/x.h5", False), ("https://runs.example@evil.example/x.h5", False),
        ("s3://bucket/x.h5", True),
    ):  # fmt: skip
        assert bool(locate({"uri": uri}, options).storage_options) == there, uri


def test_errors_are_ours_alone(tmp_path: Path) -> None:
    with pytest.raises(IntakeBlueskyError):
        locate({"uri": "az://account/x.h5"}, AssetOptions(trusted=False, anonymous=True))


def test_passwords_in_targets_of_root_map_are_not_shown() -> None:
    options = {"root_map": {"/data": "http://me:hunter2@127.0.0.1:1/x"}}
    resource = asset("/data/x.h5", [(1, 3, 0, 2)])
    with pytest.raises(AssetUnavailable, match=r"from http://127\.0\.0\.1:1/x/x\.h5") as caught:
        opened(resource, key(4, 6, dtype_numpy="<u2"), 2, **options).read()
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))
    assert "hunter2" not in str(asset_files(resource.resource, AssetOptions(**options)))  # type: ignore[arg-type]
