"""How far long work has come: one mechanism for all of it, silent unless somebody is watching."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, TypeVar

__all__ = ["Progress", "Report", "reporting", "track"]

T = TypeVar("T")
SOON: Final = 1.0  # seconds after which a bar is shown
OFTEN: Final = 0.1  # seconds between two reports


@dataclass(frozen=True, slots=True)
class Progress:
    """How far some work has come.

    Attributes
    ----------
    what : str
        The work: ``"indexing"``.
    done : int
        Things, such as files.
    total : int or None
        How many there are; None where nobody knows.
    """

    what: str
    done: int
    total: int | None


Report: TypeAlias = Callable[[Progress], object]

_report: ContextVar[Report | None] = ContextVar("report", default=None)


@contextmanager
def reporting(report: Report) -> Iterator[None]:
    """Report the progress of what is done within to a function, in place of a bar.

    Parameters
    ----------
    report : callable
        Called with a `Progress` at the beginning, ten times a second at most, and at the end.

    Examples
    --------
    >>> with reporting(print):
    ...     done = list(track("ab", total=2, what="spelling"))
    Progress(what='spelling', done=0, total=2)
    Progress(what='spelling', done=2, total=2)
    """
    token = _report.set(report)
    try:
        yield
    finally:
        _report.reset(token)


def track(things: Iterable[T], *, total: int | None, what: str) -> Iterator[T]:
    """Pass things on, and report how many were.

    A bar appears on a terminal or in a notebook after a second; elsewhere, as in a script whose output goes to
    a file, nothing does. `reporting` takes its place.
    """
    report = _report.get()
    if report is not None:
        return _reported(things, total, what, report)
    if not _watched():
        return iter(things)
    from tqdm import tqdm  # type: ignore[import-untyped]  # it ships no types

    return iter(tqdm(things, desc=what, total=total, delay=SOON, leave=False, file=sys.stderr, mininterval=OFTEN))


def _reported(things: Iterable[T], total: int | None, what: str, report: Report) -> Iterator[T]:
    report(Progress(what, 0, total))
    last, done = time.monotonic(), 0
    for done, thing in enumerate(things, 1):
        yield thing
        if done != total and time.monotonic() - last > OFTEN:
            report(Progress(what, done, total))
            last = time.monotonic()
    report(Progress(what, done, total))


def _watched() -> bool:
    """Whether what goes to standard error is seen as it comes: on a terminal, or under a notebook's cell."""
    if sys.stderr is not None and sys.stderr.isatty():
        return True
    ipython: Any = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None and hasattr(ipython, "get_ipython") else None
    return shell is not None and hasattr(shell, "kernel")
