"""Example runs whose arrays are in files beside the documents."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from intake_bluesky.testing.compose import RunComposer, data_key
from intake_bluesky.testing.examples import example

HDF5 = "application/x-hdf5"
DATASET = "/entry/data/data"
X = data_key("number")
IMAGE = data_key("array", [1, 4, 6], dtype_numpy="<u2", external="STREAM:", dims=["frame", "row", "column"])
FILLABLE = data_key("array", [4, 6], external="FILESTORE:")


def frames(count: int, *, first: int = 0) -> np.ndarray[Any, np.dtype[np.uint16]]:
    """Make frames that all differ: pixel (i, j) of frame n is 100 n + 10 i + j.

    Returns
    -------
    numpy.ndarray, shape (count, 4, 6), dtype uint16

    Examples
    --------
    >>> int(frames(3)[2, 1, 5])
    215
    """
    number, row, column = np.ogrid[first : first + count, :4, :6]
    pixels: np.ndarray[Any, np.dtype[np.uint16]] = (100 * number + 10 * row + column).astype(np.uint16)
    return pixels


def write_hdf5(path: Path, data: np.ndarray[Any, Any], *, dataset: str = DATASET) -> str:
    """Write frames to an HDF5 file, a chunk for each, and give the file's URI."""
    # Late: examples without files need no h5py.
    import h5py

    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file.create_dataset(dataset, data=data, chunks=(1, *data.shape[1:]))
    return f"file://localhost{path.resolve()}"


@example(scan_id=60, plan_name="scan")
def stream_hdf5(run: RunComposer, folder: Path) -> None:
    """Frames and a scalar by stream resource, a file each, a motor in the events."""
    uri = write_hdf5(folder / "stream.h5", frames(5))
    sums_uri = write_hdf5(folder / "sums.h5", np.arange(5, dtype=np.float64) / 4, dataset="/sums")
    sums = data_key("number", [1], dtype_numpy="<f8", external="STREAM:")
    primary = run.descriptor({"x": X, "image": IMAGE, "sum": sums})
    image = run.stream_resource("image", mimetype=HDF5, uri=uri, dataset=DATASET, chunk_shape=[1, 4, 6])
    total = run.stream_resource("sum", mimetype=HDF5, uri=sums_uri, dataset="/sums", chunk_shape=[1])
    for point in range(5):
        run.stream_datum(image, primary, (point + 1, point + 2))
        run.stream_datum(total, primary, (point + 1, point + 2))
        run.event(primary, {"x": point / 2})


@example(scan_id=61)
def two_files(run: RunComposer, folder: Path) -> None:
    """One key whose frames are in two files that follow each other, two frames an event."""
    key = {**IMAGE, "shape": [2, 4, 6]}
    primary = run.descriptor({"x": X, "image": key})
    for number, seq_nums in enumerate(((1, 4), (4, 6))):
        events = seq_nums[1] - seq_nums[0]
        uri = write_hdf5(folder / f"part{number}.h5", frames(2 * events, first=2 * (seq_nums[0] - 1)))
        resource = run.stream_resource("image", mimetype=HDF5, uri=uri, dataset=DATASET, chunk_shape=[1, 4, 6])
        run.stream_datum(resource, primary, seq_nums, (0, events))
    run.page(primary, {"x": [1.0, 2.0, 3.0, 4.0, 5.0]})


@example(scan_id=62, plan_name="fly")
def streams_only(run: RunComposer, folder: Path) -> None:
    """A stream without any event: a fly scan, of which there are only files."""
    uri = write_hdf5(folder / "fly.h5", frames(6))
    primary = run.descriptor({"image": IMAGE}, stream="fly")
    image = run.stream_resource("image", mimetype=HDF5, uri=uri, dataset=DATASET, chunk_shape=[2])
    run.stream_datum(image, primary, (1, 4))
    run.stream_datum(image, primary, (4, 7))


@example(stop={"exit_status": "abort", "reason": "beam lost"}, scan_id=63, plan_name="scan")
def aborted(run: RunComposer, folder: Path) -> None:
    """An abort between the two halves of a point: ten events and nine frames."""
    uri = write_hdf5(folder / "aborted.h5", frames(9).astype(np.float64))
    key = {**IMAGE, "dtype_numpy": "<f8"}
    primary = run.descriptor({"x": X, "image": key})
    image = run.stream_resource("image", mimetype=HDF5, uri=uri, dataset=DATASET, chunk_shape=[1, 4, 6])
    for point in range(10):
        if point < 9:
            run.stream_datum(image, primary, (point + 1, point + 2))
        run.event(primary, {"x": float(point)})


@example(scan_id=64)
def skipped_frames(run: RunComposer, folder: Path) -> None:
    """The detector went on during a pause: frames 3 and 4 belong to no event."""
    uri = write_hdf5(folder / "skipped.h5", frames(7))
    primary = run.descriptor({"x": X, "image": IMAGE})
    image = run.stream_resource("image", mimetype=HDF5, uri=uri, dataset=DATASET, chunk_shape=[1, 4, 6])
    run.stream_datum(image, primary, (1, 4), (0, 3))
    run.stream_datum(image, primary, (4, 6), (5, 7))
    run.page(primary, {"x": [1.0, 2.0, 3.0, 4.0, 5.0]})


@example(valid=False, scan_id=65)
def old_stream_resource(run: RunComposer, folder: Path) -> None:
    """A stream resource of before event-model 1.20, with spec, root and resource_path."""
    write_hdf5(folder / "old.h5", frames(3))
    primary = run.descriptor({"image": IMAGE})
    uid = run.uid()
    doc = {
        "uid": uid,
        "run_start": run.run_uid,
        "data_key": "image",
        "spec": "AD_HDF5_SWMR_STREAM",
        "root": str(folder.resolve()),
        "resource_path": "old.h5",
        "resource_kwargs": {"path": DATASET},
        "path_semantics": "posix",
    }
    run.add("stream_resource", doc)
    run.stream_datum(uid, primary, (1, 4))


@example(scan_id=66)
def ad_hdf5(run: RunComposer, folder: Path) -> None:
    """AD_HDF5 by resource and datum, two frames a point."""
    write_hdf5(folder / "ad.h5", frames(6))
    primary = run.descriptor({"x": X, "image": {**FILLABLE, "shape": [2, 4, 6]}})
    resource = run.resource("AD_HDF5", root=str(folder.resolve()), path="ad.h5", frame_per_point=2)
    for point in range(3):
        datum_id = run.datum(resource, point, point_number=point)
        run.event(primary, {"x": float(point), "image": datum_id}, filled={"image": False})


def _sequence(run: RunComposer, folder: Path, stem: str, count: int) -> str:
    """Write frames to NumPy files, and append their resource."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, frame in enumerate(frames(count)):
        np.save(folder / f"{stem}_{number}.npy", frame)
    return run.resource("NPY_SEQ", root=str(folder.resolve()), path=stem)


@example(scan_id=67)
def npy_seq(run: RunComposer, folder: Path) -> None:
    """NPY_SEQ as ophyd's simulated image detector writes it: a file a point."""
    primary = run.descriptor({"x": X, "image": FILLABLE})
    resource = _sequence(run, folder, "npy", 3)
    for point in range(3):
        datum_id = run.datum(resource, point, index=point)
        run.event(primary, {"x": float(point), "image": datum_id}, filled={"image": False})


def _filled_page(run: RunComposer, descriptor: str, datum_ids: list[str]) -> None:
    run.page(descriptor, {"image": datum_ids})
    # `page` leaves it empty; False is event-model's mark of a value that is a datum_id.
    run.documents[-1][1]["filled"] = {"image": [False] * len(datum_ids)}


@example(scan_id=68)
def datum_pages(run: RunComposer, folder: Path) -> None:
    """Datums in two pages, events in one."""
    primary = run.descriptor({"image": FILLABLE})
    resource = _sequence(run, folder, "pages", 4)
    datum_ids = [f"{resource}/{point}" for point in range(4)]
    for points in (slice(0, 3), slice(3, 4)):
        page = {
            "resource": resource,
            "datum_id": datum_ids[points],
            "datum_kwargs": {"index": list(range(4))[points]},
        }
        run.add("datum_page", page)
    _filled_page(run, primary, datum_ids)


@example(scan_id=69)
def bulk_datum(run: RunComposer, folder: Path) -> None:
    """Legacy ``bulk_datum``."""
    primary = run.descriptor({"image": FILLABLE})
    resource = _sequence(run, folder, "bulk", 2)
    datum_ids = [f"{resource}/{point}" for point in range(2)]
    kwargs = [{"index": point} for point in range(2)]
    run.add("bulk_datum", {"resource": resource, "datum_ids": datum_ids, "datum_kwarg_list": kwargs})
    _filled_page(run, primary, datum_ids)


@example(scan_id=70)
def missing_file(run: RunComposer, folder: Path) -> None:
    """A stream resource whose file is gone; the rest of the stream has to open."""
    primary = run.descriptor({"x": X, "image": IMAGE})
    uri = f"file://localhost{(folder / 'gone.h5').resolve()}"
    image = run.stream_resource("image", mimetype=HDF5, uri=uri, dataset=DATASET, chunk_shape=[1, 4, 6])
    run.stream_datum(image, primary, (1, 3))
    run.page(primary, {"x": [1.0, 2.0]})
