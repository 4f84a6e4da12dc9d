"""HDF5 datasets in all that resources say of them: every value equals h5py's own reading."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intake_bluesky.assets import Location
from intake_bluesky.assets.hdf5.reader import HDF5Reader
from intake_bluesky.assets.region import Region, Subarray, parse_slice
from intake_bluesky.errors import AssetUnavailable
from tests.assets.by_hand import DATASET, Array, asset, both, frames, key, opened, write


def read(reader: HDF5Reader, start: int = 0, stop: int | None = None, region: tuple[range, ...] = ()) -> Array:
    """The frames of a reader, as a block reads them."""
    header = reader.structure()
    assert header.frames is not None
    stop = header.frames if stop is None else stop
    shape = Region(region).shape or header.frame_shape
    out: Array = np.empty((stop - start, *shape), header.dtype)
    reader.read_into(start, stop, out, Region(region))
    return out


SLICES = [
    ("[::-1]", np.s_[::-1]),
    ("[8:2:-3, ::-1, ::-2]", np.s_[8:2:-3, ::-1, ::-2]),
    ("[-3:, -1]", np.s_[-3:, -1]),
    ("[..., 0]", np.s_[..., 0]),
    ("[:, ..., ::-1]", np.s_[:, ..., ::-1]),
    ("(2:5, None)", np.s_[2:5, None]),
    ("[:, np.newaxis, 1:3]", np.s_[:, np.newaxis, 1:3]),
    ("[None]", np.s_[None]),
    ("[2, ::-1]", np.s_[2, ::-1]),
    ("::2", np.s_[::2]),
    ((slice(1, 9, 2), ..., -1), np.s_[1:9:2, ..., -1]),
    ([{"start": 9, "stop": None, "step": -1}, 2], np.s_[9::-1, 2]),
    ([[0, 6], "...", [None, None, -1]], np.s_[0:6, ..., ::-1]),
    (slice(3, 7), np.s_[3:7]),
    (True, np.s_[:]),
]


@pytest.mark.parametrize(("wanted", "expected"), SLICES, ids=[str(wanted) for wanted, _ in SLICES])
@pytest.mark.parametrize("how", [{}, {"compression": "gzip"}], ids=["plain", "gzip"])
def test_slices_as_numpy_has_them(tmp_path: Path, wanted: Any, expected: Any, how: dict[str, Any]) -> None:
    path = write(tmp_path / "x.h5", frames(10), chunks=(3, 4, 4), **how)
    values = frames(10)[expected]
    streamed = asset(path, [(1, len(values) + 1, 0, len(values))], slice=wanted)
    observed = both(opened(streamed, key(*values.shape[1:]), len(values), target_chunk=100))
    np.testing.assert_array_equal(observed.reshape(values.shape), values)


@st.composite
def basic(draw: st.DrawFn) -> str:
    """A slice of three axes as text."""
    bound = st.one_of(st.just(""), st.integers(-12, 12).map(str))
    step = st.sampled_from(["", ":1", ":2", ":-1", ":-3"])
    parts = draw(st.lists(st.one_of(st.tuples(bound, bound, step).map(lambda p: f"{p[0]}:{p[1]}{p[2]}")), max_size=3))
    places = draw(st.lists(st.sampled_from(["...", "None"]), max_size=2, unique=True))
    for place in places:
        parts.insert(draw(st.integers(0, len(parts))), place)
    return f"[{', '.join(parts)}]"


@given(basic(), st.data())
def test_any_slice_and_any_part_of_it(text: str, data: st.DataObject) -> None:
    values = frames(9, (4, 6))
    expected = eval(f"values{text}" if text != "[]" else "values", {"values": values})
    meant = Subarray.of_slice(parse_slice(text), values.shape)
    assert meant.shape == expected.shape
    spans = [sorted(data.draw(st.tuples(st.integers(0, n), st.integers(0, n)))) for n in expected.shape]
    part = Region(range(a, b) for a, b in spans)
    wanted = expected[part.slices]
    if wanted.size:
        region = meant.region(part)
        observed = values[region.forward.slices].copy()
        region.flip(observed)
        np.testing.assert_array_equal(observed.reshape(wanted.shape), wanted)


@pytest.mark.parametrize("squeeze", [False, True])
@pytest.mark.parametrize("region", [(), (range(1, 3), range(2, 6)), (range(4), range(5, 6))])
@pytest.mark.parametrize("dtype", ["<u2", ">f4", "|b1"])
def test_regions(tmp_path: Path, squeeze: bool, region: tuple[range, ...], dtype: str) -> None:
    data = (frames(10) % 7).astype(dtype)[:, None]
    path = write(tmp_path / "x.h5", data, chunks=(2, 1, 3, 4))
    reader = HDF5Reader(Location(str(path)), squeeze=squeeze)
    full = region if squeeze or not region else (range(1), *region)
    expected = data[3:8, 0] if squeeze else data[3:8]
    np.testing.assert_array_equal(read(reader, 3, 8, full), expected[:, *Region(full).slices])


def damaged(path: Path, data: Array, chunk: tuple[int, ...], keep: Callable[[Any], bool], **how: Any) -> Path:
    """Write with checksums, then break every chunk that is not to be kept."""
    write(path, data, chunks=chunk, fletcher32=True, **how)
    with h5py.File(path) as file:
        dataset = file[DATASET]
        chunks = [dataset.id.get_chunk_info(n) for n in range(dataset.id.get_num_chunks())]
    with path.open("r+b") as raw:
        for one in chunks:
            if not keep(one.chunk_offset):
                raw.seek(one.byte_offset)
                raw.write(np.arange(one.size, dtype="u1").tobytes())
    return path


@pytest.mark.parametrize("how", [{}, {"compression": "gzip", "shuffle": True}], ids=["plain", "gzip"])
def test_a_region_touches_only_the_chunks_it_covers(tmp_path: Path, how: dict[str, Any]) -> None:
    data = frames(6, (8, 12))
    path = damaged(tmp_path / "x.h5", data, (2, 4, 4), lambda at: 2 <= at[0] < 4 and at[1:] in {(4, 4), (4, 8)}, **how)
    reader = HDF5Reader(Location(str(path)))
    region = (range(4, 8), range(4, 12))
    np.testing.assert_array_equal(read(reader, 2, 4, region), data[2:4, 4:8, 4:12])
    for wider in [(range(3, 8), range(4, 12)), (range(4, 8), range(3, 12)), ()]:
        with pytest.raises(OSError, match=r"(?i)checksum|read"):
            read(reader, 2, 4, wider)
    described = opened(asset(path, [(1, 7, 0, 6)]), key(8, 12), 6).dask()
    np.testing.assert_array_equal(described[2:4, 4:8, 4:].compute(scheduler="sync"), data[2:4, 4:8, 4:])


def test_a_region_reads_the_bytes_of_its_chunks(tmp_path: Path) -> None:
    import fsspec
    from fsspec.implementations.memory import MemoryFileSystem

    data = np.random.default_rng(0).integers(0, 2**16, (64, 256, 256)).astype("u2")
    path = write(tmp_path / "x.h5", data, chunks=(1, 64, 64))
    with fsspec.open("memory://rois/x.h5", "wb") as file:
        file.write(path.read_bytes())
    taken: list[int] = []

    original = MemoryFileSystem.cat_file

    def counting(self: Any, path: str, start: int, end: int, **more: Any) -> Any:
        taken.append(end - start)
        return original(self, path, start, end, **more)

    reader = HDF5Reader(Location("memory://rois/x.h5"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MemoryFileSystem, "cat_file", counting)
        np.testing.assert_array_equal(read(reader, 0, 64), data)
        taken.clear()
        observed = read(reader, 5, 6, (range(64, 128), range(64)))
    np.testing.assert_array_equal(observed, data[5:6, 64:128, :64])
    assert taken == [64 * 64 * 2], "one chunk of sixteen; where it is was found before"


@pytest.mark.parametrize("given_chunks", [(7, 2, 2), (1,), (100, 4, 6)])
def test_chunks_are_those_of_the_file_whatever_the_document_says(tmp_path: Path, given_chunks: tuple[int, ...]) -> None:
    path = write(tmp_path / "x.h5", frames(12), chunks=(4, 4, 6))
    array = opened(asset(path, [(1, 13, 0, 12)], chunk_shape=list(given_chunks)), key(4, 6), 12, target_chunk=5 * 48)
    assert array.dask().chunks[0] == (4, 4, 4)
    np.testing.assert_array_equal(both(array), frames(12))


@pytest.mark.parametrize("layout", ["contiguous", "compact", "external"])
def test_datasets_without_chunks(tmp_path: Path, layout: str) -> None:
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        if layout == "compact":
            how = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
            how.set_layout(h5py.h5d.COMPACT)
            made = h5py.h5d.create(file.id, b"d", h5py.h5t.NATIVE_UINT16, h5py.h5s.create_simple((5, 4, 6)), how)
            h5py.Dataset(made)[...] = frames(5)
        else:
            outside = [(str(tmp_path / "raw.bin"), 0, h5py.h5f.UNLIMITED)] if layout == "external" else None
            file.create_dataset("d", data=frames(5), external=outside)
    np.testing.assert_array_equal(both(opened(asset(path, [(1, 6, 0, 5)], dataset="d"), key(4, 6), 5)), frames(5))


def test_chunks_that_were_never_written_have_the_fill_value(tmp_path: Path) -> None:
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        data = file.create_dataset(
            DATASET,
            (6, 128, 256),
            "u2",
            chunks=(2, 128, 128),
            compression="gzip",
            fillvalue=7,
            maxshape=(None, 128, 256),
        )
        data[2:4] = frames(2, (128, 256))
        data[5, :5, 120:140] = 1
        expected = data[()]
    streamed = asset(path, [(1, 7, 0, 6)])
    np.testing.assert_array_equal(both(opened(streamed, key(128, 256), 6)), expected)


@pytest.mark.parametrize("locking", [True, False, None, "best-effort"])
@pytest.mark.parametrize("swmr", [True, False])
def test_ways_to_open(one_file: Path, locking: Any, swmr: bool) -> None:
    os.chmod(one_file, 0o444)
    streamed = asset(one_file, [(1, 11, 0, 10)], locking=locking, swmr=swmr)
    np.testing.assert_array_equal(both(opened(streamed, key(4, 6), 10)), frames(10))


def test_a_file_that_grows_within_a_session(tmp_path: Path) -> None:
    path = tmp_path / "live.h5"
    reader = HDF5Reader(Location(str(path)), swmr=True)
    with h5py.File(path, "w", libver="latest") as file:
        data = file.create_dataset(DATASET, (1, 4, 6), "<u2", chunks=(1, 4, 6), maxshape=(None, 4, 6))
        data[0] = frames(1)[0]
        file.swmr_mode = True
        with reader.session():
            np.testing.assert_array_equal(read(reader, 0, 1), frames(1))
            data.resize(3, axis=0)
            data[1:] = frames(2, first=1)
            data.flush()
            np.testing.assert_array_equal(read(reader, 0, 3), frames(3))
            with pytest.raises(AssetUnavailable, match="has 3 frames"):
                reader.read_into(0, 4, np.empty((4, 4, 6), "<u2"))


def test_many_reads_of_a_session_look_at_the_header_once(one_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[HDF5Reader] = []
    original = HDF5Reader._look

    def counting(self: HDF5Reader, handle: Any) -> Any:
        looked.append(self)
        return original(self, handle)

    monkeypatch.setattr(HDF5Reader, "_look", counting)
    reader = HDF5Reader(Location(str(one_file)))
    out = np.empty((1, 4, 6), "<u2")
    with reader.session():
        for number in range(10):
            reader.read_into(number, number + 1, out)
            np.testing.assert_array_equal(out, frames(1, first=number))
    assert looked == [reader]
