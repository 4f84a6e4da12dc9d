"""Parameters of YAML files: a value that was chosen holds, for all that the file names, for as long as it is used."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import intake
import pytest

from intake_bluesky import open_catalog
from intake_bluesky.catalogs.argument_checks import WrongArgument
from intake_bluesky.catalogs.federated import BlueskyFederatedCatalog
from intake_bluesky.errors import StoreUnavailable

SITE = "{description: where, type: str, default: env(A_SITE), allowed: ['', lab, cluster]}"
OUTER = """
metadata: {parameters: {site: SITE}}
sources:
  runs: {driver: bluesky-jsonl-catalog, container: catalog, args: {paths: "{{ CATALOG_DIR }}/outer-{{ site }}"}}
  inner: {driver: yaml_file_cat, container: catalog, args: {path: "{{ CATALOG_DIR }}/inner.yml"}}
  all:
    driver: bluesky-federated-catalog
    container: catalog
    args:
      sources:
        beside: runs
        below: inner.runs
        other: inner.yml:runs
        plain: plain.yml:runs
        here: {driver: bluesky-jsonl-catalog, args: {paths: "{{ CATALOG_DIR }}/here-{{ site }}"}}
      parameters: {site: "{{ site }}"}
  without:
    driver: bluesky-federated-catalog
    container: catalog
    args: {sources: {beside: runs, other: inner.yml:runs}}
""".replace("SITE", SITE)
INNER = """
metadata: {parameters: {site: SITE}}
sources:
  runs: {driver: bluesky-jsonl-catalog, container: catalog, args: {paths: "{{ CATALOG_DIR }}/inner-{{ site }}"}}
""".replace("SITE", SITE)
PLAIN = 'sources: {runs: {driver: bluesky-jsonl-catalog, args: {paths: "{{ CATALOG_DIR }}/plain"}}}'


@pytest.fixture
def outer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("A_SITE", raising=False)
    for name, text in (("outer", OUTER), ("inner", INNER), ("plain", PLAIN)):
        (tmp_path / f"{name}.yml").write_text(text, encoding="utf-8")
    return tmp_path / "outer.yml"


def place(catalog: Any) -> str:
    return Path(catalog.store.folder).name


def places(catalog: BlueskyFederatedCatalog) -> dict[str, str]:
    return {name: place(source) for name, source in catalog.sources.items()}


def test_a_value_holds_when_the_file_is_read_again_copied_or_pickled(outer: Path) -> None:
    chosen = open_catalog(outer)(site="lab")
    nested = chosen.inner
    for catalog in (
        chosen,
        chosen(ttl=5),
        pickle.loads(pickle.dumps(chosen)),
        pickle.loads(pickle.dumps(chosen(ttl=5))),
    ):
        for _ in range(2):
            assert place(catalog.runs) == "outer-lab"
            assert (
                place(catalog.inner.runs)
                == place(catalog["inner.runs"])
                == place(catalog["inner", "runs"])
                == "inner-lab"
            )
            catalog.force_reload()
    nested.force_reload()
    assert place(nested.runs) == place(pickle.loads(pickle.dumps(nested)).runs) == "inner-lab"
    assert place(chosen(site="cluster").runs) == "outer-cluster"


def test_it_holds_for_several_files_opened_as_one(outer: Path) -> None:
    (outer.parent / "inner.yml").write_text(INNER.replace("  runs:", "  others:"), encoding="utf-8")
    chosen = open_catalog([outer, outer.parent / "inner.yml"])(site="lab")
    for catalog in (chosen, pickle.loads(pickle.dumps(chosen))):
        for _ in range(2):
            assert (place(catalog.runs), place(catalog.others)) == ("outer-lab", "inner-lab")
            catalog.force_reload()


def test_the_file_may_change_its_defaults(outer: Path) -> None:
    catalog = open_catalog(outer)
    chosen = catalog(site="lab")
    outer.write_text(OUTER.replace("default: env(A_SITE)", "default: cluster"), encoding="utf-8")
    for one in (catalog, chosen):
        one.force_reload()
    assert (place(catalog.runs), place(chosen.runs)) == ("outer-cluster", "outer-lab")


@pytest.mark.parametrize("opens", [open_catalog, intake.open_catalog], ids=["ours", "intake"])
def test_all_ways_to_choose_one(outer: Path, opens: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    catalog = opens(str(outer))
    assert places(catalog.all)["other"] == "inner-"
    expected = {"beside": "outer-lab", "below": "inner-lab", "other": "inner-lab", "plain": "plain", "here": "here-lab"}
    for federation in (
        catalog(site="lab").all,
        catalog.all(site="lab"),
        pickle.loads(pickle.dumps(catalog.all(site="lab"))),
    ):
        assert places(federation) == places(federation.search({"scan_id": 1})) == expected
    assert place(catalog.runs(site="lab")) == place(catalog.runs(site="cluster")(site="lab")) == "outer-lab"
    monkeypatch.setenv("A_SITE", "lab")
    assert places(opens(str(outer)).all) == expected
    assert places(opens(str(outer)).without) == {"beside": "outer-lab", "other": "inner-lab"}


def test_in_python(outer: Path) -> None:
    sources = {"a": f"{outer}:runs", "b": f"{outer.parent}/plain.yml:runs"}
    federation = BlueskyFederatedCatalog(sources, parameters={"site": "cluster"})
    assert places(federation) == {"a": "outer-cluster", "b": "plain"}
    federation.save(str(outer.parent / "saved.yml"))
    (saved,) = open_catalog(outer.parent / "saved.yml").values()
    assert places(saved) == {"a": "outer-cluster", "b": "plain"}


def test_what_cannot_be(outer: Path) -> None:
    catalog = open_catalog(outer)
    asked: list[Callable[[], Any]] = [
        lambda: catalog.runs(site="moon"),
        lambda: catalog(site="moon").runs,
        lambda: BlueskyFederatedCatalog({"a": f"{outer}:runs"}, parameters={"site": "moon"}).sources["a"],
    ]
    for ask in asked:
        with pytest.raises(StoreUnavailable, match="site=moon is not one of the allowed values: ,lab,cluster"):
            ask()
    with pytest.raises(WrongArgument, match="has no argument 'sit'"):
        catalog.all(sit="lab")
    with pytest.raises(TypeError, match="sit"):
        catalog(sit="lab")


def test_parameters_of_a_source_in_the_place_of_a_name_are_refused(outer: Path) -> None:
    """Its templates are filled in with those of the federation: its own would silently be empty."""
    outer.write_text("""
sources:
  all:
    driver: bluesky-federated-catalog
    args:
      sources:
        a:
          driver: bluesky-jsonl-catalog
          parameters: {folder: {description: "", type: str, default: runs}}
          args: {paths: "{{ CATALOG_DIR }}/{{ folder }}"}
""")
    with pytest.raises(StoreUnavailable, match="source 'a' of a federation declares parameters, which are lost there"):
        len(intake.open_catalog(str(outer)).all)
