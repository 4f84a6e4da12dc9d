"""Datasets as documents, and back."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from typing import Any

import dask.array as da
import event_model
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given

from intake_bluesky import BlueskyCatalog
from intake_bluesky.catalogs.stream import BlueskyStream
from intake_bluesky.datasets.stored_datasets.describe import describe
from intake_bluesky.datasets.stored_datasets.documents import descriptors, event_pages
from intake_bluesky.documents.model import Document
from intake_bluesky.errors import DamagedRun, UnsupportedOperation
from intake_bluesky.testing import MemoryStore
from tests.datasets.stored_datasets.drawn_datasets import assert_same, datasets, everything


def documents(dataset: xr.Dataset, **options: Any) -> Iterator[tuple[str, Document]]:
    """The run of one Dataset."""
    stored = describe(dataset, time=1.0, **options)
    yield "start", {"uid": "run", "time": 1.0}
    own = descriptors(stored, "primary", run_start="run", uid="d", time=1.0)
    for doc in own:
        yield "descriptor", doc
    if stored.shared_keys:
        for page in event_pages(stored.shared_columns, np.ones(1), own[0]["uid"]):
            yield "event_page", page
    for page in event_pages(stored.columns, stored.times, "d"):
        yield "event_page", page
    yield "stop", {"uid": "stop", "run_start": "run", "time": 2.0, "exit_status": "success", "num_events": {}}


def stream_of(run: list[tuple[str, Document]]) -> BlueskyStream:
    return BlueskyCatalog(MemoryStore([run]))["run"].primary


@given(datasets())
def test_any_dataset_is_read_back_as_it_was(dataset: xr.Dataset) -> None:
    run = list(documents(dataset))
    for name, doc in run:
        event_model.schema_validators[event_model.DocumentNames[name]].validate(doc)
    stream = stream_of(run)
    assert_same(stream.read(), dataset)
    assert_same(stream.to_dask().compute(), dataset)
    if dataset.sizes:
        parts = [part.sizes for part in stream.read_chunked()]
        assert len(parts) == stream.npartitions


def test_everything() -> None:
    dataset = everything()
    for one in (dataset, dataset.chunk(tth=2)):
        stream = stream_of(list(documents(one)))
        assert_same(stream.read(), dataset)
        assert_same(stream.to_dask().compute(), dataset)
        assert_same(stream_of(list(documents(one, dimension="two"))).read(), dataset)


def pattern() -> xr.Dataset:
    """Curves over 2θ, with an axis that all share and what is too large for the descriptor."""
    return xr.Dataset(
        {
            "I": (("tth", "cake"), np.arange(12.0).reshape(4, 3), {"units": "counts"}),
            "flags": (("tth", "bit"), np.ones((4, 2), np.uint8)),
            "gain": ((), np.float32(1.5)),
            "mask": ("pixel", np.zeros(9000, bool)),
        },
        coords={"tth": [1.0, 2.0, 3.0, 4.0], "cake": ["a", "b", "c"], "q": ("tth", [0.1, 0.2, 0.3, 0.4])},
        attrs={"program": "own"},
    )


def test_keys_are_those_of_the_dataset() -> None:
    stream, whole = stream_of(list(documents(pattern()))), pattern()
    assert stream.keys == list(whole.variables)
    xr.testing.assert_identical(stream(include=["I"]).read(), whole[["I"]])
    xr.testing.assert_identical(stream(include=["gain", "flags"]).to_dask().compute(), whole[["flags", "gain"]])
    xr.testing.assert_identical(stream(exclude=["mask", "q"]).read(), whole.drop_vars(["mask", "q"]))
    with pytest.raises(KeyError, match="'J'"):
        stream(include=["J"])
    shown = stream._lines(80)
    assert "I      float64  (4, 3)   counts  dataset" in shown
    assert "gain   float32" in shown
    assert "cake   string   (3,)" in shown
    found = stream.discover()
    assert found["dtype"]["gain"] == "float32"
    assert found["shape"]["mask"] == (9000,)


def test_the_form_of_events_is_that_of_any_stream() -> None:
    stream = stream_of(list(documents(pattern())))
    for form in (stream(as_events=True), stream(portable=True)):
        events = form.read()
        assert list(events.data_vars) == ["I", "flags", "tth", "q"]
        assert events["I"].sizes == {"time": 4, "cake": 3}
        assert events["seq_num"].values.tolist() == [1, 2, 3, 4]
        assert events["I"].attrs["units"] == "counts"
        assert form.keys == ["I", "flags", "tth", "q"]
    assert stream.timestamps.read()["I"].values.tolist() == [1.0] * 4
    assert stream.to_dataframe()["q"].tolist() == [0.1, 0.2, 0.3, 0.4]
    assert stream.config["dataset"].read()["gain"].values.tolist() == [1.5]
    with pytest.raises(UnsupportedOperation):
        stream.to_grid()
    for other in (stream(trim=True), stream(join_method="concat"), stream(squeeze=True), stream(decode_times=True)):
        xr.testing.assert_identical(other.read(), pattern())


def test_nothing_is_computed_before_it_is_asked_for() -> None:
    store = MemoryStore([documents(pattern().drop_vars("mask"))])
    stream = BlueskyCatalog(store)["run"].primary
    lazy = stream.to_dask()
    assert {name for name, v in lazy.variables.items() if v.chunks is None} == {"tth", "cake", "gain"}
    assert store.reads == 1  # of tth, which is an index
    lazy["I"].compute()
    assert store.reads == 2


def test_a_lazy_dataset_pickles() -> None:
    stream = stream_of(list(documents(pattern())))
    xr.testing.assert_identical(pickle.loads(pickle.dumps(stream.to_dask())).compute(), pattern())
    xr.testing.assert_identical(pickle.loads(pickle.dumps(stream)).read(), pattern())


def _in_single_events(run: Iterator[tuple[str, Document]]) -> Iterator[tuple[str, Document]]:
    for name, doc in run:
        if name != "event_page":
            yield name, doc
            continue
        for row in range(len(doc["time"])):
            own = {key: doc[key][row] for key in ("uid", "time", "seq_num")}
            parts = {part: {key: c[row] for key, c in doc[part].items()} for part in ("data", "timestamps")}
            yield "event", {**own, **parts, "descriptor": doc["descriptor"], "filled": {}}


def test_parts_are_along_the_dimension_of_events() -> None:
    store = MemoryStore(page_size=1)
    store.put(_in_single_events(documents(pattern())))
    stream = BlueskyCatalog(store)["run"].primary(target_chunk=1)
    assert stream.npartitions == 4
    parts = list(stream.read_chunked())
    xr.testing.assert_identical(xr.concat(parts, "tth", data_vars="minimal", coords="minimal"), pattern())


REFUSED: list[tuple[xr.Dataset, str]] = [
    (xr.Dataset({1: ("x", [1])}), "called 1, and names are text"),
    (xr.Dataset({"a": ((3,), [1])}), "called 3, and names are text"),
    (xr.Dataset({"a": ("x", np.array([{"b": 1}], object))}), "'a' holds objects, and {'b': 1}, a dict, is no text"),
    (xr.Dataset({"a": ("x", np.array(["b", None], object))}), "and nan, a float, is no text"),
    (xr.Dataset({"a": ("x", np.zeros(1, np.longdouble))}), "'a' is of dtype float128"),
    (xr.Dataset({"a": ("x", np.zeros(1, [("b", "i4")]))}), "'a' is of dtype"),
    (xr.Dataset({"a": ("x", pd.Categorical(["b"]))}), "'a' is of dtype category"),
    (xr.Dataset({"a": ("x", np.array(["b"], np.dtypes.StringDType(na_object=None)))}), "'a' is of dtype"),
    (xr.Dataset(attrs={"a": (1, 2)}), "attribute 'a' of the Dataset is .*tuple: give"),
    (xr.Dataset(attrs={"a": np.zeros(1, np.longdouble)}), "attribute 'a' of the Dataset is of dtype float128"),
    (xr.Dataset(attrs={2: 1}), "attribute of the Dataset is called 2"),
    (xr.Dataset({"a": ((), 1, {"when": pd.Timestamp(0)})}), "attribute 'when' of 'a' is Timestamp"),
    (xr.Dataset(coords={"b": ("x", [1]), "c": ("x", [2])}).set_index(x=["b", "c"]), "part of a MultiIndex"),
]


class WithUnits:
    """An array as another library may have it, whose units numpy does not know."""

    shape, ndim, dtype, size = (2,), 1, np.dtype(float), 2

    def __array_function__(self, *_: Any) -> Any:
        return NotImplemented

    __array_ufunc__ = __array_function__

    def __array__(self, *_: Any, **__: Any) -> Any:
        return np.zeros(2)


def test_arrays_that_no_run_holds() -> None:
    with pytest.warns(UserWarning, match="Duplicate dimension names"):
        square = xr.Dataset({"a": (("x", "x"), np.eye(2))})
    with pytest.raises(UnsupportedOperation, match="'a' has a dimension twice"):
        list(documents(square))
    some = da.arange(4, chunks=2)
    unknown = xr.Dataset({"a": xr.Variable("x", some[some > 1])})
    with pytest.raises(UnsupportedOperation, match="'a' is a dask array of unknown length"):
        list(documents(unknown))
    with pytest.raises(UnsupportedOperation, match=r"'a' is an array of \S*WithUnits, and runs hold"):
        list(documents(xr.Dataset({"a": ("x", WithUnits())})))


@pytest.mark.parametrize(("dataset", "said"), REFUSED)
def test_what_has_no_form_is_refused_by_name(dataset: xr.Dataset, said: str) -> None:
    with pytest.raises(UnsupportedOperation, match=said):
        list(documents(dataset))


def test_objects_of_dask_are_looked_at_when_they_are_computed() -> None:
    mixed = xr.Dataset({"a": ("x", da.from_array(np.array(["b", 1], object), chunks=1))})
    run = documents(mixed)
    assert [next(run)[0] for _ in range(2)] == ["start", "descriptor"]
    with pytest.raises(UnsupportedOperation, match="'a' holds objects, and 1, a int"):
        list(run)


def changed(change: Any) -> list[tuple[str, Document]]:
    run = list(documents(pattern().drop_vars("mask")))
    [descriptor] = [doc for name, doc in run if name == "descriptor"]
    change(descriptor)
    return run


def test_another_version_is_read_as_events() -> None:
    stream = stream_of(changed(lambda doc: doc["dataset"].update(version=2)))
    with pytest.warns(UserWarning, match="layout of version 2, and this program knows version 1"):
        assert "seq_num" in stream.read().coords
    # What is no layout is a field like any other.
    assert "seq_num" in stream_of(changed(lambda doc: doc.update(dataset="IM-1"))).read().coords


DAMAGED: list[tuple[Any, str]] = [
    (lambda doc: doc["dataset"].pop("variables"), "`dataset` cannot be read: KeyError"),
    (lambda doc: doc["dataset"]["variables"][0].update(dims=["tth"]), "`dataset` cannot be read: ValueError"),
    (lambda doc: doc["dataset"]["variables"][0].update(dtype="complex999"), "names the dtype 'complex999'"),
    (lambda doc: doc["dataset"]["variables"][0].update(shape=[5, 3]), "'I' is of shape .* the run is not whole"),
    (lambda doc: doc["configuration"]["dataset"]["data"].pop("gain"), "does not hold 'gain'"),
    (lambda doc: doc["configuration"]["dataset"]["data"].update(gain=[1, 2]), "does not hold 'gain' of shape"),
    (lambda doc: doc["configuration"]["dataset"]["data"].update(gain=0.1), "does not hold 'gain' .*such as np.float64"),
    (lambda doc: doc["dataset"]["variables"][0].update(dims=["cake", "cake"]), "`dataset` cannot be read: ValueError"),
    (lambda doc: doc["dataset"]["variables"][0].update(dims=["k", "cake"]), "in events, and has no dimension 'tth'"),
    (lambda doc: doc["dataset"]["variables"][0].update(dims=["tth", "bit"]), "is none that can be: conflicting sizes"),
    (lambda doc: doc["dataset"]["attrs"].append({"name": "b", "value": [1], "dtype": "<i4"}), "attributes in the"),
    (lambda doc: doc["dataset"]["variables"][0].update({"in": "elsewhere"}), "in stream 'elsewhere', which the run"),
    (
        lambda doc: doc["dataset"]["variables"][0].update(key="nothing"),
        "has 'I' under the key 'nothing', which stream 'primary' does not have",
    ),
]


@pytest.mark.parametrize(("change", "said"), DAMAGED)
def test_a_layout_that_cannot_be_is_an_error(change: Any, said: str) -> None:
    run = changed(change)
    with pytest.raises(DamagedRun, match=said):
        stream_of(run).read()
    with pytest.raises(DamagedRun, match=said):
        stream_of(run).to_dask()


@pytest.mark.parametrize(
    ("dtype", "values"), [("|i1", [1, 300]), ("<i8", [1.5, 2.0]), ("|b1", [1, 0]), ("<U2", ["a", "abc"])]
)
def test_values_that_the_layout_denies_are_an_error(dtype: str, values: list[Any]) -> None:
    """None is cut, counted on from zero, or made text."""
    run = list(documents(xr.Dataset({"a": ("x", np.array(values))})))
    [descriptor] = [doc for name, doc in run if name == "descriptor"]
    descriptor["dataset"]["variables"][0]["dtype"] = dtype
    for read in (stream_of(run).read, lambda: stream_of(run).to_dask().compute()):
        with pytest.raises(DamagedRun, match=f"`dataset` says {np.dtype(dtype)}"):
            read()
    assert stream_of(run)(as_events=True).read()["a"].values.tolist() == values


def test_a_run_that_was_cut_off_is_no_dataset() -> None:
    run = [pair for pair in documents(pattern().drop_vars("mask")) if pair[0] in ("start", "descriptor")]
    with pytest.raises(DamagedRun, match="the run is not whole"):
        stream_of(run).read()
    assert stream_of(run)(as_events=True).read().sizes["time"] == 0
