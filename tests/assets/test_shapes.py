"""Which part of a file an event is, where data keys, resources and files have shapes of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile
import zarr

from intake_bluesky.assets import AssetArray, datum_array, stream_asset_array
from intake_bluesky.assets.event_layout import EventLayout
from intake_bluesky.assets.reader import FrameStructure
from intake_bluesky.documents.model import StreamAsset
from intake_bluesky.errors import AssetUnavailable
from tests.assets.by_hand import HDF5, asset, both, frames, key, opened, write

IMAGE = np.arange(20, dtype="<u2").reshape(4, 5)
ZARR, TIFF, CSV = "application/x-zarr", "multipart/related;type=image/tiff", "text/csv;header=absent"


def written(folder: Path, mimetype: str, values: Any) -> str:
    """One array, in the only file of a resource."""
    path = folder / "one"
    if mimetype == HDF5:
        with h5py.File(path, "w") as file:
            file["/entry/data/data"] = values
    elif mimetype == ZARR:
        zarr.save_array(str(path), values)
    elif mimetype == TIFF:
        tifffile.imwrite(path, values, photometric="minisblack")
    else:
        np.savetxt(path, values, fmt="%d", delimiter=",")
    return str(path)


def streamed(path: str, mimetype: str, spec: dict[str, Any], events: int, **parameters: Any) -> AssetArray:
    resource = {"uid": "r", "data_key": "det", "mimetype": mimetype, "uri": path, "parameters": parameters}
    return stream_asset_array(
        [StreamAsset(resource, "det", "d", ((1, events + 1, 0, events),))], "det", spec, np.arange(1, events + 1)
    )


def legacy(path: str, spec: dict[str, Any], points: int, **kwargs: Any) -> AssetArray:
    resource = {"uid": "r", "spec": "AD_HDF5", "root": "", "resource_path": path, "resource_kwargs": kwargs}
    known = {f"r/{number}": ("r", {"point_number": number}) for number in range(points)}
    return datum_array(list(known), "det", spec, {"r": resource}, known)


@pytest.mark.parametrize("mimetype", [HDF5, ZARR, CSV])
@pytest.mark.parametrize("parameters", [{}, {"multiplier": 1}, {"multiplier": 0}])
def test_a_dataset_of_the_declared_shape_is_one_frame(
    tmp_path: Path, mimetype: str, parameters: dict[str, int]
) -> None:
    path = written(tmp_path, mimetype, IMAGE)
    array = streamed(path, mimetype, key(1, 4, 5, dtype_numpy="<u2"), 1, **parameters)
    np.testing.assert_array_equal(both(array), IMAGE[np.newaxis, np.newaxis])
    np.testing.assert_array_equal(array[0, 0, 1:3, ::2], IMAGE[1:3, ::2])


@pytest.mark.parametrize("declared", [(4, 5), (1, 4, 5)])
def test_an_image_a_file_of_a_legacy_resource(tmp_path: Path, declared: tuple[int, ...]) -> None:
    array = legacy(written(tmp_path, HDF5, IMAGE), key(*declared), 1, frame_per_point=1)
    np.testing.assert_array_equal(both(array), IMAGE.reshape(1, *declared))


def test_spectra_that_are_declared_as_images_are_one_an_event(tmp_path: Path) -> None:
    array = streamed(written(tmp_path, HDF5, IMAGE), HDF5, key(4, 5), 4, multiplier=1)
    np.testing.assert_array_equal(both(array), IMAGE[:, np.newaxis])


@pytest.mark.parametrize("mimetype", [HDF5, ZARR])
def test_what_cannot_be_told_is_an_error(tmp_path: Path, mimetype: str) -> None:
    path = written(tmp_path, mimetype, np.concatenate([IMAGE, IMAGE]))
    array = streamed(path, mimetype, key(2, 4, 5, dtype_numpy="<u2"), 1)
    with pytest.raises(AssetUnavailable, match=r"\[2, 4, 5\].*\[8, 5\].*first axis counts frames"):
        array.read()


@pytest.mark.parametrize("declared", [(5, 4, 1), (1, 5, 4), (5, 4), (5, 4, 0), (5, 1, 4)])
@pytest.mark.parametrize("mimetype", [HDF5, ZARR, TIFF])
@pytest.mark.parametrize("parameters", [{}, {"multiplier": 1}])
def test_width_before_height_leaves_every_pixel_in_its_place(
    tmp_path: Path, mimetype: str, declared: tuple[int, ...], parameters: dict[str, int]
) -> None:
    stored = frames(3, (4, 5))
    array = streamed(written(tmp_path, mimetype, stored), mimetype, key(*declared), 3, **parameters)
    assert array.shape[-2:] == (4, 5)
    np.testing.assert_array_equal(both(array).reshape(3, 4, 5), stored)


@pytest.mark.parametrize("declared", [(0, 4, 5), (4, 5), (1, 4, 5)])
def test_zero_frames_an_event_say_nothing(tmp_path: Path, declared: tuple[int, ...]) -> None:
    path = written(tmp_path, HDF5, frames(6, (4, 5)))
    with pytest.raises(AssetUnavailable, match="gives 0 frames per event"):
        legacy(path, key(*declared), 2, frame_per_point=0).read()
    np.testing.assert_array_equal(both(legacy(path, key(*declared), 6, frame_per_point=0)).squeeze(), frames(6, (4, 5)))
    np.testing.assert_array_equal(
        both(legacy(path, key(3, 4, 5), 2, frame_per_point=0)), frames(6, (4, 5)).reshape(2, 3, 4, 5)
    )


@pytest.mark.parametrize(
    "declared", [(), (5,), (4, 5), (5, 4), (1, 5, 4), (2, 4, 5), (20,), (10, 2), (2, 2, 5), (0, 0)]
)
@pytest.mark.parametrize("multiplier", [None, 0, 1, 2])
@pytest.mark.parametrize("stored", [(8,), (4, 5), (8, 4, 5), (2, 20)])
def test_values_have_the_axes_of_their_frames(
    declared: tuple[int, ...], multiplier: int | None, stored: tuple[int, ...]
) -> None:
    structure = FrameStructure(stored[0], stored[1:], np.dtype("u2"))
    try:
        layout = EventLayout.of({"shape": declared}, structure, multiplier=multiplier, events=2)
    except AssetUnavailable:
        return
    whole = (layout.frames, *layout.frame_shape)
    assert [n for n in layout.event_shape if n != 1] == [n for n in whole if n != 1]


@pytest.mark.parametrize(
    ("spec", "more"),
    [
        (key(4, 6), {"multiplier": 10**12}), (key(4, 6), {"multiplier": 10**39}), (key(10**12, 4, 6), {}),
        (key(2**70, 4, 6), {}),
    ],
)  # fmt: skip
@pytest.mark.parametrize("there", [True, False])
def test_frames_that_no_file_has_are_not_planned_for(
    spec: dict[str, Any], more: dict[str, Any], there: bool, tmp_path: Path
) -> None:
    path = write(tmp_path / "a.h5", frames(10)) if there else tmp_path / "gone.h5"
    array = opened(asset(path, [(1, 3, 0, 2)], **more), spec, 2)
    assert array.dask().npartitions < 10
    for ask in (array.read, array.dask().compute):
        with pytest.raises(AssetUnavailable):
            ask()
