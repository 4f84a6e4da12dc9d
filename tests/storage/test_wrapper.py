"""Stores made of stores pass on what they do not change."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from intake_bluesky.catalogs.run_catalog import BlueskyCatalog
from intake_bluesky.documents import RunHeader, RunSummary
from intake_bluesky.errors import UnsupportedOperation
from intake_bluesky.query import Data, Everything, Start
from intake_bluesky.search.run_statistics import Unmeasured
from intake_bluesky.search.statistics_cache import CachedStatistics
from intake_bluesky.storage import ALL_RUNS, Origin, Plan, RunStore, TransformedStore, WrapperStore, merge_runs
from intake_bluesky.testing import MemoryStore, RunComposer, WrapperTests, data_key
from intake_bluesky.testing.plain_runs import count, scan


class TestWrapperStore(WrapperTests):
    def wrap(self, inner: RunStore) -> RunStore:
        return WrapperStore(inner)


class TestTransformedStore(WrapperTests):
    CHANGES = frozenset({"cache_key", "exact_documents", "ordered", "read_ahead"})

    def wrap(self, inner: RunStore) -> RunStore:
        return TransformedStore(inner, {})


class TestUnmeasured(WrapperTests):
    CHANGES = frozenset({"header", "statistics", "event_pages"})

    def wrap(self, inner: RunStore) -> RunStore:
        return Unmeasured(inner, next(iter(MemoryStore([count()]).read_ahead([count()[0][1]["uid"]])))[0])

    def test_an_origin_passes_through(self) -> None:
        """The header of a run that is measured is the one it was given."""
        wrapped = self.wrap(MemoryStore([count()]))
        assert wrapped.header("any") is wrapped.header("other")


class TestCachedStatistics(WrapperTests):
    CHANGES = frozenset({"statistics"})

    def wrap(self, inner: RunStore) -> RunStore:
        return CachedStatistics(inner)


class _Forgetful(RunStore):
    """A wrapper as one would write it without `WrapperStore`: four methods, and the defaults for all else."""

    def __init__(self, inner: RunStore) -> None:
        self.inner = inner

    def find(self, plan: Plan = ALL_RUNS, *, offset: int = 0, limit: int | None = None) -> Iterator[RunSummary]:
        return self.inner.find(plan, offset=offset, limit=limit)

    def header(self, uid: str) -> RunHeader:
        return self.inner.header(uid)

    def event_pages(self, uid: str, stream: str, **options: Any) -> Iterator[Any]:
        return self.inner.event_pages(uid, stream, **options)

    def documents(self, uid: str) -> Iterator[Any]:
        return self.inner.documents(uid)


@pytest.mark.parametrize("name", ["count", "lookup", "remove", "read_ahead", "document"])
def test_a_wrapper_that_forgets_a_method_fails(name: str) -> None:
    class Suite(WrapperTests):
        def wrap(self, inner: RunStore) -> RunStore:
            return _Forgetful(inner)

    # The defaults of `RunStore` answer without the store behind, or refuse.
    with pytest.raises((AssertionError, UnsupportedOperation), match=r"does not ask the store|nothing is removed"):
        Suite().test_a_method_reaches_the_store_behind(name)


def test_a_wrapper_that_forgets_an_answer_fails() -> None:
    class Suite(WrapperTests):
        def wrap(self, inner: RunStore) -> RunStore:
            return _Forgetful(inner)

    with pytest.raises(AssertionError):
        Suite().test_an_answer_is_that_of_the_store_behind("trusts_paths")


def test_transforms_count_by_the_store_and_keep_its_statistics() -> None:
    store = MemoryStore([count(), scan()])
    seen = TransformedStore(store, {"start": lambda doc: {**doc, "operator": "me"}})
    assert not seen.answers(Start("operator") == "me"), "which only the transformed document has"
    assert seen.count() == 2
    assert seen.statistics is store.statistics


def _stamped(origin: Origin, plan: Plan) -> Iterator[RunSummary]:
    return (replace(run, origin=origin) for run in origin.store.find(plan))


class _Both(WrapperStore):
    """Two catalogs as one, as a federation makes it: each run travels with its origin."""

    def __init__(self, *catalogs: BlueskyCatalog) -> None:
        super().__init__(catalogs[0].store)
        self.origins = [catalog.origin for catalog in catalogs]

    def find(self, plan: Plan = ALL_RUNS, *, offset: int = 0, limit: int | None = None) -> Iterator[RunSummary]:
        assert isinstance(plan.pushed, Everything)
        first, second = (_stamped(origin, plan) for origin in self.origins)
        return merge_runs(first, second, plan.order)

    def header(self, uid: str) -> RunHeader:
        for origin in self.origins:
            if any(run.uid == uid for run in origin.store.find()):
                return replace(origin.store.header(uid), origin=origin)
        raise AssertionError(uid)

    def answers(self, leaf: Any) -> bool:
        return False


def _with_an_image(label: str, root: str, value: int) -> list[tuple[str, dict[str, Any]]]:
    run = RunComposer(label, time=1.7e9 + value, scan_id=value)
    primary = run.descriptor({"image": data_key("array", [1, 2, 2], external="FILESTORE:")})
    resource = run.resource("NPY_SEQ", root=root, path="image")
    run.event(primary, {"image": run.datum(resource, 0, index=0)})
    run.stop()
    return run.documents


def test_runs_of_several_catalogs_stand_in_one(tmp_path: Path) -> None:
    """Each is read by its own store, moved folders and trust, whoever lists it; searches of data too."""
    catalogs = []
    for number, name in enumerate(("here", "there"), start=1):
        folder = tmp_path / name
        folder.mkdir()
        np.save(folder / "image_0.npy", np.full((2, 2), number))
        store = MemoryStore([_with_an_image(name, "/old", number)])
        catalogs.append(BlueskyCatalog(store, root_map={"/old": str(folder)}))
    both = BlueskyCatalog(_Both(*catalogs))
    images = [int(run().primary.read()["image"].max()) for run in both.values()]
    assert images == [2, 1], "of one root, by two root_maps"
    assert [both[uid].scan_id for uid in both.search(Data("image").max() == 1)] == [1]
    untrusted = BlueskyCatalog(_Both(*catalogs), root_map={"/old": "/nowhere"})
    assert int(untrusted[1].primary.read()["image"].max()) == 1, "what the catalog itself says is of its own runs"
