"""Files of detectors in Azure and in Google Cloud Storage: HDF5 by ranges, every format, copies, large objects."""

from __future__ import annotations

import hashlib
from io import BytesIO
from pathlib import Path
from typing import Any
from uuid import uuid4

import h5py
import numpy as np
import pytest

from intake_bluesky import ingest
from intake_bluesky.documents.model import identical
from intake_bluesky.objects import objects_at
from intake_bluesky.objects.cloud import PART, CloudObjects
from intake_bluesky.testing import EXAMPLES
from intake_bluesky.testing.compose import RunComposer, data_key
from intake_bluesky.testing.readers import WrittenFiles
from intake_bluesky_bucket import BlueskyBucketCatalog
from intake_bluesky_jsonl import BlueskyJSONLCatalog
from tests.assets.by_hand import asset, both, key, opened
from tests.assets.formats import FORMATS
from tests.transfer.packed_runs import catalog, differing, folder_run, read_all

pytestmark = pytest.mark.slow

Place = tuple[str, dict[str, Any]]
LARGE = 2 * PART + 12_345


@pytest.fixture(params=["az", "gs"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """An empty folder, and the options by which it is read and written."""
    monkeypatch.setenv("INTAKE_BLUESKY_CACHE", str(tmp_path / "cache"))
    server = request.getfixturevalue({"az": "azure_container", "gs": "google_bucket"}[request.param])
    return f"{request.param}://runs/{uuid4().hex}", server.options


def put_all(folder: Path, place: Place) -> None:
    """Put the files below a folder, by their names in it."""
    objects, name = objects_at(*place)
    for path in filter(Path.is_file, folder.rglob("*")):
        objects.put(f"{name}/{path.relative_to(folder)}", path.read_bytes())
    objects.close()


def test_frames_of_hdf5_are_fetched_by_ranges(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = np.random.default_rng(0).integers(0, 1 << 16, (24, 256, 512)).astype("<u2")
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("/entry/data/data", data=frames, chunks=(1, 256, 512), compression="gzip")
    put_all(tmp_path, place)
    fetched: list[int] = []
    part = CloudObjects._part

    def noted(self: CloudObjects, *span: Any) -> bytes:
        data = part(self, *span)
        fetched.append(len(data))
        return data

    monkeypatch.setattr(CloudObjects, "_part", noted)
    array = opened(asset(f"{place[0]}/x.h5", [(1, 25, 0, 24)]), key(256, 512), 24, storage_options=place[1])
    np.testing.assert_array_equal(array[7], frames[7])
    assert 0 < sum(fetched) < (tmp_path / "x.h5").stat().st_size / 4
    np.testing.assert_array_equal(both(array), frames)


def test_every_format(place: Place, tmp_path: Path) -> None:
    """Sequences of images and Zarr arrays in folders among them; of Zarr in a zip file fsspec's packages are needed."""
    for form in (one for one in FORMATS if "zip" not in one.name and not one.uri.endswith(".zip")):
        folder = tmp_path / form.name
        folder.mkdir()
        written = WrittenFiles.of(form, folder)
        root = f"{place[0]}/{form.name}"
        put_all(folder, (root, place[1]))
        there = written.array(form.ways[-1], root_map={str(folder): root}, storage_options=place[1])
        np.testing.assert_array_equal(there.read(), written.expected, err_msg=form.name)
        part = (slice(1, 3), slice(None), slice(2, 7), slice(3, 11))
        np.testing.assert_array_equal(there[part], written.expected[part], err_msg=form.name)


def test_copies_of_files(place: Place, tmp_path: Path) -> None:
    """Onto the server and back, a file larger than a part and a folder of Zarr among them."""
    made = [EXAMPLES[name](tmp_path / "data" / name) for name in ("npy_seq", "stream_hdf5")]
    made += [_large_run(tmp_path / "data"), folder_run(tmp_path / "data" / "zarr")]
    source = catalog(*made)
    before = read_all(source)
    into = BlueskyBucketCatalog(place[0], storage_options=place[1])
    report = ingest.copy(source, into=into, assets="copy").check()
    objects, name = objects_at(*place)
    for one in report.files:
        assert hashlib.sha256(objects.get(objects.name_of(one.copy))[0]).hexdigest() == one.sha256
    assert max(one.size for one in report.files) > 2 * PART
    assert not [info.name for info in objects.list(name, "**") if info.name.endswith(".part")]
    assert not [one for one in ingest.copy(source, into=into, assets="copy").check().files if one.new]
    (tmp_path / "data").rename(tmp_path / "gone")
    there = BlueskyBucketCatalog(place[0], storage_options=place[1], root_map=report.root_map)
    assert differing(before, read_all(there)) == []
    assert all(file.exists for run in there.values() for file in run.files())
    back = ingest.copy(there, into=BlueskyJSONLCatalog(str(tmp_path / "back")), assets="copy").check()
    assert sorted(one.sha256 for one in back.files) == sorted(one.sha256 for one in report.files)
    here = BlueskyJSONLCatalog(str(tmp_path / "back"), root_map=back.root_map)
    assert differing(before, read_all(here)) == []


def _large_run(folder: Path) -> list[tuple[str, Any]]:
    with h5py.File(folder / "large.h5", "w") as file:
        chance = np.random.default_rng(7).integers(0, 1 << 16, (18, 512, 1024))
        file.create_dataset("data", data=chance.astype("<u2"), chunks=(1, 512, 1024))
    run = RunComposer("large")
    primary = run.descriptor({"image": data_key("array", [1, 512, 1024], external="STREAM:", dtype_numpy="<u2")})
    uri = f"file://localhost{folder}/large.h5"
    image = run.stream_resource("image", mimetype="application/x-hdf5", uri=uri, dataset="data", chunk_shape=[1])
    run.stream_datum(image, primary, (1, 19))
    run.stop()
    return run.documents


def test_objects_larger_than_a_part(place: Place) -> None:
    """They are put in several requests, from memory or a file, and are there when the last has come."""
    objects, folder = objects_at(*place)
    content = np.random.default_rng(1).bytes(LARGE)
    for name, data in (("memory", content), ("file", BytesIO(content)), ("file", BytesIO(content[::-1]))):
        tag = objects.put(f"{folder}/{name}", data)
        found, info = objects.get(f"{folder}/{name}")
        assert found == (data if isinstance(data, bytes) else data.getvalue())
        assert (info.tag, info.size) == (tag, LARGE)
        assert objects.range(f"{folder}/{name}", PART - 3, PART + 3, tag) == found[PART - 3 : PART + 3]
    objects.create(f"{folder}/created", content)
    with pytest.raises(FileExistsError):
        objects.create(f"{folder}/created", content)
    objects.rename(f"{folder}/file", f"{folder}/renamed")
    with pytest.raises(FileExistsError):
        objects.rename(f"{folder}/memory", f"{folder}/renamed")
    assert objects.get(f"{folder}/renamed")[0] == content[::-1]
    assert sorted(info.name.rpartition("/")[2] for info in objects.list(folder)) == ["created", "memory", "renamed"]
    objects.close()


def test_runs_larger_than_a_part(place: Place) -> None:
    """Put from a temporary file at the stop."""
    run = RunComposer("large")
    descriptor = run.descriptor({"x": data_key("array", [20_000])})
    chance = np.random.default_rng(3)
    for _ in range(60):
        run.event(descriptor, {"x": chance.normal(size=20_000).tolist()})
    run.stop()
    written = BlueskyBucketCatalog(place[0], storage_options=place[1], flush_seconds=60)
    with written.writer() as write:
        for pair in run.documents:
            write(*pair)
    written.store.close()
    read = BlueskyBucketCatalog(place[0], storage_options=place[1])
    objects, folder = objects_at(*place)
    [info] = objects.list(folder)
    assert info.size > PART
    assert identical(list(read.store.documents(run.run_uid)), run.documents)
    assert read[-1].primary.read()["x"].shape == (60, 20_000)
    read.store.close()
    objects.close()
