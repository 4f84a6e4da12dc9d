"""Building a `RunHeader` from a run's documents, one at a time, as every store does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from operator import itemgetter
from typing import Any, Final

from intake_bluesky.documents.columns import Observed, add_observed
from intake_bluesky.documents.model import (
    CONTRADICTED,
    ODD_DOCUMENT,
    Document,
    RunHeader,
    Span,
    StreamAsset,
    StreamLayout,
    identical,
    stream_name,
)
from intake_bluesky.documents.pages import normalise
from intake_bluesky.documents.untyped import DEEPEST, all_well_formed, span_of, too_deep, uid_of
from intake_bluesky.errors import DamagedRun

__all__ = ["HeaderBuilder", "add_span", "contradict", "merge_spans"]

BESIDES: Final = frozenset({"run_start", CONTRADICTED})
"""What says nothing of the data."""


@dataclass
class _HeaderStream:
    descriptors: list[Document] = field(default_factory=list)
    pages: list[int] = field(default_factory=list)
    observed: dict[str, Observed] = field(default_factory=dict)
    known: bool = True


@dataclass
class _Segment:
    """Stream datums of one resource and descriptor that follow each other, as far as no others claimed their frames."""

    resource: str
    descriptor: str
    in_order: bool
    spans: list[Span]


@dataclass
class _Rivals:
    """Segments of which a later one wins where they claim the same seq_nums: those of one data key of a stream."""

    segments: list[_Segment] = field(default_factory=list)
    _last: dict[tuple[str, str], int] = field(default_factory=dict)  # where the last of a resource and descriptor is
    _end: int = 0  # no seq_num from here on is claimed

    def add(self, one: _Segment) -> bool:
        """Join spans to the last segment of their resource and descriptor; append them if others claim theirs since."""
        first, end = min(span[0] for span in one.spans), max(span[1] for span in one.spans)
        place = self._last.get((one.resource, one.descriptor))
        # Nearly all streams go on from the end: nothing has to be looked at, however many files they have.
        if place is not None and (
            first >= self._end or not any(_overlaps(own.spans, one.spans) for own in self.segments[place + 1 :])
        ):
            joined = self.segments[place]
            for span in one.spans:
                add_span(joined.spans, span)
            joined.in_order &= one.in_order
        else:
            self._last[one.resource, one.descriptor] = len(self.segments)
            self.segments.append(one)
            joined = one
        self._end = max(self._end, end)
        return joined is one


class HeaderBuilder:
    """Collects what a header needs.

    Give `add` every document but events and datums (others are ignored), and `add_page` each unit of events
    that the store reads at once.

    Examples
    --------
    >>> builder = HeaderBuilder()
    >>> builder.add("start", {"uid": "abc", "time": 1.0})
    >>> builder.add("descriptor", {"uid": "d", "run_start": "abc", "data_keys": {}, "time": 1.0})
    >>> builder.add_page("d", 3, {})
    >>> builder.header("v1").streams["primary"].events
    3
    """

    def __init__(self) -> None:
        self.start: Document | None = None
        self.stop: Document | None = None
        self._descriptors: dict[str, Document] = {}
        self._resources: dict[str, Document] = {}
        self._stream_resources: dict[str, Document] = {}
        self._segments: list[_Segment] = []
        self._rivals: dict[tuple[str | None, str], _Rivals] = {}  # by stream and data key
        self._streams: dict[str, _HeaderStream] = {}

    def add(self, name: str, doc: Document) -> None:
        """Take one document in; events and datums are ignored.

        Raises
        ------
        DamagedRun
            When a field that every document of that name has is missing or odd.
        """
        if too_deep(doc):
            raise DamagedRun(f"a {name} document is nested in more than {DEEPEST} levels: it cannot be read")
        try:
            for today, new in normalise(name, doc) if name == "stream_resource" else ((name, doc),):
                self._add(today, new)
        except ODD_DOCUMENT as error:
            raise DamagedRun(f"a {name} document cannot be read: {type(error).__name__}: {error}") from error

    def _add(self, name: str, doc: Document) -> None:
        match name:
            case "start":
                self.start = doc
            case "stop":
                self.stop = doc
            case "descriptor":
                self._add_descriptor(doc)
            case "resource":
                _define(self._resources, doc)
            case "stream_resource":
                _define(self._stream_resources, doc)
            case "stream_datum":
                self.add_span(doc["stream_resource"], doc["descriptor"], span_of(doc), in_order=True)

    def _add_descriptor(self, doc: Document) -> None:
        uid = uid_of(doc)
        stream = self._streams.setdefault(stream_name(doc), _HeaderStream())
        if uid not in self._descriptors:
            stream.descriptors.append(doc)
        self._descriptors.setdefault(uid, doc)

    def add_span(self, resource: str, descriptor: str, span: Span, *, in_order: bool = False) -> None:
        """Note what one stream datum tells, or several that follow each other.

        A later one wins where several claim a seq_num. Where some are not given `in_order`, that of their stream
        datums, it is that of the resource declared later.
        """
        one = _Segment(resource, descriptor, in_order, [span])
        known = resource in self._stream_resources and descriptor in self._descriptors
        if known:
            rivals = self._rivals.setdefault(self._group(one), _Rivals())
        else:
            # Of any key: nothing that comes later may join what came before it, until all keys are known.
            self._rivals.clear()
            rivals = _Rivals()
            for segment in self._segments[-1:]:
                rivals.add(segment)
        if rivals.add(one):
            self._segments.append(one)

    def _group(self, segment: _Segment) -> tuple[str | None, str]:
        """The stream and the data key of frames; in place of a key that is not known the resource."""
        resource = self._stream_resources.get(segment.resource) or {}
        return self.stream_of(segment.descriptor), str(resource.get("data_key") or segment.resource)

    def stream_of(self, descriptor: str) -> str | None:
        """Name of the stream of a descriptor's uid; None when that descriptor was not met."""
        doc = self._descriptors.get(descriptor)
        return None if doc is None else stream_name(doc)

    def add_page(self, descriptor: str, events: int, observed: Mapping[str, Observed] | None) -> None:
        """Note one unit of `events` events; `observed` None where the store has not looked.

        A key of the stream that the page lacks altogether counts as null in it.

        Raises
        ------
        DamagedRun
            When no descriptor of that uid was added before.
        """
        name = self.stream_of(descriptor)
        if name is None:
            raise DamagedRun(f"{events} events belong to descriptor {descriptor!r}, which the run does not have")
        stream = self._streams[name]
        if observed is None:
            stream.known = False
        elif events:
            add_observed(stream.observed, observed, first=not any(stream.pages))
        stream.pages.append(events)

    def header(self, version: str) -> RunHeader:
        """Give the header of what was added so far.

        Raises
        ------
        KeyError
            When no start document was added: callers check that first.
        """
        if self.start is None:
            raise KeyError("start")
        streams = {name: self._layout(name, stream) for name, stream in self._streams.items()}
        return RunHeader(
            self.start,
            self.stop,
            tuple(self._descriptors.values()),
            tuple(self._resources.values()),
            tuple(self._assets()),
            streams,
            version,
        )

    @staticmethod
    def _layout(name: str, stream: _HeaderStream) -> StreamLayout:
        descriptors, damage = all_well_formed(stream.descriptors)
        observed = dict(stream.observed) if stream.known else None
        return StreamLayout(name, descriptors, sum(stream.pages), tuple(stream.pages), observed, damage)

    def _assets(self) -> list[StreamAsset]:
        """In the order of the resources; those of one key that claim the same seq_nums in the order of their datums."""
        order = {uid: place for place, uid in enumerate(self._stream_resources)}
        groups: dict[tuple[str | None, str], _Rivals] = {}
        for segment in self._segments:
            for span in segment.spans:
                groups.setdefault(self._group(segment), _Rivals()).add(replace(segment, spans=[span]))
        ranked: list[tuple[int, StreamAsset]] = []
        for own in (rivals.segments for rivals in groups.values()):
            spans = sorted(span for segment in own for span in segment.spans)
            placed = [(order.get(segment.resource, len(order)), segment) for segment in own]
            apart = all(before[1] <= after[0] for before, after in pairwise(spans))
            if apart or not all(segment.in_order for segment in own):
                placed.sort(key=itemgetter(0))
            rank = 0
            for place, segment in placed:
                rank = max(rank, place)
                ranked.append((rank, self._asset(segment)))
        return [asset for _, asset in sorted(ranked, key=itemgetter(0))]

    def _asset(self, segment: _Segment) -> StreamAsset:
        # Frames of a resource that the run lacks are of no key; that there were some is not lost.
        doc: dict[str, Any] = self._stream_resources.get(segment.resource) or {"uid": segment.resource}
        return StreamAsset(doc, str(doc.get("data_key") or ""), segment.descriptor, tuple(segment.spans))


def _define(known: dict[str, Document], doc: Document) -> None:
    """Take a resource in; one that came before and says another thing leaves open which of the two is meant."""
    uid = uid_of(doc)
    before = known.get(uid)
    known[uid] = doc
    if before is not None and (CONTRADICTED in before or contradict(before, doc)):
        known[uid] = {**doc, CONTRADICTED: f"the run defines {uid!r} several times, and not as the same"}


def contradict(a: Document, b: Document) -> bool:
    """Whether two documents of one uid differ in what they say; which run they belong to, and order, aside."""
    return not identical(*(_ordered({k: v for k, v in doc.items() if k not in BESIDES}) for doc in (a, b)))


def _ordered(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _ordered(value[key]) for key in sorted(value, key=str)}
    return [_ordered(one) for one in value] if isinstance(value, (list, tuple)) else value


def _overlaps(some: list[Span], others: list[Span]) -> bool:
    return any(one[0] < other[1] and other[0] < one[1] for one in some for other in others)


def add_span(spans: list[Span], span: Span) -> None:
    """Join a span to the last of some, or append it: a detector may emit a stream datum for each frame."""
    spans.append(span)
    spans[-2:] = merge_spans(spans[-2:])


def merge_spans(spans: list[Span]) -> list[Span]:
    """Join spans that follow each other in both seq_num and index, with one index a seq_num.

    Examples
    --------
    >>> merge_spans([(1, 4, 0, 3), (4, 6, 3, 5)])
    [(1, 6, 0, 5)]
    """
    merged: list[Span] = []
    for span in spans:
        last = merged[-1] if merged else None
        if last is not None and last[1::2] == span[::2] and _straight(last) and _straight(span):
            merged[-1] = (last[0], span[1], last[2], span[3])
        else:
            merged.append(span)
    return merged


def _straight(span: Span) -> bool:
    return span[1] - span[0] == span[3] - span[2]
