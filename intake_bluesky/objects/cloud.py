"""Objects in S3, Google Cloud Storage and Azure, by obstore."""

from __future__ import annotations

import os
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from itertools import groupby
from typing import Any, Final, TypeVar
from uuid import uuid4

from intake_bluesky.objects.contract import ANY, Data, ObjectInfo, ObjectReplaced, Objects, Span, matcher
from intake_bluesky.objects.failures import Doing, check_reachable, failure_of, refusal, right_to, server_of
from intake_bluesky.objects.filesystem import FilesystemObjects, as_tag
from intake_bluesky.objects.options import StoreSettings, settings_for
from intake_bluesky.runtime.filesystems import check_filesystems
from intake_bluesky.runtime.processes import PerProcess
from intake_bluesky.runtime.secrets import shown

__all__ = ["CloudObjects"]

T = TypeVar("T")

THREADS: Final = 32
"""Requests of this process at once, about: more are not answered sooner by one server."""
GAP: Final = 1 << 16
"""Bytes between two ranges that are fetched along rather than asked for apart."""
PAGE: Final = 1000
"""Objects of a listing that a server sends at once."""
PART: Final = 8 << 20
"""Bytes of a part of a large object; larger ones are put in parts, and near ranges asked for apart."""
PATIENCE: Final = timedelta(seconds=60)
"""How long a request is tried again."""
TIMEOUT: Final = timedelta(seconds=120)
"""How long one request may take, its answer included."""
PAUSES: Final = (0.1, 0.4, 1.6, 6.4)
"""Seconds before a conditional put is tried again."""
GIVEN_UP: Final = 8.0
"""Seconds after which a conditional put is not tried again: obstore has done so with what was never sent."""
WRITER: Final = "writer"
"""The attribute of an object by which its writer knows it again."""
KINDS: Final = {"s3": "S3Store", "gs": "GCSStore", "az": "AzureStore"}
SCHEMES: Final = {"s3a": "s3", "gcs": "gs", "abfs": "az"}
AMAZON: Final = "https://{bucket}.s3.amazonaws.com"

STATUS: Final = re.compile(r"status code: (\d{3}) ?([A-Za-z ]*)")
REASON: Final = re.compile(r"<Message>(.*?)</Message>", re.DOTALL)
CODE: Final = re.compile(r"<Code>(.*?)</Code>")
NO_BUCKET: Final = frozenset({"NoSuchBucket", "ContainerNotFound"})
EXPIRED: Final = frozenset({"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "InvalidToken"})

_pool: Final[PerProcess[ThreadPoolExecutor]] = PerProcess()


class _Runtime:
    """Whether obstore's threads run in this process, or ran in its parent: a forked child waits for them for ever."""

    started = False
    lost = False

    @classmethod
    def forked(cls) -> None:
        cls.lost = cls.lost or cls.started


if hasattr(os, "register_at_fork"):  # Windows does not fork
    os.register_at_fork(after_in_child=_Runtime.forked)


class CloudObjects(Objects):
    """The objects of a bucket or container.

    Parameters
    ----------
    root : str
        ``s3://bucket``, ``gs://bucket``, ``az://container``.
    storage_options : mapping
        As of s3fs, gcsfs or adlfs. Keys that are in none are looked for where the tools of the provider look, in each
        process anew.
    """

    atomic = True

    def __init__(self, root: str, storage_options: Mapping[str, Any]) -> None:
        self._root, self._options = root, dict(storage_options)
        scheme, _, self._bucket = root.partition("://")
        self._kind = SCHEMES.get(scheme, scheme)
        self._made: PerProcess[Any] = PerProcess()
        self._other: PerProcess[Objects] = PerProcess()
        self._server = ""  # known when it is first connected to

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self._root, self._options)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._root!r})"

    def url(self, name: str) -> str:
        return f"{self._root}/{name}"

    def name_of(self, url: str) -> str:
        return url.removeprefix(f"{self._root}/")

    @property
    def _store(self) -> Any:
        return self._made.get(self._make)

    def _make(self, folder: str = "") -> Any:
        from obstore import store

        _Runtime.started = True
        settings = settings_for(self._kind, self._options)
        assert settings is not None  # `objects_at` has asked
        if settings.region_unknown:
            settings.config["region"] = _region_of(self._bucket)
        self._server = server_of(self._kind, settings)
        check_reachable(self._server, shown(self._root), settings.client)
        return _made(getattr(store, KINDS[self._kind]), self._bucket, settings, folder)

    @property
    def place(self) -> str:
        """The server and the bucket, without credentials: it tells objects of one name apart."""
        settings = settings_for(self._kind, self._options)
        assert settings is not None
        given = (str(settings.config.get(key, "")) for key in ("endpoint", "base_url", "account_name"))
        return " ".join([self._root, *given])

    def obstore(self, folder: str) -> Any:
        """What obstore has for a folder, for libraries that are made for it; None in a child that it would hang in."""
        return None if self._forked() is not None else self._make(folder)

    def _forked(self) -> Objects | None:
        """The same by a filesystem of fsspec, in a child of a process that uses obstore."""
        if not _Runtime.lost:
            return None

        def made() -> Objects:
            check_filesystems(self._root)
            return FilesystemObjects(self._root, self._options, root=self._bucket)

        return self._other.get(made)

    def _do(self, action: Callable[[], T], name: str, doing: Doing = "get") -> T:
        """Do something, with errors of Python; once more where a key has ended and there may be another."""
        from obstore.exceptions import BaseError

        for last in (False, True):
            try:
                return action()
            except (BaseError, OSError) as error:
                found = self._error(error, name, doing)
                if last or not isinstance(found, _Expired):
                    raise found from None  # what it came from spells out every request
                self._made.close()
        raise AssertionError

    def _error(self, error: Exception, name: str, doing: Doing) -> OSError:
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        text, where = str(error), shown(self.url(name))
        status, reason, code = STATUS.search(text), REASON.search(text), CODE.search(text)
        why = shown(reason[1] if reason else " ".join(status.groups()) if status else text.partition("\n")[0])
        if code and code[1] in NO_BUCKET:  # a mistake in the address, and no folder that is to come
            return OSError(f"there is no bucket {self._root} on {self._server}")
        if isinstance(error, FileNotFoundError) or (status and status[1] == "404"):
            return FileNotFoundError(f"{where} is not there ({why})")
        if isinstance(error, AlreadyExistsError):
            return FileExistsError(f"{where} is there already")
        if isinstance(error, PreconditionError):
            return ObjectReplaced(f"{where} is another now than the one that was asked for")
        if code and code[1] in EXPIRED:
            return _Expired(f"{why} ({where})")
        if (status and status[1] == "416") or "Wanted range starting at" in text:  # as the server, or obstore, says it
            return _Beyond(f"{where} ends before what was asked for")
        return self._refused(error, why, where, doing) or self._failed(error, why, where)

    def _refused(self, error: Exception, why: str, where: str, doing: Doing) -> OSError | None:
        """The error of a server that refuses; None where it is another."""
        from obstore.exceptions import UnauthenticatedError

        text = str(error)
        status, code = STATUS.search(text), CODE.search(text)
        advice = refusal(code[1] if code else "", text)
        refused = status is not None and status[1] in ("401", "403")
        if isinstance(error, UnauthenticatedError) and not refused:  # no key was found
            return PermissionError(f"{why.rpartition('PermissionError: ')[2]} ({where})")
        if refused or isinstance(error, PermissionError):
            return PermissionError(f"{why} ({where} on {self._server}): {advice or right_to(doing, self._kind)}")
        return OSError(f"{why} ({where} on {self._server}): {advice}") if advice else None

    def _failed(self, error: Exception, why: str, where: str) -> OSError:
        """The error of a server that cannot be asked."""
        if isinstance(error, OSError):  # it has been said
            return error
        failure = failure_of(str(error))
        return failure.error(where, self._server) if failure else OSError(f"{why} ({where} on {self._server})")

    def list(self, folder: str, pattern: str = ANY) -> Iterator[ObjectInfo]:
        if (other := self._forked()) is not None:
            return other.list(folder, pattern)
        import obstore

        below, matches = folder and f"{folder}/", matcher(pattern)
        if "/" in pattern or "**" in pattern:
            start = folder or None
            found = self._do(lambda: obstore.list(self._store, start, chunk_size=PAGE).collect(), folder, "list")
            there = bool(found)
        else:
            listed = self._do(lambda: obstore.list_with_delimiter(self._store, folder or None), folder, "list")
            found, there = listed["objects"], bool(listed["objects"] or listed["common_prefixes"])
        # Some servers list the folder as well.
        found = [info for info in found if info["path"].startswith(below) and info["path"] != below]
        if pattern != ANY:
            found = [info for info in found if matches(info["path"].removeprefix(below))]
        if folder and not there:
            raise FileNotFoundError(f"there is nothing in {shown(self.url(folder))}/")
        return iter(sorted(map(_info, found)))

    def head(self, name: str) -> ObjectInfo:
        if (other := self._forked()) is not None:
            return other.head(name)
        return _info(self._do(lambda: self._store.head(name), name))

    def get(self, name: str, last: int | None = None) -> tuple[bytes, ObjectInfo]:
        if (other := self._forked()) is not None:
            return other.get(name, last)

        def fetched() -> tuple[bytes, ObjectInfo]:
            options = {} if last is None else {"range": {"suffix": last}}
            found = self._store.get(name, options=options)
            return bytes(found.bytes()), _info(found.meta)

        if last is None or self._kind != "az":
            return self._do(fetched, name)
        info = self.head(name)  # Azure knows no ranges that count from the end
        return self.range(name, max(info.size - last, 0), info.size, info.tag), info

    def ranges(self, spans: Sequence[Span]) -> Sequence[bytes | Exception]:
        if (other := self._forked()) is not None:
            return other.ranges(spans)
        found: dict[int, bytes | Exception] = {}

        def fetch(several: Sequence[tuple[int, Span]]) -> None:
            name, start, _, tag = several[0][1]
            stop = max(span.stop for _, span in several)
            try:
                data = self._part(name, start, stop, tag)
            except OSError as error:
                found.update((number, error) for number, _ in several)
            else:
                found.update((number, data[span.start - start : span.stop - start]) for number, span in several)

        groups = list(_near(spans))
        if len(groups) == 1:
            fetch(groups[0])
        else:
            pool = _pool.get(lambda: ThreadPoolExecutor(THREADS, "intake-bluesky-objects"))
            for _ in pool.map(fetch, groups):
                pass
        return [found[number] for number in range(len(spans))]

    def _part(self, name: str, start: int, stop: int, tag: str) -> bytes:
        if stop <= start:
            return b""

        def fetched() -> bytes:
            found = self._store.get(name, options={"range": (start, stop)})
            # The answer tells of which version it is: no condition that a server may not know.
            if tag and _tag(found.meta) != tag:
                raise ObjectReplaced(f"{shown(self.url(name))} was replaced")
            return bytes(found.bytes())

        with suppress(_Beyond):
            return self._do(fetched, name)
        return b""

    def put(self, name: str, data: Data) -> str:
        if (other := self._forked()) is not None:
            return other.put(name, data)

        def put() -> str:
            if not isinstance(data, bytes):
                data.seek(0)
            return _tag(self._store.put(name, data, chunk_size=PART))

        return self._do(put, name, "put")

    def create(self, name: str, data: bytes) -> str:
        if (other := self._forked()) is not None:
            return other.create(name, data)
        mine = {WRITER: uuid4().hex}

        def put() -> str:
            return _tag(self._store.put(name, data, mode="create", attributes=mine))

        began = time.monotonic()
        for pause in (*PAUSES, None):
            try:
                return self._do(put, name, "put")
            except FileExistsError:
                # An answer may have been lost, and the put been made: by us, or by obstore that tried again.
                found = self._do(lambda: self._store.get(name, options={"head": True}), name)
                if found.attributes.get(WRITER) != mine[WRITER]:
                    raise
                return _tag(found.meta)
            except (FileNotFoundError, PermissionError):
                raise
            except OSError:
                if pause is None or time.monotonic() - began > GIVEN_UP:
                    raise
                time.sleep(pause)
        raise AssertionError

    def rename(self, name: str, new: str) -> None:
        if (other := self._forked()) is not None:
            other.rename(name, new)
            return
        self._do(lambda: self._store.copy(name, new, overwrite=False), new)
        self.delete([name])

    def delete(self, names: Iterable[str]) -> None:
        several = list(names)
        if (other := self._forked()) is not None:
            other.delete(several)
        elif self._kind == "s3" and several:
            self._do(lambda: self._store.delete(several), several[0], "delete")
        else:
            for name in several:
                with suppress(FileNotFoundError):
                    self._do(lambda: self._store.delete(name), name, "delete")  # noqa: B023  # called at once

    def close(self) -> None:
        self._made.close()
        self._other.close()


class _Expired(PermissionError):
    """Credentials have ended."""


class _Beyond(OSError):
    """An object ends before a range begins."""


def _made(kind: Any, bucket: str, settings: StoreSettings, folder: str) -> Any:
    given: dict[str, Any] = {"prefix": folder} if folder else {}
    if settings.credentials is not None:
        given["credential_provider"] = settings.credentials
    given_up = settings.client.get("read_timeout")  # who waits so long for one answer waits a little longer for three
    retry = {
        "max_retries": 10, "retry_timeout": PATIENCE if given_up is None else min(PATIENCE, 3 * given_up),
        "backoff": {"init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=5), "base": 2},
    }  # fmt: skip
    client = {"timeout": TIMEOUT, "connect_timeout": timedelta(seconds=10), **settings.client}
    return kind(bucket, config=settings.config, client_options=client, retry_config=retry, **given)


def _region_of(bucket: str) -> str:
    """The region of a bucket of Amazon's, which tells it to anybody; requests to another are refused."""
    asked = urllib.request.Request(AMAZON.format(bucket=bucket), method="HEAD")  # noqa: S310  # an address of ours
    try:
        with urllib.request.urlopen(asked, timeout=10) as answer:  # noqa: S310  # and so is this
            headers = answer.headers
    except urllib.error.HTTPError as error:
        headers = error.headers
    except OSError:  # the request that follows tells what is wrong
        return "us-east-1"
    return str(headers.get("x-amz-bucket-region") or "us-east-1")


def _info(meta: Mapping[str, Any]) -> ObjectInfo:
    return ObjectInfo(meta["path"], meta["size"], _tag(meta), meta["last_modified"].timestamp())


def _tag(meta: Mapping[str, Any]) -> str:
    return as_tag(meta.get("e_tag") or "")


def _near(spans: Sequence[Span]) -> Iterator[list[tuple[int, Span]]]:
    """Spans with their numbers, those of one object that lie near to each other together."""
    order = sorted(enumerate(spans), key=lambda pair: (pair[1].name, pair[1].tag, pair[1].start))
    for _, same in groupby(order, key=lambda pair: (pair[1].name, pair[1].tag)):
        group: list[tuple[int, Span]] = []
        for number, span in same:
            far = group and span.start - group[-1][1].stop > GAP
            if far or (group and span.stop - group[0][1].start > PART):
                yield group
                group = []
            group.append((number, span))
        yield group
