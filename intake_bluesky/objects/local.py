"""Objects in folders of this machine."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Final
from uuid import uuid4

from intake_bluesky.objects.contract import ANY, Data, ObjectInfo, ObjectReplaced, Objects, Span, matcher

__all__ = ["LocalObjects"]

LINKLESS: Final = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)
"""What systems of files without hard links answer, as those of memory cards are."""


class LocalObjects(Objects):
    """Files on disk, written under another name first: a reader, or a crash, never meets half of one.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     objects = LocalObjects()
    ...     tag = objects.create(f"{folder}/a/b", b"content")
    ...     print([info.size for info in objects.list(f"{folder}/a")], objects.range(f"{folder}/a/b", 3, 5))
    [7] b'te'
    """

    atomic = True

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), ()

    def url(self, name: str) -> str:
        return name

    def name_of(self, url: str) -> str:
        return url

    def list(self, folder: str, pattern: str = ANY) -> Iterator[ObjectInfo]:
        if not os.path.isdir(folder):
            raise FileNotFoundError(f"there is no folder {folder}")
        deep, matches = "/" in pattern or "**" in pattern, matcher(pattern)
        names = _below(folder) if deep else os.listdir(folder)
        # Names of files being written begin with a dot.
        found = sorted(name for name in names if matches(name) and not os.path.basename(name).startswith("."))
        return self._files(os.path.join(folder, name) for name in found)

    def _files(self, paths: Iterable[str]) -> Iterator[ObjectInfo]:
        for path in paths:
            with suppress(FileNotFoundError):  # gone since
                if os.path.isfile(path):
                    yield self.head(path)

    def head(self, name: str) -> ObjectInfo:
        return _info(name, os.stat(name))

    def get(self, name: str, last: int | None = None) -> tuple[bytes, ObjectInfo]:
        with open(name, "rb") as file:
            info = _info(name, os.fstat(file.fileno()))
            file.seek(0 if last is None else max(info.size - last, 0))
            return file.read(), info

    def ranges(self, spans: Sequence[Span]) -> Sequence[bytes | Exception]:
        found: list[bytes | Exception] = []
        for span in spans:
            try:
                with open(span.name, "rb") as file:
                    if span.tag and _info(span.name, os.fstat(file.fileno())).tag != span.tag:
                        raise ObjectReplaced(f"{span.name} was replaced")
                    file.seek(span.start)
                    found.append(file.read(span.stop - span.start))
            except OSError as error:
                found.append(error)
        return found

    def put(self, name: str, data: Data) -> str:
        passing = self._written(name, data)
        try:
            os.replace(passing, name)
        except OSError:
            os.unlink(passing)
            raise
        _sync(os.path.dirname(name))
        return self.head(name).tag

    def create(self, name: str, data: bytes) -> str:
        passing = self._written(name, data)
        try:
            os.link(passing, name)
        finally:
            os.unlink(passing)
        _sync(os.path.dirname(name))
        return self.head(name).tag

    def rename(self, name: str, new: str) -> None:
        os.makedirs(os.path.dirname(new), exist_ok=True)
        try:
            os.link(name, new)
        except FileExistsError:
            raise
        except OSError as error:
            if error.errno not in LINKLESS:
                raise
            if os.path.lexists(new):
                raise FileExistsError(f"{new} is there already") from None
            os.rename(name, new)
        else:
            os.unlink(name)
        _sync(os.path.dirname(new))

    def _written(self, name: str, data: Data) -> str:
        folder, last = os.path.split(name)
        os.makedirs(folder, exist_ok=True)
        passing = os.path.join(folder, f".{last}.{uuid4().hex}")
        try:
            with open(passing, "xb") as file:
                if isinstance(data, bytes):
                    file.write(data)
                else:
                    data.seek(0)
                    shutil.copyfileobj(data, file, 1 << 22)
                file.flush()
                os.fsync(file.fileno())
        except BaseException:
            with suppress(OSError):
                os.unlink(passing)
            raise
        return passing

    def delete(self, names: Iterable[str]) -> None:
        for name in names:
            with suppress(FileNotFoundError):
                os.unlink(name)

    def close(self) -> None:
        """Nothing is held open."""


def _sync(folder: str) -> None:
    """Have the name of a new file on disk, too."""
    with suppress(OSError):  # not every system can, and the file itself is safe
        place = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(place)
        finally:
            os.close(place)


def _info(name: str, found: os.stat_result) -> ObjectInfo:
    # A file that was put in place of another of the same size and time is another.
    tag = f"{found.st_size:x}-{found.st_mtime_ns:x}-{found.st_ino:x}"
    return ObjectInfo(name, found.st_size, tag, found.st_mtime)


def _below(folder: str) -> Iterator[str]:
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (os.path.relpath(os.path.join(place, name), folder).replace(os.sep, "/") for name in names)
