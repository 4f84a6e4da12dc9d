"""A server of MongoDB's protocol for tests: one is started when the first test asks, or ``MONGODB_URI`` names one."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import pytest
from pymongo import MongoClient
from pymongo.database import Database
from pymongo.errors import PyMongoError

PATIENCE: Final = 20.0  # seconds to end in order
REAL: Final = os.environ.get("MONGODB_URI")
"""Of a real MongoDB, which then takes the place of the server started here."""


class MongoServer:
    """A server in a process of its own, that can be stopped and started again.

    Parameters
    ----------
    folder : Path
        Where it keeps what it is given.
    """

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def uri(self) -> str:
        return f"mongodb://127.0.0.1:{self.port}"

    def start(self, *options: str) -> None:
        """Start it, with more of its command line, such as ``--auth``."""
        log = self._folder / "log"
        command = [sys.executable, "-m", "secantus", "--host", "127.0.0.1", "--port", str(self.port)]
        with log.open("ab") as out:
            self._process = subprocess.Popen(
                [*command, "--storage-path", str(self._folder), *options],
                stdout=out, stderr=out, cwd=self._folder,
            )  # fmt: skip
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and self._process.poll() is None:
            if self._answers():
                return
            time.sleep(0.05)
        raise RuntimeError(f"the server does not answer at {self.uri}: {log.read_text()[-2000:]}")

    def _answers(self) -> bool:
        try:
            with MongoClient[dict[str, Any]](self.uri, serverSelectionTimeoutMS=300) as client:
                client.admin.command("ping")
        except PyMongoError:
            return False
        return True

    def stop(self, how: signal.Signals = signal.SIGKILL) -> None:
        """End it, as a crash would, or in order by ``SIGTERM``."""
        if self._process is not None:
            self._process.send_signal(how)
            try:
                self._process.wait(PATIENCE)
            except subprocess.TimeoutExpired:  # it waits for connections that nobody uses any more
                self._process.kill()
                self._process.wait()
            self._process = None


@contextmanager
def server() -> Iterator[MongoServer]:
    """Run a server of one's own, to be stopped or to have users."""
    with tempfile.TemporaryDirectory(prefix="intake-bluesky-mongo-", ignore_cleanup_errors=True) as folder:
        started = MongoServer(Path(folder))
        try:
            started.start()
            yield started
        finally:
            started.stop()


@pytest.fixture(scope="session")
def mongodb() -> Iterator[str]:
    """The URI of the server that all tests of this process share; without a database."""
    if REAL is not None:
        yield REAL
        return
    with server() as started:
        yield started.uri


@pytest.fixture(scope="session")
def mongo_client(mongodb: str) -> Iterator[MongoClient[dict[str, Any]]]:
    """A client for what tests do without the driver."""
    with MongoClient[dict[str, Any]](mongodb) as client:
        yield client


@contextmanager
def new_database(client: MongoClient[dict[str, Any]]) -> Iterator[Database[dict[str, Any]]]:
    """Give a new, empty database, and drop it at the end."""
    name = f"intake_bluesky_{uuid4().hex[:12]}"
    yield client[name]
    client.drop_database(name)


@pytest.fixture
def database(mongo_client: MongoClient[dict[str, Any]]) -> Iterator[Database[dict[str, Any]]]:
    """A new, empty database, dropped at the end."""
    with new_database(mongo_client) as found:
        yield found


@pytest.fixture
def database_uri(mongodb: str, database: Database[dict[str, Any]]) -> str:
    """The URI of that database."""
    return uri_of(mongodb, database.name)


def uri_of(server_uri: str, database: str) -> str:
    """Put a database into the URI of a server."""
    before, mark, options = server_uri.partition("?")
    return f"{before.rstrip('/')}/{database}{mark}{options}"
