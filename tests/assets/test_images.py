"""What files of images there are: TIFF, JPEG, NumPy and CBF in their variety, whole and damaged."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import fabio
import numpy as np
import pytest
import tifffile
from PIL import Image

from intake_bluesky.assets.images.cbf import CbfReader
from intake_bluesky.assets.images.npy import NpySequenceReader
from intake_bluesky.assets.images.sequence import SequenceReader
from intake_bluesky.assets.images.tiff import TiffReader
from intake_bluesky.assets.location import Location
from intake_bluesky.assets.region import Region
from intake_bluesky.errors import AssetUnavailable, MissingDependency
from tests.assets.by_hand import Array, asset, both, frames, key, opened
from tests.assets.files_by_hand import cbfs
from tests.assets.formats import JPEG, TIFF, tiffs

NPY = "multipart/related;type=application/x-npy"
RGB = frames(1, (16, 32, 3), dtype="u2")[0]
GREY = frames(1, (64, 48))[0]

KINDS: dict[str, Any] = {
    "big-endian": partial(tifffile.imwrite, data=GREY, byteorder=">"),
    "big-endian-floats": partial(tifffile.imwrite, data=GREY.astype("f8"), byteorder=">"),
    "deflate": partial(tifffile.imwrite, data=GREY, compression="zlib"),
    "deflate-predictor": partial(tifffile.imwrite, data=GREY, compression="zlib", predictor=True),
    "lzma": partial(tifffile.imwrite, data=GREY, compression="lzma"),
    "tiles": partial(tifffile.imwrite, data=GREY, tile=(16, 16)),
    "strips": partial(tifffile.imwrite, data=GREY, rowsperstrip=5),
    "one-bit": partial(tifffile.imwrite, data=GREY % 2 == 1),
    "signed": partial(tifffile.imwrite, data=-GREY.astype("i4")),
    "bytes": partial(tifffile.imwrite, data=GREY.astype("i1")),
    "floats": partial(tifffile.imwrite, data=GREY.astype("f4")),
    "rgb": partial(tifffile.imwrite, data=RGB, photometric="rgb"),
    "rgb-planar": partial(
        tifffile.imwrite, data=RGB.transpose(2, 0, 1), photometric="rgb", planarconfig="separate", byteorder=">"
    ),
    "bigtiff": partial(tifffile.imwrite, data=GREY, bigtiff=True),
    "ome": partial(tifffile.imwrite, data=GREY, ome=True),
    "imagej": partial(tifffile.imwrite, data=GREY, imagej=True),
}


def read(folder: Path, mimetype: str, template: str, rows: int = 1, *, frame: tuple[int, ...] = (4, 6)) -> Array:
    streamed = asset(f"{folder}/", [(1, rows + 1, 0, rows)], mimetype=mimetype, template=template)
    return both(opened(streamed, key(1, *frame), rows))


@pytest.mark.parametrize("kind", KINDS)
def test_kinds_of_tiff(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x_0.tiff"
    KINDS[kind](path)
    expected = tifffile.imread(path)
    observed = read(tmp_path, TIFF, "x_{:d}.tiff", frame=expected.shape)[0, 0]
    assert observed.dtype == expected.dtype.newbyteorder("=")
    np.testing.assert_array_equal(observed, expected)
    region = Region(range(1, n - 1) for n in expected.shape)
    part: Array = np.empty(region.shape, observed.dtype)
    TiffReader.of(Location(f"{tmp_path}/"), {"template": "x_{:d}.tiff"}).read_into(0, 1, part[None], region)
    np.testing.assert_array_equal(part, expected[region.slices])


def test_values_go_where_a_wider_dtype_is_wanted(tmp_path: Path) -> None:
    tiffs(tmp_path, frames(2))
    out = np.empty((2, 4, 6))
    TiffReader.of(Location(f"{tmp_path}/"), {"template": "img_{:06d}.tiff"}).read_into(0, 2, out)
    np.testing.assert_array_equal(out, frames(2))


def test_thumbnails_are_no_frames(tmp_path: Path) -> None:
    for number, frame in enumerate(frames(2)):
        with tifffile.TiffWriter(tmp_path / f"x_{number}.tiff") as file:
            file.write(frame)
            file.write(frame[:2, :3])
    np.testing.assert_array_equal(read(tmp_path, TIFF, "x_{:d}.tiff", 2)[:, 0], frames(2))


def test_a_page_of_too_few_in_a_file(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "x_0.tiff", frames(5), photometric="minisblack")
    tifffile.imwrite(tmp_path / "x_1.tiff", frames(4), photometric="minisblack")
    streamed = asset(f"{tmp_path}/", [(1, 3, 0, 2)], mimetype=TIFF, template="x_{:d}.tiff", chunk_shape=[5, 4, 6])
    with pytest.raises(AssetUnavailable, match=r"x_1\.tiff has 4 frames, frame 4 was asked"):
        opened(streamed, key(5, 4, 6), 2).read()
    streamed = asset(f"{tmp_path}/", [(1, 2, 1, 2)], mimetype=TIFF, template="x_{:d}.tiff", chunk_shape=[5, 4, 6])
    with pytest.raises(AssetUnavailable, match=r"x_1\.tiff has 4 frames"):
        opened(streamed, key(5, 4, 6), 1).read()


def test_a_stack_that_is_shorter_than_declared(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "x.tiff", frames(5), photometric="minisblack")
    array = opened(asset(tmp_path / "x.tiff", [(1, 8, 0, 7)], mimetype=TIFF), key(1, 4, 6), 7)
    assert array.missing.tolist() == [5, 6]
    np.testing.assert_array_equal(array.dask()[:5].compute(scheduler="sync")[:, 0], frames(5))


@pytest.mark.parametrize("cut", [3, 8, 60, 150, 300])
def test_tiff_cut_anywhere(tmp_path: Path, cut: int) -> None:
    path = tiffs(tmp_path, frames(1))[0]
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(AssetUnavailable, match="img_000000"):
        read(tmp_path, TIFF, "img_{:06d}.tiff")


WITHOUT_CODECS = """
import sys
sys.modules["imagecodecs"] = None
from pathlib import Path
from tests.assets.test_images import read, TIFF
try:
    read(Path(sys.argv[1]), TIFF, "x_{:d}.tiff")
except ImportError as error:
    print(type(error).__name__, error)
"""


def test_compression_that_needs_a_package(tmp_path: Path) -> None:
    Image.fromarray(frames(1)[0]).save(tmp_path / "x_0.tiff", compression="tiff_lzw")
    command = [sys.executable, "-c", WITHOUT_CODECS, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    assert done.stdout.startswith("MissingDependency imagecodecs is needed to decompress")
    assert "x_0.tiff (LZW)" in done.stdout
    assert "pip install imagecodecs" in done.stdout


@pytest.mark.parametrize(
    ("module", "mimetype", "package"),
    [("tifffile", TIFF, "tifffile"), ("PIL", JPEG, "pillow")],
)
def test_without_the_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, mimetype: str, package: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    streamed = asset(f"{tmp_path}/", [(1, 2, 0, 1)], mimetype=mimetype, template="{:d}")
    array = opened(streamed, key(1, 4, 6, dtype_numpy="|u1"), 1, on_missing="fill")
    assert array.shape == (1, 1, 4, 6)
    assert array.dtype == np.uint8
    with pytest.raises(MissingDependency, match=rf'{package} is needed.*pip install "{package}>='):
        array.read()


def test_cbf_without_the_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fabio", None)
    with pytest.raises(MissingDependency, match=r'fabio is needed.*pip install "fabio>='):
        CbfReader.of(Location(str(tmp_path)), {"template": "%d.cbf"}).structure()


@pytest.mark.parametrize(("mode", "shape"), [("L", (8, 16)), ("RGB", (8, 16, 3)), ("CMYK", (8, 16, 4))])
def test_jpeg_of_each_colour(tmp_path: Path, mode: str, shape: tuple[int, ...]) -> None:
    Image.fromarray(frames(1, shape, dtype="u1")[0], mode=mode).save(tmp_path / "0.jpg")
    with Image.open(tmp_path / "0.jpg") as image:
        expected = np.asarray(image)
    assert expected.shape == shape
    np.testing.assert_array_equal(read(tmp_path, JPEG, "{:d}.jpg", frame=shape)[0, 0], expected)


def test_what_is_no_jpeg_is_not_read_as_one(tmp_path: Path) -> None:
    Image.fromarray(frames(1, dtype="u1")[0]).save(tmp_path / "0.jpg", format="PNG")
    with pytest.raises(AssetUnavailable, match=r"0\.jpg is damaged, or no JPEG file"):
        read(tmp_path, JPEG, "{:d}.jpg")


@pytest.mark.parametrize("dtype", ["<i4", ">i2", "|b1", "<c16", "<f4"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_numpy_files_of_each_dtype_and_order(tmp_path: Path, dtype: str, order: Any) -> None:
    data = frames(2, (4, 6), dtype=dtype)
    for number, frame in enumerate(data):
        np.save(tmp_path / f"img_{number}.npy", np.asarray(frame, order=order))
    observed = read(tmp_path, NPY, "img_{:d}.npy", 2)
    assert observed.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(observed[:, 0], data)


@pytest.mark.parametrize("order", ["C", "F"])
def test_numpy_files_of_several_frames(tmp_path: Path, order: Any) -> None:
    data = frames(6)
    for number in range(2):
        np.save(tmp_path / f"img_{number}.npy", np.asarray(data[3 * number : 3 * number + 3], order=order))
    streamed = asset(tmp_path / "img", [(1, 7, 0, 6)], mimetype=NPY, chunk_shape=[3, 4, 6])
    np.testing.assert_array_equal(both(opened(streamed, key(1, 4, 6), 6, target_chunk=100))[:, 0], data)


def test_numpy_files_of_single_numbers(tmp_path: Path) -> None:
    for number in range(4):
        np.save(tmp_path / f"x_{number}.npy", np.float64(number))
    streamed = asset(tmp_path / "x", [(1, 5, 0, 4)], mimetype=NPY)
    assert both(opened(streamed, key(1), 4)).tolist() == [0, 1, 2, 3]


def test_numpy_file_of_another_version(tmp_path: Path) -> None:
    with (tmp_path / "x_0.npy").open("wb") as file:
        np.lib.format.write_array(file, frames(1)[0], version=(2, 0))
    np.testing.assert_array_equal(read(tmp_path, NPY, "x_{:d}.npy")[0, 0], frames(1)[0])
    with (tmp_path / "y_0.npy").open("wb") as file:
        file.write(b"\x93NUMPY\x09\x00")
    with pytest.raises(AssetUnavailable, match=r"y_0\.npy"):
        read(tmp_path, NPY, "y_{:d}.npy")


def cbf(folder: Path, **kwargs: Any) -> SequenceReader:
    return CbfReader.of(Location(str(folder)), {"template": "%s%s_%5.5d.cbf", "filename": "img", **kwargs})


@pytest.mark.parametrize("dtype", ["<i2", "<i4", "<u2", "<u4"])
def test_cbf_of_each_dtype(tmp_path: Path, dtype: str) -> None:
    data = frames(3, (40, 30), dtype=dtype) * np.dtype(dtype).type(5)
    files = cbfs(tmp_path, data)
    header = cbf(tmp_path).structure()
    assert (header.frame_shape, header.dtype) == ((40, 30), np.dtype(dtype))
    out = np.empty((3, 40, 30), dtype)
    cbf(tmp_path).read_into(0, 3, out)
    np.testing.assert_array_equal(out, np.stack([fabio.open(str(file)).data for file in files]))
    np.testing.assert_array_equal(out, data)


def test_cbf_jumps_by_more_than_a_byte(tmp_path: Path) -> None:
    data = np.random.default_rng(1).integers(-(2**31), 2**31, (1, 20, 30), dtype="i4")
    cbfs(tmp_path, data)
    out = np.empty_like(data)
    cbf(tmp_path).read_into(0, 1, out)
    np.testing.assert_array_equal(out, data)


@pytest.mark.parametrize("cut", [0, 5, 100, 400, 700, 900, 1100, -200, -600])
def test_cbf_cut_anywhere(tmp_path: Path, cut: int) -> None:
    file = cbfs(tmp_path, frames(1, (40, 30), dtype="<i4"))[0]
    file.write_bytes(file.read_bytes()[:cut])
    out = np.empty((1, 40, 30), "<i4")
    with pytest.raises(AssetUnavailable, match=r"img_00001\.cbf"):
        cbf(tmp_path).read_into(0, 1, out)


def test_cbf_whose_checksum_is_another(tmp_path: Path) -> None:
    file = cbfs(tmp_path, frames(1, (40, 30), dtype="<i4"))[0]
    content = bytearray(file.read_bytes())
    content[content.index(b"\x0c\x1a\x04\xd5") + 50] ^= 1
    file.write_bytes(content)
    with pytest.raises(AssetUnavailable, match=r"img_00001\.cbf is damaged: the checksum"):
        cbf(tmp_path).read_into(0, 1, np.empty((1, 40, 30), "<i4"))


def test_cbf_of_an_unknown_form(tmp_path: Path) -> None:
    file = cbfs(tmp_path, frames(1, (40, 30), dtype="<i4"))[0]
    file.write_bytes(file.read_bytes().replace(b"x-CBF_BYTE_OFFSET", b"x-CBF_PACKED     "))
    with pytest.raises(AssetUnavailable, match=r"img_00001\.cbf holds.*x-CBF_PACKED.*x-CBF_BYTE_OFFSET"):
        cbf(tmp_path).structure()


def test_cbf_files_are_numbered_from_where_the_resource_says(tmp_path: Path) -> None:
    data = frames(6, (40, 30), dtype="<i4")
    cbfs(tmp_path, data, first=11)
    out = np.empty((2, 40, 30), "<i4")
    cbf(tmp_path, initial_number=11, frame_per_point=2).read_into(4, 6, out)
    np.testing.assert_array_equal(out, data[4:])
    assert len(cbf(tmp_path, initial_number=13).files()) == 4


def test_remote_cbf_and_npy(tmp_path: Path) -> None:
    import fsspec

    fs = fsspec.filesystem("memory")
    data = frames(2, (40, 30), dtype="<i4")
    for number, file in enumerate(cbfs(tmp_path, data)):
        fs.pipe(f"/images/{file.name}", file.read_bytes())
        np.save(tmp_path / "x.npy", data[number])
        fs.pipe(f"/images/img_{number}.npy", (tmp_path / "x.npy").read_bytes())
    for reader in (
        CbfReader.of(Location("memory://images"), {"template": "%s%s_%5.5d.cbf", "filename": "img"}),
        NpySequenceReader.of(Location("memory://images/img"), {}),
    ):
        out = np.empty((2, 40, 30), "<i4")
        reader.read_into(0, 2, out)
        np.testing.assert_array_equal(out, data)
        assert len(reader.files()) == 2
