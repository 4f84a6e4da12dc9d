"""Statistics of a whole run, for a store to record: what one pass over its events gives."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from intake_bluesky.documents.model import ALL_KEYS, EventPage, Keys, RunHeader, RunSummary, is_external
from intake_bluesky.documents.statistics import Statistics
from intake_bluesky.errors import AssetUnavailable, DamagedRun
from intake_bluesky.search.run_view import StoredRun
from intake_bluesky.storage.contract import RunStore
from intake_bluesky.storage.wrapper import WrapperStore

__all__ = ["Measured", "Unmeasured", "measured"]

Measured = dict[tuple[str, str], Statistics | None]
"""By stream and key; None where they are not known, as of files."""

HELD: Final = 16  # pages of a stream that are read once, for all keys


def measured(store: RunStore, header: RunHeader) -> tuple[Measured, int]:
    """Compute the statistics of all values in the events of a run.

    Returns
    -------
    found : dict of (stream, key) to Statistics or None
        None where values are in files, or cannot be read.
    read : int
        About how many bytes that read.

    Examples
    --------
    >>> from intake_bluesky.testing.memory import MemoryStore
    >>> from intake_bluesky.testing.runs import EXAMPLES
    >>> store = MemoryStore([EXAMPLES["scan"](None)])
    >>> found, _ = measured(store, store.header(next(store.find()).uid))
    >>> found["primary", "theta"].max
    2.5
    """
    reader = Unmeasured(store, header)
    run = StoredRun(reader, RunSummary.of(header.start, header.stop))
    found: Measured = {}
    for layout in header.streams.values():
        for key in layout.data_keys:
            try:
                files = run.may_be_files(layout.name, key)
                found[layout.name, key] = None if files else run.statistics(layout.name, key)
            except (AssetUnavailable, DamagedRun):
                found[layout.name, key] = None
    return found, reader.read


class Unmeasured(WrapperStore):
    """One run of a store as if no statistics were kept; its pages may have more keys than asked for.

    Attributes
    ----------
    read : int
        About how many bytes were read so far.
    """

    def __init__(self, inner: RunStore, header: RunHeader) -> None:
        super().__init__(inner)
        self._header, self.read = header, 1
        self._held: tuple[str, list[EventPage] | None] = "", None

    @property
    def statistics(self) -> None:
        """None: they are being computed."""
        return None

    def header(self, uid: str) -> RunHeader:
        """The header of the one run."""
        return self._header

    def event_pages(
        self,
        uid: str,
        stream: str,
        *,
        data: Keys = ALL_KEYS,
        timestamps: Keys = (),
        events: slice = slice(None),
    ) -> Iterator[EventPage]:
        """Yield the events of all keys, read once for all that ask."""
        # One stream is enough: `measured` asks for all keys of one before it goes on to the next.
        if self._held[0] != stream:
            self._held = stream, self._all(stream, events)
        return iter(self._pages(stream, data, events) if self._held[1] is None else self._held[1])

    def _all(self, stream: str, events: slice) -> list[EventPage] | None:
        """The pages with all keys, unless they are many or one of the keys cannot be read."""
        layout = self._header.streams[stream]
        if len(layout.pages) > HELD:
            return None
        inner = frozenset(key for key, spec in layout.data_keys.items() if not is_external(spec))
        try:
            return list(self._pages(stream, inner, events))
        except (AssetUnavailable, DamagedRun):
            return None  # key by key, then, so that one that cannot be read costs only itself

    def _pages(self, stream: str, data: Keys, events: slice) -> Iterator[EventPage]:
        for page in self.inner.event_pages(self._header.uid, stream, data=data, events=events):
            # Eight bytes a value; seq_num and time are two more columns.
            self.read += 8 * len(page) * (2 + len(page.data))
            yield page
