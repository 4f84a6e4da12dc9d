"""Documents with the external data that their events refer to put in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, TypeAlias, get_args

import numpy as np

from intake_bluesky.assets import AssetOptions, datum_array
from intake_bluesky.documents.model import Document, RunHeader, is_external, is_streamed
from intake_bluesky.documents.pages import normalise
from intake_bluesky.storage.contract import RunStore

__all__ = ["Fill", "datums_of", "filled_documents"]

Fill: TypeAlias = Literal["no", "yes", "delayed"]
Named: TypeAlias = tuple[str, Document]

BATCH: Final = 16  # events whose frames are read together: opening a file for each alone would cost more


def filled_documents(store: RunStore, uid: str, options: AssetOptions, fill: Fill) -> Iterator[Named]:
    """Yield (name, document) of a run in stored order.

    Parameters
    ----------
    store : RunStore
    uid : str
    options : AssetOptions
    fill : {"no", "yes", "delayed"}
        ``"no"``: as stored. ``"yes"``: where an event holds a datum_id, the value is read and put there, as a
        numpy array, and the datum_id moves to ``filled``, as event-model has it. ``"delayed"``: likewise with
        dask arrays, nothing read. Values of stream resources are in no event, and those documents pass
        through.

    Raises
    ------
    ValueError
        For any other `fill`.
    AssetUnavailable
        With ``"yes"``, when a file is missing.
    """
    if fill not in get_args(Fill):
        raise ValueError(f"fill is one of {', '.join(map(repr, get_args(Fill)))}, not {fill!r}")
    if fill == "no":
        return store.documents(uid)
    # An event's value is its own array, however the arrays of a Dataset are joined.
    return _Filler(store, store.header(uid), replace(options, join_method="stack"), fill).documents()


def datums_of(store: RunStore, uid: str, resources: Iterable[str]) -> dict[str, tuple[str, dict[str, Any]]]:
    """(resource uid, datum_kwargs) of each datum_id of some resources."""
    return {
        datum_id: (resource, {key: column[row] for key, column in page.datum_kwargs.items()})
        for resource in resources
        for page in store.datum_pages(uid, resource)
        for row, datum_id in enumerate(page.datum_id)
    }


@dataclass(frozen=True, slots=True)
class _Filler:
    store: RunStore
    header: RunHeader
    options: AssetOptions
    fill: Fill
    datums: dict[str, tuple[str, dict[str, Any]]] = field(default_factory=dict)

    def documents(self) -> Iterator[Named]:
        keys = {d["uid"]: _datum_keys(d) for d in self.header.descriptors}
        if any(keys.values()):
            resources = (resource["uid"] for resource in self.header.resources)
            self.datums.update(datums_of(self.store, self.header.uid, resources))
        batch: list[Named] = []
        waiting = 0
        for stored, whole in self.store.documents(self.header.uid):
            for name, doc in normalise(stored, whole) if stored == "bulk_events" else ((stored, whole),):
                external = name in ("event", "event_page") and bool(keys.get(doc["descriptor"]))
                # Copied, because it is filled in place, and a store may hand out documents that it caches.
                batch.append((name, _copied(doc) if external else doc))
                waiting += len(doc["seq_num"]) if external and name == "event_page" else external
                # Other documents wait with the events before them: the stored order does not change.
                if not waiting or waiting >= BATCH:
                    yield from self._filled(batch, keys)
                    batch, waiting = [], 0
        yield from self._filled(batch, keys)

    def _filled(self, batch: Sequence[Named], keys: dict[str, dict[str, Document]]) -> Sequence[Named]:
        """Fill the events of a batch in place: they are copies."""
        for descriptor, external in keys.items():
            events = [d for n, d in batch if n in ("event", "event_page") and d["descriptor"] == descriptor]
            for key, spec in external.items():
                self._fill_key(events, key, spec)
        return batch

    def _fill_key(self, events: Sequence[Document], key: str, spec: Document) -> None:
        ids = {id(doc): _unfilled_ids(doc, key) for doc in events}
        flat = [datum_id for own in ids.values() for datum_id in own or ()]
        if not flat:
            return
        resources = {r["uid"]: r for r in self.header.resources}
        array = datum_array(flat, key, spec, resources, self.datums, self.options)
        values = array.read() if self.fill == "yes" else array.dask()
        first = 0
        for doc in events:
            own = ids[id(doc)]
            if own is None:
                continue
            single = not isinstance(doc["data"][key], (list, tuple, np.ndarray))
            doc["data"][key] = values[first] if single else values[first : first + len(own)]
            doc["filled"][key] = own[0] if single else list(own)
            first += len(own)


def _datum_keys(descriptor: Document) -> dict[str, Document]:
    specs = descriptor.get("data_keys") or {}
    return {key: spec for key, spec in specs.items() if is_external(spec) and not is_streamed(spec)}


def _copied(doc: Document) -> Document:
    return {**doc, "data": dict(doc.get("data") or {}), "filled": dict(doc.get("filled") or {})}


def _unfilled_ids(doc: Document, key: str) -> list[str] | None:
    """The datum_ids of an event or a page; None where it was filled before it was stored."""
    value = doc["data"].get(key)
    rows = list(value) if isinstance(value, (list, tuple, np.ndarray)) else [value]
    return rows if rows and all(isinstance(row, str) for row in rows) else None
