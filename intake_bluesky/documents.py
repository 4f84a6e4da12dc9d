"""Bluesky documents as every part of this package holds them.

Names and fields follow event-model 1.24; what older writers emitted (``bulk_events``, ``bulk_datum``, stream
resources with ``spec``, descriptors without a name) is brought to today's form by `normalise`.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import chain, groupby, islice
from operator import itemgetter
from typing import Any, Final, NoReturn, TypeAlias

import numpy as np

from intake_bluesky.columns import Array, Column, Observed, column, take
from intake_bluesky.errors import DamagedRun

Document: TypeAlias = dict[str, Any]
Keys: TypeAlias = Container[str]

STREAM_EXTERNAL: Final = "STREAM:"
DEFAULT_STREAM: Final = "primary"
TOGETHER: Final = 64  # events joined at once: what was parsed just now is still in the processor's cache
MAX_TIME: Final = 1e300  # seconds; what lies beyond is no time, and may be an integer that no float holds
NAMES: Final = frozenset(
    {
        "start", "descriptor", "event", "event_page", "bulk_events", "resource", "datum", "datum_page",
        "bulk_datum", "stream_resource", "stream_datum", "stop",
    }
)  # fmt: skip


class _AllKeys:
    """Contains every key. Its one instance is `ALL_KEYS`."""

    def __contains__(self, key: object) -> bool:
        return True

    def __repr__(self) -> str:
        return "ALL_KEYS"

    def __reduce__(self) -> str:
        return "ALL_KEYS"


ALL_KEYS: Final[Keys] = _AllKeys()


def _refuse(self: Any, *_: Any, **__: Any) -> NoReturn:
    raise TypeError("documents are read-only: change a copy, made with .to_dict()")


class _ReadOnlyList(list[Any]):
    """A list in a document that refuses to be changed."""

    __slots__ = ()
    __setitem__ = __delitem__ = __iadd__ = __imul__ = _refuse
    append = extend = insert = remove = pop = clear = sort = reverse = _refuse

    def __init__(self, values: Iterable[Any] = ()) -> None:
        super().__init__(map(_read_only, values))

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (list(self),)


def _read_only(value: Any) -> Any:
    if type(value) is dict:
        return ReadOnlyDocument(value)
    return _ReadOnlyList(value) if type(value) is list else value


class ReadOnlyDocument(dict[str, Any]):
    """A document that refuses to be changed, as do the dicts and lists in it; `to_dict` gives a copy that does not.

    Examples
    --------
    >>> doc = ReadOnlyDocument({"uid": "abc", "motors": ["x"]})
    >>> doc["uid"] = "other"
    Traceback (most recent call last):
    ...
    TypeError: documents are read-only: change a copy, made with .to_dict()
    """

    __slots__ = ()
    __setitem__ = __delitem__ = update = setdefault = pop = popitem = clear = __ior__ = _refuse

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__({key: _read_only(value) for key, value in dict(*args, **kwargs).items()})

    def to_dict(self) -> Document:
        """Return a plain, deep copy."""
        return to_plain(self)  # type: ignore[no-any-return]

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (dict(self),)

    def __dask_tokenize__(self) -> tuple[str, str]:
        return type(self).__name__, str(self.get("uid", self.get("datum_id", repr(self))))


@dataclass(frozen=True, slots=True, eq=False)
class EventPage:
    """Events of one descriptor, column by column.

    Attributes
    ----------
    descriptor : str
        uid of the event descriptor.
    seq_num : numpy.ndarray, shape (events,), dtype int64
    time : numpy.ndarray, shape (events,), dtype float64, seconds since the epoch
    data, timestamps : mapping of key to Column
        The keys asked for that this page has; numpy arrays of shape (events, ...) or `Ragged`.
    filled : mapping of key to sequence
        For keys of external data: whether `data` holds the values (True) or a datum_id (False).
    """

    descriptor: str
    seq_num: Array
    time: Array
    data: Mapping[str, Column] = field(default_factory=dict)
    timestamps: Mapping[str, Column] = field(default_factory=dict)
    filled: Mapping[str, Sequence[Any]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.seq_num)

    def select(self, events: Any) -> EventPage:
        """Keep some events, by slice, mask or index array."""
        rows = np.arange(len(self))[events]
        return EventPage(
            self.descriptor,
            self.seq_num[rows],
            self.time[rows],
            {k: take(c, rows) for k, c in self.data.items()},
            {k: take(c, rows) for k, c in self.timestamps.items()},
            {k: [v[i] for i in rows] for k, v in self.filled.items()},
        )


@dataclass(frozen=True, slots=True)
class DatumPage:
    """Datums of one resource (legacy assets), column by column."""

    resource: str
    datum_id: Sequence[str]
    datum_kwargs: Mapping[str, Sequence[Any]]

    def __len__(self) -> int:
        return len(self.datum_id)


Span: TypeAlias = tuple[int, int, int, int]
"""seq_num start, seq_num stop, index start, index stop; half-open."""


@dataclass(frozen=True, slots=True)
class StreamAsset:
    """One stream resource of one data key, with its stream datums merged into spans.

    Where spans overlap in seq_num (a rewind), the later one wins.
    """

    resource: Document
    data_key: str
    descriptor: str
    spans: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class StreamLayout:
    """How one stream lies in its store.

    Attributes
    ----------
    name : str
    descriptors : tuple of dict
        In the order they were emitted.
    events : int
        Stored events, repeats after a rewind included.
    pages : tuple of int
        Events per unit that the store reads at once; they sum to `events`.
    observed : mapping of key to Observed, or None
        What is known of each in-line key; None where the store does not know.
    """

    name: str
    descriptors: tuple[Document, ...]
    events: int
    pages: tuple[int, ...]
    observed: Mapping[str, Observed] | None = None

    @property
    def data_keys(self) -> dict[str, Document]:
        """Every data key of every descriptor; where several declare one, the last counts."""
        return {key: spec for d in self.descriptors for key, spec in d.get("data_keys", {}).items()}


@dataclass(frozen=True, slots=True)
class RunHeader:
    """All of a run but its events and datums.

    Attributes
    ----------
    start : dict
    stop : dict or None
        None while the run goes on, or where it was cut off.
    descriptors, resources : tuple of dict
    stream_assets : tuple of StreamAsset
    streams : mapping of name to StreamLayout
    version : str
        Changes whenever the stored run changes.
    """

    start: Document
    stop: Document | None
    descriptors: tuple[Document, ...]
    resources: tuple[Document, ...]
    stream_assets: tuple[StreamAsset, ...]
    streams: Mapping[str, StreamLayout]
    version: str

    @property
    def uid(self) -> str:
        """The run's uid."""
        return str(self.start["uid"])

    def assets_of(self, stream: str, key: str) -> list[StreamAsset]:
        """List the stream assets of one key of one stream, in the order they were emitted."""
        uids = {d["uid"] for d in self.streams[stream].descriptors}
        return [a for a in self.stream_assets if a.data_key == key and a.descriptor in uids]


@dataclass(frozen=True, slots=True)
class RunSummary:
    """What a listing needs of a run; enough for every query on start and stop."""

    uid: str
    time: float | None
    scan_id: int | None
    start: Document
    stop: Document | None

    @classmethod
    def of(cls, start: Document, stop: Document | None) -> RunSummary:
        """Summarise from the documents; odd ``time`` and ``scan_id`` count as absent."""
        time, scan_id = to_plain(start.get("time")), to_plain(start.get("scan_id"))
        timed = type(time) in (int, float) and abs(time) < MAX_TIME  # false for NaN
        numbered = type(scan_id) is int
        return cls(str(start["uid"]), float(time) if timed else None, scan_id if numbered else None, start, stop)


def stream_name(descriptor: Mapping[str, Any]) -> str:
    """Name of a descriptor's stream; descriptors of old writers may have none and mean ``primary``."""
    return str(descriptor.get("name") or DEFAULT_STREAM)


def is_external(spec: Mapping[str, Any]) -> bool:
    """Whether a data key's values lie outside the documents."""
    return bool(spec.get("external"))


def is_streamed(spec: Mapping[str, Any]) -> bool:
    """Whether a data key comes by stream resources and so is not in the events at all."""
    return str(spec.get("external") or "").startswith(STREAM_EXTERNAL)


def to_plain(value: Any) -> Any:
    """Deep copy with numpy, tuples, sets and enums brought to plain Python.

    Examples
    --------
    >>> import numpy as np
    >>> to_plain({"x": np.float64(1.5), "shape": (2, np.int64(3))})
    {'x': 1.5, 'shape': [2, 3]}
    """
    kind = type(value)
    if kind in (str, int, float, bool, type(None)):
        return value
    if isinstance(value, enum.Enum):
        return to_plain(value.value)
    if isinstance(value, Mapping):
        return {key: to_plain(v) for key, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_plain(v) for v in value]
    if isinstance(value, (set, frozenset)):
        return sorted(to_plain(v) for v in value)
    if isinstance(value, np.longdouble):  # whose tolist() is itself
        return float(value)
    if isinstance(value, (np.ndarray, np.generic)):
        return to_plain(value.tolist())
    for base in (str, int, float):
        if isinstance(value, base):
            return base(value)
    return value


def identical(a: Any, b: Any) -> bool:
    """Whether two documents are the same.

    Equal after `to_plain`; integers, floats and booleans kept apart; NaN equal to NaN; the order of keys
    counts.

    Examples
    --------
    >>> identical({"x": (1, float("nan"))}, {"x": [1, float("nan")]})
    True
    >>> identical({"x": 1}, {"x": 1.0})
    False
    """
    return _same(to_plain(a), to_plain(b))


def _same(a: Any, b: Any) -> bool:
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return list(a) == list(b) and all(_same(v, b[k]) for k, v in a.items())
    if isinstance(a, list):
        return len(a) == len(b) and all(map(_same, a, b))
    if isinstance(a, float) and math.isnan(a):
        return math.isnan(b)
    return bool(a == b)


def normalise(name: str, doc: Document) -> Iterator[tuple[str, Document]]:
    """Bring legacy documents to today's form; those of today pass through as they are.

    Parameters
    ----------
    name : str
        ``bulk_events`` gives event pages, ``bulk_datum`` datum pages, a stream resource of before event-model
        1.20 gets ``mimetype``, ``uri`` and ``parameters``.
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
    "AD_HDF5_SWMR_STREAM": "application/x-hdf5",
    "AD_HDF5": "application/x-hdf5",
    "AD_HDF5_SWMR": "application/x-hdf5",
    "AD_TIFF": "multipart/related;type=image/tiff",
    "hdf5": "application/x-hdf5",
}


def _today(doc: Document) -> Document:
    root, path = str(doc.get("root") or ""), str(doc.get("resource_path") or "")
    joined = f"{root.rstrip('/')}/{path.lstrip('/')}" if root else path
    spec = str(doc.get("spec") or "")
    return {
        **doc,
        "mimetype": doc.get("mimetype") or MIMETYPES.get(spec, spec),
        "uri": joined,
        "parameters": {**doc.get("resource_kwargs", {}), **doc.get("parameters", {})},
    }


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
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
        raise DamagedRun(
            f"event or page {event.get('uid')} of descriptor {event.get('descriptor')} cannot be read: "
            f"{type(error).__name__}: {error}"
        ) from error


def _event_page(doc: Mapping[str, Any], data: Keys, timestamps: Keys) -> tuple[EventPage, set[str]]:
    single = not isinstance(doc["seq_num"], (list, tuple, np.ndarray))
    wrap = (lambda v: [v]) if single else (lambda v: v)
    columns = {k: column(wrap(v)) for k, v in (doc.get("data") or {}).items() if k in data}
    stamps = {k: column(wrap(v))[0] for k, v in (doc.get("timestamps") or {}).items() if k in timestamps}
    filled = {k: wrap(v) for k, v in (doc.get("filled") or {}).items()}
    seq_num = _numbers(wrap(doc["seq_num"]), "seq_num", np.dtype(np.int64))
    time = _numbers(wrap(doc["time"]), "time", np.dtype(np.float64))
    values = {k: col for k, (col, _) in columns.items()}
    _check_lengths(doc, len(seq_num), chain([("time", time)], values.items(), stamps.items()))
    page = EventPage(str(doc["descriptor"]), seq_num, time, values, stamps, filled)
    return page, {k for k, (_, gaps) in columns.items() if gaps}


def _numbers(values: Sequence[Any], name: str, dtype: np.dtype[Any]) -> Array:
    """As `numpy.asarray`, but exact: that takes text for numbers and cuts fractions off without a word."""
    raw = np.asarray(values, dtype=None if len(values) else dtype)
    if raw.ndim != 1 or raw.dtype.kind not in "iuf":
        raise ValueError(f"{name} must be numbers, not such as {values[0]!r}")
    with np.errstate(invalid="ignore"):
        out = raw.astype(dtype)
    if dtype.kind == "i" and not (out == raw).all():
        raise ValueError(f"{name} must be integers, not such as {raw[out != raw][0]!r}")
    return out


def _check_lengths(doc: Mapping[str, Any], events: int, columns: Iterable[tuple[str, Column]]) -> None:
    for key, col in columns:
        if len(col) != events:
            raise DamagedRun(
                f"event page {doc.get('uid')} of descriptor {doc['descriptor']} has {events} events, "
                f"but {len(col)} values under {key!r}"
            )


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
                part.add([e.get(name) or {} for e in some])
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
