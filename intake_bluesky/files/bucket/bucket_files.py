"""The runs of a catalog in a bucket, found by the index that is there beside them."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Executor
from itertools import islice
from typing import Any, ClassVar, Final

from intake_bluesky.errors import StoreUnavailable, UnsupportedOperation
from intake_bluesky.files.bucket.location import BucketLocation
from intake_bluesky.files.bucket.segments import (
    REMOVED,
    MergedRows,
    SegmentFolder,
    is_idle,
    is_removal,
    is_removed,
    last,
    supersedes,
    unknown,
)
from intake_bluesky.files.bucket.tail import IndexTail
from intake_bluesky.files.codec import Codec
from intake_bluesky.files.content.decompress import compression_of
from intake_bluesky.files.content.file_location import FileLocation, shown
from intake_bluesky.files.content.listing_schedule import Turn
from intake_bluesky.files.content.source import is_certain, version_of
from intake_bluesky.files.index_segments import (
    IndexSegment,
    SegmentRow,
    UnusableSegment,
    entry_from,
    sound_statistics,
)
from intake_bluesky.files.indexed_files import IndexedFiles
from intake_bluesky.files.run_writer import Packer
from intake_bluesky.files.scan.inspect import with_statistics
from intake_bluesky.index.index import Index, IndexEntry
from intake_bluesky.objects import ObjectInfo
from intake_bluesky.runtime.processes import PerProcess
from intake_bluesky.storage.contract import Problem

__all__ = ["BucketFiles"]

LOG: Final = logging.getLogger(__name__)
BATCH: Final = 2000
JUST_NOW: Final = 10.0
"""Seconds after a scan in which `publish` does not list the objects again."""


class BucketFiles(IndexedFiles):
    """The runs in a folder of a bucket, or of this machine, and the index there.

    A folder that has no index yet is listed as any other.
    """

    kind: ClassVar[str] = "bucket"

    def __init__(self, codec: Codec, url: str, storage_options: Mapping[str, Any]) -> None:
        super().__init__(codec, [url], storage_options)
        self.segments = SegmentFolder(self.location, codec.suffix)
        self._tail: PerProcess[IndexTail] = PerProcess()  # a forked child writes one of its own
        self._unusable: list[Problem] = []
        self._has_index = True  # until a listing shows that there is none
        self._before_scan: list[ObjectInfo] | None = None
        """What the index was just before a scan of all objects, which `publish` may put in its place."""
        self._scanned = 0.0  # when that scan ended

    def _located(self, path: str, storage_options: Mapping[str, Any]) -> FileLocation:
        return BucketLocation(path, self.codec.suffixes, storage_options)

    @property
    def location(self) -> BucketLocation:
        """The folder."""
        [location] = self.locations
        assert isinstance(location, BucketLocation)  # `_located` made it
        return location

    @property
    def tail(self) -> IndexTail:
        """What this process adds to the index."""
        return self._tail.get(lambda: IndexTail(self.segments))

    def _look_for_changes(self, turn: Turn, executor: Executor | None, *, deep: bool, unscanned: bool) -> None:
        refused, before = "", list[ObjectInfo]()
        try:
            before = self._read_segments()
        except PermissionError as error:  # then they are listed, which takes other rights
            refused = shown(str(error))
        if deep or unscanned or not before:
            super()._look_for_changes(turn, executor, deep=deep, unscanned=unscanned)
            if unscanned:
                self._before_scan, self._scanned = None if refused else before, time.monotonic()
        if refused:
            url = self.location.objects.url(self.segments.name(""))
            message = f"the index may not be read ({refused}): the runs themselves are listed, which takes longer"
            self._note_unusable([Problem(shown(url), message)])

    def _read_segments(self) -> list[ObjectInfo]:
        """Take in what is new in the index of the bucket; give its segments."""
        index = self.index
        noted = index.segments()
        known, complete = dict(noted), False
        taken, removes = list[IndexSegment](), False

        def take(segment: IndexSegment, info: ObjectInfo) -> None:
            nonlocal complete, removes
            anew = segment.about.get("complete") is True  # and has more than what it took the place of
            if anew or not _has_all(known, segment.about.get("replaces")):
                removes = self._take_rows(index, segment.rows()) or removes
                taken.append(segment)
            complete = complete or anew
            known[last(info)] = info.tag

        try:
            listed, unusable = self.segments.read(lambda listed: unknown(listed, known), take)
        except PermissionError:
            raise
        except OSError as error:
            raise StoreUnavailable(
                f"{shown(self.location.pattern)} cannot be listed: {type(error).__name__}: {shown(str(error))}"
            ) from error
        if removes:  # what was written in place of a removed run may have been met before the removal
            for segment in taken:
                self._take_rows(index, segment.rows())
        self._tell(unusable)
        self._has_index = bool(listed)
        if complete and noted:  # else there is nothing that it does not have
            self._forget_others()
        there = {last(info) for info in listed}
        new = {name: tag for name, tag in known.items() if name in there and noted.get(name) != tag}
        gone = noted.keys() - there
        if new or gone:
            index.note_segments(new, gone)
        return listed

    def _tell(self, unusable: Mapping[str, str]) -> None:
        """Note what of the index cannot be used: the runs that it alone has are not found."""
        url = self.location.objects.url
        advice = f"some runs may be missing: make it anew with `intake-bluesky index {shown(self.location.pattern)}`"
        found = [
            Problem(shown(url(name)), f"this part of the index is not used ({shown(why)}): {advice}")
            for name, why in unusable.items()
        ]
        self._note_unusable(found)

    def _note_unusable(self, found: list[Problem]) -> None:
        for problem in found:
            if problem not in self._unusable:
                warnings.warn(f"{problem.where}: {problem.message}", stacklevel=2)
        self._unusable = found

    def problems(self) -> list[Problem]:
        return [*self._unusable, *super().problems()]

    def _take_rows(self, index: Index, rows: Iterable[SegmentRow]) -> bool:
        """Take in rows; say whether there were removals that were not known."""
        removed, removes = index.removed(), False
        names, rest = {path for path, _ in removed}, iter(rows)
        while some := list(islice(rest, BATCH)):
            gone = {(self.location.path(row.name), row.stamp) for row in some if is_removal(row)}
            if gone - removed:
                index.remove(gone - removed)
                removed, removes = removed | gone, True
                names |= {path for path, _ in gone}
            moved = [
                row._replace(name=self.location.path(row.name))
                for row in some
                if not is_removal(row) and self._is_name(row.name)
            ]
            earlier = {entry.path: entry for entry in index.known([row.name for row in moved])}
            wanted = (
                row for row in moved if not is_removed(row, removed, names) and supersedes(row, earlier.get(row.name))
            )
            entries = [entry for row in wanted if (entry := entry_from(row, row.name, row.stamp, self.codec))]
            if entries:
                index.put(entries)
        index.settle()
        return removes

    def _is_name(self, name: str) -> bool:
        """Whether a run may be in an object of this name: whoever can write the bucket wrote it."""
        return (
            not name.startswith(".") and "/" not in name and "\\" not in name and name.endswith(self.location.endings)
        )

    def _forget_others(self) -> None:
        """Drop runs that no segment has: the index was made anew from what is there."""
        index, named = self.index, set[str]()
        # Before the segments: another process with this index may take in a newer one meanwhile.
        known = index.stamps().keys()

        def take(segment: IndexSegment, _: ObjectInfo) -> None:
            named.update(self.location.path(row.name) for row in segment.rows() if not is_removal(row))

        _, unusable = self.segments.read(lambda listed: listed, take)
        if unusable:  # it may have what the others have not
            return
        own = {self.location.path(name) for name in self.tail.names()}
        gone = known - named - own
        if gone:
            index.forget(gone)
            index.settle()

    def _take_details(self, index: Index) -> bool:
        known = index.segments()
        new = [
            info for info in self.segments.listed() if last(info).startswith("d-") and known.get(last(info)) != info.tag
        ]
        for info in new:
            try:
                segment, _ = self.segments.get(info.name)
            except (FileNotFoundError, PermissionError, UnusableSegment):  # merged, or a scan finds what it had
                continue
            rest = (
                (self.location.path(one.name), one.stamp, one.layout, sound_statistics(one.statistics))
                for one in segment.details()
            )
            while some := list(islice(rest, BATCH)):
                index.add_details(some)
            index.note_segments({last(info): info.tag})
        return bool(new)

    def publish(self) -> list[str]:
        """Make the index of the bucket anew, from the objects that are there; give the address of what was put."""
        with self._threads.lock:
            try:
                self.tail.put()
                before = self._before_scan
                if before is None or time.monotonic() - self._scanned > JUST_NOW:
                    before = self._before_scan = None
                    self.refresh(unscanned=True)
                    # Where it may not be read, this says so.
                    before = self._read_segments() if self._before_scan is None else self._before_scan
                self._before_scan = None
                if not before and not self.ask(Index.stamps):  # nothing is put at an address that may be a mistake
                    return []
                return [self._put_base(before)]
            except OSError as error:
                if isinstance(error, StoreUnavailable):
                    raise
                advice = (
                    ": making it takes the rights to list and to get objects there, and to put and to delete them in "
                    "_index; let somebody do it who has them"
                )
                raise StoreUnavailable(
                    f"the index of {shown(self.location.pattern)} cannot be made anew ({shown(str(error))})"
                    f"{advice if isinstance(error, PermissionError) else ''}"
                ) from error

    def _put_base(self, before: Sequence[ObjectInfo]) -> str:
        """Put all that is known in the place of what the index was before."""
        merged = MergedRows()
        for entry in self.index.entries():
            if is_certain(entry.stamp):
                merged.add(self.row(entry))
        for path, stamp in self.index.removed():
            merged.add(SegmentRow(self.relative(path), stamp, problem=REMOVED))
        old = [info for info in before if last(info)[:2] in ("s-", "b-") or is_idle(info, before)]
        name = self.segments.replace(old, merged, complete=True)
        self.segments.delete_orphans(before, name)
        self._unusable, self._has_index = [], True
        return shown(self.location.objects.url(name))

    def begin_index(self) -> None:
        """Where runs are in the folder, and no index yet, put one: a tail alone would hide them from all others.

        Raises
        ------
        StoreUnavailable
        """
        with self._threads.lock:
            if not self._has_index and self.ask(Index.stamps):
                try:
                    self._put_base([])
                except OSError as error:
                    raise StoreUnavailable(
                        f"{shown(self.location.pattern)} cannot be written ({shown(str(error))})"
                    ) from error
            self._has_index = True

    def relative(self, path: str) -> str:
        """The name of a run's object in the folder."""
        return path.removeprefix(self.location.path(""))

    def row(self, entry: IndexEntry) -> SegmentRow:
        """The row of an entry."""
        return SegmentRow(
            self.relative(entry.path), version_of(entry.stamp), entry.start, entry.stop, entry.problem, entry.layout,
            entry.statistics,
        )  # fmt: skip

    def tell(self, entry: IndexEntry) -> None:
        """Add a run to the index of the bucket; where that cannot be written, the next run or `close` tries again."""
        try:
            self.tail.add(self.row(entry))
        except OSError as error:
            LOG.warning("run %s is in the bucket, and its index waits: %s", entry.uid, shown(str(error)))

    def padding(self, path: str, stamp: str) -> bytes:
        """What a run is put again with, longer, that was removed in just this version: else it stays removed for all.

        The tags of object stores are digests of the content: the same run, copied anew, has the tag that it had.

        Raises
        ------
        UnsupportedOperation
            Where the format has nothing to make it longer with.
        """
        version = version_of(stamp)
        try:
            if not self.index.again(lambda: (path, version) in self.index.removed()):
                return b""
        except StoreUnavailable:  # without an index runs are written all the same
            return b""
        compression = compression_of(path)
        if compression is not None:
            return Packer(compression).empty()
        if self.codec.suffix.startswith(".jsonl"):
            return b"\n"
        raise UnsupportedOperation(
            f"{shown(path)} is just as the run that was removed, and stays hidden as that is: delete this object, and "
            'write the run with compression="zst"'
        )

    def take_in(self, uid: str, path: str) -> None:
        """Have a run in both indexes whose object is there, and of which its writer, killed maybe, told nobody."""
        try:
            self.list_again(uid)
            if self.ask(lambda index: index.path_of(uid)) is not None:
                return
            self.ask(lambda _: self.look_again([path]))
            entry = self.index.entry_at(path)
            if entry is not None and entry.uid == uid:
                self.tell(entry)
        except StoreUnavailable as error:  # the run is there, and so it is told
            LOG.warning("run %s is in the bucket, and not in its index: %s", uid, shown(str(error)))

    def _look_at_written(self, written: IndexEntry, measured: tuple[str, bytes] | None) -> IndexEntry | None:
        return with_statistics(written, measured)  # the store told its tag

    def close(self) -> None:
        try:
            self.tail.put()
        except OSError as error:
            raise StoreUnavailable(
                f"the index of the last runs cannot be put into {shown(self.location.pattern)} ({shown(str(error))}): "
                "close again, or make it anew with `intake-bluesky index`"
            ) from error
        finally:
            super().close()


def _has_all(known: Mapping[str, str], replaced: Any) -> bool:
    """Whether a base has nothing new: all that it was made of was taken in."""
    if not isinstance(replaced, Sequence) or not replaced or not all(isinstance(one, str) for one in replaced):
        return False
    return all(known.get(name) == tag for name, _, tag in (one.partition(" ") for one in replaced))
