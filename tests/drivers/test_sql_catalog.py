"""The SQL driver's catalog: addresses, YAML, what is missing or of another version, and secrets."""

from __future__ import annotations

import io
import logging
import multiprocessing
import os
import pickle
import sqlite3
import subprocess
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from operator import methodcaller
from pathlib import Path
from typing import Any

import intake
import numpy as np
import pytest
import yaml
from sqlalchemy import text

from intake_bluesky.catalogs.run_catalog import BlueskyCatalog
from intake_bluesky.documents.model import RunSummary, identical
from intake_bluesky.errors import StoreUnavailable, UnsupportedOperation
from intake_bluesky.query import Data, Query, Start
from intake_bluesky.storage.contract import Plan
from intake_bluesky.testing.compose import RunComposer, data_key
from intake_bluesky.testing.plain_runs import count, scan
from intake_bluesky_sql import BlueskySQLCatalog, SQLStore, tables
from intake_bluesky_sql import address as sql_address
from intake_bluesky_sql.address import SQLAddress
from tests.drivers import sql_processes
from tests.servers.postgres import GUARDED, PASSWORD, Postgres

SECRET = "hunter2/with:odd@signs"
QUOTED = "hunter2%2Fwith%3Aodd%40signs"


def put(store: SQLStore, *runs: Any) -> None:
    for run in runs:
        with store.insert(run[0][1]) as insert:
            for pair in run[1:]:
                insert.write(*pair)


def found(store: SQLStore, query: Query) -> list[RunSummary]:
    return list(store.find(Plan(query)))


def filled(uri: Any) -> BlueskySQLCatalog:
    catalog = BlueskySQLCatalog(uri)
    assert isinstance(catalog.store, SQLStore)
    put(catalog.store, count(), scan())
    return catalog


YAML = """
sources:
  beamline:
    driver: bluesky-sql-catalog
    container: catalog
    args:
      uri: "sqlite:///{{ CATALOG_DIR }}/runs.db"
      root_map: {/old: new}
    metadata: {beamline: hx}
"""


def test_yaml_opens(tmp_path: Path) -> None:
    filled(tmp_path / "runs.db").store.close()
    (tmp_path / "catalog.yml").write_text(YAML, encoding="utf-8")
    catalog = intake.open_catalog(str(tmp_path / "catalog.yml"))["beamline"]
    assert isinstance(catalog, BlueskySQLCatalog)
    assert list(catalog) == [scan()[0][1]["uid"], count()[0][1]["uid"]]
    assert len(catalog[-1].primary.read().time) == 11
    assert [run.start["plan_name"] for _, run in catalog.search(Start("plan_name") == "scan").items()] == ["scan"]
    assert len(catalog.search(Data("theta").max() > 1)) == 1
    again = pickle.loads(pickle.dumps(catalog))
    assert list(again) == list(catalog)
    text_of = catalog.search({"plan_name": "scan"}).serialize()
    (tmp_path / "narrow.yml").write_text(text_of, encoding="utf-8")
    assert len(intake.open_catalog(str(tmp_path / "narrow.yml"))["beamline"]) == 1
    for one in (catalog, again):
        one.store.close()


@pytest.mark.parametrize("form", ["path", "text", "url", "relative"])
def test_uri_takes_every_form(form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "runs.db"
    forms: dict[str, Any] = {
        "path": path, "text": str(path), "url": f"sqlite:///{path}", "relative": "sqlite:///runs.db",
    }  # fmt: skip
    store = SQLStore(forms[form])
    put(store, count())
    assert path.is_file()
    assert store.database.address.text == f"sqlite:///{path}"
    assert store.trusts_paths
    store.close()


@pytest.mark.parametrize("name", ["what?.db", "100%25.db", "a b#c.db", "ü@é.db", "a:b.db", "it's.db"])
def test_names_of_files_are_taken_as_they_are(name: str, tmp_path: Path) -> None:
    store = SQLStore(tmp_path / name)
    put(store, count())
    assert (tmp_path / name).is_file()
    again = pickle.loads(pickle.dumps(store))
    assert [run.uid for run in again.find()] == [count()[0][1]["uid"]]
    again.close()
    store.close()


@pytest.mark.parametrize(
    "option", ["password", "Password", "sslpassword", "oauth_client_secret", "scram_client_key", "pwd", "jwt"]
)
def test_secret_options_are_not_shown(option: str) -> None:
    address = SQLStore(f"postgres://reader@[::1]:5433/runs?{option}=hunter2&sslmode=require").database.address
    assert address.text == "postgresql+psycopg://reader@[::1]:5433/runs?sslmode=require"
    assert "hunter2" in address.url.render_as_string(hide_password=False)
    assert "hunter2" not in address.masked("hunter2")


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("mysql://user:hunter2@host/db", "no database of 'mysql'"),
        ("sqlite://", "name a file"),
        ("sqlite:///:memory:", "name a file"),
        ("", "cannot be read"),
        ("postgresql://user:hunter2@host:port/db", "cannot be read"),
        ("postgresql://user:p@hunter2@host/db", "percent-encoded"),
        ("postgresql://user:p@hunter2/@host/db", "percent-encoded"),
        ("postgresql:/user:hunter2@host/db", "cannot be read"),
        ("password=hunter2 host=db.example dbname=runs", "cannot be read"),
        ("sqlite:///runs.db?mode=ro", "mode: an SQLite uri takes no options"),
        ("runs\0.db", "give it another name"),
        (os.fsdecode(b"runs\xff.db"), "give it another name"),
    ],
)
def test_other_addresses_are_refused(uri: str, message: str) -> None:
    with pytest.raises(UnsupportedOperation, match=message) as caught:
        SQLStore(uri)
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    ("uri", "remote"),
    [
        ("postgresql://db.example/runs", True),
        ("postgresql://localhost/runs", False),
        ("postgresql://127.0.0.1:5433/runs", False),
        ("postgresql:///runs?host=/var/run/postgresql", False),
        ("postgresql:///runs?host=localhost,db.example", True),
        ("postgresql:///runs?hostaddr=10.0.0.7", True),
        ("sqlite:///runs.db", False),
    ],
)
def test_documents_of_another_machine_are_not_trusted(uri: str, remote: bool) -> None:
    store = SQLStore(uri)
    assert (store.trusts_paths, store.ttl) == ((False, 10) if remote else (True, 1))


@pytest.mark.parametrize("uri", ["postgresql://reader@db.example/listed", "sqlite:///listed.db"])
def test_listing_runs_reads_the_address_once(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    address = SQLAddress.of(uri)
    observed = address.remote, address.path
    monkeypatch.setattr(sql_address, "make_url", None)  # which took half the time of a list of runs
    assert (address.remote, address.path) == observed


def test_missing_file_is_said_and_not_made(tmp_path: Path) -> None:
    catalog = BlueskySQLCatalog(tmp_path / "folder" / "runs.db")
    with pytest.raises(StoreUnavailable, match=r"there is no database .*runs\.db: the first run"):
        len(catalog)
    assert not (tmp_path / "folder").exists()
    put(catalog.store, count())  # type: ignore[arg-type]
    assert len(catalog) == 1
    catalog.store.close()


def test_database_of_something_else_is_said(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "other.db")) as db, db:
        db.execute("CREATE TABLE something(x)")
    store = SQLStore(tmp_path / "other.db")
    with pytest.raises(StoreUnavailable, match="holds no catalog of runs"):
        list(store.find())
    store.close()
    (tmp_path / "notes.db").write_text("these are notes " * 100)
    store = SQLStore(tmp_path / "notes.db")
    with pytest.raises(StoreUnavailable, match="file is not a database"):
        list(store.find())
    with pytest.raises(StoreUnavailable, match="file is not a database"):
        store.insert(count()[0][1])
    store.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/runs.db"
    server: Postgres = request.getfixturevalue("postgres")
    return server.uri()


def test_newer_database_is_refused(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(tables, "STEPS", [*tables.STEPS, lambda connection: None])
        store = SQLStore(uri)
        put(store, count())
        store.close()
    for use in (lambda store: list(store.find()), lambda store: store.insert(scan()[0][1])):
        store = SQLStore(uri)
        with pytest.raises(StoreUnavailable, match=r"of version 4, and this release .* up to 3: upgrade it"):
            use(store)
        store.close()


def test_older_database_is_brought_up(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Step by step, each once, with what was in it; by whoever comes first, reader or writer."""
    store = SQLStore(uri)
    put(store, count())
    store.close()
    added: list[str] = []

    def step(name: str) -> Any:
        def work(connection: Any) -> None:
            added.append(name)
            connection.execute(text(f"ALTER TABLE runs ADD COLUMN {name} integer"))

        return work

    steps = [*tables.STEPS, step("one"), step("two")]
    monkeypatch.setattr(tables, "STEPS", steps)
    store, other = SQLStore(uri), SQLStore(uri)
    assert len(list(store.find())) == 1
    put(other, scan())
    assert added == ["one", "two"]
    assert len(store.database.ask("SELECT one, two FROM runs")) == 2
    store.close()
    other.close()


def first_version(uri: str) -> None:
    """Make a database as the first release did."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tables, "STEPS", tables.STEPS[:1])
        store = SQLStore(uri)
        put(store, count())
        store.close()


def test_runs_that_a_search_measures_are_found_once(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page of the runs that statistics are certain of may come after the others were measured."""
    monkeypatch.setattr("intake_bluesky_sql.store.LISTED", 2)
    monkeypatch.setattr("intake_bluesky_sql.store.MOST", 2)
    store = SQLStore(uri)
    for number in range(12):
        run = RunComposer(f"{number:02}", time=1.6e9 + number, scan_id=number)
        primary = run.descriptor({"x": data_key("number")})
        run.event(primary, {"x": float(number)})
        run.stop()
        put(store, run.documents)
    database = store.database

    def forget(connection: Any) -> None:
        odd = "scan_id IN (1, 3, 5, 7, 9, 11)"
        database.execute(connection, f"DELETE FROM statistics WHERE file IN (SELECT id FROM runs WHERE {odd})", ())
        database.execute(connection, f"UPDATE runs SET measured = ? WHERE {odd}", (False,))

    database.write(forget)
    catalog = BlueskyCatalog(store)
    query = Data("x").max() >= 0
    decided = catalog.search(query).explain(run=True).decided
    assert decided == (6, 6)
    assert [run.scan_id for run in catalog.search(query).values()] == list(range(11, -1, -1))
    assert len(catalog.search(query)) == 12
    store.close()


def indexes(server: Postgres, uri: str) -> set[str]:
    with server.connect(uri.partition("?")[0].rpartition("/")[2]) as db:
        return {name for (name,) in db.execute("SELECT indexname FROM pg_indexes WHERE tablename = 'runs'")}


@pytest.mark.parametrize("reads", [True, False])
def test_first_version_is_brought_to_this(uri: str, reads: bool) -> None:
    first_version(uri)
    store = SQLStore(uri)
    if reads:
        assert len(found(store, Start("plan_name").regex("oun"))) == 1
    put(store, scan())
    assert len(found(store, Start("plan_name").regex("can"))) == 1
    assert store.database.read(tables.version_of) == len(tables.STEPS) == 3
    assert identical(list(store.documents(count()[0][1]["uid"])), count())
    store.close()


def test_indexes_of_common_keys_leave_out_runs_without(tmp_path: Path) -> None:
    """In a new database, and in one of the second version, which had all runs in them."""
    new, old = SQLStore(tmp_path / "new.db"), SQLStore(tmp_path / "old.db")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tables, "STEPS", tables.STEPS[:2])
        put(old, count())
        for index in tables.BY_COMMON:
            old.database.write(methodcaller("exec_driver_sql", f"DROP INDEX {index.split()[2]}"))
            old.database.write(methodcaller("exec_driver_sql", index))
        old.close()
    put(new, count())
    put(old, scan())
    for store in (new, old):
        made = store.database.ask("SELECT sql FROM sqlite_master WHERE name LIKE 'by%' AND sql LIKE '%IS NOT NULL'")
        assert len(made) == len(tables.BY_COMMON) == 8
        [[*_, plan]] = store.database.ask("EXPLAIN QUERY PLAN SELECT uid FROM runs WHERE sample = ?", "x")
        assert "USING COVERING INDEX by_sample" in plan
        assert len(found(store, Start("plan_name") == "count")) == 1
        store.close()


def test_first_version_gets_trigrams(postgres: Postgres) -> None:
    uri = postgres.uri()
    first_version(uri)
    assert not indexes(postgres, uri) & {"by_trigrams", "with_long_texts"}
    store = SQLStore(uri)
    assert len(list(store.find())) == 1
    assert indexes(postgres, uri) >= {"by_trigrams", "with_long_texts"}
    store.close()


@pytest.mark.parametrize("may", [True, False])
def test_who_may_not_make_extensions_does_without(postgres: Postgres, may: bool) -> None:
    uri = postgres.uri()
    name = uri.partition("?")[0].rpartition("/")[2]
    with postgres.connect(name) as db:
        db.execute("GRANT ALL ON SCHEMA public TO reader")
        if may:
            db.execute(f"GRANT CREATE ON DATABASE {name} TO reader")
    owned = uri.replace("postgres@", "reader@")
    store = SQLStore(owned)
    put(store, count(), scan())
    assert [run.uid for run in found(store, Start("plan_name").regex("can"))] == [scan()[0][1]["uid"]]
    assert store.database.read(tables.version_of) == len(tables.STEPS)
    assert ("by_trigrams" in indexes(postgres, uri)) == may
    store.close()


def test_other_errors_of_the_extension_are_raised(postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "TRIGRAMS_OF_POSTGRESQL", ["CREATE INDEX by_newest ON runs(newest)"])
    store = SQLStore(postgres.uri())
    with pytest.raises(StoreUnavailable, match="already exists"):
        store.create()
    store.close()


def test_first_version_that_may_only_be_read_is_read(postgres: Postgres) -> None:
    uri = postgres.uri()
    first_version(uri)
    with postgres.connect(uri.partition("?")[0].rpartition("/")[2]) as db:
        db.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader")
    store = SQLStore(uri.replace("postgres@", "reader@"))
    assert len(found(store, Start("plan_name").regex("oun"))) == 1
    assert store.database.read(tables.version_of) == 1
    store.close()


def test_read_only_file_of_the_first_version_is_read() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "runs.db")
        first_version(str(path))
        path.chmod(0o444)
        Path(folder).chmod(0o555)
        with unprivileged():
            store = SQLStore(path)
            assert identical(list(store.documents(count()[0][1]["uid"])), count())
            store.close()
        Path(folder).chmod(0o755)


def test_failed_step_leaves_the_database_as_it_was(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = SQLStore(uri)
    put(store, count())
    store.close()

    def fail(connection: Any) -> None:
        connection.execute(text("ALTER TABLE runs ADD COLUMN half integer"))
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(tables, "STEPS", [*tables.STEPS, fail])
        store = SQLStore(uri)
        with pytest.raises(ZeroDivisionError):
            list(store.find())
        store.close()
    store = SQLStore(uri)
    assert identical(list(store.documents(count()[0][1]["uid"])), count())
    store.close()


@contextmanager
def unprivileged() -> Iterator[None]:
    """As somebody to whom permissions apply."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


@pytest.mark.parametrize("closed", [True, False], ids=["closed", "with a log"])
def test_read_only_file_is_read(closed: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "runs.db")
        catalog = filled(path)
        expected = catalog[-1].primary.read()
        if closed:
            catalog.store.close()
        for file in Path(folder).iterdir():
            file.chmod(0o444)
        Path(folder).chmod(0o555)
        with unprivileged():
            other = BlueskySQLCatalog(path)
            np.testing.assert_array_equal(other[-1].primary.read().theta, expected.theta)
            assert len(other.search(Data("theta").between(0.1, 0.2))) == 0
            with pytest.raises(StoreUnavailable, match=r"runs\.db cannot be written: this user may not write"):
                other.writer()
            with pytest.raises(StoreUnavailable, match=r"runs\.db cannot be used"):
                other.store.insert({"uid": "new", "time": 1.0})
            other.store.close()
        Path(folder).chmod(0o755)
        catalog.store.close()


def test_read_only_file_is_seen_to_grow() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "runs.db"
        writer, reader = SQLStore(path), SQLStore(path)
        put(writer, count())
        writer.close()
        Path(folder).chmod(0o755)
        path.chmod(0o644)
        observed = []
        for more in ((), (scan(),), ()):
            put(writer, *more)
            with unprivileged():
                observed.append([len(list(reader.documents(run.uid))) for run in reader.find()])
            if len(observed) == 2:
                writer.close()
        assert observed == [[len(count())], [len(scan()), len(count())], [len(scan()), len(count())]]
        reader.close()
        writer.close()


def test_database_that_may_only_be_read_is_read(postgres: Postgres) -> None:
    uri = postgres.uri()
    catalog = filled(uri)
    with postgres.connect(uri.partition("?")[0].rpartition("/")[2]) as db:
        db.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader")
    reader = BlueskySQLCatalog(uri.replace("postgres@", "reader@"))
    assert len(reader[-1].primary.read().time) == 11
    assert len(reader.search(Data("theta").between(0.1, 0.2))) == 0
    with pytest.raises(StoreUnavailable, match="permission denied"):
        reader.store.insert({"uid": "new", "time": 1.0})
    reader.store.close()
    catalog.store.close()


def test_forked_process_has_connections_of_its_own(uri: str) -> None:
    store = SQLStore(uri)
    put(store, count(), scan())
    uid = scan()[0][1]["uid"]
    context = multiprocessing.get_context("fork")
    results = context.SimpleQueue()

    def read() -> None:
        results.put(identical(list(store.documents(uid)), scan()))
        store.close()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking with threads, which users do all the same
        workers = [context.Process(target=read) for _ in range(2)]
        for worker in workers:
            worker.start()
    assert [results.get() for _ in workers] == [True, True]
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    assert identical(list(store.documents(uid)), scan()), "the connection is whole"
    store.close()


def _traces(store: SQLStore) -> str:
    """All that a user, a log or a pickle may show of a store that cannot be used."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    loggers = [logging.getLogger(name) for name in ("", "sqlalchemy", "psycopg", "intake_bluesky_sql")]
    levels = [logger.level for logger in loggers]
    logging.getLogger().addHandler(handler)
    for logger in loggers:
        logger.setLevel(logging.DEBUG)
    found = [repr(store), repr(store.database), str(store.database.address), str(store.__dask_tokenize__())]
    try:
        for use in (lambda: list(store.find()), lambda: store.insert(count()[0][1]), store.create):
            with pytest.raises(StoreUnavailable) as caught:
                use()
            found += traceback.format_exception(caught.value)
    finally:
        logging.getLogger().removeHandler(handler)
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
    return "\n".join([*found, stream.getvalue(), repr(pickle.dumps(store)), str(store.__getstate__())])


@pytest.mark.parametrize(
    "uri",
    [
        f"postgresql://user:{QUOTED}@127.0.0.1:1/runs",
        f"postgresql+psycopg://user@127.0.0.1:1/runs?password={QUOTED}",
        f"postgresql://user@127.0.0.1:1/runs?sslpassword={QUOTED}",
    ],
)
def test_connection_refused_shows_where_and_no_password(uri: str) -> None:
    store = SQLStore(uri)
    with pytest.raises(StoreUnavailable, match=r"@127\.0\.0\.1:1/runs cannot be used: .*refused.* See that the server"):
        list(store.find())
    shown = _traces(store)
    for secret in (SECRET, QUOTED, "hunter2"):
        assert secret not in shown
    store.close()


def test_wrong_password_shows_whose_and_no_password(postgres: Postgres) -> None:
    uri = postgres.uri().replace("postgres@", f"{GUARDED}:{QUOTED}@")
    store = SQLStore(uri)
    with pytest.raises(StoreUnavailable, match=r"password authentication failed for user .*Give the password"):
        list(store.find())
    shown = _traces(store)
    for secret in (SECRET, QUOTED, "hunter2"):
        assert secret not in shown
    store.close()


def test_password_stays_in_the_process(postgres: Postgres) -> None:
    """A catalog made with it works, pickled and not, and neither pickle nor YAML has it; others need PGPASSWORD."""
    uri = postgres.uri().replace("postgres@", f"{GUARDED}:{PASSWORD}@")
    catalog = filled(uri)
    again = pickle.loads(pickle.dumps(catalog))
    assert list(again) == list(catalog)
    narrowed = catalog.search({"plan_name": "scan"})
    run = narrowed[-1]
    for shown in (
        repr(catalog), str(pickle.dumps(catalog)), catalog.serialize(), str(catalog.describe()), str(narrowed),
        str(pickle.dumps(run)), repr(run), str(pickle.dumps(run.primary.to_dask())), str(catalog._captured_init_kwargs),
    ):  # fmt: skip
        assert PASSWORD not in shown
    bare = SQLAddress.of(uri).text
    context = multiprocessing.get_context("forkserver")
    results = context.Queue()
    worker = context.Process(target=sql_processes.read_with_password, args=(bare, PASSWORD, results))
    worker.start()
    assert results.get(timeout=60) == ["no password", [scan()[0][1]["uid"], count()[0][1]["uid"]]]
    worker.join()
    for one in (catalog, again):
        one.store.close()


def test_password_in_a_yaml_file_is_not_shown(tmp_path: Path) -> None:
    source = {"driver": "bluesky-sql-catalog", "args": {"uri": f"postgresql://user:{QUOTED}@127.0.0.1:1/runs"}}
    (tmp_path / "catalog.yml").write_text(yaml.safe_dump({"sources": {"beamline": source}}), encoding="utf-8")
    catalog = intake.open_catalog(str(tmp_path / "catalog.yml"))["beamline"]
    for shown in (repr(catalog), str(catalog.describe()), catalog.serialize(), str(pickle.dumps(catalog))):
        assert "hunter2" not in shown


def test_describing_and_listing_take_one_statement(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = SQLStore(uri)
    put(store, count(), scan())
    uid = scan()[0][1]["uid"]
    asked: list[str] = []
    execute = store.database.execute

    def told(connection: Any, statement: str, values: Any) -> Any:
        asked.append(statement)
        return execute(connection, statement, values)

    monkeypatch.setattr(store.database, "execute", told)
    uses: dict[str, Callable[[], Any]] = {
        "a run never seen": lambda: store.header(uid),
        "a run known": lambda: store.header(uid),
        "a page of runs": lambda: list(store.find(limit=20)),
        "how many": store.count,
    }
    for what, use in uses.items():
        asked.clear()
        use()
        assert len(asked) == 1, what
    store.close()


def test_only_the_columns_asked_for_are_read(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = SQLStore(uri)
    run = RunComposer("wide")
    primary = run.descriptor({key: data_key("number") for key in ("x", "y", "z")})
    for _ in range(4):
        run.page(primary, {key: [float(n) for n in range(20_000)] for key in ("x", "y", "z")})
    run.stop()
    put(store, run.documents)
    fetched: list[Any] = []
    ask = store.database.ask

    def told(statement: str, *values: Any) -> Any:
        rows = ask(statement, *values)
        if "block_columns" in statement:
            fetched.extend((row[0], row[2]) for row in rows)
        return rows

    monkeypatch.setattr(store.database, "ask", told)
    [page] = store.event_pages(run.run_uid, "primary", data={"y"}, events=slice(20_100, 20_200))
    assert page.data.keys() == {"y"}
    assert page.seq_num.tolist() == list(range(20_101, 20_201))
    assert {key for _, key in fetched} == {"seq_num", "time", "y"}
    assert len({block for block, _ in fetched}) == 1
    store.close()


def test_what_json_has_no_form_for_is_refused_and_the_run_goes_on(uri: str) -> None:
    store = SQLStore(uri)
    run = RunComposer("odd")
    primary = run.descriptor({"x": data_key("number")})
    with store.insert(run.documents[0][1]) as insert:
        insert.write(*run.documents[1])
        with pytest.raises(UnsupportedOperation, match="cannot be written as JSON"):
            insert.write("event", run.make_event(primary, {"x": b"bytes"}))
        insert.write("event", run.make_event(primary, {"x": 1.5}, seq_num=1))
    assert [name for name, _ in store.documents(run.run_uid)] == ["start", "descriptor", "event"]
    with pytest.raises(UnsupportedOperation, match="a run's uid"):
        store.insert({"uid": "nul\0", "time": 1.0})
    with pytest.raises(UnsupportedOperation, match="is closed"):
        insert.write("event", run.make_event(primary, {"x": 2.5}))
    store.close()


@pytest.mark.parametrize(
    ("package", "use", "cure"),
    [
        ("sqlalchemy", "import intake_bluesky_sql; intake_bluesky_sql.SQLStore('runs.db')", "sqlalchemy>=2.1"),
        ("sqlalchemy", "import intake; intake.open_bluesky_sql_catalog('runs.db')", "sqlalchemy>=2.1"),
        (
            "psycopg",
            "from intake_bluesky_sql import SQLStore; list(SQLStore('postgresql:///runs').find())",
            "psycopg[binary]>=3.2",
        ),
    ],
)
def test_missing_package_names_its_cure(package: str, use: str, cure: str) -> None:
    program = f"import sys; sys.modules[{package!r}] = None; {use}"
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert f'pip install "{cure}"' in told.stderr
    assert told.returncode == 1
