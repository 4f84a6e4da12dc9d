"""Runs in Zarr beside a store of documents: how a driver uses them, and how requests are counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pytest
from zarr.abc.store import Store
from zarr.storage import WrapperStore as WrappedStore

from intake_bluesky.catalogs.run import BlueskyRun
from intake_bluesky.catalogs.run_catalog import BlueskyCatalog
from intake_bluesky.datasets.zarr_runs.places import RunPlace
from intake_bluesky.datasets.zarr_runs.read import ZarrRun
from intake_bluesky.documents.model import ALL_KEYS, EventPage, Keys
from intake_bluesky.objects import ObjectInfo, Objects, Span
from intake_bluesky.objects.local import LocalObjects
from intake_bluesky.storage import WrapperStore
from intake_bluesky.storage.contract import RunStore
from intake_bluesky.testing import MemoryStore
from intake_bluesky.testing.examples import Run


class BesideStore(WrapperStore):
    """A store of documents, whose values are taken out of hierarchies."""

    def __init__(self, inner: RunStore, runs: Mapping[str, ZarrRun]) -> None:
        super().__init__(inner)
        self.runs = runs

    def arrays(self, uid: str, stream: str) -> Mapping[str, Any] | None:
        return self.runs[uid].arrays(stream)

    def event_pages(
        self, uid: str, stream: str, *, data: Keys = ALL_KEYS, timestamps: Keys = (), events: slice = slice(None)
    ) -> Iterator[EventPage]:
        index = self.runs[uid].index(stream, events) if not data and not timestamps else None
        if index is not None:
            return index
        return super().event_pages(uid, stream, data=data, timestamps=timestamps, events=events)


def run_of(documents: Run, **options: Any) -> BlueskyRun:
    return opened(MemoryStore([documents], page_size=2, **options))


def opened(store: RunStore) -> BlueskyRun:
    (run,) = BlueskyCatalog(store).values()
    found: BlueskyRun = run()
    return found


def beside(run: BlueskyRun, url: str, **options: Any) -> BlueskyRun:
    """The run with its values out of a hierarchy that it was written to."""
    return opened(BesideStore(run._store, {run.uid: ZarrRun(url, **options)}))


class CountingStore(WrappedStore[Store]):
    """Tells what is asked of a store, in order."""

    def __init__(self, store: Store, name: str, log: list[tuple[str, str]]) -> None:
        super().__init__(store)
        self.log, self.name = log, name

    def told(self, what: str, key: str) -> None:
        self.log.append((what, key.removeprefix(self.name).lstrip("/")))

    async def get(self, key: str, *args: Any, **kwargs: Any) -> Any:
        self.told("get", key)
        return await super().get(key, *args, **kwargs)

    async def set(self, key: str, *args: Any, **kwargs: Any) -> None:
        self.told("set", key)
        await super().set(key, *args, **kwargs)

    async def exists(self, key: str) -> bool:
        self.told("exists", key)
        return await super().exists(key)

    async def is_empty(self, prefix: str) -> bool:
        self.told("list", prefix)
        return await super().is_empty(prefix)

    async def get_partial_values(self, prototype: Any, key_ranges: Iterable[Any]) -> Any:
        raise AssertionError("not counted")


class CountingObjects(LocalObjects):
    """Tells what is asked of the objects of this machine; a look at one of them is no request there."""

    def __init__(self, log: list[tuple[str, str]]) -> None:
        self.log = log

    def get(self, name: str, last: int | None = None) -> tuple[bytes, ObjectInfo]:
        self.log.append(("get", name.rpartition("/")[2]))
        return super().get(name, last)

    def ranges(self, spans: Sequence[Span]) -> Sequence[bytes | Exception]:
        self.log += [("get", span.name.rpartition("/")[2]) for span in spans]
        return super().ranges(spans)


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """What is asked of folders and buckets from here on."""
    log: list[tuple[str, str]] = []
    plain = RunPlace.store

    def store(self: RunPlace, **options: Any) -> tuple[Store, str]:
        found, name = plain(self, **options)
        return CountingStore(found, name, log), name

    monkeypatch.setattr(RunPlace, "store", store)
    of_place = RunPlace.objects

    def objects(self: RunPlace) -> tuple[Objects, str]:
        found, name = of_place(self)
        return (CountingObjects(log) if isinstance(found, LocalObjects) else found), name

    monkeypatch.setattr(RunPlace, "objects", objects)
    return log


def counted(requests: list[tuple[str, str]]) -> Counter[str]:
    """How many requests there were of each kind; they are forgotten."""
    found = Counter(kind for kind, _ in requests)
    requests.clear()
    return found
