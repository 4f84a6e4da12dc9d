"""Plain conditions as SQL: what they mean, with NULL and with thousands of values."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intake_bluesky.documents.model import RunSummary
from intake_bluesky.query import ALL, DataKey, PartialUID, Query, Start, Stop, matches, to_nnf
from intake_bluesky.storage import combine, key_condition, sql_condition

COLUMNS = {"uid": "uid", "scan_id": '"scan id"', "stop.exit_status": "status"}
RUNS = [
    RunSummary.of({"uid": f"{n:05}", "time": float(n), **({"scan_id": n} if n % 3 else {})}, stop)
    for n, stop in enumerate([None, {"exit_status": "success"}, {"exit_status": "fail"}, {}] * 5)
]


@pytest.fixture(scope="module")
def table() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:")) as db:
        db.execute('CREATE TABLE runs (uid, "scan id", status)')
        rows = [(run.uid, run.scan_id, (run.stop or {}).get("exit_status")) for run in RUNS]
        db.executemany("INSERT INTO runs VALUES (?, ?, ?)", rows)
        yield db


def found(table: sqlite3.Connection, query: Query) -> list[str]:
    sql, values = sql_condition(query, COLUMNS)
    return [uid for (uid,) in table.execute(f"SELECT uid FROM runs WHERE {sql} ORDER BY uid", values)]


LEAVES = st.one_of(
    st.integers(-1, 21).map(lambda n: Start("scan_id") > n),
    st.integers(-1, 21).map(lambda n: Start("scan_id") == n),
    st.lists(st.integers(0, 20), max_size=4).map(lambda some: Start("scan_id").is_in(some)),
    st.sampled_from(["success", "fail", "none"]).map(lambda status: Stop("exit_status") == status),
    st.sampled_from([ALL, ~ALL, PartialUID("0000"), PartialUID("00012", "00003")]),
)
QUERIES = st.recursive(
    LEAVES,
    lambda some: st.one_of(
        st.tuples(some, some).map(lambda both: both[0] & both[1]),
        st.tuples(some, some).map(lambda both: both[0] | both[1]),
        some.map(lambda one: ~one),
    ),
    max_leaves=6,
)


@given(QUERIES)
def test_sql_finds_what_the_meaning_says(table: sqlite3.Connection, query: Query) -> None:
    expected = [run.uid for run in RUNS if matches(query, run)]
    assert found(table, query) == found(table, to_nnf(query)) == expected


def test_thousands_of_values_are_one_condition(table: sqlite3.Connection) -> None:
    uids = [f"{n:05}" for n in range(0, 20_000, 2)]
    assert found(table, Start("uid").is_in(uids)) == [run.uid for run in RUNS[::2]]
    assert found(table, ~Start("uid").is_in(uids)) == [run.uid for run in RUNS[1::2]]


def test_what_is_no_plain_condition_is_refused() -> None:
    query = Start("scan_id").exists() & DataKey("x").exists()
    assert key_condition(Start("scan_id").exists()) is None
    with pytest.raises(TypeError, match="answers"):
        sql_condition(query, COLUMNS)
    with pytest.raises(TypeError, match="answers"):
        combine(query, str, every="", all_of="".join, any_of="".join, negation=str)
