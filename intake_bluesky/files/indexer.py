"""Files kept track of by an index: what is new, what grew, what is gone, and what is wrong with which."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from itertools import islice
from typing import Any, ClassVar, Final, TypeVar

from intake_bluesky.errors import StoreUnavailable
from intake_bluesky.files.codec import Codec
from intake_bluesky.files.content.decompress import likely_size
from intake_bluesky.files.content.file_location import FileLocation, location_of, shown
from intake_bluesky.files.content.file_locations import FileLocations
from intake_bluesky.files.content.listing import FileListing, digest
from intake_bluesky.files.content.listing_schedule import Rhythm, Turn
from intake_bluesky.files.content.source import is_certain, is_same, size_of
from intake_bluesky.files.pending import Waiting, put_at_exit
from intake_bluesky.files.published_index import adopt, publish, take_details
from intake_bluesky.files.scan.index_entries import END
from intake_bluesky.files.scan.inspect import Task, look, look_at_written
from intake_bluesky.files.scan.pool import look_at_all
from intake_bluesky.index.index import FoundRun, Index, IndexEntry, IndexLost, index_path, storable
from intake_bluesky.runtime.processes import ProcessLock
from intake_bluesky.runtime.progress import track
from intake_bluesky.runtime.sizes import is_of_another_limit, largest
from intake_bluesky.storage.contract import Problem
from intake_bluesky.storage.order import Order

__all__ = ["FileIndexer"]

LOG: Final = logging.getLogger(__name__)
T = TypeVar("T")
BATCH: Final = 5000  # files looked at between two transactions, each of which writes much of every index of SQLite's
PAYS: Final = 96 << 20  # bytes of files that take longer to parse than processes take to start: decision 0023
FETCHED: Final = 500  # files of which both ends are in memory
WATCHED: Final = 64  # unfinished runs, the latest, looked at before every search
CHECKED: Final = 16  # runs found whose files are looked at before they are shown
PATIENCE: Final = 0.05  # seconds that the end of a run being written waits for a listing, and for other processes
CLOSING: Final = 1.0  # seconds that closing does
NONE: Final[Mapping[str, IndexEntry]] = {}
LISTING: Final = "listing"  # the fact that the entries are those of a listing, by its digest


class FileIndexer:
    """The files of a store, by its paths and options of fsspec, and their index. Making one touches neither."""

    kind: ClassVar[str] = "files"
    """What an index is of: others find their runs in other ways, and have another index of the same address."""

    def __init__(self, codec: Codec, paths: Sequence[str], storage_options: Mapping[str, Any]) -> None:
        self.codec = codec
        self.locations = FileLocations(self._located(path, storage_options) for path in paths)
        # Other options may lead to other files at the same addresses.
        options = sorted((key, repr(value)) for key, value in storage_options.items())
        key = [codec.suffixes, sorted(location.pattern for location in self.locations), options]
        self._key = json.dumps(key if self.kind == "files" else [*key, self.kind])
        self._index: Index | None = None
        self._rhythm = Rhythm(self.locations)
        self._troubles: list[Problem] = []
        self._waiting = Waiting()
        self._threads = ProcessLock()

    def _located(self, path: str, storage_options: Mapping[str, Any]) -> FileLocation:
        """The location of a path."""
        return location_of(path, self.codec.suffixes, storage_options)

    @property
    def index(self) -> Index:
        """The index, not opened before it is asked."""
        with self._threads.lock:
            if self._index is None:
                self._index = Index(index_path(self._key), lambda raw: self.codec.decode(raw)[1])
            return self._index

    def ask(self, question: Callable[[Index], T], *, put: bool = True) -> T:
        """Ask the index about all files, listing them before the first question; what was written here is in it."""

        def answer() -> T:
            if not self._rhythm.listed(self.index.generation):
                self.refresh()
            elif put and self._waiting:
                self._put_waiting()
            generation = self.index.generation
            found = question(self.index)
            # Another thread may have met another file, which is empty or of another listing.
            if not self._rhythm.listed(generation) or self.index.generation != generation:
                raise IndexLost("it was another meanwhile")
            return found

        return self.index.again(answer)

    def ask_rows(self, question: Callable[[Index], Iterator[T]]) -> Iterator[T]:
        """Yield what `ask` gives of a question with many answers, the first of which is there when it returns."""
        first, rest = self.ask(lambda index: (list(islice(rows := question(index), 1)), rows))
        yield from first
        try:
            yield from rest
        except IndexLost as error:
            raise StoreUnavailable(f"the index was lost while it was read ({error}): search again") from error

    def path_of(self, uid: str) -> str | None:
        """The path of the file that a run is in, or was when that was last looked at."""
        path = self._waiting.path(uid)
        # Each run that is begun asks this: putting what waits would end all waiting.
        return self.ask(lambda index: index.path_of(uid), put=False) if path is None else path

    def wrote(self, uid: str, path: str) -> None:
        """Note a file that was made here, so that it is seen without a listing."""
        self._waiting.begun(uid, path)

    def finished(self, uid: str, path: str, measured: tuple[str, bytes] | None, entry: IndexEntry | None) -> None:
        """Have a run that was written here to its end put into the index, with others that follow it quickly."""
        if self._waiting.ended(uid, path, measured, entry):
            self.put_patiently(PATIENCE)
        put_at_exit(self)

    def put_patiently(self, seconds: float) -> None:
        """Put what waits into the index; where that takes longer, or fails, the next question does."""
        lock = self._threads.lock
        if not self._waiting or not lock.acquire(timeout=seconds):
            return
        try:
            if self._rhythm.listed(self.index.generation):
                with self.index.patient(seconds):
                    self._put_waiting()
        except Exception as error:  # noqa: BLE001  # the files are there, and that is what counts
            LOG.info("some runs are not in the index yet: %s", error)
        finally:
            lock.release()

    def _put_waiting(self, stale: Sequence[str] = ()) -> None:
        """Put what waits into the index, and look again at files that are not what they were."""
        if not self._waiting and not stale:
            return
        with self._threads.lock:
            batch = self._waiting.take()
            try:
                self.look_again([*batch.written.values(), *stale], batch.scanned.values(), batch.ended)
            except BaseException:
                self._waiting.give_back(batch)
                raise

    def refresh(self, *, deep: bool = False, unscanned: bool = False, executor: Executor | None = None) -> None:
        """List the files and look at those that are new or changed.

        Parameters
        ----------
        deep : bool
            Scan all files.
        unscanned : bool
            Scan those that are new or changed, and those that no scan has seen.
        executor : concurrent.futures.Executor, optional
            Scans where that is worth it.
        """
        with self._threads.lock:
            self.index.again(lambda: self._refresh(executor, deep=deep, unscanned=unscanned))

    def _refresh(self, executor: Executor | None, *, deep: bool, unscanned: bool) -> None:
        if not (deep or unscanned) and self._rhythm.resting(self.index.generation):
            self.watch()
            return
        self._put_waiting()
        turn = self._rhythm.begin(self.index.generation)
        self._look_for_changes(turn, executor, deep=deep, unscanned=unscanned)
        self._rhythm.end(turn)

    def _look_for_changes(self, turn: Turn, executor: Executor | None, *, deep: bool, unscanned: bool) -> None:
        """List the files, and bring the entries in line with that."""
        listed, whole = self._list()
        self._rhythm.measured(turn)
        token = f"{digest(listed)} {largest()}"
        if deep or unscanned or not whole or self.index.fact(LISTING) != token:
            self._compare(listed, token if whole else "", executor, deep=deep, unscanned=unscanned)

    def _compare(
        self, listed: Sequence[FileListing], token: str, executor: Executor | None, *, deep: bool, unscanned: bool
    ) -> None:
        """Bring the entries in line with a listing; `token` is its digest, empty where it is not all there is."""
        # Counted along: if the index has counted more in the end, another process changed entries meanwhile.
        changes, known = int(self.index.fact("changes")), self.index.stamps()
        stamps = dict(pair for one in listed for pair in one.stamps())
        certain = self._drop_unstorable(stamps)
        # Only an empty index begins with what was published, which is older than what the index knows.
        adopted = 0 if known else adopt(self.index, self.codec, self.locations, stamps)
        if adopted:
            changes, known = int(self.index.fact("changes")), self.index.stamps()
        changed = {path for path, stamp in stamps.items() if deep or not is_same(known.get(path), stamp)}
        if unscanned:
            self._take_details(self.index)
        # What was too large for another limit may not be for this one.
        changed |= {path for path, _, why in self.index.problems() if is_of_another_limit(why)} & stamps.keys()
        todo = changed | ({path for path, _ in self.index.unscanned()} & stamps.keys() if unscanned else set())
        uids: set[str] = set()
        if not self.locations.local or sum(size_of(stamps[path]) for path in todo) < PAYS:
            executor = None
        tasks = self._tasks(sorted(todo), stamps, known, uids, deep=deep or unscanned)
        for entries in self._looks(tasks, len(todo), executor):
            uids |= self._put(entries)
            certain = certain and all(is_certain(entry.stamp) for entry in entries)
            changes += 1
        # What a location holds that could not be listed is not gone.
        gone = known.keys() - stamps.keys() if token else set()
        if gone:
            self.index.forget(gone)
            changes += 1
        if gone or todo or adopted:
            self.index.settle(None if gone or adopted or len(uids) > BATCH else uids)
        # Files that may still change unseen have to be looked at by the next listing.
        if token and certain:
            self.index.note(LISTING, token, changes)

    def _take_details(self, index: Index) -> bool:
        """Take in what was published of where documents lie, and of their statistics; whether there was any."""
        return take_details(index, self.codec, self.locations)

    def measure(self, uids: Sequence[str]) -> int:
        """Scan the files of runs that have stopped and are not measured; about how many bytes that read."""

        def measure(index: Index) -> int:
            known = index.unmeasured(uids)
            if known and self._take_details(index):
                known = index.unmeasured(uids)
            for entries in self._looks((Task(path, stamp, deep=True) for path, stamp in known), len(known)):
                self._put(entries)
            if known:
                index.settle(uids)
            return sum(likely_size(path, size_of(stamp)) for path, stamp in known)

        with self._threads.lock:
            return self.ask(measure)

    def _list(self) -> tuple[list[FileListing], bool]:
        """What the locations list, and whether every one could be listed."""
        listed, self._troubles, failures = self.locations.listing()
        if failures and len(failures) == len(self.locations):
            trouble = self._troubles[-1]
            raise StoreUnavailable(f"{trouble.where} {trouble.message}") from failures[-1]
        return listed, not failures

    def _drop_unstorable(self, stamps: dict[str, str]) -> bool:
        """Take out files that the index cannot name; whether there were none."""
        odd = [path for path in stamps if not storable(path)]
        for path in odd:
            del stamps[path]
            self._troubles.append(Problem(ascii(path), "its name is not UTF-8: rename it"))
        return not odd

    def _tasks(
        self, paths: Iterable[str], stamps: Mapping[str, str], known: Collection[str], uids: set[str], *, deep: bool
    ) -> Iterator[Task]:
        """What there is to do; the uids of runs that were in these files are added to `uids`."""
        rest = iter(paths)
        while some := list(islice(rest, FETCHED)):
            ends = {} if deep else self.locations.ends([path for path in some if path not in known], stamps, END)
            for path in some:
                earlier = self.index.entry_at(path) if path in known else None
                if earlier is not None and earlier.uid is not None:
                    uids.add(earlier.uid)
                measured = self._waiting.measured(path)
                yield Task(path, stamps[path], None if deep else earlier, deep, ends.get(path), measured)

    def _looks(self, tasks: Iterator[Task], total: int, executor: Executor | None = None) -> Iterator[list[IndexEntry]]:
        """Entries in batches."""
        entries = track(look_at_all(self.codec, self.locations.open, tasks, executor), total=total, what="indexing")
        while some := list(islice(entries, BATCH)):
            yield some

    def _put(self, entries: Sequence[IndexEntry]) -> set[str]:
        self.index.put(entries)
        self._waiting.certain(entry.path for entry in entries if is_certain(entry.stamp))
        return {entry.uid for entry in entries if entry.uid is not None}

    def publish(self) -> list[str]:
        """Put a copy of what is known of each folder beside its files; see `files.published`."""
        homes = [location for location in self.locations if location.home]
        return [path for location in homes for path in publish(self.ask(Index.entries), self.codec, location)]

    def watch(self) -> None:
        """Look again at files written here and, on disk, at the latest runs that have no stop."""
        self.ask(lambda index: self._put_waiting(self.locations.stale(index.unfinished(WATCHED))), put=False)

    def find(
        self, where: str, values: Sequence[Any], order: Order, *, offset: int = 0, limit: int | None = None
    ) -> Iterator[FoundRun]:
        """Yield runs that meet a condition; a few are shown only after a look at whether their files are the same."""
        self.watch()
        for _ in range(3):
            found = self.ask_rows(lambda index: index.find(where, values, order, offset=offset, limit=limit))
            if limit is None or limit > CHECKED:
                break
            few = list(found)
            found = iter(few)
            stale = self.locations.stale([(path, stamp) for _, _, path, stamp in few])
            if not stale:
                break
            self.ask(lambda _: self.look_again(stale))  # noqa: B023  # which is called at once
        return found

    def look_again(
        self, paths: Iterable[str], scanned: Iterable[IndexEntry] = (), ended: Mapping[str, IndexEntry] = NONE
    ) -> None:
        """Look at files and put them into the index, with entries of others that were scanned, and of those written."""
        todo = sorted(set(paths))
        entries = {entry.path: entry for entry in scanned if entry.path not in todo}
        if not todo and not entries:
            return
        with self._threads.lock:
            earlier = {entry.path: entry for entry in self.index.known([*todo, *entries])}
            gone = {path for path in [*todo, *entries] if self.locations.is_gone(path)}
            if gone:
                self.index.forget(gone)
                entries = {path: entry for path, entry in entries.items() if path not in gone}
            for path in [path for path in todo if path not in gone]:
                measured = self._waiting.measured(path)
                entry = self._look_at_written(ended[path], measured) if path in ended else None
                task = Task(path, "", earlier.get(path), measured=measured)
                entries[path] = entry or look(self.codec, self.locations.open, task)
            uids = self._put(list(entries.values()))
            # Of a run that is no longer in a file, another file may be the one to list.
            self.index.settle(uids | {str(entry.uid) for entry in earlier.values()})

    def _look_at_written(self, written: IndexEntry, measured: tuple[str, bytes] | None) -> IndexEntry | None:
        """The entry of a file that was written here to its end; None where it has to be looked at."""
        return look_at_written(written, measured)

    def problems(self) -> list[Problem]:
        """What is wrong with which file, by path."""
        if self._troubles:  # what could not be listed may be there by now
            with suppress(StoreUnavailable):
                self.refresh()
        found = [
            Problem(shown(path), shown(line), uid)
            for path, uid, problem in self.ask(Index.problems)
            for line in problem.split("\n")
        ]
        for hidden, uid, used in self.ask(Index.duplicates):
            hidden, used = shown(hidden), shown(used)
            found.append(Problem(hidden, f"holds run {uid}, as {used} does, which is used: remove one", uid))
            found.append(Problem(used, f"holds run {uid}, as {hidden} does, which is not used: remove one", uid))
        return [*self._troubles, *sorted(found, key=lambda problem: problem.where)]

    def close(self) -> None:
        """Put what waits, and let go of the index's connections."""
        if self._index is not None:
            self.put_patiently(CLOSING)
            self._index.close()
