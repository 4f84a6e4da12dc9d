"""A store of runs in one folder of a bucket, with its index beside them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Executor
from contextlib import suppress
from itertools import count
from typing import Any, Literal

from intake_bluesky.documents.model import Document
from intake_bluesky.errors import IntakeBlueskyError, RunNotFound, StoreUnavailable
from intake_bluesky.files.bucket.bucket_files import BucketFiles
from intake_bluesky.files.bucket.location import without_slash
from intake_bluesky.files.bucket.run_writer import BucketInsert, duplicate
from intake_bluesky.files.bucket.segments import REMOVED
from intake_bluesky.files.bucket.whole_runs import insert_whole_runs
from intake_bluesky.files.codec import Codec
from intake_bluesky.files.content.decompress import COMPRESSIONS
from intake_bluesky.files.content.file_location import shown
from intake_bluesky.files.content.listing import REMOVED as REMOVED_FOLDER
from intake_bluesky.files.content.source import remote_stamp, version_of
from intake_bluesky.files.index_segments import SegmentRow
from intake_bluesky.files.run_writer import check_uid
from intake_bluesky.files.store import FileStore
from intake_bluesky.storage.buffered_insert import Buffering
from intake_bluesky.storage.contract import Problem, RunInsert

__all__ = ["BucketStore"]


class BucketStore(FileStore):
    """Runs in a folder of an object store, or of this machine, read and written by many without a server.

    Parameters
    ----------
    urlpath : str or Path
        ``s3://bucket/prefix``, ``gs://``, ``az://``, any folder of fsspec, or a local one.
    codec : Codec
        The format of the runs' documents.
    storage_options : mapping, optional
        As of s3fs, gcsfs, adlfs, or another filesystem of fsspec.
    compression : {"zst", "gz", None}
        Of new runs.
    flush_seconds : float
        How long documents of a run being written may wait: what a crash can lose.

    Notes
    -----
    A run is the object ``<uid>.jsonl.zst``. Runs are found by the index in the folder ``_index``, which writers keep
    and `intake_bluesky.files.bucket.segments` describes; what somebody else puts into the folder is found by `scan`,
    which the command ``intake-bluesky index`` calls, and by ``refresh(deep=True)``.
    """

    files: BucketFiles

    def __init__(
        self,
        urlpath: str | os.PathLike[str],
        codec: Codec,
        *,
        storage_options: Mapping[str, Any] | None = None,
        compression: Literal["gz", "zst"] | None = "zst",
        flush_seconds: float = 1.0,
    ) -> None:
        if compression is not None and compression not in COMPRESSIONS:
            raise ValueError(f"compression is None, 'gz' or 'zst', not {compression!r}")
        self.codec = codec
        self.urlpath = without_slash(urlpath)
        self._compression, self._buffering = compression, Buffering(flush_seconds=flush_seconds)
        super().__init__([self.urlpath], storage_options=storage_options)

    def _made_files(self) -> BucketFiles:
        return BucketFiles(self.codec, self.urlpath, self._options)

    def __getstate__(self) -> dict[str, Any]:
        return {
            "urlpath": self.urlpath,
            "codec": self.codec,
            "storage_options": self._options,
            "compression": self._compression,
            "flush_seconds": self._buffering.flush_seconds,
        }

    @property
    def ttl(self) -> float:
        """Ten seconds; of a folder on this machine, one."""
        return 1.0 if self.files.location.is_local else 10.0

    @property
    def trusts_paths(self) -> bool:
        """Whether the folder is on this machine."""
        return self.files.location.is_local

    @property
    def folder(self) -> str | None:
        """The folder."""
        return self.urlpath

    def scan(self, executor: Executor | None = None) -> None:
        """Make the index of the bucket anew from the objects that are there; scan those that no scan has seen."""
        self.files.refresh(unscanned=True, executor=executor)

    def problems(self) -> list[Problem]:
        """What could not be read so far."""
        return self.files.problems()

    def check_writable(self) -> None:
        """Nothing is asked of a bucket: the first object of a run tells."""

    def insert(self, start: Document) -> RunInsert:
        """Begin a run with its start document, which is put at once.

        Raises
        ------
        DuplicateRun
            When a run of this uid is in the bucket.
        UntrustedName
            When the uid cannot be the name of an object.
        StoreUnavailable
            When the bucket cannot be written.
        """
        return BucketInsert(self.files, self._path_for(start), start, self._compression, self._buffering)

    def insert_runs(self, runs: Iterable[Iterable[tuple[str, Document]]]) -> Iterator[IntakeBlueskyError | None]:
        """Insert whole runs, many at a time: see `RunStore.insert_runs`. A run is held in memory, compressed."""
        yield from insert_whole_runs(self.files, self._path_for, self._compression, runs)

    def _path_for(self, start: Document) -> str:
        """The address of the object for a run that is not there yet."""
        uid = check_uid(start)
        ending = f".{self._compression}" if self._compression else ""
        path = self.files.location.path(f"{uid}{self.codec.suffix}{ending}")
        known = None
        with suppress(StoreUnavailable):  # without an index runs are written all the same
            known = self.files.path_of(uid)
            self.files.begin_index()
        if known is not None and known != path:  # in another compression
            raise duplicate(uid, known)
        return path

    def remove(self, uid: str, *, permanent: bool = False) -> None:
        """Move the object of a run into the folder ``.removed``, or delete it.

        Raises
        ------
        RunNotFound
        StoreUnavailable
            When the bucket cannot be written.
        """
        self.files.list_again(uid)
        found = self.files.ask(lambda index: index.files_of(uid))
        if not found:
            raise self.files.not_found(uid)
        try:
            for path, stamp in found:
                self._remove(path, stamp, permanent=permanent)
            self.files.tail.put()
        except FileNotFoundError as error:
            raise RunNotFound(f"run {uid} was removed by somebody else meanwhile") from error
        except OSError as error:
            raise StoreUnavailable(f"run {uid} cannot be removed: {shown(str(error))}") from error
        finally:
            self.files.index.settle()
            self._headers.drop(uid)

    def _place_of_removed(self, name: str) -> str:
        """Where the object of a removed run goes: with a number where another that was removed has its name."""
        location = self.files.location
        ending = next((one for one in location.endings if name.endswith(one)), "")
        for number in count(1):
            place = location.below(
                REMOVED_FOLDER, name if number == 1 else f"{name.removesuffix(ending)}.{number}{ending}"
            )
            try:
                location.objects.head(place)
            except FileNotFoundError:
                return place
        raise AssertionError  # there is always another number

    def _remove(self, path: str, stamp: str, *, permanent: bool) -> None:
        location = self.files.location
        objects, name = location.objects, location.objects.name_of(path)
        parts = [info.name for info in location.parts_of(path)]
        # It may have ended since it was looked at, and its writer not have told yet.
        stamps = {version_of(stamp), version_of(remote_stamp(objects.head(name)))}
        if not permanent:
            place = self._place_of_removed(name.rpartition("/")[2])
            with location.open(path) as source:  # with its parts, where it is unfinished
                objects.put(place, source.read(0, source.size))
        objects.delete([name, *parts])
        self.files.index.remove([(path, stamp), *((path, version) for version in stamps)])
        for version in sorted(stamps):
            self.files.tail.add(SegmentRow(self.files.relative(path), version, problem=REMOVED))
