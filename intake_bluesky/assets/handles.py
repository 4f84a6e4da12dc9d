"""Open HDF5 files, kept for a moment: few at a time, for a few seconds, and never a stale one.

Opening a file costs about a millisecond, more on network storage, and a compute reads many blocks of one file. So a file
stays open for a little while after its last use. A fork starts with none; nothing of this is ever pickled.
"""

from __future__ import annotations

import os
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from intake_bluesky.assets.location import Location
from intake_bluesky.errors import MissingDependency

__all__ = ["HandlePool", "hdf5_file", "import_h5py"]

MOST_IDLE: Final = 8
IDLE_SECONDS: Final = 2.0


def import_h5py() -> Any:
    """Import h5py, or say how to get it."""
    try:
        import h5py
    except ImportError as error:
        raise MissingDependency.of("h5py", extra="assets", purpose="to read HDF5 files") from error
    return h5py


@dataclass(eq=False)
class _Handle:
    file: Any
    stamp: str
    users: int = 0
    idle_since: float = field(default_factory=time.monotonic)


class HandlePool:
    """Open files by path and way of opening, at most `most_idle` of them unused, none for longer than `idle_seconds`.

    A file that changed since it was opened (it grew, or another took its place) is opened anew.
    """

    def __init__(self, most_idle: int = MOST_IDLE, idle_seconds: float = IDLE_SECONDS) -> None:
        self.most_idle = most_idle
        self.idle_seconds = idle_seconds
        self.reset()

    def reset(self) -> None:
        """Forget everything without closing it: what a forked child does with the handles of its parent."""
        self._lock = threading.Lock()
        self._handles: OrderedDict[tuple[Any, ...], _Handle] = OrderedDict()
        self._sweeper: threading.Timer | None = None

    def __len__(self) -> int:
        return len(self._handles)

    @contextmanager
    def use(self, location: Location, *, swmr: bool = False, locking: Any = False) -> Iterator[Any]:
        """Lend the open file.

        Raises
        ------
        OSError
            When it cannot be opened; FileNotFoundError when it is not there.
        """
        stamp, _ = location.status()
        key = (location.path, swmr, locking)
        handle = self._acquire(key, location, stamp)
        try:
            yield handle.file
        finally:
            self._release(key, handle)

    def _acquire(self, key: tuple[Any, ...], location: Location, stamp: str) -> _Handle:
        with self._lock:
            handle = self._handles.get(key)
            if handle is None or handle.stamp != stamp:
                if handle is not None:
                    self._drop(key)
                handle = _Handle(_open(location, swmr=key[1], locking=key[2]), stamp)
                self._handles[key] = handle
            handle.users += 1
            return handle

    def _release(self, key: tuple[Any, ...], handle: _Handle) -> None:
        with self._lock:
            handle.users -= 1
            handle.idle_since = time.monotonic()
            if self._handles.get(key) is not handle:
                if not handle.users:
                    handle.file.close()
                return
            self._handles.move_to_end(key)
            idle = [k for k, h in self._handles.items() if not h.users]
            for old in idle[: max(0, len(idle) - self.most_idle)]:
                self._drop(old)
            self._watch()

    def _drop(self, key: tuple[Any, ...]) -> None:
        handle = self._handles.pop(key)
        if not handle.users:
            handle.file.close()

    def _watch(self) -> None:
        if self._sweeper is None and self._handles:
            self._sweeper = threading.Timer(self.idle_seconds, self._sweep)
            self._sweeper.daemon = True
            self._sweeper.start()

    def _sweep(self) -> None:
        with self._lock:
            self._sweeper = None
            oldest = time.monotonic() - self.idle_seconds
            for key in [k for k, h in self._handles.items() if not h.users and h.idle_since <= oldest]:
                self._drop(key)
            self._watch()

    def close(self) -> None:
        """Close all that nobody is using."""
        with self._lock:
            for key in [k for k, h in self._handles.items() if not h.users]:
                self._drop(key)


def _open(location: Location, *, swmr: bool, locking: Any) -> Any:
    h5py = import_h5py()
    if not location.is_local:
        return h5py.File(location.open(), "r")
    refused: OSError | ValueError | None = None
    # A file being written in SWMR mode opens only so; an old one only plainly; and HDF5 refuses to open a file twice in
    # one process with other flags, so those of whoever has it open are tried too.
    for as_swmr, lock in ((swmr, locking), (not swmr, locking), (swmr, None), (not swmr, None)):
        try:
            return h5py.File(
                location.path, "r", libver="latest" if as_swmr else None, swmr=as_swmr, locking=lock
            )
        except FileNotFoundError:
            raise
        except (OSError, ValueError) as error:
            refused = refused or error
    raise OSError(f"{location.path} does not open as HDF5: {refused}") from refused


_POOL = HandlePool()
hdf5_file = _POOL.use
"""Lend an open HDF5 file of this process's pool."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_POOL.reset)
