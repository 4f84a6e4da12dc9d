"""The faults of earlier readers, none of which is here: each by its own test, on files, as users open them."""

from __future__ import annotations

import os
import pickle
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import intake
import msgpack
import msgpack_numpy
import numpy as np
import pytest
import suitcase.jsonl

from intake_bluesky import BlueskyCatalog, Stop
from intake_bluesky.documents.model import to_plain
from intake_bluesky.errors import RunNotFound
from intake_bluesky.testing.asset_runs import DATASET, HDF5, IMAGE, frames, write_hdf5
from intake_bluesky.testing.compose import EPOCH, RunComposer, data_key
from intake_bluesky.testing.examples import Run
from intake_bluesky.testing.plain_runs import count, scan
from intake_bluesky.testing.runs import EXAMPLES
from intake_bluesky_jsonl import BlueskyJSONLCatalog, JSONLCodec
from intake_bluesky_msgpack import BlueskyMsgpackCatalog

X = data_key("number")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INTAKE_BLUESKY_CACHE", str(tmp_path / "cache"))


class Folder:
    """A folder of runs of one driver, written as its suitcase writes."""

    def __init__(self, kind: str, path: Path) -> None:
        self.kind, self.path = kind, path
        path.mkdir()

    def put(self, run: Run, name: str | None = None) -> Path:
        file = self.path / f"{name or run[0][1]['uid']}.{self.kind}"
        if self.kind == "jsonl":
            with suitcase.jsonl.Serializer(self.path, file_prefix=file.stem) as write:
                for pair in run:
                    write(*pair)
        else:
            pairs = [(kind, to_plain(doc)) for kind, doc in run]
            packed = [msgpack.packb(pair, default=msgpack_numpy.encode, use_bin_type=True) for pair in pairs]
            file.write_bytes(b"".join(packed))
        return file

    def example(self, name: str) -> Run:
        run = EXAMPLES[name](self.path.parent / "assets")
        self.put(run)
        return run

    def open(self, **arguments: Any) -> BlueskyCatalog:
        face = {"jsonl": BlueskyJSONLCatalog, "msgpack": BlueskyMsgpackCatalog}[self.kind]
        return face(str(self.path / f"*.{self.kind}"), **arguments)


@pytest.fixture(params=["jsonl", "msgpack"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Folder:
    return Folder(request.param, tmp_path / "runs")


def at(when: float, label: str, **metadata: Any) -> Run:
    """A run of one event."""
    run = RunComposer(label, time=when, **metadata)
    run.event(run.descriptor({"x": X}), {"x": when})
    run.stop()
    return run.documents


def many_frames(folder: Path, files: int, each: int) -> Run:
    """Frames in several files, one chunk a frame, one stream datum an event."""
    run = RunComposer("many_frames")
    primary = run.descriptor({"x": X, "image": IMAGE})
    for number in range(files):
        uri = write_hdf5(folder / f"part{number}.h5", frames(each, first=number * each))
        resource = run.stream_resource("image", mimetype=HDF5, uri=uri, dataset=DATASET, chunk_shape=[1, 4, 6])
        for point in range(each):
            seq_num = number * each + point + 1
            run.stream_datum(resource, primary, (seq_num, seq_num + 1), (point, point + 1))
            run.event(primary, {"x": float(seq_num)})
    run.stop()
    return run.documents


class TestOfReadersBefore:
    def test_stream_resources_are_read_and_not_0_events(self, folder: Folder) -> None:
        folder.example("streams_only")
        dataset = folder.open()[-1].fly.read()
        np.testing.assert_array_equal(dataset["image"].values, frames(6)[:, np.newaxis])

    def test_one_half_written_line_makes_no_other_run_fail(self, folder: Folder) -> None:
        file = folder.put(scan())
        folder.put(count())
        file.write_bytes(file.read_bytes()[:-20])
        cat = folder.open()
        assert [run.start["plan_name"] for run in map(cat.__getitem__, cat)] == ["scan", "count"]
        assert cat[2].stop is None
        assert cat[2].primary.read().sizes["time"] == 11
        [problem] = cat.problems
        assert problem.where == str(file)

    def test_streams_and_dask_datasets_pickle(self, folder: Folder) -> None:
        folder.example("stream_hdf5")
        stream = folder.open()[-1].primary
        expected = stream.read()
        assert pickle.loads(pickle.dumps(stream)).read().identical(expected)
        assert pickle.loads(pickle.dumps(stream.to_dask())).compute().identical(expected)

    def test_uint16_detector_is_declared_uint16(self, folder: Folder) -> None:
        folder.example("ad_hdf5")
        stream = folder.open()[-1].primary
        assert stream.to_dask()["image"].dtype == stream.read()["image"].dtype == np.uint16
        assert stream.discover()["dtype"]["image"] == "uint16"

    def test_searches_of_the_stop_document_match(self, folder: Folder) -> None:
        folder.example("failed")
        folder.example("scan")
        folder.example("unfinished")
        cat = folder.open()
        for query in ({"stop.exit_status": "fail"}, Stop("exit_status") == "fail"):
            assert [cat[uid].scan_id for uid in cat.search(query)] == [8]
        assert len(cat.search({"stop.exit_status": {"$exists": False}})) == 1

    def test_tasks_are_not_as_many_as_datums(self, folder: Folder, tmp_path: Path) -> None:
        folder.put(many_frames(tmp_path, 1, 200))
        lazy = folder.open()[-1].primary.to_dask()
        assert lazy["image"].data.npartitions == 1
        assert len(lazy.__dask_graph__()) < 20

    def test_chunks_do_not_span_files(self, folder: Folder, tmp_path: Path) -> None:
        folder.put(many_frames(tmp_path, 3, 5))
        image = folder.open()[-1].primary.to_dask()["image"]
        assert image.chunks is not None
        assert image.chunks[0] == (5, 5, 5)
        np.testing.assert_array_equal(image.values, frames(15)[:, np.newaxis])

    @pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="open files are counted in /proc")
    def test_file_handles_are_not_kept_for_life(self, folder: Folder, tmp_path: Path) -> None:
        folder.put(many_frames(tmp_path, 60, 1))
        stream = folder.open()[-1].primary
        stream.read()

        def held() -> int:
            links = (Path("/proc/self/fd", fd) for fd in os.listdir("/proc/self/fd"))
            return sum(link.is_symlink() and os.readlink(link).endswith(".h5") for link in links)

        stream.read()
        stream.to_dask().compute()
        assert held() < 40

    @pytest.mark.parametrize("name", ["ragged", "ragged_images"])
    def test_ragged_arrays_are_read(self, name: str, folder: Folder) -> None:
        run = folder.example(name)
        dataset = folder.open()[-1].primary.read()
        for key in run[1][1]["data_keys"]:
            pages = [doc["data"][key] if kind == "event_page" else [doc["data"][key]] for kind, doc in run[2:-1]]
            for row, expected in enumerate(value for page in pages for value in page):
                observed = dataset[key].values[row]
                for place in np.ndindex(np.shape(expected)):
                    value: Any = expected
                    for index in place:
                        value = value[index]
                    assert observed[place] == value

    def test_two_dimensional_configuration_is_read(self, folder: Folder) -> None:
        folder.example("configuration_arrays")
        matrix = folder.open()[-1].primary.config["det"].read()["matrix"]
        np.testing.assert_array_equal(matrix.values[0], [[1.0, 2.0], [3.0, 4.0]])

    def test_event_keys_that_differ_from_the_descriptor_are_read(self, folder: Folder) -> None:
        folder.example("keys_differ")
        dataset = folder.open()[-1].primary.read()
        np.testing.assert_array_equal(dataset["surprise"].values, [3.0, 4.0])
        np.testing.assert_array_equal(dataset["promised"].values, [np.nan, np.nan])

    def test_text_is_not_read_to_learn_its_width(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        folder = Folder("jsonl", tmp_path / "runs")
        folder.example("strings_and_booleans")
        stream = folder.open()[-1].primary
        asked: list[Any] = []
        pages = JSONLCodec.event_pages

        def noted(self: JSONLCodec, *args: Any, **kwargs: Any) -> Iterator[Any]:
            asked.append(kwargs.get("data"))
            yield from pages(self, *args, **kwargs)

        monkeypatch.setattr(JSONLCodec, "event_pages", noted)
        lazy = stream.to_dask()
        assert all(keys == () for keys in asked)
        assert lazy["label"].dtype == object
        assert lazy["label"].values.tolist() == ["a", "", "a rather long label"]
        assert any(keys != () for keys in asked)

    def test_user_coordinates_are_not_overwritten_by_time(self, folder: Folder) -> None:
        folder.example("reserved_names")
        dataset = folder.open()[-1].primary.read()
        assert dataset["time_"].values.tolist() == [0.25, 0.5]
        assert dataset["seq_num_"].values.tolist() == [70, 80]
        assert dataset["time"].values[0] > EPOCH
        with_coordinate = dataset.assign_coords(time_=dataset["time_"]).swap_dims(time="time_")
        assert with_coordinate.sel(time_=0.5)["seq_num_"] == 80


class TestOfDatabroker:
    def test_newest_is_not_stale_after_a_new_file(self, folder: Folder) -> None:
        folder.put(at(1.0, "old"))
        cat = folder.open(ttl=0.05)
        assert cat[-1].start["time"] == 1.0
        folder.put(at(2.0, "new"))
        time.sleep(0.06)
        assert cat[-1].start["time"] == 2.0

    def test_deleted_files_are_not_listed(self, folder: Folder) -> None:
        old, new = at(1.0, "old"), at(2.0, "new")
        folder.put(old)
        file = folder.put(new)
        cat = folder.open(ttl=0.05)
        assert len(cat) == 2
        file.unlink()
        time.sleep(0.06)
        assert list(cat) == [old[0][1]["uid"]]
        assert len(cat) == 1
        with pytest.raises(RunNotFound):
            cat[new[0][1]["uid"]]

    def test_runs_are_listed_by_time_and_not_by_name(self, folder: Folder) -> None:
        for name, when in (("b", 3.0), ("c", 1.0), ("a", 2.0)):
            folder.put(at(when, name), name)
        cat = folder.open()
        assert [cat[uid].start["time"] for uid in cat] == [3.0, 2.0, 1.0]

    def test_empty_uid_finds_nothing(self, folder: Folder) -> None:
        folder.put(scan())
        cat = folder.open()
        with pytest.raises(RunNotFound):
            cat[""]
        assert "" not in cat

    def test_read_does_not_load_what_to_dask_gave(self, folder: Folder) -> None:
        folder.put(scan())
        stream = folder.open()[-1].primary
        before = stream.to_dask()
        stream.read()
        for lazy in (before, stream.to_dask()):
            assert lazy["det"].chunks is not None

    @pytest.mark.parametrize("name", ["stream_hdf5", "npy_seq"])
    def test_timestamps_of_a_stream_with_an_image(self, name: str, folder: Folder) -> None:
        folder.example(name)
        stream = folder.open()[-1].primary
        stamps = stream.timestamps.read()
        np.testing.assert_array_equal(stamps["x"].values, stream.read()["time"].values - 0.0625)
        assert ("image" in stamps) == (name == "npy_seq")

    def test_configuration_of_a_device_without_any(self, folder: Folder) -> None:
        run = RunComposer("bare")
        run.event(run.descriptor({"x": X}, object_keys={"motor": ["x"]}), {"x": 1.0})
        folder.put(run.documents)
        folder.example("configuration_arrays")
        cat = folder.open()
        for uid in cat:
            assert list(cat[uid].primary.config["motor"].read()) == []
            assert list(cat[uid].primary.config_timestamps["motor"].read()) == []

    def test_integers_past_63_bits_stay_integers(self, folder: Folder) -> None:
        folder.example("wide_integers")
        dataset = folder.open()[-1].primary.read()
        assert dataset["mask"].values.tolist() == [2**64 - 1, 2**63, 0]
        assert dataset["ns"].values.tolist() == [2**53 + 1, 2**62 + 1, -(2**63)]
        assert folder.open()[-1].start["frames"] == 2**53 + 1

    def test_integers_past_64_bits_stay_integers(self, tmp_path: Path) -> None:
        folder = Folder("jsonl", tmp_path / "runs")
        folder.example("big_integers")
        run = folder.open()[-1]
        assert run.primary.read()["huge"].values.tolist() == [1, 2**70]
        assert run.start["serial"] == 2**70 + 1

    def test_two_descriptors_at_equal_times_do_not_collapse(self, folder: Folder) -> None:
        folder.example("two_descriptors_at_once")
        stream = folder.open()[-1].primary
        assert len(stream.descriptors) == len(stream.metadata["descriptors"]) == 2
        assert stream.read()["x"].values.tolist() == [1.0, 2.0, 3.0]

    def test_units_are_kept(self, folder: Folder) -> None:
        folder.put(scan())
        stream = folder.open()[-1].primary
        assert stream.to_dask()["theta"].attrs["units"] == stream.read()["theta"].attrs["units"] == "deg"
        assert stream.config["det"].read()["exposure_time"].attrs["units"] == "s"


class TestOfTiled:
    def test_search_by_a_dict_finds(self, folder: Folder) -> None:
        folder.put(scan())
        folder.put(count())
        cat = folder.open()
        assert [cat[uid].scan_id for uid in cat.search({"plan_name": "scan", "sample.name": "Ni foil"})] == [2]
        assert len(cat.search({"plan_name": "scan"}).search({"scan_id": {"$lt": 2}})) == 0

    def test_square_images_have_dimensions_of_two_names(self, folder: Folder) -> None:
        folder.example("inline_images")
        image = folder.open()[-1].primary.to_dask()["image"]
        assert len(set(image.dims)) == 3
        assert image.mean(image.dims[1:]).compute().values.tolist() == [0.75, 0.75, 0.75]

    def test_slice_of_the_newest(self, folder: Folder) -> None:
        for when in range(5):
            folder.put(at(float(when), f"run {when}"))
        cat = folder.open()
        assert [cat[uid].start["time"] for uid in cat[-3:]] == [4.0, 3.0, 2.0]
        assert len(cat[-9:]) == 5

    def test_newest_is_not_the_last_inserted(self, folder: Folder) -> None:
        cat = folder.open()
        with cat.writer() as write:
            for when in (5.0, 9.0, 1.0):
                for name, doc in at(when, f"run {when}"):
                    write(name, doc)
        assert [cat[place].start["time"] for place in (-1, -2, -3)] == [9.0, 5.0, 1.0]

    def test_listing_does_not_page_by_offset(self, folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
        for when in range(30):
            folder.put(at(float(when), f"run {when}", scan_id=when))
        cat = folder.open()
        asked: list[int] = []
        find = type(cat.store).find

        def noted(store: Any, *args: Any, **kwargs: Any) -> Iterator[Any]:
            asked.append(kwargs.get("offset", 0))
            return find(store, *args, **kwargs)

        monkeypatch.setattr(type(cat.store), "find", noted)
        assert len(list(cat)) == len(list(cat.items())) == 30
        assert len(list(cat.search({"scan_id": {"$lt": 20}}))) == 20
        assert set(asked) == {0}
        assert len(asked) <= 4  # one more for the length of the search, which list() asks


def test_intake_opens_it_by_its_yaml(folder: Folder, tmp_path: Path) -> None:
    """databroker's import fails on this version of Intake."""
    folder.put(scan())
    source = f"{{driver: bluesky-{folder.kind}-catalog, args: {{paths: '{folder.path}/*.{folder.kind}'}}}}"
    (tmp_path / "catalog.yml").write_text(f"sources: {{beamline: {source}}}", encoding="utf-8")
    assert len(intake.open_catalog(str(tmp_path / "catalog.yml")).beamline) == 1
