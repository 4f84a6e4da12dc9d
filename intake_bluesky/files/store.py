"""A store of runs in files, one run a file."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from typing import Any, Final

from intake_bluesky.documents.model import ALL_KEYS, DatumPage, Document, EventPage, Keys, RunHeader, RunSummary
from intake_bluesky.documents.statistics import Statistics
from intake_bluesky.errors import DamagedRun, IntakeBlueskyError, StoreUnavailable, UnsupportedOperation
from intake_bluesky.files.codec import Codec
from intake_bluesky.files.content.decompress import content_of
from intake_bluesky.files.content.file_location import LocalLocation, shown
from intake_bluesky.files.content.folders_below import runs_below
from intake_bluesky.files.content.source import is_certain, version_of
from intake_bluesky.files.indexed_files import IndexedFiles
from intake_bluesky.files.indexed_values import count_values, look_up
from intake_bluesky.files.removal import remove_run
from intake_bluesky.files.run_reader import RunFile, sound_documents
from intake_bluesky.files.run_writer import FileInsert, Target
from intake_bluesky.index.json_conditions import SQL
from intake_bluesky.index.rare_words import narrowed
from intake_bluesky.index.tables import COLUMNS
from intake_bluesky.index.translator import Translator
from intake_bluesky.objects import ObjectReplaced
from intake_bluesky.query import Path, Query, leaves
from intake_bluesky.query.pruning import Kept
from intake_bluesky.storage.contract import ALL_RUNS, Lookup, Plan, Problem, RunInsert, RunStore
from intake_bluesky.storage.header_cache import HeaderCache
from intake_bluesky.storage.order import Order
from intake_bluesky.storage.statistics import Answer, Recorded, StatisticsCache
from intake_bluesky.storage.whole_runs import WholeRun, finish_run

__all__ = ["FileStore"]

SEARCH: Final = Translator(COLUMNS)
FOUND: Final = 1000
TOGETHER: Final = 1 << 16  # bytes of a run that is there whole which are written at once


class FileStore(RunStore):
    """Runs in files, found and read through an index in the user's cache.

    A driver is a subclass that names its codec.

    Parameters
    ----------
    paths : str, Path or list of them
        Folders, files, patterns (``/data/**/*.jsonl``) or URLs of any fsspec filesystem; of a folder, all
        files of the codec's suffix count, plain or compressed.
    storage_options : mapping, optional
        Passed on to fsspec: endpoint, credentials.
    directory : str or Path, optional
        Where new runs are written; by default the first local folder of `paths`.
    compression : {None, "gz", "zst"}
        Of new files.

    Notes
    -----
    Finding runs reads the two ends of each file. Where its documents are, and what its events hold, is found by a
    scan when the run is first described, and recorded in the index.

    A file whose documents cannot all be read is in `problems` once it was scanned (``refresh(deep=True)``
    scans all), with the place of the damage; the run shows what can be read, from before and after it, in
    `header`, `event_pages` and `documents` alike. Of two files with one uid the one with a stop document is
    used, or else the first by name.
    """

    ordered = True
    codec: Codec

    def __init__(
        self,
        paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        *,
        storage_options: Mapping[str, Any] | None = None,
        directory: str | os.PathLike[str] | None = None,
        compression: str | None = None,
    ) -> None:
        several = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
        self._options = dict(storage_options or {})
        self._target = Target(directory, compression)
        self._paths = [os.fspath(path) for path in several]
        self.files = self._made_files()
        self._headers = HeaderCache[RunHeader]()
        self._found: dict[str, str] = {}  # paths of runs that were found last, for who reads them next

    def _made_files(self) -> IndexedFiles:
        return IndexedFiles(self.codec, self._paths, self._options)

    @property
    def ttl(self) -> float:
        """A second; of a bucket, where a listing is a request for every 1000 files, ten."""
        return 1.0 if self.files.locations.local else 10.0

    @property
    def trusts_paths(self) -> bool:
        """Whether all files are on this machine."""
        return self.files.locations.local

    @property
    def writable(self) -> bool:
        """True: whether some folder is local is known when a run begins."""
        return True

    @property
    def folder(self) -> str | None:
        """Where new files go."""
        with suppress(UnsupportedOperation):
            return self._target.folder(self.files)
        return None

    @property
    def statistics(self) -> StatisticsCache:
        """Those that scans and writers put into the index."""
        return FileStatistics(self.files)

    def __getstate__(self) -> dict[str, Any]:
        return {
            "paths": [location.pattern for location in self.files.locations],
            "storage_options": self._options,
            "directory": self._target.directory,
            "compression": self._target.compression,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        type(self).__init__(self, **state)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({[shown(location.pattern) for location in self.files.locations]})"

    def answers(self, leaf: Query) -> bool:
        """Whether the index does."""
        return SEARCH.exact(leaf)

    def plan(self, query: Query, order: Order) -> Plan:
        """Take what the index answers."""
        return SEARCH.plan(query, order)

    def find(self, plan: Plan = ALL_RUNS, *, offset: int = 0, limit: int | None = None) -> Iterator[RunSummary]:
        """Yield the runs that match, in order, out of the index alone."""
        where, values = self._condition(plan)
        for start, stop, path, _ in self.files.find(where, values, plan.order, offset=offset, limit=limit):
            found = self._summary(start, stop)
            if len(self._found) >= FOUND:
                self._found.clear()
            self._found[found.uid] = path
            yield found

    def _condition(self, plan: Plan) -> SQL:
        keys = {leaf.query.key for leaf in leaves(plan.pushed) if isinstance(leaf, Kept)}
        if keys:
            self.files.ask(lambda index: index.spread(keys))
        return narrowed(plan, SEARCH, self._is_rare)

    def _is_rare(self, word: str, number: int) -> bool:
        return self.files.ask(lambda index: index.is_rare(word, number))

    def _summary(self, start: bytes, stop: bytes | None) -> RunSummary:
        decode = self.codec.decode
        return RunSummary.of(decode(start)[1], None if stop is None else decode(stop)[1])

    def count(self, plan: Plan = ALL_RUNS) -> int:
        """Count the runs that match."""
        where, values = self._condition(plan)
        self.files.watch()
        return self.files.ask(lambda index: index.count(where, values))

    def distinct(self, path: Path, plan: Plan = ALL_RUNS) -> Iterable[tuple[Any, int]] | None:
        """Give each value at an exact path, and how many of the runs that match have it."""
        return count_values(self.files, path, self._condition(plan))

    def lookup(self, paths: Sequence[Path], plan: Plan = ALL_RUNS) -> Lookup | None:
        """Yield uid, time and the values at exact paths of the runs that match, in order."""
        return look_up(self.files, paths, self._condition(plan), plan.order)

    def header(self, uid: str) -> RunHeader:
        """Describe one run as it is now."""
        with ExitStack() as files:
            return self._open(uid, files)[1]

    def event_pages(
        self,
        uid: str,
        stream: str,
        *,
        data: Keys = ALL_KEYS,
        timestamps: Keys = (),
        events: slice = slice(None),
    ) -> Iterator[EventPage]:
        """Yield the stored events of a stream, reading the byte ranges they are in."""
        with ExitStack() as files:
            run, header = self._open(uid, files)
            yield from run.event_pages(header, stream, data=data, timestamps=timestamps, events=events)

    def documents(self, uid: str) -> Iterator[tuple[str, Document]]:
        """Yield the documents of a run exactly as its file has them, damaged ones left out (`problems`)."""
        with ExitStack() as files:
            yield from self._sound(uid, files) or self._open(uid, files)[0].documents()

    def complete_documents(self, uid: str) -> Iterator[tuple[str, Document]]:
        """Yield the documents of a run all of whose file can be read; of another nothing.

        Raises
        ------
        RunNotFound, DamagedRun
        """
        with ExitStack() as files:
            sound = self._sound(uid, files)
            if sound is not None:
                yield from sound
                return
            run, _ = self._open(uid, files)
            if lost := run.left_out():
                raise DamagedRun(f"some documents of run {uid} cannot be read: {'; '.join(lost)}")
            yield from run.documents()

    def _sound(self, uid: str, files: ExitStack) -> list[tuple[str, Document]] | None:
        files.enter_context(_explained(uid))
        found = self._read_sound(self._found.pop(uid, None), uid, files)
        # A whole run is as good in that file as in any; of what has not ended there may be more in another by now.
        return found if found and found[-1][0] == "stop" else self._read_sound(self.files.path_of(uid), uid, files)

    def _read_sound(self, path: str | None, uid: str, files: ExitStack) -> list[tuple[str, Document]] | None:
        location = None if path is None else self.files.locations.holding(path)
        if path is None or not isinstance(location, LocalLocation):
            return None
        try:
            source = location.open(path)
        except OSError:  # `_open` says why, or finds it elsewhere
            return None
        files.callback(source.close)
        return sound_documents(self.codec, content_of(source, path, [(0, 0)]), uid)

    def datum_pages(self, uid: str, resource: str) -> Iterator[DatumPage]:
        """Yield the datums of one resource."""
        with ExitStack() as files:
            yield from self._open(uid, files)[0].datum_pages(resource)

    def _open(self, uid: str, files: ExitStack) -> tuple[RunFile, RunHeader]:
        files.enter_context(_explained(uid))
        entry, content, layout = self.files.index.again(lambda: self.files.open(uid, files))
        run = RunFile(self.codec, content, layout)
        # A file that may change without changing its stamp is described anew.
        # How far it is understood depends on the largest document that is believed, too.
        known = f"{entry.stamp} {layout.scanned}"
        header = self._headers.get(uid, known) if is_certain(entry.stamp) else None
        if header is None:
            assert entry.start is not None  # open() gives runs only
            header = run.header(entry.start, entry.stop, version_of(entry.stamp))
            self._headers.put(uid, header, known)
        return run, header

    def refresh(self, *, deep: bool = False) -> None:
        """List the files and look at those that are new or changed; `deep` scans all of them again."""
        self.files.refresh(deep=deep)

    def scan(self, executor: Executor | None = None) -> None:
        """Look for new and changed files, and scan those that no scan has seen: opening runs is quick from then on.

        Parameters
        ----------
        executor : concurrent.futures.Executor, optional
            Scans many files on several processors, as a `ProcessPoolExecutor`: for programs that may be imported again.
        """
        self.files.refresh(unscanned=True, executor=executor)

    def publish(self) -> list[str]:
        """Put what is known of each folder beside its files, for other users and machines to start from.

        Returns
        -------
        list of str
            The files written: see `intake_bluesky.files.published_index`.

        Raises
        ------
        StoreUnavailable
            Where a folder cannot be written.
        """
        return self.files.publish()

    def problems(self) -> Sequence[Problem]:
        """What could not be read so far: files, or locations in them; of a store without any, runs in folders below."""
        return self.files.problems() or ([] if self.count() else self._below())

    def _below(self) -> list[Problem]:
        written = self.codec.suffixes[:1]  # others may be of anything
        found = ((place.pattern, runs_below(place.pattern, written)) for place in self.files.locations)
        return [Problem(shown(folder), f"has no files of *{written[0]}{below}") for folder, below in found if below]

    def check_writable(self) -> None:
        """Refuse where no path is a local folder, or this user may make no files in it.

        Raises
        ------
        UnsupportedOperation, StoreUnavailable
        """
        self._target.check(self.files)

    def insert(self, start: Document) -> RunInsert:
        """Begin a file for a run; each document is one write, so that a crash loses at most the last.

        Raises
        ------
        DuplicateRun
            When a run of this uid is in the store.
        UntrustedName
            When the uid cannot be the name of a file.
        UnsupportedOperation
            When no path of this store is a local folder: remote filesystems cannot append.
        """
        return self._begin(start)

    def _begin(self, start: Document, *, together: int = 0, empty: bool = False) -> FileInsert:
        path = self._target.file_for(start, self.files, empty=empty)
        insert = FileInsert(self.files, path, self._target.compression, together=together)
        insert.begin(start)
        return insert

    def insert_runs(self, runs: Iterable[Iterable[tuple[str, Document]]]) -> Iterator[IntakeBlueskyError | None]:
        """Insert whole runs; documents of each are written together."""
        empty = False
        with suppress(StoreUnavailable):
            empty = not self.count()
        for documents in runs:
            run = WholeRun(documents)
            yield run.refusal(partial(self._write_whole, run, empty))

    def _write_whole(self, run: WholeRun, empty: bool) -> None:
        _, start = next(run.documents)
        remove = partial(self.remove, start["uid"], permanent=True)
        finish_run(run, self._begin(start, together=TOGETHER, empty=empty), remove)

    def remove(self, uid: str, *, permanent: bool = False) -> None:
        """Move the file of a run into a folder ``.removed`` beside it, or delete it.

        Of a run that is in several files all go, not only the one that is shown. Where ``.removed`` has a file of that
        name, the file gets a number. To bring a run back, move its file back.

        Raises
        ------
        RunNotFound
        UnsupportedOperation
            When the run is on another machine, or being written by this process.
        StoreUnavailable
            When its folder cannot be written.
        """
        remove_run(self.files, uid, permanent=permanent, new=self._target.path_for(uid, self.files))
        self._headers.drop(uid)

    def close(self) -> None:
        """Let go of the index."""
        self.files.close()


@contextmanager
def _explained(uid: str) -> Iterator[None]:
    """Say what to do where the file of a run cannot be read any more."""
    try:
        yield
    except IntakeBlueskyError:
        raise
    except (FileNotFoundError, ObjectReplaced) as error:
        raise DamagedRun(
            f"run {uid} is not there as it was when it was opened ({shown(str(error))}): refresh the catalog"
        ) from error
    except OSError as error:
        raise StoreUnavailable(f"run {uid} cannot be read: {shown(str(error))}") from error


class FileStatistics(StatisticsCache):
    """Statistics of recorded values in the index of some files."""

    def __init__(self, files: IndexedFiles) -> None:
        self._files = files

    def get(self, values: Recorded) -> Statistics | None:
        stamp, found = self._files.ask(lambda index: index.statistics(values)) or ("", None)
        return found if version_of(stamp) == values.version else None

    def put(self, found: Sequence[tuple[Recorded, Statistics | Answer]]) -> None:
        self._files.ask(lambda index: index.keep(found, version_of))

    def measure(self, uids: Sequence[str]) -> int:
        """Scan the files of those runs that no scan has seen."""
        return self._files.measure(uids)
