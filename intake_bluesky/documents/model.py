"""Bluesky documents as every part of this package holds them.

Names and fields follow event-model 1.24; `documents.pages` brings what older writers emitted to today's form.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeAlias

import numpy as np

from intake_bluesky.documents.columns import Array, Column, Observed, take

if TYPE_CHECKING:
    from intake_bluesky.storage.origin import Origin

Document: TypeAlias = dict[str, Any]
Keys: TypeAlias = Container[str]

STREAM_EXTERNAL: Final = "STREAM:"
DEFAULT_STREAM: Final = "primary"
MAX_TIME: Final = 1e300  # seconds; what lies beyond is no time, and may be an integer that no float holds
ODD_DOCUMENT: Final = (AttributeError, LookupError, OverflowError, RecursionError, TypeError, ValueError)
"""What Python raises where a document has another form than its kind should; `DamagedRun` is a `ValueError`."""
CONTRADICTED: Final = "__contradicted__"
"""In a resource of a header: why nobody can tell what it is. The run has several of its uid, which differ."""
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
        return "ALL_KEYS"  # by its name: unpickled, it is the same instance


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
        return type(self), (list(self),)  # else pickle fills an empty list, which refuses


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
        return to_plain(self)  # type: ignore[no-any-return]  # a dict of a mapping

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (dict(self),)  # as of a list

    def __dask_tokenize__(self) -> tuple[str, str]:
        # Documents do not change: the uid names all of one, and spares hashing it.
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

    Where spans overlap in seq_num (a rewind), the later one wins; so does the later asset of a key, and a resource may
    have several assets for that. Files and SQL tables keep the order of datums for one resource and descriptor; between
    these, that in which each first had datums.
    """

    resource: Document
    data_key: str
    descriptor: str
    spans: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class StreamLayout:
    """How a store holds one stream.

    Attributes
    ----------
    name : str
    descriptors : tuple of dict
        In the order they were emitted, without what is not of event-model's form.
    events : int
        Stored events, repeats after a rewind included.
    pages : tuple of int
        Events per unit that the store reads at once; they sum to `events`.
    observed : mapping of key to Observed, or None
        What is known of each in-line key; None where the store does not know.
    damage : mapping of field to str
        What is wrong with a field of the descriptors, such as ``data_keys``.
    """

    name: str
    descriptors: tuple[Document, ...]
    events: int
    pages: tuple[int, ...]
    observed: Mapping[str, Observed] | None = None
    damage: Mapping[str, str] = field(default_factory=dict)

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
        As they are stored, whatever is in them; those of `streams` are of event-model's form. Of several resources of
        one uid the last, and where they differ it says so under ``CONTRADICTED``.
    stream_assets : tuple of StreamAsset
    streams : mapping of name to StreamLayout
    version : str
        Changes whenever the stored run changes.
    origin : Origin or None
        Where the run comes from, if not from the catalog that lists it; see `intake_bluesky.storage.Origin`.
    """

    start: Document
    stop: Document | None
    descriptors: tuple[Document, ...]
    resources: tuple[Document, ...]
    stream_assets: tuple[StreamAsset, ...]
    streams: Mapping[str, StreamLayout]
    version: str
    origin: Origin | None = field(default=None, compare=False, repr=False)

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
    """What a listing needs of a run; enough for every query on start and stop.

    Attributes
    ----------
    uid : str
    time : float or None
        Seconds since the epoch, as the catalog orders by it.
    scan_id : int or None
    start : dict
    stop : dict or None
    origin : Origin or None
        Where the run comes from, if not from the catalog that lists it; see `intake_bluesky.storage.Origin`.
    """

    uid: str
    time: float | None
    scan_id: int | None
    start: Document
    stop: Document | None
    origin: Origin | None = field(default=None, compare=False, repr=False)

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
        # A set has no order of its own, and equal documents have to come out equal.
        return sorted(to_plain(v) for v in value)
    if isinstance(value, np.longdouble):  # whose tolist() is itself
        return float(value)
    if isinstance(value, (np.ndarray, np.generic)):
        # Times would become dates, integers or None, by their unit: who holds them takes them as they are.
        return value if value.dtype.kind in "mM" else to_plain(value.tolist())
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
