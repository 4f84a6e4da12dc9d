"""Files in a bucket behind a counting proxy, and arrays of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import uuid4

from tests.servers.proxy import Proxy
from tests.servers.s3 import KEY, SECRET, Buckets

BUCKET = "private"


def options(endpoint: str) -> dict[str, Any]:
    """As a user gives them."""
    return {"key": KEY, "secret": SECRET, "endpoint_url": endpoint}


def put(buckets: Buckets, file: Path, name: str = "") -> str:
    """Upload a file, and give its URL."""
    key = name or f"{uuid4().hex}/{file.name}"
    buckets.client.put_object(Bucket=BUCKET, Key=key, Body=file.read_bytes())
    return f"s3://{BUCKET}/{key}"


def counted(proxy: Proxy) -> dict[str, int]:
    """How often each method came; forgets them."""
    found = {method: proxy.count(method) for method in ("HEAD", "GET", "LIST") if proxy.count(method)}
    proxy.reset()
    return found
