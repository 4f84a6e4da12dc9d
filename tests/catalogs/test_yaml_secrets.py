"""What is said of a YAML file that is wrong: never its lines, which may hold a password."""

from __future__ import annotations

import pickle
import traceback
from pathlib import Path
from typing import Any

import pytest

from intake_bluesky import open_catalog
from intake_bluesky.apps.cli import main
from intake_bluesky.catalogs.installed.mapping import InstalledCatalogs
from intake_bluesky.errors import IntakeBlueskyError, StoreUnavailable, UntrustedName
from intake_bluesky_jsonl import BlueskyJSONLCatalog
from intake_bluesky_mongo import BlueskyMongoNormalizedCatalog
from intake_bluesky_mongo.address import MongoAddress
from intake_bluesky_sql import BlueskySQLCatalog
from intake_bluesky_sql.address import SQLAddress

SECRET = "secretword"
URI = f"mongodb://me:{SECRET}@localhost:27017/test"
WRONG = {
    "not indented": f"sources:\ntest:\ndriver: x\nargs:\nmetadatastore_db: {URI}\n",
    "args that are text": f"sources: {{test: {{driver: x, args: '{URI}'}}}}",
    "a source that is text": f"sources: {{test: '{URI}'}}",
    "sources that are a list": f"sources: ['{URI}']",
    "a catalog that is text": URI,
    "a parameter that is text": f"sources: {{test: {{driver: x, parameters: {{password: {SECRET}}}}}}}",
    "parameters that are text": f"sources: {{test: {{driver: x, parameters: '{URI}'}}}}",
    "a quote that does not end": f"sources:\n  test:\n    args:\n      uri: '{URI}\n",
    "a tag": f"sources: {{test: {{driver: x, args: {{password: !{SECRET} x}}}}}}",
    "an alias": f"sources: {{test: {{driver: x, args: {{password: *{SECRET}}}}}}}",
    "a key that is there twice": f"sources: {{test: {{driver: x, args: {{{SECRET}: 1, {SECRET}: 2}}}}}}",
    "a character that begins nothing": f"sources: {{test: {{driver: x, args: {{password: @{SECRET}}}}}}}",
    "a tab": f"sources:\n\ttest: {URI}",
    "a control character": f"sources: {{test: {{driver: x, args: {{password: '{SECRET}\x07'}}}}}}",
    "a key that is a mapping": f"sources: {{test: {{driver: x, args: {{ {{ {SECRET}: 1}}: 2}}}}}}",
    "a number that is none": f"sources: {{test: {{driver: x, args: {{password: !!int {SECRET}}}}}}}",
    "plugins": f"plugins: '{URI}'\nsources: {{}}",
    "a driver that is a number": f"sources: {{test: {{driver: 1, args: {{uri: '{URI}'}}}}}}",
    "version 2": f"version: 2\nentries: '{URI}'",
}
DRIVER = BlueskySQLCatalog.name
OPENED = {
    "a template": f"sources: {{test: {{driver: {DRIVER}, args: {{uri: 'postgresql://me:{SECRET}@h/{{{{ x y'}}}}}}",
    "a template that fails": f"sources: {{test: {{driver: {DRIVER}, args: {{uri: '{SECRET}{{{{ 1 / 0 }}}}'}}}}}}",
    "a parameter that is not allowed": (
        f"sources: {{test: {{driver: {DRIVER}, args: {{uri: 'x{{{{ password }}}}'}}, parameters: "
        f"{{password: {{description: x, type: str, default: {SECRET}, allowed: [x]}}}}}}}}"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", [*WRONG, *OPENED])
def test_no_message_shows_the_file(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "c.yml"
    path.write_text((WRONG | OPENED)[name], encoding="utf-8")
    for opens in (open_catalog, lambda path: InstalledCatalogs([path], group=None)):
        with pytest.raises((IntakeBlueskyError, KeyError)) as caught:
            opens(path)["test"]
        assert SECRET not in "".join(traceback.format_exception(caught.value))
    if name in WRONG and name != "version 2":
        with pytest.raises(StoreUnavailable, match=r"c\.yml is no catalog that Intake opens: ."):
            open_catalog(path)
    assert SECRET not in str([problem.message for problem in InstalledCatalogs([path], group=None).problems])
    assert main(["ls", str(path)]) != 0
    assert SECRET not in "".join(capsys.readouterr())


def test_targets_of_root_map_are_shown_without_passwords() -> None:
    catalog: Any = BlueskyJSONLCatalog(
        "runs", root_map={"/data/token": f"https://me:{SECRET}@host/x", "/other": "/mnt"}
    )
    there = pickle.loads(pickle.dumps(catalog))
    for one in (catalog, there, catalog.search({"scan_id": 1}), catalog(sort="time")):
        assert SECRET not in one.yaml() + str(one.describe()) + repr(one)
        assert "/data/token: https://host/x" in one.yaml()
        assert one.root_map["/data/token"] == f"https://me:{SECRET}@host/x"


@pytest.mark.parametrize(
    "uri",
    [
        "mongodb://me@host/db", "mongodb://host/db?authMechanism=MONGODB-AWS", "mongodb://%2Ftmp%2Fmongodb.sock/db",
        "mongodb://host/db?authMechanism=MONGODB-X509&tlsCertificateKeyFile=/home/me/.ssl/me.pem",
        "mongodb://host/db?authMechanism=GSSAPI", "mongodb://host/db;authMechanism=MONGODB-OIDC",
        "mongodb://me:pw@host/db?authMechanismProperties=TOKEN_RESOURCE:x", "mongodb://host/db?tlsCAFile=/etc/passwd",
    ],
)  # fmt: skip
def test_addresses_of_mongodb_that_send_what_is_a_users(uri: str) -> None:
    with pytest.raises((UntrustedName, ValueError)):
        BlueskyMongoNormalizedCatalog.from_elsewhere({"metadatastore_db": uri})
    with pytest.raises((UntrustedName, ValueError)):
        BlueskyMongoNormalizedCatalog.from_elsewhere({"metadatastore_db": "mongodb://h/db", "asset_registry_db": uri})


@pytest.mark.parametrize(
    "uri",
    [
        "sqlite:///x.db", "x.db", "postgresql:///db", "postgresql://h/db", "postgresql://me@%2Frun/db", "postgresql://me@a,/db",
        "postgresql://me@h/db?host=/run", "postgresql://me@h/db?service=mine", "postgresql://me@h/db?sslcert=/x&sslkey=/y",
        "postgresql://me@h/db?passfile=/x", "postgresql://me@h/db?require_auth=gss", "postgresql://me@h/db?gssencmode=require",
    ],
)  # fmt: skip
def test_addresses_of_postgresql_that_send_what_is_a_users(uri: str) -> None:
    with pytest.raises(UntrustedName):
        BlueskySQLCatalog.from_elsewhere({"uri": uri})


def test_passwords_of_a_catalog_from_elsewhere_are_replaced_by_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPASSWORD", SECRET)
    monkeypatch.setenv("MONGO_PASSWORD", SECRET)
    mine = MongoAddress.parse(f"mongodb://me:{SECRET}@host/db", "x")
    theirs = MongoAddress.from_elsewhere("mongodb://me:theirs@host/db", "x")
    assert (mine.secrets.password, theirs.secrets.password) == (SECRET, "theirs")
    copies = pickle.dumps((mine, theirs)), pickle.dumps(SQLAddress.of(
        BlueskySQLCatalog.from_elsewhere({"uri": "postgresql://me:theirs@host/db"})["uri"]
    ))  # fmt: skip
    monkeypatch.setattr("intake_bluesky.runtime.secrets._held", {})  # as in another process
    mine, theirs = pickle.loads(copies[0])
    assert SECRET in mine.server
    with pytest.raises(StoreUnavailable, match="password"):
        _ = theirs.server
    with pytest.raises(StoreUnavailable, match="open that catalog where this runs"):
        _ = pickle.loads(copies[1]).url
