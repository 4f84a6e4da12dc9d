"""Outputs of simulations as runs: what their start documents say, what is found, and what their streams are."""

from __future__ import annotations

import math
import pickle
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest
import xarray as xr
from dask.base import tokenize
from event_model import DocumentNames, schema_validators

from intake_bluesky import BlueskyCatalog, Data, Start, ingest
from intake_bluesky.apps.validate import validate
from intake_bluesky.catalogs.argument_checks import WrongArgument
from intake_bluesky.errors import EmptyCatalogWarning, PluginError, UnsupportedQuery
from intake_bluesky.query import from_mongo
from intake_bluesky.search.given_queries import as_query
from intake_bluesky.testing import MemoryStore
from intake_bluesky_jsonl import BlueskyJSONLCatalog
from intake_bluesky_simulation import BlueskySimulationCatalog
from tests.drivers.simulated import LATTICE, bytes_read, pattern, sweep, write


@pytest.fixture
def sims(tmp_path: Path) -> BlueskySimulationCatalog:
    for a in LATTICE:
        for seed in (1, 2):
            write(pattern(a, seed=seed, code="powder"), tmp_path / f"Si_a_{a}_seed_{seed:03d}.nc")
    return BlueskySimulationCatalog(tmp_path / "Si_a_{a:f}_seed_{seed:d}.nc", name="sims")


def only(catalog: BlueskyCatalog) -> Any:
    [run] = catalog.values()
    return run


class TestStarts:
    """Start documents of files."""

    def test_parameters_come_from_the_path(self, sims: BlueskySimulationCatalog) -> None:
        observed = sorted(tuple(run.start["parameters"].items()) for run in sims.values())
        assert observed == [(("a", a), ("seed", seed)) for a in LATTICE for seed in (1, 2)]

    def test_a_start_has_the_time_of_the_file_and_what_the_catalog_says(self, tmp_path: Path) -> None:
        path = write(pattern(5.43), tmp_path / "a_5.43.nc")
        catalog = BlueskySimulationCatalog(
            tmp_path / "a_{a:f}.nc",
            parameters={"temperature": 300},
            program={"name": "powder", "version": "2.1"},
            inputs=["Si.cif"],
            models=Start("sample.name") == "Si",
            start={"sample": {"name": "Si"}, "group": "theory"},
        )
        start = only(catalog).start
        assert UUID(start["uid"]).version == 5
        assert {name: value for name, value in start.items() if name != "uid"} == {
            "time": path.stat().st_mtime_ns / 1e9,
            "plan_name": "simulation",
            "sample": {"name": "Si"},
            "group": "theory",
            "program": {"name": "powder", "version": "2.1"},
            "inputs": ["Si.cif"],
            "models": {
                "query": {
                    "intake-bluesky query": 1,
                    "query": {
                        "node": "Compare", "op": "==", "value": "Si",
                        "path": {"node": "Path", "document": "start", "segments": ["sample", "name"], "descend": False},
                    },
                }
            },
            "parameters": {"temperature": 300, "a": 5.43},
        }  # fmt: skip

    @pytest.mark.parametrize(
        ("models", "expected"),
        [(["abc", "def"], ["abc", "def"]), ({"uids": ["abc"]}, ["abc"])],
    )
    def test_models_may_be_uids(self, tmp_path: Path, models: object, expected: list[str]) -> None:
        write(pattern(5.43), tmp_path / "one.nc")
        catalog = BlueskySimulationCatalog(tmp_path, models=models)  # type: ignore[arg-type]
        assert only(catalog).start["models"] == {"uids": expected}

    def test_models_may_be_a_query_in_any_form(self, tmp_path: Path) -> None:
        write(pattern(5.43), tmp_path / "one.nc")
        forms = (
            Start("sample.name") == "Si", "text: sample.name == 'Si'", {"query": "text: sample.name == 'Si'"},
        )  # fmt: skip
        models = [only(BlueskySimulationCatalog(tmp_path, models=form)).start["models"] for form in forms]
        assert models == models[:1] * 3
        mongo = only(BlueskySimulationCatalog(tmp_path, models={"sample.name": "Si"}))
        assert as_query(mongo.start["models"]["query"]) == from_mongo({"sample.name": "Si"})
        with pytest.raises(UnsupportedQuery, match="a query or words"):
            BlueskySimulationCatalog(tmp_path, models="sample.name == 'Si'")

    def test_the_name_of_a_program_alone_is_one(self, tmp_path: Path) -> None:
        write(pattern(5.43), tmp_path / "one.nc")
        catalog = BlueskySimulationCatalog(tmp_path, program="powder")
        assert only(catalog).start["program"] == {"name": "powder"}
        assert len(catalog.search("text: program.name == 'powder'")) == 1

    def test_attributes_are_parameters_where_they_are_asked_for(self, sims: BlueskySimulationCatalog) -> None:
        chosen = sims(attributes=["code"])
        assert {run.start["parameters"]["code"] for run in chosen.values()} == {"powder"}
        whole = sims(attributes="all")
        assert {tuple(run.start["parameters"]) for run in whole.values()} == {("a", "seed", "title", "code")}

    def test_attributes_are_read_once(
        self, sims: BlueskySimulationCatalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("INTAKE_BLUESKY_CACHE", str(tmp_path / "cache"))
        assert len(sims(attributes=["code"])) == 6
        unreadable = "the file was opened again"
        monkeypatch.setattr(
            "intake_bluesky_simulation.output_file.OutputFile.attributes", lambda *_: pytest.fail(unreadable)
        )
        again = sims(attributes=["code", "title"])
        assert {run.start["parameters"]["title"] for run in again.values()} == {"Si"}

    def test_an_attribute_tells_the_time(self, tmp_path: Path) -> None:
        for place, told in enumerate(["2026-05-01T12:00:00+02:00", "2026-05-01T10:00:00", 1777629600, 1777629600.0]):
            write(pattern(5.43, created=told), tmp_path / f"{place}.nc")
        catalog = BlueskySimulationCatalog(tmp_path, time="created")
        assert [run.start["time"] for run in catalog.values()] == [1777629600.0] * 4

    def test_names_stay_the_same_in_other_catalogs_of_the_same_files(
        self, sims: BlueskySimulationCatalog, tmp_path: Path
    ) -> None:
        others = [
            BlueskySimulationCatalog(tmp_path, parameters={"more": 1}),
            BlueskySimulationCatalog([str(tmp_path / "*_001.nc"), str(tmp_path / "*_00[2-9].nc")]),
            pickle.loads(pickle.dumps(sims)),
        ]
        assert [set(other) for other in others] == [set(sims)] * 3

    def test_a_pattern_passes_over_nothing_silently(self, sims: BlueskySimulationCatalog, tmp_path: Path) -> None:
        write(pattern(5.43), tmp_path / "Si_a_none_seed_1.nc")
        assert len(sims.refresh()) == 6
        [problem] = sims.problems
        assert problem.where.endswith("Si_a_none_seed_1.nc")
        assert "cannot be read" in problem.message
        # A second pattern that reads it solves that.
        both = BlueskySimulationCatalog([tmp_path / "Si_a_{a:f}_seed_{seed:d}.nc", tmp_path / "Si_a_{a}_seed_1.nc"])
        assert (len(both), both.problems) == (7, ())

    def test_folders_and_nested_folders(self, tmp_path: Path) -> None:
        for folder in ("cold/x", "warm/y"):
            (tmp_path / folder).mkdir(parents=True)
            write(pattern(5.43), tmp_path / folder / "a_5.43.nc")
        (tmp_path / "cold" / "notes.txt").write_text("no simulation", encoding="utf-8")
        nested = BlueskySimulationCatalog(tmp_path / "{state}/**/a_{a:f}.nc")
        states = {"cold", "warm"}
        assert {run.start["parameters"]["state"] for run in nested.values()} == states
        assert len(BlueskySimulationCatalog(tmp_path / "cold")) == 0
        assert len(BlueskySimulationCatalog(tmp_path / "cold" / "x")) == 1

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({}, "either paths or a source"),
            ({"paths": "x", "source": "y"}, "either paths or a source"),
            ({"source": 5}, "given as a int"),
            ({"paths": "a_{a:x}.nc"}, "none that paths have"),
            ({"paths": "x", "sweep": ["a", "a"]}, "list of different names"),
            ({"paths": "x", "program": {"version": 1}}, "name and version"),
            ({"paths": "x", "models": []}, "a list of uids"),
            ({"paths": "x", "start": {"uid": "abc"}}, "follows from the path"),
            ({"paths": "x", "start": {"time": "now"}}, "seconds since 1970"),
            ({"paths": "x", "start": {"time": 1e301}}, "seconds since 1970"),
            ({"paths": "x", "parametres": {}}, "did you mean 'parameters'"),
        ],
    )
    def test_arguments_that_cannot_be(self, arguments: dict[str, object], message: str) -> None:
        with pytest.raises((WrongArgument, PluginError), match=message):
            BlueskySimulationCatalog(**arguments)  # type: ignore[arg-type]


class TestSearch:
    """They are found like any runs."""

    def test_by_a_parameter(self, sims: BlueskySimulationCatalog) -> None:
        found = sims.search(Start("parameters.a") > 5.43)
        assert {run.start["parameters"]["a"] for run in found.values()} == {5.44}
        assert len(sims.search("text: parameters.a > 5.43 and parameters.seed == 1")) == 1

    def test_distinct_and_sort(self, sims: BlueskySimulationCatalog) -> None:
        assert sorted(sims.distinct("parameters.a")["parameters.a"]) == list(LATTICE)
        ordered = sims.sort("-parameters.a", "parameters.seed")
        expected = [(a, seed) for a in reversed(LATTICE) for seed in (1, 2)]
        assert [tuple(run.start["parameters"].values()) for run in ordered.values()] == expected

    def test_by_data(self, sims: BlueskySimulationCatalog) -> None:
        assert len(sims.search(Data("I").max() > 0.5)) == 6
        assert len(sims.search(Data("I").max() > 2)) == 0


class TestStreams:
    """A stream is the Dataset of the file."""

    @pytest.mark.parametrize("ending", [".nc", ".zarr"])
    def test_reads_as_xarray_opens_the_file(self, tmp_path: Path, ending: str) -> None:
        path = write(pattern(5.43), tmp_path / f"one{ending}")
        run = only(BlueskySimulationCatalog(tmp_path))
        engine = "zarr" if ending == ".zarr" else "h5netcdf"
        with xr.open_dataset(path, engine=engine) as expected:
            xr.testing.assert_identical(run.primary.to_dask().compute(), expected.load())
            xr.testing.assert_identical(run.primary.read(), expected)
            xr.testing.assert_identical(run.primary(include=["I"]).read(), expected[["I"]])

    def test_dates_durations_and_gaps_are_as_xarray_decodes_them(self, tmp_path: Path) -> None:
        days = np.array(["2026-05-01", "NaT", "2026-05-03"], "M8[ns]")
        dataset = xr.Dataset(
            {
                "when": ("step", days),
                "lasting": ("step", days - days[0]),
                "packed": ("step", [0.5, np.nan, 1.5], {}, {"dtype": "i2", "scale_factor": 0.5, "_FillValue": -1}),
                "flag": ("step", [True, False, True]),
                "grid": (("x", "y"), np.arange(6).reshape(2, 3)),
            }
        )
        path = write(dataset, tmp_path / "one.nc")
        run = only(BlueskySimulationCatalog(tmp_path))
        with xr.open_dataset(path, engine="h5netcdf") as expected:
            xr.testing.assert_identical(run.primary.read(), expected.load())

    def test_groups_are_further_streams(self, tmp_path: Path) -> None:
        path = write(pattern(5.43), tmp_path / "one.nc")
        inner = xr.Dataset({"energy": ("step", [3.0, 2.0, 1.5])})
        inner.to_netcdf(path, engine="h5netcdf", mode="a", group="relaxation/steps")
        run = only(BlueskySimulationCatalog(tmp_path))
        assert list(run) == ["primary", "relaxation_steps"]
        xr.testing.assert_identical(run["relaxation_steps"].read(), inner)

    def test_as_events(self, tmp_path: Path) -> None:
        write(pattern(5.43), tmp_path / "one.nc")
        run = only(BlueskySimulationCatalog(tmp_path))
        events = run.primary(as_events=True).read()
        assert events.sizes == {"time": 40}
        assert events["seq_num"].values.tolist() == list(range(1, 41))
        assert run.primary.to_dataframe().columns.tolist() == ["time", "I", "label", "tth"]

    def test_another_dimension_may_make_the_events(self, tmp_path: Path) -> None:
        dataset = xr.Dataset({"map": (("x", "y"), np.arange(6.0).reshape(2, 3))})
        write(dataset, tmp_path / "one.nc")
        run = only(BlueskySimulationCatalog(tmp_path, events="y"))
        assert run.header.streams["primary"].events == 3
        xr.testing.assert_identical(run.primary.read(), dataset)

    def test_every_document_is_valid(self, sims: BlueskySimulationCatalog) -> None:
        for uid in sims:
            names = []
            for name, doc in sims.store.documents(uid):
                names.append(name)
                schema_validators[DocumentNames[name]].validate(doc)
            assert names == ["start", "descriptor", "event_page", "stop"]
        assert list(validate(sims)) == []

    @pytest.mark.parametrize("kind", ["memory", "jsonl"])
    def test_copies_read_back_identical(self, sims: BlueskySimulationCatalog, tmp_path: Path, kind: str) -> None:
        into = BlueskyCatalog(MemoryStore()) if kind == "memory" else BlueskyJSONLCatalog(tmp_path / "copies")
        ingest.copy(sims, into=into)
        assert set(into) == set(sims)
        for uid in sims:
            assert into[uid].start == sims[uid].start
            xr.testing.assert_identical(into[uid].primary.read(), sims[uid].primary.read())
        into.store.close()


class TestSweeps:
    """A run a point, of one file."""

    @pytest.mark.parametrize("ending", [".nc", ".zarr"])
    def test_each_point_is_the_selection_of_it(self, tmp_path: Path, ending: str) -> None:
        path = write(sweep(), tmp_path / f"sweep{ending}")
        catalog = BlueskySimulationCatalog(path, sweep="a")
        assert {tuple(run.start["parameters"]) for run in catalog.values()} == {("a", "temperature")}
        with xr.open_dataset(path, engine="zarr" if ending == ".zarr" else "h5netcdf") as whole:
            for run in catalog.values():
                expected = whole.sel(a=run.start["parameters"]["a"]).load()
                xr.testing.assert_identical(run.primary.to_dask().compute(), expected)
                xr.testing.assert_identical(run.primary.read(), expected)

    def test_several_dimensions_and_several_files(self, tmp_path: Path) -> None:
        values = np.arange(2 * 3 * 4.0).reshape(2, 3, 4)
        for sample in ("Si", "Ge"):
            write(xr.Dataset({"I": (("a", "b", "q"), values)}, {"a": [1.5, 2.5]}), tmp_path / f"{sample}.nc")
        catalog = BlueskySimulationCatalog(tmp_path / "{sample}.nc", sweep=["a", "b"])
        told = {tuple(run.start["parameters"].items()): run for run in catalog.values()}
        assert len(told) == 12
        # Without a coordinate the place along the dimension is the parameter.
        run = told[("sample", "Si"), ("a", 2.5), ("b", 1)]
        assert run.primary.read()["I"].values.tolist() == values[1, 1].tolist()

    def test_names_stay_the_same_when_the_sweep_grows(self, tmp_path: Path) -> None:
        path = write(sweep(), tmp_path / "sweep.nc")
        catalog = BlueskySimulationCatalog(path, sweep="a")
        before = {run.start["parameters"]["a"]: run.uid for run in catalog.values()}
        path.unlink()
        write(sweep((5.41, *LATTICE)), path)
        after = {run.start["parameters"]["a"]: run.uid for run in catalog.refresh().values()}
        assert {a: after[a] for a in LATTICE} == before
        assert len(after) == 4

    def test_points_that_are_the_same_are_a_problem(self, tmp_path: Path) -> None:
        write(sweep().assign_coords(a=[1.0, 1.0, 2.0], temperature=("a", [3, 3, 3])), tmp_path / "sweep.nc")
        catalog = BlueskySimulationCatalog(tmp_path, sweep="a")
        with pytest.warns(EmptyCatalogWarning):
            assert len(catalog) == 0
        assert "more than once" in catalog.problems[0].message

    def test_a_sweep_over_what_is_not_there_is_a_problem(self, tmp_path: Path) -> None:
        write(sweep(), tmp_path / "sweep.nc")
        catalog = BlueskySimulationCatalog(tmp_path, sweep="b")
        assert "has no dimension 'b'; it has 'a', 'tth'" in catalog.problems[0].message

    def test_a_sweep_over_dimensions_of_values_is_a_problem(self, tmp_path: Path) -> None:
        write(xr.Dataset({"I": (("a", "x", "y"), np.zeros((2, 1024, 1024), np.int8))}), tmp_path / "sweep.nc")
        catalog = BlueskySimulationCatalog(tmp_path, sweep=["a", "x", "y"])
        assert "would be 2,097,152 runs" in catalog.problems[0].message

    def test_short_floats_are_found_by_the_numbers_that_they_stand_for(self, tmp_path: Path) -> None:
        values = np.array([5.42, 5.43], np.float32)
        write(xr.Dataset({"I": (("a", "q"), np.zeros((2, 3)))}, {"a": values}), tmp_path / "sweep.nc")
        catalog = BlueskySimulationCatalog(tmp_path, sweep="a")
        assert len(catalog.search(Start("parameters.a") == 5.43)) == 1

    def test_dates_and_text_are_parameters(self, tmp_path: Path) -> None:
        days = np.array(["2026-05-01", "2026-05-02"], "M8[ns]")
        dataset = xr.Dataset(
            {"I": (("day", "q"), np.zeros((2, 3)))}, {"day": days, "label": ("day", np.array(["x", "y"], object))}
        )
        write(dataset, tmp_path / "sweep.nc")
        catalog = BlueskySimulationCatalog(tmp_path, sweep="day")
        found = sorted(tuple(run.start["parameters"].values()) for run in catalog.values())
        assert [(day[:10], label) for day, label in found] == [("2026-05-01", "x"), ("2026-05-02", "y")]


class TestLaziness:
    """What is read, counted in bytes."""

    @pytest.fixture(autouse=True)
    def imported(self, tmp_path_factory: pytest.TempPathFactory) -> None:
        """Do all of it once with another file: modules that are imported are bytes, too."""
        path = write(sweep(), tmp_path_factory.mktemp("before") / "n_1.nc")
        for catalog in (
            BlueskySimulationCatalog(path.with_name("n_{n:d}.nc")),
            BlueskySimulationCatalog(path, sweep="a"),
        ):
            for run in catalog.search(Start("plan_name") == "simulation").values():
                run.primary.to_dask().compute()

    def test_a_point_reads_its_chunk_and_listing_reads_none(self, tmp_path: Path) -> None:
        many = np.arange(64.0)
        large = xr.Dataset({"I": (("a", "q"), np.random.default_rng(1).random((64, 2**15)))}, {"a": many})
        path = write(large, tmp_path / "a_1.nc", encoding={"I": {"chunksizes": (1, 2**15)}})  # 64 of 256 KiB
        plain = BlueskySimulationCatalog(tmp_path / "a_{n:d}.nc")
        before = bytes_read()
        assert len(plain) == 1
        assert len(plain.search(Start("parameters.n") == 1)) == 1
        assert bytes_read() - before < 2**16, "a listing opened the file"
        catalog = BlueskySimulationCatalog(path, sweep="a")
        before = bytes_read()
        lazy = [run.primary.to_dask() for run in catalog.values()]
        opened = bytes_read() - before
        assert opened < 2**20, "opening runs reads no values"  # which are 16 MiB
        before = bytes_read()
        lazy[5]["I"].compute()
        assert 2**18 <= bytes_read() - before < 2 * 2**18

    def test_a_contiguous_array_is_read_in_parts(self, tmp_path: Path) -> None:
        large = xr.Dataset({"I": (("a", "q"), np.zeros((64, 2**15)))}, {"a": np.arange(64.0)})
        path = write(large, tmp_path / "sweep.nc", encoding={"I": {"contiguous": True}})
        run = next(iter(BlueskySimulationCatalog(path, sweep="a").values()))
        lazy = run.primary.to_dask()
        before = bytes_read()
        lazy["I"].compute()
        assert bytes_read() - before < 2 * 2**18

    def test_dask_arrays_are_of_storage_chunks_and_named_the_same(self, tmp_path: Path) -> None:
        dataset = xr.Dataset({"I": (("q", "x"), np.zeros((100, 50)))})
        path = write(dataset, tmp_path / "one.nc", encoding={"I": {"chunksizes": (10, 50)}})
        first, second = (only(BlueskySimulationCatalog(path)).primary.to_dask() for _ in range(2))
        assert first["I"].chunks == ((100,), (50,)), "small chunks are merged"
        assert tokenize(first["I"].data) == tokenize(second["I"].data)
        again = pickle.loads(pickle.dumps(first))
        xr.testing.assert_identical(again.compute(), dataset)
        assert len(pickle.dumps(first)) < 20_000

    def test_ten_thousand_points_are_listed_from_one_opening(self, tmp_path: Path) -> None:
        dataset = xr.Dataset({"I": (("a", "q"), np.zeros((10_000, 4)))}, {"a": np.arange(10_000) / 1e4})
        catalog = BlueskySimulationCatalog(write(dataset, tmp_path / "sweep.nc"), sweep="a")
        assert len(catalog) == 10_000
        assert len(catalog.search(Start("parameters.a") > 0.5)) == 4_999
        assert math.isclose(catalog.sort("parameters.a")[-1].start["parameters"]["a"], 0.9999)
