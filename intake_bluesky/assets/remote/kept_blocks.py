"""Blocks of a remote file that are needed at each opening: kept in memory, those of HDF5 files on disk too.

They are bytes of the file as they are, and stand for one version of it. No offset is believed because it was kept: HDF5
finds its chunks in these blocks as it does in the file.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Hashable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import msgpack

from intake_bluesky.runtime.cache_folder import cache_folder

__all__ = ["BLOCK", "MOST_BLOCKS", "KeptBlocks"]

BLOCK: Final = 1 << 16
"""Bytes of a block; all but the last are whole."""
MOST_BLOCKS: Final = 512
"""Blocks of a file; the oldest give way."""
MOST_ON_DISK: Final = 256 << 20
"""Bytes of all files together; those not used for longest give way."""
FORMAT: Final = b"intake-bluesky blocks 1\n"
DIGEST: Final = 32


class KeptBlocks:
    """What is known of one version of a file.

    Attributes
    ----------
    blocks : dict
        By number.
    found : dict
        What was found by looking at the file; of this process alone.

    Parameters
    ----------
    size : int
        Of the file.
    address : sequence of str, optional
        What tells this version from all others, the server included; without one nothing is kept on disk.
    """

    def __init__(self, size: int, address: tuple[str, ...] = ()) -> None:
        self.size = size
        self.found: dict[Hashable, Any] = {}
        self._path = _path(address, size) if address else None
        self.blocks = _load(self._path, size) if self._path is not None else {}
        self._saved = frozenset(self.blocks)

    def length(self, number: int) -> int:
        """Bytes of a block."""
        return min(BLOCK, self.size - number * BLOCK)

    def add(self, start: int, data: bytes) -> None:
        """Keep blocks, from the beginning of one on."""
        for offset in range(0, len(data), BLOCK):
            self.blocks[(start + offset) // BLOCK] = data[offset : offset + BLOCK]
        while len(self.blocks) > MOST_BLOCKS:
            with suppress(KeyError, StopIteration, RuntimeError):  # other threads add and drop, too
                del self.blocks[next(iter(self.blocks))]

    def save(self) -> None:
        """Keep on disk what is new, if there is a folder for it; else it is fetched again."""
        blocks = dict(self.blocks)
        if self._path is None or self._saved >= blocks.keys():
            return
        with suppress(OSError):
            # Other processes have found other blocks meanwhile.
            blocks = _load(self._path, self.size) | blocks
            _write(self._path, msgpack.packb(blocks))
            self._saved = frozenset(blocks)
            _make_room(self._path.parent)


def _path(address: tuple[str, ...], size: int) -> Path:
    # Hashed: a URL may have a password.
    name = hashlib.sha256("\0".join([*address, str(size)]).encode(errors="surrogatepass")).hexdigest()
    return cache_folder() / "remote-files" / f"{name}.blocks"


def _load(path: Path, size: int) -> dict[int, bytes]:
    """The blocks of a file; none where there are none, or the file is damaged."""
    try:
        content = path.read_bytes()
        os.utime(path)
    except OSError:
        return {}
    body = content[len(FORMAT) + DIGEST :]
    if content[: len(FORMAT) + DIGEST] != FORMAT + hashlib.sha256(body).digest():
        return {}
    blocks: dict[int, bytes] = msgpack.unpackb(body, strict_map_key=False)
    whole = all(len(data) == min(BLOCK, size - number * BLOCK) for number, data in blocks.items())
    return blocks if whole else {}


def _write(path: Path, body: bytes) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    passing = path.with_name(f".{uuid4().hex}")
    try:
        passing.write_bytes(FORMAT + hashlib.sha256(body).digest() + body)
        passing.replace(path)
    except BaseException:
        passing.unlink(missing_ok=True)
        raise


def _make_room(folder: Path) -> None:
    each: list[tuple[float, int, str]] = []
    for name in os.listdir(folder):
        with suppress(FileNotFoundError):  # another thread or process writes it, or made room
            found = os.stat(folder / name)
            each.append((found.st_mtime, found.st_size, name))
    total = sum(size for _, size, _ in each)
    for _, size, name in sorted(each)[:-1]:
        if total <= MOST_ON_DISK:
            return
        with suppress(FileNotFoundError):
            os.unlink(folder / name)
        total -= size
