"""What a driver's test class says about its storage; all tests use these and nothing else of the driver."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar, Generic, TypeVar

import pytest

from intake_bluesky.storage.contract import RunStore
from intake_bluesky.testing.runs import EXAMPLES, Run

__all__ = ["S", "StoreHooks"]

S = TypeVar("S", bound=RunStore)


class StoreHooks(Generic[S]):
    """The hooks, and the fixtures made of them; ``StoreTests[MyStore]`` tells a type checker of which store.

    Attributes
    ----------
    gaps : mapping of test to reason
        Tests that this driver is known to fail, each named as pytest shows it: ``test_data[ragged]``, or
        without the brackets for all of a test's examples. They are expected to fail, strictly: one that
        passes is an error.
    """

    gaps: ClassVar[Mapping[str, str]] = {}

    def make_store(self, folder: Path) -> S:
        """Make a store over new, empty storage; `folder` exists and is this test's own."""
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
        """Mark what `gaps` names as expected to fail."""
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

    @pytest.fixture(params=list(EXAMPLES))
    def example(self, request: pytest.FixtureRequest, tmp_path: Path) -> Run:
        """Every example run in turn."""
        return EXAMPLES[request.param](tmp_path / "assets")

    @pytest.fixture
    def stored(self, store: S, example: Run) -> S:
        """Give a store with the example run in it, and nothing else."""
        self.put(store, example)
        return store
