"""Files kept track of by an index, and the run in each opened as it is now."""

from __future__ import annotations

from contextlib import ExitStack, suppress
from typing import Final

from intake_bluesky.errors import DamagedRun, RunNotFound
from intake_bluesky.files.content.decompress import Content, content_of, most_of
from intake_bluesky.files.content.file_location import RemoteLocation, shown
from intake_bluesky.files.content.source import ByteSource, is_certain
from intake_bluesky.files.indexer import PATIENCE, FileIndexer
from intake_bluesky.files.pending import put_at_exit
from intake_bluesky.files.scan.file_layout import FileLayout, unpacked
from intake_bluesky.files.scan.index_entries import scan
from intake_bluesky.files.scan.scanner import NotARun
from intake_bluesky.index.index import IndexEntry
from intake_bluesky.objects import ObjectChanged

__all__ = ["IndexedFiles"]

DETAILED: Final = 1 << 20  # bytes of a file that takes longer to scan than the published details of all do to fetch


class IndexedFiles(FileIndexer):
    """The files of a store and their index, by which runs are found and opened."""

    def open(self, uid: str, files: ExitStack) -> tuple[IndexEntry, Content, FileLayout]:
        """Open a run's file as it is now, scanned as far as it goes; `files` closes it.

        Raises
        ------
        RunNotFound, DamagedRun, IndexLost
        """
        surely = False
        for _ in range(3):
            entry = self._find(uid)
            try:
                source = self._opened(entry, surely=surely)
                files.callback(source.close)
                entry, layout = self._current(entry, source)
            except FileNotFoundError:  # another file may hold the run, too
                self._put_waiting()
                self.index.forget([entry.path])
                self.index.settle()
                continue
            except ObjectChanged:  # since it was listed
                surely = True
                continue
            if entry.uid == uid:
                return entry, content_of(source, entry.path, layout.members), layout
        raise self.not_found(uid)

    def _find(self, uid: str) -> IndexEntry:
        """The entry of a run: known, written here just now, or found by another listing."""
        entry = self._waiting.entry(uid)
        if entry is None:
            if self._waiting.path(uid) is not None:
                self._put_waiting()
            entry = self.index.entry(uid)
        if entry is None:
            self.list_again(uid)
            entry = self.index.entry(uid)
            if entry is None:
                raise self.not_found(uid)
        return entry

    def list_again(self, uid: str) -> None:
        """List the files for a run that may be in one put there since the last listing, unless that was just now."""
        if self._rhythm.due(self.index.generation):
            self.refresh()

    def not_found(self, uid: str) -> RunNotFound:
        """The error for a run that is in no file."""
        runs = self.ask(lambda index: index.count("1", ()))
        return RunNotFound(f"no run {uid!r} among the {runs} runs in {self.locations}: a store takes full uids")

    def _opened(self, entry: IndexEntry, *, surely: bool) -> ByteSource:
        """Open the file of a run; `surely` as it is now, else as it was listed."""
        location = self.locations.holding(entry.path)
        listed = entry.stop is not None and is_certain(entry.stamp) and not surely
        try:
            if isinstance(location, RemoteLocation):
                return location.trusted(entry.path, entry.stamp) if listed else location.open(entry.path)
            return location.open(entry.path)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise DamagedRun(f"run {entry.uid}: {shown(str(error))}") from error

    def _current(self, entry: IndexEntry, source: ByteSource) -> tuple[IndexEntry, FileLayout]:
        """The entry and layout of a file as it is now."""
        if entry.layout is None and source.size > DETAILED and self._take_details(self.index):
            entry = self.index.entry_at(entry.path) or entry
        if entry.stamp == source.stamp and is_certain(entry.stamp) and entry.layout is not None:
            with suppress(ValueError):  # of another version, or published and wrong: a scan makes it anew
                return entry, unpacked(entry.layout, most_of(entry.path, source.size))
        try:
            now, layout = scan(self.codec, entry.path, source, entry)
        except NotARun as error:
            raise DamagedRun(f"{shown(entry.path)}, where run {entry.uid} was, holds no run now: {error}") from error
        if self._waiting.scanned(str(now.uid), now):
            self.put_patiently(PATIENCE)
        # The file holds another run by now: the one that was there must not be listed any longer.
        if now.uid != entry.uid:
            self._put_waiting()
        put_at_exit(self)
        return now, layout
