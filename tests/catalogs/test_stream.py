"""Streams: what is read, how it is asked for."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from intake_bluesky.catalogs.run_catalog import BlueskyCatalog
from intake_bluesky.catalogs.stream import BlueskyStream
from intake_bluesky.datasets.presentation import columns
from intake_bluesky.errors import AssetUnavailable, StreamNotFound
from intake_bluesky.testing.compose import RunComposer, data_key
from intake_bluesky.testing.memory import MemoryStore
from intake_bluesky.testing.runs import EXAMPLES


def opened(name: str, folder: Path, stream: str = "primary") -> BlueskyStream:
    """A stream of an example run, out of a catalog."""
    return BlueskyCatalog(MemoryStore([EXAMPLES[name](folder)]))[-1][stream]


class TestReading:
    def test_read_and_to_dask(self, tmp_path: Path) -> None:
        stream = opened("scan", tmp_path)
        lazy, eager = stream.to_dask(), stream.read()
        assert lazy.chunks
        assert not eager.chunks
        xr.testing.assert_identical(lazy.compute(), eager)

    def test_reading_changes_nothing_that_was_given(self, tmp_path: Path) -> None:
        stream = opened("scan", tmp_path)
        before = stream.to_dask()
        stream.read()["det"][:] = -1
        assert before.chunks
        assert stream.to_dask().chunks
        assert (stream.read()["det"] != -1).all()
        assert (before["det"].compute() != -1).all()

    def test_to_dask_reads_no_data(self, tmp_path: Path) -> None:
        store = MemoryStore([EXAMPLES["scan"](tmp_path)])
        stream = BlueskyCatalog(store)[-1].primary
        assert stream.discover()["shape"]["det"] == (11,)
        assert stream._repr_html_()
        stream.to_dask()
        assert store.reads == 0
        stream(include=["det"]).read()
        assert store.reads > 0

    def test_no_such_stream(self, tmp_path: Path) -> None:
        store = MemoryStore([EXAMPLES["count"](tmp_path)])
        header = store.header(next(store.find()).uid)
        with pytest.raises(StreamNotFound, match="has no stream 'nope'; it has primary"):
            BlueskyStream(store, header, "nope")

    def test_partitions(self, tmp_path: Path) -> None:
        stream = opened("scan", tmp_path)(target_chunk=1)
        assert stream.npartitions == 3
        parts = list(stream.read_chunked())
        xr.testing.assert_identical(xr.concat(parts, "time"), stream.read())
        xr.testing.assert_identical(stream.read_partition(2), parts[2])
        for outside in (-1, 3):
            with pytest.raises(IndexError, match="3 partitions"):
                stream.read_partition(outside)

    @pytest.mark.parametrize("name", sorted(EXAMPLES))
    def test_every_example_in_parts(self, name: str, tmp_path: Path) -> None:
        run = BlueskyCatalog(MemoryStore([EXAMPLES[name](tmp_path)]))[-1]
        for stream in run.values():
            if name == "missing_file":
                stream = stream(exclude=["image"])
            rows = sum(part.sizes["time"] for part in stream.read_chunked())
            assert rows == stream.discover()["metadata"]["dims"]["time"]

    def test_as_a_context(self, tmp_path: Path) -> None:
        with opened("scan", tmp_path) as stream:
            assert stream.read().sizes["time"] == 11
        assert stream.read().sizes["time"] == 11

    def test_discover_and_describe(self, tmp_path: Path) -> None:
        stream = opened("scan", tmp_path)
        found = stream.discover()
        assert found["dtype"] == {"theta": "float64", "det": "float64", "counts": "int64"}
        assert found["npartitions"] == 1
        assert found["metadata"]["dims"] == {"time": 11}
        assert stream.describe()["container"] == stream.container == "xarray"
        assert stream.describe()["name"] == "primary"

    def test_metadata(self, tmp_path: Path) -> None:
        stream = opened("scan", tmp_path)
        assert set(stream.metadata) == {"start", "stop", "descriptors"}
        assert stream.metadata["descriptors"] == list(stream.descriptors)
        assert stream.descriptors[0]["name"] == "primary"
        assert opened("unfinished", tmp_path).metadata["stop"] is None


class TestOptions:
    def test_called_it_is_itself(self, tmp_path: Path) -> None:
        stream = opened("scan", tmp_path)
        assert stream() is stream.get() is stream
        assert stream.cat.uid == stream.metadata["start"]["uid"]

    def test_include_and_exclude(self, tmp_path: Path) -> None:
        stream = opened("scan", tmp_path)
        assert set(stream(include=["det", "theta"]).read().variables) == {"theta", "det", "time", "seq_num"}
        assert list(stream(include="det").read()) == ["det"]
        assert list(columns(stream(exclude=["det"]).read())) == ["theta", "counts"]
        assert list(columns(stream(include=["det", "theta"])(exclude=["det"]).read())) == ["theta"]
        assert list(columns(stream.read())) == ["theta", "det", "counts"]

    def test_unknown_keys_name_what_is_like_them(self, tmp_path: Path) -> None:
        stream = opened("scan", tmp_path)
        with pytest.raises(KeyError, match=r"no key 'thtea'; did you mean 'theta'\?"):
            stream(include=["thtea"])
        with pytest.raises(KeyError, match="it has theta, det, counts"):
            stream(exclude=["qqqqq"])

    def test_keys_that_only_events_have(self, tmp_path: Path) -> None:
        assert list(opened("keys_differ", tmp_path)(include=["surprise"]).read()) == ["surprise"]

    def test_unknown_options(self, tmp_path: Path) -> None:
        stream = opened("scan", tmp_path)
        with pytest.raises(TypeError, match="no option 'colour'; it has as_events, configuration_for, decode_times"):
            stream(colour="red")
        with pytest.raises(ValueError, match="sub_dict is 'data' or 'timestamps'"):
            stream(sub_dict="filled")

    def test_timestamps(self, tmp_path: Path) -> None:
        stream = opened("scan", tmp_path)
        stamps = stream.timestamps.read()
        xr.testing.assert_identical(stamps, stream(sub_dict="timestamps").read())
        assert stamps["counts"].dtype == np.float64
        assert (stamps["det"] > 1.6e9).all()

    @pytest.mark.parametrize(("name", "keys"), [("stream_hdf5", {"x"}), ("npy_seq", {"x", "image"})])
    def test_timestamps_beside_images(self, name: str, keys: set[str], tmp_path: Path) -> None:
        stamps = opened(name, tmp_path).timestamps
        assert set(stamps.read()) == set(stamps.to_dask()) == keys
        assert all(variable.dims == ("time",) for variable in stamps.read().values())

    def test_decoded_times(self, tmp_path: Path) -> None:
        assert opened("scan", tmp_path)(decode_times=True).read()["time"].dtype == "datetime64[ns]"

    def test_options_of_assets(self, tmp_path: Path) -> None:
        stream = opened("stream_hdf5", tmp_path)
        assert stream.read()["image"].shape == (5, 1, 4, 6)
        assert stream(squeeze=True).read()["image"].shape == (5, 4, 6)
        assert stream.read()["image"].shape == (5, 1, 4, 6)

    def test_what_is_missing_can_be_filled(self, tmp_path: Path) -> None:
        stream = opened("missing_file", tmp_path)
        with pytest.raises(AssetUnavailable):
            stream.read()
        assert stream.to_dask()["x"].compute().values.tolist() == [1.0, 2.0]
        assert (stream(on_missing="fill").read()["image"] == 0).all()
        assert opened("aborted", tmp_path)(trim=True).read().sizes["time"] == 9


class TestConfiguration:
    def test_values(self, tmp_path: Path) -> None:
        stream = opened("scan", tmp_path)
        found = stream.config["det"].read()
        assert found["exposure_time"].values.tolist() == [0.1]
        assert found["exposure_time"].attrs["units"] == "s"
        assert found["model"].values.tolist() == ["Sim"]
        xr.testing.assert_identical(found, stream(configuration_for="det").read())
        xr.testing.assert_identical(found, stream.config["det"].to_dask())
        stamps = stream.config_timestamps["det"].read()
        assert set(stamps) == {"exposure_time", "model"}
        assert stamps["model"].dtype == np.float64

    def test_two_dimensions(self, tmp_path: Path) -> None:
        found = opened("configuration_arrays", tmp_path).config["det"].read()
        assert found["matrix"].values.tolist() == [[[1.0, 2.0], [3.0, 4.0]]]
        assert found["names"].values.tolist() == [["a", "bc"]]

    def test_a_device_without_any(self, tmp_path: Path) -> None:
        stream = opened("configuration_arrays", tmp_path)
        assert set(stream.config) == {"device", "det", "motor"}
        for device in ("device", "motor"):
            assert list(stream.config[device].read()) == []
            assert list(stream.config_timestamps[device].read()) == []

    def test_no_such_device(self, tmp_path: Path) -> None:
        stream = opened("scan", tmp_path)
        with pytest.raises(KeyError, match=r"no device 'dett'; did you mean 'det'\?"):
            stream.config["dett"]
        assert "dett" not in stream.config

    def test_descriptors_at_equal_times_stay_apart(self, tmp_path: Path) -> None:
        composed = RunComposer("equal")
        for value in (1.0, 2.0):
            block = {"data": {"gain": value}, "timestamps": {"gain": 0.0}, "data_keys": {"gain": data_key("number")}}
            primary = composed.descriptor({"x": data_key("number")}, configuration={"det": block}, time=5.0)
            composed.event(primary, {"x": value})
        stream = BlueskyCatalog(MemoryStore([composed.documents]))[-1].primary
        assert stream.config["det"].read()["gain"].values.tolist() == [1.0, 2.0]
        assert stream.read()["x"].values.tolist() == [1.0, 2.0]

    def test_source_face(self, tmp_path: Path) -> None:
        source = opened("scan", tmp_path).config["det"]
        assert source.npartitions == 1
        xr.testing.assert_identical(source.read_partition(0), source.read())
        assert len(source.to_dataframe()) == 1
        assert repr(opened("scan", tmp_path).config) == "<configuration of theta, det>"


class TestDataFrame:
    def test_columns(self, tmp_path: Path) -> None:
        stream = opened("scan", tmp_path)
        frame = stream.to_dataframe()
        assert list(frame.columns) == ["time", "theta", "det", "counts"]
        assert frame["counts"].dtype == np.int64
        assert frame["det"].tolist() == stream.read()["det"].values.tolist()

    def test_times(self, tmp_path: Path) -> None:
        run = BlueskyCatalog(MemoryStore([EXAMPLES["scan"](tmp_path)]))[-1]
        stream, seconds = run.primary, run.primary.read()["time"].values.tolist()
        decoding = [stream, stream(decode_times=True), stream.config["det"]]
        for decoded in (run.table(), *(one.to_dataframe() for one in decoding)):
            assert str(decoded["time"].dtype) == "datetime64[ns, UTC]"
        assert [time.timestamp() for time in run.table()["time"]] == pytest.approx(seconds, abs=1e-6)
        assert run.table().equals(stream.to_dataframe())
        plain_ones = [stream.to_dataframe(decode_times=False), stream(decode_times=False).to_dataframe()]
        for plain in (run.table(decode_times=False), *plain_ones):
            assert plain["time"].tolist() == seconds

    def test_text_and_booleans(self, tmp_path: Path) -> None:
        stream = opened("strings_and_booleans", tmp_path)
        frame = stream.to_dataframe()
        for name, variable in stream.read().data_vars.items():
            if variable.ndim == 1:
                assert frame[name].tolist() == variable.values.tolist()

    def test_arrays_are_cells(self, tmp_path: Path) -> None:
        stream = opened("inline_images", tmp_path)
        dataset, frame = stream.read(), stream.to_dataframe()
        (key,) = (name for name, variable in dataset.data_vars.items() if variable.ndim == 3)
        assert np.array_equal(frame[key].iloc[0], dataset[key].values[0])

    def test_images_come_when_they_are_named(self, tmp_path: Path) -> None:
        stream = opened("stream_hdf5", tmp_path)
        assert list(stream.to_dataframe().columns) == ["time", "x"]
        frame = stream(include=["x", "image"]).to_dataframe()
        assert frame["image"].iloc[0].shape == (1, 4, 6)

    def test_a_stream_without_events(self, tmp_path: Path) -> None:
        frame = opened("streams_only", tmp_path, "fly").to_dataframe()
        assert list(frame.index) == [1, 2, 3, 4, 5, 6]
        assert list(frame.columns) == []


class TestIdentity:
    @pytest.mark.parametrize("name", ["scan", "stream_hdf5", "npy_seq"])
    def test_pickle(self, name: str, tmp_path: Path) -> None:
        stream = opened(name, tmp_path)(exclude=["x"] if name != "scan" else ["det"])
        stream.to_dask()
        again = pickle.loads(pickle.dumps(stream))
        assert again == stream
        xr.testing.assert_identical(again.read(), stream.read())
        xr.testing.assert_identical(pickle.loads(pickle.dumps(stream.to_dask())).compute(), stream.read())

    def test_equality(self, tmp_path: Path) -> None:
        run = BlueskyCatalog(MemoryStore([EXAMPLES["scan"](tmp_path)]))[-1]
        assert run.primary == run.primary
        assert hash(run.primary) == hash(run["primary"])
        assert run.primary != run.baseline
        assert run.primary != run.primary(include=["det"])
        assert run.primary != 5

    def test_dask_names_depend_on_the_store_and_version(self, tmp_path: Path) -> None:
        from dask.base import tokenize

        run = BlueskyCatalog(MemoryStore([EXAMPLES["scan"](tmp_path)]))[-1]
        assert tokenize(run.primary) == tokenize(run["primary"])
        assert tokenize(run.primary) != tokenize(run.primary.timestamps)
        assert tokenize(run) == tokenize(run())

    def test_wide_integers_and_units_survive(self, tmp_path: Path) -> None:
        composed = RunComposer("wide")
        primary = composed.descriptor({"n": data_key("integer", units="counts")})
        numbers: list[Any] = [2**63 - 1, 2**62 + 1]
        composed.page(primary, {"n": numbers})
        found = BlueskyCatalog(MemoryStore([composed.documents]))[-1].primary.read()["n"]
        assert found.values.tolist() == numbers
        assert found.attrs["units"] == "counts"
