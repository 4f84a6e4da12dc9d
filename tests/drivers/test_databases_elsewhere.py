"""Databases on another machine: which files their documents may name, alike in all of them; and who may write."""

from __future__ import annotations

import html
import os
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pymongo import MongoClient
from pymongo.database import Database

from intake_bluesky import open_catalog
from intake_bluesky.apps.cli import main
from intake_bluesky.apps.validate import validate
from intake_bluesky.errors import StoreUnavailable, UnsupportedOperation, UntrustedName
from intake_bluesky.testing.plain_runs import count
from intake_bluesky.testing.runs import EXAMPLES
from intake_bluesky_mongo import BlueskyMongoNormalizedCatalog, NormalizedStore
from intake_bluesky_sql import BlueskySQLCatalog, SQLStore
from tests.servers.another_host import another_host
from tests.servers.mongo import server
from tests.servers.postgres import Postgres

Opened = Callable[..., Any]


def filled(cat: Any, folder: Path) -> None:
    with cat.writer() as write:
        for name, doc in EXAMPLES["stream_hdf5"](folder):
            write(name, doc)
    cat.store.close()


@pytest.fixture(params=["postgresql", "mongodb"])
def far(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opened]:
    """Opens a YAML file of this machine that names a database on another, which has a run with a detector's file."""
    folder = tmp_path / "detectors"
    folder.mkdir()
    if request.param == "mongodb":
        database: Database[Any] = request.getfixturevalue("database")
        uri = request.getfixturevalue("database_uri")
        filled(BlueskyMongoNormalizedCatalog(uri, writable=True), folder)
        (host, port), *_ = database.client.nodes
        target: Any = host, port
    else:
        postgres: Postgres = request.getfixturevalue("postgres")
        uri = postgres.uri()
        filled(BlueskySQLCatalog(uri), folder)
        (target,) = map(str, Path(postgres.socket).glob(".s.PGSQL.*[0-9]"))
    with another_host(target) as place:
        if request.param == "mongodb":
            arguments = {"metadatastore_db": re.sub(r"//[^/]+/", f"//{place}/", uri)}
            driver = "bluesky-mongo-normalized-catalog"
        else:
            arguments = {"uri": f"postgresql://postgres@{place}/{uri.partition('?')[0].rpartition('/')[2]}"}
            driver = "bluesky-sql-catalog"

        def opened(**more: Any) -> Any:
            source = {"driver": driver, "container": "catalog", "args": {**arguments, **more}}
            (tmp_path / "far.yml").write_text(yaml.safe_dump({"sources": {"far": source}}))
            return open_catalog(str(tmp_path / "far.yml"))["far"]

        yield opened


def refused(cat: Any, yaml_file: Path, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Reading, `files`, `validate`, a repr and `show` say the same of a file that may not be read, and what to do."""
    run = cat[-1]
    with pytest.raises(UntrustedName) as caught:
        run.primary.read()
    each = [file.problem for file in run.files()] + [one.message for one in validate(run)]
    assert main(["show", str(yaml_file), "-1"]) == 0
    words = (run._repr_html_(), run._lines(400), capsys.readouterr().out, str(caught.value), *each)
    for said in (" ".join(html.unescape(text).split()) for text in words):
        assert "documents from elsewhere name" in said
        assert line in said
    assert "missing" not in "".join(words)


def look(cat: Any) -> tuple[list[bool], set[str]]:
    """What `files` and `validate` say of the files."""
    return [file.exists for file in cat[-1].files()], {one.code for one in validate(cat[-1])}


def test_files_of_the_documents_are_read_under_allowed_roots(
    far: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    assert len(far()) == 1  # it opens, and is searched
    with pytest.raises(UntrustedName, match=re.escape(str(tmp_path / "detectors"))) as caught:
        far()[-1].primary.read()
    line = re.search(r"add the line `(.*)` to the arguments", str(caught.value))
    assert line is not None
    exists, codes = look(far())
    assert not any(exists)
    assert codes
    refused(far(), tmp_path / "far.yml", line[1], capsys)
    data_roots = yaml.safe_load(line[1])["data_roots"]
    assert [Path(root) in tmp_path.parents for root in data_roots] == [True]
    root = str(tmp_path / "detectors")
    for allowed in ({"data_roots": data_roots}, {"data_roots": ["detectors"]}, {"root_map": {root: root}}):
        exists, codes = look(far(**allowed))
        assert all(exists)
        assert not codes
        assert far(**allowed)[-1].primary.read()["image"].shape[0] > 0
    far(data_roots=[str(tmp_path / "other")])
    assert main(["show", str(tmp_path / "far.yml"), "-1", "--json"]) == 0
    assert '"exists": false' in capsys.readouterr().out
    monkeypatch.setenv("INTAKE_BLUESKY_DATA_ROOTS", os.pathsep.join(["/nowhere", root]))
    assert look(far()) == (exists, set())
    assert main(["show", str(tmp_path / "far.yml"), "-1", "--json"]) == 0
    assert '"exists": false' not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("uri", "remote"),
    [
        ("mongodb://db.example/runs", True),
        ("mongodb+srv://localhost/runs", True),
        ("mongodb://localhost:27017,db.example/runs", True),
        ("mongodb://localhost:27017/runs", False),
        ("mongodb://127.0.0.1,[::1]:27018/runs", False),
        ("mongodb://%2Ftmp%2Fmongodb-27017.sock/runs", False),
        ("postgresql:///runs?service=theirs", True),
    ],
)
def test_what_is_on_another_machine(uri: str, remote: bool) -> None:
    store = SQLStore(uri) if uri.startswith("postgres") else NormalizedStore(uri)
    assert store.trusts_paths is not remote


def test_hosts_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    store = SQLStore("postgresql:///runs")
    assert store.trusts_paths
    monkeypatch.setenv("PGHOST", "db.example")
    assert not store.trusts_paths
    monkeypatch.setenv("PGSERVICE", "theirs")
    assert SQLStore("sqlite:///runs.db").trusts_paths, "a file is here, whatever PostgreSQL is told"


def test_documents_and_assets_in_two_databases() -> None:
    assert not NormalizedStore("mongodb://localhost/runs", "mongodb://db.example/assets").trusts_paths


class TestWriters:
    """Who may not write is told by `writer`, and not at a document."""

    def test_postgresql(self, postgres: Postgres) -> None:
        uri = postgres.uri()
        owner = BlueskySQLCatalog(uri)
        reader = BlueskySQLCatalog(uri.replace("postgres@", "reader@"))
        with pytest.raises(StoreUnavailable, match=r"cannot be written: this user lacks CREATE.*GRANT"):
            reader.writer()
        put(owner)
        name = uri.partition("?")[0].rpartition("/")[2]
        with postgres.connect(name) as db:
            db.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader")
        with pytest.raises(StoreUnavailable, match=r"this user lacks .*INSERT on runs, UPDATE on runs, .*GRANT"):
            reader.writer()
        with postgres.connect(name) as db:
            db.execute("GRANT INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO reader")
        with pytest.raises(StoreUnavailable, match="lacks USAGE on the sequence of runs"):
            reader.writer()
        with postgres.connect(name) as db:
            db.execute("GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO reader")
        owner.store.remove(owner[-1].start["uid"])
        put(reader)
        assert len(owner) == 1
        with postgres.connect(name) as db:
            db.execute("ALTER ROLE reader SET default_transaction_read_only = on")
        reader.store.close()
        with pytest.raises(StoreUnavailable, match="read-only"):
            reader.writer()
        with postgres.connect(name) as db:
            db.execute("ALTER ROLE reader RESET default_transaction_read_only")
        owner.store.close()
        reader.store.close()

    def test_a_server_that_does_not_answer_is_left_to_the_first_document(self) -> None:
        BlueskySQLCatalog("postgresql://me@127.0.0.1:1/runs?connect_timeout=1").writer()
        BlueskyMongoNormalizedCatalog("mongodb://127.0.0.1:1/runs?serverSelectionTimeoutMS=50", writable=True).writer()

    @pytest.mark.slow
    def test_mongodb(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        """Also at another address than the own one of this machine, where a reader's own YAML says what may be read."""
        monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
        with server() as started:
            with MongoClient[dict[str, Any]](started.uri) as client:
                for user, role in (("reader", "read"), ("writer", "readWrite")):
                    client.admin.command("createUser", user, pwd="right", roles=[{"role": role, "db": "runs"}])
            started.stop(signal.SIGTERM)
            started.start("--auth")
            host = started.uri.removeprefix("mongodb://")
            uris = [f"mongodb://{who}:right@{host}/runs?authSource=admin" for who in ("reader", "writer")]
            reader, writer = (BlueskyMongoNormalizedCatalog(uri, writable=True) for uri in uris)
            with pytest.raises(StoreUnavailable, match=r"cannot be written: it refused the user .*roles") as caught:
                reader.writer()
            assert "right" not in str(caught.value)
            writer.writer()
            assert len(writer) == 0
            (tmp_path / "detectors").mkdir()
            filled(writer, tmp_path / "detectors")
            assert len(reader) == 1
            reader.store.close()
            address, port = host.split(":")
            with another_host((address, int(port))) as place:
                theirs = {"metadatastore_db": f"mongodb://reader:right@{place}/runs?authSource=admin"}
                for more in ({}, {"writable": True}, {"data_roots": ["detectors"]}):
                    source = {"driver": "bluesky-mongo-normalized-catalog", "args": {**theirs, **more}}
                    (tmp_path / "far.yml").write_text(yaml.safe_dump({"sources": {"far": source}}))
                    cat = open_catalog(str(tmp_path / "far.yml"))["far"]
                    if "data_roots" in more:
                        assert look(cat) == ([True, True], set())
                        assert cat[-1].primary.read()["image"].shape[0] > 0
                    else:
                        refused(cat, tmp_path / "far.yml", "add the line `data_roots: [", capsys)
                        with pytest.raises((StoreUnavailable, UnsupportedOperation), match="cannot be written"):
                            cat.writer()
                    cat.store.close()


def put(cat: Any) -> None:
    with cat.writer() as write:
        for name, doc in count():
            write(name, doc)
