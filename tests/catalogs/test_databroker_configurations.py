"""Configuration files of databroker 0.x and 1: opened by the driver, or refused with the YAML that does the same."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import intake
import pytest
import yaml
from intake.config import conf
from pymongo.database import Database

from intake_bluesky.apps.cli import main
from intake_bluesky.catalogs import InstalledCatalogs, Offered
from intake_bluesky.catalogs.databroker.mongo_address import mongo_address
from intake_bluesky.errors import MissingDependency, StoreUnavailable, UnsupportedOperation
from intake_bluesky.testing.asset_runs import npy_seq
from intake_bluesky.testing.runs import EXAMPLES
from intake_bluesky_mongo import BlueskyMongoNormalizedCatalog
from tests.drivers.mongo_by_hand import put_normalized

MONGO = "bluesky-mongo-normalized-catalog"
PASSWORD = "s3cr%40t"

HXN = """
description: 'heavyweight shared database'
metadatastore:
    module: 'databroker.headersource.mongo'
    class: 'MDS'
    config:
        host: 'xf03id-ca1'
        port: 27017
        database: 'datastore-2'
        timezone: 'US/Eastern'
assets:
    module: 'databroker.assets.mongo'
    class: 'Registry'
    config:
        host: 'xf03id-ca1'
        port: 27017
        database: 'filestore-2'
"""
MORE = """
api_version: 1
root_map: {/old: /new}
handlers:
    FOO: {module: probe_of_handlers, class: Handler}
"""
SQLITE = """
description: 'lightweight personal database'
metadatastore:
    module: 'databroker.headersource.sqlite'
    class: 'MDS'
    config: {directory: /data/some_directory, timezone: 'US/Eastern'}
assets:
    module: 'databroker.assets.sqlite'
    class: 'Registry'
    config: {dbpath: /data/some_directory/assets.sqlite}
root_map: {/old: /new}
"""


def with_secrets() -> str:
    data = yaml.safe_load(HXN + MORE)
    for part in ("metadatastore", "assets"):
        data[part]["config"] |= {"mongo_user": "me", "mongo_pwd": PASSWORD, "authsource": "users"}
    return str(yaml.safe_dump(data))


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> None:
    """The driver of this checkout, whichever is installed."""
    monkeypatch.setitem(intake.registry.drivers.registered(), MONGO, BlueskyMongoNormalizedCatalog)


def databases(catalog: Any) -> tuple[str, str]:
    """The databases of a catalog, as URIs without secrets."""
    return catalog.store.connection.shown, catalog.store.assets.shown


@pytest.fixture
def no_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(intake.registry.drivers.registered(), MONGO, raising=False)


def on_server(uri: str) -> str:
    """The configuration of a database on a server that runs."""
    name = uri.rpartition("/")[2].partition("?")[0]
    part = f"config: {{uri: '{uri}', database: '{name}'}}"
    return (
        f"metadatastore: {{module: databroker.headersource.mongo, class: MDS, {part}}}\n"
        f"assets: {{module: databroker.assets.mongo, class: Registry, {part}}}\n"
    )


def put(folder: Path, text: str, name: str = "hxn.yml") -> InstalledCatalogs:
    (folder / name).write_text(text, encoding="utf-8")
    return InstalledCatalogs([folder], group=None)


def configuration(folder: Path, text: str) -> Offered:
    return put(folder, text).offered["hxn"]


@pytest.mark.usefixtures("driver")
class TestOpened:
    def test_listed(self, tmp_path: Path) -> None:
        observed = configuration(tmp_path, HXN)
        assert (observed.name, observed.driver, observed.installed) == ("hxn", MONGO, True)
        assert (observed.where, observed.description) == (str(tmp_path / "hxn.yml"), "heavyweight shared database")

    def test_opened(self, tmp_path: Path) -> None:
        observed = put(tmp_path, HXN).hxn
        assert isinstance(observed, BlueskyMongoNormalizedCatalog)
        assert databases(observed) == (
            "mongodb://xf03id-ca1:27017/datastore-2",
            "mongodb://xf03id-ca1:27017/filestore-2",
        )
        assert (observed.name, observed.description) == ("hxn", "heavyweight shared database")

    def test_runs(self, tmp_path: Path, database: Database[dict[str, Any]], database_uri: str) -> None:
        run = EXAMPLES["scan"](tmp_path)
        put_normalized(database, run)
        observed = put(tmp_path, on_server(database_uri)).hxn
        assert observed[-1].scan_id == 2
        assert observed[run[0][1]["uid"]].primary.read()["theta"].shape == (11,)

    def test_beside_yaml_of_intake(self, tmp_path: Path) -> None:
        arguments = "{metadatastore_db: mongodb://a/a, asset_registry_db: mongodb://b/b}"
        put(tmp_path, f"sources: {{new: {{driver: {MONGO}, args: {arguments}}}}}", "x.yml")
        put(tmp_path, HXN, "_legacy_config.yml")
        catalog = put(tmp_path, HXN)
        assert list(catalog) == ["hxn", "new"]
        assert databases(catalog.new) == ("mongodb://a/a", "mongodb://b/b")

    def test_options(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "probe_of_handlers.py").write_text("class Handler: pass\n")
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, "probe_of_handlers", raising=False)
        observed = put(tmp_path, HXN + MORE).hxn
        assert dict(observed.root_map) == {"/old": "/new"}
        assert "probe_of_handlers" not in sys.modules
        assert observed.handler_registry["FOO"].__name__ == "Handler"
        assert set(BlueskyMongoNormalizedCatalog("mongodb://a/b").handler_registry) < set(observed.handler_registry)

    def test_a_handler_reads(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, database: Database[dict[str, Any]], database_uri: str
    ) -> None:
        (tmp_path / "probe_that_reads.py").write_text(
            "import numpy\nclass Handler:\n    def __init__(self, path, **kwargs): pass\n"
            "    def __call__(self, index): return numpy.full((4, 6), 7 * index, 'u2')\n"
        )
        monkeypatch.syspath_prepend(tmp_path)
        put_normalized(database, npy_seq(tmp_path))
        handlers = "handlers: {NPY_SEQ: {module: probe_that_reads, class: Handler}}"
        catalog = put(tmp_path, on_server(database_uri) + handlers).hxn
        assert catalog[67].primary.read()["image"].values[:, 0, 0].tolist() == [0, 7, 14]

    def test_credentials_reach_the_driver(self, tmp_path: Path) -> None:
        observed = put(tmp_path, with_secrets()).hxn
        assert observed.store.connection.address.server == f"mongodb://me:{PASSWORD}@xf03id-ca1:27017/?authSource=users"
        assert databases(observed)[0] == "mongodb://me@xf03id-ca1:27017/datastore-2?authSource=users"

    def test_the_yaml_is_equivalent(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "one").mkdir()
        offered = configuration(tmp_path / "one", with_secrets())
        expected, text = offered.open(), offered.yaml()
        monkeypatch.setenv("MONGO_USER", "me")
        monkeypatch.setenv("MONGO_PASSWORD", PASSWORD)
        (tmp_path / "two").mkdir()
        observed = put(tmp_path / "two", text).hxn
        assert databases(observed) == databases(expected)
        assert observed.store.connection.address.server == expected.store.connection.address.server
        assert observed.root_map == expected.root_map
        assert observed.description == expected.description
        assert yaml.safe_load(text)["sources"]["hxn"]["args"]["handler_registry"] == {
            "FOO": "probe_of_handlers.Handler"
        }

    def test_a_driver_that_tells_secrets(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(uri: str, *_: Any, **__: Any) -> None:
            raise ValueError(f"cannot parse {uri}, password {PASSWORD} or {unquote(PASSWORD)}")

        def init(self: Any, metadatastore_db: str, asset_registry_db: str, **kwargs: Any) -> None:
            refuse(metadatastore_db, asset_registry_db, **kwargs)

        monkeypatch.setattr(BlueskyMongoNormalizedCatalog, "__init__", init)
        with pytest.raises(StoreUnavailable, match="cannot be opened: ValueError: cannot parse mongodb://") as caught:
            _ = put(tmp_path, with_secrets()).hxn
        assert str(caught.value).endswith("@xf03id-ca1:27017/datastore-2?authSource=users, password ... or ...")
        assert caught.value.__suppress_context__


@pytest.mark.usefixtures("no_driver")
class TestRefused:
    def test_says_the_yaml_and_what_to_install(self, tmp_path: Path) -> None:
        catalog = put(tmp_path, HXN + MORE)
        assert catalog.offered["hxn"].installed is False
        with pytest.raises(MissingDependency) as caught:
            _ = catalog.hxn
        told, _, text = str(caught.value).partition(":\n")
        assert "install bluesky-intake again" in told
        assert "left out" not in told
        assert text == catalog.offered["hxn"].yaml()
        assert yaml.safe_load(text)["sources"] == {
            "hxn": {
                "driver": MONGO,
                "container": "catalog",
                "description": "heavyweight shared database",
                "args": {
                    "metadatastore_db": "mongodb://xf03id-ca1:27017/datastore-2",
                    "asset_registry_db": "mongodb://xf03id-ca1:27017/filestore-2",
                    "root_map": {"/old": "/new"},
                    "handler_registry": {"FOO": "probe_of_handlers.Handler"},
                },
            }
        }

    def test_no_credentials(self, tmp_path: Path) -> None:
        catalog = put(tmp_path, with_secrets())
        with pytest.raises(MissingDependency, match="user and password are left out: set the environment") as caught:
            _ = catalog.hxn
        for shown in (str(caught.value), repr(catalog), repr(catalog.offered["hxn"])):
            assert PASSWORD not in shown
            assert "me:" not in shown
        assert "mongodb://{{ env(MONGO_USER) }}:{{ env(MONGO_PASSWORD) }}@xf03id-ca1:27017/" in str(caught.value)

    def test_two_users(self, tmp_path: Path) -> None:
        data = yaml.safe_load(with_secrets())
        data["assets"]["config"]["mongo_pwd"] = "other"
        observed = configuration(tmp_path, yaml.safe_dump(data)).yaml()
        assert "env(MONGO_PASSWORD)" in observed
        assert "env(MONGO_ASSETS_PASSWORD)" in observed

    @pytest.mark.parametrize(
        ("module", "kind"), [("sqlite", "SQLite files"), ("hdf5", "HDF5 files"), ("mongoquery", "JSON files")]
    )
    def test_files_of_databroker(self, module: str, kind: str, tmp_path: Path) -> None:
        catalog = put(tmp_path, SQLITE.replace("headersource.sqlite", f"headersource.{module}"))
        assert list(catalog) == ["hxn"]
        with pytest.raises(UnsupportedOperation) as caught:
            _ = catalog.hxn
        told, _, text = str(caught.value).partition(":\n")
        assert f"{kind} in /data/some_directory" in told
        assert "suitcase.msgpack.export(run.documents(), '/data/some_directory/msgpack')" in told
        assert yaml.safe_load(text)["sources"]["hxn"]["args"] == {
            "paths": ["/data/some_directory/msgpack/*.msgpack"],
            "root_map": {"/old": "/new"},
        }

    def test_the_yaml_of_exported_files_opens(self, tmp_path: Path) -> None:
        offered = configuration(tmp_path, SQLITE.replace("/data/some_directory", str(tmp_path / "old")))
        with intake.open_catalog(str(tmp_path / "old" / "msgpack"), driver="bluesky-msgpack-catalog").writer() as write:
            for name, doc in EXAMPLES["scan"](tmp_path):
                write(name, doc)
        assert put(tmp_path, offered.yaml()).hxn[-1].scan_id == 2

    def test_classes_that_nobody_knows(self, tmp_path: Path) -> None:
        catalog = put(tmp_path, HXN.replace("databroker.headersource.mongo", "hxntools.own"))
        for use in (lambda: catalog.hxn, catalog.offered["hxn"].yaml):
            with pytest.raises(UnsupportedOperation, match=r"for hxntools.own.MDS and databroker.assets.mongo"):
                use()
        assert "hxntools" not in sys.modules


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("        database: 'datastore-2'\n", "", "metadatastore.config names no database"),
        ("class: 'MDS'", "", "whose 'metadatastore' names no module and class"),
        ("assets:", "other:", "whose 'assets' names no module and class"),
        ("host: 'xf03id-ca1'", f"uri: 'http://me:{PASSWORD}@x'", "says uri and also host or port"),
        ("description:", "handlers: {FOO: a.B}\ndescription:", "handler of 'FOO' names no module and class"),
        ("description:", "root_map: [1]\ndescription:", "whose 'root_map' is no mapping"),
    ],
)
def test_what_is_wrong_with_a_configuration(old: str, new: str, words: str, tmp_path: Path) -> None:
    catalog = put(tmp_path, HXN.replace(old, new))
    (problem,) = catalog.problems
    assert words in problem.message
    assert PASSWORD not in problem.message
    with pytest.raises(StoreUnavailable, match=words):
        _ = catalog.hxn


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({}, "mongodb://localhost/db"),
        ({"host": "a"}, "mongodb://a/db"),
        ({"host": "a", "port": 27018}, "mongodb://a:27018/db"),
        ({"host": "a,b:1", "port": 27018}, "mongodb://a:27018,b:1/db"),
        ({"host": ["a", "b"], "port": 1}, "mongodb://a:1,b:1/db"),
        ({"host": "mongodb://a:1,b/?replicaSet=r"}, "mongodb://a:1,b/db?replicaSet=r"),
        ({"uri": "mongodb://a"}, "mongodb://a/db"),
        ({"uri": "mongodb+srv://a/x?tls=true"}, "mongodb+srv://a/db?tls=true"),
        ({"uri": "mongodb://u@a/"}, "mongodb://u@a/db?authSource=admin"),
        ({"uri": "mongodb://u:p@a/users"}, "mongodb://u:p@a/db?authSource=users"),
        ({"uri": "mongodb://u:p@a/x?authSource=y"}, "mongodb://u:p@a/db?authSource=y"),
        ({"uri": "mongodb://u:p@a/", "authsource": "y"}, "mongodb://u:p@a/db?authSource=y"),
        (
            {"uri": "mongodb://u:p@a/?authMechanism=PLAIN"},
            "mongodb://u:p@a/db?authMechanism=PLAIN&authSource=$external",
        ),
        ({"uri": "mongodb://u@a/?authMechanism=GSSAPI"}, "mongodb://u@a/db?authMechanism=GSSAPI"),
        ({"host": "a", "mongo_user": "u", "mongo_pwd": "p@:/%40"}, "mongodb://u:p%40%3A%2F%40@a/db?authSource=admin"),
        ({"host": "a", "mongo_user": "u"}, "mongodb://a/db"),
    ],
)
def test_addresses(config: dict[str, Any], expected: str) -> None:
    assert mongo_address({"database": "db", **config}, "assets").uri == expected


@pytest.mark.parametrize(
    "uri",
    [
        "mongodb://me:swordfish@a/x",
        "mongodb://me:sword@swordfish@a/x",
        "mongodb://me@a/x?tlsCertificateKeyFilePassword=swordfish&tls=true",
        "mongodb://a/x?authMechanismProperties=AWS_SESSION_TOKEN:swordfish",
    ],
)
def test_nothing_secret_is_shown(uri: str) -> None:
    address = mongo_address({"uri": uri, "database": "db"}, "assets")
    assert address.secret
    assert "swordfish" in address.uri
    assert "swordfish" not in address.shown("MONGO")
    assert "me" not in address.shown("MONGO").split("@")[0].split("://")[1]


@pytest.mark.parametrize("uri", ["mongodb://me:sword/fish@a/x", "http://me:fish@a", "mongodb://a/fish@b", "fish", 3])
def test_addresses_that_are_none(uri: Any) -> None:
    with pytest.raises(
        ValueError, match=r"the uri of assets.config is no MongoDB URI \(what it is is not shown"
    ) as caught:
        mongo_address({"uri": uri, "database": "db"}, "assets")
    assert "fish" not in str(caught.value)


def test_addresses_as_pymongo_reads_them() -> None:
    from pymongo.uri_parser import parse_uri

    config = {"host": "a,b", "port": 5, "mongo_user": "u", "mongo_pwd": quote("p/@:"), "database": "my-db_2"}
    observed = parse_uri(mongo_address(config, "assets").uri)
    assert observed["nodelist"] == [("a", 5), ("b", 5)]
    assert (observed["username"], observed["password"], observed["database"]) == ("u", "p/@:", "my-db_2")
    assert observed["options"]["authSource"] == "admin"


@pytest.mark.usefixtures("no_driver")
class TestCommand:
    @pytest.fixture
    def folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.setattr(sys, "prefix", str(tmp_path / "prefix"))
        monkeypatch.setitem(conf, "catalog_path", [])
        monkeypatch.delenv("INTAKE_PATH", raising=False)
        folder = tmp_path / ".config" / "databroker"
        folder.mkdir(parents=True)
        put(folder, with_secrets())
        put(folder, f"sources: {{new: {{driver: {MONGO}}}}}", "new.yml")
        return folder

    def test_yaml(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["catalogs", "--yaml", "hxn"]) == 0
        out, err = capsys.readouterr()
        assert (out, err) == (InstalledCatalogs([folder]).offered["hxn"].yaml(), "")
        assert "MONGO_PASSWORD" in out

    @pytest.mark.parametrize(
        ("argv", "words"),
        [
            (["ls", "hxn"], "has this driver.*: intake-bluesky catalogs --yaml hxn\n"),
            (["ls", "new"], f"needs the driver '{MONGO}'"),
            (["catalogs", "--yaml", "new"], "'new' of .* is no configuration file of databroker"),
            (["catalogs", "--yaml", "gone"], "no installed catalog is called 'gone'"),
        ],
    )
    def test_what_cannot_be_done(
        self, folder: Path, argv: list[str], words: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(argv) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert len(err.splitlines()) == 1
        assert re.search(words, err), err
        assert PASSWORD not in err
