"""From what documents call a file to its place in a pack, and the `root_map` that leads from one to the other."""

from __future__ import annotations

import re
from itertools import takewhile
from pathlib import PurePosixPath
from typing import Final

from intake_bluesky.assets.names import WINDOWS
from intake_bluesky.errors import UntrustedName

__all__ = ["ASSETS", "TEMPLATE", "AssetRoots", "asset_path"]

ASSETS: Final = "assets"
TEMPLATE: Final = ("{{", "{%", "{#")  # Intake renders what begins so in a YAML file


def asset_path(name: str) -> str:
    r"""The place in a pack of a file that documents call by a name: of each kind of names a folder of its own.

    Raises
    ------
    UntrustedName
        When the name leads out of it, or is no text that all machines can have as a path.

    Examples
    --------
    >>> asset_path("/data/2026/x.h5"), asset_path("s3://bucket/x.h5"), asset_path("f8483b80/x.h5")
    ('assets/file/data/2026/x.h5', 'assets/s3/bucket/x.h5', 'assets/relative/f8483b80/x.h5')
    >>> asset_path(r"C:\data\x.h5"), asset_path(r"\\server\share\x.h5")
    ('assets/windows/C/data/x.h5', 'assets/host/server/share/x.h5')
    """
    kind, rest = _kind_of(name)
    parts = [part for part in rest.split("/") if part not in ("", ".")]
    if not parts or ".." in parts:
        raise UntrustedName(f"{name!r} is no name of a file below a folder")
    return "/".join([ASSETS, kind, *parts])


def _kind_of(name: str) -> tuple[str, str]:
    """What kind of names it is of, and the parts of it with slashes between them."""
    scheme, separator, rest = name.partition("://")
    if separator:
        if not re.fullmatch(r"[a-z0-9+.-]+", scheme) or scheme in ("file", "host", "relative", "windows"):
            raise UntrustedName(f"{name!r} is at no place that a pack has a folder for")
        return scheme, rest
    if WINDOWS.match(f"{name}/"):
        name = name.replace("\\", "/")
        return ("host", name) if name.startswith("//") else ("windows", name.lstrip("/").replace(":", "", 1))
    if name.startswith("//"):
        return "host", name
    return ("file", name) if name.startswith("/") else ("relative", name)


class AssetRoots:
    """The folders that files in a pack are called by: of those whose names begin alike what they have in common.

    Examples
    --------
    >>> roots = AssetRoots()
    >>> for name in ("/data/2026/a/x.h5", "/data/2026/b/y.h5", "s3://bucket/x.h5"):
    ...     roots.add(name)
    >>> roots.root_map()
    {'/data/2026': 'assets/file/data/2026', 's3://bucket': 'assets/s3/bucket'}
    """

    def __init__(self) -> None:
        self._folders: dict[tuple[str, str], tuple[str, ...]] = {}

    def add(self, name: str) -> None:
        """Note that a file of this name is in the pack."""
        self._note(name.replace("\\", "/") if WINDOWS.match(f"{name}/") else name)

    def _note(self, name: str) -> None:
        begin = re.match(r"[a-z0-9+.-]+://|/*", name)
        assert begin is not None  # the pattern matches nothing, too
        *folders, _ = PurePosixPath(name[begin.end() :]).parts or ("",)
        key = begin.group(), folders[0] if folders else ""
        known = self._folders.get(key)
        both = takewhile(
            lambda pair: pair[0] == pair[1], zip(folders, folders if known is None else known, strict=False)
        )
        self._folders[key] = tuple(takewhile(_is_no_template, (folder for folder, _ in both)))

    def root_map(self) -> dict[str, str]:
        """From what the folders are called to where they are in the pack."""
        found = {}
        for (begin, _), folders in sorted(self._folders.items()):
            found[begin + "/".join(folders)] = asset_path(begin + "/".join((*folders, "name"))).removesuffix("/name")
        return found

    def take(self, root_map: dict[str, str]) -> None:
        """Note the folders of a pack that is there already."""
        for root in root_map:
            self._note(f"{root.rstrip('/')}/name" if root else "name")


def _is_no_template(part: str) -> bool:
    return not any(begin in part for begin in TEMPLATE)
