"""Functions that a catalog puts between its store and its users, to mend documents as they are read."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, TypeAlias

from intake_bluesky.documents.model import ALL_KEYS, DatumPage, Document, EventPage, Keys, RunHeader, RunSummary
from intake_bluesky.documents.pages import normalise
from intake_bluesky.errors import DamagedRun
from intake_bluesky.query import ALL, Path, Query, documents_needed, split
from intake_bluesky.storage.contract import (
    Order,
    Plan,
    Problem,
    RunStore,
    SupportsCount,
    SupportsDistinct,
    SupportsLookup,
)

__all__ = ["TRANSFORMED", "Transform", "TransformedStore", "check_transforms"]

Transform: TypeAlias = Callable[[Document], Document]

TRANSFORMED: Final = ("start", "stop", "resource", "descriptor", "datum")
"""The documents that can be transformed."""
PARTS: Final = {"descriptor": "descriptors", "resource": "data", "datum": "data"}  # what a query looks at in them


def check_transforms(transforms: Mapping[str, Any] | None) -> dict[str, Any]:
    """Check the keys.

    Raises
    ------
    ValueError
        When one is none of `TRANSFORMED`.
    """
    unknown = sorted(set(transforms or {}) - set(TRANSFORMED))
    if unknown:
        raise ValueError(f"transforms are given for {', '.join(TRANSFORMED)}, not for {', '.join(map(repr, unknown))}")
    return dict(transforms or {})


class TransformedStore(RunStore):
    """A store whose documents pass through functions on their way out.

    Queries are put to the transformed documents: what looks at these is not pushed down.

    Parameters
    ----------
    inner : RunStore
    transforms : mapping of str to callable
        Keys among `TRANSFORMED`. Each is given a copy of a document and returns one; the uid of a start, a
        resource or a descriptor, and the datum_id, must stay.

    Examples
    --------
    >>> from intake_bluesky.testing.memory import MemoryStore
    >>> store = MemoryStore([[("start", {"uid": "abc", "time": 1.0})]])
    >>> seen = TransformedStore(store, {"start": lambda doc: {**doc, "sample": "Ni"}})
    >>> seen.header("abc").start["sample"]
    'Ni'
    """

    exact_documents = False

    def __init__(self, inner: RunStore, transforms: Mapping[str, Transform]) -> None:
        self.inner = inner
        self.transforms = check_transforms(transforms)

    def __dask_tokenize__(self) -> tuple[Any, ...]:
        return type(self).__name__, self.inner, sorted(self.transforms.items())

    def _apply(self, name: str, doc: Document) -> Document:
        transform = self.transforms.get(name)
        if transform is None:
            return doc
        changed = transform(copy.deepcopy(doc))
        identity = "datum_id" if name == "datum" else "uid"
        if not isinstance(changed, Mapping) or changed.get(identity) != doc.get(identity):
            raise DamagedRun(
                f"the transform of {name} documents, {transform!r}, has to return the document with the same "
                f"{identity}, {doc.get(identity)!r}, and gave {type(changed).__name__} {str(changed)[:60]}"
            )
        return dict(changed)

    def _optional(self, name: str, doc: Document | None) -> Document | None:
        return None if doc is None else self._apply(name, doc)

    @property
    def remote(self) -> bool:
        """As the store behind."""
        return self.inner.remote

    def plan(self, query: Query, order: Order) -> Plan:
        """Push down what looks at documents that are as stored."""
        pushed, residual = split(query, self._as_stored)
        plan = self.inner.plan(pushed, order)
        return Plan(plan.pushed, plan.residual & residual, plan.ordered and "start" not in self.transforms)

    def _as_stored(self, leaf: Query) -> bool:
        """Whether nothing that a leaf looks at is transformed."""
        changed = {PARTS.get(name, name) for name in self.transforms}
        return not documents_needed(leaf) & changed

    def find(
        self, query: Query = ALL, *, order: Order = Order.NEWEST, offset: int = 0, limit: int | None = None
    ) -> Iterator[RunSummary]:
        """Yield the runs, their start and stop transformed."""
        for run in self.inner.find(query, order=order, offset=offset, limit=limit):
            yield RunSummary.of(self._apply("start", run.start), self._optional("stop", run.stop))

    def count(self, query: Query = ALL) -> int:
        """Count the runs that match: a document that is transformed is of the same run."""
        if isinstance(self.inner, SupportsCount):
            return self.inner.count(query)
        return sum(1 for _ in self.inner.find(query))

    def distinct(self, path: Path, query: Query = ALL) -> Iterable[tuple[Any, int]] | None:
        """Count the values at a path of a document that is as stored, if the store does; else None."""
        if path.document in self.transforms or not isinstance(self.inner, SupportsDistinct):
            return None
        return self.inner.distinct(path, query)

    def lookup(
        self, paths: Sequence[Path], query: Query = ALL, *, order: Order = Order.NEWEST
    ) -> Iterator[tuple[str, float | None, tuple[Any, ...]]] | None:
        """Tell values at paths of documents that are as stored, and times that are, if the store does; else None."""
        documents = {"start", *(path.document for path in paths)}
        if documents & self.transforms.keys() or not isinstance(self.inner, SupportsLookup):
            return None
        return self.inner.lookup(paths, query, order=order)

    def header(self, uid: str) -> RunHeader:
        """Describe one run, its documents transformed."""
        header = self.inner.header(uid)
        descriptors = {d["uid"]: self._apply("descriptor", d) for d in header.descriptors}
        streams = {
            name: replace(layout, descriptors=tuple(descriptors[d["uid"]] for d in layout.descriptors))
            for name, layout in header.streams.items()
        }
        return replace(
            header,
            start=self._apply("start", header.start),
            stop=self._optional("stop", header.stop),
            descriptors=tuple(descriptors.values()),
            resources=tuple(self._apply("resource", r) for r in header.resources),
            streams=streams,
        )

    def event_pages(
        self,
        uid: str,
        stream: str,
        *,
        data: Keys = ALL_KEYS,
        timestamps: Keys = (),
        events: slice = slice(None),
    ) -> Iterator[EventPage]:
        """Yield the stored events: they are not transformed."""
        return self.inner.event_pages(uid, stream, data=data, timestamps=timestamps, events=events)

    def documents(self, uid: str) -> Iterator[tuple[str, Document]]:
        """Yield the documents, transformed; datums of old forms as datum pages."""
        for stored, whole in self.inner.documents(uid):
            for name, doc in normalise(stored, whole) if stored == "bulk_datum" else ((stored, whole),):
                yield name, self._datum_page(doc) if name == "datum_page" else self._apply(name, doc)

    def _datum_page(self, doc: Document) -> Document:
        page = self._datums(DatumPage(doc["resource"], doc["datum_id"], doc["datum_kwargs"]))
        return {**doc, "datum_kwargs": dict(page.datum_kwargs)}

    def _datums(self, page: DatumPage) -> DatumPage:
        if "datum" not in self.transforms:
            return page
        changed = [
            self._apply(
                "datum",
                {
                    "datum_id": datum_id,
                    "resource": page.resource,
                    "datum_kwargs": {key: column[row] for key, column in page.datum_kwargs.items()},
                },
            )["datum_kwargs"]
            for row, datum_id in enumerate(page.datum_id)
        ]
        keys = dict.fromkeys(key for kwargs in changed for key in kwargs)
        return replace(page, datum_kwargs={key: [kwargs.get(key) for kwargs in changed] for key in keys})

    def datum_pages(self, uid: str, resource: str) -> Iterator[DatumPage]:
        """Yield the datums of one resource, transformed."""
        return map(self._datums, self.inner.datum_pages(uid, resource))

    def refresh(self, *, deep: bool = False) -> None:
        """Look for new and grown runs."""
        self.inner.refresh(deep=deep)

    def problems(self) -> Sequence[Problem]:
        """What could not be read so far."""
        return self.inner.problems()

    def close(self) -> None:
        """Let go of connections and files."""
        self.inner.close()
