"""Events and datums of a scan into blocks, and what their values are."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from itertools import chain
from operator import itemgetter
from typing import Any, Final, NamedTuple

from intake_bluesky.documents.columns import Observed, add_observed, observe
from intake_bluesky.documents.model import ODD_DOCUMENT, Document, EventPage
from intake_bluesky.documents.pages import datum_page, event_page, gather, normalise
from intake_bluesky.documents.running_statistics import FLOAT, INT, TEXT, Measuring
from intake_bluesky.documents.statistics import SAMPLE
from intake_bluesky.errors import DamagedRun
from intake_bluesky.files.scan.file_layout import FileBlock, FileLayout
from intake_bluesky.integers import is_int64

__all__ = ["BLOCK", "BlockBuilder", "check_datums"]

BLOCK: Final = 1 << 20  # bytes from which a block is closed
MOST: Final = SAMPLE  # events that wait: of more, `Statistics` finds how far apart they are by a sample
NULL: Final = Observed(frozenset({"null"}))
DICT, NO_MORE = frozenset({dict}), frozenset({dict, type(None)})
NUMBERS: Final = frozenset({float, int, bool, type(None)})


class _Waiting(NamedTuple):
    """Values of events of one descriptor, of which columns can be made whatever they are."""

    # The keys, and their kinds; none where all are numbers.
    form: tuple[tuple[str, ...], tuple[str, ...]]
    seq_nums: list[int]
    columns: list[list[Any]]


class BlockBuilder:
    """Puts items into blocks of the layout, and looks at the values of their events, many together."""

    def __init__(self, layout: FileLayout, measuring: Measuring) -> None:
        self._layout = layout
        self._measuring = measuring
        self._waiting: dict[str, _Waiting] = {}
        self._places = {uid: place for place, uid in enumerate(layout.uids)}
        self._open = layout.blocks[-1] if layout.blocks and layout.extensible else None

    def add_all(self, pairs: Sequence[tuple[str, Document]], start: int, stop: int) -> bool:
        """Take items that follow each other, events and datums; False where one is odd: take each by itself."""
        events: dict[str, list[Document]] = defaultdict(list)
        resources: set[str] = set()
        try:
            for name, doc in pairs:
                if name == "event":
                    events[doc["descriptor"]].append(doc)
                else:
                    if name != "datum" or type(doc["datum_id"]) is not str or type(doc["datum_kwargs"]) is not dict:
                        check_datums(name, doc)
                    resources.add(str(doc["resource"]))
            if not all(isinstance(descriptor, str) for descriptor in events):
                return False
            for descriptor, docs in events.items():
                self._observe_singles(descriptor, docs)
        except ODD_DOCUMENT:
            self._measuring.sound = False  # what was observed till now will be observed once more
            return False
        self._extend(start, stop, {descriptor: len(docs) for descriptor, docs in events.items()}, resources)
        return True

    def add_event(self, doc: Document, start: int, stop: int) -> None:
        """Take an item with an ``event`` whose descriptor is text."""
        try:
            page, nulls = gather([doc])
            self._observe(page, nulls)
        except ODD_DOCUMENT as error:
            self._pass_over(start, stop, f"an event cannot be read: {type(error).__name__}: {error}")
        else:
            self._extend(start, stop, {page.descriptor: 1})

    def add_pages(self, pages: list[tuple[str, Document]], start: int, stop: int) -> None:
        """Take an item with ``event_page`` documents, several in bulk events."""
        for _, doc in pages:
            if not isinstance(doc["descriptor"], str):
                raise DamagedRun(f"an event's descriptor is {doc['descriptor']!r}, not a uid")
        counts: dict[str, int] = {}
        wrong = ""
        for _, doc in pages:
            try:
                page, nulls = event_page(doc)
            except DamagedRun as error:
                wrong = str(error)
            else:
                self._observe(page, nulls)
                counts[page.descriptor] = counts.get(page.descriptor, 0) + len(page)
        if wrong:
            self._pass_over(start, stop, wrong)
        else:
            self._extend(start, stop, counts)

    def add_datums(self, resource: str, start: int, stop: int) -> None:
        """Take an item with datums of one resource."""
        self._extend(start, stop, {}, {resource})

    def close(self) -> None:
        """End the block: what follows is damaged."""
        self._open = None

    def finish(self) -> None:
        """Look at what was not looked at yet; a later scan may go on with the last block."""
        for descriptor in list(self._waiting):
            self._look(descriptor)
        self._layout.extensible = self._open is not None

    def _pass_over(self, start: int, stop: int, wrong: str) -> None:
        self._layout.damage.append((start, stop, wrong))
        self._open = None

    def _extend(self, start: int, stop: int, counts: dict[str, int], resources: Collection[str] = ()) -> None:
        block = self._open
        if block is None:
            block = self._open = FileBlock(start, stop)
            self._layout.blocks.append(block)
        block.stop = stop
        for descriptor, events in counts.items():
            place = self._place(descriptor)
            block.events[place] = block.events.get(place, 0) + events
        block.resources.update(map(self._place, resources))
        if stop - block.start >= BLOCK:
            self._open = None

    def _place(self, uid: str) -> int:
        place = self._places.setdefault(uid, len(self._places))
        if place == len(self._layout.uids):
            self._layout.uids.append(uid)
        return place

    def _observe_singles(self, descriptor: str, docs: list[Document]) -> None:
        """As `_observe` of what `gather` makes of the events, without making columns of what needs none."""
        plain = _columns(docs)
        if plain is None:
            self._observe(*gather(docs))
            return
        keys, seq_nums, columns = plain
        numbers = NUMBERS.issuperset(map(type, chain.from_iterable(columns)))  # as nearly all are
        form = keys, () if numbers else tuple(map(_kind, columns))
        waiting, apart = self._waiting.get(descriptor), "" in form[1]
        if waiting is None or apart or waiting.form != form or len(waiting.seq_nums) + len(seq_nums) > MOST:
            self._look(descriptor)
            self._waiting[descriptor] = _Waiting(form, seq_nums, columns)
        else:
            waiting.seq_nums.extend(seq_nums)
            for held, values in zip(waiting.columns, columns, strict=True):
                held.extend(values)
        if apart:  # at once: if no column comes out, that has to be known while these events are at hand
            self._look(descriptor)

    def _look(self, descriptor: str) -> None:
        """Look at the events of a descriptor that wait for it."""
        if descriptor not in self._waiting:
            return
        (keys, _), seq_nums, columns = self._waiting.pop(descriptor)
        first = descriptor not in self._layout.observed
        known = self._layout.observed.setdefault(descriptor, {})
        part = self._measuring.part(descriptor, seq_nums)
        for key, values in zip(keys, columns, strict=True):
            seen = part.look_at(key, values)
            before = known.get(key)
            if before is not seen:
                known[key] = seen if first else (NULL if before is None else before) | seen
        for key in known.keys() - set(keys):
            known[key] |= NULL

    def _observe(self, page: EventPage, nulls: set[str]) -> None:
        if not len(page):
            return
        self._look(page.descriptor)
        first = page.descriptor not in self._layout.observed
        known = self._layout.observed.setdefault(page.descriptor, {})
        seen = {key: observe(col, nulls=key in nulls) for key, col in page.data.items()}
        add_observed(known, seen, first=first)
        self._measuring.add_page(page, seen)


def check_datums(name: str, doc: Document) -> None:
    """Raise `DamagedRun` for datums that cannot be read: they cost themselves, and not their resource."""
    for today, page in normalise(name, doc):
        datum_page(today, page)


def _kind(values: Sequence[Any]) -> str:
    """What values are that can wait together; empty where it may turn out that no column can be made of them."""
    types = set(map(type, values))
    return "numbers" if types <= NUMBERS else "text" if types == TEXT else ""


def _columns(docs: list[Document]) -> tuple[tuple[str, ...], list[int], list[list[Any]]] | None:
    """The keys, the seq_nums and the values of each key, where all events are of one plain form; else None."""
    rows = [doc["data"] for doc in docs]
    if set(map(type, rows)) != DICT or len(set(map(len, rows))) > 1 or not rows[0]:
        return None
    if not NO_MORE.issuperset([type(doc.get("filled")) for doc in docs]):
        return None
    seq_nums = [doc["seq_num"] for doc in docs]
    if set(map(type, seq_nums)) != INT or not (is_int64(min(seq_nums)) and is_int64(max(seq_nums))):
        return None
    if {type(doc["time"]) for doc in docs} != FLOAT:
        return None
    keys = tuple(rows[0])
    if set(map(type, keys)) != {str}:
        return None
    try:
        return keys, seq_nums, [list(map(itemgetter(key), rows)) for key in keys]
    except KeyError:
        return None
