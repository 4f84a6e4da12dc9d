"""A store of runs in one folder of a bucket: their documents, and beside those of many their arrays."""

from __future__ import annotations

import logging
import os
import shutil
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, Literal, TypeAlias, get_args

from intake_bluesky.assets import AssetOptions
from intake_bluesky.catalogs.run import BlueskyRun
from intake_bluesky.catalogs.run_export import write_arrays_first
from intake_bluesky.datasets.variables import storable
from intake_bluesky.datasets.zarr_runs.read import ZarrRun
from intake_bluesky.datasets.zarr_runs.targets import METADATA
from intake_bluesky.documents.exact_json import json_text
from intake_bluesky.documents.model import ALL_KEYS, Document, EventPage, Keys, RunHeader
from intake_bluesky.errors import DamagedRun, DuplicateRun, IntakeBlueskyError, RunNotFound, StoreUnavailable
from intake_bluesky.files.bucket.run_writer import BucketInsert
from intake_bluesky.files.bucket.store import BucketStore
from intake_bluesky.files.codec import Codec
from intake_bluesky.files.content.file_location import shown
from intake_bluesky.files.content.listing import REMOVED
from intake_bluesky.files.content.source import size_of, version_of
from intake_bluesky.index.index import IndexEntry
from intake_bluesky.storage.array_place import ArrayPlace, KeptArrays
from intake_bluesky.storage.contract import RunInsert
from intake_bluesky.storage.header_cache import HeaderCache
from intake_bluesky.storage.wrapper import WrapperStore

__all__ = ["LARGE", "Arrays", "ZarrStore"]

Arrays: TypeAlias = Literal["auto", "always", "never"]
LOG: Final = logging.getLogger(__name__)
LARGE: Final = 256 * 1024
"""Bytes of a run's object, compressed, up to which its documents alone are read as quickly."""
EXTERNAL: Final = frozenset({"resource", "stream_resource"})
QUIET: Final = 10.0
"""Seconds in which a folder that is being written gets another object: each is one shard, of 40 MiB at most."""
EMBEDDED: Final = ""
"""Version of documents that were not there yet when their arrays were written: start and stop tell them alone."""
ENDINGS: Final = (".zarr.zip", ".zarr")
"""Of a hierarchy in one file, and of one in a folder."""


class ZarrStore(BucketStore):
    """Runs in a folder of an object store or of this machine, each with its arrays beside its documents.

    Parameters
    ----------
    arrays : {"auto", "always", "never"}
        Which runs get a Zarr hierarchy when they stop: of ``"auto"`` those with arrays in files of detectors, and those
        whose documents take more than 256 KiB, compressed.
    urlpath, codec, **options
        As of `BucketStore`.

    Attributes
    ----------
    assets : callable
        Gives the `AssetOptions` by which files of detectors are found when a hierarchy is written.

    Notes
    -----
    The hierarchy of the run ``<uid>.jsonl.zst`` is ``<uid>.zarr.zip`` or ``<uid>.zarr``, and
    docs/reference/zarr-format.md specifies it. It is used if it was made of just these documents, which
    answer the rest.
    """

    def __init__(
        self, urlpath: str | os.PathLike[str], codec: Codec, *, arrays: Arrays = "auto", **options: Any
    ) -> None:
        if arrays not in get_args(Arrays):
            raise ValueError(f"arrays is one of {', '.join(map(repr, get_args(Arrays)))}, not {arrays!r}")
        self._written = arrays
        self.assets: Callable[[], AssetOptions] = AssetOptions
        self._embedded: set[str] = set()  # runs whose arrays were written before their documents
        self._hierarchies = HeaderCache[tuple[ZarrRun | None]]()
        super().__init__(urlpath, codec, **options)

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "arrays": self._written}

    # Reading

    def arrays(self, uid: str, stream: str) -> Mapping[str, Any] | None:
        """Give the values of a stream as arrays, where the run has a hierarchy that holds them as its events do."""
        run = self._hierarchy(uid)
        return None if run is None else run.arrays(stream)

    def event_pages(
        self, uid: str, stream: str, *, data: Keys = ALL_KEYS, timestamps: Keys = (), events: slice = slice(None)
    ) -> Iterator[EventPage]:
        """Yield the stored events of a stream: from the hierarchy, where none of their values are asked for."""
        if not data and not timestamps and (run := self._hierarchy(uid)) is not None:
            index = run.index(stream, events)
            if index is not None:
                return index
        return super().event_pages(uid, stream, data=data, timestamps=timestamps, events=events)

    def _hierarchy(self, uid: str) -> ZarrRun | None:
        """The hierarchy of a run that has ended; looked for once for each version of the run."""
        entry = self.files.ask(lambda index: index.entry(uid))
        if entry is None or entry.start is None or entry.stop is None or not _has_name(entry):
            return None
        version = version_of(entry.stamp)
        known = self._hierarchies.get(uid, version)
        if known is None:
            ends = [json_text(self.codec.decode(raw)[1]) for raw in (entry.start, entry.stop)]
            known = (self._matching(uid, ends, version),)
            self._hierarchies.put(uid, known, version)
        return known[0]

    def _matching(self, uid: str, ends: Sequence[str], version: str) -> ZarrRun | None:
        """The hierarchy that was made of the documents of a run in some version, which start and stop do not tell."""
        for url in self._places(uid):
            run = ZarrRun(url, self._options)
            try:
                attrs = run.root.attrs
            except RunNotFound:
                continue
            except DamagedRun as error:
                warnings.warn(f"run {uid} is read from its documents alone: {error}", stacklevel=2)
                continue
            made_of = str(attrs.get("documents"))
            fits = made_of == EMBEDDED or self._known(made_of) == self._known(version)
            if fits and [attrs.get("start"), attrs.get("stop")] == ends:
                return run
            warnings.warn(
                f"run {uid} is read from its documents alone: {shown(url)} was made of others. Remove it, or write it "
                "again by run.to_zarr",
                stacklevel=2,
            )
        return None

    def _known(self, version: str) -> str:
        """A version without what a copy of a folder of this machine has not: the number of the file on its disk."""
        return version.rpartition("-")[0] if self.files.location.is_local else version

    def _places(self, uid: str) -> list[str]:
        return [f"{self.urlpath}/{storable(uid)}{ending}" for ending in ENDINGS]

    # Writing

    def insert(self, start: Document) -> RunInsert:
        """Begin a run with its start document; with its stop its arrays are written, too.

        Raises
        ------
        DuplicateRun, UntrustedName, StoreUnavailable
            As of `BucketStore`.
        """
        path = self._path_for(start)
        return _Insert(self._write_arrays, self.files, path, start, self._compression, self._buffering)

    def insert_runs(self, runs: Iterable[Iterable[tuple[str, Document]]]) -> Iterator[IntakeBlueskyError | None]:
        """Insert whole runs, many at a time, and write the arrays of each when it is there."""
        seen = deque[_Seen]()

        def noted() -> Iterator[Iterator[tuple[str, Document]]]:
            for documents in runs:
                seen.append(_Seen())
                yield seen[-1].passed(documents)

        for error in super().insert_runs(noted()):
            run = seen.popleft()
            if error is None and run.stopped:
                self._write_arrays(run.uid, run.external)
            yield error

    def _write_arrays(self, uid: str, external: bool) -> None:
        """Write the hierarchy of a run, if it is to have one; the run is there whether that succeeds or not."""
        if self._written == "never" or uid in self._embedded:
            return
        try:
            entry = self.files.ask(lambda index: index.entry(uid))
            large = entry is not None and size_of(entry.stamp) > LARGE
            if self._written == "always" or external or large:
                documents = _Documents(self)
                run = BlueskyRun(documents, documents.header(uid), assets=self.assets())
                run.to_zarr(f"{self.urlpath}/", overwrite=True, storage_options=self._options)
                self._hierarchies.drop(uid)
        except Exception as error:  # noqa: BLE001  # readers of files raise any type, and the RunEngine is to go on
            LOG.warning(
                "run %s is in the store, without arrays beside its documents: %s: %s",
                uid, type(error).__name__, shown(str(error)),
            )  # fmt: skip

    @property
    def array_place(self) -> ArrayPlace:
        """The hierarchies beside the documents."""
        return _Hierarchies(self)

    # Removing

    def remove(self, uid: str, *, permanent: bool = False) -> None:
        """Move a run, its documents and arrays, into the folder ``.removed``, or delete it.

        Raises
        ------
        RunNotFound
        StoreUnavailable
            When the bucket cannot be written.
        """
        super().remove(uid, permanent=permanent)
        self._remove_arrays(uid, permanent=permanent)

    def _remove_arrays(self, uid: str, *, permanent: bool) -> None:
        self._embedded.discard(uid)
        self._hierarchies.drop(uid)
        try:
            for url in self._places(uid):
                if self.files.location.is_local:
                    _remove_local(url, permanent=permanent)
                else:
                    self._remove_objects(url, permanent=permanent)
        except OSError as error:
            raise StoreUnavailable(
                f"run {uid} was removed, and its arrays beside it cannot be: {shown(str(error))}"
            ) from error

    def _remove_objects(self, url: str, *, permanent: bool) -> None:
        location = self.files.location
        objects, name = location.objects, location.objects.name_of(url)
        try:
            found = [objects.head(name)] if url.endswith(".zip") else list(objects.list(name, "**"))
        except FileNotFoundError:
            return
        names = [info.name for info in found]
        if not permanent:
            for one in names:
                objects.put(
                    location.below(REMOVED, one.removeprefix(location.below("")).lstrip("/")), objects.get(one)[0]
                )
        names.sort(key=f"{name}/{METADATA}".__ne__)  # the root first: without it the rest is no hierarchy
        objects.delete(names[:1])
        objects.delete(names[1:])


class _Hierarchies(ArrayPlace):
    """Those of the runs in a store, which are written for copies of runs."""

    def __init__(self, store: ZarrStore) -> None:
        self._store = store

    def find(self, header: RunHeader) -> KeptArrays | None:
        for url in self._store._places(header.uid):
            run = ZarrRun(url, self._store._options)
            try:
                attrs = run.root.attrs
            except (RunNotFound, DamagedRun):
                continue
            if (attrs.get("start"), attrs.get("stop")) == (json_text(header.start), json_text(header.stop)):
                return {stream: run.arrays(stream) or {} for stream in header.streams}
        return None

    def write(self, run: BlueskyRun) -> None:
        if begun := self._begun(run.uid):
            time.sleep(QUIET)
            if self._begun(run.uid) != begun:
                raise DuplicateRun(f"another program is writing the arrays of run {run.uid}: copy again once it has")
            self.remove(run.uid)
        write_arrays_first(run, f"{self._store.urlpath}/", EMBEDDED, self._store._options)
        self._store._hierarchies.drop(run.uid)
        self._store._embedded.add(run.uid)

    def remove(self, uid: str) -> None:
        self._store._remove_arrays(uid, permanent=True)

    def _begun(self, uid: str) -> list[tuple[str, int]]:
        """The objects, and sizes, of a folder without its root, which is written last."""
        objects, url = self._store.files.location.objects, self._store._places(uid)[-1]
        try:
            found = [(info.name, info.size) for info in objects.list(objects.name_of(url), "**")]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise StoreUnavailable(f"{shown(url)} cannot be listed: {shown(str(error))}") from error
        return [] if any(name.endswith(f"{ENDINGS[-1]}/{METADATA}") for name, _ in found) else found


class _Documents(WrapperStore):
    """The runs as their documents have them."""

    inner: ZarrStore

    def arrays(self, uid: str, stream: str) -> None:
        return None

    def event_pages(self, uid: str, stream: str, **options: Any) -> Iterator[EventPage]:
        return BucketStore.event_pages(self.inner, uid, stream, **options)


class _Seen:
    """What is remembered of the documents of a run that pass by."""

    def __init__(self) -> None:
        self.uid, self.external, self.stopped = "", False, False

    def passed(self, documents: Iterable[tuple[str, Document]]) -> Iterator[tuple[str, Document]]:
        for name, doc in documents:
            if name == "start":
                self.uid = str(doc.get("uid"))
            self.external = self.external or name in EXTERNAL
            self.stopped = name == "stop"
            yield name, doc


class _Insert(BucketInsert):
    """A run being written, whose arrays follow when it has stopped."""

    def __init__(self, then: Callable[[str, bool], None], *arguments: Any) -> None:
        self._then, self._external = then, False
        super().__init__(*arguments)

    def _take(self, name: str, doc: Document) -> None:
        super()._take(name, doc)
        self._external = self._external or name in EXTERNAL

    def _finish(self) -> None:
        super()._finish()
        self._then(self.uid, self._external)


def _has_name(entry: IndexEntry) -> bool:
    """Whether a hierarchy can be named after this run: whoever can write the bucket wrote its uid."""
    return entry.path.rpartition("/")[2].startswith(f"{storable(str(entry.uid))}.")


def _remove_local(path: str, *, permanent: bool) -> None:
    folder, name = os.path.split(path)
    removed = os.path.join(folder, REMOVED, name)
    if not os.path.exists(path):
        return
    if not permanent:
        if os.path.isdir(removed):
            shutil.rmtree(removed)
        os.makedirs(os.path.dirname(removed), exist_ok=True)
        os.replace(path, removed)
    elif os.path.isdir(path):
        shutil.rmtree(path)
    else:
        os.remove(path)
