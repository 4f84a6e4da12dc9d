"""Whole runs into a bucket, as a copy has them: an object each, many at a time."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import closing
from typing import Final, NamedTuple

from intake_bluesky.documents.model import Document
from intake_bluesky.documents.running_statistics import Watching
from intake_bluesky.errors import IntakeBlueskyError, StoreUnavailable, UnsupportedOperation
from intake_bluesky.files.bucket.bucket_files import BucketFiles
from intake_bluesky.files.bucket.run_writer import duplicate
from intake_bluesky.files.content.file_location import shown
from intake_bluesky.files.content.source import remote_stamp, version_of
from intake_bluesky.files.run_writer import Packer
from intake_bluesky.files.scan.index_entries import entry_of
from intake_bluesky.index.index import IndexEntry
from intake_bluesky.index.packed_statistics import pack
from intake_bluesky.objects import ObjectInfo
from intake_bluesky.storage.whole_runs import WholeRun

__all__ = ["insert_whole_runs"]

AT_ONCE: Final = 32
"""Objects that are put at once."""
TOGETHER: Final = 128
"""Runs, of which others are told at once."""
SOON: Final = 1.0
"""Seconds after which they are, if there are fewer."""
HELD: Final = 64 << 20
"""Bytes of objects that are held while they are put; of a larger run all are."""


class _RunObject(NamedTuple):
    """A run as its object has it."""

    uid: str
    data: bytes
    entry: IndexEntry  # without a stamp
    statistics: bytes | None


def insert_whole_runs(
    files: BucketFiles,
    path_for: Callable[[Document], str],
    compression: str | None,
    runs: Iterable[Iterable[tuple[str, Document]]],
) -> Iterator[IntakeBlueskyError | None]:
    """Put each run by one conditional put, by which it is there whole or not at all; see `RunStore.insert_runs`.

    `path_for` gives the address of a run's object by its start, or raises for which it is none.
    """
    results, since = list[IntakeBlueskyError | None](), time.monotonic()
    with closing(_Puts(files, path_for, compression)) as puts:
        for documents in runs:
            puts.begin(documents)
            while puts.are_many:
                results.append(puts.end())
            if len(results) >= TOGETHER or time.monotonic() - since > SOON:
                _put_index(files)
                yield from results
                results, since = [], time.monotonic()
        while puts.pending:
            results.append(puts.end())
        _put_index(files)
        yield from results


class _Puts:
    """Runs that are being put, in the order in which they came."""

    def __init__(self, files: BucketFiles, path_for: Callable[[Document], str], compression: str | None) -> None:
        self._files, self._path_for, self._compression = files, path_for, compression
        self.pending: deque[tuple[_RunObject, Future[str | IntakeBlueskyError]] | IntakeBlueskyError] = deque()
        self._pool = ThreadPoolExecutor(AT_ONCE, "intake-bluesky-put")

    @property
    def _under_way(self) -> list[tuple[_RunObject, Future[str | IntakeBlueskyError]]]:
        return [each for each in self.pending if isinstance(each, tuple)]

    @property
    def are_many(self) -> bool:
        """Whether one has to end before another begins."""
        return len(self.pending) > AT_ONCE or sum(len(made.data) for made, _ in self._under_way) > HELD

    def begin(self, documents: Iterable[tuple[str, Document]]) -> None:
        """Put a run, or note why it is refused."""
        run, made = WholeRun(documents), list[_RunObject]()
        refused = run.refusal(lambda: made.append(_made(self._files, self._path_for, self._compression, run)))
        if refused is not None:
            self.pending.append(refused)
            return
        # Of two of one uid the first is put, not the faster.
        wait([future for other, future in self._under_way if other.entry.path == made[0].entry.path])
        self.pending.append((made[0], self._pool.submit(self._put, made[0])))

    def _put(self, made: _RunObject) -> str | IntakeBlueskyError:
        objects = self._files.location.objects
        try:
            return objects.create(objects.name_of(made.entry.path), made.data)
        except FileExistsError:
            return duplicate(made.uid, made.entry.path)
        except OSError as error:
            raise _cannot_be_written(made.entry.path, error) from error

    def end(self) -> IntakeBlueskyError | None:
        """Wait for the first, and give why it is not there; None where it is, and in both indexes."""
        first = self.pending.popleft()
        if isinstance(first, IntakeBlueskyError):
            return first
        made, found = first[0], first[1].result()
        if isinstance(found, IntakeBlueskyError):
            self._files.take_in(made.uid, made.entry.path)
            return found
        try:
            _note(self._files, made, found)
        except UnsupportedOperation as error:
            return error
        return None

    def close(self) -> None:
        """Begin no other."""
        self._pool.shutdown(cancel_futures=True)


def _cannot_be_written(path: str, error: OSError) -> StoreUnavailable:
    return StoreUnavailable(f"{shown(path)} cannot be written ({shown(str(error))})")


def _put_index(files: BucketFiles) -> None:
    """Have others find what was put so far."""
    try:
        files.tail.put()
    except OSError as error:
        raise _cannot_be_written(f"the index of {files.location.pattern}", error) from error


def _made(
    files: BucketFiles, path_for: Callable[[Document], str], compression: str | None, run: WholeRun
) -> _RunObject:
    packer = None if compression is None else Packer(compression)
    watching, parts = Watching(), list[bytes]()
    entry: IndexEntry | None = None
    stop: bytes | None = None
    for name, doc in run.documents:
        raw = files.codec.encode(name, doc)
        if entry is None:
            entry = entry_of(path_for(doc), "", (raw, doc), None)
        stop = raw if name == "stop" else None
        watching.take(name, doc)
        if packer is None:
            parts.append(raw)
        else:
            parts.append(packer.pack(raw, last=stop is not None))
            packer.written()
    assert entry is not None  # `WholeRun` refuses a run without a start
    if packer is not None and stop is None:
        parts.append(packer.pack(b"", last=True))
    found = None if stop is None else watching.found()
    statistics = None if found is None else pack(found)
    return _RunObject(str(entry.uid), b"".join(parts), entry._replace(stop=stop), statistics)


def _stamp(made: _RunObject, tag: str) -> str:
    return remote_stamp(ObjectInfo(made.entry.path, len(made.data), tag, 0.0))


def _note(files: BucketFiles, made: _RunObject, tag: str) -> None:
    """Have a run that is in the bucket in both indexes."""
    objects = files.location.objects
    while padding := files.padding(made.entry.path, _stamp(made, tag)):
        made = made._replace(data=made.data + padding)
        try:
            tag = objects.put(objects.name_of(made.entry.path), made.data)
        except OSError as error:
            raise _cannot_be_written(made.entry.path, error) from error
    stamp = _stamp(made, tag)
    entry = made.entry._replace(stamp=stamp)
    if entry.stop is None:
        files.wrote(made.uid, entry.path)
    else:
        measured = None if made.statistics is None else (version_of(stamp), made.statistics)
        files.finished(made.uid, entry.path, measured, entry)
    files.tell(entry._replace(statistics=made.statistics))
