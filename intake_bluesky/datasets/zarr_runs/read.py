"""Reading a run that `write_run` wrote: its documents' heads, and the values of its streams as lazy arrays."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, cast

import zarr

from intake_bluesky.cached import cached_property
from intake_bluesky.datasets.stored_arrays import read_together
from intake_bluesky.datasets.zarr_runs.objects import RunObjects
from intake_bluesky.datasets.zarr_runs.places import RunPlace
from intake_bluesky.datasets.zarr_runs.write import FORMAT, VERSION
from intake_bluesky.documents.model import Document, EventPage
from intake_bluesky.errors import DamagedRun, RunNotFound
from intake_bluesky.runtime.secrets import shown

__all__ = ["ZarrRun"]


class ZarrRun:
    """A run that was written as a Zarr hierarchy. Its metadata is read once, with one request; arrays are lazy.

    Parameters
    ----------
    url : str
        A path or a URL of fsspec: of the folder, or of the zip file.
    storage_options : mapping, optional
        Of fsspec.

    Raises
    ------
    RunNotFound
        On the first use, when there is no hierarchy.
    DamagedRun
        When it is of another format, or of a version that is not known here.

    Examples
    --------
    >>> from intake_bluesky import BlueskyCatalog
    >>> from intake_bluesky.testing import EXAMPLES, MemoryStore
    >>> url = BlueskyCatalog(MemoryStore([EXAMPLES["count"](None)]))[-1].to_zarr("memory://count.zarr")
    >>> run = ZarrRun(url)
    >>> run.start["plan_name"], run.arrays("primary")["det"][:]
    ('count', array([0.5, 1.5, 2.5]))
    """

    def __init__(self, url: str, storage_options: Mapping[str, Any] | None = None) -> None:
        self.place = RunPlace(url, storage_options or {})
        self._groups: dict[str, dict[str, zarr.Array[Any]]] = {}

    def __repr__(self) -> str:
        return f"ZarrRun({shown(self.place.url)!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.place.url, self.place.storage_options)

    @cached_property
    def root(self) -> zarr.Group:
        """The root of the hierarchy."""
        try:
            found = zarr.open_group(RunObjects(self.place), mode="r", zarr_format=3)
        except FileNotFoundError as error:
            raise RunNotFound(f"there is no run at {shown(self.place.url)}") from error
        told = found.attrs.get("format"), found.attrs.get("format_version")
        if told != (FORMAT, VERSION):
            raise DamagedRun(
                f"{shown(self.place.url)} says that it is of the format {told[0]!r}, version {told[1]!r}: this release "
                f"reads {FORMAT!r}, version {VERSION}. xarray may open it: xarray.open_datatree(url, engine='zarr')"
            )
        return found

    def _told(self, name: str) -> Any:
        return json.loads(cast("str", self.root.attrs[name]))

    @property
    def start(self) -> Document:
        """The run start document."""
        return cast("Document", self._told("start"))

    @property
    def stop(self) -> Document | None:
        """The run stop document; None where the run was written while it went on."""
        return cast("Document | None", self._told("stop"))

    @property
    def descriptors(self) -> list[Document]:
        """The event descriptors of all streams."""
        return cast("list[Document]", self._told("descriptors"))

    @cached_property
    def _streams(self) -> dict[str, Any]:
        return cast("dict[str, Any]", self._told("streams"))

    def _arrays(self, stream: str, names: Mapping[str, str]) -> dict[str, zarr.Array[Any]]:
        """Some arrays of a stream: each by another name than its own."""
        path = self._streams[stream]["group"]
        if path not in self._groups:
            group = self.root.get(path)
            self._groups[path] = dict(group.arrays()) if isinstance(group, zarr.Group) else {}
        there = self._groups[path]
        if lost := [name for name in names.values() if name not in there]:
            raise DamagedRun(f"{shown(self.place.url)} has no array {path}/{lost[0]}, which its attributes name")
        return {key: there[name] for key, name in names.items()}

    def arrays(self, stream: str) -> dict[str, zarr.Array[Any]] | None:
        """The values of a stream, as `RunStore.arrays` gives them.

        Returns
        -------
        dict of data key to zarr.Array, or None
            Those of keys whose arrays hold exactly what the stored events do, or the files that these refer to. None
            where the rows of the arrays are not the stored events, as after a rewind.
        """
        told = self._streams.get(stream)
        if told is None or told["descriptors"] is None:
            return None
        return self._arrays(stream, told["arrays"])

    def index(self, stream: str, events: slice = slice(None)) -> Iterator[EventPage] | None:
        """The stored events of a stream without their values, as `RunStore.event_pages` gives them.

        None where `arrays` gives None. A page for each descriptor; seq_num and time are read together.
        """
        told = self._streams.get(stream)
        if told is None or told["descriptors"] is None:
            return None
        return self._pages(stream, told["descriptors"], events)

    def _pages(self, stream: str, descriptors: list[tuple[str, int]], events: slice) -> Iterator[EventPage]:
        start, stop, _ = events.indices(self._streams[stream]["events"])
        if start >= stop:
            return
        index = self._arrays(stream, {"seq_num": "seq_num", "time": "time"})
        found = read_together(index, slice(start, stop))
        first = 0
        for uid, count in descriptors:
            part = slice(max(first - start, 0), max(min(first + count, stop) - start, 0))
            if part.stop > part.start:
                yield EventPage(uid, found["seq_num"][part], found["time"][part])
            first += count
