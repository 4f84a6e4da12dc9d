"""Compressed HDF5 datasets: chunk by chunk, in threads, and what is said where the decompressor is not installed."""

from __future__ import annotations

import subprocess
import sys
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intake_bluesky.assets import Location
from intake_bluesky.assets.hdf5 import filters
from intake_bluesky.assets.hdf5.filters import Deflated
from intake_bluesky.assets.hdf5.reader import HDF5Reader
from intake_bluesky.assets.region import Region
from intake_bluesky.errors import AssetUnavailable
from tests.assets.by_hand import DATASET, Array, asset, both, frames, key, opened, write
from tests.assets.hdf5_by_hand import CODECS, eiger, linked_file, single_files

SHAPE = (96, 200)
"""Of frames whose chunks are large enough to be unpacked outside of HDF5."""


@pytest.fixture
def unpacked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """The chunks that were unpacked outside of HDF5."""
    corners: list[tuple[int, ...]] = []
    original = Deflated._chunk

    def counting(self: Deflated, corner: tuple[int, ...]) -> Array | None:
        corners.append(corner)
        return original(self, corner)

    monkeypatch.setattr(Deflated, "_chunk", counting)
    return corners


@pytest.mark.parametrize("dtype", ["<u2", ">u4", "<f8", "i1", ">f4"])
@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("chunks", [(1, 96, 200), (3, 96, 200), (4, 60, 150)])
def test_gzip(tmp_path: Path, unpacked: list[Any], dtype: str, shuffle: bool, chunks: tuple[int, ...]) -> None:
    data = np.random.default_rng(0).integers(0, 100, (10, *SHAPE)).astype(dtype)
    path = write(tmp_path / "x.h5", data, chunks=chunks, compression="gzip", shuffle=shuffle)
    observed = both(opened(asset(path, [(1, 11, 0, 10)]), key(*SHAPE), 10, target_chunk=4 * data[0].nbytes))
    assert observed.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(observed, data)
    large = int(np.prod(chunks)) * data.dtype.itemsize >= filters.SMALLEST
    assert bool(unpacked) == large


@given(st.data())
def test_any_part_of_any_chunks(data: st.DataObject) -> None:
    shape = data.draw(st.tuples(*[st.integers(1, 9)] * 3))
    chunks = tuple(data.draw(st.integers(1, n)) for n in shape)
    spans = [
        data.draw(st.tuples(st.integers(0, n - 1), st.integers(1, n)).filter(lambda s: s[0] < s[1])) for n in shape
    ]
    values = np.arange(np.prod(shape), dtype="<i4").reshape(shape)
    with pytest.MonkeyPatch.context() as patch, h5py.File("x", "w", driver="core", backing_store=False) as file:
        patch.setattr(filters, "SMALLEST", 1)
        shuffle = data.draw(st.booleans())
        made = file.create_dataset("x", shape, "<i4", chunks=chunks, compression="gzip", shuffle=shuffle, fillvalue=-1)
        written = data.draw(st.integers(0, shape[0]))
        made[:written] = values[:written]
        squeezed = Deflated.of(made)
        assert squeezed is not None
        region = Region(range(*span) for span in spans)
        observed: Array = np.empty(region.shape, "<i4")
        squeezed.read(region, observed)
        np.testing.assert_array_equal(observed, made[region.slices])


def test_a_region_unpacks_only_the_chunks_it_covers(tmp_path: Path, unpacked: list[Any]) -> None:
    data = frames(4, (256, 256))
    path = write(tmp_path / "x.h5", data, chunks=(1, 128, 128), compression="gzip")
    with h5py.File(path) as file:
        dataset = file[DATASET]
        chunks = [dataset.id.get_chunk_info(n) for n in range(dataset.id.get_num_chunks())]
    with path.open("r+b") as raw:
        for one in chunks:
            if one.chunk_offset != (2, 128, 0):
                raw.seek(one.byte_offset)
                raw.write(b"\x00" * one.size)
    reader = HDF5Reader(Location(str(path)))
    out: Array = np.empty((1, 100, 100), "<u2")
    reader.read_into(2, 3, out, Region((range(140, 240), range(20, 120))))
    np.testing.assert_array_equal(out, data[2:3, 140:240, 20:120])
    assert unpacked == [(2, 128, 0)]
    with pytest.raises(AssetUnavailable, match=r"x\.h5 is damaged"):
        reader.read_into(2, 3, out, Region((range(100, 200), range(20, 120))))


def test_chunks_that_are_too_short_or_not_compressed(tmp_path: Path, unpacked: list[Any]) -> None:
    data = frames(3, (128, 256))
    path = write(tmp_path / "x.h5", data, compression="gzip", shuffle=True)
    with h5py.File(path, "a") as file:
        file[DATASET].id.write_direct_chunk((1, 0, 0), data[1].tobytes(), filter_mask=0b11)
        file[DATASET].id.write_direct_chunk((2, 0, 0), zlib.compress(b"short"))
    reader = HDF5Reader(Location(str(path)))
    out: Array = np.empty((2, 128, 256), "<u2")
    reader.read_into(0, 2, out)
    np.testing.assert_array_equal(out, data[:2])
    assert unpacked == [(0, 0, 0), (1, 0, 0)]
    with pytest.raises(AssetUnavailable, match=r"x\.h5 is damaged: the chunk at \(2, 0, 0\) is too short"):
        reader.read_into(1, 3, out)


def test_a_chunk_never_takes_more_memory_than_it_should(tmp_path: Path) -> None:
    path = write(tmp_path / "x.h5", frames(1, (128, 256)), compression="gzip")
    with h5py.File(path, "a") as file:
        file[DATASET].id.write_direct_chunk((0, 0, 0), zlib.compress(b"\x00" * 2**30))
    before = _peak()
    out: Array = np.empty((1, 128, 256), "<u2")
    HDF5Reader(Location(str(path))).read_into(0, 1, out)
    assert not out.any()
    assert _peak() - before < 2**28


def _peak() -> int:
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@pytest.mark.parametrize(("dtype", "step"), [("<f8", ""), ("<u2", "::2"), ("<u2", "::-1")])
def test_what_hdf5_converts_or_skips_it_reads_itself(tmp_path: Path, dtype: str, step: str) -> None:
    data = frames(6, (128, 256))
    path = write(tmp_path / "x.h5", data, compression="gzip")
    expected = data[:: int(step[2:] or 1)] if step else data
    reader = HDF5Reader.of(Location(str(path)), {"slice": step or None})
    out: Array = np.empty(expected.shape, dtype)
    reader.read_into(0, len(expected), out)
    np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("codec", CODECS)
def test_many_threads(tmp_path: Path, codec: str) -> None:
    data = frames(24, (128, 256))
    path = write(tmp_path / "x.h5", data, chunks=(2, 128, 256), **CODECS[codec])
    array = opened(asset(path, [(1, 25, 0, 24)]), key(128, 256), 24, target_chunk=3 * data[0].nbytes)
    with ThreadPoolExecutor(8) as pool:
        for observed in pool.map(lambda _: array.read(), range(8)):
            np.testing.assert_array_equal(observed, data)
    np.testing.assert_array_equal(array.dask().compute(scheduler="threads", num_workers=8), data)


WITHOUT_PLUGIN = """
import sys
sys.modules["hdf5plugin"] = None
import numpy as np
from intake_bluesky.assets import Location
from intake_bluesky.assets.reader_registry import native_reader
name, path, parameters = sys.argv[1], sys.argv[2], eval(sys.argv[3])
reader = native_reader(name).of(Location(path), parameters)
print(reader.structure().frame_shape)
try:
    reader.read_into(0, 1, np.empty((1, 4, 6), "<u2"))
except ImportError as error:
    print(error)
"""


@pytest.mark.parametrize("way", ["plain", "linked", "virtual", "single", "eiger", "eiger-virtual"])
def test_without_the_decompressor(tmp_path: Path, way: str) -> None:
    packed = CODECS["bitshuffle"]
    name, path, parameters = "application/x-hdf5", tmp_path / "x.h5", {}
    if way == "plain":
        write(path, frames(2), **packed)
    elif way in ("linked", "virtual"):
        linked_file(tmp_path, np.zeros((2, 16, 6), "<u2"), virtual=way == "virtual")
        write(tmp_path / "data.h5", np.zeros((2, 16, 6), "<u2"), **packed)
        path, parameters = tmp_path / "master.h5", {"slice": "[:, :4]"}
    elif way == "single":
        single_files(tmp_path, frames(2), chunks=(4, 6), **packed)
        name, path = "AD_HDF5_SINGLE", tmp_path
        parameters = {"template": "%s%s_%6.6d.h5", "filename": "img"}
    else:
        eiger(tmp_path / "x", 1, frames(2), kind="virtual" if "virtual" in way else "links")
        name, path, parameters = "AD_EIGER", tmp_path / "x", {"seq_id": "1"}
    command = [sys.executable, "-c", WITHOUT_PLUGIN, name, str(path), repr(parameters)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.startswith("(4, 6)\n"), done.stderr
    assert "hdf5plugin is needed to decompress" in done.stdout
    assert 'pip install "hdf5plugin>=4.4"' in done.stdout


def test_every_way_of_reading_unpacks(tmp_path: Path) -> None:
    data = frames(4)
    linked_file(tmp_path, np.zeros((4, 16, 6), "<u2"))
    write(tmp_path / "data.h5", data, **CODECS["zstd"])
    np.testing.assert_array_equal(both(opened(asset(tmp_path / "master.h5", [(1, 5, 0, 4)]), key(4, 6), 4)), data)
