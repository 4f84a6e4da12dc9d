"""What a query means, in plain Python: every translator of every driver agrees with this.

The decided cases, each with a test:

- A missing key makes every comparison false, so its negation true; ``path != value`` is ``~(path == value)``.
- ``== None`` is true of an explicit null alone; presence is asked with ``.exists()``, which null satisfies.
  ``<`` and the like against None, or of a null, are false; ``.is_in`` follows ``==``.
- NaN in a document makes every comparison false, so ``!=`` true; ``.is_nan()`` finds it. A query holds no
  NaN.
- Ints and floats compare exactly, as numbers do in mathematics, of any size. A bool equals only a bool.
- There is no order across types (numbers, text, bools); text is ordered by code points.
- A segment in digits is an index where the value is a list, and a key where it is a dict.
- Lists and dicts are compared whole: ``==`` takes a list of equal items, or a dict of equal values at the
  same keys, in any order; ``.contains(v)`` and ``.any(...)`` look into a list.
- A run without a stop document has no value at any path of ``stop``.
- A query over descriptors is true if *some* descriptor satisfies *all* conditions inside one `AnyDescriptor`; so
  its negation, ``!=`` too, if none does. Two conditions joined by ``&`` outside may be met by two descriptors. A
  descriptor without a name is of the stream ``primary``. Inside, all of the above holds of its keys.

A condition on data is about one stream, and true of a run if it is true of *some* stream that has the key and is
asked for; so its negation if it is true of none, as in a run where no stream has the key:

- A stream has a key if one of its descriptors declares it in ``data_keys``.
- The values are those of the events that count: after a rewind the last of each seq_num. Of arrays every element is a
  value; of files those frames that belong to an event and are there.
- Numbers are ints, floats but NaN, and bools, which count as 0 and 1. All else (NaN, null, a key that an event lacks,
  text, complex numbers, dicts) is no number: it counts for ``count`` and ``nan_count`` and for nothing else. An array
  that is null counts as many values as its key has an event, where all events have as many, else as one or none.
- ``min``, ``max``, ``mean``, ``sum``, ``first``, ``last`` are over the numbers, infinite ones included; every
  comparison with one is false where there is no number. ``first`` and ``last`` go by seq_num, and in an array by C
  order.
- Comparisons are exact, whatever the types. Whole numbers (ints of any size, and floats up to 2**53 without a
  fraction) are added up exactly, and their mean is compared as the fraction it is. The sum of any others is that of
  float64, whose last digits depend on how the values are stored: it equals nothing, so ``==`` takes an int and
  is false, and ``!=`` true; inf and -inf together have no sum, so all its comparisons are false.
- ``between(low, high)`` is true if some number lies there, both ends included; ``within(low, high)`` if all numbers
  do, and there is one.

`FullText` and `Fuzzy` look at the start document alone.

A run whose descriptors or data cannot be read is neither found nor excluded by what would have to be read: ``&`` is
false if another part is false, ``|`` true if another part is true, and else `matches` raises the error. A search of
many runs takes it for no match, of a query and of its negation, and warns.

Paths that descend (``descend=True``, and all of `from_mongo`) mean what MongoDB means instead: the list
itself or any of its items may satisfy; ``== None`` is also true where the key is missing; equal dicts have
their keys in the same order.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

from intake_bluesky.errors import AssetUnavailable, DamagedRun, UnsupportedQuery
from intake_bluesky.query.data_nodes import SUMMED, CompareStatistic, DataBetween, DataQuery, DataWithin
from intake_bluesky.query.descriptor_nodes import AnyDescriptor, stream_of
from intake_bluesky.query.nodes import And, Everything, Not, Or, Query
from intake_bluesky.query.path_nodes import (
    AnyItem,
    Compare,
    Contains,
    Exists,
    HasSize,
    In,
    IsNaN,
    PathQuery,
    Regex,
)
from intake_bluesky.query.paths import MISSING, RUN_DOCUMENTS, Path, is_list, lookup
from intake_bluesky.query.run_nodes import PartialUID, ScanID, ScanIDRange, TimeRange, documents_needed, misplaced
from intake_bluesky.query.server_text import ServerText
from intake_bluesky.query.values import Value, equal, is_number
from intake_bluesky.query.words import FullText, Fuzzy, similarity, words

if TYPE_CHECKING:
    from intake_bluesky.documents.statistics import Statistics

Words: TypeAlias = frozenset[str]

_ORDER: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


class RunEnds(Protocol):
    """What a listing has of a run: enough for queries that need no more, see `documents_needed`.

    Documents are plain Python, as a store yields them.
    """

    @property
    def start(self) -> Mapping[str, Any] | None:
        """The run start document."""

    @property
    def stop(self) -> Mapping[str, Any] | None:
        """The run stop document; None while the run is going on, or if it never came."""


class RunView(RunEnds, Protocol):
    """What any query sees of a run. `matches` asks for no more than it comes to need.

    What cannot be read raises `DamagedRun` or `AssetUnavailable`.
    """

    @property
    def descriptors(self) -> Sequence[Mapping[str, Any]]:
        """The event descriptors of all streams."""

    def document(self, name: str) -> Mapping[str, Any] | None:
        """Give a document that is kept beside those of Bluesky; None where the run has none of this name."""

    def statistics(self, stream: str, key: str) -> Statistics | None:
        """Give the statistics of a data key that a descriptor of the stream declares; None without such a key."""

    def lies(self, stream: str, key: str, low: float, high: float) -> bool:
        """Tell whether a number among the values lies from `low` to `high`; asked where statistics leave it open."""


def matches(query: Query, run: RunEnds) -> bool:
    """Tell whether a run matches a query.

    Parameters
    ----------
    query
        Any query.
    run
        A `RunView`; for a query over start and stop these are enough.

    Raises
    ------
    UnsupportedQuery
        If the query cannot be put to one run alone: ``ScanID(5, duplicates="latest")``. Or if it asks for what `run`
        does not have.
    DamagedRun, AssetUnavailable
        If what decides cannot be read.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> run = SimpleNamespace(start={"uid": "9acjef", "plan_name": "scan"}, stop=None)
    >>> matches(Compare("plan_name", "==", "scan"), run)
    True
    """
    documents: dict[str, Mapping[str, Any]] = {"start": run.start or {}, "stop": run.stop or {}}
    # Few programs add documents; without, the query need not be gone through for each run.
    if len(RUN_DOCUMENTS) > len(documents):
        further = documents_needed(query) & set(RUN_DOCUMENTS) - documents.keys()
        documents |= {name: _whole(run, query).document(name) or {} for name in further}
    return _holds(query, documents, run)


def _holds(query: Query, documents: Mapping[str, Any], run: RunEnds | None = None) -> bool:
    match query:
        case Everything():
            return True
        case And(children):
            return _combined(children, documents, run, decisive=False)
        case Or(children):
            return _combined(children, documents, run, decisive=True)
        case Not(child):
            return not _holds(child, documents, run)
        case AnyDescriptor():
            return any(_holds(query.query, {"descriptor": each}) for each in _descriptors(run, query, query.stream))
        case CompareStatistic() | DataBetween() | DataWithin():
            return any(_data_holds(query, stream, run) for stream in _streams(run, query))
    return _start_holds(query, documents)


def _combined(children: Iterable[Query], documents: Mapping[str, Any], run: RunEnds | None, *, decisive: bool) -> bool:
    """Whether one child is `decisive`, or all are not; a child that cannot be read leaves it to the others."""
    unknown: DamagedRun | AssetUnavailable | None = None
    for child in children:
        try:
            if _holds(child, documents, run) is decisive:
                return decisive
        except (DamagedRun, AssetUnavailable) as error:
            unknown = unknown or error  # another child may still decide
    if unknown is not None:
        raise unknown
    return not decisive


def _start_holds(query: Query, documents: Mapping[str, Any]) -> bool:
    match query:
        case TimeRange() | ScanID() | ScanIDRange():
            return _holds(query.expanded(), documents)
        case PartialUID(uids):
            uid = documents["start"].get("uid")
            return isinstance(uid, str) and uid.startswith(uids)
        case FullText(text):
            return _has_words(documents["start"], words(text), frozenset.difference)
        case Fuzzy(text, threshold):
            return _has_words(documents["start"], words(text), partial(_unlike, threshold=threshold))
    if isinstance(query, ServerText):
        raise UnsupportedQuery(
            f"only a MongoDB with a text index answers {query!r}: FullText means the same everywhere"
        )
    if not isinstance(query, PathQuery):
        raise UnsupportedQuery(f"{query!r} of type {type(query).__name__} is no query that this version knows")
    if query.path.document not in documents:
        raise misplaced(query)
    # These are about a list itself, and not about each of its items.
    whole = isinstance(query, HasSize | AnyItem | Contains)
    return any(_satisfies(value, query) for value in lookup(documents[query.path.document], query.path, whole=whole))


def _descriptors(run: RunEnds | None, query: Query, stream: str | None) -> Iterator[Mapping[str, Any]]:
    view = _whole(run, query)
    return (each for each in view.descriptors if stream is None or stream_of(each) == stream)


def _whole(run: Any, query: Query) -> RunView:
    # Asked of the type first: `descriptors` of a run may read its header.
    if not (hasattr(type(run), "lies") or hasattr(run, "descriptors")):
        raise UnsupportedQuery(f"{query!r} is about more than start and stop, and only start and stop are at hand")
    return run  # type: ignore[no-any-return]  # as was asked


def _streams(run: RunEnds | None, query: DataQuery) -> dict[str, None]:
    """The streams that have the key of a query and are asked for."""
    found = _descriptors(run, query, query.stream)
    return dict.fromkeys(stream_of(each) for each in found if _declares(each.get("data_keys"), query.key))


def _declares(data_keys: Any, key: str) -> bool:
    return isinstance(data_keys, Mapping) and key in data_keys


def _data_holds(query: DataQuery, stream: str, run: Any) -> bool:
    known: Statistics | None = run.statistics(stream, query.key)
    if known is None:
        return False
    if isinstance(query, CompareStatistic):
        name = query.statistic
        observed = _mean(known) if name == "mean" else getattr(known, name)
        return observed is not None and _compared(observed, query.op, query.value, summed=name in SUMMED)
    low, high, least, most = query.low, query.high, known.min, known.max
    if least is None or most is None:
        return False
    if isinstance(query, DataWithin):
        return low <= least and most <= high
    if most < low or high < least:
        return False
    found = any(end is not None and low <= end <= high for end in (least, most, known.first, known.last))
    found = found or (known.gap is not None and known.gap <= query.length)
    return found or bool(run.lies(stream, query.key, low, high))


def _mean(known: Statistics) -> Fraction | float | None:
    if isinstance(known.sum, int):
        return Fraction(known.sum, known.count - known.nan_count)
    return known.mean


def _compared(observed: Any, op: str, value: float, *, summed: bool) -> bool:
    if op == "==":
        return not (summed and isinstance(observed, float)) and bool(observed == value)
    return _ORDER[op](observed, value)


def _satisfies(value: Any, query: PathQuery) -> bool:
    """Tell whether one value found at the path is what the node asks for."""
    match query:
        case Compare(path, "==", expected):
            return _equals(value, expected, path)
        case Compare(_, op, bound):
            return _comparable(value, bound) and _ORDER[op](value, bound)
        case In(path, values):
            return any(_equals(value, expected, path) for expected in values)
    if value is MISSING:  # only `== None`, above, is true of it
        return False
    match query:
        case Exists():
            return True
        case IsNaN():
            return isinstance(value, float) and math.isnan(value)
        case Regex():
            return isinstance(value, str) and query.compiled().search(value) is not None
        case Contains(path, expected):
            return is_list(value) and any(_equals(item, expected, path) for item in value)
        case HasSize(_, size):
            return is_list(value) and len(value) == size
        case AnyItem(_, inner):
            return is_list(value) and any(_item_holds(item, inner, over_keys=query.over_keys) for item in value)


def _equals(value: Any, expected: Value, path: Path) -> bool:
    if value is MISSING:
        return expected is None
    return equal(value, expected, ordered=path.descend)


def _comparable(value: Any, bound: Value) -> bool:
    if isinstance(bound, bool):
        return isinstance(value, bool)
    if isinstance(bound, str):
        return isinstance(value, str)
    return is_number(bound) and is_number(value)


def _item_holds(item: Any, query: Query, *, over_keys: bool) -> bool:
    if over_keys and not (isinstance(item, Mapping) or is_list(item)):
        return False
    return _holds(query, {"item": item})


def _has_words(start: Mapping[str, Any], wanted: Words, lacking: Callable[[Words, Words], Words]) -> bool:
    for text in _texts(start):
        wanted = lacking(wanted, words(text))
        if not wanted:
            return True
    return False


def _unlike(wanted: Words, there: Words, threshold: float) -> Words:
    return frozenset(word for word in wanted if all(similarity(word, other) < threshold for other in there))


def _texts(document: Mapping[str, Any]) -> Iterator[str]:
    # A stack, not recursion: how deep a document goes is not ours to limit.
    waiting: list[Any] = [document]
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, Mapping):
            waiting.extend(value.values())
        elif is_list(value):
            waiting.extend(value)
