"""Searching by hardware and data the runs of a real RunEngine with ophyd and ophyd-async devices."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from intake_bluesky import BlueskyCatalog
from intake_bluesky.apps.demo.experiments import Experiments
from intake_bluesky.datasets.presentation import columns
from intake_bluesky.documents.model import RunSummary
from intake_bluesky.documents.statistics import Statistics
from intake_bluesky.query import Config, Data, DataKey, Device, Query, Start, Stream
from intake_bluesky.search.run_view import StoredRun
from intake_bluesky_jsonl import BlueskyJSONLCatalog


@pytest.fixture(scope="module")
def cat(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BlueskyCatalog]:
    folder = tmp_path_factory.mktemp("experiments")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INTAKE_BLUESKY_CACHE", str(folder / "cache"))
        cat = BlueskyJSONLCatalog(folder / "runs")
        Experiments(folder / "assets", cat.writer(), grid_points=3).run()
        yield cat.refresh()


def plans(cat: BlueskyCatalog, query: Query) -> list[str]:
    return sorted({cat[uid].start["plan_name"] for uid in cat.search(query)})


def test_statistics_are_those_of_the_datasets(cat: BlueskyCatalog) -> None:
    looked_at = 0
    for uid in cat:
        run = cat[uid]
        view = StoredRun(cat.store, RunSummary.of(run.start, run.stop))
        for stream in run:
            for key, values in columns(run[stream].read()).data_vars.items():
                observed, expected = view.statistics(stream, str(key)), Statistics.of(values.values)
                assert observed is not None
                assert observed.sum == pytest.approx(expected.sum, rel=1e-12, abs=1e-12)
                for name in ("count", "nan_count", "min", "max", "first", "last"):
                    assert getattr(observed, name) == getattr(expected, name), (stream, key, name)
                looked_at += 1
    assert looked_at > 70


def test_runs_where_a_motor_was_in_a_range(cat: BlueskyCatalog) -> None:
    thetas = {uid: ds["theta"].values.tolist() for uid in cat if "theta" in (ds := cat[uid].primary.read())}
    assert thetas
    for low, high in ((0, 5), (0.01, 0.04), (0.06, 0.09), (-9, -2), (0.5, 0.5)):
        expected = {uid for uid, theta in thetas.items() if any(low <= value <= high for value in theta)}
        assert set(cat.search(Data("theta").between(low, high))) == expected, (low, high)
    assert plans(cat, Data("theta").within(-1, 0.5)) == ["scan"]  # the one that was aborted at 0


def test_runs_whose_images_add_up_to_more(cat: BlueskyCatalog) -> None:
    sums = {uid: int(ds["blob"].sum()) for uid in cat if "blob" in (ds := cat[uid].primary.read())}
    assert sums
    bound = min(sums.values())
    assert set(cat.search(Data("blob").sum() >= bound)) == set(sums)
    assert set(cat.search(Data("blob").sum() == bound)) == {uid for uid, total in sums.items() if total == bound}
    assert list(cat.search(Data("blob").sum() > max(sums.values()))) == []
    assert plans(cat, Data("img").max() > 100) == ["count"]


def test_runs_where_a_device_was_set_up_so(cat: BlueskyCatalog) -> None:
    velocity = {
        uid: descriptor["configuration"]["stage-x"]["data"]["stage-x-velocity"]
        for uid in cat
        for descriptor in cat[uid].descriptors
        if "stage-x" in descriptor["configuration"]
    }
    assert velocity
    some = next(iter(velocity.values()))
    query = Device("stage-x").exists() & (Config("stage-x", "stage-x-velocity") >= some)
    assert set(cat.search(query)) == {uid for uid, value in velocity.items() if value >= some}
    assert list(cat.search(Config("stage-x", "stage-x-velocity") > np.inf)) == []


def test_streams_and_keys(cat: BlueskyCatalog) -> None:
    assert len(cat.search(Stream("ring_current_monitor").exists())) == len(cat)
    assert plans(cat, DataKey("stage-x").exists() & DataKey("blob-sum", stream="primary").exists()) == ["grid_scan"]
    assert plans(cat, DataKey("theta", stream="primary").exists() & ~(Start("plan_name") == "scan")) == ["careful_scan"]
