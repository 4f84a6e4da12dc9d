"""A store made of another: whatever it does not change, it passes on."""

from __future__ import annotations

from collections.abc import Iterator
from functools import wraps
from operator import attrgetter
from types import FunctionType
from typing import Any

from intake_bluesky.documents.model import ALL_KEYS, Document, EventPage, Keys, RunHeader, RunSummary
from intake_bluesky.storage.contract import ALL_RUNS, Plan, RunStore


class WrapperStore(RunStore):
    """A store that passes everything on to another; subclasses override what they change.

    Whoever asks a wrapper what it can do gets the answer of the store behind it: plans, too, are those of that store,
    with what it compiled. `intake_bluesky.testing.WrapperTests` fails for a wrapper that forgets a method.

    Parameters
    ----------
    inner : RunStore

    Examples
    --------
    >>> from dataclasses import replace
    >>> from intake_bluesky.testing import MemoryStore
    >>> class Labelled(WrapperStore):
    ...     def find(self, *arguments, **options):
    ...         for run in self.inner.find(*arguments, **options):
    ...             yield replace(run, start={**run.start, "beamline": "P01"})
    >>> labelled = Labelled(MemoryStore([[("start", {"uid": "abc", "time": 1.0})]]))
    >>> [run.start["beamline"] for run in labelled.find()], labelled.count(), labelled.writable
    (['P01'], 1, True)
    """

    def __init__(self, inner: RunStore) -> None:
        self.inner = inner

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.inner!r})"

    def __dask_tokenize__(self) -> tuple[Any, ...]:
        return type(self).__name__, self.inner

    # The four that every store has; the rest of the contract is passed on below.
    def find(self, plan: Plan = ALL_RUNS, *, offset: int = 0, limit: int | None = None) -> Iterator[RunSummary]:
        return self.inner.find(plan, offset=offset, limit=limit)

    def header(self, uid: str) -> RunHeader:
        return self.inner.header(uid)

    def event_pages(
        self, uid: str, stream: str, *, data: Keys = ALL_KEYS, timestamps: Keys = (), events: slice = slice(None)
    ) -> Iterator[EventPage]:
        return self.inner.event_pages(uid, stream, data=data, timestamps=timestamps, events=events)

    def documents(self, uid: str) -> Iterator[tuple[str, Document]]:
        return self.inner.documents(uid)


def _passed_on(name: str, original: object) -> Any:
    """What asks the store behind: a method in the place of a method, a property in that of any other answer."""
    if not isinstance(original, FunctionType):
        return property(attrgetter(f"inner.{name}"))

    @wraps(original)
    def method(self: WrapperStore, *arguments: Any, **options: Any) -> Any:
        return getattr(self.inner, name)(*arguments, **options)

    return method


# Not by `__getattr__`, which is asked only for what is lacking: `RunStore` has defaults for nearly all of them.
for _name, _original in vars(RunStore).items():
    if not _name.startswith("_") and _name not in vars(WrapperStore):
        setattr(WrapperStore, _name, _passed_on(_name, _original))
