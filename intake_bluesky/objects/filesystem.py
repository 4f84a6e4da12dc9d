"""Objects on any filesystem of fsspec."""

from __future__ import annotations

import errno
import glob
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Any, Final

from intake_bluesky.objects.contract import ANY, Data, ObjectInfo, ObjectReplaced, Objects, Span
from intake_bluesky.objects.failures import Doing, chain_of, failure_of, refusal, right_to
from intake_bluesky.runtime.processes import PerProcess
from intake_bluesky.runtime.secrets import shown

__all__ = ["FilesystemObjects", "as_tag"]

# Of what filesystems tell of a file, what changes with its content, the surest first.
TAGS: Final = ("ETag", "etag", "md5Hash", "mtime", "LastModified", "last_modified", "updated", "modified", "created")
NO_BUCKET: Final = ("NoSuchBucket", "ContainerNotFound")
CODE: Final = re.compile(r"\bAn error occurred \((\w+)\)")
"""How botocore names the code of a refused request."""
TIMES: Final = ("LastModified", "last_modified", "mtime", "updated", "modified", "created")


class FilesystemObjects(Objects):
    """Objects on a filesystem of fsspec, by the URL of any of them.

    `create` looks before it writes where the filesystem has nothing better. Names are the filesystem's own; with a
    `root`, those below that folder.
    """

    atomic = False

    def __init__(self, url: str, storage_options: Mapping[str, Any], root: str = "") -> None:
        self._url, self._options, self._root = url, dict(storage_options), f"{root}/" if root else ""
        self._prefix = url.partition("://")[0] + "://"
        self._server = _endpoint(storage_options) or "the server"
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

    @contextmanager
    def _explained(self, name: str, doing: Doing = "get") -> Iterator[None]:
        """Have errors of the libraries that filesystems are made of say why, as errors of Python."""
        try:
            yield
        except (FileNotFoundError, FileExistsError):
            raise
        except Exception as error:
            found = self._error(error, shown(self.url(name)), doing)
            if found is None:
                raise
            raise found from None  # what it came from spells out every request

    def _error(self, error: Exception, where: str, doing: Doing) -> OSError | None:
        told = "\n".join(chain_of(error))
        failure, code = failure_of(told), next((code for code in CODE.findall(told)), "")
        if failure is not None:
            return failure.error(where, self._server)
        advice = refusal(code, told)
        if isinstance(error, PermissionError) or advice:
            kind = PermissionError if isinstance(error, PermissionError) else OSError
            why = error.strerror if isinstance(error, OSError) and error.strerror else error
            right = right_to(doing, self._prefix.partition("://")[0])
            return kind(f"{shown(str(why))} ({where} on {self._server}): {advice or right}")
        if isinstance(error, OSError) or type(error).__module__ == "builtins":
            return None
        return OSError(f"{type(error).__name__}: {shown(str(error))} ({where} on {self._server})")

    def list(self, folder: str, pattern: str = ANY) -> Iterator[ObjectInfo]:
        with self._explained(folder, "list"):
            return self._list(folder, pattern)

    def _list(self, folder: str, pattern: str) -> Iterator[ObjectInfo]:
        fs, folder = self._fs, (self._root + folder).rstrip("/") or folder
        fs.invalidate_cache()  # fsspec remembers listings, in which new files are missing
        if pattern != ANY:
            found = fs.glob(f"{glob.escape(folder)}/{pattern}" if folder else pattern, detail=True)
        elif fs.isdir(folder):
            found = {info["name"]: info for info in fs.ls(folder, detail=True)}
        else:
            self._check_bucket(folder)
            raise FileNotFoundError(f"there is no folder {shown(self._prefix + folder)}")
        files = (name for name in sorted(found) if found[name]["type"] == "file")
        return (_info(name.removeprefix(self._root), found[name]) for name in files)

    def _check_bucket(self, folder: str) -> None:
        """Tell a bucket that is not there from a folder that has nothing in it yet."""
        try:
            self._fs.ls(folder)
        except FileNotFoundError as error:
            told = "\n".join(chain_of(error))
            if any(code in told for code in NO_BUCKET):
                bucket = self._prefix + folder.lstrip("/").partition("/")[0]
                raise OSError(f"there is no bucket {shown(bucket)} on {self._server}") from error

    def head(self, name: str) -> ObjectInfo:
        with self._explained(name):
            self._fs.invalidate_cache()
            return _info(name, self._fs.info(self._root + name))

    def get(self, name: str, last: int | None = None) -> tuple[bytes, ObjectInfo]:
        found = self.head(name)
        start = None if last is None else max(found.size - last, 0)
        with self._explained(name):
            return bytes(self._fs.cat_file(self._root + name, start=start)), found

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
        with self._explained(name):
            return _cut(bytes(self._fs.cat_file(self._root + name, start=start, end=stop)), Span(name, start, stop))

    def put(self, name: str, data: Data) -> str:
        with self._explained(name, "put"):
            if isinstance(data, bytes):
                self._fs.pipe_file(self._root + name, data)
            else:
                data.seek(0)
                with self._fs.open(self._root + name, "wb") as target:
                    shutil.copyfileobj(data, target, 1 << 22)
        return self.head(name).tag

    def create(self, name: str, data: bytes) -> str:
        with self._explained(name, "put"):
            self._create(name, data)
        return self.head(name).tag

    def _create(self, name: str, data: bytes) -> None:
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

    def rename(self, name: str, new: str) -> None:
        self._fs.invalidate_cache()
        if self._fs.exists(self._root + new):
            raise FileExistsError(f"{shown(self.url(new))} is there already")
        self._fs.mv(self._root + name, self._root + new)

    def delete(self, names: Iterable[str]) -> None:
        for name in names:
            with suppress(FileNotFoundError), self._explained(name, "delete"):
                self._fs.rm_file(self._root + name)

    def close(self) -> None:
        self._opened.close()


def _endpoint(options: Mapping[str, Any]) -> str:
    """The address of the server in options, without secrets; empty where none is."""
    client = options.get("client_kwargs")
    given = options.get("endpoint_url") or (client.get("endpoint_url") if isinstance(client, Mapping) else None)
    return shown(str(given or ""))


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
