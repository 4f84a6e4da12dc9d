"""The example runs: deterministic, and valid where they say so."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import event_model
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intake_bluesky import testing
from intake_bluesky.documents.model import identical, to_plain
from intake_bluesky.testing.examples import Run
from intake_bluesky.testing.inaccessible import InaccessibleArray, UnexpectedDataAccess
from intake_bluesky.testing.memory import MemoryStore
from intake_bluesky.testing.runs import EXAMPLES, INVALID, PORTABLE, VALID
from intake_bluesky.testing.stores import StoreTests
from intake_bluesky.testing.strategies import runs

pytest_plugins = ["pytester"]


def _faults(documents: list[tuple[str, dict[str, Any]]]) -> list[str]:
    faults = []
    for name, doc in documents:
        validator = event_model.schema_validators[event_model.DocumentNames[name]]
        faults += [f"{name}: {error.message}" for error in validator.iter_errors(to_plain(doc))]
    return faults


@pytest.mark.parametrize("name", sorted(VALID))
def test_example_is_valid(name: str, tmp_path: Path) -> None:
    assert _faults(EXAMPLES[name](tmp_path)) == []


@pytest.mark.parametrize("name", sorted(INVALID))
def test_example_is_invalid_on_purpose(name: str, tmp_path: Path) -> None:
    documents = EXAMPLES[name](tmp_path)
    raw = [event_model.schema_validators[event_model.DocumentNames[n]].is_valid(doc) for n, doc in documents]
    assert not all(raw)


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_example_is_deterministic(name: str, tmp_path: Path) -> None:
    assert identical(EXAMPLES[name](tmp_path), EXAMPLES[name](tmp_path))


def test_uids_are_unique(tmp_path: Path) -> None:
    uids = [str(make(tmp_path)[0][1]["uid"]) for make in EXAMPLES.values()]
    assert len(set(uids)) == len(uids)


def test_registers_name_examples() -> None:
    assert set(EXAMPLES) > PORTABLE
    assert set(EXAMPLES) == VALID | INVALID


@given(runs())
def test_drawn_runs_are_valid(run: Run) -> None:
    assert _faults(run) == []


@given(runs(), st.integers(1, 4))
def test_drawn_runs_pass_through_a_store(run: Run, page_size: int) -> None:
    store = MemoryStore([run], page_size=page_size)
    uid = str(run[0][1]["uid"])
    assert identical(list(store.documents(uid)), run)
    suite = StoreTests[MemoryStore]()
    suite.test_seq_num_and_time(store, {"drawn": run})
    suite.test_data(store, {"drawn": run})
    suite.test_observed_declares_what_is_read(store, {"drawn": run})
    suite.test_observed_loses_no_value(store, {"drawn": run})


def test_inaccessible_array_refuses() -> None:
    array = InaccessibleArray((3, 2), "u2")
    assert (array.shape, array.ndim, len(array), array.dtype) == ((3, 2), 2, 3, np.dtype("u2"))
    for ask in (np.asarray, list, lambda a: a[0], float, bool):
        with pytest.raises(UnexpectedDataAccess, match=r"\(3, 2\) uint16"):
            ask(array)


IMPORTS = """
import sys
import intake_bluesky.testing as testing
assert "pytest" not in sys.modules, "pytest"
testing.MemoryStore, testing.EXAMPLES, testing.RunComposer, testing.InaccessibleArray
heavy = {"pytest", "hypothesis", "h5py", "dask", "xarray"} & set(sys.modules)
assert not heavy, heavy
testing.StoreTests
assert "pytest" in sys.modules
assert set(dir(testing)) == set(testing.__all__)
"""


def test_pytest_and_hypothesis_are_imported_where_needed_only() -> None:
    done = subprocess.run([sys.executable, "-c", IMPORTS], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_unknown_name_raises() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = testing.no_such_name


def test_gaps_are_expected_failures_and_strict(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(GAPS)
    pytester.runpytest_inprocess("-p", "no:cacheprovider").assert_outcomes(xfailed=3, failed=3, passed=2)


GAPS = """
import pytest
from intake_bluesky.testing import MemoryStore
from intake_bluesky.testing.stores import StoreHooks, of_each_example

class Memory(StoreHooks):
    def make_store(self, folder):
        return MemoryStore()

    def insert(self, store, documents):
        store.put(documents)

    @of_each_example
    def test_each(self, store, example):
        assert example[0][1]["scan_id"] not in (1, 2), example

class TestGaps(Memory):
    gaps = {
        "test_wrong": "known", "test_some[2]": "known", "test_right": "thought wrong",
        "test_each[count]": "known", "test_each[scan]": "known",
    }

    def test_wrong(self, store):
        assert list(store.find()) == ["a run"]

    def test_right(self, store):
        assert list(store.find()) == []

    @pytest.mark.parametrize("number", [1, 2])
    def test_some(self, number):
        assert number == 1

class TestTooFew(Memory):
    gaps = {"test_each[count]": "known"}

class TestTooMany(Memory):
    gaps = {"test_each[count]": "known", "test_each[scan]": "known", "test_each[rewound]": "thought wrong"}

class TestAll(Memory):
    gaps = {"test_each": "known"}
"""


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_portable_means_no_object_columns(name: str, tmp_path: Path) -> None:
    run = EXAMPLES[name](tmp_path)
    streams = MemoryStore([run]).header(str(run[0][1]["uid"])).streams.values()
    dtypes = [seen.dtype for layout in streams for seen in (layout.observed or {}).values()]
    assert (name in PORTABLE) is (np.dtype(object) not in dtypes)
