"""Filling goes by frame, the same whether arrays are read whole or in parts."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile

from intake_bluesky.assets import AssetArray, AssetOptions, datum_array
from tests.assets.by_hand import Array, asset, frames, key, opened, write

FRAMES = frames(6, (4, 5)) + np.uint16(1)


def legacy(
    spec: str, folder: Path, path: str, shape: tuple[int, ...], datums: list[dict[str, int]], **kwargs: object
) -> AssetArray:
    resource = {"uid": "r", "spec": spec, "root": str(folder), "resource_path": path, "resource_kwargs": kwargs}
    known = {f"r/{row}": ("r", own) for row, own in enumerate(datums)}
    return datum_array(list(known), "det", key(*shape), {"r": resource}, known, AssetOptions(on_missing="fill"))


def sequence(folder: Path) -> AssetArray:
    """Three files an event, the second of the second event gone."""
    for number in (0, 1, 2, 3, 5):
        tifffile.imwrite(folder / f"t_{number:06d}.tiff", FRAMES[number])
    points = [{"point_number": 0}, {"point_number": 1}]
    return legacy("AD_TIFF", folder, "", (3, 4, 5), points, template="%s%s_%6.6d.tiff", filename="t", frame_per_point=3)


def virtual(folder: Path) -> AssetArray:
    """A dataset of six files, one of them gone."""
    layout = h5py.VirtualLayout((6, 4, 5), "<u2")
    for number in range(6):
        layout[number] = h5py.VirtualSource(
            write(folder / f"{number}.h5", FRAMES[number : number + 1]), "entry/data/data", (1, 4, 5)
        )[0]
    with h5py.File(folder / "all.h5", "w") as file:
        file.create_virtual_dataset("entry/data/data", layout)
    (folder / "4.h5").unlink()
    return opened(asset(folder / "all.h5", [(1, 3, 0, 2)], multiplier=3), key(3, 4, 5), 2, on_missing="fill")


def damaged(folder: Path) -> AssetArray:
    """A compressed dataset, one chunk of which is damaged: the lower half of a frame."""
    path = write(folder / "a.h5", FRAMES, chunks=(1, 2, 5), compression="gzip")
    with h5py.File(path) as file:
        chunk = file["entry/data/data"].id.get_chunk_info_by_coord((4, 2, 0))
    with path.open("r+b") as file:
        file.seek(chunk.byte_offset)
        file.write(b"\0" * chunk.size)
    return opened(asset(path, [(1, 3, 0, 2)], multiplier=3), key(3, 4, 5), 2, on_missing="fill")


@pytest.mark.parametrize("make", [sequence, virtual, damaged])
def test_one_frame_is_missing(tmp_path: Path, make: object) -> None:
    array: AssetArray = make(tmp_path)  # type: ignore[operator]
    expected = FRAMES.reshape(2, 3, 4, 5).copy()
    expected[1, 1] = 0
    np.testing.assert_array_equal(array.read(), expected)
    for index in parts():
        np.testing.assert_array_equal(array[index], expected[index], err_msg=str(index))
        np.testing.assert_array_equal(array.dask()[index].compute(), expected[index], err_msg=str(index))


def parts() -> Iterator[tuple[int | slice, ...]]:
    return product((0, 1, slice(None)), (1, slice(0, 2), slice(None)), (0, slice(0, 2), slice(None)))


def test_a_file_ends_within_an_event(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5", FRAMES[:5])
    array = opened(asset(path, [(1, 4, 0, 3)], multiplier=3), key(3, 4, 5), 3, on_missing="fill")
    expected: Array = np.concatenate([FRAMES[:5], np.zeros((4, 4, 5), "<u2")]).reshape(3, 3, 4, 5)
    np.testing.assert_array_equal(array.read(), expected)
    np.testing.assert_array_equal(array[1, 1:], expected[1, 1:])
    assert array.missing.tolist() == [1, 2]


def test_a_series_that_was_aborted(tmp_path: Path) -> None:
    for number in (1, 2):
        write(tmp_path / f"e_7_data_{number:06d}.h5", FRAMES[3 * number - 3 : 3 * number])
    with h5py.File(tmp_path / "e_7_master.h5", "w") as file:
        for number in range(1, 5):
            file[f"entry/data/data_{number:06d}"] = h5py.ExternalLink(f"e_7_data_{number:06d}.h5", "/entry/data/data")
    array = legacy("AD_EIGER", tmp_path, "e", (4, 5, 0), [{"seq_id": 7}], images_per_file=3)
    np.testing.assert_array_equal(array.read()[0], np.concatenate([FRAMES, np.zeros((6, 4, 5), "<u2")]))
    np.testing.assert_array_equal(array[0, 4:8], np.concatenate([FRAMES[4:], np.zeros((2, 4, 5), "<u2")]))


def test_a_datum_without_its_arguments_costs_its_row(tmp_path: Path) -> None:
    write(tmp_path / "x.h5", np.arange(48.0).reshape(3, 2, 8), dataset="entry/instrument/detector/data")
    datums = [{}, {"frame": 1, "channel": 1}, {"frame": 2, "channel": 1}, {"frame": -1, "channel": 1}]
    array = legacy("XSP3", tmp_path, "x.h5", (8,), datums)
    np.testing.assert_array_equal(array.read()[:, 0], [np.nan, 16, 32, np.nan])
