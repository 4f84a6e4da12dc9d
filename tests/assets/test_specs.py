"""Specs of beamlines: what each means by a datum, against the handlers that are installed, and against the files."""

from __future__ import annotations

import importlib.metadata
import struct
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np
import pytest
import tifffile

from intake_bluesky.assets import AssetArray, AssetOptions, asset_files, datum_array
from intake_bluesky.assets.images.imm import ImmReader
from intake_bluesky.assets.location import Location
from intake_bluesky.assets.text.reader import CSVReader
from intake_bluesky.assets.untyped import UntypedReader
from intake_bluesky.documents.model import StreamAsset
from intake_bluesky.documents.pages import normalise
from intake_bluesky.errors import AssetUnavailable, UntrustedName
from tests.assets.by_hand import Array, asset, both, frames, key
from tests.assets.by_hand import opened as streamed
from tests.assets.files_by_hand import jpegs
from tests.assets.hdf5_by_hand import ATTRIBUTES, DETECTOR

IMAGES: Final = frames(6, (4, 5), dtype="<u4")
SPECTRA: Final = frames(6, (3, 8), dtype="<f8")
ROI: Final = np.arange(6.0) * 1.5
COUNTS: Final = np.arange(12, dtype="<i8") * 7


def opened(path: Path, spec: str, datums: list[dict[str, Any]], shape: list[Any], **kwargs: Any) -> AssetArray:
    """One datum an event."""
    one = {"uid": "r", "spec": spec, "root": str(path.parent), "resource_path": path.name, "resource_kwargs": kwargs}
    known = {f"r/{number}": ("r", own) for number, own in enumerate(datums)}
    return datum_array(list(known), "det", key(*shape, external="FILESTORE:"), {"r": one}, known, AssetOptions())


def images(folder: Path, data: Array = IMAGES) -> Path:
    """As ADCore's NeXus layout has it: one dataset under two names, and attributes of each frame."""
    with h5py.File(folder / "images.h5", "w") as file:
        file.create_dataset(DETECTOR, data=data, chunks=(1, *data.shape[1:]), compression="szip")
        file["/entry/data/data"] = file[DETECTOR]
        file[f"{ATTRIBUTES}/_ROI2Total"] = ROI
    return folder / "images.h5"


def spectra(folder: Path) -> Path:
    """As the Xspress3 driver has it."""
    with h5py.File(folder / "spectra.h5", "w") as file:
        file.create_dataset(DETECTOR, data=SPECTRA, chunks=(1, *SPECTRA.shape[1:]), compression="gzip")
        file["/entry/instrument/detector/NDAttributes/CHAN2ROI1"] = ROI
    return folder / "spectra.h5"


def columns(folder: Path) -> Path:
    """As the writers of Zebra, SIS scalers and PandABoxes have it: columns at the root."""
    with h5py.File(folder / "columns.h5", "w") as file:
        file["enc1"], file["COUNTER1.OUT.Value"] = COUNTS, COUNTS * 0.5
    return folder / "columns.h5"


def series(folder: Path, dataset: str) -> Path:
    """As blop's simulations and video streams have it: one dataset that grew by a frame at a time, of float64."""
    with h5py.File(folder / "series.h5", "w") as file:
        file.create_dataset(dataset, data=IMAGES * 0.5, maxshape=(None, 4, 5), chunks=(1, 4, 5), compression="lzf")
    return folder / "series.h5"


POINTS: Final = [{"point_number": number} for number in range(3)]
FRAMES: Final = [{"frame": number} for number in (0, 2, 5)]
TWO: Final = {"frame_per_point": 2}


@pytest.mark.parametrize(
    "spec",
    [
        "AD_HDF5_SWMR_SLICE",
        "AD_HDF5_SWMR_STREAM",
        "EIGER2_STREAM",
        "MERLIN_FLY_STREAM_V2",
        "TPX3",
        "TPX_HDF5",
    ],
)
def test_points(tmp_path: Path, spec: str) -> None:
    observed = both(opened(images(tmp_path), spec, POINTS, [2, 4, 5], **TWO))
    assert observed.dtype == IMAGES.dtype
    np.testing.assert_array_equal(observed, IMAGES.reshape(3, 2, 4, 5))


def test_points_of_colours(tmp_path: Path) -> None:
    data = frames(3, (4, 5, 3), dtype="|u1")
    observed = both(opened(images(tmp_path, data), "AD_HDF5_RGB", POINTS, [4, 5, 3], frame_per_point=1))
    assert observed.dtype == np.uint8
    np.testing.assert_array_equal(observed, data)


@pytest.mark.parametrize(
    ("spec", "dataset"),
    [
        ("AD_HDF5_GERM", "/entry/data/data"),
        ("BASLER_CAM_HDF5", "/entry/averaged"),
        ("DEX_HDF5", DETECTOR),
        ("HDF5", "/entry/image"),
        ("VIDEO_STREAM_HDF5", "/entry/averaged"),
    ],
)
def test_single_frames(tmp_path: Path, spec: str, dataset: str) -> None:
    observed = both(opened(series(tmp_path, dataset), spec, FRAMES, [4, 5]))
    assert observed.dtype == np.float64
    np.testing.assert_array_equal(observed, IMAGES[[0, 2, 5]] * 0.5)


@pytest.mark.parametrize("spec", ["SIS_HDF51_FLY_STREAM_V1", "ZEBRA_HDF51_FLY_STREAM_V1"])
def test_points_of_columns(tmp_path: Path, spec: str) -> None:
    datums = [{"column": name, "point_number": n} for name in ("enc1", "COUNTER1.OUT.Value") for n in (0, 2)]
    observed = both(opened(columns(tmp_path), spec, datums, [4], frame_per_point=4))
    np.testing.assert_array_equal(observed, [COUNTS[:4], COUNTS[8:], COUNTS[:4] * 0.5, COUNTS[8:] * 0.5])


@pytest.mark.parametrize(
    ("spec", "name"),
    [("PANDA", "field"), ("ROI_HDF5_FLY", "det_elem"), ("SIS_HDF51", "column"), ("ZEBRA_HDF51", "column")],
)
def test_whole_columns(tmp_path: Path, spec: str, name: str) -> None:
    array = opened(columns(tmp_path), spec, [{name: "enc1"}], [12])
    assert (array.dtype, array.shape) == (COUNTS.dtype, (1, 12))
    np.testing.assert_array_equal(both(array)[0], COUNTS)
    with pytest.raises(AssetUnavailable, match=r"no dataset 'no'.*enc1"):
        opened(columns(tmp_path), spec, [{name: "no"}], [12]).read()
    with pytest.raises(AssetUnavailable, match="does not say what ColumnReader needs"):
        opened(columns(tmp_path), spec, [{}], [12]).read()


BULK: Final = [
    ({}, SPECTRA),
    ({"target": "data"}, SPECTRA),
    ({"target": "CHAN2ROI1"}, ROI),
]


@pytest.mark.parametrize("spec", ["DEXELA_FLY_V1", "MERLIN_FLY", "MERLIN_FLY_STREAM_V1", "XPS3_FLY", "XSP3_FLY"])
@pytest.mark.parametrize(("datum", "expected"), BULK)
def test_all_frames_as_the_handler_has_them(tmp_path: Path, spec: str, datum: dict[str, Any], expected: Array) -> None:
    path = spectra(tmp_path)
    (point,) = importlib.metadata.entry_points(group="databroker.handlers", name=spec)
    with point.load()(str(path)) as handler:
        theirs = handler(**datum)
    observed = both(opened(path, spec, [datum], list(expected.shape)))[0]
    assert observed.dtype == theirs.dtype
    np.testing.assert_array_equal(observed, theirs)
    np.testing.assert_array_equal(observed, expected)


@pytest.mark.parametrize(
    ("spec", "datum", "expected"),
    [
        ("MERLIN_HDF5_BULK", {}, SPECTRA),
        ("MERLIN_HDF5_BULK", {"frame": 3}, SPECTRA),
        ("XSP3_BULK", {}, SPECTRA),
        ("XSP3_BULK", {"channel": 2}, SPECTRA[:, 1]),
        ("XSP3_BULK", {"channel": 3, "frame": 1}, SPECTRA[:, 2]),
    ],
)
def test_all_frames(tmp_path: Path, spec: str, datum: dict[str, Any], expected: Array) -> None:
    np.testing.assert_array_equal(both(opened(spectra(tmp_path), spec, [datum], [None, 3, 8]))[0], expected)


def test_a_spectrum_a_datum(tmp_path: Path) -> None:
    datums = [{"frame": frame, "channel": channel} for frame, channel in ((0, 1), (5, 3))]
    observed = both(opened(spectra(tmp_path), "XSP3_STEP", datums, [8]))
    np.testing.assert_array_equal(observed, [SPECTRA[0, 0], SPECTRA[5, 2]])


@pytest.mark.parametrize(
    ("datum", "expected"),
    [({}, IMAGES), ({"data_type": "image", "roi_num": 0}, IMAGES), ({"data_type": "roi", "roi_num": 2}, ROI)],
)
def test_flown_pilatus(tmp_path: Path, datum: dict[str, Any], expected: Array) -> None:
    observed = both(opened(images(tmp_path), "PIL100k_HDF5", [datum], [None]))[0]
    assert observed.dtype == expected.dtype
    np.testing.assert_array_equal(observed, expected)


@pytest.mark.parametrize("datum", [{"frame": 1}, {"data_type": "spectrum"}, {"data_type": "roi"}])
def test_flown_pilatus_of_no_array(tmp_path: Path, datum: dict[str, Any]) -> None:
    with pytest.raises(AssetUnavailable, match="does not say what Pilatus100kReader needs"):
        opened(images(tmp_path), "PIL100k_HDF5", [datum], [None]).read()


def test_jpegs_of_area_detector(tmp_path: Path) -> None:
    flat = np.full((4, 16, 8), 7, "|u1")
    jpegs(tmp_path, flat)
    kwargs = {"template": "%s%s_%6.6d.jpg", "filename": "img", "frame_per_point": 2}
    observed = both(opened(tmp_path / ".", "AD_JPEG", POINTS[:2], [2, 16, 8], **kwargs))
    np.testing.assert_array_equal(observed, flat.reshape(2, 2, 16, 8))


@pytest.mark.parametrize("pages", [1, 3])
def test_one_tiff(tmp_path: Path, pages: int) -> None:
    data = frames(pages)
    tifffile.imwrite(tmp_path / "x.tif", data.squeeze(), photometric="minisblack")
    shape = list(tifffile.imread(tmp_path / "x.tif").shape)
    np.testing.assert_array_equal(
        both(opened(tmp_path / "x.tif", "SINGLE_TIFF", [{}], shape))[0], tifffile.imread(tmp_path / "x.tif")
    )
    stream = streamed(asset(tmp_path / "x.tif", [(1, pages + 1, 0, pages)], mimetype="image/tiff"), key(4, 6), pages)
    np.testing.assert_array_equal(both(stream), data)


def test_one_npy(tmp_path: Path) -> None:
    data = np.asfortranarray(frames(4, (3, 2), dtype=">i2"))
    np.save(tmp_path / "x.npy", data)
    np.testing.assert_array_equal(both(opened(tmp_path / "x.npy", "npy", [{}], [4, 3, 2]))[0], data)
    numbers = [3, 0, 1]
    framewise = opened(tmp_path / "x.npy", "npy_FRAMEWISE", [{"frame_no": number} for number in numbers], [3, 2])
    np.testing.assert_array_equal(both(framewise), data[numbers])


def imm(path: Path, data: Array, *, sparse: bool) -> Path:
    """As the maker of the format describes it."""
    rows, columns = data.shape[1:]
    parts = []
    for frame in data:
        numbers = np.flatnonzero(frame).astype("<u4") if sparse else np.arange(frame.size)
        header = bytearray(1024)
        struct.pack_into("<ii", header, 0, 2, 6 if sparse else 0)
        struct.pack_into("<iii", header, 108, rows, columns, 2)
        struct.pack_into("<I", header, 152, len(numbers))
        pixels = frame.ravel()[numbers].astype("<u2").tobytes()
        parts += [bytes(header), numbers.tobytes() if sparse else b"", pixels]
    path.write_bytes(b"".join(parts))
    return path


def few(count: int) -> Array:
    """Frames that are mostly zero."""
    rng = np.random.default_rng(3)
    return np.asarray(rng.integers(1, 2**16, (count, 4, 5)) * (rng.random((count, 4, 5)) < 0.3), "<u2")


@pytest.mark.parametrize("sparse", [True, False])
def test_imm(tmp_path: Path, sparse: bool) -> None:
    path = imm(tmp_path / "x.imm", few(6), sparse=sparse)
    array = opened(path, "IMM", [{"index": number} for number in range(3)], [2, 4, 5], frames_per_point=2)
    observed = both(array)
    assert observed.dtype == np.uint16
    np.testing.assert_array_equal(observed, few(6).reshape(3, 2, 4, 5))
    np.testing.assert_array_equal(array[1:, 1, 1:3, 2:], observed[1:, 1, 1:3, 2:])
    if sparse:  # the handler takes all for compressed
        from area_detector_handlers.handlers import IMMHandler

        theirs = [np.asarray(IMMHandler(str(path), 2)(number)) for number in range(3)]
        np.testing.assert_array_equal(observed, theirs)


def test_imm_cut_off_or_damaged(tmp_path: Path) -> None:
    path = imm(tmp_path / "x.imm", few(2), sparse=False)
    whole = path.read_bytes()
    datums = [{"index": 0}, {"index": 1}]
    path.write_bytes(whole[:-1])
    with pytest.raises(AssetUnavailable, match=r"x\.imm has frames for 1 events where the documents speak of 2"):
        opened(path, "IMM", datums, [1, 4, 5], frames_per_point=1).read()
    for content in (b"", b"II*\0" * 600, whole.replace(struct.pack("<ii", 4, 5), struct.pack("<ii", 4, 6), 1)):
        path.write_bytes(content)
        with pytest.raises(AssetUnavailable, match=r"x\.imm"):
            opened(path, "IMM", datums, [1, 4, 5], frames_per_point=1).read()


@pytest.mark.parametrize(
    ("spec", "kwargs"),
    [
        ("AD_HDF5_SWMR_SLICE", {"path": "/entry/data/data", "multiplier": 2, "timestamps": "/entry/x"}),
        ("AD_HDF5_SWMR_STREAM", {"path": "/entry/data/data", "multiplier": 2}),
        ("AD_HDF5", {"frame_per_point": 2}),
        ("hdf5", {"path": "/entry/data/data", "multiplier": 2}),
        ("MERLIN_HDF5_BULK", {"frame_per_point": 2}),
        ("PANDA", {"dataset": "/entry/data/data", "multiplier": 2}),
    ],
)
def test_stream_resources_before_mimetypes(tmp_path: Path, spec: str, kwargs: dict[str, Any]) -> None:
    old = {"uid": "r", "spec": spec, "root": str(tmp_path), "resource_path": images(tmp_path).name, "data_key": "det"}
    ((_, today),) = normalise("stream_resource", {**old, "resource_kwargs": kwargs})
    array = streamed(StreamAsset(today, "det", "d", ((1, 4, 0, 3),)), key(2, 4, 5), 3)
    np.testing.assert_array_equal(both(array), IMAGES.reshape(3, 2, 4, 5))


OCTETS: Final = "application/octet-stream"


def test_untyped_files_are_known_by_their_first_bytes(tmp_path: Path) -> None:
    data = frames(3)
    np.save(tmp_path / "x.npy", data)
    tifffile.imwrite(tmp_path / "x.tif", data, photometric="minisblack")
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["other"] = data
    for name in ("x.npy", "x.tif", "x.h5"):
        array = streamed(asset(tmp_path / name, [(1, 4, 0, 3)], mimetype=OCTETS, dataset="other"), key(4, 6), 3)
        assert isinstance(array.readers[0], UntypedReader)
        np.testing.assert_array_equal(both(array), data)


@pytest.mark.parametrize("dtype", ["<u2", ">f4"])
@pytest.mark.parametrize("shape", [(4, 6), (2, 4, 6), ()])
def test_untyped_files_of_plain_values(tmp_path: Path, dtype: str, shape: tuple[int, ...]) -> None:
    data = np.arange(3 * int(np.prod(shape))).reshape(3, *shape).astype(dtype)
    (tmp_path / "x.bin").write_bytes(data.tobytes())
    one = asset(tmp_path / "x.bin", [(1, 4, 0, 3)], mimetype=OCTETS)
    observed = both(streamed(one, key(*shape, dtype_numpy=dtype), 3))
    assert observed.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(observed, data)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (key(4, 6), "says nothing"),
        (key(4, None, dtype_numpy="<u2"), "says nothing"),
        (key(4, 7, dtype_numpy="<u2"), r"144 bytes, which are no whole number of values of shape \(4, 7\)"),
    ],
)
def test_untyped_files_that_nothing_describes(tmp_path: Path, spec: dict[str, Any], message: str) -> None:
    (tmp_path / "x.bin").write_bytes(frames(3).tobytes())
    with pytest.raises(AssetUnavailable, match=message):
        streamed(asset(tmp_path / "x.bin", [(1, 4, 0, 3)], mimetype=OCTETS), spec, 3).read()


@pytest.mark.parametrize(
    ("resource", "message"),
    [
        ({"spec": "NO_SUCH", "uri": "/x"}, "reads the spec 'NO_SUCH'"),
        ({"mimetype": "no/such", "uri": "/x"}, "reads the mimetype 'no/such'"),
    ],
)
def test_what_has_no_reader_is_called_what_it_is(resource: dict[str, Any], message: str) -> None:
    one = StreamAsset({"uid": "r", **resource}, "det", "d", ((1, 2, 0, 1),))
    with pytest.raises(AssetUnavailable, match=message):
        streamed(one, key(4, 6), 1).read()


def test_what_another_catalog_has_looked_into_is_not_read_without_leave(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("1,2\n")
    imm(tmp_path / "x.imm", few(1), sparse=True)
    for name, of in (("x.csv", CSVReader.of), ("x.imm", ImmReader.of)):
        path = str(tmp_path / name)
        assert of(Location(path), {}).structure().frames == 1
        with pytest.raises(UntrustedName):
            of(Location(path, roots=("/nowhere",)), {}).structure()


def test_a_folder_that_cannot_be_listed_is_not_empty(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    for spec, more in (("AD_EIGER", {}), ("AD_TIFF", {"template": "%s%s_%d.tif", "filename": "x"})):
        one = {"uid": "r", "spec": spec, "root": str(tmp_path), "resource_path": "loop/x", "resource_kwargs": more}
        with pytest.raises(AssetUnavailable, match=r"loop/x.*cannot be listed"):
            asset_files(one)
