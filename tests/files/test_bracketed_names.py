"""Folders and files whose names look like patterns: those that are there by that very name are meant."""

from __future__ import annotations

from pathlib import Path

import fsspec
import intake
import pytest

from intake_bluesky.apps.cli.open_catalog import find_catalog
from intake_bluesky.catalogs.installed import search_path
from intake_bluesky.testing.plain_runs import count, scan
from intake_bluesky_jsonl import JSONLStore
from tests.files.runs import lines, uid_of, uids

FOLDERS = ("runs [2024]", "[ab]", "what?", "a*", "[")


@pytest.mark.parametrize("name", FOLDERS)
@pytest.mark.parametrize("given", ["", "*.jsonl", "[r]un.jsonl", "run[1].jsonl", "**/*.jsonl", "../*/r*.jsonl"])
def test_runs_in_a_folder_that_is_called_like_a_pattern(name: str, given: str, tmp_path: Path) -> None:
    folder = tmp_path / name
    folder.mkdir()
    file = "run[1].jsonl" if "1" in given else "run.jsonl"
    (folder / file).write_bytes(lines(scan()))
    store = JSONLStore(f"{folder}/{given}")
    assert uids(store) == [uid_of(scan())]
    assert list(store.problems()) == []
    store.close()


@pytest.mark.parametrize("given", ["", "*.jsonl"])
def test_runs_are_written_into_it(given: str, tmp_path: Path) -> None:
    folder = tmp_path / "runs [2024]"
    folder.mkdir()
    store = JSONLStore(f"{folder}/{given}")
    with store.insert({"uid": "abc", "time": 1.0}):
        pass
    assert [path.name for path in folder.glob("*.jsonl")] == ["abc.jsonl"]
    assert uids(store) == ["abc"]
    store.close()


def test_a_pattern_is_one_where_no_folder_has_its_name(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
    (tmp_path / "a" / "x.jsonl").write_bytes(lines(scan()))
    (tmp_path / "b" / "x.jsonl").write_bytes(lines(count()))
    store = JSONLStore(f"{tmp_path}/[ab]/*.jsonl")
    assert set(uids(store)) == {uid_of(scan()), uid_of(count())}
    (tmp_path / "[ab]").mkdir()
    store.refresh()
    assert uids(store) == []
    store.close()


@pytest.mark.parametrize("given", ["", "/*.jsonl", "/run[1].jsonl"])
def test_remote_folders_too(given: str, folder: Path) -> None:
    url = f"memory://{folder.name}-[2024]"
    with fsspec.open(f"{url}/run[1].jsonl", "wb") as file:
        file.write(lines(scan()))
    store = JSONLStore(f"{url}{given}")
    assert uids(store) == [uid_of(scan())]
    store.close()


def test_yaml_files_in_such_a_folder_and_the_command_find_the_runs(tmp_path: Path) -> None:
    folder = tmp_path / "runs [2024]"
    folder.mkdir()
    (folder / "a.jsonl").write_bytes(lines(scan()))
    yaml = folder / "c.yml"
    yaml.write_text(
        "sources:\n  c:\n    driver: bluesky-jsonl-catalog\n    args:\n      paths: '{{ CATALOG_DIR }}/*.jsonl'\n"
    )
    assert len(intake.open_catalog(str(yaml)).c) == 1
    assert search_path.yaml_files(search_path.CatalogLocation(str(yaml), "INTAKE_PATH")) == ([str(yaml)], None)
    for given in (yaml, folder, folder / "*.jsonl", folder / "a.*"):
        assert len(find_catalog(str(given))) == 1


def test_the_command_takes_what_a_driver_writes_before_what_it_reads_too(tmp_path: Path) -> None:
    (tmp_path / "about.json").write_text("{}")
    (tmp_path / "a.msgpack").write_bytes(b"")
    assert type(find_catalog(str(tmp_path))).__name__ == "BlueskyMsgpackCatalog"
    (tmp_path / "a.msgpack").unlink()
    assert type(find_catalog(str(tmp_path))).__name__ == "BlueskyJSONLCatalog"
