"""The roles of the page on PostgreSQL: one that owns the runs, and one that reads today's tables and later ones."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from intake_bluesky.errors import IntakeBlueskyError
from intake_bluesky.testing.plain_runs import count, scan
from intake_bluesky_sql import BlueskySQLCatalog
from tests.servers.postgres import Postgres

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "run-postgresql.md"


def _statements() -> list[list[str]]:
    blocks = re.findall(r"```sql\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    return [[line for line in block.splitlines() if line] for block in blocks]


def _create(uri: str) -> None:
    [code] = re.findall(r'python -c "\n(.*?)"\n', PAGE.read_text(encoding="utf-8"), re.DOTALL)
    shown = "postgresql+psycopg://beamline@db.example.org/runs"
    assert shown in code
    exec(code.replace(shown, uri), {})


def _write(cat: BlueskySQLCatalog, run: list[tuple[str, dict[str, object]]]) -> None:
    with cat.writer() as write:
        for name, doc in run:
            write(name, doc)


def test_readers_read_the_tables_that_come_and_change_none(postgres: Postgres) -> None:
    administrator, in_the_database = _statements()
    with postgres.connect("postgres") as db:
        for statement in administrator:
            db.execute(statement)
    with postgres.connect("runs") as db:
        for statement in in_the_database:
            db.execute(statement)
    uri = "postgresql+psycopg://{}@/runs?host=" + str(postgres.socket)
    owner, reader = (BlueskySQLCatalog(uri.format(role)) for role in ("beamline", "readers"))
    _create(uri.format("beamline"))
    assert len(reader) == 0
    _write(owner, scan())
    assert reader[-1].primary.read()["theta"].size == 11
    with pytest.raises(IntakeBlueskyError, match=r"this user lacks .*INSERT on runs"):
        _write(reader, count())
    with postgres.connect("runs") as db:
        db.execute("SET ROLE beamline")
        db.execute("CREATE TABLE of_a_later_release (x integer)")
        db.execute("SET ROLE readers")
        assert db.execute("SELECT x FROM of_a_later_release").fetchall() == []
    for cat in (owner, reader):
        cat.origin.store.close()
