"""Events and datums of a scan into blocks, and what their values are."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from intake_bluesky.columns import Observed, observe
from intake_bluesky.documents import Document, EventPage
from intake_bluesky.errors import DamagedRun
from intake_bluesky.files.layout import Block, Layout
from intake_bluesky.pages import event_page, gather

__all__ = ["BLOCK", "BlockBuilder"]

BLOCK: Final = 1 << 20  # bytes from which a block is closed
GROUP: Final = 200  # items held decoded: more of them would keep the garbage collector busy
NULL: Final = Observed(frozenset({"null"}))
ODD: Final = (AttributeError, KeyError, OverflowError, TypeError, ValueError)


@dataclass(slots=True)
class _Unit:
    """One item with events or datums in it."""

    start: int
    stop: int
    events: list[tuple[str, Document]] = field(default_factory=list)
    resource: str | None = None
    counts: dict[str, int] = field(default_factory=dict)
    wrong: str = ""


class BlockBuilder:
    """Collects items until they make a block.

    Parameters
    ----------
    layout : Layout
        Gets the blocks and what was observed.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._units: list[_Unit] = []
        self._places = {uid: place for place, uid in enumerate(layout.uids)}
        self._open = layout.blocks[-1] if layout.blocks and layout.extensible else None

    def add_events(self, pages: list[tuple[str, Document]], start: int, stop: int) -> None:
        """Take an item with events: ``event`` or ``event_page`` documents, several in bulk events."""
        unit = _Unit(start, stop, pages)
        for _, doc in unit.events:
            if not isinstance(doc["descriptor"], str):
                raise DamagedRun(f"an event's descriptor is {doc['descriptor']!r}, not a uid")
        self._add(unit)

    def add_datums(self, resource: str, start: int, stop: int) -> None:
        """Take an item with datums of one resource."""
        self._add(_Unit(start, stop, resource=resource))

    def _add(self, unit: _Unit) -> None:
        self._units.append(unit)
        first = self._open.start if self._open else self._units[0].start
        if unit.stop - first >= BLOCK:
            self.close()
        elif len(self._units) >= GROUP:
            self._flush()

    def close(self) -> None:
        """End the block: it is large enough, or what follows is damaged."""
        self._flush()
        self._open = None

    def finish(self) -> None:
        """Put down what is left; a later scan may go on with the last block."""
        self._flush()
        self._layout.extensible = self._open is not None

    def _flush(self) -> None:
        """Look at the events collected, and add them to the block."""
        units, self._units = self._units, []
        self._look_at(units)
        for unit in units:
            if unit.wrong:
                self._layout.damage.append((unit.start, unit.stop, unit.wrong))
                self._open = None
            else:
                self._extend(unit)

    def _extend(self, unit: _Unit) -> None:
        block = self._open
        if block is None:
            block = self._open = Block(unit.start, unit.stop)
            self._layout.blocks.append(block)
        block.stop = unit.stop
        for descriptor, events in unit.counts.items():
            place = self._place(descriptor)
            block.events[place] = block.events.get(place, 0) + events
        if unit.resource is not None:
            block.resources.add(self._place(unit.resource))

    def _place(self, uid: str) -> int:
        place = self._places.setdefault(uid, len(self._places))
        if place == len(self._layout.uids):
            self._layout.uids.append(uid)
        return place

    def _look_at(self, units: Iterable[_Unit]) -> None:
        """Observe the values, and note at each unit its events, or what is wrong with it."""
        singles: dict[str, list[tuple[_Unit, Document]]] = defaultdict(list)
        for unit in units:
            for name, doc in unit.events:
                if name == "event":
                    singles[doc["descriptor"]].append((unit, doc))
                else:
                    self._page(unit, doc)
        for descriptor, found in singles.items():
            try:
                self._observe(*gather([doc for _, doc in found]))
            except ODD:
                found = [(unit, doc) for unit, doc in found if self._single(unit, doc)]
            for unit, _ in found:
                unit.counts[descriptor] = unit.counts.get(descriptor, 0) + 1

    def _page(self, unit: _Unit, doc: Document) -> None:
        try:
            page, nulls = event_page(doc)
        except DamagedRun as error:
            unit.wrong = str(error)
            return
        self._observe(page, nulls)
        unit.counts[page.descriptor] = unit.counts.get(page.descriptor, 0) + len(page)

    def _single(self, unit: _Unit, doc: Document) -> bool:
        try:
            self._observe(*gather([doc]))
        except ODD as error:
            unit.wrong = f"an event cannot be read: {type(error).__name__}: {error}"
        return not unit.wrong

    def _observe(self, page: EventPage, nulls: set[str]) -> None:
        if not len(page):
            return
        first = page.descriptor not in self._layout.observed
        known = self._layout.observed.setdefault(page.descriptor, {})
        for key, col in page.data.items():
            known[key] = known.get(key, Observed() if first else NULL) | observe(col, nulls=key in nulls)
        for key in known.keys() - page.data.keys():
            known[key] |= NULL
