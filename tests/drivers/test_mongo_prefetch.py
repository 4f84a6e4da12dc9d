"""Many runs looked at together: found, described and read as each alone, in questions that do not grow with them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pymongo import monitoring
from pymongo.database import Database

from intake_bluesky.catalogs.run_catalog import BlueskyCatalog
from intake_bluesky.query import Data
from intake_bluesky.search.run_statistics import measured
from intake_bluesky.storage.contract import RunStore
from intake_bluesky.testing.compose import RunComposer, data_key
from intake_bluesky.testing.runs import EXAMPLES, Run
from intake_bluesky_mongo import EmbeddedStore, NormalizedStore, prefetch
from intake_bluesky_mongo.events import EventReader, Times
from intake_bluesky_mongo.prefetch import Ahead, groups
from intake_bluesky_mongo.store import MongoStore
from tests.drivers.mongo_by_hand import put_embedded, put_normalized


class Asked(monitoring.CommandListener):
    """The collections that were read, by command."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, Any]] = []

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        if event.command_name in ("find", "aggregate", "getMore"):
            self.seen.append((event.command_name, event.command.get(event.command_name)))

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        pass

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        pass

    def of_events(self) -> int:
        return sum(what == "event" for how, what in self.seen if how == "find")


ASKED = Asked()
monitoring.register(ASKED)


def run_of(number: int, *, events: int = 3, more: bool = False) -> Run:
    """A run of a scan and a baseline, of other keys than the next one's if asked."""
    run = RunComposer(f"{number:04}", time=1.6e9 + number, scan_id=number)
    extra = {"ε": data_key("integer")} if more else {}
    primary = run.descriptor({"theta": data_key("number"), "note": data_key("string"), **extra})
    baseline = run.descriptor({"temperature": data_key("number")}, name="baseline")
    for place in range(events):
        values = {"theta": number + place / 4, "note": "x" * place, **({"ε": place} if more else {})}
        run.event(primary, values)
    for place in range(2):
        run.event(baseline, {"temperature": 290.0 + place})
    run.stop()
    return run.documents


@pytest.fixture(params=["normalized", "embedded", "pages"])
def store(
    request: pytest.FixtureRequest, database_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[MongoStore]:
    monkeypatch.setenv("INTAKE_BLUESKY_CACHE", str(tmp_path / "cache"))
    made: MongoStore
    if request.param == "embedded":
        made = EmbeddedStore(database_uri, writable=True)
    else:
        made = NormalizedStore(database_uri, writable=True, event_pages=request.param == "pages")
    yield made
    made.close()


def put(store: MongoStore, database: Database[dict[str, Any]], documents: Run) -> str:
    uid = str(documents[0][1]["uid"])
    if isinstance(store, EmbeddedStore):
        put_embedded(database, uid, documents)
    elif isinstance(store, NormalizedStore) and store.paged:
        with store.insert(documents[0][1]) as insert:
            for name, doc in documents[1:]:
                insert.write(name, doc)
    else:
        put_normalized(database, documents)
    return uid


@pytest.mark.slow
def test_found_together_as_alone(store: MongoStore, database: Database[dict[str, Any]], tmp_path: Path) -> None:
    uids = []
    for name, make in EXAMPLES.items():
        (tmp_path / name).mkdir()
        uids.append(put(store, database, make(tmp_path / name)))
    ASKED.seen = []
    together = store._find_runs([*uids, "none such"])
    assert len(ASKED.seen) == 2
    assert together.keys() == set(uids)
    for uid in uids:
        alone = store._find_run(uid)
        assert alone is not None
        assert together[uid].version == alone.version
        assert together[uid].streams() == alone.streams()
        assert repr(together[uid].header(together[uid].streams())) == repr(alone.header(alone.streams())), "with NaN"


@pytest.mark.slow
def test_measured_together_as_alone(store: MongoStore, database: Database[dict[str, Any]], tmp_path: Path) -> None:
    uids = [put(store, database, run_of(number, events=number % 4, more=number % 3 == 0)) for number in range(9)]
    for name, make in EXAMPLES.items():
        (tmp_path / name).mkdir()
        uids.append(put(store, database, make(tmp_path / name)))
    opened = store._opened(uids)
    near = Ahead(store, store._reader, {uid: streams for uid, (_, streams) in opened.items()})
    assert len(near._pages) > len(uids), "of most streams"
    for uid in uids:
        header = store.header(uid)
        observed, expected = measured(near, header)[0], measured(store, header)[0]
        assert observed.keys() == expected.keys()
        for key, one in observed.items():
            assert one == expected[key] or repr(one) == repr(expected[key]), "NaN is itself"


@pytest.mark.parametrize("runs", [8, 32])
def test_as_many_questions_whatever_the_runs(store: MongoStore, database: Database[dict[str, Any]], runs: int) -> None:
    for number in range(runs):
        put(store, database, run_of(number, more=number % 2 == 1))
    catalog = BlueskyCatalog(store)
    ASKED.seen = []
    assert len(catalog.search(Data("theta").max() > runs - 0.75)) == 1
    assert ASKED.of_events() + sum(what == "event_page" for _, what in ASKED.seen) == 1
    assert len(ASKED.seen) <= 14, "of listing, counting and measuring"


def test_large_streams_are_read_alone(
    store: MongoStore, database: Database[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    uids = [put(store, database, run_of(number, events=4)) for number in range(6)]
    streams = {uid: streams for uid, (_, streams) in store._opened(uids).items()}
    size = sum(stream.size for stream in streams[uids[0]].values())
    monkeypatch.setattr(prefetch, "HELD", 2 * size)
    assert [len(some) for some in groups(streams)] == [2, 2, 2]
    monkeypatch.setattr(prefetch, "HELD", 0)
    assert [list(some) for some in groups(streams)] == [[uid] for uid in uids]


def test_events_that_came_or_went_are_asked_for_again(store: MongoStore, database: Database[dict[str, Any]]) -> None:
    """What is at hand is as many events as the header says, or nothing."""
    uids = [put(store, database, run_of(number)) for number in range(3)]
    streams = {uid: streams for uid, (_, streams) in store._opened(uids).items()}
    gone = streams[uids[1]]["primary"].descriptors[0]
    paged = "event_page" if isinstance(store, NormalizedStore) and store.paged else "event"
    database[paged].delete_many({"descriptor": gone})
    near = Ahead(store, EventReader(database, Times(), store._reader.paged), streams)
    assert len(near._pages) == 5
    assert thetas(near, uids[0]) == [0.0, 0.25, 0.5]
    assert thetas(near, uids[1]) == []
    assert thetas(near, uids[2], events=slice(1, 2)) == [2.25]


def thetas(store: RunStore, uid: str, events: slice = slice(None)) -> list[float]:
    pages = store.event_pages(uid, "primary", events=events)
    return [theta for page in pages for theta in np.asarray(page.data["theta"]).tolist()]
