"""Packing a large file and many small ones, against `cp` and `sha256sum` of the same."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from intake_bluesky import BlueskyCatalog, ingest
from intake_bluesky.testing import MemoryStore, RunComposer, data_key
from intake_bluesky.testing.asset_runs import write_hdf5

ROUNDS = 5
LARGE = 64  # frames of 4 MiB
SMALL = 500  # files of 8 kB


@pytest.fixture(scope="module", params=["one file of 268 MB", "500 files of 8 kB"])
def packed(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, BlueskyCatalog, Path]:
    """A catalog of one run, and the folder of its files."""
    folder = tmp_path_factory.mktemp("packing")
    rng = np.random.default_rng(1)
    run = RunComposer("benchmark")
    if request.param.startswith("one"):
        uri = write_hdf5(folder / "data" / "x.h5", rng.integers(0, 1 << 16, (LARGE, 1024, 2048), "<u2"))
        key = data_key("array", [1, 1024, 2048], dtype_numpy="<u2", external="STREAM:")
        primary = run.descriptor({"image": key})
        image = run.stream_resource(
            "image", mimetype="application/x-hdf5", uri=uri, dataset="/entry/data/data", chunk_shape=[1, 1024, 2048]
        )
        run.stream_datum(image, primary, (1, LARGE + 1))
    else:
        (folder / "data").mkdir()
        primary = run.descriptor({"image": data_key("array", [32, 32], external="FILESTORE:")})
        resource = run.resource("NPY_SEQ", root=str(folder / "data"), path="x")
        for number in range(SMALL):
            np.save(folder / "data" / f"x_{number}.npy", rng.normal(size=(32, 32)))
            run.event(primary, {"image": run.datum(resource, number, index=number)}, filled={"image": False})
    run.stop()
    return request.param, BlueskyCatalog(MemoryStore([run.documents])), folder


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def measure(
    benchmark: BenchmarkFixture, packed: tuple[str, BlueskyCatalog, Path], what: Callable[[], object], into: Path
) -> None:
    name, _, folder = packed
    benchmark.group = f"Packing {name}"

    def anew() -> None:
        shutil.rmtree(into, ignore_errors=True)
        into.mkdir()

    benchmark.pedantic(what, setup=anew, rounds=ROUNDS, warmup_rounds=1)
    assert benchmark.stats is not None
    benchmark.extra_info["MB/s"] = round(size(folder / "data") / 1e6 / benchmark.stats.stats.median)


def test_cp_and_sha256sum_floor(benchmark: BenchmarkFixture, packed: tuple[str, BlueskyCatalog, Path]) -> None:
    data, into = packed[2] / "data", packed[2] / "copies"
    command = f"cp -r '{data}' '{into}' && find '{into}' -type f -print0 | xargs -0 sha256sum > /dev/null"
    measure(benchmark, packed, lambda: subprocess.run(command, shell=True, check=True), into)


@pytest.mark.parametrize("name", ["pack", "pack.zip"])
def test_pack(name: str, benchmark: BenchmarkFixture, packed: tuple[str, BlueskyCatalog, Path]) -> None:
    into = packed[2] / "packs"
    measure(benchmark, packed, lambda: ingest.pack(packed[1], into / name), into)


def test_check(benchmark: BenchmarkFixture, packed: tuple[str, BlueskyCatalog, Path]) -> None:
    archive = packed[2] / "checked.zip"
    ingest.pack(packed[1], archive)
    measure(benchmark, packed, lambda: ingest.check_pack(archive), packed[2] / "nothing")


def test_unpack(benchmark: BenchmarkFixture, packed: tuple[str, BlueskyCatalog, Path]) -> None:
    archive, into = packed[2] / "unpacked.zip", packed[2] / "unpacked"
    ingest.pack(packed[1], archive)
    measure(benchmark, packed, lambda: ingest.unpack(archive, into / "pack"), into)


def test_sha256_of_python(benchmark: BenchmarkFixture, packed: tuple[str, BlueskyCatalog, Path]) -> None:
    def read() -> None:
        for path in (packed[2] / "data").iterdir():
            with open(path, "rb") as file:
                hashlib.file_digest(file, "sha256")

    measure(benchmark, packed, read, packed[2] / "nothing")
