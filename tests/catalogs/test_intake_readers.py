"""Streams and runs as readers of Intake 2: saved, opened by another process in another folder, piped."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import dask.base
import intake
import numpy as np
import pytest
import xarray as xr
import yaml
from intake.readers.entry import Catalog as ReaderCatalog

from intake_bluesky import open_catalog
from intake_bluesky.catalogs import BlueskyRunReader, BlueskyStreamReader
from intake_bluesky.catalogs.run_catalog import BlueskyCatalog
from intake_bluesky.errors import (
    MissingDependency,
    RunNotFound,
    StoreUnavailable,
    StreamNotFound,
    UnsupportedOperation,
)
from intake_bluesky.testing.asset_runs import npy_seq
from intake_bluesky.testing.memory import MemoryStore
from intake_bluesky.testing.runs import EXAMPLES
from intake_bluesky_jsonl import BlueskyJSONLCatalog
from tests.catalogs.other_processes import in_another_process, write


def halves(dataset: xr.Dataset) -> xr.Dataset:
    """What pipelines of these tests call, by its name, in other processes too."""
    return dataset / 2


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("INTAKE_BLUESKY_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def runs(here: Path) -> BlueskyJSONLCatalog:
    return write(BlueskyJSONLCatalog("runs"), EXAMPLES["count"](here), EXAMPLES["scan"](here))  # type: ignore[no-any-return]


@pytest.fixture
def lab(runs: BlueskyJSONLCatalog, here: Path) -> Path:
    path = here / "lab.yml"
    path.write_text(
        "sources: {runs: {driver: bluesky-jsonl-catalog, args: {paths: '{{ CATALOG_DIR }}/runs'}}\n"
        "  , table: {driver: csv, args: {urlpath: table.csv}}}\n"
    )
    return path


class TestName:
    def test_of_the_file_by_which_it_was_opened(self, lab: Path) -> None:
        for opens in (intake.open_catalog, open_catalog):
            reader = opens("lab.yml").runs[-1].reader()
            assert reader.kwargs["catalog"] == {"file": str(lab), "entry": "runs"}
            assert reader.read().start["plan_name"] == "scan"

    def test_searches_give_the_same_reader(self, lab: Path, runs: BlueskyJSONLCatalog) -> None:
        for whole in (open_catalog(lab).runs, runs):
            found = whole.search({"plan_name": "scan"}).sort("scan_id")[-1]
            assert found.primary.reader() == whole[-1].primary.reader()
            assert found.primary.reader().token == whole[-1].primary.reader().token

    def test_arguments_that_the_user_passed_are_not_the_files(self, lab: Path, here: Path) -> None:
        write(BlueskyJSONLCatalog("others"), EXAMPLES["count"](here))
        passed = open_catalog(lab).runs(paths=str(here / "others"))[-1].reader()
        assert passed.kwargs["catalog"] == {
            "driver": "bluesky-jsonl-catalog",
            "args": {"paths": str(here / "others")},
        }
        assert passed.read().start["plan_name"] == "count"

    def test_a_run_that_the_files_query_hides_is_read(self, lab: Path) -> None:
        text = lab.read_text()
        lab.write_text(text.replace("/runs'}", "/runs', query: {plan_name: count}}"))
        reader = open_catalog(lab).runs(query=None)[-1].reader()
        assert reader.read().start["plan_name"] == "scan"

    def test_sources_keep_their_precedence(self, here: Path) -> None:
        one, other = BlueskyJSONLCatalog("z"), BlueskyJSONLCatalog("a")
        for catalog in (one, other):
            write(catalog, EXAMPLES["scan"](here))
        inline = {name: {"driver": "bluesky-jsonl-catalog", "args": {"paths": name}} for name in ("z", "a")}
        nested = {"inner": {"driver": "bluesky-federated-catalog", "args": {"sources": inline}}}
        for sources, first in (({"z": one, "a": other}, "z"), (inline, "z"), (nested, "inner/z")):
            both = intake.open_bluesky_federated_catalog(sources)
            saved = ReaderCatalog()
            saved["scan"], saved["stream"] = both[-1].reader(), both[-1].primary.reader()
            saved.to_yaml_file("saved.yaml")
            again = intake.open_catalog("saved.yaml")["scan"]
            assert again.token == both[-1].reader().token
            assert (again.read().origin.source, both[-1].origin.source) == (first, first)
            token, dataset = in_another_process(here / "saved.yaml", "stream")["stream"]
            assert token == both[-1].primary.reader().token
            assert dataset["data_vars"]["det"]["data"] == both[-1].primary.read()["det"].values.tolist()

    def test_in_a_catalog_written_by_hand(self, lab: Path, runs: BlueskyJSONLCatalog) -> None:
        entry = {
            "reader": "intake_bluesky.catalogs:BlueskyStreamReader",
            "kwargs": {
                "catalog": {"file": "{CATALOG_DIR}/lab.yml", "entry": "runs"},
                "uid": "{which}",
                "stream": "primary",
            },
            "output_instance": "xarray:Dataset",
            "metadata": {},
            "user_parameters": {},
        }
        whole = {"version": 2, "entries": {"scan": entry}, "data": {}, "aliases": {}, "metadata": {}}
        Path("hand.yaml").write_text(yaml.safe_dump({**whole, "user_parameters": {"which": runs[-1].uid}}))
        scan = intake.open_catalog("hand.yaml")["scan"]
        assert scan.read().identical(runs[-1].primary.to_dask())
        Path("hand.yaml").write_text(yaml.safe_dump({**whole, "user_parameters": {}}))
        with pytest.raises(UnsupportedOperation, match=r"'\{which\}', given as uid.*fills in what stands in braces"):
            _ = intake.open_catalog("hand.yaml")["scan"]


class TestRefused:
    def test_a_store_object(self, here: Path) -> None:
        run = BlueskyCatalog(MemoryStore([EXAMPLES["scan"](here)]))[-1]
        for one in (run, run.primary):
            with pytest.raises(UnsupportedOperation, match="made of a store object, which YAML cannot name"):
                one.reader()

    def test_a_run_of_no_catalog(self, here: Path) -> None:
        run = BlueskyCatalog(MemoryStore([EXAMPLES["scan"](here)]))[-1]
        stream, run.cat = run.primary, None
        with pytest.raises(UnsupportedOperation, match=r"^run .* was not opened from a catalog"):
            run.reader()
        stream.cat = None
        with pytest.raises(UnsupportedOperation, match=r"^stream 'primary' of run .* was not opened from a catalog"):
            stream.reader()

    def test_braces_which_intake_fills_in(self, here: Path) -> None:
        run = write(BlueskyJSONLCatalog("runs of {me}"), EXAMPLES["scan"](here))[-1]
        with pytest.raises(UnsupportedOperation, match=r"runs of \{me\}', given as catalog args paths"):
            run.reader()

    def test_options_of_assets_that_the_catalog_has_not(self, runs: BlueskyJSONLCatalog) -> None:
        stream = runs[-1].primary
        other = stream(assets=stream.cat.origin.assets.__class__(root_map={"/a": "/b"}))
        with pytest.raises(UnsupportedOperation, match="assets of its own"):
            other.reader()

    def test_what_yaml_does_not_hold(self) -> None:
        with pytest.raises(UnsupportedOperation, match="ndarray, given as catalog args paths"):
            BlueskyRunReader({"driver": "x", "args": {"paths": np.zeros(1)}}, "uid")

    @pytest.mark.parametrize(
        ("catalog", "error", "told"),
        [
            ({"file": "gone.yml", "entry": "runs"}, FileNotFoundError, "gone.yml"),
            ({"file": "lab.yml", "entry": "gone"}, StoreUnavailable, "has no entry 'gone'; it has 'runs', 'table'"),
            ({"file": "lab.yml"}, UnsupportedOperation, "by file and entry, or by driver and args, not by file"),
            ({}, UnsupportedOperation, "not by nothing"),
            ({"driver": "no-such", "args": {}}, MissingDependency, "the driver 'no-such', which no installed"),
            ({"file": "lab.yml", "entry": "table"}, StoreUnavailable, "is a CSVSource, and no catalog of runs"),
        ],
    )
    def test_a_catalog_that_is_not_there(
        self, lab: Path, catalog: dict[str, Any], error: type[Exception], told: str
    ) -> None:
        reader = BlueskyRunReader(catalog, "uid")
        with pytest.raises(error, match=told):
            reader.read()

    def test_a_run_or_stream_that_is_not_there(self, runs: BlueskyJSONLCatalog) -> None:
        run = runs[-1]
        with pytest.raises(StreamNotFound, match="no stream 'gone'"):
            run.reader()["gone"].read()
        with pytest.raises(KeyError, match="no key 'detector'"):
            run.primary.reader()(include=["detector"]).read()
        with pytest.raises(RunNotFound):  # a beginning of a uid is none
            run.reader()(uid=run.uid[:8]).read()
        reader = run.reader()
        shutil.rmtree("runs")
        with pytest.raises(RunNotFound):
            reader.read()


class TestReader:
    def test_pipes_by_functions_of_modules(self, runs: BlueskyJSONLCatalog) -> None:
        stream = runs[-1].primary
        piped = stream.reader().apply(halves)
        assert piped.read().identical(halves(stream.to_dask()))
        saved = ReaderCatalog()
        saved["halves"], saved["mean"] = piped, stream.reader()["det"].mean()
        saved.to_yaml_file("saved.yaml")
        again = intake.open_catalog("saved.yaml")
        assert again["halves"].read().identical(piped.read())
        assert float(again["mean"].read()) == stream.read()["det"].values.mean()

        def nested(dataset: xr.Dataset) -> xr.Dataset:
            return dataset + len(token)

        token = piped.token
        with pytest.raises(RuntimeError, match="dynamically defined"):
            saved["nested"] = stream.reader().apply(nested)

    def test_the_run(self, runs: BlueskyJSONLCatalog) -> None:
        reader = runs[-1].reader()
        assert reader.read() == runs[-1]
        assert reader.apply(list).read() == list(runs[-1])
        assert reader["primary"].token == runs[-1].primary.reader().token
        assert reader.to_entry().to_reader() == reader

    def test_copies_have_the_token(self, runs: BlueskyJSONLCatalog) -> None:
        for reader in (runs[-1].reader(), runs[-1].primary(exclude=("det",)).reader()):
            for again in (pickle.loads(pickle.dumps(reader)), reader(), eval(repr(reader))):
                assert type(again) is type(reader)
                assert again.token == reader.token
                assert dask.base.tokenize(again) == dask.base.tokenize(reader)
            assert reader().metadata == reader.metadata == {"plan_name": "scan", "scan_id": 2, "time": 1700000100.0}

    def test_options_in_any_form_have_one_token(self, runs: BlueskyJSONLCatalog) -> None:
        stream = runs[-1].primary
        tokens = {stream(include=form).reader().token for form in ("det", ["det"], ("det",))}
        assert len(tokens) == 1
        assert stream.reader().token not in tokens
        assert stream(target_chunk="1 MiB").reader() == stream(target_chunk=2**20).reader()
        assert stream.config["det"].reader().read().identical(stream.config["det"].read())

    def test_is_found_in_a_catalog_of_readers(self, runs: BlueskyJSONLCatalog) -> None:
        saved = ReaderCatalog()
        token = saved.add_entry(runs[-1].primary.reader())
        saved.give_name(token, "scan")
        assert list(saved) == ["scan"]
        assert runs[-1].primary.reader() in saved
        assert runs[-2].primary.reader() not in saved

    def test_files_of_runs_are_found_by_the_catalogs_root_map(self, here: Path) -> None:
        run = write(BlueskyJSONLCatalog("runs"), npy_seq(here / "assets"))[-1]
        expected = run.primary.read()
        (here / "assets").rename(here / "moved")
        moved = BlueskyJSONLCatalog("runs", root_map={str(here / "assets"): Path("moved").absolute()})
        saved = ReaderCatalog()
        saved["frames"] = moved[-1].primary.reader()
        saved.to_yaml_file("saved.yaml")
        _, dataset = in_another_process(here / "saved.yaml", "frames")["frames"]
        assert dataset == json.loads(json.dumps(expected.to_dict()))

    def test_reads_the_run_as_it_is_then(self, here: Path) -> None:
        pairs = list(EXAMPLES["scan"](here))
        runs = BlueskyJSONLCatalog("runs")
        (_, start), *rest = pairs
        with runs.store.insert(start) as insert:
            half = len(rest) // 2
            for pair in rest[:half]:
                insert.write(*pair)
            insert.flush() if hasattr(insert, "flush") else None
            reader = runs.refresh()[-1].reader()
            before = reader.read()
            for pair in rest[half:]:
                insert.write(*pair)
        assert not before.is_complete
        assert reader.read().is_complete
        assert reader["primary"].read().sizes["time"] == 11


def test_names_of_the_classes_are_those_in_yaml() -> None:
    for reader in (BlueskyRunReader, BlueskyStreamReader):
        assert intake.import_name(reader.qname()) is reader
