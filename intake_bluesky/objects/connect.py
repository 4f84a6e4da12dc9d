"""From an address to the objects there."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any, Final

from intake_bluesky.errors import MissingDependency
from intake_bluesky.objects.contract import Objects
from intake_bluesky.objects.filesystem import FilesystemObjects
from intake_bluesky.objects.local import LocalObjects
from intake_bluesky.runtime.filesystems import check_filesystems
from intake_bluesky.runtime.secrets import shown

__all__ = ["check_installed", "is_plain", "objects_at"]

SCHEMES: Final = {"s3": "s3", "s3a": "s3", "gs": "gs", "gcs": "gs", "az": "az", "abfs": "az"}
LOCAL: Final = ("file", "local")


def objects_at(url: str, storage_options: Mapping[str, Any] | None = None) -> tuple[Objects, str]:
    """The objects of the bucket, server or disk that an address is of, and the name it has among them.

    Parameters
    ----------
    url : str
        A path, or a URL of any filesystem of fsspec.
    storage_options : mapping, optional
        With the names that fsspec's filesystems have: those of s3fs, gcsfs, adlfs.

    Examples
    --------
    >>> objects, name = objects_at("memory://bucket/runs/")
    >>> objects.put(f"{name}/a", b"content") and [info.name for info in objects.list(name)]
    ['/bucket/runs/a']
    """
    options = storage_options or {}
    scheme, mark, rest = url.partition("://")
    if not mark and "::" not in url:
        return LocalObjects(), os.path.abspath(os.path.expanduser(url))
    if scheme in LOCAL:
        return LocalObjects(), os.path.abspath(rest.removeprefix("localhost"))
    bucket, _, name = rest.partition("/")
    if _is_obstores(url, options):
        from intake_bluesky.objects.cloud import CloudObjects

        return CloudObjects(f"{scheme}://{bucket}", options), name.strip("/")
    objects = FilesystemObjects(url, options)
    return objects, objects.name


def check_installed(url: str, storage_options: Mapping[str, Any]) -> None:
    """Look whether there is what opens an address: obstore, or else a filesystem of fsspec.

    Raises
    ------
    MissingDependency
        With the command that installs it.
    """
    try:
        check_filesystems(url)
    except MissingDependency as error:
        if _is_obstores(url, storage_options):  # asked last: it reads profiles, which may be wrong
            return
        if url.partition("://")[0] not in SCHEMES or find_spec("obstore") is not None:
            raise  # the filesystem alone can do it
        raise MissingDependency.of("obstore", extra="s3", purpose=f"to open {shown(url)}") from error


def _is_obstores(url: str, options: Mapping[str, Any]) -> bool:
    scheme, _, rest = url.partition("://")
    kind = SCHEMES.get(scheme)
    if kind is None or find_spec("obstore") is None:
        return False
    from intake_bluesky.objects.options import settings_for

    bucket, _, name = rest.partition("/")
    # `abfs://container@account...` is another way to name an account.
    return "@" not in bucket and is_plain(name) and settings_for(kind, options) is not None


def is_plain(name: str) -> bool:
    """Whether obstore takes a name as it stands: one with empty parts, `.` or `..` is that of another object for it.

    Examples
    --------
    >>> [is_plain(name) for name in ("runs/a", "runs/", "", "/runs", "runs//a", "runs/../a")]
    [True, True, True, False, False, False]
    """
    parts = name.rstrip("/").split("/") if name.strip("/") else []
    return name.isprintable() and not any(part in ("", ".", "..") for part in parts)
