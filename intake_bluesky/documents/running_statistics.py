"""Statistics of what a run's events hold, as they pass by once.

They equal what `search.run_view.StoredRun` computes by reading the same run again; where events come out of the
order of their seq_nums there are none, since which of them count is not known before the last.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from operator import lt
from typing import Any, Final, TypeAlias

import numpy as np

from intake_bluesky.documents.columns import Column, Observed, Ragged, column, merge_observed, observe
from intake_bluesky.documents.columns.observed import encodable
from intake_bluesky.documents.model import (
    ODD_DOCUMENT,
    Document,
    EventPage,
    is_external,
    stream_name,
    to_plain,
)
from intake_bluesky.documents.pages import event_page, normalise
from intake_bluesky.documents.statistics import Fields, Statistics, of_floats, of_integers
from intake_bluesky.integers import FLOAT_EXACT, INT64_END

Found: TypeAlias = Mapping[str, Mapping[str, Fields | None]]
"""Of each data key that a descriptor declares, by stream and key; None in the place of what is not known."""

# What `observe` says of columns of one type, whatever the values.
FLOATS, TEXTS = observe(column([0.0])[0]), observe(column([""])[0])
NATURAL, NEGATIVE = observe(column([0])[0]), observe(column([-1])[0])
NULL: Final = frozenset({"null"})
UNEVEN: Final = "other"  # the mark of arrays with another number of dimensions in another event
FLOAT, INT, TEXT = frozenset({float}), frozenset({int}), frozenset({str})
NOTHING: Final = Statistics().fields
SCALARS: Final = frozenset({float, int, bool, str})
PLAIN: Final = "biufUT"  # kinds of arrays that every format gives back as what they were
# Data keys, as far as it depends on them what values there are, and how many.
SCALAR: Final[Document] = {"shape": []}
SCALAR_TEXT: Final[Document] = {"shape": [], "dtype": "string"}
GROUP: Final = 200  # events of a run being written that are looked at together


class DescriptorEvents:
    """The events of one descriptor."""

    def __init__(self, first: int) -> None:
        self.first = first
        self.last = first - 1
        self.events = 0
        self.sound = True
        self.keys: dict[str, tuple[int, Observed, Fields]] = {}  # events that have the key, and what they have

    def follow(self, seq_nums: Sequence[int]) -> None:
        """Take the seq_nums of the next events."""
        self.events += len(seq_nums)
        self.sound = self.sound and seq_nums[0] > self.last and all(map(lt, seq_nums, seq_nums[1:]))
        self.last = seq_nums[-1]

    def look_at(self, key: str, values: Sequence[Any]) -> Observed:
        """Take the values of a key in the next events; say of them what `observe` says of their column."""
        types = set(map(type, values))
        if types == FLOAT:
            if key not in self.keys:  # of most runs all events are looked at together
                self.keys[key] = len(values), FLOATS, of_floats(values)
                return FLOATS
            seen, found = FLOATS, of_floats(values)
        elif types == INT:
            found = of_integers(values)
            seen = _observed(found[2], found[3])
        elif types == TEXT and encodable("".join(values)):
            seen, found = TEXTS, (len(values), len(values), None, None, None, None, None, None)
        else:
            col, nulls = column(values)
            seen, found = observe(col, nulls=nulls), Statistics.of(col).fields
        self.add(key, len(values), seen, found)
        return seen

    def add(self, key: str, events: int, seen: Observed, found: Fields) -> None:
        """Take what was found of a key in the next events."""
        if seen is not FLOATS and seen.kinds == NULL:  # as if there were no such key
            events, found = 0, NOTHING
        earlier = self.keys.get(key)
        if earlier is not None:
            events += earlier[0]
            seen = earlier[1] if seen is earlier[1] else earlier[1] | seen
            found = Statistics.merged(Statistics(*earlier[2]), Statistics(*found)).fields
        self.keys[key] = events, seen, found


def _observed(low: Any, high: Any) -> Observed:
    if low >= -FLOAT_EXACT and high <= FLOAT_EXACT:
        return NEGATIVE if low < 0 else NATURAL
    return observe(column([low, high])[0])  # the ends have all the marks that integers may have


class Measuring:
    """Collects statistics of events, given in stored order or nearly so."""

    def __init__(self) -> None:
        self.sound = True
        self._descriptors: dict[str, Document] = {}
        self._parts: dict[str, DescriptorEvents] = {}
        self._streamed: set[str] = set()  # keys that stream resources name, whatever their descriptors say
        self._has_resources = False

    def add_resource(self, resource: Document) -> None:
        """Take a resource or stream resource: the values of some keys may be in files, and not in the events."""
        if "data_key" in resource:
            self._streamed.add(resource["data_key"])
        else:
            self._has_resources = True

    def describe(self, descriptor: Document) -> None:
        """Take a descriptor; of several with one uid the first counts."""
        self._descriptors.setdefault(descriptor["uid"], descriptor)

    def part(self, descriptor: str, seq_nums: Sequence[int]) -> DescriptorEvents:
        """Take the seq_nums of some events, at least one; their values are to be added to what is returned."""
        part = self._parts.get(descriptor)
        if part is None:
            part = self._parts[descriptor] = DescriptorEvents(seq_nums[0])
        part.follow(seq_nums)
        return part

    def add_page(self, page: EventPage, seen: Mapping[str, Observed]) -> None:
        """Take a page, at least one event, and what was observed of each of its columns."""
        part = self.part(page.descriptor, page.seq_num.tolist())
        for key, col in page.data.items():
            part.add(key, len(page), seen[key], Statistics.of(col).fields)

    def found(self) -> Found | None:
        """Statistics of each data key that a descriptor declares; None where one pass does not give them."""
        streams: dict[str, list[Document]] = {}
        try:
            for descriptor in self._descriptors.values():
                streams.setdefault(stream_name(descriptor), []).append(descriptor)
            return {name: self._of_stream(descriptors) for name, descriptors in streams.items()}
        except ODD_DOCUMENT:
            return None  # no stream can be made of them

    def _of_stream(self, descriptors: Sequence[Document]) -> dict[str, Fields | None]:
        parts = self._in_order([str(descriptor["uid"]) for descriptor in descriptors])
        specs: Mapping[str, Document] = descriptors[0].get("data_keys", {})
        if len(descriptors) > 1:
            specs = {key: spec for descriptor in descriptors for key, spec in descriptor.get("data_keys", {}).items()}
        if parts is None:
            return dict.fromkeys(specs)
        only = parts[0] if len(parts) == 1 else DescriptorEvents(0)
        keys, events = only.keys, only.events
        return {
            key: known[2]
            if (known := keys.get(key)) is not None  # nearly all are
            and known[1] is FLOATS
            and known[0] == events
            and not spec.get("external")
            and key not in self._streamed
            else None
            if key in self._streamed
            else _whole(parts, key, spec, has_resources=self._has_resources)
            for key, spec in specs.items()
        }

    def _in_order(self, descriptors: Sequence[str]) -> Sequence[DescriptorEvents] | None:
        """The parts of a stream by rising seq_num; None where they, or events in them, do not follow each other."""
        parts = [self._parts[uid] for uid in descriptors if uid in self._parts]
        if len(parts) > 1:
            parts.sort(key=lambda part: part.first)
        apart = all(one.last < other.first for one, other in pairwise(parts))
        return parts if self.sound and apart and all(part.sound for part in parts) else None


def _whole(
    parts: Sequence[DescriptorEvents], key: str, spec: Document, *, has_resources: bool = False
) -> Fields | None:
    """All values of a key in a stream, with those that are missing; None where one pass does not give them."""
    if is_external(spec):
        return None
    having = [part.keys[key] for part in parts if key in part.keys]
    absent = sum(part.events for part in parts) - sum(events for events, _, _ in having)
    seen = merge_observed(seen for _, seen, _ in having)
    if has_resources and "text" in seen.kinds and spec.get("dtype") != "string":
        return None  # perhaps datum_ids, of a key that forgot to say "external"
    whole = Statistics.merged(*(Statistics(*found) for _, _, found in having))
    if seen.ragged or UNEVEN in seen.kinds:
        return None if absent or "null" in seen.kinds else whole.fields
    size = math.prod(seen.shape) if seen.valued else _declared_size(spec)
    if absent * size >= INT64_END:  # by what it declares: there is no such array to be counted
        return None
    return Statistics.merged(whole, Statistics.missing(absent * size)).fields


def _declared_size(spec: Document) -> int:
    """How many values a data key declares an event to have; 1 where that is open."""
    shape = spec.get("shape")
    lengths = shape if isinstance(shape, list | tuple) else ()
    known = all(isinstance(n, int | np.integer) and n > 0 for n in lengths)
    return math.prod(map(int, lengths)) if known else 1


class Watching:
    """Statistics of a run while it is written, from the documents as they are given; none of them is held on to."""

    def __init__(self) -> None:
        self._measuring = Measuring()
        self._waiting: dict[str, tuple[list[int], list[tuple[Any, ...]], tuple[str, ...]]] = {}

    def take(self, name: str, doc: Document) -> None:
        """Take the next document; of one that cannot be understood there are no statistics, and no error."""
        try:
            if name == "event":
                self._event(doc)
            elif name == "descriptor":
                self._describe(doc)
            elif name in ("resource", "stream_resource"):
                self._measuring.add_resource(doc)
            elif name in ("event_page", "bulk_events"):
                for _, page in normalise(name, doc):
                    self._page(page)
        except Exception:  # noqa: BLE001  # whatever these are, they are written: that is what counts
            self._measuring.sound = False

    def found(self) -> Found | None:
        """As `Measuring.found`."""
        for descriptor in list(self._waiting):
            self._flush(descriptor)
        return self._measuring.found()

    def _describe(self, doc: Document) -> None:
        wanted = {
            key: (SCALAR_TEXT if spec.get("dtype") == "string" else SCALAR)
            if type(spec.get("shape")) is list and not spec["shape"] and "external" not in spec  # nearly all are
            else {name: to_plain(spec.get(name)) for name in ("external", "shape", "dtype")}
            for key, spec in doc["data_keys"].items()
        }
        _check_names(wanted)
        self._measuring.describe({"uid": doc["uid"], "name": doc.get("name"), "data_keys": wanted})

    def _event(self, doc: Document) -> None:
        descriptor, seq_num, data = doc["descriptor"], doc["seq_num"], doc["data"]
        keys, values = tuple(data), tuple(data.values())
        if type(seq_num) is not int or not SCALARS.issuperset(map(type, values)):
            values = tuple(v.item() if isinstance(v, np.generic) else v for v in values)
            if type(seq_num) is not int or not SCALARS.issuperset(map(type, values)):
                self._page(doc)
                return
        waiting = self._waiting.get(descriptor)
        if waiting is None or waiting[2] != keys or len(waiting[0]) >= GROUP:
            _check_names(keys)
            self._flush(descriptor)
            waiting = self._waiting[descriptor] = [], [], keys
        waiting[0].append(seq_num)
        waiting[1].append(values)

    def _flush(self, descriptor: str) -> None:
        if descriptor in self._waiting:
            seq_nums, rows, keys = self._waiting.pop(descriptor)
            part = self._measuring.part(descriptor, seq_nums)
            for key, values in zip(keys, zip(*rows, strict=True), strict=False):
                part.look_at(key, values)

    def _page(self, doc: Document) -> None:
        page, nulls = event_page(doc)
        _check_names(page.data)
        # Events that wait came before this page.
        self._flush(page.descriptor)
        if len(page):
            seen = {key: _plain(observe(col, nulls=key in nulls), col) for key, col in page.data.items()}
            self._measuring.add_page(page, seen)


def _check_names(keys: Iterable[object]) -> None:
    if not TEXT.issuperset(map(type, keys)) and not all(isinstance(key, str) for key in keys):
        raise TypeError("a format may make text of other keys")


def _plain(seen: Observed, col: Column) -> Observed:
    values = col.values if isinstance(col, Ragged) else col
    if values.dtype.kind == "O":
        json.dumps(values.tolist())  # raises for what a format has no form for, or one of its own
    elif values.dtype.kind not in PLAIN:
        raise TypeError(f"a format may make something else of {values.dtype}")
    return seen
