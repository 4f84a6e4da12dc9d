"""A file that is copied: read once, with its checksum, and found out if it changes meanwhile."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from intake_bluesky.assets.location import Location
from intake_bluesky.errors import AssetUnavailable

__all__ = ["CopiedBytes"]

BLOCK: Final = 1 << 20  # bytes read at once
FIRST: Final = 8  # bytes that tell what a file is


class CopiedBytes(io.RawIOBase):
    """The bytes of a file, for whoever writes them; read from the beginning again after ``seek(0)``.

    Parameters
    ----------
    location : Location

    Attributes
    ----------
    path : str
    begin : bytes
        The first bytes.
    size : int
        Of what was read.
    expected : int
        The size that was told before it was read.
    version : str
        Of the file, for names.

    Raises
    ------
    AssetUnavailable, OSError
        When it cannot be opened.
    """

    def __init__(self, location: Location) -> None:
        self._location, self.path = location, location.path
        self._status = location.status()
        self.expected = self._status[1]
        self.version = hashlib.sha256(f"{location.path} {self._status[0]}".encode(errors="replace")).hexdigest()[:16]
        self._file = location.open()
        # Who puts this file may hold the thread that reads it for its own requests, and can make no others there.
        self._apart = None if location.is_local else ThreadPoolExecutor(1, "intake-bluesky-copy")
        self._failed: BaseException | None = None
        self._restart()

    def _restart(self) -> None:
        self._digest, self.size, self.begin = hashlib.sha256(), 0, b""

    @property
    def sha256(self) -> str:
        """Of what was read."""
        return self._digest.hexdigest()

    def read(self, size: int = -1) -> bytes:
        """Read on; what the source raises, `check` raises again."""
        try:
            read = self._file.read
            block = bytes(read(size) if self._apart is None else self._apart.submit(read, size).result())
        except BaseException as error:
            self._failed = error
            raise
        if self._file.tell() == len(block) + self.size:  # and nothing was left out
            self._digest.update(block)
            self.size += len(block)
            self.begin = self.begin or block[:FIRST]
        return block

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to another place."""
        at = int(self._file.seek(offset, whence))
        if at == 0:
            self._restart()
        return at

    def tell(self) -> int:
        """How far it was read."""
        return int(self._file.tell())

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def blocks(self) -> Iterator[bytes]:
        """Yield all of it."""
        self.seek(0)
        while block := self.read(BLOCK):
            yield block

    def read_all(self) -> None:
        """Read all of it, for its checksum."""
        for _ in self.blocks():
            pass

    def check(self) -> None:
        """Raise what reading raised; or that the file is another now than when it was opened.

        Raises
        ------
        AssetUnavailable
        """
        if self._failed is not None:
            raise self._failed
        if self._location.is_local and self._location.status() != self._status:
            raise AssetUnavailable(f"{self.path} changed while it was copied: copy again, once nobody writes it")

    def close(self) -> None:
        """Close the file."""
        if not self.closed:
            if self._apart is not None:
                self._apart.shutdown()
            self._file.close()
        super().close()

    def __enter__(self) -> Any:
        return self
