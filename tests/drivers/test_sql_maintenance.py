"""What SQL databases lack to be searched quickly is named, and made when that is asked for."""

from __future__ import annotations

from operator import methodcaller
from pathlib import Path
from typing import Any

import pytest

from intake_bluesky.apps.cli import main
from intake_bluesky.errors import StoreUnavailable
from intake_bluesky.query import Start
from intake_bluesky.storage import Plan
from intake_bluesky.testing.plain_runs import count, scan
from intake_bluesky_sql import SQLStore, maintenance
from intake_bluesky_sql.maintenance import FIGURES
from tests.servers.postgres import Postgres

KNOWN = "SELECT reltuples FROM pg_class WHERE relname = 'runs'"


@pytest.fixture(params=["sqlite", "postgresql"])
def uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/runs.db"
    server: Postgres = request.getfixturevalue("postgres")
    return server.uri()


def put(store: SQLStore, *runs: Any) -> None:
    for run in runs:
        with store.insert(run[0][1]) as insert:
            for pair in run[1:]:
                insert.write(*pair)


def many(store: SQLStore, number: int) -> None:
    for n in range(number):
        store.insert({"uid": f"run {n}", "time": 1.7e9 + n, "scan_id": n, "operator": f"user {n % 7}"}).close()


def drop(store: SQLStore, *names: str) -> None:
    for name in names:
        store.database.write(methodcaller("exec_driver_sql", f"DROP INDEX {name}"))


def test_new_database_lacks_nothing(uri: str) -> None:
    store = SQLStore(uri)
    put(store, count(), scan())
    assert store.proposed_indexes() == []
    assert store.make_indexes() == []
    store.close()


def test_missing_indexes_are_named_and_made(uri: str) -> None:
    store = SQLStore(uri)
    put(store, count(), scan())
    drop(store, "by_scan_id", "statistics_by_run")
    proposed = store.proposed_indexes()
    assert [" ".join(text.split()[:5]) for text in proposed] == [
        "CREATE INDEX by_scan_id ON runs",
        "CREATE INDEX statistics_by_run ON statistics(file)",
    ]
    assert store.proposed_indexes() == proposed, "naming them changes nothing"
    assert store.make_indexes() == proposed
    assert store.proposed_indexes() == []
    assert [run.start["scan_id"] for run in store.find(Plan(Start("scan_id") == scan()[0][1]["scan_id"]))]
    store.close()


def test_the_command_names_and_makes_them(uri: str, capsys: pytest.CaptureFixture[str]) -> None:
    store = SQLStore(uri)
    put(store, count())
    drop(store, "by_scan_id")
    assert main(["index", uri]) == 0
    told = capsys.readouterr().out
    assert "  not there: CREATE INDEX by_scan_id ON runs" in told
    assert "(nothing was changed: --make makes them)" in told
    assert main(["index", "--make", uri]) == 0
    assert "  made CREATE INDEX by_scan_id ON runs" in capsys.readouterr().out
    assert store.proposed_indexes() == []
    store.close()


def test_database_that_may_not_be_changed_is_said(postgres: Postgres) -> None:
    uri = postgres.uri()
    store = SQLStore(uri)
    put(store, count())
    drop(store, "by_words")
    with postgres.connect(uri.partition("?")[0].rpartition("/")[2]) as db:
        db.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader")
    reader = SQLStore(uri.replace("postgres@", "reader@"))
    assert reader.proposed_indexes() == ["CREATE INDEX by_words ON runs USING gin (words)"]
    with pytest.raises(StoreUnavailable, match="must be owner of table runs"):
        reader.make_indexes()
    reader.close()
    store.close()


@pytest.mark.parametrize("may", [True, False])
def test_trigrams_are_made_once_they_may_be(postgres: Postgres, may: bool) -> None:
    uri = postgres.uri()
    name = uri.partition("?")[0].rpartition("/")[2]
    with postgres.connect(name) as db:
        db.execute("GRANT ALL ON SCHEMA public TO reader")
    store = SQLStore(uri.replace("postgres@", "reader@"))
    put(store, count(), scan())
    proposed = store.proposed_indexes()
    assert [text.split()[2] for text in proposed] == ["by_trigrams"]
    if may:
        with postgres.connect(name) as db:
            db.execute("CREATE EXTENSION pg_trgm")
    assert store.make_indexes() == (proposed if may else [])
    assert store.proposed_indexes() == ([] if may else proposed)
    store.close()


def test_figures_of_many_new_runs_are_made(postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maintenance, "FEW", 20)
    uri = postgres.uri()
    with postgres.connect(uri.partition("?")[0].rpartition("/")[2]) as db:
        store = SQLStore(uri)
        store.create()
        db.execute("ALTER TABLE runs SET (autovacuum_enabled = off)")
        many(store, 25)
        assert store.proposed_indexes() == [FIGURES]
        assert store.make_indexes() == [FIGURES]
        assert store.proposed_indexes() == []
        assert db.execute(KNOWN).fetchone() == (25.0,)
        db.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader")
        db.execute("UPDATE pg_class SET reltuples = -1 WHERE relname = 'runs'")
        reader = SQLStore(uri.replace("postgres@", "reader@"))
        assert reader.make_indexes() == [], "who may not do it is not told that it was done"
        assert reader.proposed_indexes() == [FIGURES]
        reader.close()
        store.close()


def test_writer_has_figures_made_as_runs_become_twice_as_many(
    postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maintenance, "FEW", 4)
    uri = postgres.uri()
    with postgres.connect(uri.partition("?")[0].rpartition("/")[2]) as db:
        store = SQLStore(uri)
        store.create()
        db.execute("ALTER TABLE runs SET (autovacuum_enabled = off)")
        observed = []
        for number in range(1, 17):
            put(store, [("start", {"uid": f"run {number}", "time": 1.0}), ("stop", _stop(number))])
            observed.append(db.execute(KNOWN).fetchone()[0])
        assert observed == [-1] * 3 + [4] * 4 + [8] * 8 + [16]
        store.close()


def _stop(number: int) -> dict[str, Any]:
    return {"uid": f"stop {number}", "time": 2.0, "run_start": f"run {number}", "exit_status": "success"}
