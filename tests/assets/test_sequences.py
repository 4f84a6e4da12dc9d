"""Sequences of files: their names, their number, what is opened of them and when."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import area_detector_handlers.handlers
import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st

from intake_bluesky.assets import AssetOptions, asset_files, datum_array, locate, stream_asset_array
from intake_bluesky.assets.images.name_template import NameTemplate
from intake_bluesky.assets.images.tiff import TiffReader
from intake_bluesky.assets.location import Location
from intake_bluesky.documents.model import StreamAsset
from intake_bluesky.errors import AssetUnavailable, UntrustedName
from intake_bluesky.runtime.threads import THREADS, run_all
from tests.assets.by_hand import Array, asset, both, frames, key, opened
from tests.assets.formats import TIFF, tiffs

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("img_{:06d}.tiff", "/data/img_000012.tiff"),
        ("img_{:06}.tiff", "/data/img_000012.tiff"),
        ("{}", "/data/12"),
        ("{0:d}.jpg", "/data/12.jpg"),
        ("{:5d}.jpg", "/data/   12.jpg"),
        ("{:>5}.jpg", "/data/   12.jpg"),
        ("{:<5}.jpg", "/data/12   .jpg"),
        ("{:0>5}.jpg", "/data/00012.jpg"),
        ("{{a}}_{:d}.jpg", "/data/{a}_12.jpg"),
        ("100%_{:d}.jpg", "/data/100%_12.jpg"),
    ],
)
def test_new_templates_are_as_python_formats_them(template: str, expected: str) -> None:
    assert "/data/" + template.format(12) == expected
    assert NameTemplate.parse(template).path("/data/", 12) == expected


@pytest.mark.parametrize("number", [0, 7, 999_999, 1_234_567])
@pytest.mark.parametrize(
    "template", ["%s%s_%6.6d.tiff", "%s%s_%06d.tif", "%s%s%d", "%s%s_%3.2d", "%s%s_%-5d|", "%s%s_%i", "%s%s_100%%_%5d"]
)
def test_old_templates_are_as_python_formats_them(template: str, number: int) -> None:
    parsed = NameTemplate.parse(template, "scan")
    assert parsed.path("/data", number) == template % ("/data/", "scan", number)
    assert parsed.path("/data/", number) == template % ("/data/", "scan", number)


@pytest.mark.parametrize(
    ("template", "filename", "expected"),
    [
        ("%s_%d.npy", "", "/data/x_3.npy"),
        ("%s_%d.npy", "img", "/data/x/img_3.npy"),
        ("img_%05d.tif", "", "/data/x/img_00003.tif"),
        ("img{x}_%05d.tif", "", "/data/x/img{x}_00003.tif"),
        ("_{:03d}.tif", "", "/data/x_003.tif"),
        ("/{:03d}.tif", "", "/data/x/003.tif"),
        ("%s_{:03d}.tif", "/", None),
        ("only.tif", "", "/data/x/only.tif"),
    ],
)
def test_folder_or_prefix(template: str, filename: str, expected: str | None) -> None:
    if expected is None:
        with pytest.raises(UntrustedName, match="begin with a slash"):
            NameTemplate.parse(template, filename)
    else:
        assert NameTemplate.parse(template, filename).path("/data/x", 3) == expected


REFUSED = [
    "{0.__class__}",
    "{0.__class__.__init__.__globals__}_{:d}",
    "{0[0]}",
    "{name}",
    "{!r}",
    "{:{}}",
    "{:x}",
    "{:.3f}",
    "{:<05d}",
    "{:d",
    "{:d}_{:d}",
    "{:999999999d}",
    "%999999999d",
    "%.99999999d",
    "%*d",
    "%x",
    "%r",
    "%(name)d",
    "%d%d",
    "%s%s%s%d",
    "x%s%s%d",
    "50%",
]


@pytest.mark.parametrize("template", REFUSED)
def test_templates_that_are_no_names_with_a_number(template: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="template"):
        NameTemplate.parse(template)
    array = opened(asset(f"{tmp_path}/", [(1, 3, 0, 2)], mimetype=TIFF, template=template), key(4, 6), 2)
    with pytest.raises(AssetUnavailable, match="TiffReader cannot make sense of the parameters"):
        array.read()


PIECES = st.sampled_from(["%s", "%d", "%06d", "%6.6d", "{:d}", "{:04d}", "{}", "{", "}", "%", "/", "..", ":", "x", "_"])


@given(st.lists(PIECES | st.text(max_size=3), max_size=8).map("".join), st.text(max_size=6), st.integers(0, 10**7))
def test_no_template_does_more_than_name_files_beneath(template: str, filename: str, number: int) -> None:
    try:
        parsed = NameTemplate.parse(template, filename)
        path = parsed.path("/data/x", number)
    except (ValueError, UntrustedName):
        return
    assert path.startswith("/data/x")
    assert os.path.normpath(path).startswith("/data/x")
    assert len(path) <= len("/data/x/") + len(template) + len(filename) + 32
    if parsed.numbered:
        assert str(number) in path
        assert parsed.number_of(path[len(parsed.prefix("/data/x")) :]) == number


@pytest.mark.parametrize(
    ("template", "filename"),
    [
        ("../{:d}.tiff", ""),
        ("a/../../{:d}.tiff", ""),
        ("{:d}/../../x.tiff", ""),
        ("..\\{:d}.tiff", ""),
        ("%s%s_%d.tiff", "../x"),
        ("%s%s_%d.tiff", "/etc/x"),
        ("::file:///etc/{:d}", ""),
        ("x://{:d}", ""),
        ("\0{:d}", ""),
    ],
)
def test_names_that_lead_elsewhere(template: str, filename: str, tmp_path: Path) -> None:
    streamed = asset(f"{tmp_path}/", [(1, 3, 0, 2)], mimetype=TIFF, template=template, filename=filename)
    with pytest.raises(UntrustedName, match="a document names the file"):
        opened(streamed, key(4, 6), 2, on_missing="fill").read()


def test_names_that_begin_with_an_allowed_folder_are_not_in_it(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    tiffs(tmp_path, frames(2), "open_secret_{:d}.tiff")
    tiffs(tmp_path / "open", frames(2), "img_{:d}.tiff")
    roots = {"trusted": False, "allowed_roots": (str(tmp_path / "open"),)}

    def read(uri: str, template: str) -> Array:
        return opened(asset(uri, [(1, 3, 0, 2)], mimetype=TIFF, template=template), key(4, 6), 2, **roots).read()

    np.testing.assert_array_equal(read(f"{tmp_path}/open", "/img_{:d}.tiff"), frames(2))
    with pytest.raises(UntrustedName, match="no allowed root"):
        read(f"{tmp_path}/open", "_secret_{:d}.tiff")


@pytest.mark.parametrize("template", ["img_{:03d}.tiff", "img_{:d}.tiff", "img_{:5d}.tiff", "{}", "{:<4}|"])
def test_numbers_in_names(template: str) -> None:
    parsed = NameTemplate.parse(template)
    start = len(parsed.prefix("/data/"))
    for number in (0, 7, 12345, 1234567):
        assert parsed.number_of(parsed.path("/data/", number)[start:]) == number
    for other in ("", "x", "1x.tiff", "-1.tiff", "٣.tiff", "01234567.tiff", "1" * 5000):
        assert parsed.number_of(other) is None or parsed.path("", parsed.number_of(other) or 0).endswith(other)


def test_files_are_those_there_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for name in ("img_2.tiff", "img_10.tiff", "img_1.tiff", "img_x.tiff", "img_3.tif", "other_1.tiff", "img_01.tiff"):
        (tmp_path / name).touch()
    reader = TiffReader.of(Location(f"{tmp_path}/"), {"template": "img_{:d}.tiff"})
    assert [Path(file.path).name for file in reader.files()] == ["img_1.tiff", "img_2.tiff", "img_10.tiff"]
    assert TiffReader.of(Location(f"{tmp_path}/gone/"), {"template": "{}"}).files() == []


def links(folder: Path, count: int, shape: tuple[int, ...] = (4, 6)) -> Path:
    """So many files, all of the same frame."""
    only = tiffs(folder, frames(1, shape))[0]
    for number in range(1, count):
        os.link(only, folder / f"img_{number:06d}.tiff")
    return folder


def sequence(folder: Path, count: int, **parameters: Any) -> Any:
    given = {"template": "img_{:06d}.tiff", **parameters}
    return asset(f"{folder}/", [(1, count + 1, 0, count)], mimetype=TIFF, **given)


def test_opening_ten_thousand_files_looks_at_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiffs(tmp_path, frames(1))  # the others are not there, which nobody notices
    looked: list[str] = []
    for name in ("stat", "lstat", "listdir", "scandir"):
        original = getattr(os, name)

        def counting(path: Any = ".", *args: Any, _original: Any = original, **kwargs: Any) -> Any:
            if str(path).startswith(str(tmp_path)):
                looked.append(str(path))
            return _original(path, *args, **kwargs)

        monkeypatch.setattr(os, name, counting)
    array = opened(sequence(tmp_path, 10_000), key(1, 4, 6), 10_000)
    assert array.dask().shape == (10_000, 1, 4, 6)
    assert len(set(looked)) <= 1
    np.testing.assert_array_equal(array.dask()[0, 0].compute(scheduler="sync"), frames(1)[0])


BOUNDED = """
import os, resource, sys
import numpy as np
from tests.assets.test_sequences import frames, opened, sequence, key
from pathlib import Path

resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
array = opened(sequence(Path(sys.argv[1]), 2000), key(1, 4, 6), 2000, target_chunk=int(sys.argv[2]))
before = len(os.listdir("/proc/self/fd"))
expected = frames(1)[0]
assert (array.read() == expected).all()
described = array.dask()
assert (described.compute(scheduler="threads", num_workers=16) == expected).all()
print(described.npartitions, len(os.listdir("/proc/self/fd")) - before)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("target", "blocks"), [(48 * 100, 20), (48, 2000)])
def test_two_thousand_files_with_few_descriptors(tmp_path: Path, target: int, blocks: int) -> None:
    command = [sys.executable, "-c", BOUNDED, str(links(tmp_path, 2000)), str(target)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.stdout.split() == [str(blocks), "0"], done.stderr


FORKED = """
import os, sys, time
from pathlib import Path
from tests.assets.test_sequences import opened, sequence, key

array = opened(sequence(Path(sys.argv[1]), 50), key(1, 4, 6), 50)
expected = array.read().sum()
child = os.fork()
if not child:
    os._exit(0 if array.read().sum() == expected else 1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_a_forked_child_reads_too(tmp_path: Path) -> None:
    command = [sys.executable, "-c", FORKED, str(links(tmp_path, 50))]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False, timeout=60)
    assert done.stdout.strip() == "0", done.stderr


def test_frames_come_in_order_whatever_thread_reads_them(tmp_path: Path) -> None:
    tiffs(tmp_path, frames(300))
    np.testing.assert_array_equal(both(opened(sequence(tmp_path, 300), key(1, 4, 6), 300))[:, 0], frames(300))


def test_nothing_runs_on_after_an_error() -> None:
    begun: list[int] = []

    def do(number: int) -> None:
        begun.append(number)
        time.sleep(0.001)
        if number == 3:
            raise KeyError(number)

    with pytest.raises(KeyError):
        run_all(do, range(10_000))
    after = len(begun)
    assert after < 10_000
    assert 3 in begun
    run_all(begun.append, range(THREADS * 3))
    assert len(begun) == after + THREADS * 3


INTERRUPTED = """
import os, signal, time
from intake_bluesky.runtime.threads import run_all

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell starts what is in its background without one
done = []

def do(number):
    if number == 20:
        os.kill(os.getpid(), signal.SIGINT)
    time.sleep(0.02)
    done.append(number)

try:
    run_all(do, range(100_000))
except KeyboardInterrupt:
    stopped = len(done)
    time.sleep(0.2)
    print(20 <= stopped < 1000, len(done) == stopped)
"""


def test_an_interrupt_stops_the_reading_and_the_process_ends() -> None:
    command = [sys.executable, "-c", INTERRUPTED]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == ["True", "True"], done.stderr


def test_one_missing_of_many_is_the_one_named(tmp_path: Path) -> None:
    tiffs(tmp_path, frames(40))
    (tmp_path / "img_000033.tiff").unlink()
    array = opened(sequence(tmp_path, 40), key(1, 4, 6), 40)
    with pytest.raises(AssetUnavailable, match=r"img_000033\.tiff: there is no such file.*root_map"):
        array.read()
    np.testing.assert_array_equal(array.dask()[:33].compute(scheduler="sync")[:, 0], frames(33))


def test_a_file_of_another_shape_or_dtype(tmp_path: Path) -> None:
    tiffs(tmp_path, frames(3))
    array = opened(sequence(tmp_path, 3), key(1, 4, 6), 3)
    tifffile.imwrite(tmp_path / "img_000001.tiff", np.zeros((4, 7), "u2"))
    with pytest.raises(AssetUnavailable, match=r"000001\.tiff has uint16 of shape \(4, 7\).*uint16 of shape \(4, 6\)"):
        array.read()
    tifffile.imwrite(tmp_path / "img_000001.tiff", np.zeros((4, 6), "f4"))
    with pytest.raises(AssetUnavailable, match=r"000001\.tiff has float32 of shape \(4, 6\).*where uint16 of shape"):
        array.read()
    tifffile.imwrite(tmp_path / "img_000001.tiff", np.full((4, 6), 200, "u1"))
    assert (array.read()[1] == 200).all(), "uint16 holds all of uint8"


def test_a_part_beyond_a_smaller_file(tmp_path: Path) -> None:
    tiffs(tmp_path, frames(3))
    array = opened(sequence(tmp_path, 3), key(1, 4, 6), 3)
    tifffile.imwrite(tmp_path / "img_000001.tiff", np.zeros((4, 3), "u2"))
    with pytest.raises(AssetUnavailable, match=r"000001\.tiff has uint16 of shape \(4, 3\)"):
        array.dask()[:, :, :, 2:5].compute(scheduler="sync")


def test_files_of_each_resource_are_numbered_from_zero(tmp_path: Path) -> None:
    assets = []
    for number in range(2):
        (tmp_path / str(number)).mkdir()
        tiffs(tmp_path / str(number), frames(3, first=3 * number))
        spans = [(3 * number + 1, 3 * number + 4, 0, 3)]
        assets.append(asset(f"{tmp_path}/{number}/", spans, mimetype=TIFF, template="img_{:06d}.tiff"))
    np.testing.assert_array_equal(both(opened(assets, key(1, 4, 6), 6))[:, 0], frames(6))


@pytest.mark.parametrize(
    "parameters",
    [
        {"chunk_shape": [1, 4, 6]},
        {"chunk_shape": [1]},
        {"files_per_datum": 2},
        {"multiplier": 2},
        {"frame_per_point": 2},
    ],
    ids=str,
)
def test_frames_of_an_event_in_files_of_their_own(tmp_path: Path, parameters: dict[str, Any]) -> None:
    tiffs(tmp_path, frames(8))
    observed = both(opened(sequence(tmp_path, 4, **parameters), key(2, 4, 6), 4))
    np.testing.assert_array_equal(observed, frames(8).reshape(4, 2, 4, 6))


def test_joined_as_the_resource_says(tmp_path: Path) -> None:
    tiffs(tmp_path, frames(8))
    parameters = {"chunk_shape": [1], "join_method": "concat"}
    np.testing.assert_array_equal(both(opened(sequence(tmp_path, 4, **parameters), key(2, 4, 6), 4)), frames(8))


@pytest.mark.parametrize("parameters", [{"chunk_shape": [0]}, {"files_per_datum": "many"}, {"multiplier": -1}], ids=str)
def test_parameters_without_meaning(tmp_path: Path, parameters: dict[str, Any]) -> None:
    with pytest.raises(AssetUnavailable, match="TiffReader cannot make sense of the parameters"):
        opened(sequence(tmp_path, 4, **parameters), key(2, 4, 6), 4).read()


def test_remote(tmp_path: Path) -> None:
    import fsspec

    fs = fsspec.filesystem("memory")
    for file in tiffs(tmp_path, frames(5)):
        fs.pipe(f"/tiffs/{file.name}", file.read_bytes())
    streamed = asset("memory://tiffs/", [(1, 6, 0, 5)], mimetype=TIFF, template="img_{:06d}.tiff")
    array = stream_asset_array([streamed], "det", key(4, 6), np.arange(1, 6))
    np.testing.assert_array_equal(both(array), frames(5))
    assert [file.path for file in array.files()] == [f"memory://tiffs/img_{n:06d}.tiff" for n in range(5)]
    part = array.dask()[:, 1:3, 2:4].compute(scheduler="sync")
    np.testing.assert_array_equal(part, frames(5)[:, 1:3, 2:4])
    fs.rm("/tiffs/img_000003.tiff")
    with pytest.raises(AssetUnavailable, match=r"tiffs/img_000003\.tiff"):
        array.read()


@pytest.fixture(scope="module")
def s3() -> Iterator[dict[str, Any]]:
    """An S3 server of this test, with a bucket."""
    import boto3  # type: ignore[import-untyped]
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    endpoint = "http://{}:{}".format(*server.get_host_and_port())
    keys = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing", "region_name": "us-east-1"}
    boto3.client("s3", endpoint_url=endpoint, **keys).create_bucket(Bucket="beamline")
    yield {"key": "testing", "secret": "testing", "endpoint_url": endpoint}
    server.stop()


def test_in_a_bucket(tmp_path: Path, s3: dict[str, Any]) -> None:
    import fsspec

    fs = fsspec.filesystem("s3", **s3)
    for file in tiffs(tmp_path, frames(30)):
        fs.pipe(f"beamline/tiffs/{file.name}", file.read_bytes())
    streamed = asset("file://localhost/data/", [(1, 31, 0, 30)], mimetype=TIFF, template="img_{:06d}.tiff")
    array = opened(streamed, key(4, 6), 30, root_map={"/data": "s3://beamline/tiffs"}, storage_options=s3)
    np.testing.assert_array_equal(both(array), frames(30))
    assert len(array.files()) == 30
    fs.rm("beamline/tiffs/img_000007.tiff")
    with pytest.raises(AssetUnavailable, match=r"s3://beamline/tiffs/img_000007\.tiff"):
        array.read()


def test_stream_resource_of_before_1_20(tmp_path: Path) -> None:
    tiffs(tmp_path, frames(4))
    old = {
        "uid": "r",
        "spec": "AD_TIFF",
        "root": "/gone",
        "resource_path": "tiffs",
        "resource_kwargs": {"template": "%s%s_%6.6d.tiff", "filename": "img", "frame_per_point": 2},
    }
    streamed = StreamAsset(old, "det", "d", ((1, 3, 0, 2),))
    array = opened(streamed, key(2, 4, 6), 2, root_map={"/gone": str(tmp_path.parent)})
    with pytest.raises(AssetUnavailable, match=r"tiffs/img_000000\.tiff"):
        array.read()
    tmp_path.rename(tmp_path.parent / "tiffs")
    array = opened(streamed, key(2, 4, 6), 2, root_map={"/gone": str(tmp_path.parent)})
    np.testing.assert_array_equal(both(array), frames(4).reshape(2, 2, 4, 6))


def test_the_files_of_a_run_are_listed(tmp_path: Path) -> None:
    expected = tiffs(tmp_path, frames(12))
    found = asset_files(sequence(tmp_path, 12).resource)
    assert [(file.path, file.exists, file.size) for file in found] == [
        (str(path), True, path.stat().st_size) for path in expected
    ]


def test_what_the_system_refuses_is_not_called_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(tiffs(tmp_path, frames(1))[0])

    def refuse(self: Location) -> Any:
        raise OSError(errno.EMFILE, "Too many open files", path)

    monkeypatch.setattr(Location, "open", refuse)
    with pytest.raises(OSError, match="Too many open files"):
        TiffReader.of(Location(f"{tmp_path}/"), {"template": "img_{:06d}.tiff"}).structure()


def test_moved(tmp_path: Path) -> None:
    tiffs(tmp_path, frames(3))
    streamed = asset("/beamline/tiffs/", [(1, 4, 0, 3)], mimetype=TIFF, template="img_{:06d}.tiff")
    array = opened(streamed, key(4, 6), 3, root_map={"/beamline/tiffs": str(tmp_path)})
    np.testing.assert_array_equal(both(array), frames(3))


@pytest.mark.parametrize("per_point", [1, 2])
def test_as_the_handler_reads_them(tmp_path: Path, per_point: int) -> None:
    tiffs(tmp_path, frames(6))
    kwargs = {"template": "%s%s_%6.6d.tiff", "filename": "img", "frame_per_point": per_point}
    handler = area_detector_handlers.handlers.AreaDetectorTiffHandler(str(tmp_path), **kwargs)
    resource = {
        "uid": "r",
        "spec": "AD_TIFF",
        "root": str(tmp_path.parent),
        "resource_path": tmp_path.name,
        "resource_kwargs": kwargs,
    }
    points = range(6 // per_point)
    ids, datums = [f"r/{n}" for n in points], {f"r/{n}": ("r", {"point_number": n}) for n in points}
    array = datum_array(ids, "det", key(per_point, 4, 6), {"r": resource}, datums)
    np.testing.assert_array_equal(both(array), np.stack([handler(point_number=n) for n in points]))


def test_credentials_are_in_no_repr() -> None:
    streamed = asset("s3://bucket/x/", [(1, 2, 0, 1)], mimetype=TIFF, template="{:d}.tiff")
    reader = TiffReader.of(locate(streamed.resource, AssetOptions(storage_options={"secret": "hunter2"})), {})
    assert "hunter2" not in repr(reader)


def test_readers_are_light_to_import() -> None:
    code = (
        "import sys, intake_bluesky.assets; "
        "print(*sorted({'tifffile', 'PIL', 'fabio', 'imageio', 'h5py', 'fsspec'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not set(done.stdout.split()) - {"fsspec"}


def test_indices_that_count_on_over_folders(tmp_path: Path) -> None:
    """As writers have it that number the frames of a key and not those of a folder."""
    assets = []
    for part in range(2):
        folder = tmp_path / f"part{part}"
        folder.mkdir()
        for number, frame in enumerate(frames(3, first=3 * part)):
            tifffile.imwrite(folder / f"img_{number:03d}.tiff", frame)
        spans = [(3 * part + 1, 3 * part + 4, 3 * part, 3 * part + 3)]
        assets.append(asset(f"{folder}/", spans, mimetype=TIFF, template="img_{:03d}.tiff"))
    np.testing.assert_array_equal(both(opened(assets, key(1, 4, 6), 6))[:, 0], frames(6))


def test_the_header_looked_at_is_of_a_frame_that_is_used(tmp_path: Path) -> None:
    for number, frame in enumerate(frames(2, first=10), start=10):
        tifffile.imwrite(tmp_path / f"img_{number:03d}.tiff", frame)
    streamed = asset(f"{tmp_path}/", [(1, 2, 5, 6)], mimetype=TIFF, template="img_{:03d}.tiff", multiplier=2)
    array = opened(streamed, key(2, 4, 6), 1)
    assert array.dtype == np.uint16
    np.testing.assert_array_equal(both(array)[0], frames(2, first=10))


def test_files_that_were_not_asked_for_may_be_gone(tmp_path: Path) -> None:
    for number, frame in enumerate(frames(3)):
        tifffile.imwrite(tmp_path / f"img_{number:03d}.tiff", frame)
    streamed = asset(f"{tmp_path}/", [(1, 4, 0, 3)], mimetype=TIFF, template="img_{:03d}.tiff")
    array = opened(streamed, key(1, 4, 6), 3)
    (tmp_path / "img_001.tiff").unlink()
    np.testing.assert_array_equal(array[::2, 0], frames(3)[::2])
    np.testing.assert_array_equal(array.dask()[::2, 0].compute(scheduler="sync"), frames(3)[::2])
    with pytest.raises(AssetUnavailable, match=r"img_001\.tiff"):
        array[:2]


def test_only_files_that_are_not_there_may_have_moved(tmp_path: Path) -> None:
    file = tiffs(tmp_path, frames(2))[1]
    array = opened(sequence(tmp_path, 2), key(4, 6), 2)
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(AssetUnavailable, match=r"too short.*on_missing") as damaged:
        array.read()
    assert "root_map" not in str(damaged.value)
    file.unlink()
    with pytest.raises(AssetUnavailable, match=r"no such file.*moved.*root_map.*on_missing"):
        array.read()
