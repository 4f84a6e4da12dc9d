"""SQL databases: a million events as an array, 200,000 runs, and writing; on SQLite and on PostgreSQL.

What is compared with the databases' own drivers is done by turns with them.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from itertools import chain, islice
from statistics import median
from time import perf_counter, process_time
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import numpy as np
import orjson
import psycopg
import pytest
from sqlalchemy import make_url

from intake_bluesky.index.search_form import SearchForm
from intake_bluesky.query import FullText, Start, Stop
from intake_bluesky.testing.compose import RunComposer, data_key
from intake_bluesky.testing.examples import Run
from intake_bluesky_sql import BlueskySQLCatalog, SQLStore
from intake_bluesky_sql.database import Database
from intake_bluesky_sql.maintenance import analyze
from intake_bluesky_sql.search_columns import ordering, searched_columns
from tests.servers.postgres import Postgres

EVENTS, PAGE, KEYS = 1_000_000, 10_000, 6
MANY = 200_000
SINGLE, SMALL, WHOLE = 20_000, 200, 1000
ROUNDS = 31
COLUMNS = (
    "SELECT place, part, key, form, body FROM block_columns WHERE part IN ('', 'data') AND key <> 'uid' ORDER BY 1"
)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def uris(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], str]:
    if request.param == "sqlite":
        return lambda: f"sqlite:///{tmp_path_factory.mktemp('sql')}/runs.db"
    server: Postgres = request.getfixturevalue("postgres")
    return server.uri


def store_of(catalog: BlueskySQLCatalog) -> SQLStore:
    assert isinstance(catalog.store, SQLStore)
    return catalog.store


def million() -> Iterator[tuple[str, Any]]:
    run = RunComposer("a million events", plan_name="scan")
    primary = run.descriptor({f"key{n}": data_key("number", units="mm") for n in range(KEYS)})
    yield from run.documents
    numbers = np.random.default_rng(20240305)
    for first in range(0, EVENTS, PAGE):
        time = (1.7e9 + np.arange(first, first + PAGE) / 8).tolist()
        data = {f"key{n}": numbers.random(PAGE).tolist() for n in range(KEYS)}
        yield (
            "event_page",
            {
                "descriptor": primary,
                "uid": [f"{n}" for n in range(first, first + PAGE)],
                "seq_num": list(range(first + 1, first + PAGE + 1)),
                "time": time,
                "data": data,
                "timestamps": dict.fromkeys(data, time),
                "filled": {},
            },
        )
    yield "stop", {"uid": "stop", "time": 1.8e9, "run_start": run.run_uid, "exit_status": "success"}


@pytest.fixture(scope="module")
def wide(uris: Callable[[], str]) -> Iterator[BlueskySQLCatalog]:
    catalog = BlueskySQLCatalog(uris())
    documents = million()
    with store_of(catalog).insert(next(documents)[1]) as insert:
        for pair in documents:
            insert.write(*pair)
    yield catalog
    catalog.store.close()


@contextmanager
def raw(store: SQLStore) -> Iterator[Callable[..., Any]]:
    """Execute by the database's own driver, binary; ``?`` stands for a value."""
    path = store.database.address.path
    if path is not None:
        with closing(sqlite3.connect(path, isolation_level=None)) as db:
            db.execute("PRAGMA synchronous = NORMAL")
            yield db.execute
        return
    url = make_url(store.database.address.text).set(drivername="postgresql")
    with psycopg.connect(url.render_as_string(hide_password=False), autocommit=True) as server:
        yield lambda text, *values: server.cursor(binary=True).execute(text.replace("?", "%s"), *values)


def _in(store: SQLStore) -> str:
    return "SQLite" if store.database.is_sqlite else "PostgreSQL"


def _events_in(store: SQLStore) -> str:
    return f"{EVENTS:,} events x {KEYS} in {_in(store)}"


def test_floor_of_the_driver(benchmark: Any, wide: BlueskySQLCatalog) -> None:
    benchmark.group = _events_in(store_of(wide))
    with raw(store_of(wide)) as execute:
        rows = benchmark.pedantic(lambda: execute(COLUMNS).fetchall(), rounds=ROUNDS, warmup_rounds=2)
    assert len(rows) == EVENTS // PAGE * (KEYS + 2)


def test_read(benchmark: Any, wide: BlueskySQLCatalog) -> None:
    """In turns with the driver."""
    benchmark.group = _events_in(store_of(wide))
    run, floor = wide[-1], []
    with raw(store_of(wide)) as execute:

        def fetch() -> None:
            began = perf_counter()
            execute(COLUMNS).fetchall()
            floor.append(perf_counter() - began)

        found = benchmark.pedantic(run.primary.read, setup=fetch, rounds=ROUNDS, warmup_rounds=2)
    assert found.sizes["time"] == EVENTS
    ratio = benchmark.stats.stats.median / median(floor[-ROUNDS:])
    benchmark.extra_info["of the driver's time"] = f"{ratio:.2f}"


def test_one_column(benchmark: Any, wide: BlueskySQLCatalog) -> None:
    benchmark.group = _events_in(store_of(wide))
    stream = wide[-1].primary(include=["key3"])
    assert benchmark.pedantic(stream.read, rounds=11, warmup_rounds=2).sizes["time"] == EVENTS


def small(number: int) -> Run:
    """A run of 200,000: a start document of fifteen fields, and a stop."""
    uid = str(uuid5(NAMESPACE_URL, f"run {number}"))
    start: dict[str, Any] = {
        "uid": uid, "time": 1.7e9 + 60.5 * number, "scan_id": number, "plan_name": f"plan {number % 200}",
        "sample": {"name": f"sample {number % 5000}", "formula": "NiO"}, "operator": f"user {number % 200}",
        "proposal": f"p{number % 300}", "purpose": "alignment", "beamline_id": "28-ID", "num_points": number % 200,
        "motors": ["theta"], "detectors": ["det"], "energy": 8000 + number % 100 / 4, "versions": {"bluesky": "1.14"},
        "plan_type": "generator",
    }  # fmt: skip
    stop = {"uid": f"{uid}-stop", "run_start": uid, "time": start["time"] + 30, "exit_status": "success"}
    return [("start", start), ("stop", stop)]


def fill(store: SQLStore, number: int) -> None:
    """Put runs in, a thousand by one statement, and leave them as the writer does."""
    for first in range(0, number, 1000):
        some = range(first, min(first + 1000, number))
        store.database.write(partial(put, store.database, some))
        for run in some:
            analyze(store.database, run + 1)


def put(database: Database, some: range, connection: Any) -> None:
    runs, documents, texts = [], [], []
    for number in some:
        (_, start), (_, stop) = small(number)
        form = SearchForm.of(start, stop)
        found = {"id": number + 1, "uid": start["uid"], "writer": "benchmark", "stop_place": 1}
        runs.append(found | ordering(database, start) | searched_columns(database, form))
        documents += [(number + 1, 0, "start", None, orjson.dumps(start))]
        documents += [(number + 1, 1, "stop", None, orjson.dumps(stop))]
        texts.append((number + 1, form.words))
    names = list(runs[0])
    insert = f"INSERT INTO runs ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"
    database.execute(connection, insert, [tuple(run.values()) for run in runs])
    database.execute(connection, "INSERT INTO documents VALUES (?, ?, ?, ?, ?)", documents)
    if database.is_sqlite:
        database.execute(connection, "INSERT INTO texts(rowid, words) VALUES (?, ?)", texts)


@pytest.fixture(scope="module")
def many(uris: Callable[[], str]) -> Iterator[BlueskySQLCatalog]:
    """Runs that were just put in: nothing has looked after the database since."""
    catalog = BlueskySQLCatalog(uris())
    store_of(catalog).create()
    with raw(store_of(catalog)) as execute:
        for table in () if store_of(catalog).database.is_sqlite else ("runs", "documents"):
            execute(f"ALTER TABLE {table} SET (autovacuum_enabled = off)")
    fill(store_of(catalog), MANY)
    yield catalog
    catalog.store.close()


def _group(catalog: BlueskySQLCatalog) -> str:
    return f"{MANY:,} runs in {_in(store_of(catalog))}"


def _searches(catalog: BlueskySQLCatalog) -> str:
    return f"{_group(catalog)}: 1,000 hits with their documents"


def test_opened_anew_and_counted(benchmark: Any, many: BlueskySQLCatalog) -> None:
    benchmark.group = _group(many)
    uri = store_of(many).database.address.text

    def opened() -> int:
        catalog = BlueskySQLCatalog(uri)
        try:
            return len(catalog)
        finally:
            catalog.store.close()

    assert benchmark.pedantic(opened, rounds=9, warmup_rounds=1) == MANY


def test_newest(benchmark: Any, many: BlueskySQLCatalog) -> None:
    benchmark.group = _group(many)
    assert benchmark.pedantic(lambda: many[-1], rounds=15, warmup_rounds=1).start["scan_id"] == MANY - 1


SEARCHES: dict[str, Any] = {
    "a common key": Start("plan_name") == "plan 7",
    "any key": Start("operator") == "user 7",
    "any key and a common one": (Start("operator") == "user 7") & (Stop("exit_status") == "success"),
    "a range of time": (Start("time") >= 1.7e9 + 60.5 * 50_000) & (Start("time") < 1.7e9 + 60.5 * 51_000),
    "a range of scan_id": (Start("scan_id") >= 50_000) & (Start("scan_id") < 51_000),
    "a range of a common key": (Start("proposal") >= "p10") & (Start("proposal") < "p101"),
    "words": FullText("28 ID user 7"),
}
FOUND = {"a range of a common key": 1334}


def test_floor_of_1000_runs(benchmark: Any, many: BlueskySQLCatalog) -> None:
    benchmark.group = _searches(many)
    bodies = "SELECT d.body FROM runs AS r JOIN documents AS d ON d.run = r.id WHERE r.plan_name = ? ORDER BY r.newest"
    with raw(store_of(many)) as execute:

        def read() -> int:
            return sum("scan_id" in orjson.loads(body) for (body,) in execute(bodies, ("plan 7",)))

        assert benchmark.pedantic(read, rounds=7, warmup_rounds=1) == 1000


@pytest.mark.parametrize("name", SEARCHES)
def test_search_and_metadata(benchmark: Any, many: BlueskySQLCatalog, name: str) -> None:
    benchmark.group = _searches(many)

    def read() -> int:
        found = many.search(SEARCHES[name])
        return sum(run.metadata["start"]["scan_id"] >= 0 for _, run in found.items())

    assert benchmark.pedantic(read, rounds=7, warmup_rounds=1) == FOUND.get(name, 1000)


@pytest.fixture(scope="module")
def single() -> Run:
    run = RunComposer("single events")
    primary = run.descriptor({f"key{n}": data_key("number") for n in range(KEYS)})
    for number in range(SINGLE):
        run.event(primary, {f"key{n}": number / 7 + n for n in range(KEYS)})
    run.stop()
    return run.documents


def write(store: SQLStore, runs: list[Run]) -> None:
    for run in runs:
        with store.insert(run[0][1]) as insert:
            for pair in run[1:]:
                insert.write(*pair)
    store.close()


def _written(number: int, what: str, uri: str) -> str:
    return f"{number:,} {what} written to {'SQLite' if uri.startswith('sqlite') else 'PostgreSQL'}"


def test_floor_of_rows(benchmark: Any, uris: Callable[[], str], single: Run) -> None:
    """Documents as JSON by the driver: in SQLite a transaction each, in PostgreSQL some thousands together."""
    benchmark.group = _written(SINGLE, "single events", uris())

    def insert() -> None:
        with closing(SQLStore(uris())) as store:
            store.create()
            store.insert({"uid": "a run", "time": 1.0}).close()
            with raw(store) as execute:
                rows = ((1, n, name, "x" * 36, orjson.dumps(doc)) for n, (name, doc) in enumerate(single, 1))
                if store.database.is_sqlite:
                    for row in rows:
                        execute("INSERT INTO documents VALUES (?, ?, ?, ?, ?)", row)
                    return
                for some in batched(rows, 2000):
                    statement = f"INSERT INTO documents VALUES {', '.join(['(?, ?, ?, ?, ?)'] * len(some))}"
                    execute(statement, list(chain.from_iterable(some)))

    benchmark.pedantic(insert, rounds=3, warmup_rounds=1)


def batched(rows: Iterator[Any], size: int) -> Iterator[list[Any]]:
    while some := list(islice(rows, size)):
        yield some


def test_single_events_written(benchmark: Any, uris: Callable[[], str], single: Run) -> None:
    benchmark.group = _written(SINGLE, "single events", uris())

    def new() -> tuple[tuple[SQLStore, list[Run]], dict[str, Any]]:
        store = SQLStore(uris())
        store.create()
        return (store, [single]), {}

    benchmark.pedantic(write, setup=new, rounds=3, warmup_rounds=1)


def test_small_runs_written(benchmark: Any, uris: Callable[[], str]) -> None:
    """Scans of eleven points, with their statistics."""
    benchmark.group = _written(SMALL, "runs of 11 events", uris())
    runs = []
    for number in range(SMALL):
        run = RunComposer(f"small {number}", plan_name="scan", sample={"name": f"sample {number}"})
        primary = run.descriptor({f"key{n}": data_key("number") for n in range(KEYS)})
        for point in range(11):
            run.event(primary, {f"key{n}": point / 7 + n for n in range(KEYS)})
        run.stop()
        runs.append(run.documents)

    def new() -> tuple[tuple[SQLStore, list[Run]], dict[str, Any]]:
        store = SQLStore(uris())
        store.create()
        return (store, runs), {}

    benchmark.pedantic(write, setup=new, rounds=3, warmup_rounds=1)


def whole_runs(number: int) -> list[Run]:
    """Runs as a copy between catalogs has them: 17 documents, of two descriptors with 5 and 20 keys."""
    runs, numbers = [], np.random.default_rng(20261130)
    for n in range(number):
        run = RunComposer(
            f"whole {n}",
            plan_name=("scan", "count", "grid_scan")[n % 3],
            scan_id=n,
            sample={"name": f"sample {n % 100}", "thickness": n / 7},
            proposal={"id": n % 300, "pi": f"user {n % 200}"},
            detectors=["det"],
            motors=["theta"],
            notes=f"the {n}th run of this shift",
        )
        keys = {name: [f"{name}{k}" for k in range(size)] for name, size in (("primary", 5), ("baseline", 20))}
        streams = {
            name: run.descriptor({key: data_key("number", units="mm") for key in own}, stream=name)
            for name, own in keys.items()
        }
        for name in ("baseline", *["primary"] * 11, "baseline"):
            run.event(streams[name], dict(zip(keys[name], numbers.normal(size=len(keys[name])).tolist(), strict=True)))
        run.stop()
        runs.append(run.documents)
    return runs


def insert_whole(store: SQLStore, runs: list[Run]) -> None:
    assert list(store.insert_runs(runs)) == [None] * len(runs)
    store.close()


@pytest.mark.parametrize("how", [write, insert_whole], ids=["document by document", "insert_runs"])
def test_whole_runs_written(benchmark: Any, uris: Callable[[], str], how: Callable[..., None]) -> None:
    benchmark.group = _written(WHOLE, "runs of 17 documents", uris())
    runs, spent = whole_runs(WHOLE), []

    def new() -> tuple[tuple[SQLStore, list[Run]], dict[str, Any]]:
        store = SQLStore(uris())
        store.create()
        return (store, runs), {}

    def timed(store: SQLStore, some: list[Run]) -> None:
        began = process_time()
        how(store, some)
        spent.append(process_time() - began)

    benchmark.pedantic(timed, setup=new, rounds=5, warmup_rounds=1)
    documents = sum(map(len, runs))
    benchmark.extra_info["documents/s"] = f"{documents / benchmark.stats.stats.median:,.0f}"
    benchmark.extra_info["a second of this processor"] = f"{documents / median(spent):,.0f}"
