"""Objects and catalogs in Azure and in Google Cloud Storage, each in a server of its own."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from intake_bluesky.documents.model import identical
from intake_bluesky.errors import DuplicateRun, StoreUnavailable
from intake_bluesky.files.bucket import live_pieces
from intake_bluesky.objects import ObjectReplaced, Span, objects_at
from intake_bluesky.objects.cloud import CloudObjects
from intake_bluesky.objects.options import settings_for
from intake_bluesky.testing.plain_runs import count, scan
from intake_bluesky_bucket import BlueskyBucketCatalog
from tests.servers import azure
from tests.servers.azure import AzureContainer
from tests.servers.gcs import GoogleBucket

pytestmark = pytest.mark.slow

Place = tuple[str, dict[str, Any]]


@pytest.fixture(params=["az", "gs"])
def place(request: pytest.FixtureRequest) -> Place:
    """An empty folder, and the options by which it is read and written."""
    server = request.getfixturevalue({"az": "azure_container", "gs": "google_bucket"}[request.param])
    return f"{request.param}://runs/{uuid4().hex}", server.options


@pytest.fixture
def objects(place: Place) -> Iterator[tuple[CloudObjects, str]]:
    made, folder = objects_at(*place)
    assert isinstance(made, CloudObjects)
    yield made, folder
    made.close()


def test_the_seven_verbs(objects: tuple[CloudObjects, str]) -> None:
    store, folder = objects
    tag = store.put(f"{folder}/a b+é%", b"first")
    data, info = store.get(f"{folder}/a b+é%")
    assert (data, info.size, info.tag) == (b"first", 5, tag)
    assert info.modified > 1e9
    assert store.range(f"{folder}/a b+é%", 1, 3, tag) == b"ir"
    assert store.put(f"{folder}/a b+é%", b"other") != tag
    with pytest.raises(ObjectReplaced):
        store.range(f"{folder}/a b+é%", 1, 3, tag)
    created = store.create(f"{folder}/b", b"content")
    with pytest.raises(FileExistsError):
        store.create(f"{folder}/b", b"content")
    assert store.head(f"{folder}/b").tag == created
    for name in ("below/c", "B", "a0"):
        store.put(f"{folder}/{name}", BytesIO(b"0123456789"))
    listed = list(store.list(folder))
    assert [one.name.removeprefix(f"{folder}/") for one in listed] == ["B", "a b+é%", "a0", "b"]
    assert listed == [store.head(one.name) for one in listed]
    assert [one.name for one in store.list(folder, "**/c")] == [f"{folder}/below/c"]
    spans = [Span(f"{folder}/below/c", 8, 99), Span(f"{folder}/none", 0, 1), Span(f"{folder}/b", 7, 9)]
    last, missing, beyond = store.ranges(spans)
    assert (last, beyond) == (b"89", b"")
    assert isinstance(missing, FileNotFoundError)
    for failing in (store.head, store.get, store.list):
        with pytest.raises(FileNotFoundError):
            failing(f"{folder}/none")
    again = pickle.loads(pickle.dumps(store))
    again.delete([f"{folder}/{name}" for name in ("a b+é%", "none", "B", "a0", "b")])
    again.close()
    assert [one.name for one in store.list(folder, "**")] == [f"{folder}/below/c"]


def test_a_catalog(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two write, one run while the other looks on; another machine reads; the index is made anew."""

    monkeypatch.setattr(live_pieces, "PIECE", 1)

    def opened(cache: str) -> BlueskyBucketCatalog:
        monkeypatch.setenv("INTAKE_BLUESKY_CACHE", str(tmp_path / cache))
        catalog = BlueskyBucketCatalog(place[0], storage_options=place[1], flush_seconds=60)
        assert len(catalog) == (0 if cache in ("writer", "second") else 2)  # now, while the cache is this one
        return catalog

    writer, second = opened("writer"), opened("second")
    folder = second.store.files.location  # type: ignore[attr-defined]  # of a bucket
    for run in (scan(), count()):
        name = folder.path(f"{run[0][1]['uid']}.jsonl.zst")
        insert = writer.store.insert(run[0][1])
        with pytest.raises(DuplicateRun):
            second.store.insert(run[0][1])
        for pair in run[1:4]:
            insert.write(*pair)
            insert.flush()  # type: ignore[attr-defined]  # as time does
        writer.store.files.tail.put()  # type: ignore[attr-defined]  # and this
        second.refresh()
        assert len(folder.parts_of(name)) == 3
        assert identical(list(second.store.documents(run[0][1]["uid"])), run[:4])
        for pair in run[4:]:
            insert.write(*pair)
        assert folder.parts_of(name) == []
    writer.store.close()
    reader = opened("reader")
    for run in (scan(), count()):
        assert identical(list(reader.store.documents(run[0][1]["uid"])), run)
    assert reader[scan()[0][1]["uid"]].primary.read()["theta"].size == 11
    reader.store.scan()  # type: ignore[attr-defined]  # of a bucket
    [name] = reader.store.publish()  # type: ignore[attr-defined]  # of a bucket
    assert name.startswith(f"{place[0]}/_index/b-")
    last = opened("last")
    assert {run.uid: run.stop is not None for run in last.store.find()} == {
        scan()[0][1]["uid"]: True,
        count()[0][1]["uid"]: True,
    }
    for catalog in (second, reader, last):
        catalog.store.close()


def test_azure_by_a_key_or_a_token(azure_container: AzureContainer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither is told, the environment's come after them, and who may read alone is refused when writing."""
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "b2YtYW5vdGhlcg==")
    monkeypatch.setenv("AZURE_STORAGE_USE_EMULATOR", "true")
    host = {"account_name": azure.ACCOUNT, "account_host": azure_container.endpoint}
    keyed, name = objects_at(f"az://runs/{uuid4().hex}/a", {**host, "account_key": azure.KEY})
    keyed.put(name, b"content")
    reader, _ = objects_at("az://runs", {**host, "sas_token": azure_container.token})
    assert reader.get(name)[0] == b"content"
    text = f"BlobEndpoint={azure_container.endpoint};SharedAccessSignature={azure_container.token}"
    by_text, _ = objects_at("az://runs", {"connection_string": text})
    assert by_text.get(name)[0] == b"content"
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", azure_container.options["connection_string"])
    by_environment, _ = objects_at("az://runs")
    assert by_environment.get(name)[0] == b"content"
    wrong, _ = objects_at("az://runs", {**host, "account_key": "b3RoZXI="})
    anonymous, _ = objects_at("az://runs", {**host, "anon": True})
    refused: list[tuple[Any, Any]] = [(reader.put, (name, b"")), (wrong.get, (name,)), (anonymous.put, (name, b""))]
    refused += [(reader.create, (f"{name}b", b""))]
    signature = azure_container.token.rpartition("sig=")[2]
    for action, arguments in refused:
        with pytest.raises(PermissionError) as caught:
            action(*arguments)
        assert not any(secret in str(caught.value) for secret in (azure.KEY, "b3RoZXI=", signature))
    for store in (keyed, reader, by_text, by_environment, wrong, anonymous):
        assert not any(secret in repr(store) for secret in (azure.KEY, "b3RoZXI=", signature))
        store.close()


def test_nobody_writes_to_google_in_the_name_of_the_machine(google_bucket: GoogleBucket) -> None:
    settings = settings_for("gs", google_bucket.options)
    assert settings is not None
    assert settings.credentials is not None
    assert settings.credentials()["token"] == ""


def test_a_service_account_as_a_dict_signs_and_is_not_told(google_bucket: GoogleBucket) -> None:
    secret = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    ).decode()  # fmt: skip
    account = {
        "type": "service_account", "project_id": "beamline", "private_key_id": "1", "private_key": secret,
        "client_email": "writer@beamline.iam.gserviceaccount.com", "token_uri": "http://127.0.0.1:9/token",
    }  # fmt: skip
    place, options = f"gs://runs/{uuid4().hex}", {"token": account, "endpoint_url": google_bucket.endpoint}
    catalog = BlueskyBucketCatalog(place, storage_options=options)
    with catalog.writer() as write:
        for pair in scan():
            write(*pair)
    store: Any = catalog.store
    store.files.tail.put()
    again = pickle.loads(pickle.dumps(BlueskyBucketCatalog(place, storage_options=options)))
    assert list(again) == list(catalog) == [scan()[0][1]["uid"]]
    wrong = BlueskyBucketCatalog(place, storage_options={**options, "token": {**account, "private_key": secret[:500]}})
    with pytest.raises(StoreUnavailable) as caught:
        list(wrong)
    line = secret.splitlines()[3]
    shown = [repr(catalog), catalog.yaml(), repr(store), repr(store.files.location.objects)]
    assert not any(line in text for text in (*shown, str(caught.value)))
    for each in (catalog, again, wrong):
        each.store.close()
