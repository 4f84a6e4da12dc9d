"""Reading from MongoDB, in seconds of this process's CPU, beside databroker 1.2.5 on the same server.

databroker needs an environment of its own, whose Python ``DATABROKER1_PYTHON`` names::

    uv venv --python 3.11 .venvs/databroker1
    uv pip install --python .venvs/databroker1/bin/python databroker==1.2.5 intake==0.6.4 suitcase-mongo==0.7.0
    DATABROKER1_PYTHON=.venvs/databroker1/bin/python python -m pytest tests/benchmarks/test_databases_mongo.py
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pymongo import MongoClient

from intake_bluesky.testing.compose import RunComposer, data_key
from intake_bluesky_mongo import BlueskyMongoEmbeddedCatalog, BlueskyMongoNormalizedCatalog
from tests.servers.mongo import server

KEYS = ("x", "y", "z", "i0", "i1", "temperature")
EVENTS = {"embedded": 100_000, "normalized": 5_000}
FACES: dict[str, Callable[..., Any]] = {
    "embedded": BlueskyMongoEmbeddedCatalog,
    "normalized": BlueskyMongoNormalizedCatalog,
}
LIMIT = 30  # seconds of CPU after which databroker is not waited for
PYTHON = os.environ.get("DATABROKER1_PYTHON")
THEIRS = """
import json, resource, time
resource.setrlimit(resource.RLIMIT_CPU, ({limit}, {limit}))
from databroker._drivers.{module} import BlueskyMongoCatalog
run = BlueskyMongoCatalog({arguments})[{uid!r}]
begin = time.process_time()
data = run.primary.read()
total = float(data["x"].sum())
print(json.dumps([time.process_time() - begin, total, len(data["x"])]))
"""


@pytest.fixture(scope="module")
def uri() -> Iterator[str]:
    with server() as started:
        yield started.uri


def put(kind: str, uri: str) -> str:
    """Write a run as suitcase does; gives its uid."""
    events = EVENTS[kind]
    run = RunComposer(f"benchmark {kind}", scan_id=1)
    primary = run.descriptor({key: data_key("number") for key in KEYS})
    store = FACES[kind](f"{uri}/{kind}", writable=True).store
    with store.insert(run.documents[0][1]) as insert:
        insert.write(*run.documents[1])
        for begin in range(0, events, 5000):
            rows = range(begin, min(begin + 5000, events))
            run.page(primary, {key: [row + 0.5 for row in rows] for key in KEYS})
            insert.write(*run.documents.pop())
        run.stop()
        insert.write(*run.documents[-1])
    store.close()
    return run.run_uid


def ours(kind: str, uri: str, uid: str) -> float:
    run = FACES[kind](f"{uri}/{kind}")[uid]
    begin = time.process_time()
    data = run.primary.read()
    total = float(data["x"].sum())
    used = time.process_time() - begin
    assert total == sum(row + 0.5 for row in range(EVENTS[kind]))
    return used


def theirs(kind: str, uri: str, uid: str) -> float:
    assert PYTHON is not None
    database = f"{uri}/{kind}"
    arguments = repr(database) if kind == "embedded" else f"{database!r}, {database!r}"
    code = THEIRS.format(limit=LIMIT, module=f"mongo_{kind}", arguments=arguments, uid=uid)
    done = subprocess.run([PYTHON, "-c", code], capture_output=True, text=True, timeout=280, check=False)
    if done.returncode in (-signal.SIGKILL, -signal.SIGXCPU):
        return float(LIMIT)  # or more
    assert done.returncode == 0, done.stderr[-2000:]
    used, total, events = json.loads(done.stdout.splitlines()[-1])
    assert (total, events) == (sum(row + 0.5 for row in range(EVENTS[kind])), EVENTS[kind])
    return float(used)


@pytest.mark.parametrize("kind", ["normalized", "embedded"])
def test_read(benchmark: Any, uri: str, kind: str) -> None:
    benchmark.group = "read MongoDB's 100,000 events in pages (embedded), 5,000 single ones (normalized): CPU beside"
    uid = put(kind, uri)
    with MongoClient[dict[str, Any]](f"{uri}/{kind}") as client:
        client.admin.command("ping")
    used = min(ours(kind, uri, uid) for _ in range(3))
    benchmark.extra_info["CPU"] = f"{used:.3f} s"
    benchmark.pedantic(ours, (kind, uri, uid), rounds=3)
    if PYTHON is not None:
        other = theirs(kind, uri, uid)
        benchmark.extra_info["databroker 1.2.5"] = f"{other:.1f} s" if other < LIMIT else f"more than {LIMIT} s"
        assert used <= other / 5
