"""Streams as Datasets: values, laziness, odd data."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import dask.base
import h5py
import numpy as np
import pytest
import xarray as xr

from intake_bluesky.datasets import stream_reader
from intake_bluesky.datasets.configuration import configuration
from intake_bluesky.datasets.options import DatasetOptions
from intake_bluesky.datasets.stream_reader import StreamReader
from intake_bluesky.datasets.variables import datetimes
from intake_bluesky.documents.model import Document
from intake_bluesky.errors import AssetUnavailable, DamagedRun, StreamNotFound
from intake_bluesky.testing.memory import MemoryStore

Documents = list[tuple[str, Document]]


def run_of(
    events: list[dict[str, Any]],
    keys: dict[str, Document],
    *,
    seq_nums: list[int] | None = None,
    page: int | None = None,
) -> Documents:
    """A run with one stream; `page` events to an event page, None for single events."""
    seq = seq_nums or list(range(1, len(events) + 1))
    rows = [
        {
            "uid": f"e{i}",
            "time": 100.0 + i,
            "seq_num": n,
            "descriptor": "d",
            "data": data,
            "timestamps": dict.fromkeys(data, 100.5 + i),
            "filled": {},
        }
        for i, (n, data) in enumerate(zip(seq, events, strict=True))
    ]
    documents: Documents = [
        ("start", {"uid": "run", "time": 99.0, "scan_id": 7, "plan_name": "scan"}),
        ("descriptor", {"uid": "d", "time": 99.5, "run_start": "run", "name": "primary", "data_keys": keys}),
    ]
    if page is None:
        documents += [("event", row) for row in rows]
    else:
        documents += [("event_page", _page(rows[i : i + page])) for i in range(0, len(rows), page)]
    return [*documents, ("stop", {"uid": "stop", "time": 200.0, "run_start": "run", "exit_status": "success"})]


def _page(rows: list[Document]) -> Document:
    page: Document = {k: [r[k] for r in rows] for k in ("uid", "time", "seq_num")}
    page["descriptor"] = "d"
    for part in ("data", "timestamps"):
        page[part] = {k: [r[part][k] for r in rows] for k in rows[0][part]}
    page["filled"] = {}
    return page


NUMBER: Document = {"source": "sim", "dtype": "number", "shape": []}
INTEGER: Document = {"source": "sim", "dtype": "integer", "shape": []}


def stored(documents: Documents) -> MemoryStore:
    store = MemoryStore()
    with store.insert(documents[0][1]) as run:
        for name, doc in documents[1:]:
            run.write(name, doc)
    return store


def reader(documents: Documents, stream: str = "primary", **options: Any) -> StreamReader:
    store = stored(documents)
    return StreamReader(store, store.header(documents[0][1]["uid"]), stream, DatasetOptions(**options))


def both(documents: Documents, **options: Any) -> xr.Dataset:
    """The Dataset read eagerly, after making sure that dask gives the very same."""
    lazy = reader(documents, **options).to_dask()
    eager = reader(documents, **options).read()
    for name in eager.variables:
        assert lazy[name].dtype == eager[name].dtype
        assert lazy[name].shape == eager[name].shape
    computed = lazy.compute(scheduler="synchronous")
    for name in eager.variables:
        assert computed[name].dtype == eager[name].dtype
    xr.testing.assert_identical(computed, eager)
    return eager


@pytest.mark.parametrize("page", [None, 1, 3, 10])
def test_values_times_and_seq_nums(page: int | None) -> None:
    events = [{"x": i + 0.5, "n": i, "s": f"t{i}", "b": i % 2 == 0} for i in range(10)]
    keys = {"x": NUMBER, "n": INTEGER, "s": {"dtype": "string", "shape": []}, "b": {"dtype": "boolean", "shape": []}}
    ds = both(run_of(events, keys, page=page))
    assert list(ds.variables) == ["x", "n", "s", "b", "time", "seq_num"] or set(ds.data_vars) == {"x", "n", "s", "b"}
    assert ds.x.dtype == np.float64
    assert ds.n.dtype == np.int64
    assert ds.s.dtype == object
    assert ds.b.dtype == bool
    for key in ("x", "n", "s", "b"):
        assert ds[key].values.tolist() == [e[key] for e in events]
    assert ds.time.values.tolist() == [100.0 + i for i in range(10)]
    assert ds.seq_num.values.tolist() == list(range(1, 11))
    assert ds.attrs == {"stream": "primary", "uid": "run", "scan_id": 7, "plan_name": "scan"}


def test_decoded_times() -> None:
    ds = both(run_of([{"x": 1.0}], {"x": NUMBER}), decode_times=True)
    assert ds.time.dtype == np.dtype("datetime64[ns]")
    assert ds.time.values[0] == np.datetime64("1970-01-01T00:01:40", "ns")


def test_a_time_that_is_no_date_is_made_none() -> None:
    for seconds in (1.7e12, -1e300, float("inf")):  # the first are milliseconds, of which numpy makes the year 2061
        with pytest.raises(DamagedRun, match="decode_times=False"):
            datetimes(np.array([1.7e9, np.nan, seconds]))


@pytest.mark.parametrize("page", [None, 2])
def test_a_rewind_gives_each_seq_num_its_last_event(page: int | None) -> None:
    events = [{"x": float(i), "n": i, "image": [[i, 1], [2, 3]]} for i in range(7)]
    keys = {"x": NUMBER, "n": INTEGER, "image": {"dtype": "array", "shape": [2, 2]}}
    ds = both(run_of(events, keys, seq_nums=[1, 2, 3, 1, 2, 3, 4], page=page))
    assert ds.x.values.tolist() == [3, 4, 5, 6]
    assert ds.n.values.tolist() == [3, 4, 5, 6]
    assert ds.image.values[:, 0, 0].tolist() == [3, 4, 5, 6]


@pytest.mark.parametrize("page", [None, 2])
def test_an_abort_after_a_rewind_keeps_the_order_of_seq_nums(page: int | None) -> None:
    documents = run_of([{"n": i} for i in range(6)], {"n": INTEGER}, seq_nums=[1, 2, 3, 4, 5, 2], page=page)
    ds = both(documents)
    assert ds.seq_num.values.tolist() == [1, 2, 3, 4, 5]
    assert ds.n.values.tolist() == [0, 5, 2, 3, 4]


def test_gaps_in_seq_num_stay_gaps() -> None:
    ds = both(run_of([{"n": i} for i in range(3)], {"n": INTEGER}, seq_nums=[1, 2, 9]))
    assert ds.seq_num.values.tolist() == [1, 2, 9]


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ([1, 2.5], np.float64),
        ([1, None], np.float64),
        ([True, None], object),
        ([True, 1], object),
        (["a", 1], object),
        ([2**63, 1], np.uint64),
        ([2**70, 1], object),
        ([2**60, None], object),
        ([None, None], np.float64),
        ([float("nan"), float("inf")], np.float64),
    ],
)
def test_no_value_is_cast_silently(values: list[Any], dtype: Any) -> None:
    ds = both(run_of([{"x": v} for v in values], {"x": INTEGER}))
    assert ds.x.dtype == dtype
    observed = ds.x.values.tolist()
    for value, got in zip(values, observed, strict=True):
        if value is None:
            assert got is None or np.isnan(got)
        elif isinstance(value, float) and np.isnan(value):
            assert np.isnan(got)
        else:
            assert got == value


def test_missing_text_is_empty() -> None:
    ds = both(run_of([{"s": "a"}, {"s": None}], {"s": {"dtype": "string", "shape": []}}))
    assert ds.s.values.tolist() == ["a", ""]


def test_ragged_arrays_are_padded_with_what_is_missing() -> None:
    keys = {"a": {"dtype": "array", "shape": [None]}}
    ds = both(run_of([{"a": [1, 2, 3]}, {"a": [4]}, {"a": []}], keys))
    assert ds.a.dims == ("time", "dim_0")
    np.testing.assert_array_equal(ds.a.values, [[1, 2, 3], [4, np.nan, np.nan], [np.nan] * 3])


def test_a_key_that_some_events_lack_is_missing_there() -> None:
    ds = both(run_of([{"x": 1.0, "n": 1}, {"x": 2.0}], {"x": NUMBER, "n": INTEGER}))
    np.testing.assert_array_equal(ds.n.values, [1, np.nan])


def test_keys_that_differ_from_the_descriptor() -> None:
    ds = both(run_of([{"x": 1.0, "extra": 5}], {"x": NUMBER, "gone": INTEGER}))
    assert ds.extra.values.tolist() == [5]
    assert np.isnan(ds.gone.values).all()


def test_two_descriptors_of_one_stream_are_one_dataset() -> None:
    documents = run_of([{"x": 1.0}, {"x": 2.0}], {"x": NUMBER})
    second = {"uid": "d2", "time": 99.5, "run_start": "run", "name": "primary", "data_keys": {"x": NUMBER, "y": NUMBER}}
    late = {**documents[2][1], "uid": "late", "descriptor": "d2", "seq_num": 3, "data": {"x": 3.0, "y": 1.0}}
    ds = both([*documents[:-1], ("descriptor", second), ("event", late), documents[-1]])
    assert ds.x.values.tolist() == [1, 2, 3]
    np.testing.assert_array_equal(ds.y.values, [np.nan, np.nan, 1.0])


def test_reserved_and_slashed_names() -> None:
    ds = both(run_of([{"time": 1.0, "seq_num": 2, "a/b": 3.0}], {"time": NUMBER, "seq_num": INTEGER, "a/b": NUMBER}))
    assert set(ds.data_vars) == {"time_", "seq_num_", "a_b"}
    assert ds.a_b.attrs["key"] == "a/b"
    assert ds.time.values.tolist() == [100.0]


def test_include_exclude_and_timestamps() -> None:
    documents = run_of([{"x": 1.0, "n": 1}], {"x": NUMBER, "n": INTEGER})
    assert set(both(documents, include=("x",)).data_vars) == {"x"}
    assert set(both(documents, exclude=("x",)).data_vars) == {"n"}
    stamps = both(documents, sub_dict="timestamps")
    assert stamps.x.values.tolist() == [100.5]
    with pytest.raises(KeyError, match=r"no key \['q'\]; it has \['n', 'x'\]"):
        reader(documents, include=("q",)).to_dask()


def test_an_unknown_stream_names_those_there_are() -> None:
    with pytest.raises(StreamNotFound, match=r"no stream 'baseline'; it has \['primary'\]"):
        reader(run_of([{"x": 1.0}], {"x": NUMBER}), "baseline")


def test_a_stream_without_events() -> None:
    ds = both(run_of([], {"x": NUMBER, "n": INTEGER}))
    assert ds.sizes == {"time": 0}
    assert ds.n.dtype == np.int64


def test_to_dask_parses_no_data_and_a_compute_parses_each_page_once() -> None:
    keys = {f"x{i}": NUMBER for i in range(6)}
    store = stored(run_of([dict.fromkeys(keys, float(i)) for i in range(100)], keys, page=10))
    options = DatasetOptions(target_chunk=6 * 8 * 20)
    lazy = StreamReader(store, store.header("run"), "primary", options).to_dask()
    assert store.reads == 0
    assert lazy.x0.chunks == ((20,) * 5,)
    dask.base.compute(*(lazy[key].data for key in keys))
    assert store.reads == 10


def test_tasks_follow_the_blocks_and_not_the_events() -> None:
    keys = {"x": NUMBER}
    few = reader(run_of([{"x": 1.0}] * 50, keys, page=50)).to_dask()
    many = reader(run_of([{"x": 1.0}] * 5000, keys, page=50)).to_dask()
    assert len(many.__dask_graph__()) == len(few.__dask_graph__())


def test_include_spares_the_other_columns() -> None:
    documents = run_of([{"x": 1.0, "bad": 1}, {"x": 2.0, "bad": "text"}], {"x": NUMBER, "bad": INTEGER})
    assert both(documents, include=("x",)).x.values.tolist() == [1, 2]


def test_a_dask_dataset_pickles_small() -> None:
    lazy = reader(run_of([{"x": float(i)} for i in range(100)], {"x": NUMBER}, page=10)).to_dask()
    xr.testing.assert_identical(pickle.loads(pickle.dumps(lazy)).compute(), lazy.compute())


def test_read_leaves_what_to_dask_gave_lazy() -> None:
    both_ways = reader(run_of([{"x": 1.0}], {"x": NUMBER}))
    lazy = both_ways.to_dask()
    both_ways.read()
    assert dask.base.is_dask_collection(lazy.x.data)
    assert dask.base.is_dask_collection(both_ways.to_dask().x.data)


def test_the_graph_of_a_grown_run_has_other_names() -> None:
    documents = run_of([{"x": 1.0}], {"x": NUMBER})[:-1]
    store = stored(documents)
    before = StreamReader(store, store.header("run"), "primary").to_dask()
    longer = stored([*documents, ("event", {**documents[-1][1], "seq_num": 2, "uid": "next"})])
    after = StreamReader(longer, longer.header("run"), "primary").to_dask()
    assert before.x.data.name != after.x.data.name
    assert StreamReader(store, store.header("run"), "primary").to_dask().x.data.name == before.x.data.name


class BlindStore(MemoryStore):
    """A store that has not looked at its events, as a database that others wrote."""

    def header(self, uid: str) -> Any:
        from dataclasses import replace

        header = super().header(uid)
        return replace(header, streams={n: replace(s, observed=None) for n, s in header.streams.items()})


def blind(documents: Documents, **options: Any) -> StreamReader:
    store = BlindStore(page_size=1)
    with store.insert(documents[0][1]) as run:
        for name, doc in documents[1:]:
            run.write(name, doc)
    return StreamReader(store, store.header("run"), "primary", DatasetOptions(**options))


@pytest.fixture
def all_are_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_reader, "AT_ONCE", 0)


@pytest.mark.usefixtures("all_are_long")
def test_what_was_not_observed_is_as_the_descriptor_says() -> None:
    keys = {"x": NUMBER, "n": {**INTEGER, "dtype_numpy": "<u2"}, "a": {"dtype": "array", "shape": [None]}}
    lazy = blind(run_of([{"x": 1, "n": 2, "a": [1.0, 2.0]}, {"x": 2, "n": 3, "a": [3.0]}], keys)).to_dask()
    assert (lazy.x.dtype, lazy.n.dtype, lazy.a.shape) == (np.float64, np.uint16, (2, 2))
    computed = lazy.compute()
    assert (computed.x.dtype, computed.n.dtype) == (np.float64, np.uint16)
    assert computed.x.values.tolist() == [1.0, 2.0]


ODD_VALUES = (2.5, "text", True, None, [1, 2], [[1]], {"a": 1}, 2**70, "half \ud800")


@pytest.mark.parametrize("value", ODD_VALUES)
def test_an_odd_key_is_read_as_where_it_was_observed(value: Any) -> None:
    documents = run_of([{"n": 1, "x": 0.5}, {"n": value, "x": 1.5, "late": 7}], {"n": INTEGER, "x": NUMBER})
    expected = reader(documents).read()
    for observed in (blind(documents).read(), blind(documents).to_dask().compute()):
        xr.testing.assert_identical(observed, expected)
        assert {name: column.dtype for name, column in observed.items()} == {n: c.dtype for n, c in expected.items()}


@pytest.mark.usefixtures("all_are_long")
@pytest.mark.parametrize("value", ODD_VALUES)
def test_an_odd_key_of_a_long_stream_costs_no_other(value: Any) -> None:
    documents = run_of([{"n": 1, "x": 0.5}, {"n": value, "x": 1.5, "late": 7}], {"n": INTEGER, "x": NUMBER})
    expected = reader(documents).read()
    for observed in (blind(documents).read(), blind(documents, on_mismatch="object").to_dask().compute()):
        xr.testing.assert_identical(observed, expected)
    lazy = blind(documents).to_dask()
    np.testing.assert_array_equal(lazy.x.compute(), [0.5, 1.5])
    with pytest.raises(DamagedRun, match=r"run run: 'n' was declared int64 .*event 2 .*on_mismatch"):
        lazy.n.compute()


def test_rows_that_only_frames_have_are_nan_or_refused(tmp_path: Path) -> None:
    documents = run_of([{"x": 1.0, "n": 1}, {"x": 2.0, "n": 2}], {"x": NUMBER, "n": INTEGER, "det": _streamed()})
    documents[2:2] = _frames(tmp_path, 3)
    lazy = reader(documents).to_dask()
    assert lazy.attrs["incomplete"] == "events: 2 of 3 rows"
    np.testing.assert_array_equal(lazy.x.values, [1.0, 2.0, np.nan])
    np.testing.assert_array_equal(lazy.det.values, [0.0, 1.0, 2.0])
    assert np.isnan(lazy.time.values[2])
    with pytest.raises(AssetUnavailable, match=r"'n' has no value at seq_num 3 \(1 of 3 rows\)"):
        lazy.n.compute()
    with pytest.raises(AssetUnavailable, match="'n' has no value"):
        reader(documents).read()
    assert both(documents, on_missing="fill").n.values.tolist() == [1, 2, 0]
    assert both(documents, trim=True).n.values.tolist() == [1, 2]


def _streamed() -> Document:
    return {"source": "sim", "dtype": "number", "shape": [1], "external": "STREAM:", "dtype_numpy": "<f8"}


def _frames(folder: Path, frames: int) -> Documents:
    with h5py.File(folder / "det.h5", "w") as file:
        file["data"] = np.arange(float(frames))
    resource = {
        "uid": "r",
        "data_key": "det",
        "mimetype": "application/x-hdf5",
        "uri": f"file://localhost{folder}/det.h5",
        "parameters": {"dataset": "/data", "chunk_shape": [1]},
        "run_start": "run",
    }
    datum = {
        "uid": "r/0",
        "stream_resource": "r",
        "descriptor": "d",
        "indices": {"start": 0, "stop": frames},
        "seq_nums": {"start": 1, "stop": frames + 1},
    }
    return [("stream_resource", resource), ("stream_datum", datum)]


def test_frames_joined_end_to_end_have_a_dimension_of_their_own(tmp_path: Path) -> None:
    spec = {**_streamed(), "shape": [2, 3]}
    documents = run_of([{"x": 1.0}, {"x": 2.0}], {"x": NUMBER, "det": spec})
    documents[2:2] = _frames(tmp_path, 2)
    with h5py.File(tmp_path / "det.h5", "w") as file:
        file["data"] = np.arange(12.0).reshape(4, 3)
    documents[2][1]["parameters"] |= {"join_method": "concat"}
    ds = both(documents)
    assert ds.det.dims == ("det_frame", "dim_0")
    np.testing.assert_array_equal(ds.det.values, np.arange(12.0).reshape(4, 3))
    np.testing.assert_array_equal(reader(documents).partition(0).det.values[:2], [[0, 1, 2], [3, 4, 5]])


def test_configuration_of_any_dimension() -> None:
    documents = run_of([{"x": 1.0}], {"x": NUMBER})
    documents[1][1]["configuration"] = {
        "det": {
            "data": {"exposure": 0.1, "mask": [[1, 2], [3, 4]], "mode": "fast"},
            "timestamps": {"exposure": 5.0, "mask": 5.0, "mode": 5.0},
            "data_keys": {"exposure": {"units": "s", "dtype": "number", "shape": []}},
        }
    }
    store = stored(documents)
    config = configuration(store.header("run"), "primary", "det")
    assert config.exposure.values.tolist() == [0.1]
    assert config.exposure.attrs["units"] == "s"
    assert config.mask.shape == (1, 2, 2)
    assert config["mode"].values.tolist() == ["fast"]
    assert configuration(
        store.header("run"), "primary", "det", DatasetOptions(sub_dict="timestamps")
    ).mask.values.tolist() == [5.0]
    assert not configuration(store.header("run"), "primary", "other").data_vars


def test_partitions_cover_the_rows() -> None:
    documents = run_of([{"x": float(i)} for i in range(100)], {"x": NUMBER}, page=10)
    parts = reader(documents, target_chunk=8 * 30)
    assert parts.npartitions == 4
    joined = xr.concat([parts.partition(i) for i in range(4)], "time")
    np.testing.assert_array_equal(joined.x.values, np.arange(100.0))


def test_a_key_that_no_descriptor_declares_is_taken_and_left_out() -> None:
    documents = run_of([{"x": 0.5}, {"x": 1.5, "late": 7}], {"x": NUMBER})
    assert list(blind(documents, include=("late",)).read()) == ["late"]
    assert list(blind(documents, exclude=("late",)).read()) == ["x"]
    with pytest.raises(KeyError, match="no key"):
        blind(documents, include=("misspelt",)).read()
