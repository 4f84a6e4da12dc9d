"""Hooks by which a driver's test class gives access to its storage; tests use nothing else of the driver."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeAlias, TypeVar

import pytest

from intake_bluesky.storage.contract import RunStore
from intake_bluesky.testing.runs import EXAMPLES, Run

__all__ = ["Runs", "S", "StoreHooks", "of_each_example"]

S = TypeVar("S", bound=RunStore)
H = TypeVar("H", bound="StoreHooks[Any]")
Runs: TypeAlias = Mapping[str, Run]
"""Runs by the names of the examples they are."""


class StoreHooks(Generic[S]):
    """The hooks, and the fixtures made of them; the store in ``StoreTests[MyStore]`` is for type checkers.

    Attributes
    ----------
    gaps : mapping of test to reason
        Tests that this driver is known to fail, each named as pytest shows it, and of one that goes through all
        examples one of these: ``test_run_grows[count]``, ``test_data[ragged]``, ``test_data``. They are expected to
        fail, strictly: one that passes is an error.
    """

    gaps: ClassVar[Mapping[str, str]] = {}

    def make_store(self, folder: Path) -> S:
        """Make a store over new, empty storage; `folder` exists and is this store's own."""
        raise NotImplementedError(f"{type(self).__name__}.make_store has to make an empty store")

    def insert(self, store: S, documents: Run) -> None:
        """Put a run, or what it has so far, into the storage of `store` bypassing the driver."""
        raise NotImplementedError(f"{type(self).__name__}.insert has to put documents in without the driver")

    def append(self, store: S, uid: str, documents: Run) -> None:
        """Put more documents of a run in, bypassing the driver."""
        raise NotImplementedError(f"{type(self).__name__}.append has to let a run grow without the driver")

    def remove(self, store: S, uid: str) -> None:
        """Take a run out of the storage, bypassing the driver."""
        raise NotImplementedError(f"{type(self).__name__}.remove has to take a run out without the driver")

    def damage(self, store: S) -> None:
        """Put something into the storage that looks like a run and cannot be read."""
        raise NotImplementedError(f"{type(self).__name__}.damage has to put in something unreadable")

    def data_reads(self, store: S) -> int:
        """How often this store (this object) has parsed event data so far."""
        raise NotImplementedError(f"{type(self).__name__}.data_reads has to count parses of event data")

    def reopen(self, store: S) -> S:
        """Make another store over the same storage, as another process would."""
        other: S = pickle.loads(pickle.dumps(store))
        return other

    def put(self, store: S, *runs: Run) -> None:
        """Insert runs and let the store look."""
        for run in runs:
            self.insert(store, run)
        store.refresh()

    @pytest.fixture(autouse=True)
    def expect_gaps(self, request: pytest.FixtureRequest) -> None:
        """Mark the tests in `gaps` as expected to fail."""
        name = request.node.name
        reason = self.gaps.get(name, self.gaps.get(name.partition("[")[0]))
        if reason is not None:
            request.applymarker(pytest.mark.xfail(strict=True, reason=reason))

    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[S]:
        """Give an empty store."""
        folder = tmp_path / "store"
        folder.mkdir()
        store = self.make_store(folder)
        yield store
        store.close()

    @pytest.fixture(scope="class")
    @classmethod
    def examples(cls, tmp_path_factory: pytest.TempPathFactory) -> Runs:
        """Give every example run by its name."""
        folder = tmp_path_factory.mktemp("assets")
        return {name: make(folder / name) for name, make in EXAMPLES.items()}

    @pytest.fixture(scope="class")
    @classmethod
    def stored(cls, examples: Runs, tmp_path_factory: pytest.TempPathFactory) -> Iterator[S]:
        """Give the store that has all the examples in it; tests share it, and change nothing."""
        hooks = cls()
        store = hooks.make_store(tmp_path_factory.mktemp("stored"))
        # All examples in one store, so that each has neighbours: a store that mixes up runs passes no test. Copied,
        # since a store may change what it was handed, and the examples are what tests expect.
        hooks.put(store, *copy.deepcopy([*examples.values()]))
        yield store
        store.close()

    def check_each(self, test: str, examples: Runs, check: Callable[[Run], None]) -> None:
        """Check each run, and raise what failed together, so that no example hides another; `gaps` may fail."""
        failed: list[Exception] = []
        for name, run in examples.items():
            case = f"{test}[{name}]"
            try:
                check(run)
            except Exception as error:  # noqa: BLE001  # raised below, with all others
                error.add_note(f"in {case}")
                failed += [] if case in self.gaps else [error]
            else:
                assert case not in self.gaps, f"{case} passes, which was a gap: {self.gaps[case]}"
        if len(failed) == 1:
            raise failed[0]
        if failed:
            raise ExceptionGroup(f"{test} fails for {len(failed)} of {len(examples)} examples", failed)


def of_each_example(check: Callable[[H, S, Run], None]) -> Callable[[H, S, Runs], None]:
    """Make a check of one run in a store a test of all the examples."""

    def test(self: H, stored: S, examples: Runs) -> None:
        self.check_each(check.__name__, examples, lambda run: check(self, stored, run))

    # Not functools.wraps: pytest would look for a fixture of each argument of what was wrapped.
    test.__name__, test.__qualname__, test.__doc__ = check.__name__, check.__qualname__, check.__doc__
    return test
