"""Searching a catalog by descriptors and data: what matches, what is read, and what cannot be."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intake_bluesky.assets import AssetOptions
from intake_bluesky.documents.model import Keys, RunHeader
from intake_bluesky.documents.statistics import Statistics
from intake_bluesky.errors import AssetUnavailable, DamagedRun, RunNotFound
from intake_bluesky.query import (
    ALL,
    Config,
    Data,
    DataKey,
    Device,
    Query,
    RunView,
    Start,
    Stop,
    Stream,
    matches,
)
from intake_bluesky.search.run_view import StoredRun
from intake_bluesky.search.selection import Selection
from intake_bluesky.testing.compose import RunComposer, data_key
from intake_bluesky.testing.memory import MemoryStore
from intake_bluesky.testing.queries import Run, queries, runs
from intake_bluesky.testing.runs import EXAMPLES

THETA = data_key("number", units="deg")


def but_gap(found: Statistics | None) -> Statistics | None:
    """All but a bound that depends on how values were looked at."""
    return None if found is None else replace(found, gap=None)


class WatchedStore(MemoryStore):
    """Tells which runs' headers were read, and how often event pages were asked for."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.headers: list[str] = []
        self.lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in super().__getstate__().items() if name != "lock"}

    def header(self, uid: str) -> RunHeader:
        with self.lock:
            self.headers.append(uid)
        return super().header(uid)


def composed(label: str, thetas: list[Any], *, time: float = 1.6e9, **metadata: Any) -> RunComposer:
    """A run of one stream with these values of theta."""
    run = RunComposer(label, time=time, title=label, **metadata)
    primary = run.descriptor({"theta": THETA})
    for theta in thetas:
        run.event(primary, {"theta": theta})
    run.stop()
    return run


def found(store: MemoryStore, query: Query, **options: Any) -> set[str]:
    return {run.start["title"] for run in Selection(store, (query,), **options).runs()}


@pytest.fixture
def store() -> WatchedStore:
    """Low, high and gappy scans, and a run without theta."""
    plain = RunComposer("plain", title="plain", plan_name="count")
    plain.event(plain.descriptor({"x": THETA}), {"x": 3.0})
    plain.stop()
    composers = [
        composed("low", [-9.0, -1.5], plan_name="scan"),
        composed("around", [-9.0, 9.0], plan_name="scan"),
        composed("through", [-9.0, 2.5, 9.0], plan_name="scan"),
        composed("gappy", [None, 4.0, float("nan")], plan_name="scan"),
        plain,
    ]
    return WatchedStore([run.documents for run in composers])


def test_runs_where_a_motor_was_in_a_range(store: WatchedStore) -> None:
    assert found(store, Data("theta").between(0, 5)) == {"through", "gappy"}
    assert found(store, ~Data("theta").between(0, 5)) == {"low", "around", "plain"}
    assert found(store, Data("theta").within(0, 5)) == {"gappy"}
    assert found(store, Data("theta").max() > 5) == {"around", "through"}
    assert found(store, Data("theta").nan_count() > 0) == {"gappy"}
    assert found(store, Data("theta").count() == 3) == {"through", "gappy"}
    assert found(store, Data("theta", stream="baseline").count() >= 0) == set()


def test_what_is_cheap_decides_before_any_run_is_opened(store: WatchedStore) -> None:
    assert found(store, (Data("theta").max() > 5) & (Start("title") == "around")) == {"around"}
    assert len(store.headers) == 1
    assert len(found(store, (Data("theta").max() > 5) | Stop("exit_status").exists())) == 5
    assert len(store.headers) == 1
    found(store, Start("plan_name") == "scan")
    assert len(store.headers) == 1


def test_descriptors_are_read_once_a_run_and_no_event_for_them(store: WatchedStore) -> None:
    query = (DataKey("theta").field("units") == "deg") & Stream("primary").exists() & ~Device("fccd").exists()
    assert found(store, query) == {"low", "around", "through", "gappy"}
    assert sorted(store.headers) == sorted(run.uid for run in store.find())
    before = store.reads
    found(store, query)
    assert store.reads == before


def test_data_are_read_only_of_runs_that_have_the_key_and_only_once(store: WatchedStore) -> None:
    assert found(store, Data("theta").max() > 5) == {"around", "through"}
    assert {uid for uid, _, _ in store.parsed} == {run.uid for run in store.find() if run.start["title"] != "plain"}
    before = store.reads
    assert found(store, (Data("theta").max() > 5) & (Data("theta").mean() < 1)) == {"around", "through"}
    assert found(store, Data("theta").between(-10, -8)) == {"low", "around", "through"}  # the statistics decide
    assert store.reads == before
    found(store, Data("theta").between(0, 5))
    titles = {run.uid: run.start["title"] for run in store.find()}
    assert {titles[uid] for uid, _, _ in store.parsed[before:]} == {"around", "through"}  # they leave these open


def test_a_run_that_goes_on_is_looked_at_again() -> None:
    going_on = composed("on", [1.0]).documents[:-1]
    store = MemoryStore([going_on])
    assert found(store, Data("theta").max() > 5) == set()
    event = {**going_on[-1][1], "uid": "later", "seq_num": 2, "data": {"theta": 7.0}}
    store.append(going_on[0][1]["uid"], [("event", event)])
    assert found(store, Data("theta").max() > 5) == {"on"}


@pytest.mark.parametrize("page_size", [1, 2, 100])
@pytest.mark.parametrize(
    ("seq_nums", "expected"),
    [
        ([1, 2, 3, 1, 2, 3, 4], [3, 4, 5, 6]),
        ([1, 2, 3, 4, 5, 2], [0, 5, 2, 3, 4]),
        ([1, 2, 3, 4, 1], [4, 1, 2, 3]),
        ([1, 1, 2, 2, 1], [4, 3]),
        ([2, 1, 4, 3, 1], [4, 0, 3, 2]),
    ],
)
def test_of_events_recorded_twice_the_last_counts(page_size: int, seq_nums: list[int], expected: list[int]) -> None:
    run = RunComposer("rewound", title="rewound")
    primary = run.descriptor({"theta": THETA})
    for place, seq_num in enumerate(seq_nums):
        run.event(primary, {"theta": place}, seq_num=seq_num)
    store = MemoryStore([run.documents], page_size=page_size)
    view = StoredRun(store, next(store.find()))
    assert but_gap(view.statistics("primary", "theta")) == but_gap(Statistics.of(np.array(expected)))
    for place in range(len(seq_nums)):
        assert view.lies("primary", "theta", place, place) is (place in expected)


def test_a_key_that_a_page_lacks_is_missing_there() -> None:
    run = RunComposer("gaps", title="gaps")
    primary = run.descriptor({"image": data_key("array", [2, 2]), "x": THETA})
    run.page(primary, {"image": [[[1, 2], [3, 4]]], "x": [1.0]})
    run.page(primary, {"x": [1.0, 2.0]})
    run.page(primary, {"image": [None], "x": [1.0]})
    run.stop()
    store = MemoryStore([run.documents])
    view = StoredRun(store, next(store.find()))
    assert view.statistics("primary", "image") == Statistics(16, 12, 1, 4, 10, 1, 4, 1.0)
    assert view.statistics("primary", "x") == Statistics(4, 0, 1.0, 2.0, 5, 1.0, 1.0, 1.0)
    assert view.statistics("primary", "y") is None
    assert view.statistics("baseline", "x") is None


def numbered_frames(folder: Path, example: str) -> StoredRun:
    store = MemoryStore([EXAMPLES[example](folder)])
    return StoredRun(store, next(store.find()))


@pytest.mark.parametrize("target_chunk", [1, 100, 10**9])
@pytest.mark.parametrize("example", ["stream_hdf5", "two_files", "skipped_frames", "aborted", "ad_hdf5", "npy_seq"])
def test_images_in_files_chunk_by_chunk(tmp_path: Path, example: str, target_chunk: int) -> None:
    from intake_bluesky.datasets.stream_reader import StreamReader

    store = MemoryStore([EXAMPLES[example](tmp_path)])
    summary = next(store.find())
    view = StoredRun(store, summary, AssetOptions(target_chunk=target_chunk))
    reader = StreamReader(store, store.header(summary.uid), "primary")
    assert reader.assets
    for key, array in reader.assets.items():
        values = array.read()
        expected = Statistics.of(values[~np.isnan(values).all(axis=tuple(range(1, values.ndim)))])
        assert but_gap(view.statistics("primary", key)) == but_gap(expected)
        assert expected.max is not None
        assert view.lies("primary", key, expected.max, expected.max)
        assert not view.lies("primary", key, expected.max + 1, expected.max + 2)


def test_a_file_is_read_a_chunk_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from intake_bluesky.assets import AssetArray

    sizes: list[int] = []
    read: Callable[[AssetArray, Any], Any] = AssetArray.__getitem__

    def watched(array: AssetArray, key: Any) -> Any:
        values = read(array, key)
        sizes.append(values.nbytes)
        return values

    monkeypatch.setattr(AssetArray, "__getitem__", watched)
    store = MemoryStore([EXAMPLES["stream_hdf5"](tmp_path)])
    view = StoredRun(store, next(store.find()), AssetOptions(target_chunk=48))
    assert view.statistics("primary", "image") is not None
    assert sizes == [48] * 5  # a frame of 4 x 6 uint16 at a time
    assert view.lies("primary", "image", 101, 101)
    assert len(sizes) == 7  # no further than the second frame


def test_a_run_that_cannot_be_read_hides_no_other(tmp_path: Path) -> None:
    gone = EXAMPLES["stream_hdf5"](tmp_path)
    (tmp_path / "stream.h5").unlink()
    gone[0][1]["title"] = "gone"
    store = MemoryStore([gone, composed("low", [1.0]).documents])
    for query in (Data("image").max() > 5, ~(Data("image").max() > 5), Data("image").between(0, 5)):
        with pytest.warns(RuntimeWarning, match=rf"{gone[0][1]['uid']} counts as no match.*stream\.h5"):
            observed = found(store, query)
        assert observed == ({"low"} if query == ~(Data("image").max() > 5) else set())
    with pytest.warns(RuntimeWarning, match="counts as no match"):
        assert Selection(store, (Data("image").max() > 5,)).count() == 0
    with pytest.warns(RuntimeWarning, match="counts as no match"), pytest.raises(RunNotFound):
        Selection(store, (Data("image").max() > 5,)).exact(gone[0][1]["uid"])


def test_what_decides_without_the_missing_file_does(tmp_path: Path) -> None:
    gone = EXAMPLES["stream_hdf5"](tmp_path)
    (tmp_path / "stream.h5").unlink()
    gone[0][1]["title"] = "gone"
    store = MemoryStore([gone])
    lost, kept = Data("image").max() > 5, Data("x").max() == 2
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert found(store, lost | kept) == {"gone"}
        assert found(store, lost & ~kept) == set()
        assert found(store, ~(lost & ~kept)) == {"gone"}
        assert found(store, DataKey("image").exists()) == {"gone"}


def test_where_a_file_moved_is_told_by_the_options(tmp_path: Path) -> None:
    run = EXAMPLES["stream_hdf5"](tmp_path / "old")
    run[0][1]["title"] = "moved"
    (tmp_path / "old").rename(tmp_path / "new")
    store = MemoryStore([run])
    options = AssetOptions(root_map={str(tmp_path / "old"): str(tmp_path / "new")})
    assert found(store, Data("image").sum() > 1000, assets=options) == {"moved"}


def test_documents_of_another_machine_name_no_file_of_this_one(tmp_path: Path) -> None:
    class RemoteStore(MemoryStore):
        @property
        def trusts_paths(self) -> bool:
            return False

    store = RemoteStore([EXAMPLES["stream_hdf5"](tmp_path)])
    with pytest.raises(AssetUnavailable, match="cannot be read"):
        StoredRun(store, next(store.find())).statistics("primary", "image")


class Faulty(MemoryStore):
    """Fails to read the header of one run."""

    error: Exception = DamagedRun("line 3 is no JSON")

    def header(self, uid: str) -> RunHeader:
        if super().header(uid).start["title"] == "bad":
            raise self.error
        return super().header(uid)


@pytest.mark.parametrize("error", [DamagedRun("line 3"), RunNotFound("line 3"), OSError("line 3")], ids=repr)
def test_a_damaged_run_hides_no_other(error: Exception) -> None:
    store = Faulty([composed("bad", [9.0]).documents, composed("good", [9.0]).documents])
    store.error = error
    with pytest.warns(RuntimeWarning, match="line 3"):
        assert found(store, Data("theta").max() > 5) == {"good"}


def test_configuration_and_devices() -> None:
    def with_exposure(label: str, exposure: Any, stream: str = "primary") -> RunComposer:
        run = RunComposer(label, title=label)
        block = {"data": {"exposure_time": exposure}, "timestamps": {}, "data_keys": {}}
        run.descriptor({"fccd": THETA}, stream=stream, configuration={"fccd": block}, object_keys={"fccd": ["fccd"]})
        run.stop()
        return run

    store = MemoryStore(
        [
            with_exposure("short", 0.05).documents,
            with_exposure("long", 0.5).documents,
            with_exposure("other", 0.5, "baseline").documents,
            with_exposure("text", "0.5").documents,
            composed("none", [1.0]).documents,
        ]
    )
    exposure = Config("fccd", "exposure_time")
    assert found(store, exposure > 0.1) == {"long", "other"}
    assert found(store, Config("fccd", "exposure_time", stream="primary") > 0.1) == {"long"}
    assert found(store, ~(exposure > 0.1)) == {"short", "text", "none"}
    assert found(store, exposure != 0.5) == {"short", "text", "none"}
    assert found(store, exposure.is_in([0.05, "0.5"])) == {"short", "text"}
    assert found(store, Device("fccd").exists() & ~exposure.regex("5$")) == {"short", "long", "other"}
    assert found(store, Stream("baseline").exists()) == {"other"}


def placed(store: MemoryStore, drawn: list[Run]) -> Iterator[tuple[RunView, RunView]]:
    by_uid = {run.start["uid"]: run for run in drawn}
    return ((by_uid[summary.uid], StoredRun(store, summary)) for summary in store.find())


@given(st.lists(runs(whole=True), max_size=4, unique_by=lambda run: run.start["uid"]), queries(whole=True))
def test_a_search_finds_what_the_meaning_says(drawn: list[Run], query: Query) -> None:
    store = MemoryStore([run.documents() for run in drawn], page_size=3)
    observed = {run.uid for run in Selection(store, (query,)).runs()}
    assert observed == {run.start["uid"] for run in drawn if matches(query, run)}
    assert Selection(store, (query,)).count() == len(observed)
    assert Selection(store, (ALL,)).count(query) == len(observed)
    for summary in store.find():
        assert (summary in Selection(store, (query,))) is (summary.uid in observed)


@given(runs(whole=True))
def test_a_stored_run_shows_what_was_recorded(run: Run) -> None:
    for page_size in (1, 2, 100):
        for expected, observed in placed(MemoryStore([run.documents()], page_size=page_size), [run]):
            for stream, key in run.data:
                known, said = observed.statistics(stream, key), expected.statistics(stream, key)
                assert known is not None
                assert said is not None
                assert (known.count, known.nan_count, known.min, known.max) == (
                    said.count, said.nan_count, said.min, said.max,
                )  # fmt: skip
                assert type(known.sum) is type(said.sum)


def test_keys_asked_for_are_the_only_ones_read() -> None:
    asked: list[Keys] = []

    class Asked(MemoryStore):
        def event_pages(self, *args: Any, data: Keys = (), **kwargs: Any) -> Any:
            asked.append(data)
            return super().event_pages(*args, data=data, **kwargs)

    store = Asked([EXAMPLES["scan"](Path())])
    assert StoredRun(store, next(store.find())).statistics("primary", "counts") is not None
    assert {("counts",)} <= set(asked) <= {(), ("counts",)}
