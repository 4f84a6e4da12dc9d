"""One simulation as a run: its header, its values as arrays and events, and its documents."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from intake_bluesky.datasets.stored_datasets.describe import describe
from intake_bluesky.datasets.stored_datasets.documents import descriptors, event_pages, inline_bytes, row_blocks
from intake_bluesky.documents.columns import Array, Observed, column
from intake_bluesky.documents.model import Document, EventPage, Keys, RunHeader, StreamLayout
from intake_bluesky.errors import DamagedRun, IntakeBlueskyError, StreamNotFound

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["RunValues", "stop_of"]

TEXT: Final = "OT"
"""Kinds of the dtypes of text."""
AT_ONCE: Final = 2**20
"""Bytes of a stream that are read as quickly by one thread."""


def stop_of(start: Document) -> Document:
    """The stop document of a simulation, which says nothing that its output would have to be opened for."""
    return {
        "uid": f"{start['uid']}-stop", "run_start": start["uid"], "time": start["time"], "exit_status": "success",
        "reason": "",
    }  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class _StreamValues:
    """A descriptor, and the values of its events by key."""

    descriptor: Document
    columns: Mapping[str, Any]
    times: Array

    @property
    def blocks(self) -> list[tuple[int, int]]:
        return row_blocks(self.columns, len(self.times)) if len(self.times) else []

    def layout(self) -> StreamLayout:
        pages = tuple(end - begin for begin, end in self.blocks)
        observed = {key: _observed(column) for key, column in self.columns.items()} if len(self.times) else {}
        return StreamLayout(str(self.descriptor["name"]), (self.descriptor,), len(self.times), pages, observed)


def _observed(column: Any) -> Observed:
    shape = tuple(map(int, column.shape[1:]))
    kind = "empty" if 0 in shape else "text" if column.dtype.kind in TEXT + "U" else column.dtype.str
    return Observed(frozenset({kind}), shape)


class RunValues:
    """A simulation of a version of its output.

    Parameters
    ----------
    start : dict
    version : str
    datasets : mapping of stream to Dataset
        Of dask arrays.
    dimension : str, optional
        Of which each place is an event, in the Datasets that have it.

    Raises
    ------
    DamagedRun
        When documents have no form for a Dataset.
    """

    def __init__(
        self, start: Document, version: str, datasets: Mapping[str, xr.Dataset], dimension: str | None = None
    ) -> None:
        self.start, self.version = start, version
        self._streams: dict[str, _StreamValues] = {}
        for stream, dataset in datasets.items():
            self._add(stream, dataset, dimension if dimension in dataset.sizes else None)

    def _add(self, stream: str, dataset: xr.Dataset, dimension: str | None) -> None:
        start = self.start
        try:
            stored = describe(dataset, stream=stream, dimension=dimension, time=start["time"])
        except IntakeBlueskyError as error:
            raise DamagedRun(f"run {start['uid']}: stream {stream!r} cannot be given as documents: {error}") from error
        uid = f"{start['uid']}-{stream}"
        for doc in descriptors(stored, stream, run_start=start["uid"], uid=uid, time=start["time"]):
            own = doc["uid"] == uid
            if doc["name"] in self._streams:
                raise DamagedRun(f"run {start['uid']}: two groups would be its stream {doc['name']!r}: rename one")
            times = np.full(stored.events if own else 1, start["time"], np.float64)
            self._streams[doc["name"]] = _StreamValues(doc, stored.columns if own else stored.shared_columns, times)

    def header(self) -> RunHeader:
        """Describe the run."""
        layouts = {name: stream.layout() for name, stream in self._streams.items()}
        docs = tuple(stream.descriptor for stream in self._streams.values())
        return RunHeader(self.start, stop_of(self.start), docs, (), (), layouts, self.version)

    def _stream(self, name: str) -> _StreamValues:
        if name not in self._streams:
            there = ", ".join(map(repr, self._streams)) or "none"
            raise StreamNotFound(f"run {self.start['uid']} has no stream {name!r}; it has {there}")
        return self._streams[name]

    def arrays(self, stream: str) -> dict[str, Any]:
        """The numbers of a stream, as `RunStore.arrays` gives them; text is in its events alone."""
        return {key: own for key, own in self._stream(stream).columns.items() if own.dtype.kind not in TEXT + "U"}

    def event_pages(self, stream: str, data: Keys, timestamps: Keys, events: slice) -> Iterator[EventPage]:
        """The events of a stream, as `RunStore.event_pages` gives them."""
        import dask

        own = self._stream(stream)
        first, last, _ = events.indices(len(own.times))
        wanted = {key: values for key, values in own.columns.items() if key in data}
        # Threads take longer to begin than a few values to be read.
        how = {"scheduler": "sync"} if inline_bytes(wanted, len(own.times)) <= AT_ONCE else {}
        stamped = [key for key in own.columns if key in timestamps]
        for begin, end in own.blocks:
            begin, end = max(begin, first), min(end, last)
            if begin >= end:
                continue
            (block,) = dask.compute({key: values[begin:end] for key, values in wanted.items()}, **how)
            values = {key: _column(part) for key, part in block.items()}
            times = own.times[begin:end]
            numbers = np.arange(begin + 1, end + 1, dtype=np.int64)
            yield EventPage(own.descriptor["uid"], numbers, times, values, dict.fromkeys(stamped, times))

    def documents(self) -> Iterator[tuple[str, Document]]:
        """All documents of the run; values are computed some chunks at a time."""
        yield "start", self.start
        for stream in self._streams.values():
            yield "descriptor", stream.descriptor
        for stream in self._streams.values():
            for page in event_pages(stream.columns, stream.times, stream.descriptor["uid"]):
                yield "event_page", page
        yield "stop", stop_of(self.start)


def _column(values: Any) -> Any:
    array = np.asarray(values)
    return column(array.astype(object).tolist())[0] if array.dtype.kind in TEXT + "U" else array
