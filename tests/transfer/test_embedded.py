"""Arrays of files, copied into the hierarchies of a Zarr catalog: what is there can be read without the files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
import xarray as xr

from intake_bluesky import BlueskyCatalog, ingest
from intake_bluesky.apps.cli import main
from intake_bluesky.datasets.zarr_runs.write import _Target
from intake_bluesky.errors import UnsupportedOperation
from intake_bluesky.testing import EXAMPLES, MemoryStore
from intake_bluesky.testing.asset_runs import frames, npy_seq, stream_hdf5, two_files, write_hdf5
from intake_bluesky.testing.differences import assert_documents
from intake_bluesky.testing.plain_runs import scan, unfinished
from intake_bluesky_jsonl import BlueskyJSONLCatalog
from intake_bluesky_msgpack import BlueskyMsgpackCatalog
from intake_bluesky_sql import BlueskySQLCatalog
from intake_bluesky_zarr import BlueskyZarrCatalog
from tests.drivers.test_bucket import options_of
from tests.transfer.conftest import put
from tests.transfer.packed_runs import catalog, differing, read_all


@pytest.fixture(params=["disk", pytest.param("s3", marks=pytest.mark.slow)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, dict[str, Any]]:
    if request.param == "disk":
        return str(tmp_path / "zarr"), {}
    options = options_of(request.getfixturevalue("buckets").endpoint)
    return f"s3://private/{uuid4().hex}", options


@pytest.mark.parametrize("arrays", ["auto", "never"])
def test_arrays_are_read_without_their_files(arrays: Any, place: tuple[str, dict[str, Any]], tmp_path: Path) -> None:
    url, options = place
    made = [make(tmp_path / "data" / make.__name__) for make in (npy_seq, stream_hdf5, two_files)] + [scan()]
    source = catalog(*made)
    before = read_all(source)
    into = BlueskyZarrCatalog(url, arrays=arrays, storage_options=options)
    planned = ingest.copy(source, into=into, assets="embed", dry_run=True)
    assert "would be embedded" in repr(planned)
    report = ingest.copy(source, into=into, assets="embed").check()
    assert len(report.copied) == 4
    assert len(report.arrays) == len(planned.arrays) >= 3
    assert all(one.new and len(one.sha256) == 64 for one in report.arrays)
    assert "arrays embedded" in repr(report)
    assert json.loads(json.dumps(report.to_dict()))["arrays"][0]["stream"] == "primary"
    again = ingest.copy(source, into=into, assets="embed").check()
    assert len(again.skipped) == 4
    assert not [one for one in again.arrays if one.new]
    assert [one.sha256 for one in again.arrays] == [one.sha256 for one in report.arrays]
    (tmp_path / "data").rename(tmp_path / "gone")
    into.store.close()
    reader = BlueskyZarrCatalog(url, arrays=arrays, storage_options=options)
    assert differing(before, read_all(reader)) == []
    for run in made:
        assert_documents(list(reader.store.documents(run[0][1]["uid"])), run)
    # From one to another, without the files.
    onward = BlueskyZarrCatalog(str(tmp_path / "onward"), arrays="never")
    ingest.copy(reader, into=onward, assets="embed").check()
    assert differing(before, read_all(onward)) == []


def test_every_example_is_embedded_or_refused_with_the_reason(tmp_path: Path) -> None:
    made = [EXAMPLES[name](tmp_path / "data" / name) for name in EXAMPLES]
    source = catalog(*made)
    before = read_all(source)
    into = BlueskyZarrCatalog(tmp_path / "zarr", arrays="never")
    report = ingest.copy(source, into=into, assets="embed")
    assert sorted([*report.copied, *report.refused, *report.unfinished]) == sorted(source)
    assert {one.uid for one in report.arrays}.isdisjoint(report.refused)
    for why in report.refused.values():
        assert "embedded" in why or "there" in why or "missing" in why, why
    assert len({one.uid for one in report.arrays}) >= 7
    (tmp_path / "data").rename(tmp_path / "gone")
    reader = BlueskyZarrCatalog(tmp_path / "zarr")
    found = read_all(reader)
    assert [key for key in found if _differ(found[key], before[key])] == []
    left = {path.name.partition(".")[0] for path in (tmp_path / "zarr").iterdir() if path.name[0] not in "._"}
    assert left == set(report.copied)


def _differ(one: xr.Dataset | str, other: xr.Dataset | str) -> bool:
    return isinstance(other, xr.Dataset) and not (isinstance(one, xr.Dataset) and one.identical(other))


def test_run_whose_file_is_missing_is_refused(tmp_path: Path) -> None:
    run = two_files(tmp_path / "data")
    next(path for path in (tmp_path / "data").rglob("*") if path.is_file()).unlink()
    into = BlueskyZarrCatalog(tmp_path / "zarr")
    for dry_run in (True, False):
        report = ingest.copy(catalog(run, scan()), into=into, assets="embed", dry_run=dry_run)
        assert report.copied == [scan()[0][1]["uid"]]
        assert "not there" in report.refused[run[0][1]["uid"]]
    assert list(into.refresh()) == [scan()[0][1]["uid"]]


def test_other_drivers_refuse_before_anything_is_copied(tmp_path: Path) -> None:
    source = catalog(stream_hdf5(tmp_path / "data"), scan())
    for into in (
        BlueskyJSONLCatalog(str(tmp_path / "jsonl")),
        BlueskyMsgpackCatalog(str(tmp_path / "msgpack")),
        BlueskySQLCatalog(str(tmp_path / "runs.db")),
        BlueskyCatalog(MemoryStore()),
    ):
        with pytest.raises(UnsupportedOperation, match=r"never changes documents.*Zarr catalog.*assets='copy'"):
            ingest.copy(source, into=into, assets="embed")
        with pytest.raises(UnsupportedOperation, match="give assets='copy'"):
            ingest.copy(source, into=into, assets="embed", assets_into=tmp_path)
    assert not list(tmp_path.glob("*/*.jsonl"))


def test_storage_that_keeps_something_else_is_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And what is there already, with other values, is left alone."""
    write = _Target.__setitem__

    def wrong(self: _Target, key: Any, value: Any) -> None:
        write(self, key, value + np.uint8(value.ndim > 2))

    source, into = catalog(stream_hdf5(tmp_path / "data")), BlueskyZarrCatalog(tmp_path / "zarr")
    with monkeypatch.context() as patched:
        patched.setattr(_Target, "__setitem__", wrong)
        report = ingest.copy(source, into=into, assets="embed")
    assert "is not what is in the files: it was taken out again" in "".join(report.refused.values())
    assert list(into.refresh()) == report.arrays == []
    assert not list((tmp_path / "zarr").glob("*.zarr*"))
    ingest.copy(source, into=into, assets="embed").check()
    before = read_all(into.refresh())
    write_hdf5(tmp_path / "data" / "stream.h5", frames(5, first=9))
    again = ingest.copy(source, into=into, assets="embed")
    assert "already, with other values" in "".join(again.refused.values())
    assert differing(before, read_all(into.refresh())) == []


def test_beginning_in_the_target_gets_its_arrays_with_the_rest(tmp_path: Path) -> None:
    run = stream_hdf5(tmp_path / "data")
    into = BlueskyZarrCatalog(tmp_path / "zarr", arrays="never")
    put(into, [run[:-2]])
    into.store.close()
    source = catalog(run, unfinished())
    before = source[run[0][1]["uid"]].primary.read()
    into = BlueskyZarrCatalog(tmp_path / "zarr", arrays="never")
    report = ingest.copy(source, into=into, assets="embed").check()
    assert report.copied == [run[0][1]["uid"]]
    assert report.arrays
    (tmp_path / "data").rename(tmp_path / "gone")
    assert into[run[0][1]["uid"]].primary.read().identical(before)


def test_another_run_of_the_uid_keeps_its_arrays(tmp_path: Path) -> None:
    run = stream_hdf5(tmp_path / "data")
    other = [(name, {**doc, "exit_status": "abort"} if name == "stop" else doc) for name, doc in run]
    into = BlueskyZarrCatalog(tmp_path / "zarr")
    ingest.copy(catalog(other), into=into, assets="embed").check()
    before = read_all(into.refresh())
    report = ingest.copy(catalog(run), into=into, assets="embed")
    assert "another run of this uid" in "".join(report.refused.values())
    (tmp_path / "data").rename(tmp_path / "gone")
    assert differing(before, read_all(BlueskyZarrCatalog(tmp_path / "zarr"))) == []


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = BlueskyJSONLCatalog(str(tmp_path / "source"))
    put(source, [stream_hdf5(tmp_path / "data")])
    source.store.close()
    target = f"""
sources:
  zarr: {{driver: bluesky-zarr-catalog, args: {{urlpath: "{tmp_path}/zarr"}}}}
"""
    (tmp_path / "zarr.yml").write_text(target)
    assert main(["copy", str(tmp_path / "source"), str(tmp_path / "zarr.yml"), "--assets", "embed"]) == 0
    assert "1 run copied (20 documents), 2 arrays embedded (" in capsys.readouterr().out
    assert main(["copy", str(tmp_path / "source"), str(tmp_path / "n.db"), "--assets", "embed"]) != 0
    assert "bluesky-zarr-catalog" in capsys.readouterr().err
