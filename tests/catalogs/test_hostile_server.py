"""Catalogs from a web server that is hostile: nothing that they say is run, and nothing of this user leaves."""

from __future__ import annotations

import base64
import json
import os
import socket
import struct
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import h5py
import intake
import numpy as np
import pytest
import yaml

from intake_bluesky import open_catalog
from intake_bluesky.catalogs.run_catalog import BlueskyCatalog
from intake_bluesky.errors import IntakeBlueskyError, UntrustedName
from intake_bluesky.testing.compose import RunComposer, data_key

pytestmark = pytest.mark.slow  # what a file may do is alike on each Python

SECRET = "hunter2"
ENCRYPTION_KEY = base64.b64encode(SECRET.ljust(32).encode()).decode()
PIXEL = 4_242_424_242  # of a private image: longer than the number of any port, which may stand in what is told
JSONL, SQL, MONGO = "bluesky-jsonl-catalog", "bluesky-sql-catalog", "bluesky-mongo-normalized-catalog"
RUNNING = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.startfile", "pty.spawn")


class Watch:
    """What the interpreter reports of itself, while it is watched."""

    def __init__(self) -> None:
        self.on = False
        self.seen: list[tuple[str, tuple[Any, ...]]] = []
        self.others: set[int | None] = set()

    def begin(self) -> None:
        self.seen.clear()
        # Clients of other tests look now and then whether their servers are still there.
        self.others = {thread.ident for thread in threading.enumerate() if thread.name.startswith("pymongo")}
        self.on = True

    def __call__(self, event: str, args: tuple[Any, ...]) -> None:
        if not self.on or threading.get_ident() in self.others:
            return
        if event in ("socket.connect", "open", "import", "exec") or event.startswith(RUNNING):
            self.seen.append((event, args))

    def of(self, *events: str) -> list[tuple[Any, ...]]:
        return [args for event, args in self.seen if event.startswith(events)]


WATCH = Watch()
sys.addaudithook(WATCH)  # which cannot be taken away again


class Hostile:
    """A web server, a database server that asks for passwords, and all that they were sent."""

    def __init__(self) -> None:
        self.pages: dict[str, bytes] = {}
        self.received: list[bytes] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.received.append(f"{self.command} {self.path}\n{self.headers}".encode())
                page = outer.pages.get(self.path.partition("?")[0])
                self.send_response(200 if page is not None else 404)
                self.send_header("Content-Length", str(len(page or b"")))
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(page or b"")

            do_HEAD = do_PUT = do_POST = do_GET  # noqa: N815

            def log_message(self, *args: Any) -> None: ...

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._database = socket.create_server(("127.0.0.1", 0))
        self.port, self.database = self._http.server_port, int(self._database.getsockname()[1])
        threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True).start()
        threading.Thread(target=self._ask_for_passwords, daemon=True).start()

    def _ask_for_passwords(self) -> None:
        while True:
            try:
                connection, _ = self._database.accept()
            except OSError:
                return
            with connection, suppress(OSError):
                connection.settimeout(2)
                begin = connection.recv(4096)
                self.received.append(begin)
                if begin[4:8] == struct.pack("!I", 80877103):  # libpq asks for TLS
                    connection.send(b"N")
                    self.received.append(connection.recv(4096))
                connection.send(b"R" + struct.pack("!II", 8, 3))  # "send the password as it is"
                self.received.append(connection.recv(4096))

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._database.close()


@pytest.fixture
def server() -> Iterator[Hostile]:
    server = Hostile()
    yield server
    server.close()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user with credentials of every kind, and a file that is nobody else's."""
    home = tmp_path / "home"
    (home / ".aws").mkdir(parents=True)
    (home / ".netrc").write_text(f"machine 127.0.0.1 login me password {SECRET}\n")
    (home / ".pgpass").write_text(f"*:*:*:*:{SECRET}\n")
    (home / ".pg_service.conf").write_text(f"[mine]\npassword={SECRET}\n")
    (home / ".aws" / "credentials").write_text(f"[default]\naws_access_key_id={SECRET}\naws_secret_access_key=x\n")
    for name in (".netrc", ".pgpass"):
        (home / name).chmod(0o600)
    with h5py.File(home / "private.h5", "w") as file:
        file["/entry/data"] = np.full((3, 4, 6), PIXEL, "<u4")
    os.mkfifo(home / "pipe.h5")
    names = (
        "PGPASSWORD",
        "MONGO_PASSWORD",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "SECRET",
    )
    for name in names:
        monkeypatch.setenv(name, SECRET)
    # By which a server is to encrypt: it is sent in each request as it stands.
    monkeypatch.setenv("AWS_SERVER_SIDE_ENCRYPTION", "sse-c")
    monkeypatch.setenv("AWS_SSE_CUSTOMER_KEY_BASE64", ENCRYPTION_KEY)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("NETRC", str(home / ".netrc"))
    monkeypatch.setenv("PGSERVICE", "mine")
    monkeypatch.setenv("PGSERVICEFILE", str(home / ".pg_service.conf"))
    monkeypatch.setenv("INTAKE_BLUESKY_CACHE", str(tmp_path / "cache"))
    return home


def documents(scan_id: int, uri: str) -> bytes:
    """A run whose documents name a file."""
    run = RunComposer(f"run-{scan_id}", scan_id=scan_id)
    descriptor = run.descriptor({"image": data_key("array", [1, 4, 6], external="STREAM:", dtype_numpy="<u4")})
    resource = run.stream_resource(
        "image", mimetype="application/x-hdf5", uri=uri, dataset="/entry/data", chunk_shape=[1, 4, 6]
    )
    run.stream_datum(resource, descriptor, (1, 4))
    run.stop()
    return b"".join(json.dumps(list(pair)).encode() + b"\n" for pair in run.documents)


def use(opened: Callable[[], Any], told: list[str]) -> None:
    """Do with a catalog all that users do, and go on after each error of ours."""

    def ask(what: Callable[..., Any], *args: Any) -> Any:
        try:
            found = what(*args)
        except IntakeBlueskyError as error:
            told.append(str(error))
            return None
        told.append(repr(found))
        return found

    catalog = ask(opened)
    if catalog is None:
        return
    is_of_runs = isinstance(catalog, BlueskyCatalog)
    if is_of_runs:
        ask(catalog.describe)
        ask(catalog.yaml)
    for name in ask(list, catalog) or []:
        found = ask(catalog.__getitem__, name)
        if found is not None and is_of_runs:
            ask(found.files)
            ask(found.primary.read)
            ask(lambda run: run.primary.to_dask().compute(), found)
        elif found is not None:
            use(partial(identity, found), told)  # an entry, or another catalog


def identity(found: Any) -> Any:
    return found


def hostile_sources(server: Hostile, home: Path) -> dict[str, dict[str, Any]]:
    """Sources by what they try."""
    nested = server.url("/nested.yml")
    runs, touch = server.url("/run1.jsonl"), f"touch {home}/PWNED"
    escape = "cycler.__init__.__globals__.os"

    def jsonl(**args: Any) -> dict[str, Any]:
        return {"driver": JSONL, "args": {"paths": runs, **args}}

    return {
        "template": jsonl(paths=f"{runs}?{{{{ {escape}.system('{touch}') }}}}"),
        "template in metadata": {**jsonl(), "metadata": {"a": f"{{{{ {escape}.system('{touch}') }}}}"}},
        "template that reads": jsonl(paths=f"{runs}?{{{{ {escape}.environ.SECRET }}}}"),
        "template of an environment": jsonl(paths=f"{runs}?{{{{ env(SECRET) }}}}{{{{ shell('{touch}') }}}}"),
        "template that counts": jsonl(paths="{{ 10 ** 10 ** 10 }}{{ 'x' * 10 ** 10 }}"),
        "parameter": {
            **jsonl(paths=f"{runs}?{{{{ p }}}}{{{{ q }}}}"),
            "parameters": {
                "p": {"description": "", "type": "str", "default": "env(SECRET)"},
                "q": {"description": "", "type": "str", "default": f"shell({touch})"},
            },
        },
        "driver": {"driver": "os.system", "args": {"command": touch}},
        "drivers": {"driver": ["no-such", "antigravity.geohash"], "args": {}},
        "driver of a mapping": {"driver": {"x": {"class": "subprocess.Popen", "args": {"args": touch}}}, "args": {}},
        "class": {"cls": "subprocess.Popen", "args": [["touch", f"{home}/PWNED"]], "kwargs": {}},
        "driver of others": {"driver": "ndzarr", "args": {"urlpath": f"{home}"}},
        "handlers": jsonl(handler_registry={"AD_HDF5": "antigravity.geohash"}, filler_class="antigravity.geohash"),
        "transforms": jsonl(transforms={"start": "antigravity.geohash"}, trust=True),
        "folder": jsonl(root_map={"/data": str(home)}),
        "folder by URL": jsonl(root_map={"/data": f"file://{home}"}),
        "folder by a chain": jsonl(root_map={"/data": f"simplecache::file://{home}"}),
        "folder beside itself": jsonl(metadata={"catalog_dir": str(home)}, root_map={"/data": "."}, trust=True),
        "runs here": jsonl(paths=f"{home}/*.jsonl"),
        "written here": jsonl(directory=str(home)),
        "documents": jsonl(paths=[server.url(f"/run{number}.jsonl") for number in range(8)]),
        "database here": {"driver": SQL, "args": {"uri": f"sqlite:///{home}/made.db"}},
        "postgres": {"driver": SQL, "args": {"uri": f"postgresql://me@127.0.0.1:{server.database}/db"}},
        "postgres by service": {"driver": SQL, "args": {"uri": f"postgresql://127.0.0.1:{server.database}/?service=mine"}},
        "postgres by file": {
            "driver": SQL,
            "args": {"uri": f"postgresql://me@127.0.0.1:{server.database}/db?passfile={home}/.pgpass&sslmode=disable"},
        },
        "mongo": {"driver": MONGO, "args": {"metadatastore_db": f"mongodb://me@127.0.0.1:{server.database}/db"}},
        "mongo of a cloud": {
            "driver": MONGO,
            "args": {
                "metadatastore_db": f"mongodb://127.0.0.1:{server.database}/db?authMechanism=MONGODB-AWS"
                "&serverSelectionTimeoutMS=300"
            },
        },
        "file in a bucket": jsonl(paths="s3://runs/a.jsonl", storage_options={"endpoint_url": server.url("")}),
        "bucket": jsonl(
            paths="s3://runs/*.jsonl",
            storage_options={
                "client_kwargs": {"endpoint_url": server.url("")},
                "config_kwargs": {"retries": {"max_attempts": 0}},
            },
        ),
        "netrc": jsonl(storage_options={"client_kwargs": {"trust_env": True}}),
        "another": {"driver": "yaml_file_cat", "args": {"path": nested, "getshell": True, "trust": True}},
        "another here": {"driver": "yaml_file_cat", "args": {"path": f"{home}/mine.yml"}},
        "another inside": {"driver": "yaml_file_cat", "args": {"text": "sources: {}", "path": nested}},
        "several here": {"driver": "yaml_files_cat", "args": {"path": [f"{home}/*.yml"]}},
    }  # fmt: skip


@pytest.fixture
def files(server: Hostile, home: Path) -> list[str]:
    """The pages of the server; the addresses of its YAML files."""
    other = server.url("/other.h5").replace("127.0.0.1", "localhost")
    named = (
        f"file://{home}/private.h5", "/data/private.h5", f"FILE://{home}/private.h5",
        f"/data/%2e%2e/{home.name}/private.h5",
        f"simplecache::file://{home}/private.h5", f"file://{home}/pipe.h5", other, f"{home}/../{home.name}/private.h5",
    )  # fmt: skip
    server.pages |= {f"/run{number}.jsonl": documents(number + 1, uri) for number, uri in enumerate(named)}
    (home / "mine.yml").write_text(yaml.safe_dump({"sources": {"mine": {"driver": JSONL, "args": {"paths": SECRET}}}}))
    for number, (name, source) in enumerate(hostile_sources(server, home).items()):
        server.pages[f"/{number}.yml"] = yaml.safe_dump({"sources": {name: source}}).encode()
    everything = {"sources": hostile_sources(server, home)}
    server.pages["/nested.yml"] = server.pages["/0.yml"]
    server.pages["/all.yml"] = yaml.safe_dump(everything).encode()
    server.pages["/plugins.yml"] = yaml.safe_dump(
        {"plugins": {"source": [{"module": "antigravity"}]}} | everything
    ).encode()
    server.pages["/2.0.yml"] = yaml.safe_dump({"version": 2, "entries": {"x": {"reader": "os:system"}}}).encode()
    layers = "\n".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 10))
    bomb = f"a0: &a0 ['{{{{ x }}}}']\n{layers}\nsources: {{bomb: {{driver: {JSONL}, args: {{paths: *a9}}}}}}"
    server.pages["/bomb.yml"] = bomb.encode()
    server.pages["/large.yml"] = b"sources: {}\n#" + b"x" * (17 * 2**20)
    return [server.url(path) for path in server.pages if path.endswith(".yml") and path != "/nested.yml"]


@pytest.fixture
def watched() -> Iterator[Watch]:
    WATCH.begin()
    yield WATCH
    WATCH.on = False


def test_nothing_runs_and_nothing_leaves(server: Hostile, home: Path, files: list[str], watched: Watch) -> None:
    told: list[str] = []
    for url in files:
        use(partial(open_catalog, url), told)
    use(lambda: open_catalog([url for url in files if url.endswith("/0.yml")] * 2), told)
    watched.on = False

    assert not (home / "PWNED").exists()
    assert not (home / "made.db").exists()
    assert not watched.of(*RUNNING)
    assert "antigravity" not in sys.modules | {args[0]: None for args in watched.of("import")}
    assert not [args for args in watched.of("exec") if str(home) in getattr(args[0], "co_filename", str(args[0]))]
    addresses = {args[1][:2] for args in watched.of("socket.connect") if isinstance(args[1], tuple)}
    assert addresses <= {("127.0.0.1", server.port), ("127.0.0.1", server.database), ("::1", server.port)}
    opened = {str(args[0]) for args in watched.of("open")}
    closed = {str(home / name) for name in ("private.h5", "pipe.h5", "mine.yml", ".netrc", ".pgpass")}
    assert not opened & closed
    assert len(server.received) > len(files)
    private = (SECRET.encode(), ENCRYPTION_KEY.encode(), b"Authorization")
    assert not [sent for sent in server.received if any(one in sent for one in private)]
    assert not [text for text in told if SECRET in text or str(PIXEL) in text]


def test_what_is_refused_and_what_is_not(server: Hostile, home: Path, files: list[str]) -> None:
    catalog = open_catalog(server.url("/all.yml"))
    assert set(catalog) == set(hostile_sources(server, home))
    assert (len(catalog["documents"]), catalog["netrc"][-1].scan_id) == (8, 2)
    for name in ("template", "driver", "class", "drivers", "driver of others", "several here"):
        with pytest.raises(UntrustedName):
            list(catalog[name])
    with pytest.raises(UntrustedName, match="'plugins'"):
        open_catalog(server.url("/plugins.yml"))
    with pytest.raises(UntrustedName, match="version 2"):
        open_catalog(server.url("/2.0.yml"))
    for run in (catalog["documents"][uid] for uid in catalog["documents"]):
        assert all((file.exists, file.size) == (False, None) for file in run.files())


@pytest.mark.parametrize("password", [SECRET, None])
def test_a_user_without_a_password(server: Hostile, home: Path, password: str | None, monkeypatch: Any) -> None:
    monkeypatch.delenv("MONGO_PASSWORD")
    if password is not None:
        monkeypatch.setenv("MONGO_PASSWORD", password)
    uri = f"mongodb://me@127.0.0.1:{server.database}"
    arguments = {"metadatastore_db": f"{uri}/runs", "asset_registry_db": f"{uri}/runs"}
    server.pages["/m.yml"] = yaml.safe_dump({"sources": {"runs": {"driver": MONGO, "args": arguments}}}).encode()
    with pytest.raises(UntrustedName, match="metadatastore_db a user and no password"):
        len(open_catalog(server.url("/m.yml"))["runs"])


def test_what_entries_refuse_that_plain_intake_opens(server: Hostile, home: Path, files: list[str]) -> None:
    names = (
        "folder", "folder by a chain", "folder beside itself", "runs here", "written here", "database here", "postgres",
        "postgres by service", "postgres by file", "mongo", "mongo of a cloud", "bucket", "netrc", "documents",
    )  # fmt: skip
    told: list[str] = []
    for number, name in enumerate(hostile_sources(server, home)):
        if name in names:
            use(partial(intake.open_catalog, server.url(f"/{number}.yml")), told)
    assert not (home / "made.db").exists()
    private = (SECRET.encode(), ENCRYPTION_KEY.encode(), b"Authorization")
    assert not [sent for sent in server.received if any(one in sent for one in private)]
    assert not [text for text in told if SECRET in text or str(PIXEL) in text]


def test_plugins_of_bluesky_are_not_imported_and_not_missed(server: Hostile, home: Path) -> None:
    source = {"driver": "intake_bluesky_jsonl.BlueskyJSONLCatalog", "args": {"paths": "http://localhost:1/x.jsonl"}}
    for modules, refused in (("databroker", False), ("intake_bluesky.x", False), ("databrokers", True), ("os", True)):
        plugins = {"source": [{"module": "databroker"}, {"module": modules}]}
        server.pages["/p.yml"] = yaml.safe_dump({"plugins": plugins, "sources": {"runs": source}}).encode()
        if refused:
            with pytest.raises(UntrustedName, match="'plugins'"):
                open_catalog(server.url("/p.yml"))
        else:
            assert isinstance(open_catalog(server.url("/p.yml"))["runs"], BlueskyCatalog)
    for plugins in ("os", ["os"], {"source": "os"}, {"source": ["os"]}, {"source": {"module": "os"}}, {"module": "os"}):  # type: ignore[assignment]
        server.pages["/p.yml"] = yaml.safe_dump({"plugins": plugins, "sources": {"runs": source}}).encode()
        with pytest.raises(UntrustedName):
            open_catalog(server.url("/p.yml"))


def test_the_user_can_trust_it(server: Hostile, home: Path, files: list[str]) -> None:
    number = list(hostile_sources(server, home)).index("folder")
    url = server.url(f"/{number}.yml")
    for catalog in (open_catalog(url, trust=True)["folder"], open_catalog(url)["folder"](trust=True)):
        assert (catalog[2].primary.read()["image"] == PIXEL).all()
    number = list(hostile_sources(server, home)).index("template of an environment")
    trusted = open_catalog(server.url(f"/{number}.yml"), trust=True)
    assert SECRET in str(trusted["template of an environment"].store.__getstate__())


def test_a_file_of_this_machine_that_names_one_from_elsewhere(server: Hostile, home: Path, files: list[str]) -> None:
    source = {"driver": "yaml_file_cat", "args": {"path": server.url("/all.yml"), "trust": True}}
    (home / "near.yml").write_text(yaml.safe_dump({"sources": {"far": source}}))
    for catalog in (
        open_catalog(home / "near.yml"),
        open_catalog(str(home / "nea*.yml")),
        open_catalog([home / "near.yml"]),
    ):
        with pytest.raises(UntrustedName):
            catalog["far"]["template"]
        with pytest.raises(UntrustedName):
            catalog["far"]["driver"]
    assert not (home / "PWNED").exists()


def test_own_credentials_of_a_catalog_are_sent(server: Hostile, home: Path) -> None:
    own = {"key": "their-key", "secret": "x", "client_kwargs": {"endpoint_url": server.url("")}}
    sources = {
        "bucket": {"driver": JSONL, "args": {"paths": "s3://runs/a.jsonl", "storage_options": own}},
        "postgres": {"driver": SQL, "args": {"uri": f"postgresql://me:their-password@127.0.0.1:{server.database}/db"}},
    }
    server.pages["/own.yml"] = yaml.safe_dump({"sources": sources}).encode()
    told: list[str] = []
    use(lambda: open_catalog(server.url("/own.yml")), told)
    sent = b"\n".join(server.received)
    assert b"their-key" in sent
    assert b"their-password" in sent
    assert SECRET.encode() not in sent
    assert ENCRYPTION_KEY.encode() not in sent
    assert not [text for text in told if "their-password" in text]
