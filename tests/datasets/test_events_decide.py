"""What a key is follows from its events and documents, whatever its descriptor says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from intake_bluesky.assets import AssetOptions
from intake_bluesky.datasets.filled_documents import filled_documents
from intake_bluesky.datasets.options import DatasetOptions
from intake_bluesky.datasets.stream_reader import StreamReader
from intake_bluesky.errors import AssetUnavailable
from intake_bluesky.storage.contract import RunStore
from intake_bluesky.testing.compose import RunComposer, data_key
from intake_bluesky.testing.memory import MemoryStore
from intake_bluesky_mongo.embedded import EmbeddedStore
from intake_bluesky_mongo.normalized import NormalizedStore
from intake_bluesky_sql.store import SQLStore
from tests.servers.postgres import Postgres

FRAMES = np.arange(6 * 4 * 5, dtype="<u2").reshape(6, 4, 5)


def image(external: str | None = "FILESTORE:", shape: tuple[int, ...] = (1, 4, 5)) -> dict[str, Any]:
    return data_key("array", list(shape), **({"external": external} if external else {}))


@pytest.fixture
def file(tmp_path: Path) -> str:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["entry/data/data"] = FRAMES
    return str(tmp_path / "a.h5")


def run_of(name: str, file: str, spec: dict[str, Any], *values: Any, scan_id: int = 1) -> RunComposer:
    """A run of which events hold values; a number is the frame of a datum, a list of numbers that of several."""
    run = RunComposer(name, scan_id=scan_id)
    primary = run.descriptor({"img": spec})
    resource = run.resource("AD_HDF5", root="", path=file, frame_per_point=1)
    count = 0

    def datum(frame: int) -> str:
        nonlocal count
        count += 1
        return run.datum(resource, count, point_number=frame)

    for value in values:
        if isinstance(value, int):
            held: Any = datum(value)
        elif isinstance(value, list) and value and isinstance(value[0], int):
            held = [datum(frame) for frame in value]
        else:
            held = value
        run.event(primary, {"img": held}, filled={"img": False})
    run.stop()
    return run


def inserted(store: RunStore, *runs: RunComposer) -> RunStore:
    for run in runs:
        (_, start), *others = run.documents
        with store.insert(start) as insert:
            for name, doc in others:
                insert.write(name, doc)
    return store


def reader(store: RunStore, run: RunComposer, **options: Any) -> StreamReader:
    return StreamReader(store, store.header(run.run_uid), "primary", DatasetOptions(**options))


def values(store: RunStore, run: RunComposer, **options: Any) -> Any:
    """As `read` and `to_dask` give them alike."""
    read = reader(store, run, **options).read()["img"]
    np.testing.assert_array_equal(reader(store, run, **options).to_dask()["img"].compute().values, read.values)
    return read.values


DATABASES = ["sqlite", "postgres", "normalized", "embedded"]


@pytest.fixture(params=["memory", *DATABASES])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RunStore]:
    if request.param == "memory":
        yield MemoryStore()
    elif request.param == "sqlite":
        yield SQLStore(f"sqlite:///{tmp_path / 'runs.db'}")
    elif request.param == "postgres":
        server: Postgres = request.getfixturevalue("postgres")
        yield SQLStore(server.emptied())
    else:
        kind = NormalizedStore if request.param == "normalized" else EmbeddedStore
        yield kind(request.getfixturevalue("database_uri"), writable=True)


def test_what_events_hold(store: RunStore, file: str) -> None:
    filled = (FRAMES[3:4] + 100).tolist()
    streamed = run_of("streamed", file, image("STREAM:"), 0, 1, 2)
    mixed = run_of("mixed", file, image(), 0, filled, 2)
    stored = run_of("stored", file, image(), filled, filled)
    lists = run_of("lists", file, image(shape=(2, 4, 5)), [0, 1], [4, 3])
    bad = run_of("bad", file, image(), 1, "gone/7", 2)
    inserted(store, streamed, mixed, stored, lists, bad)

    np.testing.assert_array_equal(values(store, streamed), FRAMES[:3, np.newaxis])
    np.testing.assert_array_equal(values(store, mixed), [FRAMES[:1], filled, FRAMES[2:3]])
    np.testing.assert_array_equal(values(store, stored), [filled, filled])
    np.testing.assert_array_equal(np.squeeze(values(store, lists)), [FRAMES[:2], FRAMES[[4, 3]]])

    with pytest.raises(AssetUnavailable, match="1 datum_ids are of no datum that is found, 'gone/7' first"):
        reader(store, bad).read()
    described = reader(store, bad).to_dask()["img"]
    np.testing.assert_array_equal(described[[0, 2]].compute().values, FRAMES[1:3, np.newaxis])
    np.testing.assert_array_equal(
        values(store, bad, on_missing="fill"), [FRAMES[1:2], np.zeros_like(FRAMES[:1]), FRAMES[2:3]]
    )
    for run, expected in ((streamed, FRAMES[:3, np.newaxis]), (mixed, [FRAMES[:1], filled, FRAMES[2:3]])):
        documents = filled_documents(store, run.run_uid, AssetOptions(), "yes")
        np.testing.assert_array_equal([doc["data"]["img"] for name, doc in documents if name == "event"], expected)


@pytest.mark.parametrize("store", DATABASES, indirect=True)
def test_datums_and_resources_of_other_runs(store: RunStore, file: str) -> None:
    first = run_of("first", file, image(), 2)
    [dark] = [doc["datum_id"] for name, doc in first.documents if name == "datum"]
    [resource] = [doc["uid"] for name, doc in first.documents if name == "resource"]
    second = run_of("second", file, image(), dark, 3, scan_id=2)
    third = RunComposer("third", scan_id=3)
    primary = third.descriptor({"img": image()})
    third.event(primary, {"img": third.datum(resource, 99, point_number=5)}, filled={"img": False})
    third.stop()
    inserted(store, first, second, third)
    np.testing.assert_array_equal(values(store, second), FRAMES[2:4, np.newaxis])
    np.testing.assert_array_equal(values(store, third), FRAMES[5:6, np.newaxis])


def test_a_key_that_does_not_say_that_it_is_external(file: str) -> None:
    run = run_of("unlabelled", file, image(None), 0, 4)
    np.testing.assert_array_equal(values(MemoryStore([run.documents]), run), FRAMES[[0, 4], np.newaxis])


@pytest.mark.parametrize("change", [{"data_key": None}, {"data_key": "other"}, {"uid": "other"}])
def test_frames_that_are_of_no_key(file: str, change: dict[str, str | None]) -> None:
    run = RunComposer("unnamed", scan_id=1)
    primary = run.descriptor({"img": image("STREAM:")})
    resource = run.stream_resource(
        "img", mimetype="application/x-hdf5", uri=f"file://localhost{file}", dataset="/entry/data/data"
    )
    run.stream_datum(resource, primary, (1, 4))
    run.stop()
    documents = [(name, doc | change if name == "stream_resource" else doc) for name, doc in run.documents]
    found = reader(MemoryStore([documents]), run)
    assert found.to_dask().attrs["incomplete"] == "img: 0 of 3 rows"
    with pytest.raises(AssetUnavailable, match="none of the stream's is of it"):
        found.read()


def test_what_is_no_array_costs_its_row(file: str) -> None:
    run = run_of("odd", file, image(), 0, [[[1, 2], [3]]], 2)
    store = MemoryStore([run.documents])
    found = StreamReader(store, store.header(run.run_uid), "primary").to_dask()["img"]
    np.testing.assert_array_equal(found[[0, 2]].values[:, 0], FRAMES[[0, 2]])
    with pytest.raises(AssetUnavailable, match="neither a datum_id nor an array"):
        found[1].compute()
