"""Addresses in buckets that servers and libraries understand differently."""

from __future__ import annotations

import pytest

from intake_bluesky.assets.remote.places import RemotePlace
from intake_bluesky.errors import WrongSetting
from intake_bluesky.files.bucket.store import BucketStore
from intake_bluesky.files.codec import CODECS
from intake_bluesky.objects import objects_at

OPTIONS = {"anon": True, "endpoint_url": "http://127.0.0.1:9"}


@pytest.mark.parametrize("name", ["/scan.h5", "runs//scan.h5", "runs/./scan.h5", "runs/../scan.h5"])
def test_a_name_is_never_that_of_another_object(name: str) -> None:
    """The key `/scan.h5` is another than `scan.h5`, which may be there, too."""
    url, place = f"s3://bucket/{name}", RemotePlace("s3://bucket", OPTIONS, {})
    assert place.named("s3://bucket/first.h5")[1] == "first.h5"
    for objects, found in (objects_at(url, OPTIONS), place.named(url)):
        assert objects.url(found) == url
    assert place.named("s3://bucket/scan.h5")[1] == "scan.h5"


@pytest.mark.parametrize("name", ["/runs", "a//runs", "a/./runs", "a/../runs", "..", "a\\runs", "a\nb"])
@pytest.mark.parametrize("scheme", ["s3", "gs", "memory"])
def test_a_catalog_has_no_such_folder(name: str, scheme: str) -> None:
    """Some servers put a run there, and list it elsewhere."""
    with pytest.raises(WrongSetting, match="cannot be the folder of a catalog"):
        BucketStore(f"{scheme}://bucket/{name}", CODECS["jsonl"])


@pytest.mark.parametrize("url", ["s3://bucket", "s3://bucket/", "s3://bucket/a b%20c+#?/ü", "memory://bucket/a/"])
def test_other_names_stay(url: str) -> None:
    store = BucketStore(url, CODECS["jsonl"])
    assert store.urlpath == url.rstrip("/")
