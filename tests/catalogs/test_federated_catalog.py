"""Federations in YAML: what sources may be, opened late, each with its own options, none trusted more than its file."""

from __future__ import annotations

import http.server
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import intake
import numpy as np
import pytest
import yaml

from intake_bluesky import BlueskyCatalog, open_catalog
from intake_bluesky.apps.cli import main
from intake_bluesky.catalogs.argument_checks import WrongArgument
from intake_bluesky.catalogs.federated import BlueskyFederatedCatalog
from intake_bluesky.errors import (
    EmptyCatalogWarning,
    SourceLeftOutWarning,
    StoreUnavailable,
    UnsupportedOperation,
    UnsupportedQuery,
    UntrustedName,
)
from intake_bluesky.testing.compose import RunComposer, data_key
from intake_bluesky.testing.memory import MemoryStore
from intake_bluesky.testing.plain_runs import count, scan
from intake_bluesky_jsonl import BlueskyJSONLCatalog

FACILITY = """
sources:
  lab:
    driver: bluesky-jsonl-catalog
    args: {paths: "{{ CATALOG_DIR }}/lab"}
  all:
    driver: bluesky-federated-catalog
    parameters:
      folder: {description: where the second lies, type: str, default: second}
    args:
      sources:
        first: lab
        second: {driver: bluesky-sql-catalog, args: {uri: "sqlite:///{{ CATALOG_DIR }}/{{ folder }}.db"}}
        third: other.yml:runs
      write_to: first
      on_error: warn
"""
OTHER = """
sources:
  runs:
    driver: bluesky-jsonl-catalog
    args: {paths: "{{ CATALOG_DIR }}/images", root_map: {/old: moved}}
"""


def write_into(catalog: Any, *runs: Any) -> None:
    with catalog.writer() as write:
        for run in runs:
            for name, doc in run:
                write(name, doc)


def with_an_image(root: str) -> list[tuple[str, dict[str, Any]]]:
    run = RunComposer("image", time=1.9e9, scan_id=77)
    primary = run.descriptor({"image": data_key("array", [1, 2, 2], external="FILESTORE:")})
    resource = run.resource("NPY_SEQ", root=root, path="image")
    run.event(primary, {"image": run.datum(resource, 0, index=0)})
    run.stop()
    return run.documents


@pytest.fixture
def facility(tmp_path: Path) -> Path:
    """A folder, a database, and a folder of another file, whose images have moved."""
    (tmp_path / "facility.yml").write_text(FACILITY)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "moved").mkdir()
    (tmp_path / "other.yml").write_text(OTHER.replace("moved", "elsewhere/moved"))
    np.save(tmp_path / "elsewhere" / "moved" / "image_0.npy", np.full((2, 2), 7))
    write_into(intake.open_bluesky_jsonl_catalog(str(tmp_path / "lab")), count())
    write_into(intake.open_bluesky_sql_catalog(f"sqlite:///{tmp_path}/second.db"), scan(), count())
    write_into(intake.open_bluesky_jsonl_catalog(str(tmp_path / "images")), with_an_image("/old"))
    return tmp_path


def test_a_facility_in_one_file(facility: Path) -> None:
    """Sources by name, described in their place, and of other files; each finds its files as it is told."""
    catalog = intake.open_catalog(str(facility / "facility.yml")).all
    assert isinstance(catalog, BlueskyFederatedCatalog)
    assert catalog.sources.states == dict.fromkeys(["first", "second", "third"], "not opened yet")
    assert {run.origin.source for run in catalog.values()} == {"first", "second", "third"}
    assert len(catalog) == 3
    assert catalog.sources.counts() == {"first": 1, "second": 2, "third": 1}
    assert int(catalog[77].primary.read()["image"].max()) == 7
    assert catalog[count()[0][1]["uid"]].origin.source == "first", "of two copies"
    assert isinstance(catalog.sources["first"], BlueskyJSONLCatalog)
    assert catalog(folder="none").sources.states["second"] == "not opened yet"


def test_it_is_written_and_seen_by_all(facility: Path) -> None:
    catalog = open_catalog(facility / "facility.yml")["all"]
    run = RunComposer("new", time=2.0e9)
    run.stop()
    write_into(catalog, run.documents)
    assert catalog.refresh()[-1].origin.source == "first"
    assert len(list((facility / "lab").iterdir())) == 2


def test_a_source_that_is_not_there_is_told(facility: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In Python, where it is shown, and by the command line."""
    (facility / "second.db").unlink()
    catalog = open_catalog(facility / "facility.yml")["all"]
    with pytest.warns(SourceLeftOutWarning, match="source 'second' of the federation cannot be read"):
        assert len(catalog) == 2
    assert [problem.where for problem in catalog.problems] == ["second"]
    assert "left out: second" in catalog._lines(100)
    assert "left out: second" in catalog._html()
    assert main(["ls", f"{facility}/facility.yml:all"]) == 0
    told = capsys.readouterr()
    assert "2 runs" in told.out
    assert told.err.startswith("intake-bluesky: source 'second' of the federation cannot be read")


def test_a_saved_one_opens_as_before(facility: Path, tmp_path: Path) -> None:
    catalog = open_catalog(facility / "facility.yml")["all"]
    (tmp_path / "other place").mkdir()
    catalog.search(plan_name="count").save(str(tmp_path / "other place" / "saved.yml"))
    (name,) = saved = open_catalog(tmp_path / "other place" / "saved.yml")
    assert {run.origin.source for run in saved[name].values()} == {"first"}
    assert len(saved[name]) == 1
    lab = intake.open_bluesky_jsonl_catalog(str(facility / "lab"))
    (entry,) = yaml.safe_load(BlueskyFederatedCatalog({"lab": lab}).yaml())["sources"].values()
    assert entry["driver"] == "bluesky-federated-catalog"
    assert entry["args"]["sources"]["lab"]["args"]["paths"] == str(facility / "lab")


def test_names_of_what_is_not_there(facility: Path) -> None:
    lab = BlueskyCatalog(MemoryStore())
    for given, told in (
        ("nothing", "which is no source installed"),
        (f"{facility}/other.yml:nothing", "has no entry 'nothing'; it has 'runs'"),
        (f"{facility}/facility.yml", "has 2 entries: choose one"),
        ({"args": {}}, "it takes driver and args"),
        ({"driver": "no-such-driver", "args": {}}, "no-such-driver"),
        ({"driver": "yaml_file_cat", "args": {"path": f"{facility}/other.yml"}}, "is a YAMLCatalog, and no catalog of"),
    ):
        with pytest.raises(StoreUnavailable, match="source 'odd' of the federation cannot be read") as error:
            len(BlueskyFederatedCatalog({"lab": lab, "odd": given}))
        assert told in str(error.value), given


def test_wrong_arguments() -> None:
    lab = BlueskyCatalog(MemoryStore())
    for arguments, told in (
        ({"sources": {}}, "sources is a mapping"),
        ({"sources": [lab]}, "sources is a mapping"),
        ({"sources": {"a": 3}}, "source 'a' is given as a int"),
        ({"sources": {"a": lab}, "write_to": "b"}, "write_to is one of a"),
        ({"sources": {"a": lab}, "on_error": "ignore"}, "on_error is 'raise', 'warn', 'skip'"),
        ({"sources": {"a": lab}, "timeout": 0}, "timeout is a number"),
        ({"sources": {"a": lab}, "root_map": {"/a": "/b"}}, "root_map is for each source"),
        ({"sources": {"a": lab}, "parameters": ["site"]}, "'parameters' .* is a mapping of values by name"),
    ):
        with pytest.raises(WrongArgument, match=told):
            BlueskyFederatedCatalog(**arguments)


def test_a_cycle_is_an_error_that_names_the_path(tmp_path: Path) -> None:
    """However the sources are named, and before anything goes round."""
    (tmp_path / "round.yml").write_text("""
sources:
  a: {driver: bluesky-federated-catalog, args: {sources: {x: b}}}
  b: {driver: bluesky-federated-catalog, args: {sources: {y: "round.yml:a", z: c}}}
  c: {driver: bluesky-jsonl-catalog, args: {paths: "{{ CATALOG_DIR }}"}}
""")
    catalog = open_catalog(tmp_path / "round.yml")["a"]
    for ask in (len, list, lambda cat: cat["some uid"]):
        with pytest.raises(UnsupportedQuery, match=r"round.yml:b -> .*round.yml:a -> .*round.yml:b"):
            ask(catalog)


def test_ten_sources_and_none_opened(tmp_path: Path) -> None:
    """What is broken is found when it is asked, and not before."""
    sources = {
        f"s{n}": {"driver": "bluesky-jsonl-catalog", "args": {"paths": f"{tmp_path}/{n}/*.jsonl"}} for n in range(9)
    }
    catalog = BlueskyFederatedCatalog({**sources, "odd": "no-such.yml:runs"}, on_error="skip")
    found = catalog.search(plan_name="scan").sort("scan_id")
    assert set(found.sources.states.values()) == {"not opened yet"}
    assert "not opened yet" in repr(found.sources)
    with pytest.warns(EmptyCatalogWarning, match="odd: the source is left out"):
        assert len(found) == 0


def test_secrets_are_not_shown(tmp_path: Path) -> None:
    sources = {
        "bucket": {
            "driver": "bluesky-bucket-catalog",
            "args": {"urlpath": "s3://b/p", "storage_options": {"key": "me", "secret": "hunter2"}},
        },
        "database": {"driver": "bluesky-sql-catalog", "args": {"uri": "postgresql://me:hunter2@localhost/runs"}},
    }
    catalog = BlueskyFederatedCatalog(sources, on_error="skip")
    catalog.save(str(tmp_path / "saved.yml"))
    texts = [repr(catalog), catalog.yaml(), str(catalog.describe()), (tmp_path / "saved.yml").read_text()]
    texts += [one.address for one in catalog.store.sources.openers.values()]
    assert not [text for text in texts if "hunter2" in text]


@pytest.fixture
def served(facility: Path) -> Iterator[str]:
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(facility))
    handler.log_message = lambda *_: None  # type: ignore[attr-defined]
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_file_from_elsewhere_names_no_places_here(facility: Path, served: str) -> None:
    """Neither files of this machine, nor installed catalogs, nor Python objects; of its own server it may."""
    (facility / "evil.yml").write_text(f"""
sources:
  local: {{driver: bluesky-federated-catalog, args: {{sources: {{x: "{facility}/other.yml:runs"}}}}}}
  installed: {{driver: bluesky-federated-catalog, args: {{sources: {{x: someone}}}}}}
  folder:
    driver: bluesky-federated-catalog
    args: {{sources: {{x: {{driver: bluesky-jsonl-catalog, args: {{paths: "{facility}/lab/*.jsonl"}}}}}}}}
  python:
    driver: bluesky-federated-catalog
    args: {{sources: {{x: {{driver: os.path.join, args: {{}}}}}}}}
""")
    catalog = open_catalog(f"{served}/evil.yml")
    for name in ("local", "installed", "folder", "python"):
        with pytest.raises((UntrustedName, StoreUnavailable)) as error:
            len(catalog[name])
        chain = [error.value, error.value.__cause__]
        assert any(isinstance(one, UntrustedName) for one in chain), (name, error.value)
    assert len(catalog["local"](trust=True)) == 1


def test_a_parameter_with_a_text_warns_of_no_shell_command(facility: Path) -> None:
    """In a program with Python's own filters: pytest has others."""
    code = f"import intake_bluesky as ib; ib.open_catalog({str(facility / 'facility.yml')!r})['all'](folder='second')"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stderr == ""


@pytest.mark.parametrize("between", [False, True])
def test_a_federation_that_has_itself_among_its_sources_names_the_way(tmp_path: Path, between: bool) -> None:
    """Intake opens a source of a file once, so what is found is the very federation."""
    write_into(BlueskyJSONLCatalog(str(tmp_path / "lab")), count())
    (tmp_path / "round.yml").write_text(f"""
sources:
  lab: {{driver: bluesky-jsonl-catalog, args: {{paths: "{{{{ CATALOG_DIR }}}}/lab"}}}}
  all: {{driver: bluesky-federated-catalog, args: {{sources: {{lab: lab, other: {"other" if between else "all"}}}}}}}
  other: {{driver: bluesky-federated-catalog, args: {{sources: {{all: all}}}}}}
""")
    path = tmp_path / "round.yml"
    names = ("other", "all", "other") if between else ("all", "all")
    way = " -> ".join(f"{path}:{name}" for name in names)
    catalog = intake.open_catalog(str(path))["all"]
    for _ in range(2):  # also when it was asked before
        with pytest.raises(UnsupportedQuery, match=f"itself among its sources: {way}"):
            len(catalog)


def test_no_sources_are_told() -> None:
    with pytest.raises(WrongArgument, match="not an empty one"):
        BlueskyFederatedCatalog({})


def test_a_dry_run_promises_no_removal() -> None:
    first, second = BlueskyCatalog(MemoryStore([count()])), BlueskyCatalog(MemoryStore())
    both = BlueskyFederatedCatalog({"first": first, "second": second}, write_to="first")
    for catalog in (both, both.search(plan_name="count")):
        for dry_run in (True, False):
            with pytest.raises(UnsupportedOperation, match=r"cat.sources\[name\].remove\(...\), of first, second"):
                catalog.remove({"plan_name": "count"}, dry_run=dry_run)
    assert len(both.sources["first"].remove({"plan_name": "count"}, dry_run=False)) == 1


def test_a_source_that_lacks_an_argument_is_named() -> None:
    with pytest.raises(StoreUnavailable, match=r"source 'group' of a federation has not the arguments.*'uri'"):
        len(BlueskyFederatedCatalog({"group": {"driver": "bluesky-sql-catalog"}}))
