"""What a listing of files found, compared as a whole before anything is compared one by one."""

from __future__ import annotations

import hashlib
import os
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from intake_bluesky.files.content.source import local_stamp
from intake_bluesky.integers import INT64_END

__all__ = ["REMOVED", "FileListing", "digest", "is_removed"]

REMOVED: Final = ".removed"  # the folder of removed runs, beside the others
UNSEEN: Final = (-1, -1, -1)


@dataclass(slots=True)
class FileListing:
    """The files of one location, in about 120 bytes each."""

    folder: str  # what comes before each name, with its separator; empty where names are paths
    names: list[str] = field(default_factory=list)
    # Of files on this machine, three each: size and the two times of `local_stamp`.
    times: array[int] = field(default_factory=lambda: array("q"))
    told: Sequence[str] = ()  # of files elsewhere: their stamps

    def add(self, name: str, found: os.stat_result | None) -> None:
        """Add a file on this machine; None for one that cannot be looked at."""
        self.names.append(name)
        times = UNSEEN if found is None else (found.st_size, found.st_mtime_ns, found.st_ctime_ns)
        try:
            self.times.extend(times)
        except OverflowError:  # a time no clock has shown yet
            del self.times[3 * len(self.names) - 3 :]
            self.times.extend([min(max(time, -INT64_END), INT64_END - 1) for time in times])

    def stamps(self) -> Iterator[tuple[str, str]]:
        """Yield each file's path and stamp; an empty stamp asks to look at the file."""
        folder, times = self.folder, iter(self.times)
        if self.told:
            yield from zip(self.names, self.told, strict=True)
            return
        for name, size, modified, changed in zip(self.names, times, times, times, strict=True):
            yield folder + name, local_stamp(size, modified, changed) if size >= 0 else ""


def is_removed(path: str, pattern: str) -> bool:
    """Whether a file that a pattern finds is in a folder of removed runs, which it does not name.

    Examples
    --------
    >>> is_removed("/data/.removed/a.jsonl", "/data/**/*.jsonl"), is_removed("/data/b.jsonl", "/data/**/*.jsonl")
    (True, False)
    """
    return REMOVED in path and REMOVED in _parts(path) and REMOVED not in _parts(pattern)


def _parts(path: str) -> list[str]:
    return path.replace(os.sep, "/").split("/")


def digest(listings: Sequence[FileListing]) -> str:
    """One text that is the same where the listings are the same, files in the same order."""
    whole = hashlib.blake2b(digest_size=32)
    for one in listings:
        # No name has a NUL, so that other names give another text.
        parts = "\0".join(one.names).encode(errors="surrogatepass"), one.times.tobytes(), "\0".join(one.told).encode()
        for part in (one.folder.encode(errors="surrogatepass"), *parts):
            whole.update(len(part).to_bytes(8, "little") + part)
    return whole.hexdigest()
