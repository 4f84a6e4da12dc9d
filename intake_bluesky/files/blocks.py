"""Events and datums of a scan into blocks, and what their values are."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any, Final, TypeAlias

from intake_bluesky.columns import Observed, observe
from intake_bluesky.documents import Document, EventPage
from intake_bluesky.errors import DamagedRun
from intake_bluesky.files.layout import Block, Layout
from intake_bluesky.one_pass import FLOAT, INT, ODD, Measuring
from intake_bluesky.pages import event_page, gather

__all__ = ["BLOCK", "BlockBuilder", "Single"]

BLOCK: Final = 1 << 20  # bytes from which a block is closed
GROUP: Final = 200  # items held decoded: more of them would keep the garbage collector busy
NULL: Final = Observed(frozenset({"null"}))
DICT, NO_MORE = frozenset({dict}), frozenset({dict, type(None)})
WORD: Final = range(-(2**63), 2**63)


Single: TypeAlias = tuple[int, int, Document]
"""Start and stop of an item, and the ``event`` that it is."""


class _Unit:
    """One item with events or datums in it."""

    __slots__ = ("counts", "pages", "resource", "start", "stop", "wrong")

    def __init__(self, start: int, stop: int) -> None:
        self.start, self.stop = start, stop
        self.pages: list[tuple[str, Document]] = []
        self.resource: str | None = None
        self.counts: dict[str, int] = {}
        self.wrong = ""


class BlockBuilder:
    """Collects items until they make a block.

    Parameters
    ----------
    layout : Layout
        Gets the blocks and what was observed.
    measuring : Measuring
        Gets the values.
    """

    def __init__(self, layout: Layout, measuring: Measuring) -> None:
        self._layout = layout
        self._measuring = measuring
        self._units: list[_Unit | Single] = []
        self._first = 0
        self._places = {uid: place for place, uid in enumerate(layout.uids)}
        self._open = layout.blocks[-1] if layout.blocks and layout.extensible else None

    def add_events(self, events: Sequence[Single]) -> None:
        """Take items that follow each other, each an ``event`` whose descriptor is text."""
        units = self._units
        if units and len(units) + len(events) < GROUP and events and events[-1][1] - self._first < BLOCK:
            units.extend(events)
            return
        for event in events:
            self._add(event, event[0], event[1])

    def add_pages(self, pages: list[tuple[str, Document]], start: int, stop: int) -> None:
        """Take an item with ``event_page`` documents, several in bulk events."""
        for _, doc in pages:
            if not isinstance(doc["descriptor"], str):
                raise DamagedRun(f"an event's descriptor is {doc['descriptor']!r}, not a uid")
        unit = _Unit(start, stop)
        unit.pages = pages
        self._add(unit, start, stop)

    def add_datums(self, resource: str, start: int, stop: int) -> None:
        """Take an item with datums of one resource."""
        unit = _Unit(start, stop)
        unit.resource = resource
        self._add(unit, start, stop)

    def _add(self, unit: _Unit | Single, start: int, stop: int) -> None:
        units = self._units
        if not units:
            self._first = self._open.start if self._open else start
        units.append(unit)
        if stop - self._first >= BLOCK:
            self.close()
        elif len(units) >= GROUP:
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
        if not units or self._all_sound(units):
            return
        for item in self._looked_at(units):
            if item.wrong:
                self._layout.damage.append((item.start, item.stop, item.wrong))
                self._open = None
            else:
                self._extend(item.start, item.stop, item.counts, {item.resource} - {None})

    def _all_sound(self, units: Sequence[_Unit | Single]) -> bool:
        """Take units that are single events and datums, as nearly all are, in one go; False where one is odd."""
        events: dict[str, list[Document]] = defaultdict(list)
        resources: set[str | None] = set()
        for unit in units:
            if type(unit) is tuple:
                events[unit[2]["descriptor"]].append(unit[2])
            elif isinstance(unit, _Unit) and unit.resource is not None:
                resources.add(unit.resource)
            else:
                return False
        try:
            for descriptor, docs in events.items():
                self._observe_singles(descriptor, docs)
        except (*ODD, DamagedRun):
            self._measuring.sound = False
            return False  # what was observed till now will be observed once more
        counts = {descriptor: len(docs) for descriptor, docs in events.items()}
        (start, _), (_, stop) = _range(units[0]), _range(units[-1])
        self._extend(start, stop, counts, resources)
        return True

    def _extend(self, start: int, stop: int, counts: dict[str, int], resources: set[str | None]) -> None:
        block = self._open
        if block is None:
            block = self._open = Block(start, stop)
            self._layout.blocks.append(block)
        block.stop = stop
        for descriptor, events in counts.items():
            place = self._place(descriptor)
            block.events[place] = block.events.get(place, 0) + events
        block.resources.update(self._place(resource) for resource in resources if resource is not None)

    def _place(self, uid: str) -> int:
        place = self._places.setdefault(uid, len(self._places))
        if place == len(self._layout.uids):
            self._layout.uids.append(uid)
        return place

    def _looked_at(self, units: Iterable[_Unit | Single]) -> list[_Unit]:
        """Observe the values, and note at each unit its events, or what is wrong with it."""
        looked: list[_Unit] = []
        singles: dict[str, list[tuple[_Unit, Document]]] = defaultdict(list)
        for found in units:
            unit = found if isinstance(found, _Unit) else _Unit(*_range(found))
            looked.append(unit)
            if not isinstance(found, _Unit):
                singles[found[2]["descriptor"]].append((unit, found[2]))
            if unit.pages:
                self._look_at_singles(singles)
                singles.clear()
            for _, doc in unit.pages:
                self._page(unit, doc)
        self._look_at_singles(singles)
        return looked

    def _look_at_singles(self, singles: Mapping[str, list[tuple[_Unit, Document]]]) -> None:
        for descriptor, docs in singles.items():
            self._look_at_those_of(descriptor, docs)

    def _look_at_those_of(self, descriptor: str, singles: list[tuple[_Unit, Document]]) -> None:
        try:
            self._observe(*gather([doc for _, doc in singles]))
        except ODD:
            singles = [(unit, doc) for unit, doc in singles if self._single(unit, doc)]
        for unit, _ in singles:
            unit.counts[descriptor] = 1

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

    def _observe_singles(self, descriptor: str, docs: list[Document]) -> None:
        """As `_observe` of what `gather` makes of the events, without making columns of what needs none."""
        plain = _columns(docs)
        if plain is None:
            self._observe(*gather(docs))
            return
        seq_nums, columns = plain
        first = descriptor not in self._layout.observed
        known = self._layout.observed.setdefault(descriptor, {})
        part = self._measuring.part(descriptor, seq_nums)
        for key, values in columns.items():
            seen = part.look_at(key, values)
            before = known.get(key)
            if before is not seen:
                known[key] = seen if first else (NULL if before is None else before) | seen
        if len(known) > len(columns):
            for key in known.keys() - columns.keys():
                known[key] |= NULL

    def _observe(self, page: EventPage, nulls: set[str]) -> None:
        if not len(page):
            return
        first = page.descriptor not in self._layout.observed
        known = self._layout.observed.setdefault(page.descriptor, {})
        seen = {key: observe(col, nulls=key in nulls) for key, col in page.data.items()}
        for key, observed in seen.items():
            known[key] = known.get(key, Observed() if first else NULL) | observed
        self._measuring.add_page(page, seen)
        for key in known.keys() - page.data.keys():
            known[key] |= NULL


def _range(unit: _Unit | Single) -> tuple[int, int]:
    return (unit.start, unit.stop) if isinstance(unit, _Unit) else unit[:2]


def _columns(docs: list[Document]) -> tuple[list[int], dict[str, Sequence[Any]]] | None:
    """The seq_nums and the values of each key, where all events are of one plain form; else None."""
    rows = [doc["data"] for doc in docs]
    if set(map(type, rows)) != DICT or len(set(map(len, rows))) > 1 or not rows[0]:
        return None
    if not NO_MORE.issuperset([type(doc.get("filled")) for doc in docs]):
        return None
    seq_nums = [doc["seq_num"] for doc in docs]
    if set(map(type, seq_nums)) != INT or min(seq_nums) not in WORD or max(seq_nums) not in WORD:
        return None
    if {type(doc["time"]) for doc in docs} != FLOAT:
        return None
    keys = tuple(rows[0])
    if len(keys) == 1:
        return seq_nums, {keys[0]: list(map(itemgetter(*keys), rows))}
    return seq_nums, dict(zip(keys, zip(*map(itemgetter(*keys), rows), strict=True), strict=True))
