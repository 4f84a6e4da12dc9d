"""areaDetector's HDF5 files of every spec, Xspress3 and Timepix, against the handlers that others read them with."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from pathlib import Path
from typing import Any

import area_detector_handlers.handlers as theirs
import h5py
import numpy as np
import pytest

from intake_bluesky.assets import AssetArray, AssetOptions, datum_array
from intake_bluesky.assets.hdf5.area_detector import HDF5SequenceReader
from intake_bluesky.assets.hdf5.reader import HDF5Reader
from intake_bluesky.errors import AssetUnavailable
from tests.assets.by_hand import DATASET, Array, asset, both, frames, key, write
from tests.assets.by_hand import opened as streamed
from tests.assets.hdf5_by_hand import ATTRIBUTES, DETECTOR, single_files, spectra, timed


def opened(
    spec: str, file: Path | str, datums: list[dict[str, Any]], declared: dict[str, Any], **kwargs: Any
) -> AssetArray:
    """The array of one resource, a datum a row."""
    options = AssetOptions(**kwargs.pop("options", {}))
    resource = {"uid": "r", "spec": spec, "root": "/", "resource_path": str(file), "resource_kwargs": kwargs}
    ids = [f"r/{number}" for number in range(len(datums))]
    known = {name: ("r", own) for name, own in zip(ids, datums, strict=True)}
    return datum_array(ids, "det", declared, {"r": resource}, known, options)


def points(count: int) -> list[dict[str, Any]]:
    return [{"point_number": number} for number in range(count)]


def by_handler(handler: Any, datums: list[dict[str, Any]]) -> Array:
    """What a handler of area-detector-handlers gives."""
    try:
        return np.stack([np.asarray(handler(**own)) for own in datums])
    finally:
        getattr(handler, "close", bool)()


@pytest.mark.parametrize("spec", ["AD_HDF5_TS", "AD_HDF5_SWMR_TS"])
@pytest.mark.parametrize("per_point", [1, 3])
@pytest.mark.parametrize("column", [False, True])
def test_times_of_frames(tmp_path: Path, spec: str, per_point: int, column: bool) -> None:
    rng = np.random.default_rng(0)
    sec, nsec = rng.integers(10**9, 2**31, 12).astype("u4"), rng.integers(0, 10**9, 12).astype("u4")
    shape = (12, 1) if column else (12,)
    path = timed(tmp_path / "t.h5", sec.reshape(shape), nsec.reshape(shape))
    datums = points(12 // per_point)
    array = opened(spec, path, datums, key(1), frame_per_point=per_point)
    observed = both(array)
    expected = by_handler(theirs.AreaDetectorHDF5TimestampHandler(str(path), per_point), datums)
    assert observed.dtype == np.float64
    assert observed.shape == ((12,) if per_point == 1 else (4, 3))
    np.testing.assert_array_equal(observed, expected)
    np.testing.assert_array_equal(observed.ravel(), sec + nsec * 1e-9)


def test_times_that_lag_behind(tmp_path: Path) -> None:
    path = timed(tmp_path / "t.h5", np.arange(5, dtype="u4"), np.zeros(3, "u4"))
    array = opened("AD_HDF5_TS", path, points(5), key(1))
    assert array.missing.tolist() == [3, 4]
    observed = both(array)
    np.testing.assert_array_equal(observed[:3], [0, 1, 2])
    assert np.isnan(observed[3:]).all()


def test_times_that_a_file_does_not_have(one_file: Path) -> None:
    with pytest.raises(AssetUnavailable, match=f"no dataset '{ATTRIBUTES}/NDArrayEpicsTSSec'"):
        opened("AD_HDF5_TS", one_file, points(2), key(1)).read()


@pytest.mark.parametrize("per_point", [1, 2, 5])
def test_timepix(tmp_path: Path, per_point: int) -> None:
    path = write(tmp_path / "x.h5", frames(10), dataset=DETECTOR)
    datums = points(10 // per_point)
    observed = both(opened("TPX_HDF5", path, datums, key(per_point, 4, 6), frame_per_point=per_point))
    expected = by_handler(theirs.TimepixHDF5Handler(str(path), per_point), datums)
    np.testing.assert_array_equal(observed, expected)


@pytest.mark.parametrize("per_point", [1, 3])
@pytest.mark.parametrize("compressed", [False, True])
def test_single_files(tmp_path: Path, per_point: int, compressed: bool) -> None:
    how: dict[str, Any] = {"compression": "gzip", "chunks": (2, 6)} if compressed else {}
    single_files(tmp_path, frames(6), **how)
    kwargs = {"template": "%s%s_%6.6d.h5", "filename": "img", "frame_per_point": per_point}
    datums = points(6 // per_point)
    array = opened("AD_HDF5_SINGLE", tmp_path, datums, key(per_point, 4, 6), **kwargs)
    assert isinstance(array.readers[0], HDF5SequenceReader)
    expected = by_handler(theirs.AreaDetectorHDF5SingleHandler(str(tmp_path), **kwargs), datums)
    np.testing.assert_array_equal(both(array), expected)
    described = array.dask()[:, :, 1:3, 2:]
    np.testing.assert_array_equal(described.compute(scheduler="sync"), expected[:, :, 1:3, 2:])


@pytest.mark.parametrize("per_file", [1, 3])
def test_files_of_stream_resources(tmp_path: Path, per_file: int) -> None:
    single_files(tmp_path, frames(6).reshape(-1, per_file, 4, 6))
    parameters = {"template": "img_{:06d}.h5", "chunk_shape": [per_file, 4, 6], "dataset": ["entry", "data", "data"]}
    one = asset(f"file://localhost{tmp_path}/", [(1, 7, 0, 6)], mimetype="multipart/related;type=application/x-hdf5")
    one.resource["parameters"].update(parameters)
    np.testing.assert_array_equal(both(streamed(one, key(1, 4, 6), 6))[:, 0], frames(6))


def test_single_files_of_which_one_is_gone_or_of_another_shape(tmp_path: Path) -> None:
    files = single_files(tmp_path, frames(4))
    kwargs = {"template": "%s%s_%6.6d.h5", "filename": "img"}
    with h5py.File(files[2], "w") as file:
        file[DATASET] = np.zeros((5, 5), "<u2")
    with pytest.raises(AssetUnavailable, match=r"img_000002\.h5 has uint16 of shape \(5, 5\)"):
        opened("AD_HDF5_SINGLE", tmp_path, points(4), key(1, 4, 6), **kwargs).read()
    files[1].unlink()
    with pytest.raises(AssetUnavailable, match=r"img_000001\.h5: there is no such file"):
        opened("AD_HDF5_SINGLE", tmp_path, points(2), key(1, 4, 6), **kwargs).read()
    filled = both(opened("AD_HDF5_SINGLE", tmp_path, points(4), key(1, 4, 6), options={"on_missing": "fill"}, **kwargs))
    np.testing.assert_array_equal(filled[:, 0], frames(4) * np.array([1, 0, 0, 1])[:, None, None])


@pytest.mark.parametrize("kwargs", [{}, {"key": "elsewhere/spectra"}])
def test_spectra(tmp_path: Path, kwargs: dict[str, str]) -> None:
    data = np.random.default_rng(0).random((27, 4, 4096))
    path = spectra(tmp_path / "xs3.h5", data, kwargs.get("key", DETECTOR))
    for channel in range(1, 5):
        datums: list[dict[str, Any]] = [{"frame": frame, "channel": channel} for frame in range(27)]
        array = opened("XSP3", path, datums, key(4096), **kwargs)
        expected = by_handler(theirs.Xspress3HDF5Handler(str(path), **kwargs), datums)
        np.testing.assert_array_equal(both(array), expected)
        np.testing.assert_array_equal(expected, data[:, channel - 1])


def test_spectra_of_one_channel_are_one_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = spectra(tmp_path / "xs3.h5", np.arange(27 * 4 * 16.0).reshape(27, 4, 16))
    reads: list[tuple[int, int]] = []
    original = HDF5Reader.read_into

    def counting(self: HDF5Reader, start: int, stop: int, *rest: Any) -> None:
        reads.append((start, stop))
        original(self, start, stop, *rest)

    monkeypatch.setattr(HDF5Reader, "read_into", counting)
    array = opened("XSP3", path, [{"frame": frame, "channel": 2} for frame in range(27)], key(16))
    array.read()
    array.dask().compute(scheduler="sync")
    assert reads == [(0, 27)] * 2


def test_channels_of_one_key_may_differ(tmp_path: Path) -> None:
    data = np.arange(5 * 3 * 8.0).reshape(5, 3, 8)
    path = spectra(tmp_path / "xs3.h5", data)
    datums: list[dict[str, Any]] = [{"frame": frame, "channel": 1 + frame % 3} for frame in range(5)]
    np.testing.assert_array_equal(both(opened("XSP3", path, datums, key(8))), data[range(5), [0, 1, 2, 0, 1]])


@pytest.mark.parametrize(
    ("datum", "message"),
    [
        ({"frame": 0}, "channel"),
        ({"channel": 1}, "frame"),
        ({"frame": 0, "channel": 0}, "counts channels from 1"),
        ({"frame": 0, "channel": 5}, "slice"),
        ({"frame": 9, "channel": 1}, "speak of 10"),
    ],
)
def test_spectra_that_are_not_there(tmp_path: Path, datum: dict[str, Any], message: str) -> None:
    path = spectra(tmp_path / "xs3.h5", np.zeros((3, 4, 8), "<u4"))
    with pytest.raises(AssetUnavailable, match=message):
        opened("XSP3", path, [datum], key(8)).read()


class OurHandler:
    """Stands for a handler of files of ours: a datum is an index, a value some frames full of it."""

    def __init__(self, path: str, frames_per_point: int) -> None:
        self.path = path
        self.frames = frames_per_point

    def __call__(self, index: int) -> Array:
        return np.full((self.frames, 2, 3), index, "<u4")


def test_a_spec_is_read_by_the_handler_that_is_given() -> None:
    array = opened(
        "OURS",
        "/x.ours",
        [{"index": number} for number in range(4)],
        key(2, 2, 3, dtype_numpy="<u4"),
        options={"handlers": {"OURS": OurHandler}},
        frames_per_point=2,
    )
    observed = both(array)
    assert observed.shape == (4, 2, 2, 3)
    np.testing.assert_array_equal(observed[:, 1, 0, 0], range(4))


READ_OURS = """
import sys
sys.path.insert(0, sys.argv[1])
from intake_bluesky.assets import datum_array
resource = {"uid": "r", "spec": "OURS", "resource_path": "x.ours", "resource_kwargs": {"frames_per_point": 2}}
datums = {str(n): ("r", {"index": n}) for n in range(4)}
spec = {"shape": [2, 2, 3], "dtype": "array", "dtype_numpy": "<u4"}
array = datum_array(list(datums), "det", spec, {"r": resource}, datums)
print(array.readers[0].handler.__module__, array.dask()[:, 1, 0, 0].compute(scheduler="sync").tolist())
"""


def test_a_spec_is_read_by_the_handler_that_is_installed(tmp_path: Path) -> None:
    text = Path(__file__).read_text()
    source = text[text.index("class OurHandler") : text.index("def test_a_spec_is_read_by_the_handler_that_is_given")]
    (tmp_path / "our_handler.py").write_text("import numpy as np\nfrom typing import Any as Array\n" + source)
    info = tmp_path / "area_detector_handlers-99.dist-info"  # hides that which is installed
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: area-detector-handlers\nVersion: 99\n")
    (info / "entry_points.txt").write_text("[databroker.handlers]\nOURS = our_handler:OurHandler\n")
    done = subprocess.run([sys.executable, "-c", READ_OURS, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.stdout == "our_handler [0, 1, 2, 3]\n", done.stderr


def test_handlers_of_others_know_no_spec_that_is_neither_read_here_nor_theirs() -> None:
    from intake_bluesky.assets.reader_registry import native_reader

    offered = importlib.metadata.entry_points(group="databroker.handlers")
    rest = {point.name for point in offered if native_reader(point.name) is None}
    assert rest == {"SPECS_HDF5_SINGLE_DATAFRAME"}
