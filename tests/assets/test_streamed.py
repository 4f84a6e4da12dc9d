"""Arrays of stream resources: which frames each row gets, and in what shape."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import cloudpickle  # type: ignore[import-untyped]
import h5py
import numpy as np
import pytest

from intake_bluesky.assets import AssetArray, AssetOptions, locate, stream_asset_array
from intake_bluesky.assets.hdf5.reader import HDF5Reader
from intake_bluesky.documents.model import StreamAsset
from intake_bluesky.errors import AssetUnavailable, DamagedRun
from tests.assets.by_hand import DATASET, Array, asset, both, frames, key, opened, write


def test_values_dtype_and_shape_are_those_of_the_file(one_file: Path) -> None:
    array = opened(asset(one_file, [(1, 11, 0, 10)]), key(1, 4, 6, dtype_numpy="<f8"), 10)
    assert array.dtype == np.dtype("<u2"), "the file's header is right, not the data key"
    with h5py.File(one_file) as file:
        np.testing.assert_array_equal(both(array)[:, 0], file[DATASET][()])


@pytest.mark.parametrize("dtype", ["|b1", "<u1", ">i2", "<f4", "<c8", "<i8"])
def test_every_dtype_stays_what_it_is(tmp_path: Path, dtype: str) -> None:
    data = frames(3, dtype=dtype)
    array = opened(asset(write(tmp_path / "x.h5", data), [(1, 4, 0, 3)]), key(4, 6), 3)
    assert array.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(both(array), data)


MICRO: Any = ["10 µm", "2 Å", "Grüße"]


@pytest.mark.parametrize(
    "how",
    [
        {"data": np.array([text.encode() for text in MICRO])},
        {"data": [text.encode() for text in MICRO], "dtype": h5py.string_dtype("ascii")},
        {"data": [text.encode() for text in MICRO], "dtype": h5py.string_dtype("utf-8", 12)},
    ],
)
def test_text_is_utf8_whatever_its_type_says(tmp_path: Path, how: dict[str, Any]) -> None:
    with h5py.File(tmp_path / "t.h5", "w") as file:
        file.create_dataset("text", **how)
    observed = both(opened(asset(tmp_path / "t.h5", [(1, 4, 0, 3)], dataset="text"), key(dtype="string"), 3))
    assert observed.tolist() == MICRO


def test_text_that_is_no_utf8_is_an_error_and_costs_no_other(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "t.h5", "w") as file:
        file["text"] = np.array([b"10 um", "10 µm".encode("latin-1")])
    array = opened(asset(tmp_path / "t.h5", [(1, 3, 0, 2)], dataset="text"), key(dtype="string"), 2)
    with pytest.raises(DamagedRun, match=r"t\.h5 has text in /text that is no UTF-8: b'10 \\xb5m'"):
        array.read()
    assert array[:1].tolist() == ["10 um"]


@pytest.mark.parametrize("virtual", [False, True])
def test_elements_that_are_arrays(tmp_path: Path, virtual: bool) -> None:
    data = np.arange(3 * 4 * 5 * 2, dtype="<i2").reshape(3, 4, 5, 2)
    kind = np.dtype((np.int16, (5, 2)))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("rows", (3, 4), kind, chunks=(1, 4), compression="gzip")[...] = data
        if virtual:
            layout = h5py.VirtualLayout((3, 4), kind)
            layout[...] = h5py.VirtualSource(file["rows"])
            file.create_virtual_dataset("virtual", layout)
    one = asset(tmp_path / "a.h5", [(1, 4, 0, 3)], dataset="virtual" if virtual else "rows")
    array = opened(one, key(4, 5, 2), 3)
    np.testing.assert_array_equal(both(array), data)
    for part in (np.s_[1:, 0:2], np.s_[::2, ..., 1], np.s_[:, ::-1, 1:4], np.s_[2, 1, 1, 0]):
        np.testing.assert_array_equal(array[part], data[part])
    sliced = asset(tmp_path / "a.h5", [(1, 4, 0, 3)], dataset="rows", slice="[::-1, 1:3]")
    np.testing.assert_array_equal(both(opened(sliced, key(2, 5, 2), 3)), data[::-1, 1:3])


def test_references_are_no_values(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "r.h5", "w") as file:
        file.create_dataset("refs", (3,), h5py.ref_dtype)
    with pytest.raises(AssetUnavailable, match="holds references into its file"):
        opened(asset(tmp_path / "r.h5", [(1, 4, 0, 3)], dataset="refs"), key(), 3).read()


def test_records_and_text(tmp_path: Path) -> None:
    records = np.array([(1, 2.5), (3, 4.5)], dtype=[("a", "<i4"), ("b", "<f8")])
    array = opened(asset(write(tmp_path / "r.h5", records, chunks=(2,)), [(1, 3, 0, 2)]), key(), 2)
    np.testing.assert_array_equal(both(array), records)
    text = np.array(["on", "öff"], dtype=object)
    path = write(tmp_path / "t.h5", text, chunks=(2,), dtype=h5py.string_dtype())
    assert both(opened(asset(path, [(1, 3, 0, 2)]), key(dtype="string"), 2)).tolist() == ["on", "öff"]


def test_scalars_have_no_further_axis(tmp_path: Path) -> None:
    path = write(tmp_path / "s.h5", np.arange(5.0), chunks=(1024,), maxshape=(None,))
    assert both(opened(asset(path, [(1, 6, 0, 5)]), key(1), 5)).tolist() == [0, 1, 2, 3, 4]


def test_frames_per_event_stacked(one_file: Path) -> None:
    observed = both(opened(asset(one_file, [(1, 6, 0, 5)]), key(2, 4, 6), 5))
    np.testing.assert_array_equal(observed, frames(10).reshape(5, 2, 4, 6))


def test_frames_per_event_concatenated(one_file: Path) -> None:
    array = opened(asset(one_file, [(1, 6, 0, 5)], join_method="concat"), key(2, 4, 6), 5)
    assert not array.on_rows
    np.testing.assert_array_equal(both(array), frames(10))


def test_asking_wins_over_the_resource(one_file: Path) -> None:
    streamed = asset(one_file, [(1, 6, 0, 5)], join_method="concat")
    assert both(opened(streamed, key(2, 4, 6), 5, join_method="stack")).shape == (5, 2, 4, 6)


def test_concat_of_frames_without_a_count(one_file: Path) -> None:
    array = opened(asset(one_file, [(1, 11, 0, 10)]), key(4, 6), 10, join_method="concat")
    np.testing.assert_array_equal(both(array), frames(10).reshape(40, 6))


@pytest.mark.parametrize("shape", [(5, 4, 6), (1, 4, 6), (4, 6), (None, 4, 6)])
def test_multiplier_says_how_many_frames_an_event_has(one_file: Path, shape: tuple[int | None, ...]) -> None:
    observed = both(opened(asset(one_file, [(1, 3, 0, 2)], multiplier=5), key(*shape), 2))
    np.testing.assert_array_equal(observed, frames(10).reshape(2, 5, 4, 6))


def test_multiplier_of_scalars(tmp_path: Path) -> None:
    path = write(tmp_path / "s.h5", np.arange(6), chunks=(4,))
    assert both(opened(asset(path, [(1, 4, 0, 3)], multiplier=2), key(1), 3)).tolist() == [[0, 1], [2, 3], [4, 5]]


def test_squeeze(one_file: Path) -> None:
    assert both(opened(asset(one_file, [(1, 11, 0, 10)]), key(1, 4, 6), 10, squeeze=True)).shape == (10, 4, 6)


def test_null_in_the_shape_is_learnt_from_the_file(one_file: Path) -> None:
    assert both(opened(asset(one_file, [(1, 11, 0, 10)]), key(1, None, None), 10)).shape == (10, 1, 4, 6)


@pytest.mark.parametrize("chunks", [(1, 4, 6), (3, 4, 6), (3, 2, 3), (10, 1, 6), (4, 4, 2)])
@pytest.mark.parametrize("per_event", [1, 2, 5])
@pytest.mark.parametrize("target", [1, 100, 250, 10**6])
def test_storage_chunks_and_target_change_no_value(
    tmp_path: Path, chunks: tuple[int, ...], per_event: int, target: int
) -> None:
    path = write(tmp_path / "c.h5", frames(10), chunks=chunks)
    streamed = asset(path, [(1, 10 // per_event + 1, 0, 10 // per_event)], chunk_shape=list(chunks[:1]))
    for join in ("stack", "concat"):
        options = {"target_chunk": target, "join_method": join}
        observed = both(opened(streamed, key(per_event, 4, 6), 10 // per_event, **options))
        np.testing.assert_array_equal(observed.reshape(10, 4, 6), frames(10))


def test_several_resources_follow_each_other(tmp_path: Path) -> None:
    parts = [write(tmp_path / f"{i}.h5", frames(3, first=3 * i)) for i in range(3)]
    assets = [asset(p, [(3 * i + 1, 3 * i + 4, 0, 3)]) for i, p in enumerate(parts)]
    array = opened(assets, key(1, 4, 6), 9)
    assert array.dask().chunks[0] == (3, 3, 3), "no chunk straddles a file"
    np.testing.assert_array_equal(both(array)[:, 0], frames(9))


def test_indices_that_count_on_over_files(tmp_path: Path) -> None:
    parts = [write(tmp_path / f"{i}.h5", frames(3, first=3 * i)) for i in range(3)]
    assets = [asset(p, [(3 * i + 1, 3 * i + 4, 3 * i, 3 * i + 3)]) for i, p in enumerate(parts)]
    np.testing.assert_array_equal(both(opened(assets, key(1, 4, 6), 9))[:, 0], frames(9))


def test_indices_that_a_long_file_has_are_its_own(tmp_path: Path) -> None:
    parts = [write(tmp_path / f"{i}.h5", frames(6, first=10 * i)) for i in range(2)]
    assets = [asset(parts[0], [(1, 4, 0, 3)]), asset(parts[1], [(4, 7, 3, 6)])]
    observed = both(opened(assets, key(1, 4, 6), 6))[3:, 0]
    np.testing.assert_array_equal(observed, frames(3, first=13))


def test_files_of_different_dtype_share_one_that_holds_both(tmp_path: Path) -> None:
    small = write(tmp_path / "a.h5", frames(2, dtype="u1"))
    large = write(tmp_path / "b.h5", frames(2, dtype="u2", first=90))
    array = opened([asset(small, [(1, 3, 0, 2)]), asset(large, [(3, 5, 0, 2)])], key(1, 4, 6), 4)
    assert array.dtype == np.uint16
    np.testing.assert_array_equal(both(array)[2:, 0], frames(2, first=90))


def detector_that_changed(folder: Path, dtype: str = "<u2") -> list[StreamAsset]:
    """Two frames of 4 x 6, then two of 5 x 3."""
    parts = [write(folder / "a.h5", frames(2, dtype=dtype)), write(folder / "b.h5", frames(2, (5, 3), dtype=dtype))]
    return [asset(p, [(2 * i + 1, 2 * i + 3, 0, 2)]) for i, p in enumerate(parts)]


BIG = 2**60


@pytest.mark.parametrize(
    ("first", "second", "common"),
    [
        (np.array([2**31 - 1, -3], "i4"), np.array([0.5, 1.5]), "f8"),
        (np.array([0.1, 0.2], "f4"), np.array([0.1, 0.2]), "f8"),
        (np.array([BIG, -3]), np.array([0.5, 1.5]), "f8"),
        (np.array([2**53, -(2**63)]), np.array([2**63, 1], "u8"), "f8"),
        (np.array([True, False]), np.array([5, 6]), "i8"),
        (np.array([1, 2], "u1"), np.array([-1, -2], "i1"), "i2"),
    ],
)
def test_what_a_common_dtype_holds_is_read_as_it_is(tmp_path: Path, first: Array, second: Array, common: str) -> None:
    observed = both(_of_two_files(tmp_path, first, second))
    assert observed.dtype == common
    assert [int(x) if x == int(x) else x for x in observed.tolist()] == [*first.tolist(), *second.tolist()]


@pytest.mark.parametrize("on_missing", ["raise", "fill"])
@pytest.mark.parametrize(
    ("first", "second", "lost"),
    [
        (np.array([BIG + 1, 1]), np.array([0.5, 1.5]), BIG + 1),
        (np.array([0.5, 1.5]), np.array([2, -BIG - 1]), -BIG - 1),
        (np.array([1, 2**63 - 1]), np.array([1, 2], "u8"), 2**63 - 1),
        (np.array([-1, 1]), np.array([1, 2**64 - 1], "u8"), 2**64 - 1),
        (np.array([0.5j, 1]), np.array([BIG + 1, 2]), BIG + 1),
        (np.array([0.5, 1], "f4"), np.array([BIG + 1, 2]), BIG + 1),
    ],
)
def test_no_integer_is_rounded_to_join_files(
    tmp_path: Path, first: Array, second: Array, lost: int, on_missing: str
) -> None:
    array = _of_two_files(tmp_path, first, second, on_missing=on_missing)
    for read in (array.read, lambda: array.dask().compute(scheduler="sync"), lambda: array[::-1]):
        with pytest.raises(DamagedRun, match=f"holds {lost}, as u?int64"):
            read()
    sound = [row for row, value in enumerate([*first.tolist(), *second.tolist()]) if value != lost]
    assert array[sound].tolist() == [value for value in [*first.tolist(), *second.tolist()] if value != lost]


def test_an_integer_that_is_not_asked_for_costs_no_other(tmp_path: Path) -> None:
    array = _of_two_files(tmp_path, np.array([1, BIG + 1, 3, 4]), np.array([0.5, 1.5, 2.5, 3.5]))
    assert array[[2, 0, 5]].tolist() == [3, 1, 1.5]


@pytest.mark.parametrize("second", [np.array([b"a", b"b"]), np.array([(1,), (2,)], [("x", "i8")])], ids=str)
def test_numbers_are_not_joined_with_text_nor_with_records(tmp_path: Path, second: Array) -> None:
    array = _of_two_files(tmp_path, np.array([1, 2]), second)
    assert array[:2].tolist() == [1, 2]
    with pytest.raises(AssetUnavailable, match="no array holds both"):
        array.read()


def _of_two_files(folder: Path, first: Array, second: Array, **options: Any) -> AssetArray:
    assets, count = [], len(first)
    for number, values in enumerate((first, second)):
        path = write(folder / f"{number}.h5", values)
        assets.append(asset(path, [(1 + count * number, 1 + count * (number + 1), 0, count)]))
    return opened(assets, key(), 2 * count, **options)


def test_files_of_different_shape(tmp_path: Path) -> None:
    array = opened(detector_that_changed(tmp_path), key(1, 4, 6), 4)
    assert array.shape == (4, 1, 5, 6), "as large as the largest"
    with pytest.raises(AssetUnavailable, match=r"shape \(1, 4, 6\) in .*a\.h5, others of \(1, 5, 6\); uint16.*fill"):
        array.read()
    described = array.dask()
    np.testing.assert_array_equal(described[:2, 0, :4].compute(scheduler="sync"), frames(2))
    np.testing.assert_array_equal(described[2:, 0, :, :3].compute(scheduler="sync"), frames(2, (5, 3)))


@pytest.mark.parametrize(("dtype", "absent"), [("<u2", 0), ("<f4", np.nan)])
def test_files_of_different_shape_filled(tmp_path: Path, dtype: str, absent: float) -> None:
    how = {"on_missing": "fill"} if dtype == "<u2" else {}
    observed = both(opened(detector_that_changed(tmp_path, dtype), key(1, 4, 6), 4, **how))
    expected = np.full((4, 5, 6), absent, dtype)
    expected[:2, :4], expected[2:, :, :3] = frames(2), frames(2, (5, 3))
    np.testing.assert_array_equal(observed[:, 0], expected)


def test_frames_per_event_that_change_between_descriptors(tmp_path: Path) -> None:
    first, later = (write(tmp_path / f"{name}.h5", frames(count, dtype="<f4")) for name, count in (("a", 2), ("b", 6)))
    assets = [asset(first, [(1, 3, 0, 2)]), replace(asset(later, [(3, 5, 0, 2)]), descriptor="later")]
    specs = {"descriptor": key(1, 4, 6), "later": key(3, 4, 6)}
    array = stream_asset_array(assets, "det", key(1, 4, 6), np.arange(1, 5), specs=specs)
    expected = np.full((4, 3, 4, 6), np.nan, "<f4")
    expected[:2, 0], expected[2:] = frames(2), frames(6).reshape(2, 3, 4, 6)
    np.testing.assert_array_equal(both(array), expected)


def test_dimensions_that_change_are_an_error(tmp_path: Path) -> None:
    parts = [write(tmp_path / "a.h5", frames(2)), write(tmp_path / "b.h5", frames(2, (5,)))]
    array = opened([asset(p, [(2 * i + 1, 2 * i + 3, 0, 2)]) for i, p in enumerate(parts)], key(1, 4, 6), 4)
    np.testing.assert_array_equal(array[:2, 0], frames(2))
    with pytest.raises(AssetUnavailable, match=r"values of shape \(1, 5\) in .*b\.h5, others of \(1, 4, 6\)"):
        array.read()


def test_skipped_frames(one_file: Path) -> None:
    observed = both(opened(asset(one_file, [(1, 4, 0, 3), (4, 6, 8, 10)]), key(1, 4, 6), 5))
    np.testing.assert_array_equal(observed[:, 0], frames(10)[[0, 1, 2, 8, 9]])


def test_more_indices_than_seq_nums(one_file: Path) -> None:
    observed = both(opened(asset(one_file, [(1, 3, 0, 4), (3, 5, 4, 6)]), key(1, 4, 6), 4))
    np.testing.assert_array_equal(observed[:, 0], frames(10)[[0, 1, 4, 5]])


def test_rewind_takes_the_later_frames(one_file: Path) -> None:
    observed = both(opened(asset(one_file, [(1, 5, 0, 4), (2, 6, 4, 8)]), key(1, 4, 6), 5))
    np.testing.assert_array_equal(observed[:, 0], frames(10)[[0, 4, 5, 6, 7]])


def test_indices_before_the_first_frame_are_noted(one_file: Path) -> None:
    array = opened(asset(one_file, [(1, 5, -2, 2)]), key(4, 6), 4)
    assert array.missing.tolist() == [0, 1]
    with pytest.raises(AssetUnavailable, match=r"2 of 4 rows: the documents speak of event -2 of .*count from 0"):
        array.read()
    np.testing.assert_array_equal(array[2:], frames(2))


def test_of_two_assets_of_a_seq_num_the_later_wins_whatever_their_resource(tmp_path: Path) -> None:
    one, other = (write(tmp_path / f"{first}.h5", frames(4, first=first)) for first in (0, 10))
    spans = [asset(one, [(1, 5, 0, 4)]), asset(other, [(2, 4, 0, 2)]), asset(one, [(3, 4, 0, 1)])]
    observed = both(opened(spans, key(4, 6), 4))
    np.testing.assert_array_equal(observed, frames(20)[[0, 10, 0, 3]])


@pytest.mark.parametrize("seed", range(8))
def test_any_map_of_rows_to_frames(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    data = frames(40, (2, 3), dtype="<i4")
    per_event = int(rng.choice([1, 2, 4]))
    chunks = (int(rng.integers(1, 9)), 2, 3)
    path = write(tmp_path / "x.h5", data, chunks=chunks)
    index = rng.integers(0, 40 // per_event, 30)
    index = np.sort(index) if seed % 2 else index
    spans = [(i + 1, i + 2, int(n), int(n) + 1) for i, n in enumerate(index)]
    array = opened(asset(path, spans), key(per_event, 2, 3), 30, target_chunk=int(rng.integers(20, 400)))
    expected = data.reshape(-1, per_event, 2, 3)[index]
    np.testing.assert_array_equal(both(array), expected)


def test_rows_in_part(one_file: Path) -> None:
    observed = both(opened(asset(one_file, [(1, 11, 0, 10)]), key(1, 4, 6), np.array([2, 5, 6])))
    np.testing.assert_array_equal(observed[:, 0], frames(10)[[1, 4, 5]])


def test_no_rows(one_file: Path) -> None:
    assert both(opened(asset(one_file, []), key(1, 4, 6), 0)).shape == (0, 1, 4, 6)
    assert both(opened([], key(1, 4, 6, dtype_numpy="<u2"), 0)).shape == (0, 1, 4, 6)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("[:, 0, ::2]", np.s_[:, 0, ::2]),
        ("(::2, 1:3)", np.s_[::2, 1:3]),
        ([None, [0, 2], 3], np.s_[:, 0:2, 3]),
        ([{"start": 2, "stop": 8, "step": 3}], np.s_[2:8:3]),
    ],
)
def test_slice_of_a_dataset(one_file: Path, given: Any, expected: Any) -> None:
    with h5py.File(one_file) as file:
        wanted = file[DATASET][expected]
    streamed = asset(one_file, [(1, len(wanted) + 1, 0, len(wanted))], slice=given)
    np.testing.assert_array_equal(both(opened(streamed, key(*wanted.shape[1:]), len(wanted))), wanted)


def test_integer_before_the_axis_of_frames(tmp_path: Path) -> None:
    data = frames(2, (5, 3))
    streamed = asset(write(tmp_path / "x.h5", data), [(1, 6, 0, 5)], slice="(1, :, :)")
    np.testing.assert_array_equal(both(opened(streamed, key(3), 5)), data[1])


def test_squeeze_of_a_dataset_keeps_the_frames(tmp_path: Path) -> None:
    path = write(tmp_path / "x.h5", frames(1, (1, 6)))
    assert both(opened(asset(path, [(1, 2, 0, 1)], squeeze=True), key(6), 1)).shape == (1, 6)


@pytest.mark.parametrize("name", ["dataset", "path"])
def test_names_of_the_dataset(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / "x.h5", frames(2), dataset="/a/b")
    parameters: dict[str, Any] = {"dataset": None, name: ["a", "b"]}
    np.testing.assert_array_equal(both(opened(asset(path, [(1, 3, 0, 2)], **parameters), key(4, 6), 2)), frames(2))


def test_resource_of_before_1_20(tmp_path: Path) -> None:
    write(tmp_path / "x.h5", frames(2))
    old = {"uid": "r", "spec": "AD_HDF5_SWMR_STREAM", "root": "/gone", "resource_path": "x.h5", "resource_kwargs": {}}
    array = opened(StreamAsset(old, "det", "d", ((1, 3, 0, 2),)), key(4, 6), 2, root_map={"/gone": str(tmp_path)})
    np.testing.assert_array_equal(both(array), frames(2))


def test_compressed_with_a_plugin_filter(tmp_path: Path) -> None:
    import hdf5plugin

    path = write(tmp_path / "z.h5", frames(10), chunks=(4, 4, 6), **hdf5plugin.Bitshuffle())
    np.testing.assert_array_equal(both(opened(asset(path, [(1, 11, 0, 10)]), key(4, 6), 10)), frames(10))


def test_opening_reads_no_data(one_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[tuple[int, int]] = []
    original = HDF5Reader.read_into

    def counting(self: HDF5Reader, start: int, stop: int, out: Any, region: Any = ()) -> None:
        reads.append((start, stop))
        original(self, start, stop, out, region)

    monkeypatch.setattr(HDF5Reader, "read_into", counting)
    described = opened(asset(one_file, [(1, 11, 0, 10)]), key(1, 4, 6), 10).dask()
    selected = described[3:5].mean()
    assert reads == []
    selected.compute(scheduler="sync")
    assert reads == [(3, 5)], "one block, one read of what was asked"


def test_tasks_go_with_blocks_not_with_events(tmp_path: Path) -> None:
    path = write(tmp_path / "x.h5", np.zeros((200, 64, 64), "u2"))
    described = opened(asset(path, [(1, 201, 0, 200)]), key(1, 64, 64), 200, target_chunk=64 * 64 * 2 * 20).dask()
    assert described.chunks[0] == (20,) * 10
    assert len(described.__dask_graph__()) <= 2 * 10
    assert len(pickle.dumps(described)) < 10_000


def test_a_large_event_is_cut_between_its_frames(tmp_path: Path) -> None:
    path = write(tmp_path / "x.h5", frames(24), chunks=(2, 4, 6))
    array = opened(asset(path, [(1, 3, 0, 2)]), key(12, 4, 6), 2, target_chunk=5 * 48)
    assert array.dask().chunks[:2] == ((1, 1), (4, 4, 4)), "whole storage chunks"
    np.testing.assert_array_equal(both(array), frames(24).reshape(2, 12, 4, 6))


def test_everything_pickles(one_file: Path) -> None:
    array = opened(asset(one_file, [(1, 11, 0, 10)]), key(1, 4, 6), 10)
    for package in (pickle, cloudpickle):
        again = package.loads(package.dumps(array))
        np.testing.assert_array_equal(again.read()[:, 0], frames(10))
        described = package.loads(package.dumps(array.dask()))
        np.testing.assert_array_equal(described.compute(scheduler="sync")[:, 0], frames(10))


def test_computes_in_other_processes(one_file: Path) -> None:
    described = opened(asset(one_file, [(1, 11, 0, 10)]), key(1, 4, 6), 10, target_chunk=100).dask()
    observed = described.sum().compute(scheduler="processes", num_workers=2)
    assert observed == frames(10).sum()


def test_names_change_with_the_file_and_only_then(one_file: Path) -> None:
    def name(rows: int = 10) -> str:
        return str(opened(asset(one_file, [(1, 11, 0, 10)]), key(1, 4, 6), rows).dask().name)

    before = name()
    assert name() == before
    assert name(9) != before
    write(one_file, frames(11))
    assert name() != before


def test_credentials_are_in_no_repr_and_no_name() -> None:
    streamed = asset("s3://bucket/x.h5", [(1, 2, 0, 1)])
    options = AssetOptions(storage_options={"secret": "hunter2"})
    reader = HDF5Reader.of(locate(streamed.resource, options), {})
    assert "hunter2" not in repr(reader) + repr(options)


def test_remote_files(tmp_path: Path) -> None:
    import fsspec

    path = write(tmp_path / "x.h5", frames(5))
    with fsspec.open("memory://bucket/x.h5", "wb") as file:
        file.write(path.read_bytes())
    array = stream_asset_array([asset("memory://bucket/x.h5", [(1, 6, 0, 5)])], "det", key(4, 6), np.arange(1, 6))
    np.testing.assert_array_equal(both(array), frames(5))
