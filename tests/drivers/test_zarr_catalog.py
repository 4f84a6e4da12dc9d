"""The driver of documents and arrays beside each other: the conformance suite, what it writes, requests, failures."""

from __future__ import annotations

import copy
import json
import logging
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar
from uuid import uuid4

import intake
import pytest
import xarray as xr

from intake_bluesky.apps.cli import main
from intake_bluesky.datasets.zarr_runs import targets
from intake_bluesky.documents.model import identical
from intake_bluesky.errors import DuplicateRun, MissingDependency, RunNotFound
from intake_bluesky.files.bucket.store import BucketStore
from intake_bluesky.testing import EXAMPLES
from intake_bluesky.testing.compose import RunComposer, data_key
from intake_bluesky.testing.examples import Run
from intake_bluesky.testing.plain_runs import count, rewound, scan, unfinished
from intake_bluesky.testing.stores import StoreRemovalTests, StoreTests
from intake_bluesky_bucket import BlueskyBucketCatalog
from intake_bluesky_zarr import BlueskyZarrCatalog
from intake_bluesky_zarr.store import ZarrStore
from tests.datasets.zarr_runs.test_examples import check_tree
from tests.drivers.test_bucket import InBucket, _CountingCodec, cache, options_of, place, write
from tests.servers.proxy import Proxy
from tests.servers.s3 import Buckets

__all__ = ["cache", "place"]

SCAN = str(scan()[0][1]["uid"])


class InZarr(InBucket):
    """Each finished run with its hierarchy."""

    def make_store(self, folder: Path) -> ZarrStore:
        return ZarrStore(
            self.url(folder), _CountingCodec(), arrays="always", storage_options=self.options(), flush_seconds=60
        )


@pytest.mark.slow
class TestZarrOnDisk(InZarr, StoreTests[ZarrStore]):
    """The whole suite, in folders."""


@pytest.mark.slow
class TestZarrInS3(InZarr, StoreRemovalTests[ZarrStore]):
    """What moves and deletes objects."""

    endpoint: ClassVar[str]

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def server(cls, buckets: Buckets) -> None:
        cls.endpoint = buckets.endpoint

    def url(self, folder: Path) -> str:
        return f"s3://private/{folder.parent.name}-{uuid4().hex}"

    def options(self) -> Mapping[str, Any]:
        return options_of(self.endpoint)


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name != "_index")


def check_read(catalog: BlueskyZarrCatalog, documents: Run, *, parsed: bool = False) -> None:
    """The run is read as its documents have it; whether events were parsed for that."""
    other = BlueskyZarrCatalog(catalog.store.urlpath, arrays="never")  # type: ignore[attr-defined]  # ours
    uid = str(documents[0][1]["uid"])
    assert identical(list(other.store.documents(uid)), documents)
    store: ZarrStore = other.store  # type: ignore[assignment]  # this driver's
    expected = {name: BucketStore.event_pages(store, uid, name) for name in other[uid]}
    for name, pages in expected.items():
        seq_num = [number for page in pages for number in page.seq_num.tolist()]
        assert sorted(set(seq_num)) == other[uid][name].read()["seq_num"].values.tolist()
        assert (store.arrays(uid, name) is None) is parsed
    other.store.close()


def large(events: int = 40_000) -> Run:
    run = RunComposer("large")
    descriptor = run.descriptor({"x": data_key("number")})
    values = [hash((number, "x")) / 7 for number in range(events)]
    run.page(descriptor, {"x": values})
    run.stop()
    return run.documents


@pytest.mark.parametrize("small", [targets.SMALL, 0], ids=["zip", "folder"])
def test_xarray_alone_reads_what_was_written(
    small: int, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(targets, "SMALL", small)
    (tmp_path / "data").mkdir()
    examples = [EXAMPLES[name](tmp_path / "data") for name in ("stream_hdf5", "rewound")] + [scan()]
    catalog = BlueskyZarrCatalog(tmp_path / "runs", arrays="always")
    write(catalog, *examples)
    catalog.store.close()
    ending = ".zarr.zip" if small else ".zarr"
    uids = [str(run[0][1]["uid"]) for run in examples]
    assert names_in(tmp_path / "runs") == sorted(f"{uid}{end}" for uid in uids for end in (".jsonl.zst", ending))
    reader = BlueskyZarrCatalog(tmp_path / "runs")
    for uid, documents in zip(uids, examples, strict=True):
        check_tree(reader[uid], str(tmp_path / "runs" / f"{uid}{ending}"))
        check_read(reader, documents, parsed=uid == uids[1])
    assert main(["index", str(tmp_path / "runs")]) == 0
    assert "3 runs, 0 problems" in capsys.readouterr().out
    # Detectors' files are in it, too.
    expected = reader[uids[0]].primary.read()
    for path in (tmp_path / "data").iterdir():
        path.unlink()
    again = pickle.loads(pickle.dumps(BlueskyZarrCatalog(tmp_path / "runs")))
    xr.testing.assert_identical(again[uids[0]].primary.to_dask().compute(scheduler="threads"), expected)
    for one in (reader, again):
        one.store.close()


@pytest.mark.slow
def test_requests(proxy: Proxy, place: str, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = options_of(proxy.endpoint)
    catalog = BlueskyZarrCatalog(place, arrays="always", storage_options=options)
    write(catalog, scan())
    catalog.store.close()
    put = {request.path.partition("?")[0].rpartition("/")[2] for request in proxy.requests if request.method == "PUT"}
    assert {name for name in put if not name.startswith("t-")} == {f"{SCAN}.jsonl.zst", f"{SCAN}.zarr.zip"}
    # Of its documents, of which the arrays are made: to describe the run, and of each stream the times and the values.
    assert proxy.count("GET") <= 1 + 2 * 3
    monkeypatch.setenv("INTAKE_BLUESKY_CACHE", str(tmp_path / "another"))
    reader = BlueskyZarrCatalog(place, storage_options=options)
    assert reader[SCAN].start["uid"] == SCAN
    proxy.reset()
    primary = reader[SCAN].primary
    header = [request.method for request in proxy.requests]
    assert len(primary.read()["theta"]) == 11
    assert len(primary.to_dask().compute()["theta"]) == 11
    # One for the documents, one for the arrays, and none for what was there once.
    assert [request.method for request in proxy.requests] == ["GET"] * len(header) + ["GET"]
    reader.store.close()
    # What has no hierarchy is looked for once.
    monkeypatch.setenv("INTAKE_BLUESKY_CACHE", str(tmp_path / "third"))
    plain = BlueskyZarrCatalog(f"{place}-plain", arrays="never", storage_options=options)
    write(plain, scan())
    run = plain[SCAN]
    proxy.reset()
    for _ in range(2):
        run.primary.read()
        run.baseline.read()
    asked = [request.path for request in proxy.requests if ".zarr" in request.path]
    assert [path.rpartition(SCAN)[2] for path in asked] == [".zarr.zip", ".zarr/zarr.json"]
    plain.store.close()


@pytest.mark.parametrize(
    ("arrays", "expected"),
    [("auto", ["large", "stream_hdf5"]), ("never", []), ("always", ["large", "scan", "stream_hdf5"])],
)
def test_which_runs_get_arrays(arrays: Any, expected: list[str], tmp_path: Path, cache: Path) -> None:
    (tmp_path / "data").mkdir()
    runs = {"large": large(), "scan": scan(), "stream_hdf5": EXAMPLES["stream_hdf5"](tmp_path / "data")}
    uids = {str(run[0][1]["uid"]): name for name, run in runs.items()}
    one = BlueskyZarrCatalog(tmp_path / "one", arrays=arrays)
    write(one, *runs.values(), unfinished())
    other = BlueskyZarrCatalog(tmp_path / "other", arrays=arrays)
    assert list(other.store.insert_runs([runs["scan"]])) == [None]
    given = [runs["large"], runs["scan"], unfinished(), runs["stream_hdf5"]]
    refused = [type(error) for error in other.store.insert_runs(given)]
    assert refused == [type(None), DuplicateRun, type(None), type(None)]
    for catalog, folder in ((one, tmp_path / "one"), (other, tmp_path / "other")):
        found = [uids[name.partition(".")[0]] for name in names_in(folder) if ".zarr" in name]
        assert sorted(found) == expected
        assert len(catalog) == 4
        catalog.store.close()


def test_a_run_whose_arrays_cannot_be_written(
    tmp_path: Path, cache: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(targets, "SMALL", 0)  # a folder, of which a part was written
    missing = EXAMPLES["missing_file"](tmp_path)
    catalog = BlueskyZarrCatalog(tmp_path / "runs", arrays="always")
    with caplog.at_level(logging.WARNING):
        write(catalog, missing)
    uid = str(missing[0][1]["uid"])
    assert f"run {uid} is in the store, without arrays beside its documents: AssetUnavailable" in caplog.text
    assert names_in(tmp_path / "runs") == [f"{uid}.jsonl.zst"]
    assert catalog[uid].primary(include=["x"]).read()["x"].values.tolist() == [1.0, 2.0]
    catalog.store.close()


def test_a_writer_that_is_killed_leaves_documents(tmp_path: Path, cache: Path) -> None:
    program = f"""
import os
from intake_bluesky.datasets.zarr_runs import targets
from intake_bluesky.testing.plain_runs import scan
from intake_bluesky_zarr import BlueskyZarrCatalog
targets.SMALL, put, number = 0, targets.FolderTarget.put, 0
async def killed(self, key, value):
    global number
    number += 1
    if number == 5:
        os._exit(9)
    await put(self, key, value)
targets.FolderTarget.put = killed
catalog = BlueskyZarrCatalog({str(tmp_path / "runs")!r}, arrays="always")
with catalog.writer() as write:
    for pair in scan():
        write(*pair)
"""
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 9
    assert names_in(tmp_path / "runs") == [f"{SCAN}.jsonl.zst", f"{SCAN}.zarr"]
    catalog = BlueskyZarrCatalog(tmp_path / "runs", arrays="always")
    catalog.store.scan()  # type: ignore[attr-defined]  # the killed one told nobody of the stop
    check_read(catalog, scan(), parsed=True)
    assert catalog[SCAN].primary.read().sizes["time"] == 11
    catalog.store.remove(SCAN, permanent=True)
    assert names_in(tmp_path / "runs") == []
    write(catalog, scan())
    check_read(catalog, scan())
    catalog.store.close()


@pytest.mark.parametrize("what", ["another run", "another version", "nonsense"])
def test_a_hierarchy_that_is_not_the_run_s_is_not_used(what: str, tmp_path: Path, cache: Path) -> None:
    catalog = BlueskyZarrCatalog(tmp_path / "runs", arrays="never")
    write(catalog, scan(), count())
    expected = catalog[SCAN].primary.read()
    place, told = tmp_path / "runs" / f"{SCAN}.zarr", "was made of others"
    if what == "nonsense":
        place.with_name(f"{SCAN}.zarr.zip").write_bytes(b"no zip")
        told = "holds no run"
    elif what == "another run":
        catalog[count()[0][1]["uid"]].to_zarr(place)
    else:
        catalog[SCAN].to_zarr(place)
        root = json.loads((place / "zarr.json").read_text(encoding="utf-8"))
        root["attributes"]["format_version"] = 99
        (place / "zarr.json").write_text(json.dumps(root), encoding="utf-8")
        told = "version 99"
    reader = BlueskyZarrCatalog(tmp_path / "runs")
    with pytest.warns(UserWarning, match=rf"read from its documents alone: .*{told}"):
        xr.testing.assert_identical(reader[SCAN].primary.read(), expected)
    for one in (catalog, reader):
        one.store.close()


def test_a_hierarchy_of_other_values_is_not_used(tmp_path: Path, cache: Path) -> None:
    """A driver that knows of no arrays removes the run and puts it again, with another value between its ends."""
    catalog, plain = BlueskyZarrCatalog(tmp_path / "runs", arrays="always"), BlueskyBucketCatalog(tmp_path / "runs")
    write(catalog, scan())
    shutil.copytree(tmp_path / "runs", tmp_path / "copy")  # of just these documents: its arrays are used
    check_read(BlueskyZarrCatalog(tmp_path / "copy"), scan())
    assert catalog[SCAN].primary.read()["det"][0] == 1
    plain.store.remove(SCAN)
    other = [pair for pair in scan() if pair[0] != "event_page"]
    pages = [(name, copy.deepcopy(doc)) for name, doc in scan() if name == "event_page"]
    for _, doc in pages:
        doc["data"]["det"] = [value + 1000 for value in doc["data"]["det"]]
    write(plain, [*other[:-1], *pages, other[-1]])
    for reader in (catalog, BlueskyZarrCatalog(tmp_path / "runs")):
        reader.refresh()
        with pytest.warns(UserWarning, match="was made of others"):
            assert reader[SCAN].primary.read()["det"][0] == 1001
    for one in (catalog, plain):
        one.store.close()


def test_a_removed_run_takes_its_arrays_along(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    catalog = BlueskyZarrCatalog(tmp_path / "runs", arrays="always")
    write(catalog, scan(), count())
    monkeypatch.setattr(targets, "SMALL", 0)
    write(catalog, rewound())
    for run in (scan(), rewound()):
        catalog.store.remove(str(run[0][1]["uid"]))
    other = str(count()[0][1]["uid"])
    assert names_in(tmp_path / "runs") == [".removed", f"{other}.jsonl.zst", f"{other}.zarr.zip"]
    assert len(names_in(tmp_path / "runs" / ".removed")) == 4
    with pytest.raises(RunNotFound):
        catalog.store.remove(SCAN)
    write(catalog, scan())
    assert catalog[SCAN].primary.read().sizes["time"] == 11
    catalog.store.close()


@pytest.mark.slow
def test_a_removed_run_takes_its_arrays_along_in_s3(
    buckets: Buckets, place: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(targets, "SMALL", 0)
    catalog = BlueskyZarrCatalog(place, arrays="always", storage_options=options_of(buckets.endpoint))
    write(catalog, scan(), count())
    bucket, _, prefix = place.removeprefix("s3://").partition("/")

    def keys() -> set[str]:
        found = buckets.client.list_objects_v2(Bucket=bucket, Prefix=f"{prefix}/")["Contents"]
        return {one["Key"].removeprefix(f"{prefix}/") for one in found if "/_index/" not in one["Key"]}

    before = keys()
    own = {name for name in before if name.startswith(SCAN)}
    assert f"{SCAN}.zarr/zarr.json" in own
    catalog.store.remove(SCAN)
    assert keys() == before - own | {f".removed/{name}" for name in own}
    other = str(count()[0][1]["uid"])
    catalog.store.remove(other, permanent=True)
    assert keys() == {f".removed/{name}" for name in own}
    catalog.store.close()


def test_of_yaml(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of detectors are found for the hierarchy as the catalog finds them."""
    (tmp_path / "data").mkdir()
    documents = EXAMPLES["stream_hdf5"](tmp_path / "data")
    (tmp_path / "data").rename(tmp_path / "moved")
    (tmp_path / "runs.yml").write_text(
        "sources: {runs: {driver: bluesky-zarr-catalog, args: {urlpath: '{{ CATALOG_DIR }}/runs', root_map: {"
        f"{str((tmp_path / 'data').resolve())!r}: moved}}}}}}}}",
        encoding="utf-8",
    )
    catalog = intake.open_catalog(str(tmp_path / "runs.yml")).runs
    write(catalog, documents)
    assert sorted(os.path.splitext(name)[1] for name in names_in(tmp_path / "runs")) == [".zip", ".zst"]
    catalog.store.close()
    with pytest.raises(ValueError, match="arrays is one of 'auto', 'always', 'never', not 'yes'"):
        BlueskyZarrCatalog(tmp_path / "runs", arrays="yes")  # type: ignore[arg-type]  # what it refuses
    monkeypatch.setitem(sys.modules, "zarr", None)
    with pytest.raises(MissingDependency, match="zarr is needed to keep runs as Zarr"):
        _ = BlueskyZarrCatalog(tmp_path / "runs").store
