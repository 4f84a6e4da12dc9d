"""A server of S3 for tests that checks signatures and rights, which moto does not: started once, ended by its id."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

KEY, SECRET = "beamline-key", "hunter2-of-the-beamline"
FEW_RIGHTS = {
    "reader": ["Read:private", "List:private"],
    "getter": ["Read:private"],
    "without-index": ["Read:private/*.zst", "List:private"],
}
"""Those who may do little, by name; ``<name>-key`` is the key of each, and the secret is that of all."""


@dataclass(frozen=True, slots=True)
class Buckets:
    """A bucket ``private`` that wants a key, and ``public``, which anybody may read."""

    endpoint: str
    client: Any
    key: str = KEY
    secret: str = SECRET


def free_ports(number: int) -> list[int]:
    """Ports that nobody listens on."""
    # The server opens each port and the same plus 10,000.
    with ExitStack() as stack:
        found: list[int] = []
        while len(found) < number:
            probe, other = (stack.enter_context(socket.socket()) for _ in range(2))
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
            if port < 55_000 and other.connect_ex(("127.0.0.1", port + 10_000)) != 0:
                found.append(port)
        return found


def _configuration() -> dict[str, Any]:
    own = {"accessKey": KEY, "secretKey": SECRET}
    others = [
        {"name": name, "credentials": [{"accessKey": f"{name}-key", "secretKey": SECRET}], "actions": rights}
        for name, rights in FEW_RIGHTS.items()
    ]
    return {
        "identities": [
            *others,
            {"name": "beamline", "credentials": [own], "actions": ["Admin", "Read", "Write", "List"]},
            {"name": "anonymous", "actions": ["Read:public", "List:public"]},
        ]
    }


def _started(client: Any, process: subprocess.Popen[bytes], log: Path) -> None:
    from botocore.exceptions import BotoCoreError, ClientError  # type: ignore[import-untyped]

    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        try:
            for bucket in ("private", "public"):
                client.create_bucket(Bucket=bucket)
                client.put_object(Bucket=bucket, Key="here", Body=b"")
                client.delete_object(Bucket=bucket, Key="here")
        except (BotoCoreError, ClientError):
            time.sleep(0.2)
        else:
            return
    raise RuntimeError(f"the server of S3 does not answer: {log.read_text()[-2000:]}")


@pytest.fixture(scope="session")
def buckets() -> Iterator[Buckets]:
    """Give a server with two buckets; where it cannot be started, tests fail."""
    import boto3  # type: ignore[import-untyped]

    with tempfile.TemporaryDirectory(prefix="intake-bluesky-s3-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        (folder / "identities.json").write_text(json.dumps(_configuration()), encoding="utf-8")
        master, volume, filer, port = free_ports(4)
        command = [
            str(Path(sys.executable).with_name("weed")), "server", f"-dir={folder}",
            "-ip=127.0.0.1", "-ip.bind=127.0.0.1",
            f"-master.port={master}", f"-volume.port={volume}", f"-filer.port={filer}", "-s3", f"-s3.port={port}",
            "-s3.port.iceberg=0", "-s3.port.lance=0",  # the latter is one port for all servers of a machine
            f"-s3.config={folder / 'identities.json'}", "-master.telemetry=false",
            "-volume.max=32", "-master.volumeSizeLimitMB=64",
        ]  # fmt: skip
        endpoint, log = f"http://127.0.0.1:{port}", folder / "log"
        keys: dict[str, Any] = {"aws_access_key_id": KEY, "aws_secret_access_key": SECRET}
        client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1", **keys)
        with log.open("wb") as out:
            process = subprocess.Popen(command, stdout=out, stderr=out, cwd=folder)
        try:
            _started(client, process, log)
            yield Buckets(endpoint, client)
        finally:
            client.close()
            process.kill()  # in order it takes half a minute
            process.wait()
