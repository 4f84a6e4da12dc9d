"""Open HDF5 files, shared by the threads that read them and closed when the last one is done.

Nothing stays open between uses. Opening costs about half a millisecond, once a block; a handle that lingers costs the
user more: HDF5 refuses to open a file twice in one process in different ways, so it would be in the way of their own
``h5py.File``, and of a writer.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

from intake_bluesky.assets.location import Location
from intake_bluesky.errors import MissingDependency

__all__ = ["SharedFiles", "hdf5_file", "import_h5py", "open_files"]

_Key: TypeAlias = "tuple[str, str, bool, bool | None]"


def import_h5py() -> Any:
    """Import h5py, or say how to get it."""
    try:
        import h5py
    except ImportError as error:
        raise MissingDependency.of("h5py", extra="assets", purpose="to read HDF5 files") from error
    return h5py


@dataclass(eq=False, slots=True)
class _Handle:
    file: Any
    users: int = 0


class SharedFiles:
    """Files that are in use at this moment, one handle each; a file that changed meanwhile counts as another."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget everything without closing it: what a forked child does with the handles of its parent."""
        self._lock = threading.Lock()
        self._handles: dict[_Key, _Handle] = {}

    def __len__(self) -> int:
        return len(self._handles)

    @contextmanager
    def use(self, location: Location, *, swmr: bool = False, locking: bool | None = False) -> Iterator[Any]:
        """Lend the open file.

        Raises
        ------
        OSError
            When it cannot be opened; FileNotFoundError when it is not there.
        """
        key = (location.path, location.status()[0], swmr, locking)
        with self._lock:
            handle = self._handles.get(key)
            if handle is None:
                handle = self._handles[key] = _Handle(_open(location, swmr=swmr, locking=locking))
            handle.users += 1
        try:
            yield handle.file
        finally:
            with self._lock:
                handle.users -= 1
                if not handle.users:
                    self._handles.pop(key, None)
                    handle.file.close()


def _open(location: Location, *, swmr: bool, locking: bool | None) -> Any:
    h5py = import_h5py()
    if not location.is_local:
        return h5py.File(location.open(), "r", rdcc_nbytes=0)
    refused: Exception | None = None
    # A file being written in SWMR mode opens only so, an old one only plainly; and where this process has it open
    # already, HDF5 opens it only as it is open.
    for as_swmr, lock in ((swmr, locking), (not swmr, locking), (swmr, None), (not swmr, None)):
        try:
            # Blocks are whole chunks, read once: through HDF5's chunk cache they would be copied once more.
            return h5py.File(
                location.path, "r", libver="latest" if as_swmr else None, swmr=as_swmr, locking=lock, rdcc_nbytes=0
            )
        except FileNotFoundError:
            raise
        except (OSError, ValueError, RuntimeError) as error:
            refused = refused or error
    raise OSError(f"{location.path} does not open as HDF5: {refused}") from refused


open_files = SharedFiles()
hdf5_file = open_files.use
"""Lend an open HDF5 file of this process."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=open_files.reset)
