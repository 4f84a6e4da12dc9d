"""Arrays of resources and datums: natively, and by third parties' handlers."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import area_detector_handlers.handlers
import h5py
import numpy as np
import pytest
import tifffile

from intake_bluesky.assets import AssetArray, AssetOptions, datum_array, discover_handlers
from intake_bluesky.assets.images.tiff import TiffReader
from intake_bluesky.documents.model import CONTRADICTED
from intake_bluesky.errors import AssetUnavailable, DamagedRun, PluginError, UntrustedName
from tests.assets.by_hand import DATASET, both, frames, key, write


def resource(spec: str, file: str, *, root: Path | str = "", uid: str = "r", **kwargs: Any) -> dict[str, Any]:
    return {"uid": uid, "spec": spec, "root": str(root), "resource_path": file, "resource_kwargs": kwargs}


def opened(
    resources: dict[str, Any] | list[dict[str, Any]],
    datums: list[dict[str, Any] | None],
    spec: dict[str, Any],
    *,
    of: list[str] | None = None,
    **options: Any,
) -> AssetArray:
    """One datum a row; None where a row has none."""
    several = resources if isinstance(resources, list) else [resources]
    uids = of or ["r"] * len(datums)
    ids = [
        f"{uid}/{row}" if kwargs is not None else "" for row, (uid, kwargs) in enumerate(zip(uids, datums, strict=True))
    ]
    known = {i: (uid, kwargs) for i, uid, kwargs in zip(ids, uids, datums, strict=True) if kwargs is not None}
    by_uid = {one["uid"]: one for one in several}
    return datum_array(ids, "det", spec, by_uid, known, AssetOptions(**options))


def points(*numbers: int) -> list[dict[str, Any] | None]:
    return [{"point_number": n} for n in numbers]


@pytest.mark.parametrize("spec", ["AD_HDF5", "AD_HDF5_SWMR"])
@pytest.mark.parametrize("per_point", [1, 2, 5])
def test_area_detector(one_file: Path, spec: str, per_point: int) -> None:
    one = resource(spec, one_file.name, root=one_file.parent, frame_per_point=per_point)
    array = opened(one, points(*range(10 // per_point)), key(per_point, 4, 6))
    assert array.dtype == np.uint16
    handler = area_detector_handlers.handlers.AreaDetectorHDF5Handler(str(one_file), frame_per_point=per_point)
    expected = np.stack([np.asarray(handler(point_number=n)) for n in range(10 // per_point)])
    np.testing.assert_array_equal(both(array), expected)
    handler.close()


def test_area_detector_declared_as_one_frame(one_file: Path) -> None:
    one = resource("AD_HDF5", one_file.name, root=one_file.parent, frame_per_point=1)
    np.testing.assert_array_equal(both(opened(one, points(0, 1, 2), key(4, 6))), frames(3))


def test_points_out_of_order_and_again(one_file: Path) -> None:
    one = resource("AD_HDF5", one_file.name, root=one_file.parent)
    np.testing.assert_array_equal(both(opened(one, points(3, 3, 0, 9), key(4, 6))), frames(10)[[3, 3, 0, 9]])


def test_root_map(one_file: Path) -> None:
    one = resource("AD_HDF5", one_file.name, root="/beamline/data")
    array = opened(one, points(0), key(4, 6), root_map={"/beamline/data": str(one_file.parent)})
    np.testing.assert_array_equal(both(array), frames(1))


def test_several_resources(tmp_path: Path) -> None:
    files = [write(tmp_path / f"{i}.h5", frames(2, first=2 * i)) for i in range(2)]
    resources = [resource("AD_HDF5", str(p), uid=f"r{i}") for i, p in enumerate(files)]
    array = opened(resources, points(0, 1, 0, 1), key(4, 6), of=["r0", "r0", "r1", "r1"])
    np.testing.assert_array_equal(both(array), frames(4))
    assert array.dask().chunks[0] == (2, 2)


def test_row_without_a_datum(one_file: Path) -> None:
    one = resource("AD_HDF5", str(one_file))
    array = opened(one, [*points(0), None, *points(1)], key(4, 6))
    assert array.missing.tolist() == [1]
    with pytest.raises(AssetUnavailable, match="1 of 3 rows"):
        array.read()
    filled = both(opened(one, [*points(0), None, *points(1)], key(4, 6), on_missing="fill"))
    np.testing.assert_array_equal(filled, [frames(2)[0], np.zeros((4, 6)), frames(2)[1]])


def test_datum_of_no_document(one_file: Path) -> None:
    array = datum_array(["r/0"], "det", key(4, 6, dtype_numpy="<u2"), {"r": resource("AD_HDF5", str(one_file))}, {})
    with pytest.raises(AssetUnavailable, match="1 datum_ids are of no datum"):
        array.read()


def test_datum_before_the_first(one_file: Path) -> None:
    array = opened(resource("AD_HDF5", str(one_file)), [{"point_number": -1}], key(4, 6))
    with pytest.raises(AssetUnavailable, match="counts from 0"):
        array.read()


ODD_NUMBERS: list[Any] = [1.5, True, False, "1", float("nan"), float("inf"), np.float32(0.5), np.True_, [1], None]


@pytest.mark.parametrize("number", ODD_NUMBERS, ids=repr)
def test_the_number_of_a_point_is_an_integer(one_file: Path, number: Any) -> None:
    array = opened(resource("AD_HDF5", str(one_file)), [*points(0), {"point_number": number}, *points(2)], key(4, 6))
    with pytest.raises(AssetUnavailable, match=r"point_number is .*, not an integer"):
        array.read()
    np.testing.assert_array_equal(array[[0, 2]], frames(3)[[0, 2]])


@pytest.mark.parametrize(
    ("spec", "datum", "field"),
    [
        ("AD_TIFF", {"point_number": 0.5}, "point_number"),
        ("NPY_SEQ", {"index": True}, "index"),
        ("AD_EIGER", {"seq_id": 1, "frame_num": 0.5}, "frame_num"),
        ("AD_EIGER_SLICE", {"seq_id": 1, "image_slice": True}, "image_slice"),
        ("XSP3", {"frame": 1.5, "channel": 1}, "frame"),
        ("XSP3", {"frame": 1, "channel": 1.5}, "channel"),
        ("XSP3_BULK", {"channel": True}, "channel"),
        ("PIL100k_HDF5", {"data_type": "roi", "roi_num": 2.5}, "roi_num"),
    ],
)
def test_each_number_of_a_datum_is_an_integer(tmp_path: Path, spec: str, datum: dict[str, Any], field: str) -> None:
    with pytest.raises(AssetUnavailable, match=f"{field} is .*, not an integer"):
        opened(resource(spec, "one", root=tmp_path), [datum], key(4, 6)).read()


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ("AD_HDF5", "frame_per_point"), ("AD_HDF5", "multiplier"), ("AD_TIFF", "chunk_shape"),
        ("AD_TIFF", "files_per_datum"), ("IMM", "frames_per_point"), ("AD_CBF", "initial_number"),
        ("AD_SPE", "region"), ("AD_SPE", "frame_per_point"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("number", [2.5, False, "2"], ids=repr)
def test_each_number_of_a_resource_is_an_integer(tmp_path: Path, spec: str, field: str, number: Any) -> None:
    datums: list[dict[str, Any] | None] = [{"point_number": 0, "index": 0}]
    with pytest.raises(AssetUnavailable, match=f"{field} is {number!r}, not an integer"):
        opened(resource(spec, "one", root=tmp_path, **{field: number}), datums, key(4, 6)).read()


def test_a_float_may_be_an_integer(one_file: Path) -> None:
    two: Any = 2.0
    one = resource("AD_HDF5", str(one_file), frame_per_point=two)
    array = opened(one, [{"point_number": 1.0}, {"point_number": np.float64(3)}], key(2, 4, 6))
    np.testing.assert_array_equal(both(array), frames(10).reshape(5, 2, 4, 6)[[1, 3]])
    np.testing.assert_array_equal(
        both(opened(resource("AD_HDF5", str(one_file)), points(1), key(two, 4, 6))), [frames(4)[2:]]
    )


@pytest.mark.parametrize("length", [2.5, True, "2"], ids=repr)
def test_a_shape_that_counts_frames_has_an_integer(one_file: Path, length: Any) -> None:
    with pytest.raises(AssetUnavailable, match=r"counts frames, is .*, not an integer"):
        opened(resource("AD_HDF5", str(one_file)), points(0), key(length, 4, 6)).read()


def test_resource_of_no_document() -> None:
    array = datum_array(["r/0"], "det", key(4, 6), {}, {"r/0": ("r", {})})
    with pytest.raises(AssetUnavailable, match="'r', which is not in the run"):
        array.read()


def test_datum_that_says_too_little(one_file: Path) -> None:
    array = opened(resource("AD_HDF5", str(one_file)), [{"frame": 1}], key(4, 6))
    with pytest.raises(AssetUnavailable, match="point_number"):
        array.read()


def sequence(folder: Path, count: int, **how: Any) -> dict[str, Any]:
    for number, frame in enumerate(frames(count, **how)):
        np.save(folder / f"img_{number}.npy", frame)
    return resource("NPY_SEQ", "img", root=folder)


def indices(count: int) -> list[dict[str, Any] | None]:
    return [{"index": n} for n in range(count)]


def test_npy_sequence(tmp_path: Path) -> None:
    array = opened(sequence(tmp_path, 12), indices(12), key(4, 6), target_chunk=5 * 48)
    assert array.dtype == np.uint16
    assert array.dask().chunks[0] == (5, 5, 2), "files merged up to the target"
    np.testing.assert_array_equal(both(array), frames(12))


def test_npy_of_another_shape_or_dtype(tmp_path: Path) -> None:
    array = opened(sequence(tmp_path, 3), indices(3), key(4, 6))
    np.save(tmp_path / "img_1.npy", np.zeros((4, 7), "u2"))
    with pytest.raises(AssetUnavailable, match=r"img_1\.npy has uint16 of shape \(4, 7\)"):
        array.read()
    np.save(tmp_path / "img_1.npy", np.zeros((4, 6)))
    with pytest.raises(AssetUnavailable, match=r"img_1\.npy has float64"):
        array.read()


def test_npy_missing_in_the_midst(tmp_path: Path) -> None:
    one = sequence(tmp_path, 3)
    (tmp_path / "img_1.npy").unlink()
    with pytest.raises(AssetUnavailable, match=r"img_1\.npy: there is no such file.*root_map"):
        opened(one, indices(3), key(4, 6)).read()
    observed = both(opened(one, indices(3), key(4, 6), on_missing="fill"))
    np.testing.assert_array_equal(observed, [frames(3)[0], np.zeros((4, 6)), frames(3)[2]])


class Trap:
    """Leaves a mark when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return Path.touch, (self.mark,)


def test_npy_with_pickles_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "img_0.npy", np.array([Trap(tmp_path / "mark")], dtype=object), allow_pickle=True)
    array = opened(resource("NPY_SEQ", "img", root=tmp_path), indices(1), key(1))
    with pytest.raises(AssetUnavailable, match="img_0"):
        array.read()
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize("content", [b"", b"not numpy", b"\x93NUMPY\x01\x00"])
def test_npy_that_is_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "img_0.npy").write_bytes(content)
    with pytest.raises(AssetUnavailable, match="img_0"):
        opened(resource("NPY_SEQ", "img", root=tmp_path), indices(1), key(4, 6)).read()


def tiffs(folder: Path, count: int) -> dict[str, Any]:
    for number, frame in enumerate(frames(count)):
        tifffile.imwrite(folder / f"img_{number:06d}.tiff", frame)
    return resource("AD_TIFF", "", root=folder, template="%s%s_%6.6d.tiff", filename="img", frame_per_point=2)


def test_native_readers_come_before_installed_handlers(tmp_path: Path) -> None:
    array = opened(tiffs(tmp_path, 6), points(0, 1, 2), key(2, 4, 6, dtype_numpy="<u2"))
    assert isinstance(array.readers[0], TiffReader)
    np.testing.assert_array_equal(both(array), frames(6).reshape(3, 2, 4, 6))


def test_installed_handlers_are_found_by_spec() -> None:
    assert discover_handlers()["AD_TIFF"] is area_detector_handlers.handlers.AreaDetectorTiffHandler


CALLS: list[Any] = []


class CountingHandler:
    """Gives a frame full of its datum's number, and writes down its calls."""

    def __init__(self, path: str, factor: int = 1) -> None:
        CALLS.append(("open", path))
        self.factor = factor

    def __call__(self, number: int) -> np.ndarray[Any, Any]:
        CALLS.append(number)
        return np.full((2, 3), number * self.factor, dtype="<i4")

    def close(self) -> None:
        CALLS.append("close")


class FailingHandler(CountingHandler):
    """Has lost one datum."""

    def __call__(self, number: int) -> np.ndarray[Any, Any]:
        if number == 1:
            raise RuntimeError("frame dropped")
        return super().__call__(number)


@pytest.fixture(autouse=True)
def no_calls() -> None:
    CALLS.clear()


def numbers(count: int) -> list[dict[str, Any] | None]:
    return [{"number": n} for n in range(count)]


I4 = {"dtype_numpy": "<i4"}


def test_handler_is_called_once_a_datum_and_not_before(tmp_path: Path) -> None:
    one = resource("OURS", "x", root=tmp_path, factor=2)
    array = opened(one, numbers(4), key(2, 3, **I4), handlers={"OURS": CountingHandler}, target_chunk=48)
    described = array.dask()
    assert CALLS == []
    assert described.chunks[0] == (2, 2)
    assert described.compute(scheduler="sync")[:, 0, 0].tolist() == [0, 2, 4, 6]
    opening = ("open", str(tmp_path / "x"))
    assert sorted([CALLS[:4], CALLS[4:]], key=str) == [[opening, 0, 1, "close"], [opening, 2, 3, "close"]]


def test_tasks_carry_no_datums(tmp_path: Path) -> None:
    one = resource("OURS", "x", root=tmp_path)
    array = opened(one, numbers(1000), key(2, 3, **I4), handlers={"OURS": CountingHandler}, target_chunk=24 * 10)
    described = array.dask()
    assert described.npartitions == 100
    assert len(pickle.dumps(described)) < len(pickle.dumps(array)) + 100 * 150


def test_handlers_given_come_before_native_readers(one_file: Path) -> None:
    one = resource("AD_HDF5", str(one_file))
    array = opened(one, numbers(2), key(2, 3, **I4), handlers={"AD_HDF5": CountingHandler})
    assert both(array)[1].tolist() == [[1] * 3] * 2


def test_handlers_given_are_the_only_ones(tmp_path: Path) -> None:
    one = resource("NO_SUCH", "x", root=tmp_path)
    array = opened(one, points(0), key(2, 4, 6), handlers={"OURS": CountingHandler})
    with pytest.raises(AssetUnavailable, match=r"nothing installed reads the spec 'NO_SUCH'.*handler_registry"):
        array.read()


def test_dotted_names_need_trust(tmp_path: Path) -> None:
    one, name = tiffs(tmp_path, 2), "area_detector_handlers.handlers.AreaDetectorTiffHandler"
    spec = key(2, 4, 6, dtype_numpy="<u2")
    array = opened(one, points(0), spec, handlers={"AD_TIFF": name})
    np.testing.assert_array_equal(both(array)[0], frames(2))
    options: dict[str, Any] = {"trusted": False, "allowed_roots": (str(tmp_path),), "on_missing": "fill"}
    with pytest.raises(UntrustedName, match="dotted name"):
        opened(one, points(0), spec, handlers={"AD_TIFF": name}, **options).read()


def test_dotted_name_of_nothing(tmp_path: Path) -> None:
    array = opened(tiffs(tmp_path, 2), points(0), key(2, 4, 6), handlers={"AD_TIFF": "no.such:Handler"})
    with pytest.raises(PluginError, match=r"no\.such:Handler"):
        array.read()


def test_handler_that_fails(tmp_path: Path) -> None:
    one = resource("OURS", "x", root=tmp_path)
    array = opened(one, numbers(3), key(2, 3, **I4), handlers={"OURS": FailingHandler})
    with pytest.raises(AssetUnavailable, match=r"FailingHandler failed.*RuntimeError: frame dropped"):
        array.read()
    filled = opened(one, numbers(3), key(2, 3, **I4), handlers={"OURS": FailingHandler}, on_missing="fill")
    assert both(filled)[:, 0, 0].tolist() == [0, 0, 2]


def test_handler_values_that_fit_no_declaration(tmp_path: Path) -> None:
    one = resource("OURS", "x", root=tmp_path, factor=300)
    given: dict[str, Any] = {"handlers": {"OURS": CountingHandler}}
    assert both(opened(one, numbers(2), key(1, 2, 3), **given)).dtype == np.int32, "that of its first value"
    with pytest.raises(DamagedRun, match=r"shape \(2, 3\) where \(3, 3\)"):
        opened(one, numbers(2), key(3, 3), **given).read()
    with pytest.raises(DamagedRun, match="uint8"):
        opened(one, numbers(2), key(2, 3, dtype_numpy="|u1"), **given).read()


class GrowingHandler(CountingHandler):
    """Fails for its first datum, and gives wider and wider values."""

    def __call__(self, number: int) -> np.ndarray[Any, Any]:
        if not number:
            raise RuntimeError("frame dropped")
        return np.full((2, 3), 10**number, dtype=["", "u1", "u2", "i4", "f8"][number])


def test_dtype_is_that_of_the_first_value(tmp_path: Path) -> None:
    given: dict[str, Any] = {"handlers": {"OURS": GrowingHandler}, "on_missing": "fill"}
    array = opened(resource("OURS", "x", root=tmp_path), numbers(2), key(2, 3), **given)
    assert (array.dtype, both(array)[:, 0, 0].tolist()) == (np.dtype("u1"), [0, 10])
    array = opened(resource("OURS", "x", root=tmp_path), numbers(4), key(2, 3), **given)
    with pytest.raises(DamagedRun, match="int32 values that uint8 cannot hold"):
        array.read()
    assert (
        both(opened(resource("OURS", "x", root=tmp_path), numbers(4), key(2, 3, dtype_numpy="<i8"), **given)).max()
        == 1000
    )


def test_null_in_the_shape_is_learnt_from_one_datum(tmp_path: Path) -> None:
    one = resource("OURS", "x", root=tmp_path)
    array = opened(one, numbers(4), key(None, 3, **I4), handlers={"OURS": CountingHandler})
    assert CALLS[1:] == [0, "close"]
    assert both(array).shape == (4, 2, 3)


def test_simulated_image_detector_of_ophyd(tmp_path: Path) -> None:
    from bluesky.plans import count
    from ophyd.sim import hw

    from intake_bluesky.apps.demo.experiments import run_engine

    documents: list[tuple[str, dict[str, Any]]] = []
    with run_engine({}) as engine:
        plan = count([hw(save_path=str(tmp_path)).img], 3)
        engine(plan, lambda name, doc: documents.append((name, dict(doc))))
    resources = {doc["uid"]: doc for name, doc in documents if name == "resource"}
    datums = {doc["datum_id"]: (doc["resource"], doc["datum_kwargs"]) for name, doc in documents if name == "datum"}
    spec = next(doc for name, doc in documents if name == "descriptor")["data_keys"]["img"]
    ids = [doc["data"]["img"] for name, doc in documents if name == "event"]
    observed = both(datum_array(ids, "img", spec, resources, datums))
    expected = [np.load(path) for path in sorted(tmp_path.glob("*.npy"))]
    np.testing.assert_array_equal(observed, expected)
    assert len(observed) == 3


def test_other_datasets_of_area_detector_files(tmp_path: Path) -> None:
    path = write(tmp_path / "x.h5", frames(2))
    with h5py.File(path, "a") as file:
        file["elsewhere"] = file.pop(DATASET)
    with pytest.raises(AssetUnavailable, match=r"no dataset '/entry/data/data'; it has \['elsewhere', 'entry'\]"):
        opened(resource("AD_HDF5", str(path)), points(0), key(4, 6)).read()
    np.testing.assert_array_equal(
        both(opened(resource("AD_HDF5", str(path), path="/elsewhere"), points(0, 1), key(4, 6))), frames(2)
    )


@pytest.mark.parametrize("on_missing", ["raise", "fill"])
def test_a_resource_that_the_run_contradicts_is_neither_read_nor_filled(one_file: Path, on_missing: str) -> None:
    why = "the run defines 'r' several times, and not as the same"
    doubtful = {**resource("AD_HDF5", str(one_file)), CONTRADICTED: why}
    sound = resource("AD_HDF5", str(one_file), uid="s")
    array = opened([doubtful, sound], points(0, 1), key(4, 6), of=["r", "s"], on_missing=on_missing)
    for read in (array.read, lambda: array.dask().compute(scheduler="sync")):
        with pytest.raises(DamagedRun, match=why):
            read()
    np.testing.assert_array_equal(array[1:], frames(2)[1:])
