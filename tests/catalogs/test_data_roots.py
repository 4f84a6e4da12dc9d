"""Folders in which documents of another machine may name files: who may name them, and what they reach."""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import intake
import pytest
import yaml

from intake_bluesky import BlueskyCatalog, open_catalog
from intake_bluesky.apps.validate import validate
from intake_bluesky.catalogs.argument_checks import WrongArgument
from intake_bluesky.errors import UntrustedName, WrongSetting
from intake_bluesky.runtime import data_roots
from intake_bluesky.testing import EXAMPLES, MemoryStore

DRIVER = "data_roots_catalog"
URL = "memory://data-roots/catalog.yml"
VARIABLE = "INTAKE_BLUESKY_DATA_ROOTS"


class Remote(MemoryStore):
    """A store whose documents come from another machine."""

    trusts_paths = False


RUNS = Remote()


class RemoteCatalog(BlueskyCatalog):
    name = DRIVER

    def __init__(self, label: str = "", **kwargs: Any) -> None:
        super().__init__(RUNS, **kwargs)


@pytest.fixture(autouse=True)
def detectors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of the one run's files."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv(VARIABLE, raising=False)
    folder = tmp_path / "detectors"
    folder.mkdir()
    RUNS.put(EXAMPLES["npy_seq"](folder))
    intake.register_driver(DRIVER, RemoteCatalog, clobber=True)
    yield folder
    intake.unregister_driver(DRIVER)
    for run in list(RUNS.find()):
        RUNS.remove(run.uid)
    fsspec.filesystem("memory").store.clear()


def readable(cat: Any) -> bool:
    """Whether the files are read, of which `files` and `validate` say the same."""
    exist = [file.exists for file in cat[-1].files()]
    try:
        cat[-1].primary.read()
    except UntrustedName:
        assert not any(exist)
        assert validate(cat[-1])
        return False
    assert all(exist)
    assert not list(validate(cat[-1]))
    return True


def configured(tmp_path: Path, text: str) -> None:
    """Write the user's configuration, as a new process meets it."""
    path = tmp_path / "config" / "intake-bluesky" / "config.yml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    data_roots._configured.cache_clear()


def text_of(**args: Any) -> str:
    return yaml.safe_dump({"sources": {"runs": {"driver": DRIVER, "container": "catalog", "args": args}}})


def elsewhere(**args: Any) -> Any:
    with fsspec.open(URL, "w") as file:
        file.write(text_of(**args))
    return open_catalog(URL)["runs"]


def test_argument(detectors: Path, tmp_path: Path) -> None:
    assert not readable(RemoteCatalog())
    assert not readable(RemoteCatalog(data_roots=[tmp_path / "detector"]))
    assert readable(RemoteCatalog(data_roots=[detectors]))
    assert readable(pickle.loads(pickle.dumps(RemoteCatalog(data_roots=[str(detectors)]))))
    assert readable(RemoteCatalog(data_roots=[str(detectors)]).search(scan_id=67))
    with pytest.raises(WrongArgument, match=r"'data_roots' .* a list of folders or URLs, data_roots: \[/data\]"):
        RemoteCatalog(data_roots=str(detectors))


def test_yaml_of_this_machine_names_folders_beside_it_and_is_saved(tmp_path: Path) -> None:
    (tmp_path / "catalog.yml").write_text(text_of(data_roots=["detectors"]))
    cat = open_catalog(str(tmp_path / "catalog.yml"))["runs"]
    assert readable(cat)
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "again.yml").write_text(cat.serialize())
    assert readable(open_catalog(str(tmp_path / "saved" / "again.yml"))["runs"])


def test_environment_and_configuration(detectors: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, os.pathsep.join(["/nowhere", str(detectors)]))
    assert readable(RemoteCatalog())
    monkeypatch.delenv(VARIABLE)
    configured(tmp_path, f"data_roots: [/nowhere, {detectors}]")
    assert readable(RemoteCatalog())
    configured(tmp_path, "")
    assert not readable(RemoteCatalog())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("data_roots: [relative]", r"config\.yml names 'relative', which is no absolute path"),
        ("data_roots: /data", r"is a list of folders, data_roots: \[/data\], not '/data'"),
        ("roots: [/data]", r"has one key, data_roots, and was found to have roots"),
        ("[/data]", "was found to have no keys, but a list"),
        ("data_roots: [", r"config\.yml cannot be read as YAML"),
    ],
)
def test_a_configuration_that_cannot_be_is_told_where_it_counts(text: str, message: str, tmp_path: Path) -> None:
    configured(tmp_path, text)
    with pytest.raises(WrongSetting, match=message):
        RemoteCatalog()[-1]
    assert BlueskyCatalog(MemoryStore([EXAMPLES["count"](tmp_path)]))[-1].scan_id == 1  # whose documents are of here
    configured(tmp_path, "")


def test_a_file_from_elsewhere_names_no_root_of_this_machine(detectors: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UntrustedName, match="as one of its data_roots"):
        elsewhere(data_roots=[str(detectors)])[-1]
    # Nor does it get what the user allows catalogs of their own; but what they pass to it.
    monkeypatch.setenv(VARIABLE, str(detectors))
    assert not readable(elsewhere())
    assert readable(elsewhere()(data_roots=[str(detectors)]))


def test_links_and_dots_lead_nowhere_else(detectors: Path, tmp_path: Path) -> None:
    allowed = tmp_path / "allowed"
    allowed.mkdir()
    for file in detectors.iterdir():
        (allowed / file.name).symlink_to(file)
    root_map = {str(detectors): str(allowed)}
    assert not readable(RemoteCatalog(data_roots=[str(allowed)]))
    with pytest.raises(UntrustedName, match=r"a link to .*add the line `data_roots: \["):
        RemoteCatalog(root_map=root_map)[-1].primary.read()
    assert readable(RemoteCatalog(root_map=root_map, data_roots=[str(detectors)]))
    # A root may be a link itself.
    (tmp_path / "link").symlink_to(detectors)
    assert readable(RemoteCatalog(data_roots=[str(tmp_path / "link")]))
