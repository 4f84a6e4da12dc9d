"""Copying run after run: written, read back, compared; what somebody else may be writing is looked at again last."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from intake_bluesky.documents.model import Document
from intake_bluesky.errors import (
    CopyFailed,
    DamagedRun,
    DuplicateRun,
    IntakeBlueskyError,
    RunNotFound,
    StoreUnavailable,
    UnsupportedOperation,
)
from intake_bluesky.runtime.progress import track
from intake_bluesky.storage.contract import RunStore
from intake_bluesky.transfer.assets.embedding import Embedding
from intake_bluesky.transfer.assets.file_copies import FileCopies
from intake_bluesky.transfer.digests import Digest, Relation, compare
from intake_bluesky.transfer.reading import Reading, SourceFailed, read_ahead
from intake_bluesky.transfer.report import CopyReport
from intake_bluesky.transfer.sources import Source, Sources

__all__ = ["Copier", "answers"]

QUIET: Final = 2.0  # seconds in which an unfinished run that somebody writes would have grown
PATIENCE: Final = 60.0  # seconds for which somebody else's writing is waited for
PAUSE: Final = 0.1


@dataclass(slots=True)
class _Unclear:
    """A run in the target that is not the whole of its source: a beginning that was left, or is being written."""

    source: Source
    version: str
    since: float
    wrote: bool = False  # whether it was written here


class Copier:
    """Copies runs into one store.

    Parameters
    ----------
    target : RunStore
    files : FileCopies, Embedding or None
        Where files are copied to, or their arrays, if they are.
    unfinished : bool
        Whether runs without a stop are copied.
    dry_run : bool
    """

    def __init__(
        self, target: RunStore, files: FileCopies | Embedding | None, *, unfinished: bool, dry_run: bool
    ) -> None:
        self._target, self._files, self._unfinished = target, files, unfinished
        self.report = CopyReport(dry_run=dry_run)
        self._unclear: list[_Unclear] = []
        self._versions: dict[str, str] = {}  # of runs when their files were copied

    def copy(self, sources: Sources) -> CopyReport:
        """Copy all of them.

        Raises
        ------
        CopyFailed
            When a store fails as a whole.
        """
        try:
            watched = track(sources, total=len(sources), what="copying")
            with read_ahead(self._wanted(iter(watched)), ordered=self._target.exact_documents) as readings:
                if self.report.dry_run:
                    for reading in readings:
                        self._each(reading.source, self._look, reading)
                else:
                    self._copy_all(readings)
            for unclear in self._unclear:
                self._each(unclear.source, self._settle, unclear)
        except (StoreUnavailable, OSError) as error:
            so_far = f"So far: {self.report.head}. Once that is mended, the same copy goes on from here"
            raise CopyFailed(f"copying stopped: {error}. {so_far}", self.report) from error
        if self._files is not None:
            self._files.finish(self.report)
        return self.report

    def _wanted(self, sources: Iterator[Source | str]) -> Iterator[Source]:
        for source in sources:
            if isinstance(source, str):
                self.report.refused[source] = "it is no longer there"
            elif not source.finished and not self._unfinished:
                self.report.unfinished.append(source.uid)
            else:
                self.report.exact = self.report.exact and self._ordered(source)
                yield source

    def _ordered(self, source: Source) -> bool:
        return self._target.exact_documents and source.store.exact_documents

    def _each(self, source: Source, do: Callable[..., None], *what: Any) -> bool:
        """Do something for one run, or note why it cannot be copied; a store that fails as a whole ends the copy."""
        try:
            do(*what)
        except SourceFailed as failed:
            if isinstance(failed.__cause__, StoreUnavailable) and not answers(source.store):
                raise failed.__cause__ from failed
            self._refuse(source, failed.__cause__ or failed)
        except Exception as error:
            # By any other error of the operating system, as that of a full disk, the target fails as a whole.
            of_run = isinstance(error, IntakeBlueskyError) and not isinstance(error, StoreUnavailable)
            if isinstance(error, OSError) and not of_run:
                raise
            self._refuse(source, error)
        else:
            return True
        return False

    def _refuse(self, source: Source, error: BaseException) -> None:
        told = str(error) if isinstance(error, IntakeBlueskyError | OSError) else f"{type(error).__name__}: {error}"
        self.report.refused[source.uid] = told

    def _look(self, reading: Reading) -> None:
        """See what would be done with a run."""
        reading.finish()
        self._copy_files(reading.source)
        try:
            self._judge(reading, self._relation_to(reading))
        except RunNotFound:
            self.report.copied.append(reading.source.uid)
        except StoreUnavailable:
            if not self._target.trusts_paths:
                raise
            self.report.copied.append(reading.source.uid)  # a database on this machine that the first run makes

    def _copy_all(self, readings: Iterator[Reading]) -> None:
        """Write runs as they are read, and look at each once the target says what became of it."""
        written: deque[Reading] = deque()

        def given() -> Iterator[Iterator[tuple[str, Document]]]:
            for reading in readings:
                if self._each(reading.source, self._copy_files, reading.source):
                    written.append(reading)
                    yield reading.pairs()
                    with suppress(SourceFailed):  # which the target has met, too
                        reading.finish()
                else:
                    reading.abandon()

        for error in self._target.insert_runs(given()):
            reading = written.popleft()
            self._each(reading.source, self._inserted, reading, error)

    def _copy_files(self, source: Source) -> None:
        if self._files is not None:
            self._versions[source.uid] = source.store.header(source.uid).version
            self._files.copy(source, self.report)

    def _check_unchanged(self, source: Source, *, wrote: bool) -> None:
        """Refuse a run whose documents were read after they changed: its files are those of before."""
        before = self._versions.pop(source.uid, None)
        if before is None or before == _version(source.store, source.uid):
            return
        if wrote:
            self._target.remove(source.uid, permanent=True)
        raise DamagedRun(
            "it went on, or was replaced or removed, while it was copied, and its files may be those of before: copy "
            "again"
        )

    def _inserted(self, reading: Reading, error: IntakeBlueskyError | None) -> None:
        """See what became of a run that was given to the target."""
        reading.finish()
        self._check_unchanged(reading.source, wrote=error is None)
        if error is None:
            self._verify(reading)
        elif not isinstance(error, DuplicateRun | RunNotFound):
            raise error
        else:
            try:
                self._judge(reading, self._relation_to(reading))
            except RunNotFound:  # what is in its place is no run, or not yet
                self._leave(reading.source)

    def _verify(self, reading: Reading) -> None:
        """Read a run back that was written here."""
        uid = reading.source.uid
        try:
            same = self._relation_to(reading, complete=True) is Relation.SAME
        except (DamagedRun, RunNotFound):
            same = False
        if not same:  # another program may have taken it for one that was left, and be writing it
            self._leave(reading.source, wrote=True)
            return
        self.report.copied.append(uid)
        self.report.documents += reading.documents

    def _relation_to(self, reading: Reading, *, complete: bool = False) -> Relation:
        """What a run that was read is to that in the target."""
        uid = reading.source.uid
        found = Digest(ordered=reading.ordered)
        for name, doc in self._target.complete_documents(uid) if complete else self._target.documents(uid):
            found.add(name, doc)
        return Relation.SAME if found.value == reading.digest else self._relation(reading.source)

    def _relation(self, source: Source) -> Relation:
        own, others = source.store.documents(source.uid), self._target.documents(source.uid)
        return compare(own, others, ordered=self._ordered(source))

    def _judge(self, reading: Reading, relation: Relation) -> None:
        """Decide about a run of which the target has something."""
        source = reading.source
        if relation in (Relation.SAME, Relation.LONGER):
            self.report.skipped.append(source.uid)
        elif relation is Relation.BEGINNING and self.report.dry_run:
            self.report.copied.append(source.uid)
        elif relation is Relation.BEGINNING:
            self._leave(source)
        else:
            raise self._another(source)

    def _another(self, source: Source) -> DuplicateRun:
        return DuplicateRun(
            f"{self._target!r} has another run of this uid, with other documents: remove that, if this one is right"
        )

    def _leave(self, source: Source, *, wrote: bool = False) -> None:
        self._unclear.append(_Unclear(source, _version(self._target, source.uid), time.monotonic(), wrote))

    def _settle(self, unclear: _Unclear) -> None:
        """Copy a run anew whose beginning was left, or see what somebody else made of it."""
        source, deadline = unclear.source, time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            try:
                relation = self._relation(source)
            except RunNotFound:
                relation = Relation.BEGINNING  # not even the start
            if relation in (Relation.SAME, Relation.LONGER):
                (self.report.copied if unclear.wrote else self.report.skipped).append(source.uid)
                return
            if relation is Relation.DIFFERENT and unclear.wrote:
                self._target.remove(source.uid, permanent=True)
                raise DamagedRun(f"{self._target!r} does not give back what was written: it was taken out again")
            if relation is Relation.DIFFERENT:
                raise self._another(source)
            if self._is_quiet(unclear, deadline) and self._anew(unclear):
                return
        raise DuplicateRun(
            f"{self._target!r} has a beginning of it, which is being written: copy again once it is there"
        )

    def _is_quiet(self, unclear: _Unclear, deadline: float) -> bool:
        """Wait until what is in the target has not changed for a while; False where it has changed."""
        while time.monotonic() < min(unclear.since + QUIET, deadline):
            time.sleep(PAUSE)
            version = _version(self._target, unclear.source.uid)
            if version != unclear.version:
                unclear.version, unclear.since = version, time.monotonic()
                return False
        return True

    def _anew(self, unclear: _Unclear) -> bool:
        """Take a beginning out, and copy the run; whether that is done."""
        source = unclear.source
        try:
            self._target.remove(source.uid, permanent=True)
        except RunNotFound:
            pass
        except UnsupportedOperation:  # this program is writing it
            return False
        if isinstance(self._files, Embedding):  # the arrays went with the beginning
            self._copy_files(source)
        with read_ahead([source], ordered=self._target.exact_documents) as readings:
            [reading] = readings
            [error] = self._target.insert_runs([reading.pairs()])
        if isinstance(error, DuplicateRun | RunNotFound):  # somebody else has just done so
            unclear.version, unclear.since = _version(self._target, source.uid), time.monotonic()
            return False
        if error is not None:
            raise error
        self._check_unchanged(source, wrote=True)
        if self._relation_to(reading, complete=True) is not Relation.SAME:
            unclear.wrote = True
            return False
        self.report.copied.append(source.uid)
        self.report.documents += reading.documents
        return True


def _version(store: RunStore, uid: str) -> str:
    try:
        return store.header(uid).version
    except (DamagedRun, RunNotFound) as error:
        return str(error)


def answers(store: RunStore) -> bool:
    """Whether a store that could not give a run can be used for others."""
    try:
        list(store.find(limit=1))
    except StoreUnavailable:
        return False
    return True
