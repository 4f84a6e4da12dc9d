"""Zarr arrays: wherever the store is, whatever its format, and no more of it than is asked."""

from __future__ import annotations

import pickle
import shutil
import warnings
from pathlib import Path
from typing import Any

import dask
import fsspec
import numpy as np
import pytest
import zarr
from fsspec.implementations.memory import MemoryFileSystem

from intake_bluesky.assets import AssetArray, Location
from intake_bluesky.assets.reader import FrameStructure
from intake_bluesky.assets.region import Region
from intake_bluesky.assets.zarr_arrays import ZarrReader, open_arrays
from intake_bluesky.documents.columns import TEXT
from intake_bluesky.errors import AssetUnavailable, UntrustedName
from tests.assets.by_hand import Array, asset, both, frames, key, opened

ZARR = "application/x-zarr"


def store(url: Path | str, data: Array, *, name: str = "entry/data", zarr_format: Any = 3, **how: Any) -> str:
    """Write one array into a group."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of dtypes whose place in format 3 is not settled
        group = zarr.open_group(str(url), mode="w", zarr_format=zarr_format)
        how.setdefault("chunks", (1, *data.shape[1:]))
        group.create_array(name, shape=data.shape, dtype=how.pop("dtype", data.dtype), **how)[...] = data
    return str(url)


def array(
    url: Path | str, rows: int = 10, *, spec: dict[str, Any] | None = None, target: Any = 10**6, **parameters: Any
) -> AssetArray:
    parameters = parameters or {"path": "entry/data"}
    streamed = asset(str(url), [(1, rows + 1, 0, rows)], mimetype=ZARR, **parameters)
    return opened(streamed, spec or key(1, 4, 6), rows, target_chunk=target)


def reader(url: Path | str, **parameters: Any) -> ZarrReader:
    return ZarrReader.of(Location(str(url)), parameters or {"path": "entry/data"})


def read(of: ZarrReader, start: int = 0, stop: int | None = None, region: Any = ()) -> Array:
    """What the reader alone gives, in an array as its structure promises."""
    structure = of.structure()
    stop = structure.frames if stop is None else stop
    assert stop is not None
    shape = Region(region).shape or structure.frame_shape
    out: Array = np.empty((stop - start, *shape), structure.dtype)
    of.read_into(start, stop, out, Region(region))
    assert len(open_arrays) == 0, "nothing stays open"
    return out


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("place", ["folder", "memory"])
@pytest.mark.parametrize("consolidated", [False, True])
def test_stores(tmp_path: Path, zarr_format: int, place: str, consolidated: bool) -> None:
    url = str(tmp_path / "x.zarr") if place == "folder" else f"memory://zarr/{zarr_format}-{consolidated}.zarr"
    store(url, frames(10), zarr_format=zarr_format)
    if consolidated:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", zarr.errors.ZarrUserWarning)
            zarr.consolidate_metadata(url)
    np.testing.assert_array_equal(both(array(url))[:, 0], frames(10))


@pytest.mark.parametrize("place", ["here", "memory"])
def test_zip(tmp_path: Path, place: str) -> None:
    path = tmp_path / "x.zip"
    with zarr.storage.ZipStore(path, mode="w") as packed:
        zarr.create_array(packed, name="a/b", shape=(10, 4, 6), chunks=(3, 4, 6), dtype="u2")[...] = frames(10)
    url = str(path)
    if place == "memory":
        url = "memory://zarr/x.zip"
        with fsspec.open(url, "wb") as file:
            file.write(path.read_bytes())
    np.testing.assert_array_equal(both(array(url, dataset="/a/b/"))[:, 0], frames(10))


def test_half_a_zip(tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_bytes(b"PK")
    with pytest.raises(AssetUnavailable, match=r"x\.zip cannot be read: BadZipFile"):
        reader(tmp_path / "x.zip").structure()


@pytest.mark.parametrize(
    "parameters", [{"path": "entry/data"}, {"dataset": "/entry/data"}, {"path": ["entry", "data"]}]
)
def test_names_of_the_array(tmp_path: Path, parameters: dict[str, Any]) -> None:
    np.testing.assert_array_equal(read(reader(store(tmp_path / "x", frames(3)), **parameters)), frames(3))


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_array_at_the_root(tmp_path: Path, zarr_format: Any) -> None:
    path = tmp_path / "x.zarr"
    zarr.create_array(path, shape=(3, 4, 6), dtype="u2", zarr_format=zarr_format)[...] = frames(3)
    np.testing.assert_array_equal(read(ZarrReader.of(Location(f"{path}/"), {})), frames(3))


def test_the_only_array_needs_no_name(tmp_path: Path) -> None:
    url = store(tmp_path / "x.zarr", frames(3), name="cam")
    np.testing.assert_array_equal(read(ZarrReader.of(Location(url), {})), frames(3))
    zarr.open_group(url).create_array("another", shape=(3,), dtype="u1")
    with pytest.raises(AssetUnavailable, match="its arrays are another, cam"):
        ZarrReader.of(Location(url), {}).structure()


@pytest.mark.parametrize("dtype", ["|b1", "<u1", "<i2", ">i2", "<f4", "<c8", "<i8"])
@pytest.mark.parametrize("zarr_format", [2, 3])
def test_every_dtype_stays_what_it_is(tmp_path: Path, dtype: str, zarr_format: int) -> None:
    data = frames(3, dtype=dtype)
    observed = both(array(store(tmp_path / "x", data, zarr_format=zarr_format), 3, spec=key(4, 6)))
    stored = np.dtype(dtype) if zarr_format == 2 else np.dtype(dtype).newbyteorder("<")
    assert observed.dtype == stored, "in format 3 the order of bytes is a codec's matter"
    np.testing.assert_array_equal(observed, data)


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_records_and_text(tmp_path: Path, zarr_format: int) -> None:
    records = np.array([(1, 2.5), (3, 4.5), (5, 6.5)], dtype=[("a", "<i4"), ("b", "<f8")])
    url = store(tmp_path / "r", records, zarr_format=zarr_format, chunks=(2,))
    np.testing.assert_array_equal(both(array(url, 3, spec=key())), records)
    text = np.array(["on", "öff", ""], dtype=object)
    observed = both(array(store(tmp_path / "t", text, zarr_format=zarr_format, dtype=str, chunks=(2,)), 3, spec=key()))
    assert observed.dtype == TEXT
    assert observed.tolist() == ["on", "öff", ""]


@pytest.mark.filterwarnings("ignore::zarr.errors.UnstableSpecificationWarning")
def test_bytes_of_varying_length_are_refused(tmp_path: Path) -> None:
    zarr.create_array(tmp_path / "x", shape=(2,), dtype="bytes")
    with pytest.raises(AssetUnavailable, match="varying length"):
        ZarrReader.of(Location(str(tmp_path / "x")), {}).structure()


def test_structure_is_that_of_the_metadata(tmp_path: Path) -> None:
    observed = reader(store(tmp_path / "x", frames(10), chunks=(3, 2, 6))).structure()
    assert observed == FrameStructure(10, (4, 6), np.dtype("<u2"), 3, observed.version)


def test_shards(tmp_path: Path) -> None:
    url = store(tmp_path / "x", frames(12), chunks=(2, 2, 6), shards=(6, 4, 6))
    assert reader(url).structure().chunk_frames == 6
    np.testing.assert_array_equal(both(array(url, 12, target=200))[:, 0], frames(12))
    np.testing.assert_array_equal(read(reader(url), 3, 5, (range(1, 3), range(2, 5))), frames(12)[3:5, 1:3, 2:5])


def test_large_shards_are_read_by_the_chunks_inside(tmp_path: Path) -> None:
    zarr.create_array(
        tmp_path / "x", shape=(1000, 1024, 1024), chunks=(5, 256, 256), shards=(100, 1024, 1024), dtype="u2"
    )
    assert ZarrReader.of(Location(str(tmp_path / "x")), {}).structure().chunk_frames == 5


@pytest.mark.parametrize("chunks", [(1, 4, 6), (3, 4, 6), (4, 3, 4), (10, 1, 6)])
@pytest.mark.parametrize("target", [1, 100, 250, 10**6])
def test_storage_chunks_and_target_change_no_value(tmp_path: Path, chunks: tuple[int, ...], target: int) -> None:
    url = store(tmp_path / "x", frames(10), chunks=chunks)
    np.testing.assert_array_equal(both(array(url, target=target))[:, 0], frames(10))


@pytest.mark.parametrize("seed", range(6))
def test_any_part_of_any_frames(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    data = frames(12, (5, 7), dtype="<i4")
    of = reader(store(tmp_path / "x", data, chunks=tuple(rng.integers(1, 7, 3).tolist())))
    start, stop = sorted(rng.integers(0, 13, 2).tolist())
    region = Region(range(*sorted(rng.integers(0, n + 1, 2).tolist())) for n in (5, 7))
    np.testing.assert_array_equal(read(of, start, stop, region), data[start:stop][:, *region.slices])


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("[:, 0, ::2]", np.s_[:, 0, ::2]),
        ("(::2, 1:3)", np.s_[::2, 1:3]),
        ([None, [0, 2], 3], np.s_[:, 0:2, 3]),
        ("(1, :, :)", np.s_[1]),
        ("[..., ::-2]", np.s_[..., ::-2]),
        ("[2, ::-1, None]", np.s_[2, ::-1, None]),
    ],
)
def test_slice_of_an_array(tmp_path: Path, given: Any, expected: Any) -> None:
    url = store(tmp_path / "x", frames(10), chunks=(3, 3, 3))
    wanted = frames(10)[expected]
    observed = both(array(url, len(wanted), spec=key(*wanted.shape[1:]), path="entry/data", slice=given))
    np.testing.assert_array_equal(observed, wanted)


def test_slices_that_make_no_frames(tmp_path: Path) -> None:
    url = store(tmp_path / "x", frames(2))
    with pytest.raises(AssetUnavailable, match="no axis that counts frames"):
        reader(url, path="entry/data", slice="[0, 0, 0]").structure()
    with pytest.raises(AssetUnavailable, match="4 indices for an array of 3 dimensions"):
        reader(url, path="entry/data", slice="[0, 0, 0, 0]").structure()


def test_squeeze_and_multiplier(tmp_path: Path) -> None:
    url = store(tmp_path / "x", frames(10).reshape(10, 1, 4, 6))
    whole: dict[str, Any] = {"path": "entry/data"}
    assert both(array(url, spec=key(4, 6), squeeze=True, **whole)).shape == (10, 4, 6)
    assert (
        read(reader(url, squeeze=True, **whole), 2, 4, (range(1, 2), range(3))).tolist()
        == frames(10)[2:4, 1:2, :3].tolist()
    )
    observed = both(array(url, 5, spec=key(2, 4, 6), squeeze=True, multiplier=2, **whole))
    np.testing.assert_array_equal(observed, frames(10).reshape(5, 2, 4, 6))
    concat = array(url, 5, spec=key(2, 4, 6), squeeze=True, multiplier=2, join_method="concat", **whole)
    np.testing.assert_array_equal(both(concat), frames(10))


def test_missing_chunks_are_the_fill_value(tmp_path: Path) -> None:
    url = store(tmp_path / "x", frames(4), fill_value=7)
    shutil.rmtree(tmp_path / "x" / "entry" / "data" / "c" / "2")
    observed = both(array(url, 4, spec=key(4, 6)))
    assert (observed[2] == 7).all()
    np.testing.assert_array_equal(observed[[0, 1, 3]], frames(4)[[0, 1, 3]])


def test_only_the_chunks_asked_are_read(tmp_path: Path) -> None:
    url = store(tmp_path / "x", frames(10), chunks=(2, 2, 3))
    kept = {"2/0/0", "2/0/1"}
    for file in (tmp_path / "x" / "entry" / "data" / "c").rglob("*"):
        if file.is_file() and "/".join(file.parts[-3:]) not in kept:
            file.write_bytes(b"damaged")
    observed = read(reader(url), 4, 6, (range(2), range(1, 5)))
    np.testing.assert_array_equal(observed, frames(10)[4:6, :2, 1:5])
    with pytest.raises(AssetUnavailable, match=r"entry/data of .*x cannot be read: .*decompress"):
        read(reader(url), 4, 6, (range(3), range(1, 5)))


def test_objects_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    url = store("memory://zarr/count.zarr", frames(10), chunks=(2, 2, 6))
    fetched: list[str] = []
    original = MemoryFileSystem.cat_file

    def counting(self: Any, path: str, *args: Any, **kwargs: Any) -> Any:
        fetched.append(path)
        return original(self, path, *args, **kwargs)

    monkeypatch.setattr(MemoryFileSystem, "cat_file", counting)
    of = reader(url)
    of.structure()
    assert [name for name in fetched if "/c/" in name] == [], "the structure is that of the metadata"
    metadata = len(fetched)
    fetched.clear()
    with of.session():
        for start in range(3):
            of.read_into(2 * start, 2 * start + 2, np.empty((2, 2, 6), "<u2"), Region((range(2), range(6))))
    chunks = [name.partition("/c/")[2] for name in fetched if "/c/" in name]
    assert sorted(chunks) == ["0/0/0", "1/0/0", "2/0/0"]
    assert len(fetched) - len(chunks) == metadata, "opened once"


def test_a_store_that_grows(tmp_path: Path) -> None:
    url = store(tmp_path / "x", frames(10)[:6])
    first = array(url, 10)
    assert first.missing.tolist() == [6, 7, 8, 9]
    before = reader(url).structure().version
    with reader(url).session():
        growing = zarr.open_group(url)["entry/data"]
        assert isinstance(growing, zarr.Array)
        growing.resize((10, 4, 6))
        growing[6:] = frames(10)[6:]
        out: Array = np.empty((10, 4, 6), "<u2")
        reader(url).read_into(0, 10, out)
    np.testing.assert_array_equal(out, frames(10))
    assert reader(url).structure().version != before
    np.testing.assert_array_equal(both(array(url, 10))[:, 0], frames(10))


def test_more_frames_than_there_are(tmp_path: Path) -> None:
    of = reader(store(tmp_path / "x", frames(2)))
    with pytest.raises(AssetUnavailable, match=r"entry/data of .*x has 2 frames, frame 4 was asked"):
        of.read_into(0, 5, np.empty((5, 4, 6), "<u2"))
    with pytest.raises(AssetUnavailable, match=r"frames of shape \(4, 6\), where \(5, 6\)"):
        of.read_into(0, 2, np.empty((2, 5, 6), "<u2"))


def test_no_store(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no Zarr store at .*gone\.zarr"):
        reader(tmp_path / "gone.zarr").structure()
    lacking = array(tmp_path / "gone.zarr", 2, spec=key(1, 4, 6, dtype_numpy="<u2"))
    assert (lacking.shape, lacking.dtype) == ((2, 1, 4, 6), np.dtype("<u2")), "the rest of the stream opens"
    with pytest.raises(OSError, match=r"gone\.zarr"):
        lacking.read()


@pytest.mark.parametrize("place", ["folder", "memory"])
def test_no_array(tmp_path: Path, place: str) -> None:
    url = store(str(tmp_path / "x") if place == "folder" else "memory://zarr/none.zarr", frames(2))
    with pytest.raises(AssetUnavailable, match=r"has no array 'entry/date'; its arrays are entry/data"):
        reader(url, path="entry/date").structure()
    with pytest.raises(AssetUnavailable, match=r"has no array 'entry'"):
        reader(url, path="entry").structure()


def test_damaged_metadata(tmp_path: Path) -> None:
    url = store(tmp_path / "x", frames(2))
    (tmp_path / "x" / "entry" / "data" / "zarr.json").write_text('{"shape": [2')
    with pytest.raises(AssetUnavailable, match=r"entry/data of .*x cannot be read"):
        reader(url).structure()


def test_a_single_value_holds_no_frames(tmp_path: Path) -> None:
    zarr.create_array(tmp_path / "x", shape=(), dtype="f8")
    with pytest.raises(AssetUnavailable, match="single value"):
        ZarrReader.of(Location(str(tmp_path / "x")), {}).structure()


def test_paths_do_not_climb_out_of_the_store(tmp_path: Path) -> None:
    store(tmp_path / "private", frames(2))
    store(tmp_path / "x", frames(2))
    for path in ("../private/entry/data", "entry/../../private/entry/data", ["..", "private"], "..\\private"):
        with pytest.raises(UntrustedName, match=r"'\.\.'"):
            reader(tmp_path / "x", path=path)


def test_pickles_in_chunks_are_refused(tmp_path: Path) -> None:
    marker = tmp_path / "ran"

    class Payload:
        def __reduce__(self) -> Any:
            return open, (str(marker), "w")

    url = tmp_path / "x"
    text = zarr.create_array(url, shape=(1,), dtype=str, zarr_format=2, compressors=None)
    text[...] = np.array(["a"], dtype=object)
    metadata = url / ".zarray"
    coded = '{"id":"vlen-utf8"}'
    written = metadata.read_text().replace("\n", "").replace(" ", "")
    assert coded in written
    metadata.write_text(written.replace(coded, coded + ',{"id":"pickle"}'))
    (url / "0").write_bytes(pickle.dumps(Payload()))
    with pytest.raises(AssetUnavailable, match="pickled Python objects"):
        read(ZarrReader.of(Location(str(url)), {}))
    assert not marker.exists()


def test_readers_pickle_and_do_no_io(tmp_path: Path) -> None:
    of = reader(tmp_path / "nowhere", path="a/b", slice="[:, 0]", squeeze=True)
    assert pickle.loads(pickle.dumps(of)) == of


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_computes_in_other_processes(tmp_path: Path, context: str) -> None:
    url = store(tmp_path / "x", frames(10))
    described = array(url, target=100).dask()
    assert described.npartitions == 5
    both(array(url))  # zarr's event loop runs in this process, as it does where users look before they compute
    with dask.config.set({"multiprocessing.context": context}):
        assert described.sum().compute(scheduler="processes", num_workers=2) == frames(10).sum()
