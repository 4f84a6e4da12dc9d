"""The documents of a run of Datasets, and the arrays of it that go into a file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import uuid4

import dask.array as da
import numpy as np
import xarray as xr

from intake_bluesky.datasets.stored_datasets.describe import StoredDataset, describe
from intake_bluesky.datasets.stored_datasets.documents import descriptors, event_pages, inline_bytes
from intake_bluesky.datasets.stored_datasets.dtypes import dtype_of
from intake_bluesky.datasets.stored_datasets.layout import EVENTS
from intake_bluesky.datasets.variables import variable_names
from intake_bluesky.documents.columns import Array
from intake_bluesky.documents.model import DEFAULT_STREAM, STREAM_EXTERNAL, Document
from intake_bluesky.errors import UnsupportedOperation
from intake_bluesky.transfer.written_runs.array_files import ArrayFile

__all__ = ["ComposedRun", "Part"]

LONG: Final = 2**17
"""Events from which on one number an event goes into the file, too; of fewer it is where readers expect it."""
NEAR: Final = 2**27
"""Bytes of a chunk of an array that is in memory already, about."""


@dataclass(slots=True, eq=False)
class Part:
    """One stream: its descriptor, and what its events have.

    Attributes
    ----------
    descriptor : dict
    times : numpy.ndarray, shape (events,)
    columns : dict of key to array
        What is in the events.
    arrays : dict of key to dask array
        What is in the file.
    """

    descriptor: Document
    times: Array
    columns: dict[str, Any]
    arrays: dict[str, da.Array] = field(default_factory=dict)

    def move_out(self) -> None:
        """Have the arrays in a file that are better there: those of numbers, more than one an event, or of many."""
        many = len(self.times) > LONG
        for key, column in list(self.columns.items()):
            if column.dtype.kind in "biuf" and column.size and (column.ndim > 1 or many):
                self.arrays[key] = _lazy(column)
                del self.columns[key]
                self.descriptor["data_keys"][key]["external"] = STREAM_EXTERNAL

    @property
    def has_events(self) -> bool:
        """Whether there are events: of many without values each, as a detector has frames, there are none."""
        return bool(self.columns) or len(self.times) <= LONG


def _lazy(column: Any) -> da.Array:
    if isinstance(column, da.Array):
        return column
    rows = max(NEAR // max(column[:1].nbytes, 1), 1)
    # Without a name that dask would make of all its bytes.
    lazy: da.Array = da.from_array(column, chunks=(rows, *column.shape[1:]), name=False)
    return lazy


class ComposedRun:
    """A run of Datasets.

    Parameters
    ----------
    start : dict
        The run start document.
    streams : mapping of name to Dataset
    dimension : str, optional
        As of `describe`, of every stream that has it.
    """

    def __init__(self, start: Document, streams: Mapping[str, xr.Dataset], dimension: str | None) -> None:
        self.start = start
        self.parts: dict[str, Part] = {}
        self._names = variable_names(streams, reserved=())
        for name, dataset in streams.items():
            along = dimension if dimension in dataset.sizes else None
            stored = describe(dataset, stream=name, dimension=along, time=float(start["time"]))
            if stored.shared_keys and stored.shared in streams:
                raise UnsupportedOperation(
                    f"stream {name!r} has large arrays without its dimension {stored.layout.dimension!r}, which are "
                    f"kept in a stream {stored.shared!r}, and there is one of that name: rename it"
                )
            self._add(name, stored)
            if name == DEFAULT_STREAM:
                _add_hints(start, stored)

    def _add(self, name: str, stored: StoredDataset) -> None:
        made = descriptors(stored, name, run_start=self.start["uid"], uid=str(uuid4()), time=float(self.start["time"]))
        self.parts[name] = Part(made[-1], stored.times, dict(stored.columns))
        if stored.shared_keys:
            once = np.full(1, self.start["time"], np.float64)
            self.parts[stored.shared] = Part(made[0], once, dict(stored.shared_columns))

    @property
    def inline_bytes(self) -> int:
        """Bytes of all values that are in events, about."""
        return sum(inline_bytes(part.columns, len(part.times)) for part in self.parts.values())

    def move_out(self) -> None:
        """Have the arrays in a file that are better there."""
        for part in self.parts.values():
            part.move_out()

    @property
    def arrays(self) -> dict[str, da.Array]:
        """The arrays of the file, by their paths in it."""
        return {self._path(name, key): array for name, part in self.parts.items() for key, array in part.arrays.items()}

    def _path(self, stream: str, key: str) -> str:
        return f"{variable_names(self.parts, reserved=())[stream]}/{key}"

    def documents(self, file: ArrayFile | None, uri: str, *, stopped: float) -> Iterator[tuple[str, Document]]:
        """Yield (name, document) of the run; the values of events are computed meanwhile.

        Parameters
        ----------
        file : ArrayFile or None
        uri : str
            Of the file.
        stopped : float
            Time of the stop, seconds since the epoch.
        """
        yield "start", self.start
        for part in self.parts.values():
            yield "descriptor", part.descriptor
        datums = []
        for name, part in self.parts.items():
            if file is None:
                break
            for key, array in part.arrays.items():
                resource = str(uuid4())
                yield (
                    "stream_resource",
                    {
                        "uid": resource,
                        "run_start": self.start["uid"],
                        "data_key": key,
                        "mimetype": file.mimetype,
                        "uri": uri,
                        "parameters": file.parameters(self._path(name, key), array),
                    },
                )
                datums.append(_datum(resource, part))
        for part in self.parts.values():
            if part.has_events:
                for page in event_pages(part.columns, part.times, part.descriptor["uid"]):
                    yield "event_page", page
        for datum in datums:
            yield "stream_datum", datum
        yield "stop", self._stop(stopped)

    def _stop(self, time: float) -> Document:
        return {
            "uid": str(uuid4()),
            "time": max(time, float(self.start["time"])),
            "run_start": self.start["uid"],
            "exit_status": "success",
            "reason": "",
            "num_events": {name: len(part.times) for name, part in self.parts.items()},
        }


def _datum(resource: str, part: Part) -> Document:
    events = len(part.times)
    return {
        "uid": f"{resource}/0",
        "stream_resource": resource,
        "descriptor": part.descriptor["uid"],
        "seq_nums": {"start": 1, "stop": events + 1},
        "indices": {"start": 0, "stop": events},
    }


def _add_hints(start: Document, stored: StoredDataset) -> None:
    """Say, as plans do, along what was measured: events are then drawn against it."""
    along = stored.layout.dimension
    axes = [
        own.key
        for own in stored.layout.variables
        if own.name == along and own.place == EVENTS and own.name != "time" and dtype_of(own.dtype).kind in "iuf"
    ]
    if axes:
        start.setdefault("hints", {"dimensions": [[axes, DEFAULT_STREAM]]})
