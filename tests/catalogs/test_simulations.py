"""Simulations beside experiments: which are of which, and how near each comes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from intake.catalog import Catalog

from intake_bluesky import BlueskyCatalog, Start, compare
from intake_bluesky.apps.terminal.trees import describe_run, run_tree
from intake_bluesky.catalogs.argument_checks import WrongArgument
from intake_bluesky.catalogs.display.listing import listing_html, listing_text
from intake_bluesky.errors import DamagedRun, UnsupportedOperation
from intake_bluesky.query import to_json
from intake_bluesky.testing.compose import RunComposer, data_key
from intake_bluesky.testing.examples import Run
from intake_bluesky.testing.memory import MemoryStore

X = np.linspace(0, 10, 51)


def peak(name: str, centre: float, **start: Any) -> Run:
    run = RunComposer(name, **start)
    primary = run.descriptor({"x": data_key("number"), "I": data_key("number")})
    run.page(primary, {"x": X.tolist(), "I": np.exp(-((X - centre) ** 2)).tolist()})
    run.stop()
    return run.documents


@pytest.fixture(scope="module")
def measured() -> BlueskyCatalog:
    runs = [peak("si", 5.1, sample={"name": "Si"}, scan_id=1), peak("ge", 6.1, sample={"name": "Ge"}, scan_id=2)]
    return BlueskyCatalog(MemoryStore(runs))


@pytest.fixture(scope="module")
def sims(measured: BlueskyCatalog) -> BlueskyCatalog:
    of_si: dict[str, Any] = {"query": "text: sample.name == 'Si'"}
    runs = [peak(f"sim{a}", a, parameters={"a": a, "shape": "gauss"}, models=of_si) for a in (4.0, 5.0, 6.0)]
    runs.append(peak("of uids", 6.0, parameters={"a": 6.0}, models={"uids": [measured[2].uid, "gone"]}))
    runs.append(peak("of none", 6.0, parameters={"a": 7.0}))
    return BlueskyCatalog(MemoryStore(runs))


def parameters(catalog: BlueskyCatalog) -> list[float]:
    return sorted(run.start["parameters"]["a"] for run in catalog.values())


def test_links_lead_both_ways(measured: BlueskyCatalog, sims: BlueskyCatalog) -> None:
    assert parameters(measured[1].simulations(sims)) == [4.0, 5.0, 6.0]
    assert parameters(measured[2].simulations(sims)) == [6.0]
    assert parameters(measured[1].simulations(sims.search(Start("parameters.a") > 4.5))) == [5.0, 6.0]
    for run in sims.search(Start("models").exists()).values():
        back = run.experiments(measured)
        assert [one.scan_id for one in back.values()] == ([2] if "uids" in run.start["models"] else [1])
        assert all(run.uid in one.simulations(sims) for one in back.values())
    with pytest.raises(UnsupportedOperation, match="does not say which runs it models"):
        sims.search(Start("parameters.a") == 7.0)[-1].experiments(measured)


@pytest.mark.parametrize(
    "models",
    ["text: sample.name == 'Si'", {"sample.name": "Si"}, {"query": {"sample.name": "Si"}},
     {"query": to_json(Start("sample.name") == "Si")}, {"query": "sample.name == 'Si'"}],
)  # fmt: skip
def test_forms_of_a_query(models: Any, measured: BlueskyCatalog) -> None:
    one = BlueskyCatalog(MemoryStore([peak("s", 1.0, models=models)]))
    try:
        found = list(one[-1].experiments(measured))
    except DamagedRun as error:
        assert "query" in str(error)  # noqa: PT017  # text that is to be a query says so
        assert models == {"query": "sample.name == 'Si'"} or isinstance(models, dict)
        return
    assert found == [measured[1].uid]
    assert list(measured[1].simulations(one)) == [one[-1].uid]


@pytest.mark.parametrize("models", [5, ["a"], {"uids": "a"}, {"uids": [1]}, {"query": 5}, "text: ="])
def test_what_is_no_link_is_an_error(models: Any, measured: BlueskyCatalog) -> None:
    one = BlueskyCatalog(MemoryStore([peak("s", 1.0, models=models)]))
    with pytest.raises(DamagedRun, match="models of run"):
        one[-1].experiments(measured)
    with pytest.raises(DamagedRun, match="models of run"):
        measured[1].simulations(one)


def test_a_run_beside_a_simulation(measured: BlueskyCatalog, sims: BlueskyCatalog) -> None:
    run, sim = measured[1], sims.search(Start("parameters.a") == 5.0)[-1]
    found = compare(run, sim, on="x")
    assert list(found) == ["measured", "simulated", "difference"]
    assert found.measured.chunks is not None
    assert found.attrs == {"measured_run": run.uid, "simulated_run": sim.uid}
    assert float(compare(run, run, on="x").rms) < 1e-9
    assert float(found.rms) == pytest.approx(
        float(compare(run.primary.read(), sim.primary.read(), on="x", key="I").rms)
    )


def test_every_point_of_a_sweep(measured: BlueskyCatalog, sims: BlueskyCatalog) -> None:
    table = measured[1].simulations(sims).compare
    found = table(measured[1], on="x", key="I")
    assert found["parameters.a"].tolist()[0] == 5.0
    assert list(found) == ["parameters.a", "parameters.shape", "rms", "factor", "offset", "points"]
    assert found["rms"].is_monotonic_increasing
    best = compare(measured[1], sims[found.index[0]], on="x", key="I")
    assert found["rms"].iloc[0] == pytest.approx(float(best.rms))
    assert found["points"].tolist() == [51] * 3
    assert table(measured[1].primary.read(), on="x", key="I").equals(found)


def test_simulations_that_cannot_be_compared_are_told() -> None:
    """They come last, and cost no other."""
    other = RunComposer("other", parameters={"a": 1.0})
    descriptor = other.descriptor({"y": data_key("number")})
    other.page(descriptor, {"y": [1.0, 2.0]})
    other.stop()
    flat = RunComposer("flat", parameters={"a": 2.0})
    descriptor = flat.descriptor({"x": data_key("number"), "I": data_key("number")})
    flat.page(descriptor, {"x": [0.0, 10.0], "I": [1.0, 1.0]})
    flat.stop()
    run = BlueskyCatalog(MemoryStore([peak("m", 5.0)]))[-1]
    odd = MemoryStore([other.documents, flat.documents, peak("good", 5.0, parameters={"a": 3.0})])
    found = BlueskyCatalog(odd).compare(run, on="x", key="I")
    assert found["parameters.a"].tolist()[0] == 3.0
    problems = found.set_index("parameters.a")["problem"]
    assert "nothing simulated is called 'x'" in problems[1.0]
    assert "the simulated values are all the same there" in problems[2.0]
    with pytest.raises(UnsupportedOperation, match="none of 2 simulations can be compared"):
        BlueskyCatalog(MemoryStore([other.documents, flat.documents])).compare(run, on="x", key="I")
    assert len(BlueskyCatalog(MemoryStore()).compare(run, on="x", key="I")) == 0


def test_what_is_no_run_or_catalog_of_runs_is_told(measured: BlueskyCatalog, sims: BlueskyCatalog) -> None:
    given: Any
    file = Catalog.from_dict({"one": sims, "two": measured})
    for given, told in (
        (file, "a catalog of others.*it has 'one', 'two'"),
        ("sims", "'sims': open it first"),
        (3, "a int"),
    ):
        for found_in in (measured[1].simulations, sims[-1].simulations):
            with pytest.raises(WrongArgument, match=told):
                found_in(given)
        with pytest.raises(WrongArgument, match=told):
            sims.search(Start("models").exists())[-1].experiments(given)
    for run, simulation in ((measured[1], sims), (sims, measured[1])):
        given = (run, simulation)
        with pytest.raises(WrongArgument, match=r"a run or an xarray.Dataset, not a BlueskyCatalog: .*compare\(run"):
            compare(*given, on="x")
    given = measured
    with pytest.raises(WrongArgument, match="not a BlueskyCatalog"):
        sims.compare(given, on="x")


def test_parameters_are_seen(sims: BlueskyCatalog) -> None:
    """In the table of a catalog, and in the line of a run."""
    [one] = sims.search(Start("parameters.a") == 5.0).values()
    assert " (a=5.0, shape=gauss) " in repr(one)
    head, *rows = listing_text(sims._listing(), 120).splitlines()[1:]
    assert "parameters" in head.split()
    assert sum("a=" in row for row in rows) == 5
    assert "scan_id" not in head.split(), "none has one"
    assert "a=5.0, shape=gauss" in listing_html(sims._listing())
    assert "  parameters a=5.0, shape=gauss" in one._lines(100).splitlines()
    assert "a=5.0, shape=gauss" in one._html()
    assert "parameters a=5.0, shape=gauss" in [str(branch.label) for branch in run_tree(describe_run(one)).children]


def test_a_query_of_many_uids_is_cut_in_a_notebook(sims: BlueskyCatalog) -> None:
    uids = [f"{n:032d}" for n in range(500)]
    html = listing_html(sims.search(Start("uid").is_in(uids))._listing())
    assert uids[0] in html
    assert uids[-1] not in html
