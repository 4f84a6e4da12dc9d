"""What files, and documents from elsewhere, may not do; and where passwords are not shown."""

from __future__ import annotations

import functools
import json
import logging
import os
import pickle
import threading
import traceback
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import fsspec
import intake
import msgpack
import msgpack_numpy
import numpy as np
import pytest

from intake_bluesky import BlueskyCatalog, open_catalog
from intake_bluesky.documents.model import to_plain
from intake_bluesky.errors import IntakeBlueskyError, StoreUnavailable, UntrustedName
from intake_bluesky.testing.asset_runs import HDF5, IMAGE, ad_hdf5, frames, stream_hdf5
from intake_bluesky.testing.compose import RunComposer, data_key
from intake_bluesky.testing.examples import Run
from intake_bluesky.testing.plain_runs import count, scan
from intake_bluesky_jsonl import BlueskyJSONLCatalog
from intake_bluesky_msgpack import BlueskyMsgpackCatalog

SECRET = "hunter2"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("INTAKE_BLUESKY_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(autouse=True)
def bucket() -> Iterator[Any]:
    store = fsspec.filesystem("memory")
    yield store
    store.store.clear()


def content(kind: str, run: Run) -> bytes:
    pairs = [[name, to_plain(doc)] for name, doc in run]
    if kind == "jsonl":
        return b"".join(json.dumps(pair).encode() + b"\n" for pair in pairs)
    return b"".join(msgpack.packb(pair, default=msgpack_numpy.encode, use_bin_type=True) for pair in pairs)


def remote(bucket: Any, run: Run, kind: str = "jsonl", **arguments: Any) -> BlueskyCatalog:
    """A catalog of one run that is on another machine."""
    bucket.pipe_file(f"/runs/run.{kind}", content(kind, run))
    face = {"jsonl": BlueskyJSONLCatalog, "msgpack": BlueskyMsgpackCatalog}[kind]
    return face(f"memory://runs/*.{kind}", **arguments)


def with_path(run: Run, field: str, path: str) -> Run:
    return [(name, {**doc, field: path} if field in doc else doc) for name, doc in run]


@pytest.mark.parametrize("kind", ["jsonl", "msgpack"])
@pytest.mark.parametrize("example", [stream_hdf5, ad_hdf5])
class TestDocumentsFromElsewhere:
    def test_name_no_local_file(self, example: Any, kind: str, bucket: Any, tmp_path: Path) -> None:
        stream = remote(bucket, example(tmp_path / "assets"), kind)[-1].primary
        for ask in (stream.read, lambda: stream.to_dask().compute()):
            with pytest.raises(UntrustedName, match="root_map"):
                ask()
        assert stream(include=["x"]).read().sizes["time"] > 2

    def test_but_under_a_target_of_root_map(self, example: Any, kind: str, bucket: Any, tmp_path: Path) -> None:
        run = example(tmp_path / "assets")
        (tmp_path / "assets").rename(tmp_path / "moved")
        old, new = str((tmp_path / "assets").resolve()), str(tmp_path / "moved")
        cat = remote(bucket, run, kind, root_map={old: new})
        assert cat[-1].primary.read()["image"].dtype == np.uint16

    def test_a_link_does_not_lead_out_of_a_target(self, example: Any, kind: str, bucket: Any, tmp_path: Path) -> None:
        run = example(tmp_path / "secret")
        (tmp_path / "open").mkdir()
        for file in (tmp_path / "secret").iterdir():
            (tmp_path / "open" / file.name).symlink_to(file)
        cat = remote(bucket, run, kind, root_map={str((tmp_path / "secret").resolve()): str(tmp_path / "open")})
        with pytest.raises(UntrustedName):
            cat[-1].primary.read()

    def test_do_not_say_whether_a_local_file_exists(self, example: Any, kind: str, bucket: Any, tmp_path: Path) -> None:
        run = remote(bucket, example(tmp_path / "assets"), kind)[-1]
        assert {(file.exists, file.size) for file in run.files()} == {(False, None)}


@pytest.mark.parametrize("folder", ["here", "elsewhere"])
@pytest.mark.parametrize("path", ["../../etc/x.h5", "a/../../x.h5", "..", "%2e%2e/x.h5", "..\\x.h5"])
def test_paths_that_climb_are_refused(path: str, folder: str, bucket: Any, tmp_path: Path) -> None:
    runs = [
        with_path(ad_hdf5(tmp_path / "a"), "resource_path", path),
        with_path(stream_hdf5(tmp_path / "b"), "uri", f"file://localhost{tmp_path}/{path}"),
    ]
    for run in runs:
        if run is runs[0] and "%" in path:
            continue  # in a path of the old form this is a name
        if folder == "here":
            (tmp_path / "run.jsonl").write_bytes(content("jsonl", run))
            cat: BlueskyCatalog = BlueskyJSONLCatalog(tmp_path / "run.jsonl")
        else:
            cat = remote(bucket, run, root_map={str(tmp_path): str(tmp_path)})
        with pytest.raises(UntrustedName, match="refused"):
            cat[-1].primary.read()


def test_templates_that_climb_are_refused(bucket: Any, tmp_path: Path) -> None:
    run = RunComposer("template")
    key = data_key("array", [4, 6], external="FILESTORE:")
    primary = run.descriptor({"image": key})
    resource = run.resource("NPY_SEQ", root=str(tmp_path / "open"), path="../secret/npy")
    run.event(primary, {"image": run.datum(resource, 0, index=0)}, filled={"image": False})
    run.stop()
    (tmp_path / "secret").mkdir()
    (tmp_path / "open").mkdir()
    np.save(tmp_path / "secret" / "npy_0.npy", frames(1)[0])
    cat = remote(bucket, run.documents, root_map={str(tmp_path / "open"): str(tmp_path / "open")})
    with pytest.raises(UntrustedName, match=r"\.\."):
        cat[-1].primary.read()


@pytest.mark.parametrize("uri", ["memory://x::file:///etc/x.h5", "simplecache::file:///etc/x.h5", "reference://x"])
def test_chained_and_odd_urls_from_elsewhere_are_refused(uri: str, bucket: Any) -> None:
    run = RunComposer("chained")
    primary = run.descriptor({"image": IMAGE})
    run.stream_datum(run.stream_resource("image", mimetype=HDF5, uri=uri, dataset="/x"), primary, (1, 2))
    run.stop()
    with pytest.raises(UntrustedName):
        remote(bucket, run.documents)[-1].primary.read()


def test_an_npy_file_of_objects_is_not_unpickled(tmp_path: Path) -> None:
    sprung = tmp_path / "sprung"

    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(sprung),)

    run = RunComposer("trap")
    primary = run.descriptor({"image": data_key("array", [1], external="FILESTORE:")})
    resource = run.resource("NPY_SEQ", root=str(tmp_path), path="npy")
    run.event(primary, {"image": run.datum(resource, 0, index=0)}, filled={"image": False})
    run.stop()
    np.save(tmp_path / "npy_0.npy", np.array([Trap()], dtype=object), allow_pickle=True)
    (tmp_path / "run.jsonl").write_bytes(content("jsonl", run.documents))
    stream = BlueskyJSONLCatalog(tmp_path / "run.jsonl")[-1].primary
    with pytest.raises((IntakeBlueskyError, ValueError)):
        stream.read()
    with pytest.raises((IntakeBlueskyError, ValueError)):
        stream.to_dask().compute()
    assert not sprung.exists()


@pytest.mark.parametrize("kind", ["jsonl", "msgpack"])
def test_environment_and_shell_are_kept_from_a_catalog_elsewhere(
    kind: str, bucket: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PASSWORD", SECRET)
    source = {"driver": f"bluesky-{kind}-catalog", "args": {"paths": "memory://{{ env(PASSWORD) }}/{{ shell('id') }}"}}
    bucket.pipe_file("/catalog.yml", json.dumps({"sources": {"runs": source}}).encode())
    cat = open_catalog("memory://catalog.yml").runs
    assert SECRET not in str(cat.store.__getstate__())
    for opened in (cat, intake.open_catalog("memory://catalog.yml").runs):
        assert not opened.getshell
        assert "uid=" not in str(opened.store.__getstate__())


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """Address of a plain HTTP server, one that knows no ranges, with a run and a file that is none."""
    (tmp_path / "www").mkdir()
    (tmp_path / "www" / "run.jsonl").write_bytes(content("jsonl", scan()))
    (tmp_path / "www" / "bad.jsonl").write_bytes(b"hello")

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args: Any) -> None: ...

    handler = functools.partial(Quiet, directory=str(tmp_path / "www"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as httpd:
        threading.Thread(target=httpd.serve_forever, args=(0.01,), daemon=True).start()
        yield f"127.0.0.1:{httpd.server_port}"
        httpd.shutdown()


def test_server_that_knows_no_ranges(server: str) -> None:
    cat = BlueskyJSONLCatalog(f"http://{server}/run.jsonl")
    assert cat[-1].primary.read()["counts"].values.tolist() == [n * n for n in range(11)]
    assert cat[-1].ring_current_monitor.read().sizes["time"] == 3


def said(cat: BlueskyCatalog) -> Iterator[Any]:
    """What a catalog, its runs and its errors show."""
    yield from (cat, cat.store, cat.search({"plan_name": "scan"}), cat.describe(), cat.explain())
    try:
        yield from (cat.problems, len(cat), cat._repr_html_(), list(cat))
        for uid in cat:
            run = cat[uid]
            dataset = run.primary.to_dask()
            yield from (run, run.primary, run._repr_html_(), dataset, dict(dataset.__dask_graph__()), run.files())
        for ask in (lambda: cat.store.header("no"), lambda: cat["no"], lambda: cat.writer()(*count()[0])):
            with pytest.raises(IntakeBlueskyError) as caught:
                ask()
            yield from (str(caught.value), repr(caught.value))
    except StoreUnavailable as error:
        yield "".join(traceback.format_exception_only(error))


@pytest.mark.parametrize(
    ("url", "options"),
    [
        ("http://user:{secret}@{server}/", {}),
        ("http://user:p@{secret}@{server}/run.jsonl", {}),
        ("http://{server}/run.jsonl?X-Amz-Signature={secret}", {}),
        ("http://{server}/run.jsonl", {"client_kwargs": {"headers": {"Authorization": SECRET}}}),
        ("http://user:{secret}@127.0.0.1:1/run.jsonl", {}),
        ("ftp://user:{secret}@127.0.0.1:1/", {}),
    ],
)
def test_credentials_are_not_shown(
    url: str, options: dict[str, Any], server: str, caplog: pytest.LogCaptureFixture
) -> None:
    cat = BlueskyJSONLCatalog(url.format(secret=SECRET, server=server), storage_options=options)
    with caplog.at_level(logging.DEBUG, logger="intake_bluesky"):
        for thing in said(cat):
            assert SECRET not in str(thing)
            assert SECRET not in repr(thing)
        copy = pickle.loads(pickle.dumps(cat))
        assert SECRET not in repr(copy)
    ours = [record for record in caplog.records if record.name.startswith("intake_bluesky")]
    assert SECRET not in str([record.getMessage() for record in ours])


@pytest.mark.skipif(os.name == "nt", reason="permissions of POSIX")
def test_the_index_is_for_its_user_alone(cache: Path, server: str) -> None:
    assert len(BlueskyJSONLCatalog(f"http://user:{SECRET}@{server}/run.jsonl")) == 1
    assert cache.stat().st_mode & 0o077 == 0


def test_file_of_a_run_written_by_its_uid_stays_in_the_folder(tmp_path: Path) -> None:
    cat = BlueskyJSONLCatalog(tmp_path / "runs")
    for uid in ("../escaped", "/tmp/escaped", "a/b", "..", ".hidden", "a\x00b"):
        with pytest.raises(UntrustedName):
            cat.writer()("start", {"uid": uid, "time": 1.0})
    assert not list(tmp_path.rglob("*escaped*"))


def test_markup_in_documents_is_text_in_a_notebook(tmp_path: Path) -> None:
    run = RunComposer("<script>alert(1)</script>", plan_name="<script>alert(1)</script>", scan_id=1)
    run.event(run.descriptor({"<b>x</b>": data_key("number")}, stream="<i>s</i>"), {"<b>x</b>": 1.0})
    run.stop()
    (tmp_path / "run.jsonl").write_bytes(content("jsonl", run.documents))
    cat = BlueskyJSONLCatalog(tmp_path / "run.jsonl", name="<u>cat</u>")
    stream = cat[-1]["<i>s</i>"]
    for shown in (cat._repr_html_(), cat[-1]._repr_html_(), stream._repr_html_()):
        for markup in ("<script>alert", "<b>x", "<i>s", "<u>cat"):
            assert markup not in shown
