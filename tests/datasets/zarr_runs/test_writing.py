"""What is written where, in which order, and what is refused."""

from __future__ import annotations

import hashlib
import json
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import xarray as xr
import zarr
from hypothesis import given
from hypothesis import strategies as st

from intake_bluesky.datasets.zarr_runs import chunking, targets
from intake_bluesky.datasets.zarr_runs.chunking import CHUNK, LARGEST_CHUNK, SHARD, Cut
from intake_bluesky.datasets.zarr_runs.read import ZarrRun
from intake_bluesky.errors import AssetUnavailable, RunNotFound, StoreUnavailable, UnsupportedOperation
from intake_bluesky.testing import EXAMPLES, RunComposer, data_key
from intake_bluesky.testing.examples import Run
from tests.datasets.zarr_runs.beside import beside, requests, run_of  # noqa: F401  # a fixture


def frames(folder: Path, number: int, shape: tuple[int, int]) -> Run:
    """A run with an image an event in an HDF5 file, that counts up."""
    values = np.arange(number * shape[0] * shape[1], dtype=np.uint32).reshape(number, *shape)
    with h5py.File(folder / "frames.h5", "w") as file:
        file.create_dataset("data", data=values, chunks=(1, *shape))
    run = RunComposer("frames", scan_id=1)
    image = data_key("array", list(shape), external="STREAM:", dtype_numpy="<u4")
    primary = run.descriptor({"x": data_key("number"), "image": image})
    uri = f"file://localhost{folder}/frames.h5"
    resource = run.stream_resource("image", mimetype="application/x-hdf5", uri=uri, dataset="data", chunk_shape=[1])
    run.page(primary, {"x": [float(i) for i in range(number)]})
    run.stream_datum(resource, primary, (1, number + 1))
    run.stop()
    return run.documents


@given(
    st.lists(st.integers(0, 3000), min_size=1, max_size=4),
    st.sampled_from(["u1", "f8", "c16", "S100", "S0"]).map(np.dtype),
)
def test_chunks_fit_into_shards_and_both_into_memory(shape: list[int], dtype: np.dtype[Any]) -> None:
    cut = Cut.of(tuple(shape), dtype)
    size = max(dtype.itemsize, 1)
    assert len(cut.chunks) == len(shape)
    assert all(1 <= chunk <= max(n, 1) for chunk, n in zip(cut.chunks, shape, strict=True))
    assert np.prod(cut.chunks, dtype=object) * size <= LARGEST_CHUNK
    assert all(unit % chunk == 0 for unit, chunk in zip(cut.unit, cut.chunks, strict=True))
    assert np.prod(cut.unit, dtype=object) * size <= max(SHARD, LARGEST_CHUNK)
    objects = np.prod([-(-n // unit) for n, unit in zip(shape, cut.unit, strict=True)], dtype=object)
    whole = np.prod([max(n, 1) for n in shape], dtype=object) * size
    assert objects <= max(1, 4 * whole / CHUNK)  # no swarm of small ones


def test_the_root_comes_last_and_no_object_is_asked_for(
    tmp_path: Path,
    requests: list[tuple[str, str]],  # noqa: F811
) -> None:
    run_of(EXAMPLES["scan"](tmp_path)).to_zarr(tmp_path / "run.zarr")
    assert requests[0] == ("list", "")  # whether there is anything
    written = [key for kind, key in requests[1:] if kind == "set"]
    assert len(written) == len(requests) - 1 == len(set(written))
    documents = [key.endswith("zarr.json") for key in written]
    assert documents == sorted(documents), "all values first"
    assert written[-1] == "zarr.json"


def test_the_root_tells_of_all_other_objects(tmp_path: Path) -> None:
    url = Path(run_of(EXAMPLES["scan"](tmp_path)).to_zarr(tmp_path / "run.zarr"))
    found = {str(path.relative_to(url)): zlib.crc32(path.read_bytes()) for path in url.rglob("*") if path.is_file()}
    del found["zarr.json"]
    told = "".join(f"{name} {found[name]:08x}\n" for name in sorted(found))
    assert zarr.open_group(url, mode="r").attrs["checksum"] == hashlib.sha256(told.encode()).hexdigest()


def test_a_run_that_cannot_be_finished_leaves_nothing(tmp_path: Path) -> None:
    run = run_of(EXAMPLES["missing_file"](tmp_path))
    for name in ("run.zarr", "run.zarr.zip"):
        with pytest.raises(AssetUnavailable, match='on_missing="fill"'):
            run.to_zarr(tmp_path / name)
        assert not (tmp_path / name).exists()
        with pytest.raises(RunNotFound, match="there is no run at"):
            ZarrRun(str(tmp_path / name)).start  # noqa: B018  # asked for
    run.to_zarr(tmp_path / "run.zarr", on_missing="fill")
    stored = beside(run, str(tmp_path / "run.zarr"))
    with pytest.raises(AssetUnavailable):  # what was filled is for no one who did not ask for it
        stored.primary.read()


@pytest.mark.parametrize("name", ["run.zarr", "run.zarr.zip"])
def test_what_is_there_is_replaced_only_if_asked(name: str, tmp_path: Path) -> None:
    run, other = (run_of(EXAMPLES[example](tmp_path)) for example in ("scan", "count"))
    url = run.to_zarr(tmp_path / name)
    with pytest.raises(UnsupportedOperation, match="overwrite=True"):
        other.to_zarr(url)
    assert ZarrRun(url).start["uid"] == run.uid
    other.to_zarr(url, overwrite=True)
    assert ZarrRun(url).start["uid"] == other.uid
    assert ZarrRun(url).root.get("baseline") is None
    assert {path.name for path in tmp_path.iterdir()} == {name}


def test_a_folder_that_is_no_hierarchy_is_never_removed(tmp_path: Path) -> None:
    run = run_of(EXAMPLES["count"](tmp_path))
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter").write_text("1")
    with pytest.raises(UnsupportedOperation, match="is no Zarr hierarchy"):
        run.to_zarr(tmp_path / "thesis", overwrite=True)
    assert (tmp_path / "thesis" / "chapter").read_text() == "1"
    with pytest.raises(StoreUnavailable, match="cannot be written"):
        run.to_zarr(tmp_path / "thesis" / "chapter" / "run.zarr.zip")


def test_large_runs_are_folders_and_small_ones_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = run_of(frames(tmp_path, 8, (64, 64)))
    small = run.to_zarr(f"{tmp_path}/small/")
    monkeypatch.setattr(targets, "SMALL", 5_000)
    monkeypatch.setattr(chunking, "CHUNK", 2**14)
    monkeypatch.setattr(chunking, "SHARD", 2**15)
    large = run.to_zarr(f"{tmp_path}/large/")
    assert (Path(small).name, Path(large).name) == (f"{run.uid}.zarr.zip", f"{run.uid}.zarr")
    assert Path(small).is_file()
    assert [path.name for path in Path(large).parent.iterdir()] == [f"{run.uid}.zarr"]
    for url in (small, large):
        xr.testing.assert_identical(beside(run, url).primary.read(), run.primary.read())
    image = ZarrRun(large).arrays("primary")["image"]  # type: ignore[index]  # all rows are events
    assert (image.chunks, image.shards) == ((1, 64, 64), (2, 64, 64))
    assert beside(run, large).primary.to_dask()["image"].chunks == ((2,) * 4, (64,), (64,))


def test_images_pass_through_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunking, "CHUNK", 2**16)
    monkeypatch.setattr(chunking, "SHARD", 2**19)
    run = run_of(frames(tmp_path, 128, (128, 256)))
    tracemalloc.start()
    try:
        run.to_zarr(tmp_path / "run.zarr", target_chunk="512 KiB")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2**23, f"of 16 MiB {peak / 2**20:.1f} were held at once"
    xr.testing.assert_identical(beside(run, f"{tmp_path}/run.zarr").primary.read(), run.primary.read())


def test_external_arrays_are_told_of_where_they_are_not_written(tmp_path: Path) -> None:
    for name in ("stream_hdf5", "ad_hdf5", "missing_file"):
        folder = tmp_path / name
        folder.mkdir()
        run = run_of(EXAMPLES[name](folder))
        url = run.to_zarr(folder / "run.zarr", external="reference")
        tree = xr.open_datatree(url, decode_times=False, zarr_format=3)
        expected = run.to_datatree(on_missing="fill")
        for stream in run:
            told = json.loads(tree[stream].attrs.get("external", "{}"))
            assert set(tree[stream].data_vars) == set(expected[stream].data_vars) - told.keys()
            for key, one in told.items():
                assert tuple(one["shape"]) == expected[stream][key].shape
                assert np.dtype(one["dtype"]) == expected[stream][key].dtype
                assert set(one["files"]) <= {file.path for file in run.files()}
                uids = {doc["uid"] for kind, doc in run.documents() if kind in ("resource", "stream_resource")}
                assert {doc["uid"] for doc in one["resources"]} <= uids
                assert one["resources"]
                assert key not in (ZarrRun(url).arrays(stream) or {})
        assert any("external" in tree[stream].attrs for stream in run)
    with pytest.raises(ValueError, match="'embed', 'reference'"):
        run.to_zarr(tmp_path / "x.zarr", external="copy")  # type: ignore[arg-type]


def test_keys_and_streams_can_be_chosen(tmp_path: Path) -> None:
    run = run_of(EXAMPLES["scan"](tmp_path))
    keys = {name: list(stream.to_dask().data_vars) for name, stream in ((name, run[name]) for name in run)}
    one = keys["primary"][0]
    tree = xr.open_datatree(run.to_zarr(tmp_path / "a.zarr", include=[one]), zarr_format=3)
    assert [name for name in tree.children if name != "config"] == [s for s in keys if one in run[s].keys]
    tree = xr.open_datatree(run.to_zarr(tmp_path / "b.zarr", streams=["primary"], exclude=[one]), zarr_format=3)
    assert list(tree["primary"].data_vars) == [key for key in keys["primary"] if key != one]
    assert "baseline" not in tree.children
    with pytest.raises(KeyError, match="has no key 'nowhere'"):
        run.to_zarr(tmp_path / "c.zarr", include=["nowhere"])
    with pytest.raises(TypeError, match="'decode_times'"):
        run.to_zarr(tmp_path / "c.zarr", decode_times=True)
    assert not (tmp_path / "c.zarr").exists()


def test_groups_whose_names_begin_alike(tmp_path: Path) -> None:
    run = RunComposer("names")
    block = {"data": {"gain": 1}, "data_keys": {"gain": data_key("integer")}, "timestamps": {"gain": 0.0}}
    for stream in ("a", "a-b", "a b", "a.b", "a/b", "config", "c"):
        primary = run.descriptor({"c": data_key("number")}, stream=stream, configuration={"d": block, "d-1": block})
        run.event(primary, {"c": 1.5})
    opened = run_of(run.documents)
    url = opened.to_zarr(tmp_path / "run.zarr")
    tree = xr.open_datatree(url, decode_times=False, zarr_format=3)
    assert list(tree.groups) == list(opened.to_datatree().groups)
    for group in tree.groups[1:]:
        names = set(tree[group].data_vars)
        assert names == set(opened.to_datatree()[group].data_vars)
        # A group that is opened by itself needs no other.
        assert set(xr.open_zarr(url, group=group, decode_times=False, zarr_format=3).data_vars) == names


def test_texts_in_which_nul_was_replaced_are_left_to_the_events(tmp_path: Path) -> None:
    run = RunComposer("nul")
    primary = run.descriptor({"plain": data_key("string"), "nul": data_key("string")})
    run.event(primary, {"plain": "a", "nul": "nul \0"})
    opened = run_of(run.documents)
    url = opened.to_zarr(tmp_path / "run.zarr")
    assert list(ZarrRun(url).arrays("primary") or ()) == ["plain"]
    assert beside(opened, url).primary.read()["nul"].values.tolist() == ["nul \0"]


def test_attributes_are_json(tmp_path: Path) -> None:
    limits = {"control": {"low": float("-inf"), "high": float("nan")}}
    run = RunComposer("attributes", sample={"x": float("inf")})
    run.event(run.descriptor({"x": data_key("number", limits=limits)}), {"x": 1.0})
    url = run_of(run.documents).to_zarr(tmp_path / "run.zarr")
    attrs = xr.open_zarr(url, group="primary", zarr_format=3)["x"].attrs
    assert (attrs["limits_control_low"], attrs["limits_control_high"]) == ("-Infinity", "NaN")
    for path in Path(url).rglob("zarr.json"):
        json.loads(path.read_text(), parse_constant=pytest.fail)
    assert zarr.open_group(url, mode="r").metadata.consolidated_metadata is not None
