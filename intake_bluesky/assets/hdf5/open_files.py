"""Open HDF5 files, shared by the threads that read them and closed when the last one is done.

Nothing stays open between uses. Opening costs about half a millisecond, once a block; a handle left open costs the
user more: HDF5 refuses to open a file twice in one process in different modes, so their own ``h5py.File`` would fail,
and so would a writer.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Hashable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from struct import unpack
from typing import Any, Final, TypeVar

from intake_bluesky.assets.location import Location
from intake_bluesky.assets.remote.remote_file import RemoteFile
from intake_bluesky.errors import AssetUnavailable, IntakeBlueskyError
from intake_bluesky.runtime.optional import optional_import
from intake_bluesky.runtime.shared import Shared

__all__ = ["OpenFile", "SharedFiles", "import_h5py", "open_files"]

T = TypeVar("T")
SIGNATURE: Final = b"\x89HDF\r\n\x1a\n"
WRITING: Final = 0b101  # flags of the superblock: open for writing, and in SWMR mode


def import_h5py() -> Any:
    """Import h5py, or raise with the way to install it."""
    return optional_import("h5py", extra="assets", purpose="to read HDF5 files")


@dataclass(eq=False, slots=True)
class OpenFile:
    """One file while it is in use.

    Attributes
    ----------
    file : h5py.File
    location : Location
    kept : dict
        Results of looking into the file, reused by the next read of the same session.
    linked : contextlib.ExitStack
        Holds the files that links of this one lead to.
    remote : RemoteFile or None
        What HDF5 reads from, where that is not the operating system.
    """

    file: Any
    location: Location
    remote: RemoteFile | None = None
    kept: dict[Hashable, Any] = field(default_factory=dict)
    linked: ExitStack = field(default_factory=ExitStack)

    def open_linked(self, location: Location) -> OpenFile:
        """Open a file that a link in this one leads to, for as long as this one is open.

        It is not shared: two files that link to each other would hold each other open for ever.
        """

        def opened() -> OpenFile:
            location.check()
            file = _opened(location, _begun(location)[1], swmr=bool(self.file.swmr_mode), locking=False)
            return self.linked.enter_context(closing(file))

        return open_files.keep(self, ("linked", location.path), opened)

    def close(self) -> None:
        """Close the file and those it leads to; datasets are dropped first, because a live one holds its file open."""
        self.kept.clear()
        self.linked.close()
        # HDF5 first: a file of its that is open when the process ends reads from one that is gone.
        self.file.close()
        if self.remote is not None:
            self.remote.close()


class SharedFiles:
    """Files that are in use at this moment, one handle each; a file that changed meanwhile counts as another."""

    def __init__(self) -> None:
        self._shared: Shared[OpenFile] = Shared(OpenFile.close)
        self._here = threading.local()

    def __len__(self) -> int:
        return len(self._shared)

    @contextmanager
    def lend(
        self, location: Location, *, swmr: bool = False, locking: bool | None = False, recent: bool = False
    ) -> Iterator[OpenFile]:
        """Lend the open file and what is known of it.

        With `recent` a server is not asked for the version again that it told a moment ago, or that this thread is
        reading: for reading values, of which each answer tells whether it holds.

        Raises
        ------
        OSError
            When it cannot be opened; FileNotFoundError when it is not there.
        """
        location.check()
        # `roots` too: what a trusted catalog has found through links is not for an untrusted one.
        lent = self._lent_here()
        held = next((file for file in lent if recent and file.location == location and file.file), None)
        if held is not None:
            yield held
            return
        version, remote = _begun(location, recent=recent)
        key = (location.path, version, swmr, locking, location.roots)
        with self._shared.lend(key, lambda: _opened(location, remote, swmr=swmr, locking=locking)) as handle:
            if remote is not None:
                lent.append(handle)
            try:
                yield handle
            finally:
                if handle in lent:
                    lent.remove(handle)

    def _lent_here(self) -> list[OpenFile]:
        """Remote files that this thread holds."""
        found: list[OpenFile] = self._here.__dict__.setdefault("lent", [])
        return found

    def keep(self, handle: OpenFile, key: Hashable, make: Callable[[], T]) -> T:
        """The value made for this file and key before; if there is none, one thread makes it now."""
        # Without the lock first: after the first block of a file every read comes by here.
        found: T | None = handle.kept.get(key)
        if found is not None:
            return found
        with self._shared.lock:
            found = handle.kept.get(key)
            if found is None:
                found = handle.kept[key] = make()
            return found


def _begun(location: Location, *, recent: bool = False) -> tuple[str, RemoteFile | None]:
    """The version of a file, and of a remote one its beginning: fetched here, where no other thread waits for it."""
    if location.is_local:
        return location.status()[0], None
    info = location.info(recent=recent)
    remote = location.open_remote(info, exact=True)
    remote.begin()
    return info.tag or str(info.size), remote


def _opened(location: Location, remote: RemoteFile | None, *, swmr: bool, locking: bool | None) -> OpenFile:
    if remote is None:
        return OpenFile(_open(location, swmr=swmr, locking=locking), location)
    try:
        return OpenFile(import_h5py().File(remote, "r", rdcc_nbytes=0), location, remote)
    except (OSError, ValueError, RuntimeError) as error:
        if isinstance(error, (IntakeBlueskyError, FileNotFoundError, PermissionError)):
            raise
        raise AssetUnavailable(f"{location.path} does not open as HDF5: {error}") from error


def _open(location: Location, *, swmr: bool, locking: bool | None) -> Any:
    h5py = import_h5py()
    refused: Exception | None = None
    # A file being written in SWMR mode opens only in that mode, an old one only without; and where this process has it
    # open already, HDF5 opens it only in the same mode and with the same locking, which `None` leaves to HDF5.
    for as_swmr, lock in ((swmr, locking), (not swmr, locking), (swmr, None), (not swmr, None)):
        try:
            if as_swmr:
                _check_length(location.path)
            # Blocks are whole chunks, read once: through HDF5's chunk cache they would be copied once more.
            return h5py.File(
                location.path, "r", libver="latest" if as_swmr else None, swmr=as_swmr, locking=lock, rdcc_nbytes=0
            )
        except FileNotFoundError:
            raise
        except (OSError, ValueError, RuntimeError) as error:
            refused = refused or error
    raise OSError(f"{location.path} does not open as HDF5: {refused}") from refused


def _check_length(path: str) -> None:
    """Refuse a file that was closed and is shorter than it was then: in SWMR mode HDF5 reads zeros, or waits for ever.

    The superblock of format 2 and 3 has whether a writer has the file open, and where the file ended when it was
    written (HDF5 File Format Specification 3.0, section II.A).
    """
    with open(path, "rb") as file:
        head = file.read(36)
        length = file.seek(0, os.SEEK_END)
    if len(head) < 36 or not head.startswith(SIGNATURE) or head[8] not in (2, 3) or head[9] != 8 or head[11] & WRITING:
        return
    base, _, end = unpack("<QQQ", head[12:36])
    if base == 0 and length < end:
        raise OSError(f"it is cut off: it had {end:,} bytes when it was closed, and has {length:,}")


open_files = SharedFiles()
