"""Objects on any filesystem of fsspec."""

from __future__ import annotations

import errno
import glob
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, Final

from intake_bluesky.objects.contract import ANY, Data, ObjectInfo, ObjectReplaced, Objects, Span
from intake_bluesky.runtime.processes import PerProcess
from intake_bluesky.runtime.secrets import shown

__all__ = ["FilesystemObjects", "as_tag"]

# Of what filesystems tell of a file, what changes with its content, the surest first.
TAGS: Final = ("ETag", "etag", "md5Hash", "mtime", "LastModified", "last_modified", "updated", "modified", "created")
TIMES: Final = ("LastModified", "last_modified", "mtime", "updated", "modified", "created")


class FilesystemObjects(Objects):
    """Objects on a filesystem of fsspec, by the URL of any of them.

    `create` looks before it writes where the filesystem has nothing better. Beside `OSError`, filesystems raise errors
    of the libraries they are made of. Names are the filesystem's own; with a
    `root`, those below that folder.
    """

    atomic = False

    def __init__(self, url: str, storage_options: Mapping[str, Any], root: str = "") -> None:
        self._url, self._options, self._root = url, dict(storage_options), f"{root}/" if root else ""
        self._prefix = url.partition("://")[0] + "://"
        self._opened: PerProcess[tuple[Any, str]] = PerProcess()

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self._url, self._options, self._root.rstrip("/"))

    def _filesystem(self) -> tuple[Any, str]:
        from fsspec.core import url_to_fs

        return self._opened.get(lambda: url_to_fs(self._url, **self._options))

    @property
    def _fs(self) -> Any:
        return self._filesystem()[0]

    @property
    def name(self) -> str:
        """The name of what the URL was of."""
        return self._filesystem()[1]

    def name_of(self, url: str) -> str:
        # Of some filesystems, such as those of web servers, the names are addresses.
        return url if self.name.startswith(self._prefix) else url.removeprefix(self._prefix)

    def url(self, name: str) -> str:
        name = self._root + name
        return name if name.startswith(self._prefix) else self._prefix + name

    def list(self, folder: str, pattern: str = ANY) -> Iterator[ObjectInfo]:
        fs, folder = self._fs, (self._root + folder).rstrip("/") or folder
        fs.invalidate_cache()  # fsspec remembers listings, in which new files are missing
        if pattern != ANY:
            found = fs.glob(f"{glob.escape(folder)}/{pattern}" if folder else pattern, detail=True)
        elif fs.isdir(folder):
            found = {info["name"]: info for info in fs.ls(folder, detail=True)}
        else:
            raise FileNotFoundError(f"there is no folder {shown(self._prefix + folder)}")
        files = (name for name in sorted(found) if found[name]["type"] == "file")
        return (_info(name.removeprefix(self._root), found[name]) for name in files)

    def head(self, name: str) -> ObjectInfo:
        self._fs.invalidate_cache()
        return _info(name, self._fs.info(self._root + name))

    def get(self, name: str) -> tuple[bytes, ObjectInfo]:
        found = self.head(name)
        return bytes(self._fs.cat_file(self._root + name)), found

    def ranges(self, spans: Sequence[Span]) -> Sequence[bytes | Exception]:
        names, starts, stops, _ = (list(each) for each in zip(*spans, strict=True)) if spans else ([], [], [], [])
        # Returned: one that cannot be had does not cost the others.
        found = self._fs.cat_ranges([self._root + name for name in names], starts, stops, on_error="return")
        parts = [_part(data, span) for data, span in zip(found, spans, strict=True)]
        # Looked at afterwards: what had the tag then had it before, or was written meanwhile.
        replaced = {
            (name, tag): ObjectReplaced(f"{shown(self.url(name))} was replaced")
            for name, tag in {(span.name, span.tag) for span in spans if span.tag}
            if self._tag_of(name) != tag
        }
        return [replaced.get((span.name, span.tag), part) for part, span in zip(parts, spans, strict=True)]

    def _tag_of(self, name: str) -> str:
        try:
            return self.head(name).tag
        except FileNotFoundError:
            return ""

    def range(self, name: str, start: int, stop: int, tag: str = "") -> bytes:
        if tag:
            return super().range(name, start, stop, tag)
        return _cut(bytes(self._fs.cat_file(self._root + name, start=start, end=stop)), Span(name, start, stop))

    def put(self, name: str, data: Data) -> str:
        if isinstance(data, bytes):
            self._fs.pipe_file(self._root + name, data)
        else:
            data.seek(0)
            with self._fs.open(self._root + name, "wb") as target:
                shutil.copyfileobj(data, target, 1 << 22)
        return self.head(name).tag

    def create(self, name: str, data: bytes) -> str:
        try:
            self._fs.pipe_file(self._root + name, data, mode="create")
        except TypeError:  # a filesystem older than the mode
            if self._fs.exists(self._root + name):
                raise FileExistsError(f"{self.url(name)} is there already") from None
            self._fs.pipe_file(self._root + name, data)
        except OSError as error:
            if error.errno == errno.EINVAL:  # so s3fs says that a condition of a put does not hold
                raise FileExistsError(f"{self.url(name)} is there already") from error
            raise
        return self.head(name).tag

    def rename(self, name: str, new: str) -> None:
        self._fs.invalidate_cache()
        if self._fs.exists(self._root + new):
            raise FileExistsError(f"{shown(self.url(new))} is there already")
        self._fs.mv(self._root + name, self._root + new)

    def delete(self, names: Iterable[str]) -> None:
        for name in names:
            with suppress(FileNotFoundError):
                self._fs.rm_file(self._root + name)

    def close(self) -> None:
        self._opened.close()


def _info(name: str, info: Mapping[str, Any]) -> ObjectInfo:
    told = next((info[key] for key in TAGS if info.get(key)), "")
    # Some list the one, and give the other.
    tag = as_tag(str(told.timestamp() if isinstance(told, datetime) else told))
    times = (_seconds(info[key]) for key in TIMES if info.get(key))
    return ObjectInfo(name, int(info.get("size") or 0), tag, next(times, float("nan")))


def as_tag(told: str) -> str:
    """An ETag without the marks around it, which some servers' listings have and their other answers have not.

    Examples
    --------
    >>> as_tag('W/"5d41"'), as_tag("5d41")
    ('5d41', '5d41')
    """
    return told.removeprefix("W/").strip('"')


def _seconds(told: Any) -> float:
    if isinstance(told, datetime):
        return told.timestamp()
    try:
        return datetime.fromisoformat(told).timestamp() if isinstance(told, str) else float(told)
    except (ValueError, TypeError):
        return float("nan")


def _part(found: Any, span: Span) -> bytes | Exception:
    if isinstance(found, Exception):  # each server has an error of its own for what begins after the end
        return b"" if "not satisfiable" in str(found).lower() else found
    return _cut(bytes(found), span)


def _cut(data: bytes, span: Span) -> bytes:
    """What was asked for, where a server that knows no ranges has sent the whole file."""
    return data[span.start : span.stop] if len(data) > span.stop - span.start else data
