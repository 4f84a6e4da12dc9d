"""Which catalogs may name Python code and local folders: this machine's, and those that the user trusts."""

from __future__ import annotations

import importlib
import os
import posixpath
from typing import Any

from intake_bluesky.errors import PluginError, UntrustedName

__all__ = ["import_dotted", "is_local", "resolve_against"]

LOCAL_SCHEMES = frozenset({"file", "local"})


def is_local(place: str) -> bool:
    """Whether a path or URL lies on this machine's file systems.

    Examples
    --------
    >>> is_local("/data/catalogs/"), is_local("file:///data/"), is_local("simplecache::s3://bucket/")
    (True, True, False)
    """
    # A chain of fsspec, such as simplecache::s3://bucket/, may go anywhere.
    if "::" in place:
        return False
    scheme, separator, _ = place.partition("://")
    return not separator or scheme in LOCAL_SCHEMES


def import_dotted(name: str, *, purpose: str, trusted: bool) -> Any:
    """Import ``package.module.object`` (or ``package.module:object``) for a trusted catalog.

    Parameters
    ----------
    name : str
    purpose : str
        What it is wanted for, in messages.
    trusted : bool

    Raises
    ------
    UntrustedName
        When the catalog is not trusted; nothing was imported.
    PluginError
        When there is no such object.

    Examples
    --------
    >>> import_dotted("os.path.join", purpose="an example", trusted=True).__name__
    'join'
    """
    if not trusted:
        raise UntrustedName(
            f"a catalog from elsewhere names the Python object {name!r} as {purpose}: it is imported only for "
            "catalogs of this machine. Copy the YAML here, or open the catalog as cat[name](trust=True), if you "
            "trust its authors"
        )
    module, _, attribute = name.replace(":", ".").rpartition(".")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise PluginError(f"{name!r}, named as {purpose}, cannot be imported: {error}") from error


def resolve_against(folder: str | None, path: str) -> str:
    """A path as seen from a folder or URL; absolute paths and URLs as they are.

    Examples
    --------
    >>> resolve_against("/data/catalogs/", "../raw"), resolve_against("s3://bucket/catalogs", "raw")
    ('/data/raw', 's3://bucket/catalogs/raw')
    """
    path = os.path.expanduser(path)
    if not folder or "://" in path or os.path.isabs(path):
        return path
    scheme, separator, rest = folder.rpartition("://")
    if not separator:
        return os.path.normpath(os.path.join(folder, path))
    # URLs have slashes on Windows, too.
    return f"{scheme}://{posixpath.normpath(posixpath.join(rest, path))}"
