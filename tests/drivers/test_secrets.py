"""What every driver's catalog shows of arguments that hold secrets: the same, and no secret."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import intake
import pytest
import yaml

from intake_bluesky.catalogs.run_catalog import BlueskyCatalog
from intake_bluesky.errors import UnsupportedOperation
from intake_bluesky.testing.memory import MemoryStore
from intake_bluesky_bucket import BlueskyBucketCatalog
from intake_bluesky_jsonl import BlueskyJSONLCatalog
from intake_bluesky_mongo import BlueskyMongoEmbeddedCatalog, BlueskyMongoNormalizedCatalog
from intake_bluesky_msgpack import BlueskyMsgpackCatalog
from intake_bluesky_sql import BlueskySQLCatalog
from intake_bluesky_zarr import BlueskyZarrCatalog

SECRET = "hunter2"
MONGO = "mongodb://me@127.0.0.1:1/runs?authSource=admin"
SQL = "postgresql+psycopg://me@127.0.0.1:1/runs"
FACES: dict[type[BlueskyCatalog], tuple[dict[str, Any], dict[str, Any]]] = {
    face: (
        {
            "paths": f"https://me:{SECRET}@127.0.0.1:1/runs/",
            "storage_options": {"timeout": 1, "headers": {"Cookie": SECRET}},
        },
        {"paths": "https://127.0.0.1:1/runs/", "storage_options": {"timeout": 1, "headers": {}}},
    )
    for face in (BlueskyJSONLCatalog, BlueskyMsgpackCatalog)
}  # fmt: skip
FACES[BlueskyMongoNormalizedCatalog] = (
    {"metadatastore_db": MONGO.replace("@", f":{SECRET}@"), "asset_registry_db": MONGO.replace("@", f":{SECRET}@")},
    {"metadatastore_db": MONGO, "asset_registry_db": MONGO},
)
FACES[BlueskyMongoEmbeddedCatalog] = ({"datastore_db": MONGO.replace("@", f":{SECRET}@")}, {"datastore_db": MONGO})
FACES[BlueskySQLCatalog] = ({"uri": SQL.replace("@", f":{SECRET}@")}, {"uri": SQL})

for bucket in (BlueskyBucketCatalog, BlueskyZarrCatalog):
    FACES[bucket] = (
        {"urlpath": f"https://me:{SECRET}@127.0.0.1:1/runs", "storage_options": {"headers": {"Cookie": SECRET}}},
        {"urlpath": "https://127.0.0.1:1/runs", "storage_options": {"headers": {}}},
    )

every_face = pytest.mark.parametrize("face", FACES, ids=lambda face: face.name)


def from_yaml(folder: Path, face: type[BlueskyCatalog], arguments: dict[str, Any]) -> Any:
    source = {"driver": face.name, "args": arguments}
    (folder / "catalog.yml").write_text(yaml.safe_dump({"sources": {"beamline": source}}), encoding="utf-8")
    return intake.open_catalog(str(folder / "catalog.yml"))["beamline"]


@every_face
def test_one_way_to_show_them(face: type[BlueskyCatalog], tmp_path: Path) -> None:
    given, expected = FACES[face]
    more = {"storage_options": {"secret": SECRET}} | given
    opened = from_yaml(tmp_path, face, more)
    options = {"storage_options": {}} | expected
    assert opened.describe()["args"] == options
    for catalog in (
        face(**more),
        opened,
        face(**more).search({"plan_name": "scan"}),
        pickle.loads(pickle.dumps(opened)),
    ):
        [source] = yaml.safe_load(catalog.yaml())["sources"].values()
        args = source["args"]
        assert args == options | ({"query": args["query"]} if "query" in args else {})
        for shown in (repr(catalog), repr(catalog.store), str(catalog.describe()), catalog.serialize(), catalog.yaml()):
            assert SECRET not in shown


@every_face
def test_arguments_without_secrets_are_shown_as_they_are(face: type[BlueskyCatalog], tmp_path: Path) -> None:
    _, expected = FACES[face]
    assert from_yaml(tmp_path, face, expected).describe()["args"] == expected
    assert yaml.safe_load(face(**expected).serialize())["sources"][face.name]["args"] == expected


@every_face
def test_another_with_more_arguments_has_the_secrets(face: type[BlueskyCatalog], tmp_path: Path) -> None:
    given, expected = FACES[face]
    for catalog in (face(**given), from_yaml(tmp_path, face, expected)(**given)):
        again = catalog(root_map={"/old": "/new"})
        assert again.root_map == {"/old": "/new"}
        assert again._secrets == catalog._secrets == given
        assert catalog() is catalog
        narrowed = catalog.search({"plan_name": "scan"})
        assert narrowed(sort="time").query == narrowed.query


@every_face
def test_arguments_by_place_are_kept_by_name(face: type[BlueskyCatalog]) -> None:
    given, expected = FACES[face]
    (name, first), *_ = given.items()
    catalog: Any = face(first)
    assert (catalog._captured_init_args, catalog._captured_init_kwargs) == ((), {name: expected[name]})
    assert catalog == pickle.loads(pickle.dumps(catalog))


@pytest.mark.parametrize("face", [BlueskyMongoNormalizedCatalog, BlueskyMongoEmbeddedCatalog, BlueskySQLCatalog])
def test_pickles_of_databases_hold_none(face: type[BlueskyCatalog]) -> None:
    catalog = face(**FACES[face][0])
    assert SECRET.encode() not in pickle.dumps([catalog, catalog.search("scan")])


@pytest.mark.parametrize("face", [BlueskyJSONLCatalog, BlueskyMsgpackCatalog, BlueskyBucketCatalog, BlueskyZarrCatalog])
def test_pickles_of_files_open_them_elsewhere(face: type[BlueskyCatalog]) -> None:
    given, _ = FACES[face]
    there: Any = pickle.loads(pickle.dumps(face(**given)))
    assert there(sort="time")._secrets == given


def test_an_argument_of_databroker_that_is_not_used() -> None:
    catalog: Any = BlueskyMongoEmbeddedCatalog(MONGO, auth={"password": SECRET})
    assert SECRET not in catalog.yaml() + repr(pickle.dumps(catalog))


def test_a_store_object_has_no_yaml() -> None:
    with pytest.raises(UnsupportedOperation, match="made of a store object"):
        BlueskyCatalog(MemoryStore()).yaml()


@every_face
def test_a_remote_store_is_listed_less_often(face: type[BlueskyCatalog]) -> None:
    catalog = face(**FACES[face][1])
    remote = not FACES[face][1].keys().isdisjoint({"paths", "urlpath"})
    assert catalog.ttl == catalog.store.ttl == (10 if remote else 1)
    assert face(**FACES[face][1], ttl=60).ttl == 60
