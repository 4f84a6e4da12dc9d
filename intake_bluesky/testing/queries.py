"""Hypothesis strategies for queries, and for runs that they often match."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, get_args

from hypothesis import strategies as st

from intake_bluesky.documents.columns import column
from intake_bluesky.documents.model import Document, stream_name
from intake_bluesky.documents.statistics import Statistics, lies
from intake_bluesky.query import (
    ALL,
    AnyDescriptor,
    AnyItem,
    Compare,
    CompareStatistic,
    Contains,
    DataBetween,
    DataWithin,
    Device,
    Exists,
    FullText,
    Fuzzy,
    HasSize,
    In,
    IsNaN,
    PartialUID,
    Path,
    Query,
    Regex,
    ScanID,
    ScanIDRange,
    StatisticName,
    TimeRange,
)

# Few keys and values, so that queries and runs meet: `0` and `1` are keys of dicts and indices of lists, and `stop` is
# the name of a document.
KEYS: Final = ("a", "b", "0", "1", "stop")
# What databases treat differently: case folding, dots, NUL and half surrogates, which PostgreSQL has no form for, and
# the order of code points past U+FFFF, which UTF-16 has otherwise.
TEXTS: Final = (
    "",
    "Ni",
    "ni",
    "Straße",
    "STRASSE foil",
    "a.b",
    "nul\0",
    "half \ud800",
    "\uffff",
    "\U0001f600",
    "x" * 40,
)
NUMBERS: Final = (
    0,
    1,
    -1,
    2,
    2**53,
    2**53 + 1,
    2**63,
    -(2**64) - 1,
    0.0,
    -0.0,
    1.0,
    0.5,
    2.0**53,
    1e300,
    math.inf,
)
OPERATORS: Final = ("==", "<", "<=", ">", ">=")
PATTERNS: Final = ("Ni", "^ni$", r"\d", "s+", "(?m)^n", ".")


STREAMS: Final = ("primary", "baseline")
DATA_KEYS: Final = ("theta", "det.x-1", "0")
DEVICES: Final = ("fccd", "m.1")
# Numbers, here and in `NUMBERS`, about the limits of float64 and of 64 bits, where to compare as floats would make
# unequal numbers equal.
DATA_NUMBERS: Final = (0, 1, -1, 2, 2**53 + 1, 2**62, 0.0, 0.5, 2.5, -1.0, 1e300, math.inf, -math.inf)
BOUNDS: Final = (*DATA_NUMBERS, 0.25, 3, 2**63)


@dataclass(frozen=True, slots=True)
class Run:
    """Just enough of a run for `intake_bluesky.query.matches`.

    Attributes
    ----------
    start, stop : dict, stop or None
    descriptors : sequence of dict
    data : mapping of (stream, key) to sequence
        The values of the events of a stream that count, by rising seq_num; all keys of a stream have as many.
    """

    start: dict[str, Any]
    stop: dict[str, Any] | None
    descriptors: Sequence[dict[str, Any]] = ()
    data: Mapping[tuple[str, str], Sequence[Any]] = field(default_factory=dict)

    def document(self, name: str) -> None:
        """None: there are no documents beside those of Bluesky."""

    def statistics(self, stream: str, key: str) -> Statistics | None:
        """The statistics of a data key; None where the stream does not have it."""
        values = self.data.get((stream, key))
        return None if values is None else Statistics.of(column(values)[0])

    def lies(self, stream: str, key: str, low: float, high: float) -> bool:
        """Whether a number among the values is from `low` to `high`."""
        return lies(column(self.data[stream, key])[0], low, high)

    def documents(self) -> list[tuple[str, Document]]:
        """The run as a store takes it, an event at a time."""
        uid = self.start["uid"]
        documents: list[tuple[str, Document]] = [("start", self.start)]
        documents += [("descriptor", {**doc, "run_start": uid}) for doc in self.descriptors]
        for doc in {stream_name(doc): doc for doc in self.descriptors}.values():
            documents += [("event", event) for event in self._events(doc)]
        if self.stop is not None:
            documents.append(("stop", {**self.stop, "run_start": uid}))
        return documents

    def _events(self, descriptor: Document) -> list[Document]:
        own = {key: values for (stream, key), values in self.data.items() if stream == stream_name(descriptor)}
        return [
            {
                "uid": f"{descriptor['uid']}-{row}",
                "descriptor": descriptor["uid"],
                "seq_num": row + 1,
                "time": 1.5e9 + row,
                "data": {key: values[row] for key, values in own.items()},
                "timestamps": dict.fromkeys(own, 1.5e9),
                "filled": {},
            }
            for row in range(max(map(len, own.values()), default=0))
        ]


def scalars(*, nan: bool = False) -> st.SearchStrategy[Any]:
    """Give None, bools, text and numbers, some almost equal; with `nan` NaN too."""
    numbers = st.sampled_from((*NUMBERS, math.nan) if nan else NUMBERS)
    return st.one_of(st.none(), st.booleans(), numbers, st.sampled_from(TEXTS))


def values(*, nan: bool = False) -> st.SearchStrategy[Any]:
    """Give what a document may hold: scalars, and lists and dicts of them."""
    return st.recursive(
        scalars(nan=nan),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=3),
        max_leaves=6,
    )


def start_documents() -> st.SearchStrategy[dict[str, Any]]:
    """Give run start documents: uid and time always, scan_id and plan_name often, and other keys."""
    return st.builds(
        lambda known, named, others: {**others, **named, **known},
        st.fixed_dictionaries({"uid": st.uuids().map(str), "time": st.floats(1.5e9, 1.8e9)}),
        st.fixed_dictionaries(
            {}, optional={"scan_id": st.integers(1, 5), "plan_name": st.sampled_from(("scan", "count"))}
        ),
        st.dictionaries(st.sampled_from(KEYS), values(nan=True), max_size=4),
    )


def stop_documents() -> st.SearchStrategy[dict[str, Any]]:
    """Give run stop documents: exit_status always, and other keys."""
    return st.builds(
        lambda status, others: {**others, "exit_status": status},
        st.sampled_from(("success", "abort", "fail")),
        st.dictionaries(st.sampled_from(KEYS), values(nan=True), max_size=2),
    )


def runs(*, whole: bool = False) -> st.SearchStrategy[Run]:
    """Give runs, some of them without a stop document; with `whole` most of them with descriptors and data."""
    if not whole:
        return st.builds(Run, start_documents(), st.none() | stop_documents())
    streams = st.dictionaries(st.sampled_from(STREAMS), _streams(), max_size=2)
    return st.builds(_whole_run, start_documents(), st.none() | stop_documents(), streams)


def _streams() -> st.SearchStrategy[tuple[list[dict[str, Any]], dict[str, list[Any]]]]:
    """Give one or two descriptors of a stream, and a column for each of their keys."""
    columns = st.integers(0, 4).flatmap(
        lambda events: st.dictionaries(st.sampled_from(DATA_KEYS), _data_columns(events), max_size=2)
    )
    return st.tuples(st.lists(_descriptions(), min_size=1, max_size=2), columns)


def _data_columns(events: int) -> st.SearchStrategy[list[Any]]:
    """Give columns of one type, as devices record them, and mixtures."""
    gaps = st.none() | st.just(math.nan)
    numbers = st.sampled_from(DATA_NUMBERS)
    integers = numbers.filter(lambda number: isinstance(number, int))
    kinds = (numbers, integers, integers | st.none(), numbers | gaps, st.booleans(), st.sampled_from(("", "open")))
    return st.one_of(*(st.lists(kind, min_size=events, max_size=events) for kind in kinds))


def _descriptions() -> st.SearchStrategy[dict[str, Any]]:
    blocks = st.dictionaries(st.sampled_from(KEYS), values(nan=True), max_size=2).map(lambda data: {"data": data})
    return st.fixed_dictionaries(
        {
            "configuration": st.dictionaries(st.sampled_from(DEVICES), blocks, max_size=2),
            "hints": st.dictionaries(st.sampled_from(DEVICES), st.just({"fields": ["theta"]}), max_size=1),
            "object_keys": st.dictionaries(st.sampled_from(DEVICES), st.just(["theta"]), max_size=1),
        }
    )


def _whole_run(
    start: dict[str, Any],
    stop: dict[str, Any] | None,
    streams: dict[str, tuple[list[dict[str, Any]], dict[str, list[Any]]]],
) -> Run:
    descriptors, data = [], {}
    for stream, (descriptions, columns) in streams.items():
        specs = {key: {"source": "SIM", "dtype": "number", "shape": [], "units": "deg"} for key in columns}
        for number, description in enumerate(descriptions):
            uid = f"{start['uid']}-{stream}-{number}"
            named = {} if stream == "primary" and number else {"name": stream}  # old writers gave no name
            descriptors.append({**description, **named, "uid": uid, "time": 1.5e9, "data_keys": specs})
        data.update({(stream, key): column for key, column in columns.items()})
    return Run(start, stop, tuple(descriptors), data)


def paths(*, descend: bool | None = None) -> st.SearchStrategy[Path]:
    """Give paths into the start and the stop document; `descend` picks one way to look, None mixes both."""
    named = st.sampled_from(
        [
            ("start", ("plan_name",)),
            ("start", ("scan_id",)),
            ("start", ("time",)),
            ("stop", ("exit_status",)),
        ]
    )
    nested = st.tuples(
        st.sampled_from(("start", "stop")), st.lists(st.sampled_from(KEYS), min_size=1, max_size=3).map(tuple)
    )
    ways = st.booleans() if descend is None else st.just(descend)
    return st.builds(lambda place, way: Path(place[0], place[1], way), named | nested, ways)


def queries(*, descend: bool | None = False, max_leaves: int = 8, whole: bool = False) -> st.SearchStrategy[Query]:
    """Give queries.

    Parameters
    ----------
    descend
        Whether paths look at lists as MongoDB does; None mixes both ways.
    max_leaves
        About how many conditions a query combines at most.
    whole
        Whether some look at descriptors and data, not at start and stop alone.
    """
    leaf = leaf_queries(descend=descend)
    return st.recursive(leaf | whole_queries() if whole else leaf, _combined, max_leaves=max_leaves)


def _combined(inner: st.SearchStrategy[Query]) -> st.SearchStrategy[Query]:
    return st.one_of(
        st.builds(lambda left, right: left & right, inner, inner),
        st.builds(lambda left, right: left | right, inner, inner),
        st.builds(lambda query: ~query, inner),
    )


def leaf_queries(*, descend: bool | None = False) -> st.SearchStrategy[Query]:
    """Give single conditions of every kind over start and stop."""
    at = paths(descend=descend)
    item_keys = st.lists(st.sampled_from(KEYS), min_size=1, max_size=2).map(tuple)
    item_paths = st.builds(Path, st.just("item"), item_keys, at.map(lambda path: path.descend))
    items = _conditions(st.just(Path("item", ()))) | st.recursive(_conditions(item_paths), _combined, max_leaves=3)
    return st.one_of(_conditions(at), st.builds(AnyItem, at, items), _about_the_run(), st.just(ALL))


def whole_queries() -> st.SearchStrategy[Query]:
    """Give single conditions of every kind over descriptors and data."""
    named = st.builds(lambda key, name: ("data_keys", key, name), st.sampled_from(DATA_KEYS), st.just("units"))
    set_up = st.builds(
        lambda device, key: ("configuration", device, "data", key), st.sampled_from(DEVICES), st.sampled_from(KEYS)
    )
    at = st.builds(Path, st.just("descriptor"), st.one_of(named, set_up, st.just(("name",))))
    within = st.recursive(_conditions(at) | st.just(ALL), _combined, max_leaves=3)
    streams = st.none() | st.sampled_from(STREAMS)
    return st.one_of(
        st.builds(AnyDescriptor, within, streams),
        st.builds(lambda name, stream: Device(name, stream).exists(), st.sampled_from(DEVICES), streams),
        data_queries(),
    )


def data_queries(
    *,
    intervals: Sequence[type[DataBetween | DataWithin]] = (DataBetween, DataWithin),
    statistics: Sequence[str] = get_args(StatisticName),
    bounds: Sequence[float] = BOUNDS,
) -> st.SearchStrategy[Query]:
    """Give single conditions over data, of these kinds and with these numbers."""
    keys, streams, numbers = st.sampled_from(DATA_KEYS), st.none() | st.sampled_from(STREAMS), st.sampled_from(bounds)
    ends = st.tuples(numbers, numbers).map(sorted)
    names, operators = st.sampled_from(statistics), st.sampled_from(OPERATORS)
    return st.one_of(
        st.builds(
            lambda node, key, ends, stream: node(key, *ends, stream), st.sampled_from(intervals), keys, ends, streams
        ),
        st.builds(_about_a_statistic, keys, names, operators, numbers, streams),
    )


def _about_a_statistic(key: str, name: Any, op: Any, value: Any, stream: str | None) -> Query:
    # Equality of a sum or mean with a float raises: it depends on the order of the additions.
    whole = op != "==" or name not in ("sum", "mean") or isinstance(value, int)
    return CompareStatistic(key, name, op if whole else "<=", value, stream)


def _conditions(at: st.SearchStrategy[Path]) -> st.SearchStrategy[Query]:
    return st.one_of(
        st.builds(Compare, at, st.just("=="), values()),
        st.builds(Compare, at, st.sampled_from(OPERATORS), scalars()),
        st.builds(In, at, st.lists(values(), min_size=1, max_size=3)),
        st.builds(Exists, at),
        st.builds(IsNaN, at),
        st.builds(Contains, at, values()),
        st.builds(HasSize, at, st.integers(0, 3)),
        st.builds(Regex, at, st.sampled_from(PATTERNS), st.sampled_from(("", "i", "is"))),
    )


def _about_the_run() -> st.SearchStrategy[Query]:
    times = st.none() | st.floats(1.5e9, 1.8e9)
    ids = st.integers(1, 5)
    return st.one_of(
        st.builds(
            lambda uids: PartialUID(*uids),
            st.lists(st.text("0123456789abcdef", min_size=1, max_size=2), min_size=1),
        ),
        st.builds(lambda ends: TimeRange(*_ordered(*ends)), st.tuples(times, times)),
        st.builds(lambda chosen: ScanID(*chosen, duplicates="all"), st.lists(ids, min_size=1, max_size=2)),
        st.builds(ScanIDRange, ids, ids, st.just("all")),
        st.builds(FullText, st.sampled_from(("ni", "strasse", "FOIL Strasse", "scan"))),
        st.builds(Fuzzy, st.sampled_from(("nii", "strase", "FOIL Strasse", "scann")), st.sampled_from((0.2, 0.3, 1.0))),
    )


def _ordered(since: float | None, until: float | None) -> tuple[float | None, float | None]:
    return (until, since) if since is not None and until is not None and since > until else (since, until)
