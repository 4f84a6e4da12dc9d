"""Frames in a bucket: all of them, against the same bytes fetched and not decoded, by obstore and by s3fs.

The server is on the same machine and takes its part of it: decoding that a network would hide is seen here in full, so
there is what h5py takes to decode the file from disk, too, and all of it again at 1 Gbit/s. Requests and bytes are in
the tests of `tests/assets`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import dask
import h5py
import hdf5plugin
import numpy as np
import pytest
import s3fs  # type: ignore[import-untyped]

from intake_bluesky.assets import AssetArray
from intake_bluesky.objects import Span, objects_at
from tests.assets.by_hand import DATASET, asset, key, opened
from tests.assets.remote_by_hand import BUCKET, options
from tests.benchmarks.test_assets import measured
from tests.servers.s3 import Buckets
from tests.servers.wire import wired

SIDE: Final = 1024
BLOCK: Final = 20
THREADS: Final = 2
GIGABIT: Final = 125.0
"""Megabytes per second."""
LAYOUTS: Final[dict[str, tuple[int, dict[str, Any]]]] = {
    "bitshuffle and lz4": (200, {"chunks": (1, SIDE, SIDE), **hdf5plugin.Bitshuffle(cname="lz4")}),
    "gzip": (200, {"chunks": (1, SIDE, SIDE), "compression": "gzip", "compression_opts": 1, "shuffle": True}),
    "no compression": (40, {"chunks": (1, SIDE, SIDE)}),
}
WIRES: Final = [(name, rate) for rate in (0.0, GIGABIT) for name in LAYOUTS]


@dataclass(frozen=True)
class Stored:
    """A file on disk and in the bucket, and where its chunks are, in blocks as they are read."""

    name: str
    path: Path
    frames: int
    blocks: list[list[tuple[int, int]]]
    endpoint: str
    rate: float

    @property
    def group(self) -> str:
        where = "in a bucket" + (" at 1 Gbit/s" if self.rate else "")
        return f"all of {self.frames} frames of {SIDE} x {SIDE} uint16 in HDF5 with {self.name}, {where}"

    @property
    def array(self) -> AssetArray:
        spans = [(1, self.frames + 1, 0, self.frames)]
        resource = asset(f"s3://{BUCKET}/{self.path.name}", spans)
        return opened(resource, key(SIDE, SIDE), self.frames, storage_options=options(self.endpoint))


@pytest.fixture(scope="module", params=WIRES, ids=lambda wire: f"{wire[0]}{' at 1 Gbit/s' if wire[1] else ''}")
def stored(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, buckets: Buckets
) -> Iterator[Stored]:
    name, rate = request.param
    frames, how = LAYOUTS[name]
    path = tmp_path_factory.mktemp("bucket") / f"{name.replace(' ', '-')}.h5"
    base = np.random.default_rng(0).poisson(3, (SIDE, SIDE)).astype("u2")
    chunks: list[tuple[int, int]] = []
    with h5py.File(path, "w") as file:
        data = file.create_dataset(DATASET, (frames, SIDE, SIDE), "u2", **how)
        for number in range(frames):
            data[number] = np.roll(base, number) + number
        file.flush()
        data.id.chunk_iter(lambda info: chunks.append((info.byte_offset, info.byte_offset + info.size)))
    buckets.client.upload_file(str(path), BUCKET, path.name)
    blocks = [chunks[begin : begin + BLOCK] for begin in range(0, frames, BLOCK)]
    with wired(buckets.endpoint, rate) if rate else nullcontext(buckets.endpoint) as endpoint:
        yield Stored(name, path, frames, blocks, endpoint, rate)


def in_threads(fetch: Callable[[list[tuple[int, int]]], int], stored: Stored) -> int:
    with ThreadPoolExecutor(THREADS) as pool:
        return sum(pool.map(fetch, stored.blocks))


def test_floor_the_same_bytes_by_obstore(benchmark: Any, stored: Stored) -> None:
    objects, name = objects_at(f"s3://{BUCKET}/{stored.path.name}", options(stored.endpoint))

    def fetch(block: list[tuple[int, int]]) -> int:
        found = objects.ranges([Span(name, *part) for part in block])
        return sum(len(data) for data in found if isinstance(data, bytes))

    fetched = measured(benchmark, stored.group, lambda: in_threads(fetch, stored), rounds=5)
    assert fetched == sum(stop - start for block in stored.blocks for start, stop in block)


def test_the_same_bytes_by_s3fs(benchmark: Any, stored: Stored) -> None:
    fs = s3fs.S3FileSystem(**options(stored.endpoint), max_concurrency=1)
    path = f"{BUCKET}/{stored.path.name}"

    def fetch(block: list[tuple[int, int]]) -> int:
        starts, stops = zip(*block, strict=True)
        return sum(map(len, fs.cat_ranges([path] * len(block), list(starts), list(stops), batch_size=8)))

    fetched = measured(benchmark, stored.group, lambda: in_threads(fetch, stored), rounds=5)
    assert fetched == sum(stop - start for block in stored.blocks for start, stop in block)


def test_decoding_alone_by_h5py_from_disk(benchmark: Any, stored: Stored) -> None:
    def decode() -> int:
        with h5py.File(stored.path, rdcc_nbytes=0) as file:
            return sum(int(file[DATASET][begin : begin + BLOCK].shape[0]) for begin in range(0, stored.frames, BLOCK))

    assert measured(benchmark, stored.group, decode, rounds=5) == stored.frames


def test_by_blocks(benchmark: Any, stored: Stored) -> None:
    described = stored.array

    def read() -> int:
        with ThreadPoolExecutor(THREADS) as pool:
            begins = range(0, stored.frames, BLOCK)
            return sum(pool.map(lambda begin: len(described[begin : begin + BLOCK]), begins))

    assert measured(benchmark, stored.group, read, rounds=5) == stored.frames


def test_one_thread(benchmark: Any, stored: Stored) -> None:
    described = stored.array

    def read() -> int:
        return sum(len(described[begin : begin + 5 * BLOCK]) for begin in range(0, stored.frames, 5 * BLOCK))

    assert measured(benchmark, stored.group, read, rounds=5) == stored.frames


def test_maxima_by_dask(benchmark: Any, stored: Stored) -> None:
    lazy = stored.array.dask().max(axis=(1, 2))
    with dask.config.set(scheduler="threads", num_workers=THREADS):
        observed = measured(benchmark, stored.group, lazy.compute, rounds=5)
    with h5py.File(stored.path) as file:
        assert observed[7] == file[DATASET][7].max()
