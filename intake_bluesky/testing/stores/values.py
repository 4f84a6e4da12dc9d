"""The values of events: exactly those of the documents, in order, whichever part is read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from intake_bluesky.documents.columns import conform
from intake_bluesky.documents.model import ALL_KEYS, Document, EventPage
from intake_bluesky.testing.differences import first_difference
from intake_bluesky.testing.examples import Run
from intake_bluesky.testing.expected import cells, same_value, stored_events
from intake_bluesky.testing.stores.hooks import S, StoreHooks, of_each_example
from intake_bluesky.testing.stores.reading import uid_of

__all__ = ["StoreValueTests"]


def _check(pages: Sequence[EventPage], events: Sequence[Document], part: str, keys: frozenset[str]) -> None:
    rows = cells(pages, part)
    assert len(rows) == len(events)
    for place, (row, event) in enumerate(zip(rows, events, strict=True)):
        assert row.keys() <= keys, f"{part} of event {place}: keys nobody asked for or the page cannot have"
        for key in keys:
            observed, expected = row.get(key), event[part].get(key)
            assert same_value(observed, expected), (
                f"{part} of stored event {place}: {_difference(key, observed, expected)}"
            )


def _difference(key: str, observed: Any, expected: Any) -> str | None:
    return first_difference({key: observed}, {key: expected}, same=same_value)


def _slices(events: int) -> list[slice]:
    # Slices that are empty, end within a page, or go past the end.
    edges = sorted({0, 1, 2, events // 2, events - 1, events, events + 3} & set(range(events + 4)))
    spans = [slice(a, b) for a in edges for b in edges if a <= b]
    return [slice(None), slice(1, None), slice(None, 2), slice(-2, None), slice(None, -1), *spans]


class StoreValueTests(StoreHooks[S]):
    """`event_pages` against the documents inserted, worked out in plain Python."""

    @of_each_example
    def test_seq_num_and_time(self, stored: S, example: Run) -> None:
        for stream, events in stored_events(example).items():
            pages = list(stored.event_pages(uid_of(example), stream, data=()))
            for page in pages:
                assert page.seq_num.dtype == np.dtype(np.int64)
                assert page.time.dtype == np.dtype(np.float64)
                assert page.data == page.timestamps == {}, "() asks for no keys"
            assert [n for page in pages for n in page.seq_num.tolist()] == [e["seq_num"] for e in events]
            assert [t for page in pages for t in page.time.tolist()] == [e["time"] for e in events]
            descriptors = [page.descriptor for page in pages for _ in range(len(page))]
            assert descriptors == [e["descriptor"] for e in events]

    @of_each_example
    def test_timestamps(self, stored: S, example: Run) -> None:
        for stream, events in stored_events(example).items():
            pages = list(stored.event_pages(uid_of(example), stream, data=(), timestamps=ALL_KEYS))
            keys = frozenset(key for event in events for key in event["timestamps"])
            _check(pages, events, "timestamps", keys)
            assert all(page.data == {} for page in pages), "data come only when asked for"

    @of_each_example
    def test_filled(self, stored: S, example: Run) -> None:
        for stream, events in stored_events(example).items():
            pages = list(stored.event_pages(uid_of(example), stream))
            observed = [
                {key: column[row] for key, column in page.filled.items() if column[row] is not None}
                for page in pages
                for row in range(len(page))
            ]
            expected = [{k: v for k, v in event["filled"].items() if v is not None} for event in events]
            assert observed == expected

    @of_each_example
    def test_each_key_alone(self, stored: S, example: Run) -> None:
        for stream, events in stored_events(example).items():
            for key in sorted({key for event in events for key in event["data"]}):
                wanted = frozenset({key})
                pages = list(stored.event_pages(uid_of(example), stream, data=wanted, timestamps=wanted))
                _check(pages, events, "data", wanted)
                _check(pages, events, "timestamps", wanted)

    @of_each_example
    def test_unknown_keys_are_passed_over(self, stored: S, example: Run) -> None:
        for stream, events in stored_events(example).items():
            pages = list(stored.event_pages(uid_of(example), stream, data={"no such key"}))
            assert sum(map(len, pages)) == len(events)
            assert all(page.data == {} for page in pages)

    @of_each_example
    def test_data(self, stored: S, example: Run) -> None:
        for stream, events in stored_events(example).items():
            keys = frozenset(key for event in events for key in event["data"])
            for part in _slices(len(events)):
                pages = list(stored.event_pages(uid_of(example), stream, events=part))
                assert all(page.timestamps == {} for page in pages), "timestamps come only when asked for"
                observed = [n for page in pages for n in page.seq_num.tolist()]
                assert observed == [e["seq_num"] for e in events[part]], f"events={part} of {stream}"
                _check(pages, events[part], "data", keys)

    @of_each_example
    def test_observed_declares_what_is_read(self, stored: S, example: Run) -> None:
        for stream, layout in stored.header(uid_of(example)).streams.items():
            events = stored_events(example)[stream]
            if layout.observed is None:
                continue
            keys = {key for event in events for key in event["data"]}
            assert set(layout.observed) == keys, "each key that some event has, and no other"
            for page in stored.event_pages(uid_of(example), stream):
                for key, column in page.data.items():
                    seen = layout.observed[key]
                    values = conform(column, seen.dtype, seen.shape)
                    assert values.dtype == seen.dtype
                    assert values.shape == (len(page), *seen.shape)

    @of_each_example
    def test_observed_loses_no_value(self, stored: S, example: Run) -> None:
        for stream, layout in stored.header(uid_of(example)).streams.items():
            events = stored_events(example)[stream]
            columns: dict[str, list[Any]] = {key: [] for key in layout.observed or ()}
            for page in stored.event_pages(uid_of(example), stream):
                for key, values in columns.items():
                    seen = (layout.observed or {})[key]
                    known = page.data.get(key)
                    rows = [None] * len(page) if known is None else conform(known, seen.dtype, seen.shape).tolist()
                    values += rows
            for key, values in columns.items():
                for place, (observed, event) in enumerate(zip(values, events, strict=True)):
                    expected = event["data"].get(key)
                    cut = _trimmed(observed, expected)
                    message = f"data of stored event {place}: {_difference(key, cut, expected)}"
                    assert same_value(cut, expected), message


def _trimmed(observed: Any, expected: Any) -> Any:
    """Cut the padding of a ragged value off; what is cut has to be missing."""
    if isinstance(observed, np.ndarray):
        observed = observed.tolist()
    if not isinstance(observed, list) or not isinstance(expected, list):
        return observed
    padding = observed[len(expected) :]
    assert all(same_value(value, None) for value in padding), f"padded with {padding!r}"
    return [_trimmed(o, e) for o, e in zip(observed, expected, strict=False)]
