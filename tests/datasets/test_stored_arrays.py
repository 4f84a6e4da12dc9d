"""Stores that hold values as arrays: these become the Dataset's, and no event is parsed for them."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
import zarr

from intake_bluesky.catalogs.run_catalog import BlueskyCatalog
from intake_bluesky.errors import DamagedRun
from intake_bluesky.storage import WrapperStore
from intake_bluesky.testing import InaccessibleArray, MemoryStore, RunComposer, data_key
from intake_bluesky_zarr import BlueskyZarrCatalog

EVENTS = 6


def a_run(*, rewound: bool = False) -> list[tuple[str, dict[str, Any]]]:
    """A run with a number, an image and a text an event; after a rewind events 2 and 3 come twice."""
    run = RunComposer("arrays", scan_id=1, plan_name="count")
    keys = {"x": data_key("number"), "image": data_key("array", [2, 3]), "label": data_key("string")}
    primary = run.descriptor(keys)
    order = [1, 2, 3, 2, 3, 4] if rewound else range(1, EVENTS + 1)
    for number, seq_num in enumerate(order):
        values = {"x": float(number), "image": np.full((2, 3), number).tolist(), "label": str(number)}
        run.event(primary, values, seq_num=seq_num)
    run.stop()
    return run.documents


class ArrayStore(WrapperStore):
    """A store with arrays of its own of some keys."""

    def __init__(self, inner: MemoryStore, arrays: Mapping[str, Any]) -> None:
        super().__init__(inner)
        self.held = arrays

    def arrays(self, uid: str, stream: str) -> Mapping[str, Any] | None:
        return self.held if stream == "primary" else None


def opened(arrays: Mapping[str, Any], **how: Any) -> tuple[MemoryStore, Any]:
    inner = MemoryStore([a_run(**how)], page_size=2)
    [run] = BlueskyCatalog(ArrayStore(inner, arrays)).values()
    return inner, run().primary


@pytest.mark.parametrize("kind", ["numpy", "dask"])
def test_they_are_the_values_and_the_rest_comes_from_events(kind: str) -> None:
    image = np.arange(EVENTS * 6).reshape(EVENTS, 2, 3)
    inner, stream = opened({"image": image if kind == "numpy" else da.from_array(image, chunks=(4, 2, 3))})
    inner.parsed.clear()
    ds = stream.to_dask()
    assert ds["image"].shape == image.shape
    assert ds["image"].dtype == image.dtype
    np.testing.assert_array_equal(ds["image"].compute(), image)
    assert inner.reads == 0, "no event was parsed for an array"
    np.testing.assert_array_equal(ds["x"].compute(), np.arange(EVENTS, dtype=float))
    assert inner.reads > 0
    np.testing.assert_array_equal(stream.read()["image"], image)


def test_describing_reads_none() -> None:
    inner, stream = opened({"image": InaccessibleArray((EVENTS, 2, 3), np.uint16)})
    ds = stream.to_dask()
    assert (ds["image"].shape, ds["image"].dtype) == ((EVENTS, 2, 3), np.dtype(np.uint16))
    assert inner.reads == 0


def test_chunks_are_those_of_the_storage() -> None:
    array = zarr.create_array({}, shape=(EVENTS, 2, 3), chunks=(4, 2, 3), dtype="u2")
    array[...] = 7
    _, stream = opened({"image": array})
    ds = stream.to_dask()
    assert ds["image"].chunks == ((4, 2), (2,), (3,))
    assert int(ds["image"].sum()) == 7 * EVENTS * 6


def test_after_a_rewind_the_last_event_of_each_counts() -> None:
    held = np.arange(EVENTS, dtype=np.int64) * 10
    _, stream = opened({"x": held}, rewound=True)
    for ds in (stream.to_dask(), stream.read()):
        assert ds["seq_num"].values.tolist() == [1, 2, 3, 4]
        assert ds["x"].values.tolist() == [0, 30, 40, 50]
        assert ds["label"].values.tolist() == ["0", "3", "4", "5"]


def test_of_another_length_they_are_damage() -> None:
    _, stream = opened({"x": np.arange(EVENTS + 1)})
    with pytest.raises(DamagedRun, match=r"shape \(7,\), and the stream has 6 events"):
        stream.to_dask()


def test_include_and_pickling() -> None:
    _, stream = opened({"x": np.arange(EVENTS) * 2.0})
    ds = pickle.loads(pickle.dumps(stream(include=["x"]).to_dask()))
    assert list(ds) == ["x"]
    assert ds["x"].values.tolist() == [0, 2, 4, 6, 8, 10]
    assert stream(sub_dict="timestamps").read()["x"].dtype == np.float64


def test_a_run_that_was_opened_while_it_went_on_stays_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At its stop it got arrays of all its events, which are more than there were."""
    monkeypatch.setenv("INTAKE_BLUESKY_CACHE", str(tmp_path / "cache"))
    run = RunComposer("live")
    descriptor = run.descriptor({"x": data_key("number")})
    for number in range(4):
        run.event(descriptor, {"x": float(number)})
    run.stop()
    catalog = BlueskyZarrCatalog(tmp_path / "runs", arrays="always", flush_seconds=0)
    with catalog.writer() as write:
        for pair in run.documents[:4]:
            write(*pair)
        opened = catalog[-1]
        stream = opened.primary
        for pair in run.documents[4:]:
            write(*pair)
    assert stream.read()["x"].values.tolist() == [0.0, 1.0]
    assert opened.primary.to_dask()["x"].values.tolist() == [0.0, 1.0]
    assert catalog[-1].primary.read()["x"].values.tolist() == [0.0, 1.0, 2.0, 3.0]
    catalog.store.close()
