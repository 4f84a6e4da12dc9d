"""The catalogs of a federation: opened when they are needed, asked beside each other, and left out where they fail."""

from __future__ import annotations

import queue
import threading
import time
import warnings
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final, Literal, Protocol, TypeAlias, TypeVar

from intake_bluesky.errors import (
    AmbiguousRun,
    IntakeBlueskyError,
    RunNotFound,
    SearchTooLarge,
    SourceLeftOutWarning,
    StoreUnavailable,
    UnsupportedQuery,
)
from intake_bluesky.search.selection import Selection
from intake_bluesky.storage.contract import Problem
from intake_bluesky.storage.origin import Origin

__all__ = ["FederatedRuns", "FederatedSources", "OnError", "SourceOpener"]

T = TypeVar("T")
OnError: TypeAlias = Literal["raise", "warn", "skip"]

FIRST: Final = 20
"""Results that are passed on at first: somebody waits for them."""
BATCH: Final = 200
"""Results that are passed on at once from then on."""
AHEAD: Final = 2
"""Batches of a source that wait at most."""
REST: Final = 30.0
"""Seconds for which a source that failed is not asked again, unless by a deep refresh."""

OF_QUESTIONS: Final = (UnsupportedQuery, SearchTooLarge, AmbiguousRun)
"""Errors of what is asked."""


class FederatedRuns(Protocol):
    """What a federation asks of a catalog; `BlueskyCatalog` has it."""

    @property
    def selection(self) -> Selection:
        """The runs that the catalog shows."""

    @property
    def origin(self) -> Origin:
        """How they are read."""

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What could not be read."""

    def reload(self) -> Any:
        """Look for new runs, unless that was done just now."""

    def refresh(self, *, deep: bool = False) -> Any:
        """Look for new runs now."""


class SourceOpener(Protocol):
    """How a source is opened."""

    @property
    def address(self) -> str:
        """What tells the source from all others, wherever it is named."""

    def __call__(self) -> FederatedRuns:
        """Open it."""


@dataclass(slots=True, eq=False)
class _Source:
    """One of them, and its state."""

    name: str
    opener: SourceOpener
    runs: FederatedRuns | None = None
    error: Exception | None = None
    failed: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def open(self, path: tuple[str, ...]) -> FederatedRuns:
        """Open it, once; `path` are the federations by which it was reached."""
        with self.lock:
            address = self.opener.address
            # Also of one that is open: Intake opens a source of a file once, so that a federation that has itself among
            # its sources finds the very object.
            if address in path:
                raise UnsupportedQuery(f"a federation has itself among its sources: {' -> '.join((*path, address))}")
            if self.runs is None:
                runs = self.opener()
                within = getattr(runs.selection.store, "sources", None)
                if isinstance(within, FederatedSources):
                    within.path = (*path, address)
                self.runs = runs
            return self.runs

    @property
    def rests(self) -> bool:
        return self.error is not None and time.monotonic() - self.failed < REST

    def fail(self, error: Exception) -> None:
        self.error, self.failed = error, time.monotonic()


_Answers: TypeAlias = Generator[T, None, None]
Failed: TypeAlias = Callable[[_Source, Exception], None]
"""What is done with the error of a source."""


class FederatedSources:
    """Several catalogs, those before others preferred.

    Parameters
    ----------
    openers : mapping of name to callable
        Each called once, when the source is needed.
    on_error : {"raise", "warn", "skip"}
        What becomes of a source that cannot be opened or asked: the error is raised, with its name; or the source is
        left out for a while, with a `SourceLeftOutWarning`, or without. It is in `problems` as long as it is left out.
    timeout : float or None
        Seconds in which a source has to give its next results.

    Attributes
    ----------
    path : tuple of str
        Of a federation in a federation, the addresses by which it was reached.
    """

    def __init__(self, openers: Mapping[str, SourceOpener], on_error: OnError, timeout: float | None) -> None:
        self.openers, self.on_error, self.timeout = dict(openers), on_error, timeout
        self._sources = [_Source(name, opener) for name, opener in self.openers.items()]
        self.path: tuple[str, ...] = ()
        self._elsewhere: dict[str, Problem] = {}

    def __reduce__(self) -> Any:
        return type(self), (self.openers, self.on_error, self.timeout)

    def __len__(self) -> int:
        return len(self._sources)

    def states(self) -> dict[str, str]:
        """Of each source in words whether it was opened, or why it could not be asked last; asks nothing."""
        return {
            one.name: str(one.error) if one.error else "not opened yet" if one.runs is None else "open"
            for one in self._sources
        }

    def failures(self) -> dict[str, str]:
        """Why sources could not be asked last, by their names."""
        return {one.name: str(one.error) for one in self._sources if one.error is not None}

    def open(self, name: str) -> FederatedRuns:
        """Open one by its name, whatever its state.

        Raises
        ------
        RunNotFound
            When there is none of that name.
        """
        return self._source(name).open(self.path)

    def _source(self, name: str) -> _Source:
        for one in self._sources:
            if one.name == name:
                return one
        raise RunNotFound(f"no source is called {name!r}: there are {', '.join(self.openers)}")

    def is_left_out(self, name: str) -> bool:
        """Whether a source is not asked at present."""
        return self.on_error != "raise" and self._source(name).rests

    def read_elsewhere(self, uid: str, name: str, other: str, error: Exception) -> None:
        """Note that a run was read from its copy in another source than its own, and say so as `on_error` has it."""
        told = f"it is read from its copy in source {other!r}, for source {name!r} cannot be read: {error}"
        self._elsewhere[uid] = Problem(name, told, uid)
        if self.on_error != "skip":
            warnings.warn(f"run {uid} of the federation: {told}", SourceLeftOutWarning, stacklevel=4)

    def each(
        self, ask: Callable[[str, FederatedRuns], T], *, opened: bool = False, failed: Failed | None = None
    ) -> Iterator[tuple[str, T]]:
        """Ask all at once, and yield names and answers in the order of the sources.

        Parameters
        ----------
        ask : callable
        opened : bool
            Ask only those that were opened.
        failed : callable, optional
            What to do with the error of a source, in the place of `on_error`.
        """
        asked = [one for one in self._sources if one.runs is not None or not opened]
        streams = self._streams(lambda name, runs: iter((ask(name, runs),)), asked, failed)
        for one, answers in zip(asked, streams, strict=True):
            with closing(answers):
                yield from ((one.name, answer) for answer in answers)

    @contextmanager
    def streams(self, ask: Callable[[str, FederatedRuns], Iterator[T]]) -> Iterator[list[_Answers[T]]]:
        """Ask all at once for several results each, which are then read from one iterator a source, in any order."""
        found = self._streams(ask, self._sources)
        try:
            yield found
        finally:
            for answers in found:
                answers.close()

    def _streams(
        self, ask: Callable[[str, FederatedRuns], Iterator[T]], asked: list[_Source], failed: Failed | None = None
    ) -> list[_Answers[T]]:
        alone = len(asked) == 1 and self.timeout is None  # then nobody else is waited for

        def fail(source: _Source, error: Exception) -> None:
            # What no source could answer is no fault of this one.
            if isinstance(error, OF_QUESTIONS) or not isinstance(error, IntakeBlueskyError | OSError):
                raise error
            source.fail(error)
            (failed or self._leave_out)(source, error)

        return [
            _nothing() if self.is_left_out(one.name)
            else self._direct(one, ask, fail) if alone
            else _AnswersAhead(one, self._direct(one, ask, None), fail, self.timeout)
            for one in asked
        ]  # fmt: skip

    def _direct(
        self, source: _Source, ask: Callable[[str, FederatedRuns], Iterator[T]], fail: Failed | None
    ) -> _Answers[T]:
        """What a source answers, found in the thread that reads it."""
        try:
            yield from ask(source.name, source.open(self.path))
            source.error = None
        except Exception as error:  # whatever it is, it is put down to a source, or raised
            if fail is None:
                raise
            fail(source, error)

    def _leave_out(self, source: _Source, error: Exception) -> None:
        """Raise, or leave a source out, as `on_error` says."""
        told = f"source {source.name!r} of the federation cannot be read: {error}"
        if self.on_error == "raise":
            raise StoreUnavailable(f"{told}. With on_error='warn' it is left out") from error
        if self.on_error == "warn":
            warnings.warn(f"{told}. It is left out", SourceLeftOutWarning, stacklevel=2)

    def problems(self) -> Iterator[Problem]:
        """What could not be read of those that were opened, and which are left out."""
        yield from self._elsewhere.values()
        for one in self._sources:
            if one.error is not None:
                yield Problem(one.name, f"the source is left out: {one.error}")
            try:
                own = () if one.runs is None else one.runs.problems
            except (StoreUnavailable, OSError) as error:
                own = () if one.error is not None else (Problem("", str(error)),)
            for problem in own:
                where = ": ".join(filter(None, (one.name, problem.where)))
                yield Problem(where, problem.message, problem.uid, problem.to_come)

    def try_again(self) -> None:
        """Ask those that are left out, too, the next time."""
        self._elsewhere.clear()
        for one in self._sources:
            one.error = None


def _nothing() -> _Answers[Any]:
    yield from ()


class _AnswersAhead(Generator[T, None, None]):
    """Results that a thread of its own finds, as far ahead as they are wanted soon."""

    def __init__(self, source: _Source, answers: _Answers[T], fail: Failed, timeout: float | None) -> None:
        self._source, self._answers, self._fail, self._timeout = source, answers, fail, timeout
        self._found: queue.Queue[list[T] | Exception | None] = queue.Queue(AHEAD)
        self._left: Iterator[T] = iter(())
        self._closed, self._ended = threading.Event(), False
        # A daemon: a source that hangs does not keep the program from ending.
        threading.Thread(target=self._work, daemon=True, name=f"source {source.name}").start()

    def _work(self) -> None:
        with closing(self._answers) as answers:
            try:
                size = FIRST
                while batch := list(islice(answers, size)):
                    size = BATCH
                    if not self._put(batch):
                        return
                self._put(None)
            except Exception as error:  # noqa: BLE001  # raised again where the results are read
                self._put(error)

    def _put(self, found: list[T] | Exception | None) -> bool:
        if not self._closed.is_set():
            self._found.put(found)
        return not self._closed.is_set()

    def send(self, value: None, /) -> T:
        while not self._ended:
            with suppress(StopIteration):
                return next(self._left)
            try:
                found = self._found.get(timeout=self._timeout)
            except queue.Empty:
                found = StoreUnavailable(f"it did not answer within {self._timeout:g} s")
            if isinstance(found, list):
                self._left = iter(found)
                continue
            self._ended = True
            if found is not None:
                self.close()
                self._fail(self._source, found)
        raise StopIteration

    def throw(self, *error: Any) -> T:
        self.close()
        raise error[0]

    def close(self) -> None:
        """Let the thread end, which may wait for room among the results."""
        self._closed.set()
        self._ended = True
        with suppress(queue.Empty):
            while True:
                self._found.get_nowait()
