"""HDF5 files in a bucket: what is fetched, values equal to h5py's, and files that are replaced, lost or damaged."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np
import pytest

from intake_bluesky.assets import AssetArray
from intake_bluesky.assets.hdf5.reader import HDF5Reader
from intake_bluesky.assets.location import Location
from intake_bluesky.assets.region import Region
from intake_bluesky.assets.remote import places
from intake_bluesky.assets.remote.kept_blocks import BLOCK, KeptBlocks
from intake_bluesky.errors import AssetUnavailable
from tests.assets.by_hand import Array, asset, both, key, opened
from tests.assets.remote_by_hand import BUCKET, counted, options, put
from tests.servers.proxy import Fault, Proxy
from tests.servers.s3 import Buckets

pytestmark = pytest.mark.slow

COUNT, SHAPE = 24, (96, 128)
LAYOUTS: dict[str, dict[str, Any]] = {
    "bitshuffle": {"chunks": (1, *SHAPE), **hdf5plugin.Bitshuffle(cname="lz4")},
    "gzip": {"chunks": (2, *SHAPE), "compression": "gzip", "shuffle": True},
    "plain": {"chunks": (1, *SHAPE)},
    "small": {"chunks": (1, 8, 16), "compression": "gzip"},
    "contiguous": {},
    "latest": {"chunks": (1, *SHAPE), "maxshape": (None, *SHAPE)},
}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A cache, and connections, of this test."""
    monkeypatch.setenv("INTAKE_BLUESKY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(places, "RECENT", 0.0)  # the version is asked for each time
    forget()
    yield tmp_path / "cache"
    forget()


def forget() -> None:
    """Be another process, as far as connections and what is in memory go."""
    places._places.close()


def frames() -> Array:
    return np.random.default_rng(0).poisson(200, (COUNT, *SHAPE)).astype("<u2")


def stack(path: Path, layout: str = "bitshuffle", data: Array | None = None) -> Path:
    with h5py.File(path, "w", libver="latest" if layout == "latest" else None) as file:
        file.create_dataset("/entry/data/data", data=frames() if data is None else data, **LAYOUTS[layout])
        for number in range(20):  # attributes of frames, which make the index of a real file long
            file.create_dataset(f"/entry/NDAttributes/{number}", data=np.arange(COUNT), chunks=(4,), maxshape=(None,))
    return path


def array(url: str, endpoint: str, **more: Any) -> AssetArray:
    spans = [(1, COUNT + 1, 0, COUNT)]
    return opened(asset(url, spans), key(*SHAPE), COUNT, storage_options=options(endpoint), **more)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_values_and_requests(tmp_path: Path, buckets: Buckets, proxy: Proxy, layout: str) -> None:
    path = stack(tmp_path / "x.h5", layout)
    url = put(buckets, path)
    described = array(url, proxy.endpoint)
    np.testing.assert_array_equal(both(described), frames())
    proxy.reset()
    observed = described[7]
    np.testing.assert_array_equal(observed, frames()[7])
    stored = observed.nbytes * 2 + BLOCK  # of gzip here two frames are a chunk
    assert proxy.received <= stored
    assert counted(proxy) == {"HEAD": 1, "GET": 1}, "what else is needed is known"
    forget()
    np.testing.assert_array_equal(described[7], frames()[7])
    assert counted(proxy) == {"HEAD": 1, "GET": 1}, "as another process knows it"


def test_regions(tmp_path: Path, buckets: Buckets) -> None:
    for layout in LAYOUTS:
        described = array(put(buckets, stack(tmp_path / f"{layout}.h5", layout)), buckets.endpoint)
        for index in (
            np.s_[3:11, 10:30, 7:90], np.s_[::5, 4], np.s_[20:2:-3, ::-1, 100:], np.s_[:, 5, 5], np.s_[[4, 1, 1]],
        ):  # fmt: skip
            np.testing.assert_array_equal(described[index], frames()[index])


def test_more_than_is_held_at_once(tmp_path: Path, buckets: Buckets, monkeypatch: pytest.MonkeyPatch) -> None:
    from intake_bluesky.assets.hdf5 import stored_ranges

    monkeypatch.setattr(stored_ranges, "HELD", 50_000)
    for layout in LAYOUTS:
        location = Location(put(buckets, stack(tmp_path / f"{layout}.h5", layout)), options(buckets.endpoint))
        for rows, region in ((range(COUNT), Region()), (range(1, 23), Region([range(3, 90), range(5, 128)]))):
            whole = region or Region.whole(SHAPE)
            out: Array = np.empty((len(rows), *whole.shape), "<u2")
            HDF5Reader(location).read_into(rows.start, rows.stop, out, region)
            np.testing.assert_array_equal(out, frames()[(slice(rows.start, rows.stop), *whole.slices)])


def test_a_long_index_is_not_read_for_one_frame(tmp_path: Path, buckets: Buckets, proxy: Proxy) -> None:
    data = np.arange(4000 * 16 * 16, dtype="<u4").reshape(4000, 16, 16)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        for_chunk = file.create_dataset("/entry/data/data", data.shape, data.dtype, chunks=(1, 16, 16))
        for_chunk[...] = data
    location = Location(put(buckets, tmp_path / "x.h5"), options(proxy.endpoint))
    out: Array = np.empty((1, 16, 16), "<u4")
    HDF5Reader(location).read_into(3210, 3211, out)
    np.testing.assert_array_equal(out[0], data[3210])
    assert proxy.received < 2**20
    assert counted(proxy)["GET"] <= 8
    every: Array = np.empty((500, 16, 16), "<u4")
    HDF5Reader(location).read_into(0, 500, every)
    np.testing.assert_array_equal(every, data[:500])


def test_busy_servers_and_lost_connections(tmp_path: Path, buckets: Buckets, proxy: Proxy) -> None:
    url = put(buckets, stack(tmp_path / "x.h5"))
    faults: tuple[Fault, ...] = ("slow down", "drop", "broken")
    for fault in faults:
        proxy.fail(fault, "GET", 2)
        proxy.fail(fault, "HEAD", 1)
        np.testing.assert_array_equal(array(url, proxy.endpoint).read(), frames())
        assert not proxy.faults
        forget()


def test_lost_since_it_was_described(tmp_path: Path, buckets: Buckets) -> None:
    url = put(buckets, stack(tmp_path / "x.h5"))
    described = array(url, buckets.endpoint)
    buckets.client.delete_object(Bucket=BUCKET, Key=url.partition(f"{BUCKET}/")[2])
    with pytest.raises(AssetUnavailable, match=r"x\.h5: there is no such file.*root_map"):
        described.read()


def test_replaced_since_it_was_described(tmp_path: Path, buckets: Buckets) -> None:
    url = put(buckets, stack(tmp_path / "x.h5"))
    described = array(url, buckets.endpoint)
    np.testing.assert_array_equal(described[3], frames()[3])
    put(buckets, stack(tmp_path / "y.h5", "gzip", frames()[::-1]), url.partition(f"{BUCKET}/")[2])
    np.testing.assert_array_equal(both(described), frames()[::-1])


def test_the_version_is_not_asked_for_twice_in_a_moment(
    tmp_path: Path, buckets: Buckets, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "RECENT", 1000.0)
    url = put(buckets, stack(tmp_path / "x.h5"))
    described = array(url, proxy.endpoint)
    described.read()
    proxy.reset()
    np.testing.assert_array_equal(described[3], frames()[3])
    assert counted(proxy) == {"GET": 1}
    for layout, data in (("gzip", frames()[::-1]), ("contiguous", frames()), ("small", frames()[::-1])):
        put(buckets, stack(tmp_path / "y.h5", layout, data), url.partition(f"{BUCKET}/")[2])
        np.testing.assert_array_equal(described[3:5], data[3:5], err_msg=layout)
        np.testing.assert_array_equal(both(described), data, err_msg=layout)
    put(buckets, stack(tmp_path / "z.h5", "plain", frames()[:7]), url.partition(f"{BUCKET}/")[2])
    assert array(url, proxy.endpoint).missing.tolist() == list(range(7, COUNT)), "headers are looked at anew"


def test_replaced_while_it_is_read(tmp_path: Path, buckets: Buckets) -> None:
    url = put(buckets, stack(tmp_path / "x.h5"))
    reader = HDF5Reader(Location(url, options(buckets.endpoint)))
    out: Array = np.empty((1, *SHAPE), "<u2")
    with reader.session():
        reader.read_into(0, 1, out)
        put(buckets, stack(tmp_path / "y.h5", "bitshuffle", frames()[::-1]), url.partition(f"{BUCKET}/")[2])
        with pytest.raises(AssetUnavailable, match=r"x\.h5 was replaced while it was read: read it again"):
            reader.read_into(1, 2, out)
    reader.read_into(1, 2, out)
    np.testing.assert_array_equal(out[0], frames()[::-1][1])


def test_a_file_that_is_cut_off_or_none(tmp_path: Path, buckets: Buckets) -> None:
    whole = stack(tmp_path / "x.h5").read_bytes()
    for number, content in enumerate((whole[: len(whole) // 2], whole[:100], b"", b"\0" * 5000)):
        (tmp_path / f"{number}.h5").write_bytes(content)
        location = Location(put(buckets, tmp_path / f"{number}.h5"), options(buckets.endpoint))
        with pytest.raises(AssetUnavailable, match=rf"{number}\.h5"):
            HDF5Reader(location).structure()


def flip(content: bytes) -> bytes:
    return content[:-5000] + bytes([content[-5000] ^ 255]) + content[-4999:]


@pytest.mark.parametrize(
    "damage", [flip, lambda content: content[:-1], lambda content: b"", lambda content: b"{}" * 99]
)
def test_a_damaged_cache_is_not_believed(
    tmp_path: Path, cache: Path, buckets: Buckets, proxy: Proxy, damage: Callable[[bytes], bytes]
) -> None:
    described = array(put(buckets, stack(tmp_path / "x.h5")), proxy.endpoint)
    described.read()
    [kept] = (cache / "remote-files").iterdir()
    content = kept.read_bytes()
    kept.write_bytes(damage(content))
    forget()
    proxy.reset()
    np.testing.assert_array_equal(described.read(), frames())
    assert proxy.count("GET") > 1, "more than the frames"
    assert kept.read_bytes() == content, "and kept again"


def test_no_folder_for_the_cache(
    tmp_path: Path, buckets: Buckets, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("INTAKE_BLUESKY_CACHE", str(tmp_path / "file" / "cache"))
    described = array(put(buckets, stack(tmp_path / "x.h5")), proxy.endpoint)
    described.read()
    proxy.reset()
    np.testing.assert_array_equal(described[7], frames()[7])
    assert counted(proxy) == {"HEAD": 1, "GET": 1}, "in memory"


def test_the_same_name_elsewhere_is_another_file(cache: Path) -> None:
    address = ("s3://bucket http://one", "s3://bucket/x.h5", "etag")
    first = KeptBlocks(10, address)
    first.add(0, b"0123456789")
    first.save()
    assert KeptBlocks(10, address).blocks == first.blocks
    assert KeptBlocks(11, address).blocks == {}
    for other in (("s3://bucket http://two", *address[1:]), (*address[:2], "new")):
        assert KeptBlocks(10, other).blocks == {}
    assert len(list((cache / "remote-files").iterdir())) == 1


def test_the_least_used_files_give_way(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from intake_bluesky.assets.remote import kept_blocks

    monkeypatch.setattr(kept_blocks, "MOST_ON_DISK", 3 * BLOCK)
    for number in range(4):
        known = KeptBlocks(BLOCK, ("place", f"{number}", "tag"))
        known.add(0, bytes([number]) * BLOCK)
        known.save()
    assert [bool(KeptBlocks(BLOCK, ("place", f"{number}", "tag")).blocks) for number in range(4)] == [
        False, False, True, True,
    ]  # fmt: skip


def test_no_graph_has_what_is_kept_or_fetched(tmp_path: Path, buckets: Buckets) -> None:
    import pickle

    described = array(put(buckets, stack(tmp_path / "x.h5")), buckets.endpoint)
    before = len(pickle.dumps(described.dask()))
    described.read()
    assert len(pickle.dumps(described.dask())) == before < 10_000
