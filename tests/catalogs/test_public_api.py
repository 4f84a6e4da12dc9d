"""What users of databroker 1 type, statement by statement, on a catalog opened from YAML: both drivers."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import dask.base
import intake
import msgpack
import msgpack_numpy
import numpy as np
import pytest
import suitcase.jsonl
import xarray as xr

import intake_bluesky as ib
from intake_bluesky.documents.model import identical, to_plain
from intake_bluesky.errors import AmbiguousRun, PluginError, RunNotFound, UnsupportedOperation
from intake_bluesky.testing.asset_runs import frames, npy_seq
from intake_bluesky.testing.compose import EPOCH, RunComposer, data_key
from intake_bluesky.testing.examples import Run
from intake_bluesky.testing.plain_runs import count, failed, scan, unfinished


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INTAKE_BLUESKY_CACHE", str(tmp_path / "cache"))


class Doubled:
    """A handler: rows of a constant."""

    specs = frozenset({"NPY_SEQ"})

    def __init__(self, path: str, **kwargs: Any) -> None:
        self.path = path

    def __call__(self, index: int) -> Any:
        return np.full((4, 6), 2 * index)

    def get_file_list(self, datum_kwargs: Any) -> list[str]:
        return [f"{self.path}_{kwargs['index']}.npy" for kwargs in datum_kwargs]


def with_sample(doc: dict[str, Any]) -> dict[str, Any]:
    return {**doc, "sample": {"name": "mended"}}


def put(folder: Path, kind: str, run: Run) -> None:
    folder.mkdir(exist_ok=True)
    if kind == "jsonl":
        suitcase.jsonl.export(iter(run), folder)
        return
    packed = [
        msgpack.packb((name, to_plain(doc)), default=msgpack_numpy.encode, use_bin_type=True) for name, doc in run
    ]
    (folder / f"{run[0][1]['uid']}.msgpack").write_bytes(b"".join(packed))


def repeated() -> Run:
    """Another run of scan_id 2, the newest of all, whose uid begins as that of the first."""
    run = RunComposer("repeated", time=EPOCH + 5000, scan_id=2, plan_name="scan")
    run.stop()
    uid = scan()[0][1]["uid"][:4] + run.run_uid[4:]
    return [("start", {**run.documents[0][1], "uid": uid}), ("stop", {**run.documents[1][1], "run_start": uid})]


YAML = """
sources:
  beamline:
    driver: bluesky-{kind}-catalog
    container: catalog
    description: A beamline
    args:
      paths: ["{{{{ CATALOG_DIR }}}}/runs/*.{kind}"]
      {more}
    metadata: {{beamline: hx}}
"""


@pytest.fixture(params=["jsonl", "msgpack"])
def kind(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    for run in (scan(), count(), failed(), unfinished(), npy_seq(tmp_path / "assets"), repeated()):
        put(tmp_path / "runs", request.param, run)
    return str(request.param)


def opened(folder: Path, kind: str, more: str = "") -> Any:
    (folder / "catalog.yml").write_text(YAML.format(kind=kind, more=more), encoding="utf-8")
    return intake.open_catalog(str(folder / "catalog.yml")).beamline


@pytest.fixture
def cat(kind: str, tmp_path: Path) -> Any:
    return opened(tmp_path, kind)


SCAN = scan()[0][1]["uid"]
COUNT = count()[0][1]["uid"]
NEWEST = repeated()[0][1]["uid"]


class TestCatalog:
    def test_of_yaml(self, cat: Any) -> None:
        assert isinstance(cat, ib.BlueskyCatalog)
        assert cat.name == "beamline"
        assert cat.description == "A beamline"
        assert cat.metadata["beamline"] == "hx"

    def test_uid(self, cat: Any) -> None:
        assert cat[SCAN].metadata["start"]["uid"] == SCAN

    def test_partial_uid(self, cat: Any) -> None:
        assert cat[COUNT[:8]].metadata["start"]["uid"] == COUNT

    def test_partial_uid_of_several(self, cat: Any) -> None:
        with pytest.raises(ValueError, match=SCAN) as caught:
            cat[SCAN[:4]]
        assert isinstance(caught.value, AmbiguousRun)

    def test_no_such_uid(self, cat: Any) -> None:
        with pytest.raises(KeyError, match="zzz"):
            cat["zzz"]

    def test_negative_place(self, cat: Any) -> None:
        assert cat[-1].metadata["start"]["uid"] == NEWEST
        assert cat[-2].metadata["start"]["uid"] == SCAN
        with pytest.raises(IndexError):
            cat[-7]

    def test_scan_id(self, cat: Any) -> None:
        assert cat[1].metadata["start"]["uid"] == COUNT
        assert cat[2].metadata["start"]["uid"] == NEWEST
        with pytest.raises(KeyError, match="12345"):
            cat[12345]

    def test_length_and_iteration(self, cat: Any) -> None:
        times = [cat[uid].metadata["start"]["time"] for uid in cat]
        assert len(cat) == len(list(cat)) == len(times) == 6
        assert times == sorted(times, reverse=True)

    def test_items(self, cat: Any) -> None:
        assert [(uid, run.metadata["start"]["uid"]) for uid, run in cat.items()] == [(uid, uid) for uid in cat]
        assert list(cat.keys()) == list(cat)
        assert [run.primary.read().sizes["time"] for uid, run in cat.items() if uid == SCAN] == [11]

    def test_in(self, cat: Any) -> None:
        for key in (SCAN, SCAN[:8], 2, -1):
            assert key in cat
        for key in ("zzz", 12345, -7, None):
            assert key not in cat

    def test_search_nests_by_and(self, cat: Any) -> None:
        scans = cat.search({"plan_name": "scan"})
        assert len(scans) == 3
        assert len(scans.search({"sample.name": "Ni foil"})) == 1
        assert len(scans.search({"plan_name": "count"})) == 0
        assert scans[-1].metadata["start"]["uid"] == NEWEST
        with pytest.raises(KeyError):
            scans[COUNT]

    def test_queries_with_operators(self, cat: Any) -> None:
        assert len(cat.search({"scan_id": {"$gt": 1, "$lte": 8}})) == 4
        assert len(cat.search({"plan_name": {"$in": ["count", "no"]}})) == 2
        assert len(cat.search({"plan_name": {"$regex": "^sc"}})) == 3
        assert len(cat.search({"sample": {"$exists": True}})) == 1
        assert len(cat.search({"$or": [{"plan_name": "count"}, {"plan_name": "scan"}]})) == 5
        assert len(cat.search({"$and": [{"plan_name": "scan"}, {"scan_id": 8}]})) == 1
        assert len(cat.search({"plan_name": {"$not": {"$in": ["count", "scan"]}}})) == 1
        assert len(cat.search({"stop.exit_status": "fail"})) == 1

    def test_register_handler(self, cat: Any) -> None:
        with pytest.raises((ValueError, LookupError)):
            cat.deregister_handler("NOT_THERE")
        cat.register_handler("MINE", Doubled)
        assert cat.handler_registry["MINE"] is Doubled
        with pytest.raises(PluginError):
            cat.register_handler("MINE", npy_seq)
        cat.register_handler("MINE", npy_seq, overwrite=True)
        cat.deregister_handler("MINE")
        assert "MINE" not in cat.handler_registry

    def test_registries_are_read_only(self, cat: Any) -> None:
        with pytest.raises(TypeError):
            cat.handler_registry["MINE"] = Doubled
        with pytest.raises(TypeError):
            cat.root_map["/a"] = "/b"

    def test_registered_handler_is_used(self, cat: Any) -> None:
        cat.register_handler("NPY_SEQ", Doubled, overwrite=True)
        assert cat[67].primary.read()["image"].values[:, 0, 0].tolist() == [0, 2, 4]

    def test_handlers_of_yaml(self, kind: str, tmp_path: Path) -> None:
        cat = opened(tmp_path, kind, f"handler_registry: {{NPY_SEQ: {__name__}.Doubled}}")
        assert list(cat.handler_registry) == ["NPY_SEQ"]
        assert cat.handler_registry["NPY_SEQ"] is Doubled
        assert cat[67].primary.read()["image"].values[:, 0, 0].tolist() == [0, 2, 4]

    def test_root_map_of_yaml(self, kind: str, tmp_path: Path) -> None:
        old = str((tmp_path / "assets").resolve())
        (tmp_path / "assets").rename(tmp_path / "moved")
        with pytest.raises(OSError, match="root_map"):
            opened(tmp_path, kind)[67].primary.read()
        for new in ("moved", "'{{ CATALOG_DIR }}/moved'"):
            cat = opened(tmp_path, kind, f"root_map: {{'{old}': {new}}}")
            assert Path(cat.root_map[old]) == tmp_path / "moved"
            np.testing.assert_array_equal(cat[67].primary.read()["image"].values, frames(3))

    def test_transforms_of_yaml(self, kind: str, tmp_path: Path) -> None:
        cat = opened(tmp_path, kind, f"transforms: {{start: {__name__}.with_sample}}")
        assert cat[SCAN].metadata["start"]["sample"] == {"name": "mended"}
        assert len(cat.search({"sample.name": "mended"})) == 6

    def test_query_of_yaml(self, kind: str, tmp_path: Path) -> None:
        assert len(opened(tmp_path, kind, "query: {plan_name: scan}")) == 3

    def test_filler_class_of_yaml(self, kind: str, tmp_path: Path) -> None:
        assert len(opened(tmp_path, kind, "filler_class: event_model.Filler")) == 6

    def test_called_it_is_itself(self, cat: Any) -> None:
        assert cat() is cat
        assert cat.get() is cat

    def test_pickle(self, cat: Any) -> None:
        copy = pickle.loads(pickle.dumps(cat))
        assert list(copy) == list(cat)
        assert pickle.loads(pickle.dumps(cat.search({"plan_name": "scan"})))[-1].uid == NEWEST

    def test_driver_by_its_names(self, kind: str, tmp_path: Path) -> None:
        files = str(tmp_path / "runs" / f"*.{kind}")
        assert len(getattr(intake, f"open_bluesky_{kind}_catalog")(files)) == 6
        assert len(intake.open_catalog(files, driver=f"bluesky-{kind}-catalog")) == 6
        assert len(getattr(intake, f"open_bluesky_{kind}_catalog")([tmp_path / "runs" / f"{SCAN}.{kind}"])) == 1


QUERIES: list[tuple[ib.query.Query, int]] = [
    (ib.TimeRange(since="2023"), 6),
    (ib.TimeRange(until="2023-11"), 0),
    (ib.TimeRange(since="2023-11-14", until="2023-11-17"), 6),
    (ib.TimeRange(since="2023-11-14 22:14", timezone="UTC"), 2),
    (ib.TimeRange(since="2023-11-14 22:15:01", timezone="UTC"), 1),
    (ib.TimeRange(until=EPOCH + 50), 4),
    (ib.TextQuery("foil"), 1),
    (ib.FullText("ni FOIL"), 1),
    (ib.Key("plan_name") == "scan", 3),
    (ib.Key("start.plan_name") == "scan", 3),
    (ib.Key("stop.exit_status") == "success", 4),
    (ib.Eq("plan_name", "scan"), 3),
    (ib.NotEq("plan_name", "scan"), 3),
    (ib.In("plan_name", ["scan"]), 3),
    (ib.NotIn("plan_name", ["scan", "count"]), 1),
    (ib.Contains("motors", "theta"), 1),
    (ib.Comparison("gt", "scan_id", 8), 1),
    (ib.Regex("plan_name", "^c"), 2),
    (ib.PartialUID(SCAN[:4]), 2),
    (ib.PartialUID(SCAN, COUNT[:6]), 2),
    (ib.ScanID(2), 1),
    (ib.ScanID(1, 2, duplicates="all"), 3),
    (ib.ScanIDRange(1, 9), 4),
    (ib.ScanIDRange(1, 9, duplicates="all"), 5),
    (ib.RawMongo(start={"plan_name": "scan"}), 3),
]


class TestQueries:
    def test_each(self, cat: Any) -> None:
        expected = {repr(query): (count, count) for query, count in QUERIES}
        observed = {repr(query): (len(cat.search(query)), sum(1 for _ in cat.search(query))) for query, _ in QUERIES}
        assert observed == expected

    def test_duplicates_that_are_errors(self, cat: Any) -> None:
        assert len(cat.search(ib.ScanID(1, duplicates="error"))) == 1
        with pytest.raises(ValueError, match="2"):
            len(cat.search(ib.ScanID(2, duplicates="error")))


class TestRun:
    @pytest.fixture
    def run(self, cat: Any) -> Any:
        return cat[SCAN]

    def test_metadata(self, run: Any, cat: Any) -> None:
        assert identical(run.metadata["start"].to_dict(), scan()[0][1])
        assert identical(run.metadata["stop"].to_dict(), scan()[-1][1])
        assert cat[6].metadata["stop"] is None

    def test_streams(self, run: Any) -> None:
        assert set(run) == {"primary", "baseline", "ring_current_monitor"}
        assert run["primary"] == run.primary
        assert "baseline" in run
        assert len(run) == 3
        with pytest.raises(KeyError, match="primary"):
            run["secondary"]
        with pytest.raises(AttributeError, match="'secondary'; it has baseline"):
            _ = run.secondary

    def test_called_it_is_itself(self, run: Any) -> None:
        assert run() is run
        assert run.get() is run

    def test_describe(self, run: Any) -> None:
        described = run.describe()
        assert described["name"] == SCAN
        assert described["metadata"]["start"]["plan_name"] == "scan"

    @pytest.mark.parametrize("fill", ["no", "yes", "delayed"])
    @pytest.mark.parametrize("method", ["documents", "canonical"])
    def test_documents(self, method: str, fill: str, run: Any) -> None:
        assert identical(list(getattr(run, method)(fill=fill)), scan())
        assert identical(list(run.documents(fill=fill, strict_order=False)), scan())

    def test_documents_filled(self, cat: Any) -> None:
        run = cat[67]
        for fill, kind in (("yes", np.ndarray), ("delayed", object), ("no", str)):
            images = [doc["data"]["image"] for name, doc in run.documents(fill=fill) if name == "event"]
            assert all(isinstance(image, kind) for image in images)
            if fill != "no":
                np.testing.assert_array_equal(np.asarray(images[1]), frames(3)[1])
        with pytest.raises(ValueError, match="maybe"):
            run.documents(fill="maybe")

    def test_file_list(self, cat: Any, tmp_path: Path) -> None:
        run = cat[67]
        [resource] = [doc for name, doc in run.documents() if name == "resource"]
        observed = run.get_file_list(resource)
        assert sorted(observed) == sorted(map(str, (tmp_path / "assets").resolve().glob("*.npy")))

    def test_a_run_is_not_read(self, run: Any) -> None:
        for method in (run.read, run.to_dask):
            with pytest.raises(NotImplementedError) as caught:
                method()
            assert isinstance(caught.value, UnsupportedOperation)

    def test_repr(self, run: Any) -> None:
        assert SCAN[:8] in repr(run)
        assert "\n" not in repr(run)

    def test_pretty(self, run: Any) -> None:
        pretty = pytest.importorskip("IPython.lib.pretty").pretty(run)
        for word in (SCAN, "success", "2023-11-1", "primary", "baseline"):
            assert word in pretty

    def test_yaml(self, run: Any, tmp_path: Path) -> None:
        (tmp_path / "run.yml").write_text(run.yaml(), encoding="utf-8")
        assert list(intake.open_catalog(str(tmp_path / "run.yml"))[SCAN]) == [SCAN]

    def test_pickle(self, run: Any) -> None:
        copy = pickle.loads(pickle.dumps(run))
        assert copy.metadata == run.metadata
        assert copy.primary.read().identical(run.primary.read())


class TestStream:
    @pytest.fixture
    def stream(self, cat: Any) -> Any:
        return cat[SCAN].primary

    def test_metadata(self, stream: Any) -> None:
        assert stream.metadata["start"]["uid"] == SCAN
        assert stream.metadata["stop"]["exit_status"] == "success"
        [descriptor] = stream.metadata["descriptors"]
        assert set(descriptor["data_keys"]) == {"theta", "det", "counts"}

    def test_read_and_to_dask(self, stream: Any) -> None:
        eager, lazy = stream.read(), stream.to_dask()
        assert isinstance(eager, xr.Dataset)
        assert all(variable.chunks is None for variable in eager.data_vars.values())
        assert all(variable.chunks for variable in lazy.data_vars.values())
        assert eager.identical(lazy.compute())
        assert eager["theta"].dims == ("time",)

    def test_include_and_exclude(self, stream: Any) -> None:
        assert list(stream(include=["det"]).read()) == ["det"]
        without = stream(exclude=["det"]).to_dask()
        assert (set(without), "theta" in without.coords) == ({"counts"}, True)

    def test_timestamps(self, stream: Any) -> None:
        expected = [doc["timestamps"]["det"] for name, doc in scan() if name == "event_page" and "det" in doc["data"]]
        flat = [stamp for page in expected for stamp in page]
        for source in (stream(sub_dict="timestamps"), stream.timestamps):
            assert source.read()["det"].values.tolist() == flat

    def test_configuration(self, stream: Any) -> None:
        for source in (stream(configuration_for="det"), stream.config["det"]):
            assert source.read()["exposure_time"].values.tolist() == [0.1]
            assert source.to_dask()["model"].values.tolist() == ["Sim"]
        assert stream.config_timestamps["det"].read()["exposure_time"].values.tolist() == [EPOCH]
        with pytest.raises(KeyError, match="nothing"):
            stream.config["nothing"]

    def test_pickle(self, stream: Any) -> None:
        assert pickle.loads(pickle.dumps(stream)).read().identical(stream.read())


class TestDocuments:
    def test_refuse_mutation(self, cat: Any) -> None:
        start = cat[SCAN].metadata["start"]
        assert issubclass(type(start), dict)
        for change in (
            lambda: start.update(a=1), lambda: start.pop("uid"), start.clear, lambda: start.setdefault("a", 1),
            lambda: start.__setitem__("a", 1), lambda: start.__delitem__("uid"), start.popitem,
            lambda: start.__ior__({"a": 1}), lambda: start["sample"].update(a=1), lambda: start["motors"].append("b"),
        ):  # fmt: skip
            with pytest.raises(TypeError):
                change()
        assert identical(start.to_dict(), scan()[0][1])

    def test_to_dict_is_free(self, cat: Any) -> None:
        start = cat[SCAN].metadata["start"]
        copy = start.to_dict()
        copy["sample"]["name"] = "changed"
        assert type(copy) is dict
        assert start["sample"]["name"] == "Ni foil"

    def test_pickle(self, cat: Any) -> None:
        start = cat[SCAN].metadata["start"]
        assert pickle.loads(pickle.dumps(start)) == start

    def test_dask_token(self, cat: Any) -> None:
        one, other = cat[SCAN].metadata["start"], cat[COUNT].metadata["start"]
        assert dask.base.tokenize(one) == dask.base.tokenize(cat[SCAN].metadata["start"])
        assert dask.base.tokenize(one) != dask.base.tokenize(other)


def test_data_key_without_units_has_no_attribute_of_none(tmp_path: Path) -> None:
    run = RunComposer("units", scan_id=5)
    run.event(run.descriptor({"x": data_key("number", units=None, precision=None)}), {"x": 1.0})
    run.stop()
    put(tmp_path / "runs", "jsonl", run.documents)
    dataset = opened(tmp_path, "jsonl")[5].primary.to_dask()
    assert None not in dataset["x"].attrs.values()
    dataset.to_netcdf(tmp_path / "x.nc", engine="h5netcdf")


def test_runs_may_be_missing(tmp_path: Path) -> None:
    """No folder yet: an empty catalog that says why, and runs as they come."""
    cat = opened(tmp_path, "jsonl", "ttl: 0.0")
    assert len(cat) == 0
    assert list(cat) == []
    with pytest.raises(IndexError, match=r"0 runs; not read: .*runs.*no such file"):
        cat[-1]
    with pytest.raises(RunNotFound):
        cat[SCAN]
    put(tmp_path / "runs", "jsonl", scan())
    assert list(cat) == [SCAN]
