"""What of this user's a catalog from elsewhere could have sent to a server of its choice."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import fsspec
import fsspec.config
import pytest
import yaml

from intake_bluesky import open_catalog
from intake_bluesky.errors import UntrustedName
from intake_bluesky.runtime.trust import without_credentials

SECRET = "hunter2"


class Pages(BaseHTTPRequestHandler):
    """One page, for whoever asks."""

    page = b""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.page)))
        self.end_headers()
        self.wfile.write(self.page)

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    """The address of a server, with a password."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Pages) as http:
        threading.Thread(target=http.serve_forever).start()
        yield f"http://me:{SECRET}@127.0.0.1:{http.server_port}"
        http.shutdown()


def entry(server: str, driver: str, **args: Any) -> Any:
    Pages.page = yaml.safe_dump({"sources": {"runs": {"driver": driver, "args": args}}}).encode()
    return open_catalog(f"{server}/theirs/catalog.yml")["runs"]


@pytest.mark.parametrize(
    "template", ["{{ CATALOG_DIR }}", "{{ CATALOG_DIR[7:17] }}", "{{ CATALOG_DIR | upper }}", "{{ CATALOG_DIR }}@x"]
)
def test_the_password_of_its_own_url_goes_into_no_other(template: str, server: str) -> None:
    place = f"https://other.example/{template}/"
    cat = entry(server, "bluesky-jsonl-catalog", paths=place, root_map={"/data": f"s3://b/{template}"})
    told = f"{cat.store.__getstate__()} {dict(cat.root_map)}".lower()
    assert "{{" not in told
    assert SECRET not in told


def test_urls_of_its_own_server_have_it(server: str) -> None:
    paths = ["{{ CATALOG_DIR }}/a", f"{server.replace(f'me:{SECRET}@', '')}/b"]
    cat = entry(server, "bluesky-jsonl-catalog", paths=paths, root_map={"/data": "data"})
    assert [place.pattern for place in cat.store.files.locations] == [f"{server}/theirs/a", f"{server}/b"]
    assert dict(cat.root_map) == {"/data": f"{server}/theirs/data"}


@pytest.mark.parametrize("other", ["s3://bucket/a.yml", "https://127.0.0.1:9/a.yml"])
def test_files_on_servers_of_several_kinds(other: str, server: str) -> None:
    """Options that keep one kind of server from credentials do not keep the other."""
    options = {"client_kwargs": {"endpoint_url": "http://127.0.0.1:9", "trust_env": True}}
    with pytest.raises(UntrustedName, match="several kinds"):
        entry(server, "yaml_files_cat", path=["memory://nothing*.yml", other], storage_options=options)


def test_what_the_configuration_of_fsspec_has_for_web_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    sent = {"cookies": {"session": SECRET}, "params": {"token": SECRET}, "headers": {"Authorization": SECRET}}
    monkeypatch.setitem(fsspec.config.conf, "http", {**sent, "auth": (SECRET, SECRET), "proxy_headers": {"X": SECRET}})
    options = without_credentials("http://theirs.example/runs", {})
    found = fsspec.filesystem("http", skip_instance_cache=True, **options)
    assert SECRET not in f"{found.kwargs} {found.client_kwargs}"
