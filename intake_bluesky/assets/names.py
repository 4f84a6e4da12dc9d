"""From what documents call a file to the paths where it may be: URIs, Windows' paths, folders that moved."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import PureWindowsPath
from typing import Any, Final, NamedTuple
from urllib.parse import unquote

__all__ = ["Place", "moved", "names_of", "plain"]

WINDOWS: Final = re.compile(r"/?[A-Za-z]:(?:[\\/]|$)|\\\\")
REPEATED: Final = re.compile(r"(?<=.)/(?:\.?/)+")


class Place(NamedTuple):
    """Where a file may be, and how that was found.

    Attributes
    ----------
    path : str
    name : str
        As the documents have it.
    entry : str or None
        The key of `root_map` that moved it.
    """

    path: str
    name: str
    entry: str | None = None


def plain(uri: str) -> str:
    """A ``file:`` URI of a catalog as a path, quoted or not; all else as it is."""
    if not uri.startswith("file:"):
        return uri
    stands, unquoted = _after_host(uri)[1], _unquoted(uri)
    return stands if stands != unquoted and os.path.exists(stands) else unquoted


def _unquoted(uri: str) -> str:
    return unquote(_after_host(uri)[1]) if uri.startswith("file:") else uri


def _after_host(uri: str) -> tuple[str, str]:
    """Host and path of a ``file:`` URI, as they stand."""
    host, _, path = uri.removeprefix("file://").partition("/") if uri.startswith("file://") else ("", "", uri[5:])
    return host, f"/{path.lstrip('/')}"


def names_of(resource: Mapping[str, Any]) -> list[str]:
    """What the name of a resource or stream resource may mean, the likeliest first.

    Writers differ in what they quote of a URI, so it may mean the name as it stands, too.

    Examples
    --------
    >>> names_of({"uri": "file://localhost/data/a%20b#1.h5"})
    ['/data/a b#1.h5', '/data/a%20b#1.h5', '/data/a b']
    >>> names_of({"root": "/data/", "resource_path": "2026/x.h5"})
    ['/data/2026/x.h5']
    """
    if "resource_path" in resource:
        root, path = (_unquoted(str(resource.get(part) or "")) for part in ("root", "resource_path"))
        return [_joined(root, path, resource.get("path_semantics") == "windows")]
    uri = str(resource["uri"])
    if not uri.startswith("file:"):
        return [uri]
    host, stands = _after_host(uri)
    names = [unquote(stands), stands, unquote(stands.partition("#")[0].partition("?")[0])]
    # `\\server\share` as a URI, which elsewhere is a path of that machine.
    shared = [f"//{host}{name}" for name in names] if host not in ("", "localhost") else []
    return list(dict.fromkeys(names + shared))


def _joined(root: str, path: str, windows: bool) -> str:
    if windows or WINDOWS.match(root) or WINDOWS.match(path):
        return str(PureWindowsPath(root, path))
    if not root or path.startswith("/"):
        return path
    return f"{root.rstrip('/')}/{path}"


def moved(name: str, root_map: Mapping[str, str]) -> Place:
    r"""Replace the longest leading folder of a name that is a key; Windows' paths in any capitals and with any slashes.

    Examples
    --------
    >>> moved("/old/data/x.h5", {"/old": "/mnt"})
    Place(path='/mnt/data/x.h5', name='/old/data/x.h5', entry='/old')
    >>> moved("/C:/data/x.h5", {"c:\\data": "s3://bucket"}).path
    's3://bucket/x.h5'
    """
    slashed = _slashed(name)
    # The longest first: `/data/eiger` may have moved elsewhere than the rest of `/data`.
    for entry in sorted(root_map, key=lambda key: -len(_slashed(plain(key)))):
        rest = _after(_slashed(plain(entry)), slashed)
        if rest is not None:
            target, inside = plain(str(root_map[entry])), rest.lstrip("/")
            path = f"{target.rstrip('/')}/{inside}" if "://" in target else os.path.join(target, inside)
            return Place(path if rest else target, name, entry)
    return Place(name, name)


def _slashed(path: str) -> str:
    if WINDOWS.match(path):
        path = path.replace("\\", "/")
        path = path[1:] if path[0] == "/" != path[1] else path
    return path if "://" in path else REPEATED.sub("/", path)


def _after(folder: str, path: str) -> str | None:
    """The rest of a path after a leading folder, with its slash; None where it is none."""
    if not folder:  # an empty root, of which paths are relative
        return None if path.startswith("/") else path
    folder = folder.rstrip("/")
    head, rest = path[: len(folder)], path[len(folder) :]
    same = head.lower() == folder.lower() if WINDOWS.match(f"{path}/") else head == folder
    return rest if same and rest[:1] in ("", "/") else None
