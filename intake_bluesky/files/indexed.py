"""Files kept track of by an index: what is new, what grew, what is gone, and what is wrong with which."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from intake_bluesky.codec import Codec
from intake_bluesky.errors import DamagedRun, RunNotFound, StoreUnavailable
from intake_bluesky.files.contents import Content, compression_of, content_of
from intake_bluesky.files.entries import END, glance, scan
from intake_bluesky.files.layout import Layout
from intake_bluesky.files.places import LocalPlace, Place, RemotePlace, place_of, shown
from intake_bluesky.files.scan import NotARun
from intake_bluesky.files.sources import Source
from intake_bluesky.index import Index, IndexEntry, IndexLost, index_path, storable
from intake_bluesky.storage import Problem

__all__ = ["IndexedFiles"]

T = TypeVar("T")
BATCH: Final = 500  # files looked at between two transactions
WATCHED: Final = 64  # unfinished runs, the latest, looked at before every search
LONG: Final = 0.02  # seconds: listings that take longer are not repeated all the time
SHARE: Final = 20  # but after this many times what the last one took
SETTLED: Final = 2_000_000_000  # nanoseconds after which a folder's time of change can be relied on
PATIENCE: Final = 1.0  # seconds after a long listing in which another is not made for a run that it had not


@dataclass(frozen=True, slots=True)
class _Listing:
    """The last listing: into which index, when, how long it took, and when the places had changed."""

    generation: int
    when: float
    cost: float
    changes: list[int | None]


class IndexedFiles:
    """The files of a store and their index. Making one touches neither.

    Parameters
    ----------
    codec : Codec
    paths : sequence of str
        Folders, files, patterns, URLs.
    storage_options : mapping
        Passed on to fsspec.
    """

    def __init__(self, codec: Codec, paths: Sequence[str], storage_options: Mapping[str, Any]) -> None:
        self.codec = codec
        self.places: list[Place] = [place_of(path, codec.suffix, storage_options) for path in paths]
        options = sorted((key, repr(value)) for key, value in storage_options.items())
        self._key = json.dumps([codec.suffix, sorted(place.pattern for place in self.places), options])
        self._index: Index | None = None
        self._listed: _Listing | None = None
        self._troubles: list[Problem] = []
        self._written: dict[str, str] = {}
        self._lock = threading.RLock()

    @property
    def index(self) -> Index:
        """The index, not opened before it is asked."""
        with self._lock:
            if self._index is None:
                self._index = Index(index_path(self._key))
            return self._index

    def ask(self, question: Callable[[Index], T]) -> T:
        """Ask the index about all files, listing them before the first question."""
        for _ in range(3):
            try:
                if self._listed is None or self._listed.generation != self.index.generation:
                    self.refresh()
                return question(self.index)
            except IndexLost:
                continue
        raise StoreUnavailable(
            f"the index {self.index.path} was lost three times: set INTAKE_BLUESKY_CACHE to another folder"
        )

    def wrote(self, uid: str, path: str) -> None:
        """Note a file that was made here, so that it is seen without a listing."""
        with self._lock:
            self._written[uid] = path

    def refresh(self, *, deep: bool = False) -> None:
        """List the files and look at those that are new or changed; at all of them if `deep`."""
        with self._lock:
            for _ in range(3):
                try:
                    self._refresh(deep)
                    return
                except IndexLost:
                    continue
        raise StoreUnavailable(f"the index {self.index.path} cannot be written")

    def _unchanged(self) -> bool:
        """Whether a long listing was made not long ago, and no file was added or removed since."""
        last = self._listed
        if last is None or last.generation != self.index.generation or last.cost < LONG:
            return False
        recent = time.monotonic() - last.when < SHARE * last.cost
        return recent and None not in last.changes and self._changes() == last.changes

    def _changes(self) -> list[int | None]:
        """When each place changed; None where that is unknown, or so recent that more may follow unseen."""
        settled = time.time_ns() - SETTLED
        changes = (place.changed() for place in self.places)
        return [change if change is not None and change < settled else None for change in changes]

    def _refresh(self, deep: bool) -> None:
        if not deep and self._unchanged():
            self.watch()
            return
        self._written.clear()
        when, changes = time.monotonic(), self._changes()
        stamps, whole = self._list()
        known = self.index.stamps()
        cost = time.monotonic() - when
        changed = sorted(path for path, stamp in stamps.items() if deep or not stamp or known.get(path) != stamp)
        gone = known.keys() - stamps.keys() if whole else set()
        for start in range(0, len(changed), BATCH):
            self._look(changed[start : start + BATCH], stamps, known, deep=deep)
        if gone:
            self.index.forget(gone)
        if gone or changed:
            self.index.settle()
        self._listed = _Listing(self.index.generation, time.monotonic(), cost, changes)

    def _list(self) -> tuple[dict[str, str], bool]:
        """Stamps by path, and whether every place could be listed."""
        stamps: dict[str, str] = {}
        troubles: list[Problem] = []
        failures: list[Exception] = []
        for place in self.places:
            try:
                stamps.update(place.listing())
            except FileNotFoundError:
                troubles.append(Problem(shown(place.pattern), "there is no such file or folder (yet)"))
            except Exception as error:  # noqa: BLE001  # each filesystem has errors of its own
                why = f"cannot be listed: {type(error).__name__}: {error}"
                troubles.append(Problem(shown(place.pattern), shown(why)))
                failures.append(error)
        for path in [path for path in stamps if not storable(path)]:
            del stamps[path]
            troubles.append(Problem(ascii(path), "its name is not UTF-8: rename it"))
        self._troubles = troubles
        if failures and len(failures) == len(self.places):
            raise StoreUnavailable(f"{troubles[-1].where} {troubles[-1].message}") from failures[-1]
        return stamps, not failures

    def _look(
        self, paths: Sequence[str], stamps: Mapping[str, str], known: Mapping[str, str], *, deep: bool = False
    ) -> set[str]:
        """Make entries of some files and keep them; say which runs are or were in them."""
        uids: set[str | None] = set()
        ends = {} if deep else self._ends([path for path in paths if path not in known], stamps)
        entries = []
        for path in paths:
            entry = None
            if path in ends:
                entry = glance(self.codec, path, stamps[path], *ends[path])
            if entry is None:
                earlier = self.index.entry_at(path) if path in known and not deep else None
                uids.add(earlier.uid if earlier else None)
                entry = self._entry(path, stamps.get(path, ""), earlier, deep=deep)
            uids.add(entry.uid)
            entries.append(entry)
        self.index.put(entries)
        return {uid for uid in uids if uid is not None}

    def _ends(self, paths: Sequence[str], stamps: Mapping[str, str]) -> dict[str, tuple[bytes, bytes]]:
        found: dict[str, tuple[bytes, bytes]] = {}
        for place in self.places:
            mine = [path for path in paths if isinstance(place, RemotePlace) and place.holds(path)]
            if mine:
                found |= place.ends(mine, stamps, END)
        return found

    def _entry(self, path: str, stamp: str, earlier: IndexEntry | None, *, deep: bool) -> IndexEntry:
        try:
            with self._place(path).open(path) as source:
                stamp = source.stamp
                return self._entry_of(path, source, earlier, deep=deep)
        except NotARun as error:
            return IndexEntry(path, stamp, problem=f"not a run: {error}")
        except OSError as error:
            return IndexEntry(path, "", problem=f"cannot be read: {shown(str(error))}")
        except Exception as error:  # noqa: BLE001  # whatever a file does to its codec, the others open
            return IndexEntry(path, stamp, problem=f"cannot be read: {type(error).__name__}: {error}")

    def _entry_of(self, path: str, source: Source, earlier: IndexEntry | None, *, deep: bool) -> IndexEntry:
        if source.size == 0:
            raise NotARun("the file is empty")
        if not deep and (earlier is None or earlier.layout is None):
            seen = self._glance(path, source)
            if seen is not None:
                return seen
        return scan(self.codec, path, source, earlier)[0]

    def _glance(self, path: str, source: Source) -> IndexEntry | None:
        if source.size <= 2 * END:
            head = tail = b"".join(content_of(source, path, [(0, 0)]).stream())
        elif compression_of(path) is None:
            head, tail = source.read(0, END), source.read(source.size - END, source.size)
        else:
            return None
        return glance(self.codec, path, source.stamp, head, tail)

    def _place(self, path: str) -> Place:
        for place in self.places:
            if place.holds(path):
                return place
        raise FileNotFoundError(f"none of the paths of this catalog holds {shown(path)}")

    def watch(self) -> None:
        """Look again at files written here and, on disk, at the latest runs that have no stop."""
        with self._lock:
            written, self._written = list(self._written.values()), {}
        known = dict(self.ask(lambda index: index.unfinished(WATCHED)))
        now = {path: self._stamp(path) for path in known if isinstance(self._place(path), LocalPlace)}
        changed = [path for path, stamp in now.items() if stamp != known[path]]
        self._look_again([*written, *changed])

    def _stamp(self, path: str) -> str:
        try:
            with self._place(path).open(path) as source:
                return source.stamp
        except OSError:
            return ""

    def _look_again(self, paths: Iterable[str]) -> None:
        todo = sorted(set(paths))
        if todo:
            with self._lock:
                self.index.settle(self._look(todo, {}, dict.fromkeys(todo, "")))

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

    def open(self, uid: str, files: ExitStack) -> tuple[IndexEntry, Content, Layout]:
        """Open a run's file as it is now, scanned as far as it goes.

        Parameters
        ----------
        files : contextlib.ExitStack
            Closes the file.

        Raises
        ------
        RunNotFound, DamagedRun
        """
        for _ in range(2):
            entry = self._find(uid)
            source = self._opened(entry)
            if source is None:
                self._forget(entry.path)
                continue
            files.enter_context(source)
            entry, layout = self._current(entry, source)
            if entry.uid == uid:
                return entry, content_of(source, entry.path, layout.members), layout
        raise self._not_found(uid)

    def _find(self, uid: str) -> IndexEntry:
        """The entry of a run: known, written here just now, or found by another listing."""
        for prepare in (self._nothing, self._look_at_written, self._list_again):
            if prepare(uid):
                try:
                    entry = self.index.entry(uid)
                except IndexLost:
                    continue
                if entry is not None:
                    return entry
        raise self._not_found(uid)

    def _nothing(self, uid: str) -> bool:
        return True

    def _look_at_written(self, uid: str) -> bool:
        path = self._written.get(uid)
        if path is not None:
            self._look_again([path])
        return path is not None

    def _list_again(self, uid: str) -> bool:
        last = self._listed
        if (
            last is None
            or last.generation != self.index.generation
            or time.monotonic() - last.when > min(SHARE * last.cost, PATIENCE)
        ):
            self.refresh()
        return True

    def _not_found(self, uid: str) -> RunNotFound:
        runs = self.ask(lambda index: index.count("1", ()))
        places = ", ".join(shown(place.pattern) for place in self.places)
        return RunNotFound(f"no run {uid!r} among the {runs} runs in {places}: a store takes full uids")

    def _opened(self, entry: IndexEntry) -> Source | None:
        place = self._place(entry.path)
        if isinstance(place, RemotePlace) and entry.stop is not None and entry.layout is not None:
            return place.trusted(entry.path, entry.stamp)
        try:
            return place.open(entry.path)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise DamagedRun(f"run {entry.uid}: {shown(str(error))}") from error

    def _forget(self, path: str) -> None:
        self.index.forget([path])
        self.index.settle()

    def _current(self, entry: IndexEntry, source: Source) -> tuple[IndexEntry, Layout]:
        """The entry and layout of a file as it is now."""
        if entry.stamp == source.stamp and entry.layout is not None:
            try:
                return entry, Layout.unpack(entry.layout)
            except ValueError:
                pass
        try:
            now, layout = scan(self.codec, entry.path, source, entry)
        except NotARun as error:
            raise DamagedRun(f"{shown(entry.path)}, where run {entry.uid} was, holds no run now: {error}") from error
        with suppress(IndexLost):  # the next search lists the files again
            self.index.put([now])
            self.index.settle({str(entry.uid), str(now.uid)})
        return now, layout

    def close(self) -> None:
        """Let go of the index's connections."""
        if self._index is not None:
            self._index.close()
