"""Catalog files in a bucket and on a web server, which name stores, and files, beside them: opened by one URL."""

from __future__ import annotations

import http.server
import json
import os
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import intake
import pytest
import s3fs  # type: ignore[import-untyped]  # it ships no types

from intake_bluesky import BlueskyCatalog, open_catalog
from intake_bluesky.documents.model import to_plain
from intake_bluesky.errors import StoreUnavailable, UntrustedName
from intake_bluesky.testing.plain_runs import count, scan
from intake_bluesky.testing.runs import EXAMPLES
from intake_bluesky_bucket import BlueskyBucketCatalog
from intake_bluesky_zarr import BlueskyZarrCatalog
from tests.drivers.simulated import LATTICE, pattern, write
from tests.servers.s3 import Buckets

pytestmark = pytest.mark.slow

FILES = {
    "catalog.yml": """
metadata:
  parameters:
    year: {description: of the files, type: str, default: "2026"}
sources:
  files: {driver: bluesky-jsonl-catalog, container: catalog, args: {paths: "{{ CATALOG_DIR }}/{{ year }}"}}
  older: {driver: yaml_file_cat, container: catalog, args: {path: "{{ CATALOG_DIR }}/older/catalog.yml"}}
  all:
    driver: bluesky-federated-catalog
    container: catalog
    args:
      sources:
        files: files
        runs: {driver: bluesky-bucket-catalog, args: {urlpath: "{{ CATALOG_DIR }}/runs"}}
        zarr: older/catalog.yml:deeper.zarr
        simulations: {driver: bluesky-simulation-catalog, args: {paths: "{{ CATALOG_DIR }}/sims/a_{a:f}.nc"}}
""",
    "web.yml": """
sources:
  all:
    driver: bluesky-federated-catalog
    container: catalog
    args:
      sources:
        files: catalog.yml:files
        runs: runs
        zarr: older/catalog.yml:deeper.zarr
        simulations:
          driver: bluesky-simulation-catalog
          args: {paths: "{{ CATALOG_DIR }}/sims/a_{a:f}.nc", start: {time: 1700000000}}  # not all servers tell times
  runs: {driver: bluesky-bucket-catalog, container: catalog, args: {urlpath: "{{ CATALOG_DIR }}/runs"}}
""",
    "older/catalog.yml": """
sources:
  deeper: {driver: yaml_file_cat, container: catalog, args: {path: "{{ CATALOG_DIR }}/deeper/catalog.yml"}}
""",
    "older/deeper/catalog.yml": """
sources:
  zarr: {driver: bluesky-zarr-catalog, container: catalog, args: {urlpath: "{{ CATALOG_DIR }}/runs"}}
""",
    "evil.yml": """
sources:
  here:
    driver: bluesky-federated-catalog
    args: {sources: {a: {driver: bluesky-jsonl-catalog, args: {paths: /tmp}}}}
  beside:
    driver: bluesky-federated-catalog
    args: {sources: {a: "/tmp/catalog.yml:runs"}}
  shell:
    driver: bluesky-jsonl-catalog
    parameters: {ran: {description: "", type: str, default: "shell(touch ran)"}}
    args: {paths: "{{ CATALOG_DIR }}/{{ ran }}{{ shell('touch ran') }}"}
""",
}
COUNTS = {"files": 1, "runs": 1, "zarr": 1, "simulations": len(LATTICE)}


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Keep keys of this machine away."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("INTAKE_BLUESKY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.chdir(tmp_path)
    s3fs.S3FileSystem.clear_instance_cache()
    yield
    s3fs.S3FileSystem.clear_instance_cache()


def write_into(catalog: BlueskyCatalog, run: Any) -> None:
    with catalog.writer() as write:
        for name, doc in run:
            write(name, doc)
    catalog.store.close()


@pytest.fixture
def hosted(tmp_path: Path) -> Path:
    """A folder with the files, and the stores that they name."""
    folder = tmp_path / "hosted"
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    for name in ("2026", "sims"):
        (folder / name).mkdir()
    run = EXAMPLES["failed"](tmp_path)
    text = "".join(json.dumps([name, to_plain(doc)]) + "\n" for name, doc in run)
    (folder / "2026" / "a.jsonl").write_text(text, encoding="utf-8")
    for a in LATTICE:
        write(pattern(a), folder / "sims" / f"a_{a}.nc")
    write_into(BlueskyBucketCatalog(folder / "runs"), count())
    write_into(BlueskyZarrCatalog(folder / "older" / "deeper" / "runs"), scan())
    return folder


@pytest.fixture(params=["private", "public"])
def bucket(request: pytest.FixtureRequest, hosted: Path, buckets: Buckets) -> tuple[str, dict[str, Any]]:
    """The same in a bucket: its URL, and the options that open it."""
    prefix = uuid4().hex
    for path in hosted.rglob("*"):
        if path.is_file():
            buckets.client.upload_file(str(path), request.param, f"{prefix}/{path.relative_to(hosted).as_posix()}")
    keys: dict[str, Any] = (
        {"key": buckets.key, "secret": buckets.secret} if request.param == "private" else {"anon": True}
    )
    return f"s3://{request.param}/{prefix}", {**keys, "endpoint_url": buckets.endpoint}


def read_all(catalog: Any) -> None:
    assert catalog.sources.counts() == COUNTS
    assert len(catalog) == sum(COUNTS.values())
    assert {run.origin.source for run in catalog.values()} == set(COUNTS)
    for run in catalog.values():
        assert run.primary.read().sizes, run.origin.source


@pytest.mark.parametrize("opens", [open_catalog, intake.open_catalog], ids=["ours", "intake"])
def test_in_a_bucket(bucket: tuple[str, dict[str, Any]], opens: Any) -> None:
    url, options = bucket
    catalog = opens(f"{url}/catalog.yml", storage_options=options)
    read_all(catalog.all)
    assert len(catalog.older.deeper.zarr) == len(catalog["older.deeper.zarr"]) == 1
    assert repr(catalog.files(year="2025").store) == repr(catalog(year="2025").files.store)
    assert "/2025" in repr(catalog(year="2025").all.sources["files"].store)


def test_keys_of_the_environment_open_the_file_and_nothing_that_it_names(
    bucket: tuple[str, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, options = bucket
    monkeypatch.setenv("AWS_ENDPOINT_URL", options["endpoint_url"])
    if "key" not in options:
        read_all(open_catalog(f"{url}/catalog.yml", storage_options={"anon": True})["all"])
        return
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", options["key"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", options["secret"])
    with pytest.raises(StoreUnavailable, match=r"source 'files' of the federation cannot be read: .*Access Denied"):
        len(open_catalog(f"{url}/catalog.yml")["all"])
    read_all(open_catalog(f"{url}/catalog.yml", trust=True)["all"])


@pytest.fixture
def web(hosted: Path) -> Iterator[str]:
    """The folder on a web server, which lists folders as pages."""
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(hosted))
    handler.log_message = lambda *_: None  # type: ignore[attr-defined]
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize("opens", [open_catalog, intake.open_catalog], ids=["ours", "intake"])
def test_on_a_web_server(web: str, opens: Any) -> None:
    read_all(opens(f"{web}/web.yml")["all"])


@pytest.mark.parametrize("opens", [open_catalog, intake.open_catalog], ids=["ours", "intake"])
def test_the_environment_is_for_files_of_one_server_and_if_it_is_said(
    opens: Any, hosted: Path, web: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files that a file names on its own server are as it is; others learn nothing, whatever was said of it."""
    monkeypatch.setenv("A_SECRET", "hunter2")
    leaf = """
sources:
  runs:
    driver: bluesky-jsonl-catalog
    container: catalog
    parameters: {word: {description: "", type: str, default: env(A_SECRET)}}
    args: {paths: "{{ CATALOG_DIR }}/{{ word }}{{ env('A_SECRET') }}"}
"""
    (hosted / "leaf.yml").write_text(leaf, encoding="utf-8")
    other = web.replace("127.0.0.1", "localhost")
    names = {"beside": "leaf.yml:runs", "below": "nested.runs", "there": f"{other}/leaf.yml:runs"}
    (hosted / "root.yml").write_text(
        f"""
sources:
  nested: {{driver: yaml_file_cat, container: catalog, args: {{path: "{{{{ CATALOG_DIR }}}}/leaf.yml"}}}}
  away: {{driver: yaml_file_cat, container: catalog, args: {{path: "{other}/leaf.yml"}}}}
  all: {{driver: bluesky-federated-catalog, container: catalog, args: {{sources: {json.dumps(names)}}}}}
""",
        encoding="utf-8",
    )
    told = open_catalog(f"{web}/root.yml", getenv=True)
    assert {name: "hunter2hunter2" in repr(one.store) for name, one in told.all.sources.items()} == {
        "beside": True, "below": True, "there": False
    }  # fmt: skip
    assert "hunter2" not in repr(told.away.runs.store)
    untold = opens(f"{web}/root.yml")
    sources = untold.all.sources
    shown = {repr(sources[name].store) for name in ("beside", "there")}
    if opens is open_catalog:
        shown |= {repr(one.store) for one in (sources["below"], untold.nested.runs, untold.away.runs)}
    assert not [text for text in shown if "hunter2" in text]


def test_what_a_hosted_file_may_not(web: str, bucket: tuple[str, dict[str, Any]], tmp_path: Path) -> None:
    url, options = bucket
    for catalog in (open_catalog(f"{web}/evil.yml"), open_catalog(f"{url}/evil.yml", storage_options=options)):
        for name in ("here", "beside"):
            with pytest.raises(StoreUnavailable) as caught:
                len(catalog[name])
            assert isinstance(caught.value.__cause__, UntrustedName), name
        assert "shell(touch ran)" in repr(catalog["shell"].store)
    assert not list(tmp_path.rglob("ran"))


def test_a_file_of_this_machine_runs_no_shell(tmp_path: Path) -> None:
    """Nor do those that it names, nor a source in a federation; whoever opens it."""
    (tmp_path / "here.yml").write_text(
        FILES["evil.yml"]
        + """
  within:
    driver: bluesky-federated-catalog
    parameters: {ran: {description: "", type: str, default: "shell(touch ran)"}}
    args: {sources: {a: shell, b: {driver: bluesky-jsonl-catalog, args: {paths: "{{ ran }}"}}}}
  nested: {driver: yaml_file_cat, args: {path: "{{ CATALOG_DIR }}/here.yml"}}
"""
    )
    for opens in (open_catalog, intake.open_catalog):
        catalog = opens(str(tmp_path / "here.yml"))
        assert not catalog.getshell
        for runs in (catalog.shell, catalog.nested.shell, *map(catalog.within.sources.__getitem__, "ab")):
            assert "shell(touch ran)" in repr(runs.store)
    assert not list(tmp_path.rglob("ran"))
