"""SPE files, against imageio's reader and against the maker's description of the format."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
import pytest

from intake_bluesky.assets.images.spe import SpeReader
from intake_bluesky.assets.location import Location
from intake_bluesky.assets.region import Region
from intake_bluesky.errors import AssetUnavailable
from tests.assets.by_hand import Array, frames
from tests.assets.files_by_hand import spe


def reader(folder: Path, frame_per_point: int, **more: Any) -> SpeReader:
    names = {"template": "%s%s_%3.3d.spe", "filename": "img"}
    return SpeReader.of(Location(str(folder)), {**names, "frame_per_point": frame_per_point, **more})


def read(folder: Path, count: int) -> Array:
    """The frames of the first point."""
    header = reader(folder, count).structure()
    out: Array = np.empty((count, *header.frame_shape), header.dtype)
    reader(folder, count).read_into(0, count, out)
    return out


@pytest.mark.parametrize("version", [2.5, 3.0])
@pytest.mark.parametrize("dtype", ["<f4", "<i4", "<i2", "<u2", "<u4"])
def test_as_imageio_reads_them(tmp_path: Path, version: float, dtype: str) -> None:
    if version >= 3 and "i" in dtype:
        dtype = "<u2"  # version 3 has no signed ones
    path = spe(tmp_path / "img_000.spe", frames(4, (5, 7), dtype=dtype), version=version)
    expected = iio.imread(path, plugin="SPE")
    observed = read(tmp_path, 4)
    assert observed.dtype == expected.dtype
    np.testing.assert_array_equal(observed, expected)


@pytest.mark.parametrize("dtype", ["<f8", "|u1"])
def test_data_types_that_imageio_does_not_know(tmp_path: Path, dtype: str) -> None:
    data = frames(2, (5, 7), dtype=dtype)
    spe(tmp_path / "img_000.spe", data)
    assert read(tmp_path, 2).dtype == np.dtype(dtype)
    np.testing.assert_array_equal(read(tmp_path, 2), data)


def test_what_lies_between_frames_is_no_pixels(tmp_path: Path) -> None:
    data = frames(3, (5, 7))
    spe(tmp_path / "img_000.spe", data, version=3.0, tracking=24)
    np.testing.assert_array_equal(read(tmp_path, 3), data)


def test_spectra(tmp_path: Path) -> None:
    data = frames(50, (1, 134), dtype="<f4")
    spe(tmp_path / "img_000.spe", data)
    np.testing.assert_array_equal(read(tmp_path, 50), data)


def test_a_region(tmp_path: Path) -> None:
    data = frames(3, (20, 30))
    spe(tmp_path / "img_000.spe", data)
    out = np.empty((2, 4, 6), "<u2")
    reader(tmp_path, 3).read_into(1, 3, out, Region((range(5, 9), range(10, 16))))
    np.testing.assert_array_equal(out, data[1:, 5:9, 10:16])


def test_a_file_a_point(tmp_path: Path) -> None:
    data = frames(6, (5, 7))
    for number in range(3):
        spe(tmp_path / f"img_{number:03d}.spe", data[2 * number : 2 * number + 2])
    out = np.empty((4, 5, 7), "<u2")
    reader(tmp_path, 2).read_into(1, 5, out)
    np.testing.assert_array_equal(out, data[1:5])


def test_fewer_frames_than_a_point_has(tmp_path: Path) -> None:
    spe(tmp_path / "img_000.spe", frames(2, (5, 7)))
    with pytest.raises(AssetUnavailable, match=r"img_000\.spe has 2 frames.*3"):
        reader(tmp_path, 3).structure()
    with pytest.raises(AssetUnavailable, match=r"img_000\.spe has 2 frames, frame 2 was asked"):
        reader(tmp_path, 3).read_into(0, 3, np.empty((3, 5, 7), "<u2"))


@pytest.mark.parametrize("cut", [0, 100, 4099, 4100, 4150])
def test_cut_anywhere(tmp_path: Path, cut: int) -> None:
    path = spe(tmp_path / "img_000.spe", frames(2, (5, 7)))
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(AssetUnavailable, match=r"img_000\.spe"):
        reader(tmp_path, 2).read_into(0, 2, np.empty((2, 5, 7), "<u2"))


@pytest.mark.parametrize(("at", "form", "value"), [(42, "<H", 0), (108, "<h", 4), (108, "<h", -1), (1446, "<i", -1)])
def test_a_header_without_meaning(tmp_path: Path, at: int, form: str, value: int) -> None:
    path = spe(tmp_path / "img_000.spe", frames(2, (5, 7)))
    content = bytearray(path.read_bytes())
    struct.pack_into(form, content, at, value)
    path.write_bytes(content)
    with pytest.raises(AssetUnavailable, match=r"img_000\.spe is no SPE file: its header"):
        reader(tmp_path, 2).structure()


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        (b"<SpeFormat", b"<!DOCTYPE x [<!ENTITY a 'b'>]><SpeFormat", "entities"),
        (b'type="Frame"', b'type="Other"', "does not say what its frames are"),
        (b"</SpeFormat>", b"", "damaged"),
        (b'stride="70">', b'stride="10">', "10 bytes apart"),
    ],
)
def test_a_footer_without_meaning(tmp_path: Path, before: bytes, after: bytes, says: str) -> None:
    path = spe(tmp_path / "img_000.spe", frames(2, (5, 7)), version=3.0)
    content = path.read_bytes()
    assert before in content
    path.write_bytes(content.replace(before, after))
    with pytest.raises(AssetUnavailable, match=rf"img_000\.spe.*{says}|{says}.*img_000\.spe"):
        reader(tmp_path, 2).structure()


def test_several_regions_of_one_shape(tmp_path: Path) -> None:
    first, second = frames(2, (5, 7)), frames(2, (5, 7), first=2)
    spe(tmp_path / "img_000.spe", first, second, version=3.0, tracking=8)
    np.testing.assert_array_equal(read(tmp_path, 2), np.stack([first, second], 1))
    out = np.empty((1, 1, 2, 3), "<u2")
    reader(tmp_path, 2).read_into(1, 2, out, Region((range(1, 2), range(2, 4), range(3, 6))))
    np.testing.assert_array_equal(out, second[1:, np.newaxis, 2:4, 3:6])


def test_several_regions_of_several_shapes_are_not_one_image(tmp_path: Path) -> None:
    first, second = frames(2, (5, 7)), frames(2, (3, 2), first=20)
    spe(tmp_path / "img_000.spe", first, second, version=3.0, tracking=8)
    with pytest.raises(AssetUnavailable, match=r"img_000\.spe has 2 regions of interest of the shapes.*'region'"):
        reader(tmp_path, 2).structure()
    for number, region in enumerate((first, second)):
        one = reader(tmp_path, 2, region=number)
        out = np.empty((2, *one.structure().frame_shape), "<u2")
        one.read_into(0, 2, out)
        np.testing.assert_array_equal(out, region)
    with pytest.raises(AssetUnavailable, match="has 2 regions of interest, region 2 was asked"):
        reader(tmp_path, 2, region=2).structure()


def test_remote(tmp_path: Path) -> None:
    import fsspec

    data: Any = frames(2, (5, 7))
    fs = fsspec.filesystem("memory")
    fs.pipe("/spe/img_000.spe", spe(tmp_path / "x.spe", data, version=3.0).read_bytes())
    out = np.empty((2, 5, 7), "<u2")
    names = {"template": "%s%s_%3.3d.spe", "filename": "img", "frame_per_point": 2}
    SpeReader.of(Location("memory://spe"), names).read_into(0, 2, out)
    np.testing.assert_array_equal(out, data)
