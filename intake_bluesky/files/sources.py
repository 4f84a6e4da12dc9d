"""The bytes of one file, on disk or behind fsspec."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

__all__ = ["LocalSource", "RemoteSource", "Source", "cut", "remote_stamp"]


class Source(ABC):
    """One file, open for reading by one thread.

    Attributes
    ----------
    size : int
        Bytes of the file when it was opened: what came later is not read.
    stamp : str
        Changes when the file does.
    """

    size: int
    stamp: str

    @abstractmethod
    def read(self, start: int, stop: int) -> bytes:
        """Read the bytes from `start` up to `stop`; fewer where the file ends before."""

    def close(self) -> None:
        """Let go of the file."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self.close()


def local_stamp(found: os.stat_result) -> str:
    """Size and time of the last change, to the nanosecond."""
    return f"{found.st_size:x}-{found.st_mtime_ns:x}"


class LocalSource(Source):
    """A file on disk."""

    def __init__(self, path: str) -> None:
        self._file = open(path, "rb", buffering=0)  # noqa: SIM115  # closed by close()
        found = os.fstat(self._file.fileno())
        self.size, self.stamp = found.st_size, local_stamp(found)

    def read(self, start: int, stop: int) -> bytes:
        self._file.seek(start)
        wanted = min(stop, self.size) - start
        parts: list[bytes] = []
        while wanted > 0 and (part := self._file.read(wanted)):
            parts.append(part)
            wanted -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def close(self) -> None:
        self._file.close()


def remote_stamp(info: Mapping[str, Any]) -> str:
    """Size, and of what else the filesystem tells the first that changes with the content."""
    marks = (
        "ETag",
        "etag",
        "md5Hash",
        "mtime",
        "LastModified",
        "last_modified",
        "updated",
        "modified",
        "created",
    )
    mark = next((str(info[key]) for key in marks if info.get(key)), "")
    return f"{info.get('size') or 0:x}-{mark}"


class RemoteSource(Source):
    """A file on any fsspec filesystem; each `read` is one request for a range of bytes."""

    def __init__(self, fs: Any, name: str, size: int, stamp: str) -> None:
        self._fs, self._name, self.size, self.stamp = fs, name, size, stamp

    def read(self, start: int, stop: int) -> bytes:
        stop = min(stop, self.size)
        if start >= stop:
            return b""
        return cut(bytes(self._fs.cat_file(self._name, start=start, end=stop)), start, stop)


def cut(data: bytes, start: int, stop: int) -> bytes:
    """What was asked for, where a server that knows no ranges has sent the whole file."""
    return data[start:stop] if len(data) > stop - start else data
