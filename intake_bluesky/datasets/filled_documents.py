"""Documents with the external data that their events refer to put in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, TypeAlias, get_args

import numpy as np

from intake_bluesky.assets import AssetOptions, datum_array
from intake_bluesky.assets.build import listed_datum_ids
from intake_bluesky.documents.model import ODD_DOCUMENT, DatumPage, Document, RunHeader, is_external
from intake_bluesky.documents.pages import normalise
from intake_bluesky.errors import DamagedRun, IntakeBlueskyError
from intake_bluesky.storage.contract import RunStore

__all__ = ["Datums", "Fill", "datums_of", "filled_documents"]

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
    header = store.header(uid)
    filler = _Filler(store, header, replace(options, join_method="stack"), fill, Datums(store, header))
    return _filled(filler, uid)


def _filled(filler: _Filler, uid: str) -> Iterator[Named]:
    try:
        yield from filler.documents()
    except (IntakeBlueskyError, OSError):
        raise
    except ODD_DOCUMENT as error:
        raise DamagedRun(
            f"run {uid} has documents that cannot be filled ({type(error).__name__}: {error}): ask for them as they "
            'are stored, with fill="no"'
        ) from error


def datums_of(store: RunStore, uid: str, resources: Iterable[str]) -> dict[str, tuple[str, dict[str, Any]]]:
    """(resource uid, datum_kwargs) of each datum_id of some resources."""
    pages = (page for resource in resources for page in store.datum_pages(uid, resource))
    return {datum_id: datum for page in pages for datum_id, datum in _rows_of(page)}


def _rows_of(page: DatumPage) -> Iterator[tuple[str, tuple[str, dict[str, Any]]]]:
    for row, datum_id in enumerate(page.datum_id):
        yield datum_id, (page.resource, {key: column[row] for key, column in page.datum_kwargs.items()})


@dataclass(frozen=True, slots=True)
class Datums:
    """Datums that the events of one run name, and their resources, as far as they were looked for.

    Attributes
    ----------
    store : RunStore
    header : RunHeader
    resources : dict of uid to resource
    datums : dict of datum_id to (resource uid, datum_kwargs)
    """

    store: RunStore
    header: RunHeader
    resources: dict[str, Document] = field(default_factory=dict)
    datums: dict[str, tuple[str, dict[str, Any]]] = field(default_factory=dict)
    _read: set[str] = field(default_factory=set)
    _sought: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.resources.update((resource["uid"], resource) for resource in self.header.resources)

    def knows(self, datum_id: str) -> bool:
        """Whether a datum was found, and its resource."""
        return datum_id in self.datums and self.datums[datum_id][0] in self.resources

    def find(self, values: Iterable[Any]) -> None:
        """Look for the datums that values name: in the run first, then wherever the store finds them by their ids."""
        lists = [value if listed_datum_ids(value) else [value] for value in values]
        wanted = {text for own in lists for text in own if isinstance(text, str) and text} - self._sought
        # bluesky and ophyd name a datum `<resource uid>/<number>`, so that mostly only the resources of this key are
        # read. Nothing guarantees it: where some are not found, those of all resources are read.
        own = {str(resource["uid"]) for resource in self.header.resources} - self._read
        for resources in (own & {text.rpartition("/")[0] for text in wanted}, own):
            if wanted - self.datums.keys():
                self.datums.update(datums_of(self.store, self.header.uid, resources - self._read))
                self._read.update(resources)
        lacking = sorted(text for text in wanted if self.datums.get(text, ("",))[0] not in self.resources)
        for resource, page in self.store.find_datums(lacking) if lacking else ():
            self.resources.setdefault(page.resource, resource)
            self.datums.update(_rows_of(page))
        self._sought.update(wanted)


@dataclass(frozen=True, slots=True)
class _Filler:
    store: RunStore
    header: RunHeader
    options: AssetOptions
    fill: Fill
    datums: Datums

    def documents(self) -> Iterator[Named]:
        sound = (descriptor for layout in self.header.streams.values() for descriptor in layout.descriptors)
        keys = {descriptor["uid"]: _external_keys(descriptor) for descriptor in sound}
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
        rows = {id(doc): _values_to_fill(doc, key) for doc in events}
        flat = [value for own in rows.values() for value in own]
        if not flat:
            return
        self.datums.find(flat)
        array = datum_array(flat, key, spec, self.datums.resources, self.datums.datums, self.options)
        values = array.read() if self.fill == "yes" else array.dask()
        first = 0
        for doc in events:
            own = rows[id(doc)]
            if not own:
                continue
            page = _is_page(doc)
            doc["data"][key] = values[first : first + len(own)] if page else values[first]
            doc["filled"][key] = list(own) if page else own[0]
            first += len(own)


def _external_keys(descriptor: Document) -> dict[str, Document]:
    return {key: spec for key, spec in descriptor.get("data_keys", {}).items() if is_external(spec)}


def _copied(doc: Document) -> Document:
    return {**doc, "data": dict(doc.get("data") or {}), "filled": dict(doc.get("filled") or {})}


def _is_page(doc: Document) -> bool:
    return isinstance(doc["seq_num"], (list, tuple, np.ndarray))


def _values_to_fill(doc: Document, key: str) -> list[Any]:
    """The values of an event or of a page; none where all were filled in before they were stored."""
    value = doc["data"].get(key)
    rows = list(value) if _is_page(doc) and value is not None else [value]
    return rows if any(isinstance(row, str) or listed_datum_ids(row) for row in rows) else []
