"""Runs: documents, files, streams, trees."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path
from typing import Any

import dask.array as da
import event_model
import numpy as np
import pandas as pd
import pytest

from intake_bluesky.assets import AssetOptions
from intake_bluesky.catalogs.run import BlueskyRun, Dimension
from intake_bluesky.catalogs.run_catalog import BlueskyCatalog
from intake_bluesky.catalogs.stream import BlueskyStream
from intake_bluesky.documents.model import RunHeader, identical, is_external
from intake_bluesky.documents.pages import normalise
from intake_bluesky.errors import AssetUnavailable, StreamNotFound, UnsupportedOperation
from intake_bluesky.testing.asset_runs import frames
from intake_bluesky.testing.compose import RunComposer, data_key
from intake_bluesky.testing.memory import MemoryStore
from intake_bluesky.testing.runs import EXAMPLES
from tests.assets.formats import TIFF, tiffs

IMAGE = data_key("array", [1, 4, 6], dtype_numpy="<u2", external="STREAM:")


def opened(name: str, folder: Path, **kwargs: Any) -> BlueskyRun:
    """An example run, out of a catalog."""
    return BlueskyCatalog(MemoryStore([EXAMPLES[name](folder)]), **kwargs)[-1]


class TestDocuments:
    def test_metadata(self, tmp_path: Path) -> None:
        run = opened("scan", tmp_path)
        assert run.metadata["start"]["plan_name"] == run.start["plan_name"] == "scan"
        assert run.metadata["stop"]["exit_status"] == "success"
        assert run.uid == run.start["uid"]
        assert (run.scan_id, run.is_complete, len(run.descriptors)) == (2, True, 3)

    def test_an_unfinished_run_has_no_stop(self, tmp_path: Path) -> None:
        run = opened("unfinished", tmp_path)
        assert run.stop is None
        assert run.metadata["stop"] is None
        assert not run.is_complete

    def test_a_scan_id_that_is_no_number(self, tmp_path: Path) -> None:
        assert opened("no_time", tmp_path).scan_id is None

    def test_documents_refuse_mutation(self, tmp_path: Path) -> None:
        run = opened("scan", tmp_path)
        for doc in (run.start, run.stop, run.metadata["start"], run.descriptors[0], run.primary.descriptors[0]):
            assert doc is not None
            with pytest.raises(TypeError, match="read-only"):
                doc["uid"] = "other"
            plain = doc.to_dict()
            plain["uid"] = "other"
            assert doc["uid"] != "other"
            assert pickle.loads(pickle.dumps(doc)) == doc

    @pytest.mark.parametrize("name", sorted(EXAMPLES))
    def test_as_stored(self, name: str, tmp_path: Path) -> None:
        documents = EXAMPLES[name](tmp_path)
        run = BlueskyCatalog(MemoryStore([copy.deepcopy(documents)]))[-1]
        observed = list(run.documents(fill="no", strict_order=False))
        assert [name for name, _ in observed] == [name for name, _ in documents]
        assert all(identical(a, b) for (_, a), (_, b) in zip(observed, documents, strict=True))
        assert identical(list(run.canonical(fill="no")), observed)

    def test_no_other_fill(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="fill is one of 'no', 'yes', 'delayed', not 'maybe'"):
            opened("scan", tmp_path).documents(fill="maybe")  # type: ignore[arg-type]


class TestFilling:
    @pytest.mark.parametrize("name", sorted(set(EXAMPLES) - {"missing_file"}))
    @pytest.mark.parametrize("fill", ["yes", "delayed"])
    def test_all_examples(self, name: str, fill: Any, tmp_path: Path) -> None:
        run = opened(name, tmp_path)
        observed = [name for name, _ in run.documents(fill=fill)]
        expected = [
            today for name, doc in run.documents(fill="no") for today, _ in normalise(name, doc) if name != "bulk_datum"
        ]
        assert [name for name in observed if name != "bulk_datum"] == expected

    def test_events(self, tmp_path: Path) -> None:
        run = opened("npy_seq", tmp_path)
        stored = [doc for name, doc in run.documents(fill="no") if name == "event"]
        filled = [doc for name, doc in run.documents(fill="yes") if name == "event"]
        for point, (before, after) in enumerate(zip(stored, filled, strict=True)):
            assert np.array_equal(after["data"]["image"], frames(3)[point])
            assert after["filled"] == {"image": before["data"]["image"]}
            assert before["filled"] == {"image": False}
            assert after["data"]["x"] == before["data"]["x"]

    def test_several_frames_an_event(self, tmp_path: Path) -> None:
        filled = [doc for name, doc in opened("ad_hdf5", tmp_path).documents(fill="yes") if name == "event"]
        observed = np.concatenate([doc["data"]["image"] for doc in filled])
        assert np.array_equal(observed, frames(6))

    @pytest.mark.parametrize("name", ["datum_pages", "bulk_datum"])
    def test_pages(self, name: str, tmp_path: Path) -> None:
        (page,) = [doc for name, doc in opened(name, tmp_path).documents(fill="yes") if name == "event_page"]
        assert np.array_equal(page["data"]["image"], frames(len(page["seq_num"])))
        assert all(isinstance(datum_id, str) for datum_id in page["filled"]["image"])

    def test_delayed_reads_nothing(self, tmp_path: Path) -> None:
        run = opened("npy_seq", tmp_path)
        images = [doc["data"]["image"] for name, doc in run.documents(fill="delayed") if name == "event"]
        assert all(isinstance(image, da.Array) for image in images)
        assert np.array_equal(images[1].compute(), frames(3)[1])
        (tmp_path / "npy_2.npy").unlink()
        lazy = [doc for name, doc in run.documents(fill="delayed") if name == "event"]
        with pytest.raises(AssetUnavailable):
            list(run.documents(fill="yes"))
        with pytest.raises(AssetUnavailable):
            lazy[2]["data"]["image"].compute()

    def test_stream_resources_pass_through(self, tmp_path: Path) -> None:
        run = opened("stream_hdf5", tmp_path)
        assert identical(list(run.documents(fill="yes")), list(run.documents(fill="no")))

    def test_more_events_than_are_read_together(self, tmp_path: Path) -> None:
        composed = RunComposer("many")
        image = data_key("array", [2], external="FILESTORE:")
        primary = composed.descriptor({"image": image})
        resource = composed.resource("NPY_SEQ", root=str(tmp_path), path="many")
        for point in range(40):
            np.save(tmp_path / f"many_{point}.npy", np.array([point, -point], np.float64))
            composed.event(primary, {"image": composed.datum(resource, point, index=point)})
        composed.stop()
        run = BlueskyCatalog(MemoryStore([composed.documents]))[-1]
        filled = [doc["data"]["image"].tolist() for name, doc in run.documents(fill="yes") if name == "event"]
        assert filled == [[point, -point] for point in range(40)]

    def test_event_model_takes_them(self, tmp_path: Path) -> None:
        checked = event_model.schema_validators[event_model.DocumentNames.event]
        events = [doc for name, doc in opened("npy_seq", tmp_path).documents(fill="yes") if name == "event"]
        assert len(events) > 1
        for doc in events:
            doc["data"]["image"] = doc["data"]["image"].tolist()
            checked.validate(doc)


class TestStreams:
    def test_listing(self, tmp_path: Path) -> None:
        run = opened("scan", tmp_path)
        assert list(run) == list(run.keys()) == ["baseline", "ring_current_monitor", "primary"]
        assert len(run) == 3
        assert "primary" in run
        assert "secondary" not in run
        assert all(isinstance(stream, BlueskyStream) for _, stream in run.items())
        assert list(run.walk()) == list(run)
        assert {"primary", "documents", "files"} <= set(dir(run))

    def test_access(self, tmp_path: Path) -> None:
        run = opened("scan", tmp_path)
        assert run["primary"] == run.primary == run[("primary",)]
        with pytest.raises(StreamNotFound, match="has no stream 'secondary'; it has baseline, ring_current_monitor"):
            run["secondary"]
        with pytest.raises(AttributeError):
            _ = run.secondary
        for key in (0, None, slice(None), ("primary", "det")):
            with pytest.raises(KeyError):
                run[key]

    def test_called_it_is_itself(self, tmp_path: Path) -> None:
        run = opened("scan", tmp_path)
        assert run() is run.get() is run
        other = run(assets=AssetOptions(root_map={"/a": "/b"}))
        assert other == run
        assert other.primary._options.assets.root_map == {"/a": "/b"}

    def test_a_run_is_not_read(self, tmp_path: Path) -> None:
        run = opened("scan", tmp_path)
        for read in (run.read, run.to_dask):
            with pytest.raises(NotImplementedError, match=r"baseline, .*run\['primary'\]\.read\(\)"):
                read()

    def test_describe_and_discover(self, tmp_path: Path) -> None:
        run = opened("scan", tmp_path)
        assert run.describe()["metadata"]["start"] == run.start
        assert run.describe()["container"] == run.discover()["container"] == "catalog"
        assert run._entries["primary"].describe()["container"] == "xarray"
        with pytest.raises(StreamNotFound):
            run._entries["secondary"]

    def test_dimensions(self, tmp_path: Path) -> None:
        run = opened("scan", tmp_path)
        assert run.dimensions == (Dimension(("theta",), "primary"),)
        dataset = run.primary.read().set_coords(run.dimensions[0].fields)
        assert "theta" in dataset.coords

    @pytest.mark.parametrize("hints", [None, {}, "odd", {"dimensions": [["x"], "y", [5, 6]]}, {"dimensions": None}])
    def test_odd_hints(self, hints: Any) -> None:
        run = BlueskyCatalog(MemoryStore([RunComposer("odd", hints=hints).documents]))[-1]
        assert run.dimensions == ()


class TestGrowth:
    def test_a_run_shows_one_version_until_refreshed(self, tmp_path: Path) -> None:
        composed = RunComposer("growing")
        primary = composed.descriptor({"x": data_key("number")})
        composed.event(primary, {"x": 1.0})
        store = MemoryStore([composed.documents])
        run = BlueskyCatalog(store)[-1]
        before, stream = len(composed.documents), run.primary
        composed.event(primary, {"x": 2.0})
        composed.stop()
        store.append(composed.run_uid, composed.documents[before:])
        assert (stream.read().sizes["time"], run.primary.read().sizes["time"], run.is_complete) == (1, 1, False)
        assert run.refresh() is run
        assert (stream.read().sizes["time"], run.primary.read().sizes["time"], run.is_complete) == (1, 2, True)
        assert run.metadata["stop"] == run.stop

    def test_versions_differ(self, tmp_path: Path) -> None:
        composed = RunComposer("growing")
        store = MemoryStore([composed.documents])
        cat = BlueskyCatalog(store)
        first = cat[-1]
        assert cat[-1] == first
        assert hash(cat[-1]) == hash(first)
        store.append(composed.run_uid, [("stop", {"uid": "s", "time": 1.0, "run_start": composed.run_uid})])
        assert cat[-1] != first


class TestFiles:
    def test_stream_resources(self, tmp_path: Path) -> None:
        run = opened("stream_hdf5", tmp_path)
        observed = {Path(file.path).name: (file.exists, file.size) for file in run.files()}
        expected = {name: (True, (tmp_path / name).stat().st_size) for name in ("stream.h5", "sums.h5")}
        assert observed == expected

    def test_sequences(self, tmp_path: Path) -> None:
        run = opened("npy_seq", tmp_path)
        assert {Path(file.path).name for file in run.files()} == {f"npy_{n}.npy" for n in range(3)}

    @pytest.mark.parametrize("gone", [(), (0,), (1,), (2,), (0, 1), (0, 1, 2)])
    def test_sequences_that_lack_files(self, tmp_path: Path, gone: tuple[int, ...]) -> None:
        documents = EXAMPLES["npy_seq"](tmp_path)
        np.save(tmp_path / "npy_3.npy", 0)  # of no datum
        for number in gone:
            (tmp_path / f"npy_{number}.npy").unlink()
        run = BlueskyCatalog(MemoryStore([documents]))[-1]
        observed = [(Path(file.path).name, file.exists, file.size is not None) for file in run.files()]
        assert observed == [(f"npy_{n}.npy", n not in gone, n not in gone) for n in range(3)]
        assert [Path(path).name for path in run.get_file_list(run.header.resources[0])] == [
            f"npy_{n}.npy" for n in range(3)
        ]

    @pytest.mark.parametrize("gone", [(2,), (0, 1, 2, 3, 4, 5)])
    def test_streamed_sequences_that_lack_files(self, tmp_path: Path, gone: tuple[int, ...]) -> None:
        tiffs(tmp_path, frames(8))
        composed = RunComposer("streamed")
        primary = composed.descriptor({"image": {**IMAGE, "shape": [2, 4, 6]}})
        parameters = {"template": "img_{:06d}.tiff", "multiplier": 2}
        image = composed.stream_resource("image", mimetype=TIFF, uri=f"file://localhost{tmp_path}/", **parameters)
        composed.stream_datum(image, primary, (1, 3))
        composed.stream_datum(image, primary, (2, 4), (1, 3))  # a rewind
        composed.stop()
        for number in gone:
            (tmp_path / f"img_{number:06d}.tiff").unlink()
        run = BlueskyCatalog(MemoryStore([composed.documents]))[-1]
        expected = [(f"img_{n:06d}.tiff", n not in gone) for n in range(6)]
        assert [(Path(file.path).name, file.exists) for file in run.files()] == expected

    def test_sequences_of_which_documents_claim_too_much(self, tmp_path: Path) -> None:
        tiffs(tmp_path, frames(2))
        composed = RunComposer("claimed")
        primary = composed.descriptor({"image": {**IMAGE, "shape": [1, 4, 6]}})
        where = {"uri": f"file://localhost{tmp_path}/", "template": "img_{:06d}.tiff"}
        image = composed.stream_resource("image", mimetype=TIFF, **where)
        composed.stream_datum(image, primary, (1, 2))
        claimed = {"seq_nums": {"start": 1, "stop": 2 * 10**9 + 1}, "indices": {"start": 0, "stop": 2 * 10**9}}
        composed.documents[-1][1].update(claimed)
        composed.stop()
        files = BlueskyCatalog(MemoryStore([composed.documents]))[-1].files()
        expected = [("img_000000.tiff", True), ("img_000001.tiff", True), ("img_1999999999.tiff", False)]
        assert [(Path(file.path).name, file.exists) for file in files] == expected

    def test_missing(self, tmp_path: Path) -> None:
        (file,) = opened("missing_file", tmp_path).files()
        assert (Path(file.path).name, file.exists, file.size) == ("gone.h5", False, None)

    def test_moved(self, tmp_path: Path) -> None:
        old = tmp_path / "old"
        old.mkdir()
        documents = EXAMPLES["stream_hdf5"](old)
        old.rename(tmp_path / "new")
        cat = BlueskyCatalog(MemoryStore([documents]), root_map={str(old.resolve()): str(tmp_path / "new")})
        assert all(file.exists for file in cat[-1].files())
        assert cat[-1].primary.read()["image"].shape == (5, 1, 4, 6)
        assert not any(file.exists for file in cat(root_map={})[-1].files())

    def test_of_one_resource(self, tmp_path: Path) -> None:
        run = opened("ad_hdf5", tmp_path)
        (resource,) = run.header.resources
        expected = [str((tmp_path / "ad.h5").resolve())]
        assert run.get_file_list(resource) == run.get_file_list(resource["uid"]) == expected
        streamed = opened("two_files", tmp_path)
        uids = [asset.resource["uid"] for asset in streamed.header.stream_assets]
        assert [Path(path).name for uid in uids for path in streamed.get_file_list(uid)] == ["part0.h5", "part1.h5"]
        with pytest.raises(KeyError, match="no resource 'nope'"):
            run.get_file_list("nope")

    def test_of_a_handler_that_knows_them_from_datums(self, tmp_path: Path) -> None:
        class Handler:
            def __init__(self, path: str) -> None:
                self.path = path

            def __call__(self, index: int) -> Any:
                return np.full((4, 6), index, np.uint16)

            def get_file_list(self, datums: Any) -> list[str]:
                return [f"{self.path}_{datum['index']}.npy" for datum in datums]

        documents = EXAMPLES["npy_seq"](tmp_path)
        for name, doc in documents:
            if name == "resource":
                doc["spec"] = "THIRD_PARTY"
        run = BlueskyCatalog(MemoryStore([documents]), handler_registry={"THIRD_PARTY": Handler})[-1]
        assert [(Path(file.path).name, file.exists) for file in run.files()] == [
            (f"npy_{n}.npy", True) for n in range(3)
        ]
        assert run.primary.read()["image"].values[:, 0, 0].tolist() == [0, 1, 2]


class TestHandlers:
    def test_registered_ones_come_before_ours_and_others_stay(self, tmp_path: Path) -> None:
        class Zeros:
            def __init__(self, path: str) -> None: ...

            def __call__(self, index: int) -> Any:
                return np.zeros((4, 6), np.uint16)

        cat = BlueskyCatalog(MemoryStore([EXAMPLES["npy_seq"](tmp_path)]))
        assert cat[-1].primary.read()["image"].values.any()
        cat.register_handler("NPY_SEQ", Zeros, overwrite=True)
        assert not cat[-1].primary.read()["image"].values.any()
        cat.deregister_handler("NPY_SEQ")
        assert cat[-1].primary.read()["image"].values.any()


class TestTree:
    @pytest.mark.parametrize("name", sorted(EXAMPLES))
    def test_all_examples(self, name: str, tmp_path: Path) -> None:
        run = opened(name, tmp_path)
        tree = run.to_datatree()
        assert set(tree.children) - {"config"} == {stream.replace("/", "_") for stream in run}
        assert json.loads(tree.attrs["start"])["uid"] == run.uid

    def test_shape(self, tmp_path: Path) -> None:
        run = opened("scan", tmp_path)
        tree = run.to_datatree()
        assert json.loads(tree.attrs["stop"])["exit_status"] == "success"
        configured = run.primary.config["det"].read()
        assert "exposure_time" in configured
        assert tree["/config/primary/det"].to_dataset().identical(configured)
        assert tree["primary"].to_dataset().identical(run.primary.to_dask())
        assert set(run.to_datatree(streams=["baseline"]).children) == {"baseline"}
        with pytest.raises(StreamNotFound):
            run.to_datatree(["secondary"])

    def test_it_is_lazy(self, tmp_path: Path) -> None:
        store = MemoryStore([EXAMPLES["scan"](tmp_path)])
        BlueskyCatalog(store)[-1].to_datatree()
        assert store.reads == 0

    def test_odd_stream_names(self) -> None:
        composed = RunComposer("odd")
        for stream in ("config", "a/b"):
            primary = composed.descriptor({"x": data_key("number")}, stream=stream)
            composed.event(primary, {"x": 1.0})
        tree = BlueskyCatalog(MemoryStore([composed.documents]))[-1].to_datatree()
        assert set(tree.children) == {"config_", "a_b"}


class TestTable:
    def test_table(self, tmp_path: Path) -> None:
        run = opened("scan", tmp_path)
        table = run.table()
        assert list(table.columns) == ["time", "theta", "det", "counts"]
        assert table.index.name == "seq_num"
        assert list(table.index) == list(range(1, 12))
        assert str(table["time"].dt.tz) == "UTC"
        first = run.primary.read()["time"].values[0]
        assert abs(table["time"].iloc[0].timestamp() - first) < 1e-6
        assert list(run.table("baseline")["mode"]) == ["top-up", "decay"]

    @pytest.mark.parametrize("name", sorted(EXAMPLES))
    def test_all_examples(self, name: str, tmp_path: Path) -> None:
        run = opened(name, tmp_path)
        for stream in run:
            table = run.table(stream)
            assert isinstance(table, pd.DataFrame)
            specs = run.header.streams[stream].data_keys
            external = [key for key, spec in specs.items() if is_external(spec)]
            assert len(table) == run[stream](exclude=external).read().sizes["time"]

    def test_images_are_left_out(self, tmp_path: Path) -> None:
        table = opened("npy_seq", tmp_path).table()
        assert list(table.columns) == ["time", "x"]


class Gone(MemoryStore):
    """A store that nobody may ask for a header."""

    def header(self, uid: str) -> RunHeader:
        raise AssertionError("a run brings its header")


class TestPickle:
    @pytest.mark.parametrize("name", ["scan", "stream_hdf5", "npy_seq", "unfinished"])
    def test_runs(self, name: str, tmp_path: Path) -> None:
        run = opened(name, tmp_path)
        again = pickle.loads(pickle.dumps(run))
        assert again == run
        assert again.metadata == run.metadata
        assert list(again) == list(run)
        assert again[next(iter(run))].read().identical(run[next(iter(run))].read())

    def test_it_travels_without_looking_again(self, tmp_path: Path) -> None:
        store = MemoryStore([EXAMPLES["count"](tmp_path)])
        run = BlueskyRun(store, store.header(next(store.find()).uid))
        run._store = Gone()
        assert pickle.loads(pickle.dumps(run)).start == run.start

    def test_made_alone_it_has_no_yaml(self, tmp_path: Path) -> None:
        store = MemoryStore([EXAMPLES["count"](tmp_path)])
        run = BlueskyRun(store, store.header(next(store.find()).uid))
        with pytest.raises(UnsupportedOperation, match="not opened from a catalog"):
            run.yaml()
        with pytest.raises(UnsupportedOperation):
            run.primary.yaml()
