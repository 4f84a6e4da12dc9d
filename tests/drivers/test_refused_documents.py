"""What a store cannot hold, of a real RunEngine: the error names the key, and nothing that came before it is lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from bluesky import RunEngine
from bluesky.plans import count
from ophyd.sim import SynSignal

from intake_bluesky import BlueskyCatalog
from intake_bluesky.errors import UnsupportedOperation
from intake_bluesky_jsonl import BlueskyJSONLCatalog
from intake_bluesky_mongo import BlueskyMongoEmbeddedCatalog, BlueskyMongoNormalizedCatalog
from intake_bluesky_msgpack import BlueskyMsgpackCatalog
from intake_bluesky_sql import BlueskySQLCatalog

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

STORES: dict[str, Callable[[Any, Path], BlueskyCatalog]] = {
    "jsonl": lambda _, folder: BlueskyJSONLCatalog(folder),
    "msgpack": lambda _, folder: BlueskyMsgpackCatalog(folder, compression="gz"),
    "sqlite": lambda _, folder: BlueskySQLCatalog(folder / "runs.db"),
    "postgresql": lambda asked, _: BlueskySQLCatalog(asked.getfixturevalue("postgres").emptied()),
    "mongo": lambda asked, _: BlueskyMongoNormalizedCatalog(asked.getfixturevalue("database_uri"), writable=True),
    "mongo embedded": lambda asked, _: BlueskyMongoEmbeddedCatalog(
        asked.getfixturevalue("database_uri"), writable=True
    ),
}


@pytest.fixture(params=STORES)
def cat(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BlueskyCatalog]:
    return STORES[request.param](request, tmp_path)


def signal(*values: Any) -> SynSignal:
    left = iter(values)
    return SynSignal(name="det", func=lambda: next(left))


def engine(cat: BlueskyCatalog) -> RunEngine:
    made = RunEngine({f"key{number}": number for number in range(30)}, context_managers=[])
    made.subscribe(cat.writer())
    return made


@pytest.mark.parametrize(
    ("odd", "where"),
    [
        ({"sample": {"dir": Path("/data")}}, r"start\['sample'\]\['dir'\]: "),
        ({"sample": {"layers": [1, {"made": object()}]}}, r"start\['sample'\]\['layers'\]\[1\]\['made'\]: "),
        ({"tags": {1, "a"}}, r"start\['tags'\]: "),
        ({"since": pd.NaT}, r"start\['since'\]: "),
    ],
)
def test_metadata_are_refused_before_anything_moves(cat: BlueskyCatalog, odd: dict[str, Any], where: str) -> None:
    run = engine(cat)
    run(count([signal(1.0, 2.0)]))
    with pytest.raises(UnsupportedOperation, match=where):
        run(count([signal(1.0, 2.0)]), **odd)
    run(count([signal(1.0, 2.0)]))
    assert [one().stop["exit_status"] for one in cat.values()] == ["success", "success"]


@pytest.mark.parametrize("time", [np.datetime64(5, "ns"), np.datetime64("NaT", "s"), np.array([5], "m8[ns]")])
def test_times_of_numpy_become_no_integers_and_no_nulls(
    request: pytest.FixtureRequest, tmp_path: Path, time: Any
) -> None:
    cat = STORES["mongo"](request, tmp_path)
    with pytest.raises(UnsupportedOperation, match=r"start\['since'\]: "):
        engine(cat)(count([signal(1.0)]), since=time)


def test_a_reading_that_is_refused_leaves_those_before_it(cat: BlueskyCatalog) -> None:
    with pytest.raises(UnsupportedOperation, match=r"event\['data'\]\['det'\]: "):
        engine(cat)(count([signal(0.0, 1.0, 2.0, object(), 4.0)], num=4))
    run: Any = cat[-1]
    assert run.primary.read()["det"].values.tolist() == [1.0, 2.0]
    assert run.stop["exit_status"] == "fail"
    assert "event['data']['det']" in run.stop["reason"]


def test_a_descriptor_that_is_refused(cat: BlueskyCatalog) -> None:
    det = signal(0.0, 1.0)
    det.describe_configuration = lambda: {"det_dir": {"source": "SIM", "dtype": "string", "shape": []}}
    det.read_configuration = lambda: {"det_dir": {"value": Path("/data"), "timestamp": 1.0}}
    where = r"descriptor\['configuration'\]\['det'\]\['data'\]\['det_dir'\]: "
    with pytest.raises(UnsupportedOperation, match=where):
        engine(cat)(count([det]))
    assert cat[-1].metadata["stop"]["exit_status"] == "fail"
