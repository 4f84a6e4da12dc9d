"""Importing the package, in fresh interpreters, beside importing Intake alone."""

from __future__ import annotations

import subprocess
import sys
from statistics import median

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

ADDED = """
import time, intake
began = time.perf_counter()
import intake_bluesky
print(time.perf_counter() - began)
"""


DRIVER = """
import time, intake, xarray
began = time.process_time()
from intake_bluesky_jsonl import BlueskyJSONLCatalog
print(time.process_time() - began)
"""


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


@pytest.mark.benchmark(group="import")
def test_floor_import_intake(benchmark: BenchmarkFixture) -> None:
    benchmark.pedantic(run, args=("import intake",), rounds=10, warmup_rounds=1)


@pytest.mark.benchmark(group="import")
def test_import_intake_and_intake_bluesky(benchmark: BenchmarkFixture) -> None:
    added = min(float(run(ADDED)) for _ in range(5))
    benchmark.extra_info["added"] = f"{added * 1e3:.1f} ms"
    benchmark.pedantic(run, args=("import intake, intake_bluesky",), rounds=10, warmup_rounds=1)


@pytest.mark.benchmark(group="import")
def test_import_the_first_driver(benchmark: BenchmarkFixture) -> None:
    times: list[float] = []
    benchmark.pedantic(lambda: times.append(float(run(DRIVER))), rounds=7)
    benchmark.extra_info["processor time added to intake and xarray"] = f"{median(times) * 1e3:.1f} ms"
