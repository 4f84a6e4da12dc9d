"""A run that is at hand as a list of documents: what a store gives of it, made of these."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from intake_bluesky.cached import cached_property
from intake_bluesky.documents.columns import observe
from intake_bluesky.documents.header import HeaderBuilder
from intake_bluesky.documents.model import (
    ALL_KEYS,
    ODD_DOCUMENT,
    DatumPage,
    Document,
    EventPage,
    Keys,
    RunHeader,
    RunSummary,
    stream_name,
)
from intake_bluesky.documents.pages import datum_pages, event_page, gather, normalise
from intake_bluesky.documents.untyped import uid_of
from intake_bluesky.errors import DamagedRun, StreamNotFound

DATUMS: Final = frozenset({"datum", "datum_page", "bulk_datum"})
PAGED: Final = frozenset({"event", "event_page", "bulk_events", "datum", "datum_page", "bulk_datum"})
PAGE_SIZE: Final = 1000  # neighbouring single events that are read together


@dataclass(slots=True)
class _Unit:
    """What is read at once: one ``event_page``, or neighbouring ``event`` documents of one descriptor."""

    descriptor: str
    events: int
    page: Document | None
    singles: list[Document]

    def read(self, data: Keys, timestamps: Keys) -> tuple[EventPage, set[str]]:
        if self.page is not None:
            return event_page(self.page, data=data, timestamps=timestamps)
        return gather(self.singles, data=data, timestamps=timestamps)


class RunDocuments:
    """The documents of one run, of any version of event-model, as `RunStore` gives a run.

    For stores that read a run whole: a store of runs with many events reads less than that.

    Parameters
    ----------
    documents : iterable of (name, dict)
        In the order in which they were emitted, the start first.
    page_size : int
        How many neighbouring single events are read together.
    parsed : callable, optional
        Called with the stream and the number of a unit whenever its data or timestamps are made columns.

    Raises
    ------
    DamagedRun
        When there is no start document.

    Examples
    --------
    >>> from intake_bluesky.testing import EXAMPLES
    >>> run = RunDocuments(EXAMPLES["scan"](None))
    >>> run.summary.scan_id, list(run.header(version="1").streams)
    (2, ['baseline', 'ring_current_monitor', 'primary'])
    >>> max(float(page.data["theta"].max()) for page in run.event_pages("primary", data={"theta"}))
    2.5
    """

    def __init__(
        self,
        documents: Iterable[tuple[str, Document]],
        *,
        page_size: int = PAGE_SIZE,
        parsed: Callable[[str, int], object] | None = None,
    ) -> None:
        self.documents = list(documents)
        if not self.documents or self.documents[0][0] != "start":
            raise DamagedRun("a run begins with its start document, and there is none")
        self._page_size, self._parsed = page_size, parsed

    @property
    def summary(self) -> RunSummary:
        """What a listing shows."""
        stops = [doc for name, doc in self.documents if name == "stop"]
        return RunSummary.of(self.documents[0][1], stops[-1] if stops else None)

    @cached_property
    def _units(self) -> dict[str, list[_Unit]]:
        """What is read at once, by stream."""
        stream_of: dict[str, str] = {}
        units: dict[str, list[_Unit]] = {}
        try:
            # First, for a descriptor may come late.
            for doc in (doc for name, doc in self.documents if name == "descriptor"):
                stream_of.setdefault(uid_of(doc), stream_name(doc))
                units.setdefault(stream_name(doc), [])
            for name, doc in self._today():
                if name in ("event", "event_page"):
                    if doc["descriptor"] not in stream_of:
                        raise DamagedRun(f"run {self._uid}: an event of unknown descriptor {doc['descriptor']!r}")
                    self._add(units[stream_of[doc["descriptor"]]], name, doc)
        except DamagedRun:
            raise
        except ODD_DOCUMENT as error:
            raise DamagedRun(f"run {self._uid}: a document lacks what each has: {error!r}") from error
        return units

    def _today(self) -> Iterator[tuple[str, Document]]:
        return (pair for name, doc in self.documents for pair in normalise(name, doc))

    @property
    def _uid(self) -> Any:
        return self.documents[0][1].get("uid")

    def _add(self, units: list[_Unit], name: str, doc: Document) -> None:
        if name == "event_page":
            units.append(_Unit(doc["descriptor"], len(doc["seq_num"]), doc, []))
            return
        last = units[-1] if units else None
        if last is None or last.page or last.descriptor != doc["descriptor"] or last.events >= self._page_size:
            last = _Unit(doc["descriptor"], 0, None, [])
            units.append(last)
        last.singles.append(doc)
        last.events += 1

    def header(self, version: str) -> RunHeader:
        """Describe the run.

        Parameters
        ----------
        version : str
            Changes whenever the stored run changes.

        Raises
        ------
        DamagedRun
        """
        builder = HeaderBuilder()
        for name, doc in self.documents:
            if name not in PAGED:
                builder.add(name, doc)
        for unit in (unit for several in self._units.values() for unit in several):
            page, nulls = unit.read(ALL_KEYS, ())
            seen = {key: observe(column, nulls=key in nulls) for key, column in page.data.items()}
            builder.add_page(unit.descriptor, len(page), seen)
        return builder.header(version)

    def event_pages(
        self, stream: str, *, data: Keys = ALL_KEYS, timestamps: Keys = (), events: slice = slice(None)
    ) -> Iterator[EventPage]:
        """Yield the events of a stream as `RunStore.event_pages` does.

        Raises
        ------
        StreamNotFound, DamagedRun
        """
        if stream not in self._units:
            raise StreamNotFound(f"run {self._uid} has no stream {stream!r}; it has {', '.join(self._units) or 'none'}")
        units = self._units[stream]
        start, stop, _ = events.indices(sum(unit.events for unit in units))
        first = 0
        for number, unit in enumerate(units):
            low, high = max(start - first, 0), min(stop - first, unit.events)
            if low < high:
                if self._parsed is not None and (data != () or timestamps != ()):
                    self._parsed(stream, number)
                page, _ = unit.read(data, timestamps)
                yield page if high - low == len(page) else page.select(slice(low, high))
            first += unit.events

    def datum_pages(self, resource: str) -> Iterator[DatumPage]:
        """Yield the datums of one resource, page by page as they were emitted."""
        return datum_pages((pair for pair in self.documents if pair[0] in DATUMS), resource)
