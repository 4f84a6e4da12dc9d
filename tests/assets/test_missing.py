"""Files that are gone, short, long or of a kind that nothing reads: the rest opens, and the error says what to do."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from intake_bluesky.errors import ArrayTooLarge, AssetUnavailable, MissingDependency
from tests.assets.by_hand import asset, both, frames, key, opened, write


def test_gone(tmp_path: Path) -> None:
    array = opened(asset(tmp_path / "gone.h5", [(1, 4, 0, 3)]), key(1, 4, 6, dtype_numpy="<u2"), 3)
    described = array.dask()
    assert (described.shape, described.dtype) == ((3, 1, 4, 6), np.uint16)
    for compute in (array.read, lambda: described.compute(scheduler="sync")):
        with pytest.raises(AssetUnavailable, match=r"'det'.*gone\.h5.*no such file.*root_map"):
            compute()


@pytest.mark.parametrize("dtype", ["<u2", "<f8"])
def test_gone_and_filled(tmp_path: Path, dtype: str) -> None:
    streamed = asset(tmp_path / "gone.h5", [(1, 4, 0, 3)])
    observed = both(opened(streamed, key(4, 6, dtype_numpy=dtype), 3, on_missing="fill"))
    assert np.isnan(observed).all() if dtype == "<f8" else (observed == 0).all()


def test_one_file_gone_of_two(tmp_path: Path) -> None:
    here = write(tmp_path / "b.h5", frames(2))
    assets = [asset(tmp_path / "a.h5", [(1, 3, 0, 2)]), asset(here, [(3, 5, 0, 2)])]
    array = opened(assets, key(1, 4, 6), 4)
    assert array.dtype == np.uint16
    np.testing.assert_array_equal(array.dask()[2:].compute(scheduler="sync")[:, 0], frames(2))
    observed = both(opened(assets, key(1, 4, 6), 4, on_missing="fill"))
    np.testing.assert_array_equal(observed[:, 0], np.concatenate([np.zeros((2, 4, 6)), frames(2)]))


def test_moved_and_found(one_file: Path) -> None:
    streamed = asset("/beamline/raw/one.h5", [(1, 3, 0, 2)])
    observed = both(opened(streamed, key(4, 6), 2, root_map={"/beamline/raw": str(one_file.parent)}))
    np.testing.assert_array_equal(observed, frames(2))


def test_shorter_than_declared(one_file: Path) -> None:
    streamed = asset(one_file, [(1, 13, 0, 12)])
    array = opened(streamed, key(4, 6), 12)
    assert array.missing.tolist() == [10, 11]
    with pytest.raises(
        AssetUnavailable, match=r"2 of 12 rows.*one\.h5 has frames for 10 events.*speak of 12.*trim=True"
    ):
        array.read()
    filled = both(opened(streamed, key(4, 6), 12, on_missing="fill"))
    np.testing.assert_array_equal(filled, np.concatenate([frames(10), np.zeros((2, 4, 6))]))


def test_shapes_that_fit_into_no_memory(one_file: Path) -> None:
    huge = key(1_000_000_000, 4, 6, dtype_numpy="<u2")
    with pytest.raises(AssetUnavailable, match="has no frames for 6 of 6 rows"):
        opened(asset(one_file, []), huge, 6).read()
    # More than a process may address: refused on every machine.
    filled = opened(asset(one_file, []), key(2**30, 2**8, 4, dtype_numpy="<f8"), 100)
    with pytest.raises(ArrayTooLarge, match=r"'det' takes 819,200 GiB, as float64 .*to_dask") as caught:
        filled.read()
    assert isinstance(caught.value, MemoryError)


def test_rows_that_are_there_compute_beside_rows_that_are_not(one_file: Path) -> None:
    described = opened(asset(one_file, [(1, 13, 0, 12)]), key(4, 6), 12, target_chunk=48 * 5).dask()
    assert described.chunks[0] == (5, 5, 2)
    np.testing.assert_array_equal(described[:10].compute(scheduler="sync"), frames(10))
    with pytest.raises(AssetUnavailable, match="2 of 12 rows"):
        described[9:11].compute(scheduler="sync")


def test_floats_of_rows_without_frames_are_nan(tmp_path: Path) -> None:
    path = write(tmp_path / "x.h5", frames(9, dtype="<f8"))
    observed = both(opened(asset(path, [(1, 11, 0, 10)]), key(1, 4, 6), 10))
    np.testing.assert_array_equal(observed[:9, 0], frames(9))
    assert np.isnan(observed[9]).all()


def test_rows_that_no_stream_datum_speaks_of(one_file: Path) -> None:
    streamed = asset(one_file, [(2, 4, 0, 2), (6, 8, 2, 4)])
    array = opened(streamed, key(4, 6), 8)
    assert array.missing.tolist() == [0, 3, 4, 7]
    with pytest.raises(AssetUnavailable, match="4 of 8 rows"):
        array.read()
    observed = both(opened(streamed, key(4, 6), 8, on_missing="fill"))
    np.testing.assert_array_equal(observed[[1, 2, 5, 6]], frames(4))
    assert not observed[[0, 3, 4, 7]].any()


def test_an_event_of_which_frames_are_missing_is_missing(one_file: Path) -> None:
    array = opened(asset(one_file, [(1, 5, 0, 4)]), key(3, 4, 6), 4)
    assert array.missing.tolist() == [3], "ten frames are three events and one frame"


def test_longer_than_declared(one_file: Path) -> None:
    np.testing.assert_array_equal(both(opened(asset(one_file, [(1, 4, 0, 3)]), key(4, 6), 3)), frames(3))


def test_shorter_since_it_was_opened(one_file: Path) -> None:
    array = opened(asset(one_file, [(1, 11, 0, 10)]), key(4, 6), 10)
    write(one_file, frames(4))
    with pytest.raises(AssetUnavailable, match="has 4 frames"):
        array.read()


@pytest.mark.parametrize("content", [b"", b"not HDF5 at all", b"\x89HDF\r\n\x1a\n" + b"\0" * 100])
def test_not_hdf5(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.h5"
    path.write_bytes(content)
    array = opened(asset(path, [(1, 4, 0, 3)]), key(4, 6), 3)
    with pytest.raises(AssetUnavailable, match=r"x\.h5.*does not open as HDF5"):
        array.read()


def test_truncated(one_file: Path) -> None:
    content = one_file.read_bytes()
    one_file.write_bytes(content[: len(content) // 2])
    with pytest.raises(AssetUnavailable, match="truncated"):
        opened(asset(one_file, [(1, 4, 0, 3)]), key(4, 6), 3).read()


def test_no_such_dataset_and_no_dataset(one_file: Path) -> None:
    with pytest.raises(AssetUnavailable, match="no dataset '/nowhere'"):
        opened(asset(one_file, [(1, 4, 0, 3)], dataset="/nowhere"), key(4, 6), 3).read()
    with pytest.raises(AssetUnavailable, match="no array"):
        opened(asset(one_file, [(1, 4, 0, 3)], dataset="/entry"), key(4, 6), 3).read()


def test_unknown_mimetype(tmp_path: Path) -> None:
    streamed = asset(tmp_path / "x.odd", [(1, 4, 0, 3)], mimetype="application/x-odd")
    described = opened(streamed, key(1, 4, 6, dtype_numpy="<u2"), 3).dask()
    assert (described.shape, described.dtype) == ((3, 1, 4, 6), np.uint16)
    with pytest.raises(AssetUnavailable, match=r"'det'.*'application/x-odd'; those read are.*application/x-hdf5"):
        described.compute(scheduler="sync")


@pytest.mark.parametrize("parameters", [{"multiplier": "many"}, {"slice": "[a:b]"}])
def test_parameters_without_meaning(one_file: Path, parameters: dict[str, str]) -> None:
    with pytest.raises(AssetUnavailable, match="HDF5Reader cannot make sense of the parameters"):
        opened(asset(one_file, [(1, 4, 0, 3)], **parameters), key(4, 6), 3).read()


@pytest.mark.parametrize("wanted", ["[99]", "[:, :, :, 0]", "[..., ...]"])
def test_a_slice_that_does_not_fit(one_file: Path, wanted: str) -> None:
    with pytest.raises(AssetUnavailable, match=r"the slice of '/entry/data/data' of .*one\.h5"):
        opened(asset(one_file, [(1, 4, 0, 3)], slice=wanted), key(4, 6), 3).read()


def test_a_slice_that_leaves_no_frames(one_file: Path) -> None:
    with pytest.raises(AssetUnavailable, match="leaves no axis that counts frames"):
        opened(asset(one_file, [(1, 2, 0, 1)], slice="[0, 0, 0]"), key(), 1).read()


def test_without_h5py(one_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    array = opened(asset(one_file, [(1, 4, 0, 3)]), key(4, 6, dtype_numpy="<u2"), 3, on_missing="fill")
    assert array.dtype == np.uint16
    with pytest.raises(MissingDependency, match=r'pip install "h5py>='):
        array.read()


WITHOUT_PLUGIN = """
import sys
sys.modules["hdf5plugin"] = None
import numpy as np
from intake_bluesky.assets import stream_asset_array
from intake_bluesky.documents.model import StreamAsset
resource = {"uid": "r", "mimetype": "application/x-hdf5", "uri": sys.argv[1], "parameters": {}}
assets = [StreamAsset(resource, "det", "d", ((1, 4, 0, 3),))]
array = stream_asset_array(assets, "det", {"shape": [4, 6]}, np.arange(1, 4))
try:
    array.read()
except ImportError as error:
    print(error)
"""


def test_without_the_decompressor(tmp_path: Path) -> None:
    import hdf5plugin

    path = write(tmp_path / "z.h5", frames(3), **hdf5plugin.Bitshuffle())
    done = subprocess.run([sys.executable, "-c", WITHOUT_PLUGIN, str(path)], capture_output=True, text=True, check=True)
    assert "hdf5plugin is needed to decompress" in done.stdout
    assert 'pip install "hdf5plugin>=4.4"' in done.stdout


def test_importing_assets_loads_neither_h5py_nor_handlers() -> None:
    code = "import sys, intake_bluesky.assets; print(*sorted({'h5py', 'area_detector_handlers'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_h5py_of_the_user_is_not_in_the_way(one_file: Path) -> None:
    array = opened(asset(one_file, [(1, 11, 0, 10)]), key(4, 6), 10)
    with h5py.File(one_file, "r"):
        np.testing.assert_array_equal(both(array), frames(10))
    with h5py.File(one_file, "a") as file:
        file.attrs["touched"] = True
