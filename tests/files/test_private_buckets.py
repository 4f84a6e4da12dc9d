"""Buckets that want a key: given in the options, in a profile or in the environment; and one that wants none."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import uuid4

import intake
import pytest
import s3fs  # type: ignore[import-untyped]

from intake_bluesky.documents.model import to_plain
from intake_bluesky.errors import StoreUnavailable
from intake_bluesky.testing.plain_runs import scan
from intake_bluesky_bucket import BlueskyBucketCatalog
from intake_bluesky_jsonl import BlueskyJSONLCatalog
from tests.servers.proxy import Proxy
from tests.servers.s3 import KEY, Buckets

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "remote-files.md"

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Keep keys of this machine away, and connections of one test from the next."""
    monkeypatch.setenv("INTAKE_BLUESKY_CACHE", str(tmp_path / "cache"))
    for name in ("AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    s3fs.S3FileSystem.clear_instance_cache()
    yield
    s3fs.S3FileSystem.clear_instance_cache()


@pytest.fixture(scope="module")
def runs(buckets: Buckets) -> Buckets:
    """Both buckets hold one run."""
    body = b"".join(json.dumps([name, to_plain(doc)]).encode() + b"\n" for name, doc in scan())
    for bucket in ("private", "public"):
        buckets.client.put_object(Bucket=bucket, Key="runs/a.jsonl", Body=body)
    return buckets


def _read(bucket: str, **options: Any) -> int:
    catalog = BlueskyJSONLCatalog(f"s3://{bucket}/runs", storage_options=options)
    assert catalog.problems == ()
    return int(catalog[-1].primary.read()["theta"].size)


def _profile(folder: Path, buckets: Buckets) -> None:
    (folder / "credentials").write_text(
        f"[beamline]\naws_access_key_id = {buckets.key}\naws_secret_access_key = {buckets.secret}\n", encoding="utf-8"
    )


def test_keys_in_the_options(runs: Buckets) -> None:
    assert _read("private", key=runs.key, secret=runs.secret, endpoint_url=runs.endpoint) == 11


def test_a_profile_in_the_options_and_in_the_environment(
    runs: Buckets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _profile(tmp_path, runs)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    assert _read("private", profile="beamline", endpoint_url=runs.endpoint) == 11
    monkeypatch.setenv("AWS_PROFILE", "beamline")
    monkeypatch.setenv("AWS_ENDPOINT_URL", runs.endpoint)
    assert _read("private") == 11


def test_keys_in_the_environment(runs: Buckets, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", runs.key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", runs.secret)
    assert _read("private", endpoint_url=runs.endpoint) == 11


def test_variables_in_a_file_of_this_machine(runs: Buckets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEAMLINE_KEY", runs.key)
    monkeypatch.setenv("BEAMLINE_SECRET", runs.secret)
    (tmp_path / "beamline.yml").write_text(
        f"""
sources:
  archive:
    driver: bluesky-jsonl-catalog
    args:
      paths: s3://private/runs
      storage_options:
        key: "{{{{ env(BEAMLINE_KEY) }}}}"
        secret: "{{{{ env(BEAMLINE_SECRET) }}}}"
        endpoint_url: {runs.endpoint}
""",
        encoding="utf-8",
    )
    assert len(intake.open_catalog(str(tmp_path / "beamline.yml")).archive) == 1


def test_a_public_bucket_takes_anybody(runs: Buckets) -> None:
    assert _read("public", anon=True, endpoint_url=runs.endpoint) == 11


REFUSED: dict[str, dict[str, Any]] = {
    "PermissionError: Access Denied": {"anon": True},
    "PermissionError: no key was found": {},
    "PermissionError: The request signature we calculated does not match": {"key": KEY, "secret": "wrong-secret"},
}


@pytest.mark.parametrize("reason", REFUSED)
def test_a_private_bucket_says_why_it_refuses_and_shows_no_secret(runs: Buckets, reason: str) -> None:
    options = {**REFUSED[reason], "endpoint_url": runs.endpoint}
    catalog = BlueskyJSONLCatalog("s3://private/runs", storage_options=options)
    with pytest.raises(StoreUnavailable, match=f"s3://private/runs cannot be listed: {reason}") as caught:
        len(catalog)
    assert "wrong-secret" not in str(caught.value)
    assert f"| `{reason}" in PAGE.read_text(encoding="utf-8")


def _as(name: str, prefix: str, buckets: Buckets) -> BlueskyBucketCatalog:
    options = {"key": f"{name}-key" if name else KEY, "secret": buckets.secret, "endpoint_url": buckets.endpoint}
    return BlueskyBucketCatalog(f"s3://private/{prefix}", storage_options=options)


@pytest.fixture
def written(buckets: Buckets) -> str:
    """A folder with one run and its index."""
    prefix = f"rights-{uuid4().hex}"
    catalog = _as("", prefix, buckets)
    with closing(catalog.store), catalog.writer() as put:
        for name, doc in scan():
            put(name, doc)
    return prefix


def test_a_catalog_is_read_by_who_may_read_and_made_anew_by_who_may_put(buckets: Buckets, written: str) -> None:
    catalog = _as("reader", written, buckets)
    with closing(catalog.store):
        assert catalog[-1].primary.read()["theta"].size == 11
        assert catalog.problems == ()
        with pytest.raises(StoreUnavailable, match=r"cannot be made anew .* right to put objects .*s3:PutObject"):
            catalog.store.publish()  # type: ignore[attr-defined]  # of a bucket
        assert len(catalog) == 1


def test_who_may_not_list_is_told_so(buckets: Buckets, written: str) -> None:
    catalog = _as("getter", written, buckets)
    with closing(catalog.store), pytest.raises(StoreUnavailable, match=r"right to list objects .*s3:ListBucket"):
        len(catalog)


def test_without_the_index_the_runs_are_listed(buckets: Buckets, written: str) -> None:
    catalog = _as("without-index", written, buckets)
    with closing(catalog.store):
        with pytest.warns(UserWarning, match=r"the index may not be read .*s3:GetObject.*the runs .* are listed"):
            assert len(catalog) == 1
        assert catalog[-1].primary.read()["theta"].size == 11
        [problem] = catalog.problems
        assert problem.where == f"s3://private/{written}/_index"


def test_who_may_not_delete_is_told_what_stays(buckets: Buckets, proxy: Proxy, written: str) -> None:
    options = {"key": KEY, "secret": buckets.secret, "endpoint_url": proxy.endpoint}
    catalog = BlueskyBucketCatalog(f"s3://private/{written}", storage_options=options)
    with closing(catalog.store):
        catalog.store.publish()  # type: ignore[attr-defined]  # of a bucket
        proxy.fail("denied", "POST")
        with pytest.raises(StoreUnavailable, match=r"right to delete objects .*s3:DeleteObject"):
            catalog.store.publish()  # type: ignore[attr-defined]  # of a bucket
        assert len(catalog) == 1
