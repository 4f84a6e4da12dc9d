"""HDF5 in threads, forks and worker processes: the same values, and no more files open than may be."""

from __future__ import annotations

import gc
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pytest
from distributed import Client, LocalCluster

from intake_bluesky.assets import AssetArray, AssetOptions, datum_array
from intake_bluesky.assets.hdf5.open_files import open_files
from intake_bluesky.assets.location import Location
from tests.assets.by_hand import Array, asset, frames, key, opened, write
from tests.assets.hdf5_by_hand import CODECS, eiger, linked_file

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


def eiger_array(folder: Path, images: int, target: int) -> AssetArray:
    """One series, described."""
    resource = {
        "uid": "r",
        "spec": "AD_EIGER",
        "root": str(folder),
        "resource_path": "x",
        "resource_kwargs": {"images_per_file": 1},
    }
    options = AssetOptions(target_chunk=target)
    return datum_array(["r/0"], "det", key(images, 4, 6), {"r": resource}, {"r/0": ("r", {"seq_id": 1})}, options)


@pytest.fixture
def arrays(tmp_path: Path) -> dict[str, tuple[AssetArray, Array]]:
    """Arrays of several kinds of file, and what is in them."""
    plain = write(tmp_path / "plain.h5", frames(12), **CODECS["gzip"])
    packed = write(tmp_path / "packed.h5", frames(12, first=12), **CODECS["bitshuffle"])
    linked_file(tmp_path, frames(12, (16, 6)), virtual=True)
    eiger(tmp_path / "x", 1, frames(12), per_file=5)
    spans = [(1, 13, 0, 12)]
    return {
        "plain": (opened(asset(plain, spans), key(4, 6), 12, target_chunk=100), frames(12)),
        "packed": (opened(asset(packed, spans, swmr=True), key(4, 6), 12, target_chunk=100), frames(12, first=12)),
        "virtual": (
            opened(asset(tmp_path / "master.h5", spans), key(16, 6), 12, target_chunk=400),
            frames(12, (16, 6)),
        ),
        "eiger": (eiger_array(tmp_path, 12, 100), frames(12)[None]),
    }


def handles_here(_: Any = None) -> int:
    """How many HDF5 files this process has open, by this package or by h5py."""
    import h5py

    gc.collect()  # of what other tests of this process let go
    return len(open_files) + int(h5py.h5f.get_obj_count(h5py.h5f.OBJ_ALL, h5py.h5f.OBJ_FILE))


@pytest.mark.parametrize("context", ["spawn", "fork", "forkserver"])
def test_processes_of_dask(arrays: dict[str, tuple[AssetArray, Array]], tmp_path: Path, context: str) -> None:
    described = [array.dask() for array, _ in arrays.values()]
    with open_files.lend(Location(str(tmp_path / "plain.h5"))), dask.config.set({"multiprocessing.context": context}):
        computed = dask.compute(*described, scheduler="processes", num_workers=2)
    for observed, (_, expected) in zip(computed, arrays.values(), strict=True):
        np.testing.assert_array_equal(observed, expected)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Client]:
    with (
        LocalCluster(n_workers=2, threads_per_worker=2, processes=True, dashboard_address=None) as processes,
        Client(processes) as client,
    ):
        yield client


def test_workers_of_distributed(cluster: Client, arrays: dict[str, tuple[AssetArray, Array]]) -> None:
    before = handles_here()
    computed = dask.compute(*(array.dask() for array, _ in arrays.values()))
    for observed, (_, expected) in zip(computed, arrays.values(), strict=True):
        np.testing.assert_array_equal(observed, expected)
    assert set(cluster.run(handles_here).values()) == {0}, "nothing stays open in the workers"
    assert handles_here() <= before, "nor here"


def run(code: str, *arguments: str) -> str:
    """What a process of its own prints."""
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(code), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_fork_inherits_no_handle(one_file: Path) -> None:
    code = """
    import os, sys
    from intake_bluesky.assets import Location
    from intake_bluesky.assets.hdf5.open_files import open_files
    from tests.assets.by_hand import asset, frames, key, opened
    array = opened(asset(sys.argv[1], [(1, 11, 0, 10)]), key(4, 6), 10)
    with open_files.lend(Location(sys.argv[1])) as handle:
        before = handle.file["/entry/data/data"][0]
        if not (pid := os.fork()):
            same = (array.read() == frames(10)).all()
            os._exit(0 if same and not len(open_files) else 1)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), len(open_files), (array.read() == frames(10)).all())
    print(len(open_files))
    """
    assert run(code, str(one_file)) == "0 1 True\n0\n"


def test_few_files_may_be_open(tmp_path: Path) -> None:
    code = """
    import resource, sys
    from pathlib import Path
    import numpy as np
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    from tests.assets.by_hand import asset, both, frames, key, opened, write
    from tests.assets.hdf5_by_hand import eiger
    from tests.assets.test_hdf5_processes import eiger_array
    folder = Path(sys.argv[1])
    eiger(folder / "x", 1, frames(200))
    for target in (48, 480, 10**9):
        array = eiger_array(folder, 200, target)
        np.testing.assert_array_equal(array.read()[0], frames(200))
        np.testing.assert_array_equal(array.dask().compute(scheduler="threads", num_workers=16)[0], frames(200))
    files = [write(folder / f"{i}.h5", frames(1, first=i)) for i in range(500)]
    array = opened([asset(f, [(i + 1, i + 2, 0, 1)]) for i, f in enumerate(files)], key(4, 6), 500)
    np.testing.assert_array_equal(array.read(), frames(500))
    np.testing.assert_array_equal(array.dask().compute(scheduler="threads", num_workers=16), frames(500))
    print("done")
    """
    assert run(code, str(tmp_path)) == "done\n"


def test_a_virtual_dataset_of_more_files_than_may_be_open(tmp_path: Path) -> None:
    code = """
    import resource, sys
    from pathlib import Path
    import numpy as np
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    from tests.assets.by_hand import frames
    from tests.assets.hdf5_by_hand import eiger
    from tests.assets.test_hdf5_processes import eiger_array
    folder = Path(sys.argv[1])
    eiger(folder / "x", 1, frames(200), kind="virtual")
    array = eiger_array(folder, 200, 480)
    np.testing.assert_array_equal(array.read()[0], frames(200))
    np.testing.assert_array_equal(array.dask().compute(scheduler="threads", num_workers=4)[0], frames(200))
    print("done")
    """
    assert run(code, str(tmp_path)) == "done\n"


def test_a_virtual_dataset_in_one_block_is_read_file_by_file(tmp_path: Path) -> None:
    eiger(tmp_path / "x", 1, frames(20), kind="virtual")
    before = handles_here()
    np.testing.assert_array_equal(eiger_array(tmp_path, 20, 10**9).read()[0], frames(20))
    assert handles_here() == before
