"""Functions that a catalog puts between its store and its users, to mend documents as they are read."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, TypeAlias

from intake_bluesky.documents.model import DatumPage, Document, RunHeader, RunSummary
from intake_bluesky.documents.pages import normalise
from intake_bluesky.documents.untyped import all_well_formed
from intake_bluesky.errors import DamagedRun
from intake_bluesky.query import Path, Query, documents_needed, split
from intake_bluesky.storage.contract import ALL_RUNS, Lookup, Plan, RunStore
from intake_bluesky.storage.order import Order
from intake_bluesky.storage.statistics import StatisticsCache
from intake_bluesky.storage.wrapper import WrapperStore

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


class TransformedStore(WrapperStore):
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

    def __init__(self, inner: RunStore, transforms: Mapping[str, Transform]) -> None:
        super().__init__(inner)
        self.transforms = check_transforms(transforms)

    @property
    def exact_documents(self) -> bool:  # type: ignore[override]  # answered anew each time
        return False

    def __dask_tokenize__(self) -> tuple[Any, ...]:
        return type(self).__name__, self.inner, sorted(self.transforms.items())

    def _apply(self, name: str, doc: Document) -> Document:
        transform = self.transforms.get(name)
        if transform is None:
            return doc
        # A copy: stores hold documents in caches, and a transform may change what it is given.
        changed = transform(copy.deepcopy(doc))
        # Other documents refer to this one by it.
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
    def ordered(self) -> bool:  # type: ignore[override]  # answered anew each time
        """Whether the store behind finds runs in order, and no time is transformed."""
        return self.inner.ordered and "start" not in self.transforms

    @property
    def statistics(self) -> StatisticsCache | None:
        """Those of the store behind, unless transforms change the documents by which values are read."""
        return self.inner.statistics if not self.transforms.keys() & PARTS.keys() else None

    @property
    def cache_key(self) -> str | None:
        """None: statistics belong to the store behind, whose values these are."""
        return None

    def answers(self, leaf: Query) -> bool:
        """Whether the store behind does, and nothing that a condition looks at is transformed."""
        changed = {PARTS.get(name, name) for name in self.transforms}
        return not documents_needed(leaf) & changed and self.inner.answers(leaf)

    def plan(self, query: Query, order: Order) -> Plan:
        """Push down what looks at documents that are as stored."""
        pushed, residual = split(query, self.answers)
        plan = self.inner.plan(pushed, order)
        return replace(plan, residual=plan.residual & residual, ordered=plan.ordered and self.ordered)

    def find(self, plan: Plan = ALL_RUNS, *, offset: int = 0, limit: int | None = None) -> Iterator[RunSummary]:
        """Yield the runs, their start and stop transformed."""
        for run in self.inner.find(plan, offset=offset, limit=limit):
            yield replace(
                RunSummary.of(self._apply("start", run.start), self._optional("stop", run.stop)), origin=run.origin
            )

    def distinct(self, path: Path, plan: Plan = ALL_RUNS) -> Iterable[tuple[Any, int]] | None:
        """Count the values at a path of a document that is as stored, if the store does; else None."""
        return None if path.document in self.transforms else self.inner.distinct(path, plan)

    def lookup(self, paths: Sequence[Path], plan: Plan = ALL_RUNS) -> Lookup | None:
        """Yield values at paths of documents that are as stored, and times that are, if the store does; else None."""
        # The start in any case: a lookup gives its time, too.
        documents = {"start", *(path.document for path in paths)}
        return None if documents & self.transforms.keys() else self.inner.lookup(paths, plan)

    def header(self, uid: str) -> RunHeader:
        """Describe one run, its documents transformed."""
        header = self.inner.header(uid)
        descriptors = {d["uid"]: self._apply("descriptor", d) for d in header.descriptors}
        streams = {}
        for name, layout in header.streams.items():
            # A transform may mend what was not of event-model's form.
            sound, damage = all_well_formed(descriptors[d["uid"]] for d in layout.descriptors)
            streams[name] = replace(layout, descriptors=sound, damage=damage)
        return replace(
            header,
            start=self._apply("start", header.start),
            stop=self._optional("stop", header.stop),
            descriptors=tuple(descriptors.values()),
            resources=tuple(self._apply("resource", r) for r in header.resources),
            streams=streams,
        )

    def read_ahead(self, uids: Sequence[str]) -> Iterator[tuple[RunHeader, RunStore]]:
        """Describe several runs, one by one."""
        # Not the inner store's: that yields stores whose documents are not transformed.
        return RunStore.read_ahead(self, uids)

    def documents(self, uid: str) -> Iterator[tuple[str, Document]]:
        """Yield the documents, transformed; datums of old forms as datum pages."""
        return self._transformed(self.inner.documents(uid))

    def complete_documents(self, uid: str) -> Iterator[tuple[str, Document]]:
        """Yield the documents, transformed, of a run of which none is left out."""
        return self._transformed(self.inner.complete_documents(uid))

    def _transformed(self, documents: Iterable[tuple[str, Document]]) -> Iterator[tuple[str, Document]]:
        for stored, whole in documents:
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
        # A transform may give some datums keys that others lack.
        keys = dict.fromkeys(key for kwargs in changed for key in kwargs)
        return replace(page, datum_kwargs={key: [kwargs.get(key) for kwargs in changed] for key in keys})

    def datum_pages(self, uid: str, resource: str) -> Iterator[DatumPage]:
        """Yield the datums of one resource, transformed."""
        return map(self._datums, self.inner.datum_pages(uid, resource))

    def find_datums(self, datum_ids: Sequence[str]) -> Iterator[tuple[Document, DatumPage]]:
        """Yield datums by their ids, them and their resources transformed."""
        for resource, page in self.inner.find_datums(datum_ids):
            yield self._apply("resource", resource), self._datums(page)
