"""Files as instruments write them, while they are written; open handles, threads, forks and plugins."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from intake_bluesky.assets import stream_asset_array
from intake_bluesky.assets.hdf5.open_files import open_files
from intake_bluesky.documents.header import HeaderBuilder
from intake_bluesky.documents.model import RunHeader
from intake_bluesky.errors import AssetUnavailable
from tests.assets.by_hand import DATASET, Array, asset, both, frames, key, opened, write


@pytest.fixture(scope="module")
def fly_scan(tmp_path_factory: pytest.TempPathFactory) -> RunHeader:
    """Two points of ophyd-async's simulated detector, restaged between them, by a RunEngine."""
    import bluesky.plan_stubs as bps
    import bluesky.preprocessors as bpp
    from ophyd_async.core import StaticPathProvider, UUIDFilenameProvider, init_devices
    from ophyd_async.sim import PatternGenerator, SimBlobDetector

    from intake_bluesky.apps.demo.experiments import run_engine

    @bpp.run_decorator()  # type: ignore[untyped-decorator]
    def plan(detector: Any) -> Any:
        for _ in range(2):
            yield from bps.stage(detector, wait=True)
            for _ in range(3):
                yield from bps.trigger_and_read([detector])
            yield from bps.unstage(detector, wait=True)

    builder, folder = HeaderBuilder(), tmp_path_factory.mktemp("fly")
    with run_engine({}) as engine:
        with init_devices():
            paths = StaticPathProvider(UUIDFilenameProvider(), folder)
            detector = SimBlobDetector(paths, PatternGenerator(), name="det")
        engine(plan(detector), lambda name, doc: builder.add(name, dict(doc)))
    return builder.header("v1")


@pytest.mark.parametrize(("name", "dataset"), [("det", DATASET), ("det-sum", "/entry/sum")])
def test_simulated_detector_of_ophyd_async(fly_scan: RunHeader, name: str, dataset: str) -> None:
    assets = fly_scan.assets_of("primary", name)
    assert len(assets) == 2, "each staging writes a file of its own"
    spec = fly_scan.streams["primary"].data_keys[name]
    observed = both(stream_asset_array(assets, name, spec, np.arange(1, 7)))
    expected = []
    for each in assets:
        with h5py.File(each.resource["uri"].removeprefix("file://localhost")) as file:
            expected.append(file[dataset][()])
    np.testing.assert_array_equal(observed.reshape(-1, *expected[0].shape[1:]), np.concatenate(expected))
    assert observed.dtype == expected[0].dtype
    assert observed.shape == ((6, 1, 240, 320) if name == "det" else (6,))


@pytest.mark.parametrize("same_process", [True, False])
@pytest.mark.parametrize("swmr", [True, False])
def test_reading_while_it_is_written(tmp_path: Path, same_process: bool, swmr: bool) -> None:
    path = tmp_path / "live.h5"
    streamed = asset(path, [(1, 4, 0, 3)], swmr=swmr)
    if same_process:
        with h5py.File(path, "w", libver="latest") as file:
            _grow(file, 3)
            np.testing.assert_array_equal(both(opened(streamed, key(4, 6), 3)), frames(3))
        return
    with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdin=-1, stdout=-1, text=True) as writer:
        assert writer.stdin is not None
        assert writer.stdout is not None
        assert writer.stdout.readline() == "3\n"
        np.testing.assert_array_equal(both(opened(streamed, key(4, 6), 3)), frames(3))
        print("more", file=writer.stdin, flush=True)
        assert writer.stdout.readline() == "6\n"
        grown = opened(asset(path, [(1, 7, 0, 6)], swmr=swmr), key(4, 6), 6)
        np.testing.assert_array_equal(both(grown), frames(6))
        writer.stdin.close()


def _grow(file: h5py.File, count: int) -> None:
    data = file.create_dataset(DATASET, (0, 4, 6), "<u2", chunks=(1, 4, 6), maxshape=(None, 4, 6))
    file.swmr_mode = True
    for number in range(count):
        data.resize(number + 1, axis=0)
        data[number] = frames(1, first=number)[0]
        data.flush()


@pytest.mark.parametrize("swmr", [True, False])
@pytest.mark.parametrize("part", [0.99, 0.9, 0.5, 0.1])
def test_a_file_that_was_cut_off_after_it_was_written(tmp_path: Path, swmr: bool, part: float) -> None:
    path = tmp_path / "cut.h5"
    with h5py.File(path, "w", libver="latest") as file:
        _grow(file, 50)
    os.truncate(path, int(path.stat().st_size * part))
    array = opened(asset(path, [(1, 51, 0, 50)], swmr=swmr), key(4, 6), 50)
    for ask in (array.read, array.dask().compute):
        with pytest.raises(AssetUnavailable, match="does not open as HDF5"):
            ask()


WRITER = textwrap.dedent(
    """
    import sys
    import h5py, numpy as np
    with h5py.File(sys.argv[1], "w", libver="latest") as file:
        data = file.create_dataset("/entry/data/data", (0, 4, 6), "<u2", chunks=(1, 4, 6), maxshape=(None, 4, 6))
        file.swmr_mode = True
        for stop in (3, 6):
            for n in range(len(data), stop):
                data.resize(n + 1, axis=0)
                data[n] = np.arange(24 * n, 24 * n + 24).reshape(4, 6)
            data.flush()
            print(stop, flush=True)
            sys.stdin.readline()
    """
)


def test_a_file_that_was_replaced_is_read_anew(one_file: Path) -> None:
    streamed = asset(one_file, [(1, 4, 0, 3)])
    np.testing.assert_array_equal(both(opened(streamed, key(4, 6), 3)), frames(3))
    other = write(one_file.with_name("other.h5"), frames(3, first=50))
    other.replace(one_file)
    np.testing.assert_array_equal(both(opened(streamed, key(4, 6), 3)), frames(3, first=50))


def test_nothing_stays_open(one_file: Path) -> None:
    both(opened(asset(one_file, [(1, 11, 0, 10)]), key(4, 6), 10, target_chunk=48))
    assert len(open_files) == 0
    names = [os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if _is_open(fd)]
    assert str(one_file) not in names


def _is_open(fd: str) -> bool:
    return os.path.exists(f"/proc/self/fd/{fd}")


MANY = textwrap.dedent(
    """
    import resource, sys
    from pathlib import Path
    import numpy as np
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    from tests.assets.by_hand import asset, frames, key, opened, write
    files = [write(Path(sys.argv[1]) / f"{i}.h5", frames(1, first=i)) for i in range(200)]
    array = opened([asset(f, [(i + 1, i + 2, 0, 1)]) for i, f in enumerate(files)], key(4, 6), 200)
    np.testing.assert_array_equal(array.read(), frames(200))
    np.testing.assert_array_equal(array.dask().compute(scheduler="threads", num_workers=8), frames(200))
    print("done")
    """
)


def test_more_files_than_may_be_open(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", MANY, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=root, check=False)
    assert done.stdout == "done\n", done.stderr


def test_many_threads_share_one_file(one_file: Path) -> None:
    array = opened(asset(one_file, [(1, 11, 0, 10)]), key(4, 6), 10, target_chunk=48)
    results: list[Array] = []
    threads = [threading.Thread(target=lambda: results.append(array.read())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 8
    for observed in results:
        np.testing.assert_array_equal(observed, frames(10))
    assert len(open_files) == 0


def test_a_fork_reads_too(one_file: Path) -> None:
    code = f"""
import os, sys
import h5py
from pathlib import Path
from intake_bluesky.assets import stream_asset_array
from intake_bluesky.assets.hdf5.open_files import open_files
from intake_bluesky.assets import Location
from tests.assets.by_hand import asset, frames, key, opened
path = Path({str(one_file)!r})
array = opened(asset(path, [(1, 11, 0, 10)]), key(4, 6), 10)
with open_files.lend(Location(str(path))):
    pid = os.fork()
    if not pid:
        os._exit(0 if len(open_files) == 0 and (array.read() == frames(10)).all() else 1)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root, check=False)
    assert done.stdout == "0\n", done.stderr


PLUGIN = '''
"""A reader of a third party: frames full of their own number."""
from dataclasses import dataclass
import numpy as np
from intake_bluesky.assets import AssetReader, FrameStructure, Location

@dataclass(frozen=True)
class NumberReader(AssetReader):
    location: Location
    @classmethod
    def of(cls, location, parameters):
        return cls(location)
    @property
    def path(self):
        return self.location.path
    def structure(self, first=0):
        return FrameStructure(100, (2, 2), np.dtype("<i4"))
    def read_into(self, start, stop, out, region=()):
        out[...] = np.arange(start, stop)[:, None, None]
'''

READ_BY_PLUGIN = """
import sys
sys.path.insert(0, sys.argv[1])
import numpy as np
from intake_bluesky.assets import stream_asset_array
from intake_bluesky.documents.model import StreamAsset
resource = {"uid": "r", "mimetype": "multipart/related;type=image/numbers", "uri": "/x", "parameters": {}}
asset = StreamAsset(resource, "det", "d", ((1, 4, 5, 8),))
print(stream_asset_array([asset], "det", {"shape": [1, 2, 2]}, np.arange(1, 4)).dask().compute()[:, 0, 0, 0].tolist())
"""


def test_a_reader_of_an_installed_package(tmp_path: Path) -> None:
    (tmp_path / "number_reader.py").write_text(PLUGIN)
    info = tmp_path / "number_reader-0.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: number-reader\nVersion: 0.1\n")
    name = "multipart/related;type%3Dimage/numbers"
    (info / "entry_points.txt").write_text(f"[intake_bluesky.assets]\n{name} = number_reader:NumberReader\n")
    command = [sys.executable, "-c", READ_BY_PLUGIN, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout == "[5, 6, 7]\n", done.stderr
