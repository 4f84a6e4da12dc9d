"""Event documents to event pages, and legacy documents to those of today."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import chain, groupby, islice
from operator import itemgetter
from typing import Any, Final

import numpy as np

from intake_bluesky.documents.columns import Array, column
from intake_bluesky.documents.model import ALL_KEYS, ODD_DOCUMENT, DatumPage, Document, EventPage, Keys
from intake_bluesky.errors import DamagedRun

__all__ = ["check_columns", "datum_page", "datum_pages", "event_page", "events_of", "gather", "normalise"]

LISTS: Final = (list, tuple, np.ndarray)
TOGETHER: Final = 64  # events joined at once: what was parsed just now is still in the processor's cache


def normalise(name: str, doc: Document) -> Iterator[tuple[str, Document]]:
    """Bring legacy documents to today's form; those of today pass through as they are.

    Parameters
    ----------
    name : str
        ``bulk_events`` gives event pages, ``bulk_datum`` datum pages, a stream resource of before event-model
        1.21 gets ``uri``, ``parameters`` and, where its ``spec`` has one, ``mimetype``.
    doc : dict
        Not changed.
    """
    if name == "bulk_events":
        yield from (("event_page", page) for events in doc.values() for page in _pages(events))
    elif name == "bulk_datum":
        yield (
            "datum_page",
            {
                "resource": doc["resource"],
                "datum_id": doc["datum_ids"],
                "datum_kwargs": _columns(doc["datum_kwarg_list"]),
            },
        )
    elif name == "stream_resource" and "uri" not in doc:
        yield name, _today(doc)
    else:
        yield name, doc


def _pages(events: Iterable[Document]) -> Iterator[Document]:
    # Only neighbours are joined: several descriptors of one stream may take turns, and stored order counts.
    for descriptor, neighbours in groupby(events, key=itemgetter("descriptor")):
        group = list(neighbours)
        yield {
            "descriptor": descriptor,
            **{k: [e.get(k) for e in group] for k in ("uid", "time", "seq_num")},
            **{k: _columns([e.get(k, {}) for e in group]) for k in ("data", "timestamps", "filled")},
        }


def _columns(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    if len(set(map(len, rows))) == 1:
        with suppress(KeyError):  # as a rule all rows have the keys of the first
            return {key: list(map(itemgetter(key), rows)) for key in rows[0]}
    keys = dict.fromkeys(key for row in rows for key in row)
    return {key: [row.get(key) for row in rows] for key in keys}


MIMETYPES: Final = {
    "AD_JPEG": "multipart/related;type=image/jpeg",
    "AD_TIFF": "multipart/related;type=image/tiff",
    "NPY_SEQ": "multipart/related;type=application/x-npy",
} | dict.fromkeys(
    (
        "AD_HDF5", "AD_HDF5_GERM", "AD_HDF5_RGB", "AD_HDF5_STREAM", "AD_HDF5_SWMR", "AD_HDF5_SWMR_SLICE",
        "AD_HDF5_SWMR_STREAM", "EIGER2_STREAM", "HDF5", "MERLIN_FLY_STREAM_V2", "MERLIN_HDF5_BULK", "PANDA",
        "PIL100k_HDF5", "ROI_HDF5_FLY", "SIS_HDF51_FLY_STREAM_V1", "TPX3", "TPX_HDF5", "XSP3", "XSP3_BULK", "XSP3_FLY",
        "XSP3_STEP", "ZEBRA_HDF51_FLY_STREAM_V1", "hdf5",
    ),
    "application/x-hdf5",
)  # fmt: skip
"""Of the specs of stream resources, most as bluesky's TiledWriter has them."""


def _today(doc: Document) -> Document:
    root, path = str(doc.get("root") or ""), str(doc.get("resource_path") or "")
    joined = f"{root.rstrip('/')}/{path.lstrip('/')}" if root else path
    mimetype = doc.get("mimetype") or MIMETYPES.get(str(doc.get("spec")))
    return {
        **doc,
        # A spec without one stays what it is: it is looked up by its own name, and messages call it a spec.
        **({"mimetype": mimetype} if mimetype else {}),
        "uri": joined,
        "parameters": {**(doc.get("resource_kwargs") or {}), **(doc.get("parameters") or {})},
    }


def datum_page(name: str, doc: Mapping[str, Any]) -> DatumPage:
    """Build a `DatumPage` from a ``datum`` or ``datum_page`` document.

    Raises
    ------
    DamagedRun
        When a field is missing or odd, or columns differ in length.
    """
    try:
        resource, ids, kwargs = doc["resource"], doc["datum_id"], dict(doc["datum_kwargs"])
        if name == "datum":
            ids, kwargs = [ids], {key: [value] for key, value in kwargs.items()}
        check_columns({"datum_id": ids}, len(ids))  # by itself: an argument may have that name, too
        check_columns(kwargs, len(ids))
        if not isinstance(resource, str) or not all(isinstance(one, str) for one in ids):
            raise ValueError("its resource and datum_id are texts")
        return DatumPage(resource, list(ids), kwargs)
    except ODD_DOCUMENT as error:
        raise DamagedRun(f"a {name} cannot be read ({type(error).__name__}: {error}): {repr(doc)[:100]}") from error


def check_columns(columns: Mapping[str, Any], rows: int) -> None:
    """Refuse columns of a page that are no lists: a text and a dict have a length, too, and hold no values.

    Raises
    ------
    TypeError, ValueError
        Where one is no list, tuple or array, or has not so many `rows`.
    """
    for key, values in columns.items():
        if not isinstance(values, LISTS):
            raise TypeError(f"{type(values).__name__} under {key!r}, where a page has a list of values")
        if len(values) != rows:
            raise ValueError(f"{len(values)} values under {key!r}, in a page of {rows}")


def datum_pages(documents: Iterable[tuple[str, Document]], resource: str) -> Iterator[DatumPage]:
    """Those of a resource, of whatever form; one that cannot be read costs itself, and is not found by its id."""
    for name, doc in documents:
        try:
            found = [datum_page(*today) for today in normalise(name, doc) if today[1].get("resource") == resource]
        except ODD_DOCUMENT:
            continue
        yield from found


def event_page(doc: Mapping[str, Any], *, data: Keys = ALL_KEYS, timestamps: Keys = ()) -> tuple[EventPage, set[str]]:
    """Build an `EventPage` from an ``event`` or ``event_page`` document.

    Parameters
    ----------
    doc : mapping
        Scalars (an event) or lists (a page) under ``seq_num``, ``time``, ``data``, ``timestamps`` and
        ``filled``.
    data, timestamps : container of str
        Keys wanted; `ALL_KEYS` for all, ``()`` for none.

    Returns
    -------
    page : EventPage
    nulls : set of str
        The data keys that have a null.

    Raises
    ------
    DamagedRun
        When columns of one page differ in length, seq_num or time are not numbers, or a field is missing.
    """
    with _naming_damage(doc):
        return _event_page(doc, data, timestamps)


@contextmanager
def _naming_damage(event: Mapping[str, Any]) -> Iterator[None]:
    """Turn what a document of an odd form makes Python raise into a `DamagedRun` that names the document."""
    try:
        yield
    except DamagedRun:
        raise
    except ODD_DOCUMENT as error:
        raise DamagedRun(
            f"event or page {event.get('uid')} of descriptor {event.get('descriptor')} cannot be read: "
            f"{type(error).__name__}: {error}"
        ) from error


def _event_page(doc: Mapping[str, Any], data: Keys, timestamps: Keys) -> tuple[EventPage, set[str]]:
    single = not isinstance(doc["seq_num"], LISTS)
    # Odd timestamps cost no data.
    for part in () if single else ("data", "filled", *(() if timestamps == () else ("timestamps",))):
        check_columns(doc.get(part) or {}, len(doc["seq_num"]))
    wrap = (lambda v: [v]) if single else (lambda v: v)
    odd = next((key for key in doc["data"] if not isinstance(key, str)), None)
    if odd is not None:
        raise ValueError(f"{odd!r} is no name of a data key")
    columns = {k: column(wrap(v)) for k, v in doc["data"].items() if k in data}
    stamps = {k: column(wrap(v))[0] for k, v in (doc.get("timestamps") or {}).items() if k in timestamps}
    filled = {k: wrap(v) for k, v in (doc.get("filled") or {}).items()}
    seq_num = _numbers(wrap(doc["seq_num"]), "seq_num", np.dtype(np.int64))
    time = _numbers(wrap(doc["time"]), "time", np.dtype(np.float64))
    values = {k: col for k, (col, _) in columns.items()}
    if len(time) != len(seq_num):
        raise ValueError(f"{len(time)} values under 'time', in a page of {len(seq_num)}")
    page = EventPage(str(doc["descriptor"]), seq_num, time, values, stamps, filled)
    return page, {k for k, (_, gaps) in columns.items() if gaps}


def _numbers(values: Sequence[Any], name: str, dtype: np.dtype[Any]) -> Array:
    """As `numpy.asarray`, but exact: that takes text for numbers and cuts fractions off without a word."""
    # An empty list has no type of its own.
    raw = np.asarray(values, dtype=None if len(values) else dtype)
    if not isinstance(values, np.ndarray) and bool in set(map(type, values)):  # numpy makes 1 of it among numbers
        raise ValueError(f"{name} must be numbers, not true or false")
    if raw.ndim != 1 or raw.dtype.kind not in "iuf":
        raise ValueError(f"{name} must be numbers, not such as {values[0]!r}")
    with np.errstate(invalid="ignore"):
        out = raw.astype(dtype)
    if dtype.kind == "i" and not (out == raw).all():
        raise ValueError(f"{name} must be integers, not such as {raw[out != raw][0]!r}")
    return out


def gather(events: Iterable[Document], *, data: Keys = ALL_KEYS, timestamps: Keys = ()) -> tuple[EventPage, set[str]]:
    """Build one `EventPage` from single ``event`` documents of one descriptor; see `event_page`.

    A key that only some of the events have is null in the others. Of an iterator, few events are held at
    once; there must be at least one.
    """
    rest = iter(events)
    first = next(rest)
    with _naming_damage(first):
        return _event_page(_joined(chain([first], rest), data, timestamps), data, timestamps)


def _joined(events: Iterator[Document], data: Keys, timestamps: Keys) -> Document:
    page: Document = {"seq_num": [], "time": []}
    parts = {"data": _Grown(data), "timestamps": _Grown(timestamps), "filled": _Grown(ALL_KEYS)}
    while some := list(islice(events, TOGETHER)):
        page.setdefault("descriptor", some[0]["descriptor"])
        page.setdefault("uid", some[0].get("uid"))
        page["seq_num"] += [e["seq_num"] for e in some]
        page["time"] += [e["time"] for e in some]
        for name, part in parts.items():
            if part.wanted != ():
                part.add([e["data"] if name == "data" else e.get(name) or {} for e in some])
    return page | {name: part.columns for name, part in parts.items()}


class _Grown:
    """Columns that grow by rows; None where a row lacks a key of the others."""

    def __init__(self, wanted: Keys) -> None:
        self.wanted = wanted
        self.columns: dict[str, list[Any]] = {}
        self._rows = 0

    def add(self, rows: Sequence[Mapping[str, Any]]) -> None:
        for key, values in _columns(rows).items():
            if key in self.wanted:
                self.columns.setdefault(key, [None] * self._rows).extend(values)
        self._rows += len(rows)
        for values in self.columns.values():
            values += [None] * (self._rows - len(values))


def events_of(page: Mapping[str, Any]) -> Iterator[Document]:
    """Split an ``event_page`` document into ``event`` documents."""
    for row, uid in enumerate(page["uid"]):
        yield {
            "uid": uid,
            "time": page["time"][row],
            "seq_num": page["seq_num"][row],
            "descriptor": page["descriptor"],
            **{k: {n: v[row] for n, v in page.get(k, {}).items()} for k in ("data", "timestamps", "filled")},
        }
